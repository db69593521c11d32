/* vjit.c -- see vjit.h. ORC's LLJIT with a target machine of the wanted CPU. */
#include "vjit.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/Orc.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct vjit {
  LLVMOrcLLJITRef lljit;
};

static void set_attribute(LLVMContextRef context, LLVMValueRef function, const char *key, const char *value) {
  LLVMAttributeRef attribute =
      LLVMCreateStringAttribute(context, key, (unsigned)strlen(key), value, (unsigned)strlen(value));
  LLVMAddAttributeAtIndex(function, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, attribute);
}

static void build_kernel(const onnxc_nano *nano, const vjit_spec *spec, const char *name) {
  LLVMContextRef c = nano->context;
  LLVMBuilderRef b = nano->builder;
  LLVMTypeRef ptr = LLVMPointerTypeInContext(c, 0), i64 = LLVMInt64TypeInContext(c);
  LLVMTypeRef params[] = {ptr, ptr, i64};
  LLVMValueRef f = LLVMAddFunction(nano->module, name, LLVMFunctionType(LLVMVoidTypeInContext(c), params, 3, false));
  set_attribute(c, f, "tune-cpu", nano->target->tune);
  set_attribute(c, f, "prefer-vector-width", nano->target->vector_bytes == 64 ? "512" : "256");
  LLVMBasicBlockRef entry = LLVMAppendBasicBlockInContext(c, f, "entry");
  LLVMBasicBlockRef loop = LLVMAppendBasicBlockInContext(c, f, "loop"),
                    end = LLVMAppendBasicBlockInContext(c, f, "end");
  LLVMPositionBuilderAtEnd(b, entry);
  LLVMValueRef bases[3], args[3];
  for (uint32_t k = 0; k < spec->num_args; k++) {
    LLVMValueRef index = LLVMConstInt(i64, k, false);
    bases[k] = LLVMBuildLoad2(b, ptr, LLVMBuildGEP2(b, ptr, LLVMGetParam(f, 0), &index, 1, ""), "");
  }
  LLVMBuildBr(b, loop);
  LLVMPositionBuilderAtEnd(b, loop);
  LLVMValueRef iv = LLVMBuildPhi(b, i64, "iv");
  LLVMValueRef first = LLVMBuildMul(b, iv, LLVMConstInt(i64, spec->lanes ? spec->lanes : 1, false), "");
  for (uint32_t k = 0; k < spec->num_args; k++) {
    LLVMTypeRef element = onnxc_nano_memory_type(nano, spec->args[k], 0);
    LLVMValueRef load = LLVMBuildLoad2(b, onnxc_nano_memory_type(nano, spec->args[k], spec->lanes),
                                       LLVMBuildGEP2(b, element, bases[k], &first, 1, ""), "");
    LLVMSetAlignment(load, 1);
    args[k] = onnxc_nano_from_memory(nano, spec->args[k], load);
  }
  LLVMValueRef result = onnxc_nano_to_memory(nano, spec->result, spec->build(nano, spec->arg, args));
  LLVMTypeRef element = onnxc_nano_memory_type(nano, spec->result, 0);
  LLVMValueRef store = LLVMBuildStore(b, result, LLVMBuildGEP2(b, element, LLVMGetParam(f, 1), &first, 1, ""));
  LLVMSetAlignment(store, 1);
  LLVMValueRef next = LLVMBuildAdd(b, iv, LLVMConstInt(i64, 1, false), "");
  LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, next, LLVMGetParam(f, 2), ""), loop, end);
  LLVMAddIncoming(iv, (LLVMValueRef[]){LLVMConstInt(i64, 0, false), next}, (LLVMBasicBlockRef[]){entry, loop}, 2);
  LLVMPositionBuilderAtEnd(b, end);
  LLVMBuildRetVoid(b);
}

static bool failed(LLVMErrorRef error) {
  if (!error)
    return false;
  char *message = LLVMGetErrorMessage(error);
  fprintf(stderr, "%s\n", message);
  LLVMDisposeErrorMessage(message);
  return true;
}

