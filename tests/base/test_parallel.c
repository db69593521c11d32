/* test_parallel.c -- jobs on threads: each once, whatever the number of threads; and an arena's memory given back. */
#include "base/arena.h"
#include "base/parallel.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { MAX_JOBS = 200 };

typedef struct jobs {
  _Atomic int runs[MAX_JOBS];
  pthread_t caller;
  _Atomic int elsewhere;
} jobs;

static void run(void *arg, uint32_t job) {
  jobs *j = arg;
  atomic_fetch_add(&j->runs[job], 1);
  atomic_fetch_add(&j->elsewhere, !pthread_equal(pthread_self(), j->caller));
}

Test(parallel, runs_each_job_once) {
  static const int threads[] = {-1, 0, 1, 2, 7, 1000};
  static const uint32_t counts[] = {0, 1, 2, 3, MAX_JOBS};
  cr_expect(onnxc_cores() >= 1);
  for (size_t t = 0; t < sizeof threads / sizeof *threads; t++)
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
      jobs j = {.caller = pthread_self()};
      onnxc_parallel(threads[t], counts[c], run, &j);
      for (uint32_t k = 0; k < MAX_JOBS; k++)
        cr_expect_eq(j.runs[k], k < counts[c] ? 1 : 0, "job %u of %u on %d threads", k, counts[c], threads[t]);
      if (threads[t] <= 1 || counts[c] <= 1)
        cr_expect_eq(j.elsewhere, 0, "a thread for nothing");
    }
}

/* Both jobs wait for the other, so they are done only if two threads are at work. */
static void meet(void *arg, uint32_t job) {
  (void)job;
  pthread_barrier_wait(arg);
}

Test(parallel, runs_jobs_at_once) {
  pthread_barrier_t barrier;
  pthread_barrier_init(&barrier, NULL, 2);
  onnxc_parallel(2, 2, meet, &barrier);
  pthread_barrier_destroy(&barrier);
}

/* Memory that is not zeroed may be what was discarded before; a discard never touches what lies beside. */
Test(arena, discards_whole_pages_only) {
  enum { SIZE = 1 << 20 };
  onnxc_guard guard;
  onnxc_arena arena;
  onnxc_arena_init(&arena, &guard);
  unsigned char *memory = onnxc_arena_alloc_raw(&arena, SIZE), outside[8192];
  memset(memory, 7, SIZE);
  memset(outside, 7, sizeof outside);
  onnxc_arena_discard(&arena, memory + 100, SIZE / 2);
  onnxc_arena_discard(&arena, outside, sizeof outside);
  for (int k = 0; k < 100; k++)
    cr_expect_eq(memory[k], 7);
  for (int k = 100 + SIZE / 2; k < SIZE; k++)
    cr_assert_eq(memory[k], 7);
  for (size_t k = 0; k < sizeof outside; k++)
    cr_assert_eq(outside[k], 7, "memory that is not the arena's");
  cr_expect_eq(memory[SIZE / 4], 0);
  onnxc_arena_free(&arena);
}
