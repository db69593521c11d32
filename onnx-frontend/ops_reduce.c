/* ops_reduce.c -- ReduceSum and its kin, with axes known at compile time or only at run time.
 *
 * A plan says where each dim of x goes. With known axes the result has an index for each dim that stays and a
 * reduction index for each that goes. With axes that arrive in a tensor, every dim d has both: a flag f_d (1 if
 * d is among the axes) makes the result's extent f ? 1 : D and the reduction's f ? D : 1, and x is read at i_d + r_d;
 * one compiled program serves all axes. Without keepdims such a result is reshaped to dims computed from the flags.
 */
#include "scalar.h"

#include <math.h>

typedef struct plan {
  uint32_t rank;                      /* of x */
  onnxc_compute compute;              /* num_parallel, num_reduce, extents */
  onnxc_expr index[ONNXC_MAX_RANK];   /* of x */
  onnxc_expr partial[ONNXC_MAX_RANK]; /* of a result of the same plan, which kept its dims iff p == rank */
  onnxc_dim count;                    /* elements reduced to one */
  bool reshape;                       /* the result still has the reduced dims, as ones */
  uint32_t out_rank;
  onnxc_dim out_dims[ONNXC_MAX_RANK]; /* when reshape */
} plan;

/* ---- axes ---- */

typedef struct axes {
  bool known;
  bool reduce[ONNXC_MAX_RANK];     /* known */
  onnxc_dim flags[ONNXC_MAX_RANK]; /* not known: 0 or 1 */
  uint32_t count;                  /* axes given */
} axes;

static bool known_axes(onnxc_importer *in, axes *a, uint32_t rank, uint32_t count, const int64_t *list) {
  a->known = true;
  for (uint32_t k = 0; k < count; k++) {
    int64_t axis = onnxc_import_axis(in, list[k], rank);
    if (axis < 0)
      return false;
    a->reduce[axis] = true;
  }
  return true;
}

static void all_axes(axes *a, uint32_t rank) {
  a->known = true;
  for (uint32_t d = 0; d < rank; d++)
    a->reduce[d] = true;
}

/* Axes are distinct, so as many axes as dims are all of them; else each dim gets its flag. */
static bool run_time_axes(onnxc_importer *in, axes *a, uint32_t rank, onnxc_value list) {
  onnxc_dims *dims = &in->graph->dims;
  uint32_t count;
  const onnxc_dim *elements = onnxc_value_elements(in->graph, list, &count);
  if (!elements) {
    onnxc_import_error(in, ONNXC_UNSUPPORTED, "axes whose number is not known at compile time");
    return false;
  }
  a->count = count;
  if (count > rank) {
    onnxc_import_error(in, ONNXC_BAD_INPUT, "%u axes of a tensor of rank %u", count, rank);
    return false;
  }
  int64_t numbers[ONNXC_MAX_RANK];
  bool constant = true;
  for (uint32_t k = 0; k < count; k++)
    constant = constant && onnxc_dim_is_const(dims, elements[k], &numbers[k]);
  if (constant)
    return known_axes(in, a, rank, count, numbers);
  if (count == rank) {
    all_axes(a, rank);
    return true;
  }
  for (uint32_t d = 0; d < rank; d++) {
    a->flags[d] = onnxc_dim_const(dims, 0);
    for (uint32_t k = 0; k < count; k++) {
      a->flags[d] = onnxc_dim_add(dims, a->flags[d], onnxc_dim_eq(dims, elements[k], onnxc_dim_const(dims, d)));
      a->flags[d] = onnxc_dim_add(dims, a->flags[d],
                                  onnxc_dim_eq(dims, elements[k], onnxc_dim_const(dims, (int64_t)d - (int64_t)rank)));
    }
    if (count > 1)
      a->flags[d] = onnxc_dim_min(dims, a->flags[d], onnxc_dim_const(dims, 1));
  }
  return true;
}

