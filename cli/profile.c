/* profile.c -- `onnxc bench --profile`: where a run's time goes, group by group, and how near each is to its roof. */
#include "profile.h"

#include "peak.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PEAKS = 1024 };

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Runs for about `seconds`, at least once; the sums are in the result, NULL after an error. *peak becomes the median
 * of bursts between the runs, as in bench.c, if it is not NULL. */
static onnxc_stage_profile *collect(command *cli, cli_session *session, onnxc_run *run, double seconds, int *runs,
                                    double *peak) {
  const double window = 0.03, burst = 0.004;
  onnxc_stage_profile *stages = ONNXC_NEW_ARRAY(&cli->arena, onnxc_stage_profile, session->stats.groups + 1);
  static double peaks[MAX_PEAKS];
  size_t count = 0;
  double start = cli_seconds(), measured = start - window;
  for (*runs = 0; *runs == 0 || cli_seconds() - start < seconds; ++*runs) {
    if (peak && count < MAX_PEAKS && cli_seconds() - measured >= window) {
      peaks[count++] = cli_peak_flops(run->num_threads, burst);
      measured = cli_seconds();
    }
    if (onnxc_profile(session->program, run, stages) != ONNXC_OK)
      return NULL;
  }
  qsort(peaks, count, sizeof *peaks, ascending);
  if (peak)
    *peak = peaks[count / 2];
  return stages;
}

double cli_profile_flops(command *cli, cli_session *session, onnxc_run *run) {
  int runs = 0;
  double flops = session->stats.flops;
  const onnxc_stage_profile *stages =
      session->program && flops == 0 ? collect(cli, session, run, 0, &runs, NULL) : NULL;
  for (int k = 0; stages && k < session->stats.groups; k++)
    flops += stages[k].flops;
  return flops;
}

/* ---- names ---- */

static bool contains(const char *name, size_t length, const char *word, size_t word_length) {
  for (size_t at = 0; at + word_length <= length; at++)
    if (strncasecmp(name + at, word, word_length) == 0)
      return true;
  return false;
}

/* "node 'conv1' (Conv-11)" => "conv1"; with the operator behind it where the name does not say it. */
static const char *short_name(command *cli, const char *line, size_t length) {
  static const char start[] = "node '", middle[] = "' (";
  const char *text = onnxc_arena_copy_string(&cli->arena, line, length), *op = NULL;
  if (strncmp(text, start, strlen(start)) != 0)
    return text;
  const char *name = text + strlen(start), *dash = strrchr(text, '-');
  for (const char *p = name; (p = strstr(p, middle)) != NULL; p++)
    op = p + strlen(middle);
  if (!op || !dash || dash < op)
    return text;
  int name_length = (int)(op - strlen(middle) - name), op_length = (int)(dash - op);
  if (contains(name, (size_t)name_length, op, (size_t)op_length))
    return onnxc_arena_printf(&cli->arena, "%.*s", name_length, name);
  return onnxc_arena_printf(&cli->arena, "%.*s (%.*s)", name_length, name, op_length, op);
}

static const char *label_of(command *cli, const onnxc_stage_profile *stage) {
  const char *text = NULL, *nodes = stage->nodes && stage->nodes[0] ? stage->nodes : stage->name;
  for (const char *line = nodes ? nodes : "?"; *line;) {
    size_t length = strcspn(line, "\n");
    const char *name = short_name(cli, line, length);
    text = text ? onnxc_arena_printf(&cli->arena, "%s + %s", text, name) : name;
    line += length + (line[length] == '\n');
  }
  static const char fill[] = "fill_";
  bool padding = stage->name && strncmp(stage->name, fill, strlen(fill)) == 0;
  return padding ? onnxc_arena_printf(&cli->arena, "padding of %s", text ? text : "?") : text ? text : "?";
}

/* ---- showing ---- */

static double operations_of(const cli_group *g) { return g->stage.flops + g->stage.operations; }

static void set_text(json_t *object, const char *key, const char *text) {
  json_t *value = json_string(text);
  json_object_set_new(object, key, value ? value : json_string("?")); /* no UTF-8 */
}

static json_t *group_json(const cli_group *g) {
  json_t *row = json_object(), *nodes = json_array();
  set_text(row, "group", g->label);
  set_text(row, "stage", g->stage.name ? g->stage.name : "");
  for (const char *line = g->stage.nodes ? g->stage.nodes : ""; *line;) {
    size_t length = strcspn(line, "\n");
    json_array_append_new(nodes, json_stringn(line, length));
    line += length + (line[length] == '\n');
  }
  json_object_set_new(row, "nodes", nodes);
  json_object_set_new(row, "seconds", json_real(g->seconds));
  json_object_set_new(row, "tasks", json_integer((json_int_t)g->stage.tasks));
  json_object_set_new(row, "flops", json_real(g->stage.flops));
  json_object_set_new(row, "operations", json_real(operations_of(g)));
  json_object_set_new(row, "bytes", json_real(g->stage.bytes));
  json_object_set_new(row, "weight_bytes", json_real(g->stage.weight_bytes));
  json_object_set_new(row, "gflops", json_real(1e-9 * cli_ratio(operations_of(g), g->seconds)));
  json_object_set_new(row, "gbytes_per_second", json_real(1e-9 * cli_ratio(g->stage.bytes, g->seconds)));
  if (g->roof.seconds > 0) {
    json_object_set_new(row, "roof_seconds", json_real(g->roof.seconds));
    json_object_set_new(row, "share_of_roof", json_real(cli_ratio(g->roof.seconds, g->seconds)));
    json_object_set_new(row, "bound", json_string(g->roof.bound));
  }
  set_text(row, "note", g->stage.note ? g->stage.note : "");
  return row;
}

