/* layout.c -- choose how each value lies in memory.
 *
 * Storage order. A contraction stores its n index innermost (channels last for convolutions: the register tile's
 * vectors run along n); a contraction without n but with a window (depthwise) its batch index. Other computes follow
 * the operand whose dims they walk, so the order runs through a network until something needs row major order: a graph
 * output, or a reshape that is no view in that order. There a relayout is put.
 *
 * Halo. A sum over guarded loads, sum(select(in range, x[..], 0) * w), reads plain memory if x has a border of zeros. A
 * value that this program computes gets the border where it is written; for others (inputs, views) a relayout makes a
 * copy: in the order that its user wants, or, of a few channels, as they are. The guard then goes away.
 *
 * needs: roles      gives: layouts      breaks: nothing
 */
#include "pass/halo.h"
#include "pass/pass.h"
#include "pass/recognise.h"

#include <string.h>

enum { FEW_CHANNELS = 4 };

typedef struct layouter {
  onnxc_graph *graph;
  onnxc_order order; /* the new program */
  bool *plain;       /* by value: must keep the default layout without a halo */
  bool *binds;       /* by value: a run reads its elements to bind symbols, in row major order */
} layouter;

/* ---- storage order ---- */

static onnxc_layout layout_of_perm(uint32_t rank, const uint32_t *perm) {
  onnxc_layout layout = {.num_axes = (uint8_t)rank};
  for (uint32_t k = 0; k < rank; k++)
    layout.axis_dim[k] = (uint8_t)perm[k];
  return layout;
}

/* The default when the order differs from row major only in dims of one element. */
static onnxc_layout normalised(const onnxc_graph *graph, const onnxc_value_info *value, onnxc_layout layout) {
  int last = -1;
  for (uint32_t k = 0; k < layout.num_axes; k++) {
    if (onnxc_dim_is(&graph->dims, value->dims[layout.axis_dim[k]], 1))
      continue;
    if ((int)layout.axis_dim[k] < last)
      return layout;
    last = layout.axis_dim[k];
  }
  return (onnxc_layout){0};
}

/* A batch index that shares a dim of a with a k index counts groups of channels: it belongs with the channels. */
static bool counts_groups(onnxc_exprs *pool, const onnxc_compute *compute, uint32_t batch) {
  onnxc_factor factors[2];
  if (!onnxc_contraction_factors(pool, compute, factors))
    return false;
  const onnxc_expr_node *load = onnxc_exprs_node(pool, factors[0].load);
  for (uint32_t d = 0; d < load->num_args; d++)
    for (uint32_t k = compute->num_parallel; k < compute->num_parallel + compute->num_reduce; k++)
      if (compute->contraction.role[k] == ONNXC_ROLE_K && onnxc_expr_uses_index(pool, load->args[d], batch) &&
          onnxc_expr_uses_index(pool, load->args[d], k))
        return true;
  return false;
}

static bool order_of_contraction(onnxc_exprs *pool, const onnxc_compute *compute, uint32_t *perm) {
  onnxc_role inner = ONNXC_ROLE_BATCH;
  bool window = false;
  for (uint32_t k = 0; k < compute->num_parallel + compute->num_reduce; k++) {
    if (compute->contraction.role[k] == ONNXC_ROLE_N)
      inner = ONNXC_ROLE_N;
    if (compute->contraction.role[k] == ONNXC_ROLE_WINDOW)
      window = true;
  }
  if (inner == ONNXC_ROLE_BATCH && !window)
    return false;
  uint32_t count = 0, place[ONNXC_MAX_RANK]; /* 0 outside, 1 groups of channels, 2 channels */
  for (uint32_t k = 0; k < compute->num_parallel; k++)
    place[k] = compute->contraction.role[k] == inner                                                 ? 2
               : compute->contraction.role[k] == ONNXC_ROLE_BATCH && counts_groups(pool, compute, k) ? 1
                                                                                                     : 0;
  for (uint32_t where = 0; where < 3; where++)
    for (uint32_t k = 0; k < compute->num_parallel; k++)
      if (place[k] == where)
        perm[count++] = k;
  return true;
}

typedef struct dim_map {
  uint32_t operand, rank;
  uint32_t of_result[ONNXC_MAX_RANK]; /* by operand dim: 1 + the result dim that walks it, 0 = none */
  uint32_t loads;
  bool plain;
} dim_map;

