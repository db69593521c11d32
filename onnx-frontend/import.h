/* import.h -- what an operator's importer sees: one node, its attributes, its operands.
 *
 * An importer is `onnxc_status onnxc_import_OpType(onnxc_importer *in)`: it builds values with ops/build.h
 * and binds the outputs with onnxc_import_result. operators.def is the table: op type, domain, first opset
 * that the importer understands, importer. An importer asks in->opset where
 * versions differ. Errors go through onnxc_import_error, which names node, operator and opset.
 */
#ifndef ONNXC_FRONTEND_IMPORT_H
#define ONNXC_FRONTEND_IMPORT_H

#include "ops/build.h"

typedef struct onnxc_importer {
  onnxc_graph *graph;
  /* "node 'conv1' (Conv-11)": the node's name (or its first output's), operator and opset version in force. */
  const char *where;
  const char *op_type;
  int64_t opset;                    /* version of the operator's domain that the model imports */
  uint32_t num_inputs, num_outputs; /* as written, trailing ones included */
  const onnxc_value *inputs;        /* none where omitted or empty */
  const struct Onnx__NodeProto *proto;
  struct onnxc_import_state *state; /* of import.c */
  onnxc_value *result;              /* if not NULL: output 0 goes here, not to the name that the node gives it */
} onnxc_importer;

typedef onnxc_status (*onnxc_import_fn)(onnxc_importer *in);

/* ---- operands ---- */

/* Input k; errors (and returns none) when it is missing. */
onnxc_value onnxc_import_input(onnxc_importer *in, uint32_t k);
/* Input k, or none when it is omitted. */
onnxc_value onnxc_import_optional(onnxc_importer *in, uint32_t k);
/* Binds output k. Binding none, or an output that the model does not name, is allowed and does nothing. */
void onnxc_import_result(onnxc_importer *in, uint32_t k, onnxc_value value);
bool onnxc_import_wants(const onnxc_importer *in, uint32_t k); /* output k is named */

/* ---- attributes; the default is returned when absent ---- */

bool onnxc_import_has(const onnxc_importer *in, const char *name);
int64_t onnxc_import_int(const onnxc_importer *in, const char *name, int64_t fallback);
double onnxc_import_float(const onnxc_importer *in, const char *name, double fallback);
/* A string attribute as NUL-terminated text in the graph's arena. */
const char *onnxc_import_string(const onnxc_importer *in, const char *name, const char *fallback);
/* A list of strings, each as such text; NULL and *count 0 when absent. */
const char *const *onnxc_import_strings(const onnxc_importer *in, const char *name, uint32_t *count);
/* NULL and *count 0 when absent. */
const int64_t *onnxc_import_ints(const onnxc_importer *in, const char *name, uint32_t *count);
const float *onnxc_import_floats(const onnxc_importer *in, const char *name, uint32_t *count);
/* A tensor attribute as a constant value; none when absent or bad (then an error is recorded). */
onnxc_value onnxc_import_tensor(onnxc_importer *in, const char *name);

/* ---- helpers ---- */

/* "node 'x' (Op-11): ..."; returns the status. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
onnxc_status
onnxc_import_error(onnxc_importer *in, onnxc_status status, const char *format, ...);
/* Axis in [-rank, rank-1] to [0, rank-1]; -1 after an error. */
int64_t onnxc_import_axis(onnxc_importer *in, int64_t axis, uint32_t rank);
/* The usual end of an importer: binds output k to value and returns OK; if value is none, returns the status that the
 * builder recorded. */
onnxc_status onnxc_import_done(onnxc_importer *in, uint32_t k, onnxc_value value);
/* Indices clamped into a dim need an element to be clamped to: a run refuses x when a dim of it has none and a result
 * of these extents has some. */
void onnxc_import_need_elements(onnxc_importer *in, const onnxc_value_info *x, uint32_t rank, const onnxc_dim *extents);

typedef struct onnxc_import_row {
  const char *op_type;
  const char *domain; /* "" = ai.onnx */
  int64_t since;      /* lowest opset understood */
  onnxc_import_fn import;
} onnxc_import_row;
const onnxc_import_row *onnxc_import_find(const char *domain, const char *op_type);
const onnxc_import_row *onnxc_import_rows(size_t *count); /* all, sorted by op type, then domain */

#endif
