/* ops_pad.c -- movement with a condition or a wrap in the index: Pad, Tile, Trilu, ReverseSequence. */
#include <string.h>

#include "operands.h"
#include "shorthand.h"

static onnxc_status failed(onnxc_importer *in) { return in->graph->diag->status; }

static bool may_be_positive(const onnxc_dims *dims, onnxc_dim dim) {
  int64_t low, high;
  onnxc_dim_range(dims, dim, &low, &high);
  return high > 0;
}

/* A compute over x and at most one more operand. */
static onnxc_status finish_index(onnxc_importer *in, uint32_t rank, const onnxc_dim *extents, onnxc_expr element,
                                 onnxc_value x, onnxc_value more) {
  onnxc_compute compute = {.num_parallel = rank, .num_results = 1};
  for (uint32_t d = 0; d < rank; d++)
    compute.extents[d] = extents[d];
  compute.finish[0] = element;
  compute.acc_dtype[0] = e_dtype(&in->graph->exprs, element);
  onnxc_value operands[2] = {x, more}, result;
  onnxc_graph_add_compute(in->graph, in->where, &compute, more.i ? 2 : 1, operands, &result);
  return onnxc_import_done(in, 0, result);
}

/* A scalar operand's element: a constant's own, else a load of operand 1 (then *operand is set). */
static onnxc_expr scalar_element(onnxc_importer *in, onnxc_value scalar, onnxc_value *operand) {
  onnxc_exprs *pool = &in->graph->exprs;
  const onnxc_value_info *info = onnxc_value_of(in->graph, scalar);
  if (info->data && onnxc_dtype_is_float(info->dtype))
    return onnxc_expr_f64(pool, info->dtype, onnxc_scalar_to_f64(info->dtype, info->data));
  if (info->data)
    return onnxc_expr_i64(pool, info->dtype, onnxc_scalar_to_i64(info->dtype, info->data));
  *operand = scalar;
  return onnxc_expr_load(pool, info->dtype, 1, 0, NULL);
}

/* ---- Pad ---- */

typedef enum pad_mode { PAD_CONSTANT, PAD_REFLECT, PAD_EDGE, PAD_WRAP, PAD_MODES } pad_mode;

/* How many elements stand before and after each dim; negative ones are cut off. */
static bool read_pads(onnxc_importer *in, uint32_t rank, onnxc_dim *low, onnxc_dim *high) {
  onnxc_dims *dims = &in->graph->dims;
  const onnxc_dim *pads, *axes = NULL;
  uint32_t count, num_axes = rank;
  onnxc_dim at[ONNXC_MAX_RANK * ONNXC_MAX_RANK];
  const char *attribute = in->opset >= 11 ? NULL : onnxc_import_has(in, "paddings") ? "paddings" : "pads";
  if (!onnxc_import_dims(in, attribute, 1, &pads, &count) ||
      (in->opset >= 18 && !onnxc_import_dims(in, NULL, 3, &axes, &num_axes)))
    return false;
  if (!axes) {
    num_axes = rank;
    onnxc_import_all_axes(in, rank, at);
  } else if (!onnxc_import_axes(in, num_axes, axes, rank, at)) {
    return false;
  }
  if (!pads || count != 2 * num_axes) {
    onnxc_import_error(in, ONNXC_BAD_INPUT, "%u pads for %u dims", count, num_axes);
    return false;
  }
  for (uint32_t k = 0; k < count; k++) {
    int64_t number;
    if (onnxc_dim_is_const(dims, pads[k], &number) && (number < -INT32_MAX || number > INT32_MAX)) {
      onnxc_import_error(in, ONNXC_BAD_INPUT, "a pad of %lld", (long long)number);
      return false;
    }
  }
  for (uint32_t d = 0; d < rank; d++) {
    low[d] = onnxc_import_at_axis(in, num_axes, at, rank, d, pads, 0);
    high[d] = onnxc_import_at_axis(in, num_axes, at, rank, d, pads + num_axes, 0);
  }
  return true;
}

/* Whether a pad is shorter than the dim it mirrors. Where a run decides, that is what it must be. */
static bool reflects_once(onnxc_importer *in, onnxc_dim extent, onnxc_dim pad) {
  onnxc_dims *dims = &in->graph->dims;
  onnxc_dim zero = onnxc_dim_const(dims, 0), room = onnxc_dim_sub(dims, onnxc_dim_addc(dims, extent, -1), pad);
  int64_t low, high;
  onnxc_dim_range(dims, room, &low, &high);
  if (low < 0 && high >= 0 && !onnxc_dim_is(dims, pad, 0) && !onnxc_dim_is_data(dims, pad))
    onnxc_graph_add_constraint(
        in->graph, onnxc_dim_min(dims, room, zero), zero,
        onnxc_arena_printf(in->graph->arena, "%s: a reflected pad is as long as its dim", in->where));
  else if (low < 0 && !onnxc_dim_is(dims, pad, 0))
    return false;
  return true;
}

