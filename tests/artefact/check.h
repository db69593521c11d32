/* check.h -- a compiled model against the data sets that come with it; for a model that is linked and for one that is
 * loaded. */
#ifndef ONNXC_TESTS_ARTEFACT_CHECK_H
#define ONNXC_TESTS_ARTEFACT_CHECK_H

#include "onnxc/runtime.h"

/* The five functions of any compiled model. */
typedef struct model_functions {
  int (*open)(const void **model, const char *weights_path, char *message, size_t message_size);
  void (*close)(const void *model);
  const onnxc_model_info *(*describe)(void);
  int (*plan)(const void *model, onnxc_run *run);
  int (*run)(const void *model, onnxc_run *run);
} model_functions;

/* [--weights FILE] [--write-npy DIR] FOLDER | [...] --ramp OUTPUT.pb
 * FOLDER holds test_data_set_N. --ramp: the input is 0, 1/n, 2/n, ..., as ONNX's own runner feeds it. --write-npy: the
 * inputs of the first set, as DIR/input_K.npy. Returns the exit status and prints one line. */
int check_model(const model_functions *functions, int argc, char **argv);

/* pool.c: onnxc_run.parallel_for on threads of its own; pool points to their number, an int. */
void pool_parallel_for(void *pool, int64_t tasks, void (*body)(void *arg, int64_t task, int thread), void *arg);

#endif
