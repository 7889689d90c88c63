// Tiles of attention for tensor cores: rows of 16-bit elements in shared memory, fragments of them, and f32 weights as sums of 16-bit
// ones.
#pragma once

#include "attention.cuh"
#include "tensor.cuh"

// Eight elements, the unit of copies and of rows of matrices.
template <class T>
struct alignas(16) Chunk {
    T at[8];
};

// Rows of WIDTH elements. Chunk c of row r lies in place c ^ (r mod 8), so that the same chunk of eight rows is in all banks.
template <class T, int WIDTH>
struct Rows {
    Chunk<T>* chunks;

    DEVICE Chunk<T>* at(unsigned row, unsigned chunk) const { return chunks + row * (WIDTH / 8) + (chunk ^ (row & 7)); }

    // THREADS threads, a warp or the block, start to load `COUNT` rows from `first` on; those from `end` on, and columns from `columns`
    // on, are zeros.
    template <int COUNT, int THREADS = ATTENTION_THREADS, class Row>
    DEVICE void load(unsigned first, unsigned end, unsigned columns, bool whole, Row row_at) const {
        UNROLL for (unsigned i = threadIdx.x % THREADS; i < COUNT * WIDTH / 8; i += THREADS) {
            unsigned row = i / (WIDTH / 8), column = i % (WIDTH / 8) * 8;
            unsigned count = first + row < end && column < columns ? min(columns - column, 8u) : 0;
            const T* from = row_at(count > 0 ? first + row : first) + (count > 0 ? column : 0);
            Chunk<T>* to = at(row, column / 8);
            if (whole) {
                copy_start(to, from, count * sizeof(T));
            } else {
                Chunk<T> chunk = {};
                UNROLL for (unsigned k = 0; k < 8; k++) {
                    if (k < count) chunk.at[k] = from[k];
                }
                *to = chunk;
            }
        }
    }

    // Fragment `a` of 16 rows and 16 columns.
    DEVICE void own(unsigned (&a)[4], unsigned row, unsigned column) const {
        unsigned lane = threadIdx.x % WARP_SIZE;
        load_matrices(a, at(row + lane % 16, column / 8 + lane / 16));
    }

    // Fragments `b` of 16 rows as columns, and 16 columns as depth: of rows 0..8 in b[0..2], of rows 8..16 in b[2..4].
    DEVICE void others(unsigned (&b)[4], unsigned row, unsigned column) const {
        unsigned lane = threadIdx.x % WARP_SIZE;
        load_matrices(b, at(row + lane % 8 + lane / 16 * 8, column / 8 + lane / 8 % 2));
    }

    // Fragments `b` of 16 rows as depth, and 16 columns: of columns 0..8 in b[0..2], of columns 8..16 in b[2..4].
    DEVICE void values(unsigned (&b)[4], unsigned row, unsigned column) const {
        unsigned lane = threadIdx.x % WARP_SIZE;
        load_matrices_transposed(b, at(row + lane % 16, column / 8 + lane / 16));
    }

    // The low halves of fragments `b` of 8 rows as depth, and 32 columns.
    DEVICE void values_of_eight(unsigned (&b)[4], unsigned row, unsigned column) const {
        unsigned lane = threadIdx.x % WARP_SIZE;
        load_matrices_transposed(b, at(row + lane % 8, column / 8 + lane / 8));
    }
};

// Scores of 16 own rows with COUNT others: s[n] += own * other of others 8n..8n+8, over WIDTH columns. `own(a, column)` loads a
// fragment.
template <class T, int WIDTH, int COUNT, class Own>
DEVICE void scores(float (&s)[COUNT / 8][4], Own own, const Rows<T, WIDTH>& others, unsigned first) {
    UNROLL for (unsigned column = 0; column < WIDTH; column += 16) {
        unsigned a[4];
        own(a, column);
        UNROLL for (unsigned n = 0; n + 1 < COUNT / 8; n += 2) {
            unsigned b[4];
            others.others(b, first + 8 * n, column);
            unsigned low[2] = {b[0], b[1]}, high[2] = {b[2], b[3]};
            multiply_add<T>(s[n], a, low);
            multiply_add<T>(s[n + 1], a, high);
        }
    }
    if (COUNT == 8) {
        UNROLL for (unsigned column = 0; column < WIDTH; column += 32) {
            unsigned a[4], c[4], b[4];
            own(a, column);
            own(c, column + 16);
            unsigned lane = threadIdx.x % WARP_SIZE;
            load_matrices(b, others.at(first + lane % 8, column / 8 + lane / 8));
            unsigned low[2] = {b[0], b[1]}, high[2] = {b[2], b[3]};
            multiply_add<T>(s[0], a, low);
            multiply_add<T>(s[0], c, high);
        }
    }
}

