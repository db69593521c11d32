/* simplify.c -- drop what does nothing.
 *
 *   compute that is its operand; reshape, relayout, concat of one to what it is   =>  operand
 *   movement of a movement     y[i] = x[f(i)], z[i] = y[g(i)]                      =>  z[i] = x[f(g(i))]
 *   reshape of a reshape                                                          =>  one reshape
 *   operands that no expression loads                                             =>  gone
 *   equal nodes, equal constants                                                  =>  one of them
 *   dim(c) in the branch of c; of 1 - c                                            =>  1; 0
 *
 * (A movement is a compute whose result is one load; transposes are movements, so a pair that cancels composes to
 * the identity and goes.) Each rule removes a node or an edge, or moves one up to an earlier
 * producer, so the sweep ends; operands come first in order, so one sweep is the fixed point.
 *
 * needs: nothing      breaks: roles (operands are renumbered)      leaves: dead producers, for dce
 */
#include "pass/pass.h"

#include <string.h>

enum { SMALL_CONSTANT = 4096 };

typedef struct simplifier {
  onnxc_graph *graph;
  onnxc_value *to;   /* by value: what replaces it */
  onnxc_node *table; /* nodes seen, by content */
  uint32_t table_size;
} simplifier;

static void replace(simplifier *s, onnxc_value from, onnxc_value to) {
  s->to[from.i] = to;
  onnxc_value_info *target = onnxc_value_of(s->graph, to);
  if (!target->elements) /* both have the same elements, in the same order */
    target->elements = onnxc_value_of(s->graph, from)->elements;
}

static onnxc_value resolve(const simplifier *s, onnxc_value value) { return s->to[value.i].i ? s->to[value.i] : value; }

static bool same_type(const onnxc_graph *graph, onnxc_value a, onnxc_value b) {
  const onnxc_value_info *x = onnxc_value_of(graph, a), *y = onnxc_value_of(graph, b);
  if (x->dtype != y->dtype || x->rank != y->rank || !onnxc_layout_equal(&x->layout, &y->layout, x->rank))
    return false;
  for (uint32_t d = 0; d < x->rank; d++)
    if (!onnxc_dim_same(x->dims[d], y->dims[d]))
      return false;
  return true;
}

/* ---- movements ---- */

static void find_load(void *arg, const onnxc_exprs *pool, onnxc_expr e) {
  bool *found = arg;
  *found |= onnxc_exprs_node(pool, e)->op == ONNXC_EXPR_LOAD;
}

/* The load that is the whole of a one-result compute, if its indices load nothing. */
static const onnxc_expr_node *movement_of(const onnxc_graph *graph, const onnxc_node_info *node) {
  if (node->op != ONNXC_OP_COMPUTE || node->compute->num_reduce || node->compute->num_results != 1 ||
      node->compute->row_group)
    return NULL;
  const onnxc_expr_node *load = onnxc_exprs_node(&graph->exprs, node->compute->finish[0]);
  if (load->op != ONNXC_EXPR_LOAD)
    return NULL;
  bool nested = false;
  for (uint32_t d = 0; d < load->num_args; d++)
    onnxc_expr_walk(&graph->exprs, load->args[d], find_load, &nested);
  return nested ? NULL : load;
}

static onnxc_expr replace_index(void *arg, onnxc_exprs *pool, onnxc_expr leaf) {
  const onnxc_expr *indices = arg;
  const onnxc_expr_node *node = onnxc_exprs_node(pool, leaf);
  return node->op == ONNXC_EXPR_INDEX ? indices[node->imm] : (onnxc_expr){0};
}

static void compose_movements(onnxc_graph *graph, onnxc_node handle) {
  onnxc_node_info *node = onnxc_node_of(graph, handle);
  const onnxc_expr_node *found = movement_of(graph, node);
  if (!found)
    return;
  onnxc_expr_node load = *found;
  onnxc_value operand = node->inputs[load.imm];
  onnxc_node producer = onnxc_value_of(graph, operand)->producer;
  const onnxc_expr_node *inner = producer.i ? movement_of(graph, onnxc_node_of(graph, producer)) : NULL;
  if (!inner || !onnxc_layout_is_default(&onnxc_value_of(graph, operand)->layout, load.num_args))
    return;
  onnxc_expr outer_index[ONNXC_MAX_RANK], index[ONNXC_MAX_RANK];
  onnxc_expr_node from = *inner;
  for (uint32_t d = 0; d < load.num_args; d++)
    outer_index[d] = load.args[d];
  for (uint32_t d = 0; d < from.num_args; d++)
    index[d] = onnxc_expr_rewrite(&graph->exprs, from.args[d], replace_index, outer_index);
  node->compute->finish[0] =
      onnxc_expr_load(&graph->exprs, (onnxc_dtype)from.dtype, (uint32_t)load.imm, from.num_args, index);
  node->inputs[load.imm] = onnxc_node_of(graph, producer)->inputs[from.imm];
  onnxc_node_absorb(graph, handle, producer);
}

