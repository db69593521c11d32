/* predict.c -- see predict.h.
 *
 * Three sums are made over all tasks of the stage and then put together:
 *
 *   work      the steps of all register tiles, each as long as its multiply-adds, its loads or the latency of an
 *             accumulator take, whichever is longest; narrower tiles at the edges of rows and lanes are counted as
 *             they are
 *   around    what a tile, a panel and a task cost besides: filling the pipeline, finish, sums that wait between parts
 *   transfer  lines that come from L2, L3 and memory. Which level holds what is read again follows from the bytes that
 *             are used in between: the panel by each row of tiles, the task's rows by each panel, the packed factor by
 *             each block of rows
 *
 * Transfers run beside the work, as the panel that comes next is fetched while one is used, but not quite for nothing:
 *
 *     cycles = around + max(work, transfer) + OVERLAP * min(work, transfer)
 *
 * The constants come from measurements on Zen 5; bandwidths are facts of the target's row.
 */
#include "tile/predict.h"

#include <math.h>

static const double MAX_BLOCK = 0x1p62; /* what is told of longer ones */
static const double OVERLAP = 0.04;     /* of a transfer that the work hides, or the other way round */
static const double TILE = 14;          /* clocks: loop, first loads, last sums */
static const double TASK = 100;         /* finding the task, its loops */
static const double STAGE = 300;        /* starting */
static const double OPERATION = 0.5;    /* of an epilogue, a vector: they do not fill the ports */

typedef struct model {
  const onnxc_target *target;
  const onnxc_stmt *stmt;
  double rows, columns, others; /* extents */
  double depth;                 /* steps of the whole reduction */
  double task_rows, task_columns, part;
  double operations, latency;     /* of a step of one accumulator: instructions; clocks until the next */
  double ports, load_ports;       /* operations and loads begun in a clock */
  double splats, vectors, own;    /* loads of a step: each row's, each vector's, each accumulator's */
  double converts;                /* of a step's vectors */
  double row_bytes, column_bytes; /* of a row and of a column of the factors, a step */
  double factor_bytes;            /* all of the factor along the lanes */
  double all_bytes, result_bytes; /* of all operands and results; of a result's element */
  double finish;                  /* operations of the epilogue, a vector */
  bool rows_inside, in_parts;
} model;

/* ---- what the stage does ---- */

static const onnxc_stmt *find_contraction(const onnxc_block *block) {
  for (uint32_t i = 0; i < block->length; i++) {
    const onnxc_stmt *stmt = block->data[i], *found = NULL;
    if (stmt->kind == ONNXC_STMT_COMPUTE && stmt->compute && stmt->compute->contraction.valid)
      return stmt;
    if (stmt->kind == ONNXC_STMT_FOR || stmt->kind == ONNXC_STMT_IF)
      found = find_contraction(&stmt->body);
    if (found)
      return found;
  }
  return NULL;
}

static double at_hint(const onnxc_tile_program *program, onnxc_dim dim) {
  int64_t value = onnxc_dim_hint(&program->graph->dims, dim);
  return value > 0 ? (double)value : 1;
}

static double buffer_bytes(const onnxc_tile_program *program, const onnxc_operand *operand) {
  const onnxc_buffer *buffer = &program->buffers.data[operand->buffer];
  double bytes = operand->buffer ? (double)onnxc_dtype_bytes(buffer->dtype) : 0;
  for (uint32_t d = 0; d < buffer->rank; d++)
    bytes *= at_hint(program, buffer->dims[d]);
  return bytes;
}

typedef struct factors {
  const onnxc_tile_program *program;
  model *m;
} factors;

