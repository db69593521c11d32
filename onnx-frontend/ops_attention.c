/* ops_attention.c -- Attention: softmax(scale * Q K' + bias) V, by heads.
 *
 * Everything is built of what exporters write, so that pass/attention.c sees one form: a contraction whose epilogue is
 * the scale, the soft cap and the mask, the composite SOFTMAX, a contraction with V. Query heads that share a head of
 * keys are an index of their own, g, which K and V do not depend on:
 *
 *     scores[b, h, g, i, j] = sum over d of q[b, h, g, i, d] * k[b, h, j, d]
 *
 * A key is allowed by causality, windows, the lengths of an outer cache and a mask of bools; forbidden ones score -inf,
 * whatever they hold. A row without any allowed key gives zeros: where there may be one, the probabilities are cleared.
 * Types narrower than f32 are computed in f32 throughout.
 */
#include "shorthand.h"

#include <math.h>

/* Dims of the scores. Without groups there is no g. */
enum { BATCH, HEAD };

typedef struct attention {
  onnxc_importer *in;
  onnxc_graph *graph;
  onnxc_exprs *pool;
  onnxc_value q, k, v;                  /* [b, h, (g,) i, d], [b, h, j, d], [b, h, j, e] */
  onnxc_value mask, lengths;            /* none where omitted */
  onnxc_dim batch, heads, groups, keys; /* heads of K; query heads a head of K */
  onnxc_dim query_heads, queries, past; /* past: keys before the first query's own; none = lengths - queries */
  onnxc_dtype dtype, wide;              /* of Q; computed in */
  bool grouped, causal;
  int64_t left, right;               /* the window; -1 = open */
  uint32_t rank;                     /* of the scores */
  onnxc_dim extents[ONNXC_MAX_RANK]; /* of the scores */
} attention;

/* ---- operands ---- */

static onnxc_status failed(onnxc_importer *in) { return in->graph->diag->status; }

/* Q, K or V as [b, h, s, d]: three dims are [b, s, h * d]. */
static onnxc_value by_heads(onnxc_importer *in, uint32_t k, const char *attribute) {
  onnxc_graph *graph = in->graph;
  onnxc_value x = onnxc_import_operand(in, k, "f");
  if (!x.i)
    return x;
  const onnxc_value_info info = *onnxc_value_of(graph, x);
  int64_t heads = onnxc_import_int(in, attribute, 0), hidden;
  if (info.rank == 4)
    return x;
  if (info.rank != 3 || heads <= 0 ||
      (onnxc_dim_is_const(&graph->dims, info.dims[2], &hidden) && hidden % heads != 0)) {
    onnxc_import_error(in, ONNXC_BAD_INPUT, "input %u of rank %u in %lld heads", k, info.rank, (long long)heads);
    return (onnxc_value){0};
  }
  onnxc_dim count = onnxc_dim_const(&graph->dims, heads);
  onnxc_dim dims[4] = {info.dims[0], info.dims[1], count, onnxc_dim_floordiv(&graph->dims, info.dims[2], count)};
  static const uint32_t heads_first[] = {0, 2, 1, 3};
  return onnxc_build_transpose(graph, in->where, onnxc_build_reshape(graph, in->where, x, 4, dims), heads_first);
}

/* A cache before K or V, and both together as output `present`. */
static onnxc_value with_past(onnxc_importer *in, uint32_t past, uint32_t present, onnxc_value x) {
  if (onnxc_import_optional(in, past).i)
    x = onnxc_build_concat(in->graph, in->where, 2, (onnxc_value[]){onnxc_import_optional(in, past), x}, 2);
  onnxc_import_result(in, present, x);
  return x;
}

