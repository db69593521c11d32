/* rig.h -- runs compute statements as generated code and compares with the evaluator.
 *
 *     rig *r = calloc(1, sizeof *r); rig_init(r);
 *     uint32_t a = rig_tensor(r, ONNXC_F32, 2, (int64_t[]){m, k}, NULL);
 *     ... rig_case(r, "name", &compute, operands, 2, &schedule);
 *     rig_run(r);    // compiles all cases as one module, runs and checks each, frees all, r too
 *
 * Each case runs as code for r->target (this CPU) and as code for AVX2, and each of them twice, its buffers once
 * against the page behind and once against the page before them.
 */
#ifndef ONNXC_TESTS_RIG_H
#define ONNXC_TESTS_RIG_H

#include "codegen/codegen.h"
#include "emit/emit.h"
#include "ir/eval.h"

typedef struct rig_case_record {
  const char *name;
  onnxc_compute compute;
  uint32_t num_operands;
  uint32_t operands[8]; /* buffers */
  uint32_t results[ONNXC_MAX_RESULTS];
  int64_t tasks; /* run as two calls */
  double tolerance;
  int64_t used[8]; /* if not 0: only so many elements (-1: none) of the last dim of operand k are used; the others are
                      NaN */
} rig_case_record;

typedef struct rig {
  onnxc_guard guard;
  onnxc_arena arena;
  onnxc_diag diag;
  onnxc_graph graph;
  onnxc_tile_program program;
  ONNXC_VEC(rig_case_record) cases;
  int64_t symbols[256];  /* values of the run-time's symbols */
  double modulus;        /* elements are integers below it, 0 = small reals */
  const double *corners; /* if not NULL, one element in three is one of these */
  uint32_t num_corners;
  uint64_t random;
  const onnxc_target *target;
  bool alone;       /* code for that target only, not for AVX2 as well */
  unsigned checked; /* elements compared */
} rig;

void rig_init(rig *r);
/* A buffer of these dims (layout NULL: row major); negative dims[k] = symbol -dims[k]. */
uint32_t rig_tensor(rig *r, onnxc_dtype dtype, uint32_t rank, const int64_t *dims, const char *layout);
uint32_t rig_tensor_dims(rig *r, onnxc_dtype dtype, uint32_t rank, const onnxc_dim *dims, const char *layout);
onnxc_dim rig_symbol(rig *r, const char *name, int64_t low, int64_t high, int64_t value);
/* The whole box of the compute; results get row-major buffers unless results[] is given. Returns the statement. */
onnxc_stmt *rig_case(rig *r, const char *name, const onnxc_compute *compute, const uint32_t *operands,
                     uint32_t num_operands, const uint32_t *results, const onnxc_schedule *schedule);
onnxc_schedule rig_schedule(const onnxc_compute *compute, int row, uint32_t rows, int vec, uint32_t vecs,
                            uint32_t lanes, uint32_t unroll);
/* Replaces the statements of the last case, with memory that the stage needs besides operands and results. */
void rig_replace(rig *r, onnxc_stmt *const *stmts, uint32_t count, int64_t tasks);
onnxc_stmt *rig_loop(rig *r, bool parallel, int64_t lo, int64_t hi, int64_t step, onnxc_dim *iv);
void rig_append(rig *r, onnxc_block *block, onnxc_stmt *stmt);
onnxc_dim rig_dim(rig *r, int64_t value);
void rig_run(rig *r);

onnxc_expr rig_index(rig *r, uint32_t k);
onnxc_expr rig_int(rig *r, int64_t value);
onnxc_expr rig_op(rig *r, onnxc_expr_op op, onnxc_expr a, onnxc_expr b);
onnxc_expr rig_load(rig *r, onnxc_dtype dtype, uint32_t operand, uint32_t rank, const onnxc_expr *indices);
/* load of operand at plain indices, -1 ends the list */
onnxc_expr rig_at(rig *r, onnxc_dtype dtype, uint32_t operand, const int *indices);
void rig_extents(rig *r, onnxc_compute *c, uint32_t num_parallel, uint32_t num_reduce, const int64_t *extents);
/* acc OP element, started from `init`; finish = the accumulator. */
void rig_reduce(rig *r, onnxc_compute *c, uint32_t j, onnxc_dtype dtype, onnxc_expr_op op, onnxc_expr element,
                onnxc_expr init);

#endif
