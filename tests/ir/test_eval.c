/* test_eval.c -- the evaluator against plain loops and hand-computed values. */
#include <criterion/criterion.h>

#include "ir/eval.h"
#include "ir/eval_scalar.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static onnxc_guard guard;
static onnxc_arena arena;
static onnxc_diag diag;
static onnxc_graph graph;
static onnxc_exprs *pool;

static void start(void) {
  if (setjmp(guard.env))
    abort();
  onnxc_arena_init(&arena, &guard);
  onnxc_diag_clear(&diag);
  onnxc_graph_init(&graph, &arena, &diag);
  pool = &graph.exprs;
}

static void stop(void) { onnxc_arena_free(&arena); }

static onnxc_dim num(int64_t n) { return onnxc_dim_const(&graph.dims, n); }
static onnxc_expr idx(uint32_t k) { return onnxc_expr_index(pool, k); }
static onnxc_expr ci(int64_t n) { return onnxc_expr_i64(pool, ONNXC_I64, n); }
static onnxc_expr cf(double x) { return onnxc_expr_f64(pool, ONNXC_F32, x); }
static onnxc_expr bin(onnxc_expr_op op, onnxc_expr a, onnxc_expr b) { return onnxc_expr_binary(pool, op, a, b); }
#define OP(NAME, a, b) bin(ONNXC_EXPR_##NAME, a, b)
#define LOAD(dtype, operand, ...)                                                                                      \
  onnxc_expr_load(pool, dtype, operand, sizeof((onnxc_expr[]){__VA_ARGS__}) / sizeof(onnxc_expr),                      \
                  (onnxc_expr[]){__VA_ARGS__})

static onnxc_array array1(onnxc_dtype dtype, int64_t n, void *data) {
  return (onnxc_array){.dtype = dtype, .rank = 1, .dims = {n}, .data = data};
}

static onnxc_compute compute1(int64_t n, onnxc_expr finish) {
  onnxc_compute c = {.num_parallel = 1, .num_results = 1, .extents = {num(n)}, .finish = {finish}};
  c.acc_dtype[0] = (onnxc_dtype)onnxc_exprs_node(pool, finish)->dtype;
  return c;
}

static uint64_t random_state = 1;
static float random_float(void) {
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return (float)((double)(random_state >> 40) / (1 << 23) - 1);
}
static float *random_floats(int n) {
  float *data = ONNXC_NEW_ARRAY(&arena, float, n);
  for (int i = 0; i < n; i++)
    data[i] = random_float();
  return data;
}

/* ---- scalar semantics ---- */

static int64_t int_op(onnxc_expr_op op, onnxc_dtype dtype, int64_t x, int64_t y) {
  onnxc_lanes a, b, r;
  a.i64[0] = x;
  b.i64[0] = y;
  if (onnxc_expr_op_arity(op) == 1)
    onnxc_lanes_unary(op, dtype, &r, &a, 1);
  else
    onnxc_lanes_binary(op, dtype, &r, &a, &b, 1);
  return r.i64[0];
}

