// Q4_0 weights, as llama.cpp repacks them on x86 (eight rows interleaved by eight bytes), times Q8_0 activations.
//
// llama.cpp's own product spreads four activation rows over a vector, unpacks the weights again for every four
// and multiplies signed bytes, which x86 cannot do in one instruction. Here columns lie in lanes, the weights
// are unpacked once for up to 16 rows, and stay unsigned: q + 8, as in the file, is taken back out by what each
// sum starts with. The results are the same to the bit.
#include "interleaved.h"

#if defined(EDGEINFER_VECTORS)

namespace {

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

extern "C" {

void __real_ggml_gemv_q4_0_8x8_q8_0(int elements, float *out, size_t stride, const void *weights, const void *rows,
                                    int count, int columns);

void __wrap_ggml_gemm_q4_0_8x8_q8_0(int elements, float *out, size_t stride, const void *weights, const void *rows,
                                    int count, int columns) {
    in_cache(weights);
    multiply_eights<Strip, Weights, FourRows>(8, elements / BLOCK, out, stride, weights, rows, count, columns);
}

void __wrap_ggml_gemv_q4_0_8x8_q8_0(int elements, float *out, size_t stride, const void *weights, const void *rows,
                                    int count, int columns) {
    if (in_cache(weights)) {
        multiply_eights<Strip, Weights, Row>(8, elements / BLOCK, out, stride, weights, rows, count, columns);
    } else {
        __real_ggml_gemv_q4_0_8x8_q8_0(elements, out, stride, weights, rows, count, columns);
    }
}
}

#endif
