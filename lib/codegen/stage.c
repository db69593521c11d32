/* stage.c -- the statements of one stage: the task loop, sequential loops, guards; computes go to the composer. */
#include "codegen/stage.h"
#include "nano/compose.h"

static onnxc_status emit_block(onnxc_gen *gen, const onnxc_block *block);

/* max(0, ceildiv(hi - lo, step)) */
static onnxc_dim trip_count(onnxc_gen *gen, const onnxc_stmt *loop) {
  onnxc_dim step = loop->step.i ? loop->step : onnxc_dim_const(gen->dims, 1);
  onnxc_dim span = onnxc_dim_sub(gen->dims, loop->hi, loop->lo);
  return onnxc_dim_max(gen->dims, onnxc_dim_const(gen->dims, 0), onnxc_dim_ceildiv(gen->dims, span, step));
}

static onnxc_status emit_for(onnxc_gen *gen, const onnxc_stmt *stmt) {
  onnxc_dim trips = trip_count(gen, stmt), step = stmt->step.i ? stmt->step : onnxc_dim_const(gen->dims, 1);
  int64_t low, high;
  onnxc_dim_range(gen->dims, trips, &low, &high);
  if (high <= 0)
    return ONNXC_OK;
  onnxc_sym counter = onnxc_gen_symbol(gen, 0, high - 1);
  onnxc_dim value =
      onnxc_dim_add(gen->dims, stmt->lo, onnxc_dim_mul(gen->dims, onnxc_dim_sym(gen->dims, counter), step));
  onnxc_loop loop;
  onnxc_loop_begin(gen, &loop, counter, trips, 0, NULL);
  onnxc_gen_bind(gen, stmt->iv, onnxc_gen_dim(gen, value));
  ONNXC_TRY(emit_block(gen, &stmt->body));
  onnxc_loop_end(gen, &loop, NULL);
  onnxc_gen_release(gen, counter);
  return gen->status;
}

static onnxc_status emit_arm(onnxc_gen *gen, LLVMBasicBlockRef arm, LLVMBasicBlockRef join, const onnxc_block *block) {
  LLVMPositionBuilderAtEnd(gen->nano.builder, arm);
  onnxc_gen_push(gen, arm);
  ONNXC_TRY(emit_block(gen, block));
  LLVMBuildBr(gen->nano.builder, join);
  onnxc_gen_pop(gen);
  return ONNXC_OK;
}

static onnxc_status emit_if(onnxc_gen *gen, const onnxc_stmt *stmt) {
  int64_t constant;
  if (onnxc_dim_is_const(gen->dims, stmt->condition, &constant))
    return emit_block(gen, constant ? &stmt->body : &stmt->otherwise);
  LLVMValueRef condition =
      LLVMBuildICmp(gen->nano.builder, LLVMIntNE, onnxc_gen_dim(gen, stmt->condition), onnxc_gen_const(gen, 0), "");
  LLVMBasicBlockRef yes = onnxc_gen_block(gen, "then"), no = onnxc_gen_block(gen, "else"),
                    join = onnxc_gen_block(gen, "join");
  LLVMBuildCondBr(gen->nano.builder, condition, yes, no);
  ONNXC_TRY(emit_arm(gen, yes, join, &stmt->body));
  ONNXC_TRY(emit_arm(gen, no, join, &stmt->otherwise));
  LLVMPositionBuilderAtEnd(gen->nano.builder, join);
  return gen->status;
}

static onnxc_status emit_block(onnxc_gen *gen, const onnxc_block *block) {
  for (uint32_t i = 0; i < block->length && gen->status == ONNXC_OK; i++) {
    const onnxc_stmt *stmt = block->data[i];
    switch (stmt->kind) {
    case ONNXC_STMT_FOR: ONNXC_TRY(emit_for(gen, stmt)); break;
    case ONNXC_STMT_IF: ONNXC_TRY(emit_if(gen, stmt)); break;
    case ONNXC_STMT_COMPUTE: ONNXC_TRY(onnxc_compose(gen, stmt)); break;
    case ONNXC_STMT_COPY: ONNXC_TRY(onnxc_stage_copy(gen, stmt)); break;
    case ONNXC_STMT_FILL: ONNXC_TRY(onnxc_stage_fill(gen, stmt)); break;
    }
  }
  return gen->status;
}

/* The grid: the parallel loops, outermost first. */
enum { MAX_GRID = 16 };

/* The value of each parallel loop's induction variable for a task; the last loop runs fastest. */
static void delinearise(onnxc_gen *gen, const onnxc_stmt **grid, uint32_t count, LLVMValueRef task,
                        LLVMValueRef *values) {
  LLVMBuilderRef b = gen->nano.builder;
  for (uint32_t k = count; k-- > 0;) {
    LLVMValueRef at = task;
    if (k > 0) {
      LLVMValueRef trips = onnxc_gen_dim(gen, trip_count(gen, grid[k]));
      at = LLVMBuildURem(b, task, trips, "");
      task = LLVMBuildUDiv(b, task, trips, "");
    }
    LLVMValueRef step = grid[k]->step.i ? onnxc_gen_dim(gen, grid[k]->step) : onnxc_gen_const(gen, 1);
    values[k] = LLVMBuildAdd(b, onnxc_gen_dim(gen, grid[k]->lo), LLVMBuildMul(b, at, step, ""), "");
  }
}

onnxc_status onnxc_stage_body(onnxc_gen *gen, const onnxc_stage *stage, LLVMValueRef first, LLVMValueRef last) {
  LLVMBuilderRef b = gen->nano.builder;
  const onnxc_stmt *grid[MAX_GRID];
  const onnxc_block *body = &stage->body;
  uint32_t count = 0;
  while (body->length == 1 && body->data[0]->kind == ONNXC_STMT_FOR && body->data[0]->parallel && count < MAX_GRID) {
    grid[count++] = body->data[0];
    body = &body->data[0]->body;
  }
  LLVMBasicBlockRef before = LLVMGetInsertBlock(b), header = onnxc_gen_block(gen, "task"),
                    exit = onnxc_gen_block(gen, "done");
  LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, first, last, ""), header, exit);
  LLVMPositionBuilderAtEnd(b, header);
  LLVMValueRef task = LLVMBuildPhi(b, gen->i64, "task"), values[MAX_GRID];
  LLVMAddIncoming(task, &first, &before, 1);
  delinearise(gen, grid, count, task, values);
  onnxc_gen_push(gen, header);
  for (uint32_t k = 0; k < count; k++)
    onnxc_gen_bind(gen, grid[k]->iv, values[k]);
  ONNXC_TRY(emit_block(gen, body));
  LLVMValueRef next = LLVMBuildNSWAdd(b, task, onnxc_gen_const(gen, 1), "");
  LLVMBasicBlockRef latch = LLVMGetInsertBlock(b);
  LLVMAddIncoming(task, &next, &latch, 1);
  LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, next, last, ""), header, exit);
  onnxc_gen_pop(gen);
  LLVMPositionBuilderAtEnd(b, exit);
  return gen->status;
}
