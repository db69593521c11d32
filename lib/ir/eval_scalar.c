/* eval_scalar.c -- the scalar operations over lanes; see eval_scalar.h.
 *
 * Transcendental functions of f32 are computed in double and rounded once,
 * which is correctly rounded but for about one argument in 2^29.
 */
#include "ir/eval_scalar.h"

#include <math.h>
#include <string.h>

#define EACH for (int l = 0; l < n; l++)

static const uint8_t bits_of_dtype[ONNXC_DTYPE_COUNT] = {
#define X(NAME, text, number, bytes, bits, kind) [ONNXC_##NAME] = bits,
    ONNXC_DTYPES(X)
#undef X
};

/* Of a type that lanes hold: 1 to 64. */
static int bits_of(onnxc_dtype dtype) {
  int bits = bits_of_dtype[dtype];
  return bits < 1 || bits > 64 ? 64 : bits;
}

onnxc_lane_kind onnxc_lanes_kind(onnxc_dtype dtype) {
  if (dtype == ONNXC_F32)
    return ONNXC_LANE_F32;
  if (onnxc_dtype_is_float(dtype))
    return ONNXC_LANE_F64;
  return onnxc_dtype_is_int(dtype) || onnxc_dtype_is_bool(dtype) ? ONNXC_LANE_INT : ONNXC_LANE_NONE;
}

/* ---- rounding to the type ---- */

void onnxc_lanes_wrap(onnxc_dtype dtype, int64_t *values, int n) {
  int shift = 64 - bits_of(dtype);
  if (onnxc_dtype_is_bool(dtype))
    EACH values[l] = values[l] != 0;
  else if (shift == 0)
    return;
  else if (onnxc_dtype_is_signed(dtype))
    EACH values[l] = (int64_t)((uint64_t)values[l] << shift) >> shift;
  else
    EACH values[l] = (int64_t)((uint64_t)values[l] & (UINT64_MAX >> shift));
}

static void round_f64(onnxc_dtype dtype, double *values, int n) {
  if (dtype == ONNXC_F64)
    return;
  unsigned char memory[8];
  EACH {
    onnxc_scalar_from_f64(dtype, memory, values[l]);
    values[l] = onnxc_scalar_to_f64(dtype, memory);
  }
}

/* ---- floats ---- */

