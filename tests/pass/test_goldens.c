/* test_goldens.c -- the golden tests of the passes: every *.ir file of this folder.
 *
 *     # pass: fold, dce              the passes to run, in order
 *     # precision: bf16            the option of this name; outputs may differ by what bf16 loses
 *     # sizes: N=3 M=8 | N=4         values of symbols for the evaluation, or for several (others: 2, 3, 4, ..)
 *     # winograd: 2                  onnxc_pass_options.winograd
 *     graph @name(..) { .. }         before
 *     # expect:
 *     graph @name(..) { .. }         after, as printed
 *
 * The graph after the passes must print as expected, and must parse and print again to the same text. Before and after
 * it is evaluated on the same seeded random inputs, and the outputs must agree. Instead of a graph,
 * `# error: text` expects that the passes fail with a message that holds the text.
 * With ONNXC_UPDATE_GOLDENS=1 in the environment the files are rewritten from what the passes did.
 */
#include <criterion/criterion.h>

#include "ir/eval.h"
#include "ir/verify.h"
#include "pass/pass.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILES = 256, MAX_INPUTS = 16 };

typedef struct golden {
  const char *path;
  char *text, *source, *expected; /* expected points into text, or NULL */
  char passes[256], error[256], all_sizes[256], precision[16], winograd[8];
  const char *sizes; /* from those of the evaluation in progress on */
  onnxc_arena arena;
  onnxc_guard guard;
} golden;

static char *read_file(onnxc_arena *arena, const char *path) {
  FILE *file = fopen(path, "rb");
  cr_assert(file, "%s does not open", path);
  fseek(file, 0, SEEK_END);
  long size = ftell(file);
  fseek(file, 0, SEEK_SET);
  char *text = onnxc_arena_alloc(arena, (size_t)size + 1);
  cr_assert_eq(fread(text, 1, (size_t)size, file), (size_t)size);
  fclose(file);
  return text;
}

static void header_line(const char *text, const char *key, char *out, size_t size) {
  const char *at = strstr(text, key);
  out[0] = '\0';
  if (at && (at == text || at[-1] == '\n')) {
    at += strlen(key);
    at += strspn(at, " ");
    snprintf(out, size, "%.*s", (int)strcspn(at, "\n"), at);
  }
}

static void read_golden(golden *g) {
  g->text = read_file(&g->arena, g->path);
  header_line(g->text, "# pass:", g->passes, sizeof g->passes);
  header_line(g->text, "# error:", g->error, sizeof g->error);
  header_line(g->text, "# sizes:", g->all_sizes, sizeof g->all_sizes);
  header_line(g->text, "# precision:", g->precision, sizeof g->precision);
  header_line(g->text, "# winograd:", g->winograd, sizeof g->winograd);
  cr_assert(g->passes[0], "%s: no '# pass:' line", g->path);
  char *mark = strstr(g->text, "\n# expect:\n");
  g->expected = mark ? mark + strlen("\n# expect:\n") : NULL;
  size_t length = mark ? (size_t)(mark - g->text) + 1 : strlen(g->text);
  g->source = onnxc_arena_copy_string(&g->arena, g->text, length);
}

/* ---- evaluation ---- */

static uint64_t random_state;
static double random_unit(void) {
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return (double)(random_state >> 11) / 9007199254740992.0;
}

static int64_t size_of(const golden *g, const onnxc_symbol *symbol, uint32_t number) {
  char key[128];
  snprintf(key, sizeof key, "%s=", symbol->name);
  const char *end = g->sizes + strcspn(g->sizes, "|");
  for (const char *at = strstr(g->sizes, key); at && at < end; at = strstr(at + 1, key))
    if (at == g->sizes || at[-1] == ' ')
      return strtoll(at + strlen(key), NULL, 10);
  int64_t value = 1 + (int64_t)number % 4;
  return value < symbol->low ? symbol->low : value > symbol->high ? symbol->high : value;
}

