/* Tuning files: what is printed parses back, what cannot be is refused with its line, damaged text never does harm; and
 * what a file says is what lowering does. Predictions: what bounds products of typical shapes.
 */
#include "tile/predict.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define KEY    "cpu=znver5 a=f32 b=f32 acc=f32 batch=1 m=128 n=768 k=3072 panel=64 epilogue=none"
#define VALUES "tile=6 unroll=4 rows=126 columns=64 depth=512 ahead=131072 lines=1"
#define LINE   KEY ": " VALUES

typedef struct fixture {
  onnxc_guard guard;
  onnxc_arena arena;
  onnxc_diag diag;
  onnxc_tuning tuning;
} fixture;

static fixture *begin(void) {
  static fixture f;
  if (setjmp(f.guard.env))
    abort();
  onnxc_arena_init(&f.arena, &f.guard);
  onnxc_diag_clear(&f.diag);
  return &f;
}

static onnxc_status parse(fixture *f, const char *text, size_t length) {
  onnxc_diag_clear(&f->diag);
  return onnxc_tuning_parse(&f->tuning, &f->arena, &f->diag, "t", text, length);
}

Test(tile_tuning, round_trip) {
  static const char *const lines[] = {
      LINE,
      "cpu=znver5 a=u8 b=i8 acc=i32 batch=12 m=~64 n=100 k=300 panel=32 epilogue=heavy: tile=1 unroll=16 rows=1 "
      "columns=32 depth=8 ahead=0 lines=0",
      "cpu=a-cpu.of_2040 a=bf16 b=bf16 acc=f32 batch=~3 m=1 n=~4096 k=~7 panel=5 epilogue=light: tile=1 unroll=1 "
      "rows=0 columns=0 depth=0 ahead=1073741824 lines=64",
  };
  fixture *f = begin();
  onnxc_text all, line;
  onnxc_text_init(&all, &f->arena);
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
    onnxc_text_printf(&all, "\n  # a comment\n%s # another: x=1\r\n", lines[i]);
  cr_assert_eq(parse(f, all.data, all.length), ONNXC_OK, "%s", f->diag.text);
  cr_assert_eq(f->tuning.products.length, sizeof lines / sizeof *lines);
  for (uint32_t i = 0; i < f->tuning.products.length; i++) {
    const onnxc_tuned *tuned = &f->tuning.products.data[i];
    onnxc_text_init(&line, &f->arena);
    onnxc_tuning_print(&tuned->key, &tuned->values, &line);
    cr_expect_str_eq(line.data, lines[i]);
    cr_expect_eq(tuned->number, 3 * i + 3);
    cr_expect_eq(onnxc_tuning_find(&f->tuning, &tuned->key), &tuned->values);
  }
  onnxc_arena_free(&f->arena);
}

/* A product with some of its fields changed: `change` holds name=value pairs. */
static const char *changed(fixture *f, const char *change) {
  char *text = onnxc_arena_printf(&f->arena, "%s", LINE);
  for (const char *at = change; *at;) {
    size_t length = strcspn(at, " "), name = strcspn(at, "=") + 1;
    for (char *old = text; (old = strchr(old, ' ')) != NULL; old++)
      if (strncmp(old + 1, at, name) == 0) {
        *old = 0;
        text = onnxc_arena_printf(&f->arena, "%s %.*s%s", text, (int)length, at, old + 1 + strcspn(old + 1, " :"));
        break;
      }
    at += length + (at[length] == ' ');
  }
  return text;
}

