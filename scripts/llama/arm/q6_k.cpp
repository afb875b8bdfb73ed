// Q6_K weights times Q8_K activations: sixteen elements share a scale of a byte.
#include "formats.h"
#include "superblocks.h"

namespace {

// Compilers would keep all that a block's rows are for its second four columns, for which there is no room.
inline void forget_loads() { __asm__ volatile("" ::: "memory"); }

class Q6_K : public StripK<block_q6_K, block_q6_Kx8> {
   public:
    using StripK::StripK;
    using Kind = RowsK;
    static constexpr int COLUMNS = 4 * FOURS;

    template <int COUNT>
    static void multiply(const ggml_tensor *weights, int64_t column, int blocks, const void *rows, float *out,
                         size_t stride) {
        const Q6_K strip(weights, column, blocks);
        const auto *row = (const RowsK::Of<COUNT> *)rows;
        Floats sums[FOURS][UNITS<COUNT>] = {};
        for (int b = 0; b < blocks; b++, row++) {
            int8_t room[8 * PARTS + 4];
            const int8_t *column_scales = strip.scales(b, room);
            for (int four = 0; four < FOURS; four++) {
                forget_loads();
                Integers scaled[UNITS<COUNT>] = {};
                for_each<PARTS>([&](auto part) __attribute__((always_inline)) {
                    constexpr int p = decltype(part)::value;
                    int8x16_t words[WORDS];
                    for (int w = 0; w < WORDS; w++) words[w] = strip.expand<p>(b, w, four);
                    for (int half = 0; half < 2; half++) {
                        const int8_t *scales = column_scales + COLUMNS * (2 * p + half) + 4 * four;
                        const Integers scale = ::columns(vmovl_s16(widened(scales)));
                        for_each<UNITS<COUNT>>([&](auto number) __attribute__((always_inline)) {
                            constexpr int u = decltype(number)::value;
                            const int8_t *quants = row->quants[p] + 16 * (PAIR<COUNT, u> ? 2 : 1) * half;
                            const Integers sum = dot<COUNT, u, 1>(words + 4 * half, quants);
                            scaled[u] = multiply_add(scaled[u], sum, scale);
                        });
                    }
                });
                const float32x4_t row_scales[] = {vld1q_f32(row->scales), vld1q_f32(row->scales + 4)};
                const Floats scale = ::columns(strip.scale(b, four));
                for_each<UNITS<COUNT>>([&](auto number) __attribute__((always_inline)) {
                    constexpr int u = decltype(number)::value;
                    sums[four][u] = multiply_add(sums[four][u], scaled[u], times_rows<u>(scale, row_scales));
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
    // Word w of part p. In each half of a superblock, byte i of 64 has four bits of the elements i and i + 64, and byte
    // i of 32 has two bits of i, i + 32, i + 64 and i + 96.
    template <int p>
    int8x16_t expand(int b, int w, int four) const {
        constexpr int half = p / 4, quarter = p % 4;
        const uint8x16_t low = low_bits(b, 64 * half + 32 * (quarter % 2), w, four);
        uint8x16_t high = high_bits(b, 32 * half, w, four);
        if (quarter % 2) high = vshrq_n_u8(high, 2);
        const uint8x16_t eight = quarter < 2 ? vsliq_n_u8(low, high, 4) : vsriq_n_u8(high, low, 4);
        return vsubq_s8(vreinterpretq_s8_u8(vandq_u8(eight, vdupq_n_u8(0x3f))), vdupq_n_s8(32));
    }

#if defined(EDGEINFER_REPACKED)
    uint8x16_t low_bits(int b, int offset, int w, int four) const { return word(eight[b].ql, offset, w, four); }
    uint8x16_t high_bits(int b, int offset, int w, int four) const { return word(eight[b].qh, offset, w, four); }
    float32x4_t scale(int b, int four) const { return to_floats(eight[b].d + 4 * four); }
    const int8_t *scales(int b, int8_t *) const { return eight[b].scales; }
#else
    uint8x16_t low_bits(int b, int offset, int w, int) const {
        return vld1q_u8(at[w % 4][b].ql + offset + 16 * (w / 4));
    }
    uint8x16_t high_bits(int b, int offset, int w, int) const {
        return vld1q_u8(at[w % 4][b].qh + offset + 16 * (w / 4));
    }
    float32x4_t scale(int b, int) const {
        const uint16_t halves[] = {at[0][b].d, at[1][b].d, at[2][b].d, at[3][b].d};
        return to_floats(halves);
    }
    const int8_t *scales(int b, int8_t *room) const {
        int8x16x4_t of;
        for (int c = 0; c < 4; c++) of.val[c] = vld1q_s8(at[c][b].scales);
        vst4q_s8(room, of);
        return room;
    }
#endif
};

}  // namespace

void edgeinfer_multiply_q6_k(const ggml_compute_params *params, ggml_tensor *op) { multiply<Q6_K>(params, op); }
