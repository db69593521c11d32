/* sink.c -- reshapes that only merge dims move behind the maps that read them.
 *
 *     y = reshape(x) : [n, g*c, h, w];  z[i] = f(y[i], s[i1], ..)
 *  => v[j] = f(x[j], s[j1*c + j2], ..) : [n, g, c, h, w];  z = reshape(v)
 *
 * A grouped convolution ends in such a reshape, and its normalization, residual and activation follow: before the
 * reshape they can become its epilogue. Only what a reduction computed is treated so, and maps of that: others would
 * gain nothing. Operands come first in the order, so one sweep moves a reshape behind a whole chain of maps.
 *
 * needs: nothing      breaks: roles      leaves: the reshapes as they were, for dce
 */
#include "pass/pass.h"

#include <string.h>

typedef struct sinker {
  onnxc_graph *graph;
  onnxc_order order; /* the new program */
  uint32_t *uses;    /* by value */
  bool *reduced;     /* by node: a reduction, or a map that was moved before a reduction's reshape */
} sinker;

/* ---- which dims a reshape merges ---- */

/* out_of_in[d]: the dim of the output that the input's dim d is a part of. False if some dim is split. */
static bool merges_only(onnxc_graph *graph, const onnxc_value_info *in, const onnxc_value_info *out,
                        uint32_t *out_of_in) {
  uint32_t d = 0;
  for (uint32_t o = 0; o < out->rank; o++) {
    onnxc_dim product = onnxc_dim_const(&graph->dims, 1);
    uint32_t first = d;
    while (d < in->rank && (d == first || !onnxc_dim_same(product, out->dims[o]))) {
      product = onnxc_dim_mul(&graph->dims, product, in->dims[d]);
      out_of_in[d++] = o;
    }
    if (!onnxc_dim_same(product, out->dims[o]))
      return false;
  }
  return d == in->rank && in->rank > out->rank;
}

/* ---- maps ---- */

typedef struct rewriting {
  uint32_t operand, rank;              /* the one that is read before its reshape */
  onnxc_expr index[ONNXC_MAX_RANK];    /* what an index of the map is */
  onnxc_expr at_point[ONNXC_MAX_RANK]; /* the indices of the new space */
} rewriting;

static onnxc_expr rewrite_leaf(void *arg, onnxc_exprs *pool, onnxc_expr leaf) {
  const rewriting *r = arg;
  onnxc_expr_node node = *onnxc_exprs_node(pool, leaf);
  if (node.op == ONNXC_EXPR_INDEX)
    return r->index[node.imm];
  if (node.op == ONNXC_EXPR_LOAD && node.imm == (int64_t)r->operand)
    return onnxc_expr_load(pool, (onnxc_dtype)node.dtype, r->operand, r->rank, r->at_point);
  return (onnxc_expr){0};
}

/* The operand of a map that is a reshape of a reduction's result, read by nobody else; -1 if there is none. */
static int find_reshaped(const sinker *s, const onnxc_node_info *map, onnxc_value *before, uint32_t *out_of_in) {
  onnxc_graph *graph = s->graph;
  const onnxc_compute *c = map->compute;
  if (map->op != ONNXC_OP_COMPUTE || c->num_reduce || c->num_results != 1 || c->row_group)
    return -1;
  const onnxc_value_info *result = onnxc_value_of(graph, map->outputs[0]);
  for (uint32_t k = 0; k < map->num_inputs; k++) {
    onnxc_node reshape = map->inputs[k].i ? onnxc_value_of(graph, map->inputs[k])->producer : (onnxc_node){0};
    if (!reshape.i || onnxc_node_of(graph, reshape)->op != ONNXC_OP_RESHAPE || s->uses[map->inputs[k].i] != 1)
      continue;
    *before = onnxc_node_of(graph, reshape)->inputs[0];
    const onnxc_value_info *in = onnxc_value_of(graph, *before), *out = onnxc_value_of(graph, map->inputs[k]);
    uint32_t ones = 0;
    for (uint32_t d = 0; d < out->rank; d++)
      ones |= onnxc_dim_is(&graph->dims, out->dims[d], 1) ? 1u << d : 0;
    bool same = out->rank == result->rank && in->rank <= ONNXC_MAX_RANK;
    for (uint32_t d = 0; same && d < out->rank; d++)
      same = onnxc_dim_same(out->dims[d], result->dims[d]);
    same = same && in->producer.i && onnxc_branch_of(graph, *before).i == map->branch.i &&
           onnxc_node_of(graph, reshape)->branch.i == map->branch.i;
    if (onnxc_expr_loads_own(&graph->exprs, c->finish[0], k, ones) && same && s->reduced[in->producer.i] &&
        s->uses[before->i] == 1 && merges_only(graph, in, out, out_of_in))
      return (int)k;
  }
  return -1;
}

