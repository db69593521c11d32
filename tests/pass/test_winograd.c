/* test_winograd.c -- which convolutions are computed in tiles, and of which size, where it shall pay. */
#include <criterion/criterion.h>

#include "ops/build.h"
#include "pass/pass.h"

#include <string.h>

static const struct {
  const char *what, *cpu;
  int64_t in, size, out;
  uint32_t tile; /* 0 = stays as it is */
} layers[] = {{"colours to channels", "znver4", 3, 224, 64, 0},
              {"one channel to few", "znver4", 1, 64, 8, 0},
              {"large, few channels", "znver4", 64, 224, 64, 4},
              {"ResNet's first", "znver4", 64, 56, 64, 4},
              {"ResNet's second", "znver4", 128, 28, 128, 4},
              {"ResNet's last: more weights than work", "znver4", 512, 7, 512, 2},
              {"ResNet's first for AVX2", "haswell", 64, 56, 64, 4}};

static void choice(size_t k, const char *expected_of) {
  static onnxc_diag diag;
  onnxc_guard guard;
  onnxc_arena arena;
  onnxc_graph graph;
  if (setjmp(guard.env))
    abort();
  onnxc_arena_init(&arena, &guard);
  onnxc_graph_init(&graph, &arena, &diag);
  onnxc_dim image[4] = {onnxc_dim_const(&graph.dims, 1), onnxc_dim_const(&graph.dims, layers[k].in),
                        onnxc_dim_const(&graph.dims, layers[k].size), onnxc_dim_const(&graph.dims, layers[k].size)};
  onnxc_value x = onnxc_graph_add_input(&graph, "x", ONNXC_F32, 4, image);
  float *data = ONNXC_NEW_ARRAY(&arena, float, (size_t)(layers[k].in * layers[k].out * 9));
  onnxc_value w =
      onnxc_graph_add_constant(&graph, "w", ONNXC_F32, 4, (int64_t[]){layers[k].out, layers[k].in, 3, 3}, data);
  onnxc_dim one = onnxc_dim_const(&graph.dims, 1);
  onnxc_conv conv = {
      .spatial = 2, .group = 1, .stride = {1, 1}, .dilation = {1, 1}, .pad_low = {one, one}, .pad_high = {one, one}};
  onnxc_graph_add_output(&graph, onnxc_build_conv(&graph, "conv", x, w, (onnxc_value){0}, &conv), "y");
  onnxc_pass_options options = {
      .target = onnxc_target_find(layers[k].cpu, strlen(layers[k].cpu)), .verify = true, .winograd = 1};
  cr_assert_eq(onnxc_run_passes(&graph, "recognise,winograd", &options), ONNXC_OK, "%s", diag.text);
  cr_expect_eq(graph.winograd.length, layers[k].tile != 0, "%s", expected_of);
  if (graph.winograd.length && layers[k].tile)
    cr_expect_eq(graph.winograd.data[0].tile, layers[k].tile, "%s: %u", expected_of, graph.winograd.data[0].tile);
  onnxc_arena_free(&arena);
}

Test(winograd, where_it_pays) {
  for (size_t k = 0; k < sizeof layers / sizeof *layers; k++)
    choice(k, layers[k].what);
}
