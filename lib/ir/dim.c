/* dim.c -- interning, symbols and linear arithmetic of dims; see dim.h.
 *
 * Nodes are immutable and interned, so a node's range and weight are computed
 * once, when it is built. Numbers are added in 128 bits and checked at the end:
 * what does not fit in 64 becomes an opaque SUM, an atom whose evaluation
 * checks again. The non-linear kinds are in dim_rules.c.
 */
#include "ir/dim_private.h"

#include <string.h>

enum { FIRST_TABLE = 256, MAX_WEIGHT = 1 << 12 };

/* ---- interning ---- */

static uint64_t mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
  return hash ^ hash >> 29;
}

static uint32_t hash_of(const onnxc_dim_node *node) {
  uint64_t hash = mix((uint64_t)node->kind + (node->opaque ? 64 : 0), (uint64_t)node->constant);
  hash = mix(hash, (uint64_t)node->a.i << 32 | node->b.i);
  hash = mix(hash, node->sym.i);
  for (uint32_t i = 0; i < node->num_terms; i++)
    hash = mix(mix(hash, (uint64_t)node->terms[i].coefficient), node->terms[i].atom.i);
  return (uint32_t)(hash ^ hash >> 32);
}

static bool equal(const onnxc_dim_node *a, const onnxc_dim_node *b) {
  if (a->kind != b->kind || a->opaque != b->opaque || a->constant != b->constant || a->a.i != b->a.i ||
      a->b.i != b->b.i || a->sym.i != b->sym.i || a->num_terms != b->num_terms)
    return false;
  for (uint32_t i = 0; i < a->num_terms; i++)
    if (a->terms[i].coefficient != b->terms[i].coefficient || a->terms[i].atom.i != b->terms[i].atom.i)
      return false;
  return true;
}

static void grow_table(onnxc_dims *dims) {
  uint32_t size = dims->table_size ? dims->table_size * 2 : FIRST_TABLE;
  uint32_t *table = ONNXC_NEW_ARRAY(dims->arena, uint32_t, size);
  for (uint32_t i = 1; i < dims->nodes.length; i++) {
    uint32_t at = hash_of(&dims->nodes.data[i]) & (size - 1);
    while (table[at])
      at = (at + 1) & (size - 1);
    table[at] = i;
  }
  dims->table = table;
  dims->table_size = size;
}

static uint32_t weight_of(const onnxc_dims *dims, const onnxc_dim_node *node) {
  uint64_t weight = 1;
  for (uint32_t i = 0; i < node->num_terms; i++)
    weight += dims->nodes.data[node->terms[i].atom.i].weight;
  weight += dims->nodes.data[node->a.i].weight + (uint64_t)dims->nodes.data[node->b.i].weight;
  return weight > UINT32_MAX ? UINT32_MAX : (uint32_t)weight;
}

static onnxc_dim too_complex(onnxc_dims *dims) {
  static const char name[] = "too_complex";
  dims->too_complex = true;
  onnxc_sym sym = onnxc_sym_find(dims, name, sizeof name - 1);
  return onnxc_dim_sym(dims, sym.i ? sym : onnxc_sym_new(dims, name, ONNXC_SYM_FREE, 0, 0));
}

onnxc_dim onnxc_dims_intern(onnxc_dims *dims, onnxc_dim_node node) {
  uint32_t mask = dims->table_size - 1;
  uint32_t at = hash_of(&node) & mask;
  for (; dims->table[at]; at = (at + 1) & mask)
    if (equal(&dims->nodes.data[dims->table[at]], &node))
      return (onnxc_dim){dims->table[at]};
  node.weight = weight_of(dims, &node);
  if (node.weight > MAX_WEIGHT)
    return too_complex(dims);
  onnxc_dims_set_range(dims, &node);
  if (node.num_terms) {
    onnxc_dim_term *terms = ONNXC_NEW_ARRAY(dims->arena, onnxc_dim_term, node.num_terms);
    memcpy(terms, node.terms, node.num_terms * sizeof *terms);
    node.terms = terms;
  }
  uint32_t handle = dims->nodes.length;
  ONNXC_PUSH(dims->arena, dims->nodes, node);
  dims->table[at] = handle;
  if (dims->nodes.length * 2 > dims->table_size)
    grow_table(dims);
  return (onnxc_dim){handle};
}

