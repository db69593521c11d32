/* compose_transpose.c -- a square of loads that is contiguous along the rows, transposed in registers.
 *
 * Where lanes would have to be gathered but `row` runs along memory, one vector load a lane reads the square of a
 * tile, and log2(lanes) rounds of two-register shuffles turn it: first groups of 1, 2, .. elements are
 * interleaved within 128-bit chunks (unpack), which transposes blocks of a chunk's size; then whole chunks are
 * sorted, even ones from odd ones. Both have single instructions on x86. At an edge rows or lanes are missing and have
 * no value.
 */
#include "nano/compose_internal.h"

enum { CHUNK = 16 /* bytes */ };

typedef LLVMValueRef square[MAX_SQUARE];

/* A shuffle of a and b by index of element in a||b. */
static LLVMValueRef shuffle(compose *c, LLVMValueRef a, LLVMValueRef b, const uint32_t *from) {
  LLVMValueRef indices[MAX_SQUARE];
  for (uint32_t k = 0; k < c->lanes; k++)
    indices[k] = LLVMConstInt(c->gen->i32, from[k], false);
  return LLVMBuildShuffleVector(c->gen->nano.builder, a, b, LLVMConstVector(indices, c->lanes), "");
}

/* Groups of `group` elements of a and b in turn, from the low or the high half of each chunk. */
static LLVMValueRef unpack(compose *c, LLVMValueRef a, LLVMValueRef b, uint32_t group, uint32_t chunk, bool high) {
  uint32_t from[MAX_SQUARE], n = c->lanes;
  for (uint32_t k = 0; k < n; k++) {
    uint32_t within = k % chunk, pair = within / (2 * group), rest = within % (2 * group);
    uint32_t element = k - within + (high ? chunk / 2 : 0) + pair * group + rest % group;
    from[k] = element + (rest >= group ? n : 0);
  }
  return shuffle(c, a, b, from);
}

/* The even (or odd) chunks of a, then those of b. */
static LLVMValueRef sort_chunks(compose *c, LLVMValueRef a, LLVMValueRef b, uint32_t chunk, bool odd) {
  uint32_t from[MAX_SQUARE], n = c->lanes;
  for (uint32_t k = 0; k < n; k++)
    from[k] = (2 * (k / chunk) + odd) * chunk + k % chunk;
  return shuffle(c, a, b, from);
}

/* w: `count` vectors whose chunks shall be transposed; the result for chunk q comes to out[q * stride]. */
static void transpose_chunks(compose *c, LLVMValueRef *w, uint32_t count, uint32_t chunk, LLVMValueRef *out,
                             uint32_t stride) {
  if (count == 1) {
    out[0] = w[0];
    return;
  }
  for (uint32_t odd = 0; odd < 2; odd++) {
    square half;
    for (uint32_t k = 0; k < count / 2; k++)
      half[k] = sort_chunks(c, w[(size_t)2 * k], w[(size_t)2 * k + 1], chunk, odd);
    transpose_chunks(c, half, count / 2, chunk, out + (size_t)odd * stride, 2 * stride);
  }
}

bool onnxc_compose_transposes(const compose *c, int64_t bytes) {
  return c->row >= 0 && c->vec >= 0 && !c->vec_reduces && c->tile_rows >= 2 && c->tile_rows <= c->lanes &&
         c->lanes <= MAX_SQUARE && c->lanes >= 4 && bytes * c->lanes >= CHUNK && bytes <= 8;
}

void onnxc_compose_transpose(compose *c, LLVMValueRef *v, int64_t bytes) {
  uint32_t n = c->lanes, chunk = (uint32_t)(CHUNK / bytes);
  square done = {NULL};
  for (uint32_t group = 1; group < chunk; group *= 2) {
    /* Rows i and i+group of each block of 2*group. */
    for (uint32_t i = 0; i < n; i++) {
      if (i & group)
        continue;
      done[i] = unpack(c, v[i], v[i + group], group, chunk, false);
      done[i + group] = unpack(c, v[i], v[i + group], group, chunk, true);
    }
    for (uint32_t i = 0; i < n; i++)
      v[i] = done[i];
  }
  /* Row g*chunk + i now holds, in chunk q, column q*chunk + i' of the rows g*chunk .. : i' is i with its bits
   * reversed, since each round told apart a higher bit of the column by a lower bit of the row. */
  for (uint32_t i = 0; i < chunk; i++) {
    square w;
    uint32_t column = 0;
    for (uint32_t bit = 1, mirror = chunk / 2; bit < chunk; bit *= 2, mirror /= 2)
      column |= i & bit ? mirror : 0;
    for (uint32_t g = 0; g < n / chunk; g++)
      w[g] = v[g * chunk + i];
    transpose_chunks(c, w, n / chunk, chunk, done + (size_t)column, chunk);
  }
  for (uint32_t i = 0; i < n; i++)
    v[i] = done[i];
}
