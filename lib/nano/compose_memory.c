/* compose_memory.c -- loads and stores of a tile: from an address as a dim expression to the cheapest access.
 *
 * The element offset of a point is a dim expression with the lane as a symbol. What it is as a function of the lane
 * decides: constant -> a scalar load; lane + base -> a vector load; any other pattern of constants within a few
 * vectors (strides 2, 3, -1, a repeated element) -> vector loads and shuffles, none reaching beyond the first and
 * the last element wanted; else a gather or scatter.
 */
#include "nano/compose_internal.h"

#include <string.h>

enum { MAX_CHUNKS = 4 };

bool onnxc_compose_place(compose *c, place *p, const onnxc_operand *operand, uint32_t rank) {
  const onnxc_buffer *buffer = &c->gen->program->buffers.data[operand->buffer];
  if (operand->buffer == 0 || operand->buffer >= c->gen->program->buffers.length || !c->gen->bases[operand->buffer]) {
    onnxc_gen_error(c->gen, ONNXC_INTERNAL, "an operand has no buffer");
    return false;
  }
  if (buffer->rank != rank) {
    onnxc_gen_error(c->gen, ONNXC_INTERNAL, "a buffer has another rank than its statement");
    return false;
  }
  onnxc_dim extents[ONNXC_LAYOUT_MAX_AXES];
  *p = (place){.base = c->gen->bases[operand->buffer], .buffer = buffer, .origin = operand->origin};
  p->layout = onnxc_layout_explicit(&buffer->layout, rank);
  p->bytes = (int64_t)onnxc_dtype_bytes(buffer->dtype);
  onnxc_layout_strides(c->dims, &p->layout, rank, buffer->alias_dims ? buffer->alias_dims : buffer->dims, extents,
                       p->strides);
  return true;
}

/* Element offset of a logical index; a dim that is none counts as if it were outside (contributes 0). */
static onnxc_dim offset_of(compose *c, const place *p, const onnxc_dim *index) {
  onnxc_dim at[ONNXC_MAX_RANK];
  const onnxc_buffer *buffer = p->buffer;
  for (uint32_t d = 0; d < buffer->rank; d++) {
    if (!index[d].i) {
      at[d] = onnxc_dim_const(c->dims, -(int64_t)p->layout.low[d]);
      continue;
    }
    at[d] = p->origin ? onnxc_dim_sub(c->dims, index[d], p->origin[d]) : index[d];
    if ((int)d == buffer->ring_dim)
      at[d] = onnxc_dim_mod(c->dims, at[d], buffer->dims[d]);
  }
  return onnxc_layout_offset(c->dims, &p->layout, buffer->rank, buffer->alias_dims ? buffer->alias_dims : buffer->dims,
                             at);
}

/* The part of the offset that comes from dim d at a value that is no dim expression (a scalar or a vector). */
static LLVMValueRef value_offset(compose *c, const place *p, uint32_t d, LLVMValueRef value) {
  onnxc_gen *gen = c->gen;
  LLVMBuilderRef b = gen->nano.builder;
  bool vector = LLVMGetTypeKind(LLVMTypeOf(value)) == LLVMVectorTypeKind;
  onnxc_dim shift = onnxc_dim_const(c->dims, p->layout.low[d]);
  if (p->origin)
    shift = onnxc_dim_sub(c->dims, shift, p->origin[d]);
#define SPREAD(dim) (vector ? onnxc_compose_splat(c, onnxc_gen_dim(gen, dim)) : onnxc_gen_dim(gen, dim))
  value = LLVMBuildAdd(b, value, SPREAD(shift), "");
  if ((int)d == p->buffer->ring_dim)
    value = onnxc_gen_mod(gen, value, SPREAD(p->buffer->dims[d]), false);
  LLVMValueRef sum = NULL;
  for (uint32_t a = p->layout.num_axes; a-- > 0;) {
    if (p->layout.axis_dim[a] != d)
      continue;
    LLVMValueRef part = value;
    if (p->layout.axis_size[a]) {
      LLVMValueRef size = onnxc_gen_const(gen, p->layout.axis_size[a]);
      part = onnxc_gen_mod(gen, value, size, false);
      value = onnxc_gen_floordiv(gen, value, size, false);
    }
    part = LLVMBuildMul(b, part, SPREAD(p->strides[a]), "");
    sum = sum ? LLVMBuildAdd(b, sum, part, "") : part;
  }
#undef SPREAD
  return sum;
}

