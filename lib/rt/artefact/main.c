/* main.c -- the command that an emitted executable is: reads inputs, runs, prints, writes outputs.
 *
 *     ./model [--input NAME=FILE.npy|random[:SEED]]... [--dim NAME=N]... [--output-dir DIR] [--repeat N] [--threads N]
 *             [--weights FILE]
 *
 * Compiled to bitcode with the run-time; needs libc alone. Inputs that are not given are random with seed 0.
 * Exit statuses are those of onnxc/status.h.
 */
#include "rt/artefact/entry.h"
#include "rt/artefact/npy.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_INPUTS = 256, MAX_DIMS = 64, ALIGN = 64, DEFAULT_DIM = 1 };

typedef struct options {
  const char *inputs[MAX_INPUTS]; /* NAME=SOURCE */
  const char *dims[MAX_DIMS];     /* NAME=N */
  int num_inputs, num_dims, repeat, threads;
  const char *output_directory, *weights;
} options;

static const char usage[] = "usage: %s [--input NAME=FILE.npy|random[:SEED]]... [--dim NAME=N]... [--output-dir DIR]\n"
                            "       [--repeat N] [--threads N] [--weights FILE]\n";

static int complain(int status, const char *what, const char *name) {
  fprintf(stderr, "%s%s%s\n", what, name ? ": " : "", name ? name : "");
  return status;
}

/* The value of option argv[*k], "--name VALUE" or "--name=VALUE"; NULL if it is another option. */
static const char *option_value(const char *name, int argc, char **argv, int *k) {
  const char *argument = argv[*k];
  size_t length = strlen(name);
  if (!argument || strncmp(argument, name, length) != 0)
    return NULL;
  if (argument[length] == '=')
    return argument + length + 1;
  return argument[length] == '\0' && *k + 1 < argc ? argv[++*k] : NULL;
}

static int number(const char *text, int most, int *result) {
  char *end = NULL;
  errno = 0;
  long value = strtol(text, &end, 10);
  if (errno || end == text || *end || value < 1 || value > most)
    return complain(ONNXC_USAGE, "not a number in range", text);
  *result = (int)value;
  return ONNXC_OK;
}

static int parse(options *o, int argc, char **argv) {
  *o = (options){.repeat = 1, .threads = 1};
  for (int k = 1; k < argc; k++) {
    const char *value;
    int status = ONNXC_OK;
    if ((value = option_value("--input", argc, argv, &k)) && o->num_inputs < MAX_INPUTS)
      o->inputs[o->num_inputs++] = value;
    else if ((value = option_value("--dim", argc, argv, &k)) && o->num_dims < MAX_DIMS)
      o->dims[o->num_dims++] = value;
    else if ((value = option_value("--output-dir", argc, argv, &k)))
      o->output_directory = value;
    else if ((value = option_value("--weights", argc, argv, &k)))
      o->weights = value;
    else if ((value = option_value("--repeat", argc, argv, &k)))
      status = number(value, 1000000, &o->repeat);
    else if ((value = option_value("--threads", argc, argv, &k)))
      status = number(value, 1024, &o->threads);
    else {
      fprintf(stderr, usage, argv[0]);
      return ONNXC_USAGE;
    }
    if (status != ONNXC_OK)
      return status;
  }
  return ONNXC_OK;
}

/* The part of "NAME=VALUE" behind NAME= when it is about `name`. */
static const char *setting(const char *const *settings, int count, const char *name) {
  for (int k = 0; k < count; k++) {
    size_t length = strlen(name);
    if (strncmp(settings[k], name, length) == 0 && settings[k][length] == '=')
      return settings[k] + length + 1;
  }
  return NULL;
}

/* Each setting must be about an input, or about a dim of one. */
static int check_names(const options *o, const onnxc_model_info *info) {
  for (int k = 0; k < o->num_inputs + o->num_dims; k++) {
    bool dim = k >= o->num_inputs, known = false;
    const char *given = dim ? o->dims[k - o->num_inputs] : o->inputs[k];
    for (int32_t i = 0; i < info->num_inputs; i++) {
      known = known || (!dim && setting(&given, 1, info->inputs[i].name));
      for (int32_t d = 0; dim && d < info->inputs[i].rank; d++)
        known = known || (info->inputs[i].dim_names[d] && setting(&given, 1, info->inputs[i].dim_names[d]));
    }
    if (!known)
      return complain(ONNXC_USAGE, dim ? "no open dim has this name" : "no input has this name", given);
  }
  return ONNXC_OK;
}

static void *aligned_memory(size_t size) {
  size_t rounded = (size + ALIGN - 1) / ALIGN * ALIGN;
  return size > SIZE_MAX - ALIGN ? NULL : aligned_alloc(ALIGN, rounded ? rounded : ALIGN);
}

static void *allocate(void *arg, size_t size, int tag) {
  (void)arg;
  (void)tag;
  return aligned_memory(size);
}

