/* vmath_pow.c -- pow, as exp2(y log2 |x|) with C's special cases.
 *
 * The logarithm needs as many more digits as y log2 x has before the point: f32 computes in f64 throughout (log2 by
 * the series of the inverse hyperbolic tangent, 2^-52; exp2 by a polynomial, 2^-34); f64 carries the logarithm and the
 * product as sums of two doubles.
 */
#include "nano/vmath.h"

#include <math.h>

/* C's special cases on top of `power`, which is |x|^y by way of the logarithm (so right for x = 0 and infinity). */
static LLVMValueRef specials(const onnxc_vec *v, LLVMValueRef x, LLVMValueRef y, LLVMValueRef power) {
  LLVMValueRef zero = v_real(v, 0), one = v_real(v, 1), size = v_abs(v, x);
  LLVMValueRef whole = v_cmp(v, LLVMRealOEQ, v_unary(v, "llvm.trunc", y), y);
  LLVMValueRef half = v_mul(v, y, v_real(v, 0.5));
  LLVMValueRef odd = v_and(v, whole, v_cmp(v, LLVMRealUNE, v_unary(v, "llvm.trunc", half), half));
  /* (-1)^(+-infinity) and 1^NaN are 1; so is 1^infinity. */
  LLVMValueRef is_one = v_cmp(v, LLVMRealOEQ, size, one);
  power = v_select(v, is_one, one, power);
  LLVMValueRef has_sign = v_and(v, odd, v_icmp(v, LLVMIntSLT, v_bits(v, x), v_int(v, 0)));
  power = v_select(v, has_sign, v_neg(v, power), power);
  LLVMValueRef finite_negative =
      v_and(v, v_cmp(v, LLVMRealOLT, x, zero), v_cmp(v, LLVMRealOLT, size, v_real(v, INFINITY)));
  LLVMValueRef undefined = v_and(v, finite_negative, LLVMBuildNot(v->b, whole, ""));
  power = v_select(v, undefined, v_real(v, NAN), power);
  LLVMValueRef nan = v_cmp(v, LLVMRealUNO, x, y);
  power = v_select(v, nan, v_real(v, NAN), power);
  LLVMValueRef always = LLVMBuildOr(v->b, v_cmp(v, LLVMRealOEQ, x, one), v_cmp(v, LLVMRealOEQ, y, zero), "");
  return v_select(v, always, one, power);
}

/* log2 of a positive f64 that is an f32: normal, zero or infinite. */
static LLVMValueRef log2_of(const onnxc_vec *d, LLVMValueRef x) {
  static const double p[] = {0x1.71547652b82ffp+1, 0x1.ec709dc39cd07p-1, 0x1.2776c51674a63p-1, 0x1.a61756a6669fep-2,
                             0x1.484fa1d0e2b12p-2, 0x1.0bb8d1f9b6c3dp-2, 0x1.f16e9278cb5a6p-3};
  int64_t base = 0x3fe6a09e667f3bcd; /* sqrt(1/2) */
  LLVMValueRef bits = v_isub(d, v_bits(d, x), v_int(d, base));
  LLVMValueRef m = v_float(d, v_iadd(d, v_and(d, bits, v_int(d, 0xfffffffffffff)), v_int(d, base)));
  /* |exponent| < 2^51: by the bits of 1.5 2^52, as not every CPU converts 64-bit integers. */
  LLVMValueRef magic = v_real(d, 0x1.8p52);
  LLVMValueRef e = v_sub(d, v_float(d, v_iadd(d, v_sra(d, bits, 52), v_bits(d, magic))), magic);
  LLVMValueRef one = v_real(d, 1), s = v_div(d, v_sub(d, m, one), v_add(d, m, one));
  LLVMValueRef log = v_fma(d, s, v_poly(d, v_mul(d, s, s), p, 7), e);
  log = v_select(d, v_cmp(d, LLVMRealOEQ, x, v_real(d, INFINITY)), x, log);
  return v_select(d, v_cmp(d, LLVMRealOEQ, x, v_real(d, 0)), v_real(d, -INFINITY), log);
}

static LLVMValueRef pow32(const onnxc_vec *v, LLVMValueRef x, LLVMValueRef y) {
  static const double p[] = {0x1.ffffffffab9acp-1, 0x1.62e42ff116c0cp-1,  0x1.ebfbe0a4f3102p-3,  0x1.c6b08aae550ebp-5,
                             0x1.3b29dc1454052p-7, 0x1.5d8a7109e9c02p-10, 0x1.446a43c60707bp-13, 0x1.fe17530fb3c96p-17};
  onnxc_vec wide = onnxc_vec_of(v->nano, true, v->lanes);
  const onnxc_vec *d = &wide;
  LLVMValueRef log = log2_of(d, LLVMBuildFPExt(v->b, v_abs(v, x), d->f, ""));
  LLVMValueRef t = v_mul(d, LLVMBuildFPExt(v->b, y, d->f, ""), log);
  t = v_at_least(d, v_at_most(d, t, 200), -200); /* beyond f32's range, well within f64's */
  LLVMValueRef magic = v_real(d, 0x1.8p52), shifted = v_add(d, t, magic);
  LLVMValueRef r = v_sub(d, t, v_sub(d, shifted, magic));
  LLVMValueRef e = v_poly(d, r, p, 8);
  LLVMValueRef power = v_float(d, v_iadd(d, v_bits(d, e), v_shl(d, v_bits(d, shifted), 52)));
  return specials(v, x, y, LLVMBuildFPTrunc(v->b, power, v->f, ""));
}

