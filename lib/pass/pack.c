/* pack.c -- give the factors of each contraction the layouts that its register tile reads.
 *
 *     b, with n      [batch.., n / nr, window.., k.., nr]            panels of nr = vectors x lanes, the tail zero
 *     b, narrow      [batch.., n / nr, window.., k.., nr, kr]        a dot product takes kr consecutive k a lane (VNNI)
 *     b, few n       [batch.., n, window.., k..]                     the lanes run along k
 *     b, without n   [k.., window.., batch]                          depthwise: the lanes run along the channels
 *     a, narrow      [.., k]                                         kr consecutive k in one piece
 *
 * nr counts lanes of the accumulator. Constants are copied once, here, at memory speed. A b that a run computes or gets
 * is copied by a relayout, once a run, if enough rows read it: always for dot products, else where a panel's
 * rows would be gathered, or lie so far apart that they fall out of the caches before the next rows need them.
 *
 * needs: roles, layouts      breaks: nothing      leaves: unpacked constants, for dce
 */
#include "pass/pass.h"
#include "pass/recognise.h"

/* Rows of a that pay for a copy of b: when it makes dot products of it, contiguous vectors, near panels. */
enum { ROWS_FOR_DOT = 4, ROWS_FOR_VECTORS = 8, ROWS_FOR_PANELS = 64 };

typedef struct packer {
  onnxc_graph *graph;
  const onnxc_target *target;
  ONNXC_VEC(onnxc_value) from;
  ONNXC_VEC(onnxc_value) to;
  ONNXC_VEC(onnxc_node) order;
  const uint32_t *uses; /* of each value, before this pass */
} packer;

/* A contraction, as far as packing asks. */
typedef struct product {
  const onnxc_compute *compute;
  onnxc_factor factors[2]; /* a, b */
  onnxc_value_info a, b;
  onnxc_role roles[ONNXC_MAX_RANK]; /* by dim of b: that of the one index in it */
  int n_dim;                        /* of b; -1 = none */
  int k_dim, a_k_dim;               /* where a dot product runs; -1 = there is none */
  onnxc_register_tile tile;
  uint32_t lanes;
} product;

/* ---- questions ---- */

static onnxc_expr argument(const onnxc_graph *graph, const onnxc_factor *factor, uint32_t d) {
  return onnxc_exprs_node(&graph->exprs, factor->load)->args[d];
}

static bool is_index(const onnxc_graph *graph, onnxc_expr e) {
  return onnxc_exprs_node(&graph->exprs, e)->op == ONNXC_EXPR_INDEX;
}

static onnxc_role role_of_dim(const onnxc_graph *graph, const onnxc_compute *compute, onnxc_expr index) {
  onnxc_role role = ONNXC_ROLE_NONE;
  for (uint32_t k = 0; k < compute->num_parallel + compute->num_reduce; k++)
    if (onnxc_expr_uses_index(&graph->exprs, index, k))
      role = (onnxc_role)compute->contraction.role[k];
  return role;
}

/* The dim of stride 1, whole; -1 if that is a part of a block. */
static int innermost_dim(const onnxc_graph *graph, const onnxc_value_info *value) {
  onnxc_layout layout = onnxc_layout_explicit(&value->layout, value->rank);
  for (uint32_t k = layout.num_axes; k-- > 0;) {
    uint32_t d = layout.axis_dim[k];
    if (layout.axis_size[k])
      return -1;
    if (k == 0 || !onnxc_dim_is(&graph->dims, value->dims[d], 1) || layout.low[d] || layout.high[d])
      return (int)d;
  }
  return -1;
}

/* The only dim of the factor that walks index k, step by step; -1 if there is no such dim. */
static int dim_of_index(onnxc_graph *graph, const product *p, const onnxc_factor *factor, uint32_t rank, uint32_t k) {
  const onnxc_compute *compute = p->compute;
  uint32_t all = compute->num_parallel + compute->num_reduce;
  onnxc_dim base, coefficients[ONNXC_MAX_INDICES];
  int found = -1;
  for (uint32_t d = 0; d < rank; d++) {
    onnxc_expr index = argument(graph, factor, d);
    if (!onnxc_expr_uses_index(&graph->exprs, index, k))
      continue;
    if (found >= 0 || !onnxc_expr_affine(&graph->exprs, index, all, &base, coefficients) ||
        !onnxc_dim_is(&graph->dims, coefficients[k], 1))
      return -1;
    for (uint32_t r = compute->num_parallel; r < all; r++)
      if (r != k && coefficients[r].i)
        return -1;
    found = (int)d;
  }
  return found;
}

