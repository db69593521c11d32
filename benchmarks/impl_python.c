/* impl_python.c -- ONNX Runtime and OpenVINO, each in a Python process of its own (peers.py).
 *
 * The process lives as long as this one. It is spoken to in lines of JSON: {"open": ...} loads the problem's model,
 * runs it once and writes the result to a file; {"window": seconds} runs for that long and tells the seconds of a run.
 * What it inherits: the cores and the scheduling class.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct peer {
  const char *name;
  bool tried;
  pid_t pid;
  FILE *to, *from;
  char version[100];
  char folder[64]; /* of the files that are exchanged */
} peer;

static peer onnxruntime = {.name = "onnxruntime"}, openvino = {.name = "openvino"};

/* The answer to a request; NULL when the process has ended. Takes the request. */
static json_t *ask(peer *p, json_t *request) {
  char *line = NULL;
  size_t size = 0;
  json_t *answer = NULL;
  if (p->to && json_dumpf(request, p->to, JSON_COMPACT) == 0 && fputc('\n', p->to) != EOF && fflush(p->to) == 0 &&
      getline(&line, &size, p->from) > 0)
    answer = json_loads(line, 0, NULL);
  free(line);
  json_decref(request);
  return answer;
}

static void stop(void) {
  peer *const peers[] = {&onnxruntime, &openvino};
  for (int i = 0; i < 2; i++) {
    if (!peers[i]->to)
      continue;
    fclose(peers[i]->to);
    fclose(peers[i]->from);
    waitpid(peers[i]->pid, NULL, 0);
    rmdir(peers[i]->folder);
  }
}

static void start(peer *p) {
  static bool registered;
  int in[2], out[2];
  const char *python = bench_python(), *script = bench_script();
  snprintf(p->folder, sizeof p->folder, "/tmp/onnxc-bench-XXXXXX");
  if (access(python, X_OK) != 0 || pipe2(in, O_CLOEXEC) != 0)
    return;
  if (pipe2(out, O_CLOEXEC) != 0 || !mkdtemp(p->folder)) {
    close(in[0]);
    close(in[1]);
    return;
  }
  signal(SIGPIPE, SIG_IGN);
  /* Not fork: OpenBLAS ends its threads then, and makes new ones, which nobody pins. */
  char *argv[] = {(char *)(uintptr_t)python, (char *)(uintptr_t)script, (char *)(uintptr_t)p->name, NULL};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], 0);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  unsetenv("LD_LIBRARY_PATH"); /* its wheels bring their own libraries; in this process it has done its work */
  int status = posix_spawn(&p->pid, python, &actions, NULL, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  close(in[0]);
  close(out[1]);
  if (status != 0) {
    close(in[1]);
    close(out[0]);
    rmdir(p->folder);
    return;
  }
  p->to = fdopen(in[1], "w");
  p->from = fdopen(out[0], "r");
  if (!registered)
    atexit(stop);
  registered = true;
}

static const char *version(peer *p) {
  if (!p->tried) {
    p->tried = true;
    machine_unpin();
    start(p);
    json_t *answer = ask(p, json_pack("{s:b}", "version", 1));
    const char *text = json_string_value(json_object_get(answer, "version"));
    snprintf(p->version, sizeof p->version, "%s", text ? text : "");
    json_decref(answer);
    machine_pin();
  }
  return p->version[0] ? p->version : NULL;
}

typedef struct state {
  problem *p;
  peer *peer;
  char type[16]; /* of the result: NumPy's name */
  void *c;
  size_t c_size;
} state;

static bool write_file(const char *folder, const char *name, const void *data, size_t size, char path[128]) {
  snprintf(path, 128, "%s/%s", folder, name);
  FILE *file = fopen(path, "wb");
  bool good = file && fwrite(data, 1, size, file) == size;
  return (!file || fclose(file) == 0) && good;
}

static void *open_state(peer *from, problem *p, char *why) {
  const bench_case *w = p->what;
  state *s = calloc(1, sizeof *s);
  char model[128], a[128], b[128], c[128];
  size_t size;
  const void *bytes = model_bytes(p, &size);
  snprintf(c, sizeof c, "%s/c", from->folder);
  if (!s)
    return NULL;
  *s = (state){.p = p, .peer = from, .c_size = (size_t)(w->batch * w->m * w->n) * sizeof(float)};
  s->c = problem_alloc(p, s->c_size);
  json_t *answer = NULL;
  if (write_file(from->folder, "model.onnx", bytes, size, model) &&
      write_file(from->folder, "a", p->a, p->a_bytes, a) && write_file(from->folder, "b", p->b[0], p->b_bytes, b))
    answer = ask(from, json_pack("{s:{s:s,s:{s:s,s:s},s:s,s:s,s:o}}", "open", "model", model, "inputs", "a", a, "b", b,
                                 "result", c, "dtype", bench_dtype_names[p->dtype], "cores", machine_cores()));
  const char *type = json_string_value(json_object_get(answer, "type"));
  const char *error = json_string_value(json_object_get(answer, "error"));
  FILE *file = type ? fopen(c, "rb") : NULL;
  bool good = file && fread(s->c, 1, s->c_size, file) > 0;
  if (file)
    fclose(file);
  snprintf(s->type, sizeof s->type, "%s", type ? type : "");
  if (!good)
    snprintf(why, BENCH_WHY, "%s", error ? error : "the Python process ended");
  json_decref(answer);
  unlink(model), unlink(a), unlink(b), unlink(c);
  if (!good) {
    free(s);
    return NULL;
  }
  return s;
}

static double window(void *arg, double seconds) {
  state *s = arg;
  json_t *answer = ask(s->peer, json_pack("{s:f}", "window", seconds));
  double result = json_number_value(json_object_get(answer, "seconds"));
  json_decref(answer);
  return result;
}

static bool run(void *arg) { return window(arg, 0) > 0; }

static void row(void *arg, int64_t batch, int64_t index, double *values) {
  const state *s = arg;
  int64_t n = s->p->what->n, first = (batch * s->p->what->m + index) * n;
  for (int64_t j = 0; j < n; j++)
    if (strcmp(s->type, "float32") == 0)
      values[j] = (double)((const float *)s->c)[first + j];
    else if (strcmp(s->type, "bfloat16") == 0)
      values[j] = (double)bench_from_bf16(((const uint16_t *)s->c)[first + j]);
    else if (strcmp(s->type, "int32") == 0)
      values[j] = ((const int32_t *)s->c)[first + j];
    else
      values[j] = ((const uint8_t *)s->c)[first + j];
}

static void close_state(void *arg) {
  state *s = arg;
  json_decref(ask(s->peer, json_pack("{s:b}", "close", 1)));
  free(s);
}

static const char *onnxruntime_version(void) { return version(&onnxruntime); }
static const char *openvino_version(void) { return version(&openvino); }
static void *onnxruntime_open(problem *p, char *why) { return open_state(&onnxruntime, p, why); }
static void *openvino_open(problem *p, char *why) { return open_state(&openvino, p, why); }

const implementation impl_onnxruntime = {.name = "onnxruntime",
                                         .version = onnxruntime_version,
                                         .open = onnxruntime_open,
                                         .run = run,
                                         .row = row,
                                         .close = close_state,
                                         .window = window};
const implementation impl_openvino = {.name = "openvino",
                                      .version = openvino_version,
                                      .open = openvino_open,
                                      .run = run,
                                      .row = row,
                                      .close = close_state,
                                      .window = window};
