/* lists.c -- the buffers and symbols that a stage uses, each once, in order of first use. See stage.h. */
#include "codegen/stage.h"

typedef struct walker {
  onnxc_lists *lists;
  const onnxc_tile_program *program;
  onnxc_arena *arena;
} walker;

static void add_symbol(walker *w, onnxc_sym sym) {
  for (uint32_t i = 0; i < w->lists->loops.length; i++)
    if (w->lists->loops.data[i].i == sym.i)
      return;
  for (uint32_t i = 0; i < w->lists->symbols.length; i++)
    if (w->lists->symbols.data[i].i == sym.i)
      return;
  ONNXC_PUSH(w->arena, w->lists->symbols, sym);
}

static void walk_dim(walker *w, onnxc_dim dim) {
  if (!dim.i)
    return;
  const onnxc_dim_node *node = onnxc_dims_node(&w->program->graph->dims, dim);
  if (node->kind == ONNXC_DIM_SYM)
    add_symbol(w, node->sym);
  for (uint32_t i = 0; i < node->num_terms; i++)
    walk_dim(w, node->terms[i].atom);
  walk_dim(w, node->a);
  walk_dim(w, node->b);
}

static void walk_operand(walker *w, const onnxc_operand *operand) {
  uint32_t number = operand->buffer;
  if (!number || number >= w->program->buffers.length)
    return;
  const onnxc_buffer *buffer = &w->program->buffers.data[number];
  for (uint32_t d = 0; operand->origin && d < buffer->rank; d++)
    walk_dim(w, operand->origin[d]);
  bool local = buffer->space != ONNXC_SPACE_VALUE;
  uint32_t length = local ? w->lists->local.length : w->lists->buffers.length;
  const uint32_t *data = local ? w->lists->local.data : w->lists->buffers.data;
  for (uint32_t i = 0; i < length; i++)
    if (data[i] == number)
      return;
  if (local)
    ONNXC_PUSH(w->arena, w->lists->local, number);
  else
    ONNXC_PUSH(w->arena, w->lists->buffers, number);
  for (uint32_t d = 0; d < buffer->rank; d++) {
    walk_dim(w, buffer->dims[d]);
    walk_dim(w, buffer->alias_dims ? buffer->alias_dims[d] : (onnxc_dim){0});
  }
}

static void visit(void *arg, const onnxc_exprs *pool, onnxc_expr e) {
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  if (node->op == ONNXC_EXPR_DIM)
    walk_dim(arg, (onnxc_dim){(uint32_t)node->imm});
}

static void walk_expr(walker *w, onnxc_expr e) {
  if (e.i)
    onnxc_expr_walk(&w->program->graph->exprs, e, visit, w);
}

static void walk_block(walker *w, const onnxc_block *block) {
  for (uint32_t i = 0; i < block->length; i++) {
    const onnxc_stmt *stmt = block->data[i];
    uint32_t box = 0;
    switch (stmt->kind) {
    case ONNXC_STMT_FOR:
      walk_dim(w, stmt->lo);
      walk_dim(w, stmt->hi);
      walk_dim(w, stmt->step);
      ONNXC_PUSH(w->arena, w->lists->loops, stmt->iv);
      walk_block(w, &stmt->body);
      break;
    case ONNXC_STMT_IF:
      walk_dim(w, stmt->condition);
      walk_block(w, &stmt->body);
      walk_block(w, &stmt->otherwise);
      break;
    case ONNXC_STMT_COMPUTE:
      box = stmt->compute->num_parallel + stmt->compute->num_reduce;
      for (uint32_t j = 0; j < stmt->compute->num_results; j++) {
        if (stmt->compute->num_reduce > 0) {
          walk_expr(w, stmt->compute->init[j]);
          walk_expr(w, stmt->compute->element[j]);
          walk_expr(w, stmt->compute->combine[j]);
        }
        walk_expr(w, stmt->compute->finish[j]);
      }
      break;
    case ONNXC_STMT_COPY:
      if (stmt->num_results > 0)
        box = w->program->buffers.data[stmt->results[0].buffer].rank;
      break;
    case ONNXC_STMT_FILL: break;
    }
    for (uint32_t k = 0; k < stmt->num_operands; k++)
      walk_operand(w, &stmt->operands[k]);
    for (uint32_t k = 0; k < stmt->num_results; k++)
      walk_operand(w, &stmt->results[k]);
    for (uint32_t k = 0; k < box && stmt->box_lo; k++) {
      walk_dim(w, stmt->box_lo[k]);
      walk_dim(w, stmt->box_size[k]);
    }
  }
}

void onnxc_stage_lists(onnxc_lists *lists, const onnxc_tile_program *program, const onnxc_stage *stage,
                       onnxc_arena *arena) {
  *lists = (onnxc_lists){0};
  walker w = {lists, program, arena};
  walk_block(&w, &stage->body);
}
