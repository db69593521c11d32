/* views.h -- buffers that lie in other buffers: parts of a concat, reshapes, flat views. */
#ifndef ONNXC_TILE_VIEWS_H
#define ONNXC_TILE_VIEWS_H

#include "tile/tile.h"

/* Decides which concat inputs are written in place and which reshapes are views, and sets their buffers' alias.
 * buffer_of: by value, 0 = not live. Graph outputs always keep memory of their own. */
void onnxc_tile_place_views(onnxc_tile_program *program, const uint32_t *buffer_of);
/* The part start .. start+extent-1 of dim `axis` of a buffer, as a buffer (added). */
uint32_t onnxc_tile_part_view(onnxc_tile_program *program, uint32_t whole, uint32_t axis, onnxc_dim start,
                              onnxc_dim extent);
/* All elements in storage order as one dim; the buffer must be dense (no halo, no block tails, no strides). */
uint32_t onnxc_tile_flat_view(onnxc_tile_program *program, uint32_t buffer);
bool onnxc_tile_same_place(const onnxc_tile_program *program, uint32_t a, uint32_t b);
/* Gives each stage its segment: one more behind each stage that computes an element some later stage's dims need. */
void onnxc_tile_number_segments(onnxc_tile_program *program);
/* The segment of the last stage that writes to a buffer which lies in no other; 0 if none does. */
uint32_t onnxc_tile_written_in(const onnxc_tile_program *program, uint32_t root);

#endif
