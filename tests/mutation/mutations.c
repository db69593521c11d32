/* mutations.c -- see mutations.h.
 *
 * Two kinds. Bytes: a cut, flipped bits, changed bytes, nearly always where structure is; these find what the loader
 * overlooks. Fields: the message is unpacked, a few of its leaves (numbers, names, lists, messages) are replaced by
 * interesting or foreign ones, and it is packed again; these come through the loader and find what importers, passes
 * and lowering overlook. The schema is read from protobuf-c's descriptors, so no field is named here but two.
 */
#include "mutations.h"

#include "onnx.pb-c.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

uint64_t random_next(random_source *source) {
  uint64_t z = source->state += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
  return z ^ z >> 31;
}

size_t random_below(random_source *source, size_t bound) { return bound ? (size_t)(random_next(source) % bound) : 0; }

static bool one_in(random_source *source, size_t n) { return random_below(source, n) == 0; }

/* ---- where the structure is ---- */

enum { MAX_DEPTH = 64, LONG_FIELD = 64 };

static bool read_varint(const uint8_t *bytes, size_t end, size_t *at, uint64_t *value) {
  *value = 0;
  for (unsigned shift = 0; *at < end && shift < 64; shift += 7) {
    uint8_t byte = bytes[(*at)++];
    *value |= (uint64_t)(byte & 0x7f) << shift;
    if (byte < 0x80)
      return true;
  }
  return false;
}

static void add_range(mutable_model *model, size_t at, size_t size) {
  if (model->num_ranges > 0 &&
      model->ranges[model->num_ranges - 1].at + model->ranges[model->num_ranges - 1].size == at)
    model->ranges[model->num_ranges - 1].size += size;
  else {
    if ((model->num_ranges & (model->num_ranges + 1)) == 0) { /* room for 2^n - 1 */
      struct structure_range *more = realloc(model->ranges, (2 * model->num_ranges + 1) * sizeof *more);
      if (!more)
        return;
      model->ranges = more;
    }
    model->ranges[model->num_ranges++] = (struct structure_range){at, size};
  }
  model->structure_size += size;
}

static void find_structure(mutable_model *model, const ProtobufCMessageDescriptor *in, size_t at, size_t end,
                           int depth) {
  while (at < end) {
    size_t start = at;
    uint64_t tag, length = 0;
    if (!read_varint(model->bytes, end, &at, &tag))
      return;
    unsigned type = (unsigned)(tag & 7);
    if ((type == 0 || type == 2) && !read_varint(model->bytes, end, &at, &length))
      return;
    size_t contents = at;
    length = type == 1 ? 8 : type == 5 ? 4 : type == 2 ? length : 0;
    if (length > end - at)
      return;
    at += (size_t)length;
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(in, (unsigned)(tag >> 3));
    if (type == 2 && field && field->type == PROTOBUF_C_TYPE_MESSAGE && depth < MAX_DEPTH) {
      add_range(model, start, contents - start);
      find_structure(model, field->descriptor, contents, at, depth + 1);
    } else {
      size_t all = at - start;
      add_range(model, start, all < LONG_FIELD ? all : contents - start + 1);
    }
  }
}

void mutable_model_init(mutable_model *model, const uint8_t *bytes, size_t size) {
  *model = (mutable_model){.bytes = bytes, .size = size};
  find_structure(model, &onnx__model_proto__descriptor, 0, size, 0);
}

void mutable_model_free(mutable_model *model) {
  free(model->ranges);
  model->ranges = NULL;
}

static size_t choose_offset(const mutable_model *model, random_source *source) {
  if (model->structure_size == 0 || one_in(source, 16))
    return random_below(source, model->size);
  size_t rest = random_below(source, model->structure_size);
  for (size_t k = 0; k < model->num_ranges; k++) {
    if (rest < model->ranges[k].size)
      return model->ranges[k].at + rest;
    rest -= model->ranges[k].size;
  }
  return 0;
}

/* ---- bytes ---- */

