// Products of matrices of 16 or 8 bits on tensor cores: out[i, j] from the sums over l of left[i, l] · right[j, l].
//
// A block makes a tile of the result. 64 bytes of every row of both factors lie in shared memory at a time, three stages of them,
// filled by cp.async while the tensor cores work on an earlier one; ldmatrix feeds them, and turns 16-bit factors whose neighbours
// lie across the sum. The order in which the terms of an output are added follows from K alone: whatever the tile, bits are the same.
#pragma once

#include "tensor.cuh"

// Ways to stage a factor: elements anywhere; rows along the sum, or across it, without gaps and aligned.
constexpr unsigned SCATTERED = 0, ALONG = 1, ACROSS = 2;
// Ways to store: one by one; two neighbours of a row or of a column of the result at once.
constexpr unsigned ONE_BY_ONE = 0, ROW_PAIRS = 1, COLUMN_PAIRS = 2;

constexpr unsigned ROW_BYTES = 64, STAGES = 3;

// Where chunk 0..4 of 16 bytes of a row lies: eight rows have the same chunk, and four rows the same half, in different banks.
DEVICE unsigned chunk_place(unsigned row, unsigned chunk) {
    return row * ROW_BYTES + (chunk ^ ((row & 2) | (row >> 2 & 1))) * 16;
}

// Where columns 8c..8c+8 of a line of `columns` 16-bit elements lie: eight lines have the same ones in different banks.
DEVICE unsigned turned_place(unsigned line, unsigned c, unsigned columns) { return line * columns * 2 + (c ^ (line & 7)) * 16; }

template <class T>
struct alignas(8 * sizeof(T)) Eight {
    T at[8];
};

// One factor of a tile: `rows` of them within the matrix, of K elements.
struct Factor {
    Address first;
    Stride row, step;
    unsigned rows, k, way;
};

// Four words of four bytes, turned.
DEVICE void turn_words(const unsigned (&lines)[4], unsigned (&rows)[4]) {
    unsigned low01 = __byte_perm(lines[0], lines[1], 0x5140), low23 = __byte_perm(lines[2], lines[3], 0x5140);
    unsigned high01 = __byte_perm(lines[0], lines[1], 0x7362), high23 = __byte_perm(lines[2], lines[3], 0x7362);
    rows[0] = __byte_perm(low01, low23, 0x5410);
    rows[1] = __byte_perm(low01, low23, 0x7632);
    rows[2] = __byte_perm(high01, high23, 0x5410);
    rows[3] = __byte_perm(high01, high23, 0x7632);
}

// Bytes whose neighbours lie across the sum: squares of 4 × 4 are turned in registers.
template <int SIZE, int THREADS>
DEVICE void stage_turned_bytes(unsigned char* to, const Factor& f, unsigned begin) {
    const unsigned char* from = reinterpret_cast<const unsigned char*>(f.first);
    ROLLED for (unsigned i = 0; i < 4 * SIZE / THREADS; i++) {
        unsigned c = i * THREADS + threadIdx.x, row = c / 4 % 8 * 4 + c / 32 % (SIZE / 32) * 32, l = c % 4 * 4 + c / SIZE * 16;
        unsigned lines[4];
        UNROLL for (unsigned j = 0; j < 4; j++) {
            lines[j] = 0;
            if (begin + l + j >= f.k) continue;
            const unsigned char* at = from + (begin + l + j) * f.step + row;
            if (row + 4 <= f.rows) {
                lines[j] = *reinterpret_cast<const unsigned*>(at);
            } else {
                for (unsigned b = 0; row + b < f.rows; b++) lines[j] |= static_cast<unsigned>(at[b]) << 8 * b;
            }
        }
        unsigned turned[4];
        turn_words(lines, turned);
        UNROLL for (unsigned j = 0; j < 4; j++) {
            *reinterpret_cast<unsigned*>(to + chunk_place(row + j, l / 16) + l % 16) = turned[j];
        }
    }
}

