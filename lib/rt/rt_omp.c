/* rt_omp.c -- a team of threads through libomp's entry points: one parallel region, barriers inside.
 *
 * Called directly instead of through `#pragma omp`, so that one source serves every compiler and needs no header:
 * only libomp.so is linked, and only when threads are wanted. */
#include "rt/program.h"

/* The interface that every OpenMP compiler of LLVM targets (openmp/runtime/src/kmp.h describes it). */
typedef struct kmp_ident {
  int32_t reserved_1, flags, reserved_2, reserved_3;
  const char *source;
} kmp_ident;
typedef void (*kmp_microtask)(int32_t *global_thread, int32_t *bound_thread, ...);
extern void __kmpc_fork_call(kmp_ident *where, int32_t arguments, kmp_microtask task, ...);
extern void __kmpc_push_num_threads(kmp_ident *where, int32_t global_thread, int32_t threads);
extern int32_t __kmpc_global_thread_num(kmp_ident *where);
extern void __kmpc_barrier(kmp_ident *where, int32_t global_thread);
extern int omp_get_num_threads(void);

enum { KMP_IDENT_KMPC = 2 };
#define HERE {0, KMP_IDENT_KMPC, 0, 0, ";onnxc;run;0;0;;"}

static void team_barrier(void) {
  kmp_ident here = HERE;
  __kmpc_barrier(&here, __kmpc_global_thread_num(&here));
}

static void team_member(int32_t *global_thread, int32_t *bound_thread, onnxc_rt_member member, void *arg) {
  (void)global_thread;
  member(arg, *bound_thread, omp_get_num_threads(), team_barrier);
}

void onnxc_rt_omp_team(int threads, onnxc_rt_member member, void *arg) {
  kmp_ident here = HERE;
  __kmpc_push_num_threads(&here, __kmpc_global_thread_num(&here), threads);
  __kmpc_fork_call(&here, 2, (kmp_microtask)(void (*)(void))team_member, member, arg);
}
