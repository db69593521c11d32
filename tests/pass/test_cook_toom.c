/* test_cook_toom.c -- the transforms of minimal filtering: what they give, and the error that is told of them. */
#include <criterion/criterion.h>

#include "pass/cook_toom.h"

#include <math.h>
#include <stdlib.h>

static double random_unit(void) { return (double)rand() / RAND_MAX * 2 - 1; }

/* output (filter g * input d) is the filter's sums, up to rounding in double. */
Test(cook_toom, is_the_filter) {
  for (uint32_t m = 2; m <= 4; m += 2) {
    onnxc_cook_toom ct = onnxc_cook_toom_of(m);
    cr_assert(ct.tile == m && ct.points == m + 2);
    for (int round = 0; round < 100; round++) {
      double d[ONNXC_MAX_POINTS], g[ONNXC_TAPS], product[ONNXC_MAX_POINTS];
      for (uint32_t k = 0; k < ct.points; k++)
        d[k] = random_unit();
      for (uint32_t k = 0; k < ONNXC_TAPS; k++)
        g[k] = random_unit();
      for (uint32_t j = 0; j < ct.points; j++) {
        double a = 0, b = 0;
        for (uint32_t k = 0; k < ct.points; k++)
          a += ct.input[j][k] * d[k];
        for (uint32_t k = 0; k < ONNXC_TAPS; k++)
          b += ct.filter[j][k] * g[k];
        product[j] = a * b;
      }
      for (uint32_t i = 0; i < m; i++) {
        double have = 0, want = d[i] * g[0] + d[i + 1] * g[1] + d[i + 2] * g[2];
        for (uint32_t j = 0; j < ct.points; j++)
          have += ct.output[i][j] * product[j];
        cr_assert_float_eq(have, want, 1e-13);
      }
    }
  }
}

/* Inputs and outputs are transformed by numbers that f32 has. */
Test(cook_toom, coefficients_are_exact) {
  for (uint32_t m = 2; m <= 4; m += 2) {
    onnxc_cook_toom ct = onnxc_cook_toom_of(m);
    for (uint32_t j = 0; j < ct.points; j++)
      for (uint32_t k = 0; k < ct.points; k++) {
        cr_expect_eq((double)(float)ct.input[j][k], ct.input[j][k]);
        cr_expect(j >= m || (double)(float)ct.output[j][k] == ct.output[j][k]);
      }
  }
}

enum { K = 40, N = 20 };

static double error_of(uint32_t m, float *weights, size_t spoiled) {
  onnxc_cook_toom ct = onnxc_cook_toom_of(m);
  onnxc_kernels kernels = {weights, K, N, (size_t)K * 9, 9, 3, 1};
  float *transformed = malloc(sizeof(float) * ct.points * ct.points * K * N);
  onnxc_cook_toom_filter(&ct, &kernels, transformed);
  if (spoiled)
    transformed[spoiled] += 1;
  double error = onnxc_cook_toom_error(&ct, &kernels, transformed);
  free(transformed);
  return error;
}

/* As large as roundings make it, larger for larger tiles; transformed weights that are wrong are seen. */
Test(cook_toom, error) {
  float weights[(size_t)K * N * 9];
  for (size_t i = 0; i < sizeof weights / sizeof *weights; i++)
    weights[i] = (float)random_unit();
  double two = error_of(2, weights, 0), four = error_of(4, weights, 0);
  cr_expect(two > 1e-8 && two < 1e-6, "%g", two);
  cr_expect(four > two && four < 1e-5, "%g", four);
  cr_expect_gt(error_of(4, weights, (size_t)14 * K * N + (size_t)3 * N), 1e-3);
  weights[0] = NAN;
  cr_expect(isnan(error_of(4, weights, 0)));
  for (size_t i = 0; i < sizeof weights / sizeof *weights; i++)
    weights[i] = 0;
  cr_expect_eq(error_of(2, weights, 0), 0);
}
