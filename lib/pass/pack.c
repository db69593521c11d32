/* pack.c -- give the factors of each contraction the layouts that its register tile reads.
 *
 *     b, with n      [batch.., n / nr, window.., k.., nr]            panels of nr = vectors x lanes, the tail zero
 *     b, narrow      [batch.., n / nr, window.., k.., nr, kr]        a dot product takes kr consecutive k a lane (VNNI)
 *     b, few n       [batch.., n, window.., k..]                     the lanes run along k
 *     b, without n   [k.., window.., batch]                          depthwise: the lanes run along the channels
 *     a, narrow      [.., k]                                         kr consecutive k in one piece
 *
 * nr counts lanes of the accumulator. Constants are copied once, here, at memory speed, all of them at the end, in
 * pieces, on several threads (new memory is what takes the time, and the system gives it to each by itself). A b that a
 * run computes or gets is copied by a relayout, once a run, if enough rows read it: for dot products, or where a
 * panel's rows would be gathered, or lie so that they put each other out of the caches. What an elementwise compute
 * makes for this product alone is stored so at once.
 *
 * needs: roles, layouts      breaks: nothing      leaves: unpacked constants, for dce
 */
#include "base/parallel.h"
#include "pass/pass.h"
#include "pass/product.h"

#include <stdatomic.h>

/* A constant that is going to be packed, and what is done of it. */
typedef struct packing {
  onnxc_value from, to;
  bool last; /* nobody reads the original afterwards */
  uint32_t pieces;
  _Atomic uint32_t left;
} packing;

enum { PIECE = 4 << 20, MAX_PIECES = 256 };

typedef struct packer {
  onnxc_graph *graph;
  const onnxc_target *target;
  ONNXC_VEC(onnxc_value) from;
  ONNXC_VEC(onnxc_value) to;
  ONNXC_VEC(packing) packings;
  onnxc_order order;
  const uint32_t *uses; /* of each value, before this pass */
} packer;

/* ---- layouts ---- */

/* b's dims by role, the one that a dot product walks last; then the panel and what the product takes of k. */
static onnxc_layout layout_of_b(const onnxc_product *p) {
  static const uint8_t with_n[] = {ONNXC_ROLE_NONE, ONNXC_ROLE_BATCH, ONNXC_ROLE_N, ONNXC_ROLE_WINDOW, ONNXC_ROLE_K};
  static const uint8_t without_n[] = {ONNXC_ROLE_NONE, ONNXC_ROLE_N, ONNXC_ROLE_K, ONNXC_ROLE_WINDOW, ONNXC_ROLE_BATCH};
  const uint8_t *rank_of_role = p->n_dim >= 0 ? with_n : without_n;
  onnxc_layout layout = {0};
  for (int k = 0; k < 5; k++)
    for (uint32_t d = 0; d < p->b.rank; d++)
      if (p->roles[d] == rank_of_role[k] && (int)d != p->k_dim)
        layout.axis_dim[layout.num_axes++] = (uint8_t)d;
  if (p->k_dim >= 0)
    layout.axis_dim[layout.num_axes++] = (uint8_t)p->k_dim;
  if (p->panel) {
    layout.axis_dim[layout.num_axes] = (uint8_t)p->n_dim;
    layout.axis_size[layout.num_axes++] = (uint16_t)p->panel;
  }
  if (p->k_dim >= 0) {
    layout.axis_dim[layout.num_axes] = (uint8_t)p->k_dim;
    layout.axis_size[layout.num_axes++] = (uint16_t)p->tile.kr;
  }
  return layout;
}

/* a's storage order with the dim that a dot product walks last. */
static onnxc_layout layout_of_a(const onnxc_product *p) {
  onnxc_layout from = onnxc_layout_explicit(&p->a.layout, p->a.rank), layout = from;
  layout.num_axes = 0;
  for (uint32_t k = 0; k < from.num_axes; k++)
    if (from.axis_dim[k] != p->a_k_dim)
      layout.axis_dim[layout.num_axes++] = from.axis_dim[k];
  layout.axis_dim[layout.num_axes++] = (uint8_t)p->a_k_dim;
  return layout;
}

/* ---- copies ---- */

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

/* The node just appended to the graph's order goes before its user instead. */
static void place(packer *p, uint32_t length_before) {
  while (p->graph->order.length > length_before)
    ONNXC_PUSH(p->graph->arena, p->order, p->graph->order.data[--p->graph->order.length]);
}