/* Axes are an attribute before opset `input_since`, the second input from there on. */
static bool get_axes(onnxc_importer *in, axes *a, uint32_t rank, int64_t input_since) {
  onnxc_value list = in->opset >= input_since ? onnxc_import_optional(in, 1) : (onnxc_value){0};
  uint32_t count;
  const int64_t *attribute = onnxc_import_ints(in, "axes", &count);
  bool empty = in->opset >= input_since
                   ? !list.i || onnxc_dim_is(&in->graph->dims, onnxc_value_num_elements(in->graph, list), 0)
                   : count == 0;
  if (!empty)
    return in->opset >= input_since ? run_time_axes(in, a, rank, list) : known_axes(in, a, rank, count, attribute);
  a->known = true;
  if (!onnxc_import_int(in, "noop_with_empty_axes", 0))
    all_axes(a, rank);
  return true;
}

/* ---- plans ---- */

static void plan_known(onnxc_graph *graph, plan *p, const onnxc_value_info *x, const bool *reduce, bool keepdims) {
  onnxc_exprs *pool = &graph->exprs;
  onnxc_expr zero = onnxc_expr_i64(pool, ONNXC_I64, 0);
  onnxc_compute *c = &p->compute;
  p->count = onnxc_dim_const(&graph->dims, 1);
  uint32_t kept = 0;
  for (uint32_t d = 0; d < x->rank; d++)
    if (!reduce[d] || keepdims) {
      p->index[d] = onnxc_expr_index(pool, c->num_parallel);
      p->partial[kept++] = reduce[d] ? zero : p->index[d];
      c->extents[c->num_parallel++] = reduce[d] ? onnxc_dim_const(&graph->dims, 1) : x->dims[d];
    }
  for (uint32_t d = 0; d < x->rank; d++) {
    if (reduce[d])
      p->count = onnxc_dim_mul(&graph->dims, p->count, x->dims[d]);
    if (onnxc_dim_is(&graph->dims, x->dims[d], 1)) {
      p->index[d] = zero;
    } else if (reduce[d]) {
      uint32_t r = c->num_parallel + c->num_reduce++;
      p->index[d] = onnxc_expr_index(pool, r);
      c->extents[r] = x->dims[d];
    }
  }
}

static void plan_run_time(onnxc_graph *graph, plan *p, const onnxc_value_info *x, const axes *a, bool keepdims) {
  onnxc_exprs *pool = &graph->exprs;
  onnxc_dims *dims = &graph->dims;
  onnxc_dim one = onnxc_dim_const(dims, 1);
  p->compute.num_parallel = p->compute.num_reduce = x->rank;
  p->count = one;
  for (uint32_t d = 0; d < x->rank; d++) {
    p->compute.extents[d] = onnxc_dim_select(dims, a->flags[d], one, x->dims[d]);
    p->compute.extents[x->rank + d] = onnxc_dim_select(dims, a->flags[d], x->dims[d], one);
    p->partial[d] = onnxc_expr_index(pool, d);
    p->index[d] = e_add(pool, onnxc_expr_index(pool, d), onnxc_expr_index(pool, x->rank + d));
    p->count = onnxc_dim_mul(dims, p->count, p->compute.extents[x->rank + d]);
  }
  p->reshape = !keepdims;
  p->out_rank = x->rank - a->count;
  /* out_dims[q] = the dim that stays and has q others that stay before it */
  for (uint32_t q = 0; q < p->out_rank; q++) {
    onnxc_dim before = onnxc_dim_const(dims, 0);
    p->out_dims[q] = before;
    for (uint32_t d = 0; d < x->rank; d++) {
      onnxc_dim stays = onnxc_dim_sub(dims, one, a->flags[d]);
      onnxc_dim here = onnxc_dim_mul(dims, stays, onnxc_dim_eq(dims, before, onnxc_dim_const(dims, q)));
      p->out_dims[q] = onnxc_dim_add(dims, p->out_dims[q], onnxc_dim_mul(dims, here, x->dims[d]));
      before = onnxc_dim_add(dims, before, stays);
    }
  }
}

/* ---- the reductions ---- */

typedef onnxc_expr (*element_fn)(onnxc_exprs *pool, onnxc_expr x, onnxc_expr partial);
typedef onnxc_expr (*finish_fn)(onnxc_exprs *pool, onnxc_expr acc, onnxc_expr partial, onnxc_dim count);

typedef struct reduction {
  onnxc_expr_op combiner;
  element_fn element; /* NULL = x itself */
  finish_fn finish;   /* NULL = the accumulator */
} reduction;

