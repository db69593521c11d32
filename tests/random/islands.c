/* islands.c -- random products of dequantized bytes, quantized again; see graphs.h.
 *
 * Signs, zero points (none, the lowest byte, any) and scales for the whole or for each column, weights that are
 * constant or not, transposed, matrices and convolutions, padded, in groups; other users of what is dequantized. Scales
 * are powers of two and sums short, so that f32 loses nothing: results are integers, and must agree bit for bit.
 */
#include "graphs.h"

#include "ops/build.h"

typedef struct island {
  onnxc_graph *graph;
  random_numbers *random;
} island;

static uint32_t below(island *o, uint32_t n) { return random_below(o->random, n); }
static bool one_in(island *o, uint32_t n) { return below(o, n) == 0; }
static onnxc_dim dim(island *o, int64_t n) { return onnxc_dim_const(&o->graph->dims, n); }

static onnxc_value constant(island *o, onnxc_dtype dtype, uint32_t rank, const int64_t *shape) {
  int64_t count = 1;
  for (uint32_t d = 0; d < rank; d++)
    count *= shape[d];
  return onnxc_graph_add_constant(o->graph, NULL, dtype, rank, shape,
                                  random_data(o->graph->arena, dtype, count, o->random));
}

/* args are the bytes, the scale and the zero point, if there is one. */
static onnxc_expr scalar_dequantize(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  onnxc_expr x = args[0];
  if (*(const bool *)arg)
    x = onnxc_expr_binary(pool, ONNXC_EXPR_SUB, onnxc_expr_cast(pool, ONNXC_I32, x),
                          onnxc_expr_cast(pool, ONNXC_I32, args[2]));
  return onnxc_expr_binary(pool, ONNXC_EXPR_MUL, onnxc_expr_cast(pool, ONNXC_F32, x), args[1]);
}

/* A constant that broadcasts against the value: one element, or one for each index of dim `axis`. */
static onnxc_value parameter(island *o, onnxc_dtype dtype, const onnxc_value_info *of, int axis) {
  int64_t count = 1;
  if (axis >= 0)
    onnxc_dim_is_const(&o->graph->dims, of->dims[axis], &count);
  unsigned char *bytes = random_data(o->graph->arena, ONNXC_U8, count, o->random);
  float *scales = ONNXC_NEW_ARRAY(o->graph->arena, float, count);
  for (int64_t k = 0; k < count; k++)
    scales[k] = 1.0F / (float)(1 << bytes[k] % 5);
  const void *data = dtype == ONNXC_F32 ? (const void *)scales : bytes;
  onnxc_value value = onnxc_graph_add_constant(o->graph, NULL, dtype, axis >= 0, &count, data);
  if (axis < 0)
    return value;
  onnxc_dim dims[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < of->rank; d++)
    dims[d] = d == (uint32_t)axis ? dim(o, count) : dim(o, 1);
  return onnxc_build_reshape(o->graph, NULL, value, of->rank, dims);
}

/* axis: where scales and zero points may differ, -1 = nowhere. */
static onnxc_value dequantized(island *o, onnxc_value bytes, int axis) {
  onnxc_graph *graph = o->graph;
  const onnxc_value_info info = *onnxc_value_of(graph, bytes);
  onnxc_value values[3] = {bytes, parameter(o, ONNXC_F32, &info, one_in(o, 2) ? axis : -1)};
  bool has_zero = !one_in(o, 3);
  if (has_zero && info.dtype == ONNXC_I8 && one_in(o, 2))
    values[2] = onnxc_build_scalar_i64(graph, ONNXC_I8, -128);
  else if (has_zero)
    values[2] = parameter(o, info.dtype, &info, one_in(o, 3) ? axis : -1);
  return onnxc_build_map(graph, NULL, has_zero ? 3 : 2, values, scalar_dequantize, &has_zero);
}

static onnxc_dtype byte_type(island *o) { return one_in(o, 2) ? ONNXC_U8 : ONNXC_I8; }

