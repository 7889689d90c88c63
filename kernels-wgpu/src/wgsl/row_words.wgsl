// Writing a row of `out` that starts at `first`: `element(i)` gives the bits of its i-th element.

fn write_row(first: u32, width: u32, lane: u32) {
    let words = words_of(first, width);
    for (var word = lane; word < words; word += LANES) { write_word(first, width, word); }
}
