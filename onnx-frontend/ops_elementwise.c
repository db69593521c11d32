/* ops_elementwise.c -- arithmetic, comparison and logic of broadcast operands.
 *
 * Up to opset 6, an operator broadcasts its second operand only on demand (attribute `broadcast`), and aligns it
 * at `axis`; legacy_operand brings that into numpy's form.
 */
#include "scalar.h"

#include <math.h>
#include <string.h>

/* The second operand of an operator of opset 6 or lower: ones are appended so that its dims begin at axis. */
static onnxc_value legacy_operand(onnxc_importer *in, onnxc_value a, onnxc_value b) {
  if (in->opset >= 7 || !a.i || !b.i || !onnxc_import_int(in, "broadcast", 0) || !onnxc_import_has(in, "axis"))
    return b;
  onnxc_graph *graph = in->graph;
  uint32_t rank = onnxc_value_of(graph, a)->rank;
  const onnxc_value_info *info = onnxc_value_of(graph, b);
  int64_t axis = onnxc_import_axis(in, onnxc_import_int(in, "axis", 0), rank);
  if (axis < 0)
    return (onnxc_value){0};
  onnxc_dim dims[ONNXC_MAX_RANK];
  uint32_t out_rank = rank - (uint32_t)axis;
  for (uint32_t d = 0; d < out_rank; d++)
    dims[d] = d < info->rank ? info->dims[d] : onnxc_dim_const(&graph->dims, 1);
  return info->rank > out_rank ? b : onnxc_build_reshape(graph, in->where, b, out_rank, dims);
}

/* ---- two operands of one type ---- */

static onnxc_expr scalar_binary(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  return onnxc_expr_binary(pool, *(const onnxc_expr_op *)arg, args[0], args[1]);
}

static onnxc_status binary(onnxc_importer *in, const char *kinds, onnxc_build_scalar_fn scalar, onnxc_expr_op op) {
  onnxc_value a = onnxc_import_operand(in, 0, kinds), b = onnxc_import_operand(in, 1, kinds);
  if (a.i && b.i) {
    onnxc_dtype first = onnxc_value_of(in->graph, a)->dtype, second = onnxc_value_of(in->graph, b)->dtype;
    if (first != second)
      return onnxc_import_error(in, ONNXC_BAD_INPUT, "operands of types %s and %s", onnxc_dtype_name(first),
                                onnxc_dtype_name(second));
  }
  b = legacy_operand(in, a, b);
  return onnxc_import_done(in, 0, onnxc_import_map(in, 2, (onnxc_value[]){a, b}, scalar, &op));
}

#define BINARY(OpType, OP, kinds)                                                                                      \
  onnxc_status onnxc_import_##OpType(onnxc_importer *in) { return binary(in, kinds, scalar_binary, ONNXC_EXPR_##OP); }
BINARY(Add, ADD, "fiu")
BINARY(Sub, SUB, "fiu")
BINARY(Mul, MUL, "fiu")
BINARY(Div, DIV, "fiu")
BINARY(Equal, EQ, "fiub")
BINARY(Greater, GT, "fiu")
BINARY(GreaterOrEqual, GE, "fiu")
BINARY(Less, LT, "fiu")
BINARY(LessOrEqual, LE, "fiu")
BINARY(And, AND, "b")
BINARY(Or, OR, "b")
BINARY(Xor, XOR, "b")
BINARY(BitwiseAnd, AND, "iu")
BINARY(BitwiseOr, OR, "iu")
BINARY(BitwiseXor, XOR, "iu")

onnxc_status onnxc_import_Mod(onnxc_importer *in) {
  return binary(in, "fiu", scalar_binary, onnxc_import_int(in, "fmod", 0) ? ONNXC_EXPR_REM : ONNXC_EXPR_MOD);
}

onnxc_status onnxc_import_BitShift(onnxc_importer *in) {
  const char *direction = onnxc_import_string(in, "direction", "");
  bool left = strcmp(direction, "LEFT") == 0;
  if (!left && strcmp(direction, "RIGHT") != 0)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "direction '%s'", direction);
  return binary(in, "iu", scalar_binary, left ? ONNXC_EXPR_SHL : ONNXC_EXPR_SHR);
}

/* ---- Pow ---- */

/* The result has the base's type. An integer base with a float exponent goes through f64 and truncates. */
static onnxc_expr scalar_pow(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  (void)arg;
  onnxc_expr x = args[0], y = args[1];
  onnxc_dtype base = e_dtype(pool, x), type = base;
  if (onnxc_dtype_is_int(base) && onnxc_dtype_is_float(e_dtype(pool, y)))
    type = ONNXC_F64;
  else if (onnxc_dtype_is_int(base) && e_dtype(pool, y) != base)
    type = ONNXC_I64;
  double exponent;
  int64_t integer;
  if (onnxc_dtype_is_float(base) && onnxc_expr_const_value(pool, y, &exponent, &integer)) {
    if (!onnxc_dtype_is_float(e_dtype(pool, y)))
      exponent = (double)integer;
    if (exponent == 1)
      return x;
    if (exponent == 2)
      return e_mul(pool, x, x);
    if (exponent == 3)
      return e_mul(pool, e_mul(pool, x, x), x);
    if (exponent == -1)
      return e_div(pool, e_number(pool, x, 1), x);
  }
  return e_cast(pool, base, e_pow(pool, e_cast(pool, type, x), e_cast(pool, type, y)));
}