// Two f32 values as one 16-bit value each, and what is left of them.
template <class T>
DEVICE unsigned take_part(float& low, float& high) {
    T a = narrow<T>(low), b = narrow<T>(high);
    low -= widen(a);
    high -= widen(b);
    return a.bits | static_cast<unsigned>(b.bits) << 16;
}

// sums += weights * values: of 16 own rows by COUNT others, and COLUMNS columns of the others' rows from `column` on. Weights are
// taken as sums of PARTS 16-bit values, which consumes them.
template <int PARTS, class T, int WIDTH, int COUNT, int COLUMNS>
DEVICE void weigh(float (&sums)[COLUMNS / 8][4], float (&w)[COUNT / 8][4], const Rows<T, WIDTH>& rows, unsigned first, unsigned column) {
    UNROLL for (unsigned n = 0; n < COUNT / 8; n += 2) {
        unsigned a[PARTS][4];
        UNROLL for (int part = 0; part < PARTS; part++) {
            a[part][0] = take_part<T>(w[n][0], w[n][1]);
            a[part][1] = take_part<T>(w[n][2], w[n][3]);
            a[part][2] = COUNT == 8 ? 0 : take_part<T>(w[(n + 1) % (COUNT / 8)][0], w[(n + 1) % (COUNT / 8)][1]);
            a[part][3] = COUNT == 8 ? 0 : take_part<T>(w[(n + 1) % (COUNT / 8)][2], w[(n + 1) % (COUNT / 8)][3]);
        }
        UNROLL for (unsigned c = 0; c < COLUMNS / 8; c += COUNT == 8 ? 4 : 2) {
            unsigned b[4];
            if (COUNT == 8) {
                rows.values_of_eight(b, first, column + 8 * c);
                UNROLL for (int part = PARTS - 1; part >= 0; part--) {
                    UNROLL for (unsigned k = 0; k < 4; k++) {
                        unsigned half[2] = {b[k], 0};
                        multiply_add<T>(sums[c + k], a[part], half);
                    }
                }
            } else {
                rows.values(b, first + 8 * n, column + 8 * c);
                unsigned low[2] = {b[0], b[1]}, high[2] = {b[2], b[3]};
                UNROLL for (int part = PARTS - 1; part >= 0; part--) {
                    multiply_add<T>(sums[c], a[part], low);
                    multiply_add<T>(sums[c + 1], a[part], high);
                }
            }
        }
    }
}

// Stores 16 rows of a warp, each row times its factor, COLUMNS columns of it, of which `columns` there are: through shared memory of
// this warp, in words of 16 bytes, where rows are aligned. `row(i)` is the start of row i, or null.
template <class T, int COLUMNS, class Row>
DEVICE void store_rows(const Rows<T, COLUMNS>& stage, const float (&sums)[COLUMNS / 8][4], const float (&factor)[2], unsigned columns, bool whole, Row row) {
    unsigned lane = threadIdx.x % WARP_SIZE, g = lane / 4, q = lane % 4;
    UNROLL for (unsigned half = 0; half < 2; half++) {
        UNROLL for (unsigned n = 0; n < COLUMNS / 8; n++) {
            T* to = stage.at(g + 8 * half, n)->at + 2 * q;
            to[0] = narrow<T>(sums[n][2 * half] * factor[half]);
            to[1] = narrow<T>(sums[n][2 * half + 1] * factor[half]);
        }
    }
    __syncwarp();
    for (unsigned i = lane; i < 16 * COLUMNS / 8; i += WARP_SIZE) {
        unsigned column = i % (COLUMNS / 8) * 8;
        T* to = row(i / (COLUMNS / 8));
        if (!to || column >= columns) continue;
        Chunk<T> chunk = *stage.at(i / (COLUMNS / 8), column / 8);
        if (whole && column + 8 <= columns) {
            *reinterpret_cast<Chunk<T>*>(to + column) = chunk;
        } else {
            UNROLL for (unsigned k = 0; k < 8; k++) {
                if (column + k < columns) to[column + k] = chunk.at[k];
            }
        }
    }
}
