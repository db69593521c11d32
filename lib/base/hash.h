/* hash.h -- 128-bit hashes of content, at the speed of memory (XXH3). They tell contents apart and find damage; they
 * keep no secrets. */
#ifndef ONNXC_BASE_HASH_H
#define ONNXC_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

typedef struct onnxc_digest {
  uint64_t words[2];
} onnxc_digest;

typedef struct onnxc_hasher {
  _Alignas(64) unsigned char state[576];
} onnxc_hasher;

void onnxc_hash_start(onnxc_hasher *hasher);
void onnxc_hash_add(onnxc_hasher *hasher, const void *bytes, size_t size);
void onnxc_hash_add_text(onnxc_hasher *hasher, const char *text); /* with its end; NULL is not "" */
onnxc_digest onnxc_hash_end(const onnxc_hasher *hasher);

#endif
