/* ops_gather.c -- operators whose indices are themselves elements: Gather, GatherElements, GatherND, OneHot.
 *
 * A gathered index counts from the end when it is negative. Indices that a run brings are clamped into the dim, so
 * that no contents of a tensor make compiled code read outside of memory.
 */
#include "operands.h"
#include "shorthand.h"

static onnxc_status failed(onnxc_importer *in) { return in->graph->diag->status; }

/* Least and greatest of the elements first, first + step, .. of a constant integer tensor; false if it is none. */
static bool constant_range(const onnxc_graph *graph, onnxc_value value, int64_t first, int64_t step, int64_t *low,
                           int64_t *high) {
  const onnxc_value_info *info = onnxc_value_of(graph, value);
  int64_t shape[ONNXC_MAX_RANK], count = 1;
  if (!info->data || !onnxc_value_static_shape(graph, value, shape))
    return false;
  for (uint32_t d = 0; d < info->rank; d++)
    count *= shape[d];
  *low = INT64_MAX;
  *high = INT64_MIN;
  size_t size = onnxc_dtype_bytes(info->dtype);
  for (int64_t k = first; k < count; k += step) {
    int64_t element = onnxc_scalar_to_i64(info->dtype, (const char *)info->data + (size_t)k * size);
    *low = element < *low ? element : *low;
    *high = element > *high ? element : *high;
  }
  return true;
}

/* An element of `indices`, one of those at first, first + step, .., as an index into a dim; false after an error (a
 * constant outside of a known dim). */
static bool safe_index(onnxc_importer *in, onnxc_value indices, int64_t first, int64_t step, onnxc_expr element,
                       onnxc_dim extent, onnxc_expr *index) {
  onnxc_exprs *pool = &in->graph->exprs;
  int64_t low, high, whole;
  *index = element = e_i64(pool, element);
  bool known = constant_range(in->graph, indices, first, step, &low, &high);
  onnxc_expr end = e_dim(pool, extent);
  if (!known || low < 0)
    *index = onnxc_expr_select(pool, e_lt(pool, element, e_int(pool, 0)), e_add(pool, element, end), element);
  if (known && onnxc_dim_is_const(&in->graph->dims, extent, &whole)) {
    if (low <= high && (low < -whole || high >= whole)) {
      onnxc_import_error(in, ONNXC_BAD_INPUT, "index %lld into a dim of %lld", (long long)(low < -whole ? low : high),
                         (long long)whole);
      return false;
    }
    return true;
  }
  onnxc_expr last = e_addc(pool, end, -1);
  *index = e_min(pool, e_max(pool, *index, e_int(pool, 0)), last);
  return true;
}

static bool is_index_type(onnxc_importer *in, onnxc_value indices) {
  onnxc_dtype dtype = onnxc_value_of(in->graph, indices)->dtype;
  if (onnxc_dtype_is_int(dtype))
    return true;
  onnxc_import_error(in, ONNXC_BAD_INPUT, "indices of type %s", onnxc_dtype_name(dtype));
  return false;
}

static onnxc_status finish_gather(onnxc_importer *in, uint32_t rank, const onnxc_dim *extents, onnxc_value x,
                                  onnxc_value indices, const onnxc_expr *index) {
  const onnxc_value_info *info = onnxc_value_of(in->graph, x);
  onnxc_import_need_elements(in, info, rank, extents);
  onnxc_compute compute = {.num_parallel = rank, .num_results = 1, .acc_dtype = {info->dtype}};
  for (uint32_t d = 0; d < rank; d++)
    compute.extents[d] = extents[d];
  compute.finish[0] = onnxc_expr_load(&in->graph->exprs, info->dtype, 0, info->rank, index);
  onnxc_value result;
  onnxc_graph_add_compute(in->graph, in->where, &compute, 2, (onnxc_value[]){x, indices}, &result);
  return onnxc_import_done(in, 0, result);
}

/* Gather by one known index: a slice, without an operand of indices. */
static onnxc_status gather_one(onnxc_importer *in, onnxc_value x, uint32_t axis, int64_t at) {
  onnxc_graph *graph = in->graph;
  onnxc_exprs *pool = &graph->exprs;
  const onnxc_value_info info = *onnxc_value_of(graph, x);
  onnxc_dim extents[ONNXC_MAX_RANK];
  onnxc_expr index[ONNXC_MAX_RANK];
  uint32_t rank = 0;
  for (uint32_t d = 0; d < info.rank; d++) {
    if (d == axis)
      continue;
    index[d] = e_index(pool, rank);
    extents[rank++] = info.dims[d];
  }
  onnxc_dim where = onnxc_dim_const(&graph->dims, at);
  index[axis] = e_dim(pool, at < 0 ? onnxc_dim_add(&graph->dims, info.dims[axis], where) : where);
  return onnxc_import_done(in, 0, onnxc_build_index(graph, in->where, x, rank, extents, index));
}

