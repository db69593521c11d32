/* The text of tile programs: hand-written programs of every shape that the vocabulary must express print back
 * as they are and pass the verifier; errors say where they are; each broken invariant is found. */
#include "tile/tile.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static onnxc_guard guard;
static onnxc_arena arena;
static onnxc_diag diag;
static onnxc_graph graph;
static onnxc_tile_program program;

static void fresh(void) {
  onnxc_diag_clear(&diag);
  onnxc_graph_init(&graph, &arena, &diag);
  onnxc_tile_program_init(&program, &graph, NULL);
}

static void setup(void) {
  if (setjmp(guard.env))
    abort();
  onnxc_arena_init(&arena, &guard);
  fresh();
}
static void teardown(void) { onnxc_arena_free(&arena); }
TestSuite(tile_text, .init = setup, .fini = teardown);

static onnxc_status parse(const char *source) {
  fresh();
  return onnxc_tile_parse(&program, "t", source, strlen(source));
}

static const char *print(void) {
  onnxc_text text;
  onnxc_text_init(&text, &arena);
  onnxc_tile_print(&program, &text);
  return text.data;
}

static const char *const files[] = {"matmul",     "conv_halo",  "depthwise_pointwise", "softmax",
                                    "layer_norm", "lstm_gates", "attention",           "views"};
enum { FILES = sizeof files / sizeof *files };

static const char *read_file(const char *name) {
  const char *path = onnxc_arena_printf(&arena, "%s/%s.tile", ONNXC_TEST_DATA, name);
  FILE *file = fopen(path, "rb");
  cr_assert(file, "%s", path);
  char *text = onnxc_arena_alloc(&arena, 1 << 16);
  size_t length = fread(text, 1, (1 << 16) - 1, file);
  text[length] = 0;
  fclose(file);
  return text;
}

/* ONNXC_UPDATE_GOLDENS=1 rewrites the files below their head comments. */
static void update(const char *name, const char *text, size_t head) {
  FILE *file = fopen(onnxc_arena_printf(&arena, "%s/%s.tile", ONNXC_TEST_DATA, name), "wb");
  cr_assert(file);
  fprintf(file, "%.*s%s", (int)head, text, print());
  fclose(file);
}

Test(tile_text, round_trips) {
  for (int i = 0; i < FILES; i++) {
    const char *text = read_file(files[i]), *body = text;
    while (*body == '#')
      body = strchr(body, '\n') + 1;
    cr_assert_eq(parse(text), ONNXC_OK, "%s: %s", files[i], diag.text);
    cr_expect_eq(onnxc_tile_verify(&program), ONNXC_OK, "%s: %s", files[i], diag.text);
    if (getenv("ONNXC_UPDATE_GOLDENS"))
      update(files[i], text, (size_t)(body - text));
    else
      cr_expect_str_eq(print(), body, "%s:\n%s", files[i], print());
  }
}

Test(tile_text, meaning) {
  cr_assert_eq(parse(read_file("matmul")), ONNXC_OK, "%s", diag.text);
  cr_expect_str_eq(program.target->name, "znver5");
  cr_expect_eq(graph.inputs.length, 1);
  cr_expect_eq(graph.outputs.length, 2);
  cr_expect(onnxc_value_is_constant(&graph, program.buffers.data[2].value));
  const onnxc_stage *stage = &program.stages.data[0];
  cr_expect_str_eq(onnxc_dim_text(&graph.dims, stage->num_tasks), "2*((%M + 119) floordiv 120)");
  const onnxc_stmt *loop = stage->body.data[0], *inner = loop->body.data[0], *product = inner->body.data[0];
  cr_expect(loop->parallel && inner->parallel && product->kind == ONNXC_STMT_COMPUTE);
  cr_expect(product->schedule.rows == 6 && product->schedule.vecs == 4 && product->schedule.lanes == 16);
  cr_expect(product->schedule.row == 0 && product->schedule.vec == 1 && product->schedule.unroll == 4);
  cr_expect(product->schedule.order[0] == 1 && product->schedule.order[2] == 2);
  const onnxc_symbol *t = onnxc_dims_symbol(&graph.dims, loop->iv);
  cr_expect(t->low == 0 && t->high == 4095 && t->divisor == 120 && t->source == ONNXC_SYM_LOOP);
  const onnxc_symbol *m = onnxc_dims_symbol(&graph.dims, onnxc_sym_find(&graph.dims, "M", 1));
  cr_expect(m->source == ONNXC_SYM_INPUT_DIM && m->index == 0 && m->axis == 0 && m->hint == 256);
}

#define HEAD "program @p { buffer %x: f32[8] = input 0 buffer %y: f32[8] = output 0 buffer %s: f32[8] = scratch "
#define COPY "compute(%x) -> (%y) [i0: 0 for 8] <i0: 8> $0[i0] "

