/* attention.c -- attention becomes one row group.
 *
 *     s = finish(sum q * k)               a contraction, scale and mask its epilogue
 *     m = max s;  e = exp(s - m);  l = 1 / sum e;  p = e * l                       a row group: softmax
 *     y = sum over keys of p * v          a contraction
 *   becomes one group of  s, m, e, l  and
 *     y = (sum of e * v) * l
 *
 * so that scores never leave scratch, and rows are divided by their sum after the product, where there are fewer
 * elements. Nothing but the group reads s, e and p. Where p is rounded to a narrower type it stays, and y reads it. A
 * select that clears whole rows of p (those without any key) moves behind the product, too: it does not depend on the
 * key.
 *
 * The scores' factors change places where necessary: the one that the keys are in is b, which is packed.
 *
 * needs: roles      breaks: nothing      leaves: p, for dce
 */
#include "pass/attention.h"

#include "pass/pass.h"

#include <string.h>

static const onnxc_compute *compute_of(const onnxc_graph *graph, onnxc_node node) {
  return onnxc_node_of(graph, node)->compute;
}

/* The compute that makes a value as its only result; none if something else does. */
static onnxc_node maker_of(const onnxc_graph *graph, onnxc_value value) {
  onnxc_node producer = value.i ? onnxc_value_of(graph, value)->producer : (onnxc_node){0};
  if (!producer.i || onnxc_node_of(graph, producer)->op != ONNXC_OP_COMPUTE ||
      onnxc_node_of(graph, producer)->num_outputs != 1)
    return (onnxc_node){0};
  return producer;
}

/* ---- softmax ---- */

int onnxc_match_own_element(const onnxc_graph *graph, const onnxc_compute *compute, onnxc_expr e, uint32_t count) {
  const onnxc_expr_node *node = onnxc_exprs_node(&graph->exprs, e);
  if (node->op == ONNXC_EXPR_CAST)
    node = onnxc_exprs_node(&graph->exprs, node->args[0]);
  if (node->op != ONNXC_EXPR_LOAD || node->num_args != count)
    return -1;
  for (uint32_t d = 0; d < count; d++) {
    const onnxc_expr_node *index = onnxc_exprs_node(&graph->exprs, node->args[d]);
    bool own = index->op == ONNXC_EXPR_INDEX && index->imm == (int64_t)d;
    bool only = index->op == ONNXC_EXPR_CONST && index->imm == 0 && onnxc_dim_is(&graph->dims, compute->extents[d], 1);
    if (!own && !only)
      return -1;
  }
  return (int)node->imm;
}

/* Operand of `node` that is loaded so, or none. */
static onnxc_value own_element(const onnxc_graph *graph, onnxc_node node, onnxc_expr e, uint32_t count) {
  int operand = onnxc_match_own_element(graph, compute_of(graph, node), e, count);
  return operand < 0 ? (onnxc_value){0} : onnxc_node_of(graph, node)->inputs[operand];
}

static bool is_number(const onnxc_exprs *pool, onnxc_expr e, double number) {
  double value;
  int64_t integer;
  return onnxc_exprs_node(pool, e)->op == ONNXC_EXPR_CONST && onnxc_expr_const_value(pool, e, &value, &integer) &&
         value == number;
}

/* A reduction of one result over the dim behind all parallel ones. */
static bool reduces(const onnxc_graph *graph, onnxc_node node, onnxc_expr_op combiner, double init) {
  if (!node.i)
    return false;
  const onnxc_compute *c = compute_of(graph, node);
  return c->num_results == 1 && c->num_reduce == 1 && onnxc_compute_combiner(&graph->exprs, c, 0) == combiner &&
         is_number(&graph->exprs, c->init[0], init);
}

