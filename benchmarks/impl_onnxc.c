/* impl_onnxc.c -- this project, through its public library: the problem's model, compiled in memory. */
#include "bench.h"

#include "onnxc/onnxc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct state {
  problem *p;
  onnxc_context *context;
  onnxc_program *program;
  onnxc_tensor inputs[2], output;
  onnxc_run run;
} state;

enum { BFLOAT16 = 16, INT32 = 6, UINT8 = 2 };

static void close_state(void *arg) {
  state *s = arg;
  onnxc_program_free(s->program);
  onnxc_context_free(s->context);
  free(s);
}

static void describe(onnxc_tensor *tensor, const onnxc_tensor_info *info, void *data) {
  tensor->data = data;
  tensor->dtype = info->dtype;
  tensor->rank = info->rank;
  for (int d = 0; d < info->rank; d++)
    tensor->dims[d] = info->dims[d];
}

static void *open_state(problem *p, char *why) {
  const onnxc_options options = {.threads = p->threads};
  state *s = calloc(1, sizeof *s);
  onnxc_model *model;
  size_t size;
  const void *bytes = model_bytes(p, &size);
  if (!s || !(s->context = onnxc_context_new())) {
    free(s);
    return NULL;
  }
  s->p = p;
  if (onnxc_load_memory(s->context, bytes, size, NULL, &model) != ONNXC_OK ||
      onnxc_compile(model, &options, &s->program) != ONNXC_OK) {
    snprintf(why, BENCH_WHY, "%s", onnxc_message(s->context));
    close_state(s);
    return NULL;
  }
  const onnxc_model_info *info = onnxc_program_describe(s->program);
  void *const data[2] = {p->a, p->b[0]};
  for (int k = 0; k < info->num_inputs && k < 2; k++)
    describe(&s->inputs[k], &info->inputs[k], data[strcmp(info->inputs[k].name, "b") == 0]);
  s->run = (onnxc_run){.inputs = s->inputs, .outputs = &s->output, .num_threads = p->threads};
  if (onnxc_plan(s->program, &s->run) != ONNXC_OK) {
    snprintf(why, BENCH_WHY, "%.*s", BENCH_WHY - 1, s->run.message);
    close_state(s);
    return NULL;
  }
  s->output.data = problem_alloc(p, (size_t)(p->what->batch * p->what->m * p->what->n) * sizeof(float));
  s->run.workspace = problem_alloc(p, s->run.workspace_size);
  return s;
}

static bool run(void *arg) {
  state *s = arg;
  return onnxc_run_program(s->program, &s->run) == ONNXC_OK;
}

static void row(void *arg, int64_t batch, int64_t index, double *values) {
  const state *s = arg;
  int64_t n = s->p->what->n, first = (batch * s->p->what->m + index) * n;
  for (int64_t j = 0; j < n; j++)
    switch (s->output.dtype) {
    case BFLOAT16: values[j] = (double)bench_from_bf16(((const uint16_t *)s->output.data)[first + j]); break;
    case INT32: values[j] = ((const int32_t *)s->output.data)[first + j]; break;
    case UINT8: values[j] = ((const uint8_t *)s->output.data)[first + j]; break;
    default: values[j] = (double)((const float *)s->output.data)[first + j];
    }
}

const implementation impl_onnxc = {
    .name = "onnxc", .version = onnxc_version, .open = open_state, .run = run, .row = row, .close = close_state};
