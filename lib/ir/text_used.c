/* text_used.c -- which symbols a graph still mentions; passes leave others behind, and the text omits them. */
#include "ir/graph_text.h"

typedef struct marker {
  const onnxc_graph *graph;
  bool *symbol, *dim;
} marker;

static void mark(marker *m, onnxc_dim dim) {
  if (!dim.i || m->dim[dim.i])
    return;
  m->dim[dim.i] = true;
  const onnxc_dim_node *node = onnxc_dims_node(&m->graph->dims, dim);
  if (node->kind == ONNXC_DIM_SYM)
    m->symbol[node->sym.i] = true;
  for (uint32_t i = 0; i < node->num_terms; i++)
    mark(m, node->terms[i].atom);
  mark(m, node->a);
  mark(m, node->b);
}

static void mark_value(marker *m, onnxc_value value) {
  const onnxc_value_info *info = onnxc_value_of(m->graph, value);
  int64_t shape[ONNXC_MAX_RANK], count = 1;
  for (uint32_t d = 0; d < info->rank; d++)
    mark(m, info->dims[d]);
  if (!info->elements || onnxc_value_is_constant(m->graph, value) || !onnxc_value_static_shape(m->graph, value, shape))
    return;
  for (uint32_t d = 0; d < info->rank; d++)
    count *= shape[d];
  for (int64_t k = 0; k < count; k++)
    mark(m, info->elements[k]);
}

static void mark_expr(void *arg, const onnxc_exprs *pool, onnxc_expr e) {
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  if (node->op == ONNXC_EXPR_DIM)
    mark(arg, (onnxc_dim){(uint32_t)node->imm});
}

static void mark_compute(marker *m, const onnxc_compute *c) {
  for (uint32_t k = 0; k < c->num_parallel + c->num_reduce; k++)
    mark(m, c->extents[k]);
  const onnxc_expr *lists[4] = {c->finish, c->init, c->element, c->combine};
  for (int i = 0; i < (c->num_reduce ? 4 : 1); i++)
    for (uint32_t j = 0; j < c->num_results; j++)
      if (lists[i][j].i)
        onnxc_expr_walk(&m->graph->exprs, lists[i][j], mark_expr, m);
}

bool *onnxc_used_symbols(const onnxc_graph *graph, onnxc_arena *arena) {
  marker m = {.graph = graph,
              .symbol = ONNXC_NEW_ARRAY(arena, bool, graph->dims.symbols.length),
              .dim = ONNXC_NEW_ARRAY(arena, bool, graph->dims.nodes.length)};
  for (uint32_t i = 0; i < graph->inputs.length; i++)
    mark_value(&m, graph->inputs.data[i]);
  for (uint32_t n = 0; n < graph->order.length; n++) {
    const onnxc_node_info *node = onnxc_node_of(graph, graph->order.data[n]);
    for (uint32_t k = 0; k < node->num_outputs; k++)
      mark_value(&m, node->outputs[k]);
    if (node->compute)
      mark_compute(&m, node->compute);
    for (onnxc_branch b = node->branch; b.i; b = graph->branches.data[b.i].outer)
      mark(&m, graph->branches.data[b.i].condition);
  }
  for (uint32_t i = 0; i < graph->constraints.length; i++) {
    mark(&m, graph->constraints.data[i].a);
    mark(&m, graph->constraints.data[i].b);
  }
  return m.symbol;
}
