/* inputs.c -- the graph's inputs, their symbolic dims, and what the user fixed.
 *
 * A dim_param is one symbol wherever it occurs; the first input dim that has it binds it, and a run compares the
 * others. A dim without number or name gets a symbol of its own, input_K_dD. A user fixes a symbol by its name
 * (everywhere), or an input's whole shape, which fixes the names in it.
 */
#include "state.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A dim_param: its symbol, or the value that it was fixed to. */
typedef struct param {
  const char *name;
  onnxc_dim dim;
} param;

typedef struct inputs {
  onnxc_import_state *state;
  onnxc_graph *graph;
  ONNXC_VEC(param) params;
  uint32_t num_symbols;
  bool *dim_used;   /* by options->dim_names */
  bool *shape_used; /* by options->shape_inputs */
} inputs;

/* ---- declared types ---- */

/* The tensor type of an input or output, or NULL with an error for what is no tensor. */
static const Onnx__TypeProto__Tensor *tensor_type(onnxc_diag *diag, const char *what,
                                                  const Onnx__ValueInfoProto *info) {
  const Onnx__TypeProto *type = info->type;
  const char *kind = !type                      ? NULL
                     : type->sequence_type      ? "a sequence"
                     : type->map_type           ? "a map"
                     : type->optional_type      ? "an optional value"
                     : type->sparse_tensor_type ? "a sparse tensor"
                     : type->opaque_type        ? "of an opaque type"
                                                : NULL;
  if (kind)
    onnxc_error(diag, ONNXC_UNSUPPORTED, "%s '%s' is %s, which is not supported", what, info->name, kind);
  else if (!type || !type->tensor_type)
    onnxc_error(diag, ONNXC_BAD_INPUT, "%s '%s' has no type", what, info->name);
  return kind || !type ? NULL : type->tensor_type;
}

static bool check_dtype(onnxc_diag *diag, const char *name, int32_t dtype) {
  if (dtype <= 0 || dtype >= ONNXC_DTYPE_COUNT) {
    onnxc_error(diag, ONNXC_BAD_INPUT, "input '%s' has the unknown element type %d", name, dtype);
    return false;
  }
  if (dtype == ONNXC_STRING || dtype == ONNXC_C64 || dtype == ONNXC_C128) {
    onnxc_error(diag, ONNXC_UNSUPPORTED, "input '%s' has elements of type %s, which are not supported", name,
                onnxc_dtype_name((onnxc_dtype)dtype));
    return false;
  }
  return true;
}

/* ---- dims ---- */

/* Names that exporters write for "unknown" and that say nothing about equality. */
static const char *param_name(const Onnx__TensorShapeProto__Dimension *dim) {
  const char *name = onnxc_onnx_text(dim->dim_param);
  return strcmp(name, "?") == 0 || strcmp(name, "-1") == 0 || strcmp(name, "None") == 0 ? "" : name;
}

static param *find_param(inputs *in, const char *name) {
  for (uint32_t i = 0; i < in->params.length; i++)
    if (strcmp(in->params.data[i].name, name) == 0)
      return &in->params.data[i];
  return NULL;
}

/* Fixes a param, or checks it against what it was fixed to. */
static bool fix_param(inputs *in, const char *name, int64_t value) {
  param *known = find_param(in, name);
  int64_t before = 0;
  if (!known) {
    param item = {name, onnxc_dim_const(&in->graph->dims, value)};
    ONNXC_PUSH(in->graph->arena, in->params, item);
    return true;
  }
  if (onnxc_dim_is_const(&in->graph->dims, known->dim, &before) && before == value)
    return true;
  onnxc_error(in->graph->diag, ONNXC_USAGE, "the dim '%s' is given as %" PRId64 " and as %" PRId64, name, before,
              value);
  return false;
}

/* A value that a cost model may expect. */
static int64_t likely_value(const char *name, uint32_t rank, uint32_t axis) {
  if (strstr(name, "atch") || (axis == 0 && rank > 1))
    return 1;
  if (rank >= 4 && axis >= rank - 2)
    return 320;
  return rank >= 4 && axis == 1 ? 320 : 128;
}

static onnxc_dim new_symbol(inputs *in, const char *name, uint32_t rank, uint32_t input, uint32_t axis) {
  onnxc_dims *dims = &in->graph->dims;
  onnxc_sym sym = onnxc_sym_new(dims, name, ONNXC_SYM_INPUT_DIM, input, axis);
  onnxc_dims_symbol(dims, sym)->hint = likely_value(name, rank, axis);
  in->num_symbols++;
  return onnxc_dim_sym(dims, sym);
}

/* The --dim option of this name, if it was given. */
static bool given_dim(inputs *in, const char *name, int64_t *value) {
  const onnxc_import_options *options = in->state->options;
  bool found = false;
  for (size_t i = 0; i < options->num_dims; i++)
    if (strcmp(options->dim_names[i], name) == 0) {
      *value = options->dim_values[i];
      in->dim_used[i] = found = true;
    }
  return found;
}

