// Sums of products of weights and activations: four columns of weights times a unit of rows.
//
// Four columns of 32 elements are eight vectors, the words. Where llama.cpp repacks weights, the way depends on the
// processor, and so does this: with I8MM a word has eight elements of two columns, with DOTPROD four elements of four
// columns. Without either llama.cpp leaves weights as they are in the file, and a word has sixteen of one column.
#pragma once

#include <arm_neon.h>

#include "product.h"

namespace {

#if defined(__ARM_FEATURE_DOTPROD)
#define EDGEINFER_REPACKED
#endif

constexpr int WORDS = 8;

// Of a unit of rows and four columns: one vector for one row; for two rows the columns 0 and 1 of both, then 2 and 3.
struct Integers {
    int32x4_t v[UNIT];
};
struct Floats {
    float32x4_t v[UNIT];
};

template <int COUNT>
constexpr int UNITS = (COUNT + UNIT - 1) / UNIT;

// Whether unit u of COUNT rows has two.
template <int COUNT, int u>
constexpr bool PAIR = UNIT == 2 && 2 * u + 1 < COUNT;

inline Integers nothing() { return Integers{}; }
inline Floats zeros() { return Floats{}; }

// Numbers of four columns, for each row of a unit.
inline Integers columns(int32x4_t x) {
#if defined(__ARM_FEATURE_MATMUL_INT8)
    return {vcombine_s32(vget_low_s32(x), vget_low_s32(x)), vcombine_s32(vget_high_s32(x), vget_high_s32(x))};
#else
    return {x};
#endif
}
inline Floats columns(float32x4_t x) {
#if defined(__ARM_FEATURE_MATMUL_INT8)
    return {vcombine_f32(vget_low_f32(x), vget_low_f32(x)), vcombine_f32(vget_high_f32(x), vget_high_f32(x))};
#else
    return {x};
#endif
}

// Numbers of four columns, each row its own.
inline Integers columns(int32x4_t first, int32x4_t second) {
#if defined(__ARM_FEATURE_MATMUL_INT8)
    return {vcombine_s32(vget_low_s32(first), vget_low_s32(second)),
            vcombine_s32(vget_high_s32(first), vget_high_s32(second))};
#else
    (void)second;
    return {first};
#endif
}

// x times the numbers of unit u's rows; all rows' numbers are in two vectors.
template <int u>
__attribute__((always_inline)) inline Floats times_rows(Floats x, const float32x4_t rows[2]) {
#if defined(__ARM_FEATURE_MATMUL_INT8)
    const float32x4_t two = u % 2 ? vzip2q_f32(rows[u / 2], rows[u / 2]) : vzip1q_f32(rows[u / 2], rows[u / 2]);
    return {vmulq_f32(x.v[0], two), vmulq_f32(x.v[1], two)};
#else
    return {vmulq_laneq_f32(x.v[0], rows[u / 4], u % 4)};
#endif
}

inline Floats multiply_add(Floats sums, Integers a, Floats b) {
    for (int i = 0; i < UNIT; i++) sums.v[i] = vfmaq_f32(sums.v[i], vcvtq_f32_s32(a.v[i]), b.v[i]);
    return sums;
}
inline Floats multiply_subtract(Floats sums, Integers a, Floats b) {
    for (int i = 0; i < UNIT; i++) sums.v[i] = vfmsq_f32(sums.v[i], vcvtq_f32_s32(a.v[i]), b.v[i]);
    return sums;
}
inline Integers multiply_add(Integers sums, Integers a, Integers b) {
    for (int i = 0; i < UNIT; i++) sums.v[i] = vmlaq_s32(sums.v[i], a.v[i], b.v[i]);
    return sums;
}

// Writes the sums of unit u for as many of four columns as there are.
inline void store_columns(float *out, float32x4_t sums, int64_t columns) {
    if (columns >= 4) return vst1q_f32(out, sums);
    float all[4];
    vst1q_f32(all, sums);
    memcpy(out, all, columns * sizeof(float));
}
template <int COUNT, int u>
inline void store(float *out, size_t stride, Floats sums, int64_t columns) {
    out += UNIT * u * stride;
#if defined(__ARM_FEATURE_MATMUL_INT8)
    store_columns(out, vcombine_f32(vget_low_f32(sums.v[0]), vget_low_f32(sums.v[1])), columns);
    if (!PAIR<COUNT, u>) return;
    store_columns(out + stride, vcombine_f32(vget_high_f32(sums.v[0]), vget_high_f32(sums.v[1])), columns);
#else
    store_columns(out, sums.v[0], columns);
#endif
}

// Dot products of HALVES * 16 elements: of four columns, in 4 * HALVES words, and of the rows of unit u at `quants`.
// WIDE: products of two elements fill 16 bits.
template <int COUNT, int u, int HALVES, bool WIDE = false>
__attribute__((always_inline)) inline Integers dot(const int8x16_t *words, const int8_t *quants) {
    quants += u * UNIT * BLOCK;
#if defined(__ARM_FEATURE_MATMUL_INT8)
    Integers sums = nothing();
    for (int i = 0; i < 2 * HALVES; i++) {
        const int8x16_t rows =
            PAIR<COUNT, u> ? vld1q_s8(quants + 16 * i) : vcombine_s8(vld1_s8(quants + 8 * i), vld1_s8(quants + 8 * i));
        for (int j = 0; j < 2; j++) sums.v[j] = vmmlaq_s32(sums.v[j], rows, words[2 * i + j]);
    }
    return sums;
#elif defined(__ARM_FEATURE_DOTPROD)
    int32x4_t sum = vdupq_n_s32(0);
    for (int i = 0; i < HALVES; i++) {
        const int8x16_t row = vld1q_s8(quants + 16 * i);
        sum = vdotq_laneq_s32(sum, words[4 * i], row, 0);
        sum = vdotq_laneq_s32(sum, words[4 * i + 1], row, 1);
        sum = vdotq_laneq_s32(sum, words[4 * i + 2], row, 2);
        sum = vdotq_laneq_s32(sum, words[4 * i + 3], row, 3);
    }
    return {sum};
#else
    int8x16_t row[HALVES];
    for (int i = 0; i < HALVES; i++) row[i] = vld1q_s8(quants + 16 * i);
    const auto two = [&](int c, int i) {
        return vmlal_high_s8(vmull_s8(vget_low_s8(words[c + 4 * i]), vget_low_s8(row[i])), words[c + 4 * i], row[i]);
    };
    if (WIDE) {
        int32x4_t sums[4];
        for (int c = 0; c < 4; c++) {
            sums[c] = vpaddlq_s16(two(c, 0));
            for (int i = 1; i < HALVES; i++) sums[c] = vpadalq_s16(sums[c], two(c, i));
        }
        return {vpaddq_s32(vpaddq_s32(sums[0], sums[1]), vpaddq_s32(sums[2], sums[3]))};
    }
    int16x8_t sums[4];
    for (int c = 0; c < 4; c++) {
        sums[c] = two(c, 0);
        for (int i = 1; i < HALVES; i++) {
            sums[c] = vmlal_s8(sums[c], vget_low_s8(words[c + 4 * i]), vget_low_s8(row[i]));
            sums[c] = vmlal_high_s8(sums[c], words[c + 4 * i], row[i]);
        }
    }
    return {vpaddlq_s16(vpaddq_s16(vpaddq_s16(sums[0], sums[1]), vpaddq_s16(sums[2], sums[3])))};
#endif
}

}  // namespace
