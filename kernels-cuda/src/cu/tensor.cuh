// Products of small matrices by a warp, and what feeds them: the instructions of sm_80, and the same by the documented layouts of
// their operands where the CPU runs them (PTX ISA, "Matrix Fragments for mma.m16n8k16", "…m16n8k32", "ldmatrix", "cp.async").
//
// Lane l is g = l / 4, q = l % 4. With 16-bit elements a lane holds
//   a[16, 16]: {(g, 2q..2q+2), (g + 8, 2q..), (g, 2q + 8..), (g + 8, 2q + 8..)}   b[16, 8]: {(2q..2q+2, g), (2q + 8.., g)}
// with 8-bit ones
//   a[16, 32]: {(g, 4q..4q+4), (g + 8, 4q..), (g, 4q + 16..), (g + 8, 4q + 16..)}  b[32, 8]: {(4q..4q+4, g), (4q + 16.., g)}
// and of the result, d[16, 8]: {(g, 2q), (g, 2q + 1), (g + 8, 2q), (g + 8, 2q + 1)}.
//
// Of a sparse a[16, 32], of which every row has two of four neighbours, a lane holds the two, in their order, as of a dense [16, 16];
//   b[32, 8]: {(2q..2q+2, g), (2q + 8.., g), (2q + 16.., g), (2q + 24.., g)}
// and two lanes of the four with one g hold where they are: lane 4g + 2·selector + p of fours 4p..4p+4, of row g in the low half of a
// word and of row g + 8 in the high one, four bits each: the first place, and the second, which is greater, times four
// ("Matrix Fragments for sparse mma.m16n8k32 with .f16 and .bf16 types").
#pragma once

#include "element.cuh"

#ifdef __CUDACC_RTC__

DEVICE unsigned shared_address(const void* at) { return static_cast<unsigned>(__cvta_generic_to_shared(at)); }

// Four 8 × 8 matrices of 16-bit elements from shared memory. Lane l brings the address of row l % 8 of matrix l / 8, aligned to 16
// bytes, and gets of each matrix what it holds of an operand `a` or of a transposed `b`: (g, 2q..2q+2).
DEVICE void load_matrices(unsigned (&to)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(shared_address(row)) : "memory");
}

// As `load_matrices`, each matrix transposed: (2q..2q+2, g).
DEVICE void load_matrices_transposed(unsigned (&to)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(shared_address(row)) : "memory");
}

