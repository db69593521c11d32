/* attentions.c -- random attentions, as exporters write them; see graphs.h.
 *
 *     softmax(mask(scale * q k')) v
 *
 * Heads before or behind the sequence, heads of queries that share keys, masks that are added or forbid keys or whole
 * rows (then zeros, or NaN as softmax has it), causality, a soft cap; few, many, no and an unknown number of keys,
 * blocks of them that do not divide it; one query and many.
 */
#include "graphs.h"

#include "ops/build.h"

#include <math.h>

typedef struct attention {
  onnxc_graph *graph;
  onnxc_exprs *pool;
  random_numbers *random;
  onnxc_dim batch, heads, groups, queries, keys;
  uint32_t rank; /* of the scores: b, h, (g,) i, j */
  bool grouped;
} attention;

static uint32_t below(attention *a, uint32_t n) { return random_below(a->random, n); }
static bool one_in(attention *a, uint32_t n) { return below(a, n) == 0; }
static onnxc_dim number(attention *a, int64_t n) { return onnxc_dim_const(&a->graph->dims, n); }
static onnxc_expr at(const attention *a, uint32_t k) { return onnxc_expr_index(a->pool, k); }
static onnxc_expr real(const attention *a, double value) { return onnxc_expr_f64(a->pool, ONNXC_F32, value); }

static onnxc_expr binary(const attention *a, onnxc_expr_op op, onnxc_expr x, onnxc_expr y) {
  return onnxc_expr_binary(a->pool, op, x, y);
}

/* [b, h, s, d], perhaps of an input [b, s, h, d]. */
static onnxc_value sequence(attention *a, const char *name, onnxc_dim heads, onnxc_dim length, onnxc_dim depth) {
  if (one_in(a, 2))
    return onnxc_graph_add_input(a->graph, name, ONNXC_F32, 4, (onnxc_dim[]){a->batch, heads, length, depth});
  static const uint32_t heads_first[] = {0, 2, 1, 3};
  onnxc_value x = onnxc_graph_add_input(a->graph, name, ONNXC_F32, 4, (onnxc_dim[]){a->batch, length, heads, depth});
  return onnxc_build_transpose(a->graph, NULL, x, heads_first);
}

/* Keys or values of which a run knows the number: [b, h, 40 s, d] made of an input with s of them. */
static onnxc_value repeated(attention *a, const char *name, onnxc_dim length, onnxc_dim depth) {
  onnxc_dim dims[] = {a->batch, a->heads, length, depth};
  onnxc_value x = onnxc_graph_add_input(a->graph, name, ONNXC_F32, 4, dims);
  onnxc_expr index[] = {at(a, 0), at(a, 1),
                        binary(a, ONNXC_EXPR_FLOORDIV, at(a, 2), onnxc_expr_i64(a->pool, ONNXC_I64, 40)), at(a, 3)};
  dims[2] = a->keys;
  return onnxc_build_index(a->graph, NULL, x, 4, dims, index);
}

/* over d: scores[b, h, i, j] = q[b, h, i, d] k[b, h, j, d]; over keys: y[b, h, i, d] = p[b, h, i, j] v[b, h, j, d] */
static onnxc_value contract(attention *a, onnxc_value x, onnxc_value y, uint32_t k_dim) {
  const onnxc_value_info left = *onnxc_value_of(a->graph, x), right = *onnxc_value_of(a->graph, y);
  onnxc_compute c = {.num_parallel = left.rank, .num_reduce = 1, .num_results = 1};
  onnxc_expr x_index[5], y_index[4] = {at(a, 0), at(a, 1)};
  for (uint32_t d = 0; d < left.rank; d++) {
    c.extents[d] = left.dims[d];
    x_index[d] = at(a, d);
  }
  c.extents[left.rank] = left.dims[left.rank - 1];
  c.extents[left.rank - 1] = right.dims[5 - k_dim];
  x_index[left.rank - 1] = y_index[k_dim] = at(a, left.rank);
  y_index[5 - k_dim] = at(a, left.rank - 1);
  onnxc_expr of_x = onnxc_expr_load(a->pool, ONNXC_F32, one_in(a, 2), left.rank, x_index);
  uint32_t first = onnxc_exprs_node(a->pool, of_x)->imm == 0 ? 0 : 1;
  onnxc_expr of_y = onnxc_expr_load(a->pool, ONNXC_F32, 1 - first, 4, y_index);
  onnxc_build_sum(a->pool, &c, 0, ONNXC_F32, binary(a, ONNXC_EXPR_MUL, of_x, of_y));
  c.finish[0] = onnxc_expr_acc(a->pool, ONNXC_F32, 0);
  onnxc_value inputs[2], result;
  inputs[first] = x;
  inputs[1 - first] = y;
  onnxc_graph_add_compute(a->graph, "contraction", &c, 2, inputs, &result);
  return result;
}

