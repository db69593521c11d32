/* graphs.c -- see graphs.h.
 *
 * Each step takes a value made so far, more often a late one, and puts a node on it if the dims allow that. Few values
 * and many readers: so most graphs have intermediates that are read in several ways, are outputs too, or stand in two
 * concats. Symbolic dims are met as expressions; what two of them must satisfy is decided by identity.
 *
 * A fork makes some steps in the branch of a condition and some in that of its opposite, and joins what comes out.
 */
#include "graphs.h"

#include "ops/build.h"

enum { MAX_STEPS = 12, MAX_ELEMENTS = 20000, MIN_SPATIAL = 5 };

uint32_t random_below(random_numbers *random, uint32_t n) {
  random->state = random->state * 6364136223846793005U + 1442695040888963407U;
  return (uint32_t)((random->state >> 33) % n);
}

float random_float(random_numbers *random) { return (float)random_below(random, 1U << 16) / (float)(1 << 15) - 1; }

void *random_data(onnxc_arena *arena, onnxc_dtype dtype, int64_t count, random_numbers *random) {
  size_t bytes = onnxc_dtype_bytes(dtype);
  char *data = ONNXC_NEW_ARRAY(arena, char, (size_t)count *bytes + 1);
  for (int64_t i = 0; i < count; i++)
    if (onnxc_dtype_is_float(dtype))
      onnxc_scalar_from_f64(dtype, data + (size_t)i * bytes, (double)random_float(random));
    else
      onnxc_scalar_from_i64(dtype, data + (size_t)i * bytes, random_below(random, 256));
  return data;
}

typedef struct maker {
  onnxc_graph *graph;
  random_numbers random;
  ONNXC_VEC(onnxc_value) values;
  onnxc_dim forks_on; /* the dim that conditions are about; none = no forks */
  uint32_t depth;     /* of forks in forks */
} maker;

static uint32_t below(maker *m, uint32_t n) { return random_below(&m->random, n); }
static bool one_in(maker *m, uint32_t n) { return below(m, n) == 0; }
static onnxc_dim number(maker *m, int64_t n) { return onnxc_dim_const(&m->graph->dims, n); }
static onnxc_value_info info_of(const maker *m, onnxc_value value) { return *onnxc_value_of(m->graph, value); }

static onnxc_value pick(maker *m) {
  uint32_t count = m->values.length, late = count < 4 ? count : 4;
  return m->values.data[one_in(m, 3) ? below(m, count) : count - 1 - below(m, late)];
}

static onnxc_value weights(maker *m, uint32_t rank, const int64_t *dims, float scale) {
  int64_t count = 1;
  for (uint32_t d = 0; d < rank; d++)
    count *= dims[d];
  float *data = ONNXC_NEW_ARRAY(m->graph->arena, float, count + 1);
  for (int64_t i = 0; i < count; i++)
    data[i] = scale * random_float(&m->random);
  return onnxc_graph_add_constant(m->graph, NULL, ONNXC_F32, rank, dims, data);
}

static bool same_shape(const onnxc_value_info *a, const onnxc_value_info *b, uint32_t but) {
  if (a->rank != b->rank)
    return false;
  for (uint32_t d = 0; d < a->rank; d++)
    if (d != but && !onnxc_dim_same(a->dims[d], b->dims[d]))
      return false;
  return true;
}

/* Another value of x's shape, but for dim `but`; x itself if there is no other. */
static onnxc_value partner(maker *m, onnxc_value x, uint32_t but) {
  onnxc_value_info info = info_of(m, x);
  uint32_t start = below(m, m->values.length);
  for (uint32_t k = 0; k < m->values.length; k++) {
    onnxc_value other = m->values.data[(start + k) % m->values.length];
    onnxc_value_info found = info_of(m, other);
    if (same_shape(&info, &found, but))
      return other;
  }
  return x;
}

/* ---- steps: none when the node does not fit ---- */

