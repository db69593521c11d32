/* eval.c -- the evaluator over a graph; see eval.h.
 *
 * Symbols are bound as soon as they can be: from input dims before the first node, the elements of integer
 * tensors when the tensor is known. Constraints are checked as soon as their symbols are bound, so
 * that a model is refused with the constraint's message and not by what goes wrong later.
 *
 * Nodes of branches that do not run are passed over: their results have no elements.
 */
#include "ir/eval.h"
#include "ir/eval_composite.h"
#include "ir/eval_compute.h"

#include <stdio.h>
#include <string.h>

static const char *value_name(const onnxc_graph *graph, onnxc_value value) {
  const char *name = onnxc_value_of(graph, value)->name;
  return name ? name : "(unnamed)";
}

static const char *node_name(const onnxc_node_info *node) { return node->name ? node->name : onnxc_op_name(node->op); }

/* ---- symbols ---- */

static onnxc_status bind_symbol(onnxc_eval *eval, onnxc_sym sym, int64_t value, const char *what) {
  const onnxc_symbol *symbol = &eval->graph->dims.symbols.data[sym.i];
  int64_t *slot = &eval->symbols[sym.i];
  if (*slot != ONNXC_UNBOUND && *slot != value)
    return onnxc_error(eval->graph->diag, ONNXC_BAD_INPUT, "%s is %lld, but '%s' is %lld elsewhere", what,
                       (long long)value, symbol->name, (long long)*slot);
  if (value < symbol->low || value > symbol->high)
    return onnxc_error(eval->graph->diag, ONNXC_BAD_INPUT, "%s is %lld, but '%s' must be between %lld and %lld", what,
                       (long long)value, symbol->name, (long long)symbol->low, (long long)symbol->high);
  if (symbol->divisor > 1 && value % symbol->divisor)
    return onnxc_error(eval->graph->diag, ONNXC_BAD_INPUT, "%s is %lld, but '%s' must be a multiple of %lld", what,
                       (long long)value, symbol->name, (long long)symbol->divisor);
  *slot = value;
  return ONNXC_OK;
}

static onnxc_status bind_elements(onnxc_eval *eval, onnxc_value value) {
  const onnxc_value_info *info = onnxc_value_of(eval->graph, value);
  const onnxc_array *array = &eval->arrays[value.i];
  if (!array->data || !(onnxc_dtype_is_int(info->dtype) || onnxc_dtype_is_bool(info->dtype)))
    return ONNXC_OK;
  int64_t count = onnxc_array_count(array);
  size_t bytes = onnxc_dtype_bytes(array->dtype);
  for (uint32_t s = 1; s < eval->graph->dims.symbols.length; s++) {
    const onnxc_symbol *symbol = &eval->graph->dims.symbols.data[s];
    if (symbol->source != ONNXC_SYM_ELEMENT || symbol->index != value.i || symbol->axis >= count)
      continue;
    char what[256];
    snprintf(what, sizeof what, "element %u of '%s'", symbol->axis, value_name(eval->graph, value));
    ONNXC_TRY(bind_symbol(eval, (onnxc_sym){s},
                          onnxc_scalar_to_i64(array->dtype, (const char *)array->data + symbol->axis * bytes), what));
  }
  return ONNXC_OK;
}

