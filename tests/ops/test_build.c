/* test_build.c -- the builders against plain loops, with constant and with symbolic dims.
 *
 * Each check builds a small graph, evaluates it and compares with a loop that follows numpy's definition.
 * Tensors hold their flat element numbers (plus a start), so that a wrong index is a wrong value.
 */
#include "ir/eval.h"
#include "ir/verify.h"
#include "ops/build.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct fixture {
  onnxc_guard guard;
  onnxc_arena arena;
  onnxc_diag diag;
  onnxc_graph graph;
  onnxc_array inputs[4];
  onnxc_eval eval;
} fixture;

static fixture f;

/* Out of memory ends the test program. */
static void begin(void) {
  if (setjmp(f.guard.env))
    abort();
  onnxc_diag_clear(&f.diag);
  onnxc_arena_init(&f.arena, &f.guard);
  onnxc_graph_init(&f.graph, &f.arena, &f.diag);
}

static void end(void) { onnxc_arena_free(&f.arena); }

/* An input of f32 elements start, start + 1, ...; a symbol a dim on request. */
static onnxc_value add_input(uint32_t rank, const int64_t *shape, bool symbolic, float start) {
  uint32_t k = f.graph.inputs.length;
  onnxc_dim dims[ONNXC_MAX_RANK];
  onnxc_array *array = &f.inputs[k];
  *array = (onnxc_array){.dtype = ONNXC_F32, .rank = rank};
  for (uint32_t d = 0; d < rank; d++) {
    array->dims[d] = shape[d];
    dims[d] = symbolic ? onnxc_dim_sym(&f.graph.dims, onnxc_sym_new(&f.graph.dims, "s", ONNXC_SYM_INPUT_DIM, k, d))
                       : onnxc_dim_const(&f.graph.dims, shape[d]);
  }
  int64_t count = onnxc_array_count(array);
  float *data = ONNXC_NEW_ARRAY(&f.arena, float, count + 1);
  for (int64_t i = 0; i < count; i++)
    data[i] = start + (float)i;
  array->data = data;
  return onnxc_graph_add_input(&f.graph, "x", ONNXC_F32, rank, dims);
}

/* Evaluates; NULL after an error. */
static const onnxc_array *result_of(onnxc_value value) {
  if (!value.i)
    return NULL;
  onnxc_graph_add_output(&f.graph, value, "y");
  if (onnxc_eval_graph(&f.eval, &f.graph, &f.arena, f.inputs, f.graph.inputs.length) != ONNXC_OK)
    return NULL;
  return &f.eval.arrays[value.i];
}

static float element(const onnxc_array *array, const int64_t *index) {
  int64_t flat = 0;
  for (uint32_t d = 0; d < array->rank; d++)
    flat = flat * array->dims[d] + index[d];
  return ((const float *)array->data)[flat];
}

/* The element of `array` that numpy would use at output point `index`. */
static float broadcast_element(const onnxc_array *array, uint32_t rank, const int64_t *index) {
  int64_t own[ONNXC_MAX_RANK] = {0};
  for (uint32_t d = 0; d < array->rank; d++)
    own[d] = array->dims[d] == 1 ? 0 : index[d + rank - array->rank];
  return element(array, own);
}

/* Steps through all points of a shape; false after the last. */
static bool next_point(uint32_t rank, const int64_t *shape, int64_t *index) {
  for (uint32_t d = rank; d-- > 0;) {
    if (++index[d] < shape[d])
      return true;
    index[d] = 0;
  }
  return false;
}

static bool is_empty(uint32_t rank, const int64_t *shape) {
  for (uint32_t d = 0; d < rank; d++)
    if (shape[d] == 0)
      return true;
  return false;
}

/* ---- broadcasting ---- */

static bool broadcast_shape(const onnxc_array *a, const onnxc_array *b, uint32_t *rank, int64_t *shape) {
  *rank = a->rank > b->rank ? a->rank : b->rank;
  for (uint32_t d = 0; d < *rank; d++) {
    int64_t x = d + a->rank >= *rank ? a->dims[d + a->rank - *rank] : 1;
    int64_t y = d + b->rank >= *rank ? b->dims[d + b->rank - *rank] : 1;
    if (x != y && x != 1 && y != 1)
      return false;
    shape[d] = x == 1 ? y : x;
  }
  return true;
}

