/* test_dot.c -- steps of dot products (kr above 1) against the evaluator: bf16 x bf16, u8 x s8, s8 x u8.
 *
 * Each sweep runs as code for every CPU of the table that this machine can stand in for, so that what is composed of
 * several instructions on CPUs without the dot product runs, too. Integers must agree to the bit; their corners
 * saturate vpmaddubsw. bf16 values are no subnormals, which vdpbf16ps takes for zero.
 */
#include "codegen/rig.h"

#include <criterion/criterion.h>
#include <setjmp.h>
#include <stdlib.h>

#define BEGIN(r)                                                                                                       \
  rig *r = calloc(1, sizeof *r);                                                                                       \
  rig_init(r);                                                                                                         \
  if (setjmp(r->guard.env))                                                                                            \
  abort()

typedef struct kind {
  const char *name;
  onnxc_dtype a, b, acc;
  uint32_t kr;
} kind;

static const kind kinds[] = {{"bf16", ONNXC_BF16, ONNXC_BF16, ONNXC_F32, 2},
                             {"u8s8", ONNXC_U8, ONNXC_I8, ONNXC_I32, 4},
                             {"s8u8", ONNXC_I8, ONNXC_U8, ONNXC_I32, 4}};
enum { KINDS = sizeof kinds / sizeof *kinds };

/* The composer does not use AMX. */
static uint32_t features_of(const onnxc_target *target) { return target->features & ~(uint32_t)ONNXC_FEATURE_AMX; }

/* The n-th target that runs here and differs in features from those before; NULL at the end. */
static const onnxc_target *distinct_target(uint32_t n) {
  uint32_t count;
  const onnxc_target *rows = onnxc_target_rows(&count);
  for (uint32_t t = 0; t < count; t++) {
    bool seen = !onnxc_target_runs_on_host(&rows[t]);
    for (uint32_t u = 0; u < t; u++)
      seen |= features_of(&rows[u]) == features_of(&rows[t]);
    if (!seen && n-- == 0)
      return &rows[t];
  }
  return NULL;
}

/* Calls the test for every kind and every distinct target. */
static void for_each(void (*test)(const onnxc_target *, const kind *)) {
  uint32_t done = 0;
  for (const onnxc_target *target; (target = distinct_target(done)); done++)
    for (uint32_t i = 0; i < KINDS; i++)
      test(target, &kinds[i]);
  cr_assert(done > 0);
}

static void begin_kind(rig *r, const onnxc_target *target, const kind *k) {
  static const double bytes[] = {255, -128, 127, 254, -127, 128, 0, 1};
  r->target = target;
  r->alone = true;
  if (k->kr == 4) {
    r->corners = bytes;
    r->num_corners = sizeof bytes / sizeof *bytes;
  }
}

static onnxc_expr zero(rig *r, onnxc_dtype dtype) {
  return onnxc_dtype_is_float(dtype) ? onnxc_expr_f64(&r->graph.exprs, dtype, 0)
                                     : onnxc_expr_i64(&r->graph.exprs, dtype, 0);
}

static onnxc_expr factor(rig *r, onnxc_dtype acc, onnxc_dtype dtype, uint32_t operand, const int *indices) {
  return onnxc_expr_cast(&r->graph.exprs, acc, rig_at(r, dtype, operand, indices));
}

typedef struct product {
  int64_t m, n, k;
  uint32_t rows, vecs, lanes, unroll, panel;
  bool swapped; /* B is the first factor */
} product;

/* Each of k products of numbers below 1 and each of their sums is rounded, in the code and in the evaluator. */
static double tolerance(int64_t k) { return 2 * (double)k * (double)k * 0x1p-24; }

/* C = A B, A in rows that go on behind k (with NaN). */
static onnxc_stmt *add_product(rig *r, const kind *t, const product *p) {
  onnxc_compute c = {0};
  rig_extents(r, &c, 2, 1, (int64_t[]){p->m, p->n, p->k});
  onnxc_expr a = factor(r, t->acc, t->a, 0, (int[]){0, 2, -1}), b = factor(r, t->acc, t->b, 1, (int[]){2, 1, -1});
  rig_reduce(r, &c, 0, t->acc, ONNXC_EXPR_ADD,
             p->swapped ? rig_op(r, ONNXC_EXPR_MUL, b, a) : rig_op(r, ONNXC_EXPR_MUL, a, b), zero(r, t->acc));
  const char *panels = onnxc_arena_printf(&r->arena, "[1 0 1:%u 0:%u]", p->panel, t->kr);
  uint32_t operands[2] = {rig_tensor(r, t->a, 2, (int64_t[]){p->m, p->k + (p->n & 3)}, NULL),
                          rig_tensor(r, t->b, 2, (int64_t[]){p->k, p->n}, panels)};
  onnxc_schedule s = rig_schedule(&c, 0, p->rows, 1, p->vecs, p->lanes, p->unroll);
  s.kr = (uint8_t)t->kr;
  const char *name = onnxc_arena_printf(&r->arena, "%s %ldx%ldx%ld tile %ux%ux%u panel %u for %s", t->name, (long)p->m,
                                        (long)p->n, (long)p->k, p->rows, p->vecs, p->lanes, p->panel, r->target->name);
  onnxc_stmt *stmt = rig_case(r, name, &c, operands, 2, NULL, &s);
  rig_case_record *record = &r->cases.data[r->cases.length - 1];
  record->used[0] = p->k;
  record->tolerance = tolerance(p->k);
  return stmt;
}

