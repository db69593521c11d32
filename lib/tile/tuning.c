/* tuning.c -- see tuning.h. The fields of a line stand in a table, for the parser and for the printer. */
#include "tile/tuning.h"

#include "target/target.h"

#include <string.h>

typedef enum field_kind { FIELD_CPU, FIELD_DTYPE, FIELD_EXTENT, FIELD_NUMBER, FIELD_EPILOGUE } field_kind;

enum { MAX_EXTENT = INT32_MAX, MAX_BLOCK = 1 << 20, MAX_AHEAD = 1 << 30, MAX_TILE_ROWS = 32, NUM_KEY_FIELDS = 10 };
static const int64_t MAX_SUMS = 1 << 24; /* elements that wait between the parts of a task */

static const struct field {
  const char *name;
  field_kind kind;
  size_t offset; /* in onnxc_tuned */
  int64_t low, high;
} fields[] = {
    {"cpu", FIELD_CPU, offsetof(onnxc_tuned, key.cpu), 0, 0},
    {"a", FIELD_DTYPE, offsetof(onnxc_tuned, key.a), 0, 0},
    {"b", FIELD_DTYPE, offsetof(onnxc_tuned, key.b), 0, 0},
    {"acc", FIELD_DTYPE, offsetof(onnxc_tuned, key.acc), 0, 0},
    {"batch", FIELD_EXTENT, ONNXC_PRODUCT_BATCH, 0, MAX_EXTENT},
    {"m", FIELD_EXTENT, ONNXC_PRODUCT_M, 0, MAX_EXTENT},
    {"n", FIELD_EXTENT, ONNXC_PRODUCT_N, 0, MAX_EXTENT},
    {"k", FIELD_EXTENT, ONNXC_PRODUCT_K, 0, MAX_EXTENT},
    {"panel", FIELD_NUMBER, offsetof(onnxc_tuned, key.panel), 1, MAX_EXTENT},
    {"epilogue", FIELD_EPILOGUE, offsetof(onnxc_tuned, key.epilogue), 0, 0},
    {"tile", FIELD_NUMBER, offsetof(onnxc_tuned, values.tile), 1, MAX_TILE_ROWS},
    {"unroll", FIELD_NUMBER, offsetof(onnxc_tuned, values.unroll), 1, ONNXC_MAX_TUNED_UNROLL},
    {"rows", FIELD_NUMBER, offsetof(onnxc_tuned, values.rows), 0, MAX_BLOCK},
    {"columns", FIELD_NUMBER, offsetof(onnxc_tuned, values.columns), 0, MAX_BLOCK},
    {"depth", FIELD_NUMBER, offsetof(onnxc_tuned, values.depth), 0, MAX_BLOCK},
    {"ahead", FIELD_NUMBER, offsetof(onnxc_tuned, values.ahead), 0, MAX_AHEAD},
    {"lines", FIELD_NUMBER, offsetof(onnxc_tuned, values.lines), 0, ONNXC_MAX_TUNED_LINES},
};
enum { NUM_FIELDS = sizeof fields / sizeof *fields };

static const char *const epilogues[] = {"none", "light", "heavy"};
enum { NUM_EPILOGUES = sizeof epilogues / sizeof *epilogues };

/* ---- what can be ---- */

/* Of a block in an index: an index whose extent is a guess may be as long as the block. */
static int64_t part_of(const onnxc_product_key *key, int which, int64_t block) {
  return block && (key->open[which] || block < key->extent[which]) ? block : key->extent[which];
}

const char *onnxc_tuning_check(const onnxc_product_key *key, const onnxc_product_values *values) {
  if (!key->open[ONNXC_PRODUCT_M] && values->tile > 1 && values->tile > key->extent[ONNXC_PRODUCT_M])
    return "a register tile has more rows than the product";
  if (values->tile < 1 || values->rows % values->tile)
    return "rows must be a multiple of the tile";
  if (key->panel < 1 || values->columns % key->panel)
    return "columns must be a multiple of the panel";
  if (values->depth % 4)
    return "depth must be a multiple of 4";
  if (values->depth &&
      part_of(key, ONNXC_PRODUCT_M, values->rows) > MAX_SUMS / (part_of(key, ONNXC_PRODUCT_N, values->columns) + 1))
    return "rows times columns are too many sums to wait between the parts of the reduction";
  const onnxc_target *target = onnxc_target_find(key->cpu, strlen(key->cpu));
  int64_t bytes = (int64_t)onnxc_dtype_bytes(key->acc);
  if (!target) /* not used by this version */
    return NULL;
  int64_t vectors = (key->panel * bytes + target->vector_bytes - 1) / target->vector_bytes;
  if (vectors * (values->tile + 1) > target->num_vectors)
    return "the register tile is larger than the CPU's registers";
  return NULL;
}

