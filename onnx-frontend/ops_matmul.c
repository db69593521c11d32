/* ops_matmul.c -- MatMul and Gemm. */
#include "scalar.h"

#include <math.h>

onnxc_status onnxc_import_MatMul(onnxc_importer *in) {
  return onnxc_import_done(
      in, 0,
      onnxc_build_matmul(in->graph, in->where, onnxc_import_operand(in, 0, "fiu"), onnxc_import_operand(in, 1, "fiu")));
}

/* value * factor, for a factor that the type can hold. */
static onnxc_expr scaled(onnxc_exprs *pool, onnxc_expr value, double factor) {
  return factor == 1 ? value : e_mul(pool, value, e_number(pool, value, factor));
}

/* alpha * A' * B' + beta * C as one compute: the scaling and C are the epilogue. */
onnxc_status onnxc_import_Gemm(onnxc_importer *in) {
  onnxc_graph *graph = in->graph;
  onnxc_exprs *pool = &graph->exprs;
  onnxc_value a = onnxc_import_operand(in, 0, "fiu"), b = onnxc_import_operand(in, 1, "fiu");
  onnxc_value c = onnxc_import_optional(in, 2).i ? onnxc_import_operand(in, 2, "fiu") : (onnxc_value){0};
  if (!a.i || !b.i || (onnxc_import_optional(in, 2).i && !c.i))
    return onnxc_import_done(in, 0, (onnxc_value){0});
  const onnxc_value_info x = *onnxc_value_of(graph, a), y = *onnxc_value_of(graph, b);
  double alpha = onnxc_import_float(in, "alpha", 1), beta = onnxc_import_float(in, "beta", 1);
  if (x.rank != 2 || y.rank != 2)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "operands of rank %u and %u, not matrices", x.rank, y.rank);
  if (x.dtype != y.dtype || (c.i && onnxc_value_of(graph, c)->dtype != x.dtype))
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "operands of different types");
  if (onnxc_dtype_is_int(x.dtype) && (alpha != trunc(alpha) || beta != trunc(beta)))
    return onnxc_import_error(in, ONNXC_UNSUPPORTED, "integers scaled by alpha = %g, beta = %g", alpha, beta);

  uint32_t a_k = onnxc_import_int(in, "transA", 0) ? 0 : 1, b_k = onnxc_import_int(in, "transB", 0) ? 1 : 0;
  onnxc_compute compute = {.num_parallel = 2, .num_reduce = 1, .num_results = 1};
  compute.extents[0] = x.dims[1 - a_k];
  compute.extents[1] = y.dims[1 - b_k];
  if (!onnxc_build_same_dim(graph, in->where, x.dims[a_k], y.dims[b_k], &compute.extents[2]))
    return onnxc_import_done(in, 0, (onnxc_value){0});
  onnxc_expr a_index[2], b_index[2];
  a_index[1 - a_k] = onnxc_expr_index(pool, 0);
  b_index[1 - b_k] = onnxc_expr_index(pool, 1);
  a_index[a_k] = b_index[b_k] = onnxc_expr_index(pool, 2);
  onnxc_dtype wide = onnxc_build_wide(x.dtype);
  onnxc_build_sum(pool, &compute, 0, wide,
                  onnxc_build_product(pool, onnxc_expr_load(pool, x.dtype, 0, 2, a_index),
                                      onnxc_expr_load(pool, y.dtype, 1, 2, b_index), wide));
  onnxc_expr result = scaled(pool, onnxc_expr_acc(pool, wide, 0), alpha);
  if (c.i && beta != 0) {
    onnxc_dim extents[ONNXC_MAX_RANK];
    uint32_t rank;
    if (!onnxc_build_broadcast_shapes(graph, in->where, 2, (uint32_t[]){2, onnxc_value_of(graph, c)->rank},
                                      (const onnxc_dim *[]){compute.extents, onnxc_value_of(graph, c)->dims}, &rank,
                                      extents))
      return onnxc_import_done(in, 0, (onnxc_value){0});
    if (rank != 2)
      return onnxc_import_error(in, ONNXC_BAD_INPUT, "C of rank %u", rank);
    for (uint32_t d = 0; d < 2; d++) /* C broadcasts to the product, not the other way */
      if (!onnxc_build_same_dim(graph, in->where, compute.extents[d], extents[d], &compute.extents[d]))
        return onnxc_import_done(in, 0, (onnxc_value){0});
    onnxc_expr bias = onnxc_build_broadcast_load(graph, c, 2, 2, compute.extents);
    result = e_add(pool, result, scaled(pool, e_cast(pool, wide, bias), beta));
  } else {
    c = (onnxc_value){0};
  }
  compute.finish[0] = e_cast(pool, x.dtype, result);
  onnxc_value value;
  onnxc_graph_add_compute(graph, in->where, &compute, c.i ? 3 : 2, (onnxc_value[]){a, b, c}, &value);
  return onnxc_import_done(in, 0, value);
}