Test(tile_tuning, what_cannot_be) {
  static const struct {
    const char *change, *message;
  } cases[] = {
      {"tile=0", "tile wants a number from 1 to 32"},
      {"tile=8 rows=128", "larger than the CPU's registers"},
      {"tile=33", "tile wants"},
      {"tile=-1", "tile wants"},
      {"m=4 tile=5", "more rows than the product"},
      {"unroll=0", "unroll wants"},
      {"unroll=17", "unroll wants"},
      {"rows=-6", "rows wants"},
      {"rows=99999999999999999999", "rows wants"},
      {"rows=127", "multiple of the tile"},
      {"columns=65", "multiple of the panel"},
      {"depth=6", "multiple of 4"},
      {"m=100000 rows=0 columns=0", "too many sums"},
      {"m=~8 rows=1048572", "too many sums"},
      {"lines=65", "lines wants"},
      {"lines=1x", "lines wants"},
      {"lines=", "lines wants"},
      {"panel=0", "panel wants"},
      {"epilogue=some", "none, light or heavy"},
      {"a=float", "no type stands behind a"},
      {"a=f32:", "missing: b"},
      {"a=f32,", "a space is missing behind a"},
  };
  static const struct {
    const char *text, *message;
  } lines[] = {
      {KEY, "a colon is missing"},
      {KEY " " VALUES, "name=value"},
      {": " VALUES, "missing: cpu"},
      {KEY ": tile=6", "missing: unroll"},
      {LINE " tile=6", "twice in a line: tile"},
      {LINE " cpu=znver5", "name=value"},
      {LINE " speed=9", "name=value"},
      {LINE ":", "a second colon"},
      {LINE " =9", "name=value"},
      {LINE "\n" LINE, "t:2: the product stands in a line before"},
      {"tuning", "name=value"},
      {"cpu= a=f32", "a name is missing"},
  };
  fixture *f = begin();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const char *text = onnxc_arena_printf(&f->arena, "# head\n%s", changed(f, cases[i].change));
    cr_expect_eq(parse(f, text, strlen(text)), ONNXC_BAD_INPUT, "%s", text);
    cr_expect_eq(strncmp(f->diag.text, "t:2: ", 5), 0, "%s", f->diag.text);
    cr_expect(strstr(f->diag.text, cases[i].message), "%s: %s", cases[i].change, f->diag.text);
  }
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
    cr_expect_eq(parse(f, lines[i].text, strlen(lines[i].text)), ONNXC_BAD_INPUT, "%s", lines[i].text);
    cr_expect(strstr(f->diag.text, lines[i].message), "%s: %s", lines[i].text, f->diag.text);
  }
  /* The registers of a CPU that is not known are not known either. */
  const char *other = "cpu=z80 a=f32 b=f32 acc=f32 batch=1 m=128 n=768 k=3072 panel=64 epilogue=none: tile=32 unroll=4 "
                      "rows=0 columns=0 depth=0 ahead=0 lines=0";
  cr_expect_eq(parse(f, other, strlen(other)), ONNXC_OK, "%s", f->diag.text);
  onnxc_arena_free(&f->arena);
}

/* Every prefix, and every byte replaced, in memory of just that size. */
Test(tile_tuning, damaged) {
  fixture *f = begin();
  size_t length = strlen(LINE);
  for (size_t cut = 0; cut < length; cut++) {
    char *text = malloc(cut ? cut : 1);
    memcpy(text, LINE, cut);
    onnxc_status status = parse(f, text, cut);
    cr_expect(status == ONNXC_BAD_INPUT || cut == 0 || cut == length, "%zu", cut);
    free(text);
  }
  static const char bytes[] = {0, '\n', '#', ':', '=', '~', ' ', '9', '-', 'a', (char)0xff};
  char text[] = LINE;
  for (size_t at = 0; at < length; text[at] = LINE[at], at++)
    for (size_t k = 0; k < sizeof bytes; k++) {
      text[at] = bytes[k];
      onnxc_status status = parse(f, text, length);
      cr_expect(status == ONNXC_OK || (status == ONNXC_BAD_INPUT && f->diag.count > 0), "%zu %d", at, bytes[k]);
      cr_expect(status != ONNXC_OK || f->tuning.products.length <= 1);
    }
  onnxc_arena_free(&f->arena);
}

/* ---- what lowering does with it ---- */

static const char *lower(fixture *f, onnxc_tile_program *program, const char *source, const char *target,
                         const char *tuning) {
  onnxc_graph *graph = ONNXC_NEW(&f->arena, onnxc_graph);
  onnxc_graph_init(graph, &f->arena, &f->diag);
  cr_assert_eq(parse(f, tuning, strlen(tuning)), ONNXC_OK, "%s", f->diag.text);
  cr_assert_eq(onnxc_graph_parse(graph, "g", source, strlen(source)), ONNXC_OK, "%s", f->diag.text);
  onnxc_tile_program_init(program, graph, onnxc_target_find(target, strlen(target)));
  program->tuning = &f->tuning;
  cr_assert_eq(onnxc_tile_lower(program), ONNXC_OK, "%s", f->diag.text);
  cr_assert_eq(onnxc_tile_verify(program), ONNXC_OK, "%s", f->diag.text);
  onnxc_text text;
  onnxc_text_init(&text, &f->arena);
  onnxc_tile_print(program, &text);
  return text.data;
}

