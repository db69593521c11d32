/* graph.c -- building the tensor graph; see graph.h. */
#include "ir/graph.h"

#include <assert.h>
#include <string.h>

const char *onnxc_op_name(onnxc_op op) {
  static const char *const names[ONNXC_OP_COUNT] = {
      "none",
#define X(NAME, text, min_inputs, max_inputs, outputs) text,
#include "ir/ops.def"
#undef X
  };
  return (unsigned)op < ONNXC_OP_COUNT ? names[op] : "?";
}

void onnxc_graph_init(onnxc_graph *graph, onnxc_arena *arena, onnxc_diag *diag) {
  memset(graph, 0, sizeof *graph);
  graph->arena = arena;
  graph->diag = diag;
  graph->name = "main";
  onnxc_dims_init(&graph->dims, arena);
  onnxc_exprs_init(&graph->exprs, &graph->dims, arena);
  ONNXC_PUSH(arena, graph->values, (onnxc_value_info){0});
  ONNXC_PUSH(arena, graph->nodes, (onnxc_node_info){0});
  ONNXC_PUSH(arena, graph->branches, (onnxc_branch_info){0});
}

onnxc_value onnxc_graph_add_value(onnxc_graph *graph, const char *name, onnxc_dtype dtype, uint32_t rank,
                                  const onnxc_dim *dims) {
  assert(rank <= ONNXC_MAX_RANK);
  onnxc_value_info info = {.name = name, .dtype = dtype, .rank = rank};
  info.dims = ONNXC_NEW_ARRAY(graph->arena, onnxc_dim, rank);
  if (rank)
    memcpy(info.dims, dims, rank * sizeof *dims);
  onnxc_value value = {graph->values.length};
  ONNXC_PUSH(graph->arena, graph->values, info);
  return value;
}

onnxc_value onnxc_graph_add_input(onnxc_graph *graph, const char *name, onnxc_dtype dtype, uint32_t rank,
                                  const onnxc_dim *dims) {
  onnxc_value value = onnxc_graph_add_value(graph, name, dtype, rank, dims);
  onnxc_value_of(graph, value)->slot = graph->inputs.length;
  ONNXC_PUSH(graph->arena, graph->inputs, value);
  return value;
}

void onnxc_graph_add_output(onnxc_graph *graph, onnxc_value value, const char *name) {
  ONNXC_PUSH(graph->arena, graph->outputs, value);
  ONNXC_PUSH(graph->arena, graph->output_names, name); // NOLINT(bugprone-multi-level-implicit-pointer-conversion)
}

onnxc_value onnxc_graph_add_constant(onnxc_graph *graph, const char *name, onnxc_dtype dtype, uint32_t rank,
                                     const int64_t *dims, const void *data) {
  onnxc_dim shape[ONNXC_MAX_RANK];
  assert(rank <= ONNXC_MAX_RANK);
  size_t size = onnxc_dtype_bytes(dtype);
  for (uint32_t d = 0; d < rank; d++) {
    if (dims[d] < 0 || __builtin_mul_overflow(size, (size_t)dims[d], &size)) {
      onnxc_error(graph->diag, ONNXC_BAD_INPUT, "constant '%s': its dims are negative or too large", name ? name : "");
      return (onnxc_value){0};
    }
    shape[d] = onnxc_dim_const(&graph->dims, dims[d]);
  }
  onnxc_value value = onnxc_graph_add_value(graph, name, dtype, rank, shape);
  onnxc_graph_add_node(graph, ONNXC_OP_CONSTANT, name, 0, NULL, 1, &value);
  onnxc_value_info *info = onnxc_value_of(graph, value);
  info->data = data;
  info->data_size = size;
  return value;
}

