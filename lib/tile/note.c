/* note.c -- see note.h. */
#include "tile/note.h"

#include "tile/access.h"
#include "tile/predict.h"

typedef struct largest {
  const onnxc_tile_program *program;
  const onnxc_stmt *stmt;
  double work; /* at hints, each statement over all of its extents */
  uint32_t computes;
} largest;

static void find_largest(largest *l, const onnxc_block *block) {
  const onnxc_exprs *exprs = &l->program->graph->exprs;
  for (uint32_t i = 0; i < block->length; i++) {
    const onnxc_stmt *stmt = block->data[i];
    find_largest(l, &stmt->body);
    find_largest(l, &stmt->otherwise);
    if (stmt->kind != ONNXC_STMT_COMPUTE)
      continue;
    const onnxc_compute *c = stmt->compute;
    double work = 0, points = 1;
    for (uint32_t j = 0; j < c->num_results; j++)
      work += onnxc_expr_cost(exprs, c->num_reduce ? c->element[j] : c->finish[j]);
    for (uint32_t k = 0; k < c->num_parallel + c->num_reduce; k++)
      points *= (double)onnxc_dim_hint(&l->program->graph->dims, c->extents[k]);
    l->computes++;
    if (l->stmt && work * points <= l->work)
      continue;
    l->stmt = stmt;
    l->work = work * points;
  }
}

static void say(onnxc_text *text, const char *what) { onnxc_text_printf(text, "%s%s", text->length ? ", " : "", what); }

/* How the loads and stores of a statement lie to its vectors. */
static void describe_accesses(onnxc_text *text, const onnxc_tile_program *program, const onnxc_stmt *stmt) {
  const onnxc_schedule *s = &stmt->schedule;
  uint32_t *operands = ONNXC_NEW_ARRAY(text->arena, uint32_t, stmt->num_operands + 1);
  uint32_t results[ONNXC_MAX_RESULTS], gathers = 0, strided = 0;
  onnxc_access *accesses;
  for (uint32_t k = 0; k < stmt->num_operands; k++)
    operands[k] = stmt->operands[k].buffer;
  for (uint32_t j = 0; j < stmt->num_results; j++)
    results[j] = stmt->results[j].buffer;
  uint32_t count = onnxc_tile_accesses(program, stmt->compute, operands, stmt->num_results, results, &accesses);
  for (uint32_t k = 0; k < count; k++) {
    bool along = accesses[k].depends[s->vec];
    gathers += along && !accesses[k].strided[s->vec];
    strided += along && accesses[k].strided[s->vec] && accesses[k].stride[s->vec] != 1;
  }
  if (gathers)
    onnxc_text_printf(text, "%s%u of %u accesses gather", text->length ? ", " : "", gathers, count);
  if (strided)
    onnxc_text_printf(text, "%s%u of %u accesses jump from lane to lane", text->length ? ", " : "", strided, count);
}

static void describe_schedule(onnxc_text *text, const onnxc_tile_program *program, const onnxc_stmt *stmt) {
  enum { FULL = 75 }; /* percent */
  const onnxc_schedule *s = &stmt->schedule;
  const onnxc_compute *c = stmt->compute;
  if (s->vec < 0) {
    say(text, "scalar code");
    return;
  }
  int64_t extent = onnxc_dim_hint(&program->graph->dims, c->extents[s->vec]), lanes = s->lanes;
  int64_t vectors = lanes > 0 ? (extent + lanes - 1) / lanes : 0;
  if (extent > 0 && vectors < (int64_t)1 << 32 && 100 * extent < FULL * vectors * lanes)
    onnxc_text_printf(text, "%s%lld of %lld lanes used", text->length ? ", " : "", (long long)extent,
                      (long long)vectors * s->lanes);
  describe_accesses(text, program, stmt);
  for (uint32_t j = 0; j < c->num_results && c->num_reduce; j++)
    if (onnxc_compute_combiner(&program->graph->exprs, c, j) == ONNXC_EXPR_NONE) {
      say(text, "a reduction in order");
      return;
    }
}

const char *onnxc_tile_note(const onnxc_tile_program *program, const onnxc_stage *stage, onnxc_arena *arena) {
  onnxc_prediction prediction;
  if (onnxc_predict(program, stage, &prediction))
    return onnxc_prediction_text(arena, &prediction);
  onnxc_text text;
  onnxc_text_init(&text, arena);
  onnxc_text_printf(&text, "%s", "");
  largest l = {.program = program};
  find_largest(&l, &stage->body);
  if (!l.stmt)
    return "";
  if (l.computes > 1)
    onnxc_text_printf(&text, "%u passes over rows in cache", l.computes);
  describe_schedule(&text, program, l.stmt);
  return text.data;
}
