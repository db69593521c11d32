/* verify.c -- `onnxc verify`: models against the outputs that come with them.
 *
 * Each case runs in a process of its own when there are several, so that one that crashes or hangs fails alone; its
 * result comes back through shared memory. Lines are printed in the order of the cases.
 */
#include "verify.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static const char help[] =
    "usage: onnxc verify PATH... [options]\n"
    "PATH is a model beside test_data_set_N/ (input_K.pb, output_K.pb), or a folder of such, at any depth.\n"
    "  --rtol=1e-3, --atol=1e-5  |have - want| <= rtol |want| + atol max(1, largest |want|); the\n"
    "                     default of atol is for one node, and grows with the root of the number of nodes.\n"
    "                     With --precision=bf16 the defaults are 2e-2 and 4e-3, the unit of bf16.\n"
    "                     Integers must be equal, or with --atol=1 not differ by more than that\n"
    "  --per-node         where a case fails, the first node that differs from the reference evaluator\n"
    "  --jobs=N           cases at once (default: as many as there are CPUs)\n"
    "  --timeout=SECONDS  of a case (default 300)\n"
    "  --threads=N        of each run\n"
    "  --failures         lines for what did not pass only\n"
    "  --json\n"
    "  --mcpu=CPU, --dim NAME=N, --shape INPUT=1x3x224x224, --precision=bf16, --tuning=FILE,\n"
    "  --winograd[=2|4], --compile-threads=N  as for compile\n" CLI_CACHE_HELP;

enum { TABLE_FROM = 12 /* cases */ };

static const char *const outcome_names[VERIFY_OUTCOMES] = {"lost", "pass", "FAIL", "unsupported", "no code"};

typedef struct verify {
  command *cli;
  verify_cases cases;
  verify_options options;
  verify_result *results;
  pid_t *children; /* running, by case; 0 = none */
  int jobs;
  unsigned timeout;
  bool json, failures;
  int counts[VERIFY_OUTCOMES];
} verify;

/* ---- running ---- */

static void wait_for_one(verify *v) {
  int state;
  pid_t child = wait(&state);
  for (uint32_t i = 0; child > 0 && i < v->cases.items.length; i++) {
    if (v->children[i] != child)
      continue;
    verify_result *result = &v->results[i];
    v->children[i] = 0;
    if (result->outcome != VERIFY_LOST && WIFEXITED(state) && WEXITSTATUS(state) == 0)
      return;
    result->outcome = VERIFY_FAILED;
    if (WIFSIGNALED(state) && WTERMSIG(state) == SIGALRM)
      snprintf(result->message, sizeof result->message, "took more than %u s", v->timeout);
    else if (WIFSIGNALED(state))
      snprintf(result->message, sizeof result->message, "crashed: %s", strsignal(WTERMSIG(state)));
    else
      snprintf(result->message, sizeof result->message, "ended with status %d", WEXITSTATUS(state));
    return;
  }
}

static void run_child(verify *v, uint32_t i) {
  /* Memory that runs out unwinds to main's guard, whose frame is still there; so here it gets a guard of its own. */
  if (setjmp(v->cli->guard.env)) {
    snprintf(v->results[i].message, sizeof v->results[i].message, "out of memory");
    v->results[i].outcome = VERIFY_FAILED;
    _exit(0);
  }
  alarm(v->timeout);
  verify_result result;
  cli_verify_case(v->cli, &v->cases.items.data[i], &v->options, &result);
  v->results[i] = result;
  _exit(0);
}

/* ---- reporting ---- */

static void print_line(const verify *v, uint32_t i) {
  const verify_result *r = &v->results[i];
  if (v->failures && (r->outcome == VERIFY_PASSED || r->outcome == VERIFY_NO_CODE))
    return;
  printf("%s  opset %" PRId64 "  %s", v->cases.items.data[i].name, r->opset, outcome_names[r->outcome]);
  if (r->outcome == VERIFY_PASSED || r->outcome == VERIFY_NO_CODE || r->max_ulp > 0)
    printf("  %.3g ulp (%.2g)", r->max_ulp, r->max_abs); /* in units in the last place, and as it is */
  if (r->outcome != VERIFY_UNSUPPORTED)
    printf("  %d groups  %d folded", r->groups, r->folded);
  if (r->message[0]) {
    size_t line = strcspn(r->message, "\n");
    printf("  %.*s%s", (int)line, r->message, r->message[line] ? " ..." : "");
  }
  puts("");
}

/* The operator that a case is about. What ONNX derives from a test of one node ("test_x_expanded_ver18") is about that
 * node's operator. */
