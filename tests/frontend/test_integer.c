/* test_integer.c -- MatMulInteger, QLinearMatMul, ConvInteger and QLinearConv against plain loops: zero points of every
 * granularity, known or not, pads, groups, sums that wrap; and the form of the products, which code for bytes needs.
 */
#include "one_node.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- numbers ---- */

static uint32_t seed = 1;
static int random_below(int n) {
  seed = seed * 1664525u + 1013904223u;
  return (int)((seed >> 8) % (uint32_t)n);
}

/* Bytes of any value. */
static onnxc_array random_bytes(onnxc_dtype dtype, uint32_t rank, const int64_t *dims) {
  onnxc_array array = {.dtype = dtype, .rank = rank};
  for (uint32_t d = 0; d < rank; d++)
    array.dims[d] = dims[d];
  size_t count = (size_t)onnxc_array_count(&array);
  unsigned char *data = array.data = one_memory(count);
  for (size_t i = 0; i < count; i++)
    data[i] = (unsigned char)random_below(256);
  return array;
}

static onnxc_array random_scales(uint32_t rank, const int64_t *dims) {
  double numbers[64];
  for (int k = 0; k < 64; k++)
    numbers[k] = ldexp(1 + random_below(1000), -12);
  return one_array(ONNXC_F32, rank, dims, numbers);
}

static onnxc_array scalar(onnxc_dtype dtype, double number) { return one_array(dtype, 0, NULL, &number); }

static int64_t whole(const onnxc_array *array, int64_t element) {
  return array->dtype ? (int64_t)one_number(array, element) : 0;
}

/* What of a scale or zero point belongs to index k: a scalar or a vector of one element belongs to all. */
static int64_t pick(const onnxc_array *array, int64_t k) {
  return array->dtype && onnxc_array_count(array) > 1 ? k : 0;
}

static int64_t wrapped(uint64_t sum) { return (int32_t)(uint32_t)sum; }

/* saturate(round(sum * a * b / y) + zero), as f32 has it. */
static int64_t requantized(int64_t sum, double a, double b, double y, const onnxc_array *zero) {
  float multiplier = (float)a * (float)b / (float)y, product = (float)sum * multiplier;
  double number = nearbyint((double)product) + (double)whole(zero, 0);
  bool is_signed = zero->dtype == ONNXC_I8;
  return (int64_t)fmax(is_signed ? -128 : 0, fmin(is_signed ? 127 : 255, number));
}

/* ---- matrix products ---- */

typedef struct product {
  uint32_t a_rank, b_rank;
  int64_t a[3], b[3];
  int a_zero_rank, b_zero_rank; /* -1 = omitted */
  int64_t a_zero[3], b_zero[3];
} product;

static const product products[] = {
    {2, 2, {3, 5}, {5, 4}, -1, -1, {0}, {0}},
    {2, 2, {3, 5}, {5, 4}, 0, -1, {0}, {0}},
    {2, 2, {3, 5}, {5, 4}, -1, 0, {0}, {0}},
    {2, 2, {3, 5}, {5, 4}, 0, 0, {0}, {0}},
    {2, 2, {3, 5}, {5, 4}, 1, 1, {1}, {1}},
    {2, 2, {3, 5}, {5, 4}, 1, 1, {3}, {4}},
    {2, 2, {3, 1}, {1, 4}, 1, 1, {3}, {4}},
    {3, 3, {2, 3, 5}, {2, 5, 4}, 3, 3, {2, 3, 1}, {2, 1, 4}},
    {3, 2, {2, 3, 5}, {5, 4}, 3, 1, {2, 3, 1}, {4}},
    {2, 3, {3, 5}, {2, 5, 4}, 1, 3, {3}, {2, 1, 4}},
    {1, 2, {5}, {5, 4}, 0, 1, {0}, {4}},
    {2, 1, {3, 5}, {5}, 1, 0, {3}, {0}},
    {1, 1, {5}, {5}, 1, 1, {1}, {1}},
    {3, 1, {2, 3, 5}, {5}, 0, 0, {0}, {0}},
    {1, 3, {5}, {2, 5, 4}, 0, 0, {0}, {0}},
};

