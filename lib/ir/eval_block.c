/* eval_block.c -- see eval_block.h: compiling an expression DAG and evaluating it by blocks. */
#include "ir/eval_block.h"

#include <string.h>

enum { WORDS = ONNXC_LANES / 64, MAX_DEPTH = 8192, MAX_NODES = 1 << 20 };
enum { DEP_ACC = 1 << 16, DEP_VAL = 1 << 17 };

typedef struct lane_mask {
  uint64_t word[WORDS];
} lane_mask;

/* A load: element base[d] + sum of coefficient[d][k] * index k of each dim d, or (not affine) the
 * values of the nodes index[d]. */
typedef struct block_load {
  const char *data;
  uint32_t operand, rank;
  bool affine;
  int64_t extent[ONNXC_MAX_RANK], low[ONNXC_MAX_RANK], high[ONNXC_MAX_RANK]; /* readable: low <= x < high */
  int64_t stride[ONNXC_MAX_RANK];
  int64_t base[ONNXC_MAX_RANK], coefficient[ONNXC_MAX_RANK][ONNXC_MAX_INDICES];
  uint32_t index[ONNXC_MAX_RANK];
} block_load;

typedef struct block_node {
  uint8_t op, dtype, arg_dtype, kind;
  bool pure; /* no load below: evaluated for all lanes at once */
  uint32_t deps;
  uint32_t args[3];
  onnxc_lanes *lanes;
  lane_mask done;
  block_load *load;
  int64_t imm;
} block_node;

struct onnxc_block {
  const onnxc_block_env *env;
  ONNXC_VEC(block_node) nodes; /* arguments first */
  uint32_t *roots;
  uint32_t *slots; /* expr handle -> node number + 1, open addressing */
  onnxc_expr *keys;
  uint32_t num_slots;
  onnxc_space space;
  uint32_t lane_deps; /* bits of the space's indices */
  int64_t fixed[ONNXC_MAX_INDICES];
  int64_t start[ONNXC_MAX_INDICES]; /* coordinates of lane 0, parallel to space */
  int64_t first;
  int n;
  int64_t *index_lanes[ONNXC_MAX_INDICES];
  bool index_valid[ONNXC_MAX_INDICES];
  onnxc_status status;
};

onnxc_status onnxc_eval_dim(onnxc_graph *graph, const int64_t *symbols, onnxc_dim dim, const char *where,
                            int64_t *value) {
  if (onnxc_dim_is_const(&graph->dims, dim, value))
    return ONNXC_OK;
  char text[256];
  for (uint32_t s = 1; s < graph->dims.symbols.length; s++)
    if (symbols[s] == ONNXC_UNBOUND && onnxc_dim_uses(&graph->dims, dim, (onnxc_sym){s})) {
      onnxc_dim_print(&graph->dims, dim, text, sizeof text);
      return onnxc_error(graph->diag, ONNXC_INTERNAL, "%s%s%s needs %%%s, which has no value yet", where ? where : "",
                         where ? ": " : "", text, graph->dims.symbols.data[s].name);
    }
  if (onnxc_dim_eval(&graph->dims, dim, symbols, value))
    return ONNXC_OK;
  onnxc_dim_print(&graph->dims, dim, text, sizeof text);
  return onnxc_error(graph->diag, ONNXC_BAD_INPUT, "%s%s%s overflows 64 bits", where ? where : "", where ? ": " : "",
                     text);
}

int64_t onnxc_space_size(const onnxc_space *space) {
  int64_t size = 1;
  for (uint32_t i = 0; i < space->rank; i++)
    size *= space->extent[i];
  return size;
}

onnxc_space onnxc_space_of(const int64_t *extents, uint32_t first, uint32_t count) {
  onnxc_space space = {0};
  for (uint32_t i = first; i < first + count; i++)
    if (extents[i] != 1) {
      space.index[space.rank] = (uint8_t)i;
      space.extent[space.rank++] = extents[i];
    }
  return space;
}

/* ---- compiling ---- */

static uint32_t *slot_of(onnxc_block *block, onnxc_expr e) {
  uint32_t at = (e.i * 2654435761u) & (block->num_slots - 1);
  while (block->slots[at] && block->keys[at].i != e.i)
    at = (at + 1) & (block->num_slots - 1);
  block->keys[at] = e;
  return &block->slots[at];
}

