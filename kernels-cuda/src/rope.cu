// (y_a, y_b) = (x_a * cos a - x_b * sin a, x_a * sin a + x_b * cos a) with the angle a = (position + t) * theta^(-2i / D): a thread
// per row [b, t], four pairs and eight heads, so that sines and cosines are shared by heads and loads are of four elements.
#include "lattice.cuh"
#include "turn.cuh"

constexpr unsigned ROPE_THREADS = 256;
constexpr unsigned ROPE_HEADS = 8;

template <class T>
DEVICE void rope(const RopeParams& p) {
    unsigned pieces = (p.half + 3) / 4, head_blocks = (p.heads + ROPE_HEADS - 1) / ROPE_HEADS;
    Stride item = static_cast<Stride>(blockIdx.x) * ROPE_THREADS + threadIdx.x;
    unsigned first = static_cast<unsigned>(item % pieces) * 4, head_block = static_cast<unsigned>(item / pieces % head_blocks);
    Stride row = item / pieces / head_blocks;
    if (row >= p.rows.count) return;
    Stride at[2];
    place(p.rows, static_cast<unsigned>(row), at);
    const T* x = operand<const T>(p.rows, 0) + at[0];
    T* out = operand<T>(p.rows, 1) + at[1];

    const Stride* frequencies = reinterpret_cast<const Stride*>(p.frequencies);
    Stride position = p.position + static_cast<unsigned>(row % p.steps);
    float sin[4], cos[4];
    UNROLL for (unsigned i = 0; i < 4; i++) {
        if (first + i < p.half) sin_cos_of_turn(position * frequencies[first + i], sin[i], cos[i]);
        if (p.backward) sin[i] = -sin[i];
    }

    // The pairs are two quads: elements a and b of four pairs, or two pairs each.
    unsigned left = p.interleaved ? 2 * first : first, right = p.interleaved ? left + 4 : left + p.half;
    unsigned end = min(p.heads, (head_block + 1) * ROPE_HEADS);
    for (unsigned head = head_block * ROPE_HEADS; head < end; head++) {
        const T* from = x + head * p.x_head;
        T* to = out + head * p.out_head;
        bool whole = first + 4 <= p.half && aligned_to_quad(from + left) && aligned_to_quad(from + right) && aligned_to_quad(to + left) &&
                     aligned_to_quad(to + right);
        if (!whole) {
            UNROLL for (unsigned i = 0; i < 4; i++) {
                if (first + i >= p.half) continue;
                unsigned a = p.interleaved ? left + 2 * i : left + i, b = p.interleaved ? a + 1 : a + p.half;
                float xa = widen(from[a]), xb = widen(from[b]);
                to[a] = narrow<T>(xa * cos[i] - xb * sin[i]);
                to[b] = narrow<T>(xa * sin[i] + xb * cos[i]);
            }
            continue;
        }
        float a[4], b[4];
        load_quad(from + left, a);
        load_quad(from + right, b);
        if (p.interleaved) {
            float pairs[4] = {a[0], a[2], b[0], b[2]}, others[4] = {a[1], a[3], b[1], b[3]};
            UNROLL for (int i = 0; i < 4; i++) {
                float xa = pairs[i], xb = others[i];
                pairs[i] = xa * cos[i] - xb * sin[i];
                others[i] = xa * sin[i] + xb * cos[i];
            }
            float low[4] = {pairs[0], others[0], pairs[1], others[1]}, high[4] = {pairs[2], others[2], pairs[3], others[3]};
            store_quad(to + left, low);
            store_quad(to + right, high);
        } else {
            UNROLL for (int i = 0; i < 4; i++) {
                float xa = a[i], xb = b[i];
                a[i] = xa * cos[i] - xb * sin[i];
                b[i] = xa * sin[i] + xb * cos[i];
            }
            store_quad(to + left, a);
            store_quad(to + right, b);
        }
    }
}

FLOAT_KERNELS(rope, RopeParams, ROPE_THREADS)