/* A constant without its data yet. */
static onnxc_value pack_constant(packer *p, onnxc_value value, const onnxc_layout *layout) {
  onnxc_graph *graph = p->graph;
  onnxc_value_info info = *onnxc_value_of(graph, value);
  int64_t shape[ONNXC_MAX_RANK];
  onnxc_value_static_shape(graph, value, shape);
  int64_t stored = onnxc_layout_size_of(layout, info.rank, shape), elements = 1;
  for (uint32_t d = 0; d < info.rank; d++)
    elements *= shape[d];
  size_t size = (size_t)stored * onnxc_dtype_bytes(info.dtype);
  void *data = stored > elements ? onnxc_arena_alloc(graph->arena, size) : onnxc_arena_alloc_raw(graph->arena, size);
  onnxc_value packed = onnxc_graph_add_constant(graph, info.name, info.dtype, info.rank, shape, data);
  onnxc_value_info *result = onnxc_value_of(graph, packed);
  result->layout = *layout;
  result->data_size = size;
  bool last = p->uses[value.i] == 1 && data_is_its_own(graph, value); /* large weights are held once */
  uint32_t pieces = size / PIECE >= MAX_PIECES ? MAX_PIECES : (uint32_t)(size / PIECE) + 1;
  ONNXC_PUSH(graph->arena, p->packings, ((packing){value, packed, last, pieces, pieces}));
  return packed;
}

typedef struct piece {
  packing *packing;
  uint32_t number;
} piece;
typedef struct piece_list {
  const onnxc_graph *graph;
  piece *pieces;
} piece_list;

static void copy_piece(void *arg, uint32_t job) {
  const piece_list *list = arg;
  packing *p = list->pieces[job].packing;
  const onnxc_value_info *from = onnxc_value_of(list->graph, p->from), *to = onnxc_value_of(list->graph, p->to);
  int64_t shape[ONNXC_MAX_RANK];
  onnxc_value_static_shape(list->graph, p->from, shape);
  onnxc_layout_copy_part((void *)(uintptr_t)to->data, &to->layout, from->data, &from->layout, from->rank, shape,
                         onnxc_dtype_bytes(from->dtype), list->pieces[job].number, p->pieces);
  if (atomic_fetch_sub(&p->left, 1) == 1 && p->last)
    onnxc_graph_discard(list->graph, from->data, from->data_size);
}

/* No more threads than there is work for. */
static void copy_constants(packer *p, int threads) {
  size_t bytes = 0, count = 0;
  for (uint32_t k = 0; k < p->packings.length; k++) {
    bytes += onnxc_value_of(p->graph, p->packings.data[k].to)->data_size;
    count += p->packings.data[k].pieces;
  }
  piece_list list = {p->graph, ONNXC_NEW_ARRAY(p->graph->arena, piece, count)};
  uint32_t at = 0;
  for (uint32_t k = 0; k < p->packings.length; k++)
    for (uint32_t number = 0; number < p->packings.data[k].pieces; number++)
      list.pieces[at++] = (piece){&p->packings.data[k], number};
  onnxc_parallel(threads > 1 && bytes / PIECE < (size_t)threads ? (int)(bytes / PIECE) : threads, at, copy_piece,
                 &list);
}

static onnxc_value relayout(packer *p, onnxc_value value, const onnxc_layout *layout) {
  onnxc_graph *graph = p->graph;
  onnxc_value_info info = *onnxc_value_of(graph, value);
  onnxc_value copy = onnxc_graph_add_value(graph, info.name, info.dtype, info.rank, info.dims);
  onnxc_value_of(graph, copy)->layout = *layout;
  onnxc_graph_add_node(graph, ONNXC_OP_RELAYOUT, info.name, 1, &value, 1, &copy);
  return copy;
}

/* Can the compute that makes it store it so? Then nothing else may read it: no node, no output, no symbol. Narrow
 * floats that it computes would go one by one into pairs, between others: they are copied later, in words. */
