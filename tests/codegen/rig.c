/* rig.c -- see rig.h. */
#include "codegen/rig.h"
#include "codegen/guarded.h"
#include "jit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

void rig_init(rig *r) {
  memset(r, 0, sizeof *r);
  onnxc_arena_init(&r->arena, &r->guard);
  onnxc_diag_clear(&r->diag);
  onnxc_graph_init(&r->graph, &r->arena, &r->diag);
  r->target = onnxc_target_host();
  cr_assert(r->target != NULL);
  onnxc_tile_program *p = &r->program;
  *p = (onnxc_tile_program){.graph = &r->graph, .target = r->target};
  ONNXC_PUSH(&r->arena, p->buffers, (onnxc_buffer){0});
  r->random = 88172645463325252u;
}

onnxc_dim rig_symbol(rig *r, const char *name, int64_t low, int64_t high, int64_t value) {
  onnxc_sym sym = onnxc_sym_new(&r->graph.dims, name, ONNXC_SYM_FREE, 0, 0);
  onnxc_dims_symbol(&r->graph.dims, sym)->low = low;
  onnxc_dims_symbol(&r->graph.dims, sym)->high = high;
  r->symbols[sym.i] = value;
  return onnxc_dim_sym(&r->graph.dims, sym);
}

uint32_t rig_tensor_dims(rig *r, onnxc_dtype dtype, uint32_t rank, const onnxc_dim *dims, const char *layout) {
  onnxc_buffer b = {.name = "t", .space = ONNXC_SPACE_VALUE, .dtype = dtype, .rank = rank, .ring_dim = -1};
  b.value = onnxc_graph_add_input(&r->graph, NULL, dtype, rank, dims);
  b.dims = ONNXC_NEW_ARRAY(&r->arena, onnxc_dim, rank + 1);
  memcpy(b.dims, dims, rank * sizeof *dims);
  if (layout) {
    const char *error = onnxc_layout_parse(&b.layout, rank, &layout);
    cr_assert(error == NULL, "%s", error);
  }
  ONNXC_PUSH(&r->arena, r->program.buffers, b);
  return r->program.buffers.length - 1;
}

uint32_t rig_tensor(rig *r, onnxc_dtype dtype, uint32_t rank, const int64_t *dims, const char *layout) {
  onnxc_dim d[ONNXC_MAX_RANK];
  for (uint32_t k = 0; k < rank; k++)
    d[k] = onnxc_dim_const(&r->graph.dims, dims[k]);
  return rig_tensor_dims(r, dtype, rank, d, layout);
}

onnxc_stmt *rig_case(rig *r, const char *name, const onnxc_compute *compute, const uint32_t *operands,
                     uint32_t num_operands, const uint32_t *results, const onnxc_schedule *schedule) {
  rig_case_record record = {
      .name = name, .compute = *compute, .num_operands = num_operands, .tasks = 1, .tolerance = 2e-5};
  onnxc_stmt *stmt = ONNXC_NEW(&r->arena, onnxc_stmt);
  onnxc_compute *copy = ONNXC_NEW(&r->arena, onnxc_compute);
  *copy = *compute;
  uint32_t all = compute->num_parallel + compute->num_reduce;
  *stmt = (onnxc_stmt){.kind = ONNXC_STMT_COMPUTE,
                       .compute = copy,
                       .num_operands = num_operands,
                       .num_results = compute->num_results,
                       .schedule = *schedule};
  stmt->operands = ONNXC_NEW_ARRAY(&r->arena, onnxc_operand, num_operands + 1);
  stmt->results = ONNXC_NEW_ARRAY(&r->arena, onnxc_operand, compute->num_results);
  for (uint32_t k = 0; k < num_operands; k++)
    stmt->operands[k].buffer = record.operands[k] = operands[k];
  for (uint32_t j = 0; j < compute->num_results; j++) {
    onnxc_dtype dtype = onnxc_exprs_node(&r->graph.exprs, compute->finish[j])->dtype;
    uint32_t b = results ? results[j] : rig_tensor_dims(r, dtype, compute->num_parallel, compute->extents, NULL);
    stmt->results[j].buffer = record.results[j] = b;
  }
  stmt->box_lo = ONNXC_NEW_ARRAY(&r->arena, onnxc_dim, all + 1);
  stmt->box_size = ONNXC_NEW_ARRAY(&r->arena, onnxc_dim, all + 1);
  for (uint32_t k = 0; k < all; k++) {
    stmt->box_lo[k] = onnxc_dim_const(&r->graph.dims, 0);
    stmt->box_size[k] = compute->extents[k];
  }
  onnxc_stage stage = {.name = name, .num_tasks = onnxc_dim_const(&r->graph.dims, 1)};
  ONNXC_PUSH(&r->arena, stage.body, stmt);
  ONNXC_PUSH(&r->arena, r->program.stages, stage);
  ONNXC_PUSH(&r->arena, r->cases, record);
  return stmt;
}

