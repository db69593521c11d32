/* vmath_trig.c -- sin and cos.
 *
 * x = q pi/2 + r, |r| <= pi/4, by subtracting q times pi/2 in three parts, each by one FMA (r is exact but for its own
 * rounding; f32 is reduced in f64). Huge arguments, 2^28 and beyond, go one by one through an integer reduction of
 * Payne and Hanek's kind: the bits of 2/pi that matter, times the mantissa. sin and cos of r are
 * r + r^3 S(r^2) and 1 - r^2/2 + r^4 C(r^2); q chooses between them and the sign.
 */
#include "nano/vmath.h"

#include <math.h>

static const double pi_2[3] = {0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54, -0x1.f1976b7ed8fbcp-110};

/* 64 zero bits, then the binary digits of 2/pi. */
static const uint64_t two_over_pi[] = {0,
                                       0xa2f9836e4e441529,
                                       0xfc2757d1f534ddc0,
                                       0xdb6295993c439041,
                                       0xfe5163abdebbc561,
                                       0xb7246e3a424dd2e0,
                                       0x06492eea09d1921c,
                                       0xfe1deb1cb129a73e,
                                       0xe88235f52ebb4484,
                                       0xe99c7026b45f7e41,
                                       0x3991d639835339f4,
                                       0x9c845f8bbdf9283b,
                                       0x1ff897ffde05980f,
                                       0xef2f118b5a0a6d1f,
                                       0x6d367ecf27cb09b7,
                                       0x4f463f669e5fea2d,
                                       0x7527bac7ebe5f17b,
                                       0x3d0739f78a5292ea,
                                       0x6bfb5fb11f8d5d08,
                                       0x56033046fc7b6bab};

static LLVMValueRef digits_table(const onnxc_nano *nano) {
  LLVMValueRef table = LLVMGetNamedGlobal(nano->module, "onnxc.two_over_pi");
  if (table)
    return table;
  enum { WORDS = sizeof two_over_pi / sizeof *two_over_pi };
  LLVMTypeRef i64 = LLVMInt64TypeInContext(nano->context);
  LLVMValueRef words[WORDS];
  for (int k = 0; k < WORDS; k++)
    words[k] = LLVMConstInt(i64, two_over_pi[k], false);
  table = LLVMAddGlobal(nano->module, LLVMArrayType2(i64, WORDS), "onnxc.two_over_pi");
  LLVMSetInitializer(table, LLVMConstArray2(i64, words, WORDS));
  LLVMSetGlobalConstant(table, true);
  LLVMSetLinkage(table, LLVMPrivateLinkage);
  LLVMSetUnnamedAddress(table, LLVMGlobalUnnamedAddr);
  return table;
}

/* {r, q} of a finite x of size 2^28 or more. With |x| = m 2^e the digits of weight 2^(1-e) and below matter modulo 4:
 * 192 of them times m, kept modulo 2^192, are the quadrant in the two top bits and a fraction good to 2^-126. */
