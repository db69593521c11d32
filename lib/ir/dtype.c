/* dtype.c -- the table of element types and scalar conversions.
 *
 * The narrow floats are rows of one table: exponent bits, mantissa bits, bias
 * and what stands at the top of the range. One decoder and one encoder serve
 * them all, both through double, which holds each of them exactly.
 */
#include "ir/dtype.h"

#include <math.h>
#include <string.h>

typedef struct dtype_row {
  const char *name;
  uint8_t bytes, bits;
  char kind;
} dtype_row;

static const dtype_row rows[ONNXC_DTYPE_COUNT] = {
#define X(NAME, text, number, bytes, bits, kind) [number] = {text, bytes, bits, kind},
    ONNXC_DTYPES(X)
#undef X
};

static const dtype_row *row_of(onnxc_dtype dtype) {
  return (unsigned)dtype < ONNXC_DTYPE_COUNT ? &rows[dtype] : &rows[0];
}

const char *onnxc_dtype_name(onnxc_dtype dtype) {
  const char *name = row_of(dtype)->name;
  return name ? name : "?";
}

onnxc_dtype onnxc_dtype_parse(const char *name, size_t len) {
  for (int i = 1; i < ONNXC_DTYPE_COUNT; i++)
    if (strlen(rows[i].name) == len && memcmp(rows[i].name, name, len) == 0)
      return (onnxc_dtype)i;
  return ONNXC_DTYPE_NONE;
}

size_t onnxc_dtype_bytes(onnxc_dtype dtype) { return row_of(dtype)->bytes; }
bool onnxc_dtype_is_float(onnxc_dtype dtype) { return row_of(dtype)->kind == 'f'; }
bool onnxc_dtype_is_int(onnxc_dtype dtype) { return row_of(dtype)->kind == 'i' || row_of(dtype)->kind == 'u'; }
bool onnxc_dtype_is_signed(onnxc_dtype dtype) { return row_of(dtype)->kind == 'i'; }
bool onnxc_dtype_is_bool(onnxc_dtype dtype) { return dtype == ONNXC_BOOL; }

/* What the codes at the top of the range mean. */
typedef enum top_codes {
  TOP_IEEE,     /* infinities and NaNs; overflow gives infinity */
  TOP_IEEE_SAT, /* the same codes, but overflow and infinity saturate (ONNX's Cast to f8e5m2) */
  TOP_FN,       /* only the all-ones code is NaN; saturates */
  TOP_UZ,       /* NaN is the code of -0, infinity becomes NaN; saturates */
  TOP_FINITE    /* every code is finite; saturates, NaN becomes the largest value */
} top_codes;

typedef struct narrow_float {
  int exponent_bits, mantissa_bits, bias;
  top_codes top;
} narrow_float;

static const narrow_float narrow[ONNXC_DTYPE_COUNT] = {
    [ONNXC_F16] = {5, 10, 15, TOP_IEEE},       [ONNXC_BF16] = {8, 7, 127, TOP_IEEE},
    [ONNXC_F8E4M3FN] = {4, 3, 7, TOP_FN},      [ONNXC_F8E4M3FNUZ] = {4, 3, 8, TOP_UZ},
    [ONNXC_F8E5M2] = {5, 2, 15, TOP_IEEE_SAT}, [ONNXC_F8E5M2FNUZ] = {5, 2, 16, TOP_UZ},
    [ONNXC_F4E2M1] = {2, 1, 1, TOP_FINITE},
};

static double decode_narrow(const narrow_float *f, uint32_t code) {
  int width = f->exponent_bits + f->mantissa_bits;
  bool negative = (code >> width) & 1;
  uint32_t magnitude = code & ((1u << width) - 1);
  uint32_t exponent = magnitude >> f->mantissa_bits;
  uint32_t mantissa = magnitude & ((1u << f->mantissa_bits) - 1);
  if (f->top <= TOP_IEEE_SAT && exponent == (1u << f->exponent_bits) - 1)
    return mantissa ? NAN : negative ? -INFINITY : INFINITY;
  if ((f->top == TOP_FN && magnitude == (1u << width) - 1) || (f->top == TOP_UZ && negative && magnitude == 0))
    return NAN;
  double value = exponent
                     ? ldexp((double)(mantissa + (1u << f->mantissa_bits)), (int)exponent - f->bias - f->mantissa_bits)
                     : ldexp((double)mantissa, 1 - f->bias - f->mantissa_bits);
  return negative ? -value : value;
}