/* Inputs that fit the graph's declarations; elements of integer inputs that name symbols get their sizes. */
static uint32_t make_inputs(golden *g, onnxc_graph *graph, onnxc_array *inputs) {
  int64_t *symbols = ONNXC_NEW_ARRAY(&g->arena, int64_t, graph->dims.symbols.length);
  for (uint32_t s = 1; s < graph->dims.symbols.length; s++)
    symbols[s] = size_of(g, &graph->dims.symbols.data[s], s);
  random_state = 42;
  cr_assert_leq(graph->inputs.length, MAX_INPUTS);
  for (uint32_t k = 0; k < graph->inputs.length; k++) {
    onnxc_value value = graph->inputs.data[k];
    const onnxc_value_info *info = onnxc_value_of(graph, value);
    onnxc_array *array = &inputs[k];
    *array = (onnxc_array){.dtype = info->dtype, .rank = info->rank};
    for (uint32_t d = 0; d < info->rank; d++)
      cr_assert(onnxc_dim_eval(&graph->dims, info->dims[d], symbols, &array->dims[d]));
    int64_t count = onnxc_array_count(array);
    size_t bytes = onnxc_dtype_bytes(info->dtype);
    char *data = array->data = ONNXC_NEW_ARRAY(&g->arena, char, (size_t)count *bytes);
    for (int64_t i = 0; i < count; i++)
      if (onnxc_dtype_is_float(info->dtype))
        onnxc_scalar_from_f64(info->dtype, data + (size_t)i * bytes, random_unit() * 4 - 2);
      else
        onnxc_scalar_from_i64(info->dtype, data + (size_t)i * bytes, (int64_t)(random_unit() * 3));
    for (uint32_t s = 1; s < graph->dims.symbols.length; s++) {
      const onnxc_symbol *symbol = &graph->dims.symbols.data[s];
      if (symbol->source == ONNXC_SYM_ELEMENT && symbol->index == value.i && symbol->axis < count)
        onnxc_scalar_from_i64(info->dtype, data + symbol->axis * bytes, symbols[s]);
    }
  }
  return graph->inputs.length;
}

static void expect_same(const golden *g, const onnxc_array *a, const onnxc_array *b, uint32_t k) {
  cr_assert(a->dtype == b->dtype && a->rank == b->rank, "%s: output %u has another type", g->path, k);
  for (uint32_t d = 0; d < a->rank; d++)
    cr_assert_eq(a->dims[d], b->dims[d], "%s: output %u, dim %u", g->path, k, d);
  size_t bytes = onnxc_dtype_bytes(a->dtype);
  for (int64_t i = 0; i < onnxc_array_count(a); i++) {
    double x = onnxc_scalar_to_f64(a->dtype, (const char *)a->data + (size_t)i * bytes);
    double y = onnxc_scalar_to_f64(b->dtype, (const char *)b->data + (size_t)i * bytes);
    bool narrow = bytes < 4 || g->precision[0];
    double tolerance = onnxc_dtype_is_float(a->dtype) ? (narrow ? 1e-2 : 1e-5) * (1 + fabs(x)) : 0;
    cr_assert(x == y || (isnan(x) && isnan(y)) || fabs(x - y) <= tolerance, "%s: output %u, element %lld: %g, was %g",
              g->path, k, (long long)i, y, x);
  }
}

/* ---- one file ---- */

static void parse(golden *g, onnxc_graph *graph, onnxc_diag *diag, const char *source) {
  onnxc_diag_clear(diag);
  onnxc_graph_init(graph, &g->arena, diag);
  onnxc_status status = onnxc_graph_parse(graph, g->path, source, strlen(source));
  if (status == ONNXC_OK)
    status = onnxc_graph_verify(graph, "parse");
  cr_assert_eq(status, ONNXC_OK, "%s", diag->text);
}

static const char *print(golden *g, const onnxc_graph *graph) {
  onnxc_text text;
  onnxc_text_init(&text, &g->arena);
  onnxc_graph_print(graph, &text, SIZE_MAX);
  return text.data;
}