static bool agree(attention *a) {
  onnxc_graph *graph = a->graph;
  const char *where = a->in->where;
  const onnxc_value_info *q = onnxc_value_of(graph, a->q), *k = onnxc_value_of(graph, a->k),
                         *v = onnxc_value_of(graph, a->v);
  a->batch = q->dims[0];
  a->query_heads = q->dims[1];
  a->queries = q->dims[2];
  a->heads = k->dims[1];
  a->keys = k->dims[2];
  int64_t of_q, of_k;
  bool known =
      onnxc_dim_is_const(&graph->dims, a->query_heads, &of_q) && onnxc_dim_is_const(&graph->dims, a->heads, &of_k);
  if (known && (of_k == 0 ? of_q != 0 : of_q % of_k != 0)) {
    onnxc_import_error(a->in, ONNXC_BAD_INPUT, "%lld heads of queries for %lld of keys", (long long)of_q,
                       (long long)of_k);
    return false;
  }
  a->grouped = known && of_q != of_k;
  return onnxc_build_same_dim(graph, where, a->batch, k->dims[0], NULL) &&
         onnxc_build_same_dim(graph, where, a->batch, v->dims[0], NULL) &&
         onnxc_build_same_dim(graph, where, a->heads, v->dims[1], NULL) &&
         onnxc_build_same_dim(graph, where, a->keys, v->dims[2], NULL) &&
         onnxc_build_same_dim(graph, where, q->dims[3], k->dims[3], NULL) &&
         (a->grouped || onnxc_build_same_dim(graph, where, a->query_heads, a->heads, NULL));
}

static bool read_operands(attention *a) {
  onnxc_importer *in = a->in;
  onnxc_graph *graph = a->graph;
  a->q = by_heads(in, 0, "q_num_heads");
  a->k = by_heads(in, 1, "kv_num_heads");
  a->v = by_heads(in, 2, "kv_num_heads");
  if (!a->q.i || !a->k.i || !a->v.i)
    return false;
  a->dtype = onnxc_value_of(graph, a->q)->dtype;
  a->wide = onnxc_build_wide(a->dtype);
  onnxc_value past = onnxc_import_optional(in, 4);
  a->lengths = onnxc_import_optional(in, 6);
  if (past.i && onnxc_value_of(graph, past)->rank != 4) {
    onnxc_import_error(in, ONNXC_BAD_INPUT, "a cache of rank %u", onnxc_value_of(graph, past)->rank);
    return false;
  }
  if ((past.i != 0) != (onnxc_import_optional(in, 5).i != 0) || (past.i && a->lengths.i)) {
    onnxc_import_error(in, ONNXC_BAD_INPUT, "a cache needs both past_key and past_value, and no nonpad_kv_seqlen");
    return false;
  }
  a->past = past.i         ? onnxc_value_of(graph, past)->dims[2]
            : a->lengths.i ? (onnxc_dim){0}
                           : onnxc_dim_const(&graph->dims, 0);
  a->k = with_past(in, 4, 1, a->k);
  a->v = with_past(in, 5, 2, a->v);
  if (!a->k.i || !a->v.i || !agree(a))
    return false;
  const onnxc_value_info *lengths = a->lengths.i ? onnxc_value_of(graph, a->lengths) : NULL;
  if (lengths && (lengths->rank != 1 || !onnxc_dtype_is_int(lengths->dtype))) {
    onnxc_import_error(in, ONNXC_BAD_INPUT, "nonpad_kv_seqlen of rank %u", lengths->rank);
    return false;
  }
  if (lengths && !onnxc_build_same_dim(graph, in->where, lengths->dims[0], a->batch, NULL))
    return false;
  a->causal = onnxc_import_int(in, "is_causal", 0) != 0;
  a->left = onnxc_import_int(in, "left_window_size", -1);
  a->right = onnxc_import_int(in, "right_window_size", -1);
  a->groups =
      a->grouped ? onnxc_dim_floordiv(&graph->dims, a->query_heads, a->heads) : onnxc_dim_const(&graph->dims, 1);
  const onnxc_dim extents[] = {a->batch, a->heads, a->groups, a->queries, a->keys};
  for (uint32_t k = 0; k < 5; k++)
    if (k != 2 || a->grouped)
      a->extents[a->rank++] = extents[k];
  return true;
}

/* ---- masks ---- */

