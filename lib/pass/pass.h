/* pass.h -- passes over the graph, and the manager that runs them by name.
 *
 * passes.def lists each pass with what it needs and what it breaks; the order of the
 * pipeline stands in pipeline.c, on one page. A pass is
 * `onnxc_status onnxc_pass_NAME(onnxc_graph *, const onnxc_pass_options *)`, in pass/NAME.c.
 */
#ifndef ONNXC_PASS_PASS_H
#define ONNXC_PASS_PASS_H

#include "ir/graph.h"
#include "ir/text.h"
#include "target/target.h"

typedef struct onnxc_pass_options {
  const onnxc_target *target;
  /* called after a pass; for --print-after and timings. May be NULL. */
  void (*after)(void *arg, const char *pass, double seconds, const onnxc_graph *graph);
  void *after_arg;
  bool verify;       /* run the verifier after each pass */
  bool bf16;         /* precision: contractions of f32 take factors of bf16 */
  uint32_t winograd; /* convolutions in tiles (winograd.c): 0 = never, 1 = where it pays, 2 or 4 = of that size wherever
                        it can be done */
  int threads;       /* that passes may use, 0 = one; what they do does not depend on it */
} onnxc_pass_options;

typedef onnxc_status (*onnxc_pass_fn)(onnxc_graph *graph, const onnxc_pass_options *options);

/* Facts that passes need and break. */
enum {
  ONNXC_FACT_EXPANDED = 1 << 0, /* no composites left */
  ONNXC_FACT_ROLES = 1 << 1,    /* contractions carry roles */
  ONNXC_FACT_LAYOUTS = 1 << 2   /* layouts are chosen and weights packed */
};

typedef struct onnxc_pass {
  const char *name;
  onnxc_pass_fn run;
  uint32_t needs, gives, breaks;
  const char *summary;
} onnxc_pass;

const onnxc_pass *onnxc_pass_find(const char *name, size_t length);
const onnxc_pass *onnxc_passes(uint32_t *count);
/* Runs "a,b,c"; an unknown name or an unmet need is ONNXC_USAGE. */
onnxc_status onnxc_run_passes(onnxc_graph *graph, const char *names, const onnxc_pass_options *options);
/* The whole pipeline up to the tile program. */
extern const char onnxc_pipeline[];

#endif
