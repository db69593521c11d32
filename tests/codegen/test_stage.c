/* test_stage.c -- statements around computes: grids, loops, guards, scratch, ring buffers, layouts, copies, fills. */
#include "codegen/guarded.h"
#include "codegen/rig.h"
#include "jit.h"

#include <criterion/criterion.h>
#include <setjmp.h>
#include <stdlib.h>

#define BEGIN(r)                                                                                                       \
  rig *r = calloc(1, sizeof *r);                                                                                       \
  rig_init(r);                                                                                                         \
  if (setjmp(r->guard.env))                                                                                            \
  abort()

static onnxc_expr f32(rig *r, double value) { return onnxc_expr_f64(&r->graph.exprs, ONNXC_F32, value); }

static onnxc_compute product(rig *r, int64_t m, int64_t n, int64_t k) {
  onnxc_compute c = {0};
  rig_extents(r, &c, 2, 1, (int64_t[]){m, n, k});
  onnxc_expr a = rig_at(r, ONNXC_F32, 0, (int[]){0, 2, -1}), b = rig_at(r, ONNXC_F32, 1, (int[]){2, 1, -1});
  rig_reduce(r, &c, 0, ONNXC_F32, ONNXC_EXPR_ADD, rig_op(r, ONNXC_EXPR_MUL, a, b), f32(r, 0));
  c.finish[0] = rig_op(r, ONNXC_EXPR_ADD, c.finish[0], rig_at(r, ONNXC_F32, 2, (int[]){1, -1}));
  return c;
}

static onnxc_stmt *product_case(rig *r, const char *name, int64_t m, int64_t n, int64_t k) {
  onnxc_compute c = product(r, m, n, k);
  uint32_t operands[3] = {rig_tensor(r, ONNXC_F32, 2, (int64_t[]){m, k}, NULL),
                          rig_tensor(r, ONNXC_F32, 2, (int64_t[]){k, n}, "[1 0 1:16]"),
                          rig_tensor(r, ONNXC_F32, 1, (int64_t[]){n}, NULL)};
  onnxc_schedule s = rig_schedule(&c, 0, 4, 1, 2, 8, 4);
  return rig_case(r, name, &c, operands, 3, NULL, &s);
}

/* The size of block number t of `step` out of `all`. */
static onnxc_dim block_size(rig *r, onnxc_dim t, int64_t step, int64_t all) {
  onnxc_dims *d = &r->graph.dims;
  return onnxc_dim_min(d, rig_dim(r, step), onnxc_dim_sub(d, rig_dim(r, all), onnxc_dim_mulc(d, t, step)));
}

/* A grid of blocks of C, a guard for the last column of blocks. */
Test(stage, grid_of_blocks) {
  BEGIN(r);
  const int64_t m = 23, n = 70, k = 9, mb = 8, nb = 32;
  onnxc_stmt *whole = product_case(r, "grid", m, n, k), *edge = ONNXC_NEW(&r->arena, onnxc_stmt);
  onnxc_dim ti, tj;
  onnxc_stmt *outer = rig_loop(r, true, 0, 3, 1, &ti), *inner = rig_loop(r, true, 0, 3, 1, &tj);
  rig_append(r, &outer->body, inner);
  onnxc_stmt *guard = ONNXC_NEW(&r->arena, onnxc_stmt);
  guard->kind = ONNXC_STMT_IF;
  guard->condition = onnxc_dim_eq(&r->graph.dims, tj, rig_dim(r, 2));
  rig_append(r, &inner->body, guard);
  *edge = *whole;
  edge->box_lo = ONNXC_NEW_ARRAY(&r->arena, onnxc_dim, 4);
  edge->box_size = ONNXC_NEW_ARRAY(&r->arena, onnxc_dim, 4);
  for (int side = 0; side < 2; side++) {
    onnxc_stmt *s = side ? whole : edge;
    s->box_lo[0] = onnxc_dim_mulc(&r->graph.dims, ti, mb);
    s->box_size[0] = block_size(r, ti, mb, m);
    s->box_lo[1] = side ? onnxc_dim_mulc(&r->graph.dims, tj, nb) : rig_dim(r, 2 * nb);
    s->box_size[1] = rig_dim(r, side ? nb : n - 2 * nb);
    s->box_lo[2] = rig_dim(r, 0);
    s->box_size[2] = rig_dim(r, k);
    rig_append(r, side ? &guard->otherwise : &guard->body, s);
  }
  rig_replace(r, &outer, 1, 9);
  rig_run(r);
}

