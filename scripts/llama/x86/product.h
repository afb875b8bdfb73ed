// The inner loop of all products here: LANES columns of quantized weights times up to 16 rows of activations.
#pragma once

#include <array>
#include <utility>
#include <vector>

#include "vectors.h"

#if defined(EDGEINFER_VECTORS)

namespace {

constexpr int BLOCK = 32;  // elements that share a scale
constexpr int SUPERBLOCK = 256;
constexpr int WORDS = 8;  // of four bytes: what `dot` takes at once
constexpr int MOST_ROWS = 16;

// What a row's sum over a block is multiplied by, and what it begins with: weights are unsigned here, and
// the beginning takes their zero point back out of the sum.
struct BlockTerms {
    float scale;
    int32_t start;
};

struct Row {  // block_q8_0 of ggml
    using Terms = BlockTerms;
    static constexpr int ROWS = 1;
    static constexpr int offset(int word) { return 4 * word; }

    uint16_t scale;
    int8_t quants[BLOCK];

    void terms(int zero_point, BlockTerms *out) const {
        int32_t sum = 0;
        for (int i = 0; i < BLOCK; i++) sum += quants[i];
        out[0] = {_cvtsh_ss(scale), -zero_point * sum};
    }
};
static_assert(sizeof(Row) == 34, "block_q8_0");

struct FourRows {  // block_q8_0x4 of ggml: eight bytes of each row in turn
    using Terms = BlockTerms;
    static constexpr int ROWS = 4;
    static constexpr int offset(int word) { return 32 * (word / 2) + 4 * (word % 2); }

    uint16_t scales[4];
    int8_t quants[4 * BLOCK];

    void terms(int zero_point, BlockTerms *out) const {
        Integers sums = integers(0);
        for (int i = 0; i < 4 * BLOCK; i += 4 * LANES) sums = dot(sums, integers(0x01010101), load(quants + i));
        int32_t sum[LANES];
        memcpy(sum, &sums, sizeof sum);
        float scale[4];
        _mm_storeu_ps(scale, _mm_cvtph_ps(_mm_loadl_epi64((const __m128i *)scales)));
        for (int r = 0; r < 4; r++) {
            int32_t all = 0;
            for (int lane = 2 * r; lane < LANES; lane += 8) all += sum[lane] + sum[lane + 1];
            out[r] = {scale[r], -zero_point * all};
        }
    }
};
static_assert(sizeof(FourRows) == 136, "block_q8_0x4");

struct RowK {  // block_q8_K of ggml
    static constexpr int ROWS = 1;
    static constexpr int offset(int word) { return 4 * word; }

    float scale;
    int8_t quants[SUPERBLOCK];
    int16_t sums[SUPERBLOCK / 16];  // of sixteen quants each
};
static_assert(sizeof(RowK) == 292, "block_q8_K");

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
template <int COUNT, class Strip, class Rows>
void multiply_blocks(const Strip &strip, int blocks, const Rows *rows, const BlockTerms *terms, float *out,
                     size_t stride) {
    Floats sums[COUNT];
    for (int r = 0; r < COUNT; r++) sums[r] = zeros();
    for (int b = 0; b < blocks; b++) {
        const auto weights = strip.expand(b);
#pragma GCC unroll 16
        for (int r = 0; r < COUNT; r++) {
            const int8_t *quants = rows[r / Rows::ROWS * blocks + b].quants + 8 * (r % Rows::ROWS);
            const BlockTerms &t = terms[b * COUNT + r];
            const auto word_at = [=](int w) { return four_bytes(quants + Rows::offset(w)); };
            const Integers sum = Strip::sum(weights, word_at, t.start);
            sums[r] = multiply_add(to_floats(sum), multiply(weights.scales, floats(t.scale)), sums[r]);
        }
    }
    for (int r = 0; r < COUNT; r++) strip.store(out + r * stride, sums[r]);
}

template <class Strip, class Rows, int... GROUPS>
constexpr auto multipliers(std::integer_sequence<int, GROUPS...>) {
    using Multiplier = void (*)(const Strip &, int, const Rows *, const typename Rows::Terms *, float *, size_t);
    return std::array<Multiplier, sizeof...(GROUPS)>{Strip::template multiply<Rows::ROWS *(GROUPS + 1), Rows>...};
}

// out[r * stride + c] = row r times column c. `strip_at(c)` is the Strip whose first column is c; `count` is a
// multiple of Rows::ROWS.
template <class Strip, class Rows, class StripAt>
void multiply(int columns, StripAt strip_at, int zero_point, int blocks, const Rows *rows, int count, float *out,
              size_t stride) {
    static constexpr auto by_count =
        multipliers<Strip, Rows>(std::make_integer_sequence<int, MOST_ROWS / Rows::ROWS>());
    static thread_local std::vector<typename Rows::Terms> terms;
    if (terms.size() < (size_t)MOST_ROWS * blocks) terms.resize((size_t)MOST_ROWS * blocks);
    for (int first = 0; first < count; first += MOST_ROWS) {
        const Rows *group = rows + (size_t)(first / Rows::ROWS) * blocks;
        const int size = count - first < MOST_ROWS ? count - first : MOST_ROWS;
        for (int r = 0; r < size; r += Rows::ROWS) {
            for (int b = 0; b < blocks; b++) {
                group[(size_t)(r / Rows::ROWS) * blocks + b].terms(zero_point, terms.data() + b * size + r);
            }
        }
        for (int c = 0; c < columns; c += LANES) {
            by_count[size / Rows::ROWS - 1](strip_at(c), blocks, group, terms.data(), out + first * stride + c, stride);
        }
    }
}

}  // namespace

#endif
