/* fold.c -- evaluate what is known.
 *
 *   all operands constant                          =>  constant
 *   all elements known (a small integer tensor)    =>  constant
 *
 * A constant is kept if it is not much larger than its operands, or if it is needed whole: an expanded scalar
 * that is a factor of a product is a weight; one that is only added inlines better as it is. Sizes
 * that come out of folding (elements of a tensor that is constant now) are substituted, and
 * the sweep runs again; each round makes a symbol disappear, so it ends.
 *
 * needs: nothing      breaks: roles      leaves: unused constants, for dce
 */
#include "ir/eval.h"
#include "pass/infer.h"
#include "pass/pass.h"

#include <stdlib.h>
#include <string.h>

#define ALWAYS_BYTES ((int64_t)1 << 20)
#define TOTAL_BYTES  ((int64_t)1 << 30)
#define MAX_POINTS   ((int64_t)1 << 36)

/* Names of source nodes are compared by address: the nodes of one share the string. */
typedef struct node_name {
  const char *text;
} node_name;

typedef struct folder {
  onnxc_graph *graph;
  bool *whole;                /* by value: some user needs it in memory */
  int64_t total;              /* bytes of large constants made */
  ONNXC_VEC(node_name) names; /* of the folded nodes, each once in a row */
  bool changed;
} folder;

/* ---- may it be folded? ---- */

typedef struct leaf_scan {
  bool *whole;
  const onnxc_node_info *node;
  bool symbolic;
} leaf_scan;

static void scan_loads(void *arg, const onnxc_exprs *pool, onnxc_expr e) {
  leaf_scan *scan = arg;
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  if (node->op == ONNXC_EXPR_LOAD && node->imm < scan->node->num_inputs)
    scan->whole[scan->node->inputs[node->imm].i] = true;
}

static void scan_symbols(void *arg, const onnxc_exprs *pool, onnxc_expr e) {
  leaf_scan *scan = arg;
  scan->symbolic |= onnxc_exprs_node(pool, e)->op == ONNXC_EXPR_DIM;
}

static bool any_result_whole(const folder *f, const onnxc_node_info *node) {
  for (uint32_t j = 0; j < node->num_outputs; j++)
    if (f->whole[node->outputs[j].i])
      return true;
  return false;
}

/* Values that are read by a reduction, or regrouped, are needed whole, and so is what they are computed from. */
static void find_whole(folder *f) {
  onnxc_graph *graph = f->graph;
  for (uint32_t i = graph->order.length; i-- > 0;) {
    const onnxc_node_info *node = onnxc_node_of(graph, graph->order.data[i]);
    leaf_scan scan = {.whole = f->whole, .node = node};
    if (node->op != ONNXC_OP_COMPUTE || any_result_whole(f, node))
      for (uint32_t k = 0; k < node->num_inputs; k++)
        f->whole[node->inputs[k].i] = true;
    else if (node->compute->num_reduce)
      for (uint32_t j = 0; j < node->compute->num_results; j++)
        onnxc_expr_walk(&graph->exprs, node->compute->element[j], scan_loads, &scan);
  }
}

/* Bytes of a value with static dims; -1 if they are not static or absurd. */
static int64_t bytes_of(const onnxc_graph *graph, onnxc_value value) {
  int64_t shape[ONNXC_MAX_RANK], bytes = (int64_t)onnxc_dtype_bytes(onnxc_value_of(graph, value)->dtype);
  bool empty = false;
  if (!onnxc_value_static_shape(graph, value, shape))
    return -1;
  for (uint32_t d = 0; d < onnxc_value_of(graph, value)->rank; d++) {
    if (shape[d] < 0 || (shape[d] && bytes > TOTAL_BYTES / shape[d]))
      return -1;
    empty |= shape[d] == 0;
    bytes *= shape[d] ? shape[d] : 1;
  }
  return empty ? 0 : bytes;
}

