/* load.h -- a loaded model file, as the importer sees it: the unpacked message and the bytes behind it. */
#ifndef ONNXC_FRONTEND_LOAD_H
#define ONNXC_FRONTEND_LOAD_H

#include "frontend.h"
#include "scan.h"

#include "ir/eval.h"
#include "onnx.pb-c.h"

/* A file of external data, mapped when a tensor first asks for it. Allocated singly, since a compilation adds to the
 * list while the file object outlives it. */
typedef struct onnxc_external {
  struct onnxc_external *next;
  uint8_t *bytes; /* NULL when empty */
  size_t size;
  char location[]; /* as tensors spell it */
} onnxc_external;

struct onnxc_onnx_file {
  onnxc_arena *arena;
  onnxc_diag *diag;
  const char *directory; /* of external data; NULL when unknown */
  const uint8_t *bytes;
  size_t size;
  bool mapped; /* bytes are a mapping of ours */
  Onnx__ModelProto *model;
  onnxc_scan scan;
  onnxc_external *externals;
};

/* The external file at `location`, mapped; NULL after an error. `what` names the tensor. */
const onnxc_external *onnxc_onnx_external(onnxc_onnx_file *file, onnxc_diag *diag, const char *what,
                                          const char *location);

/* A tensor's elements, row major, a byte an element for sub-byte types (signed ones sign-extended). The data lies in
 * the file when it can be used as it stands, else in the arena, and is never NULL; in the file a large tensor may be at
 * any address, aligned or not. Strings become an array of const char *. `what` names the tensor in messages:
 * "initializer 'w'". */
onnxc_status onnxc_onnx_tensor(onnxc_onnx_file *file, onnxc_arena *arena, onnxc_diag *diag,
                               const Onnx__TensorProto *tensor, const char *what, onnxc_array *array);

/* Maps a regular file read-only; *bytes is NULL when it is empty. Returns NULL or what went wrong. */
const char *onnxc_onnx_map(const char *path, uint8_t **bytes, size_t *size);

/* Optional strings of the schema are NULL when absent. */
static inline const char *onnxc_onnx_text(const char *text) { return text ? text : ""; }

#endif
