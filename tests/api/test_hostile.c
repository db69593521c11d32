/* test_hostile.c -- models that mutation found to be mishandled, each told apart from what is right. */
#include "onnxc/onnxc.h"

#include "tiny_model.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { F32 = 1, I64 = 7 };

static void put_typed(wire *graph, unsigned field, const char *name, uint64_t dtype, int rank, const int64_t *dims) {
  wire shape = {0}, tensor = {0}, type = {0}, value = {0};
  for (int k = 0; k < rank; k++) {
    wire dim = {0};
    if (dims[k] >= 0)
      put_number(&dim, 1, (uint64_t)dims[k]);
    put_message(&shape, 1, &dim);
  }
  put_number(&tensor, 1, dtype);
  put_message(&tensor, 2, &shape);
  put_message(&type, 1, &tensor);
  put_text(&value, 1, name);
  put_message(&value, 2, &type);
  put_message(graph, field, &value);
}

static wire finish(const wire *graph) {
  wire opset = {0}, model = {0};
  put_number(&opset, 2, 13);
  put_number(&model, 1, 8);
  put_message(&model, 8, &opset);
  put_message(&model, 7, graph);
  return model;
}

static onnxc_status compile(onnxc_context *context, const wire *bytes, onnxc_program **program) {
  onnxc_model *model = NULL;
  cr_assert_eq(onnxc_load_memory(context, bytes->bytes, bytes->length, NULL, &model), ONNXC_OK, "%s",
               onnxc_message(context));
  return onnxc_compile(model, NULL, program);
}

/* y = x + x, of more elements than can be counted, or than are supported. */
Test(hostile, huge_tensors) {
  static const int64_t dims[][3] = {
      {INT32_MAX, INT32_MAX, INT32_MAX}, {INT32_MAX, 3, 1000}, {1 << 20, 1 << 20, 2}, {0, INT32_MAX, INT32_MAX}};
  for (size_t k = 0; k < sizeof dims / sizeof *dims; k++) {
    wire graph = {0};
    put_node(&graph, "Add", "x", "x", "y");
    put_text(&graph, 2, "huge");
    put_typed(&graph, 11, "x", F32, 3, dims[k]);
    put_typed(&graph, 12, "y", F32, 3, dims[k]);
    wire bytes = finish(&graph);
    onnxc_context *context = onnxc_context_new();
    onnxc_program *program = NULL;
    cr_expect_eq(compile(context, &bytes, &program), ONNXC_UNSUPPORTED);
    cr_expect_not_null(strstr(onnxc_message(context), "more than 2^40 elements"), "%s", onnxc_message(context));
    onnxc_context_free(context);
  }
}

/* The new shape is one number that a run gives, as a scalar. */
Test(hostile, reshape_by_scalar) {
  static const int64_t shape[] = {2, 3}, flat[] = {-1};
  wire graph = {0};
  put_node(&graph, "Reshape", "x", "s", "y");
  put_text(&graph, 2, "scalar");
  put_typed(&graph, 11, "x", F32, 2, shape);
  put_typed(&graph, 11, "s", I64, 0, NULL);
  put_typed(&graph, 12, "y", F32, 1, flat);
  wire bytes = finish(&graph);
  onnxc_context *context = onnxc_context_new();
  onnxc_program *program = NULL;
  cr_assert_eq(compile(context, &bytes, &program), ONNXC_OK, "%s", onnxc_message(context));
  static const int64_t asked[] = {6, -1, 5};
  for (size_t k = 0; k < sizeof asked / sizeof *asked; k++) {
    float x[6] = {1, 2, 3, 4, 5, 6}, y[6] = {0};
    int64_t s = asked[k];
    onnxc_tensor in[2] = {{x, F32, 2, {2, 3}}, {&s, I64, 0, {0}}}, out = {.data = y};
    onnxc_run run = {.inputs = in, .outputs = &out};
    int status = onnxc_plan(program, &run);
    if (status == ONNXC_OK) {
      run.workspace = aligned_alloc(64, (run.workspace_size + 64) / 64 * 64);
      status = onnxc_run_program(program, &run);
      free(run.workspace);
    }
    cr_expect_eq(status, s == 5 ? ONNXC_BAD_INPUT : ONNXC_OK, "%d: %s", (int)s, run.message);
    cr_expect(s == 5 || (out.dims[0] == 6 && memcmp(x, y, sizeof x) == 0));
  }
  onnxc_program_free(program);
  onnxc_context_free(context);
}
