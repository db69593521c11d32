/* collapse.h -- a compute and its buffers with as few, as long loops as its memory allows. */
#ifndef ONNXC_TILE_COLLAPSE_H
#define ONNXC_TILE_COLLAPSE_H

#include "tile/tile.h"

/* A compute over buffers: what a statement will hold. Buffer numbers are the program's. */
typedef struct onnxc_work {
  onnxc_compute compute;
  uint32_t num_operands, num_results;
  uint32_t *operands; /* 0 = absent */
  uint32_t *results;
} onnxc_work;

/* A view of a whole buffer in which dim `drop` (of one element, or merged into dim `into`) is gone. */
uint32_t onnxc_tile_view(onnxc_tile_program *program, uint32_t buffer, uint32_t drop, int into);
/* Extents that give a buffer's strides. */
static inline const onnxc_dim *onnxc_buffer_stride_dims(const onnxc_buffer *buffer) {
  return buffer->alias_dims ? buffer->alias_dims : buffer->dims;
}

/* Rewrites `work`; new views are added to the program. */
void onnxc_tile_collapse(onnxc_tile_program *program, onnxc_work *work);

#endif
