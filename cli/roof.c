/* roof.c -- see roof.h.
 *
 * Bandwidth is measured for a range of sizes rather than taken from a table: how much of the last level a core gets
 * depends on the machine and on who else is there. A stage's activations come from where its operands and results
 * fit together, since the stages around it have just used them. Its constants were last used a whole run ago, so they
 * come from where everything that a run touches fits.
 */
#include "roof.h"

#include "peak.h"

#include "target/target.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FIRST_SIZE = 16 << 10 };

static double size_at(int k) { return (double)FIRST_SIZE * (double)(1 << k); }

static void measure_bandwidth(cli_machine *machine, int threads) {
  enum { BURSTS = 3, LARGE_PAGE = 2 << 20 };
  const double seconds = 0.001;
  size_t size = (size_t)size_at(CLI_ROOF_SIZES - 1);
  void *memory = aligned_alloc(LARGE_PAGE, size);
  if (!memory)
    return;
  madvise(memory, size, MADV_HUGEPAGE);
  memset(memory, 1, size);
  for (int k = 0; k < CLI_ROOF_SIZES; k++)
    for (int burst = 0; burst < BURSTS; burst++)
      machine->bandwidth[k] =
          fmax(machine->bandwidth[k], cli_peak_bandwidth(threads, seconds, memory, (size_t)size_at(k)));
  free(memory);
}

static double cache_size(int name, uint32_t otherwise) {
  long size = sysconf(name);
  return size > 0 ? (double)size : (double)otherwise;
}

void cli_measure_machine(cli_machine *machine, int threads, double peak, double footprint) {
  const onnxc_target *host = onnxc_target_host();
  *machine = (cli_machine){.footprint = footprint};
  if (!host)
    return;
  machine->clock = peak / (2.0 * host->fma_ports * host->vector_bytes / 4);
  machine->caches[0] = threads * cache_size(_SC_LEVEL1_DCACHE_SIZE, host->l1_bytes);
  machine->caches[1] = threads * cache_size(_SC_LEVEL2_CACHE_SIZE, host->l2_bytes);
  machine->caches[2] = cache_size(_SC_LEVEL3_CACHE_SIZE, host->l3_bytes);
  measure_bandwidth(machine, threads);
}

/* Between two sizes that were measured, by the logarithm. */
static double bandwidth_of(const cli_machine *machine, double bytes) {
  double at = log2(fmax(bytes / (double)FIRST_SIZE, 1));
  int k = (int)at;
  if (k >= CLI_ROOF_SIZES - 1)
    return machine->bandwidth[CLI_ROOF_SIZES - 1];
  return machine->bandwidth[k] + (at - k) * (machine->bandwidth[k + 1] - machine->bandwidth[k]);
}

static const char *level_of(const cli_machine *machine, double bytes) {
  static const char *const names[] = {"L1", "L2", "L3", "memory"};
  int level = 0;
  while (level < 3 && bytes > machine->caches[level])
    level++;
  return names[level];
}

cli_roof cli_roof_of(const cli_machine *machine, const onnxc_stage_profile *stage) {
  if (machine->clock <= 0 || machine->bandwidth[0] <= 0 || (stage->clocks <= 0 && stage->bytes <= 0))
    return (cli_roof){0, ""};
  double compute = stage->clocks / machine->clock, others = stage->bytes - stage->weight_bytes;
  double constants = stage->weight_bytes / bandwidth_of(machine, machine->footprint);
  double activations = others / bandwidth_of(machine, stage->bytes);
  if (compute >= constants + activations)
    return (cli_roof){compute, "compute"};
  return (cli_roof){constants + activations,
                    level_of(machine, constants > activations ? machine->footprint : stage->bytes)};
}
