/* test_emit.c -- the parts of lib/emit that need no model: dim slots, the memory planner, the descriptor, the ELF
 * writer, the JIT. */
#include "emit/artefact.h"
#include "emit/describe.h"
#include "jit.h"

#include <criterion/criterion.h>
#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static onnxc_guard guard;
static onnxc_arena arena;
static onnxc_diag diag;
static onnxc_graph graph;

static void start(void) {
  if (setjmp(guard.env))
    abort();
  onnxc_arena_init(&arena, &guard);
  onnxc_diag_clear(&diag);
  onnxc_graph_init(&graph, &arena, &diag);
}

static void stop(void) { onnxc_arena_free(&arena); }

static uint32_t random_state = 1;
static uint32_t random_below(uint32_t n) {
  random_state = random_state * 1664525U + 1013904223U;
  return (random_state >> 8) % n;
}

/* ---- slots: what the run-time computes from them is what the dims mean ---- */

static onnxc_dim random_dim(const onnxc_dim *symbols, int depth) {
  onnxc_dims *d = &graph.dims;
  if (depth == 0)
    return random_below(2) ? symbols[random_below(3)] : onnxc_dim_const(d, (int64_t)random_below(20) - 5);
  onnxc_dim a = random_dim(symbols, depth - 1), b = random_dim(symbols, depth - 1);
  switch (random_below(8)) {
  case 0: return onnxc_dim_add(d, a, b);
  case 1: return onnxc_dim_sub(d, a, b);
  case 2: return onnxc_dim_mul(d, a, b);
  case 3: return onnxc_dim_floordiv(d, a, b);
  case 4: return onnxc_dim_mod(d, a, b);
  case 5: return onnxc_dim_min(d, a, b);
  case 6: return onnxc_dim_max(d, a, b);
  default: return onnxc_dim_eq(d, a, b);
  }
}

Test(emit, slots_mean_their_dims, .init = start, .fini = stop) {
  enum { COUNT = 300 };
  onnxc_dim symbols[3];
  int64_t values[4] = {0};
  int64_t shape[3] = {7, 12, 1};
  for (uint32_t k = 0; k < 3; k++) {
    onnxc_sym sym = onnxc_sym_new(&graph.dims, NULL, ONNXC_SYM_INPUT_DIM, 0, k);
    symbols[k] = onnxc_dim_sym(&graph.dims, sym);
    cr_assert_lt(sym.i, 4U);
    values[sym.i] = shape[k];
  }
  onnxc_graph_add_input(&graph, "x", ONNXC_F32, 3, symbols);
  onnxc_slots slots;
  onnxc_slots_init(&slots, &graph, &arena);
  onnxc_dim dims[COUNT];
  uint32_t numbers[COUNT];
  onnxc_status status = ONNXC_OK;
  for (int k = 0; k < COUNT; k++) {
    dims[k] = random_dim(symbols, (int)random_below(5));
    numbers[k] = onnxc_slot_of(&slots, dims[k], &status);
  }
  cr_assert_eq(status, ONNXC_OK);
  for (uint32_t k = 0; k < slots.dims.length; k++) { /* no slot twice, arguments first */
    const onnxc_rt_dim *dim = &slots.dims.data[k];
    if (dim->op >= ONNXC_RT_ADD)
      cr_assert(dim->a < k && dim->b < k);
    for (uint32_t other = 0; other < k; other++)
      cr_assert_neq(memcmp(dim, &slots.dims.data[other], sizeof *dim), 0);
  }
  /* The run-time evaluates them; the workspace begins with the values. */
  static const char *const names[3] = {"a", "b", "c"};
  static const int64_t any[3] = {-1, -1, -1};
  onnxc_tensor_info info = {"x", 1, 3, any, names, 0, -1};
  onnxc_rt_io io = {{0}, -1};
  for (uint32_t k = 0; k < 3; k++)
    io.dims[k] = onnxc_slot_of(&slots, symbols[k], &status);
  onnxc_rt_program program = {.info = {.num_inputs = 1, .inputs = &info},
                              .inputs = &io,
                              .num_dims = slots.dims.length,
                              .num_segments = 1,
                              .dims = slots.dims.data,
                              .static_workspace = 0};
  onnxc_tensor in = {NULL, 1, 3, {shape[0], shape[1], shape[2]}};
  onnxc_run run = {.inputs = &in};
  cr_assert_eq(onnxc_rt_plan(&program, NULL, &run), ONNXC_OK, "%s", run.message);
  run.workspace = aligned_alloc(64, (run.workspace_size + 63) / 64 * 64);
  cr_assert_eq(onnxc_rt_run(&program, NULL, &run), ONNXC_OK, "%s", run.message);
  for (int k = 0; k < COUNT; k++) {
    int64_t expected = 0;
    cr_assert(onnxc_dim_eval(&graph.dims, dims[k], values, &expected));
    cr_expect_eq(((int64_t *)run.workspace)[numbers[k]], expected, "dim %d", k);
  }
  free(run.workspace);
}

