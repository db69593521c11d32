/* text.c -- the tile program as text; the syntax stands in tile.h. */
#include "ir/graph_text.h"
#include "tile/grid.h"
#include "tile/predict.h"
#include "tile/tile_text.h"

enum { MAX_CONSTANT = 256 };

typedef struct printer {
  const onnxc_tile_program *program;
  onnxc_text *text;
  const char **buffers; /* printed names */
} printer;

/* ---- buffers ---- */

static const char **buffer_texts(const onnxc_tile_program *program, onnxc_arena *arena) {
  onnxc_names names = {.arena = arena};
  const char **texts = ONNXC_NEW_ARRAY(arena, const char *, program->buffers.length);
  for (uint32_t b = 1; b < program->buffers.length; b++) {
    const char *own = program->buffers.data[b].name, *name = own;
    if (!own || !*own)
      name = own = "_";
    for (uint32_t k = 1; onnxc_names_find(&names, name); k++)
      name = onnxc_arena_printf(arena, "%s.%u", own, k);
    onnxc_names_add(&names, name, b);
    texts[b] = onnxc_name_text(arena, '%', name);
  }
  return texts;
}

static uint32_t place_in(const onnxc_value *list, uint32_t length, onnxc_value value) {
  uint32_t k = 0;
  while (k < length && list[k].i != value.i)
    k++;
  return k;
}

static void print_value(const printer *p, const onnxc_buffer *buffer) {
  const onnxc_graph *graph = p->program->graph;
  const onnxc_value_info *info = onnxc_value_of(graph, buffer->value);
  uint32_t input = place_in(graph->inputs.data, graph->inputs.length, buffer->value);
  uint32_t output = place_in(graph->outputs.data, graph->outputs.length, buffer->value);
  if (input < graph->inputs.length) {
    onnxc_text_printf(p->text, " input %u", input);
  } else if (onnxc_value_is_constant(graph, buffer->value)) {
    onnxc_text_printf(p->text, " constant ");
    onnxc_data_print(info, MAX_CONSTANT, p->text);
  } else if (output < graph->outputs.length) {
    onnxc_text_printf(p->text, " output %u", output);
    if (graph->output_names.data[output])
      onnxc_text_printf(p->text, " as %s", onnxc_quoted_text(p->text->arena, graph->output_names.data[output]));
  } else {
    onnxc_text_printf(p->text, " value");
  }
}

static void print_buffer(const printer *p, uint32_t number) {
  const onnxc_buffer *buffer = &p->program->buffers.data[number];
  const onnxc_buffer *base = buffer->alias ? &p->program->buffers.data[buffer->alias] : NULL;
  const onnxc_dims *dims = &p->program->graph->dims;
  onnxc_text *text = p->text;
  onnxc_text_printf(text, "  buffer %s: ", p->buffers[number]);
  onnxc_text_type(text, dims, buffer->dtype, buffer->rank, buffer->dims, &buffer->layout);
  onnxc_text_printf(text, " =");
  if (buffer->space == ONNXC_SPACE_VALUE && !(base && base->value.i == buffer->value.i))
    print_value(p, buffer);
  else if (buffer->space != ONNXC_SPACE_VALUE && !base)
    onnxc_text_printf(text, buffer->space == ONNXC_SPACE_STATE ? " state" : " scratch");
  if (base) {
    onnxc_text_printf(text, " view of %s at %s", p->buffers[buffer->alias], onnxc_dim_text(dims, buffer->alias_offset));
    for (uint32_t d = 0; buffer->alias_dims && d < buffer->rank; d++)
      onnxc_text_printf(text, "%s%s", d ? ", " : " over [", onnxc_dim_text(dims, buffer->alias_dims[d]));
    if (buffer->alias_dims)
      onnxc_text_printf(text, buffer->rank ? "]" : " over []");
  }
  if (buffer->ring_dim >= 0)
    onnxc_text_printf(text, " ring %d", buffer->ring_dim);
  if (buffer->condition.i)
    onnxc_text_printf(text, " if (%s)", onnxc_dim_text(dims, buffer->condition));
  onnxc_text_printf(text, "\n");
}

