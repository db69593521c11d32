/* hash.c -- see hash.h. The header-only form of xxHash, so that nothing needs its library to run. */
#include "base/hash.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

_Static_assert(sizeof(XXH3_state_t) <= sizeof(onnxc_hasher) && _Alignof(XXH3_state_t) <= _Alignof(onnxc_hasher),
               "a hasher has room for XXH3's state");

static XXH3_state_t *state_of(onnxc_hasher *hasher) {
  void *state = hasher->state;
  return state;
}

void onnxc_hash_start(onnxc_hasher *hasher) {
  memset(hasher, 0, sizeof *hasher);
  XXH3_128bits_reset(state_of(hasher));
}

void onnxc_hash_add(onnxc_hasher *hasher, const void *bytes, size_t size) {
  if (size > 0)
    XXH3_128bits_update(state_of(hasher), bytes, size);
}

void onnxc_hash_add_text(onnxc_hasher *hasher, const char *text) {
  const char present = text != NULL;
  onnxc_hash_add(hasher, &present, 1);
  if (text)
    onnxc_hash_add(hasher, text, strlen(text) + 1);
}

onnxc_digest onnxc_hash_end(const onnxc_hasher *hasher) {
  const void *state = hasher->state;
  XXH128_hash_t hash = XXH3_128bits_digest(state);
  return (onnxc_digest){{hash.low64, hash.high64}};
}
