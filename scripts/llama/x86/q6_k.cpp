// Q6_K weights as they lie in the file, times Q8_K activations: the output layer of most models, and some others.
//
// llama.cpp unpacks the weights again for each row of activations, or from eight rows on, in a way made for large
// batches, once for all. Here the blocks of LANES rows of weights are transposed once for up to 16 rows. For a single
// row that would take longer than multiplying: it is multiplied as the weights lie, with the same sums of integers.
#include "columns.h"
#include "in_order.h"
#include "mul_mat.h"

#if defined(EDGEINFER_VECTORS)

namespace {

constexpr int PART = 16;  // elements that share a scale of a byte
constexpr int PARTS = SUPERBLOCK / PART;
constexpr int ZERO_POINT = 32;

struct OneRow : RowK {
    struct Terms {
        float scale;
        int32_t sums[PARTS / 2];   // two of 16 bits, of the activations of two parts
        int16_t by_halves[PARTS];  // the same, the first of each two parts before the second
    };

    Terms terms(int) const {
        Terms out;
        out.scale = scale;
        memcpy(out.sums, sums, sizeof sums);
        for (int p = 0; p < PARTS; p++) out.by_halves[p % 2 * 8 + p / 2] = sums[p];
        return out;
    }
};

// Words of a part whose products `add_products` adds up.
#if defined(EDGEINFER_VNNI)
constexpr int AT_ONCE = 4;
#else
constexpr int AT_ONCE = 2;
#endif

struct Weights {                   // block_q6_K of ggml, in halves of 128 elements
    uint8_t low[SUPERBLOCK / 2];   // four bits: byte i of a half's 64 has those of the elements i and i + 64
    uint8_t high[SUPERBLOCK / 4];  // two bits: byte i of a half's 32 has those of i, i + 32, i + 64 and i + 96
    int8_t scales[PARTS];
    uint16_t scale;
};
static_assert(sizeof(Weights) == 210, "block_q6_K");

// LANES columns, which are rows of the matrix of weights.
class Strip {
   public:
    Strip(const Weights *first, int64_t stride, int columns) : columns(columns) {
        for (int c = 0; c < LANES; c++) at[c] = first + (c < columns ? c : columns - 1) * stride;
    }

    template <int COUNT>
    void multiply(int blocks, const OneRow *rows, const OneRow::Terms *terms, float *out, size_t stride) const {
        Floats sums[COUNT];
        for (int r = 0; r < COUNT; r++) sums[r] = zeros();
        for (int b = 0; b < blocks; b++) {
            Integers scales[4], scaled[COUNT], zero_point[PARTS / 2];  // `scales` has four parts each
            load_scales(b, scales);
            for (int r = 0; r < COUNT; r++) scaled[r] = integers(0);
            in_order::for_each(std::make_integer_sequence<int, PARTS / 2>(), [&](auto number) {
                constexpr int two = decltype(number)::value;
                Integers words[WORDS];
                expand<two>(b, words);
                constexpr int first = two % 2 * 2;
                const Integers scale[] = {factor(scales[two / 2], first), factor(scales[two / 2], first + 1)};
                zero_point[two] = signed_bytes(scales[two / 2], first, first + 1);
#pragma GCC unroll 16
                for (int r = 0; r < COUNT; r++) {
                    const int8_t *quants = rows[r * blocks + b].quants + two * BLOCK;
#pragma GCC unroll 4
                    for (int w = 0; w < WORDS; w += AT_ONCE) {
                        Integers products = integers(0);
#pragma GCC unroll 4
                        for (int i = w; i < w + AT_ONCE; i++) {
                            products = add_products(products, words[i], four_bytes(quants + 4 * i));
                        }
                        scaled[r] = add(scaled[r], times(products, scale[w / 4]));
                    }
                }
            });
            uint16_t halves_of_columns[LANES];
            for (int c = 0; c < LANES; c++) halves_of_columns[c] = at[c][b].scale;
            const Floats column_scales = halves(halves_of_columns, halves_of_columns + LANES - 8);
            for (int r = 0; r < COUNT; r++) {
                const OneRow::Terms &t = terms[b * COUNT + r];
                Integers taken = integers(0);
                for (int two = 0; two < PARTS / 2; two++) {
                    taken = dot_of_pairs(taken, zero_point[two], integers(t.sums[two]));
                }
                const Integers sum = add(scaled[r], multiply_integers(taken, integers(-ZERO_POINT)));
                sums[r] = multiply_add(to_floats(sum), ::multiply(column_scales, floats(t.scale)), sums[r]);
            }
        }
        for (int r = 0; r < COUNT; r++) store_lanes(out + r * stride, sums[r], columns);
    }

