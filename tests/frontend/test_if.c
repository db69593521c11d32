/* test_if.c -- If: which side is imported, what both sides give, and what each mistake is called. */
#include "frontend.h"
#include "graph_lines.h"
#include "ir/eval.h"
#include "ir/text.h"
#include "ir/verify.h"

enum { MAX_LINES = 26 };

typedef struct fixture {
  onnxc_guard guard;
  onnxc_arena arena;
  onnxc_diag diag;
  onnxc_graph graph;
  onnxc_onnx_file *file;
} fixture;

static onnxc_status import_bytes(fixture *f, const void *bytes, size_t size) {
  memset(f, 0, sizeof *f);
  onnxc_arena_init(&f->arena, &f->guard);
  if (setjmp(f->guard.env))
    abort();
  onnxc_graph_init(&f->graph, &f->arena, &f->diag);
  onnxc_status status = onnxc_onnx_open_memory(&f->file, &f->arena, &f->diag, bytes, size, NULL);
  if (status == ONNXC_OK)
    status = onnxc_onnx_import(f->file, &f->graph, NULL);
  if (status == ONNXC_OK)
    status = onnxc_graph_verify(&f->graph, NULL);
  cr_expect_eq(status, f->diag.status, "%s", f->diag.text);
  return status;
}

static onnxc_status import_lines(fixture *f, const char *const *lines) {
  wire_buffer graph = graph_of(lines), model = wire_model(&graph);
  return import_bytes(f, model.data, model.size);
}

static void close_all(fixture *f) {
  onnxc_onnx_close(f->file);
  onnxc_arena_free(&f->arena);
}

static const char *text_of(fixture *f) {
  onnxc_text text;
  onnxc_text_init(&text, &f->arena);
  onnxc_graph_print(&f->graph, &text, 0);
  return text.data;
}

/* ---- what is imported ---- */

/* A condition that a run's input decides, one of constants, one of shapes; nodes of both sides, of one. */
typedef struct form {
  const char *lines[MAX_LINES];
  const char *present[3], *absent[3]; /* in the graph's text */
} form;

Test(import_if, forms) {
  static const form forms[] = {
      /* both sides, values from outside, and the select */
      {{"in x 1 N", "in c 9 1", "init w 3", "if it c y", "node Relu r x a", "out a 1 N", "else", "node Neg n x b",
        "out b 1 N", "end", "out y 1 N"},
       {": f32[%N] when %v2_0 loc(\"node 'it/r' (Relu-17)\")", ": f32[%N] when 1 - %v2_0 loc(\"node 'it/n' (Neg-17)\")",
        "select(cast.bool(dim(%v2_0)), $0[i0], $1[i0]) : f32[%N] loc("},
       {NULL}},
      /* a known condition: the other side may hold anything */
      {{"in x 1 N", "scalar c 9 1", "if it c y", "node Relu r x a", "out a 1 N", "else", "node Nope n x b", "out b 1 N",
        "end", "out y 1 N"},
       {"(Relu-17)"},
       {"when", "Nope", "select"}},
      {{"in x 1 N", "scalar c 9 0", "if it c y", "node Nope r x a", "out a 1 N", "else", "node Neg n x b", "out b 1 N",
        "end", "out y 1 N"},
       {"(Neg-17)"},
       {"when", "Nope", "select"}},
      /* shapes decide: N is at most 2^31 - 1 */
      {{"in x 1 N", "scalar k 7 2147483647", "node Shape s x n", "node Greater g n,k c", "if it c y", "node Nope r x a",
        "out a 1 N", "else", "node Neg n x b", "out b 1 N", "end", "out y 1 N"},
       {"(Neg-17)"},
       {"when", "Nope"}},
      /* what the side of an If asks again is answered, and so is the opposite */
      {{"in x 1 N",  "in c 9 1",  "node Not n c d",  "if it c y", "if in c a", "node Abs r x p",
        "out p 1 N", "else",      "node Nope n x q", "out q 1 N", "end",       "out a 1 N",
        "else",      "if in d b", "node Exp r x p",  "out p 1 N", "else",      "node Nope n x q",
        "out q 1 N", "end",       "out b 1 N",       "end",       "out y 1 N"},
       {"when %v2_0 loc(\"node 'it/in/r' (Abs-17)\")", "when 1 - %v2_0 loc(\"node 'it/in/r' (Exp-17)\")"},
       {"Nope"}},
      /* a side that does not fit the shapes is not to be taken; what it captured stays */
      {{"in x 1 3", "in c 9 1", "init w 5", "if it c y", "node Add r x,w a", "out a 1 3", "else", "node Neg n x b",
        "out b 1 3", "end", "node Add z w,w u", "out y 1 3", "out u 1 5"},
       {"require %v2_0 == 0 \"node 'it' (If-17): a run must not take 'then_branch': node 'it/r' (Add-17): "},
       {"when", "select"}},
  };
  static fixture f;
  for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
    cr_expect_eq(import_lines(&f, forms[i].lines), ONNXC_OK, "form %zu: %s", i, f.diag.text);
    for (int k = 0; k < 3; k++) {
      cr_expect(!forms[i].present[k] || strstr(text_of(&f), forms[i].present[k]), "form %zu: no %s in\n%s", i,
                forms[i].present[k], text_of(&f));
      cr_expect(!forms[i].absent[k] || !strstr(text_of(&f), forms[i].absent[k]), "form %zu: %s in\n%s", i,
                forms[i].absent[k], text_of(&f));
    }
    close_all(&f);
  }
}

