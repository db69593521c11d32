/* check.c -- runs a compiled model on all its data sets with one handle, and compares.
 *
 * Every run gets memory that is filled with a pattern and followed by guard bytes: what a model does not write, or
 * writes behind the end, shows. The sets are compared with what is expected, on one thread; every other way
 * to run (threads, two runs at once) must then give the same bits as that. */
#include "check.h"

#include "frontend.h"
#include "ir/eval.h"

#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_SETS = 16, ALIGN = 64, GUARD = 64, PATTERN = 0xff /* a NaN */, AT_ONCE = 2, ROUNDS = 2 };

typedef struct checker {
  const model_functions *functions;
  const onnxc_model_info *info;
  const void *model;
  onnxc_guard guard;
  onnxc_arena arena;
  onnxc_diag diag;
  const char *folder, *ramp, *weights, *npy;
  const onnxc_tensor *inputs; /* of the set that is running */
  double max_ulp;
  int sets;
} checker;

typedef enum threading { ALONE, POOL, OPENMP } threading;

/* One run's memory. */
typedef struct running {
  const checker *checker;
  onnxc_run run;
  onnxc_tensor *outputs;
  void *workspace;
} running;

static bool complain(const char *what, const char *detail) {
  fprintf(stderr, "%s: %s\n", what, detail);
  return false;
}

/* ---- memory ---- */

static size_t bytes_of(const onnxc_tensor *tensor) {
  size_t size = onnxc_dtype_bytes((onnxc_dtype)tensor->dtype);
  for (int32_t d = 0; d < tensor->rank; d++)
    size *= (size_t)tensor->dims[d];
  return size;
}

static void *guarded(size_t size) {
  unsigned char *memory = aligned_alloc(ALIGN, (size + GUARD + ALIGN - 1) / ALIGN * ALIGN);
  if (!memory)
    abort();
  memset(memory, PATTERN, size + GUARD);
  return memory;
}

static bool guard_holds(const void *memory, size_t size) {
  for (size_t k = 0; k < GUARD; k++)
    if (((const unsigned char *)memory)[size + k] != PATTERN)
      return false;
  return true;
}

static void *allocate(void *arg, size_t size, int tag) {
  running *r = arg;
  void *memory = guarded(size);
  void **slot = tag > 0 ? &r->outputs[tag - 1].data : &r->workspace;
  free(*slot);
  return *slot = memory;
}

/* ---- one run ---- */

static bool run_once(const checker *c, running *r, threading how, int *threads) {
  *r = (running){.checker = c, .outputs = calloc((size_t)c->info->num_outputs + 1, sizeof *r->outputs)};
  r->run = (onnxc_run){.inputs = (onnxc_tensor *)(uintptr_t)c->inputs,
                       .outputs = r->outputs,
                       .num_threads = *threads,
                       .parallel_for = how == POOL ? pool_parallel_for : NULL,
                       .pool = threads,
                       .allocate = allocate,
                       .allocate_arg = r};
  if (c->functions->plan(c->model, &r->run) != ONNXC_OK)
    return complain("planning failed", r->run.message);
  size_t workspace_size = r->run.workspace_size;
  r->run.workspace = r->workspace = guarded(workspace_size);
  for (int32_t k = 0; k < c->info->num_outputs; k++)
    if (!(c->info->outputs[k].flags & ONNXC_TENSOR_DYNAMIC))
      r->outputs[k].data = guarded(bytes_of(&r->outputs[k]));
  if (c->functions->run(c->model, &r->run) != ONNXC_OK)
    return complain("the run failed", r->run.message);
  if (r->workspace == r->run.workspace && !guard_holds(r->workspace, workspace_size))
    return complain("the run wrote", "behind its workspace");
  for (int32_t k = 0; k < c->info->num_outputs; k++)
    if (!guard_holds(r->outputs[k].data, bytes_of(&r->outputs[k])))
      return complain("the run wrote behind output", c->info->outputs[k].name);
  return true;
}

static void release(const checker *c, running *r) {
  for (int32_t k = 0; r->outputs && k < c->info->num_outputs; k++)
    free(r->outputs[k].data);
  free(r->outputs);
  free(r->workspace);
}

