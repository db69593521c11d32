/* pass.c -- the pass manager: runs passes by name and keeps their contracts.
 *
 * Facts hold from the pass that gives them to one that breaks them, and are kept with the graph. What can be read
 * off a graph that was parsed or imported is.
 */
#include "pass/pass.h"

#include "ir/verify.h"

#include <string.h>
#include <time.h>

#define X(name, needs, gives, breaks, summary)                                                                         \
  onnxc_status onnxc_pass_##name(onnxc_graph *graph, const onnxc_pass_options *options);
#include "pass/passes.def"
#undef X

static const onnxc_pass passes[] = {
#define X(name, needs, gives, breaks, summary) {#name, onnxc_pass_##name, needs, gives, breaks, summary},
#include "pass/passes.def"
#undef X
};

/* A pass may not break what it gives, nor give what it needs already. */
#define X(name, needs, gives, breaks, summary)                                                                         \
  _Static_assert(((gives) & (breaks)) == 0, #name " breaks what it gives");                                            \
  _Static_assert(((gives) & (needs)) == 0, #name " gives what it needs");                                              \
  _Static_assert(sizeof summary > 1, #name " has no summary");
#include "pass/passes.def"
#undef X

const onnxc_pass *onnxc_passes(uint32_t *count) {
  *count = sizeof passes / sizeof *passes;
  return passes;
}

const onnxc_pass *onnxc_pass_find(const char *name, size_t length) {
  for (size_t i = 0; i < sizeof passes / sizeof *passes; i++)
    if (strlen(passes[i].name) == length && memcmp(passes[i].name, name, length) == 0)
      return &passes[i];
  return NULL;
}

static uint32_t facts_of(const onnxc_graph *graph) {
  uint32_t facts = graph->facts | ONNXC_FACT_EXPANDED;
  for (uint32_t i = 0; i < graph->order.length; i++) {
    const onnxc_node_info *node = onnxc_node_of(graph, graph->order.data[i]);
    if (node->op == ONNXC_OP_SOFTMAX || node->op == ONNXC_OP_LOG_SOFTMAX || node->op == ONNXC_OP_NORMALIZE)
      facts &= ~(uint32_t)ONNXC_FACT_EXPANDED;
    if (node->op == ONNXC_OP_COMPUTE && node->compute->contraction.valid)
      facts |= ONNXC_FACT_ROLES;
    for (uint32_t j = 0; j < node->num_outputs; j++) {
      const onnxc_value_info *value = onnxc_value_of(graph, node->outputs[j]);
      if (!onnxc_layout_is_default(&value->layout, value->rank))
        facts |= ONNXC_FACT_LAYOUTS;
    }
  }
  return facts;
}

static double now(void) {
  struct timespec time;
  timespec_get(&time, TIME_UTC);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static onnxc_status run_one(onnxc_graph *graph, const onnxc_pass *pass, const onnxc_pass_options *options) {
  uint32_t missing = pass->needs & ~graph->facts;
  if (missing)
    return onnxc_error(graph->diag, ONNXC_USAGE, "pass '%s' must run after %s", pass->name,
                       missing & ONNXC_FACT_EXPANDED ? "'expand'"
                       : missing & ONNXC_FACT_ROLES  ? "'recognise'"
                                                     : "'layout'");
  double start = now();
  ONNXC_TRY(pass->run(graph, options));
  double seconds = now() - start;
  graph->facts = (graph->facts & ~pass->breaks) | pass->gives;
  if (options->verify)
    ONNXC_TRY(onnxc_graph_verify(graph, pass->name));
  if (options->after)
    options->after(options->after_arg, pass->name, seconds, graph);
  return ONNXC_OK;
}

onnxc_status onnxc_run_passes(onnxc_graph *graph, const char *names, const onnxc_pass_options *options) {
  graph->facts = facts_of(graph);
  while (*names) {
    names += strspn(names, ", ");
    size_t length = strcspn(names, ", ");
    if (!length)
      break;
    const onnxc_pass *pass = onnxc_pass_find(names, length);
    if (!pass)
      return onnxc_error(graph->diag, ONNXC_USAGE, "there is no pass '%.*s'", (int)length, names);
    ONNXC_TRY(run_one(graph, pass, options));
    names += length;
  }
  return ONNXC_OK;
}
