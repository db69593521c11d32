/* expand.c -- composites become computes.
 *
 *   softmax      m = max x;  e = exp(x - m);  s = 1 / sum e;  y = e * s  (the sum is at least 1, so 1 / s is no hazard)
 *   log_softmax  m = max x;  s = log sum exp(x - m);  y = (x - m) - s
 *   normalize    m = mean x;  v = 1 / sqrt(mean (x - m)^2 + epsilon);  y = (x - m) * v * scale + bias
 *
 * When the normalised dims are the last ones, the computes share a row group: for each row they run
 * one after the other, and m, e, s never leave scratch. Types narrower than f32 are computed in f32.
 *
 * needs: nothing      gives: expanded      breaks: roles
 */
#include "ops/build.h"
#include "pass/pass.h"

#include <math.h>
#include <string.h>

/* The composite being expanded; kept dims come first in every compute, reduced ones are its reduction. */
typedef struct expansion {
  onnxc_graph *graph;
  onnxc_exprs *pool;
  const char *name;
  onnxc_value x;
  onnxc_dtype dtype, wide;
  uint32_t rank, axis, span;
  onnxc_dim dims[ONNXC_MAX_RANK];
  uint32_t row_group, row_rank;
} expansion;

static bool reduced(const expansion *e, uint32_t d) { return d >= e->axis && d < e->axis + e->span; }

/* The element of x at the point of a reduction (kept dims, then reduced ones), or of a full compute. */
static onnxc_expr load_x(const expansion *e, bool reduction) {
  onnxc_expr index[ONNXC_MAX_RANK];
  uint32_t kept = 0, inner = e->rank - e->span;
  for (uint32_t d = 0; d < e->rank; d++)
    index[d] = onnxc_expr_index(e->pool, !reduction ? d : reduced(e, d) ? inner++ : kept++);
  return onnxc_expr_cast(e->pool, e->wide, onnxc_expr_load(e->pool, e->dtype, 0, e->rank, index));
}

/* The element of a result of a reduction, at the point of a reduction or of a full compute. */
static onnxc_expr load_kept(const expansion *e, uint32_t operand, bool reduction) {
  onnxc_expr index[ONNXC_MAX_RANK];
  uint32_t kept = 0;
  for (uint32_t d = 0; d < e->rank; d++)
    if (!reduced(e, d)) {
      index[kept] = onnxc_expr_index(e->pool, reduction ? kept : d);
      kept++;
    }
  return onnxc_expr_load(e->pool, e->wide, operand, kept, index);
}

static onnxc_value add(const expansion *e, const onnxc_compute *compute, uint32_t n, const onnxc_value *inputs) {
  onnxc_value result;
  onnxc_graph_add_compute(e->graph, e->name, compute, n, inputs, &result);
  return result;
}

static onnxc_value reduce(const expansion *e, onnxc_expr_op op, double init, onnxc_expr element, onnxc_expr finish,
                          uint32_t n, const onnxc_value *inputs) {
  onnxc_compute c = {.num_parallel = e->rank - e->span, .num_reduce = e->span, .num_results = 1};
  uint32_t kept = 0, inner = c.num_parallel;
  for (uint32_t d = 0; d < e->rank; d++)
    c.extents[reduced(e, d) ? inner++ : kept++] = e->dims[d];
  onnxc_expr acc = onnxc_expr_acc(e->pool, e->wide, 0);
  c.acc_dtype[0] = e->wide;
  c.init[0] = onnxc_expr_f64(e->pool, e->wide, init);
  c.element[0] = element;
  c.combine[0] = onnxc_expr_binary(e->pool, op, acc, onnxc_expr_val(e->pool, e->wide, 0));
  c.finish[0] = finish.i ? finish : acc;
  c.row_group = e->row_group;
  c.row_rank = e->row_rank;
  return add(e, &c, n, inputs);
}

static onnxc_value map(const expansion *e, onnxc_expr finish, uint32_t n, const onnxc_value *inputs) {
  onnxc_compute c = {.num_parallel = e->rank, .num_results = 1};
  memcpy(c.extents, e->dims, e->rank * sizeof *e->dims);
  c.acc_dtype[0] = (onnxc_dtype)onnxc_exprs_node(e->pool, finish)->dtype;
  c.finish[0] = finish;
  c.row_group = e->row_group;
  c.row_rank = e->row_rank;
  return add(e, &c, n, inputs);
}

