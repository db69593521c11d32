/* access.h -- how a compute's loads and stores walk memory: what the cost model looks at. */
#ifndef ONNXC_TILE_ACCESS_H
#define ONNXC_TILE_ACCESS_H

#include "tile/tile.h"

typedef struct onnxc_access {
  uint32_t buffer;
  bool store;
  bool in_reduction;                 /* runs for each element of the reduction */
  bool depends[ONNXC_MAX_INDICES];   /* on index k */
  bool strided[ONNXC_MAX_INDICES];   /* with a fixed stride (affine, not across blocks) */
  int64_t stride[ONNXC_MAX_INDICES]; /* in elements; symbolic ones at their hints */
} onnxc_access;

/* All loads and stores of a compute statement; returns how many (arena-allocated). */
uint32_t onnxc_tile_accesses(const onnxc_tile_program *program, const onnxc_compute *compute, const uint32_t *operands,
                             uint32_t num_results, const uint32_t *results, onnxc_access **accesses);

#endif
