// scale[m] = max |x[m, ..]| / 127 and q[m, k] = round(x[m, k] · (127 / max)). A row with an infinity or NaN has scale NaN and codes 0.
#include "team.cuh"

template <class T, int LANES>
DEVICE void quantize(const RowsParams& p) {
    Team<LANES> team;
    if (team.row >= p.rows.count) return;
    Stride at[3];
    place(p.rows, team.row, at);
    const T* x = operand<const T>(p.rows, 0) + at[0];
    unsigned char* q = operand<unsigned char>(p.rows, 1) + at[1];
    float values[4];
    float largest = 0.0f;
    team.columns(p.width, [&](unsigned column, unsigned count) {
        load_some(x + column, count, values);
        UNROLL for (unsigned i = 0; i < 4; i++) {
            float size = fabsf(values[i]);
            if (i < count) largest = largest != largest || largest > size ? largest : size;
        }
    });
    largest = team.max(largest);
    bool finite = largest < INFINITY;
    // Products by 0 would be NaN where the factor is infinite.
    float factor = finite && largest > 0.0f ? fminf(127.0f / largest, 3.4028235e38f) : 0.0f;
    team.columns(p.width, [&](unsigned column, unsigned count) {
        load_some(x + column, count, values);
        Quad<unsigned char> codes;
        UNROLL for (unsigned i = 0; i < 4; i++) {
            float code = finite ? fminf(fmaxf(rintf(values[i] * factor), -127.0f), 127.0f) : 0.0f;
            codes.at[i] = i < count ? static_cast<unsigned char>(static_cast<int>(code)) : 0;
        }
        if (count == 4 && aligned_to_quad(q + column)) {
            *reinterpret_cast<Quad<unsigned char>*>(q + column) = codes;
        } else {
            UNROLL for (unsigned i = 0; i < 4; i++) {
                if (i < count) q[column + i] = codes.at[i];
            }
        }
    });
    if (team.lane == 0) operand<float>(p.rows, 2)[at[2]] = finite ? largest / 127.0f : NAN;
}

ROW_KERNELS(quantize, RowsParams)
