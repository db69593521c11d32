/* jit.c -- machine code in this process; the only file that knows ORC.
 *
 * objects.c makes objects in memory, of which the first holds the descriptor, and ORC's LLJIT links them. So ORC
 * never sees IR, its thread-safe contexts are not needed, and objects may as well come from a file (cache.h). Each
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

/* ---- module to objects ---- */

static void publish(LLVMValueRef global, const char *name) {
  LLVMSetValueName2(global, name, strlen(name));
  LLVMSetLinkage(global, LLVMExternalLinkage);
}

static onnxc_status add_descriptor(onnxc_diag *diag, onnxc_arena *arena, onnxc_module *module,
                                   const onnxc_target *target, const onnxc_rt_program *program,
                                   const onnxc_facts *facts) {
  LLVMTargetMachineRef machine = onnxc_machine_new(diag, target, NULL);
  if (!machine)
    return diag->status;
  onnxc_module_set_target(module->parts[0].module, machine, target);
  LLVMDisposeTargetMachine(machine);
  LLVMValueRef descriptor = NULL;
  ONNXC_TRY(onnxc_emit_descriptor(diag, arena, module, program, "", NULL, NULL, &descriptor));
  publish(descriptor, ONNXC_JIT_PROGRAM);
  publish(onnxc_emit_facts(arena, module, facts, (size_t)program->num_stages), ONNXC_JIT_FACTS);
  return ONNXC_OK;
}

onnxc_status onnxc_jit_objects(onnxc_objects *objects, onnxc_diag *diag, onnxc_arena *arena, onnxc_module *module,
                               const onnxc_target *target, const onnxc_rt_program *program, const onnxc_facts *facts,
                               int threads) {
  *objects = (onnxc_objects){0};
  onnxc_status status = add_descriptor(diag, arena, module, target, program, facts);
  if (status == ONNXC_OK)
    status = onnxc_make_objects(objects, diag, module, target, NULL, false, threads);
  onnxc_module_free(module);
  return status;
}

/* ---- objects to code ---- */

static onnxc_status link_objects(onnxc_jit *jit, onnxc_diag *diag, const onnxc_objects *objects) {
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
  for (uint32_t k = 0; k < objects->count; k++) {
    LLVMMemoryBufferRef object = /* borrows bytes */
        LLVMCreateMemoryBufferWithMemoryRange(objects->list[k].bytes, objects->list[k].size, "program", 0);
    error = LLVMOrcLLJITAddObjectFileWithRT(jit->lljit, jit->tracker, object); /* takes it, also on failure */
    if (error)
      return orc_failed(diag, "linking in memory failed", error);
  }
  return ONNXC_OK;
}

onnxc_status onnxc_jit_link(onnxc_jit **result, onnxc_diag *diag, const onnxc_objects *objects) {
  *result = NULL;
  onnxc_llvm_initialise();
  onnxc_jit *jit = onnxc_mem_alloc(sizeof *jit);
  if (!jit)
    return onnxc_error(diag, ONNXC_OUT_OF_MEMORY, "out of memory");
  *jit = (onnxc_jit){0};
  onnxc_status status = link_objects(jit, diag, objects);
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
