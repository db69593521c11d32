/* vmath.c -- exp, expm1, tanh and erf.
 *
 * All reduce x = n ln2 + r with |r| <= ln2/2 (n = x / ln2 rounded, r by two FMAs with ln2 split in two, so that r is
 * good to its last bit) and use  e^r = 1 + r + r^2 P(r).  Every P of vmath*.c is minimax for the relative error of the
 * function it stands in: Remez's exchange in 60 digits; for f32 the coefficients were rounded one after the other,
 * lowest first, and the rest fitted again. Rationals come from iterated weighted least squares (Lawson).
 *
 * Largest errors found, in ULP (f32: every 61st argument; f64: 4 million samples a function; tests/nano/test_vmath.c):
 *
 *            exp   expm1  log   log1p  tanh  erf   sin   cos   pow
 *     f32    0.88  1.42   0.90  0.90   3.94  3.31  1.54  1.52  0.51
 *     f64    0.88  2.03   0.85  0.87   2.49  1.05  2.45  2.36  1.47
 */
#include "nano/vmath.h"

/* What the reduction needs of a width. `magic` is 1.5 * 2^mantissa bits: adding it rounds to a whole number. */
typedef struct exp_row {
  double magic, inverse, ln2_high, ln2_low;
  double lowest, highest; /* beyond them exp is 0 or infinite; expm1 is -1 from below `minus_one` */
  double minus_one;
  int terms;
  double p[10];
} exp_row;

static const exp_row exp_rows[2] = {
    /* degree 6, 2^-28.2 */
    {0x1.8p23,
     0x1.715476p+0,
     0x1.62e42ep-1,
     0x1.efa39ef35793cp-25,
     -104.5,
     89,
     -20,
     5,
     {0x1.fffffcp-2, 0x1.55548cp-3, 0x1.555858p-5, 0x1.123dep-7, 0x1.6ac6b2p-10}},
    /* degree 11, 2^-56.3 */
    {0x1.8p52,
     0x1.71547652b82fep+0,
     0x1.62e42fefa39efp-1,
     0x1.abc9e3b39803fp-56,
     -746,
     710,
     -40,
     10,
     {0x1.000000000000ap-1, 0x1.55555555554f9p-3, 0x1.555555555083ep-5, 0x1.1111111127d11p-7, 0x1.6c16c18438b2bp-10,
      0x1.a01a012a0e59bp-13, 0x1.a01999e25d16dp-16, 0x1.71df25b511478p-19, 0x1.28ad9b8b0dfb7p-22,
      0x1.ad7f3b96868b5p-26}},
};

typedef struct reduced {
  LLVMValueRef shifted; /* n + magic: its low bits are n in two's complement */
  LLVMValueRef n, r;
} reduced;

static reduced reduce(const onnxc_vec *v, const exp_row *row, LLVMValueRef x) {
  LLVMValueRef magic = v_real(v, row->magic), shifted = v_fma(v, x, v_real(v, row->inverse), magic);
  LLVMValueRef n = v_sub(v, shifted, magic), r = v_fma(v, n, v_real(v, -row->ln2_high), x);
  return (reduced){shifted, n, v_fma(v, n, v_real(v, -row->ln2_low), r)};
}

/* AVX-512's vscalef is p * 2^floor(n) with one rounding. Vectors wider than a register go by parts. */
static LLVMValueRef scalef(const onnxc_vec *v, LLVMValueRef p, LLVMValueRef n) {
  uint32_t part = v->wide ? 8 : 16;
  LLVMContextRef c = v->nano->context;
  onnxc_vec register_shape = onnxc_vec_of(v->nano, v->wide, part);
  LLVMTypeRef i32 = LLVMInt32TypeInContext(c);
  LLVMValueRef mask = LLVMConstAllOnes(LLVMIntTypeInContext(c, part)), current = LLVMConstInt(i32, 4, false);
  const char *name = v->wide ? "llvm.x86.avx512.mask.scalef.pd.512" : "llvm.x86.avx512.mask.scalef.ps.512";
  LLVMValueRef result = NULL, indices[64];
  for (uint32_t at = 0; at < v->lanes; at += part) {
    LLVMValueRef a = p, e = n;
    if (v->lanes != part) {
      for (uint32_t k = 0; k < part; k++)
        indices[k] = LLVMConstInt(i32, at + k, false);
      LLVMValueRef pick = LLVMConstVector(indices, part);
      a = LLVMBuildShuffleVector(v->b, p, LLVMGetPoison(v->f), pick, "");
      e = LLVMBuildShuffleVector(v->b, n, LLVMGetPoison(v->f), pick, "");
    }
    LLVMValueRef args[] = {a, e, LLVMConstNull(register_shape.f), mask, current};
    LLVMValueRef scaled = onnxc_vmath_intrinsic(v->nano, name, NULL, 0, args, 5);
    if (v->lanes == part)
      return scaled;
    /* Append: widen both to at + part lanes, then join. */
    if (!result) {
      result = scaled;
      continue;
    }
    for (uint32_t k = 0; k < at; k++)
      indices[k] = LLVMConstInt(i32, k < part ? k : 0, false);
    LLVMValueRef widened = scaled;
    if (at != part)
      widened = LLVMBuildShuffleVector(v->b, scaled, LLVMGetPoison(register_shape.f), LLVMConstVector(indices, at), "");
    for (uint32_t k = 0; k < at + part; k++)
      indices[k] = LLVMConstInt(i32, k, false);
    result = LLVMBuildShuffleVector(v->b, result, widened, LLVMConstVector(indices, at + part), "");
  }
  return result;
}

