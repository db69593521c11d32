/* collapse.c -- drop loops of one iteration and merge loops that walk memory as one.
 *
 *     y[n, c, h, w] = max(x[n, c, h, w], 0), all in storage order n h w c   =>   y[i] = max(x[i], 0)
 *     1x1 convolution over (n, h, w)                                         =>   matrix product with one m
 *     step 7 of a recurrence, x[7, b, i]                                     =>   x'[b, i], x' a view of x
 *
 * Indices a and b merge to a * extent(b) + b if every load and every result has either none of them, or both, alone and
 * plain in dims that are neighbours in storage order, without halo, the inner one whole. Buffers become views
 * of fewer dims. Each step removes an index or a dim, so the loop ends.
 *
 * A dim in which all loads of an operand stand at one place becomes a dim of one element before, of a view that begins
 * there: computes that differ in such places alone share their code (codegen/same.c).
 */
#include "tile/collapse.h"

#include "tile/views.h"

/* ---- views ---- */

uint32_t onnxc_tile_view(onnxc_tile_program *program, uint32_t number, uint32_t drop, int into) {
  onnxc_graph *graph = program->graph;
  onnxc_buffer base = program->buffers.data[number], view = base;
  const onnxc_dim *strides = onnxc_buffer_stride_dims(&base);
  onnxc_layout layout = onnxc_layout_explicit(&base.layout, base.rank);
  view.rank = base.rank - 1;
  view.dims = ONNXC_NEW_ARRAY(graph->arena, onnxc_dim, base.rank);
  view.alias_dims = ONNXC_NEW_ARRAY(graph->arena, onnxc_dim, base.rank);
  view.layout = (onnxc_layout){0};
  for (uint32_t d = 0, k = 0; d < base.rank; d++) {
    if (d == drop)
      continue;
    bool merged = into == (int)d;
    view.dims[k] = merged ? onnxc_dim_mul(&graph->dims, base.dims[d], base.dims[drop]) : base.dims[d];
    view.alias_dims[k] = merged ? onnxc_dim_mul(&graph->dims, strides[d], strides[drop]) : strides[d];
    view.layout.low[k] = layout.low[d];
    view.layout.high[k] = layout.high[d];
    k++;
  }
  for (uint32_t a = 0; a < layout.num_axes; a++) {
    uint32_t d = layout.axis_dim[a];
    if (d == drop)
      continue;
    view.layout.axis_dim[view.layout.num_axes] = (uint8_t)(d > drop ? d - 1 : d);
    view.layout.axis_size[view.layout.num_axes++] = layout.axis_size[a];
  }
  if (!base.alias) {
    view.alias = number;
    view.alias_offset = onnxc_dim_const(&graph->dims, 0);
  }
  return onnxc_tile_add_buffer(program, &view);
}

/* ---- questions ---- */

static bool plain_dim(const onnxc_buffer *buffer, const onnxc_layout *layout, uint32_t d) {
  uint32_t parts = 0;
  for (uint32_t a = 0; a < layout->num_axes; a++)
    parts += layout->axis_dim[a] == d;
  return parts == 1 && layout->low[d] == 0 && layout->high[d] == 0 && buffer->ring_dim < 0;
}

/* One element, and no stride depends on how many there are in memory. */
static bool unit_dim(const onnxc_tile_program *program, uint32_t number, uint32_t d) {
  const onnxc_buffer *buffer = &program->buffers.data[number];
  onnxc_layout layout = onnxc_layout_explicit(&buffer->layout, buffer->rank);
  const onnxc_dims *dims = &program->graph->dims;
  return plain_dim(buffer, &layout, d) && onnxc_dim_is(dims, buffer->dims[d], 1) &&
         (layout.axis_dim[0] == d || onnxc_dim_is(dims, onnxc_buffer_stride_dims(buffer)[d], 1));
}

