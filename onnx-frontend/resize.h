/* resize.h -- where a resized tensor's elements come from: the coordinate of an output index on one axis.
 *
 * A scale known as a fraction p/q (every constant scale is one, and so is every pair of sizes) gives the exact
 * coordinate (a*i + b) / c with a, b, c dims, so that indices are integer arithmetic: nearest by a factor s is i
 * floordiv s. A scale that a run brings as a float, and a region of interest, are computed in f32.
 */
#ifndef ONNXC_FRONTEND_RESIZE_H
#define ONNXC_FRONTEND_RESIZE_H

#include "import.h"

typedef enum onnxc_resize_mode { ONNXC_RESIZE_NEAREST, ONNXC_RESIZE_LINEAR, ONNXC_RESIZE_CUBIC } onnxc_resize_mode;

typedef enum onnxc_coordinates {
  ONNXC_HALF_PIXEL,
  ONNXC_HALF_PIXEL_SYMMETRIC,
  ONNXC_PYTORCH_HALF_PIXEL,
  ONNXC_ALIGN_CORNERS,
  ONNXC_ASYMMETRIC,
  ONNXC_TF_CROP_AND_RESIZE,
  ONNXC_TF_HALF_PIXEL_FOR_NN
} onnxc_coordinates;

typedef enum onnxc_rounding {
  ONNXC_ROUND_PREFER_FLOOR,
  ONNXC_ROUND_PREFER_CEIL,
  ONNXC_ROUND_FLOOR,
  ONNXC_ROUND_CEIL,
  ONNXC_ROUND_SIMPLE /* opset 10: floor when growing, ceil when shrinking */
} onnxc_rounding;

typedef struct onnxc_resize_axis {
  bool active; /* false: the index is the output's */
  onnxc_dim in, out;
  onnxc_dim p, q;                /* scale = p / q, or none */
  onnxc_expr scale;              /* f32, when p is none */
  onnxc_expr roi_start, roi_end; /* f32, for TF_CROP_AND_RESIZE */
} onnxc_resize_axis;

typedef struct onnxc_resize {
  onnxc_resize_mode mode;
  onnxc_coordinates coordinates;
  onnxc_rounding rounding;
  double cubic_a, extrapolation;
  bool exclude_outside, antialias;
} onnxc_resize;

/* The coordinate of output index `i`: (a*i + b) / c, or x (f32) when a is none. */
typedef struct onnxc_coordinate {
  onnxc_expr i;
  onnxc_dim a, b, c;
  onnxc_expr x;
} onnxc_coordinate;

onnxc_coordinate onnxc_resize_coordinate(onnxc_graph *graph, const onnxc_resize *resize, const onnxc_resize_axis *axis,
                                         onnxc_expr i);
/* The nearest index, inside of the axis. */
onnxc_expr onnxc_resize_nearest(onnxc_graph *graph, const onnxc_resize *resize, const onnxc_resize_axis *axis,
                                const onnxc_coordinate *at);
/* floor of the coordinate, which may lie outside of the axis; and with an offset, clamped into the axis. */
onnxc_expr onnxc_resize_floor(onnxc_graph *graph, const onnxc_coordinate *at);
onnxc_expr onnxc_resize_tap(onnxc_graph *graph, const onnxc_resize_axis *axis, const onnxc_coordinate *at, int offset);
/* What floor leaves of the coordinate, in `dtype`. */
onnxc_expr onnxc_resize_fraction(onnxc_graph *graph, const onnxc_coordinate *at, onnxc_dtype dtype);
/* The index nearest to `index` in [0, extent - 1]. */
onnxc_expr onnxc_resize_clamp(onnxc_graph *graph, onnxc_expr index, onnxc_dim extent);
/* Weights of the 2 (linear) or 4 (cubic) taps around a fraction; returns how many, from floor + *first on. */
uint32_t onnxc_resize_weights(onnxc_graph *graph, const onnxc_resize *resize, onnxc_expr fraction, int *first,
                              onnxc_expr *weights);
/* The weight of a sample at distance `x` (any sign) under the mode's filter. */
onnxc_expr onnxc_resize_filter(onnxc_graph *graph, const onnxc_resize *resize, onnxc_expr x);

/* The scale as a fraction: the simplest that is this float, else the float's own. False if it is not
 * positive and finite, or out of all proportion. */
bool onnxc_resize_fraction_of(float scale, int64_t *p, int64_t *q);

#endif
