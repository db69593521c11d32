/* elements.c -- the elements of small integer tensors as dims; see onnxc_value_elements in graph.h.
 *
 * The expressions of a small compute are evaluated once an element over dims instead of numbers, so a chain
 * Shape-Gather-Mul-Concat-Reshape has dissolved when the reshape is built, whatever nodes it is
 * made of. What has no form as a dim becomes a fresh symbol that a run binds.
 *
 * Float values inside such chains (sizes times scales) are kept as fractions dim / constant: exact as long as
 * the dim is below 2^23, which becomes a constraint where its range does not say so.
 */
#include "ir/graph.h"

#include <math.h>
#include <string.h>

enum { MAX_ELEMENTS = 1024, MAX_REDUCED = 1024, MAX_DEPTH = 64, MAX_MEMO = 128, MAX_WORK = 1 << 15 };
#define MAX_EXACT ((int64_t)1 << 23)

/* num / den (den > 0), or a float constant when num is none; `known` false: no form. */
typedef struct element {
  bool known;
  onnxc_dim num;
  int64_t den;
  double f;
} element;

typedef struct reader {
  onnxc_graph *graph;
  int work; /* expressions left to visit for one tensor */
} reader;

/* One point of one compute. */
typedef struct point {
  reader *r;
  const onnxc_node_info *node;
  int64_t index[ONNXC_MAX_INDICES];
  element acc[ONNXC_MAX_RESULTS];
  int depth;
  uint32_t num_memo;
  onnxc_expr memo_key[MAX_MEMO];
  element memo[MAX_MEMO];
} point;

static const element unknown = {0};

static element of_dim(onnxc_dim dim) { return (element){.known = dim.i != 0, .num = dim, .den = 1}; }

static bool constant_int(const onnxc_graph *graph, element e, int64_t *value) {
  return e.known && e.num.i && e.den == 1 && onnxc_dim_is_const(&graph->dims, e.num, value);
}

static bool is_int(element e) { return e.known && e.num.i && e.den == 1; }

static element element_of(reader *r, onnxc_value value, int64_t flat, int depth);

/* ---- fractions ---- */

/* A float constant as p / 2^k. */
static bool fraction_of(double f, int64_t *p, int64_t *q) {
  *q = 1;
  for (int k = 0; k <= 16 && isfinite(f); k++, f *= 2, *q *= 2)
    if (f == floor(f) && fabs(f) < 0x1p40) {
      *p = (int64_t)f;
      return true;
    }
  return false;
}

static element as_fraction(onnxc_graph *graph, element e) {
  int64_t p, q;
  if (!e.known || e.num.i)
    return e;
  if (!fraction_of(e.f, &p, &q))
    return unknown;
  return (element){.known = true, .num = onnxc_dim_const(&graph->dims, p), .den = q};
}

/* Exact in f32 only below 2^23: certain from the range, or made a constraint. */
static bool require_exact(onnxc_graph *graph, onnxc_dim dim, onnxc_dtype dtype) {
  int64_t low, high;
  onnxc_dim_range(&graph->dims, dim, &low, &high);
  if (dtype == ONNXC_F64 || (low >= -MAX_EXACT && high <= MAX_EXACT))
    return true;
  if (dtype != ONNXC_F32 || low < 0)
    return false;
  onnxc_dim limit = onnxc_dim_min(&graph->dims, dim, onnxc_dim_const(&graph->dims, MAX_EXACT));
  onnxc_graph_add_constraint(graph, limit, dim, "a size that is computed in float32 must be at most 8388608");
  return true;
}

static element float_binary(onnxc_graph *graph, onnxc_expr_op op, element a, element b) {
  onnxc_dims *dims = &graph->dims;
  if (!a.num.i && !b.num.i)
    return unknown; /* constants fold elsewhere */
  a = as_fraction(graph, a);
  b = as_fraction(graph, b);
  if (!a.known || !b.known)
    return unknown;
  int64_t c;
  element e = {.known = true, .den = a.den};
  switch (op) {
  case ONNXC_EXPR_MUL:
    e.num = onnxc_dim_mul(dims, a.num, b.num);
    e.den = a.den * b.den;
    break;
  case ONNXC_EXPR_DIV:
    if (!onnxc_dim_is_const(dims, b.num, &c) || c <= 0 || c > (1 << 20))
      return unknown;
    e.num = onnxc_dim_mulc(dims, a.num, b.den);
    e.den = a.den * c;
    break;
  case ONNXC_EXPR_ADD:
  case ONNXC_EXPR_SUB:
    a.num = onnxc_dim_mulc(dims, a.num, b.den);
    b.num = onnxc_dim_mulc(dims, b.num, a.den);
    e.num = op == ONNXC_EXPR_ADD ? onnxc_dim_add(dims, a.num, b.num) : onnxc_dim_sub(dims, a.num, b.num);
    e.den = a.den * b.den;
    break;
  default: return unknown;
  }
  return e.den > (1 << 20) ? unknown : e;
}