static onnxc_status bind_input(onnxc_eval *eval, uint32_t number, const onnxc_array *array) {
  onnxc_graph *graph = eval->graph;
  onnxc_value value = graph->inputs.data[number];
  const onnxc_value_info *info = onnxc_value_of(graph, value);
  const char *name = value_name(graph, value);
  if (array->dtype != info->dtype)
    return onnxc_error(graph->diag, ONNXC_BAD_INPUT, "input '%s': has type %s, expected %s", name,
                       onnxc_dtype_name(array->dtype), onnxc_dtype_name(info->dtype));
  if (array->rank != info->rank)
    return onnxc_error(graph->diag, ONNXC_BAD_INPUT, "input '%s': has rank %u, expected %u", name, array->rank,
                       info->rank);
  int64_t count = onnxc_array_count(array);
  if (count < 0)
    return onnxc_error(graph->diag, ONNXC_BAD_INPUT, "input '%s': its dims are negative or too large", name);
  if (!array->data && count)
    return onnxc_error(graph->diag, ONNXC_BAD_INPUT, "input '%s': no data", name);
  char what[256];
  for (uint32_t d = 0; d < info->rank; d++) {
    const onnxc_dim_node *dim = onnxc_dims_node(&graph->dims, info->dims[d]);
    if (dim->kind == ONNXC_DIM_SYM) {
      snprintf(what, sizeof what, "input '%s': dim %u", name, d);
      ONNXC_TRY(bind_symbol(eval, dim->sym, array->dims[d], what));
    }
  }
  eval->arrays[value.i] = *array;
  if (!array->data)
    eval->arrays[value.i].data = onnxc_arena_alloc(eval->arena, 1);
  return ONNXC_OK;
}

/* Dims that are expressions, once all symbols of inputs are bound. */
static onnxc_status check_input_dims(onnxc_eval *eval, uint32_t number) {
  onnxc_graph *graph = eval->graph;
  onnxc_value value = graph->inputs.data[number];
  const onnxc_value_info *info = onnxc_value_of(graph, value);
  const onnxc_array *array = &eval->arrays[value.i];
  for (uint32_t d = 0; d < info->rank; d++) {
    int64_t expected;
    char text[128];
    snprintf(text, sizeof text, "input '%s': dim %u", value_name(graph, value), d);
    ONNXC_TRY(onnxc_eval_dim(graph, eval->symbols, info->dims[d], text, &expected));
    onnxc_dim_print(&graph->dims, info->dims[d], text, sizeof text);
    if (expected != array->dims[d])
      return onnxc_error(graph->diag, ONNXC_BAD_INPUT, "input '%s': dim %u is %lld, expected %lld%s%s",
                         value_name(graph, value), d, (long long)array->dims[d], (long long)expected,
                         onnxc_dim_is_const(&graph->dims, info->dims[d], NULL) ? "" : " = ",
                         onnxc_dim_is_const(&graph->dims, info->dims[d], NULL) ? "" : text);
  }
  return ONNXC_OK;
}

static onnxc_status bind_inputs(onnxc_eval *eval, const onnxc_array *inputs, uint32_t num_inputs) {
  onnxc_graph *graph = eval->graph;
  if (num_inputs != graph->inputs.length)
    return onnxc_error(graph->diag, ONNXC_BAD_INPUT, "%u inputs given, the model has %u", num_inputs,
                       graph->inputs.length);
  for (uint32_t k = 0; k < num_inputs; k++)
    ONNXC_TRY(bind_input(eval, k, &inputs[k]));
  char what[256];
  for (uint32_t s = 1; s < graph->dims.symbols.length; s++) {
    const onnxc_symbol *symbol = &graph->dims.symbols.data[s];
    if (symbol->source != ONNXC_SYM_INPUT_DIM || symbol->index >= num_inputs ||
        symbol->axis >= inputs[symbol->index].rank)
      continue;
    snprintf(what, sizeof what, "input '%s': dim %u", value_name(graph, graph->inputs.data[symbol->index]),
             symbol->axis);
    ONNXC_TRY(bind_symbol(eval, (onnxc_sym){s}, inputs[symbol->index].dims[symbol->axis], what));
  }
  for (uint32_t k = 0; k < num_inputs; k++)
    ONNXC_TRY(bind_elements(eval, graph->inputs.data[k]));
  for (uint32_t k = 0; k < num_inputs; k++)
    ONNXC_TRY(check_input_dims(eval, k));
  return ONNXC_OK;
}

static bool all_bound(const onnxc_eval *eval, onnxc_dim dim) {
  for (uint32_t s = 1; s < eval->graph->dims.symbols.length; s++)
    if (eval->symbols[s] == ONNXC_UNBOUND && onnxc_dim_uses(&eval->graph->dims, dim, (onnxc_sym){s}))
      return false;
  return true;
}