Test(eval, integers) {
  static const struct {
    onnxc_expr_op op;
    onnxc_dtype dtype;
    int64_t a, b, want;
  } rows[] = {
      {ONNXC_EXPR_ADD, ONNXC_I8, 127, 1, -128},
      {ONNXC_EXPR_ADD, ONNXC_U8, 255, 1, 0},
      {ONNXC_EXPR_SUB, ONNXC_U32, 0, 1, UINT32_MAX},
      {ONNXC_EXPR_MUL, ONNXC_I32, 65536, 65536, 0},
      {ONNXC_EXPR_ADD, ONNXC_I64, INT64_MAX, 1, INT64_MIN},
      {ONNXC_EXPR_DIV, ONNXC_I32, -7, 2, -3},
      {ONNXC_EXPR_DIV, ONNXC_I32, 7, 0, 0},
      {ONNXC_EXPR_DIV, ONNXC_I64, INT64_MIN, -1, INT64_MIN},
      {ONNXC_EXPR_DIV, ONNXC_I8, -128, -1, -128},
      {ONNXC_EXPR_DIV, ONNXC_U64, -1, 2, INT64_MAX},
      {ONNXC_EXPR_FLOORDIV, ONNXC_I32, -7, 2, -4},
      {ONNXC_EXPR_FLOORDIV, ONNXC_I32, 7, -2, -4},
      {ONNXC_EXPR_FLOORDIV, ONNXC_I32, 7, 0, 0},
      {ONNXC_EXPR_MOD, ONNXC_I32, -7, 3, 2},
      {ONNXC_EXPR_MOD, ONNXC_I32, 7, -3, -2},
      {ONNXC_EXPR_MOD, ONNXC_I32, 7, 0, 0},
      {ONNXC_EXPR_REM, ONNXC_I32, -7, 3, -1},
      {ONNXC_EXPR_REM, ONNXC_I64, INT64_MIN, -1, 0},
      {ONNXC_EXPR_POW, ONNXC_I32, 3, 4, 81},
      {ONNXC_EXPR_POW, ONNXC_I32, 2, -1, 0},
      {ONNXC_EXPR_POW, ONNXC_I32, -1, -3, -1},
      {ONNXC_EXPR_POW, ONNXC_U8, 2, 8, 0},
      {ONNXC_EXPR_MIN, ONNXC_U64, -1, 1, 1},
      {ONNXC_EXPR_MAX, ONNXC_U64, -1, 1, -1},
      {ONNXC_EXPR_MIN, ONNXC_I64, -1, 1, -1},
      {ONNXC_EXPR_LT, ONNXC_U64, -1, 1, 0},
      {ONNXC_EXPR_LT, ONNXC_I64, -1, 1, 1},
      {ONNXC_EXPR_SHL, ONNXC_U8, 1, 7, 128},
      {ONNXC_EXPR_SHL, ONNXC_U8, 1, 8, 0},
      {ONNXC_EXPR_SHR, ONNXC_I32, -8, 1, -4},
      {ONNXC_EXPR_SHR, ONNXC_U32, 8, 32, 0},
      {ONNXC_EXPR_SHR, ONNXC_U64, -1, 63, 1},
      {ONNXC_EXPR_NOT, ONNXC_BOOL, 1, 0, 0},
      {ONNXC_EXPR_NOT, ONNXC_U8, 1, 0, 254},
      {ONNXC_EXPR_NEG, ONNXC_I8, -128, 0, -128},
      {ONNXC_EXPR_ABS, ONNXC_I8, -128, 0, -128},
      {ONNXC_EXPR_SIGN, ONNXC_I16, -9, 0, -1},
      {ONNXC_EXPR_SIGN, ONNXC_U64, -9, 0, 1},
      {ONNXC_EXPR_XOR, ONNXC_BOOL, 1, 1, 0},
      {ONNXC_EXPR_ADD, ONNXC_I4, 7, 1, -8},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    cr_expect_eq(int_op(rows[i].op, rows[i].dtype, rows[i].a, rows[i].b), rows[i].want, "row %zu %s: got %lld", i,
                 onnxc_expr_op_name(rows[i].op), (long long)int_op(rows[i].op, rows[i].dtype, rows[i].a, rows[i].b));
}

static float float_op(onnxc_expr_op op, float x, float y) {
  onnxc_lanes a, b, r;
  a.f32[0] = x;
  b.f32[0] = y;
  if (onnxc_expr_op_arity(op) == 1)
    onnxc_lanes_unary(op, ONNXC_F32, &r, &a, 1);
  else
    onnxc_lanes_binary(op, ONNXC_F32, &r, &a, &b, 1);
  return r.f32[0];
}

Test(eval, floats) {
  static const struct {
    onnxc_expr_op op;
    float a, b, want; /* NaN wants a NaN */
  } rows[] = {
      {ONNXC_EXPR_MOD, -7, 3, 2},
      {ONNXC_EXPR_MOD, 7, -3, -2},
      {ONNXC_EXPR_REM, -7, 3, -1},
      {ONNXC_EXPR_MIN, NAN, 1, NAN},
      {ONNXC_EXPR_MIN, 1, NAN, NAN},
      {ONNXC_EXPR_MAX, NAN, 1, NAN},
      {ONNXC_EXPR_MAX, 1, NAN, NAN},
      {ONNXC_EXPR_MAX, -INFINITY, 1, 1},
      {ONNXC_EXPR_DIV, 1, 0, INFINITY},
      {ONNXC_EXPR_DIV, 0, 0, NAN},
      {ONNXC_EXPR_ROUND, 2.5f, 0, 2},
      {ONNXC_EXPR_ROUND, -1.5f, 0, -2},
      {ONNXC_EXPR_TRUNC, -1.5f, 0, -1},
      {ONNXC_EXPR_SIGN, -3, 0, -1},
      {ONNXC_EXPR_SIGN, NAN, 0, NAN},
      {ONNXC_EXPR_SQRT, -1, 0, NAN},
      {ONNXC_EXPR_EXP, 1, 0, 2.71828182845904523536f},
      {ONNXC_EXPR_EXP, 1000, 0, INFINITY},
      {ONNXC_EXPR_LOG, 0, 0, -INFINITY},
      {ONNXC_EXPR_ERF, 1, 0, 0.842700792949714869f},
      {ONNXC_EXPR_TANH, -INFINITY, 0, -1},
      {ONNXC_EXPR_POW, 0, 0, 1},
      {ONNXC_EXPR_POW, -8, 3, -512},
      {ONNXC_EXPR_ADD, 16777216, 1, 16777216}, /* single precision */
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    float got = float_op(rows[i].op, rows[i].a, rows[i].b);
    cr_expect(isnan(rows[i].want) ? isnan(got) : got == rows[i].want, "row %zu %s: got %g", i,
              onnxc_expr_op_name(rows[i].op), (double)got);
  }
  onnxc_lanes a, r;
  a.f32[0] = NAN;
  onnxc_lanes_unary(ONNXC_EXPR_ISNAN, ONNXC_F32, &r, &a, 1);
  cr_expect_eq(r.i64[0], 1);
  onnxc_lanes x, y; /* bf16 rounds after each operation: 256 + 1 = 256 */
  x.f64[0] = 256;
  y.f64[0] = 1;
  onnxc_lanes_binary(ONNXC_EXPR_ADD, ONNXC_BF16, &r, &x, &y, 1);
  cr_expect_eq(r.f64[0], 256.0);
  onnxc_lanes_binary(ONNXC_EXPR_ADD, ONNXC_F16, &r, &x, &y, 1);
  cr_expect_eq(r.f64[0], 257.0);
}

Test(eval, casts) {
  static const struct {
    onnxc_dtype from, to;
    double x, want;
  } rows[] = {
      {ONNXC_F32, ONNXC_I32, -2.9, -2},
      {ONNXC_F32, ONNXC_I8, 300, 127},
      {ONNXC_F32, ONNXC_U8, -5, 0},
      {ONNXC_F32, ONNXC_I64, 1e30, (double)INT64_MAX},
      {ONNXC_F32, ONNXC_I32, NAN, 0},
      {ONNXC_F32, ONNXC_BOOL, 0.25, 1},
      {ONNXC_F32, ONNXC_BOOL, NAN, 1},
      {ONNXC_F64, ONNXC_F32, 1 + 1e-12, 1},
      {ONNXC_F32, ONNXC_F16, 65536, INFINITY},
      {ONNXC_F32, ONNXC_BF16, 257, 256},
      {ONNXC_I64, ONNXC_I8, 300, 44},
      {ONNXC_I64, ONNXC_BOOL, 2, 1},
      {ONNXC_I64, ONNXC_F32, 16777217, 16777216},
      {ONNXC_BOOL, ONNXC_F32, 1, 1},
      {ONNXC_I32, ONNXC_U32, -1, (double)UINT32_MAX},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    onnxc_lanes a, r;
    unsigned char memory[16];
    bool from_float = onnxc_dtype_is_float(rows[i].from), to_float = onnxc_dtype_is_float(rows[i].to);
    if (from_float)
      onnxc_scalar_from_f64(rows[i].from, memory, rows[i].x);
    else
      onnxc_scalar_from_i64(rows[i].from, memory, (int64_t)rows[i].x);
    onnxc_lanes_load(rows[i].from, &a, 0, memory, 1, 1);
    onnxc_lanes_cast(rows[i].to, &r, rows[i].from, &a, 1);
    onnxc_lanes_store(rows[i].to, memory, &r, 1);
    double got = to_float ? onnxc_scalar_to_f64(rows[i].to, memory) : (double)onnxc_scalar_to_i64(rows[i].to, memory);
    cr_expect(got == rows[i].want, "row %zu: got %g", i, got);
  }
}

/* ---- select, loads, errors ---- */

Test(eval, select_is_lazy) {
  start();
  float x[300], out_want[302];
  for (int i = 0; i < 300; i++)
    x[i] = (float)i + 1;
  onnxc_array in = array1(ONNXC_F32, 300, x), out = {0};
  onnxc_expr shifted = LOAD(ONNXC_F32, 0, OP(SUB, idx(0), ci(1)));
  onnxc_expr inside = OP(AND, OP(GE, idx(0), ci(1)), OP(LT, idx(0), ci(301)));
  onnxc_compute c = compute1(302, onnxc_expr_select(pool, inside, shifted, cf(-1)));
  cr_assert_eq(onnxc_eval_compute(&graph, &arena, &c, &in, 1, NULL, &out), ONNXC_OK, "%s", diag.text);
  for (int i = 0; i < 302; i++) {
    out_want[i] = i >= 1 && i < 301 ? x[i - 1] : -1;
    cr_assert_eq(((float *)out.data)[i], out_want[i], "at %d", i);
  }
  c = compute1(302, shifted);
  cr_expect_eq(onnxc_eval_compute(&graph, &arena, &c, &in, 1, NULL, &out), ONNXC_INTERNAL);
  cr_expect(strstr(diag.text, "reads index -1 of dim 0"), "%s", diag.text);
  stop();
}

/* Each of two loads guards the other one: x[i] asks y only where p, y[i] asks x only where not p. */
Test(eval, selects_that_share_loads) {
  start();
  float x[8] = {1, -1, 1, -1, 1, -1, 1, -1}, y[8] = {5, 6, 7, 8, 9, 10, 11, 12};
  onnxc_array in[2] = {array1(ONNXC_F32, 8, x), array1(ONNXC_F32, 8, y)}, out = {0};
  onnxc_expr p = OP(LT, idx(0), ci(4));
  onnxc_expr lx = LOAD(ONNXC_F32, 0, idx(0)), ly = LOAD(ONNXC_F32, 1, OP(SUB, ci(7), idx(0)));
  onnxc_expr a = onnxc_expr_select(pool, OP(GT, lx, cf(0)), ly, cf(0));
  onnxc_expr b = onnxc_expr_select(pool, OP(GT, ly, cf(6)), lx, cf(0));
  onnxc_compute c = compute1(8, onnxc_expr_select(pool, p, a, b));
  cr_assert_eq(onnxc_eval_compute(&graph, &arena, &c, in, 2, NULL, &out), ONNXC_OK, "%s", diag.text);
  static const float want[8] = {12, 0, 10, 0, 1, -1, 0, 0};
  for (int i = 0; i < 8; i++)
    cr_expect_eq(((float *)out.data)[i], want[i], "at %d: %g", i, (double)((float *)out.data)[i]);
  stop();
}

Test(eval, gather_through_a_load) {
  start();
  int64_t index[5] = {3, -1, 0, 2, -4};
  uint8_t x[8] = {10, 11, 12, 13, 20, 21, 22, 23}; /* 2 x 4 */
  onnxc_array in[2] = {array1(ONNXC_I64, 5, index), {.dtype = ONNXC_U8, .rank = 2, .dims = {2, 4}, .data = x}};
  onnxc_array out = {0};
  onnxc_expr at = LOAD(ONNXC_I64, 0, idx(1));
  at = onnxc_expr_select(pool, OP(LT, at, ci(0)), OP(ADD, at, ci(4)), at);
  onnxc_compute c = {.num_parallel = 2, .num_results = 1, .extents = {num(2), num(5)}};
  c.finish[0] = LOAD(ONNXC_U8, 1, idx(0), at);
  cr_assert_eq(onnxc_eval_compute(&graph, &arena, &c, in, 2, NULL, &out), ONNXC_OK, "%s", diag.text);
  static const uint8_t want[10] = {13, 13, 10, 12, 10, 23, 23, 20, 22, 20};
  cr_expect_arr_eq(out.data, want, 10);
  stop();
}

/* ---- reductions ---- */

static onnxc_compute reduction(uint32_t parallel, uint32_t reduce, const int64_t *extents, onnxc_expr_op op,
                               onnxc_dtype dtype, onnxc_expr init, onnxc_expr element) {
  onnxc_compute c = {.num_parallel = parallel, .num_reduce = reduce, .num_results = 1};
  for (uint32_t k = 0; k < parallel + reduce; k++)
    c.extents[k] = num(extents[k]);
  c.acc_dtype[0] = dtype;
  c.init[0] = init;
  c.element[0] = element;
  c.combine[0] = bin(op, onnxc_expr_acc(pool, dtype, 0), onnxc_expr_val(pool, dtype, 0));
  c.finish[0] = onnxc_expr_acc(pool, dtype, 0);
  return c;
}

Test(eval, reductions) {
  start();
  enum { N = 1000 };
  for (int rows = 1; rows <= 400; rows += 57) {
    float *x = random_floats(rows * N);
    x[5] = rows > 300 ? NAN : x[5];
    onnxc_array in = {.dtype = ONNXC_F32, .rank = 2, .dims = {rows, N}, .data = x}, sum = {0}, max = {0};
    int64_t extents[2] = {rows, N};
    onnxc_compute c = reduction(1, 1, extents, ONNXC_EXPR_ADD, ONNXC_F32, cf(0.5), LOAD(ONNXC_F32, 0, idx(0), idx(1)));
    cr_assert_eq(onnxc_eval_compute(&graph, &arena, &c, &in, 1, NULL, &sum), ONNXC_OK, "%s", diag.text);
    c = reduction(1, 1, extents, ONNXC_EXPR_MAX, ONNXC_F32, cf(-INFINITY), LOAD(ONNXC_F32, 0, idx(0), idx(1)));
    cr_assert_eq(onnxc_eval_compute(&graph, &arena, &c, &in, 1, NULL, &max), ONNXC_OK, "%s", diag.text);
    for (int i = 0; i < rows; i++) {
      double s = 0.5;
      float m = -INFINITY;
      for (int j = 0; j < N; j++) {
        s += (double)x[i * N + j];
        m = x[i * N + j] > m ? x[i * N + j] : m;
      }
      if (rows > 300 && i == 0) {
        cr_expect(isnan(((float *)max.data)[0]) && isnan(((float *)sum.data)[0]));
        continue;
      }
      cr_assert_eq(((float *)max.data)[i], m);
      cr_assert_float_eq(((float *)sum.data)[i], s, 1e-4);
    }
  }
  /* Nothing to reduce: the initial value. */
  onnxc_array none = {.dtype = ONNXC_F32, .rank = 2, .dims = {3, 0}, .data = &arena}, out = {0};
  int64_t extents[2] = {3, 0};
  onnxc_compute c = reduction(1, 1, extents, ONNXC_EXPR_ADD, ONNXC_F32, cf(7), LOAD(ONNXC_F32, 0, idx(0), idx(1)));
  cr_assert_eq(onnxc_eval_compute(&graph, &arena, &c, &none, 1, NULL, &out), ONNXC_OK, "%s", diag.text);
  for (int i = 0; i < 3; i++)
    cr_expect_eq(((float *)out.data)[i], 7.0f);
  /* Integers wrap, and an absurd size is an error. */
  int8_t bytes[4] = {100, 100, 100, 100};
  onnxc_array in = array1(ONNXC_I8, 4, bytes);
  int64_t four = 4;
  c = reduction(0, 1, &four, ONNXC_EXPR_ADD, ONNXC_I8, onnxc_expr_i64(pool, ONNXC_I8, 0), LOAD(ONNXC_I8, 0, idx(0)));
  cr_assert_eq(onnxc_eval_compute(&graph, &arena, &c, &in, 1, NULL, &out), ONNXC_OK, "%s", diag.text);
  cr_expect_eq(*(int8_t *)out.data, 400 - 512);
  c = compute1((int64_t)1 << 60, cf(1));
  cr_expect_eq(onnxc_eval_compute(&graph, &arena, &c, NULL, 0, NULL, &out), ONNXC_BAD_INPUT);
  stop();
}

/* (value, index) of the largest element, the first one on ties. */
Test(eval, argmax_tuple) {
  start();
  enum { ROWS = 300, N = 9 };
  float *x = random_floats(ROWS * N);
  for (int i = 0; i < ROWS * N; i++)
    x[i] = floorf(x[i] * 4);
  onnxc_array in = {.dtype = ONNXC_F32, .rank = 2, .dims = {ROWS, N}, .data = x}, out[2] = {{0}};
  onnxc_compute c = {.num_parallel = 1, .num_reduce = 1, .num_results = 2, .extents = {num(ROWS), num(N)}};
  c.acc_dtype[0] = ONNXC_F32;
  c.acc_dtype[1] = ONNXC_I64;
  c.init[0] = cf(-INFINITY);
  c.init[1] = ci(0);
  c.element[0] = LOAD(ONNXC_F32, 0, idx(0), idx(1));
  c.element[1] = idx(1);
  onnxc_expr better = OP(GT, onnxc_expr_val(pool, ONNXC_F32, 0), onnxc_expr_acc(pool, ONNXC_F32, 0));
  c.combine[0] =
      onnxc_expr_select(pool, better, onnxc_expr_val(pool, ONNXC_F32, 0), onnxc_expr_acc(pool, ONNXC_F32, 0));
  c.combine[1] =
      onnxc_expr_select(pool, better, onnxc_expr_val(pool, ONNXC_I64, 1), onnxc_expr_acc(pool, ONNXC_I64, 1));
  c.finish[0] = onnxc_expr_acc(pool, ONNXC_F32, 0);
  c.finish[1] = onnxc_expr_acc(pool, ONNXC_I64, 1);
  cr_assert_eq(onnxc_eval_compute(&graph, &arena, &c, &in, 1, NULL, out), ONNXC_OK, "%s", diag.text);
  for (int i = 0; i < ROWS; i++) {
    int best = 0;
    for (int j = 1; j < N; j++)
      if (x[i * N + j] > x[i * N + best])
        best = j;
    cr_assert_eq(((int64_t *)out[1].data)[i], best);
    cr_assert_eq(((float *)out[0].data)[i], x[i * N + best]);
  }
  stop();
}

/* Batched matrix products of sizes around the blocks of the fast path. */
Test(eval, matrix_products) {
  start();
  static const int sizes[][4] = {{1, 5, 7, 3}, {2, 33, 70, 65}, {1, 600, 4, 130}, {3, 4, 600, 64}, {1, 1, 300, 300}};
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
    int b = sizes[s][0], m = sizes[s][1], n = sizes[s][2], k = sizes[s][3];
    float *x = random_floats(b * m * k), *y = random_floats(k * n);
    onnxc_array in[2] = {{.dtype = ONNXC_F32, .rank = 3, .dims = {b, m, k}, .data = x},
                         {.dtype = ONNXC_F32, .rank = 2, .dims = {k, n}, .data = y}};
    onnxc_array out = {0};
    int64_t extents[4] = {b, m, n, k};
    onnxc_expr element = OP(MUL, LOAD(ONNXC_F32, 0, idx(0), idx(1), idx(3)), LOAD(ONNXC_F32, 1, idx(3), idx(2)));
    onnxc_compute c = reduction(3, 1, extents, ONNXC_EXPR_ADD, ONNXC_F32, cf(1), element);
    c.finish[0] = OP(MAX, c.finish[0], cf(0));
    cr_assert_eq(onnxc_eval_compute(&graph, &arena, &c, in, 2, NULL, &out), ONNXC_OK, "%s", diag.text);
    for (int bi = 0; bi < b; bi++)
      for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
          double sum = 1;
          for (int p = 0; p < k; p++)
            sum += (double)x[(bi * m + i) * k + p] * (double)y[p * n + j];
          double want = sum > 0 ? sum : 0;
          cr_assert_float_eq(((float *)out.data)[(bi * m + i) * n + j], want, 1e-5 * (1 + fabs(want)));
        }
  }
  stop();
}

