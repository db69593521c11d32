/* lexer.c -- see lexer.h. */
#include "ir/lexer.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool onnxc_lex_init(onnxc_lexer *lexer, onnxc_arena *arena, onnxc_diag *diag, const char *file, const char *source,
                    size_t length) {
  *lexer = (onnxc_lexer){.arena = arena, .diag = diag, .file = file ? file : "<text>"};
  lexer->start = lexer->at = onnxc_arena_copy_string(arena, source, length);
  size_t text = strlen(lexer->start);
  return text == length || onnxc_lex_fail(lexer, lexer->start + text, "a NUL byte in the text");
}

bool onnxc_lex_fail(onnxc_lexer *lexer, const char *at, const char *format, ...) {
  if (lexer->failed)
    return false;
  lexer->failed = true;
  unsigned line = 1, column = 1;
  for (const char *c = lexer->start; c < at; c++) {
    column = *c == '\n' ? 1 : column + 1;
    line += *c == '\n';
  }
  char message[512];
  va_list args;
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  onnxc_error(lexer->diag, ONNXC_BAD_INPUT, "%s:%u:%u: %s", lexer->file, line, column, message);
  return false;
}

static bool is_word(char c) { return isalnum((unsigned char)c) || c == '_'; }

void onnxc_lex_space(onnxc_lexer *lexer) {
  for (;;) {
    while (isspace((unsigned char)*lexer->at))
      lexer->at++;
    if (*lexer->at != '#' || (lexer->at[1] == '0' && lexer->at[2] == 'x'))
      return;
    while (*lexer->at && *lexer->at != '\n')
      lexer->at++;
  }
}

bool onnxc_lex_peek(onnxc_lexer *lexer, const char *token) {
  onnxc_lex_space(lexer);
  size_t length = strlen(token);
  return strncmp(lexer->at, token, length) == 0 && !(is_word(token[length - 1]) && is_word(lexer->at[length]));
}

bool onnxc_lex_take(onnxc_lexer *lexer, const char *token) {
  if (!onnxc_lex_peek(lexer, token))
    return false;
  lexer->at += strlen(token);
  return true;
}

/* What stands at the cursor, for messages. */
static const char *found(onnxc_lexer *lexer) {
  if (!*lexer->at)
    return "the end of the text";
  size_t length = 1;
  if (is_word(*lexer->at))
    while (length < 32 && is_word(lexer->at[length]))
      length++;
  return onnxc_arena_printf(lexer->arena, "'%.*s'", (int)length, lexer->at);
}

bool onnxc_lex_expect(onnxc_lexer *lexer, const char *token) {
  return onnxc_lex_take(lexer, token) ||
         onnxc_lex_fail(lexer, lexer->at, "expected '%s', found %s", token, found(lexer));
}

bool onnxc_lex_word(onnxc_lexer *lexer, const char **word, size_t *length) {
  onnxc_lex_space(lexer);
  const char *start = lexer->at;
  if (!is_word(*start) || isdigit((unsigned char)*start))
    return onnxc_lex_fail(lexer, start, "expected a word, found %s", found(lexer));
  while (is_word(*lexer->at))
    lexer->at++;
  *word = start;
  *length = (size_t)(lexer->at - start);
  return true;
}

bool onnxc_lex_name(onnxc_lexer *lexer, char sigil, const char **name) {
  const char token[2] = {sigil, 0};
  if (!onnxc_lex_expect(lexer, token))
    return false;
  const char *error = NULL;
  *name = onnxc_name_scan(lexer->arena, &lexer->at, &error);
  return *name || onnxc_lex_fail(lexer, lexer->at, "%s", error);
}

bool onnxc_lex_string(onnxc_lexer *lexer, const char **string) {
  onnxc_lex_space(lexer);
  if (*lexer->at != '"')
    return onnxc_lex_fail(lexer, lexer->at, "expected a string, found %s", found(lexer));
  if (lexer->at[1] == '"') {
    lexer->at += 2;
    *string = "";
    return true;
  }
  const char *error = NULL;
  *string = onnxc_name_scan(lexer->arena, &lexer->at, &error);
  return *string || onnxc_lex_fail(lexer, lexer->at, "%s", error);
}

bool onnxc_lex_int(onnxc_lexer *lexer, int64_t low, int64_t high, int64_t *value) {
  onnxc_lex_space(lexer);
  const char *start = lexer->at;
  char *end;
  if (!isdigit((unsigned char)start[*start == '-']))
    return onnxc_lex_fail(lexer, start, "expected an integer, found %s", found(lexer));
  errno = 0;
  long long number = strtoll(start, &end, 10);
  if (errno || number < low || number > high)
    return onnxc_lex_fail(lexer, start, "the number must lie in %lld..%lld", (long long)low, (long long)high);
  lexer->at = end;
  *value = number;
  return true;
}

