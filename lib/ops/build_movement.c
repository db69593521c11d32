/* build_movement.c -- builders whose result elements are elements of their operand.
 *
 * What can be an affine index is a compute, so that it fuses away; a reshape that regroups dims is a RESHAPE
 * node (a view), a concatenation a CONCAT node (views of one buffer). What does nothing returns its operand.
 */
#include "ops/build.h"

static onnxc_expr zero(onnxc_graph *graph) { return onnxc_expr_i64(&graph->exprs, ONNXC_I64, 0); }

onnxc_value onnxc_build_index(onnxc_graph *graph, const char *where, onnxc_value x, uint32_t rank,
                              const onnxc_dim *dims, const onnxc_expr *index) {
  if (!x.i)
    return x;
  if (rank > ONNXC_MAX_RANK)
    return onnxc_build_error(graph, ONNXC_UNSUPPORTED, where, "rank %u is above %d", rank, ONNXC_MAX_RANK);
  const onnxc_value_info *info = onnxc_value_of(graph, x);
  onnxc_compute compute = {.num_parallel = rank, .num_results = 1};
  for (uint32_t d = 0; d < rank; d++)
    compute.extents[d] = dims[d];
  compute.acc_dtype[0] = info->dtype;
  compute.finish[0] = onnxc_expr_load(&graph->exprs, info->dtype, 0, info->rank, index);
  onnxc_value result;
  onnxc_graph_add_compute(graph, where, &compute, 1, &x, &result);
  return result;
}

/* ---- reshape ---- */

/* If x's dims and `dims` are the same but for ones: the index of x's elements. */
static bool same_but_ones(onnxc_graph *graph, const onnxc_value_info *info, uint32_t rank, const onnxc_dim *dims,
                          onnxc_expr *index) {
  uint32_t at = 0;
  for (uint32_t d = 0; d < info->rank; d++) {
    index[d] = zero(graph);
    if (onnxc_dim_is(&graph->dims, info->dims[d], 1))
      continue;
    while (at < rank && onnxc_dim_is(&graph->dims, dims[at], 1))
      at++;
    if (at == rank || !onnxc_dim_same(dims[at], info->dims[d]))
      return false;
    index[d] = onnxc_expr_index(&graph->exprs, at++);
  }
  while (at < rank && onnxc_dim_is(&graph->dims, dims[at], 1))
    at++;
  return at == rank;
}

static bool same_shape(const onnxc_value_info *info, uint32_t rank, const onnxc_dim *dims) {
  if (info->rank != rank)
    return false;
  for (uint32_t d = 0; d < rank; d++)
    if (!onnxc_dim_same(info->dims[d], dims[d]))
      return false;
  return true;
}

onnxc_value onnxc_build_reshape(onnxc_graph *graph, const char *where, onnxc_value x, uint32_t rank,
                                const onnxc_dim *dims) {
  if (!x.i)
    return x;
  if (rank > ONNXC_MAX_RANK)
    return onnxc_build_error(graph, ONNXC_UNSUPPORTED, where, "rank %u is above %d", rank, ONNXC_MAX_RANK);
  const onnxc_value_info info = *onnxc_value_of(graph, x);
  if (same_shape(&info, rank, dims))
    return x;
  onnxc_expr index[ONNXC_MAX_RANK];
  bool by_index = same_but_ones(graph, &info, rank, dims, index);
  if (!by_index) {
    onnxc_dim count = onnxc_dim_const(&graph->dims, 1);
    for (uint32_t d = 0; d < rank; d++)
      count = onnxc_dim_mul(&graph->dims, count, dims[d]);
    if (!onnxc_build_same_dim(graph, where, onnxc_value_num_elements(graph, x), count, NULL))
      return (onnxc_value){0};
  }
  int64_t shape[ONNXC_MAX_RANK];
  bool is_static = true;
  for (uint32_t d = 0; d < rank; d++)
    is_static = is_static && onnxc_dim_is_const(&graph->dims, dims[d], &shape[d]);
  if (info.data && is_static && onnxc_layout_is_default(&info.layout, info.rank)) {
    onnxc_value constant = onnxc_graph_add_constant(graph, info.name, info.dtype, rank, shape, info.data);
    onnxc_value_of(graph, constant)->data_size = info.data_size;
    return constant;
  }
  if (by_index)
    return onnxc_build_index(graph, where, x, rank, dims, index);
  onnxc_value result = onnxc_graph_add_value(graph, NULL, info.dtype, rank, dims);
  onnxc_graph_add_node(graph, ONNXC_OP_RESHAPE, where, 1, &x, 1, &result);
  return result;
}

