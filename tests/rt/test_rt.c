/* test_rt.c -- the run-time on descriptors made by hand, with stages in C.
 *
 * `chain` has every kind of buffer: y = (2 x + w) computed in a workspace slot, then y[k] = t[k] + t[n-1-k] through a
 * view of it. `filter` has a dynamic output: segment 0 counts the positive elements, segment 1 copies them. */
#include "rt/program.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { F32 = 1, I64 = 7, TASK = 3 /* elements a task */ };

/* ---- chain: x f32[N], w f32[1] -> y f32[N] ---- */

static void scale(const onnxc_stage_context *context, int64_t first, int64_t last) {
  const float *x = context->buffers[0], *w = context->buffers[1];
  float *t = context->buffers[2], *scratch = context->scratch;
  int64_t n = context->dims[0];
  for (int64_t k = first * TASK; k < last * TASK && k < n; k++) {
    scratch[0] = 2 * x[k];
    t[k] = scratch[0] + w[0];
  }
}

static void mirror(const onnxc_stage_context *context, int64_t first, int64_t last) {
  const float *t = context->buffers[0];
  float *y = context->buffers[1];
  int64_t n = context->dims[0];
  for (int64_t k = first * TASK; k < last * TASK && k < n; k++)
    y[k] = t[k] + t[n - 1 - k];
}

static const onnxc_rt_dim chain_dims[] = {
    {ONNXC_RT_INPUT_DIM, 0, 0, 0, 0},                                                                 /* 0: N */
    {ONNXC_RT_CONST, 0, 4, 0, 0},                                                                     /* 1 */
    {ONNXC_RT_MUL, 0, 0, 1, 0},                                                                       /* 2: bytes */
    {ONNXC_RT_CONST, 0, TASK, 0, 0},                                                                  /* 3 */
    {ONNXC_RT_CONST, 0, TASK - 1, 0, 0}, {ONNXC_RT_ADD, 0, 0, 4, 0}, {ONNXC_RT_FLOORDIV, 0, 5, 3, 0}, /* 6: tasks */
    {ONNXC_RT_CONST, 0, 0, 0, 0},                                                                     /* 7 */
    {ONNXC_RT_CONST, 0, 1000, 0, 0},                                                                  /* 8 */
    {ONNXC_RT_MIN, 0, 0, 8, 0}, /* 9: N, at most 1000 */
};
static const onnxc_rt_buffer chain_buffers[] = {
    {ONNXC_RT_INPUT, 0, 0, 2, 0}, {ONNXC_RT_WEIGHT, 0, 64, 1, 0}, {ONNXC_RT_WORKSPACE, 0, 0, 2, 0},
    {ONNXC_RT_VIEW, 0, 2, 2, 7},  {ONNXC_RT_OUTPUT, 0, 0, 2, 0},
};
static const onnxc_rt_slot chain_slots[] = {{-1, 2, 0, 0}};
static const int64_t chain_lists[] = {0, 1, 2, 3, 4}, chain_dim_lists[] = {0, 0};
static const onnxc_rt_stage chain_stages[] = {{0, 0, 6, 0, 3, 0, 1, 7, 0}, {1, 0, 6, 3, 2, 1, 1, 7, 0}};
static const onnxc_stage_fn chain_functions[] = {scale, mirror};
static const onnxc_rt_constraint chain_constraints[] = {{0, 9, "dim 'N' is too large"}};
static const int64_t chain_shape[] = {-1};
static const char *const chain_names[] = {"N"};
static const onnxc_tensor_info chain_input = {"x", F32, 1, chain_shape, chain_names, 0, -1};
static const onnxc_tensor_info chain_output = {"y", F32, 1, chain_shape, chain_names, 0, -1};
static const onnxc_rt_io chain_in = {{0}, 0}, chain_out = {{0}, 4};
static const float chain_weights[17] = {[16] = 0.5F};

