/* instrument.c -- code that tells ThreadSanitizer's run-time what it reads and writes, so that races between tasks
 * show.
 *
 * LLVM's own pass reports loads and stores of 1, 2, 4, 8 and 16 bytes and nothing else, and nearly all that a stage
 * does is wider or masked. So those are reported here, before that pass runs: vectors as a range, masked ones lane by
 * lane (the lanes that are off as ranges of no bytes). An intrinsic that touches memory and is not known here is an
 * error, so that nothing stays unseen. This comes after optimising: what is watched is the code that would be emitted.
 */
#include "emit/machine.h"

#include <string.h>

typedef struct watcher {
  LLVMContextRef context;
  LLVMBuilderRef builder;
  LLVMTargetDataRef layout;
  LLVMTypeRef i64, type; /* of the functions below */
  LLVMValueRef read, write;
  unsigned memory_attribute;
  char unknown[128]; /* an intrinsic that we do not know, "" = none */
} watcher;

typedef enum access {
  ACCESS_NONE,
  ACCESS_LEFT, /* to LLVM's pass */
  ACCESS_MASKED_LOAD,
  ACCESS_MASKED_STORE,
  ACCESS_GATHER,
  ACCESS_SCATTER,
  ACCESS_UNKNOWN
} access;

static access classify(const watcher *w, LLVMValueRef callee) {
  static const struct {
    const char *prefix;
    access access;
  } known[] = {
      {"llvm.masked.load.", ACCESS_MASKED_LOAD},
      {"llvm.masked.store.", ACCESS_MASKED_STORE},
      {"llvm.masked.gather.", ACCESS_GATHER},
      {"llvm.masked.scatter.", ACCESS_SCATTER},
      {"llvm.memcpy.", ACCESS_LEFT},
      {"llvm.memmove.", ACCESS_LEFT},
      {"llvm.memset.", ACCESS_LEFT},
      {"llvm.prefetch.", ACCESS_NONE},
      {"llvm.lifetime.", ACCESS_NONE},
      {"llvm.assume", ACCESS_NONE},
      {"llvm.experimental.noalias.scope.decl", ACCESS_NONE},
  };
  size_t length;
  const char *name = LLVMGetValueName2(callee, &length);
  if (LLVMGetIntrinsicID(callee) == 0)
    return ACCESS_NONE; /* a function: its own accesses are watched */
  for (size_t k = 0; k < sizeof known / sizeof *known; k++)
    if (strncmp(name, known[k].prefix, strlen(known[k].prefix)) == 0)
      return known[k].access;
  LLVMAttributeRef memory =
      LLVMGetEnumAttributeAtIndex(callee, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, w->memory_attribute);
  return memory && LLVMGetEnumAttributeValue(memory) == 0 ? ACCESS_NONE : ACCESS_UNKNOWN;
}

static void report(watcher *w, LLVMValueRef address, LLVMValueRef bytes, bool write) {
  LLVMValueRef arguments[2] = {address, bytes};
  LLVMBuildCall2(w->builder, w->type, write ? w->write : w->read, arguments, 2, "");
}

static void report_plain(watcher *w, LLVMValueRef instruction, LLVMTypeRef type, LLVMValueRef address, bool write) {
  unsigned long long bytes = LLVMStoreSizeOfType(w->layout, type);
  if (bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8 || bytes == 16)
    return;
  LLVMPositionBuilderBefore(w->builder, instruction);
  report(w, address, LLVMConstInt(w->i64, bytes, false), write);
}

/* address: of the first lane, or a vector of one a lane. */
static void report_lanes(watcher *w, LLVMValueRef instruction, LLVMTypeRef type, LLVMValueRef address, bool each,
                         LLVMValueRef mask, bool write) {
  LLVMPositionBuilderBefore(w->builder, instruction);
  LLVMTypeRef element = LLVMGetElementType(type);
  LLVMValueRef bytes = LLVMConstInt(w->i64, LLVMABISizeOfType(w->layout, element), false);
  for (unsigned k = 0; k < LLVMGetVectorSize(type); k++) {
    LLVMValueRef lane = LLVMConstInt(w->i64, k, false);
    LLVMValueRef on = LLVMBuildExtractElement(w->builder, mask, lane, "");
    LLVMValueRef at = each ? LLVMBuildExtractElement(w->builder, address, lane, "")
                           : LLVMBuildGEP2(w->builder, element, address, &lane, 1, "");
    report(w, at, LLVMBuildSelect(w->builder, on, bytes, LLVMConstNull(w->i64), ""), write);
  }
}