/* Broadcasts to [b, query heads, i, j]; the keys may be fewer than there are: the rest is forbidden. */
static bool read_mask(attention *a) {
  onnxc_graph *graph = a->graph;
  onnxc_value mask = onnxc_import_optional(a->in, 3);
  if (!mask.i)
    return true;
  mask = onnxc_import_operand(a->in, 3, "fb");
  if (!mask.i)
    return false;
  const onnxc_value_info info = *onnxc_value_of(graph, mask);
  const onnxc_dim extents[] = {a->batch, a->query_heads, a->queries};
  int64_t given, keys;
  if (info.rank < 1 || info.rank > 4 ||
      (onnxc_dim_is_const(&graph->dims, info.dims[info.rank - 1], &given) &&
       onnxc_dim_is_const(&graph->dims, a->keys, &keys) && given > keys)) {
    onnxc_import_error(a->in, ONNXC_BAD_INPUT, "a mask of rank %u, or of more keys than there are", info.rank);
    return false;
  }
  for (uint32_t d = 0; d + 1 < info.rank; d++) {
    onnxc_dim extent = extents[d + 4 - info.rank], both;
    if (!onnxc_build_broadcast_dim(graph, a->in->where, 2, (onnxc_dim[]){extent, info.dims[d]}, &both) ||
        !onnxc_build_same_dim(graph, a->in->where, extent, both, NULL))
      return false;
  }
  a->mask = mask;
  return true;
}

/* What stands at a point of the scores: indices, and the operands' numbers. */
typedef struct point {
  onnxc_expr batch, head, query, key; /* head: of the queries */
  uint32_t mask, lengths;
} point;

/* The scores' indices, where row dim d stands at 0 unless it is in `walked`; the key is index `key`. */
static point point_at(attention *a, uint32_t walked, uint32_t key) {
  onnxc_expr at[4] = {{0}};
  for (uint32_t d = 0; d + 1 < a->rank; d++)
    at[d] = walked >> d & 1 ? e_index(a->pool, d) : e_int(a->pool, 0);
  point p = {.batch = at[BATCH], .head = at[HEAD], .query = at[a->rank - 2], .key = e_index(a->pool, key)};
  if (a->grouped)
    p.head =
        e_add(a->pool, onnxc_expr_binary(a->pool, ONNXC_EXPR_MUL, at[HEAD], e_dim(a->pool, a->groups)), at[HEAD + 1]);
  return p;
}

/* The mask's element; the key must be one that it has. */
static onnxc_expr mask_element(attention *a, const point *p) {
  const onnxc_value_info *info = onnxc_value_of(a->graph, a->mask);
  const onnxc_dim extents[] = {a->batch, a->query_heads, a->queries};
  const onnxc_expr at[] = {p->batch, p->head, p->query};
  onnxc_expr index[4];
  for (uint32_t d = 0; d + 1 < info->rank; d++) {
    uint32_t to = d + 4 - info->rank;
    index[d] = onnxc_build_broadcast_index(a->graph, info->dims[d], extents[to], at[to]);
  }
  index[info->rank - 1] = p->key;
  return onnxc_expr_load(a->pool, info->dtype, p->mask, info->rank, index);
}

/* Is the key allowed, by all but a mask of floats? None = always. */
static onnxc_expr allowed(attention *a, const point *p) {
  onnxc_exprs *pool = a->pool;
  onnxc_expr all = {0}, length = {0}, position = {0};
  if (a->lengths.i) {
    onnxc_dtype dtype = onnxc_value_of(a->graph, a->lengths)->dtype;
    length = e_i64(pool, onnxc_expr_load(pool, dtype, p->lengths, 1, &p->batch));
  }
  if (a->causal || a->left >= 0 || a->right >= 0) /* where the query stands among the keys */
    position = e_add(pool, p->query,
                     a->past.i ? e_dim(pool, a->past)
                               : onnxc_expr_binary(pool, ONNXC_EXPR_SUB, length, e_dim(pool, a->queries)));
  if (a->causal)
    all = e_le(pool, p->key, position);
  if (a->left >= 0)
    all = e_also(pool, all, e_ge(pool, e_addc(pool, p->key, a->left), position));
  if (a->right >= 0)
    all = e_also(pool, all, e_le(pool, p->key, e_addc(pool, position, a->right)));
  if (length.i)
    all = e_also(pool, all, e_lt(pool, p->key, length));
  if (!a->mask.i)
    return all;
  const onnxc_value_info *mask = onnxc_value_of(a->graph, a->mask);
  onnxc_dim given = mask->dims[mask->rank - 1];
  onnxc_expr there = {0};
  if (!onnxc_dim_same(given, a->keys))
    there = e_lt(pool, p->key, e_dim(pool, given));
  if (onnxc_dtype_is_bool(mask->dtype))
    there = e_guard(pool, there, mask_element(a, p), onnxc_expr_i64(pool, ONNXC_BOOL, 0));
  return e_also(pool, all, there);
}

