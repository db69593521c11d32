/* describe.c -- from a tile program and its code's lists to the descriptor that the run-time interprets.
 *
 * Steps: the buffers that anything uses get a slot, the one that an alias lies in before its alias; each gets its
 * kind (input, output, weights, workspace, view); the dims that a run needs are numbered; lifetimes over the
 * stages plan the workspace; constants are laid out, equal ones once, in the weights section.
 *
 * An output may be a view of an intermediate tensor (a reshape at the end): then that tensor is the output's
 * memory. Outputs that are inputs or constants, or that share memory, must have got copies in the tile program.
 *
 * Segments: what depends on elements of a computed tensor is known one segment after the stage that computes it.
 */
#include "base/hash.h"
#include "emit/describe.h"
#include "emit/machine.h"
#include "tile/note.h"
#include "tile/views.h"

#include <string.h>

/* To wake and to wait for a thread takes about a microsecond: a part of a stage must be worth that. */
enum { ALIGN = 64, THREAD_CLOCKS = 4096 };

typedef struct describer {
  onnxc_arena *arena;
  const onnxc_tile_program *program;
  onnxc_graph *graph;
  const onnxc_stage_code *code;
  onnxc_slots slots;
  onnxc_status status;      /* of the first error */
  uint32_t *buffer_of;      /* by value: its program buffer, 0 = none */
  uint32_t *number;         /* by program buffer: its slot, or ONNXC_NO_SLOT */
  int32_t *input_of;        /* by value: input number, or -1 */
  uint32_t num_buffers;     /* slots */
  uint32_t *program_buffer; /* by slot */
  onnxc_rt_buffer *buffers;
  uint32_t *root; /* by slot: the slot whose memory it lies in */
  onnxc_rt_io *inputs, *outputs;
  ONNXC_VEC(onnxc_rt_constraint) constraints;
  onnxc_amounts *amounts; /* by stage */
  int64_t largest_live_set;
} describer;

static onnxc_status internal(describer *d, const char *what, const char *name) {
  if (d->status == ONNXC_OK)
    d->status = onnxc_error(d->graph->diag, ONNXC_INTERNAL, "%s '%s'", what, name ? name : "");
  return d->status;
}

static uint32_t slot_of(describer *d, onnxc_dim dim) { return onnxc_slot_of(&d->slots, dim, &d->status); }

static const onnxc_buffer *buffer_at(const describer *d, uint32_t slot) {
  return &d->program->buffers.data[d->program_buffer[slot]];
}

/* ---- buffers ---- */

static bool has_elements(const describer *d, onnxc_value value) {
  for (uint32_t k = 1; k < d->graph->dims.symbols.length; k++) {
    const onnxc_symbol *symbol = &d->graph->dims.symbols.data[k];
    if (symbol->source == ONNXC_SYM_ELEMENT && symbol->index == value.i)
      return true;
  }
  return false;
}

/* Numbers a program buffer, after what it lies in. */
static void number_buffer(describer *d, uint32_t b) {
  const onnxc_tile_program *program = d->program;
  while (d->number[b] == ONNXC_NO_SLOT) {
    uint32_t base = b, steps = 0;
    while (program->buffers.data[base].alias && d->number[program->buffers.data[base].alias] == ONNXC_NO_SLOT) {
      base = program->buffers.data[base].alias;
      if (steps++ > program->buffers.length) {
        internal(d, "buffers alias each other in a circle at", program->buffers.data[b].name);
        return;
      }
    }
    d->number[base] = d->num_buffers;
    d->program_buffer[d->num_buffers++] = base;
  }
}