onnxc_node onnxc_graph_add_node(onnxc_graph *graph, onnxc_op op, const char *name, uint32_t num_inputs,
                                const onnxc_value *inputs, uint32_t num_outputs, const onnxc_value *outputs) {
  onnxc_node_info info = {.op = op, .name = name, .num_inputs = num_inputs, .num_outputs = num_outputs};
  info.branch = op == ONNXC_OP_CONSTANT ? (onnxc_branch){0} : graph->branch;
  info.inputs = ONNXC_NEW_ARRAY(graph->arena, onnxc_value, num_inputs);
  info.outputs = ONNXC_NEW_ARRAY(graph->arena, onnxc_value, num_outputs);
  if (num_inputs)
    memcpy(info.inputs, inputs, num_inputs * sizeof *inputs);
  if (num_outputs)
    memcpy(info.outputs, outputs, num_outputs * sizeof *outputs);
  onnxc_node node = {graph->nodes.length};
  ONNXC_PUSH(graph->arena, graph->nodes, info);
  ONNXC_PUSH(graph->arena, graph->order, node);
  for (uint32_t i = 0; i < num_outputs; i++) {
    onnxc_value_info *value = onnxc_value_of(graph, outputs[i]);
    assert(outputs[i].i && !value->producer.i);
    value->producer = node;
    value->slot = i;
  }
  return node;
}

onnxc_node onnxc_graph_add_compute(onnxc_graph *graph, const char *name, const onnxc_compute *compute,
                                   uint32_t num_inputs, const onnxc_value *inputs, onnxc_value *results) {
  assert(compute->num_parallel <= ONNXC_MAX_RANK && compute->num_results <= ONNXC_MAX_RESULTS);
  onnxc_compute *copy = ONNXC_NEW(graph->arena, onnxc_compute);
  *copy = *compute;
  for (uint32_t j = 0; j < compute->num_results; j++) {
    onnxc_dtype dtype = (onnxc_dtype)onnxc_exprs_node(&graph->exprs, compute->finish[j])->dtype;
    results[j] = onnxc_graph_add_value(graph, NULL, dtype, compute->num_parallel, compute->extents);
  }
  onnxc_node node =
      onnxc_graph_add_node(graph, ONNXC_OP_COMPUTE, name, num_inputs, inputs, compute->num_results, results);
  onnxc_node_of(graph, node)->compute = copy;
  return node;
}

void onnxc_graph_add_constraint(onnxc_graph *graph, onnxc_dim a, onnxc_dim b, const char *message) {
  if (graph->branch.i)
    a = onnxc_dim_select(&graph->dims, onnxc_branch_condition(graph, graph->branch), a, b);
  if (onnxc_dim_same(a, b))
    return;
  for (uint32_t i = 0; i < graph->constraints.length; i++) {
    const onnxc_constraint *other = &graph->constraints.data[i];
    if (onnxc_dim_same(other->a, a) && onnxc_dim_same(other->b, b))
      return;
  }
  ONNXC_PUSH(graph->arena, graph->constraints, ((onnxc_constraint){a, b, message}));
}

static void add_source(onnxc_sources *sources, const char *name) {
  for (uint32_t k = 0; k < sources->count; k++)
    if (sources->names[k] == name)
      return;
  if (sources->count < ONNXC_MAX_SOURCES)
    sources->names[sources->count++] = name;
  else
    sources->more = true;
}

void onnxc_sources_add(onnxc_sources *sources, const onnxc_node_info *node) {
  for (uint32_t k = 0; node->sources && k < node->sources->count; k++)
    add_source(sources, node->sources->names[k]);
  if (node->sources)
    sources->more |= node->sources->more;
  else if (node->name)
    add_source(sources, node->name);
}

void onnxc_node_absorb(onnxc_graph *graph, onnxc_node into, onnxc_node from) {
  onnxc_sources *sources = ONNXC_NEW(graph->arena, onnxc_sources);
  onnxc_sources_add(sources, onnxc_node_of(graph, from));
  onnxc_sources_add(sources, onnxc_node_of(graph, into));
  onnxc_node_of(graph, into)->sources = sources;
}