static bool same_bits(const checker *c, const running *a, const running *b) {
  for (int32_t k = 0; k < c->info->num_outputs; k++) {
    const onnxc_tensor *x = &a->outputs[k], *y = &b->outputs[k];
    if (x->rank != y->rank || memcmp(x->dims, y->dims, sizeof x->dims[0] * (size_t)x->rank) != 0 ||
        memcmp(x->data, y->data, bytes_of(x)) != 0)
      return complain("other bits in output", c->info->outputs[k].name);
  }
  return true;
}

/* ---- data ---- */

static bool exists(const char *path) {
  struct stat info;
  return stat(path, &info) == 0;
}

static bool read_pb(checker *c, const char *path, onnxc_tensor *tensor, const char **name) {
  onnxc_array array;
  if (onnxc_onnx_read_tensor(&c->arena, &c->diag, path, &array, name) != ONNXC_OK)
    return complain(path, c->diag.text);
  *tensor = (onnxc_tensor){.data = array.data, .dtype = (int32_t)array.dtype, .rank = (int32_t)array.rank};
  memcpy(tensor->dims, array.dims, sizeof tensor->dims);
  return true;
}

/* By name where the files say one, else by number. */
static bool read_inputs(checker *c, const char *set, onnxc_tensor *inputs) {
  for (int32_t number = 0; number < c->info->num_inputs; number++) {
    const char *name = NULL;
    onnxc_tensor tensor;
    if (!read_pb(c, onnxc_arena_printf(&c->arena, "%s/input_%d.pb", set, number), &tensor, &name))
      return false;
    int32_t place = number;
    for (int32_t k = 0; k < c->info->num_inputs; k++)
      if (name && strcmp(name, c->info->inputs[k].name) == 0)
        place = k;
    inputs[place] = tensor;
  }
  return true;
}

static bool make_ramp(checker *c, onnxc_tensor *inputs) {
  for (int32_t k = 0; k < c->info->num_inputs; k++) {
    const onnxc_tensor_info *info = &c->info->inputs[k];
    if (info->dtype != ONNXC_F32)
      return complain(info->name, "a ramp is made of f32 only");
    inputs[k] = (onnxc_tensor){.dtype = info->dtype, .rank = info->rank};
    for (int32_t d = 0; d < info->rank; d++)
      inputs[k].dims[d] = info->dims[d] < 0 ? 1 : info->dims[d];
    size_t count = bytes_of(&inputs[k]) / sizeof(float);
    float *data = ONNXC_NEW_ARRAY(&c->arena, float, count + 1);
    for (size_t i = 0; i < count; i++)
      data[i] = (float)((double)i / (double)count);
    inputs[k].data = data;
  }
  return true;
}

static bool write_npy(const char *path, const onnxc_tensor *tensor) {
  enum { PREAMBLE = 10, TOTAL = 128 };
  char header[TOTAL + 1] = "\x93NUMPY\x01";
  if (tensor->dtype != ONNXC_F32)
    return complain(path, "only f32 is written");
  header[8] = TOTAL - PREAMBLE;
  int used = PREAMBLE;
  used += snprintf(header + used, TOTAL - PREAMBLE, "{'descr': '<f4', 'fortran_order': False, 'shape': (");
  for (int32_t d = 0; d < tensor->rank && used < TOTAL; d++)
    used += snprintf(header + used, (size_t)(TOTAL - used), "%lld,", (long long)tensor->dims[d]);
  if (used + 4 > TOTAL)
    return complain(path, "its header is too long");
  memset(header + used, ' ', (size_t)(TOTAL - used));
  memcpy(header + used, "), }", 4);
  header[TOTAL - 1] = '\n';
  FILE *file = fopen(path, "wb");
  bool good = file && fwrite(header, 1, TOTAL, file) == TOTAL &&
              fwrite(tensor->data, 1, bytes_of(tensor), file) == bytes_of(tensor);
  if (file && fclose(file) != 0)
    good = false;
  return good || complain(path, "cannot be written");
}

/* ---- comparing ---- */