// d += a · b.
template <class T>
DEVICE void multiply_add(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]);
template <>
DEVICE void multiply_add<Bf16>(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
template <>
DEVICE void multiply_add<F16>(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
DEVICE void multiply_add_i8(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// d += a · b for a sparse `a`, which takes of a column of `b` what it has places for and leaves the rest unread. SELECTOR tells which
// two lanes of four hold `places`.
template <class T, int SELECTOR>
DEVICE void multiply_add_sparse(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[4], unsigned places);
#define SPARSE_PRODUCT(T, name)                                                                                                        \
    template <>                                                                                                                        \
    DEVICE void multiply_add_sparse<T, 0>(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[4], unsigned places) {            \
        asm volatile("mma.sp::ordered_metadata.sync.aligned.m16n8k32.row.col.f32." name "." name ".f32 "                               \
                     "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9, %10, %11}, {%0, %1, %2, %3}, %12, 0x0;"                             \
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                                                  \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(b[2]), "r"(b[3]), "r"(places));           \
    }
SPARSE_PRODUCT(Bf16, "bf16")
SPARSE_PRODUCT(F16, "f16")

// Starts to copy 16 bytes, both ends aligned to 16, of which the first `valid` come from memory and the rest are zeros.
DEVICE void copy_start(void* to, const void* from, unsigned valid) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" : : "r"(shared_address(to)), "l"(from), "r"(valid) : "memory");
}
// Closes a group of the copies this thread has started.
DEVICE void copy_commit() { asm volatile("cp.async.commit_group;" : : : "memory"); }
// Waits until no more than the `PENDING` latest groups of this thread are under way. Other threads see the copies after a barrier.
template <int PENDING>
DEVICE void copy_wait() {
    asm volatile("cp.async.wait_group %0;" : : "n"(PENDING) : "memory");
}

#else

namespace emulation {

// Row (l / 8, l % 8) of the four matrices that the lanes point at.
struct Rows {
    const unsigned char* of[WARP];
    explicit Rows(const void* mine) {
        if (reinterpret_cast<uintptr_t>(mine) % 16) fault("a row of a matrix is not aligned to 16 bytes");
        auto& all = exchange(static_cast<const unsigned char*>(mine));
        for (unsigned lane = 0; lane < WARP; lane++) of[lane] = all[lane][0];
        wait_warp();
    }
    unsigned short at(unsigned matrix, unsigned row, unsigned column) const {
        unsigned short bits;
        memcpy(&bits, of[8 * matrix + row] + 2 * column, 2);
        return bits;
    }
};

// What a warp multiplies.
struct Fragments {
    unsigned a[4], b[2], unused[2];
};

template <class Sum, class Get>
void multiply(Sum (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], unsigned depth, Get get) {
    Fragments mine{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}, {}};
    auto& all = exchange(mine);
    unsigned g = lane() / 4, q = lane() % 4, per_word = depth / 8;
    for (unsigned i = 0; i < 4; i++) {
        unsigned row = g + i / 2 * 8, column = 2 * q + i % 2;
        for (unsigned k = 0; k < depth; k++) {
            unsigned half = k / (depth / 2), word = k % (depth / 2) / per_word, place = k % per_word;
            unsigned left = all[row % 8 * 4 + word][0].a[row / 8 + 2 * half];
            unsigned right = all[column * 4 + word][0].b[half];
            d[i] += get(left, place) * get(right, place);
        }
    }
    wait_warp();
}

// What a warp multiplies where `a` is sparse.
struct SparseFragments {
    unsigned a[4], b[4], places, unused[7];
};

template <class T>
void multiply_sparse(float (&d)[4], const SparseFragments& mine, unsigned selector) {
    auto& all = exchange(mine);
    auto half = [](unsigned word, unsigned place) { return widen(T{static_cast<unsigned short>(word >> 16 * place)}); };
    unsigned g = lane() / 4, q = lane() % 4;
    for (unsigned i = 0; i < 4; i++) {
        unsigned row = g + i / 2 * 8, column = 2 * q + i % 2;
        for (unsigned four = 0; four < 8; four++) {
            unsigned pair = all[row % 8 * 4 + four % 4][0].a[row / 8 + four / 4 * 2];
            unsigned places = all[row % 8 * 4 + 2 * selector + four / 4][0].places >> (row / 8 * 16 + four % 4 * 4);
            unsigned two[2] = {places & 3, places >> 2 & 3};
            if (two[0] >= two[1]) fault("places of a sparse operand that do not rise");
            for (unsigned which = 0; which < 2; which++) {
                unsigned input = 4 * four + two[which];
                unsigned word = all[column * 4 + input % 8 / 2][0].b[input / 8];
                d[i] += half(pair, which) * half(word, input % 2);
            }
        }
    }
    wait_warp();
}

}  // namespace emulation

DEVICE void load_matrices(unsigned (&to)[4], const void* row) {
    emulation::Rows rows(row);
    unsigned g = emulation::lane() / 4, q = emulation::lane() % 4;
    for (unsigned m = 0; m < 4; m++) to[m] = rows.at(m, g, 2 * q) | static_cast<unsigned>(rows.at(m, g, 2 * q + 1)) << 16;
    emulation::wait_warp();
}
DEVICE void load_matrices_transposed(unsigned (&to)[4], const void* row) {
    emulation::Rows rows(row);
    unsigned g = emulation::lane() / 4, q = emulation::lane() % 4;
    for (unsigned m = 0; m < 4; m++) to[m] = rows.at(m, 2 * q, g) | static_cast<unsigned>(rows.at(m, 2 * q + 1, g)) << 16;
    emulation::wait_warp();
}
template <class T>
DEVICE void multiply_add(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    emulation::multiply(d, a, b, 16, [](unsigned word, unsigned place) {
        return widen(T{static_cast<unsigned short>(word >> 16 * place)});
    });
}
DEVICE void multiply_add_i8(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    emulation::multiply(d, a, b, 32, [](unsigned word, unsigned place) {
        return static_cast<int>(static_cast<signed char>(word >> 8 * place));
    });
}
template <class T, int SELECTOR>
DEVICE void multiply_add_sparse(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[4], unsigned places) {
    emulation::multiply_sparse<T>(d, {{a[0], a[1], a[2], a[3]}, {b[0], b[1], b[2], b[3]}, places, {}}, SELECTOR);
}
DEVICE void copy_start(void* to, const void* from, unsigned valid) {
    if ((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) % 16) emulation::fault("a copy is not aligned to 16 bytes");
    emulation::copy_async(to, from, 16, valid);
}
DEVICE void copy_commit() { emulation::copy_commit(); }
template <int PENDING>
DEVICE void copy_wait() {
    emulation::copy_wait(PENDING);
}

#endif
