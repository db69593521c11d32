/* compute_parse.c -- expressions and computes from text.
 *
 * A bare constant takes its type from outside (an operation of known type) or
 * from its sibling; until one is known it stays a piece of source text. The
 * accumulators' types are read ahead of the expressions that mention them.
 */
#include "ir/compute_text.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 400 };

typedef struct expr_parser {
  onnxc_lexer *lexer;
  onnxc_exprs *pool;
  const onnxc_operand_type *operands;
  uint32_t num_operands;
  onnxc_compute *compute;
  ONNXC_VEC(onnxc_expr) lets;
  int depth;
} expr_parser;

/* An expression, or a constant without a type yet: literal is its text. */
typedef struct parsed {
  onnxc_expr e;
  const char *literal;
} parsed;

static bool parse(expr_parser *p, onnxc_dtype expected, parsed *result);

static onnxc_dtype dtype_of(const expr_parser *p, onnxc_expr e) {
  return (onnxc_dtype)onnxc_exprs_node(p->pool, e)->dtype;
}

/* Gives a literal its type. */
static bool settle(expr_parser *p, parsed *x, onnxc_dtype dtype) {
  if (!x->literal)
    return true;
  const char *text = x->literal;
  bool word = isalpha((unsigned char)text[text[0] == '-']);
  bool truth = word && (text[0] == 't' || text[0] == 'f');
  x->literal = NULL;
  if (!dtype)
    return onnxc_lex_fail(p->lexer, text, "the constant's type is not known here; write const.f32(..)");
  if (truth != (dtype == ONNXC_BOOL) && (truth || !isdigit((unsigned char)text[0])))
    return onnxc_lex_fail(p->lexer, text, "no constant of type %s", onnxc_dtype_name(dtype));
  if (onnxc_dtype_is_float(dtype)) {
    x->e = onnxc_expr_f64(p->pool, dtype, strtod(text, NULL));
    return true;
  }
  if (truth) {
    x->e = onnxc_expr_i64(p->pool, dtype, text[0] == 't');
    return true;
  }
  char *end;
  errno = 0;
  int64_t value = dtype == ONNXC_U64 ? (int64_t)strtoull(text, &end, 10) : strtoll(text, &end, 10);
  bool fraction = *end == '.' || *end == 'e';
  x->e = onnxc_expr_i64(p->pool, dtype, value);
  if (word || errno || fraction || (dtype == ONNXC_U64 && text[0] == '-') ||
      onnxc_exprs_node(p->pool, x->e)->imm != value)
    return onnxc_lex_fail(p->lexer, text, "no constant of type %s", onnxc_dtype_name(dtype));
  return true;
}

static bool parse_settled(expr_parser *p, onnxc_dtype expected, onnxc_expr *e) {
  parsed x;
  if (!parse(p, expected, &x) || !settle(p, &x, expected))
    return false;
  *e = x.e;
  return true;
}

/* `a, b)`: two arguments of one type. */
static bool parse_pair(expr_parser *p, onnxc_dtype expected, onnxc_expr *a, onnxc_expr *b) {
  parsed x, y;
  const char *start = p->lexer->at;
  if (!parse(p, expected, &x) || !onnxc_lex_expect(p->lexer, ","))
    return false;
  onnxc_dtype known = x.literal ? expected : dtype_of(p, x.e);
  if (!parse(p, known, &y))
    return false;
  if (!known && !y.literal)
    known = dtype_of(p, y.e);
  if (!settle(p, &x, known) || !settle(p, &y, known))
    return false;
  *a = x.e;
  *b = y.e;
  if (dtype_of(p, *a) != dtype_of(p, *b))
    return onnxc_lex_fail(p->lexer, start, "the arguments differ in type: %s and %s", onnxc_dtype_name(dtype_of(p, *a)),
                          onnxc_dtype_name(dtype_of(p, *b)));
  return onnxc_lex_expect(p->lexer, ")");
}