bool onnxc_match_softmax(const onnxc_graph *graph, onnxc_value power, onnxc_value inverse, onnxc_softmax *s) {
  const onnxc_exprs *pool = &graph->exprs;
  s->power = maker_of(graph, power);
  s->inverse = maker_of(graph, inverse);
  if (!s->power.i || !reduces(graph, s->inverse, ONNXC_EXPR_ADD, 0))
    return false;
  const onnxc_compute *of_power = compute_of(graph, s->power), *of_inverse = compute_of(graph, s->inverse);
  uint32_t rows = of_inverse->num_parallel;
  const onnxc_expr_node *finish = onnxc_exprs_node(pool, of_inverse->finish[0]);
  if (finish->op != ONNXC_EXPR_DIV || !is_number(pool, finish->args[0], 1) ||
      onnxc_exprs_node(pool, finish->args[1])->op != ONNXC_EXPR_ACC ||
      own_element(graph, s->inverse, of_inverse->element[0], rows + 1).i != power.i)
    return false;
  const onnxc_expr_node *exp = onnxc_exprs_node(pool, of_power->finish[0]);
  if (of_power->num_reduce || of_power->num_parallel != rows + 1 || exp->op != ONNXC_EXPR_EXP)
    return false;
  const onnxc_expr_node *shifted = onnxc_exprs_node(pool, exp->args[0]);
  if (shifted->op != ONNXC_EXPR_SUB)
    return false;
  s->x = own_element(graph, s->power, shifted->args[0], rows + 1);
  s->max = maker_of(graph, own_element(graph, s->power, shifted->args[1], rows));
  if (!s->x.i || !reduces(graph, s->max, ONNXC_EXPR_MAX, -__builtin_inf()))
    return false;
  const onnxc_compute *of_max = compute_of(graph, s->max);
  return of_max->num_parallel == rows && onnxc_exprs_node(pool, of_max->finish[0])->op == ONNXC_EXPR_ACC &&
         own_element(graph, s->max, of_max->element[0], rows + 1).i == s->x.i && of_max->row_group &&
         of_max->row_group == of_power->row_group && of_max->row_group == of_inverse->row_group &&
         of_max->row_rank == rows;
}

/* ---- the pass ---- */

enum { MEMBERS = 6 }; /* of a group, without the product */

typedef struct finder {
  onnxc_graph *graph;
  const uint32_t *uses;
  onnxc_softmax softmax;
  onnxc_node scores, product;
  onnxc_value normal, p; /* e * l; what the product reads: that, or with rows cleared */
  onnxc_node cleared;    /* the node that clears rows; none */
  bool wide;             /* p has the type of e */
  uint32_t rows;         /* indices of rows */
} finder;

/* p = e * l, as one type or cast to a narrower one. */
static bool find_softmax(finder *f, onnxc_value value) {
  const onnxc_graph *graph = f->graph;
  onnxc_node node = maker_of(graph, value);
  const onnxc_compute *c = node.i ? compute_of(graph, node) : NULL;
  if (!c || c->num_reduce || !c->row_group || c->num_parallel != c->row_rank + 1)
    return false;
  const onnxc_expr_node *product = onnxc_exprs_node(&graph->exprs, c->finish[0]);
  f->wide = product->op != ONNXC_EXPR_CAST;
  if (!f->wide)
    product = onnxc_exprs_node(&graph->exprs, product->args[0]);
  if (product->op != ONNXC_EXPR_MUL)
    return false;
  f->normal = value;
  f->rows = c->row_rank;
  for (uint32_t k = 0; k < 2; k++) { /* the arguments of a commutative operation come in any order */
    onnxc_value power = own_element(graph, node, product->args[k], f->rows + 1);
    onnxc_value inverse = own_element(graph, node, product->args[1 - k], f->rows);
    if (power.i && inverse.i && onnxc_match_softmax(graph, power, inverse, &f->softmax))
      return compute_of(graph, f->softmax.max)->row_group == c->row_group;
  }
  return false;
}

/* p = select(c, 0, e * l) with a condition that is the same for a whole row. */
static bool find_cleared(finder *f) {
  const onnxc_graph *graph = f->graph;
  f->cleared = maker_of(graph, f->p);
  const onnxc_compute *c = f->cleared.i ? compute_of(graph, f->cleared) : NULL;
  if (!c || c->num_reduce || c->row_group)
    return false;
  const onnxc_expr_node *select = onnxc_exprs_node(&graph->exprs, c->finish[0]);
  if (select->op != ONNXC_EXPR_SELECT || !is_number(&graph->exprs, select->args[1], 0) ||
      onnxc_expr_uses_index(&graph->exprs, select->args[0], c->num_parallel - 1) ||
      onnxc_exprs_node(&graph->exprs, select->args[2])->op != ONNXC_EXPR_LOAD)
    return false;
  onnxc_value normal = own_element(graph, f->cleared, select->args[2], c->num_parallel);
  return normal.i && f->uses[normal.i] == 1 && find_softmax(f, normal);
}

