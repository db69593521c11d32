/* eval_scalar.h -- the scalar operations over lanes: what each row of expr.def means.
 *
 * A register of the evaluator holds one expression for up to ONNXC_LANES points
 * in one of three representations: f32 as float, every other float type as
 * double (rounded to the type after each operation), integers and bool as
 * int64 (wrapped to the type after each operation; u64 as its bits).
 */
#ifndef ONNXC_IR_EVAL_SCALAR_H
#define ONNXC_IR_EVAL_SCALAR_H

#include "ir/expr.h"

enum { ONNXC_LANES = 256 };

typedef union onnxc_lanes {
  float f32[ONNXC_LANES];
  double f64[ONNXC_LANES];
  int64_t i64[ONNXC_LANES];
} onnxc_lanes;

typedef enum onnxc_lane_kind {
  ONNXC_LANE_NONE, /* strings and complex numbers: no expression computes with them */
  ONNXC_LANE_F32,
  ONNXC_LANE_F64,
  ONNXC_LANE_INT
} onnxc_lane_kind;

onnxc_lane_kind onnxc_lanes_kind(onnxc_dtype dtype);

/* `dtype` is that of the arguments; out is none of them (a binary's may be, unless op compares). */
void onnxc_lanes_unary(onnxc_expr_op op, onnxc_dtype dtype, onnxc_lanes *out, const onnxc_lanes *a, int n);
void onnxc_lanes_binary(onnxc_expr_op op, onnxc_dtype dtype, onnxc_lanes *out, const onnxc_lanes *a,
                        const onnxc_lanes *b, int n);
/* out != a */
void onnxc_lanes_cast(onnxc_dtype to, onnxc_lanes *out, onnxc_dtype from, const onnxc_lanes *a, int n);
/* out = c ? a : b; c holds bools. */
void onnxc_lanes_select(onnxc_dtype dtype, onnxc_lanes *out, const onnxc_lanes *c, const onnxc_lanes *a,
                        const onnxc_lanes *b, int n);

/* Lanes at.. at+n-1 from memory, `stride` elements apart. */
void onnxc_lanes_load(onnxc_dtype dtype, onnxc_lanes *out, int at, const void *memory, int64_t stride, int n);
/* Lane l from element offsets[l]; skips lanes whose skip[l] is not 0 (their value becomes 0). */
void onnxc_lanes_gather(onnxc_dtype dtype, onnxc_lanes *out, const void *memory, const int64_t *offsets,
                        const uint8_t *skip, int n);
void onnxc_lanes_store(onnxc_dtype dtype, void *memory, const onnxc_lanes *a, int n);

/* Between a register and the accumulators of a reduction, which are double for floats. */
void onnxc_lanes_to_f64(onnxc_dtype dtype, double *out, const onnxc_lanes *a, int n);
void onnxc_lanes_from_f64(onnxc_dtype dtype, onnxc_lanes *out, const double *a, int n); /* rounds */
void onnxc_lanes_wrap(onnxc_dtype dtype, int64_t *values, int n);

#endif
