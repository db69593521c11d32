/* eval_composite.c -- the nodes that are no compute: composites by their definition, in double, and movement. */
#include "ir/eval_composite.h"
#include "ir/eval_scalar.h"

#include <math.h>
#include <string.h>

static double get(const onnxc_array *array, int64_t i) {
  return onnxc_scalar_to_f64(array->dtype, (const char *)array->data + (size_t)i * onnxc_dtype_bytes(array->dtype));
}

static void put(const onnxc_array *array, int64_t i, double x) {
  onnxc_scalar_from_f64(array->dtype, (char *)array->data + (size_t)i * onnxc_dtype_bytes(array->dtype), x);
}

/* A tensor seen as [outer][span][inner] around dims axis..axis+span-1. */
typedef struct around {
  int64_t outer, middle, inner;
} around;

static bool view_around(const onnxc_array *x, int64_t axis, int64_t span, around *view) {
  if (axis < 0 || span < 1 || axis + span > (int64_t)x->rank)
    return false;
  *view = (around){1, 1, 1};
  for (int64_t d = 0; d < (int64_t)x->rank; d++)
    *(d < axis ? &view->outer : d < axis + span ? &view->middle : &view->inner) *= x->dims[d];
  return true;
}

static void softmax_line(const onnxc_array *x, const onnxc_array *out, bool log_of, int64_t at, int64_t n,
                         int64_t stride) {
  double largest = -INFINITY, sum = 0;
  for (int64_t i = 0; i < n; i++) {
    double value = get(x, at + i * stride);
    if (value > largest || value != value)
      largest = value;
  }
  for (int64_t i = 0; i < n; i++)
    sum += exp(get(x, at + i * stride) - largest);
  for (int64_t i = 0; i < n; i++) {
    double shifted = get(x, at + i * stride) - largest;
    put(out, at + i * stride, log_of ? shifted - log(sum) : exp(shifted) / sum);
  }
}

bool onnxc_eval_softmax(const onnxc_array *x, int64_t axis, int64_t span, bool log_of, const onnxc_array *out) {
  around view;
  if (!view_around(x, axis, span, &view) || !onnxc_dtype_is_float(x->dtype))
    return false;
  for (int64_t o = 0; o < view.outer; o++)
    for (int64_t i = 0; i < view.inner; i++)
      softmax_line(x, out, log_of, o * view.middle * view.inner + i, view.middle, view.inner);
  return true;
}

/* Element offset of `array`, broadcast by numpy's rule, at flat index `at` of x; -1 if it does not broadcast. */
static int64_t broadcast_offset(const onnxc_array *array, const onnxc_array *x, int64_t at) {
  int64_t offset = 0, stride = 1;
  if (array->rank > x->rank)
    return -1;
  for (uint32_t d = x->rank; d-- > 0;) {
    int64_t index = at % x->dims[d];
    at /= x->dims[d];
    uint32_t missing = x->rank - array->rank;
    if (d < missing)
      continue;
    int64_t extent = array->dims[d - missing];
    if (extent != 1 && extent != x->dims[d])
      return -1;
    offset += extent == 1 ? 0 : index * stride;
    stride *= extent;
  }
  return offset;
}

bool onnxc_eval_normalize(const onnxc_array *x, const onnxc_array *scale, const onnxc_array *bias, int64_t axis,
                          int64_t span, double epsilon, const onnxc_array *out) {
  around view;
  if (!view_around(x, axis, span, &view) || !onnxc_dtype_is_float(x->dtype))
    return false;
  for (int64_t o = 0; o < view.outer; o++)
    for (int64_t i = 0; i < view.inner; i++) {
      int64_t base = o * view.middle * view.inner + i;
      double mean = 0, variance = 0;
      for (int64_t k = 0; k < view.middle; k++)
        mean += get(x, base + k * view.inner);
      mean /= (double)view.middle;
      for (int64_t k = 0; k < view.middle; k++) {
        double d = get(x, base + k * view.inner) - mean;
        variance += d * d;
      }
      variance /= (double)view.middle;
      for (int64_t k = 0; k < view.middle; k++) {
        int64_t at = base + k * view.inner;
        double y = (get(x, at) - mean) / sqrt(variance + epsilon);
        int64_t of_scale = scale ? broadcast_offset(scale, x, at) : 0;
        int64_t of_bias = bias ? broadcast_offset(bias, x, at) : 0;
        if (of_scale < 0 || of_bias < 0)
          return false;
        if (scale)
          y *= get(scale, of_scale);
        if (bias)
          y += get(bias, of_bias);
        put(out, at, y);
      }
    }
  return true;
}

bool onnxc_eval_concat(const onnxc_array *const *inputs, uint32_t num, int64_t axis, const onnxc_array *out) {
  around to, from;
  if (!view_around(out, axis, 1, &to))
    return false;
  size_t bytes = onnxc_dtype_bytes(out->dtype);
  int64_t at = 0;
  for (uint32_t k = 0; k < num; k++) {
    if (inputs[k]->rank != out->rank || inputs[k]->dtype != out->dtype || !view_around(inputs[k], axis, 1, &from) ||
        from.outer != to.outer || from.inner != to.inner || from.middle > to.middle - at)
      return false;
    size_t row = (size_t)(from.middle * from.inner) * bytes;
    for (int64_t o = 0; o < to.outer && row; o++)
      memcpy((char *)out->data + (size_t)((o * to.middle + at) * to.inner) * bytes,
             (const char *)inputs[k]->data + (size_t)o * row, row);
    at += from.middle;
  }
  return at == to.middle;
}
