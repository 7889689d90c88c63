// out[.., i, j] = alpha · Σₗ a[.., i, l] · b[.., l, j] + beta · out[.., i, j]: tiles on tensor cores for 16 and 8 bits
// (`product.cuh`), on CUDA cores for f32 (`tile.cuh`); 128 × 128 results a block, or 64 × 64 where there would be too few blocks.
#include "scaled.cuh"
#include "tile.cuh"

template <class T, int HIGH, int WIDE, int DOWN, int OVER, bool A_TURNED, bool B_TURNED>
DEVICE void matmul_cores(const ProductParams& p) {
    product<T, HIGH, WIDE, DOWN, OVER, A_TURNED, B_TURNED, false>(
        p, [&](Stride first, unsigned row, unsigned column, const auto& d) { matmul_results<T>(p, first, row, column, d); });
}

template <int SIZE, int EACH, int DEPTH>
DEVICE void matmul_words(const ProductParams& p) {
    Place place = place_of_block<SIZE>(p);
    Factor a = {p.left + (place.left + place.row * p.left_row) * 4, p.left_row, p.left_step, p.rows - place.row, p.k, p.left_way};
    Factor b = {p.right + (place.right + place.column * p.right_row) * 4, p.right_row, p.right_step, p.columns - place.column, p.k, p.right_way};
    bool a_across = is_across(a), b_across = is_across(b);
    float* out = reinterpret_cast<float*>(p.out) + place.out;
    Scaled finish = scaled(p);
    Fours<float, DEPTH> of_a(a, own_four<SIZE, DEPTH>(a_across)), of_b(b, own_four<SIZE, DEPTH>(b_across));
    tile<SIZE, EACH, DEPTH, false>(
        p, a_across, b_across, [&](float (&to)[4]) { of_a.next(a, a_across, to); }, [&](float (&to)[4]) { of_b.next(b, b_across, to); },
        [&](unsigned row, unsigned column, const float (&sums)[4]) {
            store_four(p, out, place.row + row, place.column + column, sums, finish);
        });
}

#define TILES(name, T, A_WAY, a_turned, B_WAY, b_turned, blocks)                          \
    SHARING_KERNEL(matmul_##name##_large_##A_WAY##_##B_WAY, ProductParams, 256, blocks) { \
        matmul_cores<T, 4, 4, 2, 4, a_turned, b_turned>(p);                               \
    }                                                                                     \
    KERNEL(matmul_##name##_small_##A_WAY##_##B_WAY, ProductParams, 128) {                 \
        matmul_cores<T, 2, 4, 2, 2, a_turned, b_turned>(p);                               \
    }
// Two blocks share a multiprocessor where their registers allow it: with both factors turned, 128 for a thread are a few too few.
#define TILES_OF(name, T)                         \
    TILES(name, T, along, false, along, false, 2) \
    TILES(name, T, along, false, across, true, 2) \
    TILES(name, T, across, true, along, false, 2) \
    TILES(name, T, across, true, across, true, 1)

TILES_OF(bf16, Bf16)
TILES_OF(f16, F16)
TILES_OF(i8, signed char)
SHARING_KERNEL(matmul_f32_large, ProductParams, 256, 2) { matmul_words<128, 8, 8>(p); }
KERNEL(matmul_f32_small, ProductParams, 256) { matmul_words<64, 4, 16>(p); }
