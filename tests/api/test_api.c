/* test_api.c -- the public library end to end on a tiny model: load, compile, run, evaluate, emit, and every way to
 * fail. */
#include "onnxc/onnxc.h"

#include "base/arena.h"
#include "tiny_model.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_ROWS = 40 };

static void fill(float *x, int rows) {
  for (int k = 0; k < 3 * rows; k++)
    x[k] = (float)(k * 7 % 11) - 5;
}

/* plan and run have one form for programs in memory and for libraries. */
typedef onnxc_status (*plan_fn)(const void *model, onnxc_run *run);

static onnxc_status plan_program(const void *program, onnxc_run *run) { return onnxc_plan(program, run); }
static onnxc_status run_program(const void *program, onnxc_run *run) { return onnxc_run_program(program, run); }

static void check_runs(const void *model, plan_fn plan, plan_fn run_it, int rows, int threads) {
  float x[3 * MAX_ROWS], y[4 * MAX_ROWS], same[3 * MAX_ROWS];
  fill(x, rows);
  onnxc_tensor in = {x, 1, 2, {rows, 3}}, out[2] = {{.data = y}, {.data = same}};
  onnxc_run run = {.inputs = &in, .outputs = out, .num_threads = threads};
  cr_assert_eq(plan(model, &run), ONNXC_OK, "%s", run.message);
  cr_expect(out[0].rank == 2 && out[0].dims[0] == rows && out[0].dims[1] == 4 && out[1].dims[1] == 3);
  run.workspace = aligned_alloc(64, (run.workspace_size + 63) / 64 * 64);
  cr_assert_eq(run_it(model, &run), ONNXC_OK, "%s", run.message);
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < 4; j++)
      cr_expect_float_eq(y[4 * i + j], tiny_y(x, i, j), 1e-4F);
  cr_expect_eq(memcmp(same, x, sizeof *x * 3 * (size_t)rows), 0);
  free(run.workspace);
}

static onnxc_model *load_tiny(onnxc_context *context, const wire *bytes) {
  onnxc_model *model = NULL;
  cr_assert_eq(onnxc_load_memory(context, bytes->bytes, bytes->length, NULL, &model), ONNXC_OK, "%s",
               onnxc_message(context));
  return model;
}

/* One program serves every batch, and stands alone. */
Test(api, compiles_and_runs) {
  wire bytes = tiny_model("Relu");
  onnxc_context *context = onnxc_context_new();
  onnxc_model *model = load_tiny(context, &bytes);
  const onnxc_model_info *declared = onnxc_model_describe(model);
  cr_assert_not_null(declared);
  cr_expect_str_eq(declared->inputs[0].name, "x");
  cr_expect_str_eq(declared->inputs[0].dim_names[0], "N");
  cr_expect(declared->num_outputs == 2 && declared->inputs[0].dims[1] == 3);
  onnxc_program *program = NULL;
  cr_assert_eq(onnxc_compile(model, NULL, &program), ONNXC_OK, "%s", onnxc_message(context));
  onnxc_context_free(context);
  memset(&bytes, 0xff, sizeof bytes);
  const onnxc_model_info *info = onnxc_program_describe(program);
  cr_expect_str_eq(info->outputs[0].name, "y");
  cr_expect_str_eq(info->outputs[1].name, "same");
  onnxc_stats stats;
  onnxc_program_stats(program, &stats);
  cr_expect(stats.source_nodes == 4 && stats.groups > 0 && stats.weights_size >= sizeof tiny_w);
  for (int rows = 0; rows < MAX_ROWS; rows++)
    for (int threads = 0; threads < 4; threads += 3)
      check_runs(program, plan_program, run_program, rows, threads);
  float x[3] = {0};
  onnxc_tensor in = {x, 1, 2, {1, 4}}, out[2] = {{0}};
  onnxc_run run = {.inputs = &in, .outputs = out};
  cr_expect_eq(onnxc_plan(program, &run), ONNXC_BAD_INPUT);
  cr_expect_str_eq(run.message, "input 'x': dim 1 is 4, expected 3");
  onnxc_program_free(program);
}

static void *allocate(void *arg, size_t size, int tag) {
  (void)arg;
  (void)tag;
  return malloc(size);
}

