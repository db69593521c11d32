/* target.h -- CPUs and what the cost model and the composer need to know of them, as data.
 *
 * A CPU is a row of targets.def; features decide the ISA level. The
 * numbers are facts of the microarchitecture: cores and clocks are not here.
 */
#ifndef ONNXC_TARGET_TARGET_H
#define ONNXC_TARGET_TARGET_H

#include "base/status.h"
#include "ir/dtype.h"

typedef enum onnxc_arch { ONNXC_ARCH_X86_64, ONNXC_ARCH_AARCH64 } onnxc_arch;

enum {                                /* what a CPU can do, as far as the composer cares */
       ONNXC_FEATURE_AVX2 = 1 << 0,   /* with FMA and F16C */
       ONNXC_FEATURE_AVX512 = 1 << 1, /* F, BW, DQ, VL */
       ONNXC_FEATURE_BF16 = 1 << 2,
       ONNXC_FEATURE_VNNI = 1 << 3,
       ONNXC_FEATURE_AMX = 1 << 4,
       ONNXC_FEATURE_NEON = 1 << 5,
       ONNXC_FEATURE_SVE = 1 << 6,
       ONNXC_FEATURE_AVXVNNI = 1 << 7, /* VNNI of ymm registers without AVX-512 */
       ONNXC_FEATURE_FP16 = 1 << 8     /* arithmetic of f16: no tile uses it, but LLVM does where the CPU has it */
};

typedef struct onnxc_target {
  const char *name; /* LLVM's CPU name: "znver5" */
  onnxc_arch arch;
  uint32_t features;         /* ONNXC_FEATURE_... */
  const char *llvm_features; /* extra "+x,-y" string for LLVM, may be "" */
  const char *tune;          /* "tune-cpu" that schedules our loops without spills */
  uint32_t vector_bytes;     /* of a register used for f32 */
  uint32_t num_vectors;      /* architectural vector registers */
  uint32_t vector_ports;     /* operations on such registers begun in a clock */
  uint32_t fma_ports, fma_latency;
  uint32_t bf16_dots, int8_dots;         /* vdpbf16ps, vpdpbusd of a whole register begun in a clock; 0 = none */
  uint32_t l1_bytes, l2_bytes, l3_bytes; /* a core's share of L3 */
  uint32_t load_ports;                   /* whole registers that are read from L1 in a clock */
  uint32_t l2_bandwidth, l3_bandwidth, memory_bandwidth; /* bytes a clock into one core */
  uint32_t streams; /* bytes: of a factor of this size or less, that one row reads once, the core's own prefetchers
                       bring as much as it can take; for two rows and more of any size. 0 = they never do */
} onnxc_target;

/* A register tile of the composer: rows x vectors accumulators. One step takes kr consecutive elements of the
 * reduction: 1 = a fused multiply-add a lane, 2 or 4 = a dot product of as many narrow elements a lane, as one
 * instruction where the CPU has it (a tile row that needs the feature), else composed of several. */
typedef struct onnxc_tile_row {
  uint32_t features; /* needed */
  onnxc_dtype dtype; /* of the factors; U8 stands for u8 x s8 in either order */
  onnxc_dtype acc;
  uint32_t kr;
  uint32_t mr, nv; /* rows, vectors */
  uint32_t unroll; /* of the innermost reduction loop, in steps */
} onnxc_tile_row;

const onnxc_target *onnxc_target_find(const char *name, size_t length); /* NULL if there is no such row */
/* The row for this machine: the CPU by name, else a generic row with the host's features. Never NULL on
 * x86-64 with AVX2; NULL otherwise. */
const onnxc_target *onnxc_target_host(void);
bool onnxc_target_runs_on_host(const onnxc_target *target); /* by CPUID (and XGETBV) */
const onnxc_target *onnxc_target_rows(uint32_t *count);
const onnxc_tile_row *onnxc_tile_rows(uint32_t *count);
/* The type under which tiles.def lists products a x b accumulated in acc; NONE where there is no dot product. */
onnxc_dtype onnxc_target_factors(onnxc_dtype a, onnxc_dtype b, onnxc_dtype acc);
/* The best tile row for these types on this CPU; NULL if none. */
const onnxc_tile_row *onnxc_tile_row_for(const onnxc_target *target, onnxc_dtype dtype, onnxc_dtype acc);
/* Does the CPU work through halves of registers twice as fast as through whole ones? Then its units are so wide. */
static inline bool onnxc_target_halves(const onnxc_target *target) {
  return target->fma_ports == 1 && target->num_vectors >= 32;
}
/* The register tile for n columns (n < 0: many): no more vectors than n fills, panels of equal width, and
 * as many rows as the registers left over hold. Vectors are halves of registers where those waste fewer lanes and cost
 * half as much. */
typedef struct onnxc_register_tile {
  uint32_t rows, vecs, unroll, kr, lanes;
} onnxc_register_tile;
onnxc_register_tile onnxc_target_register_tile(const onnxc_target *target, onnxc_dtype dtype, onnxc_dtype acc,
                                               int64_t n);
static inline uint32_t onnxc_target_lanes(const onnxc_target *target, uint32_t element_bytes) {
  return target->vector_bytes / element_bytes;
}

#endif
