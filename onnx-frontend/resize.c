/* resize.c -- see resize.h. */
#include "resize.h"

#include <math.h>

#include "shorthand.h"

bool onnxc_resize_fraction_of(float scale, int64_t *p, int64_t *q) {
  if (!(scale > 0) || scale > (float)(1 << 24) || scale < 1.0f / (float)(1 << 24))
    return false;
  for (int64_t bottom = 1; bottom <= 1024; bottom++) {
    double top = nearbyint((double)scale * (double)bottom);
    if (top >= 1 && (float)(top / (double)bottom) == scale) {
      *p = (int64_t)top;
      *q = bottom;
      return true;
    }
  }
  int exponent;
  double mantissa = ldexp(frexp((double)scale, &exponent), 24); /* below 2^24; scale = mantissa * 2^(exponent - 24) */
  int64_t top = (int64_t)mantissa;
  int shift = 24 - exponent;
  while (shift > 0 && top % 2 == 0) {
    top /= 2;
    shift--;
  }
  if (shift > 40)
    return false;
  *p = shift < 0 ? top << -shift : top;
  *q = shift > 0 ? (int64_t)1 << shift : 1;
  return true;
}

/* ---- coordinates ---- */

static onnxc_coordinate exact_coordinate(onnxc_dims *dims, const onnxc_resize *resize, const onnxc_resize_axis *axis) {
  onnxc_dim p = axis->p, q = axis->q, zero = onnxc_dim_const(dims, 0);
  onnxc_dim half = onnxc_dim_sub(dims, q, p); /* of (i + 1/2) / scale - 1/2 = (2*i*q + q - p) / (2*p) */
  onnxc_coordinate at = {.a = onnxc_dim_mulc(dims, q, 2), .b = half, .c = onnxc_dim_mulc(dims, p, 2)};
  switch (resize->coordinates) {
  case ONNXC_ASYMMETRIC: return (onnxc_coordinate){.a = q, .b = zero, .c = p};
  case ONNXC_ALIGN_CORNERS: { /* i * (in - 1) / (in*scale - 1); 0 when nothing is to be divided */
    onnxc_dim last = onnxc_dim_addc(dims, axis->in, -1), whole = onnxc_dim_mul(dims, axis->in, p);
    if (onnxc_dim_same(whole, onnxc_dim_mul(dims, axis->out, q)))
      return (onnxc_coordinate){.a = last, .b = zero, .c = onnxc_dim_addc(dims, axis->out, -1)};
    return (onnxc_coordinate){.a = onnxc_dim_mul(dims, last, q), .b = zero, .c = onnxc_dim_sub(dims, whole, q)};
  }
  case ONNXC_PYTORCH_HALF_PIXEL: { /* 0 when the output is one element */
    onnxc_dim one = onnxc_dim_eq(dims, axis->out, onnxc_dim_const(dims, 1));
    at.b = onnxc_dim_select(dims, one, zero, half);
    return at;
  }
  case ONNXC_TF_HALF_PIXEL_FOR_NN: /* (i + 1/2) / scale, but nothing moves when the scale is 1 */
    at.b = onnxc_dim_select(dims, onnxc_dim_eq(dims, p, q), zero, q);
    return at;
  case ONNXC_HALF_PIXEL_SYMMETRIC: { /* half_pixel about the middle: + in/2 - out / (2 * scale) */
    onnxc_dim off = onnxc_dim_sub(dims, onnxc_dim_mul(dims, axis->in, p), onnxc_dim_mul(dims, axis->out, q));
    at.b = onnxc_dim_add(dims, half, off);
    return at;
  }
  default: return at;
  }
}

static onnxc_expr f32(onnxc_exprs *pool, double value) { return onnxc_expr_f64(pool, ONNXC_F32, value); }
static onnxc_expr f32_dim(onnxc_exprs *pool, onnxc_dim dim) {
  return onnxc_expr_cast(pool, ONNXC_F32, e_dim(pool, dim));
}

