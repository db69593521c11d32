/* main.c -- onnxc-bench: matrix products and MLPs by onnxc and by the libraries that people use today, in one process.
 *
 * Libraries read their settings from the environment when they are loaded, so the process sets what each needs to be at
 * its best and executes itself again. README.md tells how things are measured.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <dlfcn.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "usage: onnxc-bench [options]\n"
    "  --case=NAME,...    GEMMs are MxNxK, batched ones BxMxNxK, MLPs mlp-relu and mlp-gelu; default: all\n"
    "  --dtype=NAME,...   f32, bf16, u8s8s32, u8s8u8; default: all\n"
    "  --impl=NAME,...    see --list; default: all\n"
    "  --threads=N        default 1\n"
    "  --cores=N,...      where they run; default: the last ones\n"
    "  --rounds=N         windows of each implementation, default 7\n"
    "  --window-ms=N      default 30\n"
    "  --venv=DIR         where install-peers put its libraries, default build/venv in the source tree\n"
    "  --no-real-time     do not ask for FIFO scheduling\n"
    "  --list             cases and implementations\n";

static const implementation *const all[] = {&impl_onnxc,    &impl_onednn2, &impl_onednn3,     &impl_libxsmm, &impl_mkl,
                                            &impl_openblas, &impl_blis,    &impl_onnxruntime, &impl_openvino};
static const char *venv = ONNXC_BENCH_SOURCE "/../build/venv";
enum { NUM_IMPLS = sizeof all / sizeof *all };

bool bench_symbol(void *library, const char *name, void *function) {
  void *symbol = library ? dlsym(library, name) : NULL;
  memcpy(function, &symbol, sizeof symbol);
  return symbol != NULL;
}

void *bench_library(const char *const *names) {
  void *library = NULL;
  for (; !library && *names; names++)
    library = dlopen(*names, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
  return library;
}

const char *bench_python(void) {
  static char *path;
  if (!path && asprintf(&path, "%s/bin/python", venv) < 0)
    path = NULL;
  return path ? path : "";
}

const char *bench_script(void) { return ONNXC_BENCH_SOURCE "/peers.py"; }

/* Whether `name` is in the list; an empty list has everything. */
static bool is_selected(const char *list, const char *name) {
  size_t length = strlen(name);
  if (!list)
    return true;
  for (const char *at = list; *at; at += strcspn(at, ","), at += *at == ',')
    if (strcspn(at, ",") == length && strncmp(at, name, length) == 0)
      return true;
  return false;
}

/* A name in the list that nothing has would otherwise just measure less. */
static void check_list(const char *list, const char *(*name_of)(int), int count, const char *option) {
  for (const char *at = list; at && *at; at += strcspn(at, ","), at += *at == ',') {
    size_t length = strcspn(at, ",");
    bool known = false;
    for (int i = 0; i < count; i++)
      known |= strlen(name_of(i)) == length && strncmp(name_of(i), at, length) == 0;
    if (!known) {
      fprintf(stderr, "onnxc-bench: --%s does not know '%.*s'; see --list\n", option, (int)length, at);
      exit(2);
    }
  }
}

static const char *case_name(int i) { return bench_cases[i].name; }
static const char *dtype_name(int i) { return bench_dtype_names[i]; }
static const char *impl_name(int i) { return all[i]->name; }

static void list(void) {
  for (int i = 0; i < bench_num_cases; i++)
    printf("case %s\n", case_name(i));
  for (int i = 0; i < BENCH_NUM_DTYPES; i++)
    printf("dtype %s\n", dtype_name(i));
  for (int i = 0; i < NUM_IMPLS; i++)
    printf("impl %s: %s\n", impl_name(i), all[i]->version() ? all[i]->version() : "absent");
}

static void set_path(const char *name, const char *folder, const char *file, const char *rest) {
  char *full = realpath(folder, NULL), *value = NULL;
  if (full && asprintf(&value, "%s%s%s", full, file, rest) >= 0)
    setenv(name, value, 1);
  free(full);
  free(value);
}

/* What the caller set stays, but for the number of threads. */
static void prepare_environment(int threads) {
  char text[64];
  static const char *const counts[] = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS",
                                       "MKL_NUM_THREADS"};
  snprintf(text, sizeof text, "%d", threads);
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
    setenv(counts[i], text, 1);
  /* machine_pin_threads pins the threads of all runtimes alike; they must not do so themselves. */
  setenv("OMP_PROC_BIND", "false", 1);
  setenv("OMP_DYNAMIC", "false", 1);
  setenv("MKL_DYNAMIC", "false", 1);
  /* Threads spin a short while between two runs, and are asleep when another library's window begins. */
  setenv("KMP_BLOCKTIME", "1", 0);
  setenv("GOMP_SPINCOUNT", "30000", 0);
  setenv("OPENBLAS_THREAD_TIMEOUT", "22", 0);
  setenv("MKL_THREADING_LAYER", "GNU", 0);
  /* Debian's OpenBLAS and BLIS do not know recent CPUs of AMD and take kernels for AVX2. */
  unsetenv("OPENBLAS_L2_SIZE");
  if (__builtin_cpu_is("amd") && __builtin_cpu_supports("avx512f")) {
    setenv("OPENBLAS_CORETYPE", "SkylakeX", 1); /* Cooperlake is the same, and this library has no product of bf16 */
    setenv("BLIS_ARCH_TYPE", "0", 1);           /* skx */
  }
  /* The libraries of install-peers lie in its folder; its oneDNN runs through OpenCL, which finds its driver by this.
   */
  const char *path = getenv("LD_LIBRARY_PATH");
  set_path("LD_LIBRARY_PATH", venv, path ? "/lib:" : "/lib", path ? path : "");
  set_path("OCL_ICD_FILENAMES", venv, "/lib/libintelocl.so", "");
  setenv("DPCPP_CPU_NUM_CUS", text, 1);
  setenv("ONNXC_BENCH_READY", "1", 1);
}

