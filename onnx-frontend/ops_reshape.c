/* ops_reshape.c -- operators that give the same elements another shape: Reshape, Flatten, Squeeze, Unsqueeze.
 *
 * What is known of the new shape is arithmetic on dims. Where the contents of a tensor decide (a shape or axes passed
 * to the model), a small compute makes the list of the new extents, and its elements are symbols.
 */
#include "operands.h"
#include "shorthand.h"

static onnxc_status failed(onnxc_importer *in) { return in->graph->diag->status; }

/* A scalar counts as a list of one. */
static onnxc_expr load_i64(onnxc_importer *in, uint32_t operand, onnxc_value list, onnxc_expr index) {
  const onnxc_value_info *info = onnxc_value_of(in->graph, list);
  return e_i64(&in->graph->exprs, onnxc_expr_load(&in->graph->exprs, info->dtype, operand, info->rank, &index));
}

/* ---- Reshape, Flatten ---- */

/* 0 copies a dim of x (unless allow_zero), what is negative is the rest. */
static void reshape_at_run(onnxc_importer *in, onnxc_value x, onnxc_value shape, bool allow_zero, uint32_t count,
                           onnxc_dim *result) {
  onnxc_graph *graph = in->graph;
  onnxc_exprs *pool = &graph->exprs;
  const onnxc_value_info info = *onnxc_value_of(graph, x);
  onnxc_dim copied[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < count; d++)
    copied[d] = d < info.rank ? info.dims[d] : onnxc_dim_const(&graph->dims, 0);
  onnxc_value list = onnxc_build_shape_tensor(graph, in->where, count, copied);
  onnxc_expr i = e_index(pool, 0), zero = e_int(pool, 0), asked = load_i64(in, 0, shape, i);
  if (!allow_zero)
    asked = onnxc_expr_select(pool, e_eq(pool, asked, zero), load_i64(in, 1, list, i), asked);
  onnxc_value sizes = onnxc_import_list(in, count, asked, 2, (onnxc_value[]){shape, list});

  /* The product of what is not the rest. */
  onnxc_compute product = {.num_reduce = 1, .num_results = 1, .acc_dtype = {ONNXC_I64}, .init = {e_int(pool, 1)}};
  onnxc_expr size = load_i64(in, 0, sizes, i), acc = onnxc_expr_acc(pool, ONNXC_I64, 0);
  onnxc_expr is_rest = e_lt(pool, size, zero);
  product.extents[0] = onnxc_dim_const(&graph->dims, count);
  product.element[0] = onnxc_expr_select(pool, is_rest, e_int(pool, 1), size);
  product.combine[0] = e_mul(pool, acc, onnxc_expr_val(pool, ONNXC_I64, 0));
  product.finish[0] = acc;
  onnxc_value known;
  onnxc_graph_add_compute(graph, in->where, &product, 1, &sizes, &known);

  onnxc_expr total = e_dim(pool, onnxc_value_num_elements(graph, x));
  onnxc_expr rest = e_floordiv(pool, total, onnxc_expr_load(pool, ONNXC_I64, 1, 0, NULL));
  size = onnxc_expr_select(pool, is_rest, rest, size);
  size = e_min(pool, e_max(pool, size, zero), e_int(pool, INT32_MAX));
  onnxc_value resolved = onnxc_import_list(in, count, size, 2, (onnxc_value[]){sizes, known});
  onnxc_import_list_dims(in, resolved, 0, INT32_MAX, result);
}

/* The dims that Reshape's shape asks for; false after an error. */
static bool reshaped_dims(onnxc_importer *in, onnxc_value x, bool allow_zero, uint32_t count, const onnxc_dim *shape,
                          onnxc_dim *result) {
  onnxc_dims *dims = &in->graph->dims;
  const onnxc_value_info *info = onnxc_value_of(in->graph, x);
  onnxc_dim known = onnxc_dim_const(dims, 1);
  int rest = -1;
  for (uint32_t d = 0; d < count; d++) {
    int64_t number = 1;
    result[d] = shape[d];
    onnxc_dim_is_const(dims, shape[d], &number);
    if (number < -1 || (number == -1 && rest >= 0)) {
      onnxc_import_error(in, ONNXC_BAD_INPUT, "the new shape holds %lld%s", (long long)number,
                         number == -1 ? " twice" : "");
      return false;
    }
    if (!allow_zero && number == 0) {
      if (d >= info->rank) {
        onnxc_import_error(in, ONNXC_BAD_INPUT, "the new shape copies dim %u of rank %u", d, info->rank);
        return false;
      }
      result[d] = info->dims[d];
    }
    if (number == -1)
      rest = (int)d;
    else
      known = onnxc_dim_mul(dims, known, result[d]);
  }
  if (rest >= 0)
    result[rest] = onnxc_dim_floordiv(dims, onnxc_value_num_elements(in->graph, x), known);
  return true;
}

