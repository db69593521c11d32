/* ops_if.c -- If: one of two subgraphs.
 *
 *     the condition is known           the side that is taken, and nothing of the other
 *     a run's inputs decide it         both sides, each in its branch (graph.h); a lazy select joins their results
 *     a side that is badly formed      the other side, if that is not; a run that would take the bad one is refused
 *     a run computes it                not supported
 *
 * Known is what constants and shapes decide, and what an If around this one has asked already. The third case is real:
 * of a model for two rates with the shapes of one given, only that rate's side fits them.
 */
#include "state.h"

#include <string.h>

static const char *const sides[2] = {"else_branch", "then_branch"};

/* ---- the condition ---- */

static onnxc_dim not_of(onnxc_dims *dims, onnxc_dim c) { return onnxc_dim_sub(dims, onnxc_dim_const(dims, 1), c); }

/* Is the condition, or its opposite, one of those that the current branch is of? */
static bool is_asked(onnxc_graph *graph, onnxc_dim c, int64_t *taken) {
  onnxc_dim opposite = not_of(&graph->dims, c);
  for (onnxc_branch b = graph->branch; b.i; b = graph->branches.data[b.i].outer) {
    onnxc_dim asked = graph->branches.data[b.i].condition;
    *taken = onnxc_dim_same(asked, c);
    if (*taken || onnxc_dim_same(asked, opposite))
      return true;
  }
  return false;
}

static onnxc_status find_condition(onnxc_importer *in, onnxc_dim *condition) {
  onnxc_graph *graph = in->graph;
  onnxc_value value = onnxc_import_input(in, 0);
  uint32_t count = 0;
  if (!value.i)
    return graph->diag->status;
  onnxc_dtype dtype = onnxc_value_of(graph, value)->dtype;
  if (dtype != ONNXC_BOOL)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "the condition has type %s, expected bool", onnxc_dtype_name(dtype));
  const onnxc_dim *elements = onnxc_value_elements(graph, value, &count);
  if (!elements)
    return onnxc_import_error(in, ONNXC_UNSUPPORTED, "the condition's shape is not known");
  if (count != 1)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "the condition has %u elements, expected one", count);
  *condition = elements[0];
  if (!onnxc_dim_is_of_inputs(graph, elements[0]))
    return onnxc_import_error(in, ONNXC_UNSUPPORTED,
                              "the condition is computed by a run, which is not supported; it may depend on shapes and "
                              "on elements of small integer and bool inputs");
  return ONNXC_OK;
}

/* ---- one side ---- */

static onnxc_status import_side(onnxc_importer *in, const onnxc_subgraph *side, onnxc_branch branch,
                                onnxc_value *results) {
  onnxc_branch outer = in->graph->branch;
  in->graph->branch = branch;
  onnxc_status status = onnxc_import_subgraph(in, side, results);
  in->graph->branch = outer;
  return status;
}

static onnxc_value *new_results(onnxc_importer *in) {
  return ONNXC_NEW_ARRAY(in->graph->arena, onnxc_value, in->num_outputs + 1);
}

/* A side that is taken for sure. */
static onnxc_status import_taken(onnxc_importer *in, int side) {
  onnxc_subgraph subgraph;
  onnxc_value *results = new_results(in);
  ONNXC_TRY(onnxc_import_open_subgraph(in, sides[side], &subgraph));
  ONNXC_TRY(import_side(in, &subgraph, in->graph->branch, results));
  for (uint32_t k = 0; k < in->num_outputs; k++)
    onnxc_import_result(in, k, results[k]);
  return ONNXC_OK;
}

/* ---- both ---- */

/* A side whose errors are not reported yet. */
typedef struct attempt {
  onnxc_subgraph subgraph;
  onnxc_value *results;
  onnxc_status status;
  onnxc_diag diag;
} attempt;

static void add_errors(onnxc_diag *diag, const onnxc_diag *more) {
  if (!more->count)
    return;
  onnxc_error(diag, more->status, "%s", more->text);
  diag->count += more->count - 1;
}

/* Both sides are tried with an empty diag. */
static onnxc_status try_both(onnxc_importer *in, onnxc_dim condition, attempt *attempts) {
  onnxc_graph *graph = in->graph;
  onnxc_dim conditions[2] = {not_of(&graph->dims, condition), condition};
  for (int side = 2; side-- > 0;) { /* "then" first, as one reads */
    attempt *a = &attempts[side];
    a->results = new_results(in);
    a->status = import_side(in, &a->subgraph, onnxc_graph_branch(graph, graph->branch, conditions[side]), a->results);
    a->diag = *graph->diag;
    onnxc_diag_clear(graph->diag);
  }
  for (int side = 2; side-- > 0;)
    if (attempts[side].status != ONNXC_OK && attempts[side].status != ONNXC_BAD_INPUT)
      return attempts[side].status;
  return attempts[0].status != ONNXC_OK && attempts[1].status != ONNXC_OK ? ONNXC_BAD_INPUT : ONNXC_OK;
}

static onnxc_status import_both(onnxc_importer *in, onnxc_dim condition) {
  onnxc_graph *graph = in->graph;
  attempt *attempts = ONNXC_NEW_ARRAY(graph->arena, attempt, 2);
  for (int side = 0; side < 2; side++) /* before the sides' nodes: what they capture stays */
    ONNXC_TRY(onnxc_import_open_subgraph(in, sides[side], &attempts[side].subgraph));
  uint32_t nodes = graph->order.length, constraints = graph->constraints.length;
  onnxc_diag *before = ONNXC_NEW(graph->arena, onnxc_diag);
  *before = *graph->diag;
  onnxc_diag_clear(graph->diag);
  onnxc_status status = try_both(in, condition, attempts);
  *graph->diag = *before;
  for (int side = 2; side-- > 0 && status != ONNXC_OK;)
    add_errors(graph->diag, &attempts[side].diag);
  ONNXC_TRY(status);
  for (int side = 0; side < 2; side++) {
    const onnxc_diag *bad = &attempts[!side].diag;
    if (!bad->count)
      continue;
    /* This one anew, as what is always taken; the order forgets the nodes of the attempts. */
    graph->order.length = nodes;
    graph->constraints.length = constraints;
    onnxc_graph_add_constraint(graph, condition, onnxc_dim_const(&graph->dims, side),
                               onnxc_arena_printf(graph->arena, "%s: a run must not take '%s': %.*s", in->where,
                                                  sides[!side], (int)strcspn(bad->text, "\n"), bad->text));
    return import_taken(in, side);
  }
  for (uint32_t k = 0; k < in->num_outputs; k++) {
    const char *where = onnxc_arena_printf(graph->arena, "%s: output %u", in->where, k);
    onnxc_value joined = onnxc_build_join(graph, where, condition, attempts[1].results[k], attempts[0].results[k]);
    if (!joined.i)
      return graph->diag->status;
    onnxc_import_result(in, k, joined);
  }
  return ONNXC_OK;
}

onnxc_status onnxc_import_If(onnxc_importer *in) {
  onnxc_dim condition = {0};
  int64_t taken;
  ONNXC_TRY(find_condition(in, &condition));
  if (onnxc_dim_is_const(&in->graph->dims, condition, &taken) || is_asked(in->graph, condition, &taken))
    return import_taken(in, taken != 0);
  return import_both(in, condition);
}
