/* impl_libxsmm.c -- libxsmm: batch-reduce kernels over blocked operands.
 *
 * libxsmm makes the kernels, the caller lays the operands out and writes the loops: A[MB][KB][bm][bk],
 * B[NB][KB][bk/v][bn][v] (v: 2 for bf16, 4 for int8), C[MB][NB][bm][bn], all blocked before the measurement; edges are
 * padded with zeros. Of several blocks and both loop orders the fastest is taken. libxsmm is column-major, so that its
 * A is our B.
 *
 * An MLP's activations stay blocked; bias and ReLU follow on each block of C while it is in the L1 cache. This version
 * has no GELU. Batched products are single kernels on the operands as they come, B in pairs or quadruples packed in
 * each run where the instruction wants it.
 */
#include "bench.h"

#include <libxsmm.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct blocks {
  int64_t bm, bn, bk;
  bool n_outer;
  int64_t panel; /* blocks of K that are summed before the next block of C */
} blocks;

typedef struct state {
  problem *p;
  blocks blocks;
  int64_t mb, nb, kb; /* numbers of blocks */
  void *a, *b[MAX_LAYERS], *c[MAX_LAYERS];
  size_t a_size, b_size, c_size; /* bytes */
  libxsmm_xmmfunction kernel[2]; /* beta 0 and 1 */
  void *packed;                  /* batched: one B */
} state;

static int pairs(bench_dtype dtype) { return dtype == BENCH_F32 ? 1 : dtype == BENCH_BF16 ? 2 : 4; }
/* bf16 and the sums of int8 MLPs go through a block of f32 or s32. */
static size_t width_c(const problem *p) { return p->what->kind == BENCH_MLP ? bench_width(p->dtype) : 4; }

static const char *version(void) { return LIBXSMM_VERSION; }

/* A kernel that sums products of blocks, and what C had if beta is 1; all sizes in elements, strides in bytes. */
static bool dispatch(state *s, int beta, int64_t m, int64_t n, int64_t k, int64_t stride_a, int64_t stride_b) {
  libxsmm_blasint xm = (libxsmm_blasint)n, xn = (libxsmm_blasint)m, xk = (libxsmm_blasint)k;
  libxsmm_blasint sa = (libxsmm_blasint)stride_b, sb = (libxsmm_blasint)stride_a;
  libxsmm_xmmfunction *kernel = &s->kernel[beta];
  float one = 1, float_beta = (float)beta;
  int one_int = 1;
  int flags = LIBXSMM_GEMM_FLAG_NONE | (s->p->dtype == BENCH_F32 ? 0 : LIBXSMM_GEMM_FLAG_VNNI_A);
  switch (s->p->dtype) {
  case BENCH_F32:
    kernel->smrs =
        libxsmm_smmdispatch_reducebatch_strd(xm, xn, xk, sa, sb, &xm, &xk, &xm, &one, &float_beta, &flags, NULL);
    return kernel->smrs != NULL;
  case BENCH_BF16:
    kernel->bsmrs =
        libxsmm_bsmmdispatch_reducebatch_strd(xm, xn, xk, sa, sb, &xm, &xk, &xm, &one, &float_beta, &flags, NULL);
    return kernel->bsmrs != NULL;
  default:
    kernel->subimrs =
        libxsmm_subimmdispatch_reducebatch_strd(xm, xn, xk, sa, sb, &xm, &xk, &xm, &one_int, &beta, &flags, NULL);
    return kernel->subimrs != NULL;
  }
}

static void call(const state *s, int beta, const void *a, const void *b, void *c, int64_t count) {
  unsigned long long products = (unsigned long long)count;
  switch (s->p->dtype) {
  case BENCH_F32: s->kernel[beta].smrs(b, a, c, &products); break;
  case BENCH_BF16: s->kernel[beta].bsmrs(b, a, c, &products); break;
  default: s->kernel[beta].subimrs(b, a, c, &products);
  }
}

/* ---- layouts ---- */

static void pack_a(const state *s, const void *from, void *to) {
  const bench_case *w = s->p->what;
  const blocks *b = &s->blocks;
  size_t width = bench_width(s->p->dtype);
  for (int64_t i = 0; i < w->m; i++)
    for (int64_t kb = 0; kb < s->kb; kb++) {
      int64_t k = kb * b->bk, count = w->k - k < b->bk ? w->k - k : b->bk;
      int64_t at = ((i / b->bm * s->kb + kb) * b->bm + i % b->bm) * b->bk;
      memcpy((char *)to + (size_t)at * width, (const char *)from + (size_t)(i * w->k + k) * width,
             (size_t)count * width);
    }
}

