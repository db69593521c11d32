/* ops_recurrent.c -- LSTM, GRU and RNN.
 *
 * The products of the inputs with W, of all steps, gates and directions, are one matrix product before the recurrence.
 * The steps follow one after the other, each of a few computes:
 *
 *     a product of the state before with R, all gates side by side      and what is elementwise: gates, new states
 *
 * (fuse makes the second the epilogue of the first where each element needs one sum only). Steps differ in where
 * they read and write alone, which lowering turns into views, so that all share their code; Y is the concatenation of
 * their states, which are written in place. The graph has no loops: the number of steps must be known.
 *
 * Everything is computed in f32 at least; h is kept in the type of X, since Y holds it, c in the wider one.
 */
#include "activation.h"
#include "shorthand.h"

#include <inttypes.h>
#include <string.h>

enum { MAX_STEPS = 1024, MAX_NODES = 1 << 20, MAX_DIRECTIONS = 2, MAX_FUNCTIONS = 3, MAX_LOADS = 16 };

/* What distinguishes the three: gates as they lie in W and R, functions as they stand in `activations`. */
typedef struct cell {
  uint32_t gates, functions;
  const char *defaults[MAX_FUNCTIONS];
  uint32_t lengths, initial_h, initial_c, peepholes; /* numbers of inputs; 0 = none */
} cell;

static const cell rnn = {1, 1, {"Tanh"}, 4, 5, 0, 0};
static const cell gru = {3, 2, {"Sigmoid", "Tanh"}, 4, 5, 0, 0};
static const cell lstm = {4, 3, {"Sigmoid", "Tanh", "Tanh"}, 4, 5, 6, 7};
enum { GRU_Z, GRU_R, GRU_H };
enum { LSTM_I, LSTM_O, LSTM_F, LSTM_C };
enum { PEEPHOLE_I, PEEPHOLE_O, PEEPHOLE_F };

typedef struct state {
  onnxc_value h, c; /* of the step's shape; none = zeros */
} state;

typedef struct layer layer;
/* Appends the computes of one step, of this direction at this time: *s becomes the state behind it. Returns Y's part.
 */
typedef onnxc_value (*step_fn)(const layer *l, uint32_t direction, int64_t time, state *s);

struct layer {
  onnxc_importer *in;
  const cell *cell;
  onnxc_dtype dtype, wide;
  bool batch_first; /* layout = 1 */
  bool first_backward;
  int64_t steps, directions, hidden;
  onnxc_dim batch;
  onnxc_value products;                   /* [steps, batch, directions, gates * hidden], wide: X W' and biases */
  onnxc_value weights[MAX_DIRECTIONS][2]; /* R of each direction; a GRU's z and r, then h, if it wants two products */
  onnxc_value bias, peepholes;            /* as given; none = zeros */
  onnxc_value live;                       /* bool [steps, batch]: the sequence has this step; none = all have all */
  onnxc_activation functions[MAX_DIRECTIONS][MAX_FUNCTIONS];
  double clip; /* 0 = none */
  bool input_forget, linear_before_reset;
};

static onnxc_dim constant(const layer *l, int64_t value) { return onnxc_dim_const(&l->in->graph->dims, value); }
static onnxc_exprs *pool_of(const layer *l) { return &l->in->graph->exprs; }

/* ---- the shape of a step ----
 *
 * States and what leads to them have the shape of Y with one step and one direction, so that they lie in Y: [1, 1,
 * batch, n], or [batch, 1, 1, n]. */

static uint32_t batch_dim(const layer *l) { return l->batch_first ? 0 : 2; }
static uint32_t time_dim(const layer *l) { return l->batch_first ? 1 : 0; }

static void step_shape(const layer *l, int64_t columns, onnxc_dim *dims) {
  for (uint32_t d = 0; d < 3; d++)
    dims[d] = d == batch_dim(l) ? l->batch : constant(l, 1);
  dims[3] = constant(l, columns);
}

/* One compute over a step's shape in the making: its operands come as they are loaded. */
typedef struct writer {
  const layer *layer;
  uint32_t direction;
  int64_t time;
  onnxc_value operands[MAX_LOADS];
  uint32_t count;
} writer;

