/* gen.h -- a model being written: what `onnxc gen` puts into it, piece by piece.
 *
 * Everything lies in the arena of the command. Names are unique within a model; whoever adds a piece chooses them.
 */
#ifndef ONNXC_CLI_GEN_H
#define ONNXC_CLI_GEN_H

#include "cli.h"

#include "onnx.pb-c.h"

typedef struct gen_model {
  command *cli;
  onnxc_arena *arena;
  Onnx__GraphProto graph;
  ONNXC_VEC(Onnx__NodeProto *) nodes;
  ONNXC_VEC(Onnx__TensorProto *) initializers;
  ONNXC_VEC(Onnx__ValueInfoProto *) inputs;
  ONNXC_VEC(Onnx__ValueInfoProto *) outputs;
  uint64_t seed; /* of the next random tensor */
} gen_model;

void gen_init(gen_model *model, command *cli, uint64_t seed);
/* Adds an input or output; a dim is a number or the name of one that a run gives. Returns its name. */
char *gen_input(gen_model *model, const char *name, onnxc_dtype dtype, int rank, const char *const *dims);
void gen_output(gen_model *model, const char *name, onnxc_dtype dtype, int rank, const char *const *dims);
/* Adds weights, uniform between -largest and largest (integers are cut off). Returns their name. */
char *gen_weights(gen_model *model, const char *name, onnxc_dtype dtype, int rank, const int64_t *dims, double largest);
char *gen_scalar(gen_model *model, const char *name, onnxc_dtype dtype, double value);
/* Adds a node with one output, and returns the output's name; inputs end with NULL. */
char *gen_node(gen_model *model, const char *op, char *const *inputs, const char *output);
void gen_attribute(gen_model *model, const char *name, int64_t value); /* of the node added last */

/* Both return the exit status, after a message. */
int gen_write(gen_model *model, const char *path, const char *name);
/* test_data_set_0 beside the model that was written: random inputs, and what the reference evaluator computes. */
int gen_write_test_data(gen_model *model, const char *model_path);

#endif
