/* test_ops2.c -- ONNX's node tests of the operators in ops_conv, ops_pool, ops_shape, ops_movement, ops_pad, ops_gather
 * and ops_resize, as they are and with every dim of their float inputs symbolic.
 */
#include "node_case.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const ops[] = {"AveragePool",
                                  "Concat",
                                  "Constant",
                                  "ConstantOfShape",
                                  "Conv",
                                  "ConvTranspose",
                                  "DepthToSpace",
                                  "Dropout",
                                  "Expand",
                                  "EyeLike",
                                  "Flatten",
                                  "Gather",
                                  "GatherElements",
                                  "GatherND",
                                  "GlobalAveragePool",
                                  "GlobalLpPool",
                                  "GlobalMaxPool",
                                  "Identity",
                                  "LpPool",
                                  "MaxPool",
                                  "OneHot",
                                  "Pad",
                                  "Range",
                                  "Reshape",
                                  "Resize",
                                  "ReverseSequence",
                                  "Shape",
                                  "Size",
                                  "Slice",
                                  "SpaceToDepth",
                                  "Split",
                                  "Squeeze",
                                  "Tile",
                                  "Transpose",
                                  "Trilu",
                                  "Unsqueeze",
                                  "Upsample",
                                  NULL};

static void run(bool symbolic) {
  const char *root = getenv("ONNXC_ONNX_TESTS");
  if (!root) {
    fprintf(stderr, "skipped: ONNX's node tests (ONNXC_ONNX_TESTS is not set)\n");
    return;
  }
  static const char *const folders[] = {"node", "simple", "pytorch-converted", "pytorch-operator"};
  for (size_t k = 0; k < sizeof folders / sizeof *folders; k++) {
    node_counts counts = node_cases_run(root, folders[k], ops, symbolic, NULL);
    fprintf(stderr, "%s%s: %d pass, %d fail, %d unsupported\n", folders[k], symbolic ? " (symbolic)" : "", counts.pass,
            counts.fail, counts.unsupported);
    cr_expect(counts.fail == 0, "%d cases of %s fail", counts.fail, folders[k]);
  }
}

Test(ops2, node_tests, .timeout = 600) { run(false); }
Test(ops2, node_tests_symbolic, .timeout = 600) { run(true); }