static uint32_t encode_narrow(const narrow_float *f, double value) {
  int width = f->exponent_bits + f->mantissa_bits;
  uint32_t sign = (uint32_t)(signbit(value) != 0) << width;
  uint32_t infinity = ((1u << f->exponent_bits) - 1) << f->mantissa_bits;
  uint32_t ones = (1u << width) - 1;
  uint32_t largest = f->top <= TOP_IEEE_SAT ? infinity - 1 : f->top == TOP_FN ? ones - 1 : ones;
  if (isnan(value)) {
    switch (f->top) {
    case TOP_UZ: return 1u << width;
    case TOP_FN: return sign | ones;
    case TOP_FINITE: return largest;
    default: return sign | infinity | 1u << (f->mantissa_bits - 1);
    }
  }
  if (isinf(value))
    return f->top == TOP_UZ ? 1u << width : sign | (f->top == TOP_IEEE ? infinity : largest);
  if (value == 0)
    return f->top == TOP_UZ ? 0 : sign;
  int smallest = 1 - f->bias; /* exponent of the smallest normal */
  int exponent = ilogb(value);
  if (exponent > 1 - smallest + 64)
    return sign | (f->top == TOP_IEEE ? infinity : largest);
  if (exponent < smallest)
    exponent = smallest;
  /* Rounded to units of the last place; a carry runs into the exponent as it should. */
  double units = nearbyint(ldexp(fabs(value), f->mantissa_bits - exponent));
  uint32_t magnitude = ((uint32_t)(exponent - smallest) << f->mantissa_bits) + (uint32_t)units;
  if (magnitude > largest)
    magnitude = f->top == TOP_IEEE ? infinity : largest;
  if (magnitude == 0 && f->top == TOP_UZ)
    return 0;
  return sign | magnitude;
}

/* f8e8m0: a bare power of two, 0xff is NaN. */
static uint32_t encode_power(double value) {
  if (isnan(value))
    return 0xff;
  if (!(value > 0))
    return 0;
  if (isinf(value))
    return 0xfe;
  int exponent;
  double fraction = frexp(value, &exponent); /* in [0.5, 1) */
  exponent += fraction >= 0.75 ? 0 : -1;
  exponent += 127;
  return (uint32_t)(exponent < 0 ? 0 : exponent > 0xfe ? 0xfe : exponent);
}

double onnxc_scalar_to_f64(onnxc_dtype dtype, const void *memory) {
  uint32_t code = 0;
  switch (dtype) {
  case ONNXC_F32:
  case ONNXC_C64: {
    float value;
    memcpy(&value, memory, sizeof value);
    return (double)value;
  }
  case ONNXC_F64:
  case ONNXC_C128: {
    double value;
    memcpy(&value, memory, sizeof value);
    return value;
  }
  case ONNXC_U64: return (double)(uint64_t)onnxc_scalar_to_i64(dtype, memory);
  case ONNXC_F8E8M0: {
    uint8_t exponent;
    memcpy(&exponent, memory, 1);
    return exponent == 0xff ? NAN : ldexp(1, exponent - 127);
  }
  default:
    if (!onnxc_dtype_is_float(dtype))
      return (double)onnxc_scalar_to_i64(dtype, memory);
    if (row_of(dtype)->bytes == 2) {
      uint16_t half;
      memcpy(&half, memory, sizeof half);
      code = half;
    } else {
      uint8_t byte;
      memcpy(&byte, memory, 1);
      code = byte;
    }
    return decode_narrow(&narrow[dtype], code);
  }
}

static int64_t saturate(double value, double low, double high) {
  if (isnan(value))
    return 0;
  value = trunc(value);
  if (value <= low)
    return low <= -0x1p63 ? INT64_MIN : (int64_t)low;
  if (value >= high)
    return high >= 0x1p63 ? INT64_MAX : (int64_t)high;
  return (int64_t)value;
}

