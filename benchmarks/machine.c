/* machine.c -- what the machine can do: the peak of an instruction, the clock, the bandwidth; and where threads run.
 *
 * The loops are assembly, so that no compiler option changes them: independent accumulators, more than latency times
 * throughput of any core. All factors are zero, so values stay finite. The clock comes from a chain of dependent
 * additions of two registers, which take one clock each on every core.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

double bench_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void bench_sleep(double seconds) {
  struct timespec time = {.tv_sec = (time_t)seconds};
  time.tv_nsec = (long)((seconds - (double)time.tv_sec) * 1e9);
  nanosleep(&time, NULL);
}

/* ---- loops ---- */

#define LOW_REGISTERS                                                                                                  \
  "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",     \
      "xmm13", "xmm14", "xmm15"

/* 24 accumulators of 512 bits. Compiled for a CPU without them, the compiler does not know the upper 16 registers and
 * does not use them either. */
#define ZMM(I, n) I " %%zmm0, %%zmm1, %%zmm" #n "\n\t"
#define LOOP_ZMM(NAME, I)                                                                                              \
  static void NAME(long rounds) {                                                                                      \
    __asm__ volatile("vpxord %%zmm0, %%zmm0, %%zmm0\n\tvpxord %%zmm1, %%zmm1, %%zmm1\n"                                \
                     "1:\n\t" ZMM(I, 8) ZMM(I, 9) ZMM(I, 10) ZMM(I, 11) ZMM(I, 12) ZMM(I, 13) ZMM(I, 14) ZMM(I, 15)    \
                         ZMM(I, 16) ZMM(I, 17) ZMM(I, 18) ZMM(I, 19) ZMM(I, 20) ZMM(I, 21) ZMM(I, 22) ZMM(I, 23)       \
                             ZMM(I, 24) ZMM(I, 25) ZMM(I, 26) ZMM(I, 27) ZMM(I, 28) ZMM(I, 29) ZMM(I, 30)              \
                                 ZMM(I, 31) "dec %0\n\tjnz 1b\n\tvzeroupper"                                           \
                     : "+r"(rounds)                                                                                    \
                     :                                                                                                 \
                     : LOW_REGISTERS);                                                                                 \
  }
#define YMM(I, n) I " %%ymm0, %%ymm1, %%ymm" #n "\n\t"
#define LOOP_YMM(NAME, I)                                                                                              \
  static void NAME(long rounds) {                                                                                      \
    __asm__ volatile("vpxor %%xmm0, %%xmm0, %%xmm0\n\tvpxor %%xmm1, %%xmm1, %%xmm1\n"                                  \
                     "1:\n\t" YMM(I, 4) YMM(I, 5) YMM(I, 6) YMM(I, 7) YMM(I, 8) YMM(I, 9) YMM(I, 10) YMM(I, 11)        \
                         YMM(I, 12) YMM(I, 13) YMM(I, 14) YMM(I, 15) "dec %0\n\tjnz 1b\n\tvzeroupper"                  \
                     : "+r"(rounds)                                                                                    \
                     :                                                                                                 \
                     : LOW_REGISTERS);                                                                                 \
  }

LOOP_ZMM(fma_zmm, "vfmadd231ps")
LOOP_ZMM(bf16_zmm, "vdpbf16ps")
LOOP_ZMM(int8_zmm, "vpdpbusd")
LOOP_YMM(fma_ymm, "vfmadd231ps")
LOOP_YMM(int8_ymm, "%{vex%} vpdpbusd")

static void chain(long rounds) {
  long x = 0, y = 1;
#define ADD4 "add %2, %1\n\tadd %2, %1\n\tadd %2, %1\n\tadd %2, %1\n\t"
  __asm__ volatile("1:\n\t" ADD4 ADD4 ADD4 ADD4 ADD4 ADD4 ADD4 ADD4 "dec %0\n\tjnz 1b"
                   : "+r"(rounds), "+r"(x)
                   : "r"(y)
                   : "cc");
#undef ADD4
}
enum { CHAIN = 32 };

typedef struct peak_loop {
  const char *name;
  void (*run)(long rounds);
  int instructions; /* a round */
  int flops;        /* an instruction */
  int ports;        /* instructions that begin a clock; found by measuring */
} peak_loop;

static peak_loop loops[BENCH_NUM_DTYPES];

static void choose_loops(void) {
  peak_loop fma = {"vfmadd231ps ymm", fma_ymm, 12, 16, 0};
  if (__builtin_cpu_supports("avx512f"))
    fma = (peak_loop){"vfmadd231ps zmm", fma_zmm, 24, 32, 0};
  else if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
    fputs("onnxc-bench: this CPU has no AVX2\n", stderr);
    exit(1);
  }
  /* Without an instruction of its own a dtype is computed by FMAs. */
  for (int t = 0; t < BENCH_NUM_DTYPES; t++)
    loops[t] = fma;
  if (__builtin_cpu_supports("avx512bf16"))
    loops[BENCH_BF16] = (peak_loop){"vdpbf16ps zmm", bf16_zmm, 24, 64, 0};
  if (__builtin_cpu_supports("avx512vnni"))
    loops[BENCH_U8S8S32] = (peak_loop){"vpdpbusd zmm", int8_zmm, 24, 128, 0};
  else if (__builtin_cpu_supports("avxvnni"))
    loops[BENCH_U8S8S32] = (peak_loop){"vpdpbusd ymm", int8_ymm, 12, 64, 0};
  loops[BENCH_U8S8U8] = loops[BENCH_U8S8S32];
}

