/* Expressions: sharing, the simplifications that are exact and those that must not happen,
 * rewriting, affine forms; and the scalar conversions of dtype.h. */
#include "ir/expr.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static onnxc_guard guard;
static onnxc_arena arena;
static onnxc_dims dims;
static onnxc_exprs pool;

static void setup(void) {
  if (setjmp(guard.env))
    abort();
  onnxc_arena_init(&arena, &guard);
  onnxc_dims_init(&dims, &arena);
  onnxc_exprs_init(&pool, &dims, &arena);
}
static void teardown(void) { onnxc_arena_free(&arena); }
TestSuite(expr, .init = setup, .fini = teardown);

static onnxc_expr f(double value) { return onnxc_expr_f64(&pool, ONNXC_F32, value); }
static onnxc_expr n(int64_t value) { return onnxc_expr_i64(&pool, ONNXC_I64, value); }
static onnxc_expr x(void) { return onnxc_expr_load(&pool, ONNXC_F32, 0, 0, NULL); }
static onnxc_expr k(void) { return onnxc_expr_load(&pool, ONNXC_I64, 1, 0, NULL); }
static onnxc_expr c(void) { return onnxc_expr_load(&pool, ONNXC_BOOL, 2, 0, NULL); }
static onnxc_expr un(onnxc_expr_op op, onnxc_expr a) { return onnxc_expr_unary(&pool, op, a); }
static onnxc_expr bin(onnxc_expr_op op, onnxc_expr a, onnxc_expr b) { return onnxc_expr_binary(&pool, op, a, b); }
static onnxc_expr truth(bool value) { return onnxc_expr_i64(&pool, ONNXC_BOOL, value); }

#define ADD ONNXC_EXPR_ADD
#define SUB ONNXC_EXPR_SUB
#define MUL ONNXC_EXPR_MUL
#define DIV ONNXC_EXPR_DIV

static void same(int line, onnxc_expr got, onnxc_expr want) {
  cr_expect(got.i == want.i, "line %d: %s, not %s", line,
            onnxc_expr_op_name((onnxc_expr_op)onnxc_exprs_node(&pool, got)->op),
            onnxc_expr_op_name((onnxc_expr_op)onnxc_exprs_node(&pool, want)->op));
}
#define SAME(got, want) same(__LINE__, got, want)
#define STAYS(e, op_)   cr_expect(onnxc_exprs_node(&pool, e)->op == (op_), "line %d simplified", __LINE__)

