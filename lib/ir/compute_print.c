/* compute_print.c -- expressions and computes as text.
 *
 * An expression is a DAG; printed as a tree it could be exponentially long. So
 * a node that is used more than once and is not small, and every so many levels of depth,
 * gets a name by a `let`; all expressions of a compute share the lets. A
 * constant is written bare where the parser will know its type from the
 * context, by the same rule on both sides: an operation hands its own type down
 * to its arguments, and one typed argument types the other.
 */
#include "ir/compute_text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SMALL = 8, DEEP = 48, MAX_ROOTS = 4 * ONNXC_MAX_RESULTS };

/* Tables over all handles up to the highest root. */
typedef struct printer {
  const onnxc_exprs *pool;
  onnxc_text *text;
  uint32_t num_parallel;
  uint32_t *uses, *let; /* let[e] = 1 + its number */
  uint8_t *seen;
  uint32_t *weight, *depth;
} printer;

const char *onnxc_role_name(uint32_t role) {
  static const char *const names[] = {"-", "batch", "m", "n", "k", "window"};
  return role < sizeof names / sizeof *names ? names[role] : "?";
}

static void print(printer *p, onnxc_expr e, bool typed);

static bool is_const(const printer *p, onnxc_expr e) { return onnxc_exprs_node(p->pool, e)->op == ONNXC_EXPR_CONST; }

static void print_const(printer *p, onnxc_expr e, bool typed) {
  const onnxc_expr_node *node = onnxc_exprs_node(p->pool, e);
  onnxc_dtype dtype = (onnxc_dtype)node->dtype;
  if (!typed)
    onnxc_text_printf(p->text, "const.%s(", onnxc_dtype_name(dtype));
  if (onnxc_dtype_is_float(dtype)) {
    double value;
    memcpy(&value, &node->imm, sizeof value);
    onnxc_text_f64(p->text, dtype, value);
  } else if (dtype == ONNXC_BOOL) {
    onnxc_text_printf(p->text, node->imm ? "true" : "false");
  } else if (dtype == ONNXC_U64) {
    onnxc_text_printf(p->text, "%llu", (unsigned long long)node->imm);
  } else {
    onnxc_text_printf(p->text, "%lld", (long long)node->imm);
  }
  if (!typed)
    onnxc_text_printf(p->text, ")");
}

/* Two arguments of one type. */
static void print_pair(printer *p, onnxc_expr a, onnxc_expr b, bool typed) {
  bool bare = typed || (is_const(p, a) && !is_const(p, b));
  print(p, a, bare);
  onnxc_text_printf(p->text, ", ");
  print(p, b, typed || !is_const(p, a) || !bare);
}

static void print_node(printer *p, onnxc_expr e, bool typed) {
  const onnxc_expr_node *node = onnxc_exprs_node(p->pool, e);
  onnxc_expr_op op = (onnxc_expr_op)node->op;
  const char *name = onnxc_expr_op_name(op);
  switch (op) {
  case ONNXC_EXPR_CONST: print_const(p, e, typed); return;
  case ONNXC_EXPR_INDEX: {
    bool reduce = node->imm >= (int64_t)p->num_parallel;
    onnxc_text_printf(p->text, "%c%lld", reduce ? 'r' : 'i',
                      (long long)(reduce ? node->imm - (int64_t)p->num_parallel : node->imm));
    return;
  }
  case ONNXC_EXPR_DIM:
    onnxc_text_printf(p->text, "dim(%s)", onnxc_dim_text(p->pool->dims, (onnxc_dim){(uint32_t)node->imm}));
    return;
  case ONNXC_EXPR_ACC:
  case ONNXC_EXPR_VAL: onnxc_text_printf(p->text, "%s%lld", name, (long long)node->imm); return;
  case ONNXC_EXPR_LOAD:
    onnxc_text_printf(p->text, "$%lld[", (long long)node->imm);
    for (uint32_t i = 0; i < node->num_args; i++) {
      onnxc_text_printf(p->text, i ? ", " : "");
      print(p, node->args[i], true);
    }
    onnxc_text_printf(p->text, "]");
    return;
  case ONNXC_EXPR_SELECT:
    onnxc_text_printf(p->text, "select(");
    print(p, node->args[0], true);
    onnxc_text_printf(p->text, ", ");
    print_pair(p, node->args[1], node->args[2], typed);
    break;
  case ONNXC_EXPR_CAST:
    onnxc_text_printf(p->text, "cast.%s(", onnxc_dtype_name((onnxc_dtype)node->dtype));
    print(p, node->args[0], false);
    break;
  default: {
    bool inside = typed && op != ONNXC_EXPR_ISNAN && !(op >= ONNXC_EXPR_EQ && op <= ONNXC_EXPR_GE);
    onnxc_text_printf(p->text, "%s(", name);
    if (node->num_args == 2)
      print_pair(p, node->args[0], node->args[1], inside);
    else
      print(p, node->args[0], inside);
    break;
  }
  }
  onnxc_text_printf(p->text, ")");
}

static void print(printer *p, onnxc_expr e, bool typed) {
  if (p->let[e.i])
    onnxc_text_printf(p->text, "t%u", p->let[e.i] - 1);
  else
    print_node(p, e, typed);
}

typedef struct collector {
  printer *printer;
  ONNXC_VEC(onnxc_expr) lets;
} collector;

/* Counts uses; arguments come first, so their weight and depth are known. */
static void visit(void *arg, const onnxc_exprs *pool, onnxc_expr e) {
  printer *p = arg;
  if (p->seen[e.i])
    return;
  p->seen[e.i] = 1;
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  for (uint32_t i = 0; i < node->num_args; i++)
    p->uses[node->args[i].i]++;
}

