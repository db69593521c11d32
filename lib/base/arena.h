/* arena.h -- one arena a lifetime; nothing inside a compilation is freed singly.
 *
 * Allocation from an arena never returns NULL. When memory runs out (or the
 * test hook says so) it unwinds by longjmp to the arena's guard, which the
 * entry points of the API set; every arena of a compilation shares that guard.
 * So code between holds nothing that an arena or the entry point would not
 * release: files, maps and LLVM objects hang on a struct that the entry point
 * disposes of. Foreign callbacks (protobuf-c's allocator) use
 * onnxc_arena_try_alloc, which returns NULL.
 */
#ifndef ONNXC_BASE_ARENA_H
#define ONNXC_BASE_ARENA_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- the process's allocator, with the fail-the-nth hook ---- */

void *onnxc_mem_alloc(size_t size); /* malloc; NULL when out of memory */
void onnxc_mem_free(void *memory);

/* Test hook: the n-th allocation from now (1 = the next one) of this thread, from
 * the system or from an arena, fails, once; 0 switches it off. Returns how many
 * allocations this thread has made since the last call. */
int64_t onnxc_mem_fail_at(int64_t n);

/* ---- guard ---- */

typedef struct onnxc_guard {
  jmp_buf env;
} onnxc_guard;

/* ---- arena ---- */

typedef struct onnxc_arena_block onnxc_arena_block;

typedef struct onnxc_arena {
  onnxc_arena_block *last;
  onnxc_guard *guard; /* where to unwind; must be set while allocating */
  size_t used;        /* bytes handed out */
  size_t limit;       /* 0 = none; beyond it an allocation fails */
} onnxc_arena;

void onnxc_arena_init(onnxc_arena *arena, onnxc_guard *guard);
void onnxc_arena_free(onnxc_arena *arena);

/* Zeroed memory, aligned to 16 (or to 64 from 4096 bytes on). */
void *onnxc_arena_alloc(onnxc_arena *arena, size_t size);
void *onnxc_arena_alloc_raw(onnxc_arena *arena, size_t size);           /* not zeroed: for what is written whole */
void *onnxc_arena_array(onnxc_arena *arena, size_t count, size_t size); /* checks the product */
void *onnxc_arena_try_alloc(onnxc_arena *arena, size_t size);           /* NULL on failure */
char *onnxc_arena_copy_string(onnxc_arena *arena, const char *text, size_t length);
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
char *
onnxc_arena_printf(onnxc_arena *arena, const char *format, ...);
/* A hint that memory of this arena will not be read again: its whole pages go back to the system. Their contents are
 * lost. Memory that is not the arena's is left alone. */
void onnxc_arena_discard(onnxc_arena *arena, const void *memory, size_t size);
/* The same for a mapped file, whose pages come back when they are read. */
void onnxc_discard_pages(const void *memory, size_t size);
_Noreturn void onnxc_arena_out_of_memory(onnxc_arena *arena);

#define ONNXC_NEW(arena, type)              ((type *)onnxc_arena_alloc((arena), sizeof(type)))
#define ONNXC_NEW_ARRAY(arena, type, count) ((type *)onnxc_arena_array((arena), (size_t)(count), sizeof(type)))

/* ---- growable arrays in an arena ----
 *
 *     ONNXC_VEC(int) numbers = {0};
 *     ONNXC_PUSH(arena, numbers, 7);
 */
#define ONNXC_VEC(type)                                                                                                \
  struct {                                                                                                             \
    type *data;                                                                                                        \
    uint32_t length, capacity;                                                                                         \
  }
#define ONNXC_PUSH(arena, vec, item)                                                                                   \
  ((vec).length == (vec).capacity                                                                                      \
       ? ((vec).data = onnxc_arena_grow((arena), (vec).data, (vec).length, &(vec).capacity, sizeof *(vec).data),       \
          (void)0)                                                                                                     \
       : (void)0,                                                                                                      \
   (vec).data[(vec).length++] = (item))

void *onnxc_arena_grow(onnxc_arena *arena, void *data, uint32_t length, uint32_t *capacity, size_t size);

#endif
