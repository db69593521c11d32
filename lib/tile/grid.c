/* grid.c -- see grid.h.
 *
 * A product with a packed factor and one reduction index is cut as product.c says. Others (windows, factors that are
 * not packed) are cut along vec into panels that stay in L2 beside the rows that pass them, along row into blocks of
 * whole register tiles, and one by one along their other indices. Other computes are cut from the outside
 * until a task has some thousand operations. How tasks are cut depends on shapes and target only, never on a number
 * of threads, so results have the same bits for any.
 */
#include "tile/grid.h"

#include "tile/product.h"

#include <string.h>

enum { TASK_WORK = 1 << 13, PRODUCT_WORK = 1 << 19, CHANNEL_WORK = 1 << 17, WHOLE_ROWS = 512, ROW_BLOCK = 240 };

typedef struct cutter {
  onnxc_tile_program *program;
  onnxc_stmt *stmt;
  int64_t extent[ONNXC_MAX_INDICES]; /* at hints */
  bool known[ONNXC_MAX_INDICES];
  int64_t block[ONNXC_MAX_INDICES]; /* 0 = whole */
} cutter;

onnxc_stmt *onnxc_grid_loop(onnxc_tile_program *program, onnxc_block *block, onnxc_dim lo, onnxc_dim hi,
                            onnxc_dim step) {
  onnxc_dims *dims = &program->graph->dims;
  onnxc_stmt *loop = onnxc_tile_stmt(program, block, ONNXC_STMT_FOR);
  loop->iv = onnxc_sym_new(dims, "t", ONNXC_SYM_LOOP, 0, 0);
  onnxc_symbol *symbol = onnxc_dims_symbol(dims, loop->iv);
  int64_t stride, low, high;
  symbol->hint = 0;
  if (onnxc_dim_is(dims, lo, 0) && onnxc_dim_is_const(dims, step, &stride)) {
    symbol->divisor = stride; /* so that a panel's number comes out of its first column */
    onnxc_dim_range(dims, hi, &low, &high);
    symbol->low = 0;
    symbol->high = high > 0 ? high - 1 : 0;
  }
  loop->parallel = true;
  loop->lo = lo;
  loop->hi = hi;
  loop->step = step;
  return loop;
}

onnxc_dim onnxc_grid_tasks(onnxc_tile_program *program, const onnxc_block *body) {
  onnxc_dims *dims = &program->graph->dims;
  onnxc_dim tasks = onnxc_dim_const(dims, 1);
  while (body->length == 1 && body->data[0]->kind == ONNXC_STMT_FOR && body->data[0]->parallel) {
    const onnxc_stmt *loop = body->data[0];
    tasks = onnxc_dim_mul(dims, tasks, onnxc_dim_ceildiv(dims, onnxc_dim_sub(dims, loop->hi, loop->lo), loop->step));
    body = &loop->body;
  }
  onnxc_dim condition = onnxc_tile_condition(program, body);
  return condition.i ? onnxc_dim_mul(dims, tasks, condition) : tasks;
}

/* Amounts of work are only compared: one that overflows is as large as can be. */
static int64_t times(int64_t a, int64_t b) {
  int64_t product;
  return __builtin_mul_overflow(a, b, &product) ? INT64_MAX : product;
}

static int64_t round_to(int64_t value, int64_t multiple) {
  int64_t rounded = value / multiple * multiple;
  return rounded < multiple ? multiple : rounded;
}

/* A block of rows: whole register tiles, and if possible a divisor of the extent. */
static int64_t row_block(const cutter *c, int row) {
  int64_t rows = c->stmt->schedule.rows, extent = c->extent[row];
  if (c->known[row] && extent <= WHOLE_ROWS)
    return 0;
  int64_t best = round_to(ROW_BLOCK, rows);
  for (int64_t block = rows; c->known[row] && block <= (int64_t)ROW_BLOCK * 2; block += rows)
    if (extent % block == 0 && block >= ROW_BLOCK / 3)
      best = block;
  return best;
}

