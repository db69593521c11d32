/* views.c -- see views.h.
 *
 * A concat's input may be written straight into the result if it is computed here, is no graph output, appears in no
 * other concat, is not reshaped (a reshape wants dense memory), binds no symbol (a run reads it between segments, while
 * the rest of the result may be unwritten), is there under the same condition, comes after whatever binds the result's
 * size and lies in the same storage order with no larger halo than the result. Concats are visited last first, so a
 * chain of them (a dense block) ends in one buffer.
 */
#include "tile/views.h"

#include "tile/collapse.h"

typedef struct placer {
  onnxc_tile_program *program;
  const uint32_t *buffer_of;
  bool *pinned;       /* by value: keeps memory of its own */
  uint32_t *position; /* by node: in order, from 1 */
} placer;

static onnxc_buffer *buffer_at(const onnxc_tile_program *program, uint32_t number) {
  return &program->buffers.data[number];
}

static onnxc_buffer part_of(onnxc_tile_program *program, uint32_t whole, uint32_t axis, onnxc_dim start,
                            onnxc_dim extent) {
  onnxc_graph *graph = program->graph;
  onnxc_dims *dims = &graph->dims;
  const onnxc_buffer *base = buffer_at(program, whole);
  onnxc_buffer view = *base;
  onnxc_layout layout = onnxc_layout_explicit(&base->layout, base->rank);
  onnxc_dim extents[ONNXC_LAYOUT_MAX_AXES], strides[ONNXC_LAYOUT_MAX_AXES];
  const onnxc_dim *whole_dims = onnxc_buffer_stride_dims(base);
  onnxc_layout_strides(dims, &layout, base->rank, whole_dims, extents, strides);
  onnxc_dim offset = onnxc_dim_const(dims, 0);
  for (uint32_t a = 0; a < layout.num_axes; a++)
    if (layout.axis_dim[a] == axis)
      offset = onnxc_dim_mul(dims, start, strides[a]);
  view.layout = layout;
  view.dims = ONNXC_NEW_ARRAY(graph->arena, onnxc_dim, base->rank + 1);
  view.alias_dims = ONNXC_NEW_ARRAY(graph->arena, onnxc_dim, base->rank + 1);
  for (uint32_t d = 0; d < base->rank; d++) {
    view.dims[d] = d == axis ? extent : base->dims[d];
    view.alias_dims[d] = whole_dims[d];
  }
  if (base->alias) {
    view.alias_offset = onnxc_dim_add(dims, base->alias_offset, offset);
  } else {
    view.alias = whole;
    view.alias_offset = offset;
  }
  return view;
}

uint32_t onnxc_tile_part_view(onnxc_tile_program *program, uint32_t whole, uint32_t axis, onnxc_dim start,
                              onnxc_dim extent) {
  onnxc_buffer view = part_of(program, whole, axis, start, extent);
  return onnxc_tile_add_buffer(program, &view);
}

uint32_t onnxc_tile_flat_view(onnxc_tile_program *program, uint32_t number) {
  onnxc_graph *graph = program->graph;
  onnxc_buffer base = *buffer_at(program, number), view = base;
  view.rank = 1;
  view.layout = (onnxc_layout){0};
  view.dims = ONNXC_NEW(graph->arena, onnxc_dim);
  view.dims[0] = onnxc_dim_const(&graph->dims, 1);
  for (uint32_t d = 0; d < base.rank; d++)
    view.dims[0] = onnxc_dim_mul(&graph->dims, view.dims[0], base.dims[d]);
  view.alias_dims = NULL;
  if (!base.alias) {
    view.alias = number;
    view.alias_offset = onnxc_dim_const(&graph->dims, 0);
  }
  return onnxc_tile_add_buffer(program, &view);
}

bool onnxc_tile_same_place(const onnxc_tile_program *program, uint32_t a, uint32_t b) {
  const onnxc_buffer *x = buffer_at(program, a), *y = buffer_at(program, b);
  return a == b || (x->alias && x->alias == y->alias && onnxc_dim_same(x->alias_offset, y->alias_offset));
}

/* ---- placement ---- */

static bool same_order(const onnxc_buffer *part, const onnxc_buffer *whole) {
  onnxc_layout a = onnxc_layout_explicit(&part->layout, part->rank);
  onnxc_layout b = onnxc_layout_explicit(&whole->layout, whole->rank);
  if (a.num_axes != part->rank || b.num_axes != whole->rank)
    return false; /* blocked */
  for (uint32_t k = 0; k < a.num_axes; k++)
    if (a.axis_dim[k] != b.axis_dim[k])
      return false;
  for (uint32_t d = 0; d < part->rank; d++)
    if (a.low[d] > b.low[d] || a.high[d] > b.high[d])
      return false;
  return true;
}

