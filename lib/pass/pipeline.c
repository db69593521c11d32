/* pipeline.c -- the order of the passes.
 *
 * Sizes first (infer), then products of bytes (qdq), before their weights become floats. Then what is constant (fold),
 * so that simplify and dce see the graph that is left. Composites are expanded after the first round, whole, and the
 * computes of the expansion are cleaned up once more. Reshapes get out of the way of what can be fused (sink), and
 * elementwise work is fused before contractions are recognised: padding and transposes reach the factors that way, and
 * epilogues the sums that winograd takes apart. What runs row by row is found next (rows, attention). Layouts need
 * roles; halos take guards off factors, so that dot products can be made (precision, signs) and packed for (pack).
 */
#include "pass/pass.h"

const char onnxc_pipeline[] = "infer,qdq,dce,fold,simplify,dce,"
                              "expand,fold,simplify,dce,"
                              "sink,dce,fuse,simplify,dce,"
                              "recognise,winograd,rows,attention,layout,precision,signs,pack,dce";