static element float_round(onnxc_graph *graph, onnxc_expr_op op, element a) {
  int64_t low, high;
  if (!a.known || !a.num.i || a.den == 1)
    return a.known && a.num.i ? a : unknown;
  onnxc_dim den = onnxc_dim_const(&graph->dims, a.den);
  onnxc_dim_range(&graph->dims, a.num, &low, &high);
  if (op == ONNXC_EXPR_CEIL)
    return of_dim(onnxc_dim_ceildiv(&graph->dims, a.num, den));
  if (op == ONNXC_EXPR_FLOOR || low >= 0)
    return of_dim(onnxc_dim_floordiv(&graph->dims, a.num, den));
  return unknown;
}

/* ---- integers ---- */

static onnxc_dim not_of(onnxc_dims *dims, onnxc_dim a) { return onnxc_dim_sub(dims, onnxc_dim_const(dims, 1), a); }

/* a <= b as 0 or 1. */
static onnxc_dim le_of(onnxc_dims *dims, onnxc_dim a, onnxc_dim b) {
  int64_t low, high;
  onnxc_dim_range(dims, onnxc_dim_sub(dims, b, a), &low, &high);
  if (low >= 0 || high < 0)
    return onnxc_dim_const(dims, low >= 0);
  return onnxc_dim_eq(dims, onnxc_dim_min(dims, a, b), a);
}

static onnxc_dim int_unary(onnxc_dims *dims, onnxc_expr_op op, bool is_bool, onnxc_dim a) {
  onnxc_dim zero = onnxc_dim_const(dims, 0);
  switch (op) {
  case ONNXC_EXPR_NEG: return onnxc_dim_mulc(dims, a, -1);
  case ONNXC_EXPR_ABS: return onnxc_dim_max(dims, a, onnxc_dim_mulc(dims, a, -1));
  case ONNXC_EXPR_SIGN:
    return onnxc_dim_sub(dims, not_of(dims, le_of(dims, a, zero)), not_of(dims, le_of(dims, zero, a)));
  case ONNXC_EXPR_NOT: return is_bool ? not_of(dims, a) : onnxc_dim_addc(dims, onnxc_dim_mulc(dims, a, -1), -1);
  case ONNXC_EXPR_FLOOR:
  case ONNXC_EXPR_CEIL:
  case ONNXC_EXPR_ROUND:
  case ONNXC_EXPR_TRUNC: return a;
  default: return (onnxc_dim){0};
  }
}

/* Truncating division and its remainder agree with the flooring ones when nothing is negative. */
static bool same_sign(onnxc_dims *dims, onnxc_dim a, onnxc_dim b) {
  int64_t low_a, low_b, high;
  onnxc_dim_range(dims, a, &low_a, &high);
  onnxc_dim_range(dims, b, &low_b, &high);
  return low_a >= 0 && low_b >= 0;
}

static onnxc_dim int_pow(onnxc_dims *dims, onnxc_dim a, onnxc_dim b) {
  int64_t exponent;
  if (!onnxc_dim_is_const(dims, b, &exponent) || exponent < 0 || exponent > 16)
    return (onnxc_dim){0};
  onnxc_dim result = onnxc_dim_const(dims, 1);
  for (int64_t i = 0; i < exponent; i++)
    result = onnxc_dim_mul(dims, result, a);
  return result;
}

