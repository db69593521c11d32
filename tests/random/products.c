/* products.c -- random sums of products; see graphs.h.
 *
 * Matrix products and convolutions of narrow factors (and of f32) with all that decides how factors are packed: types
 * and signs, few rows or columns, sizes that blocks do not divide, batches, transposed factors, constants, padding
 * inside or outside of the cast, a b that is computed, symbolic rows.
 */
#include "graphs.h"

#include "ops/build.h"

typedef struct types {
  onnxc_dtype a, b, acc;
} types;

typedef struct product {
  onnxc_graph *graph;
  random_numbers *random;
  types types;
  onnxc_value a, b;
  onnxc_compute compute;
} product;

static uint32_t below(product *p, uint32_t n) { return random_below(p->random, n); }
static bool one_in(product *p, uint32_t n) { return below(p, n) == 0; }
static onnxc_expr at(const product *p, uint32_t k) { return onnxc_expr_index(&p->graph->exprs, k); }

/* Mostly a size near that of some block, else a small one. */
static int64_t size(product *p) {
  static const int64_t sizes[] = {1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 37, 48, 53, 64, 65, 71, 96, 128, 130, 200};
  return sizes[below(p, sizeof sizes / sizeof *sizes)];
}

static onnxc_value constant(product *p, onnxc_dtype dtype, uint32_t rank, const onnxc_dim *dims) {
  int64_t shape[ONNXC_MAX_RANK], count = 1;
  for (uint32_t d = 0; d < rank; d++) {
    onnxc_dim_is_const(&p->graph->dims, dims[d], &shape[d]);
    count *= shape[d];
  }
  return onnxc_graph_add_constant(p->graph, NULL, dtype, rank, shape,
                                  random_data(p->graph->arena, dtype, count, p->random));
}

/* b is a constant, an input, or computed from one. */
static onnxc_value factor_b(product *p, uint32_t rank, const onnxc_dim *dims) {
  onnxc_dtype dtype = p->types.b;
  if (one_in(p, 2))
    return constant(p, dtype, rank, dims);
  onnxc_value input = onnxc_graph_add_input(p->graph, "b", dtype, rank, dims);
  if (one_in(p, 2))
    return input;
  onnxc_exprs *pool = &p->graph->exprs;
  onnxc_compute compute = {.num_parallel = rank, .num_results = 1};
  onnxc_expr index[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < rank; d++) {
    compute.extents[d] = dims[d];
    index[d] = at(p, d);
  }
  onnxc_expr one = onnxc_dtype_is_float(dtype) ? onnxc_expr_f64(pool, dtype, 1) : onnxc_expr_i64(pool, dtype, 1);
  compute.finish[0] = onnxc_expr_binary(pool, ONNXC_EXPR_ADD, onnxc_expr_load(pool, dtype, 0, rank, index), one);
  onnxc_value result;
  onnxc_graph_add_compute(p->graph, NULL, &compute, 1, &input, &result);
  return result;
}

static void finish(product *p, onnxc_expr a, onnxc_expr b) {
  onnxc_exprs *pool = &p->graph->exprs;
  onnxc_build_sum(pool, &p->compute, 0, p->types.acc, onnxc_build_product(pool, a, b, p->types.acc));
  p->compute.num_results = 1;
  p->compute.finish[0] = onnxc_expr_acc(pool, p->types.acc, 0);
  if (one_in(p, 2))
    p->compute.finish[0] = onnxc_expr_binary(pool, ONNXC_EXPR_ADD, p->compute.finish[0], p->compute.finish[0]);
  onnxc_value result;
  onnxc_graph_add_compute(p->graph, "product", &p->compute, 2, (onnxc_value[]){p->a, p->b}, &result);
  onnxc_graph_add_output(p->graph, result, "y");
}

/* y[batch, m, n] = sum a[batch, m, k] * b[batch, k, n], the last two dims of a factor perhaps swapped. */
static void matrices(product *p) {
  onnxc_dims *dims = &p->graph->dims;
  onnxc_exprs *pool = &p->graph->exprs;
  onnxc_dim batch = onnxc_dim_const(dims, 1 + (one_in(p, 2) ? below(p, 3) : 0)), m = onnxc_dim_const(dims, size(p));
  onnxc_dim n = onnxc_dim_const(dims, size(p)), k = onnxc_dim_const(dims, size(p));
  if (one_in(p, 4))
    m = onnxc_dim_sym(dims, onnxc_sym_new(dims, "M", ONNXC_SYM_INPUT_DIM, 0, 1));
  bool a_swapped = one_in(p, 4), b_swapped = one_in(p, 3);
  if (!onnxc_dim_is_const(dims, m, NULL)) /* the symbol stands for that dim */
    a_swapped = false;
  p->a = onnxc_graph_add_input(p->graph, "a", p->types.a, 3,
                               a_swapped ? (onnxc_dim[]){batch, k, m} : (onnxc_dim[]){batch, m, k});
  p->b = factor_b(p, 3, b_swapped ? (onnxc_dim[]){batch, n, k} : (onnxc_dim[]){batch, k, n});
  p->compute = (onnxc_compute){.num_parallel = 3, .num_reduce = 1, .extents = {batch, m, n, k}};
  onnxc_expr a_index[3] = {at(p, 0), at(p, a_swapped ? 3 : 1), at(p, a_swapped ? 1 : 3)};
  onnxc_expr b_index[3] = {at(p, 0), at(p, b_swapped ? 2 : 3), at(p, b_swapped ? 3 : 2)};
  finish(p, onnxc_expr_load(pool, p->types.a, 0, 3, a_index), onnxc_expr_load(pool, p->types.b, 1, 3, b_index));
}

