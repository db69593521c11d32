/* emit.c -- a model compiled into a file. */
#include "api/api.h"

#include "emit/artefact.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

typedef struct emit_job {
  onnxc_build build;
  onnxc_emit kind;
  const char *path;
} emit_job;

/* The tile program as text, written whole or not at all. */
static onnxc_status emit_ir(emit_job *job) {
  onnxc_build *build = &job->build;
  onnxc_diag *diag = &build->model->context->diag;
  onnxc_text text;
  onnxc_text_init(&text, &build->arena);
  onnxc_tile_print(&build->tile, &text);
  const char *temporary = onnxc_arena_printf(&build->arena, "%s.partial", job->path);
  onnxc_status status = onnxc_write_file(diag, temporary, text.data, text.length);
  if (status == ONNXC_OK && rename(temporary, job->path) != 0)
    status = onnxc_error(diag, ONNXC_BAD_INPUT, "cannot write '%s': %s", job->path, strerror(errno));
  if (status != ONNXC_OK)
    remove(temporary);
  return status;
}

static onnxc_status emit(void *arg) {
  emit_job *job = arg;
  onnxc_build *build = &job->build;
  const onnxc_options *options = build->options;
  onnxc_diag *diag = &build->model->context->diag;
  if (options->triple && strncmp(options->triple, "x86_64", 6) != 0)
    return onnxc_error(diag, ONNXC_UNSUPPORTED,
                       "target triple '%s' is not supported: this version makes code for x86_64", options->triple);
  ONNXC_TRY(onnxc_build_target(build));
  ONNXC_TRY(onnxc_build_tile(build));
  if (job->kind == ONNXC_EMIT_IR)
    return emit_ir(job);
  ONNXC_TRY(onnxc_build_code(build, "stage", !onnxc_emit_is_text(job->kind)));
  onnxc_emit_options emit_options = {.kind = job->kind,
                                     .path = job->path,
                                     .prefix = options->prefix,
                                     .target = build->target,
                                     .triple = options->triple,
                                     .weights_in_file = options->weights_in_file != 0,
                                     .threads = options->threads,
                                     .compile_threads = build->threads};
  return onnxc_emit_module(diag, &build->arena, &build->module, &build->rt, &build->weights, &emit_options);
}

onnxc_status onnxc_emit_file(onnxc_model *model, const onnxc_options *options, onnxc_emit kind, const char *path) {
  emit_job job = {.kind = kind, .path = path};
  onnxc_build_init(&job.build, model, options);
  onnxc_status status = onnxc_guarded(model->context, model->name, emit, &job);
  onnxc_build_free(&job.build);
  return status;
}