/* K in blocks: the first starts, the last finishes, those between resume. */
Test(stage, partial_sums) {
  BEGIN(r);
  const int64_t m = 7, n = 21, k = 50, kb = 12;
  onnxc_stmt *first = product_case(r, "partial", m, n, k), *parts[3];
  onnxc_dim t;
  onnxc_stmt *loop = rig_loop(r, false, 1, 4, 1, &t);
  for (int p = 0; p < 3; p++) {
    parts[p] = ONNXC_NEW(&r->arena, onnxc_stmt);
    *parts[p] = *first;
    parts[p]->box_lo = ONNXC_NEW_ARRAY(&r->arena, onnxc_dim, 3);
    parts[p]->box_size = ONNXC_NEW_ARRAY(&r->arena, onnxc_dim, 3);
    for (int i = 0; i < 3; i++) {
      parts[p]->box_lo[i] = first->box_lo[i];
      parts[p]->box_size[i] = first->box_size[i];
    }
    parts[p]->resume = p > 0;
    parts[p]->partial = p < 2;
    parts[p]->box_lo[2] = p == 1 ? onnxc_dim_mulc(&r->graph.dims, t, kb) : rig_dim(r, p ? 4 * kb : 0);
    parts[p]->box_size[2] = rig_dim(r, p == 2 ? k - 4 * kb : kb);
  }
  rig_append(r, &loop->body, parts[1]);
  rig_replace(r, (onnxc_stmt *[]){parts[0], loop, parts[2]}, 3, 1);
  rig_run(r);
}

/* out[y] = t[y] + t[y-1] with t[y] = x[y] * 2 in a ring of 3 rows in scratch. */
Test(stage, ring_buffer) {
  BEGIN(r);
  const int64_t h = 11, w = 37;
  onnxc_exprs *pool = &r->graph.exprs;
  onnxc_compute whole = {.num_results = 1}, twice = {.num_results = 1}, sum = {.num_results = 1};
  rig_extents(r, &whole, 2, 0, (int64_t[]){h, w});
  onnxc_expr up = onnxc_expr_binary(pool, ONNXC_EXPR_ADD, rig_index(r, 0), rig_int(r, -1));
  onnxc_expr guard = onnxc_expr_binary(pool, ONNXC_EXPR_GE, up, rig_int(r, 0));
  onnxc_expr here = rig_at(r, ONNXC_F32, 0, (int[]){0, 1, -1});
  onnxc_expr above = rig_load(r, ONNXC_F32, 0, 2, (onnxc_expr[]){up, rig_index(r, 1)});
  twice = sum = whole;
  twice.finish[0] = rig_op(r, ONNXC_EXPR_MUL, here, f32(r, 2));
  sum.finish[0] = rig_op(r, ONNXC_EXPR_ADD, here, onnxc_expr_select(pool, guard, above, f32(r, 0)));
  whole.finish[0] = rig_op(r, ONNXC_EXPR_ADD, rig_op(r, ONNXC_EXPR_MUL, here, f32(r, 2)),
                           onnxc_expr_select(pool, guard, rig_op(r, ONNXC_EXPR_MUL, above, f32(r, 2)), f32(r, 0)));
  uint32_t x = rig_tensor(r, ONNXC_F32, 2, (int64_t[]){h, w}, NULL);
  uint32_t ring = rig_tensor(r, ONNXC_F32, 2, (int64_t[]){3, w}, NULL);
  r->program.buffers.data[ring].space = ONNXC_SPACE_SCRATCH;
  r->program.buffers.data[ring].ring_dim = 0;
  onnxc_schedule s = rig_schedule(&whole, -1, 1, 1, 2, 8, 1);
  onnxc_stmt *last = rig_case(r, "ring", &whole, &x, 1, NULL, &s), *first = ONNXC_NEW(&r->arena, onnxc_stmt);
  onnxc_operand *in = ONNXC_NEW_ARRAY(&r->arena, onnxc_operand, 2);
  in[0].buffer = x;
  in[1].buffer = ring;
  onnxc_dim y;
  onnxc_stmt *loop = rig_loop(r, false, 0, h, 1, &y);
  last->box_lo[0] = y;
  last->box_size[0] = rig_dim(r, 1);
  *first = *last;
  first->compute = &twice;
  first->operands = &in[0];
  first->results = &in[1];
  last->compute = &sum;
  last->operands = &in[1];
  rig_append(r, &loop->body, first);
  rig_append(r, &loop->body, last);
  rig_replace(r, &loop, 1, 1);
  rig_run(r);
}

