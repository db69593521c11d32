/* verify.h -- the parts of `onnxc verify`. */
#ifndef ONNXC_CLI_VERIFY_H
#define ONNXC_CLI_VERIFY_H

#include "cli.h"

/* A model with expected outputs. */
typedef struct verify_case {
  const char *model;       /* path */
  const char *name;        /* of its folder, or the file's stem */
  const char *const *sets; /* folders with input_K.pb and output_K.pb */
  uint32_t num_sets;
  const char *single_output; /* STEM_output_0.pb beside the model: input is the ramp of ONNX's own test runner */
} verify_case;

typedef struct verify_cases {
  command *cli;
  ONNXC_VEC(verify_case) items;
} verify_cases;

/* Adds the case of a model file, or all cases in a folder and below, sorted by path. */
int cli_find_cases(verify_cases *cases, const char *path);

typedef enum verify_outcome {
  VERIFY_LOST, /* nothing was recorded: it crashed, or ran out of time */
  VERIFY_PASSED,
  VERIFY_FAILED,
  VERIFY_UNSUPPORTED,
  VERIFY_NO_CODE, /* right, but everything was folded: nothing was compiled */
  VERIFY_OUTCOMES
} verify_outcome;

/* Of plain data: it is written by another process. */
typedef struct verify_result {
  int outcome;
  int sets, groups, folded, nodes;
  int64_t opset;
  double max_ulp, max_abs, seconds;
  char op[48]; /* operator of a model of one node, else "" */
  char message[400];
} verify_result;

typedef struct verify_options {
  double rtol, atol; /* < 0: by the precision, and atol by the number of nodes */
  bool per_node;
  int threads;
  onnxc_options compile;
} verify_options;

void cli_verify_case(command *cli, const verify_case *item, const verify_options *options, verify_result *result);

/* Finds the first node whose result differs from the reference evaluator's, and says so in message. */
void cli_per_node(command *cli, const char *model, onnxc_tensor *inputs, size_t num_inputs,
                  const verify_options *options, char *message, size_t size);

#endif
