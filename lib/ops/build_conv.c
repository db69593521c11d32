/* build_conv.c -- convolution as one compute: a guarded load of x times a load of w, summed over channels and window.
 *
 *     group 1:    out[n, oc, o..] = sum over ic, k.. of x[n, ic, o*stride + k*dilation - pad..] * w[oc, ic, k..]
 *     depthwise:  out[n, c, o..]  = sum over k.. of x[n, c, ..] * w[c, 0, k..]
 *     groups:     out[n, g, j, o..] with x's channel g*(C/G) + ic and w[g, j, ic, k..], then (g, j) merged to oc
 *
 * Every index is affine. The guard covers only the sides of the dims on which the window can leave x, so an unpadded
 * convolution has none. A window (or channel) extent that is 1 is no reduction index: a 1x1 convolution is a plain
 * matrix product.
 */
#include "ops/build.h"

/* One spatial dim: where the window reads, and the condition that this is inside of x. */
typedef struct tap {
  onnxc_expr index, inside; /* inside none = always */
} tap;

static tap window_tap(onnxc_graph *graph, onnxc_expr out, onnxc_expr k, const onnxc_conv *conv, uint32_t s,
                      onnxc_dim extent) {
  onnxc_exprs *pool = &graph->exprs;
  onnxc_expr e = onnxc_expr_binary(pool, ONNXC_EXPR_MUL, out, onnxc_expr_i64(pool, ONNXC_I64, conv->stride[s]));
  onnxc_expr step = onnxc_expr_binary(pool, ONNXC_EXPR_MUL, k, onnxc_expr_i64(pool, ONNXC_I64, conv->dilation[s]));
  e = onnxc_expr_binary(pool, ONNXC_EXPR_ADD, e, step);
  e = onnxc_expr_binary(pool, ONNXC_EXPR_ADD, e,
                        onnxc_expr_dim(pool, onnxc_dim_mulc(&graph->dims, conv->pad_low[s], -1)));
  tap result = {.index = e};
  int64_t low, high;
  onnxc_dim_range(&graph->dims, conv->pad_low[s], &low, &high);
  if (high > 0)
    result.inside = onnxc_expr_binary(pool, ONNXC_EXPR_LE, onnxc_expr_i64(pool, ONNXC_I64, 0), e);
  onnxc_dim_range(&graph->dims, conv->pad_high[s], &low, &high);
  if (high > 0) {
    onnxc_expr below = onnxc_expr_binary(pool, ONNXC_EXPR_LT, e, onnxc_expr_dim(pool, extent));
    result.inside = result.inside.i ? onnxc_expr_binary(pool, ONNXC_EXPR_AND, result.inside, below) : below;
  }
  return result;
}

/* What a tap outside of x reads; an operand if that is not known. */
static onnxc_expr outside(onnxc_graph *graph, onnxc_dtype dtype, onnxc_value value, onnxc_value *operands,
                          uint32_t *num_operands) {
  onnxc_exprs *pool = &graph->exprs;
  if (!value.i)
    return onnxc_dtype_is_float(dtype) ? onnxc_expr_f64(pool, dtype, 0) : onnxc_expr_i64(pool, dtype, 0);
  onnxc_expr constant = onnxc_build_constant_element(graph, value);
  if (constant.i)
    return constant;
  operands[*num_operands] = value;
  return onnxc_expr_load(pool, dtype, (*num_operands)++, 0, NULL);
}

/* (in + pads - ((k - 1) * dilation + 1)) floordiv stride + 1 */
static onnxc_dim output_extent(onnxc_dims *dims, onnxc_dim in, onnxc_dim kernel, const onnxc_conv *conv, uint32_t s) {
  if (conv->out[s].i)
    return conv->out[s];
  onnxc_dim e = onnxc_dim_add(dims, in, onnxc_dim_add(dims, conv->pad_low[s], conv->pad_high[s]));
  e = onnxc_dim_sub(dims, e, onnxc_dim_mulc(dims, onnxc_dim_addc(dims, kernel, -1), conv->dilation[s]));
  e = onnxc_dim_addc(dims, e, -1);
  return onnxc_dim_addc(dims, onnxc_dim_floordiv(dims, e, onnxc_dim_const(dims, conv->stride[s])), 1);
}

