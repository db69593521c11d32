/* gen_model.c -- see gen.h: the pieces of a model as protobuf messages, and the files. */
#include "gen.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { OPSET = 20, IR_VERSION = 9 };

static char *text(gen_model *m, const char *string) {
  return onnxc_arena_copy_string(m->arena, string, strlen(string));
}

void gen_init(gen_model *m, command *cli, uint64_t seed) {
  *m = (gen_model){.cli = cli, .arena = &cli->arena, .seed = seed};
  onnx__graph_proto__init(&m->graph);
}

/* ---- pieces ---- */

static Onnx__TensorProto *make_tensor(gen_model *m, const char *name, const onnxc_tensor *values) {
  Onnx__TensorProto *tensor = ONNXC_NEW(m->arena, Onnx__TensorProto);
  onnx__tensor_proto__init(tensor);
  tensor->name = text(m, name);
  tensor->n_dims = (size_t)values->rank;
  tensor->dims = ONNXC_NEW_ARRAY(m->arena, int64_t, values->rank + 1);
  memcpy(tensor->dims, values->dims, (size_t)values->rank * sizeof *tensor->dims);
  tensor->has_data_type = 1;
  tensor->data_type = values->dtype;
  tensor->has_raw_data = 1;
  tensor->raw_data = (ProtobufCBinaryData){cli_tensor_bytes(values), values->data};
  return tensor;
}

char *gen_weights(gen_model *m, const char *name, onnxc_dtype dtype, int rank, const int64_t *dims, double largest) {
  onnxc_tensor numbers = {.dtype = ONNXC_F32, .rank = rank};
  memcpy(numbers.dims, dims, (size_t)rank * sizeof *dims);
  float *from = onnxc_arena_alloc(m->arena, cli_tensor_bytes(&numbers));
  numbers.data = from;
  cli_random_fill(&numbers, m->seed++);
  onnxc_tensor values = numbers;
  values.dtype = (int32_t)dtype;
  char *to = onnxc_arena_alloc(m->arena, cli_tensor_bytes(&values));
  size_t bytes = onnxc_dtype_bytes(dtype), count = (size_t)cli_tensor_count(&values);
  for (size_t i = 0; i < count; i++)
    onnxc_scalar_from_f64(dtype, to + i * bytes, from[i] * largest);
  values.data = to;
  Onnx__TensorProto *tensor = make_tensor(m, name, &values);
  ONNXC_PUSH(m->arena, m->initializers, tensor);
  return tensor->name;
}

char *gen_scalar(gen_model *m, const char *name, onnxc_dtype dtype, double value) {
  onnxc_tensor scalar = {.dtype = (int32_t)dtype, .data = onnxc_arena_alloc(m->arena, onnxc_dtype_bytes(dtype))};
  onnxc_scalar_from_f64(dtype, scalar.data, value);
  Onnx__TensorProto *tensor = make_tensor(m, name, &scalar);
  ONNXC_PUSH(m->arena, m->initializers, tensor);
  return tensor->name;
}

static Onnx__ValueInfoProto *make_value(gen_model *m, const char *name, onnxc_dtype dtype, int rank,
                                        const char *const *dims) {
  Onnx__ValueInfoProto *value = ONNXC_NEW(m->arena, Onnx__ValueInfoProto);
  Onnx__TypeProto *type = ONNXC_NEW(m->arena, Onnx__TypeProto);
  Onnx__TypeProto__Tensor *tensor = ONNXC_NEW(m->arena, Onnx__TypeProto__Tensor);
  Onnx__TensorShapeProto *shape = ONNXC_NEW(m->arena, Onnx__TensorShapeProto);
  onnx__value_info_proto__init(value);
  onnx__type_proto__init(type);
  onnx__type_proto__tensor__init(tensor);
  onnx__tensor_shape_proto__init(shape);
  value->name = text(m, name);
  value->type = type;
  type->tensor_type = tensor;
  tensor->has_elem_type = 1;
  tensor->elem_type = (int32_t)dtype;
  tensor->shape = shape;
  shape->n_dim = (size_t)rank;
  shape->dim = ONNXC_NEW_ARRAY(m->arena, Onnx__TensorShapeProto__Dimension *, rank);
  for (int d = 0; d < rank; d++) {
    Onnx__TensorShapeProto__Dimension *dim = shape->dim[d] = ONNXC_NEW(m->arena, Onnx__TensorShapeProto__Dimension);
    onnx__tensor_shape_proto__dimension__init(dim);
    if (cli_parse_int(dims[d], 0, INT32_MAX, &dim->dim_value))
      dim->has_dim_value = 1;
    else
      dim->dim_value = 0, dim->dim_param = text(m, dims[d]);
  }
  return value;
}

char *gen_input(gen_model *m, const char *name, onnxc_dtype dtype, int rank, const char *const *dims) {
  Onnx__ValueInfoProto *value = make_value(m, name, dtype, rank, dims);
  ONNXC_PUSH(m->arena, m->inputs, value);
  return value->name;
}

void gen_output(gen_model *m, const char *name, onnxc_dtype dtype, int rank, const char *const *dims) {
  Onnx__ValueInfoProto *value = make_value(m, name, dtype, rank, dims);
  ONNXC_PUSH(m->arena, m->outputs, value);
}

