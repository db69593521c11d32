/* gen.c -- `onnxc gen`: models of any shape and type, with seeded weights, and test data from the reference evaluator.
 *
 * Weights are scaled so that values keep their spread from layer to layer. A layer of bytes is a product of u8 and i8
 * as i32, to which a bias of i32 is added; where the result is u8 again, the sum's deviation is made the number 1, the
 * activation sees numbers, and a power of two of them is a step of the result.
 */
#include "gen.h"

#include <getopt.h>
#include <math.h>
#include <string.h>

static const char help[] =
    "usage: onnxc gen mlp -o OUT.onnx --batch=256 --layers=1024,1024,1024,1024 [OPTIONS]\n"
    "       onnxc gen gemm -o OUT.onnx --m=256 --n=1024 --k=1024 [--batch=12] [--variable-b] [--requantize] [OPTIONS]\n"
    "  --batch, --m       a number, or a name for a dim that a run gives; a gemm with --batch multiplies so many "
    "pairs\n"
    "                     of matrices, both of which are inputs\n"
    "  --layers           input width, then the output width of each layer\n"
    "  --variable-b       the second factor is an input, not weights\n"
    "  --dtype            f32, f16, bf16, or int8: u8 times i8; a gemm of these gives i32, a layer of an mlp u8\n"
    "  --requantize       the result of a gemm of int8 is u8 as well\n"
    "  --bias             add a vector\n"
    "  --activation       none, relu or gelu, on what is added up; --relu is --activation=relu\n"
    "  --seed             another number gives other weights and inputs\n"
    "  --test-data        also write test_data_set_0 beside OUT, for `onnxc verify`: random inputs, and what the\n"
    "                     reference evaluator computes from them; that of int8 with gelu for --atol=1\n";

enum { MAX_LAYERS = 64 };

/* How numbers of deviation 1 after this activation become u8, and the mean square of what comes out. */
typedef struct activation {
  const char *name, *op;
  double step, zero, mean_square;
} activation;

static const activation activations[] = {
    {"none", NULL, 0x1p-5, 128, 1024}, {"relu", "Relu", 0x1p-6, 0, 2048}, {"gelu", "Gelu", 0x1p-6, 11, 1740}};

typedef struct settings {
  const char *batch, *m, *n, *k, *layers, *out;
  onnxc_dtype dtype; /* I8 for u8 times i8 */
  const activation *activation;
  bool bias, variable_b, requantize, test_data;
} settings;

/* One layer: result = activation(a * b + bias). */
typedef struct layer {
  char *a, *b;
  int64_t fan_in, width;
  bool is_matrix; /* a and b have rank 2 */
  int number;
  const char *result;
  /* of bytes */
  double zero, step, mean_square; /* of a; its zero point, and the mean square of the difference to it */
  bool requantize;
} layer;

static const char *numbered(gen_model *m, const char *what, int number) {
  return onnxc_arena_printf(m->arena, "%s_%d", what, number);
}

/* A step of the layer, whose result has the layer's name if it is the last one. */
static char *step(gen_model *m, const layer *l, const char *op, bool last, char *first, char *second) {
  return gen_node(m, op, (char *[]){first, second, NULL}, last ? l->result : numbered(m, op, l->number));
}

static void add_float_layer(gen_model *m, const settings *s, const layer *l) {
  const char *op = s->activation->op;
  double largest = sqrt(3.0 / (double)l->fan_in);
  char *bias = s->bias ? gen_weights(m, numbered(m, "bias", l->number), s->dtype, 1, &l->width, largest) : NULL, *value;
  if (bias && l->is_matrix) {
    value = gen_node(m, "Gemm", (char *[]){l->a, l->b, bias, NULL}, op ? numbered(m, "sum", l->number) : l->result);
  } else {
    value = step(m, l, "MatMul", !bias && !op, l->a, l->b);
    if (bias)
      value = step(m, l, "Add", !op, value, bias);
  }
  if (op)
    step(m, l, op, true, value, NULL);
}

