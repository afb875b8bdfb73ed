// Rows of activations times eight columns of weights in the order in which these lie.
//
// With few rows, putting weights in the order of the lanes would take longer than multiplying them, and without VNNI
// this is at least as fast with many. 256 bits hold eight bytes of each of four columns that are interleaved.
#pragma once

#include <utility>

#include "product.h"

#if defined(EDGEINFER_VECTORS)

namespace {
namespace in_order {

using Vector = __m256i;

inline Vector load(const void *p) { return _mm256_loadu_si256((const Vector *)p); }
inline Vector low_nibbles(Vector x) { return _mm256_and_si256(x, _mm256_set1_epi8(15)); }
inline Vector high_nibbles(Vector x) { return low_nibbles(_mm256_srli_epi16(x, 4)); }

// Eight bytes of the row, for each column.
inline Vector eight_bytes(const int8_t *p) {
    int64_t bytes;
    memcpy(&bytes, p, sizeof bytes);
    return _mm256_set1_epi64x(bytes);
}

using short_sums::times, short_sums::total;

// `joined` makes sums of eight columns, two of 16 bits a column, of those of the first and of the last four. Columns
// are in this order: 0 1 4 5 2 3 6 7. With VNNI sums have 32 bits before; of sixteen products of a weight below 16 with
// a signed byte, they fit in 16. `add_times` adds the sums of pairs, times a factor.
#if defined(EDGEINFER_VNNI)
inline Vector add_products(Vector sums, Vector weights, Vector quants) { return dot_of_256(sums, weights, quants); }
inline Vector add_times(Vector to, Vector sums, Vector factors) { return dot_of_pairs_of_256(to, sums, factors); }
inline Vector joined(Vector first, Vector last) { return _mm256_packs_epi32(first, last); }
#else
using short_sums::add_products;
inline Vector add_times(Vector to, Vector sums, Vector factors) { return _mm256_add_epi32(to, times(sums, factors)); }
inline Vector joined(Vector first, Vector last) {
    const __m256 a = _mm256_castsi256_ps(first), b = _mm256_castsi256_ps(last);
    const __m256 even = _mm256_shuffle_ps(a, b, 0x88), odd = _mm256_shuffle_ps(a, b, 0xdd);
    return _mm256_add_epi16(_mm256_castps_si256(even), _mm256_castps_si256(odd));
}
#endif

// Bytes of eight columns in pairs of numbers of 16 bits, and half-precision numbers, in the order of `joined`.
inline __m128i as_joined(__m128i x) { return _mm_shuffle_epi32(x, _MM_SHUFFLE(3, 1, 2, 0)); }
inline Vector pairs(uint64_t first, uint64_t second) {
    const __m128i bytes = _mm_unpacklo_epi8(_mm_cvtsi64_si128(first), _mm_cvtsi64_si128(second));
    return _mm256_cvtepu8_epi16(as_joined(bytes));
}
inline __m256 halves(const uint16_t *p) { return _mm256_cvtph_ps(as_joined(_mm_loadu_si128((const __m128i *)p))); }

inline void store(float *out, __m256 sums) {
    _mm256_storeu_ps(out, _mm256_permutevar8x32_ps(sums, _mm256_setr_epi32(0, 1, 4, 5, 2, 3, 6, 7)));
}

// Of weights that are read in one line. The processor looks ahead too, but not beyond a page. With VNNI multiplying is
// so fast that the first level has too few places in which lines could wait for memory, and that a line read at 25 GB/s
// takes as long to come as the 8 KB before it.
__attribute__((always_inline)) inline void prefetch(const void *weights, size_t size) {
#if defined(EDGEINFER_VNNI)
    constexpr int ahead = 8192, level = 2;
#else
    constexpr int ahead = 1024, level = 1;
#endif
    for (size_t i = 0; i < size; i += 64) __builtin_prefetch((const char *)weights + ahead + i, 0, 4 - level);
}

// Calls body(constant 0), body(constant 1) …, for what needs a number at compile time.
template <class Body, int... NUMBERS>
__attribute__((always_inline)) inline void for_each(std::integer_sequence<int, NUMBERS...>, Body body) {
    (body(std::integral_constant<int, NUMBERS>()), ...);
}

// Half of the sums of a and b each: of 128 bits, two of a's, then two of b's.
inline Vector halved(Vector a, Vector b) {
    const __m256 x = _mm256_castsi256_ps(a), y = _mm256_castsi256_ps(b);
    const __m256 even = _mm256_shuffle_ps(x, y, 0x88), odd = _mm256_shuffle_ps(x, y, 0xdd);
    return _mm256_add_epi32(_mm256_castps_si256(even), _mm256_castps_si256(odd));
}

// The totals of eight vectors of sums; `sums_at(i)` is one of them.
template <class SumsAt>
__attribute__((always_inline)) inline Vector totals(SumsAt sums_at) {
    Vector fours[2];
    for (int i = 0; i < 2; i++) {
        const Vector first = halved(sums_at(4 * i), sums_at(4 * i + 1));
        fours[i] = halved(first, halved(sums_at(4 * i + 2), sums_at(4 * i + 3)));
    }
    const Vector low = _mm256_inserti128_si256(fours[0], _mm256_castsi256_si128(fours[1]), 1);
    const Vector high = _mm256_castsi128_si256(_mm256_extracti128_si256(fours[0], 1));
    return _mm256_add_epi32(low, _mm256_blend_epi32(high, fours[1], 0xf0));
}

}  // namespace in_order
}  // namespace

#endif
