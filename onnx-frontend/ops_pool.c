/* ops_pool.c -- pools: a reduction over a window (MaxPool, AveragePool, LpPool) or over all spatial dims (Global*).
 *
 *     out[n, c, o..] = finish(combine over k.. of select(inside, x[n, c, o*stride + k*dilation - pad..], neutral))
 *
 * An average divides by the number of window positions that count, a closed form in o: on each dim those k
 * with 0 <= o*stride + k*dilation - pad < limit.
 */
#include <math.h>

#include "shorthand.h"
#include "window.h"

typedef struct pool_window {
  onnxc_window window;
  onnxc_dim out[ONNXC_MAX_RANK];
  bool low[ONNXC_MAX_RANK], high[ONNXC_MAX_RANK]; /* the window may leave x on this side */
  bool ceil;
} pool_window;

static bool may_be_positive(const onnxc_dims *dims, onnxc_dim dim) {
  int64_t low, high;
  onnxc_dim_range(dims, dim, &low, &high);
  return high > 0;
}

/* The output extent of dim s, for explicit pads. */
static onnxc_dim pooled_extent(onnxc_dims *dims, const onnxc_window *w, uint32_t s, bool ceil_mode) {
  onnxc_dim stride = onnxc_dim_const(dims, w->stride[s]);
  onnxc_dim padded = onnxc_dim_add(dims, w->in[s], w->pad_low[s]);
  onnxc_dim room = onnxc_dim_sub(dims, onnxc_dim_add(dims, padded, w->pad_high[s]), w->reach[s]);
  onnxc_dim floor_count = onnxc_dim_addc(dims, onnxc_dim_floordiv(dims, room, stride), 1);
  if (!ceil_mode)
    return floor_count;
  /* A last window that would start beyond x and its low pad is dropped. */
  onnxc_dim count = onnxc_dim_addc(dims, onnxc_dim_ceildiv(dims, room, stride), 1);
  return onnxc_dim_min(dims, count,
                       onnxc_dim_addc(dims, onnxc_dim_floordiv(dims, onnxc_dim_addc(dims, padded, -1), stride), 1));
}

static bool read_window(onnxc_importer *in, onnxc_value x, pool_window *pool) {
  onnxc_dims *dims = &in->graph->dims;
  onnxc_window *w = &pool->window;
  if (!x.i || !onnxc_import_window(in, x, NULL, w))
    return false;
  pool->ceil = onnxc_import_int(in, "ceil_mode", 0) != 0;
  for (uint32_t s = 0; s < w->spatial; s++) {
    if (w->auto_pad >= ONNXC_PAD_SAME_UPPER)
      pool->out[s] = onnxc_window_same(dims, w, s);
    else
      pool->out[s] = pooled_extent(dims, w, s, pool->ceil && w->auto_pad == ONNXC_PAD_NOTSET);
    int64_t low, high;
    onnxc_dim_range(dims, pool->out[s], &low, &high);
    if (high < 0) {
      onnxc_import_error(in, ONNXC_BAD_INPUT, "the window is larger than dim %u of its input", s + 2);
      return false;
    }
    if (low < 0) {
      onnxc_dim zero = onnxc_dim_const(dims, 0);
      onnxc_graph_add_constraint(
          in->graph, onnxc_dim_min(dims, pool->out[s], zero), zero,
          onnxc_arena_printf(in->graph->arena, "%s: the window is larger than dim %u of its input", in->where, s + 2));
    }
    /* The last position read, less the last one of x: known for static shapes, else told from the pads. */
    onnxc_dim last = onnxc_dim_mulc(dims, onnxc_dim_addc(dims, pool->out[s], -1), w->stride[s]);
    last = onnxc_dim_sub(dims, onnxc_dim_add(dims, last, w->reach[s]), onnxc_dim_add(dims, w->pad_low[s], w->in[s]));
    pool->low[s] = may_be_positive(dims, w->pad_low[s]);
    pool->high[s] = may_be_positive(dims, last) && (pool->ceil || may_be_positive(dims, w->pad_high[s]));
  }
  return true;
}

/* ---- the compute ---- */

/* A pool's space: the load's indices and the condition under which they are inside of x. */
typedef struct pool_space {
  onnxc_compute compute;
  onnxc_expr at[ONNXC_MAX_RANK], inside;
} pool_space;