static bool store_packed(const packer *p, onnxc_value value, const onnxc_layout *layout) {
  const onnxc_graph *graph = p->graph;
  onnxc_value_info *info = onnxc_value_of(graph, value);
  const onnxc_node_info *producer = info->producer.i ? onnxc_node_of(graph, info->producer) : NULL;
  if (!producer || producer->op != ONNXC_OP_COMPUTE || producer->num_outputs != 1 || producer->compute->num_reduce ||
      producer->compute->row_group || p->uses[value.i] != 1 || !onnxc_layout_is_default(&info->layout, info->rank))
    return false;
  bool moved = onnxc_exprs_node(&graph->exprs, producer->compute->finish[0])->op == ONNXC_EXPR_LOAD;
  bool pairs = layout->num_axes > 0 && layout->axis_size[layout->num_axes - 1] > 0;
  if (onnxc_dtype_is_float(info->dtype) && onnxc_dtype_bytes(info->dtype) < 4 && pairs && !moved)
    return false;
  for (uint32_t k = 1; k < graph->dims.symbols.length; k++)
    if (graph->dims.symbols.data[k].source == ONNXC_SYM_ELEMENT && graph->dims.symbols.data[k].index == value.i)
      return false;
  info->layout = *layout;
  return true;
}

/* The operand in this layout: a copy, made once for all users. */
static void pack(packer *p, onnxc_node node, uint32_t operand, const onnxc_layout *layout) {
  onnxc_graph *graph = p->graph;
  onnxc_value value = onnxc_node_of(graph, node)->inputs[operand], packed = {0};
  const onnxc_value_info *info = onnxc_value_of(graph, value);
  if (onnxc_layout_equal(&info->layout, layout, info->rank) || store_packed(p, value, layout))
    return;
  for (uint32_t k = 0; k < p->from.length && !packed.i; k++)
    if (p->from.data[k].i == value.i &&
        onnxc_branch_within(graph, graph->branch, onnxc_branch_of(graph, p->to.data[k])) &&
        onnxc_layout_equal(&onnxc_value_of(graph, p->to.data[k])->layout, layout, info->rank))
      packed = p->to.data[k];
  if (!packed.i) {
    uint32_t length = graph->order.length;
    packed = onnxc_value_is_constant(graph, value) ? pack_constant(p, value, layout) : relayout(p, value, layout);
    place(p, length);
    ONNXC_PUSH(graph->arena, p->from, value);
    ONNXC_PUSH(graph->arena, p->to, packed);
  }
  onnxc_node_of(graph, node)->inputs[operand] = packed;
}

static void pack_node(packer *s, onnxc_node handle) {
  onnxc_graph *graph = s->graph;
  const onnxc_node_info *node = onnxc_node_of(graph, handle);
  onnxc_product p;
  if (node->op != ONNXC_OP_COMPUTE || !node->compute->contraction.valid)
    return;
  if (!onnxc_find_product(graph, s->target, node, ONNXC_DTYPE_NONE, ONNXC_DTYPE_NONE, &p) ||
      (!p.constant_b && !p.copy_pays))
    return;
  onnxc_layout layout = layout_of_b(&p);
  pack(s, handle, p.compute->contraction.b, &layout);
  if (p.k_dim < 0 || p.a_k_dim == onnxc_innermost_dim(graph, &p.a))
    return;
  layout = layout_of_a(&p);
  pack(s, handle, p.compute->contraction.a, &layout);
}

static uint32_t row_group(const onnxc_graph *graph, onnxc_node node) {
  const onnxc_compute *compute = onnxc_node_of(graph, node)->compute;
  return compute ? compute->row_group : 0;
}

onnxc_status onnxc_pass_pack(onnxc_graph *graph, const onnxc_pass_options *options) {
  packer p = {.graph = graph, .target = options->target};
  if (!p.target)
    return onnxc_error(graph->diag, ONNXC_USAGE, "pass pack needs a target");
  p.uses = onnxc_graph_count_uses(graph, graph->arena);
  uint32_t length = graph->order.length;
  for (uint32_t k = 0; k < length;) {
    uint32_t end = k + 1; /* nothing comes between the nodes of a row group */
    while (end < length && row_group(graph, graph->order.data[k]) &&
           row_group(graph, graph->order.data[end]) == row_group(graph, graph->order.data[k]))
      end++;
    for (uint32_t n = k; n < end; n++) {
      graph->branch = onnxc_node_of(graph, graph->order.data[n])->branch;
      pack_node(&p, graph->order.data[n]);
    }
    for (; k < end; k++)
      ONNXC_PUSH(graph->arena, p.order, graph->order.data[k]);
  }
  graph->branch = (onnxc_branch){0};
  graph->order = p.order;
  copy_constants(&p, options->threads);
  return ONNXC_OK;
}
