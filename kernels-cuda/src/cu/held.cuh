// Rows that the threads of a team hold: read once, 16 bytes at a time, all of it under way before any of it is used.
#pragma once

#include "team.cuh"

// Pieces of 16 bytes that a thread holds at most: a warp rows of up to 2 KiB, a block of up to 16 KiB.
constexpr unsigned HELD = 4;

struct alignas(16) Piece {
    unsigned words[4];
};

// What a thread holds of a row. Pieces of neighbouring threads are neighbours, whatever the row's alignment.
template <class T, int LANES>
struct Held {
    static constexpr unsigned EACH = 16 / sizeof(T), COUNT = HELD * EACH;

    unsigned lane, width;
    Piece pieces[HELD] = {};

    DEVICE Held(const Team<LANES>& team, unsigned width) : lane(team.lane), width(width) {}

    // Of element e of this thread.
    DEVICE unsigned column(unsigned e) const { return (e / EACH * LANES + lane) * EACH + e % EACH; }

    DEVICE float operator[](unsigned e) const {
        unsigned word = word_of(e) >> shift(e);
        if constexpr (sizeof(T) == 4) {
            return __uint_as_float(word);
        } else {
            return widen(T{static_cast<unsigned short>(word)});
        }
    }

    DEVICE void set(unsigned e, float value) { put(e, narrow<T>(value)); }

    // Between two uses of a row: elements of 16 bits are widened anew, as they would take twice the registers meanwhile.
    DEVICE void pack() {
#ifdef __CUDACC_RTC__
        UNROLL for (unsigned i = 0; i < 4 * HELD; i++) asm volatile("" : "+r"(pieces[i / 4].words[i % 4]));
#endif
    }

    // Calls f(e) for the elements that the row has.
    template <class F>
    DEVICE void each(F f) const {
        UNROLL for (unsigned e = 0; e < COUNT; e++) {
            if (column(e) < width) f(e);
        }
    }

    // Whether a row consists of whole pieces.
    DEVICE bool is_whole(const T* row) const { return width % EACH == 0 && reinterpret_cast<Address>(row) % 16 == 0; }

    DEVICE void load_whole(const T* row) {
        UNROLL for (unsigned e = 0; e < COUNT; e += EACH) {
            if (column(e) < width) pieces[e / EACH] = *reinterpret_cast<const Piece*>(row + column(e));
        }
    }

    DEVICE void load(const T* row) {
        if (is_whole(row)) return load_whole(row);
        each([&](unsigned e) { put(e, row[column(e)]); });
    }

    DEVICE void store(T* row) const {
        if (is_whole(row)) {
            UNROLL for (unsigned e = 0; e < COUNT; e += EACH) {
                if (column(e) < width) *reinterpret_cast<Piece*>(row + column(e)) = pieces[e / EACH];
            }
        } else {
            each([&](unsigned e) { row[column(e)] = narrow<T>((*this)[e]); });
        }
    }

private:
    DEVICE static unsigned shift(unsigned e) { return 8 * (e * sizeof(T) % 4); }
    DEVICE unsigned word_of(unsigned e) const { return pieces[e / EACH].words[e % EACH * sizeof(T) / 4]; }

    DEVICE void put(unsigned e, T value) {
        unsigned& word = pieces[e / EACH].words[e % EACH * sizeof(T) / 4];
        if constexpr (sizeof(T) == 4) {
            word = __float_as_uint(value);
        } else {
            word = (word & ~(0xFFFFu << shift(e))) | static_cast<unsigned>(value.bits) << shift(e);
        }
    }
};

// Kernels for rows that a warp holds, that a block holds, and that are too long for that: `name_held<T, LANES>(p)` as
// `name_warp_f32`, `name_block_f32`, …, and `name_long<T>(p)` as `name_long_f32`, …. Of f32, two blocks are to share a multiprocessor:
// left to itself, the compiler makes room for a third and moves registers to memory for it.
#define HELD_ROW_KERNELS(name, Params)                                                                 \
    SHARING_KERNEL(name##_warp_f32, Params, ROWS_THREADS, 2) { name##_held<float, WARP_SIZE>(p); }     \
    KERNEL(name##_warp_bf16, Params, ROWS_THREADS) { name##_held<Bf16, WARP_SIZE>(p); }                \
    KERNEL(name##_warp_f16, Params, ROWS_THREADS) { name##_held<F16, WARP_SIZE>(p); }                  \
    SHARING_KERNEL(name##_block_f32, Params, ROWS_THREADS, 2) { name##_held<float, ROWS_THREADS>(p); } \
    KERNEL(name##_block_bf16, Params, ROWS_THREADS) { name##_held<Bf16, ROWS_THREADS>(p); }            \
    KERNEL(name##_block_f16, Params, ROWS_THREADS) { name##_held<F16, ROWS_THREADS>(p); }              \
    KERNEL(name##_long_f32, Params, ROWS_THREADS) { name##_long<float>(p); }                           \
    KERNEL(name##_long_bf16, Params, ROWS_THREADS) { name##_long<Bf16>(p); }                           \
    KERNEL(name##_long_f16, Params, ROWS_THREADS) { name##_long<F16>(p); }
