/* verify.c -- the invariants of tile programs.
 *
 *   T1  Buffers have a dtype, dims that are there and a layout of their rank; a VALUE buffer names a value; a view lies
 *       in an earlier or later buffer of its space, never in itself, and at its beginning if their elements differ in
 *       size. A statement's buffers exist; its compute is well typed (G5) over them; a result has the parallel rank
 *       and the dtype of its finish -- the accumulator's when the statement resumes or is partial, which only a
 *       reduction may be. Boxes and origins are there; a constant box lies within its constant extent. A copy's two
 *       buffers agree in rank and dtype.
 *   T2  A symbol of source LOOP is bound by one loop around its uses, and by one only.
 *   T3  Parallel loops stand outermost in a stage, each alone in the body of the one around it.
 *   T4  In statement order, SCRATCH and STATE buffers (through views too) are written before they are read. What only
 *       one arm of an `if` writes does not count behind it; a loop's body counts.
 *   T5  order is a permutation, parallel indices first; row and phase are parallel indices, not vec nor each other;
 *       rows, vecs and lanes are at least 1; the accumulators of a register tile fit the target's registers.
 *   T6  kr is 1, or a step takes kr elements as a dot product (dot.h): a sum of products of two loads cast to the
 *       accumulator's type, of types that have one; one contiguous, the other in blocks of vec's panel by kr.
 *   T7  The VALUE buffers that a stage writes have one condition, or none has one.
 */
#include "ir/verify.h"
#include "tile/dot.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct verifier {
  const onnxc_tile_program *program;
  const onnxc_graph *graph;
  onnxc_status status;
  const char *where; /* stage */
  uint32_t errors;
  bool *in_scope, *bound; /* by symbol */
  bool *written;          /* by buffer */
  bool wrote;             /* a VALUE buffer in this stage, of this condition */
  onnxc_dim condition;
} verifier;

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static void
fail(verifier *v, const char *format, ...) {
  char message[300];
  va_list args;
  if (v->errors++ >= 20)
    return;
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  v->status = onnxc_error(v->graph->diag, ONNXC_INTERNAL, "tile program, %s: %s", v->where, message);
}

static const onnxc_buffer *buffer_at(const verifier *v, uint32_t number) { return &v->program->buffers.data[number]; }
static const char *name_of(const verifier *v, uint32_t number) {
  const char *name = buffer_at(v, number)->name;
  return name ? name : "?";
}

/* ---- dims: T2 ---- */

static void check_dim(verifier *v, onnxc_dim dim, const char *what) {
  const onnxc_dims *dims = &v->graph->dims;
  if (!dim.i || dim.i >= dims->nodes.length) {
    fail(v, "T1: %s is none", what);
    return;
  }
  const onnxc_dim_node *node = onnxc_dims_node(dims, dim);
  if (node->kind == ONNXC_DIM_SYM && dims->symbols.data[node->sym.i].source == ONNXC_SYM_LOOP &&
      !v->in_scope[node->sym.i])
    fail(v, "T2: %s uses %%%s outside its loop", what, dims->symbols.data[node->sym.i].name);
  for (uint32_t i = 0; i < node->num_terms; i++)
    check_dim(v, node->terms[i].atom, what);
  if (node->a.i) {
    check_dim(v, node->a, what);
    check_dim(v, node->b, what);
  }
}

static void check_expr_dims(void *arg, const onnxc_exprs *pool, onnxc_expr e) {
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  if (node->op == ONNXC_EXPR_DIM)
    check_dim(arg, (onnxc_dim){(uint32_t)node->imm}, "an expression");
}

/* ---- buffers ---- */

static uint32_t root_of(const verifier *v, uint32_t number) {
  uint32_t steps = 0;
  uint32_t count = v->program->buffers.length;
  while (buffer_at(v, number)->alias && buffer_at(v, number)->alias < count && steps++ < count)
    number = buffer_at(v, number)->alias;
  return number;
}

