/* functions.c -- functions that the model defines: found, checked, inlined.
 *
 * A call gets a scope of its own, whose inputs are bound to the caller's values; its nodes are imported
 * like the graph's, and its outputs bound in the caller. Attribute references are resolved when they are
 * looked up (onnxc_scope_attribute), so a body is never copied.
 */
#include "state.h"

#include <string.h>

/* ---- finding ---- */

static const char *canonical_domain(const char *domain) {
  domain = onnxc_onnx_text(domain);
  return strcmp(domain, "ai.onnx") == 0 ? "" : domain;
}

static uint64_t hash_of(const char *domain, const char *name, const char *overload) {
  const char *const parts[] = {canonical_domain(domain), onnxc_onnx_text(name), onnxc_onnx_text(overload)};
  uint64_t hash = 0xcbf29ce484222325u;
  for (size_t i = 0; i < 3; i++, hash = (hash ^ 0xff) * 0x100000001b3u)
    for (const char *text = parts[i]; *text; text++)
      hash = (hash ^ (uint8_t)*text) * 0x100000001b3u;
  return hash ^ hash >> 29;
}

static bool is_called(const Onnx__FunctionProto *f, const Onnx__NodeProto *node) {
  return strcmp(onnxc_onnx_text(f->name), onnxc_onnx_text(node->op_type)) == 0 &&
         strcmp(canonical_domain(f->domain), canonical_domain(node->domain)) == 0 &&
         strcmp(onnxc_onnx_text(f->overload), onnxc_onnx_text(node->overload)) == 0;
}

void onnxc_import_index_functions(onnxc_import_state *state) {
  const Onnx__ModelProto *model = state->file->model;
  size_t slots = 16;
  while (slots < 2 * model->n_functions)
    slots *= 2;
  state->functions = ONNXC_NEW_ARRAY(state->graph->arena, size_t, slots);
  state->function_slots = slots;
  for (size_t i = 0; i < model->n_functions; i++) {
    const Onnx__FunctionProto *f = model->functions[i];
    size_t slot = hash_of(f->domain, f->name, f->overload) & (slots - 1);
    while (state->functions[slot])
      slot = (slot + 1) & (slots - 1);
    state->functions[slot] = i + 1;
  }
}

/* Index of the function that a node calls, or SIZE_MAX. The first of several of one name counts. */
static size_t find_function(const onnxc_import_state *state, const Onnx__NodeProto *node) {
  size_t slots = state->function_slots;
  size_t slot = hash_of(node->domain, node->op_type, node->overload) & (slots - 1);
  for (; state->functions[slot]; slot = (slot + 1) & (slots - 1))
    if (is_called(state->file->model->functions[state->functions[slot] - 1], node))
      return state->functions[slot] - 1;
  return SIZE_MAX;
}

const Onnx__FunctionProto *onnxc_import_function(const onnxc_import_state *state, const Onnx__NodeProto *node) {
  size_t index = find_function(state, node);
  return index == SIZE_MAX ? NULL : state->file->model->functions[index];
}

/* A scope for the body of a function; names are not declared yet. */
static onnxc_scope *open_scope(onnxc_import_state *state, onnxc_scope *parent, const Onnx__NodeProto *call,
                               const Onnx__FunctionProto *function) {
  onnxc_arena *arena = state->graph->arena;
  const char *name = onnxc_onnx_text(call->name);
  onnxc_scope *scope = ONNXC_NEW(arena, onnxc_scope);
  scope->parent = parent;
  scope->call = call;
  scope->function = function;
  scope->depth = parent->depth + 1;
  scope->prefix = onnxc_arena_printf(arena, "%s%s/", parent->prefix, name[0] ? name : onnxc_onnx_text(function->name));
  scope->nodes = function->node;
  scope->num_nodes = function->n_node;
  scope->opsets = function->opset_import;
  scope->num_opsets = function->n_opset_import;
  return scope;
}

/* ---- checking ---- */

typedef struct check {
  onnxc_import_state *state;
  bool *seen; /* functions that were checked, by index */
} check;