/* A window of a tensor in scratch, packed: two tiles of B in [1 0 1:16], filled by a copy, then used. */
Test(stage, packed_window) {
  BEGIN(r);
  const int64_t m = 9, n = 48, k = 11;
  onnxc_compute c = product(r, m, n, k);
  uint32_t operands[3] = {rig_tensor(r, ONNXC_F32, 2, (int64_t[]){m, k}, NULL),
                          rig_tensor(r, ONNXC_F32, 2, (int64_t[]){k, n}, NULL),
                          rig_tensor(r, ONNXC_F32, 1, (int64_t[]){n}, NULL)};
  uint32_t window = rig_tensor(r, ONNXC_F32, 2, (int64_t[]){k, 16}, "[1 0 1:16]");
  r->program.buffers.data[window].space = ONNXC_SPACE_SCRATCH;
  onnxc_schedule s = rig_schedule(&c, 0, 4, 1, 2, 8, 4);
  onnxc_stmt *use = rig_case(r, "window", &c, operands, 3, NULL, &s), *copy = ONNXC_NEW(&r->arena, onnxc_stmt);
  onnxc_dim t;
  onnxc_stmt *loop = rig_loop(r, true, 0, 3, 1, &t);
  onnxc_dim origin[2] = {rig_dim(r, 0), onnxc_dim_mulc(&r->graph.dims, t, 16)};
  use->operands[1] = (onnxc_operand){window, origin};
  use->box_lo[1] = origin[1];
  use->box_size[1] = rig_dim(r, 16);
  onnxc_dim size[2] = {rig_dim(r, k), rig_dim(r, 16)};
  onnxc_operand from = {operands[1], NULL};
  *copy = (onnxc_stmt){.kind = ONNXC_STMT_COPY,
                       .num_operands = 1,
                       .num_results = 1,
                       .operands = &from,
                       .results = &use->operands[1],
                       .box_lo = origin,
                       .box_size = size};
  rig_append(r, &loop->body, copy);
  rig_append(r, &loop->body, use);
  rig_replace(r, &loop, 1, 3);
  rig_run(r);
}

/* Convolution in blocked layouts with a halo: channels in lanes, columns in rows. The code reads borders from the
 * halo, the evaluator (which knows none) guards them. */
