/* vmath_log.c -- log and log1p.
 *
 * x = m 2^e with m in [3/4, 3/2), f = m - 1, log x = e ln2 + log(1 + f). For f32 log(1 + f) = f - f^2/2 + f^3 P(f), a
 * polynomial of 9 terms; for f64 s = f / (2 + f) and log(1 + f) = f - (f^2/2 - s (f^2/2 + s^2 P(s^2))), the series of
 * the inverse hyperbolic tangent, made minimax. Near x = 1 e is 0, so no digits cancel. The interval is that of
 * AVX-512's vgetmant, so every target computes the same bits.
 */
#include "nano/vmath.h"

#include <math.h>

static const double p32[] = {0x1.555558p-2,  -0x1.00007p-2, 0x1.9998acp-3,  -0x1.551a92p-3, 0x1.244456p-3,
                             -0x1.0473a8p-3, 0x1.e0e38ap-4, -0x1.7b8e3cp-4, 0x1.3fda66p-5};
static const double p64[] = {0x1.555555555554fp-1, 0x1.999999999c175p-2, 0x1.24924921e4c28p-2, 0x1.c71c748f334a2p-3,
                             0x1.745c4b02c24cap-3, 0x1.3b35bb34883f5p-3, 0x1.0dcbfb3e1607p-3,  0x1.1b7ebd353c348p-3};

/* A small whole number; 64-bit ones by the bits of 1.5 2^52, as AVX2 has no conversion for them. */
static LLVMValueRef to_float(const onnxc_vec *v, LLVMValueRef n) {
  if (!v->wide)
    return LLVMBuildSIToFP(v->b, n, v->f, "");
  LLVMValueRef magic = v_real(v, 0x1.8p52);
  return v_sub(v, v_float(v, v_iadd(v, n, v_bits(v, magic))), magic);
}

/* One whole AVX-512 register. */
static bool is_512(const onnxc_vec *v) {
  return (v->nano->target->features & ONNXC_FEATURE_AVX512) && v->lanes == (v->wide ? 8 : 16);
}

/* vgetexp and vgetmant: floor(log2 x) of subnormals too, m in [3/4, 3/2) with the sign dropped, NaN below zero; where
 * m < 1 the exponent that belongs to it is one more. */
static void split_512(const onnxc_vec *v, LLVMValueRef x, LLVMValueRef *m, LLVMValueRef *e) {
  LLVMContextRef c = v->nano->context;
  LLVMTypeRef i32 = LLVMInt32TypeInContext(c);
  LLVMValueRef mask = LLVMConstAllOnes(LLVMIntTypeInContext(c, v->wide ? 8 : 16)), none = LLVMConstNull(v->f);
  LLVMValueRef current = LLVMConstInt(i32, 4, false), kind = LLVMConstInt(i32, 3 | 3 << 2, false);
  const char *exponent = v->wide ? "llvm.x86.avx512.mask.getexp.pd.512" : "llvm.x86.avx512.mask.getexp.ps.512";
  const char *mantissa = v->wide ? "llvm.x86.avx512.mask.getmant.pd.512" : "llvm.x86.avx512.mask.getmant.ps.512";
  *m = onnxc_vmath_intrinsic(v->nano, mantissa, NULL, 0, (LLVMValueRef[]){x, kind, none, mask, current}, 5);
  LLVMValueRef of_x = onnxc_vmath_intrinsic(v->nano, exponent, NULL, 0, (LLVMValueRef[]){x, none, mask, current}, 4);
  LLVMValueRef of_m = onnxc_vmath_intrinsic(v->nano, exponent, NULL, 0, (LLVMValueRef[]){*m, none, mask, current}, 4);
  *e = v_sub(v, of_x, of_m);
}

void onnxc_vmath_split(const onnxc_vec *v, LLVMValueRef x, LLVMValueRef *m, LLVMValueRef *e, bool *specials) {
  *specials = is_512(v);
  if (*specials) {
    split_512(v, x, m, e);
    return;
  }
  int mantissa = v->wide ? 52 : 23;
  /* Subnormals are scaled into the normal range first. */
  double smallest = v->wide ? 0x1p-1022 : 0x1p-126, up = v->wide ? 0x1p54 : 0x1p25;
  LLVMValueRef tiny = v_cmp(v, LLVMRealOLT, x, v_real(v, smallest));
  LLVMValueRef scaled = v_select(v, tiny, v_mul(v, x, v_real(v, up)), x);
  int64_t base = v->wide ? 0x3fe8000000000000 : 0x3f400000;
  LLVMValueRef bits = v_isub(v, v_bits(v, scaled), v_int(v, base));
  LLVMValueRef low = v_and(v, bits, v_int(v, ((int64_t)1 << mantissa) - 1));
  *m = v_float(v, v_iadd(v, low, v_int(v, base)));
  *e = v_sub(v, to_float(v, v_sra(v, bits, mantissa)), v_select(v, tiny, v_real(v, v->wide ? 54 : 25), v_real(v, 0)));
}

