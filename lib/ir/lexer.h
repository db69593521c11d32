/* lexer.h -- what the parsers of graph text and tile text share: a cursor over the
 * source that takes tokens on demand, errors with file:line:column, names.
 *
 * White space and comments (`#` to the end of the line, unless `#0x` follows) stand
 * between any tokens. Functions that return bool return false after recording the
 * first error; the callers return at once.
 */
#ifndef ONNXC_IR_LEXER_H
#define ONNXC_IR_LEXER_H

#include "base/status.h"
#include "ir/dim.h"
#include "ir/text.h"

typedef struct onnxc_lexer {
  onnxc_arena *arena;
  onnxc_diag *diag;
  const char *file;
  const char *start, *at; /* NUL terminated */
  bool failed;
} onnxc_lexer;

/* Copies the source, so names and messages may outlive it. False if it holds a NUL. */
bool onnxc_lex_init(onnxc_lexer *lexer, onnxc_arena *arena, onnxc_diag *diag, const char *file, const char *source,
                    size_t length);
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
bool onnxc_lex_fail(onnxc_lexer *lexer, const char *at, const char *format, ...); /* false */

void onnxc_lex_space(onnxc_lexer *lexer);
/* The token if it comes next: punctuation, or a whole word. */
bool onnxc_lex_take(onnxc_lexer *lexer, const char *token);
bool onnxc_lex_peek(onnxc_lexer *lexer, const char *token);
bool onnxc_lex_expect(onnxc_lexer *lexer, const char *token);
/* A word: a letter or _, then letters, digits, _. */
bool onnxc_lex_word(onnxc_lexer *lexer, const char **word, size_t *length);
/* `%name`, `@name`: letters, digits, `_`, `.`; or quoted. The name without the sigil. */
bool onnxc_lex_name(onnxc_lexer *lexer, char sigil, const char **name);
bool onnxc_lex_string(onnxc_lexer *lexer, const char **string);
bool onnxc_lex_int(onnxc_lexer *lexer, int64_t low, int64_t high, int64_t *value);
bool onnxc_lex_u32(onnxc_lexer *lexer, uint32_t high, uint32_t *value);
bool onnxc_lex_float(onnxc_lexer *lexer, double *value); /* also nan, inf, -inf */
bool onnxc_lex_dim(onnxc_lexer *lexer, onnxc_dims *dims, onnxc_dim *dim);
bool onnxc_lex_dtype(onnxc_lexer *lexer, onnxc_dtype *dtype);
/* dtype[dims][layout]; dims has room for ONNXC_MAX_RANK. */
bool onnxc_lex_type(onnxc_lexer *lexer, onnxc_dims *pool, onnxc_dtype *dtype, uint32_t *rank, onnxc_dim *dims,
                    onnxc_layout *layout);

/* ---- names ---- */

/* The name as text: plain, or quoted where its characters need it. */
const char *onnxc_name_text(onnxc_arena *arena, char sigil, const char *name);
const char *onnxc_quoted_text(onnxc_arena *arena, const char *string);
/* The name at *at (behind the sigil); NULL with *error set. */
const char *onnxc_name_scan(onnxc_arena *arena, const char **at, const char **error);

/* A map from names to numbers that are not 0. */
typedef struct onnxc_names {
  onnxc_arena *arena;
  struct onnxc_names_entry {
    const char *name;
    uint32_t value;
  } *entries;
  uint32_t size, count;
} onnxc_names;
uint32_t onnxc_names_find(const onnxc_names *names, const char *name); /* 0 when absent */
void onnxc_names_add(onnxc_names *names, const char *name, uint32_t value);

/* ---- printing ---- */

/* The shortest text that parses back to the value of this dtype. */
void onnxc_text_f64(onnxc_text *text, onnxc_dtype dtype, double value);
void onnxc_text_type(onnxc_text *text, const onnxc_dims *pool, onnxc_dtype dtype, uint32_t rank, const onnxc_dim *dims,
                     const onnxc_layout *layout);
/* The symbol's line, `symbol %N = source in 1..64 by 8 hint 32`, when it says more than the default; source NULL: it
 * need not be said. */
void onnxc_text_symbol(onnxc_text *text, const onnxc_dims *dims, uint32_t sym, const char *source);
/* Range, divisor and hint behind `symbol %N [= source]`. */
bool onnxc_lex_symbol_range(onnxc_lexer *lexer, onnxc_symbol *symbol);

#endif
