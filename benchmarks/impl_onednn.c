/* impl_onednn.c -- oneDNN 2 (Debian) and oneDNN 3 (PyPI): matmul primitives with weights in the layout they ask for,
 * bias and activation as post-operations.
 *
 * Both libraries are called libdnnl and differ in ABI, so each is opened at run time and its functions are declared
 * here. In version 2 a memory descriptor is a struct that the caller keeps (big enough a block of bytes here), in
 * version 3 a handle. Activations and results stay row-major.
 *
 * The oneDNN of PyPI runs its primitives through SYCL, which may be missing or know no CPU; then it is reported so.
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { UNDEFINED = 0, BF16 = 2, F32 = 3, S32 = 4, S8 = 5, U8 = 6 }; /* data types */
enum { SRC = 1, DST = 17, WEIGHTS = 33, BIAS = 41, ATTR_SCALES = 4096, SCALE_SRC = ATTR_SCALES | SRC };
enum { TAG_ANY = 1, QUERY_WEIGHTS = 131, ENGINE_CPU = 1, STREAM_DEFAULT = 1, MAX_ARGS = 8, DESCRIPTOR = 16 << 10 };

typedef struct exec_arg {
  int arg;
  void *memory;
} exec_arg;

typedef struct version_info {
  int major, minor, patch; /* and more */
} version_info;

typedef struct library {
  void *handle;
  bool v3, sycl;
  char version[64];
  void *engine, *stream;
  int (*engine_create)(void **engine, int kind, size_t index);
  int (*stream_create)(void **stream, void *engine, unsigned flags);
  int (*stream_wait)(void *stream);
  int (*memory_create)(void **memory, const void *md, void *engine, void *handle);
  int (*memory_map)(void *memory, void **mapped);
  int (*memory_unmap)(void *memory, void *mapped);
  int (*memory_destroy)(void *memory);
  size_t (*md_size)(const void *md);
  int (*md_strides)(void *md, int rank, const int64_t *dims, int type, const int64_t *strides);
  int (*md_tag)(void *md, int rank, const int64_t *dims, int type, int tag);
  const void *(*query_md)(const void *pd, int what, int index);
  int (*attr_create)(void **attr);
  int (*attr_destroy)(void *attr);
  int (*attr_post_ops)(void *attr, const void *ops);
  int (*attr_output_scales)(void *attr, int64_t count, int mask, const float *scales); /* 2 */
  int (*attr_scales_mask)(void *attr, int arg, int mask);                              /* 3 */
  int (*post_ops_create)(void **ops);
  int (*post_ops_destroy)(void *ops);
  int (*eltwise2)(void *ops, float scale, int kind, float alpha, float beta);
  int (*eltwise3)(void *ops, int kind, float alpha, float beta);
  int (*matmul_desc_init)(void *desc, const void *src, const void *weights, const void *bias, const void *dst); /* 2 */
  int (*pd_create)(void **pd, const void *desc, const void *attr, void *engine, const void *hint);              /* 2 */
  int (*matmul_pd_create)(void **pd, void *engine, const void *src, const void *weights, const void *bias,
                          const void *dst, const void *attr); /* 3 */
  int (*reorder_pd_create)(void **pd, const void *from, void *from_engine, const void *to, void *to_engine,
                           const void *attr);
  int (*pd_destroy)(void *pd);
  int (*primitive_create)(void **primitive, const void *pd);
  int (*primitive_destroy)(void *primitive);
  int (*execute)(const void *primitive, void *stream, int count, const exec_arg *args);
} library;

static library onednn2, onednn3;

