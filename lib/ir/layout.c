/* layout.c -- layouts: their axes as dims and as numbers, and their text; see layout.h. Copying is in layout_copy.c. */
#include "ir/layout.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

onnxc_layout onnxc_layout_explicit(const onnxc_layout *layout, uint32_t rank) {
  onnxc_layout result = *layout;
  if (result.num_axes == 0) {
    result.num_axes = (uint8_t)rank;
    for (uint32_t d = 0; d < rank; d++) {
      result.axis_dim[d] = (uint8_t)d;
      result.axis_size[d] = 0;
    }
  }
  return result;
}

bool onnxc_layout_is_default(const onnxc_layout *layout, uint32_t rank) {
  for (uint32_t d = 0; d < rank; d++)
    if (layout->low[d] || layout->high[d])
      return false;
  if (layout->num_axes == 0)
    return true;
  if (layout->num_axes != rank)
    return false;
  for (uint32_t d = 0; d < rank; d++)
    if (layout->axis_dim[d] != d || layout->axis_size[d] != 0)
      return false;
  return true;
}

bool onnxc_layout_equal(const onnxc_layout *a, const onnxc_layout *b, uint32_t rank) {
  onnxc_layout x = onnxc_layout_explicit(a, rank), y = onnxc_layout_explicit(b, rank);
  if (x.num_axes != y.num_axes)
    return false;
  for (uint32_t i = 0; i < x.num_axes; i++)
    if (x.axis_dim[i] != y.axis_dim[i] || x.axis_size[i] != y.axis_size[i])
      return false;
  for (uint32_t d = 0; d < rank; d++)
    if (x.low[d] != y.low[d] || x.high[d] != y.high[d])
      return false;
  return true;
}

/* The elements of dim d in one step of axis a: the product of d's later parts. */
static int64_t step_of(const onnxc_layout *layout, uint32_t axis) {
  int64_t step = 1;
  for (uint32_t i = axis + 1; i < layout->num_axes; i++)
    if (layout->axis_dim[i] == layout->axis_dim[axis] && __builtin_mul_overflow(step, layout->axis_size[i], &step))
      return INT64_MAX;
  return step;
}

onnxc_dim onnxc_layout_strides(onnxc_dims *dims, const onnxc_layout *layout, uint32_t rank, const onnxc_dim *shape,
                               onnxc_dim *extents, onnxc_dim *strides) {
  (void)rank;
  onnxc_dim count = onnxc_dim_const(dims, 1);
  for (uint32_t a = layout->num_axes; a-- > 0;) {
    uint32_t d = layout->axis_dim[a];
    strides[a] = count;
    if (layout->axis_size[a]) {
      extents[a] = onnxc_dim_const(dims, layout->axis_size[a]);
    } else {
      onnxc_dim padded = onnxc_dim_addc(dims, shape[d], layout->low[d] + layout->high[d]);
      extents[a] = onnxc_dim_ceildiv(dims, padded, onnxc_dim_const(dims, step_of(layout, a)));
    }
    count = onnxc_dim_mul(dims, count, extents[a]);
  }
  return count;
}

onnxc_dim onnxc_layout_offset(onnxc_dims *dims, const onnxc_layout *layout, uint32_t rank, const onnxc_dim *shape,
                              const onnxc_dim *index) {
  onnxc_layout full = onnxc_layout_explicit(layout, rank);
  onnxc_dim extents[ONNXC_LAYOUT_MAX_AXES], strides[ONNXC_LAYOUT_MAX_AXES];
  onnxc_layout_strides(dims, &full, rank, shape, extents, strides);
  onnxc_dim offset = onnxc_dim_const(dims, 0);
  for (uint32_t a = 0; a < full.num_axes; a++) {
    uint32_t d = full.axis_dim[a];
    onnxc_dim at = onnxc_dim_addc(dims, index[d], full.low[d]);
    at = onnxc_dim_floordiv(dims, at, onnxc_dim_const(dims, step_of(&full, a)));
    if (full.axis_size[a])
      at = onnxc_dim_mod(dims, at, extents[a]);
    offset = onnxc_dim_add(dims, offset, onnxc_dim_mul(dims, at, strides[a]));
  }
  return offset;
}

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

static int64_t extent_of(const onnxc_layout *layout, uint32_t axis, const int64_t *shape) {
  if (layout->axis_size[axis])
    return layout->axis_size[axis];
  uint32_t d = layout->axis_dim[axis];
  int64_t step = step_of(layout, axis), padded;
  if (__builtin_add_overflow(shape[d], layout->low[d] + layout->high[d], &padded))
    return INT64_MAX;
  return padded / step + (padded % step != 0);
}

