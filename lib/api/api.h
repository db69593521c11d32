/* api.h -- inside the public library: its objects, and how its entry points are guarded.
 *
 * Every entry point that allocates from arenas runs its work through onnxc_guarded, the one place with
 * setjmp: running out of memory unwinds to it. What arenas do not free (LLVM objects, maps, files) hangs on the job
 * that the entry point keeps in its own frame and disposes of afterwards.
 */
#ifndef ONNXC_API_API_H
#define ONNXC_API_API_H

#include "onnxc/onnxc.h"

#include "emit/cache.h"
#include "emit/emit.h"
#include "frontend.h"
#include "pass/pass.h"

/* A loaded file. Programs borrow weights from it, so it lives until the model and its last program are gone. */
typedef struct onnxc_storage {
  onnxc_arena arena;
  onnxc_onnx_file *file;
  _Atomic int references;
  const unsigned char *caller_bytes; /* of onnxc_load_memory: gone when the model is */
  size_t caller_size;
} onnxc_storage;

struct onnxc_model {
  onnxc_context *context;
  onnxc_model *next, *previous; /* of the context's list */
  onnxc_storage *storage;
  double load_seconds;
  onnxc_model_info *info; /* made when first asked for */
  char name[];            /* prefix of messages: the path */
};

struct onnxc_context {
  onnxc_guard guard;
  onnxc_diag diag;
  onnxc_model *models;
  char message[2 * sizeof(((onnxc_diag *)0)->text)];
  char targets[8192];
};

typedef onnxc_status (*onnxc_job_fn)(void *job);
/* Clears the diag, runs job under the guard, and composes the message: `name` (may be NULL) prefixes its lines. */
onnxc_status onnxc_guarded(onnxc_context *context, const char *name, onnxc_job_fn run, void *job);

void onnxc_storage_release(onnxc_storage *storage);
double onnxc_seconds(void);

/* Imports the model with the dims of options (may be NULL) into a graph in `arena`. */
onnxc_status onnxc_import_model(onnxc_model *model, const onnxc_options *options, onnxc_arena *arena,
                                onnxc_graph *graph);

/* One compilation, up to code and descriptor. */
typedef struct onnxc_build {
  onnxc_model *model;
  const onnxc_options *options; /* not NULL */
  int threads;                  /* to compile with */
  const onnxc_target *target;
  const char *tuning_text; /* the file's; NULL = none */
  size_t tuning_size;
  onnxc_tuning tuning;
  onnxc_arena arena;
  onnxc_graph graph;
  onnxc_tile_program tile;
  onnxc_module module;
  onnxc_rt_program rt;
  onnxc_facts facts;
  onnxc_weights weights;
} onnxc_build;
void onnxc_build_init(onnxc_build *build, onnxc_model *model, const onnxc_options *options);
onnxc_status onnxc_build_target(onnxc_build *build); /* options, the CPU and its tuning; before everything else */
/* What the result will depend on, as a hash; an error if not all of the model can be read. */
onnxc_status onnxc_build_key(const onnxc_build *build, onnxc_digest *key);
onnxc_status onnxc_build_tile(onnxc_build *build); /* import, passes, tile program */
/* Code generation, descriptor. parts: several where it pays. */
onnxc_status onnxc_build_code(onnxc_build *build, const char *prefix, bool parts);
void onnxc_build_free(onnxc_build *build);

/* See compile.c. */
struct onnxc_program {
  onnxc_build build;
  onnxc_storage *storage;  /* NULL: from the cache */
  onnxc_cache_entry entry; /* of the cache, that it was loaded from */
  onnxc_objects objects;   /* until they are linked */
  onnxc_jit *jit;
  void *copies; /* of weights */
  onnxc_rt_program rt;
  onnxc_facts facts;
  onnxc_product_choice *products;
  int num_products;
  onnxc_stats stats;
};

#endif