/* As `onnxc verify`: the absolute tolerance grows with the tensor and with the number of stages. */
static bool compare(checker *c, int32_t k, const onnxc_tensor *have, const onnxc_tensor *want) {
  if (have->dtype != want->dtype || have->rank != want->rank ||
      memcmp(have->dims, want->dims, sizeof have->dims[0] * (size_t)have->rank) != 0)
    return complain(c->info->outputs[k].name, "another type or shape than expected");
  if (want->dtype != ONNXC_F32)
    return memcmp(have->data, want->data, bytes_of(want)) == 0 || complain(c->info->outputs[k].name, "other elements");
  const float *h = have->data, *w = want->data;
  size_t count = bytes_of(want) / sizeof *w;
  double largest = 1;
  for (size_t i = 0; i < count; i++)
    largest = fmax(largest, isfinite(w[i]) ? fabs((double)w[i]) : 0);
  double atol = 1e-5 * sqrt(c->info->num_stages) * largest;
  for (size_t i = 0; i < count; i++) {
    if (h[i] == w[i] || (isnan(h[i]) && isnan(w[i])))
      continue;
    double error = fabs((double)h[i] - (double)w[i]);
    if (!(error <= 1e-3 * fabs((double)w[i]) + atol)) {
      fprintf(stderr, "output '%s': element %zu is %.9g, expected %.9g\n", c->info->outputs[k].name, i, (double)h[i],
              (double)w[i]);
      return false;
    }
    c->max_ulp = fmax(c->max_ulp, error / (fabs((double)w[i]) > 1e-30 ? fabs((double)w[i]) * 0x1p-23 : 1e-30));
  }
  return true;
}

static bool compare_all(checker *c, const running *r, const char *set) {
  int compared = 0;
  for (int32_t k = 0; k < c->info->num_outputs; k++) {
    onnxc_tensor want;
    const char *path = c->ramp ? c->ramp : onnxc_arena_printf(&c->arena, "%s/output_%d.pb", set, k);
    if ((c->ramp && k > 0) || !exists(path))
      continue;
    if (!read_pb(c, path, &want, NULL) || !compare(c, k, &r->outputs[k], &want))
      return false;
    compared++;
  }
  return compared > 0 || complain(set, "there is no expected output");
}

/* ---- the ways to run ---- */

static bool check_threads(const checker *c, const running *alone) {
  static const int numbers[] = {1, 2, 3, 8};
  for (size_t k = 0; k < sizeof numbers / sizeof numbers[0]; k++)
    for (threading how = POOL; how <= OPENMP; how++) {
      running r;
      int threads = numbers[k];
      bool good = run_once(c, &r, how, &threads) && same_bits(c, alone, &r);
      release(c, &r);
      if (!good) {
        fprintf(stderr, "... with %d threads of %s\n", threads, how == POOL ? "parallel_for" : "OpenMP");
        return false;
      }
    }
  return true;
}

typedef struct at_once {
  const checker *checker;
  const running *alone;
  bool good;
} at_once;

static void *run_rounds(void *arg) {
  at_once *a = arg;
  a->good = true;
  for (int round = 0; round < ROUNDS && a->good; round++) {
    running r;
    int threads = 1;
    a->good = run_once(a->checker, &r, ALONE, &threads) && same_bits(a->checker, a->alone, &r);
    release(a->checker, &r);
  }
  return NULL;
}

static bool check_at_once(const checker *c, const running *alone) {
  pthread_t threads[AT_ONCE];
  at_once arguments[AT_ONCE];
  bool good = true;
  for (int k = 0; k < AT_ONCE; k++) {
    arguments[k] = (at_once){.checker = c, .alone = alone};
    if (pthread_create(&threads[k], NULL, run_rounds, &arguments[k]) != 0)
      abort();
  }
  for (int k = 0; k < AT_ONCE; k++) {
    pthread_join(threads[k], NULL);
    good &= arguments[k].good;
  }
  return good || complain("two runs at once", "are not like one");
}

/* ---- what must be refused ---- */

static bool refuses(checker *c, onnxc_tensor *inputs, int status, const char *what) {
  onnxc_tensor *outputs = ONNXC_NEW_ARRAY(&c->arena, onnxc_tensor, c->info->num_outputs + 1);
  onnxc_run run = {.inputs = inputs, .outputs = outputs};
  int have = c->functions->plan(c->model, &run);
  if (have != status || !strstr(run.message, c->info->inputs[0].name)) {
    fprintf(stderr, "%s: status %d, expected %d; message '%s' should name input '%s'\n", what, have, status,
            run.message, c->info->inputs[0].name);
    return false;
  }
  return true;
}

