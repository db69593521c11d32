/* runtime.h -- the ABI of a compiled model, just-in-time or ahead of time.
 *
 * A compiled model is immutable: any number of threads may plan and run it at
 * once, each with an onnxc_run of its own. There is no global state, no I/O and
 * no allocation in a run, unless sizes depend on data (see `allocate`).
 *
 *     onnxc_run run = {.inputs = in, .outputs = out};
 *     in[0].data = pixels; in[0].rank = 4; in[0].dims[0] = 1; ...
 *     NAME_plan(model, &run);            // checks shapes; fills out[].dims and workspace_size
 *     out[0].data = ...; run.workspace = aligned_alloc(64, run.workspace_size);
 *     NAME_run(model, &run);
 *
 * The structs keep their layout as long as ONNXC_ABI_VERSION stays: what a run can ask for grows through
 * onnxc_run.reserved, what a model tells about itself through new flags and at the end of onnxc_model_info, which
 * callers only see by address.
 */
#ifndef ONNXC_RUNTIME_H
#define ONNXC_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#include "onnxc/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { ONNXC_MAX_RANK = 8, ONNXC_ABI_VERSION = 1 };

/* A dense row-major tensor. dtype is ONNX's TensorProto.DataType (1 = float32, 7 = int64, ...); bool takes a
 * byte, sub-byte types one byte an element. */
typedef struct onnxc_tensor {
  void *data;
  int32_t dtype;
  int32_t rank;
  int64_t dims[ONNXC_MAX_RANK];
} onnxc_tensor;

/* What a model's input or output is. dims holds -1 where it is known only when planned or run. */
typedef struct onnxc_tensor_info {
  const char *name;
  int32_t dtype;
  int32_t rank;
  const int64_t *dims;
  const char *const *dim_names; /* rank names; NULL where the dim is a number */
  uint32_t flags;               /* ONNXC_TENSOR_... */
  int32_t alias;                /* outputs: the input whose memory it may share, or -1 */
} onnxc_tensor_info;

enum {
  /* Input: shapes depend on its contents, so NAME_plan reads its data too. */
  ONNXC_TENSOR_SHAPES = 1,
  /* Output: its shape is known only after the run (it depends on data). */
  ONNXC_TENSOR_DYNAMIC = 2
};

/* Runs body(arg, task, thread) for task = 0..tasks-1, any order, any threads, and returns when all
 * are done; thread < num_threads of the run, and no two bodies of one thread number at once. */
typedef void (*onnxc_parallel_for)(void *pool, int64_t tasks, void (*body)(void *arg, int64_t task, int thread),
                                   void *arg);
/* Memory for sizes that depend on data, 64-byte aligned; tag: 0 workspace, 1+k output k. NULL = no memory. Each call
 * gives new memory, which the caller frees: the workspace's after the run. */
typedef void *(*onnxc_allocate)(void *arg, size_t size, int tag);

/* One run; the caller's, zero-initialised. */
typedef struct onnxc_run {
  onnxc_tensor *inputs;  /* in: num_inputs of the model; data, dtype, rank, dims */
  onnxc_tensor *outputs; /* num_outputs; plan sets dtype, rank and dims (-1: known only after the run); data is
                            the caller's, large enough; or NULL where the output is ONNXC_TENSOR_DYNAMIC */
  void *workspace;       /* in for run: workspace_size bytes, 64-byte aligned */
  size_t workspace_size; /* out of plan (for num_threads), in for run */
  int num_threads;       /* at most; 0 or 1: the calling thread alone. What is small uses fewer */
  onnxc_parallel_for parallel_for; /* NULL: the model's own driver (OpenMP if it was compiled with one) */
  void *pool;
  onnxc_allocate allocate; /* needed only when an output is ONNXC_TENSOR_DYNAMIC */
  void *allocate_arg;
  uint64_t reserved[8]; /* zero: what later versions let a run ask for; a model refuses what it does not know */
  char message[256];    /* out: what went wrong */
} onnxc_run;

typedef struct onnxc_model_info {
  int32_t abi_version;
  int32_t num_inputs, num_outputs;
  const onnxc_tensor_info *inputs, *outputs;
  const char *name;
  const char *target;  /* "x86_64 znver5 avx512f,..." */
  size_t weights_size; /* bytes */
  int32_t num_stages;  /* compiled groups */
} onnxc_model_info;

#ifdef __cplusplus
}
#endif

#endif
