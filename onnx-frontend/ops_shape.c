/* ops_shape.c -- what shapes are turned into: Shape, Size, Range, ConstantOfShape, Constant, EyeLike. Identity and
 * Dropout stand here, too, as what returns its operand.
 */
#include <string.h>

#include "operands.h"
#include "shorthand.h"

static onnxc_status failed(onnxc_importer *in) { return in->graph->diag->status; }

/* ---- Shape, Size ---- */

onnxc_status onnxc_import_Shape(onnxc_importer *in) {
  onnxc_value x = onnxc_import_input(in, 0);
  if (!x.i)
    return failed(in);
  const onnxc_value_info *info = onnxc_value_of(in->graph, x);
  int64_t rank = info->rank, start = onnxc_import_int(in, "start", 0), end = onnxc_import_int(in, "end", rank);
  start += start < 0 ? rank : 0;
  end += end < 0 ? rank : 0;
  start = start < 0 ? 0 : start > rank ? rank : start;
  end = end < start ? start : end > rank ? rank : end;
  return onnxc_import_done(in, 0,
                           onnxc_build_shape_tensor(in->graph, in->where, (uint32_t)(end - start), info->dims + start));
}

onnxc_status onnxc_import_Size(onnxc_importer *in) {
  onnxc_value x = onnxc_import_input(in, 0);
  if (!x.i)
    return failed(in);
  onnxc_dim size = onnxc_value_num_elements(in->graph, x);
  onnxc_value list = onnxc_build_shape_tensor(in->graph, in->where, 1, &size);
  onnxc_value scalar = onnxc_build_reshape(in->graph, in->where, list, 0, NULL);
  return onnxc_import_done(in, 0, scalar);
}

/* ---- values made of shapes ---- */

/* A compute without operands over the given dims. */
static onnxc_value generated(onnxc_importer *in, uint32_t rank, const onnxc_dim *dims, onnxc_expr element) {
  onnxc_compute compute = {.num_parallel = rank, .num_results = 1};
  for (uint32_t d = 0; d < rank; d++)
    compute.extents[d] = dims[d];
  compute.finish[0] = element;
  compute.acc_dtype[0] = e_dtype(&in->graph->exprs, element);
  onnxc_value result;
  onnxc_graph_add_compute(in->graph, in->where, &compute, 0, NULL, &result);
  return result;
}

/* The first element of a constant, as an expression. */
static onnxc_expr constant_element(onnxc_graph *graph, onnxc_value value) {
  const onnxc_value_info *info = onnxc_value_of(graph, value);
  return onnxc_dtype_is_float(info->dtype)
             ? onnxc_expr_f64(&graph->exprs, info->dtype, onnxc_scalar_to_f64(info->dtype, info->data))
             : onnxc_expr_i64(&graph->exprs, info->dtype, onnxc_scalar_to_i64(info->dtype, info->data));
}

onnxc_status onnxc_import_ConstantOfShape(onnxc_importer *in) {
  onnxc_graph *graph = in->graph;
  const onnxc_dim *shape;
  uint32_t count;
  if (!onnxc_import_input(in, 0).i || !onnxc_import_dims(in, NULL, 0, &shape, &count))
    return failed(in);
  if (count > ONNXC_MAX_RANK)
    return onnxc_import_error(in, ONNXC_UNSUPPORTED, "rank %u is above %d", count, ONNXC_MAX_RANK);
  onnxc_expr element = onnxc_expr_f64(&graph->exprs, ONNXC_F32, 0);
  if (onnxc_import_has(in, "value")) {
    onnxc_value value = onnxc_import_tensor(in, "value");
    if (!value.i)
      return failed(in);
    const onnxc_value_info *info = onnxc_value_of(graph, value);
    if (!onnxc_dim_is(&graph->dims, onnxc_value_num_elements(graph, value), 1) || info->dtype == ONNXC_STRING)
      return onnxc_import_error(in, ONNXC_BAD_INPUT, "the value is not one number");
    element = constant_element(graph, value);
  }
  return onnxc_import_done(in, 0, generated(in, count, shape, element));
}

