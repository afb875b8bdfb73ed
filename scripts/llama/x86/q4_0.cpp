// Q4_0 weights, as llama.cpp repacks them on x86 (eight rows interleaved by eight bytes), times Q8_0 activations.
//
// llama.cpp's own product spreads four activation rows over a vector, unpacks the weights again for every four
// and multiplies signed bytes, which x86 cannot do in one instruction. Here columns lie in lanes, the weights
// are unpacked once for up to 16 rows, and stay unsigned: q + 8, as in the file, is taken back out by what each
// sum starts with. The results are the same to the bit.
#include "in_order.h"
#include "mul_mat.h"

#if defined(EDGEINFER_VECTORS)

namespace {

using OneRow = RowWith<8>;

struct Weights {  // block_q4_0x8 of ggml: element i of column c is a nibble of byte 8 * (i % 16 / 8 * 8 + c) + i % 8
    uint16_t scales[8];
    uint8_t nibbles[8 * BLOCK / 2];
};
static_assert(sizeof(Weights) == 144, "block_q4_0x8");

// LANES columns: one Weights a block, or two of them side by side.
class Strip {
   public:
    static constexpr int WIDTH = LANES;

    // `columns` are left from `column` on.
    Strip(const void *weights, int64_t column, int columns, int blocks)
        : first((const Weights *)weights + column / 8 * blocks),
          second(columns > 8 ? first + blocks : first),
          columns(columns),
          next(2 * blocks) {}

    template <int COUNT>
    void multiply(int blocks, const OneRow *rows, const BlockTerms *terms, float *out, size_t stride) const {
        multiply_blocks<COUNT>(*this, blocks, rows, terms, out, stride);
    }

    template <class WordAt>
    static Integers sum(const Expanded &weights, WordAt word_at, int32_t start) {
        return sum_of_small(weights.words, word_at, start);
    }

    Expanded expand(int b) const {
        prefetch(b);
        const uint8_t *left = first[b].nibbles, *right = LANES == 16 ? second[b].nibbles : left + 32;
        const Integers sign = integers(0x88888888), low = integers(0x0f0f0f0f);  // llama.cpp flips the highest bit
        const Integers near[] = {differing(load(left), sign), differing(load(left + 64), sign)};
        const Integers far[] = {differing(load(right), sign), differing(load(right + 64), sign)};
        Expanded out;
        for (int half = 0; half < 2; half++) {
            const Integers packed[] = {even_words(near[half], far[half]), odd_words(near[half], far[half])};
            for (int i = 0; i < 2; i++) {
                out.words[2 * half + i] = both(packed[i], low);
                out.words[2 * half + i + 4] = both(shifted_right(packed[i], 4), low);
            }
        }
        out.scales = shuffled(halves(first[b].scales, second[b].scales));
        return out;
    }

    void store(float *out, Floats sums) const { store_lanes(out, unshuffled(sums), columns); }

   private:
    // Inlined, since GCC leaves out calls of functions that do nothing else.
    //
    // Where a strip is short and its two parts lie apart, the processor's own prefetching comes too late. This fetches
    // block b of the next strip to the second level, and the block after the next of this one to the first; where
    // strips are long, a later block.
    __attribute__((always_inline)) void prefetch(int b) const {
        if (next * sizeof(Weights) <= 16 * 1024) {
            fetch<2>(b + next);
            fetch<1>(b + 2);
        } else {
            fetch<1>(b + 8);
        }
    }

    template <int LEVEL>
    __attribute__((always_inline)) void fetch(int b) const {
        for (size_t i = 0; i < sizeof(Weights); i += 64) {
            __builtin_prefetch((const char *)(first + b) + i, 0, 4 - LEVEL);
            __builtin_prefetch((const char *)(second + b) + i, 0, 4 - LEVEL);
        }
    }

    const Weights *const first, *const second;
    const int columns, next;
};

namespace in_order {

class Strip {
   public:
    static constexpr int WIDTH = 8;

    Strip(const void *weights, int64_t column, int, int blocks)
        : first((const Weights *)weights + column / 8 * blocks) {}

    template <int COUNT>
    void multiply(int blocks, const OneRow *rows, const BlockTerms *terms, float *out, size_t stride) const {
        const Vector sign = _mm256_set1_epi8((char)0x88);
        __m256 sums[COUNT];
        for (int r = 0; r < COUNT; r++) sums[r] = _mm256_setzero_ps();
        for (int b = 0; b < blocks; b++) {
            prefetch(first + b, sizeof(Weights));
            Vector of_four[COUNT][2];
            for (int i = 0; i < 2; i++) {
                const uint8_t *nibbles = first[b].nibbles + 32 * i;
                const Vector near = _mm256_xor_si256(load(nibbles), sign);
                const Vector far = _mm256_xor_si256(load(nibbles + 64), sign);
#pragma GCC unroll 2  // with more, sums leave the registers
                for (int r = 0; r < COUNT; r++) {
                    const int8_t *quants = rows[r * blocks + b].quants;
                    Vector sum = _mm256_setzero_si256();
                    sum = add_products(sum, low_nibbles(near), eight_bytes(quants));
                    sum = add_products(sum, low_nibbles(far), eight_bytes(quants + 8));
                    sum = add_products(sum, high_nibbles(near), eight_bytes(quants + 16));
                    of_four[r][i] = add_products(sum, high_nibbles(far), eight_bytes(quants + 24));
                }
            }
            const __m256 column_scales = halves(first[b].scales);
#pragma GCC unroll 2
            for (int r = 0; r < COUNT; r++) {
                const BlockTerms &t = terms[b * COUNT + r];
                const Vector sum =
                    _mm256_add_epi32(total(joined(of_four[r][0], of_four[r][1])), _mm256_set1_epi32(t.start));
                const __m256 scales = _mm256_mul_ps(column_scales, _mm256_set1_ps(t.scale));
                sums[r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), scales, sums[r]);
            }
        }
        for (int r = 0; r < COUNT; r++) store(out + r * stride, sums[r]);
    }

   private:
    const Weights *const first;
};

}  // namespace in_order

struct Q4_0 {
    using Row = OneRow;
    using InOrder = in_order::Strip;
    using Strip = ::Strip;
#if defined(EDGEINFER_VNNI)
    static constexpr int MOST_IN_ORDER = 3;
#else
    static constexpr int MOST_IN_ORDER = MOST_ROWS;
#endif
};

}  // namespace

const Kernel edgeinfer_q4_0 = kernel_with<Q4_0>();

extern "C" void __wrap_ggml_gemv_q4_0_8x8_q8_0(int elements, float *out, size_t, const void *weights, const void *row,
                                               int, int columns) {
    multiply_one_row<Q4_0>(elements, out, weights, row, columns);
}

#endif
