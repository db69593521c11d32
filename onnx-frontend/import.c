/* import.c -- a model's graph to the tensor graph. See frontend.h.
 *
 *     names declared     what nodes write, what initializers and inputs there are (names.c)
 *     order              topological, needed nodes only (order.c)
 *     operators checked  all that is unsupported is reported before anything is built (functions.c)
 *     inputs             with symbols for unknown dims (inputs.c)
 *     nodes              one importer each (operators.def), calls of the model's functions inlined (functions.c),
 *                        subgraphs by the importer of the node that holds them (subgraph.c)
 *     outputs            against their declarations
 *
 * A node that fails is reported and its results are marked, so that the nodes behind it keep silent while those
 * beside it are still looked at: one run reports everything that is wrong.
 */
#include "state.h"

#include <string.h>

enum { MAX_SHOWN_INPUTS = 8 };

/* ---- values ---- */

void onnxc_import_name_it(onnxc_import_state *state, const onnxc_scope *scope, onnxc_value value, const char *name) {
  onnxc_value_info *info = onnxc_value_of(state->graph, value);
  uint8_t rank = (uint8_t)(scope->depth + 1);
  if (!info->producer.i)
    return;
  while (state->named.length <= value.i)
    ONNXC_PUSH(state->graph->arena, state->named, 0);
  if (state->named.data[value.i] && state->named.data[value.i] <= rank)
    return;
  state->named.data[value.i] = rank;
  info->name = scope->prefix[0] ? onnxc_arena_printf(state->graph->arena, "%s%s", scope->prefix, name) : name;
}

onnxc_value onnxc_import_constant(onnxc_import_state *state, const char *name, const onnxc_array *array,
                                  const char *what) {
  if (array->dtype == ONNXC_STRING || array->dtype == ONNXC_C64 || array->dtype == ONNXC_C128) {
    onnxc_error(state->graph->diag, ONNXC_UNSUPPORTED, "%s has elements of type %s, which are not supported", what,
                onnxc_dtype_name(array->dtype));
    return (onnxc_value){0};
  }
  return onnxc_graph_add_constant(state->graph, name, array->dtype, array->rank, array->dims, array->data);
}

onnxc_value onnxc_import_name_value(onnxc_import_state *state, const onnxc_scope *scope, onnxc_name *name) {
  onnxc_array array;
  if (name->value.i || name->failed)
    return name->value;
  if (name->writer) { /* writers come first, so this is an optional output that its importer does not make */
    const Onnx__NodeProto *writer = scope->nodes[name->writer - 1];
    onnxc_error(state->graph->diag, ONNXC_UNSUPPORTED, "%s: the output '%s' is not supported",
                onnxc_scope_where(state, scope, writer), name->text);
    name->failed = true;
  }
  if (!name->initializer)
    return name->value;
  const char *what = onnxc_arena_printf(state->graph->arena, "initializer '%s'", name->text);
  if (onnxc_onnx_tensor(state->file, state->graph->arena, state->graph->diag, name->initializer, what, &array) ==
      ONNXC_OK)
    name->value = onnxc_import_constant(state, name->text, &array, what);
  if (name->value.i)
    onnxc_import_name_it(state, scope, name->value, name->text);
  name->failed = !name->value.i;
  return name->value;
}

/* ---- nodes ---- */

/* Fills in the operands; false if one of them, or what a subgraph reads, failed before. */
static bool find_operands(onnxc_import_state *state, onnxc_scope *scope, size_t index, onnxc_value *operands) {
  const Onnx__NodeProto *node = scope->nodes[index];
  bool good = true;
  for (size_t k = 0; k < node->n_input; k++) {
    operands[k].i = 0;
    if (!node->input[k][0])
      continue;
    onnxc_name *name = onnxc_scope_find(scope, node->input[k]);
    operands[k] = onnxc_import_name_value(state, scope, name);
    good = good && !name->failed;
  }
  const onnxc_reads *reads = &scope->reads[index];
  for (size_t k = node->n_input; k < reads->count; k++)
    good = good && !onnxc_scope_find(scope, reads->names[k])->failed;
  return good;
}