static void print_json(const cli_profile *p) {
  json_t *root = json_object(), *total = json_object(), *list = json_array();
  for (int k = 0; k < p->count; k++)
    json_array_append_new(list, group_json(&p->groups[k]));
  json_object_set_new(total, "seconds", json_real(p->seconds));
  json_object_set_new(total, "flops", json_real(p->flops));
  json_object_set_new(total, "gflops", json_real(1e-9 * cli_ratio(p->flops, p->seconds)));
  if (p->peak > 0)
    json_object_set_new(total, "share_of_peak", json_real(cli_ratio(p->flops, p->seconds * p->peak)));
  if (p->roofs > 0) {
    json_object_set_new(total, "roof_seconds", json_real(p->roofs));
    json_object_set_new(total, "share_of_roofs", json_real(cli_ratio(p->roofs, p->seconds)));
  }
  set_text(root, "model", p->model);
  json_object_set_new(root, "threads", json_integer(p->threads));
  json_object_set_new(root, "runs", json_integer(p->runs));
  json_object_set_new(root, "total", total);
  json_object_set_new(root, "groups", list);
  json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
  puts("");
  json_decref(root);
}

/* A group below this share of its roof, with this share of the time, gets a line that says why. */
static const double LOW_SHARE = 0.6, LARGE_SHARE = 0.02;

static void print_group(const cli_profile *p, const cli_group *g) {
  double share = cli_ratio(g->seconds, p->seconds), of_roof = cli_ratio(g->roof.seconds, g->seconds);
  printf("%10.4f %6.1f%% %8.1f %7.1f", 1e3 * g->seconds, 100 * share, 1e-9 * cli_ratio(operations_of(g), g->seconds),
         1e-9 * cli_ratio(g->stage.bytes, g->seconds));
  if (g->roof.seconds > 0)
    printf(" %5.0f%% %-7s", 100 * of_roof, g->roof.bound);
  else
    printf(" %6s %-7s", "", "");
  printf(" %6lld  %s\n", (long long)g->stage.tasks, g->label);
  if (g->roof.seconds > 0 && of_roof < LOW_SHARE && share > LARGE_SHARE && g->stage.note && g->stage.note[0])
    printf("%*s^ %s\n", 59, "", g->stage.note);
}

static void print_table(const cli_profile *p) {
  printf("\ngroups by time; roof: the time that arithmetic or data take at least, as a share, and which of them\n"
         "%10s %7s %8s %7s %6s %-7s %6s  %s\n",
         "ms", "share", "Gop/s", "GB/s", "roof", "by", "tasks", "nodes");
  for (int k = 0; k < p->count; k++)
    print_group(p, &p->groups[k]);
  printf("total   %.4f ms on %d thread%s, %.1f GFLOP/s of products", 1e3 * p->seconds, p->threads,
         p->threads == 1 ? "" : "s", 1e-9 * cli_ratio(p->flops, p->seconds));
  if (p->peak > 0)
    printf(", %.1f%% of the f32 peak", 100 * cli_ratio(p->flops, p->seconds * p->peak));
  if (p->roofs > 0)
    printf("; all roofs together %.4f ms, %.1f%%", 1e3 * p->roofs, 100 * cli_ratio(p->roofs, p->seconds));
  puts("");
}

/* ---- the verb's part ---- */

static int slower_first(const void *a, const void *b) {
  const cli_group *x = a, *y = b;
  return x->seconds != y->seconds ? (x->seconds < y->seconds) - (x->seconds > y->seconds) : x->number - y->number;
}

static void add_up(command *cli, cli_profile *p, const onnxc_stage_profile *stages, const cli_machine *machine) {
  bool all = true;
  p->groups = ONNXC_NEW_ARRAY(&cli->arena, cli_group, p->count + 1);
  for (int k = 0; k < p->count; k++) {
    cli_group *g = &p->groups[k];
    *g = (cli_group){.number = k, .stage = stages[k], .seconds = stages[k].seconds / p->runs};
    g->label = label_of(cli, &stages[k]);
    g->roof = cli_roof_of(machine, &stages[k]);
    p->seconds += g->seconds;
    p->flops += g->stage.flops;
    p->roofs += g->roof.seconds;
    all = all && (g->roof.seconds > 0 || g->stage.bytes == 0);
  }
  p->roofs = all ? p->roofs : 0;
  qsort(p->groups, (size_t)p->count, sizeof *p->groups, slower_first);
}

int cli_show_profile(command *cli, cli_session *session, onnxc_run *run, const cli_profile_options *options) {
  int threads = run->num_threads > 1 ? run->num_threads : 1;
  cli_profile p = {.model = session->path, .threads = threads, .count = session->stats.groups};
  const onnxc_stage_profile *stages =
      collect(cli, session, run, options->seconds, &p.runs, options->roofs ? &p.peak : NULL);
  if (!stages)
    return cli_fail(ONNXC_INTERNAL, "%s", run->message);
  cli_machine machine = {0};
  if (p.peak > 0)
    cli_measure_machine(&machine, threads, p.peak, (double)session->stats.weights_size + (double)run->workspace_size);
  add_up(cli, &p, stages, &machine);
  if (options->json)
    print_json(&p);
  else
    print_table(&p);
  int status = options->trace ? cli_write_trace(cli, session, run, &p, options->trace) : 0;
  return status == 0 && options->chart ? cli_write_chart(&p, options->chart) : status;
}
