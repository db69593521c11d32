/* test_recurrent.c -- LSTM, GRU and RNN: ONNX's node tests, and random layers of every kind against plain loops in
 * double, one sequence at a time.
 */
#include "node_case.h"
#include "one_node.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const ops[] = {"GRU", "LSTM", "RNN", NULL};

Test(recurrent, node_tests, .timeout = 600) { node_cases_check(ops, false); }

/* ---- random layers ---- */

static uint32_t seed = 1;
static int random_below(int n) {
  seed = seed * 1664525u + 1013904223u;
  return (int)((seed >> 8) % (uint32_t)n);
}
static bool chance(int in) { return random_below(in) == 0; }

enum { X, W, R, B, LENGTHS, H0, C0, P, INPUTS, MAX_HIDDEN = 20 };
enum { RNN, GRU, LSTM };
static const char *const names[] = {"RNN", "GRU", "LSTM"};
static const int gates_of[] = {1, 3, 4}, functions_of[] = {1, 2, 3};

typedef enum kind {
  SIGMOID,
  TANH,
  RELU,
  AFFINE,
  LEAKY_RELU,
  THRESHOLDED_RELU,
  SCALED_TANH,
  HARD_SIGMOID,
  ELU,
  SOFTSIGN,
  SOFTPLUS,
  KINDS
} kind;
typedef struct function {
  const char *name;
  double alpha, beta; /* as a layer has them; here the defaults */
  kind kind;
  bool has_alpha, has_beta;
} function;
static const function functions[KINDS] = {
    {"Sigmoid", 0, 0, SIGMOID, false, false},
    {"Tanh", 0, 0, TANH, false, false},
    {"Relu", 0, 0, RELU, false, false},
    {"Affine", 1, 0, AFFINE, true, true},
    {"LeakyRelu", 0.01, 0, LEAKY_RELU, true, false},
    {"ThresholdedRelu", 1, 0, THRESHOLDED_RELU, true, false},
    {"ScaledTanh", 1, 1, SCALED_TANH, true, true},
    {"HardSigmoid", 0.2, 0.5, HARD_SIGMOID, true, true},
    {"Elu", 1, 0, ELU, true, false},
    {"softsign", 0, 0, SOFTSIGN, false, false}, /* in any case of letters */
    {"Softplus", 0, 0, SOFTPLUS, false, false},
};

typedef struct layer {
  int op, directions, steps, batch, width, hidden, gates;
  bool backward, batch_first, input_forget, linear_before_reset;
  double clip;
  function f[2][3];
  one_node node;
} layer;

static double apply(const function *f, double x) {
  switch (f->kind) {
  case SIGMOID: return 1 / (1 + exp(-x));
  case TANH: return tanh(x);
  case RELU: return fmax(x, 0);
  case AFFINE: return f->alpha * x + f->beta;
  case LEAKY_RELU: return x < 0 ? f->alpha * x : x;
  case THRESHOLDED_RELU: return x > f->alpha ? x : 0;
  case SCALED_TANH: return f->alpha * tanh(f->beta * x);
  case HARD_SIGMOID: return fmax(0, fmin(1, f->alpha * x + f->beta));
  case ELU: return x < 0 ? f->alpha * expm1(x) : x;
  case SOFTSIGN: return x / (1 + fabs(x));
  case SOFTPLUS: return log1p(exp(x));
  case KINDS: break;
  }
  return NAN;
}

static double at(const layer *l, int operand, int64_t element) {
  const onnxc_array *array = &l->node.operands[operand].array;
  return array->dtype ? one_number(array, element) : 0;
}

static double gate(const layer *l, int d, int which, double x) {
  return apply(&l->f[d][which], l->clip > 0 ? fmax(-l->clip, fmin(l->clip, x)) : x);
}

/* Number n of what belongs to direction d in B or P, of which each has so many. */
static double parameter(const layer *l, int operand, int d, int n, int each) {
  return at(l, operand, (int64_t)d * each * l->hidden + n);
}

