/* cases.c -- finds what `onnxc verify` is to check.
 *
 *     DIR/model.onnx with DIR/test_data_set_N/{input,output}_K.pb
 *     STEM.onnx with STEM_output_0.pb beside it (ONNX's `light` networks)
 */
#include "verify.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_SETS = 64, MAX_DEPTH = 16 };

static bool is_folder(const char *path) {
  struct stat info;
  return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static bool is_file(const char *path) {
  struct stat info;
  return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

static const char *base_name(command *cli, const char *path) {
  size_t end = strlen(path);
  while (end > 1 && path[end - 1] == '/')
    end--;
  size_t start = end;
  while (start > 0 && path[start - 1] != '/')
    start--;
  return onnxc_arena_copy_string(&cli->arena, path + start, end - start);
}

/* Adds the case of a model file if there is anything to compare with. */
static bool add_case(verify_cases *cases, const char *path) {
  command *cli = cases->cli;
  const char *slash = strrchr(path, '/');
  const char *folder = slash ? onnxc_arena_copy_string(&cli->arena, path, (size_t)(slash - path)) : ".";
  verify_case item = {.model = path};
  const char **sets = ONNXC_NEW_ARRAY(&cli->arena, const char *, MAX_SETS);
  size_t stem = strlen(path) - strlen(".onnx");
  const char *single = onnxc_arena_printf(&cli->arena, "%.*s_output_0.pb", (int)stem, path);
  if (is_file(single)) {
    item.single_output = single;
    item.name = base_name(cli, onnxc_arena_copy_string(&cli->arena, path, stem));
  } else {
    for (int n = 0; n < MAX_SETS; n++) {
      const char *set = onnxc_arena_printf(&cli->arena, "%s/test_data_set_%d", folder, n);
      if (is_folder(set))
        sets[item.num_sets++] = set;
    }
    item.sets = sets;
    char resolved[4096]; /* so that "." has a name */
    item.name = base_name(cli, strcmp(folder, ".") == 0 && realpath(folder, resolved) ? resolved : folder);
  }
  if (!item.single_output && !item.num_sets)
    return false;
  ONNXC_PUSH(&cli->arena, cases->items, item);
  return true;
}

static bool has_suffix(const char *text, const char *suffix) {
  size_t length = strlen(text), end = strlen(suffix);
  return length > end && strcmp(text + length - end, suffix) == 0;
}

static int find_in_folder(verify_cases *cases, const char *path, int depth) {
  struct dirent **entries;
  int count = depth > MAX_DEPTH ? 0 : scandir(path, &entries, NULL, alphasort);
  if (count < 0)
    return cli_fail(ONNXC_BAD_INPUT, "%s: cannot read the folder", path);
  int status = 0;
  for (int i = 0; i < count; i++) {
    const char *name = entries[i]->d_name;
    const char *full = onnxc_arena_printf(&cases->cli->arena, "%s/%s", path, name);
    if (status == 0 && name[0] != '.' && strncmp(name, "test_data_set_", 14) != 0) {
      if (is_folder(full))
        status = find_in_folder(cases, full, depth + 1);
      else if (has_suffix(name, ".onnx"))
        add_case(cases, full);
    }
    free(entries[i]);
  }
  if (depth <= MAX_DEPTH)
    free(entries);
  return status;
}

int cli_find_cases(verify_cases *cases, const char *path) {
  size_t end = strlen(path);
  while (end > 1 && path[end - 1] == '/')
    end--;
  path = onnxc_arena_copy_string(&cases->cli->arena, path, end);
  if (is_folder(path)) {
    uint32_t before = cases->items.length;
    int status = find_in_folder(cases, path, 0);
    if (status == 0 && cases->items.length == before)
      return cli_fail(ONNXC_BAD_INPUT, "%s: there is no model with test_data_set_0 in this folder", path);
    return status;
  }
  if (!is_file(path))
    return cli_fail(ONNXC_BAD_INPUT, "%s: no such file or folder", path);
  if (!has_suffix(path, ".onnx"))
    return cli_fail(ONNXC_BAD_INPUT, "%s: not a .onnx file", path);
  if (!add_case(cases, path))
    return cli_fail(ONNXC_BAD_INPUT, "%s: there is no test_data_set_0 beside it", path);
  return 0;
}