/* The rows run inside of each panel: one panel, not a block of them, is what stays near. */
static void rows_inside(onnxc_schedule *s, uint32_t num_parallel) {
  uint32_t at_row = 0, at_vec = 0;
  for (uint32_t k = 0; k < num_parallel; k++) {
    at_row = s->order[k] == (int)s->row ? k : at_row;
    at_vec = s->order[k] == (int)s->vec ? k : at_vec;
  }
  if (at_row < at_vec) {
    s->order[at_row] = (uint8_t)s->vec;
    s->order[at_vec] = (uint8_t)s->row;
  }
}

/* Blocks of at most `most` columns that divide them, so that no block has an edge inside a panel. Where there are none,
 * the rows run inside of each panel instead. */
static void cut_panels(cutter *c, int64_t most, int64_t width) {
  onnxc_schedule *s = &c->stmt->schedule;
  int64_t columns = c->extent[s->vec];
  if (columns <= most && c->known[s->vec])
    return;
  if (!c->known[s->vec]) {
    c->block[s->vec] = most;
    return;
  }
  for (int64_t block = most; block >= width && block > 0; block -= width)
    if (columns % block == 0) {
      c->block[s->vec] = block;
      return;
    }
  rows_inside(s, c->stmt->compute->num_parallel);
}

static void cut_product(cutter *c) {
  const onnxc_schedule *s = &c->stmt->schedule;
  const onnxc_compute *compute = c->stmt->compute;
  int64_t reduced = 1, width = (int64_t)s->vecs * s->lanes;
  for (uint32_t k = compute->num_parallel; k < compute->num_parallel + compute->num_reduce; k++)
    reduced = times(reduced, c->extent[k] > 0 ? c->extent[k] : 1);
  int64_t bytes = times(reduced, (int64_t)onnxc_dtype_bytes(compute->acc_dtype[0]));
  cut_panels(c, round_to(c->program->target->l2_bytes / 2 / (bytes ? bytes : 1), width), width);
  c->block[s->row] = row_block(c, s->row);
  /* Products by channels are bound by loads: the same number of multiplications takes longer. */
  int64_t enough = compute->contraction.role[s->vec] == ONNXC_ROLE_BATCH ? CHANNEL_WORK : PRODUCT_WORK;
  int64_t work = times(times(reduced, c->block[s->vec] ? c->block[s->vec] : c->extent[s->vec]),
                       c->block[s->row] ? c->block[s->row] : c->extent[s->row]);
  for (uint32_t k = compute->num_parallel; k-- > 0;) { /* innermost first: take a few together while tasks are small */
    int index = s->order[k];
    if (index == s->row || index == s->vec)
      continue;
    int64_t together = work > 0 && work < enough ? enough / work : 1;
    if (together >= c->extent[index] && c->known[index]) {
      work = times(work, c->extent[index] > 0 ? c->extent[index] : 1);
      continue;
    }
    c->block[index] = together;
    work = times(work, together);
  }
}

static void walk_panels(onnxc_stmt *stmt, const onnxc_blocks *blocks) {
  onnxc_schedule *s = &stmt->schedule;
  if (s->row >= 0)
    rows_inside(s, stmt->compute->num_parallel);
  s->ahead_operand = (uint8_t)stmt->compute->contraction.b;
  s->ahead_bytes = blocks->ahead_bytes;
  s->ahead_lines = blocks->ahead_lines;
}

static void cut_panels_product(cutter *c, const onnxc_blocks *blocks) {
  const onnxc_schedule *s = &c->stmt->schedule;
  for (uint32_t k = 0; k < c->stmt->compute->num_parallel; k++)
    c->block[k] = (int)k == s->row ? blocks->rows : (int)k == s->vec ? blocks->columns : 1;
  walk_panels(c->stmt, blocks);
  if (s->row >= 0 && !c->known[s->row]) /* whole tiles, for block_step() */
    c->block[s->row] = (blocks->rows + s->rows - 1) / s->rows * s->rows;
}

