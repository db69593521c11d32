/* guarded.h -- memory against inaccessible pages, for code that no sanitizer sees.
 *
 * A block ends exactly at an inaccessible page or (at_start) begins right behind one, so that a read or write beyond
 * that side faults. What else there is of its pages is filled with NaN, as is the block at first.
 */
#ifndef ONNXC_TESTS_GUARDED_H
#define ONNXC_TESTS_GUARDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { GUARDED_FILL = 0xff };

typedef struct guarded {
  unsigned char *map;
  size_t map_size, size;
  void *data;
} guarded;

static inline guarded guarded_new(size_t size, bool at_start) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE), inner = (size + page) / page * page;
  guarded g = {.map_size = inner + 2 * page, .size = size};
  g.map = mmap(NULL, g.map_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (g.map == MAP_FAILED || mprotect(g.map + page, inner, PROT_READ | PROT_WRITE) != 0)
    abort();
  g.data = at_start ? g.map + page : g.map + page + inner - size;
  memset(g.map + page, GUARDED_FILL, inner);
  return g;
}

/* Bytes of the inner pages that are not the block's keep their filling. */
static inline bool guarded_intact(const guarded *g) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  for (const unsigned char *c = g->map + page; c < g->map + g->map_size - page; c++) {
    bool inside = c >= (unsigned char *)g->data && c < (unsigned char *)g->data + g->size;
    if (!inside && *c != GUARDED_FILL)
      return false;
  }
  return true;
}

static inline void guarded_free(guarded *g) { munmap(g->map, g->map_size); }

#endif
