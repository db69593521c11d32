/* tensor.c -- the elements of a TensorProto, whichever way they are written.
 *
 * Sources: raw bytes (raw_data or an external file), packed typed fields that scan.c left in the file, or
 * the same fields element by element, which protobuf-c has unpacked. Every size is checked
 * against what the dims ask for before anything is allocated.
 */
#include "load.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "raw data is little endian");

enum { RAW_DATA = 9, LARGE = 1 << 14 };

/* Where a type's elements stand when they are not raw: the field's number in TensorProto. */
typedef enum typed_field {
  FLOAT_DATA = 4,
  INT32_DATA = 5,
  STRING_DATA = 6,
  INT64_DATA = 7,
  DOUBLE_DATA = 10,
  UINT64_DATA = 11
} typed_field;

typedef struct format {
  uint8_t field;
  uint8_t bits;  /* packed, as in raw data */
  uint8_t bytes; /* in memory */
  bool is_signed;
} format;

static const format formats[ONNXC_DTYPE_COUNT] = {
    [ONNXC_F32] = {FLOAT_DATA, 32, 4, true},      [ONNXC_U8] = {INT32_DATA, 8, 1, false},
    [ONNXC_I8] = {INT32_DATA, 8, 1, true},        [ONNXC_U16] = {INT32_DATA, 16, 2, false},
    [ONNXC_I16] = {INT32_DATA, 16, 2, true},      [ONNXC_I32] = {INT32_DATA, 32, 4, true},
    [ONNXC_I64] = {INT64_DATA, 64, 8, true},      [ONNXC_STRING] = {STRING_DATA, 64, 8, false},
    [ONNXC_BOOL] = {INT32_DATA, 8, 1, false},     [ONNXC_F16] = {INT32_DATA, 16, 2, false},
    [ONNXC_F64] = {DOUBLE_DATA, 64, 8, true},     [ONNXC_U32] = {UINT64_DATA, 32, 4, false},
    [ONNXC_U64] = {UINT64_DATA, 64, 8, false},    [ONNXC_C64] = {FLOAT_DATA, 64, 8, true},
    [ONNXC_C128] = {DOUBLE_DATA, 128, 16, true},  [ONNXC_BF16] = {INT32_DATA, 16, 2, false},
    [ONNXC_F8E4M3FN] = {INT32_DATA, 8, 1, false}, [ONNXC_F8E4M3FNUZ] = {INT32_DATA, 8, 1, false},
    [ONNXC_F8E5M2] = {INT32_DATA, 8, 1, false},   [ONNXC_F8E5M2FNUZ] = {INT32_DATA, 8, 1, false},
    [ONNXC_U4] = {INT32_DATA, 4, 1, false},       [ONNXC_I4] = {INT32_DATA, 4, 1, true},
    [ONNXC_F4E2M1] = {INT32_DATA, 4, 1, false},   [ONNXC_F8E8M0] = {INT32_DATA, 8, 1, false},
    [ONNXC_U2] = {INT32_DATA, 2, 1, false},       [ONNXC_I2] = {INT32_DATA, 2, 1, true},
};

typedef struct decoder {
  onnxc_onnx_file *file;
  onnxc_arena *arena;
  onnxc_diag *diag;
  const Onnx__TensorProto *tensor;
  const char *what;
  const format *format;
  onnxc_dtype dtype;
  size_t count; /* elements */
} decoder;

static onnxc_status wrong_size(decoder *d, const char *unit, size_t have, size_t want) {
  return onnxc_error(d->diag, ONNXC_BAD_INPUT, "%s has %zu %s, but its type and shape need %zu", d->what, have, unit,
                     want);
}

/* Packed elements of less than a byte: the first in the lowest bits. */
static void unpack_bits(const decoder *d, uint8_t *out, size_t first, size_t elements, uint8_t packed) {
  unsigned bits = d->format->bits, mask = (1u << bits) - 1, sign = 1u << (bits - 1);
  for (size_t i = 0; i < elements; i++, packed = (uint8_t)(packed >> bits)) {
    unsigned value = packed & mask;
    out[first + i] = (uint8_t)(d->format->is_signed ? (value ^ sign) - sign : value);
  }
}

static void normalize_bools(uint8_t *bytes, size_t count) {
  for (size_t i = 0; i < count; i++)
    bytes[i] = bytes[i] != 0;
}

