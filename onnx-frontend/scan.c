/* scan.c -- see scan.h.
 *
 * Two walks over the bytes: the first checks everything and counts the size of the stripped message, the second
 * writes it; both are one function, which writes when walk->out is set. Lengths of
 * submessages are written as varints of five bytes, so that they can be filled in afterwards and the first walk knows
 * their size.
 */
#include "scan.h"

#include "onnx.pb-c.h"

#include <string.h>

enum {
  MAX_DEPTH = 96,        /* nested messages; a subgraph takes three levels */
  LENGTH_BYTES = 5,      /* of a submessage's padded length */
  PAYLOAD_FIELD = 1000,  /* TensorProto.payload */
  PAYLOAD_BYTES = 2 + 4, /* its tag and value */
  ALLOCATION = 16,       /* slack of one arena allocation */
  MEMBER_BYTES = 2 * 64, /* protobuf-c's bookkeeping for a field of a message with many, at worst */
  MEMBERS_ON_STACK = 16, /* it needs none for the first ones */
  FIRST_SLAB = 32 * 64   /* and room for many when they are used up */
};

/* What unpacking may take: this much, and this many times the stripped message. */
static const size_t unpacked_base = (size_t)64 << 20;
static const size_t unpacked_factor = 24;

typedef enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 } wire;

typedef struct walker {
  onnxc_scan *scan;
  onnxc_arena *arena;
  onnxc_diag *diag;
  const char *kind;
  const uint8_t *bytes;
  uint8_t *out;  /* NULL in the first walk */
  size_t length; /* bytes written, or that would be */
  size_t unpacked;
} walker;

bool onnxc_scan_varint(const uint8_t *bytes, size_t end, size_t *at, uint64_t *value) {
  uint64_t result = 0;
  for (unsigned shift = 0; shift < 70; shift += 7) {
    if (*at >= end)
      return false;
    uint8_t byte = bytes[(*at)++];
    if (shift < 64)
      result |= (uint64_t)(byte & 0x7f) << shift;
    if (!(byte & 0x80)) {
      *value = result;
      return true;
    }
  }
  return false;
}

static void put(walker *walk, const uint8_t *bytes, size_t size) {
  if (walk->out)
    memcpy(walk->out + walk->length, bytes, size);
  walk->length += size;
}

static onnxc_status bad(walker *walk, size_t at, const char *what, const ProtobufCMessageDescriptor *in,
                        const char *field) {
  return onnxc_error(walk->diag, ONNXC_BAD_INPUT, "not %s: byte %zu: %s (in %s%s%s)", walk->kind, at, what,
                     in->short_name, field ? "." : "", field ? field : "");
}

