/* ops_resize.c -- Resize and Upsample: output extents and scales from whatever the opset gives, then one gather.
 *
 * The result is one compute: each element is a load (nearest) or a weighted sum of 2 or 4 loads an axis. With
 * antialiasing a filter's width depends on the scale, so that each axis is a reduction of its own.
 */
#include <math.h>
#include <string.h>

#include "operands.h"
#include "resize.h"
#include "shorthand.h"

static onnxc_status failed(onnxc_importer *in) { return in->graph->diag->status; }

/* The operands of the compute: x, and what is loaded for scales and regions. */
typedef struct resize_job {
  onnxc_importer *in;
  onnxc_resize resize;
  onnxc_value operands[3]; /* x, scales, roi; none = not there */
  onnxc_value_info x;
  onnxc_resize_axis axes[ONNXC_MAX_RANK];
  uint32_t num_axes, axis_of[ONNXC_MAX_RANK]; /* the axes that scales, sizes and roi speak of */
} resize_job;

static int choice(onnxc_importer *in, const char *attribute, const char *fallback, int count,
                  const char *const *names) {
  const char *text = onnxc_import_string(in, attribute, fallback);
  for (int k = 0; k < count; k++)
    if (strcmp(text, names[k]) == 0)
      return k;
  onnxc_import_error(in, ONNXC_UNSUPPORTED, "%s '%.40s'", attribute, text);
  return -1;
}

