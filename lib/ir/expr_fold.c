/* expr_fold.c -- local simplification of expressions as they are built.
 *
 * The law: a rule gives the same value for every input, NaN, infinities and
 * signed zeros included (a NaN's sign and payload are not values), so x + 0.0
 * stays while x + -0.0 goes; constants fold only for operations that are
 * correctly rounded or exact. Each rule makes the expression smaller, moves
 * a constant to the right once, or makes a division a product, so building ends.
 * Integer i64 leaves that are dims are folded by the dim algebra; a constant or
 * dim stands on the right of add and mul.
 */
#include "ir/expr_private.h"

#include <float.h>
#include <math.h>
#include <string.h>

static const onnxc_expr none = {0};

static onnxc_dtype dtype_of(const onnxc_exprs *pool, onnxc_expr e) {
  return (onnxc_dtype)onnxc_exprs_node(pool, e)->dtype;
}
static onnxc_expr_op op_of(const onnxc_exprs *pool, onnxc_expr e) {
  return (onnxc_expr_op)onnxc_exprs_node(pool, e)->op;
}
static onnxc_expr arg_of(const onnxc_exprs *pool, onnxc_expr e, uint32_t which) {
  return onnxc_exprs_node(pool, e)->args[which];
}
static onnxc_expr boolean(onnxc_exprs *pool, bool value) { return onnxc_expr_i64(pool, ONNXC_BOOL, value); }

static bool is_number(onnxc_dtype dtype) {
  return onnxc_dtype_is_float(dtype) || onnxc_dtype_is_int(dtype) || onnxc_dtype_is_bool(dtype);
}

/* An integer constant or a dim: what the dim algebra knows. */
static bool is_dim(const onnxc_exprs *pool, onnxc_expr e) {
  return dtype_of(pool, e) == ONNXC_I64 && (op_of(pool, e) == ONNXC_EXPR_CONST || op_of(pool, e) == ONNXC_EXPR_DIM);
}

static onnxc_dim dim_of(onnxc_exprs *pool, onnxc_expr e) {
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  return node->op == ONNXC_EXPR_CONST ? onnxc_dim_const(pool->dims, node->imm) : (onnxc_dim){(uint32_t)node->imm};
}

static bool is_int_const(const onnxc_exprs *pool, onnxc_expr e, int64_t value) {
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  return node->op == ONNXC_EXPR_CONST && !onnxc_dtype_is_float((onnxc_dtype)node->dtype) && node->imm == value;
}

static bool is_float_const(const onnxc_exprs *pool, onnxc_expr e, double value) {
  double f;
  return onnxc_dtype_is_float(dtype_of(pool, e)) && onnxc_expr_const_value(pool, e, &f, NULL) && f == value &&
         signbit(f) == signbit(value);
}

static bool is_one(const onnxc_exprs *pool, onnxc_expr e) {
  return is_int_const(pool, e, 1) || is_float_const(pool, e, 1);
}

/* ---- unary ---- */

static onnxc_expr fold_unary_float(onnxc_exprs *pool, onnxc_expr_op op, onnxc_dtype dtype, double x) {
  double value;
  switch (op) {
  case ONNXC_EXPR_NEG: value = -x; break;
  case ONNXC_EXPR_ABS: value = fabs(x); break;
  case ONNXC_EXPR_SIGN: value = isnan(x) ? x : (double)((x > 0) - (x < 0)); break;
  case ONNXC_EXPR_SQRT: value = sqrt(x); break;
  case ONNXC_EXPR_FLOOR: value = floor(x); break;
  case ONNXC_EXPR_CEIL: value = ceil(x); break;
  case ONNXC_EXPR_ROUND: value = nearbyint(x); break;
  case ONNXC_EXPR_TRUNC: value = trunc(x); break;
  case ONNXC_EXPR_ISNAN: return boolean(pool, isnan(x));
  default: return none;
  }
  return onnxc_expr_f64(pool, dtype, value);
}

static onnxc_expr fold_unary_int(onnxc_exprs *pool, onnxc_expr_op op, onnxc_dtype dtype, int64_t x) {
  bool negative = onnxc_dtype_is_signed(dtype) && x < 0;
  switch (op) {
  case ONNXC_EXPR_NEG: return onnxc_expr_i64(pool, dtype, (int64_t)(0 - (uint64_t)x));
  case ONNXC_EXPR_ABS: return onnxc_expr_i64(pool, dtype, negative ? (int64_t)(0 - (uint64_t)x) : x);
  case ONNXC_EXPR_SIGN: return onnxc_expr_i64(pool, dtype, negative ? -1 : x != 0);
  case ONNXC_EXPR_NOT: return dtype == ONNXC_BOOL ? boolean(pool, !x) : onnxc_expr_i64(pool, dtype, ~x);
  default: return none;
  }
}

