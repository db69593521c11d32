/* What lowering makes of graphs of every kind of node passes the verifier, and its text parses back to the same text.
 */
#include "tile/tile.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* Selected by two indices. */
#define CHOICES                                                                                                        \
  "graph @choices(%x: f32[4, 5, 3, 40]) {\n"                                                                           \
  "  %y = compute(%x) <i0: 10, i1: 6, i2: 40>\n"                                                                       \
  "    select(eq(mod(i0, 2), 0), select(eq(mod(i1, 2), 0), $0[0, floordiv(i0, 2), floordiv(i1, 2), i2],\n"             \
  "                                     $0[1, floordiv(i0, 2), floordiv(i1, 2), i2]),\n"                               \
  "           select(eq(mod(i1, 2), 0), $0[2, floordiv(i0, 2), floordiv(i1, 2), i2],\n"                                \
  "                  $0[3, floordiv(i0, 2), floordiv(i1, 2), i2])) : f32[10, 6, 40]\n"                                 \
  "  return %y\n}\n"

static const char *const graphs[] = {
    /* matrix product, any rows, packed weights */
    "symbol %M in 1..4096\n"
    "graph @gemm(%x: f32[%M, 300]) {\n"
    "  %w = constant splat 0.5 : f32[300, 100][1 0 1:64]\n"
    "  %b = constant splat 1 : f32[100]\n"
    "  %y = compute(%x, %w, %b) <i0: %M, i1: 100 | r0: 300>\n"
    "    f32 add mul($0[i0, r0], $1[r0, i1]) init 0 -> max(add(acc0, $2[i1]), 0)\n"
    "    contraction(a=0, b=1, roles=m n k) : f32[%M, 100]\n"
    "  return %y\n}\n",
    /* convolution into a halo, twice */
    "graph @conv(%x: f32[1, 16, 30, 30]) {\n"
    "  %w = constant splat 0.5 : f32[16, 16, 3, 3][0 1 2 3 1:16 0:16]\n"
    "  %p = relayout(%x) : f32[1, 16, 30, 30][0 1 2:+1+1 3:+1+1 1:16]\n"
    "  %y = compute(%p, %w) <i0: 1, i1: 16, i2: 30, i3: 30 | r0: 16, r1: 3, r2: 3>\n"
    "    f32 add mul($0[i0, r0, add(add(i2, r1), -1), add(add(i3, r2), -1)], $1[i1, r0, r1, r2]) init 0 -> acc0\n"
    "    contraction(a=0, b=1, roles=m n m m k window window) : f32[1, 16, 30, 30][0 1 2:+1+1 3:+1+1 1:16]\n"
    "  %z = relayout(%y) : f32[1, 16, 30, 30]\n"
    "  return %z\n}\n",
    CHOICES,
    /* rows, reshape, concat, an output that is an input, arg max, data-dependent symbol */
    "graph @mixed(%x: f32[%N, 64], %k: i64[1] {%e}) {\n"
    "  %m = compute(%x) <i0: %N | r0: 64>\n"
    "    f32 max $0[i0, r0] init -inf -> acc0 rows(group=1, rank=1) : f32[%N]\n"
    "  %e = compute(%x, %m) <i0: %N, i1: 64> exp(sub($0[i0, i1], $1[i0])) rows(group=1, rank=1) : f32[%N, 64]\n"
    "  %s = compute(%e) <i0: %N | r0: 64> f32 add $0[i0, r0] init 0 -> acc0 rows(group=1, rank=1) : f32[%N]\n"
    "  %y = compute(%e, %s) <i0: %N, i1: 64> div($0[i0, i1], $1[i0]) rows(group=1, rank=1) : f32[%N, 64]\n"
    "  %c = concat(%y, %x) axis=1 : f32[%N, 128]\n"
    "  %r = reshape(%c) : f32[2*%N, 8, 8]\n"
    "  %t = compute(%r) <i0: 8, i1: 8, i2: 2*%N> neg($0[i2, i1, i0]) : f32[8, 8, 2*%N]\n"
    "  %v, %i = compute(%x) <i0: %N | r0: 64>\n"
    "    f32 {select(gt(val0, acc0), val0, acc0)} $0[i0, r0] init -inf -> acc0;\n"
    "    i64 {select(gt(val0, acc0), val1, acc1)} r0 init 0 -> acc1 : f32[%N], i64[%N]\n"
    "  %q = compute(%k) <i0: %e> add(mul(i0, 2), $0[0]) : i64[%e]\n"
    "  return %t, %i, %x, %q\n}\n",
    /* panels of dot products: of odd height, of words that lie in memory, of what is computed */
    "graph @panels(%x: bf16[%K, 70], %y: bf16[70, 8], %z: u8[3, 9, 70], %a: bf16[5, %K], %b: bf16[5, 8], %c: u8[3, 5, "
    "9]) {\n"
    "  %v = relayout(%x) : bf16[%K, 70][1 0 1:64 0:2]\n"
    "  %w = relayout(%y) : bf16[70, 8][0 1 0:64 1:2]\n"
    "  %u = compute(%z) <i0: 3, i1: 9, i2: 70> xor(cast.i8($0[i0, i1, i2]), -128) : i8[3, 9, 70][0 2 1 2:64 1:4]\n"
    "  %p = compute(%a, %v) <i0: 5, i1: 70 | r0: %K>\n"
    "    f32 add mul(cast.f32($0[i0, r0]), cast.f32($1[r0, i1])) init 0 -> acc0 : f32[5, 70]\n"
    "  %q = compute(%b, %w) <i0: 5, i1: 70 | r0: 8>\n"
    "    f32 add mul(cast.f32($0[i0, r0]), cast.f32($1[i1, r0])) init 0 -> acc0 : f32[5, 70]\n"
    "  %r = compute(%c, %u) <i0: 3, i1: 5, i2: 70 | r0: 9>\n"
    "    i32 add mul(cast.i32($0[i0, i1, r0]), cast.i32($1[i0, r0, i2])) init 0 -> acc0 : i32[3, 5, 70]\n"
    "  return %p, %q, %r\n}\n",
    /* a branch: a concat in place and one of a part from outside, a halo, rows, a reshape, and where it ends */
    "graph @branch(%x: f32[%N, 4, 8], %s: i64[1] {%k}) {\n"
    "  %u = compute(%x) <i0: %N, i1: 4, i2: 8> exp($0[i0, i1, i2]) : f32[%N, 4, 8]\n"
    "  %a = compute(%u) <i0: %N, i1: 4, i2: 8> abs($0[i0, i1, i2]) : f32[%N, 4, 8] when eq(%k, 5)\n"
    "  %c = concat(%a, %u) axis=1 : f32[%N, 8, 8] when eq(%k, 5)\n"
    "  %h = relayout(%c) : f32[%N, 8, 8][0 1 2:+1+1] when eq(%k, 5)\n"
    "  %d = compute(%h) <i0: %N, i1: 8, i2: 8 | r0: 3>\n"
    "    f32 add $0[i0, i1, add(add(i2, r0), -1)] init 0 -> acc0 : f32[%N, 8, 8] when eq(%k, 5)\n"
    "  %r = reshape(%d) : f32[%N, 64] when eq(%k, 5)\n"
    "  %m = compute(%r) <i0: %N | r0: 64>\n"
    "    f32 max $0[i0, r0] init -inf -> acc0 rows(group=1, rank=1) : f32[%N] when eq(%k, 5)\n"
    "  %e = compute(%r, %m) <i0: %N, i1: 64>\n"
    "    sub($0[i0, i1], $1[i0]) rows(group=1, rank=1) : f32[%N, 64] when eq(%k, 5)\n"
    "  %o = reshape(%x) : f32[%N, 32] when 1 - eq(%k, 5)\n"
    "  %y = compute(%e, %o) <i0: %N, i1: 32 + 32*eq(%k, 5)>\n"
    "    select(cast.bool(dim(eq(%k, 5))), $0[i0, i1], $1[i0, i1]) : f32[%N, 32 + 32*eq(%k, 5)]\n"
    "  return %y\n}\n",
};