static void grow_slots(onnxc_block *block) {
  uint32_t old_count = block->num_slots, *old = block->slots;
  onnxc_expr *keys = block->keys;
  block->num_slots = old_count ? old_count * 2 : 64;
  block->slots = ONNXC_NEW_ARRAY(block->env->arena, uint32_t, block->num_slots);
  block->keys = ONNXC_NEW_ARRAY(block->env->arena, onnxc_expr, block->num_slots);
  for (uint32_t i = 0; i < old_count; i++)
    if (old[i])
      *slot_of(block, keys[i]) = old[i];
}

static onnxc_status bug(const onnxc_block *block, const char *what) {
  const char *where = block->env->where;
  return onnxc_error(block->env->graph->diag, ONNXC_INTERNAL, "%s%s%s", where ? where : "", where ? ": " : "", what);
}

/* What of dim d may be read around the logical range: the halo and the tail of the last block. */
static void readable(const onnxc_layout *layout, uint32_t d, int64_t extent, int64_t *low, int64_t *high) {
  *low = 0;
  *high = extent;
  if (!layout || !layout->num_axes)
    return;
  int64_t parts = 1, padded = extent + layout->low[d] + layout->high[d];
  for (uint32_t a = 0; a < layout->num_axes; a++)
    if (layout->axis_dim[a] == d && layout->axis_size[a])
      parts *= layout->axis_size[a];
  *low = -(int64_t)layout->low[d];
  *high = (padded + parts - 1) / parts * parts - layout->low[d];
}

static bool small(int64_t x) { return x > -((int64_t)1 << 40) && x < (int64_t)1 << 40; }

/* The index expressions as numbers times indices; false when one is no such form or too large to be surely
 * free of overflow. */
static bool make_affine(onnxc_block *block, block_load *load, const onnxc_expr *args, uint32_t *deps) {
  const onnxc_block_env *env = block->env;
  for (uint32_t d = 0; d < load->rank; d++) {
    onnxc_dim base, coefficients[ONNXC_MAX_INDICES] = {{0}};
    if (!onnxc_expr_affine(&env->graph->exprs, args[d], env->num_indices, &base, coefficients))
      return false;
    if (!onnxc_dim_eval(&env->graph->dims, base, env->symbols, &load->base[d]) || !small(load->base[d]))
      return false;
    for (uint32_t k = 0; k < env->num_indices; k++)
      if (coefficients[k].i) {
        int64_t c;
        if (!onnxc_dim_eval(&env->graph->dims, coefficients[k], env->symbols, &c) || c < -(1 << 22) || c > (1 << 22))
          return false;
        load->coefficient[d][k] = c;
        if (c)
          *deps |= 1u << k;
      }
  }
  return true;
}

static onnxc_status compile_node(onnxc_block *block, onnxc_expr e, int depth, uint32_t *result);

static onnxc_status compile_load(onnxc_block *block, const onnxc_expr_node *expr, int depth, block_node *node) {
  const onnxc_block_env *env = block->env;
  if (expr->imm < 0 || expr->imm >= env->num_operands || !env->operands[expr->imm].data)
    return bug(block, "a load of an operand that is not there");
  const onnxc_array *array = &env->operands[expr->imm];
  if (array->rank != expr->num_args || array->dtype != node->dtype)
    return bug(block, "a load that does not match its operand's rank or type");
  block_load *load = node->load = ONNXC_NEW(env->arena, block_load);
  load->data = array->data;
  load->operand = (uint32_t)expr->imm;
  load->rank = array->rank;
  int64_t stride = 1;
  for (uint32_t d = load->rank; d-- > 0;) {
    load->extent[d] = array->dims[d];
    load->stride[d] = stride;
    stride *= array->dims[d];
    readable(env->layouts ? env->layouts[expr->imm] : NULL, d, load->extent[d], &load->low[d], &load->high[d]);
  }
  /* A dim whose symbols are not all bound fails below, where the message is. */
  onnxc_expr args[ONNXC_MAX_RANK] = {{0}};
  for (uint32_t d = 0; d < load->rank; d++) /* making affine forms may move the pool */
    args[d] = expr->args[d];
  uint32_t deps = 0;
  load->affine = make_affine(block, load, args, &deps);
  if (!load->affine)
    for (uint32_t d = 0; d < load->rank; d++) {
      ONNXC_TRY(compile_node(block, args[d], depth + 1, &load->index[d]));
      deps |= block->nodes.data[load->index[d]].deps;
    }
  node->deps = deps;
  return ONNXC_OK;
}

