/* build_contraction.c -- matrix products as computes: a sum over r0 of a product of two loads.
 *
 *     result[batch.., m, n] = sum over k of a[batch.., m, k] * b[batch.., k, n]
 *
 * Batch dims broadcast; a vector operand has no m (or n) index. Roles (batch, m, n, k) are recognised by a pass,
 * from this form as from any other.
 */
#include "ops/build.h"

onnxc_expr onnxc_build_product(onnxc_exprs *pool, onnxc_expr a, onnxc_expr b, onnxc_dtype acc_dtype) {
  return onnxc_expr_binary(pool, ONNXC_EXPR_MUL, onnxc_expr_cast(pool, acc_dtype, a),
                           onnxc_expr_cast(pool, acc_dtype, b));
}

void onnxc_build_sum(onnxc_exprs *pool, onnxc_compute *compute, uint32_t j, onnxc_dtype acc_dtype, onnxc_expr element) {
  compute->acc_dtype[j] = acc_dtype;
  compute->element[j] = element;
  compute->init[j] =
      onnxc_dtype_is_float(acc_dtype) ? onnxc_expr_f64(pool, acc_dtype, 0) : onnxc_expr_i64(pool, acc_dtype, 0);
  compute->combine[j] =
      onnxc_expr_binary(pool, ONNXC_EXPR_ADD, onnxc_expr_acc(pool, acc_dtype, j), onnxc_expr_val(pool, acc_dtype, j));
}

/* Products and sums in acc_dtype, then a cast to `dtype`. */
static onnxc_value matmul(onnxc_graph *graph, const char *where, onnxc_value a, onnxc_value b, onnxc_dtype acc_dtype,
                          onnxc_dtype dtype) {
  onnxc_exprs *pool = &graph->exprs;
  const onnxc_value_info x = *onnxc_value_of(graph, a), y = *onnxc_value_of(graph, b);
  if (!x.rank || !y.rank)
    return onnxc_build_error(graph, ONNXC_BAD_INPUT, where, "matrix product of a scalar");
  bool has_m = x.rank > 1, has_n = y.rank > 1;
  uint32_t x_batch = has_m ? x.rank - 2 : 0, y_batch = has_n ? y.rank - 2 : 0, batch;

  onnxc_compute compute = {.num_results = 1, .num_reduce = 1};
  if (!onnxc_build_broadcast_shapes(graph, where, 2, (uint32_t[]){x_batch, y_batch},
                                    (const onnxc_dim *[]){x.dims, y.dims}, &batch, compute.extents))
    return (onnxc_value){0};
  onnxc_expr x_index[ONNXC_MAX_RANK], y_index[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < x_batch; d++) {
    uint32_t at = d + batch - x_batch;
    x_index[d] = onnxc_build_broadcast_index(graph, x.dims[d], compute.extents[at], onnxc_expr_index(pool, at));
  }
  for (uint32_t d = 0; d < y_batch; d++) {
    uint32_t at = d + batch - y_batch;
    y_index[d] = onnxc_build_broadcast_index(graph, y.dims[d], compute.extents[at], onnxc_expr_index(pool, at));
  }
  uint32_t p = batch;
  if (has_m) {
    x_index[x_batch] = onnxc_expr_index(pool, p);
    compute.extents[p++] = x.dims[x_batch];
  }
  if (has_n) {
    y_index[y_batch + 1] = onnxc_expr_index(pool, p);
    compute.extents[p++] = y.dims[y_batch + 1];
  }
  compute.num_parallel = p;
  x_index[x.rank - 1] = y_index[y_batch] = onnxc_expr_index(pool, p);
  if (!onnxc_build_same_dim(graph, where, x.dims[x.rank - 1], y.dims[y_batch], &compute.extents[p]))
    return (onnxc_value){0};

  uint32_t y_operand = a.i == b.i ? 0 : 1;
  onnxc_build_sum(pool, &compute, 0, acc_dtype,
                  onnxc_build_product(pool, onnxc_expr_load(pool, x.dtype, 0, x.rank, x_index),
                                      onnxc_expr_load(pool, y.dtype, y_operand, y.rank, y_index), acc_dtype));
  compute.finish[0] = onnxc_expr_cast(pool, dtype, onnxc_expr_acc(pool, acc_dtype, 0));
  onnxc_value result;
  onnxc_graph_add_compute(graph, where, &compute, y_operand + 1, (onnxc_value[]){a, b}, &result);
  return result;
}

onnxc_value onnxc_build_matmul(onnxc_graph *graph, const char *where, onnxc_value a, onnxc_value b) {
  if (!a.i || !b.i)
    return (onnxc_value){0};
  onnxc_dtype x = onnxc_value_of(graph, a)->dtype, y = onnxc_value_of(graph, b)->dtype;
  if (x != y || !(onnxc_dtype_is_float(x) || onnxc_dtype_is_int(x)))
    return onnxc_build_error(graph, ONNXC_BAD_INPUT, where, "matrix product of %s and %s", onnxc_dtype_name(x),
                             onnxc_dtype_name(y));
  return matmul(graph, where, a, b, onnxc_build_wide(x), x);
}

onnxc_value onnxc_build_matmul_i32(onnxc_graph *graph, const char *where, onnxc_value a, onnxc_value b) {
  return a.i && b.i ? matmul(graph, where, a, b, ONNXC_I32, ONNXC_I32) : (onnxc_value){0};
}
