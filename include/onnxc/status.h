/* status.h -- status codes of the library, of compiled models and of the command. */
#ifndef ONNXC_STATUS_H
#define ONNXC_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

/* The values are the exit statuses of the `onnxc` command, so they are stable. */
typedef enum onnxc_status {
  ONNXC_OK = 0,
  ONNXC_MISMATCH = 1,    /* a comparison failed (verify) */
  ONNXC_USAGE = 2,       /* wrong arguments */
  ONNXC_BAD_INPUT = 3,   /* a file or a tensor that is not what it must be */
  ONNXC_UNSUPPORTED = 4, /* valid, but not supported yet */
  ONNXC_INTERNAL = 5,    /* a bug of ours, or of LLVM */
  ONNXC_OUT_OF_MEMORY = 6
} onnxc_status;

/* A short lower-case name, for example "bad input". Never NULL. (A function of the library, not of compiled models.) */
#if defined(__GNUC__)
__attribute__((visibility("default")))
#endif
const char *
onnxc_status_name(onnxc_status status);

#ifdef __cplusplus
}
#endif

#endif
