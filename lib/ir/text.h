/* text.h -- the graph's text form; what is printed parses back to the same graph.
 *
 *     graph @mlp(%x: f32[%N, 64]) {
 *       %w = constant f32[64, 10] #0x3f800000...        (hex of the little-endian data; or
 *       %b = constant f32[10] splat 0.5                  one value for all; or a list {1, 2, 3})
 *       %y = compute(%x, %w, %b) <i0: %N, i1: 10 | r0: 64>
 *              f32 add mul($0[i0, r0], $1[r0, i1]) init 0
 *              -> max(add(acc0, $2[i1]), 0) : f32[%N, 10]
 *       %s = softmax(%y) axis=1 span=1 : f32[%N, 10]
 *       return %s
 *     }
 *
 * compute: `$k[..]` loads operand k; `acc0`, `val0`, `i0`, `r0`, `dim(%N + 1)`; an expression's constants
 * take the type that the context asks for, or are written `const.f32(1.5)`; `cast.f32(x)`. Each
 * result is one `[acc dtype] [combine] element [init e] -> finish` clause, separated by `;`; without a reduction just the
 * finish expression. combine is a name (add, max, ...) or `{expression of acc and val}`. Attributes
 * `contraction(a=0, b=1, roles=m n k)` and `rows(group=1, rank=1)` follow. Layouts follow the type: f32[1, 64, %H, %W][0 2 3 1].
 * Symbols carry their range in a `symbols` line when it is not the default.
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
void onnxc_expr_print(const onnxc_exprs *pool, onnxc_expr e, uint32_t num_parallel, onnxc_text *text);
/* Parses one graph. Errors say line and column. */
onnxc_status onnxc_graph_parse(onnxc_graph *graph, const char *file, const char *source, size_t length);

#endif
