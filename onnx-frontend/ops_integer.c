/* ops_integer.c -- products of integers with zero points: MatMulInteger, QLinearMatMul, ConvInteger, QLinearConv.
 *
 * The product is of the raw integers, so that instructions for products of bytes fit. What the zero points za and zb
 * change is put right afterwards; sums wrap in 32 bits, so that is exact:
 *
 *     sum (a - za) * (b - zb)  =  sum a*b  -  za * (sum b - K*zb)  -  zb * sum a         K terms a sum
 *
 * Sums of constants fold, and a zero point that is known to be 0 costs nothing.
 */
#include "quantize.h"
#include "shorthand.h"
#include "window.h"

typedef struct factor {
  onnxc_value value;
  onnxc_value zero; /* broadcasts against the product; none = 0 */
} factor;

static bool read_factor(onnxc_importer *in, uint32_t k, uint32_t zero, factor *f) {
  f->value = onnxc_import_byte(in, k);
  return onnxc_import_zero_point(in, zero, f->value, &f->zero);
}

static onnxc_expr scalar_i32(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  (void)arg;
  return e_cast(pool, ONNXC_I32, args[0]);
}

static onnxc_value sum_over(onnxc_importer *in, onnxc_value value, const bool *reduce, bool keepdims) {
  return onnxc_build_reduce(in->graph, in->where, value, reduce, keepdims, ONNXC_EXPR_ADD, scalar_i32, NULL, NULL);
}

/* sum * zero: args are zero, sum. */
static onnxc_expr scalar_term(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  (void)arg;
  return e_mul(pool, args[1], e_cast(pool, ONNXC_I32, args[0]));
}

/* za * (sum b - K*zb): args are za, sum b, zb. */
static onnxc_expr scalar_term_of_both(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  onnxc_expr count = e_cast(pool, ONNXC_I32, e_dim(pool, *(const onnxc_dim *)arg));
  onnxc_expr sum = e_sub(pool, args[1], e_mul(pool, e_cast(pool, ONNXC_I32, args[2]), count));
  return e_mul(pool, sum, e_cast(pool, ONNXC_I32, args[0]));
}

/* The raw product put right. The sums are needed only where the other factor has a zero point. */
static onnxc_value corrected(onnxc_importer *in, onnxc_value product, const factor *a, onnxc_value a_sum,
                             const factor *b, onnxc_value b_sum, onnxc_dim count) {
  onnxc_graph *graph = in->graph;
  onnxc_value values[3] = {a->zero, b_sum, b->zero};
  if (a->zero.i) {
    onnxc_value term = !b_sum.i ? b_sum
                                : onnxc_build_map(graph, in->where, b->zero.i ? 3 : 2, values,
                                                  b->zero.i ? scalar_term_of_both : scalar_term, &count);
    product = onnxc_build_binary(graph, in->where, ONNXC_EXPR_SUB, product, term);
  }
  if (b->zero.i) {
    values[0] = b->zero;
    values[1] = a_sum;
    onnxc_value term = !a_sum.i ? a_sum : onnxc_build_map(graph, in->where, 2, values, scalar_term, NULL);
    product = onnxc_build_binary(graph, in->where, ONNXC_EXPR_SUB, product, term);
  }
  return product;
}

/* ---- matrices ---- */

/* A scale or zero point of the rows of a, or of the columns of b, as it broadcasts against the product; a factor that
 * is a vector has neither. */
static onnxc_value of_lines(onnxc_importer *in, onnxc_value parameter, onnxc_value a, onnxc_value b, bool rows) {
  onnxc_graph *graph = in->graph;
  uint32_t a_rank = onnxc_value_of(graph, a)->rank, b_rank = onnxc_value_of(graph, b)->rank;
  if (!parameter.i || onnxc_value_of(graph, parameter)->rank != 1)
    return parameter;
  if ((rows ? a_rank : b_rank) < 2)
    return onnxc_import_scalar(in, parameter);
  if (!rows || b_rank < 2)
    return parameter;
  onnxc_dim dims[2] = {onnxc_value_of(graph, parameter)->dims[0], onnxc_dim_const(&graph->dims, 1)};
  return onnxc_build_reshape(graph, in->where, parameter, 2, dims);
}

