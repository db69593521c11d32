/* compile.c -- programs: compiled in memory or taken from the cache, planned and run.
 *
 * A program keeps its compilation's arena, because the weights that were packed or folded lie there, and holds on to
 * the model's file, because those that are used as they stand lie there: large weights are not copied a second time.
 * Only pieces that are not aligned to 64 bytes, or in bytes of the caller's, are.
 *
 * A program from the cache has its weights in the cache's file and needs neither. The file is looked for before
 * anything is imported: reading the model once, for its hash, is all the work that is left.
 */
#include "api/api.h"

#include <stdatomic.h>
#include <string.h>

enum { ALIGN = 64 };

static bool must_copy(const onnxc_storage *storage, const struct onnxc_weight_piece *piece) {
  uintptr_t at = (uintptr_t)piece->data, caller = (uintptr_t)storage->caller_bytes;
  return at % ALIGN != 0 || (storage->caller_bytes && at >= caller && at - caller < storage->caller_size);
}

static size_t aligned(size_t size) { return (size + ALIGN - 1) / ALIGN * ALIGN; }

/* The piece that holds byte `offset` of the weights; pieces are in order of their offsets. */
static uint32_t find_piece(const onnxc_weights *weights, size_t offset) {
  uint32_t low = 0, high = weights->num_pieces;
  while (high - low > 1) {
    uint32_t middle = low + (high - low) / 2;
    if (weights->pieces[middle].offset <= offset)
      low = middle;
    else
      high = middle;
  }
  return low;
}

/* Replaces the offsets of weight buffers in the linked descriptor by addresses, from a base of zero. */
static onnxc_status bind_weights(onnxc_program *program) {
  onnxc_build *build = &program->build;
  onnxc_weights *weights = &build->weights;
  size_t total = ALIGN;
  for (uint32_t k = 0; k < weights->num_pieces; k++)
    if (must_copy(program->storage, &weights->pieces[k]))
      total += aligned(weights->pieces[k].size);
  program->copies = onnxc_mem_alloc(total);
  if (!program->copies)
    return onnxc_error(&build->model->context->diag, ONNXC_OUT_OF_MEMORY, "out of memory");
  unsigned char *to = program->copies;
  to += (ALIGN - (uintptr_t)to % ALIGN) % ALIGN;
  for (uint32_t k = 0; k < weights->num_pieces; k++) {
    struct onnxc_weight_piece *piece = &weights->pieces[k];
    if (!must_copy(program->storage, piece))
      continue;
    memcpy(to, piece->data, piece->size);
    onnxc_graph_discard(&build->graph, piece->data, piece->size);
    piece->data = to;
    to += aligned(piece->size);
  }
  onnxc_rt_buffer *buffers = ONNXC_NEW_ARRAY(&build->arena, onnxc_rt_buffer, program->rt.num_buffers);
  for (int64_t k = 0; k < program->rt.num_buffers; k++) {
    buffers[k] = program->rt.buffers[k];
    if (buffers[k].kind != ONNXC_RT_WEIGHT || weights->num_pieces == 0)
      continue;
    const struct onnxc_weight_piece *piece = &weights->pieces[find_piece(weights, (size_t)buffers[k].index)];
    buffers[k].index = (int64_t)((uintptr_t)piece->data + ((size_t)buffers[k].index - piece->offset));
  }
  program->rt.buffers = buffers;
  return ONNXC_OK;
}

/* From objects to code and descriptor. */
static onnxc_status link_code(onnxc_program *program, const onnxc_objects *objects) {
  onnxc_diag *diag = &program->build.model->context->diag;
  uintptr_t descriptor = 0, facts = 0;
  ONNXC_TRY(onnxc_jit_link(&program->jit, diag, objects));
  ONNXC_TRY(onnxc_jit_find(program->jit, diag, ONNXC_JIT_PROGRAM, &descriptor));
  ONNXC_TRY(onnxc_jit_find(program->jit, diag, ONNXC_JIT_FACTS, &facts));
  program->rt = *(const onnxc_rt_program *)descriptor; // NOLINT(performance-no-int-to-ptr)
  program->facts = *(const onnxc_facts *)facts;        // NOLINT(performance-no-int-to-ptr)
#ifdef ONNXC_HAVE_OMP
  program->rt.team = onnxc_rt_omp_team;
#endif
  return ONNXC_OK;
}