/* The operand's batches, rows and columns. */
static void extents_of(const onnxc_array *array, bool is_a, int64_t *batch, int64_t *rows, int64_t *columns) {
  uint32_t r = array->rank;
  *batch = r == 3 ? array->dims[0] : 1;
  *rows = r > 1 ? array->dims[r - 2] : is_a ? 1 : array->dims[0];
  *columns = r > 1 ? array->dims[r - 1] : is_a ? array->dims[0] : 1;
}

/* The sum for one element of the result; k is the sum's length. */
static int64_t product_sum(const onnxc_array *a, const onnxc_array *b, const onnxc_array *a_zero,
                           const onnxc_array *b_zero, int64_t batch, int64_t m, int64_t n) {
  int64_t a_batch, rows, depth, b_batch, b_rows, columns;
  extents_of(a, true, &a_batch, &rows, &depth);
  extents_of(b, false, &b_batch, &b_rows, &columns);
  int64_t a_at = (a_batch > 1 ? batch : 0) * rows, b_at = b_batch > 1 ? batch : 0;
  int64_t za = whole(a_zero, pick(a_zero, a_zero->rank == 3 ? a_at + m : m));
  int64_t zb = whole(b_zero, pick(b_zero, b_zero->rank == 3 ? b_at * columns + n : n));
  uint64_t sum = 0;
  for (int64_t k = 0; k < depth; k++)
    sum += (uint64_t)((whole(a, (a_at + m) * depth + k) - za) * (whole(b, (b_at * depth + k) * columns + n) - zb));
  return wrapped(sum);
}

/* Checks out0; with scales and y_zero (operands 1, 4, 6, 7) it is QLinearMatMul's. */
static void check_product(one_node *n, const onnxc_array *a, const onnxc_array *b, const onnxc_array *a_zero,
                          const onnxc_array *b_zero, bool scaled, const char *what) {
  int64_t a_batch, rows, depth, b_batch, b_rows, columns;
  onnxc_status status = one_node_run(n);
  cr_assert_eq(status, ONNXC_OK, "%s: %s", what, n->diag.text);
  extents_of(a, true, &a_batch, &rows, &depth);
  extents_of(b, false, &b_batch, &b_rows, &columns);
  int64_t batches = a_batch > b_batch ? a_batch : b_batch;
  cr_assert_eq(onnxc_array_count(&n->outputs[0]), batches * rows * columns, "%s", what);
  for (int64_t i = 0; i < batches * rows * columns; i++) {
    int64_t row = i / columns % rows, column = i % columns;
    int64_t expected = product_sum(a, b, a_zero, b_zero, i / columns / rows, row, column);
    const one_operand *o = n->operands;
    if (scaled)
      expected =
          requantized(expected, one_number(&o[1].array, pick(&o[1].array, row)),
                      one_number(&o[4].array, pick(&o[4].array, column)), one_number(&o[6].array, 0), &o[7].array);
    cr_assert_eq(whole(&n->outputs[0], i), expected, "%s: element %lld is %lld, not %lld in\n%s", what, (long long)i,
                 (long long)whole(&n->outputs[0], i), (long long)expected, n->text);
  }
  one_node_free(n);
}

/* The variants of a case: types of both factors, what is constant, symbolic dims. */
enum { VARIANTS = 32 };
static onnxc_dtype variant_type(int variant, int bit) { return variant >> bit & 1 ? ONNXC_I8 : ONNXC_U8; }

