/* compare.c -- tensors against what was expected.
 *
 * Floats agree when |have - want| <= rtol * |want| + atol * max(1, largest |want| of the tensor), both are NaN, or both
 * are the same infinity. The absolute part grows with the tensor, because a small element of a tensor of large ones
 * is what is left of sums of large terms. The relative tolerance is at least two units in the last place of
 * the type, and the absolute one at least one unit of the largest element of a type narrower than f32, so that half
 * precision is not asked for more than it has. Errors of elements below the absolute tolerance are counted in
 * the units of that tolerance, since nothing smaller is asked of them. Integers agree when |have - want| <= atol, so
 * they must be equal unless atol is 1 or more.
 */
#include "cli.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* The unit in the last place of values near `value`, for types up to f64. */
static double unit_of(onnxc_dtype dtype, double value) {
  int digits, min_exponent; /* of the significand; of the smallest normal number's last place */
  switch (dtype) {
  case ONNXC_F64: digits = 53, min_exponent = -1074; break;
  case ONNXC_F16: digits = 11, min_exponent = -24; break;
  case ONNXC_BF16: digits = 8, min_exponent = -133; break;
  case ONNXC_F32: digits = 24, min_exponent = -149; break;
  default: digits = 3, min_exponent = -16; break;
  }
  int exponent;
  frexp(value, &exponent);
  int place = value == 0 ? min_exponent : exponent - digits;
  return ldexp(1.0, place < min_exponent ? min_exponent : place);
}

static void describe_index(const onnxc_tensor *tensor, int64_t flat, char *out, size_t size) {
  int64_t index[ONNXC_MAX_RANK] = {0};
  for (int32_t d = tensor->rank; d-- > 0; flat /= tensor->dims[d] ? tensor->dims[d] : 1)
    index[d] = tensor->dims[d] ? flat % tensor->dims[d] : 0;
  size_t used = (size_t)snprintf(out, size, "[");
  for (int32_t d = 0; d < tensor->rank && used < size; d++)
    used += (size_t)snprintf(out + used, size - used, "%s%" PRId64, d ? ", " : "", index[d]);
  if (used < size)
    snprintf(out + used, size - used, "]");
}

/* The largest finite |element|, or 1 when all are smaller. */
static double largest(const onnxc_tensor *tensor) {
  size_t bytes = onnxc_dtype_bytes((onnxc_dtype)tensor->dtype);
  int64_t count = cli_tensor_count(tensor);
  double result = 1;
  for (int64_t i = 0; i < count; i++) {
    double value =
        fabs(onnxc_scalar_to_f64((onnxc_dtype)tensor->dtype, (const char *)tensor->data + (size_t)i * bytes));
    if (isfinite(value) && value > result)
      result = value;
  }
  return result;
}

static void compare_floats(const onnxc_tensor *have, const onnxc_tensor *want, double rtol, double atol,
                           cli_difference *result) {
  onnxc_dtype dtype = (onnxc_dtype)want->dtype;
  size_t bytes = onnxc_dtype_bytes(dtype);
  int64_t count = cli_tensor_count(want);
  double least = 2 * unit_of(dtype, 1.0), worst = 0;
  rtol = rtol < least ? least : rtol;
  double most = largest(want);
  atol = fmax(atol * most, bytes < 4 ? unit_of(dtype, most) : 0);
  for (int64_t i = 0; i < count; i++) {
    double h = onnxc_scalar_to_f64(dtype, (const char *)have->data + (size_t)i * bytes);
    double w = onnxc_scalar_to_f64(dtype, (const char *)want->data + (size_t)i * bytes);
    if (h == w || (isnan(h) && isnan(w)))
      continue;
    double error = fabs(h - w), ulp = error / unit_of(dtype, isfinite(w) ? fmax(fabs(w), atol) : atol);
    bool good = isfinite(h) && isfinite(w) && error <= atol + rtol * fabs(w);
    result->max_abs = fmax(result->max_abs, isnan(error) ? INFINITY : error);
    result->max_ulp = fmax(result->max_ulp, isnan(ulp) ? INFINITY : ulp);
    if (good)
      continue;
    double excess = isfinite(error) ? error / (atol + rtol * fabs(w)) : INFINITY;
    if (!result->wrong++ || excess > worst) {
      char index[96];
      describe_index(want, i, index, sizeof index);
      snprintf(result->what, sizeof result->what, "element %s is %.9g, expected %.9g", index, h, w);
      worst = excess;
    }
  }
}

static void compare_integers(const onnxc_tensor *have, const onnxc_tensor *want, double atol, cli_difference *result) {
  onnxc_dtype dtype = (onnxc_dtype)want->dtype;
  size_t bytes = onnxc_dtype_bytes(dtype);
  int64_t count = cli_tensor_count(want);
  for (int64_t i = 0; i < count; i++) {
    const char *h = (const char *)have->data + (size_t)i * bytes, *w = (const char *)want->data + (size_t)i * bytes;
    if (memcmp(h, w, bytes) == 0)
      continue;
    int64_t a = onnxc_scalar_to_i64(dtype, h), b = onnxc_scalar_to_i64(dtype, w);
    double error = fabs((double)a - (double)b);
    result->max_abs = fmax(result->max_abs, error);
    result->max_ulp = fmax(result->max_ulp, error);
    if (atol >= 1 && error <= atol)
      continue;
    if (!result->wrong++) {
      char index[96];
      describe_index(want, i, index, sizeof index);
      snprintf(result->what, sizeof result->what, "element %s is %" PRId64 ", expected %" PRId64, index, a, b);
    }
  }
}

void cli_compare(const onnxc_tensor *have, const onnxc_tensor *want, double rtol, double atol, cli_difference *result) {
  memset(result, 0, sizeof *result);
  if (have->dtype != want->dtype) {
    snprintf(result->what, sizeof result->what, "its type is %s, expected %s",
             onnxc_dtype_name((onnxc_dtype)have->dtype), onnxc_dtype_name((onnxc_dtype)want->dtype));
    return;
  }
  bool same_shape = have->rank == want->rank;
  for (int32_t d = 0; same_shape && d < want->rank; d++)
    same_shape = have->dims[d] == want->dims[d];
  if (!same_shape) {
    char a[160] = "", b[160] = "";
    for (int32_t d = 0, used = 0; d < have->rank; d++)
      used += snprintf(a + used, sizeof a - (size_t)used, "%s%" PRId64, d ? "x" : "", have->dims[d]);
    for (int32_t d = 0, used = 0; d < want->rank; d++)
      used += snprintf(b + used, sizeof b - (size_t)used, "%s%" PRId64, d ? "x" : "", want->dims[d]);
    snprintf(result->what, sizeof result->what, "its shape is [%.60s], expected [%.60s]", a, b);
    return;
  }
  if (onnxc_dtype_is_float((onnxc_dtype)want->dtype))
    compare_floats(have, want, rtol, atol, result);
  else
    compare_integers(have, want, atol, result);
  result->same = result->wrong == 0;
}
