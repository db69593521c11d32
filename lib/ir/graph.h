/* graph.h -- the tensor graph: what every front end writes and every pass reads and writes.
 *
 * SSA over tensors. Flat arrays indexed by 32-bit handles, all in the graph's
 * arena; nothing is freed singly. Values and nodes are appended and never move
 * by handle (their arrays may grow, so keep handles, not pointers). Handle 0 is
 * "none". `order` is the program: a topological order of the live nodes; a pass
 * that drops or inserts nodes rebuilds it.
 *
 * Invariants, all checked by onnxc_graph_verify() (verify.h):
 *   G1  each value is written by one output slot of one node, or is a graph input
 *   G2  a producer comes before its users in order
 *   G3  operand and result counts agree with the node's row in ops.def
 *   G4  every value has a dtype, a rank <= ONNXC_MAX_RANK and dims that are neither none nor negative numbers
 *   G5  a compute is well typed: see onnxc_compute
 *   G6  graph inputs and outputs have the default layout; only relayout (and a compute, contraction or
 *       concat that stores) gives a value another one; a reshape may be a view of such
 *   G7  a node reads only what runs wherever it does: see onnxc_branch
 */
#ifndef ONNXC_IR_GRAPH_H
#define ONNXC_IR_GRAPH_H

#include "base/status.h"
#include "ir/expr.h"
#include "ir/layout.h"

typedef struct onnxc_value {
  uint32_t i; /* 0 = none */
} onnxc_value;
typedef struct onnxc_node {
  uint32_t i; /* 0 = none */
} onnxc_node;

typedef struct onnxc_branch {
  uint32_t i; /* 0 = always */
} onnxc_branch;

typedef enum onnxc_op {
  ONNXC_OP_NONE = 0,
#define X(NAME, text, min_inputs, max_inputs, outputs) ONNXC_OP_##NAME,
#include "ir/ops.def"
#undef X
  ONNXC_OP_COUNT
} onnxc_op;

/* ---- compute, the heart ----
 *
 * For every point of the parallel space i0..i(p-1) and each result j:
 *
 *     no reduction (num_reduce == 0):   out_j[i..] = finish_j(i..)
 *     otherwise:
 *         acc_j = init_j(i..)
 *         for r0, r1, .. in row-major order:
 *             val_j = element_j(i.., r..)         for all j, before any acc changes
 *             acc_j = combine_j(acc_0.., val_0..) for all j at once
 *         out_j[i..] = finish_j(i.., acc_0..)
 *
 * The indices are numbered 0..p-1 for i, p.. for r, in INDEX expressions. A
 * result has rank p and extents[0..p-1] as its dims, element [i0..] at index
 * i0... finish may load operands (an epilogue: bias, residual) and see all
 * accumulators; init may load operands. combine sees only ACC, VAL and
 * constants. When combine_j is `op(acc_j, val_j)` with op one of add, mul,
 * min, max, and, or, xor the order of the reduction is free (but fixed for a
 * compiled program); any other combine runs in row-major order of r.
 *
 * Loads outside the logical range are allowed only into a halo or block tail
 * of the operand's layout, where they read zero; anything else is a bug, so
 * guard it by a select (which is lazy).
 *
 * Typing: element_j and init_j have acc_dtype[j]; combine_j too; finish_j has the
 * dtype of result j.
 *
 * Roles: recognise fills `contraction` for computes that are sums of products
 * a*b; the roles say what each index is. See onnxc_role.
 */
enum { ONNXC_MAX_INDICES = 16, ONNXC_MAX_RESULTS = 4 };

typedef enum onnxc_role {
  ONNXC_ROLE_NONE = 0,
  ONNXC_ROLE_BATCH, /* in A, B and C (batch, group, depthwise channel) */
  ONNXC_ROLE_M,     /* in A and C (rows; spatial positions of a convolution) */
  ONNXC_ROLE_N,     /* in B and C (columns; output channels) */
  ONNXC_ROLE_K,     /* in A and B, reduced, in its dim of A alone or with a batch index */
  ONNXC_ROLE_WINDOW /* in A and B, reduced, added to an m index in A */
} onnxc_role;

typedef struct onnxc_contraction {
  bool valid;
  uint32_t a, b;                   /* operand numbers of the factors (b: the weights) */
  uint8_t role[ONNXC_MAX_INDICES]; /* onnxc_role of each index */
} onnxc_contraction;

typedef struct onnxc_compute {
  uint32_t num_parallel, num_reduce, num_results;
  onnxc_dim extents[ONNXC_MAX_INDICES]; /* parallel, then reduction */
  onnxc_dtype acc_dtype[ONNXC_MAX_RESULTS];
  onnxc_expr init[ONNXC_MAX_RESULTS]; /* none when there is no reduction */
  onnxc_expr element[ONNXC_MAX_RESULTS];
  onnxc_expr combine[ONNXC_MAX_RESULTS];
  onnxc_expr finish[ONNXC_MAX_RESULTS];
  onnxc_contraction contraction;
  uint32_t row_group; /* computes of one number (not 0), consecutive in order, run by blocks of rows in one stage:
                         they share parallel indices 0..row_rank-1, intermediates stay in scratch */
  uint32_t row_rank;
} onnxc_compute;

