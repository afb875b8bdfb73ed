// Q4_0 weights times Q8_0 activations.
#include "blocks.h"
#include "formats.h"

namespace {

struct Q4_0 : Strip<block_q4_0, block_q4_0x4> {
    using Strip::Strip;
    using Kind = Rows;
    static constexpr int COLUMNS = 4;
    static constexpr bool WIDE = false;

    Expanded expand(int b) const {
        Expanded out;
#if defined(EDGEINFER_REPACKED)
        // llama.cpp has made the nibbles signed. They are left in the upper half of a byte, sixteen times too large.
        for (int w = 0; w < WORDS / 2; w++) {
            const int8x16_t packed = vld1q_s8(four[b].qs + 16 * w);
            out.words[w] = vshlq_n_s8(packed, 4);
            out.words[w + WORDS / 2] = vandq_s8(packed, vdupq_n_s8((int8_t)0xf0));
        }
        out.scales = vmulq_n_f32(to_floats(four[b].d), 1.0f / 16);
#else
        for (int c = 0; c < 4; c++) {
            const uint8x16_t packed = vld1q_u8(at[c][b].qs);
            const int8x16_t low = vreinterpretq_s8_u8(vandq_u8(packed, vdupq_n_u8(15)));
            out.words[c] = vsubq_s8(low, vdupq_n_s8(8));
            out.words[c + 4] = vsubq_s8(vreinterpretq_s8_u8(vshrq_n_u8(packed, 4)), vdupq_n_s8(8));
        }
        out.scales = scales(b);
#endif
        return out;
    }

    template <int COUNT>
    static constexpr Multiplier multiply = multiply_blocks<Q4_0, COUNT>;
};

}  // namespace

void edgeinfer_multiply_q4_0(const ggml_compute_params *params, ggml_tensor *op) { multiply<Q4_0>(params, op); }
