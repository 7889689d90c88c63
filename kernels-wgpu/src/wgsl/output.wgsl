// Writing elements of `out`. Neighbours may share a word: each invocation changes the bits of its own elements alone, so that
// neither order nor gaps between elements matter.

fn store(dtype: u32, i: u32, bits: u32) {
    let word = word_of(dtype, i);
    if (size_log2(dtype) == 2u) {
        atomicStore(&out[word], bits);
        return;
    }
    let shift = shift_of(dtype, i);
    atomicAnd(&out[word], ~(mask_of(dtype) << shift));
    atomicOr(&out[word], (bits & mask_of(dtype)) << shift);
}

fn stored(dtype: u32, i: u32) -> u32 {
    return (atomicLoad(&out[word_of(dtype, i)]) >> shift_of(dtype, i)) & mask_of(dtype);
}
