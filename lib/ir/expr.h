/* expr.h -- the scalar expression DAG, hash-consed in one pool a graph.
 *
 * Equal expressions have equal handles, so common subexpressions are shared
 * without a pass. Building simplifies locally (constants fold when exact, x+0,
 * x*1, select with a constant condition, cast to the own type, ...); a rule
 * holds for NaN, infinities and signed zeros or it is not there.
 */
#ifndef ONNXC_IR_EXPR_H
#define ONNXC_IR_EXPR_H

#include "ir/dim.h"
#include "ir/dtype.h"

typedef struct onnxc_expr {
  uint32_t i; /* 0 = none */
} onnxc_expr;

typedef enum onnxc_expr_op {
  ONNXC_EXPR_NONE = 0,
#define X(NAME, text, arity, result) ONNXC_EXPR_##NAME,
#include "ir/expr.def"
#undef X
  ONNXC_EXPR_OP_COUNT
} onnxc_expr_op;

typedef struct onnxc_expr_node {
  uint8_t op;    /* onnxc_expr_op */
  uint8_t dtype; /* onnxc_dtype of the result */
  uint16_t num_args;
  uint32_t hash;
  const onnxc_expr *args;
  int64_t imm; /* CONST bits, INDEX, DIM handle, LOAD operand, ACC, VAL */
} onnxc_expr_node;

/* Marks and results of the walk in progress at one depth of nesting. */
typedef struct onnxc_expr_scratch onnxc_expr_scratch;

typedef struct onnxc_exprs {
  onnxc_arena *arena;
  onnxc_dims *dims;
  ONNXC_VEC(onnxc_expr_node) nodes; /* [0] unused; arguments come before their users */
  uint32_t *table;
  uint32_t table_size;
  onnxc_expr_scratch *scratch;
} onnxc_exprs;

void onnxc_exprs_init(onnxc_exprs *pool, onnxc_dims *dims, onnxc_arena *arena);

static inline const onnxc_expr_node *onnxc_exprs_node(const onnxc_exprs *pool, onnxc_expr e) {
  return &pool->nodes.data[e.i];
}
const char *onnxc_expr_op_name(onnxc_expr_op op);
onnxc_expr_op onnxc_expr_op_parse(const char *name, size_t length);
int onnxc_expr_op_arity(onnxc_expr_op op); /* -1 for LOAD */
/* Can the dim language say it, of i64 arguments that it can say? */
bool onnxc_expr_op_is_dim(onnxc_expr_op op);

onnxc_expr onnxc_expr_f64(onnxc_exprs *pool, onnxc_dtype dtype, double value); /* rounded to dtype */
onnxc_expr onnxc_expr_i64(onnxc_exprs *pool, onnxc_dtype dtype, int64_t value);
onnxc_expr onnxc_expr_index(onnxc_exprs *pool, uint32_t index);
onnxc_expr onnxc_expr_dim(onnxc_exprs *pool, onnxc_dim dim); /* an i64; constants become CONST */
onnxc_expr onnxc_expr_load(onnxc_exprs *pool, onnxc_dtype dtype, uint32_t operand, uint32_t rank,
                           const onnxc_expr *indices);
/* The element that `load` reads, as another dtype or of another operand. */
onnxc_expr onnxc_expr_load_from(onnxc_exprs *pool, onnxc_expr load, onnxc_dtype dtype, uint32_t operand);
onnxc_expr onnxc_expr_acc(onnxc_exprs *pool, onnxc_dtype dtype, uint32_t which);
onnxc_expr onnxc_expr_val(onnxc_exprs *pool, onnxc_dtype dtype, uint32_t which);
onnxc_expr onnxc_expr_unary(onnxc_exprs *pool, onnxc_expr_op op, onnxc_expr a);
onnxc_expr onnxc_expr_binary(onnxc_exprs *pool, onnxc_expr_op op, onnxc_expr a, onnxc_expr b);
onnxc_expr onnxc_expr_select(onnxc_exprs *pool, onnxc_expr c, onnxc_expr a, onnxc_expr b);
onnxc_expr onnxc_expr_cast(onnxc_exprs *pool, onnxc_dtype dtype, onnxc_expr a);

bool onnxc_expr_const_value(const onnxc_exprs *pool, onnxc_expr e, double *f, int64_t *i);

/* An i64 expression as an affine form: base + sum of coefficient[k] * index k,
 * base and coefficients dims (free of indices). False if it is no such form.
 * coefficients has num_indices entries, none = 0. */
bool onnxc_expr_affine(onnxc_exprs *pool, onnxc_expr e, uint32_t num_indices, onnxc_dim *base, onnxc_dim *coefficients);

/* Rewriting: the callback returns a replacement for a leaf (INDEX, DIM, LOAD,
 * ACC, VAL; a LOAD's arguments are rewritten before), or none to keep it. Results
 * are memoised for the one call. */
typedef onnxc_expr (*onnxc_expr_leaf_fn)(void *arg, onnxc_exprs *pool, onnxc_expr leaf);
onnxc_expr onnxc_expr_rewrite(onnxc_exprs *pool, onnxc_expr e, onnxc_expr_leaf_fn leaf, void *arg);

/* Calls `visit` once for each node reachable from e, arguments first. */
typedef void (*onnxc_expr_visit_fn)(void *arg, const onnxc_exprs *pool, onnxc_expr e);
void onnxc_expr_walk(const onnxc_exprs *pool, onnxc_expr e, onnxc_expr_visit_fn visit, void *arg);
bool onnxc_expr_uses_index(const onnxc_exprs *pool, onnxc_expr e, uint32_t index);
uint32_t onnxc_expr_indices(const onnxc_exprs *pool, onnxc_expr e); /* a bit for each index that occurs in e */
/* Is every load of the operand in e at the point itself: dim d at index d, or at 0 if bit d of `ones` says that the dim
 * has one element? */
bool onnxc_expr_loads_own(const onnxc_exprs *pool, onnxc_expr e, uint32_t operand, uint32_t ones);
uint32_t onnxc_expr_cost(const onnxc_exprs *pool, onnxc_expr e); /* rough scalar operations, loads 1, exp 16 */
uint32_t onnxc_expr_op_cost(onnxc_expr_op op);                   /* of one node */

#endif
