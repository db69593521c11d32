/* context.c -- contexts, messages, and the guard around every entry point. */
#include "api/api.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

double onnxc_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

const char *onnxc_version(void) { return ONNXC_VERSION; }

onnxc_context *onnxc_context_new(void) {
  onnxc_context *context = onnxc_mem_alloc(sizeof *context);
  if (context) {
    memset(context, 0, sizeof *context);
    onnxc_diag_clear(&context->diag);
  }
  return context;
}

void onnxc_context_free(onnxc_context *context) {
  if (!context)
    return;
  while (context->models)
    onnxc_model_free(context->models);
  onnxc_mem_free(context);
}

const char *onnxc_message(const onnxc_context *context) { return context->message; }

/* Each line of the diag with the model's name in front, unless it begins with it. */
static void compose_message(onnxc_context *context, const char *name) {
  const onnxc_diag *diag = &context->diag;
  size_t used = 0, size = sizeof context->message, name_length = name ? strlen(name) : 0;
  const char *line = diag->text;
  while (*line && used < size - 1) {
    size_t length = strcspn(line, "\n");
    bool named = name_length == 0 || (length > name_length && memcmp(line, name, name_length) == 0);
    int written = snprintf(context->message + used, size - used, "%s%s%s%.*s", used ? "\n" : "", named ? "" : name,
                           named ? "" : ": ", (int)length, line);
    used = written < 0 || (size_t)written >= size - used ? size - 1 : used + (size_t)written;
    line += length;
    line += *line == '\n';
  }
  if (diag->dropped > 0 && used < size - 1)
    snprintf(context->message + used, size - used, "\n... and %d more", diag->dropped);
}

/* The job lives in the caller's frame: what is local here would be lost by the longjmp. */
static onnxc_status run_guarded(onnxc_context *context, onnxc_job_fn run, void *job) {
  if (setjmp(context->guard.env)) {
    onnxc_diag_clear(&context->diag);
    return onnxc_error(&context->diag, ONNXC_OUT_OF_MEMORY, "out of memory");
  }
  return run(job);
}

onnxc_status onnxc_guarded(onnxc_context *context, const char *name, onnxc_job_fn run, void *job) {
  onnxc_diag_clear(&context->diag);
  context->message[0] = '\0';
  onnxc_status status = run_guarded(context, run, job);
  if (status != ONNXC_OK) {
    if (context->diag.count == 0)
      onnxc_error(&context->diag, status, "%s", onnxc_status_name(status));
    compose_message(context, name);
  }
  return status;
}

typedef struct targets_text {
  char *data;
  size_t size, used;
} targets_text;

static void describe_target(targets_text *text, const onnxc_target *target, bool host) {
  static const struct {
    uint32_t bit;
    const char *name;
  } features[] = {{ONNXC_FEATURE_AVX2, "avx2"}, {ONNXC_FEATURE_AVX512, "avx512"},   {ONNXC_FEATURE_BF16, "bf16"},
                  {ONNXC_FEATURE_VNNI, "vnni"}, {ONNXC_FEATURE_AMX, "amx"},         {ONNXC_FEATURE_NEON, "neon"},
                  {ONNXC_FEATURE_SVE, "sve"},   {ONNXC_FEATURE_AVXVNNI, "avxvnni"}, {ONNXC_FEATURE_FP16, "fp16"}};
  char names[64] = "";
  for (size_t k = 0; k < sizeof features / sizeof *features; k++)
    if (target->features & features[k].bit) {
      size_t used = strlen(names);
      snprintf(names + used, sizeof names - used, "%s%s", used ? "," : "", features[k].name);
    }
  int length = snprintf(text->data + text->used, text->size - text->used,
                        "%-16s %-8s %-22s %2u registers of %2u bytes, %u FMA of %u clocks, L1 %u KiB, L2 %u KiB%s\n",
                        target->name, target->arch == ONNXC_ARCH_X86_64 ? "x86_64" : "aarch64", names,
                        target->num_vectors, target->vector_bytes, target->fma_ports, target->fma_latency,
                        target->l1_bytes >> 10, target->l2_bytes >> 10, host ? "  <- this host" : "");
  if (length > 0 && (size_t)length < text->size - text->used)
    text->used += (size_t)length;
}

const char *onnxc_describe_targets(onnxc_context *context) {
  targets_text text = {context->targets, sizeof context->targets, 0};
  uint32_t count = 0;
  const onnxc_target *rows = onnxc_target_rows(&count), *host = onnxc_target_host();
  text.data[0] = '\0';
  for (uint32_t k = 0; k < count; k++)
    describe_target(&text, &rows[k], &rows[k] == host);
  if (!host)
    snprintf(text.data + text.used, text.size - text.used, "this host has no row: it lacks AVX2\n");
  return context->targets;
}