static onnxc_status decode_raw(decoder *d, const uint8_t *bytes, size_t size, bool release, void **data) {
  unsigned bits = d->format->bits;
  if (d->format->field == STRING_DATA)
    return onnxc_error(d->diag, ONNXC_BAD_INPUT, "%s holds strings as raw data", d->what);
  if (bits < 8) {
    size_t per_byte = 8 / bits, want = d->count / per_byte + (d->count % per_byte != 0);
    if (size != want || (size && !bytes))
      return wrong_size(d, "bytes", size, want);
    uint8_t *out = onnxc_arena_alloc(d->arena, d->count);
    for (size_t i = 0, at = 0; i < size; i++, at += per_byte)
      unpack_bits(d, out, at, d->count - at < per_byte ? d->count - at : per_byte, bytes[i]);
    *data = out;
    return ONNXC_OK;
  }
  if (size != d->count * d->format->bytes || (size && !bytes))
    return wrong_size(d, "bytes", size, d->count * d->format->bytes);
  size_t align = d->format->bytes > 8 ? 8 : d->format->bytes;
  if (size && d->dtype != ONNXC_BOOL && ((uintptr_t)bytes % align == 0 || size >= LARGE)) {
    *data = (void *)(uintptr_t)bytes;
    return ONNXC_OK;
  }
  *data = onnxc_arena_alloc(d->arena, size);
  if (size)
    memcpy(*data, bytes, size);
  if (d->dtype == ONNXC_BOOL)
    normalize_bools(*data, size);
  if (release && size >= LARGE)
    onnxc_discard_pages(bytes, size);
  return ONNXC_OK;
}

/* ---- external data ---- */

static bool parse_size(const char *text, size_t *value) {
  char *end;
  errno = 0;
  unsigned long long number = strtoull(text, &end, 10);
  *value = (size_t)number;
  return text[0] >= '0' && text[0] <= '9' && !*end && !errno && number <= INT64_MAX;
}

static onnxc_status decode_external(decoder *d, void **data) {
  const Onnx__TensorProto *tensor = d->tensor;
  const char *location = NULL;
  size_t offset = 0, length = SIZE_MAX;
  for (size_t i = 0; i < tensor->n_external_data; i++) {
    const char *key = onnxc_onnx_text(tensor->external_data[i]->key);
    const char *value = onnxc_onnx_text(tensor->external_data[i]->value);
    size_t *number = strcmp(key, "offset") == 0 ? &offset : strcmp(key, "length") == 0 ? &length : NULL;
    if (number && !parse_size(value, number))
      return onnxc_error(d->diag, ONNXC_BAD_INPUT, "%s: external data with the %s '%s'", d->what, key, value);
    if (strcmp(key, "location") == 0)
      location = value;
  }
  if (!location)
    return onnxc_error(d->diag, ONNXC_BAD_INPUT, "%s: external data without a location", d->what);
  const onnxc_external *external = onnxc_onnx_external(d->file, d->diag, d->what, location);
  if (!external)
    return d->diag->status;
  if (offset > external->size || (length != SIZE_MAX && length > external->size - offset))
    return onnxc_error(d->diag, ONNXC_BAD_INPUT,
                       "%s: external data reaches beyond the end of '%s', which has %zu bytes", d->what, location,
                       external->size);
  if (length == SIZE_MAX)
    length = external->size - offset;
  return decode_raw(d, external->bytes ? external->bytes + offset : NULL, length, true, data);
}

/* ---- typed fields ---- */

/* Elements of a typed field one after the other, from payloads in the file or from what protobuf-c unpacked. */
typedef struct reader {
  const decoder *d;
  const onnxc_payload *payload, *payloads_end;
  size_t at, end; /* in the current payload */
  size_t index;   /* next unpacked element */
} reader;

/* Goes to the next payload of the field; false at the end. */
static bool next_payload(reader *r) {
  for (; r->payload < r->payloads_end; r->payload++)
    if (r->payload->field == r->d->format->field && r->payload->size) {
      r->at = r->payload->offset;
      r->end = r->at + r->payload->size;
      r->payload++;
      return true;
    }
  return false;
}

