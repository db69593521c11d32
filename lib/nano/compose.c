/* compose.c -- a compute statement: its schedule made sane, its box walked in register tiles. See compose.h.
 *
 * The parallel indices are loops in the schedule's order; index row steps by `rows`, vec by `vecs * lanes` and phase by
 * `phases`, with the rest of the nest once for each of these. What is left at an edge gets tiles of its own: of exactly
 * the rest where that is known, else of half the rows, then single rows, and of single vectors, the last one masked.
 */
#include "nano/compose_internal.h"

static void nest(compose *c, uint32_t i);

/* index = first + step*t for t below trips, around the rest of the nest: once, or for so many phases. */
static void walk_phases(compose *c, uint32_t i, onnxc_dim first, onnxc_dim trips, int64_t step, uint32_t phases) {
  uint32_t index = c->parallel[i];
  if (onnxc_compose_never(c, trips))
    return;
  if (onnxc_dim_is(c->dims, trips, 1)) {
    for (uint32_t p = 0; p < phases; p++) {
      c->index[index] = onnxc_dim_addc(c->dims, first, p);
      nest(c, i + 1);
    }
    return;
  }
  onnxc_sym sym = onnxc_compose_counter(c, trips);
  onnxc_loop loop;
  onnxc_loop_begin(c->gen, &loop, sym, trips, 0, NULL);
  first = onnxc_dim_add(c->dims, first, onnxc_dim_mulc(c->dims, onnxc_dim_sym(c->dims, sym), step));
  for (uint32_t p = 0; p < phases; p++) {
    c->index[index] = onnxc_dim_addc(c->dims, first, p);
    nest(c, i + 1);
  }
  onnxc_loop_end(c->gen, &loop, NULL);
  onnxc_gen_release(c->gen, sym);
}

static void walk(compose *c, uint32_t i, onnxc_dim first, onnxc_dim trips, int64_t step) {
  walk_phases(c, i, first, trips, step, 1);
}

static onnxc_dim advance(compose *c, onnxc_dim first, onnxc_dim trips, int64_t step) {
  return onnxc_dim_add(c->dims, first, onnxc_dim_mulc(c->dims, trips, step));
}

/* A thin last tile makes poor use of the loads that its rows share: rather take the last full tile and the rest as two
 * equal ones. *rest becomes the rows of each. */
static bool even_out(compose *c, onnxc_dim *full, onnxc_dim *rest, uint32_t rows) {
  int64_t tiles, thin;
  if (!onnxc_dim_is_const(c->dims, *full, &tiles) || !onnxc_dim_is_const(c->dims, *rest, &thin) || tiles < 1 ||
      thin < 1 || 2 * thin >= rows || (thin + rows) % 2)
    return false;
  *full = onnxc_dim_const(c->dims, tiles - 1);
  *rest = onnxc_dim_const(c->dims, (thin + rows) / 2);
  return true;
}

static void walk_rows(compose *c, uint32_t i) {
  uint32_t index = c->parallel[i];
  onnxc_dim first = c->stmt->box_lo[index], size = c->stmt->box_size[index], rest;
  int64_t constant;
  uint32_t rows = c->rows;
  bool edge = c->edge;
  for (;;) {
    onnxc_dim full = onnxc_compose_steps(c, size, rows, &rest);
    if (even_out(c, &full, &rest, rows)) {
      int64_t half;
      onnxc_dim_is_const(c->dims, rest, &half);
      c->tile_rows = rows;
      walk(c, i, first, full, rows);
      c->tile_rows = (uint32_t)half;
      walk(c, i, advance(c, first, full, rows), onnxc_dim_const(c->dims, 2), half);
      break;
    }
    c->tile_rows = rows;
    walk(c, i, first, full, rows);
    c->edge |= !onnxc_compose_never(c, full);
    first = advance(c, first, full, rows);
    if (onnxc_dim_is_const(c->dims, rest, &constant)) {
      if (constant > 0) {
        c->tile_rows = (uint32_t)constant;
        walk(c, i, first, onnxc_dim_const(c->dims, 1), 1);
      }
      break;
    }
    rows = rows >= 4 ? rows / 2 : 1;
    size = rest;
  }
  c->tile_rows = c->rows;
  c->edge = edge;
}