/* ---- transpose, expand, concat ---- */

onnxc_value onnxc_build_transpose(onnxc_graph *graph, const char *where, onnxc_value x, const uint32_t *perm) {
  if (!x.i)
    return x;
  const onnxc_value_info *info = onnxc_value_of(graph, x);
  onnxc_dim dims[ONNXC_MAX_RANK];
  onnxc_expr index[ONNXC_MAX_RANK];
  bool identity = true;
  for (uint32_t d = 0; d < info->rank; d++) {
    dims[d] = info->dims[perm[d]];
    index[perm[d]] = onnxc_dim_is(&graph->dims, dims[d], 1) ? zero(graph) : onnxc_expr_index(&graph->exprs, d);
    identity = identity && perm[d] == d;
  }
  return identity ? x : onnxc_build_index(graph, where, x, info->rank, dims, index);
}

onnxc_value onnxc_build_expand(onnxc_graph *graph, const char *where, onnxc_value x, uint32_t rank,
                               const onnxc_dim *dims) {
  if (!x.i)
    return x;
  const onnxc_value_info *info = onnxc_value_of(graph, x);
  uint32_t out_rank;
  onnxc_dim out[ONNXC_MAX_RANK];
  if (!onnxc_build_broadcast_shapes(graph, where, 2, (uint32_t[]){info->rank, rank},
                                    (const onnxc_dim *[]){info->dims, dims}, &out_rank, out))
    return (onnxc_value){0};
  if (same_shape(info, out_rank, out))
    return x;
  onnxc_expr index[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < info->rank; d++) {
    uint32_t at = d + out_rank - info->rank;
    index[d] = onnxc_build_broadcast_index(graph, info->dims[d], out[at], onnxc_expr_index(&graph->exprs, at));
  }
  return onnxc_build_index(graph, where, x, out_rank, out, index);
}

onnxc_value onnxc_build_concat(onnxc_graph *graph, const char *where, uint32_t n, const onnxc_value *values,
                               uint32_t axis) {
  if (!n || !values[0].i)
    return (onnxc_value){0};
  const onnxc_value_info *first = onnxc_value_of(graph, values[0]);
  uint32_t rank = first->rank;
  onnxc_dtype dtype = first->dtype;
  onnxc_dim dims[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < rank; d++)
    dims[d] = first->dims[d];
  if (axis >= rank)
    return onnxc_build_error(graph, ONNXC_BAD_INPUT, where, "concat axis %u of rank %u", axis, rank);
  onnxc_value *parts = ONNXC_NEW_ARRAY(graph->arena, onnxc_value, n);
  uint32_t count = 0;
  dims[axis] = onnxc_dim_const(&graph->dims, 0);
  for (uint32_t k = 0; k < n; k++) {
    if (!values[k].i)
      return values[k];
    const onnxc_value_info *info = onnxc_value_of(graph, values[k]);
    if (info->rank != rank || info->dtype != dtype)
      return onnxc_build_error(graph, ONNXC_BAD_INPUT, where, "concat of rank %u %s with rank %u %s", rank,
                               onnxc_dtype_name(dtype), info->rank, onnxc_dtype_name(info->dtype));
    for (uint32_t d = 0; d < rank; d++)
      if (d != axis && !onnxc_build_same_dim(graph, where, dims[d], info->dims[d], &dims[d]))
        return (onnxc_value){0};
    dims[axis] = onnxc_dim_add(&graph->dims, dims[axis], info->dims[axis]);
    if (!onnxc_dim_is(&graph->dims, info->dims[axis], 0))
      parts[count++] = values[k];
  }
  if (count <= 1)
    return count ? parts[0] : values[0];
  onnxc_value result = onnxc_graph_add_value(graph, NULL, dtype, rank, dims);
  onnxc_node node = onnxc_graph_add_node(graph, ONNXC_OP_CONCAT, where, count, parts, 1, &result);
  onnxc_node_of(graph, node)->axis = (int64_t)axis;
  return result;
}
