/* constants.c -- the descriptor (rt/program.h) as LLVM constants.
 *
 * Tables without addresses are copied as bytes: the layout of the structs is the same here and in the artefact,
 * whose run-time was compiled from the same header for the same ABI. Structs with addresses are built field by field.
 */
#include "emit/artefact.h"

#include <string.h>

typedef struct constants {
  onnxc_arena *arena;
  LLVMContextRef context;
  LLVMModuleRef module;
  LLVMTypeRef i32, i64, pointer;
} constants;

static LLVMValueRef global(const constants *c, LLVMValueRef value, const char *name, unsigned align) {
  LLVMValueRef result = LLVMAddGlobal(c->module, LLVMTypeOf(value), name);
  LLVMSetInitializer(result, value);
  LLVMSetGlobalConstant(result, 1);
  LLVMSetLinkage(result, LLVMPrivateLinkage);
  LLVMSetAlignment(result, align);
  return result;
}

static LLVMValueRef null(const constants *c) { return LLVMConstNull(c->pointer); }
static LLVMValueRef i32(const constants *c, int64_t value) {
  return LLVMConstInt(c->i32, (unsigned long long)value, 1);
}
static LLVMValueRef i64(const constants *c, int64_t value) {
  return LLVMConstInt(c->i64, (unsigned long long)value, 1);
}

static LLVMValueRef bytes(const constants *c, const void *data, size_t size) {
  if (size == 0)
    return null(c);
  return global(c, LLVMConstStringInContext2(c->context, data, size, 1), "table", 8);
}
#define TABLE(c, data, count) bytes(c, data, (size_t)(count) * sizeof *(data))

static LLVMValueRef string(const constants *c, const char *text) {
  return text ? global(c, LLVMConstStringInContext2(c->context, text, strlen(text), 0), "text", 1) : null(c);
}

static LLVMValueRef structure(const constants *c, LLVMValueRef *fields, size_t count) {
  return LLVMConstStructInContext(c->context, fields, (unsigned)count, 0);
}
#define STRUCTURE(c, ...)                                                                                              \
  structure(c, (LLVMValueRef[]){__VA_ARGS__}, sizeof((LLVMValueRef[]){__VA_ARGS__}) / sizeof(LLVMValueRef))

static LLVMValueRef array(const constants *c, LLVMTypeRef type, LLVMValueRef *values, size_t count) {
  return count == 0 ? null(c) : global(c, LLVMConstArray2(type, values, count), "table", 8);
}

static LLVMValueRef tensors(const constants *c, const onnxc_tensor_info *infos, int32_t count) {
  LLVMValueRef *values = ONNXC_NEW_ARRAY(c->arena, LLVMValueRef, count);
  for (int32_t k = 0; k < count; k++) {
    const onnxc_tensor_info *info = &infos[k];
    LLVMValueRef names[ONNXC_MAX_RANK];
    for (int32_t d = 0; d < info->rank; d++)
      names[d] = string(c, info->dim_names[d]);
    values[k] =
        STRUCTURE(c, string(c, info->name), i32(c, info->dtype), i32(c, info->rank), TABLE(c, info->dims, info->rank),
                  array(c, c->pointer, names, (size_t)info->rank), i32(c, info->flags), i32(c, info->alias));
  }
  return count == 0 ? null(c) : array(c, LLVMTypeOf(values[0]), values, (size_t)count);
}

static LLVMValueRef constraints(const constants *c, const onnxc_rt_program *program) {
  size_t count = (size_t)program->num_constraints;
  LLVMValueRef *values = ONNXC_NEW_ARRAY(c->arena, LLVMValueRef, count);
  for (size_t k = 0; k < count; k++)
    values[k] = STRUCTURE(c, i64(c, program->constraints[k].a), i64(c, program->constraints[k].b),
                          string(c, program->constraints[k].message));
  return count == 0 ? null(c) : array(c, LLVMTypeOf(values[0]), values, count);
}

/* A stage's function as part 0 sees it. Only the descriptor names it, so there it is internal; one of another part is
 * hidden, its name made one of this program's. */
static LLVMValueRef function_of(const constants *c, const onnxc_module *module, const onnxc_stage_code *code,
                                const char *prefix) {
  LLVMValueRef function = LLVMGetNamedFunction(module->parts[code->part].module, code->function);
  if (code->part == 0) {
    if (function)
      LLVMSetLinkage(function, LLVMInternalLinkage);
    return function;
  }
  const char *name = onnxc_arena_printf(c->arena, "%s%s", prefix, code->function);
  LLVMValueRef declared = LLVMGetNamedFunction(c->module, name); /* by another stage of the same function */
  if (declared || !function)
    return declared;
  LLVMSetValueName2(function, name, strlen(name));
  LLVMSetVisibility(function, LLVMHiddenVisibility);
  LLVMTypeRef parameters[3] = {c->pointer, c->i64, c->i64};
  declared =
      LLVMAddFunction(c->module, name, LLVMFunctionType(LLVMVoidTypeInContext(c->context), parameters, 3, false));
  LLVMSetVisibility(declared, LLVMHiddenVisibility);
  return declared;
}

