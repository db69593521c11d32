/* fuse.c -- merge computes, so that an intermediate that is read once never reaches memory.
 *
 *   into the consumer   y = f(x); z = g(y)          =>  z = g(f(x))
 *   into the producer   y = sum(a*b); z = f(y, c)   =>  z = finish: f(acc, c)       (an epilogue)
 *
 * The law: a merged graph computes no element more often than before, except where recomputing is
 * an index computation (a movement: its result is one load, perhaps guarded). A product's factors take
 * movements only: arithmetic there would run once for each use in the product.
 * Work stays in its branch: a producer is merged when its branch is the consumer's or around it. Where branches meet (a
 * select whose operands are of deeper ones) no reduction takes it in: it would choose again for each of its elements.
 * Every merge removes a node, so the sweep ends; operands come first in order, so
 * a producer is already merged when its consumer is reached.
 *
 * needs: expanded composites      breaks: roles      leaves: dead producers, for dce
 */
#include "pass/pass.h"

enum { MAX_OPERANDS = 24, MAX_COST = 400 };

typedef struct fuser {
  onnxc_graph *graph;
  uint32_t *uses;
} fuser;

/* ---- questions about a compute ---- */

typedef struct load_scan {
  uint32_t operand;
  uint32_t sites; /* distinct loads of the operand */
  bool identity;  /* each at i0, i1, .. */
  bool injective; /* each dim indexed by a plain index, all different, all indices of the compute used */
  uint32_t ones;  /* bit k: index k has one value, 0, so it need not occur and may stand as 0 */
  uint32_t num_indices;
} load_scan;

static void scan_load(void *arg, const onnxc_exprs *pool, onnxc_expr e) {
  load_scan *scan = arg;
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  if (node->op != ONNXC_EXPR_LOAD || node->imm != (int64_t)scan->operand)
    return;
  scan->sites++;
  uint32_t used = 0;
  for (uint32_t d = 0; d < node->num_args; d++) {
    const onnxc_expr_node *index = onnxc_exprs_node(pool, node->args[d]);
    if (index->op == ONNXC_EXPR_CONST && index->imm == 0) { /* a broadcast over this dim, unless it has one element */
      scan->identity = scan->identity && (scan->ones >> d & 1);
      continue;
    }
    if (index->op != ONNXC_EXPR_INDEX) {
      scan->identity = scan->injective = false;
      continue;
    }
    if (index->imm != (int64_t)d)
      scan->identity = false;
    if (used >> index->imm & 1)
      scan->injective = false;
    used |= 1u << index->imm;
  }
  if ((used | scan->ones) != (1u << scan->num_indices) - 1)
    scan->injective = false;
}

static load_scan scan_exprs(const onnxc_graph *graph, const onnxc_compute *compute, uint32_t operand,
                            const onnxc_expr *exprs) {
  load_scan scan = {operand, 0, true, true, 0, compute->num_parallel + compute->num_reduce};
  for (uint32_t k = 0; k < scan.num_indices; k++)
    if (onnxc_dim_is(&graph->dims, compute->extents[k], 1))
      scan.ones |= 1u << k;
  for (uint32_t j = 0; j < compute->num_results; j++)
    if (exprs[j].i)
      onnxc_expr_walk(&graph->exprs, exprs[j], scan_load, &scan);
  return scan;
}

static bool is_product(const onnxc_exprs *pool, const onnxc_compute *compute) {
  return compute->num_reduce > 0 && compute->num_results == 1 &&
         onnxc_exprs_node(pool, compute->element[0])->op == ONNXC_EXPR_MUL;
}

/* One load, perhaps guarded by a select against a constant: no arithmetic on the element. */
static bool is_movement(const onnxc_exprs *pool, const onnxc_compute *compute, bool *guarded) {
  if (compute->num_reduce || compute->num_results != 1)
    return false;
  const onnxc_expr_node *node = onnxc_exprs_node(pool, compute->finish[0]);
  *guarded = node->op == ONNXC_EXPR_SELECT;
  if (*guarded && onnxc_exprs_node(pool, node->args[2])->op == ONNXC_EXPR_CONST)
    node = onnxc_exprs_node(pool, node->args[1]);
  return node->op == ONNXC_EXPR_LOAD;
}

