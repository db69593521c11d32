/* product.h -- what can be made of a contraction by storing its factors well; shared by precision, signs
 * and pack. */
#ifndef ONNXC_PASS_PRODUCT_H
#define ONNXC_PASS_PRODUCT_H

#include "pass/recognise.h"
#include "target/target.h"

/* A contraction whose factors may be packed. */
typedef struct onnxc_product {
  const onnxc_compute *compute;
  onnxc_factor factors[2];          /* a, b */
  onnxc_value_info a, b;            /* as they are */
  onnxc_role roles[ONNXC_MAX_RANK]; /* by dim of b: that of the one index in it */
  int n_dim;                        /* of b; -1 = none */
  int k_dim, a_k_dim;               /* of b and a: where a dot product runs; -1 = there is none */
  onnxc_register_tile tile;
  uint32_t panel;  /* columns of b side by side; 0 = too few, the lanes run along k */
  bool constant_b; /* otherwise */
  bool copy_pays;  /* a copy of b at run time costs less than reading it as it lies */
} onnxc_product;

/* False if the node is no contraction or its factors must stay as they are. As if these had the types given; 0 = their
 * own. */
bool onnxc_find_product(onnxc_graph *graph, const onnxc_target *target, const onnxc_node_info *node,
                        onnxc_dtype a_dtype, onnxc_dtype b_dtype, onnxc_product *product);
/* The dim of stride 1, whole; -1 if that is a part of a block. */
int onnxc_innermost_dim(const onnxc_graph *graph, const onnxc_value_info *value);
/* How many points the indices of this role have, at hints. */
double onnxc_product_points(const onnxc_graph *graph, const onnxc_product *product, onnxc_role role);

#endif
