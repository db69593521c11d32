/* dim_text.c -- dims as text; the grammar stands in dim.h.
 *
 * Sums, products and the symmetric functions print sorted by their parts'
 * text, so that a dim prints alike in every pool, whatever order its symbols came in.
 */
#include "ir/lexer.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- print ---- */

static const char *symbol_text(const onnxc_dims *dims, onnxc_sym sym) {
  return onnxc_name_text(dims->arena, '%', dims->symbols.data[sym.i].name);
}

/* How tightly a text binds: a sum, a term with operators, a thing in no need of parentheses. */
typedef enum binding { BIND_SUM, BIND_TERM, BIND_ATOM } binding;

static const char *render(const onnxc_dims *dims, onnxc_dim dim, binding *binds);

static const char *render_at(const onnxc_dims *dims, onnxc_dim dim, binding least) {
  binding binds;
  const char *text = render(dims, dim, &binds);
  return binds >= least ? text : onnxc_arena_printf(dims->arena, "(%s)", text);
}

typedef struct part {
  const char *text;
  int64_t coefficient;
} part;

static int by_text(const void *a, const void *b) {
  const part *x = a, *y = b;
  int order = strcmp(x->text, y->text);
  return order ? order : (x->coefficient > y->coefficient) - (x->coefficient < y->coefficient);
}

/* Positive terms first. */
static int by_sign(const void *a, const void *b) {
  bool x = ((const part *)a)->coefficient < 0, y = ((const part *)b)->coefficient < 0;
  return x != y ? x - y : by_text(a, b);
}

static const char *render_sum(const onnxc_dims *dims, const onnxc_dim_node *node) {
  part *parts = ONNXC_NEW_ARRAY(dims->arena, part, node->num_terms);
  size_t length = 24;
  for (uint32_t i = 0; i < node->num_terms; i++) {
    parts[i].coefficient = node->terms[i].coefficient;
    parts[i].text = render_at(dims, node->terms[i].atom, parts[i].coefficient == 1 ? BIND_TERM : BIND_ATOM);
    if (onnxc_dims_node(dims, node->terms[i].atom)->kind == ONNXC_DIM_PRODUCT)
      parts[i].text = render_at(dims, node->terms[i].atom, BIND_TERM); /* 2*%H*%W */
    length += strlen(parts[i].text) + 24;
  }
  qsort(parts, node->num_terms, sizeof *parts, by_sign);
  char *text = onnxc_arena_alloc(dims->arena, length), *end = text;
  bool first = node->constant > 0 && parts[0].coefficient < 0; /* 80 - %t */
  if (first)
    end += sprintf(end, "%lld", (long long)node->constant);
  for (uint32_t i = 0; i < node->num_terms; i++) {
    int64_t c = parts[i].coefficient;
    uint64_t size = c < 0 ? 0 - (uint64_t)c : (uint64_t)c;
    const char *sign = i || first ? (c < 0 ? " - " : " + ") : (c < 0 ? "-" : "");
    if (size == 1)
      end += sprintf(end, "%s%s", sign, parts[i].text);
    else
      end += sprintf(end, "%s%llu*%s", sign, (unsigned long long)size, parts[i].text);
  }
  if (node->constant && !first) {
    uint64_t size = node->constant < 0 ? 0 - (uint64_t)node->constant : (uint64_t)node->constant;
    sprintf(end, node->constant < 0 ? " - %llu" : " + %llu", (unsigned long long)size);
  }
  return text;
}

static const char *render_product(const onnxc_dims *dims, onnxc_dim dim) {
  uint32_t n = 1;
  for (onnxc_dim at = dim; onnxc_dims_node(dims, at)->kind == ONNXC_DIM_PRODUCT; at = onnxc_dims_node(dims, at)->a)
    n++;
  part *parts = ONNXC_NEW_ARRAY(dims->arena, part, n);
  size_t length = 1;
  for (uint32_t i = 0; i < n; i++) {
    const onnxc_dim_node *node = onnxc_dims_node(dims, dim);
    bool last = i == n - 1;
    parts[i].text = render_at(dims, last ? dim : node->b, BIND_ATOM);
    length += strlen(parts[i].text) + 1;
    dim = node->a;
  }
  qsort(parts, n, sizeof *parts, by_text);
  char *text = onnxc_arena_alloc(dims->arena, length), *end = text;
  for (uint32_t i = 0; i < n; i++)
    end += sprintf(end, "%s%s", i ? "*" : "", parts[i].text);
  return text;
}

static const char *render(const onnxc_dims *dims, onnxc_dim dim, binding *binds) {
  const onnxc_dim_node *node = onnxc_dims_node(dims, dim);
  *binds = BIND_TERM;
  switch (node->kind) {
  case ONNXC_DIM_CONST:
    *binds = node->constant < 0 ? BIND_SUM : BIND_ATOM;
    return onnxc_arena_printf(dims->arena, "%lld", (long long)node->constant);
  case ONNXC_DIM_SYM: *binds = BIND_ATOM; return symbol_text(dims, node->sym);
  case ONNXC_DIM_SUM: *binds = BIND_SUM; return render_sum(dims, node);
  case ONNXC_DIM_PRODUCT: return render_product(dims, dim);
  case ONNXC_DIM_FLOORDIV:
  case ONNXC_DIM_MOD:
    return onnxc_arena_printf(dims->arena, "%s %s %s", render_at(dims, node->a, BIND_ATOM),
                              node->kind == ONNXC_DIM_MOD ? "mod" : "floordiv", render_at(dims, node->b, BIND_ATOM));
  default: break;
  }
  *binds = BIND_ATOM;
  part parts[2] = {{render_at(dims, node->a, BIND_SUM), 0}, {render_at(dims, node->b, BIND_SUM), 0}};
  qsort(parts, 2, sizeof *parts, by_text);
  const char *name = node->kind == ONNXC_DIM_MIN ? "min" : node->kind == ONNXC_DIM_MAX ? "max" : "eq";
  return onnxc_arena_printf(dims->arena, "%s(%s, %s)", name, parts[0].text, parts[1].text);
}

