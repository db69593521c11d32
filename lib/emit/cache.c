/* cache.c -- see cache.h. Nothing here allocates from an arena while a file is open. */
#include "emit/cache.h"
#include "emit/machine.h"

#include "source_hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OBJECT_ALIGN = 64, PAGE = 4096 };

static const char magic[8] = "onnxc 2";

/* The checksum is of the fields before it and of all bytes behind the header. */
typedef struct header {
  char magic[8];
  onnxc_digest key;
  uint64_t num_objects, object_sizes[ONNXC_MAX_PARTS], weights_offset, weights_size;
  int32_t source_nodes, folded_nodes;
  onnxc_digest checksum;
} header;
_Static_assert(sizeof(header) == 8 + 16 + (3 + ONNXC_MAX_PARTS) * 8 + 2 * 4 + 16, "no padding");

/* Objects follow the header and each other, aligned. */
static uint64_t aligned(uint64_t offset) { return (offset + OBJECT_ALIGN - 1) / OBJECT_ALIGN * OBJECT_ALIGN; }

void onnxc_cache_identify(onnxc_hasher *key, const onnxc_target *target) {
  unsigned version[3];
  uint64_t features = onnxc_target_needs(target);
  LLVMGetVersion(&version[0], &version[1], &version[2]);
  onnxc_hash_add_text(key, ONNXC_VERSION);
  onnxc_hash_add_text(key, ONNXC_SOURCE_HASH);
  onnxc_hash_add(key, version, sizeof version);
  onnxc_hash_add_text(key, target->name);
  onnxc_hash_add(key, &features, sizeof features);
}

const char *onnxc_cache_path(onnxc_arena *arena, const char *directory, const onnxc_digest *key) {
  return onnxc_arena_printf(arena, "%s/%016llx%016llx.onnxc", directory, (unsigned long long)key->words[1],
                            (unsigned long long)key->words[0]);
}

static bool same(const onnxc_digest *a, const onnxc_digest *b) {
  return a->words[0] == b->words[0] && a->words[1] == b->words[1];
}

/* ---- reading ---- */

static bool is_trusted(const struct stat *about) {
  return S_ISREG(about->st_mode) && (about->st_uid == geteuid() || about->st_uid == 0) &&
         !(about->st_mode & (S_IWGRP | S_IWOTH));
}

static bool map_file(onnxc_cache_entry *entry, const char *path) {
  struct stat about;
  /* Not blocking, so that a pipe of that name cannot hang us. */
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0)
    return false;
  if (fstat(fd, &about) == 0 && is_trusted(&about) && about.st_size >= (off_t)sizeof(header)) {
    void *map = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (map != MAP_FAILED) {
      entry->map = map;
      entry->map_size = (size_t)about.st_size;
    }
  }
  close(fd);
  return entry->map != NULL;
}

static bool verify(onnxc_cache_entry *entry, const onnxc_digest *key) {
  const unsigned char *bytes = entry->map;
  uint64_t size = entry->map_size;
  header head;
  memcpy(&head, bytes, sizeof head);
  if (memcmp(head.magic, magic, sizeof magic) != 0 || !same(&head.key, key) || head.num_objects > ONNXC_MAX_PARTS ||
      head.weights_offset % PAGE != 0 || head.weights_offset > size || size - head.weights_offset != head.weights_size)
    return false;
  uint64_t at = sizeof head;
  for (uint64_t k = 0; k < head.num_objects; k++) {
    at = aligned(at);
    if (at > head.weights_offset || head.object_sizes[k] > head.weights_offset - at)
      return false;
    entry->objects.list[k] = (onnxc_object){.bytes = bytes + at, .size = head.object_sizes[k]};
    at += head.object_sizes[k];
  }
  onnxc_hasher hasher;
  onnxc_hash_start(&hasher);
  onnxc_hash_add(&hasher, bytes, offsetof(header, checksum));
  onnxc_hash_add(&hasher, bytes + sizeof head, size - sizeof head);
  onnxc_digest checksum = onnxc_hash_end(&hasher);
  if (!same(&checksum, &head.checksum))
    return false;
  entry->objects.count = (uint32_t)head.num_objects;
  entry->weights = bytes + head.weights_offset;
  entry->weights_size = head.weights_size;
  entry->source_nodes = head.source_nodes;
  entry->folded_nodes = head.folded_nodes;
  return true;
}

