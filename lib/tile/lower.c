/* lower.c -- the graph to the tile program: one stage a group.
 *
 *   compute      collapsed (collapse.c), cut into tasks (grid.c), scheduled (schedule.c)
 *   chain        a pointwise product in one stage with who makes its rows (chain.c)
 *   row group    one stage: for some rows all its computes in turn, intermediates in scratch (rows.c)
 *   relayout     a compute that copies
 *   concat       nothing, where the parts can be written in place (a view each); else a copy a part
 *   reshape      nothing: a view; a flat copy where memory is not ours to share (graph outputs)
 *
 * A buffer whose layout has a halo or block tails gets a fill stage before its first writer. Every graph output
 * is written by a stage into memory of its own.
 */
#include "tile/lower.h"

#include "tile/collapse.h"
#include "tile/grid.h"
#include "tile/merge.h"
#include "tile/views.h"
#include "tile/weave.h"

typedef onnxc_lowerer lowerer;

/* ---- stages ---- */

void onnxc_lower_stage(onnxc_lowerer *l, const char *name, onnxc_block body) {
  onnxc_stage stage = {.name = name, .body = body};
  stage.num_tasks = onnxc_grid_tasks(l->program, &body);
  ONNXC_PUSH(l->graph->arena, l->program->stages, stage);
}

const char *onnxc_lower_name(onnxc_lowerer *l, const char *name, const char *fallback) {
  return onnxc_arena_printf(l->graph->arena, "%s", name && *name ? name : fallback);
}

static bool has_padding(const lowerer *l, const onnxc_buffer *buffer) {
  const onnxc_layout *layout = &buffer->layout;
  for (uint32_t d = 0; d < buffer->rank; d++)
    if (layout->low[d] || layout->high[d])
      return true;
  for (uint32_t a = 0; a < layout->num_axes; a++) {
    int64_t extent;
    if (layout->axis_size[a] && (!onnxc_dim_is_const(&l->graph->dims, buffer->dims[layout->axis_dim[a]], &extent) ||
                                 extent % layout->axis_size[a]))
      return true;
  }
  return false;
}

/* Zeroes the padding of the memory that `buffer` lies in, once. */
void onnxc_lower_fill(onnxc_lowerer *l, uint32_t buffer) {
  uint32_t root = onnxc_tile_root(l->program, buffer);
  onnxc_buffer *info = &l->program->buffers.data[root];
  if (info->space != ONNXC_SPACE_VALUE || !has_padding(l, info) || l->filled[info->value.i])
    return;
  l->filled[info->value.i] = true;
  onnxc_block body = {0};
  onnxc_stmt *fill = onnxc_tile_stmt(l->program, &body, ONNXC_STMT_FILL);
  fill->num_results = 1;
  fill->results = ONNXC_NEW(l->graph->arena, onnxc_operand);
  fill->results[0].buffer = root;
  onnxc_lower_stage(l, onnxc_arena_printf(l->graph->arena, "fill_%s", info->name ? info->name : "value"), body);
}

static onnxc_operand *operands_of(lowerer *l, uint32_t count, const uint32_t *buffers) {
  onnxc_operand *operands = ONNXC_NEW_ARRAY(l->graph->arena, onnxc_operand, count + 1);
  for (uint32_t k = 0; k < count; k++)
    operands[k].buffer = buffers[k];
  return operands;
}

/* One compute over whole buffers: a stage. */
static void lower_work(lowerer *l, const char *name, onnxc_work *work) {
  onnxc_arena *arena = l->graph->arena;
  for (uint32_t j = 0; j < work->num_results; j++)
    onnxc_lower_fill(l, work->results[j]);
  onnxc_tile_weave(l->program, work);
  onnxc_tile_collapse(l->program, work);
  onnxc_stmt stmt = {.kind = ONNXC_STMT_COMPUTE, .num_operands = work->num_operands, .num_results = work->num_results};
  onnxc_compute *compute = ONNXC_NEW(arena, onnxc_compute);
  *compute = work->compute;
  stmt.compute = compute;
  stmt.operands = operands_of(l, work->num_operands, work->operands);
  stmt.results = operands_of(l, work->num_results, work->results);
  onnxc_block body = {0};
  onnxc_grid_place(l->program, &body, &stmt);
  onnxc_lower_stage(l, name, body);
}

/* ---- nodes ---- */

static uint32_t buffer_of(lowerer *l, onnxc_value value) { return value.i ? l->buffer_of[value.i] : 0; }