/* The next entry's bits, sign-extended; false when there is none, or it is cut off. */
static bool next_entry(reader *r, uint64_t *value) {
  const Onnx__TensorProto *tensor = r->d->tensor;
  typed_field field = (typed_field)r->d->format->field;
  if (r->at == r->end && !next_payload(r)) {
    size_t i = r->index++;
    uint32_t bits = 0;
    switch (field) {
    case FLOAT_DATA:
      if (i >= tensor->n_float_data)
        return false;
      memcpy(&bits, &tensor->float_data[i], sizeof bits);
      *value = bits;
      return true;
    case INT32_DATA:
      if (i >= tensor->n_int32_data)
        return false;
      *value = (uint64_t)(int64_t)tensor->int32_data[i];
      return true;
    case INT64_DATA:
      if (i >= tensor->n_int64_data)
        return false;
      *value = (uint64_t)tensor->int64_data[i];
      return true;
    case DOUBLE_DATA:
      if (i >= tensor->n_double_data)
        return false;
      memcpy(value, &tensor->double_data[i], sizeof *value);
      return true;
    case UINT64_DATA:
      if (i >= tensor->n_uint64_data)
        return false;
      *value = tensor->uint64_data[i];
      return true;
    case STRING_DATA: return false;
    }
    return false;
  }
  const uint8_t *bytes = r->d->file->bytes;
  if (field != FLOAT_DATA && field != DOUBLE_DATA)
    return onnxc_scan_varint(bytes, r->end, &r->at, value);
  size_t size = field == FLOAT_DATA ? 4 : 8;
  if (r->end - r->at < size)
    return false;
  *value = 0;
  memcpy(value, bytes + r->at, size);
  r->at += size;
  return true;
}

/* Entries that the fields hold at most, so that allocation is bounded by the file. */
static size_t max_entries(const reader *r) {
  const Onnx__TensorProto *t = r->d->tensor;
  size_t entries = 0;
  for (const onnxc_payload *p = r->payload; p < r->payloads_end; p++)
    if (p->field == r->d->format->field)
      entries += p->size;
  switch ((typed_field)r->d->format->field) {
  case FLOAT_DATA: return entries / 4 + t->n_float_data;
  case INT32_DATA: return entries + t->n_int32_data;
  case INT64_DATA: return entries + t->n_int64_data;
  case DOUBLE_DATA: return entries / 8 + t->n_double_data;
  case UINT64_DATA: return entries + t->n_uint64_data;
  case STRING_DATA: break;
  }
  return entries;
}

static onnxc_status decode_typed(decoder *d, const onnxc_payload *first, const onnxc_payload *last, void **data) {
  reader r = {.d = d, .payload = first, .payloads_end = last};
  /* An entry holds several elements of less than a byte, and a complex number takes two entries. */
  size_t per_entry = d->format->bits < 8 ? 8u / d->format->bits : 1;
  size_t per_element = d->dtype == ONNXC_C64 || d->dtype == ONNXC_C128 ? 2 : 1;
  if (d->count > SIZE_MAX / 32)
    return wrong_size(d, "elements", max_entries(&r), d->count);
  size_t want = d->count * per_element / per_entry + (d->count * per_element % per_entry != 0);
  size_t have = max_entries(&r), entry_bytes = d->format->bytes / per_element;
  if (have < want)
    return wrong_size(d, "elements", have, want);
  uint8_t *out = onnxc_arena_alloc(d->arena, d->count * d->format->bytes);
  uint64_t value;
  for (size_t i = 0; i < want; i++) {
    if (!next_entry(&r, &value))
      return wrong_size(d, "elements", i, want);
    if (per_entry > 1)
      unpack_bits(d, out, i * per_entry, d->count - i * per_entry < per_entry ? d->count - i * per_entry : per_entry,
                  (uint8_t)value);
    else if (d->dtype == ONNXC_BOOL)
      out[i] = value != 0;
    else
      memcpy(out + i * entry_bytes, &value, entry_bytes);
  }
  if (next_entry(&r, &value))
    return onnxc_error(d->diag, ONNXC_BAD_INPUT, "%s has more elements than the %zu that its shape needs", d->what,
                       want);
  *data = out;
  return ONNXC_OK;
}

