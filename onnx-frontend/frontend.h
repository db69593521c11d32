/* frontend.h -- an ONNX model to a graph.
 *
 * load.c maps or takes the bytes, prescans the wire format (depth, counts,
 * sizes) and unpacks it with protobuf-c, tensor payloads left in the mapped bytes; import.c orders the nodes, binds
 * names to values and calls one importer a node; operators.def lists the importers. digest.c says by one hash what
 * was loaded.
 */
#ifndef ONNXC_FRONTEND_FRONTEND_H
#define ONNXC_FRONTEND_FRONTEND_H

#include "base/hash.h"
#include "ir/graph.h"

typedef struct onnxc_onnx_file onnxc_onnx_file; /* a loaded, validated model; see load.h */

/* Maps `path`. The result lives in the arena; onnxc_onnx_close unmaps what is mapped
 * (safe to call on an object whose loading was unwound; *file is set early). */
onnxc_status onnxc_onnx_open(onnxc_onnx_file **file, onnxc_arena *arena, onnxc_diag *diag, const char *path);
onnxc_status onnxc_onnx_open_memory(onnxc_onnx_file **file, onnxc_arena *arena, onnxc_diag *diag, const void *bytes,
                                    size_t size, const char *directory);
void onnxc_onnx_close(onnxc_onnx_file *file);

/* A hash of the model's bytes and of all files of external data that it names; an error when one cannot be read. */
onnxc_status onnxc_onnx_digest(onnxc_onnx_file *file, onnxc_diag *diag, onnxc_digest *digest);

/* Dims the user fixed: a symbolic dim by its name, or a whole input shape. */
typedef struct onnxc_import_options {
  const char *const *dim_names;
  const int64_t *dim_values;
  size_t num_dims;
  const char *const *shape_inputs;
  const int64_t (*shape_dims)[ONNXC_MAX_RANK];
  const int *shape_ranks;
  size_t num_shapes;
} onnxc_import_options;

/* Builds the graph (already initialised). All unsupported nodes are reported at once. */
onnxc_status onnxc_onnx_import(onnxc_onnx_file *file, onnxc_graph *graph, const onnxc_import_options *options);

/* A TensorProto file (input_0.pb) to a tensor; data is in the arena, aligned. name may be NULL. */
struct onnxc_array;
onnxc_status onnxc_onnx_read_tensor(onnxc_arena *arena, onnxc_diag *diag, const char *path, struct onnxc_array *array,
                                    const char **name);

#endif