/* y[i, oc, h, w] = sum over c, r, s of a[i, c, h + r - 1, w + s - 1] * b[oc, c, r, s], zero beyond a's border. */
static void convolution(product *p) {
  onnxc_dims *dims = &p->graph->dims;
  onnxc_exprs *pool = &p->graph->exprs;
  onnxc_dim images = onnxc_dim_const(dims, 1 + below(p, 2)), in = onnxc_dim_const(dims, 1 + below(p, 20));
  onnxc_dim out = onnxc_dim_const(dims, size(p)), three = onnxc_dim_const(dims, 3), high = onnxc_dim_const(dims, 9);
  onnxc_dim wide = onnxc_dim_const(dims, 5 + below(p, 8));
  p->a = onnxc_graph_add_input(p->graph, "a", p->types.a, 4, (onnxc_dim[]){images, in, high, wide});
  p->b = factor_b(p, 4, (onnxc_dim[]){out, in, three, three});
  p->compute =
      (onnxc_compute){.num_parallel = 4, .num_reduce = 3, .extents = {images, out, high, wide, in, three, three}};
  onnxc_expr minus = onnxc_expr_i64(pool, ONNXC_I64, -1), zero = onnxc_expr_i64(pool, ONNXC_I64, 0), inside = {0};
  onnxc_expr index[4] = {at(p, 0), at(p, 4)};
  for (uint32_t s = 0; s < 2; s++) {
    index[s + 2] = onnxc_expr_binary(pool, ONNXC_EXPR_ADD,
                                     onnxc_expr_binary(pool, ONNXC_EXPR_ADD, at(p, s + 2), at(p, s + 5)), minus);
    onnxc_expr above = onnxc_expr_binary(pool, ONNXC_EXPR_GE, index[s + 2], zero);
    onnxc_expr below = onnxc_expr_binary(pool, ONNXC_EXPR_LT, index[s + 2], onnxc_expr_dim(pool, s ? wide : high));
    onnxc_expr both = onnxc_expr_binary(pool, ONNXC_EXPR_AND, above, below);
    inside = inside.i ? onnxc_expr_binary(pool, ONNXC_EXPR_AND, inside, both) : both;
  }
  onnxc_expr a = onnxc_expr_load(pool, p->types.a, 0, 4, index);
  if (one_in(p, 2))
    a = onnxc_expr_cast(pool, p->types.acc, a);
  onnxc_dtype type = (onnxc_dtype)onnxc_exprs_node(pool, a)->dtype;
  a = onnxc_expr_select(pool, inside, a,
                        onnxc_dtype_is_float(type) ? onnxc_expr_f64(pool, type, 0) : onnxc_expr_i64(pool, type, 0));
  onnxc_expr b_index[4] = {at(p, 1), at(p, 4), at(p, 5), at(p, 6)};
  finish(p, a, onnxc_expr_load(pool, p->types.b, 1, 4, b_index));
}

void random_product(onnxc_graph *graph, uint32_t seed) {
  static const types all[] = {{ONNXC_BF16, ONNXC_BF16, ONNXC_F32}, {ONNXC_U8, ONNXC_I8, ONNXC_I32},
                              {ONNXC_I8, ONNXC_U8, ONNXC_I32},     {ONNXC_I8, ONNXC_I8, ONNXC_I32},
                              {ONNXC_U8, ONNXC_U8, ONNXC_I32},     {ONNXC_F16, ONNXC_F16, ONNXC_F32},
                              {ONNXC_F32, ONNXC_F32, ONNXC_F32}};
  random_numbers random = {seed};
  product p = {.graph = graph, .random = &random};
  p.types = all[below(&p, sizeof all / sizeof *all)];
  if (one_in(&p, 4))
    convolution(&p);
  else
    matrices(&p);
}
