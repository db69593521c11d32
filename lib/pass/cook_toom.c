/* cook_toom.c -- see cook_toom.h.
 *
 * Cook and Toom multiply two polynomials by their values at enough points. With points a[0 .. n-2] and infinity,
 * n = m + 2, transposing that product gives the filter (S. Winograd, Arithmetic Complexity of Computations, 1980; for
 * convolutions A. Lavin, S. Gray, Fast Algorithms for Convolutional Neural Networks, 2015):
 *
 *     input   row j: the coefficients of prod over l != j of (x - a[l]); the last row: of all (x - a[l])
 *     filter  row j: a[j]^0, a[j]^1, a[j]^2, over prod over l != j of (a[j] - a[l]); the last row: 0, 0, 1
 *     output  row i: a[0]^i, a[1]^i, ..; for infinity 0, in the last row 1
 *
 * Points are 0 and pairs of +-a, so that the rows of a pair share their sums of even and of odd terms. Their powers are
 * exact in f32, so that only sums are rounded. For m = 4 the usual 1 and 2 give powers that differ much in size, and
 * four times the error of 3/4 and 3/2 (8e-6 and 2e-6 of the largest output, over 256 channels).
 */
#include "pass/cook_toom.h"

#include <math.h>
#include <string.h>

onnxc_cook_toom onnxc_cook_toom_of(uint32_t tile) {
  static const double points[2][ONNXC_MAX_POINTS - 1] = {{0, 1, -1}, {0, 0.75, -0.75, 1.5, -1.5}};
  const double *a = points[tile > 2];
  onnxc_cook_toom ct = {.tile = tile, .points = tile + ONNXC_TAPS - 1};
  uint32_t last = ct.points - 1;
  for (uint32_t j = 0; j <= last; j++) {
    double *row = ct.input[j], norm = 1, power = 1;
    uint32_t degree = 0;
    row[0] = 1;
    for (uint32_t l = 0; l < last; l++) {
      if (l == j)
        continue;
      for (uint32_t k = ++degree; k > 0; k--)
        row[k] = row[k - 1] - a[l] * row[k];
      row[0] *= -a[l];
      norm *= j < last ? a[j] - a[l] : 1;
    }
    for (uint32_t k = 0; j < last && k < ONNXC_TAPS; k++, power *= a[j])
      ct.filter[j][k] = power / norm;
    power = 1;
    for (uint32_t i = 0; j < last && i < tile; i++, power *= a[j])
      ct.output[i][j] = power;
  }
  ct.filter[last][ONNXC_TAPS - 1] = 1;
  ct.output[tile - 1][last] = 1;
  return ct;
}

static double tap(const onnxc_kernels *w, size_t n, size_t k, uint32_t y, uint32_t x) {
  return w->data[n * w->n_stride + k * w->k_stride + y * w->y_stride + x * w->x_stride];
}

void onnxc_cook_toom_filter(const onnxc_cook_toom *ct, const onnxc_kernels *kernels, float *result) {
  size_t step = kernels->channels * kernels->outputs;
  for (size_t k = 0; k < kernels->channels; k++)
    for (size_t n = 0; n < kernels->outputs; n++) {
      double rows[ONNXC_MAX_POINTS][ONNXC_TAPS];
      float *to = result + k * kernels->outputs + n;
      for (uint32_t i = 0; i < ct->points; i++)
        for (uint32_t x = 0; x < ONNXC_TAPS; x++) {
          rows[i][x] = 0;
          for (uint32_t y = 0; y < ONNXC_TAPS; y++)
            rows[i][x] += ct->filter[i][y] * tap(kernels, n, k, y, x);
        }
      for (uint32_t i = 0; i < ct->points; i++)
        for (uint32_t j = 0; j < ct->points; j++, to += step)
          *to = (float)(rows[i][0] * ct->filter[j][0] + rows[i][1] * ct->filter[j][1] + rows[i][2] * ct->filter[j][2]);
    }
}

/* ---- the error ---- */

typedef struct tile {
  float at[ONNXC_MAX_POINTS][ONNXC_MAX_POINTS];
} tile;

static float random_unit(uint64_t *state) {
  *state = *state * 6364136223846793005U + 1442695040888963407U;
  return (float)(int32_t)(*state >> 32) * 0x1p-31F;
}

/* One channel's inputs (the tile is drawn again for each output channel from the same seed), transformed. */
static void draw(const onnxc_cook_toom *ct, uint64_t *state, tile *inputs, tile *transformed) {
  tile rows = {{{0}}};
  for (uint32_t y = 0; y < ct->points; y++)
    for (uint32_t x = 0; x < ct->points; x++)
      inputs->at[y][x] = random_unit(state);
  memset(transformed, 0, sizeof *transformed);
  for (uint32_t i = 0; i < ct->points; i++)
    for (uint32_t x = 0; x < ct->points; x++)
      for (uint32_t y = 0; y < ct->points; y++)
        rows.at[i][x] += (float)ct->input[i][y] * inputs->at[y][x];
  for (uint32_t i = 0; i < ct->points; i++)
    for (uint32_t j = 0; j < ct->points; j++)
      for (uint32_t x = 0; x < ct->points; x++)
        transformed->at[i][j] += (float)ct->input[j][x] * rows.at[i][x];
}

double onnxc_cook_toom_error(const onnxc_cook_toom *ct, const onnxc_kernels *kernels, const float *transformed) {
  enum { SAMPLED = 16 };
  size_t step = kernels->outputs > SAMPLED ? kernels->outputs / SAMPLED : 1;
  double largest = 0, error = 0;
  for (size_t n = 0; n < kernels->outputs; n += step) {
    double sums[ONNXC_MAX_TILE][ONNXC_MAX_TILE] = {{0}};
    tile inputs = {{{0}}}, values, products = {{{0}}}, rows = {{{0}}};
    uint64_t state = 1;
    for (size_t k = 0; k < kernels->channels; k++) {
      draw(ct, &state, &inputs, &values);
      for (uint32_t i = 0; i < ct->points; i++)
        for (uint32_t j = 0; j < ct->points; j++)
          products.at[i][j] +=
              values.at[i][j] * transformed[((i * ct->points + j) * kernels->channels + k) * kernels->outputs + n];
      for (uint32_t y = 0; y < ONNXC_TAPS; y++)
        for (uint32_t x = 0; x < ONNXC_TAPS; x++)
          for (uint32_t i = 0; i < ct->tile; i++)
            for (uint32_t j = 0; j < ct->tile; j++)
              sums[i][j] += tap(kernels, n, k, y, x) * (double)inputs.at[i + y][j + x];
    }
    for (uint32_t i = 0; i < ct->tile; i++)
      for (uint32_t j = 0; j < ct->points; j++)
        for (uint32_t y = 0; y < ct->points; y++)
          rows.at[i][j] += (float)ct->output[i][y] * products.at[y][j];
    for (uint32_t i = 0; i < ct->tile; i++)
      for (uint32_t j = 0; j < ct->tile; j++) {
        float have = 0;
        for (uint32_t x = 0; x < ct->points; x++)
          have += (float)ct->output[j][x] * rows.at[i][x];
        double off = fabs((double)have - sums[i][j]);
        if (isnan(off))
          return NAN;
        largest = fmax(largest, fabs(sums[i][j]));
        error = fmax(error, off);
      }
  }
  return largest > 0 ? error / largest : error;
}
