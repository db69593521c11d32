/* test_vmath.c -- the accuracy of the vector functions over the whole range of f32, and samples of f64.
 *
 * Largest errors in ULP of the exact result are asserted per function; f32 against libm's double, f64 against
 * long double. Every 1021st bit pattern, all specials, and the neighbourhoods of where a method changes.
 */
#include "vjit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1 << 14, PRIME = 1021 };

typedef struct row {
  const char *name;
  onnxc_expr_op op;
  double ulp32, ulp64;
  double (*exact)(double);
  long double (*exact_long)(long double);
} row;

static const row rows[] = {
    {"exp", ONNXC_EXPR_EXP, 2, 2, exp, expl},     {"expm1", ONNXC_EXPR_EXPM1, 4, 4, expm1, expm1l},
    {"log", ONNXC_EXPR_LOG, 2, 2, log, logl},     {"log1p", ONNXC_EXPR_LOG1P, 4, 4, log1p, log1pl},
    {"tanh", ONNXC_EXPR_TANH, 4, 4, tanh, tanhl}, {"erf", ONNXC_EXPR_ERF, 4, 4, erf, erfl},
    {"sin", ONNXC_EXPR_SIN, 4, 4, sin, sinl},     {"cos", ONNXC_EXPR_COS, 4, 4, cos, cosl},
};
enum { NUM_ROWS = sizeof rows / sizeof *rows };

static LLVMValueRef build_op(const onnxc_nano *nano, const void *arg, const LLVMValueRef *args) {
  const row *r = arg;
  LLVMTypeRef type = LLVMTypeOf(args[0]);
  if (LLVMGetTypeKind(type) == LLVMVectorTypeKind)
    type = LLVMGetElementType(type);
  return onnxc_nano_op(nano, r->op, LLVMGetTypeKind(type) == LLVMDoubleTypeKind ? ONNXC_F64 : ONNXC_F32, args);
}

static float float_of(uint32_t bits) {
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}
static double double_of(uint64_t bits) {
  double f;
  memcpy(&f, &bits, sizeof f);
  return f;
}

/* |got - exact| in units of the last place of a type with `digits` mantissa bits (hidden one included); 1e30 where a
 * special value or the sign of zero is wrong. */
static double ulps(double got, long double exact, int digits, int smallest, int largest) {
  if (isnan(exact))
    return isnan(got) ? 0 : 1e30;
  if (isnan(got))
    return 1e30;
  long double top = ldexpl(1, largest + 1);
  if (isinf(exact))
    return (long double)got == exact ? 0 : 1e30;
  if (isinf(got)) /* infinity stands for the next power of two */
    return (signbit(got) != 0) != (signbit(exact) != 0) ? 1e30 : (double)((top - fabsl(exact)) / ldexpl(top, -digits));
  if (exact == 0)
    return got == 0 && (signbit(got) != 0) == (signbit(exact) != 0) ? 0 : 1e30;
  if (got == 0 && (signbit(got) != 0) != (signbit(exact) != 0))
    return 1e30;
  int exponent = ilogbl(exact);
  if (exponent < smallest)
    exponent = smallest;
  if (exponent > largest)
    exponent = largest;
  return (double)(fabsl((long double)got - exact) / ldexpl(1, exponent - digits + 1));
}

/* The same by doubles, which is faster; the common case first. */
static double ulps32(float got, double exact) {
  double size = fabs(exact);
  if (size >= 0x1p-126 && size < 0x1p127 && fabs((double)got) < 0x1p127 && got != 0) {
    uint64_t bits;
    memcpy(&bits, &size, sizeof bits);
    return fabs((double)got - exact) / double_of((bits & 0x7ff0000000000000) - ((uint64_t)23 << 52));
  }
  return ulps((double)got, (long double)exact, 24, -126, 127);
}
static double ulps64(double got, long double exact) { return ulps(got, exact, 53, -1022, 1023); }

static uint64_t random_state = 88172645463325252u;
static uint64_t random_bits(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state * 0x2545f4914f6cdd1dULL;
}

