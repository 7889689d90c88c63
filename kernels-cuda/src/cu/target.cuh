// Targets of cross entropy that are classes.
#pragma once

#include "report.cuh"

// No loss and no gradient.
constexpr unsigned LEFT_OUT = ~0u;

// The class of a row. False, and told to the host, where there is no such class.
template <class Params>
DEVICE bool right_class(unsigned& right, const Params& p, unsigned op, unsigned row, unsigned lane) {
    right = reinterpret_cast<const unsigned*>(p.target)[row * p.target_row];
    if (right < p.width || right == LEFT_OUT) return true;
    if (lane == 0) in_range(p.report, op, right, row, p.width);
    return false;
}