/* base + offset elements, the constant part last so that it becomes a displacement. */
static LLVMValueRef address(compose *c, const place *p, onnxc_dim offset) {
  onnxc_dim bytes = onnxc_dim_mulc(c->dims, offset, p->bytes);
  const onnxc_dim_node *n = onnxc_dims_node(c->dims, bytes);
  int64_t constant = n->kind == ONNXC_DIM_CONST || n->kind == ONNXC_DIM_SUM ? n->constant : 0;
  onnxc_dim rest = onnxc_dim_addc(c->dims, bytes, -constant);
  LLVMValueRef at = p->base;
  if (!onnxc_dim_is(c->dims, rest, 0))
    at = onnxc_gen_address(c->gen, at, onnxc_gen_dim(c->gen, rest));
  return constant ? onnxc_gen_address(c->gen, at, onnxc_gen_const(c->gen, constant)) : at;
}

/* How an offset depends on the lane. */
typedef enum form { UNIFORM, LINEAR, PATTERN, IRREGULAR } form;
typedef struct access {
  form form;
  onnxc_dim first;  /* the offset at lane 0 */
  onnxc_dim stride; /* LINEAR */
  int64_t *pattern; /* PATTERN, and LINEAR of constant stride: offset of each lane from the first */
} access;

static access classify(compose *c, onnxc_dim offset) {
  onnxc_gen *gen = c->gen;
  access a = {.form = UNIFORM, .first = offset};
  if (!onnxc_dim_uses(c->dims, offset, c->lane))
    return a;
  a.first = onnxc_gen_at(gen, offset, c->lane, 0);
  a.stride = onnxc_dim_sub(c->dims, onnxc_gen_at(gen, offset, c->lane, 1), a.first);
  onnxc_dim linear = onnxc_dim_add(c->dims, a.first, onnxc_dim_mul(c->dims, a.stride, onnxc_dim_sym(c->dims, c->lane)));
  bool is_linear = onnxc_dim_same(linear, offset);
  int64_t step = 0;
  a.form = is_linear ? LINEAR : IRREGULAR;
  if (is_linear && !onnxc_dim_is_const(c->dims, a.stride, &step))
    return a;
  int64_t *pattern = ONNXC_NEW_ARRAY(gen->arena, int64_t, c->lanes);
  for (uint32_t l = 0; l < c->lanes; l++) {
    if (is_linear)
      pattern[l] = step * l;
    else if (!onnxc_dim_is_const(c->dims, onnxc_dim_sub(c->dims, onnxc_gen_at(gen, offset, c->lane, l), a.first),
                                 &pattern[l]))
      return a;
  }
  a.form = is_linear ? LINEAR : PATTERN;
  a.pattern = pattern;
  return a;
}

/* The type of an access: f16 and bf16 move as 16-bit integers, since CPUs without such arithmetic have no moves of
 * them either and LLVM would convert there and back. */
static LLVMTypeRef memory_type(const compose *c, const place *p, uint32_t lanes) {
  onnxc_dtype dtype = p->buffer->dtype;
  bool half = dtype == ONNXC_F16 || dtype == ONNXC_BF16;
  return onnxc_nano_memory_type(&c->gen->nano, half ? ONNXC_U16 : dtype, lanes);
}