static onnxc_value unary(maker *m, onnxc_value x) {
  static const onnxc_expr_op ops[] = {ONNXC_EXPR_NEG, ONNXC_EXPR_ABS, ONNXC_EXPR_TANH, ONNXC_EXPR_ERF, ONNXC_EXPR_SIGN};
  return onnxc_build_unary(m->graph, "unary", ops[below(m, 5)], x);
}

static onnxc_value binary(maker *m, onnxc_value x) {
  static const onnxc_expr_op ops[] = {ONNXC_EXPR_ADD, ONNXC_EXPR_SUB, ONNXC_EXPR_MUL, ONNXC_EXPR_MAX};
  onnxc_value_info info = info_of(m, x);
  onnxc_value y = partner(m, x, UINT32_MAX);
  if (one_in(m, 2)) { /* a constant, broadcast over some dims */
    int64_t dims[ONNXC_MAX_RANK];
    for (uint32_t d = 0; d < info.rank; d++)
      if (one_in(m, 2) || !onnxc_dim_is_const(&m->graph->dims, info.dims[d], &dims[d]))
        dims[d] = 1;
    y = weights(m, info.rank, dims, 1);
  }
  bool turn = one_in(m, 2);
  return onnxc_build_binary(m->graph, "binary", ops[below(m, 4)], turn ? y : x, turn ? x : y);
}

/* A window of `size` fits if the dim is that large for sure. */
static bool at_least(const maker *m, onnxc_dim dim, int64_t size) {
  int64_t low, high;
  onnxc_dim_range(&m->graph->dims, dim, &low, &high);
  return low >= size;
}

static onnxc_value convolve(maker *m, onnxc_value x) {
  onnxc_value_info info = info_of(m, x);
  int64_t channels;
  if (info.rank != 4 || !onnxc_dim_is_const(&m->graph->dims, info.dims[1], &channels) || channels < 1 || channels > 64)
    return (onnxc_value){0};
  static const int64_t sizes[] = {1, 3, 2, 3}, counts[] = {1, 2, 7, 16, 24};
  onnxc_conv conv = {.spatial = 2, .group = 1};
  int64_t features = counts[below(m, 5)], dims[4];
  if (one_in(m, 3)) { /* depthwise */
    conv.group = channels;
    features = channels * (1 + below(m, 2));
  } else if (channels % 2 == 0 && one_in(m, 4)) {
    conv.group = 2;
    features *= 2;
  }
  for (uint32_t s = 0; s < 2; s++) {
    dims[2 + s] = sizes[below(m, 4)];
    conv.dilation[s] = one_in(m, 4) ? 2 : 1;
    int64_t reach = (dims[2 + s] - 1) * conv.dilation[s];
    if (!at_least(m, info.dims[2 + s], reach + 1))
      return (onnxc_value){0};
    conv.stride[s] = one_in(m, 3) ? 2 : 1;
    conv.pad_low[s] = number(m, below(m, (uint32_t)reach + 1));
    conv.pad_high[s] = one_in(m, 2) ? conv.pad_low[s] : number(m, below(m, (uint32_t)reach + 1));
  }
  dims[0] = features;
  dims[1] = channels / conv.group;
  onnxc_value bias = one_in(m, 2) ? weights(m, 1, &features, 1) : (onnxc_value){0};
  return onnxc_build_conv(m->graph, "conv", x, weights(m, 4, dims, 0.3F), bias, &conv);
}

static onnxc_value multiply(maker *m, onnxc_value x) {
  onnxc_value_info info = info_of(m, x);
  int64_t dims[2];
  if (info.rank < 2)
    return (onnxc_value){0};
  if (one_in(m, 3) || !onnxc_dim_is_const(&m->graph->dims, info.dims[info.rank - 1], &dims[0])) {
    uint32_t perm[ONNXC_MAX_RANK];
    for (uint32_t d = 0; d < info.rank; d++)
      perm[d] = d;
    perm[info.rank - 1] = info.rank - 2;
    perm[info.rank - 2] = info.rank - 1;
    return onnxc_build_matmul(m->graph, "matmul", x, onnxc_build_transpose(m->graph, "turn", x, perm));
  }
  static const int64_t counts[] = {1, 3, 16, 33};
  dims[1] = counts[below(m, 4)];
  return onnxc_build_matmul(m->graph, "matmul", x, weights(m, 2, dims, 0.3F));
}

