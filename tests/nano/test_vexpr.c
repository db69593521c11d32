/* test_vexpr.c -- every operation of expr.def and every cast, scalar and vector, against the evaluator's lanes.
 *
 * Integers, bools, comparisons and the exact float operations must agree bit for bit (NaN with NaN, -0 with 0 where
 * the operation leaves it open); transcendental ones within 4 units of the last place of their type.
 */
#include "vjit.h"

#include "ir/eval_scalar.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 4096, MAX_SPECS = 1200 };

static const onnxc_dtype dtypes[] = {ONNXC_F32, ONNXC_F64, ONNXC_F16, ONNXC_BF16, ONNXC_I8,  ONNXC_I16, ONNXC_I32,
                                     ONNXC_I64, ONNXC_U8,  ONNXC_U16, ONNXC_U32,  ONNXC_U64, ONNXC_BOOL};
enum { NUM_DTYPES = sizeof dtypes / sizeof *dtypes };

/* ---- arguments ---- */

static uint64_t random_state;
static uint64_t random_bits(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state * 0x2545f4914f6cdd1dULL;
}

static const double float_corners[] = {
    0.0,          -0.0,      1,       -1,     0.5,   -0.5,       1.5,          -1.5,
    2.5,          3,         -3,      127,    128,   -128,       -129,         255,
    256,          32767.5,   -32769,  65504,  65520, 2147483647, 2147483648.0, -2147483649.0,
    4294967296.0, 9.3e18,    -9.3e18, 1.9e19, 1e-8,  6e-8,       1e-40,        3e38,
    INFINITY,     -INFINITY, NAN,     -0.999, 1e300, 1.00390625, 1.01171875,   8388607.5};
static const int64_t int_corners[] = {
    0,  1,   -1,   2,   -2,    3,      5,     7,         -7,        8,          31,        32,        63,  64,
    65, 127, -128, 255, 32767, -32768, 65535, INT32_MAX, INT32_MIN, UINT32_MAX, INT64_MAX, INT64_MIN, 100, -100};
enum { NUM_FLOATS = sizeof float_corners / sizeof *float_corners, NUM_INTS = sizeof int_corners / sizeof *int_corners };

/* COUNT elements: first all pairs of corners (this is side 0 or 1 of the pair), then random ones of all sizes. */
static void fill(onnxc_dtype dtype, char *memory, int side) {
  size_t bytes = onnxc_dtype_bytes(dtype);
  int corners = onnxc_dtype_is_float(dtype) ? NUM_FLOATS : NUM_INTS;
  random_state = 88172645463325252u + (uint64_t)side * 77;
  for (int k = 0; k < COUNT; k++, memory += bytes) {
    int which = side == 0 ? k / corners : k % corners;
    uint64_t bits = random_bits();
    if (onnxc_dtype_is_bool(dtype))
      *memory = (char)(bits >> 20 & 1);
    else if (!onnxc_dtype_is_float(dtype))
      onnxc_scalar_from_i64(dtype, memory, k < corners * corners ? int_corners[which] : (int64_t)bits >> bits % 64);
    else if (k < corners * corners)
      onnxc_scalar_from_f64(dtype, memory, float_corners[which]);
    else if (k & 1)
      memcpy(memory, &bits, bytes);
    else
      onnxc_scalar_from_f64(dtype, memory, (double)(int64_t)bits * 0x1p-63 * ldexp(1, (int)(bits % 30) - 6));
  }
}

/* ---- comparison ---- */

/* Units of the last place of `dtype` at x. */
static double ulp_of(onnxc_dtype dtype, double x) {
  int digits = dtype == ONNXC_F64 ? 53 : dtype == ONNXC_F32 ? 24 : dtype == ONNXC_F16 ? 11 : 8;
  int smallest = dtype == ONNXC_F64 ? -1022 : dtype == ONNXC_F16 ? -14 : -126;
  int exponent = x == 0 ? smallest : ilogb(x);
  return ldexp(1, (exponent < smallest ? smallest : exponent) - digits + 1);
}

