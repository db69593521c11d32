/* grid.h -- tasks: the parallel loops around a statement. */
#ifndef ONNXC_TILE_GRID_H
#define ONNXC_TILE_GRID_H

#include "tile/tile.h"

/* Appends a parallel loop with a fresh induction variable. */
onnxc_stmt *onnxc_grid_loop(onnxc_tile_program *program, onnxc_block *block, onnxc_dim lo, onnxc_dim hi,
                            onnxc_dim step);
/* Cuts a compute statement's whole index space into tasks: appends the loops and, innermost, the statement with its
 * box and schedule. */
void onnxc_grid_place(onnxc_tile_program *program, onnxc_block *block, const onnxc_stmt *stmt);
/* The schedule of a statement whose box is a part of a task already; a product with a packed factor walks and fetches
 * it as one that is cut into tasks does. */
void onnxc_grid_schedule_block(onnxc_tile_program *program, onnxc_stmt *stmt);
/* Product of the trip counts of a body's parallel loops, times the condition of what it writes. */
onnxc_dim onnxc_grid_tasks(onnxc_tile_program *program, const onnxc_block *body);

#endif
