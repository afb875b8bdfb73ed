// Q8_0 weights as they lie in the file, times Q8_0 activations: above all the output layer of small Q4_0 models.
//
// llama.cpp's own product (llamafile/sgemm.cpp) multiplies signed bytes, which x86 cannot do in one instruction,
// and has the elements of one block in the lanes, which must be added up. Here the blocks of LANES rows of weights
// are transposed once for up to 16 rows of activations, and weights are unsigned: q + 128. Without VNNI such
// products would not fit in 16 bits: there the weights' signs go to the activations.
#include "columns.h"
#include "sgemm.h"

extern "C" bool __real_llamafile_sgemm(const ggml_compute_params *params, int64_t m, int64_t n, int64_t k,
                                       const void *a, int64_t lda, const void *b, int64_t ldb, void *c, int64_t ldc,
                                       int a_type, int b_type, int c_type);

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

    template <int COUNT, class Rows>
    static void multiply(const Strip &strip, int blocks, const Rows *rows, const BlockTerms *terms, float *out,
                         size_t stride) {
        multiply_blocks<COUNT>(strip, blocks, rows, terms, out, stride);
    }

    void store(float *out, Floats sums) const { store_lanes(out, sums, columns); }

   private:
    const Row *at[LANES];  // a strip at the edge has its last column several times
    const int columns;
    const uint16_t *scales;
};

}  // namespace

#endif

// Computes c = a^T b with a's m rows of weights and b's n rows of activations of k blocks; false: it does not.
extern "C" bool __wrap_llamafile_sgemm(const ggml_compute_params *params, int64_t m, int64_t n, int64_t k,
                                       const void *a, int64_t lda, const void *b, int64_t ldb, void *c, int64_t ldc,
                                       int a_type, int b_type, int c_type) {
#if defined(EDGEINFER_VECTORS)
    const bool quantized = a_type == GGML_TYPE_Q8_0 && b_type == GGML_TYPE_Q8_0 && c_type == GGML_TYPE_F32;
    // Also of one row, so that its result is the same alone and beside others. Keys and values of a cache are not
    // such matrices, and stay with llama.cpp.
    if (quantized && lda == k && ldb == k) {
        share_columns(params, m, [=](int64_t start, int columns) {
            static thread_local std::vector<uint16_t> scales;
            if (scales.size() < (size_t)k * LANES) scales.resize((size_t)k * LANES);
            const auto strip_at = [=](int column) {
                return Strip((const Row *)a + (start + column) * lda, lda, columns - column, k, scales.data());
            };
            multiply<Strip>(columns, strip_at, ZERO_POINT, k, (const Row *)b, n, (float *)c + start, ldc);
        });
        return true;
    }
#endif
    if (edgeinfer_multiply_floats(params, m, n, k, a, lda, b, ldb, c, ldc, a_type, b_type, c_type)) return true;
    return __real_llamafile_sgemm(params, m, n, k, a, lda, b, ldb, c, ldc, a_type, b_type, c_type);
}
