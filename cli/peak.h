/* peak.h -- what the FMA units of this machine can do right now. */
#ifndef ONNXC_CLI_PEAK_H
#define ONNXC_CLI_PEAK_H

/* f32 FLOP/s of `threads` threads in a burst of about `seconds`; 0 when there is no loop for this CPU. */
double cli_peak_flops(int threads, double seconds);

#endif
