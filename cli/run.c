/* run.c -- `onnxc run`: one run of a model, outputs shown or written. */
#include "cli.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

static const char help[] =
    "usage: onnxc run MODEL [--input NAME=FILE]... [options]      MODEL: .onnx, or a compiled .so\n"
    "  --input NAME=FILE  FILE.npy, FILE.pb or random[:SEED] (default for inputs not given); NAME= may be left out "
    "when\n"
    "                     there is one input\n"
    "  --output-dir DIR   write NAME.npy for each output\n"
    "  --reference        the reference evaluator instead of compiled code\n"
    "  --threads=N, --affinity=close|spread|none  default 1, close: each thread on a core, unless the environment\n"
    "                     (OMP_PROC_BIND, ..) says where\n"
    "  --mcpu=CPU, --dim NAME=N, --shape INPUT=1x3x224x224, --precision=bf16, --tuning=FILE,\n"
    "  --winograd[=2|4], --compile-threads=N  as for compile\n" CLI_CACHE_HELP;

static void show_output(command *cli, const onnxc_tensor_info *info, const onnxc_tensor *tensor) {
  enum { SHOWN = 8 };
  onnxc_dtype dtype = (onnxc_dtype)tensor->dtype;
  int64_t count = cli_tensor_count(tensor);
  size_t bytes = onnxc_dtype_bytes(dtype);
  printf("%s: %s {", info->name, cli_describe_tensor(cli, tensor));
  for (int64_t i = 0; i < count && i < SHOWN; i++) {
    const char *at = (const char *)tensor->data + (size_t)i * bytes;
    if (onnxc_dtype_is_float(dtype))
      printf("%s%.6g", i ? ", " : "", onnxc_scalar_to_f64(dtype, at));
    else
      printf("%s%" PRId64, i ? ", " : "", onnxc_scalar_to_i64(dtype, at));
  }
  puts(count > SHOWN ? ", ...}" : "}");
}

/* A file name for an output of any name. */
static const char *file_name(command *cli, const char *directory, const char *name) {
  char *copy = onnxc_arena_copy_string(&cli->arena, name, strlen(name));
  for (char *c = copy; *c; c++)
    if (*c == '/' || (unsigned char)*c < 32)
      *c = '_';
  return onnxc_arena_printf(&cli->arena, "%s/%s.npy", directory, copy[0] == '.' ? "_" : copy);
}

static int write_outputs(command *cli, const cli_session *session, const char *directory) {
  if (mkdir(directory, 0777) != 0 && errno != EEXIST)
    return cli_fail(ONNXC_BAD_INPUT, "%s: %s", directory, strerror(errno));
  for (int32_t k = 0; k < session->info->num_outputs; k++) {
    const char *path = file_name(cli, directory, session->info->outputs[k].name);
    const char *error = cli_write_npy(path, &session->outputs[k]);
    if (error)
      return cli_fail(ONNXC_BAD_INPUT, "%s: %s", path, error);
  }
  return 0;
}

int cli_run(command *cli, int argc, char **argv) {
  enum { INPUT = CLI_FIRST_OWN, OUTPUT_DIR, REFERENCE, THREADS, AFFINITY };
  static const struct option longs[] = {CLI_COMPILE_OPTIONS,
                                        CLI_CACHE_OPTION,
                                        {"input", 1, NULL, INPUT},
                                        {"output-dir", 1, NULL, OUTPUT_DIR},
                                        {"reference", 0, NULL, REFERENCE},
                                        {"threads", 1, NULL, THREADS},
                                        {"affinity", 1, NULL, AFFINITY},
                                        {0}};
  cli_options options = {0};
  ONNXC_VEC(const char *) specs = {0};
  const char *directory = NULL;
  bool reference = false;
  int64_t threads = 1;
  int status = 0;
  for (int c; status == 0 && (c = getopt_long(argc, argv, "h", longs, NULL)) != -1;)
    switch (c) {
    case 'h': fputs(help, stdout); return 0;
    case INPUT: ONNXC_PUSH(&cli->arena, specs, optarg); break;
    case OUTPUT_DIR: directory = optarg; break;
    case REFERENCE: reference = true; break;
    case THREADS:
      if (!cli_parse_int(optarg, 1, 4096, &threads))
        return cli_usage(cli, "--threads wants a number, not '%s'", optarg);
      break;
    case AFFINITY:
      if (!cli_set_affinity(optarg))
        return cli_usage(cli, "--affinity wants close, spread or none, not '%s'", optarg);
      break;
    default: status = cli_option(cli, &options, c, optarg);
    }
  if (status != 0)
    return status;
  if (argc - optind != 1)
    return cli_usage(cli, "it wants one model; see onnxc run --help");
  if (threads > 1)
    cli_bind_threads();
  cli_session session;
  status = cli_session_open(cli, &session, argv[optind], &options.options, NULL);
  if (status == 0) {
    onnxc_tensor *inputs = ONNXC_NEW_ARRAY(&cli->arena, onnxc_tensor, session.info->num_inputs + 1);
    status = cli_session_inputs(cli, &session, specs.data, specs.length, inputs);
    if (status == 0)
      status = reference ? cli_session_evaluate(cli, &session, inputs)
                         : cli_session_run(cli, &session, inputs, (int)threads, NULL);
    for (int32_t k = 0; status == 0 && k < session.info->num_outputs; k++)
      show_output(cli, &session.info->outputs[k], &session.outputs[k]);
    if (status == 0 && directory)
      status = write_outputs(cli, &session, directory);
  }
  cli_session_close(&session);
  return status;
}
