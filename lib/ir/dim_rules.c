/* dim_rules.c -- products, division, min, max and eq of dims, and ranges.
 *
 * Each rule is exact over the integers (a symbolic divisor is taken not to be
 * zero) and either decides, or makes the node smaller, or pulls a part out of
 * it, so that building ends.
 */
#include "ir/dim_private.h"

#include <string.h>

enum { MAX_FACTORS = 32, MAX_DISTRIBUTED = 16, MAX_DISTRIBUTED_WEIGHT = 256 };

/* ---- numbers ---- */

static wide floor_div(wide a, wide b) { return a / b - ((a % b != 0) && ((a < 0) != (b < 0))); }
static wide floor_mod(wide a, wide b) { return a - floor_div(a, b) * b; }

static int64_t gcd(int64_t a, int64_t b) { /* of absolute values; gcd(0, b) = b */
  uint64_t x = a < 0 ? 0 - (uint64_t)a : (uint64_t)a, y = b < 0 ? 0 - (uint64_t)b : (uint64_t)b;
  while (y) {
    uint64_t rest = x % y;
    x = y;
    y = rest;
  }
  return x > INT64_MAX ? 1 : (int64_t)x;
}

/* ---- ranges; INT64_MIN and INT64_MAX stand for unbounded ---- */

typedef struct interval {
  wide low, high;
} interval;

static const wide minus_infinity = INT64_MIN, plus_infinity = INT64_MAX;

static wide clamp(wide value) {
  return value < minus_infinity ? minus_infinity : value > plus_infinity ? plus_infinity : value;
}

static interval interval_of(const onnxc_dims *dims, onnxc_dim dim) {
  interval result;
  int64_t low, high;
  onnxc_dim_range(dims, dim, &low, &high);
  result.low = low;
  result.high = high;
  return result;
}

static bool bounded(interval x) { return x.low > minus_infinity && x.high < plus_infinity; }

static interval scaled(interval x, wide k) {
  if (k == 0)
    return (interval){0, 0};
  wide low = k > 0 ? x.low : x.high, high = k > 0 ? x.high : x.low;
  bool open_low = low == minus_infinity || low == plus_infinity;
  bool open_high = high == minus_infinity || high == plus_infinity;
  return (interval){open_low ? minus_infinity : clamp(low * k), open_high ? plus_infinity : clamp(high * k)};
}

static interval added(interval x, interval y) {
  bool open_low = x.low == minus_infinity || y.low == minus_infinity;
  bool open_high = x.high == plus_infinity || y.high == plus_infinity;
  return (interval){open_low ? minus_infinity : clamp(x.low + y.low),
                    open_high ? plus_infinity : clamp(x.high + y.high)};
}

static interval product_range(interval x, interval y) {
  if (!bounded(x) || !bounded(y)) {
    bool positive = x.low >= 0 && y.low >= 0;
    return (interval){positive ? clamp(x.low * y.low) : minus_infinity, plus_infinity};
  }
  wide corners[4] = {x.low * y.low, x.low * y.high, x.high * y.low, x.high * y.high};
  interval result = {corners[0], corners[0]};
  for (int i = 1; i < 4; i++) {
    result.low = corners[i] < result.low ? corners[i] : result.low;
    result.high = corners[i] > result.high ? corners[i] : result.high;
  }
  return (interval){clamp(result.low), clamp(result.high)};
}

static interval floordiv_range(interval x, interval y) {
  if (y.low <= 0 || y.low == plus_infinity) {
    if (x.low >= 0 && y.low >= 0) /* by zero gives zero, by more than zero makes smaller */
      return (interval){0, x.high};
    return (interval){minus_infinity, plus_infinity};
  }
  interval result = {minus_infinity, plus_infinity};
  if (x.low > minus_infinity)
    result.low = floor_div(x.low, x.low < 0 ? y.low : y.high);
  if (x.high < plus_infinity)
    result.high = floor_div(x.high, x.high < 0 ? y.high : y.low);
  return result;
}

