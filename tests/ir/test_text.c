/* The graph's text: what is printed parses back to the same text, errors say where
 * they are, and the verifier finds each broken invariant. */
#include "ir/text.h"
#include "ir/verify.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static onnxc_guard guard;
static onnxc_arena arena;
static onnxc_diag diag;
static onnxc_graph graph;

static void setup(void) {
  if (setjmp(guard.env))
    abort();
  onnxc_arena_init(&arena, &guard);
  onnxc_graph_init(&graph, &arena, &diag);
}
static void teardown(void) { onnxc_arena_free(&arena); }
TestSuite(text, .init = setup, .fini = teardown);

static onnxc_status parse(const char *source) {
  onnxc_diag_clear(&diag);
  onnxc_graph_init(&graph, &arena, &diag);
  return onnxc_graph_parse(&graph, "t", source, strlen(source));
}

static const char *print(void) {
  onnxc_text text;
  onnxc_text_init(&text, &arena);
  onnxc_graph_print(&graph, &text, 0);
  return text.data;
}

static const char mlp[] = "symbol %N in 1..512 by 8 hint 128\n"
                          "graph @mlp(%x: f32[%N, 2]) {\n"
                          "  %w = constant {1, 2, -0.5, 3.1415927, -0, inf} : f32[2, 3]\n"
                          "  %b = constant splat 0.1 : f32[3]\n"
                          "  %odd = constant #0x0100c07f : f32[1]\n"
                          "  %y = compute(%x, %w, %b) <i0: %N, i1: 3 | r0: 2>\n"
                          "    f32 add mul($0[i0, r0], $1[r0, i1]) init 0 -> max(add(acc0, $2[i1]), 0)\n"
                          "    contraction(a=0, b=1, roles=m n k) : f32[%N, 3] loc(\"node 'gemm' (Gemm-11)\")\n"
                          "  %s = softmax(%y) axis=1 span=1 : f32[%N, 3]\n"
                          "  require %N == 2*%M + 8 \"node 'x': \\x22%N\\x22\"\n"
                          "  return %s as \"probabilities\", %x\n"
                          "}\n";

