/* subgraph.c -- graphs that are attributes of nodes: what they read from outside, and their import.
 *
 * A subgraph sees the names of the scopes around it. Those that it reads and does not write itself, its captures, are
 * found first, over all its own subgraphs too. They count as operands of the node that holds it, which gives the order
 * of nodes; and they are the inputs of the subgraph's scope, bound to what the outer scope has. So a subgraph is
 * imported as a call is (functions.c).
 */
#include "state.h"

#include <string.h>

/* ---- captures ---- */

typedef struct collector {
  onnxc_arena *arena;
  ONNXC_VEC(char *) names;
  size_t nodes; /* looked at */
} collector;

bool onnxc_has_subgraph(const Onnx__NodeProto *node) {
  for (size_t k = 0; k < node->n_attribute; k++)
    if (node->attribute[k]->g || node->attribute[k]->n_graphs)
      return true;
  return false;
}

static void collect(collector *c, const Onnx__GraphProto *graph);

/* What the node reads: of its inputs, and captures of its subgraphs. */
static void collect_node(collector *c, const Onnx__NodeProto *node) {
  for (size_t k = 0; k < node->n_input; k++)
    ONNXC_PUSH(c->arena, c->names, node->input[k]);
  for (size_t k = 0; k < node->n_attribute; k++) {
    const Onnx__AttributeProto *a = node->attribute[k];
    if (a->g)
      collect(c, a->g);
    for (size_t n = 0; n < a->n_graphs; n++)
      collect(c, a->graphs[n]);
  }
}

/* Appends the names that the graph reads and does not define, each once. Messages nest at most so deep that the stack
 * holds (scan.c). */
static void collect(collector *c, const Onnx__GraphProto *graph) {
  onnxc_scope own = {0}, seen = {0};
  uint32_t start = c->names.length, kept = start;
  onnxc_scope_init(&own, c->arena, 2 * graph->n_node + graph->n_initializer);
  onnxc_scope_init(&seen, c->arena, graph->n_node);
  for (size_t i = 0; i < graph->n_initializer; i++)
    onnxc_scope_name(&own, c->arena, onnxc_onnx_text(graph->initializer[i]->name));
  for (size_t i = 0; i < graph->n_input; i++)
    onnxc_scope_name(&own, c->arena, onnxc_onnx_text(graph->input[i]->name));
  for (size_t i = 0; i < graph->n_node; i++)
    for (size_t k = 0; k < graph->node[i]->n_output; k++)
      onnxc_scope_name(&own, c->arena, graph->node[i]->output[k]);
  for (size_t i = 0; i < graph->n_node; i++)
    collect_node(c, graph->node[i]);
  for (size_t i = 0; i < graph->n_output; i++)
    if (graph->output[i]->name)
      ONNXC_PUSH(c->arena, c->names, graph->output[i]->name);
  for (uint32_t i = start; i < c->names.length; i++) {
    char *name = c->names.data[i];
    if (!name[0] || onnxc_scope_find(&own, name) || onnxc_scope_find(&seen, name))
      continue;
    onnxc_scope_name(&seen, c->arena, name);
    c->names.data[kept++] = name;
  }
  c->names.length = kept;
  c->nodes += graph->n_node + graph->n_initializer + graph->n_input + graph->n_output + 1;
}

onnxc_status onnxc_scope_find_reads(onnxc_import_state *state, onnxc_scope *scope) {
  onnxc_arena *arena = state->graph->arena;
  scope->reads = ONNXC_NEW_ARRAY(arena, onnxc_reads, scope->num_nodes + 1);
  for (size_t i = 0; i < scope->num_nodes; i++) {
    const Onnx__NodeProto *node = scope->nodes[i];
    scope->reads[i] = (onnxc_reads){node->input, node->n_input};
    if (!onnxc_has_subgraph(node))
      continue;
    collector c = {.arena = arena};
    collect_node(&c, node);
    scope->reads[i] = (onnxc_reads){c.names.data, c.names.length};
    if (c.nodes > ONNXC_MAX_INLINED - state->inlined)
      return onnxc_error(state->graph->diag, ONNXC_UNSUPPORTED, "%s: subgraphs add more than %d nodes and names",
                         onnxc_scope_where(state, scope, node), ONNXC_MAX_INLINED);
    state->inlined += c.nodes;
  }
  return ONNXC_OK;
}

/* ---- import ---- */