static onnxc_dim int_binary(onnxc_dims *dims, onnxc_expr_op op, bool is_bool, onnxc_dim a, onnxc_dim b) {
  switch (op) {
  case ONNXC_EXPR_ADD: return is_bool ? onnxc_dim_max(dims, a, b) : onnxc_dim_add(dims, a, b);
  case ONNXC_EXPR_SUB: return is_bool ? (onnxc_dim){0} : onnxc_dim_sub(dims, a, b);
  case ONNXC_EXPR_MUL: return onnxc_dim_mul(dims, a, b);
  case ONNXC_EXPR_DIV: return same_sign(dims, a, b) ? onnxc_dim_floordiv(dims, a, b) : (onnxc_dim){0};
  case ONNXC_EXPR_REM: return same_sign(dims, a, b) ? onnxc_dim_mod(dims, a, b) : (onnxc_dim){0};
  case ONNXC_EXPR_FLOORDIV: return onnxc_dim_floordiv(dims, a, b);
  case ONNXC_EXPR_MOD: return onnxc_dim_mod(dims, a, b);
  case ONNXC_EXPR_POW: return int_pow(dims, a, b);
  case ONNXC_EXPR_MIN: return onnxc_dim_min(dims, a, b);
  case ONNXC_EXPR_MAX: return onnxc_dim_max(dims, a, b);
  case ONNXC_EXPR_AND: return is_bool ? onnxc_dim_min(dims, a, b) : (onnxc_dim){0};
  case ONNXC_EXPR_OR: return is_bool ? onnxc_dim_max(dims, a, b) : (onnxc_dim){0};
  case ONNXC_EXPR_XOR: return is_bool ? not_of(dims, onnxc_dim_eq(dims, a, b)) : (onnxc_dim){0};
  case ONNXC_EXPR_EQ: return onnxc_dim_eq(dims, a, b);
  case ONNXC_EXPR_NE: return not_of(dims, onnxc_dim_eq(dims, a, b));
  case ONNXC_EXPR_LE: return le_of(dims, a, b);
  case ONNXC_EXPR_GE: return le_of(dims, b, a);
  case ONNXC_EXPR_LT: return not_of(dims, le_of(dims, b, a));
  case ONNXC_EXPR_GT: return not_of(dims, le_of(dims, a, b));
  default: return (onnxc_dim){0};
  }
}

static bool fits(onnxc_dims *dims, onnxc_dim dim, onnxc_dtype dtype) {
  int64_t low, high;
  if (dtype == ONNXC_I64 || dtype == ONNXC_I32) /* dims and indices; wrapping ones are no model's intention */
    return true;
  onnxc_dim_range(dims, dim, &low, &high);
  int bits = (int)onnxc_dtype_bytes(dtype) * 8;
  if (onnxc_dtype_is_bool(dtype))
    return low >= 0 && high <= 1;
  if (!onnxc_dtype_is_signed(dtype))
    return low >= 0 && (bits == 64 || high < (int64_t)1 << bits);
  return bits < 64 && low >= -((int64_t)1 << (bits - 1)) && high < (int64_t)1 << (bits - 1);
}

static element cast(onnxc_graph *graph, onnxc_dtype to, onnxc_dtype from, element a) {
  onnxc_dims *dims = &graph->dims;
  if (!a.known)
    return unknown;
  bool from_float = onnxc_dtype_is_float(from);
  if (onnxc_dtype_is_float(to)) {
    if (a.num.i && !from_float && !require_exact(graph, a.num, to))
      return unknown;
    return to == ONNXC_F32 || to == ONNXC_F64 ? a : unknown;
  }
  if (from_float && !a.num.i) {
    if (!isfinite(a.f) || fabs(a.f) >= 0x1p62)
      return unknown;
    a = of_dim(onnxc_dim_const(dims, (int64_t)a.f));
  }
  if (from_float)
    a = float_round(graph, ONNXC_EXPR_TRUNC, a);
  if (!is_int(a))
    return unknown;
  int64_t low, high;
  onnxc_dim_range(dims, a.num, &low, &high);
  if (onnxc_dtype_is_bool(to) && low >= 0 && high <= 1)
    return a;
  if (onnxc_dtype_is_bool(to))
    return of_dim(not_of(dims, onnxc_dim_eq(dims, a.num, onnxc_dim_const(dims, 0))));
  return fits(dims, a.num, to) ? a : unknown;
}

/* ---- expressions ---- */

static element eval(point *p, onnxc_expr e, int depth);

static element eval_load(point *p, const onnxc_expr_node *expr, int depth) {
  onnxc_graph *graph = p->r->graph;
  if (expr->imm < 0 || expr->imm >= p->node->num_inputs || !p->node->inputs[expr->imm].i)
    return unknown;
  onnxc_value value = p->node->inputs[expr->imm];
  int64_t flat = 0, shape[ONNXC_MAX_RANK];
  if (!onnxc_value_static_shape(graph, value, shape))
    return unknown;
  for (uint32_t d = 0; d < expr->num_args; d++) {
    int64_t index;
    if (!constant_int(graph, eval(p, expr->args[d], depth + 1), &index) || index < 0 || index >= shape[d])
      return unknown;
    flat = flat * shape[d] + index;
  }
  return element_of(p->r, value, flat, p->depth + 1);
}

