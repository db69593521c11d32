/* vexpr.c -- the operations of expr.def on LLVM values; see vexpr.h.
 *
 * One function a kind of type: floats (f32 and f64 as they are, f16 and bf16 through f32), integers, bool. What takes
 * more than a few instructions lives in vmath*.c.
 */
#include "nano/vmath.h"

/* ---- floats ---- */

/* Either NaN gives NaN. Without an order of -0 and 0, x86 needs one instruction (a < b ? a : b, which gives b when
 * either is NaN) and two to repair a NaN in a, none if a is known to be a number. */
static LLVMValueRef float_extreme(const onnxc_vec *v, const char *intrinsic, LLVMValueRef a, LLVMValueRef b) {
  LLVMValueRef args[] = {a, b};
  LLVMValueRef chosen = onnxc_vmath_intrinsic(v->nano, intrinsic, (LLVMTypeRef[]){v->f}, 1, args, 2);
  LLVMSetFastMathFlags(chosen, LLVMFastMathNoSignedZeros);
  return chosen;
}

static LLVMValueRef float_sign(const onnxc_vec *v, LLVMValueRef x) {
  LLVMValueRef one = v_with_sign(v, v_real(v, 1), x);
  LLVMValueRef has_sign = v_cmp(v, LLVMRealONE, x, v_real(v, 0));
  return v_select(v, has_sign, one, x);
}

/* fmod, then into the divisor's sign. */
static LLVMValueRef float_mod(const onnxc_vec *v, LLVMValueRef a, LLVMValueRef b) {
  LLVMValueRef r = onnxc_vmath_fmod(v, a, b), zero = v_real(v, 0);
  LLVMValueRef differ = LLVMBuildXor(v->b, v_cmp(v, LLVMRealOLT, r, zero), v_cmp(v, LLVMRealOLT, b, zero), "");
  LLVMValueRef adjust = v_and(v, v_cmp(v, LLVMRealUNE, r, zero), differ);
  return v_select(v, adjust, v_add(v, r, b), r);
}

/* Exponents that models write as constants; each within 2 ULP, specials as C's pow. */
static LLVMValueRef float_pow(const onnxc_vec *v, LLVMValueRef x, LLVMValueRef y) {
  double e;
  if (!onnxc_vmath_const_real(y, &e))
    return onnxc_vmath_pow(v, x, y);
  if (e == 0)
    return v_real(v, 1);
  if (e == 1)
    return x;
  if (e == 2 || e == 3 || e == 4) {
    LLVMValueRef square = v_mul(v, x, x);
    return e == 2 ? square : v_mul(v, square, e == 3 ? x : square);
  }
  if (e == -1)
    return v_div(v, v_real(v, 1), x);
  if (e == 0.5 || e == -0.5 || e == 0.75) { /* pow takes -0 as 0 and -infinity as infinity */
    LLVMValueRef infinite = v_real(v, __builtin_inf());
    LLVMValueRef from = v_select(v, v_cmp(v, LLVMRealOEQ, x, v_neg(v, infinite)), infinite, v_add(v, x, v_real(v, 0)));
    LLVMValueRef root = v_unary(v, "llvm.sqrt", from);
    if (e == 0.75) /* local response normalisation */
      return v_mul(v, root, v_unary(v, "llvm.sqrt", root));
    return e < 0 ? v_div(v, v_real(v, 1), root) : root;
  }
  return onnxc_vmath_pow(v, x, y);
}

