/* expr_private.h -- what expr.c, expr_fold.c and expr_rewrite.c share. */
#ifndef ONNXC_IR_EXPR_PRIVATE_H
#define ONNXC_IR_EXPR_PRIVATE_H

#include "ir/expr.h"

/* The nodes reachable from a root, arguments first. slot[] is parallel to list; slot_of finds a
 * node's place. Walks may nest (a callback walks): each takes the next scratch of a chain. */
struct onnxc_expr_scratch {
  onnxc_expr_scratch *deeper;
  uint32_t *mark; /* generation in which the node was seen */
  uint32_t *place;
  uint32_t size, generation;
  bool busy;
  ONNXC_VEC(onnxc_expr) list;
  ONNXC_VEC(onnxc_expr) stack;
};

onnxc_expr_scratch *onnxc_expr_collect(const onnxc_exprs *pool, onnxc_expr root); /* until onnxc_expr_release */
void onnxc_expr_release(onnxc_expr_scratch *scratch);

onnxc_expr onnxc_expr_intern(onnxc_exprs *pool, onnxc_expr_op op, onnxc_dtype dtype, uint32_t num_args,
                             const onnxc_expr *args, int64_t imm);

/* What the node becomes when the arguments decide it (or make it simpler), else none. */
onnxc_expr onnxc_expr_fold_unary(onnxc_exprs *pool, onnxc_expr_op op, onnxc_expr a);
onnxc_expr onnxc_expr_fold_binary(onnxc_exprs *pool, onnxc_expr_op op, onnxc_expr a, onnxc_expr b);
onnxc_expr onnxc_expr_fold_cast(onnxc_exprs *pool, onnxc_dtype dtype, onnxc_expr a);

#endif