static const char *const round_trips[] = {
    mlp,
    "graph @empty() {\n  return\n}\n",
    "symbol %a = free\nsymbol %b = input(0, 1)\nsymbol %e = element(%shape, 1) in 0..9\n"
    "graph @sources(%x: f32[%a, %a + %b], %shape: i64[2] {%k, %e + 1}) {\n"
    "  %r = reshape(%x) : f32[%e + 1, %k]\n  return %r\n}\n",
    "graph @layouts(%x: f32[1, 20, %H, %W]) {\n"
    "  %p = relayout(%x) : f32[1, 20, %H, %W][0 1 2:+1+1 3:+1+2 1:16]\n"
    "  %q = relayout(%p) : f32[1, 20, %H, %W]\n"
    "  %_0 = normalize(%q, none, %q) axis=2 span=2 epsilon=1e-05 : f32[1, 20, %H, %W]\n"
    "  %\"odd name\" = concat(%_0, %q) axis=1 : f32[1, 40, %H, %W]\n"
    "  return %\"odd name\"\n}\n",
    /* arg max: two results, an ordered combine, constants of both types */
    "graph @argmax(%x: f32[%N, 8]) {\n"
    "  %value, %index = compute(%x) <i0: %N | r0: 8>\n"
    "    f32 {select(gt(val0, acc0), val0, acc0)} $0[i0, r0] init -inf -> acc0;\n"
    "    i64 {select(gt(val0, acc0), val1, acc1)} r0 init 0 -> acc1 : f32[%N], i64[%N]\n"
    "  return %value, %index\n}\n",
    /* constants whose type nothing says, casts, dims, bools, rank 0 */
    "graph @types(%x: f32[%N], %k: u8[], %c: bool[%N]) {\n"
    "  %y = compute(%x, %k, %c) <i0: %N>\n"
    "    select($2[i0], cast.f32($1[]), select(lt(exp(const.f32(1)), $0[i0]), -1.5, nan)) : f32[%N]\n"
    "  %z = compute(%x) <i0: %N>\n"
    "    const.f16(0.1) : f16[%N]\n"
    "  %i = compute() <i0: %N>\n"
    "    add(mul(i0, dim(%N + 1)), 3) : i64[%N]\n"
    "  %b = compute(%c) <i0: %N>\n"
    "    select($0[i0], true, eq(cast.i32(i0), 4)) : bool[%N]\n"
    "  return %y, %z, %i, %b\n}\n",
    /* a shared part becomes a let */
    "graph @shared(%x: f32[%N]) {\n"
    "  %y = compute(%x) <i0: %N>\n"
    "    let t0 = exp(neg(abs(add(mul($0[i0], 2), $0[add(i0, 1)]))));\n"
    "    div(sub(1, t0), add(t0, 1)) : f32[%N]\n"
    "  return %y\n}\n",
    /* row group */
    "graph @rows(%x: f32[%N, 64]) {\n"
    "  %m = compute(%x) <i0: %N | r0: 64>\n"
    "    f32 max $0[i0, r0] init -inf -> acc0\n"
    "    rows(group=1, rank=1) : f32[%N]\n"
    "  %e = compute(%x, %m) <i0: %N, i1: 64>\n"
    "    exp(sub($0[i0, i1], $1[i0]))\n"
    "    rows(group=1, rank=1) : f32[%N, 64]\n"
    "  return %e\n}\n",
    /* branches in branches, and where they meet; one without a name for its source */
    "graph @branches(%x: f32[%N], %s: i64[] {%k}) {\n"
    "  %a = compute(%x) <i0: %N>\n"
    "    abs($0[i0]) : f32[%N] when eq(%k, 5) loc(\"node 'a'\")\n"
    "  %b = compute(%a) <i0: %N>\n"
    "    neg($0[i0]) : f32[%N] when eq(%k, 5), min(%N, 1)\n"
    "  %c = compute(%a, %b) <i0: %N>\n"
    "    select(cast.bool(dim(min(%N, 1))), $1[i0], $0[i0]) : f32[%N] when eq(%k, 5)\n"
    "  %y = compute(%c, %x) <i0: %N>\n"
    "    select(cast.bool(dim(eq(%k, 5))), $0[i0], $1[i0]) : f32[%N]\n"
    "  return %y\n}\n",
};

Test(text, round_trips) {
  for (size_t i = 0; i < sizeof round_trips / sizeof *round_trips; i++) {
    cr_assert_eq(parse(round_trips[i]), ONNXC_OK, "%zu: %s", i, diag.text);
    cr_expect_eq(onnxc_graph_verify(&graph, NULL), ONNXC_OK, "%zu: %s", i, diag.text);
    cr_expect_str_eq(print(), round_trips[i], "%zu:\n%s", i, print());
  }
}

Test(text, meaning) {
  cr_assert_eq(parse(mlp), ONNXC_OK);
  cr_expect_eq(graph.inputs.length, 1);
  cr_expect_eq(graph.order.length, 5);
  const onnxc_symbol *n = onnxc_dims_symbol(&graph.dims, onnxc_sym_find(&graph.dims, "N", 1));
  cr_expect(n->low == 1 && n->high == 512 && n->divisor == 8 && n->hint == 128);
  cr_expect(n->source == ONNXC_SYM_INPUT_DIM && n->index == 0 && n->axis == 0);
  const onnxc_node_info *gemm = onnxc_node_of(&graph, graph.order.data[3]);
  cr_expect(gemm->compute->num_parallel == 2 && gemm->compute->num_reduce == 1);
  cr_expect_eq(onnxc_compute_combiner(&graph.exprs, gemm->compute, 0), ONNXC_EXPR_ADD);
  cr_expect(gemm->compute->contraction.valid && gemm->compute->contraction.role[2] == ONNXC_ROLE_K);
  const float *w = onnxc_value_of(&graph, onnxc_node_of(&graph, graph.order.data[0])->outputs[0])->data;
  cr_expect(w[1] == 2 && w[3] == 3.1415927f && signbit(w[4]) && isinf(w[5]));
  cr_expect_str_eq(graph.output_names.data[0], "probabilities");
  cr_expect_str_eq(graph.constraints.data[0].message, "node 'x': \"%N\"");
}

