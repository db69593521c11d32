/* npy.c -- NumPy's .npy files, versions 1 to 3, little endian, C order.
 *
 * A file is "\x93NUMPY", a version, the length of a header, and the header: a Python dict with descr, fortran_order
 * and shape.
 */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct {
  const char *descr;
  onnxc_dtype dtype;
} types[] = {
    {"<f4", ONNXC_F32},  {"<f8", ONNXC_F64},  {"<f2", ONNXC_F16}, {"|i1", ONNXC_I8},
    {"|u1", ONNXC_U8},   {"<i2", ONNXC_I16},  {"<u2", ONNXC_U16}, {"<i4", ONNXC_I32},
    {"<u4", ONNXC_U32},  {"<i8", ONNXC_I64},  {"<u8", ONNXC_U64}, {"|b1", ONNXC_BOOL},
    {"<V2", ONNXC_BF16}, {"|V2", ONNXC_BF16}, {"<i1", ONNXC_I8},  {"<u1", ONNXC_U8},
};
enum { NUM_TYPES = sizeof types / sizeof types[0], ALIGNMENT = 64 };

void *cli_read_file(onnxc_arena *arena, const char *path, size_t *size, const char **error) {
  struct stat info;
  *size = 0;
  if (stat(path, &info) != 0) {
    *error = strerror(errno);
    return NULL;
  }
  if (!S_ISREG(info.st_mode)) {
    *error = "not a regular file";
    return NULL;
  }
  char *bytes = onnxc_arena_alloc(arena, (size_t)info.st_size + 1); /* NUL terminated, for text */
  FILE *file = fopen(path, "rb");
  if (!file) {
    *error = strerror(errno);
    return NULL;
  }
  *size = fread(bytes, 1, (size_t)info.st_size, file);
  fclose(file);
  if (*size != (size_t)info.st_size) {
    *error = "cannot read it";
    return NULL;
  }
  return bytes;
}

/* The text after 'key': in the header. */
static const char *find_key(const char *header, const char *key) {
  char quoted[32];
  snprintf(quoted, sizeof quoted, "'%s'", key);
  const char *at = strstr(header, quoted);
  if (!at)
    return NULL;
  at += strlen(quoted);
  at += strspn(at, " :");
  return at;
}

static const char *parse_header(const char *header, onnxc_dtype want, onnxc_tensor *tensor) {
  const char *descr = find_key(header, "descr"), *order = find_key(header, "fortran_order"),
             *shape = find_key(header, "shape");
  if (!descr || !order || !shape || *shape != '(' || (*descr != '\'' && *descr != '"'))
    return "its header is malformed";
  tensor->dtype = 0;
  for (size_t i = 0; i < NUM_TYPES; i++)
    if (strncmp(descr + 1, types[i].descr, 3) == 0 && (descr[4] == '\'' || descr[4] == '"'))
      tensor->dtype = (int32_t)types[i].dtype;
  if (!tensor->dtype)
    return "its element type is not supported";
  if (want && tensor->dtype != (int32_t)want && !onnxc_dtype_is_signed((onnxc_dtype)tensor->dtype) &&
      onnxc_dtype_bytes(want) == onnxc_dtype_bytes((onnxc_dtype)tensor->dtype) &&
      (onnxc_dtype_is_int((onnxc_dtype)tensor->dtype) || tensor->dtype == ONNXC_BF16) &&
      (want >= ONNXC_BF16 || want == ONNXC_F16))
    tensor->dtype = (int32_t)want; /* bits of a type that NumPy has no name for */
  if (strncmp(order, "False", 5) != 0)
    return "it is in Fortran order";
  tensor->rank = 0;
  for (shape++; *shape && *shape != ')';) {
    char *end;
    errno = 0;
    long long dim = strtoll(shape, &end, 10);
    if (end == shape || dim < 0 || errno)
      return "its shape is malformed";
    if (tensor->rank == ONNXC_MAX_RANK)
      return "its rank is too high";
    tensor->dims[tensor->rank++] = dim;
    shape = end + strspn(end, ", ");
  }
  return *shape ? NULL : "its shape is malformed";
}

const char *cli_read_npy(onnxc_arena *arena, const char *path, onnxc_dtype want, onnxc_tensor *tensor) {
  const char *error = NULL;
  size_t size, length, start;
  unsigned char *bytes = cli_read_file(arena, path, &size, &error);
  if (!bytes)
    return error;
  if (size < 12 || memcmp(bytes, "\x93NUMPY", 6) != 0)
    return "it is not a .npy file";
  if (bytes[6] == 1) {
    length = (size_t)bytes[8] | (size_t)bytes[9] << 8;
    start = 10;
  } else if (bytes[6] == 2 || bytes[6] == 3) {
    length = (size_t)bytes[8] | (size_t)bytes[9] << 8 | (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    start = 12;
  } else {
    return "its version is not supported";
  }
  if (length > size - start)
    return "its header is cut off";
  const char *header = onnxc_arena_copy_string(arena, (const char *)bytes + start, length);
  error = parse_header(header, want, tensor);
  if (error)
    return error;
  int64_t count = cli_tensor_count(tensor);
  size_t element = onnxc_dtype_bytes((onnxc_dtype)tensor->dtype), have = size - start - length;
  if (count < 0 || (uint64_t)count > have / element || (size_t)count * element != have)
    return "its size does not fit its shape";
  /* The data may start anywhere in the file: a copy is aligned. */
  tensor->data = onnxc_arena_alloc(arena, have ? have : 1);
  memcpy(tensor->data, bytes + start + length, have);
  return NULL;
}

const char *cli_write_npy(const char *path, const onnxc_tensor *tensor) {
  const char *descr = NULL;
  size_t element = onnxc_dtype_bytes((onnxc_dtype)tensor->dtype);
  for (size_t i = NUM_TYPES; i-- > 0;)
    if ((int32_t)types[i].dtype == tensor->dtype && types[i].dtype != ONNXC_BF16)
      descr = types[i].descr;
  if (!descr)
    descr = element == 2 ? "<u2" : "|u1";
  char shape[256] = "", header[512];
  int used = 0;
  for (int32_t d = 0; d < tensor->rank; d++)
    used += snprintf(shape + used, sizeof shape - (size_t)used, "%lld%s", (long long)tensor->dims[d],
                     d + 1 < tensor->rank ? ", "
                     : tensor->rank == 1  ? ","
                                          : "");
  int length =
      snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, shape);
  size_t padded = ((size_t)length + 1 + 10 + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT - 10;
  unsigned char start[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)padded, (unsigned char)(padded >> 8)};
  FILE *file = fopen(path, "wb");
  if (!file)
    return strerror(errno);
  fwrite(start, 1, sizeof start, file);
  fprintf(file, "%-*s\n", (int)padded - 1, header);
  fwrite(tensor->data, 1, cli_tensor_bytes(tensor), file);
  bool failed = ferror(file) != 0;
  failed |= fclose(file) != 0;
  return failed ? "cannot write it" : NULL;
}
