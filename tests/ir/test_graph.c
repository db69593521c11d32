/* The graph's builders: bookkeeping of producers, uses, constants and combiners. */
#include "ir/graph.h"

#include <criterion/criterion.h>
#include <string.h>

static onnxc_guard guard;
static onnxc_arena arena;
static onnxc_diag diag;
static onnxc_graph graph;

static void setup(void) {
  if (setjmp(guard.env))
    abort();
  onnxc_arena_init(&arena, &guard);
  onnxc_graph_init(&graph, &arena, &diag);
}
static void teardown(void) { onnxc_arena_free(&arena); }
TestSuite(graph, .init = setup, .fini = teardown);

Test(graph, building) {
  onnxc_dim n = onnxc_dim_sym(&graph.dims, onnxc_sym_new(&graph.dims, "N", ONNXC_SYM_INPUT_DIM, 0, 0));
  onnxc_dim shape[2] = {n, onnxc_dim_const(&graph.dims, 4)};
  onnxc_value x = onnxc_graph_add_input(&graph, "x", ONNXC_F32, 2, shape);
  static const float data[4] = {1, 2, 3, 4};
  int64_t four = 4;
  onnxc_value w = onnxc_graph_add_constant(&graph, "w", ONNXC_F32, 1, &four, data);
  cr_expect(onnxc_value_is_constant(&graph, w) && !onnxc_value_is_constant(&graph, x));
  cr_expect_eq(onnxc_value_of(&graph, w)->data_size, 16);

  /* y[i0] = sum over r0 of x[i0, r0] * w[r0] */
  onnxc_exprs *pool = &graph.exprs;
  onnxc_expr i0 = onnxc_expr_index(pool, 0), r0 = onnxc_expr_index(pool, 1);
  onnxc_expr at[2] = {i0, r0};
  onnxc_compute compute = {.num_parallel = 1, .num_reduce = 1, .num_results = 1};
  compute.extents[0] = n;
  compute.extents[1] = shape[1];
  compute.acc_dtype[0] = ONNXC_F32;
  compute.init[0] = onnxc_expr_f64(pool, ONNXC_F32, 0);
  compute.element[0] = onnxc_expr_binary(pool, ONNXC_EXPR_MUL, onnxc_expr_load(pool, ONNXC_F32, 0, 2, at),
                                         onnxc_expr_load(pool, ONNXC_F32, 1, 1, &r0));
  onnxc_expr acc = onnxc_expr_acc(pool, ONNXC_F32, 0), val = onnxc_expr_val(pool, ONNXC_F32, 0);
  compute.combine[0] = onnxc_expr_binary(pool, ONNXC_EXPR_ADD, acc, val);
  compute.finish[0] = acc;
  cr_expect_eq(onnxc_compute_combiner(pool, &compute, 0), ONNXC_EXPR_ADD);
  compute.combine[0] = onnxc_expr_binary(pool, ONNXC_EXPR_MAX, val, acc);
  cr_expect_eq(onnxc_compute_combiner(pool, &compute, 0), ONNXC_EXPR_MAX);
  compute.combine[0] = onnxc_expr_binary(pool, ONNXC_EXPR_SUB, acc, val);
  cr_expect_eq(onnxc_compute_combiner(pool, &compute, 0), ONNXC_EXPR_NONE);
  compute.combine[0] = onnxc_expr_binary(pool, ONNXC_EXPR_ADD, acc, val);

  onnxc_value inputs[2] = {x, w}, y;
  onnxc_node node = onnxc_graph_add_compute(&graph, "dot", &compute, 2, inputs, &y);
  onnxc_graph_add_output(&graph, y, "y");
  onnxc_value_info *info = onnxc_value_of(&graph, y);
  cr_expect(info->producer.i == node.i && info->slot == 0 && info->rank == 1 && info->dtype == ONNXC_F32);
  cr_expect(onnxc_dim_same(info->dims[0], n));
  cr_expect_eq(graph.order.length, 2);

  uint32_t *uses = onnxc_graph_count_uses(&graph, &arena);
  cr_expect(uses[x.i] == 1 && uses[w.i] == 1 && uses[y.i] == 1);
  onnxc_graph_replace_uses(&graph, y, x);
  cr_expect_eq(graph.outputs.data[0].i, x.i);

  int64_t static_shape[ONNXC_MAX_RANK];
  cr_expect(!onnxc_value_static_shape(&graph, x, static_shape));
  cr_expect(onnxc_value_static_shape(&graph, w, static_shape) && static_shape[0] == 4);
  cr_expect_str_eq(onnxc_dim_text(&graph.dims, onnxc_value_num_elements(&graph, x)), "4*%N");
  onnxc_graph_add_constraint(&graph, n, n, "trivial");
  onnxc_graph_add_constraint(&graph, n, shape[1], "real");
  onnxc_graph_add_constraint(&graph, n, shape[1], "again");
  cr_expect_eq(graph.constraints.length, 1);
}

Test(graph, absurd_constants) {
  int64_t huge[3] = {INT64_MAX / 2, 8, 8}, negative[1] = {-1};
  cr_expect_eq(onnxc_graph_add_constant(&graph, "huge", ONNXC_F32, 3, huge, NULL).i, 0);
  cr_expect_eq(onnxc_graph_add_constant(&graph, "negative", ONNXC_F32, 1, negative, NULL).i, 0);
  cr_expect_eq(diag.count, 2);
}