/* The index of x at distance e from its first element, where e may lie outside by up to low and high. */
static onnxc_expr wrapped_index(onnxc_importer *in, pad_mode mode, onnxc_expr e, onnxc_dim extent, onnxc_dim low,
                                onnxc_dim high) {
  onnxc_exprs *pool = &in->graph->exprs;
  onnxc_dims *dims = &in->graph->dims;
  bool below = may_be_positive(dims, low), above = may_be_positive(dims, high);
  if (!below && !above)
    return e;
  onnxc_expr last = e_dim(pool, onnxc_dim_addc(dims, extent, -1));
  if (mode == PAD_EDGE) {
    e = below ? e_max(pool, e, e_int(pool, 0)) : e;
    return above ? e_min(pool, e, last) : e;
  }
  if (mode == PAD_WRAP)
    return e_mod(pool, e, e_dim(pool, extent));
  if (reflects_once(in, extent, low) && reflects_once(in, extent, high)) {
    e = below ? e_abs(pool, e) : e;
    return above ? e_sub(pool, last, e_abs(pool, e_sub(pool, last, e))) : e;
  }
  onnxc_expr period = e_mul(pool, last, e_int(pool, 2));
  e = e_mod(pool, e, period);
  return e_min(pool, e, e_sub(pool, period, e));
}

onnxc_status onnxc_import_Pad(onnxc_importer *in) {
  onnxc_graph *graph = in->graph;
  onnxc_exprs *pool = &graph->exprs;
  onnxc_dims *dims = &graph->dims;
  onnxc_value x = onnxc_import_input(in, 0),
              fill_value = in->opset >= 11 ? onnxc_import_optional(in, 2) : (onnxc_value){0};
  static const char *const modes[PAD_MODES] = {"constant", "reflect", "edge", "wrap"};
  const char *text = onnxc_import_string(in, "mode", "constant");
  int mode = 0;
  while (mode < PAD_MODES && strcmp(text, modes[mode]) != 0)
    mode++;
  if (mode == PAD_MODES)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "mode '%.32s'", text);
  onnxc_dim low[ONNXC_MAX_RANK], high[ONNXC_MAX_RANK], extents[ONNXC_MAX_RANK];
  if (!x.i || !read_pads(in, onnxc_value_of(graph, x)->rank, low, high))
    return failed(in);
  const onnxc_value_info info = *onnxc_value_of(graph, x);
  onnxc_expr index[ONNXC_MAX_RANK], inside = {0};
  bool nothing = true;
  for (uint32_t d = 0; d < info.rank; d++) {
    extents[d] = onnxc_dim_add(dims, info.dims[d], onnxc_dim_add(dims, low[d], high[d]));
    nothing = nothing && onnxc_dim_is(dims, low[d], 0) && onnxc_dim_is(dims, high[d], 0);
    onnxc_expr e = e_add(pool, e_index(pool, d), e_dim(pool, onnxc_dim_mulc(dims, low[d], -1)));
    if (mode != PAD_CONSTANT) {
      index[d] = wrapped_index(in, (pad_mode)mode, e, info.dims[d], low[d], high[d]);
      continue;
    }
    index[d] = e;
    if (may_be_positive(dims, low[d]))
      inside = e_also(pool, inside, e_le(pool, e_int(pool, 0), e));
    if (may_be_positive(dims, high[d]))
      inside = e_also(pool, inside, e_lt(pool, e, e_dim(pool, info.dims[d])));
  }
  if (nothing)
    return onnxc_import_done(in, 0, x);
  if (mode != PAD_CONSTANT)
    onnxc_import_need_elements(in, &info, info.rank, extents);
  onnxc_expr fill = onnxc_dtype_is_float(info.dtype)
                        ? onnxc_expr_f64(pool, info.dtype, in->opset < 11 ? onnxc_import_float(in, "value", 0) : 0)
                        : onnxc_expr_i64(pool, info.dtype, 0);
  onnxc_value operand = {0};
  if (fill_value.i && inside.i) {
    onnxc_value scalar = onnxc_import_scalar(in, fill_value);
    if (!scalar.i)
      return failed(in);
    if (onnxc_value_of(graph, scalar)->dtype != info.dtype)
      return onnxc_import_error(in, ONNXC_BAD_INPUT, "the value's type is not that of the input");
    fill = scalar_element(in, scalar, &operand);
  }
  onnxc_expr element = e_guard(pool, inside, onnxc_expr_load(pool, info.dtype, 0, info.rank, index), fill);
  return finish_index(in, info.rank, extents, element, x, operand);
}