static LLVMValueRef reduce_huge(const onnxc_nano *nano, const LLVMValueRef *args) {
  LLVMBuilderRef b = nano->builder;
  LLVMTypeRef i64 = LLVMInt64TypeInContext(nano->context), i128 = LLVMIntTypeInContext(nano->context, 128);
  LLVMTypeRef f64 = LLVMDoubleTypeInContext(nano->context);
#define C64(x)  LLVMConstInt(i64, (x), false)
#define C128(x) LLVMConstInt(i128, (x), false)
  LLVMValueRef bits = LLVMBuildAnd(b, LLVMBuildBitCast(b, args[0], i64, ""), C64(INT64_MAX), "");
  LLVMValueRef mantissa = LLVMBuildOr(b, LLVMBuildAnd(b, bits, C64(0xfffffffffffff), ""), C64(0x10000000000000), "");
  /* e = biased - 1075; the first digit wanted stands at e - 2 (from 0) of 2/pi, 64 further in the table. Other
   * exponents (small lanes beside a huge one, infinity, NaN) would read outside: they are clamped, and the caller
   * overrules the result. */
  LLVMValueRef biased = LLVMBuildLShr(b, bits, C64(52), "");
  biased = LLVMBuildSelect(b, LLVMBuildICmp(b, LLVMIntUGT, biased, C64(2046), ""), C64(2046), biased, "");
  biased = LLVMBuildSelect(b, LLVMBuildICmp(b, LLVMIntULT, biased, C64(1051), ""), C64(1051), biased, "");
  LLVMValueRef at = LLVMBuildSub(b, biased, C64(1075 + 2 - 64), "");
  LLVMValueRef index = LLVMBuildLShr(b, at, C64(6), ""), shift = LLVMBuildAnd(b, at, C64(63), "");
  LLVMValueRef table = digits_table(nano), words[4], window[3];
  for (unsigned k = 0; k < 4; k++) {
    LLVMValueRef place = LLVMBuildAdd(b, index, C64(k), "");
    words[k] = LLVMBuildLoad2(b, i64, LLVMBuildInBoundsGEP2(b, i64, table, &place, 1, ""), "");
  }
  for (unsigned k = 0; k < 3; k++)
    window[k] = onnxc_vmath_intrinsic(nano, "llvm.fshl", &i64, 1, (LLVMValueRef[]){words[k], words[k + 1], shift}, 3);
  LLVMValueRef m = LLVMBuildZExt(b, mantissa, i128, "");
  LLVMValueRef low = LLVMBuildMul(b, m, LLVMBuildZExt(b, window[2], i128, ""), "");
  LLVMValueRef middle = LLVMBuildMul(b, m, LLVMBuildZExt(b, window[1], i128, ""), "");
  LLVMValueRef high = LLVMBuildShl(b, LLVMBuildMul(b, m, LLVMBuildZExt(b, window[0], i128, ""), ""), C128(64), "");
  LLVMValueRef product = LLVMBuildAdd(b, LLVMBuildAdd(b, high, middle, ""), LLVMBuildLShr(b, low, C128(64), ""), "");
  /* The nearest quadrant, and the signed rest in units of 2^-128 quadrants. */
  LLVMValueRef top = LLVMBuildTrunc(b, LLVMBuildLShr(b, product, C128(64), ""), i64, "");
  LLVMValueRef q = LLVMBuildLShr(b, LLVMBuildAdd(b, top, C64((uint64_t)1 << 61), ""), C64(62), "");
  LLVMValueRef rest = LLVMBuildShl(b, product, C128(2), "");
  LLVMValueRef negative = LLVMBuildICmp(b, LLVMIntSLT, rest, C128(0), "");
  LLVMValueRef size = LLVMBuildSelect(b, negative, LLVMBuildNeg(b, rest, ""), rest, "");
  LLVMValueRef zeros =
      onnxc_vmath_intrinsic(nano, "llvm.ctlz", &i128, 1,
                            (LLVMValueRef[]){size, LLVMConstInt(LLVMInt1TypeInContext(nano->context), 0, false)}, 2);
  /* size is never 0: no double is that close to a multiple of pi/2. */
  size = LLVMBuildShl(b, size, LLVMBuildAnd(b, zeros, C128(127), ""), "");
  LLVMValueRef leading = LLVMBuildTrunc(b, LLVMBuildLShr(b, size, C128(64), ""), i64, "");
  LLVMValueRef f = LLVMBuildUIToFP(b, LLVMBuildLShr(b, leading, C64(1), ""), f64, "");
  /* times 2^(-63 - zeros) pi/2 */
  LLVMValueRef exponent = LLVMBuildSub(b, C64(1023 - 63), LLVMBuildTrunc(b, zeros, i64, ""), "");
  LLVMValueRef power = LLVMBuildBitCast(b, LLVMBuildShl(b, exponent, C64(52), ""), f64, "");
  LLVMValueRef r = LLVMBuildFMul(b, LLVMBuildFMul(b, f, power, ""), LLVMConstReal(f64, pi_2[0]), "");
  LLVMValueRef below = LLVMBuildFCmp(b, LLVMRealOLT, args[0], LLVMConstReal(f64, 0), "");
  r = LLVMBuildSelect(b, LLVMBuildXor(b, negative, below, ""), LLVMBuildFNeg(b, r, ""), r, "");
  q = LLVMBuildSelect(b, below, LLVMBuildNeg(b, q, ""), q, "");
#undef C64
#undef C128
  LLVMTypeRef members[] = {f64, i64};
  LLVMValueRef pair = LLVMGetPoison(LLVMStructTypeInContext(nano->context, members, 2, false));
  pair = LLVMBuildInsertValue(b, pair, r, 0, "");
  return LLVMBuildInsertValue(b, pair, q, 1, "");
}

typedef struct quadrants {
  LLVMValueRef r, q; /* f64 and i64, of the vector's lanes */
} quadrants;