static bool compute_is_known(const onnxc_graph *graph, const onnxc_compute *c) {
  int64_t points = 1, extent;
  for (uint32_t k = 0; k < c->num_parallel + c->num_reduce; k++) {
    if (!onnxc_dim_is_const(&graph->dims, c->extents[k], &extent) || extent < 0 ||
        (extent && points > MAX_POINTS / extent))
      return false;
    points *= extent ? extent : 1;
  }
  leaf_scan scan = {0};
  for (uint32_t j = 0; j < c->num_results; j++) {
    if (c->num_reduce) {
      onnxc_expr_walk(&graph->exprs, c->init[j], scan_symbols, &scan);
      onnxc_expr_walk(&graph->exprs, c->element[j], scan_symbols, &scan);
    }
    onnxc_expr_walk(&graph->exprs, c->finish[j], scan_symbols, &scan);
  }
  return !scan.symbolic;
}

static bool may_fold(folder *f, const onnxc_node_info *node) {
  onnxc_graph *graph = f->graph;
  int64_t read = 0, made = 0;
  bool whole = false;
  if (node->op == ONNXC_OP_CONSTANT || node->op == ONNXC_OP_RELAYOUT)
    return false;
  for (uint32_t k = 0; k < node->num_inputs; k++) {
    if (node->inputs[k].i && !onnxc_value_is_constant(graph, node->inputs[k]))
      return false;
    int64_t bytes = node->inputs[k].i ? bytes_of(graph, node->inputs[k]) : 0;
    read += bytes > 0 ? bytes : 0;
  }
  for (uint32_t j = 0; j < node->num_outputs; j++) {
    const onnxc_value_info *info = onnxc_value_of(graph, node->outputs[j]);
    int64_t bytes = bytes_of(graph, node->outputs[j]);
    if (bytes < 0 || !onnxc_layout_is_default(&info->layout, info->rank))
      return false;
    made += bytes;
    whole |= f->whole[node->outputs[j].i];
  }
  if (node->op == ONNXC_OP_COMPUTE && !compute_is_known(graph, node->compute))
    return false;
  if (made <= ALWAYS_BYTES || made <= 2 * read)
    return true;
  if (!whole || f->total + made > TOTAL_BYTES)
    return false;
  f->total += made;
  return true;
}

/* ---- making constants ---- */

static void count_name(folder *f, const char *name) {
  if (name && (!f->names.length || f->names.data[f->names.length - 1].text != name))
    ONNXC_PUSH(f->graph->arena, f->names, ((node_name){name}));
}

/* The value's node becomes, or is replaced by, a constant with this data; it is appended to order. */
static void make_constant(folder *f, onnxc_value value, const void *data, int64_t bytes, const char *name) {
  onnxc_graph *graph = f->graph;
  onnxc_value_of(graph, value)->producer = (onnxc_node){0};
  onnxc_graph_add_node(graph, ONNXC_OP_CONSTANT, name, 0, NULL, 1, &value);
  onnxc_value_info *info = onnxc_value_of(graph, value);
  info->data = data;
  info->data_size = (size_t)bytes;
  f->changed = true;
}

/* All elements known: then the node need not be evaluated, whatever its operands are. */
static bool fold_elements(folder *f, const onnxc_node_info *node) {
  onnxc_graph *graph = f->graph;
  if (node->num_outputs != 1 || node->op == ONNXC_OP_CONSTANT)
    return false;
  onnxc_value value = node->outputs[0];
  const onnxc_value_info *info = onnxc_value_of(graph, value);
  int64_t bytes = bytes_of(graph, value), element;
  if (!info->elements || bytes < 0 || !onnxc_layout_is_default(&info->layout, info->rank))
    return false;
  size_t size = onnxc_dtype_bytes(info->dtype);
  int64_t count = bytes / (int64_t)size;
  char *data = onnxc_arena_alloc(graph->arena, (size_t)bytes + 1);
  for (int64_t i = 0; i < count; i++) {
    if (!onnxc_dim_is_const(&graph->dims, info->elements[i], &element))
      return false;
    onnxc_scalar_from_i64(info->dtype, data + (size_t)i * size, element);
  }
  make_constant(f, value, data, bytes, node->name);
  return true;
}

