/* eval_compute.h -- inside the evaluator: one compute, with layouts and a name for messages. */
#ifndef ONNXC_IR_EVAL_COMPUTE_H
#define ONNXC_IR_EVAL_COMPUTE_H

#include "ir/eval_block.h"

/* env->arena is set here: an arena of its own for scratch, which is freed however the work ends. `results` get
 * their data from `arena`. */
onnxc_status onnxc_eval_compute_scratch(onnxc_block_env *env, onnxc_arena *arena, const onnxc_compute *compute,
                                        onnxc_array *results);

/* The accumulators of a sum of products, `sums[i]` += for each point i of the parallel space in row-major
 * order, by a blocked matrix product in double. *done is false, and nothing changed, if the compute
 * is no such sum, too small to gain, or of integers whose sums double does not hold exactly.
 * extents: all of the compute's. */
onnxc_status onnxc_eval_contraction(const onnxc_block_env *env, const onnxc_compute *compute, const int64_t *extents,
                                    double *sums, bool *done);

#endif
