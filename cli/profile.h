/* profile.h -- what `onnxc bench --profile` found, for those who show it: profile.c, trace.c, chart.c. */
#ifndef ONNXC_CLI_PROFILE_H
#define ONNXC_CLI_PROFILE_H

#include "roof.h"

typedef struct cli_group {
  int number; /* of its stage */
  onnxc_stage_profile stage;
  double seconds;    /* of one run */
  const char *label; /* its nodes: "conv1 (Conv) + relu1" */
  cli_roof roof;
} cli_group;

typedef struct cli_profile {
  const char *model;
  int threads, runs, count;
  cli_group *groups;     /* the slowest first */
  double peak;           /* FLOP/s of all threads, 0 = not known */
  double seconds, flops; /* of one run */
  double roofs;          /* the sum of all roofs, in seconds; 0 when not all are known */
} cli_profile;

static inline double cli_ratio(double a, double b) { return b > 0 ? a / b : 0; }

/* What a run did and when, as a Chrome trace; runs once more. */
int cli_write_trace(command *cli, cli_session *session, onnxc_run *run, const cli_profile *profile, const char *path);
/* Bars of the groups, slowest first, as SVG. */
int cli_write_chart(const cli_profile *profile, const char *path);

#endif
