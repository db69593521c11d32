/* entry.c -- NAME_open, NAME_close, NAME_describe, NAME_plan, NAME_run of an artefact; see entry.h.
 *
 * A model handle is the address of its weights' header (mapped read-only), or of the program itself when the
 * weights are in the artefact; so opening allocates nothing. */
#include "rt/artefact/entry.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int explain(int status, const char *text, const char *name, char *message, size_t size) {
  size_t used = 0;
  for (; size > 0 && *text && used + 1 < size; text++)
    message[used++] = *text;
  for (; size > 0 && name && *name && used + 1 < size; name++)
    message[used++] = *name;
  if (size > 0)
    message[used] = '\0';
  return status;
}

static int matches(const onnxc_weights_header *header, size_t mapped) {
  for (unsigned k = 0; k < sizeof header->magic; k++)
    if (header->magic[k] != ONNXC_WEIGHTS_MAGIC[k])
      return 0;
  return header->size == onnxc_entry_settings.weights_size && header->hash == onnxc_entry_settings.weights_hash &&
         mapped == sizeof *header + header->size;
}

int onnxc_entry_open(const void **model, const char *weights_path, char *message, size_t size) {
  *model = NULL;
  explain(ONNXC_OK, "", NULL, message, size);
  int status = onnxc_rt_check_cpu(&onnxc_entry_program, message, size);
  if (status != ONNXC_OK)
    return status;
  if (!onnxc_entry_settings.weights_in_file) {
    *model = &onnxc_entry_program;
    return ONNXC_OK;
  }
  if (!weights_path)
    return explain(ONNXC_USAGE, "the path of the weights file is missing", NULL, message, size);
  int file = open(weights_path, O_RDONLY | O_CLOEXEC);
  struct stat about;
  if (file < 0 || fstat(file, &about) != 0) {
    if (file >= 0)
      close(file);
    return explain(ONNXC_BAD_INPUT, "cannot open the weights file ", weights_path, message, size);
  }
  void *map = about.st_size >= (off_t)sizeof(onnxc_weights_header)
                  ? mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, file, 0)
                  : MAP_FAILED;
  close(file);
  if (map == MAP_FAILED)
    return explain(ONNXC_BAD_INPUT, "cannot map the weights file ", weights_path, message, size);
  if (!matches(map, (size_t)about.st_size)) {
    munmap(map, (size_t)about.st_size);
    return explain(ONNXC_BAD_INPUT, "this file does not hold the weights of this model: ", weights_path, message, size);
  }
  *model = map;
  return ONNXC_OK;
}

void onnxc_entry_close(const void *model) {
  if (!model || !onnxc_entry_settings.weights_in_file)
    return;
  const onnxc_weights_header *header = model;
  munmap((void *)(uintptr_t)model, sizeof *header + header->size);
}

const onnxc_model_info *onnxc_entry_describe(void) { return &onnxc_entry_program.info; }

static const void *weights_of(const void *model) {
  return onnxc_entry_settings.weights_in_file ? (const unsigned char *)model + sizeof(onnxc_weights_header) : NULL;
}

int onnxc_entry_plan(const void *model, onnxc_run *run) {
  if (!model)
    return explain(ONNXC_USAGE, "the model is not open", NULL, run->message, sizeof run->message);
  return onnxc_rt_plan(&onnxc_entry_program, weights_of(model), run);
}

int onnxc_entry_run(const void *model, onnxc_run *run) {
  if (!model)
    return explain(ONNXC_USAGE, "the model is not open", NULL, run->message, sizeof run->message);
  return onnxc_rt_run(&onnxc_entry_program, weights_of(model), run);
}