onnxc_status onnxc_import_Gather(onnxc_importer *in) {
  onnxc_graph *graph = in->graph;
  onnxc_exprs *pool = &graph->exprs;
  onnxc_value x = onnxc_import_input(in, 0), indices = onnxc_import_input(in, 1);
  if (!x.i || !indices.i || !is_index_type(in, indices))
    return failed(in);
  const onnxc_value_info info = *onnxc_value_of(graph, x), at = *onnxc_value_of(graph, indices);
  int64_t axis = onnxc_import_axis(in, onnxc_import_int(in, "axis", 0), info.rank), whole;
  if (axis < 0)
    return failed(in);
  if (info.rank + at.rank > ONNXC_MAX_RANK + 1)
    return onnxc_import_error(in, ONNXC_UNSUPPORTED, "rank %u is above %d", info.rank + at.rank - 1, ONNXC_MAX_RANK);
  if (at.rank == 0 && at.data && onnxc_dim_is_const(&graph->dims, info.dims[axis], &whole)) {
    int64_t one = onnxc_scalar_to_i64(at.dtype, at.data);
    if (one >= -whole && one < whole)
      return gather_one(in, x, (uint32_t)axis, one);
  }
  onnxc_dim extents[ONNXC_MAX_RANK];
  onnxc_expr index[ONNXC_MAX_RANK], place[ONNXC_MAX_RANK];
  uint32_t rank = 0;
  for (uint32_t d = 0; d < info.rank; d++) {
    if (d == axis) {
      for (uint32_t k = 0; k < at.rank; k++) {
        place[k] = e_index(pool, rank);
        extents[rank++] = at.dims[k];
      }
    } else {
      index[d] = e_index(pool, rank);
      extents[rank++] = info.dims[d];
    }
  }
  if (!safe_index(in, indices, 0, 1, onnxc_expr_load(pool, at.dtype, 1, at.rank, place), info.dims[axis], &index[axis]))
    return failed(in);
  return finish_gather(in, rank, extents, x, indices, index);
}

onnxc_status onnxc_import_GatherElements(onnxc_importer *in) {
  onnxc_graph *graph = in->graph;
  onnxc_exprs *pool = &graph->exprs;
  onnxc_value x = onnxc_import_input(in, 0), indices = onnxc_import_input(in, 1);
  if (!x.i || !indices.i || !is_index_type(in, indices))
    return failed(in);
  const onnxc_value_info info = *onnxc_value_of(graph, x), at = *onnxc_value_of(graph, indices);
  int64_t axis = onnxc_import_axis(in, onnxc_import_int(in, "axis", 0), info.rank);
  if (axis < 0)
    return failed(in);
  if (at.rank != info.rank)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "indices of rank %u for rank %u", at.rank, info.rank);
  onnxc_expr index[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < info.rank; d++) {
    index[d] = e_index(pool, d);
    int64_t room = 0, used;
    bool known =
        onnxc_dim_is_const(&graph->dims, info.dims[d], &room) && onnxc_dim_is_const(&graph->dims, at.dims[d], &used);
    if (known && d != axis && used > room)
      return onnxc_import_error(in, ONNXC_BAD_INPUT, "dim %u of the indices is larger than that of the input", d);
    if (!known && d != axis && !onnxc_dim_same(info.dims[d], at.dims[d]))
      index[d] = e_min(pool, index[d], e_dim(pool, onnxc_dim_addc(&graph->dims, info.dims[d], -1)));
  }
  onnxc_expr place[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < at.rank; d++)
    place[d] = e_index(pool, d);
  if (!safe_index(in, indices, 0, 1, onnxc_expr_load(pool, at.dtype, 1, at.rank, place), info.dims[axis], &index[axis]))
    return failed(in);
  return finish_gather(in, at.rank, at.dims, x, indices, index);
}

