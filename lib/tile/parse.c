/* parse.c -- a tile program from text; the syntax stands in tile.h.
 *
 * The graph that the program is about holds just what the buffers name:
 * inputs, outputs, constants and values without producers. A view may stand in front
 * of the buffer that it lies in, so these names are looked up at the end.
 */
#include "ir/graph_text.h"
#include "tile/grid.h"
#include "tile/tile_text.h"

#include <string.h>

enum { MAX_NESTING = 64 };

typedef struct late_name {
  uint32_t number; /* buffer, or symbol */
  const char *name, *at;
} late_name;

typedef struct tile_parser {
  onnxc_lexer lexer;
  onnxc_tile_program *program;
  onnxc_graph *graph;
  onnxc_names buffers;
  ONNXC_VEC(late_name) views;
  ONNXC_VEC(late_name) sources;
  int nesting;
} tile_parser;

void onnxc_loop_range(const onnxc_dims *dims, onnxc_dim lo, onnxc_dim hi, onnxc_dim step, onnxc_symbol *symbol) {
  int64_t low, high, unused, stride = 1;
  onnxc_dim_range(dims, lo, &low, &unused);
  onnxc_dim_range(dims, hi, &unused, &high);
  bool from_zero = onnxc_dim_is(dims, lo, 0) && onnxc_dim_is_const(dims, step, &stride) && stride > 0;
  symbol->low = low;
  symbol->high = high > low ? high - 1 : low;
  symbol->divisor = from_zero ? stride : 1;
  symbol->hint = 0;
}

static onnxc_dims *dims_of(tile_parser *p) { return &p->graph->dims; }

/* ---- symbols ---- */

static bool parse_symbol(tile_parser *p) {
  onnxc_lexer *lexer = &p->lexer;
  const char *name;
  if (!onnxc_lex_name(lexer, '%', &name))
    return false;
  if (onnxc_sym_find(dims_of(p), name, strlen(name)).i)
    return onnxc_lex_fail(lexer, lexer->at, "the symbol %%%s is already there", name);
  onnxc_sym sym = onnxc_sym_new(dims_of(p), name, ONNXC_SYM_FREE, 0, 0);
  onnxc_symbol *symbol = onnxc_dims_symbol(dims_of(p), sym);
  if (onnxc_lex_take(lexer, "=")) {
    if (onnxc_lex_take(lexer, "input")) {
      symbol->source = ONNXC_SYM_INPUT_DIM;
      if (!onnxc_lex_expect(lexer, "(") || !onnxc_lex_u32(lexer, UINT32_MAX, &symbol->index))
        return false;
    } else {
      late_name source = {.number = sym.i};
      symbol->source = ONNXC_SYM_ELEMENT;
      if (!onnxc_lex_expect(lexer, "element") || !onnxc_lex_expect(lexer, "("))
        return false;
      source.at = lexer->at;
      if (!onnxc_lex_name(lexer, '%', &source.name))
        return false;
      ONNXC_PUSH(lexer->arena, p->sources, source);
    }
    if (!onnxc_lex_expect(lexer, ",") || !onnxc_lex_u32(lexer, UINT32_MAX, &symbol->axis) ||
        !onnxc_lex_expect(lexer, ")"))
      return false;
  }
  return onnxc_lex_symbol_range(lexer, symbol);
}

/* ---- buffers ---- */

static onnxc_value new_value(tile_parser *p, const onnxc_buffer *buffer) {
  onnxc_value value = onnxc_graph_add_value(p->graph, buffer->name, buffer->dtype, buffer->rank, buffer->dims);
  onnxc_value_of(p->graph, value)->layout = buffer->layout;
  return value;
}

