/* tune.c -- `onnxc tune`: searches around the cost model's choices for products, by measuring.
 *
 * Each product is searched by itself, one move at a time from what is best so far, but all products of the model move
 * at once: a program is compiled with one candidate for each of them and run beside the one that is best, in turns, on
 * one core, and the profile tells the time of each stage. A candidate must win by more than NOISE. In the end the first
 * program and the best one are measured once more, and what did not last is dropped.
 */
#define _GNU_SOURCE /* sched_setaffinity */

#include "cli.h"

#include "peak.h"
#include "tile/tuning.h"

#include <getopt.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

static const char help[] = "usage: onnxc tune MODEL -o FILE [options]\n"
                           "Measures other ways to cut the model's matrix products than those that the cost model "
                           "chooses, and writes what is\n"
                           "faster to FILE, for --tuning=FILE of compile, run, bench and verify.\n"
                           "  --duration=SECONDS about how long (default 20)\n"
                           "  --threads=N        keep tasks enough for N threads (default 1)\n"
                           "  --input NAME=FILE  as for run; random data for inputs not given\n"
                           "  --tuning=FILE      start from there\n"
                           "  --mcpu=CPU, --dim NAME=N, --shape INPUT=1x3x224x224, --precision=bf16  as for compile\n";

static const double NOISE = 0.02, WINDOW = 0.12; /* seconds of measuring for a candidate, at least */
enum { MIN_ROUNDS = 5, MAX_ROUNDS = 41, BURST = 3, MAX_PASSES = 3, TASKS_A_THREAD = 4 };

typedef struct product {
  onnxc_product_key key;
  onnxc_product_values first, best, candidate;
  ONNXC_VEC(int) stages;
  int step, pass; /* of the search */
  bool better, moves, done;
  double samples[2][MAX_ROUNDS], seconds[2]; /* of the two programs that are measured */
  double flops;
  int64_t tasks[2], first_tasks; /* of its stage with the fewest */
} product;

typedef struct tuner {
  command *cli;
  const char *path, *out, *temporary;
  onnxc_options options;
  const char *const *specs;
  size_t num_specs;
  int threads, candidates;
  double duration, peak;
  onnxc_tensor *inputs;
  ONNXC_VEC(product *) products;
} tuner;

typedef struct subject {
  cli_session session;
  onnxc_run run;
  onnxc_stage_profile *stages;
} subject;

/* ---- programs ---- */

static void print_line(onnxc_text *text, const product *p, const onnxc_product_values *values) {
  onnxc_tuning_print(&p->key, values, text);
}

static int write_file(const tuner *t, const char *path, const onnxc_text *text) {
  FILE *file = fopen(path, "wb");
  bool written = file && fwrite(text->data, 1, text->length, file) == text->length;
  if (file && fclose(file) == 0 && written)
    return 0;
  return cli_fail(ONNXC_BAD_INPUT, "%s: cannot write '%s'", t->path, path);
}

/* A program with the best values, or with the candidates. */
static int open_program(tuner *t, subject *s, bool candidates) {
  onnxc_text text;
  onnxc_text_init(&text, &t->cli->arena);
  for (uint32_t i = 0; i < t->products.length; i++) {
    const product *p = t->products.data[i];
    print_line(&text, p, candidates && p->moves ? &p->candidate : &p->best);
    onnxc_text_printf(&text, "\n");
  }
  int status = write_file(t, t->temporary, &text);
  onnxc_options options = t->options;
  options.tuning = t->temporary;
  if (status == 0)
    status = cli_session_open(t->cli, &s->session, t->path, &options, NULL);
  if (status == 0)
    status = cli_session_plan(t->cli, &s->session, t->inputs, 1, &s->run, NULL);
  s->stages = ONNXC_NEW_ARRAY(&t->cli->arena, onnxc_stage_profile, s->session.stats.groups + 1);
  return status;
}

static bool same_product(const product *p, const onnxc_tuned *tuned) {
  return onnxc_product_keys_equal(&p->key, &tuned->key);
}

