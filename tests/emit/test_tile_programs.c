/* The hand-written tile programs of tests/tile run: parsed, compiled, planned and executed, each gives what plain C
 * loops give, for several sizes, on one thread or three, as code for this CPU and for AVX2. So partial and resumed
 * sums, state, rings, halos and results in several groups mean what tile.h says.
 */
#include "jit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TENSORS = 16 };

/* A named tensor in row-major order. */
typedef struct tensor {
  const char *name;
  int64_t dims[ONNXC_MAX_RANK];
  float *data;
} tensor;

typedef struct bench {
  onnxc_guard guard;
  onnxc_arena arena;
  onnxc_diag diag;
  onnxc_graph graph;
  onnxc_tile_program program;
  onnxc_rt_program rt;
  onnxc_jit *jit;
  void *weights;
  tensor constants[MAX_TENSORS], inputs[MAX_TENSORS], outputs[MAX_TENSORS];
  uint32_t num_constants;
} bench;

static uint32_t random_state = 1;
static void fill_random(float *data, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    random_state = random_state * 1664525U + 1013904223U;
    data[i] = (float)(random_state >> 8) / (float)(1 << 23) - 1;
  }
}

static int64_t count_of(const int64_t *dims, uint32_t rank) {
  int64_t count = 1;
  for (uint32_t d = 0; d < rank; d++)
    count *= dims[d];
  return count;
}

static const float *find(const bench *b, const char *name) {
  const tensor *lists[] = {b->constants, b->inputs, b->outputs};
  for (int l = 0; l < 3; l++)
    for (int i = 0; i < MAX_TENSORS; i++)
      if (lists[l][i].name && strcmp(lists[l][i].name, name) == 0)
        return lists[l][i].data;
  cr_assert(false, "there is no tensor %s", name);
  return NULL;
}

/* Constants without data get random ones, in their layout. */
static void make_constants(bench *b) {
  b->num_constants = 0;
  for (uint32_t v = 1; v < b->graph.values.length; v++) {
    onnxc_value_info *info = &b->graph.values.data[v];
    if (!onnxc_value_is_constant(&b->graph, (onnxc_value){v}))
      continue;
    tensor *t = &b->constants[b->num_constants++];
    t->name = info->name;
    cr_assert(onnxc_value_static_shape(&b->graph, (onnxc_value){v}, t->dims));
    int64_t count = count_of(t->dims, info->rank);
    t->data = onnxc_arena_alloc(&b->arena, (size_t)count * sizeof(float));
    fill_random(t->data, count);
    void *stored = onnxc_arena_alloc(&b->arena, info->data_size);
    onnxc_layout plain = {0};
    onnxc_layout_copy(stored, &info->layout, t->data, &plain, info->rank, t->dims, sizeof(float));
    info->data = stored;
  }
}

static void compile(bench *b, const char *name, const onnxc_target *target) {
  char text[1 << 14], path[1024];
  snprintf(path, sizeof path, "%s/../tile/%s.tile", ONNXC_TEST_DATA, name);
  FILE *file = fopen(path, "rb");
  cr_assert(file, "%s", path);
  size_t length = fread(text, 1, sizeof text, file);
  fclose(file);
  onnxc_graph_init(&b->graph, &b->arena, &b->diag);
  onnxc_tile_program_init(&b->program, &b->graph, NULL);
  cr_assert_eq(onnxc_tile_parse(&b->program, name, text, length), ONNXC_OK, "%s", b->diag.text);
  cr_assert_eq(onnxc_tile_verify(&b->program), ONNXC_OK, "%s", b->diag.text);
  b->program.target = target; /* whatever it was written for */
  make_constants(b);
  onnxc_module module;
  onnxc_weights weights;
  cr_assert_eq(onnxc_codegen(&module, &b->program, &b->arena, "t", 0), ONNXC_OK, "%s: %s", name, b->diag.text);
  cr_assert_eq(onnxc_describe(&b->rt, &weights, NULL, &b->program, module.stages, &b->arena), ONNXC_OK, "%s: %s", name,
               b->diag.text);
  onnxc_stage_fn *functions = ONNXC_NEW_ARRAY(&b->arena, onnxc_stage_fn, b->rt.num_stages);
  cr_assert_eq(jit_compile(&b->jit, &b->diag, &module, b->program.target, (uint32_t)b->rt.num_stages, functions),
               ONNXC_OK, "%s: %s", name, b->diag.text);
  b->rt.functions = functions;
  b->rt.thread_work = 1;                                          /* several threads however small the stages are */
  b->weights = onnxc_arena_alloc(&b->arena, weights.size + 4096); /* aligned, for it is large */
  for (uint32_t k = 0; k < weights.num_pieces; k++)
    memcpy((char *)b->weights + weights.pieces[k].offset, weights.pieces[k].data, weights.pieces[k].size);
}