void onnxc_dims_init(onnxc_dims *dims, onnxc_arena *arena) {
  memset(dims, 0, sizeof *dims);
  dims->arena = arena;
  ONNXC_PUSH(arena, dims->nodes, (onnxc_dim_node){0});
  ONNXC_PUSH(arena, dims->symbols, (onnxc_symbol){0});
  grow_table(dims);
}

/* ---- symbols ---- */

static uint32_t hash_name(const char *name, size_t length) {
  uint64_t hash = length;
  for (size_t i = 0; i < length; i++)
    hash = mix(hash, (unsigned char)name[i]);
  return (uint32_t)(hash ^ hash >> 32);
}

/* Where the name is, or where it would go. */
static uint32_t name_slot(const onnxc_dims *dims, const char *name, size_t length) {
  uint32_t mask = dims->names_size - 1;
  uint32_t at = hash_name(name, length) & mask;
  for (; dims->names[at]; at = (at + 1) & mask) {
    const char *other = dims->symbols.data[dims->names[at]].name;
    if (strlen(other) == length && memcmp(other, name, length) == 0)
      break;
  }
  return at;
}

static void grow_names(onnxc_dims *dims) {
  dims->names_size = dims->names_size ? dims->names_size * 2 : 64;
  dims->names = ONNXC_NEW_ARRAY(dims->arena, uint32_t, dims->names_size);
  for (uint32_t i = 1; i < dims->symbols.length; i++) {
    const char *name = dims->symbols.data[i].name;
    dims->names[name_slot(dims, name, strlen(name))] = i;
  }
}

onnxc_sym onnxc_sym_find(const onnxc_dims *dims, const char *name, size_t length) {
  return (onnxc_sym){dims->names_size ? dims->names[name_slot(dims, name, length)] : 0};
}

onnxc_sym onnxc_sym_new(onnxc_dims *dims, const char *name, onnxc_sym_source source, uint32_t index, uint32_t axis) {
  if (dims->symbols.length * 2 >= dims->names_size)
    grow_names(dims);
  uint32_t handle = dims->symbols.length;
  const char *own;
  if (name && *name && !onnxc_sym_find(dims, name, strlen(name)).i)
    own = onnxc_arena_copy_string(dims->arena, name, strlen(name));
  else
    for (uint32_t suffix = handle;; suffix++) {
      own = onnxc_arena_printf(dims->arena, "%s_%u", name && *name ? name : "s", suffix);
      if (!onnxc_sym_find(dims, own, strlen(own)).i)
        break;
    }
  onnxc_symbol symbol = {.name = own, .high = INT32_MAX, .divisor = 1, .source = source, .index = index, .axis = axis};
  symbol.hint = 64;
  dims->names[name_slot(dims, own, strlen(own))] = handle;
  ONNXC_PUSH(dims->arena, dims->symbols, symbol);
  return (onnxc_sym){handle};
}

onnxc_symbol *onnxc_dims_symbol(onnxc_dims *dims, onnxc_sym sym) { return &dims->symbols.data[sym.i]; }
const onnxc_dim_node *onnxc_dims_node(const onnxc_dims *dims, onnxc_dim dim) { return &dims->nodes.data[dim.i]; }

onnxc_dim onnxc_dim_const(onnxc_dims *dims, int64_t value) {
  return onnxc_dims_intern(dims, (onnxc_dim_node){.kind = ONNXC_DIM_CONST, .constant = value});
}

onnxc_dim onnxc_dim_sym(onnxc_dims *dims, onnxc_sym sym) {
  return onnxc_dims_intern(dims, (onnxc_dim_node){.kind = ONNXC_DIM_SYM, .sym = sym});
}

