/* targets.c -- `onnxc targets`: the CPUs that the compiler knows. */
#include "cli.h"

int cli_targets(command *cli, int argc, char **argv) {
  if (argc > 1)
    return cli_usage(cli, "it takes no arguments, not '%s'", argv[1]);
  onnxc_context *context = onnxc_context_new();
  if (!context)
    onnxc_arena_out_of_memory(&cli->arena);
  fputs(onnxc_describe_targets(context), stdout);
  onnxc_context_free(context);
  return 0;
}