static void walk_vectors(compose *c, uint32_t i) {
  uint32_t index = c->parallel[i];
  onnxc_dim first = c->stmt->box_lo[index], rest;
  int64_t lanes = c->lanes, width = c->vecs * lanes, constant;
  onnxc_dim full = onnxc_compose_steps(c, c->stmt->box_size[index], width, &rest);
  bool edge = c->edge;
  c->tile_vecs = c->vecs;
  walk(c, i, first, full, width);
  c->edge |= !onnxc_compose_never(c, full);
  first = advance(c, first, full, width);
  if (onnxc_dim_is_const(c->dims, rest, &constant)) {
    if (constant > 0) {
      c->tile_vecs = (uint32_t)((constant + lanes - 1) / lanes);
      c->valid = (uint32_t)(constant - (c->tile_vecs - 1) * lanes);
      c->tail = onnxc_compose_mask(c, onnxc_dim_const(c->dims, c->valid));
      walk(c, i, first, onnxc_dim_const(c->dims, 1), 1);
    }
  } else {
    c->tile_vecs = 1;
    onnxc_dim whole = onnxc_compose_steps(c, rest, lanes, &rest);
    walk(c, i, first, whole, lanes);
    if (!onnxc_compose_never(c, rest)) {
      /* At most one more, with some of its lanes. */
      onnxc_dim some = onnxc_dim_min(c->dims, rest, onnxc_dim_const(c->dims, 1));
      onnxc_sym sym = onnxc_compose_counter(c, some);
      onnxc_loop loop;
      onnxc_loop_begin(c->gen, &loop, sym, some, 0, NULL);
      c->tail = onnxc_compose_mask(c, rest);
      c->index[index] = advance(c, first, whole, lanes);
      nest(c, i + 1);
      onnxc_loop_end(c->gen, &loop, NULL);
      onnxc_gen_release(c->gen, sym);
    }
  }
  c->tile_vecs = c->vecs;
  c->tail = NULL;
  c->valid = 0;
  c->edge = edge;
}

/* What is left of the last phases is walked one by one, and asks which it is unless that is known. */
static void walk_all(compose *c, uint32_t i) {
  uint32_t index = c->parallel[i];
  onnxc_dim first = c->stmt->box_lo[index], size = c->stmt->box_size[index], rest;
  int64_t phases = c->phases && c->phase == index ? c->phases : 1, constant;
  onnxc_dim full = onnxc_compose_steps(c, size, phases, &rest);
  walk_phases(c, i, first, full, phases, (uint32_t)phases);
  first = advance(c, first, full, phases);
  if (onnxc_dim_is_const(c->dims, rest, &constant))
    walk_phases(c, i, first, onnxc_dim_const(c->dims, constant > 0), 1, (uint32_t)constant);
  else
    walk(c, i, first, rest, 1);
}

static void nest(compose *c, uint32_t i) {
  if (c->gen->status != ONNXC_OK)
    return;
  if (i == c->num_parallel) {
    onnxc_compose_tile(c);
    return;
  }
  uint32_t index = c->parallel[i];
  if ((int)index == c->row)
    walk_rows(c, i);
  else if ((int)index == c->vec)
    walk_vectors(c, i);
  else
    walk_all(c, i);
}

/* ---- set up ---- */