bool onnxc_dim_is_const(const onnxc_dims *dims, onnxc_dim dim, int64_t *value) {
  const onnxc_dim_node *node = onnxc_dims_node(dims, dim);
  if (!dim.i || node->kind != ONNXC_DIM_CONST)
    return false;
  if (value)
    *value = node->constant;
  return true;
}

bool onnxc_dim_is(const onnxc_dims *dims, onnxc_dim dim, int64_t value) {
  int64_t constant;
  return onnxc_dim_is_const(dims, dim, &constant) && constant == value;
}

/* ---- sums ---- */

onnxc_linear onnxc_dim_linear(const onnxc_dims *dims, onnxc_dim dim, onnxc_dim_term *one) {
  const onnxc_dim_node *node = onnxc_dims_node(dims, dim);
  if (node->kind == ONNXC_DIM_CONST)
    return (onnxc_linear){node->constant, 0, NULL};
  if (node->kind == ONNXC_DIM_SUM && !node->opaque)
    return (onnxc_linear){node->constant, node->num_terms, node->terms};
  *one = (onnxc_dim_term){1, dim};
  return (onnxc_linear){0, 1, one};
}

onnxc_dim onnxc_dim_from_terms(onnxc_dims *dims, int64_t constant, const onnxc_dim_term *terms, uint32_t num_terms) {
  if (num_terms == 0)
    return onnxc_dim_const(dims, constant);
  if (num_terms == 1 && constant == 0 && terms[0].coefficient == 1)
    return terms[0].atom;
  return onnxc_dims_intern(
      dims, (onnxc_dim_node){.kind = ONNXC_DIM_SUM, .num_terms = num_terms, .terms = terms, .constant = constant});
}

static onnxc_dim opaque_sum(onnxc_dims *dims, onnxc_dim a, int64_t ka, onnxc_dim b, int64_t kb) {
  onnxc_dim_term terms[2] = {{ka, a}, {kb, b}};
  return onnxc_dims_intern(
      dims, (onnxc_dim_node){.kind = ONNXC_DIM_SUM, .num_terms = b.i ? 2 : 1, .terms = terms, .opaque = true});
}

/* k*(x floordiv b)*b + k*(x mod b) = k*x, for a constant or a symbolic b. Returns the sum with one such pair merged, or
 * none. */
static onnxc_dim merge_division(onnxc_dims *dims, int64_t constant, const onnxc_dim_term *terms, uint32_t num_terms) {
  for (uint32_t m = 0; m < num_terms; m++) {
    const onnxc_dim_node *mod = onnxc_dims_node(dims, terms[m].atom);
    if (mod->kind != ONNXC_DIM_MOD)
      continue;
    onnxc_dim a = mod->a, b = mod->b;
    for (uint32_t d = 0; d < num_terms; d++) {
      const onnxc_dim_node *other = onnxc_dims_node(dims, terms[d].atom);
      bool division = other->kind == ONNXC_DIM_FLOORDIV && other->a.i == a.i && other->b.i == b.i;
      if (!division && other->kind != ONNXC_DIM_PRODUCT)
        continue;
      int64_t size;
      wide want = terms[m].coefficient;
      if (division) {
        if (!onnxc_dim_is_const(dims, b, &size))
          continue;
        want *= size;
      } else {
        onnxc_dim quotient = onnxc_dims_intern(dims, (onnxc_dim_node){.kind = ONNXC_DIM_FLOORDIV, .a = a, .b = b});
        if (onnxc_dim_product(dims, quotient, b).i != terms[d].atom.i)
          continue;
      }
      if (terms[d].coefficient != want)
        continue;
      onnxc_dim_term *rest = ONNXC_NEW_ARRAY(dims->arena, onnxc_dim_term, num_terms);
      uint32_t n = 0;
      for (uint32_t i = 0; i < num_terms; i++)
        if (i != m && i != d)
          rest[n++] = terms[i];
      return onnxc_dim_scaled_add(dims, onnxc_dim_from_terms(dims, constant, rest, n), 1, a, terms[m].coefficient);
    }
  }
  return (onnxc_dim){0};
}

