/* eval_contraction.c -- sums of products by a blocked matrix product.
 *
 * For an element x * y the indices fall into batch (in both factors), m (x only), n (y only) and k (reduced,
 * in both). For each batch point both factors are written out as dense matrices X[k][m] and
 * Y[k][n] of double -- whatever expression they are: casts, selects of padding and strided loads included -- and
 * multiplied. So the cost of a convolution's index arithmetic is paid once an element of
 * X, not once a product. Integers go this way where double is exact: narrow ones, cast to the accumulator's type.
 */
#include "ir/eval_compute.h"

/* Doubles of each matrix at a time, and of the product. */
#define FACTOR_LIMIT  ((int64_t)4 << 20)
#define PRODUCT_LIMIT ((int64_t)1 << 20)
enum { K_BLOCK = 64, N_BLOCK = 512 };

typedef struct contraction {
  onnxc_dtype dtype;
  onnxc_block *x, *y;
  onnxc_space batch, m, n, k, km, kn; /* km: k outside m */
  int64_t num_m, num_n, num_k;
  int64_t *offset_m, *offset_n; /* of each point in the parallel space */
  double *xs, *ys, *product;
} contraction;

static onnxc_space pick(const onnxc_space *from, uint32_t mask) {
  onnxc_space space = {0};
  for (uint32_t i = 0; i < from->rank; i++)
    if (mask & (1u << from->index[i])) {
      space.index[space.rank] = from->index[i];
      space.extent[space.rank++] = from->extent[i];
    }
  return space;
}

static onnxc_space joined(const onnxc_space *outer, const onnxc_space *inner) {
  onnxc_space space = *outer;
  for (uint32_t i = 0; i < inner->rank; i++) {
    space.index[space.rank] = inner->index[i];
    space.extent[space.rank++] = inner->extent[i];
  }
  return space;
}

static uint32_t mask_of(const onnxc_space *space) {
  uint32_t mask = 0;
  for (uint32_t i = 0; i < space->rank; i++)
    mask |= 1u << space->index[i];
  return mask;
}

/* Offset of a point of `space` in the parallel space, whose strides by index are given. */
static int64_t offset_of(const onnxc_space *space, const int64_t *strides, int64_t point) {
  int64_t offset = 0;
  for (uint32_t i = space->rank; i-- > 0; point /= space->extent[i])
    offset += point % space->extent[i] * strides[space->index[i]];
  return offset;
}

static int64_t *offsets_of(onnxc_arena *arena, const onnxc_space *space, const int64_t *strides) {
  int64_t size = onnxc_space_size(space), *offsets = ONNXC_NEW_ARRAY(arena, int64_t, size);
  for (int64_t i = 0; i < size; i++)
    offsets[i] = offset_of(space, strides, i);
  return offsets;
}

static void fix_point(onnxc_block *block, const onnxc_space *space, int64_t point) {
  for (uint32_t i = space->rank; i-- > 0; point /= space->extent[i])
    onnxc_block_fix(block, space->index[i], point % space->extent[i]);
}

static void write_row(onnxc_block *block, onnxc_dtype dtype, int64_t first, int64_t count, double *out) {
  for (int64_t i = 0; i < count; i += ONNXC_LANES) {
    int n = count - i < ONNXC_LANES ? (int)(count - i) : ONNXC_LANES;
    onnxc_block_seek(block, first + i, n);
    const onnxc_lanes *lanes = onnxc_block_eval(block, 0);
    if (onnxc_dtype_is_float(dtype))
      onnxc_lanes_to_f64(dtype, out + i, lanes, n);
    else
      for (int l = 0; l < n; l++)
        out[i + l] = (double)lanes->i64[l];
  }
}

/* Columns first..first+count-1 of a factor for all k, as out[k][column]. */
static void write_factor(contraction *c, onnxc_block *block, const onnxc_space *columns, const onnxc_space *both,
                         int64_t num_columns, int64_t first, int64_t count, double *out) {
  if (count == num_columns) {
    onnxc_block_set_space(block, both);
    write_row(block, c->dtype, 0, c->num_k * count, out);
    return;
  }
  onnxc_block_set_space(block, columns);
  for (int64_t k = 0; k < c->num_k; k++) {
    fix_point(block, &c->k, k);
    write_row(block, c->dtype, first, count, out + k * count);
  }
}

