/* optimize.c -- the IR passes before code generation.
 *
 * The composer writes loops in their final form: blocks, unrolling and vectors are decided. So these passes only
 * inline what is marked, fold addresses and drop what is dead; unrolling and vectorising again would undo
 * the register tiles (LLVM's unroller turned a clean tile into one with spills). Instcombine runs once over each
 * function; that it may not be done then is no error, though by default LLVM ends the process over it. */
#include "emit/machine.h"

#include <llvm-c/Error.h>
#include <llvm-c/Transforms/PassBuilder.h>

static const char pipeline[] = "always-inline,"
                               "function(sroa,early-cse,instcombine<no-verify-fixpoint>,simplifycfg,"
                               "loop-mssa(loop-rotate,licm),early-cse,instcombine<no-verify-fixpoint>,simplifycfg),"
                               "globaldce";

onnxc_status onnxc_module_run(onnxc_diag *diag, LLVMModuleRef module, LLVMTargetMachineRef machine,
                              const char *passes) {
  LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
  LLVMPassBuilderOptionsSetLoopUnrolling(options, 0);
  LLVMPassBuilderOptionsSetLoopVectorization(options, 0);
  LLVMPassBuilderOptionsSetSLPVectorization(options, 0);
  LLVMErrorRef error = LLVMRunPasses(module, passes, machine, options);
  LLVMDisposePassBuilderOptions(options);
  if (!error)
    return ONNXC_OK;
  char *message = LLVMGetErrorMessage(error);
  onnxc_status status = onnxc_error(diag, ONNXC_INTERNAL, "LLVM's passes failed: %s", message);
  LLVMDisposeErrorMessage(message);
  return status;
}

onnxc_status onnxc_module_optimize(onnxc_diag *diag, LLVMModuleRef module, LLVMTargetMachineRef machine) {
  return onnxc_module_run(diag, module, machine, pipeline);
}
