/* rt.c -- plans and runs a compiled model from its descriptor (program.h).
 *
 * Compiled twice: into libonnxc for the JIT, and by clang to bitcode that is linked into every artefact. So it is
 * freestanding: no libc, no globals, no allocation, a bounded stack. The workspace holds everything
 * that a run needs:
 *
 *     dim values | buffer addresses | slot addresses | the stages' lists | slots of segment 0 | scratch x threads |
 * rest
 *
 * Slots of later segments take from the rest, then from run->allocate.
 *
 * Inputs are hostile. Arithmetic on dims is checked: what overflows becomes POISON, which goes through every
 * further operation and fails the segment in which it shows up. Every check of shapes comes before the first
 * address is computed.
 *
 * The result does not depend on the number of threads: tasks of a stage are independent and each is
 * computed as if alone, so only who does what changes.
 */
#include "rt/program.h"

#include "ir/dtype.h" /* the table of types; no code */

#include <stdbool.h>

enum { ALIGN = 64 };
#define POISON INT64_MIN

typedef struct rt_state {
  const onnxc_rt_program *program;
  const unsigned char *weights;
  onnxc_run *run;
  int64_t *values;          /* of the dim slots */
  unsigned char **pointers; /* of the buffer slots */
  unsigned char **slots;    /* of the workspace slots */
  void **list_pointers;     /* program->buffer_lists, resolved */
  int64_t *list_values;     /* program->dim_lists, resolved */
  unsigned char *scratch;
  unsigned char *rest; /* of the workspace */
  size_t rest_size;
  int threads;
  int status;
  onnxc_rt_stage_done stage_done; /* NULL: nobody watches */
  void *stage_done_arg;
} rt_state;

/* ---- messages ---- */

typedef struct rt_text {
  char *data;
  size_t size, used;
} rt_text;

static void put(rt_text *text, const char *part) {
  for (; part && *part && text->used + 1 < text->size; part++)
    text->data[text->used++] = *part;
  if (text->size > 0)
    text->data[text->used] = '\0';
}

static void put_number(rt_text *text, int64_t number) {
  char digits[24];
  size_t at = sizeof digits;
  uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
  digits[--at] = '\0';
  do {
    digits[--at] = (char)('0' + rest % 10);
    rest /= 10;
  } while (rest != 0);
  if (number < 0)
    digits[--at] = '-';
  put(text, digits + at);
}

static void put_dtype(rt_text *text, int32_t dtype) {
  static const char names[ONNXC_DTYPE_COUNT][12] = {
#define X(NAME, name, number, bytes, bits, kind) [number] = name,
      ONNXC_DTYPES(X)
#undef X
  };
  if (dtype > 0 && dtype < ONNXC_DTYPE_COUNT)
    put(text, names[dtype]);
  else
    put_number(text, dtype);
}

static rt_text message_of(onnxc_run *run) {
  rt_text text = {run->message, sizeof run->message, 0};
  put(&text, "");
  return text;
}

static int fail(onnxc_run *run, int status, const char *what) {
  rt_text text = message_of(run);
  put(&text, what);
  return status;
}

/* "input 'x': ..." */
static rt_text about(onnxc_run *run, const char *kind, const char *name) {
  rt_text text = message_of(run);
  put(&text, kind);
  put(&text, " '");
  put(&text, name ? name : "");
  put(&text, "': ");
  return text;
}

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