/* Bytes in i32, signed and not: exact, and the accumulator wraps. The wide factor does not go the fast way. */
Test(eval, integer_matrix_products) {
  start();
  enum { M = 5, N = 70, K = 65 };
  uint8_t x[M * K];
  int8_t y[K * N];
  int32_t wide[K * N];
  for (int i = 0; i < M * K; i++)
    x[i] = (uint8_t)(i * 7919);
  for (int i = 0; i < K * N; i++)
    wide[i] = (y[i] = (int8_t)(i * 104729)) * (1 << 20);
  for (int w = 0; w < 2; w++) {
    onnxc_dtype type = w ? ONNXC_I32 : ONNXC_I8;
    onnxc_array in[2] = {{.dtype = ONNXC_U8, .rank = 2, .dims = {M, K}, .data = x},
                         {.dtype = type, .rank = 2, .dims = {K, N}, .data = w ? (void *)wide : y}};
    onnxc_array out = {0};
    int64_t extents[3] = {M, N, K};
    onnxc_expr element = OP(MUL, onnxc_expr_cast(pool, ONNXC_I32, LOAD(ONNXC_U8, 0, idx(0), idx(2))),
                            onnxc_expr_cast(pool, ONNXC_I32, LOAD(type, 1, idx(2), idx(1))));
    onnxc_expr init = onnxc_expr_i64(pool, ONNXC_I32, INT32_MAX);
    onnxc_compute c = reduction(2, 1, extents, ONNXC_EXPR_ADD, ONNXC_I32, init, element);
    cr_assert_eq(onnxc_eval_compute(&graph, &arena, &c, in, 2, NULL, &out), ONNXC_OK, "%s", diag.text);
    for (int i = 0; i < M; i++)
      for (int j = 0; j < N; j++) {
        int64_t sum = INT32_MAX;
        for (int p = 0; p < K; p++)
          sum += (int64_t)x[i * K + p] * (w ? wide[p * N + j] : y[p * N + j]);
        cr_assert_eq(((int32_t *)out.data)[i * N + j], (int32_t)(uint32_t)(uint64_t)sum);
      }
  }
  stop();
}