static void pack_b(const state *s, const void *from, void *to) {
  const bench_case *w = s->p->what;
  const blocks *b = &s->blocks;
  size_t width = bench_width(s->p->dtype);
  int v = pairs(s->p->dtype);
  for (int64_t k = 0; k < w->k; k++)
    for (int64_t jb = 0; jb < s->nb; jb++) {
      int64_t j = jb * b->bn, count = w->n - j < b->bn ? w->n - j : b->bn;
      const char *row = (const char *)from + (size_t)(k * w->n + j) * width;
      char *at =
          (char *)to + (size_t)((jb * s->kb + k / b->bk) * b->bn * b->bk + k % b->bk / v * b->bn * v + k % v) * width;
      if (v == 1)
        memcpy(at, row, (size_t)count * width);
      else
        for (int64_t i = 0; i < count; i++, at += (size_t)v * width, row += width)
          memcpy(at, row, width);
    }
}

/* ---- runs ---- */

/* Bias and ReLU on a block of sums, stored as the next layer reads it. */
__attribute__((target_clones("default", "avx2", "avx512f"))) static void
finish_f32(const float *restrict sum, float *restrict to, const float *restrict bias, int64_t rows, int64_t width) {
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < width; j++) {
      float value = sum[i * width + j] + bias[j];
      to[i * width + j] = value > 0 ? value : 0;
    }
}

__attribute__((target_clones("default", "avx2", "avx512f"))) static void
finish_bf16(const float *restrict sum, uint16_t *restrict to, const float *restrict bias, int64_t rows, int64_t width) {
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < width; j++) {
      float value = sum[i * width + j] + bias[j];
      union {
        float f;
        uint32_t bits;
      } u = {value > 0 ? value : 0};
      to[i * width + j] = (uint16_t)((u.bits + 0x7fff + (u.bits >> 16 & 1)) >> 16);
    }
}

__attribute__((target_clones("default", "avx2", "avx512f"))) static void
finish_u8(const int32_t *restrict sum, uint8_t *restrict to, const float *restrict bias, int64_t rows, int64_t width,
          float scale, float unit) {
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < width; j++) {
      float value = ((float)sum[i * width + j] * scale + bias[j]) * unit;
      int32_t whole = (int32_t)(value + 0.5F); /* ReLU is the lower bound */
      whole = whole > 0 ? whole : 0;
      to[i * width + j] = (uint8_t)(whole < 255 ? whole : 255);
    }
}

static void one_block(const state *s, int layer, int64_t ib, int64_t jb, int64_t kb, const void *a) {
  const problem *p = s->p;
  const blocks *b = &s->blocks;
  size_t width = bench_width(p->dtype);
  void *c = (char *)s->c[layer] + (size_t)((ib * s->nb + jb) * b->bm * b->bn) * width_c(p);
  const void *from = (const char *)s->b[layer] + (size_t)((jb * s->kb + kb) * b->bn * b->bk) * width;
  int64_t count = s->kb - kb < b->panel ? s->kb - kb : b->panel;
  a = (const char *)a + (size_t)((ib * s->kb + kb) * b->bm * b->bk) * width;
  if (p->what->kind != BENCH_MLP) {
    call(s, kb > 0, a, from, c, count);
    return;
  }
  _Alignas(64) char sums[sizeof(float) * 128 * 128];
  void *sum = sums;
  const float *bias = p->bias[layer] + jb * b->bn;
  call(s, 0, a, from, sum, count);
  if (p->dtype == BENCH_F32)
    finish_f32(sum, c, bias, b->bm, b->bn);
  else if (p->dtype == BENCH_BF16)
    finish_bf16(sum, c, bias, b->bm, b->bn);
  else
    finish_u8(sum, c, bias, b->bm, b->bn, p->scale_a * p->scale_b, 1 / p->scale_a);
}

/* A thread's part of the blocks of C. */
static void share(const state *s, int part, int parts) {
  const blocks *b = &s->blocks;
  const void *a = s->a;
  int64_t tasks = s->mb * s->nb, first = tasks * part / parts, last = tasks * (part + 1) / parts;
  for (int layer = 0; layer < s->p->what->layers; layer++) {
    for (int64_t kb = 0; kb < s->kb; kb += b->panel)
      for (int64_t t = first; t < last; t++)
        one_block(s, layer, b->n_outer ? t % s->mb : t / s->nb, b->n_outer ? t / s->mb : t % s->nb, kb, a);
    a = s->c[layer];
    if (parts > 1 && layer + 1 < s->p->what->layers) {
#pragma omp barrier
    }
  }
}

