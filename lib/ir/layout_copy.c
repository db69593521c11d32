/* layout_copy.c -- copies between layouts at memory speed.
 *
 * Both layouts cut each dim into parts. Where the cuts nest (16 | 64), the
 * common refinement is a list of loops with one stride in either tensor; a
 * dim's tail (what the blocks do not divide) becomes a second box. So a copy is
 * a few boxes of plain strided loops, which are merged, ordered, and run with
 * the best kernel: contiguous runs by memcpy, transposes in tiles, two or four rows woven together (VNNI).
 * A part of a copy is a range of each box's outermost loop.
 * Cuts that do not nest (halo under blocks, 6 against 16) go element by element.
 */
#include "ir/layout.h"

#include <string.h>

enum { MAX_LOOPS = 2 * ONNXC_LAYOUT_MAX_AXES, MAX_CUTS = 2 * ONNXC_LAYOUT_MAX_AXES, LINE = 64, NEAR = 1024 };

typedef struct loop {
  int64_t extent, to, from; /* strides in bytes */
} loop;

/* ---- kernels ---- */

/* Any two loops. */
static inline __attribute__((always_inline)) void copy_plain(char *to, const char *from, loop row, loop column,
                                                             size_t elem) {
  for (int64_t r = 0; r < row.extent; r++) {
    char *t = to + r * row.to;
    const char *f = from + r * row.from;
    for (int64_t c = 0; c < column.extent; c++) {
      memcpy(t, f, elem);
      t += column.to;
      f += column.from;
    }
  }
}

/* A tile of at most a cache line by a cache line's elements, rows contiguous in `from` and columns in `to`. It passes
 * through a local copy: strides of large powers of two would let the source's lines evict each other. */
static inline __attribute__((always_inline)) void transpose_tile(char *to, const char *from, int64_t rows,
                                                                 int64_t columns, int64_t to_stride,
                                                                 int64_t from_stride, size_t elem) {
  char local[LINE * LINE];
  for (int64_t c = 0; c < columns; c++)
    memcpy(local + c * LINE, from + c * from_stride, (size_t)rows * elem);
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < columns; c++)
      memcpy(to + r * to_stride + c * (int64_t)elem, local + c * LINE + r * (int64_t)elem, elem);
}

/* Several tiles along a row of the source before the next rows, so that its pages are looked up less often. */
static inline __attribute__((always_inline)) void transpose(char *to, const char *from, loop row, loop column,
                                                            size_t elem) {
  const int64_t side = LINE / (int64_t)elem, width = 4 * side;
  for (int64_t block = 0; block < row.extent; block += width)
    for (int64_t c = 0; c < column.extent; c += side)
      for (int64_t r = block; r < row.extent && r < block + width; r += side) {
        int64_t rows = row.extent - r, columns = column.extent - c;
        char *t = to + r * row.to + c * column.to;
        const char *f = from + r * row.from + c * column.from;
        if (rows >= side && columns >= side) /* constant sizes unroll */
          transpose_tile(t, f, side, side, row.to, column.from, elem);
        else
          transpose_tile(t, f, rows < side ? rows : side, columns < side ? columns : side, row.to, column.from, elem);
      }
}

/* Element by element from each of a few rows of the source in turn. */
static inline __attribute__((always_inline)) void weave(char *restrict to, const char *restrict from, loop row,
                                                        int64_t from_stride, int64_t rows, size_t elem) {
  for (int64_t r = 0; r < row.extent; r++)
    for (int64_t c = 0; c < rows; c++)
      memcpy(to + (r * rows + c) * (int64_t)elem, from + c * from_stride + r * (int64_t)elem, elem);
}

static inline __attribute__((always_inline)) void copy_sized(char *to, const char *from, loop row, loop column,
                                                             size_t elem) {
  bool woven = row.from == (int64_t)elem && column.to == (int64_t)elem && row.to == column.extent * (int64_t)elem;
  if (woven && column.extent == 2) /* a constant again */
    weave(to, from, row, column.from, 2, elem);
  else if (woven && column.extent == 4)
    weave(to, from, row, column.from, 4, elem);
  else if (row.from == (int64_t)elem && column.to == (int64_t)elem)
    transpose(to, from, row, column, elem);
  else
    copy_plain(to, from, row, column, elem);
}