Test(emit, unbound_symbols_are_refused, .init = start, .fini = stop) {
  onnxc_slots slots;
  onnxc_slots_init(&slots, &graph, &arena);
  onnxc_status status = ONNXC_OK;
  onnxc_sym sym = onnxc_sym_new(&graph.dims, "q", ONNXC_SYM_FREE, 0, 0);
  onnxc_slot_of(&slots, onnxc_dim_sym(&graph.dims, sym), &status);
  cr_expect_eq(status, ONNXC_INTERNAL);
  cr_expect_not_null(strstr(diag.text, "'q'"));
}

/* ---- the memory planner ---- */

/* Random lifetimes: what lives at the same time does not overlap; the total is not far above what is needed. */
Test(emit, planner_keeps_the_living_apart, .init = start, .fini = stop) {
  for (int round = 0; round < 40; round++) {
    enum { COUNT = 60, STAGES = 40 };
    onnxc_slots slots;
    onnxc_slots_init(&slots, &graph, &arena);
    bool symbolic = round % 2;
    onnxc_sym n = onnxc_sym_new(&graph.dims, NULL, ONNXC_SYM_INPUT_DIM, 0, 0);
    if (graph.inputs.length == 0) {
      onnxc_dim dim = onnxc_dim_sym(&graph.dims, n);
      onnxc_graph_add_input(&graph, "x", ONNXC_F32, 1, &dim);
    }
    onnxc_life lives[COUNT];
    int64_t load[STAGES] = {0}, peak = 0;
    for (uint32_t k = 0; k < COUNT; k++) {
      uint32_t first = k * STAGES / COUNT, last = first + random_below(6);
      last = last < STAGES ? last : STAGES - 1;
      int64_t size = (int64_t)random_below(1000) * 64;
      onnxc_dim dim = onnxc_dim_const(&graph.dims, size);
      if (symbolic)
        dim = onnxc_dim_mulc(&graph.dims, onnxc_dim_sym(&graph.dims, n), 4 * (1 + (int64_t)random_below(9)));
      lives[k] = (onnxc_life){.buffer = k, .first = first, .last = last, .size = dim};
      for (uint32_t s = first; s <= last; s++)
        load[s] += size;
    }
    for (int s = 0; s < STAGES; s++)
      peak = load[s] > peak ? load[s] : peak;
    cr_expect_eq(onnxc_largest_live_set(&graph, lives, COUNT, 1), symbolic ? -1 : peak);
    uint32_t num_slots = 0;
    int64_t total = 0;
    onnxc_status status = ONNXC_OK;
    const onnxc_rt_slot *result = onnxc_plan_memory(&slots, lives, COUNT, &num_slots, &total, &status);
    cr_assert_eq(status, ONNXC_OK);
    if (!symbolic)
      cr_expect(total >= peak && total <= peak * 11 / 10, "planned %ld, needed %ld", (long)total, (long)peak);
    else
      cr_expect(total == -1 && num_slots < COUNT);
    for (uint32_t a = 0; a < COUNT; a++)
      for (uint32_t b = 0; b < a; b++) {
        if (lives[a].first > lives[b].last || lives[b].first > lives[a].last)
          continue;
        cr_expect_neq(lives[a].slot, lives[b].slot);
        int64_t size_a = 0, size_b = 0, at_a = result[lives[a].slot].offset, at_b = result[lives[b].slot].offset;
        if (onnxc_dim_is_const(&graph.dims, lives[a].size, &size_a) &&
            onnxc_dim_is_const(&graph.dims, lives[b].size, &size_b))
          cr_expect(at_a + size_a <= at_b || at_b + size_b <= at_a);
      }
  }
}