static interval mod_range(interval x, interval y) {
  if (y.low < 0)
    return (interval){minus_infinity, plus_infinity};
  interval result = {0, y.high == plus_infinity ? plus_infinity : y.high > 0 ? y.high - 1 : 0};
  if (x.low >= 0 && x.high < result.high)
    result.high = x.high;
  return result;
}

void onnxc_dims_set_range(const onnxc_dims *dims, onnxc_dim_node *node) {
  interval range = {node->constant, node->constant};
  interval a = {0, 0}, b = {0, 0};
  if (node->a.i) {
    a = interval_of(dims, node->a);
    b = interval_of(dims, node->b);
  }
  switch (node->kind) {
  case ONNXC_DIM_CONST: break;
  case ONNXC_DIM_SYM: range = (interval){minus_infinity, plus_infinity}; break;
  case ONNXC_DIM_SUM:
    for (uint32_t i = 0; i < node->num_terms; i++)
      range = added(range, scaled(interval_of(dims, node->terms[i].atom), node->terms[i].coefficient));
    break;
  case ONNXC_DIM_PRODUCT: range = product_range(a, b); break;
  case ONNXC_DIM_FLOORDIV: range = floordiv_range(a, b); break;
  case ONNXC_DIM_MOD: range = mod_range(a, b); break;
  case ONNXC_DIM_MIN: range = (interval){a.low < b.low ? a.low : b.low, a.high < b.high ? a.high : b.high}; break;
  case ONNXC_DIM_MAX: range = (interval){a.low > b.low ? a.low : b.low, a.high > b.high ? a.high : b.high}; break;
  case ONNXC_DIM_EQ: range = (interval){0, 1}; break;
  }
  node->low = (int64_t)range.low;
  node->high = (int64_t)range.high;
}

void onnxc_dim_range(const onnxc_dims *dims, onnxc_dim dim, int64_t *low, int64_t *high) {
  const onnxc_dim_node *node = onnxc_dims_node(dims, dim);
  const onnxc_symbol *symbol = &dims->symbols.data[node->sym.i];
  *low = node->kind == ONNXC_DIM_SYM ? symbol->low : node->low;
  *high = node->kind == ONNXC_DIM_SYM ? symbol->high : node->high;
}

/* ---- products ---- */

static onnxc_dim binary(onnxc_dims *dims, onnxc_dim_kind kind, onnxc_dim a, onnxc_dim b) {
  return onnxc_dims_intern(dims, (onnxc_dim_node){.kind = kind, .a = a, .b = b});
}

/* The factors of a product atom (or of any dim: itself); 0 when there are too many. */
static uint32_t factors_of(const onnxc_dims *dims, onnxc_dim dim, onnxc_dim *factors) {
  uint32_t n = 0;
  for (;; n++) {
    const onnxc_dim_node *node = onnxc_dims_node(dims, dim);
    if (n == MAX_FACTORS)
      return 0;
    if (node->kind != ONNXC_DIM_PRODUCT) {
      factors[n] = dim;
      return n + 1;
    }
    factors[n] = node->b;
    dim = node->a;
  }
}

onnxc_dim onnxc_dim_product(onnxc_dims *dims, onnxc_dim a, onnxc_dim b) {
  onnxc_dim factors[2 * MAX_FACTORS];
  uint32_t na = factors_of(dims, a, factors);
  uint32_t nb = na ? factors_of(dims, b, factors + na) : 0;
  uint32_t n = na + nb;
  if (!nb || n > MAX_FACTORS)
    return binary(dims, ONNXC_DIM_PRODUCT, a, b);
  for (uint32_t i = 1; i < n; i++)
    for (uint32_t j = i; j > 0 && factors[j].i < factors[j - 1].i; j--) {
      onnxc_dim swap = factors[j];
      factors[j] = factors[j - 1];
      factors[j - 1] = swap;
    }
  onnxc_dim product = factors[0];
  for (uint32_t i = 1; i < n; i++)
    product = binary(dims, ONNXC_DIM_PRODUCT, product, factors[i]);
  return product;
}