static void add_row(double *restrict out, const double *restrict y, int64_t ldy, const double *x, int64_t ldx,
                    int64_t k, int64_t n) {
  int64_t p = 0;
  for (; p + 4 <= k; p += 4) {
    double x0 = x[p * ldx], x1 = x[(p + 1) * ldx], x2 = x[(p + 2) * ldx], x3 = x[(p + 3) * ldx];
    const double *restrict y0 = y + p * ldy, *restrict y1 = y0 + ldy, *restrict y2 = y1 + ldy, *restrict y3 = y2 + ldy;
    for (int64_t j = 0; j < n; j++)
      out[j] += (x0 * y0[j] + x1 * y1[j]) + (x2 * y2[j] + x3 * y3[j]);
  }
  for (; p < k; p++)
    for (int64_t j = 0; j < n; j++)
      out[j] += x[p * ldx] * y[p * ldy + j];
}

/* product[m][n] = sum over k of xs[k][m] * ys[k][n]. */
static void multiply(const contraction *c, int64_t m, int64_t n) {
  for (int64_t i = 0; i < m * n; i++)
    c->product[i] = 0;
  for (int64_t j = 0; j < n; j += N_BLOCK) {
    int64_t width = n - j < N_BLOCK ? n - j : N_BLOCK;
    for (int64_t k = 0; k < c->num_k; k += K_BLOCK) {
      int64_t depth = c->num_k - k < K_BLOCK ? c->num_k - k : K_BLOCK;
      for (int64_t i = 0; i < m; i++)
        add_row(c->product + i * n + j, c->ys + k * n + j, n, c->xs + k * m + i, m, depth, width);
    }
  }
}

static int64_t at_most(int64_t a, int64_t b) { return a < b ? a : b; }

static void run_batch(contraction *c, int64_t offset, double *sums) {
  int64_t wide = at_most(c->num_n, FACTOR_LIMIT / c->num_k);
  int64_t high = at_most(at_most(c->num_m, FACTOR_LIMIT / c->num_k), PRODUCT_LIMIT / wide + 1);
  for (int64_t n = 0; n < c->num_n; n += wide) {
    int64_t width = at_most(wide, c->num_n - n);
    write_factor(c, c->y, &c->n, &c->kn, c->num_n, n, width, c->ys);
    for (int64_t m = 0; m < c->num_m; m += high) {
      int64_t height = at_most(high, c->num_m - m);
      write_factor(c, c->x, &c->m, &c->km, c->num_m, m, height, c->xs);
      multiply(c, height, width);
      for (int64_t i = 0; i < height; i++)
        for (int64_t j = 0; j < width; j++)
          sums[offset + c->offset_m[m + i] + c->offset_n[n + j]] += c->product[i * width + j];
    }
  }
}

/* Sorts the indices into roles; false if some index fits none. */
static bool assign(contraction *c, const onnxc_space *parallel, const onnxc_space *reduce) {
  uint32_t in_x = onnxc_block_deps(c->x, 0), in_y = onnxc_block_deps(c->y, 0);
  if ((mask_of(parallel) & ~(in_x | in_y)) || (mask_of(reduce) & ~(in_x & in_y)))
    return false;
  c->batch = pick(parallel, in_x & in_y);
  c->m = pick(parallel, in_x & ~in_y);
  c->n = pick(parallel, in_y & ~in_x);
  c->k = pick(reduce, in_x & in_y);
  c->num_m = onnxc_space_size(&c->m);
  c->num_n = onnxc_space_size(&c->n);
  c->num_k = onnxc_space_size(&c->k);
  if (c->num_m > c->num_n) { /* the longer side is the vector */
    onnxc_block *x = c->x;
    onnxc_space m = c->m;
    int64_t num_m = c->num_m;
    c->x = c->y, c->m = c->n, c->num_m = c->num_n;
    c->y = x, c->n = m, c->num_n = num_m;
  }
  return c->num_m >= 4 && c->num_k >= 2 && c->num_k <= FACTOR_LIMIT / 16;
}

