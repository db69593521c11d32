/* status.h -- how every function of the library reports failure.
 *
 * A function that can fail returns an onnxc_status; what went wrong stands in
 * words in the caller's onnxc_diag. Several errors may be recorded before a
 * phase gives up (all unsupported nodes of a model at once), so the diag is a
 * list and its status is that of the first error.
 *
 * Out of memory is the one exception to plain returns: see arena.h.
 */
#ifndef ONNXC_BASE_STATUS_H
#define ONNXC_BASE_STATUS_H

#include "onnxc/status.h"

#include <stdarg.h>
#include <stddef.h>

/* Messages are kept in one fixed buffer, newline separated, so recording an
 * error never allocates; what does not fit is counted in `dropped`. */
typedef struct onnxc_diag {
  onnxc_status status;
  int count;
  int dropped;
  size_t used;
  char text[16384];
} onnxc_diag;

void onnxc_diag_clear(onnxc_diag *diag);

/* Records one message and returns `status`, so that callers can write
 * `return onnxc_error(diag, ONNXC_BAD_INPUT, "...")`. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
onnxc_status
onnxc_error(onnxc_diag *diag, onnxc_status status, const char *format, ...);
/* Adds `text` to the message that was recorded last, if there is one and it fits. */
void onnxc_error_append(onnxc_diag *diag, const char *text);

#define ONNXC_TRY(call)                                                                                                \
  do {                                                                                                                 \
    onnxc_status try_status_ = (call);                                                                                 \
    if (try_status_ != ONNXC_OK)                                                                                       \
      return try_status_;                                                                                              \
  } while (0)

#endif
