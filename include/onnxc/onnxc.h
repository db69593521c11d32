/* onnxc.h -- the compiler as a library: load a model, compile it, run it or write it out.
 *
 *     onnxc_context *context = onnxc_context_new();
 *     onnxc_model *model;
 *     onnxc_program *program;
 *     if (onnxc_load(context, "model.onnx", &model) == ONNXC_OK &&
 *         onnxc_compile(model, NULL, &program) == ONNXC_OK) {
 *       ... onnxc_plan(program, &run); ... onnxc_run_program(program, &run);
 *     } else
 *       fputs(onnxc_message(context), stderr);
 *
 * Objects of one context are used by one thread at a time; programs are immutable and may be planned and run by any
 * number of threads. The library never exits, aborts or prints. Status codes: status.h.
 */
#ifndef ONNXC_ONNXC_H
#define ONNXC_ONNXC_H

#include "onnxc/runtime.h"

#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

#define ONNXC_VERSION "0.1.0"

typedef struct onnxc_context onnxc_context;
typedef struct onnxc_model onnxc_model;     /* a loaded model; belongs to its context */
typedef struct onnxc_program onnxc_program; /* compiled code in memory; stands alone */

onnxc_context *onnxc_context_new(void); /* NULL = out of memory */
void onnxc_context_free(onnxc_context *context);
/* What went wrong in the last call that failed, one message a line; "" if nothing. Valid until the next call. */
const char *onnxc_message(const onnxc_context *context);
const char *onnxc_version(void);

/* The file is mapped and must not change while the model lives. External data is looked for beside it. */
onnxc_status onnxc_load(onnxc_context *context, const char *path, onnxc_model **model);
/* `directory` (may be NULL) is where external data lies. The bytes must outlive the model. */
onnxc_status onnxc_load_memory(onnxc_context *context, const void *bytes, size_t size, const char *directory,
                               onnxc_model **model);
void onnxc_model_free(onnxc_model *model);
/* Inputs and outputs as the model declares them (before compilation); owned by the model. NULL after an error. */
const onnxc_model_info *onnxc_model_describe(const onnxc_model *model);

/* Dims given before compilation: "batch" = 4, or an input's whole shape. */
typedef struct onnxc_dim_setting {
  const char *name;
  int64_t value;
} onnxc_dim_setting;
typedef struct onnxc_shape_setting {
  const char *input;
  int rank;
  int64_t dims[ONNXC_MAX_RANK];
} onnxc_shape_setting;

typedef enum onnxc_emit {
  ONNXC_EMIT_SHARED,
  ONNXC_EMIT_STATIC,
  ONNXC_EMIT_OBJECT,
  ONNXC_EMIT_EXE,
  ONNXC_EMIT_LLVM_IR,
  ONNXC_EMIT_ASM,
  ONNXC_EMIT_IR /* the tile program */
} onnxc_emit;

/* How contractions (products of matrices, convolutions) of f32 are computed. BF16: their factors are rounded to bf16,
 * weights when the model is compiled, activations where they are computed; sums, and all else, are f32. Inputs and
 * outputs are those of the model. A relative error of 2^-9 a factor; about half the time on Zen 4. */
typedef enum onnxc_precision { ONNXC_PRECISION_F32, ONNXC_PRECISION_BF16 } onnxc_precision;

/* A convolution of 3 x 3 that is computed in tiles, by Winograd's minimal filtering. */
typedef struct onnxc_winograd_layer {
  const char *name; /* of its node; "" if it has none */
  int tile;         /* outputs a side: F(tile x tile, 3 x 3) */
  double error;     /* largest error of a sample (seeded inputs, the layer's weights), relative to its largest output */
} onnxc_winograd_layer;

typedef struct onnxc_options { /* zero = default */
  const char *cpu;             /* LLVM CPU name; NULL or "native" = this machine */
  const char *triple;          /* NULL = this machine */
  const char *prefix;          /* of the symbols of a library; NULL = from the output's name */
  int weights_in_file;         /* emit: weights in OUT.weights, not in the artefact */
  int threads;                 /* emit: 1 = no OpenMP in the artefact; 0 = default (1) */
  onnxc_precision precision;   /* of contractions of f32 */
  int compile_threads;         /* to compile with; 0 = as many as the cores that the process may use. What is compiled
                                * does not depend on it */
  const char *tuning; /* path of a file that `onnxc tune` wrote; NULL = none. It says how products are cut; lines
                       * for other products and CPUs are not used. It has no say in what is computed, but a part of
                       * a reduction more or less changes the last bits of sums */
  /* Convolutions of 3 x 3 (f32, stride 1) by fewer multiplications, at some more error: 0 = none, 1 = where it is
   * likely to be faster, 2 or 4 = all, in tiles of 2 x 2 or 4 x 4. What is done to each is told to report_winograd.
   * Not with factors of bf16. */
  int winograd;
  void (*report_winograd)(void *arg, const onnxc_winograd_layer *layer); /* may be NULL; not for a cached program */
  void *report_arg;
  const onnxc_dim_setting *dims;
  size_t num_dims;
  const onnxc_shape_setting *shapes;
  size_t num_shapes;
  /* onnxc_compile: where programs are kept between calls and processes; made if needed. NULL or "" = nowhere. What is
   * in it gets run, so it must not be writable by others. A model's entry is found by its content, the options, the
   * CPU and the version of this library; one that is damaged is not used. Whoever owns the directory may remove files
   * from it at any time. With after_pass, which wants to see a compilation, programs are put there but not taken. */
  const char *cache_directory;
  /* After each pass: its name, seconds, and its text form when want_text(arg, pass) said so. Besides the passes there
   * are "graph" (the model as imported) and "tile" (the tile program). */
  int (*want_text)(void *arg, const char *pass);
  void (*after_pass)(void *arg, const char *pass, double seconds, const char *text);
  void *pass_arg;
} onnxc_options;