Test(integer, matmul_integer) {
  for (size_t row = 0; row < sizeof products / sizeof *products; row++)
    for (int v = 0; v < VARIANTS; v++) {
      const product *p = &products[row];
      one_node n = {.op = "MatMulInteger", .opset = 10, .num_operands = 4, .symbolic = v >> 4 & 1};
      n.operands[0].array = random_bytes(variant_type(v, 0), p->a_rank, p->a);
      n.operands[1].array = random_bytes(variant_type(v, 1), p->b_rank, p->b);
      if (p->a_zero_rank >= 0)
        n.operands[2].array = random_bytes(variant_type(v, 0), (uint32_t)p->a_zero_rank, p->a_zero);
      if (p->b_zero_rank >= 0)
        n.operands[3].array = random_bytes(variant_type(v, 1), (uint32_t)p->b_zero_rank, p->b_zero);
      n.operands[1].constant = v >> 2 & 1;
      n.operands[2].constant = n.operands[3].constant = v >> 3 & 1;
      char what[64];
      snprintf(what, sizeof what, "row %zu, variant %d", row, v);
      check_product(&n, &n.operands[0].array, &n.operands[1].array, &n.operands[2].array, &n.operands[3].array, false,
                    what);
    }
}

Test(integer, qlinear_matmul) {
  static const struct {
    int a_rank, b_rank; /* of the scales */
    int64_t a, b;
  } rows[] = {{0, 0, 0, 0}, {1, 1, 1, 1}, {0, 1, 0, 4}, {1, 0, 3, 0}, {1, 1, 3, 4}};
  for (size_t row = 0; row < sizeof rows / sizeof *rows; row++)
    for (int v = 0; v < VARIANTS; v++) {
      one_node n = {.op = "QLinearMatMul", .opset = 10, .num_operands = 8, .symbolic = v >> 4 & 1};
      n.operands[0].array = random_bytes(variant_type(v, 0), 2, (int64_t[]){3, 5});
      n.operands[1].array = random_scales((uint32_t)rows[row].a_rank, &rows[row].a);
      n.operands[2].array = random_bytes(variant_type(v, 0), (uint32_t)rows[row].a_rank, &rows[row].a);
      n.operands[3].array = random_bytes(variant_type(v, 1), 2, (int64_t[]){5, 4});
      n.operands[4].array = random_scales((uint32_t)rows[row].b_rank, &rows[row].b);
      n.operands[5].array = random_bytes(variant_type(v, 1), (uint32_t)rows[row].b_rank, &rows[row].b);
      n.operands[6].array = scalar(ONNXC_F32, 3.25);
      n.operands[7].array = random_bytes(variant_type(v, 2), 0, NULL);
      for (int k = 1; k < 8; k++)
        n.operands[k].constant = v >> 3 & 1;
      char what[64];
      snprintf(what, sizeof what, "row %zu, variant %d", row, v);
      check_product(&n, &n.operands[0].array, &n.operands[3].array, &n.operands[2].array, &n.operands[5].array, true,
                    what);
    }
}

/* The raw sum of 255 * -128 leaves 32 bits; with the zero point it comes back, without it wraps. */
Test(integer, sums_wrap) {
  enum { DEPTH = 70000 };
  static double a[DEPTH], b[DEPTH];
  for (int k = 0; k < DEPTH; k++)
    a[k] = 255, b[k] = -128;
  for (int with_zero = 0; with_zero < 2; with_zero++) {
    one_node n = {.op = "MatMulInteger", .opset = 10, .num_operands = 2 + with_zero};
    n.operands[0].array = one_array(ONNXC_U8, 1, (int64_t[]){DEPTH}, a);
    n.operands[1].array = one_array(ONNXC_I8, 1, (int64_t[]){DEPTH}, b);
    n.operands[2].array = scalar(ONNXC_U8, 250);
    int64_t sum = -(int64_t)128 * DEPTH * (with_zero ? 5 : 255);
    cr_assert_eq(one_node_run(&n), ONNXC_OK, "%s", n.diag.text);
    cr_expect_eq(whole(&n.outputs[0], 0), wrapped((uint64_t)sum));
    cr_expect_eq(wrapped((uint64_t)sum) == sum, with_zero == 1);
    one_node_free(&n);
  }
}

/* ---- convolutions ---- */

typedef struct convolution {
  int64_t x[4], w[4];
  int64_t group, stride, dilation, pads[4]; /* top, left, bottom, right */
} convolution;