static void add_byte_layer(gen_model *m, const settings *s, const layer *l) {
  const char *op = s->activation->op;
  double deviation = sqrt((double)l->fan_in * l->mean_square * 128 * 128 / 3), to = s->activation->step;
  int n = l->number;
  bool plain = l->requantize && !s->bias && !op;
  char *a_zero = l->zero != 0 || plain ? gen_scalar(m, numbered(m, "a_zero", n), ONNXC_U8, l->zero) : NULL;
  char *y_zero = NULL, *y_scale = NULL;
  if (l->requantize) {
    y_zero = gen_scalar(m, numbered(m, "y_zero", n), ONNXC_U8, s->activation->zero);
    y_scale = gen_scalar(m, numbered(m, "y_scale", n), ONNXC_F32, to);
  }
  if (plain) {
    char *a_scale = gen_scalar(m, numbered(m, "a_scale", n), ONNXC_F32, l->step);
    char *b_scale = gen_scalar(m, numbered(m, "b_scale", n), ONNXC_F32, 1 / deviation / l->step);
    char *b_zero = gen_scalar(m, numbered(m, "b_zero", n), ONNXC_I8, 0);
    gen_node(m, "QLinearMatMul", (char *[]){l->a, a_scale, a_zero, l->b, b_scale, b_zero, y_scale, y_zero, NULL},
             l->result);
    return;
  }
  bool last = !l->requantize && !op;
  char *value = gen_node(m, "MatMulInteger", (char *[]){l->a, l->b, a_zero, NULL},
                         last && !s->bias ? l->result : numbered(m, "product", n));
  if (s->bias) {
    char *bias = gen_weights(m, numbered(m, "bias", n), ONNXC_I32, 1, &l->width, deviation / 2);
    value = step(m, l, "Add", last, value, bias);
  }
  if (l->requantize) {
    value = step(m, l, "Cast", false, value, NULL);
    gen_attribute(m, "to", ONNXC_F32);
    value = step(m, l, "Mul", false, value, gen_scalar(m, numbered(m, "scale", n), ONNXC_F32, 1 / deviation));
  }
  if (op)
    value = step(m, l, op, !l->requantize, value, NULL);
  if (l->requantize)
    gen_node(m, "QuantizeLinear", (char *[]){value, y_scale, y_zero, NULL}, l->result);
}

static void add_layer(gen_model *m, const settings *s, const layer *l) {
  if (s->dtype == ONNXC_I8)
    add_byte_layer(m, s, l);
  else
    add_float_layer(m, s, l);
}

static char *layer_weights(gen_model *m, const settings *s, const char *name, const int64_t *dims) {
  return gen_weights(m, name, s->dtype, 2, dims, s->dtype == ONNXC_I8 ? 128 : sqrt(3.0 / (double)dims[0]));
}

/* The first layer's input: bytes over their whole range, around the zero point. */
static void describe_input(const settings *s, layer *l, double zero) {
  l->zero = zero;
  l->step = s->activation->step;
  l->mean_square = 255.0 * 255.0 / 12 + (127.5 - zero) * (127.5 - zero);
}

static onnxc_dtype input_type(const settings *s) { return s->dtype == ONNXC_I8 ? ONNXC_U8 : s->dtype; }

static int gen_mlp(gen_model *m, const settings *s) {
  int64_t widths[MAX_LAYERS + 1];
  int count = 0;
  for (const char *at = s->layers; *at; count++) {
    size_t length = strcspn(at, ",x");
    const char *part = onnxc_arena_copy_string(m->arena, at, length);
    if (count > MAX_LAYERS || !cli_parse_int(part, 1, 1 << 20, &widths[count]))
      return cli_usage(m->cli, "--layers wants numbers between commas, not '%s'", s->layers);
    at += length + (at[length] != 0);
  }
  if (count < 2)
    return cli_usage(m->cli, "--layers wants at least two widths");
  const char *batch = s->batch ? s->batch : "256";
  const char *in_dims[] = {batch, onnxc_arena_printf(m->arena, "%lld", (long long)widths[0])};
  const char *out_dims[] = {batch, onnxc_arena_printf(m->arena, "%lld", (long long)widths[count - 1])};
  layer l = {.result = gen_input(m, "x", input_type(s), 2, in_dims), .is_matrix = true, .requantize = true};
  gen_output(m, "y", input_type(s), 2, out_dims);
  describe_input(s, &l, s->activation->zero);
  for (int i = 1; i < count; i++) {
    l.number = i - 1;
    l.a = onnxc_arena_copy_string(m->arena, l.result, strlen(l.result));
    l.b = layer_weights(m, s, numbered(m, "weight", l.number), &widths[i - 1]);
    l.fan_in = widths[i - 1];
    l.width = widths[i];
    l.result = i == count - 1 ? "y" : numbered(m, "layer", l.number);
    add_layer(m, s, &l);
    l.mean_square = s->activation->mean_square;
  }
  return 0;
}

static int gen_gemm(gen_model *m, const settings *s) {
  int64_t dims[2]; /* k, n */
  if (!cli_parse_int(s->k, 1, 1 << 24, &dims[0]) || !cli_parse_int(s->n, 1, 1 << 24, &dims[1]) ||
      dims[0] * dims[1] > (int64_t)1 << 32)
    return cli_usage(m->cli, "--n and --k want numbers, not '%s' and '%s'", s->n, s->k);
  bool bytes = s->dtype == ONNXC_I8;
  if (s->requantize && !bytes)
    return cli_usage(m->cli, "--requantize is for --dtype=int8");
  if (bytes && !s->requantize && s->activation->op && strcmp(s->activation->op, "Gelu") == 0)
    return cli_usage(m->cli, "integers have no GELU; with --requantize the result is u8");
  const char *a_dims[] = {s->batch, s->m, s->k}, *b_dims[] = {s->batch, s->k, s->n}, *c_dims[] = {s->batch, s->m, s->n};
  int skipped = s->batch ? 0 : 1, rank = 3 - skipped;
  layer l = {.fan_in = dims[0], .width = dims[1], .is_matrix = rank == 2, .result = "c", .requantize = s->requantize};
  l.a = gen_input(m, "a", input_type(s), rank, a_dims + skipped);
  l.b =
      s->variable_b || s->batch ? gen_input(m, "b", s->dtype, rank, b_dims + skipped) : layer_weights(m, s, "b", dims);
  gen_output(m, "c", !bytes ? s->dtype : s->requantize ? ONNXC_U8 : ONNXC_I32, rank, c_dims + skipped);
  describe_input(s, &l, 0);
  add_layer(m, s, &l);
  return 0;
}

