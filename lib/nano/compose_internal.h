/* compose_internal.h -- the state of one composition, shared by the files compose*.c. */
#ifndef ONNXC_NANO_COMPOSE_INTERNAL_H
#define ONNXC_NANO_COMPOSE_INTERNAL_H

#include "nano/compose.h"
#include "tile/dot.h"

enum { ACC_EPOCH = ONNXC_MAX_INDICES, NUM_EPOCHS, MAX_DEPTH = 4000, MAX_TILE = 128 };

/* A value that was emitted. It may be used while nothing it depends on has changed since (stamp), and by code whose
 * scope is the same or narrower. */
typedef struct memo {
  LLVMValueRef value;
  uint32_t scope, stamp;
} memo;

/* What is known of an expression node of this statement. */
typedef struct node {
  onnxc_expr e;
  uint32_t deps;  /* bit k: index k; bit ACC_EPOCH: accumulators or reduced elements */
  bool loads;     /* a load below: must not be evaluated outside its scope */
  bool lane, row; /* differs along the lanes / rows of a tile */
  /* The same with the conditions of the selects above, under which its loads are masked: what a memo is good for. */
  uint32_t under, memo_deps; /* of those conditions; of node and conditions */
  bool by_row, by_vec;
  bool guard;   /* in compose.guards */
  bool wide;    /* a cast of f16, splat before it is converted: registers are what the CPU converts */
  bool dimable; /* an integer that the dim language can say */
  bool certain; /* evaluated whenever an element is (not only in an arm of a select) */
  memo *memo;   /* [by_row ? rows : 1][by_vec ? vecs : 1] */
} node;

/* A conjunction of select conditions; [0] is the root, always true. */
typedef struct scope {
  uint32_t parent;
  onnxc_expr condition;
  bool negate;
} scope;

/* Where an operand or a result lies. */
typedef struct place {
  LLVMValueRef base;
  const onnxc_buffer *buffer;
  const onnxc_dim *origin; /* may be NULL */
  onnxc_layout layout;     /* explicit */
  onnxc_dim strides[ONNXC_LAYOUT_MAX_AXES];
  int64_t bytes; /* of an element */
} place;

typedef struct compose {
  onnxc_gen *gen;
  const onnxc_stmt *stmt;
  const onnxc_compute *compute;
  onnxc_exprs *exprs;
  onnxc_dims *dims;
  place *operands, *results;

  ONNXC_VEC(node) nodes;
  ONNXC_VEC(scope) scopes;
  ONNXC_VEC(onnxc_expr) guards; /* see compose_guard.c */

  /* The schedule: row, vec are -1 when unused; lanes is 1 then. */
  int row, vec;
  bool vec_reduces;
  uint32_t rows, vecs, lanes, unroll;
  uint32_t num_parallel, num_reduce;                              /* lengths of the two orders */
  uint8_t parallel[ONNXC_MAX_INDICES], reduce[ONNXC_MAX_INDICES]; /* outermost first */
  uint32_t unrolls[2][ONNXC_MAX_INDICES];                         /* by position in reduce; [1]: of tiles at an edge */
  bool edge;                                 /* the tile being emitted is what full tiles leave: less code for it */
  onnxc_expr_op combiner[ONNXC_MAX_RESULTS]; /* NONE: an expression */
  bool ordered;                              /* some combiner is an expression: row-major order */
  uint32_t phase, phases;                    /* see onnxc_schedule */
  uint32_t apart;                            /* bit k: see plan_windows() */
  bool never_empty;                          /* the reduction has at least one point */
  uint32_t kr;                               /* elements of the innermost reduction index in a step */
  onnxc_dot dot;                             /* kr > 1: the factors */

  /* The tile being emitted. */
  uint32_t tile_rows, tile_vecs;
  onnxc_dim index[ONNXC_MAX_INDICES]; /* value of each index at row 0, lane 0 */
  onnxc_sym lane;                     /* stands for the lane, 0 .. lanes-1, in address expressions */
  LLVMValueRef tail;                  /* mask of the last vector, or NULL */
  uint32_t valid;                     /* lanes below the tail if their number is static, else 0 */
  LLVMValueRef *acc;                  /* [result][tile_rows][acc_vecs] */
  uint32_t acc_vecs;
  LLVMValueRef val[ONNXC_MAX_RESULTS];
  onnxc_dim count; /* kr > 1: how many elements the step has, if fewer than kr; else none */
  uint32_t now, epochs[NUM_EPOCHS];
  bool interior; /* guards hold for all of this tile */
  bool zeroed;   /* the last load emitted reads 0 wherever its own scope is false */
} compose;

/* ---- compose_expr.c ---- */

