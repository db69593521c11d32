/* ops_qlinear.c -- operators of com.microsoft on bytes with scales and zero points: the plain operator on the numbers
 * that they stand for, and its result as bytes.
 */
#include "quantize.h"

static onnxc_status finish(onnxc_importer *in, onnxc_value numbers, uint32_t scale) {
  onnxc_dtype fallback = numbers.i ? onnxc_value_of(in->graph, in->inputs[0])->dtype : ONNXC_DTYPE_NONE;
  return onnxc_import_done(in, 0, onnxc_import_quantized(in, numbers, scale, fallback));
}

/* Inputs are a, b and the result's parameters; a and b with scale and zero point each. */
onnxc_status onnxc_import_QLinearAdd(onnxc_importer *in) {
  onnxc_value a = onnxc_import_dequantized(in, 0), b = onnxc_import_dequantized(in, 3);
  return finish(in, onnxc_build_binary(in->graph, in->where, ONNXC_EXPR_ADD, a, b), 6);
}

/* The plain operator as of `opset`. Inputs are x, its scale and zero point, and those of the result. */
static onnxc_status import_plain(onnxc_importer *in, const char *op_type, int64_t opset) {
  onnxc_value x = onnxc_import_dequantized(in, 0), result = {0};
  onnxc_importer inner = *in;
  inner.opset = opset;
  inner.num_inputs = 1;
  inner.inputs = &x;
  inner.result = &result;
  onnxc_status status = x.i ? onnxc_import_find("", op_type)->import(&inner) : in->graph->diag->status;
  return status == ONNXC_OK ? finish(in, result, 3) : status;
}

onnxc_status onnxc_import_QLinearAveragePool(onnxc_importer *in) {
  if (onnxc_import_int(in, "channels_last", 0))
    return onnxc_import_error(in, ONNXC_UNSUPPORTED, "channels_last");
  return import_plain(in, "AveragePool", 19);
}

onnxc_status onnxc_import_QLinearSoftmax(onnxc_importer *in) {
  return import_plain(in, "Softmax", onnxc_import_int(in, "opset", 13));
}
