/* inspect.c -- `onnxc inspect`: what a model is made of, and what it becomes. */
#include "cli.h"

#include "import.h"
#include "load.h"

#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: onnxc inspect MODEL [--json | --dot] [--dim NAME=N] [--shape INPUT=1x3x224x224] [--mcpu=CPU]\n"
    "Shows inputs, outputs, operators, weights and planned memory (of intermediate tensors beside the most that are "
    "live "
    "at\nonce, below which no plan goes); every unsupported node; exit status 4 if there are any.\n"
    "  --dot              the nodes as a graph for Graphviz\n";

/* How often an operator occurs. */
typedef struct op_count {
  const char *op, *domain;
  int count;
} op_count;

typedef struct inspection {
  command *cli;
  const char *path;
  onnxc_onnx_file *file;
  ONNXC_VEC(op_count) ops;
  size_t weights; /* initializers that are tensors */
  double weight_bytes;
  onnxc_status status; /* of the compilation */
  const char *message; /* what was not supported */
  onnxc_stats stats;
  cli_options options;
} inspection;

/* ---- gathering ---- */

static int by_count(const void *a, const void *b) {
  const op_count *x = a, *y = b;
  return x->count != y->count ? y->count - x->count : strcmp(x->op, y->op);
}

static void count_ops(inspection *in) {
  const Onnx__GraphProto *graph = in->file->model->graph;
  for (size_t i = 0; i < graph->n_node; i++) {
    const char *op = onnxc_onnx_text(graph->node[i]->op_type), *domain = onnxc_onnx_text(graph->node[i]->domain);
    uint32_t k = 0;
    while (k < in->ops.length && (strcmp(in->ops.data[k].op, op) != 0 || strcmp(in->ops.data[k].domain, domain) != 0))
      k++;
    if (k == in->ops.length) {
      op_count item = {op, domain, 0};
      ONNXC_PUSH(&in->cli->arena, in->ops, item);
    }
    in->ops.data[k].count++;
  }
  if (in->ops.length)
    qsort(in->ops.data, in->ops.length, sizeof *in->ops.data, by_count);
  for (size_t i = 0; i < graph->n_initializer; i++) {
    const Onnx__TensorProto *tensor = graph->initializer[i];
    double bytes = (double)onnxc_dtype_bytes((onnxc_dtype)tensor->data_type);
    for (size_t d = 0; d < tensor->n_dims; d++)
      bytes *= (double)tensor->dims[d];
    in->weights++;
    in->weight_bytes += bytes;
  }
}

static void compile(inspection *in) {
  cli_session session;
  in->status = (onnxc_status)cli_session_open(in->cli, &session, in->path, &in->options.options, &in->message);
  in->stats = session.stats;
  cli_session_close(&session);
}

static bool is_initializer(const Onnx__GraphProto *graph, const char *name) {
  for (size_t i = 0; i < graph->n_initializer; i++)
    if (strcmp(onnxc_onnx_text(graph->initializer[i]->name), onnxc_onnx_text(name)) == 0)
      return true;
  return false;
}

/* "f32[N, 3, ?]" */
static const char *type_text(command *cli, const Onnx__ValueInfoProto *info) {
  const Onnx__TypeProto__Tensor *type = info->type ? info->type->tensor_type : NULL;
  if (!type)
    return "not a tensor";
  const char *name = onnxc_dtype_name((onnxc_dtype)type->elem_type);
  if (!type->shape)
    return onnxc_arena_printf(&cli->arena, "%s, of unknown shape", name);
  const char *text = onnxc_arena_printf(&cli->arena, "%s[", name);
  for (size_t d = 0; d < type->shape->n_dim; d++) {
    const Onnx__TensorShapeProto__Dimension *dim = type->shape->dim[d];
    const char *comma = d ? ", " : "", *param = onnxc_onnx_text(dim->dim_param);
    text = dim->has_dim_value ? onnxc_arena_printf(&cli->arena, "%s%s%" PRId64, text, comma, dim->dim_value)
                              : onnxc_arena_printf(&cli->arena, "%s%s%s", text, comma, param[0] ? param : "?");
  }
  return onnxc_arena_printf(&cli->arena, "%s]", text);
}

