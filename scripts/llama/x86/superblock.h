// Rows of activations in blocks of 256 elements.
#pragma once

#include "ggml.h"
#include "vectors.h"

#if defined(EDGEINFER_VECTORS)

namespace {

constexpr int SUPERBLOCK = 256;

struct RowK {  // block_q8_K of ggml
    static constexpr int ELEMENTS = SUPERBLOCK;

    float scale;
    int8_t quants[SUPERBLOCK];
    int16_t sums[SUPERBLOCK / 16];  // of sixteen quants each

    // To the bit as llama.cpp, which does so without vectors.
    static void quantize(const float *values, RowK *out, int64_t elements) {
        for (int64_t i = 0; i < elements; i += SUPERBLOCK) out++->set(values + i);
    }

   private:
    void set(const float *values) {
        const float largest = first_largest(values);
        const float factor = largest == 0 ? 0 : -127 / largest;
        scale = largest == 0 ? 0 : 1 / factor;
        for (int i = 0; i < SUPERBLOCK; i += 32) {
            __m256i numbers[4];
            for (int j = 0; j < 4; j++) {
                const __m256 eight = _mm256_loadu_ps(values + i + 8 * j);
                numbers[j] = _mm256_cvtps_epi32(_mm256_mul_ps(eight, _mm256_set1_ps(factor)));
            }
            const __m256i first = _mm256_packs_epi32(numbers[0], numbers[1]);
            const __m256i last = _mm256_packs_epi32(numbers[2], numbers[3]);
            const __m256i fours = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
            const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(first, last), fours);
            _mm256_storeu_si256((__m256i *)(quants + i), bytes);
            const __m256i above_lowest = _mm256_xor_si256(bytes, _mm256_set1_epi8((char)0x80));
            int64_t of_eight[4];
            _mm256_storeu_si256((__m256i *)of_eight, _mm256_sad_epu8(above_lowest, _mm256_setzero_si256()));
            for (int j = 0; j < 2; j++) sums[i / 16 + j] = of_eight[2 * j] + of_eight[2 * j + 1] - 16 * 128;
        }
    }

    // The first of the numbers that are farthest from zero.
    static float first_largest(const float *values) {
        const __m256 sign = _mm256_set1_ps(-0.0f);
        __m256 sizes = _mm256_setzero_ps();
        for (int i = 0; i < SUPERBLOCK; i += 8) {
            sizes = _mm256_max_ps(_mm256_andnot_ps(sign, _mm256_loadu_ps(values + i)), sizes);
        }
        sizes = _mm256_max_ps(sizes, _mm256_permute2f128_ps(sizes, sizes, 1));
        sizes = _mm256_max_ps(sizes, _mm256_shuffle_ps(sizes, sizes, _MM_SHUFFLE(1, 0, 3, 2)));
        sizes = _mm256_max_ps(sizes, _mm256_shuffle_ps(sizes, sizes, _MM_SHUFFLE(2, 3, 0, 1)));
        for (int i = 0; i < SUPERBLOCK; i += 8) {
            const __m256 size = _mm256_andnot_ps(sign, _mm256_loadu_ps(values + i));
            const int found = _mm256_movemask_ps(_mm256_cmp_ps(size, sizes, _CMP_EQ_OQ));
            if (found) return values[i + __builtin_ctz(found)];
        }
        return 0;
    }
};
static_assert(sizeof(RowK) == 292, "block_q8_K");

}  // namespace

#endif
