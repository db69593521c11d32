/* Every encoding of TensorProto, decoded to the same bytes; sizes that do not fit; external data. */
#include "load.h"
#include "wire.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

typedef struct fixture {
  onnxc_guard guard;
  onnxc_arena arena;
  onnxc_diag diag;
  onnxc_onnx_file *file;
} fixture;

static void set_up(fixture *f) {
  memset(f, 0, sizeof *f);
  onnxc_arena_init(&f->arena, &f->guard);
}

static void tear_down(fixture *f) {
  onnxc_onnx_close(f->file);
  onnxc_arena_free(&f->arena);
}

/* Decodes a tensor that is the only initializer of a model; the model is in memory, beside `directory`. */
static onnxc_status decode(fixture *f, const wire_buffer *tensor, const char *directory, onnxc_array *array) {
  static wire_buffer model;
  wire_buffer graph = {.size = 0};
  wire_message(&graph, 5, tensor);
  model = wire_model(&graph);
  set_up(f);
  if (setjmp(f->guard.env))
    abort();
  onnxc_status status = onnxc_onnx_open_memory(&f->file, &f->arena, &f->diag, model.data, model.size, directory);
  if (status != ONNXC_OK)
    return status;
  return onnxc_onnx_tensor(f->file, &f->arena, &f->diag, f->file->model->graph->initializer[0], "initializer 'w'",
                           array);
}

typedef struct row {
  int dtype;
  unsigned field; /* typed field */
  size_t count, entries;
  int64_t typed[8]; /* entries of the typed field: numbers, or bits of floats */
  uint8_t raw[32];  /* the same as raw data */
  size_t raw_size;
  uint8_t memory[32]; /* what both decode to */
  size_t memory_size;
} row;

static const row rows[] = {
    {1, 4, 2, 2, {0x3f800000, 0xc0000000}, {0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0}, 8, {0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0}, 8},
    {2, 5, 3, 3, {0, 200, 255}, {0, 200, 255}, 3, {0, 200, 255}, 3},
    {3, 5, 3, 3, {0, -1, -128}, {0, 255, 128}, 3, {0, 255, 128}, 3},
    {4, 5, 2, 2, {1, 0xfffe}, {1, 0, 0xfe, 0xff}, 4, {1, 0, 0xfe, 0xff}, 4},
    {5, 5, 2, 2, {1, -2}, {1, 0, 0xfe, 0xff}, 4, {1, 0, 0xfe, 0xff}, 4},
    {6, 5, 2, 2, {1, -2}, {1, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff}, 8, {1, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff}, 8},
    {7, 7, 1, 1, {-2}, {0xfe, 255, 255, 255, 255, 255, 255, 255}, 8, {0xfe, 255, 255, 255, 255, 255, 255, 255}, 8},
    {9, 5, 3, 3, {0, 1, 1}, {0, 1, 7}, 3, {0, 1, 1}, 3},
    {10, 5, 2, 2, {0x3c00, 0xc000}, {0, 0x3c, 0, 0xc0}, 4, {0, 0x3c, 0, 0xc0}, 4},
    {11, 10, 1, 1, {0x3ff0000000000000}, {0, 0, 0, 0, 0, 0, 0xf0, 0x3f}, 8, {0, 0, 0, 0, 0, 0, 0xf0, 0x3f}, 8},
    {12, 11, 2, 2, {1, 0xfffffffe}, {1, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff}, 8, {1, 0, 0, 0, 0xfe, 255, 255, 255}, 8},
    {13, 11, 1, 1, {-1}, {255, 255, 255, 255, 255, 255, 255, 255}, 8, {255, 255, 255, 255, 255, 255, 255, 255}, 8},
    {14, 4, 1, 2, {0x3f800000, 0x40000000}, {0, 0, 0x80, 0x3f, 0, 0, 0, 0x40}, 8, {0, 0, 0x80, 0x3f, 0, 0, 0, 0x40}, 8},
    {16, 5, 2, 2, {0x3f80, 0xc000}, {0x80, 0x3f, 0, 0xc0}, 4, {0x80, 0x3f, 0, 0xc0}, 4},
    {17, 5, 2, 2, {0x38, 0xb8}, {0x38, 0xb8}, 2, {0x38, 0xb8}, 2},
    {18, 5, 2, 2, {0x38, 0xb8}, {0x38, 0xb8}, 2, {0x38, 0xb8}, 2},
    {19, 5, 2, 2, {0x38, 0xb8}, {0x38, 0xb8}, 2, {0x38, 0xb8}, 2},
    {20, 5, 2, 2, {0x38, 0xb8}, {0x38, 0xb8}, 2, {0x38, 0xb8}, 2},
    {21, 5, 3, 2, {0xf1, 0x07}, {0xf1, 0x07}, 2, {1, 15, 7}, 3},
    {22, 5, 3, 2, {0xf1, 0x08}, {0xf1, 0x08}, 2, {1, 0xff, 0xf8}, 3},
    {23, 5, 4, 2, {0xf1, 0x27}, {0xf1, 0x27}, 2, {1, 15, 7, 2}, 4},
    {24, 5, 2, 2, {127, 128}, {127, 128}, 2, {127, 128}, 2},
    {25, 5, 5, 2, {0xe4, 0x02}, {0xe4, 0x02}, 2, {0, 1, 2, 3, 2}, 5},
    {26, 5, 5, 2, {0xe4, 0x02}, {0xe4, 0x02}, 2, {0, 1, 0xfe, 0xff, 0xfe}, 5},
};

