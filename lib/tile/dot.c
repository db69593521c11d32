/* dot.c -- see dot.h. What T6 asks for is what makes a step's operands single loads:
 *
 *   a  kr consecutive elements, of which none exist only beyond the end of the index
 *   b  for each lane kr elements that a block of the layout holds together; beyond the end they are zero, so that a's
 *      missing elements may be anything finite
 *
 * An index of the box may start anywhere, so alignment to kr is proved from the origin, the box and what else
 * the index expression adds.
 */
#include "tile/dot.h"

/* What a load's index in one dim is: base + sum of coefficients times indices. */
typedef struct affine {
  onnxc_dim base, coefficients[ONNXC_MAX_INDICES];
} affine;

static bool is_multiple(onnxc_dims *dims, onnxc_dim dim, uint32_t of) {
  return onnxc_dim_is(dims, onnxc_dim_mod(dims, dim, onnxc_dim_const(dims, of)), 0);
}

static void find_other(void *arg, const onnxc_exprs *pool, onnxc_expr e) {
  *(bool *)arg |= !onnxc_expr_op_is_dim((onnxc_expr_op)onnxc_exprs_node(pool, e)->op);
}

/* Are the load's indices more than dim expressions of the indices: from memory, say? */
static bool is_indirect(const onnxc_exprs *pool, onnxc_expr load) {
  const onnxc_expr_node *x = onnxc_exprs_node(pool, load);
  bool found = false;
  for (uint32_t d = 0; d < x->num_args; d++)
    onnxc_expr_walk(pool, x->args[d], find_other, &found);
  return found;
}

/* The one dim of the load that uses the index, with coefficient 1; -1 if that is not how the index occurs. */
static int dim_along(onnxc_exprs *pool, onnxc_expr load, uint32_t index, affine *form) {
  onnxc_expr_node x = *onnxc_exprs_node(pool, load);
  int found = -1;
  for (uint32_t d = 0; d < x.num_args; d++) {
    if (!onnxc_expr_uses_index(pool, x.args[d], index))
      continue;
    if (found >= 0 || !onnxc_expr_affine(pool, x.args[d], ONNXC_MAX_INDICES, &form->base, form->coefficients) ||
        !form->coefficients[index].i || !onnxc_dim_is(pool->dims, form->coefficients[index], 1))
      return -1;
    found = (int)d;
  }
  return found;
}

/* Does the box's first element of index k lie at a multiple of kr in dim d of the operand, whatever the others are? */
static bool begins_aligned(const onnxc_tile_program *program, const onnxc_stmt *stmt, const onnxc_operand *operand,
                           uint32_t d, const affine *form, uint32_t k) {
  onnxc_dims *dims = &program->graph->dims;
  const onnxc_buffer *buffer = &program->buffers.data[operand->buffer];
  uint32_t kr = stmt->schedule.kr;
  onnxc_dim first = onnxc_dim_add(dims, form->base, stmt->box_lo[k]);
  if (operand->origin)
    first = onnxc_dim_sub(dims, first, operand->origin[d]);
  bool aligned = is_multiple(dims, onnxc_dim_addc(dims, first, buffer->layout.low[d]), kr);
  for (uint32_t i = 0; i < ONNXC_MAX_INDICES; i++)
    aligned = aligned && (i == k || !form->coefficients[i].i || is_multiple(dims, form->coefficients[i], kr));
  return aligned;
}

static const char *check_a(const onnxc_tile_program *program, const onnxc_stmt *stmt, const onnxc_dot *dot) {
  onnxc_exprs *pool = &program->graph->exprs;
  const onnxc_operand *operand = &stmt->operands[onnxc_exprs_node(pool, dot->a)->imm];
  const onnxc_buffer *buffer = &program->buffers.data[operand->buffer];
  onnxc_layout layout = onnxc_layout_explicit(&buffer->layout, buffer->rank);
  affine form;
  int d = dim_along(pool, dot->a, dot->k, &form);
  if (d < 0 || d == buffer->ring_dim || layout.axis_dim[layout.num_axes - 1] != d)
    return "the factor that is broadcast is not contiguous along the innermost reduction index";
  uint32_t parts = 0, size = layout.axis_size[layout.num_axes - 1];
  for (uint32_t a = 0; a < layout.num_axes; a++)
    parts += layout.axis_dim[a] == d;
  if (parts > 1 && (size == 0 || size % stmt->schedule.kr != 0 ||
                    !begins_aligned(program, stmt, operand, (uint32_t)d, &form, dot->k)))
    return "a step would cross the blocks of the factor that is broadcast";
  return NULL;
}

