/* program.h -- the descriptor that the emitter writes and the run-time reads.
 *
 * All of a compiled model but its code and weights, as plain data: one table of int64
 * words (the sections below) and a few pointers. The same struct serves the JIT (built in memory) and artefacts
 * (emitted as a constant), and plan.c and run.c are the one interpreter of it, compiled into
 * both, freestanding C without libc (state.h).
 */
#ifndef ONNXC_RT_PROGRAM_H
#define ONNXC_RT_PROGRAM_H

#include "onnxc/runtime.h"

/* What a stage's code receives. One a thread. */
typedef struct onnxc_stage_context {
  const int64_t *dims;  /* value of each dim slot */
  void *const *buffers; /* base address of each buffer slot */
  void *scratch;        /* 64-byte aligned, this thread's */
} onnxc_stage_context;
typedef void (*onnxc_stage_fn)(const onnxc_stage_context *context, int64_t first_task, int64_t last_task);

/* Dim slots are computed in order; a slot's arguments are earlier slots (dims) or immediate words. */
typedef enum onnxc_rt_dim_op {
  ONNXC_RT_CONST,     /* a = the value */
  ONNXC_RT_INPUT_DIM, /* dim b of input a */
  ONNXC_RT_ELEMENT,   /* integer element b of buffer slot a, of dtype c */
  ONNXC_RT_ADD,       /* slots a, b */
  ONNXC_RT_MUL,
  ONNXC_RT_FLOORDIV,
  ONNXC_RT_MOD,
  ONNXC_RT_MIN,
  ONNXC_RT_MAX,
  ONNXC_RT_EQ
} onnxc_rt_dim_op;
typedef struct onnxc_rt_dim {
  int32_t op, segment; /* computed when this segment starts (segment 0: when planning) */
  int64_t a, b, c;
} onnxc_rt_dim;

typedef enum onnxc_rt_buffer_kind {
  ONNXC_RT_INPUT,     /* index = input number */
  ONNXC_RT_OUTPUT,    /* index = output number */
  ONNXC_RT_WEIGHT,    /* index = byte offset in the weights */
  ONNXC_RT_WORKSPACE, /* index = workspace slot: see slots */
  ONNXC_RT_VIEW       /* index = buffer slot, offset_dim = byte offset in it */
} onnxc_rt_buffer_kind;
typedef struct onnxc_rt_buffer {
  int32_t kind, segment;
  int64_t index;
  int64_t size_dim;   /* dim slot: bytes */
  int64_t offset_dim; /* VIEW: dim slot: bytes */
} onnxc_rt_buffer;

/* A workspace slot holds buffers with disjoint lifetimes. Static programs have offsets planned at
 * compile time (offset >= 0); otherwise slots lie one behind the other, each as large as its largest buffer. */
typedef struct onnxc_rt_slot {
  int64_t offset;   /* bytes, or -1 = planned at run time */
  int64_t size_dim; /* dim slot: bytes, the maximum over its buffers */
  int32_t segment, reserved;
} onnxc_rt_slot;

typedef struct onnxc_rt_stage {
  int32_t function, segment;    /* index into functions */
  int64_t tasks_dim;            /* dim slot: number of tasks */
  int64_t buffers, num_buffers; /* range in buffer_lists: which buffer slot each of the function's pointers is */
  int64_t dims, num_dims;       /* range in dim_lists: which dim slot each of the function's integers is */
  int64_t flops_dim;            /* dim slot: floating-point operations of its contractions */
  int64_t work_dim;             /* dim slot: about how many scalar operations it is */
} onnxc_rt_stage;

/* A run fails with `message` unless slot a == slot b; checked as soon as both are known. */
typedef struct onnxc_rt_constraint {
  int64_t a, b;
  const char *message;
} onnxc_rt_constraint;

typedef struct onnxc_rt_io {
  int64_t dims[ONNXC_MAX_RANK]; /* dim slot of each dim */
  int64_t buffer;               /* buffer slot */
} onnxc_rt_io;

/* Runs member(arg, thread, threads, barrier) on `threads` threads at once (fewer when the system gives fewer) and
 * returns when all have. rt_omp.c is the one through libomp. */
typedef void (*onnxc_rt_member)(void *arg, int thread, int threads, void (*barrier)(void));
typedef void (*onnxc_rt_team)(int threads, onnxc_rt_member member, void *arg);