static double recurrent(const layer *l, int d, int row, const double *h) {
  double sum = 0;
  for (int k = 0; k < l->hidden; k++)
    sum += at(l, R, ((int64_t)d * l->gates * l->hidden + row) * l->hidden + k) * h[k];
  return sum;
}

/* One step of one sequence: the states are replaced. */
static void step(const layer *l, int d, int time, int b, double *h, double *c) {
  int H = l->hidden, G = l->gates;
  double x[4 * MAX_HIDDEN] = {0}, sum[4 * MAX_HIDDEN] = {0}, bias[4 * MAX_HIDDEN] = {0}, reset[MAX_HIDDEN] = {0};
  double next[MAX_HIDDEN];
  for (int row = 0; row < G * H; row++) {
    int64_t from = l->batch_first ? b * l->steps + time : time * l->batch + b;
    x[row] = parameter(l, B, d, row, 2 * G);
    for (int k = 0; k < l->width; k++)
      x[row] += at(l, X, from * l->width + k) * at(l, W, ((int64_t)d * G * H + row) * l->width + k);
    bias[row] = parameter(l, B, d, G * H + row, 2 * G);
    sum[row] = x[row] + recurrent(l, d, row, h) + bias[row];
  }
  for (int n = 0; n < H && l->op == GRU; n++)
    reset[n] = gate(l, d, 0, sum[H + n]) * h[n];
  for (int n = 0; n < H; n++) {
    if (l->op == RNN) {
      next[n] = gate(l, d, 0, sum[n]);
    } else if (l->op == GRU) {
      double z = gate(l, d, 0, sum[n]), r = gate(l, d, 0, sum[H + n]);
      double other = l->linear_before_reset ? r * (recurrent(l, d, 2 * H + n, h) + bias[2 * H + n])
                                            : recurrent(l, d, 2 * H + n, reset) + bias[2 * H + n];
      next[n] = (1 - z) * gate(l, d, 1, x[2 * H + n] + other) + z * h[n];
    } else {
      double i = gate(l, d, 0, sum[n] + parameter(l, P, d, n, 3) * c[n]);
      double f = gate(l, d, 0, sum[2 * H + n] + parameter(l, P, d, 2 * H + n, 3) * c[n]);
      c[n] = (l->input_forget ? 1 - i : f) * c[n] + i * gate(l, d, 1, sum[3 * H + n]);
      next[n] = gate(l, d, 0, sum[H + n] + parameter(l, P, d, H + n, 3) * c[n]) * apply(&l->f[d][2], c[n]);
    }
  }
  memcpy(h, next, sizeof(double) * (size_t)H);
}

/* Where the layer's Y, or a state, has the first number of this direction, sequence and step. */
static int64_t place(const layer *l, int d, int b, int time) {
  int64_t row = l->batch_first ? (b * l->steps + time) * l->directions + d : (time * l->directions + d) * l->batch + b;
  return row * l->hidden;
}
static int64_t state_place(const layer *l, int d, int b) {
  return (int64_t)(l->batch_first ? b * l->directions + d : d * l->batch + b) * l->hidden;
}

static void expect(const layer *l, int output, int64_t first, const double *wanted, const char *what) {
  double tolerance = l->node.operands[X].array.dtype == ONNXC_F16 ? 2e-2 : 2e-5;
  for (int n = 0; n < l->hidden; n++) {
    double got = one_number(&l->node.outputs[output], first + n);
    cr_assert(fabs(got - wanted[n]) <= tolerance * fmax(1, fabs(wanted[n])), "%s, output %d: %g, not %g", what, output,
              got, wanted[n]);
  }
}

static void check_sequence(const layer *l, int d, int b, const char *what) {
  double h[MAX_HIDDEN], c[MAX_HIDDEN], zeros[MAX_HIDDEN] = {0};
  int length = l->node.operands[LENGTHS].array.dtype ? (int)at(l, LENGTHS, b) : l->steps;
  bool backward = l->backward || d > 0;
  for (int n = 0; n < l->hidden; n++) {
    h[n] = length ? at(l, H0, state_place(l, d, b) + n) : 0;
    c[n] = length ? at(l, C0, state_place(l, d, b) + n) : 0;
  }
  for (int k = 0; k < l->steps; k++) {
    int time = backward ? l->steps - 1 - k : k;
    if (time < length)
      step(l, d, time, b, h, c);
    expect(l, 0, place(l, d, b, time), time < length ? h : zeros, what);
  }
  expect(l, 1, state_place(l, d, b), h, what);
  if (l->op == LSTM)
    expect(l, 2, state_place(l, d, b), c, what);
}

