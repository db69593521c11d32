/* dim_private.h -- what dim.c and dim_rules.c share. */
#ifndef ONNXC_IR_DIM_PRIVATE_H
#define ONNXC_IR_DIM_PRIVATE_H

#include "ir/dim.h"

/* Wide enough for a product of two int64 and a few sums of such. */
__extension__ typedef __int128 wide;

static inline bool fits64(wide value) { return value >= INT64_MIN && value <= INT64_MAX; }

/* Any dim seen as a constant plus terms. */
typedef struct onnxc_linear {
  int64_t constant;
  uint32_t num_terms;
  const onnxc_dim_term *terms; /* sorted by atom */
} onnxc_linear;

onnxc_dim onnxc_dims_intern(onnxc_dims *dims, onnxc_dim_node node);
void onnxc_dims_set_range(const onnxc_dims *dims, onnxc_dim_node *node);
/* `one` holds the single term of an atom. */
onnxc_linear onnxc_dim_linear(const onnxc_dims *dims, onnxc_dim dim, onnxc_dim_term *one);
/* Terms sorted, no zero coefficients. */
onnxc_dim onnxc_dim_from_terms(onnxc_dims *dims, int64_t constant, const onnxc_dim_term *terms, uint32_t num_terms);
onnxc_dim onnxc_dim_scaled_add(onnxc_dims *dims, onnxc_dim a, int64_t ka, onnxc_dim b, int64_t kb);
/* The PRODUCT atom of two factors that are not constants; no distribution. */
onnxc_dim onnxc_dim_product(onnxc_dims *dims, onnxc_dim a, onnxc_dim b);
/* The non-linear node's kind applied to other arguments. */
onnxc_dim onnxc_dim_rebuild(onnxc_dims *dims, const onnxc_dim_node *node, onnxc_dim a, onnxc_dim b);

#endif
