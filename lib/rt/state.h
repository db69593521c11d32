/* state.h -- one run while it is planned and done; between the files of the run-time.
 *
 * Compiled twice: into libonnxc for the JIT, and by clang to bitcode that is linked into every artefact. So all of it
 * is freestanding: no libc, no globals, no allocation, a bounded stack. The workspace holds everything that a run
 * needs:
 *
 *     dim values | buffer addresses | slot addresses | the stages' lists | slots of segment 0 | scratch x threads |
 *     queues | rest
 *
 * Slots of later segments take from the rest, then from run->allocate.
 *
 * Inputs are hostile. Arithmetic on dims is checked: what overflows becomes POISON, which goes through every
 * further operation and fails the segment in which it shows up. Every check of shapes comes before the first
 * address is computed.
 */
#ifndef ONNXC_RT_STATE_H
#define ONNXC_RT_STATE_H

#include "rt/program.h"

#include <stdbool.h>

enum { ONNXC_RT_ALIGN = 64 };

/* How many tasks of a thread's part are taken, but for its first step; in a cache line of its own. */
typedef struct onnxc_rt_queue {
  _Alignas(ONNXC_RT_ALIGN) int64_t taken;
} onnxc_rt_queue;

typedef struct onnxc_rt_state {
  const onnxc_rt_program *program;
  const unsigned char *weights;
  onnxc_run *run;
  int64_t *values;          /* of the dim slots */
  unsigned char **pointers; /* of the buffer slots */
  unsigned char **slots;    /* of the workspace slots */
  void **list_pointers;     /* program->buffer_lists, resolved */
  int64_t *list_values;     /* program->dim_lists, resolved */
  unsigned char *scratch;
  onnxc_rt_queue *queues[2]; /* one a thread; two sets, that one is set back while the other is in use */
  unsigned char *rest;       /* of the workspace */
  size_t rest_size;
  int threads;
  int status;
  onnxc_rt_watch watch; /* NULL: nobody */
  void *watch_arg;
} onnxc_rt_state;

/* ---- message.c: text into run->message ---- */

typedef struct onnxc_rt_text {
  char *data;
  size_t size, used;
} onnxc_rt_text;

onnxc_rt_text onnxc_rt_message(onnxc_run *run);                                   /* empty */
onnxc_rt_text onnxc_rt_about(onnxc_run *run, const char *kind, const char *name); /* "input 'x': " */
void onnxc_rt_put(onnxc_rt_text *text, const char *part);
void onnxc_rt_put_number(onnxc_rt_text *text, int64_t number);
void onnxc_rt_put_dtype(onnxc_rt_text *text, int32_t dtype);
int onnxc_rt_fail(onnxc_run *run, int status, const char *what); /* returns status */

/* ---- plan.c: dims, shapes, sizes ---- */

onnxc_rt_state onnxc_rt_start(const onnxc_rt_program *program, const void *weights, onnxc_run *run);
/* Checks the inputs, evaluates segment 0, shapes the outputs. */
int onnxc_rt_plan_shapes(onnxc_rt_state *state);
int onnxc_rt_evaluate_dims(onnxc_rt_state *state, int32_t segment);
int onnxc_rt_check_dims(onnxc_rt_state *state, int32_t segment);
/* Sets the dims of the outputs that are known by `segment`; -1 where a later one decides. */
int onnxc_rt_shape_outputs(onnxc_rt_state *state, int32_t segment);
/* Adds `count` items of `size` bytes, rounded up to ONNXC_RT_ALIGN; false on overflow. */
bool onnxc_rt_add_bytes(size_t *total, int64_t count, int64_t size);
/* Carves the tables out of the workspace (NULL: only counts); false on overflow. */
bool onnxc_rt_place_tables(onnxc_rt_state *state, unsigned char *base, size_t *used);
/* Bytes of the slots of one segment; false on overflow. */
bool onnxc_rt_slots_size(const onnxc_rt_state *state, int32_t segment, size_t *total);
int onnxc_rt_needed_workspace(onnxc_rt_state *state, size_t *needed);

#endif