bool onnxc_product_keys_equal(const onnxc_product_key *a, const onnxc_product_key *b) {
  return strcmp(a->cpu, b->cpu) == 0 && a->a == b->a && a->b == b->b && a->acc == b->acc &&
         memcmp(a->extent, b->extent, sizeof a->extent) == 0 && memcmp(a->open, b->open, sizeof a->open) == 0 &&
         a->panel == b->panel && a->epilogue == b->epilogue;
}

const onnxc_product_values *onnxc_tuning_find(const onnxc_tuning *tuning, const onnxc_product_key *key) {
  for (uint32_t i = 0; i < tuning->products.length; i++)
    if (onnxc_product_keys_equal(&tuning->products.data[i].key, key))
      return &tuning->products.data[i].values;
  return NULL;
}

/* ---- printing ---- */

void onnxc_tuning_print(const onnxc_product_key *key, const onnxc_product_values *values, onnxc_text *text) {
  const onnxc_tuned tuned = {.key = *key, .values = *values};
  for (int i = 0; i < NUM_FIELDS; i++) {
    const struct field *field = &fields[i];
    const void *at = (const char *)&tuned + field->offset;
    onnxc_text_printf(text, "%s%s=", i == NUM_KEY_FIELDS ? ": " : i ? " " : "", field->name);
    switch (field->kind) {
    case FIELD_CPU: onnxc_text_printf(text, "%s", key->cpu); break;
    case FIELD_DTYPE: onnxc_text_printf(text, "%s", onnxc_dtype_name(*(const onnxc_dtype *)at)); break;
    case FIELD_EXTENT:
      onnxc_text_printf(text, "%s%lld", key->open[field->offset] ? "~" : "", (long long)key->extent[field->offset]);
      break;
    case FIELD_NUMBER: onnxc_text_printf(text, "%lld", (long long)*(const int64_t *)at); break;
    case FIELD_EPILOGUE: onnxc_text_printf(text, "%s", epilogues[key->epilogue]); break;
    }
  }
}

/* ---- parsing ---- */

typedef struct tuning_parser {
  onnxc_arena *arena;
  onnxc_diag *diag;
  const char *file, *at, *end; /* at: within the line; end: behind it */
  uint32_t line;
} tuning_parser;

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r'; }

static bool is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

/* The line up to its comment, and the next one's begin. */
static const char *take_line(tuning_parser *p, const char *source, const char *end) {
  const char *newline = memchr(source, '\n', (size_t)(end - source));
  const char *stop = newline ? newline : end;
  const char *comment = memchr(source, '#', (size_t)(stop - source));
  p->at = source;
  p->end = comment ? comment : stop;
  p->line++;
  return newline ? newline + 1 : end;
}

static void skip_space(tuning_parser *p) {
  while (p->at < p->end && is_space(*p->at))
    p->at++;
}

static onnxc_status fail(const tuning_parser *p, const char *what, const char *name) {
  return onnxc_error(p->diag, ONNXC_BAD_INPUT, "%s:%u: %s%s", p->file, p->line, what, name);
}

/* A word; empty if there is none. */
static const char *take_word(tuning_parser *p, size_t *length) {
  const char *start = p->at;
  while (p->at < p->end && is_name(*p->at))
    p->at++;
  *length = (size_t)(p->at - start);
  return start;
}

static bool take_number(tuning_parser *p, int64_t low, int64_t high, int64_t *number) {
  const char *start = p->at;
  for (*number = 0; p->at < p->end && *p->at >= '0' && *p->at <= '9' && *number <= high; p->at++)
    *number = *number * 10 + (*p->at - '0');
  return p->at > start && *number >= low && *number <= high && (p->at == p->end || !is_name(*p->at));
}