static const char *print(const onnxc_tile_program *program, onnxc_arena *arena) {
  onnxc_text text;
  onnxc_text_init(&text, arena);
  onnxc_tile_print(program, &text);
  return text.data;
}

static void check(const char *source, const char *target) {
  static onnxc_diag diag;
  onnxc_guard guard;
  onnxc_arena arena;
  onnxc_graph graph, again;
  onnxc_tile_program program, parsed;
  if (setjmp(guard.env))
    abort();
  onnxc_arena_init(&arena, &guard);
  onnxc_diag_clear(&diag);
  onnxc_graph_init(&graph, &arena, &diag);
  cr_assert_eq(onnxc_graph_parse(&graph, "t", source, strlen(source)), ONNXC_OK, "%s", diag.text);
  onnxc_tile_program_init(&program, &graph, onnxc_target_find(target, strlen(target)));
  cr_assert_eq(onnxc_tile_lower(&program), ONNXC_OK, "%s", diag.text);
  const char *first = print(&program, &arena);
  cr_expect_eq(onnxc_tile_verify(&program), ONNXC_OK, "%s\n%s", diag.text, first);
  onnxc_diag_clear(&diag);
  onnxc_graph_init(&again, &arena, &diag);
  onnxc_tile_program_init(&parsed, &again, NULL);
  cr_assert_eq(onnxc_tile_parse(&parsed, "t", first, strlen(first)), ONNXC_OK, "%s\n%s", diag.text, first);
  cr_expect_eq(onnxc_tile_verify(&parsed), ONNXC_OK, "%s", diag.text);
  cr_expect_str_eq(print(&parsed, &arena), first, "%s\n---\n%s", first, print(&parsed, &arena));
  onnxc_arena_free(&arena);
}

