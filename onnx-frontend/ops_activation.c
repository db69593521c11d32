/* ops_activation.c -- elementwise functions of one operand.
 *
 * Each is a formula chosen for accuracy over the whole range, with NaN going through: comparisons are written so
 * that a NaN falls to the branch that keeps it. Parameters are attributes, read into `params`.
 */
#include "activation.h"
#include "scalar.h"

#include <math.h>
#include <string.h>
#include <strings.h>

typedef struct params {
  double alpha, beta;
  bool flag, other_flag;
} params;

static onnxc_status unary(onnxc_importer *in, const char *kinds, onnxc_build_scalar_fn scalar, params p) {
  onnxc_value x = onnxc_import_operand(in, 0, kinds);
  return onnxc_import_done(in, 0, onnxc_import_map(in, 1, &x, scalar, &p));
}

/* A function from its formula f(pool, x, p). */
#define SCALAR(Name, formula)                                                                                          \
  static onnxc_expr scalar_##Name(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {                              \
    const params *p = arg;                                                                                             \
    onnxc_expr x = args[0];                                                                                            \
    (void)p;                                                                                                           \
    return formula;                                                                                                    \
  }
/* An activation's importer from its formula f(pool, x, p) and the defaults of its attributes alpha and beta. */
#define ACTIVATION(OpType, kinds, alpha_name, alpha_default, beta_name, beta_default, formula)                         \
  SCALAR(OpType, formula)                                                                                              \
  onnxc_status onnxc_import_##OpType(onnxc_importer *in) {                                                             \
    return unary(in, kinds, scalar_##OpType,                                                                           \
                 (params){.alpha = onnxc_import_float(in, alpha_name, alpha_default),                                  \
                          .beta = onnxc_import_float(in, beta_name, beta_default)});                                   \
  }
#define PLAIN(OpType, kinds, formula) ACTIVATION(OpType, kinds, "", 0, "", 0, formula)
#define N(value)                      e_number(pool, x, value)

/* ---- the pieces ---- */

static onnxc_expr sigmoid(onnxc_exprs *pool, onnxc_expr x) {
  onnxc_expr one = N(1);
  return e_div(pool, one, e_add(pool, one, e_exp(pool, e_neg(pool, x))));
}

/* log(1 + exp(x)), without overflow and without loss for negative x. */
static onnxc_expr softplus(onnxc_exprs *pool, onnxc_expr x) {
  onnxc_expr tail = e_log1p(pool, e_exp(pool, e_neg(pool, e_abs(pool, x))));
  return e_add(pool, tail, e_max(pool, x, N(0)));
}

/* x > 0 ? x : negative */
static onnxc_expr rectify(onnxc_exprs *pool, onnxc_expr x, onnxc_expr negative) {
  return e_select(pool, e_gt(pool, x, N(0)), x, negative);
}

static onnxc_expr unit_clip(onnxc_exprs *pool, onnxc_expr x) { return e_max(pool, e_min(pool, x, N(1)), N(0)); }

/* sinh from expm1, which keeps small arguments exact: (e + e / (e + 1)) / 2. */
static onnxc_expr sinh_of(onnxc_exprs *pool, onnxc_expr x) {
  onnxc_expr e = e_expm1(pool, e_abs(pool, x));
  onnxc_expr ratio = e_div(pool, e, e_add(pool, e, N(1)));
  ratio = e_select(pool, e_eq(pool, e, N(INFINITY)), N(1), ratio);
  onnxc_expr magnitude = e_mul(pool, N(0.5), e_add(pool, e, ratio));
  return e_select(pool, e_lt(pool, x, N(0)), e_neg(pool, magnitude), magnitude);
}

/* log(|x| + sqrt(x^2 + 1)) = log1p(|x| + x^2 / (1 + sqrt(1 + x^2))), with the sign of x. */
static onnxc_expr asinh_of(onnxc_exprs *pool, onnxc_expr x) {
  onnxc_expr a = e_abs(pool, x), square = e_mul(pool, x, x);
  onnxc_expr root = e_add(pool, N(1), e_sqrt(pool, e_add(pool, N(1), square)));
  onnxc_expr small = e_log1p(pool, e_add(pool, a, e_div(pool, square, root)));
  onnxc_expr large = e_add(pool, e_log(pool, a), N(0.69314718055994531));
  onnxc_expr magnitude = e_select(pool, e_gt(pool, a, N(1e9)), large, small);
  return e_select(pool, e_lt(pool, x, N(0)), e_neg(pool, magnitude), magnitude);
}

static onnxc_expr acosh_of(onnxc_exprs *pool, onnxc_expr x) {
  onnxc_expr t = e_sub(pool, x, N(1));
  onnxc_expr small = e_log1p(pool, e_add(pool, t, e_sqrt(pool, e_mul(pool, t, e_add(pool, x, N(1))))));
  onnxc_expr large = e_add(pool, e_log(pool, x), N(0.69314718055994531));
  return e_select(pool, e_gt(pool, x, N(1e9)), large, small);
}

