/* product.c -- see product.h.
 *
 * A dot product runs along an index of k that a walks in steps of one element, beside batch indices at most, and b in a
 * dim of its own. Panels pay when they fill more lanes than lie idle.
 */
#include "pass/product.h"

/* Rows of a that pay for a copy of b: when it makes dot products of it (those of bytes save slow multiplications),
 * contiguous vectors, near panels. */
enum { ROWS_FOR_BYTES = 2, ROWS_FOR_PAIRS = 8, ROWS_FOR_VECTORS = 8, ROWS_FOR_PANELS = 128 };
enum { ALIASING_BYTES = 1024 };

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

int onnxc_innermost_dim(const onnxc_graph *graph, const onnxc_value_info *value) {
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
static int dim_of_index(onnxc_graph *graph, const onnxc_product *p, const onnxc_factor *factor, uint32_t rank,
                        uint32_t k) {
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
static void choose_dot(onnxc_graph *graph, onnxc_product *p) {
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
    if (a == onnxc_innermost_dim(graph, &p->a))
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

double onnxc_product_points(const onnxc_graph *graph, const onnxc_product *p, onnxc_role role) {
  double count = 1;
  for (uint32_t k = 0; k < p->compute->num_parallel + p->compute->num_reduce; k++)
    if (p->compute->contraction.role[k] == role)
      count *= (double)onnxc_dim_hint(&graph->dims, p->compute->extents[k]);
  return count;
}

static bool copy_pays(const onnxc_graph *graph, const onnxc_target *target, const onnxc_product *p) {
  double rows = onnxc_product_points(graph, p, ONNXC_ROLE_M);
  if (p->n_dim < 0 || !p->panel || p->factors[1].guard.i)
    return false;
  if (p->k_dim >= 0)
    return rows >= (double)(p->tile.kr >= 4 ? ROWS_FOR_BYTES : ROWS_FOR_PAIRS);
  if (onnxc_innermost_dim(graph, &p->b) != p->n_dim)
    return rows >= (double)ROWS_FOR_VECTORS;
  /* Rows of b whose distance is a multiple of so much share few sets of the caches. */
  int64_t columns = 0;
  bool apart = onnxc_dim_is_const(&graph->dims, p->b.dims[p->n_dim], &columns) &&
               columns * (int64_t)onnxc_dtype_bytes(p->b.dtype) % ALIASING_BYTES == 0;
  double bytes = onnxc_product_points(graph, p, ONNXC_ROLE_N) * onnxc_product_points(graph, p, ONNXC_ROLE_K) *
                 onnxc_product_points(graph, p, ONNXC_ROLE_WINDOW) * (double)onnxc_dtype_bytes(p->b.dtype);
  return rows >= (double)ROWS_FOR_PANELS && apart && bytes > (double)target->l2_bytes;
}

/* The dims of b by role; false if two walk n, or one does so otherwise than step by step, or m occurs. */
static bool find_roles(const onnxc_graph *graph, onnxc_product *p) {
  for (uint32_t d = 0; d < p->b.rank; d++) {
    onnxc_expr index = argument(graph, &p->factors[1], d);
    p->roles[d] = role_of_dim(graph, p->compute, index);
    if (p->roles[d] == ONNXC_ROLE_M)
      return false;
    if (p->roles[d] != ONNXC_ROLE_N)
      continue;
    if (p->n_dim >= 0 || !is_index(graph, index))
      return false;
    p->n_dim = (int)d;
  }
  return true;
}

static bool has_halo(const onnxc_value_info *value) {
  for (uint32_t d = 0; d < value->rank; d++)
    if (value->layout.low[d] || value->layout.high[d])
      return true;
  return false;
}

bool onnxc_find_product(onnxc_graph *graph, const onnxc_target *target, const onnxc_node_info *node,
                        onnxc_dtype a_dtype, onnxc_dtype b_dtype, onnxc_product *p) {
  const onnxc_compute *c = node->compute;
  if (node->op != ONNXC_OP_COMPUTE || !c->contraction.valid || c->num_results != 1 ||
      c->contraction.a == c->contraction.b)
    return false;
  onnxc_value a = node->inputs[c->contraction.a], b = node->inputs[c->contraction.b];
  *p = (onnxc_product){.compute = c, .n_dim = -1, .k_dim = -1, .a_k_dim = -1};
  p->a = *onnxc_value_of(graph, a);
  p->b = *onnxc_value_of(graph, b);
  p->constant_b = onnxc_value_is_constant(graph, b);
  if (p->b.rank == 0 || blocked(&p->b) || has_halo(&p->b) || !onnxc_contraction_factors(&graph->exprs, c, p->factors) ||
      !find_roles(graph, p))
    return false;
  a_dtype = a_dtype ? a_dtype : p->a.dtype;
  b_dtype = b_dtype ? b_dtype : p->b.dtype;
  onnxc_dtype acc = c->acc_dtype[0], dot = onnxc_target_factors(a_dtype, b_dtype, acc);
  const onnxc_tile_row *row = onnxc_tile_row_for(target, dot, acc);
  if (p->n_dim >= 0 && row && row->kr > 1 && !blocked(&p->a) && !p->factors[0].guard.i && !p->factors[1].guard.i)
    choose_dot(graph, p);
  int64_t n = -1;
  if (p->n_dim >= 0)
    onnxc_dim_is_const(&graph->dims, p->b.dims[p->n_dim], &n);
  uint32_t lanes = onnxc_target_lanes(target, (uint32_t)onnxc_dtype_bytes(acc));
  p->tile = onnxc_target_register_tile(target, p->k_dim >= 0 ? dot : acc, acc, n);
  if (p->n_dim >= 0 && (n < 0 || n * 2 * p->tile.kr > lanes)) /* else most lanes would be idle: rather along k */
    p->panel = p->tile.vecs * p->tile.lanes;
  else
    p->k_dim = p->a_k_dim = -1;
  p->copy_pays = copy_pays(graph, target, p);
  return true;
}
