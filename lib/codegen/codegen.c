/* codegen.c -- the modules: one function a stage. See codegen.h.
 *
 * At a function's entry the base addresses of the stage's buffers and the values of its symbols are loaded from the
 * context; every other size is computed from the symbols there, so stages of static shapes take no dims at all.
 */
#include "codegen/stage.h"

#include <llvm-c/Analysis.h>

#include <ctype.h>
#include <string.h>

enum { ALIGN = 64 };
static const uint64_t max_scratch = UINT64_C(1) << 32;

static const char *symbol_name(onnxc_arena *arena, const char *prefix, const char *stage, uint32_t number) {
  char *name =
      onnxc_arena_printf(arena, "%s_%u_%s", prefix && prefix[0] ? prefix : "onnxc", number, stage ? stage : "");
  for (char *c = name; *c; c++)
    if (!isalnum((unsigned char)*c) && *c != '_')
      *c = '_';
  return name;
}

static void add_attribute(LLVMContextRef context, LLVMValueRef function, LLVMAttributeIndex at, const char *name) {
  unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
  LLVMAddAttributeAtIndex(function, at, LLVMCreateEnumAttribute(context, kind, 0));
}

static LLVMValueRef load_field(onnxc_gen *gen, LLVMValueRef base, uint64_t offset, LLVMTypeRef type) {
  LLVMValueRef at = offset ? onnxc_gen_address(gen, base, onnxc_gen_const(gen, (int64_t)offset)) : base;
  LLVMValueRef load = LLVMBuildLoad2(gen->nano.builder, type, at, "");
  LLVMSetAlignment(load, 8);
  return load;
}

/* Places the windows of a stage in its scratch memory. */
static onnxc_status place_scratch(onnxc_gen *gen, const onnxc_lists *lists, LLVMValueRef scratch, uint64_t *size) {
  uint64_t at = 0;
  for (uint32_t i = 0; i < lists->local.length; i++) {
    uint32_t number = lists->local.data[i];
    const onnxc_buffer *buffer = &gen->program->buffers.data[number];
    onnxc_dim extents[ONNXC_LAYOUT_MAX_AXES], strides[ONNXC_LAYOUT_MAX_AXES];
    onnxc_layout layout = onnxc_layout_explicit(&buffer->layout, buffer->rank);
    onnxc_dim count = onnxc_layout_strides(gen->dims, &layout, buffer->rank,
                                           buffer->alias_dims ? buffer->alias_dims : buffer->dims, extents, strides);
    int64_t low, high;
    onnxc_dim_range(gen->dims, count, &low, &high);
    if (high < 0 || (uint64_t)high > max_scratch / onnxc_dtype_bytes(buffer->dtype) || at > max_scratch)
      return onnxc_gen_error(gen, ONNXC_UNSUPPORTED, "a scratch buffer has no bounded size");
    if (scratch)
      gen->bases[number] = at ? onnxc_gen_address(gen, scratch, onnxc_gen_const(gen, (int64_t)at)) : scratch;
    at += ((uint64_t)high * onnxc_dtype_bytes(buffer->dtype) + ALIGN - 1) / ALIGN * ALIGN;
  }
  *size = at;
  return ONNXC_OK;
}