static void conv(rig *r, int64_t in, int64_t out, int64_t h, int64_t w, int64_t stride, bool blocked) {
  onnxc_compute c = {0};
  int64_t oh = (h - 1) / stride + 1, ow = (w - 1) / stride + 1;
  rig_extents(r, &c, 3, 3, (int64_t[]){out, oh, ow, in, 3, 3});
  onnxc_expr y = rig_op(r, ONNXC_EXPR_ADD, rig_op(r, ONNXC_EXPR_MUL, rig_index(r, 1), rig_int(r, stride)),
                        rig_op(r, ONNXC_EXPR_ADD, rig_index(r, 4), rig_int(r, -1)));
  onnxc_expr x = rig_op(r, ONNXC_EXPR_ADD, rig_op(r, ONNXC_EXPR_MUL, rig_index(r, 2), rig_int(r, stride)),
                        rig_op(r, ONNXC_EXPR_ADD, rig_index(r, 5), rig_int(r, -1)));
  onnxc_expr pixel = rig_load(r, ONNXC_F32, 0, 3, (onnxc_expr[]){rig_index(r, 3), y, x});
  onnxc_expr in_y =
      rig_op(r, ONNXC_EXPR_AND, rig_op(r, ONNXC_EXPR_GE, y, rig_int(r, 0)), rig_op(r, ONNXC_EXPR_LT, y, rig_int(r, h)));
  onnxc_expr in_x =
      rig_op(r, ONNXC_EXPR_AND, rig_op(r, ONNXC_EXPR_GE, x, rig_int(r, 0)), rig_op(r, ONNXC_EXPR_LT, x, rig_int(r, w)));
  onnxc_expr guarded_pixel =
      onnxc_expr_select(&r->graph.exprs, rig_op(r, ONNXC_EXPR_AND, in_y, in_x), pixel, f32(r, 0));
  onnxc_expr weight = rig_at(r, ONNXC_F32, 1, (int[]){0, 3, 4, 5, -1});
  rig_reduce(r, &c, 0, ONNXC_F32, ONNXC_EXPR_ADD, rig_op(r, ONNXC_EXPR_MUL, pixel, weight), f32(r, 0));
  uint32_t operands[2] = {
      rig_tensor(r, ONNXC_F32, 3, (int64_t[]){in, h, w}, blocked ? "[0 1:+1+1 2:+1+1 0:8]" : "[0 1:+1+1 2:+1+1]"),
      rig_tensor(r, ONNXC_F32, 4, (int64_t[]){out, in, 3, 3}, blocked ? "[0 1 2 3 1:8 0:16]" : "[0 1 2 3 0:16]")};
  uint32_t result = rig_tensor(r, ONNXC_F32, 3, (int64_t[]){out, oh, ow}, blocked ? "[0 1:+1+2 2:+1+0 0:16]" : NULL);
  onnxc_schedule s = rig_schedule(&c, 2, 5, 0, 2, 8, 4);
  s.order[3] = 4, s.order[4] = 5, s.order[5] = 3;
  onnxc_compute *reads_halo = ONNXC_NEW(&r->arena, onnxc_compute);
  *reads_halo = c;
  c.element[0] = rig_op(r, ONNXC_EXPR_MUL, guarded_pixel, weight);
  rig_case(r, "conv, channels in lanes", &c, operands, 2, &result, &s)->compute = reads_halo;
  if (!blocked) {
    s = rig_schedule(&c, 0, 3, 2, 2, 8, 3);
    rig_case(r, "conv, columns in lanes", &c, operands, 2, &result, &s)->compute = reads_halo;
  }
}

Test(stage, convolutions) {
  BEGIN(r);
  for (int64_t stride = 1; stride <= 2; stride++) {
    conv(r, 3, 16, 6, 13, stride, false);
    conv(r, 16, 32, 5, 11, stride, true);
    conv(r, 8, 21, 4, 5, stride, true);
  }
  rig_run(r);
}

/* Runs one stage of plain statements over buffers and hands back their memory. */
static void run_stage(rig *r, onnxc_stmt *stmt, guarded *memory) {
  onnxc_stage stage = {.name = "copy", .num_tasks = rig_dim(r, 1)};
  ONNXC_PUSH(&r->arena, stage.body, stmt);
  r->program.stages.length = 0;
  ONNXC_PUSH(&r->arena, r->program.stages, stage);
  onnxc_module module;
  cr_assert(onnxc_codegen(&module, &r->program, &r->arena, "copy", ONNXC_PART_SIZE) == ONNXC_OK, "%s", r->diag.text);
  onnxc_stage_code code = module.stages[0];
  onnxc_stage_fn function = NULL;
  onnxc_jit *jit;
  cr_assert(jit_compile(&jit, &r->diag, &module, r->target, 1, &function) == ONNXC_OK, "%s", r->diag.text);
  void *buffers[4];
  for (uint32_t k = 0; k < code.num_buffers; k++)
    buffers[k] = memory[code.buffers[k]].data;
  onnxc_stage_context context = {.buffers = buffers};
  function(&context, 0, 1);
  onnxc_jit_free(jit);
}

