/* tensor.c -- input tensors from files or from a seed, and how tensors are described in words. */
#include "cli.h"

#include "frontend.h"
#include "ir/eval.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int64_t cli_tensor_count(const onnxc_tensor *tensor) {
  int64_t count = 1;
  for (int32_t d = 0; d < tensor->rank; d++)
    if (tensor->dims[d] < 0 || __builtin_mul_overflow(count, tensor->dims[d], &count))
      return -1;
  return count;
}

size_t cli_tensor_bytes(const onnxc_tensor *tensor) {
  int64_t count = cli_tensor_count(tensor);
  return count < 0 ? 0 : (size_t)count * onnxc_dtype_bytes((onnxc_dtype)tensor->dtype);
}

const char *cli_describe_tensor(command *cli, const onnxc_tensor *tensor) {
  const char *text = onnxc_arena_printf(&cli->arena, "%s[", onnxc_dtype_name((onnxc_dtype)tensor->dtype));
  for (int32_t d = 0; d < tensor->rank; d++)
    text = onnxc_arena_printf(&cli->arena, "%s%s%" PRId64, text, d ? ", " : "", tensor->dims[d]);
  return onnxc_arena_printf(&cli->arena, "%s]", text);
}

const char *cli_describe_info(command *cli, const onnxc_tensor_info *info) {
  const char *text = onnxc_arena_printf(&cli->arena, "%s[", onnxc_dtype_name((onnxc_dtype)info->dtype));
  for (int32_t d = 0; d < info->rank; d++)
    text = info->dims[d] >= 0 ? onnxc_arena_printf(&cli->arena, "%s%s%" PRId64, text, d ? ", " : "", info->dims[d])
                              : onnxc_arena_printf(&cli->arena, "%s%s%s", text, d ? ", " : "",
                                                   info->dim_names && info->dim_names[d] ? info->dim_names[d] : "?");
  return onnxc_arena_printf(&cli->arena, "%s]", text);
}

/* ---- random data ---- */

static uint64_t next_random(uint64_t *state) {
  /* splitmix64 */
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

void cli_random_fill(onnxc_tensor *tensor, uint64_t seed) {
  onnxc_dtype dtype = (onnxc_dtype)tensor->dtype;
  size_t bytes = onnxc_dtype_bytes(dtype);
  int64_t count = cli_tensor_count(tensor);
  char *data = tensor->data;
  for (int64_t i = 0; i < count; i++, data += bytes) {
    uint64_t number = next_random(&seed);
    if (onnxc_dtype_is_float(dtype))
      onnxc_scalar_from_f64(dtype, data, (double)(int64_t)(number >> 40) * 0x1p-23 - 1.0);
    else if (dtype == ONNXC_U8 || dtype == ONNXC_I8)
      onnxc_scalar_from_i64(dtype, data, (int64_t)(number >> 56));
    else
      onnxc_scalar_from_i64(dtype, data, (int64_t)(number >> 33) % (onnxc_dtype_is_bool(dtype) ? 2 : 10));
  }
}

static int random_tensor(command *cli, const char *spec, const onnxc_tensor_info *info, onnxc_tensor *tensor) {
  int64_t seed = 0;
  if (spec[6] == ':' && !cli_parse_int(spec + 7, 0, INT64_MAX, &seed))
    return cli_usage(cli, "'%s' is not random:SEED", spec);
  tensor->dtype = info->dtype;
  tensor->rank = info->rank;
  for (int32_t d = 0; d < info->rank; d++) {
    if (info->dims[d] < 0)
      return cli_usage(cli, "input '%s' is %s: random data needs its shape, give it with --dim or --shape", info->name,
                       cli_describe_info(cli, info));
    tensor->dims[d] = info->dims[d];
  }
  tensor->data = onnxc_arena_alloc(&cli->arena, cli_tensor_bytes(tensor) + 1);
  cli_random_fill(tensor, (uint64_t)seed);
  return 0;
}

/* ---- files ---- */

static bool has_suffix(const char *text, const char *suffix) {
  size_t length = strlen(text), end = strlen(suffix);
  return length >= end && strcmp(text + length - end, suffix) == 0;
}

static int check_type(command *cli, const char *path, const onnxc_tensor_info *info, const onnxc_tensor *tensor) {
  bool fits = tensor->dtype == info->dtype && tensor->rank == info->rank;
  for (int32_t d = 0; fits && d < info->rank; d++)
    fits = info->dims[d] < 0 || info->dims[d] == tensor->dims[d];
  if (fits)
    return 0;
  return cli_fail(ONNXC_BAD_INPUT, "%s: it holds %s, but input '%s' is %s", path, cli_describe_tensor(cli, tensor),
                  info->name, cli_describe_info(cli, info));
}

int cli_read_tensor(command *cli, const char *spec, const onnxc_tensor_info *info, onnxc_tensor *tensor) {
  memset(tensor, 0, sizeof *tensor);
  if (strcmp(spec, "random") == 0 || strncmp(spec, "random:", 7) == 0)
    return random_tensor(cli, spec, info, tensor);
  if (has_suffix(spec, ".npy")) {
    const char *error = cli_read_npy(&cli->arena, spec, (onnxc_dtype)info->dtype, tensor);
    if (error)
      return cli_fail(ONNXC_BAD_INPUT, "%s: %s", spec, error);
  } else if (has_suffix(spec, ".pb")) {
    onnxc_array array;
    onnxc_diag_clear(&cli->diag);
    onnxc_status status = onnxc_onnx_read_tensor(&cli->arena, &cli->diag, spec, &array, NULL);
    if (status != ONNXC_OK)
      return cli_fail(status, "%s: %s", spec, cli->diag.text);
    *tensor = (onnxc_tensor){.data = array.data, .dtype = (int32_t)array.dtype, .rank = (int32_t)array.rank};
    memcpy(tensor->dims, array.dims, sizeof tensor->dims);
  } else {
    return cli_usage(cli, "an input is FILE.npy, FILE.pb or random[:SEED], not '%s'", spec);
  }
  return check_type(cli, spec, info, tensor);
}
