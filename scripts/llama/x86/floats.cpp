// Products of half- and single-precision numbers: the keys and values of a cache, and weights of F16.
//
// llama.cpp adds up the products of one row in another order than those of several (vec_dot, tinyBLAS), so that a
// token's result depends on how many are computed with it. Here each element has LANES sums, made in the order of the
// numbers, which are added in one way: it is the same whatever rows and columns stand beside it. Four columns are
// finished together, and no thread waits for others, which matters because each head has a product of its own.
//
// Heads of a model that share keys and values are multiplied together, so that these are read and expanded once.
#include <vector>

#include "ggml-cpu.h"
#include "kernels.h"
#include "share.h"

#if defined(EDGEINFER_VECTORS)

namespace {

constexpr int GROUP = 4;                       // columns whose sums are added up together
constexpr int NEAR = 64;                       // columns that stay in the cache while all rows are multiplied with them
constexpr int NEAR_FLOATS = 1 << 16;           // numbers in single precision that do
constexpr int MOST = REGISTERS == 32 ? 6 : 3;  // rows that share a vector of weights: registers hold all sums

// The totals of four vectors of sums.
inline __m128 totals(const Floats sums[GROUP]) {
    const __m256 a = _mm256_hadd_ps(eight_sums(sums[0]), eight_sums(sums[1]));
    const __m256 b = _mm256_hadd_ps(eight_sums(sums[2]), eight_sums(sums[3]));
    const __m256 both = _mm256_hadd_ps(a, b);
    return _mm_add_ps(_mm256_castps256_ps128(both), _mm256_extractf128_ps(both, 1));
}

// A matrix of which row r begins at `start + r * stride`.
template <class Number>
struct Matrix {
    const Number *start;
    int64_t stride;

    const Number *operator[](int64_t row) const { return start + row * stride; }
};

// out[r * stride + c] = weights' row c times row r, for GROUPS * GROUP columns, of which `columns` are stored.
template <int ROWS, int GROUPS, class Number>
inline void multiply_tile(int64_t k, Matrix<Number> weights, int64_t columns, Matrix<Number> rows, float *out,
                          int64_t stride) {
    constexpr int COLUMNS = GROUPS * GROUP;
    const Number *at[COLUMNS];
    for (int c = 0; c < COLUMNS; c++) at[c] = weights[c < columns ? c : columns - 1];
    Floats sums[ROWS][COLUMNS];
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < COLUMNS; c++) sums[r][c] = zeros();
    for (int64_t i = 0; i < k; i += LANES) {
        Floats values[ROWS];
        for (int r = 0; r < ROWS; r++) values[r] = load_floats(rows[r] + i);
#pragma GCC unroll 8
        for (int c = 0; c < COLUMNS; c++) {
            const Floats weight = load_floats(at[c] + i);
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++) sums[r][c] = multiply_add(weight, values[r], sums[r][c]);
        }
    }
    for (int r = 0; r < ROWS; r++)
        for (int g = 0; g < GROUPS; g++) {
            float *to = out + r * stride + g * GROUP;
            const int64_t left = columns - g * GROUP;
            const __m128 four = totals(sums[r] + g * GROUP);
            if (left >= GROUP) {
                _mm_storeu_ps(to, four);
            } else {
                float all[GROUP];
                _mm_storeu_ps(all, four);
                for (int64_t c = 0; c < left; c++) to[c] = all[c];
            }
        }
}

// As multiply_tile, for any number of columns. One row alone takes two groups, so that enough sums are being made.
template <int ROWS, class Number>
void multiply_rows(int64_t k, Matrix<Number> weights, int64_t columns, Matrix<Number> rows, float *out,
                   int64_t stride) {
    constexpr int GROUPS = ROWS == 1 ? 2 : 1;
    for (int64_t c = 0; c < columns; c += GROUPS * GROUP)
        multiply_tile<ROWS, GROUPS>(k, {weights[c], weights.stride}, columns - c, rows, out + c, stride);
}

template <class Number>
void multiply_block(int64_t k, Matrix<Number> weights, int64_t columns, Matrix<Number> rows, int64_t count, float *out,
                    int64_t stride) {
    int64_t r = 0;
    for (; r + MOST <= count; r += MOST)
        multiply_rows<MOST>(k, weights, columns, {rows[r], rows.stride}, out + r * stride, stride);
    if (count - r >= 4 && MOST > 4) {
        multiply_rows<4>(k, weights, columns, {rows[r], rows.stride}, out + r * stride, stride);
        r += 4;
    }
    const Matrix<Number> rest = {rows[r], rows.stride};
    if (count - r == 3) multiply_rows<3>(k, weights, columns, rest, out + r * stride, stride);
    if (count - r == 2) multiply_rows<2>(k, weights, columns, rest, out + r * stride, stride);
    if (count - r == 1) multiply_rows<1>(k, weights, columns, rest, out + r * stride, stride);
}

// Rows of a matrix in single precision, `apart` numbers apart at `to`.
inline Matrix<float> expanded(int64_t k, Matrix<uint16_t> rows, int64_t count, float *to, int64_t apart) {
    for (int64_t r = 0; r < count; r++)
        for (int64_t i = 0; i < k; i += LANES) store(to + r * apart + i, load_floats(rows[r] + i));
    return {to, apart};
}