static void lower_compute(lowerer *l, const onnxc_node_info *node) {
  onnxc_work work = {.compute = *node->compute, .num_operands = node->num_inputs, .num_results = node->num_outputs};
  work.operands = ONNXC_NEW_ARRAY(l->graph->arena, uint32_t, node->num_inputs + 1);
  work.results = ONNXC_NEW_ARRAY(l->graph->arena, uint32_t, node->num_outputs + 1);
  for (uint32_t k = 0; k < node->num_inputs; k++)
    work.operands[k] = buffer_of(l, node->inputs[k]);
  for (uint32_t j = 0; j < node->num_outputs; j++)
    work.results[j] = buffer_of(l, node->outputs[j]);
  lower_work(l, onnxc_lower_name(l, node->name, "compute"), &work);
}

/* Element by element, both buffers of one logical shape. */
static void lower_copy(lowerer *l, const char *name, uint32_t from, uint32_t to) {
  const onnxc_buffer *target = &l->program->buffers.data[to];
  onnxc_exprs *pool = &l->graph->exprs;
  onnxc_work work = {.num_operands = 1, .num_results = 1};
  onnxc_expr index[ONNXC_MAX_RANK];
  work.compute.num_parallel = target->rank;
  work.compute.num_results = 1;
  for (uint32_t d = 0; d < target->rank; d++) {
    work.compute.extents[d] = target->dims[d];
    index[d] = onnxc_expr_index(pool, d);
  }
  work.compute.finish[0] = onnxc_expr_load(pool, target->dtype, 0, target->rank, index);
  work.operands = ONNXC_NEW(l->graph->arena, uint32_t);
  work.results = ONNXC_NEW(l->graph->arena, uint32_t);
  work.operands[0] = from;
  work.results[0] = to;
  lower_work(l, name, &work);
}

/* A reshape whose result has memory of its own: both sides seen flat, in storage order. */
static void lower_flat_copy(lowerer *l, const char *name, uint32_t from, uint32_t to) {
  lower_copy(l, name, onnxc_tile_flat_view(l->program, from), onnxc_tile_flat_view(l->program, to));
}

static void lower_concat(lowerer *l, const onnxc_node_info *node) {
  uint32_t whole = buffer_of(l, node->outputs[0]);
  onnxc_dim start = onnxc_dim_const(&l->graph->dims, 0);
  for (uint32_t k = 0; k < node->num_inputs; k++) {
    uint32_t part = buffer_of(l, node->inputs[k]);
    onnxc_dim extent = onnxc_value_of(l->graph, node->inputs[k])->dims[node->axis];
    uint32_t place = onnxc_tile_part_view(l->program, whole, (uint32_t)node->axis, start, extent);
    if (!onnxc_tile_same_place(l->program, part, place))
      lower_copy(l, onnxc_lower_name(l, node->name, "concat"), part, place);
    start = onnxc_dim_add(&l->graph->dims, start, extent);
  }
}

/* ---- the program ---- */

static void make_buffers(lowerer *l) {
  onnxc_graph *graph = l->graph;
  for (uint32_t v = 1; v < graph->values.length; v++) {
    const onnxc_value_info *info = &graph->values.data[v];
    onnxc_buffer buffer = {.name = info->name,
                           .space = ONNXC_SPACE_VALUE,
                           .value = {v},
                           .dtype = info->dtype,
                           .rank = info->rank,
                           .dims = info->dims,
                           .layout = info->layout,
                           .ring_dim = -1};
    onnxc_branch branch = onnxc_branch_of(graph, buffer.value);
    if (branch.i)
      buffer.condition = onnxc_branch_condition(graph, branch);
    bool live = !info->producer.i; /* inputs; others when their producer is in order */
    if (live || l->buffer_of[v])
      l->buffer_of[v] = onnxc_tile_add_buffer(l->program, &buffer);
  }
}

static void mark_live(lowerer *l) {
  const onnxc_graph *graph = l->graph;
  for (uint32_t n = 0; n < graph->order.length; n++) {
    const onnxc_node_info *node = onnxc_node_of(graph, graph->order.data[n]);
    for (uint32_t j = 0; j < node->num_outputs; j++)
      if (node->outputs[j].i)
        l->buffer_of[node->outputs[j].i] = 1;
  }
}