int64_t onnxc_layout_size_of(const onnxc_layout *layout, uint32_t rank, const int64_t *shape) {
  onnxc_layout full = onnxc_layout_explicit(layout, rank);
  int64_t size = 1;
  bool overflow = false;
  for (uint32_t a = 0; a < full.num_axes; a++) {
    int64_t extent = extent_of(&full, a, shape);
    if (extent == 0)
      return 0;
    overflow |= __builtin_mul_overflow(size, extent, &size);
  }
  return overflow ? -1 : size;
}

int64_t onnxc_layout_offset_of(const onnxc_layout *layout, uint32_t rank, const int64_t *shape, const int64_t *index) {
  onnxc_layout full = onnxc_layout_explicit(layout, rank);
  int64_t offset = 0, stride = 1;
  for (uint32_t a = full.num_axes; a-- > 0;) {
    uint32_t d = full.axis_dim[a];
    int64_t at = floor_div(index[d] + full.low[d], step_of(&full, a));
    int64_t extent = extent_of(&full, a, shape);
    if (full.axis_size[a])
      at -= floor_div(at, extent) * extent;
    offset += at * stride;
    stride *= extent;
  }
  return offset;
}

void onnxc_layout_print(const onnxc_layout *layout, uint32_t rank, char *out, size_t size) {
  onnxc_layout full = onnxc_layout_explicit(layout, rank);
  char text[ONNXC_LAYOUT_MAX_AXES * 32] = "[";
  char *end = text + 1;
  for (uint32_t a = 0; a < full.num_axes; a++) {
    uint32_t d = full.axis_dim[a];
    end += sprintf(end, "%s%u", a ? " " : "", d);
    if (full.axis_size[a])
      end += sprintf(end, ":%u", full.axis_size[a]);
    else if (full.low[d] || full.high[d])
      end += sprintf(end, ":+%u+%u", full.low[d], full.high[d]);
  }
  memcpy(end, "]", 2);
  snprintf(out, size, "%s", text);
}

static bool parse_u16(const char **at, uint16_t *value) {
  uint32_t number = 0;
  if (!isdigit((unsigned char)**at))
    return false;
  for (; isdigit((unsigned char)**at); (*at)++) {
    number = number * 10 + (uint32_t)(**at - '0');
    if (number > UINT16_MAX)
      return false;
  }
  *value = (uint16_t)number;
  return true;
}

const char *onnxc_layout_parse(onnxc_layout *layout, uint32_t rank, const char **cursor) {
  bool seen[ONNXC_MAX_RANK] = {0};
  int64_t step[ONNXC_MAX_RANK];
  memset(layout, 0, sizeof *layout);
  if (**cursor != '[')
    return "expected [";
  (*cursor)++;
  for (;;) {
    while (**cursor == ' ')
      (*cursor)++;
    if (**cursor == ']')
      break;
    uint16_t d, size = 0;
    if (!parse_u16(cursor, &d) || d >= rank)
      return "expected a dim of the value in its layout";
    if (layout->num_axes == ONNXC_LAYOUT_MAX_AXES)
      return "too many axes in a layout";
    if (**cursor == ':' && (*cursor)[1] == '+') {
      *cursor += 2;
      if (seen[d] || !parse_u16(cursor, &layout->low[d]) || **cursor != '+')
        return "expected :+low+high on a dim's outermost part";
      (*cursor)++;
      if (!parse_u16(cursor, &layout->high[d]))
        return "expected :+low+high on a dim's outermost part";
    } else if (**cursor == ':') {
      (*cursor)++;
      if (!parse_u16(cursor, &size) || size == 0)
        return "expected the size of a block, 1 to 65535";
    }
    if (seen[d] != (size != 0))
      return "a dim needs one part without a size, before its parts with one";
    step[d] = seen[d] ? step[d] * size : 1;
    if (step[d] > INT32_MAX)
      return "blocks too large";
    seen[d] = true;
    layout->axis_dim[layout->num_axes] = (uint8_t)d;
    layout->axis_size[layout->num_axes++] = size;
  }
  (*cursor)++;
  for (uint32_t d = 0; d < rank; d++)
    if (!seen[d])
      return "a dim is missing in the layout";
  return NULL;
}