static element eval_select(point *p, const onnxc_expr_node *expr, int depth) {
  onnxc_graph *graph = p->r->graph;
  int64_t c;
  element condition = eval(p, expr->args[0], depth + 1);
  if (!is_int(condition))
    return unknown;
  if (constant_int(graph, condition, &c))
    return eval(p, expr->args[c ? 1 : 2], depth + 1);
  element a = eval(p, expr->args[1], depth + 1), b = eval(p, expr->args[2], depth + 1);
  if (!is_int(a) || !is_int(b))
    return unknown;
  return of_dim(onnxc_dim_select(&graph->dims, condition.num, a.num, b.num));
}

static element apply(point *p, const onnxc_expr_node *expr, onnxc_dtype from, element a, element b) {
  onnxc_graph *graph = p->r->graph;
  onnxc_expr_op op = (onnxc_expr_op)expr->op;
  if (op == ONNXC_EXPR_CAST)
    return cast(graph, (onnxc_dtype)expr->dtype, from, a);
  if (!a.known || (expr->num_args == 2 && !b.known))
    return unknown;
  if (onnxc_dtype_is_float(from)) {
    if (!onnxc_dtype_is_float((onnxc_dtype)expr->dtype))
      return unknown;
    if (expr->num_args == 2) {
      element e = float_binary(graph, op, a, b);
      return e.known && require_exact(graph, e.num, (onnxc_dtype)expr->dtype) ? e : unknown;
    }
    bool rounds = op == ONNXC_EXPR_FLOOR || op == ONNXC_EXPR_CEIL || op == ONNXC_EXPR_TRUNC;
    return rounds ? float_round(graph, op, a) : unknown;
  }
  if (!is_int(a) || (expr->num_args == 2 && !is_int(b)))
    return unknown;
  onnxc_dim result = expr->num_args == 1 ? int_unary(&graph->dims, op, onnxc_dtype_is_bool(from), a.num)
                                         : int_binary(&graph->dims, op, onnxc_dtype_is_bool(from), a.num, b.num);
  return result.i && fits(&graph->dims, result, (onnxc_dtype)expr->dtype) ? of_dim(result) : unknown;
}

static element eval_new(point *p, onnxc_expr e, const onnxc_expr_node *expr, int depth) {
  onnxc_graph *graph = p->r->graph;
  double f = 0;
  int64_t i = 0;
  switch (expr->op) {
  case ONNXC_EXPR_CONST:
    onnxc_expr_const_value(&graph->exprs, e, &f, &i);
    if (onnxc_dtype_is_float((onnxc_dtype)expr->dtype))
      return (element){.known = true, .f = f, .den = 1};
    return of_dim(onnxc_dim_const(&graph->dims, i));
  case ONNXC_EXPR_INDEX: return of_dim(onnxc_dim_const(&graph->dims, p->index[expr->imm]));
  case ONNXC_EXPR_DIM: return of_dim((onnxc_dim){(uint32_t)expr->imm});
  case ONNXC_EXPR_ACC: return p->acc[expr->imm];
  case ONNXC_EXPR_LOAD: return eval_load(p, expr, depth);
  case ONNXC_EXPR_SELECT: return eval_select(p, expr, depth);
  case ONNXC_EXPR_VAL: return unknown;
  default: break;
  }
  element a = eval(p, expr->args[0], depth + 1), b = unknown;
  if (expr->num_args == 2)
    b = eval(p, expr->args[1], depth + 1);
  return apply(p, expr, (onnxc_dtype)onnxc_exprs_node(&graph->exprs, expr->args[0])->dtype, a, b);
}

static element eval(point *p, onnxc_expr e, int depth) {
  if (!e.i || depth > MAX_DEPTH || --p->r->work < 0)
    return unknown;
  for (uint32_t m = 0; m < p->num_memo; m++)
    if (p->memo_key[m].i == e.i)
      return p->memo[m];
  onnxc_expr_node expr = *onnxc_exprs_node(&p->r->graph->exprs, e);
  element result = eval_new(p, e, &expr, depth);
  if (p->num_memo < MAX_MEMO) {
    p->memo_key[p->num_memo] = e;
    p->memo[p->num_memo++] = result;
  }
  return result;
}

/* ---- tensors ---- */