/* ---- symbols ---- */

static void print_symbols(const printer *p) {
  const onnxc_graph *graph = p->program->graph;
  const onnxc_dims *dims = &graph->dims;
  bool *inferred = ONNXC_NEW_ARRAY(p->text->arena, bool, dims->symbols.length);
  for (uint32_t b = 1; b < p->program->buffers.length; b++) {
    const onnxc_buffer *buffer = &p->program->buffers.data[b];
    uint32_t input = place_in(graph->inputs.data, graph->inputs.length, buffer->value);
    if (buffer->space != ONNXC_SPACE_VALUE || buffer->alias || input == graph->inputs.length)
      continue;
    for (uint32_t d = 0; d < buffer->rank; d++) {
      const onnxc_dim_node *node = onnxc_dims_node(dims, buffer->dims[d]);
      const onnxc_symbol *symbol = &dims->symbols.data[node->sym.i];
      if (node->kind == ONNXC_DIM_SYM && symbol->source == ONNXC_SYM_INPUT_DIM && symbol->index == input &&
          symbol->axis == d)
        inferred[node->sym.i] = true;
    }
  }
  for (uint32_t s = 1; s < dims->symbols.length; s++) {
    const onnxc_symbol *symbol = &dims->symbols.data[s];
    const char *source = NULL;
    if (symbol->source == ONNXC_SYM_LOOP)
      continue;
    if (symbol->source == ONNXC_SYM_INPUT_DIM && !inferred[s])
      source = onnxc_arena_printf(p->text->arena, "input(%u, %u)", symbol->index, symbol->axis);
    for (uint32_t b = 1; symbol->source == ONNXC_SYM_ELEMENT && !source && b < p->program->buffers.length; b++)
      if (p->program->buffers.data[b].space == ONNXC_SPACE_VALUE &&
          p->program->buffers.data[b].value.i == symbol->index)
        source = onnxc_arena_printf(p->text->arena, "element(%s, %u)", p->buffers[b], symbol->axis);
    onnxc_text_symbol(p->text, dims, s, source);
  }
}

/* ---- statements ---- */

static void print_block(const printer *p, const onnxc_block *block, unsigned indent);

static const char *dim_text(const printer *p, onnxc_dim dim) { return onnxc_dim_text(&p->program->graph->dims, dim); }

static void print_operand(const printer *p, const onnxc_operand *operand) {
  if (!operand->buffer) {
    onnxc_text_printf(p->text, "none");
    return;
  }
  onnxc_text_printf(p->text, "%s", p->buffers[operand->buffer]);
  uint32_t rank = p->program->buffers.data[operand->buffer].rank;
  for (uint32_t d = 0; operand->origin && d < rank; d++)
    onnxc_text_printf(p->text, "%s%s", d ? ", " : " at [", dim_text(p, operand->origin[d]));
  if (operand->origin)
    onnxc_text_printf(p->text, rank ? "]" : " at []");
}

static void print_operands(const printer *p, uint32_t count, const onnxc_operand *operands) {
  for (uint32_t k = 0; k < count; k++) {
    onnxc_text_printf(p->text, k ? ", " : "(");
    print_operand(p, &operands[k]);
  }
  onnxc_text_printf(p->text, count ? ")" : "()");
}

static void print_index(const printer *p, const onnxc_compute *compute, uint32_t index) {
  if (index < compute->num_parallel)
    onnxc_text_printf(p->text, "i%u", index);
  else
    onnxc_text_printf(p->text, "r%u", index - compute->num_parallel);
}