static void check_sub(uint32_t a_rank, const int64_t *a_shape, bool a_symbolic, uint32_t b_rank, const int64_t *b_shape,
                      bool b_symbolic) {
  begin();
  onnxc_value a = add_input(a_rank, a_shape, a_symbolic, 1), b = add_input(b_rank, b_shape, b_symbolic, 100);
  const onnxc_array *out = result_of(onnxc_build_binary(&f.graph, "sub", ONNXC_EXPR_SUB, a, b));
  uint32_t rank;
  int64_t shape[ONNXC_MAX_RANK] = {0}, index[ONNXC_MAX_RANK] = {0};
  bool fits = broadcast_shape(&f.inputs[0], &f.inputs[1], &rank, shape);
  cr_expect(fits == (out != NULL), "%s", f.diag.text);
  if (!fits)
    cr_expect(f.diag.status == ONNXC_BAD_INPUT && strstr(f.diag.text, "sub"), "%s", f.diag.text);
  if (fits && out) {
    cr_expect(onnxc_graph_verify(&f.graph, "build") == ONNXC_OK, "%s", f.diag.text);
    cr_expect_eq(out->rank, rank);
    for (uint32_t d = 0; d < rank; d++)
      cr_expect_eq(out->dims[d], shape[d]);
    int wrong = 0;
    if (!is_empty(rank, shape))
      do
        wrong += element(out, index) !=
                 broadcast_element(&f.inputs[0], rank, index) - broadcast_element(&f.inputs[1], rank, index);
      while (next_point(rank, shape, index));
    cr_expect(wrong == 0, "%d wrong elements", wrong);
  }
  end();
}

/* Every pair of shapes of rank 2 over {0, 1, 3}, and of unequal ranks; each side static or symbolic. */
Test(build, broadcast) {
  static const int64_t sizes[] = {0, 1, 3};
  for (int code = 0; code < 81 * 4; code++) {
    int shapes = code / 4;
    int64_t a[2] = {sizes[shapes % 3], sizes[shapes / 3 % 3]}, b[2] = {sizes[shapes / 9 % 3], sizes[shapes / 27]};
    check_sub(2, a, code & 1, 2, b, code & 2);
  }
  check_sub(3, (int64_t[]){2, 3, 4}, true, 1, (int64_t[]){4}, true);
  check_sub(3, (int64_t[]){2, 3, 4}, true, 0, NULL, true);
  check_sub(0, NULL, true, 3, (int64_t[]){2, 1, 4}, true);
  check_sub(1, (int64_t[]){5}, false, 3, (int64_t[]){2, 4, 5}, true);
}

/* Loads stay affine in the indices even where a dim may be 1 only at run time. */
Test(build, broadcast_is_affine) {
  begin();
  onnxc_value a = add_input(2, (int64_t[]){3, 1}, true, 0), b = add_input(2, (int64_t[]){1, 4}, true, 0);
  uint32_t rank;
  onnxc_dim dims[ONNXC_MAX_RANK];
  onnxc_value values[2] = {a, b};
  cr_assert(onnxc_build_broadcast(&f.graph, "x", 2, values, &rank, dims));
  for (uint32_t k = 0; k < 2; k++) {
    onnxc_expr load = onnxc_build_broadcast_load(&f.graph, values[k], k, rank, dims);
    const onnxc_expr *args = onnxc_exprs_node(&f.graph.exprs, load)->args;
    onnxc_dim base, coefficients[2];
    for (uint32_t d = 0; d < 2; d++)
      cr_expect(onnxc_expr_affine(&f.graph.exprs, args[d], 2, &base, coefficients));
  }
  end();
}

/* ---- maps and constants ---- */

