/* winograd.c -- convolutions of 3 x 3 with fewer multiplications (Lavin & Gray 2015), where the caller allows the
 * error.
 *
 * The output is cut into tiles of m x m, m = 2 or 4, each computed from (m + 2)^2 inputs:
 *
 *     V[p, .., ty, tx, k] = input transform of x[.., k, m ty + r - pad, m tx + s - pad], zero outside of x
 *     M[p, .., n, ty, tx] = sum over k of V[p, .., ty, tx, k] * U[p, k, n]
 *     y[.., n, h, w]      = finish(output transform of M[.., n, h / m, w / m])
 *
 * p counts the (m + 2)^2 points and is outermost in memory, so the sum is a batch of matrix products, and vectors run
 * along channels in all three. U, the weights' transform, is a constant. A transform is one compute that selects by p
 * or by h mod m, w mod m; code for it has those indices unrolled (tile/choices.h), so it is sums of vectors with
 * constant coefficients. Rows and columns share what they can, as equal expressions are one.
 *
 * A convolution is one whose window is 3 x 3 with stride and dilation 1, in f32, of constant weights. The arithmetic is
 * 4 or 9/4 times less, but V and M are 2.25 or 4 times as large as what they stand for: whether that pays is estimated
 * from the target's row. What is rewritten is told in graph->winograd, with the error that a sample has.
 *
 * needs: roles      breaks: nothing      leaves: unread weights, for dce
 */
#include "pass/cook_toom.h"
#include "pass/halo.h"
#include "pass/pass.h"
#include "pass/recognise.h"

#include "ops/build.h"

#include <math.h>

/* One of the two dims that the window slides along. */
typedef struct slide {
  uint32_t out, window, dim; /* index of the result, of the reduction; dim of x */
  int64_t base;              /* x is read at out + window + base */
} slide;

typedef struct conv {
  const onnxc_node_info *node;
  const onnxc_compute *compute;
  onnxc_expr load; /* of x */
  uint32_t n, k;   /* indices of the channels */
  uint32_t num_images;
  uint32_t images[ONNXC_MAX_RANK]; /* other parallel indices */
  slide slides[2];                 /* rows, columns: in order of the result's dims */
  onnxc_kernels kernels;
} conv;

/* ---- which convolutions ---- */

static bool find_slide(onnxc_graph *graph, const conv *c, uint32_t window, slide *s) {
  onnxc_exprs *pool = &graph->exprs;
  const onnxc_compute *compute = c->compute;
  const onnxc_expr_node *load = onnxc_exprs_node(pool, c->load);
  uint32_t rank = load->num_args, found = 0, all = compute->num_parallel + compute->num_reduce;
  onnxc_dim base, steps[ONNXC_MAX_INDICES];
  for (uint32_t d = 0; d < rank; d++) {
    if (!onnxc_expr_uses_index(pool, onnxc_exprs_node(pool, c->load)->args[d], window))
      continue;
    *s = (slide){.window = window, .dim = d};
    found++;
  }
  if (found != 1 || !onnxc_dim_is(&graph->dims, compute->extents[window], ONNXC_TAPS) ||
      !onnxc_expr_affine(pool, onnxc_exprs_node(pool, c->load)->args[s->dim], all, &base, steps) ||
      !onnxc_dim_is_const(&graph->dims, base, &s->base) || !onnxc_dim_is(&graph->dims, steps[window], 1))
    return false;
  uint32_t terms = 0;
  for (uint32_t k = 0; k < all; k++)
    if (steps[k].i && k != window) {
      s->out = k;
      terms++;
    }
  return terms == 1 && s->out < compute->num_parallel && onnxc_dim_is(&graph->dims, steps[s->out], 1);
}

/* No other dim of x may move with the indices that slide. */
static bool slides_alone(const onnxc_graph *graph, const conv *c) {
  const onnxc_expr_node *load = onnxc_exprs_node(&graph->exprs, c->load);
  uint32_t sliding = 0;
  for (int s = 0; s < 2; s++)
    sliding |= 1u << c->slides[s].out | 1u << c->slides[s].window;
  for (uint32_t d = 0; d < load->num_args; d++)
    if (d != c->slides[0].dim && d != c->slides[1].dim && (onnxc_expr_indices(&graph->exprs, load->args[d]) & sliding))
      return false;
  return c->slides[0].dim != c->slides[1].dim && c->slides[0].out != c->slides[1].out;
}

