/* options.c -- arguments that several verbs take, and the parsing of numbers and shapes. */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool cli_parse_int(const char *text, int64_t low, int64_t high, int64_t *value) {
  char *end;
  errno = 0;
  long long number = strtoll(text, &end, 10);
  *value = number;
  return end != text && !*end && !errno && number >= low && number <= high;
}

bool cli_parse_double(const char *text, double *value) {
  char *end;
  *value = strtod(text, &end);
  return end != text && !*end && *value >= 0;
}

bool cli_parse_shape(const char *text, int *rank, int64_t *dims) {
  *rank = 0;
  while (*text) {
    size_t length = strcspn(text, "x,");
    char part[24];
    if (*rank == ONNXC_MAX_RANK || length == 0 || length >= sizeof part)
      return false;
    memcpy(part, text, length);
    part[length] = 0;
    if (strcmp(part, "?") == 0)
      dims[*rank] = -1;
    else if (!cli_parse_int(part, -1, INT32_MAX, &dims[*rank]))
      return false;
    ++*rank;
    text += length;
    if (!*text)
      return true;
    text++;
    if (!*text)
      return false; /* a separator at the end */
  }
  return true;
}

/* NAME=VALUE; names may contain '=', so the last one counts. */
static const char *split(command *cli, const char *argument, const char **name) {
  const char *equals = strrchr(argument, '=');
  if (!equals || equals == argument)
    return NULL;
  *name = onnxc_arena_copy_string(&cli->arena, argument, (size_t)(equals - argument));
  return equals + 1;
}

/* As the XDG base directory specification has it; NULL without a home. */
static const char *default_cache(command *cli) {
  const char *caches = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  if (caches && caches[0] == '/')
    return onnxc_arena_printf(&cli->arena, "%s/onnxc", caches);
  return home && home[0] ? onnxc_arena_printf(&cli->arena, "%s/.cache/onnxc", home) : NULL;
}

int cli_option(command *cli, cli_options *options, int option, const char *argument) {
  switch (option) {
  case CLI_MCPU: options->options.cpu = argument; return 0;
  case CLI_DIM: {
    onnxc_dim_setting dim;
    const char *value = split(cli, argument, &dim.name);
    if (!value || !cli_parse_int(value, 0, INT32_MAX, &dim.value))
      return cli_usage(cli, "--dim wants NAME=NUMBER, not '%s'", argument);
    ONNXC_PUSH(&cli->arena, options->dims, dim);
    options->options.dims = options->dims.data;
    options->options.num_dims = options->dims.length;
    return 0;
  }
  case CLI_SHAPE: {
    onnxc_shape_setting shape = {0};
    const char *value = split(cli, argument, &shape.input);
    if (!value || !cli_parse_shape(value, &shape.rank, shape.dims))
      return cli_usage(cli, "--shape wants INPUT=1x3x224x224 (? for an open dim), not '%s'", argument);
    ONNXC_PUSH(&cli->arena, options->shapes, shape);
    options->options.shapes = options->shapes.data;
    options->options.num_shapes = options->shapes.length;
    return 0;
  }
  case CLI_PRECISION:
    if (strcmp(argument, "f32") != 0 && strcmp(argument, "bf16") != 0)
      return cli_usage(cli, "--precision wants f32 or bf16, not '%s'", argument);
    options->options.precision = argument[0] == 'b' ? ONNXC_PRECISION_BF16 : ONNXC_PRECISION_F32;
    return 0;
  case CLI_WINOGRAD: return cli_winograd_option(cli, options, argument);
  case CLI_TUNING: options->options.tuning = argument; return 0;
  case CLI_COMPILE_THREADS: {
    int64_t threads;
    if (!cli_parse_int(argument, 1, 4096, &threads))
      return cli_usage(cli, "--compile-threads wants a number, not '%s'", argument);
    options->options.compile_threads = (int)threads;
    return 0;
  }
  case CLI_CACHE:
    options->options.cache_directory = argument ? argument : default_cache(cli);
    if (!options->options.cache_directory || !options->options.cache_directory[0])
      return cli_usage(cli, "--cache needs a directory: there is no HOME");
    return 0;
  default: return cli_usage(cli, "see onnxc %s --help", cli->verb);
  }
}