/* The dims of a and b along which a dot product may run: where a is contiguous, else along the longest. */
static void choose_dot(onnxc_graph *graph, product *p) {
  const onnxc_compute *compute = p->compute;
  int64_t longest = 1;
  for (uint32_t k = compute->num_parallel; k < compute->num_parallel + compute->num_reduce; k++) {
    if (compute->contraction.role[k] != ONNXC_ROLE_K)
      continue;
    int a = dim_of_index(graph, p, &p->factors[0], p->a.rank, k);
    int b = dim_of_index(graph, p, &p->factors[1], p->b.rank, k);
    int64_t extent = onnxc_dim_hint(&graph->dims, compute->extents[k]);
    if (a < 0 || b < 0 || !is_index(graph, argument(graph, &p->factors[1], (uint32_t)b)) || extent < 2)
      continue;
    if (a == innermost_dim(graph, &p->a))
      extent = INT64_MAX;
    if (extent > longest) {
      longest = extent;
      p->k_dim = b;
      p->a_k_dim = a;
    }
  }
}

static bool blocked(const onnxc_value_info *value) {
  for (uint32_t k = 0; k < value->layout.num_axes; k++)
    if (value->layout.axis_size[k])
      return true;
  return false;
}

/* False if the node is no contraction whose factors could be packed. */
static bool find_product(const packer *s, const onnxc_node_info *node, product *p) {
  onnxc_graph *graph = s->graph;
  const onnxc_compute *c = node->compute;
  if (node->op != ONNXC_OP_COMPUTE || !c->contraction.valid || c->num_results != 1 || c->row_group ||
      c->contraction.a == c->contraction.b)
    return false;
  *p = (product){.compute = c, .n_dim = -1, .k_dim = -1, .a_k_dim = -1};
  if (!onnxc_contraction_factors(&graph->exprs, c, p->factors))
    return false;
  p->a = *onnxc_value_of(graph, node->inputs[c->contraction.a]);
  p->b = *onnxc_value_of(graph, node->inputs[c->contraction.b]);
  if (p->b.rank == 0 || blocked(&p->b))
    return false;
  for (uint32_t d = 0; d < p->b.rank; d++) {
    onnxc_expr index = argument(graph, &p->factors[1], d);
    p->roles[d] = role_of_dim(graph, c, index);
    if (p->b.layout.low[d] || p->b.layout.high[d])
      return false;
    if (p->roles[d] != ONNXC_ROLE_N)
      continue;
    if (p->n_dim >= 0 || !is_index(graph, index))
      return false;
    p->n_dim = (int)d;
  }
  onnxc_dtype acc = c->acc_dtype[0];
  onnxc_dtype dot = onnxc_target_factors(p->a.dtype, p->b.dtype, acc);
  bool bare = !p->factors[0].guard.i && !p->factors[1].guard.i && p->factors[0].dtype == acc;
  const onnxc_tile_row *row = onnxc_tile_row_for(s->target, dot, acc);
  if (p->n_dim >= 0 && bare && row && row->kr > 1 && !blocked(&p->a))
    choose_dot(graph, p);
  int64_t n = -1;
  if (p->n_dim >= 0)
    onnxc_dim_is_const(&graph->dims, p->b.dims[p->n_dim], &n);
  p->tile = onnxc_target_register_tile(s->target, p->k_dim >= 0 ? dot : acc, acc, n);
  p->lanes = onnxc_target_lanes(s->target, (uint32_t)onnxc_dtype_bytes(acc));
  if (n >= 0 && n * 2 * p->tile.kr <= p->lanes) /* most lanes would be idle: rather along k */
    p->tile.vecs = 0;
  if (!p->tile.vecs || p->k_dim < 0)
    p->k_dim = p->a_k_dim = -1;
  return true;
}

static double points(const onnxc_graph *graph, const product *p, onnxc_role role) {
  double count = 1;
  for (uint32_t k = 0; k < p->compute->num_parallel + p->compute->num_reduce; k++)
    if (p->compute->contraction.role[k] == role)
      count *= (double)onnxc_dim_hint(&graph->dims, p->compute->extents[k]);
  return count;
}

/* Does copying b at run time cost less than reading it as it lies? */
static bool copy_pays(const packer *s, const product *p) {
  const onnxc_graph *graph = s->graph;
  double rows = points(graph, p, ONNXC_ROLE_M);
  if (p->n_dim < 0 || !p->tile.vecs || p->factors[1].guard.i)
    return false;
  if (p->k_dim >= 0)
    return rows >= ROWS_FOR_DOT;
  if (innermost_dim(graph, &p->b) != p->n_dim)
    return rows >= ROWS_FOR_VECTORS;
  double bytes = points(graph, p, ONNXC_ROLE_N) * points(graph, p, ONNXC_ROLE_K) * points(graph, p, ONNXC_ROLE_WINDOW) *
                 (double)onnxc_dtype_bytes(p->b.dtype);
  return rows >= ROWS_FOR_PANELS && bytes > (double)s->target->l2_bytes;
}

