/* expr_rewrite.c -- walking, rewriting and reading expressions as affine forms.
 *
 * Every walk is iterative and visits a shared node once: expressions come from
 * hostile models, deep and with exponentially many paths.
 */
#include "ir/expr_private.h"

#include <string.h>

/* ---- walking ---- */

onnxc_expr_scratch *onnxc_expr_collect(const onnxc_exprs *pool, onnxc_expr root) {
  onnxc_arena *arena = pool->arena;
  onnxc_expr_scratch *s = pool->scratch;
  while (s->busy) {
    if (!s->deeper)
      s->deeper = ONNXC_NEW(arena, onnxc_expr_scratch);
    s = s->deeper;
  }
  s->busy = true;
  if (s->size <= root.i) {
    s->size = root.i < 256 ? 512 : root.i * 2;
    s->mark = ONNXC_NEW_ARRAY(arena, uint32_t, s->size);
    s->place = ONNXC_NEW_ARRAY(arena, uint32_t, s->size);
    s->generation = 0;
  }
  if (++s->generation == 0) {
    memset(s->mark, 0, s->size * sizeof *s->mark);
    s->generation = 1;
  }
  s->list.length = s->stack.length = 0;
  ONNXC_PUSH(arena, s->stack, root);
  while (s->stack.length) {
    onnxc_expr e = s->stack.data[s->stack.length - 1];
    const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
    bool ready = s->mark[e.i] != s->generation;
    if (ready)
      for (uint32_t i = node->num_args; i-- > 0;)
        if (s->mark[node->args[i].i] != s->generation) {
          ONNXC_PUSH(arena, s->stack, node->args[i]);
          ready = false;
        }
    if (ready) {
      s->mark[e.i] = s->generation;
      s->place[e.i] = s->list.length;
      ONNXC_PUSH(arena, s->list, e);
    }
    if (s->mark[e.i] == s->generation && s->stack.data[s->stack.length - 1].i == e.i)
      s->stack.length--;
  }
  return s;
}

void onnxc_expr_release(onnxc_expr_scratch *scratch) { scratch->busy = false; }

void onnxc_expr_walk(const onnxc_exprs *pool, onnxc_expr e, onnxc_expr_visit_fn visit, void *arg) {
  onnxc_expr_scratch *s = onnxc_expr_collect(pool, e);
  for (uint32_t i = 0; i < s->list.length; i++)
    visit(arg, pool, s->list.data[i]);
  onnxc_expr_release(s);
}

bool onnxc_expr_loads_own(const onnxc_exprs *pool, onnxc_expr e, uint32_t operand, uint32_t ones) {
  onnxc_expr_scratch *s = onnxc_expr_collect(pool, e);
  bool own = true;
  for (uint32_t i = 0; i < s->list.length; i++) {
    const onnxc_expr_node *load = onnxc_exprs_node(pool, s->list.data[i]);
    if (load->op != ONNXC_EXPR_LOAD || load->imm != (int64_t)operand)
      continue;
    for (uint32_t d = 0; d < load->num_args; d++) {
      const onnxc_expr_node *index = onnxc_exprs_node(pool, load->args[d]);
      bool zero = (ones >> d & 1) && index->op == ONNXC_EXPR_CONST && index->imm == 0;
      own &= zero || (index->op == ONNXC_EXPR_INDEX && index->imm == (int64_t)d);
    }
  }
  onnxc_expr_release(s);
  return own;
}

bool onnxc_expr_uses_index(const onnxc_exprs *pool, onnxc_expr e, uint32_t index) {
  onnxc_expr_scratch *s = onnxc_expr_collect(pool, e);
  bool found = false;
  for (uint32_t i = 0; i < s->list.length; i++) {
    const onnxc_expr_node *node = onnxc_exprs_node(pool, s->list.data[i]);
    found |= node->op == ONNXC_EXPR_INDEX && node->imm == (int64_t)index;
  }
  onnxc_expr_release(s);
  return found;
}

static void collect_index(void *arg, const onnxc_exprs *pool, onnxc_expr e) {
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  if (node->op == ONNXC_EXPR_INDEX)
    *(uint32_t *)arg |= 1u << node->imm;
}

uint32_t onnxc_expr_indices(const onnxc_exprs *pool, onnxc_expr e) {
  uint32_t used = 0;
  onnxc_expr_walk(pool, e, collect_index, &used);
  return used;
}

