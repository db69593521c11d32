/* bench.c -- `onnxc bench`: how long a run takes.
 *
 * Runs come in windows of about 30 ms, and before each the peak of the FMA units is measured in a short burst, so
 * that the share of the peak does not depend on the clock that the machine happens to have. Reported are
 * percentiles over all runs, and the medians of windows and bursts.
 */
#include "cli.h"

#include "peak.h"

#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static const char help[] =
    "usage: onnxc bench MODEL [options]       MODEL: .onnx, or a compiled .so\n"
    "  --threads=N, --affinity=close|spread|none  as for run\n"
    "  --duration=SECONDS default 2\n"
    "  --input NAME=FILE  as for run; random data for inputs not given\n"
    "  --no-peak          do not measure the peak\n"
    "  --profile          also each group: its nodes, time, speed, and the share of the roof that binds it\n"
    "  --trace=FILE       a run as a Chrome trace (chrome://tracing, ui.perfetto.dev); implies --profile\n"
    "  --chart=FILE.svg   the groups as a bar chart; implies --profile\n"
    "  --json\n"
    "  --mcpu=CPU, --dim NAME=N, --shape INPUT=1x3x224x224, --precision=bf16, --tuning=FILE,\n"
    "  --winograd[=2|4], --compile-threads=N  as for compile\n" CLI_CACHE_HELP;

static const char *const cache_notes[] = {[ONNXC_CACHE_UNUSED] = "",
                                          [ONNXC_CACHE_HIT] = " (from the cache)",
                                          [ONNXC_CACHE_STORED] = " (now in the cache)",
                                          [ONNXC_CACHE_NOT_STORED] = " (the cache cannot be written)"};

typedef struct samples {
  double *data;
  size_t length, capacity;
} samples;

typedef struct bench {
  command *cli;
  const char *path;
  int threads;
  double duration;
  bool json, peak, profile;
  const char *trace, *chart;
  onnxc_run run; /* as planned */
  double flops;
  cli_session session;
  cli_options options;
  samples runs, rates, peaks; /* seconds of each run; runs a second of each window; FLOP/s */
  double first_run;
} bench;

static void add_sample(samples *s, double value) {
  if (s->length == s->capacity) {
    s->capacity = s->capacity ? 2 * s->capacity : 1024;
    double *bigger = realloc(s->data, s->capacity * sizeof *bigger);
    if (!bigger) {
      s->capacity = s->length; /* what there is must do */
      return;
    }
    s->data = bigger;
  }
  s->data[s->length++] = value;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Of sorted samples, by the nearest rank. */
static double percentile(const samples *s, double share) {
  if (!s->length)
    return 0;
  size_t rank = (size_t)(share * (double)s->length);
  return s->data[rank < s->length ? rank : s->length - 1];
}

static void sort(samples *s) {
  if (s->length)
    qsort(s->data, s->length, sizeof *s->data, ascending);
}

static int measure(bench *b, onnxc_tensor *inputs) {
  const double window = 0.03, burst = 0.004;
  onnxc_run *run = &b->run;
  int status = cli_session_plan(b->cli, &b->session, inputs, b->threads, run, NULL);
  double start = cli_seconds();
  if (status == 0 && (status = cli_session_repeat(&b->session, run)) != 0)
    fprintf(stderr, "%s: %s\n", b->path, run->message);
  b->first_run = cli_seconds() - start;
  /* Warm up: caches, clocks, threads. */
  for (start = cli_seconds(); status == 0 && cli_seconds() - start < 0.1 * b->duration;)
    status = cli_session_repeat(&b->session, run);
  for (start = cli_seconds(); status == 0 && cli_seconds() - start < b->duration;) {
    if (b->peak)
      add_sample(&b->peaks, cli_peak_flops(b->threads, burst));
    double begin = cli_seconds(), before = begin, now = begin;
    int count = 0;
    while (status == 0 && (now - begin < window || count == 0)) {
      status = cli_session_repeat(&b->session, run);
      now = cli_seconds();
      add_sample(&b->runs, now - before);
      before = now;
      count++;
    }
    add_sample(&b->rates, (double)count / (now - begin));
  }
  if (status != 0 && run->message[0])
    fprintf(stderr, "%s: %s\n", b->path, run->message);
  if (status == 0)
    b->flops = cli_profile_flops(b->cli, &b->session, run);
  sort(&b->runs);
  sort(&b->rates);
  sort(&b->peaks);
  return status;
}

static double peak_memory(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)usage.ru_maxrss * 1024;
}