static bool agree(onnxc_dtype dtype, double tolerance, const char *got, const char *want) {
  if (memcmp(got, want, onnxc_dtype_bytes(dtype)) == 0)
    return true;
  if (!onnxc_dtype_is_float(dtype))
    return false;
  double g = onnxc_scalar_to_f64(dtype, got), w = onnxc_scalar_to_f64(dtype, want);
  if (isnan(g) || isnan(w))
    return isnan(g) && isnan(w);
  if (g == w)
    return g != 0 || tolerance >= 0; /* tolerance < 0: the sign of zero counts */
  if (isinf(g) || isinf(w))
    return false;
  return fabs(g - w) <= tolerance * ulp_of(dtype, w);
}

/* -1: bit for bit; 0: but for the sign of zero; else units of the last place. */
static double tolerance_of(onnxc_expr_op op, onnxc_dtype dtype) {
  bool narrow = dtype == ONNXC_F16 || dtype == ONNXC_BF16;
  switch (op) {
  case ONNXC_EXPR_MIN:
  case ONNXC_EXPR_MAX: return 0;
  case ONNXC_EXPR_MOD:
  case ONNXC_EXPR_FLOORDIV: return narrow ? 1 : 0;
  case ONNXC_EXPR_EXP:
  case ONNXC_EXPR_LOG: return narrow ? 1 : 2;
  case ONNXC_EXPR_LOG1P:
  case ONNXC_EXPR_EXPM1:
  case ONNXC_EXPR_ERF:
  case ONNXC_EXPR_TANH:
  case ONNXC_EXPR_SIN:
  case ONNXC_EXPR_COS:
  case ONNXC_EXPR_POW: return narrow ? 1 : 4;
  default: return -1;
  }
}

static bool is_comparison(onnxc_expr_op op) { return op >= ONNXC_EXPR_EQ && op <= ONNXC_EXPR_GE; }

/* Is op defined on dtype? */
static bool applies(onnxc_expr_op op, onnxc_dtype dtype) {
  switch (op) {
  case ONNXC_EXPR_EXP:
  case ONNXC_EXPR_LOG:
  case ONNXC_EXPR_LOG1P:
  case ONNXC_EXPR_EXPM1:
  case ONNXC_EXPR_ERF:
  case ONNXC_EXPR_TANH:
  case ONNXC_EXPR_SIN:
  case ONNXC_EXPR_COS:
  case ONNXC_EXPR_SQRT: return onnxc_dtype_is_float(dtype);
  case ONNXC_EXPR_NOT:
  case ONNXC_EXPR_AND:
  case ONNXC_EXPR_OR:
  case ONNXC_EXPR_XOR:
  case ONNXC_EXPR_SHL:
  case ONNXC_EXPR_SHR:
  case ONNXC_EXPR_FLOORDIV: return !onnxc_dtype_is_float(dtype);
  default: return true;
  }
}

/* ---- the kernels ---- */

typedef struct job {
  onnxc_expr_op op; /* CAST: from dtype to `to` */
  onnxc_dtype dtype, to;
} job;

static LLVMValueRef build_job(const onnxc_nano *nano, const void *arg, const LLVMValueRef *args) {
  const job *j = arg;
  if (j->op == ONNXC_EXPR_CAST)
    return onnxc_nano_cast(nano, j->to, j->dtype, args[0]);
  return onnxc_nano_op(nano, j->op, j->dtype, args);
}

static uint32_t all_jobs(job *jobs) {
  uint32_t count = 0;
  for (int op = ONNXC_EXPR_NEG; op <= ONNXC_EXPR_SELECT; op++)
    for (int d = 0; d < NUM_DTYPES; d++)
      if (applies((onnxc_expr_op)op, dtypes[d])) {
        bool is_bool = op == ONNXC_EXPR_ISNAN || is_comparison((onnxc_expr_op)op);
        jobs[count++] = (job){(onnxc_expr_op)op, dtypes[d], is_bool ? ONNXC_BOOL : dtypes[d]};
      }
  for (int from = 0; from < NUM_DTYPES; from++)
    for (int to = 0; to < NUM_DTYPES; to++)
      jobs[count++] = (job){ONNXC_EXPR_CAST, dtypes[from], dtypes[to]};
  return count;
}

