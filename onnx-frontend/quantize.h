/* quantize.h -- scales and zero points: between integers and the numbers that they stand for.
 *
 *     number = (integer - zero point) * scale      integer = saturate(round(number / scale) + zero point)
 *
 * Rounding is to the nearest, ties to even. All is computed in f32.
 */
#ifndef ONNXC_FRONTEND_QUANTIZE_H
#define ONNXC_FRONTEND_QUANTIZE_H

#include "import.h"

/* Input k, an integer of a byte; none after an error. */
onnxc_value onnxc_import_byte(onnxc_importer *in, uint32_t k);
/* Input k as the zero point of `of`: none if it is omitted or a constant that holds zeros alone. False after an error
 * (it has another type than `of`). */
bool onnxc_import_zero_point(onnxc_importer *in, uint32_t k, onnxc_value of, onnxc_value *zero);
/* Input k if it is a float, or else none, with an error. A vector of one element becomes a scalar. */
onnxc_value onnxc_import_scale(onnxc_importer *in, uint32_t k);
/* A vector of one element becomes a scalar; all else, none too, stays. */
onnxc_value onnxc_import_unvector(onnxc_importer *in, onnxc_value value);

/* Whether a scale or zero point (or none) broadcasts against `of` without making it larger: an error if it cannot, a
 * constraint where a run decides. */
bool onnxc_import_fits(onnxc_importer *in, onnxc_value parameter, const onnxc_value_info *of);

/* The numbers that input k stands for: a byte, its scale k + 1 and its zero point k + 2, which may be omitted. Both are
 * scalars. */
onnxc_value onnxc_import_dequantized(onnxc_importer *in, uint32_t k);
/* Numbers of f32 as bytes with the scale and zero point that inputs k and k + 1 are; without the latter 0 and of type
 * `dtype`. */
onnxc_value onnxc_import_quantized(onnxc_importer *in, onnxc_value numbers, uint32_t k, onnxc_dtype dtype);

/* The number that an i32 with scale a * b stands for, with the scale y and input k, the zero point, which has the
 * result's type. a and b broadcast against the sum without making it larger; y is a scalar. */
onnxc_value onnxc_import_requantize(onnxc_importer *in, onnxc_value sum, onnxc_value a_scale, onnxc_value b_scale,
                                    onnxc_value y_scale, uint32_t k);

#endif
