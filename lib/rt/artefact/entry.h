/* entry.h -- what every artefact has beside its stages: the entry points, and the data that they read.
 *
 * Compiled to bitcode when the project is built. The emitter defines the two constants and gives the functions their
 * public names (onnxc_entry_open becomes NAME_open and so on).
 */
#ifndef ONNXC_RT_ARTEFACT_ENTRY_H
#define ONNXC_RT_ARTEFACT_ENTRY_H

#include "rt/program.h"

/* A file of weights: this header, 64 bytes long, then the weights. */
typedef struct onnxc_weights_header {
  char magic[8]; /* ONNXC_WEIGHTS_MAGIC */
  uint64_t size; /* of the weights */
  uint64_t hash; /* tells whether code and weights belong together */
  uint64_t reserved[5];
} onnxc_weights_header;
#define ONNXC_WEIGHTS_MAGIC "ONNXCWT1"

typedef struct onnxc_entry_config {
  uint64_t weights_in_file; /* 0: they are in the artefact */
  uint64_t weights_size, weights_hash;
} onnxc_entry_config;

extern const onnxc_rt_program onnxc_entry_program;
extern const onnxc_entry_config onnxc_entry_settings;

int onnxc_entry_open(const void **model, const char *weights_path, char *message, size_t message_size);
void onnxc_entry_close(const void *model);
const onnxc_model_info *onnxc_entry_describe(void);
int onnxc_entry_plan(const void *model, onnxc_run *run);
int onnxc_entry_run(const void *model, onnxc_run *run);

#endif
