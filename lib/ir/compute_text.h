/* compute_text.h -- a compute's definition as text, shared by graph text and tile text; the syntax stands in text.h. */
#ifndef ONNXC_IR_COMPUTE_TEXT_H
#define ONNXC_IR_COMPUTE_TEXT_H

#include "ir/graph.h"
#include "ir/lexer.h"

/* `<..> lets clauses attributes`; a line break and `indent` spaces before each clause. */
void onnxc_compute_print(const onnxc_exprs *pool, const onnxc_compute *compute, unsigned indent, onnxc_text *text);

/* What a load of an operand needs to know. */
typedef struct onnxc_operand_type {
  onnxc_dtype dtype; /* NONE: the operand is absent */
  uint32_t rank;
} onnxc_operand_type;

bool onnxc_compute_parse(onnxc_lexer *lexer, onnxc_exprs *pool, uint32_t num_operands,
                         const onnxc_operand_type *operands, uint32_t num_results, onnxc_compute *compute);

const char *onnxc_role_name(uint32_t role); /* "-", "batch", "m", "n", "k", "window" */

#endif
