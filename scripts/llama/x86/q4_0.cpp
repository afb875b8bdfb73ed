// Q4_0 weights, as llama.cpp repacks them on x86 (eight rows interleaved by eight bytes), times Q8_0 activations.
//
// llama.cpp's own product spreads four activation rows over a vector, unpacks the weights again for every four
// and multiplies signed bytes, which x86 cannot do in one instruction. Here columns lie in lanes, the weights
// are unpacked once for up to 16 rows, and stay unsigned: q + 8, as in the file, is taken back out by what each
// sum starts with. The results are the same to the bit.
#include "one_row.h"

#if defined(EDGEINFER_VECTORS)

namespace {

constexpr int ZERO_POINT = 8;

struct Weights {  // block_q4_0x8 of ggml: element i of column c is a nibble of byte 8 * (i % 16 / 8 * 8 + c) + i % 8
    uint16_t scales[8];
    uint8_t nibbles[8 * BLOCK / 2];
};
static_assert(sizeof(Weights) == 144, "block_q4_0x8");

struct Strip : Eights<Weights> {
    using Eights::Eights;

    template <int COUNT, class Rows>
    static void multiply(const Strip &strip, int blocks, const Rows *rows, const BlockTerms *terms, float *out,
                         size_t stride) {
        multiply_blocks<COUNT>(strip, blocks, rows, terms, out, stride);
    }

    template <class WordAt>
    static Integers sum(const Expanded &weights, WordAt word_at, int32_t start) {
        return sum_of_small(weights.words, word_at, start);
    }

    Expanded expand(int b) const {
        prefetch(b, 0, sizeof(Weights));
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
};

}  // namespace

namespace one_row {

static void multiply(int blocks, float *out, const Weights *weights, const Row *row, int columns) {
    const BlockTerms *terms = terms_of(row, blocks, ZERO_POINT);
    const Vector sign = _mm256_set1_epi8((char)0x88);
    for (int c = 0; c < columns; c += 8) {
        __m256 sums = _mm256_setzero_ps();
        for (int b = 0; b < blocks; b++, weights++) {
            prefetch(weights, sizeof *weights);
            Vector of_four[2];
            for (int i = 0; i < 2; i++) {
                const uint8_t *nibbles = weights->nibbles + 32 * i;
                const Vector near = _mm256_xor_si256(load(nibbles), sign);
                const Vector far = _mm256_xor_si256(load(nibbles + 64), sign);
                const int8_t *quants = row[b].quants;
                Vector sum = _mm256_setzero_si256();
                sum = add_products(sum, low_nibbles(near), eight_bytes(quants));
                sum = add_products(sum, low_nibbles(far), eight_bytes(quants + 8));
                sum = add_products(sum, high_nibbles(near), eight_bytes(quants + 16));
                of_four[i] = add_products(sum, high_nibbles(far), eight_bytes(quants + 24));
            }
            const Vector sum =
                _mm256_add_epi32(total(joined(of_four[0], of_four[1])), _mm256_set1_epi32(terms[b].start));
            const __m256 scales = _mm256_mul_ps(halves(weights->scales), _mm256_set1_ps(terms[b].scale));
            sums = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), scales, sums);
        }
        store(out + c, sums);
    }
}

}  // namespace one_row

extern "C" {

void __wrap_ggml_gemm_q4_0_8x8_q8_0(int elements, float *out, size_t stride, const void *weights, const void *rows,
                                    int count, int columns) {
    multiply_eights<Strip, Weights, FourRows>(ZERO_POINT, elements / BLOCK, out, stride, weights, rows, count, columns);
}

// llama.cpp calls this for each of the rows that no four are left of.
void __wrap_ggml_gemv_q4_0_8x8_q8_0(int elements, float *out, size_t, const void *weights, const void *row, int,
                                    int columns) {
    one_row::multiply(elements / BLOCK, out, (const Weights *)weights, (const Row *)row, columns);
}
}

#endif
