/* dot.h -- a statement whose steps are dot products (schedule's kr above 1), taken apart. */
#ifndef ONNXC_TILE_DOT_H
#define ONNXC_TILE_DOT_H

#include "tile/tile.h"

typedef struct onnxc_dot {
  onnxc_expr a, b; /* the loads: a is the same for all lanes, b for all rows */
  uint32_t k;      /* the index of which a step takes kr elements: the innermost of the reduction */
} onnxc_dot;

/* Holds invariant T6 of the statement with its schedule as it is? NULL and *dot, or what is wrong (static text). The
 * compute must be well typed over its operands and the box there. */
const char *onnxc_dot_of(const onnxc_tile_program *program, const onnxc_stmt *stmt, onnxc_dot *dot);

#endif