/* One reduction by the plan; `partial` (may be none) is an earlier result of it that element and finish see. */
static onnxc_value reduce(onnxc_importer *in, const plan *p, onnxc_value x, onnxc_value partial, const reduction *how) {
  onnxc_graph *graph = in->graph;
  onnxc_exprs *pool = &graph->exprs;
  onnxc_compute compute = p->compute;
  onnxc_dtype dtype = onnxc_value_of(graph, x)->dtype, wide = onnxc_build_wide(dtype);
  onnxc_expr earlier = {0};
  if (partial.i) {
    const onnxc_value_info *info = onnxc_value_of(graph, partial);
    earlier = onnxc_expr_load(pool, info->dtype, 1, info->rank, p->partial);
  }
  onnxc_expr value = e_cast(pool, wide, onnxc_expr_load(pool, dtype, 0, p->rank, p->index));
  if (how->element)
    value = how->element(pool, value, earlier);
  onnxc_expr acc = value;
  compute.num_results = 1;
  compute.acc_dtype[0] = wide;
  if (compute.num_reduce) {
    acc = onnxc_expr_acc(pool, wide, 0);
    compute.init[0] = onnxc_build_neutral(pool, how->combiner, wide);
    compute.element[0] = value;
    compute.combine[0] = onnxc_expr_binary(pool, how->combiner, acc, onnxc_expr_val(pool, wide, 0));
  }
  compute.finish[0] = e_cast(pool, dtype, how->finish ? how->finish(pool, acc, earlier, p->count) : acc);
  onnxc_value result;
  onnxc_graph_add_compute(graph, in->where, &compute, partial.i ? 2 : 1, (onnxc_value[]){x, partial}, &result);
  return result;
}

/* Plans the reduction of input 0; false after an error. */
static bool make_plan(onnxc_importer *in, plan *p, onnxc_value x, int64_t input_since) {
  if (!x.i)
    return false;
  const onnxc_value_info info = *onnxc_value_of(in->graph, x);
  bool keepdims = onnxc_import_int(in, "keepdims", 1) != 0;
  axes a = {0};
  if (!get_axes(in, &a, info.rank, input_since))
    return false;
  *p = (plan){.rank = info.rank};
  if (a.known)
    plan_known(in->graph, p, &info, a.reduce, keepdims);
  else
    plan_run_time(in->graph, p, &info, &a, keepdims);
  return true;
}

static onnxc_status bind(onnxc_importer *in, const plan *p, onnxc_value result) {
  if (p->reshape)
    result = onnxc_build_reshape(in->graph, in->where, result, p->out_rank, p->out_dims);
  return onnxc_import_done(in, 0, result);
}

static onnxc_status import_reduce(onnxc_importer *in, int64_t input_since, const char *kinds, const reduction *how) {
  onnxc_value x = onnxc_import_operand(in, 0, kinds);
  plan p;
  if (!make_plan(in, &p, x, input_since))
    return onnxc_import_done(in, 0, (onnxc_value){0});
  return bind(in, &p, reduce(in, &p, x, (onnxc_value){0}, how));
}

static onnxc_expr square(onnxc_exprs *pool, onnxc_expr x, onnxc_expr partial) {
  (void)partial;
  return e_mul(pool, x, x);
}
static onnxc_expr magnitude(onnxc_exprs *pool, onnxc_expr x, onnxc_expr partial) {
  (void)partial;
  return e_abs(pool, x);
}
/* exp(x - max), where max is finite */
static onnxc_expr shifted_exp(onnxc_exprs *pool, onnxc_expr x, onnxc_expr partial) {
  return e_exp(pool, e_sub(pool, x, e_cast(pool, e_dtype(pool, x), partial)));
}

