/* peak.c -- bursts of independent fused multiply-adds, and of loads: the yardsticks that `bench` lays beside a model.
 *
 * The multiply-adds are in assembly, so that no compiler option changes them: 24 (AVX-512), 12 (AVX2) or 24 (NEON)
 * accumulators, more than latency times throughput of any core. The factors are zero, so values stay finite.
 */
#include "peak.h"

#include "cli.h"
#include "rt/program.h"

#if defined(__x86_64__)

#define FMA512(n) "vfmadd231ps %%zmm0, %%zmm1, %%zmm" #n "\n\t"
#define FMA256(n) "vfmadd231ps %%ymm0, %%ymm1, %%ymm" #n "\n\t"

static void burst_512(long rounds) {
  __asm__ volatile("vpxord %%zmm0, %%zmm0, %%zmm0\n\tvpxord %%zmm1, %%zmm1, %%zmm1\n"
                   "1:\n\t" FMA512(8) FMA512(9) FMA512(10) FMA512(11) FMA512(12) FMA512(13) FMA512(14) FMA512(15)
                       FMA512(16) FMA512(17) FMA512(18) FMA512(19) FMA512(20) FMA512(21) FMA512(22) FMA512(23)
                           FMA512(24) FMA512(25) FMA512(26) FMA512(27) FMA512(28) FMA512(29) FMA512(30)
                               FMA512(31) "dec %0\n\tjnz 1b\n\tvzeroupper"
                   : "+r"(rounds)
                   :
                   : "cc", "xmm0", "xmm1", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"
#if defined(__AVX512F__)
                     ,
                     "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26",
                     "xmm27", "xmm28", "xmm29", "xmm30", "xmm31"
#endif
  );
}

static void burst_256(long rounds) {
  __asm__ volatile("vxorps %%ymm0, %%ymm0, %%ymm0\n\tvxorps %%ymm1, %%ymm1, %%ymm1\n"
                   "1:\n\t" FMA256(4) FMA256(5) FMA256(6) FMA256(7) FMA256(8) FMA256(9) FMA256(10) FMA256(11) FMA256(12)
                       FMA256(13) FMA256(14) FMA256(15) "dec %0\n\tjnz 1b\n\tvzeroupper"
                   : "+r"(rounds)
                   :
                   : "cc", "xmm0", "xmm1", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
                     "xmm13", "xmm14", "xmm15");
}

static void (*choose(double *flops_a_round))(long) {
  if (__builtin_cpu_supports("avx512f")) {
    *flops_a_round = 24 * 16 * 2;
    return burst_512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    *flops_a_round = 12 * 8 * 2;
    return burst_256;
  }
  return NULL;
}

#elif defined(__aarch64__)

#define FMLA(n) "fmla v" #n ".4s, v0.4s, v1.4s\n\t"

static void burst_neon(long rounds) {
  __asm__ volatile("movi v0.4s, #0\n\tmovi v1.4s, #0\n"
                   "1:\n\t" FMLA(8) FMLA(9) FMLA(10) FMLA(11) FMLA(12) FMLA(13) FMLA(14) FMLA(15) FMLA(16) FMLA(17)
                       FMLA(18) FMLA(19) FMLA(20) FMLA(21) FMLA(22) FMLA(23) FMLA(24) FMLA(25) FMLA(26) FMLA(27)
                           FMLA(28) FMLA(29) FMLA(30) FMLA(31) "subs %0, %0, #1\n\tb.ne 1b"
                   : "+r"(rounds)
                   :
                   : "cc", "v0", "v1", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17", "v18", "v19",
                     "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31");
}

static void (*choose(double *flops_a_round))(long) {
  *flops_a_round = 24 * 4 * 2;
  return burst_neon;
}

#else

static void (*choose(double *flops_a_round))(long) {
  *flops_a_round = 0;
  return NULL;
}

#endif