static uint8_t *mutate_bytes(const mutable_model *model, random_source *source, size_t *size) {
  uint8_t *copy = malloc(model->size ? model->size : 1);
  if (!copy)
    return NULL;
  memcpy(copy, model->bytes, model->size);
  *size = model->size;
  if (one_in(source, 4)) {
    *size = one_in(source, 2) ? random_below(source, model->size) : choose_offset(model, source);
    return copy;
  }
  static const uint8_t telling[] = {0x00, 0x01, 0x7f, 0x80, 0xff, 0xfe, 0x08, 0x0a, 0x12, 0x40};
  for (size_t left = 1 + random_below(source, 4); left > 0 && model->size > 0; left--) {
    uint8_t *byte = &copy[choose_offset(model, source)];
    switch (random_below(source, 4)) {
    case 0: *byte = (uint8_t)random_next(source); break;
    case 1: *byte = telling[random_below(source, sizeof telling)]; break;
    case 2: *byte = (uint8_t)(*byte + (one_in(source, 2) ? 1 : -1)); break;
    default: *byte ^= (uint8_t)(1U << random_below(source, 8)); break;
    }
  }
  return copy;
}

/* ---- fields ---- */

/* What the unpacked message and its changes are allocated from: freed all at once. */
typedef struct pool {
  struct pool_block {
    struct pool_block *previous;
    _Alignas(16) uint8_t bytes[];
  } *last;
} pool;

static void *pool_alloc(void *arg, size_t size) {
  pool *p = arg;
  struct pool_block *block = calloc(1, sizeof *block + size);
  if (!block)
    return NULL;
  block->previous = p->last;
  p->last = block;
  return block->bytes;
}

static void pool_free_one(void *arg, void *memory) { (void)arg, (void)memory; }

static void pool_free(pool *p) {
  while (p->last) {
    struct pool_block *previous = p->last->previous;
    free(p->last);
    p->last = previous;
  }
}

/* A place in the message: a field of `owner`; of a repeated one element `index`, or the whole list. */
typedef struct leaf {
  ProtobufCMessage *owner;
  const ProtobufCFieldDescriptor *field;
  size_t index;
  bool whole; /* the list, or a message to be dropped */
} leaf;

typedef struct forest {
  pool memory;
  random_source *source;
  leaf *leaves;
  size_t length, capacity;
  char **strings; /* all of the message's, short ones */
  size_t num_strings, strings_capacity;
} forest;

static void add_leaf(forest *f, ProtobufCMessage *owner, const ProtobufCFieldDescriptor *field, size_t index,
                     bool whole) {
  if (f->length == f->capacity) {
    leaf *more = realloc(f->leaves, (2 * f->capacity + 64) * sizeof *more);
    if (!more)
      return;
    f->leaves = more;
    f->capacity = 2 * f->capacity + 64;
  }
  f->leaves[f->length++] = (leaf){owner, field, index, whole};
}

static void add_string(forest *f, char *text) {
  if (!text || strlen(text) >= LONG_FIELD)
    return;
  if (f->num_strings == f->strings_capacity) {
    char **more = realloc(f->strings, (2 * f->strings_capacity + 64) * sizeof *more);
    if (!more)
      return;
    f->strings = more;
    f->strings_capacity = 2 * f->strings_capacity + 64;
  }
  f->strings[f->num_strings++] = text;
}

static void *member_of(const ProtobufCMessage *owner, const ProtobufCFieldDescriptor *field) {
  return (uint8_t *)owner + field->offset;
}
static size_t *count_of(const ProtobufCMessage *owner, const ProtobufCFieldDescriptor *field) {
  return (size_t *)(void *)((uint8_t *)owner + field->quantifier_offset);
}
static protobuf_c_boolean *has_of(const ProtobufCMessage *owner, const ProtobufCFieldDescriptor *field) {
  return (protobuf_c_boolean *)(void *)((uint8_t *)owner + field->quantifier_offset);
}

static size_t element_size(const ProtobufCFieldDescriptor *field) {
  switch (field->type) {
  case PROTOBUF_C_TYPE_INT32:
  case PROTOBUF_C_TYPE_SINT32:
  case PROTOBUF_C_TYPE_SFIXED32:
  case PROTOBUF_C_TYPE_UINT32:
  case PROTOBUF_C_TYPE_FIXED32:
  case PROTOBUF_C_TYPE_FLOAT: return 4;
  case PROTOBUF_C_TYPE_ENUM: return sizeof(int);
  case PROTOBUF_C_TYPE_BOOL: return sizeof(protobuf_c_boolean);
  case PROTOBUF_C_TYPE_BYTES: return sizeof(ProtobufCBinaryData);
  case PROTOBUF_C_TYPE_STRING:
  case PROTOBUF_C_TYPE_MESSAGE: return sizeof(void *);
  default: return 8;
  }
}

