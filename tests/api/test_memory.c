/* test_memory.c -- running out of memory: every allocation of a compilation fails once, and each time the library says
 * so and gives back all it had. The model has what allocates in ways of its own: convolutions with symbolic dims,
 * weights in an external file, a softmax; and there is a tuning file.
 *
 *     c = conv(x, w, b), pads 1;  r = relu(c);  g = average of r's positions;  y = softmax(flatten(g))
 */
#include "onnxc/onnxc.h"

#include "base/arena.h"
#include "tiny_model.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CHANNELS = 3, FEATURES = 8, WEIGHTS = FEATURES * CHANNELS * 9 };

/* w is stored in the file "w.bin". */
static void put_external(wire *graph) {
  wire tensor = {0}, entry = {0};
  put_number(&tensor, 1, FEATURES);
  put_number(&tensor, 1, CHANNELS);
  put_number(&tensor, 1, 3);
  put_number(&tensor, 1, 3);
  put_number(&tensor, 2, 1);
  put_text(&tensor, 8, "w");
  put_text(&entry, 1, "location");
  put_text(&entry, 2, "w.bin");
  put_message(&tensor, 13, &entry);
  put_number(&tensor, 14, 1);
  put_message(graph, 5, &tensor);
}

static void put_conv(wire *graph) {
  wire pads = {0}, node = {0};
  put_text(&pads, 1, "pads");
  for (int k = 0; k < 4; k++)
    put_number(&pads, 8, 1);
  put_number(&pads, 20, 7);
  put_text(&node, 1, "x");
  put_text(&node, 1, "w");
  put_text(&node, 1, "b");
  put_text(&node, 2, "c");
  put_text(&node, 4, "Conv");
  put_message(&node, 5, &pads);
  put_message(graph, 1, &node);
}

static void put_image(wire *graph) {
  static const char *const names[] = {"N", NULL, "H", "W"};
  wire shape = {0}, tensor = {0}, type = {0}, value = {0};
  for (int k = 0; k < 4; k++) {
    wire dim = {0};
    if (names[k])
      put_text(&dim, 2, names[k]);
    else
      put_number(&dim, 1, CHANNELS);
    put_message(&shape, 1, &dim);
  }
  put_number(&tensor, 1, 1);
  put_message(&tensor, 2, &shape);
  put_message(&type, 1, &tensor);
  put_text(&value, 1, "x");
  put_message(&value, 2, &type);
  put_message(graph, 11, &value);
}

static wire conv_model(void) {
  static const float bias[FEATURES] = {1, 2, 3, 4, 5, 6, 7, 8};
  wire graph = {0}, opset = {0}, model = {0};
  put_conv(&graph);
  put_node(&graph, "Relu", "c", NULL, "r");
  put_node(&graph, "GlobalAveragePool", "r", NULL, "g");
  put_node(&graph, "Flatten", "g", NULL, "f");
  put_node(&graph, "Softmax", "f", NULL, "y");
  put_text(&graph, 2, "conv");
  put_external(&graph);
  put_weights(&graph, "b", bias, 0, FEATURES);
  put_image(&graph);
  put_value(&graph, 12, "y", FEATURES);
  put_number(&opset, 2, 13);
  put_number(&model, 1, 8);
  put_message(&model, 8, &opset);
  put_message(&model, 7, &graph);
  return model;
}

static char directory[] = "/tmp/onnxc_memory_XXXXXX";

static void make_file(const char *name, const void *bytes, size_t size) {
  char path[64];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  FILE *file = fopen(path, "wb");
  cr_assert(file && fwrite(bytes, 1, size, file) == size);
  cr_assert_eq(fclose(file), 0);
}

static void remove_file(const char *name) {
  char path[64];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  cr_expect_eq(unlink(path), 0);
}

static void make_directory(void) {
  static const char tuning[] =
      "cpu=znver5 a=f32 b=f32 acc=f32 batch=1 m=128 n=768 k=3072 panel=64 epilogue=none: tile=6 unroll=4 rows=126 "
      "columns=64 depth=512 ahead=131072 lines=1\n";
  float weights[WEIGHTS];
  cr_assert_not_null(mkdtemp(directory));
  for (int k = 0; k < WEIGHTS; k++)
    weights[k] = (float)(k % 7) - 3;
  make_file("w.bin", weights, sizeof weights);
  make_file("tuning", tuning, sizeof tuning - 1);
}

static void remove_directory(void) {
  remove_file("w.bin");
  remove_file("tuning");
  cr_expect_eq(rmdir(directory), 0, "something was left behind");
}

typedef enum work { DESCRIBE, IR, OBJECT, COMPILE, WORKS } work;

static onnxc_status work_once(const wire *bytes, work what) {
  onnxc_context *context = onnxc_context_new();
  onnxc_model *model = NULL;
  onnxc_program *program = NULL;
  char path[64], tuning[64];
  const onnxc_options options = {.tuning = tuning};
  if (!context)
    return ONNXC_OUT_OF_MEMORY;
  snprintf(tuning, sizeof tuning, "%s/tuning", directory);
  snprintf(path, sizeof path, "%s/out", directory);
  onnxc_status status = onnxc_load_memory(context, bytes->bytes, bytes->length, directory, &model);
  if (status == ONNXC_OK && what == DESCRIBE)
    status = onnxc_model_describe(model) ? ONNXC_OK : ONNXC_OUT_OF_MEMORY;
  else if (status == ONNXC_OK && what == COMPILE)
    status = onnxc_compile(model, &options, &program);
  else if (status == ONNXC_OK)
    status = onnxc_emit_file(model, NULL, what == IR ? ONNXC_EMIT_IR : ONNXC_EMIT_OBJECT, path);
  if (status == ONNXC_OK && what != DESCRIBE && what != COMPILE)
    unlink(path);
  if (status == ONNXC_OK && what == OBJECT) {
    snprintf(path, sizeof path, "%s/out.h", directory);
    unlink(path);
  }
  if (status == ONNXC_OUT_OF_MEMORY && model)
    cr_expect_not_null(strstr(onnxc_message(context), "out of memory"), "%s", onnxc_message(context));
  cr_expect(status == ONNXC_OK || status == ONNXC_OUT_OF_MEMORY, "%s", onnxc_message(context));
  onnxc_program_free(program);
  onnxc_context_free(context);
  return status;
}

/* The leak checker, where the build has one. */
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

/* Every allocation of compiling for a run, and of describing; writing files shares with compiling all but its end. */
Test(memory, runs_out_anywhere) {
  enum { END = 300 };
  wire bytes = conv_model();
  make_directory();
  for (int what = 0; what < WORKS; what++) {
    onnxc_mem_fail_at(0);
    cr_assert_eq(work_once(&bytes, (work)what), ONNXC_OK);
    int64_t count = onnxc_mem_fail_at(0);
    cr_expect_gt(count, 200);
    for (int64_t n = (what == IR || what == OBJECT) && count > END ? count - END : 1; n <= count; n++) {
      onnxc_mem_fail_at(n);
      cr_expect_eq(work_once(&bytes, (work)what), ONNXC_OUT_OF_MEMORY, "%d: allocation %d", what, (int)n);
      cr_expect_geq(onnxc_mem_fail_at(0), n);
    }
  }
  remove_directory();
  cr_expect(!__lsan_do_recoverable_leak_check || __lsan_do_recoverable_leak_check() == 0);
}