static const char *gemm(fixture *f, const char *m, int n, int k, int panel) {
  return onnxc_arena_printf(&f->arena,
                            "graph @gemm(%%x: f32[%s, %d]) {\n  %%w = constant splat 0.5 : f32[%d, %d][1 0 1:%d]\n"
                            "  %%y = compute(%%x, %%w) <i0: %s, i1: %d | r0: %d>\n"
                            "    f32 add mul($0[i0, r0], $1[r0, i1]) init 0 -> max(acc0, 0)\n"
                            "    contraction(a=0, b=1, roles=m n k) : f32[%s, %d]\n  return %%y\n}\n",
                            m, k, k, n, panel, m, n, k, m, n);
}

Test(tile_tuning, is_obeyed) {
  fixture *f = begin();
  onnxc_tile_program program;
  const char *graph = gemm(f, "%M", 100, 300, 64);
  const char *usual = lower(f, &program, graph, "znver5", "");
  cr_assert_eq(program.products.length, 1);
  onnxc_tuned product = program.products.data[0];
  cr_expect_eq(product.key.extent[ONNXC_PRODUCT_K], 300);
  cr_expect(product.key.open[ONNXC_PRODUCT_M] && !product.key.open[ONNXC_PRODUCT_N]);
  cr_expect_eq(product.key.epilogue, ONNXC_EPILOGUE_LIGHT);
  product.values =
      (onnxc_product_values){.tile = 5, .unroll = 3, .rows = 35, .columns = 64, .depth = 80, .ahead = 640, .lines = 7};
  onnxc_text line;
  onnxc_text_init(&line, &f->arena);
  onnxc_tuning_print(&product.key, &product.values, &line);
  const char *tuned = lower(f, &program, graph, "znver5", line.data);
  static const char *const wanted[] = {"rows(i0 5)", "unroll(3)",  "f32[35, 64] = scratch",
                                       "step 64",    "step 80",    "ahead(1 640 x 7)",
                                       "# tile 5x4", "parts of 80"};
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
    cr_expect(strstr(tuned, wanted[i]), "%s is missing:\n%s", wanted[i], tuned);
    cr_expect(!strstr(usual, wanted[i]) || strcmp(wanted[i], "step 64") == 0, "%s\n%s", wanted[i], usual);
  }
  cr_assert_eq(program.products.length, 1);
  cr_expect(memcmp(&program.products.data[0].values, &product.values, sizeof product.values) == 0);
  /* Other CPUs have lines of their own. */
  cr_expect_str_eq(lower(f, &program, graph, "sapphirerapids", line.data),
                   lower(f, &program, graph, "sapphirerapids", ""));
  onnxc_arena_free(&f->arena);
}

Test(tile_predict, what_bounds) {
  static const struct {
    const char *m, *bound;
    int n, k;
    double low, high;
  } cases[] = {
      {"1024", "fma", 1024, 1024, 0.93, 1},    {"128", "fma", 768, 3072, 0.93, 1},
      {"1", "memory", 4096, 4096, 0.03, 0.15}, {"16", "memory", 4096, 4096, 0.5, 0.95},
      {"4", "calls", 16, 8, 0, 0.3},           {"2", "latency", 16, 4096, 0.05, 0.5},
  };
  fixture *f = begin();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    onnxc_tile_program program;
    onnxc_prediction p;
    const char *text =
        lower(f, &program, gemm(f, cases[i].m, cases[i].n, cases[i].k, cases[i].n < 64 ? 16 : 64), "znver5", "");
    cr_assert(onnxc_predict(&program, &program.stages.data[0], &p), "%s", text);
    cr_expect(p.share > cases[i].low && p.share < cases[i].high, "%s", text);
    cr_expect_str_eq(p.bound, cases[i].bound, "%s", text);
    cr_expect(strstr(text, onnxc_prediction_text(&f->arena, &p)), "%s", text);
  }
  onnxc_arena_free(&f->arena);
}