/* `score` with the mask of floats added, -inf where the key is not allowed. */
static onnxc_expr biased(attention *a, const point *p, onnxc_expr score) {
  onnxc_exprs *pool = a->pool;
  if (a->mask.i && !onnxc_dtype_is_bool(onnxc_value_of(a->graph, a->mask)->dtype))
    score = e_add(pool, score, e_cast(pool, a->wide, mask_element(a, p)));
  return e_guard(pool, allowed(a, p), score, onnxc_expr_f64(pool, a->wide, -INFINITY));
}

/* The operands of a compute that looks at the masks, from number `first` on; returns how many there are now. */
static uint32_t add_masks(const attention *a, point *p, onnxc_value *inputs, uint32_t first) {
  if (a->mask.i)
    inputs[p->mask = first++] = a->mask;
  if (a->lengths.i)
    inputs[p->lengths = first++] = a->lengths;
  return first;
}

/* By row, without the last dim of the scores: is every key forbidden? Of the dims that the masks do not depend on there
 * is one. None when no row can be. */
static onnxc_value find_empty(attention *a) {
  onnxc_graph *graph = a->graph;
  onnxc_exprs *pool = a->pool;
  if (!a->mask.i && !a->lengths.i && a->left < 0)
    return (onnxc_value){0};
  uint32_t rows = a->grouped ? 4 : 3, walked = 0;
  const onnxc_value_info *mask = a->mask.i ? onnxc_value_of(graph, a->mask) : NULL;
  for (uint32_t d = 0; mask && d + 1 < mask->rank; d++)
    if (!onnxc_dim_is(&graph->dims, mask->dims[d], 1)) {
      uint32_t to = d + 4 - mask->rank;
      walked |= to == 0 ? 1u : to == 1 ? (a->grouped ? 6u : 2u) : 1u << (rows - 1);
    }
  if (a->lengths.i)
    walked |= 1u;
  if (a->causal || a->left >= 0 || a->right >= 0)
    walked |= 1u << (rows - 1);
  point p = point_at(a, walked, rows);
  onnxc_value inputs[2], result;
  uint32_t count = add_masks(a, &p, inputs, 0);
  onnxc_compute compute = {.num_parallel = rows, .num_reduce = 1, .num_results = 1, .acc_dtype = {a->wide}};
  for (uint32_t d = 0; d < rows; d++)
    compute.extents[d] = walked >> d & 1 ? a->extents[d] : onnxc_dim_const(&graph->dims, 1);
  compute.extents[rows] = a->keys;
  onnxc_expr acc = onnxc_expr_acc(pool, a->wide, 0), lowest = onnxc_expr_f64(pool, a->wide, -INFINITY);
  compute.init[0] = lowest;
  compute.element[0] = biased(a, &p, onnxc_expr_f64(pool, a->wide, 0));
  compute.combine[0] = e_max(pool, acc, onnxc_expr_val(pool, a->wide, 0));
  compute.finish[0] = e_eq(pool, acc, lowest);
  onnxc_graph_add_compute(graph, a->in->where, &compute, count, inputs, &result);
  return result;
}

/* ---- the steps ---- */

/* Two contractions, over d and over keys: a's last dim with dim `k_dim` of b, which has no g. */
static onnxc_value contract(attention *a, onnxc_value x, onnxc_value y, uint32_t k_dim, double scale,
                            onnxc_dtype dtype) {
  onnxc_graph *graph = a->graph;
  onnxc_exprs *pool = a->pool;
  const onnxc_value_info left = *onnxc_value_of(graph, x), right = *onnxc_value_of(graph, y);
  uint32_t rank = left.rank;
  onnxc_compute compute = {.num_parallel = rank, .num_reduce = 1, .num_results = 1};
  onnxc_expr x_index[ONNXC_MAX_RANK], y_index[4];
  for (uint32_t d = 0; d < rank; d++) {
    compute.extents[d] = left.dims[d];
    x_index[d] = e_index(pool, d);
  }
  compute.extents[rank] = left.dims[rank - 1];
  compute.extents[rank - 1] = right.dims[5 - k_dim];
  x_index[rank - 1] = y_index[k_dim] = e_index(pool, rank);
  y_index[5 - k_dim] = e_index(pool, rank - 1);
  y_index[BATCH] = e_index(pool, BATCH);
  y_index[HEAD] = e_index(pool, HEAD);
  uint32_t second = x.i == y.i ? 0 : 1;
  onnxc_build_sum(pool, &compute, 0, a->wide,
                  onnxc_build_product(pool, onnxc_expr_load(pool, left.dtype, 0, rank, x_index),
                                      onnxc_expr_load(pool, right.dtype, second, 4, y_index), a->wide));
  onnxc_expr sum = onnxc_expr_acc(pool, a->wide, 0);
  compute.finish[0] = e_cast(pool, dtype, e_mul(pool, sum, onnxc_expr_f64(pool, a->wide, scale)));
  onnxc_value result;
  onnxc_graph_add_compute(graph, a->in->where, &compute, second + 1, (onnxc_value[]){x, y}, &result);
  return result;
}

