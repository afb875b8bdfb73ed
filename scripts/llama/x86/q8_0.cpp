// Q8_0 weights as they lie in the file, times Q8_0 activations: above all the output layer of small Q4_0 models.
//
// llama.cpp's own product (llamafile/sgemm.cpp) multiplies signed bytes, which x86 cannot do in one instruction,
// and has the elements of one block in the lanes, which must be added up. Here the blocks of LANES rows of weights
// are transposed once for up to 16 rows of activations, and weights are unsigned: q + 128. Without VNNI such
// products would not fit in 16 bits: there the weights' signs go to the activations, and for one or two rows sums are
// transposed instead of weights.
#include "columns.h"
#include "in_order.h"
#include "mul_mat.h"

#if defined(EDGEINFER_VECTORS)

namespace {

#if defined(EDGEINFER_VNNI)
using OneRow = RowWith<128>;

struct Block : Expanded {
    void prepare() {
        for (Integers &word : words) word = differing(word, integers(0x80808080));
    }

    template <class WordAt>
    Integers sum(WordAt word_at, int32_t start) const {
        return sum_of_small(words, word_at, start);
    }
};
#else
using OneRow = RowWith<0>;

struct Block : Expanded {
    Integers word_sizes[WORDS];

    void prepare() {
        for (int w = 0; w < WORDS; w++) word_sizes[w] = sizes(words[w]);
    }

    template <class WordAt>
    Integers sum(WordAt word_at, int32_t) const {
        Integers sum = integers(0);
#pragma GCC unroll 8
        for (int w = 0; w < WORDS; w++) sum = dot(sum, word_sizes[w], with_signs(word_at(w), words[w]));
        return sum;
    }
};
#endif

struct Strip : Columns<Row, LANES> {
    using Columns::Columns;

    template <class WordAt>
    static Integers sum(const Block &weights, WordAt word_at, int32_t start) {
        return weights.sum(word_at, start);
    }

    Block expand(int b) const {
        Block out;
        prefetch(b);
        words_of_columns<WORDS>([&](int c) { return at[c][b].quants; }, out.words);
        out.prepare();
        out.scales = scales(b);
        return out;
    }

    template <int COUNT>
    void multiply(int blocks, const OneRow *rows, const BlockTerms *terms, float *out, size_t stride) const {
        multiply_blocks<COUNT>(*this, blocks, rows, terms, out, stride);
    }
};

namespace in_order {

struct Strip : Columns<Row, 8> {
    using Columns::Columns;

    template <int COUNT>
    void multiply(int blocks, const OneRow *rows, const BlockTerms *terms, float *out, size_t stride) const {
        __m256 sums[COUNT];
        for (int r = 0; r < COUNT; r++) sums[r] = _mm256_setzero_ps();
        for (int b = 0; b < blocks; b++) {
            prefetch(b);
            const __m256 column_scales = scales(b);
            for (int r = 0; r < COUNT; r++) {
                const Vector quants = in_order::load(rows[r * blocks + b].quants);
                const Vector sum = totals([&](int c) {
                    const Vector weights = in_order::load(at[c][b].quants), sizes = _mm256_abs_epi8(weights);
                    return total(_mm256_maddubs_epi16(sizes, _mm256_sign_epi8(quants, weights)));
                });
                const __m256 scale = _mm256_mul_ps(column_scales, _mm256_set1_ps(terms[b * COUNT + r].scale));
                sums[r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), scale, sums[r]);
            }
        }
        for (int r = 0; r < COUNT; r++) store(out + r * stride, sums[r]);
    }
};

}  // namespace in_order

struct Q8_0 {
    using Row = OneRow;
    using InOrder = in_order::Strip;
    using Strip = ::Strip;
#if defined(EDGEINFER_VNNI)
    static constexpr int MOST_IN_ORDER = 0;
#else
    static constexpr int MOST_IN_ORDER = 2;
#endif
};

}  // namespace

const Kernel edgeinfer_q8_0 = kernel_with<Q8_0>();

#endif
