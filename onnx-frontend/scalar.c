/* scalar.c -- the importers' elementwise map and operand checks. */
#include "scalar.h"

#include <string.h>

static char kind_of(onnxc_dtype dtype) {
  if (onnxc_dtype_is_float(dtype))
    return 'f';
  if (onnxc_dtype_is_bool(dtype))
    return 'b';
  if (!onnxc_dtype_is_int(dtype))
    return 'x';
  return onnxc_dtype_is_signed(dtype) ? 'i' : 'u';
}

onnxc_value onnxc_import_operand(onnxc_importer *in, uint32_t k, const char *kinds) {
  onnxc_value value = onnxc_import_input(in, k);
  if (!value.i)
    return value;
  onnxc_dtype dtype = onnxc_value_of(in->graph, value)->dtype;
  if (strchr(kinds, kind_of(dtype)))
    return value;
  onnxc_import_error(in, ONNXC_UNSUPPORTED, "input %u of type %s", k, onnxc_dtype_name(dtype));
  return (onnxc_value){0};
}

/* ---- the map ---- */

typedef struct widened {
  onnxc_build_scalar_fn scalar;
  void *arg;
  uint32_t n;
  onnxc_expr *args;
} widened;

static onnxc_expr widened_scalar(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  const widened *w = arg;
  for (uint32_t k = 0; k < w->n; k++)
    w->args[k] = e_cast(pool, onnxc_build_wide(e_dtype(pool, args[k])), args[k]);
  onnxc_expr result = w->scalar(w->arg, pool, w->args);
  onnxc_dtype dtype = e_dtype(pool, args[0]);
  return e_dtype(pool, result) == onnxc_build_wide(dtype) ? e_cast(pool, dtype, result) : result;
}

onnxc_value onnxc_import_map(onnxc_importer *in, uint32_t n, const onnxc_value *values, onnxc_build_scalar_fn scalar,
                             void *arg) {
  for (uint32_t k = 0; k < n; k++)
    if (!values[k].i)
      return values[k];
  widened w = {scalar, arg, n, ONNXC_NEW_ARRAY(in->graph->arena, onnxc_expr, n ? n : 1)};
  return onnxc_build_map(in->graph, in->where, n, values, widened_scalar, &w);
}

onnxc_value onnxc_import_widen(onnxc_importer *in, onnxc_value value) {
  return value.i ? onnxc_import_narrow(in, value, onnxc_build_wide(onnxc_value_of(in->graph, value)->dtype)) : value;
}

onnxc_value onnxc_import_narrow(onnxc_importer *in, onnxc_value value, onnxc_dtype dtype) {
  return onnxc_build_cast(in->graph, in->where, dtype, value);
}

onnxc_value onnxc_import_scalar(onnxc_importer *in, onnxc_value value) {
  return onnxc_build_reshape(in->graph, in->where, value, 0, NULL);
}
