/* peak.h -- what this machine can do right now: multiply-adds and reading memory. */
#ifndef ONNXC_CLI_PEAK_H
#define ONNXC_CLI_PEAK_H

#include <stddef.h>

/* f32 FLOP/s of `threads` threads in a burst of about `seconds`; 0 when there is no loop for this CPU. */
double cli_peak_flops(int threads, double seconds);
/* Bytes a second at which `threads` threads, each its part, read `size` bytes again and again, for about `seconds` but
 * at least once; `memory` is aligned to 64 bytes. */
double cli_peak_bandwidth(int threads, double seconds, const void *memory, size_t size);

#endif
