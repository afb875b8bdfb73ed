// The product of a matrix of weights with rows of activations: which thread computes what, in which order.
#pragma once

#include <array>
#include <utility>

#include "rows.h"

namespace {

constexpr int64_t ROWS_IN_CACHE = 128 * 1024;  // bytes of activations that stay in a small core's second level

// Calls body(constant 0), body(constant 1) …, for instructions that have a number in them.
template <class Body, int... NUMBERS>
__attribute__((always_inline)) inline void for_each(std::integer_sequence<int, NUMBERS...>, Body body) {
    (body(std::integral_constant<int, NUMBERS>()), ...);
}
template <int COUNT, class Body>
__attribute__((always_inline)) inline void for_each(Body body) {
    for_each(std::make_integer_sequence<int, COUNT>(), body);
}

// Calls job(first, count) in all threads until there are no more columns, a few strips at a time.
template <class Job>
void share_columns(const ggml_compute_params *params, int64_t columns, int strip, Job job) {
    if (params->ith == 0) ggml_threadpool_chunk_set(params->threadpool, params->nth);
    ggml_barrier(params->threadpool);
    const int64_t strips = columns / (8 * params->nth * strip);
    const int64_t size = strip * (strips < 1 ? 1 : strips > 32 ? 32 : strips);
    for (int64_t i = params->ith; i * size < columns; i = ggml_threadpool_chunk_add(params->threadpool, 1)) {
        const int64_t first = i * size;
        job(first, columns - first < size ? columns - first : size);
    }
}

using Multiplier = void (*)(const ggml_tensor *weights, int64_t column, int blocks, const void *rows, float *out,
                            size_t stride);

template <class Format, int... NUMBERS>
constexpr auto multipliers(std::integer_sequence<int, NUMBERS...>) {
    return std::array<Multiplier, GROUP>{Format::template multiply<NUMBERS + 1>...};
}

// op = weights times rows. A Format names the Kind of rows and the number of COLUMNS that its multiply<COUNT> takes at
// once, with a group of COUNT rows. A row's result is the same in any group.
template <class Format>
void multiply(const ggml_compute_params *params, ggml_tensor *op) {
    using Kind = typename Format::Kind;
    static constexpr auto by_count = multipliers<Format>(std::make_integer_sequence<int, GROUP>());
    const ggml_tensor *weights = op->src[0];
    const int64_t count = op->ne[1], blocks = weights->ne[0] / ggml_blck_size(Kind::TYPE);
    const int64_t row_size = blocks * sizeof(typename Kind::template Of<1>);
    const size_t stride = op->nb[1] / sizeof(float);
    const int64_t fitting = ROWS_IN_CACHE / row_size / GROUP * GROUP, tile = fitting < 2 * GROUP ? 2 * GROUP : fitting;
    quantize<Kind>(params, op->src[1]);
    share_columns(params, weights->ne[1], Format::COLUMNS, [=](int64_t start, int64_t columns) {
        for (int64_t top = 0; top < count; top += tile) {
            for (int64_t c = start; c < start + columns; c += Format::COLUMNS) {
                for (int64_t r = top; r < count && r < top + tile; r += GROUP) {
                    const void *group = (const char *)params->wdata + r * row_size;
                    const int64_t size = count - r < GROUP ? count - r : GROUP;
                    by_count[size - 1](weights, c, blocks, group, (float *)op->data + r * stride + c, stride);
                }
            }
        }
    });
}

}  // namespace
