/* run.c -- runs a planned model: places memory, binds addresses, calls the stages; see state.h.
 *
 * The result does not depend on the number of threads: tasks of a stage are independent and each is
 * computed as if alone, so only who does what changes.
 */
#include "rt/state.h"

/* ---- memory ---- */

static int place_slots(onnxc_rt_state *state, int32_t segment, unsigned char *memory) {
  const onnxc_rt_program *program = state->program;
  size_t size = 0;
  if (!onnxc_rt_slots_size(state, segment, &size))
    return onnxc_rt_fail(state->run, ONNXC_BAD_INPUT, "the shapes are so large that the workspace's size overflows");
  if (segment > 0 && size > 0) {
    if (size <= state->rest_size) {
      memory = state->rest;
      state->rest += size;
      state->rest_size -= size;
    } else {
      memory = state->run->allocate ? state->run->allocate(state->run->allocate_arg, size, 0) : NULL;
      if (!memory)
        return onnxc_rt_fail(state->run, ONNXC_OUT_OF_MEMORY,
                             "run.allocate gave no memory for sizes that depend on data");
    }
  }
  size_t offset = 0;
  for (int64_t k = 0; k < program->num_slots; k++) {
    const onnxc_rt_slot *slot = &program->slots[k];
    if (slot->segment != segment)
      continue;
    state->slots[k] = memory + (slot->offset >= 0 ? (size_t)slot->offset : offset);
    if (slot->offset < 0)
      onnxc_rt_add_bytes(&offset, 1, state->values[slot->size_dim]); /* cannot fail: slots_size added the same */
  }
  return ONNXC_OK;
}

static int bind_output(onnxc_rt_state *state, int64_t index, int64_t size) {
  onnxc_tensor *tensor = &state->run->outputs[index];
  const onnxc_tensor_info *info = &state->program->info.outputs[index];
  if (tensor->data || size == 0)
    return ONNXC_OK;
  if ((info->flags & ONNXC_TENSOR_DYNAMIC) && state->run->allocate)
    tensor->data = state->run->allocate(state->run->allocate_arg, (size_t)size, 1 + (int)index);
  if (tensor->data)
    return ONNXC_OK;
  onnxc_rt_text text = onnxc_rt_about(state->run, "output", info->name);
  onnxc_rt_put(&text, info->flags & ONNXC_TENSOR_DYNAMIC ? "run.allocate gave no memory" : "its data is NULL");
  return info->flags & ONNXC_TENSOR_DYNAMIC ? ONNXC_OUT_OF_MEMORY : ONNXC_USAGE;
}

