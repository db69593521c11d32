/* gen_dim.c -- dim expressions as LLVM values, each in the hoist block of the level where it changes. See gen.h. */
#include "nano/gen.h"

LLVMValueRef onnxc_gen_const(const onnxc_gen *gen, int64_t value) {
  return LLVMConstInt(gen->i64, (unsigned long long)value, true);
}

static LLVMValueRef like(const onnxc_gen *gen, LLVMValueRef model, int64_t value) {
  LLVMTypeRef type = LLVMTypeOf(model);
  LLVMValueRef scalar = onnxc_gen_const(gen, value);
  return LLVMGetTypeKind(type) == LLVMVectorTypeKind ? onnxc_nano_splat(&gen->nano, scalar, LLVMGetVectorSize(type))
                                                     : scalar;
}

LLVMValueRef onnxc_gen_iota(const onnxc_gen *gen, LLVMTypeRef element, uint32_t lanes, int64_t step) {
  LLVMValueRef *values = ONNXC_NEW_ARRAY(gen->arena, LLVMValueRef, lanes);
  for (uint32_t i = 0; i < lanes; i++)
    values[i] = LLVMConstInt(element, i * (uint64_t)step, true);
  return LLVMConstVector(values, lanes);
}

/* The constant that a scalar or splat divisor is, if it is a positive one. */
static bool positive_constant(LLVMValueRef value, int64_t *constant) {
  if (LLVMIsAConstantInt(value)) {
    *constant = LLVMConstIntGetSExtValue(value);
    return *constant > 0;
  }
  return false;
}

typedef struct divided {
  LLVMValueRef quotient, remainder;
} divided;

/* Vectors divide by a scalar, which is what dims have below the bar in nearly every case. */
static divided divide(onnxc_gen *gen, LLVMValueRef a, LLVMValueRef b, bool nonnegative) {
  LLVMBuilderRef builder = gen->nano.builder;
  LLVMTypeRef type = LLVMTypeOf(a);
  bool vector = LLVMGetTypeKind(type) == LLVMVectorTypeKind;
  int64_t constant;
  bool known = positive_constant(b, &constant);
  if (known && (constant & (constant - 1)) == 0) {
    int shift = 0;
    while ((INT64_C(1) << shift) < constant)
      shift++;
    return (divided){LLVMBuildAShr(builder, a, like(gen, a, shift), ""),
                     LLVMBuildAnd(builder, a, like(gen, a, constant - 1), "")};
  }
  LLVMValueRef zero = NULL;
  if (!known) {
    LLVMValueRef none = LLVMConstNull(LLVMTypeOf(b));
    zero = LLVMBuildICmp(builder, LLVMIntEQ, b, none, "");
    b = LLVMBuildSelect(builder, zero, like(gen, b, 1), b, "");
  }
  if (vector && LLVMGetTypeKind(LLVMTypeOf(b)) != LLVMVectorTypeKind)
    b = onnxc_nano_splat(&gen->nano, b, LLVMGetVectorSize(type));
  divided d;
  if (known && nonnegative) {
    d.quotient = LLVMBuildUDiv(builder, a, b, "");
    d.remainder = LLVMBuildSub(builder, a, LLVMBuildMul(builder, d.quotient, b, ""), "");
    return d;
  }
  LLVMValueRef q = LLVMBuildSDiv(builder, a, b, "");
  LLVMValueRef r = LLVMBuildSub(builder, a, LLVMBuildMul(builder, q, b, ""), "");
  LLVMValueRef nothing = LLVMConstNull(type);
  LLVMValueRef inexact = LLVMBuildICmp(builder, LLVMIntNE, r, nothing, "");
  LLVMValueRef apart = LLVMBuildICmp(builder, LLVMIntSLT, LLVMBuildXor(builder, r, b, ""), nothing, "");
  LLVMValueRef down = LLVMBuildAnd(builder, inexact, apart, "");
  d.quotient = LLVMBuildSelect(builder, down, LLVMBuildSub(builder, q, like(gen, q, 1), ""), q, "");
  d.remainder = LLVMBuildSelect(builder, down, LLVMBuildAdd(builder, r, b, ""), r, "");
  if (zero) {
    d.quotient = LLVMBuildSelect(builder, zero, nothing, d.quotient, "");
    d.remainder = LLVMBuildSelect(builder, zero, nothing, d.remainder, "");
  }
  return d;
}