/* Are dims a and b (outer, inner) of a buffer one dim in memory? */
static bool neighbours(const onnxc_tile_program *program, uint32_t number, uint32_t a, uint32_t b,
                       onnxc_dim inner_extent) {
  const onnxc_buffer *buffer = &program->buffers.data[number];
  onnxc_layout layout = onnxc_layout_explicit(&buffer->layout, buffer->rank);
  if (!plain_dim(buffer, &layout, a) || !plain_dim(buffer, &layout, b))
    return false;
  if (!onnxc_dim_same(buffer->dims[b], inner_extent) ||
      !onnxc_dim_same(onnxc_buffer_stride_dims(buffer)[b], inner_extent))
    return false;
  for (uint32_t k = 0; k + 1 < layout.num_axes; k++)
    if (layout.axis_dim[k] == a && layout.axis_dim[k + 1] == b)
      return true;
  return false;
}

/* ---- rewriting expressions ---- */

typedef struct rewrite {
  uint32_t removed;        /* index that goes away (UINT32_MAX: none) */
  uint32_t operand, dim;   /* loads of this operand lose this argument (operand UINT32_MAX: none) */
  const uint8_t *drop_dim; /* or, by operand: 1 + the argument that goes away, 0 = none */
} rewrite;

static onnxc_expr rewrite_leaf(void *arg, onnxc_exprs *pool, onnxc_expr leaf) {
  const rewrite *r = arg;
  onnxc_expr_node node = *onnxc_exprs_node(pool, leaf);
  if (node.op == ONNXC_EXPR_INDEX) {
    if (node.imm == (int64_t)r->removed)
      return onnxc_expr_i64(pool, ONNXC_I64, 0);
    if (node.imm > (int64_t)r->removed)
      return onnxc_expr_index(pool, (uint32_t)node.imm - 1);
    return (onnxc_expr){0};
  }
  if (node.op != ONNXC_EXPR_LOAD)
    return (onnxc_expr){0};
  uint32_t gone = UINT32_MAX;
  if (r->operand == (uint32_t)node.imm)
    gone = r->dim;
  if (r->drop_dim && r->drop_dim[node.imm])
    gone = r->drop_dim[node.imm] - 1u;
  if (gone == UINT32_MAX)
    return (onnxc_expr){0};
  onnxc_expr args[ONNXC_MAX_RANK];
  uint32_t count = 0;
  for (uint32_t d = 0; d < node.num_args; d++)
    if (d != gone)
      args[count++] = node.args[d];
  return onnxc_expr_load(pool, (onnxc_dtype)node.dtype, (uint32_t)node.imm, count, args);
}

static void rewrite_work(onnxc_exprs *pool, onnxc_compute *c, rewrite *r) {
  for (uint32_t j = 0; j < c->num_results; j++) {
    if (c->num_reduce) {
      c->init[j] = onnxc_expr_rewrite(pool, c->init[j], rewrite_leaf, r);
      c->element[j] = onnxc_expr_rewrite(pool, c->element[j], rewrite_leaf, r);
    }
    c->finish[j] = onnxc_expr_rewrite(pool, c->finish[j], rewrite_leaf, r);
  }
}

static void remove_index(onnxc_compute *c, uint32_t k) {
  uint32_t total = c->num_parallel + c->num_reduce;
  if (k < c->num_parallel)
    c->num_parallel--;
  else
    c->num_reduce--;
  for (; k + 1 < total; k++) {
    c->extents[k] = c->extents[k + 1];
    c->contraction.role[k] = c->contraction.role[k + 1];
  }
}

/* ---- places ---- */

/* Of each operand and dim: where the loads stand in it. */
enum { UNSEEN = -1, SEVERAL = -2 };
typedef struct places {
  int64_t (*at)[ONNXC_MAX_RANK]; /* by operand: an index, UNSEEN or SEVERAL; where it is replaced by 0, an index */
} places;

