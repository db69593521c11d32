/* impl_mkl.c -- Intel's MKL: products with a packed B, and its batched product where B arrives at run time.
 *
 * libmkl_rt is asked for GNU's threads and 32-bit integers through the environment, see main.c. It has no epilogues.
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111, PACKED = 151, B_MATRIX = 162, FIXED_OFFSET = 173 };

static struct {
  void *library;
  size_t (*sgemm_pack_get_size)(int which, int m, int n, int k);
  void (*sgemm_pack)(int order, int which, int trans, int m, int n, int k, float alpha, const float *from, int ld,
                     float *to);
  void (*sgemm_compute)(int order, int trans_a, int trans_b, int m, int n, int k, const void *a, int lda, const void *b,
                        int ldb, float beta, float *c, int ldc);
  void (*sgemm_batch_strided)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a,
                              int lda, int stride_a, const float *b, int ldb, int stride_b, float beta, float *c,
                              int ldc, int stride_c, int batch);
  size_t (*bf16_pack_get_size)(int which, int m, int n, int k);
  void (*bf16_pack)(int order, int which, int trans, int m, int n, int k, const void *from, int ld, void *to);
  void (*bf16_compute)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const void *a, int lda,
                       const void *b, int ldb, float beta, float *c, int ldc);
  size_t (*int8_pack_get_size)(int which, int m, int n, int k);
  void (*int8_pack)(int order, int which, int trans, int m, int n, int k, const void *from, int ld, void *to);
  void (*int8_compute)(int order, int trans_a, int trans_b, int offset, int m, int n, int k, float alpha, const void *a,
                       int lda, signed char offset_a, const void *b, int ldb, signed char offset_b, float beta,
                       int32_t *c, int ldc, const int32_t *offset_c);
  void (*int8)(int order, int trans_a, int trans_b, int offset, int m, int n, int k, float alpha, const void *a,
               int lda, signed char offset_a, const void *b, int ldb, signed char offset_b, float beta, int32_t *c,
               int ldc, const int32_t *offset_c);
  void (*bf16)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const void *a, int lda,
               const void *b, int ldb, float beta, float *c, int ldc);
} mkl;

static const char *version(void) {
  static char full[200], text[100];
  void (*get)(char *text, int size);
  if (mkl.library)
    return text;
  mkl.library = bench_library((const char *const[]){"libmkl_rt.so.3", "libmkl_rt.so.2", NULL});
  if (!bench_symbol(mkl.library, "MKL_Get_Version_String", &get))
    return NULL;
  get(full, sizeof full - 1);
  const char *number = strstr(full, "Version "); /* between the product's name and that of the architecture */
  number = number ? number + strlen("Version ") : full;
  const char *end = strstr(number, " for ");
  snprintf(text, sizeof text, "%.*s", end ? (int)(end - number) : (int)strlen(number), number);
  bench_symbol(mkl.library, "cblas_sgemm_pack_get_size", &mkl.sgemm_pack_get_size);
  bench_symbol(mkl.library, "cblas_sgemm_pack", &mkl.sgemm_pack);
  bench_symbol(mkl.library, "cblas_sgemm_compute", &mkl.sgemm_compute);
  bench_symbol(mkl.library, "cblas_sgemm_batch_strided", &mkl.sgemm_batch_strided);
  bench_symbol(mkl.library, "cblas_gemm_bf16bf16f32_pack_get_size", &mkl.bf16_pack_get_size);
  bench_symbol(mkl.library, "cblas_gemm_bf16bf16f32_pack", &mkl.bf16_pack);
  bench_symbol(mkl.library, "cblas_gemm_bf16bf16f32_compute", &mkl.bf16_compute);
  bench_symbol(mkl.library, "cblas_gemm_bf16bf16f32", &mkl.bf16);
  bench_symbol(mkl.library, "cblas_gemm_s8u8s32_pack_get_size", &mkl.int8_pack_get_size);
  bench_symbol(mkl.library, "cblas_gemm_s8u8s32_pack", &mkl.int8_pack);
  bench_symbol(mkl.library, "cblas_gemm_s8u8s32_compute", &mkl.int8_compute);
  bench_symbol(mkl.library, "cblas_gemm_s8u8s32", &mkl.int8);
  return text;
}

typedef struct state {
  problem *p;
  void *packed; /* B; NULL when batched */
  void *c;
} state;

