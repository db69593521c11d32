/* eval_block.h -- expressions over blocks of points, the inner loop of the evaluator.
 *
 * A program is an expression DAG compiled against concrete operands and symbol
 * values. It is evaluated for a block of up to ONNXC_LANES points of a space:
 * some indices run over the lanes (row major), all others are fixed. Every node
 * keeps its lanes and a mask of those that are valid, so that
 *  - a node is evaluated again only if an index that it depends on has moved, and
 *  - select is lazy: each arm is asked only for its own lanes. Only loads look
 *    at the mask; any other operation is total and computes all lanes.
 */
#ifndef ONNXC_IR_EVAL_BLOCK_H
#define ONNXC_IR_EVAL_BLOCK_H

#include "ir/eval.h"
#include "ir/eval_scalar.h"

/* What a program is compiled against; borrowed, lives as long as the program. */
typedef struct onnxc_block_env {
  onnxc_graph *graph;
  onnxc_arena *arena; /* scratch */
  const onnxc_array *operands;
  const onnxc_layout *const *layouts; /* one an operand, for its halo; NULL, or its entry NULL: none */
  uint32_t num_operands, num_indices;
  const int64_t *symbols; /* ONNXC_UNBOUND where a symbol has no value yet */
  const char *where;      /* for messages, may be NULL */
} onnxc_block_env;

/* The value of a dim; BAD_INPUT for overflow, INTERNAL for a symbol without a value. */
onnxc_status onnxc_eval_dim(onnxc_graph *graph, const int64_t *symbols, onnxc_dim dim, const char *where,
                            int64_t *value);
/* Number of points; the product was checked when the space was made. */
typedef struct onnxc_space {
  uint32_t rank;
  uint8_t index[ONNXC_MAX_INDICES];
  int64_t extent[ONNXC_MAX_INDICES];
} onnxc_space;
int64_t onnxc_space_size(const onnxc_space *space);
/* The indices first..first+count-1 whose extent is not 1. */
onnxc_space onnxc_space_of(const int64_t *extents, uint32_t first, uint32_t count);

typedef struct onnxc_block onnxc_block;

onnxc_status onnxc_block_compile(const onnxc_block_env *env, uint32_t num_roots, const onnxc_expr *roots,
                                 onnxc_block **block);
/* Bit k: the root depends on index k. */
uint32_t onnxc_block_deps(const onnxc_block *block, uint32_t root);
/* Chooses the indices that run over the lanes; all others keep their fixed value (0 at first). */
void onnxc_block_set_space(onnxc_block *block, const onnxc_space *space);
void onnxc_block_seek(onnxc_block *block, int64_t first, int n);
void onnxc_block_fix(onnxc_block *block, uint32_t index, int64_t value);
/* The registers of ACC and VAL number `which` (NULL if the program does not read it). Fill them, then call
 * onnxc_block_touch so that what depends on them is evaluated anew. */
onnxc_lanes *onnxc_block_acc(onnxc_block *block, uint32_t which);
onnxc_lanes *onnxc_block_val(onnxc_block *block, uint32_t which);
void onnxc_block_touch(onnxc_block *block);
/* The root's lanes 0..n-1 at the block's points. Errors of loads are kept: see status. */
const onnxc_lanes *onnxc_block_eval(onnxc_block *block, uint32_t root);
onnxc_status onnxc_block_status(const onnxc_block *block);

#endif
