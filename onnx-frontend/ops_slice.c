/* ops_slice.c -- Slice: result[i..] = x[first + i*step ..].
 *
 * Starts, ends and steps that are known or made of shapes give first and extent by arithmetic on dims. Where the
 * contents of a tensor decide any of them (or the axes), small computes make the lists of firsts, steps and extents,
 * and their elements are symbols.
 */
#include "operands.h"
#include "shorthand.h"

static onnxc_status failed(onnxc_importer *in) { return in->graph->diag->status; }

/* What the node asks for: `count` entries each; axes and steps may be absent (NULL). */
typedef struct request {
  uint32_t count, rank;
  const onnxc_dim *starts, *ends, *axes, *steps;
  onnxc_dim at[ONNXC_MAX_RANK * ONNXC_MAX_RANK]; /* see onnxc_import_axes */
} request;

/* ---- by arithmetic on dims ---- */

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
    end = onnxc_dim_max(dims, from_end(dims, end, whole), none);
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

/* ---- by small computes ---- */

/* Element j of list `operand` as i64, brought into the range of extents. */
static onnxc_expr entry(onnxc_importer *in, uint32_t operand, uint32_t j) {
  onnxc_exprs *pool = &in->graph->exprs;
  onnxc_dtype dtype = onnxc_value_of(in->graph, onnxc_import_optional(in, operand))->dtype;
  onnxc_expr index = e_int(pool, j), value = e_i64(pool, onnxc_expr_load(pool, dtype, operand, 1, &index));
  return e_min(pool, e_max(pool, value, e_int(pool, INT32_MIN)), e_int(pool, INT32_MAX));
}

/* First index, step and extent of dim i0, as expressions over the inputs (x's place is taken by the list of its dims).
 */
typedef struct lists {
  onnxc_expr first, step, extent;
} lists;

static lists lists_at_run(onnxc_importer *in, const request *r) {
  onnxc_exprs *pool = &in->graph->exprs;
  onnxc_expr d = e_index(pool, 0), whole = onnxc_expr_load(pool, ONNXC_I64, 0, 1, &d);
  onnxc_expr zero = e_int(pool, 0), one = e_int(pool, 1), most = e_int(pool, INT32_MAX);
  onnxc_expr start = zero, end = most, step = one;
  for (uint32_t j = 0; j < r->count; j++) {
    onnxc_expr axis = r->axes ? e_mod(pool, entry(in, 3, j), e_int(pool, r->rank)) : e_int(pool, j);
    onnxc_expr here = e_eq(pool, axis, d);
    start = onnxc_expr_select(pool, here, entry(in, 1, j), start);
    end = onnxc_expr_select(pool, here, entry(in, 2, j), end);
    step = r->steps ? onnxc_expr_select(pool, here, entry(in, 4, j), step) : step;
  }
  onnxc_expr down = e_lt(pool, step, zero), last = e_addc(pool, whole, -1), none = e_int(pool, -1);
  onnxc_expr to_end = e_eq(pool, end, most); /* as slice_backward takes it */
  start = onnxc_expr_select(pool, e_lt(pool, start, zero), e_add(pool, start, whole), start);
  end = onnxc_expr_select(pool, e_lt(pool, end, zero), e_add(pool, end, whole), end);
  start = e_max(pool, start, zero);
  start = e_min(pool, start, onnxc_expr_select(pool, down, last, whole));
  end = onnxc_expr_select(pool, down, onnxc_expr_select(pool, to_end, none, e_max(pool, end, none)),
                          e_min(pool, e_max(pool, end, zero), whole));
  onnxc_expr room = onnxc_expr_select(pool, down, e_sub(pool, start, end), e_sub(pool, end, start));
  onnxc_expr size = e_abs(pool, step);
  room = e_add(pool, e_max(pool, room, zero), e_addc(pool, size, -1));
  return (lists){start, step, e_max(pool, e_floordiv(pool, room, size), zero)};
}

