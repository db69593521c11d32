/* sizes.c -- the limits on sizes that all arithmetic behind the front end relies on. */
#include "ir/graph.h"

static const int64_t max_elements = (int64_t)1 << 40;

/* The product of the known dims, max_elements + 1 beyond the limit; -1 if one is negative. */
static int64_t known_product(const onnxc_dims *pool, const onnxc_dim *dims, uint32_t count) {
  int64_t product = 1, n;
  bool large = false;
  for (uint32_t k = 0; k < count; k++) {
    if (!onnxc_dim_is_const(pool, dims[k], &n))
      continue;
    if (n < 0)
      return -1;
    large = large || n > max_elements / product;
    product *= large || n == 0 ? 1 : n;
  }
  return large ? max_elements + 1 : product;
}

static onnxc_status check(const onnxc_graph *graph, const char *name, const onnxc_dim *dims, uint32_t count) {
  int64_t product = known_product(&graph->dims, dims, count);
  if (product >= 0 && product <= max_elements)
    return ONNXC_OK;
  return onnxc_error(graph->diag, product < 0 ? ONNXC_BAD_INPUT : ONNXC_UNSUPPORTED, "%s%s%s", name ? name : "",
                     name ? ": " : "", product < 0 ? "a dim is negative" : "more than 2^40 elements");
}

onnxc_status onnxc_graph_check_sizes(const onnxc_graph *graph) {
  for (uint32_t k = 0; k < graph->inputs.length; k++) {
    const onnxc_value_info *input = onnxc_value_of(graph, graph->inputs.data[k]);
    ONNXC_TRY(check(graph, input->name, input->dims, input->rank));
  }
  for (uint32_t i = 0; i < graph->order.length; i++) {
    const onnxc_node_info *node = onnxc_node_of(graph, graph->order.data[i]);
    for (uint32_t j = 0; j < node->num_outputs; j++) {
      const onnxc_value_info *output = onnxc_value_of(graph, node->outputs[j]);
      ONNXC_TRY(check(graph, node->name, output->dims, output->rank));
    }
    const onnxc_compute *compute = node->compute;
    if (compute)
      ONNXC_TRY(check(graph, node->name, compute->extents + compute->num_parallel, compute->num_reduce));
  }
  return ONNXC_OK;
}
