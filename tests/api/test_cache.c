/* test_cache.c -- compiling through the cache: what it gives is what compiling gives, an entry is used for nothing but
 * what it was made for, and nothing that is wrong with the cache is an error. */
#define _GNU_SOURCE /* memmem */
#include "onnxc/onnxc.h"

#include "base/arena.h"
#include "emit/cache.h"
#include "tiny_model.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROWS = 7 };

static char root[] = "/tmp/onnxc_cached_XXXXXX", directory[64];

static void start(void) {
  cr_assert_not_null(mkdtemp(root));
  snprintf(directory, sizeof directory, "%s/cache", root);
}

static void stop(void) {
  char command[64];
  snprintf(command, sizeof command, "rm -r %s", root);
  cr_expect_eq(system(command), 0); // NOLINT: the path is ours
}

TestSuite(cached, .init = start, .fini = stop);

/* Compiles in a context of its own; the program outlives it. */
static onnxc_program *compile(const wire *bytes, onnxc_options options, onnxc_stats *stats) {
  onnxc_context *context = onnxc_context_new();
  onnxc_model *model = NULL;
  onnxc_program *program = NULL;
  options.cache_directory = directory;
  cr_assert_eq(onnxc_load_memory(context, bytes->bytes, bytes->length, root, &model), ONNXC_OK, "%s",
               onnxc_message(context));
  cr_assert_eq(onnxc_compile(model, &options, &program), ONNXC_OK, "%s", onnxc_message(context));
  onnxc_context_free(context);
  onnxc_program_stats(program, stats);
  return program;
}

static onnxc_cache_use use_of(const wire *bytes, onnxc_options options) {
  onnxc_stats stats;
  onnxc_program_free(compile(bytes, options, &stats));
  return stats.cache;
}

static void check_run(const onnxc_program *program, int threads, float *y) {
  float x[3 * ROWS], same[3 * ROWS];
  for (int k = 0; k < 3 * ROWS; k++)
    x[k] = (float)(k * 7 % 11) - 5;
  onnxc_tensor in = {x, 1, 2, {ROWS, 3}}, out[2] = {{.data = y}, {.data = same}};
  onnxc_run run = {.inputs = &in, .outputs = out, .num_threads = threads};
  cr_assert_eq(onnxc_plan(program, &run), ONNXC_OK, "%s", run.message);
  run.workspace = aligned_alloc(64, (run.workspace_size + 63) / 64 * 64);
  cr_assert_eq(onnxc_run_program(program, &run), ONNXC_OK, "%s", run.message);
  for (int k = 0; k < 4 * ROWS; k++)
    cr_expect_float_eq(y[k], tiny_y(x, k / 4, k % 4), 1e-4F);
  for (int k = 0; k < 3 * ROWS; k++)
    cr_expect_eq(same[k], x[k]);
  free(run.workspace);
}

/* The path of the only file in the cache. */
static const char *entry_path(void) {
  static char path[sizeof directory + 64];
  int count = 0;
  DIR *files = opendir(directory);
  for (struct dirent *file; files && (file = readdir(files));)
    if (file->d_name[0] != '.') {
      snprintf(path, sizeof path, "%s/%.60s", directory, file->d_name);
      count++;
    }
  if (files)
    closedir(files);
  cr_assert_eq(count, 1);
  return path;
}

Test(cached, hit_is_as_good_as_compiling) {
  wire bytes = tiny_model("Relu");
  onnxc_stats made, found;
  float expected[4 * ROWS], y[4 * ROWS];
  onnxc_program *first = compile(&bytes, (onnxc_options){0}, &made),
                *second = compile(&bytes, (onnxc_options){0}, &found);
  memset(&bytes, 0xff, sizeof bytes);
  cr_expect_eq(made.cache, ONNXC_CACHE_STORED);
  cr_expect_eq(found.cache, ONNXC_CACHE_HIT);
  cr_expect(made.source_nodes == found.source_nodes && made.folded_nodes == found.folded_nodes &&
            made.groups == found.groups && made.weights_size == found.weights_size &&
            made.static_workspace == found.static_workspace && made.flops == found.flops);
  cr_expect_str_eq(onnxc_program_describe(second)->inputs[0].dim_names[0], "N");
  cr_expect_str_eq(onnxc_program_describe(second)->target, onnxc_program_describe(first)->target);
  check_run(first, 1, expected);
  onnxc_program_free(first);
  entry_path();
  cr_expect_eq(unlink(entry_path()), 0); /* the program has what it needs */
  for (int threads = 1; threads < 4; threads++) {
    check_run(second, threads, y);
    for (int k = 0; k < 4 * ROWS; k++)
      cr_expect_eq(y[k], expected[k]);
  }
  onnxc_program_free(second);
}

