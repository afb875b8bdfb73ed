// Q4_K weights times Q8_K activations: parts of 32 elements have a scale and a minimum of six bits each.
#include "formats.h"
#include "superblocks.h"

namespace {

class Q4_K : public StripK<block_q4_K, block_q4_Kx8> {
   public:
    using StripK::StripK;
    using Kind = RowsK;
    static constexpr int COLUMNS = 4 * FOURS;

    template <int COUNT>
    static void multiply(const ggml_tensor *weights, int64_t column, int blocks, const void *rows, float *out,
                         size_t stride) {
        const Q4_K strip(weights, column, blocks);
        const auto *row = (const RowsK::Of<COUNT> *)rows;
        Floats sums[FOURS][UNITS<COUNT>] = {};
        for (int b = 0; b < blocks; b++, row++) {
            const Scales of = strip.scales(b);
            for (int four = 0; four < FOURS; four++) {
                Integers scaled[UNITS<COUNT>] = {};
                for (int two = 0; two < PARTS / 2; two++) {
                    int8x16_t packed[WORDS], words[WORDS];
                    for (int w = 0; w < WORDS; w++) packed[w] = strip.packed(b, two, w, four);
                    for (int i = 0; i < 2; i++) {
                        for (int w = 0; w < WORDS; w++) words[w] = nibbles(packed[w], i);
                        const int part = 2 * two + i;
                        const Integers scale = ::columns(vmovl_s16(widened(of.scales[part] + 4 * four)));
                        for_each<UNITS<COUNT>>([&](auto number) __attribute__((always_inline)) {
                            constexpr int u = decltype(number)::value;
                            scaled[u] = multiply_add(scaled[u], dot<COUNT, u, 2>(words, row->quants[part]), scale);
                        });
                    }
                }
                int16x4_t minima[PARTS];
                for (int p = 0; p < PARTS; p++) minima[p] = widened(of.minima[p] + 4 * four);
                const float32x4_t row_scales[] = {vld1q_f32(row->scales), vld1q_f32(row->scales + 4)};
                const Floats scale = ::columns(strip.scale(b, four)), minimum = ::columns(strip.minimum(b, four));
                for_each<UNITS<COUNT>>([&](auto number) __attribute__((always_inline)) {
                    constexpr int u = decltype(number)::value;
                    constexpr int first = UNIT * u, last = PAIR<COUNT, u> ? first + 1 : first;
                    const Integers taken =
                        ::columns(sum_of_minima(minima, row->sums[first]), sum_of_minima(minima, row->sums[last]));
                    Floats &sum = sums[four][u];
                    sum = multiply_add(sum, scaled[u], times_rows<u>(scale, row_scales));
                    sum = multiply_subtract(sum, taken, times_rows<u>(minimum, row_scales));
                });
            }
        }
        for (int four = 0; four < FOURS; four++) {
            for_each<UNITS<COUNT>>([&](auto number) {
                constexpr int u = decltype(number)::value;
                store<COUNT, u>(out + 4 * four, stride, sums[four][u], strip.columns - 4 * four);
            });
        }
    }

   private:
    // Of a superblock: a byte for each part and column.
    struct Scales {
        int8_t scales[PARTS][COLUMNS];
        int8_t minima[PARTS][COLUMNS];
        int8_t read_beyond[4];
    };

    static int8x16_t nibbles(int8x16_t packed, int high) {
        const uint8x16_t bytes = vreinterpretq_u8_s8(packed);
        return vreinterpretq_s8_u8(high ? vshrq_n_u8(bytes, 4) : vandq_u8(bytes, vdupq_n_u8(15)));
    }

    static int32x4_t sum_of_minima(const int16x4_t minima[PARTS], const int16_t *row) {
        const int16x8_t sums = vld1q_s16(row);
        int32x4_t out = vmull_laneq_s16(minima[0], sums, 0);
        out = vmlal_laneq_s16(out, minima[1], sums, 1);
        out = vmlal_laneq_s16(out, minima[2], sums, 2);
        out = vmlal_laneq_s16(out, minima[3], sums, 3);
        out = vmlal_laneq_s16(out, minima[4], sums, 4);
        out = vmlal_laneq_s16(out, minima[5], sums, 5);
        out = vmlal_laneq_s16(out, minima[6], sums, 6);
        return vmlal_laneq_s16(out, minima[7], sums, 7);
    }

#if defined(EDGEINFER_REPACKED)
    int8x16_t packed(int b, int two, int w, int four) const {
        return vreinterpretq_s8_u8(word(eight[b].qs, two * BLOCK, w, four));
    }
    float32x4_t scale(int b, int four) const { return to_floats(eight[b].d + 4 * four); }
    float32x4_t minimum(int b, int four) const { return to_floats(eight[b].dmin + 4 * four); }

    // llama.cpp packs the scales and minima of a part's columns into twelve bytes.
    Scales scales(int b) const {
        Scales out;
        for (int p = 0; p < PARTS; p++) {
            uint64_t near;
            uint32_t far;
            memcpy(&near, eight[b].scales + 12 * p, 8);
            memcpy(&far, eight[b].scales + 12 * p + 8, 4);
            const uint64_t first = near & 0x3f3f3f3f3f3f3f3f;  // of columns 0-3: scales, then minima
            const uint64_t last = (near >> 2 & 0x3030303030303030) | (far & 0x0f0f0f0f) |
                                  (uint64_t)(far >> 4 & 0x0f0f0f0f) << 32;  // of columns 4-7
            const uint64_t scales = (first & 0xffffffff) | last << 32;
            const uint64_t minima = first >> 32 | (last & 0xffffffff00000000);
            memcpy(out.scales[p], &scales, 8);
            memcpy(out.minima[p], &minima, 8);
        }
        return out;
    }
#else
    int8x16_t packed(int b, int two, int w, int) const {
        return vreinterpretq_s8_u8(vld1q_u8(at[w % 4][b].qs + BLOCK * two + 16 * (w / 4)));
    }
    float32x4_t scale(int b, int) const {
        const uint16_t halves[] = {at[0][b].data.data.d, at[1][b].data.data.d, at[2][b].data.data.d,
                                   at[3][b].data.data.d};
        return to_floats(halves);
    }
    float32x4_t minimum(int b, int) const {
        const uint16_t halves[] = {at[0][b].data.data.dmin, at[1][b].data.data.dmin, at[2][b].data.data.dmin,
                                   at[3][b].data.data.dmin};
        return to_floats(halves);
    }

    Scales scales(int b) const {
        uint8x8x4_t scales, minima;
        for (int c = 0; c < 4; c++) {
            uint32_t packed[3];
            memcpy(packed, at[c][b].scales, sizeof packed);
            const uint64_t high = 0x30303030, low = 0x0f0f0f0f, six = 0x3f3f3f3f;
            const uint64_t last_scales = (packed[2] & low) | (packed[0] >> 2 & high);
            const uint64_t last_minima = (packed[2] >> 4 & low) | (packed[1] >> 2 & high);
            scales.val[c] = vcreate_u8((packed[0] & six) | last_scales << 32);
            minima.val[c] = vcreate_u8((packed[1] & six) | last_minima << 32);
        }
        Scales out;
        vst4_u8((uint8_t *)out.scales, scales);
        vst4_u8((uint8_t *)out.minima, minima);
        return out;
    }
#endif
};

}  // namespace

void edgeinfer_multiply_q4_k(const ggml_compute_params *params, ggml_tensor *op) { multiply<Q4_K>(params, op); }