/* The parallel index that walks an operand's dim: the one that is added as it is, else the only one there is. */
static void map_dim(dim_map *map, const onnxc_exprs *pool, onnxc_expr index, uint32_t d) {
  const onnxc_expr_node *node = onnxc_exprs_node(pool, index);
  uint32_t walks = 0;
  for (uint32_t k = 0; k < map->rank; k++)
    if (onnxc_expr_uses_index(pool, index, k)) {
      map->plain = map->plain && !walks;
      walks = k + 1;
    }
  for (uint32_t n = 0; node->op == ONNXC_EXPR_ADD && n < 2; n++) {
    const onnxc_expr_node *term = onnxc_exprs_node(pool, node->args[n]);
    if (term->op == ONNXC_EXPR_INDEX && term->imm < (int64_t)map->rank) {
      map->plain = true;
      walks = (uint32_t)term->imm + 1;
    }
  }
  if (walks && map->of_result[d] && map->of_result[d] != walks)
    map->plain = false;
  map->of_result[d] = walks ? walks : map->of_result[d];
}

static void map_dims(void *arg, const onnxc_exprs *pool, onnxc_expr e) {
  dim_map *map = arg;
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  if (node->op != ONNXC_EXPR_LOAD || node->imm != (int64_t)map->operand)
    return;
  map->loads++;
  for (uint32_t d = 0; d < node->num_args && map->plain; d++)
    map_dim(map, pool, node->args[d], d);
}

/* The result's storage order when it follows operand k; false if the operand does not walk all of its dims. */
static bool follow_operand(const onnxc_graph *graph, const onnxc_node_info *node, uint32_t operand, uint32_t *perm) {
  const onnxc_compute *compute = node->compute;
  const onnxc_value_info *value = onnxc_value_of(graph, node->inputs[operand]);
  uint32_t rank = compute->num_parallel;
  if (value->layout.num_axes != value->rank || value->rank < 3)
    return false;
  dim_map map = {.operand = operand, .rank = rank, .plain = true};
  for (uint32_t j = 0; j < compute->num_results; j++) {
    onnxc_expr_walk(&graph->exprs, compute->finish[j], map_dims, &map);
    if (compute->num_reduce)
      onnxc_expr_walk(&graph->exprs, compute->element[j], map_dims, &map);
  }
  if (!map.loads || !map.plain)
    return false;
  uint32_t count = 0;
  bool placed[ONNXC_MAX_RANK] = {false};
  for (uint32_t a = 0; a < value->rank; a++) {
    uint32_t k = map.of_result[value->layout.axis_dim[a]];
    if (k && k <= rank && !placed[k - 1]) {
      placed[k - 1] = true;
      perm[count++] = k - 1;
    }
  }
  for (uint32_t k = 0; k < rank; k++) /* dims that the operand broadcasts over go outermost */
    if (!placed[k]) {
      memmove(perm + 1, perm, count * sizeof *perm);
      perm[0] = k;
      count++;
    }
  /* A trailing run that is a set of neighbouring dims goes in row major order, so that merging them (the channel
   * shuffle's reshape) stays a view. */
  uint32_t start = rank, low = rank, high = 0;
  while (start > 0 && (start == rank || perm[start - 1] + 1 == low || perm[start - 1] == high + 1)) {
    start--;
    low = perm[start] < low ? perm[start] : low;
    high = perm[start] > high ? perm[start] : high;
  }
  for (uint32_t k = start; k < rank; k++)
    perm[k] = low + (k - start);
  return true;
}

static onnxc_layout layout_of_compute(onnxc_graph *graph, const onnxc_node_info *node) {
  uint32_t perm[ONNXC_MAX_RANK] = {0};
  const onnxc_compute *compute = node->compute;
  const onnxc_value_info *result = onnxc_value_of(graph, node->outputs[0]);
  if (compute->contraction.valid && order_of_contraction(&graph->exprs, compute, perm))
    return normalised(graph, result, layout_of_perm(compute->num_parallel, perm));
  double most = -1; /* elements; an integer could overflow */
  onnxc_layout layout = {0};
  for (uint32_t k = 0; k < node->num_inputs; k++) {
    if (!node->inputs[k].i || onnxc_value_is_constant(graph, node->inputs[k]))
      continue;
    double count = 1;
    for (uint32_t d = 0; d < onnxc_value_of(graph, node->inputs[k])->rank; d++)
      count *= (double)onnxc_dim_hint(&graph->dims, onnxc_value_of(graph, node->inputs[k])->dims[d]);
    if (count > most && follow_operand(graph, node, k, perm)) {
      most = count;
      layout = normalised(graph, result, layout_of_perm(compute->num_parallel, perm));
    }
  }
  return layout;
}