char *gen_node(gen_model *m, const char *op, char *const *inputs, const char *output) {
  Onnx__NodeProto *node = ONNXC_NEW(m->arena, Onnx__NodeProto);
  onnx__node_proto__init(node);
  node->op_type = text(m, op);
  node->name = onnxc_arena_printf(m->arena, "%s_%u", op, m->nodes.length);
  while (inputs[node->n_input])
    node->n_input++;
  node->input = ONNXC_NEW_ARRAY(m->arena, char *, node->n_input);
  memcpy(node->input, inputs, node->n_input * sizeof *inputs);
  node->n_output = 1;
  node->output = ONNXC_NEW_ARRAY(m->arena, char *, 1);
  node->output[0] = text(m, output);
  ONNXC_PUSH(m->arena, m->nodes, node);
  return node->output[0];
}

void gen_attribute(gen_model *m, const char *name, int64_t value) {
  Onnx__NodeProto *node = m->nodes.data[m->nodes.length - 1];
  Onnx__AttributeProto *attribute = ONNXC_NEW(m->arena, Onnx__AttributeProto);
  onnx__attribute_proto__init(attribute);
  attribute->name = text(m, name);
  attribute->has_type = attribute->has_i = 1;
  attribute->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
  attribute->i = value;
  node->n_attribute = 1;
  node->attribute = ONNXC_NEW_ARRAY(m->arena, Onnx__AttributeProto *, 1);
  node->attribute[0] = attribute;
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

static int write_message(gen_model *m, const char *path, const ProtobufCMessage *message) {
  size_t size = protobuf_c_message_get_packed_size(message);
  uint8_t *bytes = onnxc_arena_alloc(m->arena, size);
  protobuf_c_message_pack(message, bytes);
  return write_file(path, bytes, size);
}

int gen_write(gen_model *m, const char *path, const char *name) {
  Onnx__ModelProto model;
  Onnx__OperatorSetIdProto opset, *opsets = &opset;
  onnx__model_proto__init(&model);
  onnx__operator_set_id_proto__init(&opset);
  opset.domain = text(m, "");
  opset.has_version = 1;
  opset.version = OPSET;
  model.has_ir_version = 1;
  model.ir_version = IR_VERSION;
  model.producer_name = text(m, "onnxc gen");
  model.n_opset_import = 1;
  model.opset_import = &opsets;
  model.graph = &m->graph;
  m->graph.name = text(m, name);
  m->graph.n_node = m->nodes.length, m->graph.node = m->nodes.data;
  m->graph.n_initializer = m->initializers.length, m->graph.initializer = m->initializers.data;
  m->graph.n_input = m->inputs.length, m->graph.input = m->inputs.data;
  m->graph.n_output = m->outputs.length, m->graph.output = m->outputs.data;
  return write_message(m, path, &model.base);
}

static int write_tensor(gen_model *m, const char *path, const char *name, const onnxc_tensor *values) {
  return write_message(m, path, &make_tensor(m, name, values)->base);
}

static void *allocate(void *arg, size_t size, int tag) {
  (void)tag;
  return onnxc_arena_alloc(arg, size);
}

int gen_write_test_data(gen_model *m, const char *model_path) {
  const char *slash = strrchr(model_path, '/');
  const char *directory = slash ? onnxc_arena_copy_string(m->arena, model_path, (size_t)(slash - model_path)) : ".";
  directory = onnxc_arena_printf(m->arena, "%s/test_data_set_0", directory);
  if (mkdir(directory, 0777) != 0 && errno != EEXIST)
    return cli_fail(ONNXC_BAD_INPUT, "%s: %s", directory, strerror(errno));
  onnxc_context *context = onnxc_context_new();
  onnxc_model *model;
  if (!context)
    onnxc_arena_out_of_memory(m->arena);
  int status = (int)onnxc_load(context, model_path, &model);
  const onnxc_model_info *info = status == 0 ? onnxc_model_describe(model) : NULL;
  if (!info) {
    fprintf(stderr, "%s\n", onnxc_message(context));
    onnxc_context_free(context);
    return status ? status : ONNXC_INTERNAL;
  }
  onnxc_tensor *inputs = ONNXC_NEW_ARRAY(m->arena, onnxc_tensor, info->num_inputs + 1);
  onnxc_tensor *outputs = ONNXC_NEW_ARRAY(m->arena, onnxc_tensor, info->num_outputs + 1);
  for (int32_t k = 0; status == 0 && k < info->num_inputs; k++) {
    onnxc_tensor_info known = info->inputs[k];
    int64_t dims[ONNXC_MAX_RANK];
    for (int32_t d = 0; d < known.rank; d++)
      dims[d] = known.dims[d] < 0 ? 3 : known.dims[d]; /* any value does for an open dim */
    known.dims = dims;
    const char *seed = onnxc_arena_printf(m->arena, "random:%llu", (unsigned long long)(m->seed++ & INT64_MAX));
    status = cli_read_tensor(m->cli, seed, &known, &inputs[k]);
    if (status == 0)
      status = write_tensor(m, onnxc_arena_printf(m->arena, "%s/input_%d.pb", directory, k), known.name, &inputs[k]);
  }
  if (status == 0) {
    status = (int)onnxc_evaluate(model, inputs, (size_t)info->num_inputs, outputs, allocate, m->arena);
    if (status != 0)
      fprintf(stderr, "%s\n", onnxc_message(context));
  }
  for (int32_t k = 0; status == 0 && k < info->num_outputs; k++)
    status = write_tensor(m, onnxc_arena_printf(m->arena, "%s/output_%d.pb", directory, k), info->outputs[k].name,
                          &outputs[k]);
  onnxc_context_free(context);
  return status;
}