/* A mask's element at the scores' point, or at its row. Some of its dims may have one element. */
static onnxc_expr mask_element(attention *a, const char *name, uint32_t rank, onnxc_value *mask) {
  const onnxc_dim all[] = {a->batch, a->heads, a->groups, a->queries, a->keys};
  onnxc_dim dims[5];
  onnxc_expr index[5];
  for (uint32_t d = 0; d < rank; d++) {
    onnxc_dim dim = all[a->grouped || d < 2 ? d : d + 1];
    bool one = d + 2 < a->rank && one_in(a, 2);
    if (!onnxc_dim_is_const(&a->graph->dims, dim, NULL))
      one = true; /* a run's number of keys is another input's */
    dims[d] = one ? number(a, 1) : dim;
    index[d] = one ? onnxc_expr_i64(a->pool, ONNXC_I64, 0) : at(a, d);
  }
  *mask = onnxc_graph_add_input(a->graph, name, ONNXC_F32, rank, dims);
  return onnxc_expr_load(a->pool, ONNXC_F32, 1, rank, index);
}

static onnxc_expr softcap(const attention *a, onnxc_expr x) {
  onnxc_expr cap = real(a, 1.5);
  return binary(a, ONNXC_EXPR_MUL, onnxc_expr_unary(a->pool, ONNXC_EXPR_TANH, binary(a, ONNXC_EXPR_DIV, x, cap)), cap);
}

static onnxc_expr forbid(const attention *a, onnxc_expr allowed, onnxc_expr score) {
  return onnxc_expr_select(a->pool, allowed, score, real(a, -INFINITY));
}

/* Scale and masks, one elementwise node. */
static onnxc_value masked(attention *a, onnxc_value scores) {
  onnxc_compute c = {.num_parallel = a->rank, .num_results = 1, .acc_dtype = {ONNXC_F32}};
  onnxc_expr index[5];
  onnxc_value inputs[2] = {scores}, result;
  for (uint32_t d = 0; d < a->rank; d++) {
    c.extents[d] = onnxc_value_of(a->graph, scores)->dims[d];
    index[d] = at(a, d);
  }
  onnxc_expr score = binary(a, ONNXC_EXPR_MUL, onnxc_expr_load(a->pool, ONNXC_F32, 0, a->rank, index), real(a, 0.7));
  if (one_in(a, 4))
    score = softcap(a, score);
  uint32_t kind = below(a, 4);
  if (kind) {
    onnxc_expr mask = mask_element(a, "mask", kind == 3 ? a->rank - 1 : a->rank, &inputs[1]);
    score = kind == 1 ? binary(a, ONNXC_EXPR_ADD, score, mask) /* keys, or rows without any key */
                      : forbid(a, binary(a, ONNXC_EXPR_LT, mask, real(a, kind == 2 ? 0.2 : 0.8)), score);
  }
  if (one_in(a, 3)) {
    onnxc_expr last =
        binary(a, ONNXC_EXPR_ADD, at(a, a->rank - 2), onnxc_expr_i64(a->pool, ONNXC_I64, (int64_t)below(a, 40) - 5));
    score = forbid(a, binary(a, ONNXC_EXPR_LE, at(a, a->rank - 1), last), score);
  }
  if (one_in(a, 3)) { /* a window: whole blocks of keys are forbidden before the first that is not */
    onnxc_expr first =
        binary(a, ONNXC_EXPR_ADD, at(a, a->rank - 2), onnxc_expr_i64(a->pool, ONNXC_I64, below(a, 1200)));
    score = forbid(a, binary(a, ONNXC_EXPR_GE, at(a, a->rank - 1), first), score);
  }
  c.finish[0] = score;
  onnxc_graph_add_compute(a->graph, "mask", &c, kind ? 2 : 1, inputs, &result);
  return result;
}

