/* ops_conv.c -- Conv and ConvTranspose.
 *
 * A transposed convolution with stride s is a plain convolution over the input that computes all s output
 * phases of a position as s times as many channels, followed by interleaving them:
 *
 *     t[n, p*OC + oc, q] = sum over ic, j of x[n, ic, q - j] * w[ic, oc, p + j*s]        (zero beyond the kernel)
 *     out[n, oc, y]      = t[n, ((y + pad) mod s)*OC + oc, (y + pad) floordiv s]
 *
 * so it is a contraction like any other, does no work on inserted zeros, and 2x2 with stride 2 is a 1x1 convolution.
 */
#include "shorthand.h"
#include "window.h"

static bool kernel_rank_fits(onnxc_importer *in, onnxc_value x, onnxc_value w) {
  uint32_t x_rank = onnxc_value_of(in->graph, x)->rank, w_rank = onnxc_value_of(in->graph, w)->rank;
  if (x_rank >= 2 && x_rank == w_rank)
    return true;
  onnxc_import_error(in, ONNXC_BAD_INPUT, "input of rank %u with weights of rank %u", x_rank, w_rank);
  return false;
}

static int64_t group_of(onnxc_importer *in) {
  int64_t group = onnxc_import_int(in, "group", 1);
  if (group >= 1 && group <= INT32_MAX)
    return group;
  onnxc_import_error(in, ONNXC_BAD_INPUT, "group is %lld", (long long)group);
  return 0;
}

bool onnxc_import_convolution(onnxc_importer *in, onnxc_value x, onnxc_value w, onnxc_conv *conv) {
  onnxc_graph *graph = in->graph;
  onnxc_window window;
  if (!x.i || !w.i || !kernel_rank_fits(in, x, w) ||
      !onnxc_import_window(in, x, onnxc_value_of(graph, w)->dims + 2, &window))
    return false;
  *conv = (onnxc_conv){.spatial = window.spatial, .group = group_of(in)};
  if (!conv->group)
    return false;
  for (uint32_t s = 0; s < window.spatial; s++) {
    if (window.auto_pad >= ONNXC_PAD_SAME_UPPER)
      conv->out[s] = onnxc_window_same(&graph->dims, &window, s);
    conv->stride[s] = window.stride[s];
    conv->dilation[s] = window.dilation[s];
    conv->pad_low[s] = window.pad_low[s];
    conv->pad_high[s] = window.pad_high[s];
  }
  return true;
}

onnxc_status onnxc_import_Conv(onnxc_importer *in) {
  onnxc_value x = onnxc_import_input(in, 0), w = onnxc_import_input(in, 1);
  onnxc_conv conv;
  if (!onnxc_import_convolution(in, x, w, &conv))
    return in->graph->diag->status;
  return onnxc_import_done(in, 0, onnxc_build_conv(in->graph, in->where, x, w, onnxc_import_optional(in, 2), &conv));
}

/* ---- ConvTranspose ---- */

/* Of each spatial dim: the output extent, and pads in the window. */
static bool transposed_extents(onnxc_importer *in, onnxc_window *window, onnxc_dim *out) {
  onnxc_dims *dims = &in->graph->dims;
  uint32_t n = window->spatial, extra_count, shape_count;
  const int64_t *extra = onnxc_import_ints(in, "output_padding", &extra_count);
  const int64_t *shape = onnxc_import_ints(in, "output_shape", &shape_count);
  if (shape_count == n + 2) { /* some exporters count N and C */
    shape += 2;
    shape_count = n;
  }
  if ((extra_count && extra_count != n) || (shape_count && shape_count != n)) {
    onnxc_import_error(in, ONNXC_BAD_INPUT, "output_padding or output_shape has not one number a spatial dim");
    return false;
  }
  bool same = window->auto_pad >= ONNXC_PAD_SAME_UPPER;
  for (uint32_t s = 0; s < n; s++) {
    int64_t padding = extra_count ? extra[s] : 0;
    if (padding < 0 || padding > INT32_MAX || (shape_count && (shape[s] < 0 || shape[s] > INT32_MAX))) {
      onnxc_import_error(in, ONNXC_BAD_INPUT, "output_padding or output_shape is out of range");
      return false;
    }
    onnxc_dim whole = onnxc_dim_mulc(dims, onnxc_dim_addc(dims, window->in[s], -1), window->stride[s]);
    whole = onnxc_dim_addc(dims, onnxc_dim_add(dims, whole, window->reach[s]), padding);
    if (!shape_count && !same) {
      out[s] = onnxc_dim_sub(dims, whole, onnxc_dim_add(dims, window->pad_low[s], window->pad_high[s]));
      continue;
    }
    out[s] = shape_count ? onnxc_dim_const(dims, shape[s]) : onnxc_dim_mulc(dims, window->in[s], window->stride[s]);
    onnxc_dim total = onnxc_dim_max(dims, onnxc_dim_sub(dims, whole, out[s]), onnxc_dim_const(dims, 0));
    onnxc_window_split(dims, window, s, total, window->auto_pad == ONNXC_PAD_SAME_UPPER);
  }
  return true;
}

