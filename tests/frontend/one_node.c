/* one_node.c -- see one_node.h. */
#include "one_node.h"

#include "frontend.h"
#include "ir/text.h"
#include "ir/verify.h"
#include "wire.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add_attribute(wire_buffer *node, const one_attribute *attribute) {
  wire_buffer a = {.size = 0};
  wire_string(&a, 1, attribute->name);
  if (attribute->count == 0)
    wire_int(&a, 3, attribute->values[0]);
  for (int k = 0; k < attribute->count; k++)
    wire_int(&a, 8, attribute->values[k]);
  wire_int(&a, 20, attribute->count ? 7 : 2);
  wire_message(node, 5, &a);
}

enum { TYPE_FLOAT = 1, TYPE_STRING = 3, TYPE_FLOATS = 6, TYPE_STRINGS = 8 };

static int add_strings(wire_buffer *a, const char *texts) {
  while (*texts) {
    size_t length = strcspn(texts, " ");
    wire_bytes(a, 9, texts, length);
    texts += length + (texts[length] == ' ');
  }
  return TYPE_STRINGS;
}

static int add_floats(wire_buffer *a, const one_other *other) {
  for (int k = 0; k < abs(other->floats); k++)
    wire_float(a, other->floats < 0 ? 2 : 7, (float)other->numbers[k]);
  return other->floats < 0 ? TYPE_FLOAT : TYPE_FLOATS;
}

static void add_other(wire_buffer *node, const one_other *other) {
  wire_buffer a = {.size = 0};
  int type = TYPE_STRING;
  wire_string(&a, 1, other->name);
  if (other->text)
    wire_string(&a, 4, other->text);
  else
    type = other->texts ? add_strings(&a, other->texts) : add_floats(&a, other);
  wire_int(&a, 20, type);
  wire_message(node, 5, &a);
}

static void operand_name(char *name, size_t size, int k) { snprintf(name, size, "in%d", k); }

static wire_buffer make_node(const one_node *n) {
  wire_buffer node = {.size = 0};
  char name[16];
  for (int k = 0; k < n->num_operands; k++) {
    operand_name(name, sizeof name, k);
    wire_string(&node, 1, n->operands[k].array.dtype ? name : "");
  }
  for (int k = 0; k < (n->num_outputs ? n->num_outputs : 1); k++) {
    snprintf(name, sizeof name, "out%d", k);
    wire_string(&node, 2, name);
  }
  wire_string(&node, 3, "it");
  wire_string(&node, 4, n->op);
  for (const one_attribute *a = n->attributes; a->name; a++)
    add_attribute(&node, a);
  for (const one_other *a = n->others; a->name; a++)
    add_other(&node, a);
  if (n->domain)
    wire_string(&node, 7, n->domain);
  return node;
}

static void add_operand(wire_buffer *graph, const one_node *n, int k) {
  const onnxc_array *array = &n->operands[k].array;
  char name[16], dims[256] = "";
  operand_name(name, sizeof name, k);
  if (n->operands[k].constant) {
    wire_buffer tensor = wire_tensor(name, (int)array->dtype, (int)array->rank, array->dims);
    wire_bytes(&tensor, 9, array->data, (size_t)onnxc_array_count(array) * onnxc_dtype_bytes(array->dtype));
    wire_message(graph, 5, &tensor);
    return;
  }
  for (uint32_t d = 0, used = 0; d < array->rank; d++)
    used += (uint32_t)snprintf(dims + used, sizeof dims - used, n->symbolic ? "%sd%d_%u" : "%s%d", d ? "," : "",
                               n->symbolic ? k : (int)array->dims[d], d);
  wire_buffer value = wire_value(name, (int)array->dtype, dims);
  wire_message(graph, 11, &value);
}

static wire_buffer make_model(const one_node *n) {
  wire_buffer graph = {.size = 0}, model = {.size = 0}, node = make_node(n);
  wire_message(&graph, 1, &node);
  wire_string(&graph, 2, "it");
  for (int k = 0; k < n->num_operands; k++)
    if (n->operands[k].array.dtype)
      add_operand(&graph, n, k);
  for (int k = 0; k < (n->num_outputs ? n->num_outputs : 1); k++) {
    char name[16];
    snprintf(name, sizeof name, "out%d", k);
    wire_buffer output = {.size = 0};
    wire_string(&output, 1, name);
    wire_message(&graph, 12, &output);
  }
  wire_int(&model, 1, 10);
  wire_opset(&model, 8, "", n->domain ? 21 : n->opset);
  if (n->domain)
    wire_opset(&model, 8, n->domain, n->opset);
  wire_message(&model, 7, &graph);
  return model;
}

onnxc_status one_node_run(one_node *n) {
  static wire_buffer model;
  onnxc_graph *graph;
  onnxc_onnx_file *file = NULL;
  onnxc_import_options options = {0};
  onnxc_array inputs[ONE_NODE_OPERANDS];
  uint32_t num_inputs = 0;
  onnxc_text text;
  onnxc_eval eval;
  model = make_model(n);
  onnxc_diag_clear(&n->diag);
  onnxc_arena_init(&n->arena, &n->guard);
  if (setjmp(n->guard.env))
    abort();
  graph = ONNXC_NEW(&n->arena, onnxc_graph);
  onnxc_graph_init(graph, &n->arena, &n->diag);
  cr_assert_eq(onnxc_onnx_open_memory(&file, &n->arena, &n->diag, model.data, model.size, NULL), ONNXC_OK, "%s",
               n->diag.text);
  onnxc_status status = onnxc_onnx_import(file, graph, &options);
  if (status == ONNXC_OK) {
    cr_assert_eq(onnxc_graph_verify(graph, "import"), ONNXC_OK, "%s", n->diag.text);
    onnxc_text_init(&text, &n->arena);
    onnxc_graph_print(graph, &text, 0);
    n->text = text.data;
    for (int k = 0; k < n->num_operands; k++)
      if (n->operands[k].array.dtype && !n->operands[k].constant)
        inputs[num_inputs++] = n->operands[k].array;
    status = onnxc_eval_graph(&eval, graph, &n->arena, inputs, num_inputs);
  }
  for (uint32_t k = 0; status == ONNXC_OK && k < graph->outputs.length; k++)
    n->outputs[k] = eval.arrays[graph->outputs.data[k].i];
  onnxc_onnx_close(file);
  return status;
}

static _Alignas(16) char pool[1 << 20];
static size_t used;

void *one_memory(size_t size) {
  size = (size + 15) / 16 * 16;
  if (size > sizeof pool - used)
    abort();
  used += size;
  return pool + used - size;
}

void one_node_free(one_node *n) {
  onnxc_arena_free(&n->arena);
  used = 0;
}

onnxc_array one_array(onnxc_dtype dtype, uint32_t rank, const int64_t *dims, const double *numbers) {
  onnxc_array array = {.dtype = dtype, .rank = rank};
  for (uint32_t d = 0; d < rank; d++)
    array.dims[d] = dims[d];
  size_t bytes = onnxc_dtype_bytes(dtype), count = (size_t)onnxc_array_count(&array);
  array.data = one_memory(count * bytes);
  for (size_t i = 0; i < count; i++)
    onnxc_scalar_from_f64(dtype, (char *)array.data + i * bytes, numbers[i]);
  return array;
}

double one_number(const onnxc_array *array, int64_t element) {
  return onnxc_scalar_to_f64(array->dtype,
                             (const char *)array->data + (size_t)element * onnxc_dtype_bytes(array->dtype));
}
