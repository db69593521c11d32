/* runs.c -- see runs.h. */
#include "runs.h"

#include "ir/dtype.h"

#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { RUN_SECONDS = 5, INPUT_ELEMENTS = 1000000, MAX_RUN_BYTES = 64 << 20 };

/* Memory that ends where a page begins that may not be touched; its start has the alignment asked for. */
static bool guarded_alloc(guarded_memory *memory, size_t size, size_t align) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE), used = (size + align - 1) / align * align;
  size_t body = (used + page - 1) / page * page;
  memory->size = body + page;
  memory->map = mmap(NULL, memory->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory->map == MAP_FAILED)
    return false;
  mprotect((uint8_t *)memory->map + body, page, PROT_NONE);
  memory->data = (uint8_t *)memory->map + body - used;
  return true;
}

static int64_t element_count(const onnxc_tensor *tensor, int64_t limit) {
  int64_t count = 1;
  for (int k = 0; k < tensor->rank; k++) {
    if (tensor->dims[k] < 0 || (tensor->dims[k] > 0 && count > limit / tensor->dims[k]))
      return -1;
    count *= tensor->dims[k];
  }
  return count;
}

static void fill(onnxc_tensor *tensor, int64_t count, random_source *source) {
  size_t bytes = onnxc_dtype_bytes((onnxc_dtype)tensor->dtype);
  for (int64_t k = 0; k < count; k++) {
    uint64_t bits = random_next(source);
    void *at = (uint8_t *)tensor->data + (size_t)k * bytes;
    float f = (float)(bits % 2001) / 250.0F - 4.0F;
    if (tensor->dtype == ONNXC_F32) {
      memcpy(at, &f, sizeof f);
    } else if (tensor->dtype == ONNXC_F64) {
      double d = f;
      memcpy(at, &d, sizeof d);
    } else if (onnxc_dtype_is_float((onnxc_dtype)tensor->dtype)) {
      memcpy(at, &bits, bytes);
    } else { /* most as indices are, some as no index is */
      int64_t number = tensor->dtype == ONNXC_BOOL ? (int64_t)(bits & 1)
                       : bits >> 58                ? (int64_t)(bits % 5)
                                                   : (int64_t)(bits << 7);
      memcpy(at, &number, bytes);
    }
  }
}

static void *take(run_memory *memory, size_t size, size_t align) {
  if (memory->count == sizeof memory->blocks / sizeof *memory->blocks || size > MAX_RUN_BYTES ||
      !guarded_alloc(&memory->blocks[memory->count], size, align))
    return NULL;
  return memory->blocks[memory->count++].data;
}

/* Whether the reference agrees: exactly in numbers that are not real, else within what rounding in another order does.
 */
bool tensors_agree(const onnxc_tensor *a, const onnxc_tensor *b) {
  size_t bytes = onnxc_dtype_bytes((onnxc_dtype)a->dtype);
  int64_t count = element_count(b, MAX_RUN_BYTES);
  if (a->dtype != b->dtype || a->rank != b->rank || memcmp(a->dims, b->dims, sizeof *a->dims * (size_t)a->rank) != 0)
    return false;
  if (a->dtype != ONNXC_F32)
    return onnxc_dtype_is_float((onnxc_dtype)a->dtype) || memcmp(a->data, b->data, (size_t)count * bytes) == 0;
  double largest = 0;
  for (int64_t k = 0; k < count; k++) {
    double value = fabs((double)((const float *)b->data)[k]);
    largest = isfinite(value) && value > largest ? value : largest;
  }
  for (int64_t k = 0; k < count; k++) {
    float x = ((const float *)a->data)[k], y = ((const float *)b->data)[k];
    if (isfinite(x) && isfinite(y) ? fabs((double)x - (double)y) > 1e-3 * (largest + 1e-3)
                                   : !(isnan(x) && isnan(y)) && x != y)
      return false;
  }
  return true;
}

void *allocate_guarded(void *arg, size_t size, int tag) {
  (void)tag;
  return take(arg, size, 64);
}