onnxc_expr onnxc_expr_fold_unary(onnxc_exprs *pool, onnxc_expr_op op, onnxc_expr a) {
  onnxc_dtype dtype = dtype_of(pool, a);
  if (!is_number(dtype))
    return none;
  bool integer = !onnxc_dtype_is_float(dtype);
  const onnxc_expr_node *node = onnxc_exprs_node(pool, a);
  switch (op) {
  case ONNXC_EXPR_NEG:
  case ONNXC_EXPR_NOT:
    if (op_of(pool, a) == op)
      return arg_of(pool, a, 0);
    if (op == ONNXC_EXPR_NEG && node->op == ONNXC_EXPR_DIM)
      return onnxc_expr_dim(pool, onnxc_dim_mulc(pool->dims, dim_of(pool, a), -1));
    break;
  case ONNXC_EXPR_ABS:
    if (node->op == ONNXC_EXPR_NEG)
      return onnxc_expr_unary(pool, op, node->args[0]);
    if (node->op == ONNXC_EXPR_ABS || (integer && !onnxc_dtype_is_signed(dtype)))
      return a;
    break;
  case ONNXC_EXPR_FLOOR:
  case ONNXC_EXPR_CEIL:
  case ONNXC_EXPR_ROUND:
  case ONNXC_EXPR_TRUNC:
    if (integer || (node->op >= ONNXC_EXPR_FLOOR && node->op <= ONNXC_EXPR_TRUNC))
      return a;
    break;
  case ONNXC_EXPR_ISNAN:
    if (integer)
      return boolean(pool, false);
    break;
  default: break;
  }
  double f;
  int64_t i;
  if (!onnxc_expr_const_value(pool, a, &f, &i))
    return none;
  return integer ? fold_unary_int(pool, op, dtype, i) : fold_unary_float(pool, op, dtype, f);
}

/* ---- binary: constants ---- */

static bool compare(onnxc_expr_op op, int order, bool unordered) {
  if (unordered)
    return op == ONNXC_EXPR_NE;
  switch (op) {
  case ONNXC_EXPR_EQ: return order == 0;
  case ONNXC_EXPR_NE: return order != 0;
  case ONNXC_EXPR_LT: return order < 0;
  case ONNXC_EXPR_LE: return order <= 0;
  case ONNXC_EXPR_GT: return order > 0;
  default: return order >= 0;
  }
}

static bool is_comparison(onnxc_expr_op op) { return op >= ONNXC_EXPR_EQ && op <= ONNXC_EXPR_GE; }

/* In double, then rounded: for the narrower types that is the correctly rounded result of + - * and /. */
static onnxc_expr fold_binary_float(onnxc_exprs *pool, onnxc_expr_op op, onnxc_dtype dtype, double x, double y) {
  if (is_comparison(op))
    return boolean(pool, compare(op, (x > y) - (x < y), isnan(x) || isnan(y)));
  switch (op) {
  case ONNXC_EXPR_ADD: return onnxc_expr_f64(pool, dtype, x + y);
  case ONNXC_EXPR_SUB: return onnxc_expr_f64(pool, dtype, x - y);
  case ONNXC_EXPR_MUL: return onnxc_expr_f64(pool, dtype, x * y);
  case ONNXC_EXPR_DIV: return onnxc_expr_f64(pool, dtype, x / y);
  case ONNXC_EXPR_MIN: return onnxc_expr_f64(pool, dtype, isnan(x) || isnan(y) ? NAN : x < y ? x : y);
  case ONNXC_EXPR_MAX: return onnxc_expr_f64(pool, dtype, isnan(x) || isnan(y) ? NAN : x > y ? x : y);
  case ONNXC_EXPR_REM: return onnxc_expr_f64(pool, dtype, fmod(x, y));
  default: return none;
  }
}

static unsigned bits_of(onnxc_dtype dtype) {
  static const uint8_t bits[ONNXC_DTYPE_COUNT] = {
#define X(NAME, text, number, bytes, bits, kind) [number] = bits,
      ONNXC_DTYPES(X)
#undef X
  };
  return dtype == ONNXC_BOOL ? 1 : bits[dtype];
}