#define FLOAT_FUNCTIONS(T)                                                                                             \
  static T sign_##T(T x) { return x > 0 ? (T)1 : x < 0 ? (T) - 1 : x; }                                                \
  static T min_##T(T a, T b) { return a != a ? a : b != b ? b : b < a ? b : a; }                                       \
  static T max_##T(T a, T b) { return a != a ? a : b != b ? b : b > a ? b : a; }                                       \
  static T mod_##T(T a, T b) {                                                                                         \
    T r = (T)fmod((double)a, (double)b);                                                                               \
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;                                                                   \
  }                                                                                                                    \
  static void unary_##T(onnxc_expr_op op, T *restrict o, const T *restrict a, int n) {                                 \
    switch (op) {                                                                                                      \
    case ONNXC_EXPR_NEG: EACH o[l] = -a[l]; break;                                                                     \
    case ONNXC_EXPR_ABS: EACH o[l] = (T)fabs((double)a[l]); break;                                                     \
    case ONNXC_EXPR_SIGN: EACH o[l] = sign_##T(a[l]); break;                                                           \
    case ONNXC_EXPR_SQRT: EACH o[l] = (T)sqrt((double)a[l]); break;                                                    \
    case ONNXC_EXPR_EXP: EACH o[l] = (T)exp((double)a[l]); break;                                                      \
    case ONNXC_EXPR_LOG: EACH o[l] = (T)log((double)a[l]); break;                                                      \
    case ONNXC_EXPR_LOG1P: EACH o[l] = (T)log1p((double)a[l]); break;                                                  \
    case ONNXC_EXPR_EXPM1: EACH o[l] = (T)expm1((double)a[l]); break;                                                  \
    case ONNXC_EXPR_ERF: EACH o[l] = (T)erf((double)a[l]); break;                                                      \
    case ONNXC_EXPR_TANH: EACH o[l] = (T)tanh((double)a[l]); break;                                                    \
    case ONNXC_EXPR_SIN: EACH o[l] = (T)sin((double)a[l]); break;                                                      \
    case ONNXC_EXPR_COS: EACH o[l] = (T)cos((double)a[l]); break;                                                      \
    case ONNXC_EXPR_FLOOR: EACH o[l] = (T)floor((double)a[l]); break;                                                  \
    case ONNXC_EXPR_CEIL: EACH o[l] = (T)ceil((double)a[l]); break;                                                    \
    case ONNXC_EXPR_ROUND: EACH o[l] = (T)nearbyint((double)a[l]); break;                                              \
    case ONNXC_EXPR_TRUNC: EACH o[l] = (T)trunc((double)a[l]); break;                                                  \
    default: EACH o[l] = a[l]; break;                                                                                  \
    }                                                                                                                  \
  }                                                                                                                    \
  static void binary_##T(onnxc_expr_op op, T *o, const T *a, const T *b, int n) {                                      \
    switch (op) {                                                                                                      \
    case ONNXC_EXPR_ADD: EACH o[l] = a[l] + b[l]; break;                                                               \
    case ONNXC_EXPR_SUB: EACH o[l] = a[l] - b[l]; break;                                                               \
    case ONNXC_EXPR_MUL: EACH o[l] = a[l] * b[l]; break;                                                               \
    case ONNXC_EXPR_DIV: EACH o[l] = a[l] / b[l]; break;                                                               \
    case ONNXC_EXPR_FLOORDIV: EACH o[l] = (T)floor((double)(a[l] / b[l])); break;                                      \
    case ONNXC_EXPR_MOD: EACH o[l] = mod_##T(a[l], b[l]); break;                                                       \
    case ONNXC_EXPR_REM: EACH o[l] = (T)fmod((double)a[l], (double)b[l]); break;                                       \
    case ONNXC_EXPR_POW: EACH o[l] = (T)pow((double)a[l], (double)b[l]); break;                                        \
    case ONNXC_EXPR_MIN: EACH o[l] = min_##T(a[l], b[l]); break;                                                       \
    case ONNXC_EXPR_MAX: EACH o[l] = max_##T(a[l], b[l]); break;                                                       \
    default: EACH o[l] = 0; break;                                                                                     \
    }                                                                                                                  \
  }

FLOAT_FUNCTIONS(float)
FLOAT_FUNCTIONS(double)

#define COMPARE(T)                                                                                                     \
  static void compare_##T(onnxc_expr_op op, int64_t *o, const T *a, const T *b, int n) {                               \
    switch (op) {                                                                                                      \
    case ONNXC_EXPR_EQ: EACH o[l] = a[l] == b[l]; break;                                                               \
    case ONNXC_EXPR_NE: EACH o[l] = a[l] != b[l]; break;                                                               \
    case ONNXC_EXPR_LT: EACH o[l] = a[l] < b[l]; break;                                                                \
    case ONNXC_EXPR_LE: EACH o[l] = a[l] <= b[l]; break;                                                               \
    case ONNXC_EXPR_GT: EACH o[l] = a[l] > b[l]; break;                                                                \
    default: EACH o[l] = a[l] >= b[l]; break;                                                                          \
    }                                                                                                                  \
  }

COMPARE(float)
COMPARE(double)
COMPARE(int64_t)
COMPARE(uint64_t)

static bool is_comparison(onnxc_expr_op op) { return op >= ONNXC_EXPR_EQ && op <= ONNXC_EXPR_GE; }

/* ---- integers; all in 64 bits, then wrapped ---- */

static int64_t wrap_neg(int64_t a) { return (int64_t)(0 - (uint64_t)a); }

static int64_t div_signed(int64_t a, int64_t b) { return b == 0 ? 0 : b == -1 ? wrap_neg(a) : a / b; }