static onnxc_rt_program chain(void) {
  return (onnxc_rt_program){
      .info = {ONNXC_ABI_VERSION, 1, 1, &chain_input, &chain_output, "chain", "", sizeof chain_weights, 2},
      .inputs = &chain_in,
      .outputs = &chain_out,
      .num_dims = 10,
      .num_buffers = 5,
      .num_slots = 1,
      .num_stages = 2,
      .num_constraints = 1,
      .num_segments = 1,
      .dims = chain_dims,
      .buffers = chain_buffers,
      .slots = chain_slots,
      .stages = chain_stages,
      .constraints = chain_constraints,
      .buffer_lists = chain_lists,
      .dim_lists = chain_dim_lists,
      .functions = chain_functions,
      .weights = chain_weights,
      .static_workspace = -1,
      .scratch_size = 4,
      .flops_dim = -1,
      .thread_work = 1,
  };
}

static void *new_workspace(const onnxc_run *run) {
  void *memory = aligned_alloc(64, (run->workspace_size + 127) / 64 * 64);
  memset(memory, 0xff, run->workspace_size);
  memset((char *)memory + run->workspace_size, 0x5a, 64); /* a fence */
  return memory;
}

static bool fence_holds(const onnxc_run *run) {
  const unsigned char *fence = (const unsigned char *)run->workspace + run->workspace_size;
  for (int k = 0; k < 64; k++)
    if (fence[k] != 0x5a)
      return false;
  return true;
}

static void check_chain(const onnxc_rt_program *program, int64_t n, onnxc_run *run) {
  float x[1000], y[1000];
  onnxc_tensor in = {x, F32, 1, {n}}, out = {y, 0, 0, {0}};
  for (int64_t k = 0; k < n; k++)
    x[k] = (float)(k * k % 17);
  run->inputs = &in;
  run->outputs = &out;
  cr_assert_eq(onnxc_rt_plan(program, NULL, run), ONNXC_OK, "%s", run->message);
  cr_assert(out.dtype == F32 && out.rank == 1 && out.dims[0] == n);
  run->workspace = new_workspace(run);
  cr_assert_eq(onnxc_rt_run(program, NULL, run), ONNXC_OK, "%s", run->message);
  for (int64_t k = 0; k < n; k++)
    cr_expect_eq(y[k], 2 * x[k] + 0.5F + (2 * x[n - 1 - k] + 0.5F));
  cr_expect(fence_holds(run));
  free(run->workspace);
}

Test(rt, runs_alone) {
  onnxc_rt_program program = chain();
  for (int64_t n = 0; n < 40; n++) {
    onnxc_run run = {0};
    check_chain(&program, n, &run);
  }
}

/* What an embedder's pool may do: hand out tasks in reverse to threads that it numbers round robin, give all of them to
 * its last thread, or use fewer threads than it was asked for and take every other task first. */
static void reverse_pool(void *pool, int64_t tasks, void (*body)(void *arg, int64_t task, int thread), void *arg) {
  int threads = *(int *)pool;
  for (int64_t k = tasks; k-- > 0;)
    body(arg, k, (int)(k % threads));
}
static void lonely_pool(void *pool, int64_t tasks, void (*body)(void *arg, int64_t task, int thread), void *arg) {
  for (int64_t k = 0; k < tasks; k++)
    body(arg, k, *(int *)pool - 1);
}
static void small_pool(void *pool, int64_t tasks, void (*body)(void *arg, int64_t task, int thread), void *arg) {
  for (int64_t from = 0; from < 2; from++)
    for (int64_t k = from; k < tasks; k += 2)
      body(arg, k, *(int *)pool > 1 && k % 3 == 0);
}

Test(rt, runs_in_a_pool) {
  static const onnxc_parallel_for pools[] = {reverse_pool, lonely_pool, small_pool};
  onnxc_rt_program program = chain();
  for (size_t p = 0; p < sizeof pools / sizeof *pools; p++)
    for (int threads = 1; threads < 6; threads++)
      for (int64_t n = 0; n < 60; n += 7) {
        onnxc_run run = {.num_threads = threads, .parallel_for = pools[p], .pool = &threads};
        check_chain(&program, n, &run);
      }
}