static onnxc_value concatenate(maker *m, onnxc_value x) {
  uint32_t rank = info_of(m, x).rank, count = 2 + below(m, 2);
  if (rank == 0)
    return (onnxc_value){0};
  uint32_t axis = below(m, rank), place = below(m, count);
  onnxc_value parts[3];
  for (uint32_t k = 0; k < count; k++)
    parts[k] = k == place ? x : partner(m, x, axis);
  return onnxc_build_concat(m->graph, "concat", count, parts, axis);
}

static onnxc_value transpose(maker *m, onnxc_value x) {
  uint32_t rank = info_of(m, x).rank, perm[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < rank; d++) {
    uint32_t at = below(m, d + 1);
    perm[d] = perm[at];
    perm[at] = d;
  }
  return rank < 2 ? (onnxc_value){0} : onnxc_build_transpose(m->graph, "transpose", x, perm);
}

static onnxc_value reshape(maker *m, onnxc_value x) {
  onnxc_value_info info = info_of(m, x);
  onnxc_dim dims[ONNXC_MAX_RANK + 1];
  uint32_t rank = info.rank, count = 0;
  if (rank == 0)
    return (onnxc_value){0};
  uint32_t at = below(m, rank);
  int64_t extent, factor = 1 + below(m, 4);
  bool split = rank < 6 && onnxc_dim_is_const(&m->graph->dims, info.dims[at], &extent) && extent % factor == 0;
  for (uint32_t d = 0; d < rank; d++) {
    if (split && d == at) {
      dims[count++] = number(m, factor);
      dims[count++] = number(m, extent / factor);
    } else if (!split && d == at && d > 0) {
      dims[count - 1] = onnxc_dim_mul(&m->graph->dims, dims[count - 1], info.dims[d]);
    } else {
      dims[count++] = info.dims[d];
    }
  }
  return onnxc_build_reshape(m->graph, "reshape", x, count, dims);
}

static onnxc_value reduce(maker *m, onnxc_value x) {
  static const onnxc_expr_op ops[] = {ONNXC_EXPR_ADD, ONNXC_EXPR_MIN, ONNXC_EXPR_MAX};
  uint32_t rank = info_of(m, x).rank;
  bool dims[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < rank; d++)
    dims[d] = one_in(m, 2);
  return onnxc_build_reduce(m->graph, "reduce", x, dims, one_in(m, 2), ops[below(m, 3)], NULL, NULL, NULL);
}

static onnxc_value normalise(maker *m, onnxc_value x) {
  static const onnxc_op ops[] = {ONNXC_OP_SOFTMAX, ONNXC_OP_LOG_SOFTMAX, ONNXC_OP_NORMALIZE};
  onnxc_value_info info = info_of(m, x);
  if (info.rank == 0)
    return (onnxc_value){0};
  onnxc_value result = onnxc_graph_add_value(m->graph, NULL, info.dtype, info.rank, info.dims);
  onnxc_node node = onnxc_graph_add_node(m->graph, ops[below(m, 3)], "rows", 1, &x, 1, &result);
  onnxc_node_info *made = onnxc_node_of(m->graph, node);
  made->axis = one_in(m, 2) ? info.rank - 1 : below(m, info.rank);
  made->span = 1;
  made->epsilon = 0.01;
  return result;
}

