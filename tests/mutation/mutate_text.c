/* mutate_text.c -- mutants of the text forms of graphs and tile programs; see mutations.h. */
#include "mutations.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_WORDS = 8192 };

typedef struct span {
  size_t at, length;
} span;

static bool in_word(char c) { return isalnum((unsigned char)c) || strchr("_%$@.", c); }

/* The words of the text, or its lines; returns how many. */
static size_t split(const char *text, size_t length, bool lines, span *spans) {
  size_t count = 0;
  for (size_t at = 0; at < length && count < MAX_WORDS;) {
    size_t end = at;
    if (lines) {
      while (end < length && text[end] != '\n')
        end++;
      end += end < length;
    } else {
      while (end < length && text[end] && in_word(text[end]))
        end++;
      if (end == at) {
        end++;
        if (isspace((unsigned char)text[at])) {
          at = end;
          continue;
        }
      }
    }
    spans[count++] = (span){at, end - at};
    at = end;
  }
  return count;
}

/* text[at, at + removed) becomes the added bytes. */
static char *replace(char *text, size_t *length, span at, const char *added, size_t size) {
  char *out = malloc(*length - at.length + size + 1);
  if (out) {
    memcpy(out, text, at.at);
    memcpy(out + at.at, added, size);
    memcpy(out + at.at + size, text + at.at + at.length, *length - at.at - at.length);
    *length = *length - at.length + size;
  }
  free(text);
  return out;
}

static char *change(char *text, size_t *length, span *spans, random_source *source) {
  static const char *const telling[] = {"0",
                                        "1",
                                        "-1",
                                        "2",
                                        "3",
                                        "16",
                                        "17",
                                        "64",
                                        "1000",
                                        "2147483648",
                                        "-5",
                                        "9223372036854775807",
                                        "-9223372036854775808",
                                        "1099511627776",
                                        "99999999999999999999",
                                        "nan",
                                        "inf",
                                        "1e400",
                                        "%x",
                                        "i0",
                                        "r0",
                                        "$1"};
  bool lines = random_below(source, 5) == 0;
  size_t count = split(text, *length, lines, spans);
  if (count == 0)
    return text;
  span at = spans[random_below(source, count)], other = spans[random_below(source, count)];
  size_t how = random_below(source, 8);
  if (!lines && isdigit((unsigned char)text[at.at]) && how < 6) {
    const char *number = telling[random_below(source, sizeof telling / sizeof *telling)];
    return replace(text, length, at, number, strlen(number));
  }
  if (how == 0)
    return replace(text, length, at, "", 0);
  if (how == 1) {
    text[at.at] = (char)random_next(source);
    return text;
  }
  if (how == 2) /* doubled */
    at.length = 0, other.at = at.at, other.length = spans[0].length;
  char *copy = malloc(other.length + 1);
  if (!copy)
    return text;
  memcpy(copy, text + other.at, other.length < *length - other.at ? other.length : *length - other.at);
  text = replace(text, length, at, copy, other.length < *length - other.at ? other.length : *length - other.at);
  free(copy);
  return text;
}

char *mutate_text(const char *text, size_t length, random_source *source, size_t *size) {
  span *spans = malloc(MAX_WORDS * sizeof *spans);
  char *copy = malloc(length + 1);
  if (copy)
    memcpy(copy, text, length);
  *size = length;
  if (spans && random_below(source, 16) == 0)
    *size = random_below(source, length + 1);
  for (size_t left = 1 + random_below(source, 3); spans && copy && left > 0; left--)
    copy = change(copy, size, spans, source);
  free(spans);
  return copy;
}