static void fill(block_node *node, double f, int64_t i) {
  for (int l = 0; l < ONNXC_LANES; l++)
    if (node->kind == ONNXC_LANE_F32)
      node->lanes->f32[l] = (float)f;
    else if (node->kind == ONNXC_LANE_F64)
      node->lanes->f64[l] = f;
    else
      node->lanes->i64[l] = i;
  memset(&node->done, 0xff, sizeof node->done);
}

static onnxc_status compile_leaf(onnxc_block *block, onnxc_expr e, const onnxc_expr_node *expr, block_node *node) {
  const onnxc_block_env *env = block->env;
  double f = 0;
  int64_t i = 0;
  node->pure = true;
  switch (expr->op) {
  case ONNXC_EXPR_CONST:
    onnxc_expr_const_value(&env->graph->exprs, e, &f, &i);
    fill(node, f, i);
    return ONNXC_OK;
  case ONNXC_EXPR_DIM:
    ONNXC_TRY(onnxc_eval_dim(env->graph, env->symbols, (onnxc_dim){(uint32_t)expr->imm}, env->where, &i));
    fill(node, 0, i);
    return ONNXC_OK;
  case ONNXC_EXPR_INDEX:
    if (expr->imm < 0 || expr->imm >= env->num_indices)
      return bug(block, "an index that the compute does not have");
    node->deps = 1u << expr->imm;
    return ONNXC_OK;
  default:
    if (expr->imm < 0 || expr->imm >= ONNXC_MAX_RESULTS)
      return bug(block, "an accumulator that the compute does not have");
    node->deps = expr->op == ONNXC_EXPR_ACC ? DEP_ACC : DEP_VAL;
    memset(&node->done, 0xff, sizeof node->done); /* filled in by the caller */
    return ONNXC_OK;
  }
}

static onnxc_status compile_node(onnxc_block *block, onnxc_expr e, int depth, uint32_t *result) {
  if (!e.i)
    return bug(block, "an expression is missing");
  uint32_t known = *slot_of(block, e);
  if (known) {
    *result = known - 1;
    return ONNXC_OK;
  }
  if (depth > MAX_DEPTH || block->nodes.length >= MAX_NODES)
    return onnxc_error(block->env->graph->diag, ONNXC_UNSUPPORTED, "%s: expression too deep or too large",
                       block->env->where ? block->env->where : "compute");
  onnxc_expr_node expr = *onnxc_exprs_node(&block->env->graph->exprs, e);
  block_node node = {.op = expr.op, .dtype = expr.dtype, .arg_dtype = expr.dtype, .imm = expr.imm};
  node.kind = (uint8_t)onnxc_lanes_kind((onnxc_dtype)expr.dtype);
  if (node.kind == ONNXC_LANE_NONE)
    return onnxc_error(block->env->graph->diag, ONNXC_UNSUPPORTED, "%s: expressions of type %s are not supported",
                       block->env->where ? block->env->where : "compute", onnxc_dtype_name((onnxc_dtype)expr.dtype));
  node.lanes = ONNXC_NEW(block->env->arena, onnxc_lanes);
  if (expr.op == ONNXC_EXPR_LOAD) {
    ONNXC_TRY(compile_load(block, &expr, depth, &node));
  } else if (expr.num_args == 0) {
    ONNXC_TRY(compile_leaf(block, e, &expr, &node));
  } else {
    node.pure = true;
    for (uint32_t a = 0; a < expr.num_args && a < 3; a++) {
      ONNXC_TRY(compile_node(block, expr.args[a], depth + 1, &node.args[a]));
      node.deps |= block->nodes.data[node.args[a]].deps;
      node.pure &= block->nodes.data[node.args[a]].pure;
    }
    node.arg_dtype = block->nodes.data[node.args[0]].dtype;
  }
  *result = block->nodes.length;
  ONNXC_PUSH(block->env->arena, block->nodes, node);
  if (block->nodes.length * 2 > block->num_slots)
    grow_slots(block);
  *slot_of(block, e) = block->nodes.length;
  return ONNXC_OK;
}

onnxc_status onnxc_block_compile(const onnxc_block_env *env, uint32_t num_roots, const onnxc_expr *roots,
                                 onnxc_block **result) {
  onnxc_block *block = ONNXC_NEW(env->arena, onnxc_block);
  block->env = env;
  block->roots = ONNXC_NEW_ARRAY(env->arena, uint32_t, num_roots);
  grow_slots(block);
  for (uint32_t k = 0; k < env->num_indices; k++)
    block->index_lanes[k] = ONNXC_NEW_ARRAY(env->arena, int64_t, ONNXC_LANES);
  for (uint32_t r = 0; r < num_roots; r++)
    ONNXC_TRY(compile_node(block, roots[r], 0, &block->roots[r]));
  block->n = 1;
  *result = block;
  return ONNXC_OK;
}

