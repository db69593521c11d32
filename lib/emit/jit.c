/* jit.c -- a module to machine code in this process; the only file that knows ORC.
 *
 * The target machine makes an object in memory and ORC's LLJIT links it, so ORC never sees IR and its
 * thread-safe contexts are not needed. Each program has an LLJIT of its own with one resource tracker: releasing the
 * default tracker corrupts the heap in LLVM 19. Ownership of what ORC takes and gives is noted at each call.
 */
#include "emit/machine.h"

#include <llvm-c/LLJIT.h>
#include <llvm-c/Orc.h>

#include <stdlib.h>

struct onnxc_jit {
  LLVMOrcLLJITRef lljit;
  LLVMOrcResourceTrackerRef tracker;
};

static onnxc_status orc_failed(onnxc_diag *diag, const char *what, LLVMErrorRef error) {
  char *message = LLVMGetErrorMessage(error); /* consumes error */
  onnxc_status status = onnxc_error(diag, ONNXC_INTERNAL, "%s: %s", what, message);
  LLVMDisposeErrorMessage(message);
  return status;
}

static onnxc_status make_object(LLVMMemoryBufferRef *object, onnxc_diag *diag, LLVMModuleRef module,
                                const onnxc_target *target) {
  LLVMTargetMachineRef machine = onnxc_machine_new(diag, target, NULL);
  if (!machine)
    return diag->status;
  onnxc_module_set_target(module, machine, target);
  onnxc_status status = onnxc_module_optimize(diag, module, machine);
  char *message = NULL;
  if (status == ONNXC_OK && LLVMTargetMachineEmitToMemoryBuffer(machine, module, LLVMObjectFile, &message, object))
    status = onnxc_llvm_failed(diag, "code generation failed", message);
  LLVMDisposeTargetMachine(machine);
  return status;
}

/* Consumes the object. */
static onnxc_status link_object(onnxc_jit *jit, onnxc_diag *diag, LLVMMemoryBufferRef object) {
  LLVMErrorRef error = LLVMOrcCreateLLJIT(&jit->lljit, NULL);
  if (error) {
    LLVMDisposeMemoryBuffer(object);
    return orc_failed(diag, "the just-in-time linker does not start", error);
  }
  LLVMOrcJITDylibRef dylib = LLVMOrcLLJITGetMainJITDylib(jit->lljit); /* borrowed */
  LLVMOrcDefinitionGeneratorRef process = NULL;                       /* memcpy and memset come from this process */
  error = LLVMOrcCreateDynamicLibrarySearchGeneratorForProcess(&process, LLVMOrcLLJITGetGlobalPrefix(jit->lljit), NULL,
                                                               NULL);
  if (error) {
    LLVMDisposeMemoryBuffer(object);
    return orc_failed(diag, "the process's symbols cannot be searched", error);
  }
  LLVMOrcJITDylibAddGenerator(dylib, process); /* takes it */
  jit->tracker = LLVMOrcJITDylibCreateResourceTracker(dylib);
  error = LLVMOrcLLJITAddObjectFileWithRT(jit->lljit, jit->tracker, object); /* takes it, also on failure */
  return error ? orc_failed(diag, "linking in memory failed", error) : ONNXC_OK;
}

static onnxc_status look_up(onnxc_jit *jit, onnxc_diag *diag, const onnxc_module *module, uint32_t num_stages,
                            onnxc_stage_fn *functions) {
  for (uint32_t k = 0; k < num_stages; k++) {
    LLVMOrcExecutorAddress address = 0;
    LLVMErrorRef error = LLVMOrcLLJITLookup(jit->lljit, &address, module->stages[k].function);
    if (error)
      return orc_failed(diag, module->stages[k].function, error);
    functions[k] = (onnxc_stage_fn)(uintptr_t)address; // NOLINT(performance-no-int-to-ptr)
  }
  return ONNXC_OK;
}

onnxc_status onnxc_jit_compile(onnxc_jit **result, onnxc_diag *diag, onnxc_module *module, const onnxc_target *target,
                               uint32_t num_stages, onnxc_stage_fn *functions) {
  *result = NULL;
  LLVMMemoryBufferRef object = NULL;
  onnxc_jit *jit = onnxc_mem_alloc(sizeof *jit);
  if (!jit) {
    onnxc_module_free(module);
    return onnxc_error(diag, ONNXC_OUT_OF_MEMORY, "out of memory");
  }
  *jit = (onnxc_jit){0};
  onnxc_status status = make_object(&object, diag, module->module, target);
  if (status == ONNXC_OK)
    status = link_object(jit, diag, object);
  if (status == ONNXC_OK)
    status = look_up(jit, diag, module, num_stages, functions);
  onnxc_module_free(module);
  if (status == ONNXC_OK)
    *result = jit;
  else
    onnxc_jit_free(jit);
  return status;
}

void onnxc_jit_free(onnxc_jit *jit) {
  if (!jit)
    return;
  if (jit->tracker)
    LLVMOrcReleaseResourceTracker(jit->tracker);
  if (jit->lljit) {
    LLVMErrorRef error = LLVMOrcDisposeLLJIT(jit->lljit); /* frees the code */
    if (error)
      LLVMConsumeError(error);
  }
  onnxc_mem_free(jit);
}
