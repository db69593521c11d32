/* merge.c -- see merge.h.
 *
 *     stage pack:     parallel .. { compute b -> packed }
 *     stage product:  parallel t { contract(a, packed) -> c }      of one batch index, which both have
 *   becomes
 *     stage product:  parallel t { compute b[t] -> packed[t];  contract(a, packed) -> c }
 *
 * Each task packs what it reads, and nobody else reads it: so there is no barrier between the two, and the panels are
 * still in the cache. A product that is cut along rows or columns, too, would pack several times, and stays as it is.
 */
#include "tile/merge.h"

#include <string.h>

/* The one statement in a nest of parallel loops, *depth of them; NULL if there is another thing in it. */
static onnxc_stmt *only_compute(const onnxc_stage *stage, uint32_t *depth) {
  const onnxc_block *body = &stage->body;
  for (*depth = 0; body->length == 1; ++*depth) {
    onnxc_stmt *stmt = body->data[0];
    if (stmt->kind == ONNXC_STMT_COMPUTE)
      return stmt;
    if (stmt->kind != ONNXC_STMT_FOR || !stmt->parallel)
      return NULL;
    body = &stmt->body;
  }
  return NULL;
}

static uint32_t reads(const onnxc_tile_program *program, const onnxc_block *block, uint32_t root) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < block->length; i++) {
    const onnxc_stmt *stmt = block->data[i];
    for (uint32_t k = 0; k < stmt->num_operands; k++)
      count += stmt->operands[k].buffer && onnxc_tile_root(program, stmt->operands[k].buffer) == root;
    count += reads(program, &stmt->body, root) + reads(program, &stmt->otherwise, root);
  }
  return count;
}

/* How far apart, in bytes, neighbours along dim d lie; none when d is blocked. */
static onnxc_dim byte_stride(const onnxc_tile_program *program, const onnxc_buffer *buffer, uint32_t d) {
  onnxc_dims *dims = &program->graph->dims;
  onnxc_dim extents[ONNXC_LAYOUT_MAX_AXES], strides[ONNXC_LAYOUT_MAX_AXES], stride = {0};
  onnxc_layout layout = onnxc_layout_explicit(&buffer->layout, buffer->rank);
  const onnxc_dim *shape = buffer->alias_dims ? buffer->alias_dims : buffer->dims;
  onnxc_layout_strides(dims, &layout, buffer->rank, shape, extents, strides);
  for (uint32_t a = 0; a < layout.num_axes; a++) {
    if (layout.axis_dim[a] != d)
      continue;
    if (layout.axis_size[a] || stride.i || layout.low[d])
      return (onnxc_dim){0};
    stride = onnxc_dim_mulc(dims, strides[a], (int64_t)onnxc_dtype_bytes(buffer->dtype));
  }
  return stride;
}

typedef struct finder {
  uint32_t operand;
  onnxc_expr load;
} finder;

static void find_load(void *arg, const onnxc_exprs *pool, onnxc_expr e) {
  finder *f = arg;
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  if (node->op == ONNXC_EXPR_LOAD && node->imm == (int64_t)f->operand)
    f->load = e;
}

/* The index of `pack` that moves along the packed factor just as index `batch` of `product` does; -1 if there is none.
 */