static pool_space make_space(onnxc_graph *graph, onnxc_value x, const pool_window *pool) {
  onnxc_exprs *exprs = &graph->exprs;
  const onnxc_window *w = &pool->window;
  const onnxc_value_info *info = onnxc_value_of(graph, x);
  pool_space space = {0};
  onnxc_compute *compute = &space.compute;
  for (uint32_t d = 0; d < info->rank; d++)
    compute->extents[d] = d < 2 ? info->dims[d] : pool->out[d - 2];
  compute->num_parallel = info->rank;
  space.at[0] = e_index(exprs, 0);
  space.at[1] = e_index(exprs, 1);
  for (uint32_t s = 0; s < w->spatial; s++) {
    onnxc_expr k = e_int(exprs, 0);
    if (!onnxc_dim_is(&graph->dims, w->kernel[s], 1) || (s + 1 == w->spatial && !compute->num_reduce)) {
      uint32_t r = compute->num_parallel + compute->num_reduce++;
      k = e_index(exprs, r);
      compute->extents[r] = w->kernel[s];
    }
    onnxc_expr e = e_mul(exprs, e_index(exprs, s + 2), e_int(exprs, w->stride[s]));
    e = e_add(exprs, e, e_mul(exprs, k, e_int(exprs, w->dilation[s])));
    e = e_add(exprs, e, e_dim(exprs, onnxc_dim_mulc(&graph->dims, w->pad_low[s], -1)));
    if (pool->low[s])
      space.inside = e_also(exprs, space.inside, e_le(exprs, e_int(exprs, 0), e));
    if (pool->high[s])
      space.inside = e_also(exprs, space.inside, e_lt(exprs, e, e_dim(exprs, w->in[s])));
    space.at[s + 2] = e;
  }
  return space;
}

static onnxc_expr lowest(onnxc_exprs *pool, onnxc_dtype dtype) {
  if (onnxc_dtype_is_float(dtype))
    return onnxc_expr_f64(pool, dtype, -INFINITY);
  if (!onnxc_dtype_is_signed(dtype))
    return onnxc_expr_i64(pool, dtype, 0);
  return onnxc_expr_i64(pool, dtype, INT64_MIN >> (64 - 8 * (unsigned)onnxc_dtype_bytes(dtype)));
}

/* The flat index in x of the element read; storage_order 1 counts the spatial dims column major. */
static onnxc_expr flat_index(onnxc_importer *in, onnxc_value x, const pool_space *space) {
  onnxc_exprs *pool = &in->graph->exprs;
  const onnxc_value_info *info = onnxc_value_of(in->graph, x);
  bool column_major = onnxc_import_int(in, "storage_order", 0) != 0;
  onnxc_expr flat = e_add(pool, e_mul(pool, space->at[0], e_dim(pool, info->dims[1])), space->at[1]);
  for (uint32_t k = 2; k < info->rank; k++) {
    uint32_t d = column_major ? info->rank + 1 - k : k;
    flat = e_add(pool, e_mul(pool, flat, e_dim(pool, info->dims[d])), space->at[d]);
  }
  return flat;
}

onnxc_status onnxc_import_MaxPool(onnxc_importer *in) {
  onnxc_graph *graph = in->graph;
  onnxc_exprs *pool = &graph->exprs;
  onnxc_value x = onnxc_import_input(in, 0);
  pool_window window;
  if (!read_window(in, x, &window))
    return graph->diag->status;
  const onnxc_value_info info = *onnxc_value_of(graph, x);
  if (!window.window.spatial || !(onnxc_dtype_is_float(info.dtype) || onnxc_dtype_is_int(info.dtype)))
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "input of rank %u and type %s", info.rank,
                              onnxc_dtype_name(info.dtype));
  pool_space space = make_space(graph, x, &window);
  onnxc_compute *compute = &space.compute;
  onnxc_expr acc = onnxc_expr_acc(pool, info.dtype, 0), val = onnxc_expr_val(pool, info.dtype, 0);
  compute->num_results = 1;
  compute->acc_dtype[0] = info.dtype;
  compute->init[0] = lowest(pool, info.dtype);
  compute->element[0] =
      e_guard(pool, space.inside, onnxc_expr_load(pool, info.dtype, 0, info.rank, space.at), compute->init[0]);
  compute->combine[0] = e_max(pool, acc, val);
  compute->finish[0] = acc;
  if (onnxc_import_wants(in, 1)) { /* the index of the first largest element; -1 = none yet */
    onnxc_expr acc_at = onnxc_expr_acc(pool, ONNXC_I64, 1), val_at = onnxc_expr_val(pool, ONNXC_I64, 1);
    onnxc_expr better = e_or(pool, e_gt(pool, val, acc), e_lt(pool, acc_at, e_int(pool, 0)));
    compute->num_results = 2;
    compute->acc_dtype[1] = ONNXC_I64;
    compute->init[1] = e_int(pool, -1);
    compute->element[1] = e_guard(pool, space.inside, flat_index(in, x, &space), e_int(pool, -1));
    compute->combine[1] = onnxc_expr_select(pool, better, val_at, acc_at);
    compute->finish[1] = acc_at;
  }
  onnxc_value results[2] = {{0}};
  onnxc_graph_add_compute(graph, in->where, compute, 1, &x, results);
  if (compute->num_results == 2)
    onnxc_import_result(in, 1, results[1]);
  return onnxc_import_done(in, 0, results[0]);
}

