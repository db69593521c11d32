/* Models written by hand: what imports, and what each mistake is called. */
#include "frontend.h"
#include "import.h"
#include "ir/eval.h"
#include "graph_lines.h"

#include <criterion/criterion.h>

typedef struct fixture {
  onnxc_guard guard;
  onnxc_arena arena;
  onnxc_diag diag;
  onnxc_graph graph;
  onnxc_onnx_file *file;
} fixture;

static onnxc_status import_bytes(fixture *f, const void *bytes, size_t size, const onnxc_import_options *options) {
  memset(f, 0, sizeof *f);
  onnxc_arena_init(&f->arena, &f->guard);
  if (setjmp(f->guard.env))
    abort();
  onnxc_graph_init(&f->graph, &f->arena, &f->diag);
  onnxc_status status = onnxc_onnx_open_memory(&f->file, &f->arena, &f->diag, bytes, size, NULL);
  if (status == ONNXC_OK)
    status = onnxc_onnx_import(f->file, &f->graph, options);
  cr_expect_eq(status, f->diag.status, "%s", f->diag.text);
  cr_expect_eq(f->diag.count > 0, status != ONNXC_OK);
  return status;
}

static void close_all(fixture *f) {
  onnxc_onnx_close(f->file);
  onnxc_arena_free(&f->arena);
}

typedef struct model_case {
  const char *lines[10];
  onnxc_status status;
  const char *message;
} model_case;

Test(load_model, mistakes) {
  static const model_case cases[] = {
      {{"in x 1 N,3", "init w 3", "node Add a x,w y", "out y 1 N,3"}, ONNXC_OK, ""},
      /* not in order */
      {{"in x 1 N,3", "node Relu r t y", "node Add a x,w t", "init w 3", "out y 1 N,3"}, ONNXC_OK, ""},
      {{"in x 1 2", "node Relu r t y", "node Relu s y t", "out y 1 2"}, ONNXC_BAD_INPUT, "depends on its own result"},
      {{"in x 1 2", "node Relu r x y", "node Relu loop t t", "out y 1 2"},
       ONNXC_BAD_INPUT,
       "node 'loop' (Relu-17) depends on its own result"},
      {{"in x 1 2", "node Relu r nothing y", "out y 1 2"},
       ONNXC_BAD_INPUT,
       "node 'r' (Relu-17) reads 'nothing', which nothing writes"},
      {{"in x 1 2", "node Relu r x y", "node Relu s x y", "out y 1 2"},
       ONNXC_BAD_INPUT,
       "node 's' (Relu-17) writes 'y'"},
      {{"in x 1 2", "node Relu r x x", "out x 1 2"}, ONNXC_BAD_INPUT, "which is an input or initializer"},
      {{"in x 1 2", "in x 1 2", "node Relu r x y", "out y 1 2"}, ONNXC_BAD_INPUT, "two inputs named 'x'"},
      {{"init w 2", "init w 2", "node Relu r w y", "out y 1 2"}, ONNXC_BAD_INPUT, "two initializers named 'w'"},
      {{"in x 1 2", "node Relu r x y", "out z 1 2"}, ONNXC_BAD_INPUT, "output 'z' is not written"},
      {{"in x 1 2", "node Relu r x y"}, ONNXC_BAD_INPUT, "no output"},
      /* an output may be an input or an initializer */
      {{"in x 1 2", "init w 2", "out x 1 2", "out w 1 2", "out w 1 2"}, ONNXC_OK, ""},
      /* all that is unsupported, at once, also in the middle */
      {{"in x 1 2", "node Nope one x t", "node Relu r t u", "node Neither - u v", "node Relu s v y", "out y 1 2"},
       ONNXC_UNSUPPORTED,
       "node 'one' (Nope-17): not supported\nnode 'v' (Neither-17): not supported"},
      /* what nothing reads does not matter */
      {{"in x 1 2", "node Nope one x t", "node Relu r x y", "out y 1 2"}, ONNXC_OK, ""},
      {{"in x 1 2", "call Thing c x y", "out y 1 2"}, ONNXC_UNSUPPORTED, "node 'c' (local.Thing-?): not supported"},
      {{"in x 8 2", "node Identity i x y", "out y 8 2"}, ONNXC_UNSUPPORTED, "input 'x' has elements of type string"},
      {{"in x 0 2", "node Identity i x y", "out y 1 2"}, ONNXC_BAD_INPUT, "unknown element type 0"},
      {{"in x 1 none", "node Relu r x y", "out y 1 none"}, ONNXC_UNSUPPORTED, "give it with --shape x="},
      {{"in x 1 1,1,1,1,1,1,1,1,1", "node Relu r x y", "out y 1 none"}, ONNXC_UNSUPPORTED, "rank 9"},
      {{"in x 1 4294967296", "node Relu r x y", "out y 1 none"}, ONNXC_UNSUPPORTED, "larger than 2^31 - 1"},
      {{"in x 1 2", "node Relu r x y", "out y 7 2"}, ONNXC_BAD_INPUT, "declared as i64, but its value is f32"},
      {{"in x 1 2", "node Relu r x y", "out y 1 2,1"}, ONNXC_BAD_INPUT, "declared with rank 2"},
      {{"in x 1 2", "node Relu r , y", "out y 1 2"}, ONNXC_BAD_INPUT, "node 'r' (Relu-17): input 0 is missing"},
      /* two failures, and the readers of what failed keep silent */
      {{"in x 1 2", "in z 1 3", "node Add a x,z t", "node Add b z,x u", "node Add c t,u y", "out y 1 2"},
       ONNXC_BAD_INPUT,
       "node 'b'"},
  };
  static fixture f;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    wire_buffer graph = graph_of(cases[i].lines), model = wire_model(&graph);
    onnxc_status status = import_bytes(&f, model.data, model.size, NULL);
    cr_expect_eq(status, cases[i].status, "case %zu: status %d: %s", i, (int)status, f.diag.text);
    cr_expect(strstr(f.diag.text, cases[i].message), "case %zu: %s", i, f.diag.text);
    cr_expect(!strstr(f.diag.text, "node 'c' (Add"), "case %zu: %s", i, f.diag.text);
    close_all(&f);
  }
}