static onnxc_expr op2(const expansion *e, onnxc_expr_op op, onnxc_expr a, onnxc_expr b) {
  return onnxc_expr_binary(e->pool, op, a, b);
}

static onnxc_value softmax(const expansion *e) {
  const onnxc_expr none = {0};
  onnxc_value m = reduce(e, ONNXC_EXPR_MAX, -INFINITY, load_x(e, true), none, 1, &e->x);
  onnxc_expr shifted = op2(e, ONNXC_EXPR_SUB, load_x(e, false), load_kept(e, 1, false));
  onnxc_value power = map(e, onnxc_expr_unary(e->pool, ONNXC_EXPR_EXP, shifted), 2, (onnxc_value[]){e->x, m});
  expansion of_power = *e;
  of_power.x = power;
  of_power.dtype = e->wide;
  onnxc_expr inverse = op2(e, ONNXC_EXPR_DIV, onnxc_expr_f64(e->pool, e->wide, 1), onnxc_expr_acc(e->pool, e->wide, 0));
  onnxc_value scale = reduce(&of_power, ONNXC_EXPR_ADD, 0, load_x(&of_power, true), inverse, 1, &power);
  onnxc_expr y = op2(e, ONNXC_EXPR_MUL, load_x(&of_power, false), load_kept(e, 1, false));
  return map(e, onnxc_expr_cast(e->pool, e->dtype, y), 2, (onnxc_value[]){power, scale});
}

static onnxc_value log_softmax(const expansion *e) {
  const onnxc_expr none = {0};
  onnxc_value m = reduce(e, ONNXC_EXPR_MAX, -INFINITY, load_x(e, true), none, 1, &e->x);
  onnxc_expr shifted = op2(e, ONNXC_EXPR_SUB, load_x(e, true), load_kept(e, 1, true));
  onnxc_expr log = onnxc_expr_unary(e->pool, ONNXC_EXPR_LOG, onnxc_expr_acc(e->pool, e->wide, 0));
  onnxc_value sum = reduce(e, ONNXC_EXPR_ADD, 0, onnxc_expr_unary(e->pool, ONNXC_EXPR_EXP, shifted), log, 2,
                           (onnxc_value[]){e->x, m});
  shifted = op2(e, ONNXC_EXPR_SUB, load_x(e, false), load_kept(e, 1, false));
  onnxc_expr y = op2(e, ONNXC_EXPR_SUB, shifted, load_kept(e, 2, false));
  return map(e, onnxc_expr_cast(e->pool, e->dtype, y), 3, (onnxc_value[]){e->x, m, sum});
}

static onnxc_value normalize(const expansion *e, onnxc_value scale, onnxc_value bias, double epsilon) {
  onnxc_dim size = onnxc_dim_const(&e->graph->dims, 1);
  for (uint32_t d = e->axis; d < e->axis + e->span; d++)
    size = onnxc_dim_mul(&e->graph->dims, size, e->dims[d]);
  onnxc_expr count = onnxc_expr_cast(e->pool, e->wide, onnxc_expr_dim(e->pool, size));
  onnxc_expr mean_of = op2(e, ONNXC_EXPR_DIV, onnxc_expr_acc(e->pool, e->wide, 0), count);
  onnxc_value mean = reduce(e, ONNXC_EXPR_ADD, 0, load_x(e, true), mean_of, 1, &e->x);
  onnxc_expr centred = op2(e, ONNXC_EXPR_SUB, load_x(e, true), load_kept(e, 1, true));
  onnxc_expr variance = op2(e, ONNXC_EXPR_ADD, mean_of, onnxc_expr_f64(e->pool, e->wide, epsilon));
  onnxc_expr inverse =
      op2(e, ONNXC_EXPR_DIV, onnxc_expr_f64(e->pool, e->wide, 1), onnxc_expr_unary(e->pool, ONNXC_EXPR_SQRT, variance));
  onnxc_value factor =
      reduce(e, ONNXC_EXPR_ADD, 0, op2(e, ONNXC_EXPR_MUL, centred, centred), inverse, 2, (onnxc_value[]){e->x, mean});
  onnxc_value inputs[5] = {e->x, mean, factor};
  uint32_t n = 3;
  onnxc_expr y = op2(e, ONNXC_EXPR_SUB, load_x(e, false), load_kept(e, 1, false));
  y = op2(e, ONNXC_EXPR_MUL, y, load_kept(e, 2, false));
  for (int k = 0; k < 2; k++) {
    onnxc_value operand = k ? bias : scale;
    if (!operand.i)
      continue;
    onnxc_expr load = onnxc_build_broadcast_load(e->graph, operand, n, e->rank, e->dims);
    y = op2(e, k ? ONNXC_EXPR_ADD : ONNXC_EXPR_MUL, y, onnxc_expr_cast(e->pool, e->wide, load));
    inputs[n++] = operand;
  }
  return map(e, onnxc_expr_cast(e->pool, e->dtype, y), n, inputs);
}