static int bind_buffers(onnxc_rt_state *state, int32_t segment) {
  const onnxc_rt_program *program = state->program;
  for (int64_t k = 0; k < program->num_buffers; k++) {
    const onnxc_rt_buffer *buffer = &program->buffers[k];
    if (buffer->segment != segment)
      continue;
    int64_t size = state->values[buffer->size_dim];
    if (size < 0)
      return onnxc_rt_fail(state->run, ONNXC_BAD_INPUT,
                           "a tensor would have a negative size; the inputs are too small");
    unsigned char *address = NULL;
    int status = ONNXC_OK;
    switch (buffer->kind) {
    case ONNXC_RT_INPUT: {
      address = state->run->inputs[buffer->index].data;
      if (!address && size > 0) {
        onnxc_rt_text text = onnxc_rt_about(state->run, "input", program->info.inputs[buffer->index].name);
        onnxc_rt_put(&text, "its data is NULL");
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

static void fill_lists(onnxc_rt_state *state, int32_t segment) {
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

/* ---- running ---- */

static int begin_segment(onnxc_rt_state *state, int32_t segment, unsigned char *slots) {
  int status = ONNXC_OK;
  if (segment > 0) { /* planning did this for segment 0 */
    status = onnxc_rt_evaluate_dims(state, segment);
    if (status == ONNXC_OK)
      status = onnxc_rt_check_dims(state, segment);
    if (status == ONNXC_OK)
      status = onnxc_rt_shape_outputs(state, segment);
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
static int end_segments(onnxc_rt_state *state, int32_t segment) {
  int status = ONNXC_OK;
  while (status == ONNXC_OK && segment + 1 < state->program->num_segments)
    status = begin_segment(state, ++segment, NULL);
  return status;
}

static void tell(const onnxc_rt_state *state, onnxc_rt_event event, const onnxc_rt_stage *stage, int thread) {
  if (state->watch)
    state->watch(state->watch_arg, event, stage - state->program->stages, thread);
}

static void run_tasks(const onnxc_rt_state *state, const onnxc_rt_stage *stage, int64_t first, int64_t last,
                      int thread) {
  size_t scratch = ((size_t)state->program->scratch_size + ONNXC_RT_ALIGN - 1) & ~(size_t)(ONNXC_RT_ALIGN - 1);
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
  const onnxc_rt_state *state;
  const onnxc_rt_stage *stage;
  int64_t tasks, chunks;
  bool refused; /* there was a number of no thread */
} rt_chunks;

static void run_chunk(void *arg, int64_t chunk, int thread) {
  rt_chunks *job = arg;
  if (thread < 0 || thread >= job->state->threads) {
    __atomic_store_n(&job->refused, true, __ATOMIC_RELAXED);
    return;
  }
  tell(job->state, ONNXC_RT_BEGIN, job->stage, thread);
  run_tasks(job->state, job->stage, part_start(job->tasks, job->chunks, chunk),
            part_start(job->tasks, job->chunks, chunk + 1), thread);
  tell(job->state, ONNXC_RT_END, job->stage, thread);
}

/* All of a stage by thread 0. */
static void run_whole(const onnxc_rt_state *state, const onnxc_rt_stage *stage) {
  tell(state, ONNXC_RT_BEGIN, stage, 0);
  run_tasks(state, stage, 0, state->values[stage->tasks_dim], 0);
  tell(state, ONNXC_RT_END, stage, 0);
}

/* How many of `threads` are worth their while in a stage, whose sizes are known. */
static int64_t threads_of(const onnxc_rt_state *state, const onnxc_rt_stage *stage, int64_t threads) {
  int64_t tasks = state->values[stage->tasks_dim], paid = state->values[stage->work_dim] / state->program->thread_work;
  int64_t most = tasks < paid ? tasks : paid;
  return most < 1 ? 1 : most < threads ? most : threads;
}

/* A few chunks a thread even out what they lose to others. */
static int run_stage(const onnxc_rt_state *state, const onnxc_rt_stage *stage) {
  enum { CHUNKS_A_THREAD = 4 };
  int64_t tasks = state->values[stage->tasks_dim], threads = threads_of(state, stage, state->threads);
  if (threads == 1) {
    run_whole(state, stage);
    return ONNXC_OK;
  }
  int64_t chunks = threads < state->threads ? threads : threads * CHUNKS_A_THREAD;
  rt_chunks job = {state, stage, tasks, tasks < chunks ? tasks : chunks, false};
  state->run->parallel_for(state->run->pool, job.chunks, run_chunk, &job);
  return job.refused
             ? onnxc_rt_fail(state->run, ONNXC_USAGE, "run.parallel_for names a thread that run.num_threads lacks")
             : ONNXC_OK;
}

/* Where the next step behind the first begins. */
static int64_t take(onnxc_rt_queue *queue, int64_t step) {
  return step + __atomic_fetch_add(&queue->taken, step, __ATOMIC_RELAXED);
}

/* A thread's part of a stage, which is the same in every run and, for equal grids, in every stage; then what is left of
 * the others' parts, since tasks differ and so do cores. The first step of a part is always its own thread's. */
static void run_part(const onnxc_rt_state *state, const onnxc_rt_stage *stage, int64_t parts, int thread,
                     onnxc_rt_queue *queues) {
  enum { STEPS = 8 };
  int64_t tasks = state->values[stage->tasks_dim];
  tell(state, ONNXC_RT_BEGIN, stage, thread);
  for (int64_t k = 0; k < parts; k++) {
    int64_t part = (thread + k) % parts, start = part_start(tasks, parts, part);
    int64_t size = part_start(tasks, parts, part + 1) - start, step = (size + STEPS - 1) / STEPS;
    int64_t at = k == 0 ? 0 : take(&queues[part], step);
    for (; at < size; at = take(&queues[part], step))
      run_tasks(state, stage, start + at, start + (at + step < size ? at + step : size), thread);
  }
  tell(state, ONNXC_RT_END, stage, thread);
}

/* One thread of a team: all go through the same stages, each does its part; thread 0 also opens segments. */
static void run_member(void *arg, int thread, int threads, void (*barrier)(void)) {
  onnxc_rt_state *state = arg;
  const onnxc_rt_program *program = state->program;
  int32_t segment = 0;
  int turn = 0; /* of the queues */
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
    int64_t parts = threads_of(state, stage, threads);
    if (parts > 1) {
      if (thread < parts)
        run_part(state, stage, parts, thread, state->queues[turn]);
      turn = 1 - turn; /* whose users have all passed a barrier */
      state->queues[turn][thread].taken = 0;
    } else if (thread == 0) {
      run_whole(state, stage);
    }
    bool thread_0_goes_on = parts == 1 && k + 1 < program->num_stages && stage[1].segment == stage->segment &&
                            threads_of(state, &stage[1], threads) == 1;
    if (!thread_0_goes_on)
      barrier();
    if (thread == 0)
      tell(state, ONNXC_RT_DONE, stage, 0);
  }
  if (thread == 0)
    state->status = end_segments(state, segment);
}

static int run_alone(onnxc_rt_state *state) {
  const onnxc_rt_program *program = state->program;
  int32_t segment = 0;
  for (int64_t k = 0; k < program->num_stages; k++) {
    const onnxc_rt_stage *stage = &program->stages[k];
    while (segment < stage->segment) {
      int status = begin_segment(state, ++segment, NULL);
      if (status != ONNXC_OK)
        return status;
    }
    int status = run_stage(state, stage);
    if (status != ONNXC_OK)
      return status;
    tell(state, ONNXC_RT_DONE, stage, 0);
  }
  return end_segments(state, segment);
}

/* Whether any stage is worth a second thread. What later segments do is not known yet. */
static bool needs_team(const onnxc_rt_state *state) {
  const onnxc_rt_program *program = state->program;
  for (int64_t k = 0; k < program->num_stages; k++)
    if (program->stages[k].segment > 0 || threads_of(state, &program->stages[k], state->threads) > 1)
      return true;
  return false;
}

static int run_started(onnxc_rt_state *state) {
  onnxc_run *run = state->run;
  size_t tables = 0, needed = 0, slots = 0;
  if (!onnxc_rt_place_tables(state, NULL, &tables))
    return onnxc_rt_fail(run, ONNXC_INTERNAL, "the descriptor is damaged");
  if (!run->workspace || (uintptr_t)run->workspace % ONNXC_RT_ALIGN != 0)
    return onnxc_rt_fail(run, ONNXC_USAGE, "run.workspace must be aligned to 64 bytes");
  if (run->workspace_size < tables)
    return onnxc_rt_fail(run, ONNXC_USAGE, "run.workspace is too small: plan first");
  unsigned char *base = run->workspace;
  onnxc_rt_place_tables(state, base, &tables);
  int status = onnxc_rt_plan_shapes(state);
  if (status == ONNXC_OK)
    status = onnxc_rt_needed_workspace(state, &needed);
  if (status != ONNXC_OK)
    return status;
  if (run->workspace_size < needed) {
    onnxc_rt_text text = onnxc_rt_message(run);
    onnxc_rt_put(&text, "run.workspace has ");
    onnxc_rt_put_number(&text, (int64_t)run->workspace_size);
    onnxc_rt_put(&text, " bytes, needed are ");
    onnxc_rt_put_number(&text, (int64_t)needed);
    return ONNXC_USAGE;
  }
  onnxc_rt_slots_size(state, 0, &slots);
  state->scratch = base + tables + slots;
  state->queues[0] = (void *)(base + needed - 2 * (size_t)state->threads * sizeof(onnxc_rt_queue));
  state->queues[1] = state->queues[0] + state->threads;
  state->rest = base + needed;
  state->rest_size = run->workspace_size - needed;
  status = begin_segment(state, 0, base + tables);
  if (status != ONNXC_OK)
    return status;
  if (state->threads > 1 && !run->parallel_for && needs_team(state)) {
    for (int k = 0; k < state->threads; k++)
      state->queues[0][k].taken = 0;
    state->program->team(state->threads, run_member, state);
    return state->status;
  }
  return run_alone(state);
}

int onnxc_rt_run(const onnxc_rt_program *program, const void *weights, onnxc_run *run) {
  onnxc_rt_state state = onnxc_rt_start(program, weights, run);
  return run_started(&state);
}

int onnxc_rt_run_watched(const onnxc_rt_program *program, const void *weights, onnxc_run *run, onnxc_rt_watch watch,
                         void *arg) {
  onnxc_rt_state state = onnxc_rt_start(program, weights, run);
  state.watch = watch;
  state.watch_arg = arg;
  return run_started(&state);
}