Test(load_model, files_that_are_no_models) {
  static const struct {
    const char *bytes;
    size_t size;
    const char *message;
  } cases[] = {
      {"", 0, "the file is empty"},
      {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11, "tag is cut off"},
      {"\x08\x08", 2, "it has no graph"},
      {"\x3a\x00", 2, "it has no IR version"},
      {"\x3a\x05\x0a", 3, "truncated"},
      {"\x3b", 1, "unknown wire type"},
      {"\x00\x00", 2, "field number out of range"},
      {"\x38\x01", 2, "wrong wire type"},
      {"\x3a\x00\x3a\x00", 4, "occurs again"},
      {"\x3a\x03\x12\x01\x00", 5, "NUL"},
      {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12, "too long"},
      {"\x08\x15\x3a\x00", 4, "IR version 21"},
  };
  static fixture f;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    onnxc_status status = import_bytes(&f, cases[i].bytes, cases[i].size, NULL);
    cr_expect(status == ONNXC_BAD_INPUT || status == ONNXC_UNSUPPORTED, "case %zu", i);
    cr_expect(strstr(f.diag.text, cases[i].message), "case %zu: %s", i, f.diag.text);
    close_all(&f);
  }
}

/* ---- depth and size ---- */

Test(load_model, deep_nesting) {
  static fixture f;
  /* A type of sequences of sequences, and subgraphs in subgraphs, thousands deep: lengths from the inside out. */
  static uint8_t bytes[1 << 20];
  for (int kind = 0; kind < 2; kind++) {
    size_t at = sizeof bytes, depth = 20000;
    for (size_t level = 0; level < depth; level++) {
      size_t length = sizeof bytes - at;
      uint8_t head[12];
      size_t n = 0;
      head[n++] = kind ? (uint8_t)(level % 3 == 0   ? 0x0a
                                   : level % 3 == 1 ? 0x32
                                                    : 0x2a)
                       : (uint8_t)(level % 2 ? 0x22 : 0x0a);
      do
        head[n++] = (uint8_t)((length & 0x7f) | (length >> 7 ? 0x80 : 0));
      while (length >>= 7);
      at -= n;
      memcpy(bytes + at, head, n);
    }
    wire_buffer prefix = {.size = 0};
    wire_tag(&prefix, 7, 2);
    wire_varint(&prefix, sizeof bytes - at);
    at -= prefix.size;
    memcpy(bytes + at, prefix.data, prefix.size);
    cr_expect_eq(import_bytes(&f, bytes + at, sizeof bytes - at, NULL), ONNXC_BAD_INPUT);
    close_all(&f);
  }
}