static bool reduce_point(point *p, const onnxc_compute *c, uint32_t slot) {
  onnxc_graph *graph = p->r->graph;
  onnxc_expr_op op = onnxc_compute_combiner(&graph->exprs, c, slot);
  if (op == ONNXC_EXPR_NONE || onnxc_dtype_is_float(c->acc_dtype[slot]))
    return false;
  int64_t extents[ONNXC_MAX_INDICES], total = 1;
  for (uint32_t k = 0; k < c->num_reduce; k++) {
    if (!onnxc_dim_is_const(&graph->dims, c->extents[c->num_parallel + k], &extents[k]) || extents[k] < 0 ||
        extents[k] > MAX_REDUCED || (total *= extents[k]) > MAX_REDUCED)
      return false;
  }
  element acc = eval(p, c->init[slot], 0);
  for (int64_t r = 0; r < total; r++) {
    int64_t rest = r;
    for (uint32_t k = c->num_reduce; k-- > 0; rest /= extents[k])
      p->index[c->num_parallel + k] = rest % extents[k];
    p->num_memo = 0;
    element value = eval(p, c->element[slot], 0);
    if (!is_int(acc) || !is_int(value))
      return false;
    onnxc_dim sum = int_binary(&graph->dims, op, onnxc_dtype_is_bool(c->acc_dtype[slot]), acc.num, value.num);
    if (!sum.i || !fits(&graph->dims, sum, c->acc_dtype[slot]))
      return false;
    acc = of_dim(sum);
  }
  p->num_memo = 0;
  p->acc[slot] = acc;
  return true;
}

static element eval_point(reader *r, onnxc_value value, int64_t flat, int depth) {
  const onnxc_value_info *info = onnxc_value_of(r->graph, value);
  const onnxc_node_info *node = onnxc_node_of(r->graph, info->producer);
  const onnxc_compute *c = node->compute;
  int64_t shape[ONNXC_MAX_RANK];
  point p;
  p.r = r;
  p.node = node;
  p.depth = depth;
  p.num_memo = 0;
  memset(p.index, 0, sizeof p.index);
  memset(p.acc, 0, sizeof p.acc);
  uint32_t slot = info->slot;
  if (!onnxc_value_static_shape(r->graph, value, shape))
    return unknown;
  for (uint32_t d = info->rank; d-- > 0; flat /= shape[d])
    p.index[d] = flat % shape[d];
  if (c->num_reduce) {
    for (uint32_t j = 0; j < c->num_results; j++) /* finish may read any accumulator */
      if (!reduce_point(&p, c, j) && j == slot)
        return unknown;
  }
  return eval(&p, c->finish[slot], 0);
}

static element eval_concat(reader *r, onnxc_value value, const onnxc_node_info *node, int64_t flat, int depth) {
  const onnxc_value_info *info = onnxc_value_of(r->graph, value);
  int64_t shape[ONNXC_MAX_RANK], part[ONNXC_MAX_RANK], inner = 1;
  if (!onnxc_value_static_shape(r->graph, value, shape))
    return unknown;
  for (int64_t d = node->axis + 1; d < (int64_t)info->rank; d++)
    inner *= shape[d];
  int64_t along = flat / inner % shape[node->axis], outer = flat / inner / shape[node->axis];
  for (uint32_t k = 0; k < node->num_inputs; k++) {
    if (!onnxc_value_static_shape(r->graph, node->inputs[k], part))
      return unknown;
    int64_t extent = part[node->axis];
    if (along < extent)
      return element_of(r, node->inputs[k], (outer * extent + along) * inner + flat % inner, depth + 1);
    along -= extent;
  }
  return unknown;
}

/* The element as its producer makes it. */
static element derive(reader *r, onnxc_value value, int64_t flat, int depth) {
  onnxc_value_info info = *onnxc_value_of(r->graph, value);
  int64_t shape[ONNXC_MAX_RANK];
  if (info.data) {
    if (!onnxc_value_static_shape(r->graph, value, shape))
      return unknown;
    int64_t index[ONNXC_MAX_RANK], rest = flat;
    for (uint32_t d = info.rank; d-- > 0; rest /= shape[d])
      index[d] = rest % shape[d];
    const char *at = (const char *)info.data + (size_t)onnxc_layout_offset_of(&info.layout, info.rank, shape, index) *
                                                   onnxc_dtype_bytes(info.dtype);
    if (onnxc_dtype_is_float(info.dtype))
      return (element){.known = true, .f = onnxc_scalar_to_f64(info.dtype, at), .den = 1};
    return of_dim(onnxc_dim_const(&r->graph->dims, onnxc_scalar_to_i64(info.dtype, at)));
  }
  if (!info.producer.i || depth > MAX_DEPTH)
    return unknown;
  onnxc_node_info *node = onnxc_node_of(r->graph, info.producer);
  switch (node->op) {
  case ONNXC_OP_COMPUTE: return eval_point(r, value, flat, depth);
  case ONNXC_OP_RELAYOUT:
  case ONNXC_OP_RESHAPE: return element_of(r, node->inputs[0], flat, depth + 1);
  case ONNXC_OP_CONCAT: return eval_concat(r, value, node, flat, depth);
  default: return unknown;
  }
}