static onnxc_status functions(const constants *c, onnxc_diag *diag, const onnxc_module *module,
                              const onnxc_rt_program *program, const char *prefix, LLVMValueRef *result) {
  size_t count = (size_t)program->num_stages;
  LLVMValueRef *values = ONNXC_NEW_ARRAY(c->arena, LLVMValueRef, count);
  for (size_t k = 0; k < count; k++) {
    values[k] = function_of(c, module, &module->stages[k], prefix);
    if (!values[k])
      return onnxc_error(diag, ONNXC_INTERNAL, "no code was made for stage '%s'", module->stages[k].function);
  }
  *result = array(c, c->pointer, values, count);
  return ONNXC_OK;
}

static constants constants_of(onnxc_arena *arena, const onnxc_module *module) {
  LLVMContextRef context = module->parts[0].context;
  return (constants){.arena = arena,
                     .context = context,
                     .module = module->parts[0].module,
                     .i32 = LLVMInt32TypeInContext(context),
                     .i64 = LLVMInt64TypeInContext(context),
                     .pointer = LLVMPointerTypeInContext(context, 0)};
}

LLVMValueRef onnxc_emit_facts(onnxc_arena *arena, onnxc_module *module, const onnxc_facts *facts, size_t num_stages) {
  constants base = constants_of(arena, module);
  const constants *c = &base;
  LLVMValueRef *values = ONNXC_NEW_ARRAY(arena, LLVMValueRef, num_stages);
  for (size_t k = 0; k < num_stages; k++) {
    const onnxc_stage_facts *stage = &facts->stages[k];
    values[k] =
        STRUCTURE(c, string(c, stage->name), string(c, stage->nodes), string(c, stage->note), i64(c, stage->flops),
                  i64(c, stage->operations), i64(c, stage->ticks), i64(c, stage->bytes), i64(c, stage->weight_bytes));
  }
  LLVMValueRef stages = num_stages == 0 ? null(c) : array(c, LLVMTypeOf(values[0]), values, num_stages);
  return global(c,
                STRUCTURE(c, i64(c, facts->num_dims), TABLE(c, facts->dims, facts->num_dims), stages,
                          i64(c, facts->largest_live_set)),
                "facts", 8);
}

onnxc_status onnxc_emit_descriptor(onnxc_diag *diag, onnxc_arena *arena, onnxc_module *module,
                                   const onnxc_rt_program *program, const char *prefix, LLVMValueRef weights,
                                   LLVMValueRef team, LLVMValueRef *result) {
  constants base = constants_of(arena, module);
  const constants *c = &base;
  const onnxc_model_info *info = &program->info;
  LLVMValueRef stage_functions = NULL;
  ONNXC_TRY(functions(c, diag, module, program, prefix, &stage_functions));
  LLVMValueRef description = STRUCTURE(
      c, i32(c, info->abi_version), i32(c, info->num_inputs), i32(c, info->num_outputs),
      tensors(c, info->inputs, info->num_inputs), tensors(c, info->outputs, info->num_outputs), string(c, info->name),
      string(c, info->target), i64(c, (int64_t)info->weights_size), i32(c, info->num_stages));
  int64_t buffers = 0, dims = 0;
  for (int64_t k = 0; k < program->num_stages; k++) {
    const onnxc_rt_stage *stage = &program->stages[k];
    buffers = stage->buffers + stage->num_buffers > buffers ? stage->buffers + stage->num_buffers : buffers;
    dims = stage->dims + stage->num_dims > dims ? stage->dims + stage->num_dims : dims;
  }
  LLVMValueRef value = STRUCTURE(
      c, description, TABLE(c, program->inputs, info->num_inputs), TABLE(c, program->outputs, info->num_outputs),
      i64(c, program->num_dims), i64(c, program->num_buffers), i64(c, program->num_slots), i64(c, program->num_stages),
      i64(c, program->num_constraints), i64(c, program->num_segments), TABLE(c, program->dims, program->num_dims),
      TABLE(c, program->buffers, program->num_buffers), TABLE(c, program->slots, program->num_slots),
      TABLE(c, program->stages, program->num_stages), constraints(c, program), TABLE(c, program->buffer_lists, buffers),
      TABLE(c, program->dim_lists, dims), stage_functions, weights ? weights : null(c),
      i64(c, program->static_workspace), i64(c, program->scratch_size), i64(c, (int64_t)program->cpu_features),
      i64(c, program->flops_dim), i64(c, program->thread_work), team ? team : null(c));
  if (LLVMABISizeOfType(LLVMGetModuleDataLayout(c->module), LLVMTypeOf(value)) != sizeof *program)
    return onnxc_error(diag, ONNXC_INTERNAL, "the descriptor's layout differs from the run-time's");
  *result = global(c, value, "program", 8);
  return ONNXC_OK;
}
