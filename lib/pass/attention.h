/* attention.h -- softmax as expand writes it, and attention as a row group; shared by the pass and lowering. */
#ifndef ONNXC_PASS_ATTENTION_H
#define ONNXC_PASS_ATTENTION_H

#include "pass/recognise.h"

/* Nodes of max = max x;  power = exp(x - max);  inverse = 1 / sum power, over the last dim of x. */
typedef struct onnxc_softmax {
  onnxc_node max, power, inverse;
  onnxc_value x;
} onnxc_softmax;

/* The softmax that makes these powers and inverse sums; false if they are anything else. */
bool onnxc_match_softmax(const onnxc_graph *graph, onnxc_value power, onnxc_value inverse, onnxc_softmax *softmax);
/* Does `e` load an operand at the compute's own indices: all of them, or the first `count`? Perhaps cast. The operand,
 * or -1. */
int onnxc_match_own_element(const onnxc_graph *graph, const onnxc_compute *compute, onnxc_expr e, uint32_t count);

/* A row group of five nodes: scores (a contraction), softmax' three, and the product with V of the powers. */
typedef struct onnxc_attention {
  onnxc_node scores, product;
  onnxc_softmax softmax;
} onnxc_attention;

/* The group that begins at order[first]; false if it is another one, or its intermediates differ in type. */
bool onnxc_match_attention(onnxc_graph *graph, uint32_t first, onnxc_attention *attention);

#endif