static void count_load(void *arg, const onnxc_exprs *pool, onnxc_expr e) {
  const factors *f = arg;
  model *m = f->m;
  const onnxc_stmt *stmt = m->stmt;
  const onnxc_schedule *s = &stmt->schedule;
  const onnxc_expr_node *load = onnxc_exprs_node(pool, e);
  if (load->op != ONNXC_EXPR_LOAD || load->imm < 0 || load->imm >= stmt->num_operands)
    return;
  const onnxc_buffer *buffer = &f->program->buffers.data[stmt->operands[load->imm].buffer];
  double bytes = (double)onnxc_dtype_bytes(buffer->dtype), kr = s->kr > 1 ? s->kr : 1;
  bool row = s->row >= 0 && onnxc_expr_uses_index(pool, e, (uint32_t)s->row);
  bool vec = onnxc_expr_uses_index(pool, e, (uint32_t)s->vec);
  bool narrow = kr <= 1 && buffer->dtype != stmt->compute->acc_dtype[0];
  if (vec) {
    onnxc_layout layout = onnxc_layout_explicit(&buffer->layout, buffer->rank);
    uint32_t inner = layout.num_axes ? layout.axis_dim[layout.num_axes - 1] : 0;
    bool jumps = kr <= 1 && inner < load->num_args && !onnxc_expr_uses_index(pool, load->args[inner], (uint32_t)s->vec);
    *(row ? &m->own : &m->vectors) += jumps ? s->lanes : 1;
    m->column_bytes = bytes * kr;
    m->factor_bytes = buffer_bytes(f->program, &stmt->operands[load->imm]);
    m->converts += narrow ? 1 : 0;
  } else {
    m->splats += row ? 1 : 0;
    m->row_bytes = row ? bytes * kr : m->row_bytes;
  }
}

/* What a step of one accumulator is. Where a dot product is several instructions (nano/compose_dot.c) it takes two FMAs
 * (bf16), or two multiplications and two additions (bytes), of which half go to other ports; as measured, splitting the
 * factors does too. The sums follow each other by FMAs or by additions, of a clock each. */
static void choose_mechanism(const onnxc_tile_program *program, model *m) {
  const onnxc_target *target = program->target;
  uint32_t kr = m->stmt->schedule.kr > 1 ? m->stmt->schedule.kr : 1;
  bool bytes = m->stmt->compute->acc_dtype[0] == ONNXC_I32;
  uint32_t dots = bytes ? target->int8_dots : target->bf16_dots;
  uint32_t whole = onnxc_target_lanes(target, (uint32_t)onnxc_dtype_bytes(m->stmt->compute->acc_dtype[0]));
  bool half = m->stmt->schedule.lanes * 2u <= whole && onnxc_target_halves(target);
  bool composed = kr > 1 && !dots;
  m->operations = !composed ? 1 : bytes ? 3 : 2;
  m->ports = (kr > 1 && dots ? dots : target->fma_ports) * (half ? 2 : 1);
  m->load_ports = target->load_ports * (half ? 2 : 1);
  m->latency = composed ? (bytes ? 2 : 2 * target->fma_latency) : target->fma_latency;
}

static bool describe(const onnxc_tile_program *program, model *m) {
  const onnxc_stmt *stmt = m->stmt;
  const onnxc_compute *c = stmt->compute;
  const onnxc_schedule *s = &stmt->schedule;
  const onnxc_exprs *pool = &program->graph->exprs;
  if (s->vec < 0 || s->vec >= (int)c->num_parallel || s->row >= (int)c->num_parallel || c->num_reduce == 0 ||
      c->num_results != 1 || !s->lanes || !s->vecs || !s->rows)
    return false;
  double kr = s->kr > 1 ? s->kr : 1;
  uint32_t at_row = 0, at_vec = 0;
  m->rows = m->others = m->depth = m->part = 1;
  for (uint32_t k = 0; k < c->num_parallel + c->num_reduce; k++) {
    double extent = at_hint(program, c->extents[k]), box = at_hint(program, stmt->box_size[k]);
    if (k >= c->num_parallel) {
      m->depth *= extent;
      m->part *= box;
    } else if ((int)k == s->vec) {
      m->columns = extent;
      m->task_columns = fmin(box, extent);
    } else if ((int)k == s->row) {
      m->rows = extent;
      m->task_rows = fmin(box, extent);
    } else {
      m->others *= extent;
    }
    at_row = (int)s->order[k] == s->row ? k : at_row;
    at_vec = (int)s->order[k] == s->vec ? k : at_vec;
  }
  if (s->row < 0)
    m->task_rows = 1;
  m->rows_inside = s->row < 0 || at_vec < at_row;
  m->in_parts = stmt->partial;
  m->depth = ceil(m->depth / kr);
  m->part = fmin(ceil(m->part / kr), m->depth);
  factors f = {program, m};
  onnxc_expr_walk(pool, c->element[0], count_load, &f);
  for (uint32_t k = 0; k < stmt->num_operands; k++)
    m->all_bytes += buffer_bytes(program, &stmt->operands[k]);
  for (uint32_t k = 0; k < stmt->num_results; k++)
    m->all_bytes += buffer_bytes(program, &stmt->results[k]);
  m->result_bytes = (double)onnxc_dtype_bytes(program->buffers.data[stmt->results[0].buffer].dtype);
  m->finish = onnxc_expr_cost(pool, c->finish[0]);
  choose_mechanism(program, m);
  return true;
}

