/* qdq.c -- make sums of products of dequantized bytes sums of products of the bytes.
 *
 *     sum sa*(a - za) * sb*(b - zb)  =  sa*sb * (sum a*b  -  za * sum (b - zb)  -  zb * sum a)
 *
 * for scales and zero points that are constant and do not change within a sum. The left side rounds to f32 at each
 * step; the right side is exact up to sa*sb: its sums fit 32 bits, or the product stays as it is. Sums of constants
 * fold, and zeros around a (a guard) are left out of every sum. The result is still f32: what follows becomes an
 * epilogue, up to the quantization of the next layer's bytes.
 *
 * Dot products take u8 x s8. A signed a is read as unsigned, with another zero point, and an unsigned b as signed:
 *
 *     a - za  =  (a ^ 0x80) - (za + 128)        b - zb  =  (b ^ 0x80) - (zb - 128)
 *
 * Whoever makes a writes it that way (as an epilogue, after fusion), and activations that begin at their lowest byte,
 * as those behind a ReLU do, have no zero point then. Dequantized numbers stay as they are for other users.
 *
 * A padded convolution of integers (ConvInteger) reads the zero point z where it leaves the image. That is no product
 * of loads, but
 *
 *     sum select(inside, a, z) * b  =  sum over inside of (a - z)*b  +  z * sum b
 *
 * Bytes that are dequantized, moved and quantized as they were are moved as bytes:
 *
 *     quantize(move(dequantize(a)))  =  move(a)        reshape(dequantize(a))  =  dequantize(reshape(a))
 *
 * Must run before fold, which turns dequantized weights into floats.
 *
 * needs: nothing      breaks: roles      leaves: dequantizing computes without users, for dce
 */
#include "ops/build.h"
#include "pass/number.h"
#include "pass/pass.h"
#include "pass/recognise.h"

#include <float.h>
#include <math.h>

/* What correcting a guarded product may cost when it is folded: elements of the correction and additions. */
#define MAX_CORRECTION ((double)(1 << 18))
#define MAX_ADDITIONS  ((double)(1 << 27))

typedef struct rewriter {
  onnxc_graph *graph;
  onnxc_order order;
  ONNXC_VEC(onnxc_value) from; /* bytes of one sign, and */
  ONNXC_VEC(onnxc_value) to;   /* the same of the other */
} rewriter;

/* A product that may be changed, and how. */
typedef struct island {
  const onnxc_compute *compute;
  const char *name;
  onnxc_contraction roles;
  onnxc_number a, b;
  onnxc_expr guard; /* around a */
  bool padded;      /* with a's zero point, and of integers: there is nothing to scale */
} island;

static bool is_number(const onnxc_exprs *pool, onnxc_expr e, double value) {
  double f;
  int64_t i;
  return onnxc_expr_const_value(pool, e, &f, &i) && f == value;
}

/* ---- may it be changed? ---- */

static uint32_t indices_of_place(const onnxc_exprs *pool, const onnxc_place *p) {
  uint32_t used = 0;
  for (uint32_t d = 0; d < p->rank; d++)
    used |= onnxc_expr_indices(pool, p->index[d]);
  return used;
}

static uint32_t indices_of_parameter(const onnxc_exprs *pool, const onnxc_parameter *p) {
  return p->constant.i ? 0 : indices_of_place(pool, &p->at);
}

/* The least and the greatest magnitude of a scale. */
static void range_of_scale(const onnxc_graph *graph, const onnxc_parameter *p, double range[2]) {
  double f;
  int64_t i;
  if (p->constant.i) {
    onnxc_expr_const_value(&graph->exprs, p->constant, &f, &i);
    range[0] = range[1] = fabs(f);
    return;
  }
  const onnxc_value_info *info = onnxc_value_of(graph, p->at.value);
  range[0] = INFINITY;
  range[1] = 0;
  for (size_t at = 0; at < info->data_size; at += sizeof(float)) {
    f = fabs(onnxc_scalar_to_f64(ONNXC_F32, (const char *)info->data + at));
    range[0] = f < range[0] ? f : range[0];
    range[1] = f > range[1] || isnan(f) ? f : range[1];
  }
}

