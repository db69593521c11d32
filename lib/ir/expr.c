/* expr.c -- the pool of scalar expressions and its constructors; see expr.h. The rules are in expr_fold.c. */
#include "ir/expr_private.h"

#include <assert.h>
#include <math.h>
#include <string.h>

typedef struct op_row {
  const char *name;
  int arity;
  char result;
} op_row;

static const op_row rows[ONNXC_EXPR_OP_COUNT] = {
    {"none", 0, 's'},
#define X(NAME, text, arity, result) {text, arity, result},
#include "ir/expr.def"
#undef X
};

const char *onnxc_expr_op_name(onnxc_expr_op op) { return (unsigned)op < ONNXC_EXPR_OP_COUNT ? rows[op].name : "?"; }
bool onnxc_expr_op_is_dim(onnxc_expr_op op) {
  switch (op) {
  case ONNXC_EXPR_CONST:
  case ONNXC_EXPR_INDEX:
  case ONNXC_EXPR_DIM:
  case ONNXC_EXPR_NEG:
  case ONNXC_EXPR_ADD:
  case ONNXC_EXPR_SUB:
  case ONNXC_EXPR_MUL:
  case ONNXC_EXPR_FLOORDIV:
  case ONNXC_EXPR_MOD:
  case ONNXC_EXPR_MIN:
  case ONNXC_EXPR_MAX: return true;
  default: return false;
  }
}

int onnxc_expr_op_arity(onnxc_expr_op op) { return rows[op].arity; }

onnxc_expr_op onnxc_expr_op_parse(const char *name, size_t length) {
  for (int op = 1; op < ONNXC_EXPR_OP_COUNT; op++)
    if (strlen(rows[op].name) == length && memcmp(rows[op].name, name, length) == 0)
      return (onnxc_expr_op)op;
  return ONNXC_EXPR_NONE;
}

/* ---- interning ---- */

static uint32_t hash_of(onnxc_expr_op op, onnxc_dtype dtype, uint32_t num_args, const onnxc_expr *args, int64_t imm) {
  uint64_t hash = ((uint64_t)op << 8 | (uint64_t)dtype) + 1;
  hash = (hash ^ (uint64_t)imm) * 0x9e3779b97f4a7c15u;
  hash ^= hash >> 31;
  for (uint32_t i = 0; i < num_args; i++) {
    hash = (hash ^ args[i].i) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 31;
  }
  return (uint32_t)(hash ^ hash >> 32);
}

static void grow_table(onnxc_exprs *pool) {
  uint32_t size = pool->table_size ? pool->table_size * 2 : 512;
  pool->table = ONNXC_NEW_ARRAY(pool->arena, uint32_t, size);
  pool->table_size = size;
  for (uint32_t i = 1; i < pool->nodes.length; i++) {
    uint32_t at = pool->nodes.data[i].hash & (size - 1);
    while (pool->table[at])
      at = (at + 1) & (size - 1);
    pool->table[at] = i;
  }
}

void onnxc_exprs_init(onnxc_exprs *pool, onnxc_dims *dims, onnxc_arena *arena) {
  memset(pool, 0, sizeof *pool);
  pool->arena = arena;
  pool->dims = dims;
  pool->scratch = ONNXC_NEW(arena, onnxc_expr_scratch);
  ONNXC_PUSH(arena, pool->nodes, (onnxc_expr_node){0});
  grow_table(pool);
}