/* Three "threads" that take turns. */
static void one_after_another(void *pool, int64_t tasks, void (*body)(void *arg, int64_t task, int thread), void *arg) {
  (void)pool;
  for (int64_t task = 0; task < tasks; task++)
    body(arg, tasks - 1 - task, (int)(task % 3));
}

static void run(bench *b, const int64_t *symbols, bool threads) {
  onnxc_tensor in[MAX_TENSORS] = {0}, out[MAX_TENSORS] = {0};
  onnxc_run r = {.inputs = in, .outputs = out, .num_threads = threads ? 3 : 1};
  r.parallel_for = threads ? one_after_another : NULL;
  for (uint32_t k = 0; k < b->graph.inputs.length; k++) {
    const onnxc_value_info *info = onnxc_value_of(&b->graph, b->graph.inputs.data[k]);
    tensor *t = &b->inputs[k];
    in[k] = (onnxc_tensor){.dtype = (int32_t)info->dtype, .rank = (int32_t)info->rank};
    t->name = info->name;
    for (uint32_t d = 0; d < info->rank; d++) {
      cr_assert(onnxc_dim_eval(&b->graph.dims, info->dims[d], symbols, &t->dims[d]));
      in[k].dims[d] = t->dims[d];
    }
    int64_t count = count_of(t->dims, info->rank);
    t->data = onnxc_arena_alloc(&b->arena, (size_t)count * sizeof(float));
    fill_random(t->data, count);
    in[k].data = t->data;
  }
  cr_assert_eq(onnxc_rt_plan(&b->rt, b->weights, &r), ONNXC_OK, "%s", r.message);
  for (uint32_t k = 0; k < b->graph.outputs.length; k++) {
    tensor *t = &b->outputs[k];
    t->name = b->graph.output_names.data[k];
    memcpy(t->dims, out[k].dims, sizeof t->dims);
    int64_t count = count_of(t->dims, (uint32_t)out[k].rank);
    t->data = onnxc_arena_alloc(&b->arena, (size_t)count * sizeof(float));
    fill_random(t->data, count);
    out[k].data = t->data;
  }
  r.workspace = aligned_alloc(64, (r.workspace_size + 127) / 64 * 64);
  memset(r.workspace, 0x7f, r.workspace_size); /* nothing may count on zeros */
  cr_assert_eq(onnxc_rt_run(&b->rt, b->weights, &r), ONNXC_OK, "%s", r.message);
  free(r.workspace);
}

static const bench *checking;
static const char *program_name;
static unsigned wrong;

static void expect(const char *name, int64_t at, double want) {
  double got = (double)find(checking, name)[at];
  if (fabs(got - want) <= 2e-5 * (1 + fabs(want)))
    return;
  if (wrong++ < 5)
    cr_expect(false, "%s: %s[%lld] is %g, not %g", program_name, name, (long long)at, got, want);
}

/* ---- what the programs mean ---- */

static void check_matmul(const bench *b) {
  int64_t rows = b->inputs[0].dims[0];
  const float *a = find(b, "a"), *w = find(b, "w"), *bias = find(b, "b");
  for (int64_t m = 0; m < rows; m++)
    for (int64_t n = 0; n < 100; n++) {
      double sum = (double)bias[n];
      for (int64_t k = 0; k < 300; k++)
        sum += (double)a[m * 300 + k] * (double)w[k * 100 + n];
      expect("y", m * 100 + n, fmax(sum, 0));
      expect("z", m * 100 + n, fmax(sum, 0));
    }
}