/* The same for every dim, as symbols where it is not known. */
static void slices_at_run(onnxc_importer *in, const request *r, const onnxc_dim *whole, slice *parts) {
  onnxc_dims *dims = &in->graph->dims;
  lists made = lists_at_run(in, r);
  onnxc_value operands[5] = {onnxc_build_shape_tensor(in->graph, in->where, r->rank, whole)};
  uint32_t n = r->steps ? 5 : r->axes ? 4 : 3;
  for (uint32_t k = 1; k < n; k++) /* an absent list is not loaded, so anything may stand for it */
    operands[k] = onnxc_import_optional(in, k).i ? onnxc_import_optional(in, k) : operands[0];
  onnxc_dim first[ONNXC_MAX_RANK], step[ONNXC_MAX_RANK], extent[ONNXC_MAX_RANK];
  onnxc_value extents = onnxc_import_list(in, r->rank, made.extent, n, operands);
  onnxc_import_list_dims(in, onnxc_import_list(in, r->rank, made.first, n, operands), -1, INT32_MAX, first);
  onnxc_import_list_dims(in, onnxc_import_list(in, r->rank, made.step, n, operands), INT32_MIN, INT32_MAX, step);
  onnxc_import_list_dims(in, extents, 0, INT32_MAX, extent);
  for (uint32_t d = 0; d < r->rank; d++) {
    bool untouched = true; /* no axis can be d */
    parts[d] = (slice){first[d], step[d], extent[d]};
    for (uint32_t j = 0; j < r->count; j++) {
      untouched = untouched && onnxc_dim_is(dims, r->at[j * r->rank + d], 0);
      if (!onnxc_dim_is(dims, r->at[j * r->rank + d], 1))
        continue;
      onnxc_dim by = r->steps ? r->steps[j] : onnxc_dim_const(dims, 1);
      if (onnxc_dim_is_const(dims, by, NULL))
        parts[d].step = by;
    }
    if (untouched)
      parts[d] = (slice){onnxc_dim_const(dims, 0), onnxc_dim_const(dims, 1), whole[d]};
  }
}

/* ---- the importer ---- */

static bool read_request(onnxc_importer *in, uint32_t rank, request *r) {
  bool old = in->opset < 10;
  uint32_t num_ends, num_axes, num_steps;
  *r = (request){.rank = rank};
  if (!onnxc_import_dims(in, old ? "starts" : NULL, 1, &r->starts, &r->count) ||
      !onnxc_import_dims(in, old ? "ends" : NULL, 2, &r->ends, &num_ends) ||
      !onnxc_import_dims(in, old ? "axes" : NULL, 3, &r->axes, &num_axes) ||
      !onnxc_import_dims(in, NULL, 4, &r->steps, &num_steps))
    return false;
  if (!r->starts || !r->ends || num_ends != r->count || (r->axes && num_axes != r->count) ||
      (r->steps && num_steps != r->count) || r->count > rank) {
    onnxc_import_error(in, ONNXC_BAD_INPUT, "starts, ends, axes and steps don't fit");
    return false;
  }
  for (uint32_t j = 0; r->steps && j < r->count; j++)
    if (onnxc_dim_is(&in->graph->dims, r->steps[j], 0)) {
      onnxc_import_error(in, ONNXC_BAD_INPUT, "a step is 0");
      return false;
    }
  if (r->axes)
    return onnxc_import_axes(in, r->count, r->axes, rank, r->at);
  onnxc_import_all_axes(in, rank, r->at);
  return true;
}

static bool any_data(const onnxc_dims *dims, const request *r) {
  for (uint32_t j = 0; j < r->count; j++)
    if (onnxc_dim_is_data(dims, r->starts[j]) || onnxc_dim_is_data(dims, r->ends[j]) ||
        (r->axes && onnxc_dim_is_data(dims, r->axes[j])) || (r->steps && onnxc_dim_is_data(dims, r->steps[j])))
      return true;
  return false;
}

onnxc_status onnxc_import_Slice(onnxc_importer *in) {
  onnxc_graph *graph = in->graph;
  onnxc_dims *dims = &graph->dims;
  onnxc_exprs *pool = &graph->exprs;
  onnxc_value x = onnxc_import_input(in, 0);
  request r;
  if (!x.i || !read_request(in, onnxc_value_of(graph, x)->rank, &r))
    return failed(in);
  const onnxc_value_info info = *onnxc_value_of(graph, x);
  slice parts[ONNXC_MAX_RANK];
  if (any_data(dims, &r))
    slices_at_run(in, &r, info.dims, parts);
  else
    for (uint32_t d = 0; d < r.rank; d++) {
      onnxc_dim start = onnxc_import_at_axis(in, r.count, r.at, r.rank, d, r.starts, 0);
      onnxc_dim end = onnxc_import_at_axis(in, r.count, r.at, r.rank, d, r.ends, INT32_MAX);
      onnxc_dim step = onnxc_dim_const(dims, 1);
      if (r.steps)
        step = onnxc_import_at_axis(in, r.count, r.at, r.rank, d, r.steps, 1);
      parts[d] = slice_of(dims, info.dims[d], start, end, step);
    }
  onnxc_expr index[ONNXC_MAX_RANK];
  onnxc_dim extents[ONNXC_MAX_RANK];
  bool whole = true;
  for (uint32_t d = 0; d < r.rank; d++) {
    extents[d] = parts[d].extent;
    index[d] = e_add(pool, e_mul(pool, e_index(pool, d), e_dim(pool, parts[d].step)), e_dim(pool, parts[d].first));
    whole = whole && onnxc_dim_same(parts[d].extent, info.dims[d]) && onnxc_dim_is(dims, parts[d].first, 0);
  }
  return onnxc_import_done(in, 0, whole ? x : onnxc_build_index(graph, in->where, x, info.rank, extents, index));
}
