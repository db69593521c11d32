/* precision.c -- with the option bf16: products of f32 take factors of bf16. Sums, and all other arithmetic, stay f32.
 *
 *     sum a*b                     =>  sum f32(a') * f32(b'),   which dot products of pairs take
 *
 * Constant factors are rounded here. What a run computes is stored as bf16 by whoever computes it, so that it travels
 * at half the size; whoever else reads it (a residual, a pooling, a normalization) reads it from there, widened: there
 * is one copy. Graph inputs and outputs keep their types: what reads an input, or an output, as a factor gets a copy.
 *
 *     y = finish, of f32          =>  y' = bf16(finish)        one rounding, where y leaves the registers
 *
 * Values that are one piece of memory (reshapes, concats) have one type, and are decided together. What only moves
 * elements or takes the largest of them commutes with rounding: then what it reads is bf16, too, if nothing else reads
 * that.
 *
 * A product stays as it is if no dot product fits it (depthwise, a handful of columns), or if its sums are so short
 * that little is gained. Nor is what a depthwise convolution reads stored as bf16 for its own sake: widening costs it
 * more than reading half the bytes saves. The first layers of networks, of three channels, gain a third.
 *
 * needs: roles, layouts      breaks: nothing      leaves: unrounded constants, for dce
 */
#include "pass/pass.h"
#include "pass/product.h"

#include <string.h>

enum { LEAST_DEPTH = 8 };

typedef struct narrower {
  onnxc_graph *graph;
  const onnxc_target *target;
  uint32_t num_values;
  uint32_t *class_of; /* by value: another of its class, towards one that stands for all */
  bool *fixed;        /* by class: a graph output is in it */
  bool *narrow;       /* by class: of bf16 */
  onnxc_value *twin;  /* by value: a rounded constant or a copy */
  bool *chosen;       /* by node: a product of bf16 */
  onnxc_order order;  /* the new program */
} narrower;

/* ---- what becomes bf16 ---- */

static uint32_t class_of(const narrower *n, onnxc_value value) {
  uint32_t v = value.i;
  while (n->class_of[v] != v)
    v = n->class_of[v] = n->class_of[n->class_of[v]];
  return v;
}

/* Is it computed by a run, as f32? */
static bool is_computed(const narrower *n, onnxc_value value) {
  return value.i && onnxc_value_of(n->graph, value)->dtype == ONNXC_F32 &&
         onnxc_value_of(n->graph, value)->producer.i && !onnxc_value_is_constant(n->graph, value);
}

static bool is_view(onnxc_op op) { return op == ONNXC_OP_RESHAPE || op == ONNXC_OP_CONCAT; }

static void find_classes(narrower *n) {
  onnxc_graph *graph = n->graph;
  for (uint32_t v = 0; v < n->num_values; v++)
    n->class_of[v] = v;
  for (uint32_t i = 0; i < graph->order.length; i++) {
    const onnxc_node_info *node = onnxc_node_of(graph, graph->order.data[i]);
    for (uint32_t k = 0; is_view(node->op) && k < node->num_inputs; k++)
      if (is_computed(n, node->inputs[k]))
        n->class_of[class_of(n, node->inputs[k])] = class_of(n, node->outputs[0]);
  }
  for (uint32_t k = 0; k < graph->outputs.length; k++)
    n->fixed[class_of(n, graph->outputs.data[k])] = true;
}

static bool can_narrow(const narrower *n, onnxc_value value) {
  return is_computed(n, value) && !n->fixed[class_of(n, value)];
}

static bool is_narrow(const narrower *n, onnxc_value value) {
  return value.i && value.i < n->num_values && n->narrow[class_of(n, value)];
}

static bool is_plain_f32(const onnxc_graph *graph, const onnxc_factor *factor) {
  return factor->dtype == ONNXC_F32 && onnxc_exprs_node(&graph->exprs, factor->load)->dtype == ONNXC_F32;
}