static onnxc_expr fold_binary_int(onnxc_exprs *pool, onnxc_expr_op op, onnxc_dtype dtype, int64_t x, int64_t y) {
  bool is_signed = onnxc_dtype_is_signed(dtype);
  uint64_t ux = (uint64_t)x, uy = (uint64_t)y, value;
  int order = is_signed ? (x > y) - (x < y) : (ux > uy) - (ux < uy);
  if (is_comparison(op))
    return boolean(pool, compare(op, order, false));
  bool negate = is_signed && y == -1; /* INT64_MIN / -1 traps */
  int64_t quotient = 0, rest = 0;
  if (y != 0) {
    quotient = negate ? (int64_t)(0 - ux) : is_signed ? x / y : (int64_t)(ux / uy);
    rest = negate ? 0 : is_signed ? x % y : (int64_t)(ux % uy);
  }
  bool beyond = uy >= 64 || uy >= bits_of(dtype);
  bool round_down = is_signed && rest != 0 && (rest < 0) != (y < 0);
  switch (op) {
  case ONNXC_EXPR_ADD: value = ux + uy; break;
  case ONNXC_EXPR_SUB: value = ux - uy; break;
  case ONNXC_EXPR_MUL: value = ux * uy; break;
  case ONNXC_EXPR_DIV: value = (uint64_t)quotient; break;
  case ONNXC_EXPR_REM: value = (uint64_t)rest; break;
  case ONNXC_EXPR_FLOORDIV: value = (uint64_t)(quotient - round_down); break;
  case ONNXC_EXPR_MOD: value = (uint64_t)(round_down ? rest + y : rest); break;
  case ONNXC_EXPR_MIN: value = order < 0 ? ux : uy; break;
  case ONNXC_EXPR_MAX: value = order > 0 ? ux : uy; break;
  case ONNXC_EXPR_AND: value = ux & uy; break;
  case ONNXC_EXPR_OR: value = ux | uy; break;
  case ONNXC_EXPR_XOR: value = ux ^ uy; break;
  case ONNXC_EXPR_SHL: value = beyond ? 0 : ux << uy; break;
  case ONNXC_EXPR_SHR: value = beyond ? 0 : is_signed ? (uint64_t)(x >> uy) : ux >> uy; break;
  default: return none;
  }
  return onnxc_expr_i64(pool, dtype, (int64_t)value);
}

/* ---- binary: dims ---- */

static onnxc_expr fold_dims(onnxc_exprs *pool, onnxc_expr_op op, onnxc_expr a, onnxc_expr b) {
  onnxc_dims *dims = pool->dims;
  onnxc_dim x = dim_of(pool, a), y = dim_of(pool, b);
  int64_t low, high, low_x, high_x, low_y, high_y;
  onnxc_dim_range(dims, onnxc_dim_sub(dims, x, y), &low, &high);
  onnxc_dim_range(dims, x, &low_x, &high_x);
  onnxc_dim_range(dims, y, &low_y, &high_y);
  switch (op) {
  case ONNXC_EXPR_ADD: return onnxc_expr_dim(pool, onnxc_dim_add(dims, x, y));
  case ONNXC_EXPR_SUB: return onnxc_expr_dim(pool, onnxc_dim_sub(dims, x, y));
  case ONNXC_EXPR_MUL: return onnxc_expr_dim(pool, onnxc_dim_mul(dims, x, y));
  case ONNXC_EXPR_FLOORDIV: return onnxc_expr_dim(pool, onnxc_dim_floordiv(dims, x, y));
  case ONNXC_EXPR_MOD: return onnxc_expr_dim(pool, onnxc_dim_mod(dims, x, y));
  case ONNXC_EXPR_MIN: return onnxc_expr_dim(pool, onnxc_dim_min(dims, x, y));
  case ONNXC_EXPR_MAX: return onnxc_expr_dim(pool, onnxc_dim_max(dims, x, y));
  case ONNXC_EXPR_DIV: /* truncates: the same where nothing is negative */
    return low_x >= 0 && low_y >= 0 ? onnxc_expr_dim(pool, onnxc_dim_floordiv(dims, x, y)) : none;
  case ONNXC_EXPR_EQ:
  case ONNXC_EXPR_NE: {
    int64_t value;
    if (!onnxc_dim_is_const(dims, onnxc_dim_eq(dims, x, y), &value))
      return none;
    return boolean(pool, (op == ONNXC_EXPR_EQ) == (value != 0));
  }
  case ONNXC_EXPR_LT: return high < 0 ? boolean(pool, true) : low >= 0 ? boolean(pool, false) : none;
  case ONNXC_EXPR_LE: return high <= 0 ? boolean(pool, true) : low > 0 ? boolean(pool, false) : none;
  case ONNXC_EXPR_GT: return low > 0 ? boolean(pool, true) : high <= 0 ? boolean(pool, false) : none;
  case ONNXC_EXPR_GE: return low >= 0 ? boolean(pool, true) : high < 0 ? boolean(pool, false) : none;
  default: return none;
  }
}