/* Scales whose product is normal: otherwise infinities and zeros would come out elsewhere than in f32. */
static bool scales_are_tame(const onnxc_graph *graph, const island *o) {
  double a[2], b[2];
  range_of_scale(graph, &o->a.scale, a);
  range_of_scale(graph, &o->b.scale, b);
  return a[0] >= FLT_MIN && b[0] >= FLT_MIN && a[1] <= FLT_MAX && b[1] <= FLT_MAX && a[0] * b[0] >= FLT_MIN &&
         a[1] * b[1] <= FLT_MAX;
}

/* The greatest magnitude of byte - zero. */
static double reach(const onnxc_graph *graph, const onnxc_number *n) {
  double zero;
  int64_t i;
  if (!n->zero.constant.i || !onnxc_expr_const_value(&graph->exprs, n->zero.constant, &zero, &i))
    return 255;
  double low = onnxc_value_of(graph, n->byte.value)->dtype == ONNXC_I8 ? -128 : 0;
  return fmax(zero - low, low + 255 - zero);
}

static bool sums_fit(const onnxc_graph *graph, const island *o) {
  double most = reach(graph, &o->a) * reach(graph, &o->b);
  for (uint32_t k = 0; k < o->compute->num_reduce; k++) {
    int64_t low, high;
    onnxc_dim_range(&graph->dims, o->compute->extents[o->compute->num_parallel + k], &low, &high);
    most *= (double)high;
  }
  return most <= INT32_MAX;
}

/* There is something to add up in dot products, and it does not change the parameters. */
static bool contracts(const onnxc_graph *graph, const island *o) {
  const onnxc_compute *c = o->compute;
  bool columns = false, depth = false;
  uint32_t used = indices_of_parameter(&graph->exprs, &o->a.scale) | indices_of_parameter(&graph->exprs, &o->a.zero) |
                  indices_of_parameter(&graph->exprs, &o->b.scale) | indices_of_parameter(&graph->exprs, &o->b.zero);
  for (uint32_t k = 0; k < c->num_parallel + c->num_reduce; k++) {
    columns = columns || o->roles.role[k] == ONNXC_ROLE_N;
    depth = depth || (o->roles.role[k] == ONNXC_ROLE_K && onnxc_dim_hint(&graph->dims, c->extents[k]) > 1);
  }
  return columns && depth && used >> c->num_parallel == 0;
}

static bool has_zero(const onnxc_graph *graph, const onnxc_number *n) {
  return !n->zero.constant.i || !is_number(&graph->exprs, n->zero.constant, (double)-n->shift);
}

/* The parallel indices on which a sum of the number's bytes depends, its zero point subtracted or not. */
static uint32_t indices_of_sum(const onnxc_graph *graph, const island *o, const onnxc_number *n, bool subtract) {
  uint32_t used = indices_of_place(&graph->exprs, &n->byte);
  if (o->guard.i)
    used |= onnxc_expr_indices(&graph->exprs, o->guard);
  if (subtract)
    used |= indices_of_parameter(&graph->exprs, &n->zero);
  return used & ((1u << o->compute->num_parallel) - 1);
}

/* With a guard the sums of b differ from point to point; they must be known, and few. */
static bool correction_is_cheap(const onnxc_graph *graph, const island *o) {
  const onnxc_compute *c = o->compute;
  if (!o->guard.i || !has_zero(graph, &o->a))
    return true;
  if (!onnxc_value_is_constant(graph, o->b.byte.value))
    return false;
  uint32_t used = indices_of_sum(graph, o, &o->b, true);
  double points = 1, additions = 1;
  for (uint32_t k = 0; k < c->num_parallel + c->num_reduce; k++) {
    int64_t extent;
    if (k < c->num_parallel && !(used >> k & 1))
      continue;
    if (!onnxc_dim_is_const(&graph->dims, c->extents[k], &extent))
      return false;
    points *= k < c->num_parallel ? (double)extent : 1;
    additions *= (double)extent;
  }
  return points <= MAX_CORRECTION && additions <= MAX_ADDITIONS;
}

