/* compose_reduce.c -- one register tile: accumulators through the reduction loops, finish, stores.
 *
 * Accumulators are SSA values: phis of every reduction loop around the step that updates them. Loops whose whole
 * extent fits in the unroll factor disappear. A sum of products becomes one fma for each row and vector, or a dot
 * product of kr elements (compose_dot.c).
 *
 * When vec is a reduction index each lane holds a partial result: the accumulators start from the neutral
 * element, lanes beyond the end keep theirs, and at the end vectors and then lanes are combined pairwise, in an
 * order that depends on the schedule only.
 */
#include "nano/compose_internal.h"

static LLVMValueRef *acc_at(compose *c, uint32_t result, uint32_t row, uint32_t vec) {
  return &c->acc[(result * c->tile_rows + row) * c->acc_vecs + vec];
}

/* A value in the form that the tile's points have. */
static LLVMValueRef fit(const compose *c, LLVMValueRef value) {
  return c->vec >= 0 && !c->vec_reduces ? onnxc_compose_splat(c, value) : value;
}

static LLVMValueRef combine(compose *c, uint32_t j, LLVMValueRef a, LLVMValueRef b) {
  LLVMValueRef args[2] = {a, b};
  LLVMValueRef value = onnxc_nano_op(&c->gen->nano, c->combiner[j], c->compute->acc_dtype[j], args);
  if (value)
    return value;
  onnxc_gen_error(c->gen, ONNXC_UNSUPPORTED, "no code for a combiner of this type");
  return a;
}

/* ---- sizes ---- */

onnxc_dim onnxc_compose_steps(compose *c, onnxc_dim size, int64_t step, onnxc_dim *rest) {
  onnxc_dim width = onnxc_dim_const(c->dims, step);
  onnxc_dim full = onnxc_dim_floordiv(c->dims, size, width);
  *rest =
      onnxc_gen_divisor(c->dims, size) % step == 0 ? onnxc_dim_const(c->dims, 0) : onnxc_dim_mod(c->dims, size, width);
  return full;
}

bool onnxc_compose_never(const compose *c, onnxc_dim trips) {
  int64_t low, high;
  onnxc_dim_range(c->dims, trips, &low, &high);
  return high <= 0;
}

onnxc_sym onnxc_compose_counter(compose *c, onnxc_dim trips) {
  int64_t low, high;
  onnxc_dim_range(c->dims, trips, &low, &high);
  return onnxc_gen_symbol(c->gen, 0, high > 0 ? high - 1 : 0);
}

LLVMValueRef onnxc_compose_mask(compose *c, onnxc_dim valid) {
  onnxc_gen *gen = c->gen;
  int64_t constant;
  if (onnxc_dim_is_const(c->dims, valid, &constant)) {
    if (constant >= c->lanes)
      return NULL;
    LLVMValueRef *bits = ONNXC_NEW_ARRAY(gen->arena, LLVMValueRef, c->lanes);
    for (uint32_t l = 0; l < c->lanes; l++)
      bits[l] = LLVMConstInt(gen->i1, l < constant, false);
    return LLVMConstVector(bits, c->lanes);
  }
  valid = onnxc_dim_min(c->dims, valid, onnxc_dim_const(c->dims, c->lanes));
  LLVMValueRef count = LLVMBuildTrunc(gen->nano.builder, onnxc_gen_dim(gen, valid), gen->i32, "");
  return LLVMBuildICmp(gen->nano.builder, LLVMIntULT, onnxc_gen_iota(gen, gen->i32, c->lanes, 1),
                       onnxc_nano_splat(&gen->nano, count, c->lanes), "tail");
}

/* ---- one step: every accumulator of the tile takes one element ---- */

static bool is_float_product(const compose *c, uint32_t j) {
  onnxc_dtype dtype = c->compute->acc_dtype[j];
  return c->combiner[j] == ONNXC_EXPR_ADD && (dtype == ONNXC_F32 || dtype == ONNXC_F64) &&
         onnxc_exprs_node(c->exprs, c->compute->element[j])->op == ONNXC_EXPR_MUL;
}

