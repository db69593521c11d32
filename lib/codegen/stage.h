/* stage.h -- inside the code generator: a stage's lists and its statements. */
#ifndef ONNXC_CODEGEN_STAGE_H
#define ONNXC_CODEGEN_STAGE_H

#include "codegen/codegen.h"
#include "nano/gen.h"

typedef struct onnxc_lists {
  ONNXC_VEC(uint32_t) buffers;  /* program buffers of space VALUE, in order of first use */
  ONNXC_VEC(uint32_t) local;    /* of space SCRATCH or STATE */
  ONNXC_VEC(onnxc_sym) symbols; /* that the run-time binds */
  ONNXC_VEC(onnxc_sym) loops;   /* that loops of the stage bind */
} onnxc_lists;

/* What a stage refers to, in an order that depends on its structure only. lists.c */
void onnxc_stage_lists(onnxc_lists *lists, const onnxc_tile_program *program, const onnxc_stage *stage,
                       onnxc_arena *arena);

/* All that a stage's code depends on; stages of equal keys share a function. same.c */
typedef struct onnxc_stage_key {
  int64_t *data;
  uint32_t length, capacity;
} onnxc_stage_key;
onnxc_stage_key onnxc_stage_key_of(const onnxc_tile_program *program, const onnxc_stage *stage,
                                   const onnxc_lists *lists, onnxc_arena *arena);
bool onnxc_stage_key_equal(const onnxc_stage_key *a, const onnxc_stage_key *b);

/* The body of a stage function between entry and return. stage.c */
onnxc_status onnxc_stage_body(onnxc_gen *gen, const onnxc_stage *stage, LLVMValueRef first, LLVMValueRef last);

/* COPY and FILL as compute statements. copy.c */
onnxc_status onnxc_stage_copy(onnxc_gen *gen, const onnxc_stmt *stmt);
onnxc_status onnxc_stage_fill(onnxc_gen *gen, const onnxc_stmt *stmt);

#endif