/* The operator op for combine_j == op(acc_j, val_j) of the named kinds above, else NONE. */
onnxc_expr_op onnxc_compute_combiner(const onnxc_exprs *pool, const onnxc_compute *compute, uint32_t j);

/* ---- values and nodes ---- */

typedef struct onnxc_value_info {
  const char *name; /* as the front end spelled it, any characters; may be NULL */
  onnxc_dtype dtype;
  uint32_t rank;
  onnxc_dim *dims;
  onnxc_layout layout;
  onnxc_node producer;       /* none for graph inputs */
  uint32_t slot;             /* output number of the producer, or graph input number */
  const void *data;          /* constants: in the layout; borrowed (arena or mapped file), at any address */
  size_t data_size;          /* bytes */
  const onnxc_dim *elements; /* if not NULL: the elements of this small integer tensor, row major */
} onnxc_value_info;

/* Names of nodes of the source that passes have merged into one, in the order of the data; some of them if there are
 * many. For reports. */
enum { ONNXC_MAX_SOURCES = 16 };
typedef struct onnxc_sources {
  uint32_t count;
  bool more; /* than are listed */
  const char *names[ONNXC_MAX_SOURCES];
} onnxc_sources;

typedef struct onnxc_node_info {
  onnxc_op op;
  onnxc_branch branch; /* where it runs; constants are always there */
  uint32_t num_inputs, num_outputs;
  onnxc_value *inputs; /* none = optional and absent */
  onnxc_value *outputs;
  const char *name;       /* for messages: "node 'conv1' (Conv-11)"; may be NULL */
  onnxc_sources *sources; /* of a merged node; NULL: name alone. Not in the text */
  onnxc_compute *compute; /* COMPUTE */
  int64_t axis, span;     /* CONCAT, SOFTMAX, NORMALIZE */
  double epsilon;         /* NORMALIZE */
} onnxc_node_info;

/* ---- branches ----
 *
 * A branch is where nodes run: if `condition`, a dim that is 0 or 1, is 1, and if what is around it runs. The two sides
 * of an If are the branches of c and of 1 - c; an If within one has branches within that. What a condition depends on
 * is known before a run starts: it is made of dims and elements of graph inputs.
 *
 * The result of a node that does not run has no value, and the elements that it binds are 0. So a node is in the
 * branch of each of its operands or deeper. A compute may be further out where it loads such an operand lazily: in that
 * arm of a select(cast.bool(dim(c)), .., ..) which only the operand's branch takes. That is how the sides of an If
 * meet.
 */
typedef struct onnxc_branch_info {
  onnxc_branch outer;
  onnxc_dim condition;
} onnxc_branch_info;

/* An assumption that a run checks before it starts: a == b. */
typedef struct onnxc_constraint {
  onnxc_dim a, b;
  const char *message; /* "node 'add1' (Add-14): dims %H and %W must agree" */
} onnxc_constraint;

/* A convolution that is computed in tiles (pass/winograd.c), for reports. */
typedef struct onnxc_winograd_note {
  const char *name; /* the node's; may be NULL */
  uint32_t tile;    /* outputs a side: F(tile x tile, 3 x 3) */
  double error;     /* of a sample, relative to its largest output */
} onnxc_winograd_note;

/* A file that is mapped read-only; constants may lie in it. */
typedef struct onnxc_mapping {
  const void *bytes;
  size_t size;
} onnxc_mapping;

/* A topological order of nodes. */
typedef ONNXC_VEC(onnxc_node) onnxc_order;

typedef struct onnxc_graph {
  onnxc_arena *arena;
  onnxc_diag *diag;
  const char *name;
  onnxc_dims dims;
  onnxc_exprs exprs;
  ONNXC_VEC(onnxc_value_info) values;    /* [0] unused */
  ONNXC_VEC(onnxc_node_info) nodes;      /* [0] unused */
  ONNXC_VEC(onnxc_branch_info) branches; /* [0] unused; an outer one first, none twice */
  onnxc_branch branch;                   /* that of the nodes and constraints to be added */
  ONNXC_VEC(onnxc_value) inputs;
  ONNXC_VEC(onnxc_value) outputs;       /* a value may appear twice, or be an input */
  ONNXC_VEC(const char *) output_names; /* parallel to outputs */
  onnxc_order order;
  ONNXC_VEC(onnxc_constraint) constraints;
  ONNXC_VEC(onnxc_winograd_note) winograd; /* for reports; not in the text */
  ONNXC_VEC(onnxc_mapping) mappings;
  uint32_t folded_nodes; /* nodes of the source that became constants; for reports */
  uint32_t source_nodes; /* nodes of the source model */
  uint32_t facts;        /* what passes have established: ONNXC_FACT_... of pass.h; not in the text */
} onnxc_graph;

