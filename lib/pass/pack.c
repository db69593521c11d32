/* pack.c -- give the constant factor of each contraction the layout that its register tile reads.
 *
 *     with n         [batch.. , n / nr, window.., k.., nr]   rows of nr = vectors x lanes, the tail zero
 *     few n          [batch.. , n, window.., k..]            the lanes run along k
 *     without n      [k.., window.., batch]                  depthwise: the lanes run along the channels
 *
 * Data is copied once, here, at memory speed. Factors that are no constants stay as they are.
 *
 * needs: roles, layouts      breaks: nothing      leaves: unpacked constants, for dce
 */
#include "pass/pass.h"
#include "pass/recognise.h"

typedef struct packer {
  onnxc_graph *graph;
  const onnxc_target *target;
  ONNXC_VEC(onnxc_value) from;
  ONNXC_VEC(onnxc_value) to;
  ONNXC_VEC(onnxc_node) order;
  const uint32_t *uses; /* of each value, before this pass */
} packer;

static void find_load(void *arg, const onnxc_exprs *pool, onnxc_expr e) {
  struct {
    uint32_t operand;
    onnxc_expr load;
  } *find = arg;
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  if (node->op == ONNXC_EXPR_LOAD && node->imm == (int64_t)find->operand)
    find->load = e;
}

/* The role that decides where dim d of b goes: that of the one index in it. */
static onnxc_role role_of_dim(const onnxc_graph *graph, const onnxc_compute *compute, onnxc_expr index) {
  onnxc_role role = ONNXC_ROLE_NONE;
  for (uint32_t k = 0; k < compute->num_parallel + compute->num_reduce; k++)
    if (onnxc_expr_uses_index(&graph->exprs, index, k))
      role = (onnxc_role)compute->contraction.role[k];
  return role;
}

/* The order of b's dims by role, and how the last one is blocked (0 = not). False if b stays as it is. */
static bool packed_layout(const packer *p, const onnxc_node_info *node, onnxc_layout *layout) {
  onnxc_graph *graph = p->graph;
  const onnxc_compute *compute = node->compute;
  const onnxc_value_info *b = onnxc_value_of(graph, node->inputs[compute->contraction.b]);
  struct {
    uint32_t operand;
    onnxc_expr load;
  } find = {compute->contraction.b, {0}};
  onnxc_expr_walk(&graph->exprs, compute->element[0], find_load, &find);
  if (!find.load.i || b->rank == 0 || b->layout.num_axes)
    return false;
  onnxc_expr_node load = *onnxc_exprs_node(&graph->exprs, find.load);
  onnxc_role roles[ONNXC_MAX_RANK];
  int n_dim = -1;
  for (uint32_t d = 0; d < b->rank; d++) {
    roles[d] = role_of_dim(graph, compute, load.args[d]);
    if (roles[d] != ONNXC_ROLE_N)
      continue;
    if (n_dim >= 0 || onnxc_exprs_node(&graph->exprs, load.args[d])->op != ONNXC_EXPR_INDEX)
      return false;
    n_dim = (int)d;
  }
  static const uint8_t with_n[] = {ONNXC_ROLE_NONE, ONNXC_ROLE_BATCH, ONNXC_ROLE_N, ONNXC_ROLE_WINDOW, ONNXC_ROLE_K};
  static const uint8_t without_n[] = {ONNXC_ROLE_NONE, ONNXC_ROLE_N, ONNXC_ROLE_K, ONNXC_ROLE_WINDOW, ONNXC_ROLE_BATCH};
  const uint8_t *rank_of_role = n_dim >= 0 ? with_n : without_n;
  *layout = (onnxc_layout){0};
  for (int k = 0; k < 5; k++)
    for (uint32_t d = 0; d < b->rank; d++)
      if (roles[d] == rank_of_role[k])
        layout->axis_dim[layout->num_axes++] = (uint8_t)d;
  int64_t n = 0;
  if (n_dim < 0 || !onnxc_dim_is_const(&graph->dims, b->dims[n_dim], &n))
    return layout->num_axes == b->rank;
  uint32_t lanes = onnxc_target_lanes(p->target, (uint32_t)onnxc_dtype_bytes(b->dtype));
  if (n * 2 > lanes) {
    onnxc_register_tile tile = onnxc_target_register_tile(p->target, b->dtype, compute->acc_dtype[0], n);
    layout->axis_dim[layout->num_axes] = (uint8_t)n_dim;
    layout->axis_size[layout->num_axes++] = (uint16_t)(tile.vecs * lanes);
  }
  return true;
}

