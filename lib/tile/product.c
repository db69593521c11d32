/* product.c -- see product.h.
 *
 * A register tile reads a panel of B (kr x width elements a step) and its rows of A. The rows of a task run inside of
 * each panel, so the panel comes from L2 for all but the first of them, and for that one it was fetched by the rows of
 * the panel before (compose_ahead.c). What must stay near is the panel, the next one, and the task's rows:
 *
 *     depth     whole while a panel takes half of L2 or less (a quarter for few row tiles), else parts of an eighth (a
 *               sixteenth)
 *     rows      so many that their part of A fills L2 (whole reductions: they stream through) or a quarter of it
 *               (parts); fewer where there would be too few tasks for many threads
 *     columns   several panels while there are tasks enough: then A's rows stay for all of them. One for few row tiles:
 *               B is read in the order of its memory then, parts and all
 *     ahead     nothing where the CPU does it itself (targets.def, streams), or where the only row tile reads a B that
 *               other products read, too, and that L2 can hold: the steps of a recurrence. It is there already
 *               (256x1024, f32, on Zen 4: 11.8 -> 10.6 microseconds)
 *
 * Measured on Zen 5 (f32, share of the peak): 2048^3 89 -> 96 %, 128x768x3072 89 -> 97 %, 128x3072x768 91 -> 98 %.
 * Copying A's part to where its rows lie close together cost more than it brought in each case.
 */
#include "tile/product.h"

#include "tile/grid.h"

#include <string.h>

enum {
  LINE = 64,         /* bytes */
  NEAR_BYTES = 8192, /* how far ahead a panel is fetched that only one row tile reads */
  COLUMNS = 1024,    /* of a task, at most */
  TASKS = 32,        /* so many are enough for many threads */
  THIN = 4,          /* row tiles: so few read a panel too seldom to bring it near first */
  BATCH = 8,         /* products: so many are tasks enough */
  MANY_ROWS = 16,    /* times the least rows of a task: so many are cut rather than columns */
  LEAST_TILES = 8    /* row tiles of a task */
};
/* Extents are only weighed here: larger ones count as this, so that two multiply without overflow. */
static const int64_t MAX_EXTENT = 1 << 30;

/* The width of B's panels along vec, and the bytes of one of its elements; 0 if it has none. */
static int64_t panel(const onnxc_tile_program *program, const onnxc_stmt *stmt, int64_t *bytes) {
  const onnxc_contraction *roles = &stmt->compute->contraction;
  const onnxc_buffer *b = &program->buffers.data[stmt->operands[roles->b].buffer];
  *bytes = (int64_t)onnxc_dtype_bytes(b->dtype);
  int64_t width = (int64_t)stmt->schedule.vecs * stmt->schedule.lanes;
  for (uint32_t a = b->layout.num_axes; a-- > 0;)
    if (b->layout.axis_size[a] == width)
      return width;
  return 0;
}

static int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

/* Do other products read b, and can it stay in L2 meanwhile? */
static bool stays_near(const onnxc_tile_program *program, const onnxc_stmt *stmt, int64_t columns, int64_t depth,
                       int64_t bytes) {
  onnxc_value b = program->buffers.data[stmt->operands[stmt->compute->contraction.b].buffer].value;
  return program->uses && program->uses[b.i] > 1 && columns * depth <= program->target->l2_bytes / bytes;
}

/* Do the core's prefetchers bring b as fast as one row tile takes it? */
static bool comes_by_itself(const onnxc_target *target, int64_t rows, int64_t columns, int64_t depth, int64_t bytes) {
  return target->streams && (rows > 1 || columns * depth <= target->streams / bytes);
}

/* Parts of nearly equal size, none larger than `most` (rounded up to whole tiles); 0 = one part. */
static int64_t even(int64_t extent, int64_t most, int64_t tile) {
  if (extent <= most + most / 4)
    return 0;
  int64_t parts = (extent + most - 1) / most;
  return round_up((extent + parts - 1) / parts, tile);
}

/* Rows of a task: what of A stays near, fewer where threads would be idle. */
static int64_t task_rows(const onnxc_target *target, const onnxc_schedule *s, int64_t rows, bool known, int64_t columns,
                         int64_t width, int64_t depth, int64_t part, int64_t bytes) {
  int64_t near = (part ? target->l2_bytes / 4 / part : target->l2_bytes / depth) / bytes / s->rows * s->rows;
  int64_t least = LEAST_TILES * (int64_t)s->rows, most = near < least ? least : near;
  int64_t block = known ? even(rows, most, s->rows) : most; /* at most; how many equal parts is for the run to find */
  if (part)
    return block;
  int64_t parts = block ? (rows + block - 1) / block : 1;
  /* Of many rows rather fewer than of columns: each task waits for its rows of A once, but B comes by prefetch. */
  int64_t wide = (columns + COLUMNS - 1) / COLUMNS, wanted = TASKS / wide > 1 ? TASKS / wide : 1;
  if (rows >= MANY_ROWS * least && parts < wanted)
    return even(rows, rows / wanted > 2 * least ? rows / wanted : 2 * least, s->rows);
  if (rows > 4 * least && parts * ((columns + width - 1) / width) < TASKS / (block ? 1 : 2))
    return even(rows, 2 * least, s->rows);
  return block;
}