/* The factor that is p, and v, which neither the rows of a block nor a guard are in. */
static bool is_product_with(const finder *f, onnxc_node node, uint32_t operand) {
  onnxc_graph *graph = f->graph;
  onnxc_compute *c = onnxc_node_of(graph, node)->compute;
  onnxc_factor factors[2];
  uint32_t rows = c->num_parallel - 1;
  if (c->num_reduce != 1 || c->contraction.a == c->contraction.b ||
      !onnxc_contraction_factors(&graph->exprs, c, factors))
    return false;
  const onnxc_factor *p = &factors[operand == c->contraction.a ? 0 : 1], *v = &factors[operand == c->contraction.a];
  const onnxc_expr_node *load = onnxc_exprs_node(&graph->exprs, p->load);
  if (p->guard.i || v->guard.i || load->num_args != rows + 1)
    return false;
  for (uint32_t d = 0; d <= rows; d++) { /* at the rows, and at the key */
    const onnxc_expr_node *index = onnxc_exprs_node(&graph->exprs, load->args[d]);
    bool only =
        index->op == ONNXC_EXPR_CONST && index->imm == 0 && d < rows && onnxc_dim_is(&graph->dims, c->extents[d], 1);
    if (!only && (index->op != ONNXC_EXPR_INDEX || index->imm != (int64_t)(d < rows ? d : rows + 1)))
      return false;
  }
  return true;
}

static bool find_scores(finder *f) {
  onnxc_graph *graph = f->graph;
  f->scores = maker_of(graph, f->softmax.x);
  const onnxc_compute *c = f->scores.i ? compute_of(graph, f->scores) : NULL;
  onnxc_factor factors[2];
  if (!c || !c->contraction.valid || c->row_group || c->num_parallel != f->rows + 1 || f->uses[f->softmax.x.i] != 2 ||
      c->contraction.a == c->contraction.b || !onnxc_dtype_is_float(c->acc_dtype[0]) ||
      !onnxc_contraction_factors(&graph->exprs, onnxc_node_of(graph, f->scores)->compute, factors))
    return false;
  return !factors[0].guard.i && !factors[1].guard.i;
}

/* Rows and keys of all nodes are one. */
static bool same_extents(const finder *f) {
  const onnxc_compute *s = compute_of(f->graph, f->scores), *y = compute_of(f->graph, f->product);
  const onnxc_compute *m = compute_of(f->graph, f->softmax.max);
  if (y->num_parallel != f->rows + 1)
    return false;
  for (uint32_t k = 0; k < f->rows; k++)
    if (!onnxc_dim_same(s->extents[k], m->extents[k]) || !onnxc_dim_same(y->extents[k], m->extents[k]))
      return false;
  return onnxc_dim_same(s->extents[f->rows], m->extents[f->rows]) &&
         onnxc_dim_same(y->extents[f->rows + 1], m->extents[f->rows]);
}

static uint32_t uses_of(const finder *f, onnxc_node node) {
  return f->uses[onnxc_node_of(f->graph, node)->outputs[0].i];
}

/* All nodes run under one condition. */
static bool in_one_branch(const finder *f) {
  const onnxc_node nodes[] = {f->scores, f->softmax.max, f->softmax.power, f->softmax.inverse, f->cleared};
  for (uint32_t k = 0; k < sizeof nodes / sizeof *nodes; k++)
    if (nodes[k].i && onnxc_node_of(f->graph, nodes[k])->branch.i != onnxc_node_of(f->graph, f->product)->branch.i)
      return false;
  return onnxc_branch_of(f->graph, f->normal).i == onnxc_node_of(f->graph, f->product)->branch.i;
}

static bool find(finder *f, onnxc_node node) {
  onnxc_graph *graph = f->graph;
  const onnxc_node_info *info = onnxc_node_of(graph, node);
  if (info->op != ONNXC_OP_COMPUTE || !info->compute->contraction.valid || info->compute->row_group)
    return false;
  f->product = node;
  const uint32_t operands[] = {info->compute->contraction.a, info->compute->contraction.b};
  for (uint32_t k = 0; k < 2; k++) {
    f->p = info->inputs[operands[k]];
    if (f->uses[f->p.i] != 1)
      continue;
    f->cleared = (onnxc_node){0};
    if (!find_softmax(f, f->p) && !find_cleared(f))
      continue;
    return is_product_with(f, node, operands[k]) && uses_of(f, f->softmax.max) == 1 &&
           uses_of(f, f->softmax.power) == 2 && uses_of(f, f->softmax.inverse) == 1 && find_scores(f) &&
           same_extents(f) && in_one_branch(f);
  }
  return false;
}

/* ---- rewriting ---- */

static onnxc_compute *own_compute(onnxc_graph *graph, onnxc_node node) {
  onnxc_compute *copy = ONNXC_NEW(graph->arena, onnxc_compute);
  *copy = *onnxc_node_of(graph, node)->compute;
  return onnxc_node_of(graph, node)->compute = copy;
}