static void update(const golden *g, const char *printed) {
  FILE *file = fopen(g->path, "wb");
  cr_assert(file, "%s cannot be written", g->path);
  fprintf(file, "%s# expect:\n%s", g->source, printed);
  fclose(file);
}

static void compare(golden *g, onnxc_graph *before, onnxc_graph *graph) {
  onnxc_array inputs[MAX_INPUTS];
  onnxc_eval expected, actual;
  uint32_t num_inputs = make_inputs(g, before, inputs);
  cr_assert_eq(onnxc_eval_graph(&expected, before, &g->arena, inputs, num_inputs), ONNXC_OK, "%s: before: %s", g->path,
               before->diag->text);
  cr_assert_eq(onnxc_eval_graph(&actual, graph, &g->arena, inputs, num_inputs), ONNXC_OK, "%s: after: %s", g->path,
               graph->diag->text);
  cr_assert_eq(before->outputs.length, graph->outputs.length);
  for (uint32_t k = 0; k < graph->outputs.length; k++)
    expect_same(g, &expected.arrays[before->outputs.data[k].i], &actual.arrays[graph->outputs.data[k].i], k);
}

static void run_golden(golden *g) {
  static onnxc_diag diag;
  onnxc_graph before, graph, again;
  read_golden(g);
  parse(g, &before, &diag, g->source);
  parse(g, &graph, &diag, g->source);
  onnxc_pass_options options = {.target = onnxc_target_find("x86-64-v3", strlen("x86-64-v3")),
                                .verify = true,
                                .bf16 = strcmp(g->precision, "bf16") == 0};
  options.winograd = (uint32_t)strtoul(g->winograd, NULL, 10);
  onnxc_status status = onnxc_run_passes(&graph, g->passes, &options);
  if (g->error[0]) {
    cr_assert_neq(status, ONNXC_OK, "%s: the passes succeed", g->path);
    cr_assert(strstr(diag.text, g->error), "%s: %s", g->path, diag.text);
    return;
  }
  cr_assert_eq(status, ONNXC_OK, "%s: %s", g->path, diag.text);
  const char *printed = print(g, &graph);
  if (getenv("ONNXC_UPDATE_GOLDENS"))
    update(g, printed);
  else
    cr_expect(g->expected && strcmp(g->expected, printed) == 0, "%s: not as expected, but\n%s", g->path, printed);

  for (const char *at = g->all_sizes; at; at = strchr(at, '|')) {
    at += *at == '|';
    g->sizes = at;
    compare(g, &before, &graph);
  }

  parse(g, &again, &diag, printed);
  cr_expect_str_eq(print(g, &again), printed, "%s: what is printed parses to another graph", g->path);
}

static void run_file(const char *path) {
  golden g = {.path = path};
  if (setjmp(g.guard.env))
    abort();
  onnxc_arena_init(&g.arena, &g.guard);
  run_golden(&g);
  onnxc_arena_free(&g.arena);
}

typedef struct path_of {
  char text[512];
} path_of;

static int by_name(const void *a, const void *b) {
  return strcmp(((const path_of *)a)->text, ((const path_of *)b)->text);
}

Test(pass, goldens) {
  path_of paths[MAX_FILES];
  int count = 0;
  DIR *directory = opendir(ONNXC_TEST_DATA);
  cr_assert(directory, "%s does not open", ONNXC_TEST_DATA);
  for (struct dirent *entry; (entry = readdir(directory)) && count < MAX_FILES;) {
    size_t length = strlen(entry->d_name);
    if (length < 4 || strcmp(entry->d_name + length - 3, ".ir") != 0)
      continue;
    snprintf(paths[count++].text, sizeof paths->text, "%s/%s", ONNXC_TEST_DATA, entry->d_name);
  }
  closedir(directory);
  cr_assert_geq(count, 18, "only %d goldens", count);
  qsort(paths, (size_t)count, sizeof *paths, by_name);
  for (int i = 0; i < count; i++)
    run_file(paths[i].text);
}