static bool is_identity(const onnxc_graph *graph, const onnxc_node_info *node) {
  const onnxc_expr_node *load = movement_of(graph, node);
  if (!load || !same_type(graph, node->inputs[load->imm], node->outputs[0]))
    return false;
  for (uint32_t d = 0; d < load->num_args; d++) {
    const onnxc_expr_node *index = onnxc_exprs_node(&graph->exprs, load->args[d]);
    bool straight = index->op == ONNXC_EXPR_INDEX && index->imm == (int64_t)d;
    bool only = onnxc_dim_is(&graph->dims, node->compute->extents[d], 1) && index->op == ONNXC_EXPR_CONST;
    if (!straight && !only)
      return false;
  }
  return true;
}

/* ---- operands ---- */

typedef struct operand_map {
  bool *used;
  uint32_t *number;
  uint32_t count;
} operand_map;

static void mark_operand(void *arg, const onnxc_exprs *pool, onnxc_expr e) {
  operand_map *map = arg;
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  if (node->op == ONNXC_EXPR_LOAD && node->imm < map->count)
    map->used[node->imm] = true;
}

static onnxc_expr renumber(void *arg, onnxc_exprs *pool, onnxc_expr leaf) {
  const operand_map *map = arg;
  onnxc_expr_node node = *onnxc_exprs_node(pool, leaf);
  if (node.op != ONNXC_EXPR_LOAD)
    return (onnxc_expr){0};
  return onnxc_expr_load_from(pool, leaf, (onnxc_dtype)node.dtype, map->number[node.imm]);
}

/* Drops operands that are not loaded, and the second of two that are one value. */
static void tidy_operands(onnxc_graph *graph, onnxc_node_info *node) {
  onnxc_compute *c = node->compute;
  operand_map map = {.count = node->num_inputs};
  map.used = ONNXC_NEW_ARRAY(graph->arena, bool, node->num_inputs);
  map.number = ONNXC_NEW_ARRAY(graph->arena, uint32_t, node->num_inputs);
  onnxc_expr *lists[3] = {c->finish, c->element, c->init};
  int num_lists = c->num_reduce ? 3 : 1;
  for (int i = 0; i < num_lists; i++)
    for (uint32_t j = 0; j < c->num_results; j++)
      onnxc_expr_walk(&graph->exprs, lists[i][j], mark_operand, &map);
  uint32_t kept = 0;
  bool moved = false;
  onnxc_value *inputs = ONNXC_NEW_ARRAY(graph->arena, onnxc_value, node->num_inputs);
  for (uint32_t k = 0; k < node->num_inputs; k++) {
    if (!map.used[k])
      continue;
    uint32_t at = 0;
    while (at < kept && inputs[at].i != node->inputs[k].i)
      at++;
    if (at == kept)
      inputs[kept++] = node->inputs[k];
    map.number[k] = at;
    moved |= at != k;
  }
  if (moved)
    for (int i = 0; i < num_lists; i++)
      for (uint32_t j = 0; j < c->num_results; j++)
        lists[i][j] = onnxc_expr_rewrite(&graph->exprs, lists[i][j], renumber, &map);
  if (kept != node->num_inputs)
    c->contraction.valid = false;
  node->inputs = inputs;
  node->num_inputs = kept;
}

/* ---- branches ---- */

typedef struct asked {
  onnxc_graph *graph;
  onnxc_branch branch;
} asked;

static onnxc_expr answer(void *arg, onnxc_exprs *pool, onnxc_expr leaf) {
  const asked *a = arg;
  const onnxc_expr_node *node = onnxc_exprs_node(pool, leaf);
  if (node->op != ONNXC_EXPR_DIM)
    return (onnxc_expr){0};
  onnxc_dim dim = {(uint32_t)node->imm}, opposite = onnxc_dim_sub(pool->dims, onnxc_dim_const(pool->dims, 1), dim);
  for (onnxc_branch b = a->branch; b.i; b = a->graph->branches.data[b.i].outer) {
    onnxc_dim condition = a->graph->branches.data[b.i].condition;
    if (onnxc_dim_same(condition, dim) || onnxc_dim_same(condition, opposite))
      return onnxc_expr_i64(pool, ONNXC_I64, onnxc_dim_same(condition, dim));
  }
  return (onnxc_expr){0};
}