onnxc_dim onnxc_dim_mul(onnxc_dims *dims, onnxc_dim a, onnxc_dim b) {
  int64_t constant;
  if (onnxc_dim_is_const(dims, a, &constant))
    return onnxc_dim_mulc(dims, b, constant);
  if (onnxc_dim_is_const(dims, b, &constant))
    return onnxc_dim_mulc(dims, a, constant);
  onnxc_dim_term one_a, one_b;
  onnxc_linear x = onnxc_dim_linear(dims, a, &one_a), y = onnxc_dim_linear(dims, b, &one_b);
  uint64_t parts = (uint64_t)(x.num_terms + (x.constant != 0)) * (y.num_terms + (y.constant != 0));
  /* The weight that distributing makes; without the limit, products of dims that are long sums grow beyond sense. */
  uint64_t weight = (uint64_t)(x.num_terms + 1) * onnxc_dims_node(dims, b)->weight +
                    (uint64_t)(y.num_terms + 1) * onnxc_dims_node(dims, a)->weight;
  bool fits = parts <= MAX_DISTRIBUTED && weight <= MAX_DISTRIBUTED_WEIGHT;
  for (uint32_t i = 0; fits && i <= x.num_terms; i++)
    for (uint32_t j = 0; fits && j <= y.num_terms; j++) {
      wide p = i < x.num_terms ? x.terms[i].coefficient : x.constant;
      wide q = j < y.num_terms ? y.terms[j].coefficient : y.constant;
      fits = fits64(p * q);
    }
  if (!fits)
    return onnxc_dim_product(dims, a, b);
  onnxc_dim sum = onnxc_dim_const(dims, x.constant * y.constant);
  for (uint32_t i = 0; i < x.num_terms; i++) {
    sum = onnxc_dim_scaled_add(dims, sum, 1, x.terms[i].atom, x.terms[i].coefficient * y.constant);
    for (uint32_t j = 0; j < y.num_terms; j++)
      sum = onnxc_dim_scaled_add(dims, sum, 1, onnxc_dim_product(dims, x.terms[i].atom, y.terms[j].atom),
                                 x.terms[i].coefficient * y.terms[j].coefficient);
  }
  for (uint32_t j = 0; j < y.num_terms; j++)
    sum = onnxc_dim_scaled_add(dims, sum, 1, y.terms[j].atom, y.terms[j].coefficient * x.constant);
  return sum;
}

/* ---- division ---- */

/* A number known to divide an atom. */
static int64_t divisor_of(const onnxc_dims *dims, onnxc_dim atom) {
  onnxc_dim factors[MAX_FACTORS];
  uint32_t n = factors_of(dims, atom, factors);
  wide divisor = 1;
  for (uint32_t i = 0; i < n; i++) {
    const onnxc_dim_node *node = onnxc_dims_node(dims, factors[i]);
    if (node->kind == ONNXC_DIM_SYM && fits64(divisor * dims->symbols.data[node->sym.i].divisor))
      divisor *= dims->symbols.data[node->sym.i].divisor;
  }
  return (int64_t)divisor;
}

/* a = quotient * b + rest for a constant b > 0, everything that divides in the quotient, the rest's constant in [0, b).
 */
