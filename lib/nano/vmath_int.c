/* vmath_int.c -- integer division and powers, and the remainder of floats, without traps.
 *
 * x86 traps on a divisor of 0 and on INT_MIN / -1, so such lanes divide by 1 (which also is the wrapped quotient of the
 * latter). It has no vector division; up to 32 bits the quotient by way of floats is exact: the next representable
 * quotient is farther away than the rounding error, since 1/a > 2^-53 (2^-24 for 16 bits).
 */
#include "nano/vmath.h"

#include <math.h>

static uint32_t width_of(LLVMTypeRef type) {
  return LLVMGetIntTypeWidth(LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetElementType(type) : type);
}

static LLVMValueRef quotient(const onnxc_nano *nano, bool is_signed, LLVMValueRef a, LLVMValueRef b) {
  LLVMBuilderRef builder = nano->builder;
  LLVMTypeRef type = LLVMTypeOf(a);
  uint32_t lanes = onnxc_value_lanes(a), bits = width_of(type);
  if (lanes == 0 || bits > 32 || LLVMIsConstant(b))
    return is_signed ? LLVMBuildSDiv(builder, a, b, "") : LLVMBuildUDiv(builder, a, b, "");
  onnxc_vec v = onnxc_vec_of(nano, bits > 16, lanes);
  LLVMTypeRef i32 = onnxc_nano_type(nano, ONNXC_I32, lanes);
  if (bits < 32) {
    a = is_signed ? LLVMBuildSExt(builder, a, i32, "") : LLVMBuildZExt(builder, a, i32, "");
    b = is_signed ? LLVMBuildSExt(builder, b, i32, "") : LLVMBuildZExt(builder, b, i32, "");
  }
  if (is_signed || bits < 32) {
    LLVMValueRef q = v_div(&v, LLVMBuildSIToFP(builder, a, v.f, ""), LLVMBuildSIToFP(builder, b, v.f, ""));
    q = LLVMBuildFPToSI(builder, q, i32, "");
    return bits < 32 ? LLVMBuildTrunc(builder, q, type, "") : q;
  }
  LLVMValueRef q = v_div(&v, LLVMBuildUIToFP(builder, a, v.f, ""), LLVMBuildUIToFP(builder, b, v.f, ""));
  return LLVMBuildFPToUI(builder, q, i32, "");
}

LLVMValueRef onnxc_vmath_divide(const onnxc_nano *nano, onnxc_expr_op op, bool is_signed, LLVMValueRef a,
                                LLVMValueRef b) {
  LLVMBuilderRef builder = nano->builder;
  LLVMTypeRef type = LLVMTypeOf(a);
  LLVMValueRef zero = onnxc_vmath_int(type, 0), one = onnxc_vmath_int(type, 1);
  int64_t number;
  bool harmless = onnxc_vmath_const_int(b, &number) && number != 0 && (number != -1 || !is_signed);
  LLVMValueRef by_zero = NULL, safe = b;
  if (!harmless) {
    by_zero = LLVMBuildICmp(builder, LLVMIntEQ, b, zero, "");
    LLVMValueRef unsafe = by_zero;
    if (is_signed) {
      LLVMValueRef lowest = onnxc_vmath_int(type, (int64_t)((uint64_t)1 << (width_of(type) - 1)));
      LLVMValueRef is_lowest = LLVMBuildICmp(builder, LLVMIntEQ, a, lowest, "");
      LLVMValueRef minus = LLVMBuildICmp(builder, LLVMIntEQ, b, onnxc_vmath_int(type, -1), "");
      unsafe = LLVMBuildOr(builder, unsafe, LLVMBuildAnd(builder, minus, is_lowest, ""), "");
    }
    safe = LLVMBuildSelect(builder, unsafe, one, b, "");
  }
  LLVMValueRef q = quotient(nano, is_signed, a, safe);
  if (op == ONNXC_EXPR_DIV || (op == ONNXC_EXPR_FLOORDIV && !is_signed))
    return by_zero ? LLVMBuildSelect(builder, by_zero, zero, q, "") : q;
  LLVMValueRef r = LLVMBuildSub(builder, a, LLVMBuildMul(builder, q, safe, ""), ""); /* 0 where unsafe */
  if (op == ONNXC_EXPR_REM || !is_signed)
    return r;
  LLVMValueRef differ = LLVMBuildICmp(builder, LLVMIntSLT, LLVMBuildXor(builder, r, b, ""), zero, "");
  LLVMValueRef adjust = LLVMBuildAnd(builder, differ, LLVMBuildICmp(builder, LLVMIntNE, r, zero, ""), "");
  if (op == ONNXC_EXPR_MOD)
    return LLVMBuildAdd(builder, r, LLVMBuildSelect(builder, adjust, b, zero, ""), "");
  q = LLVMBuildSub(builder, q, LLVMBuildZExt(builder, adjust, type, ""), "");
  return by_zero ? LLVMBuildSelect(builder, by_zero, zero, q, "") : q;
}

