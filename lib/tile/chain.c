/* chain.c -- a pointwise product whose tasks first make the rows that they read.
 *
 *     v = depthwise(x);  y = sum over k of v[.., k] * w[k, n]
 *   one stage:
 *     parallel .. { for a block of rows: depthwise -> window in scratch;  contract(window, w) -> y }
 *
 * The value between them never leaves L2 in place of going through L3 or memory and back. That pays where it is larger
 * than L2, and costs little as long as the product's factor stays in L2 beside the window. The producer is a reduction
 * without columns of its own (depthwise, pooling): each of its elements is made once, by the task that needs it. How
 * rows are cut depends on shapes and target only.
 */
#include "tile/grid.h"
#include "tile/lower.h"
#include "pass/recognise.h"

#include <string.h>

enum { TASKS = 16, LEAST_POINTS = 64 /* of a task */ };

typedef struct chain {
  const onnxc_node_info *producer, *product;
  onnxc_value value;
  int dim_of_index[ONNXC_MAX_INDICES]; /* of the product: the value's dim that it walks, -1 = none */
} chain;

/* ---- what can be chained ---- */

static bool is_plain(const onnxc_value_info *info) {
  for (uint32_t d = 0; d < info->rank; d++)
    if (info->layout.low[d] || info->layout.high[d])
      return false;
  for (uint32_t a = 0; a < info->layout.num_axes; a++)
    if (info->layout.axis_size[a])
      return false;
  return true;
}

/* Reads each element of the value at indices of its own: the windows of a block are its rows. */
static bool walks_plainly(onnxc_exprs *pool, chain *ch) {
  const onnxc_compute *c = ch->product->compute;
  onnxc_factor factors[2];
  if (!onnxc_contraction_factors(pool, c, factors) || factors[0].guard.i)
    return false;
  for (uint32_t k = 0; k < ONNXC_MAX_INDICES; k++)
    ch->dim_of_index[k] = -1;
  const onnxc_expr_node *load = onnxc_exprs_node(pool, factors[0].load);
  for (uint32_t d = 0; d < load->num_args; d++) {
    const onnxc_expr_node *index = onnxc_exprs_node(pool, load->args[d]);
    if (index->op != ONNXC_EXPR_INDEX || ch->dim_of_index[index->imm] >= 0)
      return false;
    ch->dim_of_index[index->imm] = (int)d;
  }
  return true;
}

static bool has_role(const onnxc_compute *c, onnxc_role role) {
  for (uint32_t k = 0; k < c->num_parallel + c->num_reduce; k++)
    if (c->contraction.role[k] == role)
      return true;
  return false;
}

static double bytes_of(const onnxc_graph *graph, const onnxc_value_info *info) {
  double bytes = (double)onnxc_dtype_bytes(info->dtype);
  for (uint32_t d = 0; d < info->rank; d++)
    bytes *= (double)onnxc_dim_hint(&graph->dims, info->dims[d]);
  return bytes;
}

static bool find_chain(const onnxc_lowerer *l, const uint32_t *uses, const onnxc_node_info *product, chain *ch) {
  onnxc_graph *graph = l->graph;
  const onnxc_compute *c = product->compute;
  if (product->op != ONNXC_OP_COMPUTE || !c->contraction.valid || c->row_group || c->num_reduce != 1 ||
      !has_role(c, ONNXC_ROLE_N) || has_role(c, ONNXC_ROLE_WINDOW))
    return false;
  *ch = (chain){.product = product, .value = product->inputs[c->contraction.a]};
  const onnxc_value_info *info = onnxc_value_of(graph, ch->value);
  if (!info->producer.i || uses[ch->value.i] != 1 || !is_plain(info) ||
      !onnxc_value_is_constant(graph, product->inputs[c->contraction.b]))
    return false;
  ch->producer = onnxc_node_of(graph, info->producer);
  const onnxc_compute *p = ch->producer->compute;
  if (ch->producer->op != ONNXC_OP_COMPUTE || ch->producer->branch.i != product->branch.i || p->num_results != 1 ||
      p->num_reduce == 0 || p->row_group || (p->contraction.valid && has_role(p, ONNXC_ROLE_N)))
    return false;
  double l2 = l->program->target->l2_bytes;
  return bytes_of(graph, info) > l2 / 2 &&
         bytes_of(graph, onnxc_value_of(graph, product->inputs[c->contraction.b])) <= l2 / 4 &&
         walks_plainly(&graph->exprs, ch);
}

