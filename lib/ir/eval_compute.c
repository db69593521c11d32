/* eval_compute.c -- one compute on concrete arrays; the definition in graph.h, block by block.
 *
 * Free combiners (add, max, ..) accumulate in double or int64 and are rounded once. With enough parallel points these
 * are the lanes and the reduction is a loop around; else the reduced points are the lanes. Other
 * combiners are programs of their own, run in row-major order. Sums of products go to
 * eval_contraction.c.
 */
#include "ir/eval_compute.h"

#include <string.h>

/* Nothing legitimate is larger; it keeps products of extents far from overflow. */
#define MAX_ELEMENTS ((int64_t)1 << 32)
#define MAX_POINTS   ((int64_t)1 << 44)

/* The product, 0 if any is 0; -1 if it overflows or one is negative. */
static int64_t product(const int64_t *extents, uint32_t n) {
  int64_t count = 1;
  bool zero = false, overflow = false;
  for (uint32_t d = 0; d < n; d++) {
    if (extents[d] < 0)
      return -1;
    zero |= extents[d] == 0;
    overflow |= extents[d] && count > INT64_MAX / 64 / extents[d];
    if (extents[d] && !overflow)
      count *= extents[d];
  }
  return zero ? 0 : overflow ? -1 : count;
}

int64_t onnxc_array_count(const onnxc_array *array) { return product(array->dims, array->rank); }

/* What the phases of one compute share. Accumulators are float64 for floats, int64 otherwise. */
typedef struct state {
  const onnxc_block_env *env;
  const onnxc_compute *compute;
  onnxc_space parallel, reduce;
  int64_t num_points, num_reduced;
  onnxc_block *init, *element, *combine, *finish;
  onnxc_expr_op combiner[ONNXC_MAX_RESULTS];
  onnxc_array *results;
  onnxc_lanes *acc[ONNXC_MAX_RESULTS]; /* of one block: as f64 for floats */
} state;

static onnxc_status check(const onnxc_block *block) { return block ? onnxc_block_status(block) : ONNXC_OK; }

/* Folds `n` values into accumulators, lane by lane (step 1) or all into the first (step 0). */
static void fold(onnxc_expr_op op, onnxc_dtype dtype, onnxc_lanes *acc, const onnxc_lanes *values, int n, int step) {
  onnxc_lanes wide, one;
  onnxc_dtype type = dtype;
  if (onnxc_dtype_is_float(dtype)) {
    onnxc_lanes_to_f64(dtype, wide.f64, values, n);
    values = &wide;
    type = ONNXC_F64;
  }
  if (step) {
    onnxc_lanes_binary(op, type, acc, acc, values, n);
  } else if (op == ONNXC_EXPR_ADD && type == ONNXC_F64) {
    double sum = acc->f64[0];
    for (int l = 0; l < n; l++)
      sum += values->f64[l];
    acc->f64[0] = sum;
  } else {
    for (int l = 0; l < n; l++) {
      one.i64[0] = values->i64[l]; /* the bits, of doubles too */
      onnxc_lanes_binary(op, type, acc, acc, &one, 1);
    }
  }
}

static void round_acc(onnxc_dtype dtype, onnxc_lanes *to, const onnxc_lanes *acc, int n) {
  if (onnxc_dtype_is_float(dtype))
    onnxc_lanes_from_f64(dtype, to, acc->f64, n);
  else
    memcpy(to->i64, acc->i64, (size_t)n * sizeof(int64_t));
}

/* Next point of the reduction; writes the indices that moved. */
static bool advance(const onnxc_space *space, int64_t *coordinate, onnxc_block *block) {
  for (uint32_t i = space->rank; i-- > 0;) {
    bool wraps = ++coordinate[i] == space->extent[i];
    if (wraps)
      coordinate[i] = 0;
    onnxc_block_fix(block, space->index[i], coordinate[i]);
    if (!wraps)
      return true;
  }
  return false;
}

/* Accumulates all reduced points into s->acc for the parallel points of the block: lanes are parallel. */
static void reduce_across(state *s, int64_t first, int n) {
  const onnxc_compute *c = s->compute;
  int64_t coordinate[ONNXC_MAX_INDICES] = {0};
  onnxc_block_seek(s->element, first, n);
  if (s->num_reduced == 0)
    return;
  do {
    for (uint32_t j = 0; j < c->num_results; j++)
      fold(s->combiner[j], c->acc_dtype[j], s->acc[j], onnxc_block_eval(s->element, j), n, 1);
  } while (advance(&s->reduce, coordinate, s->element) && onnxc_block_status(s->element) == ONNXC_OK);
}