static void find_operands(void *arg, const onnxc_exprs *pool, onnxc_expr e) {
  const onnxc_expr_node *node = onnxc_exprs_node(pool, e);
  uint32_t *mask = arg;
  if (node->op == ONNXC_EXPR_LOAD && node->imm < 32)
    *mask |= 1u << node->imm;
}

/* Are the factors read beside the product? */
static bool read_elsewhere(const onnxc_graph *graph, const onnxc_compute *c, const onnxc_contraction *roles) {
  uint32_t read = 0;
  onnxc_expr_walk(&graph->exprs, c->finish[0], find_operands, &read);
  return roles->a >= 32 || roles->b >= 32 || (read >> roles->a & 1) || (read >> roles->b & 1);
}

/* The compute with 0 where its product has select(inside, byte, zero); none if it is no such product. */
static onnxc_expr find_padding(onnxc_graph *graph, onnxc_compute *compute) {
  onnxc_exprs *pool = &graph->exprs;
  onnxc_expr_node product = *onnxc_exprs_node(pool, compute->element[0]);
  if (compute->num_reduce == 0 || compute->acc_dtype[0] != ONNXC_I32 || product.op != ONNXC_EXPR_MUL)
    return (onnxc_expr){0};
  for (int k = 0; k < 2; k++) {
    const onnxc_expr_node *cast = onnxc_exprs_node(pool, product.args[k]);
    if (cast->op != ONNXC_EXPR_CAST)
      continue;
    onnxc_expr_node select = *onnxc_exprs_node(pool, cast->args[0]);
    if (select.op != ONNXC_EXPR_SELECT || onnxc_exprs_node(pool, select.args[2])->op != ONNXC_EXPR_CONST)
      continue;
    onnxc_expr zero = onnxc_expr_i64(pool, (onnxc_dtype)select.dtype, 0);
    onnxc_expr guarded = onnxc_expr_select(pool, select.args[0], select.args[1], zero);
    compute->element[0] = onnxc_build_product(pool, guarded, product.args[1 - k], ONNXC_I32);
    return onnxc_expr_cast(pool, ONNXC_I32, select.args[2]);
  }
  return (onnxc_expr){0};
}

/* The factor of a product of dequantized bytes. */
static bool find_factor(onnxc_graph *graph, const onnxc_node_info *node, const onnxc_factor *factor, onnxc_number *n) {
  onnxc_place at;
  if (!onnxc_find_place(graph, node, factor->load, NULL, &at) || !onnxc_find_number(graph, &at, n))
    return false;
  onnxc_follow_place(graph, &n->byte);
  return true;
}

/* The factor of a product of bytes. */
static bool find_byte(onnxc_graph *graph, const onnxc_node_info *node, const onnxc_factor *factor, onnxc_expr zero,
                      onnxc_number *n) {
  onnxc_exprs *pool = &graph->exprs;
  *n = (onnxc_number){.scale.constant = onnxc_expr_f64(pool, ONNXC_F32, 1)};
  n->zero.constant = factor->guard.i ? zero : onnxc_expr_i64(pool, ONNXC_I32, 0);
  onnxc_dtype dtype = (onnxc_dtype)onnxc_exprs_node(pool, factor->load)->dtype;
  return (dtype == ONNXC_U8 || dtype == ONNXC_I8) && onnxc_find_place(graph, node, factor->load, NULL, &n->byte);
}

