/* parse.c -- the graph from text; the syntax stands in text.h.
 *
 * One pass; values must be defined before they are used. Only the values that
 * `element` sources name are looked up at the end, for symbols come first. The text is
 * hostile: what would break the graph's own functions is refused here, all
 * other invariants are the verifier's.
 */
#include "ir/graph_text.h"

#include <string.h>

typedef struct late_source {
  onnxc_sym sym;
  const char *value, *at;
} late_source;

typedef struct graph_parser {
  onnxc_lexer lexer;
  onnxc_graph *graph;
  onnxc_names values;
  ONNXC_VEC(late_source) late;
  ONNXC_VEC(bool) fixed; /* by symbol: a line said its source */
} graph_parser;

static void infer(graph_parser *p, onnxc_dim dim, onnxc_sym_source source, uint32_t index, uint32_t axis) {
  const onnxc_dim_node *node = onnxc_dims_node(&p->graph->dims, dim);
  if (node->kind != ONNXC_DIM_SYM || (node->sym.i < p->fixed.length && p->fixed.data[node->sym.i]))
    return;
  onnxc_symbol *symbol = onnxc_dims_symbol(&p->graph->dims, node->sym);
  if (symbol->source != ONNXC_SYM_FREE)
    return;
  symbol->source = source;
  symbol->index = index;
  symbol->axis = axis;
}

/* symbol %N = source in low..high by divisor hint h */
static bool parse_symbol(graph_parser *p) {
  onnxc_lexer *lexer = &p->lexer;
  onnxc_dims *dims = &p->graph->dims;
  const char *name;
  if (!onnxc_lex_name(lexer, '%', &name))
    return false;
  if (onnxc_sym_find(dims, name, strlen(name)).i)
    return onnxc_lex_fail(lexer, lexer->at, "the symbol %%%s is already there", name);
  onnxc_sym sym = onnxc_sym_new(dims, name, ONNXC_SYM_FREE, 0, 0);
  onnxc_symbol *symbol = onnxc_dims_symbol(dims, sym);
  while (p->fixed.length <= sym.i)
    ONNXC_PUSH(lexer->arena, p->fixed, false);
  if (onnxc_lex_take(lexer, "=")) {
    p->fixed.data[sym.i] = true;
    if (onnxc_lex_take(lexer, "input")) {
      symbol->source = ONNXC_SYM_INPUT_DIM;
      if (!onnxc_lex_expect(lexer, "(") || !onnxc_lex_u32(lexer, UINT32_MAX, &symbol->index) ||
          !onnxc_lex_expect(lexer, ","))
        return false;
    } else if (onnxc_lex_take(lexer, "element")) {
      symbol->source = ONNXC_SYM_ELEMENT;
      late_source late = {.sym = sym};
      if (!onnxc_lex_expect(lexer, "("))
        return false;
      late.at = lexer->at;
      if (!onnxc_lex_name(lexer, '%', &late.value) || !onnxc_lex_expect(lexer, ","))
        return false;
      ONNXC_PUSH(lexer->arena, p->late, late);
    } else if (!onnxc_lex_expect(lexer, "free")) {
      return false;
    }
    if (symbol->source != ONNXC_SYM_FREE &&
        (!onnxc_lex_u32(lexer, UINT32_MAX, &symbol->axis) || !onnxc_lex_expect(lexer, ")")))
      return false;
  }
  return onnxc_lex_symbol_range(lexer, symbol);
}

/* ---- values ---- */

static bool define(graph_parser *p, const char *name, onnxc_value value) {
  if (onnxc_names_find(&p->values, name))
    return onnxc_lex_fail(&p->lexer, p->lexer.at, "the value %%%s is already there", name);
  onnxc_names_add(&p->values, name, value.i);
  return true;
}

static bool parse_use(graph_parser *p, onnxc_value *value) {
  const char *name, *at;
  onnxc_lex_space(&p->lexer);
  at = p->lexer.at;
  if (!onnxc_lex_name(&p->lexer, '%', &name))
    return false;
  value->i = onnxc_names_find(&p->values, name);
  return value->i || onnxc_lex_fail(&p->lexer, at, "unknown value %%%s", name);
}

