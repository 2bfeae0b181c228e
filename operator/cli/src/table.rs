//! Columns that line up, as kubectl's do.

use std::io::{self, Write};

use portcullis_profile::printable;

use crate::layout::one_line;

/// Between two columns.
const GAP: usize = 3;

/// Rows under a header.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    widths: Vec<usize>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new<S: Into<String>>(header: impl IntoIterator<Item = S>) -> Self {
        let mut table = Self { rows: Vec::new(), widths: Vec::new() };
        table.push(header.into_iter().map(Into::into).collect());
        table
    }

    /// Adds a row, with as many cells as the header.
    pub(crate) fn push(&mut self, row: Vec<String>) {
        self.widths.resize(self.widths.len().max(row.len()), 0);
        let row: Vec<String> = row.iter().map(|cell| fit(cell)).collect();
        for (width, cell) in self.widths.iter_mut().zip(&row) {
            *width = (*width).max(cell.chars().count());
        }
        self.rows.push(row);
    }

    /// Writes header and rows.
    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        self.rows.iter().try_for_each(|row| self.write_row(row, out))
    }

    /// Writes one more row under those that were written already.
    pub(crate) fn write_row(&self, row: &[String], out: &mut dyn Write) -> io::Result<()> {
        let mut line = String::new();
        for (position, (cell, width)) in row.iter().zip(&self.widths).enumerate() {
            let cell = fit(cell);
            line.push_str(&cell);
            if position + 1 < row.len() {
                let padding = (width + GAP).saturating_sub(cell.chars().count()).max(GAP);
                line.extend(std::iter::repeat_n(' ', padding));
            }
        }
        writeln!(out, "{}", line.trim_end())
    }
}

/// A cell's text in one line, in which nothing gives orders to a terminal: else a stranger's would make rows of its own.
fn fit(cell: &str) -> String {
    printable(&one_line(cell))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_where_their_words_do() {
        let mut table = Table::new(["NAME", "MODE", "USED BY"]);
        table.push(vec!["sp/über".to_owned(), "Audit".to_owned(), String::new()]);
        table.push(vec!["csp/base".to_owned(), "Enforce".to_owned(), "deploy/web".to_owned()]);
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        table
            .write_row(&["sp/a-much-longer-name".to_owned(), "Audit".to_owned(), "x".to_owned()], &mut out)
            .unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "NAME       MODE      USED BY\n\
             sp/über    Audit\n\
             csp/base   Enforce   deploy/web\n\
             sp/a-much-longer-name   Audit     x\n"
        );
    }
}