/* A reshape as a view: input dims and output dims fall into groups of equal products, each group in row major
 * order and, in storage, in one piece. Gives the output's storage order. */
static bool reshape_order(onnxc_graph *graph, const onnxc_value_info *in, const onnxc_value_info *out, uint32_t *perm) {
  onnxc_dims *dims = &graph->dims;
  uint32_t group_of_in[ONNXC_MAX_RANK], first_out[ONNXC_MAX_RANK + 1];
  uint32_t i = 0, o = 0, groups = 0;
  if (in->layout.num_axes != in->rank)
    return false;
  while (i < in->rank || o < out->rank) {
    onnxc_dim a = onnxc_dim_const(dims, 1), b = a;
    uint32_t first_in = i;
    first_out[groups] = o;
    do { /* the smaller side grows until the products agree */
      bool grow_in =
          i < in->rank && (i == first_in || o >= out->rank || onnxc_dim_hint(dims, a) < onnxc_dim_hint(dims, b));
      if (grow_in) {
        group_of_in[i] = groups;
        a = onnxc_dim_mul(dims, a, in->dims[i++]);
      } else if (o < out->rank) {
        b = onnxc_dim_mul(dims, b, out->dims[o++]);
      } else {
        return false;
      }
    } while (!onnxc_dim_same(a, b));
    groups++;
  }
  first_out[groups] = out->rank;
  uint32_t count = 0;
  for (uint32_t k = 0; k < in->rank;) {
    uint32_t group = group_of_in[in->layout.axis_dim[k]];
    uint32_t next = in->layout.axis_dim[k];
    if (next > 0 && group_of_in[next - 1] == group)
      return false; /* the group starts in its middle */
    for (; next < in->rank && group_of_in[next] == group; next++, k++)
      if (k >= in->rank || in->layout.axis_dim[k] != next)
        return false;
    for (o = first_out[group]; o < first_out[group + 1]; o++)
      perm[count++] = o;
  }
  return count == out->rank;
}

/* ---- relayouts ---- */

static onnxc_value relayout(layouter *l, onnxc_value value, const onnxc_layout *layout) {
  onnxc_graph *graph = l->graph;
  onnxc_value_info info = *onnxc_value_of(graph, value);
  onnxc_value copy = onnxc_graph_add_value(graph, info.name, info.dtype, info.rank, info.dims);
  onnxc_value_of(graph, copy)->layout = *layout;
  onnxc_node node = onnxc_graph_add_node(graph, ONNXC_OP_RELAYOUT, info.name, 1, &value, 1, &copy);
  graph->order.length--; /* add_node appended it; it belongs before its user */
  ONNXC_PUSH(graph->arena, l->order, node);
  return copy;
}

/* What reads an operand at so many places (the transforms of winograd.c do) finds them far apart if neighbours in the
 * result are no neighbours in the operand: a value in row major order is copied into the result's order first. */
static void reorder_operands(layouter *l, onnxc_node handle, const onnxc_layout *result) {
  enum { MANY = 16 };
  onnxc_graph *graph = l->graph;
  uint32_t rank = onnxc_node_of(graph, handle)->compute->num_parallel, count = onnxc_node_of(graph, handle)->num_inputs;
  onnxc_layout order = onnxc_layout_explicit(result, rank);
  for (uint32_t k = 0; k < count; k++) {
    const onnxc_node_info *node = onnxc_node_of(graph, handle);
    dim_map map = {.operand = k, .rank = rank, .plain = true};
    if (node->compute->num_reduce || !node->inputs[k].i || onnxc_value_is_constant(graph, node->inputs[k]))
      continue;
    const onnxc_value_info *value = onnxc_value_of(graph, node->inputs[k]);
    for (uint32_t j = 0; j < node->compute->num_results; j++)
      onnxc_expr_walk(&graph->exprs, node->compute->finish[j], map_dims, &map);
    if (map.loads < MANY || !map.plain || value->layout.num_axes)
      continue;
    uint32_t perm[ONNXC_MAX_RANK], placed = 0;
    for (uint32_t a = 0; a < rank; a++)
      for (uint32_t d = 0; d < value->rank; d++)
        if (map.of_result[d] == order.axis_dim[a] + 1U)
          perm[placed++] = d;
    onnxc_layout layout = layout_of_perm(value->rank, perm);
    if (placed == value->rank && normalised(graph, value, layout).num_axes)
      onnxc_node_of(graph, handle)->inputs[k] = relayout(l, node->inputs[k], &layout);
  }
}

