//! Statements that write several rows at once.
//!
//! One row at a time, the way to SQLite's thread and back costs more than the insert. Sizes are few, so that each
//! statement is prepared once and found again.

use sqlx::{Sqlite, SqliteConnection, query::Query, sqlite::SqliteArguments};

/// Rows in one statement, the most first. SQLite takes at most 32,766 parameters.
const SIZES: [usize; 4] = [100, 32, 8, 1];

/// One statement in several sizes.
pub(super) struct Multi {
    sizes: [(usize, String); SIZES.len()],
}

/// A statement whose parameters are being bound.
pub(super) type Binding = Query<'static, Sqlite, SqliteArguments>;

impl Multi {
    /// `before (VALUES (?, ...), ...) after`, with `columns` parameters for each row.
    ///
    /// Rows that a size has too many of are NULL throughout: `after` has to leave them out.
    pub(super) fn new(before: &str, columns: usize, after: &str) -> Self {
        let row = format!("({})", vec!["?"; columns].join(", "));
        let sizes =
            SIZES.map(|size| (size, format!("{before} (VALUES {}) {after}", vec![row.as_str(); size].join(", "))));
        Self { sizes }
    }

    /// Writes `rows`, whose values `bind` binds in the columns' order.
    pub(super) async fn run<T>(
        &'static self,
        connection: &mut SqliteConnection,
        rows: &[T],
        bind: impl Fn(Binding, &T) -> Binding,
    ) -> Result<(), sqlx::Error> {
        let mut bound = rows.chunks(SIZES[0]).map(|rows| rows.iter().fold(sqlx::query(self.text(rows.len())), &bind));
        let mut next = bound.next();
        while let Some(now) = next {
            // SQLite's thread works on these while the next ones are being bound.
            let (done, later) = futures::join!(now.execute(&mut *connection), async { bound.next() });
            done?;
            next = later;
        }
        Ok(())
    }

    /// The statement for up to so many `rows`, the smallest there is. What is not bound is NULL.
    pub(super) fn text(&self, rows: usize) -> &str {
        let fits = self.sizes.iter().rev().find(|(size, _)| *size >= rows);
        fits.map_or("", |(_, sql)| sql)
    }
}
