//! Tables whose columns are as wide as what is in them, with notes under their rows.
//!
//! Written here because that is what tables of the ledger need and libraries do not offer: a line under a row that
//! belongs to no column.

use super::text::{DIM, Text};

/// Between two columns.
const GAP: &str = "  ";

/// On which side a column's cells are flush.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
struct Row {
    /// Each with its lines.
    cells: Vec<Vec<Text>>,
    notes: Vec<Text>,
}

impl Table {
    /// A table with these columns, and no rows yet.
    pub fn new(columns: Vec<(&'static str, Align)>) -> Self {
        Self { columns, rows: vec![] }
    }

    /// Adds a row. Every cell is a list of lines.
    pub fn row(&mut self, cells: Vec<Vec<Text>>) {
        self.rows.push(Row { cells, notes: vec![] });
    }

    /// Adds a line under the last row.
    pub fn note(&mut self, note: Text) {
        if let Some(row) = self.rows.last_mut() {
            row.notes.push(note);
        }
    }

    /// The title, the rows and their notes, line by line.
    pub fn lines(&self) -> Vec<Text> {
        let widths: Vec<usize> = (0..self.columns.len()).map(|index| self.width(index)).collect();
        let titles: Vec<Text> = self.columns.iter().map(|(title, _)| Text::new(DIM, title)).collect();
        let mut lines = vec![self.line(&titles, &widths)];
        for row in &self.rows {
            let height = row.cells.iter().map(Vec::len).max().unwrap_or(0);
            for index in 0..height {
                let cells: Vec<Text> =
                    row.cells.iter().map(|cell| cell.get(index).cloned().unwrap_or_default()).collect();
                lines.push(self.line(&cells, &widths));
            }
            lines.extend(row.notes.iter().map(|note| Text::plain("      ").join(note.clone())));
        }
        lines
    }

    fn width(&self, index: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.cells.get(index)).flatten().map(Text::width);
        cells.chain([Text::plain(self.columns[index].0).width()]).max().unwrap_or(0)
    }

    fn line(&self, cells: &[Text], widths: &[usize]) -> Text {
        let mut line = Text::default();
        for (index, ((cell, width), (_, align))) in cells.iter().zip(widths).zip(&self.columns).enumerate() {
            if index > 0 {
                line = line.join(Text::plain(GAP));
            }
            line = line.join(match align {
                Align::Left => cell.clone().left(*width),
                Align::Right => cell.clone().right(*width),
            });
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_notes_stand_under_their_row() {
        let mut table = Table::new(vec![("SEQ", Align::Right), ("STATE", Align::Left)]);
        table.row(vec![vec![Text::plain("1")], vec![Text::plain("Pending"), Text::plain("since 9")]]);
        table.note(Text::plain("evidence"));
        table.row(vec![vec![Text::plain("1234")], vec![Text::plain("Ok")]]);
        let lines: Vec<String> = table.lines().iter().map(Text::to_plain).collect();
        assert_eq!(lines, [" SEQ  STATE", "   1  Pending", "      since 9", "      evidence", "1234  Ok"]);
    }
}
