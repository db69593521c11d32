/* jit.c -- machine code in this process; the only file that knows ORC.
 *
 * The target machine makes an object in memory, which holds code and descriptor, and ORC's LLJIT links it. So ORC
 * never sees IR, its thread-safe contexts are not needed, and an object may as well come from a file (cache.h). Each
 * program has an LLJIT of its own with one resource tracker: releasing the default tracker corrupts the heap in LLVM
 * 19. Ownership of what ORC takes and gives is noted at each call.
 */
#include "emit/artefact.h"

#include <llvm-c/LLJIT.h>
#include <llvm-c/Orc.h>

#include <string.h>

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

/* ---- module to object ---- */

static void publish(LLVMValueRef global, const char *name) {
  LLVMSetValueName2(global, name, strlen(name));
  LLVMSetLinkage(global, LLVMExternalLinkage);
}

static onnxc_status make_object(onnxc_object *object, onnxc_diag *diag, onnxc_arena *arena, onnxc_module *module,
                                const onnxc_target *target, const onnxc_rt_program *program, const onnxc_facts *facts) {
  object->machine = onnxc_machine_new(diag, target, NULL);
  if (!object->machine)
    return diag->status;
  onnxc_module_set_target(module->module, object->machine, target);
  LLVMValueRef descriptor = NULL;
  ONNXC_TRY(onnxc_emit_descriptor(diag, arena, module, program, NULL, NULL, &descriptor));
  publish(descriptor, ONNXC_JIT_PROGRAM);
  publish(onnxc_emit_facts(arena, module, facts, (size_t)program->num_stages), ONNXC_JIT_FACTS);
  ONNXC_TRY(onnxc_module_optimize(diag, module->module, object->machine));
  char *message = NULL;
  if (LLVMTargetMachineEmitToMemoryBuffer(object->machine, module->module, LLVMObjectFile, &message, &object->buffer))
    return onnxc_llvm_failed(diag, "code generation failed", message);
  object->bytes = LLVMGetBufferStart(object->buffer);
  object->size = LLVMGetBufferSize(object->buffer);
  return ONNXC_OK;
}

onnxc_status onnxc_jit_object(onnxc_object *object, onnxc_diag *diag, onnxc_arena *arena, onnxc_module *module,
                              const onnxc_target *target, const onnxc_rt_program *program, const onnxc_facts *facts) {
  *object = (onnxc_object){0};
  onnxc_status status = make_object(object, diag, arena, module, target, program, facts);
  onnxc_module_free(module);
  return status;
}

void onnxc_object_free(onnxc_object *object) {
  if (object->buffer)
    LLVMDisposeMemoryBuffer(object->buffer);
  if (object->machine)
    LLVMDisposeTargetMachine(object->machine);
  *object = (onnxc_object){0};
}

/* ---- object to code ---- */

static onnxc_status link_object(onnxc_jit *jit, onnxc_diag *diag, const void *bytes, size_t size) {
  LLVMErrorRef error = LLVMOrcCreateLLJIT(&jit->lljit, NULL);
  if (error)
    return orc_failed(diag, "the just-in-time linker does not start", error);
  LLVMOrcJITDylibRef dylib = LLVMOrcLLJITGetMainJITDylib(jit->lljit); /* borrowed */
  LLVMOrcDefinitionGeneratorRef process = NULL;                       /* memcpy and memset come from this process */
  error = LLVMOrcCreateDynamicLibrarySearchGeneratorForProcess(&process, LLVMOrcLLJITGetGlobalPrefix(jit->lljit), NULL,
                                                               NULL);
  if (error)
    return orc_failed(diag, "the process's symbols cannot be searched", error);
  LLVMOrcJITDylibAddGenerator(dylib, process); /* takes it */
  jit->tracker = LLVMOrcJITDylibCreateResourceTracker(dylib);
  LLVMMemoryBufferRef object = LLVMCreateMemoryBufferWithMemoryRange(bytes, size, "program", 0); /* borrows bytes */
  error = LLVMOrcLLJITAddObjectFileWithRT(jit->lljit, jit->tracker, object); /* takes it, also on failure */
  return error ? orc_failed(diag, "linking in memory failed", error) : ONNXC_OK;
}

onnxc_status onnxc_jit_link(onnxc_jit **result, onnxc_diag *diag, const void *bytes, size_t size) {
  *result = NULL;
  onnxc_llvm_initialise();
  onnxc_jit *jit = onnxc_mem_alloc(sizeof *jit);
  if (!jit)
    return onnxc_error(diag, ONNXC_OUT_OF_MEMORY, "out of memory");
  *jit = (onnxc_jit){0};
  onnxc_status status = link_object(jit, diag, bytes, size);
  if (status == ONNXC_OK)
    *result = jit;
  else
    onnxc_jit_free(jit);
  return status;
}

onnxc_status onnxc_jit_find(const onnxc_jit *jit, onnxc_diag *diag, const char *symbol, uintptr_t *address) {
  LLVMOrcExecutorAddress found = 0;
  LLVMErrorRef error = LLVMOrcLLJITLookup(jit->lljit, &found, symbol);
  if (error)
    return orc_failed(diag, symbol, error);
  *address = (uintptr_t)found;
  return ONNXC_OK;
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
