/* digest.c -- what a model is, as one hash: its bytes, and those of the files of external data that it names.
 *
 * Every tensor that a model holds may name such a file: initializers, and attributes of nodes, in subgraphs and
 * in functions too. The recursion is as deep as the messages nest, which the scan has bounded. */
#include "load.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

typedef struct digester {
  onnxc_onnx_file *file;
  onnxc_diag *diag;
} digester;

static onnxc_status visit_tensor(digester *d, const Onnx__TensorProto *tensor) {
  if (!tensor || !tensor->has_data_location || tensor->data_location != ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL)
    return ONNXC_OK;
  for (size_t i = 0; i < tensor->n_external_data; i++)
    if (strcmp(onnxc_onnx_text(tensor->external_data[i]->key), "location") == 0 &&
        !onnxc_onnx_external(d->file, d->diag, "a tensor", onnxc_onnx_text(tensor->external_data[i]->value)))
      return d->diag->status;
  return ONNXC_OK;
}

static onnxc_status visit_sparse(digester *d, const Onnx__SparseTensorProto *sparse) {
  if (!sparse)
    return ONNXC_OK;
  ONNXC_TRY(visit_tensor(d, sparse->values));
  return visit_tensor(d, sparse->indices);
}

static onnxc_status visit_graph(digester *d, const Onnx__GraphProto *graph);

static onnxc_status visit_attribute(digester *d, const Onnx__AttributeProto *attribute) {
  ONNXC_TRY(visit_tensor(d, attribute->t));
  ONNXC_TRY(visit_sparse(d, attribute->sparse_tensor));
  for (size_t i = 0; i < attribute->n_tensors; i++)
    ONNXC_TRY(visit_tensor(d, attribute->tensors[i]));
  for (size_t i = 0; i < attribute->n_sparse_tensors; i++)
    ONNXC_TRY(visit_sparse(d, attribute->sparse_tensors[i]));
  if (attribute->g)
    ONNXC_TRY(visit_graph(d, attribute->g));
  for (size_t i = 0; i < attribute->n_graphs; i++)
    ONNXC_TRY(visit_graph(d, attribute->graphs[i]));
  return ONNXC_OK;
}

static onnxc_status visit_nodes(digester *d, Onnx__NodeProto *const *nodes, size_t count) {
  for (size_t i = 0; i < count; i++)
    for (size_t k = 0; k < nodes[i]->n_attribute; k++)
      ONNXC_TRY(visit_attribute(d, nodes[i]->attribute[k]));
  return ONNXC_OK;
}

static onnxc_status visit_graph(digester *d, const Onnx__GraphProto *graph) {
  for (size_t i = 0; i < graph->n_initializer; i++)
    ONNXC_TRY(visit_tensor(d, graph->initializer[i]));
  for (size_t i = 0; i < graph->n_sparse_initializer; i++)
    ONNXC_TRY(visit_sparse(d, graph->sparse_initializer[i]));
  return visit_nodes(d, graph->node, graph->n_node);
}

/* Mapped bytes are fetched in large pieces, which takes a fraction of the time of faults, and given back: who finds the
 * model in a cache reads it no more. */
static void hash_mapped(onnxc_hasher *hasher, const uint8_t *bytes, size_t size) {
  const size_t piece = (size_t)4 << 20; /* whole pages */
  for (size_t at = 0; at < size; at += piece) {
    size_t length = size - at < piece ? size - at : piece;
    madvise((void *)(uintptr_t)(bytes + at), length, MADV_POPULATE_READ); /* a hint: fails on old kernels */
    onnxc_hash_add(hasher, bytes + at, length);
    madvise((void *)(uintptr_t)(bytes + at), length, MADV_DONTNEED);
  }
}

static onnxc_digest digest_bytes(const char *name, const uint8_t *bytes, size_t size, bool mapped) {
  onnxc_hasher hasher;
  onnxc_hash_start(&hasher);
  onnxc_hash_add_text(&hasher, name);
  if (mapped)
    hash_mapped(&hasher, bytes, size);
  else
    onnxc_hash_add(&hasher, bytes, size);
  return onnxc_hash_end(&hasher);
}

onnxc_status onnxc_onnx_digest(onnxc_onnx_file *file, onnxc_diag *diag, onnxc_digest *digest) {
  digester d = {file, diag};
  ONNXC_TRY(visit_graph(&d, file->model->graph));
  for (size_t i = 0; i < file->model->n_functions; i++)
    ONNXC_TRY(visit_nodes(&d, file->model->functions[i]->node, file->model->functions[i]->n_node));
  *digest = digest_bytes(NULL, file->bytes, file->size, file->mapped);
  /* The list's order depends on who mapped them first, the sum does not. */
  for (const onnxc_external *external = file->externals; external; external = external->next) {
    onnxc_digest part = digest_bytes(external->location, external->bytes, external->size, true);
    digest->words[0] += part.words[0];
    digest->words[1] += part.words[1];
  }
  return ONNXC_OK;
}
