/* memory.c -- where the intermediate tensors lie in the workspace.
 *
 * Constant sizes: the largest first, each at the lowest offset where nothing that lives at the same time is in the
 * way (greedy by size; within a few percent of the bound on the networks we know).
 *
 * Symbolic sizes: offsets are known only when planned, so tensors share numbered slots instead. In order of their first
 * stage, each takes the free slot whose likely size is nearest to its own; a slot is as large as its
 * largest tensor, an expression. A tensor never shares a slot with one whose size is known in another segment,
 * since a slot is placed when its segment begins.
 */
#include "emit/describe.h"

#include <stdlib.h>

enum { ALIGN = 64 };

typedef struct place {
  uint32_t life;
  int64_t size, offset;
} place;

static int by_size(const void *a, const void *b) {
  const place *x = a, *y = b;
  if (x->size != y->size)
    return x->size > y->size ? -1 : 1;
  return x->life < y->life ? -1 : 1;
}

static bool overlap(const onnxc_life *a, const onnxc_life *b) { return a->first <= b->last && b->first <= a->last; }

/* places[0..n-1] are placed; `order` lists them by offset. The lowest offset for places[n], or -1 on overflow. */
static int64_t first_fit(const place *places, const uint32_t *order, uint32_t n, const onnxc_life *lives) {
  int64_t offset = 0;
  for (uint32_t k = 0; k < n; k++) {
    const place *other = &places[order[k]];
    if (!overlap(&lives[other->life], &lives[places[n].life]))
      continue;
    if (other->offset - offset >= places[n].size)
      break;
    if (other->offset + other->size > offset)
      offset = other->offset + other->size;
  }
  return offset > INT64_MAX / 2 - places[n].size ? -1 : offset;
}

static int64_t plan_offsets(onnxc_slots *slots, const onnxc_life *lives, uint32_t num_lives, onnxc_rt_slot *result) {
  place *places = ONNXC_NEW_ARRAY(slots->arena, place, num_lives);
  uint32_t *order = ONNXC_NEW_ARRAY(slots->arena, uint32_t, num_lives);
  int64_t total = 0;
  for (uint32_t k = 0; k < num_lives; k++) {
    int64_t size = 0;
    onnxc_dim_is_const(&slots->graph->dims, lives[k].size, &size);
    if (size > INT64_MAX / 4)
      return -1;
    places[k] = (place){k, (size + ALIGN - 1) / ALIGN * ALIGN, 0};
  }
  if (num_lives > 0)
    qsort(places, num_lives, sizeof *places, by_size);
  for (uint32_t n = 0; n < num_lives; n++) {
    places[n].offset = first_fit(places, order, n, lives);
    if (places[n].offset < 0)
      return -1;
    uint32_t at = n;
    for (; at > 0 && places[order[at - 1]].offset > places[n].offset; at--)
      order[at] = order[at - 1];
    order[at] = n;
    result[places[n].life].offset = places[n].offset;
    if (places[n].offset + places[n].size > total)
      total = places[n].offset + places[n].size;
  }
  return total;
}

typedef struct shared_slot {
  onnxc_dim size;
  int64_t hint;
  uint32_t last; /* stage of the last use so far */
  int32_t segment;
} shared_slot;

static int64_t distance(int64_t a, int64_t b) { return a > b ? a - b : b - a; }

static onnxc_rt_slot *share_slots(onnxc_slots *slots, onnxc_life *lives, uint32_t num_lives, uint32_t *num_slots,
                                  onnxc_status *status) {
  onnxc_dims *dims = &slots->graph->dims;
  ONNXC_VEC(shared_slot) shared = {0};
  for (uint32_t k = 0; k < num_lives; k++) { /* lives come in order of their first stage */
    onnxc_life *life = &lives[k];
    int64_t hint = onnxc_dim_hint(dims, life->size), best_distance = INT64_MAX;
    uint32_t best = shared.length;
    for (uint32_t s = 0; s < shared.length; s++) {
      const shared_slot *slot = &shared.data[s];
      if (slot->last >= life->first || slot->segment != life->segment)
        continue;
      /* A slot that grows costs what it grows by; one that is too large costs nothing but its chance. */
      int64_t cost = onnxc_dim_same(slot->size, life->size) ? -1 : distance(slot->hint, hint);
      if (cost < best_distance) {
        best_distance = cost;
        best = s;
      }
    }
    if (best == shared.length)
      ONNXC_PUSH(slots->arena, shared, ((shared_slot){life->size, hint, life->last, life->segment}));
    shared_slot *slot = &shared.data[best];
    if (!onnxc_dim_same(slot->size, life->size))
      slot->size = onnxc_dim_max(dims, slot->size, life->size);
    slot->hint = slot->hint > hint ? slot->hint : hint;
    slot->last = life->last;
    life->slot = best;
  }
  onnxc_rt_slot *result = ONNXC_NEW_ARRAY(slots->arena, onnxc_rt_slot, shared.length);
  for (uint32_t s = 0; s < shared.length; s++)
    result[s] = (onnxc_rt_slot){
        .offset = -1, .size_dim = onnxc_slot_of(slots, shared.data[s].size, status), .segment = shared.data[s].segment};
  *num_slots = shared.length;
  return result;
}

onnxc_rt_slot *onnxc_plan_memory(onnxc_slots *slots, onnxc_life *lives, uint32_t num_lives, uint32_t *num_slots,
                                 int64_t *total, onnxc_status *status) {
  bool constant = true;
  for (uint32_t k = 0; k < num_lives && constant; k++)
    constant = onnxc_dim_is_const(&slots->graph->dims, lives[k].size, NULL);
  *total = -1;
  if (!constant)
    return share_slots(slots, lives, num_lives, num_slots, status);
  onnxc_rt_slot *result = ONNXC_NEW_ARRAY(slots->arena, onnxc_rt_slot, num_lives);
  *num_slots = num_lives;
  for (uint32_t k = 0; k < num_lives; k++) {
    lives[k].slot = k;
    result[k].size_dim = onnxc_slot_of(slots, lives[k].size, status);
  }
  *total = plan_offsets(slots, lives, num_lives, result);
  if (*total < 0 && *status == ONNXC_OK)
    *status = onnxc_error(slots->graph->diag, ONNXC_BAD_INPUT, "the size of the intermediate tensors overflows");
  return result;
}