/* Tells the stages from number `first` on which source nodes they compute: those of nodes begin..end-1 of the order. */
static void name_sources(lowerer *l, uint32_t first, uint32_t begin, uint32_t end) {
  onnxc_sources sources = {0};
  for (uint32_t n = begin; n < end; n++) {
    onnxc_node node = l->graph->order.data[n], before = l->chained[node.i];
    if (before.i)
      onnxc_sources_add(&sources, onnxc_node_of(l->graph, before));
    onnxc_sources_add(&sources, onnxc_node_of(l->graph, node));
  }
  onnxc_text text;
  onnxc_text_init(&text, l->graph->arena);
  bool copy = onnxc_node_of(l->graph, l->graph->order.data[begin])->op == ONNXC_OP_RELAYOUT; /* named as its value */
  for (uint32_t k = 0; k < sources.count; k++)
    onnxc_text_printf(&text, "%s%s", k ? "\n" : copy ? "relayout of " : "", sources.names[k]);
  onnxc_text_printf(&text, "%s", sources.more ? "\n..." : "");
  for (uint32_t s = first; s < l->program->stages.length; s++)
    l->program->stages.data[s].nodes = text.data;
}

/* Graph outputs that no stage writes (inputs, constants) or that stand twice become copies. */
static void copy_outputs(lowerer *l) {
  onnxc_graph *graph = l->graph;
  for (uint32_t k = 0; k < graph->outputs.length; k++) {
    onnxc_value value = graph->outputs.data[k];
    onnxc_value_info info = *onnxc_value_of(graph, value);
    bool again = false;
    for (uint32_t n = 0; n < k; n++)
      again = again || graph->outputs.data[n].i == value.i;
    bool written = info.producer.i && onnxc_node_of(graph, info.producer)->op != ONNXC_OP_CONSTANT;
    if (written && !again)
      continue;
    onnxc_value copy = onnxc_graph_add_value(graph, info.name, info.dtype, info.rank, info.dims);
    onnxc_graph_add_node(graph, ONNXC_OP_RELAYOUT, info.name, 1, &value, 1, &copy);
    onnxc_buffer buffer = {.name = info.name,
                           .space = ONNXC_SPACE_VALUE,
                           .value = copy,
                           .dtype = info.dtype,
                           .rank = info.rank,
                           .dims = onnxc_value_of(graph, copy)->dims,
                           .ring_dim = -1};
    graph->outputs.data[k] = copy;
    uint32_t to = onnxc_tile_add_buffer(l->program, &buffer);
    lower_copy(l, onnxc_lower_name(l, info.name, "output"), l->buffer_of[value.i], to);
  }
}

onnxc_status onnxc_tile_lower(onnxc_tile_program *program) {
  onnxc_graph *graph = program->graph;
  lowerer l = {.program = program, .graph = graph, .capacity = graph->values.length};
  l.buffer_of = ONNXC_NEW_ARRAY(graph->arena, uint32_t, l.capacity);
  l.filled = ONNXC_NEW_ARRAY(graph->arena, bool, l.capacity);
  program->uses = onnxc_graph_count_uses(graph, graph->arena);
  mark_live(&l);
  make_buffers(&l);
  onnxc_tile_place_views(program, l.buffer_of);
  onnxc_lower_find_chains(&l);
  uint32_t length = graph->order.length;
  for (uint32_t n = 0; n < length;) {
    uint32_t begin = n, stages = program->stages.length;
    const onnxc_node_info *node = onnxc_node_of(graph, graph->order.data[n]);
    switch (node->op) {
    case ONNXC_OP_CONSTANT: break;
    case ONNXC_OP_COMPUTE:
      if (node->compute->row_group) {
        n = onnxc_lower_rows(&l, n) - 1;
        break;
      }
      if (!onnxc_lower_chain(&l, graph->order.data[n]))
        lower_compute(&l, node);
      break;
    case ONNXC_OP_RELAYOUT:
      lower_copy(&l, onnxc_lower_name(&l, node->name, "relayout"), buffer_of(&l, node->inputs[0]),
                 buffer_of(&l, node->outputs[0]));
      break;
    case ONNXC_OP_CONCAT: lower_concat(&l, node); break;
    case ONNXC_OP_RESHAPE:
      if (!program->buffers.data[buffer_of(&l, node->outputs[0])].alias)
        lower_flat_copy(&l, onnxc_lower_name(&l, node->name, "reshape"), buffer_of(&l, node->inputs[0]),
                        buffer_of(&l, node->outputs[0]));
      break;
    default:
      return onnxc_error(graph->diag, ONNXC_INTERNAL, "%s: no stage can be made of a %s", node->name ? node->name : "?",
                         onnxc_op_name(node->op));
    }
    n++;
    if (program->stages.length > stages)
      name_sources(&l, stages, begin, n);
  }
  copy_outputs(&l);
  onnxc_tile_merge_packing(program);
  onnxc_tile_number_segments(program);
  return ONNXC_OK;
}
