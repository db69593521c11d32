/* artefact.c -- onnxc_emit_module: a module, a descriptor and weights become a file.
 *
 * All is made in a temporary directory beside the result and renamed into place at the end, so a file of the
 * result's name is always whole. The directory goes whatever happens, an unwinding for want of memory
 * included: the work runs under a guard of its own, which cleans up and passes the unwinding on. */
#include "emit/artefact.h"

#include <llvm-c/Core.h>

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Files in the temporary directory. */
enum {
  FILE_WEIGHTS,
  FILE_RESULT,
  FILE_HEADER,
  FILE_BESIDE,
  FILE_LOG,
  FILE_CODE,
  NUM_FILES = FILE_CODE + ONNXC_MAX_PARTS
};

typedef struct artefact {
  onnxc_diag *diag;
  onnxc_arena *arena;
  onnxc_module *module;
  const onnxc_rt_program *program;
  const onnxc_weights *weights;
  const onnxc_emit_options *options;
  const char *prefix;
  LLVMTargetMachineRef machine;
  onnxc_objects objects;
  char *directory; /* temporary; NULL until it exists */
  const char *files[NUM_FILES];
} artefact;

/* ---- names ---- */

static const char *base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/* The part of a path before the suffix of its file name. */
static const char *without_suffix(onnxc_arena *arena, const char *path) {
  const char *base = base_name(path), *dot = strrchr(base, '.');
  return onnxc_arena_copy_string(arena, path, dot && dot != base ? (size_t)(dot - path) : strlen(path));
}

/* "out/libmy-net.so" -> "my_net" */
static const char *prefix_of(onnxc_arena *arena, const char *path) {
  const char *stem = base_name(without_suffix(arena, path));
  size_t length = strlen(path);
  bool library =
      (length > 3 && strcmp(path + length - 3, ".so") == 0) || (length > 2 && strcmp(path + length - 2, ".a") == 0);
  if (library && strncmp(stem, "lib", 3) == 0 && stem[3])
    stem += 3;
  char *prefix = onnxc_arena_printf(arena, "%s%s", isdigit((unsigned char)stem[0]) ? "model_" : "", stem);
  for (char *c = prefix; *c; c++)
    if (!isalnum((unsigned char)*c))
      *c = '_';
  return prefix[0] ? prefix : "model";
}

static onnxc_status choose_prefix(artefact *a) {
  a->prefix = a->options->prefix ? a->options->prefix : prefix_of(a->arena, a->options->path);
  bool valid = a->prefix[0] && !isdigit((unsigned char)a->prefix[0]);
  for (const char *c = a->prefix; *c; c++)
    valid = valid && (isalnum((unsigned char)*c) || *c == '_');
  return valid ? ONNXC_OK
               : onnxc_error(a->diag, ONNXC_USAGE, "the prefix '%s' is not a name that C can use", a->prefix);
}

static onnxc_status make_directory(artefact *a) {
  const char *path = a->options->path, *base = base_name(path);
  struct stat about;
  if (stat(path, &about) == 0 && S_ISDIR(about.st_mode))
    return onnxc_error(a->diag, ONNXC_USAGE, "'%s' is a directory", path);
  if (!base[0])
    return onnxc_error(a->diag, ONNXC_USAGE, "'%s' names no file to write", path);
  char *directory = onnxc_arena_printf(a->arena, "%.*s.%s.XXXXXX", (int)(base - path), path, base);
  if (!mkdtemp(directory))
    return onnxc_error(a->diag, ONNXC_BAD_INPUT, "cannot write '%s': %s", path, strerror(errno));
  a->directory = directory;
  static const char *const suffixes[FILE_CODE] = {"_weights.o", ".out", ".h", ".weights", ".log"};
  for (int k = 0; k < FILE_CODE; k++)
    a->files[k] = onnxc_arena_printf(a->arena, "%s/%s%s", directory, a->prefix, suffixes[k]);
  for (int k = 0; k < ONNXC_MAX_PARTS; k++)
    a->files[FILE_CODE + k] = onnxc_arena_printf(a->arena, "%s/%s_%d.o", directory, a->prefix, k);
  return ONNXC_OK;
}

static void remove_directory(artefact *a) {
  if (!a->directory)
    return;
  for (int k = 0; k < NUM_FILES; k++)
    if (a->files[k])
      unlink(a->files[k]);
  rmdir(a->directory);
}