/* Spacing, comments and literals that print otherwise. */
Test(text, free_form) {
  cr_assert_eq(
      parse("# a comment\ngraph @f(%x:f32[ %N ,4][1 0 1:4])# another\n{%y=compute(%x)<i0:%N,i1:4>max(0,$0[i0,i1]):f32"
            "[%N,4]return %y}"),
      ONNXC_OK, "%s", diag.text);
  cr_expect(strstr(print(), "max($0[i0, i1], 0) : f32[%N, 4]\n  return %y\n}"), "%s", print());
  cr_assert_eq(
      parse("graph @f() { %c = constant #0x0000803F : f32[] %d = constant splat 1 : i64[0, 5] return %c, %d }"),
      ONNXC_OK, "%s", diag.text);
  cr_expect(strstr(print(), "%c = constant {1} : f32[]"), "%s", print());
}

Test(text, names_become_unique) {
  onnxc_dim four = onnxc_dim_const(&graph.dims, 4);
  onnxc_value values[5];
  static const char *const names[] = {"x", "x", NULL, "_0", "x.1"};
  for (int i = 0; i < 5; i++)
    values[i] = onnxc_graph_add_input(&graph, names[i], ONNXC_F32, 1, &four);
  onnxc_graph_add_output(&graph, values[1], "x");
  const char *first = onnxc_arena_printf(&arena, "%s", print());
  cr_expect_str_eq(first, "graph @main(%x: f32[4], %x.1: f32[4], %_0: f32[4], %_1: f32[4], %x.1.1: f32[4]) {\n"
                          "  return %x.1\n}\n");
  cr_assert_eq(parse(first), ONNXC_OK);
  cr_expect_str_eq(print(), first);
}

/* A deep chain with shared nodes prints in linear space and parses back. */
Test(text, deep_expressions) {
  onnxc_dim n = onnxc_dim_sym(&graph.dims, onnxc_sym_new(&graph.dims, "N", ONNXC_SYM_INPUT_DIM, 0, 0));
  onnxc_value x = onnxc_graph_add_input(&graph, "x", ONNXC_F32, 1, &n), y;
  onnxc_exprs *pool = &graph.exprs;
  onnxc_expr i0 = onnxc_expr_index(pool, 0), e = onnxc_expr_load(pool, ONNXC_F32, 0, 1, &i0);
  for (int i = 0; i < 3000; i++)
    e = onnxc_expr_binary(pool, ONNXC_EXPR_ADD, onnxc_expr_unary(pool, ONNXC_EXPR_SIN, e),
                          i % 3 ? onnxc_expr_f64(pool, ONNXC_F32, i) : e);
  onnxc_compute compute = {.num_parallel = 1, .num_results = 1};
  compute.extents[0] = n;
  compute.finish[0] = e;
  onnxc_graph_add_compute(&graph, NULL, &compute, 1, &x, &y);
  onnxc_graph_add_output(&graph, y, NULL);
  const char *first = print();
  cr_expect(strlen(first) < 300000);
  cr_assert_eq(parse(first), ONNXC_OK, "%s", diag.text);
  cr_expect_str_eq(print(), first);
}