static const onnxc_dim *elements_of(onnxc_graph *graph, onnxc_value value, uint32_t *count, int depth);

static element element_of(reader *r, onnxc_value value, int64_t flat, int depth) {
  const onnxc_value_info *info = onnxc_value_of(r->graph, value);
  uint32_t count;
  if (onnxc_dtype_is_int(info->dtype) || onnxc_dtype_is_bool(info->dtype)) {
    const onnxc_dim *elements = info->data ? NULL : elements_of(r->graph, value, &count, depth);
    if (elements)
      return flat < count ? of_dim(elements[flat]) : unknown;
    return info->data ? derive(r, value, flat, depth) : unknown;
  }
  return onnxc_dtype_is_float(info->dtype) ? derive(r, value, flat, depth) : unknown;
}

static onnxc_dim fresh(onnxc_graph *graph, onnxc_value value, uint32_t flat) {
  const onnxc_dtype dtype = onnxc_value_of(graph, value)->dtype;
  char *name = onnxc_arena_printf(graph->arena, "v%u_%u", value.i, flat);
  onnxc_sym sym = onnxc_sym_new(&graph->dims, name, ONNXC_SYM_ELEMENT, value.i, flat);
  onnxc_symbol *symbol = onnxc_dims_symbol(&graph->dims, sym);
  int bits = (int)onnxc_dtype_bytes(dtype) * 8;
  bool is_signed = onnxc_dtype_is_signed(dtype);
  symbol->low = !is_signed ? 0 : bits == 64 ? INT64_MIN : -((int64_t)1 << (bits - 1));
  symbol->high = bits == 64 ? INT64_MAX : ((int64_t)1 << (is_signed ? bits - 1 : bits)) - 1;
  if (onnxc_dtype_is_bool(dtype))
    symbol->high = 1;
  return onnxc_dim_sym(&graph->dims, sym);
}

static const onnxc_dim *elements_of(onnxc_graph *graph, onnxc_value value, uint32_t *count, int depth) {
  const onnxc_value_info *info = onnxc_value_of(graph, value);
  int64_t shape[ONNXC_MAX_RANK], total = 1;
  if (!(onnxc_dtype_is_int(info->dtype) || onnxc_dtype_is_bool(info->dtype)) ||
      !onnxc_value_static_shape(graph, value, shape))
    return NULL;
  for (uint32_t d = 0; d < info->rank; d++)
    if (shape[d] < 0 || shape[d] > MAX_ELEMENTS || (total *= shape[d]) > MAX_ELEMENTS)
      return NULL;
  *count = (uint32_t)total;
  if (info->elements)
    return info->elements;
  onnxc_dim *elements = ONNXC_NEW_ARRAY(graph->arena, onnxc_dim, total + 1);
  reader r = {.graph = graph, .work = MAX_WORK};
  onnxc_branch outer = graph->branch; /* what the elements ask for holds wherever there are some */
  graph->branch = onnxc_branch_of(graph, value);
  for (uint32_t i = 0; i < (uint32_t)total; i++) {
    bool was_too_complex = graph->dims.too_complex;
    graph->dims.too_complex = false;
    element e = derive(&r, value, i, depth);
    bool usable = is_int(e) && !graph->dims.too_complex;
    graph->dims.too_complex = was_too_complex;
    elements[i] = usable ? e.num : fresh(graph, value, i);
  }
  graph->branch = outer;
  onnxc_value_of(graph, value)->elements = elements;
  return elements;
}

const onnxc_dim *onnxc_value_elements(onnxc_graph *graph, onnxc_value value, uint32_t *count) {
  uint32_t n = 0;
  const onnxc_dim *elements = elements_of(graph, value, &n, 0);
  if (count)
    *count = n;
  return elements;
}
