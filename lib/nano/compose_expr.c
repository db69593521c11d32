/* compose_expr.c -- the expression DAG of a tile, each node emitted once for each row and vector that it depends on. */
#include "nano/compose_internal.h"

/* ---- analysis ---- */

node *onnxc_compose_node(const compose *c, onnxc_expr e) { return &c->nodes.data[c->gen->locals.data[e.i].local]; }

static bool depends(uint32_t deps, int index, bool accumulators) {
  return index >= 0 && ((deps >> index & 1) || (accumulators && (deps >> ACC_EPOCH & 1)));
}

static uint32_t analyse(compose *c, onnxc_expr e, uint32_t depth) {
  onnxc_gen *gen = c->gen;
  while (gen->locals.length <= e.i)
    ONNXC_PUSH(gen->arena, gen->locals, (onnxc_gen_local){0});
  if (gen->locals.data[e.i].serial == gen->serial)
    return gen->locals.data[e.i].local;
  const onnxc_expr_node *x = onnxc_exprs_node(c->exprs, e);
  node n = {.e = e};
  if (depth > MAX_DEPTH) {
    onnxc_gen_error(gen, ONNXC_UNSUPPORTED, "an expression is nested too deeply");
  } else if (!onnxc_nano_type(&gen->nano, x->dtype, 0)) {
    onnxc_error(gen->diag, ONNXC_UNSUPPORTED, "no code for elements of type %s", onnxc_dtype_name(x->dtype));
    onnxc_gen_error(gen, ONNXC_UNSUPPORTED, "see above");
  } else {
    n.dimable = x->dtype == ONNXC_I64 && onnxc_expr_op_is_dim(x->op);
    for (uint32_t i = 0; i < x->num_args; i++) {
      uint32_t k = analyse(c, onnxc_exprs_node(c->exprs, e)->args[i], depth + 1);
      n.deps |= c->nodes.data[k].deps;
      n.loads |= c->nodes.data[k].loads;
      n.dimable &= c->nodes.data[k].dimable;
    }
    x = onnxc_exprs_node(c->exprs, e);
    if (x->op == ONNXC_EXPR_INDEX)
      n.deps |= 1u << x->imm;
    else if (x->op == ONNXC_EXPR_ACC || x->op == ONNXC_EXPR_VAL)
      n.deps |= 1u << ACC_EPOCH;
    else if (x->op == ONNXC_EXPR_LOAD)
      n.loads = true;
  }
  n.row = depends(n.deps, c->row, true);
  n.lane = depends(n.deps, c->vec, !c->vec_reduces);
  ONNXC_PUSH(gen->arena, c->nodes, n);
  gen->locals.data[e.i].serial = gen->serial;
  gen->locals.data[e.i].local = c->nodes.length - 1;
  return c->nodes.length - 1;
}

static void mark_certain(compose *c, onnxc_expr e) {
  node *n = onnxc_compose_node(c, e);
  if (n->certain)
    return;
  n->certain = true;
  const onnxc_expr_node *x = onnxc_exprs_node(c->exprs, e);
  for (uint32_t i = 0; i < (x->op == ONNXC_EXPR_SELECT ? 1u : x->num_args); i++)
    mark_certain(c, x->args[i]);
}

/* Loads in the arms of a select depend on its condition, too. Users come after their arguments, so one sweep from
 * the last node on passes everything down. */
static void add_conditions(compose *c) {
  for (uint32_t i = c->nodes.length; i-- > 0;) {
    const node *n = &c->nodes.data[i];
    const onnxc_expr_node *x = onnxc_exprs_node(c->exprs, n->e);
    for (uint32_t k = 0; k < x->num_args; k++) {
      node *arg = onnxc_compose_node(c, x->args[k]);
      if (!arg->loads)
        continue;
      arg->under |= n->under;
      if (x->op == ONNXC_EXPR_SELECT) /* the parts of a conjunction are conditions of each other */
        arg->under |= onnxc_compose_node(c, x->args[0])->deps;
    }
  }
}