static bool check(onnxc_graph *graph, const char *where, const onnxc_value_info *x, const onnxc_value_info *w,
                  const onnxc_conv *conv) {
  if (!conv->i32 && (x->dtype != w->dtype || !(onnxc_dtype_is_float(x->dtype) || onnxc_dtype_is_int(x->dtype)))) {
    onnxc_build_error(graph, ONNXC_BAD_INPUT, where, "convolution of %s with %s", onnxc_dtype_name(x->dtype),
                      onnxc_dtype_name(w->dtype));
    return false;
  }
  if (x->rank != conv->spatial + 2 || w->rank != x->rank) {
    onnxc_build_error(graph, ONNXC_BAD_INPUT, where, "convolution over %u spatial dims of rank %u with rank %u",
                      conv->spatial, x->rank, w->rank);
    return false;
  }
  int64_t channels;
  if (conv->group < 1 || (onnxc_dim_is_const(&graph->dims, w->dims[0], &channels) && channels % conv->group)) {
    onnxc_build_error(graph, ONNXC_BAD_INPUT, where, "group %lld does not divide the output channels",
                      (long long)conv->group);
    return false;
  }
  for (uint32_t s = 0; s < conv->spatial; s++)
    if (conv->stride[s] < 1 || conv->dilation[s] < 1) {
      onnxc_build_error(graph, ONNXC_BAD_INPUT, where, "strides and dilations must be positive");
      return false;
    }
  return onnxc_build_same_dim(graph, where, x->dims[1], onnxc_dim_mulc(&graph->dims, w->dims[1], conv->group), NULL);
}

/* The window must not be larger than x: an error, or a constraint when a run decides. */
static bool check_window(onnxc_graph *graph, const char *where, onnxc_dim extent, uint32_t s) {
  onnxc_dim zero = onnxc_dim_const(&graph->dims, 0);
  int64_t low, high;
  onnxc_dim_range(&graph->dims, extent, &low, &high);
  if (high < 0) {
    onnxc_build_error(graph, ONNXC_BAD_INPUT, where, "the window is larger than dim %u of its input", s + 2);
    return false;
  }
  if (low < 0)
    onnxc_graph_add_constraint(
        graph, onnxc_dim_min(&graph->dims, extent, zero), zero,
        onnxc_arena_printf(graph->arena, "%s: the window is larger than dim %u of its input", where, s + 2));
  return true;
}

