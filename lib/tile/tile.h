/* tile.h -- the tile program: loops, buffers and statements; what code is made from.
 *
 * A program is a list of stages. A stage is a nest of parallel loops (its grid:
 * the tasks) around a body of statements; tasks of one stage are independent of each other. All integers
 * (bounds, origins, sizes) are dim expressions of the graph's pool; a loop's
 * induction variable is a symbol of source LOOP.
 *
 * Buffers. A buffer holds (a window of) a logical tensor in a layout:
 *   VALUE    a graph value: input, output, weights, or a place in the workspace that the planner gives it
 *   SCRATCH  memory of the running thread, alive in one task; a window of a tensor
 *   STATE    like SCRATCH, but small: accumulators that survive statements (running max and sum, an
 *            attention's output rows); the composer may keep it in registers
 * A VALUE buffer with a condition, a dim of inputs' dims and elements, is there only where that is not 0: else it has
 * no memory, and the stage that writes it has no tasks. (The results of nodes in a branch. A statement may name such a
 * buffer without that condition, if its compute then loads nothing from it.) A SCRATCH or STATE buffer with ring_dim >=
 * 0 stores that dim modulo its extent (a ring buffer).
 *
 * Statements.
 *   for       a loop: sequential or parallel (parallel ones only as the grid)
 *   if        a guard on a dim expression (0 = else): variants by size
 *   compute   a compute (graph.h) restricted to a box: index k runs over lo[k] .. lo[k]+size[k]-1, which must lie
 *             within its extent. Operand k is read through operands[k]: logical index x lies in the buffer at
 *             x - origin. A compute with roles prints as `contract` and is made by the composer's fma mechanism.
 *             Over reduction indices a box is one part of the reduction:
 *               resume   accumulators start from the result buffer, not from init
 *               partial  accumulators are stored raw, finish does not run
 *             so that a K loop around it, rescaling in between (attention) and running sums are expressed. When
 *             results are buffers that are also operands, each point reads its own element before it writes.
 *   copy      buffer to buffer, a box of the logical index space: between layouts (relayout, pack)
 *   fill      zeroes the padding of a buffer's layout (halo, block tails), not its elements
 *
 * The schedule of a compute statement (how its box is walked) is part of it:
 *   order[]   the indices of the box outermost first (parallel and reduction apart)
 *   row       index whose `rows` consecutive points share one register tile, or -1
 *   vec       index that lies along the lanes, `vecs` vectors of `lanes`, or -1 (scalar code); it may be a
 *             reduction index (partial sums in lanes, reduced at the end)
 *   phase     index whose `phases` consecutive points have code of their own, one after another: what is selected by
 *             that index mod phases is known in each
 *   unroll    of the innermost reduction loop, in steps
 *   kr        elements of the innermost reduction index that a step takes. Above 1 the element is a product of two
 *             loads, each cast to the accumulator's type: bf16 x bf16 into f32 (kr 2), u8 x s8 or s8 x u8 into i32
 *             (kr 4). Operand a lies contiguous along that index, operand b in blocks of vec's panel by kr (VNNI: last
 *             two axes of its layout `n:panel k:kr`, zero beyond the end), the box begins at a multiple of kr
 *   ahead     prefetch: step number t of a tile fetches ahead_lines cache lines of operand ahead_operand from
 *             ahead_bytes behind where the panel begins plus 64 * ahead_lines * (steps of the row tiles before it + t),
 *             so that the tiles of one panel together fetch the next one
 * Edges (sizes that rows or vecs*lanes do not divide) are the composer's: smaller kernels for rows, masks for lanes.
 *
 * Invariants, checked by onnxc_tile_verify():
 *   T1 buffers, operands and results agree in rank and dtype with the compute
 *   T2 a symbol of source LOOP is used only inside its loop
 *   T3 parallel loops are outermost, perfectly nested
 *   T4 SCRATCH and STATE are written before they are read in a task
 *   T5 order is a permutation of the indices, parallel ones first; row, vec and phase are different indices;
 *      rows*vecs accumulators (and the vectors of B, for a contraction along a parallel index) fit the target
 *   T6 kr is 1, or the statement is as said above
 *   T7 the VALUE buffers that a stage writes have one condition
 */
