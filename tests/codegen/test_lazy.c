/* test_lazy.c -- loads under conditions: padding, concat, gathers, masks of every kind, against guarded memory. */
#include "codegen/rig.h"

#include <criterion/criterion.h>
#include <setjmp.h>
#include <stdlib.h>

#define BEGIN(r)                                                                                                       \
  rig *r = calloc(1, sizeof *r);                                                                                       \
  rig_init(r);                                                                                                         \
  if (setjmp(r->guard.env))                                                                                            \
  abort()

static onnxc_expr choose(rig *r, onnxc_expr c, onnxc_expr a, onnxc_expr b) {
  return onnxc_expr_select(&r->graph.exprs, c, a, b);
}
static onnxc_expr inside(rig *r, onnxc_expr i, int64_t low, int64_t high) {
  return rig_op(r, ONNXC_EXPR_AND, rig_op(r, ONNXC_EXPR_GE, i, rig_int(r, low)),
                rig_op(r, ONNXC_EXPR_LT, i, rig_int(r, high)));
}
static onnxc_expr shifted(rig *r, uint32_t index, int64_t scale, int64_t by) {
  return rig_op(r, ONNXC_EXPR_ADD, rig_op(r, ONNXC_EXPR_MUL, rig_index(r, index), rig_int(r, scale)), rig_int(r, by));
}

/* The schedules that each compute of two parallel indices runs under. */
static void in_all_ways(rig *r, const char *name, const onnxc_compute *c, const uint32_t *operands, uint32_t n) {
  onnxc_schedule s[] = {rig_schedule(c, 0, 3, 1, 2, 8, 4), rig_schedule(c, 1, 4, 0, 1, 4, 2),
                        rig_schedule(c, 0, 2, -1, 1, 1, 1), rig_schedule(c, -1, 1, 1, 1, 16, 1)};
  for (uint32_t k = 0; k < sizeof s / sizeof *s; k++)
    rig_case(r, onnxc_arena_printf(&r->arena, "%s, schedule %u", name, k), c, operands, n, NULL, &s[k]);
}

/* out[i, j] = 0 <= i-2 < h and 0 <= s*j-p < w ? a[i-2, s*j-p] : v */
Test(lazy, padding) {
  BEGIN(r);
  for (int64_t stride = 1; stride <= 2; stride++)
    for (int64_t w = 1; w < 40; w += 9)
      for (int constant = 0; constant < 2; constant++) {
        onnxc_compute c = {.num_results = 1};
        rig_extents(r, &c, 2, 0, (int64_t[]){7, (w + 8) / stride + 1});
        onnxc_expr y = shifted(r, 0, 1, -2), x = shifted(r, 1, stride, -3);
        onnxc_expr ok = rig_op(r, ONNXC_EXPR_AND, inside(r, y, 0, 4), inside(r, x, 0, w));
        c.finish[0] = choose(r, ok, rig_load(r, ONNXC_F32, 0, 2, (onnxc_expr[]){y, x}),
                             onnxc_expr_f64(&r->graph.exprs, ONNXC_F32, constant));
        uint32_t a = rig_tensor(r, ONNXC_F32, 2, (int64_t[]){4, w}, NULL);
        in_all_ways(r, "pad", &c, &a, 1);
        c.finish[0] =
            choose(r, rig_op(r, ONNXC_EXPR_NOT, ok, (onnxc_expr){0}), onnxc_expr_f64(&r->graph.exprs, ONNXC_F32, 0),
                   rig_load(r, ONNXC_F32, 0, 2, (onnxc_expr[]){y, x}));
        in_all_ways(r, "pad the other way round", &c, &a, 1);
      }
  rig_run(r);
}

/* Three parts along one axis, the conditions nested. */
Test(lazy, concat) {
  BEGIN(r);
  for (uint32_t axis = 0; axis < 2; axis++) {
    int64_t sizes[3] = {5, 1, 20}, all[2] = {9, 9};
    uint32_t operands[3];
    all[axis] = 26;
    for (int k = 0; k < 3; k++) {
      int64_t dims[2] = {9, 9};
      dims[axis] = sizes[k];
      operands[k] = rig_tensor(r, ONNXC_I32, 2, dims, NULL);
    }
    onnxc_compute c = {.num_results = 1};
    rig_extents(r, &c, 2, 0, all);
    onnxc_expr parts[3];
    int64_t from = 0;
    for (uint32_t k = 0; k < 3; from += sizes[k++]) {
      onnxc_expr index[2] = {rig_index(r, 0), rig_index(r, 1)};
      index[axis] = shifted(r, axis, 1, -from);
      parts[k] = rig_load(r, ONNXC_I32, k, 2, index);
    }
    onnxc_expr i = rig_index(r, axis);
    onnxc_expr tail = choose(r, rig_op(r, ONNXC_EXPR_LT, i, rig_int(r, 6)), parts[1], parts[2]);
    c.finish[0] = choose(r, rig_op(r, ONNXC_EXPR_LT, i, rig_int(r, 5)), parts[0], tail);
    in_all_ways(r, "concat", &c, operands, 3);
  }
  rig_run(r);
}

