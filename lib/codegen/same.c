/* same.c -- which stages are one and the same code: networks repeat their blocks.
 *
 * A stage's key spells out all that its code depends on: statements, schedules, boxes, expressions, and of each
 * buffer its type, dims and layout, but neither its name nor which tensor it is. Buffers and loop variables are
 * numbered by first use. Equal keys mean equal code, and equal lists but for the buffers in them. Expressions stand by
 * their handles, since the pool has each once.
 */
#include "codegen/stage.h"

#include <string.h>

typedef struct key_writer {
  onnxc_arena *arena;
  const onnxc_tile_program *program;
  const onnxc_lists *lists;
  onnxc_stage_key key;
  ONNXC_VEC(uint32_t) seen; /* buffers already described, VALUE or not */
} key_writer;

static void put(key_writer *w, int64_t word) { ONNXC_PUSH(w->arena, w->key, word); }

static void put_dim(key_writer *w, onnxc_dim dim) {
  if (!dim.i) {
    put(w, -1);
    return;
  }
  const onnxc_dim_node *node = onnxc_dims_node(&w->program->graph->dims, dim);
  put(w, (int64_t)node->kind);
  put(w, node->constant);
  put(w, node->num_terms);
  if (node->kind == ONNXC_DIM_SYM) {
    /* A loop's variable by its number in the stage, a symbol of the graph by itself. */
    int64_t which = node->sym.i;
    for (uint32_t k = 0; k < w->lists->loops.length; k++)
      if (w->lists->loops.data[k].i == node->sym.i) {
        const onnxc_symbol *symbol = &w->program->graph->dims.symbols.data[node->sym.i];
        which = -1 - (int64_t)k;
        put(w, symbol->low); /* ranges decide how addresses simplify */
        put(w, symbol->high);
        put(w, symbol->divisor);
      }
    put(w, which);
  }
  for (uint32_t k = 0; k < node->num_terms; k++) {
    put(w, node->terms[k].coefficient);
    put_dim(w, node->terms[k].atom);
  }
  if (node->a.i)
    put_dim(w, node->a);
  if (node->b.i)
    put_dim(w, node->b);
}

static void put_dims(key_writer *w, const onnxc_dim *dims, uint32_t count) {
  put(w, dims != NULL);
  for (uint32_t k = 0; dims && k < count; k++)
    put_dim(w, dims[k]);
}

static void put_operand(key_writer *w, const onnxc_operand *operand) {
  uint32_t number = operand->buffer;
  if (!number || number >= w->program->buffers.length) {
    put(w, -1);
    return;
  }
  const onnxc_buffer *buffer = &w->program->buffers.data[number];
  put_dims(w, operand->origin, buffer->rank);
  uint32_t k = 0;
  while (k < w->seen.length && w->seen.data[k] != number)
    k++;
  put(w, k);
  if (k < w->seen.length)
    return;
  ONNXC_PUSH(w->arena, w->seen, number);
  put(w, buffer->space);
  put(w, buffer->dtype);
  put(w, buffer->rank);
  put(w, buffer->ring_dim);
  put_dims(w, buffer->dims, buffer->rank);
  put_dims(w, buffer->alias_dims, buffer->rank);
  put(w, buffer->layout.num_axes);
  for (uint32_t a = 0; a < buffer->layout.num_axes; a++)
    put(w, buffer->layout.axis_dim[a] * INT64_C(65536) + buffer->layout.axis_size[a]);
  for (uint32_t d = 0; d < buffer->rank; d++)
    put(w, buffer->layout.low[d] * INT64_C(65536) + buffer->layout.high[d]);
}

static void put_compute(key_writer *w, const onnxc_compute *compute) {
  put(w, compute->num_parallel);
  put(w, compute->num_reduce);
  put(w, compute->num_results);
  for (uint32_t j = 0; j < compute->num_results; j++) {
    if (compute->num_reduce > 0) {
      put(w, compute->acc_dtype[j]);
      put(w, compute->init[j].i);
      put(w, compute->element[j].i);
      put(w, compute->combine[j].i);
    }
    put(w, compute->finish[j].i);
  }
}

static void put_schedule(key_writer *w, const onnxc_schedule *s, uint32_t indices) {
  for (uint32_t k = 0; k < indices; k++)
    put(w, s->order[k]);
  put(w, s->row);
  put(w, s->vec);
  put(w, s->rows);
  put(w, s->vecs);
  put(w, s->lanes);
  put(w, s->phases ? s->phase : -1);
  put(w, s->phases);
  put(w, s->unroll);
  put(w, s->kr);
  put(w, s->ahead_operand);
  put(w, s->ahead_lines);
  put(w, s->ahead_bytes);
}

static void put_block(key_writer *w, const onnxc_block *block) {
  put(w, block->length);
  for (uint32_t i = 0; i < block->length; i++) {
    const onnxc_stmt *stmt = block->data[i];
    uint32_t box = 0;
    put(w, (int64_t)stmt->kind);
    put(w, stmt->num_operands);
    put(w, stmt->num_results);
    for (uint32_t k = 0; k < stmt->num_operands; k++)
      put_operand(w, &stmt->operands[k]);
    for (uint32_t k = 0; k < stmt->num_results; k++)
      put_operand(w, &stmt->results[k]);
    switch (stmt->kind) {
    case ONNXC_STMT_FOR:
      put(w, stmt->parallel);
      put_dim(w, stmt->lo);
      put_dim(w, stmt->hi);
      put_dim(w, stmt->step);
      put_block(w, &stmt->body);
      break;
    case ONNXC_STMT_IF:
      put_dim(w, stmt->condition);
      put_block(w, &stmt->body);
      put_block(w, &stmt->otherwise);
      break;
    case ONNXC_STMT_COMPUTE:
      box = stmt->compute->num_parallel + stmt->compute->num_reduce;
      put_compute(w, stmt->compute);
      put_schedule(w, &stmt->schedule, box);
      put(w, stmt->resume);
      put(w, stmt->partial);
      break;
    case ONNXC_STMT_COPY:
      if (stmt->num_results > 0)
        box = w->program->buffers.data[stmt->results[0].buffer].rank;
      break;
    case ONNXC_STMT_FILL: break;
    }
    for (uint32_t k = 0; k < box && stmt->box_lo; k++) {
      put_dim(w, stmt->box_lo[k]);
      put_dim(w, stmt->box_size[k]);
    }
  }
}

onnxc_stage_key onnxc_stage_key_of(const onnxc_tile_program *program, const onnxc_stage *stage,
                                   const onnxc_lists *lists, onnxc_arena *arena) {
  key_writer w = {.arena = arena, .program = program, .lists = lists};
  put_block(&w, &stage->body);
  for (uint32_t k = 0; k < lists->symbols.length; k++)
    put(&w, lists->symbols.data[k].i);
  return w.key;
}

bool onnxc_stage_key_equal(const onnxc_stage_key *a, const onnxc_stage_key *b) {
  return a->length == b->length && memcmp(a->data, b->data, a->length * sizeof *a->data) == 0;
}
