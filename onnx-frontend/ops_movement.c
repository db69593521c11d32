/* ops_movement.c -- operators whose result is a rearrangement of their operand by affine indices: Transpose, Expand,
 * Concat, Split, DepthToSpace, SpaceToDepth. Slice has a file of its own; those with a condition or a wrap stand in
 * ops_pad.c.
 */
#include <string.h>

#include "operands.h"
#include "shorthand.h"

static onnxc_status failed(onnxc_importer *in) { return in->graph->diag->status; }

onnxc_status onnxc_import_Transpose(onnxc_importer *in) {
  onnxc_value x = onnxc_import_input(in, 0);
  if (!x.i)
    return failed(in);
  uint32_t rank = onnxc_value_of(in->graph, x)->rank, count, perm[ONNXC_MAX_RANK], seen = 0;
  const int64_t *given = onnxc_import_ints(in, "perm", &count);
  if (count && count != rank)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "perm has %u numbers for rank %u", count, rank);
  for (uint32_t d = 0; d < rank; d++) {
    int64_t axis = count ? given[d] : (int64_t)(rank - 1 - d);
    if (axis < 0 || axis >= rank || (seen & 1u << axis))
      return onnxc_import_error(in, ONNXC_BAD_INPUT, "perm is no permutation");
    seen |= 1u << axis;
    perm[d] = (uint32_t)axis;
  }
  return onnxc_import_done(in, 0, onnxc_build_transpose(in->graph, in->where, x, perm));
}

/* The dim of x broadcast against what a shape asks for, which a run may turn out to be 1. */
static onnxc_dim expanded_dim(onnxc_dims *dims, onnxc_dim x, onnxc_dim asked) {
  if (!onnxc_dim_is_data(dims, asked) || onnxc_dim_is(dims, x, 1))
    return asked;
  if (onnxc_dim_is_const(dims, x, NULL))
    return x;
  return onnxc_dim_select(dims, onnxc_dim_eq(dims, asked, onnxc_dim_const(dims, 1)), x, asked);
}

onnxc_status onnxc_import_Expand(onnxc_importer *in) {
  onnxc_value x = onnxc_import_input(in, 0);
  const onnxc_dim *shape;
  uint32_t count;
  onnxc_dim dims[ONNXC_MAX_RANK];
  if (!x.i || !onnxc_import_input(in, 1).i || !onnxc_import_dims(in, NULL, 1, &shape, &count))
    return failed(in);
  if (count > ONNXC_MAX_RANK)
    return onnxc_import_error(in, ONNXC_UNSUPPORTED, "rank %u is above %d", count, ONNXC_MAX_RANK);
  const onnxc_value_info *info = onnxc_value_of(in->graph, x);
  for (uint32_t d = 0; d < count; d++) {
    bool shared = d + info->rank >= count;
    dims[d] = shared ? expanded_dim(&in->graph->dims, info->dims[d + info->rank - count], shape[d]) : shape[d];
  }
  return onnxc_import_done(in, 0, onnxc_build_expand(in->graph, in->where, x, count, dims));
}

onnxc_status onnxc_import_Concat(onnxc_importer *in) {
  onnxc_value *values = ONNXC_NEW_ARRAY(in->graph->arena, onnxc_value, in->num_inputs + 1u);
  for (uint32_t k = 0; k < in->num_inputs; k++)
    if (!(values[k] = onnxc_import_input(in, k)).i)
      return failed(in);
  if (!in->num_inputs)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "there is nothing to concatenate");
  int64_t axis = onnxc_import_axis(in, onnxc_import_int(in, "axis", 1), onnxc_value_of(in->graph, values[0])->rank);
  if (axis < 0)
    return failed(in);
  return onnxc_import_done(in, 0, onnxc_build_concat(in->graph, in->where, in->num_inputs, values, (uint32_t)axis));
}

/* ---- Split ---- */

/* The extents of n parts of `whole` when none are given. */
static bool equal_parts(onnxc_importer *in, onnxc_dim whole, uint32_t n, onnxc_dim *parts) {
  onnxc_dims *dims = &in->graph->dims;
  onnxc_dim count = onnxc_dim_const(dims, n);
  bool uneven = in->opset >= 18; /* the last part is smaller */
  onnxc_dim part = uneven ? onnxc_dim_ceildiv(dims, whole, count) : onnxc_dim_floordiv(dims, whole, count);
  for (uint32_t k = 0; k < n; k++)
    parts[k] = part;
  onnxc_dim before = onnxc_dim_mulc(dims, part, n - 1);
  if (uneven)
    parts[n - 1] = onnxc_dim_sub(dims, whole, before);
  int64_t last;
  if (onnxc_dim_is_const(dims, parts[n - 1], &last) && last < 0) {
    onnxc_import_error(in, ONNXC_BAD_INPUT, "the axis is too short for %u parts", n);
    return false;
  }
  return uneven || onnxc_build_same_dim(in->graph, in->where, onnxc_dim_mulc(dims, part, n), whole, NULL);
}

