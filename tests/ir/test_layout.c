/* Layouts: the axes' numbers against the definition in layout.h, symbolic offsets
 * against numeric ones, and copies between all pairs against one element at a time. */
#include "ir/layout.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
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
TestSuite(layout, .init = setup, .fini = teardown);

static onnxc_layout parse(const char *text, uint32_t rank) {
  onnxc_layout layout;
  const char *at = text;
  const char *error = onnxc_layout_parse(&layout, rank, &at);
  cr_assert(!error && !*at, "%s: %s", text, error ? error : "trailing text");
  return layout;
}

Test(layout, known_offsets) {
  static const struct {
    const char *text;
    uint32_t rank;
    int64_t shape[4], index[4], offset, size;
  } rows[] = {
      {"[0 1]", 2, {3, 5}, {1, 2}, 7, 15},
      {"[1 0]", 2, {3, 5}, {1, 2}, 7, 15},
      {"[1 0 1:4]", 2, {3, 5}, {1, 4}, 16, 24},
      {"[0 2 3 1]", 4, {2, 3, 4, 5}, {1, 2, 3, 4}, 119, 120},
      {"[0 1 2 3 1:16]", 4, {1, 20, 4, 5}, {0, 17, 3, 4}, 625, 640},
      {"[1 0 1:32 0:2]", 2, {4, 64}, {3, 40}, 209, 256},
      {"[0 2:+1+1 3:+1+2 1]", 4, {1, 3, 4, 5}, {0, 2, -1, -1}, 2, 144},
      {"[0 2:+1+1 3:+1+2 1]", 4, {1, 3, 4, 5}, {0, 0, 3, 4}, 111, 144},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    onnxc_layout layout = parse(rows[i].text, rows[i].rank);
    cr_expect(onnxc_layout_offset_of(&layout, rows[i].rank, rows[i].shape, rows[i].index) == rows[i].offset, "%s",
              rows[i].text);
    cr_expect(onnxc_layout_size_of(&layout, rows[i].rank, rows[i].shape) == rows[i].size, "%s", rows[i].text);
    char text[200];
    onnxc_layout_print(&layout, rows[i].rank, text, sizeof text);
    cr_expect_str_eq(text, rows[i].text);
  }
  onnxc_layout none = {0};
  cr_expect(onnxc_layout_is_default(&none, 2));
  onnxc_layout plain = parse("[0 1]", 2), swapped = parse("[1 0]", 2);
  cr_expect(onnxc_layout_is_default(&plain, 2) && onnxc_layout_equal(&plain, &none, 2));
  cr_expect(!onnxc_layout_is_default(&swapped, 2) && !onnxc_layout_equal(&plain, &swapped, 2));
  int64_t huge[2] = {INT64_MAX / 2, 5};
  cr_expect(onnxc_layout_size_of(&plain, 2, huge) == -1);
}

Test(layout, syntax_errors) {
  static const char *const rows[] = {"",
                                     "[0]",
                                     "[0 1",
                                     "[0 2]",
                                     "[0 0 1]",
                                     "[1:4 0 1]",
                                     "[0 1 1:0]",
                                     "[0 1:x]",
                                     "[0 1:+1]",
                                     "[0 1 1:70000]",
                                     "[0 1 1:+1+1]",
                                     "[0 1 1:60000 1:60000 1:60000]",
                                     "[0 1 0:2 0:2 0:2 0:2 0:2 0:2 0:2 0:2 0:2 0:2 0:2 0:2 0:2 0:2 0:2]"};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    onnxc_layout layout;
    const char *at = rows[i];
    cr_expect(onnxc_layout_parse(&layout, 2, &at) != NULL, "%s", rows[i]);
  }
}

static const char *const pairs2[] = {
    "[0 1]",      "[1 0]",          "[1 0 1:64]",         "[1 0 1:16]",        "[1 0 1:4 0:2]",
    "[0 1:+2+3]", "[0 1 1:6]",      "[0:+1+0 1 1:8 0:4]", "[0 1 0:4 1:4 0:2]", "[0 1:+1+1 1:4]",
    "[1 0 0:3]",  "[1 0 1:48 0:2]", "[1 0 1:16 0:4]"};
static const char *const pairs4[] = {
    "[0 1 2 3]",           "[0 2 3 1]",         "[0 1 2 3 1:16]", "[0 2:+1+1 3:+1+1 1]",
    "[1 2:+2+2 3:+1+0 0]", "[0 1 2 3 1:8 0:2]", "[3 2 1 0]",      "[0 1 2:+1+1 3:+1+1 1:4]"};