static void copy_two(char *to, const char *from, loop row, loop column, size_t elem) {
  switch (elem) { /* constant sizes become plain moves */
  case 1: copy_sized(to, from, row, column, 1); break;
  case 2: copy_sized(to, from, row, column, 2); break;
  case 4: copy_sized(to, from, row, column, 4); break;
  case 8: copy_sized(to, from, row, column, 8); break;
  default: copy_plain(to, from, row, column, elem); break;
  }
}

static void run_loops(char *to, const char *from, const loop *loops, int n, size_t elem) {
  if (n == 1 && loops[0].to == (int64_t)elem && loops[0].from == (int64_t)elem) {
    memcpy(to, from, (size_t)loops[0].extent * elem);
  } else if (n == 2 && !(loops[1].to == (int64_t)elem && loops[1].from == (int64_t)elem)) {
    copy_two(to, from, loops[0], loops[1], elem);
  } else if (n == 1) {
    copy_two(to, from, (loop){1, 0, 0}, loops[0], elem);
  } else if (n == 0) {
    memcpy(to, from, elem);
  } else {
    for (int64_t i = 0; i < loops[0].extent; i++)
      run_loops(to + i * loops[0].to, from + i * loops[0].from, loops + 1, n - 1, elem);
  }
}

static void swap_loops(loop *a, loop *b) {
  loop swap = *a;
  *a = *b;
  *b = swap;
}

/* A loop that steps little in the source but stands outside of one that steps far (the panels of a packed matrix) would
 * read a line or so of each row at a time: a few of its steps go inside. */
static void run_near(char *to, const char *from, const loop *loops, int n, size_t elem) {
  int kernel = n && loops[n - 1].to == (int64_t)elem && loops[n - 1].from == (int64_t)elem ? 1 : 2;
  int inside = n - kernel;
  if (inside < 2 || loops[0].from <= 0 || loops[0].from >= NEAR || loops[inside - 1].from <= NEAR) {
    run_loops(to, from, loops, n, elem);
    return;
  }
  int64_t together = NEAR / loops[0].from, whole = loops[0].extent / together;
  loop split[MAX_LOOPS + 1];
  split[0] = (loop){1, 0, 0};
  memcpy(split + 1, loops + 1, (size_t)(inside - 1) * sizeof *loops);
  split[inside] = loops[0];
  memcpy(split + inside + 1, loops + inside, (size_t)kernel * sizeof *loops);
  for (int64_t i = 0; i <= whole; i++) {
    split[inside].extent = i < whole ? together : loops[0].extent % together;
    if (split[inside].extent)
      run_loops(to + i * together * loops[0].to, from + i * together * loops[0].from, split, n + 1, elem);
  }
}

typedef struct cut {
  int64_t step, to, from; /* elements of the dim in one step; strides in bytes */
} cut;

typedef struct copy {
  size_t elem;
  uint32_t rank;
  const int64_t *shape;
  uint32_t part, parts;
  cut cuts[ONNXC_MAX_RANK][MAX_CUTS]; /* outermost first */
  int num_cuts[ONNXC_MAX_RANK];
  loop loops[MAX_LOOPS];
  int num_loops;
} copy;

