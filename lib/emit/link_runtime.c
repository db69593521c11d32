/* link_runtime.c -- joins part 0 of a module with the run-time's bitcode, so that an artefact needs nothing of ours.
 *
 * The bitcode was made without a CPU; machine.c gives all functions the same attributes afterwards. Everything but the
 * entry points becomes internal, or hidden under the model's prefix, so several models can be linked into one program.
 */
#include "emit/artefact.h"

#include "rt/artefact/entry.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/BitReader.h>
#include <llvm-c/Linker.h>

#include <string.h>

#define BITCODE(name) extern const char onnxc_bitcode_##name[], onnxc_bitcode_##name##_end[];
BITCODE(message)
BITCODE(plan)
BITCODE(run)
BITCODE(cpu)
BITCODE(omp)
BITCODE(entry)
BITCODE(main)
#undef BITCODE

static onnxc_status link_bitcode(onnxc_diag *diag, const onnxc_part *part, const char *start, const char *end) {
  LLVMMemoryBufferRef buffer = /* borrows; a NUL follows the bytes, and `end` is behind it */
      LLVMCreateMemoryBufferWithMemoryRange(start, (size_t)(end - start) - 1, "run-time", 0);
  LLVMModuleRef added = NULL;
  bool failed = LLVMParseBitcodeInContext2(part->context, buffer, &added) != 0;
  LLVMDisposeMemoryBuffer(buffer);
  if (failed)
    return onnxc_error(diag, ONNXC_INTERNAL, "the run-time's bitcode does not load");
  LLVMSetModuleDataLayout(added, LLVMGetModuleDataLayout(part->module));
  LLVMSetTarget(added, LLVMGetTarget(part->module));
  if (LLVMLinkModules2(part->module, added)) /* consumes it */
    return onnxc_error(diag, ONNXC_INTERNAL, "the run-time's bitcode does not link");
  return ONNXC_OK;
}

static bool keeps_name(const char *name) { return strcmp(name, "main") == 0; }

/* Makes the entry points public under their names, and all else internal. */
static void name_entries(onnxc_arena *arena, LLVMModuleRef module, const char *prefix, bool exported) {
  static const char entry[] = "onnxc_entry_";
  for (LLVMValueRef f = LLVMGetFirstFunction(module); f; f = LLVMGetNextFunction(f)) {
    size_t length = 0;
    const char *name = LLVMGetValueName2(f, &length);
    if (LLVMIsDeclaration(f) || keeps_name(name))
      continue;
    bool public = exported && strncmp(name, entry, sizeof entry - 1) == 0;
    LLVMSetVisibility(f, LLVMDefaultVisibility);
    LLVMSetLinkage(f, public ? LLVMExternalLinkage : LLVMInternalLinkage);
    if (public) {
      const char *renamed = onnxc_arena_printf(arena, "%s_%s", prefix, name + sizeof entry - 1);
      LLVMSetValueName2(f, renamed, strlen(renamed));
    }
  }
  for (LLVMValueRef g = LLVMGetFirstGlobal(module); g; g = LLVMGetNextGlobal(g))
    if (!LLVMIsDeclaration(g) && LLVMGetLinkage(g) == LLVMExternalLinkage) {
      LLVMSetVisibility(g, LLVMDefaultVisibility);
      LLVMSetLinkage(g, LLVMInternalLinkage);
    }
}

/* Puts a definition in the place of what the run-time's bitcode declares (with a type of its own, of which only the
 * size matters). */
static void define(const onnxc_part *part, const char *name, LLVMValueRef defined) {
  LLVMValueRef declared = LLVMGetNamedGlobal(part->module, name);
  if (declared) {
    LLVMReplaceAllUsesWith(declared, defined);
    LLVMDeleteGlobal(declared);
  }
}

