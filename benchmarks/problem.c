/* problem.c -- the cases, their operands, and what some rows of the result must be. */
#define _GNU_SOURCE
#include "bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

const char *const bench_dtype_names[BENCH_NUM_DTYPES] = {"f32", "bf16", "u8s8s32", "u8s8u8"};

#define GEMM(M, N, K)       {#M "x" #N "x" #K, BENCH_GEMM, BENCH_NONE, 1, 1, M, N, K}
#define BATCHED(B, M, N, K) {#B "x" #M "x" #N "x" #K, BENCH_BATCHED, BENCH_NONE, 1, B, M, N, K}
const bench_case bench_cases[] = {
    GEMM(256, 1024, 1024),
    GEMM(512, 512, 512),
    GEMM(1024, 1024, 1024),
    GEMM(2048, 2048, 2048),
    GEMM(1023, 1023, 1023),
    GEMM(128, 768, 768),
    GEMM(128, 3072, 768),
    GEMM(128, 768, 3072),
    GEMM(1024, 352, 512),
    GEMM(1, 4096, 4096),
    GEMM(4, 4096, 4096),
    GEMM(16, 4096, 4096),
    GEMM(8205, 2949, 5921),
    BATCHED(12, 128, 64, 128),
    BATCHED(12, 128, 128, 64),
    {"mlp-relu", BENCH_MLP, BENCH_RELU, 3, 1, 256, 1024, 1024},
    {"mlp-gelu", BENCH_MLP, BENCH_GELU, 3, 1, 256, 1024, 1024},
};
const int bench_num_cases = sizeof bench_cases / sizeof *bench_cases;

size_t bench_width(bench_dtype dtype) { return dtype == BENCH_F32 ? 4 : dtype == BENCH_BF16 ? 2 : 1; }

float bench_from_bf16(uint16_t value) {
  uint32_t bits = (uint32_t)value << 16;
  float result;
  memcpy(&result, &bits, sizeof result);
  return result;
}

