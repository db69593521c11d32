/* compile.c -- `onnxc compile`: a model to a file. */
#include "cli.h"

#include "target/target.h"

#include <getopt.h>
#include <string.h>
#include <sys/stat.h>

static const char help[] =
    "usage: onnxc compile MODEL -o OUT [options]\n"
    "  --emit=KIND        shared, static, object, exe, llvm-ir, asm, ir; by OUT's suffix when absent\n"
    "                     (.so, .a, .o, none, .ll, .s, .ir); a library's header goes beside it\n"
    "  --mcpu=CPU         native (default) or a name that `onnxc targets` lists\n"
    "  --mtriple=TRIPLE   LLVM target triple\n"
    "  --dim NAME=N       fix a symbolic dim\n"
    "  --shape INPUT=1x3x224x224  fix an input's shape (? leaves a dim open)\n"
    "  --precision=f32|bf16  of contractions of f32: bf16 rounds their factors, sums and all else are f32\n"
    "  --tuning=FILE      how to cut products, from `onnxc tune`\n"
    "  --winograd[=2|4]   3x3 convolutions by fewer multiplications and with more error, which is told: where that is\n"
    "                     likely to be faster, or all in tiles of 2x2 or 4x4\n"
    "  --weights=embed|file  weights in the artefact, or in OUT.weights\n"
    "  --prefix=NAME      of the library's symbols\n"
    "  --threads=N        1 = without OpenMP\n"
    "  --compile-threads=N  threads that compile (default: all cores); the result is the same\n"
    "  --print-after=PASS print the program after a pass ('graph', a pass, 'tile'; 'all')\n"
    "  -q                 do not say what was chosen\n"
    "  -v                 time of each pass\n";

static const struct {
  const char *name, *suffix;
  onnxc_emit emit;
} kinds[] = {
    {"shared", ".so", ONNXC_EMIT_SHARED}, {"static", ".a", ONNXC_EMIT_STATIC},    {"object", ".o", ONNXC_EMIT_OBJECT},
    {"exe", ".exe", ONNXC_EMIT_EXE},      {"llvm-ir", ".ll", ONNXC_EMIT_LLVM_IR}, {"asm", ".s", ONNXC_EMIT_ASM},
    {"ir", ".ir", ONNXC_EMIT_IR},
};
enum { NUM_KINDS = sizeof kinds / sizeof kinds[0] };

typedef struct printing {
  const char *after; /* pass, "all" or NULL */
  bool verbose, found;
} printing;

static int want_text(void *arg, const char *pass) {
  const printing *p = arg;
  return p->after && (strcmp(p->after, pass) == 0 || strcmp(p->after, "all") == 0);
}

static void after_pass(void *arg, const char *pass, double seconds, const char *text) {
  printing *p = arg;
  if (text) {
    printf("# after %s\n%s%s", pass, text, text[0] && text[strlen(text) - 1] == '\n' ? "" : "\n");
    p->found = true;
  }
  if (p->verbose)
    fprintf(stderr, "%9.3f ms  %s\n", 1e3 * seconds, pass);
}

static int kind_by_name(command *cli, const char *name, size_t *kind) {
  for (*kind = 0; *kind < NUM_KINDS; ++*kind)
    if (strcmp(kinds[*kind].name, name) == 0)
      return 0;
  return cli_usage(cli, "--emit wants shared, static, object, exe, llvm-ir, asm or ir, not '%s'", name);
}

static int kind_by_suffix(command *cli, const char *out, size_t *kind) {
  const char *slash = strrchr(out, '/'), *dot = strrchr(slash ? slash : out, '.');
  if (!dot)
    return kind_by_name(cli, "exe", kind);
  for (*kind = 0; *kind < NUM_KINDS; ++*kind)
    if (strcmp(kinds[*kind].suffix, dot) == 0)
      return 0;
  return cli_usage(cli, "the suffix of '%s' does not say what to write: give --emit", out);
}

static const char *format_bytes(command *cli, double bytes) {
  return bytes < 1e4   ? onnxc_arena_printf(&cli->arena, "%.0f B", bytes)
         : bytes < 1e7 ? onnxc_arena_printf(&cli->arena, "%.1f KB", bytes / 1e3)
                       : onnxc_arena_printf(&cli->arena, "%.1f MB", bytes / 1e6);
}

