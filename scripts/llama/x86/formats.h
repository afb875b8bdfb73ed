// The products of these files, one a format of weights: op = src[0] times src[1].
#pragma once

#include <cstddef>

struct ggml_compute_params;
struct ggml_tensor;

struct Product {
    void (*multiply)(const ggml_compute_params *params, ggml_tensor *op);
    size_t (*work_size)(const ggml_tensor *op);  // bytes
};

extern const Product edgeinfer_f16, edgeinfer_f32, edgeinfer_q4_0, edgeinfer_q4_k, edgeinfer_q6_k, edgeinfer_q8_0;
