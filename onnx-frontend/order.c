/* order.c -- which nodes of a scope are needed, and in which order.
 *
 * Models are not always written in topological order. Of the nodes whose operands are all there, the one that comes
 * first in the file goes next (a heap of node indices), so a file in order stays as it is.
 */
#include "state.h"

typedef struct heap {
  size_t *items;
  size_t length;
} heap;

static void heap_push(heap *h, size_t item) {
  size_t at = h->length++;
  for (; at && h->items[(at - 1) / 2] > item; at = (at - 1) / 2)
    h->items[at] = h->items[(at - 1) / 2];
  h->items[at] = item;
}

static size_t heap_pop(heap *h) {
  size_t top = h->items[0], last = h->items[--h->length], at = 0;
  for (size_t child; (child = 2 * at + 1) < h->length; at = child) {
    child += child + 1 < h->length && h->items[child + 1] < h->items[child];
    if (h->items[child] >= last)
      break;
    h->items[at] = h->items[child];
  }
  h->items[at] = last;
  return top;
}

/* Index of the node that writes what node i reads as number k, or SIZE_MAX. */
static size_t writer_of(const onnxc_scope *scope, size_t i, size_t k) {
  const char *text = scope->reads[i].names[k];
  const onnxc_name *name = text[0] ? onnxc_scope_find(scope, text) : NULL;
  return name && name->writer ? name->writer - 1 : SIZE_MAX;
}

/* The edges writer -> reader as one array of readers, those of node i at starts[i] .. starts[i + 1]. */
typedef struct edges {
  size_t *starts, *readers, *missing; /* missing[i]: operands of node i that are not there yet */
} edges;

static edges find_edges(onnxc_arena *arena, const onnxc_scope *scope) {
  size_t n = scope->num_nodes;
  edges e = {.starts = ONNXC_NEW_ARRAY(arena, size_t, n + 2), .missing = ONNXC_NEW_ARRAY(arena, size_t, n + 1)};
  for (size_t i = 0; i < n; i++)
    for (size_t k = 0; k < scope->reads[i].count; k++) {
      size_t writer = writer_of(scope, i, k);
      if (writer != SIZE_MAX) {
        e.starts[writer + 2]++;
        e.missing[i]++;
      }
    }
  for (size_t i = 2; i < n + 2; i++)
    e.starts[i] += e.starts[i - 1];
  e.readers = ONNXC_NEW_ARRAY(arena, size_t, e.starts[n + 1] + 1);
  for (size_t i = 0; i < n; i++)
    for (size_t k = 0; k < scope->reads[i].count; k++) {
      size_t writer = writer_of(scope, i, k);
      if (writer != SIZE_MAX)
        e.readers[e.starts[writer + 1]++] = i; /* ends as the start of writer + 1 */
    }
  return e;
}

onnxc_status onnxc_scope_order(onnxc_import_state *state, onnxc_scope *scope, char *const *outputs, size_t num_outputs,
                               size_t **order, size_t *length) {
  onnxc_arena *arena = state->graph->arena;
  size_t n = scope->num_nodes, sorted = 0;
  edges e = find_edges(arena, scope);
  heap ready = {.items = ONNXC_NEW_ARRAY(arena, size_t, n + 1)};
  size_t *all = ONNXC_NEW_ARRAY(arena, size_t, n + 1);
  for (size_t i = 0; i < n; i++)
    if (!e.missing[i])
      heap_push(&ready, i);
  while (ready.length) {
    size_t i = heap_pop(&ready);
    all[sorted++] = i;
    for (size_t r = e.starts[i]; r < e.starts[i + 1]; r++)
      if (--e.missing[e.readers[r]] == 0)
        heap_push(&ready, e.readers[r]);
  }
  if (sorted < n) {
    /* Going back from a node that waits, through operands that wait, one comes to a node of a cycle. */
    size_t node = 0;
    while (!e.missing[node])
      node++;
    for (size_t steps = 0; steps < n; steps++)
      for (size_t k = 0; k < scope->reads[node].count; k++) {
        size_t writer = writer_of(scope, node, k);
        if (writer != SIZE_MAX && e.missing[writer]) {
          node = writer;
          break;
        }
      }
    return onnxc_error(state->graph->diag, ONNXC_BAD_INPUT, "%s depends on its own result",
                       onnxc_scope_where(state, scope, scope->nodes[node]));
  }
  bool *needed = ONNXC_NEW_ARRAY(arena, bool, n + 1);
  for (size_t k = 0; k < num_outputs; k++) {
    const onnxc_name *name = onnxc_scope_find(scope, outputs[k]);
    if (name && name->writer)
      needed[name->writer - 1] = true;
  }
  for (size_t i = sorted; i-- > 0;)
    for (size_t k = 0; needed[all[i]] && k < scope->reads[all[i]].count; k++) {
      size_t writer = writer_of(scope, all[i], k);
      if (writer != SIZE_MAX)
        needed[writer] = true;
    }
  *length = 0;
  for (size_t i = 0; i < sorted; i++)
    if (needed[all[i]])
      all[(*length)++] = all[i];
  *order = all;
  return ONNXC_OK;
}