Test(expr, rules) {
  SAME(bin(ADD, x(), x()), bin(ADD, x(), x()));
  /* signed zeros, NaN and infinities */
  SAME(bin(ADD, x(), f(-0.0)), x());
  STAYS(bin(ADD, x(), f(0.0)), ADD);
  SAME(bin(SUB, x(), f(0.0)), x());
  STAYS(bin(SUB, x(), f(-0.0)), SUB);
  STAYS(bin(SUB, x(), x()), SUB);
  STAYS(bin(MUL, x(), f(0.0)), MUL);
  SAME(bin(MUL, f(1), x()), x());
  SAME(bin(DIV, x(), f(1)), x());
  STAYS(bin(DIV, x(), x()), DIV);
  SAME(bin(DIV, x(), f(-8)), bin(MUL, x(), f(-0.125)));
  SAME(bin(DIV, x(), f(0x1p126)), bin(MUL, x(), f(0x1p-126)));
  SAME(bin(DIV, x(), f(0x1p-126)), bin(MUL, x(), f(0x1p126)));
  STAYS(bin(DIV, x(), f(0x1p127)), DIV); /* the inverse, or the divisor, is subnormal */
  STAYS(bin(DIV, x(), f(0x1p-127)), DIV);
  STAYS(bin(DIV, x(), f(3)), DIV);
  STAYS(bin(DIV, x(), f(INFINITY)), DIV);
  STAYS(bin(DIV, x(), f(0)), DIV);
  STAYS(bin(ONNXC_EXPR_EQ, x(), x()), ONNXC_EXPR_EQ);
  STAYS(bin(ONNXC_EXPR_LE, x(), x()), ONNXC_EXPR_LE);
  STAYS(bin(ONNXC_EXPR_NE, x(), x()), ONNXC_EXPR_NE);
  SAME(bin(ONNXC_EXPR_LT, x(), x()), truth(false));
  SAME(bin(ONNXC_EXPR_MAX, x(), x()), x());
  STAYS(bin(ADD, bin(ADD, x(), f(1)), f(2)), ADD);
  cr_expect(bin(ADD, bin(ADD, x(), f(1)), f(2)).i != bin(ADD, x(), f(3)).i, "float addition is not associative");
  SAME(bin(ONNXC_EXPR_MIN, f(NAN), f(1)), f(NAN));
  SAME(bin(ADD, f(INFINITY), f(-INFINITY)), f(NAN));
  SAME(bin(DIV, f(1), f(-0.0)), f(-INFINITY));
  SAME(bin(DIV, f(1), f(3)), f(1.0 / 3.0));
  STAYS(un(ONNXC_EXPR_EXP, f(1)), ONNXC_EXPR_EXP);
  SAME(un(ONNXC_EXPR_ROUND, f(2.5)), f(2));
  SAME(un(ONNXC_EXPR_NEG, un(ONNXC_EXPR_NEG, x())), x());
  SAME(un(ONNXC_EXPR_ABS, un(ONNXC_EXPR_NEG, x())), un(ONNXC_EXPR_ABS, x()));
  SAME(un(ONNXC_EXPR_FLOOR, un(ONNXC_EXPR_CEIL, x())), un(ONNXC_EXPR_CEIL, x()));
  /* integers */
  SAME(bin(SUB, k(), k()), n(0));
  SAME(bin(MUL, k(), n(0)), n(0));
  SAME(bin(ADD, bin(ADD, n(3), k()), n(4)), bin(ADD, k(), n(7)));
  SAME(bin(SUB, bin(ADD, k(), n(4)), n(4)), k());
  SAME(bin(ONNXC_EXPR_EQ, k(), k()), truth(true));
  SAME(bin(DIV, n(7), n(0)), n(0));
  SAME(bin(DIV, n(INT64_MIN), n(-1)), n(INT64_MIN));
  SAME(bin(ONNXC_EXPR_MOD, n(-7), n(4)), n(1));
  SAME(bin(ONNXC_EXPR_REM, n(-7), n(4)), n(-3));
  SAME(bin(ONNXC_EXPR_FLOORDIV, n(-7), n(4)), n(-2));
  SAME(bin(ONNXC_EXPR_SHL, n(1), n(64)), n(0));
  onnxc_expr u = onnxc_expr_i64(&pool, ONNXC_U8, 300);
  SAME(u, onnxc_expr_i64(&pool, ONNXC_U8, 44));
  SAME(bin(SUB, onnxc_expr_i64(&pool, ONNXC_U8, 3), u), onnxc_expr_i64(&pool, ONNXC_U8, 215));
  SAME(bin(ONNXC_EXPR_GT, onnxc_expr_i64(&pool, ONNXC_U64, -1), onnxc_expr_i64(&pool, ONNXC_U64, 1)), truth(true));
  SAME(un(ONNXC_EXPR_ISNAN, k()), truth(false));
  /* bool, select, cast */
  SAME(un(ONNXC_EXPR_NOT, un(ONNXC_EXPR_NOT, c())), c());
  SAME(bin(ONNXC_EXPR_AND, truth(false), c()), truth(false));
  SAME(bin(ONNXC_EXPR_AND, truth(true), c()), c());
  SAME(onnxc_expr_select(&pool, c(), x(), x()), x());
  SAME(onnxc_expr_select(&pool, truth(false), x(), f(2)), f(2));
  SAME(onnxc_expr_select(&pool, un(ONNXC_EXPR_NOT, c()), x(), f(2)), onnxc_expr_select(&pool, c(), f(2), x()));
  SAME(onnxc_expr_select(&pool, c(), truth(true), truth(false)), c());
  SAME(onnxc_expr_cast(&pool, ONNXC_F32, x()), x());
  SAME(onnxc_expr_cast(&pool, ONNXC_F32, onnxc_expr_cast(&pool, ONNXC_F64, x())), x());
  STAYS(onnxc_expr_cast(&pool, ONNXC_F32, onnxc_expr_cast(&pool, ONNXC_F16, x())), ONNXC_EXPR_CAST);
  SAME(onnxc_expr_cast(&pool, ONNXC_I32, onnxc_expr_cast(&pool, ONNXC_I64, onnxc_expr_cast(&pool, ONNXC_I32, x()))),
       onnxc_expr_cast(&pool, ONNXC_I32, x()));
  SAME(onnxc_expr_cast(&pool, ONNXC_BOOL, f(NAN)), truth(true));
  SAME(onnxc_expr_cast(&pool, ONNXC_U8, f(300)), onnxc_expr_i64(&pool, ONNXC_U8, 255));
}