/* The lanes of x that are huge, one at a time. */
static quadrants replace_huge(const onnxc_vec *v, LLVMValueRef x, quadrants fast) {
  const onnxc_nano *nano = v->nano;
  LLVMTypeRef f64 = LLVMDoubleTypeInContext(nano->context), i64 = LLVMInt64TypeInContext(nano->context);
  LLVMTypeRef members[] = {f64, i64}, pair_type = LLVMStructTypeInContext(nano->context, members, 2, false);
  if (v->lanes == 0) {
    LLVMValueRef pair = onnxc_vmath_call(nano, "reduce_huge", pair_type, reduce_huge, &x, 1);
    return (quadrants){LLVMBuildExtractValue(v->b, pair, 0, ""), LLVMBuildExtractValue(v->b, pair, 1, "")};
  }
  LLVMBasicBlockRef before = LLVMGetInsertBlock(v->b);
  LLVMValueRef function = LLVMGetBasicBlockParent(before);
  LLVMBasicBlockRef loop = LLVMAppendBasicBlockInContext(nano->context, function, "lane");
  LLVMBasicBlockRef after = LLVMAppendBasicBlockInContext(nano->context, function, "lanes.done");
  LLVMBuildBr(v->b, loop);
  LLVMPositionBuilderAtEnd(v->b, loop);
  LLVMValueRef lane = LLVMBuildPhi(v->b, i64, ""), r = LLVMBuildPhi(v->b, v->f, ""), q = LLVMBuildPhi(v->b, v->i, "");
  LLVMValueRef one = LLVMBuildExtractElement(v->b, x, lane, "");
  LLVMValueRef pair = onnxc_vmath_call(nano, "reduce_huge", pair_type, reduce_huge, &one, 1);
  LLVMValueRef next_r = LLVMBuildInsertElement(v->b, r, LLVMBuildExtractValue(v->b, pair, 0, ""), lane, "");
  LLVMValueRef next_q = LLVMBuildInsertElement(v->b, q, LLVMBuildExtractValue(v->b, pair, 1, ""), lane, "");
  LLVMValueRef next = LLVMBuildAdd(v->b, lane, LLVMConstInt(i64, 1, false), "");
  LLVMValueRef more = LLVMBuildICmp(v->b, LLVMIntULT, next, LLVMConstInt(i64, v->lanes, false), "");
  LLVMBasicBlockRef end = LLVMGetInsertBlock(v->b);
  LLVMBuildCondBr(v->b, more, loop, after);
  LLVMBasicBlockRef from[] = {before, end};
  LLVMAddIncoming(lane, (LLVMValueRef[]){LLVMConstInt(i64, 0, false), next}, from, 2);
  LLVMAddIncoming(r, (LLVMValueRef[]){fast.r, next_r}, from, 2);
  LLVMAddIncoming(q, (LLVMValueRef[]){fast.q, next_q}, from, 2);
  LLVMPositionBuilderAtEnd(v->b, after);
  LLVMValueRef huge = v_cmp(v, LLVMRealOGE, v_abs(v, x), v_real(v, 0x1p28));
  return (quadrants){v_select(v, huge, next_r, fast.r), v_select(v, huge, next_q, fast.q)};
}

static quadrants reduce(const onnxc_vec *v, LLVMValueRef x) {
  LLVMValueRef magic = v_real(v, 0x1.8p52);
  LLVMValueRef shifted = v_fma(v, x, v_real(v, 0x1.45f306dc9c883p-1), magic), n = v_sub(v, shifted, magic);
  quadrants fast = {x, v_bits(v, shifted)};
  for (int k = 0; k < 3; k++)
    fast.r = v_fma(v, n, v_real(v, -pi_2[k]), fast.r);
  /* The branch; NaN takes the fast way. */
  const onnxc_nano *nano = v->nano;
  LLVMValueRef huge = v_cmp(v, LLVMRealOGE, v_abs(v, x), v_real(v, 0x1p28));
  LLVMBasicBlockRef before = LLVMGetInsertBlock(v->b);
  LLVMValueRef function = LLVMGetBasicBlockParent(before);
  LLVMBasicBlockRef slow = LLVMAppendBasicBlockInContext(nano->context, function, "huge");
  LLVMBasicBlockRef join = LLVMAppendBasicBlockInContext(nano->context, function, "reduced");
  LLVMBuildCondBr(v->b, onnxc_vmath_any(nano, huge), slow, join);
  LLVMPositionBuilderAtEnd(v->b, slow);
  quadrants replaced = replace_huge(v, x, fast);
  LLVMBasicBlockRef slow_end = LLVMGetInsertBlock(v->b);
  LLVMBuildBr(v->b, join);
  LLVMPositionBuilderAtEnd(v->b, join);
  LLVMValueRef r = LLVMBuildPhi(v->b, v->f, ""), q = LLVMBuildPhi(v->b, v->i, "");
  LLVMBasicBlockRef from[] = {before, slow_end};
  LLVMAddIncoming(r, (LLVMValueRef[]){fast.r, replaced.r}, from, 2);
  LLVMAddIncoming(q, (LLVMValueRef[]){fast.q, replaced.q}, from, 2);
  return (quadrants){r, q};
}

