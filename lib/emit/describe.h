/* describe.h -- between the files that build a descriptor: describe.c, slots.c (dims), memory.c (the workspace). */
#ifndef ONNXC_EMIT_DESCRIBE_H
#define ONNXC_EMIT_DESCRIBE_H

#include "emit/emit.h"

#define ONNXC_NO_SLOT UINT32_MAX

/* ---- dim slots: slots.c ---- */

typedef struct onnxc_slots {
  onnxc_arena *arena;
  onnxc_graph *graph;
  ONNXC_VEC(onnxc_rt_dim) dims;
  uint32_t *of_dim; /* slot + 1 of a dim expression, by handle */
  uint32_t of_dim_size;
  uint32_t *table; /* slot + 1 by operation and arguments: equal ones are shared */
  uint32_t table_size;
  const uint32_t *element_buffer;     /* buffer slot of an integer tensor that gives elements, by value */
  const int32_t *element_segment;     /* ... and the segment in which they are known */
  const onnxc_dim *element_condition; /* ... unless this is 0: then they are 0; none = always */
} onnxc_slots;

void onnxc_slots_init(onnxc_slots *slots, onnxc_graph *graph, onnxc_arena *arena);
/* The slot of a dim expression. One with a symbol that no run binds is our bug: *status says so. */
uint32_t onnxc_slot_of(onnxc_slots *slots, onnxc_dim dim, onnxc_status *status);
uint32_t onnxc_slot_const(onnxc_slots *slots, int64_t value);
uint32_t onnxc_slot_binary(onnxc_slots *slots, onnxc_rt_dim_op op, uint32_t a, uint32_t b);

/* ---- the workspace: memory.c ---- */

/* A tensor that needs a place: alive from stage `first` to stage `last`. */
typedef struct onnxc_life {
  uint32_t buffer; /* buffer slot */
  uint32_t first, last;
  int32_t segment; /* in which its size is known */
  onnxc_dim size;  /* bytes */
  uint32_t slot;   /* out: workspace slot */
} onnxc_life;

/* Gives each life a workspace slot. All sizes constant: fixed offsets, *total bytes in all; else *total = -1 and
 * a slot's size is the largest of its tensors, whose lifetimes are disjoint. */
/* The most bytes that live at one stage, each size rounded up to a multiple of `align`: no plan goes below. -1 unless
 * all sizes are constant. */
int64_t onnxc_largest_live_set(const onnxc_graph *graph, const onnxc_life *lives, uint32_t num_lives, int64_t align);
onnxc_rt_slot *onnxc_plan_memory(onnxc_slots *slots, onnxc_life *lives, uint32_t num_lives, uint32_t *num_slots,
                                 int64_t *total, onnxc_status *status);

#endif