Test(api, evaluates) {
  wire bytes = tiny_model("Relu");
  onnxc_context *context = onnxc_context_new();
  onnxc_model *model = load_tiny(context, &bytes);
  float x[15];
  fill(x, 5);
  onnxc_tensor in = {x, 1, 2, {5, 3}}, out[2];
  cr_assert_eq(onnxc_evaluate(model, &in, 1, out, allocate, NULL), ONNXC_OK, "%s", onnxc_message(context));
  for (int k = 0; k < 20; k++)
    cr_expect_float_eq(((float *)out[0].data)[k], tiny_y(x, k / 4, k % 4), 1e-4F);
  free(out[0].data);
  free(out[1].data);
  cr_expect_eq(onnxc_evaluate(model, &in, 0, out, allocate, NULL), ONNXC_USAGE);
  in.dims[1] = 2;
  cr_expect_eq(onnxc_evaluate(model, &in, 1, out, allocate, NULL), ONNXC_BAD_INPUT);
  cr_expect_neq(onnxc_message(context)[0], '\0');
  onnxc_context_free(context);
}

typedef struct seen {
  int graph, tile, passes, texts;
} seen;

static int want_text(void *arg, const char *pass) {
  (void)arg;
  return strcmp(pass, "graph") == 0 || strcmp(pass, "tile") == 0;
}

static void after_pass(void *arg, const char *pass, double seconds, const char *text) {
  seen *s = arg;
  s->passes++;
  s->texts += text != NULL;
  s->graph += strcmp(pass, "graph") == 0 && text && strstr(text, "graph @");
  s->tile += strcmp(pass, "tile") == 0 && text && strstr(text, "stage @");
  cr_expect(seconds >= 0);
}

typedef struct watched {
  int begun, ended, done, last;
} watched;

static void watch(void *arg, onnxc_event event, int stage, int thread) {
  watched *w = arg;
  cr_expect_eq(thread, 0);
  cr_expect(stage == w->last || (event == ONNXC_STAGE_BEGIN && stage == w->last + 1));
  w->last = stage;
  *(event == ONNXC_STAGE_BEGIN ? &w->begun : event == ONNXC_STAGE_END ? &w->ended : &w->done) += 1;
}

/* The stages' operations sum up to the program's, each has a name and a time, and the product is what the model says:
 * y = relu(x w + b) and the copy of x are two groups. */
static void check_profile(const onnxc_program *program, const onnxc_stats *stats) {
  float x[15] = {0}, y[20], same[15];
  onnxc_tensor in = {x, 1, 2, {5, 3}}, out[2] = {{.data = y}, {.data = same}};
  onnxc_run run = {.inputs = &in, .outputs = out};
  onnxc_stage_profile *stages = calloc((size_t)stats->groups, sizeof *stages);
  cr_assert_eq(onnxc_plan(program, &run), ONNXC_OK);
  run.workspace = aligned_alloc(64, (run.workspace_size + 63) / 64 * 64);
  cr_assert_eq(onnxc_profile(program, &run, stages), ONNXC_OK, "%s", run.message);
  double flops = 0;
  for (int k = 0; k < stats->groups; k++) {
    flops += stages[k].flops;
    cr_expect(stages[k].name && stages[k].seconds >= 0 && stages[k].tasks > 0);
  }
  cr_expect_eq(flops, stats->flops);
  for (int k = 0; k < stats->groups; k++)
    if (stages[k].flops > 0) {
      cr_expect(strstr(stages[k].nodes, "(MatMul-") && strstr(stages[k].nodes, "(Add-") &&
                    strstr(stages[k].nodes, "\nnode 'y' (Relu-"),
                "%s", stages[k].nodes);
      cr_expect_eq(stages[k].operations, 2.0 * 5 * 4);
      cr_expect_eq(stages[k].bytes, 4.0 * (5 * 3 + 3 * 4 + 4 + 5 * 4));
      cr_expect_eq(stages[k].weight_bytes, 4.0 * (3 * 4 + 4));
      cr_expect(stages[k].clocks > 0 && stages[k].note[0]);
    } else {
      cr_expect(stages[k].bytes == 2.0 * 4 * 5 * 3 && stages[k].clocks == 0);
    }
  watched w = {.last = -1};
  cr_assert_eq(onnxc_run_watched(program, &run, watch, &w), ONNXC_OK);
  cr_expect(w.begun == stats->groups && w.ended == w.begun && w.done == w.begun);
  free(stages);
  free(run.workspace);
}