static onnxc_expr gelu_erf(onnxc_exprs *pool, onnxc_expr x) {
  onnxc_expr erf = e_erf(pool, e_mul(pool, x, N(0.70710678118654752)));
  return e_mul(pool, e_mul(pool, N(0.5), x), e_add(pool, N(1), erf));
}

static onnxc_expr gelu_tanh(onnxc_exprs *pool, onnxc_expr x) {
  onnxc_expr cube = e_mul(pool, e_mul(pool, x, x), x);
  onnxc_expr inner = e_mul(pool, N(0.79788456080286536), e_add(pool, x, e_mul(pool, N(0.044715), cube)));
  return e_mul(pool, e_mul(pool, N(0.5), x), e_add(pool, N(1), e_tanh(pool, inner)));
}

static onnxc_expr scaled_expm1(onnxc_exprs *pool, onnxc_expr x, double scale) {
  return e_mul(pool, N(scale), e_expm1(pool, x));
}

/* ---- functions ---- */

#define FUNCTION(OpType, kinds, OP) PLAIN(OpType, kinds, onnxc_expr_unary(pool, ONNXC_EXPR_##OP, x))
FUNCTION(Sqrt, "f", SQRT)
FUNCTION(Exp, "f", EXP)
FUNCTION(Log, "f", LOG)
FUNCTION(Erf, "fiu", ERF)
FUNCTION(Tanh, "f", TANH)
FUNCTION(Sin, "f", SIN)
FUNCTION(Cos, "f", COS)
FUNCTION(Floor, "f", FLOOR)
FUNCTION(Ceil, "f", CEIL)
FUNCTION(Round, "f", ROUND)
FUNCTION(Neg, "fi", NEG)
FUNCTION(Abs, "fiu", ABS)
FUNCTION(Sign, "fiu", SIGN)
FUNCTION(Not, "b", NOT)
FUNCTION(BitwiseNot, "iu", NOT)
FUNCTION(IsNaN, "f", ISNAN)

PLAIN(Reciprocal, "f", e_div(pool, N(1), x))
PLAIN(Tan, "f", e_div(pool, onnxc_expr_unary(pool, ONNXC_EXPR_SIN, x), onnxc_expr_unary(pool, ONNXC_EXPR_COS, x)))
PLAIN(Sinh, "f", sinh_of(pool, x))
PLAIN(Cosh, "f", e_mul(pool, N(0.5), e_add(pool, e_exp(pool, x), e_exp(pool, e_neg(pool, x)))))
PLAIN(Asinh, "f", asinh_of(pool, x))
PLAIN(Acosh, "f", acosh_of(pool, x))
PLAIN(Atanh, "f", e_mul(pool, N(0.5), e_sub(pool, e_log1p(pool, x), e_log1p(pool, e_neg(pool, x)))))

/* ---- activations ---- */

PLAIN(Relu, "fiu", e_max(pool, x, N(0)))
PLAIN(Sigmoid, "f", sigmoid(pool, x))
PLAIN(Softplus, "f", softplus(pool, x))
PLAIN(Softsign, "f", e_div(pool, x, e_add(pool, N(1), e_abs(pool, x))))
PLAIN(Mish, "f", e_mul(pool, x, e_tanh(pool, softplus(pool, x))))
PLAIN(HardSwish, "f", e_mul(pool, x, unit_clip(pool, e_add(pool, e_mul(pool, x, N(1.0 / 6)), N(0.5)))))
ACTIVATION(HardSigmoid, "f", "alpha", 0.2F, "beta", 0.5,
           unit_clip(pool, e_add(pool, e_mul(pool, N(p->alpha), x), N(p->beta))))
ACTIVATION(LeakyRelu, "f", "alpha", 0.01F, "", 0, e_select(pool, e_lt(pool, x, N(0)), e_mul(pool, N(p->alpha), x), x))
ACTIVATION(Elu, "f", "alpha", 1, "", 0, rectify(pool, x, scaled_expm1(pool, x, p->alpha)))
ACTIVATION(Selu, "f", "alpha", 1.67326319217681884765625, "gamma", 1.05070102214813232421875,
           e_mul(pool, N(p->beta), rectify(pool, x, scaled_expm1(pool, x, p->alpha))))
ACTIVATION(Celu, "f", "alpha", 1, "", 0,
           rectify(pool, x, e_mul(pool, N(p->alpha), e_expm1(pool, e_div(pool, x, N(p->alpha))))))