static void number_buffers(describer *d) {
  const onnxc_tile_program *program = d->program;
  uint32_t length = program->buffers.length;
  d->buffer_of = ONNXC_NEW_ARRAY(d->arena, uint32_t, d->graph->values.length);
  d->number = ONNXC_NEW_ARRAY(d->arena, uint32_t, length);
  d->program_buffer = ONNXC_NEW_ARRAY(d->arena, uint32_t, length);
  for (uint32_t b = 1; b < length; b++) {
    const onnxc_buffer *buffer = &program->buffers.data[b];
    d->number[b] = ONNXC_NO_SLOT;
    if (buffer->space == ONNXC_SPACE_VALUE && buffer->value.i && !d->buffer_of[buffer->value.i])
      d->buffer_of[buffer->value.i] = b;
  }
  for (uint32_t s = 0; s < program->stages.length; s++)
    for (uint32_t k = 0; k < d->code[s].num_buffers; k++)
      number_buffer(d, d->code[s].buffers[k]);
  for (uint32_t k = 0; k < d->graph->inputs.length; k++)
    if (d->buffer_of[d->graph->inputs.data[k].i])
      number_buffer(d, d->buffer_of[d->graph->inputs.data[k].i]);
  for (uint32_t k = 0; k < d->graph->outputs.length; k++) {
    uint32_t b = d->buffer_of[d->graph->outputs.data[k].i];
    if (b)
      number_buffer(d, b);
    else
      internal(d, "no memory was made for output", d->graph->output_names.data[k]);
  }
  for (uint32_t v = 1; v < d->graph->values.length; v++)
    if (d->buffer_of[v] && has_elements(d, (onnxc_value){v}))
      number_buffer(d, d->buffer_of[v]);
}

/* A size of a buffer: 0 where the buffer is not there, for then its dims may mean nothing. One that is known stays so:
 * memory is planned with it. */
static onnxc_dim where_there(describer *d, const onnxc_buffer *buffer, onnxc_dim size) {
  if (!buffer->condition.i || onnxc_dim_is_const(&d->graph->dims, size, NULL))
    return size;
  return onnxc_dim_mul(&d->graph->dims, size, buffer->condition);
}

static onnxc_dim buffer_bytes(describer *d, const onnxc_buffer *buffer) {
  onnxc_dim extents[ONNXC_LAYOUT_MAX_AXES], strides[ONNXC_LAYOUT_MAX_AXES];
  onnxc_layout layout = onnxc_layout_explicit(&buffer->layout, buffer->rank);
  onnxc_dim count = onnxc_layout_strides(&d->graph->dims, &layout, buffer->rank, buffer->dims, extents, strides);
  return where_there(d, buffer, onnxc_dim_mulc(&d->graph->dims, count, (int64_t)onnxc_dtype_bytes(buffer->dtype)));
}

/* Kinds of all buffers but outputs. */
static void classify(describer *d) {
  d->buffers = ONNXC_NEW_ARRAY(d->arena, onnxc_rt_buffer, d->num_buffers);
  d->root = ONNXC_NEW_ARRAY(d->arena, uint32_t, d->num_buffers);
  for (uint32_t k = 0; k < d->num_buffers; k++) {
    const onnxc_buffer *buffer = buffer_at(d, k);
    onnxc_rt_buffer *out = &d->buffers[k];
    d->root[k] = k;
    out->index = -1;
    if (buffer->space != ONNXC_SPACE_VALUE)
      internal(d, "a stage's list names scratch memory", buffer->name);
    if (buffer->alias) {
      out->kind = ONNXC_RT_VIEW;
      out->index = d->number[buffer->alias];
      d->root[k] = d->root[out->index];
    } else if (onnxc_value_is_constant(d->graph, buffer->value)) {
      out->kind = ONNXC_RT_WEIGHT;
    } else if (d->input_of[buffer->value.i] >= 0) {
      out->kind = ONNXC_RT_INPUT;
      out->index = d->input_of[buffer->value.i];
    } else {
      out->kind = ONNXC_RT_WORKSPACE;
    }
  }
}

static void place_outputs(describer *d) {
  for (uint32_t k = 0; k < d->graph->outputs.length; k++) {
    uint32_t slot = d->number[d->buffer_of[d->graph->outputs.data[k].i]], root = d->root[slot];
    bool whole = onnxc_dim_same(buffer_bytes(d, buffer_at(d, slot)), buffer_bytes(d, buffer_at(d, root)));
    for (uint32_t s = slot; s != root; s = (uint32_t)d->buffers[s].index)
      whole = whole &&
              (!buffer_at(d, s)->alias_offset.i || onnxc_dim_is(&d->graph->dims, buffer_at(d, s)->alias_offset, 0));
    if (d->buffers[root].kind != ONNXC_RT_WORKSPACE || !whole) {
      internal(d, "the tile program makes no copy for output", d->graph->output_names.data[k]);
      return;
    }
    d->buffers[root].kind = ONNXC_RT_OUTPUT;
    d->buffers[root].index = k;
    d->outputs[k].buffer = slot;
  }
}

