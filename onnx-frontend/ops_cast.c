/* ops_cast.c -- Cast and CastLike.
 *
 * A cast of the expression language rounds to nearest and saturates. What ONNX asks for beyond that, for the narrowest
 * types, is said here: floats wrap into integers of less than a byte, infinity saturates into the f8 types that
 * have none, overflow becomes NaN on request, f8e8m0 rounds up or down.
 */
#include "scalar.h"

#include <math.h>
#include <string.h>

typedef struct cast_rule {
  onnxc_dtype to;
  bool saturate;
  int direction; /* of f8e8m0: 1 up, -1 down, 0 nearest */
} cast_rule;

/* The largest finite value, and the lowest magnitude that rounds beyond it (itself beyond iff `ties`). */
typedef struct f8_range {
  double max, overflow;
  onnxc_dtype dtype;
  bool ties;
} f8_range;

static const f8_range ranges[] = {{448, 464, ONNXC_F8E4M3FN, false},
                                  {240, 248, ONNXC_F8E4M3FNUZ, true},
                                  {57344, 61440, ONNXC_F8E5M2, true},
                                  {57344, 61440, ONNXC_F8E5M2FNUZ, true}};

static const f8_range *range_of(onnxc_dtype dtype) {
  for (size_t k = 0; k < sizeof ranges / sizeof *ranges; k++)
    if (ranges[k].dtype == dtype)
      return &ranges[k];
  return NULL;
}

static onnxc_expr cast_to_f8(onnxc_exprs *pool, const f8_range *range, bool saturate, onnxc_expr x) {
  onnxc_expr clipped = e_max(pool, e_min(pool, x, e_number(pool, x, range->max)), e_number(pool, x, -range->max));
  onnxc_expr result = e_cast(pool, range->dtype, clipped);
  if (saturate)
    return result;
  onnxc_expr magnitude = e_abs(pool, x), limit = e_number(pool, x, range->overflow);
  onnxc_expr over = range->ties ? e_ge(pool, magnitude, limit) : e_gt(pool, magnitude, limit);
  return e_select(pool, over, onnxc_expr_f64(pool, range->dtype, NAN), result);
}

/* To the next power of two in one direction, from the nearest one. */
static onnxc_expr cast_to_f8e8m0(onnxc_exprs *pool, int direction, onnxc_expr x) {
  onnxc_expr nearest = e_cast(pool, e_dtype(pool, x), e_cast(pool, ONNXC_F8E8M0, x));
  onnxc_expr wrong = direction > 0 ? e_lt(pool, nearest, x) : e_gt(pool, nearest, x);
  onnxc_expr next = e_mul(pool, nearest, e_number(pool, x, direction > 0 ? 2 : 0.5));
  return e_cast(pool, ONNXC_F8E8M0, direction == 0 ? nearest : e_select(pool, wrong, next, nearest));
}

static onnxc_expr scalar_cast(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  const cast_rule *rule = arg;
  onnxc_expr x = args[0];
  if (!onnxc_dtype_is_float(e_dtype(pool, x)) || e_dtype(pool, x) == rule->to)
    return e_cast(pool, rule->to, x);
  const f8_range *range = range_of(rule->to);
  onnxc_expr wide = e_cast(pool, onnxc_build_wide(e_dtype(pool, x)), x);
  if (range)
    return cast_to_f8(pool, range, rule->saturate, wide);
  if (rule->to == ONNXC_F8E8M0)
    return cast_to_f8e8m0(pool, rule->direction, wide);
  if (rule->to == ONNXC_F4E2M1) /* has no NaN */
    return e_select(pool, e_isnan(pool, wide), onnxc_expr_f64(pool, rule->to, -0.0), e_cast(pool, rule->to, wide));
  bool wraps = rule->to == ONNXC_I4 || rule->to == ONNXC_U4 || rule->to == ONNXC_I2 || rule->to == ONNXC_U2;
  return e_cast(pool, rule->to, wraps ? e_cast(pool, ONNXC_I64, x) : x);
}

static onnxc_status import_cast(onnxc_importer *in, onnxc_dtype to) {
  onnxc_value x = onnxc_import_operand(in, 0, "fiub");
  const char *round_mode = onnxc_import_string(in, "round_mode", "up");
  cast_rule rule = {to, onnxc_import_int(in, "saturate", 1) != 0,
                    strcmp(round_mode, "up") == 0     ? 1
                    : strcmp(round_mode, "down") == 0 ? -1
                                                      : 0};
  if (!x.i || onnxc_value_of(in->graph, x)->dtype == to)
    return onnxc_import_done(in, 0, x);
  if (to == ONNXC_STRING || to == ONNXC_C64 || to == ONNXC_C128 || (to == ONNXC_F8E5M2 && !rule.saturate))
    return onnxc_import_error(in, ONNXC_UNSUPPORTED, "cast to %s%s", onnxc_dtype_name(to),
                              to == ONNXC_F8E5M2 ? " without saturation" : "");
  return onnxc_import_done(in, 0, onnxc_build_map(in->graph, in->where, 1, &x, scalar_cast, &rule));
}

onnxc_status onnxc_import_Cast(onnxc_importer *in) {
  int64_t to = onnxc_import_int(in, "to", 0);
  if (to <= 0 || to >= ONNXC_DTYPE_COUNT)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "cast to type number %lld", (long long)to);
  return import_cast(in, (onnxc_dtype)to);
}

onnxc_status onnxc_import_CastLike(onnxc_importer *in) {
  onnxc_value target = onnxc_import_input(in, 1);
  return target.i ? import_cast(in, onnxc_value_of(in->graph, target)->dtype) : onnxc_import_done(in, 0, target);
}