static bool parse_input(tile_parser *p, onnxc_buffer *buffer) {
  uint32_t number = p->graph->inputs.length, given;
  const char *at = p->lexer.at;
  if (!onnxc_lex_u32(&p->lexer, UINT32_MAX, &given))
    return false;
  if (given != number)
    return onnxc_lex_fail(&p->lexer, at, "the next input is %u", number);
  buffer->value = new_value(p, buffer);
  onnxc_value_of(p->graph, buffer->value)->slot = number;
  ONNXC_PUSH(p->lexer.arena, p->graph->inputs, buffer->value);
  for (uint32_t d = 0; d < buffer->rank; d++) {
    const onnxc_dim_node *node = onnxc_dims_node(dims_of(p), buffer->dims[d]);
    onnxc_symbol *symbol = onnxc_dims_symbol(dims_of(p), node->sym);
    if (node->kind != ONNXC_DIM_SYM || symbol->source != ONNXC_SYM_FREE)
      continue;
    symbol->source = ONNXC_SYM_INPUT_DIM;
    symbol->index = number;
    symbol->axis = d;
  }
  return true;
}

static bool parse_output(tile_parser *p, onnxc_buffer *buffer) {
  onnxc_graph *graph = p->graph;
  uint32_t number;
  const char *at = p->lexer.at, *name = NULL;
  if (!onnxc_lex_u32(&p->lexer, 65535, &number))
    return false;
  if (onnxc_lex_take(&p->lexer, "as") && !onnxc_lex_string(&p->lexer, &name))
    return false;
  while (graph->outputs.length <= number) /* outputs may come in any order */
    onnxc_graph_add_output(graph, (onnxc_value){0}, NULL);
  if (graph->outputs.data[number].i)
    return onnxc_lex_fail(&p->lexer, at, "output %u is already there", number);
  buffer->value = new_value(p, buffer);
  graph->outputs.data[number] = buffer->value;
  graph->output_names.data[number] = name;
  return true;
}

static bool parse_constant(tile_parser *p, onnxc_buffer *buffer) {
  onnxc_data_text data;
  buffer->value = new_value(p, buffer);
  onnxc_graph_add_node(p->graph, ONNXC_OP_CONSTANT, buffer->name, 0, NULL, 1, &buffer->value);
  if (onnxc_lex_take(&p->lexer, "...")) { /* a program may be read without its weights */
    onnxc_value_info *info = onnxc_value_of(p->graph, buffer->value);
    int64_t shape[ONNXC_MAX_RANK], stored;
    if (!onnxc_value_static_shape(p->graph, buffer->value, shape) ||
        (stored = onnxc_layout_size_of(&info->layout, info->rank, shape)) < 0 || stored > INT64_MAX / 16)
      return onnxc_lex_fail(&p->lexer, p->lexer.at, "a constant needs static dims, and not too large ones");
    info->data_size = (size_t)stored * onnxc_dtype_bytes(info->dtype);
    return true;
  }
  return onnxc_data_skip(&p->lexer, &data) &&
         onnxc_data_parse(&p->lexer, &data, dims_of(p), onnxc_value_of(p->graph, buffer->value));
}

/* view of %base at offset over [dims] */
static bool parse_view(tile_parser *p, onnxc_buffer *buffer) {
  onnxc_lexer *lexer = &p->lexer;
  late_name view = {.number = p->program->buffers.length};
  if (!onnxc_lex_expect(lexer, "of"))
    return false;
  onnxc_lex_space(lexer);
  view.at = lexer->at;
  if (!onnxc_lex_name(lexer, '%', &view.name) || !onnxc_lex_expect(lexer, "at") ||
      !onnxc_lex_dim(lexer, dims_of(p), &buffer->alias_offset))
    return false;
  ONNXC_PUSH(lexer->arena, p->views, view);
  if (!onnxc_lex_take(lexer, "over"))
    return true;
  buffer->alias_dims = ONNXC_NEW_ARRAY(lexer->arena, onnxc_dim, buffer->rank + 1);
  if (!onnxc_lex_expect(lexer, "["))
    return false;
  for (uint32_t d = 0; d < buffer->rank; d++)
    if ((d && !onnxc_lex_expect(lexer, ",")) || !onnxc_lex_dim(lexer, dims_of(p), &buffer->alias_dims[d]))
      return false;
  return onnxc_lex_expect(lexer, "]");
}