static onnxc_value softmax(attention *a, onnxc_value x) {
  const onnxc_value_info info = *onnxc_value_of(a->graph, x);
  onnxc_value result = onnxc_graph_add_value(a->graph, NULL, ONNXC_F32, info.rank, info.dims);
  onnxc_node node = onnxc_graph_add_node(a->graph, ONNXC_OP_SOFTMAX, "softmax", 1, &x, 1, &result);
  onnxc_node_of(a->graph, node)->axis = info.rank - 1;
  onnxc_node_of(a->graph, node)->span = 1;
  return result;
}

/* Rows of a mask of their own become zeros. */
static onnxc_value cleared(attention *a, onnxc_value p) {
  onnxc_compute c = {.num_parallel = a->rank, .num_results = 1, .acc_dtype = {ONNXC_F32}};
  onnxc_expr index[5];
  onnxc_value inputs[2] = {p}, result;
  for (uint32_t d = 0; d < a->rank; d++) {
    c.extents[d] = onnxc_value_of(a->graph, p)->dims[d];
    index[d] = at(a, d);
  }
  onnxc_expr mask = mask_element(a, "empty", a->rank - 1, &inputs[1]);
  c.finish[0] = onnxc_expr_select(a->pool, binary(a, ONNXC_EXPR_LT, real(a, 0.3), mask), real(a, 0),
                                  onnxc_expr_load(a->pool, ONNXC_F32, 0, a->rank, index));
  onnxc_graph_add_compute(a->graph, "clear", &c, 2, inputs, &result);
  return result;
}

void random_attention(onnxc_graph *graph, uint32_t seed) {
  random_numbers random = {seed};
  attention a = {.graph = graph, .pool = &graph->exprs, .random = &random};
  static const int64_t few[] = {1, 2, 17, 63, 64, 65, 100}, many[] = {300, 520, 1025, 1400, 2500};
  static const int64_t depths[] = {1, 3, 8, 16, 33, 64, 80};
  a.batch = number(&a, 1 + below(&a, 2));
  a.heads = number(&a, 1 + below(&a, 3));
  a.grouped = one_in(&a, 4);
  a.groups = number(&a, 2);
  a.rank = a.grouped ? 5 : 4;
  a.queries = number(&a, one_in(&a, 3) ? 1 : 1 + below(&a, one_in(&a, 4) ? 150 : 20));
  a.keys = number(&a, one_in(&a, 2) ? few[below(&a, 7)] : many[below(&a, 5)]);
  onnxc_dim depth = number(&a, depths[below(&a, 7)]), of_v = number(&a, depths[below(&a, 7)]);
  onnxc_value q, k, v;
  q = a.grouped
          ? onnxc_graph_add_input(graph, "q", ONNXC_F32, 5, (onnxc_dim[]){a.batch, a.heads, a.groups, a.queries, depth})
          : sequence(&a, "q", a.heads, a.queries, depth);
  if (one_in(&a, 4)) {
    onnxc_dim length = onnxc_dim_sym(&graph->dims, onnxc_sym_new(&graph->dims, "S", ONNXC_SYM_INPUT_DIM, 1, 2));
    a.keys = onnxc_dim_mulc(&graph->dims, length, 40);
    k = repeated(&a, "k", length, depth);
    v = repeated(&a, "v", length, of_v);
  } else {
    k = sequence(&a, "k", a.heads, a.keys, depth);
    v = sequence(&a, "v", a.heads, a.keys, of_v);
  }
  onnxc_value p = softmax(&a, masked(&a, contract(&a, q, k, 3)));
  if (one_in(&a, 4))
    p = cleared(&a, p);
  onnxc_graph_add_output(graph, contract(&a, p, v, 2), "y");
}
