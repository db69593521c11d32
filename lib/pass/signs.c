/* signs.c -- give products of two signed or two unsigned bytes the factors that dot products take: u8 x s8.
 *
 *     s8 x s8    sum a*b  =  sum a*b' - 128 * sum a,    b' = b + 128 as u8
 *     u8 x u8    sum a*b  =  sum a*b' + 128 * sum a,    b' = b - 128 as s8
 *
 * In both b' has b's bits but for the highest. Sums wrap, so this is exact. b changes, not a: it is mostly constant, or
 * copied into panels anyway, and zeros around a (a halo, a guard) keep their meaning. The sums of a
 * are a compute of their own, without the n indices: one pass over a beside one for each vector of columns, so few
 * columns and little work do not pay for it.
 *
 * needs: roles, layouts      breaks: nothing      leaves: constants without users, for dce
 */
#include "pass/pass.h"
#include "pass/product.h"

#define LEAST_WORK 32768.0 /* products */
enum { LEAST_COLUMNS = 8 };

typedef struct signer {
  onnxc_graph *graph;
  const onnxc_target *target;
  onnxc_order order;
  ONNXC_VEC(onnxc_value) from; /* b, and b' */
  ONNXC_VEC(onnxc_value) to;
} signer;

static bool pays(const onnxc_graph *graph, const onnxc_product *p) {
  double columns = onnxc_product_points(graph, p, ONNXC_ROLE_N), work = 1;
  for (int role = ONNXC_ROLE_BATCH; role <= ONNXC_ROLE_WINDOW; role++)
    work *= onnxc_product_points(graph, p, (onnxc_role)role);
  return p->k_dim >= 0 && (p->constant_b || p->copy_pays) && columns >= (double)LEAST_COLUMNS && work >= LEAST_WORK;
}

/* The node just appended to the graph's order goes before its user instead. */
static void place(signer *s) { ONNXC_PUSH(s->graph->arena, s->order, s->graph->order.data[--s->graph->order.length]); }

static onnxc_value flip_constant(onnxc_graph *graph, onnxc_value value, onnxc_dtype dtype) {
  const onnxc_value_info info = *onnxc_value_of(graph, value);
  int64_t shape[ONNXC_MAX_RANK];
  onnxc_value_static_shape(graph, value, shape);
  const unsigned char *from = info.data;
  unsigned char *data = onnxc_arena_alloc(graph->arena, info.data_size + 1);
  for (size_t i = 0; i < info.data_size; i++)
    data[i] = from[i] ^ 0x80;
  onnxc_value flipped = onnxc_graph_add_constant(graph, info.name, dtype, info.rank, shape, data);
  onnxc_value_of(graph, flipped)->layout = info.layout;
  return flipped;
}

static onnxc_value flip_value(onnxc_graph *graph, onnxc_value value, onnxc_dtype dtype) {
  const onnxc_value_info info = *onnxc_value_of(graph, value);
  onnxc_exprs *pool = &graph->exprs;
  onnxc_compute compute = {.num_parallel = info.rank, .num_results = 1};
  onnxc_expr index[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < info.rank; d++) {
    compute.extents[d] = info.dims[d];
    index[d] = onnxc_expr_index(pool, d);
  }
  onnxc_expr load = onnxc_expr_load(pool, info.dtype, 0, info.rank, index);
  compute.finish[0] = onnxc_expr_binary(pool, ONNXC_EXPR_XOR, onnxc_expr_cast(pool, dtype, load),
                                        onnxc_expr_i64(pool, dtype, dtype == ONNXC_U8 ? 128 : -128));
  onnxc_value flipped;
  onnxc_graph_add_compute(graph, info.name, &compute, 1, &value, &flipped);
  onnxc_value_of(graph, flipped)->layout = info.layout;
  return flipped;
}

/* b', made once for all users. */
static onnxc_value flip(signer *s, onnxc_value value, onnxc_dtype dtype) {
  onnxc_graph *graph = s->graph;
  for (uint32_t k = 0; k < s->from.length; k++)
    if (s->from.data[k].i == value.i &&
        onnxc_branch_within(graph, graph->branch, onnxc_branch_of(graph, s->to.data[k])))
      return s->to.data[k];
  onnxc_value flipped =
      onnxc_value_is_constant(graph, value) ? flip_constant(graph, value, dtype) : flip_value(graph, value, dtype);
  place(s);
  ONNXC_PUSH(graph->arena, s->from, value);
  ONNXC_PUSH(graph->arena, s->to, flipped);
  return flipped;
}

/* 128 times the sums of a, positive or negative; its dims are the product's with 1 for those of n. */
static onnxc_value correction(signer *s, const char *name, const onnxc_product *p, onnxc_value a) {
  onnxc_graph *graph = s->graph;
  onnxc_exprs *pool = &graph->exprs;
  const onnxc_compute *c = p->compute;
  onnxc_compute sums = *c;
  sums.contraction = (onnxc_contraction){0};
  for (uint32_t k = 0; k < c->num_parallel; k++)
    if (c->contraction.role[k] == ONNXC_ROLE_N)
      sums.extents[k] = onnxc_dim_const(&graph->dims, 1);
  sums.element[0] = onnxc_expr_cast(pool, ONNXC_I32, onnxc_expr_load_from(pool, p->factors[0].load, p->a.dtype, 0));
  sums.init[0] = onnxc_expr_i64(pool, ONNXC_I32, 0);
  sums.finish[0] = onnxc_expr_binary(pool, ONNXC_EXPR_MUL, onnxc_expr_acc(pool, ONNXC_I32, 0),
                                     onnxc_expr_i64(pool, ONNXC_I32, p->a.dtype == ONNXC_I8 ? -128 : 128));
  onnxc_value result;
  onnxc_graph_add_compute(graph, name, &sums, 1, &a, &result);
  place(s);
  return result;
}

