/* plan.c -- from the inputs' shapes to the outputs', the sizes and the workspace; see state.h. */
#include "rt/state.h"

#define POISON INT64_MIN

/* ---- dims ---- */

static int64_t floor_div(int64_t a, int64_t b) {
  if (b == 0)
    return 0;
  if (b == -1)
    return -a; /* a is not POISON, so it has a negative */
  int64_t quotient = a / b;
  return quotient * b != a && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

static int64_t floor_mod(int64_t a, int64_t b) {
  if (b == 0 || b == -1)
    return 0;
  int64_t rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

int64_t onnxc_rt_compute_dim(int32_t op, int64_t a, int64_t b) {
  int64_t result = POISON;
  if (a == POISON || b == POISON)
    return POISON;
  switch (op) {
  case ONNXC_RT_ADD: return __builtin_add_overflow(a, b, &result) ? POISON : result;
  case ONNXC_RT_MUL: return __builtin_mul_overflow(a, b, &result) ? POISON : result;
  case ONNXC_RT_FLOORDIV: return floor_div(a, b);
  case ONNXC_RT_MOD: return floor_mod(a, b);
  case ONNXC_RT_MIN: return a < b ? a : b;
  case ONNXC_RT_MAX: return a > b ? a : b;
  case ONNXC_RT_EQ: return a == b;
  default: return POISON;
  }
}

static int64_t element_size(int64_t dtype) {
  switch (dtype) {
  case 4:
  case 5: return 2;
  case 6:
  case 12: return 4;
  case 7:
  case 13: return 8;
  default: return 1;
  }
}

/* Byte by byte, since an input need not be aligned; signed types are extended. */
static int64_t read_element(int64_t dtype, const unsigned char *data, int64_t index) {
  enum { U8 = 2, I8, U16, I16, I32, I64, BOOL = 9, U32 = 12, U64 };
  int64_t size = element_size(dtype);
  uint64_t bits = 0;
  for (int64_t k = 0; k < size; k++)
    bits |= (uint64_t)data[index * size + k] << (8 * k);
  switch (dtype) {
  case I8: return (int8_t)bits;
  case I16: return (int16_t)bits;
  case I32: return (int32_t)bits;
  case I64: return (int64_t)bits;
  case U8:
  case U16:
  case U32:
  case U64:
  case BOOL: return bits > INT64_MAX ? POISON : (int64_t)bits;
  default: return POISON;
  }
}

/* The element that an ELEMENT slot names. Before buffers have addresses (segment 0) only inputs can be read. */
static int read_slot(onnxc_rt_state *state, const onnxc_rt_dim *dim, int64_t *value) {
  const onnxc_rt_program *program = state->program;
  int64_t slot = dim->a, offset = 0;
  const unsigned char *data = NULL;
  if (dim->segment > 0) {
    data = state->pointers[slot];
  } else {
    while (program->buffers[slot].kind == ONNXC_RT_VIEW) {
      offset = onnxc_rt_compute_dim(ONNXC_RT_ADD, offset, state->values[program->buffers[slot].offset_dim]);
      slot = program->buffers[slot].index;
    }
    int64_t input = program->buffers[slot].index;
    const onnxc_tensor *tensor = &state->run->inputs[input];
    int64_t count = element_size(tensor->dtype);
    for (int32_t d = 0; d < tensor->rank; d++)
      count = onnxc_rt_compute_dim(ONNXC_RT_MUL, count, tensor->dims[d]);
    if (!tensor->data || offset < 0 || count < 0 || count - offset < (dim->b + 1) * element_size(dim->c)) {
      onnxc_rt_text text = onnxc_rt_about(state->run, "input", program->info.inputs[input].name);
      onnxc_rt_put(&text, "shapes depend on its contents, so its data must be given when planning");
      return ONNXC_BAD_INPUT;
    }
    data = tensor->data;
  }
  *value = read_element(dim->c, data + offset, dim->b);
  return ONNXC_OK;
}

int onnxc_rt_evaluate_dims(onnxc_rt_state *state, int32_t segment) {
  const onnxc_rt_program *program = state->program;
  int64_t *values = state->values;
  for (int64_t k = 0; k < program->num_dims; k++) {
    const onnxc_rt_dim *dim = &program->dims[k];
    if (dim->segment != segment)
      continue;
    int status = ONNXC_OK;
    switch (dim->op) {
    case ONNXC_RT_CONST: values[k] = dim->a; break;
    case ONNXC_RT_INPUT_DIM: values[k] = state->run->inputs[dim->a].dims[dim->b]; break;
    case ONNXC_RT_ELEMENT: status = read_slot(state, dim, &values[k]); break;
    default: values[k] = onnxc_rt_compute_dim(dim->op, values[dim->a], values[dim->b]); break;
    }
    if (status != ONNXC_OK)
      return status;
  }
  return ONNXC_OK;
}

int onnxc_rt_check_dims(onnxc_rt_state *state, int32_t segment) {
  const onnxc_rt_program *program = state->program;
  for (int64_t k = 0; k < program->num_constraints; k++) {
    const onnxc_rt_constraint *c = &program->constraints[k];
    int32_t known = program->dims[c->a].segment > program->dims[c->b].segment ? program->dims[c->a].segment
                                                                              : program->dims[c->b].segment;
    if (known != segment || state->values[c->a] == state->values[c->b])
      continue;
    onnxc_rt_text text = onnxc_rt_message(state->run);
    onnxc_rt_put(&text, c->message);
    onnxc_rt_put(&text, " (");
    onnxc_rt_put_number(&text, state->values[c->a]);
    onnxc_rt_put(&text, " against ");
    onnxc_rt_put_number(&text, state->values[c->b]);
    onnxc_rt_put(&text, ")");
    return ONNXC_BAD_INPUT;
  }
  for (int64_t k = 0; k < program->num_dims; k++)
    if (program->dims[k].segment == segment && state->values[k] == POISON)
      return onnxc_rt_fail(state->run, ONNXC_BAD_INPUT, "the shapes are so large that sizes overflow");
  return ONNXC_OK;
}

/* ---- inputs and outputs ---- */

static int check_inputs(onnxc_rt_state *state) {
  onnxc_run *run = state->run;
  const onnxc_model_info *info = &state->program->info;
  if ((info->num_inputs > 0 && !run->inputs) || (info->num_outputs > 0 && !run->outputs))
    return onnxc_rt_fail(run, ONNXC_USAGE, "run.inputs or run.outputs is NULL");
  for (size_t k = 0; k < sizeof run->reserved / sizeof *run->reserved; k++)
    if (run->reserved[k] != 0)
      return onnxc_rt_fail(run, ONNXC_USAGE, "run.reserved is not zero: the run asks for what this model cannot do");
  for (int32_t k = 0; k < info->num_inputs; k++) {
    const onnxc_tensor *tensor = &run->inputs[k];
    const onnxc_tensor_info *want = &info->inputs[k];
    if (tensor->dtype != want->dtype || tensor->rank != want->rank) {
      onnxc_rt_text text = onnxc_rt_about(run, "input", want->name);
      bool rank = tensor->dtype == want->dtype;
      onnxc_rt_put(&text, rank ? "rank is " : "element type is ");
      rank ? onnxc_rt_put_number(&text, tensor->rank) : onnxc_rt_put_dtype(&text, tensor->dtype);
      onnxc_rt_put(&text, ", expected ");
      rank ? onnxc_rt_put_number(&text, want->rank) : onnxc_rt_put_dtype(&text, want->dtype);
      return ONNXC_BAD_INPUT;
    }
    for (int32_t d = 0; d < tensor->rank; d++)
      if (tensor->dims[d] < 0 || (want->dims[d] >= 0 && tensor->dims[d] != want->dims[d])) {
        onnxc_rt_text text = onnxc_rt_about(run, "input", want->name);
        onnxc_rt_put(&text, "dim ");
        onnxc_rt_put_number(&text, d);
        onnxc_rt_put(&text, " is ");
        onnxc_rt_put_number(&text, tensor->dims[d]);
        onnxc_rt_put(&text, want->dims[d] >= 0 ? ", expected " : ", which is negative");
        if (want->dims[d] >= 0)
          onnxc_rt_put_number(&text, want->dims[d]);
        return ONNXC_BAD_INPUT;
      }
  }
  return ONNXC_OK;
}

/* Dims that inputs share: the symbol was bound by the first that has it, so the others are compared. */
static int compare_inputs(onnxc_rt_state *state) {
  const onnxc_rt_program *program = state->program;
  for (int32_t k = 0; k < program->info.num_inputs; k++) {
    const onnxc_tensor_info *want = &program->info.inputs[k];
    for (int32_t d = 0; d < want->rank; d++) {
      int64_t slot = program->inputs[k].dims[d];
      if (program->dims[slot].segment > 0 || state->values[slot] == state->run->inputs[k].dims[d])
        continue;
      onnxc_rt_text text = onnxc_rt_about(state->run, "input", want->name);
      onnxc_rt_put(&text, "dim ");
      onnxc_rt_put_number(&text, d);
      onnxc_rt_put(&text, want->dim_names[d] ? " (" : "");
      onnxc_rt_put(&text, want->dim_names[d]);
      onnxc_rt_put(&text, want->dim_names[d] ? ") is " : " is ");
      onnxc_rt_put_number(&text, state->run->inputs[k].dims[d]);
      onnxc_rt_put(&text, ", but other inputs make it ");
      onnxc_rt_put_number(&text, state->values[slot]);
      return ONNXC_BAD_INPUT;
    }
  }
  return ONNXC_OK;
}

int onnxc_rt_shape_outputs(onnxc_rt_state *state, int32_t segment) {
  const onnxc_rt_program *program = state->program;
  for (int32_t k = 0; k < program->info.num_outputs; k++) {
    const onnxc_tensor_info *info = &program->info.outputs[k];
    onnxc_tensor *tensor = &state->run->outputs[k];
    tensor->dtype = info->dtype;
    tensor->rank = info->rank;
    for (int32_t d = 0; d < info->rank; d++) {
      int64_t slot = program->outputs[k].dims[d];
      tensor->dims[d] = program->dims[slot].segment <= segment ? state->values[slot] : -1;
      if (tensor->dims[d] < 0 && program->dims[slot].segment <= segment) {
        onnxc_rt_text text = onnxc_rt_about(state->run, "output", info->name);
        onnxc_rt_put(&text, "dim ");
        onnxc_rt_put_number(&text, d);
        onnxc_rt_put(&text, " would be ");
        onnxc_rt_put_number(&text, tensor->dims[d]);
        onnxc_rt_put(&text, "; the inputs are too small");
        return ONNXC_BAD_INPUT;
      }
    }
  }
  return ONNXC_OK;
}

/* ---- the workspace ---- */

bool onnxc_rt_add_bytes(size_t *total, int64_t count, int64_t size) {
  int64_t bytes;
  if (count < 0 || size < 0 || __builtin_mul_overflow(count, size, &bytes) || bytes > INT64_MAX - ONNXC_RT_ALIGN)
    return false;
  size_t rounded = ((size_t)bytes + ONNXC_RT_ALIGN - 1) & ~(size_t)(ONNXC_RT_ALIGN - 1);
  return !__builtin_add_overflow(*total, rounded, total) && *total <= (size_t)INT64_MAX;
}

static void *offset_by(unsigned char *base, size_t bytes) { return base + bytes; }

bool onnxc_rt_place_tables(onnxc_rt_state *state, unsigned char *base, size_t *used) {
  const onnxc_rt_program *program = state->program;
  int64_t buffers = 0, dims = 0;
  for (int64_t k = 0; k < program->num_stages; k++) {
    const onnxc_rt_stage *stage = &program->stages[k];
    if (stage->buffers + stage->num_buffers > buffers)
      buffers = stage->buffers + stage->num_buffers;
    if (stage->dims + stage->num_dims > dims)
      dims = stage->dims + stage->num_dims;
  }
  size_t at[6] = {0};
  const int64_t counts[5] = {program->num_dims, program->num_buffers, program->num_slots, buffers, dims};
  for (int k = 0; k < 5; k++) {
    at[k + 1] = at[k];
    if (!onnxc_rt_add_bytes(&at[k + 1], counts[k], 8))
      return false;
  }
  if (base) {
    state->values = offset_by(base, at[0]);
    state->pointers = (unsigned char **)offset_by(base, at[1]);
    state->slots = (unsigned char **)offset_by(base, at[2]);
    state->list_pointers = (void **)offset_by(base, at[3]);
    state->list_values = offset_by(base, at[4]);
  }
  *used = at[5];
  return true;
}

bool onnxc_rt_slots_size(const onnxc_rt_state *state, int32_t segment, size_t *total) {
  const onnxc_rt_program *program = state->program;
  *total = 0;
  if (program->static_workspace >= 0)
    return segment > 0 || onnxc_rt_add_bytes(total, 1, program->static_workspace);
  for (int64_t k = 0; k < program->num_slots; k++)
    if (program->slots[k].segment == segment &&
        !onnxc_rt_add_bytes(total, 1, state->values[program->slots[k].size_dim]))
      return false;
  return true;
}

int onnxc_rt_needed_workspace(onnxc_rt_state *state, size_t *needed) {
  size_t slots = 0;
  if (!onnxc_rt_place_tables(state, NULL, needed) || !onnxc_rt_slots_size(state, 0, &slots) ||
      __builtin_add_overflow(*needed, slots, needed) || *needed > (size_t)INT64_MAX)
    return onnxc_rt_fail(state->run, ONNXC_BAD_INPUT, "the shapes are so large that the workspace's size overflows");
  for (int thread = 0; thread < state->threads; thread++)
    if (!onnxc_rt_add_bytes(needed, 1, state->program->scratch_size))
      return onnxc_rt_fail(state->run, ONNXC_BAD_INPUT, "the workspace's size overflows");
  if (!onnxc_rt_add_bytes(needed, state->threads, 2 * (int64_t)sizeof(onnxc_rt_queue)))
    return onnxc_rt_fail(state->run, ONNXC_BAD_INPUT, "the workspace's size overflows");
  return ONNXC_OK;
}

/* ---- planning ---- */

int onnxc_rt_plan_shapes(onnxc_rt_state *state) {
  int status = check_inputs(state);
  if (status == ONNXC_OK)
    status = onnxc_rt_evaluate_dims(state, 0);
  if (status == ONNXC_OK)
    status = compare_inputs(state);
  if (status == ONNXC_OK)
    status = onnxc_rt_check_dims(state, 0);
  if (status == ONNXC_OK)
    status = onnxc_rt_shape_outputs(state, 0);
  return status;
}

onnxc_rt_state onnxc_rt_start(const onnxc_rt_program *program, const void *weights, onnxc_run *run) {
  onnxc_rt_state state = {
      .program = program, .weights = weights ? weights : program->weights, .run = run, .threads = 1};
  if (run->num_threads > 1 && (run->parallel_for || program->team))
    state.threads = run->num_threads;
  run->message[0] = '\0';
  return state;
}

int onnxc_rt_plan(const onnxc_rt_program *program, const void *weights, onnxc_run *run) {
  onnxc_rt_state state = onnxc_rt_start(program, weights, run);
  int64_t values[ONNXC_RT_MAX_DIMS];
  if (program->num_dims > ONNXC_RT_MAX_DIMS)
    return onnxc_rt_fail(run, ONNXC_INTERNAL, "the descriptor is damaged");
  state.values = values;
  int status = onnxc_rt_plan_shapes(&state);
  return status == ONNXC_OK ? onnxc_rt_needed_workspace(&state, &run->workspace_size) : status;
}