/* Every copy followed by a fill gives what onnxc_layout_copy gives, padding included. */
static void copy_between(const char *from, const char *to, onnxc_dtype dtype, const int64_t *shape) {
  BEGIN(r);
  size_t bytes = onnxc_dtype_bytes(dtype);
  uint32_t a = rig_tensor(r, dtype, 3, shape, from), b = rig_tensor(r, dtype, 3, shape, to);
  onnxc_layout la = r->program.buffers.data[a].layout, lb = r->program.buffers.data[b].layout, plain = {0};
  size_t count = (size_t)(shape[0] * shape[1] * shape[2]);
  char *values = onnxc_arena_alloc(&r->arena, count * bytes + 1);
  for (size_t i = 0; i < count * bytes; i++)
    values[i] = (char)(i * 7 + 1);
  guarded memory[3] = {{0},
                       guarded_new((size_t)onnxc_layout_size_of(&la, 3, shape) * bytes, false),
                       guarded_new((size_t)onnxc_layout_size_of(&lb, 3, shape) * bytes, true)};
  char *want = onnxc_arena_alloc(&r->arena, memory[2].size + 1);
  onnxc_layout_copy(memory[1].data, &la, values, &plain, 3, shape, bytes);
  onnxc_layout_copy(want, &lb, values, &plain, 3, shape, bytes);
  onnxc_operand in = {a, NULL}, out = {b, NULL};
  onnxc_dim lo[3], size[3];
  for (int d = 0; d < 3; d++) {
    lo[d] = rig_dim(r, 0);
    size[d] = rig_dim(r, shape[d]);
  }
  onnxc_stmt copy = {.kind = ONNXC_STMT_COPY,
                     .num_operands = 1,
                     .num_results = 1,
                     .operands = &in,
                     .results = &out,
                     .box_lo = lo,
                     .box_size = size};
  run_stage(r, &copy, memory);
  onnxc_stmt fill = {.kind = ONNXC_STMT_FILL, .num_results = 1, .results = &out};
  run_stage(r, &fill, memory);
  cr_assert(memcmp(want, memory[2].data, memory[2].size) == 0, "copy from %s to %s", from ? from : "row major",
            to ? to : "row major");
  cr_assert(guarded_intact(&memory[2]));
  guarded_free(&memory[1]);
  guarded_free(&memory[2]);
  onnxc_arena_free(&r->arena);
  free(r);
}

Test(stage, copies_and_fills) {
  const char *layouts[] = {
      NULL, "[2 1 0]", "[0 2 1 2:8]", "[0 1 2 0:16]", "[1 0 2:+2+1 0:4]", "[0:+1+1 1:+3+0 2:+1+2]", "[2 0 1 0:2 2:4]"};
  const size_t count = sizeof layouts / sizeof *layouts;
  for (size_t i = 0; i < count; i++)
    for (size_t j = i & 1; j < count; j += 2)
      copy_between(layouts[i], layouts[j], i % 3 ? ONNXC_F32 : ONNXC_I16, (int64_t[]){19, 6, 13 + (int64_t)j});
}