uint32_t onnxc_block_deps(const onnxc_block *block, uint32_t root) {
  return block->nodes.data[block->roots[root]].deps;
}

/* ---- choosing points ---- */

static void forget(onnxc_block *block, uint32_t deps) {
  for (uint32_t i = 0; i < block->nodes.length; i++) {
    block_node *node = &block->nodes.data[i];
    if ((node->deps & deps) && node->op != ONNXC_EXPR_ACC && node->op != ONNXC_EXPR_VAL)
      memset(&node->done, 0, sizeof node->done);
  }
  for (uint32_t k = 0; k < ONNXC_MAX_INDICES; k++)
    if (deps & (1u << k))
      block->index_valid[k] = false;
}

void onnxc_block_set_space(onnxc_block *block, const onnxc_space *space) {
  block->space = *space;
  block->lane_deps = 0;
  for (uint32_t i = 0; i < space->rank; i++)
    block->lane_deps |= 1u << space->index[i];
  forget(block, 0xffff);
  onnxc_block_seek(block, 0, 1);
}

void onnxc_block_seek(onnxc_block *block, int64_t first, int n) {
  block->first = first;
  if (n > block->n) /* lanes of fixed indices were made for fewer points */
    memset(block->index_valid, 0, sizeof block->index_valid);
  block->n = n;
  for (uint32_t i = block->space.rank; i-- > 0;) {
    int64_t extent = block->space.extent[i] > 0 ? block->space.extent[i] : 1;
    block->start[i] = first % extent;
    first /= extent;
  }
  forget(block, block->lane_deps);
}

void onnxc_block_fix(onnxc_block *block, uint32_t index, int64_t value) {
  if (block->fixed[index] == value)
    return;
  block->fixed[index] = value;
  forget(block, 1u << index);
}

static onnxc_lanes *find_leaf(onnxc_block *block, onnxc_expr_op op, uint32_t which) {
  for (uint32_t i = 0; i < block->nodes.length; i++)
    if (block->nodes.data[i].op == op && block->nodes.data[i].imm == which)
      return block->nodes.data[i].lanes;
  return NULL;
}

onnxc_lanes *onnxc_block_acc(onnxc_block *block, uint32_t which) { return find_leaf(block, ONNXC_EXPR_ACC, which); }

onnxc_lanes *onnxc_block_val(onnxc_block *block, uint32_t which) { return find_leaf(block, ONNXC_EXPR_VAL, which); }

void onnxc_block_touch(onnxc_block *block) { forget(block, DEP_ACC | DEP_VAL); }

/* ---- masks ---- */

static lane_mask mask_of(int n) {
  lane_mask mask;
  for (int w = 0; w < WORDS; w++)
    mask.word[w] = n >= 64 * (w + 1) ? UINT64_MAX : n > 64 * w ? (UINT64_C(1) << (n - 64 * w)) - 1 : 0;
  return mask;
}

static bool mask_minus(lane_mask *out, const lane_mask *a, const lane_mask *b) {
  uint64_t any = 0;
  for (int w = 0; w < WORDS; w++)
    any |= out->word[w] = a->word[w] & ~b->word[w];
  return any != 0;
}

static bool mask_covers(const lane_mask *mask, int n) {
  lane_mask all = mask_of(n), rest;
  return !mask_minus(&rest, &all, mask);
}

static bool mask_has(const lane_mask *mask, int lane) { return (mask->word[lane / 64] >> (lane % 64)) & 1; }

static lane_mask mask_where(const int64_t *condition, int n) {
  lane_mask mask = {{0}};
  for (int l = 0; l < n; l++)
    mask.word[l / 64] |= (uint64_t)(condition[l] != 0) << (l % 64);
  return mask;
}

static void mask_and(lane_mask *a, const lane_mask *b) {
  for (int w = 0; w < WORDS; w++)
    a->word[w] &= b->word[w];
}

static void mask_or(lane_mask *a, const lane_mask *b) {
  for (int w = 0; w < WORDS; w++)
    a->word[w] |= b->word[w];
}

/* ---- evaluating ---- */

