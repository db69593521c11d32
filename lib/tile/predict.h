/* predict.h -- how fast a product's code will be on one core: the cost model's account of the choices of a stage. */
#ifndef ONNXC_TILE_PREDICT_H
#define ONNXC_TILE_PREDICT_H

#include "tile/tile.h"

typedef struct onnxc_prediction {
  double cycles; /* of a whole run of the stage, symbols at their hints */
  double share;  /* of the core's peak for these instructions: FMAs, dot products, what is in a dot product's place */
  const char *bound; /* what costs most: "fma", "dot", "latency", "loads", "edges", "epilogue", "L2", "L3", "memory", or
                        "calls" for what is small */
  const onnxc_stmt *stmt; /* the contraction */
  int64_t rows, columns;  /* of a task, at hints; 0 = all */
  int64_t depth;          /* of a part of the reduction; 0 = all */
} onnxc_prediction;

/* False when the stage is no contraction along a parallel index, or the program has no target. */
bool onnxc_predict(const onnxc_tile_program *program, const onnxc_stage *stage, onnxc_prediction *prediction);
/* "tile 6x4 f32, parts of 512, ...: predicted 95 % of the peak (bound by fma)", in the text's arena. */
const char *onnxc_prediction_text(onnxc_arena *arena, const onnxc_prediction *prediction);

#endif