/* Index o of the map as a sum over the dims that it is merged of; those are in row major order. */
static void split_indices(onnxc_graph *graph, const onnxc_value_info *in, const uint32_t *out_of_in, rewriting *r) {
  onnxc_exprs *pool = &graph->exprs;
  for (uint32_t d = 0; d < in->rank; d++) {
    r->at_point[d] = onnxc_expr_index(pool, d);
    uint32_t o = out_of_in[d];
    bool first = d == 0 || out_of_in[d - 1] != o;
    onnxc_expr outer = first ? r->at_point[d]
                             : onnxc_expr_binary(pool, ONNXC_EXPR_MUL, r->index[o], onnxc_expr_dim(pool, in->dims[d]));
    r->index[o] = first ? outer : onnxc_expr_binary(pool, ONNXC_EXPR_ADD, outer, r->at_point[d]);
  }
}

static void sink(sinker *s, onnxc_node handle, uint32_t operand, onnxc_value before, const uint32_t *out_of_in) {
  onnxc_graph *graph = s->graph;
  const onnxc_value_info in = *onnxc_value_of(graph, before);
  onnxc_value result = onnxc_node_of(graph, handle)->outputs[0];
  rewriting r = {.operand = operand, .rank = in.rank};
  split_indices(graph, &in, out_of_in, &r);
  onnxc_compute *c = ONNXC_NEW(graph->arena, onnxc_compute);
  *c = *onnxc_node_of(graph, handle)->compute;
  c->num_parallel = in.rank;
  memcpy(c->extents, in.dims, in.rank * sizeof *in.dims);
  c->finish[0] = onnxc_expr_rewrite(&graph->exprs, c->finish[0], rewrite_leaf, &r);
  const onnxc_value_info info = *onnxc_value_of(graph, result);
  onnxc_value split = onnxc_graph_add_value(graph, info.name, info.dtype, in.rank, in.dims);
  onnxc_node_info *map = onnxc_node_of(graph, handle);
  onnxc_value *values = ONNXC_NEW_ARRAY(graph->arena, onnxc_value, map->num_inputs + 1);
  memcpy(values, map->inputs, map->num_inputs * sizeof *values);
  values[operand] = before;
  values[map->num_inputs] = split;
  map->inputs = values;
  map->outputs = values + map->num_inputs;
  map->compute = c;
  onnxc_value_of(graph, split)->producer = handle;
  onnxc_value_of(graph, split)->slot = 0;
  s->uses[split.i] = 1;
  s->reduced[handle.i] = true;
  ONNXC_PUSH(graph->arena, s->order, handle);
  uint32_t length = graph->order.length;
  graph->branch = map->branch;
  onnxc_node reshape = onnxc_graph_add_node(graph, ONNXC_OP_RESHAPE, map->name, 1, &split, 1, &result);
  graph->branch = (onnxc_branch){0};
  graph->order.length = length;
  ONNXC_PUSH(graph->arena, s->order, reshape);
}

onnxc_status onnxc_pass_sink(onnxc_graph *graph, const onnxc_pass_options *options) {
  (void)options;
  uint32_t length = graph->order.length, out_of_in[ONNXC_MAX_RANK] = {0};
  uint32_t num_values = graph->values.length;
  sinker s = {.graph = graph, .uses = ONNXC_NEW_ARRAY(graph->arena, uint32_t, num_values + length + 1)};
  memcpy(s.uses, onnxc_graph_count_uses(graph, graph->arena), num_values * sizeof *s.uses);
  s.reduced = ONNXC_NEW_ARRAY(graph->arena, bool, graph->nodes.length + length + 1);
  for (uint32_t n = 0; n < length; n++) {
    onnxc_node handle = graph->order.data[n];
    const onnxc_node_info *node = onnxc_node_of(graph, handle);
    onnxc_value before;
    s.reduced[handle.i] = node->op == ONNXC_OP_COMPUTE && node->compute->num_reduce && !node->compute->row_group;
    int operand = find_reshaped(&s, node, &before, out_of_in);
    if (operand >= 0)
      sink(&s, handle, (uint32_t)operand, before, out_of_in);
    else
      ONNXC_PUSH(graph->arena, s.order, handle);
  }
  graph->order = s.order;
  return ONNXC_OK;
}