static bool parse_buffer(tile_parser *p) {
  onnxc_lexer *lexer = &p->lexer;
  onnxc_buffer buffer = {.space = ONNXC_SPACE_VALUE, .ring_dim = -1};
  onnxc_dim dims[ONNXC_MAX_RANK];
  const char *at = lexer->at;
  if (!onnxc_lex_name(lexer, '%', &buffer.name) || !onnxc_lex_expect(lexer, ":") ||
      !onnxc_lex_type(lexer, dims_of(p), &buffer.dtype, &buffer.rank, dims, &buffer.layout) ||
      !onnxc_lex_expect(lexer, "="))
    return false;
  if (onnxc_names_find(&p->buffers, buffer.name))
    return onnxc_lex_fail(lexer, at, "the buffer %%%s is already there", buffer.name);
  buffer.dims = ONNXC_NEW_ARRAY(lexer->arena, onnxc_dim, buffer.rank + 1);
  memcpy(buffer.dims, dims, buffer.rank * sizeof *dims);
  bool ok = true;
  if (onnxc_lex_take(lexer, "input"))
    ok = parse_input(p, &buffer);
  else if (onnxc_lex_take(lexer, "output"))
    ok = parse_output(p, &buffer);
  else if (onnxc_lex_take(lexer, "constant"))
    ok = parse_constant(p, &buffer);
  else if (onnxc_lex_take(lexer, "value"))
    buffer.value = new_value(p, &buffer);
  else if (onnxc_lex_take(lexer, "scratch"))
    buffer.space = ONNXC_SPACE_SCRATCH;
  else if (onnxc_lex_take(lexer, "state"))
    buffer.space = ONNXC_SPACE_STATE;
  else if (!onnxc_lex_peek(lexer, "view"))
    return onnxc_lex_fail(lexer, lexer->at, "expected input, output, constant, value, scratch, state or view");
  if (!ok || (onnxc_lex_take(lexer, "view") && !parse_view(p, &buffer)))
    return false;
  uint32_t ring;
  if (onnxc_lex_take(lexer, "ring")) {
    if (!buffer.rank || !onnxc_lex_u32(lexer, buffer.rank - 1, &ring))
      return onnxc_lex_fail(lexer, lexer->at, "no such dim");
    buffer.ring_dim = (int)ring;
  }
  if (onnxc_lex_take(lexer, "if") &&
      (!onnxc_lex_expect(lexer, "(") || !onnxc_lex_dim(lexer, dims_of(p), &buffer.condition) ||
       !onnxc_lex_expect(lexer, ")")))
    return false;
  onnxc_names_add(&p->buffers, buffer.name, onnxc_tile_add_buffer(p->program, &buffer));
  return true;
}

/* Views find their bases; one that has no value of its own has the base's. */
static bool resolve_views(tile_parser *p) {
  onnxc_buffer *buffers = p->program->buffers.data;
  for (uint32_t i = 0; i < p->views.length; i++) {
    const late_name *view = &p->views.data[i];
    uint32_t base = onnxc_names_find(&p->buffers, view->name);
    if (!base || base == view->number)
      return onnxc_lex_fail(&p->lexer, view->at, "unknown buffer %%%s", view->name);
    buffers[view->number].alias = base;
  }
  for (uint32_t i = 0; i < p->views.length; i++) {
    const late_name *view = &p->views.data[i];
    uint32_t root = view->number, steps = 0;
    while (buffers[root].alias && !(buffers[root].value.i && root != view->number) && steps++ <= p->views.length)
      root = buffers[root].alias;
    if (steps > p->views.length)
      return onnxc_lex_fail(&p->lexer, view->at, "a view of itself");
    if (buffers[view->number].value.i)
      continue;
    buffers[view->number].value = buffers[root].value;
    buffers[view->number].space = buffers[root].space;
  }
  return true;
}

