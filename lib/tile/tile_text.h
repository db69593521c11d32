/* tile_text.h -- what printer, parser and verifier of tile programs share. */
#ifndef ONNXC_TILE_TILE_TEXT_H
#define ONNXC_TILE_TILE_TEXT_H

#include "tile/tile.h"

/* The range, divisor and hint of a loop's variable that follow from its bounds; the text says them only where they
 * differ. */
void onnxc_loop_range(const onnxc_dims *dims, onnxc_dim lo, onnxc_dim hi, onnxc_dim step, onnxc_symbol *symbol);

#endif
