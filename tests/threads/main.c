/* main.c -- re-entrancy, under a race detector if one likes: contexts of their own compile at once, and one program is
 * run by all threads at once. A plain program, since Criterion does not work with ThreadSanitizer. */
#include "onnxc/onnxc.h"

#include "../api/tiny_model.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 4, ROWS = 33, ROUNDS = 50 };

static onnxc_program *shared;
static wire bytes;

/* NULL, or what went wrong. */
static const char *run_once(const onnxc_program *program, int rows) {
  float x[3 * ROWS], y[4 * ROWS], same[3 * ROWS];
  for (int k = 0; k < 3 * rows; k++)
    x[k] = (float)((k * 5 + rows) % 13) - 6;
  onnxc_tensor in = {x, 1, 2, {rows, 3}}, out[2] = {{.data = y}, {.data = same}};
  onnxc_run run = {.inputs = &in, .outputs = out};
  if (onnxc_plan(program, &run) != ONNXC_OK)
    return "planning failed";
  run.workspace = aligned_alloc(64, (run.workspace_size + 63) / 64 * 64);
  onnxc_status status = onnxc_run_program(program, &run);
  free(run.workspace);
  if (status != ONNXC_OK)
    return "a run failed";
  for (int k = 0; k < 4 * rows; k++)
    if (!(fabsf(y[k] - tiny_y(x, k / 4, k % 4)) < 1e-3F))
      return "a result is wrong";
  return NULL;
}

static void *work(void *arg) {
  (void)arg;
  const char *error = NULL;
  onnxc_context *context = onnxc_context_new();
  onnxc_model *model = NULL;
  onnxc_program *own = NULL;
  if (onnxc_load_memory(context, bytes.bytes, bytes.length, NULL, &model) != ONNXC_OK ||
      onnxc_compile(model, NULL, &own) != ONNXC_OK)
    error = "compiling failed";
  for (int k = 0; k < ROUNDS && !error; k++) {
    error = run_once(shared, 1 + k % ROWS);
    if (!error)
      error = run_once(own, 1 + k % ROWS);
  }
  onnxc_program_free(own);
  onnxc_context_free(context);
  return (void *)(uintptr_t)error;
}

int main(void) {
  bytes = tiny_model("Relu");
  onnxc_context *context = onnxc_context_new();
  onnxc_model *model = NULL;
  if (onnxc_load_memory(context, bytes.bytes, bytes.length, NULL, &model) != ONNXC_OK ||
      onnxc_compile(model, NULL, &shared) != ONNXC_OK) {
    fprintf(stderr, "%s\n", onnxc_message(context));
    return 1;
  }
  pthread_t threads[THREADS];
  int failures = 0;
  for (int k = 0; k < THREADS; k++)
    pthread_create(&threads[k], NULL, work, NULL);
  for (int k = 0; k < THREADS; k++) {
    void *error = NULL;
    pthread_join(threads[k], &error);
    if (error)
      fprintf(stderr, "thread %d: %s\n", k, (const char *)error);
    failures += error != NULL;
  }
  onnxc_program_free(shared);
  onnxc_context_free(context);
  return failures > 0;
}