/* How many positions of the window on dim s count at output index o; `limit`: those below it do. none = all. */
static onnxc_expr positions(onnxc_graph *graph, const pool_window *pool, uint32_t s, bool include_pad) {
  onnxc_exprs *exprs = &graph->exprs;
  onnxc_dims *dims = &graph->dims;
  const onnxc_window *w = &pool->window;
  bool low = pool->low[s] && !include_pad;
  bool high = pool->high[s] && (!include_pad || pool->ceil);
  if (!low && !high)
    return (onnxc_expr){0};
  onnxc_expr start = e_mul(exprs, e_index(exprs, s + 2), e_int(exprs, w->stride[s]));
  onnxc_expr dilation = e_int(exprs, w->dilation[s]), first = e_int(exprs, 0), last = e_dim(exprs, w->kernel[s]);
  if (low) { /* ceil((pad - start) / dilation) */
    onnxc_dim base = onnxc_dim_addc(dims, w->pad_low[s], w->dilation[s] - 1);
    first = e_max(exprs, first, e_floordiv(exprs, e_sub(exprs, e_dim(exprs, base), start), dilation));
  }
  if (high) {
    onnxc_dim limit = include_pad ? onnxc_dim_add(dims, w->in[s], w->pad_high[s]) : w->in[s];
    onnxc_dim base = onnxc_dim_addc(dims, onnxc_dim_add(dims, limit, w->pad_low[s]), w->dilation[s] - 1);
    last = e_min(exprs, last, e_floordiv(exprs, e_sub(exprs, e_dim(exprs, base), start), dilation));
  }
  return e_sub(exprs, last, first);
}

/* A sum over the window of f(x), with 0 outside; the compute's finish is left to the caller. */
static onnxc_expr windowed_sum(onnxc_graph *graph, onnxc_value x, pool_space *space, onnxc_build_scalar_fn element,
                               void *arg) {
  onnxc_exprs *pool = &graph->exprs;
  const onnxc_value_info *info = onnxc_value_of(graph, x);
  onnxc_dtype wide = onnxc_build_wide(info->dtype);
  onnxc_expr value = onnxc_expr_load(pool, info->dtype, 0, info->rank, space->at);
  value = e_guard(pool, space->inside, value, e_whole(pool, info->dtype, 0));
  value = onnxc_expr_cast(pool, wide, value);
  if (element)
    value = element(arg, pool, &value);
  space->compute.num_results = 1;
  onnxc_build_sum(pool, &space->compute, 0, wide, value);
  return onnxc_expr_acc(pool, wide, 0);
}

static bool is_float_pool(onnxc_importer *in, onnxc_value x) {
  const onnxc_value_info *info = onnxc_value_of(in->graph, x);
  if (info->rank > 2 && onnxc_dtype_is_float(info->dtype))
    return true;
  onnxc_import_error(in, ONNXC_BAD_INPUT, "input of rank %u and type %s", info->rank, onnxc_dtype_name(info->dtype));
  return false;
}

onnxc_status onnxc_import_AveragePool(onnxc_importer *in) {
  onnxc_graph *graph = in->graph;
  onnxc_exprs *pool = &graph->exprs;
  onnxc_value x = onnxc_import_input(in, 0);
  pool_window window;
  if (!read_window(in, x, &window) || !is_float_pool(in, x))
    return graph->diag->status;
  bool include_pad = onnxc_import_int(in, "count_include_pad", 0) != 0;
  pool_space space = make_space(graph, x, &window);
  onnxc_expr sum = windowed_sum(graph, x, &space, NULL, NULL);
  onnxc_expr count = e_int(pool, 1);
  for (uint32_t s = 0; s < window.window.spatial; s++) {
    onnxc_expr some = positions(graph, &window, s, include_pad);
    count = e_mul(pool, count, some.i ? some : e_dim(pool, window.window.kernel[s]));
  }
  onnxc_expr average = e_div(pool, sum, onnxc_expr_cast(pool, e_dtype(pool, sum), count));
  space.compute.finish[0] = onnxc_expr_cast(pool, onnxc_value_of(graph, x)->dtype, average);
  onnxc_value result;
  onnxc_graph_add_compute(graph, in->where, &space.compute, 1, &x, &result);
  return onnxc_import_done(in, 0, result);
}