/* The same for one parallel point: lanes are reduced points. */
static void reduce_along(state *s, int64_t point) {
  const onnxc_compute *c = s->compute;
  for (uint32_t i = s->parallel.rank; i-- > 0; point /= s->parallel.extent[i])
    onnxc_block_fix(s->element, s->parallel.index[i], point % s->parallel.extent[i]);
  for (int64_t r = 0; r < s->num_reduced && onnxc_block_status(s->element) == ONNXC_OK; r += ONNXC_LANES) {
    int n = s->num_reduced - r < ONNXC_LANES ? (int)(s->num_reduced - r) : ONNXC_LANES;
    onnxc_block_seek(s->element, r, n);
    for (uint32_t j = 0; j < c->num_results; j++)
      fold(s->combiner[j], c->acc_dtype[j], s->acc[j], onnxc_block_eval(s->element, j), n, 0);
  }
}

/* Combiners of any form, in order. acc is in the representation of its dtype here. */
static void reduce_in_order(state *s, int64_t first, int n) {
  const onnxc_compute *c = s->compute;
  int64_t coordinate[ONNXC_MAX_INDICES] = {0};
  onnxc_lanes *acc[ONNXC_MAX_RESULTS], *val[ONNXC_MAX_RESULTS];
  for (uint32_t j = 0; j < c->num_results; j++) {
    acc[j] = onnxc_block_acc(s->combine, j);
    val[j] = onnxc_block_val(s->combine, j);
  }
  onnxc_block_set_space(s->combine, &s->parallel);
  onnxc_block_seek(s->combine, first, n);
  onnxc_block_seek(s->element, first, n);
  if (s->num_reduced == 0)
    return;
  do {
    for (uint32_t j = 0; j < c->num_results; j++) {
      const onnxc_lanes *value = onnxc_block_eval(s->element, j);
      if (val[j])
        memcpy(val[j], value, sizeof *value);
      if (acc[j])
        memcpy(acc[j], s->acc[j], sizeof *acc[j]);
    }
    onnxc_block_touch(s->combine);
    for (uint32_t j = 0; j < c->num_results; j++) /* combine reads copies, so all change at once */
      memcpy(s->acc[j], onnxc_block_eval(s->combine, j), sizeof *s->acc[j]);
  } while (advance(&s->reduce, coordinate, s->element) && onnxc_block_status(s->element) == ONNXC_OK);
}

static onnxc_status finish(state *s, int64_t first, int n) {
  onnxc_block_seek(s->finish, first, n);
  for (uint32_t j = 0; j < s->compute->num_results; j++) {
    onnxc_array *result = &s->results[j];
    const onnxc_lanes *lanes = onnxc_block_eval(s->finish, j);
    onnxc_lanes_store(result->dtype, (char *)result->data + (size_t)first * onnxc_dtype_bytes(result->dtype), lanes, n);
  }
  return check(s->finish);
}

/* Hands the accumulators to finish: rounded from double, or (in_order) as they are. */
static void give_acc(state *s, int n, bool in_order) {
  for (uint32_t j = 0; j < s->compute->num_results; j++) {
    onnxc_lanes *acc = onnxc_block_acc(s->finish, j);
    if (acc && in_order)
      memcpy(acc, s->acc[j], sizeof *acc);
    else if (acc)
      round_acc(s->compute->acc_dtype[j], acc, s->acc[j], n);
  }
  onnxc_block_touch(s->finish);
}

static void start_acc(state *s, int64_t first, int n, bool in_order) {
  onnxc_block_seek(s->init, first, n);
  for (uint32_t j = 0; j < s->compute->num_results; j++) {
    const onnxc_lanes *value = onnxc_block_eval(s->init, j);
    if (in_order || !onnxc_dtype_is_float(s->compute->acc_dtype[j]))
      memcpy(s->acc[j], value, sizeof *value);
    else
      onnxc_lanes_to_f64(s->compute->acc_dtype[j], s->acc[j]->f64, value, n);
  }
}

