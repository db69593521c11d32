/* header.c -- the C header that comes with a library: its functions, and its inputs and outputs as macros.
 *
 * Self-contained: it repeats onnxc/status.h and onnxc/runtime.h, whose include guards make that harmless beside the
 * originals or another model's header. */
#include "emit/artefact.h"

#include "ir/text.h"

#include <ctype.h>
#include <string.h>

extern const char onnxc_bitcode_status_h[], onnxc_bitcode_runtime_h[];

static const char *upper(onnxc_arena *arena, const char *name) {
  char *copy = onnxc_arena_copy_string(arena, name, strlen(name));
  for (char *c = copy; *c; c++)
    *c = (char)toupper((unsigned char)*c);
  return copy;
}

/* Names of tensors may hold anything; nothing of it may end a comment or a string. */
static const char *printable(onnxc_arena *arena, const char *name) {
  char *copy = onnxc_arena_copy_string(arena, name, strlen(name));
  for (char *c = copy; *c; c++)
    if (!isprint((unsigned char)*c) || strchr("\"\\*?", *c))
      *c = '_';
  return copy;
}

static const char *c_type(int32_t dtype) {
  switch ((onnxc_dtype)dtype) {
  case ONNXC_F32: return "float";
  case ONNXC_F64: return "double";
  case ONNXC_I8: return "int8_t";
  case ONNXC_I16: return "int16_t";
  case ONNXC_I32: return "int32_t";
  case ONNXC_I64: return "int64_t";
  case ONNXC_U16: return "uint16_t";
  case ONNXC_U32: return "uint32_t";
  case ONNXC_U64: return "uint64_t";
  case ONNXC_F16: return "uint16_t /* f16 */";
  case ONNXC_BF16: return "uint16_t /* bf16 */";
  default: return "uint8_t";
  }
}

static void tensor(onnxc_text *out, const onnxc_tensor_info *info, const char *prefix, const char *kind, int32_t k) {
  onnxc_text_printf(out, "\n/* %s %d: '%s', %s[", kind, k, printable(out->arena, info->name),
                    onnxc_dtype_name((onnxc_dtype)info->dtype));
  for (int32_t d = 0; d < info->rank; d++) {
    if (info->dims[d] >= 0)
      onnxc_text_printf(out, "%s%lld", d ? ", " : "", (long long)info->dims[d]);
    else
      onnxc_text_printf(out, "%s%s", d ? ", " : "",
                        info->dim_names[d] ? printable(out->arena, info->dim_names[d]) : "?");
  }
  onnxc_text_printf(out, "]%s */\n",
                    info->flags & ONNXC_TENSOR_DYNAMIC  ? "; its shape is known after the run"
                    : info->flags & ONNXC_TENSOR_SHAPES ? "; shapes depend on its contents, so plan reads it"
                                                        : "");
  const char *big = upper(out->arena, prefix), *big_kind = upper(out->arena, kind);
  onnxc_text_printf(out, "#define %s_%s_%d_DTYPE %d\n", big, big_kind, k, info->dtype);
  onnxc_text_printf(out, "#define %s_%s_%d_RANK %d\n", big, big_kind, k, info->rank);
  int64_t count = 1;
  for (int32_t d = 0; d < info->rank; d++)
    if (info->dims[d] < 0 || __builtin_mul_overflow(count, info->dims[d], &count))
      count = -1;
  if (count >= 0)
    onnxc_text_printf(out, "#define %s_%s_%d_COUNT %lld\n", big, big_kind, k, (long long)count);
  if (info->rank > 0) {
    onnxc_text_printf(out, "#define %s_%s_%d_DIMS {", big, big_kind, k);
    for (int32_t d = 0; d < info->rank; d++)
      onnxc_text_printf(out, "%s%lld", d ? ", " : "", (long long)info->dims[d]);
    onnxc_text_printf(out, "} /* -1: not fixed */\n");
  }
  onnxc_text_printf(out, "typedef %s %s_%s_%d_type;\n", c_type(info->dtype), prefix, kind, k);
}

static void paste(onnxc_text *out, const char *header) {
  for (const char *line = header; *line;) {
    size_t length = strcspn(line, "\n");
    if (strncmp(line, "#include \"onnxc/", 16) != 0)
      onnxc_text_printf(out, "%.*s\n", (int)length, line);
    line += length + (line[length] == '\n');
  }
}

const char *onnxc_header_text(onnxc_arena *arena, const onnxc_rt_program *program, const char *prefix,
                              const onnxc_emit_options *options) {
  onnxc_text out;
  onnxc_text_init(&out, arena);
  const onnxc_model_info *info = &program->info;
  const char *p = prefix, *big = upper(arena, prefix);
  onnxc_text_printf(&out, "/* %s -- a model compiled by onnxc %s for %s. Generated: do not edit. */\n", p,
                    ONNXC_VERSION, info->target);
  onnxc_text_printf(&out, "#ifndef ONNXC_MODEL_%s_H\n#define ONNXC_MODEL_%s_H\n\n", big, big);
  paste(&out, onnxc_bitcode_status_h);
  onnxc_text_printf(&out, "\n");
  paste(&out, onnxc_bitcode_runtime_h);
  onnxc_text_printf(&out, "\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n");
  onnxc_text_printf(&out, "#define %s_NUM_INPUTS %d\n#define %s_NUM_OUTPUTS %d\n", big, info->num_inputs, big,
                    info->num_outputs);
  for (int32_t k = 0; k < info->num_inputs; k++)
    tensor(&out, &info->inputs[k], p, "input", k);
  for (int32_t k = 0; k < info->num_outputs; k++)
    tensor(&out, &info->outputs[k], p, "output", k);
  onnxc_text_printf(&out, "\ntypedef struct %s_model %s_model; /* immutable, for any number of threads */\n\n", p, p);
  onnxc_text_printf(
      &out,
      "/* Fails, with a message, on a CPU that lacks what the code needs%s */\n"
      "int %s_open(const %s_model **model, const char *weights_path, char *message, size_t message_size);\n"
      "void %s_close(const %s_model *model);\n",
      options->weights_in_file ? ", or when\n * weights_path is not the model's .weights file."
                               : ". The weights are inside, so\n * weights_path may be NULL.",
      p, p, p, p);
  onnxc_text_printf(
      &out,
      "const onnxc_model_info *%s_describe(void);\n"
      "/* Checks run->inputs, sets the outputs' shapes and run->workspace_size. Both return an onnxc_status;\n"
      " * run->message says what went wrong. */\n"
      "int %s_plan(const %s_model *model, onnxc_run *run);\n"
      "int %s_run(const %s_model *model, onnxc_run *run);\n",
      p, p, p, p, p);
  onnxc_text_printf(&out, "\n#ifdef __cplusplus\n}\n#endif\n\n#endif\n");
  return out.data;
}
