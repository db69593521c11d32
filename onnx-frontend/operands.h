/* operands.h -- integers that an operator takes as attributes in old opsets and as inputs in new ones, as dims.
 *
 * What a run decides is an expression over symbols like what is known, so importers write one formula for both;
 * truth values are dims that are 0 or 1.
 */
#ifndef ONNXC_FRONTEND_OPERANDS_H
#define ONNXC_FRONTEND_OPERANDS_H

#include "import.h"

/* Attribute `name` (NULL = there is none) if present, else input k, if present: its integers. *dims is NULL when
 * neither is there. False after an error. */
bool onnxc_import_dims(onnxc_importer *in, const char *name, uint32_t k, const onnxc_dim **dims, uint32_t *count);
/* The one integer of a scalar input; none after an error. */
onnxc_dim onnxc_import_scalar_dim(onnxc_importer *in, uint32_t k);

/* at[j][d] (j * rank + d): whether axes[j] is dim d. Known axes are checked; false after an error. */
bool onnxc_import_axes(onnxc_importer *in, uint32_t count, const onnxc_dim *axes, uint32_t rank, onnxc_dim *at);
/* at[j][d] for axes 0, 1, ..: axis j is dim j. */
void onnxc_import_all_axes(onnxc_importer *in, uint32_t rank, onnxc_dim *at);
/* The sum over j of at[j][d] * values[j], and fallback if no axis is d. */
onnxc_dim onnxc_import_at_axis(onnxc_importer *in, uint32_t count, const onnxc_dim *at, uint32_t rank, uint32_t d,
                               const onnxc_dim *values, int64_t fallback);

/* A list of i64 over i0 < count <= ONNXC_MAX_RANK; and its elements as symbols of their own in low..high, rather than
 * expressions of what they are computed from. */
onnxc_value onnxc_import_list(onnxc_importer *in, uint32_t count, onnxc_expr element, uint32_t num_operands,
                              const onnxc_value *operands);
void onnxc_import_list_dims(onnxc_importer *in, onnxc_value list, int64_t low, int64_t high, onnxc_dim *dims);

onnxc_dim onnxc_dim_is_negative(onnxc_dims *dims, onnxc_dim dim); /* 1 if dim < 0 */
/* True if the dim depends on the contents of a tensor. */
bool onnxc_dim_is_data(const onnxc_dims *dims, onnxc_dim dim);

#endif