static const convolution convolutions[] = {
    {{1, 2, 5, 4}, {3, 2, 2, 3}, 1, 1, 1, {0, 0, 0, 0}}, {{2, 2, 5, 4}, {3, 2, 3, 3}, 1, 1, 1, {1, 1, 1, 1}},
    {{1, 3, 6, 7}, {2, 3, 3, 2}, 1, 2, 1, {1, 0, 2, 1}}, {{1, 1, 7, 7}, {2, 1, 2, 2}, 1, 1, 2, {2, 1, 0, 1}},
    {{1, 4, 4, 4}, {6, 2, 3, 3}, 2, 1, 1, {1, 1, 1, 1}}, {{1, 3, 5, 5}, {3, 1, 3, 3}, 3, 1, 1, {1, 1, 1, 1}},
    {{1, 4, 3, 3}, {2, 4, 1, 1}, 1, 1, 1, {0, 0, 0, 0}}, {{1, 2, 4, 4}, {4, 1, 1, 1}, 2, 1, 1, {1, 0, 0, 1}},
};

static int64_t conv_sum(const convolution *c, const onnxc_array *x, const onnxc_array *w, const onnxc_array *x_zero,
                        const onnxc_array *w_zero, const int64_t *at) {
  int64_t zx = whole(x_zero, 0), zw = whole(w_zero, pick(w_zero, at[1])), per_group = c->w[1];
  uint64_t sum = 0;
  for (int64_t i = 0; i < per_group; i++)
    for (int64_t h = 0; h < c->w[2]; h++)
      for (int64_t v = 0; v < c->w[3]; v++) {
        int64_t channel = at[1] / (c->w[0] / c->group) * per_group + i;
        int64_t y = at[2] * c->stride + h * c->dilation - c->pads[0],
                z = at[3] * c->stride + v * c->dilation - c->pads[1];
        if (y < 0 || z < 0 || y >= c->x[2] || z >= c->x[3])
          continue;
        int64_t number = whole(x, ((at[0] * c->x[1] + channel) * c->x[2] + y) * c->x[3] + z) - zx;
        int64_t weight = whole(w, ((at[1] * per_group + i) * c->w[2] + h) * c->w[3] + v) - zw;
        sum += (uint64_t)(number * weight);
      }
  return wrapped(sum);
}

/* Operand numbers; those of ConvInteger, or with scales those of QLinearConv. */
typedef struct conv_operands {
  int x, x_zero, w, w_zero;
  bool scaled;
} conv_operands;

static void check_convolution(one_node *n, const convolution *c, const conv_operands *k, const char *what) {
  const one_operand *o = n->operands;
  one_attribute attributes[] = {{"group", 0, {c->group}},
                                {"strides", 2, {c->stride, c->stride}},
                                {"dilations", 2, {c->dilation, c->dilation}},
                                {"pads", 4, {c->pads[0], c->pads[1], c->pads[2], c->pads[3]}}};
  memcpy(n->attributes, attributes, sizeof attributes);
  onnxc_status status = one_node_run(n);
  cr_assert_eq(status, ONNXC_OK, "%s: %s", what, n->diag.text);
  const onnxc_array *out = &n->outputs[0];
  for (int s = 0; s < 2; s++)
    cr_assert_eq(out->dims[s + 2],
                 (c->x[s + 2] + c->pads[s] + c->pads[s + 2] - (c->w[s + 2] - 1) * c->dilation - 1) / c->stride + 1);
  for (int64_t i = 0; i < onnxc_array_count(out); i++) {
    int64_t at[4], rest = i;
    for (int d = 3; d >= 0; rest /= out->dims[d], d--)
      at[d] = rest % out->dims[d];
    int64_t sum = conv_sum(c, &o[k->x].array, &o[k->w].array, &o[k->x_zero].array, &o[k->w_zero].array, at);
    if (k->scaled)
      sum = requantized(wrapped((uint64_t)(sum + whole(&o[8].array, at[1]))), one_number(&o[1].array, 0),
                        one_number(&o[4].array, pick(&o[4].array, at[1])), one_number(&o[6].array, 0), &o[7].array);
    cr_assert_eq(whole(out, i), sum, "%s: element %lld is %lld, not %lld in\n%s", what, (long long)i,
                 (long long)whole(out, i), (long long)sum, n->text);
  }
  one_node_free(n);
}

