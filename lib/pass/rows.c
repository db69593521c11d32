/* rows.c -- a reduction over the last dim and the map that reads it become a row group.
 *
 *     r[i..] = finish(sum over j of f(x[i.., j]));   y[i.., j] = g(x[i.., j], r[i..], ..)
 *
 * This is RMS normalization, and what exporters write of others by single nodes. As one stage the map finds x in the
 * cache, where the reduction has left it. Nobody else reads r. Only the last dim counts: layout may store others in
 * another order.
 *
 * needs: roles      breaks: nothing
 */
#include "pass/pass.h"

/* Loads of one operand: are there some, all at these indices? -1 stands for 0. */
typedef struct look {
  const onnxc_graph *graph;
  const onnxc_compute *compute;
  uint32_t operand;
  int expected[ONNXC_MAX_RANK];
  bool found, other;
} look;

static void look_at(void *arg, const onnxc_exprs *pool, onnxc_expr e) {
  look *l = arg;
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  if (node->op != ONNXC_EXPR_LOAD || node->imm != (int64_t)l->operand)
    return;
  l->found = true;
  for (uint32_t d = 0; d < node->num_args; d++) {
    const onnxc_expr_node *index = onnxc_exprs_node(pool, node->args[d]);
    int expected = l->expected[d];
    bool zero = index->op == ONNXC_EXPR_CONST && index->imm == 0;
    bool only = expected < 0 || onnxc_dim_is(&l->graph->dims, l->compute->extents[expected], 1);
    l->other = l->other || !((zero && only) || (index->op == ONNXC_EXPR_INDEX && index->imm == expected));
  }
}

/* Does `e`, of this compute, read the operand at the `rows` first indices and behind them at index `then` (-1: at 0)?
 */
static bool reads_at(const onnxc_graph *graph, const onnxc_compute *compute, onnxc_expr e, uint32_t operand,
                     uint32_t rows, int then) {
  look l = {.graph = graph, .compute = compute, .operand = operand};
  for (uint32_t d = 0; d < ONNXC_MAX_RANK; d++)
    l.expected[d] = d < rows ? (int)d : then;
  onnxc_expr_walk(&graph->exprs, e, look_at, &l);
  return l.found && !l.other;
}

/* A reduction over one index, behind rows that are the map's and perhaps dims of one element. */
static bool reduces_rows(const onnxc_graph *graph, const onnxc_compute *c, const onnxc_compute *map, uint32_t rows) {
  bool product = c->contraction.valid && c->contraction.a != c->contraction.b;
  if (c->num_reduce != 1 || c->num_results != 1 || c->row_group || product || c->num_parallel < rows ||
      !onnxc_dim_same(c->extents[c->num_parallel], map->extents[rows]))
    return false;
  for (uint32_t k = 0; k < c->num_parallel; k++)
    if (k < rows ? !onnxc_dim_same(c->extents[k], map->extents[k]) : !onnxc_dim_is(&graph->dims, c->extents[k], 1))
      return false;
  return true;
}

/* The reduction that belongs to this map, or none. */
static onnxc_node find_reduction(const onnxc_graph *graph, const uint32_t *uses, const onnxc_node_info *node) {
  const onnxc_compute *map = node->compute;
  if (node->op != ONNXC_OP_COMPUTE || !map || map->num_reduce || map->num_results != 1 || map->row_group ||
      map->num_parallel < 2)
    return (onnxc_node){0};
  uint32_t rows = map->num_parallel - 1;
  for (uint32_t k = 0; k < node->num_inputs; k++) {
    onnxc_node maker = node->inputs[k].i ? onnxc_value_of(graph, node->inputs[k])->producer : (onnxc_node){0};
    const onnxc_node_info *from = maker.i ? onnxc_node_of(graph, maker) : NULL;
    if (!from || from->op != ONNXC_OP_COMPUTE || from->branch.i != node->branch.i || uses[node->inputs[k].i] != 1 ||
        !reduces_rows(graph, from->compute, map, rows) || !reads_at(graph, map, map->finish[0], k, rows, -1))
      continue;
    for (uint32_t x = 0; x < node->num_inputs; x++)
      for (uint32_t i = 0; i < from->num_inputs; i++)
        if (from->inputs[i].i == node->inputs[x].i && reads_at(graph, map, map->finish[0], x, rows, (int)rows) &&
            reads_at(graph, from->compute, from->compute->element[0], i, rows, (int)from->compute->num_parallel))
          return maker;
  }
  return (onnxc_node){0};
}

static void join(onnxc_graph *graph, onnxc_node node, uint32_t group, uint32_t rows) {
  onnxc_compute *copy = ONNXC_NEW(graph->arena, onnxc_compute);
  *copy = *onnxc_node_of(graph, node)->compute;
  copy->row_group = group;
  copy->row_rank = rows;
  onnxc_node_of(graph, node)->compute = copy;
}

onnxc_status onnxc_pass_rows(onnxc_graph *graph, const onnxc_pass_options *options) {
  (void)options;
  const uint32_t *uses = onnxc_graph_count_uses(graph, graph->arena);
  onnxc_node *before = ONNXC_NEW_ARRAY(graph->arena, onnxc_node, graph->order.length + 1);
  bool *moved = ONNXC_NEW_ARRAY(graph->arena, bool, graph->nodes.length);
  onnxc_order order = {0};
  uint32_t group = 0;
  for (uint32_t n = 0; n < graph->order.length; n++) {
    const onnxc_compute *compute = onnxc_node_of(graph, graph->order.data[n])->compute;
    group = compute && compute->row_group > group ? compute->row_group : group;
  }
  for (uint32_t n = 0; n < graph->order.length; n++) {
    onnxc_node node = graph->order.data[n];
    const onnxc_compute *map = onnxc_node_of(graph, node)->compute;
    before[n] = find_reduction(graph, uses, onnxc_node_of(graph, node));
    if (!before[n].i || !map)
      continue;
    moved[before[n].i] = true;
    uint32_t rows = map->num_parallel - 1;
    join(graph, before[n], ++group, rows);
    join(graph, node, group, rows);
  }
  for (uint32_t n = 0; n < graph->order.length; n++) {
    if (before[n].i)
      ONNXC_PUSH(graph->arena, order, before[n]);
    if (!moved[graph->order.data[n].i])
      ONNXC_PUSH(graph->arena, order, graph->order.data[n]);
  }
  graph->order = order;
  return ONNXC_OK;
}