onnxc_status onnxc_import_Split(onnxc_importer *in) {
  onnxc_graph *graph = in->graph;
  onnxc_dims *dims = &graph->dims;
  onnxc_exprs *pool = &graph->exprs;
  onnxc_value x = onnxc_import_input(in, 0);
  const onnxc_dim *given;
  uint32_t count, n = in->num_outputs;
  if (!x.i || !onnxc_import_dims(in, "split", 1, &given, &count))
    return failed(in);
  const onnxc_value_info info = *onnxc_value_of(graph, x);
  int64_t axis = onnxc_import_axis(in, onnxc_import_int(in, "axis", 0), info.rank);
  if (axis < 0)
    return failed(in);
  if ((given && count != n) || n == 0 || onnxc_import_int(in, "num_outputs", n) != n)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "%u outputs, but %u parts", n, count);
  onnxc_dim *parts = ONNXC_NEW_ARRAY(graph->arena, onnxc_dim, n), sum = onnxc_dim_const(dims, 0);
  if (!given && !equal_parts(in, info.dims[axis], n, parts))
    return failed(in);
  if (given) {
    for (uint32_t k = 0; k < n; k++)
      sum = onnxc_dim_add(dims, sum, parts[k] = given[k]);
    if (!onnxc_build_same_dim(graph, in->where, sum, info.dims[axis], NULL))
      return failed(in);
  }
  onnxc_expr index[ONNXC_MAX_RANK];
  onnxc_dim extents[ONNXC_MAX_RANK], first = onnxc_dim_const(dims, 0);
  for (uint32_t d = 0; d < info.rank; d++) {
    extents[d] = info.dims[d];
    index[d] = e_index(pool, d);
  }
  for (uint32_t k = 0; k < n; k++) {
    extents[axis] = parts[k];
    index[axis] = e_add(pool, e_index(pool, (uint32_t)axis), e_dim(pool, first));
    if (onnxc_import_wants(in, k))
      onnxc_import_result(in, k, n == 1 ? x : onnxc_build_index(graph, in->where, x, info.rank, extents, index));
    first = onnxc_dim_add(dims, first, parts[k]);
  }
  return ONNXC_OK;
}

/* ---- between channels and space ---- */

static int64_t block_size(onnxc_importer *in, onnxc_value x) {
  int64_t block = onnxc_import_int(in, "blocksize", 0);
  if (onnxc_value_of(in->graph, x)->rank == 4 && block >= 1 && block <= 4096)
    return block;
  onnxc_import_error(in, ONNXC_BAD_INPUT, "blocksize %lld, rank %u", (long long)block,
                     onnxc_value_of(in->graph, x)->rank);
  return 0;
}

onnxc_status onnxc_import_DepthToSpace(onnxc_importer *in) {
  onnxc_graph *graph = in->graph;
  onnxc_dims *dims = &graph->dims;
  onnxc_exprs *pool = &graph->exprs;
  onnxc_value x = onnxc_import_input(in, 0);
  int64_t block = x.i ? block_size(in, x) : 0;
  if (!block)
    return failed(in);
  bool crd = strcmp(onnxc_import_string(in, "mode", "DCR"), "CRD") == 0;
  const onnxc_dim *from = onnxc_value_of(graph, x)->dims;
  onnxc_dim channels = onnxc_dim_floordiv(dims, from[1], onnxc_dim_const(dims, block * block));
  if (!onnxc_build_same_dim(graph, in->where, onnxc_dim_mulc(dims, channels, block * block), from[1], NULL))
    return failed(in);
  onnxc_expr size = e_int(pool, block), y = e_index(pool, 2), z = e_index(pool, 3), c = e_index(pool, 1);
  onnxc_expr phase = e_add(pool, e_mul(pool, e_mod(pool, y, size), size), e_mod(pool, z, size));
  onnxc_expr channel = crd ? e_add(pool, e_mul(pool, c, e_int(pool, block * block)), phase)
                           : e_add(pool, e_mul(pool, phase, e_dim(pool, channels)), c);
  onnxc_expr index[4] = {e_index(pool, 0), channel, e_floordiv(pool, y, size), e_floordiv(pool, z, size)};
  onnxc_dim extents[4] = {from[0], channels, onnxc_dim_mulc(dims, from[2], block),
                          onnxc_dim_mulc(dims, from[3], block)};
  return onnxc_import_done(in, 0, onnxc_build_index(graph, in->where, x, 4, extents, index));
}

onnxc_status onnxc_import_SpaceToDepth(onnxc_importer *in) {
  onnxc_graph *graph = in->graph;
  onnxc_dims *dims = &graph->dims;
  onnxc_exprs *pool = &graph->exprs;
  onnxc_value x = onnxc_import_input(in, 0);
  int64_t block = x.i ? block_size(in, x) : 0;
  if (!block)
    return failed(in);
  const onnxc_dim *from = onnxc_value_of(graph, x)->dims;
  onnxc_dim extents[4] = {from[0], onnxc_dim_mulc(dims, from[1], block * block)};
  for (uint32_t d = 2; d < 4; d++) {
    extents[d] = onnxc_dim_floordiv(dims, from[d], onnxc_dim_const(dims, block));
    if (!onnxc_build_same_dim(graph, in->where, onnxc_dim_mulc(dims, extents[d], block), from[d], NULL))
      return failed(in);
  }
  onnxc_expr size = e_int(pool, block), channels = e_dim(pool, from[1]);
  onnxc_expr phase = e_floordiv(pool, e_index(pool, 1), channels);
  onnxc_expr index[4] = {e_index(pool, 0), e_mod(pool, e_index(pool, 1), channels),
                         e_add(pool, e_mul(pool, e_index(pool, 2), size), e_floordiv(pool, phase, size)),
                         e_add(pool, e_mul(pool, e_index(pool, 3), size), e_mod(pool, phase, size))};
  return onnxc_import_done(in, 0, onnxc_build_index(graph, in->where, x, 4, extents, index));
}
