// Writing elements of `out` that lie side by side, of dtype `OUT`, by whole words. The op's own piece defines `element(i)`, the bits
// of the i-th of them. Only words at either end may be shared with others.

// Words that `count` elements from `first` on touch.
fn words_of(first: u32, count: u32) -> u32 {
    if (count == 0u || size_log2(OUT) == 2u) { return count; }
    return ((first & 1u) + count + 1u) >> 1u;
}

fn write_word(first: u32, count: u32, word: u32) {
    if (size_log2(OUT) == 2u) {
        atomicStore(&out[first + word], element(word));
        return;
    }
    let low = (word << 1u) - (first & 1u); // before the first element it is above all counts
    let high = low + 1u;
    let has_low = low < count;
    let has_high = high < count;
    var bits = 0u;
    if (has_low) { bits = element(low); }
    if (has_high) { bits |= element(high) << 16u; }
    let to = (first >> 1u) + word;
    if (has_low && has_high) {
        atomicStore(&out[to], bits);
        return;
    }
    atomicAnd(&out[to], select(0xffff0000u, 0xffffu, has_high));
    atomicOr(&out[to], bits);
}