/* What compiled code asks of an x86-64 CPU: all that LLVM may select for the CPU it was compiled for. */
// clang-format off
#define ONNXC_RT_CPU_FEATURES(X)                                                                                       \
  X(SSE42, "sse4.2") X(POPCNT, "popcnt") X(MOVBE, "movbe") X(AVX, "avx") X(F16C, "f16c") X(FMA, "fma")                 \
  X(LZCNT, "lzcnt") X(BMI1, "bmi") X(BMI2, "bmi2") X(AVX2, "avx2") X(AVX512F, "avx512f") X(AVX512CD, "avx512cd")       \
  X(AVX512BW, "avx512bw") X(AVX512DQ, "avx512dq") X(AVX512VL, "avx512vl") X(AVX512IFMA, "avx512ifma")                  \
  X(AVX512VBMI, "avx512vbmi") X(AVX512VBMI2, "avx512vbmi2") X(AVX512VNNI, "avx512vnni")                                \
  X(AVX512BITALG, "avx512bitalg") X(AVX512VPOPCNTDQ, "avx512vpopcntdq") X(AVX512BF16, "avx512bf16")                    \
  X(AVX512FP16, "avx512fp16") X(GFNI, "gfni") X(AVXVNNI, "avxvnni") X(AMX_TILE, "amx-tile") X(AMX_BF16, "amx-bf16")    \
  X(AMX_INT8, "amx-int8")
// clang-format on
typedef enum onnxc_rt_cpu_feature {
#define X(NAME, text) ONNXC_RT_CPU_##NAME,
  ONNXC_RT_CPU_FEATURES(X)
#undef X
      ONNXC_RT_CPU_COUNT
} onnxc_rt_cpu_feature;

/* Planning keeps the dim slots on the stack, so a program has at most this many. */
enum { ONNXC_RT_MAX_DIMS = 4096 };

typedef struct onnxc_rt_program {
  onnxc_model_info info;
  const onnxc_rt_io *inputs, *outputs;
  int64_t num_dims, num_buffers, num_slots, num_stages, num_constraints, num_segments;
  const onnxc_rt_dim *dims;
  const onnxc_rt_buffer *buffers;
  const onnxc_rt_slot *slots;
  const onnxc_rt_stage *stages;
  const onnxc_rt_constraint *constraints;
  const int64_t *buffer_lists, *dim_lists;
  const onnxc_stage_fn *functions;
  const void *weights;      /* NULL when bound at open */
  int64_t static_workspace; /* bytes of all slots when offsets are static, else -1 */
  int64_t scratch_size;     /* bytes a thread */
  uint64_t cpu_features;    /* 1 << ONNXC_RT_CPU_... that the code needs; checked by open */
  int64_t flops_dim;        /* dim slot: floating-point operations of the contractions of a run, or -1 */
  int64_t thread_work;      /* scalar operations that pay for one more thread; a stage uses no more threads than that */
  onnxc_rt_team team;       /* NULL: threads only through parallel_for */
} onnxc_rt_program;

/* The parts of `onnxc_run` are described in runtime.h. weights overrides program->weights when not NULL. All return an
 * onnxc_status. After a run its workspace begins with the values of the dim slots. */
int onnxc_rt_check_cpu(const onnxc_rt_program *program, char *message, size_t size);
int onnxc_rt_plan(const onnxc_rt_program *program, const void *weights, onnxc_run *run);
int onnxc_rt_run(const onnxc_rt_program *program, const void *weights, onnxc_run *run);
/* The same, for profiles: each thread says when its work on a stage (with parallel_for: a chunk of it) begins and ends,
 * thread 0 when all of the stage is done. */
typedef enum onnxc_rt_event { ONNXC_RT_BEGIN, ONNXC_RT_END, ONNXC_RT_DONE } onnxc_rt_event;
typedef void (*onnxc_rt_watch)(void *arg, onnxc_rt_event event, int64_t stage, int thread);
int onnxc_rt_run_watched(const onnxc_rt_program *program, const void *weights, onnxc_run *run, onnxc_rt_watch watch,
                         void *arg);
/* What a run computes for a slot of operation ADD .. EQ; INT64_MIN on overflow, and where an argument is that. */
int64_t onnxc_rt_compute_dim(int32_t op, int64_t a, int64_t b);
uint64_t onnxc_rt_host_cpu(void); /* the features of this machine, as the operating system lets them be used */
void onnxc_rt_omp_team(int threads, onnxc_rt_member member, void *arg);

#endif