/* ---- segments ---- */

/* For each integer tensor whose elements are symbols: its slot and the segment in which they can be read. */
static void find_elements(describer *d) {
  uint32_t *slot = ONNXC_NEW_ARRAY(d->arena, uint32_t, d->graph->values.length);
  onnxc_dim *condition = ONNXC_NEW_ARRAY(d->arena, onnxc_dim, d->graph->values.length);
  int32_t *segment = ONNXC_NEW_ARRAY(d->arena, int32_t, d->graph->values.length);
  for (uint32_t v = 1; v < d->graph->values.length; v++) {
    slot[v] = d->buffer_of[v] ? d->number[d->buffer_of[v]] : ONNXC_NO_SLOT;
    if (slot[v] == ONNXC_NO_SLOT || !has_elements(d, (onnxc_value){v}))
      continue;
    condition[v] = buffer_at(d, slot[v])->condition;
    uint32_t root = d->root[slot[v]];
    if (d->buffers[root].kind != ONNXC_RT_INPUT)
      segment[v] = (int32_t)onnxc_tile_written_in(d->program, d->program_buffer[root]) + 1;
  }
  d->slots.element_buffer = slot;
  d->slots.element_segment = segment;
  d->slots.element_condition = condition;
}

/* ---- dims, constraints ---- */

static void constrain(describer *d, uint32_t a, uint32_t b, const char *message) {
  if (a != b)
    ONNXC_PUSH(d->arena, d->constraints, ((onnxc_rt_constraint){a, b, message}));
}

/* The compiler relied on the symbols' ranges, so a run checks them. */
static void check_symbols(describer *d) {
  for (uint32_t k = 1; k < d->graph->dims.symbols.length; k++) {
    onnxc_symbol symbol = d->graph->dims.symbols.data[k];
    onnxc_dim dim = onnxc_dim_sym(&d->graph->dims, (onnxc_sym){k});
    if (dim.i >= d->slots.of_dim_size || !d->slots.of_dim[dim.i])
      continue; /* no run needs it */
    uint32_t slot = d->slots.of_dim[dim.i] - 1;
    if (symbol.low > INT64_MIN)
      constrain(d, slot, onnxc_slot_binary(&d->slots, ONNXC_RT_MAX, slot, onnxc_slot_const(&d->slots, symbol.low)),
                onnxc_arena_printf(d->arena, "dim '%s' is too small", symbol.name));
    if (symbol.high < INT64_MAX)
      constrain(d, slot, onnxc_slot_binary(&d->slots, ONNXC_RT_MIN, slot, onnxc_slot_const(&d->slots, symbol.high)),
                onnxc_arena_printf(d->arena, "dim '%s' is too large", symbol.name));
    if (symbol.divisor > 1)
      constrain(
          d, onnxc_slot_binary(&d->slots, ONNXC_RT_MOD, slot, onnxc_slot_const(&d->slots, symbol.divisor)),
          onnxc_slot_const(&d->slots, 0),
          onnxc_arena_printf(d->arena, "dim '%s' is no multiple of %lld", symbol.name, (long long)symbol.divisor));
  }
}

/* No extent may come out negative: loops would do nothing, but products of two such would look like sizes. */
static void check_extents(describer *d) {
  for (uint32_t k = 0; k < d->num_buffers; k++) {
    const onnxc_buffer *buffer = buffer_at(d, k);
    for (uint32_t x = 0; x < buffer->rank; x++) {
      int64_t low, high;
      onnxc_dim_range(&d->graph->dims, buffer->dims[x], &low, &high);
      if (low >= 0)
        continue;
      uint32_t slot = slot_of(d, where_there(d, buffer, buffer->dims[x]));
      constrain(d, slot, onnxc_slot_binary(&d->slots, ONNXC_RT_MAX, slot, onnxc_slot_const(&d->slots, 0)),
                "the inputs are too small: a tensor inside would have a negative extent");
    }
  }
}

