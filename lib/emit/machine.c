/* machine.c -- see machine.h. */
#include "emit/machine.h"

#include <llvm-c/Target.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define BIT(NAME) ((uint64_t)1 << ONNXC_RT_CPU_##NAME)
#define V3                                                                                                             \
  (BIT(SSE42) | BIT(POPCNT) | BIT(MOVBE) | BIT(AVX) | BIT(F16C) | BIT(FMA) | BIT(LZCNT) | BIT(BMI1) | BIT(BMI2) |      \
   BIT(AVX2))
#define V4 (V3 | BIT(AVX512F) | BIT(AVX512CD) | BIT(AVX512BW) | BIT(AVX512DQ) | BIT(AVX512VL))
#define ICELAKE                                                                                                        \
  (V4 | BIT(AVX512IFMA) | BIT(AVX512VBMI) | BIT(AVX512VBMI2) | BIT(AVX512VNNI) | BIT(AVX512BITALG) |                   \
   BIT(AVX512VPOPCNTDQ) | BIT(GFNI))

/* What LLVM may select by itself for each of its CPU names. AMX is not here: it appears only by intrinsics. */
static const struct {
  const char *cpu;
  uint64_t features;
} cpu_features[] = {
    {"znver5", ICELAKE | BIT(AVX512BF16) | BIT(AVXVNNI)},
    {"znver4", ICELAKE | BIT(AVX512BF16)},
    {"graniterapids", ICELAKE | BIT(AVX512BF16) | BIT(AVX512FP16) | BIT(AVXVNNI)},
    {"sapphirerapids", ICELAKE | BIT(AVX512BF16) | BIT(AVX512FP16) | BIT(AVXVNNI)},
    {"icelake-server", ICELAKE},
    {"cascadelake", V4 | BIT(AVX512VNNI)},
    {"alderlake", V3 | BIT(GFNI) | BIT(AVXVNNI)},
};

static uint64_t all_features(const onnxc_target *target) {
  for (size_t k = 0; k < sizeof cpu_features / sizeof *cpu_features; k++)
    if (strcmp(cpu_features[k].cpu, target->name) == 0)
      return cpu_features[k].features;
  return target->features & ONNXC_FEATURE_AVX512 ? V4 : V3;
}

uint64_t onnxc_target_needs(const onnxc_target *target) {
  uint64_t features = all_features(target);
  return target == onnxc_target_host() ? features & onnxc_rt_host_cpu() : features;
}

static const char *const feature_names[ONNXC_RT_CPU_COUNT] = {
#define X(NAME, text) text,
    ONNXC_RT_CPU_FEATURES(X)
#undef X
};

const char *onnxc_target_text(const onnxc_target *target, onnxc_arena *arena) {
  uint64_t features = onnxc_target_needs(target);
  const char *text =
      onnxc_arena_printf(arena, "%s %s ", target->arch == ONNXC_ARCH_X86_64 ? "x86_64" : "aarch64", target->name);
  const char *comma = "";
  for (int k = 0; k < ONNXC_RT_CPU_COUNT; k++)
    if (features >> k & 1) {
      text = onnxc_arena_printf(arena, "%s%s%s", text, comma, feature_names[k]);
      comma = ",";
    }
  return text;
}

/* LLVM's feature string: the row's own, less what this host lacks. */
static void feature_string(const onnxc_target *target, char *out, size_t size) {
  uint64_t lacking = all_features(target) & ~onnxc_target_needs(target);
  size_t used = (size_t)snprintf(out, size, "%s", target->llvm_features);
  for (int k = 0; k < ONNXC_RT_CPU_COUNT && used < size; k++)
    if (lacking >> k & 1)
      used += (size_t)snprintf(out + used, size - used, "%s-%s", used ? "," : "", feature_names[k]);
}

static pthread_once_t initialised = PTHREAD_ONCE_INIT;

static void initialise(void) {
  LLVMInitializeX86TargetInfo();
  LLVMInitializeX86Target();
  LLVMInitializeX86TargetMC();
  LLVMInitializeX86AsmPrinter();
  LLVMInitializeX86AsmParser(); /* inline assembly, the run-time's CPUID included, aborts without it */
}

void onnxc_llvm_initialise(void) { pthread_once(&initialised, initialise); }

onnxc_status onnxc_llvm_failed(onnxc_diag *diag, const char *what, char *message) {
  onnxc_status status = onnxc_error(diag, ONNXC_INTERNAL, "%s: %s", what, message ? message : "LLVM gives no reason");
  LLVMDisposeMessage(message);
  return status;
}

LLVMTargetMachineRef onnxc_machine_new(onnxc_diag *diag, const onnxc_target *target, const char *triple) {
  onnxc_llvm_initialise();
  char *host = triple ? NULL : LLVMGetDefaultTargetTriple();
  const char *name = triple ? triple : host;
  LLVMTargetMachineRef machine = NULL;
  LLVMTargetRef llvm_target = NULL;
  char *message = NULL;
  char features[512];
  feature_string(target, features, sizeof features);
  if (target->arch != ONNXC_ARCH_X86_64 || strncmp(name, "x86_64", 6) != 0 || !strstr(name, "linux"))
    onnxc_error(diag, ONNXC_UNSUPPORTED,
                "target triple '%s' is not supported: this version makes code for x86_64 Linux", name);
  else if (LLVMGetTargetFromTriple(name, &llvm_target, &message))
    onnxc_llvm_failed(diag, "no such target triple", message);
  else
    machine = LLVMCreateTargetMachine(llvm_target, name, target->name, features, LLVMCodeGenLevelDefault, LLVMRelocPIC,
                                      LLVMCodeModelDefault);
  if (!machine && diag->status == ONNXC_OK)
    onnxc_error(diag, ONNXC_INTERNAL, "LLVM makes no target machine for '%s'", name);
  LLVMDisposeMessage(host);
  return machine;
}

static void set_attribute(LLVMValueRef function, LLVMContextRef context, const char *key, const char *value) {
  LLVMRemoveStringAttributeAtIndex(function, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, key,
                                   (unsigned)strlen(key));
  if (value[0])
    LLVMAddAttributeAtIndex(
        function, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
        LLVMCreateStringAttribute(context, key, (unsigned)strlen(key), value, (unsigned)strlen(value)));
}

void onnxc_module_set_target(LLVMModuleRef module, LLVMTargetMachineRef machine, const onnxc_target *target) {
  LLVMContextRef context = LLVMGetModuleContext(module);
  char features[512];
  feature_string(target, features, sizeof features);
  char *triple = LLVMGetTargetMachineTriple(machine);
  LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
  LLVMSetTarget(module, triple);
  LLVMSetModuleDataLayout(module, layout);
  LLVMDisposeTargetData(layout);
  LLVMDisposeMessage(triple);
  for (LLVMValueRef f = LLVMGetFirstFunction(module); f; f = LLVMGetNextFunction(f)) {
    if (LLVMIsDeclaration(f))
      continue;
    set_attribute(f, context, "target-cpu", target->name);
    set_attribute(f, context, "tune-cpu", target->tune ? target->tune : "");
    set_attribute(f, context, "target-features", features);
    set_attribute(f, context, "prefer-vector-width", target->vector_bytes >= 64 ? "512" : "256");
    set_attribute(f, context, "min-legal-vector-width", ""); /* zero would split zmm registers */
  }
}