#ifndef ONNXC_TILE_TILE_H
#define ONNXC_TILE_TILE_H

#include "ir/text.h"
#include "target/target.h"
#include "tile/tuning.h"

typedef enum onnxc_space { ONNXC_SPACE_VALUE, ONNXC_SPACE_SCRATCH, ONNXC_SPACE_STATE } onnxc_space;

typedef struct onnxc_buffer {
  const char *name;
  onnxc_space space;
  onnxc_value value; /* VALUE */
  onnxc_dtype dtype;
  uint32_t rank;
  onnxc_dim *dims; /* logical extents of the tensor (VALUE) or of the window */
  onnxc_layout layout;
  onnxc_dim condition;    /* VALUE; none = always there */
  int ring_dim;           /* -1 = none */
  uint32_t alias;         /* VALUE: this buffer lies inside buffer `alias` ... (0 = in its own place) */
  onnxc_dim alias_offset; /* ... at this element offset, with the strides of its own layout over
                             alias_dims (a view: concat, reshape), perhaps as another dtype (0 if of another size) */
  onnxc_dim *alias_dims;  /* the extents that give the strides; NULL = dims */
} onnxc_buffer;

typedef struct onnxc_operand {
  uint32_t buffer;   /* index into program->buffers; 0 = none */
  onnxc_dim *origin; /* rank entries, or NULL = all zero */
} onnxc_operand;

typedef enum onnxc_stmt_kind {
  ONNXC_STMT_FOR,
  ONNXC_STMT_IF,
  ONNXC_STMT_COMPUTE,
  ONNXC_STMT_COPY,
  ONNXC_STMT_FILL
} onnxc_stmt_kind;

typedef struct onnxc_schedule {
  uint8_t order[ONNXC_MAX_INDICES];
  int8_t row, vec; /* index numbers, -1 = none */
  uint16_t rows, vecs, lanes, unroll;
  uint8_t phase, phases; /* phases 0 = none */
  uint8_t kr;            /* elements of the innermost reduction index in a step; above 1 a dot product */
  uint8_t ahead_operand;
  uint16_t ahead_lines; /* 0 = no prefetch */
  uint32_t ahead_bytes;
} onnxc_schedule;

typedef struct onnxc_stmt onnxc_stmt;
typedef struct onnxc_block {
  onnxc_stmt **data;
  uint32_t length, capacity;
} onnxc_block;

struct onnxc_stmt {
  onnxc_stmt_kind kind;
  /* for: iv = lo, lo+step, .. < hi */
  onnxc_sym iv;
  bool parallel;
  onnxc_dim lo, hi, step;
  /* if */
  onnxc_dim condition;
  onnxc_block body, otherwise;
  /* compute; copy uses operands[0], results[0] and the box; fill results[0] */
  const onnxc_compute *compute;
  uint32_t num_operands, num_results;
  onnxc_operand *operands, *results;
  onnxc_dim *box_lo, *box_size; /* one an index (copy: one a logical dim) */
  bool resume, partial;
  onnxc_schedule schedule;
};

typedef struct onnxc_stage {
  const char *name;    /* op, dtype, tile: "conv1_f32_6x4" */
  const char *nodes;   /* names of the source nodes that it computes, one a line; may be NULL; not in the text */
  onnxc_block body;    /* parallel loops outermost */
  onnxc_dim num_tasks; /* product of the grid's trip counts, times the condition of what it writes */
  uint32_t segment;    /* first 0; a new one begins where a data-dependent symbol is bound */
  uint32_t same_as;    /* stage number + 1 of an identical stage whose function serves, 0 = own */
} onnxc_stage;

