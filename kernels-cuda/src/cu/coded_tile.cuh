// What kernels on packed weights of integer codes share: a warp's walk along a tile of 16 rows of the weight.
//
// Inputs are cut into parts, each summed on its own; within a part the sums of groups are added in rising order. Where rows of x are
// few, each warp of a block has a part of the same 16 rows; where they are many, each has 16 rows and all parts, and x comes through
// shared memory. What a group or a part adds is computed by the same lines: bits are the same.
#pragma once

#include "coded.cuh"
#include "layer.cuh"
#include "product.cuh"

// The free group at hand, and where the next one begins.
struct Span {
    unsigned index, end;
    DEVICE Span(const CodedParams& p, unsigned form, unsigned l) : index(0), end(0) {
        if (form > INT4) return;
        index = l / p.group_size;
        end = (index + 1) * p.group_size;
    }
    // Steps on to the group of input l.
    DEVICE void reach(const CodedParams& p, unsigned form, unsigned l) {
        if (form > INT4 || l < end) return;
        index++;
        end += p.group_size;
    }
};

// Calls `step(at, codes)` for tiles first..end of a row of tiles, whose codes are read four tiles ahead.
template <unsigned FORM, class Step>
DEVICE void each_tile(const CodedParams& p, unsigned tile, unsigned first, unsigned end, Step step) {
    constexpr unsigned AHEAD = 4;
    unsigned lane = threadIdx.x % WARP_SIZE;
    for (unsigned at = first; at < end; at += AHEAD) {
        Codes codes[AHEAD];
        UNROLL for (unsigned i = 0; i < AHEAD; i++) {
            if (at + i < end) codes[i] = load_codes(p, FORM, tile, at + i, lane);
        }
        UNROLL for (unsigned i = 0; i < AHEAD; i++) {
            if (at + i < end) step(at + i, codes[i]);
        }
    }
}