/* Where the taps lie in the constant w, whose dims are walked by n, k and the window, one each. */
static bool find_kernels(onnxc_graph *graph, conv *c, onnxc_expr load, onnxc_value w) {
  const onnxc_value_info *info = onnxc_value_of(graph, w);
  const onnxc_expr_node *node = onnxc_exprs_node(&graph->exprs, load);
  int64_t shape[ONNXC_MAX_RANK];
  if (!onnxc_value_is_constant(graph, w) || !info->data || info->rank != 4 || info->layout.num_axes ||
      !onnxc_value_static_shape(graph, w, shape))
    return false;
  c->kernels.data = info->data;
  size_t stride = 1;
  for (uint32_t d = 4; d-- > 0; stride *= (size_t)shape[d]) {
    const onnxc_expr_node *index = onnxc_exprs_node(&graph->exprs, node->args[d]);
    if (index->op != ONNXC_EXPR_INDEX || shape[d] < 1)
      return false;
    if (index->imm == c->n) {
      c->kernels.outputs = (size_t)shape[d];
      c->kernels.n_stride = stride;
    } else if (index->imm == c->k) {
      c->kernels.channels = (size_t)shape[d];
      c->kernels.k_stride = stride;
    } else if (index->imm == c->slides[0].window) {
      c->kernels.y_stride = stride;
    } else {
      c->kernels.x_stride = stride;
    }
  }
  return c->kernels.n_stride && c->kernels.k_stride && c->kernels.y_stride && c->kernels.x_stride;
}

static bool is_zero(const onnxc_exprs *pool, onnxc_expr e) {
  double value = 1;
  return onnxc_expr_const_value(pool, e, &value, NULL) && value == 0;
}

static bool find_roles(conv *c, uint32_t *windows) {
  uint32_t num_n = 0, num_k = 0, num_windows = 0;
  const onnxc_compute *compute = c->compute;
  for (uint32_t k = 0; k < compute->num_parallel + compute->num_reduce; k++) {
    switch (compute->contraction.role[k]) {
    case ONNXC_ROLE_N: c->n = k, num_n++; break;
    case ONNXC_ROLE_K: c->k = k, num_k++; break;
    case ONNXC_ROLE_M: break;
    case ONNXC_ROLE_WINDOW:
      if (num_windows < 2)
        windows[num_windows] = k;
      num_windows++;
      break;
    default: return false;
    }
  }
  return num_n == 1 && num_k == 1 && num_windows == 2;
}

static bool find_conv(onnxc_graph *graph, const onnxc_node_info *node, conv *c) {
  onnxc_exprs *pool = &graph->exprs;
  const onnxc_compute *compute = node->compute;
  onnxc_factor factors[2];
  uint32_t windows[2];
  onnxc_halo reach;
  *c = (conv){.node = node, .compute = compute};
  if (node->op != ONNXC_OP_COMPUTE || !compute->contraction.valid || compute->row_group ||
      compute->acc_dtype[0] != ONNXC_F32 || !is_zero(pool, compute->init[0]) || !find_roles(c, windows) ||
      !onnxc_contraction_factors(pool, compute, factors) || factors[1].guard.i)
    return false;
  for (int f = 0; f < 2; f++)
    if (onnxc_exprs_node(pool, factors[f].load)->dtype != ONNXC_F32)
      return false;
  c->load = factors[0].load;
  onnxc_value x = node->inputs[compute->contraction.a];
  if (!find_slide(graph, c, windows[0], &c->slides[0]) || !find_slide(graph, c, windows[1], &c->slides[1]) ||
      !slides_alone(graph, c) || !onnxc_halo_of_load(graph, compute, x, c->load, factors[0].guard, &reach))
    return false;
  if (c->slides[0].out > c->slides[1].out) {
    slide rows = c->slides[1];
    c->slides[1] = c->slides[0];
    c->slides[0] = rows;
  }
  for (uint32_t k = 0; k < compute->num_parallel; k++)
    if (k != c->n && k != c->slides[0].out && k != c->slides[1].out)
      c->images[c->num_images++] = k;
  return c->num_images + 4 <= ONNXC_MAX_RANK &&
         find_kernels(graph, c, factors[1].load, node->inputs[compute->contraction.b]);
}