static bool find_island(onnxc_graph *graph, const onnxc_node_info *node, island *o) {
  onnxc_exprs *pool = &graph->exprs;
  if (node->op != ONNXC_OP_COMPUTE || node->compute->row_group || node->compute->num_reduce == 0)
    return false;
  onnxc_compute compute = *node->compute;
  onnxc_factor factors[2];
  onnxc_expr padding = find_padding(graph, &compute);
  if (!onnxc_recognise_contraction(graph, &compute, node->inputs) ||
      (!padding.i && compute.acc_dtype[0] != ONNXC_F32) || compute.contraction.a == compute.contraction.b ||
      !onnxc_contraction_factors(pool, &compute, factors) || !is_number(pool, compute.init[0], 0))
    return false;
  *o = (island){.compute = node->compute, .name = node->name, .padded = padding.i != 0};
  onnxc_number numbers[2];
  onnxc_value *bytes = ONNXC_NEW_ARRAY(graph->arena, onnxc_value, node->num_inputs);
  for (uint32_t k = 0; k < node->num_inputs; k++)
    bytes[k] = node->inputs[k];
  for (int k = 0; k < 2; k++) {
    if (!(padding.i ? find_byte(graph, node, &factors[k], padding, &numbers[k])
                    : find_factor(graph, node, &factors[k], &numbers[k])))
      return false;
    bytes[onnxc_exprs_node(pool, factors[k].load)->imm] = numbers[k].byte.value;
  }
  onnxc_recognise_contraction(graph, &compute, bytes); /* again: which of the bytes are constant is known now */
  bool swapped = onnxc_exprs_node(pool, factors[0].load)->imm != (int64_t)compute.contraction.a;
  o->roles = compute.contraction;
  o->a = numbers[swapped];
  o->b = numbers[!swapped];
  o->guard = factors[swapped].guard;
  return !factors[!swapped].guard.i && contracts(graph, o) && scales_are_tame(graph, o) &&
         (o->padded || sums_fit(graph, o)) && !read_elsewhere(graph, node->compute, &o->roles);
}

/* ---- signs ---- */

static onnxc_expr scalar_flip(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  onnxc_dtype dtype = *(const onnxc_dtype *)arg;
  return onnxc_expr_binary(pool, ONNXC_EXPR_XOR, onnxc_expr_cast(pool, dtype, args[0]),
                           onnxc_expr_i64(pool, dtype, dtype == ONNXC_U8 ? 128 : -128));
}

/* The node just appended to the graph's order goes before its user instead. */
static void put(rewriter *w) { ONNXC_PUSH(w->graph->arena, w->order, w->graph->order.data[--w->graph->order.length]); }

/* The bytes with the other sign, made once for all users. */
static void flip(rewriter *w, const char *name, onnxc_number *n) {
  onnxc_graph *graph = w->graph;
  onnxc_dtype dtype = onnxc_value_of(graph, n->byte.value)->dtype == ONNXC_I8 ? ONNXC_U8 : ONNXC_I8;
  n->shift = dtype == ONNXC_U8 ? 128 : -128;
  for (uint32_t k = 0; k < w->from.length; k++)
    if (w->from.data[k].i == n->byte.value.i &&
        onnxc_branch_within(graph, graph->branch, onnxc_branch_of(graph, w->to.data[k]))) {
      n->byte.value = w->to.data[k];
      return;
    }
  onnxc_value flipped = onnxc_build_map(graph, name, 1, &n->byte.value, scalar_flip, &dtype);
  put(w);
  ONNXC_PUSH(graph->arena, w->from, n->byte.value);
  ONNXC_PUSH(graph->arena, w->to, flipped);
  n->byte.value = flipped;
}

/* ---- rewriting ---- */

/* A compute over those of the product's parallel indices that `used` has, and its reduction or none. */
typedef struct part {
  onnxc_compute compute;
  onnxc_value inputs[2];
  uint32_t num_inputs;
  onnxc_expr index[ONNXC_MAX_INDICES]; /* the product's indices in this compute */
  onnxc_expr at[ONNXC_MAX_INDICES];    /* where the product reads the result */
} part;

static part begin_part(onnxc_graph *graph, const island *o, uint32_t used) {
  const onnxc_compute *c = o->compute;
  part p = {.compute = {.num_results = 1}};
  onnxc_expr zero = onnxc_expr_i64(&graph->exprs, ONNXC_I64, 0);
  for (uint32_t k = 0; k < c->num_parallel; k++) {
    p.index[k] = zero;
    if (!(used >> k & 1))
      continue;
    uint32_t n = p.compute.num_parallel++;
    p.index[k] = onnxc_expr_index(&graph->exprs, n);
    p.at[n] = onnxc_expr_index(&graph->exprs, k);
    p.compute.extents[n] = c->extents[k];
  }
  return p;
}