static onnxc_expr scalar_softcap(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  onnxc_expr cap = e_number(pool, args[0], *(const double *)arg);
  return e_mul(pool, onnxc_expr_unary(pool, ONNXC_EXPR_TANH, e_div(pool, args[0], cap)), cap);
}

/* A compute over the scores' points, and the element there of x, its operand 0. */
static onnxc_expr over_scores(attention *a, onnxc_value x, onnxc_compute *compute) {
  onnxc_expr index[ONNXC_MAX_RANK];
  *compute = (onnxc_compute){.num_parallel = a->rank, .num_results = 1};
  for (uint32_t d = 0; d < a->rank; d++) {
    compute->extents[d] = a->extents[d];
    index[d] = e_index(a->pool, d);
  }
  return onnxc_expr_load(a->pool, onnxc_value_of(a->graph, x)->dtype, 0, a->rank, index);
}

static onnxc_value add_bias(attention *a, onnxc_value scores) {
  onnxc_compute compute;
  point p = point_at(a, ~0u, a->rank - 1);
  onnxc_value inputs[3] = {scores}, result;
  uint32_t count = add_masks(a, &p, inputs, 1);
  onnxc_expr element = over_scores(a, scores, &compute);
  compute.acc_dtype[0] = a->wide;
  compute.finish[0] = biased(a, &p, element);
  if (compute.finish[0].i == element.i)
    return scores;
  onnxc_graph_add_compute(a->graph, a->in->where, &compute, count, inputs, &result);
  return result;
}

/* Probabilities with the rows that have no key cleared. */
static onnxc_value clear_empty(attention *a, onnxc_value probabilities, onnxc_value empty) {
  onnxc_exprs *pool = a->pool;
  onnxc_compute compute;
  onnxc_expr element = over_scores(a, probabilities, &compute), index[ONNXC_MAX_RANK];
  onnxc_dtype dtype = e_dtype(pool, element);
  const onnxc_value_info *rows = onnxc_value_of(a->graph, empty);
  for (uint32_t d = 0; d < rows->rank; d++)
    index[d] = onnxc_build_broadcast_index(a->graph, rows->dims[d], a->extents[d], e_index(pool, d));
  compute.acc_dtype[0] = dtype;
  compute.finish[0] =
      e_guard(pool, onnxc_expr_load(pool, rows->dtype, 1, rows->rank, index), onnxc_expr_f64(pool, dtype, 0), element);
  onnxc_value result;
  onnxc_graph_add_compute(a->graph, a->in->where, &compute, 2, (onnxc_value[]){probabilities, empty}, &result);
  return result;
}

static onnxc_value softmax(attention *a, onnxc_value scores) {
  onnxc_graph *graph = a->graph;
  const onnxc_value_info info = *onnxc_value_of(graph, scores);
  onnxc_value result = onnxc_graph_add_value(graph, NULL, info.dtype, info.rank, info.dims);
  onnxc_node node = onnxc_graph_add_node(graph, ONNXC_OP_SOFTMAX, a->in->where, 1, &scores, 1, &result);
  onnxc_node_of(graph, node)->axis = info.rank - 1;
  onnxc_node_of(graph, node)->span = 1;
  return result;
}

/* [b, h, g, i, x] as [b, h * g, i, x]. */
static onnxc_value merge_groups(attention *a, onnxc_value x) {
  if (!a->grouped)
    return x;
  const onnxc_dim *from = onnxc_value_of(a->graph, x)->dims;
  onnxc_dim dims[4] = {from[0], a->query_heads, from[3], from[4]};
  return onnxc_build_reshape(a->graph, a->in->where, x, 4, dims);
}

