/* scalar.h -- short names for scalar expressions, so that importers read like formulas; and the map that
 * importers of elementwise operators use.
 */
#ifndef ONNXC_FRONTEND_SCALAR_H
#define ONNXC_FRONTEND_SCALAR_H

#include "import.h"

static inline onnxc_dtype e_dtype(const onnxc_exprs *pool, onnxc_expr e) {
  return (onnxc_dtype)onnxc_exprs_node(pool, e)->dtype;
}
/* `value` in the dtype of `like`. */
static inline onnxc_expr e_number(onnxc_exprs *pool, onnxc_expr like, double value) {
  onnxc_dtype dtype = e_dtype(pool, like);
  return onnxc_dtype_is_float(dtype) ? onnxc_expr_f64(pool, dtype, value) : onnxc_expr_i64(pool, dtype, (int64_t)value);
}
#define E_UNARY(name, OP)                                                                                              \
  static inline onnxc_expr e_##name(onnxc_exprs *pool, onnxc_expr a) {                                                 \
    return onnxc_expr_unary(pool, ONNXC_EXPR_##OP, a);                                                                 \
  }
#define E_BINARY(name, OP)                                                                                             \
  static inline onnxc_expr e_##name(onnxc_exprs *pool, onnxc_expr a, onnxc_expr b) {                                   \
    return onnxc_expr_binary(pool, ONNXC_EXPR_##OP, a, b);                                                             \
  }
E_UNARY(neg, NEG)
E_UNARY(abs, ABS)
E_UNARY(sqrt, SQRT)
E_UNARY(exp, EXP)
E_UNARY(log, LOG)
E_UNARY(log1p, LOG1P)
E_UNARY(expm1, EXPM1)
E_UNARY(erf, ERF)
E_UNARY(tanh, TANH)
E_UNARY(not, NOT)
E_UNARY(isnan, ISNAN)
E_BINARY(add, ADD)
E_BINARY(sub, SUB)
E_BINARY(mul, MUL)
E_BINARY(div, DIV)
E_BINARY(pow, POW)
E_BINARY(min, MIN)
E_BINARY(max, MAX)
E_BINARY(and, AND)
E_BINARY(or, OR)
E_BINARY(eq, EQ)
E_BINARY(lt, LT)
E_BINARY(le, LE)
E_BINARY(gt, GT)
E_BINARY(ge, GE)
#undef E_UNARY
#undef E_BINARY
#define e_select onnxc_expr_select
#define e_cast   onnxc_expr_cast

/* onnxc_build_map with floats narrower than f32 computed in f32: `scalar` sees f32 for each of them, and an f32 that it
 * returns becomes the dtype of the first operand again. Values that are none give none. */
onnxc_value onnxc_import_map(onnxc_importer *in, uint32_t n, const onnxc_value *values, onnxc_build_scalar_fn scalar,
                             void *arg);
/* Input k, if it is there and its dtype is of a kind in `kinds` (f float, i signed, u unsigned, b bool); else none,
 * with an error. */
onnxc_value onnxc_import_operand(onnxc_importer *in, uint32_t k, const char *kinds);
/* A cast to f32 of what is narrower, and back to `dtype`. */
onnxc_value onnxc_import_widen(onnxc_importer *in, onnxc_value value);
onnxc_value onnxc_import_narrow(onnxc_importer *in, onnxc_value value, onnxc_dtype dtype);
/* The importer's operand as a scalar of rank 0 (it has one element, of whatever rank); none after an error. */
onnxc_value onnxc_import_scalar(onnxc_importer *in, onnxc_value value);

#endif
