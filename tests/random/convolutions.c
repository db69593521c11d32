/* convolutions.c -- random convolutions of 3 x 3, for passes that compute them in tiles; see graphs.h.
 *
 * Two in a row, so that one reads an input as it is given and one what the first stored: with paddings of 0 to 2, sizes
 * that tiles do not divide, channels (at least two: one is no reduction) that vectors do not divide, several images,
 * symbolic sizes, a residual.
 */
#include "graphs.h"

#include "ops/build.h"

typedef struct maker {
  onnxc_graph *graph;
  random_numbers random;
} maker;

static uint32_t below(maker *m, uint32_t n) { return random_below(&m->random, n); }

static onnxc_value constant(maker *m, uint32_t rank, const int64_t *shape) {
  int64_t count = 1;
  for (uint32_t d = 0; d < rank; d++)
    count *= shape[d];
  return onnxc_graph_add_constant(m->graph, NULL, ONNXC_F32, rank, shape,
                                  random_data(m->graph->arena, ONNXC_F32, count, &m->random));
}

static onnxc_dim number_or_symbol(maker *m, int64_t number, const char *name, uint32_t axis) {
  onnxc_dims *dims = &m->graph->dims;
  if (below(m, 4))
    return onnxc_dim_const(dims, number);
  onnxc_sym symbol = onnxc_sym_new(dims, name, ONNXC_SYM_INPUT_DIM, 0, axis);
  onnxc_dims_symbol(dims, symbol)->low = axis ? 5 : 0;
  return onnxc_dim_sym(dims, symbol);
}

static onnxc_value convolve(maker *m, onnxc_value x, int64_t in, int64_t out) {
  onnxc_conv conv = {.spatial = 2, .group = 1, .stride = {1, 1}, .dilation = {1, 1}};
  uint32_t pad = below(m, 3);
  for (int s = 0; s < 2; s++) {
    conv.pad_low[s] = onnxc_dim_const(&m->graph->dims, below(m, 4) ? pad : below(m, 3));
    conv.pad_high[s] = onnxc_dim_const(&m->graph->dims, below(m, 4) ? pad : below(m, 3));
  }
  onnxc_value w = constant(m, 4, (int64_t[]){out, in, 3, 3});
  onnxc_value bias = below(m, 2) ? constant(m, 1, &out) : (onnxc_value){0};
  return onnxc_build_conv(m->graph, "conv", x, w, bias, &conv);
}

void random_convolutions(onnxc_graph *graph, uint32_t seed) {
  static const int64_t channels[] = {2, 3, 5, 8, 15, 16, 17, 24, 33, 64, 70};
  enum { COUNT = sizeof channels / sizeof *channels };
  maker m = {graph, {seed}};
  int64_t in = channels[below(&m, COUNT)], between = channels[below(&m, COUNT)];
  onnxc_dim shape[4] = {number_or_symbol(&m, 1 + below(&m, 3), "N", 0), onnxc_dim_const(&graph->dims, in),
                        number_or_symbol(&m, 5 + below(&m, 14), "H", 2),
                        number_or_symbol(&m, 5 + below(&m, 14), "W", 3)};
  onnxc_value x = onnxc_graph_add_input(graph, "x", ONNXC_F32, 4, shape);
  onnxc_value y = convolve(&m, x, in, between);
  if (below(&m, 2))
    y = onnxc_build_unary(graph, "tanh", ONNXC_EXPR_TANH, y);
  onnxc_value z = convolve(&m, y, between, below(&m, 2) ? between : channels[below(&m, COUNT)]);
  if (below(&m, 2)) { /* a residual, if that has the same shape */
    const onnxc_value_info *a = onnxc_value_of(graph, y), *b = onnxc_value_of(graph, z);
    bool same = true;
    for (uint32_t d = 0; d < 4; d++)
      same = same && onnxc_dim_same(a->dims[d], b->dims[d]);
    z = same ? onnxc_build_binary(graph, "add", ONNXC_EXPR_ADD, z, y) : z;
  }
  if (below(&m, 2))
    onnxc_graph_add_output(graph, y, "y");
  onnxc_graph_add_output(graph, z, "z");
}
