/* npy.h -- NumPy's .npy files, versions 1 and 2, little endian, C order; only what main.c needs.
 *
 * A header of its own functions, so that the executable's command is one unit of bitcode. */
#ifndef ONNXC_RT_ARTEFACT_NPY_H
#define ONNXC_RT_ARTEFACT_NPY_H

#include "onnxc/runtime.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ONNX's number, bytes, NumPy's name. bf16 and the 8-bit floats have none, so they go as raw integers. */
static const struct npy_type {
  int32_t dtype;
  unsigned size;
  char name[4];
} npy_types[] = {{1, 4, "<f4"},  {11, 8, "<f8"}, {10, 2, "<f2"}, {2, 1, "|u1"},  {3, 1, "|i1"},
                 {4, 2, "<u2"},  {5, 2, "<i2"},  {6, 4, "<i4"},  {7, 8, "<i8"},  {9, 1, "|b1"},
                 {12, 4, "<u4"}, {13, 8, "<u8"}, {16, 2, "<u2"}, {17, 1, "|u1"}, {18, 1, "|u1"},
                 {19, 1, "|u1"}, {20, 1, "|u1"}, {21, 1, "|u1"}, {22, 1, "|i1"}};

static const struct npy_type *npy_type(int32_t dtype) {
  for (size_t k = 0; k < sizeof npy_types / sizeof *npy_types; k++)
    if (npy_types[k].dtype == dtype)
      return &npy_types[k];
  return NULL;
}

static size_t npy_element_size(int32_t dtype) {
  const struct npy_type *type = npy_type(dtype);
  return type ? type->size : 1;
}

static const char *npy_parse(const char *header, onnxc_tensor *tensor) {
  const char *descr = strstr(header, "'descr'"), *shape = strstr(header, "'shape'");
  const char *order = strstr(header, "'fortran_order'");
  if (!descr || !shape || !order || !(shape = strchr(shape, '(')) || !(descr = strchr(descr + 7, '\'')))
    return "not a .npy file that we read";
  if (strncmp(order + strcspn(order, ":"), ": True", 6) == 0)
    return "Fortran order is not supported";
  tensor->dtype = 0;
  for (size_t k = 0; k < sizeof npy_types / sizeof *npy_types && !tensor->dtype; k++)
    if (strncmp(descr + 2, npy_types[k].name + 1, 2) == 0 && descr[1] != '>')
      tensor->dtype = npy_types[k].dtype;
  if (!tensor->dtype)
    return "its element type is not supported";
  tensor->rank = 0;
  for (shape++; *shape && *shape != ')';) {
    char *end = NULL;
    long long dim = strtoll(shape, &end, 10);
    if (end == shape || dim < 0 || tensor->rank == ONNXC_MAX_RANK)
      return "its shape is not supported";
    tensor->dims[tensor->rank++] = dim;
    shape = end + strspn(end, ", ");
  }
  return NULL;
}

static const char *npy_read_data(FILE *file, onnxc_tensor *tensor, onnxc_allocate allocate) {
  size_t size = npy_element_size(tensor->dtype);
  for (int32_t d = 0; d < tensor->rank; d++)
    if (__builtin_mul_overflow(size, (size_t)tensor->dims[d], &size))
      return "it is too large";
  tensor->data = allocate(NULL, size, 0);
  if (!tensor->data)
    return "no memory for it";
  return fread(tensor->data, 1, size, file) == size ? NULL : "it is cut short";
}

static const char *npy_read_file(FILE *file, onnxc_tensor *tensor, onnxc_allocate allocate) {
  enum { MAX_HEADER = 1 << 14 };
  unsigned char start[12];
  char header[MAX_HEADER + 1];
  if (fread(start, 1, 10, file) != 10 || memcmp(start, "\x93NUMPY", 6) != 0)
    return "not a .npy file";
  size_t length = start[8] | (size_t)start[9] << 8;
  if (start[6] > 1) {
    if (fread(start + 10, 1, 2, file) != 2)
      return "it is cut short";
    length |= (size_t)start[10] << 16 | (size_t)start[11] << 24;
  }
  if (length > MAX_HEADER || fread(header, 1, length, file) != length)
    return "its header is cut short";
  header[length] = '\0';
  const char *error = npy_parse(header, tensor);
  return error ? error : npy_read_data(file, tensor, allocate);
}

/* NULL, or what is wrong. */
static const char *npy_read(const char *path, onnxc_tensor *tensor, onnxc_allocate allocate) {
  FILE *file = fopen(path, "rb");
  if (!file)
    return "cannot open it";
  const char *error = npy_read_file(file, tensor, allocate);
  fclose(file);
  return error;
}

static const char *npy_write(const char *path, const onnxc_tensor *tensor) {
  enum { ALIGN_HEADER = 64 };
  const struct npy_type *type = npy_type(tensor->dtype);
  if (!type)
    return "its element type has no .npy form";
  char header[512];
  int used =
      snprintf(header + 10, sizeof header - 10, "{'descr': '%s', 'fortran_order': False, 'shape': (", type->name) + 10;
  size_t size = type->size;
  for (int32_t d = 0; d < tensor->rank; d++) {
    used += snprintf(header + used, sizeof header - (size_t)used, "%lld,%s", (long long)tensor->dims[d],
                     d + 1 < tensor->rank ? " " : "");
    size *= (size_t)tensor->dims[d];
  }
  used += snprintf(header + used, sizeof header - (size_t)used, "), }");
  while ((used + 1) % ALIGN_HEADER)
    header[used++] = ' ';
  header[used++] = '\n';
  static const char magic[8] = {'\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0};
  memcpy(header, magic, sizeof magic);
  header[8] = (char)((used - 10) & 255);
  header[9] = (char)((used - 10) >> 8);
  FILE *file = fopen(path, "wb");
  if (!file)
    return "cannot write it";
  bool written = fwrite(header, 1, (size_t)used, file) == (size_t)used && fwrite(tensor->data, 1, size, file) == size;
  return fclose(file) == 0 && written ? NULL : "cannot write it";
}

#endif