/* ---- f64: a sum of two doubles, |low| <= ulp(high)/2 ---- */

typedef struct pair {
  LLVMValueRef high, low;
} pair;

static pair quick_sum(const onnxc_vec *v, LLVMValueRef a, LLVMValueRef b) { /* |a| >= |b| */
  LLVMValueRef high = v_add(v, a, b);
  return (pair){high, v_sub(v, b, v_sub(v, high, a))};
}

static pair product(const onnxc_vec *v, pair a, pair b) {
  LLVMValueRef high = v_mul(v, a.high, b.high);
  LLVMValueRef low = v_fma(v, a.high, b.high, v_neg(v, high));
  low = v_fma(v, a.low, b.high, v_fma(v, a.high, b.low, low));
  return quick_sum(v, high, low);
}

/* log2 x = e + 2 / ln2 atanh s with s = (m - 1) / (m + 1), atanh s = s (1 + z (1/3 + z Q(z))), z = s^2; 2^-68. */
static pair log2_pair(const onnxc_vec *v, LLVMValueRef x) {
  static const double p[] = {0x1.9999999999968p-3, 0x1.2492492498d3bp-3, 0x1.c71c71bc785eap-4, 0x1.745d1bc2b0878p-4,
                             0x1.3b12991b93dcep-4, 0x1.113a04282996dp-4, 0x1.dad2c255d58bap-5, 0x1.017662e05cafap-4};
  LLVMValueRef m, e, one = v_real(v, 1), zero = v_real(v, 0);
  bool done;
  onnxc_vmath_split(v, x, &m, &e, &done);
  LLVMValueRef f = v_sub(v, m, one), g = v_add(v, m, one), g_low = v_sub(v, m, v_sub(v, g, one));
  LLVMValueRef high = v_div(v, f, g);
  LLVMValueRef rest = v_fma(v, v_neg(v, high), g_low, v_fma(v, v_neg(v, high), g, f));
  pair s = {high, v_div(v, rest, g)}, z = product(v, s, s);
  LLVMValueRef tail = v_mul(v, z.high, v_poly(v, z.high, p, sizeof p / sizeof *p));
  pair series = quick_sum(v, v_real(v, 0x1.5555555555555p-2), v_add(v, tail, v_real(v, 0x1.5555555555555p-56)));
  pair bend = product(v, z, series), factor = quick_sum(v, one, bend.high);
  factor.low = v_add(v, factor.low, bend.low);
  pair scale = {v_real(v, 0x1.71547652b82fep+1), v_real(v, 0x1.777d0ffda0d24p-55)}; /* 2 / ln2 */
  pair log = product(v, product(v, s, factor), scale), sum = quick_sum(v, e, log.high);
  sum.low = v_add(v, sum.low, log.low);
  LLVMValueRef is_zero = v_cmp(v, LLVMRealOEQ, x, zero), infinite = v_cmp(v, LLVMRealOEQ, x, v_real(v, INFINITY));
  sum.high = v_select(v, is_zero, v_real(v, -INFINITY), v_select(v, infinite, x, sum.high));
  sum.low = v_select(v, LLVMBuildOr(v->b, is_zero, infinite, ""), zero, sum.low);
  return sum;
}

static LLVMValueRef pow64(const onnxc_vec *v, LLVMValueRef x, LLVMValueRef y) {
  pair log = log2_pair(v, v_abs(v, x));
  LLVMValueRef high = v_mul(v, y, log.high);
  LLVMValueRef low = v_fma(v, y, log.low, v_fma(v, y, log.high, v_neg(v, high)));
  LLVMValueRef inside = v_cmp(v, LLVMRealOLT, v_abs(v, high), v_real(v, 1100));
  low = v_select(v, inside, low, v_real(v, 0));
  high = v_at_least(v, v_at_most(v, high, 1100), -1100); /* beyond f64's range */
  LLVMValueRef magic = v_real(v, 0x1.8p52), shifted = v_add(v, high, magic);
  LLVMValueRef r = v_sub(v, high, v_sub(v, shifted, magic));
  /* e^(a + b), a + b = (r + low) ln2 */
  LLVMValueRef ln2 = v_real(v, 0x1.62e42fefa39efp-1), a = v_mul(v, r, ln2);
  LLVMValueRef b = v_fma(v, r, ln2, v_neg(v, a));
  b = v_fma(v, low, ln2, v_fma(v, r, v_real(v, 0x1.abc9e3b39803fp-56), b));
  LLVMValueRef e = onnxc_vmath_exp_small(v, a);
  return specials(v, x, y, onnxc_vmath_scale(v, v_fma(v, e, b, e), shifted));
}

static LLVMValueRef pow_body(const onnxc_nano *nano, const LLVMValueRef *args) {
  onnxc_vec v = onnxc_vec_of(nano, true, onnxc_value_lanes(args[0]));
  return pow64(&v, args[0], args[1]);
}

LLVMValueRef onnxc_vmath_pow(const onnxc_vec *v, LLVMValueRef x, LLVMValueRef y) {
  if (!v->wide)
    return pow32(v, x, y);
  return onnxc_vmath_call(v->nano, "pow", v->f, pow_body, (LLVMValueRef[]){x, y}, 2); /* some 100 instructions */
}