// Stages elements of SIZE rows from term `begin` on, zeros beyond the factor.
template <class T, int SIZE, int THREADS, bool TURNED>
DEVICE void stage(unsigned char* to, const Factor& f, unsigned begin) {
    const T* from = reinterpret_cast<const T*>(f.first);
    constexpr unsigned COUNT = 16 / sizeof(T), DEPTH = ROW_BYTES / sizeof(T);
    if (TURNED && sizeof(T) == 1) return stage_turned_bytes<SIZE, THREADS>(to, f, begin);
    if (TURNED) {
        constexpr unsigned CHUNKS = SIZE / 8;
        ROLLED for (unsigned i = 0; i < 32 * CHUNKS / THREADS; i++) {
            unsigned c = i * THREADS + threadIdx.x, line = c / CHUNKS, column = c % CHUNKS * 8;
            bool inside = begin + line < f.k && column < f.rows;
            unsigned valid = inside ? 2 * min(8u, f.rows - column) : 0;
            const T* at = inside ? from + (begin + line) * f.step + column : from;
            copy_start(to + turned_place(line, column / 8, SIZE), at, valid);
        }
        return;
    }
    if (f.way == ALONG) {
        UNROLL for (unsigned i = 0; i < 4 * SIZE / THREADS; i++) {
            unsigned c = i * THREADS + threadIdx.x, row = c / 4, l = begin + c % 4 * COUNT;
            bool inside = row < f.rows && l < f.k;
            unsigned valid = inside ? min(16u, static_cast<unsigned>(sizeof(T)) * (f.k - l)) : 0;
            copy_start(to + chunk_place(row, c % 4), inside ? from + row * f.row + l : from, valid);
        }
        return;
    }
    constexpr unsigned PIECES = DEPTH / 8;
    ROLLED for (unsigned c = threadIdx.x; c < PIECES * SIZE; c += THREADS) {
        // Neighbouring threads take neighbouring elements.
        unsigned row = f.row == 1 ? c % SIZE : c / PIECES, at = 8 * (f.row == 1 ? c / SIZE : c % PIECES);
        Eight<T> elements = {};
        UNROLL for (unsigned j = 0; j < 8; j++) {
            if (row < f.rows && begin + at + j < f.k) elements.at[j] = from[row * f.row + (begin + at + j) * f.step];
        }
        *reinterpret_cast<Eight<T>*>(to + chunk_place(row, at / COUNT) + at % COUNT * sizeof(T)) = elements;
    }
}

// What a lane holds of 16 rows of a stage, or of 8, for each of its two steps.
template <int SIZE, bool TURNED>
DEVICE void read_sixteen(unsigned (&to)[2][4], const unsigned char* from, unsigned row) {
    unsigned r = threadIdx.x % 8, matrix = threadIdx.x / 8 % 4;
    UNROLL for (unsigned step = 0; step < 2; step++) {
        if (TURNED) {
            load_matrices_transposed(to[step], from + turned_place(16 * step + matrix / 2 * 8 + r, row / 8 + matrix % 2, SIZE));
        } else {
            load_matrices(to[step], from + chunk_place(row + matrix % 2 * 8 + r, 2 * step + matrix / 2));
        }
    }
}
template <int SIZE, bool TURNED>
DEVICE void read_eight(unsigned (&to)[2][2], const unsigned char* from, unsigned row) {
    unsigned r = threadIdx.x % 8, matrix = threadIdx.x / 8 % 4;
    unsigned words[4];
    if (TURNED) {
        load_matrices_transposed(words, from + turned_place(8 * matrix + r, row / 8, SIZE));
    } else {
        load_matrices(words, from + chunk_place(row + r, matrix));
    }
    UNROLL for (unsigned i = 0; i < 4; i++) to[i / 2][i % 2] = words[i];
}

