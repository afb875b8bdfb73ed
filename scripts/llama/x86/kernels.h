// What these files compute: products op = src[0] times src[1], one a format of weights, and attention.
#pragma once

#include <cstddef>

struct ggml_compute_params;
struct ggml_tensor;

struct Kernel {
    void (*compute)(const ggml_compute_params *params, ggml_tensor *op);
    size_t (*work_size)(const ggml_tensor *op);  // bytes
};

// Whether edgeinfer_attention computes op. edgeinfer looks for the name, to know whether a library has these kernels.
extern "C" bool edgeinfer_attends(const ggml_tensor *op);
extern const Kernel edgeinfer_attention;
extern const Kernel edgeinfer_f16, edgeinfer_f32, edgeinfer_q4_0, edgeinfer_q4_k, edgeinfer_q6_k, edgeinfer_q8_0;
