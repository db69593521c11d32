/* infer.h -- known symbols become constants everywhere; shared by the passes that learn values. */
#ifndef ONNXC_PASS_INFER_H
#define ONNXC_PASS_INFER_H

#include "ir/graph.h"

/* Replaces each symbol whose range is one value, and each that stands for an element of a constant, in dims,
 * elements, extents, expressions and constraints. Constraints that hold are dropped, one that can't hold is
 * BAD_INPUT with its message, and so are dims that turn out to be negative. *changed (may be NULL): whether there was
 * such a symbol in use. */
onnxc_status onnxc_infer_symbols(onnxc_graph *graph, bool *changed);

#endif