/* ---- the sums ---- */

typedef struct sums {
  double work, ideal;            /* ideal: of full registers, all ports busy */
  double latency, loads;         /* what of the work these two lengthened */
  double calls, finish;          /* around */
  double transfer[3], levels[3]; /* L2, L3, memory: clocks; bytes a clock */
} sums;

/* Where `bytes` that are read again are by then: -1 in L1. */
static int level_of(const onnxc_target *target, double bytes) {
  return bytes <= 0.75 * target->l1_bytes  ? -1
         : bytes <= 0.9 * target->l2_bytes ? 0
         : bytes <= target->l3_bytes       ? 1
                                           : 2;
}

static void transfer(sums *sum, int level, double bytes) {
  if (level >= 0)
    sum->transfer[level] += bytes / sum->levels[level];
}

/* `tiles` register tiles of rows x vecs through one part of the reduction. */
static void add_tiles(const model *m, sums *sum, double tiles, double rows, double vecs) {
  double accumulators = rows * vecs, steps = tiles * m->part;
  double operations = accumulators * m->operations + vecs * m->converts;
  double loads = rows * m->splats + vecs * m->vectors + accumulators * m->own;
  double busy = operations / m->ports, loading = loads / m->load_ports;
  double waiting = m->latency; /* each accumulator's sums follow each other */
  sum->work += steps * fmax(busy, fmax(loading, waiting));
  sum->loads += steps * fmax(0, loading - fmax(busy, waiting));
  sum->latency += steps * fmax(0, waiting - fmax(busy, loading));
  sum->calls += tiles * (TILE + (m->in_parts ? 2 : 1) * accumulators);
}

/* All tiles of `rows` rows by one panel of `vecs` vectors, `times` over. */
static void add_panel(const model *m, sums *sum, double rows, double vecs, double times) {
  const onnxc_schedule *s = &m->stmt->schedule;
  double full = floor(rows / s->rows), rest = rows - full * s->rows;
  add_tiles(m, sum, times * full, s->rows, vecs);
  if (rest > 0)
    add_tiles(m, sum, times, rest, vecs);
}

/* One task's block of rows x columns, through the whole reduction. `times`: how many such tasks there are. */
static void add_task(const model *m, sums *sum, double rows, double columns, double times) {
  const onnxc_schedule *s = &m->stmt->schedule;
  const onnxc_target *target = m->target;
  double width = (double)s->vecs * s->lanes, panels = floor(columns / width), rest = columns - panels * width;
  double parts = ceil(m->depth / m->part), row_tiles = ceil(rows / s->rows), all_panels = ceil(columns / width);
  double vectors = rows * ceil(columns / s->lanes);
  times *= m->others;
  add_panel(m, sum, rows, s->vecs, times * parts * panels);
  if (rest > 0)
    add_panel(m, sum, rows, ceil(rest / s->lanes), times * parts);
  sum->calls += times * TASK;
  sum->finish += times * vectors * m->finish * OPERATION;
  if (m->in_parts) /* one pass that clears the sums, one that finishes them */
    sum->calls += times * vectors * 2;
  double panel = m->part * width * m->column_bytes, near = rows * m->part * m->row_bytes;
  double tile = s->rows * m->part * m->row_bytes, passes = times * parts;
  if (m->rows_inside) {
    transfer(sum, level_of(target, panel + tile), passes * all_panels * panel * (row_tiles - 1));
    transfer(sum, level_of(target, 2 * panel + near), passes * (all_panels - 1) * near);
  } else {
    transfer(sum, level_of(target, panel * all_panels + tile), passes * all_panels * panel * (row_tiles - 1));
  }
}

