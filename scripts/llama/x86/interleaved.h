// Columns that llama.cpp repacks on x86: eight rows of the matrix of weights interleaved by eight bytes.
#pragma once

#include "product.h"

#if defined(EDGEINFER_VECTORS)

namespace {

// LANES columns: one Weights of eight a block, or two of them side by side.
template <class Weights>
struct Eights {
    static constexpr int WIDTH = LANES;

    // `columns` are left from `column` on.
    Eights(const void *weights, int64_t column, int columns, int blocks)
        : first((const Weights *)weights + column / 8 * blocks),
          second(columns > 8 ? first + blocks : first),
          columns(columns),
          ahead(2 * blocks * sizeof(Weights) <= 16 * 1024 ? 2 * blocks : 1 + 1024 / sizeof(Weights)) {}

    // A strip is short and its two parts lie apart: the processor's own prefetching comes too late. This fetches the
    // same bytes of the next strip, or where strips are long of a later block.
    void prefetch(int b, size_t from, size_t to) const {
        for (size_t i = from; i < to; i += 64) {
            __builtin_prefetch((const char *)(first + b + ahead) + i);
            __builtin_prefetch((const char *)(second + b + ahead) + i);
        }
    }

    void store(float *out, Floats sums) const { store_lanes(out, unshuffled(sums), columns); }

    const Weights *const first, *const second;
    const int columns;

   private:
    const int ahead;
};

}  // namespace

#endif
