/* rows.c -- row groups: one stage whose tasks are blocks of rows.
 *
 *     parallel row indices .. { for a block of rows: compute 1; compute 2; .. }
 *
 * Each member runs over all rows of the block before the next one does, so that the latencies of one row hide behind
 * the others. What only members read lies in scratch, a window of the block; a member that maps such a window to one of
 * the same shape works in place. So many rows make a block as stay near: in L1, or, where products are members, in L2
 * beside their packed factors. How rows are cut depends on shapes and target only.
 */
#include "tile/grid.h"
#include "tile/lower.h"

enum {
  MOST_ROWS = 64,          /* of a block without products */
  MOST_PRODUCT_ROWS = 192, /* of a block with products */
  LEAST_TILES = 8,         /* register tiles that a packed panel should serve */
  TASKS = 32,              /* so many are enough for many threads */
  BATCH = 8                /* products: so many are tasks enough */
};
/* Extents are only weighed here: larger ones count as this. */
static const int64_t MAX_EXTENT = 1 << 30;

typedef struct group {
  onnxc_lowerer *l;
  uint32_t first, last; /* in the order */
  onnxc_rows rows;
  bool *local; /* by value: in scratch */
} group;

static const onnxc_node_info *node_at(const onnxc_lowerer *l, uint32_t n) {
  return onnxc_node_of(l->graph, l->graph->order.data[n]);
}

/* ---- blocks ---- */

int64_t onnxc_rows_weigh(const onnxc_lowerer *l, onnxc_dim extent) {
  int64_t value = onnxc_dim_hint(&l->graph->dims, extent);
  return value < 1 ? 1 : value < MAX_EXTENT ? value : MAX_EXTENT;
}

int64_t onnxc_rows_wanted(const onnxc_lowerer *l, onnxc_rows *rows, const onnxc_compute *compute) {
  int64_t others = 1;
  rows->rank = compute->row_rank;
  rows->block = rows->rank - 1;
  while (rows->block > 0 && onnxc_dim_is(&l->graph->dims, compute->extents[rows->block], 1))
    rows->block--;
  for (uint32_t k = 0; k < rows->rank && others < TASKS; k++)
    others *= k == rows->block ? 1 : onnxc_rows_weigh(l, compute->extents[k]);
  return TASKS / others;
}

/* The bytes of the longest row that a member walks, and whether one is a product. */
static int64_t row_bytes(const group *g, bool *products) {
  int64_t most = 1;
  *products = false;
  for (uint32_t n = g->first; n < g->last; n++) {
    const onnxc_compute *c = node_at(g->l, n)->compute;
    bool product = c->contraction.valid && c->contraction.a != c->contraction.b; /* not a sum of squares */
    uint32_t end = product ? c->num_parallel : c->num_parallel + c->num_reduce;
    int64_t bytes = (int64_t)onnxc_dtype_bytes(c->acc_dtype[0]);
    for (uint32_t k = c->row_rank; k < end && bytes < MAX_EXTENT; k++)
      bytes *= onnxc_rows_weigh(g->l, c->extents[k]);
    most = bytes > most ? bytes : most;
    *products = *products || product;
  }
  return most;
}

/* Blocks along the last index of more than one row, of nearly equal height. */
static void choose_rows(group *g) {
  const onnxc_target *target = g->l->program->target;
  const onnxc_compute *head = node_at(g->l, g->first)->compute;
  bool products;
  int64_t bytes = row_bytes(g, &products), wanted = onnxc_rows_wanted(g->l, &g->rows, head);
  int64_t tile = products ? onnxc_target_register_tile(target, ONNXC_F32, ONNXC_F32, -1).rows : 1;
  int64_t near = (products ? target->l2_bytes / 4 : target->l1_bytes / 2) / bytes;
  int64_t most = products ? MOST_PRODUCT_ROWS : MOST_ROWS, least = products ? LEAST_TILES * tile : 1;
  int64_t fewest = products ? 2 * tile : 1;
  near = near < fewest ? fewest : near < most ? near : most;
  if (products && wanted <= TASKS / BATCH)
    wanted = 1;
  g->rows.most = onnxc_rows_even(onnxc_rows_weigh(g->l, head->extents[g->rows.block]), near, tile, least, wanted);
}

int64_t onnxc_rows_even(int64_t extent, int64_t most, int64_t tile, int64_t least, int64_t wanted) {
  int64_t parts = (extent + most - 1) / most;
  while (parts < wanted && (extent + parts) / (parts + 1) >= least)
    parts++;
  int64_t rows = (extent + parts - 1) / parts;
  return parts > 1 ? (rows + tile - 1) / tile * tile : rows;
}

