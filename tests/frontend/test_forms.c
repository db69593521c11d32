/* test_forms.c -- the forms that importers give to operators and that later passes look for: affine indices, guards
 * only where the window can leave its input, no reduction over extents of 1, exact integer coordinates.
 *
 * Each row is a model of one node; its text must hold what is expected. `x` and `w` are inputs of the model, `c` is a
 * constant list.
 */
#include "frontend.h"
#include "ir/text.h"
#include "wire.h"

#include <criterion/criterion.h>
#include <stdio.h>

typedef struct form {
  const char *op, *attributes, *inputs; /* attributes: name=text, name=#int or name=int,int,.. */
  const char *x, *w;                    /* dims; NULL = none */
  const char *c;                        /* f or i, then numbers */
  const char *expected[3];
} form;

static void add_attribute(wire_buffer *node, const char *text, size_t length) {
  char copy[128];
  snprintf(copy, sizeof copy, "%.*s", (int)length, text);
  char *value = strchr(copy, '=');
  cr_assert(value, "%s", copy);
  *value++ = 0;
  wire_buffer a = {.size = 0};
  wire_string(&a, 1, copy);
  if (*value == '#') {
    wire_int(&a, 3, atoll(value + 1));
    wire_int(&a, 20, 2);
  } else if ((*value >= '0' && *value <= '9') || *value == '-') {
    for (char *at = value; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
      wire_int(&a, 8, atoll(at));
    wire_int(&a, 20, 7);
  } else {
    wire_string(&a, 4, value);
    wire_int(&a, 20, 3);
  }
  wire_message(node, 5, &a);
}

static wire_buffer constant_list(const char *text) {
  int64_t count = 1;
  for (const char *at = text; *at; at++)
    count += *at == ',';
  wire_buffer t = wire_tensor("c", text[0] == 'f' ? 1 : 7, 1, &count);
  for (const char *at = text + 1; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
    if (text[0] == 'f')
      wire_float(&t, 4, (float)atof(at));
    else
      wire_int(&t, 7, atoll(at));
  return t;
}

static wire_buffer make_model(const form *f) {
  wire_buffer graph = {.size = 0}, node = wire_node(f->op, "it", f->inputs, "y");
  for (const char *at = f->attributes; *at;) {
    size_t length = strcspn(at, " ");
    add_attribute(&node, at, length);
    at += length + (at[length] == ' ');
  }
  wire_message(&graph, 1, &node);
  wire_string(&graph, 2, "it");
  if (f->c) {
    wire_buffer list = constant_list(f->c);
    wire_message(&graph, 5, &list);
  }
  wire_buffer x = wire_value("x", 1, f->x), y = wire_value("y", 1, NULL);
  wire_message(&graph, 11, &x);
  if (f->w) {
    wire_buffer w = wire_value("w", 1, f->w);
    wire_message(&graph, 11, &w);
  }
  wire_message(&graph, 12, &y);
  return wire_model(&graph);
}

static void check_form(const form *f) {
  onnxc_guard guard;
  onnxc_arena arena;
  onnxc_graph graph;
  onnxc_text text;
  static onnxc_diag diag;
  onnxc_onnx_file *file = NULL;
  onnxc_import_options options = {0};
  wire_buffer model = make_model(f);
  onnxc_diag_clear(&diag);
  onnxc_arena_init(&arena, &guard);
  if (setjmp(guard.env))
    abort();
  onnxc_graph_init(&graph, &arena, &diag);
  cr_assert_eq(onnxc_onnx_open_memory(&file, &arena, &diag, model.data, model.size, NULL), ONNXC_OK, "%s", diag.text);
  cr_assert_eq(onnxc_onnx_import(file, &graph, &options), ONNXC_OK, "%s: %s", f->op, diag.text);
  onnxc_text_init(&text, &arena);
  onnxc_graph_print(&graph, &text, 0);
  for (int k = 0; k < 3 && f->expected[k]; k++)
    cr_expect(strstr(text.data, f->expected[k]), "%s %s: expected\n  %s\nin\n%s", f->op, f->attributes, f->expected[k],
              text.data);
  onnxc_onnx_close(file);
  onnxc_arena_free(&arena);
}

static const form forms[] = {
    {"Gather", "", "x,c", "N,3", NULL, "i0,1", {"require 6*eq(%N, 0) == 0", "$0[min("}},
    {"Pad", "mode=edge", "x,c", "N,3", NULL, "i1,0,1,0", {"has no elements to take"}},
    {"Resize", "mode=nearest", "x,,,c", "N,3,H,4", NULL, "i1,3,7,4", {"has no elements to take"}},
    {"Conv",
     "",
     "x,w",
     "N,3,H,W",
     "8,3,1,1",
     NULL,
     {"<i0: %N, i1: 8, i2: %H, i3: %W | r0: 3>", "f32 add mul($0[i0, r0, i2, i3], $1[i1, r0, 0, 0]) init 0 -> acc0"}},
    {"Conv",
     "pads=1,1",
     "x,w",
     "N,3,10",
     "8,3,3",
     NULL,
     {"<i0: %N, i1: 8, i2: 10 | r0: 3, r1: 3>", "mul(select(and(le(0, add(add(i2, r1), -1)), lt(add(add(i2, r1), -1), "
                                                "10)), $0[i0, r0, add(add(i2, r1), -1)], 0), "
                                                "$1[i1, r0, r1])"}},
    {"Conv",
     "strides=2,2 pads=1,1,1,1",
     "x,w",
     "N,3,H,W",
     "8,3,3,3",
     NULL,
     {"i2: (%H + 1) floordiv 2, i3: (%W + 1) floordiv 2 | r0: 3, r1: 3, r2: 3>",
      "$0[i0, r0, add(add(mul(i2, 2), r1), -1), add(add(mul(i3, 2), r2), -1)]"}},
    {"Conv",
     "strides=2 pads=1,0",
     "x,w",
     "N,3,10",
     "8,3,3",
     NULL,
     {"mul(select(le(0, add(add(mul(i2, 2), r1), -1)), $0[i0, r0, add(add(mul(i2, 2), r1), -1)], 0), $1"}},
    {"Conv", "auto_pad=SAME_UPPER", "x,w", "N,3,L", "8,3,3", NULL, {"<i0: %N, i1: 8, i2: %L | r0: 3, r1: 3>"}},
    {"Conv",
     "group=#6",
     "x,w",
     "N,6,9",
     "6,1,3",
     NULL,
     {"<i0: %N, i1: 6, i2: 7 | r0: 3>", "f32 add mul($0[i0, i1, add(i2, r0)], $1[i1, 0, r0]) init 0 -> acc0"}},
    {"Conv",
     "group=#3",
     "x,w",
     "N,6,9",
     "12,2,3",
     NULL,
     {"<i0: %N, i1: 3, i2: 4, i3: 7 | r0: 2, r1: 3>",
      "mul($0[i0, add(mul(i1, 2), r0), add(i3, r1)], $1[i1, i2, r0, r1])", "%y = reshape("}},
    {"ConvTranspose",
     "strides=2,2",
     "x,w",
     "N,3,H,W",
     "3,4,2,2",
     NULL,
     {"<i0: %N, i1: 16, i2: %H, i3: %W | r0: 3>", "add mul($0[i0, r0, i2, i3], $1[i1, r0, 0, 0]) init 0 -> acc0",
      "$0[i0, add(mul(add(mul(mod(i2, 2), 2), mod(i3, 2)), 4), i1), floordiv(i2, 2), floordiv(i3, 2)]"}},
    {"ConvTranspose",
     "pads=1,1",
     "x,w",
     "N,3,9",
     "3,4,3",
     NULL,
     {"%y = compute(%x, %_0) <i0: %N, i1: 4, i2: 9 | r0: 3, r1: 3>"}},
    {"MaxPool",
     "kernel_shape=3 strides=2",
     "x",
     "N,3,9",
     NULL,
     NULL,
     {"<i0: %N, i1: 3, i2: 4 | r0: 3>", "f32 max $0[i0, i1, add(mul(i2, 2), r0)] init -inf -> acc0"}},
    {"MaxPool",
     "kernel_shape=3 strides=2 pads=1,0",
     "x",
     "N,3,10",
     NULL,
     NULL,
     {"max select(le(0, add(add(mul(i2, 2), r0), -1)), $0[i0, i1, add(add(mul(i2, 2), r0), -1)], -inf) init -inf"}},
    {"AveragePool",
     "kernel_shape=2,2 strides=2,2",
     "x",
     "N,3,H,W",
     NULL,
     NULL,
     {"add $0[i0, i1, add(mul(i2, 2), r0), add(mul(i3, 2), r1)] init 0 -> mul(acc0, 0.25)"}},
    {"AveragePool",
     "kernel_shape=3 pads=1,1",
     "x",
     "N,3,L",
     NULL,
     NULL,
     {"-> div(acc0, cast.f32(sub(min(sub(dim(%L + 1), i2), 3), max(sub(1, i2), 0))))"}},
    {"Resize",
     "mode=nearest",
     "x,,c",
     "N,3,H,W",
     NULL,
     "f1,1,2,2",
     {"<i0: %N, i1: 3, i2: 2*%H, i3: 2*%W>", "$0[i0, i1, floordiv(i2, 2), floordiv(i3, 2)] :"}},
    {"Resize",
     "coordinate_transformation_mode=asymmetric nearest_mode=floor",
     "x,,c",
     "N,H",
     NULL,
     "f1,4",
     {"<i0: %N, i1: 4*%H>", "$0[i0, floordiv(i1, 4)] :"}},
    {"Resize",
     "coordinate_transformation_mode=asymmetric nearest_mode=floor",
     "x,,c",
     "N,H",
     NULL,
     "f1,0.5",
     {"<i0: %N, i1: %H floordiv 2>", "$0[i0, mul(i1, 2)] :"}},
    {"Resize",
     "mode=linear",
     "x,,c",
     "N,H",
     NULL,
     "f1,2",
     {"add(mul($0[i0, max(floordiv(add(i1, -1), 2), 0)], sub(1, t0)), mul($0[i0, min(add(floordiv(add(i1, -1), 2), 1), "
      "dim(%H - 1))], t0))"}},
    {"Resize",
     "mode=linear coordinate_transformation_mode=align_corners",
     "x,,,c",
     "1,5",
     NULL,
     "i1,9",
     {"$0[i0, floordiv(i1, 2)]", "mul(cast.f32(mod(i1, 2)), 0.5)"}},
    {"Reshape", "", "x,c", "N,6,H", NULL, "i0,-1", {"%y = reshape(%x) : f32[%N, 6*%H]"}},
    {"Reshape", "", "x,c", "N,6,H", NULL, "i0,2,3,-1", {"%y = reshape(%x) : f32[%N, 2, 3, %H]"}},
    {"Reshape", "", "x,c", "N,6,H", NULL, "i0,1,6,-1", {"%y = compute(%x)", "$0[i0, i2, i3]"}},
    {"Pad",
     "mode=reflect",
     "x,c",
     "N,9",
     NULL,
     "i0,2,0,3",
     {"<i0: %N, i1: 14>", "$0[i0, sub(8, abs(sub(8, abs(add(i1, -2)))))] :"}},
    {"Pad",
     "",
     "x,c",
     "N,9",
     NULL,
     "i0,2,0,-3",
     {"<i0: %N, i1: 8>", "select(le(0, add(i1, -2)), $0[i0, add(i1, -2)], 0)"}},
    {"RNN",
     "hidden_size=#4",
     "x,w,w",
     "3,N,4",
     "1,4,4",
     NULL,
     {"<i0: 3, i1: %N, i2: 4 | r0: 4>", "<i0: 1, i1: 1, i2: %N, i3: 4 | r0: 4>", "axis=0 : f32[3, 1, %N, 4]"}},
    {"Tile", "", "x,c", "N,9", NULL, "i1,2", {"<i0: %N, i1: 18>", "$0[i0, mod(i1, 9)] :"}},
    {"DepthToSpace",
     "blocksize=#2",
     "x",
     "N,8,H,W",
     NULL,
     NULL,
     {"$0[i0, add(mul(add(mul(mod(i2, 2), 2), mod(i3, 2)), 2), i1), floordiv(i2, 2), floordiv(i3, 2)]"}},
};

Test(forms, as_expected) {
  for (size_t k = 0; k < sizeof forms / sizeof forms[0]; k++)
    check_form(&forms[k]);
}