/* Moves a finished file to its place. */
static onnxc_status publish(artefact *a, int file, const char *path) {
  if (rename(a->files[file], path) == 0)
    return ONNXC_OK;
  return onnxc_error(a->diag, ONNXC_BAD_INPUT, "cannot write '%s': %s", path, strerror(errno));
}

/* ---- the pieces ---- */

static onnxc_status write_assembly(artefact *a, const char *path) {
  char *message = NULL;
  LLVMMemoryBufferRef buffer = NULL;
  if (LLVMTargetMachineEmitToMemoryBuffer(a->machine, a->module->parts[0].module, LLVMAssemblyFile, &message, &buffer))
    return onnxc_llvm_failed(a->diag, "code generation failed", message);
  onnxc_status status = onnxc_write_file(a->diag, path, LLVMGetBufferStart(buffer), LLVMGetBufferSize(buffer));
  LLVMDisposeMemoryBuffer(buffer);
  return status;
}

static onnxc_status write_ir(artefact *a, const char *path) {
  char *text = LLVMPrintModuleToString(a->module->parts[0].module);
  onnxc_status status = onnxc_write_file(a->diag, path, text, strlen(text));
  LLVMDisposeMessage(text);
  return status;
}

/* ---- linking ---- */

enum { MAX_ARGUMENTS = 16 + ONNXC_MAX_PARTS };

/* What the linker said, in short. */
static void report_log(artefact *a, const char *tool) {
  char text[1024] = "";
  FILE *log = fopen(a->files[FILE_LOG], "rb");
  size_t length = log ? fread(text, 1, sizeof text - 1, log) : 0;
  if (log)
    fclose(log);
  text[length] = '\0';
  onnxc_error(a->diag, ONNXC_INTERNAL, "%s failed: %s", tool, text);
}

/* Tries the tools in turn until one is there; each is an argument list that ends with NULL. */
static onnxc_status run_tools(artefact *a, const char *(*tools)[MAX_ARGUMENTS], size_t count) {
  enum { NOT_FOUND = 127 };
  for (size_t k = 0; k < count; k++) {
    int status = onnxc_run_program_at(tools[k], a->files[FILE_LOG]);
    if (status == 0)
      return ONNXC_OK;
    if (status > 0 && status != NOT_FOUND) {
      report_log(a, tools[k][0]);
      return ONNXC_INTERNAL;
    }
  }
  return onnxc_error(a->diag, ONNXC_UNSUPPORTED, "cannot make '%s': no '%s' in PATH", a->options->path, tools[0][0]);
}

/* A tool's arguments with the objects and, for what is linked whole, the libraries behind them. */
static void add_files(const artefact *a, const char **arguments) {
  bool executable = a->options->kind == ONNXC_EMIT_EXE;
  int n = 0;
  while (arguments[n])
    n++;
  for (uint32_t k = 0; k < a->objects.count; k++)
    arguments[n++] = a->files[FILE_CODE + k];
  if (a->weights->size > 0 && !a->options->weights_in_file)
    arguments[n++] = a->files[FILE_WEIGHTS];
  if (executable)
    arguments[n++] = "-lm";
  if (a->options->threads > 1 && (executable || a->options->kind == ONNXC_EMIT_SHARED))
    arguments[n++] = "-l:libomp.so.5";
}

static onnxc_status link_files(artefact *a) {
  const char *out = a->files[FILE_RESULT];
  const char *soname = onnxc_arena_printf(a->arena, "-Wl,-soname,%s", base_name(a->options->path));
  const char *shared[][MAX_ARGUMENTS] = {{"cc", "-shared", "-Wl,-z,noexecstack", soname, "-o", out},
                                         {"ld.lld-19", "-shared", "-z", "noexecstack", "-o", out}};
  const char *archive[][MAX_ARGUMENTS] = {{"ar", "rcs", out}, {"llvm-ar-19", "rcs", out}};
  const char *object[][MAX_ARGUMENTS] = {{"ld", "-r", "-o", out}, {"ld.lld-19", "-r", "-o", out}};
  const char *executable[][MAX_ARGUMENTS] = {{"cc", "-o", out}, {"clang-19", "-o", out}};
  const char *(*tools)[MAX_ARGUMENTS] = a->options->kind == ONNXC_EMIT_SHARED   ? shared
                                        : a->options->kind == ONNXC_EMIT_STATIC ? archive
                                        : a->options->kind == ONNXC_EMIT_OBJECT ? object
                                                                                : executable;
  for (int k = 0; k < 2; k++)
    add_files(a, tools[k]);
  return run_tools(a, tools, 2);
}

