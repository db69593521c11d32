/* verify.c -- the invariants of the graph, G1..G7.
 *
 *   G1  each value is written by one output slot of one node, or is a graph input; producer and slot say so
 *   G2  a producer comes before its users in order; outputs of the graph exist
 *   G3  operand and result counts agree with the node's row in ops.def; its attributes with its operands
 *   G4  every value has a dtype, a rank <= ONNXC_MAX_RANK, dims that are neither none nor negative, and a layout of
 *       these
 *   G5  a compute is well typed (verify_compute.c); its results have its extents as dims; the computes of a row group
 *       are consecutive in order (but for constants) and share their row indices and their branch
 *   G6  graph inputs and outputs have the default layout; only relayout, computes and constants give a value another
 *       one, and a reshape or concat that is a view of a value with one
 *   G7  a node reads only what runs wherever it does, and whether a branch runs is known before a run starts
 *       (verify_branch.c)
 *
 * Besides, no dim may have grown too complex.
 */
#include "ir/verify.h"
#include "ir/graph_text.h"

#include <string.h>

typedef struct verifier {
  const onnxc_graph *graph;
  const char *after;
  const char **names;
  onnxc_status status;
  uint8_t *defined; /* by value */
  uint32_t errors;
} verifier;

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static void
fail(verifier *v, const char *where, const char *format, ...) {
  onnxc_text text;
  va_list args;
  char message[300];
  if (v->errors++ >= 20)
    return;
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  onnxc_text_init(&text, v->graph->arena);
  if (v->after)
    onnxc_text_printf(&text, "after %s: ", v->after);
  v->status =
      onnxc_error(v->graph->diag, v->after ? ONNXC_INTERNAL : ONNXC_BAD_INPUT, "%s%s: %s", text.data, where, message);
}

static bool value_exists(const verifier *v, onnxc_value value) {
  return value.i > 0 && value.i < v->graph->values.length;
}

static bool dim_exists(const verifier *v, onnxc_dim dim) { return dim.i > 0 && dim.i < v->graph->dims.nodes.length; }

/* ---- values: G1, G4, G6 ---- */

static bool layout_fits(const onnxc_layout *layout, uint32_t rank) {
  bool seen[ONNXC_MAX_RANK] = {0};
  if (layout->num_axes == 0)
    return true;
  if (layout->num_axes > ONNXC_LAYOUT_MAX_AXES)
    return false;
  for (uint32_t a = 0; a < layout->num_axes; a++) {
    uint32_t d = layout->axis_dim[a];
    if (d >= rank || seen[d] != (layout->axis_size[a] != 0))
      return false;
    seen[d] = true;
  }
  for (uint32_t d = 0; d < rank; d++)
    if (!seen[d])
      return false;
  return true;
}

static bool check_value(verifier *v, onnxc_value value) {
  const onnxc_value_info *info = onnxc_value_of(v->graph, value);
  const char *name = v->names[value.i];
  if (info->dtype <= ONNXC_DTYPE_NONE || info->dtype >= ONNXC_DTYPE_COUNT) {
    fail(v, name, "G4: no dtype");
    return false;
  }
  if (info->rank > ONNXC_MAX_RANK) {
    fail(v, name, "G4: rank %u", info->rank);
    return false;
  }
  for (uint32_t d = 0; d < info->rank; d++) {
    int64_t extent = 0;
    if (!dim_exists(v, info->dims[d])) {
      fail(v, name, "G4: dim %u is none", d);
      return false;
    }
    if (onnxc_dim_is_const(&v->graph->dims, info->dims[d], &extent) && extent < 0) {
      fail(v, name, "G4: dim %u is negative", d);
      return false;
    }
  }
  if (!layout_fits(&info->layout, info->rank)) {
    fail(v, name, "G4: a layout that does not fit its rank");
    return false;
  }
  return true;
}

