/* online.c -- attention by blocks of keys, with an online softmax: scratch stays small, however many keys there are.
 *
 *     max = -inf;  sum = 0;  out = 0
 *     for each block of keys:
 *         scores  = q k'                                    with scale and mask
 *         newmax  = max(max, scores);  shift = newmax, or 0 while that is -inf
 *         factor  = exp(max - shift);  max = newmax
 *         power   = exp(scores - shift)                     in place
 *         sum     = sum * factor + sum of power
 *         out     = out * factor + power v
 *     y = finish(out, 1 / sum)
 *
 * While all keys of a row so far are masked, its maximum is -inf: shifted by 0 their powers are 0, not NaN. A row of
 * nothing else ends as 0 / 0, as softmax has it. Where scores are -inf by a condition on the indices (causality), keys
 * that no row of the block sees are not looked at: their powers are 0 whatever their values are. The blocks depend on
 * shapes and target only.
 *
 * See Milakov and Gimelshein, "Online normalizer calculation for softmax"; Dao et al., "FlashAttention".
 */
#include "pass/attention.h"
#include "tile/grid.h"
#include "tile/lower.h"

#include <string.h>

enum { LEAST_ROWS = 48, LEAST_KEYS = 128, MOST_KEYS = 1024 };

typedef struct online {
  onnxc_lowerer *l;
  onnxc_graph *graph;
  onnxc_exprs *pool;
  const onnxc_node_info *scores, *max, *power, *inverse, *product;
  onnxc_rows rows;
  int64_t keys, panel;                /* of a block; of a panel of packed keys */
  onnxc_dim key, num_keys;            /* where the block begins; how many it has */
  uint32_t scores_window, out_window; /* rows x keys; rows x columns of v */
  uint32_t max_window, newmax_window, shift_window, factor_window, sum_window, inverse_window; /* one a row */
  bool limited; /* the score is -inf unless key <= limit + sum of steps * row index */
  onnxc_dim limit;
  int64_t steps[ONNXC_MAX_INDICES];
} online;

/* ---- expressions ---- */

/* The element of operand `operand`, a value of f32, at the first `rank` indices. */
static onnxc_expr load(const online *o, uint32_t operand, uint32_t rank) {
  onnxc_expr index[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < rank; d++)
    index[d] = onnxc_expr_index(o->pool, d);
  return onnxc_expr_load(o->pool, ONNXC_F32, operand, rank, index);
}

static onnxc_expr number(const online *o, double value) { return onnxc_expr_f64(o->pool, ONNXC_F32, value); }

static onnxc_expr binary(const online *o, onnxc_expr_op op, onnxc_expr a, onnxc_expr b) {
  return onnxc_expr_binary(o->pool, op, a, b);
}

static onnxc_expr exponential(const online *o, onnxc_expr x) { return onnxc_expr_unary(o->pool, ONNXC_EXPR_EXP, x); }

/* ---- statements ---- */

static onnxc_operand per_row(const online *o, uint32_t window) {
  return onnxc_rows_operand(o->l, &o->rows, window, true, o->key);
}

static onnxc_compute *copy_compute(const online *o, const onnxc_compute *compute) {
  onnxc_compute *copy = ONNXC_NEW(o->graph->arena, onnxc_compute);
  *copy = *compute;
  copy->row_group = copy->row_rank = 0;
  return copy;
}

/* A map over the rows, and over dims behind them if `like` has any. */
static onnxc_compute *new_map(const online *o, const onnxc_compute *like, uint32_t rank) {
  onnxc_compute *c = ONNXC_NEW(o->graph->arena, onnxc_compute);
  c->num_parallel = rank;
  memcpy(c->extents, like->extents, rank * sizeof *c->extents);
  return c;
}