static const char *operator_of(const verify *v, uint32_t i) {
  if (v->results[i].op[0])
    return v->results[i].op;
  const char *name = v->cases.items.data[i].name, *expanded = strstr(name, "_expanded");
  size_t length = expanded ? (size_t)(expanded - name) : 0;
  for (uint32_t k = 0; expanded && k < v->cases.items.length; k++)
    if (strncmp(v->cases.items.data[k].name, name, length) == 0 && !v->cases.items.data[k].name[length])
      return v->results[k].op[0] ? v->results[k].op : "(several)";
  return "(several)";
}

typedef struct table_row {
  const char *op;
  int counts[VERIFY_OUTCOMES];
  double max_ulp;
} table_row;

static int by_name(const void *a, const void *b) {
  return strcmp(((const table_row *)a)->op, ((const table_row *)b)->op);
}

static table_row *make_table(verify *v, uint32_t *length) {
  table_row *rows = ONNXC_NEW_ARRAY(&v->cli->arena, table_row, v->cases.items.length + 1);
  *length = 0;
  for (uint32_t i = 0; i < v->cases.items.length; i++) {
    const char *op = operator_of(v, i);
    uint32_t k = 0;
    while (k < *length && strcmp(rows[k].op, op) != 0)
      k++;
    if (k == *length)
      rows[(*length)++].op = op;
    rows[k].counts[v->results[i].outcome]++;
    if (v->results[i].outcome == VERIFY_PASSED)
      rows[k].max_ulp = fmax(rows[k].max_ulp, v->results[i].max_ulp);
  }
  qsort(rows, *length, sizeof *rows, by_name);
  return rows;
}

static void print_table(verify *v) {
  uint32_t length;
  const table_row *rows = make_table(v, &length);
  if (length < 3)
    return; /* whole models */
  printf("\n%-32s %6s %6s %6s %6s  %s\n", "operator", "pass", "fail", "unsup.", "nocode", "largest ulp");
  for (uint32_t i = 0; i < length; i++)
    printf("%-32s %6d %6d %6d %6d  %.3g\n", rows[i].op, rows[i].counts[VERIFY_PASSED], rows[i].counts[VERIFY_FAILED],
           rows[i].counts[VERIFY_UNSUPPORTED], rows[i].counts[VERIFY_NO_CODE], rows[i].max_ulp);
  puts("");
}

static json_t *number(double value) { return isfinite(value) ? json_real(value) : json_null(); }

static void print_json(verify *v) {
  json_t *root = json_object(), *cases = json_array(), *operators = json_object();
  uint32_t length;
  const table_row *rows = make_table(v, &length);
  for (uint32_t i = 0; i < v->cases.items.length; i++) {
    const verify_result *r = &v->results[i];
    json_t *item = json_object();
    json_object_set_new(item, "name", json_string(v->cases.items.data[i].name));
    json_object_set_new(item, "model", json_string(v->cases.items.data[i].model));
    json_object_set_new(item, "operator", json_string(operator_of(v, i)));
    json_object_set_new(item, "opset", json_integer(r->opset));
    json_object_set_new(item, "outcome", json_string(r->outcome == VERIFY_FAILED ? "fail" : outcome_names[r->outcome]));
    json_object_set_new(item, "max_ulp", number(r->max_ulp));
    json_object_set_new(item, "max_abs", number(r->max_abs));
    json_object_set_new(item, "data_sets", json_integer(r->sets));
    json_object_set_new(item, "groups", json_integer(r->groups));
    json_object_set_new(item, "folded_nodes", json_integer(r->folded));
    json_object_set_new(item, "seconds", json_real(r->seconds));
    json_object_set_new(item, "message", json_string(r->message));
    json_array_append_new(cases, item);
  }
  for (uint32_t i = 0; i < length; i++)
    json_object_set_new(operators, rows[i].op,
                        json_pack("{s:i, s:i, s:i, s:i}", "passed", rows[i].counts[VERIFY_PASSED], "failed",
                                  rows[i].counts[VERIFY_FAILED], "unsupported", rows[i].counts[VERIFY_UNSUPPORTED],
                                  "without_code", rows[i].counts[VERIFY_NO_CODE]));
  json_object_set_new(root, "cases", cases);
  json_object_set_new(root, "operators", operators);
  json_object_set_new(root, "passed", json_integer(v->counts[VERIFY_PASSED]));
  json_object_set_new(root, "failed", json_integer(v->counts[VERIFY_FAILED]));
  json_object_set_new(root, "unsupported", json_integer(v->counts[VERIFY_UNSUPPORTED]));
  json_object_set_new(root, "without_code", json_integer(v->counts[VERIFY_NO_CODE]));
  json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
  puts("");
  json_decref(root);
}