static bool define(verifier *v, onnxc_value value, onnxc_node producer, uint32_t slot) {
  const onnxc_value_info *info = onnxc_value_of(v->graph, value);
  if (v->defined[value.i])
    fail(v, v->names[value.i], "G1: written twice");
  else if (info->producer.i != producer.i || info->slot != slot)
    fail(v, v->names[value.i], "G1: producer and slot do not say who writes it");
  v->defined[value.i] = 1;
  return check_value(v, value);
}

static bool has_default_layout(const verifier *v, onnxc_value value) {
  const onnxc_value_info *info = onnxc_value_of(v->graph, value);
  return onnxc_layout_is_default(&info->layout, info->rank);
}

/* ---- nodes: G2, G3, G5 ---- */

static const struct {
  const char *name;
  int min_inputs, max_inputs, outputs;
} op_rows[ONNXC_OP_COUNT] = {
    {"none", 0, 0, 0},
#define X(NAME, text, min_inputs, max_inputs, outputs) {text, min_inputs, max_inputs, outputs},
#include "ir/ops.def"
#undef X
};

static void check_compute(verifier *v, const char *where, const onnxc_node_info *node) {
  const onnxc_graph *graph = v->graph;
  const onnxc_compute *compute = node->compute;
  onnxc_dtype *dtypes = ONNXC_NEW_ARRAY(graph->arena, onnxc_dtype, node->num_inputs);
  uint32_t *ranks = ONNXC_NEW_ARRAY(graph->arena, uint32_t, node->num_inputs);
  for (uint32_t i = 0; i < node->num_inputs; i++) {
    dtypes[i] = onnxc_value_of(graph, node->inputs[i])->dtype;
    ranks[i] = onnxc_value_of(graph, node->inputs[i])->rank;
  }
  const char *error = onnxc_compute_check(&graph->exprs, compute, node->num_inputs, dtypes, ranks);
  if (error) {
    fail(v, where, "G5: %s", error);
    return;
  }
  if (compute->num_results != node->num_outputs) {
    fail(v, where, "G3: the compute has %u results, the node %u", compute->num_results, node->num_outputs);
    return;
  }
  for (uint32_t j = 0; j < compute->num_results; j++) {
    const onnxc_value_info *result = onnxc_value_of(graph, node->outputs[j]);
    if (onnxc_exprs_node(&graph->exprs, compute->finish[j])->dtype != result->dtype)
      fail(v, where, "G5: finish %u differs in dtype from the result", j);
    bool same = result->rank == compute->num_parallel;
    for (uint32_t d = 0; same && d < result->rank; d++)
      same = onnxc_dim_same(result->dims[d], compute->extents[d]);
    if (!same)
      fail(v, where, "G5: the dims of result %u are not the parallel extents", j);
  }
}

static void check_attributes(verifier *v, const char *where, const onnxc_node_info *node) {
  const onnxc_graph *graph = v->graph;
  const onnxc_value_info *in = onnxc_value_of(graph, node->inputs[0]), *out = onnxc_value_of(graph, node->outputs[0]);
  bool same = in->rank == out->rank;
  for (uint32_t d = 0; same && d < in->rank; d++)
    same = onnxc_dim_same(in->dims[d], out->dims[d]);
  if (in->dtype != out->dtype)
    fail(v, where, "G3: the result differs in dtype from the operand");
  switch (node->op) {
  case ONNXC_OP_CONCAT:
    if (node->axis < 0 || node->axis >= (int64_t)out->rank)
      fail(v, where, "G3: axis %lld of a tensor of rank %u", (long long)node->axis, out->rank);
    for (uint32_t i = 0; i < node->num_inputs; i++) {
      const onnxc_value_info *part = onnxc_value_of(graph, node->inputs[i]);
      if (part->rank != out->rank || part->dtype != out->dtype)
        fail(v, where, "G3: operand %u differs in rank or dtype from the result", i);
    }
    break;
  case ONNXC_OP_SOFTMAX:
  case ONNXC_OP_LOG_SOFTMAX:
  case ONNXC_OP_NORMALIZE:
    if (node->axis < 0 || node->span < 1 || node->axis > (int64_t)in->rank - node->span)
      fail(v, where, "G3: dims %lld + %lld of a tensor of rank %u", (long long)node->axis, (long long)node->span,
           in->rank);
    if (!same)
      fail(v, where, "G3: the result's dims are not the operand's");
    break;
  case ONNXC_OP_RELAYOUT:
    if (!same)
      fail(v, where, "G3: the result's dims are not the operand's");
    break;
  default: break;
  }
}