/* ---- where it pays ---- */

static double hint(const onnxc_graph *graph, onnxc_dim dim) {
  int64_t value = onnxc_dim_hint(&graph->dims, dim);
  return value > 1 ? (double)value : 1;
}

/* Bytes that pass once, in clocks; what is larger than the caches comes from memory. */
static double transfer(const onnxc_target *target, double bytes, double held) {
  return bytes / (held <= target->l2_bytes   ? target->l2_bandwidth
                  : held <= target->l3_bytes ? target->l3_bandwidth
                                             : target->memory_bandwidth);
}

/* Clocks of the convolution in tiles of m x m; m = 1: as the sum it is. Products run at nine tenths of the peak while
 * the weights come in. Transforms cost their additions (counted in what linear() makes: 12 and 32 a row of points), and
 * V and M are written (which reads the lines first) and read. */
static double clocks(const onnxc_graph *graph, const onnxc_target *target, const conv *c, uint32_t m) {
  double lanes = onnxc_target_lanes(target, 4), points = m == 1 ? 9 : (m + 2) * (m + 2), tiles = 1;
  double k = (double)c->kernels.channels, n = (double)c->kernels.outputs;
  for (uint32_t d = 0; d < c->num_images; d++)
    tiles *= hint(graph, c->compute->extents[c->images[d]]);
  for (int s = 0; s < 2; s++)
    tiles *= ceil(hint(graph, c->compute->extents[c->slides[s].out]) / m);
  double weights = 4 * points * k * n;
  double products = points * tiles * k * ceil(n / lanes) / (0.9 * target->fma_ports);
  products = fmax(products, transfer(target, weights, INFINITY));
  if (m == 1)
    return products;
  double adds = m == 2 ? 12 : 32, transforms = tiles * (ceil(k / lanes) + ceil(n / lanes)) * adds * (m + 2);
  double moved = 4 * points * tiles * (k + n);
  return products + transforms + transfer(target, 3 * moved, moved);
}

static uint32_t choose_tile(const onnxc_graph *graph, const onnxc_pass_options *options, const conv *c) {
  if (options->winograd > 1)
    return options->winograd;
  uint32_t best = 1;
  double least = clocks(graph, options->target, c, 1);
  for (uint32_t m = 2; m <= ONNXC_MAX_TILE; m += 2)
    if (clocks(graph, options->target, c, m) < least) {
      least = clocks(graph, options->target, c, m);
      best = m;
    }
  return best;
}

/* ---- transforms as expressions ---- */

/* The sum of c[k] x[k]. Terms are summed in parts first: of even k and of odd k (an input transform), or of the pairs
 * (1, 2), (3, 4), .. (an output transform). Each part is brought to a leading coefficient of 1, so that rows whose
 * parts are equal but for a factor share them. */