/* ---- statements ---- */

static bool parse_block(tile_parser *p, onnxc_block *block);

static bool parse_operand(tile_parser *p, onnxc_operand *operand) {
  onnxc_lexer *lexer = &p->lexer;
  const char *name, *at;
  *operand = (onnxc_operand){0};
  if (onnxc_lex_take(lexer, "none"))
    return true;
  onnxc_lex_space(lexer);
  at = lexer->at;
  if (!onnxc_lex_name(lexer, '%', &name))
    return false;
  operand->buffer = onnxc_names_find(&p->buffers, name);
  if (!operand->buffer)
    return onnxc_lex_fail(lexer, at, "unknown buffer %%%s", name);
  if (!onnxc_lex_take(lexer, "at"))
    return true;
  uint32_t rank = p->program->buffers.data[operand->buffer].rank;
  operand->origin = ONNXC_NEW_ARRAY(lexer->arena, onnxc_dim, rank + 1);
  if (!onnxc_lex_expect(lexer, "["))
    return false;
  for (uint32_t d = 0; d < rank; d++)
    if ((d && !onnxc_lex_expect(lexer, ",")) || !onnxc_lex_dim(lexer, dims_of(p), &operand->origin[d]))
      return false;
  return onnxc_lex_expect(lexer, "]");
}

static bool parse_operands(tile_parser *p, uint32_t *count, onnxc_operand **operands) {
  ONNXC_VEC(onnxc_operand) list = {0};
  if (!onnxc_lex_expect(&p->lexer, "("))
    return false;
  while (!onnxc_lex_take(&p->lexer, ")")) {
    onnxc_operand operand;
    if ((list.length && !onnxc_lex_expect(&p->lexer, ",")) || !parse_operand(p, &operand))
      return false;
    ONNXC_PUSH(p->lexer.arena, list, operand);
  }
  *count = list.length;
  *operands = list.data;
  return true;
}

static bool parse_span(tile_parser *p, onnxc_stmt *stmt, uint32_t k) {
  return onnxc_lex_dim(&p->lexer, dims_of(p), &stmt->box_lo[k]) && onnxc_lex_expect(&p->lexer, "for") &&
         onnxc_lex_dim(&p->lexer, dims_of(p), &stmt->box_size[k]);
}

static void new_box(tile_parser *p, onnxc_stmt *stmt) {
  stmt->box_lo = ONNXC_NEW_ARRAY(p->lexer.arena, onnxc_dim, ONNXC_MAX_INDICES);
  stmt->box_size = ONNXC_NEW_ARRAY(p->lexer.arena, onnxc_dim, ONNXC_MAX_INDICES);
}

/* [i0: lo for size, .. | r0: lo for size]; the counts of indices come out. */
static bool parse_box(tile_parser *p, onnxc_stmt *stmt, uint32_t *num_parallel, uint32_t *num_reduce) {
  onnxc_lexer *lexer = &p->lexer;
  bool reduce = false;
  uint32_t k = 0;
  *num_parallel = *num_reduce = 0;
  new_box(p, stmt);
  if (!onnxc_lex_expect(lexer, "["))
    return false;
  while (!onnxc_lex_take(lexer, "]")) {
    if (!reduce && onnxc_lex_take(lexer, "|"))
      reduce = true;
    else if (k && !onnxc_lex_expect(lexer, ","))
      return false;
    if (k == ONNXC_MAX_INDICES)
      return onnxc_lex_fail(lexer, lexer->at, "too many indices");
    uint32_t *count = reduce ? num_reduce : num_parallel;
    if (!onnxc_lex_expect(lexer, onnxc_arena_printf(lexer->arena, "%c%u", reduce ? 'r' : 'i', *count)) ||
        !onnxc_lex_expect(lexer, ":") || !parse_span(p, stmt, k++))
      return false;
    ++*count;
  }
  return true;
}

