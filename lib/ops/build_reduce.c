/* build_reduce.c -- reductions by a free-order combiner.
 *
 * Dims of constant extent 1 are not reduced but indexed by 0; when no dim is left, the reduction is a map.
 * Floats narrower than f32 are reduced in f32: `element` and `finish` then see f32.
 */
#include "ops/build.h"

#include <math.h>

onnxc_expr onnxc_build_neutral(onnxc_exprs *pool, onnxc_expr_op combiner, onnxc_dtype dtype) {
  bool is_float = onnxc_dtype_is_float(dtype), is_signed = onnxc_dtype_is_signed(dtype);
  size_t bytes = onnxc_dtype_bytes(dtype);
  unsigned bits = onnxc_dtype_is_bool(dtype) ? 1 : bytes == 1 || bytes == 2 || bytes == 4 ? (unsigned)bytes * 8 : 64;
  switch (combiner) {
  case ONNXC_EXPR_MUL: return is_float ? onnxc_expr_f64(pool, dtype, 1) : onnxc_expr_i64(pool, dtype, 1);
  case ONNXC_EXPR_AND: return onnxc_expr_i64(pool, dtype, bits == 1 ? 1 : -1);
  case ONNXC_EXPR_MIN:
    if (is_float)
      return onnxc_expr_f64(pool, dtype, INFINITY);
    return onnxc_expr_i64(pool, dtype, (int64_t)(UINT64_MAX >> (64 - bits) >> (is_signed ? 1 : 0)));
  case ONNXC_EXPR_MAX:
    if (is_float)
      return onnxc_expr_f64(pool, dtype, -INFINITY);
    return onnxc_expr_i64(pool, dtype, is_signed ? INT64_MIN >> (64 - bits) : 0);
  default: return is_float ? onnxc_expr_f64(pool, dtype, 0) : onnxc_expr_i64(pool, dtype, 0);
  }
}

onnxc_dtype onnxc_build_wide(onnxc_dtype dtype) {
  return onnxc_dtype_is_float(dtype) && onnxc_dtype_bytes(dtype) < 4 ? ONNXC_F32 : dtype;
}

static onnxc_dtype dtype_of(const onnxc_exprs *pool, onnxc_expr e) {
  return (onnxc_dtype)onnxc_exprs_node(pool, e)->dtype;
}

onnxc_value onnxc_build_reduce(onnxc_graph *graph, const char *where, onnxc_value x, const bool *reduce, bool keepdims,
                               onnxc_expr_op combiner, onnxc_build_scalar_fn element, onnxc_build_scalar_fn finish,
                               void *arg) {
  if (!x.i)
    return x;
  onnxc_exprs *pool = &graph->exprs;
  const onnxc_value_info info = *onnxc_value_of(graph, x);
  onnxc_compute compute = {.num_results = 1};
  onnxc_expr index[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < info.rank; d++)
    if (!reduce[d] || keepdims) {
      index[d] = onnxc_expr_index(pool, compute.num_parallel);
      compute.extents[compute.num_parallel++] = reduce[d] ? onnxc_dim_const(&graph->dims, 1) : info.dims[d];
    }
  for (uint32_t d = 0; d < info.rank; d++) {
    if (onnxc_dim_is(&graph->dims, info.dims[d], 1)) {
      index[d] = onnxc_expr_i64(pool, ONNXC_I64, 0);
    } else if (reduce[d]) {
      uint32_t r = compute.num_parallel + compute.num_reduce++;
      index[d] = onnxc_expr_index(pool, r);
      compute.extents[r] = info.dims[d];
    }
  }

  onnxc_expr value = onnxc_expr_load(pool, info.dtype, 0, info.rank, index);
  value = onnxc_expr_cast(pool, onnxc_build_wide(info.dtype), value);
  if (element)
    value = element(arg, pool, &value);
  onnxc_dtype acc_dtype = dtype_of(pool, value);
  onnxc_expr acc = value;
  if (compute.num_reduce) {
    acc = onnxc_expr_acc(pool, acc_dtype, 0);
    compute.init[0] = onnxc_build_neutral(pool, combiner, acc_dtype);
    compute.element[0] = value;
    compute.combine[0] = onnxc_expr_binary(pool, combiner, acc, onnxc_expr_val(pool, acc_dtype, 0));
  }
  if (finish)
    acc = finish(arg, pool, &acc);
  if (dtype_of(pool, acc) == onnxc_build_wide(info.dtype))
    acc = onnxc_expr_cast(pool, info.dtype, acc);
  compute.acc_dtype[0] = acc_dtype;
  compute.finish[0] = acc;
  onnxc_value result;
  onnxc_graph_add_compute(graph, where, &compute, 1, &x, &result);
  return result;
}
