/* codegen.h -- the tile program to LLVM modules.
 *
 * The functions are spread over several modules, parts, each in a context of its own, so that threads can optimise them
 * and make machine code at once (emit/objects.c). Part 0 is always there. Which part a function is in depends on the
 * program alone, never on the machine: it goes to the smallest part, and a new one is begun when all have reached some
 * size. Small programs have one part.
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
 * Ownership: the LLVM contexts and modules are the result's; onnxc_module_free disposes of them.
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
  uint32_t part;         /* of the module, that the function is in */
} onnxc_stage_code;

/* Many enough for the cores of a large machine; more parts than cores even out what their sizes do not tell. */
enum { ONNXC_MAX_PARTS = 16 };

/* Instructions that a part has before another is begun: about 40 ms of LLVM's time. */
enum { ONNXC_PART_SIZE = 1000 };

typedef struct onnxc_part {
  LLVMContextRef context;
  LLVMModuleRef module;
  LLVMBuilderRef builder; /* NULL but while code is generated: kept here so that an unwinding releases it */
  uint64_t size;          /* instructions */
} onnxc_part;

typedef struct onnxc_module {
  onnxc_part parts[ONNXC_MAX_PARTS];
  uint32_t num_parts;
  onnxc_stage_code *stages; /* one a stage of the program, arena-allocated */
} onnxc_module;

/* part_size: ONNXC_PART_SIZE, or UINT64_MAX for one part, or 0 for as many as there may be. Verifies the modules with
 * the status-returning action before anything else sees them. */
onnxc_status onnxc_codegen(onnxc_module *result, const onnxc_tile_program *program, onnxc_arena *arena,
                           const char *prefix, uint64_t part_size);
void onnxc_module_free(onnxc_module *module);

#endif