/* A convolution with padding, stride, groups: the selects of the border in a factor. */
Test(eval, convolution) {
  start();
  enum { G = 2, C = 3, M = 8, H = 17, W = 19, K = 3, OH = 9, OW = 19 };
  float *x = random_floats(G * C * H * W), *w = random_floats(G * M * C * K * K);
  onnxc_array in[2] = {{.dtype = ONNXC_F32, .rank = 4, .dims = {G, C, H, W}, .data = x},
                       {.dtype = ONNXC_F32, .rank = 5, .dims = {G, M, C, K, K}, .data = w}};
  onnxc_array out = {0};
  int64_t extents[7] = {G, M, OH, OW, C, K, K}; /* g m oh ow | c kh kw */
  onnxc_expr ih = OP(SUB, OP(ADD, OP(MUL, idx(2), ci(2)), idx(5)), ci(1));
  onnxc_expr iw = OP(SUB, OP(ADD, idx(3), idx(6)), ci(1));
  onnxc_expr inside =
      OP(AND, OP(AND, OP(GE, ih, ci(0)), OP(LT, ih, ci(H))), OP(AND, OP(GE, iw, ci(0)), OP(LT, iw, ci(W))));
  onnxc_expr factor = onnxc_expr_select(pool, inside, LOAD(ONNXC_F32, 0, idx(0), idx(4), ih, iw), cf(0));
  onnxc_expr element = OP(MUL, factor, LOAD(ONNXC_F32, 1, idx(0), idx(1), idx(4), idx(5), idx(6)));
  onnxc_compute c = reduction(4, 3, extents, ONNXC_EXPR_ADD, ONNXC_F32, cf(0), element);
  cr_assert_eq(onnxc_eval_compute(&graph, &arena, &c, in, 2, NULL, &out), ONNXC_OK, "%s", diag.text);
  for (int g = 0; g < G; g++)
    for (int m = 0; m < M; m++)
      for (int oh = 0; oh < OH; oh++)
        for (int ow = 0; ow < OW; ow++) {
          double sum = 0;
          for (int ch = 0; ch < C; ch++)
            for (int kh = 0; kh < K; kh++)
              for (int kw = 0; kw < K; kw++) {
                int h = oh * 2 + kh - 1, v = ow + kw - 1;
                if (h >= 0 && h < H && v >= 0 && v < W)
                  sum +=
                      (double)x[((g * C + ch) * H + h) * W + v] * (double)w[(((g * M + m) * C + ch) * K + kh) * K + kw];
              }
          cr_assert_float_eq(((float *)out.data)[((g * M + m) * OH + oh) * OW + ow], sum, 1e-5);
        }
  stop();
}