/* The values of index k on the lanes. */
static const int64_t *index_lanes(onnxc_block *block, uint32_t k) {
  int64_t *out = block->index_lanes[k];
  if (block->index_valid[k])
    return out;
  block->index_valid[k] = true;
  const onnxc_space *space = &block->space;
  uint32_t at = 0;
  while (at < space->rank && space->index[at] != k)
    at++;
  if (at == space->rank) {
    for (int l = 0; l < block->n; l++)
      out[l] = block->fixed[k];
    return out;
  }
  int64_t repeat = 1; /* lanes that share a value */
  for (uint32_t i = at + 1; i < space->rank; i++)
    repeat *= space->extent[i];
  int64_t value = block->start[at], left = repeat - block->first % repeat;
  for (int l = 0; l < block->n;) {
    int run = left < block->n - l ? (int)left : block->n - l;
    for (int i = 0; i < run; i++)
      out[l + i] = value;
    l += run;
    left = repeat;
    if (++value == space->extent[at])
      value = 0;
  }
  return out;
}

static void out_of_range(onnxc_block *block, const block_load *load, uint32_t d, int64_t index) {
  if (block->status != ONNXC_OK)
    return;
  const char *where = block->env->where;
  block->status =
      onnxc_error(block->env->graph->diag, ONNXC_INTERNAL,
                  "%s: load of operand %u reads index %lld of dim %u, whose extent is %lld", where ? where : "compute",
                  load->operand, (long long)index, d, (long long)load->extent[d]);
}

static void need(onnxc_block *block, uint32_t at, const lane_mask *want);

/* Any load, lane by lane. */
static void load_lanes(onnxc_block *block, block_node *node, const lane_mask *want) {
  const block_load *load = node->load;
  int n = block->n;
  int64_t offset[ONNXC_LANES], x[ONNXC_LANES];
  uint8_t skip[ONNXC_LANES];
  memset(offset, 0, (size_t)n * sizeof *offset);
  bool all = mask_covers(want, n);
  for (int l = 0; l < n; l++)
    skip[l] = all ? 0 : !mask_has(want, l);
  for (uint32_t d = 0; d < load->rank; d++) {
    const int64_t *value = x;
    if (load->affine) {
      for (int l = 0; l < n; l++)
        x[l] = load->base[d];
      for (uint32_t k = 0; k < block->env->num_indices; k++)
        if (load->coefficient[d][k]) {
          int64_t c = load->coefficient[d][k];
          const int64_t *index = index_lanes(block, k);
          for (int l = 0; l < n; l++)
            x[l] += c * index[l];
        }
    } else {
      value = block->nodes.data[load->index[d]].lanes->i64;
    }
    uint64_t extent = (uint64_t)load->extent[d];
    int64_t stride = load->stride[d];
    for (int l = 0; l < n; l++) {
      if ((uint64_t)value[l] >= extent && !skip[l]) {
        skip[l] = 1; /* zero in the halo, and after an error */
        if (value[l] < load->low[d] || value[l] >= load->high[d])
          out_of_range(block, load, d, value[l]);
      }
      offset[l] = (int64_t)((uint64_t)offset[l] + (uint64_t)value[l] * (uint64_t)stride);
    }
  }
  onnxc_lanes_gather((onnxc_dtype)node->dtype, node->lanes, load->data, offset, skip, n);
}

/* Points of the innermost index, seen from memory, lie at a constant stride; true if all were in range. */
static bool load_run(onnxc_block *block, block_node *node, const int64_t *coordinate, int at, int run) {
  const block_load *load = node->load;
  const onnxc_space *space = &block->space;
  uint32_t inner = space->rank ? space->index[space->rank - 1] : 0;
  int64_t offset = 0, stride = 0;
  for (uint32_t d = 0; d < load->rank; d++) {
    int64_t x = load->base[d], step = space->rank ? load->coefficient[d][inner] : 0;
    for (uint32_t k = 0; k < block->env->num_indices; k++)
      if (load->coefficient[d][k])
        x += load->coefficient[d][k] * coordinate[k];
    int64_t last = x + step * (run - 1);
    if (x < 0 || x >= load->extent[d] || last < 0 || last >= load->extent[d])
      return false;
    offset += x * load->stride[d];
    stride += step * load->stride[d];
  }
  size_t bytes = onnxc_dtype_bytes((onnxc_dtype)node->dtype);
  onnxc_lanes_load((onnxc_dtype)node->dtype, node->lanes, at, load->data + (size_t)offset * bytes, stride, run);
  return true;
}