static const char *const errors[][2] = {
    {"", "t:1:1: expected 'graph'"},
    {"graph @f(%x: f32[4]) {\n  %y = frob(%x) : f32[4]\n  return %y\n}", "t:2:8: 'frob' is no operator"},
    {"graph @f(%x: f33[4]) { return }", "t:1:14: 'f33' is no element type"},
    {"graph @f(%x: f32[4]) {\n  return %y\n}", "t:2:10: unknown value %y"},
    {"graph @f(%x: f32[4], %x: f32[4]) { return }", "already there"},
    {"graph @f(%x: f32[1,1,1,1,1,1,1,1,1]) { return }", "more than 8 dims"},
    {"graph @f(%x: f32[4][1]) { return }", "dim of the value"},
    {"graph @f(%x: f32[4]) { %y = softmax(%x, %x) axis=0 span=1 : f32[4] return %y }", "cannot have 2 operands"},
    {"graph @f(%x: f32[4]) { %y, %z = softmax(%x) axis=0 span=1 : f32[4], f32[4] return %y }", "has 1 results"},
    {"graph @f() { %c = constant {1, 2} : f32[3] return %c }", "expected 3 elements, found 2"},
    {"graph @f() { %c = constant #0x00 : f32[3] return %c }", "expected 12 bytes"},
    {"graph @f() { %c = constant ... : f32[3] return %c }", "left out"},
    {"graph @f() { %c = constant splat 0 : f32[99999999, 99999999, 99999999] return %c }", "too large"},
    {"graph @f() { %c = constant splat 0 : f32[9999999999] return %c }", "too large"},
    {"graph @f() { %c = constant splat 0 : f32[%N] return %c }", "static dims"},
    {"graph @f(%x: f32[4]) { %y = compute(%x) <i0: 4> $1[i0] : f32[4] return %y }", "there is no operand 1"},
    {"graph @f(%x: f32[4]) { %y = compute(%x) <i0: 4> $0[i0, i0] : f32[4] return %y }", "expected ']'"},
    {"graph @f(%x: f32[4]) { %y = compute(%x) <i0: 4> $0[$0[i0]] : f32[4] return %y }", "an index must be i64"},
    {"graph @f(%x: f32[4]) { %y = compute(%x) <i0: 4> add($0[i0], i0) : f32[4] return %y }",
     "differ in type: f32 and i64"},
    {"graph @f(%x: f32[4]) { %y = compute(%x) <i0: 4> acc0 : f32[4] return %y }", "there is no 'acc0' here"},
    {"graph @f(%x: f32[4]) { %y = compute(%x) <i0: 4> i1 : i64[4] return %y }", "there is no 'i1' here"},
    {"graph @f(%x: f32[4]) { %y = compute(%x) <i0: 4> exp(1) : f32[4] return %y }", "type is not known"},
    {"graph @f(%x: f32[4]) { %y = compute(%x) <i0: 4> const.u8(300) : u8[4] return %y }", "no constant of type u8"},
    {"graph @f(%x: f32[4]) { %y = compute(%x) <i0: 4> add($0[i0], true) : f32[4] return %y }",
     "no constant of type f32"},
    {"graph @f(%x: f32[4]) { %y = compute(%x) <i0: 4> t0 : f32[4] return %y }", "there is no 't0' here"},
    {"graph @f(%x: f32[4]) { %y = compute(%x) <| r0: 4> f32 exp $0[r0] init 0 -> acc0 : f32[] return %y }",
     "what combines"},
    {"graph @f(%x: f32[4]) { %y = compute(%x) <i1: 4> $0[i1] : f32[4] return %y }", "expected 'i0'"},
    {"graph @f(%x: string[4]) { %y = compute(%x) <i0: 4> cast.string($0[i0]) : string[4] return %y }", "no arithmetic"},
    {"graph @f(%x: i64[2000] {1}) { return }", "too many elements"},
    {"symbol %N = element(%nobody, 0)\ngraph @f(%x: f32[%N]) { return }", "t:1:21: unknown value %nobody"},
    {"symbol %N in 5..1\ngraph @f(%x: f32[%N]) { return }", "must lie in 5.."},
    {"graph @f(%x: f32[4) { return }", "expected ','"},
    {"graph @f(%\"x: f32[4]) { return }", "has no end"},
    {"graph @f() { return } graph", "text behind the graph"},
};

Test(text, errors) {
  for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
    cr_expect_eq(parse(errors[i][0]), ONNXC_BAD_INPUT, "%s", errors[i][0]);
    cr_expect(strstr(diag.text, errors[i][1]) && diag.count == 1, "%s gives '%s', not '%s'", errors[i][0], diag.text,
              errors[i][1]);
  }
  char deep[3000] = "graph @f(%x: f32[4]) { %y = compute(%x) <i0: 4> ";
  for (int i = 0; i < 600; i++)
    memcpy(deep + strlen(deep), "neg(", 5);
  cr_expect_eq(parse(deep), ONNXC_BAD_INPUT);
  cr_expect(strstr(diag.text, "too deep"), "%s", diag.text);
  cr_expect_eq(onnxc_graph_parse(&graph, "t", "gra\0ph", 6), ONNXC_BAD_INPUT);
}