/* The first patterns are the specials with their neighbours, the others walk the whole range. */
static uint32_t pattern32(uint32_t k) {
  static const uint32_t special[] = {0,          0x00000001, 0x007fffff, 0x00800000, 0x3f800000, 0x3f000000,
                                     0x40000000, 0x7f800000, 0x7f7fffff, 0x7fc00000, 0x3eb17218, 0x3fb504f3,
                                     0x3f3504f3, 0x42b17218, 0x42cff1b5, 0x41102cb3, 0x407b0000, 0x4d800000,
                                     0x3fc90fdb, 0x40490fdb, 0x33000000, 0x3f400000, 0x3fc00000, 0x3fbfffff};
  enum { NUM = sizeof special / sizeof *special, AROUND = 65 };
  if (k < 2 * NUM * AROUND) {
    uint32_t near = special[k / (2 * AROUND)] + k / 2 % AROUND - AROUND / 2;
    return near ^ (k & 1) << 31;
  }
  return (k - 2 * NUM * AROUND) * PRIME;
}

Test(vmath, f32_over_the_whole_range) {
  const onnxc_target *targets[2];
  uint32_t num_targets = vjit_targets(targets);
  vjit_spec specs[NUM_ROWS];
  vjit_kernel kernels[2][NUM_ROWS];
  vjit *jits[2];
  for (int k = 0; k < NUM_ROWS; k++)
    specs[k] = (vjit_spec){1, {ONNXC_F32}, ONNXC_F32, 16, build_op, &rows[k]};
  for (uint32_t t = 0; t < num_targets; t++) {
    jits[t] = vjit_compile(targets[t], specs, NUM_ROWS);
    cr_assert_not_null(jits[t]);
    for (uint32_t k = 0; k < NUM_ROWS; k++)
      kernels[t][k] = vjit_get(jits[t], k);
  }
  static float x[CHUNK], y[CHUNK];
  static double exact[CHUNK];
  double worst[2][NUM_ROWS] = {{0}};
  float at[2][NUM_ROWS] = {{0}};
  uint32_t total = (uint32_t)(0x100000000u / PRIME) + 4096;
  for (uint32_t start = 0; start < total; start += CHUNK) {
    for (uint32_t k = 0; k < CHUNK; k++)
      x[k] = float_of(pattern32(start + k));
    for (int r = 0; r < NUM_ROWS; r++) {
      for (int k = 0; k < CHUNK; k++)
        exact[k] = rows[r].exact((double)x[k]);
      for (uint32_t t = 0; t < num_targets; t++) {
        kernels[t][r]((const void *[]){x}, y, CHUNK / 16);
        for (int k = 0; k < CHUNK; k++) {
          double error = ulps32(y[k], exact[k]);
          if (error > worst[t][r])
            worst[t][r] = error, at[t][r] = x[k];
        }
      }
    }
  }
  for (uint32_t t = 0; t < num_targets; t++) {
    for (int r = 0; r < NUM_ROWS; r++)
      cr_expect_leq(worst[t][r], rows[r].ulp32, "%s on %s: %.3g ULP at %a", rows[r].name, targets[t]->name, worst[t][r],
                    (double)at[t][r]);
    vjit_free(jits[t]);
  }
}

/* Sizes spread over all exponents, and over those where the functions are not trivial. */
static double sample64(int k) {
  uint64_t bits = random_bits();
  static const double special[] = {0,
                                   1,
                                   0.5,
                                   2,
                                   0x1p-1074,
                                   0x1p-1022,
                                   INFINITY,
                                   0x1.fffffffffffffp1023,
                                   0x1.6a09e667f3bcdp0,
                                   0x1.6a09e667f3bcdp-1,
                                   709.7827128933841,
                                   745.1332191019412,
                                   0x1p28,
                                   0x1.921fb54442d18p0,
                                   0x1.921fb54442d18p1,
                                   6.0,
                                   0.75,
                                   1.5,
                                   0x1p60,
                                   20.0};
  enum { NUM = sizeof special / sizeof *special };
  if (k < NUM * 32) {
    double s = special[k / 32];
    uint64_t near;
    memcpy(&near, &s, sizeof near);
    near += (uint64_t)(k / 2 % 16) - 8;
    return k & 1 ? -double_of(near) : double_of(near);
  }
  if (k & 1)
    return double_of(bits);
  uint64_t exponent = 1023 - 60 + bits % 72;
  return double_of((bits & 0x800fffffffffffff) | exponent << 52);
}