bool onnxc_product_blocks(const onnxc_tile_program *program, const onnxc_stmt *stmt, onnxc_blocks *blocks) {
  const onnxc_compute *c = stmt->compute;
  const onnxc_schedule *s = &stmt->schedule;
  int64_t bytes, extent[ONNXC_MAX_INDICES];
  *blocks = (onnxc_blocks){0};
  if (!c->contraction.valid || c->num_reduce != 1 || s->vec < 0 || s->vec >= (int)c->num_parallel)
    return false;
  int64_t width = panel(program, stmt, &bytes);
  if (!width)
    return false;
  bool known[ONNXC_MAX_INDICES];
  for (uint32_t k = 0; k <= c->num_parallel; k++) {
    known[k] = onnxc_dim_is_const(&program->graph->dims, stmt->box_size[k], &extent[k]);
    if (!known[k])
      extent[k] = onnxc_dim_hint(&program->graph->dims, stmt->box_size[k]);
    extent[k] = extent[k] < 1 ? 1 : extent[k] < MAX_EXTENT ? extent[k] : MAX_EXTENT;
  }
  int64_t rows = s->row >= 0 ? extent[s->row] : 1, depth = extent[c->num_parallel], columns = extent[s->vec];
  int64_t l2 = program->target->l2_bytes, step = (int64_t)s->unroll * (s->kr > 1 ? s->kr : 1);
  int64_t row_tiles = (rows + s->rows - 1) / s->rows, column_bytes = width * bytes;
  bool thin = row_tiles <= THIN;
  if (known[c->num_parallel] && row_tiles > 1 && depth * column_bytes > (thin ? l2 / 4 : l2 / 2))
    blocks->depth = even(depth, l2 / (thin ? 16 : 8) / column_bytes, step);
  if (s->row >= 0)
    blocks->rows = task_rows(program->target, s, rows, known[s->row], columns, width, depth, blocks->depth, bytes);
  int64_t tasks = blocks->rows ? (rows + blocks->rows - 1) / blocks->rows : 1, batch = 1;
  for (uint32_t k = 0; k < c->num_parallel; k++)
    batch *= (int)k == s->row || (int)k == s->vec || batch > TASKS ? 1 : extent[k];
  int64_t panels = COLUMNS / width > 0 && !thin ? COLUMNS / width : 1;
  /* A batch of some products is left whole, so that a factor that a run packs may be packed in the same tasks. */
  while (panels > 1 && batch < BATCH && batch * tasks * ((columns + panels * width - 1) / (panels * width)) < TASKS)
    panels--;
  int64_t all = (columns + width - 1) / width, cuts = (all + panels - 1) / panels;
  panels = (all + cuts - 1) / cuts; /* as many cuts, evenly */
  blocks->columns = panels * width < columns || !known[s->vec] ? panels * width : 0;
  /* The panel of the next columns, or, where a task has one panel and several parts, the next part. */
  int64_t lines = column_bytes * step / LINE, together = blocks->rows ? blocks->rows / s->rows : row_tiles;
  int64_t next = blocks->depth && panels == 1 ? blocks->depth * column_bytes : depth * column_bytes;
  blocks->ahead_lines = (uint16_t)(together > 1 ? (lines + together - 1) / together : lines);
  blocks->ahead_bytes = (uint32_t)(together > 1 && next < UINT32_MAX ? next
                                   : s->row >= 0                     ? NEAR_BYTES
                                                                     : 2 * NEAR_BYTES);
  if (row_tiles == 1 && (stays_near(program, stmt, columns, depth, bytes) ||
                         comes_by_itself(program->target, rows, columns, depth, bytes)))
    blocks->ahead_lines = 0;
  return true;
}

/* ---- parts of a reduction ---- */

static onnxc_expr load_acc(void *arg, onnxc_exprs *pool, onnxc_expr leaf) {
  const onnxc_stmt *stmt = arg;
  if (onnxc_exprs_node(pool, leaf)->op != ONNXC_EXPR_ACC)
    return (onnxc_expr){0};
  onnxc_expr index[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < stmt->compute->num_parallel; d++)
    index[d] = onnxc_expr_index(pool, d);
  return onnxc_expr_load(pool, stmt->compute->acc_dtype[0], stmt->num_operands, stmt->compute->num_parallel, index);
}

