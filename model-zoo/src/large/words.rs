//! Text as words, known by their hashes: a table of words that nobody has to learn, store or look up.

use crate::hash;

/// What a byte can be part of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Lower,
    Upper,
    Digit,
    /// White space and underscores.
    Gap,
    Sign,
}

fn kind(byte: u8) -> Kind {
    match byte {
        b'a'..=b'z' | 0x80.. => Kind::Lower,
        b'A'..=b'Z' => Kind::Upper,
        b'0'..=b'9' => Kind::Digit,
        0..=b' ' | b'_' | 0x7f => Kind::Gap,
        _ => Kind::Sign,
    }
}

fn joined(before: &u8, after: &u8) -> bool {
    use Kind::{Digit, Lower, Upper};
    matches!((kind(*before), kind(*after)), (Lower | Upper, Lower) | (Upper, Upper) | (Digit, Digit))
}

/// Words and numbers, an identifier's parts apart (`read_toEnd` is `read`, `to`, `End`), and every sign by itself. Bytes beyond
/// ASCII are letters.
fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.chunk_by(joined).filter(|word| kind(word[0]) != Kind::Gap)
}

/// Which row of a table of `rows` stands for each word of a text.
pub(super) fn word_ids(text: &[u8], rows: usize) -> impl Iterator<Item = u32> {
    let hashed = |word: &[u8]| hash::scramble(word.iter().fold(hash::START, |hash, &byte| hash::push(hash, byte)));
    words(text).map(move |word| (hashed(word) as usize % rows.max(1)) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_fall_into_their_parts_and_signs_stand_alone() {
        let text = "  fn read_toEnd(HTTPServer) -> u32 {\n\t\"naïve\"}";
        let found: Vec<&str> = words(text.as_bytes()).map(|word| std::str::from_utf8(word).unwrap()).collect();
        let wanted = ["fn", "read", "to", "End", "(", "HTTPServer", ")", "-", ">", "u", "32", "{", "\"", "naïve", "\"", "}"];
        assert_eq!(found, wanted);
        assert_eq!(words(b" \n_").count(), 0);
    }

    #[test]
    fn a_word_has_the_same_row_everywhere() {
        let ids: Vec<u32> = word_ids(b"let x = let;", 1000).collect();
        assert!(ids[0] == ids[3] && ids[0] != ids[1]);
        assert!(word_ids(b"let x = let;", 3).all(|id| id < 3));
    }
}
