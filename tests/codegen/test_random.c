/* test_random.c -- computes, layouts and schedules drawn by chance, against the evaluator.
 *
 * Each case mixes what the other tests take one by one: strides, floordiv and mod in indices, conditions on several
 * indices, blocked and padded layouts, sizes of the run-time, any order, row, vec and unrolling. The seeds are fixed;
 * elements are small whole numbers, so results are exact in any order of summation.
 */
#include "codegen/rig.h"

#include <criterion/criterion.h>
#include <setjmp.h>
#include <stdlib.h>

typedef struct draw {
  rig *r;
  uint64_t state;
  onnxc_compute c;
  uint32_t num_indices;
  int64_t extents[ONNXC_MAX_INDICES];
  uint32_t operands[4], num_operands;
} draw;

static uint32_t below(draw *d, uint32_t n) {
  d->state = d->state * 6364136223846793005u + 1442695040888963407u;
  return n ? (uint32_t)(d->state >> 33) % n : 0;
}

/* A random layout of a tensor of this rank, NULL = row major. */
static const char *draw_layout(draw *d, uint32_t rank, bool halo) {
  if (rank == 0 || below(d, 3) == 0)
    return NULL;
  uint32_t order[3] = {0, 1, 2};
  for (uint32_t k = rank; k-- > 1;) {
    uint32_t other = below(d, k + 1), swap = order[k];
    order[k] = order[other];
    order[other] = swap;
  }
  const char *text = "[";
  for (uint32_t k = 0; k < rank; k++)
    text = halo && below(d, 4) == 0
               ? onnxc_arena_printf(&d->r->arena, "%s%u:+%u+%u ", text, order[k], below(d, 3), below(d, 3))
               : onnxc_arena_printf(&d->r->arena, "%s%u ", text, order[k]);
  if (below(d, 2))
    return onnxc_arena_printf(&d->r->arena, "%s%u:%u]", text, below(d, rank), 2u << below(d, 4));
  char *end = onnxc_arena_printf(&d->r->arena, "%s]", text);
  end[strlen(end) - 2] = ']';
  end[strlen(end) - 1] = 0;
  return end;
}

/* An index expression over the indices, its least and largest value. */
static onnxc_expr draw_index(draw *d, int64_t *low, int64_t *high) {
  rig *r = d->r;
  onnxc_expr e = rig_int(r, 0);
  *low = *high = 0;
  for (uint32_t terms = 1 + below(d, 2); terms > 0; terms--) {
    uint32_t k = below(d, d->num_indices);
    int64_t step = below(d, 3) ? 1 : (int64_t)below(d, 5) - 1, last = d->extents[k] - 1;
    onnxc_expr part = rig_index(r, k);
    if (below(d, 6) == 0) {
      int64_t by = 2 + below(d, 3);
      part = rig_op(r, ONNXC_EXPR_FLOORDIV, part, rig_int(r, by));
      last /= by;
    } else if (below(d, 8) == 0) {
      int64_t by = 2 + below(d, 6);
      part = rig_op(r, ONNXC_EXPR_MOD, part, rig_int(r, by));
      last = last < by ? last : by - 1;
    }
    e = rig_op(r, ONNXC_EXPR_ADD, e, rig_op(r, ONNXC_EXPR_MUL, part, rig_int(r, step)));
    *(step < 0 ? low : high) += step * last;
  }
  return e;
}

static onnxc_expr both(rig *r, onnxc_expr a, onnxc_expr b) { return a.i ? rig_op(r, ONNXC_EXPR_AND, a, b) : b; }

/* A load of a new operand, large enough or guarded. */
static onnxc_expr draw_load(draw *d, onnxc_dtype dtype) {
  rig *r = d->r;
  uint32_t rank = below(d, 4);
  int64_t dims[3], low, high;
  onnxc_expr index[3], inside = {0};
  for (uint32_t k = 0; k < rank; k++) {
    onnxc_expr e = draw_index(d, &low, &high);
    index[k] = rig_op(r, ONNXC_EXPR_ADD, e, rig_int(r, -low));
    dims[k] = high - low + 1;
    if (below(d, 5) == 0) { /* padding: some of it lies outside */
      int64_t before = below(d, 4);
      dims[k] = dims[k] > 3 ? dims[k] - (int64_t)below(d, 3) : dims[k];
      index[k] = rig_op(r, ONNXC_EXPR_ADD, index[k], rig_int(r, -before));
      inside = both(r, inside, rig_op(r, ONNXC_EXPR_GE, index[k], rig_int(r, 0)));
      inside = both(r, inside, rig_op(r, ONNXC_EXPR_LT, index[k], rig_int(r, dims[k])));
    }
  }
  uint32_t number = d->num_operands++;
  d->operands[number] = rig_tensor(r, dtype, rank, dims, draw_layout(d, rank, true));
  onnxc_expr load = rig_load(r, dtype, number, rank, index);
  onnxc_expr other =
      below(d, 2) ? onnxc_expr_f64(&r->graph.exprs, dtype, 0) : onnxc_expr_f64(&r->graph.exprs, dtype, 3);
  return inside.i ? onnxc_expr_select(&r->graph.exprs, inside, load, other) : load;
}

