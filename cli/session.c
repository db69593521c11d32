/* session.c -- a model that can be run: compiled in memory, or a shared library that `onnxc compile` wrote. */
#include "cli.h"

#include <dlfcn.h>
#include <elf.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ALIGN = 64 };

static int report(command *cli, onnxc_status status, const char *text, const char **message) {
  if (message)
    *message = onnxc_arena_copy_string(&cli->arena, text, strlen(text));
  else
    fprintf(stderr, "%s\n", text);
  return (int)status;
}

/* A run's message says what is wrong with the inputs, not which model it was. */
static int report_run(command *cli, const cli_session *session, int status, const char *text, const char **message) {
  return report(cli, (onnxc_status)status,
                message ? text : onnxc_arena_printf(&cli->arena, "%s: %s", session->path, text), message);
}

/* ---- models ---- */

static int plan_program(const void *handle, onnxc_run *run) { return (int)onnxc_plan(handle, run); }
static int run_program(const void *handle, onnxc_run *run) { return (int)onnxc_run_program(handle, run); }

static void make_outputs(command *cli, cli_session *session) {
  size_t count = (size_t)session->info->num_outputs;
  session->outputs = ONNXC_NEW_ARRAY(&cli->arena, onnxc_tensor, count + 1);
  session->capacities = ONNXC_NEW_ARRAY(&cli->arena, size_t, count + 1);
}

int cli_session_compile(command *cli, cli_session *session, onnxc_context *context, onnxc_model *model,
                        const onnxc_options *options, const char **message) {
  memset(session, 0, sizeof *session);
  session->context = context;
  session->model = model;
  onnxc_status status = onnxc_compile(model, options, &session->program);
  if (status != ONNXC_OK)
    return report(cli, status, onnxc_message(context), message);
  session->info = onnxc_program_describe(session->program);
  onnxc_program_stats(session->program, &session->stats);
  session->handle = session->program;
  session->plan = plan_program;
  session->run = run_program;
  make_outputs(cli, session);
  return 0;
}

static int open_model(command *cli, cli_session *session, const char *path, const onnxc_options *options,
                      const char **message) {
  onnxc_context *context = onnxc_context_new();
  onnxc_model *model;
  if (!context)
    onnxc_arena_out_of_memory(&cli->arena);
  onnxc_status status = onnxc_load(context, path, &model);
  if (status == ONNXC_OK)
    return cli_session_compile(cli, session, context, model, options, message);
  session->context = context;
  return report(cli, status, onnxc_message(context), message);
}

/* ---- shared libraries ---- */

/* The prefix of a library's functions: the dynamic symbol that ends in _describe says it. */
static const char *find_prefix(command *cli, const char *path) {
  static const char suffix[] = "_describe";
  const char *error;
  size_t size;
  const unsigned char *bytes = cli_read_file(&cli->arena, path, &size, &error);
  Elf64_Ehdr header;
  if (!bytes || size < sizeof header)
    return NULL;
  memcpy(&header, bytes, sizeof header);
  for (size_t i = 0; i < header.e_shnum; i++) {
    Elf64_Shdr symbols, strings;
    if (header.e_shoff > size || (size - header.e_shoff) / sizeof symbols <= i)
      return NULL;
    memcpy(&symbols, bytes + header.e_shoff + i * sizeof symbols, sizeof symbols);
    if (symbols.sh_type != SHT_DYNSYM || symbols.sh_link >= header.e_shnum ||
        (size - header.e_shoff) / sizeof strings <= symbols.sh_link)
      continue;
    memcpy(&strings, bytes + header.e_shoff + symbols.sh_link * sizeof strings, sizeof strings);
    if (symbols.sh_offset > size || symbols.sh_size > size - symbols.sh_offset || strings.sh_offset > size ||
        strings.sh_size > size - strings.sh_offset)
      return NULL;
    for (size_t k = 0; k < symbols.sh_size / sizeof(Elf64_Sym); k++) {
      Elf64_Sym symbol;
      memcpy(&symbol, bytes + symbols.sh_offset + k * sizeof symbol, sizeof symbol);
      if (symbol.st_name >= strings.sh_size || symbol.st_shndx == SHN_UNDEF)
        continue;
      const char *name = (const char *)bytes + strings.sh_offset + symbol.st_name;
      size_t length = strnlen(name, strings.sh_size - symbol.st_name);
      if (length > sizeof suffix - 1 && memcmp(name + length - (sizeof suffix - 1), suffix, sizeof suffix - 1) == 0)
        return onnxc_arena_copy_string(&cli->arena, name, length - (sizeof suffix - 1));
    }
  }
  return NULL;
}

