/* parallel.c -- see parallel.h. */
#define _GNU_SOURCE
#include "base/parallel.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>

/* The stack is LLVM's, which recurses; a thread's default may be small. */
enum { MAX_THREADS = 64, STACK = 8 << 20 };

int onnxc_cores(void) {
  cpu_set_t set;
  int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  return cores < 1 ? 1 : cores > MAX_THREADS ? MAX_THREADS : cores;
}

typedef struct pool {
  onnxc_parallel_fn run;
  void *arg;
  uint32_t jobs;
  _Atomic uint32_t next;
} pool;

static void *work(void *arg) {
  pool *p = arg;
  for (uint32_t job; (job = atomic_fetch_add(&p->next, 1)) < p->jobs;)
    p->run(p->arg, job);
  return NULL;
}

void onnxc_parallel(int threads, uint32_t jobs, onnxc_parallel_fn run, void *arg) {
  pool p = {.run = run, .arg = arg, .jobs = jobs};
  pthread_t others[MAX_THREADS];
  pthread_attr_t attributes;
  int wanted = threads > MAX_THREADS ? MAX_THREADS : threads, started = 0;
  if (wanted > 1 && jobs > 1 && pthread_attr_init(&attributes) == 0) {
    pthread_attr_setstacksize(&attributes, STACK);
    while (started + 1 < wanted && (uint32_t)started + 1 < jobs &&
           pthread_create(&others[started], &attributes, work, &p) == 0)
      started++;
    pthread_attr_destroy(&attributes);
  }
  work(&p);
  for (int k = 0; k < started; k++)
    pthread_join(others[k], NULL);
}