/* The largest first needs 11 here: the last of 4 and the one before it of 3 leave the two of 2 no place below. */
Test(emit, planner_tries_again, .init = start, .fini = stop) {
  static const struct {
    uint32_t first, last;
    int64_t size;
  } rows[] = {{0, 0, 3}, {0, 1, 2}, {0, 1, 2}, {1, 2, 3}, {2, 2, 4}};
  enum { COUNT = sizeof rows / sizeof *rows };
  const int64_t needed = 448;
  onnxc_slots slots;
  onnxc_slots_init(&slots, &graph, &arena);
  onnxc_life lives[COUNT];
  for (uint32_t k = 0; k < COUNT; k++)
    lives[k] = (onnxc_life){.buffer = k,
                            .first = rows[k].first,
                            .last = rows[k].last,
                            .size = onnxc_dim_const(&graph.dims, rows[k].size * 64 - 3)};
  uint32_t num_slots = 0;
  int64_t total = 0;
  onnxc_status status = ONNXC_OK;
  onnxc_plan_memory(&slots, lives, COUNT, &num_slots, &total, &status);
  cr_expect_eq(onnxc_largest_live_set(&graph, lives, COUNT, 64), needed);
  cr_expect(onnxc_largest_live_set(&graph, lives, COUNT, 1) < needed);
  cr_expect_eq(total, needed);
}

/* ---- the descriptor ---- */