static LLVMValueRef from_memory(const compose *c, const place *p, LLVMValueRef value) {
  onnxc_dtype dtype = p->buffer->dtype;
  if (dtype == ONNXC_F16 || dtype == ONNXC_BF16) {
    bool vector = LLVMGetTypeKind(LLVMTypeOf(value)) == LLVMVectorTypeKind;
    LLVMTypeRef type = onnxc_nano_memory_type(&c->gen->nano, dtype, vector ? LLVMGetVectorSize(LLVMTypeOf(value)) : 0);
    value = LLVMBuildBitCast(c->gen->nano.builder, value, type, "");
  }
  return onnxc_nano_from_memory(&c->gen->nano, dtype, value);
}

static LLVMValueRef to_memory(const compose *c, const place *p, LLVMValueRef value) {
  value = onnxc_nano_to_memory(&c->gen->nano, p->buffer->dtype, value);
  return onnxc_compose_half_bits(c, value);
}

static LLVMValueRef plain_load(compose *c, const place *p, LLVMTypeRef type, LLVMValueRef at) {
  LLVMValueRef load = LLVMBuildLoad2(c->gen->nano.builder, type, at, "");
  LLVMSetAlignment(load, (unsigned)p->bytes);
  return load;
}

static LLVMValueRef guarded_address(compose *c, LLVMValueRef at, LLVMValueRef uniform) {
  return uniform ? LLVMBuildSelect(c->gen->nano.builder, uniform, at, c->gen->zeros, "") : at;
}

static LLVMValueRef alignment(const compose *c, const place *p) {
  return LLVMConstInt(c->gen->i32, (unsigned long long)p->bytes, false);
}

static LLVMValueRef any_lane(compose *c, LLVMValueRef mask) {
  LLVMTypeRef type = LLVMTypeOf(mask);
  return onnxc_gen_intrinsic(c->gen, "llvm.vector.reduce.or", 1, &type, 1, &mask);
}

/* Vector loads that cover the pattern from its lowest to its highest element, then shuffles. NULL if too wide. */
static LLVMValueRef pattern_load(compose *c, const place *p, const access *a, LLVMValueRef uniform) {
  onnxc_gen *gen = c->gen;
  int64_t low = 0, high = 0;
  for (uint32_t l = 0; l < c->lanes; l++) {
    low = a->pattern[l] < low ? a->pattern[l] : low;
    high = a->pattern[l] > high ? a->pattern[l] : high;
  }
  if (low < -(INT64_C(1) << 40) || high > (INT64_C(1) << 40))
    return NULL;
  int64_t span = high - low + 1, lanes = c->lanes;
  if (span > MAX_CHUNKS * lanes || span * p->bytes > ONNXC_GEN_ZEROS)
    return NULL;
  LLVMValueRef first = address(c, p, onnxc_dim_addc(c->dims, a->first, low));
  first = guarded_address(c, first, uniform);
  int64_t width = span < lanes ? span : lanes, chunks = (span + width - 1) / width;
  LLVMTypeRef type = memory_type(c, p, (uint32_t)width);
  LLVMValueRef result = NULL;
  LLVMValueRef *select = ONNXC_NEW_ARRAY(gen->arena, LLVMValueRef, c->lanes);
  for (int64_t k = 0; k < chunks; k++) {
    /* The last one is moved back so that it ends with the last element wanted. */
    int64_t start = k * width < span - width ? k * width : span - width;
    LLVMValueRef at = start ? onnxc_gen_address(gen, first, onnxc_gen_const(gen, start * p->bytes)) : first;
    LLVMValueRef chunk = plain_load(c, p, type, at);
    bool used = false;
    for (int64_t l = 0; l < lanes; l++) {
      int64_t position = a->pattern[l] - low;
      bool mine = position / width == k;
      used |= mine;
      int64_t lane = mine ? position - start + (k ? lanes : 0) : k ? l : 0;
      select[l] = LLVMConstInt(gen->i32, (unsigned long long)lane, false);
    }
    LLVMValueRef indices = LLVMConstVector(select, c->lanes);
    if (k == 0)
      result = LLVMBuildShuffleVector(gen->nano.builder, chunk, LLVMGetPoison(LLVMTypeOf(chunk)), indices, "");
    else if (used)
      result = LLVMBuildShuffleVector(gen->nano.builder, result, chunk, indices, "");
  }
  return result;
}