static onnxc_stmt *place(const online *o, onnxc_block *block, const onnxc_compute *compute, uint32_t num_operands,
                         const onnxc_operand *operands, const onnxc_operand *results) {
  onnxc_arena *arena = o->graph->arena;
  onnxc_stmt *stmt = onnxc_tile_stmt(o->l->program, block, ONNXC_STMT_COMPUTE);
  stmt->compute = compute;
  stmt->num_operands = num_operands;
  stmt->num_results = compute->num_results;
  stmt->operands = ONNXC_NEW_ARRAY(arena, onnxc_operand, num_operands + 1);
  stmt->results = ONNXC_NEW_ARRAY(arena, onnxc_operand, compute->num_results + 1);
  if (num_operands)
    memcpy(stmt->operands, operands, num_operands * sizeof *operands);
  memcpy(stmt->results, results, compute->num_results * sizeof *results);
  onnxc_rows_box(o->l, &o->rows, stmt);
  return stmt;
}

/* The box's index k is the block of keys. */
static void within_block(const online *o, onnxc_stmt *stmt, uint32_t k) {
  stmt->box_lo[k] = o->key;
  stmt->box_size[k] = o->num_keys;
}

static void schedule(const online *o, onnxc_stmt *stmt) { onnxc_grid_schedule_block(o->l->program, stmt); }

/* The operands of a node: values as they are, but for one that is a window. */
static onnxc_operand *operands_of(const online *o, const onnxc_node_info *node, onnxc_value value,
                                  onnxc_operand window) {
  onnxc_operand *operands = ONNXC_NEW_ARRAY(o->graph->arena, onnxc_operand, node->num_inputs + 2);
  for (uint32_t k = 0; k < node->num_inputs; k++)
    operands[k] = node->inputs[k].i == value.i && value.i
                      ? window
                      : (onnxc_operand){.buffer = o->l->buffer_of[node->inputs[k].i]};
  return operands;
}

static void begin(const online *o, onnxc_block *block) {
  uint32_t rows = o->rows.rank;
  onnxc_compute *c = new_map(o, o->max->compute, rows);
  c->num_results = 2;
  c->finish[0] = number(o, -__builtin_inf());
  c->finish[1] = number(o, 0);
  schedule(o, place(o, block, c, 0, NULL, (onnxc_operand[]){per_row(o, o->max_window), per_row(o, o->sum_window)}));
  c = new_map(o, o->product->compute, rows + 1);
  c->num_results = 1;
  c->finish[0] = number(o, 0);
  schedule(o, place(o, block, c, 0, NULL,
                    (onnxc_operand[]){
                        onnxc_rows_operand(o->l, &o->rows, o->out_window, true, onnxc_dim_const(&o->graph->dims, 0))}));
}

static void add_scores(const online *o, onnxc_block *block) {
  onnxc_operand none = {0}, window = per_row(o, o->scores_window);
  onnxc_stmt *stmt = place(o, block, copy_compute(o, o->scores->compute), o->scores->num_inputs,
                           operands_of(o, o->scores, (onnxc_value){0}, none), &window);
  within_block(o, stmt, o->rows.rank);
  schedule(o, stmt);
}

static void add_maximum(const online *o, onnxc_block *block) {
  uint32_t rows = o->rows.rank;
  onnxc_compute *c = copy_compute(o, o->max->compute);
  uint32_t old = o->max->num_inputs;
  c->init[0] = load(o, old, rows);
  onnxc_operand *operands = operands_of(o, o->max, o->scores->outputs[0], per_row(o, o->scores_window));
  onnxc_operand result = per_row(o, o->newmax_window);
  operands[old] = per_row(o, o->max_window);
  onnxc_stmt *stmt = place(o, block, c, old + 1, operands, &result);
  within_block(o, stmt, rows);
  schedule(o, stmt);

  c = new_map(o, o->max->compute, rows);
  c->num_results = 3;
  onnxc_expr lowest = number(o, -__builtin_inf()), newmax = load(o, 1, rows);
  onnxc_expr shift = onnxc_expr_select(o->pool, binary(o, ONNXC_EXPR_EQ, newmax, lowest), number(o, 0), newmax);
  c->finish[0] = exponential(o, binary(o, ONNXC_EXPR_SUB, load(o, 0, rows), shift));
  c->finish[1] = shift;
  c->finish[2] = newmax;
  schedule(o, place(o, block, c, 2, (onnxc_operand[]){per_row(o, o->max_window), per_row(o, o->newmax_window)},
                    (onnxc_operand[]){per_row(o, o->factor_window), per_row(o, o->shift_window),
                                      per_row(o, o->max_window)}));
}

