// out[m] = table[index[m]], bit for bit, in words of 16 bytes where both rows are aligned to them.
#include "report.cuh"
#include "team.cuh"

template <class T>
struct alignas(16) Word {
    T at[16 / sizeof(T)];
};

template <class T, int LANES>
DEVICE void gather(const GatherParams& p) {
    Team<LANES> team;
    if (team.row >= p.rows) return;
    unsigned chosen = reinterpret_cast<const unsigned*>(p.index)[team.row * p.index_step];
    // The lanes of a row agree.
    if (chosen >= p.limit) {
        if (team.lane == 0) in_range(p.report, REPORT_GATHER, chosen, team.row, p.limit);
        return;
    }
    const T* from = reinterpret_cast<const T*>(p.table) + chosen * p.table_row;
    T* to = reinterpret_cast<T*>(p.out) + team.row * p.out_row;
    constexpr unsigned WORD = 16 / sizeof(T);
    unsigned words = (reinterpret_cast<Address>(from) | reinterpret_cast<Address>(to)) % 16 == 0 ? p.width / WORD : 0;
    for (unsigned i = team.lane; i < words; i += LANES) reinterpret_cast<Word<T>*>(to)[i] = reinterpret_cast<const Word<T>*>(from)[i];
    for (unsigned i = words * WORD + team.lane; i < p.width; i += LANES) to[i] = from[i];
}

ROW_KERNELS(gather, GatherParams)
