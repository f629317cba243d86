//! Tables for people: columns as wide as their widest cell, two spaces between.
//!
//! **Invariant.** A table has the lines and columns it should have, and does nothing to the terminal, whatever
//! its cells hold: they come from the network.

use nearlight_protocol::plain::is_plain;

/// Lays out `rows` under `head`. Every row has as many cells as the head.
pub fn lay_out<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| row.each_ref().map(|cell| cell_of(cell)))
        .collect();
    let mut widths = head.map(|cell| cell.chars().count());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = line(head.iter().copied(), &widths);
    for row in &rows {
        out.push_str(&line(row.iter().map(String::as_str), &widths));
    }
    out
}

/// The text with a mark for each character that does something to the terminal.
pub fn cell_of(text: &str) -> String {
    let plain = |char| if is_plain(char) { char } else { '\u{fffd}' };
    text.chars().map(plain).collect()
}

fn line<'a>(cells: impl Iterator<Item = &'a str>, widths: &[usize]) -> String {
    let padded: Vec<_> = cells
        .zip(widths)
        .map(|(cell, width)| format!("{cell:width$}"))
        .collect();
    format!("{}\n", padded.join("  ").trim_end())
}

#[cfg(test)]
mod test {
    use super::lay_out;

    #[test]
    fn a_cell_does_nothing_to_the_terminal() {
        let rows = [["a\u{1b}[2J\nb\u{202e}".to_owned(), "x".to_owned()]];
        let table = lay_out(["ID", "WHAT"], &rows);
        assert_eq!(table, "ID        WHAT\na\u{fffd}[2J\u{fffd}b\u{fffd}  x\n");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            ["a".to_owned(), "long cell".to_owned()],
            ["bcd".to_owned(), String::new()],
        ];
        assert_eq!(
            lay_out(["ID", "WHAT"], &rows),
            "ID   WHAT\na    long cell\nbcd\n"
        );
        assert_eq!(lay_out(["ID"], &[]), "ID\n");
    }
}
