// Attention in one pass over the cache: keys of a few cells times queries, exponentials of the scores, and these times
// the values of the same cells.
//
// llama.cpp's own flash attention adds up in another order for one token than for many, and for many sequences than for
// one. Here each row, which is a query of one head, is computed in the order of the cells, in steps of CELLS that begin
// at the same cells for all: a row's result is the same whatever rows stand beside it, and however far the cache of
// others reaches, since a step that the mask hides changes nothing. Such steps are left out where all rows can do so.
//
// Heads that share keys and values are computed together, so that these are expanded once. Both products have their
// columns in lanes: cells, then numbers of a value.
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "columns.h"
#include "ggml-cpu-impl.h"
#include "ggml-cpu.h"
#include "kernels.h"
#include "share.h"
#include "vec.h"

#if defined(EDGEINFER_VECTORS)

namespace {

constexpr int CELLS = 64;                      // taken in one step
constexpr int VECTORS = 4;                     // of columns that are multiplied together
constexpr int ROWS = REGISTERS == 32 ? 6 : 3;  // that are: registers hold all sums
constexpr int MOST_ROWS = 16 * ROWS;           // of a job

// sums[r * stride + c] += the products of row r with column c, for WIDTH vectors of columns. Number i of row r is
// rows[r * k + i], that of column c is columns[i * width + c].
template <int COUNT, int WIDTH>
void add_products(int64_t k, const float *columns, int64_t width, const float *rows, float *sums, int64_t stride) {
    Floats all[COUNT][WIDTH];
    for (int r = 0; r < COUNT; r++)
        for (int v = 0; v < WIDTH; v++) all[r][v] = load_floats(sums + r * stride + v * LANES);
    for (int64_t i = 0; i < k; i++) {
        Floats numbers[WIDTH];
        for (int v = 0; v < WIDTH; v++) numbers[v] = load_floats(columns + i * width + v * LANES);
#pragma GCC unroll 8
        for (int r = 0; r < COUNT; r++) {
            const Floats row = floats(rows[r * k + i]);
#pragma GCC unroll 8
            for (int v = 0; v < WIDTH; v++) all[r][v] = multiply_add(row, numbers[v], all[r][v]);
        }
    }
    for (int r = 0; r < COUNT; r++)
        for (int v = 0; v < WIDTH; v++) store(sums + r * stride + v * LANES, all[r][v]);
}

template <int... NUMBERS>
constexpr auto multipliers(std::integer_sequence<int, NUMBERS...>) {
    return std::array{add_products<NUMBERS / VECTORS + 1, NUMBERS % VECTORS + 1>...};
}

// As add_products, for up to ROWS rows and all columns.
void add_all_products(int count, int64_t k, const float *columns, int64_t width, const float *rows, float *sums) {
    static constexpr auto by_size = multipliers(std::make_integer_sequence<int, ROWS * VECTORS>());
    for (int64_t c = 0; c < width; c += VECTORS * LANES) {
        const int64_t left = (width - c) / LANES, vectors = left < VECTORS ? left : VECTORS;
        by_size[(count - 1) * VECTORS + vectors - 1](k, columns + c, width, rows, sums + c, width);
    }
}

// What a row computes with, and has so far.
struct Query {
    const uint16_t *mask;  // of all cells; null: none is hidden
    float slope;           // what the mask is multiplied by
    float highest;         // score so far
    Floats sums;           // of exponentials so far: lane i has those of the cells i, i + LANES …
};

bool hides(const uint16_t *mask) {
    constexpr uint16_t NEVER = 0xfc00;  // minus infinity
    const Integers never = integers(NEVER << 16 | NEVER);
    for (int c = 0; c < CELLS; c += 2 * LANES)
        if (!equal(load(mask + c), never)) return false;
    return true;
}

class Attention {
   public:
    Attention(const ggml_compute_params *params, ggml_tensor *op)
        : op(op),
          query(op->src[0]),
          key(op->src[1]),
          value(op->src[2]),
          mask(op->src[3]),
          sinks(op->src[4]),
          sharing(query->ne[2] / key->ne[2]),
          rows(query->ne[1] * sharing),
          groups(key->ne[2] * query->ne[3]) {
        memcpy(&scale, op->op_params, sizeof scale);
        memcpy(&max_bias, op->op_params + 1, sizeof max_bias);
        memcpy(&cap, op->op_params + 2, sizeof cap);
        const int64_t few = (rows + MOST_ROWS - 1) / MOST_ROWS, for_all = (params->nth + groups - 1) / groups;
        const int64_t parts = few > for_all ? few : for_all;
        size = (rows + parts - 1) / parts;
    }

