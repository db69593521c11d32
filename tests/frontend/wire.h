/* wire.h -- writes protobuf wire data by hand, so that tests can write what no library would. */
#ifndef ONNXC_TESTS_WIRE_H
#define ONNXC_TESTS_WIRE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct wire_buffer {
  uint8_t data[1 << 15];
  size_t size;
} wire_buffer;

static inline void wire_raw(wire_buffer *b, const void *bytes, size_t size) {
  if (size > sizeof b->data - b->size)
    abort();
  memcpy(b->data + b->size, bytes, size);
  b->size += size;
}

static inline void wire_varint(wire_buffer *b, uint64_t value) {
  do {
    uint8_t byte = (uint8_t)((value & 0x7f) | (value >> 7 ? 0x80 : 0));
    wire_raw(b, &byte, 1);
  } while (value >>= 7);
}

static inline void wire_tag(wire_buffer *b, unsigned field, unsigned type) { wire_varint(b, field << 3 | type); }

static inline void wire_int(wire_buffer *b, unsigned field, int64_t value) {
  wire_tag(b, field, 0);
  wire_varint(b, (uint64_t)value);
}

static inline void wire_float(wire_buffer *b, unsigned field, float value) {
  wire_tag(b, field, 5);
  wire_raw(b, &value, sizeof value);
}

static inline void wire_bytes(wire_buffer *b, unsigned field, const void *bytes, size_t size) {
  wire_tag(b, field, 2);
  wire_varint(b, size);
  wire_raw(b, bytes, size);
}

static inline void wire_string(wire_buffer *b, unsigned field, const char *text) {
  wire_bytes(b, field, text, strlen(text));
}

static inline void wire_message(wire_buffer *b, unsigned field, const wire_buffer *message) {
  wire_bytes(b, field, message->data, message->size);
}

/* ---- ONNX ---- */

/* TensorProto without data. */
static inline wire_buffer wire_tensor(const char *name, int dtype, int rank, const int64_t *dims) {
  wire_buffer t = {.size = 0};
  for (int d = 0; d < rank; d++)
    wire_int(&t, 1, dims[d]);
  wire_int(&t, 2, dtype);
  wire_string(&t, 8, name);
  return t;
}

/* NodeProto; names are separated by commas, "" is an omitted input. */
static inline void wire_names(wire_buffer *b, unsigned field, const char *names) {
  while (*names) {
    size_t length = strcspn(names, ",");
    wire_bytes(b, field, names, length);
    names += length + (names[length] == ',');
  }
}

static inline wire_buffer wire_node(const char *op, const char *name, const char *inputs, const char *outputs) {
  wire_buffer n = {.size = 0};
  wire_names(&n, 1, inputs);
  wire_names(&n, 2, outputs);
  wire_string(&n, 3, name);
  wire_string(&n, 4, op);
  return n;
}

/* ValueInfoProto of a tensor; dims are separated by commas, numbers or names, "_" is a dim without either. NULL = no
 * shape. */
static inline wire_buffer wire_value(const char *name, int dtype, const char *dims) {
  wire_buffer value = {.size = 0}, type = {.size = 0}, tensor = {.size = 0}, shape = {.size = 0};
  while (dims && *dims) {
    wire_buffer dim = {.size = 0};
    size_t length = strcspn(dims, ",");
    if (*dims >= '0' && *dims <= '9')
      wire_int(&dim, 1, atoll(dims));
    else if (*dims != '_')
      wire_bytes(&dim, 2, dims, length);
    wire_message(&shape, 1, &dim);
    dims += length + (dims[length] == ',');
  }
  wire_int(&tensor, 1, dtype);
  if (dims)
    wire_message(&tensor, 2, &shape);
  wire_message(&type, 1, &tensor);
  wire_string(&value, 1, name);
  wire_message(&value, 2, &type);
  return value;
}

static inline void wire_opset(wire_buffer *b, unsigned field, const char *domain, int version) {
  wire_buffer opset = {.size = 0};
  wire_string(&opset, 1, domain);
  wire_int(&opset, 2, version);
  wire_message(b, field, &opset);
}

/* ModelProto of a GraphProto, IR version 8, opset 17. */
static inline wire_buffer wire_model(const wire_buffer *graph) {
  wire_buffer model = {.size = 0};
  wire_int(&model, 1, 8);
  wire_opset(&model, 8, "", 17);
  wire_message(&model, 7, graph);
  return model;
}

#endif
