/* recognise.h -- which computes are contractions; shared by the passes that ask before roles are written down. */
#ifndef ONNXC_PASS_RECOGNISE_H
#define ONNXC_PASS_RECOGNISE_H

#include "ir/graph.h"

/* A factor of a product: a load, perhaps guarded: select(condition, load, 0). */
typedef struct onnxc_factor {
  onnxc_expr load;
  onnxc_expr guard; /* the condition, or none */
} onnxc_factor;

/* Takes apart a load with any number of guards around it; false if e is no such thing. Of nested guards `guard` is
 * their conjunction. */
bool onnxc_match_guarded_load(onnxc_exprs *pool, onnxc_expr e, onnxc_factor *factor);

/* If the compute is a sum of products of two loads, fills its contraction (roles, a, b). `inputs` tell which factor is
 * constant: that one is b. */
bool onnxc_recognise_contraction(onnxc_graph *graph, onnxc_compute *compute, const onnxc_value *inputs);

#endif
