/* target.c -- the target tables and the detection of the host.
 *
 * The host's row is found by features and CPU family; a CPU without a row of
 * its own gets the generic row of its feature level, so new CPUs work the day they appear.
 */
#include "target/target.h"

#include <string.h>

static const onnxc_target targets[] = {
#define X(NAME, ARCH, FEATURES, LLVM, TUNE, VECTOR, VECTORS, ISSUE, PORTS, LATENCY, BF16, INT8, L1, L2, L3, LOADS, B2, \
          B3, BM, STREAMS)                                                                                             \
  {NAME,     ONNXC_ARCH_##ARCH,                                                                                        \
   FEATURES, LLVM,                                                                                                     \
   TUNE,     VECTOR,                                                                                                   \
   VECTORS,  ISSUE,                                                                                                    \
   PORTS,    LATENCY,                                                                                                  \
   BF16,     INT8,                                                                                                     \
   L1,       L2,                                                                                                       \
   L3,       LOADS,                                                                                                    \
   B2,       B3,                                                                                                       \
   BM,       STREAMS},
#include "target/targets.def"
#undef X
};

static const onnxc_tile_row tile_rows[] = {
#define X(FEATURES, DTYPE, ACC, KR, MR, NV, UNROLL, BYTES, VECTORS, OTHERS) {FEATURES, DTYPE, ACC, KR, MR, NV, UNROLL},
#include "target/tiles.def"
#undef X
};

/* The register budget of each row. */
#define X(FEATURES, DTYPE, ACC, KR, MR, NV, UNROLL, BYTES, VECTORS, OTHERS)                                            \
  _Static_assert((MR) * (NV) + (NV) + (OTHERS) <= (VECTORS), "tile does not fit the register file");
#include "target/tiles.def"
#undef X

enum { NUM_TARGETS = sizeof targets / sizeof *targets, NUM_TILE_ROWS = sizeof tile_rows / sizeof *tile_rows };

const onnxc_target *onnxc_target_rows(uint32_t *count) {
  *count = NUM_TARGETS;
  return targets;
}

const onnxc_tile_row *onnxc_tile_rows(uint32_t *count) {
  *count = NUM_TILE_ROWS;
  return tile_rows;
}

const onnxc_target *onnxc_target_find(const char *name, size_t length) {
  for (int k = 0; k < NUM_TARGETS; k++)
    if (strlen(targets[k].name) == length && memcmp(targets[k].name, name, length) == 0)
      return &targets[k];
  return NULL;
}

onnxc_dtype onnxc_target_factors(onnxc_dtype a, onnxc_dtype b, onnxc_dtype acc) {
  if (a == ONNXC_BF16 && b == ONNXC_BF16 && acc == ONNXC_F32)
    return ONNXC_BF16;
  if (acc == ONNXC_I32 && ((a == ONNXC_U8 && b == ONNXC_I8) || (a == ONNXC_I8 && b == ONNXC_U8)))
    return ONNXC_U8;
  return ONNXC_DTYPE_NONE;
}

const onnxc_tile_row *onnxc_tile_row_for(const onnxc_target *target, onnxc_dtype dtype, onnxc_dtype acc) {
  for (int k = 0; k < NUM_TILE_ROWS; k++)
    if (tile_rows[k].dtype == dtype && tile_rows[k].acc == acc &&
        (tile_rows[k].features & target->features) == tile_rows[k].features)
      return &tile_rows[k];
  return NULL;
}

enum { MOST_HALVES = 9 }; /* one less of them brings a tenth */

onnxc_register_tile onnxc_target_register_tile(const onnxc_target *target, onnxc_dtype dtype, onnxc_dtype acc,
                                               int64_t n) {
  const onnxc_tile_row *row = onnxc_tile_row_for(target, dtype, acc);
  onnxc_register_tile tile = {4, 2, 4, 1, onnxc_target_lanes(target, (uint32_t)onnxc_dtype_bytes(acc))};
  if (row)
    tile = (onnxc_register_tile){row->mr, row->nv, row->unroll, row->kr, tile.lanes};
  if (n < 0 || n >= (int64_t)tile.lanes * 64)
    return tile;
  int64_t halves = (n + tile.lanes / 2 - 1) / (tile.lanes / 2);
  if (onnxc_target_halves(target) && halves % 2 == 1 && halves <= MOST_HALVES)
    tile.lanes /= 2;
  int64_t vectors = (n + tile.lanes - 1) / tile.lanes;
  if (vectors < 1)
    vectors = 1;
  int64_t panels = (vectors + tile.vecs - 1) / tile.vecs;
  uint32_t vecs = (uint32_t)((vectors + panels - 1) / panels);
  if (vecs < tile.vecs) {
    /* As many registers as the row fills; more than 12 rows bring nothing (latency is long covered). Half as many
     * registers don't hold the broadcasts of several steps. */
    uint32_t rows = (tile.rows + 1) * tile.vecs / vecs - 1;
    tile.rows = rows > 12 ? 12 : rows;
    tile.vecs = vecs;
    tile.unroll = target->num_vectors < 32 ? 1 : tile.unroll;
  }
  return tile;
}

