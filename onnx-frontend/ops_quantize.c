/* ops_quantize.c -- QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear; see quantize.h. */
#include "quantize.h"
#include "shorthand.h"

#include <string.h>

/* ---- operands ---- */

onnxc_value onnxc_import_byte(onnxc_importer *in, uint32_t k) {
  onnxc_value value = onnxc_import_input(in, k);
  if (!value.i)
    return value;
  onnxc_dtype dtype = onnxc_value_of(in->graph, value)->dtype;
  if (dtype == ONNXC_U8 || dtype == ONNXC_I8)
    return value;
  onnxc_import_error(in, ONNXC_UNSUPPORTED, "input %u of type %s", k, onnxc_dtype_name(dtype));
  return (onnxc_value){0};
}

static bool holds_zeros(const onnxc_graph *graph, onnxc_value value) {
  const onnxc_value_info *info = onnxc_value_of(graph, value);
  const unsigned char *bytes = info->data;
  for (size_t k = 0; bytes && k < info->data_size; k++)
    if (bytes[k])
      return false;
  return bytes != NULL;
}

bool onnxc_import_zero_point(onnxc_importer *in, uint32_t k, onnxc_value of, onnxc_value *zero) {
  *zero = onnxc_import_unvector(in, onnxc_import_optional(in, k));
  if (!of.i || !zero->i)
    return of.i != 0;
  onnxc_dtype dtype = onnxc_value_of(in->graph, *zero)->dtype, expected = onnxc_value_of(in->graph, of)->dtype;
  if (dtype != expected) {
    onnxc_import_error(in, ONNXC_BAD_INPUT, "a zero point of type %s for %s", onnxc_dtype_name(dtype),
                       onnxc_dtype_name(expected));
    return false;
  }
  if (holds_zeros(in->graph, *zero))
    zero->i = 0;
  return true;
}

onnxc_value onnxc_import_scale(onnxc_importer *in, uint32_t k) {
  return onnxc_import_unvector(in, onnxc_import_operand(in, k, "f"));
}

onnxc_value onnxc_import_unvector(onnxc_importer *in, onnxc_value value) {
  const onnxc_value_info *info = onnxc_value_of(in->graph, value);
  return value.i && info->rank == 1 && onnxc_dim_is(&in->graph->dims, info->dims[0], 1) ? onnxc_import_scalar(in, value)
                                                                                        : value;
}

bool onnxc_import_fits(onnxc_importer *in, onnxc_value parameter, const onnxc_value_info *of) {
  if (!parameter.i)
    return true;
  onnxc_graph *graph = in->graph;
  const onnxc_value_info info = *onnxc_value_of(graph, parameter);
  if (info.rank > of->rank) {
    onnxc_import_error(in, ONNXC_BAD_INPUT, "a scale or zero point of rank %u, not at most %u", info.rank, of->rank);
    return false;
  }
  for (uint32_t d = 0; d < info.rank; d++) {
    onnxc_dim dims[2] = {of->dims[of->rank - info.rank + d], info.dims[d]}, extent;
    if (!onnxc_build_broadcast_dim(graph, in->where, 2, dims, &extent) ||
        !onnxc_build_same_dim(graph, in->where, extent, dims[0], NULL))
      return false;
  }
  return true;
}

/* A scale or zero point of input 0, in a form that broadcasts against it. */
static onnxc_value spread(onnxc_importer *in, onnxc_value parameter) {
  onnxc_graph *graph = in->graph;
  onnxc_exprs *pool = &graph->exprs;
  if (!parameter.i)
    return parameter;
  const onnxc_value_info x = *onnxc_value_of(graph, in->inputs[0]), info = *onnxc_value_of(graph, parameter);
  int64_t block = onnxc_import_int(in, "block_size", 0);
  if (info.rank == 0)
    return parameter;
  int64_t axis = x.rank == 1 ? 0 : onnxc_import_axis(in, onnxc_import_int(in, "axis", 1), x.rank);
  if (axis < 0)
    return (onnxc_value){0};
  onnxc_dim dims[ONNXC_MAX_RANK];
  if (block == 0) { /* one an index of the axis */
    if (info.rank != 1)
      return onnxc_build_error(graph, ONNXC_BAD_INPUT, in->where, "a scale or zero point of rank %u without block_size",
                               info.rank);
    for (uint32_t d = 0; d < x.rank; d++)
      dims[d] = d == (uint32_t)axis ? info.dims[0] : onnxc_dim_const(&graph->dims, 1);
    parameter = onnxc_build_reshape(graph, in->where, parameter, x.rank, dims);
    return onnxc_import_fits(in, parameter, &x) ? parameter : (onnxc_value){0};
  }
  if (block < 0 || block > INT32_MAX || info.rank != x.rank)
    return onnxc_build_error(graph, ONNXC_BAD_INPUT, in->where, "a scale or zero point of rank %u with block_size %lld",
                             info.rank, (long long)block);
  onnxc_expr index[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < x.rank; d++) {
    bool blocked = d == (uint32_t)axis;
    dims[d] = blocked ? onnxc_dim_ceildiv(&graph->dims, x.dims[d], onnxc_dim_const(&graph->dims, block)) : x.dims[d];
    index[d] = blocked ? e_floordiv(pool, e_index(pool, d), e_int(pool, block)) : e_index(pool, d);
    if (!onnxc_build_same_dim(graph, in->where, info.dims[d], dims[d], NULL))
      return (onnxc_value){0};
  }
  return onnxc_build_index(graph, in->where, parameter, x.rank, x.dims, index);
}