static onnxc_expr linear(onnxc_exprs *pool, uint32_t count, const double *c, const onnxc_expr *x, bool pairs) {
  onnxc_expr sum = {0};
  for (uint32_t part = 0; part < count; part++) {
    double lead = 0;
    onnxc_expr inner = {0};
    for (uint32_t t = 0; t < count; t++) {
      uint32_t k = pairs ? t : count - 1 - t;
      if (c[k] == 0 || (pairs ? (k + 1) / 2 : k % 2) != part)
        continue;
      lead = lead == 0 ? c[k] : lead;
      double factor = c[k] / lead;
      onnxc_expr size = onnxc_expr_f64(pool, ONNXC_F32, fabs(factor));
      onnxc_expr term = onnxc_expr_binary(pool, ONNXC_EXPR_MUL, x[k], size);
      inner = inner.i ? onnxc_expr_binary(pool, factor < 0 ? ONNXC_EXPR_SUB : ONNXC_EXPR_ADD, inner, term) : term;
    }
    if (!inner.i)
      continue;
    onnxc_expr term = onnxc_expr_binary(pool, ONNXC_EXPR_MUL, inner, onnxc_expr_f64(pool, ONNXC_F32, fabs(lead)));
    if (sum.i)
      sum = onnxc_expr_binary(pool, lead < 0 ? ONNXC_EXPR_SUB : ONNXC_EXPR_ADD, sum, term);
    else
      sum = lead < 0 ? onnxc_expr_unary(pool, ONNXC_EXPR_NEG, term) : term;
  }
  return sum;
}

typedef onnxc_expr square[ONNXC_MAX_POINTS][ONNXC_MAX_POINTS];

/* A transform of rows x points coefficients applied to the columns and to the rows of `x`, points x points. */
static void transform(onnxc_exprs *pool, uint32_t rows, uint32_t points, double c[][ONNXC_MAX_POINTS], square x,
                      bool pairs) {
  onnxc_expr column[ONNXC_MAX_POINTS];
  square half;
  for (uint32_t i = 0; i < rows; i++)
    for (uint32_t s = 0; s < points; s++) {
      for (uint32_t r = 0; r < points; r++)
        column[r] = x[r][s];
      half[i][s] = linear(pool, points, c[i], column, pairs);
    }
  for (uint32_t i = 0; i < rows; i++)
    for (uint32_t j = 0; j < rows; j++)
      x[i][j] = linear(pool, points, c[j], half[i], pairs);
}

/* choices[value of `selector`]. */
static onnxc_expr choose(onnxc_exprs *pool, onnxc_expr selector, uint32_t count, const onnxc_expr *choices) {
  onnxc_expr result = choices[count - 1];
  for (uint32_t k = count - 1; k-- > 0;) {
    onnxc_expr is = onnxc_expr_binary(pool, ONNXC_EXPR_EQ, selector, onnxc_expr_i64(pool, ONNXC_I64, k));
    result = onnxc_expr_select(pool, is, choices[k], result);
  }
  return result;
}

static onnxc_expr scaled(onnxc_exprs *pool, onnxc_expr_op op, onnxc_expr index, int64_t by) {
  return onnxc_expr_binary(pool, op, index, onnxc_expr_i64(pool, ONNXC_I64, by));
}

/* ---- the three computes ---- */

typedef struct rewriter {
  onnxc_graph *graph;
  onnxc_order order;
  const conv *conv;
  onnxc_cook_toom ct;
  onnxc_dim tiles[2]; /* in a column, in a row */
} rewriter;

/* The convolution's name, and which part of it this is. */
static const char *name_of(rewriter *r, const char *part) {
  const char *name = r->conv->node->name;
  return name ? onnxc_arena_printf(r->graph->arena, "%s, %s", name, part) : NULL;
}

static onnxc_dim points_dim(rewriter *r) {
  return onnxc_dim_const(&r->graph->dims, (int64_t)r->ct.points * r->ct.points);
}

/* The node just appended to the graph's order belongs before the convolution. */
static void place(rewriter *r) {
  r->graph->order.length--;
  ONNXC_PUSH(r->graph->arena, r->order, r->graph->order.data[r->graph->order.length]);
}

/* The convolution's image and channel indices as the input transform numbers them. */
static onnxc_expr input_leaf(void *arg, onnxc_exprs *pool, onnxc_expr leaf) {
  const conv *c = arg;
  const onnxc_expr_node *node = onnxc_exprs_node(pool, leaf);
  if (node->op != ONNXC_EXPR_INDEX)
    return (onnxc_expr){0};
  if (node->imm == c->k)
    return onnxc_expr_index(pool, c->num_images + 3);
  for (uint32_t i = 0; i < c->num_images; i++)
    if (node->imm == c->images[i])
      return onnxc_expr_index(pool, 1 + i);
  return (onnxc_expr){0};
}

