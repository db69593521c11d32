/* dim.h -- dimensions: integer expressions over symbols, interned and canonical.
 *
 * The one integer language of the compiler: dims of values, elements of small
 * integer tensors, loop bounds and offsets of the tile program. Two dims are
 * equal if their handles are equal (the converse holds as far as the
 * canonical form reaches).
 *
 * Canonical form: a SUM is a constant plus integer multiples of distinct
 * atoms, atoms sorted by handle; an atom is a symbol, a product of atoms, or a
 * floordiv, mod, min, max, eq. floordiv and mod by a constant take out what
 * divides: (8*i + 3) floordiv 8 = i. Min and max drop what the ranges of the
 * symbols decide. Arithmetic that overflows int64 yields an opaque atom, never
 * a wrong constant; evaluation reports it.
 *
 * floordiv and mod round to minus infinity; by zero they evaluate to 0 (a
 * zero-size tensor's run never looks at them, so building assumes that a symbolic
 * divisor is not zero: (H*W) floordiv W = H).
 *
 * An expression that grows beyond any sense (a hostile model) becomes the free
 * symbol `too_complex`, and onnxc_dims.too_complex is set; the verifier reports it.
 */
#ifndef ONNXC_IR_DIM_H
#define ONNXC_IR_DIM_H

#include "base/arena.h"

typedef struct onnxc_dim {
  uint32_t i; /* 0 = none */
} onnxc_dim;
typedef struct onnxc_sym {
  uint32_t i; /* 0 = none */
} onnxc_sym;

typedef enum onnxc_dim_kind {
  ONNXC_DIM_CONST,
  ONNXC_DIM_SYM,
  ONNXC_DIM_SUM,      /* constant + sum of coefficient * atom */
  ONNXC_DIM_PRODUCT,  /* a * b, neither constant */
  ONNXC_DIM_FLOORDIV, /* a floordiv b */
  ONNXC_DIM_MOD,      /* a mod b */
  ONNXC_DIM_MIN,
  ONNXC_DIM_MAX,
  ONNXC_DIM_EQ /* 1 if a == b, else 0 */
} onnxc_dim_kind;

/* Where a symbol gets its value. */
typedef enum onnxc_sym_source {
  ONNXC_SYM_FREE,      /* bound by nobody yet (tests, text) */
  ONNXC_SYM_INPUT_DIM, /* dim `axis` of graph input `index` */
  ONNXC_SYM_ELEMENT,   /* element `axis` (flat) of the integer tensor value `index` */
  ONNXC_SYM_LOOP       /* an induction variable of the tile program */
} onnxc_sym_source;

typedef struct onnxc_dim_term {
  int64_t coefficient;
  onnxc_dim atom;
} onnxc_dim_term;

typedef struct onnxc_dim_node {
  onnxc_dim_kind kind;
  uint32_t num_terms;          /* SUM */
  const onnxc_dim_term *terms; /* SUM */
  onnxc_dim a, b;              /* the binary kinds */
  onnxc_sym sym;               /* SYM */
  int64_t constant;            /* CONST, SUM */
  int64_t low, high;           /* range when it was built; of a SYM: see the symbol */
  uint32_t weight;             /* nodes of the expression as a tree */
  bool opaque;                 /* a SUM whose constants would overflow: an atom; its terms are any dims */
} onnxc_dim_node;

typedef struct onnxc_symbol {
  const char *name;           /* unique in the pool */
  int64_t low, high, divisor; /* range, inclusive, and a number that divides it (1 = none) */
  onnxc_sym_source source;
  uint32_t index, axis;
  int64_t hint; /* a likely value, for cost models and planning */
} onnxc_symbol;

typedef struct onnxc_dims {
  onnxc_arena *arena;
  ONNXC_VEC(onnxc_dim_node) nodes; /* [0] unused */
  ONNXC_VEC(onnxc_symbol) symbols; /* [0] unused */
  uint32_t *table;                 /* interning, open addressing */
  uint32_t table_size;
  uint32_t *names; /* symbols by name, open addressing */
  uint32_t names_size;
  bool too_complex;
} onnxc_dims;

void onnxc_dims_init(onnxc_dims *dims, onnxc_arena *arena);

/* A new symbol; when the name is taken (or NULL) a suffix makes it unique.
 * Range defaults to [0, 2^31-1] and hint to 64; change them through
 * onnxc_dims_symbol before using the symbol in an expression. */
