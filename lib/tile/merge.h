/* merge.h -- a stage that only packs a factor for the next one becomes part of that one's tasks. */
#ifndef ONNXC_TILE_MERGE_H
#define ONNXC_TILE_MERGE_H

#include "tile/tile.h"

/* Over the whole program, before segments are numbered. */
void onnxc_tile_merge_packing(onnxc_tile_program *program);

#endif