/* No other value has its bytes there. */
static bool data_is_its_own(const onnxc_graph *graph, onnxc_value value) {
  const onnxc_value_info *info = onnxc_value_of(graph, value);
  uintptr_t start = (uintptr_t)info->data;
  for (uint32_t v = 1; v < graph->values.length; v++) {
    const onnxc_value_info *other = &graph->values.data[v];
    uintptr_t at = (uintptr_t)other->data;
    if (v != value.i && other->data && at < start + info->data_size && start < at + other->data_size)
      return false;
  }
  return true;
}

static onnxc_value pack(packer *p, onnxc_value value, const onnxc_layout *layout) {
  onnxc_graph *graph = p->graph;
  onnxc_value_info info = *onnxc_value_of(graph, value);
  for (uint32_t k = 0; k < p->from.length; k++)
    if (p->from.data[k].i == value.i &&
        onnxc_layout_equal(&onnxc_value_of(graph, p->to.data[k])->layout, layout, info.rank))
      return p->to.data[k];
  int64_t shape[ONNXC_MAX_RANK];
  onnxc_value_static_shape(graph, value, shape);
  size_t bytes = onnxc_dtype_bytes(info.dtype);
  size_t size = (size_t)onnxc_layout_size_of(layout, info.rank, shape) * bytes;
  void *data = onnxc_arena_alloc(graph->arena, size);
  onnxc_layout_copy(data, layout, info.data, &info.layout, info.rank, shape, bytes);
  uint32_t before = graph->order.length;
  onnxc_value packed = onnxc_graph_add_constant(graph, info.name, info.dtype, info.rank, shape, data);
  onnxc_value_info *result = onnxc_value_of(graph, packed);
  result->layout = *layout;
  result->data_size = size;
  if (p->uses[value.i] == 1 && data_is_its_own(graph, value)) /* large weights are held once */
    onnxc_arena_discard(graph->arena, info.data, info.data_size);
  while (graph->order.length > before) /* the constant's node goes before its user */
    ONNXC_PUSH(graph->arena, p->order, graph->order.data[--graph->order.length]);
  ONNXC_PUSH(graph->arena, p->from, value);
  ONNXC_PUSH(graph->arena, p->to, packed);
  return packed;
}

onnxc_status onnxc_pass_pack(onnxc_graph *graph, const onnxc_pass_options *options) {
  packer p = {.graph = graph, .target = options->target};
  if (!p.target)
    return onnxc_error(graph->diag, ONNXC_USAGE, "pass pack needs a target");
  p.uses = onnxc_graph_count_uses(graph, graph->arena);
  uint32_t length = graph->order.length;
  for (uint32_t k = 0; k < length; k++) {
    onnxc_node handle = graph->order.data[k];
    onnxc_node_info *node = onnxc_node_of(graph, handle);
    onnxc_layout layout;
    if (node->op == ONNXC_OP_COMPUTE && node->compute->contraction.valid &&
        onnxc_value_is_constant(graph, node->inputs[node->compute->contraction.b]) &&
        packed_layout(&p, node, &layout)) {
      uint32_t b = node->compute->contraction.b;
      onnxc_value packed = pack(&p, node->inputs[b], &layout);
      onnxc_node_of(graph, handle)->inputs[b] = packed;
    }
    ONNXC_PUSH(graph->arena, p.order, handle);
  }
  graph->order.data = p.order.data;
  graph->order.length = p.order.length;
  graph->order.capacity = p.order.capacity;
  return ONNXC_OK;
}