/* ---- layouts ---- */

/* b's dims by role, the one that a dot product walks last; then the panel and what the product takes of k. */
static onnxc_layout layout_of_b(const product *p) {
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
  if (p->n_dim >= 0 && p->tile.vecs) {
    layout.axis_dim[layout.num_axes] = (uint8_t)p->n_dim;
    layout.axis_size[layout.num_axes++] = (uint16_t)(p->tile.vecs * p->lanes);
  }
  if (p->k_dim >= 0) {
    layout.axis_dim[layout.num_axes] = (uint8_t)p->k_dim;
    layout.axis_size[layout.num_axes++] = (uint16_t)p->tile.kr;
  }
  return layout;
}

/* a's storage order with the dim that a dot product walks last. */
static onnxc_layout layout_of_a(const product *p) {
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

static onnxc_value pack_constant(packer *p, onnxc_value value, const onnxc_layout *layout) {
  onnxc_graph *graph = p->graph;
  onnxc_value_info info = *onnxc_value_of(graph, value);
  int64_t shape[ONNXC_MAX_RANK];
  onnxc_value_static_shape(graph, value, shape);
  size_t bytes = onnxc_dtype_bytes(info.dtype);
  size_t size = (size_t)onnxc_layout_size_of(layout, info.rank, shape) * bytes;
  void *data = onnxc_arena_alloc(graph->arena, size);
  onnxc_layout_copy(data, layout, info.data, &info.layout, info.rank, shape, bytes);
  onnxc_value packed = onnxc_graph_add_constant(graph, info.name, info.dtype, info.rank, shape, data);
  onnxc_value_info *result = onnxc_value_of(graph, packed);
  result->layout = *layout;
  result->data_size = size;
  if (p->uses[value.i] == 1 && data_is_its_own(graph, value)) /* large weights are held once */
    onnxc_arena_discard(graph->arena, info.data, info.data_size);
  return packed;
}

static onnxc_value relayout(packer *p, onnxc_value value, const onnxc_layout *layout) {
  onnxc_graph *graph = p->graph;
  onnxc_value_info info = *onnxc_value_of(graph, value);
  onnxc_value copy = onnxc_graph_add_value(graph, info.name, info.dtype, info.rank, info.dims);
  onnxc_value_of(graph, copy)->layout = *layout;
  onnxc_graph_add_node(graph, ONNXC_OP_RELAYOUT, info.name, 1, &value, 1, &copy);
  return copy;
}

/* The operand in this layout: a copy, made once for all users. */
static void pack(packer *p, onnxc_node node, uint32_t operand, const onnxc_layout *layout) {
  onnxc_graph *graph = p->graph;
  onnxc_value value = onnxc_node_of(graph, node)->inputs[operand], packed = {0};
  const onnxc_value_info *info = onnxc_value_of(graph, value);
  if (onnxc_layout_equal(&info->layout, layout, info->rank))
    return;
  for (uint32_t k = 0; k < p->from.length && !packed.i; k++)
    if (p->from.data[k].i == value.i &&
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

static void pack_node(packer *s, onnxc_node node) {
  product p;
  if (!find_product(s, onnxc_node_of(s->graph, node), &p))
    return;
  bool constant = onnxc_value_is_constant(s->graph, onnxc_node_of(s->graph, node)->inputs[p.compute->contraction.b]);
  if (!constant && !copy_pays(s, &p))
    return;
  onnxc_layout layout = layout_of_b(&p);
  if (layout.num_axes < p.b.rank)
    return;
  pack(s, node, p.compute->contraction.b, &layout);
  if (p.k_dim < 0 || p.a_k_dim == innermost_dim(s->graph, &p.a))
    return;
  layout = layout_of_a(&p);
  pack(s, node, p.compute->contraction.a, &layout);
}

onnxc_status onnxc_pass_pack(onnxc_graph *graph, const onnxc_pass_options *options) {
  packer p = {.graph = graph, .target = options->target};
  if (!p.target)
    return onnxc_error(graph->diag, ONNXC_USAGE, "pass pack needs a target");
  p.uses = onnxc_graph_count_uses(graph, graph->arena);
  uint32_t length = graph->order.length;
  for (uint32_t k = 0; k < length; k++) {
    onnxc_node node = graph->order.data[k];
    pack_node(&p, node);
    ONNXC_PUSH(graph->arena, p.order, node);
  }
  graph->order.data = p.order.data;
  graph->order.length = p.order.length;
  graph->order.capacity = p.order.capacity;
  return ONNXC_OK;
}