static void define_settings(const onnxc_part *part, const onnxc_weights *weights, uint64_t hash, bool in_file) {
  LLVMTypeRef i64 = LLVMInt64TypeInContext(part->context);
  LLVMValueRef fields[3] = {LLVMConstInt(i64, in_file, 0), LLVMConstInt(i64, weights->size, 0),
                            LLVMConstInt(i64, hash, 0)};
  LLVMValueRef value = LLVMConstStructInContext(part->context, fields, 3, 0);
  LLVMValueRef defined = LLVMAddGlobal(part->module, LLVMTypeOf(value), "settings");
  LLVMSetInitializer(defined, value);
  LLVMSetGlobalConstant(defined, 1);
  LLVMSetLinkage(defined, LLVMPrivateLinkage);
  LLVMSetAlignment(defined, 8);
  define(part, "onnxc_entry_settings", defined);
}

/* A constant string in shared libraries, so that whoever opens one finds the names of its functions. */
static void export_prefix(const onnxc_part *part, const char *prefix) {
  LLVMValueRef text = LLVMConstStringInContext2(part->context, prefix, strlen(prefix), 0);
  LLVMValueRef result = LLVMAddGlobal(part->module, LLVMTypeOf(text), "onnxc_model_prefix");
  LLVMSetInitializer(result, text);
  LLVMSetGlobalConstant(result, 1);
}

onnxc_status onnxc_link_runtime(onnxc_diag *diag, onnxc_arena *arena, onnxc_module *module,
                                const onnxc_rt_program *program, const onnxc_weights *weights, uint64_t weights_hash,
                                const char *prefix, const onnxc_emit_options *options, LLVMTargetMachineRef machine) {
  const onnxc_part *part = &module->parts[0];
  bool executable = options->kind == ONNXC_EMIT_EXE, threads = options->threads > 1;
  onnxc_module_set_target(part->module, machine, options->target);
  ONNXC_TRY(link_bitcode(diag, part, onnxc_bitcode_message, onnxc_bitcode_message_end));
  ONNXC_TRY(link_bitcode(diag, part, onnxc_bitcode_plan, onnxc_bitcode_plan_end));
  ONNXC_TRY(link_bitcode(diag, part, onnxc_bitcode_run, onnxc_bitcode_run_end));
  ONNXC_TRY(link_bitcode(diag, part, onnxc_bitcode_cpu, onnxc_bitcode_cpu_end));
  ONNXC_TRY(link_bitcode(diag, part, onnxc_bitcode_entry, onnxc_bitcode_entry_end));
  if (threads)
    ONNXC_TRY(link_bitcode(diag, part, onnxc_bitcode_omp, onnxc_bitcode_omp_end));
  if (executable)
    ONNXC_TRY(link_bitcode(diag, part, onnxc_bitcode_main, onnxc_bitcode_main_end));
  LLVMValueRef base = NULL;
  if (!options->weights_in_file && weights->size > 0) {
    const char *symbol = onnxc_arena_printf(arena, "%s_weights", prefix);
    base = LLVMAddGlobal(part->module, LLVMInt8TypeInContext(part->context), symbol);
    LLVMSetVisibility(base, LLVMHiddenVisibility);
  }
  LLVMValueRef team = threads ? LLVMGetNamedFunction(part->module, "onnxc_rt_omp_team") : NULL, descriptor = NULL;
  const char *stages = onnxc_arena_printf(arena, "%s_", prefix);
  ONNXC_TRY(onnxc_emit_descriptor(diag, arena, module, program, stages, base, team, &descriptor));
  define(part, "onnxc_entry_program", descriptor);
  define_settings(part, weights, weights_hash, options->weights_in_file);
  name_entries(arena, part->module, prefix, !executable);
  if (options->kind == ONNXC_EMIT_SHARED)
    export_prefix(part, prefix);
  onnxc_module_set_target(part->module, machine, options->target); /* the run-time's functions too */
  char *message = NULL;                                            /* invalid IR would abort the process later */
  if (LLVMVerifyModule(part->module, LLVMReturnStatusAction, &message))
    return onnxc_llvm_failed(diag, "the linked module is invalid", message);
  LLVMDisposeMessage(message);
  return ONNXC_OK;
}