/* 3x3 convolution of x[C, H, W] with one zero around. */
static double conv_at(const double *x, const float *w, int64_t c, int64_t h, int64_t width, int64_t i, int64_t j,
                      int64_t stride) {
  double sum = 0;
  for (int64_t k = 0; k < c; k++)
    for (int64_t u = 0; u < 3; u++)
      for (int64_t v = 0; v < 3; v++) {
        int64_t p = stride * i + u - 1, q = stride * j + v - 1;
        if (p >= 0 && p < h && q >= 0 && q < width)
          sum += x[(k * h + p) * width + q] * (double)w[(k * 3 + u) * 3 + v];
      }
  return sum;
}

static void check_conv(const bench *b) {
  int64_t h = b->inputs[0].dims[2], w = b->inputs[0].dims[3], oh = h / 2, ow = w / 2;
  const float *image = find(b, "image"), *w1 = find(b, "w1"), *b1 = find(b, "b1"), *w2 = find(b, "w2");
  double *x = calloc((size_t)(3 * h * w), sizeof *x), *x1 = calloc((size_t)(32 * oh * ow), sizeof *x1);
  for (int64_t i = 0; i < 3 * h * w; i++)
    x[i] = (double)image[i];
  for (int64_t m = 0; m < 32; m++)
    for (int64_t i = 0; i < oh * ow; i++)
      x1[m * oh * ow + i] = fmax(conv_at(x, w1 + m * 27, 3, h, w, i / ow, i % ow, 2) + (double)b1[m], 0);
  for (int64_t m = 0; m < 64; m++)
    for (int64_t i = 0; i < oh * ow; i++)
      expect("y", m * oh * ow + i, conv_at(x1, w2 + m * 288, 32, oh, ow, i / ow, i % ow, 1));
  free(x);
  free(x1);
}

static void check_separable(const bench *b) {
  const float *x = find(b, "x"), *dw = find(b, "dw"), *pw = find(b, "pw");
  for (int64_t i = 0; i < 56; i++)
    for (int64_t j = 0; j < 56; j += 5) {
      double row[96];
      for (int64_t c = 0; c < 96; c++) {
        double sum = 0;
        for (int64_t u = 0; u < 3; u++)
          for (int64_t v = 0; v < 3; v++)
            if (i + u >= 1 && i + u <= 56 && j + v >= 1 && j + v <= 56)
              sum += (double)x[((i + u - 1) * 56 + j + v - 1) * 96 + c] * (double)dw[(u * 3 + v) * 96 + c];
        row[c] = fmax(sum, 0);
      }
      for (int64_t n = 0; n < 128; n++) {
        double sum = 0;
        for (int64_t c = 0; c < 96; c++)
          sum += row[c] * (double)pw[c * 128 + n];
        expect("y", (i * 56 + j) * 128 + n, sum);
      }
    }
}

static void softmax_row(const float *x, int64_t n, double *y) {
  double max = -INFINITY, sum = 0;
  for (int64_t i = 0; i < n; i++)
    max = fmax(max, (double)x[i]);
  for (int64_t i = 0; i < n; i++)
    sum += y[i] = exp((double)x[i] - max);
  for (int64_t i = 0; i < n; i++)
    y[i] /= sum;
}

static void check_softmax(const bench *b) {
  double row[1000];
  for (int64_t n = 0; n < b->inputs[0].dims[0]; n++) {
    softmax_row(find(b, "x") + n * 1000, 1000, row);
    for (int64_t i = 0; i < 1000; i++)
      expect("y", n * 1000 + i, row[i]);
  }
}

static void check_layer_norm(const bench *b) {
  const float *scale = find(b, "scale"), *bias = find(b, "bias");
  for (int64_t n = 0; n < b->inputs[0].dims[0] * b->inputs[0].dims[1]; n++) {
    const float *x = find(b, "x") + n * 768;
    double mean = 0, var = 0;
    for (int64_t i = 0; i < 768; i++)
      mean += (double)x[i] / 768;
    for (int64_t i = 0; i < 768; i++)
      var += ((double)x[i] - mean) * ((double)x[i] - mean) / 768;
    for (int64_t i = 0; i < 768; i++)
      expect("y", n * 768 + i, ((double)x[i] - mean) / sqrt(var + 1e-5) * (double)scale[i] + (double)bias[i]);
  }
}