static bool layout_fits(const onnxc_layout *layout, uint32_t rank) {
  bool seen[ONNXC_MAX_RANK] = {0};
  uint32_t found = 0;
  for (uint32_t a = 0; a < layout->num_axes; a++) {
    uint32_t d = layout->axis_dim[a];
    if (d >= rank || seen[d] != (layout->axis_size[a] != 0))
      return false;
    found += !seen[d];
    seen[d] = true;
  }
  return layout->num_axes == 0 || found == rank;
}

static bool is_one_of(const onnxc_value *values, uint32_t count, onnxc_value value) {
  for (uint32_t k = 0; k < count; k++)
    if (values[k].i == value.i)
      return true;
  return false;
}

static void check_condition(verifier *v, const onnxc_buffer *buffer, const char *name) {
  const onnxc_graph *graph = v->graph;
  check_dim(v, buffer->condition, name);
  if (!onnxc_dim_is_of_inputs(graph, buffer->condition))
    fail(v, "T1: the condition of %s is not known before a run starts", name);
  if (buffer->space != ONNXC_SPACE_VALUE || is_one_of(graph->inputs.data, graph->inputs.length, buffer->value) ||
      is_one_of(graph->outputs.data, graph->outputs.length, buffer->value))
    fail(v, "T1: %s must always be there", name);
}

static void check_buffer(verifier *v, uint32_t number) {
  const onnxc_buffer *buffer = buffer_at(v, number);
  const char *name = name_of(v, number);
  if (!onnxc_dtype_bytes(buffer->dtype) || buffer->rank > ONNXC_MAX_RANK) {
    fail(v, "T1: %s has no dtype or too high a rank", name);
    return;
  }
  if (buffer->layout.num_axes > ONNXC_LAYOUT_MAX_AXES || !layout_fits(&buffer->layout, buffer->rank))
    fail(v, "T1: the layout of %s does not fit its rank", name);
  for (uint32_t d = 0; d < buffer->rank; d++) {
    check_dim(v, buffer->dims[d], name);
    if (buffer->alias_dims)
      check_dim(v, buffer->alias_dims[d], name);
  }
  if (buffer->space == ONNXC_SPACE_VALUE && (!buffer->value.i || buffer->value.i >= v->graph->values.length))
    fail(v, "T1: %s names no value", name);
  if (buffer->condition.i)
    check_condition(v, buffer, name);
  if (buffer->ring_dim >= (int)buffer->rank || (buffer->ring_dim >= 0 && buffer->space == ONNXC_SPACE_VALUE))
    fail(v, "T1: %s cannot be a ring", name);
  if (!buffer->alias)
    return;
  check_dim(v, buffer->alias_offset, name);
  if (buffer->alias >= v->program->buffers.length || buffer_at(v, root_of(v, number))->alias)
    fail(v, "T1: %s is a view of nothing", name);
  else if (buffer_at(v, buffer->alias)->space != buffer->space)
    fail(v, "T1: %s differs in space from what it is a view of", name);
  else if (onnxc_dtype_bytes(buffer_at(v, buffer->alias)->dtype) != onnxc_dtype_bytes(buffer->dtype) &&
           !onnxc_dim_is(&v->graph->dims, buffer->alias_offset, 0))
    fail(v, "T1: %s begins within what it is a view of, in elements of another size", name);
}

/* ---- statements: T1, T4 ---- */

static bool check_operand(verifier *v, const onnxc_operand *operand, const char *what) {
  if (!operand->buffer || operand->buffer >= v->program->buffers.length) {
    fail(v, "T1: %s is no buffer", what);
    return false;
  }
  for (uint32_t d = 0; operand->origin && d < buffer_at(v, operand->buffer)->rank; d++)
    check_dim(v, operand->origin[d], "an origin");
  return true;
}

static void reads(verifier *v, uint32_t number) {
  uint32_t root = root_of(v, number);
  if (buffer_at(v, root)->space != ONNXC_SPACE_VALUE && !v->written[root])
    fail(v, "T4: %s is read before it is written", name_of(v, number));
}