LLVMValueRef onnxc_gen_floordiv(onnxc_gen *gen, LLVMValueRef a, LLVMValueRef b, bool nonnegative) {
  return divide(gen, a, b, nonnegative).quotient;
}

LLVMValueRef onnxc_gen_mod(onnxc_gen *gen, LLVMValueRef a, LLVMValueRef b, bool nonnegative) {
  return divide(gen, a, b, nonnegative).remainder;
}

static bool nonnegative(const onnxc_gen *gen, onnxc_dim dim) {
  int64_t low, high;
  onnxc_dim_range(gen->dims, dim, &low, &high);
  return low >= 0;
}

static LLVMValueRef binary(onnxc_gen *gen, onnxc_dim_kind kind, onnxc_dim left, LLVMValueRef a, LLVMValueRef b) {
  LLVMBuilderRef builder = gen->nano.builder;
  LLVMTypeRef type = LLVMTypeOf(a);
  switch (kind) {
  case ONNXC_DIM_PRODUCT: return LLVMBuildMul(builder, a, b, "");
  case ONNXC_DIM_FLOORDIV: return onnxc_gen_floordiv(gen, a, b, nonnegative(gen, left));
  case ONNXC_DIM_MOD: return onnxc_gen_mod(gen, a, b, nonnegative(gen, left));
  case ONNXC_DIM_MIN: return onnxc_gen_intrinsic(gen, "llvm.smin", 1, &type, 2, (LLVMValueRef[]){a, b});
  case ONNXC_DIM_MAX: return onnxc_gen_intrinsic(gen, "llvm.smax", 1, &type, 2, (LLVMValueRef[]){a, b});
  case ONNXC_DIM_EQ: return LLVMBuildZExt(builder, LLVMBuildICmp(builder, LLVMIntEQ, a, b, ""), type, "");
  default: return LLVMGetUndef(type);
  }
}

static uint32_t level_of(onnxc_gen *gen, onnxc_dim dim) {
  const onnxc_dim_node *node = onnxc_dims_node(gen->dims, dim);
  switch (node->kind) {
  case ONNXC_DIM_CONST: return 0;
  case ONNXC_DIM_SYM:
    if (node->sym.i >= gen->symbols.length || !gen->symbols.data[node->sym.i].value) {
      onnxc_gen_error(gen, ONNXC_INTERNAL, "a symbol is used outside its loop");
      return 0;
    }
    return gen->symbols.data[node->sym.i].level;
  case ONNXC_DIM_SUM: {
    uint32_t level = 0;
    for (uint32_t i = 0; i < node->num_terms; i++) {
      uint32_t l = level_of(gen, node->terms[i].atom);
      level = l > level ? l : level;
    }
    return level;
  }
  default: {
    uint32_t a = level_of(gen, node->a), b = level_of(gen, node->b);
    return a > b ? a : b;
  }
  }
}

/* Where hoisted code of a level goes; returns the block to come back to. */
static LLVMBasicBlockRef go_to_level(onnxc_gen *gen, uint32_t level) {
  LLVMBasicBlockRef here = LLVMGetInsertBlock(gen->nano.builder);
  LLVMPositionBuilderBefore(gen->nano.builder, LLVMGetBasicBlockTerminator(gen->levels[level].hoist));
  return here;
}

static LLVMValueRef add_term(onnxc_gen *gen, LLVMValueRef sum, int64_t coefficient, LLVMValueRef atom) {
  LLVMBuilderRef b = gen->nano.builder;
  LLVMValueRef term = coefficient == 1 ? atom : LLVMBuildMul(b, atom, like(gen, atom, coefficient), "");
  return sum ? LLVMBuildAdd(b, sum, term, "") : term;
}