static void find_leaves(forest *f, ProtobufCMessage *message, int depth) {
  enum { FEW = 8 };
  for (unsigned k = 0; k < message->descriptor->n_fields; k++) {
    const ProtobufCFieldDescriptor *field = &message->descriptor->fields[k];
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
      size_t count = *count_of(message, field);
      uint8_t *elements = *(uint8_t **)member_of(message, field);
      if (count > 0 || one_in(f->source, FEW))
        add_leaf(f, message, field, 0, true);
      for (size_t i = 0; i < count; i++) {
        void *element = elements + i * element_size(field);
        if (field->type == PROTOBUF_C_TYPE_MESSAGE && depth < MAX_DEPTH)
          find_leaves(f, *(ProtobufCMessage **)element, depth + 1);
        else if (i < FEW)
          add_leaf(f, message, field, i, false);
        if (field->type == PROTOBUF_C_TYPE_STRING)
          add_string(f, *(char **)element);
      }
      continue;
    }
    void *member = member_of(message, field);
    bool pointer = field->type == PROTOBUF_C_TYPE_MESSAGE || field->type == PROTOBUF_C_TYPE_STRING;
    bool present = pointer ? *(void **)member && *(const void **)member != field->default_value
                           : field->label == PROTOBUF_C_LABEL_NONE || *has_of(message, field);
    if (!present && (field->type == PROTOBUF_C_TYPE_MESSAGE || !one_in(f->source, FEW)))
      continue;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE && depth < MAX_DEPTH)
      find_leaves(f, *(ProtobufCMessage **)member, depth + 1);
    add_leaf(f, message, field, 0, field->type == PROTOBUF_C_TYPE_MESSAGE);
    if (field->type == PROTOBUF_C_TYPE_STRING && present)
      add_string(f, *(char **)member);
  }
}

static int64_t other_integer(random_source *source, int64_t old) {
  static const int64_t telling[] = {
      0,         1,         -1,        2,         3,         4,         5,         7,
      8,         9,         16,        31,        64,        127,       128,       255,
      256,       1000,      4096,      65535,     65536,     1 << 20,   1 << 24,   INT32_MAX,
      INT32_MIN, 1LL << 31, 1LL << 32, 1LL << 40, 1LL << 62, INT64_MAX, INT64_MIN, INT64_MAX - 1,
      -2,        -3,        10};
  uint64_t bits = (uint64_t)old;
  switch (random_below(source, 8)) {
  case 0: return (int64_t)(bits + 1);
  case 1: return (int64_t)(bits - 1);
  case 2: return (int64_t)(bits * 2);
  case 3: return old / 2;
  case 4: return (int64_t)(0 - bits);
  case 5: return (int64_t)random_below(source, 20);
  default: return telling[random_below(source, sizeof telling / sizeof *telling)];
  }
}

static double other_real(random_source *source, double old) {
  static const double telling[] = {0, -0.0, 1, -1, 0.5, 2, 3, 1e-30, 1e30, 3.5e38, 1e300, 1e-320, 1e9, -1e9, 65504};
  switch (random_below(source, 6)) {
  case 0: return NAN;
  case 1: return one_in(source, 2) ? INFINITY : -INFINITY;
  case 2: return old * 2;
  default: return telling[random_below(source, sizeof telling / sizeof *telling)];
  }
}

static char *other_string(forest *f, const char *old) {
  random_source *source = f->source;
  if (f->num_strings > 0 && !one_in(source, 8))
    return f->strings[random_below(source, f->num_strings)];
  size_t length = old ? strlen(old) : 0, room = one_in(source, 8) ? 5000 : length + 1;
  char *text = pool_alloc(&f->memory, room + 1);
  if (!text)
    return f->strings ? f->strings[0] : NULL;
  memset(text, 'x', room);
  if (length < room)
    memcpy(text, old ? old : "", length);
  else
    text[0] = '\0';
  if (length > 0 && one_in(source, 2))
    text[random_below(source, length)] = (char)(1 + random_below(source, 126));
  else if (one_in(source, 2))
    text[random_below(source, room)] = '\0';
  return text;
}