/* Dim `axis` of input number `input`; none after an error. declared may be NULL, given -1. */
static onnxc_dim make_dim(inputs *in, const char *name, const Onnx__TensorShapeProto__Dimension *declared,
                          int64_t given, uint32_t rank, uint32_t input, uint32_t axis) {
  onnxc_graph *graph = in->graph;
  onnxc_dims *dims = &graph->dims;
  int64_t value = given;
  if (declared && declared->has_dim_value && declared->dim_value >= 0)
    value = declared->dim_value;
  if (value > INT32_MAX) {
    onnxc_error(graph->diag, ONNXC_UNSUPPORTED, "input '%s': dim %u is larger than 2^31 - 1", name, axis);
    return (onnxc_dim){0};
  }
  if (value >= 0)
    return onnxc_dim_const(dims, value);
  if (in->num_symbols >= ONNXC_MAX_SYMBOLIC) {
    onnxc_error(graph->diag, ONNXC_UNSUPPORTED, "more than %d symbolic dims", ONNXC_MAX_SYMBOLIC);
    return (onnxc_dim){0};
  }
  const char *text = declared ? param_name(declared) : "";
  bool is_named = text[0] != 0;
  if (is_named) {
    param *known = find_param(in, text);
    if (known)
      return known->dim;
  } else {
    text = onnxc_arena_printf(graph->arena, "input_%u_d%u", input, axis);
  }
  if (given_dim(in, text, &value) && (value < 0 || value > INT32_MAX)) {
    onnxc_error(graph->diag, ONNXC_USAGE, "the dim '%s' cannot be %" PRId64, text, value);
    return (onnxc_dim){0};
  }
  param item = {text, value >= 0 ? onnxc_dim_const(dims, value) : new_symbol(in, text, rank, input, axis)};
  if (is_named)
    ONNXC_PUSH(graph->arena, in->params, item);
  return item.dim;
}

/* ---- shapes given by the user ---- */

/* Index of the --shape option for an input, or SIZE_MAX. The last one counts. */
static size_t given_shape(const inputs *in, const char *name) {
  const onnxc_import_options *options = in->state->options;
  size_t found = SIZE_MAX;
  for (size_t i = 0; i < options->num_shapes; i++)
    if (strcmp(options->shape_inputs[i], name) == 0)
      found = i;
  return found;
}

/* A given shape against the declared one; the names in it are fixed. */
static bool apply_shape(inputs *in, const Onnx__ValueInfoProto *info, const Onnx__TensorShapeProto *shape,
                        size_t given) {
  const onnxc_import_options *options = in->state->options;
  onnxc_diag *diag = in->graph->diag;
  int rank = options->shape_ranks[given];
  in->shape_used[given] = true;
  if (rank < 0 || rank > ONNXC_MAX_RANK || (shape && shape->n_dim != (size_t)rank)) {
    onnxc_error(diag, ONNXC_USAGE, "input '%s' has rank %zu, but the shape given for it has %d", info->name,
                shape ? shape->n_dim : (size_t)ONNXC_MAX_RANK, rank);
    return false;
  }
  bool good = true;
  for (size_t d = 0; shape && d < shape->n_dim; d++) {
    int64_t value = options->shape_dims[given][d];
    const Onnx__TensorShapeProto__Dimension *dim = shape->dim[d];
    if (value < 0)
      continue;
    if (dim->has_dim_value && dim->dim_value >= 0 && dim->dim_value != value) {
      onnxc_error(diag, ONNXC_USAGE, "input '%s': dim %zu is %" PRId64 " in the model, not %" PRId64, info->name, d,
                  dim->dim_value, value);
      good = false;
    } else if (!dim->has_dim_value && param_name(dim)[0]) {
      good = fix_param(in, param_name(dim), value) && good;
    }
  }
  return good;
}

/* ---- one input, and all ---- */

static void add_input(inputs *in, onnxc_scope *scope, const Onnx__ValueInfoProto *info) {
  onnxc_graph *graph = in->graph;
  onnxc_diag *diag = graph->diag;
  const Onnx__TypeProto__Tensor *type = tensor_type(diag, "input", info);
  if (!type || !check_dtype(diag, info->name, type->elem_type))
    return;
  size_t given = given_shape(in, info->name);
  if (!type->shape && given == SIZE_MAX) {
    onnxc_error(diag, ONNXC_UNSUPPORTED, "input '%s' has no shape, which is not supported; give it with --shape %s=...",
                info->name, info->name);
    return;
  }
  size_t rank = type->shape ? type->shape->n_dim : (size_t)in->state->options->shape_ranks[given];
  if (rank > ONNXC_MAX_RANK) {
    onnxc_error(diag, ONNXC_UNSUPPORTED, "input '%s' has rank %zu; the highest supported one is %d", info->name, rank,
                ONNXC_MAX_RANK);
    return;
  }
  onnxc_dim dims[ONNXC_MAX_RANK];
  uint32_t index = graph->inputs.length;
  for (uint32_t d = 0; d < rank; d++) {
    int64_t value = given == SIZE_MAX ? -1 : in->state->options->shape_dims[given][d];
    dims[d] = make_dim(in, info->name, type->shape ? type->shape->dim[d] : NULL, value, (uint32_t)rank, index, d);
    if (!dims[d].i)
      return;
  }
  onnxc_name *name = onnxc_scope_find(scope, info->name);
  name->value = onnxc_graph_add_input(graph, info->name, (onnxc_dtype)type->elem_type, (uint32_t)rank, dims);
}

