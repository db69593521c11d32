/* mutations.h -- what a mutated model is: a file and a number, always the same bytes. */
#ifndef ONNXC_TESTS_MUTATIONS_H
#define ONNXC_TESTS_MUTATIONS_H

#include <stddef.h>
#include <stdint.h>

/* A small generator (splitmix64): every choice of a case comes from one. */
typedef struct random_source {
  uint64_t state;
} random_source;
uint64_t random_next(random_source *source);
size_t random_below(random_source *source, size_t bound); /* 0 when bound is 0 */

/* A model's bytes, and where its structure is: everything but the elements of tensors and long names. */
typedef struct mutable_model {
  const uint8_t *bytes;
  size_t size;
  struct structure_range {
    size_t at, size;
  } *ranges;
  size_t num_ranges, structure_size; /* sum of the ranges' sizes */
} mutable_model;
void mutable_model_init(mutable_model *model, const uint8_t *bytes, size_t size); /* borrows bytes */
void mutable_model_free(mutable_model *model);

/* The mutant that `source` chooses: cut off, with bytes changed, or with fields of its messages changed and packed
 * again. The caller frees it. NULL = no memory. */
uint8_t *mutate(const mutable_model *model, random_source *source, size_t *size);

/* The same for text: lines are dropped and doubled, words replaced by others of the text, numbers by telling ones. */
char *mutate_text(const char *text, size_t length, random_source *source, size_t *size);

/* The same for text: lines and words are dropped, doubled, replaced by others of the text; numbers by telling ones. */
char *mutate_text(const char *text, size_t length, random_source *source, size_t *size);

#endif