Test(integer, conv_integer) {
  for (size_t row = 0; row < sizeof convolutions / sizeof *convolutions; row++)
    for (int zeros = 0; zeros < 6; zeros++) /* none, x's, w's, both; w's a channel, with x's or without */
      for (int v = 0; v < VARIANTS; v++) {
        const convolution *c = &convolutions[row];
        one_node n = {.op = "ConvInteger", .opset = 10, .num_operands = 4, .symbolic = v >> 4 & 1};
        n.operands[0].array = random_bytes(variant_type(v, 0), 4, c->x);
        n.operands[1].array = random_bytes(variant_type(v, 1), 4, c->w);
        if (zeros & 1)
          n.operands[2].array = random_bytes(variant_type(v, 0), 0, NULL);
        if (zeros >= 2)
          n.operands[3].array = random_bytes(variant_type(v, 1), zeros >= 4, c->w);
        n.operands[1].constant = v >> 2 & 1;
        n.operands[2].constant = n.operands[3].constant = v >> 3 & 1;
        char what[64];
        snprintf(what, sizeof what, "row %zu, zero points %d, variant %d", row, zeros, v);
        check_convolution(&n, c, &(conv_operands){0, 2, 1, 3, false}, what);
      }
}

Test(integer, qlinear_conv) {
  for (size_t row = 0; row < sizeof convolutions / sizeof *convolutions; row++)
    for (int v = 0; v < VARIANTS; v++) {
      const convolution *c = &convolutions[row];
      bool channels = v >> 2 & 1;
      double bias[8];
      for (int k = 0; k < 8; k++)
        bias[k] = random_below(20000) - 10000;
      one_node n = {.op = "QLinearConv", .opset = 10, .num_operands = 9, .symbolic = v >> 4 & 1};
      n.operands[0].array = random_bytes(variant_type(v, 0), 4, c->x);
      n.operands[1].array = random_scales(1, (int64_t[]){1});
      n.operands[2].array = random_bytes(variant_type(v, 0), 1, (int64_t[]){1});
      n.operands[3].array = random_bytes(variant_type(v, 1), 4, c->w);
      n.operands[4].array = random_scales(channels, c->w);
      n.operands[5].array = random_bytes(variant_type(v, 1), channels, c->w);
      n.operands[6].array = scalar(ONNXC_F32, 3.25);
      n.operands[7].array = random_bytes(variant_type(v, 1), 0, NULL);
      n.operands[8].array = one_array(ONNXC_I32, 1, c->w, bias);
      for (int k = 1; k < 9; k++)
        n.operands[k].constant = v >> 3 & 1;
      char what[64];
      snprintf(what, sizeof what, "row %zu, variant %d", row, v);
      check_convolution(&n, c, &(conv_operands){0, 2, 3, 5, true}, what);
    }
}

/* ---- the form ---- */

static int count_of(const char *text, const char *what) {
  int count = 0;
  for (; (text = strstr(text, what)); text++)
    count++;
  return count;
}

/* A product of a and b of these zero points (negative: an input of the model). */
static void check_form(double a_zero, double b_zero, int computes) {
  static const char form[] = "i32 add mul(cast.i32($0[i0, r0]), cast.i32($1[r0, i1])) init 0 -> acc0 : i32[3, 4]";
  one_node n = {.op = "MatMulInteger", .opset = 10, .num_operands = 4};
  n.operands[0].array = random_bytes(ONNXC_U8, 2, (int64_t[]){3, 5});
  n.operands[1] = (one_operand){random_bytes(ONNXC_I8, 2, (int64_t[]){5, 4}), true};
  n.operands[2] = (one_operand){scalar(ONNXC_U8, fabs(a_zero)), a_zero >= 0};
  n.operands[3] =
      (one_operand){one_array(ONNXC_I8, 1, (int64_t[]){4}, (double[]){b_zero, b_zero, b_zero, b_zero}), true};
  cr_assert_eq(one_node_run(&n), ONNXC_OK, "%s", n.diag.text);
  cr_expect(strstr(n.text, form), "expected\n  %s\nin\n%s", form, n.text);
  cr_expect_eq(count_of(n.text, "= compute("), computes, "expected %d computes in\n%s", computes, n.text);
  one_node_free(&n);
}