static bool choose(const narrower *n, const onnxc_node_info *node) {
  onnxc_graph *graph = n->graph;
  onnxc_product p;
  return node->op == ONNXC_OP_COMPUTE && node->compute->contraction.valid && node->compute->acc_dtype[0] == ONNXC_F32 &&
         onnxc_find_product(graph, n->target, node, ONNXC_BF16, ONNXC_BF16, &p) && p.k_dim >= 0 &&
         (p.constant_b || p.copy_pays) && is_plain_f32(graph, &p.factors[0]) && is_plain_f32(graph, &p.factors[1]) &&
         onnxc_product_points(graph, &p, ONNXC_ROLE_K) * onnxc_product_points(graph, &p, ONNXC_ROLE_WINDOW) >=
             (double)LEAST_DEPTH;
}

static void choose_products(narrower *n) {
  onnxc_graph *graph = n->graph;
  for (uint32_t i = 0; i < graph->order.length; i++) {
    const onnxc_node_info *node = onnxc_node_of(graph, graph->order.data[i]);
    if (!choose(n, node))
      continue;
    n->chosen[graph->order.data[i].i] = true;
    const uint32_t factors[2] = {node->compute->contraction.a, node->compute->contraction.b};
    for (int k = 0; k < 2; k++)
      if (can_narrow(n, node->inputs[factors[k]]))
        n->narrow[class_of(n, node->inputs[factors[k]])] = true;
  }
}

/* The operand of which results are elements, some of them or the largest ones; none if there is arithmetic. */
static onnxc_value moved_operand(const onnxc_graph *graph, const onnxc_node_info *node) {
  const onnxc_value none = {0};
  if (node->op == ONNXC_OP_RELAYOUT)
    return node->inputs[0];
  if (node->op != ONNXC_OP_COMPUTE || node->num_outputs != 1)
    return none;
  const onnxc_compute *c = node->compute;
  const onnxc_exprs *pool = &graph->exprs;
  onnxc_expr e = c->finish[0];
  if (c->num_reduce) {
    if (onnxc_compute_combiner(pool, c, 0) != ONNXC_EXPR_MAX || onnxc_exprs_node(pool, e)->op != ONNXC_EXPR_ACC ||
        onnxc_exprs_node(pool, c->init[0])->op != ONNXC_EXPR_CONST)
      return none;
    e = c->element[0];
  }
  const onnxc_expr_node *x = onnxc_exprs_node(pool, e);
  if (x->op == ONNXC_EXPR_SELECT && onnxc_exprs_node(pool, x->args[2])->op == ONNXC_EXPR_CONST)
    x = onnxc_exprs_node(pool, x->args[1]);
  return x->op == ONNXC_EXPR_LOAD ? node->inputs[x->imm] : none;
}

static void follow_moves(narrower *n) {
  onnxc_graph *graph = n->graph;
  const uint32_t *uses = onnxc_graph_count_uses(graph, graph->arena);
  for (uint32_t i = graph->order.length; i-- > 0;) {
    const onnxc_node_info *node = onnxc_node_of(graph, graph->order.data[i]);
    if (!is_narrow(n, node->outputs[0]))
      continue;
    onnxc_value from = moved_operand(graph, node);
    if (can_narrow(n, from) && uses[from.i] == 1)
      n->narrow[class_of(n, from)] = true;
  }
}

/* ---- rounded constants and copies ---- */

