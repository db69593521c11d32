/* cpu.c -- may this CPU run the code? CPUID says what it has, XGETBV what the operating system saves.
 *
 * Freestanding like all of the run-time (state.h), and linked into artefacts with it: open refuses a CPU with a
 * message, so that a run never dies of an illegal instruction. */
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

/* The leaves that tell; each is asked once, since in a virtual machine CPUID takes microseconds. */
enum { LEAF_1, LEAF_7, LEAF_7_1, LEAF_EXTENDED, NUM_LEAVES };
enum { EAX, EBX, ECX, EDX };

typedef struct cpu_bit {
  unsigned char leaf, reg, bit;
  uint64_t state; /* bits of XCR0 that it needs */
} cpu_bit;

static const cpu_bit cpu_bits[ONNXC_RT_CPU_COUNT] = {
    [ONNXC_RT_CPU_SSE42] = {LEAF_1, ECX, 20, STATE_NONE},
    [ONNXC_RT_CPU_POPCNT] = {LEAF_1, ECX, 23, STATE_NONE},
    [ONNXC_RT_CPU_MOVBE] = {LEAF_1, ECX, 22, STATE_NONE},
    [ONNXC_RT_CPU_AVX] = {LEAF_1, ECX, 28, STATE_AVX},
    [ONNXC_RT_CPU_F16C] = {LEAF_1, ECX, 29, STATE_AVX},
    [ONNXC_RT_CPU_FMA] = {LEAF_1, ECX, 12, STATE_AVX},
    [ONNXC_RT_CPU_LZCNT] = {LEAF_EXTENDED, ECX, 5, STATE_NONE},
    [ONNXC_RT_CPU_BMI1] = {LEAF_7, EBX, 3, STATE_NONE},
    [ONNXC_RT_CPU_BMI2] = {LEAF_7, EBX, 8, STATE_NONE},
    [ONNXC_RT_CPU_AVX2] = {LEAF_7, EBX, 5, STATE_AVX},
    [ONNXC_RT_CPU_AVX512F] = {LEAF_7, EBX, 16, STATE_AVX512},
    [ONNXC_RT_CPU_AVX512CD] = {LEAF_7, EBX, 28, STATE_AVX512},
    [ONNXC_RT_CPU_AVX512BW] = {LEAF_7, EBX, 30, STATE_AVX512},
    [ONNXC_RT_CPU_AVX512DQ] = {LEAF_7, EBX, 17, STATE_AVX512},
    [ONNXC_RT_CPU_AVX512VL] = {LEAF_7, EBX, 31, STATE_AVX512},
    [ONNXC_RT_CPU_AVX512IFMA] = {LEAF_7, EBX, 21, STATE_AVX512},
    [ONNXC_RT_CPU_AVX512VBMI] = {LEAF_7, ECX, 1, STATE_AVX512},
    [ONNXC_RT_CPU_AVX512VBMI2] = {LEAF_7, ECX, 6, STATE_AVX512},
    [ONNXC_RT_CPU_AVX512VNNI] = {LEAF_7, ECX, 11, STATE_AVX512},
    [ONNXC_RT_CPU_AVX512BITALG] = {LEAF_7, ECX, 12, STATE_AVX512},
    [ONNXC_RT_CPU_AVX512VPOPCNTDQ] = {LEAF_7, ECX, 14, STATE_AVX512},
    [ONNXC_RT_CPU_AVX512BF16] = {LEAF_7_1, EAX, 5, STATE_AVX512},
    [ONNXC_RT_CPU_AVX512FP16] = {LEAF_7, EDX, 23, STATE_AVX512},
    [ONNXC_RT_CPU_GFNI] = {LEAF_7, ECX, 8, STATE_NONE},
    [ONNXC_RT_CPU_AVXVNNI] = {LEAF_7_1, EAX, 4, STATE_AVX},
    [ONNXC_RT_CPU_AMX_TILE] = {LEAF_7, EDX, 24, STATE_AMX},
    [ONNXC_RT_CPU_AMX_BF16] = {LEAF_7, EDX, 22, STATE_AMX},
    [ONNXC_RT_CPU_AMX_INT8] = {LEAF_7, EDX, 25, STATE_AMX},
};

uint64_t onnxc_rt_host_cpu(void) {
  enum { OSXSAVE = 27 };
  static const unsigned asked[NUM_LEAVES][2] = {{1, 0}, {7, 0}, {7, 1}, {0x80000001U, 0}};
  unsigned words[NUM_LEAVES][4] = {{0}};
  uint64_t states = 0, result = 0;
  for (unsigned k = 0; k < NUM_LEAVES; k++) /* a leaf that the CPU does not have leaves zeros */
    __get_cpuid_count(asked[k][0], asked[k][1], &words[k][EAX], &words[k][EBX], &words[k][ECX], &words[k][EDX]);
  if (words[LEAF_1][ECX] >> OSXSAVE & 1)
    states = enabled_states();
  for (unsigned k = 0; k < ONNXC_RT_CPU_COUNT; k++) {
    const cpu_bit *bit = &cpu_bits[k];
    if (words[bit->leaf][bit->reg] >> bit->bit & 1 && (states & bit->state) == bit->state)
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
