/* gen.c -- `onnxc gen`: models of any shape, with seeded weights, and test data from the reference evaluator. */
#include "cli.h"

#include "onnx.pb-c.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char help[] =
    "usage: onnxc gen mlp -o OUT.onnx --batch=256 --layers=1024,1024,1024,1024 [--bias] [--relu] [--seed=N]\n"
    "       onnxc gen gemm -o OUT.onnx --m=256 --n=1024 --k=1024 [--bias] [--relu] [--variable-b] [--seed=N]\n"
    "  --batch, --m       a number, or a name for a dim that a run gives\n"
    "  --layers           input width, then the output width of each layer\n"
    "  --variable-b       the second factor is an input, not weights\n"
    "  --test-data        also write test_data_set_0 beside OUT, for `onnxc verify`: random inputs, and what the\n"
    "                     reference evaluator computes from them\n";

enum { OPSET = 17, IR_VERSION = 8, MAX_LAYERS = 64 };

/* A model being written; everything lies in the arena. */
typedef struct writer {
  command *cli;
  onnxc_arena *arena;
  Onnx__GraphProto graph;
  ONNXC_VEC(Onnx__NodeProto *) nodes;
  ONNXC_VEC(Onnx__TensorProto *) initializers;
  ONNXC_VEC(Onnx__ValueInfoProto *) inputs;
  ONNXC_VEC(Onnx__ValueInfoProto *) outputs;
  uint64_t seed;
} writer;

static char *text(writer *w, const char *string) { return onnxc_arena_copy_string(w->arena, string, strlen(string)); }

/* f32 weights, uniform with the deviation 1/sqrt(fan_in), so that values keep their scale from layer to layer. */
static char *add_weights(writer *w, const char *name, int rank, const int64_t *dims, int64_t fan_in) {
  Onnx__TensorProto *tensor = ONNXC_NEW(w->arena, Onnx__TensorProto);
  onnxc_tensor values = {.dtype = ONNXC_F32, .rank = rank};
  onnx__tensor_proto__init(tensor);
  tensor->n_dims = (size_t)rank;
  tensor->dims = ONNXC_NEW_ARRAY(w->arena, int64_t, rank);
  for (int d = 0; d < rank; d++)
    tensor->dims[d] = values.dims[d] = dims[d];
  size_t size = cli_tensor_bytes(&values);
  float *data = onnxc_arena_alloc(w->arena, size);
  values.data = data;
  cli_random_fill(&values, w->seed++);
  float scale = (float)sqrt(3.0 / (double)(fan_in ? fan_in : 1));
  for (size_t i = 0; i < size / sizeof *data; i++)
    data[i] *= scale;
  tensor->name = text(w, name);
  tensor->has_data_type = 1;
  tensor->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
  tensor->has_raw_data = 1;
  tensor->raw_data = (ProtobufCBinaryData){size, (uint8_t *)data};
  ONNXC_PUSH(w->arena, w->initializers, tensor);
  return tensor->name;
}

/* An f32 input or output of rank 2; a dim is a number or a name. */
static Onnx__ValueInfoProto *make_value(writer *w, const char *name, const char *const *dims) {
  Onnx__ValueInfoProto *value = ONNXC_NEW(w->arena, Onnx__ValueInfoProto);
  Onnx__TypeProto *type = ONNXC_NEW(w->arena, Onnx__TypeProto);
  Onnx__TypeProto__Tensor *tensor = ONNXC_NEW(w->arena, Onnx__TypeProto__Tensor);
  Onnx__TensorShapeProto *shape = ONNXC_NEW(w->arena, Onnx__TensorShapeProto);
  onnx__value_info_proto__init(value);
  onnx__type_proto__init(type);
  onnx__type_proto__tensor__init(tensor);
  onnx__tensor_shape_proto__init(shape);
  value->name = text(w, name);
  value->type = type;
  type->tensor_type = tensor;
  tensor->has_elem_type = 1;
  tensor->elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
  tensor->shape = shape;
  shape->n_dim = 2;
  shape->dim = ONNXC_NEW_ARRAY(w->arena, Onnx__TensorShapeProto__Dimension *, 2);
  for (int d = 0; d < 2; d++) {
    Onnx__TensorShapeProto__Dimension *dim = shape->dim[d] = ONNXC_NEW(w->arena, Onnx__TensorShapeProto__Dimension);
    onnx__tensor_shape_proto__dimension__init(dim);
    if (cli_parse_int(dims[d], 0, INT32_MAX, &dim->dim_value))
      dim->has_dim_value = 1;
    else
      dim->dim_value = 0, dim->dim_param = text(w, dims[d]);
  }
  return value;
}

