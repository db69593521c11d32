/* gen.c -- functions, levels, loops: the frame that code is emitted into. See gen.h. */
#include "nano/gen.h"

#include <string.h>

onnxc_status onnxc_gen_error(onnxc_gen *gen, onnxc_status status, const char *what) {
  if (gen->status == ONNXC_OK)
    gen->status = onnxc_error(gen->diag, status, "stage '%s': %s", gen->where ? gen->where : "?", what);
  return gen->status;
}

LLVMBasicBlockRef onnxc_gen_block(onnxc_gen *gen, const char *name) {
  return LLVMAppendBasicBlockInContext(gen->nano.context, gen->function, name);
}

void onnxc_gen_push(onnxc_gen *gen, LLVMBasicBlockRef hoist) {
  LLVMBasicBlockRef body = onnxc_gen_block(gen, "body");
  LLVMPositionBuilderAtEnd(gen->nano.builder, hoist);
  LLVMBuildBr(gen->nano.builder, body);
  LLVMPositionBuilderAtEnd(gen->nano.builder, body);
  if (gen->num_levels == ONNXC_GEN_MAX_LEVELS) {
    /* Code of too deep levels is never used: the error ends the compilation. */
    onnxc_gen_error(gen, ONNXC_UNSUPPORTED, "loops nested too deeply");
    gen->num_levels--;
  }
  onnxc_gen_level *level = &gen->levels[gen->num_levels++];
  level->hoist = hoist;
  level->dims.length = 0;
  level->symbols.length = 0;
}

void onnxc_gen_pop(onnxc_gen *gen) {
  if (gen->num_levels == 0)
    return;
  onnxc_gen_level *level = &gen->levels[--gen->num_levels];
  for (uint32_t i = 0; i < level->dims.length; i++)
    gen->values.data[level->dims.data[i]] = NULL;
  for (uint32_t i = 0; i < level->symbols.length; i++)
    gen->symbols.data[level->symbols.data[i]].value = NULL;
}

void onnxc_gen_start(onnxc_gen *gen, LLVMValueRef function) {
  gen->function = function;
  gen->num_levels = 0;
  LLVMBasicBlockRef entry = onnxc_gen_block(gen, "entry");
  onnxc_gen_push(gen, entry);
}

void onnxc_gen_finish(onnxc_gen *gen) {
  LLVMBuildRetVoid(gen->nano.builder);
  while (gen->num_levels > 0)
    onnxc_gen_pop(gen);
}

void onnxc_gen_bind(onnxc_gen *gen, onnxc_sym sym, LLVMValueRef value) {
  while (gen->symbols.length <= sym.i)
    ONNXC_PUSH(gen->arena, gen->symbols, (onnxc_gen_symbol_value){0});
  gen->symbols.data[sym.i] = (onnxc_gen_symbol_value){value, gen->num_levels - 1};
  ONNXC_PUSH(gen->arena, gen->levels[gen->num_levels - 1].symbols, sym.i);
}

/* Symbols are taken again for the same range: the pool of dims then grows with the kinds of loops, not their number. */
onnxc_sym onnxc_gen_symbol(onnxc_gen *gen, int64_t low, int64_t high) {
  for (uint32_t i = 0; i < gen->pool.length; i++)
    if (!gen->pool.data[i].busy && gen->pool.data[i].low == low && gen->pool.data[i].high == high) {
      gen->pool.data[i].busy = true;
      return gen->pool.data[i].sym;
    }
  onnxc_sym sym = onnxc_sym_new(gen->dims, NULL, ONNXC_SYM_LOOP, 0, 0);
  onnxc_symbol *symbol = onnxc_dims_symbol(gen->dims, sym);
  symbol->low = low;
  symbol->high = high;
  symbol->hint = low;
  ONNXC_PUSH(gen->arena, gen->pool, ((onnxc_gen_counter){sym, low, high, true}));
  return sym;
}

void onnxc_gen_release(onnxc_gen *gen, onnxc_sym sym) {
  for (uint32_t i = 0; i < gen->pool.length; i++)
    if (gen->pool.data[i].sym.i == sym.i)
      gen->pool.data[i].busy = false;
}