Test(vmath, f64_samples) {
  const onnxc_target *targets[2];
  uint32_t num_targets = vjit_targets(targets);
  vjit_spec specs[NUM_ROWS];
  for (int k = 0; k < NUM_ROWS; k++)
    specs[k] = (vjit_spec){1, {ONNXC_F64}, ONNXC_F64, 8, build_op, &rows[k]};
  static double x[CHUNK], y[CHUNK];
  for (uint32_t t = 0; t < num_targets; t++) {
    vjit *jit = vjit_compile(targets[t], specs, NUM_ROWS);
    cr_assert_not_null(jit);
    for (uint32_t r = 0; r < NUM_ROWS; r++) {
      vjit_kernel kernel = vjit_get(jit, r);
      double worst = 0, at = 0;
      for (int chunk = 0; chunk < 16; chunk++) {
        for (int k = 0; k < CHUNK; k++)
          x[k] = sample64(chunk * CHUNK + k);
        kernel((const void *[]){x}, y, CHUNK / 8);
        for (int k = 0; k < CHUNK; k++) {
          double error = ulps64(y[k], rows[r].exact_long((long double)x[k]));
          if (error > worst)
            worst = error, at = x[k];
        }
      }
      cr_expect_leq(worst, rows[r].ulp64, "%s on %s: %.3g ULP at %a", rows[r].name, targets[t]->name, worst, at);
    }
    vjit_free(jit);
  }
}

/* ---- every lane count gives the same bits ---- */

Test(vmath, lane_counts_agree) {
  static const uint32_t lanes[] = {16, 0, 8, 64};
  enum { WAYS = sizeof lanes / sizeof *lanes };
  const onnxc_target *targets[2];
  uint32_t num_targets = vjit_targets(targets);
  vjit_spec specs[2 * WAYS * NUM_ROWS];
  for (uint32_t k = 0; k < NUM_ROWS; k++)
    for (uint32_t w = 0; w < 2 * WAYS; w++) {
      onnxc_dtype dtype = w < WAYS ? ONNXC_F32 : ONNXC_F64;
      specs[2 * WAYS * k + w] = (vjit_spec){1, {dtype}, dtype, lanes[w % WAYS], build_op, &rows[k]};
    }
  static float x[CHUNK], y[CHUNK], z[CHUNK];
  static double u[CHUNK], v[CHUNK], w[CHUNK];
  for (uint32_t k = 0; k < CHUNK; k++) {
    x[k] = float_of(k < 4096 ? pattern32(k) : (uint32_t)random_bits());
    u[k] = sample64((int)k);
  }
  for (uint32_t t = 0; t < num_targets; t++) {
    vjit *jit = vjit_compile(targets[t], specs, 2 * WAYS * NUM_ROWS);
    cr_assert_not_null(jit);
    for (uint32_t r = 0; r < NUM_ROWS; r++)
      for (uint32_t way = 0; way < WAYS; way++) {
        int64_t vectors = lanes[way] ? CHUNK / lanes[way] : CHUNK;
        vjit_get(jit, 2 * WAYS * r + way)((const void *[]){x}, way ? z : y, vectors);
        vjit_get(jit, 2 * WAYS * r + WAYS + way)((const void *[]){u}, way ? w : v, vectors);
        for (int k = 0; way > 0 && k < CHUNK; k++) {
          bool same32 = y[k] == z[k] || (isnan(y[k]) && isnan(z[k]));
          bool same64 = v[k] == w[k] || (isnan(v[k]) && isnan(w[k]));
          if (!same32 || !same64) {
            cr_expect_fail("%s on %s, %u lanes: f32 (%a) %a, not %a; f64 (%a) %a, not %a", rows[r].name,
                           targets[t]->name, lanes[way], (double)x[k], (double)z[k], (double)y[k], u[k], w[k], v[k]);
            break;
          }
        }
      }
    vjit_free(jit);
  }
}

/* ---- two arguments ---- */

static LLVMValueRef build_binary(const onnxc_nano *nano, const void *arg, const LLVMValueRef *args) {
  const vjit_spec *spec = arg;
  return onnxc_nano_op(nano, (onnxc_expr_op)(uintptr_t)spec->arg, spec->args[0], args);
}