static void check_copy(const char *const *list, size_t count, uint32_t rank, const int64_t *shape, size_t elem) {
  int64_t elements = 1;
  for (uint32_t d = 0; d < rank; d++)
    elements *= shape[d];
  for (size_t i = 0; i < count; i++)
    for (size_t j = 0; j < count; j++) {
      onnxc_layout from = parse(list[i], rank), to = parse(list[j], rank);
      size_t from_size = (size_t)onnxc_layout_size_of(&from, rank, shape) * elem;
      size_t to_size = (size_t)onnxc_layout_size_of(&to, rank, shape) * elem;
      unsigned char *source = malloc(from_size + 1), *got = malloc(to_size + 1), *want = calloc(1, to_size + 1);
      for (size_t b = 0; b < from_size; b++)
        source[b] = (unsigned char)(1 + rand() % 255);
      memset(got, 0xee, to_size + 1);
      want[to_size] = 0xee;
      for (int64_t k = 0; k < elements; k++) {
        int64_t index[ONNXC_MAX_RANK], rest = k;
        for (uint32_t d = rank; d-- > 0; rest /= shape[d])
          index[d] = rest % shape[d];
        memcpy(want + (size_t)onnxc_layout_offset_of(&to, rank, shape, index) * elem,
               source + (size_t)onnxc_layout_offset_of(&from, rank, shape, index) * elem, elem);
      }
      onnxc_layout_copy(got, &to, source, &from, rank, shape, elem);
      cr_expect(memcmp(got, want, to_size + 1) == 0, "%s to %s, %lld x %lld.., %zu bytes", list[i], list[j],
                (long long)shape[0], (long long)shape[1], elem);
      /* In parts, in any order: the same, but for padding. */
      const uint32_t parts = 1 + (uint32_t)(i + j) % 5;
      memset(got, 0, to_size);
      for (uint32_t part = parts; part-- > 0;)
        onnxc_layout_copy_part(got, &to, source, &from, rank, shape, elem, part, parts);
      cr_expect(memcmp(got, want, to_size + 1) == 0, "%s to %s in %u parts", list[i], list[j], parts);
      free(source);
      free(got);
      free(want);
    }
}

Test(layout, copies) {
  static const int64_t shapes2[][2] = {{1, 1},    {5, 7},    {64, 128}, {33, 65}, {3, 200},
                                       {9, 1000}, {150, 70}, {0, 5},    {4, 0}};
  static const int64_t shapes4[][4] = {{1, 3, 4, 5}, {2, 16, 3, 3}, {3, 21, 5, 7}, {1, 1, 1, 1}, {2, 0, 3, 4}};
  static const size_t sizes[] = {1, 2, 4, 8, 16};
  for (size_t e = 0; e < 5; e++) {
    for (size_t s = 0; s < sizeof shapes2 / sizeof *shapes2; s++)
      check_copy(pairs2, sizeof pairs2 / sizeof *pairs2, 2, shapes2[s], sizes[e]);
    for (size_t s = 0; s < sizeof shapes4 / sizeof *shapes4; s++)
      check_copy(pairs4, sizeof pairs4 / sizeof *pairs4, 4, shapes4[s], sizes[e]);
  }
  float from = 3, to = 0;
  onnxc_layout scalar = {0};
  onnxc_layout_copy(&to, &scalar, &from, &scalar, 0, NULL, sizeof from);
  cr_expect(to == 3);
}

/* Offsets as dims, evaluated, are the offsets as numbers. */
Test(layout, symbolic_offsets) {
  for (size_t i = 0; i < sizeof pairs4 / sizeof *pairs4; i++) {
    onnxc_layout layout = parse(pairs4[i], 4);
    onnxc_dim shape[4], index[4];
    int64_t numbers[4], at[4];
    for (uint32_t d = 0; d < 4; d++) {
      onnxc_sym extent = onnxc_sym_new(&dims, NULL, ONNXC_SYM_FREE, 0, 0);
      onnxc_sym position = onnxc_sym_new(&dims, NULL, ONNXC_SYM_FREE, 0, 0);
      shape[d] = onnxc_dim_sym(&dims, extent);
      index[d] = onnxc_dim_sym(&dims, position);
    }
    onnxc_dim offset = onnxc_layout_offset(&dims, &layout, 4, shape, index);
    onnxc_dim extents[ONNXC_LAYOUT_MAX_AXES], strides[ONNXC_LAYOUT_MAX_AXES];
    onnxc_layout full = onnxc_layout_explicit(&layout, 4);
    onnxc_dim size = onnxc_layout_strides(&dims, &full, 4, shape, extents, strides);
    for (int round = 0; round < 50; round++) {
      int64_t *all = calloc(dims.symbols.length, sizeof *all);
      for (uint32_t d = 0; d < 4; d++) {
        numbers[d] = 1 + rand() % 40;
        at[d] = rand() % numbers[d] - layout.low[d];
        all[onnxc_dims_node(&dims, shape[d])->sym.i] = numbers[d];
        all[onnxc_dims_node(&dims, index[d])->sym.i] = at[d];
      }
      int64_t value;
      cr_assert(onnxc_dim_eval(&dims, offset, all, &value));
      cr_expect(value == onnxc_layout_offset_of(&layout, 4, numbers, at), "%s", pairs4[i]);
      cr_assert(onnxc_dim_eval(&dims, size, all, &value));
      cr_expect(value == onnxc_layout_size_of(&layout, 4, numbers), "%s", pairs4[i]);
      free(all);
    }
  }
}
