/* copy.c -- COPY and FILL statements, as computes: out[i..] = in[i..], and zeros over the padding of a layout.
 *
 * A layout's address arithmetic holds for its padding, too (a halo is at negative indices, the tail of the last block
 * behind the extent), so filling is a compute over boxes there: for each dim what lies below and above its logical
 * range, with the whole padded range of later dims and the logical one of earlier dims, so that each element is written
 * once.
 */
#include "codegen/stage.h"
#include "nano/compose.h"

static uint32_t power_of_two(uint32_t value) {
  uint32_t power = 1;
  while (power * 2 <= value)
    power *= 2;
  return power;
}

/* Walks the box in the order of the result's memory, vectors along its innermost axis. */
static void schedule(onnxc_gen *gen, onnxc_stmt *stmt) {
  const onnxc_buffer *to = &gen->program->buffers.data[stmt->results[0].buffer];
  onnxc_layout layout = onnxc_layout_explicit(&to->layout, to->rank);
  onnxc_schedule *s = &stmt->schedule;
  *s = (onnxc_schedule){.row = -1, .vec = -1, .rows = 1, .vecs = 1, .lanes = 1, .unroll = 1, .kr = 1};
  if (to->rank == 0)
    return;
  uint8_t inner = layout.axis_dim[layout.num_axes - 1];
  uint32_t count = 0;
  for (uint32_t a = 0; a < layout.num_axes; a++) {
    bool seen = layout.axis_dim[a] == inner;
    for (uint32_t k = 0; k < count; k++)
      seen |= s->order[k] == layout.axis_dim[a];
    if (!seen)
      s->order[count++] = layout.axis_dim[a];
  }
  s->order[count] = inner;
  uint32_t lanes = onnxc_target_lanes(gen->program->target, (uint32_t)onnxc_dtype_bytes(to->dtype));
  if (layout.axis_size[layout.num_axes - 1] && layout.axis_size[layout.num_axes - 1] < lanes)
    lanes = power_of_two(layout.axis_size[layout.num_axes - 1]);
  int64_t size;
  if (onnxc_dim_is_const(gen->dims, stmt->box_size[inner], &size))
    while (lanes > 1 && lanes / 2 >= size)
      lanes /= 2;
  if (lanes < 2)
    return;
  s->vec = (int8_t)inner;
  s->lanes = (uint16_t)lanes;
  s->vecs = layout.axis_size[layout.num_axes - 1] ? 1 : 4;
}

static onnxc_compute *identity(onnxc_gen *gen, const onnxc_buffer *to) {
  onnxc_compute *compute = ONNXC_NEW(gen->arena, onnxc_compute);
  compute->num_parallel = to->rank;
  compute->num_results = 1;
  return compute;
}

onnxc_status onnxc_stage_copy(onnxc_gen *gen, const onnxc_stmt *stmt) {
  if (stmt->num_operands < 1 || stmt->num_results < 1)
    return onnxc_gen_error(gen, ONNXC_INTERNAL, "a copy needs an operand and a result");
  const onnxc_buffer *to = &gen->program->buffers.data[stmt->results[0].buffer];
  onnxc_compute *compute = identity(gen, to);
  onnxc_expr index[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < to->rank; d++)
    index[d] = onnxc_expr_index(gen->exprs, d);
  compute->finish[0] = onnxc_expr_load(gen->exprs, to->dtype, 0, to->rank, index);
  onnxc_stmt copy = *stmt;
  copy.kind = ONNXC_STMT_COMPUTE;
  copy.compute = compute;
  copy.num_operands = 1;
  copy.num_results = 1;
  copy.resume = copy.partial = false;
  schedule(gen, &copy);
  return onnxc_compose(gen, &copy);
}

onnxc_status onnxc_stage_fill(onnxc_gen *gen, const onnxc_stmt *stmt) {
  if (stmt->num_results < 1)
    return onnxc_gen_error(gen, ONNXC_INTERNAL, "a fill needs a result");
  const onnxc_buffer *to = &gen->program->buffers.data[stmt->results[0].buffer];
  onnxc_layout layout = onnxc_layout_explicit(&to->layout, to->rank);
  onnxc_dims *dims = gen->dims;
  onnxc_dim below[ONNXC_MAX_RANK], stored[ONNXC_MAX_RANK], zero = onnxc_dim_const(dims, 0);
  for (uint32_t d = 0; d < to->rank; d++) {
    int64_t block = 1;
    for (uint32_t a = 0; a < layout.num_axes; a++)
      if (layout.axis_dim[a] == d && layout.axis_size[a])
        block *= layout.axis_size[a];
    below[d] = onnxc_dim_const(dims, -(int64_t)layout.low[d]);
    onnxc_dim padded = onnxc_dim_addc(dims, to->dims[d], layout.low[d] + (int64_t)layout.high[d]);
    stored[d] = onnxc_dim_mulc(dims, onnxc_dim_ceildiv(dims, padded, onnxc_dim_const(dims, block)), block);
  }
  onnxc_compute *compute = identity(gen, to);
  compute->finish[0] = onnxc_dtype_is_float(to->dtype) ? onnxc_expr_f64(gen->exprs, to->dtype, 0)
                                                       : onnxc_expr_i64(gen->exprs, to->dtype, 0);
  onnxc_dim lo[ONNXC_MAX_RANK], size[ONNXC_MAX_RANK];
  onnxc_operand result = {.buffer = stmt->results[0].buffer};
  onnxc_stmt fill = {.kind = ONNXC_STMT_COMPUTE,
                     .compute = compute,
                     .num_results = 1,
                     .results = &result,
                     .box_lo = lo,
                     .box_size = size};
  for (uint32_t d = 0; d < to->rank; d++)
    for (uint32_t side = 0; side < 2; side++) {
      for (uint32_t e = 0; e < to->rank; e++) {
        lo[e] = e < d ? zero : below[e];
        size[e] = e < d ? to->dims[e] : stored[e];
      }
      lo[d] = side ? to->dims[d] : below[d];
      size[d] = side ? onnxc_dim_addc(dims, onnxc_dim_sub(dims, stored[d], to->dims[d]), -(int64_t)layout.low[d])
                     : onnxc_dim_const(dims, layout.low[d]);
      int64_t low, high;
      onnxc_dim_range(dims, size[d], &low, &high);
      if (high <= 0)
        continue;
      schedule(gen, &fill);
      ONNXC_TRY(onnxc_compose(gen, &fill));
    }
  return ONNXC_OK;
}
