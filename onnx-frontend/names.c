/* names.c -- the names of a scope: values, operator sets, attributes. */
#include "state.h"

#include <stdio.h>
#include <string.h>

/* ---- values ---- */

static size_t hash_text(const char *text) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (; *text; text++)
    hash = (hash ^ (uint8_t)*text) * 0x100000001b3u;
  return (size_t)(hash ^ hash >> 29);
}

void onnxc_scope_init(onnxc_scope *scope, onnxc_arena *arena, size_t expected) {
  scope->num_buckets = 16;
  while (scope->num_buckets < expected)
    scope->num_buckets *= 2;
  scope->buckets = ONNXC_NEW_ARRAY(arena, onnxc_name *, scope->num_buckets);
}

onnxc_name *onnxc_scope_find(const onnxc_scope *scope, const char *text) {
  onnxc_name *name = scope->buckets[hash_text(text) & (scope->num_buckets - 1)];
  while (name && strcmp(name->text, text) != 0)
    name = name->next;
  return name;
}

onnxc_name *onnxc_scope_name(onnxc_scope *scope, onnxc_arena *arena, const char *text) {
  onnxc_name *name = onnxc_scope_find(scope, text);
  if (name)
    return name;
  size_t bucket = hash_text(text) & (scope->num_buckets - 1);
  name = ONNXC_NEW(arena, onnxc_name);
  name->text = text;
  name->next = scope->buckets[bucket];
  scope->buckets[bucket] = name;
  return name;
}

onnxc_status onnxc_scope_declare(onnxc_import_state *state, onnxc_scope *scope) {
  onnxc_graph *graph = state->graph;
  ONNXC_TRY(onnxc_scope_find_reads(state, scope));
  for (size_t i = 0; i < scope->num_nodes; i++) {
    const Onnx__NodeProto *node = scope->nodes[i];
    for (size_t k = 0; k < node->n_output; k++) {
      if (!node->output[k][0])
        continue;
      onnxc_name *name = onnxc_scope_name(scope, graph->arena, node->output[k]);
      if (name->is_input || name->initializer)
        return onnxc_error(graph->diag, ONNXC_BAD_INPUT, "%s writes '%s', which is an input or initializer",
                           onnxc_scope_where(state, scope, node), name->text);
      if (name->writer)
        return onnxc_error(graph->diag, ONNXC_BAD_INPUT, "%s writes '%s', and so does %s",
                           onnxc_scope_where(state, scope, node), name->text,
                           onnxc_scope_where(state, scope, scope->nodes[name->writer - 1]));
      name->writer = i + 1;
    }
  }
  for (size_t i = 0; i < scope->num_nodes; i++)
    for (size_t k = 0; k < scope->reads[i].count; k++) {
      const char *text = scope->reads[i].names[k];
      if (text[0] && !onnxc_scope_find(scope, text))
        return onnxc_error(graph->diag, ONNXC_BAD_INPUT, "%s reads '%s', which nothing writes",
                           onnxc_scope_where(state, scope, scope->nodes[i]), text);
    }
  return ONNXC_OK;
}

/* ---- operator sets ---- */

static const char *canonical_domain(const char *domain) {
  domain = onnxc_onnx_text(domain);
  return strcmp(domain, "ai.onnx") == 0 ? "" : domain;
}

int64_t onnxc_scope_opset(const onnxc_scope *scope, const char *domain) {
  domain = canonical_domain(domain);
  for (size_t i = 0; i < scope->num_opsets; i++)
    if (strcmp(canonical_domain(scope->opsets[i]->domain), domain) == 0)
      return scope->opsets[i]->version;
  return -1;
}

const char *onnxc_scope_where(onnxc_import_state *state, const onnxc_scope *scope, const Onnx__NodeProto *node) {
  const char *name = onnxc_onnx_text(node->name), *op = onnxc_onnx_text(node->op_type);
  for (size_t k = 0; k < node->n_output && !name[0]; k++)
    name = node->output[k];
  int64_t opset = onnxc_scope_opset(scope, node->domain);
  const char *domain = canonical_domain(node->domain);
  char version[24] = "?";
  if (opset >= 0)
    snprintf(version, sizeof version, "%lld", (long long)opset);
  return onnxc_arena_printf(state->graph->arena, "node '%s%s' (%s%s%s-%s)", scope->prefix, name, domain,
                            domain[0] ? "." : "", op, version);
}

/* ---- attributes ---- */

static const Onnx__AttributeProto *find_attribute(Onnx__AttributeProto *const *attributes, size_t count,
                                                  const char *name) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(onnxc_onnx_text(attributes[i]->name), name) == 0)
      return attributes[i];
  return NULL;
}

const Onnx__AttributeProto *onnxc_scope_attribute(const onnxc_scope *scope, const Onnx__NodeProto *node,
                                                  const char *name) {
  const Onnx__AttributeProto *found = find_attribute(node->attribute, node->n_attribute, name);
  if (!found || !onnxc_onnx_text(found->ref_attr_name)[0])
    return found;
  if (!scope->call)
    return NULL;
  /* What refers to an attribute that the caller leaves out has the function's default, or is absent itself. Calls are
   * nested at most ONNXC_MAX_CALL_DEPTH deep, and so is this. */
  const Onnx__AttributeProto *given = onnxc_scope_attribute(scope->parent, scope->call, found->ref_attr_name);
  if (given)
    return given;
  return find_attribute(scope->function->attribute_proto, scope->function->n_attribute_proto, found->ref_attr_name);
}