/* The second round: decides which nodes get a name, and prints their lets. */
static void name_shared(void *arg, const onnxc_exprs *pool, onnxc_expr e) {
  collector *c = arg;
  printer *p = c->printer;
  if (p->seen[e.i] == 2)
    return;
  p->seen[e.i] = 2;
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  uint32_t weight = 1, depth = 1;
  for (uint32_t i = 0; i < node->num_args; i++) {
    bool named = p->let[node->args[i].i] != 0;
    uint32_t inside = named ? 1 : p->depth[node->args[i].i] + 1;
    weight += named ? 1 : p->weight[node->args[i].i];
    depth = inside > depth ? inside : depth;
  }
  p->weight[e.i] = weight;
  p->depth[e.i] = depth;
  if (node->num_args && ((p->uses[e.i] > 1 && weight > SMALL) || depth > DEEP)) {
    ONNXC_PUSH(pool->arena, c->lets, e);
    p->let[e.i] = UINT32_MAX; /* numbered when printed */
  }
}

static void print_lets(printer *p, uint32_t num_roots, const onnxc_expr *roots, const char *separator) {
  const onnxc_exprs *pool = p->pool;
  uint32_t size = 1;
  for (uint32_t i = 0; i < num_roots; i++)
    size = roots[i].i >= size ? roots[i].i + 1 : size;
  p->uses = ONNXC_NEW_ARRAY(pool->arena, uint32_t, size);
  p->let = ONNXC_NEW_ARRAY(pool->arena, uint32_t, size);
  p->seen = ONNXC_NEW_ARRAY(pool->arena, uint8_t, size);
  p->weight = ONNXC_NEW_ARRAY(pool->arena, uint32_t, size);
  p->depth = ONNXC_NEW_ARRAY(pool->arena, uint32_t, size);
  collector c = {.printer = p};
  for (uint32_t i = 0; i < num_roots; i++)
    if (roots[i].i) {
      onnxc_expr_walk(pool, roots[i], visit, p);
      p->uses[roots[i].i]++;
    }
  for (uint32_t i = 0; i < num_roots; i++)
    if (roots[i].i)
      onnxc_expr_walk(pool, roots[i], name_shared, &c);
  for (uint32_t i = 0; i < c.lets.length; i++) {
    onnxc_text_printf(p->text, "let t%u = ", i);
    print_node(p, c.lets.data[i], false);
    onnxc_text_printf(p->text, ";%s", separator);
    p->let[c.lets.data[i].i] = i + 1;
  }
}

/* `add` when combine_j is add(acc_j, val_j), else {expression}. */
static void print_combine(printer *p, const onnxc_compute *compute, uint32_t j) {
  const onnxc_expr_node *node = onnxc_exprs_node(p->pool, compute->combine[j]);
  onnxc_expr_op op = onnxc_compute_combiner(p->pool, compute, j);
  if (op != ONNXC_EXPR_NONE && onnxc_exprs_node(p->pool, node->args[0])->op == ONNXC_EXPR_ACC) {
    onnxc_text_printf(p->text, "%s ", onnxc_expr_op_name(op));
    return;
  }
  onnxc_text_printf(p->text, "{");
  print(p, compute->combine[j], true);
  onnxc_text_printf(p->text, "} ");
}

void onnxc_compute_print(const onnxc_exprs *pool, const onnxc_compute *compute, unsigned indent, onnxc_text *text) {
  printer p = {.pool = pool, .text = text, .num_parallel = compute->num_parallel};
  onnxc_text_printf(text, "<");
  for (uint32_t k = 0; k < compute->num_parallel + compute->num_reduce; k++) {
    bool reduce = k >= compute->num_parallel;
    const char *before = k == compute->num_parallel ? (k ? " | " : "| ") : k ? ", " : "";
    onnxc_text_printf(text, "%s%c%u: %s", before, reduce ? 'r' : 'i', reduce ? k - compute->num_parallel : k,
                      onnxc_dim_text(pool->dims, compute->extents[k]));
  }
  onnxc_text_printf(text, ">");
  bool reduces = compute->num_reduce != 0;
  onnxc_expr roots[MAX_ROOTS];
  uint32_t num_roots = 0;
  for (uint32_t j = 0; j < compute->num_results; j++) {
    if (reduces) {
      roots[num_roots++] = compute->element[j];
      roots[num_roots++] = compute->init[j];
      roots[num_roots++] = compute->combine[j];
    }
    roots[num_roots++] = compute->finish[j];
  }
  char line[80];
  snprintf(line, sizeof line, "\n%*s", (int)(indent > 70 ? 70 : indent), "");
  onnxc_text_printf(text, "%s", line);
  print_lets(&p, num_roots, roots, line);
  for (uint32_t j = 0; j < compute->num_results; j++) {
    if (j)
      onnxc_text_printf(text, ";%s", line);
    if (reduces) {
      onnxc_text_printf(text, "%s ", onnxc_dtype_name(compute->acc_dtype[j]));
      print_combine(&p, compute, j);
      print(&p, compute->element[j], true);
      onnxc_text_printf(text, " init ");
      print(&p, compute->init[j], true);
      onnxc_text_printf(text, " -> ");
    }
    print(&p, compute->finish[j], false);
  }
  if (compute->contraction.valid) {
    onnxc_text_printf(text, "%scontraction(a=%u, b=%u, roles=", line, compute->contraction.a, compute->contraction.b);
    for (uint32_t k = 0; k < compute->num_parallel + compute->num_reduce; k++)
      onnxc_text_printf(text, "%s%s", k ? " " : "", onnxc_role_name(compute->contraction.role[k]));
    onnxc_text_printf(text, ")");
  }
  if (compute->row_group)
    onnxc_text_printf(text, "%srows(group=%u, rank=%u)", line, compute->row_group, compute->row_rank);
}
