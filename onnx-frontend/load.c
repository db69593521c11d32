/* load.c -- files to messages: mapping, unpacking, external data. See frontend.h and load.h. */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The IR versions whose meaning is known here. */
enum { MIN_IR_VERSION = 1, MAX_IR_VERSION = 14 };

const char *onnxc_onnx_map(const char *path, uint8_t **bytes, size_t *size) {
  struct stat info;
  const char *error = NULL;
  *bytes = NULL;
  *size = 0;
  /* Not blocking, so that a pipe of that name cannot hang us. */
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return strerror(errno);
  if (fstat(fd, &info) != 0) {
    error = strerror(errno);
  } else if (!S_ISREG(info.st_mode)) {
    error = "not a regular file";
  } else if (info.st_size > 0) {
    void *map = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED) {
      error = strerror(errno);
    } else {
      *bytes = map;
      *size = (size_t)info.st_size;
    }
  }
  close(fd);
  return error;
}

static onnxc_status unpack(onnxc_onnx_file *file) {
  file->model = (Onnx__ModelProto *)onnxc_scan_unpack(&file->scan, file->arena, file->diag, "an ONNX model",
                                                      &onnx__model_proto__descriptor, file->bytes, file->size);
  if (!file->model)
    return file->diag->status;
  if (!file->model->graph)
    return onnxc_error(file->diag, ONNXC_BAD_INPUT, "not an ONNX model: it has no graph");
  if (!file->model->has_ir_version || file->model->ir_version < MIN_IR_VERSION)
    return onnxc_error(file->diag, ONNXC_BAD_INPUT, "not an ONNX model: it has no IR version");
  if (file->model->ir_version > MAX_IR_VERSION)
    return onnxc_error(file->diag, ONNXC_UNSUPPORTED, "IR version %lld is not supported, only up to %d",
                       (long long)file->model->ir_version, MAX_IR_VERSION);
  return ONNXC_OK;
}

onnxc_status onnxc_onnx_open(onnxc_onnx_file **file, onnxc_arena *arena, onnxc_diag *diag, const char *path) {
  onnxc_onnx_file *result = ONNXC_NEW(arena, onnxc_onnx_file);
  const char *slash = strrchr(path, '/');
  result->arena = arena;
  result->diag = diag;
  result->directory = slash ? onnxc_arena_copy_string(arena, path, (size_t)(slash - path) + (slash == path)) : ".";
  *file = result;
  uint8_t *bytes;
  const char *error = onnxc_onnx_map(path, &bytes, &result->size);
  if (error)
    return onnxc_error(diag, ONNXC_BAD_INPUT, "cannot open: %s", error);
  result->bytes = bytes;
  result->mapped = bytes != NULL;
  return unpack(result);
}

onnxc_status onnxc_onnx_open_memory(onnxc_onnx_file **file, onnxc_arena *arena, onnxc_diag *diag, const void *bytes,
                                    size_t size, const char *directory) {
  onnxc_onnx_file *result = ONNXC_NEW(arena, onnxc_onnx_file);
  result->arena = arena;
  result->diag = diag;
  result->directory = directory ? onnxc_arena_copy_string(arena, directory, strlen(directory)) : NULL;
  result->bytes = bytes;
  result->size = size;
  *file = result;
  return unpack(result);
}

void onnxc_onnx_close(onnxc_onnx_file *file) {
  if (!file)
    return;
  if (file->mapped)
    munmap((void *)(uintptr_t)file->bytes, file->size);
  file->mapped = false;
  while (file->externals) {
    onnxc_external *external = file->externals;
    file->externals = external->next;
    if (external->bytes)
      munmap(external->bytes, external->size);
    onnxc_mem_free(external);
  }
}

/* ---- external data ---- */

/* Inside the model's directory: relative, and no component is "..". */
static bool is_inside(const char *location) {
  if (!location[0] || location[0] == '/')
    return false;
  for (const char *part = location; part; part = strchr(part, '/')) {
    part += *part == '/';
    if (part[0] == '.' && part[1] == '.' && (part[2] == '/' || !part[2]))
      return false;
  }
  return true;
}