static bool parse_load(expr_parser *p, onnxc_expr *e) {
  const char *start = p->lexer->at;
  uint32_t operand;
  if (!onnxc_lex_u32(p->lexer, UINT16_MAX, &operand))
    return false;
  if (operand >= p->num_operands || !p->operands[operand].dtype)
    return onnxc_lex_fail(p->lexer, start, "there is no operand %u", operand);
  onnxc_expr indices[ONNXC_MAX_RANK];
  uint32_t rank = p->operands[operand].rank;
  if (!onnxc_lex_expect(p->lexer, "["))
    return false;
  for (uint32_t i = 0; i < rank; i++) {
    if (i && !onnxc_lex_expect(p->lexer, ","))
      return false;
    const char *at = p->lexer->at;
    if (!parse_settled(p, ONNXC_I64, &indices[i]))
      return false;
    if (dtype_of(p, indices[i]) != ONNXC_I64)
      return onnxc_lex_fail(p->lexer, at, "an index must be i64");
  }
  *e = onnxc_expr_load(p->pool, p->operands[operand].dtype, operand, rank, indices);
  return onnxc_lex_expect(p->lexer, "]");
}

/* i0, r0, acc0, val0, t0: a word and a number in one. */
static bool parse_numbered(expr_parser *p, const char *word, size_t letters, size_t length, onnxc_expr *e) {
  const onnxc_compute *compute = p->compute;
  uint32_t number = length - letters > 6 ? UINT32_MAX : (uint32_t)strtoul(word + letters, NULL, 10);
  bool acc = letters == 3 && memcmp(word, "acc", 3) == 0, val = letters == 3 && memcmp(word, "val", 3) == 0;
  if (letters == 1 && *word == 'i' && number < compute->num_parallel) {
    *e = onnxc_expr_index(p->pool, number);
  } else if (letters == 1 && *word == 'r' && number < compute->num_reduce) {
    *e = onnxc_expr_index(p->pool, compute->num_parallel + number);
  } else if (letters == 1 && *word == 't' && number < p->lets.length) {
    *e = p->lets.data[number];
  } else if ((acc || val) && number < compute->num_results && compute->num_reduce) {
    onnxc_dtype dtype = compute->acc_dtype[number];
    *e = acc ? onnxc_expr_acc(p->pool, dtype, number) : onnxc_expr_val(p->pool, dtype, number);
  } else {
    return onnxc_lex_fail(p->lexer, word, "there is no '%.*s' here", (int)length, word);
  }
  return true;
}

static bool is_number(onnxc_dtype dtype) {
  return onnxc_dtype_is_float(dtype) || onnxc_dtype_is_int(dtype) || dtype == ONNXC_BOOL;
}

