/* test_dot.c -- invariant T6: which statements a schedule may step through in dot products. */
#include "tile/tile.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* The parts of a program; NULL is what makes it right. */
typedef struct parts {
  const char *a, *b, *lanes, *kr, *box, *element;
  const char *error; /* NULL: none */
} parts;

static const char * or (const char *part, const char *otherwise) { return part ? part : otherwise; }

static void check(const parts *p) {
  onnxc_guard guard;
  onnxc_arena arena;
  onnxc_diag diag;
  onnxc_graph graph;
  onnxc_tile_program program;
  if (setjmp(guard.env))
    abort();
  onnxc_arena_init(&arena, &guard);
  onnxc_diag_clear(&diag);
  onnxc_graph_init(&graph, &arena, &diag);
  onnxc_tile_program_init(&program, &graph, NULL);
  const char *text =
      onnxc_arena_printf(&arena,
                         "program @p target \"haswell\" { buffer %%a: %s = value buffer %%b: %s = value "
                         "buffer %%c: f32[6, 32] = value buffer %%i: i64[32] = value "
                         "stage @s { compute(%%a, %%b, %%i) -> (%%c) [i0: 0 for 6, i1: 0 for 32 | r0: 0 for 3, r1: %s] "
                         "rows(i0 6) vec(%s) kr(%s) <i0: 6, i1: 32 | r0: 3, r1: 35> f32 add %s init 0 -> acc0 } }",
                         or (p->a, "bf16[8, 35]"), or (p->b, "bf16[3, 35, 32][0 2 1 2:16 1:2]"),
                         or (p->box, "0 for 35"), or (p->lanes, "i1 1 x 8"), or (p->kr, "2"),
                         or (p->element, "mul(cast.f32($0[add(i0, r0), r1]), cast.f32($1[r0, r1, i1]))"));
  cr_assert_eq(onnxc_tile_parse(&program, "t", text, strlen(text)), ONNXC_OK, "%s: %s", text, diag.text);
  onnxc_status status = onnxc_tile_verify(&program);
  cr_expect_eq(status, p->error ? ONNXC_INTERNAL : ONNXC_OK, "%s: %s", text, diag.text);
  cr_expect(!p->error || strstr(diag.text, p->error), "%s gives '%s', not '%s'", text, diag.text, p->error);
  onnxc_arena_free(&arena);
}

Test(dot, accepted) {
  static const parts right[] = {
      {0},
      {.element = "mul(cast.f32($1[r0, r1, i1]), cast.f32($0[add(i0, r0), r1]))"},
      {.a = "bf16[8, 35][0 1 1:8]"},
      {.box = "4 for 30"},
      {.box = "32 for 3"},
      {.a = "bf16[8, 38]", .element = "mul(cast.f32($0[add(i0, r0), add(r1, 3)]), cast.f32($1[r0, r1, i1]))"},
  };
  for (size_t i = 0; i < sizeof right / sizeof *right; i++)
    check(&right[i]);
}

Test(dot, refused) {
  static const parts wrong[] = {
      {.kr = "4", .error = "T6: kr is 4, but there is no such dot product"},
      {.lanes = "r1 1 x 8", .error = "no parallel index lies along"},
      {.lanes = "i1 1 x 2", .error = "no parallel index lies along"},
      {.element = "cast.f32($0[add(i0, r0), r1])", .error = "no sum of products"},
      {.element = "mul(abs(cast.f32($0[add(i0, r0), r1])), cast.f32($1[r0, r1, i1]))",
       .error = "not a load that is cast"},
      {.element = "mul(cast.f32($0[add(i0, r0), r1]), cast.f32($1[r0, r1, 5]))", .error = "by one along vec"},
      {.element = "mul(cast.f32($0[add($2[i0], r0), r1]), cast.f32($1[r0, r1, i1]))", .error = "no dim expression"},
      {.element = "mul(cast.f32($0[add(r0, i1), r1]), cast.f32($1[r0, r1, i1]))", .error = "the same for all lanes"},
      {.element = "mul(cast.f32($0[r0, r1]), cast.f32($1[r0, r1, add(i1, i0)]))", .error = "the other for all rows"},
      {.a = "bf16[8, 35][1 0]", .error = "not contiguous along"},
      {.a = "bf16[8, 70]",
       .element = "mul(cast.f32($0[add(i0, r0), mul(r1, 2)]), cast.f32($1[r0, r1, i1]))",
       .error = "not contiguous along"},
      {.a = "bf16[8, 35][0 1 1:7]", .error = "cross the blocks of the factor that is broadcast"},
      {.b = "bf16[3, 35, 32][0 2 1 2:16]", .error = "does not end in vec:panel k:kr"},
      {.b = "bf16[3, 35, 32][0 2 1 2:16 1:4]", .error = "does not end in vec:panel k:kr"},
      {.b = "bf16[3, 35, 32][0 1 2 1:16 2:2]", .error = "does not end in vec:panel k:kr"},
      {.b = "bf16[3, 36, 32][0 2 1 2:16 1:2]",
       .element = "mul(cast.f32($0[add(i0, r0), r1]), cast.f32($1[r0, add(r1, 1), i1]))",
       .error = "cross the blocks of the factor along the lanes"},
      {.box = "1 for 34", .error = "does not begin at a multiple of kr"},
      {.box = "0 for 33", .error = "ends within a step"},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
    check(&wrong[i]);
}