/* Truncated and mutated text never crashes; what parses, the verifier survives. */
Test(text, mutations) {
  uint64_t seed = 7;
  unsigned parsed = 0;
  for (size_t t = 0; t < sizeof round_trips / sizeof *round_trips; t++) {
    size_t length = strlen(round_trips[t]);
    for (int round = 0; round < 1500; round++) {
      char copy[2048];
      memcpy(copy, round_trips[t], length + 1);
      size_t end = length;
      for (int k = 0; k < 1 + round % 4; k++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        size_t at = (size_t)(seed >> 33) % length;
        if ((seed >> 20) % 8 == 0)
          end = at;
        else
          copy[at] = round_trips[t][(size_t)(seed >> 40) % length];
      }
      onnxc_arena_free(&arena);
      onnxc_arena_init(&arena, &guard);
      onnxc_diag_clear(&diag);
      onnxc_graph_init(&graph, &arena, &diag);
      if (onnxc_graph_parse(&graph, "t", copy, end) == ONNXC_OK) {
        parsed++;
        if (onnxc_graph_verify(&graph, NULL) == ONNXC_OK) {
          const char *first = print();
          cr_assert_eq(parse(first), ONNXC_OK, "%s\n%s", diag.text, first);
          cr_expect_str_eq(print(), first);
        }
      } else {
        cr_assert(diag.count > 0);
      }
    }
  }
  cr_expect_gt(parsed, 100);
}

/* ---- the verifier ---- */

static void expect_violation(const char *what) {
  cr_expect_eq(onnxc_graph_verify(&graph, "test"), ONNXC_INTERNAL, "%s", what);
  cr_expect(strstr(diag.text, what) && strstr(diag.text, "after test"), "'%s', not '%s'", diag.text, what);
}

static onnxc_node_info *node(uint32_t n) { return onnxc_node_of(&graph, graph.order.data[n]); }
static onnxc_value_info *result(uint32_t n) { return onnxc_value_of(&graph, node(n)->outputs[0]); }

Test(text, violations_in_memory) {
  enum { GEMM = 3, SOFTMAX = 4 };
  onnxc_compute *c;
#define BROKEN(change, message)                                                                                        \
  do {                                                                                                                 \
    cr_assert_eq(parse(mlp), ONNXC_OK);                                                                                \
    c = node(GEMM)->compute;                                                                                           \
    change;                                                                                                            \
    expect_violation(message);                                                                                         \
  } while (0)
  BROKEN(node(SOFTMAX)->outputs[0] = node(GEMM)->outputs[0], "G1: written twice");
  BROKEN(result(GEMM)->slot = 1, "G1: producer and slot");
  BROKEN(graph.inputs.data[0].i = 0, "G1: input 0 is none");
  BROKEN(graph.order.data[GEMM] = graph.order.data[SOFTMAX], "G2: %y is used before it is written");
  BROKEN(graph.order.data[0].i = 99, "G2: a node that is not there");
  BROKEN(graph.outputs.data[0].i = 77, "G2: output 0");
  BROKEN(node(SOFTMAX)->num_inputs = 0, "G3: softmax with 0 operands");
  BROKEN(node(SOFTMAX)->inputs[0].i = 0, "G3: operand 0 is missing");
  BROKEN(node(SOFTMAX)->axis = 2, "G3: dims 2 + 1");
  BROKEN(node(SOFTMAX)->compute = c, "G3: a compute and only a compute");
  BROKEN(result(0)->data = NULL, "G3: a constant without data");
  BROKEN(result(SOFTMAX)->dtype = ONNXC_F16, "G3: the result differs in dtype");
  BROKEN(result(SOFTMAX)->dtype = ONNXC_DTYPE_NONE, "G4: no dtype");
  BROKEN(result(SOFTMAX)->rank = 9, "G4: rank 9");
  BROKEN(result(SOFTMAX)->dims[1].i = 0, "G4: dim 1 is none");
  BROKEN(result(GEMM)->layout.num_axes = 1, "G4: a layout");
  BROKEN(c->extents[2].i = 0, "G5: an extent is missing");
  BROKEN(c->num_parallel = 9, "G5: too many indices");
  BROKEN(c->finish[0].i = 0, "G5: finish is missing");
#undef BROKEN
}

