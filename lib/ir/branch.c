/* branch.c -- where nodes run; see onnxc_branch in graph.h. */
#include "ir/graph.h"

onnxc_branch onnxc_branch_find(const onnxc_graph *graph, onnxc_branch outer, onnxc_dim condition) {
  for (uint32_t i = 1; i < graph->branches.length; i++)
    if (graph->branches.data[i].outer.i == outer.i && onnxc_dim_same(graph->branches.data[i].condition, condition))
      return (onnxc_branch){i};
  return (onnxc_branch){0};
}

onnxc_branch onnxc_graph_branch(onnxc_graph *graph, onnxc_branch outer, onnxc_dim condition) {
  if (onnxc_dim_is(&graph->dims, condition, 1))
    return outer;
  onnxc_branch found = onnxc_branch_find(graph, outer, condition);
  if (found.i)
    return found;
  ONNXC_PUSH(graph->arena, graph->branches, ((onnxc_branch_info){outer, condition}));
  return (onnxc_branch){graph->branches.length - 1};
}

bool onnxc_branch_within(const onnxc_graph *graph, onnxc_branch inner, onnxc_branch outer) {
  while (inner.i > outer.i) /* an outer one comes first */
    inner = graph->branches.data[inner.i].outer;
  return inner.i == outer.i;
}

onnxc_dim onnxc_branch_condition(onnxc_graph *graph, onnxc_branch branch) {
  onnxc_dim condition = onnxc_dim_const(&graph->dims, 1);
  for (; branch.i; branch = graph->branches.data[branch.i].outer)
    condition = onnxc_dim_min(&graph->dims, condition, graph->branches.data[branch.i].condition);
  return condition;
}

onnxc_branch onnxc_branch_of(const onnxc_graph *graph, onnxc_value value) {
  onnxc_node producer = onnxc_value_of(graph, value)->producer;
  return producer.i ? onnxc_node_of(graph, producer)->branch : (onnxc_branch){0};
}

static bool is_of_inputs(const onnxc_graph *graph, const onnxc_symbol *symbol) {
  if (symbol->source != ONNXC_SYM_ELEMENT)
    return symbol->source != ONNXC_SYM_LOOP;
  for (uint32_t k = 0; k < graph->inputs.length; k++)
    if (graph->inputs.data[k].i == symbol->index)
      return true;
  return false;
}

bool onnxc_dim_is_of_inputs(const onnxc_graph *graph, onnxc_dim dim) {
  for (uint32_t s = 1; s < graph->dims.symbols.length; s++)
    if (onnxc_dim_uses(&graph->dims, dim, (onnxc_sym){s}) && !is_of_inputs(graph, &graph->dims.symbols.data[s]))
      return false;
  return true;
}