void onnxc_compose_analyse(compose *c, const onnxc_expr *roots, uint32_t count, uint32_t num_elements) {
  for (uint32_t i = 0; i < count && c->gen->status == ONNXC_OK; i++) {
    analyse(c, roots[i], 0);
    if (c->gen->status == ONNXC_OK && i < num_elements)
      mark_certain(c, roots[i]);
  }
  if (c->gen->status != ONNXC_OK)
    return;
  add_conditions(c);
  for (uint32_t i = 0; i < c->nodes.length; i++) {
    node *n = &c->nodes.data[i];
    n->memo_deps = n->deps | n->under;
    n->by_row = depends(n->memo_deps, c->row, true);
    n->by_vec = depends(n->memo_deps, c->vec, !c->vec_reduces);
    n->memo = ONNXC_NEW_ARRAY(c->gen->arena, memo, (n->by_row ? c->rows : 1) * (n->by_vec ? c->vecs : 1));
  }
}

/* ---- memo ---- */

void onnxc_compose_changed(compose *c, uint32_t epoch) { c->epochs[epoch] = ++c->now; }

uint32_t onnxc_compose_open(compose *c) { return ++c->now; }

void onnxc_compose_close(compose *c, uint32_t mark) {
  for (uint32_t i = 0; i < c->nodes.length; i++) {
    node *n = &c->nodes.data[i];
    uint32_t count = (n->by_row ? c->rows : 1) * (n->by_vec ? c->vecs : 1);
    for (uint32_t k = 0; k < count; k++)
      if (n->memo[k].stamp >= mark)
        n->memo[k].value = NULL;
  }
  c->now++;
}

static bool within(const compose *c, uint32_t inner, uint32_t outer) {
  while (inner > outer)
    inner = c->scopes.data[inner].parent; /* parents come first */
  return inner == outer;
}

static bool usable(const compose *c, const node *n, const memo *m, uint32_t in_scope) {
  if (!m->value || !within(c, in_scope, m->scope))
    return false;
  for (uint32_t k = 0; k < NUM_EPOCHS; k++)
    if ((n->memo_deps >> k & 1) && c->epochs[k] > m->stamp)
      return false;
  return true;
}

/* The scope within `parent` where the condition holds (or does not). A conjunction becomes one scope within another, so
 * that what is the same for all lanes need not become part of a mask. */
static uint32_t enter(compose *c, uint32_t parent, onnxc_expr condition, bool negate) {
  const onnxc_expr_node *x = onnxc_exprs_node(c->exprs, condition);
  if (x->op == ONNXC_EXPR_NOT)
    return enter(c, parent, x->args[0], !negate);
  if (x->op == (negate ? ONNXC_EXPR_OR : ONNXC_EXPR_AND)) {
    onnxc_expr second = x->args[1];
    return enter(c, enter(c, parent, x->args[0], negate), second, negate);
  }
  for (uint32_t i = 1; i < c->scopes.length; i++) {
    const scope *s = &c->scopes.data[i];
    if (s->parent == parent && s->condition.i == condition.i && s->negate == negate)
      return i;
  }
  ONNXC_PUSH(c->gen->arena, c->scopes, ((scope){parent, condition, negate}));
  return c->scopes.length - 1;
}

/* ---- emission ---- */

static bool is_vector(LLVMValueRef value) { return LLVMGetTypeKind(LLVMTypeOf(value)) == LLVMVectorTypeKind; }

LLVMValueRef onnxc_compose_half_bits(const compose *c, LLVMValueRef value) {
  LLVMTypeRef type = LLVMTypeOf(value);
  LLVMTypeKind kind = LLVMGetTypeKind(is_vector(value) ? LLVMGetElementType(type) : type);
  if (kind != LLVMHalfTypeKind && kind != LLVMBFloatTypeKind)
    return value;
  LLVMTypeRef bits = LLVMInt16TypeInContext(c->gen->nano.context);
  if (is_vector(value))
    bits = LLVMVectorType(bits, LLVMGetVectorSize(type));
  return LLVMBuildBitCast(c->gen->nano.builder, value, bits, "");
}