onnxc_dim onnxc_dim_scaled_add(onnxc_dims *dims, onnxc_dim a, int64_t ka, onnxc_dim b, int64_t kb) {
  onnxc_dim_term one_a, one_b;
  onnxc_linear x = onnxc_dim_linear(dims, a, &one_a), y = onnxc_dim_linear(dims, b, &one_b);
  wide constant = (wide)x.constant * ka + (wide)y.constant * kb;
  onnxc_dim_term few[16];
  uint32_t most = x.num_terms + y.num_terms, n = 0;
  onnxc_dim_term *terms = most <= 16 ? few : ONNXC_NEW_ARRAY(dims->arena, onnxc_dim_term, most);
  bool fits = fits64(constant);
  bool division = false;
  for (uint32_t i = 0, j = 0; fits && (i < x.num_terms || j < y.num_terms);) {
    uint32_t left = i < x.num_terms ? x.terms[i].atom.i : UINT32_MAX;
    uint32_t right = j < y.num_terms ? y.terms[j].atom.i : UINT32_MAX;
    wide coefficient = 0;
    onnxc_dim atom = {left < right ? left : right};
    if (left <= right && x.terms)
      coefficient += (wide)x.terms[i++].coefficient * ka;
    if (right <= left && y.terms)
      coefficient += (wide)y.terms[j++].coefficient * kb;
    fits = fits64(coefficient);
    if (!fits || coefficient == 0)
      continue;
    division |= onnxc_dims_node(dims, atom)->kind == ONNXC_DIM_MOD;
    terms[n++] = (onnxc_dim_term){(int64_t)coefficient, atom};
  }
  if (!fits)
    return opaque_sum(dims, a, ka, kb == 0 ? (onnxc_dim){0} : b, kb);
  if (division && n > 1) {
    onnxc_dim merged = merge_division(dims, (int64_t)constant, terms, n);
    if (merged.i)
      return merged;
  }
  return onnxc_dim_from_terms(dims, (int64_t)constant, terms, n);
}

onnxc_dim onnxc_dim_add(onnxc_dims *dims, onnxc_dim a, onnxc_dim b) { return onnxc_dim_scaled_add(dims, a, 1, b, 1); }
onnxc_dim onnxc_dim_sub(onnxc_dims *dims, onnxc_dim a, onnxc_dim b) { return onnxc_dim_scaled_add(dims, a, 1, b, -1); }
onnxc_dim onnxc_dim_addc(onnxc_dims *dims, onnxc_dim a, int64_t b) {
  return onnxc_dim_scaled_add(dims, a, 1, onnxc_dim_const(dims, b), 1);
}
onnxc_dim onnxc_dim_mulc(onnxc_dims *dims, onnxc_dim a, int64_t b) {
  return onnxc_dim_scaled_add(dims, a, b, onnxc_dim_const(dims, 0), 0);
}

/* ---- evaluation and substitution ---- */

static int64_t floor_div(int64_t a, int64_t b) { return a / b - ((a % b != 0) && ((a < 0) != (b < 0))); }

typedef struct evaluation {
  const onnxc_dims *dims;
  const int64_t *values; /* NULL = the hints */
} evaluation;