/* An element of `value`, in the wider type. */
static onnxc_expr load(writer *w, onnxc_value value, uint32_t rank, const onnxc_expr *index) {
  onnxc_exprs *pool = pool_of(w->layer);
  onnxc_dtype dtype = onnxc_value_of(w->layer->in->graph, value)->dtype;
  uint32_t k = 0;
  while (k < w->count && w->operands[k].i != value.i)
    k++;
  if (k == w->count)
    w->operands[w->count++] = value;
  onnxc_expr element = onnxc_expr_load(pool, dtype, k, rank, index);
  return onnxc_dtype_is_bool(dtype) ? element : e_cast(pool, w->layer->wide, element);
}

static onnxc_expr batch_index(const writer *w) { return e_index(pool_of(w->layer), batch_dim(w->layer)); }
/* Column n of this gate, or any number of columns further. */
static onnxc_expr column(const writer *w, uint32_t gate) {
  return e_addc(pool_of(w->layer), e_index(pool_of(w->layer), 3), (int64_t)gate * w->layer->hidden);
}

static onnxc_expr load_step(writer *w, onnxc_value value, onnxc_expr at_column) {
  onnxc_exprs *pool = pool_of(w->layer);
  onnxc_expr index[4] = {e_int(pool, 0), e_int(pool, 0), e_int(pool, 0), at_column};
  index[batch_dim(w->layer)] = batch_index(w);
  return load(w, value, 4, index);
}

/* A state's element; zero where there is no state. */
static onnxc_expr load_state(writer *w, onnxc_value value) {
  return value.i ? load_step(w, value, column(w, 0)) : onnxc_expr_f64(pool_of(w->layer), w->layer->wide, 0);
}

/* The product of the inputs for this gate. */
static onnxc_expr load_input(writer *w, uint32_t gate) {
  onnxc_exprs *pool = pool_of(w->layer);
  return load(w, w->layer->products, 4,
              (onnxc_expr[]){e_int(pool, w->time), batch_index(w), e_int(pool, w->direction), column(w, gate)});
}

/* A parameter of this direction, n columns of it for each gate. */
static onnxc_expr load_parameter(writer *w, onnxc_value value, uint32_t gate) {
  return load(w, value, 2, (onnxc_expr[]){e_int(pool_of(w->layer), w->direction), column(w, gate)});
}

/* The sums that lead to a gate: of the inputs and, if there are any, of the state. */
static onnxc_expr load_sums(writer *w, onnxc_value sums, uint32_t gate, uint32_t first) {
  onnxc_expr from_input = load_input(w, gate);
  return sums.i ? e_add(pool_of(w->layer), from_input, load_step(w, sums, column(w, gate - first))) : from_input;
}

/* Function number k of this direction. */
static onnxc_expr activate(const writer *w, uint32_t k, onnxc_expr x) {
  return onnxc_activation_of(&w->layer->functions[w->direction][k], pool_of(w->layer), x);
}

/* That of a gate's sums, clipped. (The c that h takes is not: ONNX Runtime reads the specification so.) */
static onnxc_expr gate(const writer *w, uint32_t k, onnxc_expr sums) {
  onnxc_exprs *pool = pool_of(w->layer);
  double clip = w->layer->clip;
  if (clip > 0)
    sums = e_max(pool, e_min(pool, sums, e_number(pool, sums, clip)), e_number(pool, sums, -clip));
  return activate(w, k, sums);
}

static void add_compute(const writer *w, int64_t columns, onnxc_compute *compute, onnxc_value *results) {
  compute->num_parallel = 4;
  step_shape(w->layer, columns, compute->extents);
  onnxc_graph_add_compute(w->layer->in->graph, w->layer->in->where, compute, w->count, w->operands, results);
}

/* What is elementwise, for this many gates; wide. */
static onnxc_value add_element(const writer *w, uint32_t gates, onnxc_expr element) {
  onnxc_value result;
  onnxc_compute compute = {.num_results = 1, .acc_dtype = {w->layer->wide}, .finish = {element}};
  add_compute(w, gates * w->layer->hidden, &compute, &result);
  return result;
}

