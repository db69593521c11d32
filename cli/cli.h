/* cli.h -- what the verbs of the command share.
 *
 * A verb is `int cli_VERB(command *cli, int argc, char **argv)`; argv[0] is the verb. It returns the exit status, whose
 * values are onnxc_status. Results go to standard output, diagnostics to standard error. Memory comes
 * from one arena that lives as long as the process; running out of it unwinds to main.
 */
#ifndef ONNXC_CLI_CLI_H
#define ONNXC_CLI_CLI_H

#include "base/arena.h"
#include "base/status.h"
#include "ir/dtype.h"
#include "onnxc/onnxc.h"

#include <stdbool.h>
#include <stdio.h>

typedef struct command {
  onnxc_guard guard;
  onnxc_arena arena;
  onnxc_diag diag;
  const char *verb;
} command;

int cli_compile(command *cli, int argc, char **argv);
int cli_run(command *cli, int argc, char **argv);
int cli_verify(command *cli, int argc, char **argv);
int cli_bench(command *cli, int argc, char **argv);
int cli_inspect(command *cli, int argc, char **argv);
int cli_gen(command *cli, int argc, char **argv);
int cli_opt(command *cli, int argc, char **argv);
int cli_targets(command *cli, int argc, char **argv);
int cli_tune(command *cli, int argc, char **argv);

/* "onnxc VERB: message" on standard error; returns ONNXC_USAGE, or the status given. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
int cli_usage(const command *cli, const char *format, ...);
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
int cli_fail(onnxc_status status, const char *format, ...);

/* ---- options.c: options that several verbs take ---- */

/* Long options of all compiling verbs, for the array of getopt_long. */
#define CLI_COMPILE_OPTIONS                                                                                            \
  {"mcpu", 1, NULL, CLI_MCPU}, {"dim", 1, NULL, CLI_DIM}, {"shape", 1, NULL, CLI_SHAPE},                               \
      {"precision", 1, NULL, CLI_PRECISION}, {"tuning", 1, NULL, CLI_TUNING}, {"winograd", 2, NULL, CLI_WINOGRAD},     \
      {"compile-threads", 1, NULL, CLI_COMPILE_THREADS}, {"help", 0, NULL, 'h'}
/* And of those that run what they compile. */
#define CLI_CACHE_OPTION {"cache", 2, NULL, CLI_CACHE}
#define CLI_CACHE_HELP   "  --cache[=DIR]      keep compiled programs in DIR (~/.cache/onnxc) and take them from there\n"
enum {
  CLI_MCPU = 256,
  CLI_DIM,
  CLI_SHAPE,
  CLI_PRECISION,
  CLI_TUNING,
  CLI_COMPILE_THREADS,
  CLI_CACHE,
  CLI_WINOGRAD,
  CLI_FIRST_OWN
};

typedef struct cli_options {
  onnxc_options options;
  ONNXC_VEC(onnxc_dim_setting) dims;
  ONNXC_VEC(onnxc_shape_setting) shapes;
  command *cli;
  ONNXC_VEC(onnxc_winograd_layer) winograd; /* what compilations told so far */
} cli_options;

/* Handles one of CLI_COMPILE_OPTIONS but help, or CLI_CACHE_OPTION; ONNXC_USAGE and a message when its argument is bad
 * or the option is not known. */
int cli_option(command *cli, cli_options *options, int option, const char *argument);
/* "1x3x224x224", "-1" or a name for a dim that stays open; "" is a scalar. */
bool cli_parse_shape(const char *text, int *rank, int64_t *dims);
bool cli_parse_int(const char *text, int64_t low, int64_t high, int64_t *value);
bool cli_parse_double(const char *text, double *value);

/* ---- winograd.c ---- */

int cli_winograd_option(command *cli, cli_options *options, const char *argument);
/* What was told of the convolutions; nothing if there are none. */
void cli_winograd_print(const cli_options *options);
struct json_t *cli_winograd_json(const cli_options *options);

/* ---- threads.c ---- */

/* Where the threads of OpenMP teams stay, for a process that has not started one: "close" or "spread", each on a core,
 * or "none". False for another word. */
bool cli_set_affinity(const char *how);
/* "close", unless the environment says something. */
void cli_bind_threads(void);

/* ---- tensor.c: tensors from and to files ---- */

/* What a tensor's data is: seeded numbers for the shape that the model has, .npy, or .pb. `spec` is a path or
 * random[:SEED]; `info` says what the model wants (its open dims are then those of the file). */
