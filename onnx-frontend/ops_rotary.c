/* ops_rotary.c -- RotaryEmbedding: pairs of a head's elements turned by an angle a position.
 *
 *     real = cos * x1 - sin * x2          imaginary = sin * x1 + cos * x2
 *
 * x1 and x2 are the two halves of the first rotary_embedding_dim elements, or every second one of them (interleaved):
 * the halves are seen as dims [2, half] or [half, 2], so the result is a concat along the dim of two and a reshape,
 * both views. The elements behind are left as they are.
 */
#include "shorthand.h"

typedef struct rotary {
  onnxc_importer *in;
  onnxc_graph *graph;
  onnxc_exprs *pool;
  onnxc_value x, cache[2], positions; /* cos, sin */
  uint32_t sequence, heads;           /* dims of x: [b, s, h, d] or [b, h, s, d] */
  onnxc_dim dims[4];                  /* of x */
  int64_t turned;
  bool interleaved;
} rotary;

static onnxc_status failed(onnxc_importer *in) { return in->graph->diag->status; }

static bool read_x(rotary *r) {
  onnxc_importer *in = r->in;
  onnxc_dims *dims = &r->graph->dims;
  r->x = onnxc_import_operand(in, 0, "f");
  if (!r->x.i)
    return false;
  const onnxc_value_info info = *onnxc_value_of(r->graph, r->x);
  int64_t heads = onnxc_import_int(in, "num_heads", 0), size;
  if (info.rank != 4 &&
      (info.rank != 3 || heads <= 0 || (onnxc_dim_is_const(dims, info.dims[2], &size) && size % heads != 0))) {
    onnxc_import_error(in, ONNXC_BAD_INPUT, "input of rank %u in %lld heads", info.rank, (long long)heads);
    return false;
  }
  r->sequence = info.rank == 4 ? 2 : 1;
  r->heads = 3 - r->sequence;
  for (uint32_t d = 0; d < info.rank; d++)
    r->dims[d] = info.dims[d];
  if (info.rank == 3) {
    r->dims[2] = onnxc_dim_const(dims, heads);
    r->dims[3] = onnxc_dim_floordiv(dims, info.dims[2], r->dims[2]);
    r->x = onnxc_build_reshape(r->graph, in->where, r->x, 4, r->dims);
  }
  if (!onnxc_dim_is_const(dims, r->dims[3], &size)) {
    onnxc_import_error(in, ONNXC_UNSUPPORTED, "heads of unknown size");
    return false;
  }
  r->turned = onnxc_import_int(in, "rotary_embedding_dim", 0);
  r->turned = r->turned ? r->turned : size;
  if (r->turned < 0 || r->turned > size || r->turned % 2) {
    onnxc_import_error(in, ONNXC_BAD_INPUT, "%lld elements of %lld to be turned in pairs", (long long)r->turned,
                       (long long)size);
    return false;
  }
  return r->x.i != 0;
}

/* The caches are [position, half] with positions, else [b, s, half]. */
static bool read_caches(rotary *r) {
  onnxc_importer *in = r->in;
  if (onnxc_import_optional(in, 3).i)
    r->positions = onnxc_import_operand(in, 3, "iu");
  if (onnxc_import_optional(in, 3).i && !r->positions.i)
    return false;
  uint32_t rank = r->positions.i ? 2 : 3;
  const onnxc_dim expected[] = {r->dims[0], r->dims[r->sequence], onnxc_dim_const(&r->graph->dims, r->turned / 2)};
  for (uint32_t k = 0; k < 2; k++) {
    r->cache[k] = onnxc_import_operand(in, 1 + k, "f");
    if (!r->cache[k].i)
      return false;
    const onnxc_value_info info = *onnxc_value_of(r->graph, r->cache[k]);
    if (info.rank != rank) {
      onnxc_import_error(in, ONNXC_BAD_INPUT, "a cache of rank %u", info.rank);
      return false;
    }
    for (uint32_t d = rank == 2 ? 1 : 0; d < rank; d++)
      if (!onnxc_build_same_dim(r->graph, in->where, info.dims[d], expected[d + 3 - rank], NULL))
        return false;
  }
  if (!r->positions.i)
    return true;
  const onnxc_value_info positions = *onnxc_value_of(r->graph, r->positions);
  if (positions.rank != 2) {
    onnxc_import_error(in, ONNXC_BAD_INPUT, "positions of rank %u", positions.rank);
    return false;
  }
  for (uint32_t k = 0; k < 2; k++)
    onnxc_import_need_elements(in, onnxc_value_of(r->graph, r->cache[k]), 2, expected);
  return onnxc_build_same_dim(r->graph, in->where, positions.dims[0], expected[0], NULL) &&
         onnxc_build_same_dim(r->graph, in->where, positions.dims[1], expected[1], NULL);
}

