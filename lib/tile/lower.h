/* lower.h -- inside of lowering: what lower.c has for the files that make stages of their own. */
#ifndef ONNXC_TILE_LOWER_H
#define ONNXC_TILE_LOWER_H

#include "tile/tile.h"

typedef struct onnxc_lowerer {
  onnxc_tile_program *program;
  onnxc_graph *graph;
  uint32_t *buffer_of; /* by value */
  bool *filled;        /* by value: its padding is zeroed, or has none */
  uint32_t capacity;   /* of the two */
  onnxc_node *chained; /* by node: the other one of a chain, or none */
} onnxc_lowerer;

void onnxc_lower_stage(onnxc_lowerer *l, const char *name, onnxc_block body); /* appended */
const char *onnxc_lower_name(onnxc_lowerer *l, const char *name, const char *fallback);
/* Zeroes the padding of the memory that `buffer` lies in, once. */
void onnxc_lower_fill(onnxc_lowerer *l, uint32_t buffer);

/* Fills in l->chained. tile/chain.c */
void onnxc_lower_find_chains(onnxc_lowerer *l);
/* A node of a chain; false if it is none. The stage is made at the second of the two. */
bool onnxc_lower_chain(onnxc_lowerer *l, onnxc_node node);

/* The row group that begins at order[first]; returns where it ends. tile/rows.c */
uint32_t onnxc_lower_rows(onnxc_lowerer *l, uint32_t first);

/* ---- row groups ---- */

/* The rows of a task: along each row index from lo, so many of them; more than one along index `block` alone. */
typedef struct onnxc_rows {
  uint32_t rank, block;
  int64_t most; /* along `block` */
  onnxc_dim lo[ONNXC_MAX_INDICES], size[ONNXC_MAX_INDICES];
} onnxc_rows;

/* A window of a task's rows in scratch. Behind the row indices it has these extents; 0 when one is not known. */
uint32_t onnxc_rows_window(onnxc_lowerer *l, const onnxc_rows *rows, const char *name, onnxc_dtype dtype, uint32_t rank,
                           const onnxc_dim *extents);
/* A buffer seen from the rows: a window's origin; NULL for whole values. Behind the rows the window begins at `from`.
 */
onnxc_operand onnxc_rows_operand(onnxc_lowerer *l, const onnxc_rows *rows, uint32_t buffer, bool window,
                                 onnxc_dim from);
/* The box of a compute: the rows, whole otherwise. */
void onnxc_rows_box(onnxc_lowerer *l, const onnxc_rows *rows, onnxc_stmt *stmt);
/* The loops over all rows of a group whose row extents these are: the block that is left to fill. */
onnxc_block *onnxc_rows_loops(onnxc_lowerer *l, onnxc_rows *rows, const onnxc_dim *extents, onnxc_block *body);

/* An extent at its hint, where it is only weighed: from 1 to 2^30. */
int64_t onnxc_rows_weigh(const onnxc_lowerer *l, onnxc_dim extent);
/* Fills in rank and block for a member of a group. Returns how many blocks along that index are tasks enough. */
int64_t onnxc_rows_wanted(const onnxc_lowerer *l, onnxc_rows *rows, const onnxc_compute *compute);
/* Rows of a block: blocks of nearly equal height, whole tiles, of `most` rows at most; `wanted` blocks or more as long
 * as each has `least` rows. */
int64_t onnxc_rows_even(int64_t extent, int64_t most, int64_t tile, int64_t least, int64_t wanted);

/* Attention with many or unknown keys, by blocks of them; false when it is none, or may be done at once. Its rows then
 * stand in a stage. tile/online.c */
bool onnxc_lower_online(onnxc_lowerer *l, uint32_t first);

#endif
