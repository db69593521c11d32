/* verify.h -- checks the invariants G1..G6 of graph.h; runs after every pass in debug builds. */
#ifndef ONNXC_IR_VERIFY_H
#define ONNXC_IR_VERIFY_H

#include "ir/graph.h"

onnxc_status onnxc_graph_verify(const onnxc_graph *graph, const char *after);

#endif