vjit *vjit_compile(const onnxc_target *target, const vjit_spec *specs, uint32_t count) {
  LLVMInitializeX86TargetInfo();
  LLVMInitializeX86Target();
  LLVMInitializeX86TargetMC();
  LLVMInitializeX86AsmPrinter();
  char *triple = LLVMGetDefaultTargetTriple(), *message = NULL;
  LLVMTargetRef backend;
  if (LLVMGetTargetFromTriple(triple, &backend, &message))
    return NULL;
  LLVMTargetMachineRef machine = LLVMCreateTargetMachine(backend, triple, target->name, target->llvm_features,
                                                         LLVMCodeGenLevelDefault, LLVMRelocPIC, LLVMCodeModelDefault);
  LLVMDisposeMessage(triple);

  LLVMOrcThreadSafeContextRef safe = LLVMOrcCreateNewThreadSafeContext();
  LLVMContextRef context = LLVMOrcThreadSafeContextGetContext(safe);
  LLVMModuleRef module = LLVMModuleCreateWithNameInContext("kernels", context);
  LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
  LLVMSetModuleDataLayout(module, layout);
  LLVMDisposeTargetData(layout);
  onnxc_nano nano = {
      .context = context, .module = module, .builder = LLVMCreateBuilderInContext(context), .target = target};
  for (uint32_t k = 0; k < count; k++) {
    char name[32];
    snprintf(name, sizeof name, "kernel%u", k);
    build_kernel(&nano, &specs[k], name);
  }
  LLVMDisposeBuilder(nano.builder);
  bool broken = LLVMVerifyModule(module, LLVMReturnStatusAction, &message);
  if (broken)
    fprintf(stderr, "%s\n", message);
  LLVMDisposeMessage(message);
  const char *dump = getenv("VJIT_DUMP"); /* a file: the module's assembly, to look at */
  if (dump && !broken) {
    char path[256];
    snprintf(path, sizeof path, "%s.%s.s", dump, target->name);
    LLVMTargetMachineEmitToFile(machine, module, path, LLVMAssemblyFile, &message);
  }

  vjit *jit = calloc(1, sizeof *jit);
  LLVMOrcLLJITBuilderRef builder = LLVMOrcCreateLLJITBuilder();
  LLVMOrcLLJITBuilderSetJITTargetMachineBuilder(builder,
                                                LLVMOrcJITTargetMachineBuilderCreateFromTargetMachine(machine));
  if (failed(LLVMOrcCreateLLJIT(&jit->lljit, builder))) {
    free(jit);
    return NULL;
  }
  LLVMOrcThreadSafeModuleRef safe_module = LLVMOrcCreateNewThreadSafeModule(module, safe);
  LLVMOrcDisposeThreadSafeContext(safe);
  if (broken || failed(LLVMOrcLLJITAddLLVMIRModule(jit->lljit, LLVMOrcLLJITGetMainJITDylib(jit->lljit), safe_module))) {
    vjit_free(jit);
    return NULL;
  }
  return jit;
}

vjit_kernel vjit_get(vjit *jit, uint32_t which) {
  char name[32];
  snprintf(name, sizeof name, "kernel%u", which);
  LLVMOrcExecutorAddress address = 0;
  if (failed(LLVMOrcLLJITLookup(jit->lljit, &address, name)))
    abort();
  return (vjit_kernel)(uintptr_t)address;
}

void vjit_free(vjit *jit) {
  failed(LLVMOrcDisposeLLJIT(jit->lljit));
  free(jit);
}

uint32_t vjit_targets(const onnxc_target **targets) {
  static const char *const names[] = {"x86-64-v4", "x86-64-v3"};
  uint32_t count = 0;
  for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
    const onnxc_target *target = onnxc_target_find(names[k], strlen(names[k]));
    if (target && onnxc_target_runs_on_host(target))
      targets[count++] = target;
  }
  return count;
}