static void add_powers(const online *o, onnxc_block *block) {
  uint32_t rows = o->rows.rank;
  onnxc_compute *c = new_map(o, o->power->compute, rows + 1);
  onnxc_operand scores = per_row(o, o->scores_window);
  c->num_results = 1;
  c->finish[0] = exponential(o, binary(o, ONNXC_EXPR_SUB, load(o, 0, rows + 1), load(o, 1, rows)));
  onnxc_stmt *stmt = place(o, block, c, 2, (onnxc_operand[]){scores, per_row(o, o->shift_window)}, &scores);
  within_block(o, stmt, rows);
  schedule(o, stmt);

  c = copy_compute(o, o->inverse->compute);
  uint32_t n = o->inverse->num_inputs;
  c->init[0] = binary(o, ONNXC_EXPR_MUL, load(o, n, rows), load(o, n + 1, rows));
  c->finish[0] = onnxc_expr_acc(o->pool, ONNXC_F32, 0);
  onnxc_operand sum = per_row(o, o->sum_window);
  onnxc_operand *given = operands_of(o, o->inverse, o->power->outputs[0], scores);
  onnxc_operand *operands = ONNXC_NEW_ARRAY(o->graph->arena, onnxc_operand, n + 2);
  memcpy(operands, given, n * sizeof *operands);
  operands[n] = sum;
  operands[n + 1] = per_row(o, o->factor_window);
  stmt = place(o, block, c, n + 2, operands, &sum);
  within_block(o, stmt, rows);
  schedule(o, stmt);
}

static void add_product(const online *o, onnxc_block *block, onnxc_operand out) {
  uint32_t rows = o->rows.rank;
  onnxc_compute *c = new_map(o, o->product->compute, rows + 1);
  c->num_results = 1;
  c->finish[0] = binary(o, ONNXC_EXPR_MUL, load(o, 0, rows + 1), load(o, 1, rows));
  schedule(o, place(o, block, c, 2, (onnxc_operand[]){out, per_row(o, o->factor_window)}, &out));

  c = copy_compute(o, o->product->compute);
  c->finish[0] = onnxc_expr_acc(o->pool, ONNXC_F32, 0); /* runs at the end; its operands are not there yet */
  onnxc_operand *operands = operands_of(o, o->product, o->power->outputs[0], per_row(o, o->scores_window));
  for (uint32_t k = 0; k < o->product->num_inputs; k++)
    if (k != c->contraction.a && k != c->contraction.b)
      operands[k] = (onnxc_operand){0};
  onnxc_stmt *stmt = place(o, block, c, o->product->num_inputs, operands, &out);
  within_block(o, stmt, rows + 1);
  stmt->resume = stmt->partial = true;
  schedule(o, stmt);
}

static onnxc_expr load_out(void *arg, onnxc_exprs *pool, onnxc_expr leaf) {
  const online *o = arg;
  if (onnxc_exprs_node(pool, leaf)->op != ONNXC_EXPR_ACC)
    return (onnxc_expr){0};
  return load(o, o->product->num_inputs, o->rows.rank + 1);
}

static void finish(online *o, onnxc_block *block, onnxc_operand out) {
  uint32_t rows = o->rows.rank, n = o->product->num_inputs;
  onnxc_operand inverse = per_row(o, o->inverse_window), sum = per_row(o, o->sum_window);
  onnxc_compute *c = new_map(o, o->max->compute, rows);
  c->num_results = 1;
  c->finish[0] = binary(o, ONNXC_EXPR_DIV, number(o, 1), load(o, 0, rows));
  schedule(o, place(o, block, c, 1, &sum, &inverse));

  c = new_map(o, o->product->compute, rows + 1);
  c->num_results = 1;
  c->finish[0] = onnxc_expr_rewrite(o->pool, o->product->compute->finish[0], load_out, o);
  onnxc_operand *operands = operands_of(o, o->product, o->inverse->outputs[0], inverse);
  operands[o->product->compute->contraction.a] = (onnxc_operand){0}; /* the powers: read no longer */
  operands[n] = out;
  onnxc_operand result = {.buffer = o->l->buffer_of[o->product->outputs[0].i]};
  schedule(o, place(o, block, c, n + 1, operands, &result));
}

