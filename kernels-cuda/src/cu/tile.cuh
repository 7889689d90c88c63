// Products in f32 on CUDA cores: out[i, j] from the sums over l of left[i, l] · right[j, l], by fused multiply-adds in rising order.
//
// A block of 256 threads makes a tile of SIZE × SIZE, a thread EACH × EACH of it as four quarters, so that its 128-bit reads of shared
// memory are broadcasts or without conflicts. DEPTH terms lie in shared memory, as [term][row]; the next ones are on their way from
// memory in registers meanwhile.
#pragma once

#include "product.cuh"

constexpr unsigned TILE_THREADS = 256;

// Where a thread's four elements of a factor are, at the first term.
struct FourPlace {
    unsigned row, l;
};

// Reads fours of a factor in memory: along the sum, or across it. Zeros outside.
template <class T, int DEPTH>
struct Fours {
    const T* at;
    // Rows of the factor from the thread's first on, 0 if that is beyond the last.
    unsigned rows;
    unsigned l;

    DEVICE Fours(const Factor& f, FourPlace own)
        : at(reinterpret_cast<const T*>(f.first) + own.row * f.row + own.l * f.step), rows(own.row < f.rows ? f.rows - own.row : 0), l(own.l) {}

    DEVICE void next(const Factor& f, bool across, float (&to)[4]) {
        unsigned count = l < f.k ? across ? rows : f.k - l : 0;
        if (rows == 0) count = 0;
        if (f.way != SCATTERED && count >= 4) {
            load_quad(at, to);
        } else {
            Stride step = across ? f.row : f.step;
            UNROLL for (unsigned i = 0; i < 4; i++) to[i] = i < count ? widen(at[i * step]) : 0.0f;
        }
        l += DEPTH;
        at += DEPTH * f.step;
    }
};

// Whether neighbouring threads take neighbouring rows of a factor.
DEVICE bool is_across(const Factor& f) { return f.way == ACROSS || (f.way == SCATTERED && f.row == 1); }

// Where a thread's four lie in a stage.
template <int SIZE, int DEPTH>
DEVICE FourPlace own_four(bool across) {
    unsigned t = threadIdx.x;
    if (across) return {t % (SIZE / 4) * 4, t / (SIZE / 4)};
    return {t / (DEPTH / 4), t % (DEPTH / 4) * 4};
}

// Four results of a row, together where the launcher has found them aligned.
template <class Out, class Finish>
DEVICE void store_four(const ProductParams& p, Out* out, unsigned row, unsigned column, const float (&sums)[4], Finish finish) {
    if (row >= p.rows) return;
    Out* to = out + row * p.out_row + column * p.out_column;
    if (p.out_way == ROW_PAIRS && column + 4 <= p.columns) {
        Quad<Out> quad = {};
        if (finish.reads) quad = *reinterpret_cast<Quad<Out>*>(to);
        UNROLL for (unsigned i = 0; i < 4; i++) quad.at[i] = finish(sums[i], quad.at[i], column + i);
        *reinterpret_cast<Quad<Out>*>(to) = quad;
        return;
    }
    UNROLL for (unsigned i = 0; i < 4; i++) {
        if (column + i >= p.columns) continue;
        Out before = {};
        if (finish.reads) before = to[i * p.out_column];
        to[i * p.out_column] = finish(sums[i], before, column + i);
    }
}

// `left(values)` and `right(values)` give a thread's fours of the factors of the block, one stage after the other.
template <int SIZE, int EACH, int DEPTH, bool PARTS, class Left, class Right, class Store>
DEVICE void tile(const ProductParams& p, bool left_across, bool right_across, Left left, Right right, Store store) {
    static_assert(SIZE * DEPTH == 4 * TILE_THREADS && SIZE / EACH * (SIZE / EACH) == TILE_THREADS, "a thread stages four elements");
    constexpr int WIDTH = SIZE + 4, QUARTER = SIZE / EACH * 4;
    struct Shared {
        alignas(16) float left[2][DEPTH][WIDTH];
        alignas(16) float right[2][DEPTH][WIDTH];
    };
    SHARED(Shared, shared);
    auto keep = [](float (&to)[DEPTH][WIDTH], bool across, const float (&values)[4]) {
        FourPlace own = own_four<SIZE, DEPTH>(across);
        if (across) return store_quad(&to[own.l][own.row], values);
        UNROLL for (unsigned i = 0; i < 4; i++) to[own.l + i][own.row] = values[i];
    };
    // A warp takes 8 columns of threads by 4 rows of them.
    constexpr unsigned OVER = SIZE / EACH;
    unsigned lane = threadIdx.x % WARP_SIZE, warp = threadIdx.x / WARP_SIZE;
    unsigned row = (warp / (OVER / 8) * 4 + lane / 8) * 4, column = (warp % (OVER / 8) * 8 + lane % 8) * 4;
    float sum[EACH][EACH] = {}, total[PARTS ? EACH : 1][PARTS ? EACH : 1] = {};
    float next_left[4], next_right[4];
    left(next_left);
    right(next_right);
    keep(shared.left[0], left_across, next_left);
    keep(shared.right[0], right_across, next_right);
    __syncthreads();
    for (unsigned begin = 0, now = 0; begin < p.k; begin += DEPTH, now ^= 1) {
        bool more = begin + DEPTH < p.k;
        if (more) {
            left(next_left);
            right(next_right);
        }
        UNROLL for (int l = 0; l < DEPTH; l++) {
            float a[EACH], b[EACH];
            UNROLL for (int quarter = 0; quarter < EACH / 4; quarter++) {
                float four[4];
                load_quad(&shared.left[now][l][row + quarter * QUARTER], four);
                UNROLL for (int i = 0; i < 4; i++) a[4 * quarter + i] = four[i];
                load_quad(&shared.right[now][l][column + quarter * QUARTER], four);
                UNROLL for (int i = 0; i < 4; i++) b[4 * quarter + i] = four[i];
            }
            UNROLL for (int i = 0; i < EACH; i++) {
                UNROLL for (int j = 0; j < EACH; j++) sum[i][j] = fmaf(a[i], b[j], sum[i][j]);
            }
        }
        if (more) {
            keep(shared.left[now ^ 1], left_across, next_left);
            keep(shared.right[now ^ 1], right_across, next_right);
            __syncthreads();
        }
        if (PARTS && ((begin + DEPTH) % p.part == 0 || !more)) {
            UNROLL for (int i = 0; i < EACH * EACH; i++) {
                total[i / EACH][i % EACH] += sum[i / EACH][i % EACH];
                sum[i / EACH][i % EACH] = 0.0f;
            }
        }
    }
    UNROLL for (int i = 0; i < EACH; i++) {
        UNROLL for (int j = 0; j < EACH; j += 4) {
            float four[4];
            UNROLL for (int c = 0; c < 4; c++) four[c] = PARTS ? total[i][j + c] : sum[i][j + c];
            store(row + i / 4 * QUARTER + i % 4, column + j / 4 * QUARTER, four);
        }
    }
}
