/* pool.c -- the least that a parallel_for can be: threads are started for each call, and take tasks from a counter. */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { MAX_THREADS = 64 };

typedef struct job {
  void (*body)(void *arg, int64_t task, int thread);
  void *arg;
  int64_t tasks;
  atomic_llong next;
} job;

typedef struct worker {
  job *job;
  int thread;
} worker;

static void *work(void *arg) {
  worker *self = arg;
  for (int64_t task; (task = atomic_fetch_add(&self->job->next, 1)) < self->job->tasks;)
    self->job->body(self->job->arg, task, self->thread);
  return NULL;
}

void pool_parallel_for(void *pool, int64_t tasks, void (*body)(void *arg, int64_t task, int thread), void *arg) {
  job all = {.body = body, .arg = arg, .tasks = tasks};
  pthread_t threads[MAX_THREADS];
  worker workers[MAX_THREADS];
  int count = *(const int *)pool;
  for (int k = 0; k < count; k++) {
    workers[k] = (worker){&all, k};
    if (k > 0 && pthread_create(&threads[k], NULL, work, &workers[k]) != 0)
      abort();
  }
  work(&workers[0]);
  for (int k = 1; k < count; k++)
    pthread_join(threads[k], NULL);
}