uint16_t bench_to_bf16(float value) { /* finite values; to nearest even */
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* ---- memory ---- */

struct mapping {
  struct mapping *next;
  void *base;
  size_t size;
};

enum { HUGE_PAGE = 2 << 20 };

void *problem_alloc(problem *p, size_t size) {
  struct mapping *mapping = malloc(sizeof *mapping);
  size_t whole = (size + HUGE_PAGE) / HUGE_PAGE * HUGE_PAGE + HUGE_PAGE; /* and room to align */
  void *base = mapping ? mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : MAP_FAILED;
  if (base == MAP_FAILED) {
    fprintf(stderr, "onnxc-bench: no memory for %zu bytes\n", size);
    exit(1);
  }
  *mapping = (struct mapping){p->mappings, base, whole};
  p->mappings = mapping;
  char *aligned = (char *)(((uintptr_t)base + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
  madvise(aligned, whole - HUGE_PAGE, MADV_HUGEPAGE);
  return aligned;
}

void problem_free(problem *p) {
  while (p->mappings) {
    struct mapping *mapping = p->mappings;
    p->mappings = mapping->next;
    munmap(mapping->base, mapping->size);
    free(mapping);
  }
  free(p->expected);
  free(p);
}

/* ---- operands ---- */

static uint64_t random_bits(uint64_t *state) { /* splitmix64 */
  uint64_t z = (*state += 0x9e3779b97f4a7c15u);
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

static float uniform(uint64_t *state) { return (float)((double)(random_bits(state) >> 11) * 0x1p-52 - 1); }

/* Floats in +-scale; u8 and s8 over their whole range (s8 without -128). */
static void fill(void *data, int64_t count, bench_dtype dtype, bool is_signed, float scale, uint64_t *state) {
  for (int64_t i = 0; i < count; i++)
    switch (dtype) {
    case BENCH_F32: ((float *)data)[i] = scale * uniform(state); break;
    case BENCH_BF16: ((uint16_t *)data)[i] = bench_to_bf16(scale * uniform(state)); break;
    default:
      if (is_signed)
        ((int8_t *)data)[i] = (int8_t)((int)(random_bits(state) % 255) - 127);
      else
        ((uint8_t *)data)[i] = (uint8_t)random_bits(state);
    }
}

static double load(const void *data, int64_t i, bench_dtype dtype, bool is_signed) {
  switch (dtype) {
  case BENCH_F32: return (double)((const float *)data)[i];
  case BENCH_BF16: return (double)bench_from_bf16(((const uint16_t *)data)[i]);
  default: return is_signed ? ((const int8_t *)data)[i] : ((const uint8_t *)data)[i];
  }
}

/* One layer of one row, plainly: x[k] becomes y[n], as the next layer reads it. */
static void expect_layer(const problem *p, int layer, int64_t batch, const double *x, double *y) {
  const bench_case *c = p->what;
  for (int64_t j = 0; j < c->n; j++)
    y[j] = 0;
  for (int64_t i = 0; i < c->k; i++)
    for (int64_t j = 0; j < c->n; j++)
      y[j] += x[i] * load(p->b[layer], (batch * c->k + i) * c->n + j, p->dtype, true);
  for (int64_t j = 0; j < c->n; j++) {
    double value = y[j];
    if (p->dtype == BENCH_U8S8U8)
      value *= (double)p->scale_a * (double)p->scale_b;
    if (p->bias[layer])
      value += (double)p->bias[layer][j];
    if (c->activation == BENCH_RELU)
      value = value > 0 ? value : 0;
    else if (c->activation == BENCH_GELU)
      value *= 0.5 * (1 + erf(value * M_SQRT1_2));
    if (p->dtype == BENCH_U8S8U8)
      value = fmin(fmax(nearbyint(value / (double)p->scale_a), 0), 255);
    else if (p->dtype == BENCH_BF16 && layer + 1 < c->layers)
      value = (double)bench_from_bf16(bench_to_bf16((float)value));
    y[j] = value;
  }
}

static void expect_rows(problem *p) {
  const bench_case *c = p->what;
  int64_t rows = c->batch * c->m;
  p->num_rows = rows < MAX_ROWS ? (int)rows : MAX_ROWS;
  p->expected = malloc((size_t)p->num_rows * (size_t)c->n * sizeof *p->expected);
  int64_t width = c->n > c->k ? c->n : c->k;
  double *x = malloc((size_t)width * sizeof *x), *y = malloc((size_t)width * sizeof *y);
  if (!p->expected || !x || !y) {
    fputs("onnxc-bench: no memory\n", stderr);
    exit(1);
  }
  for (int r = 0; r < p->num_rows; r++) {
    int64_t row = p->num_rows > 1 ? (rows - 1) * r / (p->num_rows - 1) : 0;
    p->row_batch[r] = row / c->m;
    p->row_index[r] = row % c->m;
    for (int64_t i = 0; i < c->k; i++)
      x[i] = load(p->a, row * c->k + i, p->dtype, false);
    for (int layer = 0; layer < c->layers; layer++) {
      expect_layer(p, layer, p->row_batch[r], x, y);
      memcpy(x, y, (size_t)c->n * sizeof *x);
    }
    memcpy(p->expected + r * c->n, y, (size_t)c->n * sizeof *y);
  }
  free(x);
  free(y);
}

problem *problem_new(const bench_case *what, bench_dtype dtype, int threads) {
  problem *p = calloc(1, sizeof *p);
  if (!p) {
    fputs("onnxc-bench: no memory\n", stderr);
    exit(1);
  }
  uint64_t state = 1;
  int64_t a_count = what->batch * what->m * what->k, b_count = what->batch * what->k * what->n;
  float scale = sqrtf(3.0F / (float)what->k); /* values keep their scale from layer to layer */
  *p = (problem){.what = what,
                 .dtype = dtype,
                 .threads = threads,
                 .scale_a = 1.0F / 64,
                 .scale_b = scale / 127,
                 .a_bytes = (size_t)a_count * bench_width(dtype),
                 .b_bytes = (size_t)b_count * bench_width(dtype),
                 .flops =
                     2.0 * (double)(what->batch * what->layers) * (double)what->m * (double)what->n * (double)what->k};
  p->a = problem_alloc(p, p->a_bytes);
  fill(p->a, a_count, dtype, false, 1, &state);
  for (int layer = 0; layer < what->layers; layer++) {
    p->b[layer] = problem_alloc(p, p->b_bytes);
    fill(p->b[layer], b_count, dtype, true, scale, &state);
    if (what->kind != BENCH_MLP)
      continue;
    p->bias[layer] = problem_alloc(p, (size_t)what->n * sizeof(float));
    for (int64_t j = 0; j < what->n; j++)
      p->bias[layer][j] = bench_from_bf16(bench_to_bf16(0.25F * uniform(&state)));
  }
  expect_rows(p);
  return p;
}
