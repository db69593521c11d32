/* slots.c -- numbers the dim expressions that a run needs: a DAG becomes a list in which arguments come first.
 *
 * Sums become multiplications and additions; equal steps are shared (a hash table over operation and
 * arguments), so a size that many tensors have is computed once. */
#include "emit/describe.h"

#include <string.h>

void onnxc_slots_init(onnxc_slots *slots, onnxc_graph *graph, onnxc_arena *arena) {
  memset(slots, 0, sizeof *slots);
  slots->arena = arena;
  slots->graph = graph;
}

static uint32_t hash_dim(const onnxc_rt_dim *dim) {
  uint64_t hash = (uint64_t)dim->op * 0x9e3779b97f4a7c15U;
  const int64_t words[3] = {dim->a, dim->b, dim->c};
  for (int k = 0; k < 3; k++)
    hash = (hash ^ (uint64_t)words[k]) * 0xff51afd7ed558ccdU;
  return (uint32_t)(hash >> 32);
}

static bool same_dim(const onnxc_rt_dim *a, const onnxc_rt_dim *b) {
  return a->op == b->op && a->a == b->a && a->b == b->b && a->c == b->c;
}

static void rehash(onnxc_slots *slots) {
  slots->table_size = slots->table_size ? slots->table_size * 2 : 256;
  slots->table = ONNXC_NEW_ARRAY(slots->arena, uint32_t, slots->table_size);
  for (uint32_t k = 0; k < slots->dims.length; k++) {
    uint32_t at = hash_dim(&slots->dims.data[k]) & (slots->table_size - 1);
    while (slots->table[at])
      at = (at + 1) & (slots->table_size - 1);
    slots->table[at] = k + 1;
  }
}

static uint32_t add_slot(onnxc_slots *slots, onnxc_rt_dim dim) {
  if (slots->dims.length * 2 >= slots->table_size)
    rehash(slots);
  uint32_t at = hash_dim(&dim) & (slots->table_size - 1);
  for (; slots->table[at]; at = (at + 1) & (slots->table_size - 1))
    if (same_dim(&slots->dims.data[slots->table[at] - 1], &dim))
      return slots->table[at] - 1;
  ONNXC_PUSH(slots->arena, slots->dims, dim);
  slots->table[at] = slots->dims.length;
  return slots->dims.length - 1;
}

uint32_t onnxc_slot_const(onnxc_slots *slots, int64_t value) {
  return add_slot(slots, (onnxc_rt_dim){.op = ONNXC_RT_CONST, .a = value});
}

uint32_t onnxc_slot_binary(onnxc_slots *slots, onnxc_rt_dim_op op, uint32_t a, uint32_t b) {
  int32_t sa = slots->dims.data[a].segment, sb = slots->dims.data[b].segment;
  return add_slot(slots, (onnxc_rt_dim){.op = (int32_t)op, .segment = sa > sb ? sa : sb, .a = a, .b = b});
}

static uint32_t symbol_slot(onnxc_slots *slots, onnxc_sym sym, onnxc_status *status) {
  const onnxc_symbol *symbol = onnxc_dims_symbol(&slots->graph->dims, sym);
  if (symbol->source == ONNXC_SYM_INPUT_DIM && symbol->index < slots->graph->inputs.length)
    return add_slot(slots, (onnxc_rt_dim){.op = ONNXC_RT_INPUT_DIM, .a = symbol->index, .b = symbol->axis});
  if (symbol->source == ONNXC_SYM_ELEMENT && symbol->index < slots->graph->values.length &&
      slots->element_buffer[symbol->index] != ONNXC_NO_SLOT) {
    onnxc_rt_dim element = {.op = ONNXC_RT_ELEMENT,
                            .segment = slots->element_segment[symbol->index],
                            .a = slots->element_buffer[symbol->index],
                            .b = symbol->axis,
                            .c = slots->graph->values.data[symbol->index].dtype};
    onnxc_dim condition = slots->element_condition[symbol->index]; /* made of inputs: this goes no deeper */
    if (!condition.i)
      return add_slot(slots, element);
    return onnxc_slot_binary(slots, ONNXC_RT_MUL, onnxc_slot_of(slots, condition, status), add_slot(slots, element));
  }
  if (*status == ONNXC_OK)
    *status =
        onnxc_error(slots->graph->diag, ONNXC_INTERNAL, "symbol '%s' has no value when the model runs", symbol->name);
  return onnxc_slot_const(slots, 0);
}