Test(cached, profile_knows_the_stages) {
  wire bytes = tiny_model("Relu");
  onnxc_stats stats;
  onnxc_stage_profile stages[2][8] = {0};
  for (int k = 0; k < 2; k++) {
    onnxc_program *program = compile(&bytes, (onnxc_options){0}, &stats);
    float x[3] = {0}, y[4], same[3];
    onnxc_tensor in = {x, 1, 2, {1, 3}}, out[2] = {{.data = y}, {.data = same}};
    onnxc_run run = {.inputs = &in, .outputs = out};
    cr_assert(stats.groups > 0 && stats.groups <= 8);
    cr_assert_eq(onnxc_plan(program, &run), ONNXC_OK);
    run.workspace = aligned_alloc(64, (run.workspace_size + 63) / 64 * 64);
    cr_assert_eq(onnxc_profile(program, &run, stages[k]), ONNXC_OK, "%s", run.message);
    for (int s = 0; s < stats.groups; s++) {
      stages[k][s].name = strdup(stages[k][s].name);
      stages[k][s].nodes = strdup(stages[k][s].nodes);
    }
    free(run.workspace);
    onnxc_program_free(program);
  }
  for (int s = 0; s < stats.groups; s++) {
    cr_expect_str_eq(stages[1][s].name, stages[0][s].name);
    cr_expect_str_eq(stages[1][s].nodes, stages[0][s].nodes);
    cr_expect_eq(stages[1][s].bytes, stages[0][s].bytes);
    for (int k = 0; k < 2; k++) {
      free((void *)(uintptr_t)stages[k][s].name);  // NOLINT(performance-no-int-to-ptr)
      free((void *)(uintptr_t)stages[k][s].nodes); // NOLINT(performance-no-int-to-ptr)
    }
  }
}

/* Header, object, weights; and too short. (Every byte: tests/emit/test_cache.c.) */
Test(cached, damaged_entries_are_replaced) {
  wire bytes = tiny_model("Relu");
  static const long flips[] = {0, 10, 30, 60, 200, 1000, -1, -40};
  cr_assert_eq(use_of(&bytes, (onnxc_options){0}), ONNXC_CACHE_STORED);
  for (size_t k = 0; k <= sizeof flips / sizeof *flips; k++) {
    FILE *file = fopen(entry_path(), "r+b");
    cr_assert_not_null(file);
    if (k < sizeof flips / sizeof *flips) {
      cr_assert_eq(fseek(file, flips[k], flips[k] < 0 ? SEEK_END : SEEK_SET), 0);
      int byte = fgetc(file);
      cr_assert_eq(fseek(file, -1, SEEK_CUR), 0);
      fputc(byte ^ 4, file);
    } else {
      cr_assert_eq(ftruncate(fileno(file), 100), 0);
    }
    fclose(file);
    float y[4 * ROWS];
    onnxc_stats stats;
    onnxc_program *program = compile(&bytes, (onnxc_options){0}, &stats);
    cr_expect_eq(stats.cache, ONNXC_CACHE_STORED, "damage %zu", k);
    check_run(program, 1, y);
    onnxc_program_free(program);
    cr_expect_eq(use_of(&bytes, (onnxc_options){0}), ONNXC_CACHE_HIT);
  }
}

/* An entry that is whole but holds no program is as good as none. */
Test(cached, useless_entries_are_replaced) {
  static const char nonsense[] = "no object at all";
  wire bytes = tiny_model("Relu");
  onnxc_guard guard;
  onnxc_arena arena;
  onnxc_arena_init(&arena, &guard);
  cr_assert_eq(use_of(&bytes, (onnxc_options){0}), ONNXC_CACHE_STORED);
  char path[sizeof directory + 64];
  snprintf(path, sizeof path, "%s", entry_path());
  unsigned long long high, low;
  cr_assert_eq(sscanf(path + strlen(directory), "/%16llx%16llx.onnxc", &high, &low), 2); // NOLINT(cert-err34-c)
  const onnxc_digest key = {{low, high}};
  const onnxc_cache_entry entry = {.objects = {1, {{.bytes = nonsense, .size = sizeof nonsense}}}};
  const onnxc_weights weights = {0};
  cr_assert(onnxc_cache_store(&arena, path, &key, &entry, &weights));
  onnxc_stats stats;
  float y[4 * ROWS];
  onnxc_program *program = compile(&bytes, (onnxc_options){0}, &stats);
  cr_expect_eq(stats.cache, ONNXC_CACHE_STORED);
  check_run(program, 1, y);
  onnxc_program_free(program);
  cr_expect_eq(use_of(&bytes, (onnxc_options){0}), ONNXC_CACHE_HIT);
  onnxc_arena_free(&arena);
}

