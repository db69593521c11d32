/* measure.c -- the measuring loop: windows of the implementations in turn, a burst of the peak instruction before each.
 *
 * In each round every implementation has one window, and each round begins with another one. A window whose burst is
 * not what the clock allows (something else ran on the core) is void and repeated a few times. Reported are medians
 * over the windows; shares are of the peak measured just before the same window, so they do not depend on the clock
 * that the machine happens to have. ratio_to_onnxc pairs the windows of one round.
 */
#include "bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_ROUNDS = 101, MAX_IMPLS = 16, ATTEMPTS = 12 };
static const double LONG_RUN = 0.5; /* seconds; such a run is a window alone, and five rounds, or three, must do */

typedef struct series {
  double seconds[MAX_ROUNDS], share[MAX_ROUNDS], peak[MAX_ROUNDS], bandwidth[MAX_ROUNDS]; /* 0: void */
} series;

typedef struct contender {
  const implementation *impl;
  void *state; /* NULL: failed */
  char why[BENCH_WHY];
  double estimate; /* seconds of a run */
  int void_windows;
  series samples;
} contender;

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Of the values that are not 0; 0 if there are none. */
static double median(const double *values, int count) {
  double sorted[MAX_ROUNDS];
  int kept = 0;
  for (int i = 0; i < count; i++)
    if (values[i] > 0)
      sorted[kept++] = values[i];
  if (!kept)
    return 0;
  qsort(sorted, (size_t)kept, sizeof *sorted, ascending);
  return kept % 2 ? sorted[kept / 2] : 0.5 * (sorted[kept / 2 - 1] + sorted[kept / 2]);
}

static int count_valid(const double *values, int count) {
  int valid = 0;
  for (int i = 0; i < count; i++)
    valid += values[i] > 0;
  return valid;
}

/* ---- checking ---- */

/* What may differ from the plain computation: rounding of f32 sums and of bf16 between layers, relative to the row's
 * largest value; for u8 a step, or two where a layer's input may already be a step off. */
static double tolerance_of(const problem *p, double largest) {
  switch (p->dtype) {
  case BENCH_F32: return 1e-4 * largest + 1e-5;
  case BENCH_BF16: return (p->what->layers > 1 ? 0.03 : 0.01) * largest;
  case BENCH_U8S8S32: return 0;
  default: return p->what->layers > 1 ? 2 : 1;
  }
}

static bool check(const problem *p, contender *c) {
  const int64_t n = p->what->n;
  double *row = malloc((size_t)n * sizeof *row);
  bool good = row != NULL;
  for (int r = 0; good && r < p->num_rows; r++) {
    const double *want = p->expected + r * n;
    double largest = 0;
    c->impl->row(c->state, p->row_batch[r], p->row_index[r], row);
    for (int64_t j = 0; j < n; j++)
      largest = fmax(largest, fabs(want[j]));
    for (int64_t j = 0; good && j < n; j++)
      if (!(fabs(row[j] - want[j]) <= tolerance_of(p, largest))) {
        snprintf(c->why, BENCH_WHY, "wrong result: element [%lld, %lld, %lld] is %g, expected %g",
                 (long long)p->row_batch[r], (long long)p->row_index[r], (long long)j, row[j], want[j]);
        good = false;
      }
  }
  free(row);
  return good;
}

/* ---- windows ---- */

/* Seconds of one run, the mean over a window; 0 when a run fails. */
static double run_window(contender *c, double window) {
  if (c->impl->window)
    return c->impl->window(c->state, window);
  int64_t count = c->estimate > 0 ? (int64_t)(window / c->estimate + 0.5) : 1;
  count = count < 1 ? 1 : count;
  double start = bench_seconds();
  for (int64_t i = 0; i < count; i++)
    if (!c->impl->run(c->state))
      return 0;
  return (bench_seconds() - start) / (double)count;
}

static void warm_up(contender *c, double window) {
  if (c->estimate < window)
    c->impl->run(c->state);
}

static void open_contender(problem *p, contender *c, double window) {
  c->state = NULL;
  machine_unpin();
  if (!c->impl->version())
    snprintf(c->why, BENCH_WHY, "absent");
  else
    c->state = c->impl->open(p, c->why);
  double start = bench_seconds();
  if (c->state && !c->impl->run(c->state)) {
    snprintf(c->why, BENCH_WHY, "the run failed");
    goto bad;
  }
  double best = bench_seconds() - start;
  machine_pin_threads(c->impl->floating);
  machine_pin();
  if (!c->state)
    return;
  if (!check(p, c))
    goto bad;
  /* The first runs wake threads and touch pages; a long one tells enough. */
  for (double begin = bench_seconds(); best < LONG_RUN && bench_seconds() - begin < 0.3 * window;) {
    start = bench_seconds();
    if (!c->impl->run(c->state)) {
      snprintf(c->why, BENCH_WHY, "the run failed");
      goto bad;
    }
    double now = bench_seconds() - start;
    best = now < best ? now : best;
  }
  c->estimate = best;
  machine_pin_threads(c->impl->floating);
  return;
bad:
  machine_pin();
  if (c->impl->close)
    c->impl->close(c->state);
  c->state = NULL;
}

/* Products of few rows only read B: what counts is how fast. */
static bool is_bandwidth_bound(const problem *p) { return p->what->kind == BENCH_GEMM && p->what->m <= 16; }

