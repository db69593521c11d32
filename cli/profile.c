/* profile.c -- `onnxc bench --profile`: where a run's time goes, stage by stage, on one thread. */
#include "cli.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Runs for about `seconds`, at least once; the sums are in the result, NULL after an error. */
static onnxc_stage_profile *collect(command *cli, cli_session *session, onnxc_run *run, double seconds, int *runs) {
  onnxc_stage_profile *stages = ONNXC_NEW_ARRAY(&cli->arena, onnxc_stage_profile, session->stats.groups + 1);
  double start = cli_seconds();
  for (*runs = 0; *runs == 0 || cli_seconds() - start < seconds; ++*runs)
    if (onnxc_profile(session->program, run, stages) != ONNXC_OK)
      return NULL;
  return stages;
}

double cli_profile_flops(command *cli, cli_session *session, onnxc_run *run) {
  int runs = 0;
  double flops = session->stats.flops;
  const onnxc_stage_profile *stages = session->program && flops == 0 ? collect(cli, session, run, 0, &runs) : NULL;
  for (int k = 0; stages && k < session->stats.groups; k++)
    flops += stages[k].flops;
  return flops;
}

static int slower_first(const void *a, const void *b) {
  const onnxc_stage_profile *x = a, *y = b;
  return (x->seconds < y->seconds) - (x->seconds > y->seconds);
}

static void print_json(const onnxc_stage_profile *stages, int count, int runs, double peak) {
  json_t *list = json_array();
  for (int k = 0; k < count; k++) {
    double seconds = stages[k].seconds / runs, speed = seconds > 0 ? stages[k].flops / seconds : 0;
    json_t *row = json_pack("{s:s?, s:f, s:I}", "stage", stages[k].name, "seconds", seconds, "tasks",
                            (json_int_t)stages[k].tasks);
    if (row && stages[k].flops > 0) {
      json_object_set_new(row, "gflops", json_real(1e-9 * speed));
      if (peak > 0)
        json_object_set_new(row, "share_of_peak", json_real(speed / peak));
    }
    json_array_append_new(list, row);
  }
  json_dumpf(list, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
  puts("");
  json_decref(list);
}

static void print_table(const onnxc_stage_profile *stages, int count, int runs, double peak) {
  double total = 0;
  for (int k = 0; k < count; k++)
    total += stages[k].seconds / runs;
  printf("\nstages by time, of %.4f ms on one thread:\n%10s %7s %9s %6s %7s  %s\n", 1e3 * total, "ms", "share",
         "GFLOP/s", "peak", "tasks", "stage");
  for (int k = 0; k < count; k++) {
    double seconds = stages[k].seconds / runs, speed = seconds > 0 ? stages[k].flops / seconds : 0;
    printf("%10.4f %6.1f%%", 1e3 * seconds, total > 0 ? 100 * seconds / total : 0);
    if (stages[k].flops > 0)
      printf(" %9.1f", 1e-9 * speed);
    else
      printf(" %9s", "");
    if (stages[k].flops > 0 && peak > 0)
      printf(" %5.1f%%", 100 * speed / peak);
    else
      printf(" %6s", "");
    printf(" %7lld  %s\n", (long long)stages[k].tasks, stages[k].name ? stages[k].name : "?");
  }
}

int cli_profile(command *cli, cli_session *session, onnxc_run *run, double seconds, double peak, bool json) {
  int runs = 0, count = session->stats.groups;
  onnxc_stage_profile *stages = collect(cli, session, run, seconds, &runs);
  if (!stages)
    return cli_fail(ONNXC_INTERNAL, "%s", run->message);
  qsort(stages, (size_t)count, sizeof *stages, slower_first);
  if (json)
    print_json(stages, count, runs, peak);
  else
    print_table(stages, count, runs, peak);
  return 0;
}