/* Stages get the threads that their work pays for: none for 8 elements of 9, two for 20, all for 60. */
static void counting_pool(void *pool, int64_t tasks, void (*body)(void *arg, int64_t task, int thread), void *arg) {
  *(int64_t *)pool = tasks;
  for (int64_t k = 0; k < tasks; k++)
    body(arg, k, 0);
}
static int teams;
static void counting_team(int threads, onnxc_rt_member member, void *arg);

Test(rt, gives_small_stages_fewer_threads) {
  static const struct {
    int64_t elements, chunks;
  } rows[] = {{8, 0}, {17, 0}, {18, 2}, {26, 2}, {27, 3}, {60, 16}, {900, 16}};
  onnxc_rt_program program = chain();
  program.thread_work = 9;
  program.team = counting_team;
  for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
    int64_t chunks = 0;
    onnxc_run run = {.num_threads = 4, .parallel_for = counting_pool, .pool = &chunks};
    check_chain(&program, rows[k].elements, &run);
    cr_expect_eq(chunks, rows[k].chunks, "%lld elements are cut into %lld chunks", (long long)rows[k].elements,
                 (long long)chunks);
    run = (onnxc_run){.num_threads = 4};
    teams = 0;
    check_chain(&program, rows[k].elements, &run);
    cr_expect_eq(teams, rows[k].chunks > 0);
  }
}

/* Numbers of threads that do not exist have no scratch memory: nothing runs there, and the run says so. */
static void wrong_pool(void *pool, int64_t tasks, void (*body)(void *arg, int64_t task, int thread), void *arg) {
  for (int64_t k = 0; k < tasks; k++)
    body(arg, k, *(int *)pool);
}

Test(rt, refuses_wrong_thread_numbers) {
  onnxc_rt_program program = chain();
  float x[20] = {0}, y[20];
  onnxc_tensor in = {x, F32, 1, {20}}, out = {y, 0, 0, {0}};
  for (int thread = -1; thread < 8; thread++) {
    onnxc_run run = {.inputs = &in, .outputs = &out, .num_threads = 3, .parallel_for = wrong_pool, .pool = &thread};
    cr_assert_eq(onnxc_rt_plan(&program, NULL, &run), ONNXC_OK);
    run.workspace = new_workspace(&run);
    cr_expect_eq(onnxc_rt_run(&program, NULL, &run), thread >= 0 && thread < 3 ? ONNXC_OK : ONNXC_USAGE);
    cr_expect(fence_holds(&run));
    free(run.workspace);
  }
}

/* A team of pthreads, as libomp would be. */
static pthread_barrier_t meeting;
static void wait_for_all(void) { pthread_barrier_wait(&meeting); }
typedef struct soldier {
  onnxc_rt_member member;
  void *arg;
  int thread, threads;
} soldier;
static void *serve(void *arg) {
  soldier *s = arg;
  s->member(s->arg, s->thread, s->threads, wait_for_all);
  return NULL;
}
static void team(int threads, onnxc_rt_member member, void *arg) {
  soldier soldiers[8];
  pthread_t ids[8];
  pthread_barrier_init(&meeting, NULL, (unsigned)threads);
  for (int k = 0; k < threads; k++) {
    soldiers[k] = (soldier){member, arg, k, threads};
    pthread_create(&ids[k], NULL, serve, &soldiers[k]);
  }
  for (int k = 0; k < threads; k++)
    pthread_join(ids[k], NULL);
  pthread_barrier_destroy(&meeting);
}

static void counting_team(int threads, onnxc_rt_member member, void *arg) {
  teams++;
  team(threads, member, arg);
}

Test(rt, runs_in_a_team) {
  onnxc_rt_program program = chain();
  program.team = team;
  for (int threads = 1; threads < 6; threads++)
    for (int64_t n = 0; n < 60; n += 13) {
      onnxc_run run = {.num_threads = threads};
      check_chain(&program, n, &run);
    }
}

typedef struct seen {
  int done; /* digits: the stages in order */
  int begun[3], ended[3], working[3];
} seen;