static onnxc_value split_groups(attention *a) {
  if (!a->grouped)
    return a->q;
  onnxc_dim last = onnxc_value_of(a->graph, a->q)->dims[3];
  onnxc_dim dims[5] = {a->batch, a->heads, a->groups, a->queries, last};
  return onnxc_build_reshape(a->graph, a->in->where, a->q, 5, dims);
}

static onnxc_status bind_scores(attention *a, onnxc_value scores) {
  if (!onnxc_import_wants(a->in, 3))
    return ONNXC_OK;
  return onnxc_import_done(a->in, 3, onnxc_import_narrow(a->in, merge_groups(a, scores), a->dtype));
}

/* The probabilities in the type that softmax_precision names, as Q's type again. */
static onnxc_status probabilities(attention *a, onnxc_value scores, onnxc_value *result) {
  onnxc_importer *in = a->in;
  int64_t precision = onnxc_import_int(in, "softmax_precision", a->dtype);
  if (precision != ONNXC_F32 && precision != ONNXC_F16 && precision != ONNXC_F64 && precision != ONNXC_BF16)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "softmax_precision %lld", (long long)precision);
  if (onnxc_import_has(in, "softmax_precision") && precision != a->dtype)
    scores = onnxc_import_narrow(in, scores, (onnxc_dtype)precision);
  onnxc_value empty = find_empty(a), p = softmax(a, scores);
  if (empty.i)
    p = clear_empty(a, p, empty);
  *result = onnxc_import_narrow(in, p, a->dtype);
  return ONNXC_OK;
}

static onnxc_status bind_result(attention *a, onnxc_value y) {
  onnxc_graph *graph = a->graph;
  y = merge_groups(a, y);
  if (onnxc_value_of(graph, onnxc_import_input(a->in, 0))->rank == 3) {
    static const uint32_t queries_first[] = {0, 2, 1, 3};
    y = onnxc_build_transpose(graph, a->in->where, y, queries_first);
    const onnxc_dim *from = onnxc_value_of(graph, y)->dims;
    onnxc_dim dims[3] = {from[0], from[1], onnxc_dim_mul(&graph->dims, from[2], from[3])};
    y = onnxc_build_reshape(graph, a->in->where, y, 3, dims);
  }
  return onnxc_import_done(a->in, 0, y);
}

onnxc_status onnxc_import_Attention(onnxc_importer *in) {
  attention a = {.in = in, .graph = in->graph, .pool = &in->graph->exprs};
  if (!read_operands(&a) || !read_mask(&a))
    return failed(in);
  int64_t mode = onnxc_import_int(in, "qk_matmul_output_mode", 0), size = 1;
  if (mode < 0 || mode > 3)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "qk_matmul_output_mode %lld", (long long)mode);
  if (a.left < -1 || a.right < -1)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "a window of %lld and %lld", (long long)a.left, (long long)a.right);
  if (!onnxc_import_has(in, "scale") &&
      !onnxc_dim_is_const(&in->graph->dims, onnxc_value_of(in->graph, a.q)->dims[3], &size))
    return onnxc_import_error(in, ONNXC_UNSUPPORTED, "heads of unknown size");
  double scale = onnxc_import_has(in, "scale") ? onnxc_import_float(in, "scale", 1) : 1 / sqrt((double)size);
  double cap = onnxc_import_float(in, "softcap", 0);
  onnxc_value q = split_groups(&a);
  if (!q.i)
    return failed(in);
  onnxc_value scores = contract(&a, q, a.k, 3, scale, a.wide);
  if (mode == 0)
    ONNXC_TRY(bind_scores(&a, scores));
  if (cap > 0)
    scores = onnxc_build_map(in->graph, in->where, 1, &scores, scalar_softcap, &cap);
  if (mode == 1)
    ONNXC_TRY(bind_scores(&a, scores));
  scores = add_bias(&a, scores);
  if (mode == 2)
    ONNXC_TRY(bind_scores(&a, scores));
  onnxc_value p = {0};
  ONNXC_TRY(probabilities(&a, scores, &p));
  if (!p.i)
    return failed(in);
  if (mode == 3)
    ONNXC_TRY(bind_scores(&a, p));
  return bind_result(&a, contract(&a, p, a.v, 2, 1, a.dtype));
}
