//! Text inside HTML: the only way in for anything a file or a user named.

use std::fmt::{self, Display, Formatter, Write};

/// Shows a value with the characters that mean something in HTML text and quoted attributes replaced.
pub(super) struct Escaped<T>(T);

/// The value, safe in text and in quoted attributes.
pub(super) fn esc<T: Display>(value: T) -> Escaped<T> {
    Escaped(value)
}

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(Escaper(formatter), "{}", self.0)
    }
}

struct Escaper<'a, 'f>(&'a mut Formatter<'f>);

impl Write for Escaper<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|character| match character {
            '&' => self.0.write_str("&amp;"),
            '<' => self.0.write_str("&lt;"),
            '>' => self.0.write_str("&gt;"),
            '"' => self.0.write_str("&quot;"),
            '\'' => self.0.write_str("&#39;"),
            // Controls are not allowed in HTML; direction overrides could reorder what stands beside them.
            '\0'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                self.0.write_char('\u{fffd}')
            }
            character => self.0.write_char(character),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_that_opens_a_tag_or_leaves_an_attribute_comes_through(text in ".*") {
            let safe = esc(&text).to_string();
            prop_assert!(!safe.contains(['<', '>', '"', '\'']));
            let undone = safe
                .replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'").replace("&amp;", "&");
            prop_assert_eq!(undone.chars().count(), text.chars().count());
        }
    }

    #[test]
    fn markup_becomes_text() {
        assert_eq!(esc("<a href='x'>\"&").to_string(), "&lt;a href=&#39;x&#39;&gt;&quot;&amp;");
        assert_eq!(esc("a\u{202e}b\u{0}").to_string(), "a\u{fffd}b\u{fffd}");
    }
}