Test(load_model, many_tiny_fields) {
  /* 8 MB of empty nodes, of unknown fields, of attributes: refused, or within a small multiple of the file. */
  static const char *const fields[] = {"\x0a\x00", "\xa8\x06", "\x5a\x00", "\x7a\x00"};
  static fixture f;
  size_t size = (size_t)8 << 20, head = 5;
  uint8_t *bytes = malloc(size);
  for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
    memcpy(bytes, "\x3a\xfb\xff\xff\x03", head);
    for (size_t at = head; at < size; at += 2) {
      bytes[at] = (uint8_t)fields[i][0];
      bytes[at + 1 < size ? at + 1 : at] = (uint8_t)fields[i][1];
    }
    import_bytes(&f, bytes, size, NULL);
    cr_expect(f.arena.used < 32 * size, "field %zu takes %zu bytes", i, f.arena.used);
    close_all(&f);
  }
  free(bytes);
}

/* ---- inputs ---- */

static int64_t static_dim(const fixture *f, uint32_t input, uint32_t axis) {
  int64_t value = -1;
  const onnxc_value_info *info = onnxc_value_of(&f->graph, f->graph.inputs.data[input]);
  onnxc_dim_is_const(&f->graph.dims, info->dims[axis], &value);
  return value;
}

static const char *const two_inputs[] = {"in x 1 N,3,_", "in z 1 N,3,M", "node Add a x,z y", "out y 1 N,3,M", NULL};

Test(load_model, symbolic_dims) {
  static fixture f;
  wire_buffer graph = graph_of(two_inputs), model = wire_model(&graph);
  cr_assert_eq(import_bytes(&f, model.data, model.size, NULL), ONNXC_OK, "%s", f.diag.text);
  const onnxc_value_info *x = onnxc_value_of(&f.graph, f.graph.inputs.data[0]);
  const onnxc_value_info *z = onnxc_value_of(&f.graph, f.graph.inputs.data[1]);
  cr_expect(onnxc_dim_same(x->dims[0], z->dims[0]), "one symbol for equal names");
  cr_expect(!onnxc_dim_same(x->dims[2], z->dims[2]));
  cr_expect_eq(static_dim(&f, 0, 1), 3);
  onnxc_sym sym = onnxc_sym_find(&f.graph.dims, "input_0_d2", strlen("input_0_d2"));
  cr_assert(sym.i);
  cr_expect_eq(onnxc_dims_symbol(&f.graph.dims, sym)->source, ONNXC_SYM_INPUT_DIM);
  cr_expect_eq(onnxc_dims_symbol(&f.graph.dims, sym)->index, 0u);
  cr_expect_eq(onnxc_dims_symbol(&f.graph.dims, sym)->axis, 2u);
  cr_expect_eq(onnxc_dims_symbol(&f.graph.dims, onnxc_sym_find(&f.graph.dims, "N", 1))->hint, 1);
  close_all(&f);
}