Test(build, maps) {
  begin();
  onnxc_value x = add_input(1, (int64_t[]){3}, false, 1);
  onnxc_value two = onnxc_build_scalar_f64(&f.graph, ONNXC_F32, 2);
  onnxc_value y = onnxc_build_binary(&f.graph, "m", ONNXC_EXPR_MUL, x, two);
  onnxc_value z = onnxc_build_binary(&f.graph, "m", ONNXC_EXPR_MUL, y, y);
  cr_expect_eq(onnxc_node_of(&f.graph, onnxc_value_of(&f.graph, y)->producer)->num_inputs, 1,
               "a constant of one element is part of the expression");
  cr_expect_eq(onnxc_node_of(&f.graph, onnxc_value_of(&f.graph, z)->producer)->num_inputs, 1,
               "an operand that is used twice is one operand");
  onnxc_value cast = onnxc_build_cast(&f.graph, "c", ONNXC_I32, z);
  cr_expect_eq(onnxc_build_cast(&f.graph, "c", ONNXC_I32, cast).i, cast.i);
  const onnxc_array *out = result_of(cast);
  cr_assert(out && out->dtype == ONNXC_I32, "%s", f.diag.text);
  cr_expect_eq(((const int32_t *)out->data)[2], 36);
  onnxc_value integer = onnxc_build_scalar_i64(&f.graph, ONNXC_I32, 2);
  cr_expect_eq(onnxc_build_binary(&f.graph, "mixed", ONNXC_EXPR_ADD, x, integer).i, 0);
  cr_expect(f.diag.status == ONNXC_BAD_INPUT && strstr(f.diag.text, "mixed: operands of types f32 and i32"));
  cr_expect_eq(onnxc_build_unary(&f.graph, "u", ONNXC_EXPR_NEG, (onnxc_value){0}).i, 0, "none gives none");
  end();
}

Test(build, shape_tensor) {
  begin();
  add_input(2, (int64_t[]){5, 7}, true, 0);
  onnxc_value x = f.graph.inputs.data[0];
  onnxc_dim dims[9];
  for (uint32_t k = 0; k < 9; k++)
    dims[k] = k % 3 == 2 ? onnxc_dim_const(&f.graph.dims, k)
                         : onnxc_dim_addc(&f.graph.dims, onnxc_value_of(&f.graph, x)->dims[k % 3], k);
  onnxc_value shape = onnxc_build_shape_tensor(&f.graph, "shape", 9, dims);
  uint32_t count;
  const onnxc_dim *elements = onnxc_value_elements(&f.graph, shape, &count);
  cr_assert(elements && count == 9);
  const onnxc_array *out = result_of(shape);
  cr_assert(out, "%s", f.diag.text);
  for (uint32_t k = 0; k < 9; k++) {
    int64_t expected = k % 3 == 2 ? k : k + (k % 3 ? 7 : 5);
    cr_expect_eq(((const int64_t *)out->data)[k], expected);
    cr_expect(onnxc_dim_same(elements[k], dims[k]));
  }
  cr_expect(onnxc_value_is_constant(&f.graph, onnxc_build_shape_tensor(&f.graph, "shape", 1, dims + 2)));
  cr_expect(onnxc_build_shape_tensor(&f.graph, "shape", 0, NULL).i != 0);
  end();
}

/* ---- movement ---- */

Test(build, reshape) {
  begin();
  onnxc_value x = add_input(3, (int64_t[]){2, 1, 6}, true, 0);
  onnxc_dims *dims = &f.graph.dims;
  const onnxc_dim *d = onnxc_value_of(&f.graph, x)->dims;
  onnxc_dim one = onnxc_dim_const(dims, 1), three = onnxc_dim_const(dims, 3), four = onnxc_dim_const(dims, 4);
  cr_expect_eq(onnxc_build_reshape(&f.graph, "r", x, 3, d).i, x.i);
  onnxc_value wider = onnxc_build_reshape(&f.graph, "r", x, 5, (onnxc_dim[]){one, d[0], d[1], one, d[2]});
  cr_expect_eq(onnxc_node_of(&f.graph, onnxc_value_of(&f.graph, wider)->producer)->op, ONNXC_OP_COMPUTE);
  onnxc_value grouped = onnxc_build_reshape(&f.graph, "r", wider, 2, (onnxc_dim[]){three, four});
  cr_expect_eq(onnxc_node_of(&f.graph, onnxc_value_of(&f.graph, grouped)->producer)->op, ONNXC_OP_RESHAPE);
  cr_expect(f.graph.constraints.length > 0, "12 elements are known only by a run");
  const onnxc_array *out = result_of(grouped);
  cr_assert(out, "%s", f.diag.text);
  for (int i = 0; i < 12; i++)
    cr_expect_eq(((const float *)out->data)[i], (float)i);
  onnxc_value scalar = onnxc_build_scalar_f64(&f.graph, ONNXC_F32, 2);
  cr_expect(onnxc_value_is_constant(&f.graph, onnxc_build_reshape(&f.graph, "r", scalar, 1, &one)));
  cr_expect_eq(onnxc_build_reshape(&f.graph, "bad", scalar, 1, &three).i, 0);
  cr_expect(strstr(f.diag.text, "bad"));
  end();
}

