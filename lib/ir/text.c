/* text.c -- the graph as text; the syntax stands in text.h. */
#include "ir/graph_text.h"

#include <string.h>

typedef struct printer {
  const onnxc_graph *graph;
  onnxc_text *text;
  const char **values;
  size_t max_constant;
} printer;

/* ---- symbols ---- */

/* What the parser infers of a symbol's source: the first place where it stands alone. */
typedef struct inferred {
  onnxc_sym_source source;
  uint32_t index, axis;
} inferred;

static void infer(const onnxc_graph *graph, inferred *found, onnxc_dim dim, onnxc_sym_source source, uint32_t index,
                  uint32_t axis) {
  const onnxc_dim_node *node = onnxc_dims_node(&graph->dims, dim);
  if (node->kind == ONNXC_DIM_SYM && found[node->sym.i].source == ONNXC_SYM_FREE)
    found[node->sym.i] = (inferred){source, index, axis};
}

static void infer_elements(const onnxc_graph *graph, inferred *found, onnxc_value value) {
  const onnxc_value_info *info = onnxc_value_of(graph, value);
  int64_t shape[ONNXC_MAX_RANK], count = 1;
  if (!info->elements || onnxc_value_is_constant(graph, value) || !onnxc_value_static_shape(graph, value, shape))
    return;
  for (uint32_t d = 0; d < info->rank; d++)
    count *= shape[d];
  for (int64_t k = 0; k < count; k++)
    infer(graph, found, info->elements[k], ONNXC_SYM_ELEMENT, value.i, (uint32_t)k);
}

static void print_symbols(const printer *p) {
  const onnxc_graph *graph = p->graph;
  const onnxc_dims *dims = &graph->dims;
  inferred *found = ONNXC_NEW_ARRAY(p->text->arena, inferred, dims->symbols.length);
  const bool *used = onnxc_used_symbols(graph, p->text->arena);
  for (uint32_t i = 0; i < graph->inputs.length; i++) {
    const onnxc_value_info *info = onnxc_value_of(graph, graph->inputs.data[i]);
    for (uint32_t d = 0; d < info->rank; d++)
      infer(graph, found, info->dims[d], ONNXC_SYM_INPUT_DIM, i, d);
    infer_elements(graph, found, graph->inputs.data[i]);
  }
  for (uint32_t n = 0; n < graph->order.length; n++) {
    const onnxc_node_info *node = onnxc_node_of(graph, graph->order.data[n]);
    for (uint32_t k = 0; k < node->num_outputs; k++)
      infer_elements(graph, found, node->outputs[k]);
  }
  for (uint32_t s = 1; s < dims->symbols.length; s++) {
    const onnxc_symbol *symbol = &dims->symbols.data[s];
    const char *source = NULL;
    if (symbol->source == ONNXC_SYM_LOOP || !used[s])
      continue;
    if (symbol->source == ONNXC_SYM_FREE && found[s].source != ONNXC_SYM_FREE)
      source = "free";
    else if (symbol->source != found[s].source ||
             (symbol->source != ONNXC_SYM_FREE && (symbol->index != found[s].index || symbol->axis != found[s].axis)))
      source = symbol->source == ONNXC_SYM_INPUT_DIM
                   ? onnxc_arena_printf(p->text->arena, "input(%u, %u)", symbol->index, symbol->axis)
                   : onnxc_arena_printf(p->text->arena, "element(%s, %u)", p->values[symbol->index], symbol->axis);
    onnxc_text_symbol(p->text, dims, s, source);
  }
}

/* ---- nodes ---- */

static void print_type(const printer *p, onnxc_value value) {
  const onnxc_value_info *info = onnxc_value_of(p->graph, value);
  const onnxc_dims *dims = &p->graph->dims;
  onnxc_text_type(p->text, dims, info->dtype, info->rank, info->dims, &info->layout);
  int64_t shape[ONNXC_MAX_RANK], count = 1;
  if (!info->elements || onnxc_value_is_constant(p->graph, value) || !onnxc_value_static_shape(p->graph, value, shape))
    return;
  for (uint32_t d = 0; d < info->rank; d++)
    count *= shape[d];
  onnxc_text_printf(p->text, " {");
  for (int64_t k = 0; k < count; k++)
    onnxc_text_printf(p->text, "%s%s", k ? ", " : "", onnxc_dim_text(dims, info->elements[k]));
  onnxc_text_printf(p->text, "}");
}

