/* test_objects.c -- a module in parts: the same objects for any number of threads, code that finds what lies in other
 * parts, and errors of a thread that are the caller's. */
#include "jit.h"

#include "emit/artefact.h"
#include "pass/pass.h"

#include <criterion/criterion.h>
#include <string.h>

/* Functions of several kinds, and two stages that share one. */
static const char source[] = "graph @parts(%x: f32[6, 40]) {\n"
                             "  %w = constant splat 0.5 : f32[40, 40]\n"
                             "  %a = compute(%x, %w) <i0: 6, i1: 40 | r0: 40>\n"
                             "    f32 add mul($0[i0, r0], $1[r0, i1]) init 0 -> acc0 : f32[6, 40]\n"
                             "  %b = softmax(%a) axis=1 span=1 : f32[6, 40]\n"
                             "  %c = compute(%b, %w) <i0: 6, i1: 40 | r0: 40>\n"
                             "    f32 add mul($0[i0, r0], $1[r0, i1]) init 0 -> acc0 : f32[6, 40]\n"
                             "  %d = softmax(%c) axis=1 span=1 : f32[6, 40]\n"
                             "  %e = compute(%d) <i0: 6 | r0: 40> f32 max $0[i0, r0] init -inf -> acc0 : f32[6]\n"
                             "  %p = compute(%x) <i0: 6, i1: 40> abs($0[i0, i1]) : f32[6, 40]\n"
                             "  %q = compute(%d) <i0: 6, i1: 40> abs($0[i0, i1]) : f32[6, 40]\n"
                             "  return %d, %e, %p, %q\n"
                             "}\n";

typedef struct compilation {
  onnxc_guard guard;
  onnxc_arena arena;
  onnxc_diag diag;
  onnxc_graph graph;
  onnxc_tile_program tile;
  onnxc_module module;
  onnxc_rt_program rt;
  onnxc_weights weights;
  onnxc_facts facts;
} compilation;

static void build(compilation *c, const onnxc_target *target, uint64_t part_size) {
  memset(c, 0, sizeof *c);
  onnxc_arena_init(&c->arena, &c->guard);
  onnxc_graph_init(&c->graph, &c->arena, &c->diag);
  onnxc_pass_options options = {.target = target};
  cr_assert_eq(onnxc_graph_parse(&c->graph, "source", source, strlen(source)), ONNXC_OK, "%s", c->diag.text);
  cr_assert_eq(onnxc_run_passes(&c->graph, onnxc_pipeline, &options), ONNXC_OK, "%s", c->diag.text);
  onnxc_tile_program_init(&c->tile, &c->graph, target);
  cr_assert_eq(onnxc_tile_lower(&c->tile), ONNXC_OK, "%s", c->diag.text);
  cr_assert_eq(onnxc_codegen(&c->module, &c->tile, &c->arena, "f", part_size), ONNXC_OK, "%s", c->diag.text);
  cr_assert_eq(onnxc_describe(&c->rt, &c->weights, &c->facts, &c->tile, c->module.stages, &c->arena), ONNXC_OK, "%s",
               c->diag.text);
}

static void release(compilation *c) {
  onnxc_module_free(&c->module);
  onnxc_arena_free(&c->arena);
}

static onnxc_objects objects_of(const onnxc_target *target, uint64_t part_size, int threads) {
  compilation c;
  onnxc_objects objects;
  build(&c, target, part_size);
  cr_assert_eq(onnxc_jit_objects(&objects, &c.diag, &c.arena, &c.module, target, &c.rt, &c.facts, threads), ONNXC_OK,
               "%s", c.diag.text);
  release(&c);
  return objects;
}