bool onnxc_lex_u32(onnxc_lexer *lexer, uint32_t high, uint32_t *value) {
  int64_t number = 0;
  if (!onnxc_lex_int(lexer, 0, high, &number))
    return false;
  *value = (uint32_t)number;
  return true;
}

bool onnxc_lex_float(onnxc_lexer *lexer, double *value) {
  onnxc_lex_space(lexer);
  char *end = NULL;
  *value = strtod(lexer->at, &end);
  if (end == lexer->at)
    return onnxc_lex_fail(lexer, lexer->at, "expected a number, found %s", found(lexer));
  lexer->at = end;
  return true;
}

bool onnxc_lex_dim(onnxc_lexer *lexer, onnxc_dims *dims, onnxc_dim *dim) {
  const char *error = NULL;
  onnxc_lex_space(lexer);
  *dim = onnxc_dim_parse(dims, &lexer->at, &error);
  return dim->i || onnxc_lex_fail(lexer, lexer->at, "%s", error);
}

bool onnxc_lex_dtype(onnxc_lexer *lexer, onnxc_dtype *dtype) {
  const char *word = NULL;
  size_t length = 0;
  if (!onnxc_lex_word(lexer, &word, &length))
    return false;
  *dtype = onnxc_dtype_parse(word, length);
  return *dtype || onnxc_lex_fail(lexer, word, "'%.*s' is no element type", (int)length, word);
}

bool onnxc_lex_type(onnxc_lexer *lexer, onnxc_dims *pool, onnxc_dtype *dtype, uint32_t *rank, onnxc_dim *dims,
                    onnxc_layout *layout) {
  *rank = 0;
  *layout = (onnxc_layout){0};
  if (!onnxc_lex_dtype(lexer, dtype) || !onnxc_lex_expect(lexer, "["))
    return false;
  while (!onnxc_lex_take(lexer, "]")) {
    if (*rank && !onnxc_lex_expect(lexer, ","))
      return false;
    if (*rank == ONNXC_MAX_RANK)
      return onnxc_lex_fail(lexer, lexer->at, "more than %d dims", ONNXC_MAX_RANK);
    if (!onnxc_lex_dim(lexer, pool, &dims[(*rank)++]))
      return false;
  }
  if (*lexer->at != '[') /* a layout follows without a space */
    return true;
  const char *error = onnxc_layout_parse(layout, *rank, &lexer->at);
  return !error || onnxc_lex_fail(lexer, lexer->at, "%s", error);
}

bool onnxc_lex_symbol_range(onnxc_lexer *lexer, onnxc_symbol *symbol) {
  if (onnxc_lex_take(lexer, "in") &&
      (!onnxc_lex_int(lexer, INT64_MIN, INT64_MAX, &symbol->low) || !onnxc_lex_expect(lexer, "..") ||
       !onnxc_lex_int(lexer, symbol->low, INT64_MAX, &symbol->high)))
    return false;
  if (onnxc_lex_take(lexer, "by") && !onnxc_lex_int(lexer, 1, INT64_MAX, &symbol->divisor))
    return false;
  return !onnxc_lex_take(lexer, "hint") || onnxc_lex_int(lexer, INT64_MIN, INT64_MAX, &symbol->hint);
}

/* ---- names ---- */

static bool is_name(char c) { return is_word(c) || c == '.'; }

const char *onnxc_quoted_text(onnxc_arena *arena, const char *string) {
  char *text = onnxc_arena_alloc(arena, 4 * strlen(string) + 3), *end = text;
  *end++ = '"';
  for (const char *c = string; *c; c++) {
    unsigned char byte = (unsigned char)*c;
    if (byte == '"' || byte == '\\' || byte < 0x20 || byte == 0x7f)
      end += snprintf(end, 5, "\\x%02x", byte);
    else
      *end++ = *c;
  }
  *end = '"';
  return text;
}

