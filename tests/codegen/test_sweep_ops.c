/* test_sweep_ops.c -- every operation of expr.def on every type, compiled as a compute and run against the evaluator.
 *
 * tests/nano proves the arithmetic; here it is loads, masks, broadcasts, selects and stores around it: odd lengths, so
 * that there are whole vectors and a tail, vector and scalar schedules, buffers against inaccessible pages; for this
 * CPU and for AVX2.
 */
#include "codegen/rig.h"

#include <criterion/criterion.h>
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#define BEGIN(r)                                                                                                       \
  rig *r = calloc(1, sizeof *r);                                                                                       \
  rig_init(r);                                                                                                         \
  if (setjmp(r->guard.env))                                                                                            \
  abort()

static const onnxc_dtype dtypes[] = {ONNXC_F32, ONNXC_F64, ONNXC_F16, ONNXC_BF16, ONNXC_I8,  ONNXC_I16, ONNXC_I32,
                                     ONNXC_I64, ONNXC_U8,  ONNXC_U16, ONNXC_U32,  ONNXC_U64, ONNXC_BOOL};
enum { NUM_DTYPES = sizeof dtypes / sizeof *dtypes };

static const double corners[] = {0.0,     -0.0,         1,    -1,     0.5,     -0.5, 2,        -3,        7,  100.5,
                                 -1000.0, 2147483648.0, -128, 255.75, 65535.0, 1e-5, INFINITY, -INFINITY, NAN};

static bool applies(onnxc_expr_op op, onnxc_dtype dtype) {
  switch (op) {
  case ONNXC_EXPR_EXP:
  case ONNXC_EXPR_LOG:
  case ONNXC_EXPR_LOG1P:
  case ONNXC_EXPR_EXPM1:
  case ONNXC_EXPR_ERF:
  case ONNXC_EXPR_TANH:
  case ONNXC_EXPR_SIN:
  case ONNXC_EXPR_COS:
  case ONNXC_EXPR_SQRT: return onnxc_dtype_is_float(dtype);
  case ONNXC_EXPR_NOT:
  case ONNXC_EXPR_AND:
  case ONNXC_EXPR_OR:
  case ONNXC_EXPR_XOR:
  case ONNXC_EXPR_SHL:
  case ONNXC_EXPR_SHR:
  case ONNXC_EXPR_FLOORDIV: return !onnxc_dtype_is_float(dtype);
  default: return true;
  }
}

static uint32_t lanes_of(const rig *r) { return onnxc_target_lanes(r->target, 4); }

/* out[i, j] = finish, i < 2; b is broadcast along i, so that a register tile shares it. */
static void add_case(rig *r, const char *name, onnxc_expr finish, const onnxc_dtype *types, uint32_t num_operands) {
  uint32_t lanes = lanes_of(r);
  int64_t n = 2 * lanes + 5;
  onnxc_compute c = {.num_results = 1};
  rig_extents(r, &c, 2, 0, (int64_t[]){2, n});
  c.finish[0] = finish;
  uint32_t operands[3];
  for (uint32_t k = 0; k < num_operands; k++)
    operands[k] = k == 1 ? rig_tensor(r, types[k], 1, &n, NULL) : rig_tensor(r, types[k], 2, (int64_t[]){2, n}, NULL);
  onnxc_schedule vector = rig_schedule(&c, 0, 2, 1, 2, lanes, 1), scalar = rig_schedule(&c, -1, 1, -1, 1, 1, 1);
  rig_case(r, name, &c, operands, num_operands, NULL, &vector);
  if (r->target == onnxc_target_host())
    rig_case(r, name, &c, operands, num_operands, NULL, &scalar);
}

static onnxc_expr load(rig *r, onnxc_dtype dtype, uint32_t operand) {
  return rig_at(r, dtype, operand, operand == 1 ? (int[]){1, -1} : (int[]){0, 1, -1});
}