/* The bits of a factor that is a cast of a narrower integer, perhaps guarded; 64 for any other. */
static uint32_t bits_of(const onnxc_exprs *pool, onnxc_expr e) {
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  while (node->op == ONNXC_EXPR_SELECT && onnxc_exprs_node(pool, node->args[2])->op == ONNXC_EXPR_CONST &&
         onnxc_exprs_node(pool, node->args[2])->imm == 0)
    node = onnxc_exprs_node(pool, node->args[1]);
  onnxc_dtype from = node->op == ONNXC_EXPR_CAST ? (onnxc_dtype)onnxc_exprs_node(pool, node->args[0])->dtype : 0;
  return from && onnxc_dtype_is_int(from) ? (uint32_t)onnxc_dtype_bytes(from) * 8 : 64;
}

/* Are the sums exact in double? Those of floats need not be. */
static bool fits_double(const onnxc_exprs *pool, const onnxc_compute *compute, int64_t num_reduced) {
  if (onnxc_dtype_is_float(compute->acc_dtype[0]))
    return true;
  const onnxc_expr_node *product = onnxc_exprs_node(pool, compute->element[0]);
  uint32_t bits = bits_of(pool, product->args[0]) + bits_of(pool, product->args[1]);
  return onnxc_dtype_is_int(compute->acc_dtype[0]) && bits <= 32 && num_reduced <= (int64_t)1 << (53 - bits);
}

onnxc_status onnxc_eval_contraction(const onnxc_block_env *env, const onnxc_compute *compute, const int64_t *extents,
                                    double *sums, bool *done) {
  *done = false;
  const onnxc_expr_node *element = onnxc_exprs_node(&env->graph->exprs, compute->element[0]);
  onnxc_expr factors[2] = {element->args[0], element->args[1]};
  contraction c = {.dtype = compute->acc_dtype[0]};
  ONNXC_TRY(onnxc_block_compile(env, 1, &factors[0], &c.x));
  ONNXC_TRY(onnxc_block_compile(env, 1, &factors[1], &c.y));
  onnxc_space parallel = onnxc_space_of(extents, 0, compute->num_parallel);
  onnxc_space reduce = onnxc_space_of(extents, compute->num_parallel, compute->num_reduce);
  if (onnxc_space_size(&parallel) == 0 || onnxc_space_size(&reduce) == 0 || !assign(&c, &parallel, &reduce) ||
      !fits_double(&env->graph->exprs, compute, c.num_k))
    return ONNXC_OK;
  int64_t strides[ONNXC_MAX_INDICES], stride = 1;
  for (uint32_t i = compute->num_parallel; i-- > 0; stride *= extents[i])
    strides[i] = stride;
  c.km = joined(&c.k, &c.m);
  c.kn = joined(&c.k, &c.n);
  c.offset_m = offsets_of(env->arena, &c.m, strides);
  c.offset_n = offsets_of(env->arena, &c.n, strides);
  c.xs = ONNXC_NEW_ARRAY(env->arena, double, at_most(FACTOR_LIMIT, c.num_k * c.num_m));
  c.ys = ONNXC_NEW_ARRAY(env->arena, double, at_most(FACTOR_LIMIT, c.num_k * c.num_n));
  c.product = ONNXC_NEW_ARRAY(env->arena, double, at_most(c.num_m * c.num_n, 2 * PRODUCT_LIMIT + 2 * FACTOR_LIMIT));
  int64_t num_batch = onnxc_space_size(&c.batch);
  for (int64_t b = 0; b < num_batch; b++) {
    fix_point(c.x, &c.batch, b);
    fix_point(c.y, &c.batch, b);
    run_batch(&c, offset_of(&c.batch, strides, b), sums);
    ONNXC_TRY(onnxc_block_status(c.x));
    ONNXC_TRY(onnxc_block_status(c.y));
  }
  *done = true;
  return ONNXC_OK;
}
