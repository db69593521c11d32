/* amounts.c -- how much arithmetic and how many bytes a stage takes, at the least.
 *
 * An operation counts once for each point of the indices that it depends on: what depends on fewer is computed outside
 * of the inner loops, or could be. What no data goes into (index arithmetic, guards) is not counted: it becomes
 * addresses and masks. So these amounts are what no schedule goes below, and time at the machine's peak for them is a
 * roof.
 *
 * The cases, edges and blocks of one compute write the same buffer, and each has its whole extents: it counts once in
 * a stage, and a product also where something else has written the buffer before (the sums of its parts begin as
 * zeros).
 */
#include "emit/facts.h"

struct onnxc_counter {
  const onnxc_tile_program *program;
  onnxc_graph *graph;
  onnxc_arena *arena;
  uint32_t stage;
  uint32_t *counted_in;        /* by buffer: twice the stage + 1 or, by a product, + 2 */
  uint32_t *moved_in;          /* by buffer: the stage + 1 */
  onnxc_dim *moved;            /* bytes of it that the stage reads or writes */
  ONNXC_VEC(uint32_t) touched; /* buffers with a stage in moved_in */
  onnxc_amounts sum;
  onnxc_dim product_ticks, issue_ticks; /* of the multiply-adds' units; of all that is issued */
  /* While an expression is counted: */
  const onnxc_compute *compute;
  ONNXC_VEC(onnxc_expr) list; /* arguments first */
  uint32_t size;              /* of the three, by expression */
  uint32_t *indices;          /* a bit each that it depends on */
  bool *data, *value;         /* data goes into it; it is more than an index */
};

onnxc_counter *onnxc_counter_new(const onnxc_tile_program *program, onnxc_arena *arena) {
  onnxc_counter *c = ONNXC_NEW(arena, onnxc_counter);
  *c = (onnxc_counter){.program = program, .graph = program->graph, .arena = arena};
  c->counted_in = ONNXC_NEW_ARRAY(arena, uint32_t, program->buffers.length);
  c->moved_in = ONNXC_NEW_ARRAY(arena, uint32_t, program->buffers.length);
  c->moved = ONNXC_NEW_ARRAY(arena, onnxc_dim, program->buffers.length);
  c->size = program->graph->exprs.nodes.length;
  c->indices = ONNXC_NEW_ARRAY(arena, uint32_t, c->size);
  c->data = ONNXC_NEW_ARRAY(arena, bool, c->size);
  c->value = ONNXC_NEW_ARRAY(arena, bool, c->size);
  return c;
}

static const onnxc_buffer *buffer_at(const onnxc_counter *c, uint32_t number) {
  return &c->program->buffers.data[number];
}

static void add(onnxc_counter *c, onnxc_dim *sum, onnxc_dim more) { *sum = onnxc_dim_add(&c->graph->dims, *sum, more); }

/* Points of the indices in a set. */
static onnxc_dim points_of(const onnxc_counter *c, const onnxc_compute *compute, uint32_t indices) {
  onnxc_dim points = onnxc_dim_const(&c->graph->dims, 1);
  for (uint32_t k = 0; k < compute->num_parallel + compute->num_reduce; k++)
    if (indices >> k & 1)
      points = onnxc_dim_mul(&c->graph->dims, points, compute->extents[k]);
  return points;
}

static uint32_t all_indices(const onnxc_compute *compute) {
  return (1U << (compute->num_parallel + compute->num_reduce)) - 1;
}
static uint32_t parallel_indices(const onnxc_compute *compute) { return (1U << compute->num_parallel) - 1; }

/* ---- arithmetic ---- */

static void collect(void *arg, const onnxc_exprs *pool, onnxc_expr e) {
  onnxc_counter *c = arg;
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  uint32_t indices = 0;
  bool data = false;
  for (uint32_t k = 0; k < node->num_args; k++) {
    indices |= c->indices[node->args[k].i];
    data |= c->data[node->args[k].i];
  }
  switch ((onnxc_expr_op)node->op) {
  case ONNXC_EXPR_INDEX: indices = 1U << node->imm; break;
  case ONNXC_EXPR_LOAD: data = true; break;
  case ONNXC_EXPR_ACC:
    indices = parallel_indices(c->compute);
    data = true;
    break;
  case ONNXC_EXPR_VAL:
    indices = all_indices(c->compute);
    data = true;
    break;
  default: break;
  }
  c->indices[e.i] = indices;
  c->data[e.i] = data;
  c->value[e.i] = false;
  ONNXC_PUSH(c->arena, c->list, e);
}

/* Operations on vectors of the widest type that goes in or comes out, as many at once as the CPU issues. */
static int64_t issue_ticks(const onnxc_counter *c, const onnxc_expr_node *node) {
  const onnxc_target *target = c->program->target;
  int64_t bytes = 1;
  for (uint32_t k = 0; k <= node->num_args; k++) {
    uint8_t dtype = k == node->num_args ? node->dtype : onnxc_exprs_node(&c->graph->exprs, node->args[k])->dtype;
    int64_t own = (int64_t)onnxc_dtype_bytes((onnxc_dtype)dtype);
    bytes = own > bytes ? own : bytes;
  }
  return ONNXC_CLOCK_TICKS * bytes / ((int64_t)target->vector_bytes * target->vector_ports);
}

