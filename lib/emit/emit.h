/* emit.h -- a module becomes machine code: in memory (ORC JIT), an object, a library, an executable.
 *
 * The only file family that owns LLVM target machines and ORC. Everything it allocates through LLVM hangs on
 * these structs, so an unwinding (arena.h) can release it.
 */
#ifndef ONNXC_EMIT_EMIT_H
#define ONNXC_EMIT_EMIT_H

#include "codegen/codegen.h"
#include "rt/program.h"

#include "onnxc/onnxc.h"

typedef struct onnxc_jit onnxc_jit; /* owns code memory */

/* Consumes the module (also on failure). Fills addresses[k] for each stage's function. */
onnxc_status onnxc_jit_compile(onnxc_jit **jit, onnxc_diag *diag, onnxc_module *module, const onnxc_target *target,
                               uint32_t num_stages, onnxc_stage_fn *functions);
void onnxc_jit_free(onnxc_jit *jit);

/* Builds the run-time descriptor of a tile program: plans memory, numbers slots, packs the weights section.
 * functions are filled by the caller (JIT) or emitted (artefacts). The result lies in the arena. emit/describe.c */
typedef struct onnxc_weights {
  size_t size;
  uint32_t num_pieces;
  struct onnxc_weight_piece {
    size_t offset, size;
    const void *data;
  } *pieces; /* borrowed from the graph */
} onnxc_weights;
onnxc_status onnxc_describe(onnxc_rt_program *result, onnxc_weights *weights, const onnxc_tile_program *program,
                            const onnxc_stage_code *stages, onnxc_arena *arena);

typedef struct onnxc_emit_options {
  onnxc_emit kind;
  const char *path, *prefix;
  const onnxc_target *target;
  const char *triple; /* NULL = host */
  bool weights_in_file;
  int threads;
} onnxc_emit_options;
/* Consumes the module. Writes the artefact; temporary files are removed. */
onnxc_status onnxc_emit_module(onnxc_diag *diag, onnxc_arena *arena, onnxc_module *module,
                               const onnxc_rt_program *program, const onnxc_weights *weights,
                               const onnxc_emit_options *options);

#endif