static sums add_up(const onnxc_tile_program *program, const model *m) {
  const onnxc_target *target = program->target;
  sums sum = {.levels = {target->l2_bandwidth, target->l3_bandwidth, target->memory_bandwidth}, .calls = STAGE};
  double row_blocks = floor(m->rows / m->task_rows), column_blocks = floor(m->columns / m->task_columns);
  double last_rows = m->rows - row_blocks * m->task_rows, last_columns = m->columns - column_blocks * m->task_columns;
  add_task(m, &sum, m->task_rows, m->task_columns, row_blocks * column_blocks);
  if (last_rows > 0)
    add_task(m, &sum, last_rows, m->task_columns, column_blocks);
  if (last_columns > 0)
    add_task(m, &sum, m->task_rows, last_columns, row_blocks);
  if (last_rows > 0 && last_columns > 0)
    add_task(m, &sum, last_rows, last_columns, 1);
  /* The first reads of what lies outside, and writing the result. */
  int outside = level_of(target, m->all_bytes);
  double blocks = ceil(m->rows / m->task_rows), all_columns = ceil(m->columns / m->task_columns);
  double rows_bytes = m->rows * m->others * m->depth * m->row_bytes;
  double block = m->task_columns * m->depth * m->column_bytes + m->task_rows * m->depth * m->row_bytes;
  transfer(&sum, outside, m->factor_bytes + 2 * m->rows * m->columns * m->others * m->result_bytes);
  transfer(&sum, outside, fmin(rows_bytes, m->all_bytes));
  transfer(&sum, level_of(target, block), m->factor_bytes * (blocks - 1));
  transfer(&sum, level_of(target, rows_bytes + block), fmin(rows_bytes, m->all_bytes) * (all_columns - 1));
  sum.ideal = m->rows * m->columns / m->stmt->schedule.lanes * m->others * m->depth * m->operations / m->ports;
  return sum;
}

static const char *find_bound(const model *m, const sums *sum, double moving) {
  static const char *const levels[] = {"L2", "L3", "memory"};
  if (moving > sum->work && moving > sum->calls + sum->finish) {
    int most = 0;
    for (int k = 1; k < 3; k++)
      most = sum->transfer[k] > sum->transfer[most] ? k : most;
    return levels[most];
  }
  double wasted = sum->work - sum->ideal - sum->loads - sum->latency, useful = sum->ideal;
  if (sum->calls > useful)
    return "calls";
  if (sum->finish > useful)
    return "epilogue";
  if (fmax(sum->loads, fmax(sum->latency, wasted)) > useful / 2)
    return sum->loads > wasted ? (sum->loads > sum->latency ? "loads" : "latency")
                               : (sum->latency > wasted ? "latency" : "edges");
  return m->stmt->schedule.kr > 1 ? "dot" : "fma";
}

bool onnxc_predict(const onnxc_tile_program *program, const onnxc_stage *stage, onnxc_prediction *prediction) {
  model m = {.target = program->target, .stmt = find_contraction(&stage->body)};
  if (!m.target || !m.stmt || !describe(program, &m))
    return false;
  sums sum = add_up(program, &m);
  double moving = sum.transfer[0] + sum.transfer[1] + sum.transfer[2];
  double cycles = sum.calls + sum.finish + fmax(sum.work, moving) + OVERLAP * fmin(sum.work, moving);
  *prediction = (onnxc_prediction){
      .cycles = cycles,
      .share = sum.ideal / cycles,
      .bound = find_bound(&m, &sum, moving),
      .stmt = m.stmt,
      .rows = m.task_rows < m.rows ? (int64_t)m.task_rows : 0,
      .columns = m.task_columns < m.columns ? (int64_t)m.task_columns : 0,
      .depth = m.part < m.depth ? (int64_t)fmin(m.part * (m.stmt->schedule.kr > 1 ? m.stmt->schedule.kr : 1), MAX_BLOCK)
                                : 0};
  return true;
}

const char *onnxc_prediction_text(onnxc_arena *arena, const onnxc_prediction *p) {
  const onnxc_schedule *s = &p->stmt->schedule;
  onnxc_text text;
  onnxc_text_init(&text, arena);
  onnxc_text_printf(&text, "tile %ux%u %s", s->rows, s->vecs, onnxc_dtype_name(p->stmt->compute->acc_dtype[0]));
  if (s->kr > 1)
    onnxc_text_printf(&text, ", dot products of %u", s->kr);
  if (p->depth)
    onnxc_text_printf(&text, ", parts of %lld", (long long)p->depth);
  if (p->columns)
    onnxc_text_printf(&text, ", blocks of %lld columns", (long long)p->columns);
  if (p->rows)
    onnxc_text_printf(&text, ", rows in blocks of %lld", (long long)p->rows);
  onnxc_text_printf(&text, ": predicted %.0f %% of the peak (bound by %s)", 100 * p->share, p->bound);
  return text.data;
}