static void print_schedule(const printer *p, const onnxc_stmt *stmt) {
  const onnxc_schedule *s = &stmt->schedule;
  const onnxc_compute *compute = stmt->compute;
  uint32_t indices = compute->num_parallel + compute->num_reduce;
  bool straight = true;
  for (uint32_t k = 0; k < indices; k++)
    straight &= s->order[k] == k;
  for (uint32_t k = 0; !straight && k < indices; k++) {
    onnxc_text_printf(p->text, k ? " " : " order(");
    print_index(p, compute, s->order[k]);
  }
  if (!straight)
    onnxc_text_printf(p->text, ")");
  if (s->row >= 0 || s->rows != 1) {
    onnxc_text_printf(p->text, " rows(");
    if (s->row >= 0)
      print_index(p, compute, (uint32_t)s->row);
    onnxc_text_printf(p->text, s->row >= 0 ? " %u)" : "- %u)", s->rows);
  }
  if (s->vec >= 0 || s->vecs != 1 || s->lanes != 1) {
    onnxc_text_printf(p->text, " vec(");
    if (s->vec >= 0)
      print_index(p, compute, (uint32_t)s->vec);
    onnxc_text_printf(p->text, s->vec >= 0 ? " %u x %u)" : "- %u x %u)", s->vecs, s->lanes);
  }
  if (s->phases) {
    onnxc_text_printf(p->text, " phases(");
    print_index(p, compute, s->phase);
    onnxc_text_printf(p->text, " %u)", s->phases);
  }
  if (s->unroll)
    onnxc_text_printf(p->text, " unroll(%u)", s->unroll);
  if (s->kr > 1)
    onnxc_text_printf(p->text, " kr(%u)", s->kr);
  if (s->ahead_lines)
    onnxc_text_printf(p->text, " ahead(%u %u x %u)", s->ahead_operand, s->ahead_bytes, s->ahead_lines);
}

static void print_compute(const printer *p, const onnxc_stmt *stmt, unsigned indent) {
  const onnxc_compute *compute = stmt->compute;
  onnxc_text_printf(p->text, compute->contraction.valid ? "contract" : "compute");
  print_operands(p, stmt->num_operands, stmt->operands);
  onnxc_text_printf(p->text, " -> ");
  print_operands(p, stmt->num_results, stmt->results);
  onnxc_text_printf(p->text, "\n%*s[", (int)indent + 2, "");
  for (uint32_t k = 0; k < compute->num_parallel + compute->num_reduce; k++) {
    onnxc_text_printf(p->text, k == compute->num_parallel ? (k ? " | " : "| ") : k ? ", " : "");
    print_index(p, compute, k);
    onnxc_text_printf(p->text, ": %s", dim_text(p, stmt->box_lo[k]));
    onnxc_text_printf(p->text, " for %s", dim_text(p, stmt->box_size[k]));
  }
  onnxc_text_printf(p->text, "]%s%s", stmt->resume ? " resume" : "", stmt->partial ? " partial" : "");
  print_schedule(p, stmt);
  onnxc_text_printf(p->text, "\n%*s", (int)indent + 2, "");
  onnxc_compute_print(&p->program->graph->exprs, compute, indent + 2, p->text);
  onnxc_text_printf(p->text, "\n");
}

static void print_loop(const printer *p, const onnxc_stmt *stmt, unsigned indent) {
  const onnxc_dims *dims = &p->program->graph->dims;
  const onnxc_symbol *symbol = &dims->symbols.data[stmt->iv.i];
  onnxc_text_printf(p->text, "%s %s = %s", stmt->parallel ? "parallel" : "for",
                    onnxc_name_text(p->text->arena, '%', symbol->name), dim_text(p, stmt->lo));
  onnxc_text_printf(p->text, " to %s", dim_text(p, stmt->hi));
  if (!onnxc_dim_is(dims, stmt->step, 1))
    onnxc_text_printf(p->text, " step %s", dim_text(p, stmt->step));
  onnxc_symbol usual = {0};
  onnxc_loop_range(dims, stmt->lo, stmt->hi, stmt->step, &usual);
  if (symbol->low != usual.low || symbol->high != usual.high)
    onnxc_text_printf(p->text, " in %lld..%lld", (long long)symbol->low, (long long)symbol->high);
  if (symbol->divisor != usual.divisor)
    onnxc_text_printf(p->text, " by %lld", (long long)symbol->divisor);
  if (symbol->hint != usual.hint)
    onnxc_text_printf(p->text, " hint %lld", (long long)symbol->hint);
  onnxc_text_printf(p->text, " {\n");
  print_block(p, &stmt->body, indent + 2);
  onnxc_text_printf(p->text, "%*s}\n", (int)indent, "");
}