onnxc_block *onnxc_rows_loops(onnxc_lowerer *l, onnxc_rows *rows, const onnxc_dim *extents, onnxc_block *body) {
  onnxc_dims *dims = &l->graph->dims;
  onnxc_dim zero = onnxc_dim_const(dims, 0), one = onnxc_dim_const(dims, 1);
  for (uint32_t d = 0; d < rows->rank; d++) {
    onnxc_dim step = d == rows->block ? onnxc_dim_const(dims, rows->most) : one;
    int64_t extent;
    bool known = onnxc_dim_is_const(dims, extents[d], &extent);
    rows->lo[d] = zero;
    rows->size[d] = onnxc_dim_min(dims, step, extents[d]);
    if (known && extent >= 1 && extent <= (d == rows->block ? rows->most : 1))
      continue;
    onnxc_stmt *loop = onnxc_grid_loop(l->program, body, zero, extents[d], step);
    rows->lo[d] = onnxc_dim_sym(dims, loop->iv);
    bool whole = d != rows->block || rows->most == 1 || (known && extent % rows->most == 0);
    rows->size[d] = whole ? step : onnxc_dim_min(dims, step, onnxc_dim_sub(dims, extents[d], rows->lo[d]));
    body = &loop->body;
  }
  return body;
}

/* ---- windows ---- */

uint32_t onnxc_rows_window(onnxc_lowerer *l, const onnxc_rows *rows, const char *name, onnxc_dtype dtype, uint32_t rank,
                           const onnxc_dim *extents) {
  onnxc_dims *dims = &l->graph->dims;
  onnxc_buffer window = {.name = name, .space = ONNXC_SPACE_SCRATCH, .dtype = dtype, .rank = rank, .ring_dim = -1};
  window.dims = ONNXC_NEW_ARRAY(l->graph->arena, onnxc_dim, rank + 1);
  for (uint32_t d = 0; d < rank; d++) {
    window.dims[d] = d == rows->block ? onnxc_dim_const(dims, rows->most)
                     : d < rows->rank ? onnxc_dim_const(dims, 1)
                                      : extents[d - rows->rank];
    if (!onnxc_dim_is_const(dims, window.dims[d], NULL))
      return 0;
  }
  return onnxc_tile_add_buffer(l->program, &window);
}

onnxc_operand onnxc_rows_operand(onnxc_lowerer *l, const onnxc_rows *rows, uint32_t buffer, bool window,
                                 onnxc_dim from) {
  onnxc_operand operand = {.buffer = buffer};
  if (!window)
    return operand;
  uint32_t rank = l->program->buffers.data[buffer].rank;
  operand.origin = ONNXC_NEW_ARRAY(l->graph->arena, onnxc_dim, rank + 1);
  for (uint32_t d = 0; d < rank; d++)
    operand.origin[d] = d < rows->rank ? rows->lo[d] : from;
  return operand;
}

void onnxc_rows_box(onnxc_lowerer *l, const onnxc_rows *rows, onnxc_stmt *stmt) {
  const onnxc_compute *c = stmt->compute;
  uint32_t indices = c->num_parallel + c->num_reduce;
  stmt->box_lo = ONNXC_NEW_ARRAY(l->graph->arena, onnxc_dim, indices + 1);
  stmt->box_size = ONNXC_NEW_ARRAY(l->graph->arena, onnxc_dim, indices + 1);
  for (uint32_t k = 0; k < indices; k++) {
    stmt->box_lo[k] = k < rows->rank ? rows->lo[k] : onnxc_dim_const(&l->graph->dims, 0);
    stmt->box_size[k] = k < rows->rank ? rows->size[k] : c->extents[k];
  }
}

static bool used_outside(const group *g, onnxc_value value) {
  const onnxc_graph *graph = g->l->graph;
  for (uint32_t k = 0; k < graph->outputs.length; k++)
    if (graph->outputs.data[k].i == value.i)
      return true;
  for (uint32_t n = 0; n < graph->order.length; n++) {
    const onnxc_node_info *node = node_at(g->l, n);
    for (uint32_t k = 0; k < node->num_inputs && (n < g->first || n >= g->last); k++)
      if (node->inputs[k].i == value.i)
        return true;
  }
  return false;
}