ACTIVATION(ThresholdedRelu, "f", "alpha", 1, "", 0, e_select(pool, e_le(pool, x, N(p->alpha)), N(0), x))
ACTIVATION(Swish, "f", "alpha", 1, "", 0, e_mul(pool, x, sigmoid(pool, e_mul(pool, N(p->alpha), x))))
ACTIVATION(Shrink, "fiu", "lambd", 0.5, "bias", 0,
           e_select(pool, e_lt(pool, x, N(-p->alpha)), e_add(pool, x, N(p->beta)),
                    e_select(pool, e_gt(pool, x, N(p->alpha)), e_sub(pool, x, N(p->beta)), N(0))))

static onnxc_expr scalar_gelu(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  return ((const params *)arg)->flag ? gelu_tanh(pool, args[0]) : gelu_erf(pool, args[0]);
}

onnxc_status onnxc_import_Gelu(onnxc_importer *in) {
  const char *approximate = onnxc_import_string(in, "approximate", "none");
  bool tanh_form = strcmp(approximate, "tanh") == 0;
  if (!tanh_form && strcmp(approximate, "none") != 0)
    return onnxc_import_error(in, ONNXC_BAD_INPUT, "approximate '%s'", approximate);
  return unary(in, "f", scalar_gelu, (params){.flag = tanh_form});
}

static onnxc_expr scalar_is_inf(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  const params *p = arg;
  onnxc_expr x = args[0];
  onnxc_expr no = onnxc_expr_i64(pool, ONNXC_BOOL, 0);
  onnxc_expr positive = p->flag ? e_eq(pool, x, N(INFINITY)) : no;
  return p->other_flag ? e_or(pool, positive, e_eq(pool, x, N(-INFINITY))) : positive;
}

onnxc_status onnxc_import_IsInf(onnxc_importer *in) {
  return unary(in, "f", scalar_is_inf,
               (params){.flag = onnxc_import_int(in, "detect_positive", 1) != 0,
                        .other_flag = onnxc_import_int(in, "detect_negative", 1) != 0});
}

static onnxc_expr scalar_prelu(void *arg, onnxc_exprs *pool, const onnxc_expr *args) {
  (void)arg;
  onnxc_expr x = args[0];
  return e_select(pool, e_lt(pool, x, N(0)), e_mul(pool, x, e_cast(pool, e_dtype(pool, x), args[1])), x);
}

onnxc_status onnxc_import_PRelu(onnxc_importer *in) {
  onnxc_value x = onnxc_import_operand(in, 0, "fiu"), slope = onnxc_import_operand(in, 1, "fiu");
  if (in->opset < 7 && x.i && slope.i) { /* a slope for each channel, dim 1 */
    const onnxc_value_info *info = onnxc_value_of(in->graph, slope);
    uint32_t rank = onnxc_value_of(in->graph, x)->rank;
    if (info->rank == 1 && rank > 2) {
      onnxc_dim dims[ONNXC_MAX_RANK] = {info->dims[0]};
      for (uint32_t d = 1; d < rank - 1; d++)
        dims[d] = onnxc_dim_const(&in->graph->dims, 1);
      slope = onnxc_build_reshape(in->graph, in->where, slope, rank - 1, dims);
    }
  }
  return onnxc_import_done(in, 0, onnxc_import_map(in, 2, (onnxc_value[]){x, slope}, scalar_prelu, NULL));
}

/* ---- by name ---- */

SCALAR(Affine, e_add(pool, e_mul(pool, N(p->alpha), x), N(p->beta)))
SCALAR(ScaledTanh, e_mul(pool, N(p->alpha), e_tanh(pool, e_mul(pool, N(p->beta), x))))

bool onnxc_activation_find(const char *name, onnxc_activation *activation) {
  static const struct {
    const char *name;
    onnxc_activation activation;
  } rows[] = {
      {"Affine", {scalar_Affine, 1, 0, true, true}},
      {"Elu", {scalar_Elu, 1, 0, true, false}},
      {"HardSigmoid", {scalar_HardSigmoid, 0.2F, 0.5, true, true}},
      {"LeakyRelu", {scalar_LeakyRelu, 0.01F, 0, true, false}},
      {"Relu", {scalar_Relu, 0, 0, false, false}},
      {"ScaledTanh", {scalar_ScaledTanh, 1, 1, true, true}},
      {"Sigmoid", {scalar_Sigmoid, 0, 0, false, false}},
      {"Softplus", {scalar_Softplus, 0, 0, false, false}},
      {"Softsign", {scalar_Softsign, 0, 0, false, false}},
      {"Tanh", {scalar_Tanh, 0, 0, false, false}},
      {"ThresholdedRelu", {scalar_ThresholdedRelu, 1, 0, true, false}},
  };
  for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
    if (strcasecmp(rows[k].name, name) == 0) {
      *activation = rows[k].activation;
      return true;
    }
  return false;
}

onnxc_expr onnxc_activation_of(const onnxc_activation *activation, onnxc_exprs *pool, onnxc_expr x) {
  params p = {.alpha = activation->alpha, .beta = activation->beta};
  return activation->scalar(&p, pool, &x);
}