/* ---- what comes out ---- */

/* The model has inputs x, f32, and s, an i64 or bool of one element; x is 1, -2, 3. */
typedef struct result {
  const char *lines[MAX_LINES];
  struct {
    int64_t s, count; /* of y's elements, -1: the run is refused */
    float y[6];
  } runs[4];
} result;

static const result results[] = {
    {{"in x 1 N", "in s 7 1", "scalar k 7 16000", "node Equal e s,k c", "if it c y", "node Neg r x a", "out a 1 N",
      "else", "node Abs n x b", "out b 1 N", "end", "out y 1 N"},
     {{16000, 3, {-1, 2, -3}}, {8000, 3, {1, 2, 3}}, {-16000, 3, {1, 2, 3}}, {16001, 3, {1, 2, 3}}}},
    /* of different size; results that are inputs, initializers, of an outer side's nodes */
    {{"in x 1 N", "in s 7 1", "scalar k 7 5", "node Less e s,k c", "init w 5", "if it c y", "node Neg r w a",
      "out a 1 M", "else", "out x 1 N", "end", "out y 1 P"},
     {{4, 5, {-1, -2, -3, -4, -5}}, {5, 3, {1, -2, 3}}}},
    {{"in x 1 3", "in s 9 1", "init w 3", "if it s t", "out w 1 3", "else", "init v 3", "node Mul r x,v b", "out b 1 3",
      "end", "node Add n t,x y", "out y 1 3"},
     {{1, 3, {2, 0, 6}}, {0, 3, {2, -6, 12}}}},
    {{"in x 1 N",
      "in s 7 1",
      "scalar k 7 5",
      "scalar j 7 9",
      "node Greater e s,k c",
      "node Less l s,j d",
      "node Neg m x n",
      "if it c y",
      "node Exp p n q",
      "node Log o q r",
      "if in d a",
      "node Add t r,n u",
      "out u 1 N",
      "else",
      "out r 1 N",
      "end",
      "out a 1 N",
      "else",
      "out n 1 N",
      "end",
      "out y 1 N"},
     {{7, 3, {-2, 4, -6}}, {9, 3, {-1, 2, -3}}, {3, 3, {-1, 2, -3}}}},
    /* And, Or, Not of conditions */
    {{"in x 1 N", "in s 7 1", "scalar k 7 5", "scalar j 7 9", "node Greater e s,k c", "node Less l s,j d",
      "node And - c,d f", "node Not - f g", "node Or - g,f h", "node And - h,g i", "if it i y", "node Neg r x a",
      "out a 1 N", "else", "out x 1 N", "end", "out y 1 N"},
     {{5, 3, {-1, 2, -3}}, {6, 3, {1, -2, 3}}, {8, 3, {1, -2, 3}}, {9, 3, {-1, 2, -3}}}},
    /* a condition on the shape, a size made in one side, a constraint that only one has */
    {{"in x 1 N", "in s 7 1", "node Shape - x n", "node Equal e s,n c", "if it c y", "node ConstantOfShape r s a",
      "out a 1 M", "else", "out x 1 N", "end", "out y 1 P"},
     {{3, 3, {0, 0, 0}}, {-4, 3, {1, -2, 3}}}},
    {{"in x 1 3", "in s 9 1", "init w 5", "if it s y", "node Add r x,w a", "out a 1 3", "else", "node Neg r x b",
      "out b 1 3", "end", "out y 1 3"},
     {{0, 3, {-1, 2, -3}}, {1, -1, {0}}}},
};