/* To the nearest, ties to even; a NaN only gets its quiet bit, lest it become infinity. */
static uint16_t round_to_bf16(uint32_t bits) {
  if ((bits & 0x7fffffff) > 0x7f800000)
    return (uint16_t)((bits | 0x400000) >> 16);
  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static onnxc_value rounded_constant(onnxc_graph *graph, onnxc_value value) {
  const onnxc_value_info info = *onnxc_value_of(graph, value);
  int64_t shape[ONNXC_MAX_RANK];
  onnxc_value_static_shape(graph, value, shape);
  size_t count = info.data_size / sizeof(uint32_t);
  const unsigned char *from = info.data; /* of a file: aligned to nothing */
  uint16_t *data = ONNXC_NEW_ARRAY(graph->arena, uint16_t, count + 1);
  for (size_t k = 0; k < count; k++) {
    uint32_t bits;
    memcpy(&bits, from + k * sizeof bits, sizeof bits);
    data[k] = round_to_bf16(bits);
  }
  onnxc_value rounded = onnxc_graph_add_constant(graph, info.name, ONNXC_BF16, info.rank, shape, data);
  onnxc_value_of(graph, rounded)->layout = info.layout;
  onnxc_value_of(graph, rounded)->data_size = count * sizeof *data;
  return rounded;
}

/* An elementwise compute over `value`: its elements as another type. */
static onnxc_compute *cast_of(onnxc_graph *graph, onnxc_value value, onnxc_dtype dtype) {
  const onnxc_value_info *info = onnxc_value_of(graph, value);
  onnxc_compute *compute = ONNXC_NEW(graph->arena, onnxc_compute);
  *compute = (onnxc_compute){.num_parallel = info->rank, .num_results = 1};
  onnxc_expr index[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < info->rank; d++) {
    compute->extents[d] = info->dims[d];
    index[d] = onnxc_expr_index(&graph->exprs, d);
  }
  onnxc_expr load = onnxc_expr_load(&graph->exprs, info->dtype, 0, info->rank, index);
  compute->finish[0] = onnxc_expr_cast(&graph->exprs, dtype, load);
  return compute;
}

static onnxc_value rounded_copy(onnxc_graph *graph, onnxc_value value) {
  onnxc_value copy;
  graph->branch = onnxc_branch_of(graph, value);
  onnxc_graph_add_compute(graph, onnxc_value_of(graph, value)->name, cast_of(graph, value, ONNXC_BF16), 1, &value,
                          &copy);
  graph->branch = (onnxc_branch){0};
  onnxc_value_of(graph, copy)->layout = onnxc_value_of(graph, value)->layout;
  return copy;
}

/* The value as bf16: itself, or a twin that is made once for all users. */
static onnxc_value as_narrow(narrower *n, onnxc_value value) {
  if (is_narrow(n, value))
    return value;
  onnxc_value *twin = &n->twin[value.i];
  if (!twin->i) {
    uint32_t length = n->graph->order.length;
    *twin =
        onnxc_value_is_constant(n->graph, value) ? rounded_constant(n->graph, value) : rounded_copy(n->graph, value);
    while (n->graph->order.length > length) /* it goes before its user */
      ONNXC_PUSH(n->graph->arena, n->order, n->graph->order.data[--n->graph->order.length]);
  }
  return *twin;
}

/* ---- the new program ---- */

/* Loads of operands that are bf16 now, widened. */
static onnxc_expr widen_load(void *arg, onnxc_exprs *pool, onnxc_expr leaf) {
  const bool *narrow = arg;
  onnxc_expr_node node = *onnxc_exprs_node(pool, leaf);
  if (node.op != ONNXC_EXPR_LOAD || !narrow[node.imm])
    return (onnxc_expr){0};
  return onnxc_expr_cast(pool, ONNXC_F32, onnxc_expr_load_from(pool, leaf, ONNXC_BF16, (uint32_t)node.imm));
}

static void rewrite_compute(narrower *n, onnxc_node handle) {
  onnxc_graph *graph = n->graph;
  onnxc_exprs *pool = &graph->exprs;
  const onnxc_node_info old = *onnxc_node_of(graph, handle);
  bool *narrow = ONNXC_NEW_ARRAY(graph->arena, bool, old.num_inputs + 1), any = false;
  onnxc_value *inputs = ONNXC_NEW_ARRAY(graph->arena, onnxc_value, old.num_inputs + 1);
  for (uint32_t k = 0; k < old.num_inputs; k++) {
    bool factor = n->chosen[handle.i] && (k == old.compute->contraction.a || k == old.compute->contraction.b);
    narrow[k] = factor || is_narrow(n, old.inputs[k]);
    inputs[k] = narrow[k] ? as_narrow(n, old.inputs[k]) : old.inputs[k];
    any = any || narrow[k];
  }
  for (uint32_t j = 0; j < old.num_outputs; j++)
    any = any || is_narrow(n, old.outputs[j]);
  if (!any)
    return;
  onnxc_compute *c = ONNXC_NEW(graph->arena, onnxc_compute);
  *c = *old.compute;
  for (uint32_t j = 0; j < c->num_results; j++) {
    if (c->num_reduce) {
      c->init[j] = onnxc_expr_rewrite(pool, c->init[j], widen_load, narrow);
      c->element[j] = onnxc_expr_rewrite(pool, c->element[j], widen_load, narrow);
    }
    c->finish[j] = onnxc_expr_rewrite(pool, c->finish[j], widen_load, narrow);
    if (is_narrow(n, old.outputs[j]))
      c->finish[j] = onnxc_expr_cast(pool, ONNXC_BF16, c->finish[j]);
  }
  onnxc_node_info *node = onnxc_node_of(graph, handle);
  node->compute = c;
  node->inputs = inputs;
}

/* A relayout between two types is an elementwise compute. */
static void rewrite_relayout(const narrower *n, onnxc_node handle) {
  onnxc_node_info *node = onnxc_node_of(n->graph, handle);
  bool narrow = is_narrow(n, node->outputs[0]);
  if (is_narrow(n, node->inputs[0]) == narrow)
    return;
  onnxc_compute *compute = cast_of(n->graph, node->inputs[0], narrow ? ONNXC_BF16 : ONNXC_F32);
  node = onnxc_node_of(n->graph, handle);
  node->op = ONNXC_OP_COMPUTE;
  node->compute = compute;
}

static void rewrite_view(narrower *n, onnxc_node handle) {
  const onnxc_node_info old = *onnxc_node_of(n->graph, handle);
  if (!is_narrow(n, old.outputs[0]))
    return;
  onnxc_value *inputs = ONNXC_NEW_ARRAY(n->graph->arena, onnxc_value, old.num_inputs + 1);
  for (uint32_t k = 0; k < old.num_inputs; k++)
    inputs[k] = as_narrow(n, old.inputs[k]);
  onnxc_node_of(n->graph, handle)->inputs = inputs;
}

onnxc_status onnxc_pass_precision(onnxc_graph *graph, const onnxc_pass_options *options) {
  if (!options->bf16)
    return ONNXC_OK;
  if (!options->target)
    return onnxc_error(graph->diag, ONNXC_USAGE, "pass precision needs a target");
  narrower n = {.graph = graph, .target = options->target, .num_values = graph->values.length};
  n.class_of = ONNXC_NEW_ARRAY(graph->arena, uint32_t, n.num_values);
  n.fixed = ONNXC_NEW_ARRAY(graph->arena, bool, n.num_values);
  n.narrow = ONNXC_NEW_ARRAY(graph->arena, bool, n.num_values);
  n.twin = ONNXC_NEW_ARRAY(graph->arena, onnxc_value, n.num_values);
  n.chosen = ONNXC_NEW_ARRAY(graph->arena, bool, graph->nodes.length);
  find_classes(&n);
  choose_products(&n);
  follow_moves(&n);
  for (uint32_t v = 1; v < n.num_values; v++)
    if (is_narrow(&n, (onnxc_value){v}))
      graph->values.data[v].dtype = ONNXC_BF16;
  uint32_t length = graph->order.length;
  for (uint32_t i = 0; i < length; i++) {
    onnxc_node node = graph->order.data[i];
    switch (onnxc_node_of(graph, node)->op) {
    case ONNXC_OP_COMPUTE: rewrite_compute(&n, node); break;
    case ONNXC_OP_RELAYOUT: rewrite_relayout(&n, node); break;
    case ONNXC_OP_RESHAPE:
    case ONNXC_OP_CONCAT: rewrite_view(&n, node); break;
    default: break;
    }
    ONNXC_PUSH(graph->arena, n.order, node);
  }
  graph->order = n.order;
  return ONNXC_OK;
}
