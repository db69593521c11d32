/* window.c -- see window.h. */
#include "window.h"

#include <string.h>

enum { MAX_ATTRIBUTE = 1 << 24 }; /* of strides, kernels and pads, so that products stay far from overflow */

/* Attribute `name` as `count` numbers of at least `low`; `fallback` for each when absent. */
static bool numbers(onnxc_importer *in, const char *name, uint32_t count, int64_t low, int64_t fallback,
                    int64_t *result) {
  uint32_t length;
  const int64_t *given = onnxc_import_ints(in, name, &length);
  for (uint32_t k = 0; k < count; k++)
    result[k] = fallback;
  if (!given || length == 0)
    return true;
  if (length != count) {
    onnxc_import_error(in, ONNXC_BAD_INPUT, "attribute %s has %u numbers, not %u", name, length, count);
    return false;
  }
  for (uint32_t k = 0; k < count; k++) {
    if (given[k] < low || given[k] > MAX_ATTRIBUTE) {
      onnxc_import_error(in, ONNXC_BAD_INPUT, "attribute %s holds %lld", name, (long long)given[k]);
      return false;
    }
    result[k] = given[k];
  }
  return true;
}

static onnxc_auto_pad auto_pad_of(onnxc_importer *in) {
  const char *text = onnxc_import_string(in, "auto_pad", "NOTSET");
  static const char *const names[] = {"NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"};
  for (int k = 0; k < 4; k++)
    if (strcmp(text, names[k]) == 0)
      return (onnxc_auto_pad)k;
  onnxc_import_error(in, ONNXC_BAD_INPUT, "auto_pad is '%.32s'", text);
  return ONNXC_PAD_BAD;
}

bool onnxc_import_window(onnxc_importer *in, onnxc_value x, const onnxc_dim *kernel, onnxc_window *window) {
  onnxc_dims *dims = &in->graph->dims;
  const onnxc_value_info *info = onnxc_value_of(in->graph, x);
  *window = (onnxc_window){0};
  if (info->rank < 2) {
    onnxc_import_error(in, ONNXC_BAD_INPUT, "the input has rank %u", info->rank);
    return false;
  }
  uint32_t n = window->spatial = info->rank - 2;
  int64_t given[ONNXC_MAX_RANK], pads[2 * ONNXC_MAX_RANK];
  bool has_shape = onnxc_import_has(in, "kernel_shape");
  if (!kernel && n && !has_shape) {
    onnxc_import_error(in, ONNXC_BAD_INPUT, "attribute kernel_shape is missing");
    return false;
  }
  window->auto_pad = auto_pad_of(in);
  if (window->auto_pad == ONNXC_PAD_BAD || !numbers(in, "strides", n, 1, 1, window->stride) ||
      !numbers(in, "dilations", n, 1, 1, window->dilation) || !numbers(in, "pads", 2 * n, 0, 0, pads) ||
      !numbers(in, "kernel_shape", n, 1, 1, given))
    return false;
  for (uint32_t s = 0; s < n; s++) {
    bool use = window->auto_pad == ONNXC_PAD_NOTSET;
    window->in[s] = info->dims[s + 2];
    window->kernel[s] = onnxc_dim_const(dims, given[s]);
    if (kernel && !has_shape)
      window->kernel[s] = kernel[s];
    else if (kernel && !onnxc_build_same_dim(in->graph, in->where, kernel[s], window->kernel[s], &window->kernel[s]))
      return false;
    window->reach[s] =
        onnxc_dim_addc(dims, onnxc_dim_mulc(dims, onnxc_dim_addc(dims, window->kernel[s], -1), window->dilation[s]), 1);
    window->pad_low[s] = onnxc_dim_const(dims, use ? pads[s] : 0);
    window->pad_high[s] = onnxc_dim_const(dims, use ? pads[s + n] : 0);
  }
  return true;
}

void onnxc_window_split(onnxc_dims *dims, onnxc_window *window, uint32_t s, onnxc_dim total, bool upper) {
  onnxc_dim half = onnxc_dim_floordiv(dims, total, onnxc_dim_const(dims, 2)), rest = onnxc_dim_sub(dims, total, half);
  window->pad_low[s] = upper ? half : rest;
  window->pad_high[s] = upper ? rest : half;
}

onnxc_dim onnxc_window_same(onnxc_dims *dims, onnxc_window *window, uint32_t s) {
  onnxc_dim out = onnxc_dim_ceildiv(dims, window->in[s], onnxc_dim_const(dims, window->stride[s]));
  onnxc_dim total = onnxc_dim_mulc(dims, onnxc_dim_addc(dims, out, -1), window->stride[s]);
  total = onnxc_dim_sub(dims, onnxc_dim_add(dims, total, window->reach[s]), window->in[s]);
  total = onnxc_dim_max(dims, total, onnxc_dim_const(dims, 0));
  onnxc_window_split(dims, window, s, total, window->auto_pad == ONNXC_PAD_SAME_UPPER);
  return out;
}
