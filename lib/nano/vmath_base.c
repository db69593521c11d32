/* vmath_base.c -- constants, intrinsics and helper functions that the vector arithmetic is written with. */
#include "nano/vmath.h"

#include <stdio.h>
#include <string.h>

uint32_t onnxc_value_lanes(LLVMValueRef value) {
  LLVMTypeRef type = LLVMTypeOf(value);
  return LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetVectorSize(type) : 0;
}

LLVMTypeRef onnxc_vmath_vector(LLVMTypeRef scalar, uint32_t lanes) {
  return lanes ? LLVMVectorType(scalar, lanes) : scalar;
}

onnxc_vec onnxc_vec_of(const onnxc_nano *nano, bool wide, uint32_t lanes) {
  LLVMTypeRef f = wide ? LLVMDoubleTypeInContext(nano->context) : LLVMFloatTypeInContext(nano->context);
  LLVMTypeRef i = LLVMIntTypeInContext(nano->context, wide ? 64 : 32);
  return (onnxc_vec){.nano = nano,
                     .b = nano->builder,
                     .lanes = lanes,
                     .wide = wide,
                     .f = onnxc_vmath_vector(f, lanes),
                     .i = onnxc_vmath_vector(i, lanes)};
}

/* ---- constants ---- */

enum { MAX_LANES = 256 };

static LLVMValueRef splat_constant(LLVMTypeRef type, LLVMValueRef scalar) {
  if (LLVMGetTypeKind(type) != LLVMVectorTypeKind)
    return scalar;
  LLVMValueRef elements[MAX_LANES];
  uint32_t lanes = LLVMGetVectorSize(type);
  for (uint32_t k = 0; k < lanes && k < MAX_LANES; k++)
    elements[k] = scalar;
  return LLVMConstVector(elements, lanes);
}

static LLVMTypeRef scalar_type(LLVMTypeRef type) {
  return LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetElementType(type) : type;
}

LLVMValueRef onnxc_vmath_int(LLVMTypeRef type, int64_t value) {
  return splat_constant(type, LLVMConstInt(scalar_type(type), (unsigned long long)value, true));
}

LLVMValueRef onnxc_vmath_real(LLVMTypeRef type, double value) {
  return splat_constant(type, LLVMConstReal(scalar_type(type), value));
}

/* The one scalar of a constant, NULL if it is none or its lanes differ. */
static LLVMValueRef constant_scalar(LLVMValueRef value) {
  if (!LLVMIsConstant(value))
    return NULL;
  uint32_t lanes = onnxc_value_lanes(value);
  if (lanes == 0)
    return value;
  LLVMValueRef first = LLVMGetAggregateElement(value, 0);
  for (uint32_t k = 1; k < lanes; k++)
    if (LLVMGetAggregateElement(value, k) != first)
      return NULL;
  return first;
}

bool onnxc_vmath_const_real(LLVMValueRef value, double *number) {
  LLVMValueRef scalar = constant_scalar(value);
  if (!scalar || !LLVMIsAConstantFP(scalar))
    return false;
  LLVMBool inexact;
  *number = LLVMConstRealGetDouble(scalar, &inexact);
  return true;
}

bool onnxc_vmath_const_int(LLVMValueRef value, int64_t *number) {
  LLVMValueRef scalar = constant_scalar(value);
  if (!scalar || !LLVMIsAConstantInt(scalar) || LLVMGetIntTypeWidth(LLVMTypeOf(scalar)) > 64)
    return false;
  *number = LLVMConstIntGetSExtValue(scalar);
  return true;
}

/* ---- polynomials ---- */

LLVMValueRef onnxc_vmath_poly4(const onnxc_vec *v, LLVMValueRef x, LLVMValueRef square, const double *c, int n) {
  LLVMValueRef fourth = v_mul(v, square, square), sum = NULL;
  for (int at = (n - 1) / 4 * 4; at >= 0; at -= 4) {
    int left = n - at;
    LLVMValueRef block = v_real(v, c[at]);
    if (left > 1)
      block = v_fma(v, v_real(v, c[at + 1]), x, block);
    if (left > 2) {
      LLVMValueRef high = v_real(v, c[at + 2]);
      block = v_fma(v, left > 3 ? v_fma(v, v_real(v, c[at + 3]), x, high) : high, square, block);
    }
    sum = sum ? v_fma(v, sum, fourth, block) : block;
  }
  return sum;
}

