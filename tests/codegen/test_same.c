/* test_same.c -- stages that differ in where they read and write alone share a function: the steps of a recurrence, of
 * which the first has no product, into one buffer or two directions of it.
 */
#include "codegen/codegen.h"

#include <criterion/criterion.h>
#include <string.h>

/* How many functions the program's stages have. */
static uint32_t functions_of(const char *source, uint32_t *num_stages) {
  static onnxc_diag diag;
  onnxc_guard guard;
  onnxc_arena arena;
  onnxc_graph graph;
  onnxc_tile_program program;
  onnxc_module module;
  onnxc_diag_clear(&diag);
  if (setjmp(guard.env))
    abort();
  onnxc_arena_init(&arena, &guard);
  onnxc_graph_init(&graph, &arena, &diag);
  cr_assert_eq(onnxc_graph_parse(&graph, "t", source, strlen(source)), ONNXC_OK, "%s", diag.text);
  onnxc_tile_program_init(&program, &graph, onnxc_target_find("znver5", 6));
  cr_assert_eq(onnxc_tile_lower(&program), ONNXC_OK, "%s", diag.text);
  cr_assert_eq(onnxc_tile_verify(&program), ONNXC_OK, "%s", diag.text);
  cr_assert_eq(onnxc_codegen(&module, &program, &arena, "t", 0), ONNXC_OK, "%s", diag.text);
  uint32_t different = 0;
  *num_stages = program.stages.length;
  for (uint32_t s = 0; s < program.stages.length; s++) {
    uint32_t k = 0;
    while (k < s && strcmp(module.stages[k].function, module.stages[s].function) != 0)
      k++;
    different += k == s;
  }
  onnxc_module_free(&module);
  onnxc_arena_free(&arena);
  return different;
}

/* clang-format off */
#define FIRST(h, d)                                                                                                    \
  h " = compute(%x) <i0: 1, i1: 1, i2: %N, i3: 6> tanh($0[0, i2, " d ", i3]) : f32[1, 1, %N, 6]\n"
#define NEXT(h, d, t, before)                                                                                          \
  h " = compute(" before ", %w, %x) <i0: 1, i1: 1, i2: %N, i3: 6 | r0: 6>\n"                                           \
    "    f32 add mul($0[0, 0, i2, r0], $1[i3, r0]) init 0 -> tanh(add(acc0, $2[" t ", i2, " d ", i3]))\n"              \
    "    contraction(a=0, b=1, roles=m m m n k) : f32[1, 1, %N, 6]\n"

static const char one_direction[] =
    "symbol %N in 1..9\n"
    "graph @one(%x: f32[4, %N, 1, 6], %w: f32[6, 6]) {\n"
    FIRST("%a", "0")
    NEXT("%b", "0", "1", "%a")
    NEXT("%c", "0", "2", "%b")
    NEXT("%d", "0", "3", "%c")
    "  %y = concat(%a, %b, %c, %d) axis=0 : f32[4, 1, %N, 6]\n"
    "  return %y\n}\n";

static const char two_directions[] =
    "symbol %N in 1..9\n"
    "graph @two(%x: f32[3, %N, 2, 6], %w: f32[6, 6]) {\n"
    FIRST("%a", "0")
    NEXT("%b", "0", "1", "%a")
    NEXT("%c", "0", "2", "%b")
    FIRST("%p", "1")
    NEXT("%q", "1", "1", "%p")
    NEXT("%r", "1", "2", "%q")
    "  %u = concat(%a, %b, %c) axis=0 : f32[3, 1, %N, 6]\n"
    "  %v = concat(%r, %q, %p) axis=0 : f32[3, 1, %N, 6]\n"
    "  %y = concat(%u, %v) axis=1 : f32[3, 2, %N, 6]\n"
    "  return %y\n}\n";
/* clang-format on */

Test(same, steps) {
  uint32_t stages;
  cr_expect_eq(functions_of(one_direction, &stages), 2);
  cr_expect_eq(stages, 4); /* y is written in place */
  cr_expect_eq(functions_of(two_directions, &stages), 2);
  cr_expect_eq(stages, 6);
}