static void check_result(fixture *f, const result *r, size_t i, int k) {
  static const float x[3] = {1, -2, 3};
  int64_t s = r->runs[k].s;
  bool flag = s != 0;
  onnxc_eval eval = {0};
  onnxc_array in[2] = {{ONNXC_F32, 1, {3}, (void *)(uintptr_t)x}};
  const onnxc_value_info *info = onnxc_value_of(&f->graph, f->graph.inputs.data[1]);
  in[1] = (onnxc_array){info->dtype, 1, {1}, info->dtype == ONNXC_BOOL ? (void *)&flag : (void *)&s};
  onnxc_status status = onnxc_eval_graph(&eval, &f->graph, &f->arena, in, 2);
  if (r->runs[k].count < 0) {
    cr_expect_eq(status, ONNXC_BAD_INPUT, "model %zu takes %lld", i, (long long)s);
    cr_expect(strstr(f->diag.text, "must not take 'then_branch'"), "%s", f->diag.text);
    return;
  }
  cr_assert_eq(status, ONNXC_OK, "model %zu, s %lld: %s", i, (long long)s, f->diag.text);
  const onnxc_array *y = &eval.arrays[f->graph.outputs.data[0].i];
  cr_assert(y->rank == 1 && y->dims[0] == r->runs[k].count, "model %zu, s %lld", i, (long long)s);
  for (int64_t n = 0; n < y->dims[0]; n++)
    cr_expect_float_eq(((const float *)y->data)[n], r->runs[k].y[n], 1e-5F, "model %zu, s %lld: element %d", i,
                       (long long)s, (int)n);
}

Test(import_if, results) {
  static fixture f;
  for (size_t i = 0; i < sizeof results / sizeof results[0]; i++) {
    cr_assert_eq(import_lines(&f, results[i].lines), ONNXC_OK, "model %zu: %s", i, f.diag.text);
    for (int k = 0; k < 4 && results[i].runs[k].count; k++)
      check_result(&f, &results[i], i, k);
    close_all(&f);
  }
}

/* ---- mistakes ---- */

typedef struct mistake {
  const char *lines[MAX_LINES];
  onnxc_status status;
  const char *message;
} mistake;

#define SIDES(a, b) "if it c y", a, "out p 1 none", "else", b, "out q 1 none", "end", "out y 1 none"