/* ---- rows ---- */

/* The dims of a task: step 0 = whole; 1, or one dim in larger blocks. False where too much is left for a window. */
static bool choose_steps(const onnxc_lowerer *l, const chain *ch, int64_t *step) {
  const onnxc_dims *dims = &l->graph->dims;
  const onnxc_value_info *info = onnxc_value_of(l->graph, ch->value);
  onnxc_layout layout = onnxc_layout_explicit(&info->layout, info->rank);
  int64_t near = l->program->target->l2_bytes / 4 / (int64_t)onnxc_dtype_bytes(info->dtype), tasks = 1, extent;
  memset(step, 0, info->rank * sizeof *step);
  for (uint32_t a = 0; a < layout.num_axes; a++) {
    uint32_t d = layout.axis_dim[a];
    int64_t inner = 1, points = 1, columns = 1;
    if (onnxc_dim_is(dims, info->dims[d], 1))
      continue;
    for (uint32_t k = 0; k < ch->product->compute->num_parallel; k++)
      columns = ch->dim_of_index[k] == (int)d ? 0 : columns;
    if (columns) /* the reduction's dim */
      return false;
    for (uint32_t b = a + 1; b < layout.num_axes && inner <= near; b++) {
      bool known = onnxc_dim_is_const(dims, info->dims[layout.axis_dim[b]], &extent);
      inner *= known && extent >= 1 && extent <= near ? extent : near + 1;
    }
    if (inner > near) { /* one at a time, and look further inside */
      step[d] = 1;
      tasks *= onnxc_rows_weigh(l, info->dims[d]);
      continue;
    }
    for (uint32_t b = a + 1; b + 1 < layout.num_axes; b++)
      if (onnxc_dim_is_const(dims, info->dims[layout.axis_dim[b]], &extent))
        points *= extent;
    int64_t least = (LEAST_POINTS + points - 1) / points;
    extent = onnxc_rows_weigh(l, info->dims[d]);
    step[d] = onnxc_rows_even(extent, near / inner, 1, least, tasks < TASKS ? TASKS / tasks : 1);
    return true;
  }
  return false;
}

typedef struct rows {
  onnxc_dim lo[ONNXC_MAX_RANK], size[ONNXC_MAX_RANK]; /* by the value's dim */
} rows;

static onnxc_block *add_loops(onnxc_lowerer *l, const chain *ch, const int64_t *step, rows *r, onnxc_block *body) {
  onnxc_dims *dims = &l->graph->dims;
  const onnxc_value_info *info = onnxc_value_of(l->graph, ch->value);
  onnxc_layout layout = onnxc_layout_explicit(&info->layout, info->rank);
  for (uint32_t a = 0; a < layout.num_axes; a++) {
    uint32_t d = layout.axis_dim[a];
    int64_t extent;
    r->lo[d] = onnxc_dim_const(dims, 0);
    r->size[d] = info->dims[d];
    if (!step[d])
      continue;
    onnxc_dim by = onnxc_dim_const(dims, step[d]);
    onnxc_stmt *loop = onnxc_grid_loop(l->program, body, r->lo[d], info->dims[d], by);
    bool whole = step[d] == 1 || (onnxc_dim_is_const(dims, info->dims[d], &extent) && extent % step[d] == 0);
    r->lo[d] = onnxc_dim_sym(dims, loop->iv);
    r->size[d] = whole ? by : onnxc_dim_min(dims, by, onnxc_dim_sub(dims, info->dims[d], r->lo[d]));
    body = &loop->body;
  }
  return body;
}

static onnxc_operand add_window(onnxc_lowerer *l, const chain *ch, const int64_t *step, const rows *r) {
  const onnxc_value_info *info = onnxc_value_of(l->graph, ch->value);
  onnxc_buffer window = {.name = info->name,
                         .space = ONNXC_SPACE_SCRATCH,
                         .dtype = info->dtype,
                         .rank = info->rank,
                         .dims = ONNXC_NEW_ARRAY(l->graph->arena, onnxc_dim, info->rank + 1),
                         .layout = info->layout,
                         .ring_dim = -1};
  onnxc_dim *origin = ONNXC_NEW_ARRAY(l->graph->arena, onnxc_dim, info->rank + 1);
  for (uint32_t d = 0; d < info->rank; d++) {
    window.dims[d] = step[d] ? onnxc_dim_const(&l->graph->dims, step[d]) : info->dims[d];
    origin[d] = r->lo[d];
  }
  return (onnxc_operand){.buffer = onnxc_tile_add_buffer(l->program, &window), .origin = origin};
}