/* 0: raw, 1: packed, 2: one by one, 3: packed in two pieces. */
static wire_buffer encode(const row *r, int how) {
  int64_t dims[1] = {(int64_t)r->count};
  wire_buffer t = wire_tensor("w", r->dtype, 1, dims);
  if (how == 0) {
    wire_bytes(&t, 9, r->raw, r->raw_size);
    return t;
  }
  wire_buffer packed = {.size = 0};
  for (size_t i = 0; i < r->entries; i++) {
    unsigned type = r->field == 4 ? 5 : r->field == 10 ? 1 : 0;
    if (how == 2)
      wire_tag(&t, r->field, type);
    wire_buffer *out = how == 2 ? &t : &packed;
    if (type == 0)
      wire_varint(out, (uint64_t)r->typed[i]);
    else
      wire_raw(out, &r->typed[i], type == 5 ? 4 : 8);
    if (how == 3 && i == 0) {
      wire_message(&t, r->field, &packed);
      packed.size = 0;
    }
  }
  if (how != 2)
    wire_message(&t, r->field, &packed);
  return t;
}

Test(load_tensor, encodings) {
  static fixture f;
  size_t checked = 0;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    for (int how = 0; how < 4; how++) {
      const row *r = &rows[i];
      onnxc_array array;
      wire_buffer t = encode(r, how);
      cr_assert_eq(decode(&f, &t, NULL, &array), ONNXC_OK, "dtype %d way %d: %s", r->dtype, how, f.diag.text);
      cr_expect_eq((int)array.dtype, r->dtype);
      cr_expect_eq(array.rank, 1u);
      cr_expect_eq(array.dims[0], (int64_t)r->count);
      cr_expect_arr_eq(array.data, r->memory, r->memory_size, "dtype %d way %d", r->dtype, how);
      checked++;
      tear_down(&f);
    }
  cr_expect_eq(checked, 4 * 24u);
}

Test(load_tensor, sizes_that_do_not_fit) {
  static fixture f;
  onnxc_array array;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    for (int how = 0; how < 4; how++)
      for (int wrong = -1; wrong <= 1; wrong += 2) {
        row r = rows[i];
        /* Sub-byte elements come by the byte, so a step of one may fit. */
        r.count += (size_t)(wrong * (r.dtype >= 25 ? 4 : r.dtype >= 21 && r.dtype <= 23 ? 2 : 1));
        wire_buffer t = encode(&r, how);
        cr_expect_eq(decode(&f, &t, NULL, &array), ONNXC_BAD_INPUT, "dtype %d way %d count %zu", r.dtype, how, r.count);
        cr_expect(strstr(f.diag.text, "initializer 'w' has"), "%s", f.diag.text);
        tear_down(&f);
      }
}