Test(objects, are_the_same_for_any_number_of_threads) {
  const onnxc_target *target = onnxc_target_find("x86-64-v3", strlen("x86-64-v3"));
  onnxc_objects one = objects_of(target, 0, 1);
  cr_assert(one.count > 2, "the program has parts");
  for (int threads = 2; threads <= 16; threads *= 2) {
    onnxc_objects several = objects_of(target, 0, threads);
    cr_assert_eq(several.count, one.count);
    for (uint32_t k = 0; k < one.count; k++)
      cr_expect(several.list[k].size == one.list[k].size &&
                    memcmp(several.list[k].bytes, one.list[k].bytes, one.list[k].size) == 0,
                "part %u on %d threads", k, threads);
    onnxc_objects_free(&several);
  }
  onnxc_objects_free(&one);
  onnxc_objects whole = objects_of(target, UINT64_MAX, 4);
  cr_expect_eq(whole.count, 1);
  onnxc_objects_free(&whole);
}

/* A new part is begun only when the others are large enough, and functions are emitted once. */
Test(objects, parts_have_some_size) {
  const onnxc_target *target = onnxc_target_find("x86-64-v3", strlen("x86-64-v3"));
  compilation each, some;
  build(&each, target, 0);
  build(&some, target, each.module.parts[1].size + 1);
  cr_expect(some.module.num_parts > 1 && some.module.num_parts < each.module.num_parts);
  uint64_t total = 0;
  for (uint32_t k = 0; k < each.module.num_parts; k++)
    total += each.module.parts[k].size;
  for (uint32_t k = 0; k < some.module.num_parts; k++)
    total -= some.module.parts[k].size;
  cr_expect_eq(total, 0);
  bool shared = false;
  for (uint32_t k = 0; k < each.tile.stages.length; k++)
    for (uint32_t m = 0; m < k; m++)
      if (strcmp(each.module.stages[k].function, each.module.stages[m].function) == 0) {
        cr_expect_eq(each.module.stages[k].part, each.module.stages[m].part);
        shared = true;
      }
  cr_expect(shared);
  release(&each);
  release(&some);
}

/* What one thread could not do is said; the objects of the others are freed. */
Test(objects, errors_come_back) {
  const onnxc_target *target = onnxc_target_find("x86-64-v3", strlen("x86-64-v3"));
  for (int threads = 1; threads <= 4; threads += 3) {
    compilation c;
    onnxc_objects objects;
    build(&c, target, 0);
    cr_expect_eq(onnxc_make_objects(&objects, &c.diag, &c.module, target, "riscv64-linux", false, threads),
                 ONNXC_UNSUPPORTED);
    cr_expect(strstr(c.diag.text, "riscv64-linux"), "%s", c.diag.text);
    cr_expect_eq(c.diag.count, 1, "said once");
    onnxc_objects_free(&objects);
    release(&c);
  }
}

/* Symbols that parts share are hidden and have the program's prefix, so that several models fit into one program. */
Test(objects, shared_symbols_have_a_prefix) {
  const onnxc_target *target = onnxc_target_find("x86-64-v3", strlen("x86-64-v3"));
  compilation c;
  build(&c, target, 0);
  LLVMValueRef descriptor = NULL;
  LLVMTargetMachineRef machine = onnxc_machine_new(&c.diag, target, NULL);
  onnxc_module_set_target(c.module.parts[0].module, machine, target);
  LLVMDisposeTargetMachine(machine);
  cr_assert_eq(onnxc_emit_descriptor(&c.diag, &c.arena, &c.module, &c.rt, "mine_", NULL, NULL, &descriptor), ONNXC_OK);
  for (uint32_t k = 1; k < c.module.num_parts; k++)
    for (LLVMValueRef f = LLVMGetFirstFunction(c.module.parts[k].module); f; f = LLVMGetNextFunction(f)) {
      size_t length;
      if (LLVMIsDeclaration(f))
        continue;
      cr_expect(strncmp(LLVMGetValueName2(f, &length), "mine_f_", strlen("mine_f_")) == 0);
      cr_expect_eq(LLVMGetVisibility(f), LLVMHiddenVisibility);
    }
  release(&c);
}
