//! Keyboard layouts, and the temporary keymap that types what no layout has.

use crate::limits::TYPED_SYMBOLS_MAX;
use smithay::input::keyboard::XkbConfig;
use std::fmt::Write;

/// First keycode of the temporary keymap. xkb's codes are evdev's plus 8.
pub(crate) const FIRST_TYPED: u32 = 9;

/// The configuration of a layout name such as `us` or `de(nodeadkeys)`.
pub(crate) fn config(layout: &str) -> XkbConfig<'_> {
    let (layout, variant) = match layout.split_once('(') {
        Some((layout, rest)) => (layout, rest.trim_end_matches(')')),
        None => (layout, ""),
    };
    XkbConfig {
        layout,
        variant,
        ..XkbConfig::default()
    }
}

/// The distinct characters of `text`, cut into pieces that one keymap holds.
pub(crate) fn pieces(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    let mut distinct: Vec<char> = Vec::new();
    for c in text.chars() {
        let known = distinct.contains(&c);
        if pieces.is_empty() || (!known && distinct.len() == TYPED_SYMBOLS_MAX) {
            pieces.push(String::new());
            distinct.clear();
        }
        if !distinct.contains(&c) {
            distinct.push(c);
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push(c);
        }
    }
    pieces
}

/// A keymap with one key for each distinct character of `piece`, and the key of each character in
/// order. Other clients of the same keymap see these keys for the moment of typing only.
pub(crate) fn typing(piece: &str) -> (String, Vec<u32>) {
    let mut symbols: Vec<char> = Vec::new();
    let mut keys = Vec::new();
    for c in piece.chars() {
        let at = symbols
            .iter()
            .position(|known| *known == c)
            .unwrap_or_else(|| {
                symbols.push(c);
                symbols.len() - 1
            });
        keys.push(FIRST_TYPED + at as u32);
    }
    let (mut codes, mut syms) = (String::new(), String::new());
    for (n, c) in symbols.iter().enumerate() {
        let code = FIRST_TYPED + n as u32;
        // Writing to a string cannot fail.
        let _ = writeln!(codes, "<T{n}> = {code};");
        let _ = writeln!(syms, "key <T{n}> {{ [ {} ] }};", keysym(*c));
    }
    let keymap = format!(
        "xkb_keymap {{\n\
         xkb_keycodes \"typing\" {{ minimum = 8; maximum = 255;\n{codes}}};\n\
         xkb_types \"typing\" {{ include \"complete\" }};\n\
         xkb_compatibility \"typing\" {{ include \"complete\" }};\n\
         xkb_symbols \"typing\" {{\n{syms}}};\n}};\n"
    );
    (keymap, keys)
}

fn keysym(c: char) -> String {
    match c {
        '\n' | '\r' => "Return".into(),
        '\t' => "Tab".into(),
        '\u{8}' => "BackSpace".into(),
        other => format!("U{:04X}", u32::from(other)),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn layouts_and_variants_are_told_apart() {
        for (name, layout, variant) in [
            ("us", "us", ""),
            ("de(nodeadkeys)", "de", "nodeadkeys"),
            ("ch(fr)", "ch", "fr"),
        ] {
            let config = config(name);
            assert_eq!((config.layout, config.variant), (layout, variant), "{name}");
        }
    }

    #[test]
    fn every_distinct_character_gets_one_key() {
        let (keymap, keys) = typing("aéa\n");
        assert_eq!(keys, [9, 10, 9, 11]);
        assert!(keymap.contains("key <T1> { [ U00E9 ] };"));
        assert!(keymap.contains("key <T2> { [ Return ] };"));
    }

    #[test]
    fn long_texts_are_cut_into_keymaps() {
        let text: String = (0..300u32)
            .filter_map(|n| char::from_u32(0x4e00 + n))
            .collect();
        let pieces = pieces(&text);
        assert_eq!(pieces.concat(), text);
        assert_eq!(pieces.len(), 3);
        assert!(super::pieces("").is_empty());
        assert_eq!(super::pieces(&"ab".repeat(500)).len(), 1);
    }
}