uint32_t onnxc_expr_op_cost(onnxc_expr_op op) {
  switch (op) {
  case ONNXC_EXPR_CONST:
  case ONNXC_EXPR_INDEX:
  case ONNXC_EXPR_DIM:
  case ONNXC_EXPR_ACC:
  case ONNXC_EXPR_VAL: return 0;
  case ONNXC_EXPR_SQRT:
  case ONNXC_EXPR_DIV: return 4;
  case ONNXC_EXPR_EXP:
  case ONNXC_EXPR_LOG:
  case ONNXC_EXPR_SIN:
  case ONNXC_EXPR_COS:
  case ONNXC_EXPR_FLOORDIV:
  case ONNXC_EXPR_MOD:
  case ONNXC_EXPR_REM: return 16;
  case ONNXC_EXPR_LOG1P:
  case ONNXC_EXPR_EXPM1:
  case ONNXC_EXPR_ERF:
  case ONNXC_EXPR_TANH: return 24;
  case ONNXC_EXPR_POW: return 40;
  default: return 1;
  }
}

uint32_t onnxc_expr_cost(const onnxc_exprs *pool, onnxc_expr e) {
  onnxc_expr_scratch *s = onnxc_expr_collect(pool, e);
  uint64_t cost = 0;
  for (uint32_t i = 0; i < s->list.length; i++)
    cost += onnxc_expr_op_cost((onnxc_expr_op)onnxc_exprs_node(pool, s->list.data[i])->op);
  onnxc_expr_release(s);
  return cost > UINT32_MAX ? UINT32_MAX : (uint32_t)cost;
}

/* ---- rewriting ---- */

static onnxc_expr rebuild(onnxc_exprs *pool, const onnxc_expr_node *node, const onnxc_expr *args) {
  onnxc_expr_op op = (onnxc_expr_op)node->op;
  onnxc_dtype dtype = (onnxc_dtype)node->dtype;
  switch (op) {
  case ONNXC_EXPR_LOAD: return onnxc_expr_load(pool, dtype, (uint32_t)node->imm, node->num_args, args);
  case ONNXC_EXPR_SELECT: return onnxc_expr_select(pool, args[0], args[1], args[2]);
  case ONNXC_EXPR_CAST: return onnxc_expr_cast(pool, dtype, args[0]);
  default:
    return node->num_args == 1 ? onnxc_expr_unary(pool, op, args[0]) : onnxc_expr_binary(pool, op, args[0], args[1]);
  }
}

enum { FEW_ARGS = 8 };

onnxc_expr onnxc_expr_rewrite(onnxc_exprs *pool, onnxc_expr e, onnxc_expr_leaf_fn leaf, void *arg) {
  onnxc_expr_scratch *s = onnxc_expr_collect(pool, e);
  /* The list becomes the memo: entry k is replaced by what node k turns into. */
  for (uint32_t k = 0; k < s->list.length; k++) {
    onnxc_expr old = s->list.data[k];
    onnxc_expr_node node = *onnxc_exprs_node(pool, old);
    onnxc_expr now = old;
    if (node.num_args) {
      onnxc_expr few[FEW_ARGS];
      onnxc_expr *args = node.num_args <= FEW_ARGS ? few : ONNXC_NEW_ARRAY(pool->arena, onnxc_expr, node.num_args);
      bool changed = false;
      for (uint32_t i = 0; i < node.num_args; i++) {
        args[i] = s->list.data[s->place[node.args[i].i]];
        changed |= args[i].i != node.args[i].i;
      }
      if (changed)
        now = rebuild(pool, &node, args);
    }
    switch ((onnxc_expr_op)node.op) {
    case ONNXC_EXPR_INDEX:
    case ONNXC_EXPR_DIM:
    case ONNXC_EXPR_LOAD:
    case ONNXC_EXPR_ACC:
    case ONNXC_EXPR_VAL: {
      onnxc_expr other = leaf(arg, pool, now);
      now = other.i ? other : now;
      break;
    }
    default: break;
    }
    s->list.data[k] = now;
  }
  onnxc_expr result = s->list.data[s->list.length - 1];
  onnxc_expr_release(s);
  return result;
}

/* ---- affine forms ---- */

/* entry[0] is the base, entry[1 + k] the coefficient of index k; none = 0. NULL: no affine form. */
typedef struct affine {
  onnxc_exprs *pool;
  uint32_t length; /* 1 + num_indices */
} affine;

static onnxc_dim *new_form(const affine *a) { return ONNXC_NEW_ARRAY(a->pool->arena, onnxc_dim, a->length); }

static bool index_free(const affine *a, const onnxc_dim *form) {
  for (uint32_t k = 1; k < a->length; k++)
    if (form[k].i)
      return false;
  return true;
}

static onnxc_dim or_zero(const affine *a, onnxc_dim dim) { return dim.i ? dim : onnxc_dim_const(a->pool->dims, 0); }

static onnxc_dim zero_as_none(const affine *a, onnxc_dim dim) {
  return onnxc_dim_is(a->pool->dims, dim, 0) ? (onnxc_dim){0} : dim;
}