/* A model is compiled as often as wanted, each time from the start unless there is a cache. options may be NULL. */
onnxc_status onnxc_compile(onnxc_model *model, const onnxc_options *options, onnxc_program **program);
void onnxc_program_free(onnxc_program *program);
const onnxc_model_info *onnxc_program_describe(const onnxc_program *program);
typedef enum onnxc_cache_use {
  ONNXC_CACHE_UNUSED,
  ONNXC_CACHE_HIT,       /* nothing was compiled */
  ONNXC_CACHE_STORED,    /* compiled, and put into the cache */
  ONNXC_CACHE_NOT_STORED /* compiled, but the cache could not be written, which is no error */
} onnxc_cache_use;

/* Statistics of the compilation. */
typedef struct onnxc_stats {
  int source_nodes, folded_nodes, groups; /* groups: compiled stages; folded: source nodes whose results were known */
  size_t weights_size;                    /* bytes of packed weights */
  int64_t static_workspace;               /* bytes of intermediate tensors, or -1 when it depends on dims */
  int64_t largest_live_set;               /* of these, the most that is needed at one time; or -1 */
  double load_seconds, compile_seconds;
  onnxc_cache_use cache;
  double flops; /* floating-point operations of a run's contractions; 0 when it depends on dims */
} onnxc_stats;
void onnxc_program_stats(const onnxc_program *program, onnxc_stats *stats);
/* The matrix products of a program that are cut by the cost model or by options.tuning: the stage (as onnxc_profile
 * numbers them) and the choice as a line of a tuning file. Returns how many; the list is the program's. A program from
 * the cache has none. */
typedef struct onnxc_product_choice {
  int stage;
  const char *line;
} onnxc_product_choice;
int onnxc_program_products(const onnxc_program *program, const onnxc_product_choice **products);
/* See runtime.h. A failure's message stands in run->message. */
onnxc_status onnxc_plan(const onnxc_program *program, onnxc_run *run);
onnxc_status onnxc_run_program(const onnxc_program *program, onnxc_run *run);

/* Runs and adds up each stage's time: stages has info->num_stages entries, and what is found in `seconds` is added to,
 * so several runs sum up. A stage's time is that of thread 0, from the end of the stage before it to when all threads
 * are done with it. */
typedef struct onnxc_stage_profile {
  const char *name; /* this and other texts are the program's */
  double seconds;   /* in and out */
  double flops;     /* floating-point operations of the stage's contractions in one run */
  int64_t tasks;
  const char *nodes;   /* of the model that are computed here, one a line: "node 'conv1' (Conv-11)" */
  const char *note;    /* what was chosen, and what keeps the stage from its roof; "" if nothing is known */
  double operations;   /* other operations on data, about as many as vector code takes for them: 16 for exp, .. */
  double clocks;       /* of one core's vector units for all of these, always busy; 0 = not known, as below */
  double bytes;        /* that it reads and writes, each element of an operand or result once */
  double weight_bytes; /* of these, the model's constants */
} onnxc_stage_profile;
onnxc_status onnxc_profile(const onnxc_program *program, onnxc_run *run, onnxc_stage_profile *stages);

/* Runs and tells of what happens: each thread says when its work on a stage (with run->parallel_for: a chunk of it)
 * begins and ends, several at once; thread 0 when all of a stage is done. `watch` takes part of the run's time. */
typedef enum onnxc_event { ONNXC_STAGE_BEGIN, ONNXC_STAGE_END, ONNXC_STAGE_DONE } onnxc_event;
typedef void (*onnxc_watch)(void *arg, onnxc_event event, int stage, int thread);
onnxc_status onnxc_run_watched(const onnxc_program *program, onnxc_run *run, onnxc_watch watch, void *arg);

/* Writes `path`; for libraries and objects also the header beside it (`path` with the suffix .h), and `path`.weights
 * when weights_in_file says so. Linking calls `cc` and `ar`. An artefact that fails leaves nothing behind. */
onnxc_status onnxc_emit_file(onnxc_model *model, const onnxc_options *options, onnxc_emit kind, const char *path);

/* The reference: evaluates the model without any generated code, slowly. outputs has room for all outputs of the
 * model; their data is allocated by `allocate` (tag 1 + k), at least one byte. */
onnxc_status onnxc_evaluate(onnxc_model *model, const onnxc_tensor *inputs, size_t num_inputs, onnxc_tensor *outputs,
                            onnxc_allocate allocate, void *allocate_arg);

/* The target table, one line a CPU, and what this host is; NUL-terminated text owned by the context. */
const char *onnxc_describe_targets(onnxc_context *context);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif

#endif