static onnxc_status check(compose *c) {
  const onnxc_compute *k = c->compute;
  const onnxc_stmt *s = c->stmt;
  if (k->num_parallel > ONNXC_MAX_RANK || k->num_parallel + k->num_reduce > ONNXC_MAX_INDICES ||
      k->num_results > ONNXC_MAX_RESULTS || s->num_results != k->num_results)
    return onnxc_gen_error(c->gen, ONNXC_INTERNAL, "a compute has too many indices or results");
  for (uint32_t i = 0; i < c->nodes.length; i++) {
    const onnxc_expr_node *x = onnxc_exprs_node(c->exprs, c->nodes.data[i].e);
    if (x->op == ONNXC_EXPR_LOAD) {
      if (x->imm < 0 || x->imm >= s->num_operands || !c->operands[x->imm].buffer ||
          c->operands[x->imm].buffer->rank != x->num_args || c->operands[x->imm].buffer->dtype != x->dtype)
        return onnxc_gen_error(c->gen, ONNXC_INTERNAL, "a load does not match its operand");
      for (uint32_t d = 0; d < x->num_args; d++)
        if (onnxc_exprs_node(c->exprs, x->args[d])->dtype != ONNXC_I64)
          return onnxc_gen_error(c->gen, ONNXC_INTERNAL, "an index is not an i64");
    } else if ((x->op == ONNXC_EXPR_ACC || x->op == ONNXC_EXPR_VAL) && (x->imm < 0 || x->imm >= k->num_results)) {
      return onnxc_gen_error(c->gen, ONNXC_INTERNAL, "an accumulator does not exist");
    }
  }
  for (uint32_t j = 0; j < k->num_results; j++) {
    onnxc_dtype stored = s->partial ? k->acc_dtype[j] : onnxc_exprs_node(c->exprs, k->finish[j])->dtype;
    if (c->results[j].buffer->dtype != stored || (s->resume && k->acc_dtype[j] != c->results[j].buffer->dtype))
      return onnxc_gen_error(c->gen, ONNXC_INTERNAL, "a result's type is not that of its buffer");
  }
  return ONNXC_OK;
}

static onnxc_status analyse(compose *c) {
  const onnxc_compute *k = c->compute;
  onnxc_expr roots[4 * ONNXC_MAX_RESULTS];
  uint32_t count = 0, num_elements = 0;
  if (k->num_reduce > 0)
    for (uint32_t j = 0; j < k->num_results; j++)
      roots[count++] = k->element[j];
  num_elements = count;
  for (uint32_t j = 0; k->num_reduce > 0 && j < k->num_results; j++) {
    if (!c->stmt->resume)
      roots[count++] = k->init[j];
    if (c->ordered)
      roots[count++] = k->combine[j];
  }
  for (uint32_t j = 0; !c->stmt->partial && j < k->num_results; j++)
    roots[count++] = k->finish[j];
  c->gen->serial++;
  onnxc_compose_analyse(c, roots, count, num_elements);
  return c->gen->status;
}

/* The innermost loops disappear while the product of their extents stays within the unroll factor; the next one is
 * unrolled by what is left. */
static void plan_unrolling(compose *c, uint32_t budget, uint32_t *unrolls) {
  for (uint32_t i = c->num_reduce; i-- > 0;) {
    int64_t size, step = i == c->num_reduce - 1 ? c->kr : 1;
    unrolls[i] = 1;
    if (c->vec_reduces && (int)c->reduce[i] == c->vec)
      continue;
    if (onnxc_dim_is_const(c->dims, c->stmt->box_size[c->reduce[i]], &size) && size / step <= (int64_t)budget) {
      unrolls[i] = size / step > 1 ? (uint32_t)(size / step) : 1;
      budget /= unrolls[i];
    } else {
      unrolls[i] = budget;
      budget = 1;
    }
  }
}

/* Finds the reduction indices that a load adds to the row index (the window of a convolution) when the registers do
 * not suffice to keep what rows share: their unrolled steps are kept apart. */
