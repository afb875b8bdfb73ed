// Q4_K weights, as llama.cpp repacks them on x86 (eight rows interleaved by eight bytes), times Q8_K activations.
//
// What q4_0.cpp says of llama.cpp's own product holds here too. A block of 256 elements has eight parts of 32 with a
// scale and a minimum of six bits each; a block's sums are integers, as in llama.cpp's product of one row, whose
// results these are to the bit. (Its product of four rows rounds after every second part.)
#include "one_row.h"

#if defined(EDGEINFER_VECTORS)

namespace {

constexpr int PARTS = SUPERBLOCK / BLOCK;

// Of a row and a block: its scale, and for each two parts the sums of their activations, which the minima multiply.
struct SuperblockTerms {
    float scale;
    int32_t sums[PARTS / 2];  // two of 16 bits
};

inline int32_t two_sums(const int16_t *of_16) {
    const int16_t pair[] = {(int16_t)(of_16[0] + of_16[1]), (int16_t)(of_16[2] + of_16[3])};
    int32_t both;
    memcpy(&both, pair, sizeof both);
    return both;
}

struct OneRow : RowK {
    using Terms = SuperblockTerms;

    void terms(int, Terms *out) const {
        out->scale = scale;
        for (int p = 0; p < PARTS / 2; p++) out->sums[p] = two_sums(sums + 4 * p);
    }
};

struct InterleavedRows {  // block_q8_Kx4 of ggml: eight bytes, and four sums, of each row in turn
    using Terms = SuperblockTerms;
    static constexpr int ROWS = 4;
    static constexpr int offset(int word) { return 32 * (word / 2) + 4 * (word % 2); }

    float scales[4];
    int8_t quants[4 * SUPERBLOCK];
    int16_t sums[4 * SUPERBLOCK / 16];

    void terms(int, Terms *out) const {
        for (int r = 0; r < 4; r++) {
            out[r].scale = scales[r];
            for (int p = 0; p < PARTS / 2; p++) out[r].sums[p] = two_sums(sums + 16 * p + 4 * r);
        }
    }
};
static_assert(sizeof(InterleavedRows) == 1168, "block_q8_Kx4");

struct Weights {  // block_q4_Kx8 of ggml
    uint16_t scales[8];
    uint16_t minima[8];
    uint8_t parts[PARTS][12];  // scales and minima of eight columns
    uint8_t nibbles[8 * SUPERBLOCK / 2];

    // Of part p, a byte for each column.
    void unpack(int p, uint64_t &part_scales, uint64_t &part_minima) const {
        uint64_t near;
        uint32_t far;
        memcpy(&near, parts[p], 8);
        memcpy(&far, parts[p] + 8, 4);
        const uint64_t first = near & 0x3f3f3f3f3f3f3f3f;  // of columns 0-3: scales, then minima
        const uint64_t last = (near >> 2 & 0x3030303030303030) | (far & 0x0f0f0f0f) |
                              (uint64_t)(far >> 4 & 0x0f0f0f0f) << 32;  // of columns 4-7
        part_scales = (first & 0xffffffff) | last << 32;
        part_minima = first >> 32 | (last & 0xffffffff00000000);
    }
};
static_assert(sizeof(Weights) == 1152, "block_q4_Kx8");

struct Strip : Eights<Weights> {
    using Eights::Eights;

    template <int COUNT, class Rows>
    static void multiply(const Strip &strip, int blocks, const Rows *rows, const SuperblockTerms *terms, float *out,
                         size_t stride) {
        Floats sums[COUNT], minima[COUNT];
        for (int r = 0; r < COUNT; r++) sums[r] = minima[r] = zeros();
        for (int b = 0; b < blocks; b++) {
            const Weights &left = strip.first[b], &right = strip.second[b];
            Integers scaled[COUNT], taken[COUNT];
            for (int r = 0; r < COUNT; r++) scaled[r] = taken[r] = integers(0);
            for (int two = 0; two < PARTS / 2; two++) {
                Integers packed[WORDS];
                strip.load_packed(b, two, packed);
                uint64_t part_scales[2][2], part_minima[2][2];
                for (int i = 0; i < 2; i++) {
                    left.unpack(2 * two + i, part_scales[i][0], part_minima[i][0]);
                    right.unpack(2 * two + i, part_scales[i][1], part_minima[i][1]);
                }
                const Integers minima_of_two = pairs_of_bytes(part_minima[0], part_minima[1]);
                for (int i = 0; i < 2; i++) {
                    const Integers part_scale = factors(part_scales[i]), low = integers(0x0f0f0f0f);
                    Integers words[WORDS];
                    for (int w = 0; w < WORDS; w++) {
                        words[w] = both(i ? shifted_right(packed[w], 4) : packed[w], low);
                    }
#pragma GCC unroll 16
                    for (int r = 0; r < COUNT; r++) {
                        const int8_t *quants = rows[r / Rows::ROWS * blocks + b].quants + 8 * (r % Rows::ROWS) +
                                               (2 * two + i) * BLOCK * Rows::ROWS;
                        Integers products = integers(0);
#pragma GCC unroll 8
                        for (int w = 0; w < WORDS; w++) {
                            products = add_products(products, words[w], four_bytes(quants + Rows::offset(w)));
                        }
                        scaled[r] = add(scaled[r], times(products, part_scale));
                    }
                }
                for (int r = 0; r < COUNT; r++) {
                    taken[r] = dot_of_pairs(taken[r], minima_of_two, integers(terms[b * COUNT + r].sums[two]));
                }
            }
            const Floats scales = shuffled(halves(left.scales, right.scales));
            const Floats minimum = shuffled(halves(left.minima, right.minima));
            for (int r = 0; r < COUNT; r++) {
                const Floats row_scale = floats(terms[b * COUNT + r].scale);
                sums[r] = multiply_add(to_floats(scaled[r]), ::multiply(scales, row_scale), sums[r]);
                minima[r] = multiply_add(to_floats(taken[r]), ::multiply(minimum, row_scale), minima[r]);
            }
        }
        for (int r = 0; r < COUNT; r++) strip.store(out + r * stride, subtract(sums[r], minima[r]));
    }