/* ---- integer powers: squaring, in a loop that ends when every lane's exponent is used up ---- */

static LLVMValueRef ipow_body(const onnxc_nano *nano, const LLVMValueRef *args) {
  LLVMBuilderRef b = nano->builder;
  LLVMTypeRef type = LLVMTypeOf(args[0]);
  LLVMValueRef zero = onnxc_vmath_int(type, 0), one = onnxc_vmath_int(type, 1);
  LLVMBasicBlockRef entry = LLVMGetInsertBlock(b);
  LLVMValueRef function = LLVMGetBasicBlockParent(entry);
  LLVMBasicBlockRef loop = LLVMAppendBasicBlockInContext(nano->context, function, "square");
  LLVMBasicBlockRef done = LLVMAppendBasicBlockInContext(nano->context, function, "done");
  LLVMBuildBr(b, loop);
  LLVMPositionBuilderAtEnd(b, loop);
  LLVMValueRef base = LLVMBuildPhi(b, type, ""), left = LLVMBuildPhi(b, type, ""), product = LLVMBuildPhi(b, type, "");
  LLVMValueRef odd = LLVMBuildICmp(b, LLVMIntNE, LLVMBuildAnd(b, left, one, ""), zero, "");
  LLVMValueRef next = LLVMBuildMul(b, product, LLVMBuildSelect(b, odd, base, one, ""), "");
  LLVMValueRef square = LLVMBuildMul(b, base, base, ""), rest = LLVMBuildLShr(b, left, one, "");
  LLVMBasicBlockRef from[] = {entry, loop};
  LLVMAddIncoming(base, (LLVMValueRef[]){args[0], square}, from, 2);
  LLVMAddIncoming(left, (LLVMValueRef[]){args[1], rest}, from, 2);
  LLVMAddIncoming(product, (LLVMValueRef[]){one, next}, from, 2);
  LLVMBuildCondBr(b, onnxc_vmath_any(nano, LLVMBuildICmp(b, LLVMIntNE, rest, zero, "")), loop, done);
  LLVMPositionBuilderAtEnd(b, done);
  return next;
}

LLVMValueRef onnxc_vmath_ipow(const onnxc_nano *nano, bool is_signed, LLVMValueRef a, LLVMValueRef b) {
  LLVMBuilderRef builder = nano->builder;
  LLVMTypeRef type = LLVMTypeOf(a);
  LLVMValueRef zero = onnxc_vmath_int(type, 0), one = onnxc_vmath_int(type, 1), minus = onnxc_vmath_int(type, -1);
  int64_t number;
  if (onnxc_vmath_const_int(b, &number) && number >= 0 && number <= 3) {
    LLVMValueRef square = LLVMBuildMul(builder, a, a, "");
    return number == 0 ? one : number == 1 ? a : number == 2 ? square : LLVMBuildMul(builder, square, a, "");
  }
  if (!is_signed)
    return onnxc_vmath_call(nano, "ipow", type, ipow_body, (LLVMValueRef[]){a, b}, 2);
  /* A negative exponent: the truncated reciprocal is (+-1)^b, else 0. */
  LLVMValueRef below = LLVMBuildICmp(builder, LLVMIntSLT, b, zero, "");
  LLVMValueRef power = onnxc_vmath_call(nano, "ipow", type, ipow_body,
                                        (LLVMValueRef[]){a, LLVMBuildSelect(builder, below, zero, b, "")}, 2);
  LLVMValueRef odd = LLVMBuildICmp(builder, LLVMIntNE, LLVMBuildAnd(builder, b, one, ""), zero, "");
  LLVMValueRef of_minus = LLVMBuildSelect(builder, odd, minus, one, "");
  LLVMValueRef inverse = LLVMBuildSelect(builder, LLVMBuildICmp(builder, LLVMIntEQ, a, minus, ""), of_minus, zero, "");
  inverse = LLVMBuildSelect(builder, LLVMBuildICmp(builder, LLVMIntEQ, a, one, ""), one, inverse, "");
  return LLVMBuildSelect(builder, below, inverse, power, "");
}

/* ---- the remainder of floats ---- */

/* The biased exponent of a positive x, as if it were normalized (so it may be negative). */
static LLVMValueRef exponent_of(const onnxc_vec *v, LLVMValueRef x) {
  int mantissa = v->wide ? 52 : 23;
  LLVMValueRef tiny = v_cmp(v, LLVMRealOLT, x, v_real(v, v->wide ? 0x1p-1022 : 0x1p-126));
  LLVMValueRef scaled = v_select(v, tiny, v_mul(v, x, v_real(v, v->wide ? 0x1p54 : 0x1p25)), x);
  return v_isub(v, v_srl(v, v_bits(v, scaled), mantissa), v_select(v, tiny, v_int(v, v->wide ? 54 : 25), v_int(v, 0)));
}