Test(api, options) {
  wire bytes = tiny_model("Relu");
  onnxc_context *context = onnxc_context_new();
  onnxc_model *model = load_tiny(context, &bytes);
  onnxc_program *program = NULL;
  seen s = {0};
  onnxc_dim_setting dim = {"N", 5};
  onnxc_options options = {
      .dims = &dim, .num_dims = 1, .want_text = want_text, .after_pass = after_pass, .pass_arg = &s};
  cr_assert_eq(onnxc_compile(model, &options, &program), ONNXC_OK, "%s", onnxc_message(context));
  cr_expect(s.graph == 1 && s.tile == 1 && s.texts == 2 && s.passes > 4);
  cr_expect_eq(onnxc_program_describe(program)->inputs[0].dims[0], 5);
  onnxc_stats stats;
  onnxc_program_stats(program, &stats);
  cr_expect(stats.static_workspace >= 0);
  cr_expect_eq(stats.flops, 2.0 * 5 * 3 * 4);
  check_runs(program, plan_program, run_program, 5, 1);
  check_profile(program, &stats);
  onnxc_program_free(program);
  onnxc_shape_setting shape = {"x", 2, {7, 3}};
  options = (onnxc_options){.shapes = &shape, .num_shapes = 1, .cpu = "native"};
  cr_assert_eq(onnxc_compile(model, &options, &program), ONNXC_OK, "%s", onnxc_message(context));
  cr_expect_eq(onnxc_program_describe(program)->outputs[0].dims[0], 7);
  onnxc_program_free(program);
  static const struct {
    onnxc_options options;
    onnxc_status status;
  } wrong[] = {{{.cpu = "pentium"}, ONNXC_USAGE},
               {{.triple = "x86_64-linux-gnu"}, ONNXC_USAGE},
               {{.precision = (onnxc_precision)7}, ONNXC_USAGE}};
  for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
    cr_expect_eq(onnxc_compile(model, &wrong[k].options, &program), wrong[k].status);
    cr_expect_null(program);
    cr_expect_eq(strncmp(onnxc_message(context), "model: ", 7), 0, "%s", onnxc_message(context));
  }
  /* Another CPU's code runs when this one has all that it may use, and is refused with a message when not. */
  static const char *const cpus[] = {"x86-64-v3", "x86-64-v4", "haswell", "sapphirerapids", "znver4"};
  for (size_t k = 0; k < sizeof cpus / sizeof *cpus; k++) {
    options = (onnxc_options){.cpu = cpus[k]};
    onnxc_status status = onnxc_compile(model, &options, &program);
    if (status == ONNXC_OK)
      check_runs(program, plan_program, run_program, 9, 1);
    else
      cr_expect(status == ONNXC_UNSUPPORTED && strstr(onnxc_message(context), "it lacks"));
    onnxc_program_free(program);
  }
  cr_expect_not_null(strstr(onnxc_describe_targets(context), "x86-64-v3"));
  onnxc_context_free(context);
}

Test(api, reports_what_is_wrong) {
  onnxc_context *context = onnxc_context_new();
  onnxc_model *model = NULL;
  onnxc_program *program = NULL;
  cr_expect_eq(onnxc_load(context, "/nonexistent/a.onnx", &model), ONNXC_BAD_INPUT);
  cr_expect_null(model);
  cr_expect_str_eq(onnxc_message(context), "/nonexistent/a.onnx: cannot open: No such file or directory");
  static const char garbage[] = "this is no protobuf, whatever one may think";
  cr_expect_eq(onnxc_load_memory(context, garbage, sizeof garbage, NULL, &model), ONNXC_BAD_INPUT);
  cr_expect_eq(onnxc_load_memory(context, garbage, 0, NULL, &model), ONNXC_BAD_INPUT);
  wire bytes = tiny_model("Frobnicate");
  model = load_tiny(context, &bytes);
  cr_expect_eq(onnxc_compile(model, NULL, &program), ONNXC_UNSUPPORTED);
  cr_expect_not_null(strstr(onnxc_message(context), "Frobnicate"), "%s", onnxc_message(context));
  cr_expect_null(onnxc_model_describe(model));
  bytes = tiny_model("Relu");
  for (size_t length = 0; length < bytes.length; length++) { /* cut anywhere: an error or, by luck, a model */
    if (onnxc_load_memory(context, bytes.bytes, length, NULL, &model) != ONNXC_OK) {
      cr_expect_null(model);
      continue;
    }
    onnxc_model_describe(model);
    onnxc_model_free(model);
  }
  onnxc_context_free(context);
}