/* max(0, ceil((limit - start) / delta)) of floats, as a symbol that a run binds. */
static onnxc_dim float_count(onnxc_importer *in, const onnxc_value *operands) {
  onnxc_graph *graph = in->graph;
  onnxc_exprs *pool = &graph->exprs;
  onnxc_expr part[3];
  for (uint32_t k = 0; k < 3; k++) {
    onnxc_dtype dtype = onnxc_value_of(graph, operands[k])->dtype;
    part[k] = onnxc_expr_cast(pool, ONNXC_F64, onnxc_expr_load(pool, dtype, k, 0, NULL));
  }
  onnxc_expr count = e_div(pool, e_sub(pool, part[1], part[0]), part[2]);
  count = e_i64(pool, onnxc_expr_unary(pool, ONNXC_EXPR_CEIL, count));
  onnxc_compute compute = {.num_results = 1, .acc_dtype = {ONNXC_I64}};
  compute.finish[0] = e_max(pool, count, e_int(pool, 0));
  onnxc_value result;
  onnxc_graph_add_compute(graph, in->where, &compute, 3, operands, &result);
  uint32_t length;
  const onnxc_dim *elements = onnxc_value_elements(graph, result, &length);
  return elements ? elements[0] : (onnxc_dim){0};
}

onnxc_status onnxc_import_Range(onnxc_importer *in) {
  onnxc_graph *graph = in->graph;
  onnxc_exprs *pool = &graph->exprs;
  onnxc_dims *dims = &graph->dims;
  onnxc_value operands[3];
  for (uint32_t k = 0; k < 3; k++) {
    operands[k] = onnxc_import_input(in, k);
    if (operands[k].i)
      operands[k] = onnxc_import_scalar(in, operands[k]);
    if (!operands[k].i)
      return failed(in);
  }
  onnxc_dtype dtype = onnxc_value_of(graph, operands[0])->dtype;
  for (uint32_t k = 1; k < 3; k++)
    if (onnxc_value_of(graph, operands[k])->dtype != dtype)
      return onnxc_import_error(in, ONNXC_BAD_INPUT, "start, limit and delta differ in type");
  if (onnxc_dtype_is_int(dtype)) {
    onnxc_dim part[3];
    for (uint32_t k = 0; k < 3; k++)
      if (!(part[k] = onnxc_import_scalar_dim(in, k)).i)
        return failed(in);
    if (onnxc_dim_is(dims, part[2], 0))
      return onnxc_import_error(in, ONNXC_BAD_INPUT, "delta is 0");
    onnxc_dim count = onnxc_dim_ceildiv(dims, onnxc_dim_sub(dims, part[1], part[0]), part[2]);
    count = onnxc_dim_max(dims, count, onnxc_dim_const(dims, 0));
    onnxc_expr element = e_add(pool, e_dim(pool, part[0]), e_mul(pool, e_index(pool, 0), e_dim(pool, part[2])));
    return onnxc_import_done(in, 0, generated(in, 1, &count, onnxc_expr_cast(pool, dtype, element)));
  }
  if (!onnxc_dtype_is_float(dtype))
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "a range of type %s", onnxc_dtype_name(dtype));
  onnxc_dim count = float_count(in, operands);
  if (!count.i)
    return onnxc_import_error(in, ONNXC_INTERNAL, "the length is not known");
  onnxc_expr step = onnxc_expr_load(pool, dtype, 1, 0, NULL), at = onnxc_expr_cast(pool, dtype, e_index(pool, 0));
  onnxc_compute compute = {.num_parallel = 1, .num_results = 1, .extents = {count}, .acc_dtype = {dtype}};
  compute.finish[0] = e_add(pool, onnxc_expr_load(pool, dtype, 0, 0, NULL), e_mul(pool, at, step));
  onnxc_value result;
  onnxc_graph_add_compute(graph, in->where, &compute, 2, (onnxc_value[]){operands[0], operands[2]}, &result);
  return onnxc_import_done(in, 0, result);
}