    int64_t jobs() const { return groups * parts(); }

    void run(int64_t job) const {
        const int64_t group = job / parts(), head = group % key->ne[2], stream = group / key->ne[2];
        const int64_t first = job % parts() * size, count = rows - first < size ? rows - first : size;
        const int64_t k = key->ne[0], n = value->ne[0];
        Workspace &work = workspace(k, n);
        Query all[MOST_ROWS];
        for (int64_t r = 0; r < count; r++) begin(first + r, head, stream, all[r], work.queries + r * k);
        memset(work.results, 0, count * n * sizeof(float));
        for (int64_t c = 0; c < key->ne[1]; c += CELLS) {
            bool expanded = false;
            for (int64_t r = 0; r < count; r += ROWS) {
                const int few = count - r < ROWS ? count - r : ROWS;
                if (are_hidden(all + r, few, c)) continue;
                if (!expanded) expand(head, stream, c, work);
                expanded = true;
                step(all + r, few, c, work, work.queries + r * k, work.results + r * n);
            }
        }
        for (int64_t r = 0; r < count; r++) finish(first + r, head, stream, all[r], work.results + r * n);
    }

   private:
    struct Workspace {
        float *queries, *results;  // numbers of each row
        float *keys, *values;      // numbers of the cells: keys[i * CELLS + cell], values[cell * n + i]
        float *scores;
    };

    int64_t parts() const { return (rows + size - 1) / size; }

    static Workspace &workspace(int64_t k, int64_t n) {
        static thread_local std::vector<float> buffer;
        static thread_local Workspace work;
        const size_t needed = MOST_ROWS * (k + n) + CELLS * (k + n + ROWS) + LANES;
        if (buffer.size() < needed) buffer.resize(needed);
        work.queries = (float *)GGML_PAD((uintptr_t)buffer.data(), LANES * sizeof(float));
        work.results = work.queries + MOST_ROWS * k;
        work.keys = work.results + MOST_ROWS * n;
        work.values = work.keys + CELLS * k;
        work.scores = work.values + CELLS * n;
        return work;
    }

    int64_t token(int64_t row) const { return row / sharing; }
    int64_t head_of(int64_t row, int64_t head) const { return head * sharing + row % sharing; }

    void begin(int64_t r, int64_t group, int64_t stream, Query &row, float *to) const {
        const int64_t t = token(r), head = head_of(r, group);
        row = {nullptr, slope(head), -INFINITY, zeros()};
        if (mask)
            row.mask = (const uint16_t *)((const char *)mask->data + t * mask->nb[1] +
                                          head % mask->ne[2] * mask->nb[2] + stream % mask->ne[3] * mask->nb[3]);
        const auto *from =
            (const float *)((const char *)query->data + t * query->nb[1] + head * query->nb[2] + stream * query->nb[3]);
        for (int64_t i = 0; i < query->ne[0]; i += LANES) store(to + i, multiply(load_floats(from + i), floats(scale)));
    }

    // As in llama.cpp: ALiBi.
    float slope(int64_t head) const {
        if (max_bias <= 0) return 1;
        const int64_t half = 1 << (int)floor(log2(query->ne[2]));
        return head < half ? powf(powf(2, -max_bias / half), head + 1)
                           : powf(powf(2, -max_bias / 2 / half), 2 * (head - half) + 1);
    }

    static bool are_hidden(const Query *all, int count, int64_t cell) {
        for (int r = 0; r < count; r++)
            if (!all[r].mask || !hides(all[r].mask + cell)) return false;
        return true;
    }

    void expand(int64_t head, int64_t stream, int64_t cell, const Workspace &work) const {
        const auto at = [=](const ggml_tensor *t, int c) {
            return (const char *)t->data + (cell + c) * t->nb[1] + head * t->nb[2] + stream * t->nb[3];
        };
        for (int c = 0; c < CELLS; c += LANES)
            for (int64_t i = 0; i < key->ne[0]; i += 8) {
                Integers pairs[4];
                words_of_columns<4>([&](int lane) { return at(key, c + lane) + i * sizeof(uint16_t); }, pairs);
                for (int p = 0; p < 4; p++) {
                    store(work.keys + (i + 2 * p) * CELLS + c, lower_halves(pairs[p]));
                    store(work.keys + (i + 2 * p + 1) * CELLS + c, upper_halves(pairs[p]));
                }
            }
        for (int c = 0; c < CELLS; c++)
            for (int64_t i = 0; i < value->ne[0]; i += LANES)
                store(work.values + c * value->ne[0] + i, load_floats((const uint16_t *)at(value, c) + i));
    }

