/* Dims: the canonical forms that the compiler relies on, and every rule against
 * evaluation over all small symbol values. */
#include "ir/dim.h"

#include <criterion/criterion.h>
#include <string.h>

static onnxc_guard guard;
static onnxc_arena arena;
static onnxc_dims dims;

static void setup(void) {
  if (setjmp(guard.env))
    abort();
  onnxc_arena_init(&arena, &guard);
  onnxc_dims_init(&dims, &arena);
}
static void teardown(void) { onnxc_arena_free(&arena); }
TestSuite(dim, .init = setup, .fini = teardown);

static void symbol(const char *name, int64_t low, int64_t high, int64_t divisor) {
  onnxc_symbol *s = onnxc_dims_symbol(&dims, onnxc_sym_new(&dims, name, ONNXC_SYM_FREE, 0, 0));
  s->low = low;
  s->high = high;
  s->divisor = divisor;
}

static onnxc_dim parse(const char *text) {
  const char *at = text, *error = NULL;
  onnxc_dim dim = onnxc_dim_parse(&dims, &at, &error);
  cr_assert(dim.i && !*at, "'%s' at '%s': %s", text, at, error ? error : "trailing text");
  return dim;
}

Test(dim, canonical_forms) {
  symbol("i", 0, 99, 1);
  symbol("j", 0, 7, 1);
  symbol("t", 0, 19, 1);
  symbol("H", 1, 4096, 1);
  symbol("W", 1, 4096, 1);
  symbol("D", 64, 4096, 64);
  static const char *const rows[][2] = {
      {"%i + %j - %i", "%j"},
      {"3*%H + 2 - 2*%H - %H", "2"},
      {"%H*%W - %W*%H", "0"},
      {"(%H + 1)*(%W + 2)", "2*%H + %H*%W + %W + 2"},
      {"%i floordiv 1", "%i"},
      {"%i ceildiv 1", "%i"},
      {"(8*%i + 3) floordiv 8", "%i"},
      {"(8*%i + %j) floordiv 8", "%i"},
      {"(8*%i + %j) mod 8", "%j"},
      {"%j floordiv 8", "0"},
      {"%j mod 8", "%j"},
      {"(10*%i + 3) floordiv 8", "%i + (%i + 1) floordiv 4"},
      {"(6*%i) floordiv 4", "%i + %i floordiv 2"},
      {"%H floordiv 2 floordiv 3", "%H floordiv 6"},
      {"(%H + 7) floordiv 8", "(%H + 7) floordiv 8"},
      {"%H ceildiv 8", "(%H + 7) floordiv 8"},
      {"(%H + 2 - 3) floordiv 2 + 1", "(%H + 1) floordiv 2"},
      {"%D floordiv 64 * 64", "64*(%D floordiv 64)"},
      {"%D mod 32", "0"},
      {"(%D + %j) mod 64", "%j"},
      {"(%D + %j) floordiv 64", "%D floordiv 64"},
      {"(%i mod 64) mod 16", "%i mod 16"},
      {"8*(%i floordiv 8) + %i mod 8", "%i"},
      {"%W*(%i floordiv %W) + %i mod %W", "%i"},
      {"2*%W*(%i floordiv %W) + 2*(%i mod %W) + 1", "2*%i + 1"},
      {"(%H*%W) floordiv %W", "%H"},
      {"(6*%H*%W) floordiv (2*%W)", "3*%H"},
      {"(%H*%W + %W) floordiv %W", "%H + 1"},
      {"(%H*%W) mod %H", "0"},
      {"(%H + %W) floordiv (%H + %W)", "1"},
      {"(2*%H + 2*%W) floordiv (%H + %W)", "2"},
      {"(32*%i + 24 + %j) floordiv 64", "%i floordiv 2"},
      {"(8*%i + 4*%t + %j) floordiv 4", "2*%i + %j floordiv 4 + %t"},
      {"(32*%i + 48 + %j) floordiv 64", "(%i + 1) floordiv 2"},
      {"(32*%i + %j) mod 64", "%j + 32*(%i mod 2)"},
      {"min(4, 80 - 4*%t)", "4"},
      {"min(6, 80 - 6*%t)", "min(6, 80 - 6*%t)"},
      {"min(%H, %H + 1)", "%H"},
      {"max(%H, %H + 1)", "%H + 1"},
      {"max(%H, 1)", "%H"},
      {"min(min(%H, 5), 3)", "min(%H, 3)"},
      {"min(min(%H, %W), %W)", "min(%H, %W)"},
      {"eq(%H, %H)", "1"},
      {"eq(%H, 0)", "0"},
      {"eq(2*%H, 2*%W + 1)", "0"},
      {"eq(%H, %W)", "eq(%H, %W)"},
      {"%i floordiv 0", "0"},
      {"%i floordiv -4", "-((%i + 3) floordiv 4)"},
      {"-7 mod 4", "1"},
      {"-7 floordiv 4", "-2"},
      {"-%j*3", "-3*%j"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char text[200];
    onnxc_dim_print(&dims, parse(rows[i][0]), text, sizeof text);
    cr_expect_str_eq(text, rows[i][1], "%s gives %s", rows[i][0], text);
    onnxc_dim again = parse(text);
    cr_expect(onnxc_dim_same(again, parse(rows[i][0])), "'%s' parses back to another dim", text);
  }
}

/* ---- random expressions against plain evaluation ---- */

static uint64_t seed = 1;
static uint32_t random_below(uint32_t n) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(seed >> 33) % n;
}

