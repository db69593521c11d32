/* scan.h -- checks protobuf wire data before protobuf-c sees it, and takes the weights out.
 *
 * protobuf-c trusts its input in ways that matter here: no depth limit, a copy of
 * every byte string, a struct for every two bytes of a hostile file. The scan walks the wire format by protobuf-c's own
 * descriptors, refuses what is malformed, too deep or would unpack to absurd sizes, and writes a second, small
 * message: unknown fields and fields that the compiler never reads are left out, and so is the element data of
 * tensors, of which only the place in the original bytes is kept (a payload).
 */
#ifndef ONNXC_FRONTEND_SCAN_H
#define ONNXC_FRONTEND_SCAN_H

#include "base/arena.h"
#include "base/status.h"

#include <protobuf-c/protobuf-c.h>

/* One length-delimited field of element data. The payloads of a tensor stand together;
 * TensorProto.payload is 1 + the index of its first. */
typedef struct onnxc_payload {
  uint32_t first; /* index of the tensor's first payload */
  uint32_t field; /* field number in TensorProto: 9 = raw_data, 4 = packed float_data, ... */
  size_t offset, size;
} onnxc_payload;

typedef struct onnxc_scan {
  const uint8_t *stripped; /* in the arena */
  size_t stripped_size;
  size_t unpacked_size; /* bound of what unpacking `stripped` allocates */
  ONNXC_VEC(onnxc_payload) payloads;
} onnxc_scan;

/* `bytes` is a message of this type; `kind` names it in messages ("an ONNX model"). */
onnxc_status onnxc_scan_message(onnxc_scan *scan, onnxc_arena *arena, onnxc_diag *diag, const char *kind,
                                const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t size);

/* Scans, then unpacks into the arena; NULL after an error. */
ProtobufCMessage *onnxc_scan_unpack(onnxc_scan *scan, onnxc_arena *arena, onnxc_diag *diag, const char *kind,
                                    const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t size);

/* Reads one varint at *at, which it advances; false when it is truncated or longer than ten bytes. */
bool onnxc_scan_varint(const uint8_t *bytes, size_t end, size_t *at, uint64_t *value);

#endif