/* x[N, 4] --stage 0--> t --stage 1 (with w)--> u; the output y is u seen as [4 * N]. */
Test(emit, describes_a_program, .init = start, .fini = stop) {
  static const float weights[2][4] = {{1, 2, 3, 4}, {1, 2, 3, 4}};
  onnxc_dims *d = &graph.dims;
  onnxc_dim n = onnxc_dim_sym(d, onnxc_sym_new(d, "N", ONNXC_SYM_INPUT_DIM, 0, 0));
  onnxc_dim shape[2] = {n, onnxc_dim_const(d, 4)}, flat = onnxc_dim_mulc(d, n, 4);
  int64_t four = 4;
  onnxc_value x = onnxc_graph_add_input(&graph, "x", ONNXC_F32, 2, shape);
  onnxc_value w = onnxc_graph_add_constant(&graph, "w", ONNXC_F32, 1, &four, weights[0]);
  onnxc_value w2 = onnxc_graph_add_constant(&graph, "w2", ONNXC_F32, 1, &four, weights[1]);
  onnxc_value t = onnxc_graph_add_value(&graph, "t", ONNXC_F32, 2, shape);
  onnxc_value u = onnxc_graph_add_value(&graph, "u", ONNXC_F32, 2, shape);
  onnxc_value y = onnxc_graph_add_value(&graph, "y", ONNXC_F32, 1, &flat);
  onnxc_graph_add_output(&graph, y, "y");
  onnxc_tile_program tile = {.graph = &graph, .target = onnxc_target_find("x86-64-v3", 9)};
  onnxc_buffer none = {0};
  ONNXC_PUSH(&arena, tile.buffers, none);
  const onnxc_value values[] = {y, x, w, w2, t, u};
  for (int k = 0; k < 6; k++) {
    const onnxc_value_info *info = onnxc_value_of(&graph, values[k]);
    onnxc_buffer buffer = {.name = info->name,
                           .value = values[k],
                           .dtype = ONNXC_F32,
                           .rank = info->rank,
                           .dims = info->dims,
                           .ring_dim = -1,
                           .alias = k == 0 ? 6 : 0};
    ONNXC_PUSH(&arena, tile.buffers, buffer);
  }
  onnxc_stage stages[2] = {{.name = "s0", .num_tasks = n}, {.name = "s1", .num_tasks = onnxc_dim_const(d, 1)}};
  uint32_t list0[] = {2, 5}, list1[] = {5, 3, 4, 6};
  onnxc_stage_code code[2] = {{"f0", 2, 0, list0, NULL, 100, 0}, {"f1", 4, 1, list1, &flat, 64, 0}};
  for (int k = 0; k < 2; k++)
    ONNXC_PUSH(&arena, tile.stages, stages[k]);
  onnxc_rt_program rt;
  onnxc_weights packed;
  cr_assert_eq(onnxc_describe(&rt, &packed, NULL, &tile, code, &arena), ONNXC_OK, "%s", diag.text);
  cr_expect(packed.num_pieces == 1 && packed.size == 16, "equal constants lie there once");
  cr_expect(rt.num_stages == 2 && rt.num_segments == 1 && rt.scratch_size == 100 && rt.num_buffers == 6);
  cr_expect_eq(rt.num_slots, 1, "t alone needs a place");
  const onnxc_rt_buffer *out = &rt.buffers[rt.outputs[0].buffer];
  cr_expect(out->kind == ONNXC_RT_VIEW && rt.buffers[out->index].kind == ONNXC_RT_OUTPUT);
  cr_expect_str_eq(rt.info.inputs[0].dim_names[0], "N");
  cr_expect(rt.info.inputs[0].dims[0] == -1 && rt.info.inputs[0].dims[1] == 4 && rt.info.outputs[0].dims[0] == -1);
  onnxc_tensor in = {NULL, ONNXC_F32, 2, {10, 4}}, result = {0};
  onnxc_run run = {.inputs = &in, .outputs = &result};
  cr_expect_eq(onnxc_rt_plan(&rt, NULL, &run), ONNXC_OK, "%s", run.message);
  cr_expect(result.rank == 1 && result.dims[0] == 40);
  size_t small = run.workspace_size;
  in.dims[0] = 1000;
  cr_expect_eq(onnxc_rt_plan(&rt, NULL, &run), ONNXC_OK);
  cr_expect_eq(run.workspace_size - small, (size_t)(16000 - 192), "one slot, in whole cache lines");
  in.dims[0] = (int64_t)1 << 31; /* beyond the symbol's range, which the compiler relied on */
  cr_expect_eq(onnxc_rt_plan(&rt, NULL, &run), ONNXC_BAD_INPUT);
  cr_expect_str_eq(run.message, "dim 'N' is too large (2147483648 against 2147483647)");
  /* An output that is an input needs a copy, which the tile program has to make. */
  graph.outputs.data[0] = x;
  cr_expect_eq(onnxc_describe(&rt, &packed, NULL, &tile, code, &arena), ONNXC_INTERNAL);
}

/* ---- the weights' object ---- */

