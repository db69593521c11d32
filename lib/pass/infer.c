/* infer.c -- replace the symbols whose value is known.
 *
 * A symbol is known when its range has shrunk to one value (the user gave the dim), or when the tensor whose
 * element it stands for has become a constant. Dims are canonical, so what was derived from them needs
 * no inference of its own: substituting is enough.
 *
 * needs: nothing      breaks: roles (extents of one element lose theirs)
 */
#include "pass/infer.h"

#include "pass/pass.h"

typedef struct substitution {
  onnxc_graph *graph;
  onnxc_dim *map; /* by symbol; none = stays */
  uint32_t length;
  onnxc_dim *done; /* by dim: its replacement, none = not known yet */
  uint32_t num_done;
} substitution;

static onnxc_dim replaced(substitution *s, onnxc_dim dim) {
  if (!dim.i)
    return dim;
  if (dim.i >= s->num_done) /* made while replacing: has no such symbol */
    return onnxc_dim_substitute(&s->graph->dims, dim, s->map, s->length);
  if (!s->done[dim.i].i)
    s->done[dim.i] = onnxc_dim_substitute(&s->graph->dims, dim, s->map, s->length);
  return s->done[dim.i];
}

static onnxc_expr replace_leaf(void *arg, onnxc_exprs *pool, onnxc_expr leaf) {
  substitution *s = arg;
  const onnxc_expr_node *node = onnxc_exprs_node(pool, leaf);
  if (node->op != ONNXC_EXPR_DIM)
    return (onnxc_expr){0};
  return onnxc_expr_dim(pool, replaced(s, (onnxc_dim){(uint32_t)node->imm}));
}

static void replace_exprs(substitution *s, onnxc_expr *exprs, uint32_t count) {
  for (uint32_t j = 0; j < count; j++)
    if (exprs[j].i)
      exprs[j] = onnxc_expr_rewrite(&s->graph->exprs, exprs[j], replace_leaf, s);
}

static bool constant_element(const onnxc_graph *graph, const onnxc_symbol *symbol, int64_t *value) {
  if (symbol->source != ONNXC_SYM_ELEMENT || !symbol->index || symbol->index >= graph->values.length)
    return false;
  const onnxc_value_info *info = onnxc_value_of(graph, (onnxc_value){symbol->index});
  size_t bytes = onnxc_dtype_bytes(info->dtype);
  if (!info->data || !onnxc_layout_is_default(&info->layout, info->rank) || !bytes ||
      symbol->axis >= info->data_size / bytes)
    return false;
  *value = onnxc_scalar_to_i64(info->dtype, (const char *)info->data + symbol->axis * bytes);
  return true;
}

/* Which symbols are known; false if none. A symbol once replaced is gone from the graph, so it is replaced once. */
static bool make_map(substitution *s) {
  onnxc_graph *graph = s->graph;
  s->length = graph->dims.symbols.length;
  s->map = ONNXC_NEW_ARRAY(graph->arena, onnxc_dim, s->length);
  bool any = false;
  for (uint32_t i = 1; i < s->length; i++) {
    const onnxc_symbol *symbol = &graph->dims.symbols.data[i];
    int64_t value = symbol->low;
    if (symbol->low != symbol->high && !constant_element(graph, symbol, &value))
      continue;
    s->map[i] = onnxc_dim_const(&graph->dims, value);
    any = true;
  }
  return any;
}

/* A branch whose condition has become 1 is the one around it. */
static void replace_branches(substitution *s) {
  onnxc_graph *graph = s->graph;
  uint32_t length = graph->branches.length;
  onnxc_branch *to = ONNXC_NEW_ARRAY(graph->arena, onnxc_branch, length);
  for (uint32_t i = 1; i < length; i++) {
    onnxc_branch_info branch = graph->branches.data[i];
    to[i] = onnxc_graph_branch(graph, to[branch.outer.i], replaced(s, branch.condition));
  }
  for (uint32_t i = 0; i < graph->order.length; i++) {
    onnxc_node_info *node = onnxc_node_of(graph, graph->order.data[i]);
    node->branch = to[node->branch.i];
  }
}

static onnxc_status replace_constraints(substitution *s) {
  onnxc_graph *graph = s->graph;
  uint32_t kept = 0;
  for (uint32_t i = 0; i < graph->constraints.length; i++) {
    onnxc_constraint c = graph->constraints.data[i];
    c.a = replaced(s, c.a);
    c.b = replaced(s, c.b);
    int64_t a, b;
    if (onnxc_dim_is_const(&graph->dims, c.a, &a) && onnxc_dim_is_const(&graph->dims, c.b, &b) && a != b)
      return onnxc_error(graph->diag, ONNXC_BAD_INPUT, "%s (they are %lld and %lld)",
                         c.message ? c.message : "a constraint on dims does not hold", (long long)a, (long long)b);
    if (!onnxc_dim_same(c.a, c.b))
      graph->constraints.data[kept++] = c;
  }
  graph->constraints.length = kept;
  return ONNXC_OK;
}

onnxc_status onnxc_infer_symbols(onnxc_graph *graph, bool *changed) {
  substitution s = {.graph = graph};
  if (changed)
    *changed = false;
  if (!make_map(&s))
    return replace_constraints(&s);
  s.num_done = graph->dims.nodes.length;
  s.done = ONNXC_NEW_ARRAY(graph->arena, onnxc_dim, s.num_done);
  for (uint32_t v = 1; v < graph->values.length; v++) {
    onnxc_value_info *info = &graph->values.data[v];
    for (uint32_t d = 0; d < info->rank; d++) {
      onnxc_dim dim = replaced(&s, info->dims[d]);
      if (changed)
        *changed |= !onnxc_dim_same(dim, info->dims[d]);
      info->dims[d] = dim;
    }
    if (!info->elements)
      continue;
    int64_t count = 1, extent; /* small: a tensor with known elements is */
    for (uint32_t d = 0; d < info->rank; d++)
      count *= onnxc_dim_is_const(&graph->dims, info->dims[d], &extent) ? extent : 0;
    onnxc_dim *elements = ONNXC_NEW_ARRAY(graph->arena, onnxc_dim, count + 1);
    for (int64_t i = 0; i < count; i++) {
      elements[i] = replaced(&s, info->elements[i]);
      if (changed)
        *changed |= !onnxc_dim_same(elements[i], info->elements[i]);
    }
    info->elements = elements;
  }
  for (uint32_t i = 0; i < graph->order.length; i++) {
    onnxc_compute *c = onnxc_node_of(graph, graph->order.data[i])->compute;
    if (!c)
      continue;
    for (uint32_t k = 0; k < c->num_parallel + c->num_reduce; k++)
      c->extents[k] = replaced(&s, c->extents[k]);
    replace_exprs(&s, c->init, c->num_results);
    replace_exprs(&s, c->element, c->num_results);
    replace_exprs(&s, c->combine, c->num_results);
    replace_exprs(&s, c->finish, c->num_results);
    c->contraction.valid = false;
  }
  replace_branches(&s);
  ONNXC_TRY(replace_constraints(&s));
  return onnxc_graph_check_sizes(graph);
}

onnxc_status onnxc_pass_infer(onnxc_graph *graph, const onnxc_pass_options *options) {
  (void)options;
  return onnxc_infer_symbols(graph, NULL);
}