/* Element pointers of all lanes: from a scalar or vector of further element offsets, too (may be NULL). */
static LLVMValueRef lane_addresses(compose *c, const place *p, const access *a, onnxc_dim offset, LLVMValueRef more) {
  onnxc_gen *gen = c->gen;
  LLVMBuilderRef b = gen->nano.builder;
  LLVMValueRef bytes, base = p->base;
  if (a->form == IRREGULAR) {
    bytes = onnxc_gen_dim_lanes(gen, onnxc_dim_mulc(c->dims, offset, p->bytes), c->lane, c->lanes);
  } else {
    base = address(c, p, a->first);
    if (a->form == UNIFORM) {
      bytes = NULL;
    } else if (a->pattern) {
      LLVMValueRef *constants = ONNXC_NEW_ARRAY(gen->arena, LLVMValueRef, c->lanes);
      for (uint32_t l = 0; l < c->lanes; l++)
        constants[l] = onnxc_gen_const(gen, a->pattern[l] * p->bytes);
      bytes = LLVMConstVector(constants, c->lanes);
    } else {
      LLVMValueRef stride = onnxc_gen_dim(gen, onnxc_dim_mulc(c->dims, a->stride, p->bytes));
      bytes = LLVMBuildMul(b, onnxc_compose_splat(c, stride), onnxc_gen_iota(gen, gen->i64, c->lanes, 1), "");
    }
  }
  if (more) {
    LLVMValueRef scaled =
        LLVMBuildMul(b, onnxc_compose_splat(c, more), onnxc_compose_splat(c, onnxc_gen_const(gen, p->bytes)), "");
    bytes = bytes ? LLVMBuildAdd(b, bytes, scaled, "") : scaled;
  }
  if (!bytes)
    bytes = onnxc_compose_splat(c, onnxc_gen_const(gen, 0));
  return onnxc_gen_address(gen, base, bytes);
}

static LLVMValueRef and_masks(compose *c, LLVMValueRef a, LLVMValueRef b) {
  return !a ? b : !b ? a : LLVMBuildAnd(c->gen->nano.builder, a, b, "");
}

/* from, from+1, .., and no value from `defined` on: a shuffle's indices. */
static LLVMValueRef sequence(compose *c, uint32_t from, uint32_t count, uint32_t defined) {
  LLVMValueRef *values = ONNXC_NEW_ARRAY(c->gen->arena, LLVMValueRef, count);
  for (uint32_t l = 0; l < count; l++)
    values[l] = l < defined ? LLVMConstInt(c->gen->i32, from + l, false) : LLVMGetPoison(c->gen->i32);
  return LLVMConstVector(values, count);
}

/* Lanes without their bit in both masks (either may be NULL) are 0 and not read. Without mask registers it is done
 * a register at a time: LLVM 19 splits wider ones by itself, and reads a part whose mask it finds to be all zero
 * as if it had none. */
static LLVMValueRef masked_load(compose *c, const place *p, LLVMValueRef at, LLVMValueRef lanes, LLVMValueRef tail) {
  onnxc_gen *gen = c->gen;
  LLVMBuilderRef b = gen->nano.builder;
  uint32_t most = gen->program->target->vector_bytes / (uint32_t)p->bytes, all = c->lanes;
  bool whole = all <= most || (gen->program->target->features & ONNXC_FEATURE_AVX512);
  uint32_t width = whole ? all : most;
  LLVMTypeRef type = memory_type(c, p, width);
  LLVMValueRef result = NULL;
  for (uint32_t from = 0; from < all; from += width) {
    LLVMValueRef masks[2] = {lanes, tail};
    for (uint32_t k = 0; k < 2 && !whole; k++)
      if (masks[k])
        masks[k] = LLVMBuildShuffleVector(b, masks[k], LLVMGetPoison(LLVMTypeOf(masks[k])),
                                          sequence(c, from, width, width), "");
    LLVMValueRef mask = and_masks(c, masks[0], masks[1]), part = LLVMConstNull(type);
    if (from)
      at = onnxc_gen_address(gen, at, onnxc_gen_const(gen, (int64_t)width * p->bytes));
    if (!LLVMIsNull(mask))
      part = onnxc_gen_intrinsic(gen, "llvm.masked.load", 2, (LLVMTypeRef[]){type, gen->ptr}, 4,
                                 (LLVMValueRef[]){at, alignment(c, p), mask, part});
    if (!result) {
      result = part;
      continue;
    }
    /* Widened by lanes of no value, then joined. */
    part = LLVMBuildShuffleVector(b, part, LLVMGetPoison(type), sequence(c, 0, from, width), "");
    result = LLVMBuildShuffleVector(b, result, part, sequence(c, 0, from + width, from + width), "");
  }
  return result;
}