static void scan_places(void *arg, const onnxc_exprs *pool, onnxc_expr e) {
  const places *p = arg;
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  if (node->op != ONNXC_EXPR_LOAD)
    return;
  for (uint32_t d = 0; d < node->num_args; d++) {
    int64_t *at = &p->at[node->imm][d], place;
    bool constant = onnxc_exprs_node(pool, node->args[d])->op == ONNXC_EXPR_CONST &&
                    onnxc_expr_const_value(pool, node->args[d], NULL, &place) && place >= 0;
    *at = constant && (*at == UNSEEN || *at == place) ? place : SEVERAL;
  }
}

static onnxc_expr move_load(void *arg, onnxc_exprs *pool, onnxc_expr leaf) {
  const places *p = arg;
  onnxc_expr_node node = *onnxc_exprs_node(pool, leaf);
  if (node.op != ONNXC_EXPR_LOAD)
    return (onnxc_expr){0};
  onnxc_expr args[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < node.num_args; d++)
    args[d] = p->at[node.imm][d] >= 0 ? onnxc_expr_i64(pool, ONNXC_I64, 0) : node.args[d];
  return onnxc_expr_load(pool, (onnxc_dtype)node.dtype, (uint32_t)node.imm, node.num_args, args);
}

/* May a view begin at this place of dim d? */
static bool may_begin(const onnxc_tile_program *program, uint32_t number, uint32_t d, int64_t place) {
  const onnxc_buffer *buffer = &program->buffers.data[number];
  const onnxc_buffer *root = &program->buffers.data[onnxc_tile_root(program, number)];
  onnxc_layout layout = onnxc_layout_explicit(&buffer->layout, buffer->rank);
  int64_t low, high;
  onnxc_dim_range(&program->graph->dims, buffer->dims[d], &low, &high);
  return plain_dim(buffer, &layout, d) && place < low && !onnxc_dim_is(&program->graph->dims, buffer->dims[d], 1) &&
         onnxc_dtype_bytes(root->dtype) == onnxc_dtype_bytes(buffer->dtype);
}

static void begin_at_places(onnxc_tile_program *program, onnxc_work *work) {
  onnxc_graph *graph = program->graph;
  onnxc_compute *c = &work->compute;
  onnxc_dim one = onnxc_dim_const(&graph->dims, 1);
  places p = {onnxc_arena_alloc(graph->arena, sizeof *p.at * (work->num_operands + 1))};
  bool any = false;
  for (uint32_t k = 0; k < work->num_operands; k++)
    for (uint32_t d = 0; d < ONNXC_MAX_RANK; d++)
      p.at[k][d] = UNSEEN;
  for (uint32_t j = 0; j < c->num_results; j++) {
    onnxc_expr_walk(&graph->exprs, c->finish[j], scan_places, &p);
    if (c->num_reduce) {
      onnxc_expr_walk(&graph->exprs, c->init[j], scan_places, &p);
      onnxc_expr_walk(&graph->exprs, c->element[j], scan_places, &p);
    }
  }
  for (uint32_t k = 0; k < work->num_operands; k++)
    for (uint32_t d = 0; d < ONNXC_MAX_RANK; d++) {
      int64_t *at = &p.at[k][d];
      if (*at < 0 || !work->operands[k])
        continue;
      if (!may_begin(program, work->operands[k], d, *at)) {
        *at = SEVERAL;
        continue;
      }
      work->operands[k] = onnxc_tile_part_view(program, work->operands[k], d, onnxc_dim_const(&graph->dims, *at), one);
      any = true;
    }
  for (uint32_t j = 0; j < c->num_results && any; j++) {
    c->finish[j] = onnxc_expr_rewrite(&graph->exprs, c->finish[j], move_load, &p);
    if (c->num_reduce) {
      c->init[j] = onnxc_expr_rewrite(&graph->exprs, c->init[j], move_load, &p);
      c->element[j] = onnxc_expr_rewrite(&graph->exprs, c->element[j], move_load, &p);
    }
  }
}

/* ---- the steps ---- */