static uint32_t mapped(const onnxc_slots *slots, onnxc_dim dim) {
  return dim.i < slots->of_dim_size ? slots->of_dim[dim.i] : 0;
}

static void map(onnxc_slots *slots, onnxc_dim dim, uint32_t slot) {
  if (dim.i >= slots->of_dim_size) {
    uint32_t size = slots->graph->dims.nodes.length * 2;
    uint32_t *bigger = ONNXC_NEW_ARRAY(slots->arena, uint32_t, size);
    if (slots->of_dim_size)
      memcpy(bigger, slots->of_dim, slots->of_dim_size * sizeof *bigger);
    slots->of_dim = bigger;
    slots->of_dim_size = size;
  }
  slots->of_dim[dim.i] = slot + 1;
}

/* The slot of a node whose arguments have slots. */
static uint32_t node_slot(onnxc_slots *slots, onnxc_dim dim, onnxc_status *status) {
  const onnxc_dim_node *node = onnxc_dims_node(&slots->graph->dims, dim);
  onnxc_rt_dim_op op = ONNXC_RT_ADD;
  switch (node->kind) {
  case ONNXC_DIM_CONST: return onnxc_slot_const(slots, node->constant);
  case ONNXC_DIM_SYM: return symbol_slot(slots, node->sym, status);
  case ONNXC_DIM_SUM: {
    uint32_t sum = ONNXC_NO_SLOT;
    for (uint32_t k = 0; k < node->num_terms; k++) {
      uint32_t term = mapped(slots, node->terms[k].atom) - 1;
      if (node->terms[k].coefficient != 1)
        term = onnxc_slot_binary(slots, ONNXC_RT_MUL, term, onnxc_slot_const(slots, node->terms[k].coefficient));
      sum = sum == ONNXC_NO_SLOT ? term : onnxc_slot_binary(slots, ONNXC_RT_ADD, sum, term);
    }
    if (sum == ONNXC_NO_SLOT || node->constant != 0) {
      uint32_t constant = onnxc_slot_const(slots, node->constant);
      sum = sum == ONNXC_NO_SLOT ? constant : onnxc_slot_binary(slots, ONNXC_RT_ADD, sum, constant);
    }
    return sum;
  }
  case ONNXC_DIM_PRODUCT: op = ONNXC_RT_MUL; break;
  case ONNXC_DIM_FLOORDIV: op = ONNXC_RT_FLOORDIV; break;
  case ONNXC_DIM_MOD: op = ONNXC_RT_MOD; break;
  case ONNXC_DIM_MIN: op = ONNXC_RT_MIN; break;
  case ONNXC_DIM_MAX: op = ONNXC_RT_MAX; break;
  case ONNXC_DIM_EQ: op = ONNXC_RT_EQ; break;
  }
  return onnxc_slot_binary(slots, op, mapped(slots, node->a) - 1, mapped(slots, node->b) - 1);
}

/* Arguments first, by a stack of our own: expressions of a hostile model may be deep. */
uint32_t onnxc_slot_of(onnxc_slots *slots, onnxc_dim dim, onnxc_status *status) {
  ONNXC_VEC(onnxc_dim) stack = {0};
  ONNXC_PUSH(slots->arena, stack, dim);
  while (stack.length > 0) {
    onnxc_dim top = stack.data[stack.length - 1];
    if (mapped(slots, top)) {
      stack.length--;
      continue;
    }
    const onnxc_dim_node *node = onnxc_dims_node(&slots->graph->dims, top);
    uint32_t before = stack.length;
    if (node->kind == ONNXC_DIM_SUM) {
      for (uint32_t k = 0; k < node->num_terms; k++)
        if (!mapped(slots, node->terms[k].atom))
          ONNXC_PUSH(slots->arena, stack, node->terms[k].atom);
    } else if (node->kind != ONNXC_DIM_CONST && node->kind != ONNXC_DIM_SYM) {
      if (!mapped(slots, node->a))
        ONNXC_PUSH(slots->arena, stack, node->a);
      if (!mapped(slots, node->b))
        ONNXC_PUSH(slots->arena, stack, node->b);
    }
    if (stack.length == before)
      map(slots, top, node_slot(slots, top, status));
  }
  return mapped(slots, dim) - 1;
}
