// Q4_K weights, as llama.cpp repacks them on x86 (eight rows interleaved by eight bytes), times Q8_K activations.
//
// What q4_0.cpp says of llama.cpp's own product holds here too. A block of 256 elements has eight parts of 32 with a
// scale and a minimum of six bits each; a block's sums are integers, as in llama.cpp's product of one row, whose
// results these are to the bit. (Its product of four rows rounds after every second part.)
#include "in_order.h"
#include "mul_mat.h"
#include "superblock.h"

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

    Terms terms() const {
        Terms out;
        out.scale = scale;
        for (int p = 0; p < PARTS / 2; p++) out.sums[p] = two_sums(sums + 4 * p);
        return out;
    }
};

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

namespace in_order {

constexpr int AT_ONCE = REGISTERS / 4;  // rows whose sums stay in registers

// Adds the product of a block of eight columns and of COUNT rows, whose blocks lie `row_stride` apart.
template <int COUNT>
__attribute__((always_inline)) inline void multiply_block(const Weights &weights, const OneRow *rows, int row_stride,
                                                          const SuperblockTerms *terms, __m256 *sums, __m256 *minima) {
    Vector all[COUNT], taken[COUNT];
    for (int r = 0; r < COUNT; r++) all[r] = taken[r] = _mm256_setzero_si256();
    for (int two = 0; two < PARTS / 2; two++) {
        const uint8_t *nibbles = weights.nibbles + 256 * two;
        uint64_t part_minima[2];
        for_each(std::make_integer_sequence<int, 2>(), [&](auto number) {
            constexpr int part = decltype(number)::value;
            Vector near[COUNT], far[COUNT];  // of the first and of the last four columns
            for (int r = 0; r < COUNT; r++) near[r] = far[r] = _mm256_setzero_si256();
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
                const Vector of_near = load(nibbles + 64 * i), of_far = load(nibbles + 64 * i + 32);
                const Vector first = part ? high_nibbles(of_near) : low_nibbles(of_near);
                const Vector last = part ? high_nibbles(of_far) : low_nibbles(of_far);
#pragma GCC unroll 8
                for (int r = 0; r < COUNT; r++) {
                    const Vector quants = eight_bytes(rows[r * row_stride].quants + BLOCK * (2 * two + part) + 8 * i);
                    near[r] = add_products(near[r], first, quants);
                    far[r] = add_products(far[r], last, quants);
                }
            }
            uint64_t part_scale;
            weights.unpack(2 * two + part, part_scale, part_minima[part]);
            const Vector scale = pairs(part_scale, part_scale);
            for (int r = 0; r < COUNT; r++) {
                all[r] = add_times(all[r], joined(near[r], far[r]), scale);
            }
        });
        const Vector minima_of_two = pairs(part_minima[0], part_minima[1]);
        for (int r = 0; r < COUNT; r++) {
            const Vector row_sums = _mm256_set1_epi32(terms[r].sums[two]);
            taken[r] = add_times(taken[r], minima_of_two, row_sums);
        }
    }
    const __m256 scales = halves(weights.scales), minimum = halves(weights.minima);
    for (int r = 0; r < COUNT; r++) {
        const __m256 scale = _mm256_set1_ps(terms[r].scale);
        sums[r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(all[r]), _mm256_mul_ps(scales, scale), sums[r]);
        minima[r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(taken[r]), _mm256_mul_ps(minimum, scale), minima[r]);
    }
}

class Strip {
   public:
    static constexpr int WIDTH = 8;

    Strip(const void *weights, int64_t column, int, int blocks)
        : first((const Weights *)weights + column / 8 * blocks) {}

    // Rows are multiplied in groups that are as equal as can be.
    template <int COUNT>
    void multiply(int blocks, const OneRow *rows, const SuperblockTerms *terms, float *out, size_t stride) const {
        constexpr int groups = (COUNT + AT_ONCE - 1) / AT_ONCE;
        __m256 sums[COUNT], minima[COUNT];
        for (int r = 0; r < COUNT; r++) sums[r] = minima[r] = _mm256_setzero_ps();
        for (int b = 0; b < blocks; b++) {
            prefetch(first + b, sizeof(Weights));
            for_each(std::make_integer_sequence<int, groups>(), [&](auto number) {
                constexpr int begin = COUNT * decltype(number)::value / groups;
                constexpr int end = COUNT * (decltype(number)::value + 1) / groups;
                multiply_block<end - begin>(first[b], rows + begin * blocks + b, blocks, terms + b * COUNT + begin,
                                            sums + begin, minima + begin);
            });
        }
        for (int r = 0; r < COUNT; r++) store(out + r * stride, _mm256_sub_ps(sums[r], minima[r]));
    }

   private:
    const Weights *const first;
};

}  // namespace in_order

struct Q4_K {
    using Row = OneRow;
    using InOrder = in_order::Strip;
    using Strip = InOrder;
    static constexpr int MOST_IN_ORDER = MOST_ROWS;
};

}  // namespace

const Kernel edgeinfer_q4_k = kernel_with<Q4_K>();

extern "C" void __wrap_ggml_gemv_q4_K_8x8_q8_K(int elements, float *out, size_t, const void *weights, const void *row,
                                               int, int columns) {
    multiply_one_row<Q4_K>(elements, out, weights, row, columns);
}

#endif
