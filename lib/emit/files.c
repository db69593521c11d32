/* files.c -- writing files and running the linker. Nothing here allocates from an arena, so no open file is lost by
 * an unwinding. */
#include "emit/artefact.h"

#include "rt/artefact/entry.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static onnxc_status file_failed(onnxc_diag *diag, const char *path) {
  return onnxc_error(diag, ONNXC_BAD_INPUT, "cannot write '%s': %s", path, strerror(errno));
}

onnxc_status onnxc_write_file(onnxc_diag *diag, const char *path, const void *data, size_t size) {
  FILE *file = fopen(path, "wb");
  if (!file)
    return file_failed(diag, path);
  bool written = fwrite(data, 1, size, file) == size;
  return fclose(file) == 0 && written ? ONNXC_OK : file_failed(diag, path);
}

bool onnxc_write_weights(FILE *file, const onnxc_weights *weights) {
  static const char zeros[64];
  size_t at = 0;
  for (uint32_t k = 0; k < weights->num_pieces; k++) {
    const struct onnxc_weight_piece *piece = &weights->pieces[k];
    size_t gap = piece->offset - at; /* below the alignment */
    if (fwrite(zeros, 1, gap, file) != gap || fwrite(piece->data, 1, piece->size, file) != piece->size)
      return false;
    at = piece->offset + piece->size;
  }
  return true;
}

uint64_t onnxc_weights_hash(const onnxc_weights *weights) {
  uint64_t hash = weights->size ^ 0x9e3779b97f4a7c15U;
  for (uint32_t k = 0; k < weights->num_pieces; k++) {
    const unsigned char *bytes = weights->pieces[k].data;
    size_t size = weights->pieces[k].size, at = 0;
    for (; at + 8 <= size; at += 8) {
      uint64_t word;
      memcpy(&word, bytes + at, 8);
      hash = (hash ^ word) * 0xff51afd7ed558ccdU;
      hash ^= hash >> 29;
    }
    for (; at < size; at++)
      hash = (hash ^ bytes[at]) * 0xff51afd7ed558ccdU;
    hash = (hash ^ weights->pieces[k].offset) * 0xff51afd7ed558ccdU;
  }
  return hash;
}

onnxc_status onnxc_write_weights_file(onnxc_diag *diag, const char *path, const onnxc_weights *weights, uint64_t hash) {
  onnxc_weights_header header = {.size = weights->size, .hash = hash};
  memcpy(header.magic, ONNXC_WEIGHTS_MAGIC, sizeof header.magic);
  FILE *file = fopen(path, "wb");
  if (!file)
    return file_failed(diag, path);
  bool written = fwrite(&header, sizeof header, 1, file) == 1 && onnxc_write_weights(file, weights);
  return fclose(file) == 0 && written ? ONNXC_OK : file_failed(diag, path);
}

int onnxc_run_program_at(const char *const *arguments, const char *log) {
  posix_spawn_file_actions_t actions;
  if (posix_spawn_file_actions_init(&actions) != 0)
    return -1;
  pid_t child = 0;
  bool started =
      posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0) == 0 &&
      posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log, O_WRONLY | O_CREAT | O_TRUNC, 0600) == 0 &&
      posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO) == 0 &&
      posix_spawnp(&child, arguments[0], &actions, NULL, (char *const *)(uintptr_t)arguments, environ) == 0;
  posix_spawn_file_actions_destroy(&actions);
  if (!started)
    return -1;
  int status = 0;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR)
      return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}