/* Is the size of the memory that `number` lies in known when the node runs? What binds its symbols comes before. */
static bool known_before(const placer *p, uint32_t number, onnxc_node node) {
  const onnxc_graph *graph = p->program->graph;
  const onnxc_buffer *buffer = buffer_at(p->program, number);
  while (buffer->alias)
    buffer = buffer_at(p->program, buffer->alias);
  for (uint32_t s = 1; s < graph->dims.symbols.length; s++) {
    const onnxc_symbol *symbol = &graph->dims.symbols.data[s];
    if (symbol->source != ONNXC_SYM_ELEMENT)
      continue;
    onnxc_node source = graph->values.data[symbol->index].producer;
    if (!source.i || p->position[source.i] < p->position[node.i])
      continue;
    for (uint32_t d = 0; d < buffer->rank; d++)
      if (onnxc_dim_uses(&graph->dims, buffer->dims[d], (onnxc_sym){s}))
        return false;
  }
  return true;
}

static void place_concat(placer *p, const onnxc_node_info *node) {
  onnxc_graph *graph = p->program->graph;
  uint32_t whole = p->buffer_of[node->outputs[0].i];
  onnxc_dim start = onnxc_dim_const(&graph->dims, 0);
  onnxc_layout layout =
      onnxc_layout_explicit(&buffer_at(p->program, whole)->layout, buffer_at(p->program, whole)->rank);
  bool halo_on_axis = layout.low[node->axis] || layout.high[node->axis];
  for (uint32_t k = 0; k < node->num_inputs; k++) {
    onnxc_value value = node->inputs[k];
    const onnxc_value_info *info = onnxc_value_of(graph, value);
    onnxc_dim extent = info->dims[node->axis];
    uint32_t part = p->buffer_of[value.i];
    onnxc_op producer = info->producer.i ? onnxc_node_of(graph, info->producer)->op : ONNXC_OP_NONE;
    bool computed = producer == ONNXC_OP_COMPUTE || producer == ONNXC_OP_CONCAT || producer == ONNXC_OP_RELAYOUT;
    bool together = onnxc_dim_same(buffer_at(p->program, part)->condition, buffer_at(p->program, whole)->condition);
    if (computed && together && !p->pinned[value.i] && !halo_on_axis && known_before(p, whole, info->producer) &&
        same_order(buffer_at(p->program, part), buffer_at(p->program, whole))) {
      onnxc_buffer view = part_of(p->program, whole, (uint32_t)node->axis, start, extent);
      view.name = info->name;
      view.value = value;
      *buffer_at(p->program, part) = view;
    }
    p->pinned[value.i] = true; /* in one concat only */
    start = onnxc_dim_add(&graph->dims, start, extent);
  }
}

static void place_reshape(placer *p, const onnxc_node_info *node) {
  onnxc_graph *graph = p->program->graph;
  for (uint32_t k = 0; k < graph->outputs.length; k++)
    if (graph->outputs.data[k].i == node->outputs[0].i)
      return;
  uint32_t from = p->buffer_of[node->inputs[0].i];
  const onnxc_buffer *base = buffer_at(p->program, from);
  onnxc_buffer *view = buffer_at(p->program, p->buffer_of[node->outputs[0].i]);
  view->alias = base->alias ? base->alias : from;
  view->alias_offset = base->alias ? base->alias_offset : onnxc_dim_const(&graph->dims, 0);
}

void onnxc_tile_place_views(onnxc_tile_program *program, const uint32_t *buffer_of) {
  onnxc_graph *graph = program->graph;
  placer p = {program, buffer_of, ONNXC_NEW_ARRAY(graph->arena, bool, graph->values.length),
              ONNXC_NEW_ARRAY(graph->arena, uint32_t, graph->nodes.length)};
  for (uint32_t n = 0; n < graph->order.length; n++)
    p.position[graph->order.data[n].i] = n + 1;
  for (uint32_t k = 0; k < graph->outputs.length; k++)
    p.pinned[graph->outputs.data[k].i] = true;
  for (uint32_t s = 1; s < graph->dims.symbols.length; s++)
    if (graph->dims.symbols.data[s].source == ONNXC_SYM_ELEMENT)
      p.pinned[graph->dims.symbols.data[s].index] = true;
  for (uint32_t n = 0; n < graph->order.length; n++) {
    const onnxc_node_info *node = onnxc_node_of(graph, graph->order.data[n]);
    if (node->op == ONNXC_OP_RESHAPE)
      p.pinned[node->inputs[0].i] = true;
  }
  for (uint32_t n = graph->order.length; n-- > 0;) {
    const onnxc_node_info *node = onnxc_node_of(graph, graph->order.data[n]);
    if (node->op == ONNXC_OP_CONCAT)
      place_concat(&p, node);
  }
  for (uint32_t n = 0; n < graph->order.length; n++) {
    const onnxc_node_info *node = onnxc_node_of(graph, graph->order.data[n]);
    if (node->op == ONNXC_OP_RESHAPE)
      place_reshape(&p, node);
  }
}

/* ---- segments ---- */

typedef struct dim_scan {
  const onnxc_tile_program *program;
  const uint32_t *ready; /* by symbol: the first segment in which it is bound */
  uint32_t segment;
} dim_scan;