/* A vector load or gather, or a scalar load, of the element at `offset` plus `more` elements. */
static LLVMValueRef load_at(compose *c, const place *p, onnxc_dim offset, LLVMValueRef more, LLVMValueRef uniform,
                            LLVMValueRef lanes, LLVMValueRef tail) {
  onnxc_gen *gen = c->gen;
  LLVMBuilderRef b = gen->nano.builder;
  access a = c->vec >= 0 ? classify(c, offset) : (access){.form = UNIFORM, .first = offset};
  bool spread = more && LLVMGetTypeKind(LLVMTypeOf(more)) == LLVMVectorTypeKind;
  place moved = *p;
  if (more && !spread) {
    moved.base = onnxc_gen_address(gen, p->base, LLVMBuildMul(b, more, onnxc_gen_const(gen, p->bytes), ""));
    p = &moved;
    more = NULL;
  }
  LLVMValueRef value = NULL;
  c->zeroed = true;
  if (a.form == UNIFORM && !spread) {
    if (lanes) {
      LLVMValueRef any = any_lane(c, and_masks(c, lanes, tail));
      uniform = and_masks(c, uniform, any);
      c->zeroed = false;
    }
    value = plain_load(c, p, memory_type(c, p, 0), guarded_address(c, address(c, p, a.first), uniform));
    return from_memory(c, p, value);
  }
  LLVMValueRef mask = and_masks(c, lanes, tail);
  LLVMTypeRef type = memory_type(c, p, c->lanes);
  bool contiguous = a.form == LINEAR && !spread && onnxc_dim_is(c->dims, a.stride, 1);
  if (contiguous) {
    LLVMValueRef at = guarded_address(c, address(c, p, a.first), uniform);
    if (mask)
      value = masked_load(c, p, at, lanes, tail);
    else
      value = plain_load(c, p, type, at);
  } else {
    if (!spread && a.pattern && !mask)
      value = pattern_load(c, p, &a, uniform);
    if (!value) {
      LLVMValueRef at = lane_addresses(c, p, &a, offset, more);
      if (uniform)
        mask = and_masks(c, mask, onnxc_compose_splat(c, uniform));
      if (!mask)
        mask = LLVMConstAllOnes(LLVMVectorType(gen->i1, c->lanes));
      value = onnxc_gen_intrinsic(gen, "llvm.masked.gather", 2, (LLVMTypeRef[]){type, LLVMTypeOf(at)}, 4,
                                  (LLVMValueRef[]){at, alignment(c, p), mask, LLVMConstNull(type)});
    }
  }
  return from_memory(c, p, value);
}

/* The offset of a load as far as its indices are dim expressions. */
static onnxc_dim load_offset(compose *c, const node *n, uint32_t row, uint32_t vec) {
  onnxc_expr_node x = *onnxc_exprs_node(c->exprs, n->e);
  onnxc_dim index[ONNXC_MAX_RANK] = {{0}};
  for (uint32_t d = 0; d < x.num_args; d++)
    if (onnxc_compose_node(c, x.args[d])->dimable)
      index[d] = onnxc_compose_dim(c, x.args[d], row, vec);
  return offset_of(c, &c->operands[x.imm], index);
}

