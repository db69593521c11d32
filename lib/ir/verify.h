/* verify.h -- checks the invariants G1..G7 of graph.h; runs after every pass in debug builds. */
#ifndef ONNXC_IR_VERIFY_H
#define ONNXC_IR_VERIFY_H

#include "ir/graph.h"

/* All violations go to the graph's diag, each with its number. `after` is the pass that ran: then a violation is a bug
 * of ours (ONNXC_INTERNAL). NULL: the graph came from outside as text (ONNXC_BAD_INPUT). */
onnxc_status onnxc_graph_verify(const onnxc_graph *graph, const char *after);

/* G5, what a compute says by itself: NULL, or what is wrong with it. Operand k has dtype dtypes[k] (NONE: absent) and
 * rank ranks[k]. */
const char *onnxc_compute_check(const onnxc_exprs *pool, const onnxc_compute *compute, uint32_t num_operands,
                                const onnxc_dtype *dtypes, const uint32_t *ranks);

/* G7 of a node, and of the branches themselves: NULL, or what is wrong. verify_branch.c */
const char *onnxc_branch_check(const onnxc_graph *graph, const onnxc_node_info *node);
const char *onnxc_branches_check(const onnxc_graph *graph);

#endif
