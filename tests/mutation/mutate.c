/* mutate.c -- hostile models: mutants of real ones go through the whole compiler, and the small ones are run.
 *
 *     test_mutation [--count N] [--seconds T] [--seed S] [--evaluate] [--stride N] MODEL..|DIRECTORY..
 *     test_mutation --case K [--seed S] [--write FILE] MODEL
 *
 * A case is a model, a seed and a number; its mutant is the same each time. For every mutant the library must
 * return: with success, or with an error that says that the model is bad, unsupported or too large. A crash, a
 * sanitizer's report, an error that admits a bug of ours (a verifier's, LLVM's), more CPU time or memory than the
 * limits is a failure, and its line names the case. Cases run in forked workers, a batch each, which tell the parent
 * what they are at through shared memory; so a dead worker costs one case.
 *
 * Inputs and outputs of runs end at a page that may not be touched.
 */
#define _GNU_SOURCE /* memmem */
#include "mutations.h"
#include "runs.h"

#include "api/api.h"
#include "ir/text.h"
#include "ir/verify.h"

#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
enum { SANITIZED = 1 };
/* Huge allocations fail as they do under a limit; a leak is reported when the worker ends. */
const char *__asan_default_options(void);
__attribute__((visibility("default"))) const char *__asan_default_options(void) {
  return "allocator_may_return_null=1:max_allocation_size_mb=1536:hard_rss_limit_mb=4096:quarantine_size_mb=16";
}
#else
enum { SANITIZED = 0 };
#endif

enum {
  BATCH = 20,
  MAX_MODELS = 4096,
  CPU_SECONDS = SANITIZED ? 30 : 10, /* of one case, before it runs */
  MEMORY_MIB = 1024,                 /* of one case above what the model itself takes */
  SMALL = 200 << 10,                 /* models that are compiled and run */
  CODE = 8                           /* one in so many mutants of large models is compiled */
};

static const char *const stage_names[] = {"load", "describe", "tile", "compile", "plan", "run", "evaluate", "done"};

typedef struct settings {
  uint64_t seed, only; /* only: one case, UINT64_MAX = all */
  uint64_t count;
  double seconds;
  bool evaluate;
  const char *write;
} settings;

typedef struct totals {
  uint64_t passed, failed, skipped, imported, ran;
} totals;

shared_state *shared;

void set_timer(int seconds) {
  struct itimerval timer = {.it_value = {.tv_sec = seconds}};
  setitimer(ITIMER_PROF, &timer, NULL);
}

/* ---- one case ---- */