/* The offset that comes from the other indices, or NULL. */
static LLVMValueRef load_more(compose *c, const node *n, uint32_t row, uint32_t vec, uint32_t in_scope) {
  onnxc_expr_node x = *onnxc_exprs_node(c->exprs, n->e);
  LLVMValueRef more = NULL;
  for (uint32_t d = 0; d < x.num_args; d++) {
    if (onnxc_compose_node(c, x.args[d])->dimable)
      continue;
    LLVMValueRef index = onnxc_compose_emit(c, x.args[d], row, vec, in_scope);
    LLVMValueRef part = value_offset(c, &c->operands[x.imm], d, index);
    if (more && LLVMGetTypeKind(LLVMTypeOf(part)) != LLVMGetTypeKind(LLVMTypeOf(more))) {
      part = onnxc_compose_splat(c, part);
      more = onnxc_compose_splat(c, more);
    }
    more = more ? LLVMBuildAdd(c->gen->nano.builder, more, part, "") : part;
  }
  return more;
}

/* All rows of a vector column at once when memory runs along the rows; fills in their memos. */
static bool transposed_load(compose *c, node *n, uint32_t vec, onnxc_dim first_row) {
  onnxc_expr_node x = *onnxc_exprs_node(c->exprs, n->e);
  const place *p = &c->operands[x.imm];
  if (!n->row || !n->by_vec || !onnxc_compose_transposes(c, p->bytes))
    return false;
  onnxc_dim next_row = load_offset(c, n, 1, vec), last_row = load_offset(c, n, c->tile_rows - 1, vec);
  access a = classify(c, first_row);
  if (a.form != LINEAR || onnxc_dim_is(c->dims, a.stride, 1) ||
      !onnxc_dim_is(c->dims, onnxc_dim_sub(c->dims, next_row, first_row), 1) ||
      !onnxc_dim_is(c->dims, onnxc_dim_sub(c->dims, last_row, first_row), (int64_t)c->tile_rows - 1))
    return false;
  bool at_tail = c->tail && vec == c->tile_vecs - 1;
  uint32_t rows = c->tile_rows, valid = at_tail ? c->valid : c->lanes;
  LLVMTypeRef type = memory_type(c, p, c->lanes);
  LLVMValueRef square[MAX_SQUARE];
  for (uint32_t l = 0; l < c->lanes; l++) {
    square[l] = LLVMGetPoison(type);
    if (l >= valid)
      continue;
    onnxc_dim at = onnxc_dim_add(c->dims, a.first, onnxc_dim_mulc(c->dims, a.stride, l));
    LLVMTypeRef part = memory_type(c, p, rows);
    square[l] = plain_load(c, p, part, address(c, p, at));
    if (rows < c->lanes)
      square[l] = LLVMBuildShuffleVector(c->gen->nano.builder, square[l], LLVMGetPoison(part),
                                         sequence(c, 0, c->lanes, rows), "");
  }
  onnxc_compose_transpose(c, square, p->bytes);
  for (uint32_t row = 0; row < rows; row++)
    n->memo[row * c->vecs + vec] = (memo){from_memory(c, p, square[row]), 0, c->now};
  return true;
}

LLVMValueRef onnxc_compose_load_address(compose *c, const node *load) {
  onnxc_dim first = classify(c, load_offset(c, load, 0, 0)).first;
  return address(c, &c->operands[onnxc_exprs_node(c->exprs, load->e)->imm], first);
}

LLVMValueRef onnxc_compose_load(compose *c, node *n, uint32_t row, uint32_t vec, uint32_t in_scope) {
  const place *p = &c->operands[onnxc_exprs_node(c->exprs, n->e)->imm];
  LLVMValueRef tail = vec == c->tile_vecs - 1 ? c->tail : NULL, uniform, lanes;
  LLVMValueRef more = load_more(c, n, row, vec, in_scope);
  onnxc_dim offset = load_offset(c, n, row, vec);
  if (row == 0 && in_scope == 0 && !more && (!tail || c->valid) && transposed_load(c, n, vec, offset))
    return n->memo[vec].value;
  onnxc_compose_condition(c, in_scope, row, vec, &uniform, &lanes);
  return load_at(c, p, offset, more, uniform, lanes, tail);
}