static bool eval(const evaluation *e, onnxc_dim dim, int64_t *result) {
  const onnxc_dim_node *node = onnxc_dims_node(e->dims, dim);
  int64_t a, b;
  switch (node->kind) {
  case ONNXC_DIM_CONST: *result = node->constant; return true;
  case ONNXC_DIM_SYM:
    *result = e->values ? e->values[node->sym.i] : e->dims->symbols.data[node->sym.i].hint;
    return true;
  case ONNXC_DIM_SUM: {
    wide sum = node->constant;
    for (uint32_t i = 0; i < node->num_terms; i++) {
      if (!eval(e, node->terms[i].atom, &a))
        return false;
      wide term = (wide)node->terms[i].coefficient * a;
      wide limit = (wide)1 << 120;
      sum += term;
      if (term > limit || term < -limit || sum > limit || sum < -limit)
        return false;
    }
    *result = (int64_t)sum;
    return fits64(sum);
  }
  default: break;
  }
  if (!eval(e, node->a, &a) || !eval(e, node->b, &b))
    return false;
  switch (node->kind) {
  case ONNXC_DIM_PRODUCT: return !__builtin_mul_overflow(a, b, result);
  case ONNXC_DIM_FLOORDIV:
    if (a == INT64_MIN && b == -1)
      return false;
    *result = b ? floor_div(a, b) : 0;
    return true;
  case ONNXC_DIM_MOD: *result = b == 0 || b == -1 ? 0 : a - floor_div(a, b) * b; return true;
  case ONNXC_DIM_MIN: *result = a < b ? a : b; return true;
  case ONNXC_DIM_MAX: *result = a > b ? a : b; return true;
  default: *result = a == b; return true;
  }
}

bool onnxc_dim_eval(const onnxc_dims *dims, onnxc_dim dim, const int64_t *values, int64_t *result) {
  return eval(&(evaluation){dims, values}, dim, result);
}

int64_t onnxc_dim_hint(const onnxc_dims *dims, onnxc_dim dim) {
  int64_t result;
  return eval(&(evaluation){dims, NULL}, dim, &result) ? result : INT64_MAX;
}

onnxc_dim onnxc_dim_rebuild(onnxc_dims *dims, const onnxc_dim_node *node, onnxc_dim a, onnxc_dim b) {
  switch (node->kind) {
  case ONNXC_DIM_PRODUCT: return onnxc_dim_mul(dims, a, b);
  case ONNXC_DIM_FLOORDIV: return onnxc_dim_floordiv(dims, a, b);
  case ONNXC_DIM_MOD: return onnxc_dim_mod(dims, a, b);
  case ONNXC_DIM_MIN: return onnxc_dim_min(dims, a, b);
  case ONNXC_DIM_MAX: return onnxc_dim_max(dims, a, b);
  default: return onnxc_dim_eq(dims, a, b);
  }
}

onnxc_dim onnxc_dim_substitute(onnxc_dims *dims, onnxc_dim dim, const onnxc_dim *map, uint32_t map_length) {
  onnxc_dim_node node = *onnxc_dims_node(dims, dim);
  switch (node.kind) {
  case ONNXC_DIM_CONST: return dim;
  case ONNXC_DIM_SYM: return node.sym.i < map_length && map[node.sym.i].i ? map[node.sym.i] : dim;
  case ONNXC_DIM_SUM: {
    bool changed = false;
    onnxc_dim sum = onnxc_dim_const(dims, node.constant);
    for (uint32_t i = 0; i < node.num_terms; i++) {
      onnxc_dim atom = onnxc_dim_substitute(dims, node.terms[i].atom, map, map_length);
      changed |= atom.i != node.terms[i].atom.i;
      sum = onnxc_dim_scaled_add(dims, sum, 1, atom, node.terms[i].coefficient);
    }
    return changed ? sum : dim;
  }
  default: {
    onnxc_dim a = onnxc_dim_substitute(dims, node.a, map, map_length);
    onnxc_dim b = onnxc_dim_substitute(dims, node.b, map, map_length);
    return a.i == node.a.i && b.i == node.b.i ? dim : onnxc_dim_rebuild(dims, &node, a, b);
  }
  }
}

bool onnxc_dim_uses(const onnxc_dims *dims, onnxc_dim dim, onnxc_sym sym) {
  const onnxc_dim_node *node = onnxc_dims_node(dims, dim);
  if (node->kind == ONNXC_DIM_SYM)
    return node->sym.i == sym.i;
  for (uint32_t i = 0; i < node->num_terms; i++)
    if (onnxc_dim_uses(dims, node->terms[i].atom, sym))
      return true;
  return (node->a.i && onnxc_dim_uses(dims, node->a, sym)) || (node->b.i && onnxc_dim_uses(dims, node->b, sym));
}