static void choose_orders(layouter *l) {
  onnxc_graph *graph = l->graph;
  uint32_t length = graph->order.length;
  for (uint32_t n = 0; n < length; n++) {
    onnxc_node handle = graph->order.data[n];
    onnxc_node_info *node = onnxc_node_of(graph, handle);
    graph->branch = node->branch;
    uint32_t perm[ONNXC_MAX_RANK] = {0};
    onnxc_layout row_major = {0};
    if (node->op == ONNXC_OP_COMPUTE) {
      onnxc_layout layout = layout_of_compute(graph, node);
      for (uint32_t j = 0; j < node->num_outputs; j++)
        if (l->binds[node->outputs[j].i])
          layout = row_major;
      for (uint32_t j = 0; j < node->num_outputs; j++)
        onnxc_value_of(graph, node->outputs[j])->layout = layout;
      reorder_operands(l, handle, &layout);
    } else if (node->op == ONNXC_OP_CONCAT) {
      onnxc_value_info *out = onnxc_value_of(graph, node->outputs[0]);
      bool binds = l->binds[node->outputs[0].i];
      for (uint32_t k = 0; k < node->num_inputs && out->layout.num_axes == 0 && !binds; k++)
        out->layout = normalised(graph, out, onnxc_value_of(graph, node->inputs[k])->layout);
    } else if (node->op == ONNXC_OP_RESHAPE) {
      onnxc_value_info *in = onnxc_value_of(graph, node->inputs[0]), *out = onnxc_value_of(graph, node->outputs[0]);
      if (in->layout.num_axes && !l->binds[node->outputs[0].i] && reshape_order(graph, in, out, perm))
        out->layout = normalised(graph, out, layout_of_perm(out->rank, perm));
      else if (in->layout.num_axes) {
        onnxc_value copy = relayout(l, node->inputs[0], &row_major);
        onnxc_node_of(graph, handle)->inputs[0] = copy;
      }
      l->plain[onnxc_node_of(graph, handle)->inputs[0].i] = true;
    }
    ONNXC_PUSH(graph->arena, l->order, handle);
  }
  graph->branch = (onnxc_branch){0};
  for (uint32_t k = 0; k < graph->outputs.length; k++) {
    onnxc_value value = graph->outputs.data[k];
    onnxc_layout row_major = {0};
    if (onnxc_value_of(graph, value)->layout.num_axes)
      graph->outputs.data[k] = relayout(l, value, &row_major);
  }
}

/* ---- halos ---- */

/* The first layer's f32 channels: its elements are broadcast one by one, from anywhere, and rows are copied as they
 * are much faster than with the channels brought together. (Dot products want those together.) */
static bool reads_few_channels(const onnxc_graph *graph, const onnxc_compute *compute, onnxc_value value) {
  int64_t channels = 1, extent;
  bool n = false;
  for (uint32_t k = 0; k < compute->num_parallel + compute->num_reduce; k++) {
    n |= compute->contraction.role[k] == ONNXC_ROLE_N;
    if (compute->contraction.role[k] != ONNXC_ROLE_K)
      continue;
    if (!onnxc_dim_is_const(&graph->dims, compute->extents[k], &extent) || extent > FEW_CHANNELS)
      return false;
    channels *= extent;
  }
  return n && channels <= FEW_CHANNELS && onnxc_value_of(graph, value)->dtype == ONNXC_F32;
}

static bool can_have_halo(const layouter *l, onnxc_value value) {
  const onnxc_value_info *info = onnxc_value_of(l->graph, value);
  if (!info->producer.i || l->plain[value.i])
    return false;
  const onnxc_node_info *producer = onnxc_node_of(l->graph, info->producer);
  return producer->op == ONNXC_OP_RELAYOUT || producer->op == ONNXC_OP_CONCAT ||
         (producer->op == ONNXC_OP_COMPUTE && producer->compute->row_group == 0);
}

