/* parallel.h -- a few independent jobs on a few threads, while compiling.
 *
 * The calling thread works too, and does all of it where no thread can be had. Jobs neither allocate from arenas nor
 * unwind (a guard belongs to one thread); what they find goes into a place of their own. Who runs a job, and when, is
 * open, so results must not depend on it.
 */
#ifndef ONNXC_BASE_PARALLEL_H
#define ONNXC_BASE_PARALLEL_H

#include <stdint.h>

/* The cores that this process may use, at most 64. */
int onnxc_cores(void);

typedef void (*onnxc_parallel_fn)(void *arg, uint32_t job);
/* Runs each of 0 .. jobs-1 once, in about this order, on up to `threads` threads. */
void onnxc_parallel(int threads, uint32_t jobs, onnxc_parallel_fn run, void *arg);

#endif
