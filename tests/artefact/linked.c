/* linked.c -- check_model on a model that is linked: compiled with -DMODEL=PREFIX -include PREFIX.h, so it uses what
 * the generated header declares. */
#include "check.h"

#define JOIN_(a, b)    a##_##b
#define JOIN(a, b)     JOIN_(a, b)
#define CALL(function) JOIN(MODEL, function)

static int open_model(const void **model, const char *weights_path, char *message, size_t message_size) {
  const JOIN(MODEL, model) *opened = NULL;
  int status = CALL(open)(&opened, weights_path, message, message_size);
  *model = opened;
  return status;
}

static void close_model(const void *model) { CALL(close)(model); }
static int plan_model(const void *model, onnxc_run *run) { return CALL(plan)(model, run); }
static int run_model(const void *model, onnxc_run *run) { return CALL(run)(model, run); }

int main(int argc, char **argv) {
  static const model_functions functions = {open_model, close_model, CALL(describe), plan_model, run_model};
  return check_model(&functions, argc - 1, argv + 1);
}