/* {%N, 64} behind the type of an integer tensor with static dims */
static bool parse_elements(graph_parser *p, onnxc_value value) {
  onnxc_lexer *lexer = &p->lexer;
  onnxc_value_info *info = onnxc_value_of(p->graph, value);
  int64_t shape[ONNXC_MAX_RANK], count = 1;
  const char *start = lexer->at;
  if (!onnxc_lex_take(lexer, "{"))
    return true;
  if (!onnxc_value_static_shape(p->graph, value, shape))
    return onnxc_lex_fail(lexer, start, "elements need static dims");
  for (uint32_t d = 0; d < info->rank; d++)
    if (shape[d] < 0 || __builtin_mul_overflow(count, shape[d], &count) || count > 1024)
      return onnxc_lex_fail(lexer, start, "too many elements");
  onnxc_dim *elements = ONNXC_NEW_ARRAY(lexer->arena, onnxc_dim, count);
  for (int64_t k = 0; k < count; k++) {
    if ((k && !onnxc_lex_expect(lexer, ",")) || !onnxc_lex_dim(lexer, &p->graph->dims, &elements[k]))
      return false;
    infer(p, elements[k], ONNXC_SYM_ELEMENT, value.i, (uint32_t)k);
  }
  onnxc_value_of(p->graph, value)->elements = elements;
  return onnxc_lex_expect(lexer, "}");
}

/* A new value of the type that comes next. */
static bool parse_value(graph_parser *p, const char *name, bool input, onnxc_value *value) {
  onnxc_dtype dtype;
  uint32_t rank;
  onnxc_dim dims[ONNXC_MAX_RANK];
  onnxc_layout layout;
  if (!onnxc_lex_type(&p->lexer, &p->graph->dims, &dtype, &rank, dims, &layout))
    return false;
  name = onnxc_value_name_meant(name);
  *value = input ? onnxc_graph_add_input(p->graph, name, dtype, rank, dims)
                 : onnxc_graph_add_value(p->graph, name, dtype, rank, dims);
  onnxc_value_of(p->graph, *value)->layout = layout;
  for (uint32_t d = 0; input && d < rank; d++)
    infer(p, dims[d], ONNXC_SYM_INPUT_DIM, p->graph->inputs.length - 1, d);
  return parse_elements(p, *value);
}

static bool parse_inputs(graph_parser *p) {
  onnxc_lexer *lexer = &p->lexer;
  if (!onnxc_lex_expect(lexer, "("))
    return false;
  while (!onnxc_lex_take(lexer, ")")) {
    const char *name;
    onnxc_value value;
    if (p->graph->inputs.length && !onnxc_lex_expect(lexer, ","))
      return false;
    if (!onnxc_lex_name(lexer, '%', &name) || !onnxc_lex_expect(lexer, ":") || !parse_value(p, name, true, &value) ||
        !define(p, name, value))
      return false;
  }
  return true;
}

/* ---- nodes ---- */

typedef struct node_text {
  ONNXC_VEC(const char *) outputs;
  ONNXC_VEC(onnxc_value) inputs;
  ONNXC_VEC(onnxc_value) results;
  onnxc_data_text data;
  onnxc_node_info info;
} node_text;

