/* profile.c -- runs that are watched, and what is known of their stages. */
#include "api/api.h"

#include <string.h>

typedef struct watcher {
  onnxc_watch watch;
  void *arg;
} watcher;

static void pass_on(void *arg, onnxc_rt_event event, int64_t stage, int thread) {
  static const onnxc_event events[] = {
      [ONNXC_RT_BEGIN] = ONNXC_STAGE_BEGIN, [ONNXC_RT_END] = ONNXC_STAGE_END, [ONNXC_RT_DONE] = ONNXC_STAGE_DONE};
  const watcher *w = arg;
  w->watch(w->arg, events[event], (int)stage, thread);
}

onnxc_status onnxc_run_watched(const onnxc_program *program, onnxc_run *run, onnxc_watch watch, void *arg) {
  watcher w = {watch, arg};
  return (onnxc_status)onnxc_rt_run_watched(&program->rt, NULL, run, pass_on, &w);
}

typedef struct profile {
  onnxc_stage_profile *stages;
  double last; /* when the stage before was done */
} profile;

static void add_time(void *arg, onnxc_rt_event event, int64_t stage, int thread) {
  profile *p = arg;
  (void)thread;
  if (event != ONNXC_RT_DONE)
    return;
  double now = onnxc_seconds();
  p->stages[stage].seconds += now - p->last;
  p->last = now;
}

/* Dims that no run evaluates, behind the run's own. One that depends on an element which no run reads is not known. */
static void evaluate(const onnxc_program *program, const onnxc_run *run, int64_t *values) {
  const onnxc_facts *facts = &program->facts;
  const int64_t *known = run->workspace; /* begins with the run's dims */
  for (int64_t k = 0; k < program->rt.num_dims; k++)
    values[k] = known[k];
  int64_t *own = values + program->rt.num_dims;
  for (int64_t k = 0; k < facts->num_dims; k++) {
    const onnxc_rt_dim *dim = &facts->dims[k];
    switch (dim->op) {
    case ONNXC_RT_CONST: own[k] = dim->a; break;
    case ONNXC_RT_INPUT_DIM: own[k] = run->inputs[dim->a].dims[dim->b]; break;
    case ONNXC_RT_ELEMENT: own[k] = INT64_MIN; break;
    default: own[k] = onnxc_rt_compute_dim(dim->op, values[dim->a], values[dim->b]); break;
    }
  }
}

static double amount(const int64_t *values, int64_t slot) { return values[slot] > 0 ? (double)values[slot] : 0; }

onnxc_status onnxc_profile(const onnxc_program *program, onnxc_run *run, onnxc_stage_profile *stages) {
  const onnxc_rt_program *rt = &program->rt;
  int64_t *values = onnxc_mem_alloc((size_t)(rt->num_dims + program->facts.num_dims + 1) * sizeof *values);
  if (!values) {
    strcpy(run->message, "out of memory");
    return ONNXC_OUT_OF_MEMORY;
  }
  profile p = {stages, onnxc_seconds()};
  onnxc_status status = (onnxc_status)onnxc_rt_run_watched(rt, NULL, run, add_time, &p);
  if (status == ONNXC_OK)
    evaluate(program, run, values);
  for (int64_t k = 0; status == ONNXC_OK && k < rt->num_stages; k++) {
    const onnxc_stage_facts *facts = &program->facts.stages[k];
    stages[k].name = facts->name;
    stages[k].nodes = facts->nodes;
    stages[k].note = facts->note;
    stages[k].tasks = values[rt->stages[k].tasks_dim];
    stages[k].flops = amount(values, facts->flops);
    stages[k].operations = amount(values, facts->operations);
    stages[k].clocks = amount(values, facts->ticks) / (double)ONNXC_CLOCK_TICKS;
    stages[k].bytes = amount(values, facts->bytes);
    stages[k].weight_bytes = amount(values, facts->weight_bytes);
  }
  onnxc_mem_free(values);
  return status;
}