static void describe_sizes(describer *d) {
  for (uint32_t k = 0; k < d->num_buffers; k++) {
    const onnxc_buffer *buffer = buffer_at(d, k);
    onnxc_rt_buffer *out = &d->buffers[k];
    out->size_dim = slot_of(d, buffer_bytes(d, buffer));
    out->segment = d->slots.dims.data[out->size_dim].segment;
    if (out->kind != ONNXC_RT_VIEW)
      continue;
    onnxc_dim offset = buffer->alias_offset.i ? buffer->alias_offset : onnxc_dim_const(&d->graph->dims, 0);
    out->offset_dim = slot_of(d, onnxc_dim_mulc(&d->graph->dims, offset, (int64_t)onnxc_dtype_bytes(buffer->dtype)));
    int32_t known = d->slots.dims.data[out->offset_dim].segment, base = d->buffers[out->index].segment;
    out->segment = known > out->segment ? known : out->segment;
    out->segment = base > out->segment ? base : out->segment;
  }
}

/* ---- stages, lifetimes ---- */

static void describe_stages(describer *d, onnxc_rt_program *result) {
  uint32_t count = d->program->stages.length;
  onnxc_rt_stage *stages = ONNXC_NEW_ARRAY(d->arena, onnxc_rt_stage, count);
  ONNXC_VEC(int64_t) buffers = {0}, dims = {0};
  onnxc_counter *counter = onnxc_counter_new(d->program, d->arena);
  onnxc_dim flops = onnxc_dim_const(&d->graph->dims, 0);
  d->amounts = ONNXC_NEW_ARRAY(d->arena, onnxc_amounts, count);
  for (uint32_t s = 0; s < count; s++) {
    const onnxc_stage *stage = &d->program->stages.data[s];
    const onnxc_stage_code *code = &d->code[s];
    onnxc_rt_stage *out = &stages[s];
    out->function = (int32_t)(stage->same_as ? stage->same_as - 1 : s);
    out->segment = (int32_t)stage->segment;
    out->tasks_dim = slot_of(d, stage->num_tasks);
    d->amounts[s] = onnxc_count_stage(counter, s);
    onnxc_dim condition = onnxc_tile_condition(d->program, &stage->body);
    if (condition.i) {
      d->amounts[s].flops = onnxc_dim_mul(&d->graph->dims, d->amounts[s].flops, condition);
      d->amounts[s].work = onnxc_dim_mul(&d->graph->dims, d->amounts[s].work, condition);
    }
    flops = onnxc_dim_add(&d->graph->dims, flops, d->amounts[s].flops);
    out->flops_dim = slot_of(d, d->amounts[s].flops);
    out->work_dim = slot_of(d, d->amounts[s].work);
    out->buffers = buffers.length;
    out->num_buffers = code->num_buffers;
    out->dims = dims.length;
    out->num_dims = code->num_dims;
    int32_t known = d->slots.dims.data[out->tasks_dim].segment, sized = d->slots.dims.data[out->work_dim].segment;
    known = sized > known ? sized : known;
    for (uint32_t k = 0; k < code->num_buffers; k++) {
      uint32_t slot = d->number[code->buffers[k]];
      known = d->buffers[slot].segment > known ? d->buffers[slot].segment : known;
      ONNXC_PUSH(d->arena, buffers, (int64_t)slot);
    }
    for (uint32_t k = 0; k < code->num_dims; k++) {
      uint32_t slot = slot_of(d, code->dims[k]);
      known = d->slots.dims.data[slot].segment > known ? d->slots.dims.data[slot].segment : known;
      ONNXC_PUSH(d->arena, dims, (int64_t)slot);
    }
    if (known > out->segment || (s > 0 && out->segment < stages[s - 1].segment))
      internal(d, "a size that depends on data is not known when a stage starts:", stage->name);
    if (out->segment >= result->num_segments)
      result->num_segments = out->segment + 1;
    if ((int64_t)code->scratch_size > result->scratch_size)
      result->scratch_size = (int64_t)code->scratch_size;
  }
  result->flops_dim = slot_of(d, flops);
  result->thread_work = (int64_t)THREAD_CLOCKS * d->program->target->fma_ports * d->program->target->vector_bytes / 4;
  result->stages = stages;
  result->num_stages = count;
  result->buffer_lists = buffers.data;
  result->dim_lists = dims.data;
  result->functions = ONNXC_NEW_ARRAY(d->arena, onnxc_stage_fn, count);
}

static void use(onnxc_life *life, uint32_t stage) {
  if (stage < life->first)
    life->first = stage;
  if (stage > life->last)
    life->last = stage;
}

