/* test_manager.c -- the pass manager: names, contracts, the callback. */
#include <criterion/criterion.h>

#include "pass/pass.h"

#include <stdlib.h>
#include <string.h>

static const char source[] = "graph @s(%x: f32[2, 3]) {\n"
                             "  %y = softmax(%x) axis=1 span=1 : f32[2, 3]\n"
                             "  return %y\n"
                             "}\n";

static void count_pass(void *arg, const char *pass, double seconds, const onnxc_graph *graph) {
  cr_expect(onnxc_pass_find(pass, strlen(pass)) && seconds >= 0 && graph->order.length > 0);
  ++*(int *)arg;
}

Test(pass, manager) {
  static onnxc_diag diag;
  onnxc_guard guard;
  onnxc_arena arena;
  onnxc_graph graph;
  int count = 0;
  if (setjmp(guard.env))
    abort();
  onnxc_arena_init(&arena, &guard);
  onnxc_diag_clear(&diag);
  onnxc_graph_init(&graph, &arena, &diag);
  cr_assert_eq(onnxc_graph_parse(&graph, "s", source, sizeof source - 1), ONNXC_OK, "%s", diag.text);
  onnxc_pass_options options = {.target = onnxc_target_find("x86-64-v3", strlen("x86-64-v3")),
                                .after = count_pass,
                                .after_arg = &count,
                                .verify = true};
  cr_expect_eq(onnxc_run_passes(&graph, "dce, nonsense", &options), ONNXC_USAGE);
  cr_expect(strstr(diag.text, "there is no pass 'nonsense'"));
  cr_expect_eq(onnxc_run_passes(&graph, "fuse", &options), ONNXC_USAGE);
  cr_expect(strstr(diag.text, "pass 'fuse' must run after 'expand'"));
  cr_expect_eq(onnxc_run_passes(&graph, "expand,pack", &options), ONNXC_USAGE);
  cr_expect_eq(onnxc_run_passes(&graph, "", &options), ONNXC_OK);
  cr_expect_eq(count, 2);
  onnxc_diag_clear(&diag);
  cr_expect_eq(onnxc_run_passes(&graph, onnxc_pipeline, &options), ONNXC_OK, "%s", diag.text);
  uint32_t passes;
  const onnxc_pass *rows = onnxc_passes(&passes);
  for (uint32_t i = 0; i < passes; i++)
    cr_expect_eq(onnxc_pass_find(rows[i].name, strlen(rows[i].name)), &rows[i]);
  cr_expect_null(onnxc_pass_find("fol", 3));
  onnxc_arena_free(&arena);
}
