/* build_broadcast.c -- numpy broadcasting over symbolic dims, and the builders' messages.
 *
 * An axis of a broadcast chooses its extent among the operands' dims: a constant that is not 1, else a dim that
 * cannot be 1, else a compound dim, else (bare symbols only) the one that turns out not to be 1. Each other dim
 * is then either 1 or that extent, which a run checks; a load of a dim that may be 1 has the stride factor
 * min(d - 1, 1), which keeps the index affine.
 */
#include "ops/build.h"

#include <stdarg.h>
#include <stdio.h>

onnxc_value onnxc_build_error(onnxc_graph *graph, onnxc_status status, const char *where, const char *format, ...) {
  char message[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  onnxc_error(graph->diag, status, "%s: %s", where ? where : "graph", message);
  return (onnxc_value){0};
}

/* ---- one axis ---- */

static bool is_one(const onnxc_graph *graph, onnxc_dim dim) { return onnxc_dim_is(&graph->dims, dim, 1); }

static bool may_be_one(const onnxc_graph *graph, onnxc_dim dim) {
  int64_t low, high;
  onnxc_dim_range(&graph->dims, dim, &low, &high);
  return low <= 1 && high >= 1;
}

static bool is_compound(const onnxc_graph *graph, onnxc_dim dim) {
  onnxc_dim_kind kind = onnxc_dims_node(&graph->dims, dim)->kind;
  return kind != ONNXC_DIM_CONST && kind != ONNXC_DIM_SYM;
}

/* Two compound dims are taken to be equal: both derive from shapes that the model's author lined up. */
static bool taken_equal(const onnxc_graph *graph, onnxc_dim dim, onnxc_dim extent) {
  return !may_be_one(graph, dim) || (is_compound(graph, dim) && is_compound(graph, extent));
}

bool onnxc_build_same_dim(onnxc_graph *graph, const char *where, onnxc_dim a, onnxc_dim b, onnxc_dim *dim) {
  int64_t x, y;
  bool a_const = onnxc_dim_is_const(&graph->dims, a, &x), b_const = onnxc_dim_is_const(&graph->dims, b, &y);
  if (dim)
    *dim = b_const ? b : a;
  if (onnxc_dim_same(a, b))
    return true;
  if (a_const && b_const) {
    onnxc_build_error(graph, ONNXC_BAD_INPUT, where, "dims %lld and %lld must agree", (long long)x, (long long)y);
    return false;
  }
  char first[128], second[128];
  onnxc_dim_print(&graph->dims, a, first, sizeof first);
  onnxc_dim_print(&graph->dims, b, second, sizeof second);
  onnxc_graph_add_constraint(graph, a, b,
                             onnxc_arena_printf(graph->arena, "%s: dims %s and %s must agree", where, first, second));
  return true;
}

bool onnxc_build_broadcast_dim(onnxc_graph *graph, const char *where, uint32_t n, const onnxc_dim *dims,
                               onnxc_dim *result) {
  onnxc_dims *pool = &graph->dims;
  onnxc_dim extent = {0};
  for (uint32_t k = 0; k < n; k++) { /* a constant decides */
    if (!onnxc_dim_is_const(pool, dims[k], NULL) || is_one(graph, dims[k]))
      continue;
    if (extent.i && !onnxc_dim_same(extent, dims[k])) {
      int64_t a = 0, b = 0;
      onnxc_dim_is_const(pool, extent, &a);
      onnxc_dim_is_const(pool, dims[k], &b);
      onnxc_build_error(graph, ONNXC_BAD_INPUT, where, "dims %lld and %lld don't broadcast", (long long)a,
                        (long long)b);
      return false;
    }
    extent = dims[k];
  }
  for (uint32_t k = 0; k < n && !extent.i; k++)
    if (!may_be_one(graph, dims[k]))
      extent = dims[k];
  for (uint32_t k = 0; k < n && !extent.i; k++)
    if (is_compound(graph, dims[k]))
      extent = dims[k];
  if (!extent.i) {
    extent = onnxc_dim_const(pool, 1);
    for (uint32_t k = 0; k < n; k++) {
      if (is_one(graph, dims[k]) || onnxc_dim_same(extent, dims[k]))
        continue;
      extent = is_one(graph, extent)
                   ? dims[k]
                   : onnxc_dim_select(pool, onnxc_dim_eq(pool, extent, onnxc_dim_const(pool, 1)), dims[k], extent);
    }
  }
  for (uint32_t k = 0; k < n; k++) {
    if (is_one(graph, dims[k]) || onnxc_dim_same(dims[k], extent))
      continue;
    if (taken_equal(graph, dims[k], extent)) {
      if (!onnxc_build_same_dim(graph, where, dims[k], extent, NULL))
        return false;
      continue;
    }
    char first[128], second[128];
    onnxc_dim_print(pool, dims[k], first, sizeof first);
    onnxc_dim_print(pool, extent, second, sizeof second);
    onnxc_graph_add_constraint(
        graph, onnxc_dim_mul(pool, onnxc_dim_addc(pool, dims[k], -1), onnxc_dim_sub(pool, dims[k], extent)),
        onnxc_dim_const(pool, 0),
        onnxc_arena_printf(graph->arena, "%s: dim %s must be 1 or agree with %s", where, first, second));
  }
  *result = extent;
  return true;
}

onnxc_expr onnxc_build_broadcast_index(onnxc_graph *graph, onnxc_dim dim, onnxc_dim extent, onnxc_expr index) {
  onnxc_exprs *pool = &graph->exprs;
  if (is_one(graph, dim) || is_one(graph, extent))
    return onnxc_expr_i64(pool, ONNXC_I64, 0);
  if (onnxc_dim_same(dim, extent) || taken_equal(graph, dim, extent))
    return index;
  onnxc_dim factor =
      onnxc_dim_min(&graph->dims, onnxc_dim_addc(&graph->dims, dim, -1), onnxc_dim_const(&graph->dims, 1));
  return onnxc_expr_binary(pool, ONNXC_EXPR_MUL, index, onnxc_expr_dim(pool, factor));
}

/* ---- shapes ---- */

bool onnxc_build_broadcast_shapes(onnxc_graph *graph, const char *where, uint32_t n, const uint32_t *ranks,
                                  const onnxc_dim *const *shapes, uint32_t *rank, onnxc_dim *dims) {
  *rank = 0;
  for (uint32_t k = 0; k < n; k++)
    *rank = ranks[k] > *rank ? ranks[k] : *rank;
  if (*rank > ONNXC_MAX_RANK) {
    onnxc_build_error(graph, ONNXC_UNSUPPORTED, where, "rank %u is above %d", *rank, ONNXC_MAX_RANK);
    return false;
  }
  onnxc_dim *axis = ONNXC_NEW_ARRAY(graph->arena, onnxc_dim, n ? n : 1);
  for (uint32_t d = 0; d < *rank; d++) {
    uint32_t count = 0;
    for (uint32_t k = 0; k < n; k++)
      if (d + ranks[k] >= *rank)
        axis[count++] = shapes[k][d + ranks[k] - *rank];
    if (!onnxc_build_broadcast_dim(graph, where, count, axis, &dims[d]))
      return false;
  }
  return true;
}

bool onnxc_build_broadcast(onnxc_graph *graph, const char *where, uint32_t n, const onnxc_value *values, uint32_t *rank,
                           onnxc_dim *dims) {
  uint32_t *ranks = ONNXC_NEW_ARRAY(graph->arena, uint32_t, n ? n : 1);
  const onnxc_dim **shapes = ONNXC_NEW_ARRAY(graph->arena, const onnxc_dim *, n ? n : 1);
  for (uint32_t k = 0; k < n; k++) {
    if (!values[k].i)
      return false;
    ranks[k] = onnxc_value_of(graph, values[k])->rank;
    shapes[k] = onnxc_value_of(graph, values[k])->dims;
  }
  return onnxc_build_broadcast_shapes(graph, where, n, ranks, shapes, rank, dims);
}

onnxc_expr onnxc_build_broadcast_load(onnxc_graph *graph, onnxc_value value, uint32_t operand, uint32_t rank,
                                      const onnxc_dim *dims) {
  const onnxc_value_info *info = onnxc_value_of(graph, value);
  onnxc_expr indices[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < info->rank; d++) {
    uint32_t at = d + rank - info->rank;
    indices[d] = onnxc_build_broadcast_index(graph, info->dims[d], dims[at], onnxc_expr_index(&graph->exprs, at));
  }
  return onnxc_expr_load(&graph->exprs, info->dtype, operand, info->rank, indices);
}