/* An integer tensor whose elements bind symbols lives until they have been read. */
static void use_elements(describer *d, const onnxc_rt_program *result, onnxc_life *by_root) {
  for (uint32_t k = 0; k < d->slots.dims.length; k++) {
    const onnxc_rt_dim *dim = &d->slots.dims.data[k];
    if (dim->op != ONNXC_RT_ELEMENT || dim->segment == 0)
      continue;
    uint32_t stage = 0;
    while (stage + 1 < (uint32_t)result->num_stages && result->stages[stage].segment < dim->segment)
      stage++;
    use(&by_root[d->root[dim->a]], stage);
  }
}

static int earlier(const onnxc_life *a, const onnxc_life *b) {
  return a->first != b->first ? a->first < b->first : a->buffer < b->buffer;
}

static void plan_workspace(describer *d, onnxc_rt_program *result) {
  onnxc_life *by_root = ONNXC_NEW_ARRAY(d->arena, onnxc_life, d->num_buffers);
  for (uint32_t k = 0; k < d->num_buffers; k++)
    by_root[k] = (onnxc_life){.buffer = k, .first = UINT32_MAX, .segment = d->buffers[k].segment};
  for (uint32_t s = 0; s < result->num_stages; s++)
    for (uint32_t k = 0; k < d->code[s].num_buffers; k++)
      use(&by_root[d->root[d->number[d->code[s].buffers[k]]]], s);
  use_elements(d, result, by_root);
  onnxc_life *lives = ONNXC_NEW_ARRAY(d->arena, onnxc_life, d->num_buffers);
  uint32_t count = 0;
  for (uint32_t k = 0; k < d->num_buffers; k++) {
    if (d->buffers[k].kind != ONNXC_RT_WORKSPACE || by_root[k].first == UINT32_MAX)
      continue;
    by_root[k].size = buffer_bytes(d, buffer_at(d, k));
    uint32_t at = count++; /* sorted by first stage: nearly in order already */
    for (; at > 0 && earlier(&by_root[k], &lives[at - 1]); at--)
      lives[at] = lives[at - 1];
    lives[at] = by_root[k];
  }
  d->largest_live_set = onnxc_largest_live_set(d->graph, lives, count, 1);
  uint32_t num_slots = 0;
  result->slots = onnxc_plan_memory(&d->slots, lives, count, &num_slots, &result->static_workspace, &d->status);
  result->num_slots = num_slots;
  for (uint32_t k = 0; k < count; k++)
    d->buffers[lives[k].buffer].index = lives[k].slot;
  for (uint32_t k = 0; k < d->num_buffers; k++) /* named by no stage: nothing reads or writes it */
    if (d->buffers[k].kind == ONNXC_RT_WORKSPACE && d->buffers[k].index < 0)
      d->buffers[k] = (onnxc_rt_buffer){.kind = ONNXC_RT_WEIGHT, .size_dim = d->buffers[k].size_dim};
}

/* ---- weights ---- */

/* Of a sample: all bytes of small weights, lines at equal distances of large ones. Weights that agree there are few,
 * and compared. */
static uint64_t hash_sample(const unsigned char *bytes, size_t size) {
  enum { LINE = 64, LINES = 256 };
  onnxc_hasher hasher;
  onnxc_hash_start(&hasher);
  onnxc_hash_add(&hasher, &size, sizeof size);
  if (size <= (size_t)LINE * LINES)
    onnxc_hash_add(&hasher, bytes, size);
  else
    for (size_t k = 0; k < LINES; k++)
      onnxc_hash_add(&hasher, bytes + (size - LINE) / LINES * (k + 1), LINE);
  return onnxc_hash_end(&hasher).words[0];
}

