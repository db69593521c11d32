/* compose_ahead.c -- software prefetch: while the row tiles of one panel run, they fetch the next one together.
 *
 * A packed panel is read front to back by each row tile; the first one to do so would wait for L3 or memory. So every
 * step of every tile fetches a few cache lines of what comes next (schedule: ahead_lines, ahead_bytes), until the panel
 * is whole. With a single row tile that is simply some distance ahead of the loads. Fetching beyond the end is
 * harmless.
 */
#include "nano/compose_internal.h"

static const int64_t LINE = 64; /* bytes */
enum { NEAR = 16 << 10 };       /* bytes ahead: lines that are used so soon go to L1 */

void onnxc_compose_ahead(compose *c, onnxc_dim first, uint32_t u, uint32_t unroll) {
  const onnxc_schedule *s = &c->stmt->schedule;
  if (!s->ahead_lines)
    return;
  node *load = NULL;
  for (uint32_t i = 0; i < c->nodes.length && !load; i++) {
    const onnxc_expr_node *x = onnxc_exprs_node(c->exprs, c->nodes.data[i].e);
    if (x->op == ONNXC_EXPR_LOAD && x->imm == s->ahead_operand)
      load = &c->nodes.data[i];
  }
  if (!load)
    return;
  uint32_t k = c->reduce[c->num_reduce - 1], kr = s->kr > 1 ? s->kr : 1, lines = s->ahead_lines;
  uint32_t whole = c->unrolls[0][c->num_reduce - 1];
  onnxc_dim now = c->index[k], done = onnxc_dim_sub(c->dims, first, c->stmt->box_lo[k]);
  c->index[k] = c->stmt->box_lo[k];
  LLVMValueRef panel = onnxc_compose_load_address(c, load);
  c->index[k] = now;
  if (c->row >= 0) {
    onnxc_dim passed = onnxc_dim_sub(c->dims, c->index[c->row], c->stmt->box_lo[c->row]);
    onnxc_dim tile = onnxc_dim_floordiv(c->dims, passed, onnxc_dim_const(c->dims, c->rows));
    /* Once all of the panel is fetched the last share is fetched again, from L2: no more than one panel comes in. */
    int64_t panel_lines = c->operands[s->ahead_operand].bytes * c->vecs * c->lanes * kr * whole / LINE;
    int64_t tiles = (panel_lines + lines - 1) / lines;
    tile = onnxc_dim_min(c->dims, tile, onnxc_dim_const(c->dims, tiles > 1 ? tiles - 1 : 0));
    done = onnxc_dim_add(c->dims, done, onnxc_dim_mul(c->dims, tile, c->stmt->box_size[k]));
  }
  /* Lines a whole unrolled step; where less is unrolled (edges), as many fewer. */
  onnxc_dim bytes = onnxc_dim_mulc(c->dims, done, LINE * lines / ((int64_t)whole * kr));
  lines = (lines * unroll + whole - 1) / whole;
  LLVMValueRef at = onnxc_gen_address(c->gen, panel, onnxc_gen_dim(c->gen, bytes));
  LLVMTypeRef i32 = c->gen->i32, pointer = c->gen->ptr;
  LLVMValueRef read = LLVMConstInt(i32, 0, false), data = LLVMConstInt(i32, 1, false);
  LLVMValueRef level = LLVMConstInt(i32, s->ahead_bytes <= NEAR ? 3 : 2, false); /* L1, L2 */
  /* A share in each step: all at once they would wait for each other. */
  for (uint32_t line = lines * u / unroll; line < lines * (u + 1) / unroll; line++) {
    LLVMValueRef address =
        onnxc_gen_address(c->gen, at, onnxc_gen_const(c->gen, (int64_t)s->ahead_bytes + line * LINE));
    onnxc_gen_intrinsic(c->gen, "llvm.prefetch", 1, &pointer, 4, (LLVMValueRef[]){address, read, level, data});
  }
}
