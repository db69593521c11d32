/* test_ops1.c -- ONNX's node tests of the operators in ops_elementwise, ops_activation, ops_reduce, ops_arg,
 * ops_matmul and ops_norm, as they are and with every dim of their float inputs symbolic.
 */
#include "node_case.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const ops[] = {"Abs",
                                  "Acosh",
                                  "Add",
                                  "And",
                                  "ArgMax",
                                  "ArgMin",
                                  "Asinh",
                                  "Atanh",
                                  "BatchNormalization",
                                  "BitShift",
                                  "BitwiseAnd",
                                  "BitwiseNot",
                                  "BitwiseOr",
                                  "BitwiseXor",
                                  "Cast",
                                  "CastLike",
                                  "Ceil",
                                  "Celu",
                                  "Clip",
                                  "Cos",
                                  "Cosh",
                                  "Div",
                                  "Elu",
                                  "Equal",
                                  "Erf",
                                  "Exp",
                                  "Floor",
                                  "Gelu",
                                  "Gemm",
                                  "Greater",
                                  "GreaterOrEqual",
                                  "GroupNormalization",
                                  "HardSigmoid",
                                  "HardSwish",
                                  "Hardmax",
                                  "InstanceNormalization",
                                  "IsInf",
                                  "IsNaN",
                                  "LRN",
                                  "LayerNormalization",
                                  "LeakyRelu",
                                  "Less",
                                  "LessOrEqual",
                                  "Log",
                                  "LogSoftmax",
                                  "MatMul",
                                  "Max",
                                  "Mean",
                                  "MeanVarianceNormalization",
                                  "Min",
                                  "Mish",
                                  "Mod",
                                  "Mul",
                                  "Neg",
                                  "Not",
                                  "Or",
                                  "PRelu",
                                  "Pow",
                                  "RMSNormalization",
                                  "Reciprocal",
                                  "ReduceL1",
                                  "ReduceL2",
                                  "ReduceLogSum",
                                  "ReduceLogSumExp",
                                  "ReduceMax",
                                  "ReduceMean",
                                  "ReduceMin",
                                  "ReduceProd",
                                  "ReduceSum",
                                  "ReduceSumSquare",
                                  "Relu",
                                  "Round",
                                  "Selu",
                                  "Shrink",
                                  "Sigmoid",
                                  "Sign",
                                  "Sin",
                                  "Sinh",
                                  "Softmax",
                                  "Softplus",
                                  "Softsign",
                                  "Sqrt",
                                  "Sub",
                                  "Sum",
                                  "Swish",
                                  "Tan",
                                  "Tanh",
                                  "ThresholdedRelu",
                                  "Where",
                                  "Xor",
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

Test(ops1, node_tests, .timeout = 600) { run(false); }
Test(ops1, node_tests_symbolic, .timeout = 600) { run(true); }