/* The last `count` cores that this process may use, or those that the option names. */
static void choose_cores(const char *option, int count, int *cores) {
  cpu_set_t set;
  int all_cores[CPU_SETSIZE], num_all = 0;
  sched_getaffinity(0, sizeof set, &set);
  for (int i = 0; i < CPU_SETSIZE; i++)
    if (CPU_ISSET((size_t)i, &set))
      all_cores[num_all++] = i;
  if (num_all < count) {
    fprintf(stderr, "onnxc-bench: %d threads want as many cores, there are %d\n", count, num_all);
    exit(2);
  }
  for (int i = 0; i < count; i++)
    cores[i] = all_cores[num_all - count + i];
  for (int i = 0; option && i < count; i++) {
    char *end;
    cores[i] = (int)strtol(option, &end, 10);
    if (end == option || (*end != (i + 1 < count ? ',' : 0)) || cores[i] < 0 || cores[i] >= CPU_SETSIZE ||
        !CPU_ISSET((size_t)cores[i], &set)) {
      fputs("onnxc-bench: --cores wants as many cores of this machine as there are threads\n", stderr);
      exit(2);
    }
    option = end + 1;
  }
}

static int number(const char *text, int low, int high, const char *option) {
  char *end;
  long value = strtol(text, &end, 10);
  if (*end || end == text || value < low || value > high) {
    fprintf(stderr, "onnxc-bench: --%s wants a number from %d to %d, not '%s'\n", option, low, high, text);
    exit(2);
  }
  return (int)value;
}

int main(int argc, char **argv) {
  enum { CASE = 256, DTYPE, IMPL, THREADS, CORES, ROUNDS, WINDOW, VENV, NO_REAL_TIME, LIST };
  static const struct option longs[] = {
      {"case", 1, NULL, CASE},        {"dtype", 1, NULL, DTYPE}, {"impl", 1, NULL, IMPL},
      {"threads", 1, NULL, THREADS},  {"cores", 1, NULL, CORES}, {"rounds", 1, NULL, ROUNDS},
      {"window-ms", 1, NULL, WINDOW}, {"venv", 1, NULL, VENV},   {"no-real-time", 0, NULL, NO_REAL_TIME},
      {"list", 0, NULL, LIST},        {"help", 0, NULL, 'h'},    {0}};
  const char *cases = NULL, *dtypes = NULL, *impls = NULL, *core_list = NULL;
  measure_options options = {.rounds = 7, .window = 0.03};
  int threads = 1;
  bool real_time = true, want_list = false;
  for (int c; (c = getopt_long(argc, argv, "h", longs, NULL)) != -1;)
    switch (c) {
    case 'h': fputs(help, stdout); return 0;
    case CASE: cases = optarg; break;
    case DTYPE: dtypes = optarg; break;
    case IMPL: impls = optarg; break;
    case CORES: core_list = optarg; break;
    case VENV: venv = optarg; break;
    case NO_REAL_TIME: real_time = false; break;
    case LIST: want_list = true; break;
    case THREADS: threads = number(optarg, 1, MAX_CORES, "threads"); break;
    case ROUNDS: options.rounds = number(optarg, 1, 101, "rounds"); break;
    case WINDOW: options.window = 1e-3 * number(optarg, 1, 10000, "window-ms"); break;
    default: fputs(help, stderr); return 2;
    }
  if (argc != optind) {
    fputs(help, stderr);
    return 2;
  }
  check_list(cases, case_name, bench_num_cases, "case");
  check_list(dtypes, dtype_name, BENCH_NUM_DTYPES, "dtype");
  check_list(impls, impl_name, NUM_IMPLS, "impl");
  if (!getenv("ONNXC_BENCH_READY")) {
    prepare_environment(threads);
    execv("/proc/self/exe", argv);
    perror("onnxc-bench: cannot execute itself");
    return 1;
  }
  if (want_list) {
    list();
    return 0;
  }
  int cores[MAX_CORES];
  choose_cores(core_list, threads, cores);
  machine_init(threads, cores, real_time);
  const implementation *chosen[NUM_IMPLS];
  int count = 0;
  for (int i = 0; i < NUM_IMPLS; i++)
    if (is_selected(impls, all[i]->name))
      chosen[count++] = all[i];
  for (int t = 0; t < BENCH_NUM_DTYPES; t++) {
    if (!is_selected(dtypes, bench_dtype_names[t]))
      continue;
    report_machine((bench_dtype)t, threads);
    for (int i = 0; i < bench_num_cases; i++) {
      if (!is_selected(cases, bench_cases[i].name) ||
          (bench_cases[i].kind == BENCH_MLP && t == BENCH_U8S8S32)) /* an MLP's layers hand on u8 */
        continue;
      problem *p = problem_new(&bench_cases[i], (bench_dtype)t, threads);
      measure(p, chosen, count, &options);
      problem_free(p);
    }
  }
  return 0;
}
