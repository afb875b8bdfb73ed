// Q6_K weights as they lie in the file, times Q8_K activations: the output layer of most models, and some others.
//
// llama.cpp unpacks the weights again for each row of activations, or from eight rows on, in a way made for large
// batches, once for all. Here the blocks of LANES rows of weights are transposed once for up to 16 rows. For one or two
// that would take longer than multiplying: they are multiplied as the weights lie, with the same sums of integers.
#include <vector>

#include "columns.h"
#include "in_order.h"
#include "mul_mat.h"
#include "superblock.h"

#if defined(EDGEINFER_VECTORS)

namespace {

constexpr int PART = 16;  // elements that share a scale of a byte
constexpr int PARTS = SUPERBLOCK / PART;
constexpr int ZERO_POINT = 32;

struct OneRow : RowK {
    struct Terms {
        float scale;
        int32_t starts[PARTS];     // what a part's sum begins with, as `add_products` has sums
        int16_t by_halves[PARTS];  // sums of a part's activations, the first of each two before the second
    };

    Terms terms() const {
        Terms out;
        out.scale = scale;
        for (int p = 0; p < PARTS; p++) {
            out.starts[p] = start(p);
            out.by_halves[p % 2 * 8 + p / 2] = sums[p];
        }
        return out;
    }

   private:
#if defined(EDGEINFER_VNNI)
    int32_t start(int part) const { return -ZERO_POINT * sums[part]; }
#else
    // Two sums of 16 bits. That of unsigned weights would not fit in these, but the final one does: 8 x 32 x 127.
    int32_t start(int part) const {
        const __m128i activations = _mm_loadu_si128((const __m128i *)(quants + PART * part));
        const __m128i pairs = _mm_maddubs_epi16(_mm_set1_epi8(1), activations);
        const __m128i fours = _mm_add_epi16(pairs, _mm_shuffle_epi32(pairs, _MM_SHUFFLE(1, 0, 3, 2)));
        const __m128i eights = _mm_add_epi16(fours, _mm_shuffle_epi32(fours, _MM_SHUFFLE(2, 3, 0, 1)));
        return _mm_cvtsi128_si32(_mm_mullo_epi16(eights, _mm_set1_epi16(-ZERO_POINT)));
    }
#endif
};

struct Weights {                   // block_q6_K of ggml, in halves of 128 elements
    uint8_t low[SUPERBLOCK / 2];   // four bits: byte i of a half's 64 has those of the elements i and i + 64
    uint8_t high[SUPERBLOCK / 4];  // two bits: byte i of a half's 32 has those of i, i + 32, i + 64 and i + 96
    int8_t scales[PARTS];
    uint16_t scale;
};
static_assert(sizeof(Weights) == 210, "block_q6_K");

struct Strip : Columns<Weights, LANES> {
    using Columns::Columns;

    template <int COUNT>
    void multiply(int blocks, const OneRow *rows, const OneRow::Terms *terms, float *out, size_t stride) const {
        Floats sums[COUNT];
        for (int r = 0; r < COUNT; r++) sums[r] = zeros();
        for (int b = 0; b < blocks; b++) {
            Integers scales[4], scaled[COUNT];  // `scales` has four parts each
            load_scales(b, scales);
            for (int r = 0; r < COUNT; r++) scaled[r] = integers(0);
            for (int half = 0; half < 2; half++) {
                Integers low[2 * WORDS], high[WORDS];
                load_packed(b, half, low, high);
                in_order::for_each(std::make_integer_sequence<int, 4>(), [&](auto number) {
                    constexpr int quarter = decltype(number)::value;
                    Integers words[WORDS];
                    for (int w = 0; w < WORDS; w++) words[w] = unpacked<quarter>(low[quarter % 2 * WORDS + w], high[w]);
                    const int two = 4 * half + quarter;
                    constexpr int first = quarter % 2 * 2;
                    const Integers scale[] = {factor(scales[two / 2], first), factor(scales[two / 2], first + 1)};
#pragma GCC unroll 16
                    for (int r = 0; r < COUNT; r++) {
                        const int8_t *quants = rows[r * blocks + b].quants + two * BLOCK;
#pragma GCC unroll 2
                        for (int part = 0; part < 2; part++) {
                            Integers products = integers(terms[b * COUNT + r].starts[2 * two + part]);
#pragma GCC unroll 4
                            for (int w = 4 * part; w < 4 * part + 4; w++) {
                                products = add_products(products, words[w], four_bytes(quants + 4 * w));
                            }
                            scaled[r] = add(scaled[r], times(products, scale[part]));
                        }
                    }
                });
            }
            const Floats column_scales = Columns::scales(b);
            for (int r = 0; r < COUNT; r++) {
                const Floats scale = ::multiply(column_scales, floats(terms[b * COUNT + r].scale));
                sums[r] = multiply_add(to_floats(scaled[r]), scale, sums[r]);
            }
        }
        for (int r = 0; r < COUNT; r++) store(out + r * stride, sums[r]);
    }

