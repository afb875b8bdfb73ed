// Matrix products that llama.cpp computes on 64-bit ARM, or we do.
//
// llama.cpp has functions for one row of activations and for four. What is left of fours is computed row by row, so
// that seven rows read the weights four times, and unpack them as often; without DOTPROD each row unpacks them. Here
// weights are read once for up to sixteen rows, and unpacked once for eight. A row's result is the same alone and
// beside others, to the bit.
#include "formats.h"
#include "ggml-cpu.h"
#include "repack.h"

extern "C" bool __real_ggml_cpu_extra_compute_forward(ggml_compute_params *params, ggml_tensor *op);

namespace {

#if defined(__ARM_FEATURE_DOTPROD)
constexpr bool is_repacked = true;
#else
constexpr bool is_repacked = false;
#endif

using Product = void (*)(const ggml_compute_params *params, ggml_tensor *op);

Product product_of(ggml_type weights) {
    switch (weights) {
        case GGML_TYPE_Q4_0:
            return edgeinfer_multiply_q4_0;
        case GGML_TYPE_Q4_K:
            return edgeinfer_multiply_q4_k;
        case GGML_TYPE_Q6_K:
            return edgeinfer_multiply_q6_k;
        case GGML_TYPE_Q8_0:
            return edgeinfer_multiply_q8_0;
        default:
            return nullptr;
    }
}

bool is_matrix(const ggml_tensor *t) { return t->ne[2] == 1 && t->ne[3] == 1; }

// Whether the weights lie as our products read them.
bool is_known_layout(const ggml_tensor *weights) {
#if defined(__ARM_FEATURE_DOTPROD)
    if (!weights->extra || !weights->buffer || weights->buffer->buft != ggml_backend_cpu_repack_buffer_type()) {
        return false;
    }
#if defined(__ARM_FEATURE_SVE) && defined(__ARM_FEATURE_MATMUL_INT8)
    // Eight columns side by side: llama.cpp's product for vectors of 256 bits.
    if (weights->type == GGML_TYPE_Q4_0 && ggml_cpu_get_sve_cnt() == QK8_0 && weights->ne[1] % 8 == 0) return false;
#endif
    return true;
#else
    return !weights->extra && ggml_is_contiguous(weights);
#endif
}

Product product_of(const ggml_compute_params *params, const ggml_tensor *op) {
    if (op->op != GGML_OP_MUL_MAT || params->use_ref) return nullptr;
    const ggml_tensor *weights = op->src[0], *rows = op->src[1];
    // llama.cpp's functions for one row of these have the same results to the bit, and a little less to do.
    if (is_repacked && rows->ne[1] == 1 && (weights->type == GGML_TYPE_Q4_0 || weights->type == GGML_TYPE_Q8_0)) {
        return nullptr;
    }
    const bool are_matrices = is_matrix(weights) && is_matrix(rows) && rows->type == GGML_TYPE_F32 &&
                              rows->nb[0] == sizeof(float) && op->nb[0] == sizeof(float);
    const bool is_hadamard = ggml_get_op_params_i32(op, 1) == GGML_HINT_SRC0_IS_HADAMARD;
    return are_matrices && !is_hadamard && is_known_layout(weights) ? product_of(weights->type) : nullptr;
}

}  // namespace

// Computes op in a way of its own; false: there is none.
extern "C" bool __wrap_ggml_cpu_extra_compute_forward(ggml_compute_params *params, ggml_tensor *op) {
    if (const Product product = product_of(params, op)) {
        product(params, op);
        return true;
    }
    return __real_ggml_cpu_extra_compute_forward(params, op);
}