/* Options that named nothing are mistakes. */
static void check_used(inputs *in) {
  const onnxc_import_options *options = in->state->options;
  const onnxc_dims *dims = &in->graph->dims;
  for (size_t i = 0; i < options->num_shapes; i++)
    if (!in->shape_used[i])
      onnxc_error(in->graph->diag, ONNXC_USAGE, "the model has no input '%s'", options->shape_inputs[i]);
  for (size_t i = 0; i < options->num_dims; i++) {
    if (in->dim_used[i])
      continue;
    char known[256] = "";
    size_t used = 0;
    for (uint32_t s = 1; s < dims->symbols.length && used < sizeof known - 1; s++) {
      int wrote = snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", dims->symbols.data[s].name);
      used += wrote > 0 ? (size_t)wrote : 0;
    }
    onnxc_error(in->graph->diag, ONNXC_USAGE, "the model has no dim '%s'; its dims that can be given are: %s",
                options->dim_names[i], known[0] ? known : "none");
  }
}

onnxc_status onnxc_import_graph_inputs(onnxc_import_state *state, onnxc_scope *scope) {
  onnxc_graph *graph = state->graph;
  const Onnx__GraphProto *proto = state->file->model->graph;
  const onnxc_import_options *options = state->options;
  inputs in = {.state = state,
               .graph = graph,
               .dim_used = ONNXC_NEW_ARRAY(graph->arena, bool, options->num_dims + 1),
               .shape_used = ONNXC_NEW_ARRAY(graph->arena, bool, options->num_shapes + 1)};
  int errors = graph->diag->count;
  for (size_t i = 0; i < options->num_dims; i++) {
    bool repeated = false;
    for (size_t k = 0; k < i; k++)
      repeated |=
          strcmp(options->dim_names[i], options->dim_names[k]) == 0 && options->dim_values[i] != options->dim_values[k];
    if (repeated)
      return onnxc_error(graph->diag, ONNXC_USAGE, "the dim '%s' is given twice", options->dim_names[i]);
  }
  /* Shapes first, since the names that they fix may occur in earlier inputs too; then names, so that the two are
   * compared. */
  for (size_t i = 0; i < proto->n_input; i++) {
    const Onnx__ValueInfoProto *info = proto->input[i];
    size_t given = given_shape(&in, info->name);
    if (given == SIZE_MAX || onnxc_scope_find(scope, info->name)->initializer)
      continue;
    const Onnx__TypeProto__Tensor *type = info->type ? info->type->tensor_type : NULL;
    if (!apply_shape(&in, info, type ? type->shape : NULL, given))
      return graph->diag->status;
  }
  for (size_t i = 0; i < in.params.length; i++) {
    int64_t value;
    if (given_dim(&in, in.params.data[i].name, &value) && !fix_param(&in, in.params.data[i].name, value))
      return graph->diag->status;
  }
  for (size_t i = 0; i < proto->n_input && graph->diag->count < ONNXC_MAX_REPORTED; i++)
    if (!onnxc_scope_find(scope, proto->input[i]->name)->initializer)
      add_input(&in, scope, proto->input[i]);
  if (graph->diag->count == errors)
    check_used(&in);
  return graph->diag->count == errors ? ONNXC_OK : graph->diag->status;
}

onnxc_status onnxc_import_check_output(onnxc_import_state *state, const Onnx__ValueInfoProto *output,
                                       onnxc_value value) {
  const onnxc_value_info *info = onnxc_value_of(state->graph, value);
  const Onnx__TypeProto__Tensor *type = output->type ? output->type->tensor_type : NULL;
  if (!type)
    return output->type && (output->type->sequence_type || output->type->optional_type)
               ? onnxc_error(state->graph->diag, ONNXC_UNSUPPORTED,
                             "output '%s' is a sequence or optional value, which is not supported", output->name)
               : ONNXC_OK;
  if (type->elem_type && type->elem_type != (int32_t)info->dtype)
    return onnxc_error(state->graph->diag, ONNXC_BAD_INPUT, "output '%s' is declared as %s, but its value is %s",
                       output->name, onnxc_dtype_name((onnxc_dtype)type->elem_type), onnxc_dtype_name(info->dtype));
  if (type->shape && type->shape->n_dim != info->rank)
    return onnxc_error(state->graph->diag, ONNXC_BAD_INPUT,
                       "output '%s' is declared with rank %zu, but its value has rank %u", output->name,
                       type->shape->n_dim, info->rank);
  return ONNXC_OK;
}
