/* compose_dot.c -- a step of kr elements: dot products of 32 bits of A with 32 bits of B in each lane.
 *
 * A's elements of a row are one 32-bit load that is splat, B's of all lanes one vector (VNNI layout). Where the CPU has
 * an instruction for the types, a step is one of it for each row and vector. Elsewhere both factors are taken
 * apart into two parts that a simpler instruction multiplies exactly:
 *
 *   bf16  the low and the high element as f32 (bits << 16, bits & 0xffff0000), one fma each
 *   int8  the even and the odd bytes as i16, pairs multiplied and added by vpmaddwd (vpmaddubsw would saturate)
 *
 * vdpbf16ps takes subnormal numbers for zero, the two fmas do not.
 */
#include "nano/compose_internal.h"

typedef enum mechanism { WHOLE_BF16, WHOLE_INT8, PARTS_BF16, PARTS_INT8 } mechanism;

typedef struct dot {
  mechanism mechanism;
  bool a_signed, b_signed; /* of bytes */
} dot;

static dot choose(const compose *c) {
  uint32_t features = c->gen->program->target->features;
  bool a_signed = onnxc_exprs_node(c->exprs, c->dot.a)->dtype == ONNXC_I8;
  if (onnxc_exprs_node(c->exprs, c->dot.a)->dtype == ONNXC_BF16)
    return (dot){.mechanism = features & ONNXC_FEATURE_BF16 ? WHOLE_BF16 : PARTS_BF16};
  bool whole = features & (ONNXC_FEATURE_VNNI | ONNXC_FEATURE_AVXVNNI);
  return (dot){whole ? WHOLE_INT8 : PARTS_INT8, a_signed, !a_signed};
}

/* ---- instructions: a register at a time ---- */

typedef struct instruction {
  const char *of_register[3]; /* intrinsics for 128, 256, 512 bits */
  uint32_t bits;              /* of an argument's element */
  bool bfloat;
  uint32_t num_args; /* 3: the accumulator comes first */
} instruction;

static const instruction dpbf16 = {.of_register = {"llvm.x86.avx512bf16.dpbf16ps.128",
                                                   "llvm.x86.avx512bf16.dpbf16ps.256",
                                                   "llvm.x86.avx512bf16.dpbf16ps.512"},
                                   .bits = 16,
                                   .bfloat = true,
                                   .num_args = 3};
static const instruction dpbusd = {
    .of_register = {"llvm.x86.avx512.vpdpbusd.128", "llvm.x86.avx512.vpdpbusd.256", "llvm.x86.avx512.vpdpbusd.512"},
    .bits = 32,
    .num_args = 3};
static const instruction maddwd = {
    .of_register = {"llvm.x86.sse2.pmadd.wd", "llvm.x86.avx2.pmadd.wd", "llvm.x86.avx512.pmaddw.d.512"},
    .bits = 16,
    .num_args = 2};

/* Lanes from..from+count-1 of a vector with `each` elements a lane. */
static LLVMValueRef lanes_of(const compose *c, LLVMValueRef v, uint32_t from, uint32_t count, uint32_t each) {
  if (count == c->lanes)
    return v;
  LLVMTypeRef types[2] = {LLVMVectorType(LLVMGetElementType(LLVMTypeOf(v)), count * each), LLVMTypeOf(v)};
  LLVMValueRef args[2] = {v, onnxc_gen_const(c->gen, (int64_t)from * each)};
  return onnxc_gen_intrinsic(c->gen, "llvm.vector.extract", 2, types, 2, args);
}

/* acc (or NULL), a and b hold `lanes` times 32 bits; so does the result, of acc's type or i32. */
static LLVMValueRef apply(const compose *c, const instruction *what, LLVMValueRef acc, LLVMValueRef a, LLVMValueRef b) {
  const onnxc_gen *gen = c->gen;
  LLVMBuilderRef builder = gen->nano.builder;
  LLVMContextRef context = gen->nano.context;
  uint32_t most = gen->program->target->features & ONNXC_FEATURE_AVX512 ? 16 : 8, each = 32 / what->bits;
  uint32_t width = c->lanes < most ? c->lanes : most;
  LLVMTypeRef element = what->bfloat ? LLVMBFloatTypeInContext(context) : LLVMIntTypeInContext(context, what->bits);
  LLVMTypeRef type = LLVMVectorType(element, c->lanes * each);
  LLVMValueRef args[3] = {acc, LLVMBuildBitCast(builder, a, type, ""), LLVMBuildBitCast(builder, b, type, "")};
  LLVMTypeRef result_type = acc ? LLVMTypeOf(acc) : LLVMVectorType(gen->i32, c->lanes);
  LLVMValueRef result = LLVMGetPoison(result_type);
  for (uint32_t from = 0; from < c->lanes; from += width) {
    LLVMValueRef parts[3];
    for (uint32_t k = 3 - what->num_args; k < 3; k++)
      parts[k] = lanes_of(c, args[k], from, width, k ? each : 1);
    const char *name = what->of_register[width == 16 ? 2 : width == 8 ? 1 : 0];
    LLVMValueRef part = onnxc_gen_intrinsic(gen, name, 0, NULL, what->num_args, parts + 3 - what->num_args);
    if (width == c->lanes)
      return part;
    LLVMTypeRef types[2] = {result_type, LLVMTypeOf(part)};
    result = onnxc_gen_intrinsic(gen, "llvm.vector.insert", 2, types, 3,
                                 (LLVMValueRef[]){result, part, onnxc_gen_const(gen, from)});
  }
  return result;
}

