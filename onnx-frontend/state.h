/* state.h -- what the parts of the importer share: scopes, names, options. Operators' importers use import.h only. */
#ifndef ONNXC_FRONTEND_STATE_H
#define ONNXC_FRONTEND_STATE_H

#include "import.h"
#include "load.h"

enum {
  ONNXC_MAX_CALL_DEPTH = 64,  /* functions and subgraphs in each other */
  ONNXC_MAX_INLINED = 200000, /* nodes and names that calls and subgraphs may add, in all */
  ONNXC_MAX_SYMBOLIC = 4096,  /* symbolic dims of inputs */
  ONNXC_MAX_REPORTED = 200    /* errors, after which import gives up */
};

/* A name in a scope. It is bound to a value by the scope's inputs, by the node that writes it, or (an initializer) when
 * it is first read. */
typedef struct onnxc_name {
  struct onnxc_name *next; /* of the same hash bucket */
  const char *text;
  onnxc_value value; /* none = not bound (yet), or an optional input left out */
  const Onnx__TensorProto *initializer;
  size_t writer; /* 1 + index of the node that writes it; 0 = none */
  bool is_input; /* of the graph or function */
  bool failed;   /* an error has been reported for it, so its readers keep silent */
} onnxc_name;

/* What a node reads in its scope: its inputs, and what its subgraphs capture. */
typedef struct onnxc_reads {
  char **names;
  size_t count;
} onnxc_reads;

/* The nodes of a graph, of a subgraph or of one call of a function, with their names. */
typedef struct onnxc_scope {
  struct onnxc_scope *parent;  /* the caller's; NULL for the model's graph and the subgraphs in it */
  const Onnx__NodeProto *call; /* the calling node, of parent */
  const Onnx__FunctionProto *function;
  const char *prefix; /* "" or "call/": before the names of nodes in messages */
  int depth;
  Onnx__NodeProto **nodes;
  size_t num_nodes;
  onnxc_reads *reads; /* one a node, once it is declared */
  Onnx__OperatorSetIdProto **opsets;
  size_t num_opsets;
  onnxc_name **buckets;
  size_t num_buckets; /* a power of two */
} onnxc_scope;

typedef struct onnxc_import_state {
  onnxc_onnx_file *file;
  onnxc_graph *graph;
  const onnxc_import_options *options; /* never NULL */
  onnxc_scope *scope;                  /* of the node being imported */
  size_t inlined;                      /* nodes and names added by calls so far */
  size_t *functions, function_slots;   /* hash table: 1 + index of a function; see functions.c */
  ONNXC_VEC(uint8_t) named;            /* by value: 1 + depth of the scope that named it, 0 = none */
} onnxc_import_state;

/* ---- names.c ---- */

/* Prepares the table for about `expected` names. */
void onnxc_scope_init(onnxc_scope *scope, onnxc_arena *arena, size_t expected);
onnxc_name *onnxc_scope_find(const onnxc_scope *scope, const char *text); /* NULL if there is none */
/* Finds or adds. */
onnxc_name *onnxc_scope_name(onnxc_scope *scope, onnxc_arena *arena, const char *text);
/* Declares what the nodes write and checks what they read. */
onnxc_status onnxc_scope_declare(onnxc_import_state *state, onnxc_scope *scope);
/* The version of a domain that the scope imports; -1 if it does not. */
int64_t onnxc_scope_opset(const onnxc_scope *scope, const char *domain);
/* "node 'conv1' (Conv-11)", in the graph's arena. */
const char *onnxc_scope_where(onnxc_import_state *state, const onnxc_scope *scope, const Onnx__NodeProto *node);
/* An attribute of a node, references to those of enclosing functions resolved; NULL when absent. */
const Onnx__AttributeProto *onnxc_scope_attribute(const onnxc_scope *scope, const Onnx__NodeProto *node,
                                                  const char *name);

/* ---- order.c ---- */

/* The nodes that the named outputs need, in an order in which writers precede readers and that is the file's where
 * that will do. *order is in the graph's arena. A cycle, needed or not, is an error. */
onnxc_status onnxc_scope_order(onnxc_import_state *state, onnxc_scope *scope, char *const *outputs, size_t num_outputs,
                               size_t **order, size_t *length);

/* ---- subgraph.c ---- */

bool onnxc_has_subgraph(const Onnx__NodeProto *node);
/* Fills in scope->reads. */
onnxc_status onnxc_scope_find_reads(onnxc_import_state *state, onnxc_scope *scope);

/* A graph that is an attribute of a node, its names declared and those from outside bound. */
typedef struct onnxc_subgraph {
  const Onnx__GraphProto *graph;
  onnxc_scope *scope;
} onnxc_subgraph;

/* One without inputs and with as many outputs as the node has. Adds nothing to the graph but constants from outside. */
onnxc_status onnxc_import_open_subgraph(onnxc_importer *in, const char *attribute, onnxc_subgraph *subgraph);
/* Its nodes; results[k] is output k. A second time needs it opened again. */
onnxc_status onnxc_import_subgraph(onnxc_importer *in, const onnxc_subgraph *subgraph, onnxc_value *results);

/* ---- inputs.c ---- */

/* Adds the graph's inputs, with symbols for dims that are not numbers. */
onnxc_status onnxc_import_graph_inputs(onnxc_import_state *state, onnxc_scope *scope);
/* Dtype and rank of a computed output against its declaration. */
onnxc_status onnxc_import_check_output(onnxc_import_state *state, const Onnx__ValueInfoProto *output,
                                       onnxc_value value);

/* ---- functions.c ---- */

void onnxc_import_index_functions(onnxc_import_state *state);
/* The model's function that a node calls, or NULL. */
const Onnx__FunctionProto *onnxc_import_function(const onnxc_import_state *state, const Onnx__NodeProto *node);
/* Reports every unsupported operator among the nodes and in the functions that they call. */
onnxc_status onnxc_import_check_operators(onnxc_import_state *state, onnxc_scope *scope, const size_t *order,
                                          size_t length);
/* Imports the body of the function that in->proto calls. */
onnxc_status onnxc_import_call(onnxc_importer *in, const Onnx__FunctionProto *function);

/* ---- import.c ---- */

/* The nodes of a scope, in order. Nodes that read what failed are passed over. */
onnxc_status onnxc_import_nodes(onnxc_import_state *state, onnxc_scope *scope, const size_t *order, size_t length);
/* Declares a graph's initializers. */
onnxc_status onnxc_scope_declare_initializers(onnxc_import_state *state, onnxc_scope *scope,
                                              const Onnx__GraphProto *graph);
/* The value of a name, an initializer decoded; none after an error (of which readers say nothing). */
onnxc_value onnxc_import_name_value(onnxc_import_state *state, const onnxc_scope *scope, onnxc_name *name);
/* Gives a value the name that a scope knows it by, unless an outer scope named it already. */
void onnxc_import_name_it(onnxc_import_state *state, const onnxc_scope *scope, onnxc_value value, const char *name);
/* A decoded tensor as a constant of the graph; none after an error. */
onnxc_value onnxc_import_constant(onnxc_import_state *state, const char *name, const onnxc_array *array,
                                  const char *what);

#endif