/* ---- making one ---- */

static void give(layer *l, int operand, onnxc_dtype dtype, uint32_t rank, const int64_t *dims, int scale) {
  double numbers[4096];
  int64_t count = 1;
  for (uint32_t d = 0; d < rank; d++)
    count *= dims[d];
  for (int64_t i = 0; i < count; i++)
    numbers[i] = operand == LENGTHS ? random_below(l->steps + 1) : (random_below(2001) - 1000) / 1000.0 / scale;
  l->node.operands[operand] = (one_operand){one_array(dtype, rank, dims, numbers), chance(2)};
}

static void give_operands(layer *l, onnxc_dtype dtype) {
  int64_t D = l->directions, H = l->hidden, all = l->gates * H, batch = l->batch;
  int64_t first = l->batch_first ? batch : l->steps, second = l->batch_first ? l->steps : batch;
  give(l, X, dtype, 3, (int64_t[]){first, second, l->width}, 1);
  give(l, W, dtype, 3, (int64_t[]){D, all, l->width}, 1);
  give(l, R, dtype, 3, (int64_t[]){D, all, H}, 2);
  if (!chance(3))
    give(l, B, dtype, 2, (int64_t[]){D, 2 * all}, 1);
  if (chance(3))
    give(l, LENGTHS, ONNXC_I32, 1, &batch, 1);
  int64_t state[3] = {l->batch_first ? batch : D, l->batch_first ? D : batch, H};
  if (chance(2))
    give(l, H0, dtype, 3, state, 1);
  if (l->op == LSTM && chance(2))
    give(l, C0, dtype, 3, state, 1);
  if (l->op == LSTM && chance(3))
    give(l, P, dtype, 2, (int64_t[]){D, 3 * H}, 1);
  l->node.num_operands = l->op == LSTM ? INPUTS : C0;
}

static void give_int(layer *l, const char *name, int64_t value) {
  one_attribute *a = l->node.attributes;
  while (a->name)
    a++;
  *a = (one_attribute){.name = name, .values = {value}};
}

static void give_other(layer *l, one_other other) {
  one_other *a = l->node.others;
  while (a->name)
    a++;
  *a = other;
}

/* The functions, as attributes; alphas and betas for all that take them, or none. */
static void choose_functions(layer *l, char *texts) {
  static const kind defaults[3][3] = {{TANH}, {SIGMOID, TANH}, {SIGMOID, TANH, TANH}};
  bool given = chance(2), numbers = chance(2);
  one_other alphas = {.name = "activation_alpha"}, betas = {.name = "activation_beta"};
  *texts = 0;
  for (int k = 0; k < l->directions * functions_of[l->op]; k++) {
    function *f = &l->f[k / functions_of[l->op]][k % functions_of[l->op]];
    *f = functions[given ? (kind)random_below(KINDS) : defaults[l->op][k % functions_of[l->op]]];
    if (numbers && f->has_alpha)
      f->alpha = alphas.numbers[alphas.floats++] = (float)(0.25 + 0.125 * random_below(4));
    if (numbers && f->has_beta)
      f->beta = betas.numbers[betas.floats++] = (float)(0.25 + 0.125 * random_below(4));
    sprintf(texts + strlen(texts), "%s%s", k ? " " : "", f->name);
  }
  if (given)
    give_other(l, (one_other){.name = "activations", .texts = texts});
  if (alphas.floats)
    give_other(l, alphas);
  if (betas.floats)
    give_other(l, betas);
}