/* cos or sin of the angle that pair `pair` is turned by; a position beyond the cache's end is its last. */
static onnxc_expr angle(rotary *r, uint32_t k, onnxc_expr pair) {
  onnxc_exprs *pool = r->pool;
  const onnxc_value_info info = *onnxc_value_of(r->graph, r->cache[k]);
  onnxc_expr index[3] = {e_index(pool, 0), e_index(pool, r->sequence), pair};
  if (!r->positions.i)
    return onnxc_expr_load(pool, info.dtype, 1 + k, 3, index);
  onnxc_expr last = e_dim(pool, onnxc_dim_addc(&r->graph->dims, info.dims[0], -1));
  onnxc_expr at = e_i64(pool, onnxc_expr_load(pool, onnxc_value_of(r->graph, r->positions)->dtype, 3, 2, index));
  index[1] = e_min(pool, e_max(pool, at, e_int(pool, 0)), last);
  return onnxc_expr_load(pool, info.dtype, 1 + k, 2, index + 1);
}

/* [b, s, h, 1, half], or [b, s, h, half, 1] when interleaved. */
static onnxc_value half(rotary *r, bool imaginary) {
  onnxc_exprs *pool = r->pool;
  onnxc_dtype dtype = onnxc_value_of(r->graph, r->x)->dtype, wide = onnxc_build_wide(dtype);
  uint32_t along = r->interleaved ? 3 : 4;
  onnxc_compute compute = {.num_parallel = 5, .num_results = 1, .acc_dtype = {dtype}};
  onnxc_expr index[4], x[2], turn[2], pair = e_index(pool, along);
  for (uint32_t d = 0; d < 3; d++) {
    compute.extents[d] = r->dims[d];
    index[d] = e_index(pool, d);
  }
  compute.extents[7 - along] = onnxc_dim_const(&r->graph->dims, 1);
  compute.extents[along] = onnxc_dim_const(&r->graph->dims, r->turned / 2);
  for (uint32_t k = 0; k < 2; k++) {
    index[3] = r->interleaved ? e_addc(pool, onnxc_expr_binary(pool, ONNXC_EXPR_MUL, pair, e_int(pool, 2)), k)
                              : e_addc(pool, pair, k * (r->turned / 2));
    x[k] = e_cast(pool, wide, onnxc_expr_load(pool, dtype, 0, 4, index));
    turn[k] = e_cast(pool, wide, angle(r, k, pair));
  }
  onnxc_expr first = e_mul(pool, turn[imaginary], x[0]), second = e_mul(pool, turn[!imaginary], x[1]);
  compute.finish[0] = e_cast(
      pool, dtype, imaginary ? e_add(pool, first, second) : onnxc_expr_binary(pool, ONNXC_EXPR_SUB, first, second));
  onnxc_value inputs[4] = {r->x, r->cache[0], r->cache[1], r->positions}, result;
  onnxc_graph_add_compute(r->graph, r->in->where, &compute, r->positions.i ? 4 : 3, inputs, &result);
  return result;
}

/* The elements that are not turned; none if there are none. */
static onnxc_value rest(rotary *r) {
  onnxc_expr index[4];
  onnxc_dim dims[4];
  for (uint32_t d = 0; d < 4; d++) {
    index[d] = e_index(r->pool, d);
    dims[d] = r->dims[d];
  }
  dims[3] = onnxc_dim_addc(&r->graph->dims, r->dims[3], -r->turned);
  index[3] = e_addc(r->pool, index[3], r->turned);
  if (onnxc_dim_is(&r->graph->dims, dims[3], 0))
    return (onnxc_value){0};
  return onnxc_build_index(r->graph, r->in->where, r->x, 4, dims, index);
}

onnxc_status onnxc_import_RotaryEmbedding(onnxc_importer *in) {
  rotary r = {.in = in, .graph = in->graph, .pool = &in->graph->exprs};
  r.interleaved = onnxc_import_int(in, "interleaved", 0) != 0;
  if (!read_x(&r) || !read_caches(&r))
    return failed(in);
  const onnxc_value_info given = *onnxc_value_of(in->graph, onnxc_import_input(in, 0));
  onnxc_value parts[2] = {half(&r, false), half(&r, true)};
  onnxc_value turned = onnxc_build_concat(in->graph, in->where, 2, parts, r.interleaved ? 4 : 3);
  onnxc_dim dims[4] = {r.dims[0], r.dims[1], r.dims[2], onnxc_dim_const(&in->graph->dims, r.turned)};
  parts[0] = onnxc_build_reshape(in->graph, in->where, turned, 4, dims);
  parts[1] = rest(&r);
  onnxc_value y = parts[1].i ? onnxc_build_concat(in->graph, in->where, 2, parts, 3) : parts[0];
  return onnxc_import_done(in, 0, onnxc_build_reshape(in->graph, in->where, y, given.rank, given.dims));
}
