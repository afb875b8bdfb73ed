// Matrix products and attention that llama.cpp computes on x86, or we do.
//
// llama.cpp has functions for one row of activations and for four. What is left of fours is computed row by row, so
// that seven rows read the weights four times, and unpack them as often; weights that it does not repack are unpacked
// for each row. Here weights are read and unpacked once for up to sixteen rows.
#include "kernels.h"
#include "ggml-backend-impl.h"
#include "ggml-cpu-impl.h"
#include "repack.h"
#include "vectors.h"

extern "C" bool __real_ggml_cpu_extra_compute_forward(ggml_compute_params *params, ggml_tensor *op);
extern "C" bool __real_ggml_cpu_extra_work_size(int threads, const ggml_tensor *op, size_t *size);

#if defined(EDGEINFER_VECTORS)

namespace {

// Whether the weights are a matrix that lies as in a file, in memory that is the CPU's alone.
bool is_plain(const ggml_tensor *weights) { return !weights->extra && ggml_is_contiguous(weights); }

// Whether llama.cpp has repacked the weights: eight columns interleaved by eight bytes.
bool is_repacked(const ggml_tensor *weights) {
    return weights->extra && weights->buffer && weights->buffer->buft == ggml_backend_cpu_repack_buffer_type();
}

// Whether the matrices of a tensor lie one behind the other, so that their rows are those of one matrix.
bool is_one_matrix(const ggml_tensor *t) {
    return t->nb[0] == sizeof(float) && t->nb[2] == t->nb[1] * t->ne[1] && t->nb[3] == t->nb[2] * t->ne[2];
}

// Whether all rows are multiplied with the same matrix.
bool is_of_matrices(const ggml_tensor *op) {
    const ggml_tensor *weights = op->src[0];
    return weights->ne[2] == 1 && weights->ne[3] == 1 && is_one_matrix(op->src[1]) && is_one_matrix(op);
}

// Whether numbers lie side by side, and fill vectors. Matrices may lie anywhere, as the keys of a cache do.
bool is_of_floats(const ggml_tensor *op) {
    const ggml_tensor *weights = op->src[0];
    return !weights->extra && weights->nb[0] == ggml_type_size(weights->type) && op->src[1]->nb[0] == sizeof(float) &&
           weights->ne[0] % LANES == 0;
}

// The kernel of ours that computes `op`; null: there is none.
const Kernel *kernel_for(const ggml_tensor *op) {
    if (op->op == GGML_OP_FLASH_ATTN_EXT) return edgeinfer_attends(op) ? &edgeinfer_attention : nullptr;
    if (op->op != GGML_OP_MUL_MAT || op->src[1]->type != GGML_TYPE_F32) return nullptr;
    if (ggml_get_op_params_i32(op, 1) == GGML_HINT_SRC0_IS_HADAMARD) return nullptr;
    const ggml_tensor *weights = op->src[0];
    switch (weights->type) {
        case GGML_TYPE_F16:
            return is_of_floats(op) ? &edgeinfer_f16 : nullptr;
        case GGML_TYPE_F32:
            return is_of_floats(op) ? &edgeinfer_f32 : nullptr;
        case GGML_TYPE_Q4_0:
            return is_repacked(weights) && is_of_matrices(op) ? &edgeinfer_q4_0 : nullptr;
        case GGML_TYPE_Q4_K:
            return is_repacked(weights) && is_of_matrices(op) ? &edgeinfer_q4_k : nullptr;
        case GGML_TYPE_Q6_K:
            return is_plain(weights) && is_of_matrices(op) ? &edgeinfer_q6_k : nullptr;
        case GGML_TYPE_Q8_0:
            return is_plain(weights) && is_of_matrices(op) ? &edgeinfer_q8_0 : nullptr;
        default:
            return nullptr;
    }
}

}  // namespace

#endif

// Computes op in a way of its own; false: there is none.
extern "C" bool __wrap_ggml_cpu_extra_compute_forward(ggml_compute_params *params, ggml_tensor *op) {
#if defined(EDGEINFER_VECTORS)
    const Kernel *const kernel = params->use_ref ? nullptr : kernel_for(op);
    if (kernel && params->wsize >= kernel->work_size(op)) {
        kernel->compute(params, op);
        return true;
    }
#endif
    return __real_ggml_cpu_extra_compute_forward(params, op);
}

// Sets the bytes of memory that op needs to be computed; false: it does not know.
extern "C" bool __wrap_ggml_cpu_extra_work_size(int threads, const ggml_tensor *op, size_t *size) {
    const bool known = __real_ggml_cpu_extra_work_size(threads, op, size);
#if defined(EDGEINFER_VECTORS)
    if (const Kernel *const kernel = kernel_for(op)) {
        const size_t ours = kernel->work_size(op);
        if (!known || *size < ours) *size = ours;
        return true;
    }
#endif
    return known;
}
