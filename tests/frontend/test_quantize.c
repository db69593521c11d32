/* test_quantize.c -- quantized operators: ONNX's node tests; of QuantizeLinear and DequantizeLinear rounding of ties,
 * saturation, axes, blocks and types; what is refused.
 */
#include "node_case.h"
#include "one_node.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static const char *const ops[] = {"ConvInteger", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger",
                                  "QLinearConv", "QLinearMatMul",    "QuantizeLinear",        NULL};

Test(quantize, node_tests, .timeout = 600) { node_cases_check(ops, false); }
Test(quantize, node_tests_symbolic, .timeout = 600) { node_cases_check(ops, true); }

typedef struct parameters {
  uint32_t rank;
  int64_t dims[2];
  double scale[6], zero[6];
  onnxc_dtype scale_type, zero_type; /* NONE = omitted */
} parameters;

typedef struct linear {
  const char *op;
  onnxc_dtype from, to;
  int64_t dims[2]; /* of x */
  double x[12];
  parameters p;
  one_attribute attributes[3];
  double expected[12];
} linear;

static const linear rows[] = {
    /* ties to even, before the zero point is added */
    {"QuantizeLinear",
     ONNXC_F32,
     ONNXC_I8,
     {1, 8},
     {0.5, 1.5, 2.5, -0.5, -1.5, 3.4999, -3.5, -4.5},
     {0, {0}, {1}, {1}, ONNXC_F32, ONNXC_I8},
     {{0}},
     {1, 3, 3, 1, -1, 4, -3, -3}},
    /* saturation after it */
    {"QuantizeLinear",
     ONNXC_F32,
     ONNXC_I8,
     {1, 8},
     {127.5, 126.4, 1e9, -129, -130, -1e9, INFINITY, -INFINITY},
     {0, {0}, {1}, {2}, ONNXC_F32, ONNXC_I8},
     {{0}},
     {127, 127, 127, -127, -128, -128, 127, -128}},
    {"QuantizeLinear",
     ONNXC_F32,
     ONNXC_U8,
     {1, 6},
     {-1, 0.4, 254.5, 255.5, 256, 1e30},
     {0, {0}, {1}, {0}, ONNXC_F32, ONNXC_DTYPE_NONE},
     {{0}},
     {0, 0, 254, 255, 255, 255}},
    {"QuantizeLinear",
     ONNXC_F32,
     ONNXC_U16,
     {1, 4},
     {-3, 65534, 65536, 12},
     {0, {0}, {2}, {32768}, ONNXC_F32, ONNXC_U16},
     {{0}},
     {32766, 65535, 65535, 32774}},
    {"QuantizeLinear",
     ONNXC_F32,
     ONNXC_I16,
     {1, 4},
     {-70000, 65534, 65536, 12},
     {0, {0}, {2}, {-5}, ONNXC_F32, ONNXC_I16},
     {{0}},
     {-32768, 32762, 32763, 1}},
    {"QuantizeLinear",
     ONNXC_I32,
     ONNXC_U8,
     {1, 4},
     {-7, 7, 300, 2},
     {0, {0}, {2}, {3}, ONNXC_F32, ONNXC_U8},
     {{0}},
     {0, 7, 153, 4}},
    /* along an axis, the default one and others */
    {"QuantizeLinear",
     ONNXC_F32,
     ONNXC_U8,
     {2, 3},
     {1, 2, 3, 4, 5, 6},
     {1, {3}, {1, 2, 4}, {0, 1, 2}, ONNXC_F32, ONNXC_U8},
     {{0}},
     {1, 2, 3, 4, 3, 4}},
    {"QuantizeLinear",
     ONNXC_F32,
     ONNXC_U8,
     {2, 3},
     {1, 2, 3, 4, 5, 6},
     {1, {2}, {1, 2}, {0, 10}, ONNXC_F32, ONNXC_U8},
     {{"axis", 0, {-2}}},
     {1, 2, 3, 12, 12, 13}},
    {"QuantizeLinear",
     ONNXC_F32,
     ONNXC_I8,
     {1, 3},
     {1, 2, 3},
     {1, {1}, {2}, {5}, ONNXC_F32, ONNXC_I8},
     {{0}},
     {5, 6, 7}},
    /* blocks of 2, the last one not full */
    {"QuantizeLinear",
     ONNXC_F32,
     ONNXC_U8,
     {2, 3},
     {1, 2, 3, 4, 5, 6},
     {2, {2, 2}, {1, 2, 4, 8}, {0, 1, 2, 3}, ONNXC_F32, ONNXC_U8},
     {{"block_size", 0, {2}}},
     {1, 2, 3, 3, 3, 4}},
    {"QuantizeLinear",
     ONNXC_F32,
     ONNXC_U8,
     {3, 2},
     {1, 2, 3, 4, 5, 6},
     {2, {2, 2}, {1, 2, 4, 8}, {0}, ONNXC_F32, ONNXC_DTYPE_NONE},
     {{"block_size", 0, {2}}, {"axis", 0, {0}}},
     {1, 1, 3, 2, 1, 1}},
    /* the scale's type is that of the quotient: 1 / 3 is 0.33325 in f16, times 3000 another number than in f32 */
    {"QuantizeLinear",
     ONNXC_F16,
     ONNXC_U16,
     {1, 2},
     {1000, 7},
     {0, {0}, {3}, {0}, ONNXC_F16, ONNXC_U16},
     {{0}},
     {333, 2}},
    {"QuantizeLinear",
     ONNXC_F16,
     ONNXC_U16,
     {1, 2},
     {8200, 7},
     {0, {0}, {3}, {0}, ONNXC_F16, ONNXC_U16},
     {{0}},
     {2734, 2}},
    {"QuantizeLinear",
     ONNXC_F16,
     ONNXC_U16,
     {1, 2},
     {8200, 7},
     {0, {0}, {3}, {0}, ONNXC_F16, ONNXC_U16},
     {{"precision", 0, {1}}},
     {2733, 2}},
    {"QuantizeLinear",
     ONNXC_F32,
     ONNXC_I8,
     {1, 2},
     {-3, 300},
     {0, {0}, {1}, {0}, ONNXC_F32, ONNXC_DTYPE_NONE},
     {{"output_dtype", 0, {ONNXC_I8}}},
     {-3, 127}},
    {"DequantizeLinear",
     ONNXC_U8,
     ONNXC_F32,
     {1, 3},
     {0, 128, 255},
     {0, {0}, {0.5}, {128}, ONNXC_F32, ONNXC_U8},
     {{0}},
     {-64, 0, 63.5}},
    {"DequantizeLinear",
     ONNXC_I8,
     ONNXC_F32,
     {1, 3},
     {-128, 0, 127},
     {0, {0}, {0.5}, {127}, ONNXC_F32, ONNXC_I8},
     {{0}},
     {-127.5, -63.5, 0}},
    {"DequantizeLinear",
     ONNXC_U16,
     ONNXC_F32,
     {1, 3},
     {0, 32768, 65535},
     {0, {0}, {0.5}, {65535}, ONNXC_F32, ONNXC_U16},
     {{0}},
     {-32767.5, -16383.5, 0}},
    {"DequantizeLinear",
     ONNXC_I32,
     ONNXC_F32,
     {1, 3},
     {-100000, 0, 1 << 30},
     {0, {0}, {0.5}, {0}, ONNXC_F32, ONNXC_DTYPE_NONE},
     {{0}},
     {-50000, 0, 1 << 29}},
    {"DequantizeLinear",
     ONNXC_I8,
     ONNXC_BF16,
     {2, 3},
     {1, 2, 3, 4, 5, 6},
     {1, {3}, {1, 2, 4}, {0, 1, 2}, ONNXC_BF16, ONNXC_I8},
     {{0}},
     {1, 2, 4, 4, 8, 16}},
    {"DequantizeLinear",
     ONNXC_I8,
     ONNXC_F32,
     {2, 3},
     {1, 2, 3, 4, 5, 6},
     {2, {2, 2}, {1, 2, 4, 8}, {0}, ONNXC_F16, ONNXC_DTYPE_NONE},
     {{"block_size", 0, {2}}, {"output_dtype", 0, {ONNXC_F32}}},
     {1, 2, 6, 16, 20, 48}},
};

