// The widest vectors of this machine, and the few operations that the kernels need of them.
//
// Columns of a product lie in lanes. EDGEINFER_VECTORS is defined where there are such vectors,
// EDGEINFER_VNNI where the machine adds up products of any four bytes in one instruction (VNNI).
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace {

#if defined(__AVX2__)
// What moves two bytes of each word of 32 bits to the upper bytes of its halves.
inline __m128i upper_bytes(int first, int second) {
    const int32_t word = 0x00800080 | first << 8 | second << 24;
    return _mm_add_epi8(_mm_set1_epi32(word), _mm_setr_epi32(0, 0x04000400, 0x08000800, 0x0c000c00));
}

// Sums of products of bytes, two of 16 bits in place of one of 32: they hold the products of eight words of weights
// below 16, or of two words of weights below 64. `times` adds them up and multiplies the sum by a factor, which
// stands in both halves of its word.
namespace short_sums {

inline __m256i add_products(__m256i sums, __m256i weights, __m256i quants) {
    return _mm256_add_epi16(sums, _mm256_maddubs_epi16(weights, quants));
}
inline __m256i times(__m256i sums, __m256i factors) { return _mm256_madd_epi16(sums, factors); }
inline __m256i total(__m256i sums) { return times(sums, _mm256_set1_epi16(1)); }

}  // namespace short_sums
#endif

#if defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__) && defined(__AVX512VNNI__)
#define EDGEINFER_VECTORS
#define EDGEINFER_VNNI

constexpr int LANES = 16, REGISTERS = 32;
using Integers = __m512i;
using Floats = __m512;

inline Integers load(const void *p) { return _mm512_loadu_si512(p); }
inline Integers integers(int32_t x) { return _mm512_set1_epi32(x); }
inline Floats floats(float x) { return _mm512_set1_ps(x); }
inline Floats zeros() { return _mm512_setzero_ps(); }
inline Floats load_floats(const float *p) { return _mm512_loadu_ps(p); }
inline void store(float *p, Floats x) { _mm512_storeu_ps(p, x); }

inline Floats to_floats(Integers x) { return _mm512_cvtepi32_ps(x); }
inline Floats multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
inline Floats divide(Floats a, Floats b) { return _mm512_div_ps(a, b); }
inline Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
inline Floats subtract(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
inline Floats maximum(Floats a, Floats b) { return _mm512_max_ps(a, b); }
inline Floats multiply_add(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
inline Integers multiply_integers(Integers a, Integers b) { return _mm512_mullo_epi32(a, b); }
inline Integers add(Integers a, Integers b) { return _mm512_add_epi32(a, b); }
inline Integers both(Integers a, Integers b) { return _mm512_and_si512(a, b); }
inline Integers differing(Integers a, Integers b) { return _mm512_xor_si512(a, b); }
inline Integers either(Integers a, Integers b) { return _mm512_or_si512(a, b); }
inline bool equal(Integers a, Integers b) { return _mm512_cmpneq_epi32_mask(a, b) == 0; }
inline Integers shifted_right(Integers x, int bits) { return _mm512_srl_epi16(x, _mm_cvtsi32_si128(bits)); }
inline Integers shifted_left(Integers x, int bits) { return _mm512_sll_epi16(x, _mm_cvtsi32_si128(bits)); }
// A byte of each lane as a signed number, and two bytes as numbers of 16 bits.
inline Integers signed_byte(Integers x, int number) {
    return _mm512_srai_epi32(_mm512_sll_epi32(x, _mm_cvtsi32_si128(24 - 8 * number)), 24);
}
inline Integers signed_bytes(Integers x, int first, int second) {
    return _mm512_srai_epi16(_mm512_shuffle_epi8(x, _mm512_broadcast_i32x4(upper_bytes(first, second))), 8);
}

// sums + the dot products of each lane's four unsigned bytes with its four signed ones, and of two numbers of 16 bits.
inline __m256i dot_of_256(__m256i sums, __m256i unsigned_bytes, __m256i signed_bytes) {
    return _mm256_dpbusd_epi32(sums, unsigned_bytes, signed_bytes);
}
inline __m256i dot_of_pairs_of_256(__m256i sums, __m256i a, __m256i b) { return _mm256_dpwssd_epi32(sums, a, b); }
inline Integers dot(Integers sums, Integers unsigned_bytes, Integers signed_bytes) {
    return _mm512_dpbusd_epi32(sums, unsigned_bytes, signed_bytes);
}

// Of each 128 bits: the 32-bit words 0 and 2 (1 and 3) of a, then those of b.
inline Integers even_words(Integers a, Integers b) {
    return _mm512_castps_si512(_mm512_shuffle_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), 0x88));
}
inline Integers odd_words(Integers a, Integers b) {
    return _mm512_castps_si512(_mm512_shuffle_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), 0xdd));
}

