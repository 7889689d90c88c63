#pragma once

#include "platform.cuh"

// −1, 0 or 1; NaN for NaN.
DEVICE float sign(float x) { return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x; }
