/* schedule.c -- the cost model: how a compute statement's box is walked.
 *
 * vec    the index whose lanes make the fewest instructions: each candidate's loads and stores are priced by
 *        their stride along it (splat, vector, shuffles, gather), its waste at the edge counts, and a
 *        reduction along the lanes pays for its horizontal sum. A scalar loop is a candidate, too.
 * row    the index that shares most loads between the rows of a register tile; without a reduction one that finish
 *        selects by.
 * rows, vecs   from the target's tile table for products, else enough accumulators to hide the latency.
 * order  for products by what stays in the caches; otherwise as the result lies in memory. Reductions walk the first
 *        factor in its storage order.
 * Costs are in rough vector instructions; only their order matters.
 */
#include "tile/access.h"
#include "tile/choices.h"
#include "tile/dot.h"

#include <stdlib.h>

/* Extents are only weighed here, so larger ones count as this. */
#define MAX_EXTENT ((int64_t)1 << 40)

typedef struct model {
  const onnxc_tile_program *program;
  const onnxc_compute *compute;
  const onnxc_target *target;
  uint32_t num_indices, num_accesses, lanes;
  onnxc_access *accesses;
  int64_t extent[ONNXC_MAX_INDICES]; /* of the box, at hints */
  bool known[ONNXC_MAX_INDICES];     /* extent is static */
  bool free_order;                   /* the reduction may be reordered */
  double element_cost, finish_cost;  /* arithmetic */
} model;

static uint32_t widest(const model *m) {
  uint32_t bytes = 4;
  for (uint32_t k = 0; k < m->num_accesses; k++) {
    uint32_t size = (uint32_t)onnxc_dtype_bytes(m->program->buffers.data[m->accesses[k].buffer].dtype);
    bytes = size > bytes ? size : bytes;
  }
  for (uint32_t j = 0; m->compute->num_reduce && j < m->compute->num_results; j++) {
    uint32_t size = (uint32_t)onnxc_dtype_bytes(m->compute->acc_dtype[j]);
    bytes = size > bytes ? size : bytes;
  }
  return bytes > 8 ? 8 : bytes;
}

/* The index that fills the gaps between the lanes of a store along `vec` (2 or 4 rows, then interleaved in registers);
 * -1 if there is none. Maps only. */
static int fills_gaps(const model *m, const onnxc_access *store, int vec) {
  int64_t gap = vec >= 0 ? store->stride[vec] : 0;
  if (!store->store || m->compute->num_reduce || m->compute->num_results != 1 || (gap != 2 && gap != 4))
    return -1;
  for (uint32_t k = 0; k < m->compute->num_parallel; k++)
    if ((int)k != vec && store->stride[k] == 1 && m->known[k] && m->extent[k] == gap)
      return (int)k;
  return -1;
}

static double access_cost(const model *m, const onnxc_access *access, int vec) {
  if (vec < 0)
    return 1;
  if (!access->depends[vec])
    return 0.3;
  if (!access->strided[vec])
    return m->lanes + 4;
  int64_t stride = llabs(access->stride[vec]);
  if (stride <= 1)
    return access->stride[vec] == 1 ? 1 : 2;
  if ((stride <= 4 && !access->store) || fills_gaps(m, access, vec) >= 0)
    return (double)stride + 1;
  return m->lanes * (access->store ? 1.2 : 0.9) + 2;
}

/* The price of the whole box with the lanes along `vec` (-1 = scalar). */
static double box_cost(const model *m, int vec) {
  double points = 1, reduced = 1;
  for (uint32_t k = 0; k < m->num_indices; k++) {
    int64_t walked = (int)k == vec ? (m->extent[k] + m->lanes - 1) / m->lanes : m->extent[k];
    double steps = (double)walked;
    if (k < m->compute->num_parallel)
      points *= steps;
    else
      reduced *= steps;
  }
  bool along_reduction = vec >= (int)m->compute->num_parallel;
  double inner = m->element_cost, outer = m->finish_cost;
  for (uint32_t k = 0; k < m->num_accesses; k++) {
    if (m->accesses[k].in_reduction)
      inner += access_cost(m, &m->accesses[k], vec);
    else
      outer += access_cost(m, &m->accesses[k], along_reduction ? -1 : vec);
  }
  if (along_reduction)
    outer += 10;
  return points * ((m->compute->num_reduce ? reduced * inner : 0) + outer);
}

/* The panels of the packed factor, a layout's last axes `n:width` or `n:width k:kr`: their width in elements, 0 if no
 * operand of the reduction is blocked. */
