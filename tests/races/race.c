/* race.c -- runs an instrumented model under ThreadSanitizer: race pool|openmp [SIZE]. SIZE stands for all open dims.
 *
 * On 2, 3 and 8 threads the outputs must have the bits that one thread gives. ThreadSanitizer itself says where two
 * threads accessed the same element without an order between them; whether they really met does not matter. So the pool
 * here gives each thread its tasks in advance: threads that took them from a common counter would be ordered by it.
 * Prints how many stages ran on several threads.
 */
#include "onnxc/runtime.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The model: what is linked with this file. */
extern int model_open(const void **model, const char *weights_path, char *message, size_t message_size);
extern void model_close(const void *model);
extern const onnxc_model_info *model_describe(void);
extern int model_plan(const void *model, onnxc_run *run);
extern int model_run(const void *model, onnxc_run *run);

enum { MAX_TENSORS = 16, MAX_THREADS = 8, ALIGN = 64 };

/* ---- the pool ---- */

typedef struct worker {
  void (*body)(void *arg, int64_t task, int thread);
  void *arg;
  int64_t tasks;
  int thread, threads;
} worker;

static void *work(void *arg) {
  const worker *w = arg;
  for (int64_t task = w->thread; task < w->tasks; task += w->threads)
    w->body(w->arg, task, w->thread);
  return NULL;
}

static int stages_in_parallel;

static void parallel_for(void *pool, int64_t tasks, void (*body)(void *arg, int64_t task, int thread), void *arg) {
  pthread_t ids[MAX_THREADS];
  worker workers[MAX_THREADS];
  int threads = *(const int *)pool;
  stages_in_parallel++;
  for (int k = 0; k < threads; k++) {
    workers[k] = (worker){body, arg, tasks, k, threads};
    if (pthread_create(&ids[k], NULL, work, &workers[k]) != 0)
      abort();
  }
  for (int k = 0; k < threads; k++)
    pthread_join(ids[k], NULL);
}

/* ---- runs ---- */

static size_t count_of(const onnxc_tensor *tensor) {
  size_t count = 1;
  for (int32_t d = 0; d < tensor->rank; d++)
    count *= (size_t)tensor->dims[d];
  return count;
}

static void *memory(size_t size) {
  void *result = aligned_alloc(ALIGN, (size + ALIGN) / ALIGN * ALIGN);
  if (!result)
    abort();
  memset(result, 0xff, size);
  return result;
}

static size_t element_size(int32_t dtype) {
  return dtype == 7 || dtype == 11 ? 8 : dtype == 1 || dtype == 6 ? 4 : dtype == 10 || dtype == 16 ? 2 : 1;
}

/* Small numbers of any type; those of floats have all their bits. */
static void fill(onnxc_tensor *tensor) {
  uint32_t state = 7;
  unsigned char *at = tensor->data;
  size_t size = element_size(tensor->dtype);
  for (size_t k = 0; k < count_of(tensor); k++, at += size) {
    state = state * 1664525U + 1013904223U;
    float number = (float)(state >> 8) / (float)(1 << 23) - 1;
    uint64_t bits = state >> 30;
    if (tensor->dtype == 1)
      memcpy(&bits, &number, sizeof number);
    if (tensor->dtype == 16) { /* bf16 is f32's upper half */
      memcpy(&bits, &number, sizeof number);
      bits >>= 16;
    }
    memcpy(at, &bits, size);
  }
}

static void run_once(const void *model, onnxc_tensor *inputs, onnxc_tensor *outputs, int threads,
                     onnxc_parallel_for pool) {
  onnxc_run run = {
      .inputs = inputs, .outputs = outputs, .num_threads = threads, .parallel_for = pool, .pool = &threads};
  if (model_plan(model, &run) == ONNXC_OK) {
    for (int32_t k = 0; k < model_describe()->num_outputs; k++)
      outputs[k].data = memory(count_of(&outputs[k]) * element_size(outputs[k].dtype));
    run.workspace = memory(run.workspace_size);
    if (model_run(model, &run) == ONNXC_OK) {
      free(run.workspace);
      return;
    }
  }
  fprintf(stderr, "%d threads: %s\n", threads, run.message);
  exit(2);
}

int main(int argc, char **argv) {
  static const int numbers[] = {2, 3, MAX_THREADS};
  static onnxc_tensor inputs[MAX_TENSORS], alone[MAX_TENSORS], outputs[MAX_TENSORS];
  const onnxc_model_info *info = model_describe();
  const void *model;
  char message[256];
  if (argc < 2 || info->num_inputs > MAX_TENSORS || info->num_outputs > MAX_TENSORS ||
      model_open(&model, NULL, message, sizeof message) != ONNXC_OK) {
    fprintf(stderr, "usage: %s pool|openmp [SIZE], with a model that this CPU can run\n", argv[0]);
    return 2;
  }
  for (int32_t k = 0; k < info->num_inputs; k++) {
    inputs[k] = (onnxc_tensor){.dtype = info->inputs[k].dtype, .rank = info->inputs[k].rank};
    for (int32_t d = 0; d < inputs[k].rank; d++)
      inputs[k].dims[d] = info->inputs[k].dims[d] >= 0 ? info->inputs[k].dims[d] : argc > 2 ? atoll(argv[2]) : 1;
    inputs[k].data = memory(count_of(&inputs[k]) * element_size(inputs[k].dtype));
    fill(&inputs[k]);
  }
  run_once(model, inputs, alone, 1, NULL);
  for (size_t n = 0; n < sizeof numbers / sizeof *numbers; n++) {
    stages_in_parallel = 0;
    run_once(model, inputs, outputs, numbers[n], strcmp(argv[1], "pool") == 0 ? parallel_for : NULL);
    for (int32_t k = 0; k < info->num_outputs; k++) {
      if (memcmp(alone[k].data, outputs[k].data, count_of(&alone[k]) * element_size(alone[k].dtype)) != 0) {
        fprintf(stderr, "%d threads: other bits in output '%s'\n", numbers[n], info->outputs[k].name);
        return 1;
      }
      free(outputs[k].data);
    }
  }
  for (int32_t k = 0; k < info->num_inputs; k++)
    free(inputs[k].data);
  for (int32_t k = 0; k < info->num_outputs; k++)
    free(alone[k].data);
  model_close(model);
  printf("%d of %d stages in parallel\n", stages_in_parallel, info->num_stages);
  return 0;
}