static onnxc_dim *combine(const affine *a, onnxc_expr_op op, const onnxc_dim *x, const onnxc_dim *y) {
  onnxc_dims *dims = a->pool->dims;
  onnxc_dim *form = new_form(a);
  switch (op) {
  case ONNXC_EXPR_ADD:
  case ONNXC_EXPR_SUB:
    for (uint32_t k = 0; k < a->length; k++) {
      onnxc_dim p = or_zero(a, x[k]), q = or_zero(a, y[k]);
      form[k] = zero_as_none(a, op == ONNXC_EXPR_ADD ? onnxc_dim_add(dims, p, q) : onnxc_dim_sub(dims, p, q));
    }
    return form;
  case ONNXC_EXPR_MUL:
    if (!index_free(a, y)) {
      const onnxc_dim *swap = x;
      x = y;
      y = swap;
    }
    if (!index_free(a, y))
      return NULL;
    for (uint32_t k = 0; k < a->length; k++)
      form[k] = x[k].i && y[0].i ? zero_as_none(a, onnxc_dim_mul(dims, x[k], y[0])) : (onnxc_dim){0};
    return form;
  case ONNXC_EXPR_FLOORDIV:
  case ONNXC_EXPR_MOD: { /* exact when the divisor divides every coefficient */
    if (!index_free(a, y) || !y[0].i)
      return NULL;
    for (uint32_t k = 1; k < a->length; k++) {
      if (!x[k].i)
        continue;
      onnxc_dim quotient = onnxc_dim_floordiv(dims, x[k], y[0]);
      if (!onnxc_dim_same(onnxc_dim_mul(dims, quotient, y[0]), x[k]))
        return NULL;
      form[k] = op == ONNXC_EXPR_FLOORDIV ? quotient : (onnxc_dim){0};
    }
    onnxc_dim base = or_zero(a, x[0]);
    form[0] = zero_as_none(a, op == ONNXC_EXPR_FLOORDIV ? onnxc_dim_floordiv(dims, base, y[0])
                                                        : onnxc_dim_mod(dims, base, y[0]));
    return form;
  }
  case ONNXC_EXPR_MIN:
  case ONNXC_EXPR_MAX:
    if (!index_free(a, x) || !index_free(a, y))
      return NULL;
    form[0] = zero_as_none(a, op == ONNXC_EXPR_MIN ? onnxc_dim_min(dims, or_zero(a, x[0]), or_zero(a, y[0]))
                                                   : onnxc_dim_max(dims, or_zero(a, x[0]), or_zero(a, y[0])));
    return form;
  default: return NULL;
  }
}

bool onnxc_expr_affine(onnxc_exprs *pool, onnxc_expr e, uint32_t num_indices, onnxc_dim *base,
                       onnxc_dim *coefficients) {
  if (onnxc_exprs_node(pool, e)->dtype != ONNXC_I64)
    return false;
  affine a = {pool, num_indices + 1};
  onnxc_expr_scratch *s = onnxc_expr_collect(pool, e);
  onnxc_dim **forms = ONNXC_NEW_ARRAY(pool->arena, onnxc_dim *, s->list.length);
  for (uint32_t k = 0; k < s->list.length; k++) {
    const onnxc_expr_node *node = onnxc_exprs_node(pool, s->list.data[k]);
    if (node->dtype != ONNXC_I64)
      continue;
    const onnxc_dim *x = node->num_args > 0 ? forms[s->place[node->args[0].i]] : NULL;
    const onnxc_dim *y = node->num_args > 1 ? forms[s->place[node->args[1].i]] : NULL;
    switch ((onnxc_expr_op)node->op) {
    case ONNXC_EXPR_CONST:
      forms[k] = new_form(&a);
      forms[k][0] = zero_as_none(&a, onnxc_dim_const(pool->dims, node->imm));
      break;
    case ONNXC_EXPR_DIM:
      forms[k] = new_form(&a);
      forms[k][0] = (onnxc_dim){(uint32_t)node->imm};
      break;
    case ONNXC_EXPR_INDEX:
      if ((uint64_t)node->imm >= num_indices)
        break;
      forms[k] = new_form(&a);
      forms[k][1 + node->imm] = onnxc_dim_const(pool->dims, 1);
      break;
    case ONNXC_EXPR_NEG:
      if (x)
        forms[k] = combine(&a, ONNXC_EXPR_SUB, new_form(&a), x);
      break;
    default:
      if (x && y && node->num_args == 2)
        forms[k] = combine(&a, (onnxc_expr_op)node->op, x, y);
      break;
    }
  }
  const onnxc_dim *form = forms[s->list.length - 1];
  onnxc_expr_release(s);
  if (!form)
    return false;
  *base = or_zero(&a, form[0]);
  memcpy(coefficients, form + 1, num_indices * sizeof *coefficients);
  return true;
}