static void one_window(const problem *p, contender *c, int round, double window, const void *buffer) {
  for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
    bench_sleep(0.003); /* threads of the one before stop to spin */
    warm_up(c, window);
    bench_sleep(0.002);
    machine_burst burst = machine_peak(p->dtype);
    double bandwidth = buffer ? machine_bandwidth(buffer, p->b_bytes, window) : 0;
    double seconds = burst.valid ? run_window(c, window) : 0;
    if (!burst.valid) {
      c->void_windows++;
      continue;
    }
    if (seconds <= 0) {
      snprintf(c->why, BENCH_WHY, "the run failed");
      return;
    }
    c->samples.seconds[round] = seconds;
    c->samples.peak[round] = burst.peak;
    c->samples.share[round] = p->flops / seconds / burst.peak;
    c->samples.bandwidth[round] = bandwidth;
    return;
  }
}

/* ---- the report ---- */

static void set_number(json_t *row, const char *key, double value, int digits) {
  double scale = pow(10, digits - 1 - floor(log10(fabs(value) > 0 ? fabs(value) : 1)));
  json_object_set_new(row, key, json_real(round(value * scale) / scale));
}

static void print_row(json_t *row) {
  json_dumpf(row, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
  putchar('\n');
  fflush(stdout);
  json_decref(row);
}

static void report(const problem *p, const contender *c, const contender *ours, int rounds) {
  const series *s = &c->samples;
  json_t *row = json_object();
  const char *version = c->impl->version();
  int windows = count_valid(s->seconds, rounds);
  json_object_set_new(row, "case", json_string(p->what->name));
  json_object_set_new(row, "dtype", json_string(bench_dtype_names[p->dtype]));
  json_object_set_new(row, "threads", json_integer(p->threads));
  json_object_set_new(row, "impl", json_string(c->impl->name));
  json_object_set_new(row, "version", json_string(version ? version : "absent"));
  if (!windows) {
    json_object_set_new(row, "error", json_string(c->why[0] ? c->why : "every window was void"));
  } else {
    double seconds = median(s->seconds, rounds), bandwidth = median(s->bandwidth, rounds);
    set_number(row, "gflops", p->flops / seconds * 1e-9, 5);
    set_number(row, "share_of_peak", median(s->share, rounds), 4);
    set_number(row, "seconds", seconds, 5);
    set_number(row, "peak_gflops", median(s->peak, rounds) * 1e-9, 5);
    if (bandwidth > 0) {
      double shares[MAX_ROUNDS];
      for (int r = 0; r < rounds; r++)
        shares[r] = s->seconds[r] > 0 ? (double)p->b_bytes / s->seconds[r] / s->bandwidth[r] : 0;
      set_number(row, "gbps", (double)p->b_bytes / seconds * 1e-9, 4);
      set_number(row, "share_of_bandwidth", median(shares, rounds), 4);
      set_number(row, "bandwidth_gbps", bandwidth * 1e-9, 4);
    }
    if (ours && ours != c) {
      double ratios[MAX_ROUNDS];
      for (int r = 0; r < rounds; r++)
        ratios[r] = s->share[r] > 0 && ours->samples.share[r] > 0 ? ours->samples.share[r] / s->share[r] : 0;
      if (count_valid(ratios, rounds))
        set_number(row, "onnxc_ratio", median(ratios, rounds), 4);
    }
    json_object_set_new(row, "windows", json_integer(windows));
    json_object_set_new(row, "void_windows", json_integer(c->void_windows));
  }
  print_row(row);
}

void report_machine(bench_dtype dtype, int threads) {
  json_t *row = json_object();
  machine_burst burst = machine_peak(dtype);
  char date[32];
  time_t now = time(NULL);
  for (int i = 0; i < 20 && !burst.valid; i++)
    burst = machine_peak(dtype);
  strftime(date, sizeof date, "%Y-%m-%d", gmtime(&now));
  json_object_set_new(row, "cpu", json_string(machine_cpu()));
  json_object_set_new(row, "date", json_string(date));
  json_object_set_new(row, "dtype", json_string(bench_dtype_names[dtype]));
  json_object_set_new(row, "threads", json_integer(threads));
  json_object_set_new(row, "instruction", json_string(machine_instruction(dtype)));
  json_object_set_new(row, "ports", json_integer(machine_ports(dtype)));
  json_object_set_new(row, "real_time", json_boolean(machine_is_real_time()));
  set_number(row, "clock_ghz", burst.clock * 1e-9, 4);
  set_number(row, "peak_gflops", burst.peak * 1e-9, 5);
  print_row(row);
}

void measure(problem *p, const implementation *const *impls, int count, const measure_options *options) {
  contender *contenders = calloc(MAX_IMPLS, sizeof *contenders), *ours = NULL;
  int rounds = options->rounds > MAX_ROUNDS ? MAX_ROUNDS : options->rounds, alive = 0;
  if (!contenders)
    return;
  void *buffer = is_bandwidth_bound(p) ? problem_alloc(p, p->b_bytes) : NULL;
  if (buffer)
    memset(buffer, 1, p->b_bytes); /* pages of its own, not all the zero page */
  for (int i = 0; i < count; i++) {
    contenders[i].impl = impls[i];
    open_contender(p, &contenders[i], options->window);
    alive += contenders[i].state != NULL;
    if (impls[i] == &impl_onnxc)
      ours = &contenders[i];
  }
  for (int round = 0; alive && round < rounds; round++)
    for (int i = 0; i < count; i++) {
      contender *c = &contenders[(i + round) % count];
      bool enough = round >= (c->estimate > 4 * LONG_RUN ? 3 : c->estimate > LONG_RUN ? 5 : rounds);
      if (c->state && !enough)
        one_window(p, c, round, options->window, buffer);
    }
  for (int i = 0; i < count; i++) {
    report(p, &contenders[i], ours && ours->state ? ours : NULL, rounds);
    if (contenders[i].state && impls[i]->close)
      impls[i]->close(contenders[i].state);
  }
  free(contenders);
}