static void lay_out_weights(describer *d, onnxc_weights *weights) {
  uint32_t table_size = 64;
  while (table_size < 2 * d->num_buffers)
    table_size *= 2;
  uint32_t *table = ONNXC_NEW_ARRAY(d->arena, uint32_t, table_size);
  uint64_t *hashes = ONNXC_NEW_ARRAY(d->arena, uint64_t, d->num_buffers);
  memset(weights, 0, sizeof *weights);
  weights->pieces = ONNXC_NEW_ARRAY(d->arena, struct onnxc_weight_piece, d->num_buffers);
  for (uint32_t k = 0; k < d->num_buffers; k++) {
    if (d->buffers[k].kind != ONNXC_RT_WEIGHT || !buffer_at(d, k)->value.i)
      continue;
    const onnxc_value_info *value = onnxc_value_of(d->graph, buffer_at(d, k)->value);
    if (!value->data)
      continue;
    int64_t expected = 0;
    if (!onnxc_dim_is_const(&d->graph->dims, buffer_bytes(d, buffer_at(d, k)), &expected) ||
        (size_t)expected != value->data_size) {
      internal(d, "a constant's bytes do not fill its shape:", value->name);
      return;
    }
    uint64_t hash = hash_sample(value->data, value->data_size);
    uint32_t at = (uint32_t)hash & (table_size - 1);
    for (; table[at]; at = (at + 1) & (table_size - 1)) {
      const struct onnxc_weight_piece *piece = &weights->pieces[table[at] - 1];
      if (hashes[table[at] - 1] == hash && piece->size == value->data_size &&
          memcmp(piece->data, value->data, piece->size) == 0)
        break;
    }
    if (!table[at]) {
      size_t offset = (weights->size + ALIGN - 1) / ALIGN * ALIGN;
      hashes[weights->num_pieces] = hash;
      weights->pieces[weights->num_pieces++] = (struct onnxc_weight_piece){offset, value->data_size, value->data};
      weights->size = offset + value->data_size;
      table[at] = weights->num_pieces;
    }
    d->buffers[k].index = (int64_t)weights->pieces[table[at] - 1].offset;
  }
}

/* ---- the interface ---- */

static void describe_tensor(describer *d, onnxc_tensor_info *info, onnxc_rt_io *io, onnxc_value value,
                            const char *name) {
  const onnxc_value_info *v = onnxc_value_of(d->graph, value);
  int64_t *dims = ONNXC_NEW_ARRAY(d->arena, int64_t, ONNXC_MAX_RANK);
  const char **names = ONNXC_NEW_ARRAY(d->arena, const char *, ONNXC_MAX_RANK);
  *info = (onnxc_tensor_info){.name = name ? name : "",
                              .dtype = (int32_t)v->dtype,
                              .rank = (int32_t)v->rank,
                              .dims = dims,
                              .dim_names = names,
                              .alias = -1};
  for (uint32_t k = 0; k < v->rank; k++) {
    io->dims[k] = slot_of(d, v->dims[k]);
    if (d->slots.dims.data[io->dims[k]].segment > 0)
      info->flags |= ONNXC_TENSOR_DYNAMIC;
    dims[k] = -1;
    if (onnxc_dim_is_const(&d->graph->dims, v->dims[k], &dims[k]))
      continue;
    char text[64]; /* a long expression helps nobody */
    onnxc_dim_print(&d->graph->dims, v->dims[k], text, sizeof text);
    if (strlen(text) == sizeof text - 1)
      strcpy(text, "?");
    names[k] = onnxc_arena_copy_string(d->arena, text + (text[0] == '%' && !strpbrk(text, " *(")), strlen(text));
  }
}

static void describe_interface(describer *d, onnxc_rt_program *result) {
  onnxc_model_info *info = &result->info;
  onnxc_tensor_info *inputs = ONNXC_NEW_ARRAY(d->arena, onnxc_tensor_info, d->graph->inputs.length);
  onnxc_tensor_info *outputs = ONNXC_NEW_ARRAY(d->arena, onnxc_tensor_info, d->graph->outputs.length);
  for (uint32_t k = 0; k < d->graph->inputs.length; k++) {
    onnxc_value value = d->graph->inputs.data[k];
    d->inputs[k].buffer = d->buffer_of[value.i] ? (int64_t)d->number[d->buffer_of[value.i]] : -1;
    describe_tensor(d, &inputs[k], &d->inputs[k], value, onnxc_value_of(d->graph, value)->name);
  }
  for (uint32_t k = 0; k < d->graph->outputs.length; k++)
    describe_tensor(d, &outputs[k], &d->outputs[k], d->graph->outputs.data[k], d->graph->output_names.data[k]);
  for (uint32_t k = 0; k < d->slots.dims.length; k++) { /* all slots exist now */
    const onnxc_rt_dim *dim = &d->slots.dims.data[k];
    if (dim->op == ONNXC_RT_ELEMENT && dim->segment == 0)
      inputs[d->buffers[d->root[dim->a]].index].flags |= ONNXC_TENSOR_SHAPES;
    if (dim->segment >= result->num_segments)
      result->num_segments = dim->segment + 1;
  }
  info->target = onnxc_target_text(d->program->target, d->arena);
  result->cpu_features = onnxc_target_needs(d->program->target);
  info->abi_version = ONNXC_ABI_VERSION;
  info->num_inputs = (int32_t)d->graph->inputs.length;
  info->num_outputs = (int32_t)d->graph->outputs.length;
  info->inputs = inputs;
  info->outputs = outputs;
  info->name = d->graph->name ? d->graph->name : "";
  info->num_stages = (int32_t)d->program->stages.length;
  result->inputs = d->inputs;
  result->outputs = d->outputs;
}