/* Where a guarded load stands in a compute: the whole element, or a factor of the product. */
static uint32_t guarded_loads(onnxc_exprs *pool, const onnxc_compute *compute, onnxc_expr *found,
                              onnxc_factor *factor) {
  if (compute->num_results != 1 || compute->num_reduce == 0 ||
      onnxc_compute_combiner(pool, compute, 0) != ONNXC_EXPR_ADD)
    return 0;
  uint32_t count = 0;
  onnxc_expr candidates[3] = {compute->element[0]};
  uint32_t num_candidates = 1;
  onnxc_expr_node node = *onnxc_exprs_node(pool, compute->element[0]);
  if (node.op == ONNXC_EXPR_MUL) {
    candidates[num_candidates++] = node.args[0];
    candidates[num_candidates++] = node.args[1];
  }
  for (uint32_t k = 0; k < num_candidates && count < 2; k++)
    if (onnxc_match_factor(pool, candidates[k], &factor[count]) && factor[count].guard.i)
      found[count++] = candidates[k];
  return count;
}

static onnxc_expr without_guard(onnxc_exprs *pool, onnxc_expr element, onnxc_expr guarded, onnxc_expr plain) {
  if (element.i == guarded.i)
    return plain;
  onnxc_expr_node node = *onnxc_exprs_node(pool, element);
  onnxc_expr a = node.args[0].i == guarded.i ? plain : node.args[0];
  onnxc_expr b = node.args[1].i == guarded.i ? plain : node.args[1];
  return onnxc_expr_binary(pool, ONNXC_EXPR_MUL, a, b);
}

static void drop_guard(onnxc_graph *graph, onnxc_node_info *node, onnxc_expr guarded, const onnxc_factor *factor,
                       uint32_t operand) {
  onnxc_exprs *pool = &graph->exprs;
  onnxc_expr_node load = *onnxc_exprs_node(pool, factor->load);
  onnxc_expr plain =
      onnxc_expr_cast(pool, factor->dtype, onnxc_expr_load_from(pool, factor->load, (onnxc_dtype)load.dtype, operand));
  onnxc_compute *compute = ONNXC_NEW(graph->arena, onnxc_compute);
  *compute = *node->compute;
  compute->element[0] = without_guard(pool, compute->element[0], guarded, plain);
  if (compute->contraction.valid && compute->contraction.a == (uint32_t)load.imm)
    compute->contraction.a = operand;
  else if (compute->contraction.valid && compute->contraction.b == (uint32_t)load.imm)
    compute->contraction.b = operand;
  node->compute = compute;
}

static void widen(onnxc_layout *layout, uint32_t rank, const onnxc_halo *halo) {
  *layout = onnxc_layout_explicit(layout, rank);
  for (uint32_t d = 0; d < rank; d++) {
    if (halo->low[d] > layout->low[d])
      layout->low[d] = halo->low[d];
    if (halo->high[d] > layout->high[d])
      layout->high[d] = halo->high[d];
  }
}

static uint32_t append_operand(onnxc_graph *graph, onnxc_node_info *node, onnxc_value value) {
  for (uint32_t k = 0; k < node->num_inputs; k++)
    if (node->inputs[k].i == value.i)
      return k;
  onnxc_value *inputs = ONNXC_NEW_ARRAY(graph->arena, onnxc_value, node->num_inputs + 1);
  for (uint32_t k = 0; k < node->num_inputs; k++)
    inputs[k] = node->inputs[k];
  inputs[node->num_inputs] = value;
  node->inputs = inputs;
  return node->num_inputs++;
}

/* Drops operands that no expression loads any more. */
static onnxc_expr renumber_leaf(void *arg, onnxc_exprs *pool, onnxc_expr leaf) {
  const uint32_t *map = arg;
  onnxc_expr_node node = *onnxc_exprs_node(pool, leaf);
  if (node.op != ONNXC_EXPR_LOAD)
    return (onnxc_expr){0};
  return onnxc_expr_load_from(pool, leaf, (onnxc_dtype)node.dtype, map[node.imm]);
}

static void mark_operand(void *arg, const onnxc_exprs *pool, onnxc_expr e) {
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  if (node->op == ONNXC_EXPR_LOAD)
    ((bool *)arg)[node->imm] = true;
}

static void drop_unread_operands(onnxc_graph *graph, onnxc_node_info *node) {
  onnxc_compute *c = node->compute;
  bool *read = ONNXC_NEW_ARRAY(graph->arena, bool, node->num_inputs + 1);
  uint32_t *map = ONNXC_NEW_ARRAY(graph->arena, uint32_t, node->num_inputs + 1);
  onnxc_expr_walk(&graph->exprs, c->element[0], mark_operand, read);
  onnxc_expr_walk(&graph->exprs, c->init[0], mark_operand, read);
  onnxc_expr_walk(&graph->exprs, c->finish[0], mark_operand, read);
  uint32_t kept = 0;
  for (uint32_t k = 0; k < node->num_inputs; k++)
    if (read[k]) {
      map[k] = kept;
      node->inputs[kept++] = node->inputs[k];
    }
  if (kept == node->num_inputs)
    return;
  node->num_inputs = kept;
  c->element[0] = onnxc_expr_rewrite(&graph->exprs, c->element[0], renumber_leaf, map);
  c->init[0] = onnxc_expr_rewrite(&graph->exprs, c->init[0], renumber_leaf, map);
  c->finish[0] = onnxc_expr_rewrite(&graph->exprs, c->finish[0], renumber_leaf, map);
  if (c->contraction.valid) {
    c->contraction.a = map[c->contraction.a];
    c->contraction.b = map[c->contraction.b];
  }
}