static int64_t panel_width(const model *m, int vec, int64_t *kr) {
  *kr = 1;
  for (uint32_t k = 0; k < m->num_accesses; k++) {
    const onnxc_buffer *buffer = &m->program->buffers.data[m->accesses[k].buffer];
    const onnxc_layout *layout = &buffer->layout;
    uint32_t axes = layout->num_axes;
    if (!m->accesses[k].in_reduction || !m->accesses[k].depends[vec] || axes < 2 || !layout->axis_size[axes - 1])
      continue;
    /* A dot product takes 32 bits of narrow elements in a lane. */
    bool dot = layout->axis_size[axes - 2] && layout->axis_dim[axes - 2] != layout->axis_dim[axes - 1] &&
               layout->axis_size[axes - 1] > 1 && layout->axis_size[axes - 1] * onnxc_dtype_bytes(buffer->dtype) == 4;
    *kr = dot ? layout->axis_size[axes - 1] : 1;
    return layout->axis_size[axes - (dot ? 2 : 1)];
  }
  return 0;
}

static int choose_vec(const model *m) {
  int best = -1;
  int64_t kr;
  for (uint32_t k = 0; k < m->compute->num_parallel; k++)
    if (m->compute->contraction.role[k] == ONNXC_ROLE_N && panel_width(m, (int)k, &kr) &&
        (!m->known[k] || m->extent[k] > 1 || kr > 1))
      return (int)k; /* packed for that */
  double least = box_cost(m, -1);
  for (uint32_t k = 0; k < m->num_indices; k++) {
    if ((k >= m->compute->num_parallel && !m->free_order) || (m->known[k] && m->extent[k] < 2))
      continue;
    double cost = box_cost(m, (int)k);
    if (cost < least) {
      least = cost;
      best = (int)k;
    }
  }
  return best;
}

/* The index besides vec along which most loads of the reduction stay the same. */
static int choose_row(const model *m, int vec) {
  int best = -1, most = 0;
  for (uint32_t k = 0; k < m->compute->num_parallel; k++) {
    if ((int)k == vec || (m->known[k] && m->extent[k] < 2))
      continue;
    int shared = 0, strided = 1;
    for (uint32_t a = 0; a < m->num_accesses; a++) {
      const onnxc_access *access = &m->accesses[a];
      if (!access->in_reduction)
        continue;
      if (!access->depends[k])
        shared += 1000 * (vec >= 0 && access->depends[vec] ? 4 : 1);
      else if (!access->strided[k])
        strided = 0;
      else
        shared += llabs(access->stride[k]) < 1 << 16 ? 1 : 0;
    }
    /* Of equals, the one that is longest; of those, the last. */
    int score = strided * (shared * 64 + (m->extent[k] >= 32 ? 63 : (int)m->extent[k]));
    if (shared >= 1000 && score >= most) {
      most = score;
      best = (int)k;
    }
  }
  return best;
}

static bool is_product(const model *m) {
  const onnxc_exprs *pool = &m->program->graph->exprs;
  return m->compute->num_results == 1 && m->compute->num_reduce > 0 &&
         onnxc_exprs_node(pool, m->compute->element[0])->op == ONNXC_EXPR_MUL &&
         onnxc_compute_combiner(pool, m->compute, 0) == ONNXC_EXPR_ADD;
}

/* Rows such that tiles are of nearly equal height: 7 in tiles of at most 6 is 4 + 3. */
static uint32_t balanced(const model *m, int row, uint32_t rows) {
  int64_t extent = m->extent[row];
  if (!m->known[row] || extent <= 0)
    return rows;
  int64_t tiles = (extent + rows - 1) / rows;
  return (uint32_t)((extent + tiles - 1) / tiles);
}

static uint32_t at_most(int64_t wanted, int64_t limit) { return (uint32_t)(wanted < limit ? wanted : limit); }

/* An index that runs along the memory of a load that vec jumps through: then squares of rows and lanes are transposed
 * in registers. */
static int choose_square(const model *m, int vec) {
  if (vec < 0 || m->lanes < 4 || m->lanes > 16)
    return -1;
  for (uint32_t a = 0; a < m->num_accesses; a++) {
    const onnxc_access *access = &m->accesses[a];
    if (access->store || !access->depends[vec] || !access->strided[vec] || llabs(access->stride[vec]) <= 4)
      continue;
    for (uint32_t k = 0; k < m->compute->num_parallel; k++)
      if ((int)k != vec && access->depends[k] && access->strided[k] && access->stride[k] == 1 &&
          (!m->known[k] || m->extent[k] >= 4))
        return (int)k;
  }
  return -1;
}

