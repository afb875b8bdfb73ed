// Q8_0 weights times Q8_0 activations.
#include "blocks.h"
#include "formats.h"

namespace {

struct Q8_0 : Strip<block_q8_0, block_q8_0x4> {
    using Strip::Strip;
    using Kind = Rows;
    static constexpr int COLUMNS = 4;
    static constexpr bool WIDE = true;

    Expanded expand(int b) const {
        Expanded out;
#if defined(EDGEINFER_REPACKED)
        for (int w = 0; w < WORDS; w++) out.words[w] = vld1q_s8(four[b].qs + 16 * w);
        out.scales = to_floats(four[b].d);
#else
        for (int c = 0; c < 4; c++) {
            out.words[c] = vld1q_s8(at[c][b].qs);
            out.words[c + 4] = vld1q_s8(at[c][b].qs + 16);
        }
        out.scales = scales(b);
#endif
        return out;
    }

    template <int COUNT>
    static constexpr Multiplier multiply = multiply_blocks<Q8_0, COUNT>;
};

}  // namespace

void edgeinfer_multiply_q8_0(const ggml_compute_params *params, ggml_tensor *op) { multiply<Q8_0>(params, op); }