static int64_t rem_signed(int64_t a, int64_t b) { return b == 0 || b == -1 ? 0 : a % b; }

static int64_t floordiv_signed(int64_t a, int64_t b) {
  int64_t r = rem_signed(a, b);
  return div_signed(a, b) - (r != 0 && (r < 0) != (b < 0));
}

static int64_t mod_signed(int64_t a, int64_t b) {
  int64_t r = rem_signed(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

static int64_t div_unsigned(int64_t a, int64_t b) { return b == 0 ? 0 : (int64_t)((uint64_t)a / (uint64_t)b); }

static int64_t rem_unsigned(int64_t a, int64_t b) { return b == 0 ? 0 : (int64_t)((uint64_t)a % (uint64_t)b); }

/* A negative exponent gives the truncated reciprocal. */
static int64_t pow_int(int64_t a, int64_t b, bool is_unsigned) {
  if (b < 0 && !is_unsigned)
    return a == 1 ? 1 : a == -1 ? ((b & 1) ? -1 : 1) : 0;
  uint64_t result = 1, base = (uint64_t)a;
  for (uint64_t e = (uint64_t)b; e; e >>= 1, base *= base)
    if (e & 1)
      result *= base;
  return (int64_t)result;
}

static int64_t shl(int64_t a, int64_t b, int bits) {
  return (uint64_t)b >= (uint64_t)bits ? 0 : (int64_t)((uint64_t)a << b);
}

static int64_t shr(int64_t a, int64_t b, int bits, bool is_signed) {
  bool over = (uint64_t)b >= (uint64_t)bits;
  if (is_signed)
    return a >> (over ? 63 : b);
  return over ? 0 : (int64_t)((uint64_t)a >> b);
}

static void unary_int(onnxc_expr_op op, onnxc_dtype dtype, int64_t *o, const int64_t *a, int n) {
  bool is_signed = onnxc_dtype_is_signed(dtype);
  switch (op) {
  case ONNXC_EXPR_NEG: EACH o[l] = wrap_neg(a[l]); break;
  case ONNXC_EXPR_ABS: EACH o[l] = is_signed && a[l] < 0 ? wrap_neg(a[l]) : a[l]; break;
  case ONNXC_EXPR_SIGN: EACH o[l] = is_signed && a[l] < 0 ? -1 : a[l] != 0; break;
  case ONNXC_EXPR_NOT:
    if (onnxc_dtype_is_bool(dtype))
      EACH o[l] = !a[l];
    else
      EACH o[l] = ~a[l];
    break;
  case ONNXC_EXPR_ISNAN: EACH o[l] = 0; break;
  case ONNXC_EXPR_SQRT: EACH o[l] = a[l] > 0 ? (int64_t)sqrt((double)a[l]) : 0; break;
  default: EACH o[l] = a[l]; break; /* floor, ceil, round, trunc */
  }
  onnxc_lanes_wrap(dtype, o, n);
}

static void binary_int(onnxc_expr_op op, onnxc_dtype dtype, int64_t *o, const int64_t *a, const int64_t *b, int n) {
  bool u64 = dtype == ONNXC_U64, is_signed = onnxc_dtype_is_signed(dtype);
  int bits = bits_of(dtype);
  switch (op) {
  case ONNXC_EXPR_ADD: EACH o[l] = (int64_t)((uint64_t)a[l] + (uint64_t)b[l]); break;
  case ONNXC_EXPR_SUB: EACH o[l] = (int64_t)((uint64_t)a[l] - (uint64_t)b[l]); break;
  case ONNXC_EXPR_MUL: EACH o[l] = (int64_t)((uint64_t)a[l] * (uint64_t)b[l]); break;
  case ONNXC_EXPR_DIV: EACH o[l] = u64 ? div_unsigned(a[l], b[l]) : div_signed(a[l], b[l]); break;
  case ONNXC_EXPR_FLOORDIV: EACH o[l] = u64 ? div_unsigned(a[l], b[l]) : floordiv_signed(a[l], b[l]); break;
  case ONNXC_EXPR_MOD: EACH o[l] = u64 ? rem_unsigned(a[l], b[l]) : mod_signed(a[l], b[l]); break;
  case ONNXC_EXPR_REM: EACH o[l] = u64 ? rem_unsigned(a[l], b[l]) : rem_signed(a[l], b[l]); break;
  case ONNXC_EXPR_POW: EACH o[l] = pow_int(a[l], b[l], !is_signed); break;
  case ONNXC_EXPR_MIN: EACH o[l] = (u64 ? (uint64_t)b[l] < (uint64_t)a[l] : b[l] < a[l]) ? b[l] : a[l]; break;
  case ONNXC_EXPR_MAX: EACH o[l] = (u64 ? (uint64_t)b[l] > (uint64_t)a[l] : b[l] > a[l]) ? b[l] : a[l]; break;
  case ONNXC_EXPR_AND: EACH o[l] = a[l] & b[l]; break;
  case ONNXC_EXPR_OR: EACH o[l] = a[l] | b[l]; break;
  case ONNXC_EXPR_XOR: EACH o[l] = a[l] ^ b[l]; break;
  case ONNXC_EXPR_SHL: EACH o[l] = shl(a[l], b[l], bits); break;
  case ONNXC_EXPR_SHR: EACH o[l] = shr(a[l], b[l], bits, is_signed); break;
  default: EACH o[l] = 0; break;
  }
  onnxc_lanes_wrap(dtype, o, n);
}

/* ---- the dispatch ---- */

void onnxc_lanes_unary(onnxc_expr_op op, onnxc_dtype dtype, onnxc_lanes *out, const onnxc_lanes *a, int n) {
  onnxc_lane_kind kind = onnxc_lanes_kind(dtype);
  if (op == ONNXC_EXPR_ISNAN && kind == ONNXC_LANE_F32) {
    EACH out->i64[l] = a->f32[l] != a->f32[l];
  } else if (op == ONNXC_EXPR_ISNAN && kind == ONNXC_LANE_F64) {
    EACH out->i64[l] = a->f64[l] != a->f64[l];
  } else if (kind == ONNXC_LANE_F32) {
    unary_float(op, out->f32, a->f32, n);
  } else if (kind == ONNXC_LANE_F64) {
    unary_double(op, out->f64, a->f64, n);
    round_f64(dtype, out->f64, n);
  } else {
    unary_int(op, dtype, out->i64, a->i64, n);
  }
}

void onnxc_lanes_binary(onnxc_expr_op op, onnxc_dtype dtype, onnxc_lanes *out, const onnxc_lanes *a,
                        const onnxc_lanes *b, int n) {
  onnxc_lane_kind kind = onnxc_lanes_kind(dtype);
  if (kind == ONNXC_LANE_F32) {
    if (is_comparison(op))
      compare_float(op, out->i64, a->f32, b->f32, n);
    else
      binary_float(op, out->f32, a->f32, b->f32, n);
  } else if (kind == ONNXC_LANE_F64) {
    if (is_comparison(op)) {
      compare_double(op, out->i64, a->f64, b->f64, n);
    } else {
      binary_double(op, out->f64, a->f64, b->f64, n);
      round_f64(dtype, out->f64, n);
    }
  } else if (is_comparison(op)) {
    if (dtype == ONNXC_U64)
      compare_uint64_t(op, out->i64, (const uint64_t *)a->i64, (const uint64_t *)b->i64, n);
    else
      compare_int64_t(op, out->i64, a->i64, b->i64, n);
  } else {
    binary_int(op, dtype, out->i64, a->i64, b->i64, n);
  }
}

void onnxc_lanes_select(onnxc_dtype dtype, onnxc_lanes *out, const onnxc_lanes *c, const onnxc_lanes *a,
                        const onnxc_lanes *b, int n) {
  if (onnxc_lanes_kind(dtype) == ONNXC_LANE_F32)
    EACH out->f32[l] = c->i64[l] ? a->f32[l] : b->f32[l];
  else
    EACH out->i64[l] = c->i64[l] ? a->i64[l] : b->i64[l];
}

static int64_t saturate(double x, onnxc_dtype dtype) {
  if (x != x)
    return 0;
  int bits = bits_of(dtype);
  if (dtype == ONNXC_U64)
    return x <= 0 ? 0 : x >= 0x1p64 ? (int64_t)UINT64_MAX : (int64_t)(uint64_t)x;
  if (dtype == ONNXC_I64)
    return x <= -0x1p63 ? INT64_MIN : x >= 0x1p63 ? INT64_MAX : (int64_t)x;
  if (bits > 32)
    return (int64_t)x;
  bool is_signed = onnxc_dtype_is_signed(dtype);
  int64_t low = is_signed ? -((int64_t)1 << (bits - 1)) : 0;
  int64_t high = is_signed ? ((int64_t)1 << (bits - 1)) - 1 : ((int64_t)1 << bits) - 1;
  return x <= (double)low ? low : x >= (double)high ? high : (int64_t)x;
}

void onnxc_lanes_cast(onnxc_dtype to, onnxc_lanes *out, onnxc_dtype from, const onnxc_lanes *a, int n) {
  onnxc_lane_kind source = onnxc_lanes_kind(from), target = onnxc_lanes_kind(to);
  if (source == ONNXC_LANE_INT && target == ONNXC_LANE_INT) {
    EACH out->i64[l] = a->i64[l];
    onnxc_lanes_wrap(to, out->i64, n);
  } else if (source == ONNXC_LANE_INT && target == ONNXC_LANE_F32) {
    if (from == ONNXC_U64)
      EACH out->f32[l] = (float)(uint64_t)a->i64[l];
    else
      EACH out->f32[l] = (float)a->i64[l];
  } else if (source == ONNXC_LANE_INT) {
    if (from == ONNXC_U64)
      EACH out->f64[l] = (double)(uint64_t)a->i64[l];
    else
      EACH out->f64[l] = (double)a->i64[l];
    round_f64(to, out->f64, n);
  } else if (target == ONNXC_LANE_INT) {
    bool to_bool = onnxc_dtype_is_bool(to);
    EACH {
      double x = source == ONNXC_LANE_F32 ? (double)a->f32[l] : a->f64[l];
      out->i64[l] = to_bool ? x != 0 : saturate(x, to);
    }
  } else if (target == ONNXC_LANE_F32) {
    EACH out->f32[l] = source == ONNXC_LANE_F32 ? a->f32[l] : (float)a->f64[l];
  } else {
    EACH out->f64[l] = source == ONNXC_LANE_F32 ? (double)a->f32[l] : a->f64[l];
    round_f64(to, out->f64, n);
  }
}

/* ---- memory: constants lie in a model's file at any address, so loads go by memcpy ---- */

#define LOAD_CASE(DTYPE, T, field)                                                                                     \
  case DTYPE: {                                                                                                        \
    const char *from = memory;                                                                                         \
    const int64_t step = stride * (int64_t)sizeof(T);                                                                  \
    T value;                                                                                                           \
    if (stride == 1)                                                                                                   \
      EACH {                                                                                                           \
        memcpy(&value, from + l * (int64_t)sizeof value, sizeof value);                                                \
        out->field[at + l] = +value; /* promoted */                                                                    \
      }                                                                                                                \
    else                                                                                                               \
      EACH {                                                                                                           \
        memcpy(&value, from + l * step, sizeof value);                                                                 \
        out->field[at + l] = +value;                                                                                   \
      }                                                                                                                \
    break;                                                                                                             \
  }

void onnxc_lanes_load(onnxc_dtype dtype, onnxc_lanes *out, int at, const void *memory, int64_t stride, int n) {
  switch (dtype) {
    LOAD_CASE(ONNXC_F32, float, f32)
    LOAD_CASE(ONNXC_F64, double, f64)
    LOAD_CASE(ONNXC_I64, int64_t, i64)
    LOAD_CASE(ONNXC_U64, int64_t, i64)
    LOAD_CASE(ONNXC_I32, int32_t, i64)
    LOAD_CASE(ONNXC_U32, uint32_t, i64)
    LOAD_CASE(ONNXC_I16, int16_t, i64)
    LOAD_CASE(ONNXC_U16, uint16_t, i64)
    LOAD_CASE(ONNXC_I8, int8_t, i64)
    LOAD_CASE(ONNXC_U8, uint8_t, i64)
  default: {
    const char *from = memory;
    int64_t step = stride * (int64_t)onnxc_dtype_bytes(dtype);
    if (onnxc_dtype_is_float(dtype))
      EACH out->f64[at + l] = onnxc_scalar_to_f64(dtype, from + l * step);
    else
      EACH out->i64[at + l] = onnxc_scalar_to_i64(dtype, from + l * step);
  }
  }
}

#define GATHER_CASE(DTYPE, T, field)                                                                                   \
  case DTYPE: {                                                                                                        \
    const char *from = memory;                                                                                         \
    EACH {                                                                                                             \
      T value = 0;                                                                                                     \
      if (!skip[l])                                                                                                    \
        memcpy(&value, from + offsets[l] * (int64_t)sizeof value, sizeof value);                                       \
      out->field[l] = +value;                                                                                          \
    }                                                                                                                  \
    break;                                                                                                             \
  }

void onnxc_lanes_gather(onnxc_dtype dtype, onnxc_lanes *out, const void *memory, const int64_t *offsets,
                        const uint8_t *skip, int n) {
  switch (dtype) {
    GATHER_CASE(ONNXC_F32, float, f32)
    GATHER_CASE(ONNXC_F64, double, f64)
    GATHER_CASE(ONNXC_I64, int64_t, i64)
    GATHER_CASE(ONNXC_I32, int32_t, i64)
    GATHER_CASE(ONNXC_I8, int8_t, i64)
    GATHER_CASE(ONNXC_U8, uint8_t, i64)
  default: {
    const char *from = memory;
    int64_t bytes = (int64_t)onnxc_dtype_bytes(dtype);
    bool is_float = onnxc_dtype_is_float(dtype);
    EACH {
      if (is_float)
        out->f64[l] = skip[l] ? 0 : onnxc_scalar_to_f64(dtype, from + offsets[l] * bytes);
      else
        out->i64[l] = skip[l] ? 0 : onnxc_scalar_to_i64(dtype, from + offsets[l] * bytes);
    }
  }
  }
}

void onnxc_lanes_store(onnxc_dtype dtype, void *memory, const onnxc_lanes *a, int n) {
  if (dtype == ONNXC_F32 || dtype == ONNXC_F64 || dtype == ONNXC_I64 || dtype == ONNXC_U64) {
    memcpy(memory, a, (size_t)n * onnxc_dtype_bytes(dtype));
    return;
  }
  char *to = memory;
  size_t bytes = onnxc_dtype_bytes(dtype);
  if (onnxc_dtype_is_float(dtype))
    EACH onnxc_scalar_from_f64(dtype, to + (size_t)l * bytes, a->f64[l]);
  else
    EACH onnxc_scalar_from_i64(dtype, to + (size_t)l * bytes, a->i64[l]);
}

void onnxc_lanes_to_f64(onnxc_dtype dtype, double *out, const onnxc_lanes *a, int n) {
  if (onnxc_lanes_kind(dtype) == ONNXC_LANE_F32)
    EACH out[l] = (double)a->f32[l];
  else
    memcpy(out, a->f64, (size_t)n * sizeof *out);
}

void onnxc_lanes_from_f64(onnxc_dtype dtype, onnxc_lanes *out, const double *a, int n) {
  if (onnxc_lanes_kind(dtype) == ONNXC_LANE_F32) {
    EACH out->f32[l] = (float)a[l];
  } else {
    memcpy(out->f64, a, (size_t)n * sizeof *a);
    round_f64(dtype, out->f64, n);
  }
}
