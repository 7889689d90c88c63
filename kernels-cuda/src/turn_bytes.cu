// Bytes of a factor whose neighbours lie across the sum, to rows along it: a block turns 128 lines of 128 bytes. What is beyond K in a
// row becomes zeros.
#include "product.cuh"

KERNEL(turn_bytes, TurnParams, 256) {
    constexpr unsigned SIDE = 128, WORDS = SIDE / 4;
    struct Shared {
        unsigned rows[SIDE][WORDS + 1];
    };
    SHARED(Shared, shared);
    unsigned across = (p.rows + SIDE - 1) / SIDE, row = blockIdx.x % across * SIDE, line = blockIdx.x / across * SIDE;
    UNROLL for (unsigned i = 0; i < WORDS * WORDS / 256; i++) {
        unsigned c = i * 256 + threadIdx.x, own_row = c % WORDS * 4, own_line = c / WORDS * 4;
        unsigned lines[4], turned[4];
        UNROLL for (unsigned j = 0; j < 4; j++) {
            lines[j] = 0;
            unsigned at = line + own_line + j, first = row + own_row;
            if (at >= p.k || first >= p.rows) continue;
            const unsigned char* from = reinterpret_cast<const unsigned char*>(p.from) + at * p.from_line + first;
            if (first + 4 <= p.rows) {
                lines[j] = *reinterpret_cast<const unsigned*>(from);
            } else {
                for (unsigned b = 0; first + b < p.rows; b++) lines[j] |= static_cast<unsigned>(from[b]) << 8 * b;
            }
        }
        turn_words(lines, turned);
        UNROLL for (unsigned j = 0; j < 4; j++) shared.rows[own_row + j][own_line / 4] = turned[j];
    }
    __syncthreads();
    UNROLL for (unsigned i = 0; i < SIDE * WORDS / 256; i++) {
        unsigned c = i * 256 + threadIdx.x, own_row = c / WORDS, word = c % WORDS;
        if (row + own_row >= p.rows || line + 4 * word >= p.to_row) continue;
        unsigned char* to = reinterpret_cast<unsigned char*>(p.to) + (row + own_row) * p.to_row + line + 4 * word;
        *reinterpret_cast<unsigned*>(to) = shared.rows[own_row][word];
    }
}
