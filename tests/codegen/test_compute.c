/* test_compute.c -- register tiles of every shape against the evaluator: products, elementwise code, reductions. */
#include "codegen/rig.h"

#include <criterion/criterion.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#define BEGIN(r)                                                                                                       \
  rig *r = calloc(1, sizeof *r);                                                                                       \
  rig_init(r);                                                                                                         \
  if (setjmp(r->guard.env))                                                                                            \
  abort()

static uint32_t lanes_of(const rig *r, onnxc_dtype dtype) {
  return onnxc_target_lanes(r->target, (uint32_t)onnxc_dtype_bytes(dtype));
}

static onnxc_expr zero(rig *r, onnxc_dtype dtype) {
  return onnxc_dtype_is_float(dtype) ? onnxc_expr_f64(&r->graph.exprs, dtype, 0)
                                     : onnxc_expr_i64(&r->graph.exprs, dtype, 0);
}

/* C = max(A B + bias, 0); extents m, n, k. */
static onnxc_compute product(rig *r, onnxc_dtype dtype, int64_t m, int64_t n, int64_t k) {
  onnxc_compute c = {0};
  rig_extents(r, &c, 2, 1, (int64_t[]){m, n, k});
  onnxc_expr a = rig_at(r, dtype, 0, (int[]){0, 2, -1}), b = rig_at(r, dtype, 1, (int[]){2, 1, -1});
  rig_reduce(r, &c, 0, dtype, ONNXC_EXPR_ADD, rig_op(r, ONNXC_EXPR_MUL, a, b), zero(r, dtype));
  onnxc_expr bias = rig_at(r, dtype, 2, (int[]){1, -1});
  c.finish[0] = rig_op(r, ONNXC_EXPR_MAX, rig_op(r, ONNXC_EXPR_ADD, c.finish[0], bias), zero(r, dtype));
  return c;
}

static void add_product(rig *r, onnxc_dtype dtype, int64_t m, int64_t n, int64_t k, uint32_t rows, uint32_t vecs,
                        uint32_t lanes, uint32_t unroll, const char *layout) {
  onnxc_compute c = product(r, dtype, m, n, k);
  uint32_t operands[3] = {rig_tensor(r, dtype, 2, (int64_t[]){m, k}, NULL),
                          rig_tensor(r, dtype, 2, (int64_t[]){k, n}, layout),
                          rig_tensor(r, dtype, 1, (int64_t[]){n}, NULL)};
  onnxc_schedule s = rig_schedule(&c, 0, rows, 1, vecs, lanes, unroll);
  const char *name = onnxc_arena_printf(&r->arena, "%s %ldx%ldx%ld tile %ux%ux%u", onnxc_dtype_name(dtype), (long)m,
                                        (long)n, (long)k, rows, vecs, lanes);
  rig_case(r, name, &c, operands, 3, NULL, &s);
}

/* Every row of the tile table that this CPU runs: rows, columns and depths around one tile. */
Test(compute, products_of_every_tile) {
  uint32_t count;
  const onnxc_tile_row *rows = onnxc_tile_rows(&count);
  uint32_t done = 0;
  for (uint32_t t = 0; t < count; t++) {
    if (rows[t].dtype != rows[t].acc || (rows[t].features & onnxc_target_host()->features) != rows[t].features)
      continue;
    BEGIN(r);
    uint32_t bytes = rows[t].features & ONNXC_FEATURE_AVX512 ? 64 : 32;
    uint32_t lanes = bytes / (uint32_t)onnxc_dtype_bytes(rows[t].dtype), width = lanes * rows[t].nv;
    for (int64_t m = 1; m <= rows[t].mr + 1; m++)
      add_product(r, rows[t].dtype, m, width, 3, rows[t].mr, rows[t].nv, lanes, rows[t].unroll, NULL);
    int64_t columns[] = {1, lanes - 1, lanes, lanes + 1, width - 1, width + 1, 2 * width + lanes + 3};
    for (uint32_t i = 0; i < sizeof columns / sizeof *columns; i++)
      add_product(r, rows[t].dtype, rows[t].mr + 2, columns[i], 5, rows[t].mr, rows[t].nv, lanes, rows[t].unroll, NULL);
    for (int64_t k = 1; k <= 2 * rows[t].unroll + 1; k++)
      add_product(r, rows[t].dtype, 2, 7, k, rows[t].mr, rows[t].nv, lanes, rows[t].unroll, NULL);
    const char *packed = onnxc_arena_printf(&r->arena, "[1 0 1:%u]", width);
    add_product(r, rows[t].dtype, 3 * rows[t].mr + 1, 2 * width + 5, 19, rows[t].mr, rows[t].nv, lanes, rows[t].unroll,
                packed);
    rig_run(r);
    done++;
  }
  cr_assert(done > 0);
}