/* ---- artefacts ---- */

static char directory[64];

static void make_directory(void) {
  strcpy(directory, "/tmp/onnxc_api_XXXXXX");
  cr_assert_not_null(mkdtemp(directory));
}

static int count_files(void) {
  int count = 0;
  DIR *dir = opendir(directory);
  cr_assert_not_null(dir);
  for (const struct dirent *entry; (entry = readdir(dir));)
    count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
  closedir(dir);
  return count;
}

static void remove_directory(void) {
  DIR *dir = opendir(directory);
  cr_assert_not_null(dir);
  for (const struct dirent *entry; (entry = readdir(dir));) {
    char path[400];
    snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
    unlink(path);
  }
  closedir(dir);
  cr_expect_eq(rmdir(directory), 0);
}

static int shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int shell(const char *format, ...) {
  char command[2000];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(command, sizeof command, format, arguments);
  va_end(arguments);
  int status = system(command);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Sets the function pointer at `function`. */
static void find(void *library, const char *prefix, const char *what, void *function) {
  char name[100];
  snprintf(name, sizeof name, "%s_%s", prefix, what);
  void *address = dlsym(library, name);
  cr_assert_not_null(address, "%s", name);
  memcpy(function, (const void *)&address, sizeof address);
}

static void check_library(const char *path, const char *weights) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  cr_assert_not_null(library, "%s", dlerror());
  const char *prefix = dlsym(library, "onnxc_model_prefix");
  cr_assert_not_null(prefix);
  int (*open_model)(const void **, const char *, char *, size_t);
  void (*close_model)(const void *);
  plan_fn plan, run;
  find(library, prefix, "open", (void *)&open_model);
  find(library, prefix, "close", (void *)&close_model);
  find(library, prefix, "plan", (void *)&plan);
  find(library, prefix, "run", (void *)&run);
  const void *model = NULL;
  char message[256];
  cr_assert_eq(open_model(&model, weights, message, sizeof message), ONNXC_OK, "%s", message);
  for (int rows = 0; rows < MAX_ROWS; rows += 3)
    check_runs(model, plan, run, rows, 2);
  close_model(model);
  if (weights) { /* a file that is none, or another model's, is refused */
    cr_expect_eq(open_model(&model, path, message, sizeof message), ONNXC_BAD_INPUT);
    cr_expect_eq(open_model(&model, NULL, message, sizeof message), ONNXC_USAGE);
    cr_expect_eq(open_model(&model, "/nonexistent", message, sizeof message), ONNXC_BAD_INPUT);
    cr_expect_null(model);
  }
  dlclose(library);
}