/* The accumulator after one more element; named combiners only. */
static LLVMValueRef advance(compose *c, uint32_t j, uint32_t row, uint32_t vec, LLVMValueRef acc) {
  onnxc_expr element = c->compute->element[j];
  bool vector = LLVMGetTypeKind(LLVMTypeOf(acc)) == LLVMVectorTypeKind;
  if (is_float_product(c, j)) {
    LLVMValueRef a = onnxc_compose_emit(c, onnxc_exprs_node(c->exprs, element)->args[0], row, vec, 0);
    LLVMValueRef b = onnxc_compose_emit(c, onnxc_exprs_node(c->exprs, element)->args[1], row, vec, 0);
    if (vector) {
      a = onnxc_compose_splat(c, a);
      b = onnxc_compose_splat(c, b);
    }
    return onnxc_nano_fma(&c->gen->nano, c->compute->acc_dtype[j], a, b, acc);
  }
  LLVMValueRef value = onnxc_compose_emit(c, element, row, vec, 0);
  return combine(c, j, acc, vector ? onnxc_compose_splat(c, value) : value);
}

static void step(compose *c) {
  uint32_t results = c->compute->num_results;
  onnxc_compose_changed(c, ACC_EPOCH);
  if (c->kr > 1) {
    onnxc_compose_dot(c);
    return;
  }
  for (uint32_t row = 0; row < c->tile_rows; row++)
    for (uint32_t vec = 0; vec < c->tile_vecs; vec++) {
      LLVMValueRef next[ONNXC_MAX_RESULTS];
      for (uint32_t j = 0; c->ordered && j < results; j++)
        c->val[j] = fit(c, onnxc_compose_emit(c, c->compute->element[j], row, vec, 0));
      for (uint32_t j = 0; j < results; j++) {
        LLVMValueRef acc = *acc_at(c, j, row, vec);
        if (c->ordered)
          next[j] = fit(c, onnxc_compose_emit(c, c->compute->combine[j], row, vec, 0));
        else
          next[j] = advance(c, j, row, vec, acc);
        if (c->vec_reduces && c->tail && vec == c->tile_vecs - 1)
          next[j] = LLVMBuildSelect(c->gen->nano.builder, c->tail, next[j], acc, "");
      }
      for (uint32_t j = 0; j < results; j++)
        *acc_at(c, j, row, vec) = next[j];
    }
}

/* ---- the loops ---- */

/* Emits what the elements need and the loops from position i on do not change, so that it stands before them. */
static void hoist(compose *c, uint32_t i) {
  uint32_t changing = 1u << ACC_EPOCH;
  for (uint32_t k = i; k < c->num_reduce; k++)
    changing |= 1u << c->reduce[k];
  for (uint32_t k = 0; c->never_empty && k < c->nodes.length; k++) {
    node n = c->nodes.data[k];
    const onnxc_expr_node *x = onnxc_exprs_node(c->exprs, n.e);
    if (!n.certain || n.dimable || (n.memo_deps & changing) || x->op == ONNXC_EXPR_CONST)
      continue;
    bool whole = false;
    for (uint32_t j = 0; j < c->compute->num_results; j++)
      whole |= c->compute->element[j].i == n.e.i;
    for (uint32_t row = 0; !whole && row < (n.by_row ? c->tile_rows : 1); row++)
      for (uint32_t vec = 0; vec < (n.by_vec ? c->tile_vecs : 1); vec++)
        onnxc_compose_emit(c, n.e, row, vec, 0);
  }
}

static void reduce(compose *c, uint32_t i);

static void set_and_reduce(compose *c, uint32_t i, onnxc_dim value) {
  c->index[c->reduce[i]] = value;
  onnxc_compose_changed(c, c->reduce[i]);
  reduce(c, i + 1);
}

static uint32_t num_accumulators(const compose *c) { return c->compute->num_results * c->tile_rows * c->acc_vecs; }

/* Loads on the two sides of this are not the same load to LLVM. Steps of a window index read elements that a
 * neighbouring row read in the step before; kept in registers for it they would push the accumulators out. */
static void keep_apart(compose *c) {
  LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(c->gen->nano.context), NULL, 0, false);
  LLVMValueRef nothing = LLVMGetInlineAsm(type, "", 0, "~{memory}", 9, true, false, LLVMInlineAsmDialectATT, false);
  LLVMBuildCall2(c->gen->nano.builder, type, nothing, NULL, 0, "");
}

/* How far the index at position i goes in a step. */
static uint32_t step_of(const compose *c, uint32_t i) { return i == c->num_reduce - 1 ? c->kr : 1; }

static void unrolled(compose *c, uint32_t i, onnxc_dim first, uint32_t unroll) {
  for (uint32_t u = 0; u < unroll; u++) {
    if (u > 0 && (c->apart >> c->reduce[i] & 1))
      keep_apart(c);
    if (c->num_reduce == 1)
      onnxc_compose_ahead(c, first, u, unroll);
    set_and_reduce(c, i, onnxc_dim_addc(c->dims, first, (int64_t)u * step_of(c, i)));
  }
}

