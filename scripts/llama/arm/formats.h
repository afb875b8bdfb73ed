// The products of these files, one a format of weights: op = src[0] times src[1].
#pragma once

struct ggml_compute_params;
struct ggml_tensor;

void edgeinfer_multiply_q4_0(const ggml_compute_params *params, ggml_tensor *op);
void edgeinfer_multiply_q4_k(const ggml_compute_params *params, ggml_tensor *op);
void edgeinfer_multiply_q6_k(const ggml_compute_params *params, ggml_tensor *op);
void edgeinfer_multiply_q8_0(const ggml_compute_params *params, ggml_tensor *op);
