/* machine.h -- LLVM target machines for our targets; what jit.c, object.c and artefacts share.
 *
 * Which CPU code is made for stands in the functions' attributes, set here for all of a module at once, so that
 * functions of the run-time (from bitcode) and stages agree and may be inlined into each other.
 */
#ifndef ONNXC_EMIT_MACHINE_H
#define ONNXC_EMIT_MACHINE_H

#include "emit/emit.h"

#include <llvm-c/TargetMachine.h>

/* The features that code for this CPU may use (1 << ONNXC_RT_CPU_...). For the host's own row those that the host
 * lacks (a virtual machine may hide some) are left out, and the code does without them. */
uint64_t onnxc_target_needs(const onnxc_target *target);
/* "x86_64 znver5 avx512f,..." */
const char *onnxc_target_text(const onnxc_target *target, onnxc_arena *arena);

/* LLVM's part for our CPUs, once a process; before anything else of LLVM that knows of CPUs. */
void onnxc_llvm_initialise(void);
/* NULL after an error. triple NULL = this machine. Dispose with LLVMDisposeTargetMachine. */
LLVMTargetMachineRef onnxc_machine_new(onnxc_diag *diag, const onnxc_target *target, const char *triple);
/* Sets triple, data layout, and the CPU attributes of every function. */
void onnxc_module_set_target(LLVMModuleRef module, LLVMTargetMachineRef machine, const onnxc_target *target);
/* A light pipeline: the composer has made the loops as they shall be. optimize.c */
onnxc_status onnxc_module_optimize(onnxc_diag *diag, LLVMModuleRef module, LLVMTargetMachineRef machine);
/* Passes by their names in LLVM. optimize.c */
onnxc_status onnxc_module_run(onnxc_diag *diag, LLVMModuleRef module, LLVMTargetMachineRef machine, const char *passes);
/* For ThreadSanitizer, after optimising. instrument.c */
onnxc_status onnxc_module_instrument(onnxc_diag *diag, LLVMModuleRef module, LLVMTargetMachineRef machine);

/* "message" of LLVM recorded as an internal error; consumes the message. */
onnxc_status onnxc_llvm_failed(onnxc_diag *diag, const char *what, char *message);

#endif
