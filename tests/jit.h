/* jit.h -- a module's functions as code in memory, without a descriptor: for tests of what makes modules. */
#ifndef ONNXC_TESTS_JIT_H
#define ONNXC_TESTS_JIT_H

#include "emit/emit.h"

/* Consumes the module; fills the address of each stage's function. */
static inline onnxc_status jit_compile(onnxc_jit **jit, onnxc_diag *diag, onnxc_module *module,
                                       const onnxc_target *target, uint32_t num_stages, onnxc_stage_fn *functions) {
  static const onnxc_rt_program nothing;
  static const onnxc_facts none;
  const onnxc_stage_code *stages = module->stages;
  onnxc_objects objects = {0};
  onnxc_arena arena;
  onnxc_arena_init(&arena, NULL); /* an empty descriptor's needs are met, or the test aborts */
  *jit = NULL;
  onnxc_status status = onnxc_jit_objects(&objects, diag, &arena, module, target, &nothing, &none, 2);
  if (status == ONNXC_OK)
    status = onnxc_jit_link(jit, diag, &objects);
  for (uint32_t k = 0; status == ONNXC_OK && k < num_stages; k++) {
    uintptr_t address = 0;
    status = onnxc_jit_find(*jit, diag, stages[k].function, &address);
    functions[k] = (onnxc_stage_fn)address; // NOLINT(performance-no-int-to-ptr)
  }
  onnxc_objects_free(&objects);
  onnxc_arena_free(&arena);
  if (status != ONNXC_OK) {
    onnxc_jit_free(*jit);
    *jit = NULL;
  }
  return status;
}

#endif