onnxc_value onnxc_build_conv(onnxc_graph *graph, const char *where, onnxc_value x, onnxc_value w, onnxc_value bias,
                             const onnxc_conv *conv) {
  if (!x.i || !w.i)
    return (onnxc_value){0};
  onnxc_exprs *pool = &graph->exprs;
  onnxc_dims *dims = &graph->dims;
  const onnxc_value_info in = *onnxc_value_of(graph, x);
  onnxc_value_info weights = *onnxc_value_of(graph, w);
  if (!check(graph, where, &in, &weights, conv))
    return (onnxc_value){0};
  onnxc_dim group_dim = onnxc_dim_const(dims, conv->group);
  onnxc_dim oc = weights.dims[0], oc_group = onnxc_dim_floordiv(dims, oc, group_dim), ic_group = weights.dims[1];
  bool depthwise = conv->group > 1 && onnxc_dim_is(dims, oc_group, 1) && onnxc_dim_is(dims, ic_group, 1);
  bool split = conv->group > 1 && !depthwise; /* the result has dims (g, j) for oc */
  if (split) {
    if (in.rank + 1 > ONNXC_MAX_RANK)
      return onnxc_build_error(graph, ONNXC_UNSUPPORTED, where, "a grouped convolution over %u spatial dims",
                               conv->spatial);
    onnxc_dim view[ONNXC_MAX_RANK] = {group_dim, oc_group};
    for (uint32_t d = 1; d < weights.rank; d++)
      view[d + 1] = weights.dims[d];
    w = onnxc_build_reshape(graph, where, w, weights.rank + 1, view);
    if (!w.i)
      return w;
  }

  onnxc_compute compute = {.num_results = 1};
  onnxc_expr x_index[ONNXC_MAX_RANK], w_index[ONNXC_MAX_RANK], o_index[ONNXC_MAX_RANK];
  onnxc_expr c0 = onnxc_expr_i64(pool, ONNXC_I64, 0);
  uint32_t p = 0, w_rank = 0;
  x_index[0] = onnxc_expr_index(pool, p);
  compute.extents[p++] = in.dims[0];
  onnxc_expr channel = onnxc_expr_index(pool, p); /* oc, or g of (g, j) */
  w_index[w_rank++] = channel;
  compute.extents[p++] = split ? group_dim : oc;
  if (split) {
    w_index[w_rank++] = onnxc_expr_index(pool, p);
    compute.extents[p++] = oc_group;
  }
  uint32_t spatial_at = p;
  for (uint32_t s = 0; s < conv->spatial; s++) {
    o_index[s] = onnxc_expr_index(pool, p);
    onnxc_dim extent = output_extent(dims, in.dims[s + 2], weights.dims[s + 2], conv, s);
    if (!check_window(graph, where, extent, s))
      return (onnxc_value){0};
    compute.extents[p++] = extent;
  }
  compute.num_parallel = p;

  onnxc_expr ic = c0;
  if (!onnxc_dim_is(dims, ic_group, 1)) {
    ic = onnxc_expr_index(pool, p);
    compute.extents[p++] = ic_group;
  }
  w_index[w_rank++] = ic;
  x_index[1] = ic;
  if (conv->group > 1) {
    onnxc_expr first = onnxc_expr_binary(pool, ONNXC_EXPR_MUL, channel, onnxc_expr_dim(pool, ic_group));
    x_index[1] = onnxc_expr_binary(pool, ONNXC_EXPR_ADD, first, ic);
  }
  onnxc_expr inside = {0};
  for (uint32_t s = 0; s < conv->spatial; s++) {
    onnxc_expr k = c0;
    bool last_chance = s + 1 == conv->spatial && p == compute.num_parallel; /* at least one reduction index */
    if (!onnxc_dim_is(dims, weights.dims[s + 2], 1) || last_chance) {
      k = onnxc_expr_index(pool, p);
      compute.extents[p++] = weights.dims[s + 2];
    }
    w_index[w_rank++] = k;
    tap at = window_tap(graph, o_index[s], k, conv, s, in.dims[s + 2]);
    x_index[s + 2] = at.index;
    if (at.inside.i)
      inside = inside.i ? onnxc_expr_binary(pool, ONNXC_EXPR_AND, inside, at.inside) : at.inside;
  }
  compute.num_reduce = p - compute.num_parallel;

  onnxc_value operands[4] = {x, w};
  uint32_t num_operands = 2;
  onnxc_expr load = onnxc_expr_load(pool, in.dtype, 0, in.rank, x_index);
  if (inside.i)
    load = onnxc_expr_select(pool, inside, load, outside(graph, in.dtype, conv->pad_value, operands, &num_operands));
  onnxc_dtype dtype = conv->i32 ? ONNXC_I32 : in.dtype, acc_dtype = onnxc_build_wide(dtype);
  onnxc_build_sum(pool, &compute, 0, acc_dtype,
                  onnxc_build_product(pool, load, onnxc_expr_load(pool, weights.dtype, 1, w_rank, w_index), acc_dtype));
  onnxc_expr result = onnxc_expr_acc(pool, acc_dtype, 0);
  if (bias.i) {
    const onnxc_value_info *b = onnxc_value_of(graph, bias);
    if (b->rank != 1 || b->dtype != dtype)
      return onnxc_build_error(graph, ONNXC_BAD_INPUT, where, "bias of rank %u and type %s", b->rank,
                               onnxc_dtype_name(b->dtype));
    if (!onnxc_build_same_dim(graph, where, b->dims[0], oc, NULL))
      return (onnxc_value){0};
    if (split)
      bias = onnxc_build_reshape(graph, where, bias, 2, (onnxc_dim[]){group_dim, oc_group});
    onnxc_expr at[2] = {channel, onnxc_expr_index(pool, 2)};
    onnxc_expr add = onnxc_expr_load(pool, dtype, num_operands, split ? 2 : 1, at);
    operands[num_operands++] = bias;
    result = onnxc_expr_binary(pool, ONNXC_EXPR_ADD, result, onnxc_expr_cast(pool, acc_dtype, add));
  }
  compute.finish[0] = onnxc_expr_cast(pool, dtype, result);
  onnxc_value out;
  onnxc_graph_add_compute(graph, where, &compute, num_operands, operands, &out);
  if (!split)
    return out;
  onnxc_dim merged[ONNXC_MAX_RANK] = {in.dims[0], oc};
  for (uint32_t s = 0; s < conv->spatial; s++)
    merged[s + 2] = compute.extents[spatial_at + s];
  return onnxc_build_reshape(graph, where, out, in.rank, merged);
}