const char *machine_instruction(bench_dtype dtype) { return loops[dtype].name; }
int machine_ports(bench_dtype dtype) { return loops[dtype].ports; }

/* ---- threads ---- */

static struct {
  int threads;
  int cores[MAX_CORES];
  bool real_time;
  pid_t known[1024]; /* threads that have their core */
  int num_known, next;
} machine;

static void pin(pid_t thread, int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET((size_t)core, &set);
  sched_setaffinity(thread, sizeof set, &set);
}

void machine_pin(void) { pin(0, machine.cores[0]); }

static void unpin(pid_t thread) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int i = 0; i < machine.threads; i++)
    CPU_SET((size_t)machine.cores[i], &set);
  sched_setaffinity(thread, sizeof set, &set);
}

void machine_unpin(void) { unpin(0); }

void machine_pin_threads(bool floating) {
  DIR *tasks = opendir("/proc/self/task");
  pid_t self = getpid();
  for (struct dirent *entry; tasks && (entry = readdir(tasks));) {
    pid_t thread = (pid_t)atoi(entry->d_name);
    bool known = thread == 0 || thread == self;
    for (int i = 0; i < machine.num_known; i++)
      known |= machine.known[i] == thread;
    if (known || machine.num_known == (int)(sizeof machine.known / sizeof *machine.known))
      continue;
    machine.known[machine.num_known++] = thread;
    if (floating)
      unpin(thread);
    else
      pin(thread, machine.threads > 1 ? machine.cores[1 + machine.next++ % (machine.threads - 1)] : machine.cores[0]);
  }
  if (tasks)
    closedir(tasks);
}

bool machine_is_real_time(void) { return machine.real_time; }

json_t *machine_cores(void) {
  json_t *cores = json_array();
  for (int i = 0; i < machine.threads; i++)
    json_array_append_new(cores, json_integer(machine.cores[i]));
  return cores;
}

/* Runs work(arg + i * size) on each core, the first on the calling thread. */
static void on_all_cores(void *(*work)(void *), void *arg, size_t size) {
  pthread_t ids[MAX_CORES];
  bool started[MAX_CORES] = {false};
  for (int i = 1; i < machine.threads; i++) {
    pthread_attr_t attributes;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)machine.cores[i], &set);
    pthread_attr_init(&attributes);
    pthread_attr_setaffinity_np(&attributes, sizeof set, &set);
    started[i] = pthread_create(&ids[i], &attributes, work, (char *)arg + (size_t)i * size) == 0;
    pthread_attr_destroy(&attributes);
  }
  work(arg);
  for (int i = 1; i < machine.threads; i++)
    if (started[i])
      pthread_join(ids[i], NULL);
}

/* ---- bursts ---- */

typedef struct core_burst {
  const peak_loop *loop;
  double instructions, clock; /* a second */
} core_burst;

static double rate(void (*loop)(long), long step, double seconds) {
  double start = bench_seconds(), elapsed;
  long rounds = 0;
  do {
    loop(step);
    rounds += step;
    elapsed = bench_seconds() - start;
  } while (elapsed < seconds);
  return (double)rounds / elapsed;
}

static void *burst_core(void *arg) {
  core_burst *burst = arg;
  rate(burst->loop->run, 500, 3e-4); /* to reach the clock that the instruction runs at */
  double clock_before = rate(chain, 500, 3e-4) * (double)CHAIN;
  burst->instructions = rate(burst->loop->run, 1000, 1.5e-3) * burst->loop->instructions;
  double clock_after = rate(chain, 500, 3e-4) * (double)CHAIN;
  burst->clock = 0.5 * (clock_before + clock_after);
  return NULL;
}

static bool is_near(double value, double want) { return value > 0.97 * want && value < 1.03 * want; }

machine_burst machine_peak(bench_dtype dtype) {
  const peak_loop *loop = &loops[dtype];
  core_burst bursts[MAX_CORES] = {{0}};
  machine_burst result = {0, 1e12, true};
  for (int i = 0; i < machine.threads; i++)
    bursts[i].loop = loop;
  on_all_cores(burst_core, bursts, sizeof *bursts);
  for (int i = 0; i < machine.threads; i++) {
    result.peak += bursts[i].instructions * loop->flops;
    result.clock = bursts[i].clock < result.clock ? bursts[i].clock : result.clock;
    result.valid &= is_near(bursts[i].instructions, bursts[i].clock * loop->ports);
  }
  return result;
}

