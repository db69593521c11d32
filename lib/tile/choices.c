/* choices.c -- see choices.h.
 *
 * A choice is a select whose condition is `index == constant` or `index mod constant == constant`, as the transforms of
 * pass/winograd.c have them.
 */
#include "tile/choices.h"

typedef struct scan {
  const onnxc_graph *graph;
  const onnxc_compute *compute;
  uint32_t *choices;
} scan;

static void add(scan *s, int64_t index, int64_t count) {
  if (index < 0 || index >= s->compute->num_parallel || count < 2 || count > ONNXC_MAX_CHOICES)
    return;
  uint32_t *choices = &s->choices[index], a = *choices, b = (uint32_t)count;
  while (b) { /* their common divisor is in a, then */
    uint32_t rest = a % b;
    a = b;
    b = rest;
  }
  if (*choices / a * (uint32_t)count <= ONNXC_MAX_CHOICES)
    *choices = *choices / a * (uint32_t)count;
}

static void visit(void *arg, const onnxc_exprs *pool, onnxc_expr e) {
  scan *s = arg;
  const onnxc_expr_node *select = onnxc_exprs_node(pool, e);
  if (select->op != ONNXC_EXPR_SELECT)
    return;
  const onnxc_expr_node *equal = onnxc_exprs_node(pool, select->args[0]);
  for (uint32_t k = 0; equal->op == ONNXC_EXPR_EQ && k < 2; k++) {
    const onnxc_expr_node *side = onnxc_exprs_node(pool, equal->args[k]);
    int64_t extent;
    if (onnxc_exprs_node(pool, equal->args[1 - k])->op != ONNXC_EXPR_CONST)
      continue;
    if (side->op == ONNXC_EXPR_INDEX && side->imm < s->compute->num_parallel) {
      if (onnxc_dim_is_const(&s->graph->dims, s->compute->extents[side->imm], &extent))
        add(s, side->imm, extent);
    } else if (side->op == ONNXC_EXPR_MOD && onnxc_exprs_node(pool, side->args[0])->op == ONNXC_EXPR_INDEX &&
               onnxc_exprs_node(pool, side->args[1])->op == ONNXC_EXPR_CONST) {
      add(s, onnxc_exprs_node(pool, side->args[0])->imm, onnxc_exprs_node(pool, side->args[1])->imm);
    }
  }
}

void onnxc_tile_choices(const onnxc_graph *graph, const onnxc_compute *compute, uint32_t *choices) {
  scan s = {graph, compute, choices};
  for (uint32_t k = 0; k < compute->num_parallel; k++)
    choices[k] = 1;
  for (uint32_t j = 0; j < compute->num_results && !compute->num_reduce; j++)
    onnxc_expr_walk(&graph->exprs, compute->finish[j], visit, &s);
}