/* index = first + (unroll*t + u) * step, for t below trips. */
static void run(compose *c, uint32_t i, onnxc_dim first, onnxc_dim trips, uint32_t unroll) {
  if (onnxc_compose_never(c, trips))
    return;
  if (onnxc_dim_is(c->dims, trips, 1)) {
    unrolled(c, i, first, unroll);
    return;
  }
  onnxc_sym sym = onnxc_compose_counter(c, trips);
  onnxc_loop loop;
  onnxc_loop_begin(c->gen, &loop, sym, trips, num_accumulators(c), c->acc);
  uint32_t mark = onnxc_compose_open(c);
  int64_t distance = (int64_t)unroll * step_of(c, i);
  onnxc_dim base = onnxc_dim_add(c->dims, first, onnxc_dim_mulc(c->dims, onnxc_dim_sym(c->dims, sym), distance));
  unrolled(c, i, base, unroll);
  onnxc_loop_end(c->gen, &loop, c->acc);
  onnxc_compose_close(c, mark);
  onnxc_gen_release(c->gen, sym);
}

static void lane_step(compose *c, uint32_t index, onnxc_dim value) {
  c->index[index] = value;
  onnxc_compose_changed(c, index);
  step(c);
}

static void lane_loop(compose *c, uint32_t index, onnxc_dim first, onnxc_dim trips, onnxc_dim rest) {
  if (onnxc_compose_never(c, trips))
    return;
  int64_t width = (int64_t)c->tile_vecs * c->lanes;
  onnxc_sym sym = onnxc_compose_counter(c, trips);
  onnxc_dim passed = onnxc_dim_mulc(c->dims, onnxc_dim_sym(c->dims, sym), width);
  onnxc_loop loop;
  onnxc_loop_begin(c->gen, &loop, sym, trips, num_accumulators(c), c->acc);
  uint32_t mark = onnxc_compose_open(c);
  c->tail = rest.i ? onnxc_compose_mask(c, onnxc_dim_sub(c->dims, rest, passed)) : NULL;
  lane_step(c, index, onnxc_dim_add(c->dims, first, passed));
  c->tail = NULL;
  onnxc_loop_end(c->gen, &loop, c->acc);
  onnxc_compose_close(c, mark);
  onnxc_gen_release(c->gen, sym);
}

/* The reduction along the lanes; always the innermost. */
static void reduce_lanes(compose *c, uint32_t index) {
  onnxc_dim first = c->stmt->box_lo[index], size = c->stmt->box_size[index], rest;
  uint32_t vecs = c->vecs, lanes = c->lanes;
  int64_t width = (int64_t)vecs * lanes, constant;
  onnxc_dim full = onnxc_compose_steps(c, size, width, &rest);
  c->tile_vecs = vecs;
  if (onnxc_dim_is(c->dims, full, 1))
    lane_step(c, index, first);
  else
    lane_loop(c, index, first, full, (onnxc_dim){0});
  first = onnxc_dim_add(c->dims, first, onnxc_dim_mulc(c->dims, full, width));
  if (onnxc_dim_is_const(c->dims, rest, &constant)) {
    if (constant > 0) {
      c->tile_vecs = (uint32_t)((constant + lanes - 1) / lanes);
      c->tail = onnxc_compose_mask(c, onnxc_dim_const(c->dims, constant - (int64_t)(c->tile_vecs - 1) * lanes));
      lane_step(c, index, first);
      c->tail = NULL;
    }
  } else {
    bool whole = onnxc_gen_divisor(c->dims, rest) % lanes == 0;
    onnxc_dim trips = onnxc_dim_ceildiv(c->dims, rest, onnxc_dim_const(c->dims, lanes));
    c->tile_vecs = 1;
    lane_loop(c, index, first, trips, whole ? (onnxc_dim){0} : rest);
  }
  c->tile_vecs = vecs;
}

