/* number.c -- see number.h. Dequantizing computes have the forms that importers make:
 *
 *     cast.f32(byte)        cast.f32(cast.i32(byte) + constant)        cast.f32(cast.i32(byte) - cast.i32(zero))
 *
 * times a scale, or as they are.
 */
#include "pass/number.h"

#include "ops/build.h"

static onnxc_expr substitute_leaf(void *arg, onnxc_exprs *pool, onnxc_expr leaf) {
  const onnxc_expr *indices = arg;
  const onnxc_expr_node *node = onnxc_exprs_node(pool, leaf);
  return node->op == ONNXC_EXPR_INDEX ? indices[node->imm] : (onnxc_expr){0};
}

onnxc_expr onnxc_substitute_indices(onnxc_exprs *pool, onnxc_expr e, const onnxc_expr *indices) {
  return onnxc_expr_rewrite(pool, e, substitute_leaf, (void *)(uintptr_t)indices);
}

bool onnxc_find_place(onnxc_graph *graph, const onnxc_node_info *node, onnxc_expr load, const onnxc_expr *indices,
                      onnxc_place *p) {
  onnxc_exprs *pool = &graph->exprs;
  onnxc_expr_node leaf = *onnxc_exprs_node(pool, load);
  onnxc_place found = {.value = node->inputs[leaf.imm], .rank = leaf.num_args};
  onnxc_dim base, coefficients[ONNXC_MAX_INDICES];
  for (uint32_t d = 0; d < leaf.num_args; d++) {
    onnxc_expr index = leaf.args[d];
    if (!onnxc_expr_affine(pool, index, ONNXC_MAX_INDICES, &base, coefficients))
      return false;
    found.index[d] = indices ? onnxc_substitute_indices(pool, index, indices) : index;
  }
  *p = found;
  return onnxc_layout_is_default(&onnxc_value_of(graph, p->value)->layout, p->rank);
}

/* The elementwise compute with one result that makes the value, or NULL. */
static const onnxc_node_info *maker_of(const onnxc_graph *graph, onnxc_value value) {
  onnxc_node producer = onnxc_value_of(graph, value)->producer;
  const onnxc_node_info *node = onnxc_node_of(graph, producer);
  return producer.i && node->op == ONNXC_OP_COMPUTE && !node->compute->num_reduce && node->compute->num_results == 1 &&
                 !node->compute->row_group
             ? node
             : NULL;
}

void onnxc_follow_place(onnxc_graph *graph, onnxc_place *p) {
  const onnxc_node_info *node;
  onnxc_place from;
  while ((node = maker_of(graph, p->value)) &&
         onnxc_exprs_node(&graph->exprs, node->compute->finish[0])->op == ONNXC_EXPR_LOAD &&
         onnxc_find_place(graph, node, node->compute->finish[0], p->index, &from))
    *p = from;
}

/* A parameter of the dequantizing node whose result is read at `indices`. */
static bool find_parameter(onnxc_graph *graph, const onnxc_node_info *node, onnxc_expr e, const onnxc_expr *indices,
                           onnxc_parameter *p) {
  const onnxc_expr_node *leaf = onnxc_exprs_node(&graph->exprs, e);
  *p = (onnxc_parameter){0};
  if (leaf->op == ONNXC_EXPR_CONST) {
    p->constant = e;
    return true;
  }
  if (leaf->op != ONNXC_EXPR_LOAD || !onnxc_find_place(graph, node, e, indices, &p->at))
    return false;
  onnxc_follow_place(graph, &p->at);
  p->constant = onnxc_build_constant_element(graph, p->at.value);
  return onnxc_value_is_constant(graph, p->at.value);
}

static bool is_cast(const onnxc_exprs *pool, onnxc_expr e, onnxc_dtype to, onnxc_expr *from) {
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  *from = node->num_args ? node->args[0] : (onnxc_expr){0};
  return node->op == ONNXC_EXPR_CAST && node->dtype == to;
}

static bool is_byte(onnxc_dtype dtype) { return dtype == ONNXC_U8 || dtype == ONNXC_I8; }

/* cast.f32(byte), or cast.f32(cast.i32(byte) + constant), or cast.f32(cast.i32(byte) - cast.i32(zero)) */
static bool match_difference(onnxc_graph *graph, const onnxc_node_info *node, onnxc_expr e, const onnxc_expr *indices,
                             onnxc_number *n) {
  onnxc_exprs *pool = &graph->exprs;
  onnxc_expr byte, zero = onnxc_expr_i64(pool, ONNXC_I32, 0);
  if (!is_cast(pool, e, ONNXC_F32, &byte))
    return false;
  onnxc_expr_node sum = *onnxc_exprs_node(pool, byte);
  if (sum.op == ONNXC_EXPR_ADD || sum.op == ONNXC_EXPR_SUB) {
    if (!is_cast(pool, sum.args[0], ONNXC_I32, &byte))
      return false;
    zero = sum.args[1];
    if (sum.op == ONNXC_EXPR_ADD && onnxc_exprs_node(pool, zero)->op != ONNXC_EXPR_CONST)
      return false;
    if (sum.op == ONNXC_EXPR_ADD)
      zero = onnxc_expr_unary(pool, ONNXC_EXPR_NEG, zero);
    else if (!is_cast(pool, zero, ONNXC_I32, &zero) || !is_byte((onnxc_dtype)onnxc_exprs_node(pool, zero)->dtype))
      return false;
  }
  const onnxc_expr_node *load = onnxc_exprs_node(pool, byte);
  return load->op == ONNXC_EXPR_LOAD && is_byte((onnxc_dtype)load->dtype) &&
         onnxc_find_place(graph, node, byte, indices, &n->byte) && find_parameter(graph, node, zero, indices, &n->zero);
}

bool onnxc_find_number(onnxc_graph *graph, const onnxc_place *place, onnxc_number *n) {
  onnxc_exprs *pool = &graph->exprs;
  onnxc_place at = *place;
  *n = (onnxc_number){0};
  onnxc_follow_place(graph, &at);
  const onnxc_node_info *node = maker_of(graph, at.value);
  if (!node)
    return false;
  onnxc_expr e = node->compute->finish[0];
  onnxc_expr_node scaled = *onnxc_exprs_node(pool, e);
  if (scaled.op != ONNXC_EXPR_MUL)
    return match_difference(graph, node, e, at.index, n) &&
           find_parameter(graph, node, onnxc_expr_f64(pool, ONNXC_F32, 1), at.index, &n->scale);
  for (int k = 0; k < 2; k++)
    if (match_difference(graph, node, scaled.args[k], at.index, n) &&
        find_parameter(graph, node, scaled.args[1 - k], at.index, &n->scale))
      return true;
  return false;
}