/* top / bottom, or other where bottom is not above 0. */
static onnxc_expr safe_divide(onnxc_exprs *pool, onnxc_expr top, onnxc_expr bottom, onnxc_expr other) {
  return onnxc_expr_select(pool, e_gt(pool, bottom, f32(pool, 0)), e_div(pool, top, bottom), other);
}

static onnxc_expr float_coordinate(onnxc_graph *graph, const onnxc_resize *resize, const onnxc_resize_axis *axis,
                                   onnxc_expr index) {
  onnxc_exprs *pool = &graph->exprs;
  onnxc_expr i = onnxc_expr_cast(pool, ONNXC_F32, index), scale = axis->scale;
  onnxc_expr last = f32_dim(pool, onnxc_dim_addc(&graph->dims, axis->in, -1));
  if (resize->coordinates == ONNXC_TF_CROP_AND_RESIZE) {
    onnxc_expr length = e_mul(pool, e_sub(pool, axis->roi_end, axis->roi_start), last);
    onnxc_expr steps = f32_dim(pool, onnxc_dim_addc(&graph->dims, axis->out, -1));
    onnxc_expr x = safe_divide(pool, e_mul(pool, i, length), steps, e_mul(pool, length, f32(pool, 0.5)));
    return e_add(pool, x, e_mul(pool, axis->roi_start, last));
  }
  if (resize->coordinates == ONNXC_ASYMMETRIC)
    return e_div(pool, i, scale);
  onnxc_expr length = e_mul(pool, f32_dim(pool, axis->in), scale), zero = f32(pool, 0);
  if (resize->coordinates == ONNXC_ALIGN_CORNERS)
    return safe_divide(pool, e_mul(pool, i, last), e_sub(pool, length, f32(pool, 1)), zero);
  onnxc_expr x = e_div(pool, e_add(pool, i, f32(pool, 0.5)), scale);
  if (resize->coordinates == ONNXC_TF_HALF_PIXEL_FOR_NN)
    return onnxc_expr_select(pool, e_eq(pool, scale, f32(pool, 1)), i, x);
  if (resize->coordinates ==
      ONNXC_HALF_PIXEL_SYMMETRIC) { /* added first, as others do, since floor sees the rounding */
    onnxc_expr adjustment = e_div(pool, f32_dim(pool, axis->out), length);
    onnxc_expr middle = e_mul(pool, f32_dim(pool, axis->in), f32(pool, 0.5));
    x = e_add(pool, e_mul(pool, middle, e_sub(pool, f32(pool, 1), adjustment)), x);
  }
  x = e_sub(pool, x, f32(pool, 0.5));
  if (resize->coordinates == ONNXC_PYTORCH_HALF_PIXEL)
    return onnxc_expr_select(pool, e_gt(pool, f32_dim(pool, axis->out), f32(pool, 1)), x, zero);
  return x;
}

onnxc_coordinate onnxc_resize_coordinate(onnxc_graph *graph, const onnxc_resize *resize, const onnxc_resize_axis *axis,
                                         onnxc_expr i) {
  onnxc_coordinate at = {.i = i};
  if (axis->p.i && resize->coordinates != ONNXC_TF_CROP_AND_RESIZE)
    at = exact_coordinate(&graph->dims, resize, axis);
  else
    at.x = float_coordinate(graph, resize, axis, i);
  at.i = i;
  return at;
}

/* ---- rounding ---- */