const char *onnxc_dim_text(const onnxc_dims *dims, onnxc_dim dim) {
  return dim.i ? render_at(dims, dim, BIND_SUM) : "?";
}

void onnxc_dim_print(const onnxc_dims *dims, onnxc_dim dim, char *out, size_t size) {
  snprintf(out, size, "%s", onnxc_dim_text(dims, dim));
}

/* ---- parse ---- */

enum { MAX_DEPTH = 200 };

typedef struct parser {
  onnxc_dims *dims;
  const char *at;
  const char *error;
  int depth;
} parser;

static onnxc_dim parse_sum(parser *p);

static onnxc_dim fail(parser *p, const char *message) {
  if (!p->error)
    p->error = message;
  return (onnxc_dim){0};
}

static void skip_space(parser *p) {
  while (isspace((unsigned char)*p->at))
    p->at++;
}

static bool take(parser *p, char c) {
  skip_space(p);
  if (*p->at != c)
    return false;
  p->at++;
  return true;
}

static bool take_word(parser *p, const char *word) {
  skip_space(p);
  size_t length = strlen(word);
  if (strncmp(p->at, word, length) != 0 || isalnum((unsigned char)p->at[length]) || p->at[length] == '_')
    return false;
  p->at += length;
  return true;
}

static onnxc_dim parse_symbol(parser *p) {
  const char *error;
  const char *name = onnxc_name_scan(p->dims->arena, &p->at, &error);
  if (!name)
    return fail(p, error);
  onnxc_sym sym = onnxc_sym_find(p->dims, name, strlen(name));
  return onnxc_dim_sym(p->dims, sym.i ? sym : onnxc_sym_new(p->dims, name, ONNXC_SYM_FREE, 0, 0));
}

static onnxc_dim parse_number(parser *p, bool negative) {
  uint64_t value = 0;
  for (; isdigit((unsigned char)*p->at); p->at++)
    if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
        __builtin_add_overflow(value, (uint64_t)(*p->at - '0'), &value))
      return fail(p, "number too large");
  if (value > (uint64_t)INT64_MAX + negative)
    return fail(p, "number too large");
  return onnxc_dim_const(p->dims, negative ? (int64_t)(0 - value) : (int64_t)value);
}

static onnxc_dim parse_primary(parser *p) {
  skip_space(p);
  if (++p->depth > MAX_DEPTH)
    return fail(p, "expression too deep");
  onnxc_dim result = {0};
  if (take(p, '-')) {
    skip_space(p);
    if (isdigit((unsigned char)*p->at))
      result = parse_number(p, true);
    else if ((result = parse_primary(p)).i)
      result = onnxc_dim_mulc(p->dims, result, -1);
  } else if (isdigit((unsigned char)*p->at)) {
    result = parse_number(p, false);
  } else if (take(p, '%')) {
    result = parse_symbol(p);
  } else if (take(p, '(')) {
    result = parse_sum(p);
    if (result.i && !take(p, ')'))
      return fail(p, "expected )");
  } else {
    static onnxc_dim (*const functions[])(onnxc_dims *, onnxc_dim, onnxc_dim) = {onnxc_dim_min, onnxc_dim_max,
                                                                                 onnxc_dim_eq};
    static const char *const names[] = {"min", "max", "eq"};
    int f = 0;
    while (f < 3 && !take_word(p, names[f]))
      f++;
    if (f == 3)
      return fail(p, "expected a number, a symbol or (");
    if (!take(p, '('))
      return fail(p, "expected (");
    onnxc_dim a = parse_sum(p);
    if (a.i && !take(p, ','))
      return fail(p, "expected ,");
    onnxc_dim b = a.i ? parse_sum(p) : a;
    if (b.i && !take(p, ')'))
      return fail(p, "expected )");
    if (!b.i)
      return b;
    result = functions[f](p->dims, a, b);
  }
  p->depth--;
  return result;
}

static onnxc_dim parse_term(parser *p) {
  onnxc_dim a = parse_primary(p);
  while (a.i) {
    onnxc_dim (*function)(onnxc_dims *, onnxc_dim, onnxc_dim);
    if (take(p, '*'))
      function = onnxc_dim_mul;
    else if (take_word(p, "floordiv"))
      function = onnxc_dim_floordiv;
    else if (take_word(p, "ceildiv"))
      function = onnxc_dim_ceildiv;
    else if (take_word(p, "mod"))
      function = onnxc_dim_mod;
    else
      return a;
    onnxc_dim b = parse_primary(p);
    if (!b.i)
      return b;
    a = function(p->dims, a, b);
  }
  return a;
}

static onnxc_dim parse_sum(parser *p) {
  onnxc_dim a = parse_term(p);
  while (a.i) {
    skip_space(p);
    bool arrow = p->at[0] == '-' && p->at[1] == '>';
    bool minus = !arrow && take(p, '-');
    if (!minus && !take(p, '+'))
      return a;
    onnxc_dim b = parse_term(p);
    if (!b.i)
      return b;
    a = minus ? onnxc_dim_sub(p->dims, a, b) : onnxc_dim_add(p->dims, a, b);
  }
  return a;
}

onnxc_dim onnxc_dim_parse(onnxc_dims *dims, const char **cursor, const char **error) {
  parser p = {dims, *cursor, NULL, 0};
  onnxc_dim result = parse_sum(&p);
  *cursor = p.at;
  *error = p.error;
  return p.error ? (onnxc_dim){0} : result;
}
