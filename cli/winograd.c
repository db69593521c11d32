/* winograd.c -- --winograd: which convolutions are computed in tiles, and how exactly. */
#include "cli.h"

#include <jansson.h>
#include <string.h>

static void listen(void *arg, const onnxc_winograd_layer *layer) {
  cli_options *options = arg;
  onnxc_winograd_layer copy = *layer;
  copy.name = onnxc_arena_copy_string(&options->cli->arena, layer->name, strlen(layer->name));
  ONNXC_PUSH(&options->cli->arena, options->winograd, copy);
}

int cli_winograd_option(command *cli, cli_options *options, const char *argument) {
  int64_t tile = 1;
  if (argument && (!cli_parse_int(argument, 2, 4, &tile) || tile == 3))
    return cli_usage(cli, "--winograd wants 2, 4 or nothing, not '%s'", argument);
  options->cli = cli;
  options->options.winograd = (int)tile;
  options->options.report_winograd = listen;
  options->options.report_arg = options;
  return 0;
}

void cli_winograd_print(const cli_options *options) {
  double most = 0;
  for (uint32_t k = 0; k < options->winograd.length; k++) {
    const onnxc_winograd_layer *layer = &options->winograd.data[k];
    most = layer->error > most ? layer->error : most;
    printf("winograd F(%dx%d, 3x3), error %.2g: %s\n", layer->tile, layer->tile, layer->error, layer->name);
  }
  if (options->winograd.length)
    printf("winograd %u convolutions, error at most %.2g of a layer's largest output in samples\n",
           options->winograd.length, most);
}

json_t *cli_winograd_json(const cli_options *options) {
  json_t *list = json_array();
  for (uint32_t k = 0; k < options->winograd.length; k++) {
    const onnxc_winograd_layer *layer = &options->winograd.data[k];
    json_array_append_new(
        list, json_pack("{s:s, s:i, s:f}", "name", layer->name, "tile", layer->tile, "error", layer->error));
  }
  return list;
}
