/* test_elements.c -- the elements of integer tensors as dims: chains that dissolve, and what they leave to the run. */
#include <criterion/criterion.h>

#include "ir/eval.h"
#include "ir/text.h"

#include <stdlib.h>
#include <string.h>

static onnxc_diag diag;

/* The elements of the first output, printed (NULL: some form without new symbols); then the same from the evaluator,
 * with %N = 6 and %M = 7. */
static void check(const char *body, const char *want) {
  onnxc_guard guard;
  onnxc_arena arena;
  onnxc_graph graph;
  if (setjmp(guard.env))
    abort();
  onnxc_arena_init(&arena, &guard);
  onnxc_diag_clear(&diag);
  onnxc_graph_init(&graph, &arena, &diag);
  char *source =
      onnxc_arena_printf(&arena, "symbol %%M in 1..100\ngraph @e(%%x: f32[%%N, %%M], %%k: i64[3]) {\n%s}\n", body);
  cr_assert_eq(onnxc_graph_parse(&graph, "e", source, strlen(source)), ONNXC_OK, "%s: %s", body, diag.text);
  onnxc_value out = graph.outputs.data[0];
  uint32_t count = 0;
  const onnxc_dim *elements = onnxc_value_elements(&graph, out, &count);
  if (!elements) {
    cr_expect(want && strcmp(want, "none") == 0, "%s", body);
    onnxc_arena_free(&arena);
    return;
  }
  char got[512] = "", one[128];
  for (uint32_t i = 0; i < count; i++) {
    onnxc_dim_print(&graph.dims, elements[i], one, sizeof one);
    snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", i ? ", " : "", one);
  }
  cr_expect(!want || strcmp(got, want) == 0, "%s\n  gives %s", body, got);
  cr_expect(want || !strstr(got, "%v"), "%s\n  gives %s", body, got);
  cr_expect_eq(onnxc_value_elements(&graph, out, NULL), elements, "elements are made once");

  float x[42] = {0};
  int64_t k[3] = {2, -3, 4};
  onnxc_array inputs[2] = {{ONNXC_F32, 2, {6, 7}, x}, {ONNXC_I64, 1, {3}, k}};
  onnxc_eval eval;
  cr_assert_eq(onnxc_eval_graph(&eval, &graph, &arena, inputs, 2), ONNXC_OK, "%s: %s", body, diag.text);
  const onnxc_array *array = &eval.arrays[out.i];
  for (uint32_t i = 0; i < count; i++) {
    int64_t value;
    cr_assert(onnxc_dim_eval(&graph.dims, elements[i], eval.symbols, &value));
    cr_expect_eq(value,
                 onnxc_scalar_to_i64(array->dtype, (const char *)array->data + i * onnxc_dtype_bytes(array->dtype)),
                 "%s: element %u", body, i);
  }
  onnxc_arena_free(&arena);
}

#define SHAPE "%s = compute() <i0: 2> select(eq(i0, 0), dim(%N), dim(%M)) : i64[2]\n"