/* ---- graphs ---- */

static onnxc_value input(const char *name, onnxc_dtype dtype, uint32_t rank, const onnxc_dim *dims) {
  return onnxc_graph_add_input(&graph, name, dtype, rank, dims);
}

Test(eval, symbols_constraints_and_messages) {
  start();
  onnxc_dim n = onnxc_dim_sym(&graph.dims, onnxc_sym_new(&graph.dims, "N", ONNXC_SYM_INPUT_DIM, 0, 0));
  onnxc_dim m = onnxc_dim_sym(&graph.dims, onnxc_sym_new(&graph.dims, "M", ONNXC_SYM_INPUT_DIM, 1, 0));
  onnxc_value a = input("a", ONNXC_F32, 2, (onnxc_dim[]){n, num(2)}), b = input("b", ONNXC_F32, 1, &m);
  onnxc_compute c = {.num_parallel = 1, .num_results = 1, .extents = {onnxc_dim_add(&graph.dims, n, m)}};
  c.finish[0] = onnxc_expr_cast(pool, ONNXC_F32, onnxc_expr_dim(pool, onnxc_dim_mul(&graph.dims, n, m)));
  onnxc_value out;
  onnxc_graph_add_compute(&graph, "node 'sizes'", &c, 2, (onnxc_value[]){a, b}, &out);
  onnxc_graph_add_output(&graph, out, "out");
  onnxc_graph_add_constraint(&graph, m, onnxc_dim_addc(&graph.dims, n, 1), "node 'sizes': b is one longer");
  float data[16] = {0};
  onnxc_eval eval;
  onnxc_array in[2] = {{.dtype = ONNXC_F32, .rank = 2, .dims = {3, 2}, .data = data}, array1(ONNXC_F32, 4, data)};
  cr_assert_eq(onnxc_eval_graph(&eval, &graph, &arena, in, 2), ONNXC_OK, "%s", diag.text);
  cr_expect_eq(eval.arrays[out.i].dims[0], 7);
  cr_expect_eq(((float *)eval.arrays[out.i].data)[6], 12.0f);
  static const struct {
    const char *message;
    onnxc_dtype dtype;
    uint32_t rank;
    int64_t d0, d1;
  } rows[] = {
      {"input 'a': has type f64, expected f32", ONNXC_F64, 2, 3, 2},
      {"input 'a': has rank 1, expected 2", ONNXC_F32, 1, 3, 2},
      {"input 'a': dim 1 is 3, expected 2", ONNXC_F32, 2, 2, 3},
      {"input 'a': its dims are negative", ONNXC_F32, 2, -1, 2},
      {"node 'sizes': b is one longer (they are 4 and 3)", ONNXC_F32, 2, 2, 2},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    onnxc_diag_clear(&diag);
    in[0] = (onnxc_array){rows[i].dtype, rows[i].rank, {rows[i].d0, rows[i].d1}, data};
    cr_expect_eq(onnxc_eval_graph(&eval, &graph, &arena, in, 2), ONNXC_BAD_INPUT);
    cr_expect(strstr(diag.text, rows[i].message), "row %zu: %s", i, diag.text);
  }
  onnxc_diag_clear(&diag);
  cr_expect_eq(onnxc_eval_graph(&eval, &graph, &arena, in, 1), ONNXC_BAD_INPUT);
  stop();
}