static int64_t floor_div(int64_t a, int64_t b) { return b ? a / b - (a % b != 0 && (a < 0) != (b < 0)) : 0; }

enum { POINTS = 12, SYMBOLS = 4 };
static int64_t points[POINTS][SYMBOLS + 1];

typedef struct sample {
  onnxc_dim dim;
  int64_t at[POINTS];
} sample;

static sample random_sample(int depth) {
  sample s, x, y;
  if (depth == 0) {
    uint32_t which = random_below(SYMBOLS + 2);
    if (which < SYMBOLS) {
      s.dim = onnxc_dim_sym(&dims, (onnxc_sym){which + 1});
      for (int p = 0; p < POINTS; p++)
        s.at[p] = points[p][which + 1];
    } else {
      int64_t value = (int64_t)random_below(13) - 4;
      s.dim = onnxc_dim_const(&dims, value);
      for (int p = 0; p < POINTS; p++)
        s.at[p] = value;
    }
    return s;
  }
  x = random_sample(depth - 1);
  y = random_sample(depth - 1 - (int)random_below((uint32_t)depth));
  uint32_t op = random_below(8);
  if (op == 3 || op == 4) { /* divisors: constants, and symbols that are not zero */
    static const int64_t by[] = {2, 3, 4, 8, 16, -3, 1};
    if (random_below(4)) {
      int64_t value = by[random_below(7)];
      y.dim = onnxc_dim_const(&dims, value);
      for (int p = 0; p < POINTS; p++)
        y.at[p] = value;
    } else {
      y.dim = onnxc_dim_sym(&dims, (onnxc_sym){3 + random_below(2)});
      for (int p = 0; p < POINTS; p++)
        y.at[p] = points[p][onnxc_dims_node(&dims, y.dim)->sym.i];
    }
  }
  static onnxc_dim (*const functions[])(onnxc_dims *, onnxc_dim,
                                        onnxc_dim) = {onnxc_dim_add, onnxc_dim_sub, onnxc_dim_mul, onnxc_dim_floordiv,
                                                      onnxc_dim_mod, onnxc_dim_min, onnxc_dim_max, onnxc_dim_eq};
  s.dim = functions[op](&dims, x.dim, y.dim);
  for (int p = 0; p < POINTS; p++) {
    int64_t a = x.at[p], b = y.at[p];
    int64_t values[] = {a + b,         a - b,         a * b, floor_div(a, b), b ? a - floor_div(a, b) * b : 0,
                        a < b ? a : b, a > b ? a : b, a == b};
    s.at[p] = values[op];
  }
  return s;
}

Test(dim, rules_agree_with_evaluation) {
  symbol("a", 0, 30, 1);
  symbol("b", 0, 64, 4);
  symbol("c", 1, 9, 1);
  symbol("d", 8, 64, 8);
  onnxc_dims other;
  onnxc_dims_init(&other, &arena);
  for (int p = 0; p < POINTS; p++) {
    points[p][1] = random_below(31);
    points[p][2] = 4 * (int64_t)random_below(17);
    points[p][3] = 1 + random_below(9);
    points[p][4] = 8 + 8 * (int64_t)random_below(8);
  }
  for (int round = 0; round < 20000; round++) {
    sample s = random_sample(1 + (int)random_below(4));
    int64_t low, high;
    onnxc_dim_range(&dims, s.dim, &low, &high);
    const char *text = onnxc_dim_text(&dims, s.dim);
    for (int p = 0; p < POINTS; p++) {
      int64_t value;
      cr_assert(onnxc_dim_eval(&dims, s.dim, points[p], &value));
      cr_assert(value == s.at[p], "%s is %lld, should be %lld (round %d)", text, (long long)value, (long long)s.at[p],
                round);
      cr_assert(low <= value && value <= high, "%s = %lld not in %lld..%lld", text, (long long)value, (long long)low,
                (long long)high);
    }
    const char *at = text, *error;
    onnxc_dim again = onnxc_dim_parse(&dims, &at, &error);
    cr_assert(onnxc_dim_same(again, s.dim), "%s parses to %s", text, onnxc_dim_text(&dims, again));
  }
  cr_expect(!dims.too_complex);
}

