/* convert.c -- types, constants and casts of vector values.
 *
 * bf16 is converted by integer operations: the hardware's conversion flushes subnormals, so it is for those who allow
 * that (flush_bf16), and LLVM calls a library function where there is none. Values of more than 24 bits reach f16 and
 * bf16 through an f32 that is rounded to odd (the last bit says whether anything was lost), so that the second rounding
 * sees a tie only where there is one.
 */
#include "nano/vmath.h"

#include <math.h>
#include <string.h>

static LLVMTypeRef scalar_type(const onnxc_nano *nano, onnxc_dtype dtype) {
  LLVMContextRef c = nano->context;
  switch (dtype) {
  case ONNXC_F32: return LLVMFloatTypeInContext(c);
  case ONNXC_F64: return LLVMDoubleTypeInContext(c);
  case ONNXC_F16: return LLVMHalfTypeInContext(c);
  case ONNXC_BF16: return LLVMBFloatTypeInContext(c);
  case ONNXC_BOOL: return LLVMInt1TypeInContext(c);
  case ONNXC_I8:
  case ONNXC_U8: return LLVMInt8TypeInContext(c);
  case ONNXC_I16:
  case ONNXC_U16: return LLVMInt16TypeInContext(c);
  case ONNXC_I32:
  case ONNXC_U32: return LLVMInt32TypeInContext(c);
  case ONNXC_I64:
  case ONNXC_U64: return LLVMInt64TypeInContext(c);
  default: return NULL;
  }
}

LLVMTypeRef onnxc_nano_type(const onnxc_nano *nano, onnxc_dtype dtype, uint32_t lanes) {
  LLVMTypeRef type = scalar_type(nano, dtype);
  return type ? onnxc_vmath_vector(type, lanes) : NULL;
}

LLVMTypeRef onnxc_nano_memory_type(const onnxc_nano *nano, onnxc_dtype dtype, uint32_t lanes) {
  return onnxc_nano_type(nano, dtype == ONNXC_BOOL ? ONNXC_U8 : dtype, lanes);
}

LLVMValueRef onnxc_nano_from_memory(const onnxc_nano *nano, onnxc_dtype dtype, LLVMValueRef value) {
  if (dtype != ONNXC_BOOL)
    return value;
  return LLVMBuildICmp(nano->builder, LLVMIntNE, value, onnxc_vmath_int(LLVMTypeOf(value), 0), "");
}

LLVMValueRef onnxc_nano_to_memory(const onnxc_nano *nano, onnxc_dtype dtype, LLVMValueRef value) {
  if (dtype != ONNXC_BOOL)
    return value;
  return LLVMBuildZExt(nano->builder, value, onnxc_nano_type(nano, ONNXC_U8, onnxc_value_lanes(value)), "");
}

LLVMValueRef onnxc_nano_splat(const onnxc_nano *nano, LLVMValueRef scalar, uint32_t lanes) {
  if (lanes == 0)
    return scalar;
  LLVMTypeRef type = LLVMVectorType(LLVMTypeOf(scalar), lanes), i32 = LLVMInt32TypeInContext(nano->context);
  LLVMValueRef none = LLVMGetPoison(type);
  LLVMValueRef first = LLVMBuildInsertElement(nano->builder, none, scalar, LLVMConstInt(i32, 0, false), "");
  return LLVMBuildShuffleVector(nano->builder, first, none, LLVMConstNull(LLVMVectorType(i32, lanes)), "");
}

/* Bits of a two-byte float, so that no constant depends on how LLVM rounds. */
static LLVMValueRef constant_of_code(const onnxc_nano *nano, onnxc_dtype dtype, uint32_t lanes, double value) {
  uint16_t code;
  onnxc_scalar_from_f64(dtype, &code, value);
  LLVMValueRef bits = onnxc_vmath_int(onnxc_nano_type(nano, ONNXC_U16, lanes), code);
  return LLVMConstBitCast(bits, onnxc_nano_type(nano, dtype, lanes));
}

LLVMValueRef onnxc_nano_const(const onnxc_nano *nano, onnxc_dtype dtype, uint32_t lanes, int64_t imm) {
  LLVMTypeRef type = onnxc_nano_type(nano, dtype, lanes);
  if (dtype == ONNXC_BOOL)
    return onnxc_vmath_int(type, imm != 0);
  if (!onnxc_dtype_is_float(dtype))
    return onnxc_vmath_int(type, imm);
  double value;
  memcpy(&value, &imm, sizeof value);
  if (dtype == ONNXC_F16 || dtype == ONNXC_BF16)
    return constant_of_code(nano, dtype, lanes, value);
  return onnxc_vmath_real(type, value);
}