static bool parse_call(expr_parser *p, const char *word, size_t length, onnxc_dtype expected, onnxc_expr *e) {
  onnxc_lexer *lexer = p->lexer;
  onnxc_expr_op op = onnxc_expr_op_parse(word, length);
  onnxc_expr a, b, c;
  if (op == ONNXC_EXPR_DIM) {
    onnxc_dim dim;
    if (!onnxc_lex_expect(lexer, "(") || !onnxc_lex_dim(lexer, p->pool->dims, &dim))
      return false;
    *e = onnxc_expr_dim(p->pool, dim);
    return onnxc_lex_expect(lexer, ")");
  }
  if (op == ONNXC_EXPR_CONST || op == ONNXC_EXPR_CAST) {
    onnxc_dtype dtype;
    if (!onnxc_lex_expect(lexer, ".") || !onnxc_lex_dtype(lexer, &dtype) || !onnxc_lex_expect(lexer, "("))
      return false;
    if (!is_number(dtype))
      return onnxc_lex_fail(lexer, word, "no arithmetic on %s", onnxc_dtype_name(dtype));
    if (!parse_settled(p, op == ONNXC_EXPR_CONST ? dtype : ONNXC_DTYPE_NONE, &a))
      return false;
    *e = op == ONNXC_EXPR_CONST ? a : onnxc_expr_cast(p->pool, dtype, a);
    return onnxc_lex_expect(lexer, ")");
  }
  bool comparison = op >= ONNXC_EXPR_EQ && op <= ONNXC_EXPR_GE;
  onnxc_dtype inside = comparison || op == ONNXC_EXPR_ISNAN ? ONNXC_DTYPE_NONE : expected;
  if (op == ONNXC_EXPR_NONE || onnxc_expr_op_arity(op) < 1)
    return onnxc_lex_fail(lexer, word, "'%.*s' is no operation", (int)length, word);
  if (!onnxc_lex_expect(lexer, "("))
    return false;
  switch (onnxc_expr_op_arity(op)) {
  case 1:
    if (!parse_settled(p, inside, &a) || !onnxc_lex_expect(lexer, ")"))
      return false;
    *e = onnxc_expr_unary(p->pool, op, a);
    return true;
  case 2:
    if (!parse_pair(p, inside, &a, &b))
      return false;
    *e = onnxc_expr_binary(p->pool, op, a, b);
    return true;
  default: /* select */
    if (!parse_settled(p, ONNXC_BOOL, &c) || !onnxc_lex_expect(lexer, ",") || !parse_pair(p, inside, &a, &b))
      return false;
    if (dtype_of(p, c) != ONNXC_BOOL)
      return onnxc_lex_fail(lexer, word, "the condition of a select must be bool");
    *e = onnxc_expr_select(p->pool, c, a, b);
    return true;
  }
}

static bool is_literal_word(const char *word, size_t length) {
  static const char *const words[] = {"nan", "inf", "true", "false"};
  for (size_t i = 0; i < 4; i++)
    if (strlen(words[i]) == length && memcmp(words[i], word, length) == 0)
      return true;
  return false;
}

static bool parse(expr_parser *p, onnxc_dtype expected, parsed *result) {
  onnxc_lexer *lexer = p->lexer;
  onnxc_lex_space(lexer);
  const char *start = lexer->at, *word;
  size_t length;
  *result = (parsed){0};
  if (++p->depth > MAX_DEPTH)
    return onnxc_lex_fail(lexer, start, "the expression is too deep");
  bool ok = true;
  if (isdigit((unsigned char)*start) || *start == '-') {
    double number;
    result->literal = start;
    ok = onnxc_lex_float(lexer, &number);
  } else if (onnxc_lex_take(lexer, "$")) {
    ok = parse_load(p, &result->e);
  } else if (!onnxc_lex_word(lexer, &word, &length)) {
    ok = false;
  } else if (is_literal_word(word, length)) {
    result->literal = word;
  } else {
    size_t letters = 0;
    while (letters < length && isalpha((unsigned char)word[letters]))
      letters++;
    bool numbered = letters < length;
    for (size_t i = letters; i < length; i++)
      numbered &= isdigit((unsigned char)word[i]) != 0;
    ok = numbered && onnxc_expr_op_parse(word, length) == ONNXC_EXPR_NONE
             ? parse_numbered(p, word, letters, length, &result->e)
             : parse_call(p, word, length, expected, &result->e);
  }
  p->depth--;
  return ok && (!result->literal || !expected || settle(p, result, expected));
}

/* ---- computes ---- */

/* Skips text up to one of the characters in `stop` outside all brackets. */
static void skip_to(onnxc_lexer *lexer, const char *stop) {
  int depth = 0;
  for (; *lexer->at; lexer->at++) {
    char c = *lexer->at;
    if (depth == 0 && strchr(stop, c))
      return;
    depth += c == '(' || c == '[' || c == '{';
    depth -= c == ')' || c == ']' || c == '}';
    if (c == '#')
      while (lexer->at[1] && lexer->at[1] != '\n')
        lexer->at++;
  }
}