// Sixteen bytes of each row, of as many as there is room for.
inline Integers quarters_of(const void *a, const void *b, const void *c, const void *d) {
    const __m256i low = _mm256_set_m128i(_mm_loadu_si128((const __m128i *)b), _mm_loadu_si128((const __m128i *)a));
    const __m256i high = _mm256_set_m128i(_mm_loadu_si128((const __m128i *)d), _mm_loadu_si128((const __m128i *)c));
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

// Of each 128 bits, in[i] has four words; out[w] has word w of each.
inline void transpose(const Integers in[4], Integers out[4]) {
    const Integers a = _mm512_unpacklo_epi32(in[0], in[1]), b = _mm512_unpackhi_epi32(in[0], in[1]);
    const Integers c = _mm512_unpacklo_epi32(in[2], in[3]), d = _mm512_unpackhi_epi32(in[2], in[3]);
    out[0] = _mm512_unpacklo_epi64(a, c), out[1] = _mm512_unpackhi_epi64(a, c);
    out[2] = _mm512_unpacklo_epi64(b, d), out[3] = _mm512_unpackhi_epi64(b, d);
}

// The sums of the lanes i and i + 8, or the lanes where there are eight.
inline __m256 eight_sums(Floats x) { return _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1)); }
inline float largest(Floats x) { return _mm512_reduce_max_ps(x); }

// What even_words and odd_words do to the order of columns, and back.
inline Floats shuffled(Floats x) {
    return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15), x);
}
inline Floats unshuffled(Floats x) {
    return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15), x);
}

// Half-precision numbers: eight from each place, or eight from the first where there are eight lanes.
inline Floats halves(const uint16_t *first, const uint16_t *second) {
    const __m128i low = _mm_loadu_si128((const __m128i *)first), high = _mm_loadu_si128((const __m128i *)second);
    return _mm512_cvtph_ps(_mm256_set_m128i(high, low));
}

// The finite number of half precision that is the upper half of each lane, and the lower.
inline Floats upper_halves(Integers x) {
    // A shift makes room for the wider exponent, which a factor then corrects.
    const Integers shifted = _mm512_and_si512(_mm512_srai_epi32(x, 3), integers(0x8fffe000));
    return _mm512_mul_ps(_mm512_castsi512_ps(shifted), floats(0x1p112f));
}
inline Floats lower_halves(Integers x) { return upper_halves(_mm512_slli_epi32(x, 16)); }

#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define EDGEINFER_VECTORS

constexpr int LANES = 8, REGISTERS = 16;
using Integers = __m256i;
using Floats = __m256;

inline Integers load(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }
inline Integers integers(int32_t x) { return _mm256_set1_epi32(x); }
inline Floats floats(float x) { return _mm256_set1_ps(x); }
inline Floats zeros() { return _mm256_setzero_ps(); }
inline Floats load_floats(const float *p) { return _mm256_loadu_ps(p); }
inline void store(float *p, Floats x) { _mm256_storeu_ps(p, x); }

inline Floats to_floats(Integers x) { return _mm256_cvtepi32_ps(x); }
inline Floats multiply(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
inline Floats divide(Floats a, Floats b) { return _mm256_div_ps(a, b); }
inline Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
inline Floats subtract(Floats a, Floats b) { return _mm256_sub_ps(a, b); }
inline Floats maximum(Floats a, Floats b) { return _mm256_max_ps(a, b); }
inline Floats multiply_add(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
inline Integers multiply_integers(Integers a, Integers b) { return _mm256_mullo_epi32(a, b); }
inline Integers add(Integers a, Integers b) { return _mm256_add_epi32(a, b); }
inline Integers both(Integers a, Integers b) { return _mm256_and_si256(a, b); }
inline Integers differing(Integers a, Integers b) { return _mm256_xor_si256(a, b); }
inline Integers either(Integers a, Integers b) { return _mm256_or_si256(a, b); }
inline bool equal(Integers a, Integers b) { return _mm256_movemask_epi8(_mm256_cmpeq_epi32(a, b)) == -1; }
inline Integers shifted_right(Integers x, int bits) { return _mm256_srl_epi16(x, _mm_cvtsi32_si128(bits)); }
inline Integers shifted_left(Integers x, int bits) { return _mm256_sll_epi16(x, _mm_cvtsi32_si128(bits)); }
inline Integers signed_byte(Integers x, int number) {
    return _mm256_srai_epi32(_mm256_sll_epi32(x, _mm_cvtsi32_si128(24 - 8 * number)), 24);
}
inline Integers signed_bytes(Integers x, int first, int second) {
    return _mm256_srai_epi16(_mm256_shuffle_epi8(x, _mm256_broadcastsi128_si256(upper_bytes(first, second))), 8);
}

#if defined(__AVXVNNI__)
#define EDGEINFER_VNNI
inline Integers dot(Integers sums, Integers unsigned_bytes, Integers signed_bytes) {
    return _mm256_dpbusd_avx_epi32(sums, unsigned_bytes, signed_bytes);
}
inline Integers dot_of_256(Integers sums, Integers unsigned_bytes, Integers signed_bytes) {
    return dot(sums, unsigned_bytes, signed_bytes);
}
inline Integers dot_of_pairs_of_256(Integers sums, Integers a, Integers b) {
    return _mm256_dpwssd_avx_epi32(sums, a, b);
}
#else
inline Integers dot(Integers sums, Integers unsigned_bytes, Integers signed_bytes) {
    const __m256i pairs = _mm256_maddubs_epi16(unsigned_bytes, signed_bytes);
    return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
#endif

inline Integers even_words(Integers a, Integers b) {
    return _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0x88));
}
inline Integers odd_words(Integers a, Integers b) {
    return _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0xdd));
}