static onnxc_dim sym(const char *name) {
  onnxc_sym s = onnxc_sym_find(&dims, name, strlen(name));
  return onnxc_dim_sym(&dims, s.i ? s : onnxc_sym_new(&dims, name, ONNXC_SYM_FREE, 0, 0));
}

Test(expr, dims_fold) {
  onnxc_dim h = sym("H"), w = sym("W");
  onnxc_expr eh = onnxc_expr_dim(&pool, h), ew = onnxc_expr_dim(&pool, w);
  SAME(bin(ADD, eh, n(1)), onnxc_expr_dim(&pool, onnxc_dim_addc(&dims, h, 1)));
  SAME(bin(SUB, bin(ADD, eh, ew), eh), ew);
  SAME(bin(ONNXC_EXPR_FLOORDIV, bin(MUL, eh, n(8)), n(8)), eh);
  SAME(bin(ONNXC_EXPR_LT, eh, bin(ADD, eh, n(1))), truth(true));
  SAME(bin(ADD, bin(ADD, eh, k()), ew), bin(ADD, k(), onnxc_expr_dim(&pool, onnxc_dim_add(&dims, h, w))));
  SAME(onnxc_expr_dim(&pool, onnxc_dim_const(&dims, 4)), n(4));
}

Test(expr, affine_forms) {
  onnxc_dim h = sym("H"), base, co[3];
  onnxc_expr i0 = onnxc_expr_index(&pool, 0), i1 = onnxc_expr_index(&pool, 1), eh = onnxc_expr_dim(&pool, h);
  onnxc_expr e = bin(ADD, bin(MUL, bin(SUB, i0, n(3)), eh), bin(MUL, i1, n(2)));
  cr_assert(onnxc_expr_affine(&pool, e, 3, &base, co));
  cr_expect(onnxc_dim_same(co[0], h) && onnxc_dim_is(&dims, co[1], 2) && co[2].i == 0);
  cr_expect(onnxc_dim_same(base, onnxc_dim_mulc(&dims, h, -3)));
  e = bin(ONNXC_EXPR_FLOORDIV, bin(ADD, bin(MUL, i0, n(8)), bin(ADD, bin(MUL, i1, n(16)), n(5))), n(8));
  cr_assert(onnxc_expr_affine(&pool, e, 3, &base, co));
  cr_expect(onnxc_dim_is(&dims, co[0], 1) && onnxc_dim_is(&dims, co[1], 2) && onnxc_dim_is(&dims, base, 0));
  e = bin(ONNXC_EXPR_MOD, bin(ADD, bin(MUL, i0, eh), n(5)), eh);
  cr_assert(onnxc_expr_affine(&pool, e, 3, &base, co));
  cr_expect(co[0].i == 0 && onnxc_dim_same(base, onnxc_dim_mod(&dims, onnxc_dim_const(&dims, 5), h)));
  cr_expect(!onnxc_expr_affine(&pool, bin(ONNXC_EXPR_MOD, i0, n(8)), 3, &base, co));
  cr_expect(!onnxc_expr_affine(&pool, bin(MUL, i0, i1), 3, &base, co));
  cr_expect(!onnxc_expr_affine(&pool, k(), 3, &base, co));
  cr_expect(!onnxc_expr_affine(&pool, x(), 3, &base, co));
  cr_assert(onnxc_expr_affine(&pool, bin(SUB, i0, i0), 3, &base, co));
  cr_expect(co[0].i == 0 && onnxc_dim_is(&dims, base, 0));
}