/* What the branch's conditions are is no question within it: where branches met, one arm is left. */
static void answer_conditions(onnxc_graph *graph, const onnxc_node_info *node) {
  onnxc_compute *c = node->compute;
  asked a = {graph, node->branch};
  if (!node->branch.i)
    return;
  for (uint32_t j = 0; j < c->num_results; j++) {
    c->finish[j] = onnxc_expr_rewrite(&graph->exprs, c->finish[j], answer, &a);
    if (!c->num_reduce)
      continue;
    c->init[j] = onnxc_expr_rewrite(&graph->exprs, c->init[j], answer, &a);
    c->element[j] = onnxc_expr_rewrite(&graph->exprs, c->element[j], answer, &a);
  }
}

/* ---- equal nodes ---- */

static uint64_t mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
  return hash ^ hash >> 29;
}

static uint64_t hash_of(const onnxc_graph *graph, const onnxc_node_info *node) {
  uint64_t hash = mix((uint64_t)node->op, node->num_outputs);
  for (uint32_t k = 0; k < node->num_inputs; k++)
    hash = mix(hash, node->inputs[k].i);
  if (node->compute)
    for (uint32_t j = 0; j < node->compute->num_results; j++)
      hash = mix(mix(hash, node->compute->finish[j].i), node->compute->element[j].i);
  if (node->op == ONNXC_OP_CONSTANT) {
    const onnxc_value_info *info = onnxc_value_of(graph, node->outputs[0]);
    hash = mix(mix(hash, info->data_size), (uint64_t)info->dtype);
    const unsigned char *data = info->data;
    for (size_t i = 0; data && info->data_size <= SMALL_CONSTANT && i < info->data_size; i++)
      hash = mix(hash, data[i]);
  }
  return hash;
}

static bool same_exprs(const onnxc_expr *a, const onnxc_expr *b, uint32_t count) {
  return memcmp(a, b, count * sizeof *a) == 0;
}

static bool same_compute(const onnxc_compute *a, const onnxc_compute *b) {
  if (!a || !b)
    return a == b;
  if (a->num_parallel != b->num_parallel || a->num_reduce != b->num_reduce || a->num_results != b->num_results ||
      a->row_group != b->row_group ||
      memcmp(a->extents, b->extents, (a->num_parallel + a->num_reduce) * sizeof *a->extents) != 0 ||
      !same_exprs(a->finish, b->finish, a->num_results))
    return false;
  return !a->num_reduce ||
         (same_exprs(a->init, b->init, a->num_results) && same_exprs(a->element, b->element, a->num_results) &&
          same_exprs(a->combine, b->combine, a->num_results));
}

static bool same_node(const onnxc_graph *graph, const onnxc_node_info *a, const onnxc_node_info *b) {
  if (a->op != b->op || a->branch.i != b->branch.i || a->num_inputs != b->num_inputs ||
      a->num_outputs != b->num_outputs || a->axis != b->axis || a->span != b->span || a->epsilon != b->epsilon ||
      !same_compute(a->compute, b->compute))
    return false;
  for (uint32_t k = 0; k < a->num_inputs; k++)
    if (a->inputs[k].i != b->inputs[k].i)
      return false;
  for (uint32_t j = 0; j < a->num_outputs; j++)
    if (!same_type(graph, a->outputs[j], b->outputs[j]))
      return false;
  if (a->op != ONNXC_OP_CONSTANT)
    return true;
  const onnxc_value_info *x = onnxc_value_of(graph, a->outputs[0]), *y = onnxc_value_of(graph, b->outputs[0]);
  if (x->data_size != y->data_size)
    return false;
  return x->data == y->data ||
         (x->data && y->data && x->data_size <= SMALL_CONSTANT && memcmp(x->data, y->data, x->data_size) == 0);
}

/* The node seen earlier that is equal; else none, and this one is remembered. */
static onnxc_node find_equal(simplifier *s, onnxc_node handle) {
  const onnxc_node_info *node = onnxc_node_of(s->graph, handle);
  uint32_t at = (uint32_t)hash_of(s->graph, node) & (s->table_size - 1);
  for (; s->table[at].i; at = (at + 1) & (s->table_size - 1))
    if (same_node(s->graph, onnxc_node_of(s->graph, s->table[at]), node))
      return s->table[at];
  s->table[at] = handle;
  return (onnxc_node){0};
}