/* ---- scalars ---- */

/* saturate(round(quotient) + zero); zero may be none. */
static onnxc_expr quantized(onnxc_exprs *pool, onnxc_expr quotient, onnxc_expr zero, onnxc_dtype dtype) {
  onnxc_expr rounded = onnxc_expr_unary(pool, ONNXC_EXPR_ROUND, quotient);
  return e_cast(pool, dtype, zero.i ? e_add(pool, rounded, e_cast(pool, ONNXC_F32, zero)) : rounded);
}

typedef struct quantization {
  onnxc_dtype to, precision; /* of the result and of the division, or of the dequantized number */
  bool has_zero;
} quantization;

static onnxc_expr scalar_quantize(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  const quantization *q = arg;
  onnxc_expr number = e_cast(pool, ONNXC_F32, args[0]), scale = e_cast(pool, ONNXC_F32, args[1]);
  number = e_cast(pool, ONNXC_F32, e_cast(pool, q->precision, number));
  scale = e_cast(pool, ONNXC_F32, e_cast(pool, q->precision, scale));
  onnxc_expr quotient = e_cast(pool, ONNXC_F32, e_cast(pool, q->precision, e_div(pool, number, scale)));
  return quantized(pool, quotient, q->has_zero ? args[2] : (onnxc_expr){0}, q->to);
}

static onnxc_expr scalar_dequantize(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  const quantization *q = arg;
  onnxc_expr x = args[0];
  if (q->has_zero)
    x = e_sub(pool, e_cast(pool, ONNXC_I32, x), e_cast(pool, ONNXC_I32, args[2]));
  return e_cast(pool, q->to, e_mul(pool, e_cast(pool, ONNXC_F32, x), e_cast(pool, ONNXC_F32, args[1])));
}

/* ---- the operators ---- */

static bool is_narrow_float(onnxc_dtype dtype) {
  return dtype == ONNXC_F32 || dtype == ONNXC_F16 || dtype == ONNXC_BF16;
}

/* Integers that f32 holds. */
static bool is_narrow_int(onnxc_dtype dtype) { return onnxc_dtype_is_int(dtype) && onnxc_dtype_bytes(dtype) <= 2; }

/* The type that attribute `name` gives, or else `fallback`. */
static onnxc_dtype type_attribute(const onnxc_importer *in, const char *name, onnxc_dtype fallback) {
  int64_t number = onnxc_import_int(in, name, 0);
  return number == 0 ? fallback : number < 0 || number >= ONNXC_DTYPE_COUNT ? ONNXC_DTYPE_NONE : (onnxc_dtype)number;
}

/* The map over x, scale and zero point. */
static onnxc_status map_with(onnxc_importer *in, onnxc_value x, onnxc_value scale, onnxc_value zero,
                             onnxc_build_scalar_fn scalar, quantization *q) {
  onnxc_value values[3] = {x, spread(in, scale), spread(in, zero)};
  q->has_zero = zero.i != 0;
  if (!values[1].i || (q->has_zero && !values[2].i))
    return onnxc_import_done(in, 0, (onnxc_value){0});
  return onnxc_import_done(in, 0, onnxc_build_map(in->graph, in->where, q->has_zero ? 3 : 2, values, scalar, q));
}