static const char *load(library *l, const char *name, int major) {
  const version_info *(*get_version)(void);
  if (l->handle)
    return l->engine ? l->version : NULL;
  l->handle = bench_library((const char *const[]){name, NULL});
  if (!bench_symbol(l->handle, "dnnl_version", &get_version))
    return NULL;
  const version_info *v = get_version();
  l->v3 = v->major >= 3;
  void *symbol;
  l->sycl = bench_symbol(l->handle, "dnnl_sycl_interop_engine_create", &symbol);
  snprintf(l->version, sizeof l->version, "%d.%d.%d%s", v->major, v->minor, v->patch, l->sycl ? " (SYCL)" : "");
  bool found = v->major == major;
  const char *const common[] = {"dnnl_engine_create",
                                "dnnl_stream_create",
                                "dnnl_stream_wait",
                                "dnnl_memory_create",
                                "dnnl_memory_map_data",
                                "dnnl_memory_unmap_data",
                                "dnnl_memory_destroy",
                                "dnnl_memory_desc_get_size",
                                l->v3 ? "dnnl_memory_desc_create_with_strides" : "dnnl_memory_desc_init_by_strides",
                                l->v3 ? "dnnl_memory_desc_create_with_tag" : "dnnl_memory_desc_init_by_tag",
                                "dnnl_primitive_desc_query_md",
                                "dnnl_primitive_attr_create",
                                "dnnl_primitive_attr_destroy",
                                "dnnl_primitive_attr_set_post_ops",
                                "dnnl_post_ops_create",
                                "dnnl_post_ops_destroy",
                                "dnnl_reorder_primitive_desc_create",
                                "dnnl_primitive_desc_destroy",
                                "dnnl_primitive_create",
                                "dnnl_primitive_destroy",
                                "dnnl_primitive_execute"};
  void *const functions[] = {
      &l->engine_create,    &l->stream_create,     &l->stream_wait,  &l->memory_create,    &l->memory_map,
      &l->memory_unmap,     &l->memory_destroy,    &l->md_size,      &l->md_strides,       &l->md_tag,
      &l->query_md,         &l->attr_create,       &l->attr_destroy, &l->attr_post_ops,    &l->post_ops_create,
      &l->post_ops_destroy, &l->reorder_pd_create, &l->pd_destroy,   &l->primitive_create, &l->primitive_destroy,
      &l->execute};
  for (size_t i = 0; i < sizeof common / sizeof *common; i++)
    found &= bench_symbol(l->handle, common[i], functions[i]);
  if (l->v3) {
    found &= bench_symbol(l->handle, "dnnl_matmul_primitive_desc_create", &l->matmul_pd_create);
    found &= bench_symbol(l->handle, "dnnl_primitive_attr_set_scales_mask", &l->attr_scales_mask);
    found &= bench_symbol(l->handle, "dnnl_post_ops_append_eltwise", &l->eltwise3);
  } else {
    found &= bench_symbol(l->handle, "dnnl_matmul_desc_init", &l->matmul_desc_init);
    found &= bench_symbol(l->handle, "dnnl_primitive_desc_create", &l->pd_create);
    found &= bench_symbol(l->handle, "dnnl_primitive_attr_set_output_scales", &l->attr_output_scales);
    found &= bench_symbol(l->handle, "dnnl_post_ops_append_eltwise", &l->eltwise2);
  }
  if (!found || l->engine_create(&l->engine, ENGINE_CPU, 0) != 0) {
    l->engine = NULL;
    return NULL;
  }
  return l->stream_create(&l->stream, l->engine, STREAM_DEFAULT) == 0 ? l->version : NULL;
}

static const char *version2(void) { return load(&onednn2, "libdnnl.so.2", 2); }
static const char *version3(void) { return load(&onednn3, "libdnnl.so.3", 3); }

/* ---- a problem ---- */

typedef struct state {
  problem *p;
  library *l;
  int layers;
  void *primitives[MAX_LAYERS];
  exec_arg args[MAX_LAYERS][MAX_ARGS];
  int num_args[MAX_LAYERS];
  void *c; /* the last layer's result, in our memory or mapped */
  void *c_memory;
  size_t c_bytes;
  int failed; /* the first status that was not success */
} state;

static void note(state *s, int status) { s->failed = s->failed ? s->failed : status; }

/* Row-major, or any layout. Descriptors live as long as the problem (a handle of version 3 is never freed: some bytes).
 */
static void *describe(state *s, int rank, const int64_t *dims, int type, bool any) {
  int64_t strides[3] = {1, 1, 1};
  void *md = s->l->v3 ? NULL : problem_alloc(s->p, DESCRIPTOR);
  for (int d = rank - 2; d >= 0; d--)
    strides[d] = strides[d + 1] * dims[d + 1];
  void *at = s->l->v3 ? (void *)&md : md;
  note(s, any ? s->l->md_tag(at, rank, dims, type, TAG_ANY) : s->l->md_strides(at, rank, dims, type, strides));
  return md;
}

/* Memory for md on `data`, or a copy of it when the library wants memory of its own; data may be NULL. */
static void *wrap(state *s, const void *md, void *data) {
  void *memory = NULL, *mapped = NULL;
  if (s->failed)
    return NULL;
  if (!s->l->sycl) {
    note(s, s->l->memory_create(&memory, md, s->l->engine, data ? data : problem_alloc(s->p, s->l->md_size(md))));
    return memory;
  }
  note(s, s->l->memory_create(&memory, md, s->l->engine, (void *)UINTPTR_MAX)); /* DNNL_MEMORY_ALLOCATE */
  if (data && !s->failed) {
    note(s, s->l->memory_map(memory, &mapped));
    if (!s->failed) {
      memcpy(mapped, data, s->l->md_size(md));
      note(s, s->l->memory_unmap(memory, mapped));
    }
  }
  return memory;
}