/* A function of the library; POSIX allows the conversion from an object pointer, ISO C goes by way of memory. */
static bool find_function(command *cli, void *library, const char *prefix, const char *name, void *function) {
  void *symbol = dlsym(library, onnxc_arena_printf(&cli->arena, "%s_%s", prefix, name));
  memcpy(function, &symbol, sizeof symbol);
  return symbol != NULL;
}

static int open_library(command *cli, cli_session *session, const char *path, const char **message) {
  int (*open)(const void **model, const char *weights_path, char *message, size_t size);
  const onnxc_model_info *(*describe)(void);
  const char *prefix = find_prefix(cli, path);
  /* dlopen looks into the system's folders for a name without a slash. */
  const char *full = strchr(path, '/') ? path : onnxc_arena_printf(&cli->arena, "./%s", path);
  session->library = prefix ? dlopen(full, RTLD_NOW | RTLD_LOCAL) : NULL;
  if (!session->library)
    return report(cli, ONNXC_BAD_INPUT,
                  onnxc_arena_printf(&cli->arena, "%s: not a compiled model: %s", path,
                                     prefix ? dlerror() : "it defines no function whose name ends in _describe"),
                  message);
  if (!find_function(cli, session->library, prefix, "open", &open) ||
      !find_function(cli, session->library, prefix, "describe", &describe) ||
      !find_function(cli, session->library, prefix, "plan", &session->plan) ||
      !find_function(cli, session->library, prefix, "run", &session->run) ||
      !find_function(cli, session->library, prefix, "close", &session->close))
    return report(cli, ONNXC_BAD_INPUT,
                  onnxc_arena_printf(&cli->arena, "%s: not a compiled model: %s_run or another function is missing",
                                     path, prefix),
                  message);
  session->info = describe();
  if (session->info->abi_version != ONNXC_ABI_VERSION)
    return report(cli, ONNXC_UNSUPPORTED,
                  onnxc_arena_printf(&cli->arena, "%s: its ABI version is %d, this command's is %d", path,
                                     session->info->abi_version, ONNXC_ABI_VERSION),
                  message);
  char text[256] = "";
  int status = open(&session->handle, onnxc_arena_printf(&cli->arena, "%s.weights", path), text, sizeof text);
  if (status != 0)
    return report(cli, (onnxc_status)status, onnxc_arena_printf(&cli->arena, "%s: %s", path, text), message);
  make_outputs(cli, session);
  return 0;
}

int cli_session_open(command *cli, cli_session *session, const char *path, const onnxc_options *options,
                     const char **message) {
  double start = cli_seconds();
  size_t length = strlen(path);
  memset(session, 0, sizeof *session);
  bool is_library = length > 3 && strcmp(path + length - 3, ".so") == 0;
  int status =
      is_library ? open_library(cli, session, path, message) : open_model(cli, session, path, options, message);
  session->path = path;
  session->open_seconds = cli_seconds() - start;
  return status;
}

/* ---- runs ---- */

static void *aligned(size_t size) {
  static const size_t LARGE_PAGE = (size_t)2 << 20;
  if (size < 2 * LARGE_PAGE)
    return aligned_alloc(ALIGN, (size + ALIGN) / ALIGN * ALIGN);
  void *memory = aligned_alloc(LARGE_PAGE, (size + LARGE_PAGE) / LARGE_PAGE * LARGE_PAGE);
  if (memory)
    madvise(memory, size / LARGE_PAGE * LARGE_PAGE, MADV_HUGEPAGE); /* fewer TLB misses */
  return memory;
}

/* For sizes that depend on data. Pieces of workspace that a run adds live until the next run; it may still use those
 * that it had before. */
static void *allocate(void *arg, size_t size, int tag) {
  cli_session *session = arg;
  if (tag >= 1 && tag <= session->info->num_outputs) {
    onnxc_tensor *output = &session->outputs[tag - 1];
    free(output->data);
    output->data = aligned(size);
    session->capacities[tag - 1] = output->data ? size : 0;
    return output->data;
  }
  cli_extra *extra = aligned(sizeof *extra + size);
  if (!extra)
    return NULL;
  extra->next = session->extras;
  session->extras = extra;
  return extra->bytes;
}

static void free_extras(cli_session *session) {
  while (session->extras) {
    cli_extra *extra = session->extras;
    session->extras = extra->next;
    free(extra);
  }
}

/* Before each run: what depends on data is allocated by the run. */
static void renew(cli_session *session) {
  free_extras(session);
  for (int32_t k = 0; k < session->info->num_outputs; k++)
    if (session->info->outputs[k].flags & ONNXC_TENSOR_DYNAMIC) {
      free(session->outputs[k].data);
      session->outputs[k].data = NULL;
      session->capacities[k] = 0;
    }
}