static int64_t compute_dim(int32_t op, int64_t a, int64_t b) {
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
static int read_slot(rt_state *state, const onnxc_rt_dim *dim, int64_t *value) {
  const onnxc_rt_program *program = state->program;
  int64_t slot = dim->a, offset = 0;
  const unsigned char *data = NULL;
  if (dim->segment > 0) {
    data = state->pointers[slot];
  } else {
    while (program->buffers[slot].kind == ONNXC_RT_VIEW) {
      offset = compute_dim(ONNXC_RT_ADD, offset, state->values[program->buffers[slot].offset_dim]);
      slot = program->buffers[slot].index;
    }
    int64_t input = program->buffers[slot].index;
    const onnxc_tensor *tensor = &state->run->inputs[input];
    int64_t count = element_size(tensor->dtype);
    for (int32_t d = 0; d < tensor->rank; d++)
      count = compute_dim(ONNXC_RT_MUL, count, tensor->dims[d]);
    if (!tensor->data || offset < 0 || count < 0 || count - offset < (dim->b + 1) * element_size(dim->c)) {
      rt_text text = about(state->run, "input", program->info.inputs[input].name);
      put(&text, "shapes depend on its contents, so its data must be given when planning");
      return ONNXC_BAD_INPUT;
    }
    data = tensor->data;
  }
  *value = read_element(dim->c, data + offset, dim->b);
  return ONNXC_OK;
}

static int evaluate_dims(rt_state *state, int32_t segment) {
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
    default: values[k] = compute_dim(dim->op, values[dim->a], values[dim->b]); break;
    }
    if (status != ONNXC_OK)
      return status;
  }
  return ONNXC_OK;
}

static int check_dims(rt_state *state, int32_t segment) {
  const onnxc_rt_program *program = state->program;
  for (int64_t k = 0; k < program->num_constraints; k++) {
    const onnxc_rt_constraint *c = &program->constraints[k];
    int32_t known = program->dims[c->a].segment > program->dims[c->b].segment ? program->dims[c->a].segment
                                                                              : program->dims[c->b].segment;
    if (known != segment || state->values[c->a] == state->values[c->b])
      continue;
    rt_text text = message_of(state->run);
    put(&text, c->message);
    put(&text, " (");
    put_number(&text, state->values[c->a]);
    put(&text, " against ");
    put_number(&text, state->values[c->b]);
    put(&text, ")");
    return ONNXC_BAD_INPUT;
  }
  for (int64_t k = 0; k < program->num_dims; k++)
    if (program->dims[k].segment == segment && state->values[k] == POISON)
      return fail(state->run, ONNXC_BAD_INPUT, "the shapes are so large that sizes overflow");
  return ONNXC_OK;
}

/* ---- inputs and outputs ---- */

static int check_inputs(rt_state *state) {
  onnxc_run *run = state->run;
  const onnxc_model_info *info = &state->program->info;
  if ((info->num_inputs > 0 && !run->inputs) || (info->num_outputs > 0 && !run->outputs))
    return fail(run, ONNXC_USAGE, "run.inputs or run.outputs is NULL");
  for (int32_t k = 0; k < info->num_inputs; k++) {
    const onnxc_tensor *tensor = &run->inputs[k];
    const onnxc_tensor_info *want = &info->inputs[k];
    if (tensor->dtype != want->dtype || tensor->rank != want->rank) {
      rt_text text = about(run, "input", want->name);
      bool rank = tensor->dtype == want->dtype;
      put(&text, rank ? "rank is " : "element type is ");
      rank ? put_number(&text, tensor->rank) : put_dtype(&text, tensor->dtype);
      put(&text, ", expected ");
      rank ? put_number(&text, want->rank) : put_dtype(&text, want->dtype);
      return ONNXC_BAD_INPUT;
    }
    for (int32_t d = 0; d < tensor->rank; d++)
      if (tensor->dims[d] < 0 || (want->dims[d] >= 0 && tensor->dims[d] != want->dims[d])) {
        rt_text text = about(run, "input", want->name);
        put(&text, "dim ");
        put_number(&text, d);
        put(&text, " is ");
        put_number(&text, tensor->dims[d]);
        put(&text, want->dims[d] >= 0 ? ", expected " : ", which is negative");
        if (want->dims[d] >= 0)
          put_number(&text, want->dims[d]);
        return ONNXC_BAD_INPUT;
      }
  }
  return ONNXC_OK;
}

