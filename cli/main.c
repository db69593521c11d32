/* main.c -- the command `onnxc`: finds the verb. */
#include "cli.h"

#include <stdarg.h>
#include <string.h>
#include <time.h>

static const struct {
  const char *name;
  int (*run)(command *cli, int argc, char **argv);
  const char *summary;
} verbs[] = {
    {"compile", cli_compile, "MODEL -o OUT: write a library, an executable, an object, LLVM IR, assembly"},
    {"run", cli_run, "MODEL --input NAME=FILE: compile in memory and run"},
    {"verify", cli_verify, "PATH...: compare with expected outputs"},
    {"bench", cli_bench, "MODEL: measure time and throughput"},
    {"tune", cli_tune, "MODEL -o FILE: measure other cuts of matrix products, for --tuning=FILE"},
    {"inspect", cli_inspect, "MODEL: inputs, outputs, operators, weights, memory"},
    {"gen", cli_gen, "mlp|gemm -o OUT: write a model"},
    {"opt", cli_opt, "FILE --passes=a,b: run passes over the text form"},
    {"targets", cli_targets, "the CPUs that are known, and what this one is"},
};

static void print_help(FILE *out) {
  fputs("usage: onnxc VERB ...   (onnxc VERB --help says more)\n\n", out);
  for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
    fprintf(out, "  %-8s %s\n", verbs[i].name, verbs[i].summary);
  fputs(
      "\nExit status: 0 done, 1 a comparison failed, 2 wrong usage, 3 bad input, 4 valid but unsupported, 5 internal, "
      "6 out of memory.\n",
      out);
}

static void print_message(const command *cli, const char *format, va_list arguments) {
  fprintf(stderr, cli ? "onnxc %s: " : "onnxc: ", cli ? cli->verb : "");
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
}

int cli_usage(const command *cli, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  print_message(cli, format, arguments);
  va_end(arguments);
  return ONNXC_USAGE;
}

int cli_fail(onnxc_status status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  print_message(NULL, format, arguments);
  va_end(arguments);
  return (int)status;
}

double cli_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int main(int argc, char **argv) {
  static command cli;
  if (argc < 2) {
    print_help(stderr);
    return ONNXC_USAGE;
  }
  if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
    print_help(stdout);
    return 0;
  }
  if (strcmp(argv[1], "--version") == 0) {
    printf("onnxc %s\n", onnxc_version());
    return 0;
  }
  for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
    if (strcmp(argv[1], verbs[i].name) != 0)
      continue;
    cli.verb = verbs[i].name;
    onnxc_arena_init(&cli.arena, &cli.guard);
    if (setjmp(cli.guard.env))
      return cli_fail(ONNXC_OUT_OF_MEMORY, "out of memory");
    int status = verbs[i].run(&cli, argc - 1, argv + 1);
    onnxc_arena_free(&cli.arena);
    if (fflush(stdout) != 0 && status == 0)
      return cli_fail(ONNXC_BAD_INPUT, "cannot write to standard output");
    return status;
  }
  fprintf(stderr, "onnxc: there is no verb '%s'\n", argv[1]);
  print_help(stderr);
  return ONNXC_USAGE;
}