static LLVMValueRef float_op(const onnxc_vec *v, onnxc_expr_op op, const LLVMValueRef *args) {
  LLVMValueRef a = args[0], b = onnxc_expr_op_arity(op) == 2 ? args[1] : NULL;
  switch (op) {
  case ONNXC_EXPR_NEG: return v_neg(v, a);
  case ONNXC_EXPR_ABS: return v_abs(v, a);
  case ONNXC_EXPR_SIGN: return float_sign(v, a);
  case ONNXC_EXPR_SQRT: return v_unary(v, "llvm.sqrt", a);
  case ONNXC_EXPR_EXP: return onnxc_vmath_exp(v, a);
  case ONNXC_EXPR_LOG: return onnxc_vmath_log(v, a);
  case ONNXC_EXPR_LOG1P: return onnxc_vmath_log1p(v, a);
  case ONNXC_EXPR_EXPM1: return onnxc_vmath_expm1(v, a);
  case ONNXC_EXPR_ERF: return onnxc_vmath_erf(v, a);
  case ONNXC_EXPR_TANH: return onnxc_vmath_tanh(v, a);
  case ONNXC_EXPR_SIN: return onnxc_vmath_sin(v, a);
  case ONNXC_EXPR_COS: return onnxc_vmath_cos(v, a);
  case ONNXC_EXPR_FLOOR: return v_unary(v, "llvm.floor", a);
  case ONNXC_EXPR_CEIL: return v_unary(v, "llvm.ceil", a);
  case ONNXC_EXPR_ROUND: return v_unary(v, "llvm.roundeven", a);
  case ONNXC_EXPR_TRUNC: return v_unary(v, "llvm.trunc", a);
  case ONNXC_EXPR_ISNAN: return v_cmp(v, LLVMRealUNO, a, a);
  case ONNXC_EXPR_ADD: return v_add(v, a, b);
  case ONNXC_EXPR_SUB: return v_sub(v, a, b);
  case ONNXC_EXPR_MUL: return v_mul(v, a, b);
  case ONNXC_EXPR_DIV: return v_div(v, a, b);
  case ONNXC_EXPR_FLOORDIV: return v_unary(v, "llvm.floor", v_div(v, a, b));
  case ONNXC_EXPR_MOD: return float_mod(v, a, b);
  case ONNXC_EXPR_REM: return onnxc_vmath_fmod(v, a, b);
  case ONNXC_EXPR_POW: return float_pow(v, a, b);
  case ONNXC_EXPR_MIN: return float_extreme(v, "llvm.minimum", a, b);
  case ONNXC_EXPR_MAX: return float_extreme(v, "llvm.maximum", a, b);
  case ONNXC_EXPR_EQ: return v_cmp(v, LLVMRealOEQ, a, b);
  case ONNXC_EXPR_NE: return v_cmp(v, LLVMRealUNE, a, b);
  case ONNXC_EXPR_LT: return v_cmp(v, LLVMRealOLT, a, b);
  case ONNXC_EXPR_LE: return v_cmp(v, LLVMRealOLE, a, b);
  case ONNXC_EXPR_GT: return v_cmp(v, LLVMRealOGT, a, b);
  case ONNXC_EXPR_GE: return v_cmp(v, LLVMRealOGE, a, b);
  default: return a; /* NOT and the bitwise operations are not defined on floats */
  }
}

/* f16 and bf16: computed in f32 and rounded. Even the sign is changed there: LLVM would make an xor of the bits a
 * bf16 fneg again, and call a library function for that. */
static LLVMValueRef narrow_op(const onnxc_nano *nano, onnxc_expr_op op, onnxc_dtype dtype, const LLVMValueRef *args) {
  uint32_t lanes = onnxc_value_lanes(args[0]);
  LLVMValueRef wide[2] = {onnxc_nano_cast(nano, ONNXC_F32, dtype, args[0]), NULL};
  if (onnxc_expr_op_arity(op) == 2)
    wide[1] = onnxc_nano_cast(nano, ONNXC_F32, dtype, args[1]);
  onnxc_vec v = onnxc_vec_of(nano, false, lanes);
  LLVMValueRef result = float_op(&v, op, wide);
  bool is_bool = op == ONNXC_EXPR_ISNAN || (op >= ONNXC_EXPR_EQ && op <= ONNXC_EXPR_GE);
  return is_bool ? result : onnxc_nano_cast(nano, dtype, ONNXC_F32, result);
}

/* ---- integers ---- */

/* Shift counts are unsigned; from the bit width on nothing (or only the sign) is left. */
static LLVMValueRef int_shift(const onnxc_nano *nano, onnxc_expr_op op, bool is_signed, LLVMValueRef a,
                              LLVMValueRef by) {
  LLVMBuilderRef b = nano->builder;
  LLVMTypeRef type = LLVMTypeOf(a);
  LLVMTypeRef element = LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetElementType(type) : type;
  int64_t bits = LLVMGetIntTypeWidth(element);
  LLVMValueRef last = onnxc_vmath_int(type, bits - 1);
  LLVMValueRef inside = LLVMBuildICmp(b, LLVMIntULE, by, last, "");
  LLVMValueRef count = LLVMBuildSelect(b, inside, by, last, "");
  if (op == ONNXC_EXPR_SHR && is_signed)
    return LLVMBuildAShr(b, a, count, "");
  LLVMValueRef shifted = op == ONNXC_EXPR_SHL ? LLVMBuildShl(b, a, count, "") : LLVMBuildLShr(b, a, count, "");
  return LLVMBuildSelect(b, inside, shifted, onnxc_vmath_int(type, 0), "");
}

/* The whole part of the square root, 0 below 0; beyond 2^52 that of the nearest f64. */
static LLVMValueRef int_sqrt(const onnxc_nano *nano, onnxc_dtype dtype, LLVMValueRef a) {
  onnxc_vec v = onnxc_vec_of(nano, true, onnxc_value_lanes(a));
  LLVMValueRef x = v_at_least(&v, onnxc_nano_cast(nano, ONNXC_F64, dtype, a), 0);
  return onnxc_nano_cast(nano, dtype, ONNXC_F64, v_unary(&v, "llvm.sqrt", x));
}