/* The accumulators' types, read ahead. */
static bool scan_types(expr_parser *p) {
  onnxc_lexer *lexer = p->lexer;
  const char *start = lexer->at;
  while (onnxc_lex_peek(lexer, "let")) {
    skip_to(lexer, ";");
    if (!onnxc_lex_take(lexer, ";"))
      break;
  }
  for (uint32_t j = 0; j < p->compute->num_results; j++) {
    if (!onnxc_lex_dtype(lexer, &p->compute->acc_dtype[j]))
      return false;
    if (!is_number(p->compute->acc_dtype[j]))
      return onnxc_lex_fail(lexer, lexer->at, "no arithmetic on this type");
    if (j + 1 < p->compute->num_results) {
      skip_to(lexer, ";");
      if (!onnxc_lex_expect(lexer, ";"))
        return false;
    }
  }
  lexer->at = start;
  return true;
}

static bool parse_combine(expr_parser *p, uint32_t j) {
  onnxc_lexer *lexer = p->lexer;
  onnxc_compute *compute = p->compute;
  onnxc_dtype dtype = compute->acc_dtype[j];
  if (onnxc_lex_take(lexer, "{"))
    return parse_settled(p, dtype, &compute->combine[j]) && onnxc_lex_expect(lexer, "}");
  const char *word;
  size_t length;
  if (!onnxc_lex_word(lexer, &word, &length))
    return false;
  onnxc_expr_op op = onnxc_expr_op_parse(word, length);
  if (op == ONNXC_EXPR_NONE || onnxc_expr_op_arity(op) != 2 || (op >= ONNXC_EXPR_EQ && op <= ONNXC_EXPR_GE))
    return onnxc_lex_fail(lexer, word, "expected what combines (add, max, .. or {..}), found '%.*s'", (int)length,
                          word);
  compute->combine[j] =
      onnxc_expr_binary(p->pool, op, onnxc_expr_acc(p->pool, dtype, j), onnxc_expr_val(p->pool, dtype, j));
  return true;
}

static bool parse_extents(onnxc_lexer *lexer, onnxc_dims *dims, onnxc_compute *compute) {
  if (!onnxc_lex_expect(lexer, "<"))
    return false;
  bool reduce = false, first = true;
  while (!onnxc_lex_take(lexer, ">")) {
    if (!reduce && onnxc_lex_take(lexer, "|"))
      reduce = true;
    else if (!first && !onnxc_lex_expect(lexer, ","))
      return false;
    first = false;
    uint32_t k = compute->num_parallel + compute->num_reduce;
    if (k == ONNXC_MAX_INDICES || (!reduce && k == ONNXC_MAX_RANK))
      return onnxc_lex_fail(lexer, lexer->at, "too many indices");
    const char *name = onnxc_arena_printf(lexer->arena, reduce ? "r%u" : "i%u", reduce ? compute->num_reduce : k);
    if (!onnxc_lex_expect(lexer, name) || !onnxc_lex_expect(lexer, ":") ||
        !onnxc_lex_dim(lexer, dims, &compute->extents[k]))
      return false;
    if (reduce)
      compute->num_reduce++;
    else
      compute->num_parallel++;
  }
  return true;
}