static bool parse_index(tile_parser *p, uint32_t num_parallel, uint32_t num_reduce, uint32_t *index) {
  for (uint32_t k = 0; k < num_parallel + num_reduce; k++) {
    bool reduce = k >= num_parallel;
    char name[8];
    snprintf(name, sizeof name, "%c%u", reduce ? 'r' : 'i', reduce ? k - num_parallel : k);
    if (onnxc_lex_take(&p->lexer, name)) {
      *index = k;
      return true;
    }
  }
  return onnxc_lex_fail(&p->lexer, p->lexer.at, "expected an index of the box");
}

/* `i1` or `-`, then a number */
static bool parse_walk(tile_parser *p, uint32_t num_parallel, uint32_t num_reduce, int8_t *index, uint16_t *count) {
  uint32_t number = 0, value;
  bool absent = onnxc_lex_take(&p->lexer, "-");
  if ((!absent && !parse_index(p, num_parallel, num_reduce, &number)) || !onnxc_lex_u32(&p->lexer, UINT16_MAX, &value))
    return false;
  *index = absent ? -1 : (int8_t)number;
  *count = (uint16_t)value;
  return true;
}

static bool parse_schedule(tile_parser *p, onnxc_schedule *s, uint32_t num_parallel, uint32_t num_reduce) {
  onnxc_lexer *lexer = &p->lexer;
  uint32_t number = 0;
  *s = (onnxc_schedule){.row = -1, .vec = -1, .rows = 1, .vecs = 1, .lanes = 1, .kr = 1};
  for (uint32_t k = 0; k < num_parallel + num_reduce; k++)
    s->order[k] = (uint8_t)k;
  if (onnxc_lex_take(lexer, "order")) {
    if (!onnxc_lex_expect(lexer, "("))
      return false;
    for (uint32_t k = 0; k < num_parallel + num_reduce; k++) {
      if (!parse_index(p, num_parallel, num_reduce, &number))
        return false;
      s->order[k] = (uint8_t)number;
    }
    if (!onnxc_lex_expect(lexer, ")"))
      return false;
  }
  if (onnxc_lex_take(lexer, "rows") &&
      (!onnxc_lex_expect(lexer, "(") || !parse_walk(p, num_parallel, num_reduce, &s->row, &s->rows) ||
       !onnxc_lex_expect(lexer, ")")))
    return false;
  if (onnxc_lex_take(lexer, "vec")) {
    if (!onnxc_lex_expect(lexer, "(") || !parse_walk(p, num_parallel, num_reduce, &s->vec, &s->vecs) ||
        !onnxc_lex_expect(lexer, "x") || !onnxc_lex_u32(lexer, UINT16_MAX, &number) || !onnxc_lex_expect(lexer, ")"))
      return false;
    s->lanes = (uint16_t)number;
  }
  if (onnxc_lex_take(lexer, "phases")) {
    uint32_t index = 0;
    if (!onnxc_lex_expect(lexer, "(") || !parse_index(p, num_parallel, num_reduce, &index) ||
        !onnxc_lex_u32(lexer, UINT8_MAX, &number) || !onnxc_lex_expect(lexer, ")"))
      return false;
    s->phase = (uint8_t)index;
    s->phases = (uint8_t)number;
  }
  if (onnxc_lex_take(lexer, "unroll")) {
    if (!onnxc_lex_expect(lexer, "(") || !onnxc_lex_u32(lexer, UINT16_MAX, &number) || !onnxc_lex_expect(lexer, ")"))
      return false;
    s->unroll = (uint16_t)number;
  }
  if (onnxc_lex_take(lexer, "kr")) {
    if (!onnxc_lex_expect(lexer, "(") || !onnxc_lex_u32(lexer, UINT8_MAX, &number) || !onnxc_lex_expect(lexer, ")"))
      return false;
    s->kr = (uint8_t)number;
  }
  if (onnxc_lex_take(lexer, "ahead")) {
    uint32_t operand, lines;
    if (!onnxc_lex_expect(lexer, "(") || !onnxc_lex_u32(lexer, UINT8_MAX, &operand) ||
        !onnxc_lex_u32(lexer, UINT32_MAX, &number) || !onnxc_lex_expect(lexer, "x") ||
        !onnxc_lex_u32(lexer, UINT16_MAX, &lines) || !onnxc_lex_expect(lexer, ")"))
      return false;
    s->ahead_operand = (uint8_t)operand;
    s->ahead_bytes = number;
    s->ahead_lines = (uint16_t)lines;
  }
  return true;
}