/* The new states become values. Beyond the end of a sequence Y is zero and the states stay. */
static onnxc_value add_states(writer *w, onnxc_expr h, onnxc_expr c, state *s) {
  const layer *l = w->layer;
  onnxc_exprs *pool = pool_of(l);
  onnxc_value results[3];
  onnxc_compute compute = {.num_results = 1};
  onnxc_expr y = h;
  if (l->live.i) {
    onnxc_expr live = load(w, l->live, 2, (onnxc_expr[]){e_int(pool, w->time), batch_index(w)});
    y = e_select(pool, live, h, e_number(pool, h, 0));
    compute.finish[compute.num_results++] = e_cast(pool, l->dtype, e_select(pool, live, h, load_state(w, s->h)));
    c = c.i ? e_select(pool, live, c, load_state(w, s->c)) : c;
  }
  compute.finish[0] = e_cast(pool, l->dtype, y);
  if (c.i)
    compute.finish[compute.num_results++] = c;
  for (uint32_t j = 0; j < compute.num_results; j++)
    compute.acc_dtype[j] = e_dtype(pool, compute.finish[j]);
  add_compute(w, l->hidden, &compute, results);
  s->h = results[l->live.i ? 1 : 0];
  s->c = c.i ? results[compute.num_results - 1] : s->c;
  return results[0];
}

/* value (a state, or of its shape) times the weights of this many gates; none when the value is zero. */
static onnxc_value multiply(writer w, onnxc_value value, uint32_t which, uint32_t gates) {
  onnxc_exprs *pool = pool_of(w.layer);
  onnxc_compute compute = {.num_reduce = 1, .num_results = 1};
  onnxc_value result;
  if (!value.i)
    return value;
  onnxc_expr k = e_index(pool, 4), factor = load_step(&w, value, k);
  onnxc_expr weight = load(&w, w.layer->weights[w.direction][which], 2, (onnxc_expr[]){e_index(pool, 3), k});
  onnxc_build_sum(pool, &compute, 0, w.layer->wide, e_mul(pool, factor, weight));
  compute.finish[0] = onnxc_expr_acc(pool, w.layer->wide, 0);
  compute.extents[4] = constant(w.layer, w.layer->hidden);
  add_compute(&w, gates * w.layer->hidden, &compute, &result);
  return result;
}

/* ---- the three cells ---- */

/* h' = f(sums) */
static onnxc_value step_rnn(const layer *l, uint32_t direction, int64_t time, state *s) {
  writer w = {.layer = l, .direction = direction, .time = time};
  onnxc_value sums = multiply(w, s->h, 0, 1);
  return add_states(&w, gate(&w, 0, load_sums(&w, sums, 0, 0)), (onnxc_expr){0}, s);
}

/* h' = (1 - z) g + z h, with z, r = f(sums), and g = g(x + (r h) R') or, reset after the product, g(x + r (h R' + b))
 */
static onnxc_value step_gru(const layer *l, uint32_t direction, int64_t time, state *s) {
  onnxc_exprs *pool = pool_of(l);
  writer w = {.layer = l, .direction = direction, .time = time};
  onnxc_expr z, sum;
  if (l->linear_before_reset) {
    onnxc_value sums = multiply(w, s->h, 0, 3);
    z = gate(&w, 0, load_sums(&w, sums, GRU_Z, 0));
    sum = load_input(&w, GRU_H);
    onnxc_expr reset = {0};
    if (sums.i)
      reset = load_step(&w, sums, column(&w, GRU_H));
    if (l->bias.i) { /* of R, behind those of W */
      onnxc_expr bias = load_parameter(&w, l->bias, 3 + GRU_H);
      reset = reset.i ? e_add(pool, reset, bias) : bias;
    }
    if (reset.i)
      sum = e_add(pool, sum, e_mul(pool, gate(&w, 0, load_sums(&w, sums, GRU_R, 0)), reset));
  } else {
    writer two = w, product = w; /* z and r side by side; r h */
    onnxc_value sums = multiply(w, s->h, 0, 2), reset = {0};
    onnxc_value gates = add_element(&two, 2, gate(&two, 0, load_sums(&two, sums, GRU_Z, GRU_Z)));
    if (s->h.i) {
      onnxc_expr r = load_step(&product, gates, column(&product, GRU_R));
      reset = add_element(&product, 1, e_mul(pool, r, load_state(&product, s->h)));
    }
    sums = multiply(w, reset, 1, 1);
    z = load_step(&w, gates, column(&w, GRU_Z));
    sum = load_sums(&w, sums, GRU_H, GRU_H);
  }
  onnxc_expr h = e_mul(pool, e_sub(pool, e_number(pool, z, 1), z), gate(&w, 1, sum));
  if (s->h.i)
    h = e_add(pool, h, e_mul(pool, z, load_state(&w, s->h)));
  return add_states(&w, h, (onnxc_expr){0}, s);
}