static void writes(verifier *v, uint32_t number) {
  uint32_t root = root_of(v, number);
  const onnxc_buffer *buffer = buffer_at(v, root);
  v->written[root] = true;
  if (buffer->space != ONNXC_SPACE_VALUE)
    return;
  if (onnxc_value_is_constant(v->graph, buffer->value))
    fail(v, "T1: the constant %s is written", name_of(v, number));
  onnxc_dim condition = buffer_at(v, number)->condition;
  if (v->wrote && !onnxc_dim_same(condition, v->condition))
    fail(v, "T7: %s is there under another condition than what else the stage writes", name_of(v, number));
  v->wrote = true;
  v->condition = condition;
}

static void check_box(verifier *v, const onnxc_stmt *stmt, uint32_t count, const onnxc_dim *extents) {
  const onnxc_dims *dims = &v->graph->dims;
  if (!stmt->box_lo || !stmt->box_size) {
    fail(v, "T1: a statement without a box");
    return;
  }
  for (uint32_t k = 0; k < count; k++) {
    int64_t lo, size, extent;
    check_dim(v, stmt->box_lo[k], "a box");
    check_dim(v, stmt->box_size[k], "a box");
    if (onnxc_dim_is_const(dims, stmt->box_lo[k], &lo) && onnxc_dim_is_const(dims, stmt->box_size[k], &size) &&
        onnxc_dim_is_const(dims, extents[k], &extent) && (lo < 0 || size < 0 || lo > extent - size))
      fail(v, "T1: the box %lld + %lld of index %u leaves its extent %lld", (long long)lo, (long long)size, k,
           (long long)extent);
  }
}

static void check_schedule(verifier *v, const onnxc_stmt *stmt) {
  const onnxc_schedule *s = &stmt->schedule;
  const onnxc_compute *compute = stmt->compute;
  uint32_t parallel = compute->num_parallel, all = parallel + compute->num_reduce;
  bool seen[ONNXC_MAX_INDICES] = {0};
  for (uint32_t k = 0; k < all; k++) {
    bool fits = s->order[k] < all && !seen[s->order[k]] && (s->order[k] < parallel) == (k < parallel);
    if (!fits) {
      fail(v, "T5: order is no permutation with the parallel indices first");
      break;
    }
    seen[s->order[k]] = true;
  }
  if (s->row >= (int)parallel || s->vec >= (int)all || (s->row >= 0 && s->row == s->vec))
    fail(v, "T5: row or vec is no index, or both are one");
  if (s->phases && (s->phase >= parallel || (int)s->phase == s->row || (int)s->phase == s->vec))
    fail(v, "T5: phase is no parallel index besides row and vec");
  if (!s->rows || !s->vecs || !s->lanes)
    fail(v, "T5: rows, vecs and lanes must be at least 1");
  if (!s->kr)
    fail(v, "T6: kr must be at least 1");
  const onnxc_target *target = v->program->target;
  if (!target || s->vec < 0 || compute->num_reduce == 0)
    return;
  uint32_t vectors = (uint32_t)s->rows * s->vecs;
  if (compute->contraction.valid && s->vec < (int)parallel)
    vectors = vectors * compute->num_results + s->vecs;
  if (vectors > target->num_vectors)
    fail(v, "T5: a tile of %u x %u vectors does not fit %u registers", s->rows, s->vecs, target->num_vectors);
}

static void check_dot(verifier *v, const onnxc_stmt *stmt) {
  onnxc_dot dot;
  if (stmt->schedule.kr < 2 || v->errors > 0)
    return;
  const char *error = onnxc_dot_of(v->program, stmt, &dot);
  if (error)
    fail(v, "T6: kr is %u, but %s", stmt->schedule.kr, error);
}

