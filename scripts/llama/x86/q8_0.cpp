// Q8_0 weights as they lie in the file, times Q8_0 activations: above all the output layer of small Q4_0 models.
//
// llama.cpp's own product (llamafile/sgemm.cpp) multiplies signed bytes, which x86 cannot do in one instruction,
// and has the elements of one block in the lanes, which must be added up. Here the blocks of LANES rows of weights
// are transposed once for up to 16 rows of activations, and weights are unsigned: q + 128. Without VNNI such
// products would not fit in 16 bits: there the weights' signs go to the activations.
#include <vector>

#include "columns.h"
#include "mul_mat.h"

#if defined(EDGEINFER_VECTORS)

namespace {

#if defined(EDGEINFER_VNNI)
constexpr int ZERO_POINT = 128;

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
constexpr int ZERO_POINT = 0;

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

// LANES columns, which are rows of the matrix of weights.
class Strip {
   public:
    Strip(const Row *first, int64_t stride, int columns, int blocks, uint16_t *scales)
        : columns(columns), scales(scales) {
        for (int c = 0; c < LANES; c++) {
            at[c] = first + (c < columns ? c : columns - 1) * stride;
            for (int b = 0; b < blocks; b++) scales[b * LANES + c] = at[c][b].scale;
        }
    }

    template <class WordAt>
    static Integers sum(const Block &weights, WordAt word_at, int32_t start) {
        return weights.sum(word_at, start);
    }

    Block expand(int b) const {
        Block out;
        prefetch_share(at[0] + LANES * (at[1] - at[0]), LANES * sizeof(Row), b);
        words_of_columns([&](int c) { return blocks_of(at[c][b].quants, at[c + 4][b].quants); }, out.words);
        out.prepare();
        out.scales = halves(scales + b * LANES, scales + b * LANES + 8);
        return out;
    }

    template <int COUNT>
    void multiply(int blocks, const Row *rows, const BlockTerms *terms, float *out, size_t stride) const {
        multiply_blocks<COUNT>(*this, blocks, rows, terms, out, stride);
    }

    void store(float *out, Floats sums) const { store_lanes(out, sums, columns); }

   private:
    const Row *at[LANES];  // a strip at the edge has its last column several times
    const int columns;
    const uint16_t *scales;
};

struct Q8_0 {
    using Row = ::Row;
    static constexpr int ZERO_POINT = ::ZERO_POINT;

    template <int COUNT>
    static void multiply(const ggml_tensor *weights, int64_t first, int columns, int blocks, const Row *rows,
                         const BlockTerms *terms, float *out, size_t stride) {
        static thread_local std::vector<uint16_t> scales;
        if (scales.size() < (size_t)blocks * LANES) scales.resize((size_t)blocks * LANES);
        const Row *const from = (const Row *)weights->data + first * blocks;
        const auto strip_at = [=](int column) {
            return Strip(from + column * blocks, blocks, columns - column, blocks, scales.data());
        };
        multiply_strips<COUNT>(strip_at, columns, blocks, rows, terms, out, stride);
    }
};

}  // namespace

const Product edgeinfer_q8_0 = product_with<Q8_0>();

#endif