Test(load_tensor, shapes) {
  static fixture f;
  static const struct {
    int rank;
    int64_t dims[9];
    int dtype;
    onnxc_status status;
    const char *message;
  } cases[] = {
      {1, {0}, 1, ONNXC_OK, ""},
      {2, {3, 0}, 7, ONNXC_OK, ""},
      {1, {-1}, 1, ONNXC_BAD_INPUT, "negative dim -1"},
      {2, {INT64_MAX, INT64_MAX}, 1, ONNXC_BAD_INPUT, "too many elements"},
      {3, {INT64_MAX, 2, 0}, 1, ONNXC_BAD_INPUT, "too many elements"},
      {1, {INT64_MAX / 64}, 2, ONNXC_BAD_INPUT, "need"},
      {1, {1 << 20}, 22, ONNXC_BAD_INPUT, "need"},
      {9, {1, 1, 1, 1, 1, 1, 1, 1, 1}, 1, ONNXC_UNSUPPORTED, "rank 9"},
      {1, {1}, 0, ONNXC_BAD_INPUT, "unknown element type 0"},
      {1, {1}, 27, ONNXC_BAD_INPUT, "unknown element type 27"},
      {1, {1}, 1, ONNXC_BAD_INPUT, "has 0 elements, but its type and shape need 1"},
      {1, {2}, 8, ONNXC_BAD_INPUT, "0 strings"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    onnxc_array array;
    wire_buffer t = wire_tensor("w", cases[i].dtype, cases[i].rank, cases[i].dims);
    cr_expect_eq(decode(&f, &t, NULL, &array), cases[i].status, "case %zu: %s", i, f.diag.text);
    cr_expect(strstr(f.diag.text, cases[i].message), "case %zu: %s", i, f.diag.text);
    if (cases[i].status == ONNXC_OK)
      cr_expect_not_null(array.data);
    tear_down(&f);
  }
}

Test(load_tensor, strings) {
  static fixture f;
  onnxc_array array;
  int64_t dims[] = {2};
  wire_buffer t = wire_tensor("w", 8, 1, dims);
  wire_string(&t, 6, "one");
  wire_string(&t, 6, "");
  cr_assert_eq(decode(&f, &t, NULL, &array), ONNXC_OK);
  const char *const *text = array.data;
  cr_expect_str_eq(text[0], "one");
  cr_expect_str_eq(text[1], "");
  tear_down(&f);
}

enum { MANY = 5000 };
static float many[MANY];

static void fill_many(void) {
  for (int k = 0; k < MANY; k++)
    many[k] = (float)k;
}

/* Raw data is used where it lies, if it is aligned, or large. */
Test(load_tensor, no_copy) {
  static fixture f;
  fill_many();
  for (size_t shift = 0; shift < 4; shift++) {
    onnxc_array array;
    char name[8] = "www";
    name[shift] = 0;
    int64_t dims[] = {MANY};
    static wire_buffer large;
    large = wire_tensor(name, 1, 1, dims);
    wire_bytes(&large, 9, many, sizeof many);
    cr_assert_eq(decode(&f, &large, NULL, &array), ONNXC_OK);
    cr_expect_arr_eq(array.data, many, sizeof many);
    const uint8_t *data = array.data;
    cr_expect(data >= f.file->bytes && data < f.file->bytes + f.file->size);
    tear_down(&f);
  }
  int copies = 0, borrowed = 0;
  for (size_t shift = 0; shift < 4; shift++) {
    onnxc_array array;
    char name[8] = "www";
    name[shift] = 0;
    int64_t dims[] = {4};
    float values[] = {1, 2, 3, 4};
    wire_buffer t = wire_tensor(name, 1, 1, dims);
    wire_bytes(&t, 9, values, sizeof values);
    cr_assert_eq(decode(&f, &t, NULL, &array), ONNXC_OK);
    cr_expect_arr_eq(array.data, values, sizeof values);
    const uint8_t *data = array.data;
    bool inside = data >= f.file->bytes && data < f.file->bytes + f.file->size;
    borrowed += inside;
    copies += !inside;
    tear_down(&f);
  }
  cr_expect_eq(borrowed, 1);
  cr_expect_eq(copies, 3);
}

static wire_buffer external_tensor(const char *location, const char *offset, const char *length) {
  const char *const pairs[3][2] = {{"location", location}, {"offset", offset}, {"length", length}};
  int64_t dims[] = {4};
  wire_buffer t = wire_tensor("w", 1, 1, dims);
  for (int i = 0; i < 3; i++) {
    wire_buffer entry = {.size = 0};
    if (!pairs[i][1])
      continue;
    wire_string(&entry, 1, pairs[i][0]);
    wire_string(&entry, 2, pairs[i][1]);
    wire_message(&t, 13, &entry);
  }
  wire_int(&t, 14, 1);
  return t;
}

Test(load_tensor, external_data) {
  static const struct {
    const char *location, *offset, *length;
    const char *message; /* NULL = good */
  } cases[] = {
      {"weights.bin", "4", "16", NULL},
      {"weights.bin", "4", NULL, NULL},
      {"./weights.bin", "4", "16", NULL},
      {"weights.bin", NULL, "16", NULL},
      {"weights.bin", NULL, NULL, "has 20 bytes, but its type and shape need 16"},
      {"weights.bin", "8", "16", "beyond the end of 'weights.bin', which has 20 bytes"},
      {"weights.bin", "21", NULL, "beyond the end"},
      {"weights.bin", "18446744073709551615", "2", "offset"},
      {"weights.bin", "9223372036854775807", "16", "beyond the end"},
      {"weights.bin", "-4", "16", "offset"},
      {"weights.bin", "4", "12", "has 12 bytes"},
      {"missing.bin", "0", "16", "initializer 'w': cannot open external data 'missing.bin'"},
      {"../weights.bin", "0", "16", "does not lie in the model's directory"},
      {"x/../../weights.bin", "0", "16", "does not lie in the model's directory"},
      {"/etc/passwd", "0", "16", "does not lie in the model's directory"},
      {"..", "0", "16", "does not lie in the model's directory"},
      {"", "0", "16", "does not lie in the model's directory"},
      {".", "0", "16", "not a regular file"},
      {NULL, "0", "16", "without a location"},
  };
  static fixture f;
  char directory[] = "/tmp/onnxc-test-XXXXXX", path[64];
  cr_assert_not_null(mkdtemp(directory));
  snprintf(path, sizeof path, "%s/weights.bin", directory);
  float values[5] = {0, 1, 2, 3, 4};
  FILE *file = fopen(path, "wb");
  cr_assert_not_null(file);
  fwrite(values, sizeof values, 1, file);
  fclose(file);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    onnxc_array array;
    wire_buffer t = external_tensor(cases[i].location, cases[i].offset, cases[i].length);
    onnxc_status status = decode(&f, &t, directory, &array);
    if (cases[i].message) {
      cr_expect_eq(status, ONNXC_BAD_INPUT, "case %zu", i);
      cr_expect(strstr(f.diag.text, cases[i].message), "case %zu: %s", i, f.diag.text);
    } else {
      cr_expect_eq(status, ONNXC_OK, "case %zu: %s", i, f.diag.text);
      cr_expect_arr_eq(array.data, values + (cases[i].offset ? 1 : 0), 16, "case %zu", i);
    }
    tear_down(&f);
  }
  wire_buffer t = external_tensor("weights.bin", NULL, NULL);
  onnxc_array array;
  cr_expect_eq(decode(&f, &t, NULL, &array), ONNXC_BAD_INPUT);
  cr_expect(strstr(f.diag.text, "without a directory"), "%s", f.diag.text);
  tear_down(&f);
  unlink(path);
  rmdir(directory);
}

