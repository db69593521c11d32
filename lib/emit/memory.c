/* memory.c -- where the intermediate tensors lie in the workspace.
 *
 * Constant sizes: the largest first, each at the lowest offset where nothing that lives at the same time is in the
 * way (greedy by size). No plan needs less than the largest set of tensors that live at the same time; while this one
 * needs more, the tensor that ends highest is placed before all others and everything again ("squeaky wheel"). The
 * networks we know end within a few percent of the bound.
 *
 * Symbolic sizes: offsets are known only when planned, so tensors share numbered slots instead. In order of their first
 * stage, each takes the free slot whose likely size is nearest to its own; a slot is as large as its
 * largest tensor, an expression. A tensor never shares a slot with one whose size is known in another segment,
 * since a slot is placed when its segment begins.
 */
#include "emit/describe.h"

#include <stdlib.h>

enum { ALIGN = 64 };

/* Only where a life begins can more live than anywhere before. */
int64_t onnxc_largest_live_set(const onnxc_graph *graph, const onnxc_life *lives, uint32_t num_lives, int64_t align) {
  int64_t most = 0;
  for (uint32_t k = 0; k < num_lives; k++) {
    int64_t sum = 0, size = 0;
    for (uint32_t n = 0; n < num_lives; n++) {
      if (!onnxc_dim_is_const(&graph->dims, lives[n].size, &size) || size > INT64_MAX - align)
        return -1;
      bool alive = lives[n].first <= lives[k].first && lives[k].first <= lives[n].last;
      if (alive && __builtin_add_overflow(sum, (size + align - 1) / align * align, &sum))
        return -1;
    }
    most = sum > most ? sum : most;
  }
  return most;
}

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

/* Places all, in order; *last becomes the one that ends highest. The total, or -1 on overflow. */
static int64_t place_all(place *places, uint32_t count, const onnxc_life *lives, uint32_t *order, uint32_t *last) {
  int64_t total = 0;
  for (uint32_t n = 0; n < count; n++) {
    places[n].offset = first_fit(places, order, n, lives);
    if (places[n].offset < 0)
      return -1;
    uint32_t at = n;
    for (; at > 0 && places[order[at - 1]].offset > places[n].offset; at--)
      order[at] = order[at - 1];
    order[at] = n;
    if (places[n].offset + places[n].size > total) {
      total = places[n].offset + places[n].size;
      *last = n;
    }
  }
  return total;
}

static void keep(const place *places, uint32_t count, onnxc_rt_slot *result) {
  for (uint32_t n = 0; n < count; n++)
    result[places[n].life].offset = places[n].offset;
}

static int64_t plan_offsets(onnxc_slots *slots, const onnxc_life *lives, uint32_t count, onnxc_rt_slot *result) {
  enum { MAX_ROUNDS = 256, MAX_COMPARISONS = 1 << 24 };
  place *places = ONNXC_NEW_ARRAY(slots->arena, place, count);
  uint32_t *order = ONNXC_NEW_ARRAY(slots->arena, uint32_t, count), last = 0;
  int64_t least = onnxc_largest_live_set(slots->graph, lives, count, ALIGN), best = INT64_MAX;
  for (uint32_t k = 0; k < count; k++) {
    int64_t size = 0;
    onnxc_dim_is_const(&slots->graph->dims, lives[k].size, &size);
    if (size > INT64_MAX / 4)
      return -1;
    places[k] = (place){k, (size + ALIGN - 1) / ALIGN * ALIGN, 0};
  }
  if (count > 0)
    qsort(places, count, sizeof *places, by_size);
  uint64_t rounds = 1 + MAX_COMPARISONS / (1 + (uint64_t)count * count);
  for (uint64_t round = 0; round < rounds && round < MAX_ROUNDS && best > least; round++) {
    int64_t total = place_all(places, count, lives, order, &last);
    if (total < 0)
      return -1;
    if (total < best)
      keep(places, count, result);
    best = total < best ? total : best;
    place squeaky = places[last];
    for (uint32_t n = last; n > 0; n--)
      places[n] = places[n - 1];
    if (count > 0)
      places[0] = squeaky;
  }
  return best;
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
