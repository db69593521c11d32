/* data_text.c -- the data of constants as text, and the unique names of values. */
#include "ir/graph_text.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LIST = 16 };

/* ---- names ---- */

static bool is_unnamed(const char *name) {
  if (name[0] != '_' || !name[1])
    return false;
  for (const char *c = name + 1; *c; c++)
    if (!isdigit((unsigned char)*c))
      return false;
  return true;
}

const char *onnxc_value_name_meant(const char *name) { return is_unnamed(name) ? NULL : name; }

typedef struct namer {
  const onnxc_graph *graph;
  onnxc_names names;
  const char **texts;
  uint32_t unnamed;
} namer;

static void name_value(namer *n, onnxc_value value) {
  if (!value.i || value.i >= n->graph->values.length || n->texts[value.i])
    return;
  onnxc_arena *arena = n->names.arena;
  const char *own = onnxc_value_of(n->graph, value)->name, *name = own;
  if (!own || !*own || is_unnamed(own))
    do
      name = onnxc_arena_printf(arena, "_%u", n->unnamed++);
    while (onnxc_names_find(&n->names, name));
  for (uint32_t k = 1; onnxc_names_find(&n->names, name); k++)
    name = onnxc_arena_printf(arena, "%s.%u", own, k);
  onnxc_names_add(&n->names, name, value.i);
  n->texts[value.i] = onnxc_name_text(arena, '%', name);
}

const char **onnxc_value_texts(const onnxc_graph *graph, onnxc_arena *arena) {
  namer n = {.graph = graph, .names = {.arena = arena}};
  n.texts = ONNXC_NEW_ARRAY(arena, const char *, graph->values.length);
  for (uint32_t i = 0; i < graph->inputs.length; i++)
    name_value(&n, graph->inputs.data[i]);
  for (uint32_t i = 0; i < graph->order.length; i++) {
    if (graph->order.data[i].i >= graph->nodes.length)
      continue; /* the verifier's to report */
    const onnxc_node_info *node = onnxc_node_of(graph, graph->order.data[i]);
    for (uint32_t k = 0; k < node->num_outputs; k++)
      name_value(&n, node->outputs[k]);
  }
  for (uint32_t v = 1; v < graph->values.length; v++)
    name_value(&n, (onnxc_value){v});
  return n.texts;
}

/* ---- data ---- */

static void print_element(onnxc_text *text, onnxc_dtype dtype, const void *memory) {
  if (onnxc_dtype_is_float(dtype))
    onnxc_text_f64(text, dtype, onnxc_scalar_to_f64(dtype, memory));
  else if (dtype == ONNXC_U64)
    onnxc_text_printf(text, "%llu", (unsigned long long)onnxc_scalar_to_i64(dtype, memory));
  else
    onnxc_text_printf(text, "%lld", (long long)onnxc_scalar_to_i64(dtype, memory));
}

static bool parse_element(const char **at, onnxc_dtype dtype, void *memory) {
  char *end;
  if (onnxc_dtype_is_float(dtype))
    onnxc_scalar_from_f64(dtype, memory, strtod(*at, &end));
  else if (dtype == ONNXC_U64)
    onnxc_scalar_from_i64(dtype, memory, (int64_t)strtoull(*at, &end, 10));
  else
    onnxc_scalar_from_i64(dtype, memory, strtoll(*at, &end, 10));
  bool ok = end != *at;
  *at = end;
  return ok;
}

/* Text gives back the same bytes (a NaN's payload, -0, odd bools would not all). */
static bool is_exact(onnxc_arena *arena, onnxc_dtype dtype, const void *memory, size_t elem) {
  onnxc_text text;
  unsigned char back[16];
  onnxc_text_init(&text, arena);
  print_element(&text, dtype, memory);
  const char *at = text.data;
  return parse_element(&at, dtype, back) && memcmp(back, memory, elem) == 0;
}

void onnxc_data_print(const onnxc_value_info *value, size_t max_constant, onnxc_text *text) {
  size_t elem = onnxc_dtype_bytes(value->dtype);
  size_t count = elem ? value->data_size / elem : 0;
  const unsigned char *bytes = value->data;
  if ((max_constant && value->data_size > max_constant) || (!bytes && value->data_size)) {
    onnxc_text_printf(text, "...");
    return;
  }
  bool numeric = onnxc_dtype_is_float(value->dtype) || onnxc_dtype_is_int(value->dtype) || value->dtype == ONNXC_BOOL;
  bool same = count > 1 && numeric && is_exact(text->arena, value->dtype, bytes, elem) &&
              memcmp(bytes, bytes + elem, value->data_size - elem) == 0;
  bool list = numeric && count <= MAX_LIST;
  for (size_t i = 0; list && i < count; i++)
    list = is_exact(text->arena, value->dtype, bytes + i * elem, elem);
  if (same) {
    onnxc_text_printf(text, "splat ");
    print_element(text, value->dtype, bytes);
  } else if (list) {
    onnxc_text_printf(text, "{");
    for (size_t i = 0; i < count; i++) {
      onnxc_text_printf(text, i ? ", " : "");
      print_element(text, value->dtype, bytes + i * elem);
    }
    onnxc_text_printf(text, "}");
  } else {
    onnxc_text_printf(text, "#0x");
    for (size_t i = 0; i < value->data_size; i++)
      onnxc_text_printf(text, "%02x", bytes[i]);
  }
}