static onnxc_status check_cpu(const onnxc_program *program, const onnxc_rt_program *rt) {
  char lacking[256];
  if (onnxc_rt_check_cpu(rt, lacking, sizeof lacking) == ONNXC_OK)
    return ONNXC_OK;
  return onnxc_error(&program->build.model->context->diag, ONNXC_UNSUPPORTED, "code for '%s' cannot run here: %s",
                     program->build.target->name, lacking);
}

/* All but what the cache did. */
static void fill_stats(onnxc_program *program, int source_nodes, int folded_nodes) {
  const onnxc_rt_program *rt = &program->rt;
  program->stats.source_nodes = source_nodes;
  program->stats.folded_nodes = folded_nodes;
  program->stats.groups = (int)rt->num_stages;
  program->stats.weights_size = rt->info.weights_size;
  program->stats.static_workspace = rt->static_workspace;
  program->stats.largest_live_set = program->facts.largest_live_set;
  program->stats.load_seconds = program->build.model->load_seconds;
  if (rt->flops_dim >= 0 && rt->dims[rt->flops_dim].op == ONNXC_RT_CONST)
    program->stats.flops = (double)rt->dims[rt->flops_dim].a;
}

/* ---- with the cache ---- */

/* Where the program's entry is or shall be; NULL: a cache is not wanted, or would not know the model. */
static const char *entry_path(onnxc_build *build, onnxc_digest *key) {
  const char *directory = build->options->cache_directory;
  if (!directory || !directory[0])
    return NULL;
  if (onnxc_build_key(build, key) == ONNXC_OK)
    return onnxc_cache_path(&build->arena, directory, key);
  onnxc_diag_clear(&build->model->context->diag); /* if it matters, importing says so */
  return NULL;
}

/* The program from its entry; *found says whether there is one. One that does not link is none. */
static onnxc_status take_entry(onnxc_program *program, const char *path, const onnxc_digest *key, bool *found) {
  onnxc_diag *diag = &program->build.model->context->diag;
  onnxc_cache_entry *entry = &program->entry;
  *found = onnxc_cache_open(entry, path, key);
  if (!*found)
    return ONNXC_OK;
  onnxc_status status = link_code(program, &entry->objects);
  if (status == ONNXC_INTERNAL) {
    onnxc_diag_clear(diag);
    onnxc_jit_free(program->jit);
    program->jit = NULL;
    onnxc_cache_close(entry);
    *found = false;
    return ONNXC_OK;
  }
  ONNXC_TRY(status);
  ONNXC_TRY(check_cpu(program, &program->rt));
  program->rt.weights = entry->weights;
  onnxc_storage_release(program->storage);
  program->storage = NULL;
  program->stats.cache = ONNXC_CACHE_HIT;
  fill_stats(program, entry->source_nodes, entry->folded_nodes);
  return ONNXC_OK;
}

static void store_entry(onnxc_program *program, const char *path, const onnxc_digest *key) {
  onnxc_build *build = &program->build;
  const onnxc_cache_entry entry = {.objects = program->objects,
                                   .source_nodes = (int32_t)build->graph.source_nodes,
                                   .folded_nodes = (int32_t)build->graph.folded_nodes};
  bool stored = onnxc_cache_store(&build->arena, path, key, &entry, &build->weights);
  program->stats.cache = stored ? ONNXC_CACHE_STORED : ONNXC_CACHE_NOT_STORED;
}

/* ---- compiling ---- */