static bool parse_op(graph_parser *p, node_text *n) {
  static const struct {
    const char *text;
    int min_inputs, max_inputs, outputs;
  } rows[] = {
#define X(NAME, text, min_inputs, max_inputs, outputs) {text, min_inputs, max_inputs, outputs},
#include "ir/ops.def"
#undef X
  };
  onnxc_lexer *lexer = &p->lexer;
  const char *word;
  size_t length;
  if (!onnxc_lex_word(lexer, &word, &length))
    return false;
  for (uint32_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    if (strlen(rows[i].text) != length || memcmp(rows[i].text, word, length) != 0)
      continue;
    n->info.op = (onnxc_op)(i + 1);
    if (rows[i].outputs >= 0 && n->outputs.length != (uint32_t)rows[i].outputs)
      return onnxc_lex_fail(lexer, word, "%s has %d results, not %u", rows[i].text, rows[i].outputs, n->outputs.length);
    if (n->info.op == ONNXC_OP_CONSTANT)
      return onnxc_data_skip(lexer, &n->data);
    if (!onnxc_lex_expect(lexer, "("))
      return false;
    while (!onnxc_lex_take(lexer, ")")) {
      onnxc_value value = {0};
      if (n->inputs.length && !onnxc_lex_expect(lexer, ","))
        return false;
      if (!onnxc_lex_take(lexer, "none") && !parse_use(p, &value))
        return false;
      ONNXC_PUSH(lexer->arena, n->inputs, value);
    }
    if ((int64_t)n->inputs.length < rows[i].min_inputs ||
        (rows[i].max_inputs >= 0 && (int64_t)n->inputs.length > rows[i].max_inputs))
      return onnxc_lex_fail(lexer, word, "%s cannot have %u operands", rows[i].text, n->inputs.length);
    return true;
  }
  return onnxc_lex_fail(lexer, word, "'%.*s' is no operator", (int)length, word);
}

static bool parse_attributes(graph_parser *p, node_text *n) {
  onnxc_lexer *lexer = &p->lexer;
  for (;;) {
    if (onnxc_lex_take(lexer, "axis")) {
      if (!onnxc_lex_expect(lexer, "=") || !onnxc_lex_int(lexer, INT64_MIN, INT64_MAX, &n->info.axis))
        return false;
    } else if (onnxc_lex_take(lexer, "span")) {
      if (!onnxc_lex_expect(lexer, "=") || !onnxc_lex_int(lexer, INT64_MIN, INT64_MAX, &n->info.span))
        return false;
    } else if (onnxc_lex_take(lexer, "epsilon")) {
      if (!onnxc_lex_expect(lexer, "=") || !onnxc_lex_float(lexer, &n->info.epsilon))
        return false;
    } else {
      return true;
    }
  }
}

static bool parse_compute(graph_parser *p, node_text *n) {
  onnxc_operand_type *operands = ONNXC_NEW_ARRAY(p->lexer.arena, onnxc_operand_type, n->inputs.length);
  for (uint32_t i = 0; i < n->inputs.length; i++) {
    const onnxc_value_info *info = onnxc_value_of(p->graph, n->inputs.data[i]);
    operands[i] = (onnxc_operand_type){info->dtype, info->rank};
  }
  n->info.compute = ONNXC_NEW(p->lexer.arena, onnxc_compute);
  return onnxc_compute_parse(&p->lexer, &p->graph->exprs, n->inputs.length, operands, n->outputs.length,
                             n->info.compute);
}

static bool parse_branch(graph_parser *p, onnxc_branch *branch) {
  onnxc_dim condition;
  for (bool more = onnxc_lex_take(&p->lexer, "when"); more; more = onnxc_lex_take(&p->lexer, ",")) {
    if (!onnxc_lex_dim(&p->lexer, &p->graph->dims, &condition))
      return false;
    *branch = onnxc_graph_branch(p->graph, *branch, condition);
  }
  return true;
}

