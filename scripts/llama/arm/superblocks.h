// Formats with superblocks of 256 elements: K quants.
#pragma once

#include "dot.h"
#include "repack.h"

namespace {

#if defined(EDGEINFER_REPACKED)
constexpr int FOURS = 2;  // of columns that lie side by side
#else
constexpr int FOURS = 1;
#endif

inline float32x4_t to_floats(const void *halves) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16((const uint16_t *)halves)));
}

// The first four of eight bytes as numbers.
inline int16x4_t widened(const int8_t *bytes) { return vget_low_s16(vmovl_s8(vld1_s8(bytes))); }

// Columns that are computed together: eight side by side as llama.cpp repacks them, or four as they lie in the file.
// The last one in the file stands for those that there are not.
template <class Block, class Eight>
class StripK {
   public:
    StripK(const ggml_tensor *weights, int64_t column, int blocks) : columns(weights->ne[1] - column) {
#if defined(EDGEINFER_REPACKED)
        eight = (const Eight *)weights->data + column / 8 * blocks;
#else
        for (int c = 0; c < 4; c++) {
            at[c] = (const Block *)weights->data + (column + (c < columns ? c : columns - 1)) * blocks;
        }
#endif
    }

    const int64_t columns;

   protected:
#if defined(EDGEINFER_REPACKED)
    const Eight *eight;

    // Word w of 32 bytes that begin at byte `offset` of each column, of columns 4 * four to 4 * four + 3.
    static uint8x16_t word(const uint8_t *bytes, int offset, int w, int four) {
#if defined(__ARM_FEATURE_MATMUL_INT8)
        return vld1q_u8(bytes + 8 * offset + 64 * (w / 2) + 32 * four + 16 * (w % 2));
#else
        return vld1q_u8(bytes + 8 * offset + 32 * w + 16 * four);
#endif
    }
#else
    const Block *at[4];
#endif
};

}  // namespace
