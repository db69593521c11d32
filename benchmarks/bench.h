/* bench.h -- what the files of onnxc-bench share.
 *
 * A problem is a case (a matrix product, a batch of them, or an MLP) with a dtype and its operands. An implementation
 * opens a problem once (packs weights, generates code), then runs it as often as asked: each run reads the problem's
 * input and leaves its result where `row` finds it. The measuring loop (measure.c) is the same for all.
 */
#ifndef ONNXC_BENCH_H
#define ONNXC_BENCH_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MAX_LAYERS = 3, MAX_ROWS = 4, MAX_CORES = 64 };

/* ---- problem.c ---- */

typedef enum bench_dtype {
  BENCH_F32,
  BENCH_BF16,    /* products of bf16; an implementation stores bf16 or f32 */
  BENCH_U8S8S32, /* activations u8, weights s8, sums s32 */
  BENCH_U8S8U8,  /* the same, and requantized to u8 */
  BENCH_NUM_DTYPES
} bench_dtype;
extern const char *const bench_dtype_names[BENCH_NUM_DTYPES];

typedef enum bench_kind { BENCH_GEMM, BENCH_BATCHED, BENCH_MLP } bench_kind;
typedef enum bench_activation { BENCH_NONE, BENCH_RELU, BENCH_GELU } bench_activation;

/* GEMM: b is constant. BATCHED: both operands arrive with each run. MLP: `layers` products with n = k, each with a bias
 * and the activation. */
typedef struct bench_case {
  const char *name;
  bench_kind kind;
  bench_activation activation;
  int layers;
  int64_t batch, m, n, k;
} bench_case;
extern const bench_case bench_cases[];
extern const int bench_num_cases;

/* Quantized values: real = scale * q, zero points are 0; the scale of activations is the same in every layer. */
typedef struct problem {
  const bench_case *what;
  bench_dtype dtype;
  int threads;
  void *a;                 /* [batch][m][k] row-major */
  void *b[MAX_LAYERS];     /* [batch][k][n] */
  float *bias[MAX_LAYERS]; /* [n]; NULL without; values of bf16 problems are exact in bf16 */
  float scale_a, scale_b;  /* of quantized problems; c has scale_a */
  size_t a_bytes, b_bytes; /* of a, of one b */
  double flops;            /* of a run */
  int num_rows;            /* rows whose result is known, and what it is: expected[row][n] */
  int64_t row_batch[MAX_ROWS], row_index[MAX_ROWS];
  double *expected;
  struct mapping *mappings;
} problem;

/* Operands from a fixed seed, and some rows of the result, computed plainly in double. */
problem *problem_new(const bench_case *what, bench_dtype dtype, int threads);
void problem_free(problem *p);
/* Memory that lives as long as the problem: zero, on huge pages where the system has them. Ends the process if there is
 * none. */
void *problem_alloc(problem *p, size_t size);
size_t bench_width(bench_dtype dtype); /* bytes of an element of a or b */
float bench_from_bf16(uint16_t value);
uint16_t bench_to_bf16(float value);

/* ---- implementations ---- */

typedef struct implementation {
  const char *name;
  /* What it is, for the report; NULL when the library is absent. Called first, once. */
  const char *(*version)(void);
  /* NULL when it cannot, with the reason in why[BENCH_WHY]. */
  void *(*open)(problem *p, char *why);
  bool (*run)(void *state);
  /* A row of the last run's result. */
  void (*row)(void *state, int64_t batch, int64_t index, double *values);
  void (*close)(void *state); /* may be NULL; the problem's memory goes with the problem */
  bool floating;              /* its calling thread only waits for its other threads: those may use all cores */
  /* Runs for these seconds (0: once) in another process; NULL for most. Returns seconds of one run, 0 on failure. */
  double (*window)(void *state, double seconds);
} implementation;
enum { BENCH_WHY = 200 };

extern const implementation impl_onnxc, impl_libxsmm, impl_onednn2, impl_onednn3, impl_openblas, impl_blis, impl_mkl,
    impl_onnxruntime, impl_openvino;

/* The model of a problem in ONNX, for those that read it; in the problem's memory. Input "a" (and "b" when batched),
 * output "c". */
const void *model_bytes(problem *p, size_t *size);

/* A function of a library opened with dlopen, into *function; false if there is none. */
bool bench_symbol(void *library, const char *name, void *function);
/* The first of the names (NULL ends them) that can be opened. It sees its own symbols before those of others: all these
 * libraries define cblas_sgemm or dnnl_..., and some of them open their parts for everyone. */
void *bench_library(const char *const *names);

/* Of the virtual environment, and the script that it runs. */
const char *bench_python(void);
const char *bench_script(void);

/* ---- machine.c ---- */

typedef struct machine_burst {
  double peak;  /* FLOP/s of all cores together */
  double clock; /* Hz, the slowest core's */
  bool valid;   /* each core within 3% of ports x lanes x clock */
} machine_burst;

/* Pins the calling thread to the first core, later threads are pinned by machine_pin_threads. real_time: ask for FIFO
 * scheduling. Finds out how many of each instruction begin a clock. */
void machine_init(int threads, const int *cores, bool real_time);
/* Threads of this process that are new since the last call go to the other cores, one each in turn; or they may use all
 * cores. */
void machine_pin_threads(bool floating);
/* Lets threads that are created now inherit all the cores. */
void machine_unpin(void);
void machine_pin(void);
machine_burst machine_peak(bench_dtype dtype);
const char *machine_instruction(bench_dtype dtype);
int machine_ports(bench_dtype dtype);
bool machine_is_real_time(void);
json_t *machine_cores(void); /* a new array */
/* Bytes a second of reading `buffer` over and over, on all cores, by the fastest of several loops. */
double machine_bandwidth(const void *buffer, size_t size, double seconds);
const char *machine_cpu(void);
double bench_seconds(void);
void bench_sleep(double seconds);

/* ---- measure.c ---- */

typedef struct measure_options {
  int rounds;
  double window; /* seconds */
} measure_options;

/* A JSON object with the CPU, the date, and what it can do with this dtype. */
void report_machine(bench_dtype dtype, int threads);
/* Measures the problem with each implementation, interleaved; one JSON object a line on standard output. */
void measure(problem *p, const implementation *const *impls, int count, const measure_options *options);

#endif
