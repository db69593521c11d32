/* importer.c -- what an operator's importer asks for: operands, attributes. See import.h. */
#include "state.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- errors ---- */

onnxc_status onnxc_import_error(onnxc_importer *in, onnxc_status status, const char *format, ...) {
  char message[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  return onnxc_error(in->graph->diag, status, "%s: %s", in->where, message);
}

/* ---- operands ---- */

onnxc_value onnxc_import_input(onnxc_importer *in, uint32_t k) {
  onnxc_value value = onnxc_import_optional(in, k);
  if (!value.i)
    onnxc_import_error(in, ONNXC_BAD_INPUT, "input %u is missing", k);
  return value;
}

onnxc_value onnxc_import_optional(onnxc_importer *in, uint32_t k) {
  return k < in->num_inputs ? in->inputs[k] : (onnxc_value){0};
}

bool onnxc_import_wants(const onnxc_importer *in, uint32_t k) {
  return in->result ? k == 0 : k < in->proto->n_output && in->proto->output[k][0];
}

/* No extent may be negative: an error, or a constraint where a run decides. */
static void check_extents(onnxc_importer *in, uint32_t k, onnxc_value value) {
  onnxc_graph *graph = in->graph;
  const onnxc_value_info *info = onnxc_value_of(graph, value);
  onnxc_dim zero = onnxc_dim_const(&graph->dims, 0);
  for (uint32_t d = 0; d < info->rank; d++) {
    int64_t low, high;
    onnxc_dim_range(&graph->dims, info->dims[d], &low, &high);
    if (high < 0)
      onnxc_import_error(in, ONNXC_BAD_INPUT, "dim %u of output %u is negative", d, k);
    if (low >= 0 || high < 0)
      continue;
    onnxc_dim excess = onnxc_dim_min(&graph->dims, info->dims[d], zero);
    bool known = false;
    for (uint32_t c = 0; c < graph->constraints.length && !known; c++)
      known =
          onnxc_dim_same(graph->constraints.data[c].a, excess) && onnxc_dim_same(graph->constraints.data[c].b, zero);
    if (!known)
      onnxc_graph_add_constraint(
          graph, excess, zero,
          onnxc_arena_printf(graph->arena, "%s: dim %u of output %u is negative", in->where, d, k));
  }
}

void onnxc_import_result(onnxc_importer *in, uint32_t k, onnxc_value value) {
  if (!value.i || !onnxc_import_wants(in, k))
    return;
  check_extents(in, k, value);
  if (in->result) {
    *in->result = value;
    return;
  }
  onnxc_name *name = onnxc_scope_find(in->state->scope, in->proto->output[k]);
  name->value = value;
  onnxc_import_name_it(in->state, in->state->scope, value, name->text);
}

onnxc_status onnxc_import_done(onnxc_importer *in, uint32_t k, onnxc_value value) {
  onnxc_import_result(in, k, value);
  if (value.i)
    return ONNXC_OK;
  if (in->graph->diag->status == ONNXC_OK)
    return onnxc_import_error(in, ONNXC_INTERNAL, "failed without saying why");
  return in->graph->diag->status;
}

void onnxc_import_need_elements(onnxc_importer *in, const onnxc_value_info *x, uint32_t rank,
                                const onnxc_dim *extents) {
  onnxc_dims *dims = &in->graph->dims;
  onnxc_dim zero = onnxc_dim_const(dims, 0), count = onnxc_dim_const(dims, 1);
  for (uint32_t d = 0; d < rank; d++)
    count = onnxc_dim_mul(dims, count, extents[d]);
  for (uint32_t d = 0; d < x->rank; d++) {
    bool shared = false; /* then the result has no elements either */
    for (uint32_t k = 0; k < rank; k++)
      shared = shared || onnxc_dim_same(x->dims[d], extents[k]);
    onnxc_dim missing = onnxc_dim_mul(dims, onnxc_dim_eq(dims, x->dims[d], zero), count);
    if (!shared && !onnxc_dim_is(dims, missing, 0))
      onnxc_graph_add_constraint(
          in->graph, missing, zero,
          onnxc_arena_printf(in->graph->arena, "%s: dim %u of the input has no elements to take", in->where, d));
  }
}

int64_t onnxc_import_axis(onnxc_importer *in, int64_t axis, uint32_t rank) {
  if (axis >= -(int64_t)rank && axis < (int64_t)rank)
    return axis < 0 ? axis + rank : axis;
  onnxc_import_error(in, ONNXC_BAD_INPUT, "axis %" PRId64 " is out of range for rank %u", axis, rank);
  return -1;
}

/* ---- attributes ---- */

static const char *const type_names[] = {"undefined", "float",  "int",     "string",  "tensor",
                                         "graph",     "floats", "ints",    "strings", "tensors",
                                         "graphs",    "sparse", "sparses", "type",    "types"};

/* The type an attribute says it has; models of IR versions before 2 do not say. */
static Onnx__AttributeProto__AttributeType type_of(const Onnx__AttributeProto *a) {
  if (a->has_type && a->type != ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__UNDEFINED)
    return a->type;
  return a->has_f       ? ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT
         : a->has_i     ? ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT
         : a->has_s     ? ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING
         : a->t         ? ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR
         : a->n_floats  ? ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS
         : a->n_ints    ? ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS
         : a->n_strings ? ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS
                        : ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__UNDEFINED;
}

/* The attribute if it is there and of this type; another type is an error. */
static const Onnx__AttributeProto *typed(const onnxc_importer *in, const char *name,
                                         Onnx__AttributeProto__AttributeType want) {
  const Onnx__AttributeProto *a = onnxc_scope_attribute(in->state->scope, in->proto, name);
  if (!a)
    return NULL;
  Onnx__AttributeProto__AttributeType have = type_of(a);
  if (have == want)
    return a;
  /* An empty list is of no type that one could tell when it does not say. */
  if (have == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__UNDEFINED &&
      (want == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS || want == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS ||
       want == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS))
    return a;
  size_t known = sizeof type_names / sizeof type_names[0];
  onnxc_error(in->graph->diag, ONNXC_BAD_INPUT, "%s: attribute '%s' has type %s, expected %s", in->where, name,
              (size_t)have < known ? type_names[have] : "?", type_names[want]);
  return NULL;
}

bool onnxc_import_has(const onnxc_importer *in, const char *name) {
  return onnxc_scope_attribute(in->state->scope, in->proto, name) != NULL;
}

int64_t onnxc_import_int(const onnxc_importer *in, const char *name, int64_t fallback) {
  const Onnx__AttributeProto *a = typed(in, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
  return a ? a->i : fallback;
}

double onnxc_import_float(const onnxc_importer *in, const char *name, double fallback) {
  const Onnx__AttributeProto *a = typed(in, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
  return a ? (double)a->f : fallback;
}

const char *onnxc_import_string(const onnxc_importer *in, const char *name, const char *fallback) {
  const Onnx__AttributeProto *a = typed(in, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING);
  if (!a)
    return fallback;
  return onnxc_arena_copy_string(in->graph->arena, a->s.len ? (const char *)a->s.data : "", a->s.len);
}

const char *const *onnxc_import_strings(const onnxc_importer *in, const char *name, uint32_t *count) {
  const Onnx__AttributeProto *a = typed(in, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS);
  *count = a ? (uint32_t)a->n_strings : 0;
  const char **strings = a ? ONNXC_NEW_ARRAY(in->graph->arena, const char *, a->n_strings + 1) : NULL;
  for (uint32_t k = 0; k < *count; k++)
    strings[k] = onnxc_arena_copy_string(in->graph->arena, a->strings[k].len ? (const char *)a->strings[k].data : "",
                                         a->strings[k].len);
  return strings;
}

const int64_t *onnxc_import_ints(const onnxc_importer *in, const char *name, uint32_t *count) {
  static const int64_t none[1] = {0};
  const Onnx__AttributeProto *a = typed(in, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
  *count = a ? (uint32_t)a->n_ints : 0;
  return a ? (*count ? a->ints : none) : NULL;
}

const float *onnxc_import_floats(const onnxc_importer *in, const char *name, uint32_t *count) {
  static const float none[1] = {0};
  const Onnx__AttributeProto *a = typed(in, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS);
  *count = a ? (uint32_t)a->n_floats : 0;
  return a ? (*count ? a->floats : none) : NULL;
}

onnxc_value onnxc_import_tensor(onnxc_importer *in, const char *name) {
  onnxc_value none = {0};
  onnxc_array array;
  const Onnx__AttributeProto *a = typed(in, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR);
  if (!a)
    return none;
  const char *what = onnxc_arena_printf(in->graph->arena, "%s: attribute '%s'", in->where, name);
  if (!a->t) {
    onnxc_error(in->graph->diag, ONNXC_BAD_INPUT, "%s has no tensor", what);
    return none;
  }
  if (onnxc_onnx_tensor(in->state->file, in->graph->arena, in->graph->diag, a->t, what, &array) != ONNXC_OK)
    return none;
  return onnxc_import_constant(in->state, NULL, &array, what);
}
