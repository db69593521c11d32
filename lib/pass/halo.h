/* halo.h -- zero padding as a property of memory: which guarded loads a halo of zeros makes plain. */
#ifndef ONNXC_PASS_HALO_H
#define ONNXC_PASS_HALO_H

#include "ir/graph.h"

typedef struct onnxc_halo {
  uint16_t low[ONNXC_MAX_RANK], high[ONNXC_MAX_RANK];
} onnxc_halo;

/* For a load of `value` in `compute`, guarded by `guard`: true if the guard only asks whether the load is in range, and
 * how far outside of it the load reaches, a constant in each dim. */
bool onnxc_halo_of_load(onnxc_graph *graph, const onnxc_compute *compute, onnxc_value value, onnxc_expr load,
                        onnxc_expr guard, onnxc_halo *halo);

#endif
