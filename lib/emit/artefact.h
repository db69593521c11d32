/* artefact.h -- between the files that make objects and artefacts. */
#ifndef ONNXC_EMIT_ARTEFACT_H
#define ONNXC_EMIT_ARTEFACT_H

#include "emit/machine.h"

#include <stdio.h>

/* ---- link_runtime.c: the run-time's bitcode and the descriptor, into the module's part 0 ---- */

/* After this the part defines NAME_open, .. (with `main` an executable's main) and nothing else that is visible. It
 * expects the symbol PREFIX_weights unless the weights are in a file, and the functions of other parts. */
onnxc_status onnxc_link_runtime(onnxc_diag *diag, onnxc_arena *arena, onnxc_module *module,
                                const onnxc_rt_program *program, const onnxc_weights *weights, uint64_t weights_hash,
                                const char *prefix, const onnxc_emit_options *options, LLVMTargetMachineRef machine);

/* ---- constants.c ---- */

/* The descriptor as a private constant of part 0, whose data layout is set; the stages' functions become internal
 * there, hidden symbols in other parts, named `prefix` and then their names. weights and team: addresses, or NULL. */
onnxc_status onnxc_emit_descriptor(onnxc_diag *diag, onnxc_arena *arena, onnxc_module *module,
                                   const onnxc_rt_program *program, const char *prefix, LLVMValueRef weights,
                                   LLVMValueRef team, LLVMValueRef *result);
/* As a private constant of part 0, too. */
LLVMValueRef onnxc_emit_facts(onnxc_arena *arena, onnxc_module *module, const onnxc_facts *facts, size_t num_stages);

/* ---- files.c ---- */

/* Creates, or truncates, and writes all; a message names the path when that fails. */
onnxc_status onnxc_write_file(onnxc_diag *diag, const char *path, const void *data, size_t size);
/* A file of weights as NAME_open maps it (rt/artefact/entry.h). */
onnxc_status onnxc_write_weights_file(onnxc_diag *diag, const char *path, const onnxc_weights *weights, uint64_t hash);
uint64_t onnxc_weights_hash(const onnxc_weights *weights);
bool onnxc_write_weights(FILE *file, const onnxc_weights *weights); /* pieces with the gaps between them */
/* Runs a program found in PATH; its output goes to the file `log`. Returns its exit status, or -1 when it did not
 * start. */
int onnxc_run_program_at(const char *const *arguments, const char *log);

/* ---- elf.c ---- */

/* An x86-64 ELF object with one read-only section, whose start is the hidden symbol `symbol`. */
onnxc_status onnxc_write_weights_object(onnxc_diag *diag, const char *path, const char *symbol,
                                        const onnxc_weights *weights);

/* ---- header.c ---- */

/* The C header of a library, self-contained, as text. */
const char *onnxc_header_text(onnxc_arena *arena, const onnxc_rt_program *program, const char *prefix,
                              const onnxc_emit_options *options);

#endif