static void count_expr(onnxc_counter *c, onnxc_expr root) {
  const onnxc_exprs *pool = &c->graph->exprs;
  if (!root.i)
    return;
  c->list.length = 0;
  onnxc_expr_walk(pool, root, collect, c);
  c->value[root.i] = true;
  for (uint32_t k = c->list.length; k-- > 0;) {
    onnxc_expr e = c->list.data[k];
    const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
    if (!c->value[e.i] || node->op == ONNXC_EXPR_LOAD)
      continue;
    for (uint32_t a = 0; a < node->num_args; a++)
      c->value[node->args[a].i] = true;
    int64_t cost = c->data[e.i] ? onnxc_expr_op_cost((onnxc_expr_op)node->op) : 0;
    if (cost == 0)
      continue;
    onnxc_dim points = points_of(c, c->compute, c->indices[e.i]);
    add(c, &c->sum.operations, onnxc_dim_mulc(&c->graph->dims, points, cost));
    add(c, &c->issue_ticks, onnxc_dim_mulc(&c->graph->dims, points, cost * issue_ticks(c, node)));
  }
}

/* Multiply-adds by the instruction that the statement uses: FMAs, dot products, or what is in a dot product's place
 * (tile/predict.c). */
static void count_product(onnxc_counter *c, const onnxc_stmt *stmt) {
  const onnxc_target *target = c->program->target;
  onnxc_dims *dims = &c->graph->dims;
  onnxc_dim points = points_of(c, stmt->compute, all_indices(stmt->compute));
  int64_t kr = stmt->schedule.kr > 1 ? stmt->schedule.kr : 1, operations = 1, ports = target->fma_ports;
  int64_t lanes = target->vector_bytes / (int64_t)onnxc_dtype_bytes(stmt->compute->acc_dtype[0]);
  bool bytes = stmt->compute->acc_dtype[0] == ONNXC_I32;
  uint32_t dots = bytes ? target->int8_dots : target->bf16_dots;
  if (kr > 1 && dots)
    ports = dots;
  else if (kr > 1)
    operations = bytes ? 3 : 2;
  add(c, &c->sum.flops, onnxc_dim_mulc(dims, points, 2));
  add(c, &c->product_ticks, onnxc_dim_mulc(dims, points, ONNXC_CLOCK_TICKS * operations / (lanes * kr * ports)));
  add(c, &c->issue_ticks,
      onnxc_dim_mulc(dims, points, ONNXC_CLOCK_TICKS * operations / (lanes * kr * target->vector_ports)));
}

static void count_compute(onnxc_counter *c, const onnxc_stmt *stmt) {
  onnxc_dims *dims = &c->graph->dims;
  const onnxc_exprs *exprs = &c->graph->exprs;
  const onnxc_compute *compute = stmt->compute;
  onnxc_dim all = points_of(c, compute, all_indices(compute)), work = all;
  bool product = compute->contraction.valid;
  c->compute = compute;
  if (product) {
    count_product(c, stmt);
  } else {
    int64_t inner = 1, outer = 0;
    for (uint32_t k = 0; k < compute->num_results; k++) {
      inner += compute->num_reduce > 0 ? onnxc_expr_cost(exprs, compute->element[k]) : 0;
      outer += onnxc_expr_cost(exprs, compute->finish[k]);
    }
    work = onnxc_dim_add(dims, onnxc_dim_mulc(dims, all, inner),
                         onnxc_dim_mulc(dims, points_of(c, compute, parallel_indices(compute)), outer));
  }
  add(c, &c->sum.work, work);
  for (uint32_t k = 0; k < compute->num_results; k++) {
    if (compute->num_reduce > 0 && !product) {
      count_expr(c, compute->element[k]);
      count_expr(c, compute->combine[k]);
    }
    count_expr(c, compute->finish[k]);
  }
}

/* ---- bytes ---- */

static onnxc_dim size_of(const onnxc_counter *c, const onnxc_buffer *buffer) {
  onnxc_dim size = onnxc_dim_const(&c->graph->dims, (int64_t)onnxc_dtype_bytes(buffer->dtype));
  for (uint32_t d = 0; d < buffer->rank; d++)
    size = onnxc_dim_mul(&c->graph->dims, size, buffer->dims[d]);
  return size;
}

/* Of several statements, the one that needs the most of a buffer counts. */
static void move(onnxc_counter *c, uint32_t number, onnxc_dim bytes) {
  if (!number || buffer_at(c, number)->space != ONNXC_SPACE_VALUE)
    return;
  if (c->moved_in[number] != c->stage + 1) {
    c->moved_in[number] = c->stage + 1;
    c->moved[number] = bytes;
    ONNXC_PUSH(c->arena, c->touched, number);
  } else if (!onnxc_dim_same(c->moved[number], bytes)) {
    c->moved[number] = onnxc_dim_max(&c->graph->dims, c->moved[number], bytes);
  }
}