/* ---- causality ---- */

/* If `condition` is key <= base + sum of row indices: these, in o->limit and o->steps. */
static bool is_limit(online *o, onnxc_expr condition) {
  const onnxc_expr_node node = *onnxc_exprs_node(o->pool, condition);
  bool less = node.op == ONNXC_EXPR_LE || node.op == ONNXC_EXPR_LT;
  if (!less && node.op != ONNXC_EXPR_GE && node.op != ONNXC_EXPR_GT)
    return false;
  onnxc_expr low = node.args[less ? 0 : 1], high = node.args[less ? 1 : 0];
  onnxc_dim coefficients[ONNXC_MAX_INDICES];
  int64_t factor;
  if (onnxc_exprs_node(o->pool, low)->dtype != ONNXC_I64 ||
      !onnxc_expr_affine(o->pool, binary(o, ONNXC_EXPR_SUB, high, low), ONNXC_MAX_INDICES, &o->limit, coefficients))
    return false;
  if (node.op == ONNXC_EXPR_LT || node.op == ONNXC_EXPR_GT)
    o->limit = onnxc_dim_addc(&o->graph->dims, o->limit, -1);
  for (uint32_t k = 0; k < ONNXC_MAX_INDICES; k++) {
    factor = 0;
    if (coefficients[k].i && !onnxc_dim_is_const(&o->graph->dims, coefficients[k], &factor))
      return false;
    if (k < o->rows.rank)
      o->steps[k] = factor;
    if (k < o->rows.rank ? factor < 0 : factor != (k == o->rows.rank ? -1 : 0))
      return false;
  }
  return true;
}

static bool has_limit(online *o, onnxc_expr condition) {
  const onnxc_expr_node node = *onnxc_exprs_node(o->pool, condition);
  if (node.op == ONNXC_EXPR_AND)
    return has_limit(o, node.args[0]) || has_limit(o, node.args[1]);
  return is_limit(o, condition);
}

/* Are the scores -inf from some key on, one that depends on the row? */
static bool find_last_key(online *o) {
  onnxc_expr e = o->scores->compute->finish[0];
  for (;;) {
    const onnxc_expr_node node = *onnxc_exprs_node(o->pool, e);
    if (node.op != ONNXC_EXPR_SELECT || node.args[2].i != number(o, -__builtin_inf()).i)
      return o->limited = false;
    if (has_limit(o, node.args[0]))
      return o->limited = true;
    e = node.args[1];
  }
}

/* Behind the last key that a row of the block sees, and whole panels. */
static onnxc_dim end_of_keys(const online *o) {
  onnxc_dims *dims = &o->graph->dims;
  onnxc_dim all = o->scores->compute->extents[o->rows.rank], end = onnxc_dim_addc(dims, o->limit, 1);
  if (!o->limited)
    return all;
  for (uint32_t k = 0; k < o->rows.rank; k++) {
    onnxc_dim last = onnxc_dim_addc(dims, onnxc_dim_add(dims, o->rows.lo[k], o->rows.size[k]), -1);
    end = onnxc_dim_add(dims, end, onnxc_dim_mulc(dims, last, o->steps[k]));
  }
  end = onnxc_dim_mulc(dims, onnxc_dim_ceildiv(dims, end, onnxc_dim_const(dims, o->panel)), o->panel);
  return onnxc_dim_max(dims, onnxc_dim_const(dims, 0), onnxc_dim_min(dims, all, end));
}

/* ---- the stage ---- */

/* Blocks of keys such that they and their values take an eighth of L2 each, rows such that their scores take a quarter.
 * False if all keys together leave room for enough rows, and none can be left out. */