static onnxc_value weights(island *o, uint32_t rank, const int64_t *shape, int axis) {
  onnxc_dtype dtype = byte_type(o);
  if (!one_in(o, 4))
    return dequantized(o, constant(o, dtype, rank, shape), axis);
  onnxc_dim dims[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < rank; d++)
    dims[d] = dim(o, shape[d]);
  return dequantized(o, onnxc_graph_add_input(o->graph, "w", dtype, rank, dims), axis);
}

static onnxc_value matrices(island *o, onnxc_value x, int64_t k) {
  static const int64_t columns[] = {1, 3, 9, 16, 40, 64, 70};
  int64_t n = columns[below(o, 7)];
  static const uint32_t swap[2] = {1, 0};
  onnxc_value w;
  if (one_in(o, 3))
    w = onnxc_build_transpose(o->graph, NULL, weights(o, 2, (int64_t[]){n, k}, 0), swap);
  else
    w = weights(o, 2, (int64_t[]){k, n}, 1);
  return onnxc_build_matmul(o->graph, "product", x, w);
}

/* Of bytes and padded with a zero point if `bytes`, else of what they stand for. */
static onnxc_value convolution(island *o, onnxc_value x, int64_t channels, bool bytes) {
  int64_t group = channels < 2 ? 1 : channels % 2 == 0 && one_in(o, 4) ? 2 : one_in(o, 6) ? channels : 1;
  int64_t kernel = one_in(o, 3) ? 1 : 3, out = group * (1 + below(o, group > 1 ? 4 : 40));
  onnxc_conv conv = {.spatial = 2, .group = group};
  for (int s = 0; s < 2; s++) {
    conv.stride[s] = 1 + below(o, 2);
    conv.dilation[s] = 1;
    conv.pad_low[s] = dim(o, kernel == 3 ? below(o, 2) : 0);
    conv.pad_high[s] = dim(o, kernel == 3 ? below(o, 2) : 0);
  }
  const int64_t shape[4] = {out, channels / group, kernel, kernel};
  if (bytes) {
    conv.i32 = true;
    onnxc_dtype dtype = onnxc_value_of(o->graph, x)->dtype;
    int64_t zero = dtype == ONNXC_I8 ? (one_in(o, 2) ? -128 : (int64_t)below(o, 256) - 128) : below(o, 256);
    conv.pad_value = onnxc_build_scalar_i64(o->graph, dtype, zero);
  }
  onnxc_value w = bytes ? constant(o, byte_type(o), 4, shape) : weights(o, 4, shape, 0);
  return onnxc_build_conv(o->graph, "product", x, w, (onnxc_value){0}, &conv);
}

/* Exact: no scale is below 1/16. */
static onnxc_expr scalar_whole(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  (void)arg;
  return onnxc_expr_cast(pool, ONNXC_I32,
                         onnxc_expr_binary(pool, ONNXC_EXPR_MUL, args[0], onnxc_expr_f64(pool, ONNXC_F32, 256)));
}

static onnxc_expr scalar_quantize(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  const onnxc_dtype dtype = *(const onnxc_dtype *)arg;
  onnxc_expr quotient = onnxc_expr_binary(pool, ONNXC_EXPR_DIV, args[0], onnxc_expr_f64(pool, ONNXC_F32, 300));
  onnxc_expr rounded = onnxc_expr_unary(pool, ONNXC_EXPR_ROUND, quotient);
  return onnxc_expr_cast(pool, dtype,
                         onnxc_expr_binary(pool, ONNXC_EXPR_ADD, rounded, onnxc_expr_f64(pool, ONNXC_F32, 17)));
}

/* The element as a number and back, with scale 0.3 and zero point 5. */
static onnxc_expr scalar_number(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  (void)arg;
  onnxc_expr x = onnxc_expr_binary(pool, ONNXC_EXPR_SUB, onnxc_expr_cast(pool, ONNXC_I32, args[0]),
                                   onnxc_expr_i64(pool, ONNXC_I32, 5));
  return onnxc_expr_binary(pool, ONNXC_EXPR_MUL, onnxc_expr_cast(pool, ONNXC_F32, x),
                           onnxc_expr_f64(pool, ONNXC_F32, 0.3));
}