static void watch(void *arg, onnxc_rt_event event, int64_t stage, int thread) {
  seen *s = arg;
  if (event == ONNXC_RT_DONE) {
    s->done = s->done * 10 + (int)stage + 1;
    return;
  }
  s->working[thread] += event == ONNXC_RT_BEGIN ? 1 : -1;
  (event == ONNXC_RT_BEGIN ? s->begun : s->ended)[thread]++;
  cr_expect(s->working[thread] == 0 || s->working[thread] == 1);
}

/* A thread's pieces of work follow each other, and a stage is done once. */
static void check_watched(const onnxc_rt_program *program, onnxc_run *run, int pieces) {
  seen s = {0};
  cr_expect_eq(onnxc_rt_run_watched(program, NULL, run, watch, &s), ONNXC_OK, "%s", run->message);
  cr_expect_eq(s.done, 12);
  int begun = 0;
  for (int k = 0; k < 3; k++) {
    begun += s.begun[k];
    cr_expect(s.begun[k] == s.ended[k]);
  }
  cr_expect_eq(begun, pieces, "%d", begun);
}

Test(rt, tells_stages) {
  onnxc_rt_program program = chain();
  program.team = team;
  float x[9] = {0}, y[9];
  onnxc_tensor in = {x, F32, 1, {9}}, out = {y, 0, 0, {0}};
  onnxc_run run = {.inputs = &in, .outputs = &out, .num_threads = 3};
  cr_assert_eq(onnxc_rt_plan(&program, NULL, &run), ONNXC_OK);
  run.workspace = new_workspace(&run);
  check_watched(&program, &run, 6); /* 3 tasks in each of 2 stages */
  int threads = 3;
  run.parallel_for = reverse_pool;
  run.pool = &threads;
  check_watched(&program, &run, 6);
  run.num_threads = 1;
  check_watched(&program, &run, 2);
  free(run.workspace);
}

Test(rt, static_offsets) {
  onnxc_rt_program program = chain();
  onnxc_rt_slot slot = {128, 2, 0, 0};
  program.slots = &slot;
  program.static_workspace = 128 + 40 * 4;
  for (int64_t n = 0; n <= 40; n++) {
    onnxc_run run = {0};
    check_chain(&program, n, &run);
  }
}

/* Everything that a caller can get wrong gets a status and a message, and is never run. */
Test(rt, refuses_wrong_calls) {
  onnxc_rt_program program = chain();
  float x[8] = {0}, y[8];
  static const struct {
    int32_t dtype, rank;
    int64_t dim;
    int status;
    const char *message;
  } rows[] = {
      {F32, 1, 8, ONNXC_OK, ""},
      {I64, 1, 8, ONNXC_BAD_INPUT, "input 'x': element type is i64, expected f32"},
      {F32, 2, 8, ONNXC_BAD_INPUT, "input 'x': rank is 2, expected 1"},
      {F32, 1, -1, ONNXC_BAD_INPUT, "input 'x': dim 0 is -1, which is negative"},
      {F32, 1, 1001, ONNXC_BAD_INPUT, "dim 'N' is too large (1001 against 1000)"},
      {F32, 1, INT64_MAX, ONNXC_BAD_INPUT, "dim 'N' is too large (9223372036854775807 against 1000)"},
      {F32, 1, INT64_MIN, ONNXC_BAD_INPUT, "input 'x': dim 0 is -9223372036854775808, which is negative"},
  };
  for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
    onnxc_tensor in = {x, rows[k].dtype, rows[k].rank, {rows[k].dim}}, out = {y, 0, 0, {0}};
    onnxc_run run = {.inputs = &in, .outputs = &out};
    cr_expect_eq(onnxc_rt_plan(&program, NULL, &run), rows[k].status, "row %zu", k);
    cr_expect_str_eq(run.message, rows[k].message);
  }
  program.num_constraints = 0; /* then arithmetic must notice */
  onnxc_tensor in = {x, F32, 1, {INT64_MAX / 2}}, out = {y, 0, 0, {0}};
  onnxc_run run = {.inputs = &in, .outputs = &out};
  cr_expect_eq(onnxc_rt_plan(&program, NULL, &run), ONNXC_BAD_INPUT);
  cr_expect_str_eq(run.message, "the shapes are so large that sizes overflow");
  run.inputs = NULL;
  cr_expect_eq(onnxc_rt_plan(&program, NULL, &run), ONNXC_USAGE);
  run.inputs = &in;
  for (size_t k = 0; k < sizeof run.reserved / sizeof *run.reserved; k++) { /* a caller newer than the model */
    in.dims[0] = 8;
    run.reserved[k] = 1;
    cr_expect_eq(onnxc_rt_plan(&program, NULL, &run), ONNXC_USAGE);
    cr_expect_eq(onnxc_rt_run(&program, NULL, &run), ONNXC_USAGE);
    run.reserved[k] = 0;
  }
  cr_expect_eq(onnxc_rt_plan(&program, NULL, &run), ONNXC_OK);
}

