/* tuned.c -- the key of a product in a tile program, and measured choices in place of the model's. */
#include "tile/product.h"

enum { LIGHT_COST = 8 }; /* a bias and an activation of a few operations */

static void set_extent(const onnxc_dims *dims, onnxc_product_key *key, int which, onnxc_dim dim) {
  int64_t extent;
  bool known = onnxc_dim_is_const(dims, dim, &extent);
  if (!known)
    extent = onnxc_dim_hint(dims, dim);
  key->open[which] |= !known;
  if (__builtin_mul_overflow(key->extent[which], extent, &key->extent[which]))
    key->extent[which] = 0; /* of no product in a file */
}

static onnxc_product_key key_of(const onnxc_tile_program *program, const onnxc_stmt *stmt) {
  const onnxc_compute *c = stmt->compute;
  const onnxc_schedule *s = &stmt->schedule;
  const onnxc_exprs *exprs = &program->graph->exprs;
  onnxc_product_key key = {.cpu = program->target->name,
                           .a = program->buffers.data[stmt->operands[c->contraction.a].buffer].dtype,
                           .b = program->buffers.data[stmt->operands[c->contraction.b].buffer].dtype,
                           .acc = c->acc_dtype[0],
                           .extent = {1, 1, 1, 1},
                           .panel = (int64_t)s->vecs * s->lanes};
  for (uint32_t k = 0; k <= c->num_parallel; k++)
    set_extent(&program->graph->dims, &key,
               k == c->num_parallel ? ONNXC_PRODUCT_K
               : (int)k == s->row   ? ONNXC_PRODUCT_M
               : (int)k == s->vec   ? ONNXC_PRODUCT_N
                                    : ONNXC_PRODUCT_BATCH,
               c->extents[k]);
  if (exprs->nodes.data[c->finish[0].i].op != ONNXC_EXPR_ACC)
    key.epilogue = onnxc_expr_cost(exprs, c->finish[0]) <= LIGHT_COST ? ONNXC_EPILOGUE_LIGHT : ONNXC_EPILOGUE_HEAVY;
  return key;
}

/* A block of `block` elements of an index; 0 = the whole index. */
static int64_t block_of(const onnxc_product_key *key, int which, int64_t block) {
  return !key->open[which] && block >= key->extent[which] ? 0 : block;
}

void onnxc_product_tune(onnxc_tile_program *program, onnxc_stmt *stmt, onnxc_blocks *blocks) {
  onnxc_schedule *s = &stmt->schedule;
  onnxc_tuned product = {.key = key_of(program, stmt), .number = program->stages.length};
  const onnxc_product_values *tuned = program->tuning ? onnxc_tuning_find(program->tuning, &product.key) : NULL;
  if (tuned) {
    s->rows = (uint16_t)(s->row >= 0 ? tuned->tile : 1);
    s->unroll = (uint16_t)tuned->unroll;
    blocks->rows = block_of(&product.key, ONNXC_PRODUCT_M, tuned->rows);
    blocks->columns = block_of(&product.key, ONNXC_PRODUCT_N, tuned->columns);
    blocks->depth = block_of(&product.key, ONNXC_PRODUCT_K, tuned->depth);
    blocks->ahead_bytes = (uint32_t)tuned->ahead;
    blocks->ahead_lines = (uint16_t)tuned->lines;
  }
  product.values = (onnxc_product_values){.tile = s->rows,
                                          .unroll = s->unroll,
                                          .rows = blocks->rows,
                                          .columns = blocks->columns,
                                          .depth = blocks->depth,
                                          .ahead = blocks->ahead_bytes,
                                          .lines = blocks->ahead_lines};
  ONNXC_PUSH(program->graph->arena, program->products, product);
}
