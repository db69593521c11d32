/* arena.c -- see arena.h. Blocks double from 64 KiB up to 8 MiB; a large
 * request gets a block of its own. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const size_t LARGE_PAGE = (size_t)2 << 20;

static _Thread_local int64_t fail_countdown;
static _Thread_local int64_t allocation_count;

static bool fails_now(void) {
  allocation_count++;
  if (fail_countdown == 0)
    return false;
  fail_countdown--;
  return fail_countdown == 0;
}

/* Weights and activations of megabytes are walked in strides of pages: with large pages the TLB holds them. */
static void *alloc_large(size_t size) {
  void *memory = aligned_alloc(LARGE_PAGE, (size + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE);
  if (memory)
    madvise(memory, size / LARGE_PAGE * LARGE_PAGE, MADV_HUGEPAGE); /* the tail stays in small ones: no waste */
  return memory;
}

void *onnxc_mem_alloc(size_t size) {
  if (fails_now() || size > SIZE_MAX / 2)
    return NULL;
  return size >= 2 * LARGE_PAGE ? alloc_large(size) : malloc(size ? size : 1);
}

void onnxc_mem_free(void *memory) { free(memory); }

int64_t onnxc_mem_fail_at(int64_t n) {
  int64_t made = allocation_count;
  allocation_count = 0;
  fail_countdown = n;
  return made;
}

struct onnxc_arena_block {
  onnxc_arena_block *previous;
  size_t used, size; /* of the bytes behind the header */
  _Alignas(16) unsigned char bytes[];
};

void onnxc_arena_init(onnxc_arena *arena, onnxc_guard *guard) {
  memset(arena, 0, sizeof *arena);
  arena->guard = guard;
}

void onnxc_arena_free(onnxc_arena *arena) {
  onnxc_arena_block *block = arena->last;
  while (block) {
    onnxc_arena_block *previous = block->previous;
    onnxc_mem_free(block);
    block = previous;
  }
  arena->last = NULL;
  arena->used = 0;
}

void onnxc_arena_out_of_memory(onnxc_arena *arena) {
  if (!arena->guard)
    abort(); /* our own bug: an arena in use without an entry point */
  longjmp(arena->guard->env, 1);
}

static unsigned char *place_in(onnxc_arena_block *block, size_t size, size_t align) {
  uintptr_t base = (uintptr_t)block->bytes;
  size_t start = (size_t)(((base + block->used + align - 1) & ~(uintptr_t)(align - 1)) - base);
  if (start > block->size || size > block->size - start)
    return NULL;
  block->used = start + size;
  return block->bytes + start;
}

static void *take(onnxc_arena *arena, size_t size) {
  size_t align = size >= 4096 ? 64 : 16;
  if (fails_now() || size > SIZE_MAX / 2 || (arena->limit && size > arena->limit - arena->used))
    return NULL;
  unsigned char *memory = arena->last ? place_in(arena->last, size, align) : NULL;
  if (!memory) {
    size_t want = arena->last ? arena->last->size * 2 : (size_t)64 << 10;
    if (want > (size_t)8 << 20)
      want = (size_t)8 << 20;
    bool own = size + align > want / 2;
    if (own)
      want = size + align;
    onnxc_arena_block *block = onnxc_mem_alloc(sizeof *block + want);
    if (!block)
      return NULL;
    block->used = 0;
    block->size = want;
    if (own && arena->last) { /* keep filling the current block */
      block->previous = arena->last->previous;
      arena->last->previous = block;
    } else {
      block->previous = arena->last;
      arena->last = block;
    }
    memory = place_in(block, size, align);
  }
  arena->used += size;
  return memory;
}

void *onnxc_arena_try_alloc(onnxc_arena *arena, size_t size) {
  void *memory = take(arena, size);
  return memory ? memset(memory, 0, size) : NULL;
}

void *onnxc_arena_alloc_raw(onnxc_arena *arena, size_t size) {
  void *memory = take(arena, size);
  if (!memory)
    onnxc_arena_out_of_memory(arena);
  return memory;
}

void *onnxc_arena_alloc(onnxc_arena *arena, size_t size) {
  void *memory = onnxc_arena_try_alloc(arena, size);
  if (!memory)
    onnxc_arena_out_of_memory(arena);
  return memory;
}

void *onnxc_arena_array(onnxc_arena *arena, size_t count, size_t size) {
  if (size && count > SIZE_MAX / 2 / size)
    onnxc_arena_out_of_memory(arena);
  return onnxc_arena_alloc(arena, count * size);
}

char *onnxc_arena_copy_string(onnxc_arena *arena, const char *text, size_t length) {
  char *copy = onnxc_arena_alloc(arena, length + 1);
  memcpy(copy, text, length);
  return copy;
}

char *onnxc_arena_printf(onnxc_arena *arena, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int length = vsnprintf(NULL, 0, format, args);
  va_end(args);
  char *text = onnxc_arena_alloc(arena, (size_t)(length < 0 ? 0 : length) + 1);
  if (length > 0) {
    va_start(args, format);
    vsnprintf(text, (size_t)length + 1, format, args);
    va_end(args);
  }
  return text;
}

void onnxc_discard_pages(const void *memory, size_t size) {
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)memory;
  uintptr_t first = (at + page - 1) / page * page, last = (at + size) / page * page;
  if (first < last)
    madvise((void *)first, last - first, MADV_DONTNEED); // NOLINT(performance-no-int-to-ptr)
}

void onnxc_arena_discard(onnxc_arena *arena, const void *memory, size_t size) {
  uintptr_t at = (uintptr_t)memory;
  for (const onnxc_arena_block *block = arena->last; block; block = block->previous) {
    uintptr_t start = (uintptr_t)block->bytes;
    if (at < start || at - start > block->size || size > block->size - (at - start))
      continue;
    onnxc_discard_pages(memory, size);
    return;
  }
}

void *onnxc_arena_grow(onnxc_arena *arena, void *data, uint32_t length, uint32_t *capacity, size_t size) {
  if (length > UINT32_MAX / 2)
    onnxc_arena_out_of_memory(arena);
  uint32_t room = length ? length * 2 : 8;
  void *bigger = onnxc_arena_array(arena, room, size);
  if (length)
    memcpy(bigger, data, length * size);
  *capacity = room;
  return bigger;
}