static void count_index_operation(void *arg, const onnxc_exprs *pool, onnxc_expr e) {
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  if (node->op != ONNXC_EXPR_LOAD)
    return;
  bool *plain = arg;
  onnxc_dim base, coefficients[ONNXC_MAX_INDICES];
  for (uint32_t d = 0; d < node->num_args; d++) /* the affine query interns dims only; the pool's exprs stay */
    if (!onnxc_expr_affine((onnxc_exprs *)(uintptr_t)pool, node->args[d], ONNXC_MAX_INDICES, &base, coefficients))
      *plain = false;
}

static bool loads_are_affine(const onnxc_graph *graph, const onnxc_compute *compute) {
  bool plain = true;
  onnxc_expr_walk(&graph->exprs, compute->finish[0], count_index_operation, &plain);
  return plain;
}

/* ---- merging ---- */

/* Operands of the merged compute: those of both, equal values once. */
typedef struct operand_list {
  onnxc_value values[MAX_OPERANDS];
  uint32_t count;
  bool full;
} operand_list;

static uint32_t add_operand(operand_list *list, onnxc_value value) {
  for (uint32_t k = 0; k < list->count; k++)
    if (list->values[k].i == value.i)
      return k;
  if (list->count == MAX_OPERANDS) {
    list->full = true;
    return 0;
  }
  list->values[list->count] = value;
  return list->count++;
}

typedef struct merge {
  uint32_t consumer_map[MAX_OPERANDS], producer_map[MAX_OPERANDS];
  uint32_t operand;          /* of the consumer: the producer's result */
  onnxc_expr body;           /* what that element is, in the producer's terms */
  const onnxc_expr *indices; /* while substituting: the producer's index k */
} merge;

static onnxc_expr load_from(onnxc_exprs *pool, const onnxc_expr_node *node, uint32_t operand) {
  onnxc_expr args[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < node->num_args; d++)
    args[d] = node->args[d];
  return onnxc_expr_load(pool, (onnxc_dtype)node->dtype, operand, node->num_args, args);
}

static onnxc_expr producer_leaf(void *arg, onnxc_exprs *pool, onnxc_expr leaf) {
  const merge *m = arg;
  onnxc_expr_node node = *onnxc_exprs_node(pool, leaf);
  if (node.op == ONNXC_EXPR_INDEX && m->indices)
    return m->indices[node.imm];
  if (node.op == ONNXC_EXPR_LOAD)
    return load_from(pool, &node, m->producer_map[node.imm]);
  return (onnxc_expr){0};
}

static onnxc_expr consumer_leaf(void *arg, onnxc_exprs *pool, onnxc_expr leaf) {
  merge *m = arg;
  onnxc_expr_node node = *onnxc_exprs_node(pool, leaf);
  if (node.op != ONNXC_EXPR_LOAD)
    return (onnxc_expr){0};
  if (node.imm != (int64_t)m->operand)
    return load_from(pool, &node, m->consumer_map[node.imm]);
  onnxc_expr indices[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < node.num_args; d++)
    indices[d] = node.args[d];
  merge inner = *m;
  inner.indices = indices;
  return onnxc_expr_rewrite(pool, m->body, producer_leaf, &inner);
}

static void rewrite_all(onnxc_exprs *pool, onnxc_compute *compute, onnxc_expr_leaf_fn leaf, merge *m) {
  for (uint32_t j = 0; j < compute->num_results; j++) {
    if (compute->num_reduce) {
      compute->init[j] = onnxc_expr_rewrite(pool, compute->init[j], leaf, m);
      compute->element[j] = onnxc_expr_rewrite(pool, compute->element[j], leaf, m);
    }
    compute->finish[j] = onnxc_expr_rewrite(pool, compute->finish[j], leaf, m);
  }
}

