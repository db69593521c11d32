/* check.c -- one case of `onnxc verify`: compiled once, run on all its data sets, compared. */
#include "verify.h"

#include "frontend.h"
#include "ir/eval.h"
#include "load.h"

#include <math.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_FILES = 256 };

static void set_message(verify_result *result, verify_outcome outcome, const char *text) {
  result->outcome = (int)outcome;
  snprintf(result->message, sizeof result->message, "%.*s", (int)sizeof result->message - 1, text);
}

/* What the file itself says; false after an error. */
static bool look_at_model(command *cli, const char *path, verify_result *result) {
  onnxc_onnx_file *file = NULL;
  onnxc_diag_clear(&cli->diag);
  onnxc_status status = onnxc_onnx_open(&file, &cli->arena, &cli->diag, path);
  if (status != ONNXC_OK) {
    set_message(result, status == ONNXC_UNSUPPORTED ? VERIFY_UNSUPPORTED : VERIFY_FAILED, cli->diag.text);
  } else {
    const Onnx__ModelProto *model = file->model;
    result->nodes = (int)model->graph->n_node;
    if (result->nodes == 1)
      snprintf(result->op, sizeof result->op, "%s", onnxc_onnx_text(model->graph->node[0]->op_type));
    /* The version of the domain that the first node is from, or else the default one's. */
    const char *domain = result->nodes ? onnxc_onnx_text(model->graph->node[0]->domain) : "";
    for (size_t i = 0; i < model->n_opset_import; i++) {
      const char *imported = onnxc_onnx_text(model->opset_import[i]->domain);
      if (strcmp(imported, domain) == 0 || (!result->opset && (!imported[0] || strcmp(imported, "ai.onnx") == 0)))
        result->opset = model->opset_import[i]->version;
    }
  }
  onnxc_onnx_close(file);
  return status == ONNXC_OK;
}

/* ---- data ---- */

static bool read_pb(command *cli, const char *path, onnxc_tensor *tensor, const char **name, verify_result *result) {
  onnxc_array array;
  onnxc_diag_clear(&cli->diag);
  if (onnxc_onnx_read_tensor(&cli->arena, &cli->diag, path, &array, name) != ONNXC_OK) {
    set_message(result, VERIFY_FAILED, onnxc_arena_printf(&cli->arena, "%s: %s", path, cli->diag.text));
    return false;
  }
  *tensor = (onnxc_tensor){.data = array.data, .dtype = (int32_t)array.dtype, .rank = (int32_t)array.rank};
  memcpy(tensor->dims, array.dims, sizeof tensor->dims);
  return true;
}

static bool exists(const char *path) {
  struct stat info;
  return stat(path, &info) == 0;
}

/* The inputs of a set, in the model's order: by name where the files say one, else by number. */
static bool read_inputs(command *cli, const char *set, const onnxc_model_info *info, onnxc_tensor *inputs,
                        verify_result *result) {
  onnxc_tensor *tensors = ONNXC_NEW_ARRAY(&cli->arena, onnxc_tensor, MAX_FILES);
  const char **names = ONNXC_NEW_ARRAY(&cli->arena, const char *, MAX_FILES);
  int32_t count = 0;
  for (; count < MAX_FILES; count++) {
    const char *path = onnxc_arena_printf(&cli->arena, "%s/input_%d.pb", set, count);
    if (!exists(path))
      break;
    if (!read_pb(cli, path, &tensors[count], &names[count], result))
      return false;
  }
  for (int32_t k = 0; k < info->num_inputs; k++) {
    int32_t found = -1;
    for (int32_t i = 0; i < count; i++)
      if (strcmp(names[i], info->inputs[k].name) == 0)
        found = i;
    if (found < 0 && k < count)
      found = k;
    if (found < 0) {
      set_message(
          result, VERIFY_FAILED,
          onnxc_arena_printf(&cli->arena, "%s: there is no input_%d.pb for '%s'", set, k, info->inputs[k].name));
      return false;
    }
    inputs[k] = tensors[found];
  }
  return true;
}

/* What ONNX's runner feeds to networks without inputs of their own: 0, 1/n, 2/n, ... */
static bool ramp_inputs(command *cli, const onnxc_model_info *info, onnxc_tensor *inputs, verify_result *result) {
  for (int32_t k = 0; k < info->num_inputs; k++) {
    onnxc_tensor *tensor = &inputs[k];
    *tensor = (onnxc_tensor){.dtype = info->inputs[k].dtype, .rank = info->inputs[k].rank};
    for (int32_t d = 0; d < tensor->rank; d++)
      tensor->dims[d] = info->inputs[k].dims[d] < 0 ? 1 : info->inputs[k].dims[d];
    int64_t count = cli_tensor_count(tensor);
    if (tensor->dtype != ONNXC_F32 || count < 0) {
      set_message(result, VERIFY_UNSUPPORTED, "a ramp is made for f32 inputs only");
      return false;
    }
    float *data = ONNXC_NEW_ARRAY(&cli->arena, float, count + 1);
    for (int64_t i = 0; i < count; i++)
      data[i] = (float)((double)i / (double)count);
    tensor->data = data;
  }
  return true;
}