/* The elements of an input decide the shape of a result. */
Test(eval, element_symbols) {
  start();
  onnxc_value shape = input("shape", ONNXC_I64, 1, (onnxc_dim[]){num(2)});
  uint32_t count;
  const onnxc_dim *elements = onnxc_value_elements(&graph, shape, &count);
  cr_assert_eq(count, 2);
  onnxc_compute c = {.num_parallel = 2, .num_results = 1, .extents = {elements[0], elements[1]}};
  c.finish[0] = OP(ADD, OP(MUL, idx(0), ci(10)), idx(1));
  onnxc_value out;
  onnxc_graph_add_compute(&graph, "grid", &c, 0, NULL, &out);
  onnxc_graph_add_output(&graph, out, "out");
  int64_t data[2] = {2, 3};
  onnxc_array in = array1(ONNXC_I64, 2, data);
  onnxc_eval eval;
  cr_assert_eq(onnxc_eval_graph(&eval, &graph, &arena, &in, 1), ONNXC_OK, "%s", diag.text);
  static const int64_t want[6] = {0, 1, 2, 10, 11, 12};
  cr_expect_eq(onnxc_array_count(&eval.arrays[out.i]), 6);
  cr_expect_arr_eq(eval.arrays[out.i].data, want, 6 * sizeof *want);
  data[0] = -1;
  cr_expect_eq(onnxc_eval_graph(&eval, &graph, &arena, &in, 1), ONNXC_BAD_INPUT);
  stop();
}