Test(dim, substitution) {
  symbol("i", 0, 99, 1);
  symbol("H", 1, 4096, 1);
  onnxc_dim map[3] = {{0}, {0}, {0}};
  map[1] = parse("8*%H + 3");
  onnxc_dim result = onnxc_dim_substitute(&dims, parse("%i floordiv 8 + min(%i, 2) + 2*%i"), map, 3);
  cr_expect_str_eq(onnxc_dim_text(&dims, result), "17*%H + 8");
  cr_expect(onnxc_dim_uses(&dims, parse("3*(%i mod 5)"), (onnxc_sym){1}));
  cr_expect(!onnxc_dim_uses(&dims, result, (onnxc_sym){1}));
}

Test(dim, overflow_is_reported_not_wrapped) {
  onnxc_dim big = onnxc_dim_const(&dims, INT64_MAX);
  onnxc_dim sums[] = {onnxc_dim_addc(&dims, big, 1), onnxc_dim_mulc(&dims, big, 2), onnxc_dim_mul(&dims, big, big),
                      onnxc_dim_mulc(&dims, onnxc_dim_const(&dims, INT64_MIN), -1)};
  int64_t value, low, high;
  for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
    cr_expect(!onnxc_dim_is_const(&dims, sums[i], &value));
    cr_expect(!onnxc_dim_eval(&dims, sums[i], NULL, &value), "%s", onnxc_dim_text(&dims, sums[i]));
    onnxc_dim_range(&dims, sums[i], &low, &high);
    cr_expect(high == INT64_MAX);
  }
  /* An overflow that goes away again is none. */
  onnxc_dim back = onnxc_dim_sub(&dims, onnxc_dim_addc(&dims, big, 1), big);
  cr_expect(onnxc_dim_eval(&dims, back, NULL, &value) == false || value == 1);
}

Test(dim, hostile_growth_ends) {
  symbol("a", 0, 1000, 1);
  symbol("b", 0, 1000, 1);
  onnxc_dim x = parse("%a");
  for (int i = 0; i < 10000; i++)
    x = onnxc_dim_max(&dims, onnxc_dim_floordiv(&dims, onnxc_dim_add(&dims, x, parse("3*%b")), parse("7")),
                      onnxc_dim_mod(&dims, x, parse("%b")));
  cr_expect(dims.too_complex);
  onnxc_dim_hint(&dims, x);
}

Test(dim, names) {
  onnxc_sym a = onnxc_sym_new(&dims, "x", ONNXC_SYM_FREE, 0, 0), b = onnxc_sym_new(&dims, "x", ONNXC_SYM_FREE, 0, 0);
  cr_expect(a.i != b.i);
  cr_expect(strcmp(onnxc_dims_symbol(&dims, a)->name, onnxc_dims_symbol(&dims, b)->name) != 0);
  for (int i = 0; i < 1000; i++)
    onnxc_sym_new(&dims, NULL, ONNXC_SYM_FREE, 0, 0);
  cr_expect(onnxc_sym_find(&dims, "x", 1).i == a.i);
  cr_expect(onnxc_sym_find(&dims, "nothing", 7).i == 0);
  onnxc_sym odd = onnxc_sym_new(&dims, "batch \"1\"\\\n é", ONNXC_SYM_FREE, 0, 0);
  onnxc_dim dim = onnxc_dim_sym(&dims, odd);
  cr_expect(onnxc_dim_same(parse(onnxc_dim_text(&dims, dim)), dim), "%s", onnxc_dim_text(&dims, dim));
}

Test(dim, syntax_errors) {
  char deep[2000];
  memset(deep, '(', sizeof deep - 1);
  deep[sizeof deep - 1] = 0;
  const char *const rows[] = {"",       "%",   "4 +", "(4",       "min(4 5)",  "max(4,", "99999999999999999999",
                              "%\"abc", "* 4", "- ",  "%\"\\q\"", "foo(1, 2)", deep};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const char *at = rows[i], *error = NULL;
    onnxc_dim dim = onnxc_dim_parse(&dims, &at, &error);
    cr_expect(dim.i == 0 && error, "'%.20s' must not parse", rows[i]);
  }
}