LLVMValueRef onnxc_compose_splat(const compose *c, LLVMValueRef value) {
  if (is_vector(value))
    return value;
  LLVMTypeRef type = LLVMVectorType(LLVMTypeOf(value), c->lanes);
  value = onnxc_nano_splat(&c->gen->nano, onnxc_compose_half_bits(c, value), c->lanes);
  return LLVMBuildBitCast(c->gen->nano.builder, value, type, "");
}

onnxc_dim onnxc_compose_index(compose *c, uint32_t index, uint32_t row, uint32_t vec) {
  onnxc_dim dim = c->index[index];
  if ((int)index == c->row && row)
    dim = onnxc_dim_addc(c->dims, dim, row);
  if ((int)index == c->vec)
    dim =
        onnxc_dim_add(c->dims, onnxc_dim_addc(c->dims, dim, (int64_t)vec * c->lanes), onnxc_dim_sym(c->dims, c->lane));
  return dim;
}

onnxc_dim onnxc_compose_dim(compose *c, onnxc_expr e, uint32_t row, uint32_t vec) {
  const onnxc_expr_node *x = onnxc_exprs_node(c->exprs, e);
  switch (x->op) {
  case ONNXC_EXPR_CONST: return onnxc_dim_const(c->dims, x->imm);
  case ONNXC_EXPR_DIM: return (onnxc_dim){(uint32_t)x->imm};
  case ONNXC_EXPR_INDEX: return onnxc_compose_index(c, (uint32_t)x->imm, row, vec);
  default: break;
  }
  onnxc_dim a = onnxc_compose_dim(c, x->args[0], row, vec);
  if (x->op == ONNXC_EXPR_NEG)
    return onnxc_dim_mulc(c->dims, a, -1);
  onnxc_dim b = onnxc_compose_dim(c, x->args[1], row, vec);
  switch (x->op) {
  case ONNXC_EXPR_ADD: return onnxc_dim_add(c->dims, a, b);
  case ONNXC_EXPR_SUB: return onnxc_dim_sub(c->dims, a, b);
  case ONNXC_EXPR_MUL: return onnxc_dim_mul(c->dims, a, b);
  case ONNXC_EXPR_FLOORDIV: return onnxc_dim_floordiv(c->dims, a, b);
  case ONNXC_EXPR_MOD: return onnxc_dim_mod(c->dims, a, b);
  case ONNXC_EXPR_MIN: return onnxc_dim_min(c->dims, a, b);
  default: return onnxc_dim_max(c->dims, a, b);
  }
}

static LLVMValueRef emit_dim(compose *c, onnxc_dim dim) {
  return onnxc_dim_uses(c->dims, dim, c->lane) ? onnxc_gen_dim_lanes(c->gen, dim, c->lane, c->lanes)
                                               : onnxc_gen_dim(c->gen, dim);
}

static LLVMIntPredicate predicate(onnxc_expr_op op) {
  switch (op) {
  case ONNXC_EXPR_EQ: return LLVMIntEQ;
  case ONNXC_EXPR_NE: return LLVMIntNE;
  case ONNXC_EXPR_LT: return LLVMIntSLT;
  case ONNXC_EXPR_LE: return LLVMIntSLE;
  case ONNXC_EXPR_GT: return LLVMIntSGT;
  default: return LLVMIntSGE;
  }
}