static void load_affine(onnxc_block *block, block_node *node, const lane_mask *want) {
  const onnxc_space *space = &block->space;
  int64_t inner = space->rank ? space->extent[space->rank - 1] : block->n;
  if ((inner < 8 && block->n > inner) || !mask_covers(want, block->n)) {
    load_lanes(block, node, want);
    return;
  }
  int64_t coordinate[ONNXC_MAX_INDICES];
  memcpy(coordinate, block->fixed, sizeof coordinate);
  for (uint32_t i = 0; i < space->rank; i++)
    coordinate[space->index[i]] = block->start[i];
  for (int l = 0; l < block->n;) {
    int64_t left = space->rank ? inner - coordinate[space->index[space->rank - 1]] : block->n;
    int run = left < block->n - l ? (int)left : block->n - l;
    if (!load_run(block, node, coordinate, l, run)) { /* a halo, or an error */
      load_lanes(block, node, want);
      return;
    }
    l += run;
    if (space->rank)
      coordinate[space->index[space->rank - 1]] += run;
    for (uint32_t i = space->rank; i-- > 0;) { /* carry */
      if (coordinate[space->index[i]] < space->extent[i])
        break;
      coordinate[space->index[i]] = 0;
      if (i > 0)
        coordinate[space->index[i - 1]]++;
    }
  }
}

static void eval_select(onnxc_block *block, block_node *node, const lane_mask *want) {
  need(block, node->args[0], want);
  const onnxc_lanes *c = block->nodes.data[node->args[0]].lanes;
  lane_mask taken = mask_where(c->i64, block->n), then = *want, otherwise;
  mask_and(&then, &taken);
  mask_minus(&otherwise, want, &taken);
  need(block, node->args[1], &then);
  need(block, node->args[2], &otherwise);
  onnxc_lanes_select((onnxc_dtype)node->dtype, node->lanes, c, block->nodes.data[node->args[1]].lanes,
                     block->nodes.data[node->args[2]].lanes, block->n);
}

/* Makes the lanes of `want` valid. */
static void need(onnxc_block *block, uint32_t at, const lane_mask *want) {
  block_node *node = &block->nodes.data[at];
  lane_mask missing;
  if (!mask_minus(&missing, want, &node->done))
    return;
  if (node->pure)
    missing = mask_of(block->n);
  switch (node->op) {
  case ONNXC_EXPR_INDEX:
    memcpy(node->lanes->i64, index_lanes(block, (uint32_t)node->imm), (size_t)block->n * sizeof(int64_t));
    break;
  case ONNXC_EXPR_LOAD:
    if (node->load->affine) {
      /* The lanes that are valid are loaded again: they were in range. */
      mask_or(&missing, &node->done);
      lane_mask all = mask_of(block->n);
      mask_and(&missing, &all);
      load_affine(block, node, &missing);
      break;
    }
    for (uint32_t d = 0; d < node->load->rank; d++)
      need(block, node->load->index[d], &missing);
    mask_or(&missing, &node->done);
    load_lanes(block, node, &missing);
    break;
  case ONNXC_EXPR_SELECT:
    mask_or(&missing, &node->done);
    eval_select(block, node, &missing);
    break;
  case ONNXC_EXPR_CAST:
    need(block, node->args[0], &missing);
    onnxc_lanes_cast((onnxc_dtype)node->dtype, node->lanes, (onnxc_dtype)node->arg_dtype,
                     block->nodes.data[node->args[0]].lanes, block->n);
    break;
  default:
    need(block, node->args[0], &missing);
    if (onnxc_expr_op_arity((onnxc_expr_op)node->op) == 1) {
      onnxc_lanes_unary((onnxc_expr_op)node->op, (onnxc_dtype)node->arg_dtype, node->lanes,
                        block->nodes.data[node->args[0]].lanes, block->n);
    } else {
      need(block, node->args[1], &missing);
      onnxc_lanes_binary((onnxc_expr_op)node->op, (onnxc_dtype)node->arg_dtype, node->lanes,
                         block->nodes.data[node->args[0]].lanes, block->nodes.data[node->args[1]].lanes, block->n);
    }
  }
  mask_or(&node->done, &missing);
}

const onnxc_lanes *onnxc_block_eval(onnxc_block *block, uint32_t root) {
  lane_mask all = mask_of(block->n);
  need(block, block->roots[root], &all);
  return block->nodes.data[block->roots[root]].lanes;
}

onnxc_status onnxc_block_status(const onnxc_block *block) { return block->status; }