static bool any_data(const onnxc_dims *dims, uint32_t count, const onnxc_dim *list) {
  for (uint32_t k = 0; k < count; k++)
    if (onnxc_dim_is_data(dims, list[k]))
      return true;
  return false;
}

onnxc_status onnxc_import_Reshape(onnxc_importer *in) {
  onnxc_value x = onnxc_import_input(in, 0);
  const onnxc_dim *shape;
  uint32_t count;
  onnxc_dim dims[ONNXC_MAX_RANK];
  if (!x.i || !onnxc_import_dims(in, "shape", 1, &shape, &count))
    return failed(in);
  if (!shape)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "the new shape is missing");
  if (count > ONNXC_MAX_RANK)
    return onnxc_import_error(in, ONNXC_UNSUPPORTED, "rank %u is above %d", count, ONNXC_MAX_RANK);
  bool allow_zero = onnxc_import_int(in, "allowzero", 0) != 0;
  if (any_data(&in->graph->dims, count, shape))
    reshape_at_run(in, x, onnxc_import_input(in, 1), allow_zero, count, dims);
  else if (!reshaped_dims(in, x, allow_zero, count, shape, dims))
    return failed(in);
  return onnxc_import_done(in, 0, onnxc_build_reshape(in->graph, in->where, x, count, dims));
}

onnxc_status onnxc_import_Flatten(onnxc_importer *in) {
  onnxc_value x = onnxc_import_input(in, 0);
  if (!x.i)
    return failed(in);
  onnxc_dims *pool = &in->graph->dims;
  const onnxc_value_info *info = onnxc_value_of(in->graph, x);
  int64_t axis = onnxc_import_int(in, "axis", 1), rank = info->rank;
  if (axis < -rank || axis > rank)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "axis %lld of rank %u", (long long)axis, info->rank);
  axis += axis < 0 ? rank : 0;
  onnxc_dim dims[2] = {onnxc_dim_const(pool, 1), onnxc_dim_const(pool, 1)};
  for (uint32_t d = 0; d < info->rank; d++)
    dims[d >= axis] = onnxc_dim_mul(pool, dims[d >= axis], info->dims[d]);
  return onnxc_import_done(in, 0, onnxc_build_reshape(in->graph, in->where, x, 2, dims));
}

/* ---- Squeeze, Unsqueeze ---- */

/* is_axis[d] for known axes of a shape of `rank` dims; false after an error. */
static bool known_axes(onnxc_importer *in, uint32_t count, const onnxc_dim *axes, uint32_t rank, bool *is_axis) {
  for (uint32_t d = 0; d < rank; d++)
    is_axis[d] = false;
  for (uint32_t k = 0; k < count; k++) {
    int64_t number = 0;
    if (!onnxc_dim_is_const(&in->graph->dims, axes[k], &number)) {
      onnxc_import_error(in, ONNXC_UNSUPPORTED, "axes that depend on a shape");
      return false;
    }
    int64_t axis = onnxc_import_axis(in, number, rank);
    if (axis < 0)
      return false;
    if (is_axis[axis]) {
      onnxc_import_error(in, ONNXC_BAD_INPUT, "axis %lld is named twice", (long long)axis);
      return false;
    }
    is_axis[axis] = true;
  }
  return true;
}

/* Of axes that a run brings (operand 0): whether d is one of them, and how many are before it. */
typedef struct axis_test {
  onnxc_expr hit, before;
} axis_test;

static axis_test test_axis(onnxc_importer *in, onnxc_value axes, uint32_t count, uint32_t rank, onnxc_expr d) {
  onnxc_exprs *pool = &in->graph->exprs;
  axis_test result = {.hit = onnxc_expr_i64(pool, ONNXC_BOOL, 0), .before = e_int(pool, 0)};
  for (uint32_t k = 0; k < count; k++) {
    onnxc_expr axis = e_mod(pool, load_i64(in, 0, axes, e_int(pool, k)), e_int(pool, rank));
    result.hit = e_or(pool, result.hit, e_eq(pool, axis, d));
    result.before = e_add(pool, result.before, e_i64(pool, e_lt(pool, axis, d)));
  }
  return result;
}