/* ---- parts ---- */

static LLVMValueRef constant(LLVMTypeRef vector, uint32_t value) {
  LLVMValueRef lanes[2 * 64];
  uint32_t count = LLVMGetVectorSize(vector);
  for (uint32_t k = 0; k < count; k++)
    lanes[k] = LLVMConstInt(LLVMGetElementType(vector), value, false);
  return LLVMConstVector(lanes, count);
}

/* words: a vector of i32. The low (part 0) or high bf16 as f32, or the even or odd bytes as i16. */
static LLVMValueRef part_of(const compose *c, const dot *d, LLVMValueRef words, uint32_t part, bool is_signed) {
  LLVMBuilderRef b = c->gen->nano.builder;
  LLVMTypeRef type = LLVMTypeOf(words);
  if (d->mechanism == WHOLE_BF16 || d->mechanism == WHOLE_INT8)
    return words;
  if (d->mechanism == PARTS_BF16) {
    LLVMValueRef bits =
        part ? LLVMBuildAnd(b, words, constant(type, 0xffff0000), "") : LLVMBuildShl(b, words, constant(type, 16), "");
    return LLVMBuildBitCast(b, bits, LLVMVectorType(LLVMFloatTypeInContext(c->gen->nano.context), c->lanes), "");
  }
  type = LLVMVectorType(LLVMInt16TypeInContext(c->gen->nano.context), 2 * c->lanes);
  LLVMValueRef bytes = LLVMBuildBitCast(b, words, type, ""), eight = constant(type, 8);
  if (!is_signed)
    return part ? LLVMBuildLShr(b, bytes, eight, "") : LLVMBuildAnd(b, bytes, constant(type, 0xff), "");
  return LLVMBuildAShr(b, part ? bytes : LLVMBuildShl(b, bytes, eight, ""), eight, "");
}

/* The broadcast factor comes last where the order is free: there its load can be folded. */
static LLVMValueRef accumulate(const compose *c, const dot *d, LLVMValueRef acc, LLVMValueRef a, LLVMValueRef b) {
  switch (d->mechanism) {
  case WHOLE_BF16: return apply(c, &dpbf16, acc, b, a);
  case WHOLE_INT8: return d->a_signed ? apply(c, &dpbusd, acc, b, a) : apply(c, &dpbusd, acc, a, b);
  case PARTS_BF16: return onnxc_nano_fma(&c->gen->nano, ONNXC_F32, b, a, acc);
  default: return LLVMBuildAdd(c->gen->nano.builder, acc, apply(c, &maddwd, NULL, b, a), "");
  }
}

void onnxc_compose_dot(compose *c) {
  dot d = choose(c);
  uint32_t parts = d.mechanism == WHOLE_BF16 || d.mechanism == WHOLE_INT8 ? 1 : 2;
  const node *load_a = onnxc_compose_node(c, c->dot.a), *load_b = onnxc_compose_node(c, c->dot.b);
  LLVMValueRef *b = ONNXC_NEW_ARRAY(c->gen->arena, LLVMValueRef, (size_t)2 * c->tile_vecs);
  for (uint32_t vec = 0; vec < c->tile_vecs; vec++) {
    LLVMValueRef words = onnxc_compose_load_words(c, load_b, 0, vec);
    for (uint32_t part = 0; part < parts; part++)
      b[vec * parts + part] = part_of(c, &d, words, part, d.b_signed);
  }
  for (uint32_t row = 0; row < c->tile_rows; row++) {
    LLVMValueRef words = onnxc_compose_splat(c, onnxc_compose_load_words(c, load_a, row, 0));
    for (uint32_t part = 0; part < parts; part++) {
      LLVMValueRef a = part_of(c, &d, words, part, d.a_signed);
      for (uint32_t vec = 0; vec < c->tile_vecs; vec++) {
        LLVMValueRef *acc = &c->acc[row * c->acc_vecs + vec];
        *acc = accumulate(c, &d, *acc, a, b[vec * parts + part]);
      }
    }
  }
}