onnxc_schedule rig_schedule(const onnxc_compute *compute, int row, uint32_t rows, int vec, uint32_t vecs,
                            uint32_t lanes, uint32_t unroll) {
  onnxc_schedule s = {.row = (int8_t)row,
                      .vec = (int8_t)vec,
                      .rows = (uint16_t)rows,
                      .vecs = (uint16_t)vecs,
                      .lanes = (uint16_t)lanes,
                      .unroll = (uint16_t)unroll,
                      .kr = 1};
  for (uint32_t k = 0; k < compute->num_parallel + compute->num_reduce; k++)
    s.order[k] = (uint8_t)k;
  return s;
}

void rig_replace(rig *r, onnxc_stmt *const *stmts, uint32_t count, int64_t tasks) {
  onnxc_stage *stage = &r->program.stages.data[r->program.stages.length - 1];
  stage->body.length = 0;
  for (uint32_t k = 0; k < count; k++)
    ONNXC_PUSH(&r->arena, stage->body, stmts[k]);
  stage->num_tasks = rig_dim(r, tasks);
  r->cases.data[r->cases.length - 1].tasks = tasks;
}

onnxc_stmt *rig_loop(rig *r, bool parallel, int64_t lo, int64_t hi, int64_t step, onnxc_dim *iv) {
  onnxc_stmt *loop = ONNXC_NEW(&r->arena, onnxc_stmt);
  onnxc_sym sym = onnxc_sym_new(&r->graph.dims, "t", ONNXC_SYM_LOOP, 0, 0);
  onnxc_dims_symbol(&r->graph.dims, sym)->low = lo;
  onnxc_dims_symbol(&r->graph.dims, sym)->high = hi - 1;
  *iv = onnxc_dim_sym(&r->graph.dims, sym);
  *loop = (onnxc_stmt){.kind = ONNXC_STMT_FOR, .iv = sym, .parallel = parallel};
  loop->lo = rig_dim(r, lo);
  loop->hi = rig_dim(r, hi);
  loop->step = rig_dim(r, step);
  return loop;
}

void rig_append(rig *r, onnxc_block *block, onnxc_stmt *stmt) { ONNXC_PUSH(&r->arena, *block, stmt); }
onnxc_dim rig_dim(rig *r, int64_t value) { return onnxc_dim_const(&r->graph.dims, value); }

/* ---- running ---- */

static double next(rig *r) {
  r->random ^= r->random << 13;
  r->random ^= r->random >> 7;
  r->random ^= r->random << 17;
  return r->modulus > 0 ? floor((double)(r->random >> 11) / 9007199254740992.0 * r->modulus)
                        : (double)(int64_t)(r->random >> 40) / 8388608.0 - 1.0;
}

static void shape_of(rig *r, uint32_t buffer, int64_t *shape) {
  const onnxc_buffer *b = &r->program.buffers.data[buffer];
  for (uint32_t d = 0; d < b->rank; d++)
    cr_assert(onnxc_dim_eval(&r->graph.dims, b->dims[d], r->symbols, &shape[d]));
}

/* used: see rig_case_record. */
static onnxc_array random_array(rig *r, uint32_t buffer, int64_t used) {
  const onnxc_buffer *b = &r->program.buffers.data[buffer];
  onnxc_array a = {.dtype = b->dtype, .rank = b->rank};
  shape_of(r, buffer, a.dims);
  int64_t count = onnxc_array_count(&a);
  int64_t inner = a.rank ? a.dims[a.rank - 1] : 1;
  size_t bytes = onnxc_dtype_bytes(b->dtype);
  a.data = onnxc_arena_alloc(&r->arena, (size_t)count * bytes + 1);
  for (int64_t i = 0; i < count; i++) {
    void *at = (char *)a.data + (size_t)i * bytes;
    if (used && inner > 0 && i % inner >= used) {
      memset(at, 0xff, bytes);
      continue;
    }
    if (r->corners && r->random % 3 == 0) {
      next(r);
      onnxc_scalar_from_f64(b->dtype, at, r->corners[(r->random >> 20) % r->num_corners]);
      continue;
    }
    if (onnxc_dtype_is_float(b->dtype))
      onnxc_scalar_from_f64(b->dtype, at, next(r));
    else if (onnxc_dtype_is_bool(b->dtype))
      *(uint8_t *)at = next(r) > 0;
    else
      onnxc_scalar_from_i64(b->dtype, at, (int64_t)(r->modulus > 0 ? next(r) : next(r) * 50));
  }
  return a;
}