/* x 2^k for 0 <= k < 2 bias, in two steps; exact as long as the result is finite. */
static LLVMValueRef scale_up(const onnxc_vec *v, LLVMValueRef x, LLVMValueRef k) {
  int mantissa = v->wide ? 52 : 23, bias = v->wide ? 1023 : 127;
  LLVMValueRef first = v_srl(v, k, 1), second = v_isub(v, k, first);
  x = v_mul(v, x, v_float(v, v_shl(v, v_iadd(v, first, v_int(v, bias)), mantissa)));
  return v_mul(v, x, v_float(v, v_shl(v, v_iadd(v, second, v_int(v, bias)), mantissa)));
}

/* Long division by digits of 22 (51) bits: while r >= d, take from r the multiple q D of D = d 2^k, where k makes q fit
 * the mantissa. r - q D is one FMA and exact: a multiple of D's last place, smaller than D. A q that rounded up to the
 * next whole number is repaired by adding D. */
static LLVMValueRef fmod_body(const onnxc_nano *nano, const LLVMValueRef *args) {
  uint32_t lanes = onnxc_value_lanes(args[0]);
  LLVMTypeRef element = lanes ? LLVMGetElementType(LLVMTypeOf(args[0])) : LLVMTypeOf(args[0]);
  onnxc_vec shape = onnxc_vec_of(nano, LLVMGetTypeKind(element) == LLVMDoubleTypeKind, lanes);
  const onnxc_vec *v = &shape;
  int digit = v->wide ? 51 : 22;
  LLVMValueRef x = args[0], y = args[1], zero = v_real(v, 0), infinite = v_real(v, INFINITY);
  LLVMValueRef r0 = v_abs(v, x), d = v_abs(v, y);
  LLVMValueRef proper = v_and(v, v_cmp(v, LLVMRealOLT, r0, infinite), v_cmp(v, LLVMRealOGT, d, zero));
  d = v_select(v, proper, d, infinite); /* lanes without a result leave the loop at once */
  r0 = v_select(v, proper, r0, zero);
  LLVMValueRef exponent = exponent_of(v, d);
  LLVMBasicBlockRef entry = LLVMGetInsertBlock(v->b);
  LLVMValueRef function = LLVMGetBasicBlockParent(entry);
  LLVMBasicBlockRef head = LLVMAppendBasicBlockInContext(nano->context, function, "head");
  LLVMBasicBlockRef loop = LLVMAppendBasicBlockInContext(nano->context, function, "digit");
  LLVMBasicBlockRef done = LLVMAppendBasicBlockInContext(nano->context, function, "done");
  LLVMBuildBr(v->b, head);
  LLVMPositionBuilderAtEnd(v->b, head);
  LLVMValueRef r = LLVMBuildPhi(v->b, v->f, "");
  LLVMValueRef active = v_cmp(v, LLVMRealOGE, r, d);
  LLVMBuildCondBr(v->b, onnxc_vmath_any(nano, active), loop, done);

  LLVMPositionBuilderAtEnd(v->b, loop);
  LLVMValueRef k = v_isub(v, v_isub(v, v_srl(v, v_bits(v, r), v->wide ? 52 : 23), exponent), v_int(v, digit));
  LLVMValueRef usable = v_and(v, active, v_icmp(v, LLVMIntSGT, k, v_int(v, 0)));
  LLVMValueRef step = scale_up(v, d, v_select(v, usable, k, v_int(v, 0)));
  LLVMValueRef q = v_unary(v, "llvm.trunc", v_div(v, r, step));
  LLVMValueRef left = v_fma(v, v_neg(v, q), step, r);
  left = v_select(v, v_cmp(v, LLVMRealOLT, left, zero), v_add(v, left, step), left);
  LLVMValueRef next = v_select(v, active, left, r);
  LLVMBuildBr(v->b, head);
  LLVMAddIncoming(r, (LLVMValueRef[]){r0, next}, (LLVMBasicBlockRef[]){entry, loop}, 2);

  LLVMPositionBuilderAtEnd(v->b, done);
  LLVMValueRef result = v_with_sign(v, r, x);
  LLVMValueRef defined = v_and(v, proper, v_cmp(v, LLVMRealORD, y, y));
  return v_select(v, defined, result, v_real(v, NAN));
}

LLVMValueRef onnxc_vmath_fmod(const onnxc_vec *v, LLVMValueRef x, LLVMValueRef y) {
  return onnxc_vmath_call(v->nano, "fmod", v->f, fmod_body, (LLVMValueRef[]){x, y}, 2);
}