static onnxc_dim divide_constant(onnxc_dims *dims, onnxc_dim a, int64_t b, onnxc_dim *rest) {
  onnxc_dim_term one;
  onnxc_linear x = onnxc_dim_linear(dims, a, &one);
  onnxc_dim quotient = onnxc_dim_const(dims, (int64_t)floor_div(x.constant, b));
  *rest = onnxc_dim_const(dims, (int64_t)floor_mod(x.constant, b));
  for (uint32_t i = 0; i < x.num_terms; i++) {
    onnxc_dim atom = x.terms[i].atom;
    int64_t whole = x.terms[i].coefficient / b, part = x.terms[i].coefficient % b;
    quotient = onnxc_dim_scaled_add(dims, quotient, 1, atom, whole);
    if (part == 0)
      continue;
    if ((wide)part * divisor_of(dims, atom) % b == 0) {
      int64_t common = gcd(part, b);
      onnxc_dim exact = binary(dims, ONNXC_DIM_FLOORDIV, atom, onnxc_dim_const(dims, b / common));
      quotient = onnxc_dim_scaled_add(dims, quotient, 1, exact, part / common);
    } else {
      *rest = onnxc_dim_scaled_add(dims, *rest, 1, atom, part);
    }
  }
  return quotient;
}

/* a = quotient * b + rest for a symbolic b: terms that contain b's factors. */
static onnxc_dim divide_symbolic(onnxc_dims *dims, onnxc_dim a, onnxc_dim b, onnxc_dim *rest) {
  onnxc_dim_term one_a, one_b;
  onnxc_linear x = onnxc_dim_linear(dims, a, &one_a), y = onnxc_dim_linear(dims, b, &one_b);
  onnxc_dim zero = onnxc_dim_const(dims, 0);
  if (x.num_terms >= 1 && x.num_terms == y.num_terms && x.terms[0].coefficient % y.terms[0].coefficient == 0) {
    int64_t k = x.terms[0].coefficient / y.terms[0].coefficient;
    onnxc_dim difference = onnxc_dim_scaled_add(dims, a, 1, b, k == INT64_MIN ? 0 : -k);
    if (onnxc_dim_is(dims, difference, 0)) {
      *rest = zero;
      return onnxc_dim_const(dims, k);
    }
  }
  bool single = y.num_terms == 1 && y.constant == 0;
  int64_t by = single ? y.terms[0].coefficient : 1;
  onnxc_dim wanted[MAX_FACTORS], factors[MAX_FACTORS];
  uint32_t num_wanted = factors_of(dims, single ? y.terms[0].atom : b, wanted);
  onnxc_dim quotient = zero;
  *rest = onnxc_dim_const(dims, x.constant);
  for (uint32_t i = 0; i < x.num_terms; i++) {
    int64_t coefficient = x.terms[i].coefficient;
    uint32_t n = factors_of(dims, x.terms[i].atom, factors), found = 0;
    for (uint32_t w = 0; w < num_wanted; w++)
      for (uint32_t f = 0; f < n; f++)
        if (factors[f].i == wanted[w].i) {
          memmove(&factors[f], &factors[f + 1], (n - f - 1) * sizeof *factors);
          n--;
          found++;
          break;
        }
    if (num_wanted && found == num_wanted && by != -1 && coefficient % by == 0) {
      onnxc_dim product = onnxc_dim_const(dims, 1);
      for (uint32_t f = 0; f < n; f++)
        product = f ? onnxc_dim_product(dims, product, factors[f]) : factors[f];
      quotient = onnxc_dim_scaled_add(dims, quotient, 1, product, coefficient / by);
    } else {
      *rest = onnxc_dim_scaled_add(dims, *rest, 1, x.terms[i].atom, coefficient);
    }
  }
  return quotient;
}

/* The common divisor of all coefficients and b. */
static int64_t common_divisor(const onnxc_linear *x, int64_t b) {
  int64_t common = b;
  for (uint32_t i = 0; i < x->num_terms; i++)
    common = gcd(common, x->terms[i].coefficient);
  return common;
}