static bool read_attributes(resize_job *job, bool simple) {
  static const char *const modes[] = {"nearest", "linear", "cubic", "bilinear"};
  static const char *const coordinates[] = {"half_pixel",          "half_pixel_symmetric", "pytorch_half_pixel",
                                            "align_corners",       "asymmetric",           "tf_crop_and_resize",
                                            "tf_half_pixel_for_nn"};
  static const char *const roundings[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"};
  onnxc_importer *in = job->in;
  int mode = choice(in, "mode", "nearest", 4, modes), transform = ONNXC_ASYMMETRIC;
  int rounding = strcmp(in->op_type, "Resize") == 0 ? ONNXC_ROUND_SIMPLE : ONNXC_ROUND_FLOOR;
  if (!simple) {
    transform = choice(in, "coordinate_transformation_mode", "half_pixel", 7, coordinates);
    rounding = choice(in, "nearest_mode", "round_prefer_floor", 4, roundings);
  }
  if (mode < 0 || transform < 0 || rounding < 0)
    return false;
  job->resize.mode = mode == 3 ? ONNXC_RESIZE_LINEAR : (onnxc_resize_mode)mode;
  job->resize.coordinates = (onnxc_coordinates)transform;
  job->resize.rounding = (onnxc_rounding)rounding;
  job->resize.cubic_a = onnxc_import_float(in, "cubic_coeff_a", -0.75);
  job->resize.extrapolation = onnxc_import_float(in, "extrapolation_value", 0);
  job->resize.exclude_outside = onnxc_import_int(in, "exclude_outside", 0) != 0;
  job->resize.antialias = onnxc_import_int(in, "antialias", 0) != 0 && job->resize.mode != ONNXC_RESIZE_NEAREST;
  return true;
}

static bool read_axes(resize_job *job) {
  onnxc_importer *in = job->in;
  uint32_t count;
  const int64_t *axes = onnxc_import_ints(in, "axes", &count);
  job->num_axes = count ? count : job->x.rank;
  if (count > job->x.rank) {
    onnxc_import_error(in, ONNXC_BAD_INPUT, "%u axes of rank %u", count, job->x.rank);
    return false;
  }
  for (uint32_t k = 0; k < job->num_axes; k++) {
    int64_t axis = count ? onnxc_import_axis(in, axes[k], job->x.rank) : (int64_t)k;
    if (axis < 0)
      return false;
    job->axis_of[k] = (uint32_t)axis;
  }
  for (uint32_t d = 0; d < job->x.rank; d++)
    job->axes[d] = (onnxc_resize_axis){.in = job->x.dims[d], .out = job->x.dims[d]};
  return true;
}

/* Element k of operand `which`, a list of floats, as f32. */
static onnxc_expr float_element(const resize_job *job, uint32_t which, uint32_t k) {
  onnxc_exprs *pool = &job->in->graph->exprs;
  const onnxc_value_info *info = onnxc_value_of(job->in->graph, job->operands[which]);
  if (info->data) {
    const char *at = (const char *)info->data + k * onnxc_dtype_bytes(info->dtype);
    return onnxc_expr_f64(pool, ONNXC_F32, onnxc_scalar_to_f64(info->dtype, at));
  }
  onnxc_expr index = e_int(pool, k);
  return onnxc_expr_cast(pool, ONNXC_F32, onnxc_expr_load(pool, info->dtype, which, 1, &index));
}

static void uses_operand(void *arg, const onnxc_exprs *pool, onnxc_expr e) {
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  if (node->op == ONNXC_EXPR_LOAD)
    ((bool *)arg)[node->imm] = true;
}

/* Adds the compute with as many operands as its expressions load. */
static onnxc_value add_compute(resize_job *job, const onnxc_compute *compute) {
  onnxc_graph *graph = job->in->graph;
  bool used[3] = {false};
  for (uint32_t j = 0; j < compute->num_results; j++) {
    onnxc_expr_walk(&graph->exprs, compute->finish[j], uses_operand, used);
    if (compute->num_reduce)
      onnxc_expr_walk(&graph->exprs, compute->element[j], uses_operand, used);
  }
  onnxc_value operands[3], results[ONNXC_MAX_RESULTS];
  for (uint32_t k = 0; k < 3; k++)
    operands[k] = job->operands[used[k] ? k : 0];
  onnxc_graph_add_compute(graph, job->in->where, compute, used[2] ? 3 : used[1] ? 2 : 1, operands, results);
  return results[0];
}

/* ---- output extents ---- */

static bool set_fraction(resize_job *job, uint32_t d, float scale) {
  onnxc_dims *dims = &job->in->graph->dims;
  onnxc_resize_axis *axis = &job->axes[d];
  int64_t p, q;
  if (!onnxc_resize_fraction_of(scale, &p, &q)) {
    onnxc_import_error(job->in, ONNXC_BAD_INPUT, "a scale of %g", (double)scale);
    return false;
  }
  axis->p = onnxc_dim_const(dims, p);
  axis->q = onnxc_dim_const(dims, q);
  axis->out = onnxc_dim_floordiv(dims, onnxc_dim_mulc(dims, axis->in, p), axis->q);
  axis->active = p != q;
  return true;
}

/* Scales that a run brings (or a region that the extents depend on): the extents are elements of a small compute. */
static bool extents_at_run(resize_job *job) {
  onnxc_graph *graph = job->in->graph;
  onnxc_exprs *pool = &graph->exprs;
  for (uint32_t k = 0; k < job->num_axes; k++) {
    onnxc_resize_axis *axis = &job->axes[job->axis_of[k]];
    onnxc_expr extent = onnxc_expr_cast(pool, ONNXC_F32, e_dim(pool, axis->in));
    if (job->resize.coordinates == ONNXC_TF_CROP_AND_RESIZE)
      extent = e_mul(pool, extent, e_sub(pool, axis->roi_end, axis->roi_start));
    extent = onnxc_expr_unary(pool, ONNXC_EXPR_FLOOR, e_mul(pool, extent, axis->scale));
    onnxc_compute compute = {.num_results = 1, .acc_dtype = {ONNXC_I64}, .finish = {e_i64(pool, extent)}};
    uint32_t count;
    const onnxc_dim *elements = onnxc_value_elements(graph, add_compute(job, &compute), &count);
    if (!elements)
      return false;
    axis->out = elements[0];
    axis->active = true;
  }
  return true;
}

static bool scales_of_attribute(resize_job *job) {
  uint32_t count;
  const float *scales = onnxc_import_floats(job->in, "scales", &count);
  if (count != job->x.rank) {
    onnxc_import_error(job->in, ONNXC_BAD_INPUT, "%u scales for rank %u", count, job->x.rank);
    return false;
  }
  for (uint32_t d = 0; d < count; d++)
    if (!set_fraction(job, d, scales[d]))
      return false;
  return true;
}

static bool scales_of_input(resize_job *job) {
  onnxc_graph *graph = job->in->graph;
  const onnxc_value_info *info = onnxc_value_of(graph, job->operands[1]);
  bool crop = job->resize.coordinates == ONNXC_TF_CROP_AND_RESIZE, is_const = info->data != NULL;
  for (uint32_t k = 0; k < job->num_axes; k++) {
    uint32_t d = job->axis_of[k];
    if (is_const && !crop) {
      const char *at = (const char *)info->data + k * onnxc_dtype_bytes(info->dtype);
      if (!set_fraction(job, d, (float)onnxc_scalar_to_f64(info->dtype, at)))
        return false;
    } else {
      job->axes[d].scale = float_element(job, 1, k);
    }
  }
  return (is_const && !crop) || extents_at_run(job);
}

static bool sizes_of_input(resize_job *job, uint32_t k) {
  onnxc_importer *in = job->in;
  onnxc_dims *dims = &in->graph->dims;
  static const char *const policies[] = {"stretch", "not_larger", "not_smaller"};
  int policy = choice(in, "keep_aspect_ratio_policy", "stretch", 3, policies);
  const onnxc_dim *sizes;
  uint32_t count;
  if (policy < 0 || !onnxc_import_dims(in, NULL, k, &sizes, &count))
    return false;
  if (count != job->num_axes) {
    onnxc_import_error(in, ONNXC_BAD_INPUT, "%u sizes for %u axes", count, job->num_axes);
    return false;
  }
  onnxc_dim p = {0}, q = {0}; /* of the axis that decides */
  for (uint32_t j = 0; j < count && policy; j++) {
    onnxc_dim size = sizes[j], from = job->axes[job->axis_of[j]].in;
    if (p.i) {
      onnxc_dim mine = onnxc_dim_mul(dims, size, q), theirs = onnxc_dim_mul(dims, p, from);
      onnxc_dim best = policy == 1 ? onnxc_dim_min(dims, mine, theirs) : onnxc_dim_max(dims, mine, theirs);
      onnxc_dim keep = onnxc_dim_eq(dims, best, theirs);
      size = onnxc_dim_select(dims, keep, p, size);
      from = onnxc_dim_select(dims, keep, q, from);
    }
    p = size;
    q = from;
  }
  for (uint32_t j = 0; j < count; j++) {
    onnxc_resize_axis *axis = &job->axes[job->axis_of[j]];
    axis->p = policy ? p : sizes[j];
    axis->q = policy ? q : axis->in;
    axis->out = sizes[j];
    if (policy) { /* round(in * p / q), halves up */
      onnxc_dim top = onnxc_dim_add(dims, onnxc_dim_mulc(dims, onnxc_dim_mul(dims, axis->in, p), 2), q);
      axis->out = onnxc_dim_floordiv(dims, top, onnxc_dim_mulc(dims, q, 2));
    }
    axis->active = !onnxc_dim_same(axis->p, axis->q);
    int64_t known_p, known_q, factor; /* a whole factor between symbolic sizes */
    onnxc_dim quotient = onnxc_dim_floordiv(dims, axis->p, axis->q);
    if (onnxc_dim_is_const(dims, quotient, &factor) && factor > 0 &&
        !(onnxc_dim_is_const(dims, axis->p, &known_p) && onnxc_dim_is_const(dims, axis->q, &known_q)) &&
        onnxc_dim_same(onnxc_dim_mulc(dims, axis->q, factor), axis->p)) {
      axis->p = quotient;
      axis->q = onnxc_dim_const(dims, 1);
    }
  }
  return true;
}

/* ---- the gather ---- */

/* One axis as the compute sees it: taps with indices and weights (none: one tap of weight 1). */
typedef struct taps {
  uint32_t count;
  onnxc_expr index[4], weight[4];
} taps;

static taps taps_of(resize_job *job, uint32_t d, onnxc_dtype dtype) {
  onnxc_graph *graph = job->in->graph;
  onnxc_exprs *pool = &graph->exprs;
  const onnxc_resize_axis *axis = &job->axes[d];
  taps t = {.count = 1, .index = {e_index(pool, d)}};
  if (!axis->active)
    return t;
  if (onnxc_dim_is(&graph->dims, axis->in, 1)) {
    t.index[0] = e_int(pool, 0);
    return t;
  }
  onnxc_coordinate at = onnxc_resize_coordinate(graph, &job->resize, axis, t.index[0]);
  if (job->resize.mode == ONNXC_RESIZE_NEAREST) {
    t.index[0] = onnxc_resize_nearest(graph, &job->resize, axis, &at);
    return t;
  }
  onnxc_expr fraction = onnxc_resize_fraction(graph, &at, dtype), sum = {0};
  int first;
  t.count = onnxc_resize_weights(graph, &job->resize, fraction, &first, t.weight);
  for (uint32_t k = 0; k < t.count; k++) {
    t.index[k] = onnxc_resize_tap(graph, axis, &at, first + (int)k);
    if (job->resize.exclude_outside) {
      onnxc_expr unclamped = e_addc(pool, onnxc_resize_floor(graph, &at), first + (int)k);
      t.weight[k] =
          onnxc_expr_select(pool, e_eq(pool, t.index[k], unclamped), t.weight[k], e_number(pool, fraction, 0));
    }
    sum = sum.i ? e_add(pool, sum, t.weight[k]) : t.weight[k];
  }
  for (uint32_t k = 0; k < t.count && job->resize.exclude_outside; k++)
    t.weight[k] = e_div(pool, t.weight[k], sum);
  return t;
}

/* The weighted sum over the taps of axes d and up; index[] holds the choice for those before. */
static onnxc_expr blend(resize_job *job, const taps *axes, uint32_t d, onnxc_expr *index, onnxc_dtype dtype) {
  onnxc_exprs *pool = &job->in->graph->exprs;
  if (d == job->x.rank)
    return onnxc_expr_cast(pool, dtype, onnxc_expr_load(pool, job->x.dtype, 0, job->x.rank, index));
  onnxc_expr sum = {0};
  for (uint32_t k = 0; k < axes[d].count; k++) {
    index[d] = axes[d].index[k];
    onnxc_expr part = blend(job, axes, d + 1, index, dtype);
    if (axes[d].weight[k].i)
      part = e_mul(pool, part, axes[d].weight[k]);
    sum = sum.i ? e_add(pool, sum, part) : part;
  }
  return sum;
}

/* The type to blend in. */
static onnxc_dtype blend_dtype(const resize_job *job) {
  if (job->resize.mode == ONNXC_RESIZE_NEAREST)
    return job->x.dtype;
  return job->x.dtype == ONNXC_F64 ? ONNXC_F64 : ONNXC_F32;
}

/* Condition that every coordinate lies inside of x, for tf_crop_and_resize; none otherwise. */
static onnxc_expr inside_of(resize_job *job) {
  onnxc_graph *graph = job->in->graph;
  onnxc_exprs *pool = &graph->exprs;
  onnxc_expr inside = {0};
  for (uint32_t d = 0; d < job->x.rank; d++) {
    if (!job->axes[d].active || job->resize.coordinates != ONNXC_TF_CROP_AND_RESIZE)
      continue;
    onnxc_expr x = onnxc_resize_coordinate(graph, &job->resize, &job->axes[d], e_index(pool, d)).x;
    onnxc_expr last = e_dim(pool, onnxc_dim_addc(&graph->dims, job->axes[d].in, -1));
    inside = e_also(pool, inside, e_ge(pool, x, e_number(pool, x, 0)));
    inside = e_also(pool, inside, e_le(pool, x, onnxc_expr_cast(pool, ONNXC_F32, last)));
  }
  return inside;
}

static onnxc_value gather(resize_job *job) {
  onnxc_exprs *pool = &job->in->graph->exprs;
  onnxc_dtype dtype = blend_dtype(job);
  taps axes[ONNXC_MAX_RANK];
  onnxc_expr index[ONNXC_MAX_RANK];
  onnxc_compute compute = {.num_parallel = job->x.rank, .num_results = 1, .acc_dtype = {job->x.dtype}};
  uint32_t loads = 1;
  for (uint32_t d = 0; d < job->x.rank; d++) {
    axes[d] = taps_of(job, d, dtype);
    compute.extents[d] = job->axes[d].out;
    loads *= axes[d].count;
  }
  if (loads > 4096)
    return onnxc_build_error(job->in->graph, ONNXC_UNSUPPORTED, job->in->where, "interpolation by %u samples", loads);
  onnxc_expr value = onnxc_expr_cast(pool, job->x.dtype, blend(job, axes, 0, index, dtype));
  onnxc_expr outside = onnxc_dtype_is_float(job->x.dtype)
                           ? onnxc_expr_f64(pool, job->x.dtype, job->resize.extrapolation)
                           : onnxc_expr_i64(pool, job->x.dtype, (int64_t)job->resize.extrapolation);
  compute.finish[0] = e_guard(pool, inside_of(job), value, outside);
  return add_compute(job, &compute);
}

/* ---- antialiasing ---- */

/* floor(-support / min(scale, 1)) + 1, the first tap of a widened filter, relative to the coordinate's floor. */
static onnxc_dim first_tap(resize_job *job, const onnxc_resize_axis *axis, int64_t support) {
  onnxc_graph *graph = job->in->graph;
  onnxc_exprs *pool = &graph->exprs;
  onnxc_dims *dims = &graph->dims;
  if (axis->p.i) {
    onnxc_dim wide = onnxc_dim_mulc(dims, onnxc_dim_max(dims, axis->q, axis->p), -support);
    return onnxc_dim_addc(dims, onnxc_dim_floordiv(dims, wide, axis->p), 1);
  }
  onnxc_expr scale = e_min(pool, axis->scale, e_number(pool, axis->scale, 1));
  onnxc_expr first = e_div(pool, e_number(pool, scale, (double)-support), scale);
  first = e_addc(pool, e_i64(pool, onnxc_expr_unary(pool, ONNXC_EXPR_FLOOR, first)), 1);
  onnxc_compute compute = {.num_results = 1, .acc_dtype = {ONNXC_I64}, .finish = {first}};
  uint32_t count;
  const onnxc_dim *elements = onnxc_value_elements(graph, add_compute(job, &compute), &count);
  return elements ? elements[0] : (onnxc_dim){0};
}

/* x resized along dim d alone: sum of weight * x over sum of weight, as `result`. */
static onnxc_value filter_axis(resize_job *job, uint32_t d, onnxc_dtype result) {
  onnxc_graph *graph = job->in->graph;
  onnxc_exprs *pool = &graph->exprs;
  onnxc_dims *dims = &graph->dims;
  const onnxc_resize_axis *axis = &job->axes[d];
  onnxc_dtype dtype = blend_dtype(job);
  uint32_t rank = job->x.rank;
  onnxc_dim start = first_tap(job, axis, job->resize.mode == ONNXC_RESIZE_LINEAR ? 1 : 2);
  if (!start.i)
    return (onnxc_value){0};
  onnxc_compute compute = {.num_parallel = rank, .num_reduce = 1, .num_results = 1};
  onnxc_expr index[ONNXC_MAX_RANK] = {0};
  for (uint32_t k = 0; k < rank; k++) {
    compute.extents[k] = k == d ? axis->out : job->x.dims[k];
    index[k] = e_index(pool, k);
  }
  compute.extents[rank] = onnxc_dim_addc(dims, onnxc_dim_mulc(dims, start, -2), 2);
  onnxc_coordinate at = onnxc_resize_coordinate(graph, &job->resize, axis, index[d]);
  onnxc_expr tap = e_add(pool, e_index(pool, rank), e_dim(pool, start));
  onnxc_expr e = e_add(pool, onnxc_resize_floor(graph, &at), tap), scale = axis->scale;
  if (axis->p.i)
    scale = e_div(pool, onnxc_expr_cast(pool, dtype, e_dim(pool, onnxc_dim_min(dims, axis->p, axis->q))),
                  onnxc_expr_cast(pool, dtype, e_dim(pool, axis->q)));
  else
    scale = onnxc_expr_cast(pool, dtype, e_min(pool, scale, e_number(pool, scale, 1)));
  onnxc_expr distance = e_sub(pool, onnxc_expr_cast(pool, dtype, tap), onnxc_resize_fraction(graph, &at, dtype));
  onnxc_expr weight = onnxc_resize_filter(graph, &job->resize, e_mul(pool, distance, scale));
  index[d] = onnxc_resize_clamp(graph, e, axis->in);
  if (job->resize.exclude_outside)
    weight = onnxc_expr_select(pool, e_eq(pool, e, index[d]), weight, e_number(pool, weight, 0));
  onnxc_expr value = onnxc_expr_cast(pool, dtype, onnxc_expr_load(pool, job->x.dtype, 0, rank, index));
  onnxc_build_sum(pool, &compute, 0, dtype, e_mul(pool, value, weight));
  onnxc_build_sum(pool, &compute, 1, dtype, weight);
  compute.num_results = 2;
  onnxc_expr total = onnxc_expr_acc(pool, dtype, 1);
  compute.finish[0] = onnxc_expr_cast(pool, result, e_div(pool, onnxc_expr_acc(pool, dtype, 0), total));
  compute.finish[1] = total;
  return add_compute(job, &compute);
}

static onnxc_value filter(resize_job *job) {
  onnxc_dtype dtype = job->x.dtype;
  uint32_t last = 0;
  for (uint32_t d = 0; d < job->x.rank; d++)
    last = job->axes[d].active ? d : last;
  for (uint32_t d = 0; d <= last; d++) {
    if (!job->axes[d].active)
      continue;
    onnxc_value next = filter_axis(job, d, d == last ? dtype : blend_dtype(job));
    if (!next.i)
      return next;
    job->operands[0] = next;
    job->x = *onnxc_value_of(job->in->graph, next);
  }
  return job->operands[0];
}

/* ---- importers ---- */

/* An optional list of floats; one of no elements is not there. False after an error. */
static bool read_floats(resize_job *job, uint32_t k, uint32_t which, uint32_t count) {
  onnxc_graph *graph = job->in->graph;
  onnxc_value value = onnxc_import_optional(job->in, k);
  if (!value.i || onnxc_dim_is(&graph->dims, onnxc_value_num_elements(graph, value), 0))
    return true;
  const onnxc_value_info *info = onnxc_value_of(graph, value);
  if (info->rank != 1 || !onnxc_dtype_is_float(info->dtype)) {
    onnxc_import_error(job->in, ONNXC_BAD_INPUT, "input %u must be a list of floats, not rank %u %s", k, info->rank,
                       onnxc_dtype_name(info->dtype));
    return false;
  }
  job->operands[which] = value;
  return onnxc_build_same_dim(graph, job->in->where, info->dims[0], onnxc_dim_const(&graph->dims, count), NULL);
}

static bool read_resize(resize_job *job, bool simple, uint32_t scales_at) {
  onnxc_importer *in = job->in;
  onnxc_value x = onnxc_import_input(in, 0);
  if (!x.i)
    return false;
  job->operands[0] = x;
  job->x = *onnxc_value_of(in->graph, x);
  if (!(onnxc_dtype_is_float(job->x.dtype) || onnxc_dtype_is_int(job->x.dtype) || onnxc_dtype_is_bool(job->x.dtype))) {
    onnxc_import_error(in, ONNXC_UNSUPPORTED, "elements of type %s", onnxc_dtype_name(job->x.dtype));
    return false;
  }
  return read_attributes(job, simple) && read_axes(job) && read_floats(job, scales_at, 1, job->num_axes);
}

static onnxc_status finish(resize_job *job) {
  bool any = false;
  onnxc_dim extents[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < job->x.rank; d++) {
    any = any || job->axes[d].active;
    extents[d] = job->axes[d].out;
  }
  if (!any)
    return onnxc_import_done(job->in, 0, job->operands[0]);
  onnxc_import_need_elements(job->in, &job->x, job->x.rank, extents);
  return onnxc_import_done(job->in, 0, job->resize.antialias ? filter(job) : gather(job));
}

onnxc_status onnxc_import_Resize(onnxc_importer *in) {
  resize_job job = {.in = in};
  if (in->opset < 11) {
    if (!read_resize(&job, true, 1))
      return failed(in);
    if (!job.operands[1].i)
      return onnxc_import_error(in, ONNXC_BAD_INPUT, "the scales are missing");
    return scales_of_input(&job) ? finish(&job) : failed(in);
  }
  if (!read_resize(&job, false, 2) || !read_floats(&job, 1, 2, 2 * job.num_axes))
    return failed(in);
  bool crop = job.resize.coordinates == ONNXC_TF_CROP_AND_RESIZE;
  if (crop && !job.operands[2].i)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "the region of interest is missing");
  for (uint32_t k = 0; crop && k < job.num_axes; k++) {
    onnxc_resize_axis *axis = &job.axes[job.axis_of[k]];
    axis->roi_start = float_element(&job, 2, k);
    axis->roi_end = float_element(&job, 2, k + job.num_axes);
  }
  bool done = job.operands[1].i ? scales_of_input(&job) : onnxc_import_input(in, 3).i && sizes_of_input(&job, 3);
  for (uint32_t k = 0; crop && k < job.num_axes; k++)
    job.axes[job.axis_of[k]].active = true;
  return done ? finish(&job) : failed(in);
}

onnxc_status onnxc_import_Upsample(onnxc_importer *in) {
  resize_job job = {.in = in};
  if (!read_resize(&job, true, 1))
    return failed(in);
  bool done = in->opset < 9       ? scales_of_attribute(&job)
              : job.operands[1].i ? scales_of_input(&job)
                                  : onnxc_import_error(in, ONNXC_BAD_INPUT, "the scales are missing") == ONNXC_OK;
  return done ? finish(&job) : failed(in);
}