   private:
    // What a half of block b has in `low` and in `high`, one vector a word.
    void load_packed(int b, int half, Integers low[2 * WORDS], Integers high[WORDS]) const {
        prefetch(b, half, 2);
        words_of_columns<2 * WORDS>([&](int c) { return at[c][b].low + 64 * half; }, low);
        words_of_columns<WORDS>([&](int c) { return at[c][b].high + 32 * half; }, high);
    }

    // A word of a quarter of a half.
    template <int quarter>
    static Integers unpacked(Integers low, Integers high) {
        const Integers placed = quarter < 3 ? shifted_left(high, 4 - 2 * quarter) : shifted_right(high, 2);
        return either(both(quarter < 2 ? low : shifted_right(low, 4), integers(0x0f0f0f0f)),
                      both(placed, integers(0x30303030)));
    }

    void load_scales(int b, Integers scales[4]) const {
        words_of_columns<4>([&](int c) { return at[c][b].scales; }, scales);
    }
};

namespace in_order {

// Numbers of 16 parts: the even ones, then the odd ones, as they lie in the halves of two parts' 32 elements.
inline Vector by_halves(__m128i bytes) {
    return _mm256_cvtepi8_epi16(
        _mm_shuffle_epi8(bytes, _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15)));
}

struct Products {  // of a block of a column and of the row: eight numbers, of which the product is the sum
    Vector numbers;
};

// Multiplies a block of a column with those of COUNT rows, each `row_stride` blocks behind the one before.
template <int COUNT>
void multiply_block(const Weights &weights, const OneRow *rows, int row_stride, const OneRow::Terms *terms,
                    Products *out) {
    const Vector scales = by_halves(_mm_loadu_si128((const __m128i *)weights.scales));
    Vector sums[COUNT];
    for (int r = 0; r < COUNT; r++) sums[r] = _mm256_setzero_si256();
    for_each(std::make_integer_sequence<int, PARTS / 2>(), [&](auto number) {
        constexpr int two = decltype(number)::value, half = two / 4, quarter = two % 4;
        const Vector low = load(weights.low + 64 * half + 32 * (quarter % 2)), high = load(weights.high + 32 * half);
        const Vector placed =
            quarter < 2 ? _mm256_slli_epi16(high, 4 - 2 * quarter) : _mm256_srli_epi16(high, 2 * quarter - 4);
        const Vector values = _mm256_or_si256(quarter < 2 ? low_nibbles(low) : high_nibbles(low),
                                              _mm256_and_si256(placed, _mm256_set1_epi8(0x30)));
        const Vector scale = _mm256_shuffle_epi8(scales, _mm256_set1_epi16(2 * two | (2 * two + 1) << 8));
        for (int r = 0; r < COUNT; r++) {
            const Vector products = _mm256_maddubs_epi16(values, load(rows[r * row_stride].quants + BLOCK * two));
            sums[r] = add_times(sums[r], products, scale);
        }
    });
    for (int r = 0; r < COUNT; r++) {
        const Vector taken = times(scales, load(terms[r].by_halves));
        out[r] = {_mm256_sub_epi32(sums[r], _mm256_mullo_epi32(taken, _mm256_set1_epi32(ZERO_POINT)))};
    }
}

struct Strip : Columns<Weights, 8> {
    using Columns::Columns;

    template <int COUNT>
    void multiply(int blocks, const OneRow *rows, const OneRow::Terms *terms, float *out, size_t stride) const {
        static thread_local std::vector<Products> products;
        if (products.size() < (size_t)WIDTH * COUNT * blocks) products.resize((size_t)WIDTH * COUNT * blocks);
        for (int c = 0; c < WIDTH; c++) {
            for (int b = 0; b < blocks; b++) {
                in_order::prefetch(at[c] + b, sizeof(Weights));
                multiply_block<COUNT>(at[c][b], rows + b, blocks, terms + b * COUNT,
                                      &products[(c * blocks + b) * COUNT]);
            }
        }
        __m256 sums[COUNT];
        for (int r = 0; r < COUNT; r++) sums[r] = _mm256_setzero_ps();
        for (int b = 0; b < blocks; b++) {
            const __m256 column_scales = scales(b);
            for (int r = 0; r < COUNT; r++) {
                const __m256 scale = _mm256_mul_ps(column_scales, _mm256_set1_ps(terms[b * COUNT + r].scale));
                const Vector numbers = totals([&](int c) { return products[(c * blocks + b) * COUNT + r].numbers; });
                sums[r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(numbers), scale, sums[r]);
            }
        }
        for (int r = 0; r < COUNT; r++) store(out + r * stride, sums[r]);
    }
};

}  // namespace in_order

struct Q6_K {
    using Row = OneRow;
    using InOrder = in_order::Strip;
    using Strip = ::Strip;
    static constexpr int MOST_IN_ORDER = 2;
};

}  // namespace

const Kernel edgeinfer_q6_k = kernel_with<Q6_K>();

#endif