/* Dims that inputs share: the symbol was bound by the first that has it, so the others are compared. */
static int compare_inputs(rt_state *state) {
  const onnxc_rt_program *program = state->program;
  for (int32_t k = 0; k < program->info.num_inputs; k++) {
    const onnxc_tensor_info *want = &program->info.inputs[k];
    for (int32_t d = 0; d < want->rank; d++) {
      int64_t slot = program->inputs[k].dims[d];
      if (program->dims[slot].segment > 0 || state->values[slot] == state->run->inputs[k].dims[d])
        continue;
      rt_text text = about(state->run, "input", want->name);
      put(&text, "dim ");
      put_number(&text, d);
      put(&text, want->dim_names[d] ? " (" : "");
      put(&text, want->dim_names[d]);
      put(&text, want->dim_names[d] ? ") is " : " is ");
      put_number(&text, state->run->inputs[k].dims[d]);
      put(&text, ", but other inputs make it ");
      put_number(&text, state->values[slot]);
      return ONNXC_BAD_INPUT;
    }
  }
  return ONNXC_OK;
}

/* Sets the dims of the outputs that are known by `segment`; -1 where a later one decides. */
static int shape_outputs(rt_state *state, int32_t segment) {
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
        rt_text text = about(state->run, "output", info->name);
        put(&text, "dim ");
        put_number(&text, d);
        put(&text, " would be ");
        put_number(&text, tensor->dims[d]);
        put(&text, "; the inputs are too small");
        return ONNXC_BAD_INPUT;
      }
    }
  }
  return ONNXC_OK;
}

/* ---- the workspace ---- */