/* floor(x / k) for a k that divides every coefficient. */
static onnxc_dim shrink(onnxc_dims *dims, const onnxc_linear *x, int64_t k) {
  onnxc_dim sum = onnxc_dim_const(dims, (int64_t)floor_div(x->constant, k));
  for (uint32_t i = 0; i < x->num_terms; i++)
    sum = onnxc_dim_scaled_add(dims, sum, 1, x->terms[i].atom, x->terms[i].coefficient / k);
  return sum;
}

/* If all values of x have one quotient by b, that quotient. */
static bool one_quotient(const onnxc_dims *dims, onnxc_dim x, int64_t b, int64_t *quotient) {
  interval range = interval_of(dims, x);
  if (!bounded(range) || floor_div(range.low, b) != floor_div(range.high, b))
    return false;
  *quotient = (int64_t)floor_div(range.low, b);
  return true;
}

/* x = g*high + low with 0 <= low < g for the largest g > 1 that divides b; g, or 0 if there is none. Then
 * x floordiv b = high floordiv (b/g): a lane within a vector within a block does not count. */
static int64_t split_low(onnxc_dims *dims, const onnxc_linear *x, int64_t b, onnxc_dim *high, onnxc_dim *low) {
  int64_t best = 0;
  for (uint32_t t = 0; t < x->num_terms; t++) {
    int64_t g = gcd(x->terms[t].coefficient, b);
    if (g <= 1 || g <= best)
      continue;
    onnxc_dim above = onnxc_dim_const(dims, (int64_t)floor_div(x->constant, g));
    onnxc_dim below = onnxc_dim_const(dims, (int64_t)floor_mod(x->constant, g));
    for (uint32_t i = 0; i < x->num_terms; i++) {
      int64_t coefficient = x->terms[i].coefficient;
      if (coefficient % g == 0)
        above = onnxc_dim_scaled_add(dims, above, 1, x->terms[i].atom, coefficient / g);
      else
        below = onnxc_dim_scaled_add(dims, below, 1, x->terms[i].atom, coefficient);
    }
    interval range = interval_of(dims, below);
    if (range.low < 0 || range.high >= g)
      continue;
    best = g;
    *high = above;
    *low = below;
  }
  return best;
}

static onnxc_dim floordiv_constant(onnxc_dims *dims, onnxc_dim a, int64_t b) {
  onnxc_dim rest;
  int64_t whole;
  onnxc_dim quotient = divide_constant(dims, a, b, &rest);
  if (one_quotient(dims, rest, b, &whole))
    return onnxc_dim_addc(dims, quotient, whole);
  onnxc_dim_term one;
  onnxc_linear x = onnxc_dim_linear(dims, rest, &one);
  int64_t common = common_divisor(&x, b);
  if (common > 1)
    return onnxc_dim_add(dims, quotient, floordiv_constant(dims, shrink(dims, &x, common), b / common));
  onnxc_dim high, low;
  int64_t unit = split_low(dims, &x, b, &high, &low);
  if (unit)
    return onnxc_dim_add(dims, quotient, floordiv_constant(dims, high, b / unit));
  const onnxc_dim_node *atom = x.num_terms == 1 ? onnxc_dims_node(dims, x.terms[0].atom) : NULL;
  int64_t inner;
  if (atom && atom->kind == ONNXC_DIM_FLOORDIV && x.terms[0].coefficient == 1 &&
      onnxc_dim_is_const(dims, atom->b, &inner) && inner > 0 && fits64((wide)inner * b)) {
    /* (y floordiv m + c) floordiv b = (y + c*m) floordiv (b*m) */
    onnxc_dim y = onnxc_dim_addc(dims, atom->a, x.constant * inner);
    return onnxc_dim_add(dims, quotient, floordiv_constant(dims, y, inner * b));
  }
  bool negative = true;
  for (uint32_t i = 0; i < x.num_terms; i++)
    negative &= x.terms[i].coefficient < 0;
  if (negative) { /* x floordiv b = -((b - 1 - x) floordiv b): ceildiv's one form */
    onnxc_dim up = onnxc_dim_scaled_add(dims, onnxc_dim_const(dims, b - 1), 1, rest, -1);
    return onnxc_dim_scaled_add(dims, quotient, 1, floordiv_constant(dims, up, b), -1);
  }
  return onnxc_dim_add(dims, quotient, binary(dims, ONNXC_DIM_FLOORDIV, rest, onnxc_dim_const(dims, b)));
}