static void ignore_pass(void *arg, const char *pass, double seconds, const char *text) {
  (void)pass, (void)seconds, (void)text;
  ++*(int *)arg;
}

/* Whatever changes the program changes the key; what does not, does not. */
Test(cached, key_has_all_that_matters) {
  wire bytes = tiny_model("Relu"), sigmoid = tiny_model("Sigmoid"), weights = bytes;
  onnxc_dim_setting dims[] = {{"N", 4}, {"N", 5}};
  onnxc_shape_setting shapes[] = {{"x", 2, {4, 3}}, {"x", 2, {5, 3}}};
  const onnxc_options different[] = {{0},
                                     {.cpu = "x86-64-v3"},
                                     {.precision = ONNXC_PRECISION_BF16},
                                     {.winograd = 1},
                                     {.winograd = 4},
                                     {.dims = dims, .num_dims = 1},
                                     {.dims = dims + 1, .num_dims = 1},
                                     {.shapes = shapes, .num_shapes = 1},
                                     {.shapes = shapes + 1, .num_shapes = 1}};
  enum { COUNT = sizeof different / sizeof *different };
  for (int round = 0; round < 2; round++)
    for (int k = 0; k < COUNT; k++)
      cr_expect_eq(use_of(&bytes, different[k]), round ? ONNXC_CACHE_HIT : ONNXC_CACHE_STORED, "options %d", k);
  cr_expect_eq(use_of(&bytes, (onnxc_options){.cpu = "native"}), ONNXC_CACHE_HIT);
  cr_expect_eq(use_of(&bytes, (onnxc_options){.threads = 3}), ONNXC_CACHE_HIT);
  cr_expect_eq(use_of(&bytes, (onnxc_options){.compile_threads = 3}), ONNXC_CACHE_HIT);
  cr_expect_eq(use_of(&sigmoid, (onnxc_options){0}), ONNXC_CACHE_STORED);
  unsigned char *w = memmem(weights.bytes, weights.length, tiny_w, sizeof tiny_w);
  cr_assert_not_null(w);
  w[0] ^= 1;
  cr_expect_eq(use_of(&weights, (onnxc_options){0}), ONNXC_CACHE_STORED);
  int passes = 0; /* who wants to see them gets to see them */
  cr_expect_eq(use_of(&bytes, (onnxc_options){.after_pass = ignore_pass, .pass_arg = &passes}), ONNXC_CACHE_STORED);
  cr_expect_gt(passes, 0);
}

static void write_external(const float *data, size_t size) {
  char path[64];
  snprintf(path, sizeof path, "%s/b.bin", root);
  FILE *file = fopen(path, "wb");
  cr_assert(file && fwrite(data, 1, size, file) == size && fclose(file) == 0);
}

/* y = relu(x + b) with b, f32[4], in the file b.bin. */
static wire external_model(void) {
  wire graph = {0}, opset = {0}, model = {0}, tensor = {0}, entry = {0};
  put_node(&graph, "Add", "x", "b", "g");
  put_node(&graph, "Relu", "g", NULL, "y");
  put_text(&graph, 2, "external");
  put_number(&tensor, 1, 4);
  put_number(&tensor, 2, 1);
  put_text(&tensor, 8, "b");
  put_text(&entry, 1, "location");
  put_text(&entry, 2, "b.bin");
  put_message(&tensor, 13, &entry);
  put_number(&tensor, 14, 1);
  put_message(&graph, 5, &tensor);
  put_value(&graph, 11, "x", 4);
  put_value(&graph, 12, "y", 4);
  put_number(&opset, 2, 13);
  put_number(&model, 1, 8);
  put_message(&model, 8, &opset);
  put_message(&model, 7, &graph);
  return model;
}