static bool parse_compute(tile_parser *p, onnxc_stmt *stmt, bool contract) {
  onnxc_lexer *lexer = &p->lexer;
  const char *at = lexer->at;
  uint32_t num_parallel, num_reduce;
  if (!parse_operands(p, &stmt->num_operands, &stmt->operands) || !onnxc_lex_expect(lexer, "->") ||
      !parse_operands(p, &stmt->num_results, &stmt->results) || !parse_box(p, stmt, &num_parallel, &num_reduce))
    return false;
  stmt->resume = onnxc_lex_take(lexer, "resume");
  stmt->partial = onnxc_lex_take(lexer, "partial");
  if (!parse_schedule(p, &stmt->schedule, num_parallel, num_reduce))
    return false;
  onnxc_operand_type *types = ONNXC_NEW_ARRAY(lexer->arena, onnxc_operand_type, stmt->num_operands);
  for (uint32_t k = 0; k < stmt->num_operands; k++) {
    const onnxc_buffer *buffer = &p->program->buffers.data[stmt->operands[k].buffer];
    types[k] = (onnxc_operand_type){buffer->dtype, buffer->rank};
  }
  onnxc_compute *compute = ONNXC_NEW(lexer->arena, onnxc_compute);
  stmt->compute = compute;
  if (!onnxc_compute_parse(lexer, &p->graph->exprs, stmt->num_operands, types, stmt->num_results, compute))
    return false;
  if (compute->num_parallel != num_parallel || compute->num_reduce != num_reduce)
    return onnxc_lex_fail(lexer, at, "the box and the definition differ in their indices");
  return compute->contraction.valid == contract ||
         onnxc_lex_fail(lexer, at, "contract and only contract has a contraction(..)");
}

static bool parse_copy(tile_parser *p, onnxc_stmt *stmt) {
  onnxc_lexer *lexer = &p->lexer;
  const char *at = lexer->at;
  stmt->num_operands = stmt->num_results = 1;
  stmt->operands = ONNXC_NEW(lexer->arena, onnxc_operand);
  stmt->results = ONNXC_NEW(lexer->arena, onnxc_operand);
  if (!parse_operand(p, &stmt->operands[0]) || !onnxc_lex_expect(lexer, "->") || !parse_operand(p, &stmt->results[0]))
    return false;
  if (!stmt->operands[0].buffer || !stmt->results[0].buffer)
    return onnxc_lex_fail(lexer, at, "a copy needs two buffers");
  new_box(p, stmt);
  if (!onnxc_lex_expect(lexer, "["))
    return false;
  for (uint32_t d = 0; d < p->program->buffers.data[stmt->results[0].buffer].rank; d++)
    if ((d && !onnxc_lex_expect(lexer, ",")) || !parse_span(p, stmt, d))
      return false;
  return onnxc_lex_expect(lexer, "]");
}

