/* shorthand.h -- more short names, for importers that write index arithmetic; see scalar.h. */
#ifndef ONNXC_FRONTEND_SHORTHAND_H
#define ONNXC_FRONTEND_SHORTHAND_H

#include "scalar.h"

static inline onnxc_expr e_int(onnxc_exprs *pool, int64_t value) { return onnxc_expr_i64(pool, ONNXC_I64, value); }
static inline onnxc_expr e_dim(onnxc_exprs *pool, onnxc_dim dim) { return onnxc_expr_dim(pool, dim); }
static inline onnxc_expr e_index(onnxc_exprs *pool, uint32_t index) { return onnxc_expr_index(pool, index); }
static inline onnxc_expr e_floordiv(onnxc_exprs *pool, onnxc_expr a, onnxc_expr b) {
  return onnxc_expr_binary(pool, ONNXC_EXPR_FLOORDIV, a, b);
}
static inline onnxc_expr e_mod(onnxc_exprs *pool, onnxc_expr a, onnxc_expr b) {
  return onnxc_expr_binary(pool, ONNXC_EXPR_MOD, a, b);
}
/* a and b, where none means true. */
static inline onnxc_expr e_also(onnxc_exprs *pool, onnxc_expr a, onnxc_expr b) {
  return !a.i ? b : !b.i ? a : e_and(pool, a, b);
}
/* value if the condition (none = true) holds, else other, which is not looked at otherwise. */
static inline onnxc_expr e_guard(onnxc_exprs *pool, onnxc_expr condition, onnxc_expr value, onnxc_expr other) {
  return condition.i ? onnxc_expr_select(pool, condition, value, other) : value;
}
/* A whole number in any numeric dtype. */
static inline onnxc_expr e_whole(onnxc_exprs *pool, onnxc_dtype dtype, int64_t value) {
  return onnxc_dtype_is_float(dtype) ? onnxc_expr_f64(pool, dtype, (double)value) : onnxc_expr_i64(pool, dtype, value);
}
/* a + k */
static inline onnxc_expr e_addc(onnxc_exprs *pool, onnxc_expr a, int64_t k) { return e_add(pool, a, e_int(pool, k)); }
/* An integer or float element as an i64. */
static inline onnxc_expr e_i64(onnxc_exprs *pool, onnxc_expr a) { return onnxc_expr_cast(pool, ONNXC_I64, a); }

#endif