static void reduce(compose *c, uint32_t i) {
  if (i == c->num_reduce) {
    step(c);
    return;
  }
  uint32_t index = c->reduce[i];
  hoist(c, i);
  if (c->vec_reduces && (int)index == c->vec) {
    reduce_lanes(c, index);
    return;
  }
  uint32_t unroll = c->unrolls[c->edge][i], kr = step_of(c, i);
  onnxc_dim part, rest, first = c->stmt->box_lo[index];
  onnxc_dim steps = onnxc_compose_steps(c, c->stmt->box_size[index], kr, &part);
  onnxc_dim full = onnxc_compose_steps(c, steps, unroll, &rest);
  run(c, i, first, full, unroll);
  run(c, i, onnxc_dim_add(c->dims, first, onnxc_dim_mulc(c->dims, full, (int64_t)unroll * kr)), rest, 1);
  /* What is left of kr elements is a step of its own. */
  c->count = part;
  run(c, i, onnxc_dim_add(c->dims, first, onnxc_dim_mulc(c->dims, steps, kr)),
      onnxc_dim_min(c->dims, part, onnxc_dim_const(c->dims, 1)), 1);
  c->count = (onnxc_dim){0};
}

/* ---- begin and end ---- */

static LLVMValueRef neutral(compose *c, uint32_t j) {
  onnxc_dtype dtype = c->compute->acc_dtype[j];
  bool isfloat = onnxc_dtype_is_float(dtype), issigned = onnxc_dtype_is_signed(dtype);
  int64_t bits = (int64_t)onnxc_dtype_bytes(dtype) * 8, imm = 0;
  union {
    double f;
    int64_t i;
  } real = {0};
  switch (c->combiner[j]) {
  case ONNXC_EXPR_MUL: real.f = 1.0, imm = 1; break;
  case ONNXC_EXPR_MIN:
    real.f = __builtin_inf();
    imm = onnxc_dtype_is_bool(dtype) ? 1 : issigned ? (int64_t)((UINT64_C(1) << (bits - 1)) - 1) : -1;
    break;
  case ONNXC_EXPR_MAX:
    real.f = -__builtin_inf();
    imm = issigned ? (int64_t)(~UINT64_C(0) << (bits - 1)) : 0;
    break;
  case ONNXC_EXPR_AND: imm = onnxc_dtype_is_bool(dtype) ? 1 : -1; break;
  default: break;
  }
  LLVMValueRef value = onnxc_nano_const(&c->gen->nano, dtype, 0, isfloat ? real.i : imm);
  return c->vec >= 0 ? onnxc_compose_splat(c, value) : value;
}

/* The result buffer's values come in at the end (resume) or lanes hold partial results: then accumulators start
 * from the neutral element. */
static bool starts_neutral(const compose *c) { return !c->ordered && (c->stmt->resume || c->vec_reduces); }

static LLVMValueRef initial(compose *c, uint32_t j, uint32_t row, uint32_t vec) {
  return c->stmt->resume ? onnxc_compose_load_result(c, j, row, vec)
                         : fit(c, onnxc_compose_emit(c, c->compute->init[j], row, vec, 0));
}

/* Sums of integers by LLVM's own operation: of the shuffles below it makes a dot product of bytes without the last sums
 * across its lanes (LLVM 19). */
static LLVMValueRef across_lanes(compose *c, uint32_t j, LLVMValueRef value) {
  LLVMBuilderRef b = c->gen->nano.builder;
  LLVMTypeRef type = LLVMTypeOf(value);
  if (onnxc_dtype_is_int(c->compute->acc_dtype[j]) && c->combiner[j] == ONNXC_EXPR_ADD)
    return onnxc_gen_intrinsic(c->gen, "llvm.vector.reduce.add", 1, &type, 1, &value);
  LLVMValueRef *low = ONNXC_NEW_ARRAY(c->gen->arena, LLVMValueRef, c->lanes);
  LLVMValueRef *high = ONNXC_NEW_ARRAY(c->gen->arena, LLVMValueRef, c->lanes);
  for (uint32_t width = c->lanes / 2; width >= 1; width /= 2) {
    for (uint32_t l = 0; l < width; l++) {
      low[l] = LLVMConstInt(c->gen->i32, l, false);
      high[l] = LLVMConstInt(c->gen->i32, l + width, false);
    }
    LLVMValueRef none = LLVMGetPoison(LLVMTypeOf(value));
    LLVMValueRef upper = LLVMBuildShuffleVector(b, value, none, LLVMConstVector(high, width), "");
    LLVMValueRef lower = LLVMBuildShuffleVector(b, value, none, LLVMConstVector(low, width), "");
    value = combine(c, j, lower, upper);
  }
  return LLVMBuildExtractElement(b, value, LLVMConstInt(c->gen->i32, 0, false), "");
}