Test(cached, external_data_is_content) {
  wire bytes = external_model();
  for (int k = 0; k < 4; k++) {
    float b[4] = {(float)(k % 2), 2, 3, 4}, x[4] = {1, 1, 1, 1}, y[4];
    write_external(b, sizeof b);
    onnxc_stats stats;
    onnxc_program *program = compile(&bytes, (onnxc_options){0}, &stats);
    cr_expect_eq(stats.cache, k < 2 ? ONNXC_CACHE_STORED : ONNXC_CACHE_HIT);
    onnxc_tensor in = {x, 1, 2, {1, 4}}, out = {.data = y};
    onnxc_run run = {.inputs = &in, .outputs = &out};
    cr_assert_eq(onnxc_plan(program, &run), ONNXC_OK);
    run.workspace = aligned_alloc(64, (run.workspace_size + 63) / 64 * 64);
    cr_assert_eq(onnxc_run_program(program, &run), ONNXC_OK, "%s", run.message);
    cr_expect(y[0] == 1 + b[0] && y[3] == 5);
    free(run.workspace);
    onnxc_program_free(program);
  }
}

Test(cached, no_cache_is_no_error) {
  wire bytes = tiny_model("Relu");
  float y[4 * ROWS];
  onnxc_stats stats;
  snprintf(directory, sizeof directory, "/dev/null/cache");
  onnxc_program *program = compile(&bytes, (onnxc_options){0}, &stats);
  cr_expect_eq(stats.cache, ONNXC_CACHE_NOT_STORED);
  check_run(program, 1, y);
  onnxc_program_free(program);
  directory[0] = '\0';
  cr_expect_eq(use_of(&bytes, (onnxc_options){0}), ONNXC_CACHE_UNUSED);
}

Test(cached, processes_share_it) {
  enum { PROCESSES = 4 };
  wire bytes = tiny_model("Relu");
  pid_t children[PROCESSES];
  for (int k = 0; k < PROCESSES; k++) {
    children[k] = fork();
    if (children[k] == 0) {
      float y[4 * ROWS];
      onnxc_stats stats;
      for (int round = 0; round < 3; round++) {
        onnxc_program *program = compile(&bytes, (onnxc_options){0}, &stats);
        check_run(program, 1, y);
        onnxc_program_free(program);
      }
      _exit(stats.cache == ONNXC_CACHE_HIT ? 0 : 1);
    }
  }
  for (int k = 0; k < PROCESSES; k++) {
    int status = 0;
    cr_assert_eq(waitpid(children[k], &status, 0), children[k]);
    cr_expect_eq(status, 0);
  }
  entry_path(); /* one, and no temporary file */
}

static onnxc_status try_once(const wire *bytes) {
  onnxc_context *context = onnxc_context_new();
  onnxc_model *model = NULL;
  onnxc_program *program = NULL;
  const onnxc_options options = {.cache_directory = directory};
  if (!context)
    return ONNXC_OUT_OF_MEMORY;
  onnxc_status status = onnxc_load_memory(context, bytes->bytes, bytes->length, NULL, &model);
  if (status == ONNXC_OK)
    status = onnxc_compile(model, &options, &program);
  onnxc_program_free(program);
  onnxc_context_free(context);
  return status;
}

/* The leak checker, where the build has one. */
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

/* Every allocation of storing, and of loading again, fails once. */
Test(cached, runs_out_of_memory_anywhere) {
  wire bytes = tiny_model("Relu");
  for (int hit = 0; hit < 2; hit++) {
    onnxc_mem_fail_at(0);
    cr_assert_eq(try_once(&bytes), ONNXC_OK);
    int64_t count = onnxc_mem_fail_at(0);
    cr_expect_gt(count, hit ? 5 : 100);
    for (int64_t n = !hit && count > 60 ? count - 60 : 1; n <= count; n++) {
      if (!hit)
        unlink(entry_path());
      onnxc_mem_fail_at(n);
      cr_expect_eq(try_once(&bytes), ONNXC_OUT_OF_MEMORY, "%s: allocation %d", hit ? "hit" : "miss", (int)n);
      onnxc_mem_fail_at(0);
      cr_assert_eq(try_once(&bytes), ONNXC_OK);
    }
  }
  cr_expect(!__lsan_do_recoverable_leak_check || __lsan_do_recoverable_leak_check() == 0);
}
