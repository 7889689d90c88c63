// The loop of elementwise ops over `out`, the operand in w: by words where it has no gaps, by elements elsewhere. The op's own piece
// defines `element(i)`, the bits of element i.

const STEPS = 4u; // words or elements of an invocation, 64 apart

fn each_element(index: u32, lane: u32) {
    let start = index * (64u * STEPS) + lane;
    let count = params.lattices[0].count;
    if (params.lattices[0].dense != 0u) {
        let first = params.lattices[0].first.w;
        let words = words_of(first, count);
        for (var k = 0u; k < STEPS; k++) {
            let word = start + k * 64u;
            if (word < words) { write_word(first, count, word); }
        }
        return;
    }
    for (var k = 0u; k < STEPS; k++) {
        let i = start + k * 64u;
        if (i < count) { store(OUT, places(i).w, element(i)); }
    }
}