static const double corner[] = {0.0,  -0.0, 1,        -1,       0.5,        -0.5,      2,        -2,        3,   -3,
                                4,    1.5,  -1.5,     1e-40,    -1e-40,     1e-45,     1e30,     -1e30,     127, 128,
                                -149, -150, 16777215, 16777217, 0.99999994, 1.0000001, INFINITY, -INFINITY, NAN};
enum { NUM_CORNERS = sizeof corner / sizeof *corner };

/* Pairs: all corners, then random ones whose power is mostly finite. */
static void pair_of(int k, double *x, double *y) {
  if (k < NUM_CORNERS * NUM_CORNERS) {
    *x = corner[k / NUM_CORNERS];
    *y = corner[k % NUM_CORNERS];
    return;
  }
  uint64_t a = random_bits(), b = random_bits();
  double size = ldexp(1 + (double)(a >> 12) * 0x1p-52, (int)(a % 250) - 125);
  if (k % 3 == 0)
    size = ldexp(1 + (double)(a >> 12) * 0x1p-52, (int)(a % 4) - 2);
  double limit = 160 / fabs(log2(size));
  *x = k % 16 == 0 ? -size : size;
  *y = limit * (2 * (double)(b >> 11) * 0x1p-53 - 1);
  if (k % 16 == 0)
    *y = floor(*y);
}

Test(vmath, pow_and_remainders) {
  const onnxc_target *targets[2];
  uint32_t num_targets = vjit_targets(targets);
  static const struct {
    const char *name;
    onnxc_expr_op op;
    onnxc_dtype dtype;
    double ulp;
  } functions[] = {{"pow", ONNXC_EXPR_POW, ONNXC_F32, 2},
                   {"pow", ONNXC_EXPR_POW, ONNXC_F64, 4},
                   {"fmod", ONNXC_EXPR_REM, ONNXC_F32, 0},
                   {"fmod", ONNXC_EXPR_REM, ONNXC_F64, 0}};
  enum { NUM = sizeof functions / sizeof *functions };
  static float x32[CHUNK], y32[CHUNK], z32[CHUNK];
  static double x64[CHUNK], y64[CHUNK], z64[CHUNK];
  vjit_spec specs[NUM], inner[NUM];
  for (uint32_t k = 0; k < NUM; k++) {
    inner[k] = (vjit_spec){.args = {functions[k].dtype}, .arg = (const void *)(uintptr_t)functions[k].op};
    onnxc_dtype d = functions[k].dtype;
    specs[k] = (vjit_spec){2, {d, d}, d, d == ONNXC_F64 ? 8 : 16, build_binary, &inner[k]};
  }
  for (uint32_t t = 0; t < num_targets; t++) {
    vjit *jit = vjit_compile(targets[t], specs, NUM);
    cr_assert_not_null(jit);
    for (uint32_t f = 0; f < NUM; f++) {
      vjit_kernel kernel = vjit_get(jit, f);
      bool is_pow = functions[f].op == ONNXC_EXPR_POW, wide = functions[f].dtype == ONNXC_F64;
      double worst = 0, at_x = 0, at_y = 0;
      for (int chunk = 0; chunk < 16; chunk++) {
        for (int k = 0; k < CHUNK; k++) {
          pair_of(chunk * CHUNK + k, &x64[k], &y64[k]);
          if (wide && is_pow && chunk > 8 && k % 2)
            y64[k] *= 6.3;
          x32[k] = (float)x64[k];
          y32[k] = (float)y64[k];
        }
        if (wide)
          kernel((const void *[]){x64, y64}, z64, CHUNK / 8);
        else
          kernel((const void *[]){x32, y32}, z32, CHUNK / 16);
        for (int k = 0; k < CHUNK; k++) {
          double a = wide ? x64[k] : (double)x32[k], b = wide ? y64[k] : (double)y32[k], error;
          if (wide)
            error = ulps64(z64[k], is_pow ? powl((long double)a, (long double)b) : (long double)fmod(a, b));
          else
            error = ulps32(z32[k], is_pow ? pow(a, b) : fmod(a, b));
          if (error > worst)
            worst = error, at_x = a, at_y = b;
        }
      }
      cr_expect_leq(worst, functions[f].ulp, "%s %s on %s: %.3g ULP at %a, %a", functions[f].name,
                    onnxc_dtype_name(functions[f].dtype), targets[t]->name, worst, at_x, at_y);
    }
    vjit_free(jit);
  }
}