Test(rt, refuses_wrong_memory) {
  onnxc_rt_program program = chain();
  float x[8] = {0}, y[8];
  onnxc_tensor in = {x, F32, 1, {8}}, out = {y, 0, 0, {0}};
  onnxc_run run = {.inputs = &in, .outputs = &out};
  cr_assert_eq(onnxc_rt_plan(&program, NULL, &run), ONNXC_OK);
  size_t size = run.workspace_size;
  cr_expect_eq(onnxc_rt_run(&program, NULL, &run), ONNXC_USAGE);
  cr_expect_str_eq(run.message, "run.workspace must be aligned to 64 bytes");
  unsigned char *memory = new_workspace(&run);
  run.workspace = memory + 8;
  cr_expect_eq(onnxc_rt_run(&program, NULL, &run), ONNXC_USAGE);
  run.workspace = memory;
  for (size_t less = 0; less < size; less += 40) { /* any smaller one is noticed before it is overrun */
    run.workspace_size = less;
    cr_expect_eq(onnxc_rt_run(&program, NULL, &run), ONNXC_USAGE);
  }
  run.workspace_size = size;
  in.data = NULL;
  cr_expect_eq(onnxc_rt_run(&program, NULL, &run), ONNXC_USAGE);
  cr_expect_str_eq(run.message, "input 'x': its data is NULL");
  in.data = x;
  out.data = NULL;
  cr_expect_eq(onnxc_rt_run(&program, NULL, &run), ONNXC_USAGE);
  cr_expect_str_eq(run.message, "output 'y': its data is NULL");
  in.dims[0] = 1000; /* larger than planned */
  out.data = y;
  cr_expect_eq(onnxc_rt_run(&program, NULL, &run), ONNXC_USAGE);
  free(memory);
}

/* ---- filter: x f32[N] -> the positive ones, f32[M] ---- */

static void count_positive(const onnxc_stage_context *context, int64_t first, int64_t last) {
  (void)first;
  (void)last;
  const float *x = context->buffers[0];
  int64_t *count = context->buffers[1];
  *count = 0;
  for (int64_t k = 0; k < context->dims[0]; k++)
    *count += x[k] > 0;
}

static void copy_positive(const onnxc_stage_context *context, int64_t first, int64_t last) {
  (void)first;
  (void)last;
  const float *x = context->buffers[0];
  float *t = context->buffers[1];
  int64_t m = 0;
  for (int64_t k = 0; k < context->dims[0]; k++)
    if (x[k] > 0)
      t[m++] = x[k];
}

static void copy_out(const onnxc_stage_context *context, int64_t first, int64_t last) {
  const float *t = context->buffers[0];
  float *y = context->buffers[1];
  for (int64_t k = first; k < last; k++)
    y[k] = t[k];
}