/* The products of a program, those that are alike as one. */
static void find_products(tuner *t, const onnxc_program *program) {
  onnxc_arena *arena = &t->cli->arena;
  const onnxc_product_choice *choices;
  int count = onnxc_program_products(program, &choices);
  for (int i = 0; i < count; i++) {
    onnxc_tuning tuning;
    onnxc_status status =
        onnxc_tuning_parse(&tuning, arena, &t->cli->diag, "choice", choices[i].line, strlen(choices[i].line));
    if (status != ONNXC_OK) { /* the model's choice is out of what a file may say: it stays */
      onnxc_diag_clear(&t->cli->diag);
      continue;
    }
    const onnxc_tuned *tuned = &tuning.products.data[0];
    uint32_t k = 0;
    while (k < t->products.length && !same_product(t->products.data[k], tuned))
      k++;
    if (k == t->products.length) {
      product *p = ONNXC_NEW(arena, product);
      p->key = tuned->key;
      p->first = p->best = tuned->values;
      ONNXC_PUSH(arena, t->products, p);
    }
    ONNXC_PUSH(arena, t->products.data[k]->stages, choices[i].stage);
  }
}

/* ---- measuring ---- */

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *samples, int count) {
  qsort(samples, (size_t)count, sizeof *samples, ascending);
  return count ? samples[count / 2] : 0;
}

/* The shortest times of a few runs, after one that brings back what the other program drove out of the caches. */
static int run_burst(tuner *t, subject *s, int which, int round) {
  for (int run = 0; run <= BURST; run++) {
    memset(s->stages, 0, (size_t)s->session.stats.groups * sizeof *s->stages);
    if (onnxc_profile(s->session.program, &s->run, s->stages) != ONNXC_OK)
      return cli_fail(ONNXC_INTERNAL, "%s: %s", t->path, s->run.message);
    for (uint32_t i = 0; run > 0 && i < t->products.length; i++) {
      product *p = t->products.data[i];
      double seconds = 0;
      p->flops = 0;
      p->tasks[which] = INT64_MAX;
      for (uint32_t k = 0; k < p->stages.length; k++) {
        const onnxc_stage_profile *stage = &s->stages[p->stages.data[k]];
        seconds += stage->seconds;
        p->flops += stage->flops;
        p->tasks[which] = stage->tasks < p->tasks[which] ? stage->tasks : p->tasks[which];
      }
      double *sample = &p->samples[which][round];
      *sample = run == 1 || seconds < *sample ? seconds : *sample;
    }
  }
  return 0;
}

/* Both programs in turns; the medians are in products' seconds[]. */
static int measure(tuner *t, subject *best, subject *other, double window) {
  double start = cli_seconds();
  int round = 0, status = 0;
  for (; status == 0 && round < MAX_ROUNDS && (round < MIN_ROUNDS || cli_seconds() - start < window); round++) {
    double peak = cli_peak_flops(1, 0.001);
    t->peak = peak > t->peak ? peak : t->peak; /* the best, as the times are */
    status = run_burst(t, best, 0, round);
    if (status == 0)
      status = run_burst(t, other, 1, round);
  }
  for (uint32_t i = 0; status == 0 && i < t->products.length; i++)
    for (int which = 0; which < 2; which++)
      t->products.data[i]->seconds[which] = median(t->products.data[i]->samples[which], round);
  return status;
}

/* ---- the search ---- */

static int64_t whole_tiles(int64_t rows, int64_t tile) { return (rows + tile - 1) / tile * tile; }

/* Move number `step` from the best values; false behind the last. */
static bool move(const product *p, int step, onnxc_product_values *v) {
  static const int64_t depths[] = {0, 256, 512, 1024};
  static const int64_t distances[] = {4096, 8192, 16384};
  const onnxc_product_key *key = &p->key;
  bool dot = key->acc == ONNXC_I32 || key->b == ONNXC_BF16;
  int64_t bytes = (int64_t)onnxc_dtype_bytes(key->b), m = key->extent[ONNXC_PRODUCT_M];
  int64_t n = whole_tiles(key->extent[ONNXC_PRODUCT_N], key->panel);
  *v = p->best;
  int64_t rows = v->rows ? v->rows : m, columns = v->columns ? v->columns : n;
  int64_t lines = key->panel * (dot ? 4 : bytes) * v->unroll / 64;
  lines = lines > ONNXC_MAX_TUNED_LINES ? ONNXC_MAX_TUNED_LINES : lines;
  switch (step) {
  case 0:
  case 1:
  case 2:
  case 3: v->depth = bytes > 0 ? depths[step] * 4 / bytes : 0; break;
  case 4: v->rows = 0; break;
  case 5: v->rows = whole_tiles((rows + 1) / 2, v->tile); break;
  case 6: v->rows = whole_tiles(rows * 2, v->tile); break;
  case 7: v->rows = whole_tiles(rows * 3 / 4, v->tile); break;
  case 8: v->columns = key->panel; break;
  case 9: v->columns = columns / 2 / key->panel * key->panel; break;
  case 10: v->columns = columns * 2; break;
  case 11: v->columns = 0; break;
  case 12: v->lines = v->ahead = 0; break;
  case 13:
  case 14:
  case 15:
    v->ahead = distances[step - 13];
    v->lines = lines;
    break;
  case 16: v->lines *= 2; break;
  case 17: v->lines /= 2; break;
  case 18: v->tile -= 1; break;
  case 19: v->tile += 1; break;
  case 20: v->unroll /= 2; break;
  case 21: v->unroll *= 2; break;
  default: return false;
  }
  v->rows = v->tile > 0 ? whole_tiles(v->rows, v->tile) : v->rows;
  if (v->rows >= m && !key->open[ONNXC_PRODUCT_M])
    v->rows = 0;
  if (v->columns >= n && !key->open[ONNXC_PRODUCT_N])
    v->columns = 0;
  if (v->depth >= key->extent[ONNXC_PRODUCT_K] && !key->open[ONNXC_PRODUCT_K])
    v->depth = 0;
  return true;
}