const char *onnxc_name_text(onnxc_arena *arena, char sigil, const char *name) {
  const char *c = name;
  while (is_name(*c))
    c++;
  return onnxc_arena_printf(arena, "%c%s", sigil, *name && !*c ? name : onnxc_quoted_text(arena, name));
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  c = (char)tolower((unsigned char)c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

const char *onnxc_name_scan(onnxc_arena *arena, const char **at, const char **error) {
  const char *start = *at, *c = start;
  if (*c != '"') {
    while (is_name(*c))
      c++;
    *at = c;
    *error = "expected a name";
    return c == start ? NULL : onnxc_arena_copy_string(arena, start, (size_t)(c - start));
  }
  size_t length = 1;
  while (start[length] && start[length] != '"')
    length += start[length] == '\\' && start[length + 1] ? 2 : 1;
  *error = "the quoted name has no end";
  if (!start[length])
    return NULL;
  char *name = onnxc_arena_alloc(arena, length + 1), *end = name;
  for (c = start + 1; c < start + length; c++) {
    if (*c != '\\') {
      *end++ = *c;
      continue;
    }
    c++;
    int high = *c == 'x' ? hex_digit(c[1]) : -1, low = high >= 0 ? hex_digit(c[2]) : -1;
    if (*c == '"' || *c == '\\') {
      *end++ = *c;
    } else if (low >= 0 && high + low > 0) {
      *end++ = (char)(high * 16 + low);
      c += 2;
    } else {
      *at = c;
      *error = "bad escape in a quoted name";
      return NULL;
    }
  }
  *at = start + length + 1;
  *error = "an empty name";
  return *name ? name : NULL;
}

static uint32_t slot_of(const onnxc_names *names, const char *name) {
  uint64_t hash = 1469598103934665603u;
  for (const char *c = name; *c; c++)
    hash = (hash ^ (unsigned char)*c) * 1099511628211u;
  uint32_t at = (uint32_t)(hash ^ hash >> 32) & (names->size - 1);
  while (names->entries[at].name && strcmp(names->entries[at].name, name) != 0)
    at = (at + 1) & (names->size - 1);
  return at;
}

uint32_t onnxc_names_find(const onnxc_names *names, const char *name) {
  return names->size ? names->entries[slot_of(names, name)].value : 0;
}

void onnxc_names_add(onnxc_names *names, const char *name, uint32_t value) {
  if (names->count * 2 >= names->size) {
    onnxc_names old = *names;
    names->size = old.size ? old.size * 2 : 64;
    names->entries = ONNXC_NEW_ARRAY(names->arena, struct onnxc_names_entry, names->size);
    for (uint32_t i = 0; i < old.size; i++)
      if (old.entries[i].name)
        names->entries[slot_of(names, old.entries[i].name)] = old.entries[i];
  }
  names->entries[slot_of(names, name)] = (struct onnxc_names_entry){name, value};
  names->count++;
}

/* ---- printing ---- */

void onnxc_text_init(onnxc_text *text, onnxc_arena *arena) {
  *text = (onnxc_text){.arena = arena, .capacity = 256};
  text->data = onnxc_arena_alloc(arena, text->capacity);
}

void onnxc_text_printf(onnxc_text *text, const char *format, ...) {
  va_list args;
  for (;;) {
    size_t room = text->capacity - text->length;
    va_start(args, format);
    int length = vsnprintf(text->data + text->length, room, format, args);
    va_end(args);
    if (length < 0)
      return;
    if ((size_t)length < room) {
      text->length += (size_t)length;
      return;
    }
    size_t capacity = (text->capacity + (size_t)length) * 2;
    char *bigger = onnxc_arena_alloc(text->arena, capacity);
    memcpy(bigger, text->data, text->length);
    text->data = bigger;
    text->capacity = capacity;
  }
}

void onnxc_text_f64(onnxc_text *text, onnxc_dtype dtype, double value) {
  char number[40];
  if (isnan(value)) {
    onnxc_text_printf(text, "nan");
    return;
  }
  for (int precision = 1; precision <= 17; precision++) {
    unsigned char memory[16];
    snprintf(number, sizeof number, "%.*g", precision, value);
    onnxc_scalar_from_f64(dtype, memory, strtod(number, NULL));
    if (onnxc_scalar_to_f64(dtype, memory) == value)
      break;
  }
  onnxc_text_printf(text, "%s", number);
}

void onnxc_text_type(onnxc_text *text, const onnxc_dims *pool, onnxc_dtype dtype, uint32_t rank, const onnxc_dim *dims,
                     const onnxc_layout *layout) {
  onnxc_text_printf(text, "%s[", onnxc_dtype_name(dtype));
  for (uint32_t d = 0; d < rank; d++)
    onnxc_text_printf(text, "%s%s", d ? ", " : "", onnxc_dim_text(pool, dims[d]));
  onnxc_text_printf(text, "]");
  if (!onnxc_layout_is_default(layout, rank)) {
    char axes[ONNXC_LAYOUT_MAX_AXES * 32];
    onnxc_layout_print(layout, rank, axes, sizeof axes);
    onnxc_text_printf(text, "%s", axes);
  }
}

void onnxc_text_symbol(onnxc_text *text, const onnxc_dims *dims, uint32_t sym, const char *source) {
  const onnxc_symbol *symbol = &dims->symbols.data[sym];
  bool range = symbol->low != 0 || symbol->high != INT32_MAX;
  bool divisor = symbol->divisor != 1, hint = symbol->hint != 64;
  if (!range && !divisor && !hint && !source)
    return;
  onnxc_text_printf(text, "symbol %s", onnxc_name_text(text->arena, '%', symbol->name));
  if (source)
    onnxc_text_printf(text, " = %s", source);
  if (range)
    onnxc_text_printf(text, " in %lld..%lld", (long long)symbol->low, (long long)symbol->high);
  if (divisor)
    onnxc_text_printf(text, " by %lld", (long long)symbol->divisor);
  if (hint)
    onnxc_text_printf(text, " hint %lld", (long long)symbol->hint);
  onnxc_text_printf(text, "\n");
}
