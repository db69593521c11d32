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

Test(ops2, node_tests, .timeout = 600) { node_cases_check(ops, false); }
Test(ops2, node_tests_symbolic, .timeout = 600) { node_cases_check(ops, true); }