static void evaluate(const job *j, const char *condition, const char *a, const char *b, char *out) {
  static onnxc_lanes x, y, z, c;
  size_t from = onnxc_dtype_bytes(j->dtype), to = onnxc_dtype_bytes(j->to);
  for (int k = 0; k < COUNT; k += ONNXC_LANES) {
    onnxc_lanes_load(j->dtype, &x, 0, a + (size_t)k * from, 1, ONNXC_LANES);
    onnxc_lanes_load(j->dtype, &y, 0, b + (size_t)k * from, 1, ONNXC_LANES);
    onnxc_lanes_load(ONNXC_BOOL, &c, 0, condition + k, 1, ONNXC_LANES);
    if (j->op == ONNXC_EXPR_CAST)
      onnxc_lanes_cast(j->to, &z, j->dtype, &x, ONNXC_LANES);
    else if (j->op == ONNXC_EXPR_SELECT)
      onnxc_lanes_select(j->dtype, &z, &c, &x, &y, ONNXC_LANES);
    else if (onnxc_expr_op_arity(j->op) == 2)
      onnxc_lanes_binary(j->op, j->dtype, &z, &x, &y, ONNXC_LANES);
    else
      onnxc_lanes_unary(j->op, j->dtype, &z, &x, ONNXC_LANES);
    onnxc_lanes_store(j->to, out + (size_t)k * to, &z, ONNXC_LANES);
  }
}

/* Lane counts: scalar, a register of the widest type, and an odd number that LLVM must split. */
Test(vexpr, every_operation_on_every_type) {
  static const uint32_t lane_counts[] = {0, 16};
  static job jobs[MAX_SPECS];
  static vjit_spec specs[MAX_SPECS];
  static char condition[COUNT], a[COUNT * 8], b[COUNT * 8], want[COUNT * 8], got[COUNT * 8 + 8];
  uint32_t count = all_jobs(jobs);
  const onnxc_target *targets[2];
  uint32_t num_targets = vjit_targets(targets);
  fill(ONNXC_BOOL, condition, 2);
  for (uint32_t t = 0; t < num_targets; t++)
    for (int l = 0; l < 2; l++) {
      uint32_t lanes = lane_counts[l];
      for (uint32_t k = 0; k < count; k++) {
        const job *j = &jobs[k];
        specs[k] = (vjit_spec){.num_args = 1, .args = {j->dtype}, .result = j->to, .lanes = lanes};
        specs[k].build = build_job;
        specs[k].arg = j;
        if (j->op == ONNXC_EXPR_SELECT) {
          specs[k].num_args = 3;
          specs[k].args[0] = ONNXC_BOOL;
          specs[k].args[1] = specs[k].args[2] = j->dtype;
        } else if (onnxc_expr_op_arity(j->op) == 2) {
          specs[k].num_args = 2;
          specs[k].args[1] = j->dtype;
        }
      }
      vjit *jit = vjit_compile(targets[t], specs, count);
      cr_assert_not_null(jit);
      onnxc_dtype filled = ONNXC_DTYPE_NONE;
      for (uint32_t k = 0; k < count; k++) {
        const job *j = &jobs[k];
        if (filled != j->dtype) {
          fill(j->dtype, a, 0);
          fill(j->dtype, b, 1);
          filled = j->dtype;
        }
        evaluate(j, condition, a, b, want);
        memset(got, 0x5a, sizeof got);
        const void *args[3] = {a, b, NULL};
        if (j->op == ONNXC_EXPR_SELECT)
          args[0] = condition, args[1] = a, args[2] = b;
        vjit_get(jit, k)(args, got, lanes ? COUNT / lanes : COUNT);
        size_t bytes = onnxc_dtype_bytes(j->to), from = onnxc_dtype_bytes(j->dtype);
        double tolerance = tolerance_of(j->op, j->dtype);
        cr_expect_eq(got[COUNT * bytes], 0x5a);
        for (size_t n = 0; n < COUNT; n++)
          if (!agree(j->to, tolerance, got + n * bytes, want + n * bytes)) {
            cr_expect_fail("%s %s -> %s, %u lanes, %s: (%.17g, %.17g): %.17g, not %.17g", onnxc_expr_op_name(j->op),
                           onnxc_dtype_name(j->dtype), onnxc_dtype_name(j->to), lanes, targets[t]->name,
                           onnxc_scalar_to_f64(j->dtype, a + n * from), onnxc_scalar_to_f64(j->dtype, b + n * from),
                           onnxc_scalar_to_f64(j->to, got + n * bytes), onnxc_scalar_to_f64(j->to, want + n * bytes));
            break;
          }
      }
      vjit_free(jit);
    }
}