static void *open_state(problem *p, char *why) {
  const bench_case *w = p->what;
  int m = (int)w->m, n = (int)w->n, k = (int)w->k;
  bool batched = w->kind == BENCH_BATCHED, can = false;
  switch (p->dtype) {
  case BENCH_F32: can = batched ? mkl.sgemm_batch_strided != NULL : mkl.sgemm_compute != NULL; break;
  case BENCH_BF16: can = batched ? mkl.bf16 != NULL : mkl.bf16_compute != NULL; break;
  case BENCH_U8S8S32: can = batched ? mkl.int8 != NULL : mkl.int8_compute != NULL; break;
  default:;
  }
  if (w->kind == BENCH_MLP || !can) {
    snprintf(why, BENCH_WHY, "not offered");
    return NULL;
  }
  state *s = calloc(1, sizeof *s);
  if (!s)
    return NULL;
  s->p = p;
  s->c = problem_alloc(p, (size_t)(w->batch * w->m * w->n) * sizeof(float));
  if (batched)
    return s;
  if (p->dtype == BENCH_F32) {
    s->packed = problem_alloc(p, mkl.sgemm_pack_get_size(B_MATRIX, m, n, k));
    mkl.sgemm_pack(ROW_MAJOR, B_MATRIX, NO_TRANSPOSE, m, n, k, 1, p->b[0], n, s->packed);
  } else if (p->dtype == BENCH_BF16) {
    s->packed = problem_alloc(p, mkl.bf16_pack_get_size(B_MATRIX, m, n, k));
    mkl.bf16_pack(ROW_MAJOR, B_MATRIX, NO_TRANSPOSE, m, n, k, p->b[0], n, s->packed);
  } else {
    s->packed = problem_alloc(p, mkl.int8_pack_get_size(B_MATRIX, m, n, k));
    mkl.int8_pack(ROW_MAJOR, B_MATRIX, NO_TRANSPOSE, m, n, k, p->b[0], n, s->packed);
  }
  return s;
}

/* "s8u8s32" names the operands as they stand column-major; row-major, A is u8 and B is s8. */
static void run_packed(const state *s, int m, int n, int k) {
  static const int32_t no_offset = 0;
  const problem *p = s->p;
  if (p->dtype == BENCH_F32)
    mkl.sgemm_compute(ROW_MAJOR, NO_TRANSPOSE, PACKED, m, n, k, p->a, k, s->packed, n, 0, s->c, n);
  else if (p->dtype == BENCH_BF16)
    mkl.bf16_compute(ROW_MAJOR, NO_TRANSPOSE, PACKED, m, n, k, 1, p->a, k, s->packed, n, 0, s->c, n);
  else
    mkl.int8_compute(ROW_MAJOR, NO_TRANSPOSE, PACKED, FIXED_OFFSET, m, n, k, 1, p->a, k, 0, s->packed, n, 0, 0, s->c, n,
                     &no_offset);
}

static void run_batch(const state *s, int m, int n, int k) {
  static const int32_t no_offset = 0;
  const problem *p = s->p;
  if (p->dtype == BENCH_F32) {
    mkl.sgemm_batch_strided(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, m, n, k, 1, p->a, k, m * k, p->b[0], n, k * n, 0,
                            s->c, n, m * n, (int)p->what->batch);
    return;
  }
  size_t width = bench_width(p->dtype);
  for (size_t i = 0; i < (size_t)p->what->batch; i++) {
    const char *a = (const char *)p->a + i * (size_t)m * (size_t)k * width;
    const char *b = (const char *)p->b[0] + i * (size_t)k * (size_t)n * width;
    void *c = (char *)s->c + i * (size_t)m * (size_t)n * 4;
    if (p->dtype == BENCH_BF16)
      mkl.bf16(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, m, n, k, 1, a, k, b, n, 0, c, n);
    else
      mkl.int8(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, FIXED_OFFSET, m, n, k, 1, a, k, 0, b, n, 0, 0, c, n, &no_offset);
  }
}

static bool run(void *arg) {
  const state *s = arg;
  const bench_case *w = s->p->what;
  (s->packed ? run_packed : run_batch)(s, (int)w->m, (int)w->n, (int)w->k);
  return true;
}

static void row(void *arg, int64_t batch, int64_t index, double *values) {
  const state *s = arg;
  int64_t n = s->p->what->n, first = (batch * s->p->what->m + index) * n;
  for (int64_t j = 0; j < n; j++)
    values[j] =
        s->p->dtype == BENCH_U8S8S32 ? ((const int32_t *)s->c)[first + j] : (double)((const float *)s->c)[first + j];
}

const implementation impl_mkl = {
    .name = "mkl", .version = version, .open = open_state, .run = run, .row = row, .close = free};
