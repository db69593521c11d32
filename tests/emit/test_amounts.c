/* test_amounts.c -- what is counted of a stage, for tile programs written out here: each amount as a person would count
 * it. */
#include "emit/facts.h"

#include "tile/note.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static onnxc_guard guard;
static onnxc_arena arena;
static onnxc_diag diag;

typedef struct row {
  const char *what, *buffers, *stage; /* of a program for znver4: a vector of 64 bytes, 2 operations, 1 FMA a clock */
  int64_t flops, operations, ticks, bytes, weight_bytes;
} row;

#define CLOCKS(n)  ((int64_t)(n) * ONNXC_CLOCK_TICKS)
#define VECTORS(n) (CLOCKS(n) / 2) /* of whole-register operations that are no FMAs */

static const row rows[] = {
    {"an elementwise operation: both buffers once",
     "buffer %x: f32[8, 32] = input 0\n buffer %y: f32[8, 32] = output 0\n",
     "compute(%x) -> (%y) [i0: 0 for 8, i1: 0 for 32] order(i0 i1) vec(i1 1 x 16) <i0: 8, i1: 32>\n"
     " max(mul($0[i0, i1], 2), 0)\n",
     0, 512, VECTORS(32), 2048, 0},
    {"exp weighs as much as its code", "buffer %x: f32[16] = input 0\n buffer %y: f32[16] = output 0\n",
     "compute(%x) -> (%y) [i0: 0 for 16] order(i0) vec(i0 1 x 16) <i0: 16>\n exp($0[i0])\n", 0, 256, VECTORS(16), 128,
     0},
    {"what depends on fewer indices is computed once for each of those",
     "buffer %x: f32[8, 32] = input 0\n buffer %s: f32[8] = input 1\n buffer %y: f32[8, 32] = output 0\n",
     "compute(%x, %s) -> (%y) [i0: 0 for 8, i1: 0 for 32] order(i0 i1) vec(i1 1 x 16) <i0: 8, i1: 32>\n"
     " mul($0[i0, i1], sqrt($1[i0]))\n",
     0, 288, VECTORS(16) + CLOCKS(8 * 4) / 32, 2080, 0},
    {"a slice reads what it takes, and moving is no arithmetic",
     "buffer %x: f32[8, 32] = input 0\n buffer %y: f32[8, 4] = output 0\n",
     "compute(%x) -> (%y) [i0: 0 for 8, i1: 0 for 4] order(i0 i1) <i0: 8, i1: 4>\n $0[i0, add(mul(i1, 3), 5)]\n", 0, 0,
     0, 256, 0},
    {"a gather reads no more than it has points, and its indices",
     "buffer %t: f32[1000, 16] = constant ...\n buffer %k: i64[4] = input 0\n buffer %y: f32[4, 16] = output 0\n",
     "compute(%t, %k) -> (%y) [i0: 0 for 4, i1: 0 for 16] order(i0 i1) vec(i1 1 x 16) <i0: 4, i1: 16>\n"
     " $0[$1[i0], i1]\n",
     0, 0, 0, 544, 256},
    {"a window that overlaps is read once", "buffer %x: f32[20] = input 0\n buffer %y: f32[16] = output 0\n",
     "compute(%x) -> (%y) [i0: 0 for 16 | r0: 0 for 5] order(i0 r0) vec(i0 1 x 16) <i0: 16 | r0: 5>\n"
     " f32 max $0[add(i0, r0)] init -inf -> acc0\n",
     0, 80, VECTORS(5), 144, 0},
    {"a product and its epilogue: the FMAs take longer than the rest of the issue slots",
     "buffer %a: f32[4, 10] = input 0\n buffer %b: f32[10, 16] = constant ...\n buffer %c: f32[4, 16] = output 0\n",
     "contract(%a, %b) -> (%c) [i0: 0 for 4, i1: 0 for 16 | r0: 0 for 10] order(i0 i1 r0) rows(i0 4) vec(i1 1 x 16)\n"
     " <i0: 4, i1: 16 | r0: 10> f32 add mul($0[i0, r0], $1[r0, i1]) init 0 -> max(acc0, 0)\n"
     " contraction(a=0, b=1, roles=m n k)\n",
     1280, 64, CLOCKS(40), 1056, 640},
    {"parts of one compute count as the whole", "buffer %x: f32[32] = input 0\n buffer %y: f32[32] = output 0\n",
     "compute(%x) -> (%y) [i0: 0 for 16] order(i0) vec(i0 1 x 16) <i0: 32>\n neg($0[i0])\n"
     "compute(%x) -> (%y) [i0: 16 for 16] order(i0) vec(i0 1 x 16) <i0: 32>\n neg($0[i0])\n",
     0, 32, VECTORS(2), 256, 0},
    {"bytes go four times as many to a register", "buffer %x: u8[64] = input 0\n buffer %y: u8[64] = output 0\n",
     "compute(%x) -> (%y) [i0: 0 for 64] order(i0) vec(i0 1 x 64) <i0: 64>\n max($0[i0], 3)\n", 0, 64, VECTORS(1), 128,
     0},
    {"scratch is not memory that is moved",
     "buffer %x: f32[16] = input 0\n buffer %t: f32[16] = scratch\n buffer %y: f32[16] = output 0\n",
     "compute(%x) -> (%t) [i0: 0 for 16] order(i0) vec(i0 1 x 16) <i0: 16>\n neg($0[i0])\n"
     "compute(%t) -> (%y) [i0: 0 for 16] order(i0) vec(i0 1 x 16) <i0: 16>\n abs($0[i0])\n",
     0, 32, VECTORS(2), 128, 0},
};