void onnxc_graph_discard(const onnxc_graph *graph, const void *data, size_t size) {
  uintptr_t at = (uintptr_t)data;
  for (uint32_t k = 0; k < graph->mappings.length; k++) {
    uintptr_t start = (uintptr_t)graph->mappings.data[k].bytes;
    if (at >= start && at - start < graph->mappings.data[k].size) {
      onnxc_discard_pages(data, size);
      return;
    }
  }
  onnxc_arena_discard(graph->arena, data, size);
}

bool onnxc_value_is_constant(const onnxc_graph *graph, onnxc_value value) {
  onnxc_node producer = onnxc_value_of(graph, value)->producer;
  return producer.i && onnxc_node_of(graph, producer)->op == ONNXC_OP_CONSTANT;
}

bool onnxc_value_static_shape(const onnxc_graph *graph, onnxc_value value, int64_t *shape) {
  const onnxc_value_info *info = onnxc_value_of(graph, value);
  for (uint32_t d = 0; d < info->rank; d++)
    if (!onnxc_dim_is_const(&graph->dims, info->dims[d], &shape[d]))
      return false;
  return true;
}

onnxc_dim onnxc_value_num_elements(onnxc_graph *graph, onnxc_value value) {
  const onnxc_value_info *info = onnxc_value_of(graph, value);
  onnxc_dim count = onnxc_dim_const(&graph->dims, 1);
  for (uint32_t d = 0; d < info->rank; d++)
    count = onnxc_dim_mul(&graph->dims, count, info->dims[d]);
  return count;
}

void onnxc_graph_replace_uses(onnxc_graph *graph, onnxc_value from, onnxc_value to) {
  for (uint32_t n = 1; n < graph->nodes.length; n++) {
    onnxc_node_info *node = &graph->nodes.data[n];
    for (uint32_t i = 0; i < node->num_inputs; i++)
      if (node->inputs[i].i == from.i)
        node->inputs[i] = to;
  }
  for (uint32_t i = 0; i < graph->outputs.length; i++)
    if (graph->outputs.data[i].i == from.i)
      graph->outputs.data[i] = to;
}

uint32_t *onnxc_graph_count_uses(const onnxc_graph *graph, onnxc_arena *arena) {
  uint32_t *uses = ONNXC_NEW_ARRAY(arena, uint32_t, graph->values.length);
  for (uint32_t n = 0; n < graph->order.length; n++) {
    const onnxc_node_info *node = onnxc_node_of(graph, graph->order.data[n]);
    for (uint32_t i = 0; i < node->num_inputs; i++)
      uses[node->inputs[i].i]++;
  }
  for (uint32_t i = 0; i < graph->outputs.length; i++)
    uses[graph->outputs.data[i].i]++;
  uses[0] = 0;
  return uses;
}

onnxc_expr_op onnxc_compute_combiner(const onnxc_exprs *pool, const onnxc_compute *compute, uint32_t j) {
  if (compute->num_reduce == 0 || !compute->combine[j].i)
    return ONNXC_EXPR_NONE;
  const onnxc_expr_node *node = onnxc_exprs_node(pool, compute->combine[j]);
  switch ((onnxc_expr_op)node->op) {
  case ONNXC_EXPR_ADD:
  case ONNXC_EXPR_MUL:
  case ONNXC_EXPR_MIN:
  case ONNXC_EXPR_MAX:
  case ONNXC_EXPR_AND:
  case ONNXC_EXPR_OR:
  case ONNXC_EXPR_XOR: break;
  default: return ONNXC_EXPR_NONE;
  }
  const onnxc_expr_node *a = onnxc_exprs_node(pool, node->args[0]), *b = onnxc_exprs_node(pool, node->args[1]);
  bool straight = a->op == ONNXC_EXPR_ACC && b->op == ONNXC_EXPR_VAL;
  bool swapped = a->op == ONNXC_EXPR_VAL && b->op == ONNXC_EXPR_ACC;
  return (straight || swapped) && a->imm == (int64_t)j && b->imm == (int64_t)j ? (onnxc_expr_op)node->op
                                                                               : ONNXC_EXPR_NONE;
}