Test(tile_text, lowered_programs) {
  for (size_t i = 0; i < sizeof graphs / sizeof *graphs; i++) {
    check(graphs[i], "znver5");
    check(graphs[i], "haswell");
  }
}

static uint32_t stages_of(const char *source, const char **text, onnxc_arena *arena, onnxc_diag *diag) {
  static onnxc_graph graph;
  static onnxc_tile_program program;
  onnxc_diag_clear(diag);
  onnxc_graph_init(&graph, arena, diag);
  cr_assert_eq(onnxc_graph_parse(&graph, "t", source, strlen(source)), ONNXC_OK, "%s", diag->text);
  onnxc_tile_program_init(&program, &graph, onnxc_target_find("znver5", 6));
  cr_assert_eq(onnxc_tile_lower(&program), ONNXC_OK, "%s", diag->text);
  cr_expect_eq(onnxc_tile_verify(&program), ONNXC_OK, "%s", diag->text);
  *text = print(&program, arena);
  return program.stages.length;
}

/* Points that select something else are unrolled, and tasks hold them whole. */
Test(tile_text, choices_are_unrolled) {
  static onnxc_diag diag;
  onnxc_guard guard;
  onnxc_arena arena;
  const char *text;
  if (setjmp(guard.env))
    abort();
  onnxc_arena_init(&arena, &guard);
  stages_of(CHOICES, &text, &arena, &diag);
  cr_expect(strstr(text, "rows(i1 2) vec(i2 1 x 16) phases(i0 2)"), "%s", text);
  onnxc_arena_free(&arena);
}

/* A factor that is packed for one batched product is packed in the product's tasks; not when another one reads it, and
 * not when there is no batch: then tasks share it. */
Test(tile_text, packing_in_the_tasks) {
  static onnxc_diag diag;
  onnxc_guard guard;
  onnxc_arena arena;
  const char *text;
  if (setjmp(guard.env))
    abort();
  onnxc_arena_init(&arena, &guard);
#define PRODUCT(name, a)                                                                                               \
  "  " name " = compute(" a ", %v) <i0: 12, i1: 16, i2: 64 | r0: 32> f32 add mul(cast.f32($0[i0, i1, r0]), "           \
  "cast.f32($1[i0, r0, i2])) init 0 -> acc0 contraction(a=0, b=1, roles=batch m n k) : f32[12, 16, 64]\n"
#define HEAD                                                                                                           \
  "graph @g(%a: bf16[12, 16, 32], %c: bf16[12, 16, 32], %b: bf16[12, 32, 64]) {\n"                                     \
  "  %v = relayout(%b) : bf16[12, 32, 64][0 2 1 2:64 1:2]\n"
  cr_expect_eq(stages_of(HEAD PRODUCT("%y", "%a") "  return %y\n}\n", &text, &arena, &diag), 1, "%s", text);
  const char *packing = strstr(text, "compute("), *product = strstr(text, "contract(");
  cr_expect(packing && product && packing < product, "%s", text);
  uint32_t both = stages_of(HEAD PRODUCT("%y", "%a") PRODUCT("%z", "%c") "  return %y, %z\n}\n", &text, &arena, &diag);
  cr_expect_eq(both, 3, "%s", text);
  static const char alone[] =
      "graph @g(%a: bf16[16, 32], %b: bf16[32, 64]) {\n"
      "  %v = relayout(%b) : bf16[32, 64][1 0 1:64 0:2]\n"
      "  %y = compute(%a, %v) <i0: 16, i1: 64 | r0: 32> f32 add mul(cast.f32($0[i0, r0]), cast.f32($1[r0, i1]))"
      " init 0 -> acc0 contraction(a=0, b=1, roles=m n k) : f32[16, 64]\n  return %y\n}\n";
  cr_expect_eq(stages_of(alone, &text, &arena, &diag), 2, "%s", text);
  onnxc_arena_free(&arena);
}