/* Every second element of a dim from a start, or all of them backwards, or with a border of a constant. */
static onnxc_value move(maker *m, onnxc_value x) {
  onnxc_exprs *pool = &m->graph->exprs;
  onnxc_dims *dims = &m->graph->dims;
  onnxc_value_info info = info_of(m, x);
  onnxc_compute c = {.num_parallel = info.rank, .num_results = 1, .acc_dtype = {ONNXC_F32}};
  onnxc_expr index[ONNXC_MAX_RANK], guard;
  if (info.rank == 0)
    return (onnxc_value){0};
  for (uint32_t d = 0; d < info.rank; d++) {
    c.extents[d] = info.dims[d];
    index[d] = onnxc_expr_index(pool, d);
  }
  uint32_t at = below(m, info.rank);
  onnxc_expr here = index[at];
  uint32_t kind = below(m, 3);
  if (kind == 0) {
    int64_t step = 1 + below(m, 2), start = below(m, 2);
    if (!at_least(m, info.dims[at], start + 1))
      return (onnxc_value){0};
    c.extents[at] = onnxc_dim_ceildiv(dims, onnxc_dim_addc(dims, info.dims[at], -start), number(m, step));
    index[at] = onnxc_expr_binary(pool, ONNXC_EXPR_MUL, here, onnxc_expr_i64(pool, ONNXC_I64, step));
    index[at] = onnxc_expr_binary(pool, ONNXC_EXPR_ADD, index[at], onnxc_expr_i64(pool, ONNXC_I64, start));
    return onnxc_build_index(m->graph, "slice", x, info.rank, c.extents, index);
  }
  onnxc_expr extent = onnxc_expr_dim(pool, info.dims[at]);
  if (kind == 1) {
    onnxc_expr last = onnxc_expr_dim(pool, onnxc_dim_addc(dims, info.dims[at], -1));
    index[at] = onnxc_expr_binary(pool, ONNXC_EXPR_SUB, last, here);
    return onnxc_build_index(m->graph, "reverse", x, info.rank, c.extents, index);
  }
  int64_t low = below(m, 3), high = below(m, 3);
  c.extents[at] = onnxc_dim_addc(dims, info.dims[at], low + high);
  index[at] = onnxc_expr_binary(pool, ONNXC_EXPR_SUB, here, onnxc_expr_i64(pool, ONNXC_I64, low));
  onnxc_expr zero = onnxc_expr_i64(pool, ONNXC_I64, 0);
  guard = onnxc_expr_binary(pool, ONNXC_EXPR_AND, onnxc_expr_binary(pool, ONNXC_EXPR_GE, index[at], zero),
                            onnxc_expr_binary(pool, ONNXC_EXPR_LT, index[at], extent));
  onnxc_expr border = onnxc_expr_f64(pool, ONNXC_F32, one_in(m, 2) ? 0 : 0.5);
  c.finish[0] = onnxc_expr_select(pool, guard, onnxc_expr_load(pool, ONNXC_F32, 0, info.rank, index), border);
  onnxc_value result;
  onnxc_graph_add_compute(m->graph, "pad", &c, 1, &x, &result);
  return result;
}

static void step(maker *m);

/* Values of one side of a fork serve nobody outside. */
static onnxc_value side_of_fork(maker *m, onnxc_branch outer, onnxc_dim condition) {
  uint32_t before = m->values.length;
  m->graph->branch = onnxc_graph_branch(m->graph, outer, condition);
  for (uint32_t k = below(m, 6); k > 0; k--)
    step(m);
  onnxc_value last = m->values.data[m->values.length - 1];
  m->values.length = before;
  m->graph->branch = outer;
  return last;
}

static onnxc_value branch_off(maker *m, onnxc_value x) {
  onnxc_dims *dims = &m->graph->dims;
  const onnxc_value none = {0};
  if (!m->forks_on.i || m->depth == 2)
    return none;
  onnxc_branch outer = m->graph->branch;
  onnxc_dim condition =
      one_in(m, 2) ? onnxc_dim_eq(dims, m->forks_on, number(m, 5)) : onnxc_dim_min(dims, m->forks_on, number(m, 1));
  m->depth++;
  onnxc_value yes = side_of_fork(m, outer, condition);
  onnxc_value no = side_of_fork(m, outer, onnxc_dim_sub(dims, number(m, 1), condition));
  m->depth--;
  if (info_of(m, yes).rank != info_of(m, no).rank) /* x is of both branches */
    *(one_in(m, 2) ? &yes : &no) = x;
  return info_of(m, yes).rank == info_of(m, no).rank ? onnxc_build_join(m->graph, "join", condition, yes, no) : none;
}

