// Indices out of range, told to the host (`report.rs`).
#pragma once

#include "platform.cuh"

constexpr unsigned REPORT_GATHER = 0, REPORT_SCATTER_ADD = 1, REPORT_CROSS_ENTROPY = 2, REPORT_CROSS_ENTROPY_BACKWARD = 3;
constexpr unsigned REPORT_FOREST_ROOTS = 4, REPORT_FOREST_NODES = 5;

// Whether `index` is below `limit`; if not, and nobody has reported before, this becomes the report.
DEVICE bool in_range(Address report, unsigned op, unsigned index, Stride at, Stride limit) {
    if (index < limit) return true;
    Report* to = reinterpret_cast<Report*>(report);
    if (atomicCAS(&to->state, 0u, 256 * op + 1) == 0) {
        to->got = index;
        to->at = at;
        to->limit = limit;
        __threadfence_system();
        to->state = 256 * op + 2;
    }
    return false;
}