/* The part's load of an element, or the parameter that is one, as `dtype`. */
static onnxc_expr load_place(onnxc_graph *graph, part *p, const onnxc_place *at, onnxc_dtype dtype) {
  onnxc_exprs *pool = &graph->exprs;
  onnxc_expr index[ONNXC_MAX_RANK];
  for (uint32_t d = 0; d < at->rank; d++)
    index[d] = onnxc_substitute_indices(pool, at->index[d], p->index);
  p->inputs[p->num_inputs] = at->value;
  return onnxc_expr_cast(
      pool, dtype, onnxc_expr_load(pool, onnxc_value_of(graph, at->value)->dtype, p->num_inputs++, at->rank, index));
}

static onnxc_expr load_parameter(onnxc_graph *graph, part *p, const onnxc_parameter *from, onnxc_dtype dtype) {
  return from->constant.i ? onnxc_expr_cast(&graph->exprs, dtype, from->constant)
                          : load_place(graph, p, &from->at, dtype);
}

static onnxc_expr load_zero(onnxc_graph *graph, part *p, const onnxc_number *n) {
  return onnxc_expr_binary(&graph->exprs, ONNXC_EXPR_ADD, load_parameter(graph, p, &n->zero, ONNXC_I32),
                           onnxc_expr_i64(&graph->exprs, ONNXC_I32, n->shift));
}

/* The product's new node while it is made: its operands are the old ones and what is added. */
typedef struct change {
  rewriter *w;
  onnxc_value *inputs;
  uint32_t num_inputs;
  onnxc_expr acc; /* what stands for the accumulator */
} change;

/* The product's load of what the part makes. */
static onnxc_expr end_part(change *to, const char *name, part *p) {
  onnxc_graph *graph = to->w->graph;
  onnxc_value result;
  p->compute.acc_dtype[0] = (onnxc_dtype)onnxc_exprs_node(&graph->exprs, p->compute.finish[0])->dtype;
  onnxc_graph_add_compute(graph, name, &p->compute, p->num_inputs, p->inputs, &result);
  put(to->w);
  to->inputs[to->num_inputs] = result;
  return onnxc_expr_load(&graph->exprs, p->compute.acc_dtype[0], to->num_inputs++, p->compute.num_parallel, p->at);
}

/* other's zero point times the sums of n's bytes, less n's zero point if `subtract`. */
static onnxc_expr correction(change *to, const island *o, const onnxc_number *n, const onnxc_number *other,
                             bool subtract) {
  onnxc_graph *graph = to->w->graph;
  onnxc_exprs *pool = &graph->exprs;
  const onnxc_compute *c = o->compute;
  part p = begin_part(graph, o, indices_of_sum(graph, o, n, subtract));
  p.compute.num_reduce = c->num_reduce;
  for (uint32_t r = 0; r < c->num_reduce; r++) {
    p.index[c->num_parallel + r] = onnxc_expr_index(pool, p.compute.num_parallel + r);
    p.compute.extents[p.compute.num_parallel + r] = c->extents[c->num_parallel + r];
  }
  onnxc_expr element = load_place(graph, &p, &n->byte, ONNXC_I32);
  if (subtract)
    element = onnxc_expr_binary(pool, ONNXC_EXPR_SUB, element, load_zero(graph, &p, n));
  if (o->guard.i)
    element = onnxc_expr_select(pool, onnxc_substitute_indices(pool, o->guard, p.index), element,
                                onnxc_expr_i64(pool, ONNXC_I32, 0));
  onnxc_build_sum(pool, &p.compute, 0, ONNXC_I32, element);
  onnxc_expr sum = p.compute.finish[0] = onnxc_expr_acc(pool, ONNXC_I32, 0);
  if (other->zero.constant.i) {
    p.compute.finish[0] = onnxc_expr_binary(pool, ONNXC_EXPR_MUL, sum, load_zero(graph, NULL, other));
    return end_part(to, o->name, &p);
  }
  sum = end_part(to, o->name, &p);
  part zero = begin_part(graph, o, indices_of_parameter(pool, &other->zero));
  zero.compute.finish[0] = load_zero(graph, &zero, other);
  return onnxc_expr_binary(pool, ONNXC_EXPR_MUL, sum, end_part(to, o->name, &zero));
}