onnxc_status onnxc_import_QuantizeLinear(onnxc_importer *in) {
  onnxc_graph *graph = in->graph;
  onnxc_value x = onnxc_import_operand(in, 0, "fi"), scale = onnxc_import_scale(in, 1);
  onnxc_value zero = onnxc_import_unvector(in, onnxc_import_optional(in, 2));
  if (!x.i || !scale.i)
    return onnxc_import_done(in, 0, (onnxc_value){0});
  quantization q = {.to = zero.i ? onnxc_value_of(graph, zero)->dtype : type_attribute(in, "output_dtype", ONNXC_U8)};
  if (type_attribute(in, "output_dtype", q.to) != q.to)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "output_dtype is not the zero point's type");
  if (!is_narrow_int(q.to))
    return onnxc_import_error(in, ONNXC_UNSUPPORTED, "quantization to %s", onnxc_dtype_name(q.to));
  q.precision = type_attribute(in, "precision", onnxc_value_of(graph, scale)->dtype);
  if (!is_narrow_float(q.precision))
    return onnxc_import_error(in, ONNXC_UNSUPPORTED, "quantization with precision %s", onnxc_dtype_name(q.precision));
  if (zero.i && holds_zeros(graph, zero))
    zero.i = 0;
  return map_with(in, x, scale, zero, scalar_quantize, &q);
}

onnxc_status onnxc_import_DequantizeLinear(onnxc_importer *in) {
  onnxc_graph *graph = in->graph;
  onnxc_value x = onnxc_import_input(in, 0), scale = onnxc_import_scale(in, 1), zero;
  if (!scale.i || !onnxc_import_zero_point(in, 2, x, &zero))
    return onnxc_import_done(in, 0, (onnxc_value){0});
  onnxc_dtype from = onnxc_value_of(graph, x)->dtype;
  quantization q = {.to = type_attribute(in, "output_dtype", onnxc_value_of(graph, scale)->dtype)};
  if (!is_narrow_int(from) && from != ONNXC_I32)
    return onnxc_import_error(in, ONNXC_UNSUPPORTED, "dequantization of %s", onnxc_dtype_name(from));
  if (!is_narrow_float(q.to))
    return onnxc_import_error(in, ONNXC_UNSUPPORTED, "dequantization to %s", onnxc_dtype_name(q.to));
  return map_with(in, x, scale, zero, scalar_dequantize, &q);
}

/* ---- one step of an operator ---- */

onnxc_value onnxc_import_dequantized(onnxc_importer *in, uint32_t k) {
  onnxc_value values[3] = {onnxc_import_byte(in, k), onnxc_import_scalar(in, onnxc_import_scale(in, k + 1))};
  if (!values[1].i || !onnxc_import_zero_point(in, k + 2, values[0], &values[2]))
    return (onnxc_value){0};
  quantization q = {.to = ONNXC_F32, .has_zero = values[2].i != 0};
  if (q.has_zero) {
    values[2] = onnxc_import_scalar(in, values[2]);
    if (!values[2].i)
      return values[2];
  }
  return onnxc_build_map(in->graph, in->where, q.has_zero ? 3 : 2, values, scalar_dequantize, &q);
}

onnxc_value onnxc_import_quantized(onnxc_importer *in, onnxc_value numbers, uint32_t k, onnxc_dtype dtype) {
  onnxc_value values[3] = {numbers, onnxc_import_scalar(in, onnxc_import_scale(in, k))};
  if (onnxc_import_optional(in, k + 1).i) {
    values[2] = onnxc_import_byte(in, k + 1);
    if (!values[2].i)
      return values[2];
    dtype = onnxc_value_of(in->graph, values[2])->dtype;
    values[2] = onnxc_import_scalar(in, values[2]);
  }
  if (!numbers.i || !values[1].i)
    return (onnxc_value){0};
  quantization q = {.to = dtype, .precision = ONNXC_F32};
  q.has_zero = values[2].i && !holds_zeros(in->graph, values[2]);
  return onnxc_build_map(in->graph, in->where, q.has_zero ? 3 : 2, values, scalar_quantize, &q);
}

/* ---- requantize ---- */

/* a * b / y */
static onnxc_expr scalar_multiplier(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  (void)arg;
  onnxc_expr product = e_mul(pool, e_cast(pool, ONNXC_F32, args[0]), e_cast(pool, ONNXC_F32, args[1]));
  return e_div(pool, product, e_cast(pool, ONNXC_F32, args[2]));
}

/* The sum, then either a, b, y or their multiplier, then the zero point if there is one. */
typedef struct requantization {
  onnxc_dtype to;
  bool multiplied, has_zero;
} requantization;

