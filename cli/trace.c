/* trace.c -- one run as a Chrome trace (chrome://tracing, ui.perfetto.dev): an event for each group and thread. */
#include "profile.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

typedef struct span {
  double begin, end;
} span;

/* Each thread writes its own spans only. */
typedef struct recorder {
  int threads, stages;
  span *spans; /* by stage and thread */
} recorder;

static void record(void *arg, onnxc_event event, int stage, int thread) {
  const recorder *r = arg;
  if (event == ONNXC_STAGE_DONE || thread >= r->threads || stage >= r->stages)
    return;
  span *s = &r->spans[(size_t)stage * (size_t)r->threads + (size_t)thread];
  *(event == ONNXC_STAGE_BEGIN ? &s->begin : &s->end) = cli_seconds();
}

static json_t *text(const char *data) {
  json_t *value = json_string(data);
  return value ? value : json_string("?"); /* no UTF-8 */
}

static json_t *thread_name(int thread) {
  char name[32];
  snprintf(name, sizeof name, "thread %d", thread);
  return json_pack("{s:s, s:s, s:i, s:i, s:{s:s}}", "name", "thread_name", "ph", "M", "pid", 0, "tid", thread, "args",
                   "name", name);
}

static json_t *event_of(const cli_group *g, const span *s, double start, int thread) {
  json_t *event = json_pack("{s:s, s:s, s:i, s:i, s:f, s:f}", "cat", "group", "ph", "X", "pid", 0, "tid", thread, "ts",
                            1e6 * (s->begin - start), "dur", 1e6 * (s->end - s->begin));
  json_t *args = json_pack("{s:f, s:f, s:f}", "flops", g->stage.flops + g->stage.operations, "bytes", g->stage.bytes,
                           "share_of_roof", cli_ratio(g->roof.seconds, g->seconds));
  json_object_set_new(args, "nodes", text(g->stage.nodes ? g->stage.nodes : ""));
  json_object_set_new(args, "bound", json_string(g->roof.bound));
  json_object_set_new(args, "note", text(g->stage.note ? g->stage.note : ""));
  json_object_set_new(event, "name", text(g->label));
  json_object_set_new(event, "args", args);
  return event;
}

int cli_write_trace(command *cli, cli_session *session, onnxc_run *run, const cli_profile *profile, const char *path) {
  recorder r = {.threads = profile->threads, .stages = profile->count};
  size_t count = (size_t)r.threads * (size_t)r.stages;
  r.spans = ONNXC_NEW_ARRAY(&cli->arena, span, count + 1);
  double start = cli_seconds();
  if (onnxc_run_watched(session->program, run, record, &r) != ONNXC_OK)
    return cli_fail(ONNXC_INTERNAL, "%s", run->message);
  json_t *events = json_array();
  for (int thread = 0; thread < r.threads; thread++)
    json_array_append_new(events, thread_name(thread));
  for (int k = 0; k < profile->count; k++)
    for (int thread = 0; thread < r.threads; thread++) {
      const cli_group *g = &profile->groups[k];
      const span *s = &r.spans[(size_t)g->number * (size_t)r.threads + (size_t)thread];
      if (s->end > 0)
        json_array_append_new(events, event_of(g, s, start, thread));
    }
  json_t *root = json_pack("{s:o, s:s}", "traceEvents", events, "displayTimeUnit", "ms");
  int failed = json_dump_file(root, path, JSON_INDENT(1) | JSON_REAL_PRECISION(12));
  json_decref(root);
  return failed ? cli_fail(ONNXC_BAD_INPUT, "cannot write '%s': %s", path, strerror(errno)) : 0;
}
