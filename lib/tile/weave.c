/* weave.c -- see weave.h.
 *
 *     y[k, n] = x[k, n], y in pairs along k      =>   word[k, n] = x[2k, n] | x[2k + 1, n] << 16
 *     y[k, n] = x[n, k], x contiguous along k    =>   word[k, n] = words of x[n, k]
 *
 * Element by element the stores would be strided by kr and each of them narrow; words lie side by side along n.
 * Elements beyond the end of k are zero. Integers may be computed on the way, of floats bits are moved.
 */
#include "tile/weave.h"

enum { WORD = 4 };

typedef struct weave {
  onnxc_tile_program *program;
  onnxc_exprs *pool;
  onnxc_dims *dims;
  uint32_t k; /* the index, and the dim of the result */
  int64_t kr;
  onnxc_expr index; /* what stands for k */
} weave;

static onnxc_dtype unsigned_of(size_t bytes) { return bytes == 1 ? ONNXC_U8 : ONNXC_U16; }

/* Does the buffer's memory begin where a word may? */
static bool begins_whole(const onnxc_dims *dims, const onnxc_buffer *buffer) {
  return !buffer->alias || onnxc_dim_is(dims, buffer->alias_offset, 0);
}

/* Is it elementwise into pairs or fours along k? */
static bool matches(weave *w, const onnxc_work *work) {
  if (work->compute.num_reduce || work->num_results != 1)
    return false;
  const onnxc_buffer *to = &w->program->buffers.data[work->results[0]];
  const onnxc_layout *layout = &to->layout;
  uint32_t axes = layout->num_axes, parts = 0;
  if (axes < 2 || to->ring_dim >= 0 || !begins_whole(w->dims, to))
    return false;
  w->k = layout->axis_dim[axes - 1];
  w->kr = layout->axis_size[axes - 1];
  for (uint32_t a = 0; a < axes; a++)
    parts += layout->axis_dim[a] == w->k;
  return parts == 2 && w->kr > 1 && layout->axis_dim[axes - 2] != w->k && layout->axis_size[axes - 2] &&
         w->kr * (int64_t)onnxc_dtype_bytes(to->dtype) == WORD && layout->low[w->k] == 0 && layout->high[w->k] == 0;
}

/* A view of a buffer in which `per_element` elements of dim d (of its last storage axis, if more than one) are one. */
static uint32_t view_as(const weave *w, uint32_t number, onnxc_dtype dtype, uint32_t d, int64_t per_element) {
  onnxc_arena *arena = w->program->graph->arena;
  onnxc_buffer base = w->program->buffers.data[number], view = base;
  const onnxc_dim *strides = onnxc_buffer_stride_dims(&base);
  view.dtype = dtype;
  view.dims = ONNXC_NEW_ARRAY(arena, onnxc_dim, base.rank + 1);
  view.alias_dims = ONNXC_NEW_ARRAY(arena, onnxc_dim, base.rank + 1);
  for (uint32_t i = 0; i < base.rank; i++) {
    onnxc_dim divisor = onnxc_dim_const(w->dims, i == d ? per_element : 1);
    view.dims[i] = onnxc_dim_ceildiv(w->dims, base.dims[i], divisor);
    view.alias_dims[i] = onnxc_dim_ceildiv(w->dims, strides[i], divisor);
  }
  if (!base.alias) {
    view.alias = number;
    view.alias_offset = onnxc_dim_const(w->dims, 0);
  }
  return onnxc_tile_add_buffer(w->program, &view);
}

static uint32_t view_of_result(const weave *w, uint32_t number) {
  uint32_t view = view_as(w, number, ONNXC_U32, w->k, w->kr);
  w->program->buffers.data[view].layout.num_axes--;
  return view;
}

static onnxc_expr replace_index(void *arg, onnxc_exprs *pool, onnxc_expr leaf) {
  const weave *w = arg;
  const onnxc_expr_node *node = onnxc_exprs_node(pool, leaf);
  return node->op == ONNXC_EXPR_INDEX && node->imm == (int64_t)w->k ? w->index : (onnxc_expr){0};
}

static bool is_index(const onnxc_exprs *pool, onnxc_expr e, uint32_t k) {
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  return node->op == ONNXC_EXPR_INDEX && node->imm == (int64_t)k;
}

/* A load of dtype `to` at the same place. */
static onnxc_expr load_as(onnxc_exprs *pool, onnxc_expr load, onnxc_dtype dtype) {
  return onnxc_expr_load_from(pool, load, dtype, (uint32_t)onnxc_exprs_node(pool, load)->imm);
}