static void print_attributes(const printer *p, const onnxc_node_info *node) {
  switch (node->op) {
  case ONNXC_OP_CONCAT: onnxc_text_printf(p->text, " axis=%lld", (long long)node->axis); break;
  case ONNXC_OP_NORMALIZE:
  case ONNXC_OP_SOFTMAX:
  case ONNXC_OP_LOG_SOFTMAX:
    onnxc_text_printf(p->text, " axis=%lld span=%lld", (long long)node->axis, (long long)node->span);
    if (node->op == ONNXC_OP_NORMALIZE) {
      onnxc_text_printf(p->text, " epsilon=");
      onnxc_text_f64(p->text, ONNXC_F64, node->epsilon);
    }
    break;
  default: break;
  }
}

/* " when c, d": the conditions, those around the others first. */
static void print_branch(const printer *p, onnxc_branch branch) {
  const onnxc_branch_info *info = &p->graph->branches.data[branch.i];
  if (!branch.i)
    return;
  print_branch(p, info->outer);
  onnxc_text_printf(p->text, "%s %s", info->outer.i ? "," : " when", onnxc_dim_text(&p->graph->dims, info->condition));
}

static void print_node(const printer *p, const onnxc_node_info *node) {
  onnxc_text *text = p->text;
  onnxc_text_printf(text, "  ");
  for (uint32_t k = 0; k < node->num_outputs; k++)
    onnxc_text_printf(text, "%s%s", k ? ", " : "", p->values[node->outputs[k].i]);
  onnxc_text_printf(text, "%s%s", node->num_outputs ? " = " : "", onnxc_op_name(node->op));
  if (node->op == ONNXC_OP_CONSTANT) {
    onnxc_text_printf(text, " ");
    onnxc_data_print(onnxc_value_of(p->graph, node->outputs[0]), p->max_constant, text);
  } else {
    onnxc_text_printf(text, "(");
    for (uint32_t i = 0; i < node->num_inputs; i++)
      onnxc_text_printf(text, "%s%s", i ? ", " : "", node->inputs[i].i ? p->values[node->inputs[i].i] : "none");
    onnxc_text_printf(text, ")");
    print_attributes(p, node);
    if (node->compute) {
      onnxc_text_printf(text, " ");
      onnxc_compute_print(&p->graph->exprs, node->compute, 4, text);
    }
  }
  for (uint32_t k = 0; k < node->num_outputs; k++) {
    onnxc_text_printf(text, k ? ", " : " : ");
    print_type(p, node->outputs[k]);
  }
  print_branch(p, node->branch);
  if (node->name && node->op != ONNXC_OP_CONSTANT)
    onnxc_text_printf(text, " loc(%s)", onnxc_quoted_text(text->arena, node->name));
  onnxc_text_printf(text, "\n");
}

void onnxc_graph_print(const onnxc_graph *graph, onnxc_text *text, size_t max_constant) {
  printer p = {graph, text, onnxc_value_texts(graph, text->arena), max_constant};
  print_symbols(&p);
  onnxc_text_printf(text, "graph %s(", onnxc_name_text(text->arena, '@', graph->name ? graph->name : "main"));
  for (uint32_t i = 0; i < graph->inputs.length; i++) {
    onnxc_text_printf(text, "%s%s: ", i ? ", " : "", p.values[graph->inputs.data[i].i]);
    print_type(&p, graph->inputs.data[i]);
  }
  onnxc_text_printf(text, ") {\n");
  for (uint32_t n = 0; n < graph->order.length; n++)
    print_node(&p, onnxc_node_of(graph, graph->order.data[n]));
  for (uint32_t i = 0; i < graph->constraints.length; i++) {
    const onnxc_constraint *c = &graph->constraints.data[i];
    onnxc_text_printf(text, "  require %s == ", onnxc_dim_text(&graph->dims, c->a));
    onnxc_text_printf(text, "%s", onnxc_dim_text(&graph->dims, c->b));
    if (c->message)
      onnxc_text_printf(text, " %s", onnxc_quoted_text(text->arena, c->message));
    onnxc_text_printf(text, "\n");
  }
  onnxc_text_printf(text, "  return");
  for (uint32_t i = 0; i < graph->outputs.length; i++) {
    onnxc_value value = graph->outputs.data[i];
    const char *name = graph->output_names.data[i], *own = onnxc_value_of(graph, value)->name;
    onnxc_text_printf(text, "%s%s", i ? ", " : " ", p.values[value.i]);
    if (name && (!own || strcmp(name, own) != 0))
      onnxc_text_printf(text, " as %s", onnxc_quoted_text(text->arena, name));
  }
  onnxc_text_printf(text, "\n}\n");
}
