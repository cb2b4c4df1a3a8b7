//! Lays a table out, for a terminal or as Markdown. Pure; its tests are in `tests/it/bench.rs`.

/// Rows of cells under headings. A missing value is the caller's dash.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(headings: &[&'static str]) -> Self {
        Self {
            headings: headings.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; cells it does not have are empty.
    pub(crate) fn row(&mut self, mut cells: Vec<String>) {
        cells.resize(self.headings.len(), String::new());
        self.rows.push(cells);
    }

    /// In columns, the first flush left, the others flush right.
    pub(crate) fn text(&self) -> String {
        let widths = self.widths();
        let lines = std::iter::once(self.heading_cells()).chain(self.rows.iter().cloned());
        let lines = lines.map(|cells| {
            let cells = cells.iter().zip(&widths).enumerate();
            let padded = cells.map(|(column, (cell, width))| pad(cell, *width, column == 0));
            padded.collect::<Vec<String>>().join("  ").trim_end().to_owned() + "\n"
        });
        lines.collect()
    }

    /// As Markdown, in columns too, so that it can be read where it stands.
    pub(crate) fn markdown(&self) -> String {
        let widths = self.widths();
        let line = |cells: &[String]| {
            let cells = cells.iter().zip(&widths).enumerate();
            let padded = cells.map(|(column, (cell, width))| pad(cell, *width, column == 0));
            format!("| {} |\n", padded.collect::<Vec<String>>().join(" | "))
        };
        let rule = widths.iter().enumerate().map(|(column, width)| {
            let dashes = "-".repeat(width + 1);
            if column == 0 {
                format!("{dashes}-")
            } else {
                format!("{dashes}:")
            }
        });
        let rule = format!("|{}|\n", rule.collect::<Vec<String>>().join("|"));
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        line(&self.heading_cells()) + &rule + &rows
    }

    fn heading_cells(&self) -> Vec<String> {
        self.headings
            .iter()
            .map(|heading| (*heading).to_owned())
            .collect()
    }

    fn widths(&self) -> Vec<usize> {
        let cells = |column: usize| self.rows.iter().map(move |row| row[column].chars().count());
        let headings = self.headings.iter().enumerate();
        headings
            .map(|(column, heading)| cells(column).fold(heading.chars().count(), usize::max))
            .collect()
    }
}

fn pad(cell: &str, width: usize, left: bool) -> String {
    let space = " ".repeat(width.saturating_sub(cell.chars().count()));
    if left {
        format!("{cell}{space}")
    } else {
        format!("{space}{cell}")
    }
}
