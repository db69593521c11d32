/* model.c -- loading a model, and what it declares. */
#include "api/api.h"

#include <stdatomic.h>
#include <string.h>

void onnxc_storage_release(onnxc_storage *storage) {
  if (!storage || atomic_fetch_sub(&storage->references, 1) != 1)
    return;
  if (storage->file)
    onnxc_onnx_close(storage->file);
  onnxc_arena_free(&storage->arena);
  onnxc_mem_free(storage);
}

static onnxc_model *model_new(onnxc_context *context, const char *name) {
  onnxc_model *model = onnxc_mem_alloc(sizeof *model + strlen(name) + 1);
  if (!model)
    return NULL;
  memset(model, 0, sizeof *model);
  memcpy(model->name, name, strlen(name) + 1);
  model->context = context;
  onnxc_storage *storage = onnxc_mem_alloc(sizeof *storage);
  if (!storage) {
    onnxc_mem_free(model);
    return NULL;
  }
  memset(storage, 0, sizeof *storage);
  storage->references = 1;
  onnxc_arena_init(&storage->arena, &context->guard);
  model->storage = storage;
  model->next = context->models;
  if (model->next)
    model->next->previous = model;
  context->models = model;
  return model;
}

void onnxc_model_free(onnxc_model *model) {
  if (!model)
    return;
  *(model->previous ? &model->previous->next : &model->context->models) = model->next;
  if (model->next)
    model->next->previous = model->previous;
  onnxc_storage_release(model->storage);
  onnxc_mem_free(model);
}

typedef struct load_job {
  onnxc_context *context;
  const char *path; /* NULL: from memory */
  const void *bytes;
  size_t size;
  const char *directory;
  onnxc_model *model;
} load_job;

static onnxc_status load(void *arg) {
  load_job *job = arg;
  onnxc_diag *diag = &job->context->diag;
  job->model = model_new(job->context, job->path ? job->path : "model");
  if (!job->model)
    return onnxc_error(diag, ONNXC_OUT_OF_MEMORY, "out of memory");
  onnxc_storage *storage = job->model->storage;
  if (job->path)
    return onnxc_onnx_open(&storage->file, &storage->arena, diag, job->path);
  storage->caller_bytes = job->bytes;
  storage->caller_size = job->size;
  return onnxc_onnx_open_memory(&storage->file, &storage->arena, diag, job->bytes, job->size, job->directory);
}

static onnxc_status load_guarded(load_job *job, onnxc_model **model) {
  *model = NULL;
  double start = onnxc_seconds();
  onnxc_status status = onnxc_guarded(job->context, job->path, load, job);
  if (status != ONNXC_OK) {
    onnxc_model_free(job->model);
    return status;
  }
  job->model->load_seconds = onnxc_seconds() - start;
  *model = job->model;
  return ONNXC_OK;
}

onnxc_status onnxc_load(onnxc_context *context, const char *path, onnxc_model **model) {
  load_job job = {.context = context, .path = path};
  return load_guarded(&job, model);
}

onnxc_status onnxc_load_memory(onnxc_context *context, const void *bytes, size_t size, const char *directory,
                               onnxc_model **model) {
  load_job job = {.context = context, .bytes = bytes, .size = size, .directory = directory};
  return load_guarded(&job, model);
}

onnxc_status onnxc_import_model(onnxc_model *model, const onnxc_options *options, onnxc_arena *arena,
                                onnxc_graph *graph) {
  onnxc_graph_init(graph, arena, &model->context->diag);
  onnxc_import_options import = {0};
  if (options && options->num_dims > 0) {
    const char **names = ONNXC_NEW_ARRAY(arena, const char *, options->num_dims);
    int64_t *values = ONNXC_NEW_ARRAY(arena, int64_t, options->num_dims);
    for (size_t k = 0; k < options->num_dims; k++) {
      names[k] = options->dims[k].name;
      values[k] = options->dims[k].value;
    }
    import.dim_names = names;
    import.dim_values = values;
    import.num_dims = options->num_dims;
  }
  if (options && options->num_shapes > 0) {
    const char **names = ONNXC_NEW_ARRAY(arena, const char *, options->num_shapes);
    int64_t(*dims)[ONNXC_MAX_RANK] = onnxc_arena_array(arena, options->num_shapes, sizeof *dims);
    int *ranks = ONNXC_NEW_ARRAY(arena, int, options->num_shapes);
    for (size_t k = 0; k < options->num_shapes; k++) {
      const onnxc_shape_setting *shape = &options->shapes[k];
      if (shape->rank < 0 || shape->rank > ONNXC_MAX_RANK)
        return onnxc_error(&model->context->diag, ONNXC_USAGE, "the shape given for '%s' has rank %d", shape->input,
                           shape->rank);
      names[k] = shape->input;
      ranks[k] = shape->rank;
      memcpy(dims[k], shape->dims, sizeof dims[k]);
    }
    import.shape_inputs = names;
    import.shape_dims = (const int64_t(*)[ONNXC_MAX_RANK])dims;
    import.shape_ranks = ranks;
    import.num_shapes = options->num_shapes;
  }
  return onnxc_onnx_import(model->storage->file, graph, &import);
}

