/* operands.c -- see operands.h. */
#include "operands.h"

bool onnxc_import_dims(onnxc_importer *in, const char *name, uint32_t k, const onnxc_dim **dims, uint32_t *count) {
  onnxc_graph *graph = in->graph;
  *dims = NULL;
  *count = 0;
  if (name && onnxc_import_has(in, name)) {
    const int64_t *given = onnxc_import_ints(in, name, count);
    onnxc_dim *result = ONNXC_NEW_ARRAY(graph->arena, onnxc_dim, *count + 1u);
    for (uint32_t j = 0; j < *count; j++)
      result[j] = onnxc_dim_const(&graph->dims, given[j]);
    *dims = result;
    return true;
  }
  onnxc_value value = onnxc_import_optional(in, k);
  if (!value.i)
    return true;
  const onnxc_value_info *info = onnxc_value_of(graph, value);
  if (info->rank > 1 || !onnxc_dtype_is_int(info->dtype)) {
    onnxc_import_error(in, ONNXC_BAD_INPUT, "input %u must be a list of integers, not rank %u %s", k, info->rank,
                       onnxc_dtype_name(info->dtype));
    return false;
  }
  const onnxc_dim *elements = onnxc_value_elements(graph, value, count);
  if (!elements) {
    onnxc_import_error(in, ONNXC_UNSUPPORTED, "input %u has an unknown number of elements, or too many", k);
    return false;
  }
  *dims = elements;
  return true;
}

onnxc_dim onnxc_import_scalar_dim(onnxc_importer *in, uint32_t k) {
  const onnxc_dim *dims;
  uint32_t count;
  if (!onnxc_import_input(in, k).i || !onnxc_import_dims(in, NULL, k, &dims, &count))
    return (onnxc_dim){0};
  if (count == 1)
    return dims[0];
  onnxc_import_error(in, ONNXC_BAD_INPUT, "input %u must be one number", k);
  return (onnxc_dim){0};
}

bool onnxc_import_axes(onnxc_importer *in, uint32_t count, const onnxc_dim *axes, uint32_t rank, onnxc_dim *at) {
  onnxc_dims *dims = &in->graph->dims;
  if (count > rank) {
    onnxc_import_error(in, ONNXC_BAD_INPUT, "%u axes of rank %u", count, rank);
    return false;
  }
  for (uint32_t j = 0; j < count; j++) {
    int64_t known;
    if (onnxc_dim_is_const(dims, axes[j], &known) && onnxc_import_axis(in, known, rank) < 0)
      return false;
    onnxc_dim axis = onnxc_dim_mod(dims, axes[j], onnxc_dim_const(dims, rank));
    for (uint32_t d = 0; d < rank; d++)
      at[j * rank + d] = onnxc_dim_eq(dims, axis, onnxc_dim_const(dims, d));
    for (uint32_t k = 0; k < j; k++)
      for (uint32_t d = 0; d < rank; d++)
        if (onnxc_dim_is(dims, at[j * rank + d], 1) && onnxc_dim_is(dims, at[k * rank + d], 1)) {
          onnxc_import_error(in, ONNXC_BAD_INPUT, "axis %u is named twice", d);
          return false;
        }
  }
  return true;
}

void onnxc_import_all_axes(onnxc_importer *in, uint32_t rank, onnxc_dim *at) {
  for (uint32_t j = 0; j < rank; j++)
    for (uint32_t d = 0; d < rank; d++)
      at[j * rank + d] = onnxc_dim_const(&in->graph->dims, j == d);
}

onnxc_dim onnxc_import_at_axis(onnxc_importer *in, uint32_t count, const onnxc_dim *at, uint32_t rank, uint32_t d,
                               const onnxc_dim *values, int64_t fallback) {
  onnxc_dims *dims = &in->graph->dims;
  onnxc_dim sum = onnxc_dim_const(dims, fallback);
  for (uint32_t j = 0; j < count; j++) {
    onnxc_dim here = at[j * rank + d];
    if (onnxc_dim_is(dims, here, 1)) /* values may be near the ends of int64: no arithmetic */
      return values[j];
    if (!onnxc_dim_is(dims, here, 0))
      sum = onnxc_dim_add(dims, sum, onnxc_dim_mul(dims, here, onnxc_dim_addc(dims, values[j], -fallback)));
  }
  return sum;
}

onnxc_value onnxc_import_list(onnxc_importer *in, uint32_t count, onnxc_expr element, uint32_t num_operands,
                              const onnxc_value *operands) {
  onnxc_compute compute = {.num_parallel = 1, .num_results = 1, .acc_dtype = {ONNXC_I64}, .finish = {element}};
  compute.extents[0] = onnxc_dim_const(&in->graph->dims, count);
  onnxc_value result;
  onnxc_graph_add_compute(in->graph, in->where, &compute, num_operands, operands, &result);
  return result;
}

void onnxc_import_list_dims(onnxc_importer *in, onnxc_value list, int64_t low, int64_t high, onnxc_dim *dims) {
  onnxc_graph *graph = in->graph;
  int64_t count = 0;
  onnxc_dim_is_const(&graph->dims, onnxc_value_of(graph, list)->dims[0], &count);
  onnxc_dim *elements = ONNXC_NEW_ARRAY(graph->arena, onnxc_dim, count + 1);
  for (uint32_t k = 0; k < (uint32_t)count; k++) {
    const char *name = onnxc_arena_printf(graph->arena, "v%u_%u", list.i, k);
    onnxc_sym sym = onnxc_sym_new(&graph->dims, name, ONNXC_SYM_ELEMENT, list.i, k);
    onnxc_dims_symbol(&graph->dims, sym)->low = low;
    onnxc_dims_symbol(&graph->dims, sym)->high = high;
    dims[k] = elements[k] = onnxc_dim_sym(&graph->dims, sym);
  }
  onnxc_value_of(graph, list)->elements = elements;
}

onnxc_dim onnxc_dim_is_negative(onnxc_dims *dims, onnxc_dim dim) {
  int64_t low, high;
  onnxc_dim_range(dims, dim, &low, &high);
  if (low >= 0 || high < 0)
    return onnxc_dim_const(dims, high < 0);
  return onnxc_dim_eq(dims, onnxc_dim_min(dims, dim, onnxc_dim_const(dims, -1)), dim);
}

bool onnxc_dim_is_data(const onnxc_dims *dims, onnxc_dim dim) {
  for (uint32_t s = 1; s < dims->symbols.length; s++)
    if (dims->symbols.data[s].source == ONNXC_SYM_ELEMENT && onnxc_dim_uses(dims, dim, (onnxc_sym){s}))
      return true;
  return false;
}