/* Element (y, x) of a tile's input, 0 outside of the value. */
static onnxc_expr input_element(rewriter *r, uint32_t y, uint32_t x) {
  onnxc_graph *graph = r->graph;
  onnxc_exprs *pool = &graph->exprs;
  const conv *c = r->conv;
  const onnxc_value_info *value = onnxc_value_of(graph, c->node->inputs[c->compute->contraction.a]);
  onnxc_expr index[ONNXC_MAX_RANK], inside = {0};
  for (uint32_t d = 0; d < value->rank; d++) {
    onnxc_expr_node load = *onnxc_exprs_node(pool, c->load);
    index[d] = onnxc_expr_rewrite(pool, load.args[d], input_leaf, (void *)(uintptr_t)c);
  }
  for (uint32_t s = 0; s < 2; s++) {
    uint32_t d = c->slides[s].dim, m = r->ct.tile;
    int64_t first = c->slides[s].base + (s == 0 ? y : x), low, high;
    onnxc_expr at = scaled(pool, ONNXC_EXPR_MUL, onnxc_expr_index(pool, c->num_images + 1 + s), m);
    index[d] = at = scaled(pool, ONNXC_EXPR_ADD, at, first);
    onnxc_dim last = onnxc_dim_addc(&graph->dims, onnxc_dim_mulc(&graph->dims, r->tiles[s], m), first - m);
    onnxc_dim_range(&graph->dims, onnxc_dim_sub(&graph->dims, last, value->dims[d]), &low, &high);
    onnxc_expr bounds[2] = {{0}, {0}};
    if (first < 0)
      bounds[0] = onnxc_expr_binary(pool, ONNXC_EXPR_LE, onnxc_expr_i64(pool, ONNXC_I64, 0), at);
    if (high >= 0)
      bounds[1] = onnxc_expr_binary(pool, ONNXC_EXPR_LT, at, onnxc_expr_dim(pool, value->dims[d]));
    for (int b = 0; b < 2; b++)
      if (bounds[b].i)
        inside = inside.i ? onnxc_expr_binary(pool, ONNXC_EXPR_AND, inside, bounds[b]) : bounds[b];
  }
  onnxc_expr load = onnxc_expr_load(pool, ONNXC_F32, 0, value->rank, index);
  return inside.i ? onnxc_expr_select(pool, inside, load, onnxc_expr_f64(pool, ONNXC_F32, 0)) : load;
}

static onnxc_value transform_input(rewriter *r) {
  onnxc_graph *graph = r->graph;
  onnxc_exprs *pool = &graph->exprs;
  const conv *c = r->conv;
  const onnxc_node_info node = *c->node;
  uint32_t points = r->ct.points;
  onnxc_compute compute = {.num_parallel = c->num_images + 4, .num_results = 1};
  onnxc_dim *extent = compute.extents;
  *extent++ = points_dim(r);
  for (uint32_t i = 0; i < c->num_images; i++)
    *extent++ = c->compute->extents[c->images[i]];
  *extent++ = r->tiles[0];
  *extent++ = r->tiles[1];
  *extent = c->compute->extents[c->k];
  square x = {{{0}}};
  onnxc_expr all[ONNXC_MAX_POINTS * ONNXC_MAX_POINTS] = {{0}};
  for (uint32_t i = 0; i < points; i++)
    for (uint32_t j = 0; j < points; j++)
      x[i][j] = input_element(r, i, j);
  transform(pool, points, points, r->ct.input, x, false);
  for (uint32_t i = 0; i < points * points; i++)
    all[i] = x[i / points][i % points];
  compute.finish[0] = choose(pool, onnxc_expr_index(pool, 0), points * points, all);
  onnxc_value result;
  onnxc_graph_add_compute(graph, name_of(r, "input transform"), &compute, 1, &node.inputs[c->compute->contraction.a],
                          &result);
  place(r);
  return result;
}

