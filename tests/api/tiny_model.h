/* tiny_model.h -- a small ONNX model as bytes, written in protobuf's wire format by hand, so that these tests depend on
 * no file and no schema.
 *
 *     y = relu(x w + b), same = x          x: f32[N, 3], w: f32[3, 4], b: f32[4]
 */
#ifndef ONNXC_TESTS_API_TINY_MODEL_H
#define ONNXC_TESTS_API_TINY_MODEL_H

#include <stdint.h>
#include <string.h>

typedef struct wire {
  size_t length;
  unsigned char bytes[2048];
} wire;

static inline void put_varint(wire *w, uint64_t value) {
  for (; value >= 128; value >>= 7)
    w->bytes[w->length++] = (unsigned char)(value | 128);
  w->bytes[w->length++] = (unsigned char)value;
}

static inline void put_number(wire *w, unsigned field, uint64_t value) {
  put_varint(w, field << 3);
  put_varint(w, value);
}

static inline void put_bytes(wire *w, unsigned field, const void *data, size_t size) {
  put_varint(w, field << 3 | 2);
  put_varint(w, size);
  memcpy(w->bytes + w->length, data, size);
  w->length += size;
}

static inline void put_text(wire *w, unsigned field, const char *text) { put_bytes(w, field, text, strlen(text)); }
static inline void put_message(wire *w, unsigned field, const wire *message) {
  put_bytes(w, field, message->bytes, message->length);
}

static inline void put_node(wire *graph, const char *type, const char *a, const char *b, const char *result) {
  wire node = {0};
  put_text(&node, 1, a);
  if (b)
    put_text(&node, 1, b);
  put_text(&node, 2, result);
  put_text(&node, 3, result);
  put_text(&node, 4, type);
  put_message(graph, 1, &node);
}

/* A graph input (field 11) or output (12): f32[N, columns]. */
static inline void put_value(wire *graph, unsigned field, const char *name, uint64_t columns) {
  wire n = {0}, c = {0}, shape = {0}, tensor = {0}, type = {0}, value = {0};
  put_text(&n, 2, "N");
  put_number(&c, 1, columns);
  put_message(&shape, 1, &n);
  put_message(&shape, 1, &c);
  put_number(&tensor, 1, 1);
  put_message(&tensor, 2, &shape);
  put_message(&type, 1, &tensor);
  put_text(&value, 1, name);
  put_message(&value, 2, &type);
  put_message(graph, field, &value);
}

static inline void put_weights(wire *graph, const char *name, const float *data, uint64_t rows, uint64_t columns) {
  wire tensor = {0};
  if (rows)
    put_number(&tensor, 1, rows);
  put_number(&tensor, 1, columns);
  put_number(&tensor, 2, 1);
  put_text(&tensor, 8, name);
  put_bytes(&tensor, 9, data, (rows ? rows : 1) * columns * sizeof *data);
  put_message(graph, 5, &tensor);
}

static const float tiny_w[12] = {1, -2, 3, -4, 0.5F, 6, -7, 8, 9, 10, -11, 12}, tiny_b[4] = {0.25F, -1, 2, 0};

/* `relu` names the last operator, so that a test can write an unknown one. */
static inline wire tiny_model(const char *relu) {
  wire graph = {0}, opset = {0}, model = {0};
  put_node(&graph, "MatMul", "x", "w", "h");
  put_node(&graph, "Add", "h", "b", "g");
  put_node(&graph, relu, "g", NULL, "y");
  put_node(&graph, "Identity", "x", NULL, "same");
  put_text(&graph, 2, "tiny");
  put_weights(&graph, "w", tiny_w, 3, 4);
  put_weights(&graph, "b", tiny_b, 0, 4);
  put_value(&graph, 11, "x", 3);
  put_value(&graph, 12, "y", 4);
  put_value(&graph, 12, "same", 3);
  put_number(&opset, 2, 13);
  put_number(&model, 1, 8);
  put_message(&model, 8, &opset);
  put_message(&model, 7, &graph);
  return model;
}

/* Element (i, j) of y for x. */
static inline float tiny_y(const float *x, int i, int j) {
  double sum = tiny_b[j];
  for (int k = 0; k < 3; k++)
    sum += (double)x[3 * i + k] * tiny_w[4 * k + j];
  return sum > 0 ? (float)sum : 0;
}

#endif
