/* cache.h -- compiled programs in files: machine code, descriptor and packed weights, found again by a key.
 *
 * An entry is one file, named after its key:
 *
 *     header | objects (as onnxc_jit_objects makes them) | weights, from a page's start on
 *
 * It is used only if it is whole: sizes, key and a checksum of every byte are verified before anything in it is
 * looked at, and it must be a regular file of ours that nobody else may write, for what it holds is going to be run.
 * What fails is as good as absent, and replaced. A new entry is written beside its place and renamed, so readers, in
 * other processes too, see a whole file or none; an entry in use stays mapped when it is replaced or removed.
 * Nothing ever removes entries for their age or size.
 *
 * The weights are used where they are mapped and so shared by all processes. (Such pages are small ones: the kernel
 * gives huge pages to anonymous memory only.)
 */
#ifndef ONNXC_EMIT_CACHE_H
#define ONNXC_EMIT_CACHE_H

#include "base/hash.h"
#include "emit/emit.h"

typedef struct onnxc_cache_entry {
  onnxc_objects objects; /* in the map, as the weights are */
  const void *weights;
  size_t weights_size;
  int32_t source_nodes, folded_nodes; /* see onnxc_stats */
  void *map;
  size_t map_size;
} onnxc_cache_entry;

/* Into a key: this version of the compiler, the LLVM that it runs with, and the CPU that code is made for. */
void onnxc_cache_identify(onnxc_hasher *key, const onnxc_target *target);

/* The path is in the arena. */
const char *onnxc_cache_path(onnxc_arena *arena, const char *directory, const onnxc_digest *key);
/* Maps and verifies; false if there is no such entry that can be used. */
bool onnxc_cache_open(onnxc_cache_entry *entry, const char *path, const onnxc_digest *key);
void onnxc_cache_close(onnxc_cache_entry *entry); /* an entry that was never opened, too, if all zero */
/* Writes an entry (of which objects and nodes are read), making the directory if needed; false if that fails, and then
 * the directory is as it was. */
bool onnxc_cache_store(onnxc_arena *arena, const char *path, const onnxc_digest *key, const onnxc_cache_entry *entry,
                       const onnxc_weights *weights);

#endif