static char *add_node(writer *w, const char *op, size_t num_inputs, char *const *inputs, const char *output) {
  Onnx__NodeProto *node = ONNXC_NEW(w->arena, Onnx__NodeProto);
  onnx__node_proto__init(node);
  node->op_type = text(w, op);
  node->name = onnxc_arena_printf(w->arena, "%s_%u", op, w->nodes.length);
  node->n_input = num_inputs;
  node->input = ONNXC_NEW_ARRAY(w->arena, char *, num_inputs);
  memcpy(node->input, inputs, num_inputs * sizeof *inputs);
  node->n_output = 1;
  node->output = ONNXC_NEW_ARRAY(w->arena, char *, 1);
  node->output[0] = text(w, output);
  ONNXC_PUSH(w->arena, w->nodes, node);
  return node->output[0];
}

/* out = [Relu] (a . b [+ bias]); the last step has the name `output`. */
static char *add_layer(writer *w, char *a, char *b, int64_t width, int64_t fan_in, bool bias, bool relu, int number,
                       const char *output) {
  const char *name = relu ? onnxc_arena_printf(w->arena, "sum_%d", number) : output;
  char *operands[3] = {a, b, NULL}, *result;
  if (bias) {
    operands[2] = add_weights(w, onnxc_arena_printf(w->arena, "bias_%d", number), 1, &width, fan_in);
    result = add_node(w, "Gemm", 3, operands, name);
  } else {
    result = add_node(w, "MatMul", 2, operands, name);
  }
  return relu ? add_node(w, "Relu", 1, &result, output) : result;
}

/* ---- writing ---- */

static int write_file(const char *path, const void *bytes, size_t size) {
  FILE *file = fopen(path, "wb");
  if (!file)
    return cli_fail(ONNXC_BAD_INPUT, "%s: %s", path, strerror(errno));
  bool failed = fwrite(bytes, 1, size, file) != size;
  failed |= fclose(file) != 0;
  return failed ? cli_fail(ONNXC_BAD_INPUT, "%s: cannot write it", path) : 0;
}

static int write_message(writer *w, const char *path, const ProtobufCMessage *message) {
  size_t size = protobuf_c_message_get_packed_size(message);
  uint8_t *bytes = onnxc_arena_alloc(w->arena, size);
  protobuf_c_message_pack(message, bytes);
  return write_file(path, bytes, size);
}

static int write_model(writer *w, const char *path, const char *name) {
  Onnx__ModelProto model;
  Onnx__OperatorSetIdProto opset, *opsets = &opset;
  onnx__model_proto__init(&model);
  onnx__operator_set_id_proto__init(&opset);
  opset.domain = text(w, "");
  opset.has_version = 1;
  opset.version = OPSET;
  model.has_ir_version = 1;
  model.ir_version = IR_VERSION;
  model.producer_name = text(w, "onnxc gen");
  model.n_opset_import = 1;
  model.opset_import = &opsets;
  model.graph = &w->graph;
  w->graph.name = text(w, name);
  w->graph.n_node = w->nodes.length, w->graph.node = w->nodes.data;
  w->graph.n_initializer = w->initializers.length, w->graph.initializer = w->initializers.data;
  w->graph.n_input = w->inputs.length, w->graph.input = w->inputs.data;
  w->graph.n_output = w->outputs.length, w->graph.output = w->outputs.data;
  return write_message(w, path, &model.base);
}

static int write_tensor(writer *w, const char *path, const char *name, const onnxc_tensor *values) {
  Onnx__TensorProto tensor;
  onnx__tensor_proto__init(&tensor);
  tensor.name = text(w, name);
  tensor.n_dims = (size_t)values->rank;
  tensor.dims = ONNXC_NEW_ARRAY(w->arena, int64_t, values->rank);
  memcpy(tensor.dims, values->dims, (size_t)values->rank * sizeof *tensor.dims);
  tensor.has_data_type = 1;
  tensor.data_type = values->dtype;
  tensor.has_raw_data = 1;
  tensor.raw_data = (ProtobufCBinaryData){cli_tensor_bytes(values), values->data};
  return write_message(w, path, &tensor.base);
}

