/* test_spills.c -- no register tile that the tables ship keeps a vector in memory, on any CPU of the table.
 *
 * Whether accumulators stay in registers hangs on LLVM's scheduling model (the row's `tune`) and on the tile; the
 * assembly's comments tell, and whether it has the instructions that it should. Edges and an epilogue are part of the
 * statement.
 */
#include "codegen/rig.h"
#include "emit/machine.h"

#include <criterion/criterion.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

/* "64-byte Spill", "32-byte Folded Reload", .. */
static int vector_spills(const char *assembly) {
  static const char *const kinds[] = {"64-byte Spill",         "64-byte Folded Spill", "64-byte Reload",
                                      "64-byte Folded Reload", "32-byte Spill",        "32-byte Folded Spill",
                                      "32-byte Reload",        "32-byte Folded Reload"};
  int count = 0;
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
    for (const char *at = strstr(assembly, kinds[k]); at; at = strstr(at + 1, kinds[k]))
      count++;
  return count;
}

/* A kind of product: what its factors are, and how it is finished. */
typedef struct kind {
  const char *name;
  onnxc_dtype a, b, acc;
  uint32_t kr;
  bool requantized; /* to u8, by a scale a column, instead of bias and max(.., 0) */
} kind;

static const kind kinds[] = {
    {"f32", ONNXC_F32, ONNXC_F32, ONNXC_F32, 1, false}, {"f64", ONNXC_F64, ONNXC_F64, ONNXC_F64, 1, false},
    {"f16", ONNXC_F16, ONNXC_F16, ONNXC_F32, 1, false}, {"bf16", ONNXC_BF16, ONNXC_BF16, ONNXC_F32, 2, false},
    {"u8s8", ONNXC_U8, ONNXC_I8, ONNXC_I32, 4, false},  {"u8s8_u8", ONNXC_U8, ONNXC_I8, ONNXC_I32, 4, true},
    {"s8u8", ONNXC_I8, ONNXC_U8, ONNXC_I32, 4, false},  {"s8u8_u8", ONNXC_I8, ONNXC_U8, ONNXC_I32, 4, true},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static onnxc_expr real(rig *r, double value) { return onnxc_expr_f64(&r->graph.exprs, ONNXC_F32, value); }

/* The accumulator of result [i, j] as it is stored; operand 2 is a row of columns. */
static onnxc_expr finish(rig *r, const kind *k, onnxc_expr acc) {
  onnxc_exprs *pool = &r->graph.exprs;
  onnxc_expr column = rig_at(r, k->requantized ? ONNXC_F32 : k->acc, 2, (int[]){1, -1});
  if (!k->requantized) {
    onnxc_expr zero = onnxc_dtype_is_float(k->acc) ? onnxc_expr_f64(pool, k->acc, 0) : onnxc_expr_i64(pool, k->acc, 0);
    return rig_op(r, ONNXC_EXPR_MAX, rig_op(r, ONNXC_EXPR_ADD, acc, column), zero);
  }
  onnxc_expr scaled = rig_op(r, ONNXC_EXPR_MUL, onnxc_expr_cast(pool, ONNXC_F32, acc), column);
  onnxc_expr shifted = rig_op(r, ONNXC_EXPR_ADD, rig_op(r, ONNXC_EXPR_ROUND, scaled, (onnxc_expr){0}), real(r, 128));
  onnxc_expr clamped = rig_op(r, ONNXC_EXPR_MIN, rig_op(r, ONNXC_EXPR_MAX, shifted, real(r, 0)), real(r, 255));
  return onnxc_expr_cast(pool, ONNXC_U8, clamped);
}

/* A x B in panels, of whole tiles and one edge each way. */
static void add_product(rig *r, const kind *t, const onnxc_register_tile *tile) {
  onnxc_exprs *pool = &r->graph.exprs;
  int64_t width = (int64_t)tile->vecs * tile->lanes, m = 3 * tile->rows + 1, n = 2 * width - 3, k = 256;
  const char *panels = t->kr > 1 ? onnxc_arena_printf(&r->arena, "[1 0 1:%u 0:%u]", (unsigned)width, t->kr)
                                 : onnxc_arena_printf(&r->arena, "[1 0 1:%u]", (unsigned)width);
  onnxc_compute c = {0};
  rig_extents(r, &c, 2, 1, (int64_t[]){m, n, k});
  onnxc_expr a = onnxc_expr_cast(pool, t->acc, rig_at(r, t->a, 0, (int[]){0, 2, -1}));
  onnxc_expr b = onnxc_expr_cast(pool, t->acc, rig_at(r, t->b, 1, (int[]){2, 1, -1}));
  onnxc_expr zero = onnxc_dtype_is_float(t->acc) ? onnxc_expr_f64(pool, t->acc, 0) : onnxc_expr_i64(pool, t->acc, 0);
  rig_reduce(r, &c, 0, t->acc, ONNXC_EXPR_ADD, rig_op(r, ONNXC_EXPR_MUL, a, b), zero);
  c.finish[0] = finish(r, t, c.finish[0]);
  uint32_t operands[3] = {rig_tensor(r, t->a, 2, (int64_t[]){m, k}, NULL),
                          rig_tensor(r, t->b, 2, (int64_t[]){k, n}, panels),
                          rig_tensor(r, t->requantized ? ONNXC_F32 : t->acc, 1, (int64_t[]){n}, NULL)};
  onnxc_schedule s = rig_schedule(&c, 0, tile->rows, 1, tile->vecs, tile->lanes, tile->unroll);
  s.kr = (uint8_t)t->kr;
  rig_case(r, onnxc_arena_printf(&r->arena, "%s_%ux%u", t->name, tile->rows, tile->vecs), &c, operands, 3, NULL, &s);
}

/* The instruction that the target's code for such a product consists of. */
static const char *instruction_of(const onnxc_target *target, const kind *k) {
  if (k->kr == 1)
    return "vfmadd";
  if (k->kr == 2)
    return target->features & ONNXC_FEATURE_BF16 ? "vdpbf16ps" : "vfmadd";
  return target->features & (ONNXC_FEATURE_VNNI | ONNXC_FEATURE_AVXVNNI) ? "vpdpbusd" : "vpmaddwd";
}

/* The assembly of one product; the caller disposes of it. */
static LLVMMemoryBufferRef assemble(const onnxc_target *target, const kind *k, const onnxc_register_tile *tile) {
  rig *r = calloc(1, sizeof *r);
  rig_init(r);
  if (setjmp(r->guard.env))
    abort();
  r->program.target = target;
  add_product(r, k, tile);
  onnxc_module module;
  cr_assert(onnxc_codegen(&module, &r->program, &r->arena, "spill", UINT64_MAX) == ONNXC_OK, "%s", r->diag.text);
  LLVMTargetMachineRef machine = onnxc_machine_new(&r->diag, target, NULL);
  cr_assert(machine != NULL, "%s", r->diag.text);
  LLVMSetTargetMachineAsmVerbosity(machine, true);
  onnxc_module_set_target(module.parts[0].module, machine, target);
  cr_assert(onnxc_module_optimize(&r->diag, module.parts[0].module, machine) == ONNXC_OK);
  LLVMMemoryBufferRef assembly;
  char *message = NULL;
  cr_assert(
      !LLVMTargetMachineEmitToMemoryBuffer(machine, module.parts[0].module, LLVMAssemblyFile, &message, &assembly));
  LLVMDisposeTargetMachine(machine);
  onnxc_module_free(&module);
  onnxc_arena_free(&r->arena);
  free(r);
  return assembly;
}

static void check(const onnxc_target *target, const kind *k, const onnxc_register_tile *tile) {
  LLVMMemoryBufferRef assembly = assemble(target, k, tile);
  const char *text = LLVMGetBufferStart(assembly), *wanted = instruction_of(target, k);
  cr_expect(strstr(text, wanted), "no %s in %s for %s", wanted, k->name, target->name);
  int spills = vector_spills(text);
  cr_expect(spills == 0, "%d vectors of %s %ux%u spilled or reloaded on %s", spills, k->name, tile->rows, tile->vecs,
            target->name);
  LLVMDisposeMemoryBuffer(assembly);
}

static onnxc_register_tile tile_of(const onnxc_target *target, const kind *k, int64_t columns) {
  onnxc_dtype factors = k->kr > 1 ? onnxc_target_factors(k->a, k->b, k->acc) : k->acc;
  return onnxc_target_register_tile(target, factors, k->acc, columns);
}

Test(spills, tiles_of_every_cpu) {
  uint32_t count;
  const onnxc_target *targets = onnxc_target_rows(&count);
  for (uint32_t t = 0; t < count; t++)
    for (uint32_t k = 0; k < KINDS; k++) {
      onnxc_register_tile tile = tile_of(&targets[t], &kinds[k], -1);
      cr_expect_eq(tile.kr, kinds[k].kr);
      check(&targets[t], &kinds[k], &tile);
    }
}

/* Tiles for fewer columns than the row's, on CPUs that differ in features. */
Test(spills, narrow_tiles) {
  uint32_t count, done = 0;
  const onnxc_target *targets = onnxc_target_rows(&count);
  for (uint32_t t = 0; t < count; t++) {
    bool seen = false;
    for (uint32_t u = 0; u < t; u++)
      seen |= targets[u].features == targets[t].features;
    for (uint32_t k = 0; !seen && k < KINDS; k++) {
      int64_t lanes = onnxc_target_lanes(&targets[t], (uint32_t)onnxc_dtype_bytes(kinds[k].acc));
      uint32_t widest = tile_of(&targets[t], &kinds[k], -1).vecs;
      for (uint32_t vecs = 1; vecs < widest; vecs++, done++) {
        onnxc_register_tile tile = tile_of(&targets[t], &kinds[k], vecs * lanes);
        cr_expect_eq(tile.vecs, vecs);
        check(&targets[t], &kinds[k], &tile);
      }
      for (int64_t halves = 1; onnxc_target_halves(&targets[t]) && halves < 8; halves += 2, done++) {
        onnxc_register_tile tile = tile_of(&targets[t], &kinds[k], halves * lanes / 2);
        cr_expect_eq(tile.lanes, lanes / 2);
        check(&targets[t], &kinds[k], &tile);
      }
    }
  }
  cr_assert(done > 0);
}

/* The broadcast of A is part of the instruction where it is used once: the load is its last operand. */
Test(spills, broadcasts_are_folded) {
  uint32_t count, done = 0;
  const onnxc_target *targets = onnxc_target_rows(&count);
  for (uint32_t t = 0; t < count; t++)
    for (uint32_t k = 0; k < KINDS; k++) {
      const char *name = instruction_of(&targets[t], &kinds[k]);
      bool dot = strcmp(name, "vdpbf16ps") == 0 || (strcmp(name, "vpdpbusd") == 0 && kinds[k].a == ONNXC_I8);
      if (!dot || targets[t].vector_bytes != 64)
        continue;
      onnxc_register_tile tile = tile_of(&targets[t], &kinds[k], 16);
      LLVMMemoryBufferRef assembly = assemble(&targets[t], &kinds[k], &tile);
      cr_expect(strstr(LLVMGetBufferStart(assembly), "{1to16}"), "no folded broadcast in %s for %s", kinds[k].name,
                targets[t].name);
      LLVMDisposeMemoryBuffer(assembly);
      done++;
    }
  cr_assert(done > 0);
}
