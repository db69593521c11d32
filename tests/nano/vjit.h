/* vjit.h -- runs vexpr's functions: kernels over arrays, compiled for one target of the table. */
#ifndef ONNXC_TESTS_VJIT_H
#define ONNXC_TESTS_VJIT_H

#include "nano/vexpr.h"

typedef struct vjit vjit;

/* args: num_args arrays in the memory format of their dtypes; runs over vectors * max(lanes, 1) elements. */
typedef void (*vjit_kernel)(const void *const *args, void *out, int64_t vectors);

/* One kernel: what is computed from the arguments (in register form). */
typedef struct vjit_spec {
  uint32_t num_args;
  onnxc_dtype args[3], result;
  uint32_t lanes;
  LLVMValueRef (*build)(const onnxc_nano *nano, const void *arg, const LLVMValueRef *args);
  const void *arg;
} vjit_spec;

/* Compiles all kernels of a target in one module; NULL (and a message on stderr) when LLVM refuses. */
vjit *vjit_compile(const onnxc_target *target, const vjit_spec *specs, uint32_t count);
vjit_kernel vjit_get(vjit *jit, uint32_t which);
void vjit_free(vjit *jit);

/* The targets to test: rows of both vector lengths that run on this host. */
uint32_t vjit_targets(const onnxc_target **targets); /* at most 2 */

#endif