onnxc_expr onnxc_expr_intern(onnxc_exprs *pool, onnxc_expr_op op, onnxc_dtype dtype, uint32_t num_args,
                             const onnxc_expr *args, int64_t imm) {
  uint32_t hash = hash_of(op, dtype, num_args, args, imm);
  uint32_t mask = pool->table_size - 1, at = hash & mask;
  for (; pool->table[at]; at = (at + 1) & mask) {
    const onnxc_expr_node *node = &pool->nodes.data[pool->table[at]];
    if (node->hash == hash && node->op == op && node->dtype == dtype && node->imm == imm &&
        node->num_args == num_args && (num_args == 0 || memcmp(node->args, args, num_args * sizeof *args) == 0))
      return (onnxc_expr){pool->table[at]};
  }
  onnxc_expr_node node = {.op = (uint8_t)op, .dtype = (uint8_t)dtype, .num_args = (uint16_t)num_args, .hash = hash};
  node.imm = imm;
  if (num_args) {
    onnxc_expr *copy = ONNXC_NEW_ARRAY(pool->arena, onnxc_expr, num_args);
    memcpy(copy, args, num_args * sizeof *args);
    node.args = copy;
  }
  uint32_t handle = pool->nodes.length;
  ONNXC_PUSH(pool->arena, pool->nodes, node);
  pool->table[at] = handle;
  if (pool->nodes.length * 2 > pool->table_size)
    grow_table(pool);
  return (onnxc_expr){handle};
}

/* ---- constructors ---- */

onnxc_expr onnxc_expr_f64(onnxc_exprs *pool, onnxc_dtype dtype, double value) {
  unsigned char memory[16];
  onnxc_scalar_from_f64(dtype, memory, value);
  int64_t bits;
  if (onnxc_dtype_is_float(dtype)) {
    value = onnxc_scalar_to_f64(dtype, memory);
    if (isnan(value))
      value = NAN; /* one handle for all NaNs */
    memcpy(&bits, &value, sizeof bits);
  } else {
    bits = onnxc_scalar_to_i64(dtype, memory);
  }
  return onnxc_expr_intern(pool, ONNXC_EXPR_CONST, dtype, 0, NULL, bits);
}

onnxc_expr onnxc_expr_i64(onnxc_exprs *pool, onnxc_dtype dtype, int64_t value) {
  if (onnxc_dtype_is_float(dtype))
    return onnxc_expr_f64(pool, dtype, (double)value);
  unsigned char memory[16];
  onnxc_scalar_from_i64(dtype, memory, value);
  return onnxc_expr_intern(pool, ONNXC_EXPR_CONST, dtype, 0, NULL, onnxc_scalar_to_i64(dtype, memory));
}

onnxc_expr onnxc_expr_index(onnxc_exprs *pool, uint32_t index) {
  return onnxc_expr_intern(pool, ONNXC_EXPR_INDEX, ONNXC_I64, 0, NULL, index);
}

onnxc_expr onnxc_expr_dim(onnxc_exprs *pool, onnxc_dim dim) {
  int64_t value;
  if (onnxc_dim_is_const(pool->dims, dim, &value))
    return onnxc_expr_i64(pool, ONNXC_I64, value);
  return onnxc_expr_intern(pool, ONNXC_EXPR_DIM, ONNXC_I64, 0, NULL, dim.i);
}

onnxc_expr onnxc_expr_load(onnxc_exprs *pool, onnxc_dtype dtype, uint32_t operand, uint32_t rank,
                           const onnxc_expr *indices) {
  for (uint32_t i = 0; i < rank; i++)
    assert(onnxc_exprs_node(pool, indices[i])->dtype == ONNXC_I64);
  return onnxc_expr_intern(pool, ONNXC_EXPR_LOAD, dtype, rank, indices, operand);
}

onnxc_expr onnxc_expr_load_from(onnxc_exprs *pool, onnxc_expr load, onnxc_dtype dtype, uint32_t operand) {
  onnxc_expr_node node = *onnxc_exprs_node(pool, load); /* the pool may grow */
  return onnxc_expr_intern(pool, ONNXC_EXPR_LOAD, dtype, node.num_args, node.args, operand);
}

onnxc_expr onnxc_expr_acc(onnxc_exprs *pool, onnxc_dtype dtype, uint32_t which) {
  return onnxc_expr_intern(pool, ONNXC_EXPR_ACC, dtype, 0, NULL, which);
}