/* A gate's sums, with what the cell state adds through a peephole. */
static onnxc_expr peephole(writer *w, onnxc_expr sums, uint32_t which, onnxc_expr c) {
  onnxc_exprs *pool = pool_of(w->layer);
  onnxc_value peepholes = w->layer->peepholes;
  return peepholes.i ? e_add(pool, sums, e_mul(pool, load_parameter(w, peepholes, which), c)) : sums;
}

/* i, f = f(sums), c' = f c + i g(sums), o = f(sums), h' = o h(c') */
static onnxc_value step_lstm(const layer *l, uint32_t direction, int64_t time, state *s) {
  onnxc_exprs *pool = pool_of(l);
  writer w = {.layer = l, .direction = direction, .time = time};
  onnxc_value sums = multiply(w, s->h, 0, 4);
  onnxc_expr before = load_state(&w, s->c);
  onnxc_expr i = gate(&w, 0, peephole(&w, load_sums(&w, sums, LSTM_I, 0), PEEPHOLE_I, before));
  onnxc_expr c = e_mul(pool, i, gate(&w, 1, load_sums(&w, sums, LSTM_C, 0)));
  if (s->c.i) {
    onnxc_expr f = l->input_forget ? e_sub(pool, e_number(pool, i, 1), i)
                                   : gate(&w, 0, peephole(&w, load_sums(&w, sums, LSTM_F, 0), PEEPHOLE_F, before));
    c = e_add(pool, e_mul(pool, f, before), c);
  }
  onnxc_expr o = gate(&w, 0, peephole(&w, load_sums(&w, sums, LSTM_O, 0), PEEPHOLE_O, c));
  return add_states(&w, e_mul(pool, o, activate(&w, 2, c)), c, s);
}

/* ---- before the steps ---- */

/* Some gates' rows of R, of one direction, as a matrix of its own: constant ones are packed so. */
static onnxc_value recurrent_weights(const layer *l, onnxc_value r, uint32_t direction, uint32_t first,
                                     uint32_t gates) {
  onnxc_exprs *pool = pool_of(l);
  onnxc_expr row = e_addc(pool, e_index(pool, 0), (int64_t)first * l->hidden);
  onnxc_dim dims[2] = {constant(l, (int64_t)gates * l->hidden), constant(l, l->hidden)};
  return onnxc_build_index(l->in->graph, l->in->where, r, 2, dims,
                           (onnxc_expr[]){e_int(pool, direction), row, e_index(pool, 1)});
}

/* The biases of W and R that are only added: [directions * gates * hidden], wide; none without biases. */
static onnxc_value sum_biases(const layer *l) {
  onnxc_graph *graph = l->in->graph;
  onnxc_exprs *pool = pool_of(l);
  if (!l->bias.i)
    return l->bias;
  int64_t columns = l->cell->gates * l->hidden;
  onnxc_dtype dtype = onnxc_value_of(graph, l->bias)->dtype;
  onnxc_expr direction = e_index(pool, 0), n = e_index(pool, 1), part[2];
  for (uint32_t k = 0; k < 2; k++)
    part[k] = e_cast(pool, l->wide,
                     onnxc_expr_load(pool, dtype, 0, 2, (onnxc_expr[]){direction, e_addc(pool, n, k * columns)}));
  if (l->linear_before_reset) /* that of R for h is within the product with r */
    part[1] = e_select(pool, e_lt(pool, n, e_int(pool, GRU_H * l->hidden)), part[1], e_number(pool, part[1], 0));
  onnxc_compute compute = {.num_parallel = 2, .num_results = 1, .acc_dtype = {l->wide}};
  compute.extents[0] = constant(l, l->directions);
  compute.extents[1] = constant(l, columns);
  compute.finish[0] = e_add(pool, part[0], part[1]);
  onnxc_value sum;
  onnxc_graph_add_compute(graph, l->in->where, &compute, 1, &l->bias, &sum);
  onnxc_dim flat = constant(l, l->directions * columns);
  return onnxc_build_reshape(graph, l->in->where, sum, 1, &flat);
}