Test(emit, weights_object_links, .init = start, .fini = stop) {
  static const char first[] = "first piece", second[] = "and the second";
  struct onnxc_weight_piece pieces[] = {{0, sizeof first, first}, {64, sizeof second, second}};
  onnxc_weights weights = {64 + sizeof second, 2, pieces};
  char path[] = "/tmp/onnxc_elf_XXXXXX";
  int file = mkstemp(path);
  cr_assert_geq(file, 0);
  cr_assert_eq(onnxc_write_weights_object(&diag, path, "net_weights", &weights), ONNXC_OK, "%s", diag.text);
  unsigned char bytes[4096];
  ssize_t size = read(file, bytes, sizeof bytes);
  cr_assert_gt(size, (ssize_t)sizeof(Elf64_Ehdr));
  Elf64_Ehdr header;
  memcpy(&header, bytes, sizeof header);
  cr_assert(header.e_shoff + header.e_shnum * sizeof(Elf64_Shdr) == (size_t)size, "headers end the file");
  Elf64_Shdr data;
  memcpy(&data, bytes + header.e_shoff + sizeof data, sizeof data);
  cr_expect(data.sh_addralign == 64 && data.sh_size == weights.size && data.sh_offset % 64 == 0);
  cr_expect_str_eq((char *)bytes + data.sh_offset, first);
  cr_expect_str_eq((char *)bytes + data.sh_offset + 64, second);
  char shared[64], log[64];
  snprintf(shared, sizeof shared, "%s.so", path);
  snprintf(log, sizeof log, "%s.log", path);
  const char *const link[] = {"cc",   "-shared", "-nostdlib", "-Wl,--fatal-warnings", "-x",
                              "none", "-o",      shared,      "-Wl,--whole-archive",  path,
                              NULL};
  cr_expect_eq(onnxc_run_program_at(link, log), 0);
  const char *const missing[] = {"onnxc-no-such-tool", NULL};
  int status = onnxc_run_program_at(missing, log);
  cr_expect(status == -1 || status == 127);
  unlink(path);
  unlink(shared);
  unlink(log);
  close(file);
  cr_expect_eq(onnxc_write_weights_object(&diag, "/nonexistent/x.o", "w", &weights), ONNXC_BAD_INPUT);
}

/* ---- the JIT ---- */

/* void f(context, first, last) { ((int64_t *)context->buffers[0])[0] = first + last; } */
static onnxc_module make_module(onnxc_stage_code *stage) {
  onnxc_part part = {.context = LLVMContextCreate()};
  part.module = LLVMModuleCreateWithNameInContext("test", part.context);
  LLVMTypeRef pointer = LLVMPointerTypeInContext(part.context, 0), i64 = LLVMInt64TypeInContext(part.context);
  LLVMTypeRef arguments[3] = {pointer, i64, i64};
  LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(part.context), arguments, 3, 0);
  LLVMValueRef function = LLVMAddFunction(part.module, stage->function, type);
  LLVMBuilderRef b = LLVMCreateBuilderInContext(part.context);
  LLVMPositionBuilderAtEnd(b, LLVMAppendBasicBlockInContext(part.context, function, ""));
  LLVMValueRef one = LLVMConstInt(i64, 1, 0);
  LLVMValueRef field = LLVMBuildGEP2(b, pointer, LLVMGetParam(function, 0), &one, 1, "");
  LLVMValueRef buffer = LLVMBuildLoad2(b, pointer, LLVMBuildLoad2(b, pointer, field, ""), "");
  LLVMBuildStore(b, LLVMBuildAdd(b, LLVMGetParam(function, 1), LLVMGetParam(function, 2), ""), buffer);
  LLVMBuildRetVoid(b);
  LLVMDisposeBuilder(b);
  onnxc_module module = {.parts = {part}, .num_parts = 1, .stages = stage};
  return module;
}

Test(emit, jit_compiles_and_frees, .init = start, .fini = stop) {
  const onnxc_target *host = onnxc_target_host();
  if (!host)
    cr_skip("this host has no target row");
  onnxc_jit *jits[4];
  for (int round = 0; round < 4; round++) {
    onnxc_stage_code stage = {.function = "stage_of_test"};
    onnxc_module module = make_module(&stage);
    onnxc_stage_fn function = NULL;
    cr_assert_eq(jit_compile(&jits[round], &diag, &module, host, 1, &function), ONNXC_OK, "%s", diag.text);
    int64_t result = 0;
    void *buffers[] = {&result};
    onnxc_stage_context context = {NULL, buffers, NULL};
    function(&context, 40, round);
    cr_expect_eq(result, 40 + round);
  }
  for (int round = 0; round < 4; round++)
    onnxc_jit_free(jits[round]);
  /* A stage without code is an error, not a crash. */
  onnxc_stage_code stages[2] = {{.function = "one"}, {.function = "missing"}};
  onnxc_module module = make_module(stages);
  onnxc_stage_fn functions[2];
  onnxc_jit *jit = NULL;
  cr_expect_eq(jit_compile(&jit, &diag, &module, host, 2, functions), ONNXC_INTERNAL);
  cr_expect_null(jit);
}