/* ---- comparing ---- */

static bool compare_output(command *cli, const cli_session *session, int32_t k, const char *path, const char *set,
                           const verify_options *options, verify_result *result) {
  onnxc_tensor want;
  cli_difference difference;
  if (!read_pb(cli, path, &want, NULL, result))
    return false;
  cli_compare(&session->outputs[k], &want, options->rtol, options->atol, &difference);
  result->max_ulp = fmax(result->max_ulp, difference.max_ulp);
  result->max_abs = fmax(result->max_abs, difference.max_abs);
  if (difference.same)
    return true;
  const char *folder = strrchr(set, '/');
  set_message(result, VERIFY_FAILED,
              onnxc_arena_printf(&cli->arena, "%s: output '%s': %s%s", folder ? folder + 1 : set,
                                 session->info->outputs[k].name, difference.what,
                                 difference.wrong > 1 ? onnxc_arena_printf(&cli->arena, " (and %lld more)",
                                                                           (long long)difference.wrong - 1)
                                                      : ""));
  return false;
}

static bool run_set(command *cli, cli_session *session, const verify_case *item, const char *set,
                    const verify_options *options, verify_result *result) {
  const onnxc_model_info *info = session->info;
  onnxc_tensor *inputs = ONNXC_NEW_ARRAY(&cli->arena, onnxc_tensor, info->num_inputs + 1);
  const char *message = NULL;
  bool good =
      item->single_output ? ramp_inputs(cli, info, inputs, result) : read_inputs(cli, set, info, inputs, result);
  if (!good)
    return false;
  int status = cli_session_run(cli, session, inputs, options->threads, &message);
  if (status != 0) {
    set_message(result, status == ONNXC_UNSUPPORTED ? VERIFY_UNSUPPORTED : VERIFY_FAILED, message);
    return false;
  }
  int32_t compared = 0;
  for (int32_t k = 0; good && k < info->num_outputs; k++) {
    const char *path = item->single_output ? (k == 0 ? item->single_output : "")
                                           : onnxc_arena_printf(&cli->arena, "%s/output_%d.pb", set, k);
    if (!exists(path))
      continue;
    good = compare_output(cli, session, k, path, set, options, result);
    compared++;
  }
  if (good && !compared)
    set_message(result, VERIFY_FAILED, onnxc_arena_printf(&cli->arena, "%s: there is no output_0.pb", set));
  if (good || !options->per_node)
    return good && compared;
  char first[sizeof result->message];
  snprintf(first, sizeof first, "%s", result->message);
  cli_per_node(cli, item->model, inputs, (size_t)info->num_inputs, options, result->message, sizeof result->message);
  size_t used = strlen(result->message);
  snprintf(result->message + used, sizeof result->message - used, "; %s", first);
  return false;
}

void cli_verify_case(command *cli, const verify_case *item, const verify_options *given, verify_result *result) {
  verify_options chosen = *given;
  const verify_options *options = &chosen;
  cli_session session;
  const char *message = NULL;
  double start = cli_seconds();
  memset(result, 0, sizeof *result);
  if (!look_at_model(cli, item->model, result))
    return;
  bool bf16 = chosen.compile.precision == ONNXC_PRECISION_BF16;
  if (chosen.rtol < 0)
    chosen.rtol = bf16 ? 2e-2 : 1e-3;
  if (chosen.atol < 0) /* rounding errors of one node after the other add up like a random walk */
    chosen.atol = (bf16 ? 4e-3 : 1e-5) * sqrt(result->nodes > 1 ? result->nodes : 1);
  int status = cli_session_open(cli, &session, item->model, &options->compile, &message);
  if (status != 0) {
    /* The path is on the line already. */
    size_t length = strlen(item->model);
    bool named = strncmp(message, item->model, length) == 0 && strncmp(message + length, ": ", 2) == 0;
    set_message(result, status == ONNXC_UNSUPPORTED ? VERIFY_UNSUPPORTED : VERIFY_FAILED,
                named ? message + length + 2 : message);
  } else {
    bool good = true;
    uint32_t sets = item->single_output ? 1 : item->num_sets;
    result->groups = session.stats.groups;
    result->folded = session.stats.folded_nodes;
    for (uint32_t i = 0; good && i < sets; i++) {
      good = run_set(cli, &session, item, item->single_output ? "" : item->sets[i], options, result);
      result->sets++;
    }
    if (good)
      result->outcome = result->groups ? VERIFY_PASSED : VERIFY_NO_CODE;
  }
  result->seconds = cli_seconds() - start;
  cli_session_close(&session);
}