/* The window of an operand that member n maps point by point, and nobody reads later; 0 if there is none. */
static uint32_t window_in_place(const group *g, uint32_t n) {
  const onnxc_graph *graph = g->l->graph;
  const onnxc_node_info *node = node_at(g->l, n);
  if (node->compute->num_reduce || node->num_outputs != 1)
    return 0;
  const onnxc_value_info *result = onnxc_value_of(graph, node->outputs[0]);
  for (uint32_t k = 0; k < node->num_inputs; k++) {
    onnxc_value value = node->inputs[k];
    const onnxc_value_info *info = onnxc_value_of(graph, value);
    if (!value.i || !g->local[value.i] || info->dtype != result->dtype || info->rank != result->rank)
      continue;
    bool same = onnxc_expr_loads_own(&graph->exprs, node->compute->finish[0], k, 0);
    for (uint32_t d = 0; d < info->rank; d++)
      same = same && onnxc_dim_same(info->dims[d], result->dims[d]);
    for (uint32_t later = n + 1; later < g->last; later++)
      for (uint32_t i = 0; i < node_at(g->l, later)->num_inputs; i++)
        same = same && node_at(g->l, later)->inputs[i].i != value.i;
    if (same)
      return g->l->buffer_of[value.i];
  }
  return 0;
}

static void place_results(group *g) {
  onnxc_lowerer *l = g->l;
  for (uint32_t n = g->first; n < g->last; n++) {
    const onnxc_node_info *node = node_at(l, n);
    for (uint32_t j = 0; j < node->num_outputs; j++) {
      onnxc_value value = node->outputs[j];
      const onnxc_value_info *info = onnxc_value_of(l->graph, value);
      uint32_t window = used_outside(g, value) ? 0 : window_in_place(g, n);
      if (!window && !used_outside(g, value))
        window = onnxc_rows_window(l, &g->rows, info->name, info->dtype, info->rank, info->dims + g->rows.rank);
      g->local[value.i] = window != 0;
      if (window)
        l->buffer_of[value.i] = window;
      else
        onnxc_lower_fill(l, l->buffer_of[value.i]);
    }
  }
}

/* ---- statements ---- */

static void add_member(group *g, onnxc_block *block, const onnxc_node_info *node) {
  onnxc_lowerer *l = g->l;
  onnxc_dim zero = onnxc_dim_const(&l->graph->dims, 0);
  onnxc_stmt *stmt = onnxc_tile_stmt(l->program, block, ONNXC_STMT_COMPUTE);
  stmt->compute = node->compute;
  stmt->num_operands = node->num_inputs;
  stmt->num_results = node->num_outputs;
  stmt->operands = ONNXC_NEW_ARRAY(l->graph->arena, onnxc_operand, node->num_inputs + 1);
  stmt->results = ONNXC_NEW_ARRAY(l->graph->arena, onnxc_operand, node->num_outputs + 1);
  for (uint32_t k = 0; k < node->num_inputs; k++)
    if (node->inputs[k].i)
      stmt->operands[k] =
          onnxc_rows_operand(l, &g->rows, l->buffer_of[node->inputs[k].i], g->local[node->inputs[k].i], zero);
  for (uint32_t k = 0; k < node->num_outputs; k++)
    stmt->results[k] =
        onnxc_rows_operand(l, &g->rows, l->buffer_of[node->outputs[k].i], g->local[node->outputs[k].i], zero);
  onnxc_rows_box(l, &g->rows, stmt);
  onnxc_grid_schedule_block(l->program, stmt);
}

uint32_t onnxc_lower_rows(onnxc_lowerer *l, uint32_t first) {
  const onnxc_compute *head = node_at(l, first)->compute;
  group g = {.l = l, .first = first, .last = first};
  while (g.last < l->graph->order.length && node_at(l, g.last)->op == ONNXC_OP_COMPUTE &&
         node_at(l, g.last)->compute->row_group == head->row_group)
    g.last++;
  if (onnxc_lower_online(l, first))
    return g.last;
  choose_rows(&g);
  g.local = ONNXC_NEW_ARRAY(l->graph->arena, bool, l->capacity);
  onnxc_block body = {0}, *inner = onnxc_rows_loops(l, &g.rows, head->extents, &body);
  place_results(&g);
  const char *name = NULL;
  for (uint32_t n = first; n < g.last; n++) {
    add_member(&g, inner, node_at(l, n));
    name = node_at(l, n)->name && !name ? node_at(l, n)->name : name;
  }
  onnxc_lower_stage(l, onnxc_lower_name(l, name, "rows"), body);
  return g.last;
}