static size_t stored_size(rig *r, uint32_t buffer) {
  const onnxc_buffer *b = &r->program.buffers.data[buffer];
  int64_t shape[ONNXC_MAX_RANK];
  shape_of(r, buffer, shape);
  return (size_t)onnxc_layout_size_of(&b->layout, b->rank, shape) * onnxc_dtype_bytes(b->dtype);
}

static guarded place(rig *r, uint32_t buffer, const onnxc_array *array, bool at_start) {
  const onnxc_buffer *b = &r->program.buffers.data[buffer];
  guarded g = guarded_new(stored_size(r, buffer), at_start);
  onnxc_layout plain = {0};
  if (array)
    onnxc_layout_copy(g.data, &b->layout, array->data, &plain, b->rank, array->dims, onnxc_dtype_bytes(b->dtype));
  return g;
}

static void compare(rig *r, const rig_case_record *c, uint32_t j, const onnxc_array *want, const guarded *got) {
  const onnxc_buffer *b = &r->program.buffers.data[c->results[j]];
  size_t bytes = onnxc_dtype_bytes(b->dtype);
  int64_t count = onnxc_array_count(want), shape[ONNXC_MAX_RANK];
  shape_of(r, c->results[j], shape);
  char *plain = onnxc_arena_alloc(&r->arena, (size_t)count * bytes + 1);
  onnxc_layout row_major = {0};
  onnxc_layout_copy(plain, &row_major, got->data, &b->layout, b->rank, shape, bytes);
  double tolerance = b->dtype == ONNXC_F16 ? 2e-3 : b->dtype == ONNXC_BF16 ? 1.6e-2 : c->tolerance;
  for (int64_t i = 0; i < count; i++) {
    const void *x = (const char *)want->data + (size_t)i * bytes, *y = plain + (size_t)i * bytes;
    r->checked++;
    if (onnxc_dtype_is_float(b->dtype)) {
      double p = onnxc_scalar_to_f64(b->dtype, x), q = onnxc_scalar_to_f64(b->dtype, y);
      bool same = (isnan(p) && isnan(q)) || p == q || fabs(p - q) <= tolerance * fmax(1, fabs(p));
      cr_assert(same, "%s: result %u, element %ld: want %.9g, got %.9g", c->name, j, (long)i, p, q);
    } else {
      cr_assert(memcmp(x, y, bytes) == 0, "%s: result %u, element %ld: want %ld, got %ld", c->name, j, (long)i,
                (long)onnxc_scalar_to_i64(b->dtype, x), (long)onnxc_scalar_to_i64(b->dtype, y));
    }
  }
}

static void run_case(rig *r, uint32_t number, const onnxc_stage_code *code, onnxc_stage_fn function) {
  const rig_case_record *c = &r->cases.data[number];
  onnxc_array operands[8], results[ONNXC_MAX_RESULTS];
  for (uint32_t k = 0; k < c->num_operands; k++)
    operands[k] = random_array(r, c->operands[k], c->used[k]);
  onnxc_status status =
      onnxc_eval_compute(&r->graph, &r->arena, &c->compute, operands, c->num_operands, r->symbols, results);
  cr_assert(status == ONNXC_OK, "%s: %s", c->name, r->diag.text);
  for (int side = 0; side < 2; side++) {
    guarded g[8 + ONNXC_MAX_RESULTS];
    uint32_t count = 0, owner[8 + ONNXC_MAX_RESULTS];
    for (uint32_t k = 0; k < c->num_operands; k++, count++) {
      owner[count] = c->operands[k];
      g[count] = place(r, c->operands[k], &operands[k], side);
    }
    for (uint32_t j = 0; j < c->compute.num_results; j++, count++) {
      owner[count] = c->results[j];
      g[count] = place(r, c->results[j], NULL, side);
    }
    void *buffers[16];
    int64_t dims[64];
    cr_assert(code->num_buffers <= 16 && code->num_dims <= 64);
    for (uint32_t b = 0; b < code->num_buffers; b++)
      for (uint32_t k = 0; k < count; k++)
        if (owner[k] == code->buffers[b]) {
          buffers[b] = g[k].data;
          break;
        }
    for (uint32_t d = 0; d < code->num_dims; d++)
      cr_assert(onnxc_dim_eval(&r->graph.dims, code->dims[d], r->symbols, &dims[d]));
    void *scratch = aligned_alloc(64, (size_t)code->scratch_size + 64);
    onnxc_stage_context context = {.dims = dims, .buffers = buffers, .scratch = scratch};
    function(&context, c->tasks / 2, c->tasks);
    function(&context, 0, c->tasks / 2);
    free(scratch);
    for (uint32_t j = 0; j < c->compute.num_results; j++)
      for (uint32_t k = 0; k < count; k++)
        if (owner[k] == c->results[j]) {
          compare(r, c, j, &results[j], &g[k]);
          break;
        }
    for (uint32_t k = 0; k < count; k++) {
      cr_assert(guarded_intact(&g[k]), "%s: memory around a buffer was written", c->name);
      guarded_free(&g[k]);
    }
  }
}