/* out[i, j] = a[index[i], j], a[i, index[j]] and, guarded by data, flag[i] ? a[index[j], i] : b[j]. */
Test(lazy, gathers) {
  BEGIN(r);
  r->modulus = 6;
  for (int64_t n = 1; n < 30; n += 7) {
    onnxc_compute c = {.num_results = 1};
    rig_extents(r, &c, 2, 0, (int64_t[]){6, n});
    int64_t most = n > 6 ? n : 6;
    uint32_t operands[4] = {rig_tensor(r, ONNXC_F32, 2, (int64_t[]){most, most}, NULL),
                            rig_tensor(r, ONNXC_I64, 1, (int64_t[]){most}, NULL),
                            rig_tensor(r, ONNXC_I32, 1, (int64_t[]){most}, NULL),
                            rig_tensor(r, ONNXC_BOOL, 1, (int64_t[]){most}, NULL)};
    onnxc_expr i = rig_index(r, 0), j = rig_index(r, 1);
    onnxc_expr at_i = rig_load(r, ONNXC_I64, 1, 1, &i), at_j = rig_load(r, ONNXC_I64, 1, 1, &j);
    onnxc_expr narrow = onnxc_expr_cast(&r->graph.exprs, ONNXC_I64, rig_load(r, ONNXC_I32, 2, 1, &j));
    c.finish[0] = rig_load(r, ONNXC_F32, 0, 2, (onnxc_expr[]){at_i, j});
    in_all_ways(r, "gather rows", &c, operands, 4);
    c.finish[0] = rig_load(r, ONNXC_F32, 0, 2, (onnxc_expr[]){at_j, narrow});
    in_all_ways(r, "gather both", &c, operands, 4);
    onnxc_expr flag = rig_load(r, ONNXC_BOOL, 3, 1, &i);
    c.finish[0] = choose(r, flag, rig_load(r, ONNXC_F32, 0, 2, (onnxc_expr[]){at_j, i}),
                         rig_load(r, ONNXC_F32, 0, 2, (onnxc_expr[]){i, at_j}));
    in_all_ways(r, "gather by a flag", &c, operands, 4);
    /* An index out of range that only a condition keeps from being used. */
    onnxc_expr far = rig_op(r, ONNXC_EXPR_MUL, at_j, rig_int(r, 1 << 20));
    onnxc_expr ok = rig_op(r, ONNXC_EXPR_EQ, at_j, rig_int(r, 0));
    c.finish[0] = choose(r, ok, rig_load(r, ONNXC_F32, 0, 2, (onnxc_expr[]){i, far}),
                         onnxc_expr_f64(&r->graph.exprs, ONNXC_F32, -1));
    in_all_ways(r, "guarded gather", &c, operands, 4);
  }
  rig_run(r);
}

/* A load that depends on neither row nor lane, guarded by conditions on both: its memo must not cross rows. */
Test(lazy, uniform_loads_under_conditions) {
  BEGIN(r);
  onnxc_compute c = {.num_results = 1};
  rig_extents(r, &c, 2, 0, (int64_t[]){7, 37});
  uint32_t operands[2] = {rig_tensor(r, ONNXC_F32, 1, (int64_t[]){1}, NULL),
                          rig_tensor(r, ONNXC_F32, 1, (int64_t[]){37}, NULL)};
  onnxc_expr none = rig_int(r, 0);
  onnxc_expr one = rig_load(r, ONNXC_F32, 0, 1, &none), many = rig_at(r, ONNXC_F32, 1, (int[]){1, -1});
  onnxc_expr fill = onnxc_expr_f64(&r->graph.exprs, ONNXC_F32, 0);
  onnxc_expr by_row = rig_op(r, ONNXC_EXPR_EQ, rig_index(r, 0), rig_int(r, 2));
  onnxc_expr by_lane = rig_op(r, ONNXC_EXPR_GT, rig_index(r, 1), rig_int(r, 20));
  onnxc_expr sum = rig_op(r, ONNXC_EXPR_ADD, choose(r, by_row, one, fill), choose(r, by_lane, one, fill));
  c.finish[0] = rig_op(r, ONNXC_EXPR_ADD, sum, choose(r, by_row, many, fill));
  in_all_ways(r, "uniform", &c, operands, 2);
  c.finish[0] = choose(r, by_row, choose(r, by_lane, one, many), choose(r, by_lane, many, one));
  in_all_ways(r, "nested", &c, operands, 2);
  rig_run(r);
}

