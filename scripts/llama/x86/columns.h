// Columns of a product that are rows of a matrix of weights as it lies in the file.
#pragma once

#include "product.h"

#if defined(EDGEINFER_VECTORS)

namespace {

// WIDTH columns. A strip at the edge of the matrix has its last column several times.
template <class Weights, int WIDTH_>
struct Columns {
    static constexpr int WIDTH = WIDTH_;

    // `columns` are left from `column` on.
    Columns(const void *weights, int64_t column, int columns, int blocks)
        : columns(columns), next((const Weights *)weights + (column + WIDTH) * blocks) {
        for (int c = 0; c < WIDTH; c++) at[c] = next - (int64_t)(WIDTH - (c < columns ? c : columns - 1)) * blocks;
    }

    // The scales of block b.
    auto scales(int b) const {
        uint16_t halves[WIDTH];
#pragma GCC unroll 16
        for (int c = 0; c < WIDTH; c++) halves[c] = at[c][b].scale;
        if constexpr (WIDTH == 8) {
            return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)halves));
        } else {
            return ::halves(halves, halves + 8);
        }
    }

    // The columns lie far apart, so that the processor's own prefetching does not see the next strip coming. This
    // fetches what that has in block b, or in a part of it, to the second level: the first has this strip and the rows.
    __attribute__((always_inline)) void prefetch(int b, int part = 0, int parts = 1) const {
        constexpr size_t size = WIDTH * sizeof(Weights);
        const char *const p = (const char *)next + size * b + size / parts * part;
        for (size_t i = 0; i < size / parts; i += 64) __builtin_prefetch(p + i, 0, 2);
    }

    template <class Floats>
    void store(float *out, Floats sums) const {
        store_lanes(out, sums, columns);
    }

    const Weights *at[WIDTH];
    const int columns;

   private:
    const Weights *const next;
};

// Sixteen bytes of the columns c, c + 4 …, which lie at `at(c)`.
template <class At>
__attribute__((always_inline)) inline Integers sixteen_bytes(At at, int c) {
    return quarters_of(at(c), at(c + 4), at((c + 8) % LANES), at((c + 12) % LANES));
}

// words[w] = bytes 4w to 4w + 3 of each column; the columns' bytes lie at `at(c)`.
template <int COUNT, class At>
__attribute__((always_inline)) inline void words_of_columns(At at, Integers words[COUNT]) {
    for (int w = 0; w < COUNT; w += 4) {
        Integers columns[4];
        for (int c = 0; c < 4; c++) {
            columns[c] = sixteen_bytes([&](int c) { return at(c) + 4 * w; }, c);
        }
        transpose(columns, words + w);
    }
}

}  // namespace

#endif