static void scan_dim(dim_scan *scan, onnxc_dim dim) {
  const onnxc_dims *dims = &scan->program->graph->dims;
  for (uint32_t s = 1; dim.i && s < dims->symbols.length; s++)
    if (scan->ready[s] > scan->segment && onnxc_dim_uses(dims, dim, (onnxc_sym){s}))
      scan->segment = scan->ready[s];
}

static void scan_expr_dim(void *arg, const onnxc_exprs *pool, onnxc_expr e) {
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  if (node->op == ONNXC_EXPR_DIM)
    scan_dim(arg, (onnxc_dim){(uint32_t)node->imm});
}

static void scan_buffer(dim_scan *scan, uint32_t number) {
  while (number) {
    const onnxc_buffer *buffer = buffer_at(scan->program, number);
    scan_dim(scan, buffer->condition);
    for (uint32_t d = 0; d < buffer->rank; d++) {
      scan_dim(scan, buffer->dims[d]);
      if (buffer->alias_dims)
        scan_dim(scan, buffer->alias_dims[d]);
    }
    if (buffer->alias)
      scan_dim(scan, buffer->alias_offset);
    number = buffer->alias;
  }
}

static void scan_block(dim_scan *scan, const onnxc_block *block) {
  const onnxc_exprs *pool = &scan->program->graph->exprs;
  for (uint32_t k = 0; k < block->length; k++) {
    const onnxc_stmt *stmt = block->data[k];
    scan_dim(scan, stmt->lo);
    scan_dim(scan, stmt->hi);
    scan_dim(scan, stmt->condition);
    scan_block(scan, &stmt->body);
    scan_block(scan, &stmt->otherwise);
    for (uint32_t n = 0; n < stmt->num_operands; n++)
      scan_buffer(scan, stmt->operands[n].buffer);
    for (uint32_t n = 0; n < stmt->num_results; n++)
      scan_buffer(scan, stmt->results[n].buffer);
    const onnxc_compute *c = stmt->compute;
    if (!c)
      continue;
    for (uint32_t n = 0; n < c->num_parallel + c->num_reduce; n++)
      scan_dim(scan, c->extents[n]);
    for (uint32_t j = 0; j < c->num_results; j++) {
      onnxc_expr_walk(pool, c->finish[j], scan_expr_dim, scan);
      if (c->num_reduce) {
        onnxc_expr_walk(pool, c->init[j], scan_expr_dim, scan);
        onnxc_expr_walk(pool, c->element[j], scan_expr_dim, scan);
      }
    }
  }
}

static bool writes(const onnxc_tile_program *program, const onnxc_block *block, uint32_t root) {
  for (uint32_t k = 0; k < block->length; k++) {
    const onnxc_stmt *stmt = block->data[k];
    if (writes(program, &stmt->body, root) || writes(program, &stmt->otherwise, root))
      return true;
    for (uint32_t n = 0; n < stmt->num_results && stmt->kind != ONNXC_STMT_FILL; n++) {
      uint32_t buffer = stmt->results[n].buffer;
      while (buffer_at(program, buffer)->alias)
        buffer = buffer_at(program, buffer)->alias;
      if (buffer == root)
        return true;
    }
  }
  return false;
}

uint32_t onnxc_tile_written_in(const onnxc_tile_program *program, uint32_t root) {
  for (uint32_t k = program->stages.length; k-- > 0;)
    if (writes(program, &program->stages.data[k].body, root))
      return program->stages.data[k].segment;
  return 0;
}

void onnxc_tile_number_segments(onnxc_tile_program *program) {
  onnxc_graph *graph = program->graph;
  uint32_t count = graph->dims.symbols.length, segment = 0;
  uint32_t *ready = ONNXC_NEW_ARRAY(graph->arena, uint32_t, count + 1);
  uint32_t *roots = ONNXC_NEW_ARRAY(graph->arena, uint32_t, count + 1); /* the buffer that an element is read from */
  bool any = false;
  for (uint32_t s = 1; s < count; s++) {
    const onnxc_symbol *symbol = &graph->dims.symbols.data[s];
    if (symbol->source != ONNXC_SYM_ELEMENT || !graph->values.data[symbol->index].producer.i)
      continue;
    for (uint32_t b = 1; b < program->buffers.length && !roots[s]; b++)
      if (buffer_at(program, b)->space == ONNXC_SPACE_VALUE && buffer_at(program, b)->value.i == symbol->index) {
        roots[s] = b;
        while (buffer_at(program, roots[s])->alias)
          roots[s] = buffer_at(program, roots[s])->alias;
      }
    any = any || roots[s];
  }
  for (uint32_t k = 0; any && k < program->stages.length; k++) {
    onnxc_stage *stage = &program->stages.data[k];
    dim_scan scan = {program, ready, segment};
    scan_block(&scan, &stage->body);
    segment = stage->segment = scan.segment;
    for (uint32_t s = 1; s < count; s++)
      if (roots[s] && writes(program, &stage->body, roots[s]))
        ready[s] = segment + 1;
  }
}
