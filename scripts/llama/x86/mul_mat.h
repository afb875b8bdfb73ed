// op = src[0] times src[1]: how rows of activations are quantized, and which thread computes what.
//
// A Format names the kind of Row that its weights are multiplied with, and two kinds of strip: both multiply a few
// columns with any number of rows. InOrder takes the weights in the order in which they lie, and is used for up to
// MOST_IN_ORDER rows; Strip puts them in the order of the lanes. A row's result is the same alone and beside others,
// to the bit.
#pragma once

#include <array>
#include <type_traits>
#include <utility>
#include <vector>

#include "ggml-cpu-impl.h"
#include "ggml-cpu.h"
#include "kernels.h"
#include "product.h"
#include "share.h"

#if defined(EDGEINFER_VECTORS)

namespace {

constexpr int MOST_ROWS = 16;

// What the rows are in the work buffer: their blocks, and behind these what the blocks add to a product: for up to
// MOST_ROWS rows at a time, a block of every row after another.
template <class Format>
struct Rows {
    using Row = typename Format::Row;
    using Terms = typename Row::Terms;

    explicit Rows(const ggml_tensor *op)
        : count(ggml_nrows(op)), blocks(op->src[0]->ne[0] / Row::ELEMENTS), offset(GGML_PAD(all() * sizeof(Row), 64)) {}

    int64_t all() const { return count * blocks; }
    size_t size() const { return offset + all() * sizeof(Terms); }
    int together(int64_t first) const { return count - first < MOST_ROWS ? count - first : MOST_ROWS; }

    // Fills the work buffer; threads share the blocks.
    void quantize(const ggml_compute_params *params, const ggml_tensor *from) const {
        Row *const to = (Row *)params->wdata;
        Terms *const terms = (Terms *)((char *)params->wdata + offset);
        const int64_t end = all() * (params->ith + 1) / params->nth;
        for (int64_t i = all() * params->ith / params->nth; i < end;) {
            const int64_t r = i / blocks, b = i % blocks, left = end - i, here = blocks - b < left ? blocks - b : left;
            const float *values = (const float *)((const char *)from->data + r * from->nb[1]) + b * Row::ELEMENTS;
            Row::quantize(values, to + i, here * Row::ELEMENTS);
            const int64_t first = r / MOST_ROWS * MOST_ROWS;
            Terms *const of_group = terms + first * blocks + r % MOST_ROWS;
            for (int64_t j = 0; j < here; j++) of_group[(b + j) * together(first)] = to[i + j].terms();
            i += here;
        }
    }

    const int64_t count;
    const int blocks;
    const size_t offset;
};

// Multiplies columns with COUNT rows.
template <class Format, int COUNT>
void multiply_columns(const void *weights, int64_t first, int columns, int blocks, const typename Format::Row *rows,
                      const typename Format::Row::Terms *terms, float *out, size_t stride) {
    constexpr bool in_order = COUNT <= Format::MOST_IN_ORDER;
    using Strip = std::conditional_t<in_order, typename Format::InOrder, typename Format::Strip>;
    for (int c = 0; c < columns; c += Strip::WIDTH) {
        const Strip strip(weights, first + c, columns - c, blocks);
        strip.template multiply<COUNT>(blocks, rows, terms, out + c, stride);
    }
}

template <class Format, int... NUMBERS>
constexpr auto multipliers(std::integer_sequence<int, NUMBERS...>) {
    return std::array{multiply_columns<Format, NUMBERS + 1>...};
}

template <class Format>
void multiply(const ggml_compute_params *params, ggml_tensor *op) {
    static constexpr auto by_count = multipliers<Format>(std::make_integer_sequence<int, MOST_ROWS>());
    const Rows<Format> rows(op);
    rows.quantize(params, op->src[1]);
    share_columns(params, op->ne[0], [=](int64_t start, int columns) {
        const auto *blocks = (const typename Format::Row *)params->wdata;
        const auto *terms = (const typename Format::Row::Terms *)((const char *)params->wdata + rows.offset);
        const size_t stride = op->nb[1] / sizeof(float);
        for (int64_t r = 0; r < rows.count; r += MOST_ROWS) {
            by_count[rows.together(r) - 1](op->src[0]->data, start, columns, rows.blocks, blocks + r * rows.blocks,
                                           terms + r * rows.blocks, (float *)op->data + r * stride + start, stride);
        }
    });
}

// As llama.cpp calls it, for the rows that an expert of a model gets.
template <class Format>
void multiply_one_row(int elements, float *out, const void *weights, const void *blocks_of_row, int columns) {
    using Row = typename Format::Row;
    const Row *const row = (const Row *)blocks_of_row;
    const int blocks = elements / Row::ELEMENTS;
    static thread_local std::vector<typename Row::Terms> terms;
    if (terms.size() < (size_t)blocks) terms.resize(blocks);
    for (int b = 0; b < blocks; b++) terms[b] = row[b].terms();
    multiply_columns<Format, 1>(weights, 0, columns, blocks, row, terms.data(), out, 0);
}

template <class Format>
constexpr Kernel kernel_with() {
    return {multiply<Format>, [](const ggml_tensor *op) { return Rows<Format>(op).size(); }};
}

}  // namespace

#endif