static int same_index(const onnxc_tile_program *program, const onnxc_stmt *pack, const onnxc_stmt *product, int batch) {
  const onnxc_exprs *pool = &program->graph->exprs;
  finder f = {product->compute->contraction.b, {0}};
  onnxc_expr_walk(pool, product->compute->element[0], find_load, &f);
  if (!f.load.i)
    return -1;
  const onnxc_expr_node *load = onnxc_exprs_node(pool, f.load);
  int at = -1;
  for (uint32_t d = 0; d < load->num_args; d++) {
    const onnxc_expr_node *index = onnxc_exprs_node(pool, load->args[d]);
    if (index->op == ONNXC_EXPR_INDEX && index->imm == batch && at < 0)
      at = (int)d;
    else if (onnxc_expr_uses_index(pool, load->args[d], (uint32_t)batch))
      return -1;
  }
  if (at < 0)
    return -1;
  onnxc_dim stride = byte_stride(program, &program->buffers.data[product->operands[f.operand].buffer], (uint32_t)at);
  for (uint32_t p = 0; stride.i && p < pack->compute->num_parallel; p++) {
    onnxc_dim other = byte_stride(program, &program->buffers.data[pack->results[0].buffer], p);
    if (other.i && onnxc_dim_same(stride, other) &&
        onnxc_dim_same(pack->compute->extents[p], product->compute->extents[batch]) && (int)p != pack->schedule.row &&
        (int)p != pack->schedule.vec)
      return (int)p;
  }
  return -1;
}

static bool merge(onnxc_tile_program *program, const onnxc_stage *first, onnxc_stage *second) {
  onnxc_graph *graph = program->graph;
  uint32_t depth;
  const onnxc_stmt *pack = only_compute(first, &depth), *product = only_compute(second, &depth);
  if (!pack || !product || depth != 1 || pack->compute->num_reduce || pack->num_results != 1 ||
      pack->results[0].origin || !product->compute->contraction.valid)
    return false;
  uint32_t b = product->compute->contraction.b, root = onnxc_tile_root(program, pack->results[0].buffer), uses = 0;
  if (!onnxc_dim_same(onnxc_tile_condition(program, &first->body), onnxc_tile_condition(program, &second->body)))
    return false; /* the tasks would run where the packing should not, or the other way round */
  if (product->operands[b].origin || onnxc_tile_root(program, product->operands[b].buffer) != root)
    return false;
  for (uint32_t s = 0; s < program->stages.length; s++)
    uses += reads(program, &program->stages.data[s].body, root);
  onnxc_stmt *loop = second->body.data[0];
  onnxc_dim iv = onnxc_dim_sym(&graph->dims, loop->iv);
  int batch = -1;
  for (uint32_t k = 0; k < product->compute->num_parallel; k++)
    if (onnxc_dim_same(product->box_lo[k], iv))
      batch = (int)k;
  int index = uses == 1 && batch >= 0 ? same_index(program, pack, product, batch) : -1;
  if (index < 0)
    return false;
  if (first->nodes && first->nodes[0] && second->nodes && strcmp(first->nodes, second->nodes) != 0)
    second->nodes = onnxc_arena_printf(graph->arena, "%s\n%s", first->nodes, second->nodes);
  onnxc_stmt *kept = loop->body.data[0];
  loop->body.length = 0;
  onnxc_stmt *moved = onnxc_tile_stmt(program, &loop->body, ONNXC_STMT_COMPUTE);
  *moved = *pack;
  ONNXC_PUSH(graph->arena, loop->body, kept);
  uint32_t indices = pack->compute->num_parallel;
  moved->box_lo = ONNXC_NEW_ARRAY(graph->arena, onnxc_dim, indices + 1);
  moved->box_size = ONNXC_NEW_ARRAY(graph->arena, onnxc_dim, indices + 1);
  for (uint32_t k = 0; k < indices; k++) {
    moved->box_lo[k] = (int)k == index ? iv : onnxc_dim_const(&graph->dims, 0);
    moved->box_size[k] = (int)k == index ? kept->box_size[batch] : pack->compute->extents[k];
  }
  return true;
}

void onnxc_tile_merge_packing(onnxc_tile_program *program) {
  uint32_t kept = 0;
  for (uint32_t s = 0; s < program->stages.length; s++) {
    bool gone =
        s + 1 < program->stages.length && merge(program, &program->stages.data[s], &program->stages.data[s + 1]);
    if (!gone)
      program->stages.data[kept++] = program->stages.data[s];
  }
  program->stages.length = kept;
}