inline Integers quarters_of(const void *a, const void *b, const void *, const void *) {
    return _mm256_set_m128i(_mm_loadu_si128((const __m128i *)b), _mm_loadu_si128((const __m128i *)a));
}

inline void transpose(const Integers in[4], Integers out[4]) {
    const Integers a = _mm256_unpacklo_epi32(in[0], in[1]), b = _mm256_unpackhi_epi32(in[0], in[1]);
    const Integers c = _mm256_unpacklo_epi32(in[2], in[3]), d = _mm256_unpackhi_epi32(in[2], in[3]);
    out[0] = _mm256_unpacklo_epi64(a, c), out[1] = _mm256_unpackhi_epi64(a, c);
    out[2] = _mm256_unpacklo_epi64(b, d), out[3] = _mm256_unpackhi_epi64(b, d);
}

inline Floats shuffled(Floats x) { return _mm256_permutevar8x32_ps(x, _mm256_setr_epi32(0, 1, 4, 5, 2, 3, 6, 7)); }
inline Floats unshuffled(Floats x) { return shuffled(x); }

inline __m256 eight_sums(Floats x) { return x; }
inline float largest(Floats x) {
    __m128 most = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    most = _mm_max_ps(most, _mm_movehl_ps(most, most));
    return _mm_cvtss_f32(_mm_max_ss(most, _mm_movehdup_ps(most)));
}

inline Floats halves(const uint16_t *first, const uint16_t *) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)first));
}

inline Floats upper_halves(Integers x) {
    const Integers shifted = _mm256_and_si256(_mm256_srai_epi32(x, 3), integers(0x8fffe000));
    return _mm256_mul_ps(_mm256_castsi256_ps(shifted), floats(0x1p112f));
}
inline Floats lower_halves(Integers x) { return upper_halves(_mm256_slli_epi32(x, 16)); }

#endif

// What short_sums has, for the widest vectors; with VNNI, sums are of 32 bits at once, and hold any products. A factor
// is made of a byte of each lane.
#if defined(EDGEINFER_VNNI)
inline Integers add_products(Integers sums, Integers weights, Integers quants) { return dot(sums, weights, quants); }
inline Integers times(Integers sums, Integers factors) { return multiply_integers(sums, factors); }
inline Integers factor(Integers x, int number) { return signed_byte(x, number); }
#elif defined(EDGEINFER_VECTORS)
using namespace short_sums;
inline Integers factor(Integers x, int number) { return signed_bytes(x, number, number); }

// Bytes without their signs, and bytes whose signs are changed where others are negative.
inline Integers sizes(Integers x) { return _mm256_abs_epi8(x); }
inline Integers with_signs(Integers x, Integers signs) { return _mm256_sign_epi8(x, signs); }
#endif

#if defined(EDGEINFER_VECTORS)
inline Integers four_bytes(const int8_t *p) {
    int32_t word;
    memcpy(&word, p, sizeof word);
    return integers(word);
}

inline Floats load_floats(const uint16_t *p) { return halves(p, p + 8); }

template <class Floats>
inline void store_lanes(float *p, Floats x, int lanes) {
    const int all = sizeof x / sizeof *p;
    if (lanes >= all) {
        memcpy(p, &x, sizeof x);
    } else {
        memcpy(p, &x, lanes * sizeof *p);
    }
}
#endif

}  // namespace
