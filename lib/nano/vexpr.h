/* vexpr.h -- one operation of expr.def on LLVM values: scalars or fixed vectors of up to 256 lanes.
 *
 * In registers a bool is i1 (memory: i8 0/1), f16 is half, bf16 is bfloat, integers are iN without sign
 * (the dtype says which). f16 and bf16 arithmetic is done in f32 and rounded after each operation. exp, log, tanh, erf,
 * ... are polynomials in IR (vmath.c): no call to libm, no table in memory beyond constants.
 */
#ifndef ONNXC_NANO_VEXPR_H
#define ONNXC_NANO_VEXPR_H

#include "ir/expr.h"
#include "target/target.h"

#include <llvm-c/Core.h>

typedef struct onnxc_nano {
  LLVMContextRef context;
  LLVMModuleRef module;
  LLVMBuilderRef builder;
  const onnxc_target *target;
  bool flush_bf16; /* f32 to bf16 may take subnormals for zero, as dot products of bf16 do: it is one instruction */
} onnxc_nano;

/* Type of a dtype in registers / in memory; lanes 0 = scalar. NULL for dtypes without code (strings, complex,
 * sub-byte). */
LLVMTypeRef onnxc_nano_type(const onnxc_nano *nano, onnxc_dtype dtype, uint32_t lanes);
LLVMTypeRef onnxc_nano_memory_type(const onnxc_nano *nano, onnxc_dtype dtype, uint32_t lanes);
LLVMValueRef onnxc_nano_const(const onnxc_nano *nano, onnxc_dtype dtype, uint32_t lanes,
                              int64_t imm); /* imm as in CONST */
LLVMValueRef onnxc_nano_splat(const onnxc_nano *nano, LLVMValueRef scalar, uint32_t lanes);
/* Unary, binary and SELECT (args: condition, a, b); dtype is that of the arguments (SELECT: of a and b). */
LLVMValueRef onnxc_nano_op(const onnxc_nano *nano, onnxc_expr_op op, onnxc_dtype dtype, const LLVMValueRef *args);
LLVMValueRef onnxc_nano_cast(const onnxc_nano *nano, onnxc_dtype to, onnxc_dtype from, LLVMValueRef value);
/* a*b + c in one rounding for f32 and f64 (llvm.fma), mul and add for integers. */
LLVMValueRef onnxc_nano_fma(const onnxc_nano *nano, onnxc_dtype dtype, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c);
/* Register <-> memory representation (bool i1 <-> i8). */
LLVMValueRef onnxc_nano_from_memory(const onnxc_nano *nano, onnxc_dtype dtype, LLVMValueRef value);
LLVMValueRef onnxc_nano_to_memory(const onnxc_nano *nano, onnxc_dtype dtype, LLVMValueRef value);

#endif