static void change_bytes(forest *f, ProtobufCBinaryData *data) {
  random_source *source = f->source;
  size_t size = one_in(source, 2) ? random_below(source, data->len + 1) : data->len + random_below(source, 9);
  uint8_t *copy = pool_alloc(&f->memory, size);
  if (!copy)
    return;
  if (data->len > 0)
    memcpy(copy, data->data, size < data->len ? size : data->len);
  for (size_t left = random_below(source, 5); left > 0 && size > 0; left--)
    copy[random_below(source, size)] = (uint8_t)random_next(source);
  *data = (ProtobufCBinaryData){size, copy};
}

static void change_element(forest *f, const ProtobufCFieldDescriptor *field, void *element) {
  random_source *source = f->source;
  switch (field->type) {
  case PROTOBUF_C_TYPE_FLOAT: {
    double wide = other_real(source, *(float *)element);
    *(float *)element = (float)(fabs(wide) > 3.4e38 && !isinf(wide) ? INFINITY : wide);
    break;
  }
  case PROTOBUF_C_TYPE_DOUBLE: *(double *)element = other_real(source, *(double *)element); break;
  case PROTOBUF_C_TYPE_BOOL: *(protobuf_c_boolean *)element = !*(protobuf_c_boolean *)element; break;
  case PROTOBUF_C_TYPE_ENUM:
    *(int *)element = one_in(source, 8) ? (int)other_integer(source, *(int *)element) : (int)random_below(source, 26);
    break;
  case PROTOBUF_C_TYPE_STRING: *(char **)element = other_string(f, *(char **)element); break;
  case PROTOBUF_C_TYPE_BYTES: change_bytes(f, element); break;
  case PROTOBUF_C_TYPE_MESSAGE: break;
  default:
    if (element_size(field) == 4)
      *(int32_t *)element =
          (int32_t)(one_in(source, 2) ? (int64_t)random_below(source, 26) : other_integer(source, *(int32_t *)element));
    else
      *(int64_t *)element = other_integer(source, *(int64_t *)element);
  }
}

/* An element is dropped, doubled, moved, copied over another, or all are dropped. */
static void change_list(forest *f, const leaf *at) {
  random_source *source = f->source;
  size_t *count = count_of(at->owner, at->field), size = element_size(at->field), old = *count;
  uint8_t **elements = member_of(at->owner, at->field);
  uint8_t *copy = pool_alloc(&f->memory, (old + 1) * size);
  if (!copy)
    return;
  if (old > 0)
    memcpy(copy, *elements, old * size);
  *elements = copy;
  size_t i = random_below(source, old), j = random_below(source, old);
  if (old == 0 || one_in(source, 4)) {
    if (old > 0)
      memcpy(copy + old * size, copy + i * size, size);
    else if (at->field->type == PROTOBUF_C_TYPE_MESSAGE)
      return;
    else if (at->field->type == PROTOBUF_C_TYPE_STRING)
      *(char **)(void *)copy = other_string(f, NULL);
    change_element(f, at->field, copy + old * size);
    *count = old + 1;
  } else if (one_in(source, 3)) {
    memmove(copy + i * size, copy + (i + 1) * size, (old - i - 1) * size);
    *count = old - 1;
  } else if (one_in(source, 10)) {
    *count = 0;
  } else {
    uint8_t swap[sizeof(ProtobufCBinaryData)];
    memcpy(swap, copy + i * size, size);
    memcpy(copy + i * size, copy + j * size, size);
    if (one_in(source, 2))
      memcpy(copy + j * size, swap, size);
  }
}

static void change_leaf(forest *f, const leaf *at) {
  const ProtobufCFieldDescriptor *field = at->field;
  void *member = member_of(at->owner, field);
  if (field->label == PROTOBUF_C_LABEL_REPEATED) {
    if (at->whole)
      change_list(f, at);
    else if (at->index < *count_of(at->owner, field)) /* an earlier change may have shortened it */
      change_element(f, field, *(uint8_t **)member + at->index * element_size(field));
    return;
  }
  if (at->whole || (field->type == PROTOBUF_C_TYPE_STRING && one_in(f->source, 8))) {
    *(void **)member = NULL;
    return;
  }
  bool optional = field->label == PROTOBUF_C_LABEL_OPTIONAL && field->type != PROTOBUF_C_TYPE_STRING;
  if (optional && *has_of(at->owner, field) && one_in(f->source, 8)) {
    *has_of(at->owner, field) = 0;
    return;
  }
  change_element(f, field, member);
  if (optional)
    *has_of(at->owner, field) = 1;
}