static int64_t elements(maker *m, onnxc_value value) {
  return onnxc_dim_hint(&m->graph->dims, onnxc_value_num_elements(m->graph, value));
}

static void step(maker *m) {
  static onnxc_value (*const kinds[])(maker *, onnxc_value) = {
      unary,     binary,  binary, convolve,  convolve, convolve,   multiply,   concatenate, concatenate,
      transpose, reshape, reduce, normalise, move,     branch_off, branch_off, branch_off, /* the last ones only where
                                                                                              there are forks */
  };
  uint32_t count = sizeof kinds / sizeof *kinds - (m->forks_on.i ? 0 : 3);
  onnxc_value x = pick(m);
  if (elements(m, x) > MAX_ELEMENTS)
    return;
  onnxc_value y = kinds[below(m, count)](m, x);
  if (y.i && elements(m, y) <= 4 * MAX_ELEMENTS)
    ONNXC_PUSH(m->graph->arena, m->values, y);
}

static onnxc_dim input_dim(maker *m, const char *name, bool symbolic, uint32_t axis, int64_t low) {
  static const int64_t sizes[] = {5, 6, 7, 9, 12, 17};
  if (!symbolic)
    return number(m, axis == 0 ? 1 + below(m, 3) : sizes[below(m, 6)]);
  onnxc_sym sym = onnxc_sym_new(&m->graph->dims, name, ONNXC_SYM_INPUT_DIM, 0, axis);
  onnxc_symbol *symbol = onnxc_dims_symbol(&m->graph->dims, sym);
  symbol->low = low;
  symbol->high = 4096;
  symbol->hint = 9;
  return onnxc_dim_sym(&m->graph->dims, sym);
}

static void make_graph(onnxc_graph *graph, uint32_t seed, bool forks) {
  static const int64_t channels[] = {1, 2, 3, 4, 8, 16, 17};
  static const char *const output_names[] = {"y0", "y1", "y2", "y3", "y4"};
  maker m = {.graph = graph, .random = {.state = seed * 2654435761U + 1}};
  for (int k = 0; k < 4; k++)
    below(&m, 2); /* seeds that are near each other part */
  bool symbolic = one_in(&m, 2) || forks, spatial = symbolic && one_in(&m, 2);
  onnxc_dim dims[4] = {input_dim(&m, "N", symbolic, 0, 0)};
  m.forks_on = forks ? dims[0] : m.forks_on;
  dims[2] = input_dim(&m, "H", spatial, 2, MIN_SPATIAL);
  dims[3] = input_dim(&m, "W", spatial, 3, MIN_SPATIAL);
  uint32_t inputs = 1 + below(&m, 2);
  for (uint32_t k = 0; k < inputs; k++) {
    dims[1] = number(&m, channels[below(&m, 7)]);
    ONNXC_PUSH(graph->arena, m.values, onnxc_graph_add_input(graph, k ? "x1" : "x0", ONNXC_F32, 4, dims));
  }
  uint32_t steps = 2 + below(&m, MAX_STEPS - 1);
  for (uint32_t k = 0; k < 8 * steps && m.values.length < inputs + steps; k++)
    step(&m);
  onnxc_graph_add_output(graph, m.values.data[m.values.length - 1], output_names[0]);
  for (uint32_t k = 1, count = below(&m, 5); k <= count; k++) /* some twice, some inputs */
    onnxc_graph_add_output(graph, m.values.data[below(&m, m.values.length)], output_names[k]);
}

void random_graph(onnxc_graph *graph, uint32_t seed) { make_graph(graph, seed, false); }
void random_forks(onnxc_graph *graph, uint32_t seed) { make_graph(graph, seed, true); }
