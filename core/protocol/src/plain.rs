//! Text that says what it shows, wherever it is shown.
//!
//! Names come from nodes and callers, and go to terminals, pages and logs. A control character moves a
//! terminal's cursor; a bidirectional control or an invisible character makes one name look like another.

/// Whether a character may be part of a name. The joiners that scripts and emoji need are; controls, line
/// ends, controls of writing direction and characters that nobody sees are not.
#[must_use]
pub fn is_plain(char: char) -> bool {
    !char.is_control()
        && !matches!(char,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// Whether all of `text` is plain, and no more than `bytes_max` bytes.
#[must_use]
pub fn is_plain_text(text: &str, bytes_max: usize) -> bool {
    text.len() <= bytes_max && text.chars().all(is_plain)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn text_that_hides_something_is_not_plain() {
        for text in [
            "den\u{1b}[2J",
            "a\nb",
            "a\u{7f}",
            "a\u{9b}",
            "\u{202e}abc",
            "\u{2066}a",
            "a\u{200b}b",
            "\u{feff}a",
            "\u{61c}",
            "a\u{2028}b",
            "a\u{e0041}",
        ] {
            assert!(!is_plain_text(text, 64), "{text:?}");
        }
    }

    #[test]
    fn what_people_write_is_plain() {
        for text in [
            "",
            "Fürth 2",
            "東京",
            "می\u{200c}خواهم",
            "👩\u{200d}🚀",
            "eu-west-1",
        ] {
            assert!(is_plain_text(text, 64), "{text:?}");
        }
        assert!(!is_plain_text("long", 3));
    }
}