static onnxc_value multiply_inputs(const layer *l, onnxc_value x, onnxc_value w) {
  onnxc_graph *graph = l->in->graph;
  onnxc_exprs *pool = pool_of(l);
  onnxc_dim width = onnxc_value_of(graph, x)->dims[2];
  onnxc_dim columns = constant(l, l->directions * l->cell->gates * l->hidden);
  w = onnxc_build_reshape(graph, l->in->where, w, 2, (onnxc_dim[]){columns, width});
  if (!w.i)
    return w;
  onnxc_compute compute = {.num_parallel = 3, .num_reduce = 1, .num_results = 1};
  onnxc_dim extents[4] = {constant(l, l->steps), l->batch, columns, width};
  memcpy(compute.extents, extents, sizeof extents);
  onnxc_expr time = e_index(pool, 0), batch = e_index(pool, 1), n = e_index(pool, 2), k = e_index(pool, 3);
  onnxc_expr at[3] = {l->batch_first ? batch : time, l->batch_first ? time : batch, k};
  onnxc_build_sum(pool, &compute, 0, l->wide,
                  onnxc_build_product(pool, onnxc_expr_load(pool, l->dtype, 0, 3, at),
                                      onnxc_expr_load(pool, l->dtype, 1, 2, (onnxc_expr[]){n, k}), l->wide));
  onnxc_value bias = sum_biases(l), product;
  compute.finish[0] = onnxc_expr_acc(pool, l->wide, 0);
  if (bias.i)
    compute.finish[0] = e_add(pool, compute.finish[0], onnxc_expr_load(pool, l->wide, 2, 1, &n));
  onnxc_graph_add_compute(graph, l->in->where, &compute, bias.i ? 3 : 2, (onnxc_value[]){x, w, bias}, &product);
  onnxc_dim dims[4] = {extents[0], extents[1], constant(l, l->directions), constant(l, l->cell->gates * l->hidden)};
  return onnxc_build_reshape(graph, l->in->where, product, 4, dims);
}

/* Input k as the state of a direction before its first step. */
static onnxc_value initial_state(const layer *l, uint32_t k, uint32_t direction) {
  onnxc_graph *graph = l->in->graph;
  onnxc_exprs *pool = pool_of(l);
  onnxc_value given = onnxc_import_optional(l->in, k);
  if (!given.i)
    return given;
  const onnxc_value_info *info = onnxc_value_of(graph, given);
  const unsigned char *bytes = info->data;
  size_t zeros = 0;
  while (bytes && zeros < info->data_size && !bytes[zeros])
    zeros++;
  if (bytes && zeros == info->data_size)
    return (onnxc_value){0};
  onnxc_dim dims[4];
  step_shape(l, l->hidden, dims);
  onnxc_expr batch = e_index(pool, batch_dim(l)), which = e_int(pool, direction);
  onnxc_expr at[3] = {l->batch_first ? batch : which, l->batch_first ? which : batch, e_index(pool, 3)};
  return onnxc_build_index(graph, l->in->where, given, 4, dims, at);
}

