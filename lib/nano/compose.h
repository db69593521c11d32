/* compose.h -- the nanokernel composer: a compute statement of the tile program becomes LLVM IR.
 *
 * One composer makes them all. It walks the statement's box in register tiles -- `rows` consecutive points of index
 * row by `vecs` vectors of `lanes` points of index vec -- and emits the expression DAG once for each (row, vector)
 * of a tile. What a subexpression depends on decides its form: independent of vec it is a scalar, splat where it
 * meets a vector (a broadcast); independent of row it is shared by all rows. So a matrix product (scalar of A times
 * vector of B), a depthwise convolution (vector times vector), pooling, elementwise code and reductions come out of
 * the same few rules, and accumulators are SSA values carried through the reduction loops.
 *
 * Addresses are dim expressions: index expressions and layouts are composed symbolically, so that a blocked axis
 * disappears by the dims' own rules (`(64*t + l) floordiv 64 = t`), and their dependence on the lane decides
 * between a vector load, a shuffle of a few, a gather and a splat.
 *
 * Lazy select: the arms of a select are emitted under a scope, the conjunction of the conditions above. A load under a
 * scope reads through a mask (per lane) or from a block of zeros (when the condition is the same for all lanes).
 */
#ifndef ONNXC_NANO_COMPOSE_H
#define ONNXC_NANO_COMPOSE_H

#include "nano/gen.h"

/* Emits a COMPUTE statement at the builder's position. */
onnxc_status onnxc_compose(onnxc_gen *gen, const onnxc_stmt *stmt);

#endif