static LLVMValueRef int_op(const onnxc_nano *nano, onnxc_expr_op op, onnxc_dtype dtype, const LLVMValueRef *args) {
  LLVMBuilderRef builder = nano->builder;
  LLVMValueRef a = args[0], b = onnxc_expr_op_arity(op) == 2 ? args[1] : NULL;
  LLVMTypeRef type = LLVMTypeOf(a);
  bool is_signed = onnxc_dtype_is_signed(dtype);
  LLVMValueRef zero = onnxc_vmath_int(type, 0);
  switch (op) {
  case ONNXC_EXPR_NEG: return LLVMBuildNeg(builder, a, "");
  case ONNXC_EXPR_ABS:
    if (!is_signed)
      return a;
    return LLVMBuildSelect(builder, LLVMBuildICmp(builder, LLVMIntSLT, a, zero, ""), LLVMBuildNeg(builder, a, ""), a,
                           "");
  case ONNXC_EXPR_SIGN: {
    LLVMValueRef positive = LLVMBuildICmp(builder, LLVMIntNE, a, zero, "");
    LLVMValueRef sign = LLVMBuildZExt(builder, positive, type, "");
    if (!is_signed)
      return sign;
    return LLVMBuildSelect(builder, LLVMBuildICmp(builder, LLVMIntSLT, a, zero, ""), onnxc_vmath_int(type, -1), sign,
                           "");
  }
  case ONNXC_EXPR_SQRT: return int_sqrt(nano, dtype, a);
  case ONNXC_EXPR_NOT: return LLVMBuildNot(builder, a, "");
  case ONNXC_EXPR_ISNAN: return onnxc_vmath_int(onnxc_nano_type(nano, ONNXC_BOOL, onnxc_value_lanes(a)), 0);
  case ONNXC_EXPR_ADD: return LLVMBuildAdd(builder, a, b, "");
  case ONNXC_EXPR_SUB: return LLVMBuildSub(builder, a, b, "");
  case ONNXC_EXPR_MUL: return LLVMBuildMul(builder, a, b, "");
  case ONNXC_EXPR_DIV:
  case ONNXC_EXPR_FLOORDIV:
  case ONNXC_EXPR_MOD:
  case ONNXC_EXPR_REM: return onnxc_vmath_divide(nano, op, is_signed, a, b);
  case ONNXC_EXPR_POW: return onnxc_vmath_ipow(nano, is_signed, a, b);
  case ONNXC_EXPR_MIN:
    return LLVMBuildSelect(builder, LLVMBuildICmp(builder, is_signed ? LLVMIntSLT : LLVMIntULT, b, a, ""), b, a, "");
  case ONNXC_EXPR_MAX:
    return LLVMBuildSelect(builder, LLVMBuildICmp(builder, is_signed ? LLVMIntSGT : LLVMIntUGT, b, a, ""), b, a, "");
  case ONNXC_EXPR_AND: return LLVMBuildAnd(builder, a, b, "");
  case ONNXC_EXPR_OR: return LLVMBuildOr(builder, a, b, "");
  case ONNXC_EXPR_XOR: return LLVMBuildXor(builder, a, b, "");
  case ONNXC_EXPR_SHL:
  case ONNXC_EXPR_SHR: return int_shift(nano, op, is_signed, a, b);
  case ONNXC_EXPR_EQ: return LLVMBuildICmp(builder, LLVMIntEQ, a, b, "");
  case ONNXC_EXPR_NE: return LLVMBuildICmp(builder, LLVMIntNE, a, b, "");
  case ONNXC_EXPR_LT: return LLVMBuildICmp(builder, is_signed ? LLVMIntSLT : LLVMIntULT, a, b, "");
  case ONNXC_EXPR_LE: return LLVMBuildICmp(builder, is_signed ? LLVMIntSLE : LLVMIntULE, a, b, "");
  case ONNXC_EXPR_GT: return LLVMBuildICmp(builder, is_signed ? LLVMIntSGT : LLVMIntUGT, a, b, "");
  case ONNXC_EXPR_GE: return LLVMBuildICmp(builder, is_signed ? LLVMIntSGE : LLVMIntUGE, a, b, "");
  default: return a; /* FLOOR, CEIL, ROUND, TRUNC change no integer */
  }
}

/* ---- bool: the integers 0 and 1, and what is not 0 becomes 1 ---- */

