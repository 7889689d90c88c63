// What Hopper adds for products: tensor cores that read both factors from shared memory for four warps at once (wgmma), a unit that
// copies boxes of matrices there (TMA), and barriers with phases that both count on; and the same by their documentation where the CPU
// runs them (PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions", "Tensor copies", "mbarrier").
//
// A box is lines of 128 bytes. Chunk c of 16 bytes of line r lies in place c ^ r % 8 of its line, lines of eight from a multiple of
// 1,024 bytes on: whoever reads a column of chunks reads from different banks. A factor lies along the sum, one row of it a line; or
// across it, one term of the sum a line of 64 rows.
#pragma once

#include "tensor.cuh"

constexpr unsigned GROUP = 4 * WARP_SIZE, LINE = 128;

// Results of 64 rows × 8 · COLUMNS / 8 columns that a thread of a group holds: of row 16 · warp + lane / 4, and of the one eight below,
// columns 8j + 2 · (lane % 4) and the next, as four sums for each j.
#ifdef __CUDACC_RTC__

// Maps of boxes are read where they are passed, and must be aligned to 64 there.
struct alignas(64) HopperArguments : HopperParams {};

// What is in shared memory from here on is what the kernel's source says it may take.
#define LARGE_SHARED(Type, name)                    \
    extern __shared__ unsigned char name##_bytes[]; \
    Type& name = *reinterpret_cast<Type*>((reinterpret_cast<Address>(name##_bytes) + 1023) / 1024 * 1024)

struct Barrier {
    unsigned long long state;
};

// Its phase is over when so many threads have arrived, and all bytes that were announced.
DEVICE void barrier_start(Barrier& b, unsigned threads) {
    asm volatile("mbarrier.init.shared.b64 [%0], %1;" : : "r"(shared_address(&b)), "r"(threads) : "memory");
}
// Before other threads, or the unit that copies, use barriers that were just started.
DEVICE void barriers_started() {
    asm volatile("fence.mbarrier_init.release.cluster;" : : : "memory");
    asm volatile("fence.proxy.async;" : : : "memory");
}
DEVICE void barrier_arrive(Barrier& b) { asm volatile("mbarrier.arrive.shared.b64 _, [%0];" : : "r"(shared_address(&b)) : "memory"); }
// Arrives, and announces bytes of boxes.
DEVICE void barrier_expect(Barrier& b, unsigned bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" : : "r"(shared_address(&b)), "r"(bytes) : "memory");
}
// Waits until the phase of this parity is over.
DEVICE void barrier_wait(Barrier& b, unsigned parity) {
    asm volatile("{ .reg .pred over; again: mbarrier.try_wait.parity.shared.b64 over, [%0], %1; @over bra done; bra again; done: }"
                 : : "r"(shared_address(&b)), "r"(parity) : "memory");
}

// Starts to copy a box of a matrix, zeros where it is outside, and counts its bytes for a barrier.
DEVICE void box_start(void* to, const unsigned long long (&map)[16], unsigned along, unsigned line, Barrier& b) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];"
                 : : "r"(shared_address(to)), "l"(&map), "r"(shared_address(&b)), "r"(along), "r"(line) : "memory");
}

// Registers go from warps that only start copies to those that hold results.
template <unsigned REGISTERS>
DEVICE void give_registers() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" : : "n"(REGISTERS)); }
template <unsigned REGISTERS>
DEVICE void take_registers() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" : : "n"(REGISTERS)); }

// Before the first product of a group, where registers of its sums have been written.
DEVICE void products_start() { asm volatile("wgmma.fence.sync.aligned;" : : : "memory"); }
// Closes a group of products.
DEVICE void products_commit() { asm volatile("wgmma.commit_group.sync.aligned;" : : : "memory"); }
// Waits until no more than the `PENDING` latest groups are under way.
template <int PENDING>
DEVICE void products_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" : : "n"(PENDING) : "memory"); }

// Where a factor lies in shared memory, as the tensor cores are told: lines of eight are 1,024 bytes apart, and boxes of 64 rows across
// the sum 64 lines.
DEVICE unsigned long long place_of_factor(const void* at, bool across) {
    unsigned long long boxes = across ? 64 * LINE : 16, eights = 8 * LINE;
    return (shared_address(at) >> 4 & 0x3FFF) | boxes >> 4 << 16 | eights >> 4 << 32 | 1ull << 62;
}

// d += left · right for 64 rows and 32 bytes of the sum.
template <class T, bool LEFT_ACROSS, bool RIGHT_ACROSS>
struct GroupProduct;