/* A statement over the parallel indices alone: result = value. */
static void pointwise(onnxc_tile_program *program, onnxc_block *block, const onnxc_stmt *stmt, onnxc_expr value,
                      onnxc_operand result) {
  onnxc_arena *arena = program->graph->arena;
  onnxc_compute *c = ONNXC_NEW(arena, onnxc_compute);
  c->num_parallel = stmt->compute->num_parallel;
  c->num_results = 1;
  memcpy(c->extents, stmt->compute->extents, sizeof c->extents);
  c->finish[0] = value;
  onnxc_stmt *made = onnxc_tile_stmt(program, block, ONNXC_STMT_COMPUTE);
  made->compute = c;
  made->num_operands = stmt->num_operands;
  made->operands = stmt->operands;
  made->num_results = 1;
  made->results = ONNXC_NEW(arena, onnxc_operand);
  made->results[0] = result;
  made->box_lo = stmt->box_lo;
  made->box_size = stmt->box_size;
  onnxc_tile_schedule(program, made);
}

/* The parts' sums: in the result's own memory when finish changes nothing. */
static onnxc_operand place_sums(onnxc_tile_program *program, const onnxc_stmt *stmt, const int64_t *most) {
  onnxc_graph *graph = program->graph;
  const onnxc_compute *c = stmt->compute;
  if (onnxc_exprs_node(&graph->exprs, c->finish[0])->op == ONNXC_EXPR_ACC)
    return stmt->results[0];
  onnxc_buffer sums = {.name = "sums",
                       .space = ONNXC_SPACE_SCRATCH,
                       .dtype = c->acc_dtype[0],
                       .rank = c->num_parallel,
                       .dims = ONNXC_NEW_ARRAY(graph->arena, onnxc_dim, c->num_parallel + 1),
                       .ring_dim = -1};
  for (uint32_t d = 0; d < c->num_parallel; d++)
    sums.dims[d] = onnxc_dim_const(&graph->dims, most[d]);
  return (onnxc_operand){.buffer = onnxc_tile_add_buffer(program, &sums), .origin = stmt->box_lo};
}

void onnxc_product_place_parts(onnxc_tile_program *program, onnxc_block *block, const onnxc_stmt *stmt, int64_t depth,
                               const int64_t *most) {
  onnxc_graph *graph = program->graph;
  onnxc_dims *dims = &graph->dims;
  const onnxc_compute *c = stmt->compute;
  uint32_t index = c->num_parallel;
  onnxc_operand sums = place_sums(program, stmt, most);
  pointwise(program, block, stmt, c->init[0], sums);

  onnxc_dim extent = c->extents[index], step = onnxc_dim_const(dims, depth);
  onnxc_stmt *loop = onnxc_grid_loop(program, block, onnxc_dim_const(dims, 0), extent, step);
  loop->parallel = false;
  onnxc_stmt *part = onnxc_tile_stmt(program, &loop->body, ONNXC_STMT_COMPUTE);
  *part = *stmt;
  part->box_lo = ONNXC_NEW_ARRAY(graph->arena, onnxc_dim, index + 1);
  part->box_size = ONNXC_NEW_ARRAY(graph->arena, onnxc_dim, index + 1);
  memcpy(part->box_lo, stmt->box_lo, index * sizeof *part->box_lo);
  memcpy(part->box_size, stmt->box_size, index * sizeof *part->box_size);
  part->box_lo[index] = onnxc_dim_sym(dims, loop->iv);
  int64_t all;
  bool whole = onnxc_dim_is_const(dims, extent, &all) && all % depth == 0;
  onnxc_dim left = onnxc_dim_sub(dims, extent, part->box_lo[index]);
  part->box_size[index] = whole ? step : onnxc_dim_min(dims, step, left);
  part->resume = part->partial = true;
  part->results = ONNXC_NEW(graph->arena, onnxc_operand);
  part->results[0] = sums;
  if (sums.buffer == stmt->results[0].buffer)
    return;
  onnxc_stmt finish = *stmt;
  finish.num_operands = stmt->num_operands + 1;
  finish.operands = ONNXC_NEW_ARRAY(graph->arena, onnxc_operand, finish.num_operands);
  memcpy(finish.operands, stmt->operands, stmt->num_operands * sizeof *finish.operands);
  finish.operands[stmt->num_operands] = sums;
  onnxc_expr value = onnxc_expr_rewrite(&graph->exprs, c->finish[0], load_acc, (void *)(uintptr_t)stmt);
  pointwise(program, block, &finish, value, stmt->results[0]);
}
