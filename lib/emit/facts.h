/* facts.h -- what stages have to do, at the least: for the run-time's choice of threads and for profiles.
 *
 * Facts of a program stand beside its descriptor in objects for the JIT, not in artefacts, and no run evaluates them.
 */
#ifndef ONNXC_EMIT_FACTS_H
#define ONNXC_EMIT_FACTS_H

#include "rt/program.h"
#include "tile/tile.h"

/* ---- counting: amounts.c ---- */

enum { ONNXC_CLOCK_TICKS = 768 }; /* parts of a clock, so that what a vector unit does in one is a whole number */

typedef struct onnxc_amounts {
  onnxc_dim flops;        /* multiplications and additions of contractions: what "GFLOP/s" counts */
  onnxc_dim work;         /* scalar operations, a multiplication with its addition as one, loads too */
  onnxc_dim operations;   /* of expressions on data, as onnxc_expr_op_cost weighs them; none of contractions */
  onnxc_dim ticks;        /* of a core's arithmetic units when those that are used are always busy */
  onnxc_dim bytes;        /* read and written, each element of an operand or result once */
  onnxc_dim weight_bytes; /* of these, constants */
} onnxc_amounts;

typedef struct onnxc_counter onnxc_counter;
onnxc_counter *onnxc_counter_new(const onnxc_tile_program *program, onnxc_arena *arena);
/* Of stage number `stage`; each is counted once, in order. */
onnxc_amounts onnxc_count_stage(onnxc_counter *counter, uint32_t stage);

/* ---- what a profile finds ---- */

typedef struct onnxc_stage_facts {
  const char *name, *nodes, *note;                       /* see onnxc_stage_profile */
  int64_t flops, operations, ticks, bytes, weight_bytes; /* slots; see below */
} onnxc_stage_facts;

/* A slot below the descriptor's num_dims is one of its dims; those of `dims` are numbered from there on. */
typedef struct onnxc_facts {
  int64_t num_dims;
  const onnxc_rt_dim *dims;
  const onnxc_stage_facts *stages; /* as many as the descriptor has */
  int64_t largest_live_set;        /* bytes in the workspace; -1 when it depends on dims */
} onnxc_facts;

#endif