const onnxc_external *onnxc_onnx_external(onnxc_onnx_file *file, onnxc_diag *diag, const char *what,
                                          const char *location) {
  for (const onnxc_external *e = file->externals; e; e = e->next)
    if (strcmp(e->location, location) == 0)
      return e;
  if (!is_inside(location)) {
    onnxc_error(diag, ONNXC_BAD_INPUT, "%s: external data '%s' does not lie in the model's directory", what, location);
    return NULL;
  }
  if (!file->directory) {
    onnxc_error(diag, ONNXC_BAD_INPUT,
                "%s: external data '%s', but the model was loaded from memory without a "
                "directory",
                what, location);
    return NULL;
  }
  size_t directory = strlen(file->directory), length = strlen(location);
  onnxc_external *external = onnxc_mem_alloc(sizeof *external + length + 1);
  char *path = onnxc_mem_alloc(directory + length + 2);
  const char *error = "out of memory";
  if (external && path) {
    memcpy(path, file->directory, directory);
    path[directory] = '/';
    memcpy(path + directory + 1, location, length + 1);
    memcpy(external->location, location, length + 1);
    error = onnxc_onnx_map(path, &external->bytes, &external->size);
  }
  bool memory = external && path;
  onnxc_mem_free(path);
  if (error) {
    onnxc_mem_free(external);
    onnxc_error(diag, memory ? ONNXC_BAD_INPUT : ONNXC_OUT_OF_MEMORY, "%s: cannot open external data '%s': %s", what,
                location, error);
    return NULL;
  }
  external->next = file->externals;
  file->externals = external;
  return external;
}

/* ---- tensors in files of their own ---- */

/* The bytes are read into the arena rather than mapped, so that the result owns nothing else. */
static onnxc_status read_file(onnxc_arena *arena, onnxc_diag *diag, const char *path, uint8_t **bytes, size_t *size) {
  struct stat info;
  if (stat(path, &info) != 0)
    return onnxc_error(diag, ONNXC_BAD_INPUT, "cannot open: %s", strerror(errno));
  if (!S_ISREG(info.st_mode))
    return onnxc_error(diag, ONNXC_BAD_INPUT, "cannot open: not a regular file");
  *bytes = onnxc_arena_alloc(arena, (size_t)info.st_size);
  *size = 0;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return onnxc_error(diag, ONNXC_BAD_INPUT, "cannot open: %s", strerror(errno));
  while (*size < (size_t)info.st_size) {
    ssize_t got = read(fd, *bytes + *size, (size_t)info.st_size - *size);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      break;
    *size += (size_t)got;
  }
  close(fd);
  if (*size != (size_t)info.st_size)
    return onnxc_error(diag, ONNXC_BAD_INPUT, "cannot read");
  return ONNXC_OK;
}

onnxc_status onnxc_onnx_read_tensor(onnxc_arena *arena, onnxc_diag *diag, const char *path, onnxc_array *array,
                                    const char **name) {
  onnxc_onnx_file file = {.arena = arena, .diag = diag};
  uint8_t *bytes = NULL;
  ONNXC_TRY(read_file(arena, diag, path, &bytes, &file.size));
  file.bytes = bytes;
  const Onnx__TensorProto *tensor = (const Onnx__TensorProto *)onnxc_scan_unpack(
      &file.scan, arena, diag, "an ONNX tensor", &onnx__tensor_proto__descriptor, bytes, file.size);
  if (!tensor)
    return diag->status;
  if (name)
    *name = onnxc_onnx_text(tensor->name);
  ONNXC_TRY(onnxc_onnx_tensor(&file, arena, diag, tensor, "the tensor", array));
  size_t size = (size_t)onnxc_array_count(array) * onnxc_dtype_bytes(array->dtype);
  if ((uintptr_t)array->data % sizeof(double) == 0 || array->dtype == ONNXC_STRING)
    return ONNXC_OK;
  void *aligned = onnxc_arena_alloc(arena, size);
  memcpy(aligned, array->data, size);
  array->data = aligned;
  return ONNXC_OK;
}