Test(elements, chains) {
  static const char *const rows[][2] = {
      {"%c = constant {4, -5} : i32[2] return %c", "4, -5"},
      {SHAPE "return %s", "%N, %M"},
      /* gather, multiply, concat, reshape */
      {SHAPE "%g = compute(%s) <i0: 1> $0[1] : i64[1] %h = compute(%g) <i0: 1> mul($0[i0], 2) : i64[1]"
             "%c = concat(%h, %s) axis=0 : i64[3] %r = reshape(%c) : i64[3, 1] return %r",
       "2*%M, %N, %M"},
      /* the product and the largest of a shape */
      {SHAPE "%p = compute(%s) <| r0: 2> i64 mul $0[r0] init 1 -> add(acc0, 1) : i64[] return %p", "%M*%N + 1"},
      {SHAPE "%p = compute(%s) <| r0: 2> i64 max $0[r0] init 5 -> acc0 : i64[] return %p", "max(%M, max(%N, 5))"},
      /* a negative axis, wrapped by a select on a constant; 0/1 conditions on symbols */
      {SHAPE "%c = constant {-1} : i64[1]"
             "%g = compute(%s, %c) <i0: 1> $0[select(lt($1[0], 0), add($1[0], 2), $1[0])] : i64[1] return %g",
       "%M"},
      {SHAPE "%g = compute(%s) <i0: 1> select(eq($0[0], 1), $0[1], $0[0]) : i64[1] return %g", NULL},
      {SHAPE "%g = compute(%s) <i0: 2> cast.i64(le($0[i0], 6)) : i64[2] return %g", NULL},
      {SHAPE "%g = compute(%s) <i0: 1> cast.i64(gt($0[1], 0)) : i64[1] return %g", "1"},
      {SHAPE "%g = compute(%s) <i0: 2> sub(0, sign(sub($0[i0], 6))) : i64[2] return %g", NULL},
      /* sizes times scales, in float */
      {SHAPE "%f = compute(%s) <i0: 2> cast.f32($0[i0]) : f32[2] %k2 = constant {2, 0.5} : f32[2]"
             "%g = compute(%f, %k2) <i0: 2> floor(mul($0[i0], $1[i0])) : f32[2]"
             "%h = compute(%g) <i0: 2> cast.i64($0[i0]) : i64[2] return %h",
       "2*%N, %M floordiv 2"},
      {SHAPE "%g = compute(%s) <i0: 1> cast.i64(ceil(div(cast.f32($0[1]), 4))) : i64[1] return %g",
       "(%M + 3) floordiv 4"},
      {SHAPE "%g = compute(%s) <i0: 1> cast.i32(mod(div($0[1], 2), 3)) : i32[1] return %g", "(%M floordiv 2) mod 3"},
      /* no form: a run binds them */
      {"return %k", "%v2_0, %v2_1, %v2_2"},
      {"%a = compute(%k) <i0: 3> add(mul($0[i0], 2), dim(%N)) : i64[3] return %a",
       "%N + 2*%v2_0, %N + 2*%v2_1, %N + 2*%v2_2"},
      {"%a = compute(%k) <i0: 2> div($0[i0], 2) : i64[2] return %a", "%v3_0, %v3_1"},
      {"%a = compute(%x) <i0: 1> cast.i64(add($0[0, 0], 1.25)) : i64[1] return %a", "%v3_0"},
      /* not elements at all */
      {"return %x", "none"},
      {"%a = compute() <i0: %N> i0 : i64[%N] return %a", "none"},
      {"%a = compute() <i0: 2000> i0 : i64[2000] return %a", "none"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    check(rows[i][0], rows[i][1]);
}

/* An element that is computed in f32 is only exact below 2^23: that becomes an assumption of the run. */
Test(elements, float_sizes_are_bounded) {
  onnxc_guard guard;
  onnxc_arena arena;
  onnxc_graph graph;
  if (setjmp(guard.env))
    abort();
  onnxc_arena_init(&arena, &guard);
  onnxc_diag_clear(&diag);
  onnxc_graph_init(&graph, &arena, &diag);
  static const char source[] = "graph @e(%x: f32[%N]) {"
                               "%s = compute() <i0: 1> cast.i64(mul(cast.f32(dim(%N)), 3)) : i64[1] return %s }";
  cr_assert_eq(onnxc_graph_parse(&graph, "e", source, strlen(source)), ONNXC_OK, "%s", diag.text);
  cr_assert(onnxc_value_elements(&graph, graph.outputs.data[0], NULL));
  cr_expect_geq(graph.constraints.length, 1);
  float x[4] = {0};
  onnxc_array input = {ONNXC_F32, 1, {4}, x};
  onnxc_eval eval;
  cr_expect_eq(onnxc_eval_graph(&eval, &graph, &arena, &input, 1), ONNXC_OK, "%s", diag.text);
  input.dims[0] = 8000000; /* the constraint is looked at before any data is */
  cr_expect_eq(onnxc_eval_graph(&eval, &graph, &arena, &input, 1), ONNXC_BAD_INPUT);
  cr_expect(strstr(diag.text, "must be at most 8388608"), "%s", diag.text);
  onnxc_arena_free(&arena);
}