void onnxc_loop_begin(onnxc_gen *gen, onnxc_loop *loop, onnxc_sym sym, onnxc_dim trips, uint32_t num_carried,
                      LLVMValueRef *carried) {
  LLVMBuilderRef b = gen->nano.builder;
  int64_t low, high;
  onnxc_dim_range(gen->dims, trips, &low, &high);
  *loop = (onnxc_loop){.num_carried = num_carried, .guarded = low < 1};
  loop->trips = onnxc_gen_dim(gen, trips);
  loop->guard = LLVMGetInsertBlock(b);
  loop->header = onnxc_gen_block(gen, "loop");
  loop->exit = onnxc_gen_block(gen, "exit");
  if (loop->guarded)
    LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSGT, loop->trips, onnxc_gen_const(gen, 0), "enter"), loop->header,
                    loop->exit);
  else
    LLVMBuildBr(b, loop->header);
  LLVMPositionBuilderAtEnd(b, loop->header);
  loop->iv = LLVMBuildPhi(b, gen->i64, "iv");
  LLVMValueRef zero = onnxc_gen_const(gen, 0);
  LLVMAddIncoming(loop->iv, &zero, &loop->guard, 1);
  loop->phis = ONNXC_NEW_ARRAY(gen->arena, LLVMValueRef, num_carried + 1);
  loop->initial = ONNXC_NEW_ARRAY(gen->arena, LLVMValueRef, num_carried + 1);
  for (uint32_t i = 0; i < num_carried; i++) {
    loop->initial[i] = carried[i];
    loop->phis[i] = LLVMBuildPhi(b, LLVMTypeOf(carried[i]), "acc");
    LLVMAddIncoming(loop->phis[i], &carried[i], &loop->guard, 1);
    carried[i] = loop->phis[i];
  }
  onnxc_gen_push(gen, loop->header);
  onnxc_gen_bind(gen, sym, loop->iv);
}

void onnxc_loop_end(onnxc_gen *gen, onnxc_loop *loop, LLVMValueRef *carried) {
  LLVMBuilderRef b = gen->nano.builder;
  LLVMBasicBlockRef latch = LLVMGetInsertBlock(b);
  LLVMValueRef next = LLVMBuildNUWAdd(b, loop->iv, onnxc_gen_const(gen, 1), "next");
  LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, next, loop->trips, "again"), loop->header, loop->exit);
  LLVMAddIncoming(loop->iv, &next, &latch, 1);
  for (uint32_t i = 0; i < loop->num_carried; i++)
    LLVMAddIncoming(loop->phis[i], &carried[i], &latch, 1);
  onnxc_gen_pop(gen);
  LLVMPositionBuilderAtEnd(b, loop->exit);
  if (!loop->guarded)
    return;
  for (uint32_t i = 0; i < loop->num_carried; i++) {
    LLVMValueRef phi = LLVMBuildPhi(b, LLVMTypeOf(carried[i]), "acc");
    LLVMAddIncoming(phi, &loop->initial[i], &loop->guard, 1);
    LLVMAddIncoming(phi, &carried[i], &latch, 1);
    carried[i] = phi;
  }
}

LLVMValueRef onnxc_gen_intrinsic(const onnxc_gen *gen, const char *name, uint32_t num_types, LLVMTypeRef *types,
                                 uint32_t num_args, LLVMValueRef *args) {
  unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
  LLVMValueRef function = LLVMGetIntrinsicDeclaration(gen->nano.module, id, types, num_types);
  LLVMTypeRef type = LLVMIntrinsicGetType(gen->nano.context, id, types, num_types);
  return LLVMBuildCall2(gen->nano.builder, type, function, args, num_args, "");
}

LLVMValueRef onnxc_gen_address(const onnxc_gen *gen, LLVMValueRef base, LLVMValueRef bytes) {
  return LLVMBuildGEP2(gen->nano.builder, gen->i8, base, &bytes, 1, "");
}