/* ---- the sweep ---- */

/* The value that the node's only result is equal to, or none. */
static onnxc_value same_as(const onnxc_graph *graph, onnxc_node_info *node) {
  const onnxc_value none = {0};
  switch (node->op) {
  case ONNXC_OP_COMPUTE: return is_identity(graph, node) ? node->inputs[movement_of(graph, node)->imm] : none;
  case ONNXC_OP_CONCAT: return node->num_inputs == 1 ? node->inputs[0] : none;
  case ONNXC_OP_RESHAPE:
  case ONNXC_OP_RELAYOUT: return same_type(graph, node->inputs[0], node->outputs[0]) ? node->inputs[0] : none;
  default: return none;
  }
}

/* Operands of no elements add nothing to a concatenation. */
static void drop_empty_parts(onnxc_graph *graph, onnxc_node_info *node) {
  uint32_t kept = 0;
  for (uint32_t k = 0; k < node->num_inputs; k++) {
    const onnxc_value_info *part = onnxc_value_of(graph, node->inputs[k]);
    bool last = k + 1 == node->num_inputs && kept == 0;
    if (last || !onnxc_dim_is(&graph->dims, part->dims[node->axis], 0))
      node->inputs[kept++] = node->inputs[k];
  }
  node->num_inputs = kept;
}

static void merge_reshapes(const onnxc_graph *graph, onnxc_node_info *node) {
  const onnxc_value_info *x = onnxc_value_of(graph, node->inputs[0]);
  const onnxc_node_info *inner = x->producer.i ? onnxc_node_of(graph, x->producer) : NULL;
  if (inner && inner->op == ONNXC_OP_RESHAPE && onnxc_layout_is_default(&x->layout, x->rank))
    node->inputs[0] = inner->inputs[0];
}

/* False if the node is replaced by another value. */
static bool simplify_node(simplifier *s, onnxc_node handle) {
  onnxc_graph *graph = s->graph;
  onnxc_node_info *node = onnxc_node_of(graph, handle);
  for (uint32_t k = 0; k < node->num_inputs; k++)
    node->inputs[k] = resolve(s, node->inputs[k]);
  if (node->op == ONNXC_OP_COMPUTE) {
    answer_conditions(graph, node);
    compose_movements(graph, handle);
    tidy_operands(graph, node);
  } else if (node->op == ONNXC_OP_RESHAPE) {
    merge_reshapes(graph, node);
  } else if (node->op == ONNXC_OP_CONCAT) {
    drop_empty_parts(graph, node);
  }
  onnxc_value same = node->num_outputs == 1 ? same_as(graph, node) : (onnxc_value){0};
  if (same.i) {
    replace(s, node->outputs[0], same);
    return false;
  }
  onnxc_node equal = find_equal(s, handle);
  if (!equal.i)
    return true;
  for (uint32_t j = 0; j < node->num_outputs; j++)
    replace(s, node->outputs[j], onnxc_node_of(graph, equal)->outputs[j]);
  return false;
}

onnxc_status onnxc_pass_simplify(onnxc_graph *graph, const onnxc_pass_options *options) {
  (void)options;
  simplifier s = {.graph = graph, .table_size = 64};
  while (s.table_size < graph->order.length * 2)
    s.table_size *= 2;
  s.table = ONNXC_NEW_ARRAY(graph->arena, onnxc_node, s.table_size);
  s.to = ONNXC_NEW_ARRAY(graph->arena, onnxc_value, graph->values.length);
  uint32_t kept = 0;
  for (uint32_t i = 0; i < graph->order.length; i++)
    if (simplify_node(&s, graph->order.data[i]))
      graph->order.data[kept++] = graph->order.data[i];
  graph->order.length = kept;
  for (uint32_t k = 0; k < graph->outputs.length; k++)
    graph->outputs.data[k] = resolve(&s, graph->outputs.data[k]);
  for (uint32_t i = 1; i < graph->dims.symbols.length; i++) { /* the same elements, elsewhere */
    onnxc_symbol *symbol = &graph->dims.symbols.data[i];
    if (symbol->source == ONNXC_SYM_ELEMENT && symbol->index < graph->values.length)
      symbol->index = resolve(&s, (onnxc_value){symbol->index}).i;
  }
  return ONNXC_OK;
}