/* time < length, for each step of each sequence; none when a constant says that all are whole. */
static onnxc_value find_live(const layer *l, onnxc_value lengths) {
  onnxc_graph *graph = l->in->graph;
  onnxc_exprs *pool = pool_of(l);
  const onnxc_value_info *info = onnxc_value_of(graph, lengths);
  size_t size = onnxc_dtype_bytes(info->dtype), whole = 0;
  while (info->data && whole < info->data_size / size &&
         onnxc_scalar_to_i64(info->dtype, (const char *)info->data + whole * size) >= l->steps)
    whole++;
  if (info->data && whole == info->data_size / size)
    return (onnxc_value){0};
  onnxc_expr batch = e_index(pool, 1);
  onnxc_expr length = e_i64(pool, onnxc_expr_load(pool, info->dtype, 0, 1, &batch));
  onnxc_compute compute = {.num_parallel = 2, .num_results = 1, .acc_dtype = {ONNXC_BOOL}};
  compute.extents[0] = constant(l, l->steps);
  compute.extents[1] = l->batch;
  compute.finish[0] = e_lt(pool, e_index(pool, 0), length);
  onnxc_value live;
  onnxc_graph_add_compute(graph, l->in->where, &compute, 1, &lengths, &live);
  return live;
}

/* ---- attributes ---- */

static onnxc_status read_direction(layer *l) {
  const char *direction = onnxc_import_string(l->in, "direction", "forward");
  l->directions = strcmp(direction, "bidirectional") == 0 ? 2 : 1;
  l->first_backward = strcmp(direction, "reverse") == 0;
  if (l->directions == 1 && !l->first_backward && strcmp(direction, "forward") != 0)
    return onnxc_import_error(l->in, ONNXC_BAD_INPUT, "direction '%.40s'", direction);
  return ONNXC_OK;
}

/* Those of each direction in turn; alphas and betas are for the functions that take one, in this order. */
static onnxc_status read_functions(layer *l) {
  uint32_t count, num_alphas, num_betas, alpha = 0, beta = 0, wanted = l->cell->functions * (uint32_t)l->directions;
  const char *const *names = onnxc_import_strings(l->in, "activations", &count);
  const float *alphas = onnxc_import_floats(l->in, "activation_alpha", &num_alphas);
  const float *betas = onnxc_import_floats(l->in, "activation_beta", &num_betas);
  if (names && count != wanted)
    return onnxc_import_error(l->in, ONNXC_BAD_INPUT, "%u activations, expected %u", count, wanted);
  for (uint32_t k = 0; k < wanted; k++) {
    onnxc_activation *f = &l->functions[k / l->cell->functions][k % l->cell->functions];
    const char *name = names ? names[k] : l->cell->defaults[k % l->cell->functions];
    if (!onnxc_activation_find(name, f))
      return onnxc_import_error(l->in, ONNXC_BAD_INPUT, "activation '%.40s'", name);
    if (f->takes_alpha && alpha < num_alphas)
      f->alpha = (double)alphas[alpha++];
    if (f->takes_beta && beta < num_betas)
      f->beta = (double)betas[beta++];
  }
  return ONNXC_OK;
}

static onnxc_status read_attributes(layer *l) {
  ONNXC_TRY(read_direction(l));
  ONNXC_TRY(read_functions(l));
  l->batch_first = onnxc_import_int(l->in, "layout", 0) != 0;
  l->clip = onnxc_import_float(l->in, "clip", 0);
  l->input_forget = onnxc_import_int(l->in, "input_forget", 0) != 0;
  l->linear_before_reset = l->cell == &gru && onnxc_import_int(l->in, "linear_before_reset", 0) != 0;
  if (l->clip < 0)
    return onnxc_import_error(l->in, ONNXC_BAD_INPUT, "clip %g", l->clip);
  return ONNXC_OK;
}

/* ---- operands ---- */

/* Input k, if it is there or needed, of this type and these dims. */
static bool check_operand(const layer *l, uint32_t k, bool needed, onnxc_dtype dtype, uint32_t rank,
                          const onnxc_dim *dims) {
  onnxc_value value = needed ? onnxc_import_input(l->in, k) : onnxc_import_optional(l->in, k);
  if (!value.i)
    return !needed;
  const onnxc_value_info info = *onnxc_value_of(l->in->graph, value);
  if (info.dtype != dtype || info.rank != rank) {
    onnxc_import_error(l->in, ONNXC_BAD_INPUT, "input %u is of type %s and rank %u, expected %s and %u", k,
                       onnxc_dtype_name(info.dtype), info.rank, onnxc_dtype_name(dtype), rank);
    return false;
  }
  for (uint32_t d = 0; d < rank; d++)
    if (!onnxc_build_same_dim(l->in->graph, l->in->where, info.dims[d], dims[d], NULL))
      return false;
  return true;
}

