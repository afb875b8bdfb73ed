// Formats whose blocks of 32 elements have one scale.
#pragma once

#include "dot.h"
#include "repack.h"

namespace {

// A block of four columns.
struct Expanded {
    int8x16_t words[WORDS];
    float32x4_t scales;
};

inline float32x4_t to_floats(const void *halves) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16((const uint16_t *)halves)));
}

// Four columns of a matrix, side by side as llama.cpp repacks them, or as they lie in the file: then the last one
// stands for those that there are not.
template <class Block, class Four>
class Strip {
   public:
    Strip(const ggml_tensor *weights, int64_t column, int blocks) : columns(weights->ne[1] - column) {
#if defined(EDGEINFER_REPACKED)
        four = (const Four *)weights->data + column / 4 * blocks;
#else
        for (int c = 0; c < 4; c++) {
            at[c] = (const Block *)weights->data + (column + (c < columns ? c : columns - 1)) * blocks;
        }
#endif
    }

    const int64_t columns;
#if defined(EDGEINFER_REPACKED)
    const Four *four;
#else
    const Block *at[4];

    float32x4_t scales(int b) const {
        const uint16_t halves[] = {at[0][b].d, at[1][b].d, at[2][b].d, at[3][b].d};
        return to_floats(halves);
    }
#endif
};

// COUNT rows times four columns, whose blocks Strip's `expand` gives.
template <class Strip, int COUNT>
void multiply_blocks(const ggml_tensor *weights, int64_t column, int blocks, const void *rows, float *out,
                     size_t stride) {
    const Strip strip(weights, column, blocks);
    const auto *row = (const Rows::Of<COUNT> *)rows;
    Floats sums[UNITS<COUNT>] = {};
    for (int b = 0; b < blocks; b++, row++) {
        const Expanded four = strip.expand(b);
        const Floats scales = columns(four.scales);
        const float32x4_t row_scales[] = {to_floats(row->scales),
                                          COUNT > 4 ? to_floats(row->scales + 4) : zeros().v[0]};
        for_each<UNITS<COUNT>>([&](auto number) __attribute__((always_inline)) {
            constexpr int u = decltype(number)::value;
            const Integers sum = dot<COUNT, u, 2, Strip::WIDE>(four.words, row->quants);
            sums[u] = multiply_add(sums[u], sum, times_rows<u>(scales, row_scales));
        });
    }
    for_each<UNITS<COUNT>>([&](auto number) {
        constexpr int u = decltype(number)::value;
        store<COUNT, u>(out, stride, sums[u], strip.columns);
    });
}

}  // namespace