/* ---- the kinds ---- */

static onnxc_status emit_text(artefact *a) {
  LLVMModuleRef module = a->module->parts[0].module;
  onnxc_module_set_target(module, a->machine, a->options->target);
  ONNXC_TRY(onnxc_module_optimize(a->diag, module, a->machine));
  LLVMSetTargetMachineAsmVerbosity(a->machine, 1);
  ONNXC_TRY(a->options->kind == ONNXC_EMIT_ASM ? write_assembly(a, a->files[FILE_RESULT])
                                               : write_ir(a, a->files[FILE_RESULT]));
  return publish(a, FILE_RESULT, a->options->path);
}

static onnxc_status emit_binary(artefact *a) {
  const onnxc_emit_options *options = a->options;
  uint64_t hash = options->weights_in_file ? onnxc_weights_hash(a->weights) : 0;
  ONNXC_TRY(
      onnxc_link_runtime(a->diag, a->arena, a->module, a->program, a->weights, hash, a->prefix, options, a->machine));
  ONNXC_TRY(onnxc_make_objects(&a->objects, a->diag, a->module, options->target, options->triple, options->instrument,
                               options->compile_threads));
  for (uint32_t k = 0; k < a->objects.count; k++)
    ONNXC_TRY(onnxc_write_file(a->diag, a->files[FILE_CODE + k], a->objects.list[k].bytes, a->objects.list[k].size));
  if (options->weights_in_file)
    ONNXC_TRY(onnxc_write_weights_file(a->diag, a->files[FILE_BESIDE], a->weights, hash));
  else if (a->weights->size > 0)
    ONNXC_TRY(onnxc_write_weights_object(a->diag, a->files[FILE_WEIGHTS],
                                         onnxc_arena_printf(a->arena, "%s_weights", a->prefix), a->weights));
  ONNXC_TRY(link_files(a));
  if (options->kind != ONNXC_EMIT_EXE) {
    const char *header = onnxc_header_text(a->arena, a->program, a->prefix, options);
    ONNXC_TRY(onnxc_write_file(a->diag, a->files[FILE_HEADER], header, strlen(header)));
    ONNXC_TRY(publish(a, FILE_HEADER, onnxc_arena_printf(a->arena, "%s.h", without_suffix(a->arena, options->path))));
  }
  if (options->weights_in_file)
    ONNXC_TRY(publish(a, FILE_BESIDE, onnxc_arena_printf(a->arena, "%s.weights", options->path)));
  return publish(a, FILE_RESULT, options->path);
}

static onnxc_status emit_all(artefact *a) {
  ONNXC_TRY(choose_prefix(a));
  a->machine = onnxc_machine_new(a->diag, a->options->target, a->options->triple);
  if (!a->machine)
    return a->diag->status;
  ONNXC_TRY(make_directory(a));
  return onnxc_emit_is_text(a->options->kind) ? emit_text(a) : emit_binary(a);
}

/* False when memory ran out. */
static bool emit_guarded(artefact *a, onnxc_guard *guard, onnxc_status *status) {
  a->arena->guard = guard;
  if (setjmp(guard->env))
    return false;
  *status = emit_all(a);
  return true;
}

onnxc_status onnxc_emit_module(onnxc_diag *diag, onnxc_arena *arena, onnxc_module *module,
                               const onnxc_rt_program *program, const onnxc_weights *weights,
                               const onnxc_emit_options *options) {
  artefact a = {
      .diag = diag, .arena = arena, .module = module, .program = program, .weights = weights, .options = options};
  onnxc_guard guard, *outer = arena->guard;
  onnxc_status status = ONNXC_OK;
  bool finished = emit_guarded(&a, &guard, &status);
  arena->guard = outer;
  remove_directory(&a);
  if (a.machine)
    LLVMDisposeTargetMachine(a.machine);
  onnxc_objects_free(&a.objects);
  onnxc_module_free(module);
  if (!finished)
    onnxc_arena_out_of_memory(arena);
  return status;
}