static onnxc_status fold_node(folder *f, onnxc_eval *eval, onnxc_node handle) {
  onnxc_graph *graph = f->graph;
  onnxc_node_info node = *onnxc_node_of(graph, handle);
  if (fold_elements(f, &node)) {
    count_name(f, node.name);
    return ONNXC_OK;
  }
  if (!may_fold(f, &node)) {
    ONNXC_PUSH(graph->arena, graph->order, handle);
    return ONNXC_OK;
  }
  ONNXC_TRY(onnxc_eval_node(eval, handle));
  for (uint32_t j = 0; j < node.num_outputs; j++)
    make_constant(f, node.outputs[j], eval->arrays[node.outputs[j].i].data, bytes_of(graph, node.outputs[j]),
                  node.name);
  count_name(f, node.name);
  return ONNXC_OK;
}

static onnxc_status sweep(folder *f) {
  onnxc_graph *graph = f->graph;
  onnxc_eval eval = {.graph = graph, .arena = graph->arena};
  uint32_t num_symbols = graph->dims.symbols.length + ONNXC_SPARE_SYMBOLS;
  eval.symbols = ONNXC_NEW_ARRAY(graph->arena, int64_t, num_symbols);
  eval.arrays = ONNXC_NEW_ARRAY(graph->arena, onnxc_array, graph->values.length);
  for (uint32_t s = 0; s < num_symbols; s++)
    eval.symbols[s] = ONNXC_UNBOUND; /* nothing symbolic is evaluated */
  uint32_t count = graph->order.length;
  onnxc_node *order = ONNXC_NEW_ARRAY(graph->arena, onnxc_node, count + 1);
  if (count)
    for (uint32_t i = 0; i < count; i++)
      order[i] = graph->order.data[i];
  graph->order.length = 0;
  f->changed = false;
  for (uint32_t i = 0; i < count; i++)
    ONNXC_TRY(fold_node(f, &eval, order[i]));
  return ONNXC_OK;
}

static int by_address(const char *a, const char *b) {
  return ((uintptr_t)a > (uintptr_t)b) - ((uintptr_t)a < (uintptr_t)b);
}

static int compare_names(const void *a, const void *b) {
  return by_address(((const node_name *)a)->text, ((const node_name *)b)->text);
}

/* A source node is folded when all its nodes are: they carry its name. */
static void count_folded(folder *f) {
  onnxc_graph *graph = f->graph;
  ONNXC_VEC(node_name) left = {0};
  for (uint32_t i = 0; i < graph->order.length; i++) {
    const onnxc_node_info *node = onnxc_node_of(graph, graph->order.data[i]);
    if (node->op != ONNXC_OP_CONSTANT && node->name)
      ONNXC_PUSH(graph->arena, left, ((node_name){node->name}));
  }
  if (f->names.length)
    qsort(f->names.data, f->names.length, sizeof *f->names.data, compare_names);
  if (left.length)
    qsort(left.data, left.length, sizeof *left.data, compare_names);
  for (uint32_t i = 0, j = 0; i < f->names.length; i++) {
    const char *name = f->names.data[i].text;
    while (j < left.length && by_address(left.data[j].text, name) < 0)
      j++;
    bool again = i > 0 && f->names.data[i - 1].text == name;
    if (!again && !(j < left.length && left.data[j].text == name))
      graph->folded_nodes++;
  }
}

onnxc_status onnxc_pass_fold(onnxc_graph *graph, const onnxc_pass_options *options) {
  (void)options;
  folder f = {.graph = graph};
  bool again;
  do {
    f.whole = ONNXC_NEW_ARRAY(graph->arena, bool, graph->values.length);
    find_whole(&f);
    ONNXC_TRY(sweep(&f));
    again = false;
    if (f.changed)
      ONNXC_TRY(onnxc_infer_symbols(graph, &again));
  } while (again);
  count_folded(&f);
  return ONNXC_OK;
}