static void parse(onnxc_graph *graph, onnxc_tile_program *program, const row *r) {
  onnxc_text text;
  onnxc_text_init(&text, &arena);
  onnxc_text_printf(&text, "program @amounts target \"znver4\" {\n%sstage @s {\n%s}\n}\n", r->buffers, r->stage);
  onnxc_graph_init(graph, &arena, &diag);
  onnxc_tile_program_init(program, graph, NULL);
  cr_assert_eq(onnxc_tile_parse(program, r->what, text.data, text.length), ONNXC_OK, "%s", diag.text);
  cr_assert_eq(onnxc_tile_verify(program), ONNXC_OK, "%s: %s", r->what, diag.text);
}

static void expect(const onnxc_graph *graph, const char *what, const char *amount, onnxc_dim dim, int64_t wanted) {
  int64_t value = -1;
  cr_expect(onnxc_dim_is_const(&graph->dims, dim, &value) && value == wanted, "%s: %s are %lld, expected %lld", what,
            amount, (long long)value, (long long)wanted);
}

Test(amounts, are_what_a_person_counts) {
  if (setjmp(guard.env))
    abort();
  onnxc_arena_init(&arena, &guard);
  for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
    onnxc_graph graph;
    onnxc_tile_program program;
    onnxc_diag_clear(&diag);
    parse(&graph, &program, &rows[k]);
    onnxc_amounts amounts = onnxc_count_stage(onnxc_counter_new(&program, &arena), 0);
    expect(&graph, rows[k].what, "flops", amounts.flops, rows[k].flops);
    expect(&graph, rows[k].what, "operations", amounts.operations, rows[k].operations);
    expect(&graph, rows[k].what, "ticks", amounts.ticks, rows[k].ticks);
    expect(&graph, rows[k].what, "bytes", amounts.bytes, rows[k].bytes);
    expect(&graph, rows[k].what, "weight bytes", amounts.weight_bytes, rows[k].weight_bytes);
  }
  onnxc_arena_free(&arena);
}

Test(amounts, notes_say_what_is_in_the_way) {
  static const struct {
    row row;
    const char *note;
  } cases[] = {{{"no vectors", "buffer %x: f32[16] = input 0\n buffer %y: f32[16] = output 0\n",
                 "compute(%x) -> (%y) [i0: 0 for 16] order(i0) <i0: 16>\n exp($0[i0])\n", 0, 0, 0, 0, 0},
                "scalar code"},
               {{"few lanes", "buffer %x: f32[100, 5] = input 0\n buffer %y: f32[100, 5] = output 0\n",
                 "compute(%x) -> (%y) [i0: 0 for 100, i1: 0 for 5] order(i0 i1) vec(i1 1 x 16) <i0: 100, i1: 5>\n"
                 " neg($0[i0, i1])\n",
                 0, 0, 0, 0, 0},
                "5 of 16 lanes used"},
               {{"columns", "buffer %x: f32[16, 16] = input 0\n buffer %y: f32[16, 16] = output 0\n",
                 "compute(%x) -> (%y) [i0: 0 for 16, i1: 0 for 16] order(i0 i1) vec(i1 1 x 16) <i0: 16, i1: 16>\n"
                 " $0[i1, i0]\n",
                 0, 0, 0, 0, 0},
                "1 of 2 accesses jump from lane to lane"},
               {{"nothing", "buffer %x: f32[16] = input 0\n buffer %y: f32[16] = output 0\n",
                 "compute(%x) -> (%y) [i0: 0 for 16] order(i0) vec(i0 1 x 16) <i0: 16>\n exp($0[i0])\n", 0, 0, 0, 0, 0},
                ""},
               {{"a product", rows[6].buffers, rows[6].stage, 0, 0, 0, 0, 0}, "tile 4x1 f32: predicted "}};
  if (setjmp(guard.env))
    abort();
  onnxc_arena_init(&arena, &guard);
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    onnxc_graph graph;
    onnxc_tile_program program;
    onnxc_diag_clear(&diag);
    parse(&graph, &program, &cases[k].row);
    const char *note = onnxc_tile_note(&program, &program.stages.data[0], &arena);
    cr_expect(strncmp(note, cases[k].note, strlen(cases[k].note)) == 0 && (note[0] == '\0') == (cases[k].note[0] == 0),
              "%s: '%s'", cases[k].row.what, note);
  }
  onnxc_arena_free(&arena);
}