static product tile_of(const onnxc_target *target, const kind *t) {
  const onnxc_tile_row *row = onnxc_tile_row_for(target, onnxc_target_factors(t->a, t->b, t->acc), t->acc);
  cr_assert(row && row->kr == t->kr);
  uint32_t lanes = onnxc_target_lanes(target, 4);
  return (product){7, 33, 21, row->mr, row->nv, lanes, row->unroll, row->nv * lanes, false};
}

static void sweep(const onnxc_target *target, const kind *t) {
  BEGIN(r);
  begin_kind(r, target, t);
  product p = tile_of(target, t), q = p;
  int64_t lanes = p.lanes, width = p.panel;
  for (q.m = 1; q.m <= 2 * p.rows + 1; q.m++) {
    q.n = width;
    q.k = q.m % 5 + 7;
    add_product(r, t, &q);
  }
  q = p;
  const int64_t columns[] = {1, lanes - 1, lanes, lanes + 1, width - 1, width + 1, 2 * width + lanes + 3};
  for (uint32_t i = 0; i < sizeof columns / sizeof *columns; i++) {
    q.n = columns[i];
    add_product(r, t, &q);
    q.swapped = !q.swapped;
  }
  q = p;
  const int64_t depths[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 64, 65};
  for (uint32_t i = 0; i < sizeof depths / sizeof *depths; i++) {
    q.m = 2, q.n = 5 + i, q.k = depths[i];
    add_product(r, t, &q);
  }
  rig_run(r);
}

Test(dot, products_of_every_tile) { for_each(sweep); }

/* ---- sizes and places ---- */

typedef struct dynamic {
  int64_t m, n, k;
} dynamic;

static void dynamic_product(const onnxc_target *target, const kind *t, dynamic size) {
  BEGIN(r);
  begin_kind(r, target, t);
  product p = tile_of(target, t);
  onnxc_dim dims[3] = {rig_symbol(r, "M", 1, 100, size.m), rig_symbol(r, "N", 0, 1000, size.n),
                       rig_symbol(r, "K", 0, 1000, size.k)};
  onnxc_compute c = {.num_parallel = 2, .num_reduce = 1, .extents = {dims[0], dims[1], dims[2]}};
  onnxc_expr a = factor(r, t->acc, t->a, 0, (int[]){0, 2, -1}), b = factor(r, t->acc, t->b, 1, (int[]){2, 1, -1});
  rig_reduce(r, &c, 0, t->acc, ONNXC_EXPR_ADD, rig_op(r, ONNXC_EXPR_MUL, a, b), zero(r, t->acc));
  onnxc_dim wide = onnxc_dim_addc(&r->graph.dims, dims[2], 1);
  const char *panels = onnxc_arena_printf(&r->arena, "[1 0 1:%u 0:%u]", p.panel, t->kr);
  uint32_t operands[2] = {rig_tensor_dims(r, t->a, 2, (onnxc_dim[]){dims[0], wide}, NULL),
                          rig_tensor_dims(r, t->b, 2, (onnxc_dim[]){dims[2], dims[1]}, panels)};
  onnxc_schedule s = rig_schedule(&c, 0, p.rows, 1, p.vecs, p.lanes, p.unroll);
  s.kr = (uint8_t)t->kr;
  rig_case(r, t->name, &c, operands, 2, NULL, &s);
  r->cases.data[0].used[0] = size.k ? size.k : -1;
  r->cases.data[0].tolerance = tolerance(size.k);
  rig_run(r);
}