static bool same_values(const onnxc_product_values *a, const onnxc_product_values *b) {
  return memcmp(a, b, sizeof *a) == 0;
}

/* Can a file say it? As the parser sees it. */
static bool is_legal(tuner *t, const product *p, const onnxc_product_values *values) {
  onnxc_text text;
  onnxc_tuning tuning;
  onnxc_text_init(&text, &t->cli->arena);
  print_line(&text, p, values);
  bool legal =
      onnxc_tuning_parse(&tuning, &t->cli->arena, &t->cli->diag, "candidate", text.data, text.length) == ONNXC_OK;
  onnxc_diag_clear(&t->cli->diag);
  return legal;
}

/* The next candidate of each product; false when all have been through their moves without a gain. */
static bool propose(tuner *t) {
  bool any = false;
  for (uint32_t i = 0; i < t->products.length; i++) {
    product *p = t->products.data[i];
    for (p->moves = false; !p->moves && !p->done;) {
      if (!move(p, p->step++, &p->candidate)) {
        p->done = !p->better || ++p->pass == MAX_PASSES;
        p->better = false;
        p->step = 0;
        continue;
      }
      p->moves = !same_values(&p->candidate, &p->best) && is_legal(t, p, &p->candidate);
    }
    any |= p->moves;
  }
  return any;
}

/* Takes the candidates that were faster; true if there are any. */
static bool take_better(tuner *t) {
  bool any = false;
  for (uint32_t i = 0; i < t->products.length; i++) {
    product *p = t->products.data[i];
    int64_t enough = (int64_t)TASKS_A_THREAD * t->threads;
    if (p->first_tasks == 0)
      p->first_tasks = p->tasks[0];
    bool idle = t->threads > 1 && p->tasks[1] < enough && p->tasks[1] < p->first_tasks;
    if (!p->moves || idle || p->seconds[1] >= (1 - NOISE) * p->seconds[0])
      continue;
    p->best = p->candidate;
    p->better = any = true;
  }
  return any;
}

static int search(tuner *t, subject *best, double until) {
  int status = 0;
  while (status == 0 && cli_seconds() < until && propose(t)) {
    subject other = {0};
    status = open_program(t, &other, true);
    if (status == 0)
      status = measure(t, best, &other, WINDOW);
    t->candidates++;
    cli_session_close(&other.session);
    if (status == 0 && take_better(t)) {
      cli_session_close(&best->session);
      status = open_program(t, best, false);
    }
  }
  return status;
}

/* The first program against the best; what is no better goes back. */
static int judge(tuner *t, subject *first, subject *best) {
  int status = measure(t, first, best, 0.15 * t->duration);
  for (uint32_t i = 0; status == 0 && i < t->products.length; i++) {
    product *p = t->products.data[i];
    if (same_values(&p->best, &p->first) || p->seconds[1] >= (1 - NOISE) * p->seconds[0])
      p->best = p->first;
  }
  return status;
}

/* ---- the result ---- */