/* The index whose points a store along vec leaves room for. */
static int choose_interleaved(const model *m, int vec) {
  int row = -1;
  for (uint32_t a = 0; a < m->num_accesses && row < 0; a++)
    row = m->accesses[a].store ? fills_gaps(m, &m->accesses[a], vec) : -1;
  return row;
}

/* Indices that a compute selects by are unrolled: the last as rows, which share what does not differ, the one before as
 * phases. */
static bool choose_unrolled(const model *m, onnxc_schedule *s) {
  uint32_t choices[ONNXC_MAX_INDICES];
  onnxc_tile_choices(m->program->graph, m->compute, choices);
  for (uint32_t k = m->compute->num_parallel; k-- > 0;) {
    if (choices[k] < 2 || (int)k == s->vec)
      continue;
    if (s->row < 0) {
      s->row = (int8_t)k;
      s->rows = (uint16_t)choices[k];
    } else if (!s->phases && choices[k] * s->rows <= ONNXC_MAX_CHOICES) {
      s->phase = (uint8_t)k;
      s->phases = (uint8_t)choices[k];
    }
  }
  return s->row >= 0;
}

static void choose_tile(const model *m, onnxc_schedule *s) {
  bool product = is_product(m);
  bool along_reduction = s->vec >= (int)m->compute->num_parallel;
  int64_t vectors = s->vec < 0 ? 1 : (m->extent[s->vec] + m->lanes - 1) / m->lanes;
  if (s->vec >= 0 && !m->known[s->vec] && vectors < 4)
    vectors = 4;
  s->rows = s->vecs = 1;
  s->kr = 1;
  s->lanes = (uint16_t)(s->vec < 0 ? 1 : m->lanes);
  s->unroll = 4;
  if (m->compute->num_reduce == 0) {
    if (choose_unrolled(m, s))
      return;
    s->row = (int8_t)choose_interleaved(m, s->vec);
    if (s->row >= 0) {
      s->rows = (uint16_t)m->extent[s->row];
      return;
    }
    s->row = (int8_t)choose_square(m, s->vec);
    s->rows = (uint16_t)(s->row >= 0 ? m->lanes : 1);
    if (s->row < 0)
      s->vecs = (uint16_t)at_most(vectors, m->finish_cost > 40 ? 1 : m->finish_cost > 12 ? 2 : 4);
    return;
  }
  s->row = (int8_t)choose_row(m, s->vec);
  bool splat = false; /* some load of the reduction is a broadcast: an outer product */
  for (uint32_t k = 0; k < m->num_accesses; k++)
    splat = splat || (m->accesses[k].in_reduction && s->vec >= 0 && !m->accesses[k].depends[s->vec]);
  int64_t kr = 1, columns = s->vec >= 0 ? panel_width(m, s->vec, &kr) : 0;
  if (along_reduction || s->vec < 0) {
    s->vecs = (uint16_t)at_most(vectors, s->row >= 0 ? 1 : 4);
    s->rows = (uint16_t)(s->row >= 0 ? 4 : 1);
  } else if (product && splat && (s->row >= 0 || kr > 1)) {
    if (!columns)
      columns = m->known[s->vec] ? m->extent[s->vec] : -1;
    onnxc_dtype acc = m->compute->acc_dtype[0], factors = acc;
    if (kr > 1)
      factors = acc == ONNXC_I32 ? ONNXC_U8 : ONNXC_BF16;
    onnxc_register_tile tile = onnxc_target_register_tile(m->target, factors, acc, columns);
    s->kr = (uint8_t)kr;
    s->rows = (uint16_t)tile.rows;
    s->vecs = (uint16_t)tile.vecs;
    s->unroll = (uint16_t)tile.unroll;
    s->lanes = (uint16_t)tile.lanes;
  } else {
    s->vecs = (uint16_t)at_most(vectors, s->row >= 0 ? 2 : 4);
    s->rows = (uint16_t)(s->row >= 0 ? (s->vecs == 1 ? 8 : 5) : 1);
    if (m->target->num_vectors < 32)
      s->rows = (uint16_t)(s->rows > 4 ? 4 : s->rows);
  }
  if (s->row >= 0)
    s->rows = (uint16_t)balanced(m, s->row, s->rows);
  else
    s->rows = 1;
  if (s->rows == 1)
    s->row = -1;
}