static onnxc_status take_value(tuning_parser *p, const struct field *field, onnxc_tuned *tuned) {
  void *to = (char *)tuned + field->offset;
  size_t length;
  const char *word;
  switch (field->kind) {
  case FIELD_CPU:
    word = take_word(p, &length);
    tuned->key.cpu = onnxc_arena_copy_string(p->arena, word, length);
    return length ? ONNXC_OK : fail(p, "a name is missing behind ", "cpu=");
  case FIELD_DTYPE:
    word = take_word(p, &length);
    *(onnxc_dtype *)to = onnxc_dtype_parse(word, length);
    return *(onnxc_dtype *)to != ONNXC_DTYPE_NONE ? ONNXC_OK : fail(p, "no type stands behind ", field->name);
  case FIELD_EXTENT:
    if (p->at < p->end && *p->at == '~') {
      tuned->key.open[field->offset] = true;
      p->at++;
    }
    to = &tuned->key.extent[field->offset];
    break;
  case FIELD_NUMBER: break;
  case FIELD_EPILOGUE:
    word = take_word(p, &length);
    for (int k = 0; k < NUM_EPILOGUES; k++)
      if (strlen(epilogues[k]) == length && memcmp(epilogues[k], word, length) == 0) {
        tuned->key.epilogue = (onnxc_epilogue)k;
        return ONNXC_OK;
      }
    return fail(p, "an epilogue is none, light or heavy", "");
  }
  if (take_number(p, field->low, field->high, to))
    return ONNXC_OK;
  return onnxc_error(p->diag, ONNXC_BAD_INPUT, "%s:%u: %s wants a number from %lld to %lld", p->file, p->line,
                     field->name, (long long)field->low, (long long)field->high);
}

/* name=value for all of fields first..last-1, in any order. */
static onnxc_status take_fields(tuning_parser *p, int first, int last, onnxc_tuned *tuned) {
  bool seen[NUM_FIELDS] = {0};
  for (skip_space(p); p->at < p->end && *p->at != ':'; skip_space(p)) {
    size_t length;
    const char *word = take_word(p, &length);
    int k = first;
    while (k < last && (strlen(fields[k].name) != length || memcmp(fields[k].name, word, length) != 0))
      k++;
    if (k == last || p->at == p->end || *p->at != '=')
      return fail(p, "a field is expected: name=value", "");
    if (seen[k])
      return fail(p, "twice in a line: ", fields[k].name);
    seen[k] = true;
    p->at++;
    ONNXC_TRY(take_value(p, &fields[k], tuned));
    if (p->at < p->end && !is_space(*p->at) && *p->at != ':')
      return fail(p, "a space is missing behind ", fields[k].name);
  }
  for (int k = first; k < last; k++)
    if (!seen[k])
      return fail(p, "missing: ", fields[k].name);
  return ONNXC_OK;
}

static onnxc_status take_product(tuning_parser *p, onnxc_tuning *tuning) {
  onnxc_tuned tuned = {.number = p->line};
  ONNXC_TRY(take_fields(p, 0, NUM_KEY_FIELDS, &tuned));
  if (p->at == p->end)
    return fail(p, "a colon is missing behind the key", "");
  p->at++;
  ONNXC_TRY(take_fields(p, NUM_KEY_FIELDS, NUM_FIELDS, &tuned));
  if (p->at < p->end)
    return fail(p, "a second colon", "");
  const char *wrong = onnxc_tuning_check(&tuned.key, &tuned.values);
  if (wrong)
    return fail(p, wrong, "");
  if (onnxc_tuning_find(tuning, &tuned.key))
    return fail(p, "the product stands in a line before", "");
  ONNXC_PUSH(p->arena, tuning->products, tuned);
  return ONNXC_OK;
}

onnxc_status onnxc_tuning_parse(onnxc_tuning *tuning, onnxc_arena *arena, onnxc_diag *diag, const char *file,
                                const char *source, size_t length) {
  tuning_parser p = {.arena = arena, .diag = diag, .file = file};
  const char *end = source + length;
  *tuning = (onnxc_tuning){0};
  while (source < end) {
    source = take_line(&p, source, end);
    skip_space(&p);
    if (p.at < p.end)
      ONNXC_TRY(take_product(&p, tuning));
  }
  return ONNXC_OK;
}