static onnxc_rt_program filter(void) {
  static const onnxc_rt_dim dims[] = {
      {ONNXC_RT_INPUT_DIM, 0, 0, 0, 0}, {ONNXC_RT_CONST, 0, 4, 0, 0}, {ONNXC_RT_MUL, 0, 0, 1, 0},
      {ONNXC_RT_CONST, 0, 8, 0, 0},     {ONNXC_RT_CONST, 0, 1, 0, 0}, {ONNXC_RT_ELEMENT, 1, 1, 0, I64},
      {ONNXC_RT_MUL, 1, 5, 1, 0},
  };
  static const onnxc_rt_buffer buffers[] = {
      {ONNXC_RT_INPUT, 0, 0, 2, 0},
      {ONNXC_RT_WORKSPACE, 0, 0, 3, 0},
      {ONNXC_RT_WORKSPACE, 1, 1, 6, 0},
      {ONNXC_RT_OUTPUT, 1, 0, 6, 0},
  };
  static const onnxc_rt_slot slots[] = {{-1, 3, 0, 0}, {-1, 6, 1, 0}};
  static const int64_t lists[] = {0, 1, 0, 2, 2, 3}, dim_lists[] = {0, 0};
  static const onnxc_rt_stage stages[] = {
      {0, 0, 4, 0, 2, 0, 1, 4, 0}, {1, 1, 4, 2, 2, 1, 1, 4, 0}, {2, 1, 5, 4, 2, 0, 0, 4, 5}};
  static const onnxc_stage_fn functions[] = {count_positive, copy_positive, copy_out};
  static const onnxc_tensor_info output = {"y", F32, 1, chain_shape, chain_names, ONNXC_TENSOR_DYNAMIC, -1};
  static const onnxc_rt_io out = {{5}, 3};
  return (onnxc_rt_program){
      .info = {ONNXC_ABI_VERSION, 1, 1, &chain_input, &output, "filter", "", 0, 3},
      .inputs = &chain_in,
      .outputs = &out,
      .num_dims = 7,
      .num_buffers = 4,
      .num_slots = 2,
      .num_stages = 3,
      .num_segments = 2,
      .dims = dims,
      .buffers = buffers,
      .slots = slots,
      .stages = stages,
      .buffer_lists = lists,
      .dim_lists = dim_lists,
      .functions = functions,
      .static_workspace = -1,
      .flops_dim = -1,
      .thread_work = 1,
  };
}

typedef struct giver {
  void *given[8];
  int count, tags, refuse; /* refuse: number of the call that fails, from 1; 0 = none */
} giver;

static void *give(void *arg, size_t size, int tag) {
  giver *g = arg;
  if (g->count == 8 || g->count + 1 == g->refuse)
    return NULL;
  g->tags = g->tags * 10 + tag;
  return g->given[g->count++] = aligned_alloc(64, (size + 64) / 64 * 64);
}

static void take_back(giver *g) {
  while (g->count > 0)
    free(g->given[--g->count]);
  *g = (giver){0};
}

Test(rt, sizes_that_depend_on_data) {
  onnxc_rt_program program = filter();
  float x[64];
  int positive = 0;
  for (int k = 0; k < 64; k++) {
    x[k] = (float)(k * 37 % 11 - 5);
    positive += x[k] > 0;
  }
  for (int threads = 1; threads < 4; threads++)
    for (int spare = 0; spare < 2; spare++) { /* room behind the planned workspace is used before the allocator */
      giver g = {0};
      onnxc_tensor in = {x, F32, 1, {64}}, out = {0};
      program.team = team;
      onnxc_run run = {.inputs = &in, .outputs = &out, .num_threads = threads, .allocate = give, .allocate_arg = &g};
      cr_assert_eq(onnxc_rt_plan(&program, NULL, &run), ONNXC_OK);
      cr_expect_eq(out.dims[0], -1);
      run.workspace_size += spare ? 1024 : 0;
      run.workspace = new_workspace(&run);
      cr_assert_eq(onnxc_rt_run(&program, NULL, &run), ONNXC_OK, "%s", run.message);
      cr_expect_eq(out.dims[0], positive);
      cr_expect_eq(g.tags, 1, "%d", g.tags); /* tag 0 (as a leading zero), then 1 */
      cr_expect_eq(g.count, spare ? 1 : 2);
      int at = 0;
      for (int k = 0; k < 64; k++)
        if (x[k] > 0)
          cr_expect_eq(((float *)out.data)[at++], x[k]);
      cr_expect(fence_holds(&run));
      take_back(&g);
      for (int refuse = 1; refuse <= 2 && !spare; refuse++) {
        g.refuse = refuse;
        out.data = NULL;
        cr_expect_eq(onnxc_rt_run(&program, NULL, &run), ONNXC_OUT_OF_MEMORY);
        cr_expect_neq(run.message[0], '\0');
        take_back(&g);
      }
      run.allocate = NULL;
      out.data = NULL;
      cr_expect_eq(onnxc_rt_run(&program, NULL, &run), ONNXC_OUT_OF_MEMORY);
      free(run.workspace);
    }
}