static onnxc_value multiply(onnxc_importer *in, const factor *given_a, const factor *given_b) {
  onnxc_graph *graph = in->graph;
  onnxc_value product = onnxc_build_matmul_i32(graph, in->where, given_a->value, given_b->value), a_sum = {0},
              b_sum = {0};
  if (!product.i)
    return product;
  factor a = {given_a->value, of_lines(in, given_a->zero, given_a->value, given_b->value, true)};
  factor b = {given_b->value, of_lines(in, given_b->zero, given_a->value, given_b->value, false)};
  const onnxc_value_info info = *onnxc_value_of(graph, product), x = *onnxc_value_of(graph, a.value),
                         y = *onnxc_value_of(graph, b.value);
  bool failed = (given_a->zero.i && !a.zero.i) || (given_b->zero.i && !b.zero.i);
  if (failed || !onnxc_import_fits(in, a.zero, &info) || !onnxc_import_fits(in, b.zero, &info))
    return (onnxc_value){0};
  bool keep = x.rank > 1 && y.rank > 1, reduce[ONNXC_MAX_RANK] = {false};
  if (b.zero.i) {
    reduce[x.rank - 1] = true;
    a_sum = sum_over(in, a.value, reduce, keep);
    reduce[x.rank - 1] = false;
  }
  if (a.zero.i) {
    reduce[y.rank > 1 ? y.rank - 2 : 0] = true;
    b_sum = sum_over(in, b.value, reduce, keep);
  }
  return corrected(in, product, &a, a_sum, &b, b_sum, x.dims[x.rank - 1]);
}

onnxc_status onnxc_import_MatMulInteger(onnxc_importer *in) {
  factor a, b;
  if (!read_factor(in, 0, 2, &a) || !read_factor(in, 1, 3, &b))
    return onnxc_import_done(in, 0, (onnxc_value){0});
  return onnxc_import_done(in, 0, multiply(in, &a, &b));
}

onnxc_status onnxc_import_QLinearMatMul(onnxc_importer *in) {
  factor a, b;
  if (!read_factor(in, 0, 2, &a) || !read_factor(in, 3, 5, &b))
    return onnxc_import_done(in, 0, (onnxc_value){0});
  onnxc_value a_scale = of_lines(in, onnxc_import_scale(in, 1), a.value, b.value, true);
  onnxc_value b_scale = of_lines(in, onnxc_import_scale(in, 4), a.value, b.value, false);
  onnxc_value y_scale = onnxc_import_scalar(in, onnxc_import_scale(in, 6)), sum = multiply(in, &a, &b);
  if (!sum.i)
    return onnxc_import_done(in, 0, sum);
  const onnxc_value_info info = *onnxc_value_of(in->graph, sum);
  if (!onnxc_import_fits(in, a_scale, &info) || !onnxc_import_fits(in, b_scale, &info))
    return onnxc_import_done(in, 0, (onnxc_value){0});
  return onnxc_import_done(in, 0, onnxc_import_requantize(in, sum, a_scale, b_scale, y_scale, 7));
}

/* ---- convolutions ---- */

/* A scale, zero point or sum a channel as it broadcasts against the result. */
static onnxc_value of_channels(onnxc_importer *in, onnxc_value parameter, uint32_t spatial) {
  onnxc_graph *graph = in->graph;
  if (!parameter.i || onnxc_value_of(graph, parameter)->rank != 1)
    return parameter;
  onnxc_dim dims[ONNXC_MAX_RANK] = {onnxc_value_of(graph, parameter)->dims[0]};
  for (uint32_t s = 0; s < spatial; s++)
    dims[s + 1] = onnxc_dim_const(&graph->dims, 1);
  return onnxc_build_reshape(graph, in->where, parameter, spatial + 1, dims);
}