static void plan_windows(compose *c) {
  uint32_t lane_bytes = c->lanes * (uint32_t)onnxc_dtype_bytes(c->compute->acc_dtype[0]);
  uint32_t vector_bytes = c->gen->program->target->vector_bytes;
  uint32_t parts = lane_bytes > vector_bytes ? lane_bytes / vector_bytes : 1;
  uint32_t accumulators = c->compute->num_results * c->rows * c->vecs * parts;
  for (uint32_t i = 0; i < c->nodes.length && c->row >= 0 && c->compute->num_reduce > 0; i++) {
    const node *n = &c->nodes.data[i];
    const onnxc_expr_node *x = onnxc_exprs_node(c->exprs, n->e);
    if (x->op != ONNXC_EXPR_LOAD || !(n->deps >> c->row & 1))
      continue;
    uint32_t shared = n->lane ? c->rows * c->vecs * parts : c->rows;
    if (accumulators + shared + c->vecs * parts < c->gen->program->target->num_vectors)
      continue;
    for (uint32_t d = 0; d < x->num_args; d++) {
      uint32_t deps = onnxc_compose_node(c, x->args[d])->deps;
      if (deps >> c->row & 1)
        c->apart |= deps >> c->compute->num_parallel << c->compute->num_parallel;
    }
  }
}

/* Factors of sums of products that are f16 and the same for all lanes. With 16 registers the scheduler would begin too
 * many of these conversions at once. */
static void plan_conversions(compose *c) {
  bool pays = c->compute->num_reduce > 0 && c->vec >= 0 && c->gen->program->target->num_vectors >= 32;
  for (uint32_t j = 0; pays && j < c->compute->num_results; j++) {
    const onnxc_expr_node *x = onnxc_exprs_node(c->exprs, c->compute->element[j]);
    for (uint32_t k = 0; x->op == ONNXC_EXPR_MUL && k < 2; k++) {
      node *factor = onnxc_compose_node(c, x->args[k]);
      const onnxc_expr_node *cast = onnxc_exprs_node(c->exprs, factor->e);
      factor->wide = cast->op == ONNXC_EXPR_CAST && !factor->lane && onnxc_dtype_is_float(cast->dtype) &&
                     onnxc_exprs_node(c->exprs, cast->args[0])->dtype == ONNXC_F16;
    }
  }
}

static void plan(compose *c) {
  const onnxc_schedule *s = &c->stmt->schedule;
  const onnxc_compute *k = c->compute;
  uint32_t num_indices = k->num_parallel + k->num_reduce;
  c->ordered = false;
  for (uint32_t j = 0; k->num_reduce > 0 && j < k->num_results; j++) {
    c->combiner[j] = onnxc_compute_combiner(c->exprs, k, j);
    c->ordered |= c->combiner[j] == ONNXC_EXPR_NONE;
  }
  c->vec = s->vec >= 0 && s->lanes > 1 && (uint32_t)s->vec < num_indices ? s->vec : -1;
  c->row = s->row >= 0 && s->rows > 1 && (uint32_t)s->row < k->num_parallel ? s->row : -1;
  c->vec_reduces = c->vec >= (int)k->num_parallel;
  c->rows = c->row >= 0 ? s->rows : 1;
  c->vecs = c->vec >= 0 && s->vecs > 0 ? s->vecs : 1;
  c->lanes = c->vec >= 0 ? s->lanes : 1;
  c->kr = s->kr > 1 ? s->kr : 1;
  c->phase = s->phase;
  c->phases = s->phases;
  for (uint32_t i = 0; i < num_indices; i++) {
    uint32_t index = s->order[i];
    if (index < k->num_parallel)
      c->parallel[c->num_parallel++] = (uint8_t)index;
    else if ((int)index != c->vec)
      c->reduce[c->num_reduce++] = (uint8_t)index;
  }
  if (c->vec_reduces)
    c->reduce[c->num_reduce++] = (uint8_t)c->vec;
  for (uint32_t i = 0; c->ordered && i < c->num_reduce; i++)
    c->reduce[i] = (uint8_t)(k->num_parallel + i);
  c->never_empty = true;
  for (uint32_t i = 0; i < c->num_reduce; i++) {
    int64_t low, high;
    onnxc_dim_range(c->dims, c->stmt->box_size[c->reduce[i]], &low, &high);
    c->never_empty &= low > 0;
  }
  plan_unrolling(c, s->unroll > 1 ? s->unroll : 1, c->unrolls[0]);
  plan_unrolling(c, s->unroll > 3 ? s->unroll / 2 : 1, c->unrolls[1]);
}

