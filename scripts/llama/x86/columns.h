// Columns that are the rows of a matrix of weights as it lies in the file: LANES of them are transposed into vectors.
#pragma once

#include "product.h"

#if defined(EDGEINFER_VECTORS)

namespace {

// The columns of a strip lie far apart, so that the processor's own prefetching does not see the next strip coming.
// This fetches a share of it, to the second level: the first has this strip and the rows.
inline void prefetch_share(const void *next_strip, size_t share, size_t number) {
    const char *p = (const char *)next_strip + share * number;
    for (size_t i = 0; i < share; i += 64) __builtin_prefetch(p + i, 0, 2);
}

// words[w] = bytes 4w to 4w + 3 of a block of each column; `blocks_at(c)` has those of the columns c and c + 4.
template <class BlocksAt>
__attribute__((always_inline)) inline void words_of_columns(BlocksAt blocks_at, Integers words[WORDS]) {
    Integers halves[2][4];  // of 128 bits: word w, then word w + 4, of four columns
    for (int half = 0; half < 2; half++) {
        Integers rows[4];
        for (int i = 0; i < 4; i++) rows[i] = blocks_at(LANES / 2 * half + i);
        transpose(rows, halves[half]);
    }
    for (int w = 0; w < 4; w++) {
        words[w] = even_quarters(halves[0][w], halves[1][w]);
        words[w + 4] = odd_quarters(halves[0][w], halves[1][w]);
    }
}

}  // namespace

#endif