static LLVMValueRef bool_op(const onnxc_nano *nano, onnxc_expr_op op, const LLVMValueRef *args) {
  LLVMBuilderRef builder = nano->builder;
  LLVMValueRef a = args[0], b = onnxc_expr_op_arity(op) == 2 ? args[1] : NULL;
  switch (op) {
  case ONNXC_EXPR_NOT: return LLVMBuildNot(builder, a, "");
  case ONNXC_EXPR_ISNAN: return onnxc_vmath_int(LLVMTypeOf(a), 0);
  case ONNXC_EXPR_ADD:
  case ONNXC_EXPR_MAX:
  case ONNXC_EXPR_OR: return LLVMBuildOr(builder, a, b, "");
  case ONNXC_EXPR_MUL:
  case ONNXC_EXPR_MIN:
  case ONNXC_EXPR_DIV:
  case ONNXC_EXPR_FLOORDIV:
  case ONNXC_EXPR_AND: return LLVMBuildAnd(builder, a, b, "");
  case ONNXC_EXPR_MOD:
  case ONNXC_EXPR_REM: return onnxc_vmath_int(LLVMTypeOf(a), 0);
  case ONNXC_EXPR_POW: return LLVMBuildOr(builder, a, LLVMBuildNot(builder, b, ""), "");
  case ONNXC_EXPR_SHR: return LLVMBuildAnd(builder, a, LLVMBuildNot(builder, b, ""), "");
  case ONNXC_EXPR_SUB:
  case ONNXC_EXPR_XOR:
  case ONNXC_EXPR_NE: return LLVMBuildXor(builder, a, b, "");
  case ONNXC_EXPR_EQ: return LLVMBuildNot(builder, LLVMBuildXor(builder, a, b, ""), "");
  case ONNXC_EXPR_LT: return LLVMBuildAnd(builder, LLVMBuildNot(builder, a, ""), b, "");
  case ONNXC_EXPR_LE: return LLVMBuildOr(builder, LLVMBuildNot(builder, a, ""), b, "");
  case ONNXC_EXPR_GT: return LLVMBuildAnd(builder, a, LLVMBuildNot(builder, b, ""), "");
  case ONNXC_EXPR_GE: return LLVMBuildOr(builder, a, LLVMBuildNot(builder, b, ""), "");
  default: return a; /* SHL too: in eight bits a one that moves up is still not 0 */
  }
}

/* ---- the dispatch ---- */

/* Two-byte floats are selected as integers: not every target has a blend for them. */
static LLVMValueRef select_op(const onnxc_nano *nano, onnxc_dtype dtype, const LLVMValueRef *args) {
  LLVMBuilderRef b = nano->builder;
  if (dtype != ONNXC_F16 && dtype != ONNXC_BF16)
    return LLVMBuildSelect(b, args[0], args[1], args[2], "");
  LLVMTypeRef type = LLVMTypeOf(args[1]), bits = onnxc_nano_type(nano, ONNXC_U16, onnxc_value_lanes(args[1]));
  LLVMValueRef chosen =
      LLVMBuildSelect(b, args[0], LLVMBuildBitCast(b, args[1], bits, ""), LLVMBuildBitCast(b, args[2], bits, ""), "");
  return LLVMBuildBitCast(b, chosen, type, "");
}

LLVMValueRef onnxc_nano_op(const onnxc_nano *nano, onnxc_expr_op op, onnxc_dtype dtype, const LLVMValueRef *args) {
  if (op == ONNXC_EXPR_SELECT)
    return select_op(nano, dtype, args);
  if (dtype == ONNXC_BOOL)
    return bool_op(nano, op, args);
  if (!onnxc_dtype_is_float(dtype))
    return int_op(nano, op, dtype, args);
  if (dtype == ONNXC_F16 || dtype == ONNXC_BF16)
    return narrow_op(nano, op, dtype, args);
  onnxc_vec v = onnxc_vec_of(nano, dtype == ONNXC_F64, onnxc_value_lanes(args[0]));
  return float_op(&v, op, args);
}

LLVMValueRef onnxc_nano_fma(const onnxc_nano *nano, onnxc_dtype dtype, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c) {
  if (!onnxc_dtype_is_float(dtype)) {
    LLVMValueRef product = onnxc_nano_op(nano, ONNXC_EXPR_MUL, dtype, (LLVMValueRef[]){a, b});
    return onnxc_nano_op(nano, ONNXC_EXPR_ADD, dtype, (LLVMValueRef[]){product, c});
  }
  onnxc_dtype in = dtype == ONNXC_F64 ? ONNXC_F64 : ONNXC_F32;
  onnxc_vec v = onnxc_vec_of(nano, in == ONNXC_F64, onnxc_value_lanes(a));
  LLVMValueRef sum = v_fma(&v, onnxc_nano_cast(nano, in, dtype, a), onnxc_nano_cast(nano, in, dtype, b),
                           onnxc_nano_cast(nano, in, dtype, c));
  return onnxc_nano_cast(nano, dtype, in, sum);
}