static one_node make_node(const linear *row, bool constant, bool symbolic) {
  const parameters *p = &row->p;
  one_node n = {.op = row->op, .opset = 23, .num_operands = 3, .symbolic = symbolic};
  n.operands[0].array = one_array(row->from, 2, row->dims, row->x);
  n.operands[1] = (one_operand){one_array(p->scale_type, p->rank, p->dims, p->scale), constant};
  if (p->zero_type)
    n.operands[2] = (one_operand){one_array(p->zero_type, p->rank, p->dims, p->zero), constant};
  memcpy(n.attributes, row->attributes, sizeof row->attributes);
  return n;
}

Test(quantize, linear) {
  for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
    for (int variant = 0; variant < 4; variant++) {
      const linear *row = &rows[k];
      one_node n = make_node(row, variant & 1, variant & 2);
      onnxc_status status = one_node_run(&n);
      cr_assert_eq(status, ONNXC_OK, "row %zu: %s", k, n.diag.text);
      cr_expect_eq(n.outputs[0].dtype, row->to, "row %zu", k);
      for (int64_t i = 0; i < row->dims[0] * row->dims[1]; i++)
        cr_expect_eq(one_number(&n.outputs[0], i), row->expected[i], "row %zu, element %d: %g, not %g", k, (int)i,
                     one_number(&n.outputs[0], i), row->expected[i]);
      one_node_free(&n);
    }
}