/* " (inputs f32[2, 3], f32[4, 5])", behind what is wrong with a node. */
static void append_inputs(const onnxc_importer *in) {
  onnxc_arena *arena = in->graph->arena;
  const char *text = "";
  if (in->num_inputs == 0 || in->num_inputs > MAX_SHOWN_INPUTS)
    return;
  for (uint32_t k = 0; k < in->num_inputs; k++) {
    text = onnxc_arena_printf(arena, "%s%s", text, k ? ", " : "");
    if (!in->inputs[k].i) {
      text = onnxc_arena_printf(arena, "%snone", text);
      continue;
    }
    const onnxc_value_info *info = onnxc_value_of(in->graph, in->inputs[k]);
    text = onnxc_arena_printf(arena, "%s%s[", text, onnxc_dtype_name(info->dtype));
    for (uint32_t d = 0; d < info->rank; d++)
      text = onnxc_arena_printf(arena, "%s%s%s", text, d ? ", " : "", onnxc_dim_text(&in->graph->dims, info->dims[d]));
    text = onnxc_arena_printf(arena, "%s]", text);
  }
  onnxc_error_append(in->graph->diag, onnxc_arena_printf(arena, " (inputs %s)", text));
}

static onnxc_status import_node(onnxc_import_state *state, onnxc_scope *scope, const Onnx__NodeProto *node,
                                const onnxc_value *operands) {
  onnxc_diag *diag = state->graph->diag;
  int errors = diag->count;
  onnxc_importer in = {.graph = state->graph,
                       .where = onnxc_scope_where(state, scope, node),
                       .op_type = onnxc_onnx_text(node->op_type),
                       .opset = onnxc_scope_opset(scope, node->domain),
                       .num_inputs = (uint32_t)node->n_input,
                       .num_outputs = (uint32_t)node->n_output,
                       .inputs = operands,
                       .proto = (const struct Onnx__NodeProto *)node,
                       .state = state};
  const Onnx__FunctionProto *function = onnxc_import_function(state, node);
  onnxc_status status;
  if (function) {
    status = onnxc_import_call(&in, function);
  } else {
    const onnxc_import_row *row = onnxc_import_find(onnxc_onnx_text(node->domain), in.op_type);
    status = row ? row->import(&in) : onnxc_import_error(&in, ONNXC_UNSUPPORTED, "not supported");
  }
  if (diag->count == errors && status != ONNXC_OK)
    onnxc_import_error(&in, status, "failed");
  if (diag->count == errors + 1 && status == ONNXC_BAD_INPUT && !function && !onnxc_has_subgraph(node))
    append_inputs(&in);
  if (diag->count > errors)
    return diag->status;
  return ONNXC_OK;
}

onnxc_status onnxc_import_nodes(onnxc_import_state *state, onnxc_scope *scope, const size_t *order, size_t length) {
  onnxc_diag *diag = state->graph->diag;
  size_t most = 0;
  bool good = true;
  for (size_t i = 0; i < length; i++)
    most = scope->nodes[order[i]]->n_input > most ? scope->nodes[order[i]]->n_input : most;
  onnxc_value *operands = ONNXC_NEW_ARRAY(state->graph->arena, onnxc_value, most + 1);
  for (size_t i = 0; i < length && diag->count < ONNXC_MAX_REPORTED; i++) {
    const Onnx__NodeProto *node = scope->nodes[order[i]];
    state->scope = scope;
    if (find_operands(state, scope, order[i], operands) && import_node(state, scope, node, operands) == ONNXC_OK)
      continue;
    good = false;
    for (size_t k = 0; k < node->n_output; k++)
      if (node->output[k][0])
        onnxc_scope_find(scope, node->output[k])->failed = true;
  }
  return good ? ONNXC_OK : diag->status;
}

/* ---- the model ---- */

/* Names that everything else relies on. */
static onnxc_status check_names(onnxc_diag *diag, const char *what, Onnx__ValueInfoProto *const *infos, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (!onnxc_onnx_text(infos[i]->name)[0])
      return onnxc_error(diag, ONNXC_BAD_INPUT, "%s %zu has no name", what, i);
  return ONNXC_OK;
}

onnxc_status onnxc_scope_declare_initializers(onnxc_import_state *state, onnxc_scope *scope,
                                              const Onnx__GraphProto *graph) {
  onnxc_arena *arena = state->graph->arena;
  onnxc_diag *diag = state->graph->diag;
  for (size_t i = 0; i < graph->n_initializer; i++) {
    const char *text = onnxc_onnx_text(graph->initializer[i]->name);
    onnxc_name *name = onnxc_scope_name(scope, arena, text);
    if (!text[0])
      return onnxc_error(diag, ONNXC_BAD_INPUT, "initializer %zu has no name", i);
    if (name->initializer)
      return onnxc_error(diag, ONNXC_BAD_INPUT, "there are two initializers named '%s'", text);
    name->initializer = graph->initializer[i];
  }
  for (size_t i = 0; i < graph->n_sparse_initializer; i++) {
    const Onnx__TensorProto *values = graph->sparse_initializer[i]->values;
    onnxc_error(diag, ONNXC_UNSUPPORTED, "initializer '%s' is sparse, which is not supported",
                values ? onnxc_onnx_text(values->name) : "");
    return diag->status;
  }
  return ONNXC_OK;
}