/* Behind the dims of the descriptor. */
static void describe_facts(describer *d, onnxc_facts *facts) {
  uint32_t count = d->program->stages.length, first = d->slots.dims.length;
  onnxc_stage_facts *stages = ONNXC_NEW_ARRAY(d->arena, onnxc_stage_facts, count);
  for (uint32_t s = 0; s < count; s++) {
    const onnxc_stage *stage = &d->program->stages.data[s];
    const onnxc_amounts *amounts = &d->amounts[s];
    stages[s] = (onnxc_stage_facts){.name = stage->name,
                                    .nodes = stage->nodes ? stage->nodes : "",
                                    .note = onnxc_tile_note(d->program, stage, d->arena),
                                    .flops = slot_of(d, amounts->flops),
                                    .operations = slot_of(d, amounts->operations),
                                    .ticks = slot_of(d, amounts->ticks),
                                    .bytes = slot_of(d, amounts->bytes),
                                    .weight_bytes = slot_of(d, amounts->weight_bytes)};
  }
  *facts = (onnxc_facts){d->slots.dims.length - first, d->slots.dims.data + first, stages, d->largest_live_set};
}

onnxc_status onnxc_describe(onnxc_rt_program *result, onnxc_weights *weights, onnxc_facts *facts,
                            const onnxc_tile_program *program, const onnxc_stage_code *stages, onnxc_arena *arena) {
  describer d = {.arena = arena, .program = program, .graph = program->graph, .code = stages};
  memset(result, 0, sizeof *result);
  result->num_segments = 1;
  onnxc_slots_init(&d.slots, d.graph, arena);
  d.input_of = ONNXC_NEW_ARRAY(arena, int32_t, d.graph->values.length);
  for (uint32_t v = 0; v < d.graph->values.length; v++)
    d.input_of[v] = -1;
  for (uint32_t k = 0; k < d.graph->inputs.length; k++)
    d.input_of[d.graph->inputs.data[k].i] = (int32_t)k;
  d.inputs = ONNXC_NEW_ARRAY(arena, onnxc_rt_io, d.graph->inputs.length);
  d.outputs = ONNXC_NEW_ARRAY(arena, onnxc_rt_io, d.graph->outputs.length);
  number_buffers(&d);
  ONNXC_TRY(d.status);
  classify(&d);
  ONNXC_TRY(d.status);
  place_outputs(&d);
  ONNXC_TRY(d.status);
  find_elements(&d);
  describe_sizes(&d);
  describe_stages(&d, result);
  ONNXC_TRY(d.status);
  plan_workspace(&d, result);
  lay_out_weights(&d, weights);
  for (uint32_t k = 0; k < d.graph->constraints.length; k++) {
    const onnxc_constraint *c = &d.graph->constraints.data[k];
    constrain(&d, slot_of(&d, c->a), slot_of(&d, c->b), c->message);
  }
  check_extents(&d);
  describe_interface(&d, result);
  check_symbols(&d);
  ONNXC_TRY(d.status);
  if (d.slots.dims.length > ONNXC_RT_MAX_DIMS)
    return onnxc_error(d.graph->diag, ONNXC_UNSUPPORTED, "the model's shapes need %u different sizes, more than %d",
                       d.slots.dims.length, ONNXC_RT_MAX_DIMS);
  result->dims = d.slots.dims.data;
  result->num_dims = d.slots.dims.length;
  result->buffers = d.buffers;
  result->num_buffers = d.num_buffers;
  result->constraints = d.constraints.data;
  result->num_constraints = d.constraints.length;
  result->info.weights_size = weights->size;
  if (facts)
    describe_facts(&d, facts);
  return d.status;
}