/* ---- what is known at compile time becomes known at run time ---- */

static void forget_dims(forest *f, Onnx__GraphProto *graph) {
  static char *const names[] = {"s0", "s1", "s2", "s3"};
  for (size_t i = 0; i < graph->n_input; i++) {
    Onnx__TypeProto *type = graph->input[i]->type;
    Onnx__TensorShapeProto *shape = type && type->tensor_type ? type->tensor_type->shape : NULL;
    for (size_t d = 0; shape && d < shape->n_dim; d++)
      if (one_in(f->source, 2)) {
        shape->dim[d]->has_dim_value = 0;
        shape->dim[d]->dim_param = names[random_below(f->source, 4)];
      }
  }
}

/* An initializer becomes an input of its type. */
static void forget_initializer(forest *f, Onnx__GraphProto *graph) {
  if (graph->n_initializer == 0)
    return;
  size_t chosen = random_below(f->source, graph->n_initializer);
  const Onnx__TensorProto *tensor = graph->initializer[chosen];
  Onnx__ValueInfoProto *info = pool_alloc(&f->memory, sizeof *info);
  Onnx__TypeProto *type = pool_alloc(&f->memory, sizeof *type);
  Onnx__TypeProto__Tensor *inner = pool_alloc(&f->memory, sizeof *inner);
  Onnx__TensorShapeProto *shape = pool_alloc(&f->memory, sizeof *shape);
  Onnx__ValueInfoProto **inputs = pool_alloc(&f->memory, (graph->n_input + 1) * sizeof(void *));
  Onnx__TensorShapeProto__Dimension **dims = pool_alloc(&f->memory, (tensor->n_dims + 1) * sizeof(void *));
  if (!info || !type || !inner || !shape || !inputs || !dims)
    return;
  onnx__value_info_proto__init(info);
  onnx__type_proto__init(type);
  onnx__type_proto__tensor__init(inner);
  onnx__tensor_shape_proto__init(shape);
  for (size_t d = 0; d < tensor->n_dims; d++) {
    dims[d] = pool_alloc(&f->memory, sizeof *dims[d]);
    if (!dims[d])
      return;
    onnx__tensor_shape_proto__dimension__init(dims[d]);
    dims[d]->has_dim_value = 1;
    dims[d]->dim_value = tensor->dims[d];
  }
  shape->n_dim = tensor->n_dims;
  shape->dim = dims;
  inner->shape = shape;
  inner->has_elem_type = 1;
  inner->elem_type = tensor->data_type;
  type->tensor_type = inner;
  info->name = tensor->name;
  info->type = type;
  for (size_t i = 0; i < graph->n_input; i++) {
    if (strcmp(graph->input[i]->name ? graph->input[i]->name : "", tensor->name ? tensor->name : "") == 0)
      return;
    inputs[i] = graph->input[i];
  }
  inputs[graph->n_input++] = info;
  graph->input = inputs;
  graph->initializer[chosen] = graph->initializer[--graph->n_initializer];
}

static uint8_t *mutate_fields(const mutable_model *model, random_source *source, size_t *size) {
  forest f = {.source = source};
  ProtobufCAllocator allocator = {pool_alloc, pool_free_one, &f.memory};
  Onnx__ModelProto *message = onnx__model_proto__unpack(&allocator, model->size, model->bytes);
  uint8_t *out = NULL;
  if (message) {
    if (message->graph && one_in(source, 3))
      forget_initializer(&f, message->graph);
    if (message->graph && one_in(source, 3))
      forget_dims(&f, message->graph);
    find_leaves(&f, &message->base, 0);
    for (size_t left = 1 + random_below(source, 3); left > 0 && f.length > 0; left--)
      change_leaf(&f, &f.leaves[random_below(source, f.length)]);
    *size = onnx__model_proto__get_packed_size(message);
    out = malloc(*size ? *size : 1);
    if (out)
      onnx__model_proto__pack(message, out);
  }
  free(f.leaves);
  free(f.strings);
  pool_free(&f.memory);
  return out;
}

uint8_t *mutate(const mutable_model *model, random_source *source, size_t *size) {
  if (!one_in(source, 4)) {
    uint8_t *out = mutate_fields(model, source, size);
    if (out)
      return out;
  }
  return mutate_bytes(model, source, size);
}