/* The whole number of instructions a clock that most of several bursts come near to. */
static void find_ports(peak_loop *loop) {
  enum { BURSTS = 24, MAX_PORTS = 4 };
  int counts[MAX_PORTS + 1] = {0};
  for (int i = 0; i < BURSTS; i++) {
    core_burst burst = {.loop = loop};
    burst_core(&burst);
    for (int ports = 1; ports <= MAX_PORTS; ports++)
      counts[ports] += is_near(burst.instructions, burst.clock * ports);
  }
  loop->ports = 1;
  for (int ports = 2; ports <= MAX_PORTS; ports++)
    if (counts[ports] > counts[loop->ports])
      loop->ports = ports;
}

void machine_init(int threads, const int *cores, bool real_time) {
  machine.threads = threads;
  memcpy(machine.cores, cores, (size_t)threads * sizeof *cores);
  machine_pin();
  struct sched_param parameters = {.sched_priority = 1};
  machine.real_time = real_time && sched_setscheduler(0, SCHED_FIFO, &parameters) == 0;
  choose_loops();
  for (int t = 0; t < BENCH_NUM_DTYPES; t++)
    find_ports(&loops[t]);
}

/* ---- bandwidth ---- */

typedef struct core_read {
  const char *from;
  size_t size;
  int loop;
  double seconds, rate; /* bytes a second */
} core_read;

/* One stream, or four that lie a quarter of the size apart, with or without prefetching; 256 bytes a step. */
__attribute__((target("avx2"))) static void read_ymm(const char *from, size_t size, size_t streams, size_t ahead) {
  size_t part = size / streams / 256 * 256;
  for (size_t i = 0; i < part; i += 256)
    for (size_t s = 0; s < streams; s++) {
      const char *at = from + s * part + i;
      if (ahead)
        __asm__ volatile("prefetcht0 (%0)\n\tprefetcht0 64(%0)\n\tprefetcht0 128(%0)\n\tprefetcht0 192(%0)"
                         :
                         : "r"(at + ahead));
      __asm__ volatile("vmovaps (%0), %%ymm0\n\tvmovaps 32(%0), %%ymm1\n\tvmovaps 64(%0), %%ymm2\n\t"
                       "vmovaps 96(%0), %%ymm3\n\tvmovaps 128(%0), %%ymm4\n\tvmovaps 160(%0), %%ymm5\n\t"
                       "vmovaps 192(%0), %%ymm6\n\tvmovaps 224(%0), %%ymm7"
                       :
                       : "r"(at)
                       : LOW_REGISTERS);
    }
}

__attribute__((target("avx512f"))) static void read_zmm(const char *from, size_t size, size_t streams, size_t ahead) {
  size_t part = size / streams / 256 * 256;
  for (size_t i = 0; i < part; i += 256)
    for (size_t s = 0; s < streams; s++) {
      const char *at = from + s * part + i;
      if (ahead)
        __asm__ volatile("prefetcht0 (%0)\n\tprefetcht0 64(%0)\n\tprefetcht0 128(%0)\n\tprefetcht0 192(%0)"
                         :
                         : "r"(at + ahead));
      __asm__ volatile("vmovaps (%0), %%zmm0\n\tvmovaps 64(%0), %%zmm1\n\tvmovaps 128(%0), %%zmm2\n\t"
                       "vmovaps 192(%0), %%zmm3"
                       :
                       : "r"(at)
                       : LOW_REGISTERS);
    }
}

static void *read_core(void *arg) {
  static const struct {
    size_t streams, ahead;
  } ways[] = {{1, 0}, {4, 0}, {1, 2048}, {4, 1024}};
  core_read *job = arg;
  double start = bench_seconds(), elapsed;
  double bytes = 0;
  do {
    (__builtin_cpu_supports("avx512f") ? read_zmm : read_ymm)(job->from, job->size, ways[job->loop].streams,
                                                              ways[job->loop].ahead);
    bytes += (double)job->size;
    elapsed = bench_seconds() - start;
  } while (elapsed < job->seconds);
  job->rate = bytes / elapsed;
  return NULL;
}

double machine_bandwidth(const void *buffer, size_t size, double seconds) {
  size_t part = size / (size_t)machine.threads / 4096 * 4096;
  double best = 0;
  for (int loop = 0; loop < 4; loop++) {
    core_read jobs[MAX_CORES] = {{0}};
    double sum = 0;
    for (int i = 0; i < machine.threads; i++)
      jobs[i] = (core_read){(const char *)buffer + (size_t)i * part, part, loop, seconds / 4, 0};
    on_all_cores(read_core, jobs, sizeof *jobs);
    for (int i = 0; i < machine.threads; i++)
      sum += jobs[i].rate;
    best = sum > best ? sum : best;
  }
  return best;
}

const char *machine_cpu(void) {
  static char name[128] = "unknown CPU";
  FILE *file = fopen("/proc/cpuinfo", "r");
  char line[512];
  while (file && fgets(line, sizeof line, file))
    if (strncmp(line, "model name", 10) == 0 && strchr(line, ':')) {
      snprintf(name, sizeof name, "%.*s", (int)strcspn(strchr(line, ':') + 2, "\n"), strchr(line, ':') + 2);
      break;
    }
  if (file)
    fclose(file);
  return name;
}