bool onnxc_cache_open(onnxc_cache_entry *entry, const char *path, const onnxc_digest *key) {
  *entry = (onnxc_cache_entry){0};
  if (map_file(entry, path) && verify(entry, key))
    return true;
  onnxc_cache_close(entry);
  return false;
}

void onnxc_cache_close(onnxc_cache_entry *entry) {
  if (entry->map)
    munmap(entry->map, entry->map_size);
  *entry = (onnxc_cache_entry){0};
}

/* ---- writing ---- */

typedef struct writer {
  int fd;
  uint64_t at;
  onnxc_hasher hasher;
} writer;

static bool write_at(int fd, const void *bytes, size_t size, uint64_t offset) {
  while (size > 0) {
    ssize_t written = pwrite(fd, bytes, size, (off_t)offset);
    if (written < 0 && errno == EINTR)
      continue;
    if (written <= 0)
      return false;
    bytes = (const char *)bytes + written;
    size -= (size_t)written;
    offset += (uint64_t)written;
  }
  return true;
}

static bool put(writer *w, const void *bytes, size_t size) {
  onnxc_hash_add(&w->hasher, bytes, size);
  bool written = write_at(w->fd, bytes, size, w->at);
  w->at += size;
  return written;
}

/* Zeros up to an offset that is less than a page away. */
static bool fill_up(writer *w, uint64_t offset) {
  static const char zeros[PAGE];
  return put(w, zeros, (size_t)(offset - w->at));
}

static bool write_entry(int fd, const onnxc_digest *key, const onnxc_cache_entry *entry, const onnxc_weights *weights) {
  const onnxc_objects *objects = &entry->objects;
  header head = {.key = *key,
                 .num_objects = objects->count,
                 .weights_offset = sizeof head,
                 .weights_size = weights->size,
                 .source_nodes = entry->source_nodes,
                 .folded_nodes = entry->folded_nodes};
  memcpy(head.magic, magic, sizeof magic);
  for (uint32_t k = 0; k < objects->count; k++) {
    head.object_sizes[k] = objects->list[k].size;
    head.weights_offset = aligned(head.weights_offset) + objects->list[k].size;
  }
  head.weights_offset = (head.weights_offset + PAGE - 1) / PAGE * PAGE;
  writer w = {.fd = fd, .at = sizeof head};
  onnxc_hash_start(&w.hasher);
  onnxc_hash_add(&w.hasher, &head, offsetof(header, checksum));
  bool written = true;
  for (uint32_t k = 0; written && k < objects->count; k++)
    written = fill_up(&w, aligned(w.at)) && put(&w, objects->list[k].bytes, objects->list[k].size);
  written = written && fill_up(&w, head.weights_offset);
  for (uint32_t k = 0; written && k < weights->num_pieces; k++) {
    const struct onnxc_weight_piece *piece = &weights->pieces[k];
    written = fill_up(&w, head.weights_offset + piece->offset) && put(&w, piece->data, piece->size);
  }
  head.checksum = onnxc_hash_end(&w.hasher);
  return written && write_at(fd, &head, sizeof head, 0);
}

/* Makes the directories of a path that are missing. */
static void make_directories(char *path) {
  for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    mkdir(path, 0700); /* if it fails, opening will */
    *slash = '/';
  }
}

bool onnxc_cache_store(onnxc_arena *arena, const char *path, const onnxc_digest *key, const onnxc_cache_entry *entry,
                       const onnxc_weights *weights) {
  char *temporary = onnxc_arena_printf(arena, "%s.XXXXXX", path);
  make_directories(temporary);
  int fd = mkstemp(temporary); /* new, and ours alone */
  if (fd < 0)
    return false;
  bool stored = fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && write_entry(fd, key, entry, weights);
  stored = close(fd) == 0 && stored && rename(temporary, path) == 0;
  if (!stored)
    unlink(temporary);
  return stored;
}