/* ---- Tile, Trilu, ReverseSequence ---- */

onnxc_status onnxc_import_Tile(onnxc_importer *in) {
  onnxc_graph *graph = in->graph;
  onnxc_exprs *pool = &graph->exprs;
  onnxc_value x = onnxc_import_input(in, 0);
  const onnxc_dim *repeats;
  uint32_t count;
  if (!x.i || !onnxc_import_input(in, 1).i || !onnxc_import_dims(in, NULL, 1, &repeats, &count))
    return failed(in);
  const onnxc_value_info info = *onnxc_value_of(graph, x);
  if (count != info.rank)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "%u repeats for rank %u", count, info.rank);
  onnxc_dim extents[ONNXC_MAX_RANK];
  onnxc_expr index[ONNXC_MAX_RANK];
  bool nothing = true;
  for (uint32_t d = 0; d < info.rank; d++) {
    bool once = onnxc_dim_is(&graph->dims, repeats[d], 1);
    nothing = nothing && once;
    extents[d] = onnxc_dim_mul(&graph->dims, info.dims[d], repeats[d]);
    index[d] = once                                          ? e_index(pool, d)
               : onnxc_dim_is(&graph->dims, info.dims[d], 1) ? e_int(pool, 0)
                                                             : e_mod(pool, e_index(pool, d), e_dim(pool, info.dims[d]));
  }
  return onnxc_import_done(in, 0, nothing ? x : onnxc_build_index(graph, in->where, x, info.rank, extents, index));
}

onnxc_status onnxc_import_Trilu(onnxc_importer *in) {
  onnxc_graph *graph = in->graph;
  onnxc_exprs *pool = &graph->exprs;
  onnxc_value x = onnxc_import_input(in, 0), k = onnxc_import_optional(in, 1), operand = {0};
  if (!x.i)
    return failed(in);
  onnxc_expr offset = e_int(pool, 0);
  if (k.i) {
    k = onnxc_import_scalar(in, k);
    if (!k.i)
      return failed(in);
    offset = e_i64(pool, scalar_element(in, k, &operand));
  }
  const onnxc_value_info info = *onnxc_value_of(graph, x);
  if (info.rank < 2 ||
      !(onnxc_dtype_is_float(info.dtype) || onnxc_dtype_is_int(info.dtype) || onnxc_dtype_is_bool(info.dtype)))
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "input of rank %u and type %s", info.rank,
                              onnxc_dtype_name(info.dtype));
  onnxc_expr index[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < info.rank; d++)
    index[d] = e_index(pool, d);
  onnxc_expr diagonal = e_add(pool, index[info.rank - 2], offset), column = index[info.rank - 1];
  onnxc_expr kept = onnxc_import_int(in, "upper", 1) ? e_ge(pool, column, diagonal) : e_le(pool, column, diagonal);
  onnxc_expr element = onnxc_expr_select(pool, kept, onnxc_expr_load(pool, info.dtype, 0, info.rank, index),
                                         e_whole(pool, info.dtype, 0));
  return finish_index(in, info.rank, info.dims, element, x, operand);
}

onnxc_status onnxc_import_ReverseSequence(onnxc_importer *in) {
  onnxc_graph *graph = in->graph;
  onnxc_exprs *pool = &graph->exprs;
  onnxc_value x = onnxc_import_input(in, 0), lengths = onnxc_import_input(in, 1);
  if (!x.i || !lengths.i)
    return failed(in);
  const onnxc_value_info info = *onnxc_value_of(graph, x), lens = *onnxc_value_of(graph, lengths);
  int64_t batch = onnxc_import_axis(in, onnxc_import_int(in, "batch_axis", 1), info.rank);
  int64_t time = onnxc_import_axis(in, onnxc_import_int(in, "time_axis", 0), info.rank);
  if (batch < 0 || time < 0)
    return failed(in);
  if (batch == time || lens.rank != 1 || !onnxc_dtype_is_int(lens.dtype))
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "batch and time axis, or the lengths, don't fit");
  if (!onnxc_build_same_dim(graph, in->where, lens.dims[0], info.dims[batch], NULL))
    return failed(in);
  onnxc_expr index[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < info.rank; d++)
    index[d] = e_index(pool, d);
  onnxc_expr length = e_i64(pool, onnxc_expr_load(pool, lens.dtype, 1, 1, &index[batch]));
  length = e_min(pool, length, e_dim(pool, info.dims[time])); /* what a run brings is not trusted */
  onnxc_expr t = index[time];
  index[time] = onnxc_expr_select(pool, e_lt(pool, t, length), e_sub(pool, e_addc(pool, length, -1), t), t);
  return finish_index(in, info.rank, info.dims, onnxc_expr_load(pool, info.dtype, 0, info.rank, index), x, lengths);
}