static void check_large_file(size_t shift) {
  static fixture f;
  static wire_buffer t;
  char path[] = "/tmp/onnxc-test-XXXXXX", name[8] = "www";
  int fd = mkstemp(path);
  cr_assert(fd >= 0);
  name[shift] = 0;
  int64_t dims[] = {MANY};
  t = wire_tensor(name, 1, 1, dims);
  wire_bytes(&t, 9, many, sizeof many);
  cr_assert_eq(write(fd, t.data, t.size), (ssize_t)t.size);
  close(fd);
  set_up(&f);
  if (setjmp(f.guard.env))
    abort();
  onnxc_array array;
  cr_assert_eq(onnxc_onnx_read_tensor(&f.arena, &f.diag, path, &array, NULL), ONNXC_OK);
  cr_expect_arr_eq(array.data, many, sizeof many);
  cr_expect_eq((uintptr_t)array.data % sizeof(double), 0);
  unlink(path);
  tear_down(&f);
}

/* Whoever reads a tensor's file gets elements that are aligned. */
Test(load_tensor, large_tensor_files) {
  fill_many();
  for (size_t shift = 0; shift < 4; shift++)
    check_large_file(shift);
}

Test(load_tensor, tensor_files) {
  static fixture f;
  char path[] = "/tmp/onnxc-test-XXXXXX";
  int fd = mkstemp(path);
  cr_assert(fd >= 0);
  int64_t dims[] = {2, 2};
  float values[] = {1, 2, 3, 4};
  wire_buffer t = wire_tensor("x y", 1, 2, dims);
  wire_bytes(&t, 9, values, sizeof values);
  cr_assert_eq(write(fd, t.data, t.size), (ssize_t)t.size);
  close(fd);
  set_up(&f);
  if (setjmp(f.guard.env))
    abort();
  onnxc_array array;
  const char *name;
  cr_assert_eq(onnxc_onnx_read_tensor(&f.arena, &f.diag, path, &array, &name), ONNXC_OK);
  cr_expect_str_eq(name, "x y");
  cr_expect_eq(array.rank, 2u);
  cr_expect_arr_eq(array.data, values, sizeof values);
  unlink(path);
  cr_expect_eq(onnxc_onnx_read_tensor(&f.arena, &f.diag, path, &array, &name), ONNXC_BAD_INPUT);
  tear_down(&f);
}