Test(compute, products_of_other_types) {
  BEGIN(r);
  onnxc_dtype dtypes[] = {ONNXC_F64, ONNXC_I32, ONNXC_I64, ONNXC_U8, ONNXC_I16};
  for (uint32_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
    add_product(r, dtypes[i], 5, 19, 9, 3, 2, 8, 2, NULL);
    add_product(r, dtypes[i], 4, 3, 2, 1, 1, 1, 1, NULL);
  }
  rig_run(r);
}

/* Sizes known only at run time. */
static void dynamic_product(int64_t n) {
  BEGIN(r);
  onnxc_dim dims[3] = {rig_symbol(r, "M", 1, 100, n % 23 + 1), rig_symbol(r, "N", 0, 1000, n),
                       rig_symbol(r, "K", 0, 1000, n % 11)};
  onnxc_compute c = product(r, ONNXC_F32, 1, 1, 1);
  for (uint32_t k = 0; k < 3; k++)
    c.extents[k] = dims[k];
  uint32_t operands[3] = {rig_tensor_dims(r, ONNXC_F32, 2, (onnxc_dim[]){dims[0], dims[2]}, NULL),
                          rig_tensor_dims(r, ONNXC_F32, 2, (onnxc_dim[]){dims[2], dims[1]}, NULL),
                          rig_tensor_dims(r, ONNXC_F32, 1, &dims[1], NULL)};
  onnxc_schedule s = rig_schedule(&c, 0, 6, 1, 4, lanes_of(r, ONNXC_F32), 4);
  rig_case(r, "dynamic", &c, operands, 3, NULL, &s);
  rig_run(r);
}

Test(compute, products_of_dynamic_size) {
  for (int64_t n = 1; n < 80; n += n < 4 ? 1 : 17)
    dynamic_product(n);
}

/* Elementwise with strides: out[i,j] = f(a[i, s*j + o]) + b[j, i] * c. */
Test(compute, elementwise_strides_and_broadcasts) {
  BEGIN(r);
  onnxc_exprs *pool = &r->graph.exprs;
  uint32_t lanes = lanes_of(r, ONNXC_F32);
  for (int64_t stride = -2; stride <= 5; stride++)
    for (int64_t n = 1; n < 3 * (int64_t)lanes; n += lanes - 5) {
      onnxc_compute c = {.num_results = 1};
      rig_extents(r, &c, 2, 0, (int64_t[]){3, n});
      int64_t width = llabs(stride) * (n - 1) + 1;
      onnxc_expr at = onnxc_expr_binary(pool, ONNXC_EXPR_MUL, rig_index(r, 1), rig_int(r, stride));
      if (stride < 0)
        at = onnxc_expr_binary(pool, ONNXC_EXPR_ADD, at, rig_int(r, -stride * (n - 1)));
      onnxc_expr a = rig_load(r, ONNXC_F32, 0, 2, (onnxc_expr[]){rig_index(r, 0), at});
      onnxc_expr b = rig_at(r, ONNXC_F32, 1, (int[]){1, 0, -1});
      c.finish[0] = rig_op(r, ONNXC_EXPR_ADD, a, rig_op(r, ONNXC_EXPR_MUL, b, rig_at(r, ONNXC_F32, 2, (int[]){-1})));
      uint32_t operands[3] = {rig_tensor(r, ONNXC_F32, 2, (int64_t[]){3, width}, NULL),
                              rig_tensor(r, ONNXC_F32, 2, (int64_t[]){n, 3}, NULL),
                              rig_tensor(r, ONNXC_F32, 0, NULL, NULL)};
      onnxc_schedule s = rig_schedule(&c, 0, 2, 1, 2, lanes, 1);
      rig_case(r, onnxc_arena_printf(&r->arena, "stride %ld n %ld", (long)stride, (long)n), &c, operands, 3, NULL, &s);
      s = rig_schedule(&c, 1, 2, 0, 1, lanes, 1); /* lanes along the other index: scattered */
      rig_case(r, "scatter", &c, operands, 3, NULL, &s);
      s = rig_schedule(&c, -1, 1, -1, 1, 1, 1);
      rig_case(r, "scalar", &c, operands, 3, NULL, &s);
    }
  rig_run(r);
}