static onnxc_status check_schedule(const compose *c) {
  uint32_t all = c->compute->num_parallel + c->compute->num_reduce, seen = 0;
  for (uint32_t i = 0; i < all; i++)
    if (c->stmt->schedule.order[i] < all)
      seen |= 1u << c->stmt->schedule.order[i];
  if (seen != (1u << all) - 1)
    return onnxc_gen_error(c->gen, ONNXC_INTERNAL, "a schedule's order is no permutation of the indices");
  if (c->rows * c->vecs > MAX_TILE || (c->lanes & (c->lanes - 1)) || c->lanes > 64)
    return onnxc_gen_error(c->gen, ONNXC_INTERNAL, "a register tile is too large");
  if (c->vec_reduces && c->ordered)
    return onnxc_gen_error(c->gen, ONNXC_INTERNAL, "an ordered reduction cannot lie along the lanes");
  return ONNXC_OK;
}

onnxc_status onnxc_compose(onnxc_gen *gen, const onnxc_stmt *stmt) {
  compose *c = ONNXC_NEW(gen->arena, compose);
  const onnxc_compute *k = stmt->compute;
  *c = (compose){.gen = gen, .stmt = stmt, .compute = k, .exprs = gen->exprs, .dims = gen->dims};
  if (k->num_parallel + k->num_reduce > ONNXC_MAX_INDICES)
    return onnxc_gen_error(gen, ONNXC_INTERNAL, "a compute has too many indices");
  plan(c);
  ONNXC_TRY(check_schedule(c));
  c->operands = ONNXC_NEW_ARRAY(gen->arena, place, stmt->num_operands + 1);
  c->results = ONNXC_NEW_ARRAY(gen->arena, place, stmt->num_results + 1);
  for (uint32_t i = 0; i < stmt->num_operands; i++)
    if (stmt->operands[i].buffer && !onnxc_compose_place(c, &c->operands[i], &stmt->operands[i],
                                                         gen->program->buffers.data[stmt->operands[i].buffer].rank))
      return gen->status;
  for (uint32_t i = 0; i < stmt->num_results; i++)
    if (!onnxc_compose_place(c, &c->results[i], &stmt->results[i], k->num_parallel))
      return gen->status;
  ONNXC_TRY(analyse(c));
  ONNXC_TRY(check(c));
  const char *error = c->kr > 1 ? onnxc_dot_of(gen->program, stmt, &c->dot) : NULL;
  if (error)
    return onnxc_gen_error(gen, ONNXC_INTERNAL, error);
  plan_windows(c);
  plan_conversions(c);
  onnxc_compose_find_guards(c);
  ONNXC_PUSH(gen->arena, c->scopes, ((scope){0}));
  c->acc = ONNXC_NEW_ARRAY(gen->arena, LLVMValueRef, k->num_results * c->rows * c->vecs + 1);
  c->lane = onnxc_gen_symbol(gen, 0, c->lanes - 1);
  c->tile_rows = c->rows;
  c->tile_vecs = c->vecs;
  for (uint32_t i = 0; i < k->num_parallel + k->num_reduce; i++)
    c->index[i] = stmt->box_lo[i];
  gen->nano.flush_bf16 = stmt->schedule.kr > 1 || gen->program->flush_bf16;
  nest(c, 0);
  gen->nano.flush_bf16 = false;
  onnxc_gen_release(gen, c->lane);
  return gen->status;
}