/* ---- binary: identities ---- */

static onnxc_expr fold_same(onnxc_exprs *pool, onnxc_expr_op op, onnxc_expr a, bool integer) {
  switch (op) {
  case ONNXC_EXPR_MIN:
  case ONNXC_EXPR_MAX:
  case ONNXC_EXPR_AND:
  case ONNXC_EXPR_OR: return a;
  case ONNXC_EXPR_SUB:
  case ONNXC_EXPR_XOR: return integer ? onnxc_expr_i64(pool, dtype_of(pool, a), 0) : none;
  case ONNXC_EXPR_EQ:
  case ONNXC_EXPR_LE:
  case ONNXC_EXPR_GE: return integer ? boolean(pool, true) : none; /* NaN is not equal to itself */
  case ONNXC_EXPR_NE:
  case ONNXC_EXPR_LT:
  case ONNXC_EXPR_GT: return integer || op != ONNXC_EXPR_NE ? boolean(pool, false) : none;
  default: return none;
  }
}

/* 1 / b for a power of two of which both are normal: then x / b = x * (1 / b) for every x. */
static onnxc_expr exact_inverse(onnxc_exprs *pool, onnxc_expr b) {
  onnxc_dtype dtype = dtype_of(pool, b);
  double f;
  int exponent, least = dtype == ONNXC_F32 ? FLT_MIN_EXP : DBL_MIN_EXP;
  if ((dtype != ONNXC_F32 && dtype != ONNXC_F64) || !onnxc_expr_const_value(pool, b, &f, NULL) ||
      fabs(frexp(f, &exponent)) != 0.5 || exponent < least || exponent > 2 - least)
    return none;
  return onnxc_expr_f64(pool, dtype, 1 / f);
}

static onnxc_expr fold_identity(onnxc_exprs *pool, onnxc_expr_op op, onnxc_expr a, onnxc_expr b, onnxc_dtype dtype) {
  bool zero = is_int_const(pool, b, 0), one = is_one(pool, b), is_bool = dtype == ONNXC_BOOL;
  bool ones = is_bool ? is_int_const(pool, b, 1)
                      : op_of(pool, b) == ONNXC_EXPR_CONST && onnxc_dtype_is_int(dtype) &&
                            b.i == onnxc_expr_i64(pool, dtype, -1).i;
  switch (op) {
  case ONNXC_EXPR_ADD: return zero || is_float_const(pool, b, -0.0) ? a : none;
  case ONNXC_EXPR_SUB: return zero || is_float_const(pool, b, 0.0) ? a : none;
  case ONNXC_EXPR_MUL: return one ? a : zero ? b : none;
  case ONNXC_EXPR_DIV: return one ? a : none;
  case ONNXC_EXPR_FLOORDIV: return one && onnxc_dtype_is_int(dtype) ? a : none;
  case ONNXC_EXPR_MOD:
  case ONNXC_EXPR_REM: return one && onnxc_dtype_is_int(dtype) ? onnxc_expr_i64(pool, dtype, 0) : none;
  case ONNXC_EXPR_AND: return zero ? b : ones ? a : none;
  case ONNXC_EXPR_OR: return zero ? a : ones ? b : none;
  case ONNXC_EXPR_XOR:
  case ONNXC_EXPR_SHL:
  case ONNXC_EXPR_SHR: return zero ? a : none;
  case ONNXC_EXPR_EQ: return is_bool && ones ? a : none;
  case ONNXC_EXPR_NE: return is_bool && zero ? a : none;
  default: return none;
  }
}

static bool is_commutative(onnxc_expr_op op) {
  switch (op) {
  case ONNXC_EXPR_ADD:
  case ONNXC_EXPR_MUL:
  case ONNXC_EXPR_MIN:
  case ONNXC_EXPR_MAX:
  case ONNXC_EXPR_AND:
  case ONNXC_EXPR_OR:
  case ONNXC_EXPR_XOR:
  case ONNXC_EXPR_EQ:
  case ONNXC_EXPR_NE: return true;
  default: return false;
  }
}