static bool run(void *arg) {
  state *s = arg;
  int parts = s->p->threads;
  if (parts == 1) {
    share(s, 0, 1);
    return true;
  }
#pragma omp parallel num_threads(parts)
  share(s, omp_get_thread_num(), parts);
  return true;
}

static void row(void *arg, int64_t batch, int64_t index, double *values) {
  const state *s = arg;
  const problem *p = s->p;
  const blocks *b = &s->blocks;
  const void *c = s->c[p->what->layers - 1];
  (void)batch;
  for (int64_t j = 0; j < p->what->n; j++) {
    int64_t at = ((index / b->bm * s->nb + j / b->bn) * b->bm + index % b->bm) * b->bn + j % b->bn;
    if (p->dtype == BENCH_F32 || (p->dtype == BENCH_BF16 && p->what->kind != BENCH_MLP))
      values[j] = (double)((const float *)c)[at];
    else if (p->dtype == BENCH_BF16)
      values[j] = (double)bench_from_bf16(((const uint16_t *)c)[at]);
    else
      values[j] = p->what->kind == BENCH_MLP ? ((const uint8_t *)c)[at] : ((const int32_t *)c)[at];
  }
}

/* ---- batched ---- */

/* Two or four rows of B to one row of groups, lowest row first. */
__attribute__((target_clones("default", "avx2", "avx512f"))) static void
interleave_2(const uint16_t *restrict from, uint32_t *restrict to, int64_t rows, int64_t width) {
  for (int64_t k = 0; k < rows; k += 2, from += 2 * width, to += width)
    for (int64_t j = 0; j < width; j++)
      to[j] = from[j] | (uint32_t)from[width + j] << 16;
}

__attribute__((target_clones("default", "avx2", "avx512f"))) static void
interleave_4(const uint8_t *restrict from, uint32_t *restrict to, int64_t rows, int64_t width) {
  for (int64_t k = 0; k < rows; k += 4, from += 4 * width, to += width)
    for (int64_t j = 0; j < width; j++)
      to[j] = from[j] | (uint32_t)from[width + j] << 8 | (uint32_t)from[2 * width + j] << 16 |
              (uint32_t)from[3 * width + j] << 24;
}

static bool run_batched(void *arg) {
  state *s = arg;
  const bench_case *w = s->p->what;
  size_t width = bench_width(s->p->dtype);
  int v = pairs(s->p->dtype);
#pragma omp parallel for num_threads(s->p->threads) if (s->p->threads > 1) schedule(static)
  for (int64_t i = 0; i < w->batch; i++) {
    const void *a = (const char *)s->p->a + (size_t)(i * w->m * w->k) * width;
    const void *b = (const char *)s->p->b[0] + (size_t)(i * w->k * w->n) * width;
    if (v > 1) {
      void *to = (char *)s->packed + (size_t)(i * w->k * w->n) * width;
      if (v == 2)
        interleave_2(b, to, w->k, w->n);
      else
        interleave_4(b, to, w->k, w->n);
      b = to;
    }
    call(s, 0, a, b, (float *)s->c[0] + i * w->m * w->n, 1);
  }
  return true;
}

static void row_batched(void *arg, int64_t batch, int64_t index, double *values) {
  const state *s = arg;
  const bench_case *w = s->p->what;
  int64_t at = (batch * w->m + index) * w->n;
  for (int64_t j = 0; j < w->n; j++)
    values[j] =
        s->p->dtype == BENCH_U8S8S32 ? ((const int32_t *)s->c[0])[at + j] : (double)((const float *)s->c[0])[at + j];
}

/* ---- choosing ---- */

static int64_t up(int64_t value, int64_t unit) { return (value + unit - 1) / unit; }

/* Packs for these blocks, in memory that is large enough for any. */
static bool prepare(state *s, blocks choice) {
  const problem *p = s->p;
  const bench_case *w = p->what;
  size_t width = bench_width(p->dtype);
  s->blocks = choice;
  s->mb = up(w->m, choice.bm);
  s->nb = up(w->n, choice.bn);
  s->kb = up(w->k, choice.bk);
  if ((size_t)(s->mb * choice.bm * s->kb * choice.bk) * width > s->a_size ||
      (size_t)(s->nb * choice.bn * s->kb * choice.bk) * width > s->b_size ||
      (size_t)(s->mb * choice.bm * s->nb * choice.bn) * 4 > s->c_size)
    return false;
  int64_t stride_a = choice.bm * choice.bk * (int64_t)width, stride_b = choice.bn * choice.bk * (int64_t)width;
  for (int beta = 0; beta <= (choice.panel < s->kb); beta++)
    if (!dispatch(s, beta, choice.bm, choice.bn, choice.bk, stride_a, stride_b))
      return false;
  memset(s->a, 0, s->a_size);
  pack_a(s, p->a, s->a);
  for (int layer = 0; layer < w->layers; layer++) {
    memset(s->b[layer], 0, s->b_size);
    pack_b(s, p->b[layer], s->b[layer]);
  }
  return true;
}