static void draw_schedule(draw *d, onnxc_schedule *s, bool free_order) {
  uint32_t n = d->num_indices, parallel = d->c.num_parallel;
  *s = rig_schedule(&d->c, (int)below(d, parallel + 1) - 1, 1 + below(d, 8), (int)below(d, n + 1) - 1, 1 + below(d, 3),
                    2u << below(d, 4), 1 + below(d, 9));
  if (s->vec >= (int)parallel && !free_order)
    s->vec = -1;
  if (s->row == s->vec)
    s->row = -1;
  if (below(d, 3) == 0)
    s->rows = s->lanes;
  for (uint32_t k = n; k-- > 1;) {
    uint32_t other = below(d, k + 1);
    uint8_t swap = s->order[k];
    s->order[k] = s->order[other];
    s->order[other] = swap;
  }
}

static void draw_case(rig *r, uint64_t seed) {
  static const onnxc_expr_op combiners[] = {ONNXC_EXPR_ADD, ONNXC_EXPR_MAX, ONNXC_EXPR_MIN, ONNXC_EXPR_ADD};
  draw *d = onnxc_arena_alloc(&r->arena, sizeof *d);
  d->r = r;
  d->state = seed * 0x9e3779b97f4a7c15u + 1;
  uint32_t parallel = 1 + below(d, 3), reduce = below(d, 3);
  d->num_indices = parallel + reduce;
  for (uint32_t k = 0; k < d->num_indices; k++)
    d->extents[k] = 1 + below(d, below(d, 3) ? 9 : 40);
  rig_extents(r, &d->c, parallel, reduce, d->extents);
  if (below(d, 3) == 0) /* some extents are known only at run time */
    for (uint32_t k = 0; k < d->num_indices; k++)
      if (below(d, 2))
        d->c.extents[k] = rig_symbol(r, NULL, below(d, 2), 100, d->extents[k]);
  onnxc_dtype dtype = below(d, 4) ? ONNXC_F32 : ONNXC_F64;
  onnxc_expr x = draw_load(d, dtype), y = draw_load(d, dtype);
  onnxc_expr element = rig_op(r, below(d, 2) ? ONNXC_EXPR_MUL : ONNXC_EXPR_ADD, x, y);
  d->c.num_results = 1;
  if (reduce > 0) {
    rig_reduce(r, &d->c, 0, dtype, combiners[below(d, 4)], element, onnxc_expr_f64(&r->graph.exprs, dtype, 1));
    /* An epilogue reads at the point itself. */
    d->operands[d->num_operands] = rig_tensor(r, dtype, 1, d->extents, NULL);
    onnxc_expr bias = rig_at(r, dtype, d->num_operands++, (int[]){0, -1});
    d->c.finish[0] = rig_op(r, ONNXC_EXPR_ADD, d->c.finish[0], bias);
  } else {
    d->c.finish[0] = element;
  }
  uint32_t result = rig_tensor_dims(r, dtype, parallel, d->c.extents, draw_layout(d, parallel, false));
  onnxc_schedule s;
  draw_schedule(d, &s, true);
  rig_case(r, onnxc_arena_printf(&r->arena, "seed %lu", (unsigned long)seed), &d->c, d->operands, d->num_operands,
           &result, &s);
}

static void run_seeds(uint64_t first, uint64_t count) {
  rig *r = calloc(1, sizeof *r);
  rig_init(r);
  if (setjmp(r->guard.env))
    abort();
  r->modulus = 5;
  for (uint64_t k = 0; k < count; k++)
    draw_case(r, first + k);
  rig_run(r);
}

Test(random, computes) {
  enum { GROUPS = 8, SEEDS = 25 };
  const char *from = getenv("ONNXC_SEED"); /* to look for more */
  uint64_t first = from ? strtoull(from, NULL, 10) : 1;
  for (uint64_t k = 0; k < GROUPS; k++)
    run_seeds(first + k * SEEDS, SEEDS);
}