static onnxc_status decode_strings(decoder *d, void **data) {
  if (d->tensor->n_string_data != d->count)
    return wrong_size(d, "strings", d->tensor->n_string_data, d->count);
  const char **out = ONNXC_NEW_ARRAY(d->arena, const char *, d->count + 1);
  for (size_t i = 0; i < d->count; i++) {
    const ProtobufCBinaryData *text = &d->tensor->string_data[i];
    out[i] = onnxc_arena_copy_string(d->arena, text->len ? (const char *)text->data : "", text->len);
  }
  *data = out;
  return ONNXC_OK;
}

/* ---- the whole ---- */

static onnxc_status decode_shape(decoder *d, onnxc_array *array) {
  const Onnx__TensorProto *tensor = d->tensor;
  if (tensor->data_type <= 0 || tensor->data_type >= ONNXC_DTYPE_COUNT)
    return onnxc_error(d->diag, ONNXC_BAD_INPUT, "%s has the unknown element type %d", d->what, tensor->data_type);
  d->dtype = array->dtype = (onnxc_dtype)tensor->data_type;
  d->format = &formats[d->dtype];
  if (tensor->n_dims > ONNXC_MAX_RANK)
    return onnxc_error(d->diag, ONNXC_UNSUPPORTED, "%s has rank %zu; the highest supported one is %d", d->what,
                       tensor->n_dims, ONNXC_MAX_RANK);
  array->rank = (uint32_t)tensor->n_dims;
  bool empty = false;
  for (size_t i = 0; i < tensor->n_dims; i++) {
    if (tensor->dims[i] < 0)
      return onnxc_error(d->diag, ONNXC_BAD_INPUT, "%s has the negative dim %" PRId64, d->what, tensor->dims[i]);
    array->dims[i] = tensor->dims[i];
    empty |= tensor->dims[i] == 0;
  }
  size_t padded = 1; /* with ones for zeros, so that no partial product can overflow either */
  for (size_t i = 0; i < tensor->n_dims; i++) {
    size_t dim = tensor->dims[i] ? (size_t)tensor->dims[i] : 1;
    if (dim > ((size_t)INT64_MAX >> 5) / padded)
      return onnxc_error(d->diag, ONNXC_BAD_INPUT, "%s has too many elements for any memory", d->what);
    padded *= dim;
  }
  d->count = empty ? 0 : padded;
  return ONNXC_OK;
}

onnxc_status onnxc_onnx_tensor(onnxc_onnx_file *file, onnxc_arena *arena, onnxc_diag *diag,
                               const Onnx__TensorProto *tensor, const char *what, onnxc_array *array) {
  decoder d = {.file = file, .arena = arena, .diag = diag, .tensor = tensor, .what = what, .format = &formats[0]};
  memset(array, 0, sizeof *array);
  ONNXC_TRY(decode_shape(&d, array));
  if (tensor->segment)
    return onnxc_error(diag, ONNXC_UNSUPPORTED, "%s is stored in segments, which is not supported", what);
  if (tensor->has_data_location && tensor->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL)
    return decode_external(&d, &array->data);
  const onnxc_payload *first = NULL, *last = NULL, *raw = NULL;
  if (tensor->has_payload && tensor->payload >= 1 && tensor->payload <= file->scan.payloads.length) {
    first = last = file->scan.payloads.data + tensor->payload - 1;
    const onnxc_payload *end = file->scan.payloads.data + file->scan.payloads.length;
    for (; last < end && last->first == first->first; last++)
      if (last->field == RAW_DATA)
        raw = last; /* the last one counts, as in protobuf */
  }
  if (d.format->field == STRING_DATA)
    return decode_strings(&d, &array->data);
  if (raw && (raw->size || !d.count))
    return decode_raw(&d, file->bytes + raw->offset, raw->size, file->mapped, &array->data);
  bool is_plain = d.format->field == FLOAT_DATA || d.format->field == DOUBLE_DATA;
  if (is_plain && first && last == first + 1 && first->field == d.format->field &&
      first->size == d.count * d.format->bytes)
    return decode_raw(&d, file->bytes + first->offset, first->size, file->mapped, &array->data);
  ONNXC_TRY(decode_typed(&d, first, last, &array->data));
  for (const onnxc_payload *p = first; p && file->mapped && p < last; p++)
    onnxc_discard_pages(file->bytes + p->offset, p->size);
  return ONNXC_OK;
}
