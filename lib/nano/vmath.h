/* vmath.h -- what the files of vector arithmetic share: short builders over one float type, and the functions.
 *
 * An onnxc_vec names a shape: f32 or f64, scalar or any lane count, with the integer type of the same width beside
 * it. The v_ functions emit one instruction each on values of that shape. Functions with a loop or a rare slow path
 * become internal functions of the module (onnxc_vmath_call), so that the caller's block stays one block.
 */
#ifndef ONNXC_NANO_VMATH_H
#define ONNXC_NANO_VMATH_H

#include "nano/vexpr.h"

typedef struct onnxc_vec {
  const onnxc_nano *nano;
  LLVMBuilderRef b;
  uint32_t lanes; /* 0 = scalar */
  bool wide;      /* f64 and i64, else f32 and i32 */
  LLVMTypeRef f, i;
} onnxc_vec;

onnxc_vec onnxc_vec_of(const onnxc_nano *nano, bool wide, uint32_t lanes);
uint32_t onnxc_value_lanes(LLVMValueRef value); /* 0 = scalar */

/* A call of an overloaded intrinsic ("llvm.fma") on the types of `types`. */
LLVMValueRef onnxc_vmath_intrinsic(const onnxc_nano *nano, const char *name, LLVMTypeRef *types, uint32_t num_types,
                                   LLVMValueRef *args, uint32_t num_args);
/* Splat constants of any integer or float type. */
LLVMValueRef onnxc_vmath_int(LLVMTypeRef type, int64_t value);
LLVMValueRef onnxc_vmath_real(LLVMTypeRef type, double value);
LLVMTypeRef onnxc_vmath_vector(LLVMTypeRef scalar, uint32_t lanes);
/* True if value is a constant whose lanes are all the same number. */
bool onnxc_vmath_const_real(LLVMValueRef value, double *number);
bool onnxc_vmath_const_int(LLVMValueRef value, int64_t *number);

/* Calls the internal function NAME.TYPE of the module, made by `body` when it is not there yet; `body` gets a builder
 * of its own and returns what the function returns, of type `result`. */
typedef LLVMValueRef (*onnxc_vmath_body)(const onnxc_nano *nano, const LLVMValueRef *args);
LLVMValueRef onnxc_vmath_call(const onnxc_nano *nano, const char *name, LLVMTypeRef result, onnxc_vmath_body body,
                              const LLVMValueRef *args, uint32_t num_args);
/* Any lane of an i1 (vector) set, as i1. */
LLVMValueRef onnxc_vmath_any(const onnxc_nano *nano, LLVMValueRef condition);

/* ---- the functions; see each file for method and error ---- */

LLVMValueRef onnxc_vmath_exp(const onnxc_vec *v, LLVMValueRef x);
LLVMValueRef onnxc_vmath_expm1(const onnxc_vec *v, LLVMValueRef x);
LLVMValueRef onnxc_vmath_tanh(const onnxc_vec *v, LLVMValueRef x);
LLVMValueRef onnxc_vmath_erf(const onnxc_vec *v, LLVMValueRef x);
LLVMValueRef onnxc_vmath_log(const onnxc_vec *v, LLVMValueRef x);
LLVMValueRef onnxc_vmath_log1p(const onnxc_vec *v, LLVMValueRef x);
LLVMValueRef onnxc_vmath_sin(const onnxc_vec *v, LLVMValueRef x);
LLVMValueRef onnxc_vmath_cos(const onnxc_vec *v, LLVMValueRef x);
LLVMValueRef onnxc_vmath_pow(const onnxc_vec *v, LLVMValueRef x, LLVMValueRef y);
LLVMValueRef onnxc_vmath_fmod(const onnxc_vec *v, LLVMValueRef x, LLVMValueRef y);

/* e^r for |r| <= ln2 / 2. */
LLVMValueRef onnxc_vmath_exp_small(const onnxc_vec *v, LLVMValueRef r);
/* p * 2^n with one rounding, for `shifted` = n + 1.5 * 2^mantissa bits (the addition that makes n whole), |n| below
 * twice the exponent's bias. */
LLVMValueRef onnxc_vmath_scale(const onnxc_vec *v, LLVMValueRef p, LLVMValueRef shifted);
/* x = m * 2^e with m in [0.75, 1.5) and e in float form, for x > 0. Where the target has instructions for it, 0 and
 * infinity give m = 1 and e = -+infinity and NaN and negative numbers NaN; then *specials is true. */
void onnxc_vmath_split(const onnxc_vec *v, LLVMValueRef x, LLVMValueRef *m, LLVMValueRef *e, bool *specials);

/* Integers: DIV, FLOORDIV, MOD, REM and POW on iN values or vectors. */
LLVMValueRef onnxc_vmath_divide(const onnxc_nano *nano, onnxc_expr_op op, bool is_signed, LLVMValueRef a,
                                LLVMValueRef b);
LLVMValueRef onnxc_vmath_ipow(const onnxc_nano *nano, bool is_signed, LLVMValueRef a, LLVMValueRef b);

/* ---- one instruction each ---- */