static bool take_hex(onnxc_lexer *lexer) {
  onnxc_lex_space(lexer);
  bool found = strncmp(lexer->at, "#0x", 3) == 0;
  lexer->at += found ? 3 : 0;
  return found;
}

bool onnxc_data_skip(onnxc_lexer *lexer, onnxc_data_text *data) {
  double number;
  onnxc_lex_space(lexer);
  data->at = lexer->at;
  if (onnxc_lex_take(lexer, "splat"))
    return onnxc_lex_float(lexer, &number);
  if (onnxc_lex_take(lexer, "{")) {
    bool first = true;
    while (!onnxc_lex_take(lexer, "}")) {
      if ((!first && !onnxc_lex_expect(lexer, ",")) || !onnxc_lex_float(lexer, &number))
        return false;
      first = false;
    }
    return true;
  }
  if (take_hex(lexer)) {
    while (isxdigit((unsigned char)*lexer->at))
      lexer->at++;
    return true;
  }
  if (onnxc_lex_take(lexer, "..."))
    return onnxc_lex_fail(lexer, data->at, "the constant's data was left out when this was printed");
  return onnxc_lex_fail(lexer, data->at, "expected a constant's data: splat v, {..} or #0x..");
}

static unsigned nibble(char c) {
  return (unsigned)(isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10);
}

bool onnxc_data_parse(onnxc_lexer *lexer, const onnxc_data_text *data, const onnxc_dims *dims,
                      onnxc_value_info *value) {
  int64_t shape[ONNXC_MAX_RANK], stored;
  size_t elem = onnxc_dtype_bytes(value->dtype);
  for (uint32_t d = 0; d < value->rank; d++)
    if (!onnxc_dim_is_const(dims, value->dims[d], &shape[d]) || shape[d] < 0)
      return onnxc_lex_fail(lexer, data->at, "a constant needs static dims");
  stored = onnxc_layout_size_of(&value->layout, value->rank, shape);
  if (stored < 0 || stored > INT32_MAX / (int64_t)elem)
    return onnxc_lex_fail(lexer, data->at, "the constant is too large");
  size_t count = (size_t)stored, size = count * elem;
  onnxc_lexer at = *lexer;
  at.at = data->at;
  unsigned char *bytes;
  if (take_hex(&at)) {
    if (strspn(at.at, "0123456789abcdefABCDEF") != size * 2)
      return onnxc_lex_fail(lexer, data->at, "expected %zu bytes of data", size);
    bytes = onnxc_arena_alloc(lexer->arena, size);
    for (size_t i = 0; i < size; i++)
      bytes[i] = (unsigned char)(nibble(at.at[2 * i]) << 4 | nibble(at.at[2 * i + 1]));
  } else if (onnxc_lex_take(&at, "splat")) {
    bytes = onnxc_arena_alloc(lexer->arena, size);
    onnxc_lex_space(&at);
    unsigned char one[16];
    if (!parse_element(&at.at, value->dtype, one))
      return onnxc_lex_fail(lexer, data->at, "not a number of type %s", onnxc_dtype_name(value->dtype));
    for (size_t i = 0; i < count; i++)
      memcpy(bytes + i * elem, one, elem);
  } else {
    size_t given = 0;
    onnxc_lex_take(&at, "{");
    for (const char *c = at.at; *c != '}'; c++)
      given += *c == ',' || (given == 0 && !isspace((unsigned char)*c));
    if (given != count)
      return onnxc_lex_fail(lexer, data->at, "expected %zu elements, found %zu", count, given);
    bytes = onnxc_arena_alloc(lexer->arena, size);
    for (size_t i = 0; i < count; i++) {
      if (i)
        onnxc_lex_expect(&at, ",");
      onnxc_lex_space(&at);
      if (!parse_element(&at.at, value->dtype, bytes + i * elem))
        return onnxc_lex_fail(lexer, data->at, "not a number of type %s", onnxc_dtype_name(value->dtype));
    }
  }
  value->data = bytes;
  value->data_size = size;
  return true;
}
