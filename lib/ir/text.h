/* text.h -- the graph's text form; what is printed parses back to the same graph.
 *
 *     symbol %N in 1..512 by 8 hint 128
 *     graph @mlp(%x: f32[%N, 64]) {
 *       %w = constant #0x3f800000... : f32[64, 10]
 *       %b = constant splat 0.5 : f32[10]
 *       %y = compute(%x, %w, %b) <i0: %N, i1: 10 | r0: 64>
 *         f32 add mul($0[i0, r0], $1[r0, i1]) init 0 -> max(add(acc0, $2[i1]), 0)
 *         contraction(a=0, b=1, roles=m n k) : f32[%N, 10]
 *       %s = softmax(%y) axis=1 span=1 : f32[%N, 10]
 *       require %N == %M "node 'add1' (Add): dims must agree"
 *       return %s as "probabilities"
 *     }
 *
 * White space is free; `#` starts a comment unless `0x` follows. Names are letters, digits, `_` and `.`, or
 * any bytes quoted: %"a b" (\\, \", \xNN). `%_7` names a value that has no name.
 *
 * symbol: a line for each symbol that is not [0, 2^31-1] with hint 64, in front of the graph. `= input(0, 1)`,
 * `= element(%v, 3)` or `= free` says where it is bound, when that is not where it first stands alone as
 * a dim of an input, or else as an element of a value.
 *
 * type: f32[1, 64, %H, %W], a layout follows without a space: f32[1, 64, %H, %W][0 2 3 1] (layout.h). Known elements of
 * an integer tensor follow in braces: i64[2] {%N, 64}. Dims are written as dim.h says.
 *
 * node: %a, %b = op(%x, none, %y) attributes : type, type when conditions loc("node's name"). Attributes are axis=
 * (concat, softmax, log_softmax, normalize), span= and epsilon=. A node without results (scatter-like ops to come)
 * starts with op.
 *
 * when %c, 1 - %d between types and loc: the node is in the branch of these conditions, each within those before it.
 *
 * constant: the stored data (of the layout, padding included): `splat v`, a list {1, 2, 3}, or #0x and its bytes in
 * memory order. `...` stands for data that was left out when printing; it does not parse.
 *
 * compute: <i0: extent, .. | r0: extent, ..>, then `let t0 = expression;` for shared parts, then for each result
 *     [dtype combine element init e ->] finish
 * separated by `;` -- just finish without a reduction. combine is a name (add: acc_j = add(acc_j, val_j)) or
 * {expression of acc and val}. Then contraction(a=, b=, roles=one an index of batch m n k window -) and
 * rows(group=1, rank=1) where they apply.
 *
 * expression: op(arguments) with the names of expr.def; select(c, a, b); cast.f32(x); a load of operand k $k[..]; acc0,
 * val0; indices i0, r0; dim(%N + 1) as an i64; constants 1.5, -3, true, nan, inf. A constant takes the type of the
 * operation around it or of its sibling argument; where neither is known it is written const.f32(1.5).
 */
#ifndef ONNXC_IR_TEXT_H
#define ONNXC_IR_TEXT_H

#include "ir/graph.h"

#include <stdio.h>

/* A growing text buffer in an arena. */
typedef struct onnxc_text {
  onnxc_arena *arena;
  char *data; /* NUL terminated */
  size_t length, capacity;
} onnxc_text;
void onnxc_text_init(onnxc_text *text, onnxc_arena *arena);
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void onnxc_text_printf(onnxc_text *text, const char *format, ...);

/* Constants above `max_constant` bytes print as `...` (0 = print all; such text does not parse back). */
void onnxc_graph_print(const onnxc_graph *graph, onnxc_text *text, size_t max_constant);
/* Parses one graph. Errors say line and column. */
onnxc_status onnxc_graph_parse(onnxc_graph *graph, const char *file, const char *source, size_t length);

#endif
