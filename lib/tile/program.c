/* program.c -- building tile programs; see tile.h. */
#include "tile/tile.h"

#include <string.h>

void onnxc_tile_program_init(onnxc_tile_program *program, onnxc_graph *graph, const onnxc_target *target) {
  memset(program, 0, sizeof *program);
  program->graph = graph;
  program->target = target;
  ONNXC_PUSH(graph->arena, program->buffers, (onnxc_buffer){.ring_dim = -1}); /* number 0 is "none" */
}

uint32_t onnxc_tile_add_buffer(onnxc_tile_program *program, const onnxc_buffer *buffer) {
  onnxc_buffer copy = *buffer; /* it may lie in the array that grows */
  ONNXC_PUSH(program->graph->arena, program->buffers, copy);
  return program->buffers.length - 1;
}

uint32_t onnxc_tile_root(const onnxc_tile_program *program, uint32_t buffer) {
  while (program->buffers.data[buffer].alias)
    buffer = program->buffers.data[buffer].alias;
  return buffer;
}

onnxc_stmt *onnxc_tile_stmt(onnxc_tile_program *program, onnxc_block *block, onnxc_stmt_kind kind) {
  onnxc_stmt *stmt = ONNXC_NEW(program->graph->arena, onnxc_stmt);
  stmt->kind = kind;
  ONNXC_PUSH(program->graph->arena, *block, stmt);
  return stmt;
}

onnxc_dim onnxc_tile_condition(const onnxc_tile_program *program, const onnxc_block *block) {
  const onnxc_buffer *written = NULL;
  for (uint32_t i = 0; i < block->length; i++) {
    const onnxc_stmt *stmt = block->data[i];
    for (uint32_t j = 0; j < stmt->num_results; j++) {
      written = &program->buffers.data[stmt->results[j].buffer];
      if (written->space == ONNXC_SPACE_VALUE)
        return written->condition;
    }
    onnxc_dim inner = onnxc_tile_condition(program, &stmt->body);
    inner = inner.i ? inner : onnxc_tile_condition(program, &stmt->otherwise);
    if (inner.i)
      return inner;
  }
  return (onnxc_dim){0};
}