static bool choose_blocks(online *o) {
  const onnxc_target *target = o->l->program->target;
  const onnxc_compute *scores = o->scores->compute, *product = o->product->compute;
  uint32_t rank = scores->row_rank;
  int64_t all, scores_of_l2 = (int64_t)target->l2_bytes / 4 / 4;
  if (scores->num_reduce != 1 || !onnxc_dim_is_const(&o->graph->dims, product->extents[rank], NULL))
    return false;
  int64_t wanted = onnxc_rows_wanted(o->l, &o->rows, scores);
  onnxc_register_tile tile = onnxc_target_register_tile(target, ONNXC_F32, ONNXC_F32, -1);
  o->panel = (int64_t)tile.vecs * onnxc_target_lanes(target, 4);
  o->keys = scores_of_l2 / 2 / onnxc_rows_weigh(o->l, scores->extents[rank + 1]) / o->panel * o->panel;
  o->keys = o->keys < LEAST_KEYS ? LEAST_KEYS : o->keys > MOST_KEYS ? MOST_KEYS : o->keys;
  int64_t skip = find_last_key(o) ? o->keys : scores_of_l2 / LEAST_ROWS;
  if (onnxc_dim_is_const(&o->graph->dims, scores->extents[rank], &all) && all <= skip)
    return false;
  onnxc_dim extent = scores->extents[o->rows.block];
  int64_t most = scores_of_l2 / o->keys;
  o->rows.most = onnxc_dim_is_const(&o->graph->dims, extent, NULL)
                     ? onnxc_rows_even(onnxc_rows_weigh(o->l, extent), most, tile.rows, LEAST_ROWS, wanted)
                     : most / tile.rows * tile.rows;
  return true;
}

static void make_windows(online *o) {
  onnxc_dim keys = onnxc_dim_const(&o->graph->dims, o->keys), none[1] = {{0}};
  uint32_t rank = o->rows.rank, *const per_row[] = {&o->max_window,    &o->newmax_window, &o->shift_window,
                                                    &o->factor_window, &o->sum_window,    &o->inverse_window};
  static const char *const names[] = {"max", "newmax", "shift", "factor", "sum", "inverse"};
  o->scores_window = onnxc_rows_window(o->l, &o->rows, "scores", ONNXC_F32, rank + 1, &keys);
  o->out_window = onnxc_rows_window(o->l, &o->rows, "out", ONNXC_F32, rank + 1, &o->product->compute->extents[rank]);
  for (uint32_t k = 0; k < 6; k++)
    *per_row[k] = onnxc_rows_window(o->l, &o->rows, names[k], ONNXC_F32, rank, none);
}

bool onnxc_lower_online(onnxc_lowerer *l, uint32_t first) {
  onnxc_graph *graph = l->graph;
  onnxc_attention attention;
  if (!onnxc_match_attention(graph, first, &attention))
    return false;
  online o = {.l = l, .graph = graph, .pool = &graph->exprs};
  o.scores = onnxc_node_of(graph, attention.scores);
  o.max = onnxc_node_of(graph, attention.softmax.max);
  o.power = onnxc_node_of(graph, attention.softmax.power);
  o.inverse = onnxc_node_of(graph, attention.softmax.inverse);
  o.product = onnxc_node_of(graph, attention.product);
  if (!choose_blocks(&o))
    return false;
  onnxc_dim zero = onnxc_dim_const(&graph->dims, 0);
  onnxc_block body = {0}, *inner = onnxc_rows_loops(l, &o.rows, o.scores->compute->extents, &body);
  make_windows(&o);
  onnxc_lower_fill(l, l->buffer_of[o.product->outputs[0].i]);
  onnxc_operand out = onnxc_rows_operand(l, &o.rows, o.out_window, true, zero);
  o.key = zero;
  begin(&o, inner);
  onnxc_dim all = end_of_keys(&o), step = onnxc_dim_const(&graph->dims, o.keys);
  onnxc_stmt *loop = onnxc_grid_loop(l->program, inner, zero, all, step);
  loop->parallel = false;
  int64_t count;
  bool whole = onnxc_dim_is_const(&graph->dims, all, &count) && count % o.keys == 0;
  o.key = onnxc_dim_sym(&graph->dims, loop->iv);
  o.num_keys = whole ? step : onnxc_dim_min(&graph->dims, step, onnxc_dim_sub(&graph->dims, all, o.key));
  add_scores(&o, &loop->body);
  add_maximum(&o, &loop->body);
  add_powers(&o, &loop->body);
  add_product(&o, &loop->body, out);
  o.key = zero;
  finish(&o, inner, out);
  onnxc_lower_stage(l, onnxc_lower_name(l, o.scores->name, "attention"), body);
  return true;
}