onnxc_status onnxc_import_Squeeze(onnxc_importer *in) {
  onnxc_graph *graph = in->graph;
  onnxc_exprs *pool = &graph->exprs;
  onnxc_value x = onnxc_import_input(in, 0);
  const onnxc_dim *axes;
  uint32_t count, rank = 0;
  if (!x.i || !onnxc_import_dims(in, "axes", 1, &axes, &count))
    return failed(in);
  const onnxc_value_info info = *onnxc_value_of(graph, x);
  onnxc_dim dims[ONNXC_MAX_RANK];
  if (count > info.rank)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "%u axes of rank %u", count, info.rank);
  if (any_data(&graph->dims, count, axes)) {
    onnxc_value list = onnxc_import_input(in, 1);
    onnxc_expr extent = e_int(pool, 0);
    for (uint32_t d = 0; d < info.rank; d++) { /* the k-th of those that stay */
      axis_test test = test_axis(in, list, count, info.rank, e_int(pool, d));
      onnxc_expr place = e_sub(pool, e_int(pool, d), test.before);
      onnxc_expr here = e_and(pool, e_not(pool, test.hit), e_eq(pool, place, e_index(pool, 0)));
      extent = onnxc_expr_select(pool, here, e_dim(pool, info.dims[d]), extent);
    }
    rank = info.rank - count;
    onnxc_import_list_dims(in, onnxc_import_list(in, rank, extent, 1, &list), 0, INT32_MAX, dims);
  } else {
    bool is_axis[ONNXC_MAX_RANK];
    if (!known_axes(in, count, axes, info.rank, is_axis))
      return failed(in);
    for (uint32_t d = 0; d < info.rank; d++) {
      if (axes ? !is_axis[d] : !onnxc_dim_is(&graph->dims, info.dims[d], 1)) /* a symbolic dim is taken to be no one */
        dims[rank++] = info.dims[d];
      else if (!onnxc_build_same_dim(graph, in->where, info.dims[d], onnxc_dim_const(&graph->dims, 1), NULL))
        return failed(in);
    }
  }
  return onnxc_import_done(in, 0, onnxc_build_reshape(graph, in->where, x, rank, dims));
}

onnxc_status onnxc_import_Unsqueeze(onnxc_importer *in) {
  onnxc_graph *graph = in->graph;
  onnxc_exprs *pool = &graph->exprs;
  onnxc_value x = onnxc_import_input(in, 0);
  const onnxc_dim *axes;
  uint32_t count;
  if (!x.i || !onnxc_import_dims(in, "axes", 1, &axes, &count))
    return failed(in);
  if (!axes)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "the axes are missing");
  const onnxc_value_info info = *onnxc_value_of(graph, x);
  uint32_t rank = info.rank + count;
  onnxc_dim dims[ONNXC_MAX_RANK];
  if (count > ONNXC_MAX_RANK || rank > ONNXC_MAX_RANK)
    return onnxc_import_error(in, ONNXC_UNSUPPORTED, "rank %u is above %d", rank, ONNXC_MAX_RANK);
  if (any_data(&graph->dims, count, axes)) {
    onnxc_value operands[2] = {onnxc_import_input(in, 1),
                               onnxc_build_shape_tensor(graph, in->where, info.rank, info.dims)};
    axis_test test = test_axis(in, operands[0], count, rank, e_index(pool, 0));
    onnxc_expr place = e_max(pool, e_sub(pool, e_index(pool, 0), test.before), e_int(pool, 0));
    place = e_min(pool, place, e_int(pool, (int64_t)info.rank - 1)); /* an axis may be named twice */
    onnxc_expr extent = e_int(pool, 1);
    if (info.rank)
      extent = onnxc_expr_select(pool, test.hit, extent, load_i64(in, 1, operands[1], place));
    onnxc_value extents = onnxc_import_list(in, rank, extent, info.rank ? 2 : 1, operands);
    onnxc_import_list_dims(in, extents, 0, INT32_MAX, dims);
  } else {
    bool is_axis[ONNXC_MAX_RANK];
    if (!known_axes(in, count, axes, rank, is_axis))
      return failed(in);
    for (uint32_t d = 0, k = 0; d < rank; d++)
      dims[d] = is_axis[d] ? onnxc_dim_const(&graph->dims, 1) : info.dims[k++];
  }
  return onnxc_import_done(in, 0, onnxc_build_reshape(graph, in->where, x, rank, dims));
}
