/* bitcode.S -- the run-time as LLVM bitcode, inside the library (cmake/library.cmake makes the files). */
#define BITCODE(name, file)                                                                                            \
  .global onnxc_bitcode_##name;                                                                                        \
  .hidden onnxc_bitcode_##name;                                                                                        \
  .balign 16;                                                                                                          \
  onnxc_bitcode_##name : .incbin file;                                                                                 \
  .byte 0;                                                                                                             \
  .global onnxc_bitcode_##name##_end;                                                                                  \
  .hidden onnxc_bitcode_##name##_end;                                                                                  \
  onnxc_bitcode_##name##_end:

.section .rodata
BITCODE(message, ONNXC_BITCODE_MESSAGE)
BITCODE(plan, ONNXC_BITCODE_PLAN)
BITCODE(run, ONNXC_BITCODE_RUN)
BITCODE(cpu, ONNXC_BITCODE_CPU)
BITCODE(omp, ONNXC_BITCODE_OMP)
BITCODE(entry, ONNXC_BITCODE_ENTRY)
BITCODE(main, ONNXC_BITCODE_MAIN)
/* The public headers that generated headers repeat. */
BITCODE(status_h, ONNXC_STATUS_H)
BITCODE(runtime_h, ONNXC_RUNTIME_H)
.section .note.GNU-stack, "", @progbits