/* ---- statements ---- */

/* dim_of_index: the value's dim that an index walks, -1 = none; NULL = each its own. */
static void add_stmt(onnxc_lowerer *l, onnxc_block *body, const onnxc_node_info *node, const rows *r,
                     const int *dim_of_index) {
  const onnxc_compute *c = node->compute;
  onnxc_arena *arena = l->graph->arena;
  onnxc_stmt *stmt = onnxc_tile_stmt(l->program, body, ONNXC_STMT_COMPUTE);
  uint32_t indices = c->num_parallel + c->num_reduce;
  stmt->compute = c;
  stmt->num_operands = node->num_inputs;
  stmt->operands = ONNXC_NEW_ARRAY(arena, onnxc_operand, node->num_inputs + 1);
  for (uint32_t k = 0; k < node->num_inputs; k++)
    stmt->operands[k].buffer = node->inputs[k].i ? l->buffer_of[node->inputs[k].i] : 0;
  stmt->num_results = 1;
  stmt->results = ONNXC_NEW(arena, onnxc_operand);
  stmt->results[0].buffer = l->buffer_of[node->outputs[0].i];
  stmt->box_lo = ONNXC_NEW_ARRAY(arena, onnxc_dim, indices + 1);
  stmt->box_size = ONNXC_NEW_ARRAY(arena, onnxc_dim, indices + 1);
  for (uint32_t k = 0; k < indices; k++) {
    int d = dim_of_index ? dim_of_index[k] : k < c->num_parallel ? (int)k : -1;
    stmt->box_lo[k] = d >= 0 ? r->lo[d] : onnxc_dim_const(&l->graph->dims, 0);
    stmt->box_size[k] = d >= 0 ? r->size[d] : c->extents[k];
  }
}

static onnxc_stmt *last_of(const onnxc_block *block) { return block->data[block->length - 1]; }

static void place(onnxc_lowerer *l, const chain *ch, const int64_t *step) {
  onnxc_block body = {0};
  rows r;
  onnxc_lower_fill(l, l->buffer_of[ch->product->outputs[0].i]);
  onnxc_block *inner = add_loops(l, ch, step, &r, &body);
  onnxc_operand window = add_window(l, ch, step, &r);
  add_stmt(l, inner, ch->producer, &r, NULL);
  last_of(inner)->results[0] = window;
  onnxc_grid_schedule_block(l->program, last_of(inner));
  add_stmt(l, inner, ch->product, &r, ch->dim_of_index);
  last_of(inner)->operands[ch->product->compute->contraction.a] = window;
  onnxc_grid_schedule_block(l->program, last_of(inner));
  onnxc_lower_stage(l, onnxc_lower_name(l, ch->producer->name, "chain"), body);
}

void onnxc_lower_find_chains(onnxc_lowerer *l) {
  const onnxc_graph *graph = l->graph;
  const uint32_t *uses = onnxc_graph_count_uses(graph, graph->arena);
  int64_t step[ONNXC_MAX_RANK];
  chain ch;
  l->chained = ONNXC_NEW_ARRAY(graph->arena, onnxc_node, graph->nodes.length + 1);
  for (uint32_t n = 0; n < graph->order.length; n++) {
    onnxc_node handle = graph->order.data[n];
    if (!find_chain(l, uses, onnxc_node_of(graph, handle), &ch) || !choose_steps(l, &ch, step))
      continue;
    onnxc_node producer = onnxc_value_of(graph, ch.value)->producer;
    l->chained[producer.i] = handle;
    l->chained[handle.i] = producer;
  }
}

bool onnxc_lower_chain(onnxc_lowerer *l, onnxc_node node) {
  if (!l->chained[node.i].i)
    return false;
  const onnxc_compute *c = onnxc_node_of(l->graph, node)->compute;
  chain ch = {.product = onnxc_node_of(l->graph, node)};
  onnxc_node other = l->chained[node.i];
  int64_t step[ONNXC_MAX_RANK];
  if (!c->contraction.valid || !has_role(c, ONNXC_ROLE_N))
    return true; /* the producer waits for the product */
  ch.producer = onnxc_node_of(l->graph, other);
  ch.value = ch.producer->outputs[0];
  walks_plainly(&l->graph->exprs, &ch);
  choose_steps(l, &ch, step);
  place(l, &ch, step);
  return true;
}