static onnxc_expr scalar_requantize(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  const requantization *r = arg;
  onnxc_expr multiplier = r->multiplied ? args[1] : scalar_multiplier(NULL, pool, args + 1);
  onnxc_expr product = e_mul(pool, e_cast(pool, ONNXC_F32, args[0]), multiplier);
  return quantized(pool, product, r->has_zero ? args[r->multiplied ? 2 : 4] : (onnxc_expr){0}, r->to);
}

onnxc_value onnxc_import_requantize(onnxc_importer *in, onnxc_value sum, onnxc_value a_scale, onnxc_value b_scale,
                                    onnxc_value y_scale, uint32_t k) {
  onnxc_graph *graph = in->graph;
  onnxc_value zero = onnxc_import_byte(in, k), scales[3] = {a_scale, b_scale, y_scale};
  if (!sum.i || !zero.i || !a_scale.i || !b_scale.i || !y_scale.i)
    return (onnxc_value){0};
  requantization r = {.to = onnxc_value_of(graph, zero)->dtype, .has_zero = !holds_zeros(graph, zero)};
  /* Constants become one constant of the expression. All else is computed once, not for each element. */
  for (int s = 0; s < 3; s++)
    r.multiplied = r.multiplied || !onnxc_build_constant_element(graph, scales[s]).i;
  onnxc_value values[5] = {sum, a_scale, b_scale, y_scale};
  uint32_t n = 4;
  if (r.multiplied) {
    values[1] = onnxc_build_map(graph, in->where, 3, scales, scalar_multiplier, NULL);
    if (!values[1].i)
      return values[1];
    n = 2;
  }
  if (r.has_zero)
    values[n++] = onnxc_import_scalar(in, zero);
  return values[n - 1].i ? onnxc_build_map(graph, in->where, n, values, scalar_requantize, &r) : values[n - 1];
}

/* ---- DynamicQuantizeLinear ---- */

static onnxc_expr scalar_not_above(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  (void)arg;
  return e_min(pool, args[0], e_number(pool, args[0], 0));
}
static onnxc_expr scalar_not_below(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  (void)arg;
  return e_max(pool, args[0], e_number(pool, args[0], 0));
}

/* From the lowest and the highest number; all zeros have the range 1. */
static onnxc_expr scalar_range_scale(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  (void)arg;
  onnxc_expr low = args[0], high = args[1];
  onnxc_expr range = e_select(pool, e_eq(pool, low, high), e_number(pool, low, 1), e_sub(pool, high, low));
  return e_div(pool, range, e_number(pool, low, 255));
}

static onnxc_expr scalar_range_zero(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  (void)arg;
  onnxc_expr low = args[0], scale = args[1];
  onnxc_expr zero = e_sub(pool, e_number(pool, low, 0), e_div(pool, low, scale));
  return quantized(pool, zero, (onnxc_expr){0}, ONNXC_U8);
}

onnxc_status onnxc_import_DynamicQuantizeLinear(onnxc_importer *in) {
  onnxc_graph *graph = in->graph;
  onnxc_value x = onnxc_import_operand(in, 0, "f");
  if (!x.i)
    return onnxc_import_done(in, 0, x);
  const onnxc_value_info *info = onnxc_value_of(graph, x);
  if (info->dtype != ONNXC_F32)
    return onnxc_import_error(in, ONNXC_UNSUPPORTED, "quantization of %s", onnxc_dtype_name(info->dtype));
  bool all[ONNXC_MAX_RANK];
  memset(all, true, sizeof all);
  onnxc_value low = onnxc_build_reduce(graph, in->where, x, all, false, ONNXC_EXPR_MIN, NULL, scalar_not_above, NULL);
  onnxc_value high = onnxc_build_reduce(graph, in->where, x, all, false, ONNXC_EXPR_MAX, NULL, scalar_not_below, NULL);
  if (!low.i || !high.i)
    return onnxc_import_done(in, 0, (onnxc_value){0});
  onnxc_value scale = onnxc_build_map(graph, in->where, 2, (onnxc_value[]){low, high}, scalar_range_scale, NULL);
  onnxc_value zero = onnxc_build_map(graph, in->where, 2, (onnxc_value[]){low, scale}, scalar_range_zero, NULL);
  quantization q = {.to = ONNXC_U8, .precision = ONNXC_F32, .has_zero = true};
  onnxc_import_result(in, 1, scale);
  onnxc_import_result(in, 2, zero);
  return onnxc_import_done(in, 0,
                           onnxc_build_map(graph, in->where, 3, (onnxc_value[]){x, scale, zero}, scalar_quantize, &q));
}