static bool check_node(check *c, onnxc_scope *scope, const Onnx__NodeProto *node) {
  onnxc_import_state *state = c->state;
  onnxc_diag *diag = state->graph->diag;
  size_t index = find_function(state, node);
  if (diag->count >= ONNXC_MAX_REPORTED)
    return false;
  if (index != SIZE_MAX) {
    if (c->seen[index])
      return true;
    if (scope->depth >= ONNXC_MAX_CALL_DEPTH) {
      onnxc_error(diag, ONNXC_BAD_INPUT, "%s: functions call each other more than %d deep",
                  onnxc_scope_where(state, scope, node), ONNXC_MAX_CALL_DEPTH);
      return false;
    }
    c->seen[index] = true;
    onnxc_scope *body = open_scope(state, scope, node, state->file->model->functions[index]);
    bool good = true;
    for (size_t i = 0; i < body->num_nodes; i++)
      good = check_node(c, body, body->nodes[i]) && good;
    return good;
  }
  int64_t opset = onnxc_scope_opset(scope, node->domain);
  const onnxc_import_row *row = onnxc_import_find(onnxc_onnx_text(node->domain), onnxc_onnx_text(node->op_type));
  if (row && opset >= row->since)
    return true;
  const char *where = onnxc_scope_where(state, scope, node);
  if (row && opset < 0)
    onnxc_error(diag, ONNXC_BAD_INPUT, "%s: the model imports no version of the operator's domain", where);
  else if (row)
    onnxc_error(diag, ONNXC_UNSUPPORTED, "%s: not supported before opset %lld", where, (long long)row->since);
  else
    onnxc_error(diag, ONNXC_UNSUPPORTED, "%s: not supported", where);
  return false;
}

onnxc_status onnxc_import_check_operators(onnxc_import_state *state, onnxc_scope *scope, const size_t *order,
                                          size_t length) {
  check c = {state, ONNXC_NEW_ARRAY(state->graph->arena, bool, state->file->model->n_functions + 1)};
  bool good = true;
  for (size_t i = 0; i < length; i++)
    good = check_node(&c, scope, scope->nodes[order[i]]) && good;
  return good ? ONNXC_OK : state->graph->diag->status;
}

/* ---- inlining ---- */

static onnxc_status bind_inputs(onnxc_importer *in, onnxc_scope *scope) {
  const Onnx__FunctionProto *function = scope->function;
  if (in->num_inputs > function->n_input || in->num_outputs > function->n_output)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "called with %u inputs and %u outputs, but it has %zu and %zu",
                              in->num_inputs, in->num_outputs, function->n_input, function->n_output);
  for (size_t k = 0; k < function->n_input; k++) {
    onnxc_name *name = onnxc_scope_name(scope, in->graph->arena, function->input[k]);
    if (name->is_input)
      return onnxc_import_error(in, ONNXC_BAD_INPUT, "the function has two inputs named '%s'", name->text);
    name->is_input = true;
    name->value = k < in->num_inputs ? in->inputs[k] : (onnxc_value){0};
  }
  return ONNXC_OK;
}

onnxc_status onnxc_import_call(onnxc_importer *in, const Onnx__FunctionProto *function) {
  onnxc_import_state *state = in->state;
  onnxc_scope *caller = state->scope;
  if (caller->depth >= ONNXC_MAX_CALL_DEPTH)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "functions call each other more than %d deep", ONNXC_MAX_CALL_DEPTH);
  size_t size = function->n_node + function->n_input + function->n_output + 1; /* what the call costs us */
  if (size > ONNXC_MAX_INLINED - state->inlined)
    return onnxc_import_error(in, ONNXC_UNSUPPORTED, "functions add more than %d nodes and names", ONNXC_MAX_INLINED);
  state->inlined += size;
  onnxc_scope *scope = open_scope(state, caller, in->proto, function);
  onnxc_scope_init(scope, in->graph->arena, 2 * function->n_node + function->n_input);
  ONNXC_TRY(bind_inputs(in, scope));
  ONNXC_TRY(onnxc_scope_declare(state, scope));
  size_t *order, length;
  ONNXC_TRY(onnxc_scope_order(state, scope, function->output, function->n_output, &order, &length));
  onnxc_status status = onnxc_import_nodes(state, scope, order, length);
  state->scope = caller;
  ONNXC_TRY(status);
  for (uint32_t k = 0; k < in->num_outputs; k++) {
    if (!onnxc_import_wants(in, k))
      continue;
    onnxc_name *name = onnxc_scope_find(scope, function->output[k]);
    if (!name || !name->value.i)
      return onnxc_import_error(in, ONNXC_BAD_INPUT, "the function does not compute its output '%s'",
                                function->output[k]);
    onnxc_import_result(in, k, name->value);
  }
  return ONNXC_OK;
}