static onnxc_dim mod_constant(onnxc_dims *dims, onnxc_dim a, int64_t b) {
  onnxc_dim rest;
  int64_t whole;
  divide_constant(dims, a, b, &rest);
  if (one_quotient(dims, rest, b, &whole) && fits64((wide)whole * b))
    return onnxc_dim_addc(dims, rest, -whole * b);
  onnxc_dim_term one;
  onnxc_linear x = onnxc_dim_linear(dims, rest, &one);
  for (uint32_t i = 0; i < x.num_terms; i++) { /* (y mod m) mod b = y mod b when b divides m */
    const onnxc_dim_node *atom = onnxc_dims_node(dims, x.terms[i].atom);
    int64_t inner;
    if (atom->kind != ONNXC_DIM_MOD || !onnxc_dim_is_const(dims, atom->b, &inner) || inner % b != 0)
      continue;
    onnxc_dim other = onnxc_dim_scaled_add(dims, rest, 1, x.terms[i].atom, -x.terms[i].coefficient);
    other = onnxc_dim_scaled_add(dims, other, 1, atom->a, x.terms[i].coefficient);
    return mod_constant(dims, other, b);
  }
  int64_t common = common_divisor(&x, b);
  if (common > 1) {
    onnxc_dim small = mod_constant(dims, shrink(dims, &x, common), b / common);
    return onnxc_dim_addc(dims, onnxc_dim_mulc(dims, small, common), x.constant % common);
  }
  onnxc_dim high, low;
  int64_t unit = split_low(dims, &x, b, &high, &low);
  if (unit)
    return onnxc_dim_scaled_add(dims, low, 1, mod_constant(dims, high, b / unit), unit);
  return binary(dims, ONNXC_DIM_MOD, rest, onnxc_dim_const(dims, b));
}

/* 0 <= x < b for all values. */
static bool within(const onnxc_dims *dims, onnxc_dim x, onnxc_dim b) {
  interval range = interval_of(dims, x);
  return range.low >= 0 && range.high < interval_of(dims, b).low;
}

onnxc_dim onnxc_dim_floordiv(onnxc_dims *dims, onnxc_dim a, onnxc_dim b) {
  int64_t by, value;
  onnxc_dim rest;
  if (onnxc_dim_is_const(dims, b, &by)) {
    if (by == 0)
      return onnxc_dim_const(dims, 0);
    if (by == 1)
      return a;
    if (by == INT64_MIN || (by < 0 && onnxc_dim_is_const(dims, a, &value) && value == INT64_MIN))
      return binary(dims, ONNXC_DIM_FLOORDIV, a, b);
    return by < 0 ? onnxc_dim_floordiv(dims, onnxc_dim_mulc(dims, a, -1), onnxc_dim_const(dims, -by))
                  : floordiv_constant(dims, a, by);
  }
  onnxc_dim quotient = divide_symbolic(dims, a, b, &rest);
  if (onnxc_dim_is(dims, rest, 0) || within(dims, rest, b))
    return quotient;
  return onnxc_dim_add(dims, quotient, binary(dims, ONNXC_DIM_FLOORDIV, rest, b));
}

onnxc_dim onnxc_dim_ceildiv(onnxc_dims *dims, onnxc_dim a, onnxc_dim b) {
  return onnxc_dim_mulc(dims, onnxc_dim_floordiv(dims, onnxc_dim_mulc(dims, a, -1), b), -1);
}