static void *allocate(void *arg, size_t size, int tag) {
  (void)tag;
  return onnxc_arena_alloc(arg, size);
}

/* Inputs and the reference's outputs beside the model. */
static int write_test_data(writer *w, const char *model_path) {
  const char *slash = strrchr(model_path, '/');
  const char *directory = slash ? onnxc_arena_copy_string(w->arena, model_path, (size_t)(slash - model_path)) : ".";
  directory = onnxc_arena_printf(w->arena, "%s/test_data_set_0", directory);
  if (mkdir(directory, 0777) != 0 && errno != EEXIST)
    return cli_fail(ONNXC_BAD_INPUT, "%s: %s", directory, strerror(errno));
  onnxc_context *context = onnxc_context_new();
  onnxc_model *model;
  if (!context)
    onnxc_arena_out_of_memory(w->arena);
  int status = (int)onnxc_load(context, model_path, &model);
  const onnxc_model_info *info = status == 0 ? onnxc_model_describe(model) : NULL;
  if (!info) {
    fprintf(stderr, "%s\n", onnxc_message(context));
    onnxc_context_free(context);
    return status ? status : ONNXC_INTERNAL;
  }
  onnxc_tensor *inputs = ONNXC_NEW_ARRAY(w->arena, onnxc_tensor, info->num_inputs + 1);
  onnxc_tensor *outputs = ONNXC_NEW_ARRAY(w->arena, onnxc_tensor, info->num_outputs + 1);
  for (int32_t k = 0; status == 0 && k < info->num_inputs; k++) {
    onnxc_tensor_info known = info->inputs[k];
    int64_t dims[ONNXC_MAX_RANK];
    for (int32_t d = 0; d < known.rank; d++)
      dims[d] = known.dims[d] < 0 ? 3 : known.dims[d]; /* any value does for an open dim */
    known.dims = dims;
    const char *seed = onnxc_arena_printf(w->arena, "random:%llu", (unsigned long long)(w->seed++ & INT64_MAX));
    status = cli_read_tensor(w->cli, seed, &known, &inputs[k]);
    if (status == 0)
      status = write_tensor(w, onnxc_arena_printf(w->arena, "%s/input_%d.pb", directory, k), known.name, &inputs[k]);
  }
  if (status == 0) {
    status = (int)onnxc_evaluate(model, inputs, (size_t)info->num_inputs, outputs, allocate, w->arena);
    if (status != 0)
      fprintf(stderr, "%s\n", onnxc_message(context));
  }
  for (int32_t k = 0; status == 0 && k < info->num_outputs; k++)
    status = write_tensor(w, onnxc_arena_printf(w->arena, "%s/output_%d.pb", directory, k), info->outputs[k].name,
                          &outputs[k]);
  onnxc_context_free(context);
  return status;
}

/* ---- the models ---- */

typedef struct settings {
  const char *batch, *layers, *out;
  const char *n, *k;
  bool bias, relu, variable_b, test_data;
} settings;

static int gen_mlp(writer *w, const settings *s) {
  int64_t widths[MAX_LAYERS + 1];
  int count = 0;
  for (const char *at = s->layers; *at; count++) {
    size_t length = strcspn(at, ",x");
    const char *part = onnxc_arena_copy_string(w->arena, at, length);
    if (count > MAX_LAYERS || !cli_parse_int(part, 1, 1 << 20, &widths[count]))
      return cli_usage(w->cli, "--layers wants numbers between commas, not '%s'", s->layers);
    at += length + (at[length] != 0);
  }
  if (count < 2)
    return cli_usage(w->cli, "--layers wants at least two widths");
  const char *in_dims[] = {s->batch, onnxc_arena_printf(w->arena, "%lld", (long long)widths[0])};
  const char *out_dims[] = {s->batch, onnxc_arena_printf(w->arena, "%lld", (long long)widths[count - 1])};
  Onnx__ValueInfoProto *x = make_value(w, "x", in_dims), *y = make_value(w, "y", out_dims);
  ONNXC_PUSH(w->arena, w->inputs, x);
  ONNXC_PUSH(w->arena, w->outputs, y);
  char *value = x->name;
  for (int i = 1; i < count; i++) {
    char *b = add_weights(w, onnxc_arena_printf(w->arena, "weight_%d", i - 1), 2, &widths[i - 1], widths[i - 1]);
    value = add_layer(w, value, b, widths[i], widths[i - 1], s->bias, s->relu, i - 1,
                      i == count - 1 ? "y" : onnxc_arena_printf(w->arena, "layer_%d", i - 1));
  }
  return 0;
}