/* Merges and orders the loops of a box, then runs this part of it. */
static void copy_box(const copy *c, char *to, const char *from) {
  loop loops[MAX_LOOPS];
  size_t elem = c->elem;
  int n = 0;
  for (int i = 0; i < c->num_loops; i++)
    if (c->loops[i].extent != 1)
      loops[n++] = c->loops[i];
  for (int i = 1; i < n; i++) /* outermost in `to` first */
    for (int j = i; j > 0 && loops[j].to > loops[j - 1].to; j--)
      swap_loops(&loops[j], &loops[j - 1]);
  int merged = 0;
  for (int i = 1; i < n; i++) {
    loop *outer = &loops[merged];
    if (outer->to == loops[i].to * loops[i].extent && outer->from == loops[i].from * loops[i].extent) {
      loops[i].extent *= outer->extent;
      *outer = loops[i];
    } else {
      loops[++merged] = loops[i];
    }
  }
  n = n ? merged + 1 : 0;
  /* A few elements that stay together are one larger element. */
  if (n && loops[n - 1].to == (int64_t)elem && loops[n - 1].from == (int64_t)elem && elem <= 4) {
    size_t together = elem * (size_t)loops[n - 1].extent;
    if (together == 2 || together == 4 || together == 8) {
      elem = together;
      n--;
    }
  }
  /* A transpose: the loop that is innermost in `from` comes next to the innermost of `to`, for tiles. */
  int nearest = 0;
  for (int i = 1; i < n; i++)
    if (loops[i].from < loops[nearest].from)
      nearest = i;
  if (n >= 2 && nearest < n - 1) {
    loop inner = loops[nearest];
    memmove(&loops[nearest], &loops[nearest + 1], (size_t)(n - 2 - nearest) * sizeof *loops);
    loops[n - 2] = inner;
  }
  if (n > 0) {
    int64_t first = loops[0].extent * c->part / c->parts, end = loops[0].extent * (c->part + 1) / c->parts;
    to += first * loops[0].to;
    from += first * loops[0].from;
    loops[0].extent = end - first;
  }
  if (n > 0 ? loops[0].extent > 0 : c->part == 0)
    run_near(to, from, loops, n, elem);
}

/* ---- decomposition ---- */

/* Loops for dim d from cut p on, over `extent` elements; a tail is a box of its own. */
static void split_dim(copy *c, uint32_t d, int p, int64_t extent, char *to, const char *from) {
  if (d == c->rank) {
    copy_box(c, to, from);
    return;
  }
  if (extent == 0)
    return;
  if (p == c->num_cuts[d] || c->cuts[d][p].step < 1) { /* a step is never less than one */
    split_dim(c, d + 1, 0, d + 1 < c->rank ? c->shape[d + 1] : 1, to, from);
    return;
  }
  const cut *at = &c->cuts[d][p];
  int64_t whole = extent / at->step, tail = extent % at->step;
  if (whole) {
    c->loops[c->num_loops++] = (loop){whole, at->to, at->from};
    split_dim(c, d, p + 1, at->step, to, from);
    c->num_loops--;
  }
  if (tail)
    split_dim(c, d, p + 1, tail, to + whole * at->to, from + whole * at->from);
}

/* The steps at which the layout cuts dim d, and their strides in bytes, outermost first. */
static int cuts_of(const onnxc_layout *layout, uint32_t rank, const int64_t *shape, uint32_t d, size_t elem,
                   int64_t *steps, int64_t *strides) {
  int n = 0;
  int64_t index[ONNXC_MAX_RANK] = {0};
  int64_t step = 1;
  for (uint32_t a = layout->num_axes; a-- > 0;) {
    if (layout->axis_dim[a] != d)
      continue;
    index[d] = step - layout->low[d]; /* lies at `step` from the dim's start */
    for (uint32_t other = 0; other < rank; other++)
      if (other != d)
        index[other] = -(int64_t)layout->low[other];
    steps[n] = step;
    strides[n++] = onnxc_layout_offset_of(layout, rank, shape, index) * (int64_t)elem;
    step *= layout->axis_size[a] ? layout->axis_size[a] : 1;
  }
  for (int i = 0; i < n / 2; i++) {
    int64_t swap = steps[i];
    steps[i] = steps[n - 1 - i];
    steps[n - 1 - i] = swap;
    swap = strides[i];
    strides[i] = strides[n - 1 - i];
    strides[n - 1 - i] = swap;
  }
  return n;
}

/* The bytes from an element to the one `step` further on, where step is a multiple of one of the cuts. */
static int64_t stride_at(int64_t step, const int64_t *steps, const int64_t *strides, int n) {
  for (int i = 0; i < n; i++)
    if (step % steps[i] == 0)
      return strides[i] * (step / steps[i]);
  return 0;
}