static const char *const errors[][2] = {
    {"", "t:1:1: expected 'program'"},
    {"program @p target \"z80\" { }", "t:1:19: unknown target 'z80'"},
    {"program @p { buffer %x: f32[8] = input 1 }", "the next input is 0"},
    {"program @p { buffer %x: f32[8] = output 1 }", "output 0 is missing"},
    {"program @p { buffer %x: f32[8] = nothing }", "expected input, output"},
    {"program @p { buffer %v: f32[8] = view of %w at 0 }", "t:1:42: unknown buffer %w"},
    {"program @p { buffer %v: f32[8] = view of %w at 0 buffer %w: f32[8] = view of %v at 0 }", "a view of itself"},
    {"program @p { buffer %v: f32[8] = scratch buffer %v: f32[8] = scratch }", "already there"},
    {"program @p { buffer %v: f32[8] = scratch ring 1 }", "must lie in 0..0"},
    {"symbol %e = element(%q, 0) program @p { }", "unknown value %q"},
    {HEAD "stage @a { nothing } }", "expected a statement"},
    {HEAD "stage @a same_as 0 { } }", "no earlier stage"},
    {HEAD "stage @a { fill %q } }", "unknown buffer %q"},
    {HEAD "stage @a { " COPY, "expected a statement"},
    {HEAD "stage @a { compute(%x) -> (%y) [i0: 0 for 8] <i0: 8, i1: 8> $0[i0] } }", "differ in their indices"},
    {HEAD "stage @a { contract(%x) -> (%y) [i0: 0 for 8] <i0: 8> $0[i0] } }", "has a contraction"},
    {HEAD "stage @a { compute(%x) -> (%y) [i0: 0 to 8] <i0: 8> $0[i0] } }", "expected 'for'"},
    {HEAD "stage @a { compute(%x) -> (%y) [i0: 0 for 8] vec(i1 2 x 8) <i0: 8> $0[i0] } }", "an index of the box"},
    {HEAD "stage @a { for %i = 0 to 8 { } for %i = 0 to 8 { } } }", "the symbol %i is already there"},
    {HEAD "stage @a { } } more", "text behind the program"},
};

Test(tile_text, errors) {
  for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
    cr_expect_eq(parse(errors[i][0]), ONNXC_BAD_INPUT, "%s", errors[i][0]);
    cr_expect(strstr(diag.text, errors[i][1]) && diag.count == 1, "%s gives '%s', not '%s'", errors[i][0], diag.text,
              errors[i][1]);
  }
  char deep[4000] = HEAD "stage @a { ";
  for (int i = 0; i < 100; i++)
    sprintf(deep + strlen(deep), "for %%i%d = 0 to 8 { ", i);
  cr_expect_eq(parse(deep), ONNXC_BAD_INPUT);
  cr_expect(strstr(diag.text, "too deep"), "%s", diag.text);
}

