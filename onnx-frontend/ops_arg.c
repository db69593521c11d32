/* ops_arg.c -- ArgMax, ArgMin, Hardmax: reductions to the pair (value, index).
 *
 * The combiner is lexicographic: the better value wins, then the lower (or, on request, the higher) index; a NaN is
 * better than any number, as in numpy. So the order of the reduction does not matter.
 */
#include "scalar.h"

#include <math.h>

typedef struct arg_rule {
  bool smallest, last;
} arg_rule;

/* Which of (value, index) and (old_value, old_index) wins. */
static onnxc_expr better(onnxc_exprs *pool, arg_rule rule, onnxc_expr value, onnxc_expr index, onnxc_expr old_value,
                         onnxc_expr old_index) {
  onnxc_expr wins = rule.smallest ? e_lt(pool, value, old_value) : e_gt(pool, value, old_value);
  onnxc_expr ties = e_eq(pool, value, old_value);
  onnxc_expr closer = rule.last ? e_gt(pool, index, old_index) : e_lt(pool, index, old_index);
  if (onnxc_dtype_is_float(e_dtype(pool, value))) {
    onnxc_expr nan = e_isnan(pool, value), old_nan = e_isnan(pool, old_value);
    wins = e_or(pool, wins, e_and(pool, nan, e_not(pool, old_nan)));
    ties = e_or(pool, ties, e_and(pool, nan, old_nan));
  }
  return e_or(pool, wins, e_and(pool, ties, closer));
}

/* The index of the best element over dims axis..axis+span-1, taken as one row-major dim, which stay as ones iff
 * keepdims. An i64 value. */
static onnxc_value arg_best(onnxc_importer *in, onnxc_value x, uint32_t axis, uint32_t span, bool keepdims,
                            arg_rule rule) {
  onnxc_graph *graph = in->graph;
  onnxc_exprs *pool = &graph->exprs;
  const onnxc_value_info info = *onnxc_value_of(graph, x);
  onnxc_compute compute = {.num_results = 2};
  onnxc_expr index[ONNXC_MAX_RANK], linear = onnxc_expr_i64(pool, ONNXC_I64, 0);
  for (uint32_t d = 0; d < info.rank; d++) {
    bool goes = d >= axis && d < axis + span;
    if (goes && !keepdims)
      continue;
    index[d] = onnxc_expr_index(pool, compute.num_parallel);
    compute.extents[compute.num_parallel++] = goes ? onnxc_dim_const(&graph->dims, 1) : info.dims[d];
  }
  for (uint32_t d = axis; d < axis + span; d++) {
    uint32_t r = compute.num_parallel + compute.num_reduce++;
    index[d] = onnxc_expr_index(pool, r);
    compute.extents[r] = info.dims[d];
    linear = e_add(pool, e_mul(pool, linear, onnxc_expr_dim(pool, info.dims[d])), index[d]);
  }
  onnxc_dtype wide = onnxc_build_wide(info.dtype);
  compute.acc_dtype[0] = wide;
  compute.acc_dtype[1] = ONNXC_I64;
  /* Beaten by nothing that equals it: index 0 is then right. */
  compute.init[0] = onnxc_build_neutral(pool, rule.smallest ? ONNXC_EXPR_MIN : ONNXC_EXPR_MAX, wide);
  compute.init[1] = onnxc_expr_i64(pool, ONNXC_I64, 0);
  compute.element[0] = e_cast(pool, wide, onnxc_expr_load(pool, info.dtype, 0, info.rank, index));
  compute.element[1] = linear;
  onnxc_expr old_value = onnxc_expr_acc(pool, wide, 0), old_index = onnxc_expr_acc(pool, ONNXC_I64, 1);
  onnxc_expr value = onnxc_expr_val(pool, wide, 0), at = onnxc_expr_val(pool, ONNXC_I64, 1);
  onnxc_expr take = better(pool, rule, value, at, old_value, old_index);
  compute.combine[0] = e_select(pool, take, value, old_value);
  compute.combine[1] = e_select(pool, take, at, old_index);
  compute.finish[0] = e_cast(pool, info.dtype, old_value);
  compute.finish[1] = old_index;
  onnxc_value results[2];
  onnxc_graph_add_compute(graph, in->where, &compute, 1, &x, results);
  return results[1];
}

static onnxc_status import_arg(onnxc_importer *in, bool smallest) {
  onnxc_value x = onnxc_import_operand(in, 0, "fiu");
  if (!x.i)
    return onnxc_import_done(in, 0, x);
  int64_t axis = onnxc_import_axis(in, onnxc_import_int(in, "axis", 0), onnxc_value_of(in->graph, x)->rank);
  if (axis < 0)
    return onnxc_import_done(in, 0, (onnxc_value){0});
  arg_rule rule = {smallest, onnxc_import_int(in, "select_last_index", 0) != 0};
  bool keepdims = onnxc_import_int(in, "keepdims", 1) != 0;
  return onnxc_import_done(in, 0, arg_best(in, x, (uint32_t)axis, 1, keepdims, rule));
}

onnxc_status onnxc_import_ArgMax(onnxc_importer *in) { return import_arg(in, false); }
onnxc_status onnxc_import_ArgMin(onnxc_importer *in) { return import_arg(in, true); }

/* One where the index equals that of the first maximum. Before opset 13 the dims from axis on are one. */
onnxc_status onnxc_import_Hardmax(onnxc_importer *in) {
  onnxc_value x = onnxc_import_operand(in, 0, "f");
  if (!x.i)
    return onnxc_import_done(in, 0, x);
  onnxc_graph *graph = in->graph;
  onnxc_exprs *pool = &graph->exprs;
  const onnxc_value_info info = *onnxc_value_of(graph, x);
  bool coerced = in->opset < 13;
  int64_t axis = onnxc_import_axis(in, onnxc_import_int(in, "axis", coerced ? 1 : -1), info.rank);
  if (axis < 0)
    return onnxc_import_done(in, 0, (onnxc_value){0});
  uint32_t first = (uint32_t)axis, span = coerced ? info.rank - first : 1;
  onnxc_value best = arg_best(in, x, first, span, true, (arg_rule){false, false});

  onnxc_compute compute = {.num_parallel = info.rank, .num_results = 1};
  onnxc_expr index[ONNXC_MAX_RANK], linear = onnxc_expr_i64(pool, ONNXC_I64, 0);
  for (uint32_t d = 0; d < info.rank; d++) {
    compute.extents[d] = info.dims[d];
    index[d] = onnxc_expr_index(pool, d);
    if (d < first || d >= first + span)
      continue;
    linear = e_add(pool, e_mul(pool, linear, onnxc_expr_dim(pool, info.dims[d])), index[d]);
    index[d] = onnxc_expr_i64(pool, ONNXC_I64, 0);
  }
  onnxc_expr hit = e_eq(pool, linear, onnxc_expr_load(pool, ONNXC_I64, 0, info.rank, index));
  compute.acc_dtype[0] = info.dtype;
  compute.finish[0] = e_select(pool, hit, onnxc_expr_f64(pool, info.dtype, 1), onnxc_expr_f64(pool, info.dtype, 0));
  onnxc_value result;
  onnxc_graph_add_compute(graph, in->where, &compute, 1, &best, &result);
  return onnxc_import_done(in, 0, result);
}