/* ---- inputs ---- */

static uint64_t next_random(uint64_t *state) { /* splitmix64 */
  uint64_t z = *state += 0x9e3779b97f4a7c15U;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
  z = (z ^ z >> 27) * 0x94d049bb133111ebU;
  return z ^ z >> 31;
}

/* Floats in [-1, 1), bools 0 or 1, integers 0..9. */
static void fill_random(onnxc_tensor *tensor, size_t count, size_t size, uint64_t seed) {
  uint64_t state = seed;
  for (size_t k = 0; k < count; k++) {
    uint64_t bits = next_random(&state);
    double unit = (double)(bits >> 11) * 0x1p-52 - 1;
    unsigned char *at = (unsigned char *)tensor->data + k * size;
    float f = (float)unit;
    uint64_t whole = tensor->dtype == 9 ? bits & 1 : bits % 10;
    if (tensor->dtype == 1)
      memcpy(at, &f, sizeof f);
    else if (tensor->dtype == 11)
      memcpy(at, &unit, sizeof unit);
    else
      memcpy(at, &whole, size);
  }
}

static int make_random(const options *o, onnxc_tensor *tensor, const onnxc_tensor_info *info, const char *source) {
  size_t size = npy_element_size(info->dtype), count = 1;
  tensor->dtype = info->dtype;
  tensor->rank = info->rank;
  for (int32_t d = 0; d < info->rank; d++) {
    const char *given = info->dim_names[d] ? setting(o->dims, o->num_dims, info->dim_names[d]) : NULL;
    int value = DEFAULT_DIM;
    if (given && number(given, INT_MAX, &value) != ONNXC_OK)
      return ONNXC_USAGE;
    tensor->dims[d] = info->dims[d] >= 0 ? info->dims[d] : value;
    if (tensor->dims[d] > 0 && count > SIZE_MAX / 16 / (size_t)tensor->dims[d])
      return complain(ONNXC_BAD_INPUT, "input is too large", info->name);
    count *= (size_t)tensor->dims[d];
  }
  tensor->data = aligned_memory(count * size);
  if (!tensor->data)
    return complain(ONNXC_OUT_OF_MEMORY, "no memory for input", info->name);
  fill_random(tensor, count, size, source[6] == ':' ? strtoull(source + 7, NULL, 10) : 0);
  return ONNXC_OK;
}

static int make_input(const options *o, onnxc_tensor *tensor, const onnxc_tensor_info *info) {
  const char *source = setting(o->inputs, o->num_inputs, info->name);
  if (!source || strcmp(source, "random") == 0 || strncmp(source, "random:", 7) == 0)
    return make_random(o, tensor, info, source ? source : "random");
  const char *error = npy_read(source, tensor, allocate);
  return error ? complain(ONNXC_BAD_INPUT, source, error) : ONNXC_OK;
}

/* ---- outputs ---- */

static size_t count_of(const onnxc_tensor *tensor) {
  size_t count = 1;
  for (int32_t d = 0; d < tensor->rank; d++)
    count *= (size_t)tensor->dims[d];
  return count;
}

static double element(const onnxc_tensor *tensor, size_t k) {
  const unsigned char *at = (const unsigned char *)tensor->data + k * npy_element_size(tensor->dtype);
  float f;
  double d;
  int64_t i64 = 0;
  int32_t i32 = 0;
  switch (tensor->dtype) {
  case 1: return memcpy(&f, at, sizeof f), (double)f;
  case 11: return memcpy(&d, at, sizeof d), d;
  case 7: return memcpy(&i64, at, sizeof i64), (double)i64;
  case 6: return memcpy(&i32, at, sizeof i32), (double)i32;
  case 3: return (double)(signed char)*at;
  default: return (double)*at;
  }
}

static void print_output(const onnxc_tensor *tensor, const onnxc_tensor_info *info) {
  enum { SHOWN = 6 };
  size_t count = count_of(tensor);
  printf("%s [", info->name);
  for (int32_t d = 0; d < tensor->rank; d++)
    printf("%s%lld", d ? ", " : "", (long long)tensor->dims[d]);
  printf("]");
  double sum = 0, low = INFINITY, high = -INFINITY;
  for (size_t k = 0; k < count; k++) {
    double value = element(tensor, k);
    sum += value;
    low = value < low ? value : low;
    high = value > high ? value : high;
  }
  for (size_t k = 0; k < count && k < SHOWN; k++)
    printf(" %g", element(tensor, k));
  if (count > 0)
    printf("%s  min %g max %g mean %g", count > SHOWN ? " ..." : "", low, high, sum / (double)count);
  printf("\n");
}

