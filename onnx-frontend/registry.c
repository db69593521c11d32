/* registry.c -- the table of importers, expanded from operators.def. */
#include "import.h"

#include <string.h>

#define X(OpType, domain, since, function) onnxc_status function(onnxc_importer *in);
#include "operators.def"
#undef X

/* The last row is a sentinel, so that the table is never empty. */
static const onnxc_import_row rows[] = {
#define X(OpType, domain, since, function) {OpType, domain, since, function},
#include "operators.def"
#undef X
    {NULL, NULL, 0, NULL}};

enum { NUM_ROWS = sizeof rows / sizeof rows[0] - 1 };

const onnxc_import_row *onnxc_import_find(const char *domain, const char *op_type) {
  if (strcmp(domain, "ai.onnx") == 0)
    domain = "";
  size_t low = 0, high = NUM_ROWS;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    int order = strcmp(rows[middle].op_type, op_type);
    if (order == 0)
      order = strcmp(rows[middle].domain, domain);
    if (order == 0)
      return &rows[middle];
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return NULL;
}

const onnxc_import_row *onnxc_import_rows(size_t *count) {
  *count = NUM_ROWS;
  return rows;
}