static int gen_gemm(writer *w, const settings *s) {
  int64_t dims[2]; /* k, n */
  if (!cli_parse_int(s->k, 1, 1 << 24, &dims[0]) || !cli_parse_int(s->n, 1, 1 << 24, &dims[1]) ||
      dims[0] * dims[1] > (int64_t)1 << 32)
    return cli_usage(w->cli, "--n and --k want numbers, not '%s' and '%s'", s->n, s->k);
  const char *a_dims[] = {s->batch, s->k}, *b_dims[] = {s->k, s->n}, *c_dims[] = {s->batch, s->n};
  Onnx__ValueInfoProto *a = make_value(w, "a", a_dims), *c = make_value(w, "c", c_dims);
  ONNXC_PUSH(w->arena, w->inputs, a);
  ONNXC_PUSH(w->arena, w->outputs, c);
  char *b;
  if (s->variable_b) {
    Onnx__ValueInfoProto *input = make_value(w, "b", b_dims);
    ONNXC_PUSH(w->arena, w->inputs, input);
    b = input->name;
  } else {
    b = add_weights(w, "b", 2, dims, dims[0]);
  }
  add_layer(w, a->name, b, dims[1], dims[0], s->bias, s->relu, 0, "c");
  return 0;
}

int cli_gen(command *cli, int argc, char **argv) {
  enum { BATCH = 256, LAYERS, BIAS, RELU, SEED, M, N, K, VARIABLE_B, TEST_DATA };
  static const struct option longs[] = {{"batch", 1, NULL, BATCH},
                                        {"layers", 1, NULL, LAYERS},
                                        {"bias", 0, NULL, BIAS},
                                        {"relu", 0, NULL, RELU},
                                        {"seed", 1, NULL, SEED},
                                        {"m", 1, NULL, M},
                                        {"n", 1, NULL, N},
                                        {"k", 1, NULL, K},
                                        {"variable-b", 0, NULL, VARIABLE_B},
                                        {"output", 1, NULL, 'o'},
                                        {"help", 0, NULL, 'h'},
                                        {"test-data", 0, NULL, TEST_DATA},
                                        {0}};
  settings s = {.batch = "256", .layers = "1024,1024,1024,1024", .n = "1024", .k = "1024"};
  int64_t seed = 1;
  for (int c; (c = getopt_long(argc, argv, "o:h", longs, NULL)) != -1;)
    switch (c) {
    case 'h': fputs(help, stdout); return 0;
    case 'o': s.out = optarg; break;
    case BATCH:
    case M: s.batch = optarg; break;
    case LAYERS: s.layers = optarg; break;
    case N: s.n = optarg; break;
    case K: s.k = optarg; break;
    case BIAS: s.bias = true; break;
    case RELU: s.relu = true; break;
    case VARIABLE_B: s.variable_b = true; break;
    case TEST_DATA: s.test_data = true; break;
    case SEED:
      if (!cli_parse_int(optarg, 0, INT64_MAX, &seed))
        return cli_usage(cli, "--seed wants a number, not '%s'", optarg);
      break;
    default: return cli_usage(cli, "see onnxc gen --help");
    }
  if (argc - optind != 1 || !s.out)
    return cli_usage(cli, "it wants a kind of model and -o OUT; see onnxc gen --help");
  writer w = {.cli = cli, .arena = &cli->arena, .seed = (uint64_t)seed << 20};
  const char *kind = argv[optind];
  int status;
  onnx__graph_proto__init(&w.graph);
  if (strcmp(kind, "mlp") == 0)
    status = gen_mlp(&w, &s);
  else if (strcmp(kind, "gemm") == 0)
    status = gen_gemm(&w, &s);
  else
    return cli_usage(cli, "it makes mlp and gemm, not '%s'", kind);
  if (status == 0)
    status = write_model(&w, s.out, kind);
  if (status == 0 && s.test_data)
    status = write_test_data(&w, s.out);
  return status;
}