static void list_products(onnxc_program *program) {
  onnxc_build *build = &program->build;
  const onnxc_tile_program *tile = &build->tile;
  program->products = ONNXC_NEW_ARRAY(&build->arena, onnxc_product_choice, tile->products.length + 1);
  program->num_products = (int)tile->products.length;
  for (uint32_t k = 0; k < tile->products.length; k++) {
    onnxc_text line;
    onnxc_text_init(&line, &build->arena);
    onnxc_tuning_print(&tile->products.data[k].key, &tile->products.data[k].values, &line);
    program->products[k] = (onnxc_product_choice){(int)tile->products.data[k].number, line.data};
  }
}

static onnxc_status compile(void *arg) {
  onnxc_program *program = arg;
  onnxc_build *build = &program->build;
  onnxc_diag *diag = &build->model->context->diag;
  if (build->options->triple)
    return onnxc_error(diag, ONNXC_USAGE, "a target triple is for files only, not for running in memory");
  ONNXC_TRY(onnxc_build_target(build));
  onnxc_digest key;
  const char *path = entry_path(build, &key);
  bool found = false;
  if (path && !build->options->after_pass)
    ONNXC_TRY(take_entry(program, path, &key, &found));
  if (found)
    return ONNXC_OK;
  ONNXC_TRY(onnxc_build_tile(build));
  ONNXC_TRY(onnxc_build_code(build, "onnxc", true));
  ONNXC_TRY(check_cpu(program, &build->rt));
  ONNXC_TRY(onnxc_jit_objects(&program->objects, diag, &build->arena, &build->module, build->target, &build->rt,
                              &build->facts, build->threads));
  ONNXC_TRY(link_code(program, &program->objects));
  if (path)
    store_entry(program, path, &key);
  onnxc_objects_free(&program->objects);
  ONNXC_TRY(bind_weights(program));
  list_products(program);
  fill_stats(program, (int)build->graph.source_nodes, (int)build->graph.folded_nodes);
  return ONNXC_OK;
}

static onnxc_status out_of_memory(void *arg) {
  (void)arg;
  return ONNXC_OUT_OF_MEMORY;
}

onnxc_status onnxc_compile(onnxc_model *model, const onnxc_options *options, onnxc_program **result) {
  *result = NULL;
  double start = onnxc_seconds();
  onnxc_program *program = onnxc_mem_alloc(sizeof *program);
  if (!program)
    return onnxc_guarded(model->context, model->name, out_of_memory, NULL);
  memset(program, 0, sizeof *program);
  onnxc_build_init(&program->build, model, options);
  program->storage = model->storage;
  atomic_fetch_add(&program->storage->references, 1);
  onnxc_status status = onnxc_guarded(model->context, model->name, compile, program);
  if (status != ONNXC_OK) {
    onnxc_program_free(program);
    return status;
  }
  program->build.model = NULL; /* may be freed before the program */
  program->build.options = NULL;
  program->stats.compile_seconds = onnxc_seconds() - start;
  *result = program;
  return ONNXC_OK;
}

void onnxc_program_free(onnxc_program *program) {
  if (!program)
    return;
  onnxc_jit_free(program->jit);
  onnxc_objects_free(&program->objects);
  onnxc_build_free(&program->build);
  onnxc_storage_release(program->storage);
  onnxc_cache_close(&program->entry);
  onnxc_mem_free(program->copies);
  onnxc_mem_free(program);
}

const onnxc_model_info *onnxc_program_describe(const onnxc_program *program) { return &program->rt.info; }

void onnxc_program_stats(const onnxc_program *program, onnxc_stats *stats) { *stats = program->stats; }

int onnxc_program_products(const onnxc_program *program, const onnxc_product_choice **products) {
  *products = program->products;
  return program->num_products;
}

onnxc_status onnxc_plan(const onnxc_program *program, onnxc_run *run) {
  return (onnxc_status)onnxc_rt_plan(&program->rt, NULL, run);
}

onnxc_status onnxc_run_program(const onnxc_program *program, onnxc_run *run) {
  return (onnxc_status)onnxc_rt_run(&program->rt, NULL, run);
}