Test(load_model, options) {
  static const struct {
    const char *dims[2];
    int64_t values[2];
    const char *shape_input;
    int rank;
    int64_t shape[ONNXC_MAX_RANK];
    onnxc_status status;
    const char *message;
    int64_t n, d2; /* dims 0 and 2 of x; -1 = symbolic */
  } cases[] = {
      {{"N"}, {4}, NULL, 0, {0}, ONNXC_OK, "", 4, -1},
      {{"N", "input_0_d2"}, {4, 7}, NULL, 0, {0}, ONNXC_OK, "", 4, 7},
      {{NULL}, {0}, "x", 3, {2, 3, 5}, ONNXC_OK, "", 2, 5},
      {{NULL}, {0}, "x", 3, {-1, 3, 5}, ONNXC_OK, "", -1, 5},
      {{NULL}, {0}, "z", 3, {6, 3, 5}, ONNXC_OK, "", 6, -1},
      {{"N"}, {2}, "x", 3, {2, 3, 5}, ONNXC_OK, "", 2, 5},
      {{"N"}, {4}, "x", 3, {2, 3, 5}, ONNXC_USAGE, "'N' is given as 2 and as 4", 0, 0},
      {{"N", "N"}, {4, 5}, NULL, 0, {0}, ONNXC_USAGE, "given twice", 0, 0},
      {{"K"}, {4}, NULL, 0, {0}, ONNXC_USAGE, "no dim 'K'; its dims that can be given are: N, input_0_d2, M", 0, 0},
      {{"N"}, {-4}, NULL, 0, {0}, ONNXC_USAGE, "cannot be -4", 0, 0},
      {{NULL}, {0}, "x", 2, {2, 3}, ONNXC_USAGE, "has rank 3, but the shape given for it has 2", 0, 0},
      {{NULL}, {0}, "x", 3, {2, 4, 5}, ONNXC_USAGE, "dim 1 is 3 in the model, not 4", 0, 0},
      {{NULL}, {0}, "q", 1, {2}, ONNXC_USAGE, "no input 'q'", 0, 0},
  };
  static fixture f;
  wire_buffer graph = graph_of(two_inputs), model = wire_model(&graph);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    onnxc_import_options options = {.dim_names = cases[i].dims,
                                    .dim_values = cases[i].values,
                                    .num_dims = (cases[i].dims[0] != NULL) + (size_t)(cases[i].dims[1] != NULL),
                                    .shape_inputs = &cases[i].shape_input,
                                    .shape_dims = &cases[i].shape,
                                    .shape_ranks = &cases[i].rank,
                                    .num_shapes = cases[i].shape_input != NULL};
    cr_expect_eq(import_bytes(&f, model.data, model.size, &options), cases[i].status, "case %zu: %s", i, f.diag.text);
    cr_expect(strstr(f.diag.text, cases[i].message), "case %zu: %s", i, f.diag.text);
    if (cases[i].status == ONNXC_OK) {
      cr_expect_eq(static_dim(&f, 0, 0), cases[i].n, "case %zu", i);
      cr_expect_eq(static_dim(&f, 1, 0), cases[i].n, "case %zu", i);
      cr_expect_eq(static_dim(&f, 0, 2), cases[i].d2, "case %zu", i);
    }
    close_all(&f);
  }
}

/* An initializer that is listed as an input (IR version 3) is a constant, an input is not. */
Test(load_model, initializers_as_inputs) {
  static const char *const lines[] = {"in x 1 3", "in w 1 3", "init w 3", "node Add a x,w y", "out y 1 3", NULL};
  static fixture f;
  wire_buffer graph = graph_of(lines), model = {.size = 0};
  wire_int(&model, 1, 3);
  wire_opset(&model, 8, "ai.onnx", 7); /* the other spelling of the default domain */
  wire_message(&model, 7, &graph);
  cr_assert_eq(import_bytes(&f, model.data, model.size, NULL), ONNXC_OK, "%s", f.diag.text);
  cr_expect_eq(f.graph.inputs.length, 1u);
  cr_expect_not(onnxc_value_is_constant(&f.graph, f.graph.inputs.data[0]));
  close_all(&f);
}

/* ---- functions ---- */

/* A FunctionProto of the domain "local": inputs and outputs separated by commas. */
static wire_buffer function_of(const char *name, const char *inputs, const char *outputs, const wire_buffer *nodes,
                               size_t num_nodes) {
  wire_buffer f = {.size = 0};
  wire_string(&f, 1, name);
  wire_names(&f, 4, inputs);
  wire_names(&f, 5, outputs);
  for (size_t i = 0; i < num_nodes; i++)
    wire_message(&f, 7, &nodes[i]);
  wire_opset(&f, 9, "", 17);
  wire_opset(&f, 9, "local", 1);
  wire_string(&f, 10, "local");
  return f;
}

static wire_buffer call_of(const char *op, const char *name, const char *inputs, const char *outputs) {
  wire_buffer node = wire_node(op, name, inputs, outputs);
  wire_string(&node, 7, "local");
  return node;
}