int cli_read_tensor(command *cli, const char *spec, const onnxc_tensor_info *info, onnxc_tensor *tensor);
/* Fills with seeded values: floats uniform in [-1, 1), bytes of any value, other integers 0 .. 9, bools. */
void cli_random_fill(onnxc_tensor *tensor, uint64_t seed);
int64_t cli_tensor_count(const onnxc_tensor *tensor); /* elements, -1 on overflow */
size_t cli_tensor_bytes(const onnxc_tensor *tensor);
/* "f32[1, 3, 224, 224]" */
const char *cli_describe_tensor(command *cli, const onnxc_tensor *tensor);
const char *cli_describe_info(command *cli, const onnxc_tensor_info *info);

/* ---- npy.c ---- */

/* Returns NULL or what went wrong. Data is in the arena. Types that NumPy lacks (bf16, f8) are read as what `want`
 * says when the width fits, and written as unsigned integers. */
const char *cli_read_npy(onnxc_arena *arena, const char *path, onnxc_dtype want, onnxc_tensor *tensor);
const char *cli_write_npy(const char *path, const onnxc_tensor *tensor);
/* A whole file in the arena; NULL when it cannot be read (then *error says why). */
void *cli_read_file(onnxc_arena *arena, const char *path, size_t *size, const char **error);

/* ---- session.c: a model that can be run, just compiled or from a shared library ---- */

typedef struct cli_extra { /* workspace that a run asked for */
  struct cli_extra *next;
  _Alignas(64) unsigned char bytes[];
} cli_extra;

typedef struct cli_session {
  onnxc_context *context;
  onnxc_model *model;
  onnxc_program *program;
  const onnxc_model_info *info;
  onnxc_stats stats;   /* zero for a shared library */
  double open_seconds; /* loading and compiling */
  const char *path;    /* as given; NULL when it was compiled from a loaded model */
  void *library;       /* of dlopen */
  const void *handle;
  int (*plan)(const void *handle, onnxc_run *run);
  int (*run)(const void *handle, onnxc_run *run);
  void (*close)(const void *handle);
  onnxc_tensor *outputs; /* of the last run */
  void *workspace;
  size_t workspace_size, *capacities;
  cli_extra *extras;
} cli_session;

/* Loads and compiles PATH, or opens it if it is a shared library (weights beside it if it has a file of them).
 * Prints what went wrong unless message is not NULL (then it is stored there, in the arena). */
int cli_session_open(command *cli, cli_session *session, const char *path, const onnxc_options *options,
                     const char **message);
/* The same for a loaded model; the session then owns the context. */
int cli_session_compile(command *cli, cli_session *session, onnxc_context *context, onnxc_model *model,
                        const onnxc_options *options, const char **message);
/* Plans and runs once; outputs are in session->outputs until the next run. */
int cli_session_run(command *cli, cli_session *session, onnxc_tensor *inputs, int threads, const char **message);
/* The same by the reference evaluator, which knows nothing of dims given as options. */
int cli_session_evaluate(command *cli, cli_session *session, const onnxc_tensor *inputs);
/* Plans only: session->outputs, workspace and *run are ready for cli_session_repeat as often as wanted. */
int cli_session_plan(command *cli, cli_session *session, onnxc_tensor *inputs, int threads, onnxc_run *run,
                     const char **message);
/* Runs as planned. */
int cli_session_repeat(cli_session *session, onnxc_run *run);
void cli_session_close(cli_session *session);
/* The --input NAME=FILE options (NULL where none) to tensors; inputs without one get random data. */
int cli_session_inputs(command *cli, const cli_session *session, const char *const *specs, size_t num_specs,
                       onnxc_tensor *inputs);

/* "intermediate tensors: 7224320 bytes, at most 7024640 live at once (x 1.03)"; no newline. */
void cli_print_plan(const onnxc_stats *stats);

/* ---- profile.c ---- */

typedef struct cli_profile_options {
  double seconds; /* to run for */
  bool json, roofs;
  const char *trace, *chart; /* paths; NULL = none */
} cli_profile_options;
/* Prints where the time of a planned run goes, group by group, and writes it to files; the session has a program. */
int cli_show_profile(command *cli, cli_session *session, onnxc_run *run, const cli_profile_options *options);
/* Operations of a planned run, when the program tells; else 0. */
double cli_profile_flops(command *cli, cli_session *session, onnxc_run *run);

/* ---- compare.c ---- */

typedef struct cli_difference {
  bool same;      /* within the tolerances, and of the same type and shape */
  double max_ulp; /* largest error in units in the last place of what was expected */
  double max_abs;
  int64_t wrong;  /* elements outside the tolerances */
  char what[160]; /* "element [0, 3] is 1.5, expected 1.25" */
} cli_difference;
void cli_compare(const onnxc_tensor *have, const onnxc_tensor *want, double rtol, double atol, cli_difference *result);

double cli_seconds(void);

#endif