void cli_session_close(cli_session *session) {
  for (int32_t k = 0; session->outputs && k < session->info->num_outputs; k++)
    free(session->outputs[k].data);
  free(session->workspace);
  free_extras(session);
  if (session->close && session->handle)
    session->close(session->handle);
  onnxc_program_free(session->program);
  onnxc_context_free(session->context);
  if (session->library)
    dlclose(session->library);
  memset(session, 0, sizeof *session);
}

int cli_session_plan(command *cli, cli_session *session, onnxc_tensor *inputs, int threads, onnxc_run *run,
                     const char **message) {
  onnxc_tensor *outputs = session->outputs;
  *run = (onnxc_run){
      .inputs = inputs, .outputs = outputs, .num_threads = threads, .allocate = allocate, .allocate_arg = session};
  int status = session->plan(session->handle, run);
  if (status != 0)
    return report_run(cli, session, status, run->message, message);
  for (int32_t k = 0; k < session->info->num_outputs; k++) {
    size_t size = cli_tensor_bytes(&outputs[k]) + 1;
    if ((session->info->outputs[k].flags & ONNXC_TENSOR_DYNAMIC) || (outputs[k].data && session->capacities[k] >= size))
      continue;
    free(outputs[k].data);
    outputs[k].data = aligned(size);
    session->capacities[k] = outputs[k].data ? size : 0;
    if (!outputs[k].data)
      onnxc_arena_out_of_memory(&cli->arena);
  }
  if (session->workspace_size < run->workspace_size || !session->workspace) {
    free(session->workspace);
    session->workspace_size = run->workspace_size;
    session->workspace = aligned(run->workspace_size);
    if (!session->workspace)
      onnxc_arena_out_of_memory(&cli->arena);
  }
  run->workspace = session->workspace;
  return 0;
}

int cli_session_repeat(cli_session *session, onnxc_run *run) {
  renew(session);
  return session->run(session->handle, run);
}

int cli_session_run(command *cli, cli_session *session, onnxc_tensor *inputs, int threads, const char **message) {
  onnxc_run run;
  int status = cli_session_plan(cli, session, inputs, threads, &run, message);
  if (status != 0)
    return status;
  status = cli_session_repeat(session, &run);
  return status == 0 ? 0 : report_run(cli, session, status, run.message, message);
}

int cli_session_evaluate(command *cli, cli_session *session, const onnxc_tensor *inputs) {
  if (!session->model)
    return cli_fail(ONNXC_USAGE, "the reference evaluator wants a model, not a library");
  onnxc_status status =
      onnxc_evaluate(session->model, inputs, (size_t)session->info->num_inputs, session->outputs, allocate, session);
  return status == ONNXC_OK ? 0 : report(cli, status, onnxc_message(session->context), NULL);
}

int cli_session_inputs(command *cli, const cli_session *session, const char *const *specs, size_t num_specs,
                       onnxc_tensor *inputs) {
  const onnxc_model_info *info = session->info;
  for (size_t i = 0; i < num_specs; i++) {
    bool known = false;
    for (int32_t k = 0; k < info->num_inputs; k++) {
      size_t length = strlen(info->inputs[k].name);
      known |= strncmp(specs[i], info->inputs[k].name, length) == 0 && specs[i][length] == '=';
    }
    if (!known && !(info->num_inputs == 1 && !strchr(specs[i], '=')))
      return cli_usage(cli, "--input wants NAME=FILE with the name of an input, not '%s'", specs[i]);
  }
  for (int32_t k = 0; k < info->num_inputs; k++) {
    const char *spec = "random";
    size_t length = strlen(info->inputs[k].name);
    for (size_t i = 0; i < num_specs; i++) {
      if (strncmp(specs[i], info->inputs[k].name, length) == 0 && specs[i][length] == '=')
        spec = specs[i] + length + 1;
      else if (info->num_inputs == 1 && !strchr(specs[i], '='))
        spec = specs[i];
    }
    int status = cli_read_tensor(cli, spec, &info->inputs[k], &inputs[k]);
    if (status != 0)
      return status;
  }
  return 0;
}

void cli_print_plan(const onnxc_stats *stats) {
  if (stats->static_workspace < 0 || stats->largest_live_set < 0) {
    printf("intermediate tensors: as large as dims say");
    return;
  }
  printf("intermediate tensors: %lld bytes, at most %lld live at once", (long long)stats->static_workspace,
         (long long)stats->largest_live_set);
  if (stats->largest_live_set > 0)
    printf(" (x %.3f)", (double)stats->static_workspace / (double)stats->largest_live_set);
}