onnxc_dim onnxc_dim_mod(onnxc_dims *dims, onnxc_dim a, onnxc_dim b) {
  int64_t by;
  onnxc_dim rest;
  if (onnxc_dim_is_const(dims, b, &by)) {
    if (by == 0 || by == 1 || by == -1)
      return onnxc_dim_const(dims, 0);
    if (by == INT64_MIN)
      return binary(dims, ONNXC_DIM_MOD, a, b);
    if (by < 0) /* -((-a) mod -b) */
      return onnxc_dim_mulc(dims, onnxc_dim_mod(dims, onnxc_dim_mulc(dims, a, -1), onnxc_dim_const(dims, -by)), -1);
    return mod_constant(dims, a, by);
  }
  divide_symbolic(dims, a, b, &rest);
  if (onnxc_dim_is(dims, rest, 0) || within(dims, rest, b))
    return rest;
  return binary(dims, ONNXC_DIM_MOD, rest, b);
}

/* ---- min, max, eq ---- */

/* -1 if a <= b for all values, 1 if a >= b, 0 if unknown. */
static int order_of(onnxc_dims *dims, onnxc_dim a, onnxc_dim b) {
  interval difference = interval_of(dims, onnxc_dim_sub(dims, a, b));
  interval x = interval_of(dims, a), y = interval_of(dims, b);
  if (difference.high <= 0 || x.high <= y.low)
    return -1;
  return difference.low >= 0 || x.low >= y.high ? 1 : 0;
}

/* sign 1: max, -1: min. */
static onnxc_dim extremum(onnxc_dims *dims, onnxc_dim a, onnxc_dim b, int sign) {
  onnxc_dim_kind kind = sign > 0 ? ONNXC_DIM_MAX : ONNXC_DIM_MIN;
  int order = order_of(dims, a, b) * sign;
  if (order)
    return order > 0 ? a : b;
  for (int side = 0; side < 2; side++) { /* a member of one side that the other side decides */
    onnxc_dim_node node = *onnxc_dims_node(dims, side ? b : a);
    onnxc_dim other = side ? a : b;
    if (node.kind != kind)
      continue;
    int first = order_of(dims, node.a, other) * sign, second = order_of(dims, node.b, other) * sign;
    if (first > 0 || second > 0)
      return side ? b : a;
    if (first < 0)
      return extremum(dims, other, node.b, sign);
    if (second < 0)
      return extremum(dims, other, node.a, sign);
  }
  return binary(dims, kind, a.i < b.i ? a : b, a.i < b.i ? b : a);
}

onnxc_dim onnxc_dim_min(onnxc_dims *dims, onnxc_dim a, onnxc_dim b) { return extremum(dims, a, b, -1); }
onnxc_dim onnxc_dim_max(onnxc_dims *dims, onnxc_dim a, onnxc_dim b) { return extremum(dims, a, b, 1); }

onnxc_dim onnxc_dim_eq(onnxc_dims *dims, onnxc_dim a, onnxc_dim b) {
  onnxc_dim difference = onnxc_dim_sub(dims, a, b);
  int64_t constant;
  if (onnxc_dim_is_const(dims, difference, &constant))
    return onnxc_dim_const(dims, constant == 0);
  interval range = interval_of(dims, difference);
  onnxc_dim_term one;
  onnxc_linear x = onnxc_dim_linear(dims, difference, &one);
  int64_t common = common_divisor(&x, 0);
  if (range.low > 0 || range.high < 0 || (common > 1 && x.constant % common != 0))
    return onnxc_dim_const(dims, 0);
  return binary(dims, ONNXC_DIM_EQ, a.i < b.i ? a : b, a.i < b.i ? b : a);
}

onnxc_dim onnxc_dim_select(onnxc_dims *dims, onnxc_dim c, onnxc_dim a, onnxc_dim b) {
  return onnxc_dim_add(dims, b, onnxc_dim_mul(dims, c, onnxc_dim_sub(dims, a, b)));
}
