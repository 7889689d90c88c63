// Writing elements of `out` that lie side by side, of dtype `OUT`, by whole words. The op's own piece defines `element(i)`, the bits
// of the i-th of them. Only words at either end may be shared with others.

// Words that `count` elements from `first` on touch.
fn words_of(first: u32, count: u32) -> u32 {
    if (count == 0u) { return 0u; }
    return word_of(OUT, first + count - 1u) - word_of(OUT, first) + 1u;
}

fn write_word(first: u32, count: u32, word: u32) {
    if (size_log2(OUT) == 2u) {
        atomicStore(&out[first + word], element(word));
        return;
    }
    let log2 = 2u - size_log2(OUT); // of the elements in a word
    let begin = (word << log2) - (first & ((1u << log2) - 1u)); // before the first element it is above all counts
    var bits = 0u;
    var written = 0u;
    for (var k = 0u; k < (1u << log2); k++) {
        if (begin + k < count) {
            bits |= element(begin + k) << shift_of(OUT, k);
            written |= mask_of(OUT) << shift_of(OUT, k);
        }
    }
    let to = word_of(OUT, first) + word;
    if (written == 0xffffffffu) {
        atomicStore(&out[to], bits);
        return;
    }
    atomicAnd(&out[to], ~written);
    atomicOr(&out[to], bits);
}
