/* graphs.h -- random graphs of the kinds of nodes that passes merge, lay out and place in each other's memory. */
#ifndef ONNXC_TESTS_RANDOM_GRAPHS_H
#define ONNXC_TESTS_RANDOM_GRAPHS_H

#include "ir/graph.h"

/* Adds inputs f32[N, c, H, W] (dims symbolic or not: N may be 0, H and W are at least 5), nodes and outputs to an
 * empty graph. Equal seeds give equal graphs. */
void random_graph(onnxc_graph *graph, uint32_t seed);
/* The same, N symbolic, with nodes in branches that it decides. */
void random_forks(onnxc_graph *graph, uint32_t seed);
/* The same for one sum of products; inputs of many types. */
void random_product(onnxc_graph *graph, uint32_t seed);
/* The same for one or two layers between bytes. */
void random_island(onnxc_graph *graph, uint32_t seed);
/* The same for one attention. */
void random_attention(onnxc_graph *graph, uint32_t seed);
/* The same for two convolutions of 3 x 3 in f32, stride 1; one input. */
void random_convolutions(onnxc_graph *graph, uint32_t seed);

/* The generator behind it: 0 .. n-1, and a number in -1 .. 1. */
typedef struct random_numbers {
  uint64_t state;
} random_numbers;
uint32_t random_below(random_numbers *random, uint32_t n);
float random_float(random_numbers *random);
/* Numbers in -1 .. 1 for floats, any bytes for integers of one byte. */
void *random_data(onnxc_arena *arena, onnxc_dtype dtype, int64_t count, random_numbers *random);

#endif
