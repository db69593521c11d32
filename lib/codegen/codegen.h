/* codegen.h -- the tile program to one LLVM module.
 *
 * For each stage that is not `same_as` another: a function of type onnxc_stage_fn (rt/program.h).
 * Within it buffers and dims are reached through per-stage lists (so that
 * identical stages share code): list entry k of the stage's buffers is context->buffers[k], likewise dims.
 *
 * A buffer that is an alias gets a pointer of its own, which points at its first element: the run-time adds
 * alias_offset (ONNXC_RT_VIEW), the code only uses alias_dims for the strides.
 *
 * Stages that are equal but for the buffers they name share a function, marked `same_as` or not.
 * A stage that is `same_as` another gets its lists from a walk over its own statements, which meets buffers and symbols
 * in the same order if the stages are equal but for their names.
 *
 * Ownership: the LLVM context and module are the result's; onnxc_module_free disposes of both.
 */
#ifndef ONNXC_CODEGEN_CODEGEN_H
#define ONNXC_CODEGEN_CODEGEN_H

#include "tile/tile.h"

#include <llvm-c/Core.h>

/* What the run-time must put behind each function's lists. */
typedef struct onnxc_stage_code {
  const char *function; /* symbol name */
  uint32_t num_buffers, num_dims;
  uint32_t *buffers;     /* program buffer numbers */
  onnxc_dim *dims;       /* dim expressions, free of loop symbols */
  uint64_t scratch_size; /* bytes a thread; windows have bounded sizes */
} onnxc_stage_code;

typedef struct onnxc_module {
  LLVMContextRef context;
  LLVMModuleRef module;
  LLVMBuilderRef builder;   /* NULL but while code is generated: kept here so that an unwinding releases it */
  onnxc_stage_code *stages; /* one a stage of the program, arena-allocated */
} onnxc_module;

/* Verifies the module with the status-returning action before anything else sees it. */
onnxc_status onnxc_codegen(onnxc_module *result, const onnxc_tile_program *program, onnxc_arena *arena,
                           const char *prefix);
void onnxc_module_free(onnxc_module *module);

#endif
