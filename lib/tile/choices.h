/* choices.h -- indices by whose value a compute selects what it computes. */
#ifndef ONNXC_TILE_CHOICES_H
#define ONNXC_TILE_CHOICES_H

#include "ir/graph.h"

enum { ONNXC_MAX_CHOICES = 64 };

/* choices[k] for each parallel index k of a compute without reduction: after so many points finish does the same again,
 * since it selects by index k mod that number, or by index k, which has so many points; 1 = it selects by nothing of
 * the kind. Code that has so many consecutive points one after another need not ask. */
void onnxc_tile_choices(const onnxc_graph *graph, const onnxc_compute *compute, uint32_t *choices);

#endif