/* As many elements as there are, at least one and not all, one by one. */
static LLVMValueRef collect_word(compose *c, const place *p, LLVMValueRef first) {
  onnxc_gen *gen = c->gen;
  LLVMBuilderRef b = gen->nano.builder;
  LLVMTypeRef type = LLVMIntTypeInContext(gen->nano.context, 8 * (unsigned)p->bytes);
  LLVMValueRef word = NULL;
  int64_t known = 0;
  bool certain = onnxc_dim_is_const(c->dims, c->count, &known);
  for (int64_t e = 0; e < (certain ? known : (int64_t)c->kr - 1); e++) {
    LLVMValueRef at = e ? onnxc_gen_address(gen, first, onnxc_gen_const(gen, e * p->bytes)) : first;
    if (e > 0 && !certain)
      at = guarded_address(
          c, at, LLVMBuildICmp(b, LLVMIntSGT, onnxc_gen_dim(gen, c->count), onnxc_gen_const(gen, e), "exists"));
    LLVMValueRef part = LLVMBuildZExt(b, plain_load(c, p, type, at), gen->i32, "");
    part = LLVMBuildShl(b, part,
                        LLVMConstInt(gen->i32, 8 * (unsigned long long)e * (unsigned long long)p->bytes, false), "");
    word = word ? LLVMBuildOr(b, word, part, "") : part;
  }
  return word;
}

/* A vector of the last panel reaches beyond the end, where there are zeros, but not beyond the panel if it begins at a
 * multiple of the lanes. */
static bool within_panel(compose *c, const node *load, const place *p, uint32_t row, uint32_t vec) {
  uint32_t axis = p->layout.num_axes - 2, d = p->layout.axis_dim[axis];
  onnxc_dim first = onnxc_compose_dim(c, onnxc_exprs_node(c->exprs, load->e)->args[d], row, vec);
  if (p->origin)
    first = onnxc_dim_sub(c->dims, first, p->origin[d]);
  first = onnxc_dim_addc(c->dims, onnxc_gen_at(c->gen, first, c->lane, 0), p->layout.low[d]);
  return p->layout.axis_size[axis] % c->lanes == 0 && onnxc_gen_divisor(c->dims, first) % c->lanes == 0;
}

LLVMValueRef onnxc_compose_load_words(compose *c, const node *load, uint32_t row, uint32_t vec) {
  onnxc_gen *gen = c->gen;
  const place *p = &c->operands[onnxc_exprs_node(c->exprs, load->e)->imm];
  onnxc_dim offset = load_offset(c, load, row, vec);
  access a = classify(c, offset);
  if (a.form == UNIFORM) {
    LLVMValueRef at = address(c, p, a.first);
    return c->count.i ? collect_word(c, p, at) : plain_load(c, p, gen->i32, at);
  }
  LLVMValueRef mask = vec == c->tile_vecs - 1 ? c->tail : NULL;
  LLVMTypeRef type = LLVMVectorType(gen->i32, c->lanes);
  if (a.form == LINEAR && onnxc_dim_is(c->dims, a.stride, c->kr) && (!mask || within_panel(c, load, p, row, vec)))
    return plain_load(c, p, type, address(c, p, a.first));
  LLVMValueRef at = lane_addresses(c, p, &a, offset, NULL);
  if (!mask)
    mask = LLVMConstAllOnes(LLVMVectorType(gen->i1, c->lanes));
  return onnxc_gen_intrinsic(gen, "llvm.masked.gather", 2, (LLVMTypeRef[]){type, LLVMTypeOf(at)}, 4,
                             (LLVMValueRef[]){at, alignment(c, p), mask, LLVMConstNull(type)});
}