static double gate(const bench *b, const char *w, const char *r, int64_t bias, int64_t n, int64_t u) {
  double sum = (double)find(b, "bias")[bias * 128 + u];
  for (int64_t k = 0; k < 64; k++)
    sum += (double)find(b, "x")[n * 64 + k] * (double)find(b, w)[k * 128 + u];
  for (int64_t k = 0; k < 128; k++)
    sum += (double)find(b, "h0")[n * 128 + k] * (double)find(b, r)[k * 128 + u];
  return sum;
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

static void check_lstm(const bench *b) {
  for (int64_t n = 0; n < b->inputs[0].dims[0]; n++)
    for (int64_t u = 0; u < 128; u++) {
      double i = sigmoid(gate(b, "wi", "ri", 0, n, u)), o = sigmoid(gate(b, "wo", "ro", 1, n, u));
      double f = sigmoid(gate(b, "wf", "rf", 2, n, u)), g = tanh(gate(b, "wc", "rc", 3, n, u));
      double c = f * (double)find(b, "c0")[n * 128 + u] + i * g;
      expect("c", n * 128 + u, c);
      expect("h", n * 128 + u, o * tanh(c));
    }
}

static void check_attention(const bench *b) {
  int64_t s = b->inputs[0].dims[1];
  const float *q = find(b, "q"), *k = find(b, "k"), *v = find(b, "v");
  float *scores = calloc((size_t)s, sizeof *scores);
  double *weights = calloc((size_t)s, sizeof *weights);
  for (int64_t n = 0; n < 8 * s; n++) {
    int64_t head = n / s;
    for (int64_t j = 0; j < s; j++) {
      double sum = 0;
      for (int64_t d = 0; d < 64; d++)
        sum += (double)q[n * 64 + d] * (double)k[(head * s + j) * 64 + d];
      scores[j] = (float)(sum / 8);
    }
    softmax_row(scores, s, weights);
    for (int64_t d = 0; d < 64; d++) {
      double sum = 0;
      for (int64_t j = 0; j < s; j++)
        sum += weights[j] * (double)v[(head * s + j) * 64 + d];
      expect("y", n * 64 + d, sum);
    }
  }
  free(scores);
  free(weights);
}

static const struct {
  const char *name;
  void (*check)(const bench *b);
  struct {
    const char *symbol;
    int64_t values[3];
  } sizes[2];
} rows[] = {
    {"matmul", check_matmul, {{"M", {1, 133, 245}}}},
    {"conv_halo", check_conv, {{"H", {8, 18, 34}}, {"W", {8, 30, 16}}}},
    {"depthwise_pointwise", check_separable, {{NULL, {0}}}},
    {"softmax", check_softmax, {{"N", {1, 2, 7}}}},
    {"layer_norm", check_layer_norm, {{"B", {1, 2, 3}}, {"S", {5, 1, 3}}}},
    {"lstm_gates", check_lstm, {{"N", {1, 6, 10}}}},
    {"attention", check_attention, {{"S", {1, 64, 150}}}},
};

static void check_program(int which, const onnxc_target *target) {
  bench b = {0};
  if (setjmp(b.guard.env))
    abort();
  onnxc_arena_init(&b.arena, &b.guard);
  compile(&b, rows[which].name, target);
  for (int round = 0; round < 3; round++) {
    int64_t *symbols = ONNXC_NEW_ARRAY(&b.arena, int64_t, b.graph.dims.symbols.length);
    for (int s = 0; s < 2; s++) {
      const char *name = rows[which].sizes[s].symbol;
      if (name)
        symbols[onnxc_sym_find(&b.graph.dims, name, strlen(name)).i] = rows[which].sizes[s].values[round];
    }
    run(&b, symbols, round > 0);
    checking = &b;
    program_name = rows[which].name;
    wrong = 0;
    rows[which].check(&b);
    cr_expect_eq(wrong, 0, "%s: %u elements are wrong in round %d", program_name, wrong, round);
  }
  onnxc_jit_free(b.jit);
  onnxc_arena_free(&b.arena);
}

Test(tile_programs, run) {
  const onnxc_target *host = onnxc_target_host(), *avx2 = onnxc_target_find("haswell", 7);
  for (int i = 0; i < (int)(sizeof rows / sizeof *rows); i++) {
    check_program(i, host);
    if (onnxc_target_runs_on_host(avx2))
      check_program(i, avx2);
  }
}