static inline LLVMValueRef v_real(const onnxc_vec *v, double x) { return onnxc_vmath_real(v->f, x); }
static inline LLVMValueRef v_int(const onnxc_vec *v, int64_t x) { return onnxc_vmath_int(v->i, x); }
static inline LLVMValueRef v_add(const onnxc_vec *v, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildFAdd(v->b, a, b, "");
}
static inline LLVMValueRef v_sub(const onnxc_vec *v, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildFSub(v->b, a, b, "");
}
static inline LLVMValueRef v_mul(const onnxc_vec *v, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildFMul(v->b, a, b, "");
}
static inline LLVMValueRef v_div(const onnxc_vec *v, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildFDiv(v->b, a, b, "");
}
static inline LLVMValueRef v_neg(const onnxc_vec *v, LLVMValueRef a) { return LLVMBuildFNeg(v->b, a, ""); }
static inline LLVMValueRef v_fma(const onnxc_vec *v, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c) {
  return onnxc_vmath_intrinsic(v->nano, "llvm.fma", (LLVMTypeRef[]){v->f}, 1, (LLVMValueRef[]){a, b, c}, 3);
}
static inline LLVMValueRef v_unary(const onnxc_vec *v, const char *intrinsic, LLVMValueRef a) {
  return onnxc_vmath_intrinsic(v->nano, intrinsic, (LLVMTypeRef[]){v->f}, 1, &a, 1);
}
static inline LLVMValueRef v_abs(const onnxc_vec *v, LLVMValueRef a) { return v_unary(v, "llvm.fabs", a); }
/* The bits of a float as an integer and back. */
static inline LLVMValueRef v_bits(const onnxc_vec *v, LLVMValueRef a) { return LLVMBuildBitCast(v->b, a, v->i, ""); }
static inline LLVMValueRef v_float(const onnxc_vec *v, LLVMValueRef a) { return LLVMBuildBitCast(v->b, a, v->f, ""); }
static inline LLVMValueRef v_iadd(const onnxc_vec *v, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildAdd(v->b, a, b, "");
}
static inline LLVMValueRef v_isub(const onnxc_vec *v, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildSub(v->b, a, b, "");
}
static inline LLVMValueRef v_and(const onnxc_vec *v, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildAnd(v->b, a, b, "");
}
static inline LLVMValueRef v_or(const onnxc_vec *v, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildOr(v->b, a, b, "");
}
static inline LLVMValueRef v_shl(const onnxc_vec *v, LLVMValueRef a, int64_t by) {
  return LLVMBuildShl(v->b, a, onnxc_vmath_int(LLVMTypeOf(a), by), "");
}
static inline LLVMValueRef v_sra(const onnxc_vec *v, LLVMValueRef a, int64_t by) {
  return LLVMBuildAShr(v->b, a, onnxc_vmath_int(LLVMTypeOf(a), by), "");
}
static inline LLVMValueRef v_srl(const onnxc_vec *v, LLVMValueRef a, int64_t by) {
  return LLVMBuildLShr(v->b, a, onnxc_vmath_int(LLVMTypeOf(a), by), "");
}
static inline LLVMValueRef v_cmp(const onnxc_vec *v, LLVMRealPredicate p, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildFCmp(v->b, p, a, b, "");
}
static inline LLVMValueRef v_icmp(const onnxc_vec *v, LLVMIntPredicate p, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildICmp(v->b, p, a, b, "");
}
static inline LLVMValueRef v_select(const onnxc_vec *v, LLVMValueRef c, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildSelect(v->b, c, a, b, "");
}
/* bound < x ? bound : x, one instruction on x86; NaN stays NaN. */
static inline LLVMValueRef v_at_most(const onnxc_vec *v, LLVMValueRef x, double bound) {
  LLVMValueRef c = v_real(v, bound);
  return v_select(v, v_cmp(v, LLVMRealOLT, c, x), c, x);
}
static inline LLVMValueRef v_at_least(const onnxc_vec *v, LLVMValueRef x, double bound) {
  LLVMValueRef c = v_real(v, bound);
  return v_select(v, v_cmp(v, LLVMRealOGT, c, x), c, x);
}
/* c[0] + c[1] x + ..., by Horner's rule. */
static inline LLVMValueRef v_poly(const onnxc_vec *v, LLVMValueRef x, const double *c, int n) {
  LLVMValueRef p = v_real(v, c[n - 1]);
  for (int k = n - 2; k >= 0; k--)
    p = v_fma(v, p, x, v_real(v, c[k]));
  return p;
}
/* The same in half the latency for one more instruction: blocks of four terms by pairs, Horner's rule in x^4 over them.
 */
LLVMValueRef onnxc_vmath_poly4(const onnxc_vec *v, LLVMValueRef x, LLVMValueRef square, const double *c, int n);
/* magnitude with the sign bit of sign or'ed in: for functions of the sign of their argument. */
static inline LLVMValueRef v_with_sign(const onnxc_vec *v, LLVMValueRef magnitude, LLVMValueRef sign) {
  LLVMValueRef bit = v_and(v, v_bits(v, sign), v_int(v, v->wide ? INT64_MIN : INT32_MIN));
  return v_float(v, v_or(v, v_bits(v, magnitude), bit));
}

#endif
