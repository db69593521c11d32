/* model.c -- a problem as an ONNX model, in the wire format of protocol buffers.
 *
 * f32 and bf16: MatMul, or for an MLP Gemm and the activation. u8s8s32: MatMulInteger. u8s8u8: QLinearMatMul; for an
 * MLP the operators on dequantized values between QuantizeLinear and DequantizeLinear, which every compiler recognises.
 *
 * Field numbers are those of onnx.proto. A message inside a message has its length before it; five bytes are kept for
 * that and filled in when the message ends (a varint may be longer than it needs to be).
 */
#include "bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FLOAT = 1, UINT8 = 2, INT8 = 3, INT32 = 6, BFLOAT16 = 16 };
enum { VARINT = 0, BYTES = 2, LENGTH_BYTES = 5 };

typedef struct writer {
  problem *p;
  unsigned char *bytes;
  size_t size;
} writer;

static void put_varint(writer *w, uint64_t value) {
  for (; value >= 0x80; value >>= 7)
    w->bytes[w->size++] = (unsigned char)(value | 0x80);
  w->bytes[w->size++] = (unsigned char)value;
}

static void put_int(writer *w, unsigned field, uint64_t value) {
  put_varint(w, field << 3 | VARINT);
  put_varint(w, value);
}

static void put_bytes(writer *w, unsigned field, const void *bytes, size_t size) {
  put_varint(w, field << 3 | BYTES);
  put_varint(w, size);
  memcpy(w->bytes + w->size, bytes, size);
  w->size += size;
}

static void put_text(writer *w, unsigned field, const char *text) { put_bytes(w, field, text, strlen(text)); }

static size_t begin(writer *w, unsigned field) {
  put_varint(w, field << 3 | BYTES);
  w->size += LENGTH_BYTES;
  return w->size;
}

static void end(writer *w, size_t start) {
  size_t length = w->size - start;
  for (int i = 0; i < LENGTH_BYTES; i++, length >>= 7)
    w->bytes[start - LENGTH_BYTES + (size_t)i] = (unsigned char)((length & 0x7f) | (i + 1 < LENGTH_BYTES ? 0x80 : 0));
}

/* ---- ONNX ---- */

static void put_tensor(writer *w, const char *name, int type, int rank, const int64_t *dims, const void *data,
                       size_t size) {
  size_t tensor = begin(w, 5);
  for (int d = 0; d < rank; d++)
    put_int(w, 1, (uint64_t)dims[d]);
  put_int(w, 2, (uint64_t)type);
  put_text(w, 8, name);
  put_bytes(w, 9, data, size);
  end(w, tensor);
}

/* field: 11 input, 12 output. */
static void put_value(writer *w, unsigned field, const char *name, int type, int rank, const int64_t *dims) {
  size_t value = begin(w, field);
  put_text(w, 1, name);
  size_t value_type = begin(w, 2), tensor = begin(w, 1);
  put_int(w, 1, (uint64_t)type);
  size_t shape = begin(w, 2);
  for (int d = 0; d < rank; d++) {
    size_t dim = begin(w, 1);
    put_int(w, 1, (uint64_t)dims[d]);
    end(w, dim);
  }
  end(w, shape);
  end(w, tensor);
  end(w, value_type);
  end(w, value);
}

static void put_node(writer *w, const char *op, const char *const *inputs, int num_inputs, const char *output) {
  size_t node = begin(w, 1);
  char name[64];
  snprintf(name, sizeof name, "%s_%s", op, output);
  for (int i = 0; i < num_inputs; i++)
    put_text(w, 1, inputs[i]);
  put_text(w, 2, output);
  put_text(w, 3, name);
  put_text(w, 4, op);
  end(w, node);
}
#define PUT_NODE(w, op, output, ...)                                                                                   \
  put_node(w, op, (const char *const[]){__VA_ARGS__},                                                                  \
           (int)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)), output)

static int type_of(bench_dtype dtype, bool is_signed) {
  return dtype == BENCH_F32 ? FLOAT : dtype == BENCH_BF16 ? BFLOAT16 : is_signed ? INT8 : UINT8;
}

static void put_bias(writer *w, const char *name, int layer) {
  const problem *p = w->p;
  int64_t n = p->what->n;
  if (p->dtype == BENCH_F32) {
    put_tensor(w, name, FLOAT, 1, &n, p->bias[layer], (size_t)n * sizeof(float));
    return;
  }
  if (p->dtype == BENCH_BF16) {
    uint16_t *values = problem_alloc(w->p, (size_t)n * sizeof *values);
    for (int64_t j = 0; j < n; j++)
      values[j] = bench_to_bf16(p->bias[layer][j]);
    put_tensor(w, name, BFLOAT16, 1, &n, values, (size_t)n * sizeof *values);
    return;
  }
  int32_t *values = problem_alloc(w->p, (size_t)n * sizeof *values);
  for (int64_t j = 0; j < n; j++)
    values[j] = (int32_t)lrintf(p->bias[layer][j] / (p->scale_a * p->scale_b));
  put_tensor(w, name, INT32, 1, &n, values, (size_t)n * sizeof *values);
}

