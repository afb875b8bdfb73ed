// The ways in which c = a^T b is computed in place of llama.cpp's own: a has m rows, of weights or keys or values, and
// b has n rows of activations, each of k numbers or blocks. False: not such a product, nothing is done.
#pragma once

#include "ggml-cpu-impl.h"

bool edgeinfer_multiply_floats(const ggml_compute_params *params, int64_t m, int64_t n, int64_t k, const void *a,
                               int64_t lda, const void *b, int64_t ldb, void *c, int64_t ldc, int a_type, int b_type,
                               int c_type);