/* Fields of the format that nothing here reads. */
static bool is_ignored(const ProtobufCFieldDescriptor *field) {
  static const char *const names[] = {"doc_string", "metadata_props",       "training_info",
                                      "value_info", "configuration",        "quantization_annotation",
                                      "denotation", "device_configurations"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (strcmp(field->name, names[i]) == 0)
      return true;
  return false;
}

/* Element data of a tensor: left where it is. */
static bool is_payload(const ProtobufCMessageDescriptor *in, const ProtobufCFieldDescriptor *field) {
  if (in != &onnx__tensor_proto__descriptor)
    return false;
  switch (field->id) {
  case 4:
  case 5:
  case 7:
  case 9:
  case 10:
  case 11: return true;
  default: return false;
  }
}

static wire wire_of(const ProtobufCFieldDescriptor *field) {
  switch (field->type) {
  case PROTOBUF_C_TYPE_STRING:
  case PROTOBUF_C_TYPE_BYTES:
  case PROTOBUF_C_TYPE_MESSAGE: return WIRE_BYTES;
  case PROTOBUF_C_TYPE_FLOAT:
  case PROTOBUF_C_TYPE_FIXED32:
  case PROTOBUF_C_TYPE_SFIXED32: return WIRE_32;
  case PROTOBUF_C_TYPE_DOUBLE:
  case PROTOBUF_C_TYPE_FIXED64:
  case PROTOBUF_C_TYPE_SFIXED64: return WIRE_64;
  default: return WIRE_VARINT;
  }
}

static size_t unpacked_element(const ProtobufCFieldDescriptor *field) {
  switch (field->type) {
  case PROTOBUF_C_TYPE_MESSAGE:
  case PROTOBUF_C_TYPE_STRING: return sizeof(void *);
  case PROTOBUF_C_TYPE_BYTES: return sizeof(ProtobufCBinaryData);
  default: return 8;
  }
}

/* Elements of a packed field; false when the last one is cut off. */
static bool count_packed(walker *walk, const ProtobufCFieldDescriptor *field, size_t at, size_t end, size_t *count) {
  wire element = wire_of(field);
  *count = 0;
  if (element != WIRE_VARINT) {
    size_t bytes = element == WIRE_32 ? 4 : 8;
    *count = (end - at) / bytes;
    return (end - at) % bytes == 0;
  }
  for (uint64_t value; at < end; ++*count)
    if (!onnxc_scan_varint(walk->bytes, end, &at, &value))
      return false;
  return true;
}

static onnxc_status walk_message(walker *walk, const ProtobufCMessageDescriptor *in, size_t at, size_t end, int depth);

/* One field of length-delimited wire type whose contents are [at, end). */
static onnxc_status walk_bytes(walker *walk, const ProtobufCMessageDescriptor *in,
                               const ProtobufCFieldDescriptor *field, size_t start, size_t at, size_t end, int depth) {
  size_t size = end - at;
  if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
    uint8_t tag[10];
    size_t tag_size = 0;
    for (uint64_t rest = (uint64_t)field->id << 3 | WIRE_BYTES; rest || !tag_size; rest >>= 7)
      tag[tag_size++] = (uint8_t)((rest & 0x7f) | (rest >> 7 ? 0x80 : 0));
    put(walk, tag, tag_size);
    size_t hole = walk->length;
    walk->length += LENGTH_BYTES;
    ONNXC_TRY(walk_message(walk, field->descriptor, at, end, depth + 1));
    if (walk->out) {
      uint64_t length = walk->length - hole - LENGTH_BYTES;
      for (int i = 0; i < LENGTH_BYTES; i++)
        walk->out[hole + (size_t)i] = (uint8_t)((length >> (7 * i) & 0x7f) | (i + 1 < LENGTH_BYTES ? 0x80 : 0));
    }
    return ONNXC_OK;
  }
  if (size > INT32_MAX)
    return bad(walk, start, "a field of more than 2^31 - 1 bytes", in, field->name);
  if (field->type == PROTOBUF_C_TYPE_STRING && memchr(walk->bytes + at, 0, size))
    return bad(walk, start, "a NUL character in a name", in, field->name);
  if (field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_BYTES) {
    walk->unpacked += size + 1 + ALLOCATION;
  } else {
    size_t count;
    if (!count_packed(walk, field, at, end, &count))
      return bad(walk, start, "packed elements end in the middle of one", in, field->name);
    walk->unpacked += count * 8 + ALLOCATION;
  }
  put(walk, walk->bytes + start, end - start);
  return ONNXC_OK;
}