/* out[i] = reduce over r of a[i, r] (vec = r) and of a[r, i] (vec = i); all combiners and several types. */
Test(compute, reductions) {
  const onnxc_expr_op ops[] = {ONNXC_EXPR_ADD, ONNXC_EXPR_MUL, ONNXC_EXPR_MIN, ONNXC_EXPR_MAX};
  const onnxc_dtype dtypes[] = {ONNXC_F32, ONNXC_F64, ONNXC_I32, ONNXC_U8, ONNXC_I64};
  BEGIN(r);
  for (uint32_t d = 0; d < sizeof dtypes / sizeof *dtypes; d++)
    for (uint32_t o = 0; o < sizeof ops / sizeof *ops; o++)
      for (int64_t n = 1; n <= 100; n = n * 3 + 1) {
        onnxc_compute c = {0};
        rig_extents(r, &c, 1, 1, (int64_t[]){5, n});
        onnxc_expr init = onnxc_dtype_is_float(dtypes[d]) ? onnxc_expr_f64(&r->graph.exprs, dtypes[d], 0.5)
                                                          : onnxc_expr_i64(&r->graph.exprs, dtypes[d], 3);
        rig_reduce(r, &c, 0, dtypes[d], ops[o], rig_at(r, dtypes[d], 0, (int[]){0, 1, -1}), init);
        uint32_t a = rig_tensor(r, dtypes[d], 2, (int64_t[]){5, n}, NULL);
        const char *name = onnxc_arena_printf(&r->arena, "%s of %ld %s", onnxc_expr_op_name(ops[o]), (long)n,
                                              onnxc_dtype_name(dtypes[d]));
        onnxc_schedule s = rig_schedule(&c, 0, 2, 1, 2, 8, 1);
        rig_case(r, name, &c, &a, 1, NULL, &s);
        s = rig_schedule(&c, -1, 1, 0, 1, 8, 4);
        rig_case(r, name, &c, &a, 1, NULL, &s);
        s = rig_schedule(&c, 0, 3, -1, 1, 1, 4);
        rig_case(r, name, &c, &a, 1, NULL, &s);
      }
  rig_run(r);
}

/* Sum over a reduction index along the lanes, of a size known at run time, below another reduction index. */
static void dynamic_sum(int64_t n) {
  BEGIN(r);
  onnxc_dim N = rig_symbol(r, "N", 0, 1 << 20, n);
  onnxc_compute c = {0};
  rig_extents(r, &c, 1, 2, (int64_t[]){3, 2, 1});
  c.extents[2] = N;
  rig_reduce(r, &c, 0, ONNXC_F32, ONNXC_EXPR_ADD, rig_at(r, ONNXC_F32, 0, (int[]){1, 0, 2, -1}), zero(r, ONNXC_F32));
  uint32_t a = rig_tensor_dims(r, ONNXC_F32, 3, (onnxc_dim[]){c.extents[1], c.extents[0], N}, NULL);
  onnxc_schedule s = rig_schedule(&c, 0, 2, 2, 3, 8, 1);
  rig_case(r, "dynamic sum", &c, &a, 1, NULL, &s);
  rig_run(r);
}

Test(compute, dynamic_reduction_along_lanes) {
  for (int64_t n = 0; n < 70; n += 1 + n / 3)
    dynamic_sum(n);
}

/* arg-max: two results, an ordered combiner. */
Test(compute, argmax) {
  BEGIN(r);
  onnxc_exprs *pool = &r->graph.exprs;
  r->modulus = 7; /* with ties: the first wins */
  for (int64_t n = 1; n < 40; n += 6) {
    onnxc_compute c = {0};
    rig_extents(r, &c, 1, 1, (int64_t[]){n + 2, n});
    rig_reduce(r, &c, 0, ONNXC_F32, ONNXC_EXPR_MAX, rig_at(r, ONNXC_F32, 0, (int[]){0, 1, -1}),
               onnxc_expr_f64(pool, ONNXC_F32, -1e30));
    rig_reduce(r, &c, 1, ONNXC_I64, ONNXC_EXPR_ADD, rig_index(r, 1), rig_int(r, 0));
    onnxc_expr better =
        onnxc_expr_binary(pool, ONNXC_EXPR_GT, onnxc_expr_val(pool, ONNXC_F32, 0), onnxc_expr_acc(pool, ONNXC_F32, 0));
    for (uint32_t j = 0; j < 2; j++)
      c.combine[j] = onnxc_expr_select(pool, better, onnxc_expr_val(pool, c.acc_dtype[j], j),
                                       onnxc_expr_acc(pool, c.acc_dtype[j], j));
    uint32_t a = rig_tensor(r, ONNXC_F32, 2, (int64_t[]){n + 2, n}, NULL);
    onnxc_schedule s = rig_schedule(&c, -1, 1, 0, 2, 8, 3);
    rig_case(r, "argmax in lanes", &c, &a, 1, NULL, &s);
    s = rig_schedule(&c, 0, 4, -1, 1, 1, 1);
    rig_case(r, "argmax in rows", &c, &a, 1, NULL, &s);
  }
  rig_run(r);
}