/* ---- shapes in an input's contents ---- */

Test(rt, reads_shapes_from_inputs) {
  static const onnxc_rt_dim dims[] = {{ONNXC_RT_CONST, 0, 2, 0, 0},
                                      {ONNXC_RT_ELEMENT, 0, 0, 0, I64},
                                      {ONNXC_RT_ELEMENT, 0, 0, 1, I64},
                                      {ONNXC_RT_MUL, 0, 1, 2, 0},
                                      {ONNXC_RT_CONST, 0, 16, 0, 0}};
  static const onnxc_rt_buffer buffers[] = {{ONNXC_RT_INPUT, 0, 0, 4, 0}};
  static const int64_t in_dims[] = {2}, out_dims[] = {-1, -1};
  static const char *const names[2] = {NULL, NULL};
  static const onnxc_tensor_info input = {"shape", I64, 1, in_dims, names, ONNXC_TENSOR_SHAPES, -1};
  static const onnxc_tensor_info output = {"y", F32, 2, out_dims, names, 0, -1};
  static const onnxc_rt_io in_io = {{0}, 0}, out_io = {{1, 2}, 0};
  onnxc_rt_program program = {.info = {ONNXC_ABI_VERSION, 1, 1, &input, &output, "", "", 0, 0},
                              .inputs = &in_io,
                              .outputs = &out_io,
                              .num_dims = 5,
                              .num_buffers = 1,
                              .num_segments = 1,
                              .dims = dims,
                              .buffers = buffers,
                              .static_workspace = 0,
                              .flops_dim = -1};
  int64_t shape[2] = {3, 5};
  onnxc_tensor in = {shape, I64, 1, {2}}, out = {0};
  onnxc_run run = {.inputs = &in, .outputs = &out};
  cr_expect_eq(onnxc_rt_plan(&program, NULL, &run), ONNXC_OK);
  cr_expect(out.dims[0] == 3 && out.dims[1] == 5);
  shape[1] = -4;
  cr_expect_eq(onnxc_rt_plan(&program, NULL, &run), ONNXC_BAD_INPUT);
  shape[0] = shape[1] = (int64_t)1 << 40;
  cr_expect_eq(onnxc_rt_plan(&program, NULL, &run), ONNXC_BAD_INPUT);
  in.data = NULL;
  cr_expect_eq(onnxc_rt_plan(&program, NULL, &run), ONNXC_BAD_INPUT);
  cr_expect_str_eq(run.message,
                   "input 'shape': shapes depend on its contents, so its data must be given when planning");
}

Test(rt, refuses_a_cpu) {
  onnxc_rt_program program = {.cpu_features = onnxc_rt_host_cpu()};
  char message[256] = "";
  cr_expect_eq(onnxc_rt_check_cpu(&program, message, sizeof message), ONNXC_OK);
  for (unsigned k = 0; k < ONNXC_RT_CPU_COUNT; k++) { /* refused exactly when the host lacks it */
    program.cpu_features = (uint64_t)1 << k;
    bool has = onnxc_rt_host_cpu() >> k & 1;
    cr_expect_eq(onnxc_rt_check_cpu(&program, message, sizeof message), has ? ONNXC_OK : ONNXC_UNSUPPORTED);
  }
  program.cpu_features = (uint64_t)1 << ONNXC_RT_CPU_AMX_TILE | (uint64_t)1 << ONNXC_RT_CPU_AVX2;
  for (size_t size = 0; size < 60; size++) { /* short buffers are not overrun */
    char small[64];
    memset(small, 'z', sizeof small);
    onnxc_rt_check_cpu(&program, small, size);
    cr_expect_eq(small[size], 'z');
  }
}
