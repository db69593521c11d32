/* product.h -- how a matrix product with a packed factor is cut: the cost model's part that knows the caches. */
#ifndef ONNXC_TILE_PRODUCT_H
#define ONNXC_TILE_PRODUCT_H

#include "tile/tile.h"

/* Blocks in elements; 0 = the whole extent. */
typedef struct onnxc_blocks {
  int64_t rows, columns; /* of a task */
  int64_t depth;         /* of the reduction: accumulators go to memory in between */
  uint32_t ahead_bytes;  /* prefetch of the packed factor, see onnxc_schedule */
  uint16_t ahead_lines;
} onnxc_blocks;

/* Blocks for a statement's box, its schedule filled in. False when it is no product over a single
 * index whose second factor lies in panels along vec: then there is nothing to decide here. */
bool onnxc_product_blocks(const onnxc_tile_program *program, const onnxc_stmt *stmt, onnxc_blocks *blocks);

/* Puts what program->tuning says of this product into the schedule and the blocks, and both on record in
 * program->products, for the stage that is added next. tile/tuned.c */
void onnxc_product_tune(onnxc_tile_program *program, onnxc_stmt *stmt, onnxc_blocks *blocks);

/* Appends, in place of `stmt` (of static size most[k] or less along each parallel index k): accumulators set to init,
 * in the result's own memory or in scratch, a loop over parts of `depth` elements of the reduction that adds their
 * products, then finish. */
void onnxc_product_place_parts(onnxc_tile_program *program, onnxc_block *block, const onnxc_stmt *stmt, int64_t depth,
                               const int64_t *most);

#endif