/* Checks the constraints that can be checked and were not. */
static onnxc_status check_constraints(onnxc_eval *eval, bool *checked) {
  onnxc_graph *graph = eval->graph;
  for (uint32_t i = 0; i < graph->constraints.length; i++) {
    const onnxc_constraint *constraint = &graph->constraints.data[i];
    if (checked[i] || !all_bound(eval, constraint->a) || !all_bound(eval, constraint->b))
      continue;
    checked[i] = true;
    int64_t a, b;
    ONNXC_TRY(onnxc_eval_dim(graph, eval->symbols, constraint->a, constraint->message, &a));
    ONNXC_TRY(onnxc_eval_dim(graph, eval->symbols, constraint->b, constraint->message, &b));
    if (a != b)
      return onnxc_error(graph->diag, ONNXC_BAD_INPUT, "%s (they are %lld and %lld)",
                         constraint->message ? constraint->message : "a constraint on dims does not hold", (long long)a,
                         (long long)b);
  }
  return ONNXC_OK;
}

static uint32_t count_unbound(const onnxc_eval *eval) {
  uint32_t count = 0;
  for (uint32_t s = 1; s < eval->graph->dims.symbols.length; s++)
    count += eval->symbols[s] == ONNXC_UNBOUND;
  return count;
}

/* ---- nodes ---- */

/* A value's array; constants come into being here. NULL if it was not computed. */
static const onnxc_array *array_of(onnxc_eval *eval, onnxc_value value) {
  onnxc_array *array = &eval->arrays[value.i];
  const onnxc_value_info *info = onnxc_value_of(eval->graph, value);
  int64_t shape[ONNXC_MAX_RANK];
  if (array->data)
    return array;
  if (!onnxc_value_is_constant(eval->graph, value) || !onnxc_value_static_shape(eval->graph, value, shape))
    return NULL;
  array->dtype = info->dtype;
  array->rank = info->rank;
  memcpy(array->dims, shape, info->rank * sizeof *shape);
  if (onnxc_array_count(array) == 0)
    array->data = onnxc_arena_alloc(eval->arena, 1); /* there, if empty */
  if (array->data || !info->data)
    return array->data ? array : NULL;
  if (onnxc_layout_is_default(&info->layout, info->rank)) {
    array->data = (void *)(uintptr_t)info->data; /* never written */
    return array;
  }
  size_t bytes = onnxc_dtype_bytes(info->dtype);
  onnxc_layout plain = {0};
  char *data = onnxc_arena_array(eval->arena, (size_t)onnxc_array_count(array), bytes);
  onnxc_layout_copy(data, &plain, info->data, &info->layout, info->rank, shape, bytes);
  array->data = data;
  return array;
}

static onnxc_status shape_of(onnxc_eval *eval, onnxc_value value, const char *where, onnxc_array *array) {
  const onnxc_value_info *info = onnxc_value_of(eval->graph, value);
  array->dtype = info->dtype;
  array->rank = info->rank;
  for (uint32_t d = 0; d < info->rank; d++)
    ONNXC_TRY(onnxc_eval_dim(eval->graph, eval->symbols, info->dims[d], where, &array->dims[d]));
  if (onnxc_array_count(array) < 0 || onnxc_array_count(array) > ((int64_t)1 << 32))
    return onnxc_error(eval->graph->diag, ONNXC_BAD_INPUT,
                       "%s: the result's dims are negative or too large to evaluate", where);
  return ONNXC_OK;
}

