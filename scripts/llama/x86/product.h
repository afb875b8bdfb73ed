// The inner loop of all products here: LANES columns of quantized weights times up to 16 rows of activations.
#pragma once

#include "ggml-cpu.h"
#include "ggml.h"
#include "vectors.h"

#if defined(EDGEINFER_VECTORS)

namespace {

constexpr int BLOCK = 32;  // elements that share a scale
constexpr int WORDS = 8;   // of four bytes: what `dot` takes at once

// What a row's sum over a block is multiplied by, and what it begins with: weights are unsigned here, and
// the beginning takes their zero point back out of the sum.
struct BlockTerms {
    float scale;
    int32_t start;
};

struct Row {  // block_q8_0 of ggml
    static constexpr int ELEMENTS = BLOCK;

    uint16_t scale;
    int8_t quants[BLOCK];

    static void quantize(const float *values, Row *out, int64_t elements) {
        ggml_get_type_traits_cpu(GGML_TYPE_Q8_0)->from_float(values, out, elements);
    }
};
static_assert(sizeof(Row) == 34, "block_q8_0");

// A row that is multiplied with weights of this zero point.
template <int ZERO_POINT>
struct RowWith : Row {
    using Terms = BlockTerms;

    BlockTerms terms() const {
        int32_t sum = 0;
        for (int i = 0; i < BLOCK; i++) sum += quants[i];
        return {_cvtsh_ss(scale), -ZERO_POINT * sum};
    }
};

// A vector of weights for each word of a block, and the scales of the columns.
struct Expanded {
    Integers words[WORDS];
    Floats scales;
};

// start + the sum of a block's words of weights below 16 times those of a row, which `word_at(w)` has. With VNNI, any
// weights are small enough.
template <class WordAt>
__attribute__((always_inline)) inline Integers sum_of_small(const Integers words[WORDS], WordAt word_at,
                                                            int32_t start) {
#if defined(EDGEINFER_VNNI)
    Integers sum = integers(start);
#pragma GCC unroll 8
    for (int w = 0; w < WORDS; w++) sum = dot(sum, words[w], word_at(w));
    return sum;
#else
    Integers sums = integers(0);
#pragma GCC unroll 8
    for (int w = 0; w < WORDS; w++) sums = add_products(sums, words[w], word_at(w));
    return add(total(sums), integers(start));
#endif
}

// Multiplies a strip of LANES columns, whose `expand` gives its blocks and whose `sum` multiplies one, with COUNT
// rows. `terms` has those of all rows for each block. A row's sum is made in the order of the blocks: it is the same
// whatever rows stand beside it.
template <int COUNT, class Strip, class Row>
void multiply_blocks(const Strip &strip, int blocks, const Row *rows, const BlockTerms *terms, float *out,
                     size_t stride) {
    Floats sums[COUNT];
    for (int r = 0; r < COUNT; r++) sums[r] = zeros();
    for (int b = 0; b < blocks; b++) {
        const auto weights = strip.expand(b);
#pragma GCC unroll 16
        for (int r = 0; r < COUNT; r++) {
            const int8_t *quants = rows[r * blocks + b].quants;
            const BlockTerms &t = terms[b * COUNT + r];
            const auto word_at = [=](int w) { return four_bytes(quants + 4 * w); };
            const Integers sum = Strip::sum(weights, word_at, t.start);
            sums[r] = multiply_add(to_floats(sum), multiply(weights.scales, floats(t.scale)), sums[r]);
        }
    }
    for (int r = 0; r < COUNT; r++) strip.store(out + r * stride, sums[r]);
}

}  // namespace

#endif
