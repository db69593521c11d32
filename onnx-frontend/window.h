/* window.h -- the sliding window of convolutions and pools: attributes to extents, strides and pads. */
#ifndef ONNXC_FRONTEND_WINDOW_H
#define ONNXC_FRONTEND_WINDOW_H

#include "import.h"

typedef enum onnxc_auto_pad {
  ONNXC_PAD_NOTSET,
  ONNXC_PAD_VALID,
  ONNXC_PAD_SAME_UPPER,
  ONNXC_PAD_SAME_LOWER,
  ONNXC_PAD_BAD /* an error was recorded */
} onnxc_auto_pad;

/* Of each spatial dim s (dim s + 2 of x): the window reads x at o*stride + k*dilation - pad_low. */
typedef struct onnxc_window {
  uint32_t spatial;
  onnxc_auto_pad auto_pad;
  onnxc_dim in[ONNXC_MAX_RANK], kernel[ONNXC_MAX_RANK];
  onnxc_dim reach[ONNXC_MAX_RANK]; /* (kernel - 1) * dilation + 1 */
  int64_t stride[ONNXC_MAX_RANK], dilation[ONNXC_MAX_RANK];
  onnxc_dim pad_low[ONNXC_MAX_RANK], pad_high[ONNXC_MAX_RANK];
} onnxc_window;

/* Reads auto_pad, strides, dilations, pads and kernel_shape, which must agree with `kernel` (NULL = it is needed). Pads
 * of SAME_* are not yet known. Errors are recorded; then false. */
bool onnxc_import_window(onnxc_importer *in, onnxc_value x, const onnxc_dim *kernel, onnxc_window *window);
/* SAME_*: the output extent ceil(in / stride), and the pads that give it. */
onnxc_dim onnxc_window_same(onnxc_dims *dims, onnxc_window *window, uint32_t s);
/* Splits `total` in halves; the odd one goes to the high end if `upper`. */
void onnxc_window_split(onnxc_dims *dims, onnxc_window *window, uint32_t s, onnxc_dim total, bool upper);
/* The convolution of x with w that the attributes of Conv describe. False if a value is none, or after an error. */
bool onnxc_import_convolution(onnxc_importer *in, onnxc_value x, onnxc_value w, onnxc_conv *conv);

#endif