static int block_at(const state *s, int64_t first, int64_t width) {
  return s->num_points - first < width ? (int)(s->num_points - first) : (int)width;
}

static onnxc_status eval_contraction(state *s, const int64_t *extents, bool *done) {
  const onnxc_compute *c = s->compute;
  *done = false;
  if (c->num_results != 1 || s->combiner[0] != ONNXC_EXPR_ADD ||
      onnxc_exprs_node(&s->env->graph->exprs, c->element[0])->op != ONNXC_EXPR_MUL || s->num_points > MAX_ELEMENTS / 8)
    return ONNXC_OK;
  double *sums = ONNXC_NEW_ARRAY(s->env->arena, double, s->num_points);
  ONNXC_TRY(onnxc_eval_contraction(s->env, c, extents, sums, done));
  if (!*done)
    return ONNXC_OK;
  for (int64_t first = 0; first < s->num_points; first += ONNXC_LANES) {
    int n = block_at(s, first, ONNXC_LANES);
    start_acc(s, first, n, false);
    for (int l = 0; l < n; l++)
      if (onnxc_dtype_is_float(c->acc_dtype[0]))
        s->acc[0]->f64[l] += sums[first + l];
      else
        s->acc[0]->i64[l] = (int64_t)((uint64_t)s->acc[0]->i64[l] + (uint64_t)(int64_t)sums[first + l]);
    if (!onnxc_dtype_is_float(c->acc_dtype[0]))
      onnxc_lanes_wrap(c->acc_dtype[0], s->acc[0]->i64, n);
    give_acc(s, n, false);
    ONNXC_TRY(finish(s, first, n));
  }
  return check(s->init);
}

static onnxc_status eval_reduction(state *s, const int64_t *extents) {
  const onnxc_compute *c = s->compute;
  bool in_order = false, done;
  for (uint32_t j = 0; j < c->num_results; j++) {
    s->combiner[j] = onnxc_compute_combiner(&s->env->graph->exprs, c, j);
    in_order |= s->combiner[j] == ONNXC_EXPR_NONE;
    s->acc[j] = ONNXC_NEW(s->env->arena, onnxc_lanes);
  }
  ONNXC_TRY(onnxc_block_compile(s->env, c->num_results, c->init, &s->init));
  onnxc_block_set_space(s->init, &s->parallel);
  if (!in_order) {
    ONNXC_TRY(eval_contraction(s, extents, &done));
    if (done)
      return ONNXC_OK;
  }
  ONNXC_TRY(onnxc_block_compile(s->env, c->num_results, c->element, &s->element));
  if (in_order)
    ONNXC_TRY(onnxc_block_compile(s->env, c->num_results, c->combine, &s->combine));
  bool along = !in_order && s->num_points < 32 && s->num_reduced > s->num_points;
  onnxc_block_set_space(s->element, along ? &s->reduce : &s->parallel);
  int64_t width = along ? 1 : ONNXC_LANES;
  for (int64_t first = 0; first < s->num_points; first += width) {
    int n = block_at(s, first, width);
    start_acc(s, first, n, in_order);
    if (in_order)
      reduce_in_order(s, first, n);
    else if (along)
      reduce_along(s, first);
    else
      reduce_across(s, first, n);
    give_acc(s, n, in_order);
    ONNXC_TRY(finish(s, first, n));
    ONNXC_TRY(check(s->element));
    ONNXC_TRY(check(s->init));
  }
  return ONNXC_OK;
}

static onnxc_status make_results(const onnxc_block_env *env, onnxc_arena *arena, const onnxc_compute *c,
                                 const int64_t *extents, int64_t *count, onnxc_array *results) {
  for (uint32_t j = 0; j < c->num_results; j++) {
    onnxc_array *result = &results[j];
    if (!c->finish[j].i)
      return onnxc_error(env->graph->diag, ONNXC_INTERNAL, "%s: a result has no expression",
                         env->where ? env->where : "compute");
    result->dtype = (onnxc_dtype)onnxc_exprs_node(&env->graph->exprs, c->finish[j])->dtype;
    result->rank = c->num_parallel;
    memcpy(result->dims, extents, c->num_parallel * sizeof *extents);
    *count = onnxc_array_count(result);
    if (*count < 0 || *count > MAX_ELEMENTS)
      return onnxc_error(env->graph->diag, ONNXC_BAD_INPUT, "%s: a tensor of this size is too large to evaluate",
                         env->where ? env->where : "compute");
    result->data = ONNXC_NEW_ARRAY(arena, char, (size_t)*count *onnxc_dtype_bytes(result->dtype));
  }
  return ONNXC_OK;
}