static void check_compute(verifier *v, const onnxc_stmt *stmt) {
  const onnxc_compute *compute = stmt->compute;
  const onnxc_exprs *pool = &v->graph->exprs;
  onnxc_dtype *dtypes = ONNXC_NEW_ARRAY(v->graph->arena, onnxc_dtype, stmt->num_operands);
  uint32_t *ranks = ONNXC_NEW_ARRAY(v->graph->arena, uint32_t, stmt->num_operands);
  if (!compute) {
    fail(v, "T1: a compute statement without a compute");
    return;
  }
  bool fine = true;
  for (uint32_t k = 0; k < stmt->num_operands; k++) {
    if (!stmt->operands[k].buffer)
      continue; /* absent: a load of it is refused below */
    fine &= check_operand(v, &stmt->operands[k], "an operand");
    if (!fine)
      return;
    dtypes[k] = buffer_at(v, stmt->operands[k].buffer)->dtype;
    ranks[k] = buffer_at(v, stmt->operands[k].buffer)->rank;
  }
  const char *error = onnxc_compute_check(pool, compute, stmt->num_operands, dtypes, ranks);
  if (error) {
    fail(v, "T1: %s", error);
    return;
  }
  uint32_t all = compute->num_parallel + compute->num_reduce;
  if (stmt->num_results != compute->num_results) {
    fail(v, "T1: %u results of a compute with %u", stmt->num_results, compute->num_results);
    return;
  }
  bool raw = stmt->resume || stmt->partial;
  if (raw && compute->num_reduce == 0)
    fail(v, "T1: resume and partial need a reduction");
  for (uint32_t k = 0; k < all; k++)
    check_dim(v, compute->extents[k], "an extent");
  check_box(v, stmt, all, compute->extents);
  check_schedule(v, stmt);
  check_dot(v, stmt);
  for (uint32_t k = 0; k < stmt->num_operands; k++)
    if (stmt->operands[k].buffer)
      reads(v, stmt->operands[k].buffer);
  for (uint32_t j = 0; j < stmt->num_results; j++) {
    const onnxc_expr roots[] = {compute->finish[j], compute->element[j], compute->init[j]};
    for (uint32_t r = 0; r < (compute->num_reduce ? 3 : 1); r++)
      onnxc_expr_walk(pool, roots[r], check_expr_dims, v);
    if (!check_operand(v, &stmt->results[j], "a result"))
      continue;
    const onnxc_buffer *buffer = buffer_at(v, stmt->results[j].buffer);
    onnxc_dtype finished = (onnxc_dtype)onnxc_exprs_node(pool, compute->finish[j])->dtype;
    if (buffer->rank != compute->num_parallel)
      fail(v, "T1: result %s differs in rank from the parallel indices", name_of(v, stmt->results[j].buffer));
    if ((!stmt->partial && buffer->dtype != finished) || (raw && buffer->dtype != compute->acc_dtype[j]))
      fail(v, "T1: result %s has the wrong dtype", name_of(v, stmt->results[j].buffer));
    if (stmt->resume)
      reads(v, stmt->results[j].buffer);
  }
  for (uint32_t j = 0; j < stmt->num_results; j++)
    if (stmt->results[j].buffer && stmt->results[j].buffer < v->program->buffers.length)
      writes(v, stmt->results[j].buffer);
}

static void check_copy(verifier *v, const onnxc_stmt *stmt) {
  if (stmt->num_operands != 1 || stmt->num_results != 1 || !check_operand(v, &stmt->operands[0], "a copy's source") ||
      !check_operand(v, &stmt->results[0], "a copy's target")) {
    fail(v, "T1: a copy takes one buffer to one");
    return;
  }
  const onnxc_buffer *from = buffer_at(v, stmt->operands[0].buffer), *to = buffer_at(v, stmt->results[0].buffer);
  if (from->rank != to->rank || from->dtype != to->dtype) {
    fail(v, "T1: a copy between %s and %s, which differ in rank or dtype", name_of(v, stmt->operands[0].buffer),
         name_of(v, stmt->results[0].buffer));
    return;
  }
  for (uint32_t d = 0; stmt->box_lo && stmt->box_size && d < to->rank; d++) {
    check_dim(v, stmt->box_lo[d], "a box");
    check_dim(v, stmt->box_size[d], "a box");
  }
  if (!stmt->box_lo || !stmt->box_size)
    fail(v, "T1: a statement without a box");
  reads(v, stmt->operands[0].buffer);
  writes(v, stmt->results[0].buffer);
}