/* The common refinement; false if the cuts do not nest. */
static bool refine(copy *c, const onnxc_layout *to, const onnxc_layout *from) {
  for (uint32_t d = 0; d < c->rank; d++) {
    int64_t steps[2][ONNXC_LAYOUT_MAX_AXES], strides[2][ONNXC_LAYOUT_MAX_AXES];
    int n[2];
    n[0] = cuts_of(to, c->rank, c->shape, d, c->elem, steps[0], strides[0]);
    n[1] = cuts_of(from, c->rank, c->shape, d, c->elem, steps[1], strides[1]);
    if ((n[0] > 1 && to->low[d]) || (n[1] > 1 && from->low[d]))
      return false;
    int num = 0;
    for (int i = 0, j = 0; i < n[0] || j < n[1];) {
      int64_t x = i < n[0] ? steps[0][i] : 0, y = j < n[1] ? steps[1][j] : 0;
      int64_t step = x > y ? x : y;
      if (step < 1) /* never, but for the sake of the divisions below */
        return false;
      i += x == step;
      j += y == step;
      if (num && c->cuts[d][num - 1].step % step != 0)
        return false;
      c->cuts[d][num++] =
          (cut){step, stride_at(step, steps[0], strides[0], n[0]), stride_at(step, steps[1], strides[1], n[1])};
    }
    c->num_cuts[d] = num;
  }
  return true;
}

/* Any layouts, element by element. */
static void copy_slow(char *to, const onnxc_layout *to_layout, const char *from, const onnxc_layout *from_layout,
                      uint32_t rank, const int64_t *shape, size_t elem) {
  int64_t index[ONNXC_MAX_RANK] = {0};
  for (;;) {
    memcpy(to + (size_t)onnxc_layout_offset_of(to_layout, rank, shape, index) * elem,
           from + (size_t)onnxc_layout_offset_of(from_layout, rank, shape, index) * elem, elem);
    uint32_t d = rank;
    while (d-- > 0) {
      if (++index[d] < shape[d])
        break;
      index[d] = 0;
      if (d == 0)
        return;
    }
    if (rank == 0)
      return;
  }
}

void onnxc_layout_copy_part(void *to, const onnxc_layout *to_layout, const void *from, const onnxc_layout *from_layout,
                            uint32_t rank, const int64_t *shape, size_t elem, uint32_t part, uint32_t parts) {
  onnxc_layout to_full = onnxc_layout_explicit(to_layout, rank);
  onnxc_layout from_full = onnxc_layout_explicit(from_layout, rank);
  for (uint32_t d = 0; d < rank; d++)
    if (shape[d] == 0)
      return;
  copy c = {.elem = elem, .rank = rank, .shape = shape, .part = part, .parts = parts};
  if (!refine(&c, &to_full, &from_full)) {
    if (part == 0)
      copy_slow(to, &to_full, from, &from_full, rank, shape, elem);
    return;
  }
  int64_t zero[ONNXC_MAX_RANK] = {0};
  char *start = (char *)to + (size_t)onnxc_layout_offset_of(&to_full, rank, shape, zero) * elem;
  const char *source = (const char *)from + (size_t)onnxc_layout_offset_of(&from_full, rank, shape, zero) * elem;
  split_dim(&c, 0, 0, rank ? shape[0] : 1, start, source);
}

void onnxc_layout_copy(void *to, const onnxc_layout *to_layout, const void *from, const onnxc_layout *from_layout,
                       uint32_t rank, const int64_t *shape, size_t elem) {
  onnxc_layout to_full = onnxc_layout_explicit(to_layout, rank);
  int64_t count = 1, stored = onnxc_layout_size_of(&to_full, rank, shape);
  for (uint32_t d = 0; d < rank; d++)
    count *= shape[d];
  if (stored > count)
    memset(to, 0, (size_t)stored * elem);
  onnxc_layout_copy_part(to, to_layout, from, from_layout, rank, shape, elem, 0, 1);
}