/* ---- constants: each op with a constant second argument, where vexpr takes short cuts ---- */

typedef struct with_constant {
  onnxc_expr_op op;
  onnxc_dtype dtype;
  double value;
} with_constant;

static int64_t imm_of(onnxc_dtype dtype, double value) {
  int64_t imm = (int64_t)value;
  if (onnxc_dtype_is_float(dtype))
    memcpy(&imm, &value, sizeof imm);
  return imm;
}

static LLVMValueRef build_constant(const onnxc_nano *nano, const void *arg, const LLVMValueRef *args) {
  const with_constant *w = arg;
  LLVMValueRef both[] = {args[0], onnxc_nano_const(nano, w->dtype, 16, imm_of(w->dtype, w->value))};
  return onnxc_nano_op(nano, w->op, w->dtype, both);
}

Test(vexpr, constant_arguments) {
  static const with_constant rows[] = {
      {ONNXC_EXPR_POW, ONNXC_F32, 0},      {ONNXC_EXPR_POW, ONNXC_F32, 1},    {ONNXC_EXPR_POW, ONNXC_F32, 2},
      {ONNXC_EXPR_POW, ONNXC_F32, 3},      {ONNXC_EXPR_POW, ONNXC_F32, 4},    {ONNXC_EXPR_POW, ONNXC_F32, -1},
      {ONNXC_EXPR_POW, ONNXC_F32, 0.5},    {ONNXC_EXPR_POW, ONNXC_F32, -0.5}, {ONNXC_EXPR_POW, ONNXC_F32, 5},
      {ONNXC_EXPR_POW, ONNXC_F32, NAN},    {ONNXC_EXPR_POW, ONNXC_F64, 0.5},  {ONNXC_EXPR_POW, ONNXC_F64, 3},
      {ONNXC_EXPR_POW, ONNXC_F32, 0.75},   {ONNXC_EXPR_MAX, ONNXC_F32, 0},    {ONNXC_EXPR_MIN, ONNXC_F32, 6},
      {ONNXC_EXPR_MAX, ONNXC_F32, NAN},    {ONNXC_EXPR_MAX, ONNXC_F16, 0},    {ONNXC_EXPR_MAX, ONNXC_BF16, 0},
      {ONNXC_EXPR_DIV, ONNXC_I32, 7},      {ONNXC_EXPR_DIV, ONNXC_I32, 0},    {ONNXC_EXPR_DIV, ONNXC_I32, -1},
      {ONNXC_EXPR_DIV, ONNXC_I8, -3},      {ONNXC_EXPR_MOD, ONNXC_I64, 10},   {ONNXC_EXPR_MOD, ONNXC_I32, -10},
      {ONNXC_EXPR_FLOORDIV, ONNXC_I64, 8}, {ONNXC_EXPR_REM, ONNXC_U32, 1000}, {ONNXC_EXPR_FLOORDIV, ONNXC_I32, 0},
      {ONNXC_EXPR_POW, ONNXC_I32, 3},      {ONNXC_EXPR_POW, ONNXC_I64, -1},   {ONNXC_EXPR_POW, ONNXC_U8, 9},
      {ONNXC_EXPR_SHL, ONNXC_U8, 3},       {ONNXC_EXPR_SHR, ONNXC_I32, 40},
  };
  enum { NUM = sizeof rows / sizeof *rows };
  static char a[COUNT * 8], b[COUNT * 8], want[COUNT * 8], got[COUNT * 8], condition[COUNT];
  const onnxc_target *targets[2];
  uint32_t num_targets = vjit_targets(targets);
  vjit_spec specs[NUM];
  for (int k = 0; k < NUM; k++)
    specs[k] = (vjit_spec){1, {rows[k].dtype}, rows[k].dtype, 16, build_constant, &rows[k]};
  for (uint32_t t = 0; t < num_targets; t++) {
    vjit *jit = vjit_compile(targets[t], specs, NUM);
    cr_assert_not_null(jit);
    for (uint32_t k = 0; k < NUM; k++) {
      job j = {rows[k].op, rows[k].dtype, rows[k].dtype};
      size_t bytes = onnxc_dtype_bytes(j.dtype);
      fill(j.dtype, a, 0);
      for (size_t n = 0; n < COUNT; n++)
        if (onnxc_dtype_is_float(j.dtype))
          onnxc_scalar_from_f64(j.dtype, b + n * bytes, rows[k].value);
        else
          onnxc_scalar_from_i64(j.dtype, b + n * bytes, (int64_t)rows[k].value);
      evaluate(&j, condition, a, b, want);
      vjit_get(jit, k)((const void *[]){a}, got, COUNT / 16);
      for (size_t n = 0; n < COUNT; n++)
        if (!agree(j.to, tolerance_of(j.op, j.dtype), got + n * bytes, want + n * bytes)) {
          cr_expect_fail("%s(%.17g, %g) of %s on %s: %.17g, not %.17g", onnxc_expr_op_name(j.op),
                         onnxc_scalar_to_f64(j.dtype, a + n * bytes), rows[k].value, onnxc_dtype_name(j.dtype),
                         targets[t]->name, onnxc_scalar_to_f64(j.dtype, got + n * bytes),
                         onnxc_scalar_to_f64(j.dtype, want + n * bytes));
          break;
        }
    }
    vjit_free(jit);
  }
}