static void put_scalar(writer *w, const char *name, int type, const void *value, size_t size) {
  put_tensor(w, name, type, 0, NULL, value, size);
}

/* x -> y; both are what the problem's layers hand on. */
static void put_layer(writer *w, int layer, const char *x, const char *y) {
  const problem *p = w->p;
  const bench_case *c = p->what;
  const char *activation = c->activation == BENCH_RELU ? "Relu" : "Gelu";
  int64_t dims[2] = {c->k, c->n};
  char b[16], bias[16], sum[16], fx[16], fb[16], fbias[16], fy[16];
  snprintf(b, sizeof b, "b%d", layer);
  snprintf(bias, sizeof bias, "bias%d", layer);
  snprintf(sum, sizeof sum, "sum%d", layer);
  snprintf(fx, sizeof fx, "fx%d", layer);
  snprintf(fb, sizeof fb, "fb%d", layer);
  snprintf(fbias, sizeof fbias, "fbias%d", layer);
  snprintf(fy, sizeof fy, "fy%d", layer);
  put_tensor(w, b, type_of(p->dtype, true), 2, dims, p->b[layer], p->b_bytes);
  put_bias(w, bias, layer);
  if (p->dtype != BENCH_U8S8U8) {
    PUT_NODE(w, "Gemm", sum, x, b, bias);
    PUT_NODE(w, activation, y, sum);
    return;
  }
  PUT_NODE(w, "DequantizeLinear", fx, x, "scale_a", "zero_a");
  PUT_NODE(w, "DequantizeLinear", fb, b, "scale_b", "zero_b");
  PUT_NODE(w, "DequantizeLinear", fbias, bias, "scale_bias", "zero_bias");
  PUT_NODE(w, "Gemm", sum, fx, fb, fbias);
  PUT_NODE(w, activation, fy, sum);
  PUT_NODE(w, "QuantizeLinear", y, fy, "scale_a", "zero_a");
}

static void put_scales(writer *w) {
  const problem *p = w->p;
  float scale_bias = p->scale_a * p->scale_b;
  uint32_t zero = 0;
  put_scalar(w, "scale_a", FLOAT, &p->scale_a, sizeof(float));
  put_scalar(w, "scale_b", FLOAT, &p->scale_b, sizeof(float));
  put_scalar(w, "zero_a", UINT8, &zero, 1);
  put_scalar(w, "zero_b", INT8, &zero, 1);
  if (p->what->kind == BENCH_MLP) {
    put_scalar(w, "scale_bias", FLOAT, &scale_bias, sizeof(float));
    put_scalar(w, "zero_bias", INT32, &zero, sizeof zero);
  }
}

static void put_graph(writer *w) {
  const problem *p = w->p;
  const bench_case *c = p->what;
  bool batched = c->kind == BENCH_BATCHED;
  int rank = batched ? 3 : 2, a_type = type_of(p->dtype, false), b_type = type_of(p->dtype, true);
  const int64_t a_dims[3] = {c->batch, c->m, c->k}, b_dims[3] = {c->batch, c->k, c->n},
                c_dims[3] = {c->batch, c->m, c->n};
  put_text(w, 2, c->name);
  if (p->dtype == BENCH_U8S8U8)
    put_scales(w);
  put_value(w, 11, "a", a_type, rank, a_dims + 3 - rank);
  put_value(w, 12, "c", p->dtype == BENCH_U8S8S32 ? INT32 : a_type, rank, c_dims + 3 - rank);
  if (c->kind == BENCH_MLP) {
    const char *names[MAX_LAYERS + 1] = {"a", "layer1", "layer2", "layer3"};
    names[c->layers] = "c";
    for (int layer = 0; layer < c->layers; layer++)
      put_layer(w, layer, names[layer], names[layer + 1]);
    return;
  }
  if (batched)
    put_value(w, 11, "b", b_type, rank, b_dims);
  else
    put_tensor(w, "b", b_type, 2, b_dims + 1, p->b[0], p->b_bytes);
  if (p->dtype == BENCH_U8S8S32)
    PUT_NODE(w, "MatMulInteger", "c", "a", "b");
  else if (p->dtype == BENCH_U8S8U8)
    PUT_NODE(w, "QLinearMatMul", "c", "a", "scale_a", "zero_a", "b", "scale_b", "zero_b", "scale_a", "zero_a");
  else
    PUT_NODE(w, "MatMul", "c", "a", "b");
}

const void *model_bytes(problem *p, size_t *size) {
  writer w = {.p = p};
  const size_t names_and_biases = 1 << 20;
  w.bytes = problem_alloc(p, p->b_bytes * (size_t)p->what->layers + names_and_biases);
  put_int(&w, 1, 10); /* IR version: Gelu needs operator set 20, which came with 9 */
  put_text(&w, 2, "onnxc-bench");
  size_t opset = begin(&w, 8);
  put_text(&w, 1, "");
  put_int(&w, 2, 21);
  end(&w, opset);
  size_t graph = begin(&w, 7);
  put_graph(&w);
  end(&w, graph);
  *size = w.size;
  return w.bytes;
}