/* Sorts indices first..last-1 so that larger weights come first; stable. */
static void sort_by(uint8_t *order, uint32_t first, uint32_t last, const int64_t *weight) {
  for (uint32_t i = first + 1; i < last; i++)
    for (uint32_t j = i; j > first && weight[order[j - 1]] < weight[order[j]]; j--) {
      uint8_t swap = order[j];
      order[j] = order[j - 1];
      order[j - 1] = swap;
    }
}

static void choose_order(const model *m, onnxc_schedule *s) {
  const onnxc_compute *c = m->compute;
  int64_t weight[ONNXC_MAX_INDICES] = {0};
  for (uint32_t k = 0; k < m->num_indices; k++)
    s->order[k] = (uint8_t)k;
  for (uint32_t a = 0; a < m->num_accesses; a++) {
    const onnxc_access *access = &m->accesses[a];
    for (uint32_t k = 0; k < m->num_indices; k++)
      if (access->depends[k] && (k < c->num_parallel ? access->store : access->in_reduction && weight[k] == 0))
        weight[k] = llabs(access->stride[k]);
  }
  if (is_product(m) && s->row >= 0 && s->vec >= 0 && s->vec < (int)c->num_parallel) {
    double panel = (double)s->vecs * s->lanes * (double)onnxc_dtype_bytes(c->acc_dtype[0]);
    for (uint32_t k = c->num_parallel; k < m->num_indices; k++)
      panel *= (double)m->extent[k];
    bool panel_stays = panel <= (double)m->target->l1_bytes / 2; /* then the rows run inside of it */
    weight[s->row] = panel_stays ? 0 : 1;
    weight[s->vec] = panel_stays ? 1 : 0;
    for (uint32_t k = 0; k < c->num_parallel; k++)
      if ((int)k != s->row && (int)k != s->vec)
        weight[k] += 2;
  }
  sort_by(s->order, 0, c->num_parallel, weight);
  if (m->free_order)
    sort_by(s->order, c->num_parallel, m->num_indices, weight);
}

void onnxc_tile_schedule(const onnxc_tile_program *program, onnxc_stmt *stmt) {
  const onnxc_compute *c = stmt->compute;
  onnxc_arena *arena = program->graph->arena;
  model m = {
      .program = program, .compute = c, .target = program->target, .num_indices = c->num_parallel + c->num_reduce};
  uint32_t *operands = ONNXC_NEW_ARRAY(arena, uint32_t, stmt->num_operands + 1);
  uint32_t results[ONNXC_MAX_RESULTS];
  for (uint32_t k = 0; k < stmt->num_operands; k++)
    operands[k] = stmt->operands[k].buffer;
  for (uint32_t j = 0; j < stmt->num_results; j++)
    results[j] = stmt->results[j].buffer;
  m.num_accesses = onnxc_tile_accesses(program, c, operands, stmt->num_results, results, &m.accesses);
  for (uint32_t k = 0; k < m.num_indices; k++) {
    m.known[k] = onnxc_dim_is_const(&program->graph->dims, stmt->box_size[k], &m.extent[k]);
    if (!m.known[k])
      m.extent[k] = onnxc_dim_hint(&program->graph->dims, stmt->box_size[k]);
    if (m.extent[k] < 0)
      m.extent[k] = 0;
    if (m.extent[k] > MAX_EXTENT)
      m.extent[k] = MAX_EXTENT;
  }
  m.free_order = c->num_reduce > 0;
  for (uint32_t j = 0; j < c->num_results; j++) {
    m.finish_cost += onnxc_expr_cost(&program->graph->exprs, c->finish[j]);
    if (c->num_reduce) {
      m.element_cost += onnxc_expr_cost(&program->graph->exprs, c->element[j]);
      m.free_order = m.free_order && onnxc_compute_combiner(&program->graph->exprs, c, j) != ONNXC_EXPR_NONE;
    }
  }
  m.lanes = onnxc_target_lanes(program->target, widest(&m));
  onnxc_schedule *s = &stmt->schedule;
  *s = (onnxc_schedule){.row = -1, .vec = (int8_t)choose_vec(&m)};
  choose_tile(&m, s);
  if (s->vec < 0)
    s->vecs = 1;
  choose_order(&m, s);
  onnxc_dot dot;
  if (s->kr > 1 && onnxc_dot_of(program, stmt, &dot))
    s->kr = 1; /* packed for dot products, but read in another way */
}
