/* build.h -- builders: how a front end says what an operator means.
 *
 * Each appends nodes to the graph and returns the resulting value, or none
 * after recording an error in graph->diag. `where` names the source of the node for messages
 * and node names, for example "node 'conv1' (Conv-11)"; it lives as long as the graph.
 * Shapes are dim expressions throughout; where two symbolic dims must agree, the builder adds
 * a constraint that a run checks.
 *
 * Broadcasting (numpy): where a dim may be 1 only at run time (a bare symbol against something else) loads use
 * the stride factor min(d - 1, 1), so both cases are right; two compound dims that are not provably
 * equal are assumed equal, with a constraint.
 *
 * Operands that are none (an earlier builder failed) give none again, without a second message.
 */
#ifndef ONNXC_OPS_BUILD_H
#define ONNXC_OPS_BUILD_H

#include "ir/graph.h"

/* ---- broadcasting ---- */

/* Both dims must agree: an error when they can't (false), a constraint when a run decides. *dim (may be NULL) is the
 * better of the two, a constant if there is one. */
bool onnxc_build_same_dim(onnxc_graph *graph, const char *where, onnxc_dim a, onnxc_dim b, onnxc_dim *dim);
/* The extent of n dims broadcast against each other, with constraints; false after an error. */
bool onnxc_build_broadcast_dim(onnxc_graph *graph, const char *where, uint32_t n, const onnxc_dim *dims,
                               onnxc_dim *result);
/* The same for whole shapes, aligned at their last dims. dims has room for ONNXC_MAX_RANK. */
bool onnxc_build_broadcast_shapes(onnxc_graph *graph, const char *where, uint32_t n, const uint32_t *ranks,
                                  const onnxc_dim *const *shapes, uint32_t *rank, onnxc_dim *dims);
/* Where an operand's dim `dim` is read when the output axis of extent `extent` is at `index`. */
onnxc_expr onnxc_build_broadcast_index(onnxc_graph *graph, onnxc_dim dim, onnxc_dim extent, onnxc_expr index);
/* The broadcast shape of n values; false after an error. */
bool onnxc_build_broadcast(onnxc_graph *graph, const char *where, uint32_t n, const onnxc_value *values, uint32_t *rank,
                           onnxc_dim *dims);
/* The load of operand number `operand` (the given value) at output point i0..i(rank-1), broadcast. */
onnxc_expr onnxc_build_broadcast_load(onnxc_graph *graph, onnxc_value value, uint32_t operand, uint32_t rank,
                                      const onnxc_dim *dims);

/* ---- elementwise ---- */

/* args[k] is the k-th operand's element (a constant expression when the operand is a constant of one element);
 * returns the result's element (its dtype is the result's). */
typedef onnxc_expr (*onnxc_build_scalar_fn)(void *arg, onnxc_exprs *pool, const onnxc_expr *args);
onnxc_value onnxc_build_map(onnxc_graph *graph, const char *where, uint32_t n, const onnxc_value *values,
                            onnxc_build_scalar_fn scalar, void *arg);
onnxc_value onnxc_build_unary(onnxc_graph *graph, const char *where, onnxc_expr_op op, onnxc_value a);
onnxc_value onnxc_build_binary(onnxc_graph *graph, const char *where, onnxc_expr_op op, onnxc_value a, onnxc_value b);
onnxc_value onnxc_build_cast(onnxc_graph *graph, const char *where, onnxc_dtype dtype, onnxc_value a);

/* ---- constants and shapes ---- */

/* A constant of one element as an expression, else none. */
onnxc_expr onnxc_build_constant_element(onnxc_graph *graph, onnxc_value value);
onnxc_value onnxc_build_scalar_f64(onnxc_graph *graph, onnxc_dtype dtype, double value); /* rank 0 */
onnxc_value onnxc_build_scalar_i64(onnxc_graph *graph, onnxc_dtype dtype, int64_t value);
/* A 1-d i64 tensor whose elements are dims (a compute with elements known). */
onnxc_value onnxc_build_shape_tensor(onnxc_graph *graph, const char *where, uint32_t count, const onnxc_dim *elements);

/* ---- movement: a result element is one element of x ---- */

/* result[i..] = x[index_0(i..), ..]; index expressions over i0.. (no reduction). */
onnxc_value onnxc_build_index(onnxc_graph *graph, const char *where, onnxc_value x, uint32_t rank,
                              const onnxc_dim *dims, const onnxc_expr *index);
/* Dims that only add or drop ones give an index compute; all others a RESHAPE node. Adds a constraint when the
 * element counts are not provably equal. */