static LLVMValueRef emit_sum(onnxc_gen *gen, onnxc_dim dim, uint32_t level) {
  /* Handles, not pointers: emitting may add nodes to the pool. */
  uint32_t count = onnxc_dims_node(gen->dims, dim)->num_terms;
  onnxc_dim outer = onnxc_dim_const(gen->dims, onnxc_dims_node(gen->dims, dim)->constant);
  for (uint32_t i = 0; i < count; i++) {
    onnxc_dim_term term = onnxc_dims_node(gen->dims, dim)->terms[i];
    if (level_of(gen, term.atom) < level)
      outer = onnxc_dim_add(gen->dims, outer, onnxc_dim_mulc(gen->dims, term.atom, term.coefficient));
  }
  LLVMValueRef sum = onnxc_dim_is(gen->dims, outer, 0) ? NULL : onnxc_gen_dim(gen, outer);
  for (uint32_t i = 0; i < count; i++) {
    onnxc_dim_term term = onnxc_dims_node(gen->dims, dim)->terms[i];
    if (level_of(gen, term.atom) < level)
      continue;
    LLVMValueRef atom = onnxc_gen_dim(gen, term.atom);
    LLVMBasicBlockRef here = go_to_level(gen, level);
    sum = add_term(gen, sum, term.coefficient, atom);
    LLVMPositionBuilderAtEnd(gen->nano.builder, here);
  }
  return sum ? sum : onnxc_gen_const(gen, 0);
}

LLVMValueRef onnxc_gen_dim(onnxc_gen *gen, onnxc_dim dim) {
  int64_t constant;
  if (onnxc_dim_is_const(gen->dims, dim, &constant))
    return onnxc_gen_const(gen, constant);
  while (gen->values.length <= dim.i)
    ONNXC_PUSH(gen->arena, gen->values, NULL);
  if (gen->values.data[dim.i])
    return gen->values.data[dim.i];
  uint32_t level = level_of(gen, dim);
  if (gen->status != ONNXC_OK)
    return onnxc_gen_const(gen, 0);
  onnxc_dim_node node = *onnxc_dims_node(gen->dims, dim);
  LLVMValueRef value;
  if (node.kind == ONNXC_DIM_SYM)
    return gen->symbols.data[node.sym.i].value;
  if (node.kind == ONNXC_DIM_SUM) {
    value = emit_sum(gen, dim, level);
  } else {
    LLVMValueRef a = onnxc_gen_dim(gen, node.a), b = onnxc_gen_dim(gen, node.b);
    LLVMBasicBlockRef here = go_to_level(gen, level);
    value = binary(gen, node.kind, node.a, a, b);
    LLVMPositionBuilderAtEnd(gen->nano.builder, here);
  }
  while (gen->values.length <= dim.i)
    ONNXC_PUSH(gen->arena, gen->values, NULL);
  gen->values.data[dim.i] = value;
  ONNXC_PUSH(gen->arena, gen->levels[level].dims, dim.i);
  return value;
}