/* Does the range of `difference` (of the two sides) decide the comparison? */
static bool decided(onnxc_expr_op op, int64_t low, int64_t high, bool *result) {
  bool yes, no;
  switch (op) {
  case ONNXC_EXPR_EQ: yes = low == 0 && high == 0, no = low > 0 || high < 0; break;
  case ONNXC_EXPR_NE: yes = low > 0 || high < 0, no = low == 0 && high == 0; break;
  case ONNXC_EXPR_LT: yes = high < 0, no = low >= 0; break;
  case ONNXC_EXPR_LE: yes = high <= 0, no = low > 0; break;
  case ONNXC_EXPR_GT: yes = low > 0, no = high <= 0; break;
  default: yes = low >= 0, no = high < 0; break;
  }
  *result = yes;
  return yes || no;
}

/* A comparison of two index expressions: often decided by the ranges of the loops, else done in 32-bit lanes. */
static LLVMValueRef compare_dims(compose *c, onnxc_expr_op op, onnxc_dim a, onnxc_dim b) {
  onnxc_gen *gen = c->gen;
  LLVMBuilderRef builder = gen->nano.builder;
  onnxc_dim difference = onnxc_dim_sub(c->dims, a, b);
  int64_t low, high, step;
  bool result;
  onnxc_dim_range(c->dims, difference, &low, &high);
  if (decided(op, low, high, &result))
    return LLVMConstInt(gen->i1, result, false);
  if (!onnxc_dim_uses(c->dims, difference, c->lane))
    return LLVMBuildICmp(builder, predicate(op), onnxc_gen_dim(gen, a), onnxc_gen_dim(gen, b), "");
  onnxc_dim first = onnxc_gen_at(gen, difference, c->lane, 0);
  onnxc_dim stride = onnxc_dim_sub(c->dims, onnxc_gen_at(gen, difference, c->lane, 1), first);
  onnxc_dim linear = onnxc_dim_add(c->dims, first, onnxc_dim_mul(c->dims, stride, onnxc_dim_sym(c->dims, c->lane)));
  const int64_t most = 1 << 24;
  if (!onnxc_dim_same(linear, difference) || !onnxc_dim_is_const(c->dims, stride, &step) || step > most || step < -most)
    return LLVMBuildICmp(builder, predicate(op), onnxc_compose_splat(c, emit_dim(c, a)),
                         onnxc_compose_splat(c, emit_dim(c, b)), "");
  /* first + step*lane OP 0: compare step*lane with -first, clamped to where it still decides the same. */
  onnxc_dim bound = onnxc_dim_const(c->dims, INT64_C(1) << 30);
  onnxc_dim other = onnxc_dim_mulc(c->dims, first, -1);
  other = onnxc_dim_min(c->dims, onnxc_dim_max(c->dims, other, onnxc_dim_mulc(c->dims, bound, -1)), bound);
  LLVMValueRef right = LLVMBuildTrunc(builder, onnxc_gen_dim(gen, other), gen->i32, "");
  return LLVMBuildICmp(builder, predicate(op), onnxc_gen_iota(gen, gen->i32, c->lanes, step),
                       onnxc_nano_splat(&gen->nano, right, c->lanes), "");
}

static LLVMValueRef both(compose *c, LLVMValueRef a, LLVMValueRef b) {
  return !a ? b : !b ? a : LLVMBuildAnd(c->gen->nano.builder, a, b, "");
}

void onnxc_compose_condition(compose *c, uint32_t in_scope, uint32_t row, uint32_t vec, LLVMValueRef *uniform,
                             LLVMValueRef *lanes) {
  *uniform = NULL;
  *lanes = NULL;
  for (uint32_t s = in_scope; s != 0; s = c->scopes.data[s].parent) {
    scope now = c->scopes.data[s];
    LLVMValueRef value = onnxc_compose_emit(c, now.condition, row, vec, now.parent);
    if (now.negate)
      value = LLVMBuildNot(c->gen->nano.builder, value, "");
    if (is_vector(value))
      *lanes = both(c, *lanes, value);
    else
      *uniform = both(c, *uniform, value);
  }
}