/* ---- between floats ---- */

static LLVMValueRef bf16_to_f32(const onnxc_vec *v, LLVMValueRef x) {
  LLVMValueRef bits = LLVMBuildBitCast(v->b, x, onnxc_nano_type(v->nano, ONNXC_U16, v->lanes), "");
  return v_float(v, v_shl(v, LLVMBuildZExt(v->b, bits, v->i, ""), 16));
}

/* Round to nearest even: add 0x7fff and the last bit kept; a NaN only gets its quiet bit, lest it become infinity. */
static LLVMValueRef f32_to_bf16(const onnxc_vec *v, LLVMValueRef x) {
  if (v->nano->flush_bf16 && (v->nano->target->features & ONNXC_FEATURE_BF16) && (v->lanes == 16 || v->lanes == 8)) {
    const char *name = v->lanes == 16 ? "llvm.x86.avx512bf16.cvtneps2bf16.512" : "llvm.x86.avx512bf16.cvtneps2bf16.256";
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    LLVMValueRef function = LLVMGetIntrinsicDeclaration(v->nano->module, id, NULL, 0);
    return LLVMBuildCall2(v->b, LLVMGlobalGetValueType(function), function, &x, 1, "");
  }
  LLVMValueRef bits = v_bits(v, x);
  LLVMValueRef odd = v_and(v, v_srl(v, bits, 16), v_int(v, 1));
  LLVMValueRef rounded = v_iadd(v, v_iadd(v, bits, v_int(v, 0x7fff)), odd);
  LLVMValueRef quiet = v_or(v, bits, v_int(v, 0x400000));
  LLVMValueRef code = v_srl(v, v_select(v, v_cmp(v, LLVMRealUNO, x, x), quiet, rounded), 16);
  LLVMTypeRef half = onnxc_nano_type(v->nano, ONNXC_U16, v->lanes);
  return LLVMBuildBitCast(v->b, LLVMBuildTrunc(v->b, code, half, ""), onnxc_nano_type(v->nano, ONNXC_BF16, v->lanes),
                          "");
}

static LLVMValueRef f64_to_f32_odd(const onnxc_vec *v32, LLVMValueRef x) {
  onnxc_vec v64 = onnxc_vec_of(v32->nano, true, v32->lanes);
  LLVMValueRef near = LLVMBuildFPTrunc(v32->b, x, v32->f, ""), back = LLVMBuildFPExt(v32->b, near, v64.f, "");
  LLVMValueRef bits = v_bits(v32, near);
  LLVMValueRef even = v_icmp(v32, LLVMIntEQ, v_and(v32, bits, v_int(v32, 1)), v_int(v32, 0));
  LLVMValueRef up = v_cmp(v32, LLVMRealOGT, v_abs(&v64, x), v_abs(&v64, back));
  LLVMValueRef down = v_cmp(v32, LLVMRealOLT, v_abs(&v64, x), v_abs(&v64, back));
  /* A zero keeps x's sign in `near`, so the magnitude may be stepped in the bits. */
  LLVMValueRef step = v_select(v32, up, v_int(v32, 1), v_select(v32, down, v_int(v32, -1), v_int(v32, 0)));
  return v_float(v32, v_iadd(v32, bits, v_select(v32, even, step, v_int(v32, 0))));
}

static LLVMValueRef float_to_float(const onnxc_nano *nano, onnxc_dtype to, onnxc_dtype from, LLVMValueRef x) {
  onnxc_vec v = onnxc_vec_of(nano, false, onnxc_value_lanes(x));
  LLVMTypeRef type = onnxc_nano_type(nano, to, v.lanes);
  bool narrow = to == ONNXC_F16 || to == ONNXC_BF16;
  if (from == ONNXC_F64) {
    if (!narrow)
      return LLVMBuildFPTrunc(v.b, x, type, "");
    x = f64_to_f32_odd(&v, x);
  } else if (from == ONNXC_BF16) {
    x = bf16_to_f32(&v, x);
  } else if (from == ONNXC_F16) {
    x = LLVMBuildFPExt(v.b, x, v.f, "");
  }
  if (to == ONNXC_BF16)
    return f32_to_bf16(&v, x);
  if (to == ONNXC_F16)
    return LLVMBuildFPTrunc(v.b, x, type, "");
  return to == ONNXC_F64 ? LLVMBuildFPExt(v.b, x, type, "") : x;
}

/* ---- between floats and integers ---- */

static uint32_t bits_of(onnxc_dtype dtype) { return 8 * (uint32_t)onnxc_dtype_bytes(dtype); }