/* An operand list may name a value twice (x * x); afterwards it does not. */
static void drop_duplicate_operands(onnxc_graph *graph, onnxc_node_info *node) {
  operand_list list = {.count = 0};
  merge m = {.operand = UINT32_MAX};
  if (node->num_inputs > MAX_OPERANDS)
    return;
  for (uint32_t k = 0; k < node->num_inputs; k++)
    m.producer_map[k] = add_operand(&list, node->inputs[k]);
  if (list.count == node->num_inputs)
    return;
  onnxc_compute *renumbered = ONNXC_NEW(graph->arena, onnxc_compute);
  *renumbered = *node->compute;
  rewrite_all(&graph->exprs, renumbered, producer_leaf, &m);
  renumbered->contraction.valid = false;
  node->compute = renumbered;
  node->num_inputs = list.count;
  for (uint32_t k = 0; k < list.count; k++)
    node->inputs[k] = list.values[k];
}

static uint32_t cost_of(const onnxc_graph *graph, const onnxc_compute *compute) {
  uint32_t cost = 0;
  for (uint32_t j = 0; j < compute->num_results; j++) {
    cost += onnxc_expr_cost(&graph->exprs, compute->finish[j]);
    if (compute->num_reduce)
      cost += onnxc_expr_cost(&graph->exprs, compute->element[j]);
  }
  return cost;
}

/* Does it choose between results of branches deeper than its own? */
static bool joins_branches(const onnxc_graph *graph, const onnxc_node_info *node) {
  for (uint32_t k = 0; k < node->num_inputs; k++)
    if (!onnxc_branch_within(graph, node->branch, onnxc_branch_of(graph, node->inputs[k])))
      return true;
  return false;
}

/* Which way `producer` (operand number of the consumer) may be merged. */
typedef enum direction { KEEP, INLINE, EPILOGUE } direction;

static direction decide(const fuser *f, const onnxc_node_info *consumer_node, uint32_t operand) {
  onnxc_graph *graph = f->graph;
  onnxc_value value = consumer_node->inputs[operand];
  if (!value.i)
    return KEEP;
  onnxc_node producer = onnxc_value_of(graph, value)->producer;
  if (!producer.i || onnxc_node_of(graph, producer)->op != ONNXC_OP_COMPUTE)
    return KEEP;
  const onnxc_compute *from = onnxc_node_of(graph, producer)->compute, *to = consumer_node->compute;
  if (!onnxc_branch_within(graph, consumer_node->branch, onnxc_branch_of(graph, value)) ||
      (to->num_reduce && joins_branches(graph, onnxc_node_of(graph, producer))))
    return KEEP;
  if (from->num_results != 1 || from->row_group || to->row_group)
    return KEEP;
  if (onnxc_node_of(graph, producer)->num_inputs > MAX_OPERANDS || consumer_node->num_inputs > MAX_OPERANDS)
    return KEEP;
  if (cost_of(graph, from) + cost_of(graph, to) > MAX_COST)
    return KEEP;
  load_scan in_element = {0}, in_init = {0};
  if (to->num_reduce) {
    in_element = scan_exprs(graph, to, operand, to->element);
    in_init = scan_exprs(graph, to, operand, to->init);
  }
  load_scan in_finish = scan_exprs(graph, to, operand, to->finish);
  bool guarded = false;
  if (from->num_reduce == 0 && is_movement(&graph->exprs, from, &guarded)) {
    if (in_element.sites && is_product(&graph->exprs, to))
      return loads_are_affine(graph, from) && (!guarded || f->uses[value.i] == 1) ? INLINE : KEEP;
    return f->uses[value.i] == 1 || !guarded ? INLINE : KEEP;
  }
  if (f->uses[value.i] != 1)
    return KEEP;
  if (from->num_reduce == 0) {
    if (in_element.sites && (is_product(&graph->exprs, to) || !in_element.injective || in_element.sites > 1))
      return KEEP;
    if (in_init.sites)
      return KEEP;
    /* in the finish of a reduction the injective scan is over all indices: identity is what we look for */
    if (in_finish.sites && !(in_finish.identity && onnxc_value_of(graph, value)->rank == to->num_parallel) &&
        !(in_finish.injective && in_finish.sites == 1))
      return KEEP;
    return INLINE;
  }
  if (to->num_reduce || to->num_results != 1 || !in_finish.identity || from->num_parallel != to->num_parallel)
    return KEEP;
  for (uint32_t k = 0; k < to->num_parallel; k++)
    if (!onnxc_dim_same(from->extents[k], to->extents[k]))
      return KEEP;
  return EPILOGUE;
}