static long peak_kib(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

static void report(const settings *set, const char *path, uint64_t number, const char *what, const char *detail) {
  printf("FAILED: %s (%s): --seed %" PRIu64 " --case %" PRIu64 " %s\n", what, detail, set->seed, number, path);
  fflush(stdout);
}

static bool ends_in(const char *text, const char *end) {
  size_t length = strlen(text), size = strlen(end);
  return length >= size && strcmp(text + length - size, end) == 0;
}

static bool is_text(const char *path) { return ends_in(path, ".ir") || ends_in(path, ".tile"); }

/* Whether the library may answer so. */
static bool check_status(const settings *set, const char *path, const onnxc_context *context, onnxc_status status) {
  const char *message = onnxc_message(context);
  /* Text may say a load that leaves its operand, which only evaluating can tell. */
  if (is_text(path) && strstr(message, "reads index"))
    return false;
  if (set->only != UINT64_MAX)
    printf("%s: %s: %s\n", stage_names[shared->stage], onnxc_status_name(status), message);
  bool good =
      status == ONNXC_OK ||
      ((status == ONNXC_BAD_INPUT || status == ONNXC_UNSUPPORTED || status == ONNXC_OUT_OF_MEMORY) && message[0]);
  if (!good)
    report(set, path, shared->current, onnxc_status_name(status), message);
  shared->failed += !good;
  return good && status == ONNXC_OK;
}

typedef struct tile_job {
  onnxc_build build;
} tile_job;

static onnxc_status make_tile(void *arg) {
  tile_job *job = arg;
  ONNXC_TRY(onnxc_build_target(&job->build));
  return onnxc_build_tile(&job->build);
}

/* ---- one case: text ---- */

typedef struct text_job {
  onnxc_context *context;
  const char *text;
  size_t size;
  bool is_tile;
  onnxc_build build;
} text_job;

static onnxc_status print_and_parse(onnxc_graph *graph, onnxc_arena *arena) {
  onnxc_text text;
  onnxc_graph again;
  onnxc_text_init(&text, arena);
  onnxc_graph_print(graph, &text, SIZE_MAX);
  onnxc_graph_init(&again, arena, graph->diag);
  return onnxc_graph_parse(&again, "printed", text.data, strlen(text.data)) == ONNXC_OK ? ONNXC_OK : ONNXC_INTERNAL;
}

/* What was parsed and verified goes on to code, as what was imported does. */
static onnxc_status compile_text(void *arg) {
  text_job *job = arg;
  onnxc_build *build = &job->build;
  onnxc_graph_init(&build->graph, &build->arena, &job->context->diag);
  if (job->is_tile) {
    onnxc_tile_program_init(&build->tile, &build->graph, NULL);
    ONNXC_TRY(onnxc_tile_parse(&build->tile, "mutant", job->text, job->size));
    if (onnxc_tile_verify(&build->tile) != ONNXC_OK)
      return ONNXC_BAD_INPUT;
    onnxc_text text;
    onnxc_text_init(&text, &build->arena);
    onnxc_tile_print(&build->tile, &text);
    return ONNXC_OK;
  }
  ONNXC_TRY(onnxc_graph_parse(&build->graph, "mutant", job->text, job->size));
  ONNXC_TRY(onnxc_graph_verify(&build->graph, NULL));
  shared->stage = TILE;
  shared->imported++;
  ONNXC_TRY(print_and_parse(&build->graph, &build->arena));
  onnxc_pass_options passes = {.target = onnxc_target_host(), .verify = true};
  ONNXC_TRY(onnxc_run_passes(&build->graph, onnxc_pipeline, &passes));
  onnxc_tile_program_init(&build->tile, &build->graph, passes.target);
  ONNXC_TRY(onnxc_tile_lower(&build->tile));
  return onnxc_tile_verify(&build->tile);
}

static void run_text(const settings *set, const char *path, const uint8_t *bytes, size_t size) {
  text_job job = {.context = onnxc_context_new(), .text = (const char *)bytes, .size = size};
  job.is_tile = ends_in(path, ".tile");
  if (!job.context)
    return;
  shared->stage = LOAD;
  set_timer(CPU_SECONDS);
  onnxc_arena_init(&job.build.arena, &job.context->guard);
  check_status(set, path, job.context, onnxc_guarded(job.context, "text", compile_text, &job));
  set_timer(0);
  shared->stage = DONE;
  onnxc_arena_free(&job.build.arena);
  onnxc_context_free(job.context);
}

/* ---- one case: a model ---- */

/* --evaluate is for hunting: a mutant may have overflow and undefined casts, about which the two need not agree. */
static void compare(const settings *set, const char *path, const onnxc_program *program, const onnxc_tensor *outputs,
                    const onnxc_tensor *expected) {
  const onnxc_model_info *info = onnxc_program_describe(program);
  for (int k = 0; k < info->num_outputs; k++)
    if (!tensors_agree(&outputs[k], &expected[k]))
      printf("differs: output '%s': --seed %" PRIu64 " --case %" PRIu64 " %s\n", info->outputs[k].name, set->seed,
             shared->current, path);
}

static void run_bytes(const settings *set, const char *path, const uint8_t *bytes, size_t size, random_source source) {
  set_timer(CPU_SECONDS);
  onnxc_context *context = onnxc_context_new();
  onnxc_model *loaded = NULL;
  onnxc_program *program = NULL;
  run_memory memory = {.count = 0};
  onnxc_tensor inputs[MAX_TENSORS], outputs[MAX_TENSORS];
  shared->stage = LOAD;
  if (!context || !check_status(set, path, context, onnxc_load_memory(context, bytes, size, NULL, &loaded)))
    goto end;
  shared->stage = DESCRIBE;
  onnxc_model_describe(loaded);
  bool compiles = size <= SMALL || random_below(&source, CODE) == 0;
  if (compiles) {
    shared->stage = COMPILE;
    if (!check_status(set, path, context, onnxc_compile(loaded, NULL, &program)))
      goto end;
  } else {
    tile_job job;
    onnxc_build_init(&job.build, loaded, NULL);
    shared->stage = TILE;
    check_status(set, path, context, onnxc_guarded(context, "model", make_tile, &job));
    onnxc_build_free(&job.build);
  }
  shared->imported++;
  if (program && run_program(program, &source, &memory, inputs, outputs) && set->evaluate) {
    onnxc_tensor expected[MAX_TENSORS];
    size_t num_inputs = (size_t)onnxc_program_describe(program)->num_inputs;
    shared->stage = EVALUATE;
    onnxc_status status = onnxc_evaluate(loaded, inputs, num_inputs, expected, allocate_guarded, &memory);
    if (check_status(set, path, context, status))
      compare(set, path, program, outputs, expected);
  }
end:
  set_timer(0);
  shared->stage = DONE;
  run_memory_free(&memory);
  onnxc_program_free(program);
  onnxc_context_free(context);
}

static void run_case(const settings *set, const char *path, const mutable_model *model, uint64_t number) {
  random_source source = {set->seed * UINT64_C(0x100000001b3) + number};
  random_next(&source);
  size_t size = 0;
  uint8_t *bytes = is_text(path) ? (uint8_t *)mutate_text((const char *)model->bytes, model->size, &source, &size)
                                 : mutate(model, &source, &size);
  if (!bytes)
    return;
  FILE *file = set->write ? fopen(set->write, "wb") : NULL;
  if (file) {
    fwrite(bytes, 1, size, file);
    fclose(file);
  }
  if (is_text(path))
    run_text(set, path, bytes, size);
  else
    run_bytes(set, path, bytes, size, source);
  free(bytes);
}

/* ---- batches ---- */

static double seconds_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* In the worker: cases from `first` on. */
static void work(const settings *set, const char *path, const mutable_model *model, uint64_t first, uint64_t last) {
  long before = peak_kib(), model_kib = (long)(model->size >> 10);
  if (!SANITIZED) {
    struct rlimit limit = {(rlim_t)4 << 30, (rlim_t)4 << 30};
    setrlimit(RLIMIT_AS, &limit);
  }
  for (uint64_t k = first; k < last; k++) {
    shared->current = k;
    uint64_t failed = shared->failed;
    run_case(set, path, model, k);
    long after = peak_kib();
    if (after - before > ((long)MEMORY_MIB << 10) + 8 * model_kib && shared->failed == failed) {
      char detail[64];
      snprintf(detail, sizeof detail, "%ld MiB", (after - before) >> 10);
      report(set, path, k, "too much memory", detail);
      shared->failed++;
      before = after;
    }
  }
  shared->finished = true;
}

/* The cases first..last-1; a dead worker is replaced. */
static void run_batch(const settings *set, const char *path, const mutable_model *model, uint64_t first, uint64_t last,
                      totals *sum) {
  uint64_t cases = last - first, failed = 0, skipped = 0;
  shared->imported = shared->ran = 0;
  while (first < last) {
    shared->failed = 0;
    shared->finished = false;
    shared->current = first;
    shared->stage = DONE;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
      work(set, path, model, first, last);
      fflush(NULL);
      exit(0); /* not _exit: leaks are looked for */
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) < 0) {
      perror("fork");
      exit(2);
    }
    failed += shared->failed;
    if (shared->finished && status == 0)
      break;
    char what[64];
    if (WIFSIGNALED(status))
      snprintf(what, sizeof what, "signal %d, %s", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
      snprintf(what, sizeof what, "exit status %d", WEXITSTATUS(status));
    bool slow = WIFSIGNALED(status) && WTERMSIG(status) == SIGPROF;
    if (shared->finished) {
      report(set, path, first, "the worker failed at its end, in one of its cases from here on", what);
      failed++;
      break;
    }
    if (slow && (shared->stage == RUN || shared->stage == EVALUATE)) {
      skipped++;
    } else {
      report(set, path, shared->current, slow ? "too much time" : what, stage_names[shared->stage]);
      failed++;
    }
    first = shared->current + 1;
  }
  sum->failed += failed;
  sum->skipped += skipped;
  sum->passed += cases - (failed + skipped < cases ? failed + skipped : cases);
  sum->imported += shared->imported;
  sum->ran += shared->ran;
}