static LLVMValueRef int_to_float(const onnxc_nano *nano, onnxc_dtype to, onnxc_dtype from, LLVMValueRef x) {
  LLVMBuilderRef b = nano->builder;
  uint32_t lanes = onnxc_value_lanes(x);
  if (from == ONNXC_BOOL) {
    int64_t one = 0x3ff0000000000000;
    return onnxc_nano_op(
        nano, ONNXC_EXPR_SELECT, to,
        (LLVMValueRef[]){x, onnxc_nano_const(nano, to, lanes, one), onnxc_nano_const(nano, to, lanes, 0)});
  }
  /* What f32 cannot hold exactly is infinite in f16, so only bf16 needs the wider step. */
  onnxc_dtype via = to == ONNXC_F16 ? ONNXC_F32 : to != ONNXC_BF16 ? to : bits_of(from) <= 16 ? ONNXC_F32 : ONNXC_F64;
  LLVMTypeRef type = onnxc_nano_type(nano, via, lanes);
  /* Narrow integers are widened first: the signed 32-bit conversion is the one that every CPU has. */
  bool is_signed = onnxc_dtype_is_signed(from);
  if (bits_of(from) < 32) {
    LLVMTypeRef i32 = onnxc_nano_type(nano, ONNXC_I32, lanes);
    x = is_signed ? LLVMBuildSExt(b, x, i32, "") : LLVMBuildZExt(b, x, i32, "");
    is_signed = true;
  }
  LLVMValueRef f = is_signed ? LLVMBuildSIToFP(b, x, type, "") : LLVMBuildUIToFP(b, x, type, "");
  return via == to ? f : float_to_float(nano, to, via, f);
}

/* Is x a float y rounded to the nearest integer, perhaps plus a constant zero point of a byte? */
static bool match_rounded(LLVMValueRef x, LLVMValueRef *y, double *zero) {
  *zero = 0;
  if (LLVMIsAInstruction(x) && LLVMGetInstructionOpcode(x) == LLVMFAdd &&
      onnxc_vmath_const_real(LLVMGetOperand(x, 1), zero))
    x = LLVMGetOperand(x, 0);
  if (*zero != trunc(*zero) || fabs(*zero) > 255 || !LLVMIsACallInst(x) ||
      LLVMGetIntrinsicID(LLVMGetCalledValue(x)) != LLVMLookupIntrinsicID("llvm.roundeven", strlen("llvm.roundeven")))
    return false;
  *y = LLVMGetOperand(x, 0);
  return true;
}

/* saturate(round(y) + zero) as bytes: one conversion rounds (to even, whatever MXCSR says), and unsigned saturation
 * clamps above: numbers beyond 32 bits convert to 2^31. Below, y is clamped before, and NaN gives the least number.
 * Signed bytes are unsigned ones with another zero point, and the highest bit flipped. */
static LLVMValueRef rounded_to_byte(const onnxc_vec *v, bool is_signed, LLVMValueRef y, double zero) {
  enum { TO_NEAREST_QUIETLY = 8 };
  const char *name = "llvm.x86.avx512.mask.cvtps2dq.512";
  LLVMTypeRef i32 = LLVMInt32TypeInContext(v->nano->context);
  if (is_signed) {
    y = v_select(v, v_cmp(v, LLVMRealUNO, y, y), v_real(v, -zero), y);
    zero += 128;
  }
  LLVMValueRef least = v_real(v, -zero), from = v_select(v, v_cmp(v, LLVMRealOGT, y, least), y, least);
  LLVMValueRef args[] = {from, v_int(v, 0), LLVMConstAllOnes(LLVMInt16TypeInContext(v->nano->context)),
                         LLVMConstInt(i32, TO_NEAREST_QUIETLY, false)};
  LLVMValueRef function =
      LLVMGetIntrinsicDeclaration(v->nano->module, LLVMLookupIntrinsicID(name, strlen(name)), NULL, 0);
  LLVMValueRef whole = LLVMBuildCall2(v->b, LLVMGlobalGetValueType(function), function, args, 4, "");
  whole = v_iadd(v, whole, v_int(v, (int64_t)zero));
  whole = v_select(v, v_icmp(v, LLVMIntULT, whole, v_int(v, 255)), whole, v_int(v, 255));
  LLVMTypeRef bytes = onnxc_nano_type(v->nano, ONNXC_U8, v->lanes);
  LLVMValueRef byte = LLVMBuildTrunc(v->b, whole, bytes, "");
  return is_signed ? LLVMBuildXor(v->b, byte, onnxc_vmath_int(bytes, -128), "") : byte;
}