/* Replaces the consumer's compute by the merged one; false when it would have too many operands. */
static bool merge_nodes(fuser *f, onnxc_node consumer, uint32_t operand, direction way) {
  onnxc_graph *graph = f->graph;
  onnxc_node_info *to = onnxc_node_of(graph, consumer);
  onnxc_value value = to->inputs[operand];
  onnxc_node_info *from = onnxc_node_of(graph, onnxc_value_of(graph, value)->producer);
  merge m = {.operand = operand, .body = from->compute->finish[0]};
  operand_list list = {.count = 0};
  for (uint32_t k = 0; k < from->num_inputs; k++)
    m.producer_map[k] = add_operand(&list, from->inputs[k]);
  for (uint32_t k = 0; k < to->num_inputs; k++)
    if (k != operand)
      m.consumer_map[k] = add_operand(&list, to->inputs[k]);
  if (list.full)
    return false;

  onnxc_compute *merged = ONNXC_NEW(graph->arena, onnxc_compute);
  if (way == INLINE) {
    *merged = *to->compute;
    rewrite_all(&graph->exprs, merged, consumer_leaf, &m);
  } else {
    *merged = *from->compute;
    rewrite_all(&graph->exprs, merged, producer_leaf, &m); /* renumbers operands */
    m.body = from->compute->finish[0];
    merged->finish[0] = onnxc_expr_rewrite(&graph->exprs, to->compute->finish[0], consumer_leaf, &m);
  }
  merged->contraction.valid = false;

  onnxc_node_absorb(graph, consumer, onnxc_value_of(graph, value)->producer);
  bool gone = f->uses[value.i] == 1;
  f->uses[value.i]--;
  for (uint32_t k = 0; k < from->num_inputs; k++)
    if (!gone && from->inputs[k].i)
      f->uses[from->inputs[k].i]++;
  for (uint32_t k = 0; k < to->num_inputs; k++) /* an operand both had is read once now */
    for (uint32_t n = 0; n < from->num_inputs; n++)
      if (k != operand && to->inputs[k].i == from->inputs[n].i && to->inputs[k].i)
        f->uses[to->inputs[k].i]--;
  onnxc_value *inputs = ONNXC_NEW_ARRAY(graph->arena, onnxc_value, list.count + 1);
  for (uint32_t k = 0; k < list.count; k++)
    inputs[k] = list.values[k];
  to = onnxc_node_of(graph, consumer);
  to->compute = merged;
  to->inputs = inputs;
  to->num_inputs = list.count;
  if (way == EPILOGUE && from->name)
    to->name = from->name; /* the contraction names the group */
  return true;
}

onnxc_status onnxc_pass_fuse(onnxc_graph *graph, const onnxc_pass_options *options) {
  (void)options;
  for (uint32_t k = 0; k < graph->order.length; k++) {
    onnxc_node_info *node = onnxc_node_of(graph, graph->order.data[k]);
    if (node->op == ONNXC_OP_COMPUTE)
      drop_duplicate_operands(graph, node);
  }
  fuser f = {graph, onnxc_graph_count_uses(graph, graph->arena)};
  for (uint32_t s = 1; s < graph->dims.symbols.length; s++) { /* a run reads these tensors */
    const onnxc_symbol *symbol = &graph->dims.symbols.data[s];
    if (symbol->source == ONNXC_SYM_ELEMENT)
      f.uses[symbol->index]++;
  }
  for (uint32_t k = 0; k < graph->order.length; k++) {
    onnxc_node node = graph->order.data[k];
    if (onnxc_node_of(graph, node)->op != ONNXC_OP_COMPUTE)
      continue;
    for (uint32_t operand = 0; operand < onnxc_node_of(graph, node)->num_inputs;) {
      direction way = decide(&f, onnxc_node_of(graph, node), operand);
      if (way != KEEP && merge_nodes(&f, node, operand, way))
        operand = 0; /* the operands are others now */
      else
        operand++;
    }
  }
  return ONNXC_OK;
}