static const char *cpu_name(const onnxc_options *options) {
  if (options->cpu && strcmp(options->cpu, "native") != 0)
    return options->cpu;
  const onnxc_target *host = onnxc_target_host();
  return host ? host->name : "native";
}

static int write_output(command *cli, const char *path, const cli_options *options, size_t kind, const char *out,
                        bool quiet) {
  double start = cli_seconds();
  onnxc_context *context = onnxc_context_new();
  onnxc_model *model;
  struct stat info;
  if (!context)
    onnxc_arena_out_of_memory(&cli->arena);
  onnxc_status status = onnxc_load(context, path, &model);
  if (status == ONNXC_OK)
    status = onnxc_emit_file(model, &options->options, kinds[kind].emit, out);
  if (status != ONNXC_OK)
    fprintf(stderr, "%s\n", onnxc_message(context));
  else if (!quiet)
    printf("%s: %s for %s, weights %s, %s, %.2f s\n", out, kinds[kind].name, cpu_name(&options->options),
           options->options.weights_in_file ? "in a file beside it" : "embedded",
           stat(out, &info) == 0 ? format_bytes(cli, (double)info.st_size) : "?", cli_seconds() - start);
  if (status == ONNXC_OK && !quiet)
    cli_winograd_print(options);
  onnxc_context_free(context);
  return (int)status;
}

int cli_compile(command *cli, int argc, char **argv) {
  enum { EMIT = CLI_FIRST_OWN, TRIPLE, DISPATCH, WEIGHTS, PREFIX, THREADS, PRINT_AFTER };
  static const struct option longs[] = {
      CLI_COMPILE_OPTIONS,          {"output", 1, NULL, 'o'},        {"emit", 1, NULL, EMIT},
      {"mtriple", 1, NULL, TRIPLE}, {"dispatch", 1, NULL, DISPATCH}, {"weights", 1, NULL, WEIGHTS},
      {"prefix", 1, NULL, PREFIX},  {"threads", 1, NULL, THREADS},   {"print-after", 1, NULL, PRINT_AFTER},
      {"quiet", 0, NULL, 'q'},      {"verbose", 0, NULL, 'v'},       {0}};
  cli_options options = {0};
  printing print = {0};
  const char *out = NULL, *emit = NULL;
  bool quiet = false;
  int status = 0;
  for (int c; status == 0 && (c = getopt_long(argc, argv, "o:hqv", longs, NULL)) != -1;) {
    int64_t number = 0;
    switch (c) {
    case 'h': fputs(help, stdout); return 0;
    case 'o': out = optarg; break;
    case 'q': quiet = true; break;
    case 'v': print.verbose = true; break;
    case EMIT: emit = optarg; break;
    case TRIPLE: options.options.triple = optarg; break;
    case DISPATCH: return cli_fail(ONNXC_UNSUPPORTED, "--dispatch is not supported");
    case PREFIX: options.options.prefix = optarg; break;
    case PRINT_AFTER: print.after = optarg; break;
    case WEIGHTS:
      if (strcmp(optarg, "file") != 0 && strcmp(optarg, "embed") != 0)
        return cli_usage(cli, "--weights wants embed or file, not '%s'", optarg);
      options.options.weights_in_file = strcmp(optarg, "file") == 0;
      break;
    case THREADS:
      if (!cli_parse_int(optarg, 1, 4096, &number))
        return cli_usage(cli, "--threads wants a number, not '%s'", optarg);
      options.options.threads = (int)number;
      break;
    default: status = cli_option(cli, &options, c, optarg);
    }
  }
  if (status != 0)
    return status;
  if (argc - optind != 1)
    return cli_usage(cli, "it wants one model; see onnxc compile --help");
  if (!out)
    return cli_usage(cli, "-o OUT is missing");
  size_t kind;
  status = emit ? kind_by_name(cli, emit, &kind) : kind_by_suffix(cli, out, &kind);
  if (status != 0)
    return status;
  options.options.want_text = want_text;
  options.options.after_pass = after_pass;
  options.options.pass_arg = &print;
  status = write_output(cli, argv[optind], &options, kind, out, quiet);
  if (status == 0 && print.after && !print.found)
    return cli_usage(cli, "no pass is called '%s'", print.after);
  return status;
}