static const char *const invalid[][2] = {
    {"<i0: 4 | r0: 4> f32 add mul($0[i0, r0], $1[r0]) init 0 -> acc0 : f64[4]", "G5: finish 0 differs in dtype"},
    {"<i0: 4 | r0: 4> f32 add cast.f64($0[i0, r0]) init 0 -> acc0 : f32[4]", "G5: element: its dtype"},
    {"<i0: 4 | r0: 4> f32 add $0[i0, r0] init $0[i0, r0] -> acc0 : f32[4]", "G5: init: an index is not to be seen"},
    {"<i0: 4 | r0: 4> f32 add acc0 init 0 -> acc0 : f32[4]", "G5: element: acc or val is not to be seen"},
    {"<i0: 4 | r0: 4> f32 {add(acc0, $1[0])} $0[i0, r0] init 0 -> acc0 : f32[4]", "G5: combine: a load"},
    {"<i0: 4 | r0: 4> f32 {add(acc0, cast.f32(i0))} $0[i0, r0] init 0 -> acc0 : f32[4]", "G5: combine: an index"},
    {"<i0: 4 | r0: 4> f32 add $0[i0, r0] init 0 -> val0 : f32[4]", "G5: finish: acc or val"},
    {"<i0: 4 | r0: 4> f32 add $0[i0, r0] init 0 -> $1[r0] : f32[4]", "G5: finish: an index"},
    {"<i0: 4 | r0: 4> f32 add $0[i0, r0] init 0 -> acc0 : f32[5]", "G5: the dims of result 0"},
    {"<i0: 4 | r0: 4> f32 max $0[i0, r0] init 0 -> acc0 contraction(a=0, b=1, roles=m k) : f32[4]",
     "a result is no sum"},
    {"<i0: 4 | r0: 4> f32 add $0[i0, r0] init 0 -> acc0 contraction(a=0, b=1, roles=m n) : f32[4]",
     "a role does not fit"},
    {"<i0: 4> $1[i0] : f32[4][0:+1+1]", "G6: an output with a layout"},
};

Test(text, violations_in_text) {
  for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++) {
    const char *source = onnxc_arena_printf(
        &arena, "graph @f(%%x: f32[4, 4], %%v: f32[4]) { %%y = compute(%%x, %%v) %s return %%y }", invalid[i][0]);
    cr_assert_eq(parse(source), ONNXC_OK, "%s", diag.text);
    expect_violation(invalid[i][1]);
  }
  cr_assert_eq(parse("graph @f(%x: f32[4][0:+1+0]) { return }"), ONNXC_OK);
  expect_violation("G6: an input with a layout");
  cr_assert_eq(parse("graph @f(%x: f32[4]) { %y = reshape(%x) : f32[2, 2][1 0] return }"), ONNXC_OK);
  expect_violation("G6: reshape gives it a layout");
  cr_assert_eq(parse("graph @f(%x: f32[4]) {"
                     " %a = compute(%x) <i0: 4> $0[i0] rows(group=1, rank=1) : f32[4]"
                     " %s = softmax(%a) axis=0 span=1 : f32[4]"
                     " %b = compute(%s) <i0: 4> $0[i0] rows(group=1, rank=1) : f32[4] return %b }"),
               ONNXC_OK);
  expect_violation("G5: row group 1 is not consecutive");
}