static double time_of(state *s) {
  double best = 1e9, begin = bench_seconds();
  do {
    double start = bench_seconds();
    run(s);
    double now = bench_seconds() - start;
    best = now < best ? now : best;
  } while (bench_seconds() - begin < 0.02);
  return best;
}

static void try(state *s, blocks choice, double *best, blocks *best_blocks) {
  double seconds = prepare(s, choice) ? time_of(s) : *best;
  if (seconds < *best)
    *best = seconds, *best_blocks = choice;
}

static bool choose(state *s) {
  const bench_case *w = s->p->what;
  static const int64_t ms[] = {32, 64, 128}, ns[] = {32, 64, 128}, ks[] = {64, 128, 256};
  bool huge = s->p->flops > 1e11, few_rows = w->m <= 16, mlp = w->kind == BENCH_MLP;
  double best = 1e9;
  blocks best_blocks = {0};
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 3; j++)
      for (int k = 0; k < 3; k++) {
        blocks choice = {few_rows ? w->m : ms[i], ns[j], ks[k], false, w->k};
        /* An MLP's C blocks are the next layer's A blocks. A huge product has time for few. */
        if ((few_rows && i) || (mlp && choice.bk != choice.bn) || (huge && (i != 1 || j != 1 || k == 0)))
          continue;
        try(s, choice, &best, &best_blocks);
      }
  if (best == 1e9)
    return false;
  blocks other = best_blocks;
  other.n_outer = true;
  try(s, other, &best, &best_blocks);
  for (int64_t depth = 512; depth < w->k && !mlp; depth *= 2) {
    other = best_blocks;
    other.panel = depth / other.bk;
    try(s, other, &best, &best_blocks);
  }
  return prepare(s, best_blocks);
}

static void *open_batched(problem *p, char *why) {
  const bench_case *w = p->what;
  state *s = calloc(1, sizeof *s);
  if (!s)
    return NULL;
  s->p = p;
  if (!dispatch(s, 0, w->m, w->n, w->k, 0, 0)) {
    snprintf(why, BENCH_WHY, "no kernel for it");
    free(s);
    return NULL;
  }
  s->packed = problem_alloc(p, p->b_bytes);
  s->c[0] = problem_alloc(p, (size_t)(w->batch * w->m * w->n) * 4);
  return s;
}

static void *open_blocked(problem *p, char *why) {
  const bench_case *w = p->what;
  size_t width = bench_width(p->dtype);
  state *s = calloc(1, sizeof *s);
  if (!s)
    return NULL;
  s->p = p;
  size_t m = (size_t)(w->m <= 16 ? w->m : up(w->m, 128) * 128), n = (size_t)up(w->n, 128) * 128,
         k = (size_t)up(w->k, 256) * 256;
  s->a_size = m * k * width;
  s->b_size = n * k * width;
  s->c_size = m * n * 4;
  s->a = problem_alloc(p, s->a_size);
  for (int layer = 0; layer < w->layers; layer++) {
    s->b[layer] = problem_alloc(p, s->b_size);
    s->c[layer] = problem_alloc(p, s->c_size);
  }
  if (!choose(s)) {
    snprintf(why, BENCH_WHY, "no kernel for it");
    free(s);
    return NULL;
  }
  return s;
}

static void *open_state(problem *p, char *why) {
  bool mlp = p->what->kind == BENCH_MLP;
  if (p->what->activation == BENCH_GELU || (p->dtype == BENCH_U8S8U8 && !mlp)) {
    snprintf(why, BENCH_WHY, "not offered");
    return NULL;
  }
  libxsmm_init();
  return p->what->kind == BENCH_BATCHED ? open_batched(p, why) : open_blocked(p, why);
}

static bool run_either(void *arg) {
  state *s = arg;
  return s->packed ? run_batched(arg) : run(arg);
}

static void row_either(void *arg, int64_t batch, int64_t index, double *values) {
  state *s = arg;
  (s->packed ? row_batched : row)(arg, batch, index, values);
}

const implementation impl_libxsmm = {
    .name = "libxsmm", .version = version, .open = open_state, .run = run_either, .row = row_either, .close = free};