static onnxc_dim result_offset(compose *c, uint32_t result, uint32_t row, uint32_t vec) {
  onnxc_dim index[ONNXC_MAX_RANK] = {{0}};
  for (uint32_t d = 0; d < c->compute->num_parallel; d++)
    index[d] = onnxc_compose_index(c, d, row, vec);
  return offset_of(c, &c->results[result], index);
}

LLVMValueRef onnxc_compose_load_result(compose *c, uint32_t result, uint32_t row, uint32_t vec) {
  return load_at(c, &c->results[result], result_offset(c, result, row, vec), NULL, NULL, NULL,
                 !c->vec_reduces && vec == c->tile_vecs - 1 ? c->tail : NULL);
}

static void contiguous_store(compose *c, const place *p, LLVMValueRef value, LLVMValueRef at, LLVMValueRef mask) {
  LLVMTypeRef type = LLVMTypeOf(value);
  if (mask)
    onnxc_gen_intrinsic(c->gen, "llvm.masked.store", 2, (LLVMTypeRef[]){type, c->gen->ptr}, 4,
                        (LLVMValueRef[]){value, at, alignment(c, p), mask});
  else
    LLVMSetAlignment(LLVMBuildStore(c->gen->nano.builder, value, at), (unsigned)p->bytes);
}

bool onnxc_compose_store_rows(compose *c, uint32_t result, uint32_t vec, const LLVMValueRef *values) {
  const place *p = &c->results[result];
  bool at_tail = c->tail && vec == c->tile_vecs - 1;
  if (!onnxc_compose_interleaves(c) || (at_tail && !c->valid))
    return false;
  uint32_t rows = c->tile_rows;
  onnxc_dim offset = result_offset(c, result, 0, vec);
  access a = classify(c, offset);
  if (a.form != LINEAR || !onnxc_dim_is(c->dims, a.stride, rows))
    return false;
  for (uint32_t row = 1; row < rows; row++)
    if (!onnxc_dim_is(c->dims, onnxc_dim_sub(c->dims, result_offset(c, result, row, vec), offset), row))
      return false;
  LLVMValueRef pieces[MAX_INTERLEAVED];
  for (uint32_t row = 0; row < rows; row++)
    pieces[row] = to_memory(c, p, values[row]);
  onnxc_compose_interleave(c, pieces);
  for (uint32_t k = 0; k < rows; k++) {
    int64_t left = (int64_t)(at_tail ? c->valid : c->lanes) * rows - (int64_t)k * c->lanes;
    if (left <= 0)
      break;
    LLVMValueRef mask = onnxc_compose_mask(c, onnxc_dim_const(c->dims, left));
    contiguous_store(c, p, pieces[k], address(c, p, onnxc_dim_addc(c->dims, a.first, (int64_t)k * c->lanes)), mask);
  }
  return true;
}

void onnxc_compose_store(compose *c, uint32_t result, uint32_t row, uint32_t vec, LLVMValueRef value) {
  onnxc_gen *gen = c->gen;
  LLVMBuilderRef b = gen->nano.builder;
  const place *p = &c->results[result];
  onnxc_dim offset = result_offset(c, result, row, vec);
  value = to_memory(c, p, value);
  if (c->vec < 0 || c->vec_reduces) {
    LLVMSetAlignment(LLVMBuildStore(b, value, address(c, p, offset)), (unsigned)p->bytes);
    return;
  }
  access a = classify(c, offset);
  LLVMValueRef tail = vec == c->tile_vecs - 1 ? c->tail : NULL;
  if (a.form == LINEAR && onnxc_dim_is(c->dims, a.stride, 1)) {
    contiguous_store(c, p, value, address(c, p, a.first), tail);
    return;
  }
  LLVMValueRef at = lane_addresses(c, p, &a, offset, NULL);
  if (!tail)
    tail = LLVMConstAllOnes(LLVMVectorType(gen->i1, c->lanes));
  onnxc_gen_intrinsic(gen, "llvm.masked.scatter", 2, (LLVMTypeRef[]){LLVMTypeOf(value), LLVMTypeOf(at)}, 4,
                      (LLVMValueRef[]){value, at, alignment(c, p), tail});
}
