/* instrumented.c -- a graph (.ir) or a tile program (.tile) as an object whose code reports what it accesses to
 * ThreadSanitizer: instrumented FILE OUT.o. Constants get pseudo-random elements, so that results differ where tasks
 * are mixed up. The object has the functions model_open, model_plan, .. and teams of OpenMP threads.
 */
#include "emit/emit.h"
#include "ir/layout.h"
#include "ir/verify.h"
#include "pass/pass.h"

#include <stdio.h>
#include <string.h>

typedef struct job {
  onnxc_guard guard;
  onnxc_arena arena;
  onnxc_diag diag;
  onnxc_graph graph;
  onnxc_tile_program program;
  onnxc_rt_program rt;
  onnxc_weights weights;
  const char *source, *object;
} job;

/* Elements of constants that are no sizes: floats in -1 .. 1, narrow integers 0 .. 63. */
static void draw_constants(job *j) {
  uint32_t state = 1;
  for (uint32_t v = 1; v < j->graph.values.length; v++) {
    onnxc_value_info *info = &j->graph.values.data[v];
    int64_t dims[ONNXC_MAX_RANK], count = 1;
    if (!onnxc_value_is_constant(&j->graph, (onnxc_value){v}) || info->dtype == ONNXC_I64 ||
        !onnxc_value_static_shape(&j->graph, (onnxc_value){v}, dims))
      continue;
    for (uint32_t d = 0; d < info->rank; d++)
      count *= dims[d];
    size_t size = onnxc_dtype_bytes(info->dtype);
    char *drawn = ONNXC_NEW_ARRAY(&j->arena, char, (size_t)count *size + 1);
    for (int64_t k = 0; k < count; k++) {
      state = state * 1664525U + 1013904223U;
      if (onnxc_dtype_is_float(info->dtype))
        onnxc_scalar_from_f64(info->dtype, drawn + (size_t)k * size, (double)(state >> 8) / (1 << 23) - 1);
      else
        onnxc_scalar_from_i64(info->dtype, drawn + (size_t)k * size, state >> 26);
    }
    void *stored = onnxc_arena_alloc(&j->arena, info->data_size);
    onnxc_layout plain = {0};
    onnxc_layout_copy(stored, &info->layout, drawn, &plain, info->rank, dims, size);
    info->data = stored;
  }
}

static onnxc_status read_source(job *j, char *text, size_t size, size_t *length) {
  FILE *file = fopen(j->source, "rb");
  if (!file)
    return onnxc_error(&j->diag, ONNXC_BAD_INPUT, "%s: cannot be opened", j->source);
  *length = fread(text, 1, size, file);
  fclose(file);
  return *length < size ? ONNXC_OK : onnxc_error(&j->diag, ONNXC_BAD_INPUT, "%s: too long", j->source);
}

static onnxc_status make_program(job *j) {
  enum { LONGEST = 1 << 15 };
  char *text = ONNXC_NEW_ARRAY(&j->arena, char, LONGEST);
  const char *suffix = strrchr(j->source, '.');
  const onnxc_target *host = onnxc_target_host();
  size_t length = 0;
  ONNXC_TRY(read_source(j, text, LONGEST, &length));
  onnxc_graph_init(&j->graph, &j->arena, &j->diag);
  onnxc_tile_program_init(&j->program, &j->graph, host);
  if (suffix && strcmp(suffix, ".tile") == 0) {
    ONNXC_TRY(onnxc_tile_parse(&j->program, j->source, text, length));
    j->program.target = host; /* whatever it was written for */
    draw_constants(j);
  } else {
    onnxc_pass_options options = {.target = host, .verify = true};
    ONNXC_TRY(onnxc_graph_parse(&j->graph, j->source, text, length));
    ONNXC_TRY(onnxc_graph_verify(&j->graph, "reading it"));
    draw_constants(j);
    ONNXC_TRY(onnxc_run_passes(&j->graph, onnxc_pipeline, &options));
    ONNXC_TRY(onnxc_tile_lower(&j->program));
  }
  return onnxc_tile_verify(&j->program);
}

static onnxc_status make_object(job *j) {
  enum { SOME_THREADS = 8 };
  onnxc_module module;
  ONNXC_TRY(make_program(j));
  ONNXC_TRY(onnxc_codegen(&module, &j->program, &j->arena, "stage", 0));
  ONNXC_TRY(onnxc_describe(&j->rt, &j->weights, NULL, &j->program, module.stages, &j->arena));
  j->rt.thread_work = 1; /* several threads however small the stages are */
  onnxc_emit_options options = {.kind = ONNXC_EMIT_OBJECT,
                                .path = j->object,
                                .prefix = "model",
                                .target = j->program.target,
                                .threads = SOME_THREADS,
                                .instrument = true};
  return onnxc_emit_module(&j->diag, &j->arena, &module, &j->rt, &j->weights, &options);
}

int main(int argc, char **argv) {
  static job j;
  if (argc != 3) {
    fprintf(stderr, "usage: %s FILE OUT.o\n", argv[0]);
    return ONNXC_USAGE;
  }
  onnxc_arena_init(&j.arena, &j.guard);
  if (setjmp(j.guard.env)) {
    fprintf(stderr, "out of memory\n");
    return ONNXC_OUT_OF_MEMORY;
  }
  j.source = argv[1];
  j.object = argv[2];
  onnxc_status status = make_object(&j);
  if (status != ONNXC_OK)
    fprintf(stderr, "%s\n", j.diag.text);
  onnxc_arena_free(&j.arena);
  return (int)status;
}
