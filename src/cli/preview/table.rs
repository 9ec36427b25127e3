//! Rows in columns, for a person.

use std::io::{self, Write};
use std::iter::repeat_n;

/// How many rows are laid out together.
const ROWS: usize = 100;

/// The widest that a column becomes: a longer cell moves those after it in its row.
const WIDTH_MAX: usize = 64;

/// Rows that wait to be laid out.
///
/// How wide a column will be is not known before the last row, and rows are not kept until then. So
/// some are printed together, with columns as wide as their widest cell so far, as `kubectl get` does
/// it with what the API server gives it page by page.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    widths: Vec<usize>,
}

impl Table {
    /// Adds a row, of as many cells as the others.
    pub(super) fn row(&mut self, cells: &[&str], out: &mut impl Write) -> io::Result<()> {
        let row: Vec<String> = cells.iter().map(|cell| printable(cell)).collect();
        self.widths.resize(row.len(), 0);
        for (cell, width) in row.iter().zip(&mut self.widths) {
            *width = cell.chars().count().min(WIDTH_MAX).max(*width);
        }
        self.rows.push(row);
        if self.rows.len() < ROWS {
            return Ok(());
        }
        self.flush(out)
    }

    /// Prints the rows that wait.
    pub(super) fn flush(&mut self, out: &mut impl Write) -> io::Result<()> {
        for row in self.rows.drain(..) {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&self.widths) {
                let space = width.saturating_sub(cell.chars().count()) + 2;
                line.push_str(cell);
                line.extend(repeat_n(' ', space));
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A cell as one word that a terminal only shows, whatever somebody has called an image.
fn printable(cell: &str) -> String {
    if cell.is_empty() {
        "-".to_owned()
    } else if !cell.bytes().all(|b| b.is_ascii_graphic()) {
        format!("{cell:?}")
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_laid_out_with_them_and_before() {
        let (mut table, mut out) = (Table::default(), Vec::new());
        for number in 0..ROWS {
            table
                .row(&["a", &number.to_string(), "x"], &mut out)
                .unwrap();
        }
        let long = "l".repeat(WIDTH_MAX + 1);
        for cell in ["b", &long, "", "c d\u{1b}", "\u{202e}"] {
            table.row(&[cell, "e", "x"], &mut out).unwrap();
        }
        table.flush(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!([lines[0], lines[ROWS - 1]], ["a  0   x", "a  99  x"]);
        let wide = |cell: &str| format!("{cell:WIDTH_MAX$}  e   x");
        assert_eq!(
            lines[ROWS..],
            [
                wide("b"),
                wide(&long),
                wide("-"),
                wide(r#""c d\u{1b}""#),
                wide(r#""\u{202e}""#)
            ]
        );
    }
}
