/* cook_toom.h -- F(m, 3): m neighbouring outputs of a filter of 3 taps by m + 2 multiplications, not 3 m. */
#ifndef ONNXC_PASS_COOK_TOOM_H
#define ONNXC_PASS_COOK_TOOM_H

#include <stddef.h>
#include <stdint.h>

enum { ONNXC_TAPS = 3, ONNXC_MAX_TILE = 4, ONNXC_MAX_POINTS = ONNXC_MAX_TILE + ONNXC_TAPS - 1 };

/* With inputs d[0 .. points-1] and taps g[0 .. 2] the outputs y[i] = d[i] g[0] + d[i+1] g[1] + d[i+2] g[2] are
 *     y = output (filter g * input d),
 * where * multiplies element by element. In two dims each transform is applied to rows and to columns. */
typedef struct onnxc_cook_toom {
  uint32_t tile, points; /* m, m + 2 */
  double input[ONNXC_MAX_POINTS][ONNXC_MAX_POINTS];
  double filter[ONNXC_MAX_POINTS][ONNXC_TAPS];
  double output[ONNXC_MAX_TILE][ONNXC_MAX_POINTS];
} onnxc_cook_toom;

/* tile: 2 or 4. */
onnxc_cook_toom onnxc_cook_toom_of(uint32_t tile);

/* Weights of a convolution of 3 x 3: tap (y, x) of channel k for output n lies at data[n * n_stride + k * k_stride +
 * y * y_stride + x * x_stride]. */
typedef struct onnxc_kernels {
  const float *data;
  size_t channels, outputs;
  size_t n_stride, k_stride, y_stride, x_stride;
} onnxc_kernels;

/* The weights transformed, [points * points][channels][outputs]; in double, then rounded. */
void onnxc_cook_toom_filter(const onnxc_cook_toom *ct, const onnxc_kernels *kernels, float *result);
/* How exact that is in f32: one tile of seeded random inputs in [-1, 1) is put through the transforms in f32 and
 * through the sum itself in double, for some output channels. The largest difference over the largest output. NaN if an
 * output is. */
double onnxc_cook_toom_error(const onnxc_cook_toom *ct, const onnxc_kernels *kernels, const float *transformed);

#endif