/* The new compute in terms of the old one's leaves. */
typedef struct change {
  uint32_t b; /* operand of which loads have the other type now */
  onnxc_dtype dtype;
  onnxc_expr correction;
} change;

static onnxc_expr change_leaf(void *arg, onnxc_exprs *pool, onnxc_expr leaf) {
  const change *to = arg;
  onnxc_expr_node node = *onnxc_exprs_node(pool, leaf);
  if (node.op == ONNXC_EXPR_ACC && to->correction.i)
    return onnxc_expr_binary(pool, ONNXC_EXPR_ADD, leaf, to->correction);
  if (node.op != ONNXC_EXPR_LOAD || node.imm != (int64_t)to->b || to->correction.i)
    return (onnxc_expr){0};
  return onnxc_expr_load_from(pool, leaf, to->dtype, (uint32_t)node.imm);
}

static void find_operand(void *arg, const onnxc_exprs *pool, onnxc_expr e) {
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  if (node->op == ONNXC_EXPR_LOAD && node->imm == (int64_t)((change *)arg)->b)
    ((change *)arg)->dtype = ONNXC_DTYPE_NONE;
}

/* Is b read beside the product, where its own values count? */
static bool read_elsewhere(const onnxc_exprs *pool, const onnxc_compute *c) {
  change look = {.b = c->contraction.b, .dtype = ONNXC_I32};
  onnxc_expr_walk(pool, c->init[0], find_operand, &look);
  onnxc_expr_walk(pool, c->finish[0], find_operand, &look);
  return look.dtype == ONNXC_DTYPE_NONE;
}

static void rewrite(signer *s, onnxc_node handle, const onnxc_product *p, onnxc_dtype dtype) {
  onnxc_graph *graph = s->graph;
  onnxc_exprs *pool = &graph->exprs;
  const onnxc_node_info old = *onnxc_node_of(graph, handle);
  const onnxc_compute *c = p->compute;
  onnxc_value *inputs = ONNXC_NEW_ARRAY(graph->arena, onnxc_value, old.num_inputs + 1);
  for (uint32_t k = 0; k < old.num_inputs; k++)
    inputs[k] = old.inputs[k];
  inputs[c->contraction.b] = flip(s, old.inputs[c->contraction.b], dtype);
  inputs[old.num_inputs] = correction(s, old.name, p, old.inputs[c->contraction.a]);
  onnxc_expr index[ONNXC_MAX_RANK];
  for (uint32_t k = 0; k < c->num_parallel; k++)
    index[k] = c->contraction.role[k] == ONNXC_ROLE_N ? onnxc_expr_i64(pool, ONNXC_I64, 0) : onnxc_expr_index(pool, k);
  change to = {.b = c->contraction.b, .dtype = dtype};
  onnxc_compute *compute = ONNXC_NEW(graph->arena, onnxc_compute);
  *compute = *c;
  compute->element[0] = onnxc_expr_rewrite(pool, c->element[0], change_leaf, &to);
  to.correction = onnxc_expr_load(pool, ONNXC_I32, old.num_inputs, c->num_parallel, index);
  compute->finish[0] = onnxc_expr_rewrite(pool, c->finish[0], change_leaf, &to);
  onnxc_node_info *node = onnxc_node_of(graph, handle);
  node->compute = compute;
  node->inputs = inputs;
  node->num_inputs = old.num_inputs + 1;
}

static void change_signs(signer *s, onnxc_node handle) {
  onnxc_graph *graph = s->graph;
  const onnxc_node_info *node = onnxc_node_of(graph, handle);
  if (node->op != ONNXC_OP_COMPUTE || !node->compute->contraction.valid || node->compute->acc_dtype[0] != ONNXC_I32)
    return;
  const onnxc_contraction *c = &node->compute->contraction;
  onnxc_dtype a = onnxc_value_of(graph, node->inputs[c->a])->dtype,
              b = onnxc_value_of(graph, node->inputs[c->b])->dtype;
  onnxc_dtype other = a == ONNXC_I8 ? ONNXC_U8 : ONNXC_I8;
  onnxc_product p;
  if (a == b && (a == ONNXC_I8 || a == ONNXC_U8) && onnxc_find_product(graph, s->target, node, a, other, &p) &&
      pays(graph, &p) && !read_elsewhere(&graph->exprs, node->compute))
    rewrite(s, handle, &p, other);
}

onnxc_status onnxc_pass_signs(onnxc_graph *graph, const onnxc_pass_options *options) {
  signer s = {.graph = graph, .target = options->target};
  if (!s.target)
    return onnxc_error(graph->diag, ONNXC_USAGE, "pass signs needs a target");
  uint32_t length = graph->order.length;
  for (uint32_t k = 0; k < length; k++) {
    onnxc_node node = graph->order.data[k];
    graph->branch = onnxc_node_of(graph, node)->branch;
    change_signs(&s, node);
    ONNXC_PUSH(graph->arena, s.order, node);
  }
  graph->branch = (onnxc_branch){0};
  graph->order = s.order;
  return ONNXC_OK;
}
