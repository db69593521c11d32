/* layout.h -- how the elements of a value lie in memory.
 *
 * A layout is a list of storage axes, outermost first; the innermost has stride
 * 1. Each axis is a part of one logical dim d:
 *
 *     size 0   the outermost part of d: its extent is ceil(padded extent of d / product of
 *              the sizes of d's later parts)
 *     size s   an inner part of s elements
 *
 * so  NCHW row major     [0 1 2 3]
 *     NHWC               [0 2 3 1]
 *     NCHW16c            [0 1 2 3 1:16]
 *     B[NB][K][64]       [1 0 1:64]      (of a K x N matrix, dim 0 = K, 1 = N)
 *     VNNI bf16          [1 0 1:32 0:2]
 *
 * Each dim has one part of size 0. Before blocking, a dim may be padded by
 * `low`/`high` elements (a halo, read by convolutions): the element x of d lies
 * at x + low. Elements outside the logical range are *zero in memory* wherever
 * they are stored: in halos and in the tail of the last block. A load may read
 * the halo with logical indices -low .. extent+high-1.
 *
 * num_axes == 0 means row major without padding, the default.
 */
#ifndef ONNXC_IR_LAYOUT_H
#define ONNXC_IR_LAYOUT_H

#include "ir/dim.h"
#include "onnxc/runtime.h"

enum { ONNXC_LAYOUT_MAX_AXES = 2 * ONNXC_MAX_RANK };

typedef struct onnxc_layout {
  uint8_t num_axes;
  uint8_t axis_dim[ONNXC_LAYOUT_MAX_AXES];
  uint16_t axis_size[ONNXC_LAYOUT_MAX_AXES];
  uint16_t low[ONNXC_MAX_RANK], high[ONNXC_MAX_RANK];
} onnxc_layout;

bool onnxc_layout_is_default(const onnxc_layout *layout, uint32_t rank);
bool onnxc_layout_equal(const onnxc_layout *a, const onnxc_layout *b, uint32_t rank);
/* Fills in the axes of the default layout, so that callers can iterate. */
onnxc_layout onnxc_layout_explicit(const onnxc_layout *layout, uint32_t rank);

/* extents[a] and strides[a] (elements) of each storage axis; returns the number of
 * elements stored. `layout` must be explicit. */
onnxc_dim onnxc_layout_strides(onnxc_dims *dims, const onnxc_layout *layout, uint32_t rank, const onnxc_dim *shape,
                               onnxc_dim *extents, onnxc_dim *strides);
/* The element offset of a logical index (each a dim expression). */
onnxc_dim onnxc_layout_offset(onnxc_dims *dims, const onnxc_layout *layout, uint32_t rank, const onnxc_dim *shape,
                              const onnxc_dim *index);
/* The same with numbers; shape and index are plain integers. */
int64_t onnxc_layout_offset_of(const onnxc_layout *layout, uint32_t rank, const int64_t *shape, const int64_t *index);
int64_t onnxc_layout_size_of(const onnxc_layout *layout, uint32_t rank, const int64_t *shape);

/* Text: `[0 2 3 1]`, with halo `[0 2:+1+1 3:+1+1 1]`; printed only when not default. */
void onnxc_layout_print(const onnxc_layout *layout, uint32_t rank, char *out, size_t size);
const char *onnxc_layout_parse(onnxc_layout *layout, uint32_t rank, const char **cursor); /* NULL or error */

/* Copies a tensor between layouts (plain C, at memory speed for the common
 * packings); fills padding with zero bytes. elem = bytes of an element. */
void onnxc_layout_copy(void *to, const onnxc_layout *to_layout, const void *from, const onnxc_layout *from_layout,
                       uint32_t rank, const int64_t *shape, size_t elem);
/* Part `part` of `parts` of the same copy, for several threads. It leaves padding alone. */
void onnxc_layout_copy_part(void *to, const onnxc_layout *to_layout, const void *from, const onnxc_layout *from_layout,
                            uint32_t rank, const int64_t *shape, size_t elem, uint32_t part, uint32_t parts);

#endif
