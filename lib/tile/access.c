/* access.c -- see access.h. An index's stride is the sum over dims of coefficient times the dim's stride in storage. */
#include "tile/access.h"

#define MAX_STRIDE ((int64_t)1 << 60)

typedef struct collector {
  const onnxc_tile_program *program;
  const onnxc_compute *compute;
  const uint32_t *operands;
  bool in_reduction;
  ONNXC_VEC(onnxc_access) list;
} collector;

/* The stride of dim d's innermost part, in elements at hints; *block is that part's size (0 = the whole dim). */
static int64_t dim_stride(const onnxc_tile_program *program, const onnxc_buffer *buffer, uint32_t d, int64_t *block) {
  onnxc_dim extents[ONNXC_LAYOUT_MAX_AXES], strides[ONNXC_LAYOUT_MAX_AXES];
  onnxc_dims *dims = &program->graph->dims;
  onnxc_layout layout = onnxc_layout_explicit(&buffer->layout, buffer->rank);
  const onnxc_dim *shape = buffer->alias_dims ? buffer->alias_dims : buffer->dims;
  onnxc_layout_strides(dims, &layout, buffer->rank, shape, extents, strides);
  int64_t stride = 0;
  for (uint32_t a = 0; a < layout.num_axes; a++)
    if (layout.axis_dim[a] == d) { /* the last part wins */
      stride = onnxc_dim_hint(dims, strides[a]);
      *block = layout.axis_size[a];
    }
  return stride;
}

/* sum + a * b. Strides are for prices only: one that is longer than any memory counts as MAX_STRIDE. */
static int64_t bounded(int64_t sum, int64_t a, int64_t b) {
  int64_t product, all;
  bool beyond = __builtin_mul_overflow(a, b, &product) || __builtin_add_overflow(sum, product, &all);
  return beyond || all > MAX_STRIDE || all < -MAX_STRIDE ? MAX_STRIDE : all;
}

/* Adds `scale` times the index expression; of a sum each part counts for itself. */
static void add_index(const onnxc_tile_program *program, onnxc_expr index, int64_t scale, uint32_t num_indices,
                      onnxc_access *access) {
  onnxc_exprs *pool = &program->graph->exprs;
  onnxc_dim base, coefficients[ONNXC_MAX_INDICES];
  onnxc_expr_node node = *onnxc_exprs_node(pool, index);
  int64_t factor;
  if (onnxc_expr_affine(pool, index, ONNXC_MAX_INDICES, &base, coefficients)) {
    for (uint32_t k = 0; k < num_indices; k++)
      if (coefficients[k].i) {
        access->depends[k] = true;
        access->stride[k] = bounded(access->stride[k], scale, onnxc_dim_hint(&program->graph->dims, coefficients[k]));
      }
  } else if (node.op == ONNXC_EXPR_ADD || node.op == ONNXC_EXPR_SUB) {
    add_index(program, node.args[0], scale, num_indices, access);
    add_index(program, node.args[1], node.op == ONNXC_EXPR_ADD ? scale : bounded(0, scale, -1), num_indices, access);
  } else if (node.op == ONNXC_EXPR_MUL && onnxc_expr_const_value(pool, node.args[1], NULL, &factor)) {
    add_index(program, node.args[0], bounded(0, scale, factor), num_indices, access);
  } else {
    for (uint32_t k = 0; k < num_indices; k++)
      if (onnxc_expr_uses_index(pool, index, k)) {
        access->depends[k] = true;
        access->strided[k] = false;
      }
  }
}

static void collect(void *arg, const onnxc_exprs *pool, onnxc_expr e) {
  collector *c = arg;
  onnxc_expr_node node = *onnxc_exprs_node(pool, e);
  if (node.op != ONNXC_EXPR_LOAD)
    return;
  onnxc_access access = {.buffer = c->operands[node.imm], .in_reduction = c->in_reduction};
  uint32_t num_indices = c->compute->num_parallel + c->compute->num_reduce;
  for (uint32_t k = 0; k < ONNXC_MAX_INDICES; k++)
    access.strided[k] = true;
  for (uint32_t d = 0; d < node.num_args; d++) {
    int64_t block = 0, stride = dim_stride(c->program, &c->program->buffers.data[access.buffer], d, &block);
    add_index(c->program, node.args[d], stride, num_indices, &access);
  }
  ONNXC_PUSH(c->program->graph->arena, c->list, access);
}

uint32_t onnxc_tile_accesses(const onnxc_tile_program *program, const onnxc_compute *compute, const uint32_t *operands,
                             uint32_t num_results, const uint32_t *results, onnxc_access **accesses) {
  collector c = {.program = program, .compute = compute, .operands = operands};
  const onnxc_exprs *pool = &program->graph->exprs;
  for (uint32_t j = 0; j < compute->num_results; j++) {
    if (compute->num_reduce) {
      c.in_reduction = true;
      onnxc_expr_walk(pool, compute->element[j], collect, &c);
      c.in_reduction = false;
      onnxc_expr_walk(pool, compute->init[j], collect, &c);
    }
    onnxc_expr_walk(pool, compute->finish[j], collect, &c);
  }
  for (uint32_t j = 0; j < num_results; j++) {
    onnxc_access access = {.buffer = results[j], .store = true};
    for (uint32_t k = 0; k < ONNXC_MAX_INDICES; k++)
      access.strided[k] = true;
    for (uint32_t k = 0; k < compute->num_parallel; k++) {
      int64_t block = 0;
      access.depends[k] = true;
      access.stride[k] = bounded(0, dim_stride(program, &program->buffers.data[results[j]], k, &block), 1);
    }
    ONNXC_PUSH(program->graph->arena, c.list, access);
  }
  *accesses = c.list.data;
  return c.list.length;
}