/* Cases first..last-1 of the model at `path`. */
static void run_model(const settings *set, const char *path, uint64_t first, uint64_t last, totals *sum) {
  FILE *file = fopen(path, "rb");
  struct stat info;
  if (!file || fstat(fileno(file), &info) != 0 || info.st_size == 0) {
    fprintf(stderr, "cannot read %s\n", path);
    exit(2);
  }
  uint8_t *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fileno(file), 0);
  fclose(file);
  if (bytes == MAP_FAILED)
    exit(2);
  mutable_model model;
  size_t size = (size_t)info.st_size;
  if (is_text(path)) { /* of a golden test, what goes in */
    const uint8_t *expected = memmem(bytes, size, "# expect:", 9);
    size = expected ? (size_t)(expected - bytes) : size;
  }
  mutable_model_init(&model, bytes, size);
  run_batch(set, path, &model, first, last, sum);
  mutable_model_free(&model);
  munmap(bytes, (size_t)info.st_size);
}

/* ---- the command line ---- */

static char *models[MAX_MODELS];
static size_t num_models;

/* A model, or of a directory every text (.ir, .tile) and every model.onnx in its folders. */
static void add_path(const char *path) {
  struct stat info;
  if (stat(path, &info) != 0)
    return;
  if (!S_ISDIR(info.st_mode)) {
    if (num_models < MAX_MODELS)
      models[num_models++] = strdup(path);
    return;
  }
  struct dirent **entries;
  int count = scandir(path, &entries, NULL, alphasort);
  for (int k = 0; k < count; k++) {
    char inner[4096];
    int length = snprintf(inner, sizeof inner, "%s/%s/model.onnx", path, entries[k]->d_name);
    if (is_text(entries[k]->d_name))
      length = snprintf(inner, sizeof inner, "%s/%s", path, entries[k]->d_name);
    if (entries[k]->d_name[0] != '.' && length > 0 && (size_t)length < sizeof inner && access(inner, R_OK) == 0 &&
        num_models < MAX_MODELS)
      models[num_models++] = strdup(inner);
    free(entries[k]);
  }
  if (count >= 0)
    free((void *)entries);
}