static const mistake mistakes[] = {
    {{"in x 1 N", "in c 1 1", SIDES("node Abs r x p", "node Neg n x q")},
     ONNXC_BAD_INPUT,
     "node 'it' (If-17): the condition has type f32, expected bool"},
    {{"in x 1 N", "in c 9 2", SIDES("node Abs r x p", "node Neg n x q")}, ONNXC_BAD_INPUT, "has 2 elements"},
    {{"in x 1 N", "in c 9 M", SIDES("node Abs r x p", "node Neg n x q")}, ONNXC_UNSUPPORTED, "shape is not known"},
    {{"in x 1 1", "init w 1", "node Less l x,w c", SIDES("node Abs r x p", "node Neg n x q")},
     ONNXC_UNSUPPORTED,
     "node 'it' (If-17): the condition is computed by a run, which is not supported"},
    {{"in x 1 N", "in c 9 1", "if it c y", "node Abs r x p", "else", "node Neg n x q", "out q 1 none", "end",
      "out y 1 none"},
     ONNXC_BAD_INPUT,
     "attribute 'then_branch' has 0 outputs, but the node has 1"},
    {{"in x 1 N", "in c 9 1", "if it c y", "in z 1 N", "node Abs r x p", "out p 1 none", "else", "node Neg n x q",
      "out q 1 none", "end", "out y 1 none"},
     ONNXC_BAD_INPUT,
     "attribute 'then_branch' has 1 inputs, expected none"},
    {{"in x 1 N", "in c 9 1", "node If it c y", "out y 1 none"}, ONNXC_BAD_INPUT, "'else_branch' is no graph"},
    {{"in x 1 N", "in c 9 1", SIDES("node Abs r x p", "node Neg n nothing q")},
     ONNXC_BAD_INPUT,
     "node 'it' (If-17) reads 'nothing', which nothing writes"},
    {{"in x 1 N", "in c 9 1", SIDES("node Abs r x p", "node Neg n x r")}, ONNXC_BAD_INPUT, "reads 'q', which nothing"},
    {{"in x 1 N", "in c 9 1", SIDES("node Abs r y p", "node Neg n x q")}, ONNXC_BAD_INPUT, "depends on its own result"},
    {{"in x 1 N", "in c 9 1", "node Neg - y z", SIDES("node Abs r z p", "node Neg n x q")},
     ONNXC_BAD_INPUT,
     "depends on its own result"},
    {{"in x 1 N", "in c 9 1", SIDES("node Abs r t p", "node Neg n x q"), "node Neg - y z", "node Nope o x t"},
     ONNXC_UNSUPPORTED,
     "node 'o' (Nope-17): not supported"},
    {{"in x 1 N", "in c 9 1", SIDES("node Nope r x p", "node Neither n x q")},
     ONNXC_UNSUPPORTED,
     "node 'it/r' (Nope-17): not supported\nnode 'it/n' (Neither-17): not supported"},
    /* what is not supported is said, though the other side would do */
    {{"in x 1 N", "in c 9 1", SIDES("node Abs r x p", "node Nope n x q")}, ONNXC_UNSUPPORTED, "node 'it/n' (Nope-17)"},
    {{"in x 1 N", "in c 9 1", SIDES("node Abs r x p", "node Shape n x q")},
     ONNXC_BAD_INPUT,
     "node 'it' (If-17): output 0: it is f32 in one branch and i64 in the other"},
    {{"in x 1 2,N", "in c 9 1", SIDES("node Abs r x p", "node ReduceSum n x q")}, ONNXC_OK, ""},
    {{"in x 1 2,N", "in c 9 1", SIDES("node Abs r x p", "node Flatten n x,x q")}, ONNXC_OK, ""},
    {{"in x 1 2", "in c 9 1", SIDES("node Abs r x p", "node Flatten n x q")},
     ONNXC_UNSUPPORTED,
     "output 0: it has rank 1 if %v2_0 is 1, and otherwise 2"},
    /* neither side fits; errors before and behind it are reported, too */
    {{"in x 1 2", "in z 1 3", "in c 9 1", "node Add e x,z u", SIDES("node Add r x,z p", "node Sub n x,z q"),
      "node Mul f x,z v", "out u 1 none", "out v 1 none"},
     ONNXC_BAD_INPUT,
     "node 'it/n' (Sub-17)"},
};

