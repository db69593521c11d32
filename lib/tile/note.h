/* note.h -- why a stage may stay below its roof, in words: for those who read a profile. */
#ifndef ONNXC_TILE_NOTE_H
#define ONNXC_TILE_NOTE_H

#include "tile/tile.h"

/* Of a product what was chosen and predicted (predict.h); else what keeps its largest statement from using all of the
 * vector units. "" if there is nothing to say. */
const char *onnxc_tile_note(const onnxc_tile_program *program, const onnxc_stage *stage, onnxc_arena *arena);

#endif
