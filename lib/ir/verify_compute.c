/* verify_compute.c -- G5: a compute is well typed.
 *
 * The counts are in bounds and the extents are there. Each expression is well
 * typed by expr.def, has the dtype that its place asks for, and mentions only
 * what its place may see:
 *
 *     element   loads, all indices
 *     init      loads, parallel indices
 *     combine   accumulators and elements of the right dtype, constants
 *     finish    loads, parallel indices, accumulators
 *
 * Loads have the operand's dtype and rank. Roles fit the kind of their index,
 * and a contraction's results are sums.
 */
#include "ir/compute_text.h"
#include "ir/verify.h"

#include <string.h>

typedef struct place {
  const onnxc_compute *compute;
  uint32_t num_operands;
  const onnxc_dtype *dtypes;
  const uint32_t *ranks;
  bool loads, accs, vals;
  uint32_t num_indices;
  const char *error; /* the first one */
} place;

static bool is_number(onnxc_dtype dtype) {
  return onnxc_dtype_is_float(dtype) || onnxc_dtype_is_int(dtype) || dtype == ONNXC_BOOL;
}

static const char *check_leaf(const place *p, const onnxc_exprs *pool, const onnxc_expr_node *node) {
  const onnxc_compute *compute = p->compute;
  switch ((onnxc_expr_op)node->op) {
  case ONNXC_EXPR_CONST: return NULL;
  case ONNXC_EXPR_INDEX:
    return node->imm < 0 || node->imm >= (int64_t)p->num_indices ? "an index is not to be seen here" : NULL;
  case ONNXC_EXPR_DIM:
    return !p->loads                                                          ? "a dim is not to be seen in combine"
           : node->imm <= 0 || node->imm >= (int64_t)pool->dims->nodes.length ? "a dim that is not there"
                                                                              : NULL;
  case ONNXC_EXPR_ACC:
  case ONNXC_EXPR_VAL:
    if (node->op == ONNXC_EXPR_ACC ? !p->accs : !p->vals)
      return "acc or val is not to be seen here";
    if (node->imm < 0 || node->imm >= (int64_t)compute->num_results || node->dtype != compute->acc_dtype[node->imm])
      return "acc or val has the wrong number or dtype";
    return NULL;
  default: /* LOAD */
    if (!p->loads)
      return "a load is not to be seen in combine";
    if (node->imm < 0 || node->imm >= (int64_t)p->num_operands || !p->dtypes[node->imm])
      return "a load of an operand that is not there";
    if (p->dtypes[node->imm] != node->dtype)
      return "a load differs in dtype from its operand";
    if (p->ranks[node->imm] != node->num_args)
      return "a load differs in rank from its operand";
    for (uint32_t i = 0; i < node->num_args; i++)
      if (onnxc_exprs_node(pool, node->args[i])->dtype != ONNXC_I64)
        return "a load's index is not i64";
    return NULL;
  }
}

static void check_node(void *arg, const onnxc_exprs *pool, onnxc_expr e) {
  place *p = arg;
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  if (p->error)
    return;
  int arity = node->op < ONNXC_EXPR_OP_COUNT ? onnxc_expr_op_arity((onnxc_expr_op)node->op) : -1;
  if (node->op == ONNXC_EXPR_NONE || node->op >= ONNXC_EXPR_OP_COUNT) {
    p->error = "an expression that is not there";
    return;
  }
  if (arity <= 0) {
    p->error = check_leaf(p, pool, node);
    return;
  }
  const onnxc_expr_node *args[3];
  for (uint32_t i = 0; i < 3; i++)
    args[i] = onnxc_exprs_node(pool, node->args[i < node->num_args ? i : 0]);
  onnxc_expr_op op = (onnxc_expr_op)node->op;
  bool comparison = op >= ONNXC_EXPR_EQ && op <= ONNXC_EXPR_GE;
  if (!is_number((onnxc_dtype)node->dtype) || !is_number((onnxc_dtype)args[0]->dtype))
    p->error = "arithmetic on a type that has none";
  else if (op == ONNXC_EXPR_SELECT &&
           (args[0]->dtype != ONNXC_BOOL || args[1]->dtype != args[2]->dtype || args[1]->dtype != node->dtype))
    p->error = "select needs a bool and two arms of one dtype";
  else if (arity == 2 && args[0]->dtype != args[1]->dtype)
    p->error = "the two arguments of an operation differ in dtype";
  else if ((comparison || op == ONNXC_EXPR_ISNAN) && node->dtype != ONNXC_BOOL)
    p->error = "a comparison that is not bool";
  else if (!comparison && op != ONNXC_EXPR_ISNAN && op != ONNXC_EXPR_SELECT && op != ONNXC_EXPR_CAST &&
           node->dtype != args[0]->dtype)
    p->error = "an operation differs in dtype from its arguments";
}