/* ---- Lp: (sum of |x|^p)^(1/p) ---- */

static onnxc_expr lp_element(void *arg, onnxc_exprs *pool, const onnxc_expr *x) {
  int64_t p = *(const int64_t *)arg;
  if (p == 2)
    return e_mul(pool, x[0], x[0]);
  onnxc_expr size = onnxc_expr_unary(pool, ONNXC_EXPR_ABS, x[0]);
  return p == 1 ? size : onnxc_expr_binary(pool, ONNXC_EXPR_POW, size, e_whole(pool, e_dtype(pool, size), p));
}

static onnxc_expr lp_finish(void *arg, onnxc_exprs *pool, const onnxc_expr *sum) {
  int64_t p = *(const int64_t *)arg;
  if (p == 1)
    return sum[0];
  if (p == 2)
    return onnxc_expr_unary(pool, ONNXC_EXPR_SQRT, sum[0]);
  return onnxc_expr_binary(pool, ONNXC_EXPR_POW, sum[0], onnxc_expr_f64(pool, e_dtype(pool, sum[0]), 1.0 / (double)p));
}

static bool read_p(onnxc_importer *in, int64_t *p) {
  *p = onnxc_import_int(in, "p", 2);
  if (*p >= 1 && *p <= 1024)
    return true;
  onnxc_import_error(in, ONNXC_BAD_INPUT, "p is %lld", (long long)*p);
  return false;
}

onnxc_status onnxc_import_LpPool(onnxc_importer *in) {
  onnxc_graph *graph = in->graph;
  onnxc_exprs *pool = &graph->exprs;
  onnxc_value x = onnxc_import_input(in, 0);
  pool_window window;
  int64_t p;
  if (!read_window(in, x, &window) || !is_float_pool(in, x) || !read_p(in, &p))
    return graph->diag->status;
  pool_space space = make_space(graph, x, &window);
  onnxc_expr sum = windowed_sum(graph, x, &space, lp_element, &p);
  space.compute.finish[0] = onnxc_expr_cast(pool, onnxc_value_of(graph, x)->dtype, lp_finish(&p, pool, &sum));
  onnxc_value result;
  onnxc_graph_add_compute(graph, in->where, &space.compute, 1, &x, &result);
  return onnxc_import_done(in, 0, result);
}

/* ---- over all spatial dims ---- */

static onnxc_status global_pool(onnxc_importer *in, onnxc_expr_op combiner, onnxc_build_scalar_fn element,
                                onnxc_build_scalar_fn finish, void *arg) {
  onnxc_value x = onnxc_import_input(in, 0);
  if (!x.i || !is_float_pool(in, x))
    return in->graph->diag->status;
  bool reduce[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < ONNXC_MAX_RANK; d++)
    reduce[d] = d >= 2;
  return onnxc_import_done(in, 0,
                           onnxc_build_reduce(in->graph, in->where, x, reduce, true, combiner, element, finish, arg));
}

static onnxc_expr divide_by_count(void *arg, onnxc_exprs *pool, const onnxc_expr *sum) {
  onnxc_expr count = e_dim(pool, *(const onnxc_dim *)arg);
  return e_div(pool, sum[0], onnxc_expr_cast(pool, e_dtype(pool, sum[0]), count));
}

onnxc_status onnxc_import_GlobalAveragePool(onnxc_importer *in) {
  onnxc_value x = onnxc_import_input(in, 0);
  if (!x.i)
    return in->graph->diag->status;
  const onnxc_value_info *info = onnxc_value_of(in->graph, x);
  onnxc_dim count = onnxc_dim_const(&in->graph->dims, 1);
  for (uint32_t d = 2; d < info->rank; d++)
    count = onnxc_dim_mul(&in->graph->dims, count, info->dims[d]);
  return global_pool(in, ONNXC_EXPR_ADD, NULL, divide_by_count, &count);
}

onnxc_status onnxc_import_GlobalMaxPool(onnxc_importer *in) {
  return global_pool(in, ONNXC_EXPR_MAX, NULL, NULL, NULL);
}

onnxc_status onnxc_import_GlobalLpPool(onnxc_importer *in) {
  int64_t p;
  if (!read_p(in, &p))
    return in->graph->diag->status;
  return global_pool(in, ONNXC_EXPR_ADD, lp_element, lp_finish, &p);
}
