/* message.c -- composes run->message without libc; see state.h. */
#include "rt/state.h"

#include "ir/dtype.h" /* the table of types; no code */

void onnxc_rt_put(onnxc_rt_text *text, const char *part) {
  for (; part && *part && text->used + 1 < text->size; part++)
    text->data[text->used++] = *part;
  if (text->size > 0)
    text->data[text->used] = '\0';
}

void onnxc_rt_put_number(onnxc_rt_text *text, int64_t number) {
  char digits[24];
  size_t at = sizeof digits;
  uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
  digits[--at] = '\0';
  do {
    digits[--at] = (char)('0' + rest % 10);
    rest /= 10;
  } while (rest != 0);
  if (number < 0)
    digits[--at] = '-';
  onnxc_rt_put(text, digits + at);
}

void onnxc_rt_put_dtype(onnxc_rt_text *text, int32_t dtype) {
  static const char names[ONNXC_DTYPE_COUNT][12] = {
#define X(NAME, name, number, bytes, bits, kind) [number] = name,
      ONNXC_DTYPES(X)
#undef X
  };
  if (dtype > 0 && dtype < ONNXC_DTYPE_COUNT)
    onnxc_rt_put(text, names[dtype]);
  else
    onnxc_rt_put_number(text, dtype);
}

onnxc_rt_text onnxc_rt_message(onnxc_run *run) {
  onnxc_rt_text text = {run->message, sizeof run->message, 0};
  onnxc_rt_put(&text, "");
  return text;
}

int onnxc_rt_fail(onnxc_run *run, int status, const char *what) {
  onnxc_rt_text text = onnxc_rt_message(run);
  onnxc_rt_put(&text, what);
  return status;
}

onnxc_rt_text onnxc_rt_about(onnxc_run *run, const char *kind, const char *name) {
  onnxc_rt_text text = onnxc_rt_message(run);
  onnxc_rt_put(&text, kind);
  onnxc_rt_put(&text, " '");
  onnxc_rt_put(&text, name ? name : "");
  onnxc_rt_put(&text, "': ");
  return text;
}