static onnxc_expr mean(onnxc_exprs *pool, onnxc_expr acc, onnxc_expr partial, onnxc_dim count) {
  (void)partial;
  return e_div(pool, acc, e_cast(pool, e_dtype(pool, acc), onnxc_expr_dim(pool, count)));
}
/* Integers go through f64. */
static onnxc_expr as_float(onnxc_exprs *pool, onnxc_expr acc) {
  return onnxc_dtype_is_float(e_dtype(pool, acc)) ? acc : e_cast(pool, ONNXC_F64, acc);
}
static onnxc_expr root(onnxc_exprs *pool, onnxc_expr acc, onnxc_expr partial, onnxc_dim count) {
  (void)partial;
  (void)count;
  return e_sqrt(pool, as_float(pool, acc));
}
static onnxc_expr logarithm(onnxc_exprs *pool, onnxc_expr acc, onnxc_expr partial, onnxc_dim count) {
  (void)partial;
  (void)count;
  return e_log(pool, as_float(pool, acc));
}
static onnxc_expr shifted_log(onnxc_exprs *pool, onnxc_expr acc, onnxc_expr partial, onnxc_dim count) {
  (void)count;
  return e_add(pool, e_log(pool, acc), e_cast(pool, e_dtype(pool, acc), partial));
}
/* The shift of LogSumExp: the maximum if it is finite, else 0, so that infinities and NaN survive. */
static onnxc_expr finite_or_zero(onnxc_exprs *pool, onnxc_expr acc, onnxc_expr partial, onnxc_dim count) {
  (void)partial;
  (void)count;
  onnxc_expr finite = e_lt(pool, e_abs(pool, acc), e_number(pool, acc, INFINITY));
  return e_select(pool, finite, acc, e_number(pool, acc, 0));
}

#define REDUCE(OpType, input_since, kinds, COMBINER, element, finish)                                                  \
  onnxc_status onnxc_import_##OpType(onnxc_importer *in) {                                                             \
    return import_reduce(in, input_since, kinds, &(reduction){ONNXC_EXPR_##COMBINER, element, finish});                \
  }
REDUCE(ReduceSum, 13, "fiu", ADD, NULL, NULL)
REDUCE(ReduceMean, 18, "fiu", ADD, NULL, mean)
REDUCE(ReduceProd, 18, "fiu", MUL, NULL, NULL)
REDUCE(ReduceL1, 18, "fiu", ADD, magnitude, NULL)
REDUCE(ReduceL2, 18, "fiu", ADD, square, root)
REDUCE(ReduceSumSquare, 18, "fiu", ADD, square, NULL)
REDUCE(ReduceLogSum, 18, "fiu", ADD, NULL, logarithm)

static onnxc_status extremum(onnxc_importer *in, onnxc_expr_op numeric, onnxc_expr_op boolean) {
  onnxc_value x = onnxc_import_operand(in, 0, "fiub");
  if (!x.i)
    return onnxc_import_done(in, 0, x);
  bool is_bool = onnxc_dtype_is_bool(onnxc_value_of(in->graph, x)->dtype);
  return import_reduce(in, 18, "fiub", &(reduction){is_bool ? boolean : numeric, NULL, NULL});
}

onnxc_status onnxc_import_ReduceMax(onnxc_importer *in) { return extremum(in, ONNXC_EXPR_MAX, ONNXC_EXPR_OR); }
onnxc_status onnxc_import_ReduceMin(onnxc_importer *in) { return extremum(in, ONNXC_EXPR_MIN, ONNXC_EXPR_AND); }

onnxc_status onnxc_import_ReduceLogSumExp(onnxc_importer *in) {
  onnxc_value x = onnxc_import_operand(in, 0, "fiu");
  if (!x.i)
    return onnxc_import_done(in, 0, x);
  onnxc_dtype dtype = onnxc_value_of(in->graph, x)->dtype;
  onnxc_value wide =
      onnxc_import_narrow(in, x, dtype == ONNXC_F64 || !onnxc_dtype_is_float(dtype) ? ONNXC_F64 : ONNXC_F32);
  plan p;
  if (!make_plan(in, &p, wide, 18))
    return onnxc_import_done(in, 0, (onnxc_value){0});
  onnxc_value shift = reduce(in, &p, wide, (onnxc_value){0}, &(reduction){ONNXC_EXPR_MAX, NULL, finite_or_zero});
  onnxc_value sum = reduce(in, &p, wide, shift, &(reduction){ONNXC_EXPR_ADD, shifted_exp, shifted_log});
  return bind(in, &p, onnxc_import_narrow(in, sum, dtype));
}