static int usage(void) {
  fprintf(stderr, "usage: test_mutation [--count N] [--seconds T] [--seed S] [--stride N] [--evaluate] "
                  "[--case K] [--write FILE] MODEL|DIRECTORY ..\n");
  return 2;
}

int main(int argc, char **argv) {
  settings set = {.seed = 1, .only = UINT64_MAX, .count = 200, .seconds = 1e9};
  size_t stride = 1;
  for (int k = 1; k < argc; k++) {
    const char *option = argv[k];
    if (strncmp(option, "--", 2) != 0) {
      add_path(option);
      continue;
    }
    if (strcmp(option, "--evaluate") == 0) {
      set.evaluate = true;
      continue;
    }
    if (k + 1 == argc)
      return usage();
    const char *value = argv[++k];
    if (strcmp(option, "--count") == 0)
      set.count = strtoull(value, NULL, 10);
    else if (strcmp(option, "--seconds") == 0)
      set.seconds = strtod(value, NULL);
    else if (strcmp(option, "--seed") == 0)
      set.seed = strtoull(value, NULL, 10);
    else if (strcmp(option, "--case") == 0)
      set.only = strtoull(value, NULL, 10);
    else if (strcmp(option, "--stride") == 0) /* every n-th model */
      stride = strtoull(value, NULL, 10);
    else if (strcmp(option, "--write") == 0)
      set.write = value;
    else
      return usage();
  }
  if (stride == 0)
    return usage();
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED)
    return 2;
  totals sum = {0};
  double end = seconds_now() + set.seconds;
  if (set.only != UINT64_MAX)
    for (size_t k = 0; k < num_models; k++)
      run_model(&set, models[k], set.only, set.only + 1, &sum);
  else /* a batch of each model in turn, so that all get their share however slow the machine is */
    for (uint64_t first = 0; first < set.count; first += BATCH)
      for (size_t k = 0; k < num_models && seconds_now() < end; k += stride)
        run_model(&set, models[k], first, first + BATCH < set.count ? first + BATCH : set.count, &sum);
  for (size_t k = 0; k < num_models; k++)
    free(models[k]);
  printf("%zu models; %" PRIu64 " mutants were lowered, %" PRIu64 " of them run\n", (num_models + stride - 1) / stride,
         sum.imported, sum.ran);
  printf("%" PRIu64 " passed, %" PRIu64 " failed, %" PRIu64 " skipped\n", sum.passed, sum.failed, sum.skipped);
  if (num_models == 0)
    return 77;
  return sum.failed > 0;
}
