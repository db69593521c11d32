/* bad_models.c -- writes models that a compiler must refuse, and one that it must not, to a folder: bad_models DIR. */
#include "frontend/wire.h"

#include <stdio.h>

static const char *directory;

static void write_file(const char *name, const void *bytes, size_t size) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  FILE *file = fopen(path, "wb");
  if (!file || fwrite(bytes, 1, size, file) != size || fclose(file) != 0) {
    perror(path);
    exit(1);
  }
}

static void add_node(wire_buffer *graph, const char *op, const char *name, const char *inputs, const char *outputs) {
  wire_buffer node = wire_node(op, name, inputs, outputs);
  wire_message(graph, 1, &node);
}

static void add_value(wire_buffer *graph, unsigned field, const char *name, const char *dims) {
  wire_buffer value = wire_value(name, 1, dims);
  wire_message(graph, field, &value);
}

static void add_weights(wire_buffer *graph, const char *name, int rank, const int64_t *dims) {
  wire_buffer tensor = wire_tensor(name, 1, rank, dims);
  int64_t count = 1;
  for (int d = 0; d < rank; d++)
    count *= dims[d];
  for (int64_t k = 0; k < count; k++)
    wire_float(&tensor, 4, (float)(k % 5));
  wire_message(graph, 5, &tensor);
}

static void add_external(wire_buffer *graph, const char *name, const char *location) {
  static const int64_t dims[] = {3};
  wire_buffer tensor = wire_tensor(name, 1, 1, dims), entry = {.size = 0};
  wire_string(&entry, 1, "location");
  wire_string(&entry, 2, location);
  wire_message(&tensor, 13, &entry);
  wire_int(&tensor, 14, 1);
  wire_message(graph, 5, &tensor);
}

/* An input x of shape `in`, an output y. */
static wire_buffer new_graph(const char *in, const char *out) {
  wire_buffer graph = {.size = 0};
  wire_string(&graph, 2, "bad");
  add_value(&graph, 11, "x", in);
  add_value(&graph, 12, "y", out);
  return graph;
}

static void write_model(const char *name, const wire_buffer *graph) {
  wire_buffer model = wire_model(graph);
  write_file(name, model.data, model.size);
}

static void write_random(const char *name, uint32_t state, size_t size) {
  unsigned char bytes[1 << 12];
  for (size_t k = 0; k < size; k++) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    bytes[k] = (unsigned char)(state >> 11);
  }
  write_file(name, bytes, size);
}

int main(int argc, char **argv) {
  static const int64_t three[] = {3}, matrix[] = {4, 5}, filter[] = {8, 3, 3};
  if (argc != 2) {
    fprintf(stderr, "usage: %s DIR\n", argv[0]);
    return 2;
  }
  directory = argv[1];

  wire_buffer good = new_graph("N,3", "N,3");
  add_weights(&good, "w", 1, three);
  add_node(&good, "Add", "sum", "x,w", "y");
  write_model("good.onnx", &good);

  wire_buffer unknown = new_graph("2,3", NULL);
  add_node(&unknown, "Frobnicate", "first", "x", "a");
  add_node(&unknown, "Relu", "fine", "a", "b");
  add_node(&unknown, "Transmogrify", "second", "b", "y");
  write_model("unknown.onnx", &unknown);

  wire_buffer cyclic = new_graph("2,3", "2,3");
  add_node(&cyclic, "Add", "forth", "x,b", "y");
  add_node(&cyclic, "Relu", "back", "y", "b");
  write_model("cyclic.onnx", &cyclic);

  wire_buffer dangling = new_graph("2,3", "2,3");
  add_node(&dangling, "Add", "sum", "x,nowhere", "y");
  write_model("dangling.onnx", &dangling);

  wire_buffer external = new_graph("2,3", "2,3");
  add_external(&external, "w", "absent.bin");
  add_node(&external, "Add", "sum", "x,w", "y");
  write_model("external.onnx", &external);

  wire_buffer outside = new_graph("2,3", "2,3");
  add_external(&outside, "w", "../../outside.bin");
  add_node(&outside, "Add", "sum", "x,w", "y");
  write_model("outside.onnx", &outside);

  wire_buffer small = new_graph("2,3", "2,3");
  add_external(&small, "w", "short.bin");
  add_node(&small, "Add", "sum", "x,w", "y");
  write_model("short.onnx", &small);
  write_file("short.bin", "1234567", 7);

  wire_buffer product = new_graph("2,3", NULL);
  add_weights(&product, "w", 2, matrix);
  add_node(&product, "MatMul", "product", "x,w", "y");
  write_model("product.onnx", &product);

  wire_buffer conv = new_graph("1,3,8,8", NULL);
  add_weights(&conv, "w", 3, filter);
  add_node(&conv, "Conv", "conv1", "x,w", "y");
  write_model("conv.onnx", &conv);

  wire_buffer large = new_graph("2147483647,2147483647,2147483647", NULL);
  add_node(&large, "Relu", "huge", "x", "y");
  write_model("large.onnx", &large);

  write_file("empty.onnx", "", 0);
  write_random("random1.onnx", 1, 1 << 12);
  write_random("random2.onnx", 77, 100);
  write_random("random3.onnx", 4711, 3);
  return 0;
}