typedef struct renaming {
  const uint32_t *operands; /* new numbers of loads' operands */
  onnxc_expr acc;           /* for the accumulator */
} renaming;

static onnxc_expr rename_leaf(void *arg, onnxc_exprs *pool, onnxc_expr leaf) {
  const renaming *r = arg;
  onnxc_expr_node node = *onnxc_exprs_node(pool, leaf);
  if (node.op == ONNXC_EXPR_ACC && r->acc.i)
    return r->acc;
  if (node.op == ONNXC_EXPR_LOAD && r->operands)
    return onnxc_expr_load_from(pool, leaf, (onnxc_dtype)node.dtype, r->operands[node.imm]);
  return (onnxc_expr){0};
}

/* y = sum of p * v   =>   y = finish(l * sum of e * v), in a copy of the node's compute and operands. */
static void divide_afterwards(finder *f) {
  onnxc_graph *graph = f->graph;
  onnxc_exprs *pool = &graph->exprs;
  onnxc_node_info *node = onnxc_node_of(graph, f->product);
  onnxc_compute *c = own_compute(graph, f->product);
  const onnxc_node_info *cleared = f->cleared.i ? onnxc_node_of(graph, f->cleared) : NULL;
  uint32_t more = cleared ? cleared->num_inputs : 0, count = node->num_inputs;
  onnxc_value *inputs = ONNXC_NEW_ARRAY(graph->arena, onnxc_value, count + more + 2);
  memcpy(inputs, node->inputs, count * sizeof *inputs);
  for (uint32_t k = 0; k < count; k++)
    if (inputs[k].i == f->p.i)
      inputs[k] = onnxc_node_of(graph, f->softmax.power)->outputs[0];
  onnxc_expr index[ONNXC_MAX_RANK], acc = onnxc_expr_acc(pool, c->acc_dtype[0], 0);
  for (uint32_t d = 0; d < f->rows; d++)
    index[d] = onnxc_expr_index(pool, d);
  inputs[count] = onnxc_node_of(graph, f->softmax.inverse)->outputs[0];
  onnxc_expr inverse = onnxc_expr_load(pool, onnxc_value_of(graph, inputs[count])->dtype, count, f->rows, index);
  /* Of no keys the sum is 0 and stays 0. */
  onnxc_expr keys = onnxc_expr_dim(pool, c->extents[f->rows + 1]);
  onnxc_expr some = onnxc_expr_binary(pool, ONNXC_EXPR_GT, keys, onnxc_expr_i64(pool, ONNXC_I64, 0));
  inverse = onnxc_expr_select(pool, some, onnxc_expr_cast(pool, c->acc_dtype[0], inverse),
                              onnxc_expr_f64(pool, c->acc_dtype[0], 1));
  acc = onnxc_expr_binary(pool, ONNXC_EXPR_MUL, acc, inverse);
  count++;
  if (cleared) {
    uint32_t *operands = ONNXC_NEW_ARRAY(graph->arena, uint32_t, more + 1);
    for (uint32_t k = 0; k < more; k++)
      if (cleared->inputs[k].i != f->normal.i)
        inputs[operands[k] = count++] = cleared->inputs[k];
    onnxc_expr condition = onnxc_exprs_node(pool, cleared->compute->finish[0])->args[0];
    renaming r = {.operands = operands};
    condition = onnxc_expr_rewrite(pool, condition, rename_leaf, &r);
    acc = onnxc_expr_select(pool, condition, onnxc_expr_f64(pool, c->acc_dtype[0], 0), acc);
  }
  renaming r = {.acc = acc};
  c->finish[0] = onnxc_expr_rewrite(pool, c->finish[0], rename_leaf, &r);
  node->inputs = inputs;
  node->num_inputs = count;
}

static void join(finder *f, onnxc_node node) {
  onnxc_compute *c = own_compute(f->graph, node);
  c->row_group = compute_of(f->graph, f->softmax.max)->row_group;
  c->row_rank = f->rows;
}

/* The members but the product, which follows them; returns how many. */
static uint32_t members(const finder *f, onnxc_node *nodes) {
  uint32_t count = 0;
  nodes[count++] = f->scores;
  nodes[count++] = f->softmax.max;
  nodes[count++] = f->softmax.power;
  nodes[count++] = f->softmax.inverse;
  if (!f->wide)
    nodes[count++] = onnxc_value_of(f->graph, f->normal)->producer;
  if (!f->wide && f->cleared.i)
    nodes[count++] = f->cleared;
  return count;
}