static const char *op_name(command *cli, const op_count *op) {
  return op->domain[0] ? onnxc_arena_printf(&cli->arena, "%s.%s", op->domain, op->op) : op->op;
}

static bool is_known(const op_count *op) { return onnxc_import_find(op->domain, op->op) != NULL; }

/* ---- showing ---- */

static void print_text(inspection *in) {
  command *cli = in->cli;
  const Onnx__ModelProto *model = in->file->model;
  const Onnx__GraphProto *graph = model->graph;
  printf("%s: IR version %" PRId64, in->path, model->ir_version);
  for (size_t i = 0; i < model->n_opset_import; i++)
    printf(", %s %" PRId64,
           onnxc_onnx_text(model->opset_import[i]->domain)[0] ? model->opset_import[i]->domain : "opset",
           model->opset_import[i]->version);
  puts("");
  for (size_t i = 0; i < graph->n_input; i++)
    if (!is_initializer(graph, graph->input[i]->name))
      printf("input   %s: %s\n", onnxc_onnx_text(graph->input[i]->name), type_text(cli, graph->input[i]));
  for (size_t i = 0; i < graph->n_output; i++)
    printf("output  %s: %s\n", onnxc_onnx_text(graph->output[i]->name), type_text(cli, graph->output[i]));
  printf("weights %zu tensors, %.0f bytes\n", in->weights, in->weight_bytes);
  printf("nodes   %zu", graph->n_node);
  if (model->n_functions)
    printf(", and %zu functions", model->n_functions);
  puts("");
  for (uint32_t i = 0; i < in->ops.length; i++)
    printf("%7d %s%s\n", in->ops.data[i].count, op_name(cli, &in->ops.data[i]),
           is_known(&in->ops.data[i]) ? "" : " (no importer)");
  if (in->status != ONNXC_OK) {
    puts("unsupported:");
    fflush(stdout);
    fprintf(stderr, "%s\n", in->message);
    return;
  }
  printf("compiled %d groups, %d nodes folded", in->stats.groups, in->stats.folded_nodes);
  if (in->stats.flops > 0)
    printf(", %.3f GFLOP", 1e-9 * in->stats.flops);
  printf(", %.0f ms\n", 1e3 * in->stats.compile_seconds);
  printf("memory  %zu bytes of weights; ", in->stats.weights_size);
  cli_print_plan(&in->stats);
  puts("");
  cli_winograd_print(&in->options);
}

static json_t *values_json(command *cli, const Onnx__GraphProto *graph, Onnx__ValueInfoProto *const *infos,
                           size_t count) {
  json_t *array = json_array();
  for (size_t i = 0; i < count; i++)
    if (infos == graph->output || !is_initializer(graph, infos[i]->name))
      json_array_append_new(
          array, json_pack("{s:s, s:s}", "name", onnxc_onnx_text(infos[i]->name), "type", type_text(cli, infos[i])));
  return array;
}

