/* ops_movement.c -- operators whose result is a rearrangement of their operand by affine indices: Transpose, Expand,
 * Concat, Split, Slice, DepthToSpace, SpaceToDepth. Those with a condition or a wrap stand in ops_pad.c.
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

/* ---- Split, Slice ---- */

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

/* One dim's slice: first index, step and extent. */
typedef struct slice {
  onnxc_dim first, step, extent;
} slice;

/* start or end counted from the end of the dim if it is negative. */
static onnxc_dim from_end(onnxc_dims *dims, onnxc_dim at, onnxc_dim whole) {
  return onnxc_dim_add(dims, at, onnxc_dim_mul(dims, onnxc_dim_is_negative(dims, at), whole));
}

static slice slice_forward(onnxc_dims *dims, onnxc_dim whole, onnxc_dim start, onnxc_dim end, onnxc_dim step) {
  onnxc_dim zero = onnxc_dim_const(dims, 0);
  int64_t number, last;
  bool to_end = onnxc_dim_is_const(dims, end, &number) && number >= INT32_MAX;
  if (to_end && onnxc_dim_is_const(dims, start, &last) && last < 0 && last > INT32_MIN) {
    onnxc_dim room = onnxc_dim_min(dims, whole, onnxc_dim_const(dims, -last));
    return (slice){onnxc_dim_sub(dims, whole, room), step, onnxc_dim_ceildiv(dims, room, step)};
  }
  start = onnxc_dim_max(dims, from_end(dims, start, whole), zero);
  if (to_end)
    end = whole;
  else if (onnxc_dim_is_const(dims, end, &number) && number < 0) /* below the whole, and bounded with the start below */
    end = onnxc_dim_add(dims, whole, end);
  else
    end = onnxc_dim_min(dims, onnxc_dim_max(dims, from_end(dims, end, whole), zero), whole);
  /* A start beyond the end leaves nothing, so it needs no upper bound. */
  onnxc_dim room = onnxc_dim_max(dims, onnxc_dim_sub(dims, end, start), zero);
  return (slice){start, step, onnxc_dim_ceildiv(dims, room, step)};
}

static slice slice_backward(onnxc_dims *dims, onnxc_dim whole, onnxc_dim start, onnxc_dim end, onnxc_dim step) {
  onnxc_dim zero = onnxc_dim_const(dims, 0), last = onnxc_dim_addc(dims, whole, -1), none = onnxc_dim_const(dims, -1);
  int64_t number;
  if (onnxc_dim_is_const(dims, start, &number) && number >= INT32_MAX)
    start = last;
  else
    start = onnxc_dim_min(dims, onnxc_dim_max(dims, from_end(dims, start, whole), zero), last);
  /* The largest number, too, is taken for "to the very end": else nothing would be left ever. */
  if (onnxc_dim_is_const(dims, end, &number) && (number <= INT32_MIN || number >= INT32_MAX))
    end = none;
  else
    end = onnxc_dim_select(dims, onnxc_dim_eq(dims, end, onnxc_dim_const(dims, INT32_MAX)), none,
                           onnxc_dim_max(dims, from_end(dims, end, whole), none));
  onnxc_dim room = onnxc_dim_max(dims, onnxc_dim_sub(dims, start, end), zero);
  return (slice){start, step, onnxc_dim_ceildiv(dims, room, onnxc_dim_mulc(dims, step, -1))};
}

/* A constant brought into the range of int32, which is that of extents. */
static onnxc_dim saturated(onnxc_dims *dims, onnxc_dim at) {
  int64_t number;
  if (!onnxc_dim_is_const(dims, at, &number) || (number >= INT32_MIN && number <= INT32_MAX))
    return at;
  return onnxc_dim_const(dims, number < 0 ? INT32_MIN : INT32_MAX);
}

static slice slice_of(onnxc_dims *dims, onnxc_dim whole, onnxc_dim start, onnxc_dim end, onnxc_dim step) {
  int64_t low, high;
  start = saturated(dims, start);
  end = saturated(dims, end);
  onnxc_dim_range(dims, step, &low, &high);
  slice forward = slice_forward(dims, whole, start, end, step);
  if (low > 0)
    return forward;
  slice backward = slice_backward(dims, whole, start, end, step);
  if (high < 0)
    return backward;
  onnxc_dim down = onnxc_dim_is_negative(dims, step);
  return (slice){onnxc_dim_select(dims, down, backward.first, forward.first), step,
                 onnxc_dim_select(dims, down, backward.extent, forward.extent)};
}

