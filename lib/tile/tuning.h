/* tuning.h -- measured choices for products, from a file that `onnxc tune` writes: they take the cost model's place.
 *
 * One line a product, `#` to the end of a line is a comment:
 *
 *     cpu=znver5 a=f32 b=f32 acc=f32 batch=1 m=128 n=768 k=3072 panel=64 epilogue=light:
 *         tile=6 unroll=4 rows=0 columns=64 depth=512 ahead=131072 lines=1        (all in one line)
 *
 * Before the colon stands the key: the CPU; the types of the factors and of the accumulator; the extents, `~64` for one
 * that is not known before a run and counts as 64; the width of the packed factor's panels in columns; and what follows
 * the sums: none, light or heavy. A line whose key is of no product of a model is not used. Behind the colon:
 *
 *     tile     rows of the register tile (its columns are the panel's)     unroll  steps of its loop
 *     rows, columns   of a task, whole tiles; 0 = all          depth   elements of a part of the reduction, 0 = all
 *     ahead, lines    prefetch of the packed factor: bytes ahead, cache lines a step; 0 lines = none
 */
#ifndef ONNXC_TILE_TUNING_H
#define ONNXC_TILE_TUNING_H

#include "base/status.h"
#include "ir/dtype.h"
#include "ir/text.h"

typedef enum onnxc_epilogue { ONNXC_EPILOGUE_NONE, ONNXC_EPILOGUE_LIGHT, ONNXC_EPILOGUE_HEAVY } onnxc_epilogue;
enum { ONNXC_PRODUCT_BATCH, ONNXC_PRODUCT_M, ONNXC_PRODUCT_N, ONNXC_PRODUCT_K, ONNXC_PRODUCT_EXTENTS };
enum { ONNXC_MAX_TUNED_LINES = 64, ONNXC_MAX_TUNED_UNROLL = 16 };

typedef struct onnxc_product_key {
  const char *cpu;
  onnxc_dtype a, b, acc;
  int64_t extent[ONNXC_PRODUCT_EXTENTS];
  bool open[ONNXC_PRODUCT_EXTENTS]; /* known at run time only; the extent is a guess */
  int64_t panel;
  onnxc_epilogue epilogue;
} onnxc_product_key;

typedef struct onnxc_product_values {
  int64_t tile, unroll, rows, columns, depth, ahead, lines;
} onnxc_product_values;

typedef struct onnxc_tuned {
  onnxc_product_key key;
  onnxc_product_values values;
  uint32_t number; /* of the line; of a program's products: the stage */
} onnxc_tuned;

typedef struct onnxc_tuning {
  ONNXC_VEC(onnxc_tuned) products;
} onnxc_tuning;

/* What is malformed or cannot be is an error that names file and line. The texts are copied. */
onnxc_status onnxc_tuning_parse(onnxc_tuning *tuning, onnxc_arena *arena, onnxc_diag *diag, const char *file,
                                const char *source, size_t length);
/* One line, without its end. */
void onnxc_tuning_print(const onnxc_product_key *key, const onnxc_product_values *values, onnxc_text *text);
/* NULL, or what is wrong with the values for such a product (static text). */
const char *onnxc_tuning_check(const onnxc_product_key *key, const onnxc_product_values *values);
bool onnxc_product_keys_equal(const onnxc_product_key *a, const onnxc_product_key *b);
const onnxc_product_values *onnxc_tuning_find(const onnxc_tuning *tuning, const onnxc_product_key *key); /* or NULL */

#endif