/* Nodes between %x and the output %y; %a runs where %k is 5, %b where it is not, %d within where %a does. */
static const char *const out_of_branch[][2] = {
    {"%y = compute(%a) <i0: 4> $0[i0] : f32[4]", "the node of %y: G7: it reads what does not run"},
    {"%y = reshape(%a) : f32[2, 2]", "G7: it reads what does not run"},
    {"%z = compute(%a) <i0: 4> $0[i0] : f32[4] when 1 - eq(%k, 5) %y = reshape(%x) : f32[4]", "G7: it reads"},
    {"%z = compute(%d) <i0: 4> $0[i0] : f32[4] when eq(%k, 5) %y = reshape(%x) : f32[4]", "G7: it reads"},
    {"%y = compute(%a) <i0: 4> $0[i0] : f32[4] when eq(%k, 5)", "%y: G7: an output that does not always have a value"},
    /* lazily, but in the wrong arm, in no arm, under another condition, only the outer one */
    {"%y = compute(%a, %b) <i0: 4> select(cast.bool(dim(eq(%k, 5))), $1[i0], $0[i0]) : f32[4]", "G7: it reads"},
    {"%y = compute(%a, %b) <i0: 4> add(select(cast.bool(dim(eq(%k, 5))), $0[i0], $1[i0]), $0[i0]) : f32[4]", "G7: it"},
    {"%y = compute(%a, %b) <i0: 4> select(cast.bool(dim(eq(%k, 4))), $0[i0], $1[i0]) : f32[4]", "G7: it reads"},
    {"%y = compute(%a, %b) <i0: 4> select(eq(i0, 5), $0[i0], $1[i0]) : f32[4]", "G7: it reads"},
    {"%y = compute(%d, %b) <i0: 4> select(cast.bool(dim(eq(%k, 5))), $0[i0], $1[i0]) : f32[4]", "G7: it reads"},
    {"%y = compute(%x, %a) <i0: 4 | r0: 4> f32 add $0[r0] init $1[i0] -> acc0 : f32[4]", "G7: it reads"},
    {"%q = compute(%x) <> cast.i64($0[0]) : i64[] {%m}"
     "%z = compute(%x) <i0: 4> $0[i0] : f32[4] when eq(%m, 1) %y = reshape(%x) : f32[4]",
     "branches: G7: the condition of a branch is not known"},
    {"%z = compute(%x) <i0: 4> $0[i0] rows(group=1, rank=1) : f32[4]"
     "%y = compute(%x) <i0: 4> $0[i0] rows(group=1, rank=1) : f32[4] when eq(%k, 5)",
     "G5: row group 1: the row indices or branches differ"},
};

/* In order: an arm's branch, arms in arms, what a branch's own conditions rule out. */
static const char *const in_branch[] = {
    "%y = compute(%a, %b) <i0: 4> select(cast.bool(dim(eq(%k, 5))), $0[i0], $1[i0]) : f32[4]",
    "%y = compute(%d, %b, %x) <i0: 4>"
    " select(cast.bool(dim(eq(%k, 5))), select(cast.bool(dim(eq(%k, 7))), $0[i0], $2[i0]), $1[i0]) : f32[4]",
    "%y = compute(%d, %b, %x) <i0: 4>"
    " select(cast.bool(dim(eq(%k, 7))), select(cast.bool(dim(eq(%k, 5))), $0[i0], $1[i0]), $2[i0]) : f32[4]",
    "%z = compute(%a, %b) <i0: 4> select(cast.bool(dim(eq(%k, 5))), $0[i0], $1[i0]) : f32[4] when eq(%k, 5)"
    "%y = reshape(%x) : f32[4]",
    "%y = compute(%x, %a) <i0: 4 | r0: 4>"
    " f32 add select(cast.bool(dim(eq(%k, 5))), $1[r0], $0[r0]) init 0 -> acc0 : f32[4]",
};

static onnxc_status parse_branches(const char *nodes) {
  return parse(onnxc_arena_printf(&arena,
                                  "graph @f(%%x: f32[4], %%s: i64[] {%%k}) {"
                                  " %%a = compute(%%x) <i0: 4> abs($0[i0]) : f32[4] when eq(%%k, 5)"
                                  " %%b = compute(%%x) <i0: 4> neg($0[i0]) : f32[4] when 1 - eq(%%k, 5)"
                                  " %%d = compute(%%a) <i0: 4> neg($0[i0]) : f32[4] when eq(%%k, 5), eq(%%k, 7)"
                                  " %s return %%y }",
                                  nodes));
}

Test(text, branches) {
  for (size_t i = 0; i < sizeof out_of_branch / sizeof *out_of_branch; i++) {
    cr_assert_eq(parse_branches(out_of_branch[i][0]), ONNXC_OK, "%s", diag.text);
    expect_violation(out_of_branch[i][1]);
  }
  for (size_t i = 0; i < sizeof in_branch / sizeof *in_branch; i++) {
    cr_assert_eq(parse_branches(in_branch[i]), ONNXC_OK, "%s", diag.text);
    cr_expect_eq(onnxc_graph_verify(&graph, NULL), ONNXC_OK, "%s: %s", in_branch[i], diag.text);
  }
}