static bool is_zero(const compose *c, onnxc_expr e) {
  const onnxc_expr_node *x = onnxc_exprs_node(c->exprs, e);
  return x->op == ONNXC_EXPR_CONST && x->imm == 0;
}

static LLVMValueRef emit_select(compose *c, onnxc_expr e, uint32_t row, uint32_t vec, uint32_t in_scope) {
  const onnxc_expr *args = onnxc_exprs_node(c->exprs, e)->args;
  LLVMValueRef condition = onnxc_compose_emit(c, args[0], row, vec, in_scope);
  if (LLVMIsAConstantInt(condition))
    return onnxc_compose_emit(c, args[LLVMConstIntGetZExtValue(condition) ? 1 : 2], row, vec, in_scope);
  LLVMValueRef arms[2];
  for (uint32_t k = 0; k < 2; k++) {
    bool masked = onnxc_compose_node(c, args[1 + k])->loads;
    uint32_t arm_scope = masked ? enter(c, in_scope, args[0], k == 1) : in_scope;
    c->zeroed = false;
    arms[k] = onnxc_compose_emit(c, args[1 + k], row, vec, arm_scope);
    /* A load that was masked by this very condition is already zero elsewhere. */
    if (c->zeroed && is_zero(c, args[2 - k]) && onnxc_exprs_node(c->exprs, args[1 + k])->op == ONNXC_EXPR_LOAD)
      return arms[k];
  }
  if (is_vector(condition) || is_vector(arms[0]) || is_vector(arms[1])) {
    arms[0] = onnxc_compose_splat(c, arms[0]);
    arms[1] = onnxc_compose_splat(c, arms[1]);
  }
  LLVMBuilderRef b = c->gen->nano.builder;
  LLVMValueRef bits =
      LLVMBuildSelect(b, condition, onnxc_compose_half_bits(c, arms[0]), onnxc_compose_half_bits(c, arms[1]), "");
  return LLVMBuildBitCast(b, bits, LLVMTypeOf(arms[0]), "");
}

static bool comparison(onnxc_expr_op op) { return op >= ONNXC_EXPR_EQ && op <= ONNXC_EXPR_GE; }

static LLVMValueRef emit_node(compose *c, node *n, uint32_t row, uint32_t vec, uint32_t in_scope) {
  onnxc_gen *gen = c->gen;
  onnxc_expr_node x = *onnxc_exprs_node(c->exprs, n->e);
  switch (x.op) {
  case ONNXC_EXPR_CONST: return onnxc_nano_const(&gen->nano, x.dtype, 0, x.imm);
  case ONNXC_EXPR_ACC: return c->acc[((uint32_t)x.imm * c->tile_rows + row) * c->acc_vecs + vec];
  case ONNXC_EXPR_VAL: return c->val[x.imm];
  case ONNXC_EXPR_LOAD: return onnxc_compose_load(c, n, row, vec, in_scope);
  case ONNXC_EXPR_SELECT: return emit_select(c, n->e, row, vec, in_scope);
  case ONNXC_EXPR_CAST: {
    onnxc_dtype from = onnxc_exprs_node(c->exprs, x.args[0])->dtype;
    LLVMValueRef value = onnxc_compose_emit(c, x.args[0], row, vec, in_scope);
    return onnxc_nano_cast(&gen->nano, x.dtype, from, n->wide ? onnxc_compose_splat(c, value) : value);
  }
  default: break;
  }
  if (n->guard && c->interior)
    return LLVMConstInt(gen->i1, true, false);
  if (n->dimable)
    return emit_dim(c, onnxc_compose_dim(c, n->e, row, vec));
  if (comparison(x.op) && onnxc_compose_node(c, x.args[0])->dimable && onnxc_compose_node(c, x.args[1])->dimable)
    return compare_dims(c, x.op, onnxc_compose_dim(c, x.args[0], row, vec), onnxc_compose_dim(c, x.args[1], row, vec));
  LLVMValueRef args[2] = {NULL, NULL};
  bool vector = false;
  for (uint32_t i = 0; i < x.num_args && i < 2; i++) {
    args[i] = onnxc_compose_emit(c, x.args[i], row, vec, in_scope);
    vector |= is_vector(args[i]);
  }
  for (uint32_t i = 0; vector && i < x.num_args && i < 2; i++)
    args[i] = onnxc_compose_splat(c, args[i]);
  LLVMValueRef value = onnxc_nano_op(&gen->nano, x.op, onnxc_exprs_node(c->exprs, x.args[0])->dtype, args);
  if (value)
    return value;
  onnxc_error(gen->diag, ONNXC_UNSUPPORTED, "no code for %s of %s", onnxc_expr_op_name(x.op),
              onnxc_dtype_name(onnxc_exprs_node(c->exprs, x.args[0])->dtype));
  onnxc_gen_error(gen, ONNXC_UNSUPPORTED, "see above");
  return LLVMGetUndef(onnxc_nano_type(&gen->nano, x.dtype, vector ? c->lanes : 0));
}