onnxc_value onnxc_build_reshape(onnxc_graph *graph, const char *where, onnxc_value x, uint32_t rank,
                                const onnxc_dim *dims);
onnxc_value onnxc_build_transpose(onnxc_graph *graph, const char *where, onnxc_value x, const uint32_t *perm);
/* x broadcast against the shape `dims`, both ways (ONNX Expand). */
onnxc_value onnxc_build_expand(onnxc_graph *graph, const char *where, onnxc_value x, uint32_t rank,
                               const onnxc_dim *dims);
onnxc_value onnxc_build_concat(onnxc_graph *graph, const char *where, uint32_t n, const onnxc_value *values,
                               uint32_t axis);

/* ---- branches ---- */

/* The element of `yes` where condition, 0 or 1, is 1, else that of `no`, which may be of the branches of condition and
 * 1 - condition within graph->branch (graph.h). They agree in type and rank; dims may differ. */
onnxc_value onnxc_build_join(onnxc_graph *graph, const char *where, onnxc_dim condition, onnxc_value yes,
                             onnxc_value no);

/* ---- reductions ---- */

/* The neutral element of ADD, MUL, MIN, MAX, AND or OR, which is also the reduction of nothing (as ONNX defines it). */
onnxc_expr onnxc_build_neutral(onnxc_exprs *pool, onnxc_expr_op combiner, onnxc_dtype dtype);

/* Reduces the dims with reduce[d] true by `combiner` (ADD, MUL, MIN, MAX, AND, OR). `element` maps x's element to the
 * reduced one (NULL = itself), `finish` maps the accumulator to the result (NULL = itself). keepdims leaves ones.
 * Floats narrower than f32 are reduced in f32, and the result is cast back. */
onnxc_value onnxc_build_reduce(onnxc_graph *graph, const char *where, onnxc_value x, const bool *reduce, bool keepdims,
                               onnxc_expr_op combiner, onnxc_build_scalar_fn element, onnxc_build_scalar_fn finish,
                               void *arg);

/* The type to compute in: f32 for narrower floats, else dtype itself. */
onnxc_dtype onnxc_build_wide(onnxc_dtype dtype);

/* ---- contractions ---- */

/* a * b in acc_dtype. */
onnxc_expr onnxc_build_product(onnxc_exprs *pool, onnxc_expr a, onnxc_expr b, onnxc_dtype acc_dtype);
/* Makes result j of the compute the sum of `element` (which has acc_dtype); finish is left to the caller. */
void onnxc_build_sum(onnxc_exprs *pool, onnxc_compute *compute, uint32_t j, onnxc_dtype acc_dtype, onnxc_expr element);
/* numpy matmul, any ranks, batch dims broadcast. */
onnxc_value onnxc_build_matmul(onnxc_graph *graph, const char *where, onnxc_value a, onnxc_value b);
/* The same of integers no wider than i32, which may be of two types; products, sums (which wrap) and result are i32. */
onnxc_value onnxc_build_matmul_i32(onnxc_graph *graph, const char *where, onnxc_value a, onnxc_value b);

/* Convolution of x[N, C, spatial..] with w[M, C/group, kernel..]; any number of spatial dims. */
typedef struct onnxc_conv {
  uint32_t spatial;
  int64_t group;
  int64_t stride[ONNXC_MAX_RANK], dilation[ONNXC_MAX_RANK];
  onnxc_dim pad_low[ONNXC_MAX_RANK], pad_high[ONNXC_MAX_RANK]; /* may be symbolic (SAME_*) */
  onnxc_dim out[ONNXC_MAX_RANK];                               /* output extents; none = what follows from the pads */
  onnxc_value pad_value; /* of x's type, one element, rank 0: what is read outside of x; none = 0 */
  bool i32;              /* x and w are integers no wider than i32, of two types maybe; all else is i32 */
} onnxc_conv;
onnxc_value onnxc_build_conv(onnxc_graph *graph, const char *where, onnxc_value x, onnxc_value w, onnxc_value bias,
                             const onnxc_conv *conv);

/* More builders (pooling, gather, pad, resize, softmax, ...) stand beside the importer or generic that needs them
 * first, and move here when a second one does. */

/* "node 'x' (Op-11): " messages: records and returns none. */
#if defined(__GNUC__)
__attribute__((format(printf, 4, 5)))
#endif
onnxc_value
onnxc_build_error(onnxc_graph *graph, onnxc_status status, const char *where, const char *format, ...);

#endif