typedef struct onnxc_tile_program {
  onnxc_graph *graph; /* dims, exprs, values */
  const onnxc_target *target;
  ONNXC_VEC(onnxc_buffer) buffers; /* [0] unused */
  ONNXC_VEC(onnxc_stage) stages;
  bool flush_bf16;                 /* conversions to bf16 may take subnormals for zero: one instruction, where it is */
  const uint32_t *uses;            /* by value of the graph: what reads it; NULL = not known */
  const onnxc_tuning *tuning;      /* choices for products that come before the cost model's; NULL = none */
  ONNXC_VEC(onnxc_tuned) products; /* those that lowering had a choice for, and what it chose */
} onnxc_tile_program;

void onnxc_tile_program_init(onnxc_tile_program *program, onnxc_graph *graph, const onnxc_target *target);
uint32_t onnxc_tile_add_buffer(onnxc_tile_program *program, const onnxc_buffer *buffer);
/* The buffer that a view, or a view of a view, lies in; of a program that lowering made or the verifier passed. */
uint32_t onnxc_tile_root(const onnxc_tile_program *program, uint32_t buffer);
/* The condition of the first VALUE buffer that the statements write; none if it is always there. */
onnxc_dim onnxc_tile_condition(const onnxc_tile_program *program, const onnxc_block *block);
onnxc_stmt *onnxc_tile_stmt(onnxc_tile_program *program, onnxc_block *block, onnxc_stmt_kind kind); /* appended */

/* Lowers the graph (all passes done): one stage a group. tile/lower.c */
onnxc_status onnxc_tile_lower(onnxc_tile_program *program);
/* Fills a statement's schedule by the cost model. tile/schedule.c */
void onnxc_tile_schedule(const onnxc_tile_program *program, onnxc_stmt *stmt);

/* Text form; prints and parses back. tile/text.c, tile/parse.c
 *
 *     symbol %N in 1..512
 *     program @mlp target "znver5" {
 *       buffer %x: f32[%N, 64] = input 0
 *       buffer %w: f32[64, 100][1 0 1:64] = constant ...
 *       buffer %y: f32[%N, 100] = output 0
 *       stage @gemm_f32_6x4 {
 *         parallel %t = 0 to %N step 96 {
 *           contract(%x, %w) -> (%y)
 *             [i0: %t for min(96, %N - %t), i1: 0 for 100 | r0: 0 for 64]
 *             order(i1 i0 r0) rows(i0 6) vec(i1 4 x 16) unroll(4) <i0: %N, i1: 100 | r0: 64>
 *             f32 add mul($0[i0, r0], $1[r0, i1]) init 0 -> max(acc0, 0) contraction(a=0, b=1, roles=m n k)
 *         }
 *       }
 *     }
 *
 * Names, types, symbols, computes, constants and `require` are those of graph text (ir/text.h). A buffer is
 *     input k | output k [as "name"] | constant data | value | scratch | state,
 *     each, or nothing, then [view of %base at offset [over [stride dims]]] [ring d] [if (condition)]
 * (a view with nothing in front has the base's value and space). A comment at the head of a contraction's stage says
 * what it was cut into and how fast that should be (predict.h). A constant's data may be `...`: then it has none.
 * stage @name [segment n] [same_as stage]. Statements:
 *     parallel|for %i = lo to hi [step s] [in low..high] [by divisor] [hint h] { .. }   the range when it is not that
 *                                                                                   of the bounds
 *     if (dim) { .. } [else { .. }]
 *     contract|compute(operands) -> (results) [box] [resume] [partial] schedule definition
 *     copy operand -> result [lo for size, .. one a dim]
 *     fill buffer
 * where an operand is none, %b or %b at [origin], a box says `index: lo for size`, and the schedule order(..) when it
 * is not the natural one, rows(index n), vec(index vecs x lanes), phases(index n), unroll(n), kr(n),
 * ahead(operand bytes x lines), with - for no index.
 */
void onnxc_tile_print(const onnxc_tile_program *program, onnxc_text *text);
/* Into a program over an empty graph, both fresh; its target is the one named. Errors say file, line and column. */
onnxc_status onnxc_tile_parse(onnxc_tile_program *program, const char *file, const char *source, size_t length);
/* T1..T7; violations go to the graph's diag, as ONNXC_INTERNAL. tile/verify.c */
onnxc_status onnxc_tile_verify(const onnxc_tile_program *program);

#endif