#if defined(__x86_64__)

#include <cpuid.h>

/* AMX needs the kernel's permission at run time, so it never counts as what the host simply has. */
static uint32_t host_features(void) {
  uint32_t features = 0;
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    features |= ONNXC_FEATURE_AVX2;
  if (features && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    features |= ONNXC_FEATURE_AVX512;
    if (__builtin_cpu_supports("avx512bf16"))
      features |= ONNXC_FEATURE_BF16;
    if (__builtin_cpu_supports("avx512vnni"))
      features |= ONNXC_FEATURE_VNNI;
  }
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (features && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1))
    features |= ONNXC_FEATURE_AVXVNNI;
  if ((features & ONNXC_FEATURE_AVX512) && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 23 & 1))
    features |= ONNXC_FEATURE_FP16;
  return features;
}

/* Family and model by CPUID leaf 1; the vendor by leaf 0. */
static const char *host_name(void) {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(0, &a, &b, &c, &d))
    return NULL;
  bool amd = b == 0x68747541, intel = b == 0x756e6547; /* "Auth", "Genu" */
  if (!__get_cpuid(1, &a, &b, &c, &d))
    return NULL;
  unsigned family = a >> 8 & 15, model = a >> 4 & 15;
  if (family == 15)
    family += a >> 20 & 255;
  if (family == 6 || family >= 15)
    model |= a >> 12 & 0xf0;
  if (amd) {
    if (family == 0x1a)
      return "znver5";
    if (family == 0x19) /* Zen 3 and Zen 4 share a family; AVX-512 tells them apart */
      return host_features() & ONNXC_FEATURE_AVX512 ? "znver4" : "znver3";
    if (family == 0x17)
      return model >= 0x30 ? "znver2" : "znver1";
  }
  if (intel && family == 6)
    switch (model) {
    case 0xad:
    case 0xae: return "graniterapids";
    case 0x8f:
    case 0xcf: return "sapphirerapids";
    case 0x6a:
    case 0x6c: return "icelake-server";
    case 0x55: return host_features() & ONNXC_FEATURE_VNNI ? "cascadelake" : "skylake-avx512";
    case 0x97:
    case 0x9a:
    case 0xb7:
    case 0xba:
    case 0xbf: return "alderlake";
    case 0x4e:
    case 0x5e:
    case 0x8e:
    case 0x9e:
    case 0xa5:
    case 0xa6: return "skylake";
    case 0x3d:
    case 0x47:
    case 0x4f:
    case 0x56: return "broadwell";
    case 0x3c:
    case 0x3f:
    case 0x45:
    case 0x46: return "haswell";
    default: break;
    }
  return NULL;
}

#else

static uint32_t host_features(void) { return 0; }
static const char *host_name(void) { return NULL; }

#endif

static bool host_has(const onnxc_target *target, uint32_t except) {
  uint32_t needed = target->features & ~except;
  return target->arch == ONNXC_ARCH_X86_64 && (needed & host_features()) == needed;
}

bool onnxc_target_runs_on_host(const onnxc_target *target) {
  return host_has(target, ONNXC_FEATURE_AMX); /* no code uses AMX without asking for it */
}

const onnxc_target *onnxc_target_host(void) {
  const char *name = host_name();
  const onnxc_target *target = name ? onnxc_target_find(name, strlen(name)) : NULL;
  /* No tile of AVX-512 needs what a virtual machine may hide here; LLVM is told of it (emit/machine.c). */
  if (target && host_has(target, ONNXC_FEATURE_AMX | ONNXC_FEATURE_AVXVNNI | ONNXC_FEATURE_FP16) &&
      (target->features & ONNXC_FEATURE_AVX512 || onnxc_target_runs_on_host(target)))
    return target;
  for (int k = NUM_TARGETS - 2; k < NUM_TARGETS; k++) /* the generic rows, the better first */
    if (onnxc_target_runs_on_host(&targets[k]))
      return &targets[k];
  return NULL;
}