static void *reorder(state *s, const void *from_md, void *from, const void *to_md) {
  library *l = s->l;
  void *pd = NULL, *primitive = NULL, *to = wrap(s, to_md, NULL);
  if (s->failed)
    return NULL;
  note(s, l->reorder_pd_create(&pd, from_md, l->engine, to_md, l->engine, NULL));
  if (s->failed)
    return NULL;
  note(s, l->primitive_create(&primitive, pd));
  const exec_arg args[] = {{SRC, from}, {DST, to}};
  if (!s->failed)
    note(s, l->execute(primitive, l->stream, 2, args));
  if (!s->failed)
    note(s, l->stream_wait(l->stream));
  l->primitive_destroy(primitive);
  l->pd_destroy(pd);
  return to;
}

/* Scales and activation. Version 2 scales the sum with its bias, version 3 scales the sum, then adds the bias. */
static void *attributes(state *s) {
  const problem *p = s->p;
  library *l = s->l;
  void *attr = NULL, *ops = NULL;
  bool quantized = p->dtype == BENCH_U8S8U8, mlp = p->what->kind == BENCH_MLP;
  note(s, l->attr_create(&attr));
  note(s, l->post_ops_create(&ops));
  if (s->failed)
    return NULL;
  float scale = mlp ? p->scale_a * p->scale_b : p->scale_b; /* of a product alone, c's scale cancels a's */
  if (quantized && l->v3)
    note(s, l->attr_scales_mask(attr, SRC, 0));
  else if (quantized)
    note(s, l->attr_output_scales(attr, 1, 0, &scale));
  if (mlp) {
    int relu = l->v3 ? 0x20 : 0x1f, gelu_erf = l->v3 ? 0x31 : 0x30, linear = l->v3 ? 0x26 : 0x7f;
    int kind = p->what->activation == BENCH_RELU ? relu : gelu_erf;
    note(s, l->v3 ? l->eltwise3(ops, kind, 0, 0) : l->eltwise2(ops, 1, kind, 0, 0));
    if (quantized) { /* to the units of the next layer's input */
      float unit = 1 / p->scale_a;
      note(s, l->v3 ? l->eltwise3(ops, linear, unit, 0) : l->eltwise2(ops, 1, linear, unit, 0));
    }
    note(s, l->attr_post_ops(attr, ops));
  }
  l->post_ops_destroy(ops);
  return attr;
}

static void add_arg(state *s, int layer, int arg, void *memory) {
  s->args[layer][s->num_args[layer]++] = (exec_arg){arg, memory};
}