onnxc_sym onnxc_sym_new(onnxc_dims *dims, const char *name, onnxc_sym_source source, uint32_t index, uint32_t axis);
onnxc_sym onnxc_sym_find(const onnxc_dims *dims, const char *name, size_t length);
onnxc_symbol *onnxc_dims_symbol(onnxc_dims *dims, onnxc_sym sym);
const onnxc_dim_node *onnxc_dims_node(const onnxc_dims *dims, onnxc_dim dim);

onnxc_dim onnxc_dim_const(onnxc_dims *dims, int64_t value);
onnxc_dim onnxc_dim_sym(onnxc_dims *dims, onnxc_sym sym);
onnxc_dim onnxc_dim_add(onnxc_dims *dims, onnxc_dim a, onnxc_dim b);
onnxc_dim onnxc_dim_sub(onnxc_dims *dims, onnxc_dim a, onnxc_dim b);
onnxc_dim onnxc_dim_mul(onnxc_dims *dims, onnxc_dim a, onnxc_dim b);
onnxc_dim onnxc_dim_floordiv(onnxc_dims *dims, onnxc_dim a, onnxc_dim b);
onnxc_dim onnxc_dim_ceildiv(onnxc_dims *dims, onnxc_dim a, onnxc_dim b); /* -((-a) floordiv b) */
onnxc_dim onnxc_dim_mod(onnxc_dims *dims, onnxc_dim a, onnxc_dim b);
onnxc_dim onnxc_dim_min(onnxc_dims *dims, onnxc_dim a, onnxc_dim b);
onnxc_dim onnxc_dim_max(onnxc_dims *dims, onnxc_dim a, onnxc_dim b);
onnxc_dim onnxc_dim_eq(onnxc_dims *dims, onnxc_dim a, onnxc_dim b);
/* c ? a : b for c in {0,1}: b + c * (a - b). */
onnxc_dim onnxc_dim_select(onnxc_dims *dims, onnxc_dim c, onnxc_dim a, onnxc_dim b);
onnxc_dim onnxc_dim_addc(onnxc_dims *dims, onnxc_dim a, int64_t b);
onnxc_dim onnxc_dim_mulc(onnxc_dims *dims, onnxc_dim a, int64_t b);

static inline bool onnxc_dim_same(onnxc_dim a, onnxc_dim b) { return a.i == b.i; }
bool onnxc_dim_is_const(const onnxc_dims *dims, onnxc_dim dim, int64_t *value); /* value may be NULL */
bool onnxc_dim_is(const onnxc_dims *dims, onnxc_dim dim, int64_t value);
/* Conservative bounds from the symbols' ranges; INT64_MIN/MAX when unbounded. */
void onnxc_dim_range(const onnxc_dims *dims, onnxc_dim dim, int64_t *low, int64_t *high);
/* Value with every symbol at its hint. */
int64_t onnxc_dim_hint(const onnxc_dims *dims, onnxc_dim dim);
/* The value for symbol values `values[sym.i]`; false on overflow. */
bool onnxc_dim_eval(const onnxc_dims *dims, onnxc_dim dim, const int64_t *values, int64_t *result);
/* Replaces each symbol s by map[s.i] where that is not none; rebuilt canonical. */
onnxc_dim onnxc_dim_substitute(onnxc_dims *dims, onnxc_dim dim, const onnxc_dim *map, uint32_t map_length);
bool onnxc_dim_uses(const onnxc_dims *dims, onnxc_dim dim, onnxc_sym sym);

/* Text: `4`, `%H`, `2*%H + 1`, `(%H + 1) floordiv 2`, `%i mod 8`, `min(a, b)`, `max(a, b)`, `eq(a, b)`. A
 * symbol's name is letters, digits, `_` and `.`, or any bytes quoted: `%"a b"` (with \\, \" and \xNN). Sums
 * and products print in an order that does not depend on handles. The parser
 * advances *cursor, leaves it at the error, and takes NUL for the end; unknown symbols are created FREE. Returns none
 * on a syntax error, with *error set to a static message. onnxc_dim_text is the whole text, in the dims' arena. */
const char *onnxc_dim_text(const onnxc_dims *dims, onnxc_dim dim);
void onnxc_dim_print(const onnxc_dims *dims, onnxc_dim dim, char *out, size_t size);
onnxc_dim onnxc_dim_parse(onnxc_dims *dims, const char **cursor, const char **error);

#endif