LLVMValueRef onnxc_vmath_scale(const onnxc_vec *v, LLVMValueRef p, LLVMValueRef shifted) {
  uint32_t part = v->wide ? 8 : 16;
  LLVMValueRef magic = v_real(v, exp_rows[v->wide].magic);
  if ((v->nano->target->features & ONNXC_FEATURE_AVX512) && v->lanes && v->lanes % part == 0 && v->lanes <= 64)
    return scalef(v, p, v_sub(v, shifted, magic));
  /* p 2^n = (p 2^a) 2^b with a + b = n; the first product is exact. */
  int mantissa = v->wide ? 52 : 23;
  int64_t bias = v->wide ? 1023 : 127;
  LLVMValueRef whole =
      v_isub(v, v_bits(v, shifted), v_int(v, v->wide ? 0x4338000000000000 - 2 * bias : 0x4b400000 - 2 * bias));
  LLVMValueRef a = v_srl(v, whole, 1), b = v_isub(v, whole, a);
  LLVMValueRef first = v_mul(v, p, v_float(v, v_shl(v, a, mantissa)));
  return v_mul(v, first, v_float(v, v_shl(v, b, mantissa)));
}

LLVMValueRef onnxc_vmath_exp_small(const onnxc_vec *v, LLVMValueRef r) {
  const exp_row *row = &exp_rows[v->wide];
  LLVMValueRef one = v_real(v, 1);
  return v_fma(v, v_fma(v, v_poly(v, r, row->p, row->terms), r, one), r, one);
}

LLVMValueRef onnxc_vmath_exp(const onnxc_vec *v, LLVMValueRef x) {
  const exp_row *row = &exp_rows[v->wide];
  x = v_at_least(v, v_at_most(v, x, row->highest), row->lowest);
  reduced at = reduce(v, row, x);
  return onnxc_vmath_scale(v, onnxc_vmath_exp_small(v, at.r), at.shifted);
}

/* e^x - 1 = 2 (s q + (s - 1/2)) with s = 2^(n-1), q = e^r - 1; s - 1/2 is exact where it matters. */
LLVMValueRef onnxc_vmath_expm1(const onnxc_vec *v, LLVMValueRef x) {
  const exp_row *row = &exp_rows[v->wide];
  int mantissa = v->wide ? 52 : 23, bias = v->wide ? 1023 : 127;
  LLVMValueRef half = v_real(v, 0.5);
  LLVMValueRef inside = v_at_least(v, v_at_most(v, x, row->highest), row->minus_one);
  reduced at = reduce(v, row, inside);
  LLVMValueRef q = v_fma(v, v_poly(v, at.r, row->p, row->terms), v_mul(v, at.r, at.r), at.r);
  LLVMValueRef s = v_float(v, v_shl(v, v_iadd(v, v_bits(v, at.shifted), v_int(v, bias - 1)), mantissa));
  LLVMValueRef result = v_fma(v, s, q, v_sub(v, s, half));
  return v_with_sign(v, v_add(v, result, result), x);
}

/* 2h / (1 + h^2) with h = N / D, N = x + x^3 P(x^2), D = Q(x^2), for |x| up to `limit`, where the result is 1. With
 * h = tanh(x/2) this is tanh x, and any odd function that grows to 1 has such an h. Near 1, where f32's unit is
 * small, errors of h hardly count, so that this loses less than a rational for the function itself. The coefficients
 * come from a weighted fit, then a search over their last bits; the errors are those of all arguments. */