/* ---- fused multiply-add, splat, bool in memory ---- */

static LLVMValueRef build_fma(const onnxc_nano *nano, const void *arg, const LLVMValueRef *args) {
  return onnxc_nano_fma(nano, *(const onnxc_dtype *)arg, args[0], args[1], args[2]);
}

Test(vexpr, fma_rounds_once) {
  static const onnxc_dtype f32 = ONNXC_F32, f64 = ONNXC_F64, i32 = ONNXC_I32;
  static float x[COUNT], y[COUNT], z[COUNT], got[COUNT];
  static int32_t a[COUNT], b[COUNT], c[COUNT], out[COUNT];
  static double u[COUNT], v[COUNT], w[COUNT], r[COUNT];
  random_state = 1;
  for (int k = 0; k < COUNT; k++) {
    x[k] = (float)(int64_t)random_bits() * 0x1p-63f;
    y[k] = (float)(int64_t)random_bits() * 0x1p-63f;
    z[k] = -x[k] * y[k]; /* what is left is the rounding error */
    u[k] = (double)x[k] * 3, v[k] = (double)y[k] / 3, w[k] = -u[k] * v[k];
    a[k] = (int32_t)random_bits(), b[k] = (int32_t)random_bits(), c[k] = (int32_t)random_bits();
  }
  vjit_spec specs[] = {{3, {f32, f32, f32}, f32, 16, build_fma, &f32},
                       {3, {f64, f64, f64}, f64, 8, build_fma, &f64},
                       {3, {i32, i32, i32}, i32, 16, build_fma, &i32}};
  const onnxc_target *targets[2];
  uint32_t num_targets = vjit_targets(targets);
  for (uint32_t t = 0; t < num_targets; t++) {
    vjit *jit = vjit_compile(targets[t], specs, 3);
    cr_assert_not_null(jit);
    vjit_get(jit, 0)((const void *[]){x, y, z}, got, COUNT / 16);
    vjit_get(jit, 1)((const void *[]){u, v, w}, r, COUNT / 8);
    vjit_get(jit, 2)((const void *[]){a, b, c}, out, COUNT / 16);
    for (int k = 0; k < COUNT; k++) {
      cr_assert_eq(got[k], fmaf(x[k], y[k], z[k]));
      cr_assert_eq(r[k], fma(u[k], v[k], w[k]));
      cr_assert_eq((uint32_t)out[k], (uint32_t)a[k] * (uint32_t)b[k] + (uint32_t)c[k]);
    }
    vjit_free(jit);
  }
}

/* ---- quantization ---- */

typedef struct quantization {
  onnxc_dtype to;
  double zero;
} quantization;

