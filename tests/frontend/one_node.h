/* one_node.h -- models of one node, written by a test, imported and evaluated.
 *
 * Operands are constants of the model or inputs of it, whose dims may be told to the importer or left to the run.
 */
#ifndef ONNXC_TESTS_ONE_NODE_H
#define ONNXC_TESTS_ONE_NODE_H

#include "ir/eval.h"

enum { ONE_NODE_OPERANDS = 9, ONE_NODE_ATTRIBUTES = 6 };

typedef struct one_attribute {
  const char *name; /* NULL ends the list */
  int count;        /* 0 = a single integer */
  int64_t values[8];
} one_attribute;

typedef struct one_other { /* an attribute that is no integer */
  const char *name;        /* NULL ends the list */
  const char *text;        /* a string, */
  const char *texts;       /* or strings, with spaces between them, */
  int floats;              /* or so many floats; -1 = a single one */
  double numbers[8];
} one_other;

typedef struct one_operand {
  onnxc_array array; /* dtype NONE = omitted */
  bool constant;
} one_operand;

typedef struct one_node {
  const char *op, *domain;
  int opset;
  one_attribute attributes[ONE_NODE_ATTRIBUTES + 1];
  one_other others[ONE_NODE_ATTRIBUTES + 1];
  one_operand operands[ONE_NODE_OPERANDS];
  int num_operands, num_outputs; /* 0 outputs = 1 */
  bool symbolic;                 /* the inputs' dims are left to the run */
  /* set by one_node_run */
  onnxc_guard guard;
  onnxc_arena arena;
  onnxc_diag diag;
  const char *text;       /* the graph, as it was imported */
  onnxc_array outputs[4]; /* when the status is OK */
} one_node;

/* Imports and evaluates. Everything lives until one_node_free, which must follow. */
onnxc_status one_node_run(one_node *node);
void one_node_free(one_node *node);

/* Memory until the next one_node_free. */
void *one_memory(size_t size);
/* An array of these numbers, in such memory. */
onnxc_array one_array(onnxc_dtype dtype, uint32_t rank, const int64_t *dims, const double *numbers);
double one_number(const onnxc_array *array, int64_t element); /* by its row-major number */

#endif
