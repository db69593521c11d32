/* evaluate.c -- the reference: a model's outputs by the evaluator alone. */
#include "api/api.h"

#include "ir/eval.h"

#include <string.h>

typedef struct evaluate_job {
  onnxc_model *model;
  const onnxc_tensor *inputs;
  size_t num_inputs;
  onnxc_tensor *outputs;
  onnxc_allocate allocate;
  void *allocate_arg;
  onnxc_arena arena;
  onnxc_graph graph;
  onnxc_eval eval;
} evaluate_job;

static onnxc_status take_inputs(evaluate_job *job, onnxc_array *arrays) {
  onnxc_diag *diag = job->graph.diag;
  if (job->num_inputs != job->graph.inputs.length)
    return onnxc_error(diag, ONNXC_USAGE, "%zu inputs given, the model has %u", job->num_inputs,
                       job->graph.inputs.length);
  for (size_t k = 0; k < job->num_inputs; k++) {
    const onnxc_tensor *tensor = &job->inputs[k];
    if (tensor->rank < 0 || tensor->rank > ONNXC_MAX_RANK)
      return onnxc_error(diag, ONNXC_BAD_INPUT, "input %zu has rank %d", k, tensor->rank);
    arrays[k] =
        (onnxc_array){.dtype = (onnxc_dtype)tensor->dtype, .rank = (uint32_t)tensor->rank, .data = tensor->data};
    memcpy(arrays[k].dims, tensor->dims, sizeof arrays[k].dims);
  }
  return ONNXC_OK;
}

static onnxc_status give_output(evaluate_job *job, uint32_t k) {
  onnxc_value value = job->graph.outputs.data[k];
  const onnxc_array *array = &job->eval.arrays[value.i];
  onnxc_tensor *tensor = &job->outputs[k];
  const void *data = array->data ? array->data : onnxc_value_of(&job->graph, value)->data;
  int64_t count = onnxc_array_count(array);
  if (!data || count < 0)
    return onnxc_error(job->graph.diag, ONNXC_INTERNAL, "output '%s' was not computed",
                       job->graph.output_names.data[k]);
  size_t size = (size_t)count * onnxc_dtype_bytes(array->dtype);
  *tensor = (onnxc_tensor){.dtype = (int32_t)array->dtype, .rank = (int32_t)array->rank};
  memcpy(tensor->dims, array->dims, sizeof tensor->dims);
  tensor->data = job->allocate(job->allocate_arg, size ? size : 1, 1 + (int)k);
  if (!tensor->data)
    return onnxc_error(job->graph.diag, ONNXC_OUT_OF_MEMORY, "no memory for output '%s'",
                       job->graph.output_names.data[k]);
  memcpy(tensor->data, data, size);
  return ONNXC_OK;
}

static onnxc_status evaluate(void *arg) {
  evaluate_job *job = arg;
  ONNXC_TRY(onnxc_import_model(job->model, NULL, &job->arena, &job->graph));
  onnxc_array *arrays = ONNXC_NEW_ARRAY(&job->arena, onnxc_array, job->num_inputs);
  ONNXC_TRY(take_inputs(job, arrays));
  ONNXC_TRY(onnxc_eval_graph(&job->eval, &job->graph, &job->arena, arrays, (uint32_t)job->num_inputs));
  for (uint32_t k = 0; k < job->graph.outputs.length; k++)
    ONNXC_TRY(give_output(job, k));
  return ONNXC_OK;
}

onnxc_status onnxc_evaluate(onnxc_model *model, const onnxc_tensor *inputs, size_t num_inputs, onnxc_tensor *outputs,
                            onnxc_allocate allocate, void *allocate_arg) {
  evaluate_job job = {.model = model,
                      .inputs = inputs,
                      .num_inputs = num_inputs,
                      .outputs = outputs,
                      .allocate = allocate,
                      .allocate_arg = allocate_arg};
  onnxc_arena_init(&job.arena, &model->context->guard);
  onnxc_status status = onnxc_guarded(model->context, model->name, evaluate, &job);
  onnxc_arena_free(&job.arena);
  return status;
}