LLVMValueRef onnxc_gen_dim_lanes(onnxc_gen *gen, onnxc_dim dim, onnxc_sym lane, uint32_t lanes) {
  if (!onnxc_dim_uses(gen->dims, dim, lane))
    return onnxc_nano_splat(&gen->nano, onnxc_gen_dim(gen, dim), lanes);
  onnxc_dim_node node = *onnxc_dims_node(gen->dims, dim);
  if (node.kind == ONNXC_DIM_SYM)
    return onnxc_gen_iota(gen, gen->i64, lanes, 1);
  if (node.kind == ONNXC_DIM_SUM) {
    onnxc_dim uniform = onnxc_dim_const(gen->dims, node.constant);
    LLVMValueRef sum = NULL;
    for (uint32_t i = 0; i < node.num_terms; i++) {
      onnxc_dim_term term = onnxc_dims_node(gen->dims, dim)->terms[i];
      if (onnxc_dim_uses(gen->dims, term.atom, lane))
        sum = add_term(gen, sum, term.coefficient, onnxc_gen_dim_lanes(gen, term.atom, lane, lanes));
      else
        uniform = onnxc_dim_add(gen->dims, uniform, onnxc_dim_mulc(gen->dims, term.atom, term.coefficient));
    }
    return onnxc_dim_is(gen->dims, uniform, 0)
               ? sum
               : LLVMBuildAdd(gen->nano.builder, sum, onnxc_gen_dim_lanes(gen, uniform, lane, lanes), "");
  }
  LLVMValueRef a = onnxc_gen_dim_lanes(gen, node.a, lane, lanes);
  bool divides = node.kind == ONNXC_DIM_FLOORDIV || node.kind == ONNXC_DIM_MOD;
  LLVMValueRef b = divides && !onnxc_dim_uses(gen->dims, node.b, lane) ? onnxc_gen_dim(gen, node.b)
                                                                       : onnxc_gen_dim_lanes(gen, node.b, lane, lanes);
  if (divides && LLVMGetTypeKind(LLVMTypeOf(b)) != LLVMVectorTypeKind && !LLVMIsAConstantInt(b))
    b = onnxc_nano_splat(&gen->nano, b, lanes);
  return binary(gen, node.kind, node.a, a, b);
}

static int64_t gcd(int64_t a, int64_t b) {
  a = a < 0 ? -a : a;
  b = b < 0 ? -b : b;
  while (b) {
    int64_t r = a % b;
    a = b;
    b = r;
  }
  return a;
}

int64_t onnxc_gen_divisor(const onnxc_dims *dims, onnxc_dim dim) {
  const onnxc_dim_node *node = onnxc_dims_node(dims, dim);
  switch (node->kind) {
  case ONNXC_DIM_CONST: return node->constant == INT64_MIN ? 1 : gcd(node->constant, 0);
  case ONNXC_DIM_SYM: {
    int64_t divisor = dims->symbols.data[node->sym.i].divisor;
    return divisor > 1 ? divisor : 1;
  }
  case ONNXC_DIM_SUM: {
    int64_t all = node->constant == INT64_MIN ? 1 : gcd(node->constant, 0);
    for (uint32_t i = 0; i < node->num_terms; i++) {
      int64_t atom = onnxc_gen_divisor(dims, node->terms[i].atom), product;
      int64_t c = node->terms[i].coefficient;
      if (c == INT64_MIN || __builtin_mul_overflow(gcd(c, 0), atom, &product))
        product = 1;
      all = gcd(all, product);
    }
    return all;
  }
  case ONNXC_DIM_PRODUCT: {
    int64_t product;
    if (__builtin_mul_overflow(onnxc_gen_divisor(dims, node->a), onnxc_gen_divisor(dims, node->b), &product))
      return 1;
    return product;
  }
  case ONNXC_DIM_MIN:
  case ONNXC_DIM_MAX:
  case ONNXC_DIM_MOD: return gcd(onnxc_gen_divisor(dims, node->a), onnxc_gen_divisor(dims, node->b));
  case ONNXC_DIM_FLOORDIV: {
    int64_t by, divisor = onnxc_gen_divisor(dims, node->a);
    return onnxc_dim_is_const(dims, node->b, &by) && by > 0 && divisor % by == 0 ? divisor / by : 1;
  }
  default: return 1;
  }
}

onnxc_dim onnxc_gen_at(onnxc_gen *gen, onnxc_dim dim, onnxc_sym sym, int64_t value) {
  while (gen->map.length <= sym.i)
    ONNXC_PUSH(gen->arena, gen->map, (onnxc_dim){0});
  gen->map.data[sym.i] = onnxc_dim_const(gen->dims, value);
  onnxc_dim result = onnxc_dim_substitute(gen->dims, dim, gen->map.data, gen->map.length);
  gen->map.data[sym.i] = (onnxc_dim){0};
  return result;
}