Test(import_if, mistakes) {
  static fixture f;
  for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
    onnxc_status status = import_lines(&f, mistakes[i].lines);
    cr_expect_eq(status, mistakes[i].status, "case %zu: status %d: %s", i, (int)status, f.diag.text);
    cr_expect(strstr(f.diag.text, mistakes[i].message), "case %zu: %s", i, f.diag.text);
    close_all(&f);
  }
  import_lines(&f, mistakes[sizeof mistakes / sizeof mistakes[0] - 1].lines);
  cr_expect(f.diag.count == 4 && strstr(f.diag.text, "node 'e' (") && strstr(f.diag.text, "node 'it/r' (") &&
                strstr(f.diag.text, "node 'f' ("),
            "%s", f.diag.text);
  close_all(&f);
}

/* A graph that passes x through an If whose then_branch is `inner`. */
static wire_buffer around(const wire_buffer *inner) {
  static const char *const lines[] = {"node Neg n x q", "out q 1 N", NULL};
  wire_buffer graph = {.size = 0}, other = graph_of(lines), node = wire_node("If", "it", "c", "y");
  for (int k = 0; k < 2; k++) {
    wire_buffer attribute = {.size = 0};
    wire_string(&attribute, 1, k ? "else_branch" : "then_branch");
    wire_message(&attribute, 6, k ? &other : inner);
    wire_message(&node, 5, &attribute);
  }
  wire_message(&graph, 1, &node);
  add_line(&graph, "out y 1 N");
  return graph;
}

/* Ifs in each other: as deep as messages may nest, and no deeper. */
Test(import_if, depth) {
  static const char *const innermost[] = {"node Abs r x p", "out p 1 N", NULL};
  static fixture f;
  static wire_buffer graph;
  graph = graph_of(innermost);
  for (int depth = 1; depth <= 40; depth++) {
    graph = around(&graph);
    if (depth % 20)
      continue;
    static wire_buffer whole;
    whole = graph;
    add_line(&whole, "in x 1 N");
    add_line(&whole, "in c 9 1");
    wire_buffer model = wire_model(&whole);
    cr_expect_eq(import_bytes(&f, model.data, model.size), depth == 20 ? ONNXC_OK : ONNXC_BAD_INPUT, "%s", f.diag.text);
    cr_expect(depth == 20 || strstr(f.diag.text, "nested too deeply"), "%s", f.diag.text);
    close_all(&f);
  }
}

/* A function that calls itself in both sides of an If that a run decides: refused, and soon. */
Test(import_if, recursion) {
  static const char *const body[] = {"if it c y",      "call F a x,c p", "out p 1 none", "else",
                                     "call F b x,c q", "out q 1 none",   "end",          NULL};
  static const char *const lines[] = {"in x 1 N", "in c 9 1", "call F top x,c y", "out y 1 none", NULL};
  static fixture f;
  wire_buffer nodes = graph_of(body), function = {.size = 0}, graph = graph_of(lines), model = wire_model(&graph);
  wire_string(&function, 1, "F");
  wire_names(&function, 4, "x,c");
  wire_names(&function, 5, "y");
  /* the graph is its name (3 bytes), then one node with a tag (1) and a length (2) */
  wire_bytes(&function, 7, nodes.data + 6, nodes.size - 6);
  wire_opset(&function, 9, "", 17);
  wire_opset(&function, 9, "local", 1);
  wire_string(&function, 10, "local");
  wire_opset(&model, 8, "local", 1);
  wire_message(&model, 25, &function);
  cr_expect_eq(import_bytes(&f, model.data, model.size), ONNXC_BAD_INPUT);
  cr_expect(strstr(f.diag.text, "more than 64 deep"), "%s", f.diag.text);
  close_all(&f);
}

/* Every byte damaged in some ways: whatever comes of it, the importer survives. */
Test(import_if, damage) {
  static const uint8_t bits[] = {1, 2, 8, 32, 128, 255};
  static fixture f;
  for (size_t i = 0; i < 4; i++) {
    wire_buffer graph = graph_of(results[i].lines), model = wire_model(&graph);
    for (size_t at = 0; at < model.size; at++)
      for (size_t b = 0; b < sizeof bits; b++) {
        model.data[at] ^= bits[b];
        import_bytes(&f, model.data, model.size);
        close_all(&f);
        model.data[at] ^= bits[b];
      }
  }
}