static void watch_call(watcher *w, LLVMValueRef call) {
  LLVMValueRef callee = LLVMGetCalledValue(call);
  if (!LLVMIsAFunction(callee))
    return;
  switch (classify(w, callee)) {
  case ACCESS_NONE:
  case ACCESS_LEFT: break;
  case ACCESS_MASKED_LOAD:
  case ACCESS_GATHER:
    report_lanes(w, call, LLVMTypeOf(call), LLVMGetOperand(call, 0), classify(w, callee) == ACCESS_GATHER,
                 LLVMGetOperand(call, 2), false);
    break;
  case ACCESS_MASKED_STORE:
  case ACCESS_SCATTER:
    report_lanes(w, call, LLVMTypeOf(LLVMGetOperand(call, 0)), LLVMGetOperand(call, 1),
                 classify(w, callee) == ACCESS_SCATTER, LLVMGetOperand(call, 3), true);
    break;
  case ACCESS_UNKNOWN: {
    size_t length;
    const char *name = LLVMGetValueName2(callee, &length);
    strncpy(w->unknown, name, sizeof w->unknown - 1);
  }
  }
}

static void watch(watcher *w, LLVMValueRef instruction) {
  switch (LLVMGetInstructionOpcode(instruction)) {
  case LLVMLoad: report_plain(w, instruction, LLVMTypeOf(instruction), LLVMGetOperand(instruction, 0), false); break;
  case LLVMStore:
    report_plain(w, instruction, LLVMTypeOf(LLVMGetOperand(instruction, 0)), LLVMGetOperand(instruction, 1), true);
    break;
  case LLVMCall: watch_call(w, instruction); break;
  default: break;
  }
}

static void watch_all(watcher *w, LLVMModuleRef module) {
  static const char name[] = "sanitize_thread";
  LLVMAttributeRef attribute =
      LLVMCreateEnumAttribute(w->context, LLVMGetEnumAttributeKindForName(name, sizeof name - 1), 0);
  for (LLVMValueRef f = LLVMGetFirstFunction(module); f; f = LLVMGetNextFunction(f)) {
    if (LLVMIsDeclaration(f))
      continue;
    LLVMAddAttributeAtIndex(f, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, attribute);
    for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(f); b; b = LLVMGetNextBasicBlock(b))
      for (LLVMValueRef i = LLVMGetFirstInstruction(b); i; i = LLVMGetNextInstruction(i))
        watch(w, i);
  }
}

onnxc_status onnxc_module_instrument(onnxc_diag *diag, LLVMModuleRef module, LLVMTargetMachineRef machine) {
  watcher w = {.context = LLVMGetModuleContext(module), .layout = LLVMGetModuleDataLayout(module)};
  w.builder = LLVMCreateBuilderInContext(w.context);
  w.i64 = LLVMInt64TypeInContext(w.context);
  w.memory_attribute = LLVMGetEnumAttributeKindForName("memory", 6);
  LLVMTypeRef parameters[2] = {LLVMPointerTypeInContext(w.context, 0), w.i64};
  w.type = LLVMFunctionType(LLVMVoidTypeInContext(w.context), parameters, 2, false);
  w.read = LLVMAddFunction(module, "__tsan_read_range", w.type);
  w.write = LLVMAddFunction(module, "__tsan_write_range", w.type);
  watch_all(&w, module);
  LLVMDisposeBuilder(w.builder);
  if (w.unknown[0])
    return onnxc_error(diag, ONNXC_INTERNAL, "what '%s' reads and writes is not known", w.unknown);
  return onnxc_module_run(diag, module, machine, "tsan-module,function(tsan)");
}