static bool parse_loop(tile_parser *p, onnxc_stmt *stmt, bool parallel) {
  onnxc_lexer *lexer = &p->lexer;
  onnxc_dims *dims = dims_of(p);
  const char *name, *at = lexer->at;
  stmt->parallel = parallel;
  stmt->step = onnxc_dim_const(dims, 1);
  if (!onnxc_lex_name(lexer, '%', &name) || !onnxc_lex_expect(lexer, "="))
    return false;
  if (onnxc_sym_find(dims, name, strlen(name)).i)
    return onnxc_lex_fail(lexer, at, "the symbol %%%s is already there", name);
  if (!onnxc_lex_dim(lexer, dims, &stmt->lo) || !onnxc_lex_expect(lexer, "to") ||
      !onnxc_lex_dim(lexer, dims, &stmt->hi) ||
      (onnxc_lex_take(lexer, "step") && !onnxc_lex_dim(lexer, dims, &stmt->step)))
    return false;
  stmt->iv = onnxc_sym_new(dims, name, ONNXC_SYM_LOOP, 0, 0);
  onnxc_symbol *symbol = onnxc_dims_symbol(dims, stmt->iv);
  onnxc_loop_range(dims, stmt->lo, stmt->hi, stmt->step, symbol);
  return onnxc_lex_symbol_range(lexer, symbol) && onnxc_lex_expect(lexer, "{") && parse_block(p, &stmt->body);
}

static bool parse_if(tile_parser *p, onnxc_stmt *stmt) {
  onnxc_lexer *lexer = &p->lexer;
  if (!onnxc_lex_expect(lexer, "(") || !onnxc_lex_dim(lexer, dims_of(p), &stmt->condition) ||
      !onnxc_lex_expect(lexer, ")") || !onnxc_lex_expect(lexer, "{") || !parse_block(p, &stmt->body))
    return false;
  return !onnxc_lex_take(lexer, "else") || (onnxc_lex_expect(lexer, "{") && parse_block(p, &stmt->otherwise));
}

static bool parse_stmt(tile_parser *p, onnxc_block *block) {
  onnxc_lexer *lexer = &p->lexer;
  bool parallel = onnxc_lex_take(lexer, "parallel");
  if (parallel || onnxc_lex_take(lexer, "for"))
    return parse_loop(p, onnxc_tile_stmt(p->program, block, ONNXC_STMT_FOR), parallel);
  if (onnxc_lex_take(lexer, "if"))
    return parse_if(p, onnxc_tile_stmt(p->program, block, ONNXC_STMT_IF));
  bool contract = onnxc_lex_take(lexer, "contract");
  if (contract || onnxc_lex_take(lexer, "compute"))
    return parse_compute(p, onnxc_tile_stmt(p->program, block, ONNXC_STMT_COMPUTE), contract);
  if (onnxc_lex_take(lexer, "copy"))
    return parse_copy(p, onnxc_tile_stmt(p->program, block, ONNXC_STMT_COPY));
  if (onnxc_lex_take(lexer, "fill")) {
    onnxc_stmt *stmt = onnxc_tile_stmt(p->program, block, ONNXC_STMT_FILL);
    stmt->num_results = 1;
    stmt->results = ONNXC_NEW(lexer->arena, onnxc_operand);
    return parse_operand(p, &stmt->results[0]);
  }
  return onnxc_lex_fail(lexer, lexer->at, "expected a statement: parallel, for, if, contract, compute, copy or fill");
}

/* Statements up to and with the closing brace. */
static bool parse_block(tile_parser *p, onnxc_block *block) {
  if (++p->nesting > MAX_NESTING)
    return onnxc_lex_fail(&p->lexer, p->lexer.at, "nested too deep");
  while (!onnxc_lex_take(&p->lexer, "}"))
    if (!parse_stmt(p, block))
      return false;
  p->nesting--;
  return true;
}

/* ---- program ---- */