/* ---- the whole ---- */

static int run_all(verify *v) {
  uint32_t count = v->cases.items.length, printed = 0;
  if (!count)
    return cli_usage(v->cli, "there is nothing to verify");
  size_t size = count * sizeof *v->results;
  v->results = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (v->results == MAP_FAILED)
    onnxc_arena_out_of_memory(&v->cli->arena);
  v->children = ONNXC_NEW_ARRAY(&v->cli->arena, pid_t, count);
  int running = 0;
  for (uint32_t i = 0; i < count || running > 0;) {
    if (count == 1) {
      cli_verify_case(v->cli, &v->cases.items.data[i++], &v->options, &v->results[0]);
    } else if (i < count && running < v->jobs) {
      fflush(stdout);
      pid_t child = fork();
      if (child == 0)
        run_child(v, i);
      if (child < 0)
        return cli_fail(ONNXC_INTERNAL, "fork: %s", strerror(errno));
      v->children[i++] = child;
      running++;
    } else {
      wait_for_one(v);
      running--;
    }
    for (; !v->json && printed < i && !v->children[printed]; printed++)
      print_line(v, printed);
  }
  for (uint32_t i = 0; i < count; i++)
    v->counts[v->results[i].outcome]++;
  if (v->json)
    print_json(v);
  else if (count >= TABLE_FROM)
    print_table(v);
  if (!v->json)
    printf("%d passed, %d failed, %d unsupported, %d without code\n", v->counts[VERIFY_PASSED],
           v->counts[VERIFY_FAILED], v->counts[VERIFY_UNSUPPORTED], v->counts[VERIFY_NO_CODE]);
  munmap(v->results, size);
  if (v->counts[VERIFY_FAILED])
    return ONNXC_MISMATCH;
  return v->counts[VERIFY_UNSUPPORTED] ? ONNXC_UNSUPPORTED : ONNXC_OK;
}

int cli_verify(command *cli, int argc, char **argv) {
  enum { RTOL = CLI_FIRST_OWN, ATOL, PER_NODE, JOBS, TIMEOUT, THREADS, FAILURES, JSON };
  static const struct option longs[] = {CLI_COMPILE_OPTIONS,
                                        CLI_CACHE_OPTION,
                                        {"rtol", 1, NULL, RTOL},
                                        {"atol", 1, NULL, ATOL},
                                        {"per-node", 0, NULL, PER_NODE},
                                        {"jobs", 1, NULL, JOBS},
                                        {"timeout", 1, NULL, TIMEOUT},
                                        {"threads", 1, NULL, THREADS},
                                        {"failures", 0, NULL, FAILURES},
                                        {"json", 0, NULL, JSON},
                                        {0}};
  verify v = {.cli = cli, .cases.cli = cli, .options = {.rtol = -1, .atol = -1, .threads = 1}, .timeout = 300};
  cli_options options = {0};
  int64_t number_given = 0;
  int status = 0;
  for (int c; status == 0 && (c = getopt_long(argc, argv, "h", longs, NULL)) != -1;)
    switch (c) {
    case 'h': fputs(help, stdout); return 0;
    case RTOL:
    case ATOL:
      if (!cli_parse_double(optarg, c == RTOL ? &v.options.rtol : &v.options.atol))
        return cli_usage(cli, "a tolerance is a number, not '%s'", optarg);
      break;
    case PER_NODE: v.options.per_node = true; break;
    case FAILURES: v.failures = true; break;
    case JSON: v.json = true; break;
    case JOBS:
    case TIMEOUT:
    case THREADS:
      if (!cli_parse_int(optarg, 1, 100000, &number_given))
        return cli_usage(cli, "it wants a number, not '%s'", optarg);
      if (c == JOBS)
        v.jobs = (int)number_given;
      else if (c == TIMEOUT)
        v.timeout = (unsigned)number_given;
      else
        v.options.threads = (int)number_given;
      break;
    default: status = cli_option(cli, &options, c, optarg);
    }
  if (status != 0)
    return status;
  if (argc == optind)
    return cli_usage(cli, "it wants a model or folder; see onnxc verify --help");
  for (int i = optind; status == 0 && i < argc; i++)
    status = cli_find_cases(&v.cases, argv[i]);
  if (status != 0)
    return status;
  v.options.compile = options.options;
  if (!v.jobs) {
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    v.jobs = online > 1 ? (int)online : 1;
  }
  return run_all(&v);
}