static onnxc_value transform_weights(rewriter *r) {
  onnxc_graph *graph = r->graph;
  const onnxc_kernels *kernels = &r->conv->kernels;
  uint32_t points = r->ct.points * r->ct.points;
  float *data = onnxc_arena_alloc(graph->arena, sizeof(float) * points * kernels->channels * kernels->outputs);
  onnxc_cook_toom_filter(&r->ct, kernels, data);
  onnxc_winograd_note note = {r->conv->node->name, r->ct.tile, onnxc_cook_toom_error(&r->ct, kernels, data)};
  ONNXC_PUSH(graph->arena, graph->winograd, note);
  onnxc_value weights = r->conv->node->inputs[r->conv->compute->contraction.b];
  onnxc_value u =
      onnxc_graph_add_constant(graph, onnxc_value_of(graph, weights)->name, ONNXC_F32, 3,
                               (int64_t[]){points, (int64_t)kernels->channels, (int64_t)kernels->outputs}, data);
  place(r);
  return u;
}

static onnxc_value multiply(rewriter *r, onnxc_value v, onnxc_value u) {
  onnxc_graph *graph = r->graph;
  onnxc_exprs *pool = &graph->exprs;
  const conv *c = r->conv;
  uint32_t images = c->num_images, rank = images + 4;
  onnxc_compute compute = {.num_parallel = rank, .num_reduce = 1, .num_results = 1};
  onnxc_expr v_index[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d <= images; d++) {
    compute.extents[d] = onnxc_value_of(graph, v)->dims[d];
    v_index[d] = onnxc_expr_index(pool, d);
  }
  compute.extents[images + 1] = c->compute->extents[c->n];
  for (uint32_t s = 0; s < 2; s++) {
    compute.extents[images + 2 + s] = r->tiles[s];
    v_index[images + 1 + s] = onnxc_expr_index(pool, images + 2 + s);
  }
  onnxc_expr k = onnxc_expr_index(pool, rank);
  compute.extents[rank] = c->compute->extents[c->k];
  v_index[images + 3] = k;
  onnxc_expr a = onnxc_expr_load(pool, ONNXC_F32, 0, rank, v_index);
  onnxc_expr b = onnxc_expr_load(pool, ONNXC_F32, 1, 3,
                                 (onnxc_expr[]){onnxc_expr_index(pool, 0), k, onnxc_expr_index(pool, images + 1)});
  onnxc_build_sum(pool, &compute, 0, ONNXC_F32, onnxc_build_product(pool, a, b, ONNXC_F32));
  compute.finish[0] = onnxc_expr_acc(pool, ONNXC_F32, 0);
  onnxc_value inputs[2] = {v, u}, result;
  onnxc_recognise_contraction(graph, &compute, inputs);
  onnxc_graph_add_compute(graph, c->node->name, &compute, 2, inputs, &result);
  place(r);
  return result;
}

typedef struct finishing {
  onnxc_expr combined; /* what the accumulator becomes */
  bool *read;          /* by operand: finish loads it */
  uint32_t *map;       /* by operand: its new number */
} finishing;

static void mark_read(void *arg, const onnxc_exprs *pool, onnxc_expr e) {
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  if (node->op == ONNXC_EXPR_LOAD)
    ((const finishing *)arg)->read[node->imm] = true;
}

static onnxc_expr finish_leaf(void *arg, onnxc_exprs *pool, onnxc_expr leaf) {
  const finishing *f = arg;
  const onnxc_expr_node node = *onnxc_exprs_node(pool, leaf);
  if (node.op == ONNXC_EXPR_LOAD)
    return onnxc_expr_load_from(pool, leaf, (onnxc_dtype)node.dtype, f->map[node.imm]);
  return node.op == ONNXC_EXPR_ACC ? f->combined : (onnxc_expr){0};
}