static void choose_attributes(layer *l) {
  static const char *const directions[] = {"forward", "reverse", "bidirectional"};
  int direction = random_below(3);
  l->directions = direction == 2 ? 2 : 1;
  l->backward = direction == 1;
  if (direction || chance(2))
    give_other(l, (one_other){.name = "direction", .text = directions[direction]});
  give_int(l, "hidden_size", l->hidden);
  if ((l->batch_first = chance(3)))
    give_int(l, "layout", 1);
  if (chance(3)) {
    l->clip = 0.5;
    give_other(l, (one_other){.name = "clip", .floats = -1, .numbers = {l->clip}});
  }
  if (l->op == LSTM && (l->input_forget = chance(3)))
    give_int(l, "input_forget", 1);
  if (l->op == GRU && (l->linear_before_reset = chance(2)))
    give_int(l, "linear_before_reset", 1);
}

/* One timeout for all tests of a program: Criterion leaks a timer when they differ. */
Test(recurrent, random_layers, .timeout = 600) {
  static layer layer_memory;
  layer *l = &layer_memory;
  for (int round = 0; round < 400; round++) {
    char texts[128], what[512];
    onnxc_dtype dtype = chance(5) ? ONNXC_F16 : chance(4) ? ONNXC_F64 : ONNXC_F32;
    *l = (layer){.op = round % 3, .steps = 1 + random_below(4), .batch = 1 + random_below(3)};
    l->width = 1 + random_below(4);
    l->hidden = 1 + random_below(chance(4) ? MAX_HIDDEN : 5);
    l->gates = gates_of[l->op];
    choose_attributes(l);
    choose_functions(l, texts);
    give_operands(l, dtype);
    l->node.op = names[l->op];
    l->node.opset = 22;
    l->node.num_outputs = l->op == LSTM ? 3 : 2;
    snprintf(what, sizeof what, "round %d: %s of %s, %d directions, %d steps, batch %d, width %d, hidden %d, %s", round,
             names[l->op], onnxc_dtype_name(dtype), l->directions, l->steps, l->batch, l->width, l->hidden, texts);
    cr_assert_eq(one_node_run(&l->node), ONNXC_OK, "%s: %s", what, l->node.diag.text);
    for (int d = 0; d < l->directions; d++)
      for (int b = 0; b < l->batch; b++)
        check_sequence(l, d, b, what);
    one_node_free(&l->node);
  }
}

/* ---- what is refused ---- */

static void refuse(layer *l, onnxc_status status, const char *message) {
  l->op = RNN;
  l->gates = l->directions = l->batch = 1;
  l->width = l->hidden = 2;
  give(l, X, ONNXC_F32, 3, (int64_t[]){l->steps, 1, 2}, 1);
  give(l, W, ONNXC_F32, 3, (int64_t[]){1, 2, 2}, 1);
  give(l, R, ONNXC_F32, 3, (int64_t[]){1, 2, 2}, 1);
  l->node.operands[X].constant = false;
  l->node.op = "RNN";
  l->node.opset = 14;
  l->node.num_operands = 3;
  cr_expect_eq(one_node_run(&l->node), status, "%s", l->node.diag.text);
  cr_expect(strstr(l->node.diag.text, message), "%s: %s", message, l->node.diag.text);
  one_node_free(&l->node);
}

Test(recurrent, refused) {
  refuse(&(layer){.steps = 3, .node = {.symbolic = true}}, ONNXC_UNSUPPORTED, "whose length only a run knows");
  refuse(&(layer){.steps = 0}, ONNXC_UNSUPPORTED, "0 steps");
  refuse(&(layer){.steps = 2000}, ONNXC_UNSUPPORTED, "2000 steps");
  refuse(&(layer){.steps = 1, .node.attributes = {{.name = "hidden_size", .values = {3}}}}, ONNXC_BAD_INPUT, "");
  refuse(&(layer){.steps = 1, .node.others = {{.name = "direction", .text = "up"}}}, ONNXC_BAD_INPUT, "'up'");
  refuse(&(layer){.steps = 1, .node.others = {{.name = "activations", .texts = "Tanh Tanh"}}}, ONNXC_BAD_INPUT,
         "2 activations, expected 1");
  refuse(&(layer){.steps = 1, .node.others = {{.name = "activations", .texts = "Sine"}}}, ONNXC_BAD_INPUT, "'Sine'");
}