static onnxc_expr product_of_scales(change *to, const island *o) {
  onnxc_graph *graph = to->w->graph;
  const onnxc_parameter *a = &o->a.scale, *b = &o->b.scale;
  part p = begin_part(graph, o, indices_of_parameter(&graph->exprs, a) | indices_of_parameter(&graph->exprs, b));
  onnxc_expr scale = onnxc_expr_binary(&graph->exprs, ONNXC_EXPR_MUL, load_parameter(graph, &p, a, ONNXC_F32),
                                       load_parameter(graph, &p, b, ONNXC_F32));
  p.compute.finish[0] = scale;
  return p.num_inputs ? end_part(to, o->name, &p) : scale;
}

static onnxc_expr replace_acc(void *arg, onnxc_exprs *pool, onnxc_expr leaf) {
  return onnxc_exprs_node(pool, leaf)->op == ONNXC_EXPR_ACC ? ((change *)arg)->acc : (onnxc_expr){0};
}

static onnxc_expr factor(onnxc_graph *graph, const onnxc_number *n, uint32_t operand, onnxc_expr guard) {
  onnxc_exprs *pool = &graph->exprs;
  onnxc_dtype dtype = onnxc_value_of(graph, n->byte.value)->dtype;
  onnxc_expr load = onnxc_expr_load(pool, dtype, operand, n->byte.rank, n->byte.index);
  return guard.i ? onnxc_expr_select(pool, guard, load, onnxc_expr_i64(pool, dtype, 0)) : load;
}

static void rewrite(rewriter *w, onnxc_node handle, island *o) {
  enum { ADDED = 6 };
  onnxc_graph *graph = w->graph;
  onnxc_exprs *pool = &graph->exprs;
  const onnxc_node_info old = *onnxc_node_of(graph, handle);
  change to = {.w = w, .num_inputs = old.num_inputs};
  to.inputs = ONNXC_NEW_ARRAY(graph->arena, onnxc_value, old.num_inputs + ADDED);
  for (uint32_t k = 0; k < old.num_inputs; k++)
    to.inputs[k] = old.inputs[k];
  to.inputs[o->roles.a] = o->a.byte.value;
  to.inputs[o->roles.b] = o->b.byte.value;
  onnxc_expr sum = onnxc_expr_acc(pool, ONNXC_I32, 0);
  if (has_zero(graph, &o->a))
    sum = onnxc_expr_binary(pool, ONNXC_EXPR_SUB, sum, correction(&to, o, &o->b, &o->a, true));
  if (has_zero(graph, &o->b))
    sum = onnxc_expr_binary(pool, ONNXC_EXPR_SUB, sum, correction(&to, o, &o->a, &o->b, false));
  if (o->padded) {
    island everywhere = *o;
    everywhere.guard.i = 0;
    onnxc_number padding = {.zero = o->a.zero};
    to.acc = onnxc_expr_binary(pool, ONNXC_EXPR_ADD, sum, correction(&to, &everywhere, &o->b, &padding, true));
  } else {
    to.acc = onnxc_expr_binary(pool, ONNXC_EXPR_MUL, onnxc_expr_cast(pool, ONNXC_F32, sum), product_of_scales(&to, o));
  }
  onnxc_compute *compute = ONNXC_NEW(graph->arena, onnxc_compute);
  *compute = *o->compute;
  compute->contraction = (onnxc_contraction){0};
  onnxc_build_sum(pool, compute, 0, ONNXC_I32,
                  onnxc_build_product(pool, factor(graph, &o->a, o->roles.a, o->guard),
                                      factor(graph, &o->b, o->roles.b, (onnxc_expr){0}), ONNXC_I32));
  compute->finish[0] = onnxc_expr_rewrite(pool, compute->finish[0], replace_acc, &to);
  onnxc_node_info *node = onnxc_node_of(graph, handle);
  node->compute = compute;
  node->inputs = to.inputs;
  node->num_inputs = to.num_inputs;
}