static bool check_operands(const layer *l, onnxc_dim width) {
  const cell *c = l->cell;
  onnxc_dim one = constant(l, l->directions), all = constant(l, c->gates * l->hidden), hidden = constant(l, l->hidden);
  onnxc_dim twice = constant(l, 2 * l->hidden * c->gates), thrice = constant(l, 3 * l->hidden);
  onnxc_dim state_dims[3] = {l->batch_first ? l->batch : one, l->batch_first ? one : l->batch, hidden};
  return check_operand(l, 1, true, l->dtype, 3, (onnxc_dim[]){one, all, width}) &&
         check_operand(l, 2, true, l->dtype, 3, (onnxc_dim[]){one, all, hidden}) &&
         check_operand(l, 3, false, l->dtype, 2, (onnxc_dim[]){one, twice}) &&
         check_operand(l, c->lengths, false, ONNXC_I32, 1, &l->batch) &&
         check_operand(l, c->initial_h, false, l->dtype, 3, state_dims) &&
         (!c->initial_c || check_operand(l, c->initial_c, false, l->dtype, 3, state_dims)) &&
         (!c->peepholes || check_operand(l, c->peepholes, false, l->dtype, 2, (onnxc_dim[]){one, thrice}));
}

/* Sizes, and the number of steps. */
static onnxc_status read_sizes(layer *l, onnxc_value x, onnxc_value r) {
  onnxc_graph *graph = l->in->graph;
  const onnxc_value_info *x_info = onnxc_value_of(graph, x), *r_info = onnxc_value_of(graph, r);
  if (x_info->rank != 3 || r_info->rank != 3)
    return onnxc_import_error(l->in, ONNXC_BAD_INPUT, "X and R of rank %u and %u, not 3", x_info->rank, r_info->rank);
  l->dtype = x_info->dtype;
  l->wide = onnxc_build_wide(l->dtype);
  l->batch = x_info->dims[l->batch_first ? 0 : 1];
  if (onnxc_import_has(l->in, "hidden_size"))
    l->hidden = onnxc_import_int(l->in, "hidden_size", 0);
  else if (!onnxc_dim_is_const(&graph->dims, r_info->dims[2], &l->hidden))
    return onnxc_import_error(l->in, ONNXC_UNSUPPORTED, "a hidden size that only a run knows");
  if (l->hidden <= 0 || l->hidden > INT32_MAX)
    return onnxc_import_error(l->in, ONNXC_BAD_INPUT, "hidden size %" PRId64, l->hidden);
  if (!onnxc_dim_is_const(&graph->dims, x_info->dims[l->batch_first ? 1 : 0], &l->steps))
    return onnxc_import_error(l->in, ONNXC_UNSUPPORTED,
                              "a sequence whose length only a run knows; give the model's input a shape");
  if (l->steps < 1 || l->steps * l->directions > MAX_STEPS)
    return onnxc_import_error(l->in, ONNXC_UNSUPPORTED,
                              "%" PRId64 " steps in %" PRId64 " directions; supported are 1 to %d in all", l->steps,
                              l->directions, MAX_STEPS);
  if (graph->nodes.length > MAX_NODES)
    return onnxc_import_error(l->in, ONNXC_UNSUPPORTED, "the steps of recurrent layers are more than %d nodes",
                              MAX_NODES);
  return ONNXC_OK;
}

/* ---- the importers ---- */

/* A state behind the last step, of Y's type; zero where a sequence has no step. */
static onnxc_value last_state(const layer *l, onnxc_value value) {
  if (!value.i || !l->live.i)
    return onnxc_import_narrow(l->in, value, l->dtype);
  onnxc_exprs *pool = pool_of(l);
  writer w = {.layer = l};
  onnxc_expr live = load(&w, l->live, 2, (onnxc_expr[]){e_int(pool, 0), batch_index(&w)});
  onnxc_expr element = e_cast(pool, l->dtype, load_state(&w, value));
  onnxc_value result;
  onnxc_compute compute = {.num_results = 1, .acc_dtype = {l->dtype}};
  compute.finish[0] = e_select(pool, live, element, e_number(pool, element, 0));
  add_compute(&w, l->hidden, &compute, &result);
  return result;
}