typedef struct half_row {
  double limit;
  int terms_p, terms_q;
  double p[3], q[5];
} half_row;

static const half_row tanh_row = {/* 3.94 ULP */
                                  9.0110006,
                                  2,
                                  4,
                                  {0x1.e7c16ep-6, 0x1.dedadep-14},
                                  {2, 0x1.cf45b2p-3, 0x1.3c300cp-9, 0x1.497914p-19}};
static const half_row erf_row = {/* 3.31 ULP */
                                 3.9192059,
                                 3,
                                 5,
                                 {0x1.0e0822p-2, 0x1.d4e9fep-6, 0x1.276524p-9},
                                 {0x1.c5bf88p+0, 0x1.f9e35ep-2, 0x1.5fe254p-4, 0x1.5f91a6p-7, 0x1.701052p-13}};

static LLVMValueRef from_half(const onnxc_vec *v, const half_row *row, LLVMValueRef x) {
  LLVMValueRef c = v_at_least(v, v_at_most(v, x, row->limit), -row->limit), z = v_mul(v, c, c);
  LLVMValueRef n = v_fma(v, v_mul(v, c, z), v_poly(v, z, row->p, row->terms_p), c);
  LLVMValueRef d = v_poly(v, z, row->q, row->terms_q), product = v_mul(v, n, d);
  return v_div(v, v_add(v, product, product), v_fma(v, d, d, v_mul(v, n, n)));
}

/* f64: t / (t + 2) with t = e^(2x) - 1 for x <= 0, where nothing cancels or overflows. */
LLVMValueRef onnxc_vmath_tanh(const onnxc_vec *v, LLVMValueRef x) {
  if (!v->wide)
    return from_half(v, &tanh_row, x);
  LLVMValueRef t = onnxc_vmath_expm1(v, v_mul(v, v_abs(v, x), v_real(v, -2)));
  LLVMValueRef size = v_abs(v, v_div(v, t, v_add(v, t, v_real(v, 2))));
  return v_with_sign(v, size, x);
}

/* f64: x + x R(x^2) up to 1, beyond 1 - e^(-x^2) S(x), where e^(-x^2) needs
 * no more care since it is small; both are rationals and share one division. */
LLVMValueRef onnxc_vmath_erf(const onnxc_vec *v, LLVMValueRef x) {
  static const double small_p[] = {0x1.06eba8214db69p-3, -0x1.449d4697bb627p-2,  -0x1.8be9da90719f4p-5,
                                   -0x1.20def3858db7p-7, -0x1.03d78acca596ep-11, -0x1.5bd4b8e8fde01p-16};
  static const double small_q[] = {1,
                                   0x1.d790863efb4bbp-2,
                                   0x1.8041ddb0976d5p-4,
                                   0x1.5e63a0531c098p-7,
                                   0x1.6b10d85806272p-11,
                                   0x1.5d225d8fb6131p-16};
  static const double large_p[] = {0x1.fffffc4829311p-1, 0x1.63dcda2a71dc8p+0, 0x1.e5d7eb1cb1c1p-1,
                                   0x1.7e319ebc3f5ap-2,  0x1.5904db4041cb3p-4, 0x1.240ee1820a663p-7};
  static const double large_q[] = {1,
                                   0x1.425d1dc89798dp+1,
                                   0x1.6535cb5ccbbd9p+1,
                                   0x1.c187a21f19d8fp+0,
                                   0x1.56c909fddea83p-1,
                                   0x1.31c1ce45311e3p-3,
                                   0x1.02d4f0bcbe8fp-6};
  if (!v->wide)
    return from_half(v, &erf_row, x);
  LLVMValueRef size = v_at_most(v, v_abs(v, x), 5.95), z = v_mul(v, size, size);
  LLVMValueRef is_small = v_cmp(v, LLVMRealOLT, size, v_real(v, 1));
  LLVMValueRef numerator = v_select(v, is_small, v_poly(v, z, small_p, 6), v_poly(v, size, large_p, 6));
  LLVMValueRef ratio =
      v_div(v, numerator, v_select(v, is_small, v_poly(v, z, small_q, 6), v_poly(v, size, large_q, 7)));
  LLVMValueRef large = v_fma(v, v_neg(v, onnxc_vmath_exp(v, v_neg(v, z))), ratio, v_real(v, 1));
  return v_with_sign(v, v_select(v, is_small, v_fma(v, size, ratio, size), large), x);
}