static void check_block(verifier *v, const onnxc_block *block, bool grid);

static void check_loop(verifier *v, const onnxc_stmt *stmt, bool grid) {
  const onnxc_dims *dims = &v->graph->dims;
  check_dim(v, stmt->lo, "a loop's bound");
  check_dim(v, stmt->hi, "a loop's bound");
  check_dim(v, stmt->step, "a loop's step");
  if (onnxc_dim_is(dims, stmt->step, 0))
    fail(v, "T1: a loop that does not step");
  if (!stmt->iv.i || stmt->iv.i >= dims->symbols.length || dims->symbols.data[stmt->iv.i].source != ONNXC_SYM_LOOP ||
      v->bound[stmt->iv.i]) {
    fail(v, "T2: a loop without a variable of its own");
    return;
  }
  if (stmt->parallel && !grid)
    fail(v, "T3: a parallel loop inside of something else");
  v->bound[stmt->iv.i] = v->in_scope[stmt->iv.i] = true;
  check_block(v, &stmt->body, stmt->parallel && grid);
  v->in_scope[stmt->iv.i] = false;
}

static void check_if(verifier *v, const onnxc_stmt *stmt) {
  uint32_t count = v->program->buffers.length;
  check_dim(v, stmt->condition, "a condition");
  bool *before = ONNXC_NEW_ARRAY(v->graph->arena, bool, count), *then = ONNXC_NEW_ARRAY(v->graph->arena, bool, count);
  memcpy(before, v->written, count);
  check_block(v, &stmt->body, false);
  memcpy(then, v->written, count);
  memcpy(v->written, before, count);
  check_block(v, &stmt->otherwise, false);
  for (uint32_t b = 0; b < count; b++)
    v->written[b] = v->written[b] && then[b];
}

/* grid: nothing but parallel loops is around, so one may stand here alone. */
static void check_block(verifier *v, const onnxc_block *block, bool grid) {
  for (uint32_t i = 0; i < block->length; i++) {
    const onnxc_stmt *stmt = block->data[i];
    switch (stmt->kind) {
    case ONNXC_STMT_FOR: check_loop(v, stmt, grid && block->length == 1); break;
    case ONNXC_STMT_IF: check_if(v, stmt); break;
    case ONNXC_STMT_COMPUTE: check_compute(v, stmt); break;
    case ONNXC_STMT_COPY: check_copy(v, stmt); break;
    case ONNXC_STMT_FILL:
      if (stmt->num_results != 1)
        fail(v, "T1: fill takes one buffer");
      else
        check_operand(v, &stmt->results[0], "what is filled");
      break;
    default: fail(v, "T1: an unknown statement"); break;
    }
  }
}

onnxc_status onnxc_tile_verify(const onnxc_tile_program *program) {
  const onnxc_graph *graph = program->graph;
  verifier v = {.program = program, .graph = graph, .where = "buffers"};
  v.in_scope = ONNXC_NEW_ARRAY(graph->arena, bool, graph->dims.symbols.length);
  v.bound = ONNXC_NEW_ARRAY(graph->arena, bool, graph->dims.symbols.length);
  if (graph->dims.too_complex)
    fail(&v, "a dim has grown too complex");
  for (uint32_t b = 1; b < program->buffers.length; b++)
    check_buffer(&v, b);
  for (uint32_t s = 0; s < program->stages.length && v.errors == 0; s++) {
    const onnxc_stage *stage = &program->stages.data[s];
    v.where = onnxc_arena_printf(graph->arena, "stage %u (%s)", s, stage->name ? stage->name : "");
    v.written = ONNXC_NEW_ARRAY(graph->arena, bool, program->buffers.length);
    v.wrote = false;
    check_dim(&v, stage->num_tasks, "the number of tasks");
    if (stage->same_as > s)
      fail(&v, "T1: it is the same as a later stage");
    check_block(&v, &stage->body, true);
  }
  return v.status;
}