static onnxc_expr shift_index(void *arg, onnxc_exprs *p, onnxc_expr leaf) {
  (void)arg;
  const onnxc_expr_node *node = onnxc_exprs_node(p, leaf);
  if (node->op != ONNXC_EXPR_INDEX)
    return (onnxc_expr){0};
  cr_expect(onnxc_expr_uses_index(p, leaf, (uint32_t)node->imm), "walks nest");
  return onnxc_expr_binary(p, ONNXC_EXPR_ADD, leaf, onnxc_expr_i64(p, ONNXC_I64, 1));
}

static void count(void *arg, const onnxc_exprs *p, onnxc_expr e) {
  (void)p;
  (void)e;
  (*(int *)arg)++;
}

Test(expr, rewriting_and_deep_expressions) {
  onnxc_expr i0 = onnxc_expr_index(&pool, 0);
  onnxc_expr at[2] = {bin(ADD, i0, n(1)), i0}, moved[2] = {bin(ADD, i0, n(2)), bin(ADD, i0, n(1))};
  onnxc_expr load = onnxc_expr_load(&pool, ONNXC_F32, 0, 2, at);
  SAME(onnxc_expr_rewrite(&pool, bin(MUL, load, load), shift_index, NULL),
       bin(MUL, onnxc_expr_load(&pool, ONNXC_F32, 0, 2, moved), onnxc_expr_load(&pool, ONNXC_F32, 0, 2, moved)));
  cr_expect(onnxc_expr_uses_index(&pool, load, 0) && !onnxc_expr_uses_index(&pool, load, 1));
  /* A chain of 200000 nodes with 2^200000 paths. */
  onnxc_expr e = un(ONNXC_EXPR_TANH, load);
  for (int i = 0; i < 200000; i++)
    e = bin(ADD, e, e);
  int nodes = 0;
  onnxc_expr_walk(&pool, e, count, &nodes);
  cr_expect_eq(nodes, 200000 + 5);
  cr_expect_eq(onnxc_expr_cost(&pool, e), 200000 + 24 + 1 + 1);
  onnxc_expr other = onnxc_expr_rewrite(&pool, e, shift_index, NULL);
  cr_expect(other.i != e.i);
}

