/* graph_lines.h -- a small language for graphs, a line each:
 *
 *     "in x 1 N,3"      input of dtype 1 and these dims      "out y 1 N,3"     output
 *     "init w 3"        f32 initializer [n] of 1, 2, 3, ...  "scalar k 7 5"    initializer [] of dtype 7 or 9
 *     "node Add n x,w y"                                     "call F c x y"    a node of the domain "local"
 *     "if n c y"        an If; lines of its then_branch follow, "else", those of its else_branch, "end"
 */
#ifndef ONNXC_TESTS_GRAPH_LINES_H
#define ONNXC_TESTS_GRAPH_LINES_H

#include "wire.h"

#include <criterion/criterion.h>
#include <stdio.h>

static inline wire_buffer graph_of_lines(const char *const **lines);

static inline void add_subgraph(wire_buffer *node, const char *name, const char *const **lines) {
  wire_buffer attribute = {.size = 0}, graph = graph_of_lines(lines);
  wire_string(&attribute, 1, name);
  wire_message(&attribute, 6, &graph);
  wire_int(&attribute, 20, 5);
  wire_message(node, 5, &attribute);
}

/* The line at *lines, and for "if" those up to its "end". */
static inline void add_lines(wire_buffer *graph, const char *const **lines) {
  char kind[8], a[32], b[32] = "", c[32] = "", d[32] = "";
  const char *line = *(*lines)++;
  cr_assert(sscanf(line, "%7s %31s %31s %31s %31s", kind, a, b, c, d) >= 2, "%s", line);
  if (strcmp(kind, "in") == 0 || strcmp(kind, "out") == 0) {
    wire_buffer value = wire_value(a, atoi(b), strcmp(c, "none") == 0 ? NULL : c);
    wire_message(graph, kind[0] == 'i' ? 11 : 12, &value);
  } else if (strcmp(kind, "init") == 0) {
    int64_t dims[] = {atoi(b)};
    wire_buffer tensor = wire_tensor(a, 1, 1, dims);
    for (int64_t i = 0; i < dims[0]; i++)
      wire_float(&tensor, 4, (float)(i + 1));
    wire_message(graph, 5, &tensor);
  } else if (strcmp(kind, "scalar") == 0) {
    wire_buffer tensor = wire_tensor(a, atoi(b), 0, NULL);
    wire_int(&tensor, strcmp(b, "9") == 0 ? 5 : 7, atoll(c));
    wire_message(graph, 5, &tensor);
  } else if (strcmp(kind, "if") == 0) {
    wire_buffer node = wire_node("If", a, b, c);
    add_subgraph(&node, "then_branch", lines);
    add_subgraph(&node, "else_branch", lines);
    wire_message(graph, 1, &node);
  } else {
    wire_buffer node = wire_node(a, strcmp(b, "-") == 0 ? "" : b, c, d);
    if (strcmp(kind, "call") == 0)
      wire_string(&node, 7, "local");
    wire_message(graph, 1, &node);
  }
}

static inline void add_line(wire_buffer *graph, const char *line) { add_lines(graph, (const char *const *[]){&line}); }

/* Up to "else", "end" or NULL. */
static inline wire_buffer graph_of_lines(const char *const **lines) {
  wire_buffer graph = {.size = 0};
  wire_string(&graph, 2, "g");
  while (**lines && strcmp(**lines, "else") != 0 && strcmp(**lines, "end") != 0)
    add_lines(&graph, lines);
  *lines += **lines != NULL;
  return graph;
}

static inline wire_buffer graph_of(const char *const *lines) { return graph_of_lines(&lines); }

#endif