/* alpha is the float attribute of a node, or (reference != NULL) refers to one of the enclosing function. */
static void add_alpha(wire_buffer *node, const char *name, float value, const char *reference) {
  wire_buffer a = {.size = 0};
  wire_string(&a, 1, name);
  wire_int(&a, 20, 1);
  if (reference)
    wire_string(&a, 21, reference);
  else
    wire_float(&a, 2, value);
  wire_message(node, 5, &a);
}

/* inner(x; slope, default 0.5) = LeakyRelu(x) ; outer(x; s) = inner(-x; slope = s) + x, x of the caller not of inner.
 */
static wire_buffer function_model(bool give_slope) {
  wire_buffer leaky = wire_node("LeakyRelu", "l", "x", "y"), neg = wire_node("Neg", "n", "x", "t");
  wire_buffer call = call_of("inner", "c", "t", "u"), add = wire_node("Add", "a", "u,x", "z");
  add_alpha(&leaky, "alpha", 0, "slope");
  add_alpha(&call, "slope", 0, "s");
  wire_buffer inner = function_of("inner", "x", "y", &leaky, 1), fallback = {.size = 0};
  wire_string(&fallback, 1, "slope");
  wire_int(&fallback, 20, 1);
  wire_float(&fallback, 2, 0.5f);
  wire_message(&inner, 11, &fallback);
  wire_buffer body[] = {add, neg, call}; /* not in order */
  wire_buffer outer = function_of("outer", "x", "z", body, 3);
  wire_string(&outer, 6, "s");
  wire_buffer graph = {.size = 0}, top = call_of("outer", "top", "x", "t");
  if (give_slope)
    add_alpha(&top, "s", 0.25f, NULL);
  wire_message(&graph, 1, &top);
  add_line(&graph, "in x 1 2");
  add_line(&graph, "out t 1 2");
  wire_buffer model = wire_model(&graph);
  wire_opset(&model, 8, "local", 1);
  wire_message(&model, 25, &inner);
  wire_message(&model, 25, &outer);
  return model;
}

Test(load_model, functions) {
  static fixture f;
  for (int given = 0; given < 2; given++) {
    wire_buffer model = function_model(given != 0);
    float x[] = {4, -2}, slope = given ? 0.25f : 0.5f;
    onnxc_array input = {.dtype = ONNXC_F32, .rank = 1, .dims = {2}, .data = x};
    onnxc_eval eval;
    cr_assert_eq(import_bytes(&f, model.data, model.size, NULL), ONNXC_OK, "%s", f.diag.text);
    cr_assert_eq(onnxc_eval_graph(&eval, &f.graph, &f.arena, &input, 1), ONNXC_OK, "%s", f.diag.text);
    const float *y = eval.arrays[f.graph.outputs.data[0].i].data;
    cr_expect_float_eq(y[0], -4 * slope + 4, 1e-6f, "%g", (double)y[0]);
    cr_expect_float_eq(y[1], 0, 1e-6f);
    close_all(&f);
  }
}

Test(load_model, functions_without_end) {
  static fixture f;
  /* one that calls itself; and 60 levels of functions that call the next one twice */
  for (int kind = 0; kind < 2; kind++) {
    wire_buffer graph = {.size = 0}, top = call_of("f0", "top", "x", "y");
    wire_message(&graph, 1, &top);
    add_line(&graph, "in x 1 2");
    add_line(&graph, "out y 1 2");
    wire_buffer model = wire_model(&graph);
    wire_opset(&model, 8, "local", 1);
    int levels = kind ? 60 : 1;
    for (int i = 0; i < levels; i++) {
      char name[16], next[16];
      snprintf(name, sizeof name, "f%d", i);
      snprintf(next, sizeof next, "f%d", kind ? i + 1 : 0);
      wire_buffer calls[2] = {call_of(next, "a", "x", "t"), call_of(next, "b", "t", "y")};
      if (i == 59)
        calls[0] = wire_node("Relu", "a", "x", "t"), calls[1] = wire_node("Relu", "b", "t", "y");
      wire_buffer function = function_of(name, "x", "y", calls, 2);
      wire_message(&model, 25, &function);
    }
    onnxc_status status = import_bytes(&f, model.data, model.size, NULL);
    cr_expect_eq(status, kind ? ONNXC_UNSUPPORTED : ONNXC_BAD_INPUT, "%s", f.diag.text);
    cr_expect(strstr(f.diag.text, kind ? "more than 200000 nodes" : "more than 64 deep"), "%s", f.diag.text);
    close_all(&f);
  }
}