/* A relayout adds a halo: reads around the tensor give zero, further out they are bugs. */
Test(eval, halo_reads) {
  start();
  onnxc_dim five = num(5);
  onnxc_value x = input("x", ONNXC_F32, 1, &five), padded = onnxc_graph_add_value(&graph, NULL, ONNXC_F32, 1, &five);
  onnxc_layout layout = {.num_axes = 1, .axis_dim = {0}, .low = {1}, .high = {2}};
  onnxc_value_of(&graph, padded)->layout = layout;
  onnxc_graph_add_node(&graph, ONNXC_OP_RELAYOUT, "halo", 1, &x, 1, &padded);
  onnxc_compute c = compute1(8, LOAD(ONNXC_F32, 0, OP(SUB, idx(0), ci(1))));
  onnxc_value out, far;
  onnxc_graph_add_compute(&graph, "near", &c, 1, &padded, &out);
  onnxc_graph_add_output(&graph, out, "out");
  float data[5] = {1, 2, 3, 4, 5};
  onnxc_array in = array1(ONNXC_F32, 5, data);
  onnxc_eval eval;
  cr_assert_eq(onnxc_eval_graph(&eval, &graph, &arena, &in, 1), ONNXC_OK, "%s", diag.text);
  static const float want[8] = {0, 1, 2, 3, 4, 5, 0, 0};
  for (int i = 0; i < 8; i++)
    cr_expect_eq(((float *)eval.arrays[out.i].data)[i], want[i]);
  c = compute1(9, LOAD(ONNXC_F32, 0, OP(SUB, idx(0), ci(1))));
  onnxc_graph_add_compute(&graph, "far", &c, 1, &padded, &far);
  cr_expect_eq(onnxc_eval_graph(&eval, &graph, &arena, &in, 1), ONNXC_INTERNAL);
  cr_expect(strstr(diag.text, "far: load of operand 0 reads index 7"), "%s", diag.text);
  stop();
}

