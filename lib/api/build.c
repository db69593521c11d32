/* build.c -- one compilation: model -> graph -> passes -> tile program -> code and descriptor.
 *
 * What is imported and what is lowered is always verified (a millisecond or two for a large model), so that a bug of
 * ours is an error and never wrong machine code; debug builds verify after each pass as well.
 */
#include "api/api.h"

#include "base/parallel.h"
#include "ir/verify.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void onnxc_build_init(onnxc_build *build, onnxc_model *model, const onnxc_options *options) {
  static const onnxc_options defaults = {0};
  memset(build, 0, sizeof *build);
  build->model = model;
  build->options = options ? options : &defaults;
  build->threads = build->options->compile_threads > 0 ? build->options->compile_threads : onnxc_cores();
  onnxc_arena_init(&build->arena, &model->context->guard);
}

void onnxc_build_free(onnxc_build *build) {
  onnxc_module_free(&build->module);
  onnxc_arena_free(&build->arena);
}

static onnxc_status find_target(onnxc_build *build) {
  const char *cpu = build->options->cpu;
  onnxc_diag *diag = &build->model->context->diag;
  if (!cpu || strcmp(cpu, "native") == 0) {
    build->target = onnxc_target_host();
    if (!build->target)
      return onnxc_error(diag, ONNXC_UNSUPPORTED, "this machine's CPU lacks AVX2; name another with --mcpu");
    return ONNXC_OK;
  }
  build->target = onnxc_target_find(cpu, strlen(cpu));
  if (!build->target)
    return onnxc_error(diag, ONNXC_USAGE, "unknown CPU '%s': `onnxc targets` lists the known ones", cpu);
  return ONNXC_OK;
}

static onnxc_status read_tuning(onnxc_build *build) {
  enum { MAX_SIZE = 1 << 20 };
  const char *path = build->options->tuning;
  onnxc_diag *diag = &build->model->context->diag;
  char *text = onnxc_arena_alloc(&build->arena, MAX_SIZE + 1); /* while no file is open */
  FILE *file = fopen(path, "rb");
  if (!file)
    return onnxc_error(diag, ONNXC_BAD_INPUT, "cannot read '%s': %s", path, strerror(errno));
  size_t size = fread(text, 1, MAX_SIZE + 1, file);
  bool failed = ferror(file) != 0;
  fclose(file);
  if (failed || size > MAX_SIZE)
    return onnxc_error(diag, ONNXC_BAD_INPUT, "cannot read '%s': %s", path,
                       failed ? "it is no file" : "it is too large for a tuning file");
  build->tuning_text = text;
  build->tuning_size = size;
  return onnxc_tuning_parse(&build->tuning, &build->arena, diag, path, text, size);
}

onnxc_status onnxc_build_target(onnxc_build *build) {
  int tile = build->options->winograd;
  if (tile != 0 && tile != 1 && tile != 2 && tile != 4)
    return onnxc_error(&build->model->context->diag, ONNXC_USAGE, "winograd is 0, 1, 2 or 4, not %d", tile);
  ONNXC_TRY(find_target(build));
  onnxc_precision precision = build->options->precision;
  if (precision != ONNXC_PRECISION_F32 && precision != ONNXC_PRECISION_BF16)
    return onnxc_error(&build->model->context->diag, ONNXC_USAGE, "there is no precision of number %d", (int)precision);
  if (precision == ONNXC_PRECISION_BF16 && tile)
    return onnxc_error(&build->model->context->diag, ONNXC_USAGE,
                       "winograd is for f32 products: its transforms would multiply the error of bf16 factors");
  return build->options->tuning ? read_tuning(build) : ONNXC_OK;
}

/* Hands text to the caller when he wants it; printed into an arena of its own, since it may be large. */
static void report_graph(void *arg, const char *pass, double seconds, const onnxc_graph *graph) {
  onnxc_build *build = arg;
  const onnxc_options *options = build->options;
  if (!options->after_pass)
    return;
  const char *text = NULL;
  if (options->want_text && options->want_text(options->pass_arg, pass)) {
    enum { MAX_CONSTANT = 256 };
    onnxc_text out;
    onnxc_text_init(&out, &build->arena);
    onnxc_graph_print(graph, &out, MAX_CONSTANT);
    text = out.data;
  }
  options->after_pass(options->pass_arg, pass, seconds, text);
}

static void report_tile(onnxc_build *build, double seconds) {
  const onnxc_options *options = build->options;
  if (!options->after_pass)
    return;
  const char *text = NULL;
  if (options->want_text && options->want_text(options->pass_arg, "tile")) {
    onnxc_text out;
    onnxc_text_init(&out, &build->arena);
    onnxc_tile_print(&build->tile, &out);
    text = out.data;
  }
  options->after_pass(options->pass_arg, "tile", seconds, text);
}

static void report_winograd(const onnxc_build *build) {
  const onnxc_options *options = build->options;
  for (uint32_t k = 0; options->report_winograd && k < build->graph.winograd.length; k++) {
    const onnxc_winograd_note *note = &build->graph.winograd.data[k];
    onnxc_winograd_layer layer = {note->name ? note->name : "", (int)note->tile, note->error};
    options->report_winograd(options->report_arg, &layer);
  }
}

onnxc_status onnxc_build_tile(onnxc_build *build) {
  double start = onnxc_seconds();
  ONNXC_TRY(onnxc_import_model(build->model, build->options, &build->arena, &build->graph));
  report_graph(build, "graph", onnxc_seconds() - start, &build->graph);
  ONNXC_TRY(onnxc_graph_verify(&build->graph, "import"));
  onnxc_pass_options passes = {.target = build->target, .after = report_graph, .after_arg = build};
  passes.bf16 = build->options->precision == ONNXC_PRECISION_BF16;
  passes.winograd = (uint32_t)build->options->winograd;
  passes.threads = build->threads;
#ifndef NDEBUG
  passes.verify = true;
#endif
  ONNXC_TRY(onnxc_run_passes(&build->graph, onnxc_pipeline, &passes));
  report_winograd(build);
  start = onnxc_seconds();
  onnxc_tile_program_init(&build->tile, &build->graph, build->target);
  build->tile.tuning = &build->tuning;
  build->tile.flush_bf16 = passes.bf16;
  ONNXC_TRY(onnxc_tile_lower(&build->tile));
  ONNXC_TRY(onnxc_tile_verify(&build->tile));
  report_tile(build, onnxc_seconds() - start);
  return ONNXC_OK;
}

onnxc_status onnxc_build_code(onnxc_build *build, const char *prefix, bool parts) {
  uint64_t part_size = parts ? ONNXC_PART_SIZE : UINT64_MAX;
  ONNXC_TRY(onnxc_codegen(&build->module, &build->tile, &build->arena, prefix, part_size));
  return onnxc_describe(&build->rt, &build->weights, &build->facts, &build->tile, build->module.stages, &build->arena);
}