static void print_json(inspection *in) {
  const Onnx__ModelProto *model = in->file->model;
  const Onnx__GraphProto *graph = model->graph;
  json_t *root = json_object(), *opsets = json_object(), *ops = json_object(), *unsupported = json_array();
  for (size_t i = 0; i < model->n_opset_import; i++)
    json_object_set_new(opsets, onnxc_onnx_text(model->opset_import[i]->domain),
                        json_integer(model->opset_import[i]->version));
  for (uint32_t i = 0; i < in->ops.length; i++)
    json_object_set_new(ops, op_name(in->cli, &in->ops.data[i]), json_integer(in->ops.data[i].count));
  for (const char *line = in->message; line && *line;) {
    size_t length = strcspn(line, "\n");
    json_array_append_new(unsupported, json_stringn_nocheck(line, length));
    line += length + (line[length] != 0);
  }
  json_object_set_new(root, "file", json_string(in->path));
  json_object_set_new(root, "ir_version", json_integer(model->ir_version));
  json_object_set_new(root, "opsets", opsets);
  json_object_set_new(root, "inputs", values_json(in->cli, graph, graph->input, graph->n_input));
  json_object_set_new(root, "outputs", values_json(in->cli, graph, graph->output, graph->n_output));
  json_object_set_new(root, "nodes", json_integer((json_int_t)graph->n_node));
  json_object_set_new(root, "functions", json_integer((json_int_t)model->n_functions));
  json_object_set_new(root, "operators", ops);
  json_object_set_new(root, "initializers", json_integer((json_int_t)in->weights));
  json_object_set_new(root, "initializer_bytes", json_real(in->weight_bytes));
  json_object_set_new(root, "status", json_string(onnxc_status_name(in->status)));
  json_object_set_new(root, "messages", unsupported);
  if (in->status == ONNXC_OK) {
    json_object_set_new(root, "groups", json_integer(in->stats.groups));
    json_object_set_new(root, "folded_nodes", json_integer(in->stats.folded_nodes));
    json_object_set_new(root, "weights_bytes", json_integer((json_int_t)in->stats.weights_size));
    json_object_set_new(root, "workspace_bytes",
                        in->stats.static_workspace < 0 ? json_null() : json_integer(in->stats.static_workspace));
    json_object_set_new(root, "live_set_bytes",
                        in->stats.largest_live_set < 0 ? json_null() : json_integer(in->stats.largest_live_set));
    json_object_set_new(root, "flops", json_real(in->stats.flops));
    if (in->options.options.winograd)
      json_object_set_new(root, "winograd", cli_winograd_json(&in->options));
    json_object_set_new(root, "compile_seconds", json_real(in->stats.compile_seconds));
  }
  json_dumpf(root, stdout, JSON_INDENT(2));
  puts("");
  json_decref(root);
}

static void print_quoted(const char *text) {
  putchar('"');
  for (; *text; text++) {
    if (*text == '"' || *text == '\\')
      putchar('\\');
    if ((unsigned char)*text >= 32)
      putchar(*text);
  }
  putchar('"');
}

/* Values are points, nodes are boxes; initializers are left out. */
static void print_dot(const inspection *in) {
  const Onnx__GraphProto *graph = in->file->model->graph;
  puts("digraph model {\n  node [shape=box];");
  for (size_t i = 0; i < graph->n_node; i++) {
    const Onnx__NodeProto *node = graph->node[i];
    printf("  n%zu [label=", i);
    print_quoted(onnxc_onnx_text(node->op_type));
    printf(", tooltip=");
    print_quoted(onnxc_onnx_text(node->name));
    puts("];");
    for (size_t k = 0; k < node->n_output; k++) {
      if (!node->output[k][0])
        continue;
      printf("  n%zu -> ", i);
      print_quoted(node->output[k]);
      puts(";");
      printf("  ");
      print_quoted(node->output[k]);
      puts(" [shape=point];");
    }
    for (size_t k = 0; k < node->n_input; k++) {
      if (!node->input[k][0] || is_initializer(graph, node->input[k]))
        continue;
      printf("  ");
      print_quoted(node->input[k]);
      printf(" -> n%zu;\n", i);
    }
  }
  puts("}");
}

int cli_inspect(command *cli, int argc, char **argv) {
  enum { JSON = CLI_FIRST_OWN, DOT };
  static const struct option longs[] = {CLI_COMPILE_OPTIONS, {"json", 0, NULL, JSON}, {"dot", 0, NULL, DOT}, {0}};
  inspection in = {.cli = cli};
  bool json = false, dot = false;
  int status = 0;
  for (int c; status == 0 && (c = getopt_long(argc, argv, "h", longs, NULL)) != -1;)
    switch (c) {
    case 'h': fputs(help, stdout); return 0;
    case JSON: json = true; break;
    case DOT: dot = true; break;
    default: status = cli_option(cli, &in.options, c, optarg);
    }
  if (status != 0)
    return status;
  if (argc - optind != 1)
    return cli_usage(cli, "it wants one model; see onnxc inspect --help");
  in.path = argv[optind];
  in.status = onnxc_onnx_open(&in.file, &cli->arena, &cli->diag, in.path);
  if (in.status != ONNXC_OK) {
    fprintf(stderr, "%s: %s\n", in.path, cli->diag.text);
  } else if (dot) {
    print_dot(&in);
  } else {
    count_ops(&in);
    compile(&in);
    if (json)
      print_json(&in);
    else
      print_text(&in);
  }
  onnxc_onnx_close(in.file);
  return (int)in.status;
}
