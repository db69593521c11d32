/* number.h -- which bytes a float stands for: what dequantizing computes say, found through what moves elements. */
#ifndef ONNXC_PASS_NUMBER_H
#define ONNXC_PASS_NUMBER_H

#include "ir/graph.h"

/* An element of a value, in the indices of some compute. */
typedef struct onnxc_place {
  onnxc_value value;
  uint32_t rank;
  onnxc_expr index[ONNXC_MAX_RANK];
} onnxc_place;

/* A scale or a zero point: an expression that is constant, or an element of a constant. */
typedef struct onnxc_parameter {
  onnxc_expr constant; /* none = at */
  onnxc_place at;
} onnxc_parameter;

/* scale * (byte - (zero + shift)), of types f32, u8 or i8, and any integers */
typedef struct onnxc_number {
  onnxc_place byte;
  onnxc_parameter scale, zero;
  int64_t shift;
} onnxc_number;

/* The element that a load of the node reads; the node's index k is indices[k], or itself if that is NULL. False if
 * its indices are not affine, or the value has a layout (in which it may be read outside of its dims). */
bool onnxc_find_place(onnxc_graph *graph, const onnxc_node_info *node, onnxc_expr load, const onnxc_expr *indices,
                      onnxc_place *place);
/* Goes back to where the element comes from, through computes that move it. */
void onnxc_follow_place(onnxc_graph *graph, onnxc_place *place);
/* What the f32 element stands for; false if it is no dequantized byte. */
bool onnxc_find_number(onnxc_graph *graph, const onnxc_place *place, onnxc_number *number);
/* e with indices[k] for index k. */
onnxc_expr onnxc_substitute_indices(onnxc_exprs *pool, onnxc_expr e, const onnxc_expr *indices);

#endif