static onnxc_expr saturate(void *arg, onnxc_exprs *pool, const onnxc_expr *x) {
  (void)arg;
  onnxc_expr low = e_max(pool, x[0], e_int(pool, INT32_MIN));
  return onnxc_expr_cast(pool, ONNXC_I32, e_min(pool, low, e_int(pool, INT32_MAX)));
}

/* Starts or ends. Those that a caller of the model passes may be the extremes of int64, with which one can't count. */
static bool read_bounds(onnxc_importer *in, const char *name, uint32_t k, const onnxc_dim **dims, uint32_t *count) {
  onnxc_value value = onnxc_import_optional(in, k);
  if (!name && value.i) {
    const onnxc_value_info *info = onnxc_value_of(in->graph, value);
    if (!info->producer.i && !info->data && info->dtype == ONNXC_I64) {
      value = onnxc_build_map(in->graph, in->where, 1, &value, saturate, NULL);
      if (value.i)
        onnxc_name_elements(in->graph, value, INT32_MIN, INT32_MAX);
      return value.i && onnxc_import_dims_of(in, k, value, dims, count);
    }
  }
  return onnxc_import_dims(in, name, k, dims, count);
}

onnxc_status onnxc_import_Slice(onnxc_importer *in) {
  onnxc_graph *graph = in->graph;
  onnxc_dims *dims = &graph->dims;
  onnxc_exprs *pool = &graph->exprs;
  onnxc_value x = onnxc_import_input(in, 0);
  const onnxc_dim *starts, *ends, *axes, *steps;
  uint32_t count, num_ends, num_axes, num_steps;
  bool old = in->opset < 10;
  if (!x.i || !read_bounds(in, old ? "starts" : NULL, 1, &starts, &count) ||
      !read_bounds(in, old ? "ends" : NULL, 2, &ends, &num_ends) ||
      !onnxc_import_dims(in, old ? "axes" : NULL, 3, &axes, &num_axes) ||
      !onnxc_import_dims(in, NULL, 4, &steps, &num_steps))
    return failed(in);
  const onnxc_value_info info = *onnxc_value_of(graph, x);
  if (!starts || !ends || num_ends != count || (axes && num_axes != count) || (steps && num_steps != count) ||
      count > info.rank)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "starts, ends, axes and steps don't fit");
  onnxc_dim at[ONNXC_MAX_RANK * ONNXC_MAX_RANK], extents[ONNXC_MAX_RANK];
  if (!axes)
    onnxc_import_all_axes(in, info.rank, at);
  else if (!onnxc_import_axes(in, count, axes, info.rank, at))
    return failed(in);
  onnxc_expr index[ONNXC_MAX_RANK];
  bool whole = true;
  for (uint32_t d = 0; d < info.rank; d++) {
    onnxc_dim start = onnxc_import_at_axis(in, count, at, info.rank, d, starts, 0);
    onnxc_dim end = onnxc_import_at_axis(in, count, at, info.rank, d, ends, INT32_MAX);
    onnxc_dim step = steps ? onnxc_import_at_axis(in, count, at, info.rank, d, steps, 1) : onnxc_dim_const(dims, 1);
    if (onnxc_dim_is(dims, step, 0))
      return onnxc_import_error(in, ONNXC_BAD_INPUT, "a step is 0");
    slice part = slice_of(dims, info.dims[d], start, end, step);
    extents[d] = part.extent;
    index[d] = e_add(pool, e_mul(pool, e_index(pool, d), e_dim(pool, part.step)), e_dim(pool, part.first));
    whole = whole && onnxc_dim_same(part.extent, info.dims[d]) && onnxc_dim_is(dims, part.first, 0);
  }
  return onnxc_import_done(in, 0, whole ? x : onnxc_build_index(graph, in->where, x, info.rank, extents, index));
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