int64_t onnxc_scalar_to_i64(onnxc_dtype dtype, const void *memory) {
  const dtype_row *row = row_of(dtype);
  if (row->kind == 'f' || row->kind == 'x') {
    if (dtype == ONNXC_STRING)
      return 0;
    return saturate(onnxc_scalar_to_f64(dtype, memory), -0x1p63, 0x1p63);
  }
  if (row->kind == 'b') {
    uint8_t byte;
    memcpy(&byte, memory, 1);
    return byte != 0;
  }
  uint64_t bits = 0;
  switch (row->bytes) {
  case 1: {
    uint8_t v;
    memcpy(&v, memory, sizeof v);
    bits = v;
    break;
  }
  case 2: {
    uint16_t v;
    memcpy(&v, memory, sizeof v);
    bits = v;
    break;
  }
  case 4: {
    uint32_t v;
    memcpy(&v, memory, sizeof v);
    bits = v;
    break;
  }
  case 8: memcpy(&bits, memory, sizeof bits); break;
  default: return 0;
  }
  if (row->bits < 64) {
    uint64_t mask = ((uint64_t)1 << row->bits) - 1;
    bits &= mask;
    if (row->kind == 'i' && bits >> (row->bits - 1))
      bits |= ~mask;
  }
  return (int64_t)bits;
}

void onnxc_scalar_from_f64(onnxc_dtype dtype, void *memory, double value) {
  const dtype_row *row = row_of(dtype);
  switch (dtype) {
  case ONNXC_F32:
  case ONNXC_C64: {
    float narrowed[2] = {(float)value, 0};
    memcpy(memory, narrowed, row->bytes);
    return;
  }
  case ONNXC_F64:
  case ONNXC_C128: {
    double wide[2] = {value, 0};
    memcpy(memory, wide, row->bytes);
    return;
  }
  case ONNXC_BOOL: {
    uint8_t truth = value != 0; /* NaN is true */
    memcpy(memory, &truth, 1);
    return;
  }
  case ONNXC_F8E8M0: {
    uint8_t code = (uint8_t)encode_power(value);
    memcpy(memory, &code, 1);
    return;
  }
  case ONNXC_U64:
    if (value >= 0x1p63) {
      uint64_t big = value >= 0x1p64 ? UINT64_MAX : (uint64_t)value;
      memcpy(memory, &big, sizeof big);
      return;
    }
    onnxc_scalar_from_i64(dtype, memory, saturate(value, 0, 0x1p63));
    return;
  default: break;
  }
  if (row->kind == 'f') {
    uint32_t code = encode_narrow(&narrow[dtype], value);
    if (row->bytes == 2) {
      uint16_t half = (uint16_t)code;
      memcpy(memory, &half, sizeof half);
    } else {
      uint8_t byte = (uint8_t)code;
      memcpy(memory, &byte, 1);
    }
  } else if (row->kind == 'i') {
    double edge = ldexp(1, row->bits - 1);
    onnxc_scalar_from_i64(dtype, memory, saturate(value, -edge, row->bits == 64 ? edge : edge - 1));
  } else if (row->kind == 'u') {
    onnxc_scalar_from_i64(dtype, memory, saturate(value, 0, ldexp(1, row->bits) - 1));
  }
}

void onnxc_scalar_from_i64(onnxc_dtype dtype, void *memory, int64_t value) {
  const dtype_row *row = row_of(dtype);
  if (row->kind == 'f' || (row->kind == 'x' && dtype != ONNXC_STRING)) {
    onnxc_scalar_from_f64(dtype, memory, (double)value);
    return;
  }
  if (row->kind == 'b')
    value = value != 0;
  if (row->bits && row->bits < 8) { /* a sub-byte type lies extended in its byte */
    uint64_t low = (uint64_t)value << (64 - row->bits);
    value = row->kind == 'i' ? (int64_t)low >> (64 - row->bits) : (int64_t)(low >> (64 - row->bits));
  }
  switch (row->bytes) {
  case 1: {
    uint8_t v = (uint8_t)value;
    memcpy(memory, &v, sizeof v);
    break;
  }
  case 2: {
    uint16_t v = (uint16_t)value;
    memcpy(memory, &v, sizeof v);
    break;
  }
  case 4: {
    uint32_t v = (uint32_t)value;
    memcpy(memory, &v, sizeof v);
    break;
  }
  case 8: memcpy(memory, &value, sizeof value); break;
  default: break;
  }
}