typedef struct load_counter {
  const onnxc_counter *c;
  const onnxc_compute *compute;
  uint32_t num_operands;
  onnxc_dim *elements; /* by operand: of all loads */
} load_counter;

static void count_load(void *arg, const onnxc_exprs *pool, onnxc_expr e) {
  const load_counter *l = arg;
  onnxc_dims *dims = &l->c->graph->dims;
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  if (node->op != ONNXC_EXPR_LOAD || node->imm < 0 || node->imm >= (int64_t)l->num_operands)
    return;
  onnxc_dim *elements = &l->elements[node->imm], points = points_of(l->c, l->compute, onnxc_expr_indices(pool, e));
  *elements = elements->i ? onnxc_dim_add(dims, *elements, points) : points;
}

static void move_operands(onnxc_counter *c, const onnxc_stmt *stmt) {
  const onnxc_exprs *pool = &c->graph->exprs;
  const onnxc_compute *compute = stmt->compute;
  load_counter l = {c, compute, stmt->num_operands, ONNXC_NEW_ARRAY(c->arena, onnxc_dim, stmt->num_operands + 1)};
  for (uint32_t k = 0; k < compute->num_results; k++) {
    onnxc_expr roots[] = {compute->init[k], compute->element[k], compute->finish[k]};
    for (uint32_t n = compute->num_reduce ? 0 : 2; n < 3; n++)
      onnxc_expr_walk(pool, roots[n], count_load, &l);
  }
  for (uint32_t k = 0; k < stmt->num_operands; k++) {
    const onnxc_buffer *buffer = buffer_at(c, stmt->operands[k].buffer);
    if (!l.elements[k].i)
      continue;
    onnxc_dim read = onnxc_dim_mulc(&c->graph->dims, l.elements[k], (int64_t)onnxc_dtype_bytes(buffer->dtype));
    move(c, stmt->operands[k].buffer, onnxc_dim_min(&c->graph->dims, read, size_of(c, buffer)));
  }
}

/* ---- stages ---- */

static void count_block(onnxc_counter *c, const onnxc_block *block) {
  for (uint32_t k = 0; k < block->length; k++) {
    const onnxc_stmt *stmt = block->data[k];
    if (stmt->kind == ONNXC_STMT_FOR || stmt->kind == ONNXC_STMT_IF) {
      count_block(c, &stmt->body);
      count_block(c, &stmt->otherwise);
      continue;
    }
    if (stmt->kind == ONNXC_STMT_FILL) /* small */
      continue;
    if (stmt->kind == ONNXC_STMT_COMPUTE)
      move_operands(c, stmt);
    else
      move(c, stmt->operands[0].buffer, size_of(c, buffer_at(c, stmt->results[0].buffer)));
    for (uint32_t j = 0; j < stmt->num_results; j++)
      move(c, stmt->results[j].buffer, size_of(c, buffer_at(c, stmt->results[j].buffer)));
    bool product = stmt->kind == ONNXC_STMT_COMPUTE && stmt->compute->contraction.valid;
    uint32_t *counted = &c->counted_in[stmt->results[0].buffer], mark = 2 * c->stage + (product ? 2 : 1);
    if (*counted >= mark)
      continue;
    *counted = mark;
    if (stmt->kind == ONNXC_STMT_COMPUTE) {
      count_compute(c, stmt);
      continue;
    }
    onnxc_dim elements = onnxc_dim_const(&c->graph->dims, 2);
    const onnxc_buffer *result = buffer_at(c, stmt->results[0].buffer);
    for (uint32_t x = 0; x < result->rank; x++)
      elements = onnxc_dim_mul(&c->graph->dims, elements, result->dims[x]);
    add(c, &c->sum.work, elements);
  }
}

onnxc_amounts onnxc_count_stage(onnxc_counter *c, uint32_t stage) {
  onnxc_dim none = onnxc_dim_const(&c->graph->dims, 0);
  bool *too_complex = &c->graph->dims.too_complex, was_too_complex = *too_complex;
  *too_complex = false;
  c->stage = stage;
  c->sum = (onnxc_amounts){none, none, none, none, none, none};
  c->product_ticks = c->issue_ticks = none;
  c->touched.length = 0;
  count_block(c, &c->program->stages.data[stage].body);
  c->sum.ticks = onnxc_dim_max(&c->graph->dims, c->product_ticks, c->issue_ticks);
  for (uint32_t k = 0; k < c->touched.length; k++) {
    uint32_t number = c->touched.data[k];
    add(c, &c->sum.bytes, c->moved[number]);
    if (onnxc_value_is_constant(c->graph, buffer_at(c, onnxc_tile_root(c->program, number))->value))
      add(c, &c->sum.weight_bytes, c->moved[number]);
  }
  if (*too_complex) /* then nobody knows */
    c->sum = (onnxc_amounts){none, none, none, none, none, none};
  *too_complex = was_too_complex;
  return c->sum;
}