/* Inputs as the model declares them, unknown dims small. */
static bool make_inputs(const onnxc_model_info *info, onnxc_tensor *inputs, run_memory *memory, random_source *source) {
  for (int k = 0; k < info->num_inputs; k++) {
    const onnxc_tensor_info *declared = &info->inputs[k];
    inputs[k] = (onnxc_tensor){.dtype = declared->dtype, .rank = declared->rank};
    for (int d = 0; d < declared->rank; d++)
      inputs[k].dims[d] = declared->dims[d] >= 0 ? declared->dims[d] : (int64_t)(1 + random_below(source, 5));
    int64_t count = element_count(&inputs[k], INPUT_ELEMENTS);
    size_t bytes = onnxc_dtype_bytes((onnxc_dtype)declared->dtype);
    if (count < 0)
      return false;
    inputs[k].data = take(memory, (size_t)count * bytes, bytes);
    if (!inputs[k].data)
      return false;
    fill(&inputs[k], count, source);
  }
  return true;
}

/* Dims that no caller means: a plan must refuse them, or say how much memory they take. */
static void plan_wildly(const onnxc_program *program, random_source *source) {
  static const int64_t wild[] = {0, 1, -1, 1 << 16, 1 << 20, 1LL << 31, 1LL << 40, 1LL << 62, INT64_MAX, INT64_MIN, 3};
  const onnxc_model_info *info = onnxc_program_describe(program);
  onnxc_tensor inputs[MAX_TENSORS] = {{0}}, outputs[MAX_TENSORS] = {{0}};
  onnxc_run run = {.inputs = inputs, .outputs = outputs, .num_threads = 2};
  for (int k = 0; k < info->num_inputs; k++) {
    inputs[k] = (onnxc_tensor){.dtype = info->inputs[k].dtype, .rank = info->inputs[k].rank};
    for (int d = 0; d < inputs[k].rank; d++)
      inputs[k].dims[d] = info->inputs[k].dims[d] >= 0 ? info->inputs[k].dims[d]
                                                       : wild[random_below(source, sizeof wild / sizeof *wild)];
    if (info->inputs[k].flags & ONNXC_TENSOR_SHAPES)
      return; /* planning would read it */
  }
  onnxc_plan(program, &run);
}

bool run_program(const onnxc_program *program, random_source *source, run_memory *memory, onnxc_tensor *inputs,
                 onnxc_tensor *outputs) {
  const onnxc_model_info *info = onnxc_program_describe(program);
  memset(outputs, 0, MAX_TENSORS * sizeof *outputs);
  if (info->num_inputs > MAX_TENSORS || info->num_outputs > MAX_TENSORS || !make_inputs(info, inputs, memory, source))
    return false;
  onnxc_run run = {.inputs = inputs,
                   .outputs = outputs,
                   .num_threads = random_below(source, 8) == 0 ? 3 : 1,
                   .allocate = allocate_guarded,
                   .allocate_arg = memory};
  shared->stage = PLAN;
  plan_wildly(program, source);
  if (onnxc_plan(program, &run) != ONNXC_OK)
    return false;
  run.workspace = take(memory, run.workspace_size, 64);
  if (!run.workspace)
    return false;
  for (int k = 0; k < info->num_outputs; k++) {
    if (info->outputs[k].flags & ONNXC_TENSOR_DYNAMIC)
      continue;
    size_t bytes = onnxc_dtype_bytes((onnxc_dtype)outputs[k].dtype);
    int64_t count = element_count(&outputs[k], MAX_RUN_BYTES / (int64_t)bytes);
    outputs[k].data = count < 0 ? NULL : take(memory, (size_t)count * bytes, bytes);
    if (!outputs[k].data)
      return false;
  }
  shared->stage = RUN;
  set_timer(RUN_SECONDS);
  shared->ran++;
  return onnxc_run_program(program, &run) == ONNXC_OK;
}

void run_memory_free(run_memory *memory) {
  for (size_t k = 0; k < memory->count; k++)
    munmap(memory->blocks[k].map, memory->blocks[k].size);
}
