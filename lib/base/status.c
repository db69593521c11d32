/* status.c -- recording of diagnostics; see status.h. */
#include "base/status.h"

#include <stdio.h>
#include <string.h>

const char *onnxc_status_name(onnxc_status status) {
  switch (status) {
  case ONNXC_OK: return "ok";
  case ONNXC_MISMATCH: return "mismatch";
  case ONNXC_USAGE: return "usage";
  case ONNXC_BAD_INPUT: return "bad input";
  case ONNXC_UNSUPPORTED: return "unsupported";
  case ONNXC_INTERNAL: return "internal error";
  case ONNXC_OUT_OF_MEMORY: return "out of memory";
  }
  return "unknown status";
}

void onnxc_diag_clear(onnxc_diag *diag) {
  diag->status = ONNXC_OK;
  diag->count = 0;
  diag->dropped = 0;
  diag->used = 0;
  diag->text[0] = '\0';
}

onnxc_status onnxc_error(onnxc_diag *diag, onnxc_status status, const char *format, ...) {
  if (!diag)
    return status;
  if (diag->status == ONNXC_OK)
    diag->status = status;
  diag->count++;
  size_t room = sizeof diag->text - diag->used;
  if (room < 2) {
    diag->dropped++;
    return status;
  }
  char *at = diag->text + diag->used;
  if (diag->used > 0) {
    *at++ = '\n';
    room--;
  }
  va_list args;
  va_start(args, format);
  int length = vsnprintf(at, room, format, args);
  va_end(args);
  if (length < 0 || (size_t)length >= room) { /* cut, but keep what fitted */
    diag->dropped++;
    diag->used = sizeof diag->text - 1;
  } else {
    diag->used = (size_t)(at - diag->text) + (size_t)length;
  }
  return status;
}

void onnxc_error_append(onnxc_diag *diag, const char *text) {
  size_t length = strlen(text);
  if (diag->count == 0 || length >= sizeof diag->text - diag->used)
    return;
  memcpy(diag->text + diag->used, text, length + 1);
  diag->used += length;
}