/* ---- what a model declares ---- */

static void describe_value(onnxc_arena *arena, onnxc_graph *graph, onnxc_value value, const char *name,
                           onnxc_tensor_info *info) {
  const onnxc_value_info *v = onnxc_value_of(graph, value);
  int64_t *dims = ONNXC_NEW_ARRAY(arena, int64_t, ONNXC_MAX_RANK);
  const char **names = ONNXC_NEW_ARRAY(arena, const char *, ONNXC_MAX_RANK);
  const char *copy = onnxc_arena_copy_string(arena, name ? name : "", name ? strlen(name) : 0);
  *info = (onnxc_tensor_info){copy, (int32_t)v->dtype, (int32_t)v->rank, dims, names, 0, -1};
  for (uint32_t k = 0; k < v->rank; k++) {
    dims[k] = -1;
    if (onnxc_dim_is_const(&graph->dims, v->dims[k], &dims[k]))
      continue;
    char text[64]; /* a long expression helps nobody */
    onnxc_dim_print(&graph->dims, v->dims[k], text, sizeof text);
    if (strlen(text) == sizeof text - 1)
      strcpy(text, "?");
    const char *start = text[0] == '%' && !strpbrk(text, " *(") ? text + 1 : text;
    names[k] = onnxc_arena_copy_string(arena, start, strlen(start));
  }
}

typedef struct declare_job {
  onnxc_model *model;
  onnxc_arena scratch;
  onnxc_graph graph;
} declare_job;

static onnxc_status declare(void *arg) {
  declare_job *job = arg;
  onnxc_graph *graph = &job->graph;
  ONNXC_TRY(onnxc_import_model(job->model, NULL, &job->scratch, graph));
  onnxc_arena *arena = &job->model->storage->arena;
  onnxc_model_info *info = ONNXC_NEW(arena, onnxc_model_info);
  onnxc_tensor_info *inputs = ONNXC_NEW_ARRAY(arena, onnxc_tensor_info, graph->inputs.length);
  onnxc_tensor_info *outputs = ONNXC_NEW_ARRAY(arena, onnxc_tensor_info, graph->outputs.length);
  for (uint32_t k = 0; k < graph->inputs.length; k++)
    describe_value(arena, graph, graph->inputs.data[k], onnxc_value_of(graph, graph->inputs.data[k])->name, &inputs[k]);
  for (uint32_t k = 0; k < graph->outputs.length; k++)
    describe_value(arena, graph, graph->outputs.data[k], graph->output_names.data[k], &outputs[k]);
  const char *name = graph->name ? graph->name : "";
  *info = (onnxc_model_info){.abi_version = ONNXC_ABI_VERSION,
                             .num_inputs = (int32_t)graph->inputs.length,
                             .num_outputs = (int32_t)graph->outputs.length,
                             .inputs = inputs,
                             .outputs = outputs,
                             .name = onnxc_arena_copy_string(arena, name, strlen(name)),
                             .target = ""};
  for (uint32_t k = 1; k < graph->values.length; k++)
    info->weights_size += graph->values.data[k].data_size;
  job->model->info = info;
  return ONNXC_OK;
}

const onnxc_model_info *onnxc_model_describe(const onnxc_model *model) {
  if (model->info)
    return model->info;
  declare_job job = {.model = (onnxc_model *)(uintptr_t)model}; // NOLINT: a cache, filled by the context's one thread
  onnxc_arena_init(&job.scratch, &model->context->guard);
  onnxc_guarded(model->context, model->name, declare, &job);
  onnxc_arena_free(&job.scratch);
  return model->info;
}