static const char *const violations[][2] = {
    {"stage @a { compute(%s) -> (%y) [i0: 0 for 8] <i0: 8> $0[i0] }", "T4: s is read before it is written"},
    {"stage @a { compute(%x) -> (%s) [i0: 0 for 8] resume partial <i0: 8> $0[i0] }", "T1: resume and partial"},
    {"stage @a { compute(%x) -> (%s) [i0: 0 for 8 | r0: 0 for 1] resume <i0: 8 | r0: 1> f32 add $0[i0] init 0 -> acc0 "
     "}",
     "T4: s is read"},
    {"stage @a { if (eq(%N, 4)) { compute(%x) -> (%s) [i0: 0 for 8] <i0: 8> $0[i0] } copy %s -> %y [0 for 8] }",
     "T4: s is read"},
    {"stage @a { fill %s copy %s -> %y [0 for 8] }", "T4: s is read"},
    {"stage @a { compute(%x) -> (%y) [i0: 4 for 8] <i0: 8> $0[i0] }", "T1: the box 4 + 8 of index 0"},
    {"stage @a { compute(%x) -> (%z) [i0: 0 for 8] <i0: 8> $0[i0] }", "T1: result z has the wrong dtype"},
    {"stage @a { compute(%x) -> (%z) [i0: 0 for 8 | r0: 0 for 1] partial <i0: 8 | r0: 1> f32 add $0[i0] init 0 -> "
     "cast.i8(acc0) }",
     "T1: result z has the wrong dtype"},
    {"stage @a { compute(%x) -> (%y) [] <> $0[3] }", "T1: result y differs in rank"},
    {"stage @a { compute(%x) -> (%y, %s) [i0: 0 for 8] <i0: 8> $0[i0]; $0[i0] } stage @b { copy %s -> %y [0 for 8] }",
     "T4: s is read"},
    {"stage @a { copy %x -> %z [0 for 8] }", "T1: a copy between x and z"},
    {"stage @a { copy %x -> %w [0 for 8] }", "T1: the constant w is written"},
    {"stage @a { for %i = 0 to 8 { } copy %x -> %y [%i for 1] }", "T2: a box uses %i outside its loop"},
    {"stage @a { for %i = 0 to 8 { } compute(%x) -> (%y) [i0: 0 for 8] <i0: 8> $0[dim(%i)] }",
     "T2: an expression uses %i"},
    {"stage @a { for %i = 0 to 8 { parallel %j = 0 to 8 { } } }", "T3: a parallel loop inside"},
    {"stage @a { parallel %i = 0 to 8 { } fill %y }", "T3: a parallel loop inside"},
    {"stage @a { for %i = 0 to 8 step 0 { } }", "T1: a loop that does not step"},
    {"stage @a { compute(%x) -> (%y) [i0: 0 for 8] rows(i0 4) vec(i0 1 x 8) <i0: 8> $0[i0] }", "T5: row or vec"},
    {"stage @a { compute(%x) -> (%y) [i0: 0 for 8] vec(i0 0 x 8) <i0: 8> $0[i0] }", "T5: rows, vecs and lanes"},
    {"stage @a { compute(%x) -> (%y) [i0: 0 for 8 | r0: 0 for 8] order(r0 i0) <i0: 8 | r0: 8> f32 add $0[r0] init 0 -> "
     "acc0 }",
     "T5: order is no permutation"},
    {"stage @a { compute(%x) -> (%y) [i0: 0 for 8 | r0: 0 for 8] vec(i0 64 x 8) <i0: 8 | r0: 8> f32 add $0[r0] init 0 "
     "-> acc0 }",
     "T5: a tile of 1 x 64 vectors"},
    {"buffer %v: f32[8] = value if (eq(%N, 4)) stage @a { copy %x -> %v [0 for 8] copy %x -> %y [0 for 8] }",
     "T7: y is there under another condition"},
    {"buffer %v: f32[8] = value if (eq(%N, 4)) buffer %u: f32[8] = value if (eq(%N, 5)) "
     "stage @a { parallel %i = 0 to 8 { copy %x -> %v [0 for 8] copy %x -> %u [0 for 8] } }",
     "T7: u is there under another condition"},
    {"buffer %v: f32[8] = scratch if (eq(%N, 4))", "T1: v must always be there"},
    {"buffer %v: f32[8] = output 1 if (eq(%N, 4))", "T1: v must always be there"},
};

Test(tile_text, violations) {
  for (size_t i = 0; i < sizeof violations / sizeof *violations; i++) {
    const char *text =
        onnxc_arena_printf(&arena,
                           "program @p target \"haswell\" { buffer %%x: f32[8] = input 0 buffer %%y: f32[8] "
                           "= output 0 buffer %%s: f32[8] = scratch buffer %%z: i8[8] = value "
                           "buffer %%w: f32[8] = constant splat 1 %s }",
                           violations[i][0]);
    cr_assert_eq(parse(text), ONNXC_OK, "%s: %s", violations[i][0], diag.text);
    cr_expect_eq(onnxc_tile_verify(&program), ONNXC_INTERNAL, "%s", violations[i][0]);
    cr_expect(strstr(diag.text, violations[i][1]), "%s gives '%s', not '%s'", violations[i][0], diag.text,
              violations[i][1]);
  }
}

/* Mutated text never crashes, nor does the verifier of what still parses. */
Test(tile_text, mutations) {
  uint64_t seed = 3;
  for (int i = 0; i < FILES; i++) {
    char *original = strdup(read_file(files[i])), *copy = strdup(original);
    size_t length = strlen(original);
    for (int round = 0; round < 300; round++) {
      memcpy(copy, original, length + 1);
      size_t end = length;
      for (int k = 0; k < 1 + round % 3; k++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        size_t at = (size_t)(seed >> 33) % length;
        if ((seed >> 20) % 8 == 0)
          end = at;
        else
          copy[at] = original[(size_t)(seed >> 40) % length];
      }
      onnxc_arena_free(&arena);
      onnxc_arena_init(&arena, &guard);
      fresh();
      if (onnxc_tile_parse(&program, "t", copy, end) == ONNXC_OK) {
        if (onnxc_tile_verify(&program) == ONNXC_OK) {
          const char *first = print();
          cr_assert_eq(parse(first), ONNXC_OK, "%s\n%s", diag.text, first);
          cr_expect_str_eq(print(), first);
        }
      } else {
        cr_assert(diag.count > 0);
      }
    }
    free(original);
    free(copy);
  }
}
