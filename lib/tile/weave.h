/* weave.h -- what is stored in the order that dot products read, word by word. */
#ifndef ONNXC_TILE_WEAVE_H
#define ONNXC_TILE_WEAVE_H

#include "tile/collapse.h"

/* Rewrites an elementwise `work` whose result's layout ends in n:panel k:kr, kr narrow elements in four bytes, so that
 * it stores words; others stay as they are. New views are added to the program. */
void onnxc_tile_weave(onnxc_tile_program *program, onnxc_work *work);

#endif
