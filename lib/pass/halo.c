/* halo.c -- see halo.h.
 *
 * A guard is a conjunction of comparisons of index expressions. One of them is about dim d of the load if it differs
 * from the load's index by a dim expression; it may be dropped if it admits all of the logical range, since outside of
 * the range the halo reads the zero that the select would have given.
 */
#include "pass/halo.h"

enum { MAX_HALO = 1024 };

typedef struct affine {
  onnxc_dim base;
  onnxc_dim coefficients[ONNXC_MAX_INDICES];
} affine;

static bool affine_of(onnxc_exprs *pool, onnxc_expr e, affine *form) {
  return onnxc_expr_affine(pool, e, ONNXC_MAX_INDICES, &form->base, form->coefficients);
}

static bool same_slope(const affine *a, const affine *b) {
  for (int k = 0; k < ONNXC_MAX_INDICES; k++)
    if (!onnxc_dim_same(a->coefficients[k], b->coefficients[k]))
      return false;
  return true;
}

static int64_t common(int64_t a, int64_t b) {
  while (b) {
    int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

/* Something that is never less: with g = gcd(c, d),
 *     c * (x floordiv d) <= (c / g) * (x floordiv (d / g))
 * since x floordiv d = (x floordiv (d / g)) floordiv g. */
static onnxc_dim upper_bound(onnxc_dims *dims, onnxc_dim dim) {
  onnxc_dim_node node = *onnxc_dims_node(dims, dim);
  if (node.kind != ONNXC_DIM_SUM)
    return dim;
  onnxc_dim sum = onnxc_dim_const(dims, node.constant);
  for (uint32_t k = 0; k < node.num_terms; k++) {
    onnxc_dim_term term = node.terms[k];
    onnxc_dim_node atom = *onnxc_dims_node(dims, term.atom);
    int64_t divisor = 0, factor = 1;
    if (atom.kind == ONNXC_DIM_FLOORDIV && term.coefficient > 0 && onnxc_dim_is_const(dims, atom.b, &divisor) &&
        divisor > 0)
      factor = common(term.coefficient, divisor);
    onnxc_dim bound = term.atom;
    if (factor > 1)
      bound = onnxc_dim_floordiv(dims, atom.a, onnxc_dim_const(dims, divisor / factor));
    sum = onnxc_dim_add(dims, sum, onnxc_dim_mulc(dims, bound, term.coefficient / factor));
  }
  return sum;
}

/* Is x <= constant for sure? Gives the least constant seen. */
static bool bounded_above(onnxc_dims *dims, onnxc_dim dim, int64_t *bound) {
  for (int step = 0; step < 8; step++) {
    int64_t low, high;
    if (onnxc_dim_is_const(dims, dim, bound))
      return true;
    onnxc_dim next = upper_bound(dims, dim);
    if (onnxc_dim_same(next, dim)) {
      onnxc_dim_range(dims, dim, &low, &high);
      *bound = high;
      return high <= MAX_HALO;
    }
    dim = next;
  }
  return false;
}

static bool not_negative(onnxc_dims *dims, onnxc_dim dim) {
  int64_t bound;
  return bounded_above(dims, onnxc_dim_mulc(dims, dim, -1), &bound) && bound <= 0;
}

/* Does the comparison `low <= x` or `x < high` hold for every index of the load's dim that is in range? */
static bool admits_range(onnxc_graph *graph, const onnxc_value_info *value, const onnxc_expr_node *load,
                         onnxc_expr comparison) {
  onnxc_exprs *pool = &graph->exprs;
  onnxc_dims *dims = &graph->dims;
  onnxc_expr_node node = *onnxc_exprs_node(pool, comparison);
  onnxc_expr small, large; /* small <(=) large */
  bool strict = node.op == ONNXC_EXPR_LT || node.op == ONNXC_EXPR_GT;
  if (node.op == ONNXC_EXPR_LE || node.op == ONNXC_EXPR_LT) {
    small = node.args[0];
    large = node.args[1];
  } else if (node.op == ONNXC_EXPR_GE || node.op == ONNXC_EXPR_GT) {
    small = node.args[1];
    large = node.args[0];
  } else {
    return false;
  }
  affine s, l, index;
  if (!affine_of(pool, small, &s) || !affine_of(pool, large, &l))
    return false;
  affine slope = {.base = l.base}; /* large - small, as far as it depends on indices */
  for (int k = 0; k < ONNXC_MAX_INDICES; k++) {
    onnxc_dim a = l.coefficients[k].i ? l.coefficients[k] : onnxc_dim_const(dims, 0);
    onnxc_dim b = s.coefficients[k].i ? s.coefficients[k] : onnxc_dim_const(dims, 0);
    slope.coefficients[k] = onnxc_dim_sub(dims, a, b);
  }
  for (uint32_t d = 0; d < load->num_args; d++) {
    if (!affine_of(pool, load->args[d], &index))
      return false;
    affine plus = {0}, minus = {0};
    for (int k = 0; k < ONNXC_MAX_INDICES; k++) {
      plus.coefficients[k] = index.coefficients[k].i ? index.coefficients[k] : onnxc_dim_const(dims, 0);
      minus.coefficients[k] = onnxc_dim_mulc(dims, plus.coefficients[k], -1);
    }
    onnxc_dim difference = onnxc_dim_sub(dims, l.base, s.base); /* + slope . indices, must be >= strict */
    onnxc_dim least;
    if (same_slope(&slope, &plus)) /* difference = index + (difference - index.base): least at index 0 */
      least = onnxc_dim_sub(dims, difference, index.base);
    else if (same_slope(&slope, &minus)) /* least at index extent - 1 */
      least =
          onnxc_dim_sub(dims, onnxc_dim_add(dims, difference, index.base), onnxc_dim_addc(dims, value->dims[d], -1));
    else
      continue;
    if (not_negative(dims, onnxc_dim_addc(dims, least, strict ? -1 : 0)))
      return true;
  }
  return false;
}

static bool guard_admits_range(onnxc_graph *graph, const onnxc_value_info *value, const onnxc_expr_node *load,
                               onnxc_expr guard) {
  onnxc_expr_node node = *onnxc_exprs_node(&graph->exprs, guard);
  if (node.op == ONNXC_EXPR_AND)
    return guard_admits_range(graph, value, load, node.args[0]) && guard_admits_range(graph, value, load, node.args[1]);
  return admits_range(graph, value, load, guard);
}

bool onnxc_halo_of_load(onnxc_graph *graph, const onnxc_compute *compute, onnxc_value value, onnxc_expr load_expr,
                        onnxc_expr guard, onnxc_halo *halo) {
  onnxc_dims *dims = &graph->dims;
  onnxc_expr_node load = *onnxc_exprs_node(&graph->exprs, load_expr);
  const onnxc_value_info info = *onnxc_value_of(graph, value);
  *halo = (onnxc_halo){0};
  if (guard.i && !guard_admits_range(graph, &info, &load, guard))
    return false;
  for (uint32_t d = 0; d < load.num_args; d++) {
    affine index;
    if (!affine_of(&graph->exprs, load.args[d], &index))
      return false;
    onnxc_dim lowest = index.base, highest = index.base;
    for (uint32_t k = 0; k < compute->num_parallel + compute->num_reduce; k++) {
      int64_t coefficient = 0;
      if (!index.coefficients[k].i)
        continue;
      if (!onnxc_dim_is_const(dims, index.coefficients[k], &coefficient))
        return false;
      onnxc_dim reach = onnxc_dim_mulc(dims, onnxc_dim_addc(dims, compute->extents[k], -1), coefficient);
      if (coefficient > 0)
        highest = onnxc_dim_add(dims, highest, reach);
      else
        lowest = onnxc_dim_add(dims, lowest, reach);
    }
    int64_t below, above;
    if (!bounded_above(dims, onnxc_dim_mulc(dims, lowest, -1), &below) ||
        !bounded_above(dims, onnxc_dim_sub(dims, highest, onnxc_dim_addc(dims, info.dims[d], -1)), &above))
      return false;
    if (below > MAX_HALO || above > MAX_HALO)
      return false;
    halo->low[d] = (uint16_t)(below > 0 ? below : 0);
    halo->high[d] = (uint16_t)(above > 0 ? above : 0);
  }
  return true;
}
