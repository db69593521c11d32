/* test_choices.c -- computes that select by an index, with its points as rows or phases of a tile: which of them it is
 * is known then, and what the points share is made once. */
#include "codegen/rig.h"
#include "tile/choices.h"

#include <criterion/criterion.h>
#include <setjmp.h>
#include <stdlib.h>

#define BEGIN(r)                                                                                                       \
  rig *r = calloc(1, sizeof *r);                                                                                       \
  rig_init(r);                                                                                                         \
  if (setjmp(r->guard.env))                                                                                            \
  abort()

static onnxc_expr by(rig *r, onnxc_expr_op op, uint32_t index, int64_t number) {
  return rig_op(r, op, rig_index(r, index), rig_int(r, number));
}

/* choices[selector] */
static onnxc_expr choose(rig *r, onnxc_expr selector, int count, const onnxc_expr *choices) {
  onnxc_expr result = choices[count - 1];
  for (int k = count - 1; k-- > 0;)
    result = onnxc_expr_select(&r->graph.exprs, rig_op(r, ONNXC_EXPR_EQ, selector, rig_int(r, k)), choices[k], result);
  return result;
}

/* Element (k, h / 3, w / 4, c) of a: the same for four rows w. */
static onnxc_expr tap(rig *r, int64_t k) {
  onnxc_expr index[4] = {rig_int(r, k), by(r, ONNXC_EXPR_FLOORDIV, 0, 3), by(r, ONNXC_EXPR_FLOORDIV, 1, 4),
                         rig_index(r, 2)};
  return rig_load(r, ONNXC_F32, 0, 4, index);
}

/* out[h, w, c], chosen by h mod 3 and w mod 4 from sums of taps, of which one counts where w >= 6 only: a row's
 * condition must not become that of another. */
static onnxc_compute transform(rig *r, int64_t w) {
  onnxc_exprs *pool = &r->graph.exprs;
  onnxc_compute c = {.num_results = 1};
  rig_extents(r, &c, 3, 0, (int64_t[]){1, w, 21});
  onnxc_expr inside = by(r, ONNXC_EXPR_GE, 1, 6), zero = onnxc_expr_f64(pool, ONNXC_F32, 0);
  onnxc_expr some = onnxc_expr_select(pool, inside, tap(r, 2), zero);
  onnxc_expr sum = rig_op(r, ONNXC_EXPR_ADD, tap(r, 0), tap(r, 1)), columns[4], rows[3];
  for (int a = 0; a < 3; a++) {
    columns[0] = rig_op(r, ONNXC_EXPR_SUB, sum, a == 1 ? tap(r, 3) : some);
    columns[1] = rig_op(r, ONNXC_EXPR_ADD, sum, some);
    columns[2] = a == 2 ? some : tap(r, a);
    columns[3] = rig_op(r, ONNXC_EXPR_MUL, sum, rig_op(r, ONNXC_EXPR_ADD, some, tap(r, a)));
    rows[a] = choose(r, by(r, ONNXC_EXPR_MOD, 1, 4), 4, columns);
  }
  c.finish[0] = choose(r, by(r, ONNXC_EXPR_MOD, 0, 3), 3, rows);
  return c;
}

/* Sizes that rows and phases divide and do not, known and not. */
Test(choices, rows_and_phases) {
  BEGIN(r);
  onnxc_dim symbol = rig_symbol(r, "H", 1, 100, 8);
  for (int64_t h = 5; h <= 10; h++)
    for (int64_t w = 16; w <= 19; w++) {
      onnxc_compute c = transform(r, w);
      uint32_t choices[3];
      c.extents[0] = h == 10 ? symbol : onnxc_dim_const(&r->graph.dims, h);
      onnxc_tile_choices(&r->graph, &c, choices);
      cr_assert(choices[0] == 3 && choices[1] == 4 && choices[2] == 1, "%u %u %u", choices[0], choices[1], choices[2]);
      uint32_t a = rig_tensor(r, ONNXC_F32, 4, (int64_t[]){4, 4, 5, 21}, NULL);
      for (uint32_t phases = 0; phases < 5; phases++) {
        onnxc_schedule s = rig_schedule(&c, 1, phases == 4 ? 3 : 4, 2, 1 + phases % 2, 16, 1);
        s.phase = 0;
        s.phases = (uint8_t)(phases == 2 ? 6 : phases);
        rig_case(r, "transform", &c, &a, 1, NULL, &s);
      }
    }
  rig_run(r);
}

/* By an index itself, all of it in one tile; by numbers whose multiple is too large to unroll. */
Test(choices, of_an_index) {
  BEGIN(r);
  onnxc_compute c = {.num_results = 1};
  rig_extents(r, &c, 2, 0, (int64_t[]){5, 37});
  onnxc_expr all[5];
  uint32_t choices[2], a = rig_tensor(r, ONNXC_F32, 2, (int64_t[]){5, 37}, NULL);
  for (int k = 0; k < 5; k++)
    all[k] = rig_op(r, ONNXC_EXPR_SUB, rig_load(r, ONNXC_F32, 0, 2, (onnxc_expr[]){rig_int(r, k), rig_index(r, 1)}),
                    rig_load(r, ONNXC_F32, 0, 2, (onnxc_expr[]){rig_int(r, (k + 2) % 5), rig_index(r, 1)}));
  c.finish[0] = choose(r, rig_index(r, 0), 5, all);
  onnxc_tile_choices(&r->graph, &c, choices);
  cr_expect(choices[0] == 5 && choices[1] == 1);
  onnxc_schedule s = rig_schedule(&c, 0, 5, 1, 1, 16, 1);
  rig_case(r, "an index", &c, &a, 1, NULL, &s);
  onnxc_compute far = c;
  far.finish[0] = choose(r, by(r, ONNXC_EXPR_MOD, 0, 13), 2,
                         (onnxc_expr[]){choose(r, by(r, ONNXC_EXPR_MOD, 0, 7), 2, all), all[2]});
  far.extents[0] = rig_dim(r, 200);
  onnxc_tile_choices(&r->graph, &far, choices);
  cr_expect(choices[0] == 13 || choices[0] == 7);
  rig_run(r);
}