onnxc_status onnxc_import_Pow(onnxc_importer *in) {
  onnxc_value x = onnxc_import_operand(in, 0, "fiu"), y = onnxc_import_operand(in, 1, "fiu");
  y = legacy_operand(in, x, y);
  return onnxc_import_done(in, 0, onnxc_import_map(in, 2, (onnxc_value[]){x, y}, scalar_pow, NULL));
}

/* ---- any number of operands ---- */

typedef struct variadic {
  onnxc_expr_op op;
  uint32_t n;
  bool mean;
} variadic;

static onnxc_expr scalar_variadic(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  const variadic *v = arg;
  onnxc_expr result = args[0];
  for (uint32_t k = 1; k < v->n; k++)
    result = onnxc_expr_binary(pool, v->op, result, args[k]);
  return v->mean ? e_div(pool, result, e_number(pool, result, v->n)) : result;
}

static onnxc_status import_variadic(onnxc_importer *in, const char *kinds, onnxc_expr_op op, bool mean) {
  if (in->num_inputs == 1)
    return onnxc_import_done(in, 0, onnxc_import_operand(in, 0, kinds));
  onnxc_value first = onnxc_import_operand(in, 0, kinds);
  onnxc_value *values = ONNXC_NEW_ARRAY(in->graph->arena, onnxc_value, in->num_inputs ? in->num_inputs : 1);
  for (uint32_t k = 0; k < in->num_inputs && first.i; k++) {
    values[k] = onnxc_import_operand(in, k, kinds);
    if (values[k].i && onnxc_value_of(in->graph, values[k])->dtype != onnxc_value_of(in->graph, first)->dtype)
      return onnxc_import_error(in, ONNXC_BAD_INPUT, "operands of types %s and %s",
                                onnxc_dtype_name(onnxc_value_of(in->graph, first)->dtype),
                                onnxc_dtype_name(onnxc_value_of(in->graph, values[k])->dtype));
  }
  if (!first.i)
    return onnxc_import_done(in, 0, first);
  variadic v = {op, in->num_inputs, mean};
  return onnxc_import_done(in, 0, onnxc_import_map(in, in->num_inputs, values, scalar_variadic, &v));
}

onnxc_status onnxc_import_Max(onnxc_importer *in) { return import_variadic(in, "fiu", ONNXC_EXPR_MAX, false); }
onnxc_status onnxc_import_Min(onnxc_importer *in) { return import_variadic(in, "fiu", ONNXC_EXPR_MIN, false); }
onnxc_status onnxc_import_Sum(onnxc_importer *in) { return import_variadic(in, "fiu", ONNXC_EXPR_ADD, false); }
onnxc_status onnxc_import_Mean(onnxc_importer *in) { return import_variadic(in, "f", ONNXC_EXPR_ADD, true); }

/* ---- Where, Clip ---- */

static onnxc_expr scalar_where(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  (void)arg;
  return e_select(pool, args[0], args[1], args[2]);
}

onnxc_status onnxc_import_Where(onnxc_importer *in) {
  onnxc_value c = onnxc_import_operand(in, 0, "b"), a = onnxc_import_operand(in, 1, "fiub"),
              b = onnxc_import_operand(in, 2, "fiub");
  if (!c.i || !a.i || !b.i)
    return onnxc_import_done(in, 0, (onnxc_value){0});
  if (onnxc_value_of(in->graph, a)->dtype != onnxc_value_of(in->graph, b)->dtype)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "operands of types %s and %s",
                              onnxc_dtype_name(onnxc_value_of(in->graph, a)->dtype),
                              onnxc_dtype_name(onnxc_value_of(in->graph, b)->dtype));
  return onnxc_import_done(in, 0,
                           onnxc_build_map(in->graph, in->where, 3, (onnxc_value[]){c, a, b}, scalar_where, NULL));
}

typedef struct clip {
  bool has_low, has_high;
} clip;

/* A bound below the other wins when it is the upper one; a NaN element stays NaN. */
static onnxc_expr scalar_clip(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  const clip *c = arg;
  onnxc_expr x = args[0];
  uint32_t k = 1;
  if (c->has_low)
    x = e_max(pool, x, e_cast(pool, e_dtype(pool, x), args[k++]));
  if (c->has_high)
    x = e_min(pool, x, e_cast(pool, e_dtype(pool, x), args[k]));
  return x;
}

onnxc_status onnxc_import_Clip(onnxc_importer *in) {
  onnxc_value x = onnxc_import_operand(in, 0, "fiu"), low = {0}, high = {0};
  if (in->opset < 11) { /* the defaults are the range of f32 */
    double min = onnxc_import_float(in, "min", -INFINITY), max = onnxc_import_float(in, "max", INFINITY);
    if (min > -3.4028234e38)
      low = onnxc_build_scalar_f64(in->graph, ONNXC_F64, min);
    if (max < 3.4028234e38)
      high = onnxc_build_scalar_f64(in->graph, ONNXC_F64, max);
  } else {
    low = onnxc_import_scalar(in, onnxc_import_optional(in, 1));
    high = onnxc_import_scalar(in, onnxc_import_optional(in, 2));
  }
  clip c = {low.i != 0, high.i != 0};
  if (!c.has_low && !c.has_high)
    return onnxc_import_done(in, 0, x);
  onnxc_value values[3] = {x};
  uint32_t n = 1;
  if (c.has_low)
    values[n++] = low;
  if (c.has_high)
    values[n++] = high;
  return onnxc_import_done(in, 0, onnxc_import_map(in, n, values, scalar_clip, &c));
}
