/* emit.h -- a module becomes machine code: in memory (ORC JIT), an object, a library, an executable.
 *
 * The only file family that owns LLVM target machines and ORC. Everything it allocates through LLVM hangs on
 * these structs, so an unwinding (arena.h) can release it.
 */
#ifndef ONNXC_EMIT_EMIT_H
#define ONNXC_EMIT_EMIT_H

#include "codegen/codegen.h"
#include "emit/facts.h"
#include "rt/program.h"

#include "onnxc/onnxc.h"

#include <llvm-c/TargetMachine.h>

/* ---- code in memory: jit.c ---- */

/* A relocatable object: code, and the descriptor (rt/program.h; without weights and team). Zero-initialised and freed
 * by whoever has it, also after an unwinding. */
typedef struct onnxc_object {
  const void *bytes;
  size_t size;
  LLVMMemoryBufferRef buffer; /* that holds them */
  LLVMTargetMachineRef machine;
} onnxc_object;
#define ONNXC_JIT_PROGRAM "onnxc_program" /* the onnxc_rt_program */
#define ONNXC_JIT_FACTS   "onnxc_facts"   /* the onnxc_facts */

/* Consumes the module, but not in an unwinding. */
onnxc_status onnxc_jit_object(onnxc_object *object, onnxc_diag *diag, onnxc_arena *arena, onnxc_module *module,
                              const onnxc_target *target, const onnxc_rt_program *program, const onnxc_facts *facts);
void onnxc_object_free(onnxc_object *object);

typedef struct onnxc_jit onnxc_jit; /* owns code memory */

/* The object's bytes must stay until a symbol has been found. */
onnxc_status onnxc_jit_link(onnxc_jit **jit, onnxc_diag *diag, const void *bytes, size_t size);
onnxc_status onnxc_jit_find(const onnxc_jit *jit, onnxc_diag *diag, const char *symbol, uintptr_t *address);
void onnxc_jit_free(onnxc_jit *jit);

/* Builds the run-time descriptor of a tile program: plans memory, numbers slots, packs the weights section.
 * functions are filled in when it is emitted. The result lies in the arena. facts may be NULL. emit/describe.c */
typedef struct onnxc_weights {
  size_t size;
  uint32_t num_pieces;
  struct onnxc_weight_piece {
    size_t offset, size;
    const void *data;
  } *pieces; /* borrowed from the graph */
} onnxc_weights;
onnxc_status onnxc_describe(onnxc_rt_program *result, onnxc_weights *weights, onnxc_facts *facts,
                            const onnxc_tile_program *program, const onnxc_stage_code *stages, onnxc_arena *arena);

typedef struct onnxc_emit_options {
  onnxc_emit kind;
  const char *path, *prefix;
  const onnxc_target *target;
  const char *triple; /* NULL = host */
  bool weights_in_file;
  int threads;
  bool instrument; /* the code tells ThreadSanitizer's run-time what it accesses: instrument.c */
} onnxc_emit_options;
/* Consumes the module. Writes the artefact; temporary files are removed. */
onnxc_status onnxc_emit_module(onnxc_diag *diag, onnxc_arena *arena, onnxc_module *module,
                               const onnxc_rt_program *program, const onnxc_weights *weights,
                               const onnxc_emit_options *options);

#endif