/* The sums of x over the window, for each output channel or broadcast to it: a convolution with ones. */
static onnxc_value window_sums(onnxc_importer *in, onnxc_value x, const onnxc_value_info *w, const onnxc_conv *conv) {
  onnxc_graph *graph = in->graph;
  onnxc_exprs *pool = &graph->exprs;
  onnxc_dim dims[ONNXC_MAX_RANK] = {onnxc_dim_const(&graph->dims, conv->group)};
  for (uint32_t d = 1; d < w->rank; d++)
    dims[d] = w->dims[d];
  onnxc_value ones = onnxc_build_expand(graph, in->where, onnxc_build_scalar_i64(graph, ONNXC_I8, 1), w->rank, dims);
  onnxc_value sums = onnxc_build_conv(graph, in->where, x, ones, (onnxc_value){0}, conv);
  if (!sums.i || conv->group == 1)
    return sums;
  onnxc_expr at[ONNXC_MAX_RANK] = {{0}};
  const onnxc_value_info *info = onnxc_value_of(graph, sums);
  for (uint32_t d = 0; d < w->rank; d++) {
    dims[d] = info->dims[d];
    at[d] = e_index(pool, d);
  }
  dims[1] = w->dims[0];
  onnxc_dim per_group = onnxc_dim_floordiv(&graph->dims, w->dims[0], onnxc_dim_const(&graph->dims, conv->group));
  at[1] = e_floordiv(pool, at[1], e_dim(pool, per_group));
  return onnxc_build_index(graph, in->where, sums, w->rank, dims, at);
}

/* Outside of x, its zero point is read: that is the number 0. */
static onnxc_value convolve(onnxc_importer *in, const factor *x, const factor *w, onnxc_value bias) {
  onnxc_graph *graph = in->graph;
  onnxc_conv conv;
  if (!onnxc_import_convolution(in, x->value, w->value, &conv))
    return (onnxc_value){0};
  conv.i32 = true;
  factor image = {x->value, onnxc_import_scalar(in, x->zero)};
  conv.pad_value = image.zero;
  onnxc_value product = onnxc_build_conv(graph, in->where, image.value, w->value, bias, &conv), x_sum = {0},
              w_sum = {0};
  if (!product.i || (x->zero.i && !image.zero.i))
    return (onnxc_value){0};
  const onnxc_value_info info = *onnxc_value_of(graph, product), weights = *onnxc_value_of(graph, w->value);
  factor filter = {w->value, of_channels(in, w->zero, conv.spatial)};
  if (!onnxc_import_fits(in, filter.zero, &info))
    return (onnxc_value){0};
  onnxc_dim count = onnxc_dim_const(&graph->dims, 1);
  bool reduce[ONNXC_MAX_RANK] = {false};
  for (uint32_t d = 1; d < weights.rank; d++) {
    count = onnxc_dim_mul(&graph->dims, count, weights.dims[d]);
    reduce[d] = true;
  }
  if (x->zero.i)
    w_sum = of_channels(in, sum_over(in, w->value, reduce, false), conv.spatial);
  if (w->zero.i)
    x_sum = window_sums(in, x->value, &weights, &conv);
  return corrected(in, product, &image, x_sum, &filter, w_sum, count);
}

onnxc_status onnxc_import_ConvInteger(onnxc_importer *in) {
  factor x, w;
  if (!read_factor(in, 0, 2, &x) || !read_factor(in, 1, 3, &w))
    return onnxc_import_done(in, 0, (onnxc_value){0});
  return onnxc_import_done(in, 0, convolve(in, &x, &w, (onnxc_value){0}));
}

onnxc_status onnxc_import_QLinearConv(onnxc_importer *in) {
  factor x, w;
  if (!read_factor(in, 0, 2, &x) || !read_factor(in, 3, 5, &w))
    return onnxc_import_done(in, 0, (onnxc_value){0});
  onnxc_value sum = convolve(in, &x, &w, onnxc_import_optional(in, 8));
  if (!sum.i)
    return onnxc_import_done(in, 0, sum);
  const onnxc_value_info info = *onnxc_value_of(in->graph, sum);
  onnxc_value x_scale = onnxc_import_scalar(in, onnxc_import_scale(in, 1)),
              y_scale = onnxc_import_scalar(in, onnxc_import_scale(in, 6));
  onnxc_value w_scale = of_channels(in, onnxc_import_scale(in, 4), info.rank - 2);
  if (!onnxc_import_fits(in, w_scale, &info))
    return onnxc_import_done(in, 0, (onnxc_value){0});
  return onnxc_import_done(in, 0, onnxc_import_requantize(in, sum, x_scale, w_scale, y_scale, 7));
}