/* The first num_elements roots are those of elements. */
void onnxc_compose_analyse(compose *c, const onnxc_expr *roots, uint32_t count, uint32_t num_elements);
node *onnxc_compose_node(const compose *c, onnxc_expr e);
/* The value at a point: a scalar, or a vector if the node differs along the lanes. */
LLVMValueRef onnxc_compose_emit(compose *c, onnxc_expr e, uint32_t row, uint32_t vec, uint32_t in_scope);
LLVMValueRef onnxc_compose_splat(const compose *c, LLVMValueRef value); /* to `lanes`, unless it is a vector */
/* half and bfloat, scalars or vectors, as 16-bit integers; other values as they are. */
LLVMValueRef onnxc_compose_half_bits(const compose *c, LLVMValueRef value);
onnxc_dim onnxc_compose_dim(compose *c, onnxc_expr e, uint32_t row, uint32_t vec);
onnxc_dim onnxc_compose_index(compose *c, uint32_t index, uint32_t row, uint32_t vec);
/* The condition of a scope at a point: a scalar part and a part per lane, either NULL when always true. The tail
 * mask is no part of it. */
void onnxc_compose_condition(compose *c, uint32_t in_scope, uint32_t row, uint32_t vec, LLVMValueRef *uniform,
                             LLVMValueRef *lanes);
void onnxc_compose_changed(compose *c, uint32_t epoch);
/* Values emitted between open and close are forgotten at close: their block does not dominate what follows. */
uint32_t onnxc_compose_open(compose *c);
void onnxc_compose_close(compose *c, uint32_t mark);

/* ---- compose_memory.c ---- */

enum { MAX_SQUARE = 16 }; /* rows and lanes of a transposed load */

bool onnxc_compose_place(compose *c, place *p, const onnxc_operand *operand, uint32_t rank);
/* May fill in the memos of other rows, too. */
LLVMValueRef onnxc_compose_load(compose *c, node *n, uint32_t row, uint32_t vec, uint32_t in_scope);
/* Element [i0..] of a result at a point; as onnxc_compose_load. */
LLVMValueRef onnxc_compose_load_result(compose *c, uint32_t result, uint32_t row, uint32_t vec);
void onnxc_compose_store(compose *c, uint32_t result, uint32_t row, uint32_t vec, LLVMValueRef value);
/* The same for all rows of a vector column at once, if they fill a piece of memory together; false if not. */
bool onnxc_compose_store_rows(compose *c, uint32_t result, uint32_t vec, const LLVMValueRef *values);

/* kr elements from the load's on in 32 bits: a vector of i32, or a scalar where the lanes do not differ. Of a scalar's
 * only the first c->count are read, the others are 0. */
LLVMValueRef onnxc_compose_load_words(compose *c, const node *load, uint32_t row, uint32_t vec);

/* Where a load reads at the current point (row 0, vector 0, lane 0); its indices are dim expressions. */
LLVMValueRef onnxc_compose_load_address(compose *c, const node *load);

/* ---- compose_ahead.c ---- */

/* Prefetches what the schedule says for step u of the `unroll` steps that begin at index `first` of the innermost
 * reduction loop. */
void onnxc_compose_ahead(compose *c, onnxc_dim first, uint32_t u, uint32_t unroll);

/* ---- compose_dot.c ---- */

/* A step of kr elements (c->count of them): every accumulator of the tile takes one dot product. */
void onnxc_compose_dot(compose *c);

/* ---- compose_transpose.c ---- */

/* May this tile's loads of elements of `bytes` be transposed? Rows and lanes fit in a small square then. */
bool onnxc_compose_transposes(const compose *c, int64_t bytes);
/* v[lane], each along the rows, becomes v[row], each along the lanes; all are of `lanes` elements. */
void onnxc_compose_transpose(compose *c, LLVMValueRef *v, int64_t bytes);

/* ---- compose_interleave.c ---- */

enum { MAX_INTERLEAVED = 4 }; /* rows */

/* May this tile's rows be interleaved? As many as can be, in full. */
bool onnxc_compose_interleaves(const compose *c);
/* rows[r], lanes far apart by the number of rows, become as many vectors of consecutive elements. */
void onnxc_compose_interleave(compose *c, LLVMValueRef *rows);

/* ---- compose_guard.c ---- */

typedef enum onnxc_interior { ONNXC_INTERIOR_NEVER, ONNXC_INTERIOR_SOMETIMES, ONNXC_INTERIOR_ALWAYS } onnxc_interior;
void onnxc_compose_find_guards(compose *c);
/* Is the tile about to be emitted free of padding? SOMETIMES: where *margin >= 0. */
onnxc_interior onnxc_compose_interior(compose *c, onnxc_dim *margin);

/* ---- compose_reduce.c ---- */

/* Emits the tile: initial accumulators, reduction loops, finish, stores. */
void onnxc_compose_tile(compose *c);
/* The number of full steps in `size`, and the rest as a dim that is a constant where possible. */
onnxc_dim onnxc_compose_steps(compose *c, onnxc_dim size, int64_t step, onnxc_dim *rest);
LLVMValueRef onnxc_compose_mask(compose *c, onnxc_dim valid); /* lanes below `valid`; NULL if that is all */
bool onnxc_compose_never(const compose *c, onnxc_dim trips);  /* is it certainly 0 or less? */
onnxc_sym onnxc_compose_counter(compose *c, onnxc_dim trips); /* a symbol for 0 .. trips-1 */

#endif
