/* eval.h -- the evaluator: the meaning of a graph, in plain C.
 *
 * The oracle of every test and the folder of constants. It knows nothing of
 * layouts but their logical values, evaluates select lazily, checks every load
 * against the logical range (halo reads give zero), and accumulates reductions
 * in double for floats (so it is at least as good as any order).
 */
#ifndef ONNXC_IR_EVAL_H
#define ONNXC_IR_EVAL_H

#include "ir/graph.h"

/* A tensor with static dims, row major. */
typedef struct onnxc_array {
  onnxc_dtype dtype;
  uint32_t rank;
  int64_t dims[ONNXC_MAX_RANK];
  void *data; /* owned by the caller, or in the arena given */
} onnxc_array;

int64_t onnxc_array_count(const onnxc_array *array); /* elements; -1 on overflow */

#define ONNXC_UNBOUND INT64_MIN   /* a symbol without a value */
enum { ONNXC_SPARE_SYMBOLS = 4 }; /* evaluating rewrites dims, which can make the symbol of too complex ones */

typedef struct onnxc_eval {
  onnxc_graph *graph;
  onnxc_arena *arena;  /* for intermediate and result tensors */
  int64_t *symbols;    /* value of each symbol, bound as evaluation goes; SPARE_SYMBOLS more than there are */
  onnxc_array *arrays; /* one a value; data NULL when not computed (yet) */
} onnxc_eval;

/* Binds symbols from the inputs' dims (checks shapes, dtypes, constraints), then evaluates every node of
 * order. arrays[v.i] has every value afterwards. */
onnxc_status onnxc_eval_graph(onnxc_eval *eval, onnxc_graph *graph, onnxc_arena *arena, const onnxc_array *inputs,
                              uint32_t num_inputs);
/* Evaluates one node whose inputs are in eval->arrays (constants are found by themselves). */
onnxc_status onnxc_eval_node(onnxc_eval *eval, onnxc_node node);
/* One compute on plain arrays; results[] dims and data are filled (data from the arena). */
onnxc_status onnxc_eval_compute(onnxc_graph *graph, onnxc_arena *arena, const onnxc_compute *compute,
                                const onnxc_array *operands, uint32_t num_operands, const int64_t *symbols,
                                onnxc_array *results);

#endif