/* One module a type: every operation, and casts from it to every type. */
static void sweep(onnxc_dtype dtype, const char *target) {
  BEGIN(r);
  if (target)
    r->target = r->program.target = onnxc_target_find(target, strlen(target));
  onnxc_exprs *pool = &r->graph.exprs;
  r->corners = corners;
  r->num_corners = sizeof corners / sizeof *corners;
  onnxc_expr a = load(r, dtype, 0), b = load(r, dtype, 1);
  for (int k = ONNXC_EXPR_NEG; k <= ONNXC_EXPR_GE; k++) {
    onnxc_expr_op op = (onnxc_expr_op)k;
    if (!applies(op, dtype))
      continue;
    bool binary = onnxc_expr_op_arity(op) == 2;
    onnxc_expr e = binary ? onnxc_expr_binary(pool, op, a, b) : onnxc_expr_unary(pool, op, a);
    const char *name = onnxc_arena_printf(&r->arena, "%s %s", onnxc_expr_op_name(op), onnxc_dtype_name(dtype));
    add_case(r, name, e, (onnxc_dtype[]){dtype, dtype}, binary ? 2 : 1);
  }
  onnxc_expr chosen = onnxc_expr_select(pool, load(r, ONNXC_BOOL, 2), a, b);
  const char *select = onnxc_arena_printf(&r->arena, "select %s", onnxc_dtype_name(dtype));
  add_case(r, select, chosen, (onnxc_dtype[]){dtype, dtype, ONNXC_BOOL}, 3);
  for (int t = 0; t < NUM_DTYPES; t++)
    if (dtypes[t] != dtype) {
      const char *name =
          onnxc_arena_printf(&r->arena, "%s to %s", onnxc_dtype_name(dtype), onnxc_dtype_name(dtypes[t]));
      add_case(r, name, onnxc_expr_cast(pool, dtypes[t], a), &dtype, 1);
    }
  rig_run(r);
}

Test(sweep_ops, floats) {
  for (int k = 0; k < 4; k++)
    for (int t = 0; t < 2; t++)
      sweep(dtypes[k], t ? "x86-64-v3" : NULL);
}

Test(sweep_ops, integers_and_bools) {
  for (int k = 4; k < NUM_DTYPES; k++)
    for (int t = 0; t < 2; t++)
      sweep(dtypes[k], t ? "x86-64-v3" : NULL);
}

/* Activations as the importers build them, and an index computed by an expression. */
Test(sweep_ops, chains) {
  BEGIN(r);
  onnxc_exprs *pool = &r->graph.exprs;
  onnxc_dtype f32[] = {ONNXC_F32, ONNXC_F32};
  r->corners = corners;
  r->num_corners = sizeof corners / sizeof *corners;
  onnxc_expr x = load(r, ONNXC_F32, 0), y = load(r, ONNXC_F32, 1);
  onnxc_expr one = onnxc_expr_f64(pool, ONNXC_F32, 1), half = onnxc_expr_f64(pool, ONNXC_F32, 0.5);
  onnxc_expr e = onnxc_expr_unary(pool, ONNXC_EXPR_EXP, onnxc_expr_unary(pool, ONNXC_EXPR_NEG, x));
  add_case(r, "sigmoid", onnxc_expr_binary(pool, ONNXC_EXPR_DIV, one, rig_op(r, ONNXC_EXPR_ADD, one, e)), f32, 1);
  onnxc_expr scaled = rig_op(r, ONNXC_EXPR_MUL, x, onnxc_expr_f64(pool, ONNXC_F32, 0.70710678118));
  onnxc_expr normal = rig_op(r, ONNXC_EXPR_ADD, onnxc_expr_unary(pool, ONNXC_EXPR_ERF, scaled), one);
  add_case(r, "gelu", rig_op(r, ONNXC_EXPR_MUL, rig_op(r, ONNXC_EXPR_MUL, x, half), normal), f32, 1);
  onnxc_expr soft = onnxc_expr_unary(pool, ONNXC_EXPR_LOG1P, onnxc_expr_unary(pool, ONNXC_EXPR_EXP, x));
  add_case(r, "mish", rig_op(r, ONNXC_EXPR_MUL, x, onnxc_expr_unary(pool, ONNXC_EXPR_TANH, soft)), f32, 1);
  onnxc_expr positive = rig_op(r, ONNXC_EXPR_GT, x, onnxc_expr_f64(pool, ONNXC_F32, 0));
  onnxc_expr elu = onnxc_expr_select(pool, positive, x, onnxc_expr_unary(pool, ONNXC_EXPR_EXPM1, x));
  add_case(r, "elu", elu, f32, 1);
  onnxc_expr clipped = rig_op(r, ONNXC_EXPR_MIN, rig_op(r, ONNXC_EXPR_MAX, x, y), onnxc_expr_f64(pool, ONNXC_F32, 6));
  add_case(r, "clip", clipped, f32, 2);
  onnxc_expr quantized = onnxc_expr_unary(pool, ONNXC_EXPR_ROUND, rig_op(r, ONNXC_EXPR_DIV, x, half));
  add_case(r, "quantize", onnxc_expr_cast(pool, ONNXC_U8, quantized), f32, 1);
  add_case(r, "parity",
           rig_op(r, ONNXC_EXPR_EQ, rig_op(r, ONNXC_EXPR_MOD, rig_index(r, 1), rig_int(r, 3)), rig_index(r, 0)), f32,
           0);
  rig_run(r);
}