Test(eval, composites_and_movement) {
  start();
  onnxc_dim dims[3] = {num(2), num(3), num(4)}, flat[2] = {num(6), num(4)}, joined[2] = {num(12), num(4)};
  onnxc_value x = input("x", ONNXC_F32, 3, dims);
  onnxc_value soft = onnxc_graph_add_value(&graph, NULL, ONNXC_F32, 3, dims);
  onnxc_node node = onnxc_graph_add_node(&graph, ONNXC_OP_SOFTMAX, "softmax", 1, &x, 1, &soft);
  onnxc_node_of(&graph, node)->axis = 1;
  onnxc_node_of(&graph, node)->span = 1;
  float scale_data[4] = {1, 2, 3, 4}, bias_data[1] = {10};
  onnxc_value scale = onnxc_graph_add_constant(&graph, "scale", ONNXC_F32, 1, (int64_t[]){4}, scale_data);
  onnxc_value bias = onnxc_graph_add_constant(&graph, "bias", ONNXC_F32, 1, (int64_t[]){1}, bias_data);
  onnxc_value norm = onnxc_graph_add_value(&graph, NULL, ONNXC_F32, 3, dims);
  node = onnxc_graph_add_node(&graph, ONNXC_OP_NORMALIZE, "norm", 3, (onnxc_value[]){x, scale, bias}, 1, &norm);
  onnxc_node_of(&graph, node)->axis = 1;
  onnxc_node_of(&graph, node)->span = 2;
  onnxc_node_of(&graph, node)->epsilon = 1e-5;
  onnxc_value rows[2], both = onnxc_graph_add_value(&graph, NULL, ONNXC_F32, 2, joined);
  for (int i = 0; i < 2; i++) {
    rows[i] = onnxc_graph_add_value(&graph, NULL, ONNXC_F32, 2, flat);
    onnxc_graph_add_node(&graph, ONNXC_OP_RESHAPE, "reshape", 1, i ? &norm : &soft, 1, &rows[i]);
  }
  onnxc_graph_add_node(&graph, ONNXC_OP_CONCAT, "concat", 2, rows, 1, &both);
  onnxc_graph_add_output(&graph, both, "out");
  float *data = random_floats(24);
  onnxc_array in = {.dtype = ONNXC_F32, .rank = 3, .dims = {2, 3, 4}, .data = data};
  onnxc_eval eval;
  cr_assert_eq(onnxc_eval_graph(&eval, &graph, &arena, &in, 1), ONNXC_OK, "%s", diag.text);
  const float *got = eval.arrays[both.i].data;
  for (int o = 0; o < 2; o++) {
    double mean = 0, variance = 0;
    for (int i = 0; i < 12; i++)
      mean += (double)data[o * 12 + i] / 12;
    for (int i = 0; i < 12; i++)
      variance += pow((double)data[o * 12 + i] - mean, 2) / 12;
    for (int j = 0; j < 3; j++)
      for (int i = 0; i < 4; i++) {
        double sum = 0;
        for (int k = 0; k < 3; k++)
          sum += exp((double)data[o * 12 + k * 4 + i]);
        int at = o * 12 + j * 4 + i;
        cr_assert_float_eq(got[at], exp((double)data[at]) / sum, 1e-6);
        double y = ((double)data[at] - mean) / sqrt(variance + 1e-5) * (double)scale_data[i] + 10;
        cr_assert_float_eq(got[24 + at], y, 1e-5);
      }
  }
  stop();
}

/* Whichever allocation fails, the evaluator unwinds to the caller's guard and leaves nothing behind (ASan looks). */
Test(eval, out_of_memory) {
  start();
  float *x = random_floats(40 * 30), *y = random_floats(30 * 20);
  onnxc_array in[2] = {{.dtype = ONNXC_F32, .rank = 2, .dims = {40, 30}, .data = x},
                       {.dtype = ONNXC_F32, .rank = 2, .dims = {30, 20}, .data = y}};
  int64_t extents[3] = {40, 20, 30};
  onnxc_expr element = OP(MUL, LOAD(ONNXC_F32, 0, idx(0), idx(2)), LOAD(ONNXC_F32, 1, idx(2), idx(1)));
  onnxc_compute c = reduction(2, 1, extents, ONNXC_EXPR_ADD, ONNXC_F32, cf(0), element);
  volatile int unwound = 0;
  for (volatile int n = 1; n < 1000; n++) {
    onnxc_guard inner;
    onnxc_arena results;
    onnxc_array out = {0};
    onnxc_arena_init(&results, &inner);
    if (setjmp(inner.env)) {
      onnxc_mem_fail_at(0);
      onnxc_arena_free(&results);
      unwound++;
      continue;
    }
    onnxc_mem_fail_at(n);
    onnxc_status status = onnxc_eval_compute(&graph, &results, &c, in, 2, NULL, &out);
    onnxc_mem_fail_at(0);
    onnxc_arena_free(&results);
    cr_assert_eq(status, ONNXC_OK, "%s", diag.text);
    break;
  }
  cr_expect_gt(unwound, 2, "only %d allocations", unwound);
  cr_expect_eq(arena.guard, &guard);
  stop();
}