void onnxc_grid_schedule_block(onnxc_tile_program *program, onnxc_stmt *stmt) {
  onnxc_blocks blocks;
  onnxc_tile_schedule(program, stmt);
  if (onnxc_product_blocks(program, stmt, &blocks))
    walk_panels(stmt, &blocks);
}

static void cut_others(cutter *c) {
  const onnxc_schedule *s = &c->stmt->schedule;
  const onnxc_compute *compute = c->stmt->compute;
  int64_t work = 1;
  /* Rows that are all one tile are in each task, with the lanes. */
  bool whole_rows = s->row >= 0 && s->vec >= 0 && !compute->num_reduce && c->known[s->row] && c->extent[s->row] > 0 &&
                    c->extent[s->row] <= s->rows;
  for (uint32_t k = compute->num_parallel; k < compute->num_parallel + compute->num_reduce; k++)
    work = times(work, c->extent[k] > 0 ? c->extent[k] : 1);
  for (uint32_t k = compute->num_parallel; k-- > 0;) {
    int index = s->order[k];
    if (whole_rows && index == s->row)
      continue;
    if (times(work, c->extent[index]) <= TASK_WORK) {
      work = times(work, c->extent[index] > 0 ? c->extent[index] : 1);
      work = times(work, whole_rows && index == s->vec ? s->rows : 1);
      continue;
    }
    int64_t block = work < TASK_WORK ? TASK_WORK / work : 1;
    if (index == s->vec)
      block = round_to(block, (int64_t)s->vecs * s->lanes);
    if (index == s->row)
      block = round_to(block, s->rows);
    if (s->phases && index == s->phase)
      block = round_to(block, s->phases);
    if (block < c->extent[index] || !c->known[index])
      c->block[index] = block;
    work = times(work, block);
  }
}

/* The statement, with the reduction in parts if it is so long. */
static void place_product(cutter *c, onnxc_block *block, const onnxc_stmt *stmt, int64_t depth) {
  int64_t most[ONNXC_MAX_INDICES];
  bool bounded = true;
  for (uint32_t k = 0; k < stmt->compute->num_parallel; k++) {
    most[k] = c->block[k] ? c->block[k] : c->extent[k];
    bounded &= c->block[k] || c->known[k];
  }
  if (depth && bounded)
    onnxc_product_place_parts(c->program, block, stmt, depth, most);
  else
    *onnxc_tile_stmt(c->program, block, ONNXC_STMT_COMPUTE) = *stmt;
}

/* Where the last block of columns is narrower it gets code of its own, as its width is known. */
static void place_columns(cutter *c, onnxc_block *block, const onnxc_stmt *stmt, int64_t depth) {
  onnxc_dims *dims = &c->program->graph->dims;
  uint32_t vec = (uint32_t)stmt->schedule.vec;
  int64_t width = c->block[vec], last = width ? c->extent[vec] % width : 0;
  if (!last || !c->known[vec]) {
    place_product(c, block, stmt, depth);
    return;
  }
  uint32_t indices = stmt->compute->num_parallel + stmt->compute->num_reduce;
  onnxc_stmt *choice = onnxc_tile_stmt(c->program, block, ONNXC_STMT_IF);
  onnxc_dim left = onnxc_dim_sub(dims, stmt->compute->extents[vec], stmt->box_lo[vec]);
  choice->condition = onnxc_dim_floordiv(dims, left, onnxc_dim_const(dims, width));
  for (int full = 0; full < 2; full++) {
    onnxc_stmt part = *stmt;
    part.box_size = ONNXC_NEW_ARRAY(c->program->graph->arena, onnxc_dim, indices + 1);
    memcpy(part.box_size, stmt->box_size, indices * sizeof *part.box_size);
    part.box_size[vec] = onnxc_dim_const(dims, full ? width : last);
    place_product(c, full ? &choice->body : &choice->otherwise, &part, depth);
  }
}

