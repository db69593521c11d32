/* dtype.h -- element types, one row each.
 *
 * The numbers of X(...) are ONNX's TensorProto.DataType, so that the front end
 * and .pb files need no second table. Sub-byte types are packed only in
 * constants and at the border; everywhere else an element takes `bytes` bytes.
 */
#ifndef ONNXC_IR_DTYPE_H
#define ONNXC_IR_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "onnxc/runtime.h"

/* name, ONNX number, bytes, bits, kind: f float, i signed, u unsigned, b bool, x other */
#define ONNXC_DTYPES(X)                                                                                                \
  X(F32, "f32", 1, 4, 32, 'f')                                                                                         \
  X(U8, "u8", 2, 1, 8, 'u')                                                                                            \
  X(I8, "i8", 3, 1, 8, 'i')                                                                                            \
  X(U16, "u16", 4, 2, 16, 'u')                                                                                         \
  X(I16, "i16", 5, 2, 16, 'i')                                                                                         \
  X(I32, "i32", 6, 4, 32, 'i')                                                                                         \
  X(I64, "i64", 7, 8, 64, 'i')                                                                                         \
  X(STRING, "string", 8, 8, 64, 'x')                                                                                   \
  X(BOOL, "bool", 9, 1, 8, 'b')                                                                                        \
  X(F16, "f16", 10, 2, 16, 'f')                                                                                        \
  X(F64, "f64", 11, 8, 64, 'f')                                                                                        \
  X(U32, "u32", 12, 4, 32, 'u')                                                                                        \
  X(U64, "u64", 13, 8, 64, 'u')                                                                                        \
  X(C64, "c64", 14, 8, 64, 'x')                                                                                        \
  X(C128, "c128", 15, 16, 128, 'x')                                                                                    \
  X(BF16, "bf16", 16, 2, 16, 'f')                                                                                      \
  X(F8E4M3FN, "f8e4m3fn", 17, 1, 8, 'f')                                                                               \
  X(F8E4M3FNUZ, "f8e4m3fnuz", 18, 1, 8, 'f')                                                                           \
  X(F8E5M2, "f8e5m2", 19, 1, 8, 'f')                                                                                   \
  X(F8E5M2FNUZ, "f8e5m2fnuz", 20, 1, 8, 'f')                                                                           \
  X(U4, "u4", 21, 1, 4, 'u')                                                                                           \
  X(I4, "i4", 22, 1, 4, 'i')                                                                                           \
  X(F4E2M1, "f4e2m1", 23, 1, 4, 'f')                                                                                   \
  X(F8E8M0, "f8e8m0", 24, 1, 8, 'f')                                                                                   \
  X(U2, "u2", 25, 1, 2, 'u')                                                                                           \
  X(I2, "i2", 26, 1, 2, 'i')

typedef enum onnxc_dtype {
  ONNXC_DTYPE_NONE = 0,
#define ONNXC_DTYPE_ENUM(NAME, text, number, bytes, bits, kind) ONNXC_##NAME = number,
  ONNXC_DTYPES(ONNXC_DTYPE_ENUM)
#undef ONNXC_DTYPE_ENUM
      ONNXC_DTYPE_COUNT
} onnxc_dtype;

const char *onnxc_dtype_name(onnxc_dtype dtype);             /* "f32"; "?" when unknown */
onnxc_dtype onnxc_dtype_parse(const char *name, size_t len); /* NONE when unknown */
size_t onnxc_dtype_bytes(onnxc_dtype dtype);                 /* in memory; 0 when unknown */
bool onnxc_dtype_is_float(onnxc_dtype dtype);
bool onnxc_dtype_is_int(onnxc_dtype dtype);    /* signed or unsigned, not bool */
bool onnxc_dtype_is_signed(onnxc_dtype dtype); /* signed integer */
bool onnxc_dtype_is_bool(onnxc_dtype dtype);

/* Scalar conversions; memory is in the dtype's format, unaligned allowed.
 * Floats (f8..f64) go through double exactly; bool is 0/1; float to integer
 * truncates and saturates, NaN gives 0 (as ONNX's reference and AVX agree to
 * on the representable range). */
double onnxc_scalar_to_f64(onnxc_dtype dtype, const void *memory);
int64_t onnxc_scalar_to_i64(onnxc_dtype dtype, const void *memory);
void onnxc_scalar_from_f64(onnxc_dtype dtype, void *memory, double value);  /* round to nearest even */
void onnxc_scalar_from_i64(onnxc_dtype dtype, void *memory, int64_t value); /* wraps */

#endif
