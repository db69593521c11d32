/* node_case.h -- the ONNX conformance tests: a directory with model.onnx and test_data_set_*.
 *
 * A case is imported, evaluated on each data set's inputs by the reference evaluator and compared with
 * the outputs. Where the tests lie is said by the environment variable ONNXC_ONNX_TESTS (the folder that holds
 * node/); without it they are skipped.
 */
#ifndef ONNXC_TESTS_NODE_CASE_H
#define ONNXC_TESTS_NODE_CASE_H

#include <stdbool.h>
#include <stddef.h>

typedef enum node_result {
  NODE_PASS,
  NODE_FAIL,        /* wrong result, or an error that is none of the others */
  NODE_UNSUPPORTED, /* the importer says so */
  NODE_OTHER        /* not what was asked for: an operator outside the list, data that are no tensors */
} node_result;

/* Runs one case if the op types of all its nodes are in `ops` (sorted, NULL-terminated; NULL = any). With
 * `symbolic`, each dim of each float input becomes a symbol of its own first. */
node_result node_case_run(const char *directory, const char *const *ops, bool symbolic, char *message, size_t size);

typedef struct node_counts {
  int pass, fail, unsupported;
} node_counts;
/* Runs the cases under `root`/`folder` (sorted) and prints each that is not a pass and not in `known` (names,
 * NULL-terminated). */
node_counts node_cases_run(const char *root, const char *folder, const char *const *ops, bool symbolic,
                           const char *const *known);
/* A Criterion check: no case of these operators fails in any folder of $ONNXC_ONNX_TESTS, and some pass. Says so, and
 * checks nothing, where that is not set. */
void node_cases_check(const char *const *ops, bool symbolic);

#endif
