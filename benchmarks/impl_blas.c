/* impl_blas.c -- OpenBLAS and BLIS: cblas_sgemm, and OpenBLAS's product of bf16 where it was built with one.
 *
 * They pack B inside each call and know no epilogue. (Both are asked for the kernels of AVX-512 through the
 * environment, see main.c.)
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>

enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111 };

typedef void sgemm_fn(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a, int lda,
                      const float *b, int ldb, float beta, float *c, int ldc);
typedef void sbgemm_fn(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const uint16_t *a,
                       int lda, const uint16_t *b, int ldb, float beta, float *c, int ldc);

typedef struct state {
  problem *p;
  sgemm_fn *sgemm;
  sbgemm_fn *sbgemm;
  float *c;
} state;

static void *open_blas(problem *p, char *why, sgemm_fn *sgemm, sbgemm_fn *sbgemm) {
  if (p->what->kind == BENCH_MLP || p->dtype > BENCH_BF16 || (p->dtype == BENCH_BF16 && !sbgemm)) {
    snprintf(why, BENCH_WHY, "not offered");
    return NULL;
  }
  state *s = calloc(1, sizeof *s);
  if (s)
    *s = (state){p, sgemm, sbgemm, problem_alloc(p, (size_t)(p->what->batch * p->what->m * p->what->n) * sizeof *s->c)};
  return s;
}

static bool run(void *arg) {
  state *s = arg;
  const bench_case *w = s->p->what;
  int m = (int)w->m, n = (int)w->n, k = (int)w->k;
  for (int64_t i = 0; i < w->batch; i++) {
    float *c = s->c + i * w->m * w->n;
    if (s->p->dtype == BENCH_BF16)
      s->sbgemm(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, m, n, k, 1, (const uint16_t *)s->p->a + i * w->m * w->k, k,
                (const uint16_t *)s->p->b[0] + i * w->k * w->n, n, 0, c, n);
    else
      s->sgemm(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, m, n, k, 1, (const float *)s->p->a + i * w->m * w->k, k,
               (const float *)s->p->b[0] + i * w->k * w->n, n, 0, c, n);
  }
  return true;
}

static void row(void *arg, int64_t batch, int64_t index, double *values) {
  const state *s = arg;
  for (int64_t j = 0; j < s->p->what->n; j++)
    values[j] = (double)s->c[(batch * s->p->what->m + index) * s->p->what->n + j];
}

/* ---- the two libraries ---- */

static void *openblas(void) {
  static void *library;
  if (!library)
    library = bench_library((const char *const[]){"libopenblas.so.0", NULL});
  return library;
}

static const char *openblas_version(void) {
  char *(*config)(void);
  return bench_symbol(openblas(), "openblas_get_config", &config) ? config() : NULL;
}

static void *openblas_open(problem *p, char *why) {
  sgemm_fn *sgemm;
  sbgemm_fn *sbgemm;
  bench_symbol(openblas(), "cblas_sbgemm", &sbgemm);
  return bench_symbol(openblas(), "cblas_sgemm", &sgemm) ? open_blas(p, why, sgemm, sbgemm) : NULL;
}

static void *blis(void) {
  static void *library;
  if (!library)
    library = bench_library((const char *const[]){"libblis.so.4", NULL});
  return library;
}

static const char *blis_version(void) {
  char *(*version)(void);
  return bench_symbol(blis(), "bli_info_get_version_str", &version) ? version() : NULL;
}

static void *blis_open(problem *p, char *why) {
  sgemm_fn *sgemm;
  return bench_symbol(blis(), "cblas_sgemm", &sgemm) ? open_blas(p, why, sgemm, NULL) : NULL;
}

const implementation impl_openblas = {
    .name = "openblas", .version = openblas_version, .open = openblas_open, .run = run, .row = row, .close = free};
const implementation impl_blis = {
    .name = "blis", .version = blis_version, .open = blis_open, .run = run, .row = row, .close = free};