/* Has the node the same value at two rows of a vector column? It has where all index expressions below are equal, as
 * w floordiv 4 is for four rows w. Not worth more than a few steps. */
static bool same_at_rows(compose *c, onnxc_expr e, uint32_t a, uint32_t b, uint32_t vec, int *steps) {
  const node *n = onnxc_compose_node(c, e);
  if (!n->row)
    return true;
  if (--*steps < 0)
    return false;
  if (n->dimable)
    return onnxc_dim_same(onnxc_compose_dim(c, e, a, vec), onnxc_compose_dim(c, e, b, vec));
  uint32_t num_args = onnxc_exprs_node(c->exprs, e)->num_args;
  for (uint32_t i = 0; i < num_args; i++)
    if (!same_at_rows(c, onnxc_exprs_node(c->exprs, e)->args[i], a, b, vec, steps))
      return false;
  return num_args > 0;
}

/* What was emitted for another row, where that and the conditions it was under are the same; without a reduction, where
 * stores of one row come between loads of two so that LLVM can't tell. */
static LLVMValueRef from_other_row(compose *c, const node *n, uint32_t row, uint32_t vec, uint32_t in_scope) {
  if (c->compute->num_reduce || !n->by_row || n->dimable)
    return NULL;
  for (uint32_t r = row; r-- > 0;) {
    const memo *m = &n->memo[r * (n->by_vec ? c->vecs : 1) + vec];
    if (!usable(c, n, m, in_scope))
      continue;
    int steps = 64;
    bool same = same_at_rows(c, n->e, r, row, vec, &steps);
    for (uint32_t s = m->scope; same && s != 0; s = c->scopes.data[s].parent)
      same = same_at_rows(c, c->scopes.data[s].condition, r, row, vec, &steps);
    if (same)
      return m->value;
  }
  return NULL;
}

LLVMValueRef onnxc_compose_emit(compose *c, onnxc_expr e, uint32_t row, uint32_t vec, uint32_t in_scope) {
  node *n = onnxc_compose_node(c, e);
  uint32_t r = n->by_row ? row : 0, v = n->by_vec ? vec : 0;
  uint32_t at = r * (n->by_vec ? c->vecs : 1) + v;
  if (!n->loads)
    in_scope = 0;
  if (usable(c, n, &n->memo[at], in_scope)) {
    c->zeroed = false;
    return n->memo[at].value;
  }
  LLVMValueRef value = from_other_row(c, n, r, v, in_scope);
  if (value)
    c->zeroed = false;
  else
    value = emit_node(c, n, r, v, in_scope);
  if (n->lane && !LLVMIsAConstantInt(value)) /* a condition that is decided stays so for emit_select */
    value = onnxc_compose_splat(c, value);
  n->memo[at] = (memo){value, in_scope, c->now};
  return value;
}
