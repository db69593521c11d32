/* recognise.c -- find contractions among computes and name the role of each index.
 *
 *     sum over r of mul(load a, load b), each load perhaps cast (bf16 to f32, u8 to i32) and perhaps guarded by
 *     select(in range, load, 0), inside or outside of the cast
 *
 * An index is, by where it occurs:      in a   in b
 *     parallel                           yes    yes    batch (groups and depthwise channels, too)
 *                                        yes    no     m
 *                                        no     yes    n
 *     reduction                          yes    yes    k, or window if it shares a dim of a with an m index
 * b is the constant factor if just one is; otherwise the second one of the product.
 *
 * needs: expanded composites      gives: roles
 */
#include "pass/recognise.h"

#include "pass/pass.h"

static bool is_zero(const onnxc_exprs *pool, onnxc_expr e) {
  double f = 1;
  int64_t i = 1;
  if (onnxc_exprs_node(pool, e)->op != ONNXC_EXPR_CONST || !onnxc_expr_const_value(pool, e, &f, &i))
    return false;
  return onnxc_dtype_is_float((onnxc_dtype)onnxc_exprs_node(pool, e)->dtype) ? f == 0 : i == 0;
}

bool onnxc_match_factor(onnxc_exprs *pool, onnxc_expr e, onnxc_factor *factor) {
  bool cast = false;
  *factor = (onnxc_factor){.dtype = (onnxc_dtype)onnxc_exprs_node(pool, e)->dtype};
  for (;;) {
    const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
    if (node->op == ONNXC_EXPR_LOAD) {
      factor->load = e;
      return true;
    }
    if (node->op == ONNXC_EXPR_CAST && !cast) { /* 0 is 0 in any type, so a guard may stand on either side */
      cast = true;
      e = node->args[0];
      continue;
    }
    if (node->op != ONNXC_EXPR_SELECT || !is_zero(pool, node->args[2]))
      return false;
    onnxc_expr condition = node->args[0];
    e = node->args[1];
    factor->guard = factor->guard.i ? onnxc_expr_binary(pool, ONNXC_EXPR_AND, factor->guard, condition) : condition;
  }
}

static bool match_product(onnxc_exprs *pool, const onnxc_compute *compute, onnxc_factor factors[2]) {
  onnxc_expr_node product = *onnxc_exprs_node(pool, compute->element[0]);
  return product.op == ONNXC_EXPR_MUL && onnxc_match_factor(pool, product.args[0], &factors[0]) &&
         onnxc_match_factor(pool, product.args[1], &factors[1]);
}

bool onnxc_contraction_factors(onnxc_exprs *pool, const onnxc_compute *compute, onnxc_factor factors[2]) {
  if (!match_product(pool, compute, factors))
    return false;
  if (onnxc_exprs_node(pool, factors[0].load)->imm != (int64_t)compute->contraction.a) {
    onnxc_factor b = factors[0];
    factors[0] = factors[1];
    factors[1] = b;
  }
  return true;
}

/* Fills roles, a and b. False if no index is contracted. */
static bool set_roles(const onnxc_exprs *pool, onnxc_compute *compute, const onnxc_factor *a, const onnxc_factor *b) {
  onnxc_contraction *c = &compute->contraction;
  uint32_t in_a = onnxc_expr_indices(pool, a->load), in_b = onnxc_expr_indices(pool, b->load);
  uint32_t parallel = (1u << compute->num_parallel) - 1;
  const onnxc_expr_node *load = onnxc_exprs_node(pool, a->load);
  bool contracts = false;
  for (uint32_t k = 0; k < compute->num_parallel + compute->num_reduce; k++) {
    uint32_t bit = 1u << k;
    if (k < compute->num_parallel) {
      c->role[k] = (in_a & bit) && (in_b & bit) ? ONNXC_ROLE_BATCH : (in_b & bit) ? ONNXC_ROLE_N : ONNXC_ROLE_M;
      continue;
    }
    c->role[k] = ONNXC_ROLE_K;
    contracts = contracts || ((in_a & bit) && (in_b & bit));
    for (uint32_t d = 0; d < load->num_args; d++) {
      uint32_t used = onnxc_expr_indices(pool, load->args[d]);
      if ((used & bit) && (used & parallel & ~in_b)) /* beside a batch index only (channels of a group): still k */
        c->role[k] = ONNXC_ROLE_WINDOW;
    }
  }
  c->a = (uint32_t)load->imm;
  c->b = (uint32_t)onnxc_exprs_node(pool, b->load)->imm;
  c->valid = contracts;
  return contracts;
}

bool onnxc_recognise_contraction(onnxc_graph *graph, onnxc_compute *compute, const onnxc_value *inputs) {
  onnxc_exprs *pool = &graph->exprs;
  compute->contraction.valid = false;
  if (compute->num_results != 1 || compute->num_reduce == 0 ||
      onnxc_compute_combiner(pool, compute, 0) != ONNXC_EXPR_ADD)
    return false;
  onnxc_factor factor[2];
  if (!match_product(pool, compute, factor))
    return false;
  uint32_t operand[2];
  for (int k = 0; k < 2; k++)
    operand[k] = (uint32_t)onnxc_exprs_node(pool, factor[k].load)->imm;
  /* The arguments of a commutative operation come in no order one may rely on, so order by operand number. */
  int a = operand[0] <= operand[1] ? 0 : 1;
  bool constant[2] = {onnxc_value_is_constant(graph, inputs[operand[0]]),
                      onnxc_value_is_constant(graph, inputs[operand[1]])};
  if (constant[0] != constant[1])
    a = constant[0] ? 1 : 0;
  return set_roles(pool, compute, &factor[a], &factor[1 - a]);
}

void onnxc_contraction_orient(onnxc_exprs *pool, onnxc_compute *compute, uint32_t a) {
  onnxc_factor factor[2];
  if (match_product(pool, compute, factor)) {
    int first = onnxc_exprs_node(pool, factor[0].load)->imm == (int64_t)a ? 0 : 1;
    set_roles(pool, compute, &factor[first], &factor[1 - first]);
  }
}

onnxc_status onnxc_pass_recognise(onnxc_graph *graph, const onnxc_pass_options *options) {
  (void)options;
  for (uint32_t k = 0; k < graph->order.length; k++) {
    onnxc_node_info *node = onnxc_node_of(graph, graph->order.data[k]);
    if (node->op == ONNXC_OP_COMPUTE)
      onnxc_recognise_contraction(graph, node->compute, node->inputs);
  }
  return ONNXC_OK;
}