   private:
    // The parts 2 * two and 2 * two + 1 of block b.
    template <int two>
    void expand(int b, Integers words[WORDS]) const {
        constexpr int half = two / 4, quarter = two % 4;
        constexpr int low_at = 64 * half + 32 * (quarter % 2), high_at = 32 * half;
        prefetch_share(at[0] + LANES * (at[1] - at[0]), LANES * sizeof(Weights) / 8, 8 * b + two);
        words_of_columns(
            [&](int c) {
                const Weights &near = at[c][b], &far = at[c + 4][b];
                const Integers low = blocks_of(near.low + low_at, far.low + low_at);
                const Integers high = blocks_of(near.high + high_at, far.high + high_at);
                const Integers placed = quarter < 3 ? shifted_left(high, 4 - 2 * quarter) : shifted_right(high, 2);
                return either(both(quarter < 2 ? low : shifted_right(low, 4), integers(0x0f0f0f0f)),
                              both(placed, integers(0x30303030)));
            },
            words);
    }

    void load_scales(int b, Integers scales[4]) const {
        Integers rows[4];
        for (int i = 0; i < 4; i++) {
            rows[i] = quarters_of(at[i][b].scales, at[i + 4][b].scales, at[(i + 8) % LANES][b].scales,
                                  at[(i + 12) % LANES][b].scales);
        }
        transpose(rows, scales);
    }

    const Weights *at[LANES];  // a strip at the edge has its last column several times
    const int columns;
};

}  // namespace

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
            sums[r] = _mm256_add_epi32(sums[r], times(products, scale));
        }
    });
    for (int r = 0; r < COUNT; r++) {
        const Vector taken = times(scales, load(terms[r].by_halves));
        out[r] = {_mm256_sub_epi32(sums[r], _mm256_mullo_epi32(taken, _mm256_set1_epi32(ZERO_POINT)))};
    }
}

// The products of eight columns.
static Vector sums_of(const Products *columns, size_t stride) {
    Vector pairs[4], fours[2];
    for (int i = 0; i < 4; i++) {
        const Products *two = columns + 2 * i * stride;
        pairs[i] = _mm256_hadd_epi32(two[0].numbers, two[stride].numbers);
    }
    for (int i = 0; i < 2; i++) fours[i] = _mm256_hadd_epi32(pairs[2 * i], pairs[2 * i + 1]);
    return _mm256_add_epi32(_mm256_permute2x128_si256(fours[0], fours[1], 0x20),
                            _mm256_permute2x128_si256(fours[0], fours[1], 0x31));
}

template <int COUNT>
void multiply(const Weights *weights, int columns, int blocks, const OneRow *rows, const OneRow::Terms *terms,
              float *out, size_t stride) {
    static thread_local std::vector<Products> products;
    if (products.size() < (size_t)8 * COUNT * blocks) products.resize((size_t)8 * COUNT * blocks);
    for (int first = 0; first < columns; first += 8) {
        const int count = columns - first < 8 ? columns - first : 8;
        for (int c = 0; c < count; c++) {
            const Weights *column = weights + (int64_t)(first + c) * blocks;
            for (int b = 0; b < blocks; b++) {
                prefetch(column + b, sizeof *column);
                multiply_block<COUNT>(column[b], rows + b, blocks, terms + b * COUNT,
                                      &products[(c * blocks + b) * COUNT]);
            }
        }
        __m256 sums[COUNT];
        for (int r = 0; r < COUNT; r++) sums[r] = _mm256_setzero_ps();
        for (int b = 0; b < blocks; b++) {
            uint16_t scales[8] = {};
            for (int c = 0; c < count; c++) scales[c] = weights[(int64_t)(first + c) * blocks + b].scale;
            const __m256 column_scales = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)scales));
            for (int r = 0; r < COUNT; r++) {
                const __m256 scale = _mm256_mul_ps(column_scales, _mm256_set1_ps(terms[b * COUNT + r].scale));
                const Vector numbers = sums_of(&products[b * COUNT + r], blocks * COUNT);
                sums[r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(numbers), scale, sums[r]);
            }
        }
        for (int r = 0; r < COUNT; r++) {
            float all[8];
            _mm256_storeu_ps(all, sums[r]);
            memcpy(out + r * stride + first, all, count * sizeof *out);
        }
    }
}

}  // namespace in_order

namespace {

struct Q6_K {
    using Row = OneRow;
    static constexpr int ZERO_POINT = ::ZERO_POINT;
    static constexpr int MOST_IN_ORDER = 3;

    template <int COUNT>
    static void multiply(const ggml_tensor *weights, int64_t first, int columns, int blocks, const Row *rows,
                         const OneRow::Terms *terms, float *out, size_t stride) {
        const Weights *const from = (const Weights *)weights->data + first * blocks;
        if constexpr (COUNT <= MOST_IN_ORDER) {
            in_order::multiply<COUNT>(from, columns, blocks, rows, terms, out, stride);
        } else {
            const auto strip_at = [=](int column) { return Strip(from + column * blocks, blocks, columns - column); };
            multiply_strips<COUNT>(strip_at, columns, blocks, rows, terms, out, stride);
        }
    }
};

}  // namespace

const Product edgeinfer_q6_k = product_with<Q6_K>();

#endif
