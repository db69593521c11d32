/* build_map.c -- elementwise computes, scalars and shape tensors.
 *
 * A map takes each distinct operand once, and a constant of one element as a constant of the expression, so
 * that x * x is one load and Pow by a constant 2 is seen by whoever builds the expression.
 */
#include "ops/build.h"

#include <string.h>

/* Memory and arithmetic exist for every dtype but strings and complex numbers. */
static bool is_numeric(onnxc_dtype dtype) {
  return onnxc_dtype_is_float(dtype) || onnxc_dtype_is_int(dtype) || onnxc_dtype_is_bool(dtype);
}

/* ---- operands ---- */

onnxc_expr onnxc_build_constant_element(onnxc_graph *graph, onnxc_value value) {
  const onnxc_value_info *info = onnxc_value_of(graph, value);
  if (!info->data || info->data_size < onnxc_dtype_bytes(info->dtype))
    return (onnxc_expr){0};
  for (uint32_t d = 0; d < info->rank; d++)
    if (!onnxc_dim_is(&graph->dims, info->dims[d], 1))
      return (onnxc_expr){0};
  return onnxc_dtype_is_float(info->dtype)
             ? onnxc_expr_f64(&graph->exprs, info->dtype, onnxc_scalar_to_f64(info->dtype, info->data))
             : onnxc_expr_i64(&graph->exprs, info->dtype, onnxc_scalar_to_i64(info->dtype, info->data));
}

/* The element of values[k] at the output point; fills operands[] as they turn up. */
static onnxc_expr operand_element(onnxc_graph *graph, onnxc_value value, uint32_t rank, const onnxc_dim *dims,
                                  onnxc_value *operands, uint32_t *num_operands) {
  onnxc_expr constant = onnxc_build_constant_element(graph, value);
  if (constant.i)
    return constant;
  uint32_t k = 0;
  while (k < *num_operands && operands[k].i != value.i)
    k++;
  if (k == *num_operands)
    operands[(*num_operands)++] = value;
  return onnxc_build_broadcast_load(graph, value, k, rank, dims);
}

/* ---- elementwise ---- */

onnxc_value onnxc_build_map(onnxc_graph *graph, const char *where, uint32_t n, const onnxc_value *values,
                            onnxc_build_scalar_fn scalar, void *arg) {
  onnxc_compute compute = {.num_results = 1};
  if (!onnxc_build_broadcast(graph, where, n, values, &compute.num_parallel, compute.extents))
    return (onnxc_value){0};
  onnxc_value *operands = ONNXC_NEW_ARRAY(graph->arena, onnxc_value, n ? n : 1);
  onnxc_expr *args = ONNXC_NEW_ARRAY(graph->arena, onnxc_expr, n ? n : 1);
  uint32_t num_operands = 0;
  for (uint32_t k = 0; k < n; k++) {
    onnxc_dtype dtype = onnxc_value_of(graph, values[k])->dtype;
    if (!is_numeric(dtype))
      return onnxc_build_error(graph, ONNXC_UNSUPPORTED, where, "elements of type %s", onnxc_dtype_name(dtype));
    args[k] = operand_element(graph, values[k], compute.num_parallel, compute.extents, operands, &num_operands);
  }
  compute.finish[0] = scalar(arg, &graph->exprs, args);
  compute.acc_dtype[0] = (onnxc_dtype)onnxc_exprs_node(&graph->exprs, compute.finish[0])->dtype;
  onnxc_value result;
  onnxc_graph_add_compute(graph, where, &compute, num_operands, operands, &result);
  return result;
}

static onnxc_expr scalar_unary(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  return onnxc_expr_unary(pool, *(const onnxc_expr_op *)arg, args[0]);
}

onnxc_value onnxc_build_unary(onnxc_graph *graph, const char *where, onnxc_expr_op op, onnxc_value a) {
  return onnxc_build_map(graph, where, 1, &a, scalar_unary, &op);
}

static onnxc_expr scalar_binary(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  return onnxc_expr_binary(pool, *(const onnxc_expr_op *)arg, args[0], args[1]);
}