static LLVMValueRef build_quantize(const onnxc_nano *nano, const void *arg, const LLVMValueRef *args) {
  const quantization *q = arg;
  LLVMValueRef rounded = onnxc_nano_op(nano, ONNXC_EXPR_ROUND, ONNXC_F32, args);
  int64_t bits;
  memcpy(&bits, &q->zero, sizeof bits);
  LLVMValueRef zero = onnxc_nano_const(nano, ONNXC_F32, 16, bits);
  if (q->zero != 0)
    rounded = onnxc_nano_op(nano, ONNXC_EXPR_ADD, ONNXC_F32, (LLVMValueRef[]){rounded, zero});
  return onnxc_nano_cast(nano, q->to, ONNXC_F32, rounded);
}

/* saturate(round(x) + zero): halves, what saturates, NaN and infinities. */
Test(vexpr, quantizes) {
  static const quantization rows[] = {{ONNXC_U8, 0}, {ONNXC_U8, 3},   {ONNXC_U8, 255}, {ONNXC_I8, 0},  {ONNXC_I8, -128},
                                      {ONNXC_I8, 5}, {ONNXC_I8, 127}, {ONNXC_U8, 0.5}, {ONNXC_U8, 1e9}};
  enum { NUM_ROWS = sizeof rows / sizeof *rows };
  static float x[COUNT];
  static unsigned char got[COUNT], want[COUNT];
  vjit_spec specs[NUM_ROWS];
  fill(ONNXC_F32, (char *)x, 0);
  for (int k = 0; k < COUNT; k += 2)
    x[k] = 0.25F * (float)k - 512;
  for (int r = 0; r < NUM_ROWS; r++)
    specs[r] = (vjit_spec){1, {ONNXC_F32}, rows[r].to, 16, build_quantize, &rows[r]};
  const onnxc_target *targets[2];
  uint32_t num_targets = vjit_targets(targets);
  for (uint32_t t = 0; t < num_targets; t++) {
    vjit *jit = vjit_compile(targets[t], specs, NUM_ROWS);
    cr_assert_not_null(jit);
    for (int r = 0; r < NUM_ROWS; r++) {
      vjit_get(jit, (uint32_t)r)((const void *[]){x}, got, COUNT / 16);
      for (int k = 0; k < COUNT; k++) {
        double y = (double)(float)((double)nearbyintf(x[k]) + rows[r].zero);
        if (rows[r].to == ONNXC_U8)
          want[k] = isnan(y) ? 0 : (unsigned char)fmin(fmax(y, 0), 255);
        else
          want[k] = isnan(y) ? 0 : (unsigned char)(signed char)fmin(fmax(y, -128), 127);
        cr_assert_eq(got[k], want[k], "%s: row %d, %g: %d, not %d", targets[t]->name, r, (double)x[k], got[k], want[k]);
      }
    }
    vjit_free(jit);
  }
}

static LLVMValueRef build_splat(const onnxc_nano *nano, const void *arg, const LLVMValueRef *args) {
  (void)arg;
  LLVMValueRef last = LLVMConstInt(LLVMInt32TypeInContext(nano->context), 7, false);
  return onnxc_nano_splat(nano, LLVMBuildExtractElement(nano->builder, args[0], last, ""), 8);
}

Test(vexpr, splat_and_sub_byte_types) {
  const onnxc_target *targets[2];
  uint32_t num_targets = vjit_targets(targets);
  vjit_spec spec = {1, {ONNXC_F32}, ONNXC_F32, 8, build_splat, NULL};
  for (uint32_t t = 0; t < num_targets; t++) {
    vjit *jit = vjit_compile(targets[t], &spec, 1);
    cr_assert_not_null(jit);
    float x[] = {1, 2, 3, 4, 5, 6, 7, 8}, y[8];
    vjit_get(jit, 0)((const void *[]){x}, y, 1);
    for (int k = 0; k < 8; k++)
      cr_expect_eq(y[k], 8);
    vjit_free(jit);
  }
  LLVMContextRef context = LLVMContextCreate();
  onnxc_nano nano = {.context = context};
  cr_expect_null(onnxc_nano_type(&nano, ONNXC_STRING, 4));
  cr_expect_null(onnxc_nano_type(&nano, ONNXC_U4, 0));
  cr_expect_null(onnxc_nano_memory_type(&nano, ONNXC_C64, 0));
  cr_expect_eq(LLVMGetIntTypeWidth(onnxc_nano_memory_type(&nano, ONNXC_BOOL, 0)), 8);
  LLVMContextDispose(context);
}