static const double sin32[] = {-0x1.555546p-3, 0x1.110778p-7, -0x1.9953fep-13};
static const double cos32[] = {0x1.55554ap-5, -0x1.6c0c28p-10, 0x1.99e80cp-16};
static const double sin64[] = {-0x1.5555555555548p-3, 0x1.111111110f73p-7,   -0x1.a01a019be9217p-13,
                               0x1.71de35552b515p-19, -0x1.ae5e4b83e0dcp-26, 0x1.5d8b55926ba47p-33};
static const double cos64[] = {0x1.555555555554bp-5,   -0x1.6c16c16c15013p-10, 0x1.a01a019c8ed07p-16,
                               -0x1.27e4f7f1410d6p-22, 0x1.1ee9db8e2e45dp-29,  -0x1.8fa65e9040be9p-37};

/* sin of x + turn quarter turns */
static LLVMValueRef sine(const onnxc_nano *nano, LLVMValueRef x, int turn) {
  uint32_t lanes = onnxc_value_lanes(x);
  LLVMTypeRef element = lanes ? LLVMGetElementType(LLVMTypeOf(x)) : LLVMTypeOf(x);
  bool wide = LLVMGetTypeKind(element) == LLVMDoubleTypeKind;
  onnxc_vec shape = onnxc_vec_of(nano, wide, lanes), shape64 = onnxc_vec_of(nano, true, lanes);
  const onnxc_vec *v = &shape, *d = &shape64;
  quadrants at = reduce(d, wide ? x : LLVMBuildFPExt(v->b, x, d->f, ""));
  LLVMValueRef r = at.r, q = at.q;
  if (!wide) {
    r = LLVMBuildFPTrunc(v->b, r, v->f, "");
    q = LLVMBuildTrunc(v->b, q, v->i, "");
  }
  if (turn)
    q = v_iadd(v, q, v_int(v, turn));
  LLVMValueRef z = v_mul(v, r, r), one = v_real(v, 1);
  LLVMValueRef s = wide ? v_poly(v, z, sin64, 6) : v_poly(v, z, sin32, 3);
  LLVMValueRef c = wide ? v_poly(v, z, cos64, 6) : v_poly(v, z, cos32, 3);
  s = v_fma(v, s, v_mul(v, z, r), r);
  /* 1 - z/2 exactly as high + low, so that f64's cos keeps its last digit */
  LLVMValueRef half = v_mul(v, z, v_real(v, 0.5)), high = v_sub(v, one, half);
  LLVMValueRef low = v_sub(v, v_sub(v, one, high), half);
  c = v_add(v, high, v_fma(v, c, v_mul(v, z, z), low));
  LLVMValueRef odd = v_icmp(v, LLVMIntNE, v_and(v, q, v_int(v, 1)), v_int(v, 0));
  LLVMValueRef result = v_select(v, odd, c, s);
  int top = wide ? 62 : 30;
  LLVMValueRef sign = v_shl(v, v_and(v, q, v_int(v, 2)), top);
  result = v_float(v, LLVMBuildXor(v->b, v_bits(v, result), sign, ""));
  if (!turn) /* -0 */
    result = v_select(v, v_cmp(v, LLVMRealOEQ, x, v_real(v, 0)), x, result);
  LLVMValueRef finite = v_cmp(v, LLVMRealOLT, v_abs(v, x), v_real(v, INFINITY));
  return v_select(v, finite, result, v_real(v, NAN));
}

static LLVMValueRef sin_body(const onnxc_nano *nano, const LLVMValueRef *args) { return sine(nano, args[0], 0); }
static LLVMValueRef cos_body(const onnxc_nano *nano, const LLVMValueRef *args) { return sine(nano, args[0], 1); }

LLVMValueRef onnxc_vmath_sin(const onnxc_vec *v, LLVMValueRef x) {
  return onnxc_vmath_call(v->nano, "sin", v->f, sin_body, &x, 1);
}

LLVMValueRef onnxc_vmath_cos(const onnxc_vec *v, LLVMValueRef x) {
  return onnxc_vmath_call(v->nano, "cos", v->f, cos_body, &x, 1);
}
