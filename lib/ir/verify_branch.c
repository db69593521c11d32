/* verify_branch.c -- G7: a node reads only what runs wherever it does.
 *
 * Where a node runs, the conditions of its branch hold; on the way down an expression, in an arm of
 * select(cast.bool(dim(c)), ..), c or 1 - c holds, too. What is read there must be of a branch whose conditions are
 * among those. An arm whose condition contradicts them is never taken.
 */
#include "ir/verify.h"

#include <string.h>

enum { MAX_VISITS = 1 << 16 };

/* Conditions of the arms around an expression. */
typedef struct arm {
  const struct arm *outer;
  onnxc_dim condition;
} arm;

typedef struct checker {
  const onnxc_graph *graph;
  const onnxc_node_info *node;
  uint32_t visits;
  bool *seen; /* by expression: found in order outside of arms */
} checker;

static bool holds(const checker *c, const arm *arms, onnxc_dim condition) {
  for (; arms; arms = arms->outer)
    if (onnxc_dim_same(arms->condition, condition))
      return true;
  for (onnxc_branch b = c->node->branch; b.i; b = c->graph->branches.data[b.i].outer)
    if (onnxc_dim_same(c->graph->branches.data[b.i].condition, condition))
      return true;
  return false;
}

static bool runs_in(const checker *c, onnxc_value value, const arm *arms) {
  for (onnxc_branch b = onnxc_branch_of(c->graph, value); b.i; b = c->graph->branches.data[b.i].outer)
    if (!holds(c, arms, c->graph->branches.data[b.i].condition))
      return false;
  return true;
}

static bool check_expr(checker *c, onnxc_expr e, const arm *arms);

static bool check_select(checker *c, const onnxc_expr_node *select, onnxc_dim condition, const arm *arms) {
  onnxc_dims *dims = (onnxc_dims *)(uintptr_t)&c->graph->dims; /* interns a dim; nothing else changes */
  onnxc_dim opposite = onnxc_dim_sub(dims, onnxc_dim_const(dims, 1), condition);
  const arm yes = {arms, condition}, no = {arms, opposite};
  return (holds(c, arms, opposite) || check_expr(c, select->args[1], &yes)) &&
         (holds(c, arms, condition) || check_expr(c, select->args[2], &no));
}

static bool check_expr(checker *c, onnxc_expr e, const arm *arms) {
  const onnxc_exprs *pool = &c->graph->exprs;
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  if (c->seen[e.i])
    return true;
  if (++c->visits > MAX_VISITS)
    return false;
  if (node->op == ONNXC_EXPR_LOAD && !runs_in(c, c->node->inputs[node->imm], arms))
    return false;
  const onnxc_expr_node *cast = node->op == ONNXC_EXPR_SELECT ? onnxc_exprs_node(pool, node->args[0]) : NULL;
  const onnxc_expr_node *dim = cast && cast->op == ONNXC_EXPR_CAST ? onnxc_exprs_node(pool, cast->args[0]) : NULL;
  bool fine = true;
  if (dim && dim->op == ONNXC_EXPR_DIM)
    fine = check_select(c, node, (onnxc_dim){(uint32_t)dim->imm}, arms);
  else
    for (uint32_t k = 0; k < node->num_args && fine; k++)
      fine = check_expr(c, node->args[k], arms);
  c->seen[e.i] |= fine && !arms;
  return fine;
}

static bool check_compute(checker *c) {
  const onnxc_compute *compute = c->node->compute;
  c->seen = ONNXC_NEW_ARRAY(c->graph->arena, bool, c->graph->exprs.nodes.length);
  for (uint32_t j = 0; j < compute->num_results; j++) {
    if (compute->num_reduce && (!check_expr(c, compute->init[j], NULL) || !check_expr(c, compute->element[j], NULL)))
      return false;
    if (!check_expr(c, compute->finish[j], NULL))
      return false;
  }
  return true;
}

const char *onnxc_branch_check(const onnxc_graph *graph, const onnxc_node_info *node) {
  checker c = {.graph = graph, .node = node};
  if (node->branch.i >= graph->branches.length)
    return "it is in a branch that is not there";
  if (node->branch.i && node->op == ONNXC_OP_CONSTANT)
    return "a constant in a branch";
  for (uint32_t k = 0; k < node->num_inputs; k++)
    if (!runs_in(&c, node->inputs[k], NULL))
      return node->compute && check_compute(&c) ? NULL : "it reads what does not run wherever it does";
  return NULL;
}

const char *onnxc_branches_check(const onnxc_graph *graph) {
  for (uint32_t i = 1; i < graph->branches.length; i++) {
    const onnxc_branch_info *branch = &graph->branches.data[i];
    if (branch->outer.i >= i || !branch->condition.i || branch->condition.i >= graph->dims.nodes.length)
      return "a branch without a condition, or around itself";
    if (!onnxc_dim_is_of_inputs(graph, branch->condition))
      return "the condition of a branch is not known before a run starts";
  }
  return NULL;
}
