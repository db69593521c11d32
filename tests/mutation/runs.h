/* runs.h -- running a compiled mutant on random inputs, between pages that may not be touched; and what a worker tells
 * its parent. */
#ifndef ONNXC_TESTS_RUNS_H
#define ONNXC_TESTS_RUNS_H

#include "mutations.h"

#include "onnxc/onnxc.h"

#include <stdbool.h>

/* ---- what a worker is at ---- */

typedef enum stage { LOAD, DESCRIBE, TILE, COMPILE, PLAN, RUN, EVALUATE, DONE } stage;

typedef struct shared_state {
  uint64_t current; /* case */
  stage stage;
  uint64_t failed, imported, ran;
  bool finished;
} shared_state;

extern shared_state *shared;

void set_timer(int seconds); /* CPU seconds until this process is killed; 0 = never */

/* ---- runs ---- */

enum { MAX_TENSORS = 32 };

typedef struct guarded_memory {
  void *map, *data;
  size_t size;
} guarded_memory;

typedef struct run_memory {
  guarded_memory blocks[2 * MAX_TENSORS + 64];
  size_t count;
} run_memory;

void *allocate_guarded(void *memory, size_t size, int tag); /* an onnxc_allocate */
void run_memory_free(run_memory *memory);

/* Plans with dims that no caller means, then runs with small ones. False when the program's tensors are too large to
 * try, or the run says that its inputs do not fit. A run may rightly take long: it has a limit of its own. */
bool run_program(const onnxc_program *program, random_source *source, run_memory *memory, onnxc_tensor *inputs,
                 onnxc_tensor *outputs);
/* Exactly for integers, else within what rounding in another order does; only f32 of the real types is looked at. */
bool tensors_agree(const onnxc_tensor *actual, const onnxc_tensor *expected);

#endif