static bool parse_contraction(onnxc_lexer *lexer, onnxc_compute *compute, uint32_t num_operands) {
  onnxc_contraction *c = &compute->contraction;
  if (!onnxc_lex_expect(lexer, "(") || !onnxc_lex_expect(lexer, "a") || !onnxc_lex_expect(lexer, "=") ||
      !onnxc_lex_u32(lexer, num_operands ? num_operands - 1 : 0, &c->a) || !onnxc_lex_expect(lexer, ",") ||
      !onnxc_lex_expect(lexer, "b") || !onnxc_lex_expect(lexer, "=") ||
      !onnxc_lex_u32(lexer, num_operands ? num_operands - 1 : 0, &c->b) || !onnxc_lex_expect(lexer, ",") ||
      !onnxc_lex_expect(lexer, "roles") || !onnxc_lex_expect(lexer, "="))
    return false;
  for (uint32_t k = 0; k < compute->num_parallel + compute->num_reduce; k++) {
    uint32_t role = ONNXC_ROLE_NONE;
    while (role <= ONNXC_ROLE_WINDOW && !onnxc_lex_take(lexer, onnxc_role_name(role)))
      role++;
    if (role > ONNXC_ROLE_WINDOW)
      return onnxc_lex_fail(lexer, lexer->at, "expected a role for each index: batch, m, n, k, window or -");
    c->role[k] = (uint8_t)role;
  }
  c->valid = true;
  return onnxc_lex_expect(lexer, ")");
}

static bool parse_rows(onnxc_lexer *lexer, onnxc_compute *compute) {
  return onnxc_lex_expect(lexer, "(") && onnxc_lex_expect(lexer, "group") && onnxc_lex_expect(lexer, "=") &&
         onnxc_lex_u32(lexer, UINT32_MAX, &compute->row_group) && onnxc_lex_expect(lexer, ",") &&
         onnxc_lex_expect(lexer, "rank") && onnxc_lex_expect(lexer, "=") &&
         onnxc_lex_u32(lexer, compute->num_parallel, &compute->row_rank) && onnxc_lex_expect(lexer, ")");
}

static bool parse_clause(expr_parser *p, uint32_t j) {
  onnxc_lexer *lexer = p->lexer;
  onnxc_compute *compute = p->compute;
  if (compute->num_reduce) {
    onnxc_dtype dtype;
    if (!onnxc_lex_dtype(lexer, &dtype) || !parse_combine(p, j) || !parse_settled(p, dtype, &compute->element[j]) ||
        !onnxc_lex_expect(lexer, "init") || !parse_settled(p, dtype, &compute->init[j]) ||
        !onnxc_lex_expect(lexer, "->"))
      return false;
  }
  return parse_settled(p, ONNXC_DTYPE_NONE, &compute->finish[j]);
}

bool onnxc_compute_parse(onnxc_lexer *lexer, onnxc_exprs *pool, uint32_t num_operands,
                         const onnxc_operand_type *operands, uint32_t num_results, onnxc_compute *compute) {
  memset(compute, 0, sizeof *compute);
  if (num_results == 0 || num_results > ONNXC_MAX_RESULTS)
    return onnxc_lex_fail(lexer, lexer->at, "a compute has 1 to %d results", ONNXC_MAX_RESULTS);
  compute->num_results = num_results;
  expr_parser p = {.lexer = lexer, .pool = pool, .operands = operands, .num_operands = num_operands};
  p.compute = compute;
  if (!parse_extents(lexer, pool->dims, compute) || (compute->num_reduce && !scan_types(&p)))
    return false;
  while (onnxc_lex_take(lexer, "let")) {
    const char *name = onnxc_arena_printf(lexer->arena, "t%u", p.lets.length);
    onnxc_expr e;
    if (!onnxc_lex_expect(lexer, name) || !onnxc_lex_expect(lexer, "=") || !parse_settled(&p, ONNXC_DTYPE_NONE, &e) ||
        !onnxc_lex_expect(lexer, ";"))
      return false;
    ONNXC_PUSH(lexer->arena, p.lets, e);
  }
  for (uint32_t j = 0; j < num_results; j++)
    if ((j && !onnxc_lex_expect(lexer, ";")) || !parse_clause(&p, j))
      return false;
  if (onnxc_lex_take(lexer, "contraction") && !parse_contraction(lexer, compute, num_operands))
    return false;
  return !onnxc_lex_take(lexer, "rows") || parse_rows(lexer, compute);
}
