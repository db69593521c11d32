/* threads.c -- on which cores a run's threads are.
 *
 * Left alone, a system may let two threads share a core for a whole run. libomp reads from the environment where they
 * shall stay, when the first run starts; the library never touches the environment, but the command's process is its
 * own.
 */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

bool cli_set_affinity(const char *how) {
  static const char *const known[] = {"close", "spread"};
  if (strcmp(how, "none") == 0)
    return setenv("OMP_PROC_BIND", "false", 1) == 0;
  for (size_t k = 0; k < sizeof known / sizeof *known; k++)
    if (strcmp(how, known[k]) == 0)
      return setenv("OMP_PROC_BIND", how, 1) == 0 && setenv("OMP_PLACES", "cores", 1) == 0;
  return false;
}

void cli_bind_threads(void) {
  static const char *const settings[] = {"OMP_PROC_BIND", "OMP_PLACES", "KMP_AFFINITY", "GOMP_CPU_AFFINITY"};
  for (size_t k = 0; k < sizeof settings / sizeof *settings; k++)
    if (getenv(settings[k]))
      return;
  cli_set_affinity("close");
}