static void print_stmt(const printer *p, const onnxc_stmt *stmt, unsigned indent) {
  onnxc_text *text = p->text;
  onnxc_text_printf(text, "%*s", (int)indent, "");
  switch (stmt->kind) {
  case ONNXC_STMT_FOR: print_loop(p, stmt, indent); return;
  case ONNXC_STMT_IF:
    onnxc_text_printf(text, "if (%s) {\n", dim_text(p, stmt->condition));
    print_block(p, &stmt->body, indent + 2);
    if (stmt->otherwise.length) {
      onnxc_text_printf(text, "%*s} else {\n", (int)indent, "");
      print_block(p, &stmt->otherwise, indent + 2);
    }
    onnxc_text_printf(text, "%*s}\n", (int)indent, "");
    return;
  case ONNXC_STMT_COMPUTE: print_compute(p, stmt, indent); return;
  case ONNXC_STMT_COPY: {
    uint32_t rank = p->program->buffers.data[stmt->results[0].buffer].rank;
    onnxc_text_printf(text, "copy ");
    print_operand(p, &stmt->operands[0]);
    onnxc_text_printf(text, " -> ");
    print_operand(p, &stmt->results[0]);
    onnxc_text_printf(text, " [");
    for (uint32_t d = 0; d < rank; d++) {
      onnxc_text_printf(text, "%s%s", d ? ", " : "", dim_text(p, stmt->box_lo[d]));
      onnxc_text_printf(text, " for %s", dim_text(p, stmt->box_size[d]));
    }
    onnxc_text_printf(text, "]\n");
    return;
  }
  case ONNXC_STMT_FILL:
    onnxc_text_printf(text, "fill ");
    print_operand(p, &stmt->results[0]);
    onnxc_text_printf(text, "\n");
    return;
  }
}

static void print_block(const printer *p, const onnxc_block *block, unsigned indent) {
  for (uint32_t i = 0; i < block->length; i++)
    print_stmt(p, block->data[i], indent);
}

void onnxc_tile_print(const onnxc_tile_program *program, onnxc_text *text) {
  const onnxc_graph *graph = program->graph;
  printer p = {program, text, buffer_texts(program, text->arena)};
  print_symbols(&p);
  onnxc_text_printf(text, "program %s", onnxc_name_text(text->arena, '@', graph->name ? graph->name : "main"));
  if (program->target)
    onnxc_text_printf(text, " target %s", onnxc_quoted_text(text->arena, program->target->name));
  onnxc_text_printf(text, " {\n");
  for (uint32_t b = 1; b < program->buffers.length; b++)
    print_buffer(&p, b);
  for (uint32_t i = 0; i < graph->constraints.length; i++) {
    const onnxc_constraint *c = &graph->constraints.data[i];
    onnxc_text_printf(text, "  require %s", dim_text(&p, c->a));
    onnxc_text_printf(text, " == %s", dim_text(&p, c->b));
    if (c->message)
      onnxc_text_printf(text, " %s", onnxc_quoted_text(text->arena, c->message));
    onnxc_text_printf(text, "\n");
  }
  for (uint32_t s = 0; s < program->stages.length; s++) {
    const onnxc_stage *stage = &program->stages.data[s];
    onnxc_text_printf(text, "  stage %s", onnxc_name_text(text->arena, '@', stage->name ? stage->name : "stage"));
    if (stage->segment)
      onnxc_text_printf(text, " segment %u", stage->segment);
    if (stage->same_as)
      onnxc_text_printf(text, " same_as %u", stage->same_as - 1);
    onnxc_text_printf(text, " {\n");
    onnxc_prediction prediction;
    if (onnxc_predict(program, stage, &prediction))
      onnxc_text_printf(text, "    # %s\n", onnxc_prediction_text(text->arena, &prediction));
    print_block(&p, &stage->body, 4);
    onnxc_text_printf(text, "  }\n");
  }
  onnxc_text_printf(text, "}\n");
}