static onnxc_status emit_stage(onnxc_gen *gen, const onnxc_stage *stage, const onnxc_lists *lists,
                               onnxc_stage_code *code) {
  LLVMContextRef context = gen->nano.context;
  LLVMTypeRef params[3] = {gen->ptr, gen->i64, gen->i64};
  LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(context), params, 3, false);
  LLVMValueRef function = LLVMAddFunction(gen->nano.module, code->function, type);
  add_attribute(context, function, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, "nounwind");
  add_attribute(context, function, 1, "noalias");
  add_attribute(context, function, 1, "nonnull");
  gen->where = stage->name;
  onnxc_gen_start(gen, function);
  /* onnxc_stage_context: dims, buffers, scratch. What level 0 hoists must come after these loads. */
  LLVMBuilderRef b = gen->nano.builder;
  LLVMPositionBuilderBefore(b, LLVMGetBasicBlockTerminator(gen->levels[0].hoist));
  LLVMBasicBlockRef body = LLVMGetSuccessor(LLVMGetBasicBlockTerminator(gen->levels[0].hoist), 0);
  LLVMValueRef self = LLVMGetParam(function, 0);
  if (lists->symbols.length > 0) {
    LLVMValueRef dims = load_field(gen, self, 0, gen->ptr);
    for (uint32_t k = 0; k < lists->symbols.length; k++)
      onnxc_gen_bind(gen, lists->symbols.data[k], load_field(gen, dims, 8 * (uint64_t)k, gen->i64));
  }
  if (lists->buffers.length > 0) {
    LLVMValueRef buffers = load_field(gen, self, 8, gen->ptr);
    for (uint32_t k = 0; k < lists->buffers.length; k++)
      gen->bases[lists->buffers.data[k]] = load_field(gen, buffers, 8 * (uint64_t)k, gen->ptr);
  }
  uint64_t size;
  ONNXC_TRY(place_scratch(gen, lists, lists->local.length ? load_field(gen, self, 16, gen->ptr) : NULL, &size));
  LLVMPositionBuilderAtEnd(b, body);
  ONNXC_TRY(onnxc_stage_body(gen, stage, LLVMGetParam(function, 1), LLVMGetParam(function, 2)));
  onnxc_gen_finish(gen);
  for (uint32_t k = 0; k < lists->buffers.length; k++)
    gen->bases[lists->buffers.data[k]] = NULL;
  for (uint32_t k = 0; k < lists->local.length; k++)
    gen->bases[lists->local.data[k]] = NULL;
  return gen->status;
}

static void fill_code(onnxc_gen *gen, const onnxc_lists *lists, onnxc_stage_code *code) {
  code->num_buffers = lists->buffers.length;
  code->buffers = lists->buffers.data;
  code->num_dims = lists->symbols.length;
  code->dims = ONNXC_NEW_ARRAY(gen->arena, onnxc_dim, lists->symbols.length + 1);
  for (uint32_t k = 0; k < lists->symbols.length; k++)
    code->dims[k] = onnxc_dim_sym(gen->dims, lists->symbols.data[k]);
}

static onnxc_gen *new_gen(const onnxc_tile_program *program, onnxc_arena *arena) {
  onnxc_gen *gen = ONNXC_NEW(arena, onnxc_gen);
  gen->arena = arena;
  gen->diag = program->graph->diag;
  gen->program = program;
  gen->graph = program->graph;
  gen->dims = &program->graph->dims;
  gen->exprs = &program->graph->exprs;
  gen->bases = ONNXC_NEW_ARRAY(arena, LLVMValueRef, program->buffers.length + 1);
  return gen;
}

/* ---- parts ---- */

static void begin_part(onnxc_module *module, const char *prefix) {
  onnxc_part *part = &module->parts[module->num_parts++];
  part->context = LLVMContextCreate();
  part->module = LLVMModuleCreateWithNameInContext(prefix && prefix[0] ? prefix : "onnxc", part->context);
  part->builder = LLVMCreateBuilderInContext(part->context);
}

/* The smallest, or a new one. */
static uint32_t choose_part(onnxc_module *module, const char *prefix, uint64_t part_size) {
  uint32_t smallest = 0;
  for (uint32_t k = 1; k < module->num_parts; k++)
    if (module->parts[k].size < module->parts[smallest].size)
      smallest = k;
  if (module->parts[smallest].size < part_size || module->num_parts == ONNXC_MAX_PARTS)
    return smallest;
  begin_part(module, prefix);
  return module->num_parts - 1;
}