static onnxc_status eval_compute_node(onnxc_eval *eval, const onnxc_node_info *node) {
  onnxc_array *operands = ONNXC_NEW_ARRAY(eval->arena, onnxc_array, node->num_inputs + 1);
  const onnxc_layout **layouts = ONNXC_NEW_ARRAY(eval->arena, const onnxc_layout *, node->num_inputs + 1);
  for (uint32_t k = 0; k < node->num_inputs; k++)
    if (node->inputs[k].i) {
      operands[k] = *array_of(eval, node->inputs[k]);
      layouts[k] = &onnxc_value_of(eval->graph, node->inputs[k])->layout;
    }
  onnxc_block_env env = {.graph = eval->graph,
                         .operands = operands,
                         .layouts = layouts,
                         .num_operands = node->num_inputs,
                         .num_indices = node->compute->num_parallel + node->compute->num_reduce,
                         .symbols = eval->symbols,
                         .where = node_name(node)};
  onnxc_array results[ONNXC_MAX_RESULTS];
  memset(results, 0, sizeof results);
  ONNXC_TRY(onnxc_eval_compute_scratch(&env, eval->arena, node->compute, results));
  for (uint32_t j = 0; j < node->num_outputs && j < ONNXC_MAX_RESULTS; j++)
    eval->arrays[node->outputs[j].i] = results[j];
  return ONNXC_OK;
}

static onnxc_status misfit(const onnxc_eval *eval, const onnxc_node_info *node) {
  return onnxc_error(eval->graph->diag, ONNXC_BAD_INPUT, "%s: shapes or types do not fit %s", node_name(node),
                     onnxc_op_name(node->op));
}

static onnxc_status eval_other_node(onnxc_eval *eval, const onnxc_node_info *node) {
  onnxc_array *out = &eval->arrays[node->outputs[0].i], made = {0};
  const onnxc_array *in[3] = {NULL, NULL, NULL};
  for (uint32_t k = 0; k < node->num_inputs && k < 3; k++)
    in[k] = node->inputs[k].i ? array_of(eval, node->inputs[k]) : NULL;
  if (!in[0])
    return misfit(eval, node);
  ONNXC_TRY(shape_of(eval, node->outputs[0], node_name(node), &made));
  int64_t count = onnxc_array_count(&made);
  if (node->op == ONNXC_OP_RESHAPE || node->op == ONNXC_OP_RELAYOUT) {
    if (onnxc_array_count(in[0]) != count || in[0]->dtype != made.dtype)
      return misfit(eval, node);
    made.data = in[0]->data; /* values never change, so they may share memory */
    *out = made;
    return ONNXC_OK;
  }
  made.data = ONNXC_NEW_ARRAY(eval->arena, char, (size_t)count *onnxc_dtype_bytes(made.dtype));
  bool fits = true;
  if (node->op == ONNXC_OP_CONCAT) {
    const onnxc_array **inputs = ONNXC_NEW_ARRAY(eval->arena, const onnxc_array *, node->num_inputs);
    for (uint32_t k = 0; k < node->num_inputs; k++)
      inputs[k] = array_of(eval, node->inputs[k]);
    fits = onnxc_eval_concat(inputs, node->num_inputs, node->axis, &made);
  } else if (onnxc_array_count(in[0]) != count || in[0]->rank != made.rank) {
    fits = false;
  } else if (node->op == ONNXC_OP_SOFTMAX || node->op == ONNXC_OP_LOG_SOFTMAX) {
    fits = onnxc_eval_softmax(in[0], node->axis, node->span, node->op == ONNXC_OP_LOG_SOFTMAX, &made);
  } else if (node->op == ONNXC_OP_NORMALIZE) {
    fits = onnxc_eval_normalize(in[0], in[1], in[2], node->axis, node->span, node->epsilon, &made);
  } else {
    return onnxc_error(eval->graph->diag, ONNXC_INTERNAL, "%s: the evaluator does not know %s", node_name(node),
                       onnxc_op_name(node->op));
  }
  if (!fits)
    return misfit(eval, node);
  *out = made;
  return ONNXC_OK;
}

