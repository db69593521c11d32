/* key.c -- what a compiled program depends on, as one hash: the key under which it is cached.
 *
 * The model by its content; the options that change what is compiled; the compiler and the CPU (emit/cache.h). A new
 * option belongs here as soon as it changes a program (threads do not). */
#include "api/api.h"

#include "emit/cache.h"

static void add_number(onnxc_hasher *key, int64_t number) { onnxc_hash_add(key, &number, sizeof number); }

static void add_options(onnxc_hasher *key, const onnxc_options *options) {
  add_number(key, options->winograd);
  add_number(key, (int64_t)options->num_dims);
  for (size_t k = 0; k < options->num_dims; k++) {
    onnxc_hash_add_text(key, options->dims[k].name);
    add_number(key, options->dims[k].value);
  }
  add_number(key, (int64_t)options->num_shapes);
  for (size_t k = 0; k < options->num_shapes; k++) {
    const onnxc_shape_setting *shape = &options->shapes[k];
    onnxc_hash_add_text(key, shape->input);
    add_number(key, shape->rank);
    for (int d = 0; d < shape->rank && d < ONNXC_MAX_RANK; d++)
      add_number(key, shape->dims[d]);
  }
  add_number(key, (int64_t)options->precision);
}

onnxc_status onnxc_build_key(const onnxc_build *build, onnxc_digest *key) {
  onnxc_hasher hasher;
  onnxc_digest content;
  ONNXC_TRY(onnxc_onnx_digest(build->model->storage->file, &build->model->context->diag, &content));
  onnxc_hash_start(&hasher);
  onnxc_cache_identify(&hasher, build->target);
  onnxc_hash_add(&hasher, &content, sizeof content);
  add_options(&hasher, build->options);
  add_number(&hasher, build->tuning_text ? (int64_t)build->tuning_size : -1);
  onnxc_hash_add(&hasher, build->tuning_text, build->tuning_size);
  *key = onnxc_hash_end(&hasher);
  return ONNXC_OK;
}
