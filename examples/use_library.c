/* use_library.c -- calls a model that was compiled to a library; needs neither onnxc nor its headers.
 *
 *     onnxc compile model.onnx -o model.so        (also writes model.h; .a and .o work as well)
 *     cc use_library.c -DMODEL=model -include model.h ./model.so -o use && ./use
 *
 * MODEL is the prefix of the library's functions.
 */
#include <stdio.h>
#include <stdlib.h>

#define JOIN_(a, b)    a##_##b
#define JOIN(a, b)     JOIN_(a, b)
#define CALL(function) JOIN(MODEL, function)

/* Memory for a tensor of the model, zeros; 16 bytes are enough for an element of any type. */
static void *zeros(const onnxc_tensor *tensor) {
  size_t size = 16;
  for (int d = 0; d < tensor->rank; d++)
    size *= (size_t)tensor->dims[d];
  return calloc(1, size);
}

int main(int argc, char **argv) {
  char message[256];
  const JOIN(MODEL, model) *model = NULL;
  if (CALL(open)(&model, argc > 1 ? argv[1] : NULL, message, sizeof message) != ONNXC_OK) {
    fprintf(stderr, "%s\n", message);
    return 1;
  }
  const onnxc_model_info *info = CALL(describe)();
  onnxc_tensor *inputs = calloc((size_t)info->num_inputs + 1, sizeof *inputs);
  onnxc_tensor *outputs = calloc((size_t)info->num_outputs + 1, sizeof *outputs);
  for (int k = 0; k < info->num_inputs; k++) {
    inputs[k].dtype = info->inputs[k].dtype;
    inputs[k].rank = info->inputs[k].rank;
    for (int d = 0; d < inputs[k].rank; d++) /* -1: any size will do */
      inputs[k].dims[d] = info->inputs[k].dims[d] < 0 ? 1 : info->inputs[k].dims[d];
    inputs[k].data = zeros(&inputs[k]);
  }
  onnxc_run run = {.inputs = inputs, .outputs = outputs};
  int status = CALL(plan)(model, &run);
  for (int k = 0; k < info->num_outputs && status == ONNXC_OK; k++)
    outputs[k].data = zeros(&outputs[k]);
  run.workspace = aligned_alloc(64, (run.workspace_size + 64) / 64 * 64);
  if (status == ONNXC_OK)
    status = CALL(run)(model, &run);
  if (status != ONNXC_OK)
    fprintf(stderr, "%s\n", run.message);
  for (int k = 0; k < info->num_outputs && status == ONNXC_OK; k++)
    printf("%s: first element %g\n", info->outputs[k].name,
           info->outputs[k].dtype == 1 ? *(const float *)outputs[k].data : 0.0);
  CALL(close)(model);
  return status;
}