/* How one spatial dim becomes a convolution: taps j of it, phases p, and where the output starts. */
typedef struct phases {
  int64_t stride;
  onnxc_dim taps;  /* ceil(reach of the window / stride) */
  onnxc_dim shift; /* out index y reads phase (y + shift) mod stride, position (y + shift) floordiv stride */
} phases;

/* A channel of t as (group, phase, channel of the group's), outermost first. */
typedef struct channel {
  onnxc_expr group, phase, inner;
} channel;

static channel split_channel(onnxc_exprs *pool, onnxc_expr c, onnxc_dim per_group, int64_t group, int64_t num_phases) {
  channel result = {.group = e_int(pool, 0), .phase = e_int(pool, 0), .inner = c};
  if (group > 1) {
    onnxc_expr size = e_dim(pool, onnxc_dim_mulc(pool->dims, per_group, num_phases));
    result.group = e_floordiv(pool, c, size);
    result.inner = e_mod(pool, c, size);
  }
  if (num_phases > 1) {
    onnxc_expr size = e_dim(pool, per_group);
    result.phase = e_floordiv(pool, result.inner, size);
    result.inner = e_mod(pool, result.inner, size);
  }
  return result;
}

/* w[C, M/group, k..] to w'[M*phases, C/group, taps..]. */
static onnxc_value phase_weights(onnxc_importer *in, onnxc_value w, int64_t group, const onnxc_window *window,
                                 const phases *phase, int64_t num_phases) {
  onnxc_graph *graph = in->graph;
  onnxc_exprs *pool = &graph->exprs;
  onnxc_dims *dims = &graph->dims;
  const onnxc_value_info info = *onnxc_value_of(graph, w);
  onnxc_dim ic_group = onnxc_dim_floordiv(dims, info.dims[0], onnxc_dim_const(dims, group));
  onnxc_compute compute = {.num_parallel = info.rank, .num_results = 1, .acc_dtype = {info.dtype}};
  compute.extents[0] = onnxc_dim_mulc(dims, info.dims[1], group * num_phases);
  compute.extents[1] = ic_group;

  channel c = split_channel(pool, e_index(pool, 0), info.dims[1], group, num_phases);
  onnxc_expr p = c.phase, inside = {0};
  onnxc_expr at[ONNXC_MAX_RANK] = {e_add(pool, e_mul(pool, c.group, e_dim(pool, ic_group)), e_index(pool, 1)), c.inner};
  for (uint32_t s = window->spatial; s-- > 0;) {
    onnxc_expr stride = e_int(pool, phase[s].stride), dilation = e_int(pool, window->dilation[s]);
    onnxc_expr k = e_sub(pool, e_dim(pool, onnxc_dim_addc(dims, phase[s].taps, -1)), e_index(pool, s + 2));
    k = e_add(pool, e_mul(pool, k, stride), e_mod(pool, p, stride));
    p = e_floordiv(pool, p, stride);
    if (!onnxc_dim_same(onnxc_dim_mulc(dims, phase[s].taps, phase[s].stride), window->reach[s]))
      inside = e_also(pool, inside, e_lt(pool, k, e_dim(pool, window->reach[s])));
    if (window->dilation[s] > 1)
      inside = e_also(pool, inside, e_eq(pool, e_mod(pool, k, dilation), e_int(pool, 0)));
    at[s + 2] = e_floordiv(pool, k, dilation);
    compute.extents[s + 2] = phase[s].taps;
  }
  compute.finish[0] =
      e_guard(pool, inside, onnxc_expr_load(pool, info.dtype, 0, info.rank, at), e_whole(pool, info.dtype, 0));
  onnxc_value result;
  onnxc_graph_add_compute(graph, in->where, &compute, 1, &w, &result);
  return result;
}