    // Nibbles of the parts 2 * two and 2 * two + 1 of block b, one vector a word.
    void load_packed(int b, int two, Integers packed[WORDS]) const {
        const uint8_t *left = first[b].nibbles + 256 * two;
        const uint8_t *right = LANES == 16 ? second[b].nibbles + 256 * two : left + 32;
        prefetch(b, two * sizeof(Weights) / 4, (two + 1) * sizeof(Weights) / 4);
        for (int i = 0; i < WORDS / 2; i++) {
            const Integers near = load(left + 64 * i), far = load(right + 64 * i);
            packed[2 * i] = even_words(near, far);
            packed[2 * i + 1] = odd_words(near, far);
        }
    }
};

}  // namespace

namespace one_row {

static void multiply(int blocks, float *out, const Weights *weights, const OneRow *row, int columns) {
    const SuperblockTerms *terms = terms_of(row, blocks, 0);
    for (int c = 0; c < columns; c += 8) {
        __m256 sums = _mm256_setzero_ps(), minima = _mm256_setzero_ps();
        for (int b = 0; b < blocks; b++, weights++) {
            Vector all = _mm256_setzero_si256(), taken = _mm256_setzero_si256();
            for (int two = 0; two < PARTS / 2; two++) {
                const uint8_t *nibbles = weights->nibbles + 256 * two;
                const int8_t *quants = row[b].quants + 2 * BLOCK * two;
                prefetch(nibbles, 256);
                Vector near[2], far[2];  // of the first and the last four columns: sums of the first and second part
                for (int i = 0; i < 2; i++) near[i] = far[i] = _mm256_setzero_si256();
#pragma GCC unroll 4
                for (int i = 0; i < 4; i++) {
                    const Vector first = load(nibbles + 64 * i), last = load(nibbles + 64 * i + 32);
                    const Vector low = eight_bytes(quants + 8 * i), high = eight_bytes(quants + BLOCK + 8 * i);
                    near[0] = add_products(near[0], low_nibbles(first), low);
                    near[1] = add_products(near[1], high_nibbles(first), high);
                    far[0] = add_products(far[0], low_nibbles(last), low);
                    far[1] = add_products(far[1], high_nibbles(last), high);
                }
                uint64_t part_minima[2];
                for (int i = 0; i < 2; i++) {
                    uint64_t scale;
                    weights->unpack(2 * two + i, scale, part_minima[i]);
                    all = _mm256_add_epi32(all, times(joined(near[i], far[i]), pairs(scale, scale)));
                }
                const Vector minima_of_two =
                    times(pairs(part_minima[0], part_minima[1]), _mm256_set1_epi32(terms[b].sums[two]));
                taken = _mm256_add_epi32(taken, minima_of_two);
            }
            const __m256 scale = _mm256_set1_ps(terms[b].scale);
            sums = _mm256_fmadd_ps(_mm256_cvtepi32_ps(all), _mm256_mul_ps(halves(weights->scales), scale), sums);
            minima = _mm256_fmadd_ps(_mm256_cvtepi32_ps(taken), _mm256_mul_ps(halves(weights->minima), scale), minima);
        }
        store(out + c, _mm256_sub_ps(sums, minima));
    }
}

}  // namespace one_row

extern "C" {

void __wrap_ggml_gemm_q4_K_8x8_q8_K(int elements, float *out, size_t stride, const void *weights, const void *rows,
                                    int count, int columns) {
    multiply_eights<Strip, Weights, InterleavedRows>(0, elements / SUPERBLOCK, out, stride, weights, rows, count,
                                                     columns);
}

// llama.cpp calls this for each of the rows that no four are left of.
void __wrap_ggml_gemv_q4_K_8x8_q8_K(int elements, float *out, size_t, const void *weights, const void *row, int,
                                    int columns) {
    one_row::multiply(elements / SUPERBLOCK, out, (const Weights *)weights, (const OneRow *)row, columns);
}
}

#endif