onnxc_expr onnxc_expr_val(onnxc_exprs *pool, onnxc_dtype dtype, uint32_t which) {
  return onnxc_expr_intern(pool, ONNXC_EXPR_VAL, dtype, 0, NULL, which);
}

static onnxc_dtype result_dtype(const onnxc_exprs *pool, onnxc_expr_op op, onnxc_expr a) {
  return rows[op].result == 'b' ? ONNXC_BOOL : (onnxc_dtype)onnxc_exprs_node(pool, a)->dtype;
}

onnxc_expr onnxc_expr_unary(onnxc_exprs *pool, onnxc_expr_op op, onnxc_expr a) {
  assert(rows[op].arity == 1 && op != ONNXC_EXPR_CAST);
  onnxc_expr folded = onnxc_expr_fold_unary(pool, op, a);
  return folded.i ? folded : onnxc_expr_intern(pool, op, result_dtype(pool, op, a), 1, &a, 0);
}

onnxc_expr onnxc_expr_binary(onnxc_exprs *pool, onnxc_expr_op op, onnxc_expr a, onnxc_expr b) {
  assert(rows[op].arity == 2 && onnxc_exprs_node(pool, a)->dtype == onnxc_exprs_node(pool, b)->dtype);
  onnxc_expr folded = onnxc_expr_fold_binary(pool, op, a, b);
  onnxc_expr args[2] = {a, b};
  return folded.i ? folded : onnxc_expr_intern(pool, op, result_dtype(pool, op, a), 2, args, 0);
}

onnxc_expr onnxc_expr_select(onnxc_exprs *pool, onnxc_expr c, onnxc_expr a, onnxc_expr b) {
  assert(onnxc_exprs_node(pool, c)->dtype == ONNXC_BOOL);
  assert(onnxc_exprs_node(pool, a)->dtype == onnxc_exprs_node(pool, b)->dtype);
  const onnxc_expr_node *condition = onnxc_exprs_node(pool, c);
  int64_t x, y;
  if (a.i == b.i)
    return a;
  if (condition->op == ONNXC_EXPR_CONST)
    return condition->imm ? a : b;
  if (condition->op == ONNXC_EXPR_NOT)
    return onnxc_expr_select(pool, condition->args[0], b, a);
  if (onnxc_exprs_node(pool, a)->dtype == ONNXC_BOOL && onnxc_expr_const_value(pool, a, NULL, &x) &&
      onnxc_expr_const_value(pool, b, NULL, &y)) /* the two differ */
    return x ? c : onnxc_expr_unary(pool, ONNXC_EXPR_NOT, c);
  onnxc_expr args[3] = {c, a, b};
  return onnxc_expr_intern(pool, ONNXC_EXPR_SELECT, (onnxc_dtype)onnxc_exprs_node(pool, a)->dtype, 3, args, 0);
}

onnxc_expr onnxc_expr_cast(onnxc_exprs *pool, onnxc_dtype dtype, onnxc_expr a) {
  onnxc_expr folded = onnxc_expr_fold_cast(pool, dtype, a);
  return folded.i ? folded : onnxc_expr_intern(pool, ONNXC_EXPR_CAST, dtype, 1, &a, 0);
}

bool onnxc_expr_const_value(const onnxc_exprs *pool, onnxc_expr e, double *f, int64_t *i) {
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  if (node->op != ONNXC_EXPR_CONST)
    return false;
  if (onnxc_dtype_is_float((onnxc_dtype)node->dtype)) {
    double value;
    memcpy(&value, &node->imm, sizeof value);
    if (f)
      *f = value;
    if (i)
      onnxc_scalar_from_f64(ONNXC_I64, i, value);
  } else {
    if (f)
      *f = node->dtype == ONNXC_U64 ? (double)(uint64_t)node->imm : (double)node->imm;
    if (i)
      *i = node->imm;
  }
  return true;
}