static int64_t gcd(int64_t a, int64_t b) {
  while (b) {
    int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a < 0 ? -a : a;
}

static void reduce(onnxc_dims *dims, onnxc_dim *a, onnxc_dim *b, onnxc_dim *c, int64_t by) {
  onnxc_dim divisor = onnxc_dim_const(dims, by);
  *a = onnxc_dim_floordiv(dims, *a, divisor);
  *b = onnxc_dim_floordiv(dims, *b, divisor);
  *c = onnxc_dim_floordiv(dims, *c, divisor);
}

/* (a*i + b) floordiv c in lowest terms: (g*a*i + b) floordiv (g*c) = (a*i + b floordiv g) floordiv c for whole i. */
static void reduce_floor(onnxc_dims *dims, onnxc_dim *a, onnxc_dim *b, onnxc_dim *c) {
  int64_t x, z;
  if (onnxc_dim_is_const(dims, *a, &x) && onnxc_dim_is_const(dims, *c, &z) && z > 0 && gcd(x, z) > 1)
    reduce(dims, a, b, c, gcd(x, z));
}

static onnxc_expr floor_index(onnxc_graph *graph, onnxc_expr i, onnxc_dim a, onnxc_dim b, onnxc_dim c) {
  onnxc_exprs *pool = &graph->exprs;
  reduce_floor(&graph->dims, &a, &b, &c);
  return e_floordiv(pool, e_add(pool, e_mul(pool, i, e_dim(pool, a)), e_dim(pool, b)), e_dim(pool, c));
}

onnxc_expr onnxc_resize_clamp(onnxc_graph *graph, onnxc_expr index, onnxc_dim extent) {
  onnxc_exprs *pool = &graph->exprs;
  return e_min(pool, e_max(pool, index, e_int(pool, 0)), e_dim(pool, onnxc_dim_addc(&graph->dims, extent, -1)));
}

/* a * out, or what it is at most in terms of the input: out = (in*p) floordiv q, so q * out <= in * p. */
static onnxc_dim scaled_extent(onnxc_dims *dims, const onnxc_resize_axis *axis, onnxc_dim a) {
  int64_t times, p, q;
  if (axis->p.i && onnxc_dim_is_const(dims, a, &times) && onnxc_dim_is_const(dims, axis->p, &p) &&
      onnxc_dim_is_const(dims, axis->q, &q) && q > 0 && times > 0 && times % q == 0) {
    onnxc_dim whole = onnxc_dim_mulc(dims, axis->in, p);
    if (onnxc_dim_same(axis->out, onnxc_dim_floordiv(dims, whole, axis->q)))
      return onnxc_dim_mulc(dims, whole, times / q);
  }
  return onnxc_dim_mul(dims, a, axis->out);
}

/* Whether top floordiv bottom + offset may be above the axis' last index. */
static bool may_exceed(onnxc_dims *dims, const onnxc_resize_axis *axis, onnxc_dim top, onnxc_dim bottom, int offset) {
  int64_t low, high;
  onnxc_dim limit = onnxc_dim_addc(dims, axis->in, -1 - offset);
  onnxc_dim_range(dims, onnxc_dim_sub(dims, onnxc_dim_floordiv(dims, top, bottom), limit), &low, &high);
  return high > 0;
}

/* (a*i + b) floordiv c + offset clamped into the axis for 0 <= i < out, on the sides where that matters. */
static onnxc_expr clamped_floor(onnxc_graph *graph, const onnxc_resize_axis *axis, onnxc_expr i, onnxc_dim a,
                                onnxc_dim b, onnxc_dim c, int offset) {
  onnxc_exprs *pool = &graph->exprs;
  onnxc_dims *dims = &graph->dims;
  onnxc_expr index = e_addc(pool, floor_index(graph, i, a, b, c), offset);
  onnxc_dim full = c; /* of the coordinate as it came, which `end` belongs to */
  onnxc_dim end = onnxc_dim_add(dims, onnxc_dim_sub(dims, scaled_extent(dims, axis, a), a), b);
  reduce_floor(dims, &a, &b, &c);
  onnxc_dim last = onnxc_dim_add(dims, onnxc_dim_mul(dims, a, onnxc_dim_addc(dims, axis->out, -1)), b);
  int64_t low, high;
  onnxc_dim_range(dims, onnxc_dim_addc(dims, onnxc_dim_floordiv(dims, b, c), offset), &low, &high);
  if (low < 0)
    index = e_max(pool, index, e_int(pool, 0));
  if (may_exceed(dims, axis, last, c, offset) && may_exceed(dims, axis, end, full, offset))
    index = e_min(pool, index, e_dim(pool, onnxc_dim_addc(dims, axis->in, -1)));
  return index;
}

/* A scale below 1, where it is known. */
static bool shrinks(const onnxc_dims *dims, const onnxc_resize_axis *axis) {
  int64_t p, q;
  return onnxc_dim_is_const(dims, axis->p, &p) && onnxc_dim_is_const(dims, axis->q, &q) && p < q;
}

onnxc_expr onnxc_resize_nearest(onnxc_graph *graph, const onnxc_resize *resize, const onnxc_resize_axis *axis,
                                const onnxc_coordinate *at) {
  onnxc_exprs *pool = &graph->exprs;
  onnxc_dims *dims = &graph->dims;
  if (at->a.i) {
    onnxc_dim a = at->a, b = at->b, c = at->c;
    switch (resize->rounding) {
    case ONNXC_ROUND_FLOOR: break;
    case ONNXC_ROUND_SIMPLE: b = shrinks(dims, axis) ? onnxc_dim_addc(dims, onnxc_dim_add(dims, b, c), -1) : b; break;
    case ONNXC_ROUND_CEIL: b = onnxc_dim_addc(dims, onnxc_dim_add(dims, b, c), -1); break;
    case ONNXC_ROUND_PREFER_CEIL:  /* floor(x + 1/2) */
    case ONNXC_ROUND_PREFER_FLOOR: /* ceil(x - 1/2) */
      a = onnxc_dim_mulc(dims, a, 2);
      b = onnxc_dim_add(dims, onnxc_dim_mulc(dims, b, 2), c);
      b = onnxc_dim_addc(dims, b, resize->rounding == ONNXC_ROUND_PREFER_FLOOR ? -1 : 0);
      c = onnxc_dim_mulc(dims, c, 2);
      break;
    }
    return clamped_floor(graph, axis, at->i, a, b, c, 0);
  }
  onnxc_expr x = at->x, half = f32(pool, 0.5);
  switch (resize->rounding) {
  case ONNXC_ROUND_FLOOR: x = onnxc_expr_unary(pool, ONNXC_EXPR_FLOOR, x); break;
  case ONNXC_ROUND_CEIL: x = onnxc_expr_unary(pool, ONNXC_EXPR_CEIL, x); break;
  case ONNXC_ROUND_PREFER_CEIL: x = onnxc_expr_unary(pool, ONNXC_EXPR_FLOOR, e_add(pool, x, half)); break;
  case ONNXC_ROUND_PREFER_FLOOR: x = onnxc_expr_unary(pool, ONNXC_EXPR_CEIL, e_sub(pool, x, half)); break;
  case ONNXC_ROUND_SIMPLE:
    x = onnxc_expr_select(pool, e_lt(pool, axis->scale, f32(pool, 1)), onnxc_expr_unary(pool, ONNXC_EXPR_CEIL, x),
                          onnxc_expr_unary(pool, ONNXC_EXPR_FLOOR, x));
    break;
  }
  return onnxc_resize_clamp(graph, e_i64(pool, x), axis->in);
}

onnxc_expr onnxc_resize_floor(onnxc_graph *graph, const onnxc_coordinate *at) {
  if (at->a.i)
    return floor_index(graph, at->i, at->a, at->b, at->c);
  return e_i64(&graph->exprs, onnxc_expr_unary(&graph->exprs, ONNXC_EXPR_FLOOR, at->x));
}

onnxc_expr onnxc_resize_tap(onnxc_graph *graph, const onnxc_resize_axis *axis, const onnxc_coordinate *at, int offset) {
  if (at->a.i)
    return clamped_floor(graph, axis, at->i, at->a, at->b, at->c, offset);
  return onnxc_resize_clamp(graph, e_addc(&graph->exprs, onnxc_resize_floor(graph, at), offset), axis->in);
}

onnxc_expr onnxc_resize_fraction(onnxc_graph *graph, const onnxc_coordinate *at, onnxc_dtype dtype) {
  onnxc_exprs *pool = &graph->exprs;
  if (!at->a.i)
    return onnxc_expr_cast(pool, dtype, e_sub(pool, at->x, onnxc_expr_unary(pool, ONNXC_EXPR_FLOOR, at->x)));
  onnxc_dim a = at->a, b = at->b, c = at->c;
  int64_t x, y, z;
  if (onnxc_dim_is_const(&graph->dims, a, &x) && onnxc_dim_is_const(&graph->dims, b, &y) &&
      onnxc_dim_is_const(&graph->dims, c, &z) && gcd(gcd(x, y), z) > 1)
    reduce(&graph->dims, &a, &b, &c, gcd(gcd(x, y), z));
  onnxc_expr top = e_add(pool, e_mul(pool, at->i, e_dim(pool, a)), e_dim(pool, b));
  onnxc_expr rest = onnxc_expr_cast(pool, dtype, e_mod(pool, top, e_dim(pool, c)));
  /* A divisor of 0 means one output element, at 0; mod gave 0. */
  onnxc_dim divisor = onnxc_dim_max(&graph->dims, c, onnxc_dim_const(&graph->dims, 1));
  return e_div(pool, rest, onnxc_expr_cast(pool, dtype, e_dim(pool, divisor)));
}

/* ---- weights ---- */

static onnxc_expr number(onnxc_exprs *pool, onnxc_expr like, double value) { return e_number(pool, like, value); }

/* ((a*x - 5a)*x + 8a)*x - 4a, for distances of 1 to 2 */
static onnxc_expr cubic_outer(onnxc_exprs *pool, double a, onnxc_expr x) {
  onnxc_expr sum = e_sub(pool, e_mul(pool, x, number(pool, x, a)), number(pool, x, 5 * a));
  sum = e_add(pool, e_mul(pool, sum, x), number(pool, x, 8 * a));
  return e_sub(pool, e_mul(pool, sum, x), number(pool, x, 4 * a));
}

/* ((a + 2)*x - (a + 3))*x*x + 1, for distances of 0 to 1 */
static onnxc_expr cubic_inner(onnxc_exprs *pool, double a, onnxc_expr x) {
  onnxc_expr sum = e_sub(pool, e_mul(pool, x, number(pool, x, a + 2)), number(pool, x, a + 3));
  return e_add(pool, e_mul(pool, sum, e_mul(pool, x, x)), number(pool, x, 1));
}

uint32_t onnxc_resize_weights(onnxc_graph *graph, const onnxc_resize *resize, onnxc_expr fraction, int *first,
                              onnxc_expr *weights) {
  onnxc_exprs *pool = &graph->exprs;
  onnxc_expr one = number(pool, fraction, 1), rest = e_sub(pool, one, fraction);
  if (resize->mode == ONNXC_RESIZE_LINEAR) {
    *first = 0;
    weights[0] = rest;
    weights[1] = fraction;
    return 2;
  }
  *first = -1;
  weights[0] = cubic_outer(pool, resize->cubic_a, e_add(pool, fraction, one));
  weights[1] = cubic_inner(pool, resize->cubic_a, fraction);
  weights[2] = cubic_inner(pool, resize->cubic_a, rest);
  weights[3] = cubic_outer(pool, resize->cubic_a, e_add(pool, rest, one));
  return 4;
}

onnxc_expr onnxc_resize_filter(onnxc_graph *graph, const onnxc_resize *resize, onnxc_expr x) {
  onnxc_exprs *pool = &graph->exprs;
  onnxc_expr zero = number(pool, x, 0), one = number(pool, x, 1);
  x = e_abs(pool, x);
  if (resize->mode == ONNXC_RESIZE_LINEAR)
    return e_max(pool, e_sub(pool, one, x), zero);
  onnxc_expr outer =
      onnxc_expr_select(pool, e_lt(pool, x, number(pool, x, 2)), cubic_outer(pool, resize->cubic_a, x), zero);
  return onnxc_expr_select(pool, e_le(pool, x, one), cubic_inner(pool, resize->cubic_a, x), outer);
}