static int write_outputs(const options *o, const onnxc_model_info *info, const onnxc_tensor *outputs) {
  for (int32_t k = 0; k < info->num_outputs; k++) {
    print_output(&outputs[k], &info->outputs[k]);
    if (!o->output_directory)
      continue;
    char path[4096];
    int length = snprintf(path, sizeof path, "%s/", o->output_directory);
    for (const char *c = info->outputs[k].name; *c && length > 0 && (size_t)length + 5 < sizeof path; c++)
      path[length++] = *c == '/' ? '_' : *c;
    snprintf(path + length, sizeof path - (size_t)length, ".npy");
    const char *error = npy_write(path, &outputs[k]);
    if (error)
      return complain(ONNXC_BAD_INPUT, path, error);
  }
  return ONNXC_OK;
}

/* ---- running ---- */

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int by_value(const void *a, const void *b) {
  double x, y;
  memcpy(&x, a, sizeof x);
  memcpy(&y, b, sizeof y);
  return (x > y) - (x < y);
}

static int give_memory(onnxc_run *run, const onnxc_model_info *info) {
  run->workspace = aligned_memory(run->workspace_size);
  if (!run->workspace)
    return complain(ONNXC_OUT_OF_MEMORY, "no memory for the workspace", NULL);
  for (int32_t k = 0; k < info->num_outputs; k++) {
    if (info->outputs[k].flags & ONNXC_TENSOR_DYNAMIC)
      continue;
    run->outputs[k].data = aligned_memory(count_of(&run->outputs[k]) * npy_element_size(info->outputs[k].dtype));
    if (!run->outputs[k].data)
      return complain(ONNXC_OUT_OF_MEMORY, "no memory for output", info->outputs[k].name);
  }
  return ONNXC_OK;
}

static void print_speed(const onnxc_run *run, double *times, int repeat) {
  int64_t slot = onnxc_entry_program.flops_dim;
  int64_t flops = slot >= 0 ? ((const int64_t *)run->workspace)[slot] : 0;
  qsort(times, (size_t)repeat, sizeof *times, by_value);
  double median = times[repeat / 2];
  printf("%d run%s, median %.3f ms", repeat, repeat == 1 ? "" : "s", 1e3 * median);
  if (flops > 0 && median > 0)
    printf(", %.1f GFLOP/s", (double)flops / median * 1e-9);
  printf("\n");
}

static int run_model(const void *model, const options *o, onnxc_run *run, const onnxc_model_info *info) {
  int status = onnxc_entry_plan(model, run);
  if (status != ONNXC_OK)
    return complain(status, "planning failed", run->message);
  status = give_memory(run, info);
  double *times = calloc((size_t)o->repeat, sizeof *times);
  if (!times)
    status = complain(ONNXC_OUT_OF_MEMORY, "no memory for the times", NULL);
  for (int k = 0; k < o->repeat && status == ONNXC_OK; k++) {
    double start = seconds();
    status = onnxc_entry_run(model, run);
    times[k] = seconds() - start;
    if (status != ONNXC_OK)
      complain(status, "the run failed", run->message);
  }
  if (status == ONNXC_OK)
    print_speed(run, times, o->repeat);
  free(times);
  return status;
}

/* Beside the executable: its path and ".weights". */
static const char *default_weights(char *path, size_t size) {
  ssize_t length = readlink("/proc/self/exe", path, size - 9);
  if (length < 0)
    return NULL;
  memcpy(path + length, ".weights", 9);
  return path;
}

int main(int argc, char **argv) {
  static onnxc_tensor inputs[MAX_INPUTS], outputs[MAX_INPUTS];
  static onnxc_run run;
  options o;
  int status = parse(&o, argc, argv);
  const onnxc_model_info *info = onnxc_entry_describe();
  if (o.threads > 1 && !getenv("KMP_AFFINITY")) { /* each thread on a core, unless the user knows better */
    setenv("OMP_PROC_BIND", "close", 0);
    setenv("OMP_PLACES", "cores", 0);
  }
  if (status == ONNXC_OK && (info->num_inputs > MAX_INPUTS || info->num_outputs > MAX_INPUTS))
    status = complain(ONNXC_UNSUPPORTED, "too many inputs or outputs for this command", NULL);
  if (status == ONNXC_OK)
    status = check_names(&o, info);
  char message[256], path[4096];
  const void *model = NULL;
  if (status == ONNXC_OK) {
    status =
        onnxc_entry_open(&model, o.weights ? o.weights : default_weights(path, sizeof path), message, sizeof message);
    if (status != ONNXC_OK)
      complain(status, message, NULL);
  }
  for (int32_t k = 0; k < info->num_inputs && status == ONNXC_OK; k++)
    status = make_input(&o, &inputs[k], &info->inputs[k]);
  run = (onnxc_run){.inputs = inputs, .outputs = outputs, .num_threads = o.threads, .allocate = allocate};
  if (status == ONNXC_OK)
    status = run_model(model, &o, &run, info);
  if (status == ONNXC_OK)
    status = write_outputs(&o, info, outputs);
  onnxc_entry_close(model);
  return status;
}