static onnxc_status walk_message(walker *walk, const ProtobufCMessageDescriptor *in, size_t at, size_t end, int depth) {
  uint64_t seen = 0; /* singular fields, by their position in the descriptor */
  size_t members = 0;
  uint32_t payload = UINT32_MAX; /* first of this tensor */
  bool has_payload = false;
  if (depth > MAX_DEPTH)
    return bad(walk, at, "messages nested too deeply", in, NULL);
  walk->unpacked += in->sizeof_message + ALLOCATION;
  while (at < end) {
    size_t start = at, next;
    uint64_t tag, value;
    if (!onnxc_scan_varint(walk->bytes, end, &at, &tag))
      return bad(walk, start, "a field's tag is cut off", in, NULL);
    if (tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
      return bad(walk, start, "a field number out of range", in, NULL);
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(in, (unsigned)(tag >> 3));
    const char *name = field ? field->name : NULL;
    unsigned type = (unsigned)(tag & 7);
    size_t contents = at;
    switch (type) {
    case WIRE_VARINT:
      if (!onnxc_scan_varint(walk->bytes, end, &at, &value))
        return bad(walk, start, "a number is cut off or too long", in, name);
      next = at;
      break;
    case WIRE_BYTES:
      if (!onnxc_scan_varint(walk->bytes, end, &at, &value))
        return bad(walk, start, "a length is cut off or too long", in, name);
      if (value > end - at)
        return bad(walk, start, "a field reaches beyond the end; is the file truncated?", in, name);
      contents = at;
      next = at + (size_t)value;
      break;
    case WIRE_32:
    case WIRE_64:
      value = type == WIRE_32 ? 4 : 8;
      if (value > end - at)
        return bad(walk, start, "a number is cut off", in, name);
      next = at + (size_t)value;
      break;
    default: return bad(walk, start, "an unknown wire type", in, name);
    }
    at = next;
    if (!field || field->id == PAYLOAD_FIELD || is_ignored(field))
      continue;
    bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
    if (type != (unsigned)wire_of(field) && !(repeated && type == WIRE_BYTES && wire_of(field) != WIRE_BYTES))
      return bad(walk, start, "a field of the wrong wire type", in, name);
    if (!repeated) {
      uint64_t bit = (uint64_t)1 << (field - in->fields);
      if (field->type == PROTOBUF_C_TYPE_MESSAGE && (seen & bit))
        return bad(walk, start, "a field that may occur once occurs again", in, name);
      seen |= bit;
    }
    if (type == WIRE_BYTES && is_payload(in, field)) {
      if (walk->out) {
        onnxc_scan *scan = walk->scan;
        if (payload == UINT32_MAX)
          payload = scan->payloads.length;
        onnxc_payload item = {payload, field->id, contents, next - contents};
        ONNXC_PUSH(walk->arena, scan->payloads, item);
      }
      has_payload = true;
      continue;
    }
    members++;
    walk->unpacked += repeated ? unpacked_element(field) + (members == 1 ? ALLOCATION : 0) : 0;
    walk->unpacked += members > MEMBERS_ON_STACK ? MEMBER_BYTES : 0;
    walk->unpacked += members == MEMBERS_ON_STACK + 1 ? FIRST_SLAB : 0;
    if (type == WIRE_BYTES)
      ONNXC_TRY(walk_bytes(walk, in, field, start, contents, next, depth));
    else
      put(walk, walk->bytes + start, next - start);
  }
  if (has_payload) {
    uint32_t index = payload + 1; /* meaningless in the first walk, which writes nothing */
    uint8_t entry[PAYLOAD_BYTES] = {0xc5,
                                    0x3e,
                                    (uint8_t)index,
                                    (uint8_t)(index >> 8),
                                    (uint8_t)(index >> 16),
                                    (uint8_t)(index >> 24)}; /* the tag of field 1000, 32 bits wide */
    put(walk, entry, sizeof entry);
  }
  walk->unpacked += (size_t)in->n_fields * ALLOCATION; /* the array of each repeated field */
  return ONNXC_OK;
}

onnxc_status onnxc_scan_message(onnxc_scan *scan, onnxc_arena *arena, onnxc_diag *diag, const char *kind,
                                const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t size) {
  memset(scan, 0, sizeof *scan);
  if (size == 0)
    return onnxc_error(diag, ONNXC_BAD_INPUT, "not %s: the file is empty", kind);
  walker walk = {.scan = scan, .arena = arena, .diag = diag, .kind = kind, .bytes = bytes};
  ONNXC_TRY(walk_message(&walk, descriptor, 0, size, 0));
  if (walk.length > INT32_MAX || walk.unpacked > unpacked_base + unpacked_factor * walk.length)
    return onnxc_error(diag, ONNXC_BAD_INPUT, "not %s: %zu bytes would unpack to %zu", kind, walk.length,
                       walk.unpacked);
  scan->unpacked_size = walk.unpacked;
  scan->stripped_size = walk.length;
  uint8_t *out = onnxc_arena_alloc(arena, walk.length);
  walk.out = out;
  walk.length = 0;
  ONNXC_TRY(walk_message(&walk, descriptor, 0, size, 0));
  scan->stripped = out;
  return ONNXC_OK;
}

/* ---- unpacking ---- */

typedef struct unpack_memory {
  onnxc_arena *arena;
  size_t left; /* of what the scan foresaw */
  bool exhausted;
} unpack_memory;

static void *unpack_alloc(void *data, size_t size) {
  unpack_memory *memory = data;
  if (size > memory->left)
    return NULL;
  memory->left -= size;
  void *result = onnxc_arena_try_alloc(memory->arena, size);
  memory->exhausted |= !result;
  return result;
}

static void unpack_free(void *data, void *memory) { (void)data, (void)memory; }

ProtobufCMessage *onnxc_scan_unpack(onnxc_scan *scan, onnxc_arena *arena, onnxc_diag *diag, const char *kind,
                                    const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t size) {
  if (onnxc_scan_message(scan, arena, diag, kind, descriptor, bytes, size) != ONNXC_OK)
    return NULL;
  unpack_memory memory = {arena, scan->unpacked_size, false};
  ProtobufCAllocator allocator = {unpack_alloc, unpack_free, &memory};
  ProtobufCMessage *message = protobuf_c_message_unpack(descriptor, &allocator, scan->stripped_size, scan->stripped);
  if (memory.exhausted)
    onnxc_arena_out_of_memory(arena);
  if (!message)
    onnxc_error(diag, ONNXC_BAD_INPUT, "not %s: malformed protobuf data", kind);
  return message;
}
