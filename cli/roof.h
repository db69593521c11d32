/* roof.h -- how fast a stage could be on this machine: the larger of what its arithmetic and what its data take. */
#ifndef ONNXC_CLI_ROOF_H
#define ONNXC_CLI_ROOF_H

#include "cli.h"

enum { CLI_ROOF_SIZES = 14 }; /* powers of two from 16 KB on */

typedef struct cli_machine {
  double clock; /* clocks a second in which multiply-adds begin, of all threads together; 0 unknown */
  double bandwidth[CLI_ROOF_SIZES]; /* bytes a second of all threads, reading so much again and again */
  double caches[3];                 /* bytes of L1, L2 (of all threads) and L3 */
  double footprint;                 /* bytes that a run goes through: weights come from where these fit */
} cli_machine;

/* A measurement of some 100 ms. peak: FLOP/s of the threads, 0 = not known. */
void cli_measure_machine(cli_machine *machine, int threads, double peak, double footprint);

typedef struct cli_roof {
  double seconds;    /* at least; 0 = not known */
  const char *bound; /* by what: "compute", "L1", "L2", "L3", "memory"; "" when not known */
} cli_roof;
cli_roof cli_roof_of(const cli_machine *machine, const onnxc_stage_profile *stage);

#endif