/* out[n, (g, oc), y..] from t[n, (g, p, oc), q..]. */
static onnxc_value interleave(onnxc_importer *in, onnxc_value t, const onnxc_dim *out, const phases *phase,
                              int64_t group, int64_t num_phases) {
  onnxc_exprs *pool = &in->graph->exprs;
  onnxc_dims *dims = &in->graph->dims;
  const onnxc_value_info *info = onnxc_value_of(in->graph, t);
  onnxc_dim extents[ONNXC_MAX_RANK] = {info->dims[0],
                                       onnxc_dim_floordiv(dims, info->dims[1], onnxc_dim_const(dims, num_phases))};
  onnxc_dim per_group = onnxc_dim_floordiv(dims, extents[1], onnxc_dim_const(dims, group));
  channel c = split_channel(pool, e_index(pool, 1), per_group, group, 1);
  onnxc_expr at[ONNXC_MAX_RANK] = {e_index(pool, 0)}, p = e_int(pool, 0);
  bool shifted = false;
  for (uint32_t s = 0; s + 2 < info->rank; s++) {
    onnxc_expr y = e_add(pool, e_index(pool, s + 2), e_dim(pool, phase[s].shift));
    onnxc_expr stride = e_int(pool, phase[s].stride);
    p = e_add(pool, e_mul(pool, p, stride), e_mod(pool, y, stride));
    at[s + 2] = e_floordiv(pool, y, stride);
    extents[s + 2] = out[s];
    shifted = shifted || !onnxc_dim_is(dims, phase[s].shift, 0);
  }
  onnxc_expr first = e_add(pool, e_mul(pool, c.group, e_int(pool, num_phases)), p);
  at[1] = e_add(pool, e_mul(pool, first, e_dim(pool, per_group)), c.inner);
  if (num_phases == 1 && !shifted)
    return t;
  return onnxc_build_index(in->graph, in->where, t, info->rank, extents, at);
}

onnxc_status onnxc_import_ConvTranspose(onnxc_importer *in) {
  onnxc_graph *graph = in->graph;
  onnxc_dims *dims = &graph->dims;
  onnxc_value x = onnxc_import_input(in, 0), w = onnxc_import_input(in, 1), bias = onnxc_import_optional(in, 2);
  onnxc_window window;
  onnxc_dim out[ONNXC_MAX_RANK];
  if (!x.i || !w.i || !kernel_rank_fits(in, x, w) ||
      !onnxc_import_window(in, x, onnxc_value_of(graph, w)->dims + 2, &window) || !transposed_extents(in, &window, out))
    return graph->diag->status;
  onnxc_conv conv = {.spatial = window.spatial, .group = group_of(in)};
  if (!conv.group)
    return graph->diag->status;
  phases phase[ONNXC_MAX_RANK] = {{0}};
  int64_t num_phases = 1;
  for (uint32_t s = 0; s < window.spatial; s++) {
    phases *of = &phase[s];
    of->stride = window.stride[s];
    if ((num_phases *= of->stride) > INT32_MAX / conv.group)
      return onnxc_import_error(in, ONNXC_UNSUPPORTED, "strides are too large");
    of->taps = onnxc_dim_ceildiv(dims, window.reach[s], onnxc_dim_const(dims, of->stride));
    int64_t pad, skip = 0; /* whole positions that the low pad drops */
    if (onnxc_dim_is_const(dims, window.pad_low[s], &pad))
      skip = pad / of->stride;
    of->shift = onnxc_dim_addc(dims, window.pad_low[s], -skip * of->stride);
    conv.stride[s] = conv.dilation[s] = 1;
    conv.out[s] = onnxc_dim_ceildiv(dims, onnxc_dim_add(dims, out[s], of->shift), onnxc_dim_const(dims, of->stride));
    conv.pad_low[s] = onnxc_dim_addc(dims, of->taps, -1 - skip);
    conv.pad_high[s] = onnxc_dim_addc(dims, onnxc_dim_sub(dims, conv.out[s], window.in[s]), skip);
  }
  onnxc_value weights = phase_weights(in, w, conv.group, &window, phase, num_phases);
  if (bias.i && num_phases > 1 && onnxc_value_of(graph, bias)->rank == 1) {
    onnxc_exprs *pool = &graph->exprs;
    onnxc_dim channels = onnxc_value_of(graph, bias)->dims[0], count = onnxc_dim_mulc(dims, channels, num_phases);
    onnxc_dim per_group = onnxc_value_of(graph, w)->dims[1];
    channel c = split_channel(pool, e_index(pool, 0), per_group, conv.group, num_phases);
    onnxc_expr at = e_add(pool, e_mul(pool, c.group, e_dim(pool, per_group)), c.inner);
    bias = onnxc_build_index(graph, in->where, bias, 1, &count, &at);
  }
  onnxc_value t = onnxc_build_conv(graph, in->where, x, weights, bias, &conv);
  return onnxc_import_done(in, 0, t.i ? interleave(in, t, out, phase, conv.group, num_phases) : t);
}