Test(integer, product_form) {
  check_form(0, 0, 1);  /* the product alone */
  check_form(7, 0, 4);  /* b's sums, times a's zero point; subtracted */
  check_form(-7, 0, 4); /* the same */
  check_form(0, 7, 4);  /* a's sums, times b's zero points; subtracted */
  check_form(7, 7, 7);
}

/* Pads read 0, or the zero point where that is another number. */
static void check_pads(double zero, const char *expected) {
  one_node n = {.op = "ConvInteger", .opset = 10, .num_operands = 3, .attributes = {{"pads", 2, {1, 0}}}};
  n.operands[0].array = random_bytes(ONNXC_U8, 3, (int64_t[]){1, 2, 5});
  n.operands[1] = (one_operand){random_bytes(ONNXC_I8, 3, (int64_t[]){4, 2, 3}), true};
  n.operands[2] = (one_operand){scalar(ONNXC_U8, zero), true};
  cr_assert_eq(one_node_run(&n), ONNXC_OK, "%s", n.diag.text);
  cr_expect(strstr(n.text, expected), "expected\n  %s\nin\n%s", expected, n.text);
  one_node_free(&n);
}

Test(integer, pads_form) {
  check_pads(0, "mul(cast.i32(select(le(0, add(add(i2, r1), -1)), $0[i0, r0, add(add(i2, r1), -1)], 0)), "
                "cast.i32($1[i1, r0, r1]))");
  check_pads(9, "mul(cast.i32(select(le(0, add(add(i2, r1), -1)), $0[i0, r0, add(add(i2, r1), -1)], 9)), "
                "cast.i32($1[i1, r0, r1]))");
}

/* ---- errors ---- */

Test(integer, errors) {
  static const struct {
    const char *op, *message;
    int64_t zero_dims[3];
    onnxc_dtype a, zero;
    uint32_t zero_rank;
    onnxc_status status;
  } rows[] = {
      {"MatMulInteger", "input 0 of type f32", {0}, ONNXC_F32, ONNXC_U8, 0, ONNXC_UNSUPPORTED},
      {"MatMulInteger", "a zero point of type i8 for u8", {0}, ONNXC_U8, ONNXC_I8, 0, ONNXC_BAD_INPUT},
      {"MatMulInteger", "dims 3 and 2 don't broadcast", {2}, ONNXC_U8, ONNXC_U8, 1, ONNXC_BAD_INPUT},
      {"MatMulInteger", "dims 4 and 3 don't broadcast", {3, 3}, ONNXC_U8, ONNXC_U8, 2, ONNXC_BAD_INPUT},
      {"MatMulInteger", "rank 3, not at most 2", {1, 3, 1}, ONNXC_U8, ONNXC_U8, 3, ONNXC_BAD_INPUT},
      {"ConvInteger", "must agree", {2}, ONNXC_U8, ONNXC_U8, 1, ONNXC_BAD_INPUT},
  };
  for (size_t row = 0; row < sizeof rows / sizeof *rows; row++) {
    static const double numbers[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    bool conv = strcmp(rows[row].op, "ConvInteger") == 0;
    one_node n = {.op = rows[row].op, .opset = 10, .num_operands = 3};
    n.operands[0].array =
        one_array(rows[row].a, conv ? 3 : 2, conv ? (int64_t[]){1, 3, 5} : (int64_t[]){3, 5}, numbers);
    n.operands[1].array = random_bytes(ONNXC_I8, conv ? 3 : 2, conv ? (int64_t[]){1, 3, 3} : (int64_t[]){5, 4});
    n.operands[2].array = one_array(rows[row].zero, rows[row].zero_rank, rows[row].zero_dims, numbers);
    cr_expect_eq(one_node_run(&n), rows[row].status, "row %zu", row);
    cr_expect(strstr(n.diag.text, rows[row].message), "row %zu: %s", row, n.diag.text);
    one_node_free(&n);
  }
}
