/* per_node.c -- which node goes wrong first, against the reference evaluator.
 *
 * The model is compiled again with every value that something reads as an output; the first one that
 * differs from the evaluator's tells the node. Making all values outputs forbids fusing them away, so when
 * none differs, the prefixes that end in one value each are tried, by bisection: then it is fusing that goes wrong.
 */
#include "verify.h"

#include "onnx.pb-c.h"

#include <string.h>

typedef struct search {
  command *cli;
  const verify_options *options;
  const char *directory;
  Onnx__ModelProto *model;
  onnxc_tensor *inputs;
  size_t num_inputs;
  ONNXC_VEC(const Onnx__NodeProto *) writers; /* of the values, in the order of the file */
  ONNXC_VEC(char *) values;
} search;

static bool is_read(const Onnx__GraphProto *graph, const char *name) {
  for (size_t i = 0; i < graph->n_output; i++)
    if (graph->output[i]->name && strcmp(graph->output[i]->name, name) == 0)
      return true;
  for (size_t i = 0; i < graph->n_node; i++)
    for (size_t k = 0; k < graph->node[i]->n_input; k++)
      if (strcmp(graph->node[i]->input[k], name) == 0)
        return true;
  return false;
}

static void find_values(search *s) {
  const Onnx__GraphProto *graph = s->model->graph;
  for (size_t i = 0; i < graph->n_node; i++)
    for (size_t k = 0; k < graph->node[i]->n_output; k++) {
      char *name = graph->node[i]->output[k];
      if (!name[0] || !is_read(graph, name))
        continue;
      ONNXC_PUSH(&s->cli->arena, s->values, name);
      ONNXC_PUSH(&s->cli->arena, s->writers, graph->node[i]);
    }
}

/* The model's bytes with values [first, last) as its outputs. */
static uint8_t *model_with_outputs(search *s, uint32_t first, uint32_t last, size_t *size) {
  Onnx__GraphProto *graph = s->model->graph;
  Onnx__ValueInfoProto **saved = graph->output;
  size_t num_saved = graph->n_output;
  graph->n_output = last - first;
  graph->output = ONNXC_NEW_ARRAY(&s->cli->arena, Onnx__ValueInfoProto *, last - first);
  for (uint32_t i = first; i < last; i++) {
    graph->output[i - first] = ONNXC_NEW(&s->cli->arena, Onnx__ValueInfoProto);
    onnx__value_info_proto__init(graph->output[i - first]);
    graph->output[i - first]->name = s->values.data[i];
  }
  *size = onnx__model_proto__get_packed_size(s->model);
  uint8_t *bytes = onnxc_arena_alloc(&s->cli->arena, *size);
  onnx__model_proto__pack(s->model, bytes);
  graph->output = saved;
  graph->n_output = num_saved;
  return bytes;
}

static void *allocate(void *arg, size_t size, int tag) {
  (void)tag;
  return onnxc_arena_alloc(arg, size);
}

/* Compiles with these values as outputs, compares each with the evaluator's. *wrong is the first one that differs, or
 * `last`. Returns NULL, or what kept it from finding out. */
static const char *compare_values(search *s, uint32_t first, uint32_t last, uint32_t *wrong,
                                  cli_difference *difference) {
  command *cli = s->cli;
  size_t size;
  uint8_t *bytes = model_with_outputs(s, first, last, &size);
  onnxc_context *context = onnxc_context_new();
  onnxc_model *model;
  cli_session session;
  const char *message = NULL;
  if (!context)
    onnxc_arena_out_of_memory(&cli->arena);
  if (onnxc_load_memory(context, bytes, size, s->directory, &model) != ONNXC_OK) {
    message = onnxc_arena_printf(&cli->arena, "%s", onnxc_message(context));
    onnxc_context_free(context);
    return message;
  }
  onnxc_tensor *want = ONNXC_NEW_ARRAY(&cli->arena, onnxc_tensor, last - first);
  int status = cli_session_compile(cli, &session, context, model, &s->options->compile, &message);
  if (status == 0)
    status = cli_session_run(cli, &session, s->inputs, s->options->threads, &message);
  if (status == 0 && onnxc_evaluate(model, s->inputs, s->num_inputs, want, allocate, &cli->arena) != ONNXC_OK)
    message = onnxc_arena_printf(&cli->arena, "%s", onnxc_message(context));
  *wrong = last;
  for (uint32_t i = first; !message && i < last && *wrong == last; i++) {
    cli_compare(&session.outputs[i - first], &want[i - first], s->options->rtol, s->options->atol, difference);
    if (!difference->same)
      *wrong = i;
  }
  cli_session_close(&session);
  return message;
}

/* The smallest single value that goes wrong by itself. */
static const char *bisect(search *s, uint32_t *wrong, cli_difference *difference) {
  uint32_t low = 0, high = s->values.length, found = high;
  cli_difference last = {0};
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    const char *message = compare_values(s, middle, middle + 1, &found, difference);
    if (message)
      return message;
    if (found == middle) {
      high = middle;
      last = *difference;
    } else {
      low = middle + 1;
    }
  }
  *wrong = low;
  *difference = last;
  return NULL;
}

void cli_per_node(command *cli, const char *model, onnxc_tensor *inputs, size_t num_inputs,
                  const verify_options *options, char *message, size_t size) {
  const char *slash = strrchr(model, '/'), *error = NULL;
  search s = {.cli = cli, .options = options, .inputs = inputs, .num_inputs = num_inputs};
  s.directory = slash ? onnxc_arena_copy_string(&cli->arena, model, (size_t)(slash - model)) : ".";
  size_t length;
  uint8_t *bytes = cli_read_file(&cli->arena, model, &length, &error);
  s.model = bytes ? onnx__model_proto__unpack(NULL, length, bytes) : NULL; /* the loader has checked it before */
  if (!s.model || !s.model->graph) {
    snprintf(message, size, "cannot read the model again");
    return;
  }
  find_values(&s);
  uint32_t wrong = s.values.length;
  cli_difference difference;
  bool fused = false;
  error = compare_values(&s, 0, s.values.length, &wrong, &difference);
  if (!error && wrong == s.values.length) {
    fused = true;
    error = bisect(&s, &wrong, &difference);
  }
  if (error) {
    snprintf(message, size, "by node: %s", error);
  } else if (wrong == s.values.length) {
    snprintf(message, size, "by node: all agree with the reference evaluator");
  } else {
    const Onnx__NodeProto *node = s.writers.data[wrong];
    snprintf(message, size, "first wrong%s: node '%s' (%s), value '%s': %s", fused ? " when fused" : "",
             node->name ? node->name : "", node->op_type ? node->op_type : "", s.values.data[wrong], difference.what);
  }
  onnx__model_proto__free_unpacked(s.model, NULL);
}