onnxc_status onnxc_import_EyeLike(onnxc_importer *in) {
  onnxc_exprs *pool = &in->graph->exprs;
  onnxc_value x = onnxc_import_input(in, 0);
  if (!x.i)
    return failed(in);
  const onnxc_value_info *info = onnxc_value_of(in->graph, x);
  onnxc_dtype dtype = (onnxc_dtype)onnxc_import_int(in, "dtype", (int64_t)info->dtype);
  if (info->rank != 2 || !(onnxc_dtype_is_float(dtype) || onnxc_dtype_is_int(dtype) || onnxc_dtype_is_bool(dtype)))
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "input of rank %u, result of type %s", info->rank,
                              onnxc_dtype_name(dtype));
  onnxc_expr diagonal = e_addc(pool, e_index(pool, 0), onnxc_import_int(in, "k", 0));
  onnxc_expr element =
      onnxc_expr_select(pool, e_eq(pool, e_index(pool, 1), diagonal), e_whole(pool, dtype, 1), e_whole(pool, dtype, 0));
  return onnxc_import_done(in, 0, generated(in, 2, info->dims, element));
}

onnxc_status onnxc_import_Constant(onnxc_importer *in) {
  onnxc_graph *graph = in->graph;
  uint32_t count;
  if (onnxc_import_has(in, "value"))
    return onnxc_import_done(in, 0, onnxc_import_tensor(in, "value"));
  if (onnxc_import_has(in, "value_float"))
    return onnxc_import_done(in, 0, onnxc_build_scalar_f64(graph, ONNXC_F32, onnxc_import_float(in, "value_float", 0)));
  if (onnxc_import_has(in, "value_int"))
    return onnxc_import_done(in, 0, onnxc_build_scalar_i64(graph, ONNXC_I64, onnxc_import_int(in, "value_int", 0)));
  if (onnxc_import_has(in, "value_floats")) {
    const float *floats = onnxc_import_floats(in, "value_floats", &count);
    float *copy = ONNXC_NEW_ARRAY(graph->arena, float, count + 1u);
    for (uint32_t k = 0; k < count; k++)
      copy[k] = floats[k];
    return onnxc_import_done(in, 0, onnxc_graph_add_constant(graph, NULL, ONNXC_F32, 1, &(int64_t){count}, copy));
  }
  if (onnxc_import_has(in, "value_ints")) {
    const int64_t *ints = onnxc_import_ints(in, "value_ints", &count);
    int64_t *copy = ONNXC_NEW_ARRAY(graph->arena, int64_t, count + 1u);
    for (uint32_t k = 0; k < count; k++)
      copy[k] = ints[k];
    return onnxc_import_done(in, 0, onnxc_graph_add_constant(graph, NULL, ONNXC_I64, 1, &(int64_t){count}, copy));
  }
  return onnxc_import_error(in, ONNXC_UNSUPPORTED, "a constant of strings or of sparse form");
}

/* ---- what returns its operand ---- */

onnxc_status onnxc_import_Identity(onnxc_importer *in) { return onnxc_import_done(in, 0, onnxc_import_input(in, 0)); }

onnxc_status onnxc_import_Dropout(onnxc_importer *in) {
  onnxc_graph *graph = in->graph;
  onnxc_value x = onnxc_import_input(in, 0), training = onnxc_import_optional(in, 2);
  if (!x.i)
    return failed(in);
  if (training.i) {
    const onnxc_value_info *info = onnxc_value_of(graph, training);
    if (!info->data || onnxc_scalar_to_i64(info->dtype, info->data))
      return onnxc_import_error(in, ONNXC_UNSUPPORTED, "training mode");
  }
  if (onnxc_import_wants(in, 1)) {
    const onnxc_value_info *info = onnxc_value_of(graph, x);
    onnxc_dtype dtype = in->opset < 10 ? info->dtype : ONNXC_BOOL;
    onnxc_import_result(in, 1, generated(in, info->rank, info->dims, e_whole(&graph->exprs, dtype, 1)));
  }
  return onnxc_import_done(in, 0, x);
}