Test(api, emits_every_kind) {
  wire bytes = tiny_model("Relu");
  onnxc_context *context = onnxc_context_new();
  onnxc_model *model = load_tiny(context, &bytes);
  make_directory();
  static const struct {
    const char *name;
    onnxc_emit kind;
    int files, in_file, threads;
  } rows[] = {
      {"libtiny-net.so", ONNXC_EMIT_SHARED, 2, 0, 1}, {"threaded.so", ONNXC_EMIT_SHARED, 2, 0, 2},
      {"beside.so", ONNXC_EMIT_SHARED, 3, 1, 1},      {"libtiny.a", ONNXC_EMIT_STATIC, 2, 0, 1},
      {"tiny.o", ONNXC_EMIT_OBJECT, 2, 0, 1},         {"tiny", ONNXC_EMIT_EXE, 1, 0, 1},
      {"tiny.ll", ONNXC_EMIT_LLVM_IR, 1, 0, 1},       {"tiny.s", ONNXC_EMIT_ASM, 1, 0, 1},
      {"tiny.tile", ONNXC_EMIT_IR, 1, 0, 1},          {"1st", ONNXC_EMIT_EXE, 2, 1, 1},
  };
  for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
    char path[200], weights[220];
    snprintf(path, sizeof path, "%s/%s", directory, rows[k].name);
    snprintf(weights, sizeof weights, "%s.weights", path);
    onnxc_options options = {.weights_in_file = rows[k].in_file, .threads = rows[k].threads};
    int before = count_files();
    cr_assert_eq(onnxc_emit_file(model, &options, rows[k].kind, path), ONNXC_OK, "%s", onnxc_message(context));
    cr_expect_eq(count_files() - before, rows[k].files, "%s", rows[k].name);
    if (rows[k].kind == ONNXC_EMIT_SHARED)
      check_library(path, rows[k].in_file ? weights : NULL);
    else if (rows[k].kind == ONNXC_EMIT_EXE)
      cr_expect_eq(shell("%s --dim N=4 --repeat 3 > %s/log && grep -q '^y \\[4, 4\\]' %s/log && rm %s/log", path,
                         directory, directory, directory),
                   0);
    else if (rows[k].kind == ONNXC_EMIT_STATIC || rows[k].kind == ONNXC_EMIT_OBJECT)
      cr_expect_eq(
          shell("cd %s && cc -std=c11 -Wall -Wextra -Werror -pedantic %s -DMODEL=tiny -include %.*s.h %s -o use "
                "&& ./use | grep -q 'y: first element' && rm use",
                directory, ONNXC_TEST_DATA "/../../examples/use_library.c", (int)strcspn(rows[k].name, "."),
                rows[k].name, rows[k].name),
          0, "%s", rows[k].name);
  }
  /* What cannot be written leaves nothing behind. */
  int before = count_files();
  char path[200];
  snprintf(path, sizeof path, "%s/none/x.so", directory);
  cr_expect_eq(onnxc_emit_file(model, NULL, ONNXC_EMIT_SHARED, path), ONNXC_BAD_INPUT);
  onnxc_options options = {.prefix = "1-2"};
  snprintf(path, sizeof path, "%s/x.so", directory);
  cr_expect_eq(onnxc_emit_file(model, &options, ONNXC_EMIT_SHARED, path), ONNXC_USAGE);
  cr_expect_eq(onnxc_emit_file(model, NULL, ONNXC_EMIT_SHARED, directory), ONNXC_USAGE);
  options = (onnxc_options){.triple = "aarch64-linux-gnu"};
  cr_expect_eq(onnxc_emit_file(model, &options, ONNXC_EMIT_SHARED, path), ONNXC_UNSUPPORTED);
  cr_expect_eq(count_files(), before);
  remove_directory();
  onnxc_context_free(context);
}

/* ---- every allocation fails once ---- */

static onnxc_status everything(const wire *bytes, int what) {
  onnxc_context *context = onnxc_context_new();
  if (!context)
    return ONNXC_OUT_OF_MEMORY;
  onnxc_model *model = NULL;
  onnxc_program *program = NULL;
  onnxc_status status = onnxc_load_memory(context, bytes->bytes, bytes->length, NULL, &model);
  if (status == ONNXC_OK && what == 0)
    status = onnxc_compile(model, NULL, &program);
  if (status == ONNXC_OK && what == 1) {
    char path[200];
    snprintf(path, sizeof path, "%s/x.o", directory);
    status = onnxc_emit_file(model, NULL, ONNXC_EMIT_OBJECT, path);
  }
  if (status == ONNXC_OK && what == 2 && !onnxc_model_describe(model))
    status = ONNXC_OUT_OF_MEMORY;
  if (status != ONNXC_OK)
    cr_expect_neq(onnxc_message(context)[0], '\0');
  onnxc_program_free(program);
  onnxc_context_free(context);
  return status;
}

Test(api, survives_every_failing_allocation) {
  wire bytes = tiny_model("Relu");
  make_directory();
  for (int what = 0; what < 3; what++) {
    int64_t n = 1;
    onnxc_status status = ONNXC_OUT_OF_MEMORY;
    for (; status != ONNXC_OK && n < 10000; n++) {
      onnxc_mem_fail_at(n);
      status = everything(&bytes, what);
      int64_t made = onnxc_mem_fail_at(0);
      cr_expect(status == ONNXC_OUT_OF_MEMORY || status == ONNXC_OK, "allocation %d: %d", (int)n, (int)status);
      cr_expect(made >= n || status == ONNXC_OK);
      if (status != ONNXC_OK && what == 1)
        cr_expect_eq(count_files(), 0, "allocation %d leaves a file", (int)n);
    }
    cr_expect(status == ONNXC_OK && n > 5, "%d allocations", (int)n);
  }
  remove_directory();
}