/* Both directions side by side; `states` (of a step's shape) lose the dim of time. */
static onnxc_value join_states(const layer *l, const onnxc_value *states) {
  onnxc_graph *graph = l->in->graph;
  onnxc_value parts[MAX_DIRECTIONS];
  for (uint32_t d = 0; d < l->directions; d++) {
    onnxc_dim dims[4];
    step_shape(l, l->hidden, dims);
    onnxc_dim kept[3] = {dims[l->batch_first ? 0 : 1], dims[2], dims[3]};
    parts[d] = onnxc_build_reshape(graph, l->in->where, last_state(l, states[d]), 3, kept);
  }
  return onnxc_build_concat(graph, l->in->where, (uint32_t)l->directions, parts, l->batch_first ? 1 : 0);
}

static onnxc_status import(onnxc_importer *in, const cell *c, step_fn step) {
  onnxc_graph *graph = in->graph;
  layer *l = ONNXC_NEW(graph->arena, layer);
  *l = (layer){.in = in, .cell = c};
  onnxc_value x = onnxc_import_operand(in, 0, "f"), w = onnxc_import_input(in, 1), r = onnxc_import_input(in, 2);
  if (!x.i || !w.i || !r.i)
    return graph->diag->status;
  ONNXC_TRY(read_attributes(l));
  ONNXC_TRY(read_sizes(l, x, r));
  if (!check_operands(l, onnxc_value_of(graph, x)->dims[2]))
    return graph->diag->status;
  l->bias = onnxc_import_optional(in, 3);
  l->peepholes = c->peepholes ? onnxc_import_optional(in, c->peepholes) : (onnxc_value){0};
  if (onnxc_import_optional(in, c->lengths).i)
    l->live = find_live(l, onnxc_import_optional(in, c->lengths));
  l->products = multiply_inputs(l, x, w);
  if (!l->products.i)
    return graph->diag->status;
  onnxc_value h[MAX_DIRECTIONS], cells[MAX_DIRECTIONS], y[MAX_DIRECTIONS];
  for (uint32_t d = 0; d < l->directions; d++) {
    bool apart = c == &gru && !l->linear_before_reset;
    l->weights[d][0] = recurrent_weights(l, r, d, 0, apart ? 2 : c->gates);
    if (apart)
      l->weights[d][1] = recurrent_weights(l, r, d, GRU_H, 1);
    state s = {initial_state(l, c->initial_h, d), c->initial_c ? initial_state(l, c->initial_c, d) : (onnxc_value){0}};
    onnxc_value *parts = ONNXC_NEW_ARRAY(graph->arena, onnxc_value, l->steps);
    bool backward = l->first_backward || d > 0;
    for (int64_t k = 0; k < l->steps; k++) {
      int64_t time = backward ? l->steps - 1 - k : k;
      parts[time] = step(l, d, time, &s);
    }
    y[d] = onnxc_build_concat(graph, in->where, (uint32_t)l->steps, parts, time_dim(l));
    h[d] = s.h;
    cells[d] = s.c;
  }
  uint32_t direction_dim = l->batch_first ? 2 : 1;
  if (onnxc_import_wants(in, 0))
    ONNXC_TRY(
        onnxc_import_done(in, 0, onnxc_build_concat(graph, in->where, (uint32_t)l->directions, y, direction_dim)));
  if (onnxc_import_wants(in, 1))
    ONNXC_TRY(onnxc_import_done(in, 1, join_states(l, h)));
  if (c == &lstm && onnxc_import_wants(in, 2))
    ONNXC_TRY(onnxc_import_done(in, 2, join_states(l, cells)));
  return ONNXC_OK;
}

onnxc_status onnxc_import_RNN(onnxc_importer *in) { return import(in, &rnn, step_rnn); }
onnxc_status onnxc_import_GRU(onnxc_importer *in) { return import(in, &gru, step_gru); }
onnxc_status onnxc_import_LSTM(onnxc_importer *in) { return import(in, &lstm, step_lstm); }