static int write_result(tuner *t) {
  onnxc_text text;
  onnxc_text_init(&text, &t->cli->arena);
  int better = 0;
  onnxc_text_printf(&text, "# Made by `onnxc tune`, for --tuning. Times are of one thread.\n");
  for (uint32_t i = 0; i < t->products.length; i++) {
    const product *p = t->products.data[i];
    bool gain = !same_values(&p->best, &p->first);
    better += gain;
    onnxc_text_printf(&text, gain ? "" : "# ");
    print_line(&text, p, &p->best);
    if (gain)
      onnxc_text_printf(&text, " # %.4f ms, was %.4f", 1e3 * p->seconds[1], 1e3 * p->seconds[0]);
    else
      onnxc_text_printf(&text, " (the model's choice: %.4f ms", 1e3 * p->seconds[0]);
    if (t->peak > 0 && p->flops > 0)
      onnxc_text_printf(&text, gain ? "; %.1f %% of the f32 peak, was %.1f" : ", %.1f %% of the f32 peak",
                        100 * p->flops / p->seconds[gain ? 1 : 0] / t->peak, 100 * p->flops / p->seconds[0] / t->peak);
    onnxc_text_printf(&text, gain ? "\n" : ")\n");
  }
  int status = write_file(t, t->temporary, &text);
  if (status == 0 && rename(t->temporary, t->out) != 0)
    status = cli_fail(ONNXC_BAD_INPUT, "%s: cannot write '%s'", t->path, t->out);
  if (status == 0)
    printf("%s: %d of %u products faster, %d candidates\n", t->out, better, t->products.length, t->candidates);
  return status;
}

static void stay_on_this_core(void) {
  int cpu = sched_getcpu();
  cpu_set_t set;
  CPU_ZERO(&set);
  if (cpu >= 0 && cpu < CPU_SETSIZE)
    CPU_SET((size_t)cpu, &set);
  if (cpu >= 0 && cpu < CPU_SETSIZE)
    sched_setaffinity(0, sizeof set, &set); /* if it fails, the times are only less steady */
}

static int tune(tuner *t) {
  double start = cli_seconds();
  subject first = {0}, best = {0};
  stay_on_this_core();
  int status = cli_session_open(t->cli, &first.session, t->path, &t->options, NULL);
  if (status == 0 && !first.session.program)
    status = cli_fail(ONNXC_UNSUPPORTED, "%s: only a model, not a compiled library, can be tuned", t->path);
  if (status == 0) {
    t->inputs = ONNXC_NEW_ARRAY(&t->cli->arena, onnxc_tensor, first.session.info->num_inputs + 1);
    status = cli_session_inputs(t->cli, &first.session, t->specs, t->num_specs, t->inputs);
  }
  if (status == 0)
    find_products(t, first.session.program);
  cli_session_close(&first.session);
  if (status == 0)
    status = open_program(t, &first, false);
  if (status == 0)
    status = open_program(t, &best, false);
  if (status == 0)
    status = search(t, &best, start + 0.85 * t->duration);
  if (status == 0)
    status = judge(t, &first, &best);
  if (status == 0)
    status = write_result(t);
  cli_session_close(&first.session);
  cli_session_close(&best.session);
  if (status != 0)
    remove(t->temporary);
  return status;
}

int cli_tune(command *cli, int argc, char **argv) {
  enum { INPUT = CLI_FIRST_OWN, THREADS, DURATION };
  static const struct option longs[] = {
      CLI_COMPILE_OPTIONS,           {"output", 1, NULL, 'o'},        {"input", 1, NULL, INPUT},
      {"threads", 1, NULL, THREADS}, {"duration", 1, NULL, DURATION}, {0}};
  tuner t = {.cli = cli, .duration = 20};
  cli_options options = {0};
  ONNXC_VEC(const char *) specs = {0};
  int64_t threads = 1;
  int status = 0;
  for (int c; status == 0 && (c = getopt_long(argc, argv, "o:h", longs, NULL)) != -1;)
    switch (c) {
    case 'h': fputs(help, stdout); return 0;
    case 'o': t.out = optarg; break;
    case INPUT: ONNXC_PUSH(&cli->arena, specs, optarg); break;
    case THREADS:
      if (!cli_parse_int(optarg, 1, 4096, &threads))
        return cli_usage(cli, "--threads wants a number, not '%s'", optarg);
      break;
    case DURATION:
      if (!cli_parse_double(optarg, &t.duration))
        return cli_usage(cli, "--duration wants seconds, not '%s'", optarg);
      break;
    default: status = cli_option(cli, &options, c, optarg);
    }
  if (status != 0)
    return status;
  if (argc - optind != 1)
    return cli_usage(cli, "it wants one model; see onnxc tune --help");
  if (!t.out)
    return cli_usage(cli, "-o FILE is missing");
  t.path = argv[optind];
  t.temporary = onnxc_arena_printf(&cli->arena, "%s.partial", t.out);
  t.options = options.options;
  t.specs = specs.data;
  t.num_specs = specs.length;
  t.threads = (int)threads;
  return tune(&t);
}