onnxc_status onnxc_import_GatherND(onnxc_importer *in) {
  onnxc_graph *graph = in->graph;
  onnxc_exprs *pool = &graph->exprs;
  onnxc_value x = onnxc_import_input(in, 0), indices = onnxc_import_input(in, 1);
  if (!x.i || !indices.i || !is_index_type(in, indices))
    return failed(in);
  const onnxc_value_info info = *onnxc_value_of(graph, x), at = *onnxc_value_of(graph, indices);
  int64_t batch = onnxc_import_int(in, "batch_dims", 0), length = 0;
  if (at.rank < 1 || !onnxc_dim_is_const(&graph->dims, at.dims[at.rank - 1], &length))
    return onnxc_import_error(in, ONNXC_UNSUPPORTED, "index tuples of unknown length");
  if (batch < 0 || batch >= at.rank || length < 1 || batch + length > info.rank)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "index tuples of %lld after %lld batch dims of rank %u",
                              (long long)length, (long long)batch, info.rank);
  uint32_t outer = at.rank - 1, first = (uint32_t)(batch + length), rank = outer + info.rank - first;
  if (rank > ONNXC_MAX_RANK)
    return onnxc_import_error(in, ONNXC_UNSUPPORTED, "rank %u is above %d", rank, ONNXC_MAX_RANK);
  onnxc_dim extents[ONNXC_MAX_RANK];
  onnxc_expr index[ONNXC_MAX_RANK], place[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < outer; d++) {
    place[d] = e_index(pool, d);
    extents[d] = at.dims[d];
  }
  for (uint32_t d = 0; d < info.rank; d++) {
    if (d < batch) {
      index[d] = e_index(pool, d);
      if (!onnxc_build_same_dim(graph, in->where, info.dims[d], at.dims[d], &extents[d]))
        return failed(in);
    } else if (d < first) {
      place[outer] = e_int(pool, (int64_t)d - batch);
      if (!safe_index(in, indices, d - batch, length, onnxc_expr_load(pool, at.dtype, 1, at.rank, place), info.dims[d],
                      &index[d]))
        return failed(in);
    } else {
      index[d] = e_index(pool, outer + d - first);
      extents[outer + d - first] = info.dims[d];
    }
  }
  return finish_gather(in, rank, extents, x, indices, index);
}

onnxc_status onnxc_import_OneHot(onnxc_importer *in) {
  onnxc_graph *graph = in->graph;
  onnxc_exprs *pool = &graph->exprs;
  onnxc_value indices = onnxc_import_input(in, 0), depth = onnxc_import_input(in, 1),
              values = onnxc_import_input(in, 2);
  if (!indices.i || !depth.i || !values.i)
    return failed(in);
  const onnxc_value_info at = *onnxc_value_of(graph, indices), choice = *onnxc_value_of(graph, values);
  uint32_t rank = at.rank + 1, count;
  int64_t axis = onnxc_import_axis(in, onnxc_import_int(in, "axis", -1), rank);
  if (axis < 0)
    return failed(in);
  if (rank > ONNXC_MAX_RANK)
    return onnxc_import_error(in, ONNXC_UNSUPPORTED, "rank %u is above %d", rank, ONNXC_MAX_RANK);
  if (choice.rank != 1)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "the values have rank %u", choice.rank);
  depth = onnxc_import_scalar(in, depth);
  if (!depth.i)
    return failed(in);
  const onnxc_dim *extent = onnxc_value_elements(graph, onnxc_build_cast(graph, in->where, ONNXC_I64, depth), &count);
  if (!extent || !onnxc_build_same_dim(graph, in->where, choice.dims[0], onnxc_dim_const(&graph->dims, 2), NULL))
    return extent ? failed(in) : onnxc_import_error(in, ONNXC_BAD_INPUT, "the depth is no number");
  onnxc_compute compute = {.num_parallel = rank, .num_results = 1, .acc_dtype = {choice.dtype}};
  onnxc_expr place[ONNXC_MAX_RANK];
  for (uint32_t d = 0, k = 0; d < rank; d++) {
    compute.extents[d] = d == axis ? extent[0] : at.dims[k];
    if (d != axis)
      place[k++] = e_index(pool, d);
  }
  onnxc_expr hot = e_i64(pool, onnxc_expr_load(pool, at.dtype, 0, at.rank, place)), zero = e_int(pool, 0);
  hot = onnxc_expr_select(pool, e_lt(pool, hot, zero), e_add(pool, hot, e_dim(pool, extent[0])), hot);
  onnxc_expr off = onnxc_expr_load(pool, choice.dtype, 1, 1, &zero), one = e_int(pool, 1);
  compute.finish[0] = onnxc_expr_select(pool, e_eq(pool, hot, e_index(pool, (uint32_t)axis)),
                                        onnxc_expr_load(pool, choice.dtype, 1, 1, &one), off);
  onnxc_value result;
  onnxc_graph_add_compute(graph, in->where, &compute, 2, (onnxc_value[]){indices, values}, &result);
  return onnxc_import_done(in, 0, result);
}
