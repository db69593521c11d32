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

/* The number that an i32 with scale a * b stands for, with the scale y and input k, the zero point, which has the
 * result's type. a and b broadcast against the sum without making it larger; y is a scalar. */
onnxc_value onnxc_import_requantize(onnxc_importer *in, onnxc_value sum, onnxc_value a_scale, onnxc_value b_scale,
                                    onnxc_value y_scale, uint32_t k);

#endif
