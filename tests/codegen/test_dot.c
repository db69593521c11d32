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

/* The n-th target that runs here and differs in features from those before; NULL at the end. */
static const onnxc_target *distinct_target(uint32_t n) {
  uint32_t count;
  const onnxc_target *rows = onnxc_target_rows(&count);
  for (uint32_t t = 0; t < count; t++) {
    bool seen = !onnxc_target_runs_on_host(&rows[t]);
    for (uint32_t u = 0; u < t; u++)
      seen |= rows[u].features == rows[t].features;
    if (!seen && n-- == 0)
      return &rows[t];
  }
  return NULL;
}

static void begin_kind(rig *r, const kind *k) {
  static const double bytes[] = {255, -128, 127, 254, -127, 128, 0, 1};
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
  r->target = target;
  begin_kind(r, t);
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

Test(dot, products_of_every_tile) {
  uint32_t done = 0;
  for (const onnxc_target *target; (target = distinct_target(done)); done++)
    for (uint32_t i = 0; i < KINDS; i++)
      sweep(target, &kinds[i]);
  cr_assert(done > 0);
}