/* ---- mutations ---- */

static uint32_t random_state = 1;
static uint32_t random_number(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 17;
  random_state ^= random_state << 5;
  return random_state;
}

Test(load_model, mutations) {
  static fixture f;
  static const char *const lines[] = {
      "in x 1 N,3",      "init w 3",         "init v 6",    "node Add a x,w t", "node Mul m t,t u",
      "node Relu r u y", "node Sub s y,v z", "out y 1 N,3", "out z 1 none",     NULL};
  wire_buffer graph = graph_of(lines), models[2] = {wire_model(&graph), function_model(true)};
  int good = 0, bad = 0, unsupported = 0;
  for (int m = 0; m < 2; m++)
    for (int i = 0; i < 3000; i++) {
      wire_buffer model = models[m];
      size_t flips = 1 + random_number() % 4;
      for (size_t k = 0; k < flips; k++) {
        size_t at = random_number() % model.size;
        uint32_t how = random_number();
        if (how % 16 == 0)
          model.size = at + 1;
        else if (how % 16 == 1)
          model.data[at] = (uint8_t)(how >> 8);
        else if (how % 16 == 2)
          model.data[at] = 0xff;
        else
          model.data[at] ^= (uint8_t)(1u << (how >> 8) % 8);
      }
      uint8_t *exact = malloc(model.size); /* so that a sanitizer sees reads beyond the end */
      memcpy(exact, model.data, model.size);
      onnxc_status status = import_bytes(&f, exact, model.size, NULL);
      good += status == ONNXC_OK;
      bad += status == ONNXC_BAD_INPUT;
      unsupported += status == ONNXC_UNSUPPORTED;
      cr_expect(f.arena.used < (size_t)4 << 20, "%zu bytes", f.arena.used);
      close_all(&f);
      free(exact);
    }
  cr_expect_eq(good + bad + unsupported, 6000);
  cr_expect(good > 200 && bad > 2000 && unsupported > 100, "%d good, %d bad, %d unsupported", good, bad, unsupported);
}

/* Every allocation fails once: the guard is reached, and nothing stays mapped or allocated. */
Test(load_model, out_of_memory) {
  static fixture f;
  wire_buffer model = function_model(true);
  bool finished = false;
  int64_t n;
  for (n = 1; !finished && n < 10000; n++) {
    memset(&f, 0, sizeof f);
    onnxc_arena_init(&f.arena, &f.guard);
    onnxc_mem_fail_at(n);
    if (setjmp(f.guard.env) == 0) {
      onnxc_graph_init(&f.graph, &f.arena, &f.diag);
      cr_assert_eq(onnxc_onnx_open_memory(&f.file, &f.arena, &f.diag, model.data, model.size, NULL), ONNXC_OK);
      cr_assert_eq(onnxc_onnx_import(f.file, &f.graph, NULL), ONNXC_OK);
      finished = true;
    }
    onnxc_mem_fail_at(0);
    close_all(&f);
  }
  cr_expect(finished && n > 1);
}

Test(load_model, operators_table_is_sorted) {
  size_t count;
  const onnxc_import_row *rows = onnxc_import_rows(&count);
  cr_assert(count > 10);
  for (size_t i = 0; i < count; i++) {
    cr_expect_eq(onnxc_import_find(rows[i].domain, rows[i].op_type), &rows[i], "%s", rows[i].op_type);
    if (i) {
      int order = strcmp(rows[i - 1].op_type, rows[i].op_type);
      cr_expect(order < 0 || (order == 0 && strcmp(rows[i - 1].domain, rows[i].domain) < 0), "%s", rows[i].op_type);
    }
  }
  cr_expect_eq(onnxc_import_find("ai.onnx", "Add"), onnxc_import_find("", "Add"));
  cr_expect_null(onnxc_import_find("", "add"));
}