static onnxc_expr scalar_byte(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  onnxc_expr x = onnxc_expr_binary(pool, ONNXC_EXPR_DIV, args[0], onnxc_expr_f64(pool, ONNXC_F32, 0.3));
  x = onnxc_expr_binary(pool, ONNXC_EXPR_ADD, onnxc_expr_unary(pool, ONNXC_EXPR_ROUND, x),
                        onnxc_expr_f64(pool, ONNXC_F32, 5));
  return onnxc_expr_cast(pool, *(const onnxc_dtype *)arg, x);
}

/* All bytes in the order of the last two dims swapped, as a matrix. */
static onnxc_value moved(island *o, onnxc_value bytes) {
  onnxc_graph *graph = o->graph;
  const onnxc_value_info info = *onnxc_value_of(graph, bytes);
  onnxc_dtype dtype = info.dtype;
  uint32_t swap[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < info.rank; d++)
    swap[d] = d + 2 < info.rank ? d : 2 * info.rank - 3 - d;
  onnxc_value x = onnxc_build_map(graph, NULL, 1, &bytes, scalar_number, NULL);
  x = onnxc_build_transpose(graph, NULL, x, swap);
  x = onnxc_build_map(graph, NULL, 1, &x, scalar_byte, &dtype);
  x = onnxc_build_map(graph, NULL, 1, &x, scalar_number, NULL);
  onnxc_dim rest = dim(o, 1);
  for (uint32_t d = 1; d < info.rank; d++)
    rest = onnxc_dim_mul(&graph->dims, rest, info.dims[d]);
  x = onnxc_build_reshape(graph, NULL, x, 2, (onnxc_dim[]){info.dims[0], rest});
  return onnxc_build_map(graph, NULL, 1, &x, scalar_byte, &dtype);
}

void random_island(onnxc_graph *graph, uint32_t seed) {
  random_numbers random = {seed};
  island o = {graph, &random};
  bool image = one_in(&o, 2);
  int64_t depth = 1 + below(&o, image ? 20 : 100);
  onnxc_dim rows = dim(&o, 1 + below(&o, 20));
  if (one_in(&o, 3))
    rows = onnxc_dim_sym(&graph->dims, onnxc_sym_new(&graph->dims, "M", ONNXC_SYM_INPUT_DIM, 0, image ? 2 : 1));
  onnxc_dim matrix[3] = {dim(&o, 1 + below(&o, 2)), rows, dim(&o, depth)};
  onnxc_dim planes[4] = {dim(&o, 1 + below(&o, 2)), dim(&o, depth), rows, dim(&o, 5 + below(&o, 8))};
  if (image && onnxc_dim_is_const(&graph->dims, rows, NULL))
    planes[2] = dim(&o, 7);
  onnxc_value x = onnxc_graph_add_input(graph, "x", byte_type(&o), image ? 4 : 3, image ? planes : matrix);
  if (image && one_in(&o, 3))
    onnxc_graph_add_output(graph, convolution(&o, x, depth, true), "padded");
  x = dequantized(&o, x, -1);
  onnxc_value y = image ? convolution(&o, x, depth, false) : matrices(&o, x, depth);
  onnxc_graph_add_output(graph, onnxc_build_map(graph, NULL, 1, &y, scalar_whole, NULL), "whole");
  if (one_in(&o, 3))
    onnxc_graph_add_output(graph, x, "dequantized");
  onnxc_dtype dtype = byte_type(&o);
  onnxc_value bytes = onnxc_build_map(graph, NULL, 1, &y, scalar_quantize, &dtype);
  if (one_in(&o, 3))
    onnxc_graph_add_output(graph, moved(&o, bytes), "moved");
  const onnxc_value_info *info = onnxc_value_of(graph, bytes);
  int64_t next = 0;
  if (one_in(&o, 2) || !onnxc_dim_is_const(&graph->dims, info->dims[image ? 1 : info->rank - 1], &next)) {
    onnxc_graph_add_output(graph, bytes, "bytes");
    return;
  }
  x = dequantized(&o, bytes, -1);
  y = image ? convolution(&o, x, next, false) : matrices(&o, x, next);
  onnxc_graph_add_output(graph, onnxc_build_map(graph, NULL, 1, &y, scalar_whole, NULL), "next");
}