/* Rows along the operand's memory, lanes along the result's: squares are transposed in registers. */
Test(stage, transposes) {
  BEGIN(r);
  const onnxc_dtype dtypes[] = {ONNXC_F32, ONNXC_F64, ONNXC_U8, ONNXC_F16, ONNXC_I64, ONNXC_BOOL};
  for (uint32_t d = 0; d < sizeof dtypes / sizeof *dtypes; d++)
    for (uint32_t lanes = 4; lanes <= 16; lanes *= 2) {
      onnxc_compute c = {.num_results = 1};
      rig_extents(r, &c, 2, 0, (int64_t[]){35, 2 * lanes + 3});
      onnxc_expr a = rig_at(r, dtypes[d], 0, (int[]){1, 0, -1}), b = rig_at(r, dtypes[d], 1, (int[]){0, 1, -1});
      c.finish[0] = onnxc_dtype_is_bool(dtypes[d]) ? rig_op(r, ONNXC_EXPR_OR, a, b) : rig_op(r, ONNXC_EXPR_MAX, a, b);
      uint32_t operands[2] = {rig_tensor(r, dtypes[d], 2, (int64_t[]){2 * lanes + 3, 35}, NULL),
                              rig_tensor(r, dtypes[d], 2, (int64_t[]){35, 2 * lanes + 3}, NULL)};
      onnxc_schedule s = rig_schedule(&c, 0, lanes, 1, 1, lanes, 1);
      rig_case(r, onnxc_arena_printf(&r->arena, "transpose %s by %u", onnxc_dtype_name(dtypes[d]), lanes), &c, operands,
               2, NULL, &s);
    }
  rig_run(r);
}

/* Rows that lie between each other in the result's memory are interleaved in registers: every remainder of lanes, more
 * rows than a tile has, a last tile of other rows. */
Test(stage, interleaves) {
  BEGIN(r);
  const onnxc_dtype dtypes[] = {ONNXC_F32, ONNXC_F64, ONNXC_U8, ONNXC_F16, ONNXC_BF16, ONNXC_I64, ONNXC_BOOL};
  for (uint32_t d = 0; d < sizeof dtypes / sizeof *dtypes; d++)
    for (uint32_t lanes = 2; lanes <= 16; lanes *= 2)
      for (int64_t rows = 2; rows <= 5; rows++) {
        onnxc_compute c = {.num_results = 1};
        int64_t n = 2 * lanes + 1 + (rows + d) % lanes;
        rig_extents(r, &c, 2, 0, (int64_t[]){n, rows});
        onnxc_expr a = rig_at(r, dtypes[d], 0, (int[]){1, 0, -1}), b = rig_at(r, dtypes[d], 1, (int[]){0, -1});
        c.finish[0] = onnxc_dtype_is_bool(dtypes[d]) ? rig_op(r, ONNXC_EXPR_OR, a, b) : rig_op(r, ONNXC_EXPR_MAX, a, b);
        uint32_t operands[2] = {rig_tensor(r, dtypes[d], 2, (int64_t[]){rows, n}, NULL),
                                rig_tensor(r, dtypes[d], 1, (int64_t[]){n}, NULL)};
        onnxc_schedule s = rig_schedule(&c, 1, rows < 4 ? 2 : 4, 0, 1 + d % 2, lanes, 1);
        rig_case(r,
                 onnxc_arena_printf(&r->arena, "%ld rows of %s by %u", (long)rows, onnxc_dtype_name(dtypes[d]), lanes),
                 &c, operands, 2, NULL, &s);
      }
  rig_run(r);
}

/* Each point of an operand is read before the result in the same place is written. */
Test(stage, in_place) {
  BEGIN(r);
  onnxc_compute c = {.num_results = 1};
  rig_extents(r, &c, 2, 0, (int64_t[]){5, 41});
  c.finish[0] =
      rig_op(r, ONNXC_EXPR_MUL, rig_at(r, ONNXC_F32, 0, (int[]){0, 1, -1}), rig_at(r, ONNXC_F32, 1, (int[]){0, 1, -1}));
  uint32_t a[2] = {rig_tensor(r, ONNXC_F32, 2, (int64_t[]){5, 41}, NULL),
                   rig_tensor(r, ONNXC_F32, 2, (int64_t[]){5, 41}, NULL)};
  onnxc_schedule s = rig_schedule(&c, 0, 2, 1, 2, 8, 1);
  rig_case(r, "in place", &c, a, 2, a, &s);
  rig_run(r);
}

/* Stages of one shape share a function; each has its own lists. */
Test(stage, same_as) {
  BEGIN(r);
  product_case(r, "first", 5, 20, 7);
  product_case(r, "second", 5, 20, 7);
  r->program.stages.data[1].same_as = 1;
  rig_run(r);
}