/* ---- the verb ---- */

static bool parse_dtype(const char *name, onnxc_dtype *dtype) {
  *dtype = strcmp(name, "int8") == 0 ? ONNXC_I8 : onnxc_dtype_parse(name, strlen(name));
  return strcmp(name, "i8") != 0 &&
         (*dtype == ONNXC_F32 || *dtype == ONNXC_F16 || *dtype == ONNXC_BF16 || *dtype == ONNXC_I8);
}

static const activation *parse_activation(const char *name) {
  for (size_t k = 0; k < sizeof activations / sizeof *activations; k++)
    if (strcmp(name, activations[k].name) == 0)
      return &activations[k];
  return NULL;
}

int cli_gen(command *cli, int argc, char **argv) {
  enum { BATCH = 256, LAYERS, DTYPE, BIAS, RELU, ACTIVATION, SEED, M, N, K, VARIABLE_B, REQUANTIZE, TEST_DATA };
  static const struct option longs[] = {{"batch", 1, NULL, BATCH},
                                        {"layers", 1, NULL, LAYERS},
                                        {"dtype", 1, NULL, DTYPE},
                                        {"bias", 0, NULL, BIAS},
                                        {"relu", 0, NULL, RELU},
                                        {"activation", 1, NULL, ACTIVATION},
                                        {"seed", 1, NULL, SEED},
                                        {"m", 1, NULL, M},
                                        {"n", 1, NULL, N},
                                        {"k", 1, NULL, K},
                                        {"variable-b", 0, NULL, VARIABLE_B},
                                        {"requantize", 0, NULL, REQUANTIZE},
                                        {"output", 1, NULL, 'o'},
                                        {"help", 0, NULL, 'h'},
                                        {"test-data", 0, NULL, TEST_DATA},
                                        {0}};
  settings s = {.m = "256",
                .n = "1024",
                .k = "1024",
                .layers = "1024,1024,1024,1024",
                .dtype = ONNXC_F32,
                .activation = &activations[0]};
  int64_t seed = 1;
  for (int c; (c = getopt_long(argc, argv, "o:h", longs, NULL)) != -1;)
    switch (c) {
    case 'h': fputs(help, stdout); return 0;
    case 'o': s.out = optarg; break;
    case BATCH: s.batch = optarg; break;
    case LAYERS: s.layers = optarg; break;
    case M: s.m = optarg; break;
    case N: s.n = optarg; break;
    case K: s.k = optarg; break;
    case BIAS: s.bias = true; break;
    case RELU: s.activation = parse_activation("relu"); break;
    case VARIABLE_B: s.variable_b = true; break;
    case REQUANTIZE: s.requantize = true; break;
    case TEST_DATA: s.test_data = true; break;
    case DTYPE:
      if (!parse_dtype(optarg, &s.dtype))
        return cli_usage(cli, "--dtype is f32, f16, bf16 or int8, not '%s'", optarg);
      break;
    case ACTIVATION:
      s.activation = parse_activation(optarg);
      if (!s.activation)
        return cli_usage(cli, "--activation is none, relu or gelu, not '%s'", optarg);
      break;
    case SEED:
      if (!cli_parse_int(optarg, 0, INT64_MAX, &seed))
        return cli_usage(cli, "--seed wants a number, not '%s'", optarg);
      break;
    default: return cli_usage(cli, "see onnxc gen --help");
    }
  if (argc - optind != 1 || !s.out)
    return cli_usage(cli, "it wants a kind of model and -o OUT; see onnxc gen --help");
  gen_model m;
  gen_init(&m, cli, (uint64_t)seed << 20);
  const char *kind = argv[optind];
  int status;
  if (strcmp(kind, "mlp") == 0)
    status = gen_mlp(&m, &s);
  else if (strcmp(kind, "gemm") == 0)
    status = gen_gemm(&m, &s);
  else
    return cli_usage(cli, "it makes mlp and gemm, not '%s'", kind);
  if (status == 0)
    status = gen_write(&m, s.out, kind);
  if (status == 0 && s.test_data)
    status = gen_write_test_data(&m, s.out);
  return status;
}