void onnxc_graph_init(onnxc_graph *graph, onnxc_arena *arena, onnxc_diag *diag);

static inline onnxc_value_info *onnxc_value_of(const onnxc_graph *graph, onnxc_value value) {
  return &graph->values.data[value.i];
}
static inline onnxc_node_info *onnxc_node_of(const onnxc_graph *graph, onnxc_node node) {
  return &graph->nodes.data[node.i];
}
const char *onnxc_op_name(onnxc_op op);

/* Dims are copied. The name is borrowed and must live as long as the graph. */
onnxc_value onnxc_graph_add_value(onnxc_graph *graph, const char *name, onnxc_dtype dtype, uint32_t rank,
                                  const onnxc_dim *dims);
onnxc_value onnxc_graph_add_input(onnxc_graph *graph, const char *name, onnxc_dtype dtype, uint32_t rank,
                                  const onnxc_dim *dims);
void onnxc_graph_add_output(onnxc_graph *graph, onnxc_value value, const char *name);
/* Data is borrowed; row major; static dims. */
onnxc_value onnxc_graph_add_constant(onnxc_graph *graph, const char *name, onnxc_dtype dtype, uint32_t rank,
                                     const int64_t *dims, const void *data);
/* Appends to order. Outputs must be fresh values; their producer is set. */
onnxc_node onnxc_graph_add_node(onnxc_graph *graph, onnxc_op op, const char *name, uint32_t num_inputs,
                                const onnxc_value *inputs, uint32_t num_outputs, const onnxc_value *outputs);
/* A compute whose results become new values of extents[0..num_parallel-1] and these dtypes;
 * results[] receives them. The compute is copied. */
onnxc_node onnxc_graph_add_compute(onnxc_graph *graph, const char *name, const onnxc_compute *compute,
                                   uint32_t num_inputs, const onnxc_value *inputs, onnxc_value *results);
/* Must hold where graph->branch runs. */
void onnxc_graph_add_constraint(onnxc_graph *graph, onnxc_dim a, onnxc_dim b, const char *message);

/* Adds the names of a node's sources that are not there yet; equal names are at one address. */
void onnxc_sources_add(onnxc_sources *sources, const onnxc_node_info *node);
/* `into` now does what `from`, which comes before it, did. */
void onnxc_node_absorb(onnxc_graph *graph, onnxc_node into, onnxc_node from);

/* The branch of this condition within another; that one itself if the condition is 1. ir/branch.c */
onnxc_branch onnxc_graph_branch(onnxc_graph *graph, onnxc_branch outer, onnxc_dim condition);
onnxc_branch onnxc_branch_find(const onnxc_graph *graph, onnxc_branch outer, onnxc_dim condition); /* 0: none such */
/* Does `inner` run only where `outer` does, as far as nesting says? */
bool onnxc_branch_within(const onnxc_graph *graph, onnxc_branch inner, onnxc_branch outer);
/* 1 where the branch runs, else 0. */
onnxc_dim onnxc_branch_condition(onnxc_graph *graph, onnxc_branch branch);
/* Is the dim made of dims and elements of graph inputs: known before a run starts? */
bool onnxc_dim_is_of_inputs(const onnxc_graph *graph, onnxc_dim dim);
/* The branch of the node that makes a value. */
onnxc_branch onnxc_branch_of(const onnxc_graph *graph, onnxc_value value);

bool onnxc_value_is_constant(const onnxc_graph *graph, onnxc_value value);
/* A hint that a constant's bytes will not be read again: their memory goes back to the system. */
void onnxc_graph_discard(const onnxc_graph *graph, const void *data, size_t size);
/* Static dims of a value into shape[]; false if any is symbolic. */
bool onnxc_value_static_shape(const onnxc_graph *graph, onnxc_value value, int64_t *shape);
onnxc_dim onnxc_value_num_elements(onnxc_graph *graph, onnxc_value value);
/* The elements of an integer or bool tensor of at most 1024 elements as dims: known ones, or those of a
 * constant, or fresh symbols of source ELEMENT that a run binds. NULL if the element
 * count is not static or too large, or the dtype does not fit. */
const onnxc_dim *onnxc_value_elements(onnxc_graph *graph, onnxc_value value, uint32_t *count);
/* Whether known dims and extents can be multiplied without looking for overflow, as passes and lowering do: of what is
 * live, none may be negative (BAD_INPUT), nor a tensor or a reduction have more than 2^40 elements (UNSUPPORTED). For
 * whoever makes dims known: front ends, infer. ir/sizes.c */
onnxc_status onnxc_graph_check_sizes(const onnxc_graph *graph);
/* Replaces every use of `from` (operands and graph outputs) by `to`. */
void onnxc_graph_replace_uses(onnxc_graph *graph, onnxc_value from, onnxc_value to);
/* uses[v.i] = number of uses by nodes in order plus graph outputs; arena-allocated, values.length long. */
uint32_t *onnxc_graph_count_uses(const onnxc_graph *graph, onnxc_arena *arena);

#endif
