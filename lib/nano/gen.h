/* gen.h -- what the composer and the code generator emit into: levels, loops, dim expressions.
 *
 * A level is a scope of code: the function (level 0), a loop body, an arm of an `if`. Each has a hoist block that
 * dominates everything in the level, and each symbol that has a value was bound at some level. A dim expression is
 * emitted once, in the hoist block of the deepest level that one of its symbols is bound at, outer parts of a sum
 * further out; so index arithmetic stands where it changes, whatever asked for it, and no pass has to move it.
 *
 * Loops are rotated (a guard, then do-while), count from 0 by 1, and carry SSA values (accumulators) as phis.
 */
#ifndef ONNXC_NANO_GEN_H
#define ONNXC_NANO_GEN_H

#include "nano/vexpr.h"
#include "tile/tile.h"

enum { ONNXC_GEN_MAX_LEVELS = 96, ONNXC_GEN_ZEROS = 2048 };

typedef struct onnxc_gen_level {
  LLVMBasicBlockRef hoist;     /* ends in a branch; hoisted code goes before it */
  ONNXC_VEC(uint32_t) dims;    /* emitted at this level, forgotten when it closes */
  ONNXC_VEC(uint32_t) symbols; /* bound at this level */
} onnxc_gen_level;

typedef struct onnxc_gen_symbol_value {
  LLVMValueRef value; /* NULL = unbound */
  uint32_t level;
} onnxc_gen_symbol_value;
typedef struct onnxc_gen_counter {
  onnxc_sym sym;
  int64_t low, high;
  bool busy;
} onnxc_gen_counter;
typedef struct onnxc_gen_local {
  uint32_t serial, local;
} onnxc_gen_local;

typedef struct onnxc_gen {
  onnxc_nano nano;
  onnxc_arena *arena;
  onnxc_diag *diag;
  onnxc_status status; /* of the first error */
  const onnxc_tile_program *program;
  onnxc_graph *graph;
  onnxc_dims *dims;
  onnxc_exprs *exprs;
  const char *where; /* the stage, for messages */
  LLVMTypeRef i1, i8, i32, i64, ptr;
  LLVMValueRef function;
  LLVMValueRef *bases; /* by program buffer number: base address in this function, or NULL */
  LLVMValueRef zeros;  /* ONNXC_GEN_ZEROS zero bytes: what a load that must not happen reads */
  onnxc_gen_level levels[ONNXC_GEN_MAX_LEVELS];
  uint32_t num_levels;
  ONNXC_VEC(onnxc_gen_symbol_value) symbols; /* by sym.i */
  ONNXC_VEC(LLVMValueRef) values;            /* by dim.i */
  ONNXC_VEC(onnxc_gen_counter) pool;
  ONNXC_VEC(onnxc_dim) map;          /* by sym.i, all none: for onnxc_gen_at */
  ONNXC_VEC(onnxc_gen_local) locals; /* by expr.i: see compose.h */
  uint32_t serial;
} onnxc_gen;

/* Starts a function: level 0 hoists into `entry`, code goes to a block behind it. */
void onnxc_gen_start(onnxc_gen *gen, LLVMValueRef function);
/* Returns void and closes level 0. */
void onnxc_gen_finish(onnxc_gen *gen);
onnxc_status onnxc_gen_error(onnxc_gen *gen, onnxc_status status, const char *what);

LLVMBasicBlockRef onnxc_gen_block(onnxc_gen *gen, const char *name);
/* Opens a level in a fresh block that the builder's current block does not branch to yet. */
void onnxc_gen_push(onnxc_gen *gen, LLVMBasicBlockRef hoist);
void onnxc_gen_pop(onnxc_gen *gen);
/* Binds a symbol at the innermost level. */
void onnxc_gen_bind(onnxc_gen *gen, onnxc_sym sym, LLVMValueRef value);
/* A loop symbol with this range that nobody is using, and its return. */
onnxc_sym onnxc_gen_symbol(onnxc_gen *gen, int64_t low, int64_t high);
void onnxc_gen_release(onnxc_gen *gen, onnxc_sym sym);

/* ---- dims ---- */

LLVMValueRef onnxc_gen_const(const onnxc_gen *gen, int64_t value);
LLVMValueRef onnxc_gen_dim(onnxc_gen *gen, onnxc_dim dim);
/* The values of `dim` for lane = 0 .. lanes-1, a vector of i64. */
LLVMValueRef onnxc_gen_dim_lanes(onnxc_gen *gen, onnxc_dim dim, onnxc_sym lane, uint32_t lanes);
LLVMValueRef onnxc_gen_iota(const onnxc_gen *gen, LLVMTypeRef element, uint32_t lanes, int64_t step);
/* a floordiv b and a mod b of scalars or vectors of i64, as dim.h defines them. */
LLVMValueRef onnxc_gen_floordiv(onnxc_gen *gen, LLVMValueRef a, LLVMValueRef b, bool nonnegative);
LLVMValueRef onnxc_gen_mod(onnxc_gen *gen, LLVMValueRef a, LLVMValueRef b, bool nonnegative);
/* A number that divides every value of the dim (0 for the constant 0). */
int64_t onnxc_gen_divisor(const onnxc_dims *dims, onnxc_dim dim);
/* dim with sym replaced by a value. */
onnxc_dim onnxc_gen_at(onnxc_gen *gen, onnxc_dim dim, onnxc_sym sym, int64_t value);

/* ---- loops ---- */

typedef struct onnxc_loop {
  LLVMBasicBlockRef guard, header, exit;
  LLVMValueRef iv, trips;
  bool guarded;
  uint32_t num_carried;
  LLVMValueRef *phis, *initial;
} onnxc_loop;

/* for (sym = 0; sym < trips; sym++). carried[] (num, may be 0) holds the initial values and receives the phis;
 * at the end it holds the next values and receives those after the loop. */
void onnxc_loop_begin(onnxc_gen *gen, onnxc_loop *loop, onnxc_sym sym, onnxc_dim trips, uint32_t num_carried,
                      LLVMValueRef *carried);
void onnxc_loop_end(onnxc_gen *gen, onnxc_loop *loop, LLVMValueRef *carried);

/* ---- calls ---- */

/* An intrinsic overloaded on types; args. */
LLVMValueRef onnxc_gen_intrinsic(const onnxc_gen *gen, const char *name, uint32_t num_types, LLVMTypeRef *types,
                                 uint32_t num_args, LLVMValueRef *args);
LLVMValueRef onnxc_gen_address(const onnxc_gen *gen, LLVMValueRef base,
                               LLVMValueRef bytes); /* either may be a vector */

#endif