/* May the node's results have another layout than row major? A reshape only as a view of such a one. */
static bool may_lay_out(const verifier *v, const onnxc_node_info *node) {
  if (node->op == ONNXC_OP_RESHAPE)
    return node->num_inputs > 0 && !has_default_layout(v, node->inputs[0]);
  return node->op == ONNXC_OP_RELAYOUT || node->op == ONNXC_OP_COMPUTE || node->op == ONNXC_OP_CONSTANT ||
         node->op == ONNXC_OP_CONCAT;
}

static void check_node(verifier *v, onnxc_node handle) {
  const onnxc_graph *graph = v->graph;
  if (!handle.i || handle.i >= graph->nodes.length) {
    fail(v, "order", "G2: a node that is not there");
    return;
  }
  const onnxc_node_info *node = onnxc_node_of(graph, handle);
  const char *first = node->num_outputs && value_exists(v, node->outputs[0]) ? v->names[node->outputs[0].i] : "?";
  const char *where = node->name ? node->name : onnxc_arena_printf(graph->arena, "the node of %s", first);
  if (node->op <= ONNXC_OP_NONE || node->op >= ONNXC_OP_COUNT) {
    fail(v, where, "G3: no operator");
    return;
  }
  uint32_t before = v->errors;
  if ((int64_t)node->num_inputs < op_rows[node->op].min_inputs ||
      (op_rows[node->op].max_inputs >= 0 && (int64_t)node->num_inputs > op_rows[node->op].max_inputs))
    fail(v, where, "G3: %s with %u operands", op_rows[node->op].name, node->num_inputs);
  if (op_rows[node->op].outputs >= 0 && node->num_outputs != (uint32_t)op_rows[node->op].outputs)
    fail(v, where, "G3: %s with %u results", op_rows[node->op].name, node->num_outputs);
  if ((node->compute != NULL) != (node->op == ONNXC_OP_COMPUTE))
    fail(v, where, "G3: a compute and only a compute carries one");
  bool required = node->op != ONNXC_OP_COMPUTE;
  for (uint32_t i = 0; i < node->num_inputs; i++) {
    onnxc_value input = node->inputs[i];
    bool absent = input.i == 0 && (!required || (int)i >= op_rows[node->op].min_inputs) && node->op != ONNXC_OP_CONCAT;
    if (!absent && !value_exists(v, input))
      fail(v, where, "G3: operand %u is missing", i);
    else if (!absent && !v->defined[input.i])
      fail(v, where, "G2: %s is used before it is written", v->names[input.i]);
  }
  bool sound = true;
  for (uint32_t k = 0; k < node->num_outputs; k++) {
    if (!value_exists(v, node->outputs[k])) {
      fail(v, where, "G3: result %u is missing", k);
      continue;
    }
    sound &= define(v, node->outputs[k], handle, k);
    if (sound && !may_lay_out(v, node) && !has_default_layout(v, node->outputs[k]))
      fail(v, v->names[node->outputs[k].i], "G6: %s gives it a layout", op_rows[node->op].name);
  }
  if (v->errors != before || !sound)
    return;
  if (node->compute)
    check_compute(v, where, node);
  else if (node->num_inputs && node->num_outputs)
    check_attributes(v, where, node);
  const char *branch = onnxc_branch_check(graph, node);
  if (branch)
    fail(v, where, "G7: %s", branch);
  const onnxc_value_info *info = onnxc_value_of(graph, node->outputs[0]);
  if (node->op == ONNXC_OP_CONSTANT && !info->data && info->data_size)
    fail(v, where, "G3: a constant without data");
}