Test(expr, scalars) {
  static const struct {
    onnxc_dtype dtype;
    double value, becomes;
  } rows[] = {
      {ONNXC_F16, 65504, 65504},
      {ONNXC_F16, 65520, INFINITY},
      {ONNXC_F16, 65519, 65504},
      {ONNXC_F16, 0x1p-24, 0x1p-24},
      {ONNXC_F16, 0x1p-25, 0},
      {ONNXC_F16, 0x1.8p-25, 0x1p-24},
      {ONNXC_F16, 1 + 0x1p-11, 1},
      {ONNXC_F16, 1 + 0x3p-11, 1 + 0x1p-9},
      {ONNXC_BF16, 3.3895e38, 0x1.fep127},
      {ONNXC_BF16, 1 + 0x1p-8, 1},
      {ONNXC_BF16, INFINITY, INFINITY},
      {ONNXC_BF16, 1e-40, 9.1835e-41},
      {ONNXC_F8E4M3FN, 448, 448},
      {ONNXC_F8E4M3FN, 1000, 448},
      {ONNXC_F8E4M3FN, 0x1p-9, 0x1p-9},
      {ONNXC_F8E4M3FNUZ, 240, 240},
      {ONNXC_F8E4M3FNUZ, -0.0, 0},
      {ONNXC_F8E4M3FNUZ, INFINITY, NAN},
      {ONNXC_F8E5M2, 57344, 57344},
      {ONNXC_F8E5M2, 1e9, 57344},
      {ONNXC_F8E5M2FNUZ, 57344, 57344},
      {ONNXC_F4E2M1, 5, 4},
      {ONNXC_F4E2M1, 100, 6},
      {ONNXC_F4E2M1, 0.25, 0},
      {ONNXC_F8E8M0, 3, 4},
      {ONNXC_F8E8M0, 2.9, 2},
      {ONNXC_I8, 200, 127},
      {ONNXC_I8, -200, -128},
      {ONNXC_I8, -1.9, -1},
      {ONNXC_U8, -5, 0},
      {ONNXC_U8, NAN, 0},
      {ONNXC_I4, 9, 7},
      {ONNXC_U4, 20, 15},
      {ONNXC_I64, 1e30, 0x1p63},
      {ONNXC_U64, 1e30, 0x1p64},
      {ONNXC_U64, 0x1.8p63, 0x1.8p63},
      {ONNXC_I32, 0x1p31, 0x1p31 - 1},
      {ONNXC_BOOL, 0.5, 1},
      {ONNXC_F32, 0.1, (double)0.1f},
      {ONNXC_F64, 0.1, 0.1},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    unsigned char memory[16];
    onnxc_scalar_from_f64(rows[i].dtype, memory, rows[i].value);
    double got = onnxc_scalar_to_f64(rows[i].dtype, memory);
    bool close =
        isnan(rows[i].becomes) ? isnan(got) : fabs(got - rows[i].becomes) <= 1e-4 * fabs(got) || got == rows[i].becomes;
    cr_expect(close, "%s: %g becomes %g, not %g", onnxc_dtype_name(rows[i].dtype), rows[i].value, got, rows[i].becomes);
  }
  /* Every code of every narrow float is a fixed point; every dtype's name parses. */
  for (int d = 1; d < ONNXC_DTYPE_COUNT; d++) {
    onnxc_dtype dtype = (onnxc_dtype)d;
    const char *name = onnxc_dtype_name(dtype);
    cr_expect_eq(onnxc_dtype_parse(name, strlen(name)), dtype);
    if (!onnxc_dtype_is_float(dtype) || onnxc_dtype_bytes(dtype) > 2)
      continue;
    unsigned codes = dtype == ONNXC_F4E2M1 ? 16 : onnxc_dtype_bytes(dtype) == 1 ? 256 : 65536;
    for (unsigned code = 0; code < codes; code++) {
      uint16_t in = (uint16_t)code, out = 0;
      double value = onnxc_scalar_to_f64(dtype, &in);
      onnxc_scalar_from_f64(dtype, &out, value);
      bool inf_saturates = dtype == ONNXC_F8E5M2 && isinf(value);
      cr_expect(isnan(value) || inf_saturates || in == out, "%s: code %x comes back as %x", name, in, out);
    }
  }
  int8_t i4 = 0;
  onnxc_scalar_from_i64(ONNXC_I4, &i4, 9);
  cr_expect_eq(i4, -7);
  uint8_t u4 = 0;
  onnxc_scalar_from_i64(ONNXC_U4, &u4, 0x1f);
  cr_expect_eq(u4, 15);
}
