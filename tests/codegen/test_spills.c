/* test_spills.c -- no register tile that the tables ship keeps a vector in memory, on any CPU of the table.
 *
 * Whether accumulators stay in registers hangs on LLVM's scheduling model (the row's `tune`) and on the tile; the
 * assembly's comments tell. Edges are part of the statement.
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

/* A x B in panels, with a bias and max(.., 0), of whole tiles and one edge each way. */
static void add_product(rig *r, const onnxc_tile_row *tile, uint32_t lanes) {
  int64_t width = (int64_t)tile->nv * lanes, m = 3 * tile->mr + 1, n = 2 * width - 3, k = 256;
  const char *panels = onnxc_arena_printf(&r->arena, "[1 0 1:%u]", (unsigned)width);
  onnxc_compute c = {0};
  rig_extents(r, &c, 2, 1, (int64_t[]){m, n, k});
  onnxc_expr a = rig_at(r, tile->dtype, 0, (int[]){0, 2, -1}), b = rig_at(r, tile->dtype, 1, (int[]){2, 1, -1});
  onnxc_expr zero = onnxc_expr_f64(&r->graph.exprs, tile->acc, 0);
  rig_reduce(r, &c, 0, tile->acc, ONNXC_EXPR_ADD, rig_op(r, ONNXC_EXPR_MUL, a, b), zero);
  onnxc_expr bias = rig_at(r, tile->acc, 2, (int[]){1, -1});
  c.finish[0] = rig_op(r, ONNXC_EXPR_MAX, rig_op(r, ONNXC_EXPR_ADD, c.finish[0], bias), zero);
  uint32_t operands[3] = {rig_tensor(r, tile->dtype, 2, (int64_t[]){m, k}, NULL),
                          rig_tensor(r, tile->dtype, 2, (int64_t[]){k, n}, panels),
                          rig_tensor(r, tile->acc, 1, (int64_t[]){n}, NULL)};
  onnxc_schedule s = rig_schedule(&c, 0, tile->mr, 1, tile->nv, lanes, tile->unroll);
  rig_case(r, onnxc_arena_printf(&r->arena, "%s_%ux%u", onnxc_dtype_name(tile->dtype), tile->mr, tile->nv), &c,
           operands, 3, NULL, &s);
}

static bool fits(const onnxc_tile_row *tile, const onnxc_target *target) {
  bool wide = tile->features & ONNXC_FEATURE_AVX512;
  return tile->dtype == tile->acc && (tile->features & target->features) == tile->features &&
         wide == (target->vector_bytes == 64);
}

static uint32_t check_target(const onnxc_target *target) {
  rig *r = calloc(1, sizeof *r);
  rig_init(r);
  if (setjmp(r->guard.env))
    abort();
  r->program.target = target;
  uint32_t count, added = 0;
  const onnxc_tile_row *tiles = onnxc_tile_rows(&count);
  for (uint32_t t = 0; t < count; t++)
    if (fits(&tiles[t], target)) {
      add_product(r, &tiles[t], target->vector_bytes / (uint32_t)onnxc_dtype_bytes(tiles[t].dtype));
      added++;
    }
  onnxc_module module;
  cr_assert(onnxc_codegen(&module, &r->program, &r->arena, "spill") == ONNXC_OK, "%s", r->diag.text);
  LLVMTargetMachineRef machine = onnxc_machine_new(&r->diag, target, NULL);
  cr_assert(machine != NULL, "%s", r->diag.text);
  LLVMSetTargetMachineAsmVerbosity(machine, true);
  onnxc_module_set_target(module.module, machine, target);
  cr_assert(onnxc_module_optimize(&r->diag, module.module, machine) == ONNXC_OK);
  LLVMMemoryBufferRef assembly;
  char *message = NULL;
  cr_assert(!LLVMTargetMachineEmitToMemoryBuffer(machine, module.module, LLVMAssemblyFile, &message, &assembly));
  int spills = vector_spills(LLVMGetBufferStart(assembly));
  cr_assert(strstr(LLVMGetBufferStart(assembly), "vfmadd"), "no fma for %s", target->name);
  cr_assert(spills == 0, "%d vectors spilled or reloaded on %s", spills, target->name);
  LLVMDisposeMemoryBuffer(assembly);
  LLVMDisposeTargetMachine(machine);
  onnxc_module_free(&module);
  onnxc_arena_free(&r->arena);
  free(r);
  return added;
}

Test(spills, tiles_of_every_cpu) {
  uint32_t count, done = 0;
  const onnxc_target *targets = onnxc_target_rows(&count);
  for (uint32_t t = 0; t < count; t++)
    if (targets[t].arch == ONNXC_ARCH_X86_64)
      done += check_target(&targets[t]);
  cr_assert(done >= count);
}