/* Adds `count` items of `size` bytes, rounded up to ALIGN; false on overflow. */
static bool add_bytes(size_t *total, int64_t count, int64_t size) {
  int64_t bytes;
  if (count < 0 || size < 0 || __builtin_mul_overflow(count, size, &bytes) || bytes > INT64_MAX - ALIGN)
    return false;
  size_t rounded = ((size_t)bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
  return !__builtin_add_overflow(*total, rounded, total) && *total <= (size_t)INT64_MAX;
}

static void *offset_by(unsigned char *base, size_t bytes) { return base + bytes; }

/* Carves the tables out of the workspace (NULL: only counts); false on overflow. */
static bool place_tables(rt_state *state, unsigned char *base, size_t *used) {
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
    if (!add_bytes(&at[k + 1], counts[k], 8))
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

/* Bytes of the slots of one segment; false on overflow. */
static bool slots_size(const rt_state *state, int32_t segment, size_t *total) {
  const onnxc_rt_program *program = state->program;
  *total = 0;
  if (program->static_workspace >= 0)
    return segment > 0 || add_bytes(total, 1, program->static_workspace);
  for (int64_t k = 0; k < program->num_slots; k++)
    if (program->slots[k].segment == segment && !add_bytes(total, 1, state->values[program->slots[k].size_dim]))
      return false;
  return true;
}

static int needed_workspace(rt_state *state, size_t *needed) {
  size_t slots = 0;
  if (!place_tables(state, NULL, needed) || !slots_size(state, 0, &slots) ||
      __builtin_add_overflow(*needed, slots, needed) || *needed > (size_t)INT64_MAX)
    return fail(state->run, ONNXC_BAD_INPUT, "the shapes are so large that the workspace's size overflows");
  for (int thread = 0; thread < state->threads; thread++)
    if (!add_bytes(needed, 1, state->program->scratch_size))
      return fail(state->run, ONNXC_BAD_INPUT, "the workspace's size overflows");
  return ONNXC_OK;
}

static int place_slots(rt_state *state, int32_t segment, unsigned char *memory) {
  const onnxc_rt_program *program = state->program;
  size_t size = 0;
  if (!slots_size(state, segment, &size))
    return fail(state->run, ONNXC_BAD_INPUT, "the shapes are so large that the workspace's size overflows");
  if (segment > 0 && size > 0) {
    if (size <= state->rest_size) {
      memory = state->rest;
      state->rest += size;
      state->rest_size -= size;
    } else {
      memory = state->run->allocate ? state->run->allocate(state->run->allocate_arg, size, 0) : NULL;
      if (!memory)
        return fail(state->run, ONNXC_OUT_OF_MEMORY, "run.allocate gave no memory for sizes that depend on data");
    }
  }
  size_t offset = 0;
  for (int64_t k = 0; k < program->num_slots; k++) {
    const onnxc_rt_slot *slot = &program->slots[k];
    if (slot->segment != segment)
      continue;
    state->slots[k] = memory + (slot->offset >= 0 ? (size_t)slot->offset : offset);
    if (slot->offset < 0)
      add_bytes(&offset, 1, state->values[slot->size_dim]); /* cannot fail: slots_size added the same */
  }
  return ONNXC_OK;
}

static int bind_output(rt_state *state, int64_t index, int64_t size) {
  onnxc_tensor *tensor = &state->run->outputs[index];
  const onnxc_tensor_info *info = &state->program->info.outputs[index];
  if (tensor->data || size == 0)
    return ONNXC_OK;
  if ((info->flags & ONNXC_TENSOR_DYNAMIC) && state->run->allocate)
    tensor->data = state->run->allocate(state->run->allocate_arg, (size_t)size, 1 + (int)index);
  if (tensor->data)
    return ONNXC_OK;
  rt_text text = about(state->run, "output", info->name);
  put(&text, info->flags & ONNXC_TENSOR_DYNAMIC ? "run.allocate gave no memory" : "its data is NULL");
  return info->flags & ONNXC_TENSOR_DYNAMIC ? ONNXC_OUT_OF_MEMORY : ONNXC_USAGE;
}

static int bind_buffers(rt_state *state, int32_t segment) {
  const onnxc_rt_program *program = state->program;
  for (int64_t k = 0; k < program->num_buffers; k++) {
    const onnxc_rt_buffer *buffer = &program->buffers[k];
    if (buffer->segment != segment)
      continue;
    int64_t size = state->values[buffer->size_dim];
    if (size < 0)
      return fail(state->run, ONNXC_BAD_INPUT, "a tensor would have a negative size; the inputs are too small");
    unsigned char *address = NULL;
    int status = ONNXC_OK;
    switch (buffer->kind) {
    case ONNXC_RT_INPUT: {
      address = state->run->inputs[buffer->index].data;
      if (!address && size > 0) {
        rt_text text = about(state->run, "input", program->info.inputs[buffer->index].name);
        put(&text, "its data is NULL");
        status = ONNXC_USAGE;
      }
      break;
    }
    case ONNXC_RT_OUTPUT:
      status = bind_output(state, buffer->index, size);
      address = state->run->outputs[buffer->index].data;
      break;
    case ONNXC_RT_WEIGHT: /* through integers: a JIT's offsets are addresses, from a base of zero */
      address =
          (unsigned char *)((uintptr_t)state->weights + (uintptr_t)buffer->index); // NOLINT(performance-no-int-to-ptr)
      break;
    case ONNXC_RT_WORKSPACE: address = state->slots[buffer->index]; break;
    case ONNXC_RT_VIEW:
      address = state->pointers[buffer->index];
      if (address)
        address += state->values[buffer->offset_dim];
      break;
    default: break;
    }
    if (status != ONNXC_OK)
      return status;
    state->pointers[k] = address;
  }
  return ONNXC_OK;
}

static void fill_lists(rt_state *state, int32_t segment) {
  const onnxc_rt_program *program = state->program;
  for (int64_t s = 0; s < program->num_stages; s++) {
    const onnxc_rt_stage *stage = &program->stages[s];
    if (stage->segment != segment)
      continue;
    for (int64_t k = stage->buffers; k < stage->buffers + stage->num_buffers; k++)
      state->list_pointers[k] = state->pointers[program->buffer_lists[k]];
    for (int64_t k = stage->dims; k < stage->dims + stage->num_dims; k++)
      state->list_values[k] = state->values[program->dim_lists[k]];
  }
}

/* ---- planning ---- */

static int plan_shapes(rt_state *state) {
  int status = check_inputs(state);
  if (status == ONNXC_OK)
    status = evaluate_dims(state, 0);
  if (status == ONNXC_OK)
    status = compare_inputs(state);
  if (status == ONNXC_OK)
    status = check_dims(state, 0);
  if (status == ONNXC_OK)
    status = shape_outputs(state, 0);
  return status;
}

static rt_state start(const onnxc_rt_program *program, const void *weights, onnxc_run *run) {
  rt_state state = {.program = program, .weights = weights ? weights : program->weights, .run = run, .threads = 1};
  if (run->num_threads > 1 && (run->parallel_for || program->team))
    state.threads = run->num_threads;
  run->message[0] = '\0';
  return state;
}

int onnxc_rt_plan(const onnxc_rt_program *program, const void *weights, onnxc_run *run) {
  rt_state state = start(program, weights, run);
  int64_t values[ONNXC_RT_MAX_DIMS];
  if (program->num_dims > ONNXC_RT_MAX_DIMS)
    return fail(run, ONNXC_INTERNAL, "the descriptor is damaged");
  state.values = values;
  int status = plan_shapes(&state);
  return status == ONNXC_OK ? needed_workspace(&state, &run->workspace_size) : status;
}

/* ---- running ---- */

static int begin_segment(rt_state *state, int32_t segment, unsigned char *slots) {
  int status = ONNXC_OK;
  if (segment > 0) { /* planning did this for segment 0 */
    status = evaluate_dims(state, segment);
    if (status == ONNXC_OK)
      status = check_dims(state, segment);
    if (status == ONNXC_OK)
      status = shape_outputs(state, segment);
  }
  if (status == ONNXC_OK)
    status = place_slots(state, segment, slots);
  if (status == ONNXC_OK)
    status = bind_buffers(state, segment);
  if (status == ONNXC_OK)
    fill_lists(state, segment);
  return status;
}

/* Segments behind the last stage only give shapes to outputs. */
static int end_segments(rt_state *state, int32_t segment) {
  int status = ONNXC_OK;
  while (status == ONNXC_OK && segment + 1 < state->program->num_segments)
    status = begin_segment(state, ++segment, NULL);
  return status;
}

static void run_tasks(const rt_state *state, const onnxc_rt_stage *stage, int64_t first, int64_t last, int thread) {
  size_t scratch = ((size_t)state->program->scratch_size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
  onnxc_stage_context context = {
      .dims = state->list_values + stage->dims,
      .buffers = state->list_pointers + stage->buffers,
      .scratch = state->scratch + scratch * (size_t)thread,
  };
  if (first < last)
    state->program->functions[stage->function](&context, first, last);
}

/* Task number where part k of n begins. */
static int64_t part_start(int64_t tasks, int64_t n, int64_t k) {
  int64_t share = tasks / n, more = tasks % n;
  return k * share + (k < more ? k : more);
}

typedef struct rt_chunks {
  const rt_state *state;
  const onnxc_rt_stage *stage;
  int64_t tasks, chunks;
} rt_chunks;

static void run_chunk(void *arg, int64_t chunk, int thread) {
  const rt_chunks *job = arg;
  if (thread >= 0 && thread < job->state->threads)
    run_tasks(job->state, job->stage, part_start(job->tasks, job->chunks, chunk),
              part_start(job->tasks, job->chunks, chunk + 1), thread);
}

static void run_stage(const rt_state *state, const onnxc_rt_stage *stage) {
  enum { CHUNKS_A_THREAD = 4 };
  int64_t tasks = state->values[stage->tasks_dim];
  if (state->threads == 1 || tasks <= 1) {
    run_tasks(state, stage, 0, tasks, 0);
    return;
  }
  int64_t most = (int64_t)state->threads * CHUNKS_A_THREAD;
  rt_chunks job = {state, stage, tasks, tasks < most ? tasks : most};
  state->run->parallel_for(state->run->pool, job.chunks, run_chunk, &job);
}

/* One thread of a team: all go through the same stages, each does its slice; thread 0 also opens segments. */
static void run_member(void *arg, int thread, int threads, void (*barrier)(void)) {
  rt_state *state = arg;
  const onnxc_rt_program *program = state->program;
  int32_t segment = 0;
  for (int64_t k = 0; k < program->num_stages; k++) {
    const onnxc_rt_stage *stage = &program->stages[k];
    while (segment < stage->segment) {
      segment++;
      if (thread == 0)
        state->status = begin_segment(state, segment, NULL);
      barrier();
      if (state->status != ONNXC_OK)
        return;
    }
    int64_t tasks = state->values[stage->tasks_dim];
    run_tasks(state, stage, part_start(tasks, threads, thread), part_start(tasks, threads, thread + 1), thread);
    bool thread_0_goes_on = tasks <= 1 && k + 1 < program->num_stages && stage[1].segment == stage->segment &&
                            state->values[stage[1].tasks_dim] <= 1;
    if (!thread_0_goes_on)
      barrier();
  }
  if (thread == 0)
    state->status = end_segments(state, segment);
}

static int run_alone(rt_state *state) {
  const onnxc_rt_program *program = state->program;
  int32_t segment = 0;
  for (int64_t k = 0; k < program->num_stages; k++) {
    const onnxc_rt_stage *stage = &program->stages[k];
    while (segment < stage->segment) {
      int status = begin_segment(state, ++segment, NULL);
      if (status != ONNXC_OK)
        return status;
    }
    run_stage(state, stage);
    if (state->stage_done)
      state->stage_done(state->stage_done_arg, k);
  }
  return end_segments(state, segment);
}

static int run_started(rt_state *state) {
  onnxc_run *run = state->run;
  size_t tables = 0, needed = 0, slots = 0;
  if (!place_tables(state, NULL, &tables))
    return fail(run, ONNXC_INTERNAL, "the descriptor is damaged");
  if (!run->workspace || (uintptr_t)run->workspace % ALIGN != 0)
    return fail(run, ONNXC_USAGE, "run.workspace must be aligned to 64 bytes");
  if (run->workspace_size < tables)
    return fail(run, ONNXC_USAGE, "run.workspace is too small: plan first");
  unsigned char *base = run->workspace;
  place_tables(state, base, &tables);
  int status = plan_shapes(state);
  if (status == ONNXC_OK)
    status = needed_workspace(state, &needed);
  if (status != ONNXC_OK)
    return status;
  if (run->workspace_size < needed) {
    rt_text text = message_of(run);
    put(&text, "run.workspace has ");
    put_number(&text, (int64_t)run->workspace_size);
    put(&text, " bytes, needed are ");
    put_number(&text, (int64_t)needed);
    return ONNXC_USAGE;
  }
  slots_size(state, 0, &slots);
  state->scratch = base + tables + slots;
  state->rest = base + needed;
  state->rest_size = run->workspace_size - needed;
  status = begin_segment(state, 0, base + tables);
  if (status != ONNXC_OK)
    return status;
  if (state->threads > 1 && !run->parallel_for) {
    state->program->team(state->threads, run_member, state);
    return state->status;
  }
  return run_alone(state);
}

int onnxc_rt_run(const onnxc_rt_program *program, const void *weights, onnxc_run *run) {
  rt_state state = start(program, weights, run);
  return run_started(&state);
}

int onnxc_rt_run_watched(const onnxc_rt_program *program, const void *weights, onnxc_run *run,
                         onnxc_rt_stage_done stage_done, void *arg) {
  rt_state state = start(program, weights, run);
  state.threads = 1;
  state.stage_done = stage_done;
  state.stage_done_arg = arg;
  return run_started(&state);
}
