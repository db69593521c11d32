/* activation.h -- the functions that recurrent operators name in their attribute `activations`. */
#ifndef ONNXC_FRONTEND_ACTIVATION_H
#define ONNXC_FRONTEND_ACTIVATION_H

#include "ops/build.h"

typedef struct onnxc_activation {
  onnxc_build_scalar_fn scalar;
  double alpha, beta; /* the defaults, as found */
  bool takes_alpha, takes_beta;
} onnxc_activation;

/* By name, upper or lower case; false if there is none of that name. */
bool onnxc_activation_find(const char *name, onnxc_activation *activation);
onnxc_expr onnxc_activation_of(const onnxc_activation *activation, onnxc_exprs *pool, onnxc_expr x);

#endif
