// Rows of activations, quantized by ggml and laid out for the products here: in groups of up to eight, and of a group
// one block of every row after another.
#pragma once

#include <vector>

#include "ggml-cpu-impl.h"
#include "ggml-cpu.h"
#define GGML_COMMON_DECL_CPP
#include "ggml-common.h"

namespace {

constexpr int BLOCK = 32;  // elements that share a scale
constexpr int SUPERBLOCK = 256;
constexpr int PARTS = SUPERBLOCK / BLOCK;
constexpr int GROUP = 8;

#if defined(__ARM_FEATURE_MATMUL_INT8)
constexpr int UNIT = 2;  // rows that an instruction multiplies
#else
constexpr int UNIT = 1;
#endif

// Copies a row's 32 elements to where `dot` looks for them: two rows of a unit lie side by side, eight bytes of each in
// turn; the last row of an odd number lies alone.
inline void place(const int8_t *from, int8_t *group, int row, int count) {
    if (UNIT == 1 || (row ^ 1) >= count) {
        memcpy(group + row * BLOCK, from, BLOCK);
        return;
    }
    for (int i = 0; i < BLOCK; i += 8) memcpy(group + row / 2 * 2 * BLOCK + row % 2 * 8 + 2 * i, from + i, 8);
}

// A block of COUNT rows whose blocks are of 32 elements.
struct Rows {
    static constexpr ggml_type TYPE = GGML_TYPE_Q8_0;
    using Quantized = block_q8_0;

    template <int COUNT>
    struct Of {
        uint16_t scales[COUNT];
        int8_t quants[COUNT * BLOCK];
    };

    static void place(const Quantized &from, char *to, int row, int count) {
        memcpy(to + row * sizeof from.d, &from.d, sizeof from.d);
        ::place(from.qs, (int8_t *)to + count * sizeof from.d, row, count);
    }
};

// The same of superblocks.
struct RowsK {
    static constexpr ggml_type TYPE = GGML_TYPE_Q8_K;
    using Quantized = block_q8_K;

    template <int COUNT>
    struct Of {
        float scales[COUNT];
        int16_t sums[COUNT][PARTS];  // of each part's quants
        int8_t quants[PARTS][COUNT * BLOCK];
    };

    static void place(const Quantized &from, char *to, int row, int count) {
        memcpy(to + row * sizeof from.d, &from.d, sizeof from.d);
        char *sums = to + count * sizeof from.d, *quants = sums + count * PARTS * sizeof(int16_t);
        for (int p = 0; p < PARTS; p++) {
            const int16_t sum = from.d != 0 ? from.bsums[2 * p] + from.bsums[2 * p + 1] : 0;
            memcpy(sums + (row * PARTS + p) * sizeof sum, &sum, sizeof sum);
            ::place(from.qs + p * BLOCK, (int8_t *)quants + p * count * BLOCK, row, count);
        }
    }
};

// Quantizes the rows of a matrix into the work buffer; the groups before row r take r rows' blocks of ::Of<1>.
template <class Kind>
void quantize(const ggml_compute_params *params, const ggml_tensor *rows) {
    static thread_local std::vector<typename Kind::Quantized> row;
    const int64_t elements = rows->ne[0], blocks = elements / ggml_blck_size(Kind::TYPE), all = rows->ne[1];
    const auto from_float = ggml_get_type_traits_cpu(Kind::TYPE)->from_float;
    constexpr size_t size = sizeof(typename Kind::template Of<1>);
    static_assert(size <= sizeof(typename Kind::Quantized), "what ggml reserves");
    row.resize(blocks);
    for (int64_t i = params->ith; i < all; i += params->nth) {
        from_float((const float *)((const char *)rows->data + i * rows->nb[1]), row.data(), elements);
        const int64_t first = i / GROUP * GROUP;
        const int count = all - first < GROUP ? all - first : GROUP;
        char *group = (char *)params->wdata + first * blocks * size;
        for (int64_t b = 0; b < blocks; b++) Kind::place(row[b], group + b * count * size, i - first, count);
    }
}

}  // namespace