onnxc_status onnxc_eval_node(onnxc_eval *eval, onnxc_node handle) {
  const onnxc_node_info *node = onnxc_node_of(eval->graph, handle);
  for (uint32_t k = 0; k < node->num_inputs; k++)
    if (node->inputs[k].i && !array_of(eval, node->inputs[k]))
      return onnxc_error(eval->graph->diag, ONNXC_INTERNAL, "%s: operand %u has no value", node_name(node), k);
  if (node->op == ONNXC_OP_CONSTANT) {
    if (!array_of(eval, node->outputs[0]))
      return onnxc_error(eval->graph->diag, ONNXC_INTERNAL, "%s: a constant without data", node_name(node));
  } else if (node->op == ONNXC_OP_COMPUTE) {
    ONNXC_TRY(eval_compute_node(eval, node));
  } else {
    ONNXC_TRY(eval_other_node(eval, node));
  }
  for (uint32_t j = 0; j < node->num_outputs; j++)
    ONNXC_TRY(bind_elements(eval, node->outputs[j]));
  return ONNXC_OK;
}

/* ---- branches ---- */

static onnxc_status runs(const onnxc_eval *eval, onnxc_branch branch, const char *where, bool *result) {
  onnxc_graph *graph = eval->graph;
  for (*result = true; branch.i && *result; branch = graph->branches.data[branch.i].outer) {
    int64_t condition;
    ONNXC_TRY(onnxc_eval_dim(graph, eval->symbols, graph->branches.data[branch.i].condition, where, &condition));
    *result = condition != 0;
  }
  return ONNXC_OK;
}

/* Results without elements, which a lazy reader may name; the symbols that they would have bound are 0. */
static onnxc_status pass_over(onnxc_eval *eval, const onnxc_node_info *node) {
  onnxc_graph *graph = eval->graph;
  for (uint32_t j = 0; j < node->num_outputs; j++) {
    onnxc_value value = node->outputs[j];
    const onnxc_value_info *info = onnxc_value_of(graph, value);
    eval->arrays[value.i] = (onnxc_array){.dtype = info->dtype, .rank = info->rank};
    eval->arrays[value.i].data = ONNXC_NEW(eval->arena, int64_t); /* as large as any element */
    for (uint32_t s = 1; s < graph->dims.symbols.length; s++)
      if (graph->dims.symbols.data[s].source == ONNXC_SYM_ELEMENT && graph->dims.symbols.data[s].index == value.i)
        ONNXC_TRY(bind_symbol(eval, (onnxc_sym){s}, 0, "an element of what does not run"));
  }
  return ONNXC_OK;
}

onnxc_status onnxc_eval_graph(onnxc_eval *eval, onnxc_graph *graph, onnxc_arena *arena, const onnxc_array *inputs,
                              uint32_t num_inputs) {
  *eval = (onnxc_eval){.graph = graph, .arena = arena};
  uint32_t num_symbols = graph->dims.symbols.length + ONNXC_SPARE_SYMBOLS;
  eval->symbols = ONNXC_NEW_ARRAY(arena, int64_t, num_symbols);
  eval->arrays = ONNXC_NEW_ARRAY(arena, onnxc_array, graph->values.length + 1);
  for (uint32_t s = 0; s < num_symbols; s++)
    eval->symbols[s] = ONNXC_UNBOUND;
  ONNXC_TRY(bind_inputs(eval, inputs, num_inputs));
  bool *checked = ONNXC_NEW_ARRAY(arena, bool, graph->constraints.length + 1);
  uint32_t unbound = UINT32_MAX;
  for (uint32_t i = 0; i <= graph->order.length; i++) {
    uint32_t now = count_unbound(eval);
    if (now != unbound)
      ONNXC_TRY(check_constraints(eval, checked));
    unbound = now;
    if (i == graph->order.length)
      break;
    const onnxc_node_info *node = onnxc_node_of(graph, graph->order.data[i]);
    bool taken;
    ONNXC_TRY(runs(eval, node->branch, node_name(node), &taken));
    ONNXC_TRY(taken ? onnxc_eval_node(eval, graph->order.data[i]) : pass_over(eval, node));
  }
  for (uint32_t k = 0; k < graph->outputs.length; k++)
    if (!array_of(eval, graph->outputs.data[k]))
      return onnxc_error(graph->diag, ONNXC_INTERNAL, "output '%s' has no value",
                         value_name(graph, graph->outputs.data[k]));
  return ONNXC_OK;
}
