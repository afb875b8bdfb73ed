// Q6_K weights as they lie in the file, times Q8_K activations: the output layer of most models, and some others.
//
// llama.cpp unpacks the weights again for each row of activations, or from eight rows on, in a way made for large
// batches, once for all. Here the blocks of LANES rows of weights are transposed once for up to 16 rows.
#include "columns.h"
#include "ggml-cpu.h"

extern "C" bool __real_ggml_compute_forward_mul_mat_tiled(const ggml_compute_params *params, ggml_tensor *dst);

#if defined(EDGEINFER_VECTORS)

namespace {

constexpr int PART = 16;  // elements that share a scale of a byte
constexpr int PARTS = SUPERBLOCK / PART;
constexpr int ZERO_POINT = 32;

struct OneRow : RowK {
    struct Terms {
        float scale;
        int32_t starts[PARTS];  // of a part's sum
    };

    void terms(int zero_point, Terms *out) const {
        out->scale = scale;
        for (int p = 0; p < PARTS; p++) out->starts[p] = -zero_point * sums[p];
    }
};

struct Weights {                   // block_q6_K of ggml, in halves of 128 elements
    uint8_t low[SUPERBLOCK / 2];   // four bits: byte i of a half's 64 has those of the elements i and i + 64
    uint8_t high[SUPERBLOCK / 4];  // two bits: byte i of a half's 32 has those of i, i + 32, i + 64 and i + 96
    int8_t scales[PARTS];
    uint16_t scale;
};
static_assert(sizeof(Weights) == 210, "block_q6_K");

// Bits are shifted by numbers in the instruction: a loop would have them in registers.
template <class Body, int... NUMBERS>
__attribute__((always_inline)) inline void for_each(std::integer_sequence<int, NUMBERS...>, Body body) {
    (body(std::integral_constant<int, NUMBERS>()), ...);
}

// LANES columns, which are rows of the matrix of weights.
class Strip {
   public:
    Strip(const Weights *first, int64_t stride, int columns) : columns(columns) {
        for (int c = 0; c < LANES; c++) at[c] = first + (c < columns ? c : columns - 1) * stride;
    }

    template <int COUNT, class Rows>
    static void multiply(const Strip &strip, int blocks, const Rows *rows, const typename Rows::Terms *terms,
                         float *out, size_t out_stride) {
        Floats sums[COUNT];
        for (int r = 0; r < COUNT; r++) sums[r] = zeros();
        for (int b = 0; b < blocks; b++) {
            Integers scales[4], scaled[COUNT];  // of four parts each
            strip.load_scales(b, scales);
            for (int r = 0; r < COUNT; r++) scaled[r] = integers(0);
            for_each(std::make_integer_sequence<int, PARTS / 2>(), [&](auto number) {
                constexpr int two = decltype(number)::value;
                Integers words[WORDS];
                strip.expand<two>(b, words);
                const Integers scale[] = {signed_byte(scales[two / 2], two % 2 * 2),
                                          signed_byte(scales[two / 2], two % 2 * 2 + 1)};
#pragma GCC unroll 16
                for (int r = 0; r < COUNT; r++) {
                    const int8_t *quants = rows[r * blocks + b].quants + two * BLOCK;
                    for (int part = 0; part < 2; part++) {
                        Integers sum = integers(terms[b * COUNT + r].starts[2 * two + part]);
#pragma GCC unroll 4
                        for (int w = 4 * part; w < 4 * part + 4; w++) {
                            sum = dot(sum, words[w], four_bytes(quants + Rows::offset(w)));
                        }
                        scaled[r] = add(scaled[r], multiply_integers(sum, scale[part]));
                    }
                }
            });
            uint16_t halves_of_columns[LANES];
            for (int c = 0; c < LANES; c++) halves_of_columns[c] = strip.at[c][b].scale;
            const Floats column_scales = halves(halves_of_columns, halves_of_columns + LANES - 8);
            for (int r = 0; r < COUNT; r++) {
                const Floats scale = ::multiply(column_scales, floats(terms[b * COUNT + r].scale));
                sums[r] = multiply_add(to_floats(scaled[r]), scale, sums[r]);
            }
        }
        for (int r = 0; r < COUNT; r++) store_lanes(out + r * out_stride, sums[r], strip.columns);
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

bool is_matrix(const ggml_tensor *t) { return t->ne[2] == 1 && t->ne[3] == 1; }

}  // namespace

#endif

// Computes dst = src[0]^T src[1]; false: it does not.
extern "C" bool __wrap_ggml_compute_forward_mul_mat_tiled(const ggml_compute_params *params, ggml_tensor *dst) {
#if defined(EDGEINFER_VECTORS)
    const ggml_tensor *weights = dst->src[0], *rows = dst->src[1];
    const int64_t elements = weights->ne[0], count = rows->ne[1], blocks = elements / SUPERBLOCK;
    // Also of one row, so that its result is the same alone and beside others.
    if (weights->type == GGML_TYPE_Q6_K && !weights->extra && rows->type == GGML_TYPE_F32 && is_matrix(weights) &&
        is_matrix(rows) && ggml_is_contiguous(rows) && !params->use_ref) {
        OneRow *quantized = (OneRow *)params->wdata;
        const auto quantize = ggml_get_type_traits_cpu(GGML_TYPE_Q8_K)->from_float;
        for (int64_t i = params->ith; i < count * blocks; i += params->nth) {
            quantize((const float *)rows->data + i * SUPERBLOCK, quantized + i, SUPERBLOCK);
        }
        share_columns(params, weights->ne[1], [=](int64_t start, int columns) {
            const int64_t stride = weights->nb[1] / sizeof(Weights);
            const auto strip_at = [=](int column) {
                return Strip((const Weights *)weights->data + (start + column) * stride, stride, columns - column);
            };
            multiply<Strip>(columns, strip_at, ZERO_POINT, blocks, (const OneRow *)quantized, count,
                            (float *)dst->data + start, dst->nb[1] / sizeof(float));
        });
        return true;
    }
#endif
    return __real_ggml_compute_forward_mul_mat_tiled(params, dst);
}