    void step(Query *all, int count, int64_t cell, const Workspace &work, const float *queries, float *results) const {
        const int64_t n = value->ne[0];
        memset(work.scores, 0, count * CELLS * sizeof(float));
        add_all_products(count, key->ne[0], work.keys, CELLS, queries, work.scores);
        for (int r = 0; r < count; r++) exponentials(all[r], cell, work.scores + r * CELLS, results + r * n, n);
        add_all_products(count, CELLS, work.values, n, work.scores, results);
    }

    // Turns scores into their exponentials, relative to the highest so far. If that rises, the results so far fall.
    void exponentials(Query &row, int64_t cell, float *scores, float *results, int64_t n) const {
        Floats most = floats(-INFINITY);
        for (int c = 0; c < CELLS; c += LANES) {
            Floats x = load_floats(scores + c);
            if (cap != 0) x = capped(x);
            if (row.mask) x = multiply_add(floats(row.slope), load_floats(row.mask + cell + c), x);
            store(scores + c, x);
            most = maximum(most, x);
        }
        const float highest = largest(most);
        if (highest > row.highest) {
            const Floats share = ggml_v_expf(floats(row.highest - highest));
            row.highest = highest;
            row.sums = multiply(row.sums, share);
            for (int64_t i = 0; i < n; i += LANES) store(results + i, multiply(load_floats(results + i), share));
        }
        const Floats base = floats(row.highest == -INFINITY ? 0 : row.highest);
        for (int c = 0; c < CELLS; c += LANES) {
            const Floats x = ggml_v_expf(subtract(load_floats(scores + c), base));
            row.sums = add(row.sums, x);
            store(scores + c, x);
        }
    }

    // cap * tanh(x / cap)
    Floats capped(Floats x) const {
        const Floats one = floats(1), e = ggml_v_expf(multiply(x, floats(2 / cap)));
        return multiply(floats(cap), subtract(one, divide(floats(2), add(e, one))));
    }

    void finish(int64_t r, int64_t group, int64_t stream, const Query &row, const float *results) const {
        float lanes[LANES], total = 0, share = 1;
        store(lanes, row.sums);
        for (float sum : lanes) total += sum;
        if (sinks) {
            const float sink = ((const float *)sinks->data)[head_of(r, group)];
            const float highest = sink > row.highest ? sink : row.highest;
            share = expf(row.highest - highest);
            total = total * share + expf(sink - highest);
        }
        const Floats factor = floats(total == 0 ? 0 : share / total);
        auto *const to =
            (float *)((char *)op->data + head_of(r, group) * op->nb[1] + token(r) * op->nb[2] + stream * op->nb[3]);
        for (int64_t i = 0; i < value->ne[0]; i += LANES) store(to + i, multiply(load_floats(results + i), factor));
    }

    ggml_tensor *const op;
    const ggml_tensor *const query, *const key, *const value, *const mask, *const sinks;
    const int64_t sharing;  // heads that share keys and values
    const int64_t rows;     // of those heads
    const int64_t groups;   // of such heads, in all streams
    int64_t size;           // rows of a job
    float scale, max_bias, cap;
};

void attend(const ggml_compute_params *params, ggml_tensor *op) {
    const Attention attention(params, op);
    share_jobs(params, attention.jobs(), [&](int64_t job) { attention.run(job); });
}

}  // namespace

extern "C" bool edgeinfer_attends(const ggml_tensor *op) {
    const ggml_tensor *query = op->src[0], *key = op->src[1], *value = op->src[2];
    const auto is_cache = [](const ggml_tensor *t) {
        return t->type == GGML_TYPE_F16 && t->nb[0] == sizeof(uint16_t) && t->ne[0] % LANES == 0;
    };
    return query->type == GGML_TYPE_F32 && query->nb[0] == sizeof(float) && is_cache(key) && is_cache(value) &&
           key->ne[1] % CELLS == 0 && key->ne[2] == value->ne[2] && key->ne[3] == query->ne[3] &&
           value->ne[3] == query->ne[3];
}

const Kernel edgeinfer_attention = {attend, [](const ggml_tensor *) { return (size_t)0; }};

#endif