static bool parse_stage(tile_parser *p) {
  onnxc_lexer *lexer = &p->lexer;
  onnxc_stage stage = {0};
  if (!onnxc_lex_name(lexer, '@', &stage.name) ||
      (onnxc_lex_take(lexer, "segment") && !onnxc_lex_u32(lexer, UINT32_MAX, &stage.segment)))
    return false;
  if (onnxc_lex_take(lexer, "same_as")) {
    const char *at = lexer->at;
    if (!onnxc_lex_u32(lexer, UINT32_MAX - 1, &stage.same_as))
      return false;
    if (stage.same_as++ >= p->program->stages.length)
      return onnxc_lex_fail(lexer, at, "there is no earlier stage of this number");
  }
  if (!onnxc_lex_expect(lexer, "{") || !parse_block(p, &stage.body))
    return false;
  stage.num_tasks = onnxc_grid_tasks(p->program, &stage.body);
  ONNXC_PUSH(lexer->arena, p->program->stages, stage);
  return true;
}

static bool parse_constraint(tile_parser *p) {
  onnxc_dim a, b;
  const char *message = NULL;
  if (!onnxc_lex_dim(&p->lexer, dims_of(p), &a) || !onnxc_lex_expect(&p->lexer, "==") ||
      !onnxc_lex_dim(&p->lexer, dims_of(p), &b))
    return false;
  if (onnxc_lex_peek(&p->lexer, "\"") && !onnxc_lex_string(&p->lexer, &message))
    return false;
  onnxc_graph_add_constraint(p->graph, a, b, message);
  return true;
}

static bool resolve_symbols(tile_parser *p) {
  for (uint32_t i = 0; i < p->sources.length; i++) {
    const late_name *source = &p->sources.data[i];
    uint32_t buffer = onnxc_names_find(&p->buffers, source->name);
    if (!buffer || !p->program->buffers.data[buffer].value.i)
      return onnxc_lex_fail(&p->lexer, source->at, "unknown value %%%s", source->name);
    onnxc_dims_symbol(dims_of(p), (onnxc_sym){source->number})->index = p->program->buffers.data[buffer].value.i;
  }
  for (uint32_t k = 0; k < p->graph->outputs.length; k++)
    if (!p->graph->outputs.data[k].i)
      return onnxc_lex_fail(&p->lexer, p->lexer.at, "output %u is missing", k);
  return true;
}

static bool parse_target(tile_parser *p) {
  const char *name, *at;
  onnxc_lex_space(&p->lexer);
  at = p->lexer.at;
  if (!onnxc_lex_string(&p->lexer, &name))
    return false;
  const onnxc_target *target = onnxc_target_find(name, strlen(name));
  if (!target)
    return onnxc_lex_fail(&p->lexer, at, "unknown target '%s'", name);
  p->program->target = target;
  return true;
}

static bool parse_program(tile_parser *p) {
  onnxc_lexer *lexer = &p->lexer;
  while (onnxc_lex_take(lexer, "symbol"))
    if (!parse_symbol(p))
      return false;
  if (!onnxc_lex_expect(lexer, "program") || !onnxc_lex_name(lexer, '@', &p->graph->name) ||
      (onnxc_lex_take(lexer, "target") && !parse_target(p)) || !onnxc_lex_expect(lexer, "{"))
    return false;
  while (onnxc_lex_take(lexer, "buffer"))
    if (!parse_buffer(p))
      return false;
  if (!resolve_views(p) || !resolve_symbols(p))
    return false;
  while (onnxc_lex_take(lexer, "require"))
    if (!parse_constraint(p))
      return false;
  while (onnxc_lex_take(lexer, "stage"))
    if (!parse_stage(p))
      return false;
  if (!onnxc_lex_expect(lexer, "}"))
    return false;
  onnxc_lex_space(lexer);
  return !*lexer->at || onnxc_lex_fail(lexer, lexer->at, "text behind the program");
}

onnxc_status onnxc_tile_parse(onnxc_tile_program *program, const char *file, const char *source, size_t length) {
  onnxc_graph *graph = program->graph;
  tile_parser p = {.program = program, .graph = graph, .buffers = {.arena = graph->arena}};
  bool ok = onnxc_lex_init(&p.lexer, graph->arena, graph->diag, file, source, length) && parse_program(&p);
  return ok ? ONNXC_OK : ONNXC_BAD_INPUT;
}