#define C_FLOATS(x) "+f"(x)
#define C_INTS(x) "+r"(x)
#define REGISTERS_128 \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, " \
    "%22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, " \
    "%42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, " \
    "%62, %63, %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, " \
    "%82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, %96, %97, %98, %99, %100, " \
    "%101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, %112, %113, %114, %115, %116, " \
    "%117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define REGISTERS_64 \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, " \
    "%22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, " \
    "%42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, " \
    "%62, %63"
#define SUMS_128(C) \
    C(d[0]), C(d[1]), C(d[2]), C(d[3]), C(d[4]), C(d[5]), C(d[6]), C(d[7]), \
    C(d[8]), C(d[9]), C(d[10]), C(d[11]), C(d[12]), C(d[13]), C(d[14]), C(d[15]), \
    C(d[16]), C(d[17]), C(d[18]), C(d[19]), C(d[20]), C(d[21]), C(d[22]), C(d[23]), \
    C(d[24]), C(d[25]), C(d[26]), C(d[27]), C(d[28]), C(d[29]), C(d[30]), C(d[31]), \
    C(d[32]), C(d[33]), C(d[34]), C(d[35]), C(d[36]), C(d[37]), C(d[38]), C(d[39]), \
    C(d[40]), C(d[41]), C(d[42]), C(d[43]), C(d[44]), C(d[45]), C(d[46]), C(d[47]), \
    C(d[48]), C(d[49]), C(d[50]), C(d[51]), C(d[52]), C(d[53]), C(d[54]), C(d[55]), \
    C(d[56]), C(d[57]), C(d[58]), C(d[59]), C(d[60]), C(d[61]), C(d[62]), C(d[63]), \
    C(d[64]), C(d[65]), C(d[66]), C(d[67]), C(d[68]), C(d[69]), C(d[70]), C(d[71]), \
    C(d[72]), C(d[73]), C(d[74]), C(d[75]), C(d[76]), C(d[77]), C(d[78]), C(d[79]), \
    C(d[80]), C(d[81]), C(d[82]), C(d[83]), C(d[84]), C(d[85]), C(d[86]), C(d[87]), \
    C(d[88]), C(d[89]), C(d[90]), C(d[91]), C(d[92]), C(d[93]), C(d[94]), C(d[95]), \
    C(d[96]), C(d[97]), C(d[98]), C(d[99]), C(d[100]), C(d[101]), C(d[102]), C(d[103]), \
    C(d[104]), C(d[105]), C(d[106]), C(d[107]), C(d[108]), C(d[109]), C(d[110]), C(d[111]), \
    C(d[112]), C(d[113]), C(d[114]), C(d[115]), C(d[116]), C(d[117]), C(d[118]), C(d[119]), \
    C(d[120]), C(d[121]), C(d[122]), C(d[123]), C(d[124]), C(d[125]), C(d[126]), C(d[127])
#define SUMS_64(C) \
    C(d[0]), C(d[1]), C(d[2]), C(d[3]), C(d[4]), C(d[5]), C(d[6]), C(d[7]), \
    C(d[8]), C(d[9]), C(d[10]), C(d[11]), C(d[12]), C(d[13]), C(d[14]), C(d[15]), \
    C(d[16]), C(d[17]), C(d[18]), C(d[19]), C(d[20]), C(d[21]), C(d[22]), C(d[23]), \
    C(d[24]), C(d[25]), C(d[26]), C(d[27]), C(d[28]), C(d[29]), C(d[30]), C(d[31]), \
    C(d[32]), C(d[33]), C(d[34]), C(d[35]), C(d[36]), C(d[37]), C(d[38]), C(d[39]), \
    C(d[40]), C(d[41]), C(d[42]), C(d[43]), C(d[44]), C(d[45]), C(d[46]), C(d[47]), \
    C(d[48]), C(d[49]), C(d[50]), C(d[51]), C(d[52]), C(d[53]), C(d[54]), C(d[55]), \
    C(d[56]), C(d[57]), C(d[58]), C(d[59]), C(d[60]), C(d[61]), C(d[62]), C(d[63])
