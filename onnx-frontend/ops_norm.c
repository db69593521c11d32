/* ops_norm.c -- normalizations and softmax.
 *
 * Where the normalized dims are the last ones, the composite NORMALIZE (or SOFTMAX) says it all and the fuser decides;
 * the others are reductions and maps. Everything is computed in f32 at least, whatever the element type; composites
 * take x and their parameters as they are, and see to that themselves.
 */
#include "scalar.h"

#include <math.h>

/* ---- pieces ---- */

/* Whether p broadcasts to x without making it larger; else an error. */
static bool broadcasts_to(onnxc_importer *in, onnxc_value p, onnxc_value x) {
  onnxc_graph *graph = in->graph;
  const onnxc_value_info from = *onnxc_value_of(graph, p), to = *onnxc_value_of(graph, x);
  onnxc_dim dims[ONNXC_MAX_RANK];
  uint32_t rank;
  if (!onnxc_build_broadcast_shapes(graph, in->where, 2, (uint32_t[]){to.rank, from.rank},
                                    (const onnxc_dim *[]){to.dims, from.dims}, &rank, dims))
    return false;
  if (rank != to.rank) {
    onnxc_import_error(in, ONNXC_BAD_INPUT, "a parameter of rank %u for a tensor of rank %u", rank, to.rank);
    return false;
  }
  for (uint32_t d = 0; d < rank; d++)
    if (!onnxc_build_same_dim(graph, in->where, to.dims[d], dims[d], NULL))
      return false;
  return true;
}

static onnxc_value composite(onnxc_importer *in, onnxc_op op, uint32_t n, const onnxc_value *inputs, int64_t axis,
                             int64_t span, double epsilon) {
  for (uint32_t k = 0; k < n; k++)
    if (!inputs[k].i || !broadcasts_to(in, inputs[k], inputs[0]))
      return (onnxc_value){0};
  onnxc_graph *graph = in->graph;
  const onnxc_value_info *info = onnxc_value_of(graph, inputs[0]);
  onnxc_value result = onnxc_graph_add_value(graph, NULL, info->dtype, info->rank, info->dims);
  onnxc_node node = onnxc_graph_add_node(graph, op, in->where, n, inputs, 1, &result);
  onnxc_node_info *node_info = onnxc_node_of(graph, node);
  node_info->axis = axis;
  node_info->span = span;
  node_info->epsilon = epsilon;
  return result;
}

/* A vector along dim `axis` of a tensor of `rank` dims: ones are appended. */
static onnxc_value along(onnxc_importer *in, onnxc_value vector, uint32_t axis, uint32_t rank) {
  if (!vector.i)
    return vector;
  onnxc_graph *graph = in->graph;
  const onnxc_value_info *info = onnxc_value_of(graph, vector);
  if (info->rank != 1) {
    onnxc_import_error(in, ONNXC_BAD_INPUT, "a parameter of rank %u where a vector is expected", info->rank);
    return (onnxc_value){0};
  }
  onnxc_dim dims[ONNXC_MAX_RANK] = {info->dims[0]};
  for (uint32_t d = 1; d < rank - axis; d++)
    dims[d] = onnxc_dim_const(&graph->dims, 1);
  return onnxc_build_reshape(graph, in->where, vector, rank - axis, dims);
}

static onnxc_expr scalar_square(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  (void)arg;
  return e_mul(pool, args[0], args[0]);
}

/* acc / count; arg: the count, an onnxc_dim */
static onnxc_expr scalar_average(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  onnxc_expr count = onnxc_expr_dim(pool, *(const onnxc_dim *)arg);
  return e_div(pool, args[0], e_cast(pool, e_dtype(pool, args[0]), count));
}

/* The mean over the marked dims, which stay as ones, of x or of its square. */
static onnxc_value average(onnxc_importer *in, onnxc_value x, const bool *over, bool squared) {
  if (!x.i)
    return x;
  const onnxc_value_info *info = onnxc_value_of(in->graph, x);
  onnxc_dim count = onnxc_dim_const(&in->graph->dims, 1);
  for (uint32_t d = 0; d < info->rank; d++)
    if (over[d])
      count = onnxc_dim_mul(&in->graph->dims, count, info->dims[d]);
  return onnxc_build_reduce(in->graph, in->where, x, over, true, ONNXC_EXPR_ADD, squared ? scalar_square : NULL,
                            scalar_average, &count);
}