/* The step of the loop over an index's blocks. Rows that only a run knows the number of are cut evenly, too. */
static onnxc_dim block_step(const cutter *c, uint32_t index, bool panels) {
  onnxc_dims *dims = &c->program->graph->dims;
  const onnxc_schedule *s = &c->stmt->schedule;
  onnxc_dim most = onnxc_dim_const(dims, c->block[index]);
  if (!panels || (int)index != s->row || c->known[index])
    return most;
  onnxc_dim one = onnxc_dim_const(dims, 1), tile = onnxc_dim_const(dims, s->rows);
  onnxc_dim extent = onnxc_dim_max(dims, c->stmt->compute->extents[index], one);
  onnxc_dim rows = onnxc_dim_ceildiv(dims, extent, onnxc_dim_ceildiv(dims, extent, most));
  return onnxc_dim_mul(dims, onnxc_dim_ceildiv(dims, rows, tile), tile);
}

void onnxc_grid_place(onnxc_tile_program *program, onnxc_block *block, const onnxc_stmt *template) {
  onnxc_graph *graph = program->graph;
  onnxc_dims *dims = &graph->dims;
  onnxc_stmt stmt = *template;
  const onnxc_compute *compute = stmt.compute;
  uint32_t indices = compute->num_parallel + compute->num_reduce;
  onnxc_dim zero = onnxc_dim_const(dims, 0);
  cutter c = {.program = program, .stmt = &stmt};
  stmt.box_lo = ONNXC_NEW_ARRAY(graph->arena, onnxc_dim, indices + 1);
  stmt.box_size = ONNXC_NEW_ARRAY(graph->arena, onnxc_dim, indices + 1);
  for (uint32_t k = 0; k < indices; k++) {
    stmt.box_lo[k] = zero;
    stmt.box_size[k] = compute->extents[k];
    c.known[k] = onnxc_dim_is_const(dims, compute->extents[k], &c.extent[k]);
    if (!c.known[k])
      c.extent[k] = onnxc_dim_hint(dims, compute->extents[k]);
  }
  onnxc_tile_schedule(program, &stmt);
  const onnxc_schedule *s = &stmt.schedule;
  bool product = compute->num_reduce && s->row >= 0 && s->vec >= 0 && s->vec < (int)compute->num_parallel &&
                 onnxc_exprs_node(&graph->exprs, compute->element[0])->op == ONNXC_EXPR_MUL;
  onnxc_blocks blocks;
  bool panels = onnxc_product_blocks(program, &stmt, &blocks);
  if (panels) {
    onnxc_product_tune(program, &stmt, &blocks);
    cut_panels_product(&c, &blocks);
  } else if (product) {
    cut_product(&c);
  } else {
    cut_others(&c);
  }
  for (int pass = 0; pass < 2; pass++) /* panels outermost, so that one stays in L2 for all rows */
    for (uint32_t k = 0; k < compute->num_parallel; k++) {
      uint32_t index = s->order[k];
      if (!c.block[index] || (pass == 0) != ((product || panels) && (int)index == s->vec))
        continue;
      onnxc_dim extent = compute->extents[index], step = block_step(&c, index, panels);
      onnxc_stmt *loop = onnxc_grid_loop(program, block, zero, extent, step);
      onnxc_dim iv = onnxc_dim_sym(dims, loop->iv);
      stmt.box_lo[index] = iv;
      bool whole = c.block[index] == 1 || (c.known[index] && c.extent[index] % c.block[index] == 0);
      stmt.box_size[index] = whole ? step : onnxc_dim_min(dims, step, onnxc_dim_sub(dims, extent, iv));
      block = &loop->body;
    }
  if (panels)
    place_columns(&c, block, &stmt, blocks.depth);
  else
    *onnxc_tile_stmt(program, block, ONNXC_STMT_COMPUTE) = stmt;
}