static const char *check_b(const onnxc_tile_program *program, const onnxc_stmt *stmt, const onnxc_dot *dot) {
  onnxc_exprs *pool = &program->graph->exprs;
  const onnxc_operand *operand = &stmt->operands[onnxc_exprs_node(pool, dot->b)->imm];
  const onnxc_buffer *buffer = &program->buffers.data[operand->buffer];
  const onnxc_layout *layout = &buffer->layout;
  affine along_k, along_n;
  int k = dim_along(pool, dot->b, dot->k, &along_k);
  int n = dim_along(pool, dot->b, (uint32_t)stmt->schedule.vec, &along_n);
  if (k < 0 || n < 0 || k == n || k == buffer->ring_dim)
    return "the factor along the lanes does not run by one along vec and the innermost reduction index";
  uint32_t axes = layout->num_axes;
  if (axes < 4 || layout->axis_dim[axes - 1] != k || layout->axis_size[axes - 1] != stmt->schedule.kr ||
      layout->axis_dim[axes - 2] != n || layout->axis_size[axes - 2] == 0)
    return "the layout of the factor along the lanes does not end in vec:panel k:kr";
  if (!begins_aligned(program, stmt, operand, (uint32_t)k, &along_k, dot->k))
    return "a step would cross the blocks of the factor along the lanes";
  return NULL;
}

/* The load under a cast to the accumulator's type; none if it is something else. */
static onnxc_expr factor(const onnxc_exprs *pool, onnxc_expr e) {
  const onnxc_expr_node *x = onnxc_exprs_node(pool, e);
  return x->op == ONNXC_EXPR_CAST && onnxc_exprs_node(pool, x->args[0])->op == ONNXC_EXPR_LOAD ? x->args[0]
                                                                                               : (onnxc_expr){0};
}

static const char *check_box(const onnxc_tile_program *program, const onnxc_stmt *stmt, uint32_t k) {
  onnxc_dims *dims = &program->graph->dims;
  int64_t lo, size, extent;
  if (!is_multiple(dims, stmt->box_lo[k], stmt->schedule.kr))
    return "the box does not begin at a multiple of kr";
  if (onnxc_dim_is_const(dims, stmt->box_lo[k], &lo) && onnxc_dim_is_const(dims, stmt->box_size[k], &size) &&
      onnxc_dim_is_const(dims, stmt->compute->extents[k], &extent) && size % stmt->schedule.kr != 0 &&
      lo + size != extent)
    return "the box ends within a step";
  return NULL;
}

const char *onnxc_dot_of(const onnxc_tile_program *program, const onnxc_stmt *stmt, onnxc_dot *dot) {
  const onnxc_compute *c = stmt->compute;
  const onnxc_schedule *s = &stmt->schedule;
  onnxc_exprs *pool = &program->graph->exprs;
  *dot = (onnxc_dot){0};
  if (c->num_reduce == 0 || c->num_results != 1 || onnxc_compute_combiner(pool, c, 0) != ONNXC_EXPR_ADD ||
      onnxc_exprs_node(pool, c->element[0])->op != ONNXC_EXPR_MUL)
    return "it is no sum of products";
  if (s->vec < 0 || s->vec >= (int)c->num_parallel || s->lanes < 4 || (s->lanes & (s->lanes - 1)))
    return "no parallel index lies along four lanes or more";
  dot->k = s->order[c->num_parallel + c->num_reduce - 1];
  const onnxc_expr *args = onnxc_exprs_node(pool, c->element[0])->args;
  dot->a = factor(pool, args[0]);
  dot->b = factor(pool, args[1]);
  if (!dot->a.i || !dot->b.i)
    return "a factor is not a load that is cast to the accumulator's type";
  onnxc_dtype a = (onnxc_dtype)onnxc_exprs_node(pool, dot->a)->dtype;
  onnxc_dtype b = (onnxc_dtype)onnxc_exprs_node(pool, dot->b)->dtype;
  onnxc_dtype factors = onnxc_target_factors(a, b, c->acc_dtype[0]);
  if (factors == ONNXC_DTYPE_NONE || s->kr != (factors == ONNXC_BF16 ? 2 : 4))
    return "there is no such dot product of these types";
  if (onnxc_expr_uses_index(pool, dot->a, (uint32_t)s->vec)) {
    onnxc_expr swap = dot->a;
    dot->a = dot->b;
    dot->b = swap;
  }
  if (is_indirect(pool, dot->a) || is_indirect(pool, dot->b))
    return "an index of a factor is no dim expression";
  if (onnxc_expr_uses_index(pool, dot->a, (uint32_t)s->vec) ||
      (s->row >= 0 && onnxc_expr_uses_index(pool, dot->b, (uint32_t)s->row)))
    return "one factor must be the same for all lanes and the other for all rows";
  const char *error = check_box(program, stmt, dot->k);
  if (!error)
    error = check_a(program, stmt, dot);
  return error ? error : check_b(program, stmt, dot);
}