static bool orient(finder *f) {
  onnxc_graph *graph = f->graph;
  onnxc_compute *scores = own_compute(graph, f->scores), *product = own_compute(graph, f->product);
  onnxc_factor factors[2];
  onnxc_contraction_factors(&graph->exprs, scores, factors);
  uint32_t first =
      onnxc_expr_uses_index(&graph->exprs, factors[0].load, f->rows) ? scores->contraction.b : scores->contraction.a;
  uint32_t p = onnxc_node_of(graph, f->product)->inputs[product->contraction.a].i == f->p.i ? product->contraction.a
                                                                                            : product->contraction.b;
  onnxc_contraction_orient(&graph->exprs, scores, first);
  onnxc_contraction_orient(&graph->exprs, product, p);
  return scores->contraction.role[f->rows] == ONNXC_ROLE_N && product->contraction.role[f->rows] == ONNXC_ROLE_N;
}

/* The groups' nodes go where their products are: nothing in between reads them. */
static void reorder(onnxc_graph *graph, finder *const *found) {
  onnxc_order order = {0};
  bool *moved = ONNXC_NEW_ARRAY(graph->arena, bool, graph->nodes.length);
  onnxc_node nodes[MEMBERS];
  for (uint32_t n = 0; n < graph->order.length; n++) {
    uint32_t count = found[n] ? members(found[n], nodes) : 0;
    for (uint32_t k = 0; k < count; k++)
      moved[nodes[k].i] = true;
    if (found[n] && found[n]->wide) /* nobody reads these now */
      moved[onnxc_value_of(graph, found[n]->normal)->producer.i] =
          moved[onnxc_value_of(graph, found[n]->p)->producer.i] = true;
  }
  for (uint32_t n = 0; n < graph->order.length; n++) {
    uint32_t count = found[n] ? members(found[n], nodes) : 0;
    for (uint32_t k = 0; k < count; k++)
      ONNXC_PUSH(graph->arena, order, nodes[k]);
    if (!moved[graph->order.data[n].i])
      ONNXC_PUSH(graph->arena, order, graph->order.data[n]);
  }
  graph->order = order;
}

onnxc_status onnxc_pass_attention(onnxc_graph *graph, const onnxc_pass_options *options) {
  (void)options;
  const uint32_t *uses = onnxc_graph_count_uses(graph, graph->arena);
  finder **found = ONNXC_NEW_ARRAY(graph->arena, finder *, graph->order.length + 1);
  for (uint32_t n = 0; n < graph->order.length; n++) {
    finder f = {.graph = graph, .uses = uses};
    if (!find(&f, graph->order.data[n]) || !orient(&f))
      continue;
    if (f.wide)
      divide_afterwards(&f);
    join(&f, f.scores);
    join(&f, f.product);
    if (!f.wide && f.cleared.i)
      join(&f, f.cleared);
    found[n] = ONNXC_NEW(graph->arena, finder);
    *found[n] = f;
  }
  reorder(graph, found);
  return ONNXC_OK;
}

/* ---- the group ---- */

bool onnxc_match_attention(onnxc_graph *graph, uint32_t first, onnxc_attention *attention) {
  if (first + 5 > graph->order.length)
    return false;
  const onnxc_node *nodes = &graph->order.data[first];
  uint32_t group = onnxc_node_of(graph, nodes[0])->compute ? compute_of(graph, nodes[0])->row_group : 0;
  for (uint32_t k = 0; k < 5; k++) {
    const onnxc_node_info *node = onnxc_node_of(graph, nodes[k]);
    if (node->op != ONNXC_OP_COMPUTE || node->num_outputs != 1 || node->compute->row_group != group ||
        onnxc_value_of(graph, node->outputs[0])->dtype != ONNXC_F32)
      return false;
  }
  const onnxc_node_info *scores = onnxc_node_of(graph, nodes[0]), *product = onnxc_node_of(graph, nodes[4]);
  onnxc_value power = onnxc_node_of(graph, nodes[2])->outputs[0], inverse = onnxc_node_of(graph, nodes[3])->outputs[0];
  finder f = {.graph = graph, .rows = scores->compute->row_rank, .scores = nodes[0], .product = nodes[4], .p = power};
  if (!scores->compute->contraction.valid || !product->compute->contraction.valid ||
      product->inputs[product->compute->contraction.a].i != power.i ||
      !onnxc_match_softmax(graph, power, inverse, &f.softmax) || f.softmax.max.i != nodes[1].i ||
      f.softmax.x.i != scores->outputs[0].i || !same_extents(&f) ||
      !is_product_with(&f, nodes[4], product->compute->contraction.a))
    return false;
  *attention = (onnxc_attention){f.scores, f.product, f.softmax};
  return true;
}