static onnxc_status bind_captures(onnxc_import_state *state, onnxc_scope *outer, onnxc_scope *scope,
                                  const Onnx__GraphProto *graph) {
  collector c = {.arena = state->graph->arena};
  collect(&c, graph);
  for (uint32_t i = 0; i < c.names.length; i++) {
    onnxc_name *from = onnxc_scope_find(outer, c.names.data[i]);
    onnxc_name *name = onnxc_scope_name(scope, c.arena, c.names.data[i]);
    name->is_input = true;
    name->value = onnxc_import_name_value(state, outer, from);
    if (from->failed)
      return state->graph->diag->status;
  }
  return ONNXC_OK;
}

static onnxc_status check_outputs(onnxc_importer *in, const Onnx__GraphProto *graph, const char *attribute) {
  if (graph->n_input)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "attribute '%s' has %zu inputs, expected none", attribute,
                              graph->n_input);
  if (graph->n_output != in->num_outputs)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "attribute '%s' has %zu outputs, but the node has %u", attribute,
                              graph->n_output, in->num_outputs);
  for (size_t k = 0; k < graph->n_output; k++)
    if (!onnxc_onnx_text(graph->output[k]->name)[0])
      return onnxc_import_error(in, ONNXC_BAD_INPUT, "output %zu of attribute '%s' has no name", k, attribute);
  return ONNXC_OK;
}

onnxc_status onnxc_import_open_subgraph(onnxc_importer *in, const char *attribute, onnxc_subgraph *subgraph) {
  onnxc_import_state *state = in->state;
  onnxc_arena *arena = in->graph->arena;
  onnxc_scope *outer = state->scope, *scope = ONNXC_NEW(arena, onnxc_scope);
  const Onnx__NodeProto *node = in->proto;
  const Onnx__GraphProto *graph = NULL;
  for (size_t k = 0; k < node->n_attribute; k++) /* its own: one that a function's caller gives has other names */
    if (strcmp(onnxc_onnx_text(node->attribute[k]->name), attribute) == 0)
      graph = node->attribute[k]->g;
  if (!graph)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "attribute '%s' is no graph, or missing", attribute);
  ONNXC_TRY(check_outputs(in, graph, attribute));
  if (outer->depth >= ONNXC_MAX_CALL_DEPTH)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "subgraphs and functions are nested more than %d deep",
                              ONNXC_MAX_CALL_DEPTH);
  size_t size = graph->n_node + graph->n_initializer + 1;
  if (size > ONNXC_MAX_INLINED - state->inlined)
    return onnxc_import_error(in, ONNXC_UNSUPPORTED, "subgraphs add more than %d nodes and names", ONNXC_MAX_INLINED);
  state->inlined += size;
  *scope = *outer; /* its call, function and operator sets */
  scope->depth = outer->depth + 1;
  const char *name = onnxc_onnx_text(node->name);
  scope->prefix = onnxc_arena_printf(arena, "%s%s/", outer->prefix, name[0] ? name : in->op_type);
  scope->nodes = graph->node;
  scope->num_nodes = graph->n_node;
  onnxc_scope_init(scope, arena, 2 * graph->n_node + graph->n_initializer);
  *subgraph = (onnxc_subgraph){graph, scope};
  ONNXC_TRY(bind_captures(state, outer, scope, graph));
  ONNXC_TRY(onnxc_scope_declare_initializers(state, scope, graph));
  return onnxc_scope_declare(state, scope);
}

onnxc_status onnxc_import_subgraph(onnxc_importer *in, const onnxc_subgraph *subgraph, onnxc_value *results) {
  onnxc_import_state *state = in->state;
  const Onnx__GraphProto *graph = subgraph->graph;
  onnxc_scope *outer = state->scope, *scope = subgraph->scope;
  size_t *order, length;
  char **outputs = ONNXC_NEW_ARRAY(in->graph->arena, char *, graph->n_output + 1);
  for (size_t k = 0; k < graph->n_output; k++) {
    outputs[k] = graph->output[k]->name;
    if (!onnxc_scope_find(scope, outputs[k]))
      return onnxc_import_error(in, ONNXC_BAD_INPUT, "output '%s' of its subgraph is not written", outputs[k]);
  }
  ONNXC_TRY(onnxc_scope_order(state, scope, outputs, graph->n_output, &order, &length));
  ONNXC_TRY(onnxc_import_check_operators(state, scope, order, length));
  onnxc_status status = onnxc_import_nodes(state, scope, order, length);
  state->scope = outer;
  ONNXC_TRY(status);
  for (size_t k = 0; k < graph->n_output; k++) {
    onnxc_name *name = onnxc_scope_find(scope, outputs[k]);
    results[k] = onnxc_import_name_value(state, scope, name);
    if (!results[k].i)
      return name->failed
                 ? in->graph->diag->status
                 : onnxc_import_error(in, ONNXC_BAD_INPUT, "output '%s' of its subgraph has no value", outputs[k]);
  }
  return ONNXC_OK;
}
