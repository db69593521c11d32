/* graph_text.h -- parts of the graph's text that tile text uses too: value names, constants' data. */
#ifndef ONNXC_IR_GRAPH_TEXT_H
#define ONNXC_IR_GRAPH_TEXT_H

#include "ir/compute_text.h"

/* The unique printed name of each value, "%x", by handle: inputs and results of the nodes in order first, then all
 * others. */
const char **onnxc_value_texts(const onnxc_graph *graph, onnxc_arena *arena);
/* used[s]: symbol s stands in a dim, an element, an expression or a constraint of the graph. */
bool *onnxc_used_symbols(const onnxc_graph *graph, onnxc_arena *arena);
/* The name that a printed one stands for: NULL for %_7. */
const char *onnxc_value_name_meant(const char *name);

void onnxc_data_print(const onnxc_value_info *value, size_t max_constant, onnxc_text *text);
/* The data as text behind `constant`; typed later, when the value's type is known. */
typedef struct onnxc_data_text {
  const char *at;
} onnxc_data_text;
bool onnxc_data_skip(onnxc_lexer *lexer, onnxc_data_text *data);
/* Fills data and data_size of a value with static dims. */
bool onnxc_data_parse(onnxc_lexer *lexer, const onnxc_data_text *data, const onnxc_dims *dims, onnxc_value_info *value);

#endif
