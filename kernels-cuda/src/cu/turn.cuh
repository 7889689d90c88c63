// Sines and cosines of whole parts of a turn, which products with positions keep exact.
#pragma once

#include "platform.cuh"

// Of 2 pi * turn * 2^-64, within 2 ulp of 1.
DEVICE void sin_cos_of_turn(Stride turn, float& sin_of, float& cos_of) {
    // The nearest quarter, and what is left of it: |r| <= pi / 4.
    unsigned quarter = static_cast<unsigned>((turn + (1ull << 61)) >> 62);
    float r = static_cast<float>(static_cast<long long>(turn - (static_cast<Stride>(quarter) << 62))) * 3.4061215e-19f;  // 2 pi * 2^-64
    float y = r * r;
    // (sin(r) / r - 1) / r^2 to 2^-37 and (cos(r) - 1 + r^2 / 2) / r^4 to 2^-43.
    float sin = 2.7183116e-6f;
    sin = sin * y - 0.00019839335f;
    sin = sin * y + 0.008333329f;
    sin = sin * y - 0.16666667f;
    sin = r * y * sin + r;
    float cos = -2.721024e-7f;
    cos = cos * y + 2.479952e-5f;
    cos = cos * y - 0.0013888883f;
    cos = cos * y + 0.041666668f;
    cos = y * y * cos + (1.0f - 0.5f * y);
    bool exchanged = quarter & 1;
    float s = exchanged ? cos : sin, c = exchanged ? sin : cos;
    sin_of = quarter & 2 ? -s : s;
    cos_of = (quarter + 1) & 2 ? -c : c;
}