static void give_halos(layouter *l) {
  onnxc_graph *graph = l->graph;
  uint32_t length = l->order.length;
  onnxc_node *old = l->order.data;
  l->order.data = NULL;
  l->order.length = l->order.capacity = 0;
  for (uint32_t n = 0; n < length; n++) {
    onnxc_node handle = old[n];
    onnxc_node_info *node = onnxc_node_of(graph, handle);
    graph->branch = node->branch;
    onnxc_expr guarded[2];
    onnxc_factor factors[2];
    uint32_t count = node->op == ONNXC_OP_COMPUTE ? guarded_loads(&graph->exprs, node->compute, guarded, factors) : 0;
    bool square = count && node->compute->contraction.a == node->compute->contraction.b;
    for (uint32_t k = 0; k < count; k++) {
      uint32_t operand = (uint32_t)onnxc_exprs_node(&graph->exprs, factors[k].load)->imm;
      onnxc_value value = onnxc_node_of(graph, handle)->inputs[operand];
      onnxc_halo halo;
      if (!onnxc_halo_of_load(graph, onnxc_node_of(graph, handle)->compute, value, factors[k].load, factors[k].guard,
                              &halo))
        continue;
      uint32_t rank = onnxc_value_of(graph, value)->rank;
      if (can_have_halo(l, value)) {
        widen(&onnxc_value_of(graph, value)->layout, rank, &halo);
      } else {
        onnxc_layout layout = onnxc_value_of(graph, value)->layout;
        uint32_t perm[ONNXC_MAX_RANK] = {0};
        const onnxc_compute *compute = onnxc_node_of(graph, handle)->compute;
        if (layout.num_axes == 0 && compute->contraction.valid && rank == compute->num_parallel &&
            !reads_few_channels(graph, compute, value) && order_of_contraction(&graph->exprs, compute, perm))
          layout = layout_of_perm(rank, perm);
        widen(&layout, rank, &halo);
        value = relayout(l, value, &layout);
      }
      node = onnxc_node_of(graph, handle);
      drop_guard(graph, node, guarded[k], &factors[k], append_operand(graph, node, value));
      if (count == 2 && k == 0) { /* the product changed: find the other factor again */
        count = 1 + guarded_loads(&graph->exprs, node->compute, &guarded[1], &factors[1]);
        count = count > 2 ? 2 : count;
      }
    }
    node = onnxc_node_of(graph, handle);
    if (count && node->compute->contraction.valid && square) /* the factors are two operands now, perhaps */
      onnxc_recognise_contraction(graph, node->compute, node->inputs);
    if (count)
      drop_unread_operands(graph, node);
    ONNXC_PUSH(graph->arena, l->order, handle);
  }
  graph->branch = (onnxc_branch){0};
}

onnxc_status onnxc_pass_layout(onnxc_graph *graph, const onnxc_pass_options *options) {
  (void)options;
  layouter l = {.graph = graph};
  l.plain = ONNXC_NEW_ARRAY(graph->arena, bool, graph->values.length + graph->order.length * 2 + graph->outputs.length);
  for (uint32_t k = 0; k < graph->inputs.length; k++)
    l.plain[graph->inputs.data[k].i] = true;
  for (uint32_t k = 0; k < graph->outputs.length; k++)
    l.plain[graph->outputs.data[k].i] = true;
  l.binds = ONNXC_NEW_ARRAY(graph->arena, bool, graph->values.length);
  for (uint32_t s = 1; s < graph->dims.symbols.length; s++)
    if (graph->dims.symbols.data[s].source == ONNXC_SYM_ELEMENT)
      l.plain[graph->dims.symbols.data[s].index] = l.binds[graph->dims.symbols.data[s].index] = true;
  choose_orders(&l);
  give_halos(&l);
  graph->order = l.order;
  return ONNXC_OK;
}