/* A short inner dim of the result becomes the rows of a tile, which are interleaved, not scattered; a longer one does
 * not. */
Test(tile_text, rows_that_lie_between_each_other) {
  static onnxc_diag diag;
  onnxc_guard guard;
  onnxc_arena arena;
  const char *text;
  if (setjmp(guard.env))
    abort();
  onnxc_arena_init(&arena, &guard);
  for (int rows = 2; rows <= 5; rows++) {
    const char *source =
        onnxc_arena_printf(&arena,
                           "graph @g(%%x: f32[50, %d, 28]) {\n"
                           "  %%y = compute(%%x) <i0: 50, i1: 28, i2: %d> $0[i0, i2, i1] : f32[50, 28, %d]\n"
                           "  return %%y\n}\n",
                           rows, rows, rows);
    cr_expect_eq(stages_of(source, &text, &arena, &diag), 1);
    const char *wanted = onnxc_arena_printf(&arena, "rows(i2 %d) vec(i1 1 x 16)", rows);
    cr_expect_eq(strstr(text, wanted) != NULL, rows == 2 || rows == 4, "%s", text);
  }
  onnxc_arena_free(&arena);
}

/* One row's product fetches its packed factor ahead, unless another product reads it, too, and it fits L2. */
Test(tile_text, factors_that_stay_near) {
  static onnxc_diag diag;
  onnxc_guard guard;
  onnxc_arena arena;
  const char *text;
  if (setjmp(guard.env))
    abort();
  onnxc_arena_init(&arena, &guard);
  static const struct {
    const char *columns, *second; /* the width of the factor, and which one the second product reads */
    bool ahead;
  } cases[] = {{"256", "%w", false}, {"256", "%v", true}, {"8192", "%w", true}};
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    const char *n = cases[k].columns;
    const char *source = onnxc_arena_printf(
        &arena,
        "graph @g(%%x: f32[1, 256], %%y: f32[1, 256]) {\n"
        "  %%w = constant splat 0.5 : f32[256, %s][1 0 1:64]\n"
        "  %%v = constant splat 0.25 : f32[256, %s][1 0 1:64]\n"
        "  %%p = compute(%%x, %%w) <i0: 1, i1: %s | r0: 256> f32 add mul($0[i0, r0], $1[r0, i1]) init 0 -> acc0\n"
        "    contraction(a=0, b=1, roles=m n k) : f32[1, %s]\n"
        "  %%q = compute(%%y, %s) <i0: 1, i1: %s | r0: 256> f32 add mul($0[i0, r0], $1[r0, i1]) init 0 -> acc0\n"
        "    contraction(a=0, b=1, roles=m n k) : f32[1, %s]\n"
        "  return %%p, %%q\n}\n",
        n, n, n, n, cases[k].second, n, n);
    cr_expect_eq(stages_of(source, &text, &arena, &diag), 2);
    cr_expect_eq(strstr(text, "ahead(") != NULL, cases[k].ahead, "%s", text);
  }
  onnxc_arena_free(&arena);
}

/* What a branch writes is there under its condition, and the stages that write it have tasks under it: one each for %a,
 * for the part of the concat from outside, the halo's fill, its copy, the sums, the rows. The stages of %u and %y have
 * tasks in any case. */