/* A movement from memory in which whole words lie along k: these are moved. */
static bool move_words(weave *w, onnxc_work *work, onnxc_dim extent) {
  onnxc_expr load = work->compute.finish[0];
  const onnxc_expr_node *node = onnxc_exprs_node(w->pool, load);
  const onnxc_buffer *from = &w->program->buffers.data[work->operands[node->imm]];
  onnxc_layout layout = onnxc_layout_explicit(&from->layout, from->rank);
  uint32_t d = layout.axis_dim[layout.num_axes - 1];
  onnxc_dim kr = onnxc_dim_const(w->dims, w->kr);
  if (layout.axis_size[layout.num_axes - 1] || layout.low[d] || layout.high[d] || from->ring_dim >= 0 ||
      !begins_whole(w->dims, from) || !is_index(w->pool, node->args[d], w->k) ||
      !onnxc_dim_is(w->dims, onnxc_dim_mod(w->dims, extent, kr), 0) ||
      !onnxc_dim_is(w->dims, onnxc_dim_mod(w->dims, onnxc_buffer_stride_dims(from)[d], kr), 0))
    return false;
  for (uint32_t i = 0; i < node->num_args; i++)
    if (i != d && onnxc_expr_uses_index(w->pool, node->args[i], w->k))
      return false;
  uint32_t operand = (uint32_t)node->imm;
  work->compute.finish[0] = load_as(w->pool, load, ONNXC_U32);
  work->operands[operand] = view_as(w, work->operands[operand], ONNXC_U32, d, w->kr);
  return true;
}

/* The word at k: the elements at kr * k .. kr * k + kr - 1, the first in the lowest bits. */
static onnxc_expr word_of(weave *w, onnxc_expr element, onnxc_dim extent, size_t bytes) {
  onnxc_exprs *pool = w->pool;
  bool whole = onnxc_dim_is(w->dims, onnxc_dim_mod(w->dims, extent, onnxc_dim_const(w->dims, w->kr)), 0);
  onnxc_expr word = {0};
  for (int64_t i = 0; i < w->kr; i++) {
    w->index = onnxc_expr_binary(
        pool, ONNXC_EXPR_ADD,
        onnxc_expr_binary(pool, ONNXC_EXPR_MUL, onnxc_expr_index(pool, w->k), onnxc_expr_i64(pool, ONNXC_I64, w->kr)),
        onnxc_expr_i64(pool, ONNXC_I64, i));
    onnxc_expr part = onnxc_expr_rewrite(pool, element, replace_index, w);
    part = onnxc_expr_cast(pool, ONNXC_U32, onnxc_expr_cast(pool, unsigned_of(bytes), part));
    if (i > 0 && !whole)
      part = onnxc_expr_select(pool, onnxc_expr_binary(pool, ONNXC_EXPR_LT, w->index, onnxc_expr_dim(pool, extent)),
                               part, onnxc_expr_i64(pool, ONNXC_U32, 0));
    part = onnxc_expr_binary(pool, ONNXC_EXPR_SHL, part, onnxc_expr_i64(pool, ONNXC_U32, 8 * i * (int64_t)bytes));
    word = word.i ? onnxc_expr_binary(pool, ONNXC_EXPR_OR, word, part) : part;
  }
  return word;
}

void onnxc_tile_weave(onnxc_tile_program *program, onnxc_work *work) {
  onnxc_graph *graph = program->graph;
  weave w = {.program = program, .pool = &graph->exprs, .dims = &graph->dims};
  if (!matches(&w, work))
    return;
  onnxc_compute *c = &work->compute;
  onnxc_dtype dtype = program->buffers.data[work->results[0]].dtype;
  onnxc_dim extent = c->extents[w.k];
  bool moves = onnxc_exprs_node(w.pool, c->finish[0])->op == ONNXC_EXPR_LOAD;
  if (!moves && !onnxc_dtype_is_int(dtype))
    return;
  if (!moves || !move_words(&w, work, extent)) {
    onnxc_expr element = c->finish[0];
    if (!onnxc_dtype_is_int(dtype)) {
      uint32_t operand = (uint32_t)onnxc_exprs_node(w.pool, element)->imm;
      onnxc_dtype bits = unsigned_of(onnxc_dtype_bytes(dtype));
      element = load_as(w.pool, element, bits);
      work->operands[operand] = view_as(&w, work->operands[operand], bits, 0, 1);
    }
    c->finish[0] = word_of(&w, element, extent, onnxc_dtype_bytes(dtype));
  }
  c->extents[w.k] = onnxc_dim_ceildiv(w.dims, extent, onnxc_dim_const(w.dims, w.kr));
  work->results[0] = view_of_result(&w, work->results[0]);
}