/* All zeros have a scale that is a number, and numbers of one sign reach to 0. */
Test(quantize, dynamic) {
  static const struct {
    double x[4];
    float scale;
    double zero, y[4];
  } cases[] = {{{0, 0, 0, 0}, 1 / 255.0f, 0, {0, 0, 0, 0}},
               {{51, 25.5, 102, 255}, 1, 0, {51, 26, 102, 255}},
               {{-51, -25.5, -102, -255}, 1, 255, {204, 229, 153, 0}}};
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    one_node n = {.op = "DynamicQuantizeLinear", .opset = 11, .num_operands = 1, .num_outputs = 3};
    n.operands[0].array = one_array(ONNXC_F32, 2, (int64_t[]){2, 2}, cases[k].x);
    cr_assert_eq(one_node_run(&n), ONNXC_OK, "%s", n.diag.text);
    for (int i = 0; i < 4; i++)
      cr_expect_eq(one_number(&n.outputs[0], i), cases[k].y[i], "case %zu, element %d: %g", k, i,
                   one_number(&n.outputs[0], i));
    cr_expect_eq((float)one_number(&n.outputs[1], 0), cases[k].scale, "case %zu", k);
    cr_expect_eq(one_number(&n.outputs[2], 0), cases[k].zero, "case %zu", k);
    one_node_free(&n);
  }
}

Test(quantize, errors) {
  static const struct {
    linear row;
    onnxc_status status;
    const char *message;
  } bad[] = {
      {{"QuantizeLinear", ONNXC_F32, 0, {1, 2}, {0}, {0, {0}, {1}, {0}, ONNXC_F32, ONNXC_I32}, {{0}}, {0}},
       ONNXC_UNSUPPORTED,
       "quantization to i32"},
      {{"QuantizeLinear",
        ONNXC_F32,
        0,
        {1, 2},
        {0},
        {0, {0}, {1}, {0}, ONNXC_F32, ONNXC_I8},
        {{"output_dtype", 0, {ONNXC_U8}}},
        {0}},
       ONNXC_BAD_INPUT,
       "output_dtype is not the zero point's type"},
      {{"QuantizeLinear",
        ONNXC_F32,
        0,
        {1, 2},
        {0},
        {0, {0}, {1}, {0}, ONNXC_F32, ONNXC_I8},
        {{"precision", 0, {ONNXC_F64}}},
        {0}},
       ONNXC_UNSUPPORTED,
       "precision f64"},
      {{"QuantizeLinear", ONNXC_F32, 0, {2, 3}, {0}, {1, {2}, {1, 1}, {0}, ONNXC_F32, ONNXC_I8}, {{0}}, {0}},
       ONNXC_BAD_INPUT,
       "3"},
      {{"QuantizeLinear", ONNXC_F32, 0, {2, 3}, {0}, {2, {2, 2}, {1, 1, 1, 1}, {0}, ONNXC_F32, ONNXC_I8}, {{0}}, {0}},
       ONNXC_BAD_INPUT,
       "of rank 2 without block_size"},
      {{"QuantizeLinear",
        ONNXC_F32,
        0,
        {2, 3},
        {0},
        {1, {3}, {1, 1, 1}, {0}, ONNXC_F32, ONNXC_I8},
        {{"block_size", 0, {2}}},
        {0}},
       ONNXC_BAD_INPUT,
       "of rank 1 with block_size 2"},
      {{"QuantizeLinear",
        ONNXC_F32,
        0,
        {2, 3},
        {0},
        {2, {2, 2}, {1, 1, 1, 1}, {0}, ONNXC_F32, ONNXC_I8},
        {{"block_size", 0, {1}}},
        {0}},
       ONNXC_BAD_INPUT,
       "3"},
      {{"QuantizeLinear",
        ONNXC_F32,
        0,
        {2, 3},
        {0},
        {1, {3}, {1, 1, 1}, {0}, ONNXC_F32, ONNXC_I8},
        {{"axis", 0, {2}}},
        {0}},
       ONNXC_BAD_INPUT,
       "axis"},
      {{"DequantizeLinear", ONNXC_I64, 0, {1, 2}, {0}, {0, {0}, {1}, {0}, ONNXC_F32, ONNXC_DTYPE_NONE}, {{0}}, {0}},
       ONNXC_UNSUPPORTED,
       "dequantization of i64"},
      {{"DequantizeLinear", ONNXC_I8, 0, {1, 2}, {0}, {0, {0}, {1}, {0}, ONNXC_F32, ONNXC_U8}, {{0}}, {0}},
       ONNXC_BAD_INPUT,
       "a zero point of type u8 for i8"},
      {{"DequantizeLinear", ONNXC_I8, 0, {1, 2}, {0}, {0, {0}, {1}, {0}, ONNXC_I32, ONNXC_I8}, {{0}}, {0}},
       ONNXC_UNSUPPORTED,
       "input 1 of type i32"},
  };
  for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
    one_node n = make_node(&bad[k].row, false, false);
    cr_expect_eq(one_node_run(&n), bad[k].status, "row %zu: %s", k, n.diag.text);
    cr_expect(strstr(n.diag.text, bad[k].message), "row %zu: %s", k, n.diag.text);
    one_node_free(&n);
  }
}
