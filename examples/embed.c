/* embed.c -- loads an ONNX model, compiles it in memory, runs it on zeros, prints its first output.
 *
 *     cc embed.c $(pkg-config --cflags --libs onnxc) -o embed && ./embed model.onnx
 */
#include <onnxc/onnxc.h>

#include <stdio.h>
#include <stdlib.h>

static size_t bytes_of(const onnxc_tensor *tensor) { /* enough for every type */
  size_t size = 16;
  for (int d = 0; d < tensor->rank; d++)
    size *= (size_t)tensor->dims[d];
  return size;
}

int main(int argc, char **argv) {
  onnxc_context *context = onnxc_context_new();
  onnxc_model *model = NULL;
  onnxc_program *program = NULL;
  if (argc < 2 || onnxc_load(context, argv[1], &model) || onnxc_compile(model, NULL, &program)) {
    fprintf(stderr, "%s\n", argc < 2 ? "usage: embed MODEL.onnx" : onnxc_message(context));
    return 1;
  }
  const onnxc_model_info *info = onnxc_program_describe(program);
  onnxc_tensor *inputs = calloc((size_t)info->num_inputs + 1, sizeof *inputs);
  onnxc_tensor *outputs = calloc((size_t)info->num_outputs + 1, sizeof *outputs);
  for (int k = 0; k < info->num_inputs; k++) {
    inputs[k].dtype = info->inputs[k].dtype;
    inputs[k].rank = info->inputs[k].rank;
    for (int d = 0; d < inputs[k].rank; d++)
      inputs[k].dims[d] = info->inputs[k].dims[d] < 0 ? 1 : info->inputs[k].dims[d];
    inputs[k].data = calloc(1, bytes_of(&inputs[k]));
  }
  onnxc_run run = {.inputs = inputs, .outputs = outputs};
  onnxc_status status = onnxc_plan(program, &run);
  for (int k = 0; k < info->num_outputs && status == ONNXC_OK; k++)
    outputs[k].data = malloc(bytes_of(&outputs[k]));
  run.workspace = aligned_alloc(64, (run.workspace_size + 64) / 64 * 64);
  if (status != ONNXC_OK || onnxc_run_program(program, &run) != ONNXC_OK) {
    fprintf(stderr, "%s\n", run.message);
    return 1;
  }
  printf("%s: %d stages, first output '%s'\n", info->name, info->num_stages, info->outputs[0].name);
  for (int k = 0; k < 4 && info->outputs[0].dtype == 1; k++)
    printf("%g ", ((const float *)outputs[0].data)[k]);
  printf("\n");
  onnxc_program_free(program);
  onnxc_context_free(context);
  return 0;
}
