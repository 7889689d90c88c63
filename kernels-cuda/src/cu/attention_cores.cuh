// Products of a tile of attention in f32 on CUDA cores. A block of 128 threads has 64 rows of its own (queries, or keys) and meets 64
// others at a time (keys, or queries). Thread (y, x) of 16 times 8 holds rows 4y..4y+4 of its own against others `other_of(x, 0..8)`,
// and of sums over the others as many columns.
#pragma once

#include "attention.cuh"
#include "team.cuh"

constexpr unsigned CORES_ROWS = 64;
constexpr unsigned CORES_DEPTH = 16;

struct alignas(16) Cores {
    // Columns of 64 rows, transposed.
    float own[CORES_DEPTH][CORES_ROWS + 4];
    // The same of others; or 64 columns of 16 others.
    float other[CORES_DEPTH][CORES_ROWS + 4];
    // [other][own]
    float weights[CORES_ROWS][CORES_ROWS + 4];
};

DEVICE unsigned cores_y() { return threadIdx.x / 8; }
DEVICE unsigned cores_x() { return threadIdx.x % 8; }
// Four neighbours each, so that the eight threads of a row read all banks.
DEVICE unsigned other_of(unsigned x, unsigned j) { return 4 * x + j % 4 + j / 4 * 32; }

// Of the own rows with the others: s[i][j] += sum over columns of own[4y + i] * other[other_of(x, j)]. A thread brings the start of own
// row and of other threadIdx.x % 64, null where there is none.
template <class T>
DEVICE void dots(Cores& stage, float (&s)[4][8], const T* own, const T* other, unsigned columns) {
    unsigned row = threadIdx.x % CORES_ROWS;
    for (unsigned start = 0; start < columns; start += CORES_DEPTH) {
        __syncthreads();
        UNROLL for (unsigned piece = 0; piece < 2; piece++) {
            unsigned column = (threadIdx.x / CORES_ROWS + 2 * piece) * 4;
            unsigned count = start + column < columns ? min(columns - start - column, 4u) : 0;
            float values[4] = {}, others[4] = {};
            if (own && count > 0) load_some(own + start + column, count, values);
            if (other && count > 0) load_some(other + start + column, count, others);
            UNROLL for (int i = 0; i < 4; i++) {
                stage.own[column + i][row] = values[i];
                stage.other[column + i][row] = others[i];
            }
        }
        __syncthreads();
        UNROLL for (unsigned k = 0; k < CORES_DEPTH; k++) {
            float a[4], b[4], c[4];
            load_quad(&stage.own[k][4 * cores_y()], a);
            load_quad(&stage.other[k][4 * cores_x()], b);
            load_quad(&stage.other[k][4 * cores_x() + 32], c);
            UNROLL for (int i = 0; i < 4; i++) {
                UNROLL for (int j = 0; j < 4; j++) {
                    s[i][j] = fmaf(a[i], b[j], s[i][j]);
                    s[i][j + 4] = fmaf(a[i], c[j], s[i][j + 4]);
                }
            }
        }
    }
}

// Keeps the weights of a thread for `mix`.
DEVICE void keep_weights(Cores& stage, const float (&w)[4][8]) {
    UNROLL for (unsigned j = 0; j < 8; j++) {
        float column[4] = {w[0][j], w[1][j], w[2][j], w[3][j]};
        store_quad(&stage.weights[other_of(cores_x(), j)][4 * cores_y()], column);
    }
}

// Which of the others each own row of a thread sees: low <= other < high.
struct Seen {
    unsigned low[4], high[4];
    DEVICE bool operator()(unsigned i, unsigned other) const { return low[i] <= other && other < high[i]; }
};

// Adds the sums over `count` others of weight * row, of the `columns` columns from the start on. What an own row does not see is not
// multiplied: it may not be finite.
template <class T, class Row>
DEVICE void mix(Cores& stage, float (&sums)[4][8], const Seen& seen, unsigned count, unsigned columns, Row row) {
    bool whole = true;
    UNROLL for (unsigned i = 0; i < 4; i++) whole = whole && seen.low[i] == 0 && seen.high[i] >= count;
    for (unsigned start = 0; start < count; start += CORES_DEPTH) {
        __syncthreads();
        UNROLL for (unsigned piece = 0; piece < 2; piece++) {
            unsigned other = threadIdx.x / 16 + 8 * piece, column = threadIdx.x % 16 * 4;
            float values[4] = {};
            if (start + other < count && column < columns) load_some<T>(row(start + other) + column, min(columns - column, 4u), values);
            store_quad(&stage.other[other][column], values);
        }
        __syncthreads();
        UNROLL for (unsigned k = 0; k < CORES_DEPTH; k++) {
            if (start + k >= count) break;
            float w[4], a[4], b[4];
            load_quad(&stage.weights[start + k][4 * cores_y()], w);
            load_quad(&stage.other[k][4 * cores_x()], a);
            load_quad(&stage.other[k][4 * cores_x() + 32], b);
            UNROLL for (unsigned i = 0; i < 4; i++) {
                if (!whole && !seen(i, start + k)) continue;
                UNROLL for (unsigned j = 0; j < 4; j++) {
                    sums[i][j] = fmaf(w[i], a[j], sums[i][j]);
                    sums[i][j + 4] = fmaf(w[i], b[j], sums[i][j + 4]);
                }
            }
        }
    }
}
