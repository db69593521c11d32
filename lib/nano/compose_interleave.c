/* compose_interleave.c -- stores of a tile whose rows lie between each other in memory.
 *
 * Where lanes are `rows` elements apart and the rows of the tile fill the gaps (a channel shuffle, a transpose with a
 * short inner side), the rows' vectors are interleaved in registers and stored in one piece: log2(rows) rounds of
 * two-register shuffles in place of a scatter a row.
 */
#include "nano/compose_internal.h"

/* a0 b0 a1 b1 ..: the low half of it (or the high one). */
static LLVMValueRef merge_halves(compose *c, LLVMValueRef a, LLVMValueRef b, bool high) {
  LLVMValueRef from[64];
  uint32_t n = c->lanes;
  for (uint32_t l = 0; l < n; l++)
    from[l] = LLVMConstInt(c->gen->i32, (high ? n / 2 : 0) + l / 2 + (l % 2 ? n : 0), false);
  return LLVMBuildShuffleVector(c->gen->nano.builder, a, b, LLVMConstVector(from, n), "");
}

/* The elements of v[0], v[1], .. in turn, in `count` vectors again; count is a power of two. */
static void interleave(compose *c, LLVMValueRef *v, uint32_t count) {
  if (count == 1)
    return;
  /* Even rows and odd rows for themselves, then these two sequences. */
  LLVMValueRef even[MAX_INTERLEAVED / 2] = {NULL}, odd[MAX_INTERLEAVED / 2] = {NULL};
  for (uint32_t k = 0; k < count / 2; k++) {
    even[k] = v[(size_t)2 * k];
    odd[k] = v[(size_t)2 * k + 1];
  }
  interleave(c, even, count / 2);
  interleave(c, odd, count / 2);
  for (uint32_t k = 0; k < count; k++)
    v[k] = merge_halves(c, even[k / 2], odd[k / 2], k % 2);
}

bool onnxc_compose_interleaves(const compose *c) {
  return c->row >= 0 && c->vec >= 0 && !c->vec_reduces && (c->tile_rows == 2 || c->tile_rows == MAX_INTERLEAVED) &&
         c->lanes >= 2;
}

void onnxc_compose_interleave(compose *c, LLVMValueRef *rows) { interleave(c, rows, c->tile_rows); }