static onnxc_value expand_node(onnxc_graph *graph, const onnxc_node_info *node, uint32_t *row_group) {
  const onnxc_value_info *info = onnxc_value_of(graph, node->inputs[0]);
  expansion e = {.graph = graph, .pool = &graph->exprs, .name = node->name, .x = node->inputs[0]};
  e.dtype = info->dtype;
  e.wide = onnxc_dtype_bytes(info->dtype) < 4 ? ONNXC_F32 : info->dtype;
  e.rank = info->rank;
  e.axis = (uint32_t)node->axis;
  e.span = (uint32_t)node->span;
  for (uint32_t d = 0; d < info->rank; d++)
    e.dims[d] = info->dims[d];
  if (e.axis > 0 && e.axis + e.span == e.rank) {
    e.row_group = ++*row_group;
    e.row_rank = e.axis;
  }
  if (node->op == ONNXC_OP_SOFTMAX)
    return softmax(&e);
  if (node->op == ONNXC_OP_LOG_SOFTMAX)
    return log_softmax(&e);
  return normalize(&e, node->num_inputs > 1 ? node->inputs[1] : (onnxc_value){0},
                   node->num_inputs > 2 ? node->inputs[2] : (onnxc_value){0}, node->epsilon);
}

static bool is_composite(onnxc_op op) {
  return op == ONNXC_OP_SOFTMAX || op == ONNXC_OP_LOG_SOFTMAX || op == ONNXC_OP_NORMALIZE;
}

onnxc_status onnxc_pass_expand(onnxc_graph *graph, const onnxc_pass_options *options) {
  (void)options;
  uint32_t count = graph->order.length, row_group = 0, num_values = graph->values.length;
  onnxc_node *order = ONNXC_NEW_ARRAY(graph->arena, onnxc_node, count + 1);
  onnxc_value *to = ONNXC_NEW_ARRAY(graph->arena, onnxc_value, num_values);
  for (uint32_t i = 0; i < count; i++) {
    const onnxc_node_info *node = onnxc_node_of(graph, order[i] = graph->order.data[i]);
    if (node->compute && node->compute->row_group > row_group)
      row_group = node->compute->row_group;
  }
  graph->order.length = 0;
  for (uint32_t i = 0; i < count; i++) {
    onnxc_node_info node = *onnxc_node_of(graph, order[i]);
    for (uint32_t k = 0; k < node.num_inputs; k++)
      if (to[node.inputs[k].i].i)
        node.inputs[k] = to[node.inputs[k].i];
    if (!is_composite(node.op)) {
      ONNXC_PUSH(graph->arena, graph->order, order[i]);
      continue;
    }
    const onnxc_value_info *x = onnxc_value_of(graph, node.inputs[0]);
    if (node.axis < 0 || node.span < 1 || node.axis + node.span > (int64_t)x->rank || !onnxc_dtype_is_float(x->dtype))
      return onnxc_error(graph->diag, ONNXC_INTERNAL, "%s: dims or type of %s", node.name ? node.name : "node",
                         onnxc_op_name(node.op));
    graph->branch = node.branch;
    to[node.outputs[0].i] = expand_node(graph, &node, &row_group);
  }
  graph->branch = (onnxc_branch){0};
  for (uint32_t k = 0; k < graph->outputs.length; k++)
    if (graph->outputs.data[k].i < num_values && to[graph->outputs.data[k].i].i)
      graph->outputs.data[k] = to[graph->outputs.data[k].i];
  return ONNXC_OK;
}
