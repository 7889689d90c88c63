// Writing elements of `second`, the other output of a kernel that has two, as `store` writes those of `out`.

fn store_second(dtype: u32, i: u32, bits: u32) {
    let word = word_of(dtype, i);
    if (size_log2(dtype) == 2u) {
        atomicStore(&second[word], bits);
        return;
    }
    let shift = shift_of(dtype, i);
    atomicAnd(&second[word], ~(mask_of(dtype) << shift));
    atomicOr(&second[word], (bits & mask_of(dtype)) << shift);
}
