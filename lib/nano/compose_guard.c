/* compose_guard.c -- tiles where nothing is out of bounds need no conditions.
 *
 * Padding is written as select(in bounds, load, constant), and most tiles lie wholly inside. A guard is a comparison
 * of index expressions in such a condition. Being linear in the row, the lane and the reduction indices, it is
 * least somewhere at the corners of the tile; that least value, a dim expression of the loops around the
 * tile, says whether the guard holds for all of it. If the least of all guards is not negative, the tile is
 * interior: guards are taken as true, loads are plain. What ranges don't decide, a branch around the tile does.
 */
#include "nano/compose_internal.h"

static bool comparison(onnxc_expr_op op) {
  return op == ONNXC_EXPR_LT || op == ONNXC_EXPR_LE || op == ONNXC_EXPR_GT || op == ONNXC_EXPR_GE;
}

static void collect(compose *c, onnxc_expr condition) {
  const onnxc_expr_node *x = onnxc_exprs_node(c->exprs, condition);
  node *n = onnxc_compose_node(c, condition);
  if (x->op == ONNXC_EXPR_AND) {
    collect(c, x->args[0]);
    collect(c, x->args[1]);
  } else if (comparison(x->op) && !n->guard && onnxc_compose_node(c, x->args[0])->dimable &&
             onnxc_compose_node(c, x->args[1])->dimable) {
    n->guard = true;
    ONNXC_PUSH(c->gen->arena, c->guards, condition);
  }
}

void onnxc_compose_find_guards(compose *c) {
  for (uint32_t i = 0; i < c->nodes.length; i++) {
    const onnxc_expr_node *x = onnxc_exprs_node(c->exprs, c->nodes.data[i].e);
    if (x->op == ONNXC_EXPR_SELECT && onnxc_compose_node(c, x->args[1])->loads &&
        !onnxc_compose_node(c, x->args[2])->loads)
      collect(c, x->args[0]);
  }
}

/* An index that varies within the tile: from its first value on, `size` values. */
typedef struct variable {
  uint32_t index;
  onnxc_sym sym;
  onnxc_dim first, size;
} variable;

static uint32_t find_variables(compose *c, variable *v) {
  uint32_t count = 0, parallel = c->compute->num_parallel;
  for (uint32_t k = 0; k < parallel + c->compute->num_reduce; k++) {
    onnxc_dim size = c->stmt->box_size[k], first = c->stmt->box_lo[k];
    if (k < parallel && (int)k != c->row && (int)k != c->vec)
      continue;
    if (k < parallel) {
      uint32_t lanes = (c->tile_vecs - 1) * c->lanes + (c->tail ? c->valid : c->lanes);
      first = c->index[k];
      size = onnxc_dim_const(c->dims, (int)k == c->row ? c->tile_rows : lanes);
    }
    v[count++] = (variable){k, onnxc_compose_counter(c, size), first, size};
  }
  return count;
}

/* How far the guard is from failing: least over the tile, negative where it fails. False if that can't be told. */
static bool margin_of(compose *c, onnxc_expr guard, const variable *v, uint32_t count, onnxc_dim *margin) {
  onnxc_expr_node x = *onnxc_exprs_node(c->exprs, guard);
  onnxc_dims *dims = c->dims;
  onnxc_dim a = onnxc_compose_dim(c, x.args[0], 0, 0), b = onnxc_compose_dim(c, x.args[1], 0, 0);
  bool less = x.op == ONNXC_EXPR_LT || x.op == ONNXC_EXPR_LE, strict = x.op == ONNXC_EXPR_LT || x.op == ONNXC_EXPR_GT;
  onnxc_dim f = less ? onnxc_dim_sub(dims, b, a) : onnxc_dim_sub(dims, a, b);
  f = onnxc_dim_addc(dims, onnxc_gen_at(c->gen, f, c->lane, 0), strict ? -1 : 0);
  onnxc_dim first = f, linear = onnxc_dim_const(dims, 0), least = onnxc_dim_const(dims, 0);
  for (uint32_t k = 0; k < count; k++) {
    int64_t step;
    onnxc_dim zero = onnxc_gen_at(c->gen, f, v[k].sym, 0);
    if (!onnxc_dim_is_const(dims, onnxc_dim_sub(dims, onnxc_gen_at(c->gen, f, v[k].sym, 1), zero), &step))
      return false;
    first = onnxc_gen_at(c->gen, first, v[k].sym, 0);
    linear = onnxc_dim_add(dims, linear, onnxc_dim_mulc(dims, onnxc_dim_sym(dims, v[k].sym), step));
    if (step < 0)
      least = onnxc_dim_add(dims, least, onnxc_dim_mulc(dims, onnxc_dim_addc(dims, v[k].size, -1), step));
  }
  *margin = onnxc_dim_add(dims, first, least);
  return onnxc_dim_same(f, onnxc_dim_add(dims, first, linear));
}

onnxc_interior onnxc_compose_interior(compose *c, onnxc_dim *margin) {
  variable v[ONNXC_MAX_INDICES];
  onnxc_dim index[ONNXC_MAX_INDICES];
  if (c->guards.length == 0 || (c->tail && !c->valid))
    return ONNXC_INTERIOR_NEVER;
  uint32_t count = find_variables(c, v);
  for (uint32_t k = 0; k < count; k++) {
    index[k] = c->index[v[k].index];
    c->index[v[k].index] = onnxc_dim_add(c->dims, v[k].first, onnxc_dim_sym(c->dims, v[k].sym));
  }
  onnxc_interior found = ONNXC_INTERIOR_ALWAYS;
  *margin = onnxc_dim_const(c->dims, 0);
  for (uint32_t k = 0; k < c->guards.length && found != ONNXC_INTERIOR_NEVER; k++) {
    onnxc_dim one;
    int64_t low = -1, high = -1;
    if (margin_of(c, c->guards.data[k], v, count, &one))
      onnxc_dim_range(c->dims, one, &low, &high);
    if (high < 0) {
      found = ONNXC_INTERIOR_NEVER;
    } else if (low < 0) {
      found = ONNXC_INTERIOR_SOMETIMES;
      *margin = onnxc_dim_min(c->dims, *margin, one);
    }
  }
  for (uint32_t k = 0; k < count; k++) {
    c->index[v[k].index] = index[k];
    onnxc_gen_release(c->gen, v[k].sym);
  }
  return found;
}