/* Max pooling with padding: a window that leaves the image, in both data layouts. */
static void pool(rig *r, bool channels_last, uint32_t vec, uint32_t row, uint32_t vecs, uint32_t lanes, int64_t ch,
                 int64_t w) {
  onnxc_compute c = {0};
  int64_t out = (w + 1) / 2;
  /* i0 channel, i1 y, i2 x (or y, x, channel); r0 r1 the window */
  uint32_t chan = channels_last ? 2 : 0, ydim = channels_last ? 0 : 1, xdim = channels_last ? 1 : 2;
  int64_t extents[5] = {0, 0, 0, 3, 3}, in[3];
  extents[chan] = ch;
  extents[ydim] = extents[xdim] = out;
  in[chan] = ch;
  in[ydim] = in[xdim] = w;
  rig_extents(r, &c, 3, 2, extents);
  onnxc_expr y = rig_op(r, ONNXC_EXPR_ADD, shifted(r, ydim, 2, -1), rig_index(r, 3));
  onnxc_expr x = rig_op(r, ONNXC_EXPR_ADD, shifted(r, xdim, 2, -1), rig_index(r, 4));
  onnxc_expr index[3];
  index[chan] = rig_index(r, chan);
  index[ydim] = y;
  index[xdim] = x;
  onnxc_expr lowest = onnxc_expr_f64(&r->graph.exprs, ONNXC_F32, -1e30);
  onnxc_expr ok = rig_op(r, ONNXC_EXPR_AND, inside(r, y, 0, w), inside(r, x, 0, w));
  rig_reduce(r, &c, 0, ONNXC_F32, ONNXC_EXPR_MAX, choose(r, ok, rig_load(r, ONNXC_F32, 0, 3, index), lowest), lowest);
  uint32_t a = rig_tensor(r, ONNXC_F32, 3, in, NULL);
  onnxc_schedule s = rig_schedule(&c, (int)row, 2, (int)vec, vecs, lanes, 3);
  rig_case(r, "pool", &c, &a, 1, NULL, &s);
  s.unroll = 1;
  s.row = -1;
  rig_case(r, "pool without rows", &c, &a, 1, NULL, &s);
}

Test(lazy, pooling) {
  BEGIN(r);
  for (int64_t w = 2; w < 20; w += 5) {
    pool(r, true, 2, 1, 2, 8, 19, w);
    pool(r, false, 2, 1, 1, 8, 3, w);
    pool(r, false, 0, 2, 1, 4, 5, w);
    pool(r, true, 1, 0, 1, 16, 4, w);
  }
  rig_run(r);
}

/* bool, narrow floats and casts through memory. */
Test(lazy, types) {
  BEGIN(r);
  const onnxc_dtype dtypes[] = {ONNXC_F16, ONNXC_BF16, ONNXC_I8, ONNXC_U16, ONNXC_U32, ONNXC_U64, ONNXC_BOOL};
  for (uint32_t d = 0; d < sizeof dtypes / sizeof *dtypes; d++) {
    onnxc_compute c = {.num_results = 1};
    rig_extents(r, &c, 2, 0, (int64_t[]){3, 21});
    uint32_t operands[2] = {rig_tensor(r, dtypes[d], 2, (int64_t[]){3, 21}, NULL),
                            rig_tensor(r, dtypes[d], 2, (int64_t[]){21, 3}, NULL)};
    onnxc_expr a = rig_at(r, dtypes[d], 0, (int[]){0, 1, -1}), b = rig_at(r, dtypes[d], 1, (int[]){1, 0, -1});
    bool is_bool = onnxc_dtype_is_bool(dtypes[d]);
    c.finish[0] = rig_op(r, is_bool ? ONNXC_EXPR_XOR : ONNXC_EXPR_ADD, a, b);
    in_all_ways(r, onnxc_dtype_name(dtypes[d]), &c, operands, 2);
    c.finish[0] = onnxc_expr_cast(&r->graph.exprs, ONNXC_F32, a);
    in_all_ways(r, "to f32", &c, operands, 2);
    c.finish[0] = rig_op(r, is_bool ? ONNXC_EXPR_AND : ONNXC_EXPR_GT, a, b);
    in_all_ways(r, "to bool", &c, operands, 2);
  }
  rig_run(r);
}
