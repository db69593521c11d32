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

/* ---- a module's parts as objects: objects.c ---- */

/* Relocatable objects, which refer to each other. Zero-initialised and freed by whoever has them, also after an
 * unwinding. */
typedef struct onnxc_object {
  const void *bytes;
  size_t size;
  LLVMMemoryBufferRef buffer; /* that holds them; NULL when they are borrowed */
} onnxc_object;
typedef struct onnxc_objects {
  uint32_t count;
  onnxc_object list[ONNXC_MAX_PARTS];
} onnxc_objects;

/* Optimises the parts. The bytes are the same for any number of threads. */
onnxc_status onnxc_make_objects(onnxc_objects *objects, onnxc_diag *diag, const onnxc_module *module,
                                const onnxc_target *target, const char *triple, bool instrument, int threads);
void onnxc_objects_free(onnxc_objects *objects);

/* ---- code in memory: jit.c ---- */

#define ONNXC_JIT_PROGRAM "onnxc_program" /* the onnxc_rt_program, without weights and team */
#define ONNXC_JIT_FACTS   "onnxc_facts"   /* the onnxc_facts */

/* Code and descriptor. Consumes the module, but not in an unwinding. */
onnxc_status onnxc_jit_objects(onnxc_objects *objects, onnxc_diag *diag, onnxc_arena *arena, onnxc_module *module,
                               const onnxc_target *target, const onnxc_rt_program *program, const onnxc_facts *facts,
                               int threads);

typedef struct onnxc_jit onnxc_jit; /* owns code memory */

/* The objects' bytes must stay until a symbol has been found. */
onnxc_status onnxc_jit_link(onnxc_jit **jit, onnxc_diag *diag, const onnxc_objects *objects);
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
  int compile_threads;
  bool instrument; /* the code tells ThreadSanitizer's run-time what it accesses: instrument.c */
} onnxc_emit_options;
/* Whether it is made as text, for which the module must have one part. */
static inline bool onnxc_emit_is_text(onnxc_emit kind) { return kind == ONNXC_EMIT_LLVM_IR || kind == ONNXC_EMIT_ASM; }
/* Consumes the module. Writes the artefact; temporary files are removed. */
onnxc_status onnxc_emit_module(onnxc_diag *diag, onnxc_arena *arena, onnxc_module *module,
                               const onnxc_rt_program *program, const onnxc_weights *weights,
                               const onnxc_emit_options *options);

#endif