static onnxc_value subtract(onnxc_importer *in, onnxc_value a, onnxc_value b) {
  return onnxc_build_binary(in->graph, in->where, ONNXC_EXPR_SUB, a, b);
}

/* 1 / sqrt(x + epsilon); arg: epsilon, a double */
static onnxc_expr scalar_inverse_root(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  onnxc_expr x = args[0];
  return e_div(pool, e_number(pool, x, 1), e_sqrt(pool, e_add(pool, x, e_number(pool, x, *(const double *)arg))));
}

static onnxc_value inverse_root(onnxc_importer *in, onnxc_value x, double epsilon) {
  return onnxc_import_map(in, 1, &x, scalar_inverse_root, &epsilon);
}

/* Input k, of any float type, or none. */
static onnxc_value parameter(onnxc_importer *in, uint32_t k) {
  return onnxc_import_optional(in, k).i ? onnxc_import_operand(in, k, "f") : (onnxc_value){0};
}

static onnxc_status bind_as(onnxc_importer *in, uint32_t k, onnxc_value value, onnxc_dtype dtype) {
  return onnxc_import_done(in, k, onnxc_import_narrow(in, value, dtype));
}

static onnxc_status failed(onnxc_importer *in) { return onnxc_import_done(in, 0, (onnxc_value){0}); }

static onnxc_value_info shape_of(onnxc_importer *in, onnxc_value x) { return *onnxc_value_of(in->graph, x); }

/* ---- Softmax, LogSoftmax ---- */

/* Before opset 13 the dims from axis on are one. */
static onnxc_status import_softmax(onnxc_importer *in, onnxc_op op) {
  onnxc_value x = onnxc_import_operand(in, 0, "f");
  if (!x.i)
    return failed(in);
  onnxc_value_info info = shape_of(in, x);
  bool coerced = in->opset < 13;
  int64_t axis = onnxc_import_axis(in, onnxc_import_int(in, "axis", coerced ? 1 : -1), info.rank);
  if (axis < 0)
    return failed(in);
  return onnxc_import_done(in, 0, composite(in, op, 1, &x, axis, coerced ? info.rank - axis : 1, 0));
}

onnxc_status onnxc_import_Softmax(onnxc_importer *in) { return import_softmax(in, ONNXC_OP_SOFTMAX); }
onnxc_status onnxc_import_LogSoftmax(onnxc_importer *in) { return import_softmax(in, ONNXC_OP_LOG_SOFTMAX); }

/* ---- BatchNormalization ---- */

/* scale / sqrt(variance + epsilon) */
static onnxc_expr scalar_factor(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  onnxc_expr variance = args[1];
  onnxc_expr root = e_sqrt(pool, e_add(pool, variance, e_number(pool, variance, *(const double *)arg)));
  return e_div(pool, args[0], root);
}
/* bias - mean * factor */
static onnxc_expr scalar_offset(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  (void)arg;
  return e_sub(pool, args[0], e_mul(pool, args[1], args[2]));
}
static onnxc_expr scalar_fma(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  (void)arg;
  return e_add(pool, e_mul(pool, args[0], args[1]), args[2]);
}
/* old * momentum + new * (1 - momentum) */
static onnxc_expr scalar_running(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  double momentum = *(const double *)arg;
  return e_add(pool, e_mul(pool, args[0], e_number(pool, args[0], momentum)),
               e_mul(pool, args[1], e_number(pool, args[1], 1 - momentum)));
}

/* In training mode: the batch's mean and variance replace *mean and *variance ([C, 1..]); outputs 1 and 2 are the
 * running ones. */
static onnxc_status batch_statistics(onnxc_importer *in, onnxc_value x, uint32_t rank, onnxc_value *mean,
                                     onnxc_value *variance) {
  onnxc_graph *graph = in->graph;
  bool over[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < rank; d++)
    over[d] = d != 1;
  onnxc_value batch_mean = average(in, x, over, false);
  onnxc_value batch_variance = average(in, subtract(in, x, batch_mean), over, true);
  if (!batch_mean.i || !batch_variance.i)
    return failed(in);
  const onnxc_dim *dims = shape_of(in, batch_mean).dims;
  double momentum = onnxc_import_float(in, "momentum", 0.9F);
  onnxc_value *old[2] = {mean, variance}, batch[2] = {batch_mean, batch_variance};
  for (uint32_t k = 0; k < 2; k++) { /* [1, C, 1..] without its first dim */
    onnxc_value now = onnxc_build_reshape(graph, in->where, batch[k], rank - 1, dims + 1);
    onnxc_value running = onnxc_import_map(in, 2, (onnxc_value[]){*old[k], now}, scalar_running, &momentum);
    running = onnxc_build_reshape(graph, in->where, running, 1, &dims[1]);
    if (onnxc_import_wants(in, k + 1)) {
      onnxc_value given = onnxc_import_input(in, 3 + k);
      ONNXC_TRY(bind_as(in, k + 1, running, shape_of(in, given).dtype));
    }
    *old[k] = now;
  }
  return ONNXC_OK;
}

