/* test_branches.c -- an If that a run decides, through the public library: one program, and one library, for both
 * sides.
 *
 *     y = s == 5 ? relu(x w + b) : -x          x: f32[N, 3], w: f32[3, 4], b: f32[4], s: i64[]
 */
#include "onnxc/onnxc.h"

#include "tiny_model.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ROWS = 70 };

static void put_side(wire *node, const char *name, const wire *graph, const char *output) {
  wire attribute = {0}, whole = *graph, value = {0};
  put_text(&value, 1, output);
  put_message(&whole, 12, &value);
  put_text(&attribute, 1, name);
  put_message(&attribute, 6, &whole);
  put_number(&attribute, 20, 5);
  put_message(node, 5, &attribute);
}

static wire model_of_two_sides(void) {
  wire yes = {0}, no = {0}, graph = {0}, node = {0}, five = {0}, s = {0}, opset = {0}, model = {0};
  put_node(&yes, "MatMul", "x", "w", "h");
  put_node(&yes, "Add", "h", "b", "g");
  put_node(&yes, "Relu", "g", NULL, "p");
  put_node(&no, "Neg", "x", NULL, "q");
  put_node(&graph, "Equal", "s", "five", "c");
  put_text(&node, 1, "c");
  put_text(&node, 2, "y");
  put_text(&node, 3, "it");
  put_text(&node, 4, "If");
  put_side(&node, "then_branch", &yes, "p");
  put_side(&node, "else_branch", &no, "q");
  put_message(&graph, 1, &node);
  put_text(&graph, 2, "sides");
  put_weights(&graph, "w", tiny_w, 3, 4);
  put_weights(&graph, "b", tiny_b, 0, 4);
  put_number(&five, 2, 7);
  put_number(&five, 7, 5);
  put_text(&five, 8, "five");
  put_message(&graph, 5, &five);
  put_value(&graph, 11, "x", 3);
  /* a ValueInfoProto of type {tensor_type {elem_type 7, shape {}}} */
  put_text(&s, 1, "s");
  put_bytes(&s, 2, "\x0a\x04\x08\x07\x12\x00", 6);
  put_message(&graph, 11, &s);
  put_value(&graph, 12, "y", 0);
  put_number(&opset, 2, 13);
  put_number(&model, 1, 8);
  put_message(&model, 8, &opset);
  put_message(&model, 7, &graph);
  return model;
}

typedef onnxc_status (*plan_fn)(const void *model, onnxc_run *run);
static onnxc_status plan_program(const void *program, onnxc_run *run) { return onnxc_plan(program, run); }
static onnxc_status run_program(const void *program, onnxc_run *run) { return onnxc_run_program(program, run); }

static void check_side(const void *model, plan_fn plan, plan_fn run_it, int rows, int64_t s, int threads) {
  static float x[3 * ROWS], y[4 * ROWS + 1];
  for (int k = 0; k < 3 * rows; k++)
    x[k] = (float)(k * 7 % 11) - 5;
  int columns = s == 5 ? 4 : 3;
  y[columns * rows] = 77; /* nothing is written beyond what this side has */
  onnxc_tensor in[2] = {{x, 1, 2, {rows, 3}}, {&s, 7, 0, {0}}}, out = {.data = y};
  onnxc_run run = {.inputs = in, .outputs = &out, .num_threads = threads};
  cr_assert_eq(plan(model, &run), ONNXC_OK, "%s", run.message);
  cr_assert(out.rank == 2 && out.dims[0] == rows && out.dims[1] == columns, "s %d: %d columns", (int)s,
            (int)out.dims[1]);
  run.workspace = aligned_alloc(64, (run.workspace_size + 63) / 64 * 64);
  cr_assert_eq(run_it(model, &run), ONNXC_OK, "%s", run.message);
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < columns; j++)
      cr_expect_float_eq(y[columns * i + j], s == 5 ? tiny_y(x, i, j) : -x[3 * i + j], 1e-4F);
  cr_expect_eq(y[columns * rows], 77);
  free(run.workspace);
}

static void check_sides(const void *model, plan_fn plan, plan_fn run_it) {
  for (int rows = 0; rows <= ROWS; rows += 7)
    for (int64_t s = 4; s < 7; s++)
      for (int threads = 0; threads < 4; threads += 3)
        check_side(model, plan, run_it, rows, s, threads);
  float x[3] = {0};
  onnxc_tensor in[2] = {{x, 1, 2, {1, 3}}, {NULL, 7, 0, {0}}}, out = {0};
  onnxc_run run = {.inputs = in, .outputs = &out};
  cr_expect_eq(plan(model, &run), ONNXC_BAD_INPUT, "which side it is must be known");
  cr_expect(strstr(run.message, "'s'"), "%s", run.message);
}

static void find(void *library, const char *name, void *function) {
  void *address = dlsym(library, name);
  cr_assert_not_null(address, "%s", name);
  memcpy(function, (const void *)&address, sizeof address);
}

static void check_library(onnxc_context *context, onnxc_model *model) {
  char directory[] = "/tmp/onnxc_branches_XXXXXX", path[100], header[100], message[256];
  cr_assert_not_null(mkdtemp(directory));
  snprintf(path, sizeof path, "%s/sides.so", directory);
  snprintf(header, sizeof header, "%s/sides.h", directory);
  cr_assert_eq(onnxc_emit_file(model, NULL, ONNXC_EMIT_SHARED, path), ONNXC_OK, "%s", onnxc_message(context));
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  cr_assert_not_null(library, "%s", dlerror());
  int (*open_model)(const void **, const char *, char *, size_t);
  void (*close_model)(const void *);
  plan_fn plan, run;
  find(library, "sides_open", (void *)&open_model);
  find(library, "sides_close", (void *)&close_model);
  find(library, "sides_plan", (void *)&plan);
  find(library, "sides_run", (void *)&run);
  const void *opened = NULL;
  cr_assert_eq(open_model(&opened, NULL, message, sizeof message), ONNXC_OK, "%s", message);
  check_sides(opened, plan, run);
  close_model(opened);
  dlclose(library);
  unlink(path);
  unlink(header);
  cr_expect_eq(rmdir(directory), 0);
}

Test(branches, both_sides) {
  wire bytes = model_of_two_sides();
  onnxc_context *context = onnxc_context_new();
  onnxc_model *model = NULL;
  onnxc_program *program = NULL;
  cr_assert_eq(onnxc_load_memory(context, bytes.bytes, bytes.length, NULL, &model), ONNXC_OK, "%s",
               onnxc_message(context));
  cr_assert_eq(onnxc_compile(model, NULL, &program), ONNXC_OK, "%s", onnxc_message(context));
  check_sides(program, plan_program, run_program);
  onnxc_program_free(program);
  check_library(context, model);
  onnxc_context_free(context);
}