static void report(bench *b) {
  double median = percentile(&b->runs, 0.5), rate = percentile(&b->rates, 0.5), peak = percentile(&b->peaks, 0.5);
  double flops = b->flops, share = peak > 0 ? flops * rate / peak : 0;
  if (b->json) {
    json_t *root = json_pack(
        "{s:s, s:i, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:b, s:f, s:f}", "model", b->path, "threads", b->threads, "runs",
        (json_int_t)b->runs.length, "min", percentile(&b->runs, 0), "median", median, "p90", percentile(&b->runs, 0.9),
        "p99", percentile(&b->runs, 0.99), "runs_per_second", rate, "load", b->session.open_seconds, "cached",
        b->session.stats.cache == ONNXC_CACHE_HIT, "first_run", b->first_run, "peak_memory_bytes", peak_memory());
    if (b->session.program)
      json_object_set_new(root, "weights_bytes", json_integer((json_int_t)b->session.stats.weights_size));
    json_object_set_new(root, "run_workspace_bytes", json_integer((json_int_t)b->run.workspace_size));
    if (b->session.program && b->session.stats.largest_live_set >= 0) {
      json_object_set_new(root, "workspace_bytes", json_integer(b->session.stats.static_workspace));
      json_object_set_new(root, "live_set_bytes", json_integer(b->session.stats.largest_live_set));
    }
    if (flops > 0) {
      json_object_set_new(root, "flops", json_real(flops));
      json_object_set_new(root, "gflops", json_real(1e-9 * flops * rate));
    }
    if (peak > 0)
      json_object_set_new(root, "peak_gflops", json_real(1e-9 * peak));
    if (flops > 0 && peak > 0)
      json_object_set_new(root, "share_of_peak", json_real(share));
    if (b->options.options.winograd)
      json_object_set_new(root, "winograd", cli_winograd_json(&b->options));
    json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    puts("");
    json_decref(root);
    return;
  }
  printf("%s: %d thread%s, %zu runs\n", b->path, b->threads, b->threads == 1 ? "" : "s", b->runs.length);
  printf("run     min %.4f ms, median %.4f, p90 %.4f, p99 %.4f; %.1f runs/s\n", 1e3 * percentile(&b->runs, 0),
         1e3 * median, 1e3 * percentile(&b->runs, 0.9), 1e3 * percentile(&b->runs, 0.99), rate);
  printf("start   load and compile %.1f ms%s, first run %.3f ms\n", 1e3 * b->session.open_seconds,
         cache_notes[b->session.stats.cache], 1e3 * b->first_run);
  printf("memory  of a run: ");
  if (b->session.program)
    printf("weights %zu bytes, ", b->session.stats.weights_size);
  printf("workspace %zu", b->run.workspace_size);
  if (b->session.program) {
    printf(", in it ");
    cli_print_plan(&b->session.stats);
  }
  printf("; the process at most %.1f MB\n", 1e-6 * peak_memory());
  cli_winograd_print(&b->options);
  if (flops > 0 && peak > 0)
    printf("speed   %.1f GFLOP/s, %.1f%% of the %.1f measured beside it\n", 1e-9 * flops * rate, 100 * share,
           1e-9 * peak);
  else if (flops > 0)
    printf("speed   %.1f GFLOP/s\n", 1e-9 * flops * rate);
}

/* With the report above it, unless the output is JSON, which is then the profile's alone. */
static int profile(bench *b) {
  if (!b->session.program)
    return cli_fail(ONNXC_UNSUPPORTED, "%s: only a model, not a compiled library, can be profiled", b->path);
  if (!b->json)
    report(b);
  const cli_profile_options options = {
      .seconds = b->duration, .roofs = b->peak, .json = b->json, .trace = b->trace, .chart = b->chart};
  return cli_show_profile(b->cli, &b->session, &b->run, &options);
}

int cli_bench(command *cli, int argc, char **argv) {
  enum { INPUT = CLI_FIRST_OWN, THREADS, AFFINITY, DURATION, NO_PEAK, JSON, PROFILE, TRACE, CHART };
  static const struct option longs[] = {CLI_COMPILE_OPTIONS,
                                        CLI_CACHE_OPTION,
                                        {"input", 1, NULL, INPUT},
                                        {"threads", 1, NULL, THREADS},
                                        {"affinity", 1, NULL, AFFINITY},
                                        {"duration", 1, NULL, DURATION},
                                        {"no-peak", 0, NULL, NO_PEAK},
                                        {"json", 0, NULL, JSON},
                                        {"profile", 0, NULL, PROFILE},
                                        {"trace", 1, NULL, TRACE},
                                        {"chart", 1, NULL, CHART},
                                        {0}};
  bench b = {.cli = cli, .threads = 1, .duration = 2, .peak = true};
  ONNXC_VEC(const char *) specs = {0};
  int64_t threads = 1;
  int status = 0;
  for (int c; status == 0 && (c = getopt_long(argc, argv, "h", longs, NULL)) != -1;)
    switch (c) {
    case 'h': fputs(help, stdout); return 0;
    case INPUT: ONNXC_PUSH(&cli->arena, specs, optarg); break;
    case NO_PEAK: b.peak = false; break;
    case JSON: b.json = true; break;
    case PROFILE: b.profile = true; break;
    case TRACE: b.trace = optarg; break;
    case CHART: b.chart = optarg; break;
    case THREADS:
      if (!cli_parse_int(optarg, 1, 4096, &threads))
        return cli_usage(cli, "--threads wants a number, not '%s'", optarg);
      break;
    case AFFINITY:
      if (!cli_set_affinity(optarg))
        return cli_usage(cli, "--affinity wants close, spread or none, not '%s'", optarg);
      break;
    case DURATION:
      if (!cli_parse_double(optarg, &b.duration))
        return cli_usage(cli, "--duration wants seconds, not '%s'", optarg);
      break;
    default: status = cli_option(cli, &b.options, c, optarg);
    }
  if (status != 0)
    return status;
  if (argc - optind != 1)
    return cli_usage(cli, "it wants one model; see onnxc bench --help");
  b.path = argv[optind];
  b.threads = (int)threads;
  b.profile = b.profile || b.trace || b.chart;
  if (threads > 1)
    cli_bind_threads();
  status = cli_session_open(cli, &b.session, b.path, &b.options.options, NULL);
  if (status == 0) {
    onnxc_tensor *inputs = ONNXC_NEW_ARRAY(&cli->arena, onnxc_tensor, b.session.info->num_inputs + 1);
    status = cli_session_inputs(cli, &b.session, specs.data, specs.length, inputs);
    if (status == 0)
      status = measure(&b, inputs);
    if (status == 0 && b.profile)
      status = profile(&b);
    else if (status == 0)
      report(&b);
  }
  cli_session_close(&b.session);
  free(b.runs.data);
  free(b.rates.data);
  free(b.peaks.data);
  return status;
}