/* x * factor + offset, both a number a channel that folds when the parameters are constants. */
onnxc_status onnxc_import_BatchNormalization(onnxc_importer *in) {
  onnxc_value x = onnxc_import_operand(in, 0, "f");
  if (!x.i)
    return failed(in);
  onnxc_value_info info = shape_of(in, x);
  if (info.rank < 2)
    return onnxc_import_error(in, ONNXC_UNSUPPORTED, "input of rank %u", info.rank);
  if (!onnxc_import_int(in, "spatial", 1))
    return onnxc_import_error(in, ONNXC_UNSUPPORTED, "spatial = 0");
  bool training = onnxc_import_int(in, "training_mode", 0) != 0;
  if (in->opset < 14)
    for (uint32_t k = 1; k < in->num_outputs; k++)
      training = training || onnxc_import_wants(in, k);
  if (training && in->opset < 14)
    return onnxc_import_error(in, ONNXC_UNSUPPORTED, "training (outputs beside Y)");
  double epsilon = onnxc_import_float(in, "epsilon", 1e-5F);
  onnxc_value p[4];
  onnxc_dtype wide = onnxc_build_wide(info.dtype);
  for (uint32_t k = 0; k < 4; k++) {
    p[k] = onnxc_import_operand(in, k + 1, "f");
    p[k] = along(in, onnxc_import_narrow(in, p[k], wide), 1, info.rank);
    if (!p[k].i)
      return failed(in);
  }
  onnxc_value wide_x = onnxc_import_widen(in, x);
  if (training)
    ONNXC_TRY(batch_statistics(in, wide_x, info.rank, &p[2], &p[3]));
  onnxc_value factor = onnxc_import_map(in, 2, (onnxc_value[]){p[0], p[3]}, scalar_factor, &epsilon);
  onnxc_value offset = onnxc_import_map(in, 3, (onnxc_value[]){p[1], p[2], factor}, scalar_offset, NULL);
  return onnxc_import_done(in, 0, onnxc_import_map(in, 3, (onnxc_value[]){x, factor, offset}, scalar_fma, NULL));
}

/* ---- over the last dims ---- */

onnxc_status onnxc_import_LayerNormalization(onnxc_importer *in) {
  onnxc_value x = onnxc_import_operand(in, 0, "f");
  if (!x.i)
    return failed(in);
  onnxc_value_info info = shape_of(in, x);
  int64_t axis = onnxc_import_axis(in, onnxc_import_int(in, "axis", -1), info.rank);
  if (axis < 0)
    return failed(in);
  double epsilon = onnxc_import_float(in, "epsilon", 1e-5F);
  onnxc_value operands[3] = {x, parameter(in, 1), parameter(in, 2)};
  if (!operands[1].i)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "no scale");
  onnxc_value y = composite(in, ONNXC_OP_NORMALIZE, operands[2].i ? 3 : 2, operands, axis, info.rank - axis, epsilon);
  ONNXC_TRY(onnxc_import_done(in, 0, y));
  if (!onnxc_import_wants(in, 1) && !onnxc_import_wants(in, 2))
    return ONNXC_OK;
  bool over[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < info.rank; d++)
    over[d] = d >= (uint32_t)axis;
  int64_t stash = onnxc_import_int(in, "stash_type", ONNXC_F32);
  if (stash != ONNXC_F32 && stash != ONNXC_BF16)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "stash_type %lld", (long long)stash);
  onnxc_value wide = onnxc_import_widen(in, x), mean = average(in, wide, over, false);
  ONNXC_TRY(bind_as(in, 1, mean, (onnxc_dtype)stash));
  onnxc_value variance = average(in, subtract(in, wide, mean), over, true);
  return bind_as(in, 2, inverse_root(in, variance, epsilon), (onnxc_dtype)stash);
}