static bool parse_node(graph_parser *p) {
  onnxc_lexer *lexer = &p->lexer;
  onnxc_graph *graph = p->graph;
  node_text n = {0};
  while (onnxc_lex_peek(lexer, "%") || n.outputs.length) {
    const char *name;
    if (n.outputs.length && !onnxc_lex_take(lexer, ","))
      break;
    if (!onnxc_lex_name(lexer, '%', &name))
      return false;
    ONNXC_PUSH(lexer->arena, n.outputs, name); // NOLINT(bugprone-multi-level-implicit-pointer-conversion)
  }
  if ((n.outputs.length && !onnxc_lex_expect(lexer, "=")) || !parse_op(p, &n) || !parse_attributes(p, &n))
    return false;
  if (n.info.op == ONNXC_OP_COMPUTE && !parse_compute(p, &n))
    return false;
  for (uint32_t k = 0; k < n.outputs.length; k++) {
    onnxc_value value;
    if (!onnxc_lex_expect(lexer, k ? "," : ":") || !parse_value(p, n.outputs.data[k], false, &value) ||
        !define(p, n.outputs.data[k], value))
      return false;
    ONNXC_PUSH(lexer->arena, n.results, value);
  }
  if (!parse_branch(p, &n.info.branch))
    return false;
  if (onnxc_lex_take(lexer, "loc") &&
      (!onnxc_lex_expect(lexer, "(") || !onnxc_lex_string(lexer, &n.info.name) || !onnxc_lex_expect(lexer, ")")))
    return false;
  if (n.info.op == ONNXC_OP_CONSTANT && n.results.length &&
      !onnxc_data_parse(lexer, &n.data, &graph->dims, onnxc_value_of(graph, n.results.data[0])))
    return false;
  onnxc_node node = onnxc_graph_add_node(graph, n.info.op, n.info.name, n.inputs.length, n.inputs.data,
                                         n.results.length, n.results.data);
  onnxc_node_info *info = onnxc_node_of(graph, node);
  info->branch = n.info.branch;
  info->compute = n.info.compute;
  info->axis = n.info.axis;
  info->span = n.info.span;
  info->epsilon = n.info.epsilon;
  return true;
}

static bool parse_constraint(graph_parser *p) {
  onnxc_dim a, b;
  const char *message = NULL;
  if (!onnxc_lex_dim(&p->lexer, &p->graph->dims, &a) || !onnxc_lex_expect(&p->lexer, "==") ||
      !onnxc_lex_dim(&p->lexer, &p->graph->dims, &b))
    return false;
  if (onnxc_lex_peek(&p->lexer, "\"") && !onnxc_lex_string(&p->lexer, &message))
    return false;
  onnxc_graph_add_constraint(p->graph, a, b, message);
  return true;
}

static bool parse_outputs(graph_parser *p) {
  bool first = true;
  while (!onnxc_lex_take(&p->lexer, "}")) {
    onnxc_value value;
    if ((!first && !onnxc_lex_expect(&p->lexer, ",")) || !parse_use(p, &value))
      return false;
    const char *name = onnxc_value_of(p->graph, value)->name;
    if (onnxc_lex_take(&p->lexer, "as") && !onnxc_lex_string(&p->lexer, &name))
      return false;
    onnxc_graph_add_output(p->graph, value, name);
    first = false;
  }
  return true;
}

static bool parse_graph(graph_parser *p) {
  onnxc_lexer *lexer = &p->lexer;
  while (onnxc_lex_take(lexer, "symbol"))
    if (!parse_symbol(p))
      return false;
  if (!onnxc_lex_expect(lexer, "graph") || !onnxc_lex_name(lexer, '@', &p->graph->name) || !parse_inputs(p) ||
      !onnxc_lex_expect(lexer, "{"))
    return false;
  while (!onnxc_lex_take(lexer, "return")) {
    if (onnxc_lex_take(lexer, "require") ? !parse_constraint(p) : !parse_node(p))
      return false;
  }
  if (!parse_outputs(p))
    return false;
  for (uint32_t i = 0; i < p->late.length; i++) {
    const late_source *late = &p->late.data[i];
    uint32_t value = onnxc_names_find(&p->values, late->value);
    if (!value)
      return onnxc_lex_fail(lexer, late->at, "unknown value %%%s", late->value);
    onnxc_dims_symbol(&p->graph->dims, late->sym)->index = value;
  }
  onnxc_lex_space(lexer);
  return !*lexer->at || onnxc_lex_fail(lexer, lexer->at, "text behind the graph");
}

onnxc_status onnxc_graph_parse(onnxc_graph *graph, const char *file, const char *source, size_t length) {
  graph_parser p = {.graph = graph, .values = {.arena = graph->arena}};
  bool ok = onnxc_lex_init(&p.lexer, graph->arena, graph->diag, file, source, length) && parse_graph(&p);
  return ok ? ONNXC_OK : ONNXC_BAD_INPUT;
}