static bool check_refusals(checker *c) {
  size_t count = (size_t)c->info->num_inputs;
  onnxc_tensor *wrong = ONNXC_NEW_ARRAY(&c->arena, onnxc_tensor, count + 1);
  memcpy(wrong, c->inputs, count * sizeof *wrong);
  wrong[0].dtype = ONNXC_STRING;
  if (!refuses(c, wrong, ONNXC_BAD_INPUT, "an input of another type"))
    return false;
  wrong[0] = c->inputs[0];
  wrong[0].rank++;
  if (wrong[0].rank <= ONNXC_MAX_RANK && !refuses(c, wrong, ONNXC_BAD_INPUT, "an input of another rank"))
    return false;
  for (int32_t d = 0; d < c->inputs[0].rank; d++) {
    wrong[0] = c->inputs[0];
    wrong[0].dims[d]++;
    if (c->info->inputs[0].dims[d] >= 0 && !refuses(c, wrong, ONNXC_BAD_INPUT, "an input of another shape"))
      return false;
    wrong[0].dims[d] = -1;
    if (!refuses(c, wrong, ONNXC_BAD_INPUT, "an input of a negative size"))
      return false;
  }
  onnxc_run run = {0};
  return c->functions->plan(NULL, &run) == ONNXC_USAGE || complain("planning without a model", "is not refused");
}

/* ---- the whole ---- */

static bool check_set(checker *c, const char *set) {
  onnxc_tensor *inputs = ONNXC_NEW_ARRAY(&c->arena, onnxc_tensor, c->info->num_inputs + 1);
  running alone = {0};
  int threads = 1;
  if (!(c->ramp ? make_ramp(c, inputs) : read_inputs(c, set, inputs)))
    return false;
  c->inputs = inputs;
  for (int32_t k = 0; c->npy && c->sets == 0 && k < c->info->num_inputs; k++)
    if (!write_npy(onnxc_arena_printf(&c->arena, "%s/input_%d.npy", c->npy, k), &inputs[k]))
      return false;
  bool good = run_once(c, &alone, ALONE, &threads) && compare_all(c, &alone, set) && check_threads(c, &alone) &&
              check_at_once(c, &alone) && (c->sets > 0 || check_refusals(c));
  release(c, &alone);
  c->sets++;
  return good;
}

static bool check_all(checker *c) {
  char message[256] = "";
  if (c->functions->open(&c->model, c->weights, message, sizeof message) != ONNXC_OK)
    return complain("opening failed", message);
  c->info = c->functions->describe();
  bool good = c->info->abi_version == ONNXC_ABI_VERSION || complain("another version", "of the ABI");
  if (c->ramp)
    good = good && check_set(c, "");
  for (int n = 0; good && !c->ramp && n < MAX_SETS; n++) {
    const char *set = onnxc_arena_printf(&c->arena, "%s/test_data_set_%d", c->folder, n);
    if (exists(set))
      good = check_set(c, set);
  }
  good = good && (c->sets > 0 || complain(c->folder, "there is no test_data_set_0"));
  if (good)
    printf("%s: %d data set%s, %d stages, largest error %.3g ulp, the same bits on 1, 2, 3, 8 threads\n", c->info->name,
           c->sets, c->sets == 1 ? "" : "s", c->info->num_stages, c->max_ulp);
  c->functions->close(c->model);
  return good;
}

int check_model(const model_functions *functions, int argc, char **argv) {
  static checker c;
  c.functions = functions;
  for (int k = 0; k < argc; k++) {
    const char **value = strcmp(argv[k], "--weights") == 0     ? &c.weights
                         : strcmp(argv[k], "--write-npy") == 0 ? &c.npy
                         : strcmp(argv[k], "--ramp") == 0      ? &c.ramp
                                                               : NULL;
    if (value && k + 1 < argc)
      *value = argv[++k];
    else
      c.folder = argv[k];
  }
  if (!c.folder == !c.ramp) {
    fprintf(stderr, "it wants FOLDER or --ramp OUTPUT.pb\n");
    return ONNXC_USAGE;
  }
  onnxc_arena_init(&c.arena, &c.guard);
  if (setjmp(c.guard.env)) {
    fprintf(stderr, "out of memory\n");
    return ONNXC_OUT_OF_MEMORY;
  }
  bool good = check_all(&c);
  onnxc_arena_free(&c.arena);
  return good ? ONNXC_OK : ONNXC_MISMATCH;
}