onnxc_status onnxc_import_InstanceNormalization(onnxc_importer *in) {
  onnxc_value x = onnxc_import_operand(in, 0, "f");
  if (!x.i)
    return failed(in);
  onnxc_value_info info = shape_of(in, x);
  if (info.rank < 3)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "input of rank %u", info.rank);
  onnxc_value operands[3] = {x, along(in, parameter(in, 1), 1, info.rank), along(in, parameter(in, 2), 1, info.rank)};
  if (!operands[1].i || !operands[2].i)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "no scale or no bias");
  double epsilon = onnxc_import_float(in, "epsilon", 1e-5F);
  return onnxc_import_done(in, 0, composite(in, ONNXC_OP_NORMALIZE, 3, operands, 2, info.rank - 2, epsilon));
}

/* [N, C, ..] seen as [N, G, C / G, ..]. Up to opset 20 scale and bias are of length G, from then on C. */
onnxc_status onnxc_import_GroupNormalization(onnxc_importer *in) {
  onnxc_graph *graph = in->graph;
  onnxc_dims *pool = &graph->dims;
  onnxc_value x = onnxc_import_operand(in, 0, "f");
  if (!x.i)
    return failed(in);
  onnxc_value_info info = shape_of(in, x);
  int64_t groups = onnxc_import_int(in, "num_groups", 0);
  if (info.rank < 2 || info.rank >= ONNXC_MAX_RANK || groups <= 0)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "input of rank %u in %lld groups", info.rank, (long long)groups);
  onnxc_dim dims[ONNXC_MAX_RANK] = {info.dims[0], onnxc_dim_const(pool, groups)};
  dims[2] = onnxc_dim_floordiv(pool, info.dims[1], dims[1]);
  for (uint32_t d = 2; d < info.rank; d++)
    dims[d + 1] = info.dims[d];
  onnxc_value operands[3] = {onnxc_build_reshape(graph, in->where, x, info.rank + 1, dims)};
  for (uint32_t k = 1; k < 3; k++) {
    onnxc_value vector = parameter(in, k);
    if (!vector.i)
      return onnxc_import_error(in, ONNXC_BAD_INPUT, "no %s", k == 1 ? "scale" : "bias");
    if (in->opset < 21) {
      operands[k] = along(in, vector, 1, info.rank + 1);
      continue;
    }
    onnxc_dim shape[ONNXC_MAX_RANK] = {dims[1], dims[2]};
    for (uint32_t d = 2; d < info.rank; d++)
      shape[d] = onnxc_dim_const(pool, 1);
    operands[k] = onnxc_build_reshape(graph, in->where, vector, info.rank, shape);
  }
  double epsilon = onnxc_import_float(in, "epsilon", 1e-5F);
  onnxc_value y = composite(in, ONNXC_OP_NORMALIZE, 3, operands, 2, info.rank - 1, epsilon);
  return onnxc_import_done(in, 0, onnxc_build_reshape(graph, in->where, y, info.rank, info.dims));
}

/* ---- over any dims ---- */

static onnxc_expr scalar_product3(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  (void)arg;
  return e_mul(pool, e_mul(pool, args[0], args[1]), args[2]);
}

onnxc_status onnxc_import_RMSNormalization(onnxc_importer *in) {
  onnxc_value x = onnxc_import_operand(in, 0, "f");
  if (!x.i)
    return failed(in);
  onnxc_value_info info = shape_of(in, x);
  onnxc_value scale = parameter(in, 1);
  if (!scale.i)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "no scale");
  scale = onnxc_import_narrow(in, scale, onnxc_build_wide(info.dtype));
  int64_t axis = onnxc_import_axis(in, onnxc_import_int(in, "axis", -1), info.rank);
  if (axis < 0)
    return failed(in);
  bool over[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < info.rank; d++)
    over[d] = d >= (uint32_t)axis;
  onnxc_value mean = average(in, onnxc_import_widen(in, x), over, true);
  onnxc_value inverse = inverse_root(in, mean, onnxc_import_float(in, "epsilon", 1e-5F));
  return onnxc_import_done(in, 0, onnxc_import_map(in, 3, (onnxc_value[]){x, inverse, scale}, scalar_product3, NULL));
}

