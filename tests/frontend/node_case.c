/* node_case.c -- see node_case.h. */
#include "node_case.h"

#include "ir/eval.h"
#include "ir/verify.h"
#include "load.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_TENSORS = 64, PATH_SIZE = 1024 };

static bool contains(const char *const *list, const char *name) {
  for (; list && *list; list++)
    if (strcmp(*list, name) == 0)
      return true;
  return false;
}

static bool exists(const char *path) {
  struct stat status;
  return stat(path, &status) == 0;
}

/* ---- the model ---- */

static bool only_listed(const Onnx__GraphProto *graph, const char *const *ops) {
  for (size_t k = 0; k < graph->n_node; k++)
    if (!contains(ops, onnxc_onnx_text(graph->node[k]->op_type)))
      return false;
  return true;
}

static void make_symbolic(onnxc_onnx_file *file, onnxc_arena *arena) {
  Onnx__GraphProto *graph = file->model->graph;
  for (size_t k = 0; k < graph->n_input; k++) {
    Onnx__TypeProto *type = graph->input[k]->type;
    if (!type || !type->tensor_type || !type->tensor_type->shape ||
        !onnxc_dtype_is_float((onnxc_dtype)type->tensor_type->elem_type))
      continue;
    for (size_t d = 0; d < type->tensor_type->shape->n_dim; d++) {
      Onnx__TensorShapeProto__Dimension *dim = type->tensor_type->shape->dim[d];
      dim->has_dim_value = 0;
      dim->dim_param = onnxc_arena_printf(arena, "s%zu_%zu", k, d);
    }
  }
}

/* ---- the data ---- */

/* Reads PREFIX_0.pb, PREFIX_1.pb, ...; false when one is no tensor. */
static bool read_tensors(onnxc_arena *arena, onnxc_diag *diag, const char *directory, const char *prefix,
                         onnxc_array *arrays, uint32_t *count) {
  for (*count = 0; *count < MAX_TENSORS; (*count)++) {
    const char *path = onnxc_arena_printf(arena, "%s/%s_%u.pb", directory, prefix, *count);
    if (!exists(path))
      return true;
    if (onnxc_onnx_read_tensor(arena, diag, path, &arrays[*count], NULL) != ONNXC_OK)
      return false;
  }
  return false;
}

/* The tolerance of ONNX's own test runner, wider where the type itself is coarser. */
static bool close_enough(onnxc_dtype dtype, double expected, double actual) {
  if (isnan(expected) || isnan(actual))
    return isnan(expected) && isnan(actual);
  if (expected == actual)
    return true;
  if (!onnxc_dtype_is_float(dtype) || isinf(expected) || isinf(actual))
    return false;
  double relative = dtype == ONNXC_F32 || dtype == ONNXC_F64 ? 1e-3 : dtype == ONNXC_F16 ? 2e-3 : 1e-2;
  double absolute = dtype == ONNXC_F32 || dtype == ONNXC_F64 ? 1e-6 : 1e-3;
  return fabs(expected - actual) <= absolute + relative * fabs(expected);
}

static bool same_tensor(const onnxc_array *expected, const onnxc_array *actual, uint32_t k, char *message,
                        size_t size) {
  if (expected->dtype != actual->dtype || expected->rank != actual->rank) {
    snprintf(message, size, "output %u is %s of rank %u, not %s of rank %u", k, onnxc_dtype_name(actual->dtype),
             actual->rank, onnxc_dtype_name(expected->dtype), expected->rank);
    return false;
  }
  for (uint32_t d = 0; d < expected->rank; d++)
    if (expected->dims[d] != actual->dims[d]) {
      snprintf(message, size, "output %u: dim %u is %lld, not %lld", k, d, (long long)actual->dims[d],
               (long long)expected->dims[d]);
      return false;
    }
  size_t bytes = onnxc_dtype_bytes(expected->dtype);
  for (int64_t i = 0; i < onnxc_array_count(expected); i++) {
    double a = onnxc_scalar_to_f64(expected->dtype, (const char *)expected->data + (size_t)i * bytes);
    double b = onnxc_scalar_to_f64(expected->dtype, (const char *)actual->data + (size_t)i * bytes);
    if (!close_enough(expected->dtype, a, b)) {
      snprintf(message, size, "output %u, element %lld: %.9g, not %.9g", k, (long long)i, b, a);
      return false;
    }
  }
  return true;
}

static node_result run_set(onnxc_graph *graph, onnxc_arena *arena, const char *directory, char *message, size_t size) {
  onnxc_array inputs[MAX_TENSORS], expected[MAX_TENSORS];
  uint32_t num_inputs, num_expected;
  if (!read_tensors(arena, graph->diag, directory, "input", inputs, &num_inputs) ||
      !read_tensors(arena, graph->diag, directory, "output", expected, &num_expected))
    return NODE_OTHER;
  onnxc_eval eval;
  if (onnxc_eval_graph(&eval, graph, arena, inputs, num_inputs) != ONNXC_OK) {
    snprintf(message, size, "%s", graph->diag->text);
    return NODE_FAIL;
  }
  for (uint32_t k = 0; k < num_expected; k++) {
    if (k >= graph->outputs.length) {
      snprintf(message, size, "only %u outputs", graph->outputs.length);
      return NODE_FAIL;
    }
    if (!same_tensor(&expected[k], &eval.arrays[graph->outputs.data[k].i], k, message, size))
      return NODE_FAIL;
  }
  return NODE_PASS;
}