/* Whole registers, four at a time, so that the sums do not wait for each other. */
#define DEFINE_READ(NAME, ATTRIBUTE, BYTES)                                                                            \
  ATTRIBUTE static void NAME(const void *memory, size_t size) {                                                        \
    typedef long long vector __attribute__((vector_size(BYTES), may_alias));                                           \
    const vector *from = memory;                                                                                       \
    vector sums[4] = {{0}};                                                                                            \
    for (size_t at = 0; at + 4 <= size / (BYTES); at += 4)                                                             \
      for (size_t k = 0; k < 4; k++)                                                                                   \
        sums[k] |= from[at + k];                                                                                       \
    vector sum = (sums[0] | sums[1]) | (sums[2] | sums[3]);                                                            \
    __asm__ volatile("" : : "m"(sum));                                                                                 \
  }
DEFINE_READ(read_16, , 16)
#if defined(__x86_64__)
DEFINE_READ(read_32, __attribute__((target("avx2"))), 32)
DEFINE_READ(read_64, __attribute__((target("avx512f"))), 64)
#endif

static void read_memory(const void *memory, size_t size) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) {
    read_64(memory, size);
    return;
  }
  if (__builtin_cpu_supports("avx2")) {
    read_32(memory, size);
    return;
  }
#endif
  read_16(memory, size);
}

typedef struct burst {
  double seconds, rate;
  const void *memory; /* to read; NULL: multiply-adds */
  size_t size;
} burst;

static void run_burst(burst *b) {
  double a_round = 0, start = cli_seconds(), elapsed;
  void (*round)(long) = choose(&a_round);
  long rounds = 0;
  enum { STEP = 20000, READ = 1 << 20 }; /* some ten microseconds */
  size_t repeat = b->memory && b->size > 0 ? READ / b->size + 1 : 1;
  do {
    for (size_t k = 0; b->memory && k < repeat; k++)
      read_memory(b->memory, b->size);
    if (!b->memory)
      round(STEP);
    rounds += b->memory ? (long)repeat : STEP;
    elapsed = cli_seconds() - start;
  } while (elapsed < b->seconds);
  b->rate = (double)rounds * (b->memory ? (double)b->size : a_round) / elapsed;
}

enum { MAX_THREADS = 256 };
static burst bursts[MAX_THREADS];

#ifdef ONNXC_HAVE_OMP
static void run_member(void *arg, int thread, int threads, void (*barrier)(void)) {
  (void)arg;
  (void)threads;
  barrier();
  run_burst(&bursts[thread]);
}

/* The threads of the runs themselves: others would share cores with these, which spin for a while. */
static void run_team(int count) { onnxc_rt_omp_team(count, run_member, NULL); }
#else
static void run_team(int count) {
  (void)count;
  run_burst(&bursts[0]); /* runs have one thread, too */
}
#endif

static int clamp_threads(int threads) { return threads < 1 ? 1 : threads > MAX_THREADS ? MAX_THREADS : threads; }

static double run_bursts(int count) {
  double sum = 0;
  if (count == 1)
    run_burst(&bursts[0]);
  else
    run_team(count);
  for (int i = 0; i < count; i++)
    sum += bursts[i].rate;
  return sum;
}

double cli_peak_flops(int threads, double seconds) {
  double flops_a_round;
  int count = clamp_threads(threads);
  if (!choose(&flops_a_round))
    return 0;
  for (int i = 0; i < count; i++)
    bursts[i] = (burst){.seconds = seconds};
  return run_bursts(count);
}

double cli_peak_bandwidth(int threads, double seconds, const void *memory, size_t size) {
  int count = clamp_threads(threads);
  size_t part = size / (size_t)count / 64 * 64;
  for (int i = 0; i < count; i++)
    bursts[i] = (burst){.seconds = seconds, .memory = (const unsigned char *)memory + (size_t)i * part, .size = part};
  return run_bursts(count);
}