/* x / (sqrt(variance) + 1e-9), as the operator's function body has it */
static onnxc_expr scalar_standardize(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  (void)arg;
  onnxc_expr deviation = e_add(pool, e_sqrt(pool, args[1]), e_number(pool, args[1], 1e-9));
  return e_div(pool, args[0], deviation);
}

onnxc_status onnxc_import_MeanVarianceNormalization(onnxc_importer *in) {
  onnxc_value x = onnxc_import_operand(in, 0, "f");
  if (!x.i)
    return failed(in);
  onnxc_value_info info = shape_of(in, x);
  uint32_t count;
  const int64_t *axes = onnxc_import_ints(in, "axes", &count);
  if (!axes) {
    static const int64_t usual[] = {0, 2, 3};
    axes = usual;
    count = 3;
  }
  bool over[ONNXC_MAX_RANK] = {false};
  for (uint32_t k = 0; k < count; k++) {
    int64_t axis = onnxc_import_axis(in, axes[k], info.rank);
    if (axis < 0)
      return failed(in);
    over[axis] = true;
  }
  onnxc_value wide = onnxc_import_widen(in, x);
  onnxc_value centred = subtract(in, wide, average(in, wide, over, false));
  onnxc_value variance = average(in, centred, over, true);
  return bind_as(in, 0, onnxc_import_map(in, 2, (onnxc_value[]){centred, variance}, scalar_standardize, NULL),
                 info.dtype);
}

/* ---- LRN ---- */

/* base^beta; the usual exponents without pow */
static onnxc_expr power(onnxc_exprs *pool, onnxc_expr base, double beta) {
  onnxc_expr root = e_sqrt(pool, base);
  if (beta == 0.5)
    return root;
  if (beta == 0.75)
    return e_mul(pool, root, e_sqrt(pool, root));
  return beta == 1 ? base : e_pow(pool, base, e_number(pool, base, beta));
}

/* x / (bias + alpha / size * sum of the squares of the `size` channels around)^beta */
onnxc_status onnxc_import_LRN(onnxc_importer *in) {
  onnxc_value x = onnxc_import_operand(in, 0, "f");
  if (!x.i)
    return failed(in);
  onnxc_graph *graph = in->graph;
  onnxc_exprs *pool = &graph->exprs;
  onnxc_value_info info = shape_of(in, x);
  int64_t size = onnxc_import_int(in, "size", 0);
  if (info.rank < 2 || size <= 0)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "input of rank %u, size %lld", info.rank, (long long)size);
  double alpha = onnxc_import_float(in, "alpha", 1e-4F), beta = onnxc_import_float(in, "beta", 0.75);
  double bias = onnxc_import_float(in, "bias", 1);

  onnxc_compute compute = {.num_parallel = info.rank, .num_reduce = 1, .num_results = 1};
  onnxc_expr index[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < info.rank; d++) {
    compute.extents[d] = info.dims[d];
    index[d] = onnxc_expr_index(pool, d);
  }
  compute.extents[info.rank] = onnxc_dim_const(&graph->dims, size);
  onnxc_dtype wide = onnxc_build_wide(info.dtype);
  onnxc_expr here = e_cast(pool, wide, onnxc_expr_load(pool, info.dtype, 0, info.rank, index));
  onnxc_expr channel = e_sub(pool, e_add(pool, index[1], onnxc_expr_index(pool, info.rank)),
                             onnxc_expr_i64(pool, ONNXC_I64, (size - 1) / 2));
  onnxc_expr inside = e_and(pool, e_ge(pool, channel, onnxc_expr_i64(pool, ONNXC_I64, 0)),
                            e_lt(pool, channel, onnxc_expr_dim(pool, info.dims[1])));
  index[1] = channel;
  onnxc_expr there = e_cast(pool, wide, onnxc_expr_load(pool, info.dtype, 0, info.rank, index));
  onnxc_build_sum(pool, &compute, 0, wide,
                  e_select(pool, inside, e_mul(pool, there, there), onnxc_expr_f64(pool, wide, 0)));
  onnxc_expr sum = onnxc_expr_acc(pool, wide, 0);
  onnxc_expr base = e_add(pool, e_number(pool, sum, bias), e_mul(pool, e_number(pool, sum, alpha / (double)size), sum));
  compute.finish[0] = e_cast(pool, info.dtype, e_div(pool, here, power(pool, base, beta)));
  onnxc_value result;
  onnxc_graph_add_compute(graph, in->where, &compute, 1, &x, &result);
  return onnxc_import_done(in, 0, result);
}