/* ---- cases ---- */

static node_result run_file(onnxc_onnx_file *file, onnxc_arena *arena, onnxc_diag *diag, const char *directory,
                            const char *const *ops, bool symbolic, char *message, size_t size) {
  if (!file->model->graph || (ops && !only_listed(file->model->graph, ops)))
    return NODE_OTHER;
  if (symbolic)
    make_symbolic(file, arena);
  onnxc_graph graph;
  onnxc_graph_init(&graph, arena, diag);
  onnxc_import_options options = {0};
  onnxc_status status = onnxc_onnx_import(file, &graph, &options);
  if (status != ONNXC_OK) {
    snprintf(message, size, "%s", diag->text);
    return status == ONNXC_UNSUPPORTED ? NODE_UNSUPPORTED : NODE_FAIL;
  }
  if (onnxc_graph_verify(&graph, "import") != ONNXC_OK) {
    snprintf(message, size, "%s", diag->text);
    return NODE_FAIL;
  }
  for (int set = 0; set < 16; set++) {
    char data[PATH_SIZE];
    snprintf(data, sizeof data, "%s/test_data_set_%d", directory, set);
    if (!exists(data))
      break;
    node_result result = run_set(&graph, arena, data, message, size);
    if (result != NODE_PASS)
      return result;
  }
  return NODE_PASS;
}

node_result node_case_run(const char *directory, const char *const *ops, bool symbolic, char *message, size_t size) {
  static onnxc_diag diag;
  onnxc_guard guard;
  onnxc_arena arena;
  onnxc_onnx_file *volatile opened = NULL;
  volatile node_result result = NODE_FAIL;
  snprintf(message, size, "out of memory");
  onnxc_diag_clear(&diag);
  onnxc_arena_init(&arena, &guard);
  if (setjmp(guard.env) == 0) {
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/model.onnx", directory);
    onnxc_onnx_file *file = NULL;
    onnxc_status status = onnxc_onnx_open(&file, &arena, &diag, path);
    opened = file;
    snprintf(message, size, "%s", diag.text);
    if (status == ONNXC_OK)
      result = run_file(file, &arena, &diag, directory, ops, symbolic, message, size);
  }
  if (opened)
    onnxc_onnx_close(opened);
  onnxc_arena_free(&arena);
  return result;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

node_counts node_cases_run(const char *root, const char *folder, const char *const *ops, bool symbolic,
                           const char *const *known) {
  node_counts counts = {0, 0, 0};
  char path[PATH_SIZE], message[512];
  snprintf(path, sizeof path, "%s/%s", root, folder);
  DIR *directory = opendir(path);
  if (!directory)
    return counts;
  static char *names[4096];
  size_t num_names = 0;
  for (struct dirent *entry; (entry = readdir(directory)) && num_names < 4096;)
    if (strncmp(entry->d_name, "test_", 5) == 0)
      names[num_names++] = strdup(entry->d_name);
  closedir(directory);
  qsort((void *)names, num_names, sizeof names[0], by_name);
  for (size_t k = 0; k < num_names; k++) {
    snprintf(path, sizeof path, "%s/%s/%s", root, folder, names[k]);
    node_result result = node_case_run(path, ops, symbolic, message, sizeof message);
    counts.pass += result == NODE_PASS;
    bool expected = contains(known, names[k]);
    counts.unsupported += result == NODE_UNSUPPORTED || (result == NODE_FAIL && expected);
    counts.fail += result == NODE_FAIL && !expected;
    if ((result == NODE_FAIL && !expected) || (result == NODE_UNSUPPORTED && getenv("ONNXC_VERBOSE")))
      fprintf(stderr, "%s %s%s: %s\n", result == NODE_FAIL ? "FAIL" : "unsupported", names[k],
              symbolic ? " (symbolic)" : "", message);
    free(names[k]);
  }
  return counts;
}

void node_cases_check(const char *const *ops, bool symbolic) {
  const char *root = getenv("ONNXC_ONNX_TESTS");
  if (!root) {
    fprintf(stderr, "skipped: ONNX's node tests (ONNXC_ONNX_TESTS is not set)\n");
    return;
  }
  static const char *const folders[] = {"node", "simple", "pytorch-converted", "pytorch-operator"};
  int passed = 0;
  for (size_t k = 0; k < sizeof folders / sizeof *folders; k++) {
    node_counts counts = node_cases_run(root, folders[k], ops, symbolic, NULL);
    fprintf(stderr, "%s%s: %d pass, %d fail, %d unsupported\n", folders[k], symbolic ? " (symbolic)" : "", counts.pass,
            counts.fail, counts.unsupported);
    cr_expect(counts.fail == 0, "%d cases of %s fail", counts.fail, folders[k]);
    passed += counts.pass;
  }
  cr_expect(passed > 0, "no case under %s was run", root);
}
