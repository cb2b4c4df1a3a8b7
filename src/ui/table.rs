//! Aligned columns for query commands. Chooses no columns and no order.

use unicode_width::UnicodeWidthStr;

use super::foreign_text::printable_line;
use super::line::{fitted, wrapped};

const GAP: usize = 2;
/// A column is not cut to less than this.
const NARROWEST: usize = 6;
/// Below this, text is not wrapped any narrower.
const NARROWEST_TEXT: usize = 20;

/// Returns the table, each line ended. Where it is wider than `width`, the widest columns are cut, with `…`.
pub fn table(headers: &[&str], rows: &[Vec<String>], width: usize) -> String {
    let cells: Vec<Vec<String>> =
        std::iter::once(headers.iter().map(|header| header.to_uppercase()).collect())
            .chain(
                rows.iter()
                    .map(|row| row.iter().map(|cell| printable_line(cell)).collect()),
            )
            .collect();
    let mut columns: Vec<usize> = (0..headers.len())
        .map(|column| {
            cells
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.width())
                .max()
        })
        .map(Option::unwrap_or_default)
        .collect();
    let gaps = GAP * columns.len().saturating_sub(1);
    while columns.iter().sum::<usize>().saturating_add(gaps) > width {
        match columns.iter_mut().max() {
            Some(widest) if *widest > NARROWEST => *widest -= 1,
            Some(_) | None => break,
        }
    }
    let mut text = String::new();
    for row in &cells {
        let mut line = String::new();
        for (cell, column) in row.iter().zip(&columns) {
            let cell = fitted(cell, *column);
            line.push_str(&cell);
            line.push_str(&" ".repeat(column + GAP - cell.width()));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Returns the rows without headers, each line ended and indented; the last cell, which is text, is wrapped and not cut.
pub fn wrapped_table(rows: &[Vec<String>], width: usize) -> String {
    let mut columns: Vec<usize> = Vec::new();
    for row in rows {
        for (index, cell) in row.iter().take(row.len().saturating_sub(1)).enumerate() {
            let cell = printable_line(cell).width();
            match columns.get_mut(index) {
                Some(column) => *column = cell.max(*column),
                None => columns.push(cell),
            }
        }
    }
    let indent = GAP + columns.iter().map(|column| column + GAP).sum::<usize>();
    let room = width.saturating_sub(indent).max(NARROWEST_TEXT);
    let mut text = String::new();
    for row in rows {
        let Some((last, cells)) = row.split_last() else {
            continue;
        };
        let mut line = " ".repeat(GAP);
        for (cell, column) in cells.iter().zip(&columns) {
            let cell = printable_line(cell);
            line.push_str(&cell);
            line.push_str(&" ".repeat(column + GAP - cell.width()));
        }
        for part in wrapped(&printable_line(last), room) {
            line.push_str(&part);
            text.push_str(line.trim_end());
            text.push('\n');
            line = " ".repeat(indent);
        }
    }
    text
}