/* One product; x is its input's memory; returns that of its result. */
static void *add_layer(state *s, int layer, void *x) {
  static const int a_types[] = {F32, BF16, U8, U8}, b_types[] = {F32, BF16, S8, S8}, c_types[] = {F32, BF16, S32, U8};
  problem *p = s->p;
  library *l = s->l;
  const bench_case *w = p->what;
  bool batched = w->kind == BENCH_BATCHED;
  int rank = batched ? 3 : 2, skip = 3 - rank;
  const int64_t a_dims[3] = {w->batch, w->m, w->k}, b_dims[3] = {w->batch, w->k, w->n},
                c_dims[3] = {w->batch, w->m, w->n}, bias_dims[2] = {1, w->n};
  void *a_md = describe(s, rank, a_dims + skip, a_types[p->dtype], false);
  void *plain_md = describe(s, rank, b_dims + skip, b_types[p->dtype], false);
  void *b_md = batched ? plain_md : describe(s, rank, b_dims + skip, b_types[p->dtype], true);
  void *c_md = describe(s, rank, c_dims + skip, c_types[p->dtype], false);
  void *bias_md = p->bias[layer] ? describe(s, 2, bias_dims, F32, false) : NULL;
  void *attr = attributes(s), *pd = NULL;
  if (s->failed)
    return NULL;
  if (l->v3) {
    note(s, l->matmul_pd_create(&pd, l->engine, a_md, b_md, bias_md, c_md, attr));
  } else {
    void *desc = problem_alloc(p, DESCRIPTOR);
    note(s, l->matmul_desc_init(desc, a_md, b_md, bias_md, c_md));
    if (!s->failed)
      note(s, l->pd_create(&pd, desc, attr, l->engine, NULL));
  }
  l->attr_destroy(attr);
  if (s->failed)
    return NULL;
  note(s, l->primitive_create(&s->primitives[layer], pd));
  if (!x)
    x = wrap(s, a_md, p->a);
  void *b = wrap(s, plain_md, p->b[layer]), *c = wrap(s, c_md, s->c);
  if (!batched)
    b = reorder(s, plain_md, b, l->query_md(pd, QUERY_WEIGHTS, 0));
  add_arg(s, layer, SRC, x);
  add_arg(s, layer, WEIGHTS, b);
  add_arg(s, layer, DST, c);
  bool quantized = p->dtype == BENCH_U8S8U8;
  if (bias_md) {
    float *bias = problem_alloc(p, (size_t)w->n * sizeof *bias);
    for (int64_t j = 0; j < w->n; j++)
      bias[j] = quantized && !l->v3 ? p->bias[layer][j] / (p->scale_a * p->scale_b) : p->bias[layer][j];
    add_arg(s, layer, BIAS, wrap(s, bias_md, bias));
  }
  if (quantized && l->v3) {
    const int64_t one = 1;
    float *scale = problem_alloc(p, sizeof *scale);
    *scale = w->kind == BENCH_MLP ? p->scale_a * p->scale_b : p->scale_b;
    add_arg(s, layer, SCALE_SRC, wrap(s, describe(s, 1, &one, F32, false), scale));
  }
  l->pd_destroy(pd);
  return c;
}

static void *open_state(library *l, problem *p, char *why) {
  const bench_case *w = p->what;
  state *s = calloc(1, sizeof *s);
  if (!s)
    return NULL;
  s->p = p;
  s->l = l;
  s->c_bytes = (size_t)(w->batch * w->m * w->n) * sizeof(float);
  s->layers = w->layers;
  void *x = NULL;
  for (int layer = 0; layer < w->layers && !s->failed; layer++) {
    s->c = problem_alloc(p, s->c_bytes);
    x = add_layer(s, layer, x);
  }
  s->c_memory = x;
  if (s->failed) {
    snprintf(why, BENCH_WHY, "not offered (oneDNN status %d)", s->failed);
    free(s);
    return NULL;
  }
  return s;
}

static void *open2(problem *p, char *why) { return open_state(&onednn2, p, why); }
static void *open3(problem *p, char *why) { return open_state(&onednn3, p, why); }

static bool run(void *arg) {
  state *s = arg;
  int status = 0;
  for (int layer = 0; layer < s->layers && status == 0; layer++)
    status = s->l->execute(s->primitives[layer], s->l->stream, s->num_args[layer], s->args[layer]);
  return status == 0 && s->l->stream_wait(s->l->stream) == 0;
}

static void row(void *arg, int64_t batch, int64_t index, double *values) {
  state *s = arg;
  int64_t n = s->p->what->n, first = (batch * s->p->what->m + index) * n;
  void *c = s->c;
  if (s->l->sycl && s->l->memory_map(s->c_memory, &c) != 0)
    return;
  for (int64_t j = 0; j < n; j++)
    switch (s->p->dtype) {
    case BENCH_F32: values[j] = (double)((const float *)c)[first + j]; break;
    case BENCH_BF16: values[j] = (double)bench_from_bf16(((const uint16_t *)c)[first + j]); break;
    case BENCH_U8S8S32: values[j] = ((const int32_t *)c)[first + j]; break;
    default: values[j] = ((const uint8_t *)c)[first + j];
    }
  if (s->l->sycl)
    s->l->memory_unmap(s->c_memory, c);
}

static void close_state(void *arg) {
  state *s = arg;
  for (int layer = 0; layer < s->layers; layer++) {
    s->l->primitive_destroy(s->primitives[layer]);
    for (int i = 0; i < s->num_args[layer]; i++)
      if (s->args[layer][i].arg != SRC || layer == 0) /* a later layer's input is the result of the one before */
        s->l->memory_destroy(s->args[layer][i].memory);
  }
  free(s);
}

const implementation impl_onednn2 = {
    .name = "onednn2", .version = version2, .open = open2, .run = run, .row = row, .close = close_state};
const implementation impl_onednn3 = {.name = "onednn3",
                                     .version = version3,
                                     .open = open3,
                                     .run = run,
                                     .row = row,
                                     .close = close_state,
                                     .floating = true};