static onnxc_status eval_compute_in(const onnxc_block_env *env, onnxc_arena *arena, const onnxc_compute *c,
                                    onnxc_array *results) {
  int64_t extents[ONNXC_MAX_INDICES];
  uint32_t num = c->num_parallel + c->num_reduce;
  if (num > ONNXC_MAX_INDICES || c->num_results > ONNXC_MAX_RESULTS || c->num_parallel > ONNXC_MAX_RANK)
    return onnxc_error(env->graph->diag, ONNXC_INTERNAL, "%s: too many indices or results",
                       env->where ? env->where : "compute");
  for (uint32_t k = 0; k < num; k++) {
    ONNXC_TRY(onnxc_eval_dim(env->graph, env->symbols, c->extents[k], env->where, &extents[k]));
    if (extents[k] < 0)
      return onnxc_error(env->graph->diag, ONNXC_BAD_INPUT, "%s: extent %u is negative (%lld)",
                         env->where ? env->where : "compute", k, (long long)extents[k]);
  }
  state s = {.env = env, .compute = c, .results = results};
  ONNXC_TRY(make_results(env, arena, c, extents, &s.num_points, results));
  int64_t points = product(extents, num);
  if (points < 0 || points > MAX_POINTS)
    return onnxc_error(env->graph->diag, ONNXC_BAD_INPUT, "%s: too many points to evaluate",
                       env->where ? env->where : "compute");
  if (s.num_points == 0)
    return ONNXC_OK;
  s.parallel = onnxc_space_of(extents, 0, c->num_parallel);
  s.reduce = onnxc_space_of(extents, c->num_parallel, c->num_reduce);
  s.num_reduced = onnxc_space_size(&s.reduce);
  ONNXC_TRY(onnxc_block_compile(env, c->num_results, c->finish, &s.finish));
  onnxc_block_set_space(s.finish, &s.parallel);
  if (c->num_reduce)
    return eval_reduction(&s, extents);
  for (int64_t first = 0; first < s.num_points; first += ONNXC_LANES)
    ONNXC_TRY(finish(&s, first, block_at(&s, first, ONNXC_LANES)));
  return ONNXC_OK;
}

/* `scratch` is the caller's local, so that its value is certain after a longjmp. */
static onnxc_status with_scratch(onnxc_block_env *env, onnxc_arena *scratch, onnxc_arena *arena,
                                 const onnxc_compute *compute, onnxc_array *results) {
  onnxc_arena *pools = env->graph->arena; /* compiling adds to the graph's pools */
  onnxc_guard guard, *outer = arena->guard, *pools_outer = pools->guard;
  if (setjmp(guard.env)) {
    pools->guard = pools_outer;
    arena->guard = outer;
    onnxc_arena_free(scratch);
    onnxc_arena_out_of_memory(arena);
  }
  onnxc_arena_init(scratch, &guard);
  arena->guard = pools->guard = &guard;
  env->arena = scratch;
  onnxc_status status = eval_compute_in(env, arena, compute, results);
  pools->guard = pools_outer;
  arena->guard = outer;
  onnxc_arena_free(scratch);
  return status;
}

onnxc_status onnxc_eval_compute_scratch(onnxc_block_env *env, onnxc_arena *arena, const onnxc_compute *compute,
                                        onnxc_array *results) {
  onnxc_arena scratch = {0};
  onnxc_status status = with_scratch(env, &scratch, arena, compute, results);
  env->arena = NULL;
  return status;
}

onnxc_status onnxc_eval_compute(onnxc_graph *graph, onnxc_arena *arena, const onnxc_compute *compute,
                                const onnxc_array *operands, uint32_t num_operands, const int64_t *symbols,
                                onnxc_array *results) {
  onnxc_block_env env = {.graph = graph,
                         .operands = operands,
                         .num_operands = num_operands,
                         .num_indices = compute->num_parallel + compute->num_reduce,
                         .symbols = symbols};
  return onnxc_eval_compute_scratch(&env, arena, compute, results);
}