static onnxc_status declare_model(onnxc_import_state *state, onnxc_scope *scope) {
  const Onnx__GraphProto *graph = state->file->model->graph;
  onnxc_arena *arena = state->graph->arena;
  onnxc_diag *diag = state->graph->diag;
  ONNXC_TRY(check_names(diag, "input", graph->input, graph->n_input));
  ONNXC_TRY(check_names(diag, "output", graph->output, graph->n_output));
  ONNXC_TRY(onnxc_scope_declare_initializers(state, scope, graph));
  for (size_t i = 0; i < graph->n_input; i++) {
    onnxc_name *name = onnxc_scope_name(scope, arena, graph->input[i]->name);
    if (name->is_input)
      return onnxc_error(diag, ONNXC_BAD_INPUT, "there are two inputs named '%s'", name->text);
    name->is_input = true;
  }
  return onnxc_scope_declare(state, scope);
}

static onnxc_status import_outputs(onnxc_import_state *state, onnxc_scope *scope) {
  const Onnx__GraphProto *proto = state->file->model->graph;
  onnxc_diag *diag = state->graph->diag;
  for (size_t i = 0; i < proto->n_output; i++) {
    onnxc_name *name = onnxc_scope_find(scope, proto->output[i]->name);
    onnxc_value value = onnxc_import_name_value(state, scope, name);
    if (!value.i)
      return name->failed ? diag->status : onnxc_error(diag, ONNXC_BAD_INPUT, "output '%s' has no value", name->text);
    ONNXC_TRY(onnxc_import_check_output(state, proto->output[i], value));
    onnxc_graph_add_output(state->graph, value, name->text);
  }
  return ONNXC_OK;
}

static void add_mappings(const onnxc_onnx_file *file, onnxc_graph *graph) {
  if (file->mapped)
    ONNXC_PUSH(graph->arena, graph->mappings, ((onnxc_mapping){file->bytes, file->size}));
  for (const onnxc_external *external = file->externals; external; external = external->next)
    ONNXC_PUSH(graph->arena, graph->mappings, ((onnxc_mapping){external->bytes, external->size}));
}

onnxc_status onnxc_onnx_import(onnxc_onnx_file *file, onnxc_graph *graph, const onnxc_import_options *options) {
  static const onnxc_import_options no_options;
  const Onnx__ModelProto *model = file->model;
  const Onnx__GraphProto *proto = model->graph;
  onnxc_arena *arena = graph->arena;
  onnxc_import_state *state = ONNXC_NEW(arena, onnxc_import_state);
  onnxc_scope *scope = ONNXC_NEW(arena, onnxc_scope);
  state->file = file;
  state->graph = graph;
  state->options = options ? options : &no_options;
  onnxc_import_index_functions(state);
  scope->prefix = "";
  scope->nodes = proto->node;
  scope->num_nodes = proto->n_node;
  scope->opsets = model->opset_import;
  scope->num_opsets = model->n_opset_import;
  onnxc_scope_init(scope, arena, 2 * proto->n_node + proto->n_initializer + proto->n_input);
  graph->name = onnxc_onnx_text(proto->name)[0] ? proto->name : "model";
  ONNXC_TRY(declare_model(state, scope));
  if (!proto->n_output)
    return onnxc_error(graph->diag, ONNXC_BAD_INPUT, "the model has no output");
  char **outputs = ONNXC_NEW_ARRAY(arena, char *, proto->n_output);
  for (size_t i = 0; i < proto->n_output; i++) {
    outputs[i] = proto->output[i]->name;
    if (!onnxc_scope_find(scope, outputs[i]))
      return onnxc_error(graph->diag, ONNXC_BAD_INPUT, "output '%s' is not written by any node", outputs[i]);
  }
  size_t *order, length;
  ONNXC_TRY(onnxc_scope_order(state, scope, outputs, proto->n_output, &order, &length));
  /* Both are looked at, so that one message holds all that is not supported. */
  onnxc_status operators = onnxc_import_check_operators(state, scope, order, length);
  ONNXC_TRY(onnxc_import_graph_inputs(state, scope));
  ONNXC_TRY(operators);
  graph->source_nodes = (uint32_t)proto->n_node;
  ONNXC_TRY(onnxc_import_nodes(state, scope, order, length));
  ONNXC_TRY(import_outputs(state, scope));
  add_mappings(file, graph);
  return onnxc_graph_check_sizes(graph);
}