static bool drop_unit_index(onnxc_tile_program *program, onnxc_work *work) {
  onnxc_compute *c = &work->compute;
  for (uint32_t k = 0; k < c->num_parallel + c->num_reduce; k++) {
    if (!onnxc_dim_is(&program->graph->dims, c->extents[k], 1))
      continue;
    if (k >= c->num_parallel && c->num_reduce == 1)
      continue; /* a reduction stays one */
    if (k < c->num_parallel) {
      bool possible = true;
      for (uint32_t j = 0; j < work->num_results; j++)
        possible = possible && unit_dim(program, work->results[j], k);
      if (!possible)
        continue;
      for (uint32_t j = 0; j < work->num_results; j++)
        work->results[j] = onnxc_tile_view(program, work->results[j], k, -1);
    }
    rewrite r = {.removed = k, .operand = UINT32_MAX};
    rewrite_work(&program->graph->exprs, c, &r);
    remove_index(c, k);
    return true;
  }
  return false;
}

static bool drop_unit_dim(onnxc_tile_program *program, onnxc_work *work) {
  for (uint32_t k = 0; k < work->num_operands; k++) {
    if (!work->operands[k])
      continue;
    for (uint32_t d = 0; d < program->buffers.data[work->operands[k]].rank; d++) {
      if (!unit_dim(program, work->operands[k], d))
        continue;
      rewrite r = {.removed = UINT32_MAX, .operand = k, .dim = d};
      rewrite_work(&program->graph->exprs, &work->compute, &r);
      work->operands[k] = onnxc_tile_view(program, work->operands[k], d, -1);
      return true;
    }
  }
  return false;
}

typedef struct merge_scan {
  const onnxc_tile_program *program;
  const onnxc_work *work;
  uint32_t a, b;
  uint8_t *inner; /* by operand: 1 + the dim that b walks, 0 = none yet */
  uint8_t *outer;
  bool *without; /* by operand: some load of it has neither */
  bool possible;
} merge_scan;

static void scan_merge(void *arg, const onnxc_exprs *pool, onnxc_expr e) {
  merge_scan *scan = arg;
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  if (node->op != ONNXC_EXPR_LOAD || !scan->possible)
    return;
  int at_a = -1, at_b = -1;
  for (uint32_t d = 0; d < node->num_args; d++) {
    const onnxc_expr_node *index = onnxc_exprs_node(pool, node->args[d]);
    bool plain_a = index->op == ONNXC_EXPR_INDEX && index->imm == (int64_t)scan->a;
    bool plain_b = index->op == ONNXC_EXPR_INDEX && index->imm == (int64_t)scan->b;
    if ((plain_a && at_a >= 0) || (plain_b && at_b >= 0) ||
        (!plain_a && onnxc_expr_uses_index(pool, node->args[d], scan->a)) ||
        (!plain_b && onnxc_expr_uses_index(pool, node->args[d], scan->b))) {
      scan->possible = false;
      return;
    }
    at_a = plain_a ? (int)d : at_a;
    at_b = plain_b ? (int)d : at_b;
  }
  if (at_a < 0 && at_b < 0) {
    scan->without[node->imm] = true;
    return;
  }
  if (at_a < 0 || at_b < 0 || (scan->inner[node->imm] && scan->inner[node->imm] != at_b + 1) ||
      (scan->outer[node->imm] && scan->outer[node->imm] != at_a + 1) ||
      !neighbours(scan->program, scan->work->operands[node->imm], (uint32_t)at_a, (uint32_t)at_b,
                  scan->work->compute.extents[scan->b]) ||
      !onnxc_dim_same(scan->program->buffers.data[scan->work->operands[node->imm]].dims[at_a],
                      scan->work->compute.extents[scan->a])) {
    scan->possible = false;
    return;
  }
  scan->inner[node->imm] = (uint8_t)(at_b + 1);
  scan->outer[node->imm] = (uint8_t)(at_a + 1);
}

/* An index that occurs outside of loads (as a number) cannot merge: it would have to be divided out again. */
typedef struct number_scan {
  uint32_t a, b;
  bool found;
} number_scan;