// As multiply_block, for many rows: to expand numbers takes longer than to multiply them, so the columns are expanded
// once for all rows. At least a group of columns stays in the cache. There, vectors do not cross lines, and rows do not
// begin in the same place of all ways.
inline void multiply_expanded(int64_t k, Matrix<uint16_t> weights, int64_t columns, Matrix<uint16_t> rows,
                              int64_t count, float *out, int64_t stride) {
    constexpr int64_t LINE = 64 / sizeof(float);
    static thread_local std::vector<float> buffer;
    const int64_t most = NEAR_FLOATS / k / GROUP * GROUP, near = most < columns ? most : columns, apart = k + LINE;
    const size_t needed = (near + MOST) * apart + LINE;
    if (buffer.size() < needed) buffer.resize(needed);
    float *const wide_at = (float *)GGML_PAD((uintptr_t)buffer.data(), 64), *const group_at = wide_at + near * apart;
    for (int64_t c = 0; c < columns; c += near) {
        const int64_t size = columns - c < near ? columns - c : near;
        const Matrix<float> wide = expanded(k, {weights[c], weights.stride}, size, wide_at, apart);
        for (int64_t r = 0; r < count; r += MOST) {
            const int64_t few = count - r < MOST ? count - r : MOST;
            const Matrix<float> group = expanded(k, {rows[r], rows.stride}, few, group_at, apart);
            multiply_block(k, wide, size, group, few, out + r * stride + c, stride);
        }
    }
}

template <class Number>
void multiply_share(const ggml_compute_params *params, int64_t k, Matrix<Number> weights, int64_t columns,
                    Matrix<Number> rows, int64_t count, float *out, int64_t stride) {
    const auto job = [=](int64_t first, int64_t share) {
        for (int64_t c = first; c < first + share; c += NEAR) {
            const int64_t size = first + share - c < NEAR ? first + share - c : NEAR;
            const Matrix<Number> near = {weights[c], weights.stride};
            if constexpr (sizeof(Number) == sizeof(uint16_t)) {
                if (count > MOST && k <= NEAR_FLOATS / GROUP) {
                    multiply_expanded(k, near, size, rows, count, out + c, stride);
                    continue;
                }
            }
            multiply_block(k, near, size, rows, count, out + c, stride);
        }
    };
    if (columns * k >= 1 << 20) {
        share_columns(params, columns, job);
        ggml_barrier(params->threadpool);  // the next matrix is shared out anew
        return;
    }
    const int64_t groups = (columns + GROUP - 1) / GROUP;
    const int64_t first = groups * params->ith / params->nth * GROUP;
    const int64_t end = groups * (params->ith + 1) / params->nth * GROUP;
    job(first, (end < columns ? end : columns) - first);
}

// Puts rows one behind the other into the work buffer, in half precision; threads share the numbers of each.
void convert(const ggml_compute_params *params, const ggml_tensor *rows) {
    const auto from_float = ggml_get_type_traits_cpu(GGML_TYPE_F16)->from_float;
    const int64_t k = rows->ne[0], first = k * params->ith / params->nth, end = k * (params->ith + 1) / params->nth;
    uint16_t *to = (uint16_t *)params->wdata + first;
    for (int64_t i3 = 0; i3 < rows->ne[3]; i3++)
        for (int64_t i2 = 0; i2 < rows->ne[2]; i2++)
            for (int64_t i1 = 0; i1 < rows->ne[1]; i1++, to += k) {
                const char *row = (const char *)rows->data + i1 * rows->nb[1] + i2 * rows->nb[2] + i3 * rows->nb[3];
                from_float((const float *)row + first, to, end - first);
            }
    ggml_barrier(params->threadpool);
}

// Whether the matrices of a tensor lie one behind the other, as the next one's rows would.
bool is_stacked(const ggml_tensor *t) { return t->nb[2] == t->nb[1] * t->ne[1]; }

template <class Number>
void multiply(const ggml_compute_params *params, ggml_tensor *op) {
    constexpr bool converts = sizeof(Number) == sizeof(uint16_t);
    const ggml_tensor *weights = op->src[0], *rows = op->src[1];
    const int64_t k = weights->ne[0], sharing = op->ne[2] / weights->ne[2], sharing3 = op->ne[3] / weights->ne[3];
    // Heads that are multiplied together. With many rows each is better alone: its rows stay in the cache.
    const bool together = op->ne[1] <= NEAR && is_stacked(op) && (converts || is_stacked(rows));
    const int64_t heads = together ? sharing : 1;
    if (converts) convert(params, rows);
    for (int64_t i3 = 0; i3 < op->ne[3]; i3++)
        for (int64_t i2 = 0; i2 < op->ne[2]; i2 += heads) {
            const char *const at =
                (const char *)weights->data + i2 / sharing * weights->nb[2] + i3 / sharing3 * weights->nb[3];
            const Matrix<Number> matrix = {(const Number *)at, (int64_t)(weights->nb[1] / sizeof(Number))};
            const int64_t first = (i3 * op->ne[2] + i2) * op->ne[1];
            const char *const row = (const char *)rows->data + i2 * rows->nb[2] + i3 * rows->nb[3];
            const Matrix<Number> group =
                converts ? Matrix<Number>{(const Number *)params->wdata + first * k, k}
                         : Matrix<Number>{(const Number *)row, (int64_t)(rows->nb[1] / sizeof(Number))};
            float *const out = (float *)((char *)op->data + i2 * op->nb[2] + i3 * op->nb[3]);
            multiply_share(params, k, matrix, weights->ne[1], group, heads * op->ne[1], out, op->nb[1] / sizeof(float));
        }
}

}  // namespace

const Kernel edgeinfer_f16 = {
    multiply<uint16_t>, [](const ggml_tensor *op) { return ggml_row_size(GGML_TYPE_F16, ggml_nelements(op->src[1])); }};
const Kernel edgeinfer_f32 = {multiply<float>, [](const ggml_tensor *) { return (size_t)0; }};

#endif