static bool is_fixed(const onnxc_exprs *pool, onnxc_expr e) {
  return op_of(pool, e) == ONNXC_EXPR_CONST || op_of(pool, e) == ONNXC_EXPR_DIM;
}

onnxc_expr onnxc_expr_fold_binary(onnxc_exprs *pool, onnxc_expr_op op, onnxc_expr a, onnxc_expr b) {
  onnxc_dtype dtype = dtype_of(pool, a);
  if (!is_number(dtype))
    return none;
  bool integer = !onnxc_dtype_is_float(dtype);
  double fx, fy;
  int64_t ix, iy;
  if (onnxc_expr_const_value(pool, a, &fx, &ix) && onnxc_expr_const_value(pool, b, &fy, &iy))
    return integer ? fold_binary_int(pool, op, dtype, ix, iy) : fold_binary_float(pool, op, dtype, fx, fy);
  if (is_dim(pool, a) && is_dim(pool, b)) {
    onnxc_expr folded = fold_dims(pool, op, a, b);
    if (folded.i)
      return folded;
  }
  if (is_commutative(op) && is_fixed(pool, a) && !is_fixed(pool, b))
    return onnxc_expr_binary(pool, op, b, a);
  onnxc_expr folded = a.i == b.i ? fold_same(pool, op, a, integer) : none;
  if (!folded.i)
    folded = fold_identity(pool, op, a, b, dtype);
  if (folded.i)
    return folded;
  onnxc_expr inverse = op == ONNXC_EXPR_DIV ? exact_inverse(pool, b) : none;
  if (inverse.i)
    return onnxc_expr_binary(pool, ONNXC_EXPR_MUL, a, inverse);
  /* (x + p) + q = x + (p + q), also with dims; integers wrap, so this is exact. x - q = x + (-q) likewise. */
  bool fixed = is_fixed(pool, b) && onnxc_dtype_is_int(dtype);
  if (op == ONNXC_EXPR_SUB && fixed)
    return onnxc_expr_binary(pool, ONNXC_EXPR_ADD, a, onnxc_expr_unary(pool, ONNXC_EXPR_NEG, b));
  if ((op == ONNXC_EXPR_ADD || op == ONNXC_EXPR_MUL) && fixed && op_of(pool, a) == op &&
      is_fixed(pool, arg_of(pool, a, 1)))
    return onnxc_expr_binary(pool, op, arg_of(pool, a, 0), onnxc_expr_binary(pool, op, arg_of(pool, a, 1), b));
  return none;
}

/* ---- casts ---- */

/* Every value of `from` is a value of `to`. */
static bool holds_all(onnxc_dtype from, onnxc_dtype to) {
  if (from == to || from == ONNXC_BOOL)
    return onnxc_dtype_is_int(to) || onnxc_dtype_is_float(to) || from == to;
  if (onnxc_dtype_is_int(from) && onnxc_dtype_is_int(to))
    return onnxc_dtype_is_signed(from) == onnxc_dtype_is_signed(to)
               ? bits_of(from) <= bits_of(to)
               : onnxc_dtype_is_signed(to) && bits_of(from) < bits_of(to);
  if (onnxc_dtype_is_float(from))
    return (to == ONNXC_F64 && from != ONNXC_F64) || (to == ONNXC_F32 && (from == ONNXC_F16 || from == ONNXC_BF16));
  return onnxc_dtype_is_int(from) &&
         ((to == ONNXC_F64 && bits_of(from) <= 32) || (to == ONNXC_F32 && bits_of(from) <= 16));
}

onnxc_expr onnxc_expr_fold_cast(onnxc_exprs *pool, onnxc_dtype dtype, onnxc_expr a) {
  const onnxc_expr_node *node = onnxc_exprs_node(pool, a);
  onnxc_dtype from = (onnxc_dtype)node->dtype;
  if (from == dtype)
    return a;
  if (!is_number(from) || !is_number(dtype))
    return none;
  if (node->op == ONNXC_EXPR_CONST) {
    double f;
    int64_t i;
    onnxc_expr_const_value(pool, a, &f, &i);
    if (onnxc_dtype_is_float(from) || (onnxc_dtype_is_float(dtype) && from == ONNXC_U64))
      return onnxc_expr_f64(pool, dtype, f);
    return onnxc_expr_i64(pool, dtype, i);
  }
  /* The inner cast loses nothing, so the outer one may as well start from its argument. */
  if (node->op == ONNXC_EXPR_CAST && holds_all(dtype_of(pool, node->args[0]), from))
    return onnxc_expr_cast(pool, dtype, node->args[0]);
  return none;
}