static void check_row_groups(verifier *v) {
  const onnxc_graph *graph = v->graph;
  const onnxc_compute *last = NULL;
  onnxc_branch branch = {0};
  onnxc_names closed = {.arena = graph->arena};
  for (uint32_t n = 0; n < graph->order.length; n++) {
    const onnxc_node_info *node = onnxc_node_of(graph, graph->order.data[n]);
    if (node->op == ONNXC_OP_CONSTANT)
      continue;
    const onnxc_compute *compute = node->compute;
    uint32_t group = compute ? compute->row_group : 0, open = last ? last->row_group : 0;
    if (group != open && open)
      onnxc_names_add(&closed, onnxc_arena_printf(graph->arena, "%u", open), 1);
    if (group && onnxc_names_find(&closed, onnxc_arena_printf(graph->arena, "%u", group)))
      fail(v, node->name ? node->name : v->names[node->outputs[0].i], "G5: row group %u is not consecutive", group);
    if (group && group == open) {
      bool same = compute->row_rank == last->row_rank && node->branch.i == branch.i;
      for (uint32_t k = 0; same && k < compute->row_rank; k++)
        same = onnxc_dim_same(compute->extents[k], last->extents[k]);
      if (!same)
        fail(v, node->name ? node->name : v->names[node->outputs[0].i],
             "G5: row group %u: the row indices or branches differ", group);
    }
    last = group ? compute : NULL;
    branch = node->branch;
  }
}

onnxc_status onnxc_graph_verify(const onnxc_graph *graph, const char *after) {
  verifier v = {.graph = graph, .after = after, .names = onnxc_value_texts(graph, graph->arena)};
  v.defined = ONNXC_NEW_ARRAY(graph->arena, uint8_t, graph->values.length);
  if (graph->dims.too_complex)
    fail(&v, "dims", "a dim has grown too complex");
  const char *branches = onnxc_branches_check(graph);
  if (branches)
    fail(&v, "branches", "G7: %s", branches);
  for (uint32_t i = 0; i < graph->inputs.length; i++) {
    onnxc_value input = graph->inputs.data[i];
    if (!value_exists(&v, input)) {
      fail(&v, "inputs", "G1: input %u is none", i);
      continue;
    }
    if (define(&v, input, (onnxc_node){0}, i) && !has_default_layout(&v, input))
      fail(&v, v.names[input.i], "G6: an input with a layout");
  }
  for (uint32_t n = 0; n < graph->order.length; n++)
    check_node(&v, graph->order.data[n]);
  if (v.status == ONNXC_OK)
    check_row_groups(&v);
  if (graph->outputs.length != graph->output_names.length)
    fail(&v, "outputs", "G1: outputs and their names differ in number");
  for (uint32_t i = 0; i < graph->outputs.length; i++) {
    onnxc_value output = graph->outputs.data[i];
    if (!value_exists(&v, output) || !v.defined[output.i])
      fail(&v, "outputs", "G2: output %u is written by nobody", i);
    else if (check_value(&v, output) && !has_default_layout(&v, output))
      fail(&v, v.names[output.i], "G6: an output with a layout");
    else if (onnxc_branch_of(graph, output).i)
      fail(&v, v.names[output.i], "G7: an output that does not always have a value");
  }
  for (uint32_t i = 0; i < graph->constraints.length; i++)
    if (!dim_exists(&v, graph->constraints.data[i].a) || !dim_exists(&v, graph->constraints.data[i].b))
      fail(&v, "constraints", "G4: a dim of constraint %u is none", i);
  return v.status;
}