#define HALVES_PRODUCT(registers, columns, name, left, right, across)                                                                \
    asm volatile("wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32." name "." name " {" REGISTERS_##registers "}, " left ", " right \
                 ", 1, 1, 1, " across ";"                                                                                            \
                 : SUMS_##registers(C_FLOATS) : "l"(place_of_factor(l, LEFT_ACROSS)), "l"(place_of_factor(r, RIGHT_ACROSS)), "n"(LEFT_ACROSS), "n"(RIGHT_ACROSS))
#define HALVES_GROUP(T, name)                                                                              \
    template <bool LEFT_ACROSS, bool RIGHT_ACROSS>                                                         \
    struct GroupProduct<T, LEFT_ACROSS, RIGHT_ACROSS> {                                                    \
        static DEVICE void add(float (&d)[128], const void* l, const void* r) {                            \
            HALVES_PRODUCT(128, 256, name, "%128", "%129", "%130, %131");                                  \
        }                                                                                                  \
        static DEVICE void add(float (&d)[64], const void* l, const void* r) {                             \
            HALVES_PRODUCT(64, 128, name, "%64", "%65", "%66, %67");                                       \
        }                                                                                                  \
    };
HALVES_GROUP(Bf16, "bf16")
HALVES_GROUP(F16, "f16")

#define BYTES_PRODUCT(registers, columns, left, right)                                                                               \
    asm volatile("wgmma.mma_async.sync.aligned.m64n" #columns "k32.s32.s8.s8 {" REGISTERS_##registers "}, " left ", " right ", 1;"     \
                 : SUMS_##registers(C_INTS) : "l"(place_of_factor(l, false)), "l"(place_of_factor(r, false)))
template <>
struct GroupProduct<signed char, false, false> {
    static DEVICE void add(int (&d)[128], const void* l, const void* r) { BYTES_PRODUCT(128, 256, "%128", "%129"); }
    static DEVICE void add(int (&d)[64], const void* l, const void* r) { BYTES_PRODUCT(64, 128, "%64", "%65"); }
};

#else

#define LARGE_SHARED(Type, name)       \
    static const char name##_site = 0; \
    Type& name = *static_cast<Type*>(emulation::large_shared(&name##_site, sizeof(Type)))

using HopperArguments = HopperParams;
using Barrier = emulation::Barrier;
DEVICE void barrier_start(Barrier& b, unsigned threads) { emulation::phases_start(b, threads); }
DEVICE void barriers_started() {}
DEVICE void barrier_arrive(Barrier& b) { emulation::phase_arrive(b, 0); }
DEVICE void barrier_expect(Barrier& b, unsigned bytes) { emulation::phase_arrive(b, bytes); }
DEVICE void barrier_wait(Barrier& b, unsigned parity) { emulation::phase_wait(b, parity); }
DEVICE void box_start(void* to, const unsigned long long (&map)[16], unsigned along, unsigned line, Barrier& b) {
    emulation::box_copy(to, map, along, line, b);
}
template <unsigned REGISTERS>
DEVICE void give_registers() {}
template <unsigned REGISTERS>
DEVICE void take_registers() {}
DEVICE void products_start() {}
DEVICE void products_commit() { emulation::products_commit(); }
template <int PENDING>
DEVICE void products_wait() { emulation::products_wait(PENDING); }

namespace emulation {

// Element (row, term) of a factor from `at` on, whose chunks lie as a box's do.
template <class T, bool ACROSS>
T element(const void* at, unsigned row, unsigned term) {
    unsigned line = ACROSS ? row / 64 * 64 + term : row, byte = sizeof(T) * (ACROSS ? row % 64 : term);
    uintptr_t place = reinterpret_cast<uintptr_t>(at) + line * LINE + byte;
    T value;
    memcpy(&value, reinterpret_cast<const void*>(place ^ (place >> 7 & 7) << 4), sizeof(T));
    return value;
}

inline float number(Bf16 x) { return widen(x); }
inline float number(F16 x) { return widen(x); }
inline int number(signed char x) { return x; }

template <class T, bool LEFT_ACROSS, bool RIGHT_ACROSS, class Sum, unsigned COUNT>
void add_products(void* sums, const void* left, const void* right) {
    constexpr unsigned TERMS = 32 / sizeof(T), COLUMNS = 2 * COUNT;
    unsigned of_warp = thread->linear % GROUP / WARP * 16, g = lane() / 4, q = lane() % 4;
    auto* d = static_cast<Sum*>(sums);
    Sum l[2][TERMS], r[2][TERMS];
    for (unsigned k = 0; k < TERMS; k++) {
        for (unsigned half = 0; half < 2; half++) l[half][k] = number(element<T, LEFT_ACROSS>(left, of_warp + g + 8 * half, k));
    }
    for (unsigned j = 0; j < COLUMNS / 8; j++) {
        for (unsigned k = 0; k < TERMS; k++) {
            for (unsigned i = 0; i < 2; i++) r[i][k] = number(element<T, RIGHT_ACROSS>(right, 8 * j + 2 * q + i, k));
        }
        for (unsigned i = 0; i < 4; i++) {
            for (unsigned k = 0; k < TERMS; k++) d[4 * j + i] += l[i / 2][k] * r[i % 2][k];
        }
    }
}

}  // namespace emulation

template <class T, bool LEFT_ACROSS, bool RIGHT_ACROSS>
struct GroupProduct {
    template <class Sum, unsigned COUNT>
    static DEVICE void add(Sum (&d)[COUNT], const void* left, const void* right) {
        emulation::product_later(emulation::add_products<T, LEFT_ACROSS, RIGHT_ACROSS, Sum, COUNT>, d, left, right);
    }
};

#endif