/* e ln2 + log(1 + f) */
static LLVMValueRef log_of(const onnxc_vec *v, LLVMValueRef e, LLVMValueRef f) {
  LLVMValueRef f2 = v_mul(v, f, f);
  if (!v->wide) {
    LLVMValueRef tail = v_mul(v, v_mul(v, f2, f), onnxc_vmath_poly4(v, f, f2, p32, 9));
    tail = v_fma(v, e, v_real(v, 0x1.efa39ef35793cp-25), tail);
    tail = v_fma(v, f2, v_real(v, -0.5), tail);
    return v_fma(v, e, v_real(v, 0x1.62e42ep-1), v_add(v, f, tail));
  }
  LLVMValueRef s = v_div(v, f, v_add(v, f, v_real(v, 2))), z = v_mul(v, s, s), half = v_mul(v, f2, v_real(v, 0.5));
  LLVMValueRef inner = v_fma(v, z, onnxc_vmath_poly4(v, z, v_mul(v, z, z), p64, 8), half);
  LLVMValueRef low = v_fma(v, s, inner, v_mul(v, e, v_real(v, 0x1.abc9e3b39803fp-56)));
  return v_fma(v, e, v_real(v, 0x1.62e42fefa39efp-1), v_sub(v, f, v_sub(v, half, low)));
}

/* `result`, but -infinity where x is zero, x where it is infinite or NaN, NaN below zero. */
static LLVMValueRef log_specials(const onnxc_vec *v, LLVMValueRef x, LLVMValueRef result) {
  if (is_512(v)) {
    /* vfixupimm: by x's class from bit 0 on (quiet NaN, signalling, 0, 1, -infinity, infinity, negative, positive)
     * a nibble says what to put: 0 the result, 2 x made quiet, 3 NaN, 4 -infinity, 5 infinity. */
    LLVMContextRef c = v->nano->context;
    LLVMTypeRef i32 = LLVMInt32TypeInContext(c);
    LLVMValueRef args[] = {result,
                           x,
                           v_int(v, 0x03530422),
                           LLVMConstInt(i32, 0, false),
                           LLVMConstAllOnes(LLVMIntTypeInContext(c, v->lanes)),
                           LLVMConstInt(i32, 4, false)};
    const char *name = v->wide ? "llvm.x86.avx512.mask.fixupimm.pd.512" : "llvm.x86.avx512.mask.fixupimm.ps.512";
    return onnxc_vmath_intrinsic(v->nano, name, NULL, 0, args, 6);
  }
  LLVMValueRef zero = v_real(v, 0);
  LLVMValueRef finite = v_cmp(v, LLVMRealOLT, x, v_real(v, INFINITY));
  result = v_select(v, finite, result, x);
  result = v_select(v, v_cmp(v, LLVMRealOLT, x, zero), v_real(v, NAN), result);
  return v_select(v, v_cmp(v, LLVMRealOEQ, x, zero), v_real(v, -INFINITY), result);
}

LLVMValueRef onnxc_vmath_log(const onnxc_vec *v, LLVMValueRef x) {
  LLVMValueRef m, e;
  bool specials;
  onnxc_vmath_split(v, x, &m, &e, &specials);
  LLVMValueRef result = log_of(v, e, v_sub(v, m, v_real(v, 1)));
  return specials ? result : log_specials(v, x, result);
}

/* With u = 1 + x = m 2^k, f = x 2^-k + (2^-k - 1) is one FMA and loses nothing of x; where u rounds to x it is m - 1.
 */
LLVMValueRef onnxc_vmath_log1p(const onnxc_vec *v, LLVMValueRef x) {
  int mantissa = v->wide ? 52 : 23;
  int64_t base = v->wide ? 0x3fe8000000000000 : 0x3f400000, one = v->wide ? 0x3ff0000000000000 : 0x3f800000;
  LLVMValueRef u = v_add(v, x, v_real(v, 1));
  LLVMValueRef bits = v_isub(v, v_bits(v, u), v_int(v, base));
  LLVMValueRef k = v_sra(v, bits, mantissa);
  LLVMValueRef m = v_float(v, v_iadd(v, v_and(v, bits, v_int(v, ((int64_t)1 << mantissa) - 1)), v_int(v, base)));
  LLVMValueRef s = v_float(v, v_isub(v, v_int(v, one), v_shl(v, k, mantissa)));
  LLVMValueRef f = v_fma(v, x, s, v_sub(v, s, v_real(v, 1)));
  f = v_select(v, v_cmp(v, LLVMRealOGT, x, v_real(v, v->wide ? 0x1p60 : 0x1p30)), v_sub(v, m, v_real(v, 1)), f);
  LLVMValueRef result = log_of(v, to_float(v, k), f);
  return v_with_sign(v, log_specials(v, u, result), x);
}