template <class T>
struct Sums {
    using Sum = float;
    static DEVICE void add(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { multiply_add<T>(d, a, b); }
};
template <>
struct Sums<signed char> {
    using Sum = int;
    static DEVICE void add(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { multiply_add_i8(d, a, b); }
};

// The tile of a block, and what it is made of: tiles go in strips of eight rows of them, so that blocks that run together share
// factors in the cache.
struct Place {
    unsigned row, column;
    Stride left, right, out;
};

template <int SIZE>
DEVICE Place place_of_block(const ProductParams& p) {
    constexpr unsigned STRIP = 8;
    unsigned down = (p.rows + SIZE - 1) / SIZE, over = (p.columns + SIZE - 1) / SIZE;
    unsigned batch = blockIdx.x / (down * over), at = blockIdx.x % (down * over);
    unsigned strip = at / (STRIP * over) * STRIP, height = min(STRIP, down - strip);
    at %= STRIP * over;
    Place place = {(strip + at % height) * SIZE, at / height * SIZE, 0, 0, 0};
    UNROLL for (int axis = 3; axis >= 0; axis--) {
        unsigned i = batch % p.lead[axis];
        batch /= p.lead[axis];
        place.left += i * p.left_lead[axis];
        place.right += i * p.right_lead[axis];
        place.out += i * p.out_lead[axis];
    }
    return place;
}

template <class T>
struct alignas(2 * sizeof(T)) Pair {
    T at[2];
};

// Stores what a lane holds of 16 × 8 results from (row, column) on, as `finish(sum, former content, row)`. That is written once for
// all ways to store, as it may be long.
template <class Out, class Sum, class Finish>
DEVICE void store_results(const ProductParams& p, Stride first, unsigned row, unsigned column, const Sum (&d)[4], Finish finish) {
    unsigned lane = threadIdx.x % WARP_SIZE, g = lane / 4, q = lane % 4;
    bool down = p.out_way == COLUMN_PAIRS;
    UNROLL for (unsigned half = 0; half < 2; half++) {
        unsigned i = row + 8 * half + g, j = column + 2 * q;
        Sum sums[2] = {d[2 * half], d[2 * half + 1]};
        if (down) {
            // Lanes of neighbouring rows exchange, so that each has two results of one column.
            Sum other = __shfl_xor_sync(ALL_LANES, g % 2 ? sums[0] : sums[1], 4u);
            (g % 2 ? sums[0] : sums[1]) = other;
            i -= g % 2;
            j += g % 2;
        }
        if (i >= p.rows || j >= p.columns) continue;
        Out* to = reinterpret_cast<Out*>(p.out) + first + i * p.out_row + j * p.out_column;
        Out* next = to + (down ? p.out_row : p.out_column);
        bool both = down ? i + 1 < p.rows : j + 1 < p.columns, together = both && p.out_way != ONE_BY_ONE;
        Pair<Out> pair = {};
        if (finish.reads && together) {
            pair = *reinterpret_cast<Pair<Out>*>(to);
        } else if (finish.reads) {
            pair = {*to, both ? *next : Out{}};
        }
        pair.at[0] = finish(sums[0], pair.at[0], i);
        if (both) pair.at[1] = finish(sums[1], pair.at[1], i + down);
        if (together) {
            *reinterpret_cast<Pair<Out>*>(to) = pair;
        } else {
            *to = pair.at[0];
            if (both) *next = pair.at[1];
        }
    }
}

// A tile of DOWN × OVER warps, each of HIGH × 16 rows and WIDE × 8 columns. With PARTS, sums of parts of K are made on their own and
// added in their order.
template <class T, int HIGH, int WIDE, int DOWN, int OVER, bool LEFT_TURNED, bool RIGHT_TURNED, bool PARTS, class Store>
DEVICE void product(const ProductParams& p, Store store) {
    constexpr int SIZE = HIGH * 16 * DOWN, THREADS = DOWN * OVER * WARP_SIZE;
    static_assert(SIZE == WIDE * 8 * OVER, "tiles are square");
    constexpr unsigned DEPTH = ROW_BYTES / sizeof(T);
    using Sum = typename Sums<T>::Sum;
    struct Shared {
        alignas(16) unsigned char left[STAGES][SIZE * ROW_BYTES];
        alignas(16) unsigned char right[STAGES][SIZE * ROW_BYTES];
    };
    SHARED(Shared, shared);
    Place place = place_of_block<SIZE>(p);
    auto factor = [&](Address first, Stride at, unsigned begin, unsigned end, Stride row, Stride step, unsigned way) {
        return Factor{first + (at + begin * row) * sizeof(T), row, step, min(end - begin, static_cast<unsigned>(SIZE)), p.k, way};
    };
    Factor left = factor(p.left, place.left, place.row, p.rows, p.left_row, p.left_step, p.left_way);
    Factor right = factor(p.right, place.right, place.column, p.columns, p.right_row, p.right_step, p.right_way);
    auto start = [&](unsigned step) {
        unsigned begin = step * DEPTH;
        if (begin < p.k) {
            stage<T, SIZE, THREADS, LEFT_TURNED>(shared.left[step % STAGES], left, begin);
            stage<T, SIZE, THREADS, RIGHT_TURNED>(shared.right[step % STAGES], right, begin);
        }
        copy_commit();
    };
    unsigned warp = threadIdx.x / WARP_SIZE, row = warp / OVER * HIGH * 16, column = warp % OVER * WIDE * 8;
    Sum sum[HIGH][WIDE][4] = {}, total[PARTS ? HIGH : 1][PARTS ? WIDE : 1][4] = {};
    start(0);
    start(1);
    for (unsigned step = 0; step * DEPTH < p.k; step++) {
        copy_wait<STAGES - 2>();
        // The stage has arrived for all, and all are done with the one that is filled next.
        __syncthreads();
        start(step + STAGES - 1);
        unsigned b[WIDE][2][2];
        UNROLL for (int j = 0; j < WIDE; j++) read_eight<SIZE, RIGHT_TURNED && sizeof(T) == 2>(b[j], shared.right[step % STAGES], column + 8 * j);
        UNROLL for (int i = 0; i < HIGH; i++) {
            unsigned a[2][4];
            read_sixteen<SIZE, LEFT_TURNED && sizeof(T) == 2>(a, shared.left[step % STAGES], row + 16 * i);
            UNROLL for (int half = 0; half < 2; half++) {
                UNROLL for (int j = 0; j < WIDE; j++) Sums<T>::add(sum[i][j], a[half], b[j][half]);
            }
        }
        if (PARTS && ((step + 1) * DEPTH % p.part == 0 || (step + 1) * DEPTH >= p.k)) {
            UNROLL for (int i = 0; i < HIGH * WIDE * 4; i++) {
                total[i / (WIDE * 4)][i / 4 % WIDE][i % 4] += sum[i / (WIDE * 4)][i / 4 % WIDE][i % 4];
                sum[i / (WIDE * 4)][i / 4 % WIDE][i % 4] = 0;
            }
        }
    }
    copy_wait<0>();
    UNROLL for (int i = 0; i < HIGH; i++) {
        UNROLL for (int j = 0; j < WIDE; j++) {
            store(place.out, place.row + row + 16 * i, place.column + column + 8 * j, PARTS ? total[i][j] : sum[i][j]);
        }
    }
}