static const char *check_place(const onnxc_exprs *pool, place p, const char *name, onnxc_expr e, onnxc_dtype dtype) {
  if (!e.i || e.i >= pool->nodes.length)
    return onnxc_arena_printf(pool->arena, "%s is missing", name);
  onnxc_expr_walk(pool, e, check_node, &p);
  if (!p.error && dtype && onnxc_exprs_node(pool, e)->dtype != dtype)
    p.error = "its dtype is not the accumulator's";
  return p.error ? onnxc_arena_printf(pool->arena, "%s: %s", name, p.error) : NULL;
}

static const char *check_contraction(const onnxc_exprs *pool, const onnxc_compute *compute, uint32_t num_operands) {
  const onnxc_contraction *c = &compute->contraction;
  if (c->a >= num_operands || c->b >= num_operands)
    return "contraction: a factor that is no operand";
  for (uint32_t k = 0; k < compute->num_parallel + compute->num_reduce; k++) {
    bool reduced = c->role[k] == ONNXC_ROLE_K || c->role[k] == ONNXC_ROLE_WINDOW;
    if (c->role[k] == ONNXC_ROLE_NONE || c->role[k] > ONNXC_ROLE_WINDOW || reduced != (k >= compute->num_parallel))
      return "contraction: a role does not fit its index";
  }
  for (uint32_t j = 0; j < compute->num_results; j++)
    if (onnxc_compute_combiner(pool, compute, j) != ONNXC_EXPR_ADD)
      return "contraction: a result is no sum";
  return NULL;
}

const char *onnxc_compute_check(const onnxc_exprs *pool, const onnxc_compute *compute, uint32_t num_operands,
                                const onnxc_dtype *dtypes, const uint32_t *ranks) {
  uint32_t all = compute->num_parallel + compute->num_reduce;
  if (compute->num_parallel > ONNXC_MAX_RANK || compute->num_reduce > ONNXC_MAX_INDICES || all > ONNXC_MAX_INDICES)
    return "too many indices";
  if (compute->num_results == 0 || compute->num_results > ONNXC_MAX_RESULTS)
    return "no results, or too many";
  for (uint32_t k = 0; k < all; k++) {
    int64_t extent = 0;
    if (!compute->extents[k].i || compute->extents[k].i >= pool->dims->nodes.length)
      return "an extent is missing";
    if (onnxc_dim_is_const(pool->dims, compute->extents[k], &extent) && extent < 0)
      return "an extent is negative";
  }
  if (compute->row_rank > compute->num_parallel)
    return "rows: rank is above the parallel indices";
  place p = {.compute = compute, .num_operands = num_operands, .dtypes = dtypes, .ranks = ranks};
  bool reduces = compute->num_reduce != 0;
  const char *error = NULL;
  for (uint32_t j = 0; j < compute->num_results && !error; j++) {
    onnxc_dtype acc = compute->acc_dtype[j];
    if (reduces) {
      if (!is_number(acc))
        return "an accumulator has no dtype";
      place element = p, init = p, combine = p;
      element.loads = init.loads = true;
      element.num_indices = all;
      init.num_indices = compute->num_parallel;
      combine.accs = combine.vals = true;
      error = check_place(pool, element, "element", compute->element[j], acc);
      if (!error)
        error = check_place(pool, init, "init", compute->init[j], acc);
      if (!error)
        error = check_place(pool, combine, "combine", compute->combine[j], acc);
    }
    place finish = p;
    finish.loads = true;
    finish.accs = reduces;
    finish.num_indices = compute->num_parallel;
    if (!error)
      error = check_place(pool, finish, "finish", compute->finish[j], ONNXC_DTYPE_NONE);
  }
  return error || !compute->contraction.valid ? error : check_contraction(pool, compute, num_operands);
}
