/* dce.c -- drop the nodes that nothing needs.
 *
 * Needed are the graph outputs and whatever they are computed from; and, since a symbol may stand for an element
 * of a tensor, the tensors behind the symbols that appear in dims, elements, extents and expressions of needed
 * nodes, in constraints and in the dims of inputs. One worklist over values; each dim and
 * expression is looked at once.
 *
 * needs: nothing      breaks: nothing
 */
#include "pass/pass.h"

typedef struct marker {
  onnxc_graph *graph;
  bool *value, *node, *dim, *expr;
  ONNXC_VEC(onnxc_value) work;
} marker;

static void mark_value(marker *m, onnxc_value value) {
  if (!value.i || m->value[value.i])
    return;
  m->value[value.i] = true;
  ONNXC_PUSH(m->graph->arena, m->work, value);
}

static void mark_dim(marker *m, onnxc_dim dim) {
  if (!dim.i || m->dim[dim.i])
    return;
  m->dim[dim.i] = true;
  const onnxc_dim_node *node = onnxc_dims_node(&m->graph->dims, dim);
  if (node->kind == ONNXC_DIM_SYM) {
    const onnxc_symbol *symbol = &m->graph->dims.symbols.data[node->sym.i];
    if (symbol->source == ONNXC_SYM_ELEMENT)
      mark_value(m, (onnxc_value){symbol->index});
  }
  for (uint32_t i = 0; i < node->num_terms; i++)
    mark_dim(m, node->terms[i].atom);
  mark_dim(m, node->a);
  mark_dim(m, node->b);
}

static void mark_dims(marker *m, onnxc_value value) {
  const onnxc_value_info *info = onnxc_value_of(m->graph, value);
  int64_t shape[ONNXC_MAX_RANK], count = 1;
  for (uint32_t d = 0; d < info->rank; d++)
    mark_dim(m, info->dims[d]);
  if (!info->elements || onnxc_value_is_constant(m->graph, value) || !onnxc_value_static_shape(m->graph, value, shape))
    return;
  for (uint32_t d = 0; d < info->rank; d++)
    count *= shape[d];
  for (int64_t k = 0; k < count; k++)
    mark_dim(m, info->elements[k]);
}

static void mark_expr(void *arg, const onnxc_exprs *pool, onnxc_expr e) {
  marker *m = arg;
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  if (node->op == ONNXC_EXPR_DIM && !m->expr[e.i])
    mark_dim(m, (onnxc_dim){(uint32_t)node->imm});
  m->expr[e.i] = true;
}

static void mark_exprs(marker *m, const onnxc_expr *exprs, uint32_t count) {
  for (uint32_t j = 0; j < count; j++)
    if (exprs[j].i && !m->expr[exprs[j].i])
      onnxc_expr_walk(&m->graph->exprs, exprs[j], mark_expr, m);
}

static void mark_node(marker *m, onnxc_node handle) {
  if (!handle.i || m->node[handle.i])
    return;
  m->node[handle.i] = true;
  const onnxc_node_info *node = onnxc_node_of(m->graph, handle);
  for (uint32_t k = 0; k < node->num_inputs; k++)
    mark_value(m, node->inputs[k]);
  for (uint32_t j = 0; j < node->num_outputs; j++) /* their dims must stay known */
    mark_value(m, node->outputs[j]);
  for (onnxc_branch b = node->branch; b.i; b = m->graph->branches.data[b.i].outer)
    mark_dim(m, m->graph->branches.data[b.i].condition);
  const onnxc_compute *c = node->compute;
  if (!c)
    return;
  for (uint32_t k = 0; k < c->num_parallel + c->num_reduce; k++)
    mark_dim(m, c->extents[k]);
  mark_exprs(m, c->init, c->num_results);
  mark_exprs(m, c->element, c->num_results);
  mark_exprs(m, c->combine, c->num_results);
  mark_exprs(m, c->finish, c->num_results);
}

onnxc_status onnxc_pass_dce(onnxc_graph *graph, const onnxc_pass_options *options) {
  (void)options;
  marker m = {.graph = graph};
  m.value = ONNXC_NEW_ARRAY(graph->arena, bool, graph->values.length);
  m.node = ONNXC_NEW_ARRAY(graph->arena, bool, graph->nodes.length);
  m.dim = ONNXC_NEW_ARRAY(graph->arena, bool, graph->dims.nodes.length);
  m.expr = ONNXC_NEW_ARRAY(graph->arena, bool, graph->exprs.nodes.length);
  for (uint32_t k = 0; k < graph->outputs.length; k++)
    mark_value(&m, graph->outputs.data[k]);
  for (uint32_t k = 0; k < graph->inputs.length; k++)
    mark_value(&m, graph->inputs.data[k]);
  for (uint32_t k = 0; k < graph->constraints.length; k++) {
    mark_dim(&m, graph->constraints.data[k].a);
    mark_dim(&m, graph->constraints.data[k].b);
  }
  while (m.work.length) {
    onnxc_value value = m.work.data[--m.work.length];
    mark_dims(&m, value);
    mark_node(&m, onnxc_value_of(graph, value)->producer);
  }
  uint32_t kept = 0;
  for (uint32_t i = 0; i < graph->order.length; i++)
    if (m.node[graph->order.data[i].i])
      graph->order.data[kept++] = graph->order.data[i];
  graph->order.length = kept;
  return ONNXC_OK;
}