/* Signs that dot products take; zeros around an a without zero point stay zeros. */
static void visit(rewriter *w, onnxc_node handle) {
  onnxc_graph *graph = w->graph;
  island o;
  if (!find_island(graph, onnxc_node_of(graph, handle), &o))
    return;
  bool a_signed = onnxc_value_of(graph, o.a.byte.value)->dtype == ONNXC_I8,
       b_signed = onnxc_value_of(graph, o.b.byte.value)->dtype == ONNXC_I8;
  bool flip_a = a_signed && b_signed && (!o.guard.i || has_zero(graph, &o.a));
  island changed = o;
  changed.a.shift = flip_a ? 128 : 0;
  if (!correction_is_cheap(graph, &changed))
    return;
  if (flip_a)
    flip(w, o.name, &o.a);
  if (!a_signed && !b_signed)
    flip(w, o.name, &o.b);
  rewrite(w, handle, &o);
}

/* ---- what only moves bytes ---- */

/* Do scale and zero point differ nowhere? */
static bool is_uniform(const onnxc_number *n) { return n->scale.constant.i && n->zero.constant.i; }

/* The load that the node quantizes with this divisor and zero point, or none. */
static onnxc_expr find_quantized(const onnxc_exprs *pool, const onnxc_node_info *node, double *divisor, double *zero) {
  const onnxc_expr none = {0};
  if (node->op != ONNXC_OP_COMPUTE || node->compute->num_reduce || node->compute->num_results != 1 ||
      node->compute->row_group)
    return none;
  const onnxc_expr_node *e = onnxc_exprs_node(pool, node->compute->finish[0]);
  if (e->op != ONNXC_EXPR_CAST)
    return none;
  e = onnxc_exprs_node(pool, e->args[0]);
  *zero = 0;
  if (e->op == ONNXC_EXPR_ADD && onnxc_expr_const_value(pool, e->args[1], zero, NULL))
    e = onnxc_exprs_node(pool, e->args[0]);
  if (e->op != ONNXC_EXPR_ROUND)
    return none;
  e = onnxc_exprs_node(pool, e->args[0]);
  if ((e->op != ONNXC_EXPR_DIV && e->op != ONNXC_EXPR_MUL) ||
      !onnxc_expr_const_value(pool, e->args[1], divisor, NULL) ||
      onnxc_exprs_node(pool, e->args[0])->op != ONNXC_EXPR_LOAD)
    return none;
  *divisor = e->op == ONNXC_EXPR_MUL ? 1 / *divisor : *divisor;
  return e->args[0];
}

/* A dequantized byte, quantized as it was, is the byte: two roundings move a number below 512 by less than 2^-13. */
static bool keep_bytes(rewriter *w, onnxc_node handle) {
  onnxc_graph *graph = w->graph;
  onnxc_exprs *pool = &graph->exprs;
  onnxc_node_info *node = onnxc_node_of(graph, handle);
  double divisor, zero, scale, less;
  onnxc_place at;
  onnxc_number n;
  onnxc_expr load = find_quantized(pool, node, &divisor, &zero);
  if (!load.i || !onnxc_find_place(graph, node, load, NULL, &at) || !onnxc_find_number(graph, &at, &n) ||
      !is_uniform(&n) || onnxc_value_of(graph, n.byte.value)->dtype != onnxc_value_of(graph, node->outputs[0])->dtype)
    return false;
  onnxc_expr_const_value(pool, n.scale.constant, &scale, NULL);
  onnxc_expr_const_value(pool, n.zero.constant, &less, NULL);
  if (scale != divisor || zero != less || fabs(zero) > 255 || fabs(scale) < 0x1p-100 || fabs(scale) > 0x1p100)
    return false;
  onnxc_compute *compute = ONNXC_NEW(graph->arena, onnxc_compute);
  *compute = *node->compute;
  compute->finish[0] = onnxc_expr_load(pool, onnxc_value_of(graph, n.byte.value)->dtype, 0, n.byte.rank, n.byte.index);
  node->compute = compute;
  node->inputs = ONNXC_NEW(graph->arena, onnxc_value);
  node->inputs[0] = n.byte.value;
  node->num_inputs = 1;
  return true;
}