/* What is emitted next goes there. Between stages a gen holds no values of LLVM's but these. */
static void enter_part(onnxc_gen *gen, const onnxc_part *part) {
  LLVMContextRef context = part->context;
  gen->nano = (onnxc_nano){
      .context = context, .module = part->module, .builder = part->builder, .target = gen->program->target};
  gen->i1 = LLVMInt1TypeInContext(context);
  gen->i8 = LLVMInt8TypeInContext(context);
  gen->i32 = LLVMInt32TypeInContext(context);
  gen->i64 = LLVMInt64TypeInContext(context);
  gen->ptr = LLVMPointerTypeInContext(context, 0);
  gen->zeros = LLVMGetNamedGlobal(part->module, "onnxc_zeros");
  if (gen->zeros)
    return;
  LLVMTypeRef zeros = LLVMArrayType2(gen->i8, ONNXC_GEN_ZEROS);
  gen->zeros = LLVMAddGlobal(part->module, zeros, "onnxc_zeros");
  LLVMSetInitializer(gen->zeros, LLVMConstNull(zeros));
  LLVMSetLinkage(gen->zeros, LLVMInternalLinkage);
  LLVMSetGlobalConstant(gen->zeros, true);
  LLVMSetAlignment(gen->zeros, ALIGN);
}

static uint64_t count_instructions(LLVMValueRef function) {
  uint64_t count = 0;
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(function); b; b = LLVMGetNextBasicBlock(b))
    for (LLVMValueRef i = LLVMGetFirstInstruction(b); i; i = LLVMGetNextInstruction(i))
      count++;
  return count;
}

static onnxc_status finish_part(onnxc_diag *diag, onnxc_part *part) {
  LLVMDisposeBuilder(part->builder);
  part->builder = NULL;
  char *message = NULL;
  onnxc_status status = ONNXC_OK;
  if (LLVMVerifyModule(part->module, LLVMReturnStatusAction, &message))
    status = onnxc_error(diag, ONNXC_INTERNAL, "the generated module is not valid: %s", message);
  LLVMDisposeMessage(message);
  return status;
}

onnxc_status onnxc_codegen(onnxc_module *result, const onnxc_tile_program *program, onnxc_arena *arena,
                           const char *prefix, uint64_t part_size) {
  *result = (onnxc_module){0};
  begin_part(result, prefix);
  result->stages = ONNXC_NEW_ARRAY(arena, onnxc_stage_code, program->stages.length + 1);
  onnxc_gen *gen = new_gen(program, arena);
  onnxc_stage_key *keys = ONNXC_NEW_ARRAY(arena, onnxc_stage_key, program->stages.length + 1);
  for (uint32_t s = 0; s < program->stages.length; s++) {
    const onnxc_stage *stage = &program->stages.data[s];
    onnxc_stage_code *code = &result->stages[s];
    onnxc_lists lists;
    onnxc_stage_lists(&lists, program, stage, arena);
    fill_code(gen, &lists, code);
    gen->where = stage->name;
    ONNXC_TRY(place_scratch(gen, &lists, NULL, &code->scratch_size));
    if (stage->same_as) {
      const onnxc_stage_code *same = &result->stages[stage->same_as - 1];
      if (stage->same_as > s || same->num_buffers != code->num_buffers || same->num_dims != code->num_dims)
        return onnxc_gen_error(gen, ONNXC_INTERNAL, "a stage differs from the one whose code it uses");
      code->function = same->function;
      code->part = same->part;
      continue;
    }
    keys[s] = onnxc_stage_key_of(program, stage, &lists, arena);
    uint32_t twin = 0;
    while (twin < s && !onnxc_stage_key_equal(&keys[twin], &keys[s]))
      twin++;
    if (twin < s) {
      code->function = result->stages[twin].function;
      code->part = result->stages[twin].part;
      continue;
    }
    code->function = symbol_name(arena, prefix, stage->name, s);
    code->part = choose_part(result, prefix, part_size);
    enter_part(gen, &result->parts[code->part]);
    ONNXC_TRY(emit_stage(gen, stage, &lists, code));
    result->parts[code->part].size += count_instructions(gen->function);
  }
  for (uint32_t k = 0; k < result->num_parts; k++)
    ONNXC_TRY(finish_part(gen->diag, &result->parts[k]));
  return ONNXC_OK;
}
void onnxc_module_free(onnxc_module *module) {
  for (uint32_t k = 0; k < module->num_parts; k++) {
    onnxc_part *part = &module->parts[k];
    if (part->builder)
      LLVMDisposeBuilder(part->builder);
    LLVMDisposeModule(part->module);
    LLVMContextDispose(part->context);
  }
  module->num_parts = 0;
}