static void run_on(rig *r, const onnxc_target *target) {
  onnxc_module module;
  r->program.target = target;
  onnxc_status status = onnxc_codegen(&module, &r->program, &r->arena, "test", ONNXC_PART_SIZE);
  cr_assert(status == ONNXC_OK, "%s", r->diag.text);
  if (getenv("ONNXC_DUMP"))
    LLVMDumpModule(module.parts[0].module);
  const onnxc_stage_code *stages = module.stages;
  uint32_t count = r->cases.length;
  onnxc_stage_fn *functions = ONNXC_NEW_ARRAY(&r->arena, onnxc_stage_fn, count + 1);
  onnxc_jit *jit = NULL;
  status = jit_compile(&jit, &r->diag, &module, target, count, functions);
  cr_assert(status == ONNXC_OK, "%s", r->diag.text);
  for (uint32_t k = 0; k < count; k++)
    run_case(r, k, &stages[k], functions[k]);
  onnxc_jit_free(jit);
}

void rig_run(rig *r) {
  run_on(r, r->target);
  static const char other[] = "x86-64-v3"; /* no masks, no scatter, half the vectors */
  if (!r->alone && (r->target->features & ONNXC_FEATURE_AVX512))
    run_on(r, onnxc_target_find(other, sizeof other - 1));
  cr_assert(r->checked > 0);
  onnxc_arena_free(&r->arena);
  free(r);
}

/* ---- building ---- */

onnxc_expr rig_index(rig *r, uint32_t k) { return onnxc_expr_index(&r->graph.exprs, k); }
onnxc_expr rig_int(rig *r, int64_t value) { return onnxc_expr_i64(&r->graph.exprs, ONNXC_I64, value); }
onnxc_expr rig_op(rig *r, onnxc_expr_op op, onnxc_expr a, onnxc_expr b) {
  return b.i ? onnxc_expr_binary(&r->graph.exprs, op, a, b) : onnxc_expr_unary(&r->graph.exprs, op, a);
}
onnxc_expr rig_load(rig *r, onnxc_dtype dtype, uint32_t operand, uint32_t rank, const onnxc_expr *indices) {
  return onnxc_expr_load(&r->graph.exprs, dtype, operand, rank, indices);
}
onnxc_expr rig_at(rig *r, onnxc_dtype dtype, uint32_t operand, const int *indices) {
  onnxc_expr e[ONNXC_MAX_RANK];
  uint32_t rank = 0;
  for (; indices[rank] >= 0; rank++)
    e[rank] = rig_index(r, (uint32_t)indices[rank]);
  return rig_load(r, dtype, operand, rank, e);
}
void rig_extents(rig *r, onnxc_compute *c, uint32_t num_parallel, uint32_t num_reduce, const int64_t *extents) {
  c->num_parallel = num_parallel;
  c->num_reduce = num_reduce;
  for (uint32_t k = 0; k < num_parallel + num_reduce; k++)
    c->extents[k] = onnxc_dim_const(&r->graph.dims, extents[k]);
}
void rig_reduce(rig *r, onnxc_compute *c, uint32_t j, onnxc_dtype dtype, onnxc_expr_op op, onnxc_expr element,
                onnxc_expr init) {
  onnxc_exprs *pool = &r->graph.exprs;
  c->acc_dtype[j] = dtype;
  c->init[j] = init;
  c->element[j] = element;
  c->combine[j] = onnxc_expr_binary(pool, op, onnxc_expr_acc(pool, dtype, j), onnxc_expr_val(pool, dtype, j));
  c->finish[j] = onnxc_expr_acc(pool, dtype, j);
  c->num_results = j + 1 > c->num_results ? j + 1 : c->num_results;
}
