/* objects.c -- the parts of a module become objects, on several threads: nearly all the time of a compilation.
 *
 * Each part has an LLVM context of its own, and each job a target machine of its own; LLVM asks for no more. A job
 * touches nothing of ours but its result, so the objects have the same bytes for any number of threads. LLVM's messages
 * are carried over when all have ended.
 */
#include "base/parallel.h"
#include "emit/machine.h"

#include <stdio.h>

typedef struct objects_job {
  onnxc_objects *objects;
  const onnxc_module *module;
  const onnxc_target *target;
  const char *triple;
  bool instrument;
  struct {
    onnxc_status status;
    char message[1024];
  } results[ONNXC_MAX_PARTS];
} objects_job;

static onnxc_status make_object(const objects_job *j, uint32_t k, LLVMTargetMachineRef machine, onnxc_diag *diag) {
  LLVMModuleRef module = j->module->parts[k].module;
  onnxc_module_set_target(module, machine, j->target);
  ONNXC_TRY(onnxc_module_optimize(diag, module, machine));
  if (j->instrument)
    ONNXC_TRY(onnxc_module_instrument(diag, module, machine));
  char *message = NULL;
  onnxc_object *object = &j->objects->list[k];
  if (LLVMTargetMachineEmitToMemoryBuffer(machine, module, LLVMObjectFile, &message, &object->buffer))
    return onnxc_llvm_failed(diag, "code generation failed", message);
  object->bytes = LLVMGetBufferStart(object->buffer);
  object->size = LLVMGetBufferSize(object->buffer);
  return ONNXC_OK;
}

static void run_job(void *arg, uint32_t k) {
  objects_job *j = arg;
  onnxc_diag diag;
  onnxc_diag_clear(&diag);
  LLVMTargetMachineRef machine = onnxc_machine_new(&diag, j->target, j->triple);
  onnxc_status status = machine ? make_object(j, k, machine, &diag) : diag.status;
  if (machine)
    LLVMDisposeTargetMachine(machine);
  j->results[k].status = status;
  snprintf(j->results[k].message, sizeof j->results[k].message, "%.*s", (int)sizeof j->results[k].message - 1,
           diag.text);
}

onnxc_status onnxc_make_objects(onnxc_objects *objects, onnxc_diag *diag, const onnxc_module *module,
                                const onnxc_target *target, const char *triple, bool instrument, int threads) {
  objects_job job = {
      .objects = objects, .module = module, .target = target, .triple = triple, .instrument = instrument};
  *objects = (onnxc_objects){.count = module->num_parts};
  onnxc_parallel(threads, module->num_parts, run_job, &job);
  for (uint32_t k = 0; k < module->num_parts; k++)
    if (job.results[k].status != ONNXC_OK)
      return onnxc_error(diag, job.results[k].status, "%s", job.results[k].message);
  return ONNXC_OK;
}

void onnxc_objects_free(onnxc_objects *objects) {
  for (uint32_t k = 0; k < objects->count; k++)
    if (objects->list[k].buffer)
      LLVMDisposeMemoryBuffer(objects->list[k].buffer);
  *objects = (onnxc_objects){0};
}