static void scan_number(const onnxc_exprs *pool, onnxc_expr e, number_scan *scan, uint32_t depth) {
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  if (scan->found || node->op == ONNXC_EXPR_LOAD)
    return;
  if (node->op == ONNXC_EXPR_INDEX && (node->imm == (int64_t)scan->a || node->imm == (int64_t)scan->b))
    scan->found = true;
  if (depth > 64) { /* a deep expression: assume the worst, cheaply */
    scan->found = true;
    return;
  }
  for (uint32_t k = 0; k < node->num_args; k++)
    scan_number(pool, node->args[k], scan, depth + 1);
}

static bool try_merge(onnxc_tile_program *program, onnxc_work *work, uint32_t a, uint32_t b) {
  onnxc_graph *graph = program->graph;
  onnxc_exprs *pool = &graph->exprs;
  onnxc_compute *c = &work->compute;
  if (c->contraction.valid && c->contraction.role[a] != c->contraction.role[b])
    return false;
  bool parallel = a < c->num_parallel;
  if (parallel)
    for (uint32_t j = 0; j < work->num_results; j++)
      if (!neighbours(program, work->results[j], a, b, c->extents[b]))
        return false;
  merge_scan scan = {program, work, a, b, NULL, NULL, NULL, true};
  scan.inner = ONNXC_NEW_ARRAY(graph->arena, uint8_t, work->num_operands + 1);
  scan.outer = ONNXC_NEW_ARRAY(graph->arena, uint8_t, work->num_operands + 1);
  scan.without = ONNXC_NEW_ARRAY(graph->arena, bool, work->num_operands + 1);
  number_scan numbers = {a, b, false};
  for (uint32_t j = 0; j < c->num_results; j++) {
    onnxc_expr parts[3] = {c->finish[j], c->num_reduce ? c->init[j] : (onnxc_expr){0},
                           c->num_reduce ? c->element[j] : (onnxc_expr){0}};
    for (int p = 0; p < 3; p++)
      if (parts[p].i) {
        onnxc_expr_walk(pool, parts[p], scan_merge, &scan);
        scan_number(pool, parts[p], &numbers, 0);
      }
  }
  for (uint32_t k = 0; k < work->num_operands; k++)
    if (scan.inner[k] && scan.without[k])
      scan.possible = false;
  if (!scan.possible || numbers.found)
    return false;
  for (uint32_t k = 0; k < work->num_operands; k++)
    if (scan.inner[k])
      work->operands[k] = onnxc_tile_view(program, work->operands[k], scan.inner[k] - 1u, scan.outer[k] - 1);
  if (parallel)
    for (uint32_t j = 0; j < work->num_results; j++)
      work->results[j] = onnxc_tile_view(program, work->results[j], b, (int)a);
  c->extents[a] = onnxc_dim_mul(&graph->dims, c->extents[a], c->extents[b]);
  /* Index a now runs over both. Loads lose b's argument; a's number moves down when b was before it. */
  rewrite r = {.removed = b, .operand = UINT32_MAX, .drop_dim = scan.inner};
  rewrite_work(pool, c, &r);
  remove_index(c, b);
  return true;
}

static bool merge_indices(onnxc_tile_program *program, onnxc_work *work) {
  onnxc_compute *c = &work->compute;
  uint32_t total = c->num_parallel + c->num_reduce;
  bool ordered = false;
  for (uint32_t j = 0; j < c->num_results; j++)
    ordered = ordered || (c->num_reduce && onnxc_compute_combiner(&program->graph->exprs, c, j) == ONNXC_EXPR_NONE);
  for (uint32_t a = 0; a < total; a++)
    for (uint32_t b = 0; b < total; b++) {
      if (a == b || (a < c->num_parallel) != (b < c->num_parallel))
        continue;
      if (a >= c->num_parallel && ordered && b != a + 1)
        continue;
      if (try_merge(program, work, a, b))
        return true;
    }
  return false;
}

void onnxc_tile_collapse(onnxc_tile_program *program, onnxc_work *work) {
  begin_at_places(program, work);
  while (drop_unit_index(program, work) || drop_unit_dim(program, work) || merge_indices(program, work)) {
  }
}