/* ---- calls ---- */

LLVMValueRef onnxc_vmath_intrinsic(const onnxc_nano *nano, const char *name, LLVMTypeRef *types, uint32_t num_types,
                                   LLVMValueRef *args, uint32_t num_args) {
  unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
  LLVMValueRef function = LLVMGetIntrinsicDeclaration(nano->module, id, types, num_types);
  return LLVMBuildCall2(nano->builder, LLVMGlobalGetValueType(function), function, args, num_args, "");
}

/* The helper is compiled for what its first caller is compiled for; otherwise vectors would be passed differently. */
static void copy_target_attributes(LLVMValueRef to, LLVMValueRef from) {
  static const char *const names[] = {"target-cpu", "tune-cpu", "target-features", "prefer-vector-width",
                                      "min-legal-vector-width"};
  for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
    LLVMAttributeRef attribute = LLVMGetStringAttributeAtIndex(from, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                                                               names[k], (unsigned)strlen(names[k]));
    if (attribute)
      LLVMAddAttributeAtIndex(to, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, attribute);
  }
}

static void add_attribute(const onnxc_nano *nano, LLVMValueRef function, const char *name) {
  unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name)); /* value 0 of memory: none */
  LLVMAddAttributeAtIndex(function, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                          LLVMCreateEnumAttribute(nano->context, kind, 0));
}

LLVMValueRef onnxc_vmath_call(const onnxc_nano *nano, const char *name, LLVMTypeRef result, onnxc_vmath_body body,
                              const LLVMValueRef *args, uint32_t num_args) {
  LLVMTypeRef types[4];
  LLVMValueRef values[4];
  for (uint32_t k = 0; k < num_args; k++) {
    values[k] = args[k];
    types[k] = LLVMTypeOf(args[k]);
  }
  LLVMTypeRef type = LLVMFunctionType(result, types, num_args, false);
  char *suffix = LLVMPrintTypeToString(types[0]);
  char symbol[96];
  snprintf(symbol, sizeof symbol, "onnxc.%s.%s", name, suffix);
  LLVMDisposeMessage(suffix);
  for (char *c = symbol; *c; c++) /* "<16 x float>" would need quotes in assembly */
    if (*c == '<' || *c == '>' || *c == ' ')
      *c = '_';
  LLVMValueRef function = LLVMGetNamedFunction(nano->module, symbol);
  if (!function) {
    function = LLVMAddFunction(nano->module, symbol, type);
    LLVMSetLinkage(function, LLVMInternalLinkage);
    copy_target_attributes(function, LLVMGetBasicBlockParent(LLVMGetInsertBlock(nano->builder)));
    add_attribute(nano, function, "nounwind");
    add_attribute(nano, function, "willreturn");
    add_attribute(nano, function, "memory");
    onnxc_nano inner = *nano;
    inner.builder = LLVMCreateBuilderInContext(nano->context);
    LLVMPositionBuilderAtEnd(inner.builder, LLVMAppendBasicBlockInContext(nano->context, function, "entry"));
    LLVMValueRef params[4];
    LLVMGetParams(function, params);
    LLVMBuildRet(inner.builder, body(&inner, params));
    LLVMDisposeBuilder(inner.builder);
  }
  return LLVMBuildCall2(nano->builder, type, function, values, num_args, "");
}

LLVMValueRef onnxc_vmath_any(const onnxc_nano *nano, LLVMValueRef condition) {
  if (onnxc_value_lanes(condition) == 0)
    return condition;
  LLVMTypeRef type = LLVMTypeOf(condition);
  return onnxc_vmath_intrinsic(nano, "llvm.vector.reduce.or", &type, 1, &condition, 1);
}
