/* build_branch.c -- where branches meet. See build.h. */
#include "ops/build.h"

onnxc_value onnxc_build_join(onnxc_graph *graph, const char *where, onnxc_dim condition, onnxc_value yes,
                             onnxc_value no) {
  onnxc_exprs *pool = &graph->exprs;
  if (!yes.i || !no.i || yes.i == no.i)
    return yes.i ? no : yes;
  const onnxc_value_info a = *onnxc_value_of(graph, yes), b = *onnxc_value_of(graph, no);
  if (a.dtype != b.dtype)
    return onnxc_build_error(graph, ONNXC_BAD_INPUT, where, "it is %s in one branch and %s in the other",
                             onnxc_dtype_name(a.dtype), onnxc_dtype_name(b.dtype));
  if (a.rank != b.rank)
    return onnxc_build_error(graph, ONNXC_UNSUPPORTED, where,
                             "it has rank %u if %s is 1, and otherwise %u; give what decides it, such as shapes",
                             a.rank, onnxc_dim_text(&graph->dims, condition), b.rank);
  onnxc_compute compute = {.num_parallel = a.rank, .num_results = 1, .acc_dtype = {a.dtype}};
  onnxc_expr index[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < a.rank; d++) {
    compute.extents[d] = onnxc_dim_select(&graph->dims, condition, a.dims[d], b.dims[d]);
    index[d] = onnxc_expr_index(pool, d);
  }
  onnxc_expr taken = onnxc_expr_cast(pool, ONNXC_BOOL, onnxc_expr_dim(pool, condition));
  compute.finish[0] = onnxc_expr_select(pool, taken, onnxc_expr_load(pool, a.dtype, 0, a.rank, index),
                                        onnxc_expr_load(pool, a.dtype, 1, a.rank, index));
  onnxc_value result;
  onnxc_graph_add_compute(graph, where, &compute, 2, (onnxc_value[]){yes, no}, &result);
  return result;
}
