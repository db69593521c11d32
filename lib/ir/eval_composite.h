/* eval_composite.h -- inside the evaluator: the nodes that are no compute. Each returns false when its
 * arguments do not fit together; out has its dims and memory already. */
#ifndef ONNXC_IR_EVAL_COMPOSITE_H
#define ONNXC_IR_EVAL_COMPOSITE_H

#include "ir/eval.h"

bool onnxc_eval_softmax(const onnxc_array *x, int64_t axis, int64_t span, bool log_of, const onnxc_array *out);
/* scale and bias may be NULL. */
bool onnxc_eval_normalize(const onnxc_array *x, const onnxc_array *scale, const onnxc_array *bias, int64_t axis,
                          int64_t span, double epsilon, const onnxc_array *out);
bool onnxc_eval_concat(const onnxc_array *const *inputs, uint32_t num, int64_t axis, const onnxc_array *out);

#endif
