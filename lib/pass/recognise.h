/* recognise.h -- which computes are contractions; shared by the passes that ask before roles are written down. */
#ifndef ONNXC_PASS_RECOGNISE_H
#define ONNXC_PASS_RECOGNISE_H

#include "ir/graph.h"

/* A factor of a product: a load, perhaps cast, perhaps guarded: cast(select(condition, load, 0)). */
typedef struct onnxc_factor {
  onnxc_expr load;
  onnxc_expr guard;  /* the condition, or none */
  onnxc_dtype dtype; /* that of the factor: the load's, or what it is cast to */
} onnxc_factor;

/* Takes apart a load with at most one cast and any number of guards around it, in any order; false if e is no such
 * thing. Of nested guards `guard` is their conjunction. */
bool onnxc_match_factor(onnxc_exprs *pool, onnxc_expr e, onnxc_factor *factor);
/* The two factors of a contraction, a first; false if its element is no product of two. */
bool onnxc_contraction_factors(onnxc_exprs *pool, const onnxc_compute *compute, onnxc_factor factors[2]);

/* If the compute is a sum of products of two factors, fills its contraction (roles, a, b). `inputs` tell which factor
 * is constant: that one is b. */
bool onnxc_recognise_contraction(onnxc_graph *graph, onnxc_compute *compute, const onnxc_value *inputs);

/* The same contraction with operand `a` as its first factor: which one is b is a matter of how they are read. */
void onnxc_contraction_orient(onnxc_exprs *pool, onnxc_compute *compute, uint32_t a);

#endif