Test(build, reshape_of_wrong_size) {
  begin();
  onnxc_value x = add_input(2, (int64_t[]){2, 5}, true, 0);
  onnxc_dim ten = onnxc_dim_const(&f.graph.dims, 11);
  cr_expect_null(result_of(onnxc_build_reshape(&f.graph, "node 'r'", x, 1, &ten)));
  cr_expect(f.diag.status == ONNXC_BAD_INPUT && strstr(f.diag.text, "node 'r'"), "%s", f.diag.text);
  end();
}

Test(build, transpose_and_expand) {
  static const uint32_t perms[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  for (int code = 0; code < 12; code++) {
    begin();
    const uint32_t *perm = perms[code / 2];
    onnxc_value x = add_input(3, (int64_t[]){2, 3, 4}, code & 1, 0);
    onnxc_value y = onnxc_build_transpose(&f.graph, "t", x, perm);
    cr_expect_eq(y.i == x.i, code / 2 == 0, "the identity does nothing");
    const onnxc_array *out = result_of(y);
    cr_assert(out, "%s", f.diag.text);
    int64_t at[3] = {0}, from[3] = {0};
    do {
      for (uint32_t d = 0; d < 3; d++)
        from[perm[d]] = at[d];
      cr_assert_eq(element(out, at), element(&f.inputs[0], from));
    } while (next_point(3, out->dims, at));
    end();
  }
  for (int symbolic = 0; symbolic < 2; symbolic++) { /* both ways: the shape has a 1 where x has 3 */
    begin();
    onnxc_value x = add_input(2, (int64_t[]){3, 1}, symbolic, 0);
    onnxc_dim shape[3] = {onnxc_dim_const(&f.graph.dims, 2), onnxc_dim_const(&f.graph.dims, 1),
                          onnxc_dim_const(&f.graph.dims, 4)};
    const onnxc_array *out = result_of(onnxc_build_expand(&f.graph, "e", x, 3, shape));
    cr_assert(out && out->rank == 3 && out->dims[0] == 2 && out->dims[1] == 3 && out->dims[2] == 4, "%s", f.diag.text);
    for (int i = 0; i < 24; i++)
      cr_expect_eq(((const float *)out->data)[i], (float)(i / 4 % 3));
    end();
  }
}

Test(build, concat) {
  for (uint32_t code = 0; code < 6; code++) {
    begin();
    uint32_t axis = code / 2;
    int64_t shape[3] = {2, 3, 2}, other[3] = {2, 3, 2}, none[3] = {2, 3, 2};
    other[axis] = 4;
    none[axis] = 0;
    onnxc_value parts[3] = {add_input(3, shape, code & 1, 0), add_input(3, none, code & 1, 0),
                            add_input(3, other, code & 1, 100)};
    cr_expect_eq(onnxc_build_concat(&f.graph, "c", 1, parts, axis).i, parts[0].i);
    const onnxc_array *out = result_of(onnxc_build_concat(&f.graph, "c", 3, parts, axis));
    cr_assert(out, "%s", f.diag.text);
    int64_t at[3] = {0};
    do {
      int64_t from[3] = {at[0], at[1], at[2]};
      bool second = at[axis] >= shape[axis];
      from[axis] -= second ? shape[axis] : 0;
      cr_assert_eq(element(out, at), element(&f.inputs[second ? 2 : 0], from));
    } while (next_point(3, out->dims, at));
    end();
  }
}

/* ---- reductions ---- */

static float reduced(const onnxc_array *x, const bool *reduce, const int64_t *at, onnxc_expr_op op) {
  float acc = op == ONNXC_EXPR_ADD ? 0 : op == ONNXC_EXPR_MUL ? 1 : op == ONNXC_EXPR_MIN ? INFINITY : -INFINITY;
  int64_t index[3] = {0};
  if (is_empty(x->rank, x->dims))
    return acc;
  do {
    bool mine = true;
    for (uint32_t d = 0; d < 3; d++)
      mine = mine && (reduce[d] || index[d] == at[d]);
    float v = element(x, index);
    if (mine)
      acc = op == ONNXC_EXPR_ADD   ? acc + v
            : op == ONNXC_EXPR_MUL ? acc * v
            : op == ONNXC_EXPR_MIN ? fminf(acc, v)
                                   : fmaxf(acc, v);
  } while (next_point(x->rank, x->dims, index));
  return acc;
}

static void check_reduce(const int64_t *shape, unsigned mask, bool keepdims, bool symbolic, onnxc_expr_op op) {
  begin();
  bool reduce[3] = {mask & 1, mask & 2, mask & 4};
  onnxc_value x = add_input(3, shape, symbolic, -3);
  const onnxc_array *out = result_of(onnxc_build_reduce(&f.graph, "r", x, reduce, keepdims, op, NULL, NULL, NULL));
  cr_assert(out, "%s", f.diag.text);
  cr_expect(onnxc_graph_verify(&f.graph, "build") == ONNXC_OK, "%s", f.diag.text);
  int64_t at[3] = {0};
  uint32_t rank = 0;
  for (uint32_t d = 0; d < 3; d++) {
    if (!reduce[d] || keepdims)
      cr_expect_eq(out->dims[rank++], reduce[d] ? 1 : shape[d]);
  }
  cr_expect_eq(out->rank, rank);
  if (!is_empty(rank, out->dims))
    do {
      int64_t full[3] = {0};
      uint32_t k = 0;
      for (uint32_t d = 0; d < 3; d++)
        if (!reduce[d] || keepdims)
          full[d] = at[k++];
      cr_assert_eq(element(out, at), reduced(&f.inputs[0], reduce, full, op));
    } while (next_point(rank, out->dims, at));
  end();
}

Test(build, reduce) {
  static const onnxc_expr_op ops[] = {ONNXC_EXPR_ADD, ONNXC_EXPR_MUL, ONNXC_EXPR_MIN, ONNXC_EXPR_MAX};
  for (unsigned mask = 0; mask < 8; mask++)
    for (unsigned k = 0; k < 4; k++)
      for (unsigned how = 0; how < 4; how++) {
        check_reduce((int64_t[]){2, 3, 2}, mask, how & 1, how & 2, ops[k]);
        check_reduce((int64_t[]){2, 1, 2}, mask, how & 1, how & 2, ops[k]);
        check_reduce((int64_t[]){2, 0, 2}, mask, how & 1, how & 2, ops[k]);
      }
}

/* The neutral elements of every type: combining one with a value gives the value. */
Test(build, neutral_elements) {
  static const onnxc_dtype dtypes[] = {ONNXC_U8,  ONNXC_I8,  ONNXC_U16, ONNXC_I16, ONNXC_U32, ONNXC_I32,
                                       ONNXC_U64, ONNXC_I64, ONNXC_F16, ONNXC_F32, ONNXC_F64};
  static const onnxc_expr_op ops[] = {ONNXC_EXPR_ADD, ONNXC_EXPR_MUL, ONNXC_EXPR_MIN, ONNXC_EXPR_MAX};
  begin();
  for (size_t t = 0; t < sizeof dtypes / sizeof *dtypes; t++)
    for (size_t k = 0; k < 4; k++)
      for (int64_t v = onnxc_dtype_is_signed(dtypes[t]) ? -128 : 0; v < 128; v += 64) {
        onnxc_exprs *pool = &f.graph.exprs;
        onnxc_expr neutral = onnxc_build_neutral(pool, ops[k], dtypes[t]);
        onnxc_expr value = onnxc_dtype_is_float(dtypes[t]) ? onnxc_expr_f64(pool, dtypes[t], (double)v)
                                                           : onnxc_expr_i64(pool, dtypes[t], v);
        onnxc_compute compute = {.num_results = 1, .acc_dtype = {dtypes[t]}};
        compute.finish[0] =
            onnxc_expr_binary(pool, ONNXC_EXPR_EQ, onnxc_expr_binary(pool, ops[k], neutral, value), value);
        onnxc_array result = {0};
        compute.acc_dtype[0] = ONNXC_BOOL;
        cr_assert_eq(onnxc_eval_compute(&f.graph, &f.arena, &compute, NULL, 0, NULL, &result), ONNXC_OK, "%s",
                     f.diag.text);
        cr_expect_eq(*(const uint8_t *)result.data, 1, "%s of %s and %d", onnxc_expr_op_name(ops[k]),
                     onnxc_dtype_name(dtypes[t]), (int)v);
      }
  end();
}

/* ---- matrix products ---- */

typedef struct matmul_row {
  uint32_t a_rank, b_rank, rank;
  int64_t a[4], b[4], out[4];
} matmul_row;

static void check_matmul(const matmul_row *row, bool symbolic) {
  begin();
  onnxc_value a = add_input(row->a_rank, row->a, symbolic, 1), b = add_input(row->b_rank, row->b, symbolic, 2);
  const onnxc_array *out = result_of(onnxc_build_matmul(&f.graph, "m", a, b));
  cr_assert(out, "%s", f.diag.text);
  cr_expect(onnxc_graph_verify(&f.graph, "build") == ONNXC_OK, "%s", f.diag.text);
  cr_assert_eq(out->rank, row->rank);
  for (uint32_t d = 0; d < row->rank; d++)
    cr_assert_eq(out->dims[d], row->out[d]);
  bool has_m = row->a_rank > 1, has_n = row->b_rank > 1;
  uint32_t batch = row->rank - has_m - has_n;
  int64_t at[4] = {0}, k_extent = row->a[row->a_rank - 1];
  do {
    float sum = 0;
    for (int64_t k = 0; k < k_extent; k++) {
      int64_t x[4] = {0}, y[4] = {0};
      for (uint32_t d = 0; d + 2 < row->a_rank; d++)
        x[d] = row->a[d] == 1 ? 0 : at[d + batch - (row->a_rank - 2)];
      for (uint32_t d = 0; d + 2 < row->b_rank; d++)
        y[d] = row->b[d] == 1 ? 0 : at[d + batch - (row->b_rank - 2)];
      if (has_m)
        x[row->a_rank - 2] = at[batch];
      x[row->a_rank - 1] = k;
      y[has_n ? row->b_rank - 2 : 0] = k;
      if (has_n)
        y[row->b_rank - 1] = at[row->rank - 1];
      sum += element(&f.inputs[0], x) * element(&f.inputs[1], y);
    }
    cr_assert_float_eq(element(out, at), sum, 1e-3F * fabsf(sum));
  } while (next_point(row->rank, row->out, at));
  end();
}

Test(build, matmul) {
  static const matmul_row rows[] = {{2, 2, 2, {3, 4}, {4, 5}, {3, 5}},
                                    {1, 1, 0, {4}, {4}, {0}},
                                    {1, 2, 1, {4}, {4, 5}, {5}},
                                    {2, 1, 1, {3, 4}, {4}, {3}},
                                    {3, 2, 3, {2, 3, 4}, {4, 5}, {2, 3, 5}},
                                    {2, 3, 3, {3, 4}, {2, 4, 5}, {2, 3, 5}},
                                    {4, 3, 4, {2, 1, 3, 4}, {3, 4, 2}, {2, 3, 3, 2}},
                                    {3, 1, 2, {2, 3, 4}, {4}, {2, 3}},
                                    {2, 2, 2, {3, 0}, {0, 2}, {3, 2}}};
  for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
    check_matmul(&rows[k], false);
    check_matmul(&rows[k], true);
  }
}

Test(build, matmul_that_does_not_fit) {
  for (int symbolic = 0; symbolic < 2; symbolic++) {
    begin();
    onnxc_value a = add_input(2, (int64_t[]){3, 4}, symbolic, 0), b = add_input(2, (int64_t[]){5, 2}, symbolic, 0);
    cr_expect_null(result_of(onnxc_build_matmul(&f.graph, "node 'm'", a, b)));
    cr_expect(f.diag.status == ONNXC_BAD_INPUT && strstr(f.diag.text, "node 'm'"), "%s", f.diag.text);
    end();
  }
}