/* Vectors pairwise, then lanes; afterwards a row has one scalar accumulator. */
static void collapse(compose *c) {
  for (uint32_t j = 0; j < c->compute->num_results; j++)
    for (uint32_t row = 0; row < c->tile_rows; row++) {
      LLVMValueRef *acc = acc_at(c, j, row, 0);
      for (uint32_t count = c->acc_vecs; count > 1; count = (count + 1) / 2)
        for (uint32_t k = 0; k < count / 2; k++)
          acc[k] = combine(c, j, acc[k], acc[k + (count + 1) / 2]);
      LLVMValueRef value = across_lanes(c, j, acc[0]);
      c->acc[j * c->tile_rows + row] = value; /* never ahead of what is still to be read */
    }
  c->acc_vecs = 1;
  c->tile_vecs = 1;
}

static void reduction(compose *c) {
  uint32_t results = c->compute->num_results;
  bool from_neutral = starts_neutral(c);
  c->acc_vecs = c->vec_reduces ? c->vecs : c->tile_vecs;
  for (uint32_t j = 0; j < results; j++)
    for (uint32_t row = 0; row < c->tile_rows; row++)
      for (uint32_t vec = 0; vec < c->acc_vecs; vec++)
        *acc_at(c, j, row, vec) = from_neutral ? neutral(c, j) : initial(c, j, row, vec);
  reduce(c, 0);
  if (c->vec_reduces)
    collapse(c);
  onnxc_compose_changed(c, ACC_EPOCH);
  for (uint32_t j = 0; from_neutral && j < results; j++)
    for (uint32_t row = 0; row < c->tile_rows; row++)
      for (uint32_t vec = 0; vec < c->tile_vecs; vec++) {
        LLVMValueRef *acc = acc_at(c, j, row, vec);
        *acc = combine(c, j, initial(c, j, row, vec), *acc);
      }
}

static LLVMValueRef final_value(compose *c, uint32_t j, uint32_t row, uint32_t vec) {
  return c->stmt->partial ? *acc_at(c, j, row, vec) : fit(c, onnxc_compose_emit(c, c->compute->finish[j], row, vec, 0));
}

/* A map whose rows may lie between each other in memory: all rows of a vector column at once. */
static bool store_interleaved(compose *c) {
  if (c->compute->num_reduce || c->compute->num_results != 1 || !onnxc_compose_interleaves(c))
    return false;
  for (uint32_t vec = 0; vec < c->tile_vecs; vec++) {
    LLVMValueRef values[MAX_INTERLEAVED];
    for (uint32_t row = 0; row < c->tile_rows; row++)
      values[row] = final_value(c, 0, row, vec);
    if (!onnxc_compose_store_rows(c, 0, vec, values))
      for (uint32_t row = 0; row < c->tile_rows; row++)
        onnxc_compose_store(c, 0, row, vec, values[row]);
  }
  return true;
}

static void emit_tile(compose *c) {
  uint32_t results = c->compute->num_results;
  onnxc_compose_close(c, 0);
  if (c->vec_reduces)
    c->tile_vecs = c->vecs;
  if (c->compute->num_reduce > 0)
    reduction(c);
  if (store_interleaved(c))
    return;
  for (uint32_t row = 0; row < c->tile_rows; row++)
    for (uint32_t vec = 0; vec < c->tile_vecs; vec++) {
      LLVMValueRef values[ONNXC_MAX_RESULTS];
      for (uint32_t j = 0; j < results; j++)
        values[j] = final_value(c, j, row, vec);
      for (uint32_t j = 0; j < results; j++)
        onnxc_compose_store(c, j, row, vec, values[j]);
    }
}

void onnxc_compose_tile(compose *c) {
  onnxc_gen *gen = c->gen;
  LLVMBuilderRef b = gen->nano.builder;
  onnxc_dim margin;
  onnxc_interior interior = onnxc_compose_interior(c, &margin);
  c->interior = interior == ONNXC_INTERIOR_ALWAYS;
  if (interior != ONNXC_INTERIOR_SOMETIMES || c->edge) {
    emit_tile(c);
    return;
  }
  LLVMValueRef inside = LLVMBuildICmp(b, LLVMIntSGE, onnxc_gen_dim(gen, margin), onnxc_gen_const(gen, 0), "inside");
  LLVMBasicBlockRef arms[2] = {onnxc_gen_block(gen, "border"), onnxc_gen_block(gen, "interior")},
                    join = onnxc_gen_block(gen, "join");
  LLVMBuildCondBr(b, inside, arms[1], arms[0]);
  for (uint32_t k = 0; k < 2; k++) {
    LLVMPositionBuilderAtEnd(b, arms[k]);
    c->interior = k;
    emit_tile(c);
    LLVMBuildBr(b, join);
  }
  LLVMPositionBuilderAtEnd(b, join);
  c->interior = false;
}