onnxc_value onnxc_build_binary(onnxc_graph *graph, const char *where, onnxc_expr_op op, onnxc_value a, onnxc_value b) {
  if (!a.i || !b.i)
    return (onnxc_value){0};
  onnxc_dtype first = onnxc_value_of(graph, a)->dtype, second = onnxc_value_of(graph, b)->dtype;
  if (first != second)
    return onnxc_build_error(graph, ONNXC_BAD_INPUT, where, "operands of types %s and %s", onnxc_dtype_name(first),
                             onnxc_dtype_name(second));
  return onnxc_build_map(graph, where, 2, (onnxc_value[]){a, b}, scalar_binary, &op);
}

static onnxc_expr scalar_cast(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  return onnxc_expr_cast(pool, *(const onnxc_dtype *)arg, args[0]);
}

onnxc_value onnxc_build_cast(onnxc_graph *graph, const char *where, onnxc_dtype dtype, onnxc_value a) {
  if (!a.i || onnxc_value_of(graph, a)->dtype == dtype)
    return a;
  if (!is_numeric(dtype))
    return onnxc_build_error(graph, ONNXC_UNSUPPORTED, where, "cast to %s", onnxc_dtype_name(dtype));
  return onnxc_build_map(graph, where, 1, &a, scalar_cast, &dtype);
}

/* ---- constants and shapes ---- */

onnxc_value onnxc_build_scalar_f64(onnxc_graph *graph, onnxc_dtype dtype, double value) {
  void *data = onnxc_arena_alloc(graph->arena, onnxc_dtype_bytes(dtype));
  onnxc_scalar_from_f64(dtype, data, value);
  return onnxc_graph_add_constant(graph, NULL, dtype, 0, NULL, data);
}

onnxc_value onnxc_build_scalar_i64(onnxc_graph *graph, onnxc_dtype dtype, int64_t value) {
  void *data = onnxc_arena_alloc(graph->arena, onnxc_dtype_bytes(dtype));
  onnxc_scalar_from_i64(dtype, data, value);
  return onnxc_graph_add_constant(graph, NULL, dtype, 0, NULL, data);
}

/* elements[first..last-1] selected by i0: a balanced tree. */
static onnxc_expr select_element(onnxc_exprs *pool, const onnxc_dim *elements, uint32_t first, uint32_t last) {
  if (last - first == 1)
    return onnxc_expr_dim(pool, elements[first]);
  uint32_t middle = first + (last - first) / 2;
  onnxc_expr low = select_element(pool, elements, first, middle);
  onnxc_expr high = select_element(pool, elements, middle, last);
  onnxc_expr is_low = onnxc_expr_binary(pool, ONNXC_EXPR_LT, onnxc_expr_index(pool, 0),
                                        onnxc_expr_i64(pool, ONNXC_I64, (int64_t)middle));
  return onnxc_expr_select(pool, is_low, low, high);
}

onnxc_value onnxc_build_shape_tensor(onnxc_graph *graph, const char *where, uint32_t count, const onnxc_dim *elements) {
  int64_t *constants = ONNXC_NEW_ARRAY(graph->arena, int64_t, count ? count : 1);
  bool constant = true;
  for (uint32_t k = 0; k < count; k++)
    constant = constant && onnxc_dim_is_const(&graph->dims, elements[k], &constants[k]);
  if (constant)
    return onnxc_graph_add_constant(graph, NULL, ONNXC_I64, 1, &(int64_t){(int64_t)count}, constants);
  onnxc_compute compute = {.num_parallel = 1, .num_results = 1};
  compute.extents[0] = onnxc_dim_const(&graph->dims, (int64_t)count);
  compute.acc_dtype[0] = ONNXC_I64;
  compute.finish[0] = select_element(&graph->exprs, elements, 0, count);
  onnxc_value result;
  onnxc_graph_add_compute(graph, where, &compute, 0, NULL, &result);
  onnxc_dim *copy = ONNXC_NEW_ARRAY(graph->arena, onnxc_dim, count);
  memcpy(copy, elements, count * sizeof *copy);
  onnxc_value_of(graph, result)->elements = copy;
  return result;
}