/* The convolution's node becomes the output transform, with what it did to its sums. */
static void transform_output(rewriter *r, onnxc_node handle, onnxc_value products) {
  onnxc_graph *graph = r->graph;
  onnxc_exprs *pool = &graph->exprs;
  const conv *c = r->conv;
  onnxc_node_info *node = onnxc_node_of(graph, handle);
  uint32_t images = c->num_images, points = r->ct.points, m = r->ct.tile, kept = 0;
  onnxc_value *inputs = ONNXC_NEW_ARRAY(graph->arena, onnxc_value, node->num_inputs + 1);
  finishing f = {.read = ONNXC_NEW_ARRAY(graph->arena, bool, node->num_inputs),
                 .map = ONNXC_NEW_ARRAY(graph->arena, uint32_t, node->num_inputs)};
  onnxc_expr_walk(pool, c->compute->finish[0], mark_read, &f);
  for (uint32_t k = 0; k < node->num_inputs; k++)
    if (f.read[k]) {
      f.map[k] = kept;
      inputs[kept++] = node->inputs[k];
    }
  inputs[kept] = products;

  onnxc_expr index[ONNXC_MAX_RANK], at[2], rows[ONNXC_MAX_TILE] = {{0}};
  for (uint32_t i = 0; i < images; i++)
    index[1 + i] = onnxc_expr_index(pool, c->images[i]);
  index[images + 1] = onnxc_expr_index(pool, c->n);
  for (uint32_t s = 0; s < 2; s++) {
    at[s] = onnxc_expr_index(pool, c->slides[s].out);
    index[images + 2 + s] = scaled(pool, ONNXC_EXPR_FLOORDIV, at[s], m);
  }
  square x = {{{0}}};
  for (uint32_t i = 0; i < points; i++)
    for (uint32_t j = 0; j < points; j++) {
      index[0] = onnxc_expr_i64(pool, ONNXC_I64, i * points + j);
      x[i][j] = onnxc_expr_load(pool, ONNXC_F32, kept, images + 4, index);
    }
  transform(pool, m, points, r->ct.output, x, true);
  for (uint32_t i = 0; i < m; i++)
    rows[i] = choose(pool, scaled(pool, ONNXC_EXPR_MOD, at[1], m), m, x[i]);
  f.combined = choose(pool, scaled(pool, ONNXC_EXPR_MOD, at[0], m), m, rows);

  onnxc_compute *compute = ONNXC_NEW(graph->arena, onnxc_compute);
  compute->num_parallel = c->compute->num_parallel;
  compute->num_results = 1;
  for (uint32_t k = 0; k < compute->num_parallel; k++)
    compute->extents[k] = c->compute->extents[k];
  compute->finish[0] = onnxc_expr_rewrite(pool, c->compute->finish[0], finish_leaf, &f);
  node->name = name_of(r, "output transform");
  node->compute = compute;
  node->inputs = inputs;
  node->num_inputs = kept + 1;
}

static void rewrite(rewriter *r, onnxc_node handle, uint32_t tile) {
  onnxc_graph *graph = r->graph;
  r->ct = onnxc_cook_toom_of(tile);
  for (uint32_t s = 0; s < 2; s++)
    r->tiles[s] = onnxc_dim_ceildiv(&graph->dims, r->conv->compute->extents[r->conv->slides[s].out],
                                    onnxc_dim_const(&graph->dims, tile));
  onnxc_value u = transform_weights(r);
  transform_output(r, handle, multiply(r, transform_input(r), u));
}

onnxc_status onnxc_pass_winograd(onnxc_graph *graph, const onnxc_pass_options *options) {
  rewriter r = {.graph = graph};
  if (!options->winograd)
    return ONNXC_OK;
  if (!options->target)
    return onnxc_error(graph->diag, ONNXC_USAGE, "pass winograd needs a target");
  uint32_t length = graph->order.length;
  for (uint32_t k = 0; k < length; k++) {
    onnxc_node handle = graph->order.data[k];
    const onnxc_node_info node = *onnxc_node_of(graph, handle); /* adding nodes moves them */
    conv c;
    uint32_t tile = find_conv(graph, &node, &c) ? choose_tile(graph, options, &c) : 1;
    graph->branch = node.branch;
    r.conv = &c;
    if (tile > 1)
      rewrite(&r, handle, tile);
    ONNXC_PUSH(graph->arena, r.order, handle);
  }
  graph->branch = (onnxc_branch){0};
  graph->order = r.order;
  return ONNXC_OK;
}
