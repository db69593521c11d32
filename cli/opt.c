/* opt.c -- `onnxc opt`: passes over the text form of a graph (or over a model, imported). */
#include "cli.h"

#include "frontend.h"
#include "ir/text.h"
#include "ir/verify.h"
#include "pass/pass.h"

#include <getopt.h>
#include <string.h>

static const char help[] =
    "usage: onnxc opt FILE --passes=a,b [options]      FILE: text, .onnx, or - for standard input\n"
    "  --passes=a,b       in this order; 'pipeline' stands for all that compile runs\n"
    "  --print-after=PASS print the graph after that pass too\n"
    "  --mcpu=CPU         the target of the passes that need one\n"
    "  --precision=bf16   as for compile; asks the pass of that name to do something\n"
    "  --max-constant=N   print at most N bytes of a constant (such text does not parse)\n"
    "  --list             the passes there are\n";

typedef struct printer {
  onnxc_arena *arena;
  const char *after;
  size_t max_constant;
} printer;

static void print_graph(const printer *p, const onnxc_graph *graph) {
  onnxc_text text;
  onnxc_text_init(&text, p->arena);
  onnxc_graph_print(graph, &text, p->max_constant);
  fputs(text.data, stdout);
}

static void after_pass(void *arg, const char *pass, double seconds, const onnxc_graph *graph) {
  const printer *p = arg;
  (void)seconds;
  if (!p->after || strcmp(p->after, pass) != 0)
    return;
  printf("# after %s\n", pass);
  print_graph(p, graph);
}

static int list_passes(void) {
  uint32_t count;
  const onnxc_pass *passes = onnxc_passes(&count);
  for (uint32_t i = 0; i < count; i++)
    printf("%-16s %s\n", passes[i].name, passes[i].summary);
  printf("%-16s %s\n", "pipeline", onnxc_pipeline);
  return 0;
}

static const char *read_input(command *cli, size_t *size) {
  size_t capacity = 1 << 16;
  char *text = onnxc_arena_alloc(&cli->arena, capacity);
  *size = 0;
  for (size_t got; (got = fread(text + *size, 1, capacity - *size, stdin)) > 0;) {
    *size += got;
    if (*size < capacity)
      continue;
    char *bigger = onnxc_arena_alloc(&cli->arena, 2 * capacity);
    memcpy(bigger, text, capacity);
    text = bigger;
    capacity *= 2;
  }
  return text;
}

static onnxc_status read_graph(command *cli, onnxc_graph *graph, const char *path, onnxc_onnx_file **file) {
  size_t length = strlen(path), size;
  const char *error = NULL;
  onnxc_graph_init(graph, &cli->arena, &cli->diag);
  if (length > 5 && strcmp(path + length - 5, ".onnx") == 0) {
    ONNXC_TRY(onnxc_onnx_open(file, &cli->arena, &cli->diag, path));
    return onnxc_onnx_import(*file, graph, NULL);
  }
  const char *text = strcmp(path, "-") == 0 ? read_input(cli, &size) : cli_read_file(&cli->arena, path, &size, &error);
  if (!text)
    return onnxc_error(&cli->diag, ONNXC_BAD_INPUT, "%s", error);
  return onnxc_graph_parse(graph, path, text, size);
}

static onnxc_status choose_target(command *cli, const char *cpu, const onnxc_target **target) {
  *target = cpu && strcmp(cpu, "native") != 0 ? onnxc_target_find(cpu, strlen(cpu)) : onnxc_target_host();
  if (!*target && cpu)
    return onnxc_error(&cli->diag, ONNXC_USAGE, "unknown CPU '%s': `onnxc targets` lists the known ones", cpu);
  return ONNXC_OK;
}

/* The parser's messages begin with the file's name already. */
static void print_message(const char *path, const char *text) {
  bool named = strncmp(text, path, strlen(path)) == 0;
  fprintf(stderr, "%s%s%s\n", named ? "" : path, named ? "" : ": ", text);
}

int cli_opt(command *cli, int argc, char **argv) {
  enum { PASSES = 256, PRINT_AFTER, MCPU, PRECISION, MAX_CONSTANT, LIST };
  static const struct option longs[] = {{"passes", 1, NULL, PASSES},
                                        {"print-after", 1, NULL, PRINT_AFTER},
                                        {"mcpu", 1, NULL, MCPU},
                                        {"precision", 1, NULL, PRECISION},
                                        {"max-constant", 1, NULL, MAX_CONSTANT},
                                        {"list", 0, NULL, LIST},
                                        {"help", 0, NULL, 'h'},
                                        {0}};
  printer print = {.arena = &cli->arena};
  const char *passes = "", *cpu = NULL;
  cli_options compile = {0};
  int64_t number;
  for (int c; (c = getopt_long(argc, argv, "h", longs, NULL)) != -1;)
    switch (c) {
    case 'h': fputs(help, stdout); return 0;
    case PASSES: passes = optarg; break;
    case PRINT_AFTER: print.after = optarg; break;
    case MCPU: cpu = optarg; break;
    case LIST: return list_passes();
    case PRECISION:
      if (cli_option(cli, &compile, CLI_PRECISION, optarg) != 0)
        return ONNXC_USAGE;
      break;
    case MAX_CONSTANT:
      if (!cli_parse_int(optarg, 0, INT64_MAX, &number))
        return cli_usage(cli, "--max-constant wants a number, not '%s'", optarg);
      print.max_constant = (size_t)number;
      break;
    default: return cli_usage(cli, "see onnxc opt --help");
    }
  if (argc - optind != 1)
    return cli_usage(cli, "it wants one file; see onnxc opt --help");
  onnxc_graph graph;
  onnxc_onnx_file *file = NULL;
  onnxc_pass_options options = {.after = after_pass,
                                .after_arg = &print,
                                .verify = true,
                                .bf16 = compile.options.precision == ONNXC_PRECISION_BF16};
  onnxc_status status = choose_target(cli, cpu, &options.target);
  if (status == ONNXC_OK)
    status = read_graph(cli, &graph, argv[optind], &file);
  if (status == ONNXC_OK)
    status = onnxc_graph_verify(&graph, "reading it");
  if (status == ONNXC_OK && passes[0])
    status = onnxc_run_passes(&graph, strcmp(passes, "pipeline") == 0 ? onnxc_pipeline : passes, &options);
  if (status == ONNXC_OK)
    print_graph(&print, &graph);
  else
    print_message(argv[optind], cli->diag.text);
  onnxc_onnx_close(file);
  return (int)status;
}
