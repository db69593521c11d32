/* cpu.c -- may this CPU run the code? CPUID says what it has, XGETBV what the operating system saves.
 *
 * Freestanding like all of the run-time (state.h), and linked into artefacts with it: open refuses a CPU with a message, so that a run
 * never dies of an illegal instruction. */
#include "rt/program.h"

#include <stdbool.h>

#if defined(__x86_64__)

#include <cpuid.h>

static uint64_t enabled_states(void) {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t)high << 32 | low;
}

enum { STATE_NONE = 0, STATE_AVX = 0x6, STATE_AVX512 = 0xe6, STATE_AMX = 0x60006 };

typedef struct cpu_bit {
  unsigned leaf, subleaf, reg, bit;
  uint64_t state; /* bits of XCR0 that it needs */
} cpu_bit;

static const cpu_bit cpu_bits[ONNXC_RT_CPU_COUNT] = {
    [ONNXC_RT_CPU_SSE42] = {1, 0, 2, 20, STATE_NONE},
    [ONNXC_RT_CPU_POPCNT] = {1, 0, 2, 23, STATE_NONE},
    [ONNXC_RT_CPU_MOVBE] = {1, 0, 2, 22, STATE_NONE},
    [ONNXC_RT_CPU_AVX] = {1, 0, 2, 28, STATE_AVX},
    [ONNXC_RT_CPU_F16C] = {1, 0, 2, 29, STATE_AVX},
    [ONNXC_RT_CPU_FMA] = {1, 0, 2, 12, STATE_AVX},
    [ONNXC_RT_CPU_LZCNT] = {0x80000001U, 0, 2, 5, STATE_NONE},
    [ONNXC_RT_CPU_BMI1] = {7, 0, 1, 3, STATE_NONE},
    [ONNXC_RT_CPU_BMI2] = {7, 0, 1, 8, STATE_NONE},
    [ONNXC_RT_CPU_AVX2] = {7, 0, 1, 5, STATE_AVX},
    [ONNXC_RT_CPU_AVX512F] = {7, 0, 1, 16, STATE_AVX512},
    [ONNXC_RT_CPU_AVX512CD] = {7, 0, 1, 28, STATE_AVX512},
    [ONNXC_RT_CPU_AVX512BW] = {7, 0, 1, 30, STATE_AVX512},
    [ONNXC_RT_CPU_AVX512DQ] = {7, 0, 1, 17, STATE_AVX512},
    [ONNXC_RT_CPU_AVX512VL] = {7, 0, 1, 31, STATE_AVX512},
    [ONNXC_RT_CPU_AVX512IFMA] = {7, 0, 1, 21, STATE_AVX512},
    [ONNXC_RT_CPU_AVX512VBMI] = {7, 0, 2, 1, STATE_AVX512},
    [ONNXC_RT_CPU_AVX512VBMI2] = {7, 0, 2, 6, STATE_AVX512},
    [ONNXC_RT_CPU_AVX512VNNI] = {7, 0, 2, 11, STATE_AVX512},
    [ONNXC_RT_CPU_AVX512BITALG] = {7, 0, 2, 12, STATE_AVX512},
    [ONNXC_RT_CPU_AVX512VPOPCNTDQ] = {7, 0, 2, 14, STATE_AVX512},
    [ONNXC_RT_CPU_AVX512BF16] = {7, 1, 0, 5, STATE_AVX512},
    [ONNXC_RT_CPU_AVX512FP16] = {7, 0, 3, 23, STATE_AVX512},
    [ONNXC_RT_CPU_GFNI] = {7, 0, 2, 8, STATE_NONE},
    [ONNXC_RT_CPU_AVXVNNI] = {7, 1, 0, 4, STATE_AVX},
    [ONNXC_RT_CPU_AMX_TILE] = {7, 0, 3, 24, STATE_AMX},
    [ONNXC_RT_CPU_AMX_BF16] = {7, 0, 3, 22, STATE_AMX},
    [ONNXC_RT_CPU_AMX_INT8] = {7, 0, 3, 25, STATE_AMX},
};

uint64_t onnxc_rt_host_cpu(void) {
  enum { OSXSAVE = 27 };
  unsigned words[4] = {0};
  uint64_t states = 0, result = 0;
  if (__get_cpuid(1, &words[0], &words[1], &words[2], &words[3]) && words[2] >> OSXSAVE & 1)
    states = enabled_states();
  for (unsigned k = 0; k < ONNXC_RT_CPU_COUNT; k++) {
    const cpu_bit *bit = &cpu_bits[k];
    if (__get_cpuid_count(bit->leaf, bit->subleaf, &words[0], &words[1], &words[2], &words[3]) &&
        words[bit->reg] >> bit->bit & 1 && (states & bit->state) == bit->state)
      result |= (uint64_t)1 << k;
  }
  return result;
}

#else

uint64_t onnxc_rt_host_cpu(void) { return 0; }

#endif

static size_t append(char *message, size_t size, size_t used, const char *text) {
  for (; *text && used + 1 < size; text++)
    message[used++] = *text;
  if (size > 0)
    message[used] = '\0';
  return used;
}

int onnxc_rt_check_cpu(const onnxc_rt_program *program, char *message, size_t size) {
  /* An array of strings would need relocations in artefacts that are linked to a fixed address; this does not. */
  static const char names[ONNXC_RT_CPU_COUNT][16] = {
#define X(NAME, text) [ONNXC_RT_CPU_##NAME] = text,
      ONNXC_RT_CPU_FEATURES(X)
#undef X
  };
  uint64_t missing = program->cpu_features & ~onnxc_rt_host_cpu();
  if (missing == 0)
    return ONNXC_OK;
  size_t used = append(message, size, 0, "this CPU cannot run the code; it lacks");
  for (unsigned k = 0; k < ONNXC_RT_CPU_COUNT; k++)
    if (missing >> k & 1) {
      used = append(message, size, used, " ");
      used = append(message, size, used, names[k]);
    }
  return ONNXC_UNSUPPORTED;
}
