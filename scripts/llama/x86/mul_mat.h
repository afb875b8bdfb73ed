// op = src[0] times src[1]: how rows of activations are quantized, and which thread computes what.
//
// A Format names the kind of Row that its weights are multiplied with, the ZERO_POINT that its unsigned weights have,
// and multiply<COUNT>, which multiplies some columns with COUNT rows. A row's result is the same alone and beside
// others, to the bit.
#pragma once

#include <array>
#include <utility>

#include "formats.h"
#include "ggml-cpu-impl.h"
#include "ggml-cpu.h"
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
        const auto from_float = ggml_get_type_traits_cpu(Row::TYPE)->from_float;
        Row *const to = (Row *)params->wdata;
        Terms *const terms = (Terms *)((char *)params->wdata + offset);
        const int64_t end = all() * (params->ith + 1) / params->nth;
        for (int64_t i = all() * params->ith / params->nth; i < end;) {
            const int64_t r = i / blocks, b = i % blocks, left = end - i, here = blocks - b < left ? blocks - b : left;
            const float *values = (const float *)((const char *)from->data + r * from->nb[1]) + b * Row::ELEMENTS;
            from_float(values, to + i, here * Row::ELEMENTS);
            const int64_t first = r / MOST_ROWS * MOST_ROWS;
            Terms *const of_group = terms + first * blocks + r % MOST_ROWS;
            for (int64_t j = 0; j < here; j++)
                of_group[(b + j) * together(first)] = to[i + j].terms(Format::ZERO_POINT);
            i += here;
        }
    }

    const int64_t count;
    const int blocks;
    const size_t offset;
};

template <class Format>
using Multiplier = void (*)(const ggml_tensor *weights, int64_t first, int columns, int blocks,
                            const typename Format::Row *, const typename Format::Row::Terms *, float *out,
                            size_t stride);

template <class Format, int... NUMBERS>
constexpr auto multipliers(std::integer_sequence<int, NUMBERS...>) {
    return std::array<Multiplier<Format>, MOST_ROWS>{Format::template multiply<NUMBERS + 1>...};
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
            by_count[rows.together(r) - 1](op->src[0], start, columns, rows.blocks, blocks + r * rows.blocks,
                                           terms + r * rows.blocks, (float *)op->data + r * stride + start, stride);
        }
    });
}

// Multiplies columns with COUNT rows, LANES at a time; `strip_at(c)` is the Strip whose first column is c.
template <int COUNT, class StripAt, class Row, class Terms>
void multiply_strips(StripAt strip_at, int columns, int blocks, const Row *rows, const Terms *terms, float *out,
                     size_t stride) {
    for (int c = 0; c < columns; c += LANES) {
        const auto strip = strip_at(c);
        strip.template multiply<COUNT>(blocks, rows, terms, out + c, stride);
    }
}

template <class Format>
constexpr Product product_with() {
    return {multiply<Format>, [](const ggml_tensor *op) { return Rows<Format>(op).size(); }};
}

}  // namespace

#endif