static onnxc_expr scalar_dequantize(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  const onnxc_number *n = arg;
  onnxc_expr byte = onnxc_expr_cast(pool, ONNXC_I32, args[0]);
  onnxc_expr x = onnxc_expr_binary(pool, ONNXC_EXPR_SUB, byte, onnxc_expr_cast(pool, ONNXC_I32, n->zero.constant));
  return onnxc_expr_binary(pool, ONNXC_EXPR_MUL, onnxc_expr_cast(pool, ONNXC_F32, x), n->scale.constant);
}

/* A reshape of dequantized bytes becomes a reshape of the bytes, dequantized by the node. */
static void reshape_bytes(rewriter *w, onnxc_node handle) {
  onnxc_graph *graph = w->graph;
  const onnxc_node_info node = *onnxc_node_of(graph, handle);
  if (node.op != ONNXC_OP_RESHAPE)
    return;
  const onnxc_value_info from = *onnxc_value_of(graph, node.inputs[0]), to = *onnxc_value_of(graph, node.outputs[0]);
  onnxc_place at = {.value = node.inputs[0], .rank = from.rank};
  onnxc_number n;
  for (uint32_t d = 0; d < from.rank; d++)
    at.index[d] = onnxc_expr_index(&graph->exprs, d);
  if (from.dtype != ONNXC_F32 || !onnxc_layout_is_default(&from.layout, from.rank) ||
      !onnxc_layout_is_default(&to.layout, to.rank) || !onnxc_find_number(graph, &at, &n) || !is_uniform(&n))
    return;
  const onnxc_value_info bytes = *onnxc_value_of(graph, n.byte.value);
  if (bytes.rank != from.rank)
    return;
  for (uint32_t d = 0; d < from.rank; d++) {
    bool straight = n.byte.index[d].i == at.index[d].i || onnxc_dim_is(&graph->dims, bytes.dims[d], 1);
    if (!straight || !onnxc_dim_same(bytes.dims[d], from.dims[d]))
      return;
  }
  onnxc_value reshaped = onnxc_graph_add_value(graph, NULL, bytes.dtype, to.rank, to.dims);
  onnxc_graph_add_node(graph, ONNXC_OP_RESHAPE, node.name, 1, &n.byte.value, 1, &reshaped);
  put(w);
  onnxc_value numbers = onnxc_build_map(graph, node.name, 1, &reshaped, scalar_dequantize, &n);
  onnxc_node_info *made = onnxc_node_of(graph, onnxc_value_of(graph, numbers)->producer);
  graph->order.length--;
  onnxc_node_info *old = onnxc_node_of(graph, handle);
  old->op = ONNXC_OP_COMPUTE;
  old->compute = made->compute;
  old->inputs = made->inputs;
  old->num_inputs = made->num_inputs;
}

onnxc_status onnxc_pass_qdq(onnxc_graph *graph, const onnxc_pass_options *options) {
  rewriter w = {.graph = graph};
  if (!options->target)
    return onnxc_error(graph->diag, ONNXC_USAGE, "pass qdq needs a target");
  const onnxc_tile_row *row = onnxc_tile_row_for(options->target, ONNXC_U8, ONNXC_I32);
  if (!row || row->kr == 1)
    return ONNXC_OK;
  uint32_t length = graph->order.length;
  for (uint32_t k = 0; k < length; k++) {
    onnxc_node node = graph->order.data[k];
    graph->branch = onnxc_node_of(graph, node)->branch;
    if (!keep_bytes(&w, node)) {
      reshape_bytes(&w, node);
      visit(&w, node);
    }
    ONNXC_PUSH(graph->arena, w.order, node);
  }
  graph->branch = (onnxc_branch){0};
  graph->order = w.order;
  return ONNXC_OK;
}