/* Truncates and saturates; NaN gives 0. Types below 32 bits (and i32, u32 from f64) are clamped as floats, where
 * both bounds are exact; for the others lanes out of range convert to an undefined value that is not selected. */
static LLVMValueRef float_to_int(const onnxc_nano *nano, onnxc_dtype to, onnxc_dtype from, LLVMValueRef x) {
  if (from == ONNXC_F16 || from == ONNXC_BF16) {
    x = float_to_float(nano, ONNXC_F32, from, x);
    from = ONNXC_F32;
  }
  onnxc_vec v = onnxc_vec_of(nano, from == ONNXC_F64, onnxc_value_lanes(x));
  LLVMBuilderRef b = nano->builder;
  if (to == ONNXC_BOOL)
    return v_cmp(&v, LLVMRealUNE, x, v_real(&v, 0));
  LLVMTypeRef type = onnxc_nano_type(nano, to, v.lanes);
  bool is_signed = onnxc_dtype_is_signed(to);
  uint32_t bits = bits_of(to);
  LLVMValueRef rounded;
  double zero;
  if (bits == 8 && from == ONNXC_F32 && v.lanes == 16 && nano->target->vector_bytes == 64 &&
      match_rounded(x, &rounded, &zero))
    return rounded_to_byte(&v, is_signed, rounded, zero);
  double power = is_signed ? (double)((uint64_t)1 << (bits - 1)) : 2.0 * (double)((uint64_t)1 << (bits - 1));
  LLVMValueRef nan = v_cmp(&v, LLVMRealUNO, x, x);
  if (bits < 32 || (bits == 32 && v.wide)) {
    LLVMTypeRef i32 = onnxc_nano_type(nano, ONNXC_I32, v.lanes);
    LLVMValueRef clamped = v_at_most(&v, v_at_least(&v, x, is_signed ? -power : 0), power - 1);
    clamped = v_select(&v, nan, v_real(&v, 0), clamped);
    LLVMValueRef whole = to == ONNXC_U32 ? LLVMBuildFPToUI(b, clamped, i32, "") : LLVMBuildFPToSI(b, clamped, i32, "");
    return bits < 32 ? LLVMBuildTrunc(b, whole, type, "") : whole;
  }
  LLVMValueRef lowest = onnxc_vmath_int(type, is_signed ? (int64_t)((uint64_t)1 << (bits - 1)) : 0);
  LLVMValueRef highest = onnxc_vmath_int(type, is_signed ? (int64_t)(((uint64_t)1 << (bits - 1)) - 1) : -1);
  LLVMValueRef whole = is_signed ? LLVMBuildFPToSI(b, x, type, "") : LLVMBuildFPToUI(b, x, type, "");
  whole = v_select(&v, v_cmp(&v, LLVMRealOGE, x, v_real(&v, power)), highest, whole);
  if (is_signed)
    whole = v_select(&v, v_cmp(&v, LLVMRealOLT, x, v_real(&v, -power)), lowest, whole);
  else
    whole = v_select(&v, v_cmp(&v, LLVMRealOLE, x, v_real(&v, 0)), lowest, whole);
  return v_select(&v, nan, onnxc_vmath_int(type, 0), whole);
}

static LLVMValueRef int_to_int(const onnxc_nano *nano, onnxc_dtype to, onnxc_dtype from, LLVMValueRef x) {
  LLVMBuilderRef b = nano->builder;
  LLVMTypeRef type = onnxc_nano_type(nano, to, onnxc_value_lanes(x));
  if (to == ONNXC_BOOL)
    return LLVMBuildICmp(b, LLVMIntNE, x, onnxc_vmath_int(LLVMTypeOf(x), 0), "");
  uint32_t have = from == ONNXC_BOOL ? 1 : bits_of(from), want = bits_of(to);
  if (have == want)
    return x;
  if (have > want)
    return LLVMBuildTrunc(b, x, type, "");
  return onnxc_dtype_is_signed(from) ? LLVMBuildSExt(b, x, type, "") : LLVMBuildZExt(b, x, type, "");
}

LLVMValueRef onnxc_nano_cast(const onnxc_nano *nano, onnxc_dtype to, onnxc_dtype from, LLVMValueRef value) {
  if (to == from)
    return value;
  if (onnxc_dtype_is_float(from))
    return onnxc_dtype_is_float(to) ? float_to_float(nano, to, from, value) : float_to_int(nano, to, from, value);
  return onnxc_dtype_is_float(to) ? int_to_float(nano, to, from, value) : int_to_int(nano, to, from, value);
}