static void dynamic_sweep(const onnxc_target *target, const kind *t) {
  static const dynamic sizes[] = {{1, 1, 1}, {7, 70, 0}, {6, 64, 18}, {13, 131, 35}, {4, 15, 64}, {9, 33, 9}};
  for (uint32_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
    dynamic_product(target, t, sizes[s]);
}

Test(dot, sizes_known_at_run_time) { for_each(dynamic_sweep); }

/* The first block of K starts, the last one (with a part of a step) finishes, those between resume. */
static void partial_sums(const onnxc_target *target, const kind *t) {
  BEGIN(r);
  begin_kind(r, target, t);
  product p = tile_of(target, t);
  const int64_t kb = 12;
  p.k = 4 * kb + t->kr + 1;
  onnxc_stmt *whole = add_product(r, t, &p), *parts[3];
  onnxc_dim iv;
  onnxc_stmt *loop = rig_loop(r, false, 1, 4, 1, &iv);
  for (int i = 0; i < 3; i++) {
    parts[i] = ONNXC_NEW(&r->arena, onnxc_stmt);
    *parts[i] = *whole;
    parts[i]->box_lo = ONNXC_NEW_ARRAY(&r->arena, onnxc_dim, 3);
    parts[i]->box_size = ONNXC_NEW_ARRAY(&r->arena, onnxc_dim, 3);
    memcpy(parts[i]->box_lo, whole->box_lo, 3 * sizeof(onnxc_dim));
    memcpy(parts[i]->box_size, whole->box_size, 3 * sizeof(onnxc_dim));
    parts[i]->resume = i > 0;
    parts[i]->partial = i < 2;
    parts[i]->box_lo[2] = i == 1 ? onnxc_dim_mulc(&r->graph.dims, iv, kb) : rig_dim(r, i ? 4 * kb : 0);
    parts[i]->box_size[2] = rig_dim(r, i == 2 ? p.k - 4 * kb : kb);
  }
  rig_append(r, &loop->body, parts[1]);
  rig_replace(r, (onnxc_stmt *[]){parts[0], loop, parts[2]}, 3, 1);
  rig_run(r);
}

Test(dot, partial_sums) { for_each(partial_sums); }

/* C[g, i, j] = sum over w and k of A[g, i + w, k] * B[w, k, 20*g + j]: a batch and a window outside, columns that do
 * not begin with a panel. `blocked`: A's k in blocks of 8. */
static void add_windows(rig *r, const kind *t, bool blocked) {
  product p = tile_of(r->target, t);
  const int64_t groups = 2, m = p.rows + 2, n = 20, window = 3, k = 24 - blocked;
  onnxc_compute c = {0};
  rig_extents(r, &c, 3, 2, (int64_t[]){groups, m, n, window, k});
  onnxc_expr row = rig_op(r, ONNXC_EXPR_ADD, rig_index(r, 1), rig_index(r, 3));
  onnxc_expr column =
      rig_op(r, ONNXC_EXPR_ADD, rig_op(r, ONNXC_EXPR_MUL, rig_index(r, 0), rig_int(r, n)), rig_index(r, 2));
  onnxc_expr a = rig_load(r, t->a, 0, 3, (onnxc_expr[]){rig_index(r, 0), row, rig_index(r, 4)});
  onnxc_expr b = rig_load(r, t->b, 1, 3, (onnxc_expr[]){rig_index(r, 3), rig_index(r, 4), column});
  onnxc_expr element = rig_op(r, ONNXC_EXPR_MUL, onnxc_expr_cast(&r->graph.exprs, t->acc, b),
                              onnxc_expr_cast(&r->graph.exprs, t->acc, a));
  rig_reduce(r, &c, 0, t->acc, ONNXC_EXPR_ADD, element, zero(r, t->acc));
  const char *panels = onnxc_arena_printf(&r->arena, "[0 2 1 2:%u 1:%u]", p.panel, t->kr);
  uint32_t operands[2] = {
      rig_tensor(r, t->a, 3, (int64_t[]){groups, m + window - 1, k}, blocked ? "[0 2 1 2:8]" : NULL),
      rig_tensor(r, t->b, 3, (int64_t[]){window, k, groups * n}, panels)};
  onnxc_schedule s = rig_schedule(&c, 1, p.rows, 2, p.vecs, p.lanes, p.unroll);
  s.kr = (uint8_t)t->kr;
  rig_case(r, blocked ? "windows, blocked" : "windows", &c, operands, 2, NULL, &s);
  r->cases.data[r->cases.length - 1].tolerance = tolerance(window * k);
}

/* The result as u8: round(acc * scale[j]) + 100 between 0 and 255. */
static void add_requantized(rig *r, const kind *t) {
  onnxc_exprs *pool = &r->graph.exprs;
  product p = tile_of(r->target, t);
  p.n = 2 * p.panel + 5;
  onnxc_stmt *plain = add_product(r, t, &p);
  onnxc_compute c = *plain->compute;
  onnxc_expr scale = rig_op(r, ONNXC_EXPR_MUL, rig_at(r, ONNXC_F32, 2, (int[]){1, -1}),
                            onnxc_expr_f64(pool, ONNXC_F32, t->kr == 4 ? 0x1p-8 : 0x1p6));
  onnxc_expr scaled =
      rig_op(r, ONNXC_EXPR_MUL, onnxc_expr_cast(pool, ONNXC_F32, onnxc_expr_acc(pool, t->acc, 0)), scale);
  onnxc_expr shifted = rig_op(r, ONNXC_EXPR_ADD, rig_op(r, ONNXC_EXPR_ROUND, scaled, (onnxc_expr){0}),
                              onnxc_expr_f64(pool, ONNXC_F32, 100));
  onnxc_expr above = rig_op(r, ONNXC_EXPR_MAX, shifted, onnxc_expr_f64(pool, ONNXC_F32, 0));
  c.finish[0] = onnxc_expr_cast(pool, ONNXC_U8, rig_op(r, ONNXC_EXPR_MIN, above, onnxc_expr_f64(pool, ONNXC_F32, 255)));
  uint32_t operands[3] = {plain->operands[0].buffer, plain->operands[1].buffer,
                          rig_tensor(r, ONNXC_F32, 1, (int64_t[]){p.n}, NULL)};
  rig_case(r, "requantized", &c, operands, 3, NULL, &plain->schedule);
  r->cases.data[r->cases.length - 1].used[0] = p.k;
}

static void windows_and_epilogues(const onnxc_target *target, const kind *t) {
  BEGIN(r);
  begin_kind(r, target, t);
  add_windows(r, t, false);
  add_windows(r, t, true);
  if (t->kr == 4)
    add_requantized(r, t);
  rig_run(r);
}

Test(dot, windows_and_epilogues) { for_each(windows_and_epilogues); }

/* Vectors of half and of twice a register, panels that are no multiple of them. */
static void other_widths(const onnxc_target *target, const kind *t) {
  BEGIN(r);
  begin_kind(r, target, t);
  for (uint32_t lanes = 4; lanes <= 32; lanes *= 2) {
    product p = {5, 2 * lanes + 3, 13, 3, 2, lanes, 2, 2 * lanes, lanes > 8};
    add_product(r, t, &p);
    p.panel = lanes + 4;
    add_product(r, t, &p);
    p.k = t->kr; /* one step: then panels follow each other as their columns do */
    p.n = lanes + 3;
    add_product(r, t, &p);
  }
  rig_run(r);
}

Test(dot, other_widths) { for_each(other_widths); }

/* One element a step: types that are only stored narrow. */
static void narrow_storage(const kind *t) {
  BEGIN(r);
  uint32_t lanes = onnxc_target_lanes(r->target, 4);
  for (int64_t n = 1; n < (int64_t)6 * lanes; n = 3 * n + 5) {
    onnxc_compute c = {0};
    const int64_t m = 7, k = 19;
    rig_extents(r, &c, 2, 1, (int64_t[]){m, n, k});
    onnxc_expr a = factor(r, t->acc, t->a, 0, (int[]){0, 2, -1}), b = factor(r, t->acc, t->b, 1, (int[]){2, 1, -1});
    rig_reduce(r, &c, 0, t->acc, ONNXC_EXPR_ADD, rig_op(r, ONNXC_EXPR_MUL, a, b), zero(r, t->acc));
    const char *panels = onnxc_arena_printf(&r->arena, "[1 0 1:%u]", 4 * lanes);
    uint32_t operands[2] = {rig_tensor(r, t->a, 2, (int64_t[]){m, k}, NULL),
                            rig_tensor(r, t->b, 2, (int64_t[]){k, n}, panels)};
    onnxc_schedule s = rig_schedule(&c, 0, 6, 1, 4, lanes, 4);
    rig_case(r, t->name, &c, operands, 2, NULL, &s);
    r->cases.data[r->cases.length - 1].tolerance = tolerance(k);
  }
  rig_run(r);
}

Test(dot, narrow_storage) {
  static const kind stored[] = {{"f16", ONNXC_F16, ONNXC_F16, ONNXC_F32, 1},
                                {"bf16", ONNXC_BF16, ONNXC_BF16, ONNXC_F32, 1},
                                {"f16bf16", ONNXC_F16, ONNXC_BF16, ONNXC_F32, 1},
                                {"u8s8", ONNXC_U8, ONNXC_I8, ONNXC_I32, 1},
                                {"s8s8", ONNXC_I8, ONNXC_I8, ONNXC_I32, 1}};
  for (uint32_t i = 0; i < sizeof stored / sizeof *stored; i++)
    narrow_storage(&stored[i]);
}