Test(tile_text, stages_of_a_branch) {
  static onnxc_diag diag;
  static onnxc_graph graph;
  static onnxc_tile_program program;
  const char *source = graphs[sizeof graphs / sizeof *graphs - 1];
  onnxc_guard guard;
  onnxc_arena arena;
  if (setjmp(guard.env))
    abort();
  onnxc_arena_init(&arena, &guard);
  onnxc_diag_clear(&diag);
  onnxc_graph_init(&graph, &arena, &diag);
  cr_assert_eq(onnxc_graph_parse(&graph, "t", source, strlen(source)), ONNXC_OK, "%s", diag.text);
  onnxc_tile_program_init(&program, &graph, onnxc_target_find("znver5", 6));
  cr_assert_eq(onnxc_tile_lower(&program), ONNXC_OK, "%s", diag.text);
  uint32_t conditional = 0;
  int64_t *symbols = ONNXC_NEW_ARRAY(&arena, int64_t, graph.dims.symbols.length);
  for (uint32_t s = 0; s < graph.dims.symbols.length; s++)
    symbols[s] = 7; /* %N, and %k, which is not 5 */
  for (uint32_t k = 0; k < program.stages.length; k++) {
    int64_t tasks;
    bool inside = onnxc_tile_condition(&program, &program.stages.data[k].body).i != 0;
    cr_assert(onnxc_dim_eval(&graph.dims, program.stages.data[k].num_tasks, symbols, &tasks));
    cr_expect_eq(tasks == 0, inside, "stage %u", k);
    conditional += inside;
  }
  cr_expect_eq(conditional, 6, "%u\n%s", conditional, print(&program, &arena));
  cr_expect_eq(program.stages.length, 8, "%s", print(&program, &arena));
  onnxc_arena_free(&arena);
}

/* Sizes of work are only compared, so none overflows or divides by zero where extents are as large as can be, or none.
 */
Test(tile_text, extreme_extents) {
  static const char *const extents[] = {"0", "1", "65", "1048577", "274877906944", "%S", "%L"};
  static const struct {
    const char *dtype, *layout;
  } factors[] = {{"bf16", "[1 0 1:64 0:2]"}, {"f32", "[1 0 1:64]"}, {"f32", "[0 1]"}};
  enum { COUNT = sizeof extents / sizeof *extents, FACTORS = sizeof factors / sizeof *factors };
  static onnxc_diag diag;
  onnxc_guard guard;
  onnxc_arena arena;
  if (setjmp(guard.env))
    abort();
  onnxc_arena_init(&arena, &guard);
  for (int i = 0; i < COUNT * COUNT * COUNT * FACTORS; i++) {
    const char *m = extents[i % COUNT], *n = extents[i / COUNT % COUNT], *k = extents[i / COUNT / COUNT % COUNT];
    const char *dtype = factors[i / COUNT / COUNT / COUNT].dtype, *layout = factors[i / COUNT / COUNT / COUNT].layout;
    const char *source =
        onnxc_arena_printf(&arena,
                           "symbol %%S in 0..1099511627776\n"
                           "symbol %%L in 1099511627776..4611686018427387904 hint 4611686018427387904\n"
                           "graph @g(%%x: %s[%s, %s], %%w: %s[%s, %s]) {\n"
                           "  %%v = relayout(%%w) : %s[%s, %s]%s\n"
                           "  %%y = compute(%%x, %%v) <i0: %s, i1: %s | r0: %s>\n"
                           "    f32 add mul(cast.f32($0[i0, r0]), cast.f32($1[r0, i1])) init 0 -> max(acc0, 0)\n"
                           "    contraction(a=0, b=1, roles=m n k) : f32[%s, %s]\n"
                           "  return %%y\n}\n",
                           dtype, m, k, dtype, k, n, dtype, k, n, layout, m, n, k, m, n);
    onnxc_graph graph;
    onnxc_tile_program program;
    onnxc_diag_clear(&diag);
    onnxc_graph_init(&graph, &arena, &diag);
    cr_assert_eq(onnxc_graph_parse(&graph, "t", source, strlen(source)), ONNXC_OK, "%s\n%s", diag.text, source);
    onnxc_tile_program_init(&program, &graph, onnxc_target_find("znver5", 6));
    cr_assert_eq(onnxc_tile_lower(&program), ONNXC_OK, "%s\n%s", diag.text, source);
    cr_expect_eq(onnxc_tile_verify(&program), ONNXC_OK, "%s\n%s", diag.text, source);
    cr_expect(strstr(print(&program, &arena), "contract("), "%s", source);
  }
  onnxc_arena_free(&arena);
}
