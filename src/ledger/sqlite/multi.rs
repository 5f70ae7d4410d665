//! Statements that write several rows at once.
//!
//! One row at a time, the way to SQLite's thread and back costs more than the insert. Sizes are few, so that each
//! statement is prepared once and found again.

use sqlx::{Sqlite, SqliteConnection, query::Query, sqlite::SqliteArguments};

/// Rows in one statement, the most first. SQLite takes at most 32,766 parameters.
const SIZES: [usize; 3] = [100, 10, 1];

/// One statement in several sizes.
pub(super) struct Multi([(usize, String); SIZES.len()]);

/// A statement whose parameters are being bound.
pub(super) type Binding = Query<'static, Sqlite, SqliteArguments>;

impl Multi {
    /// `before VALUES (?, ...), ... after`, with `columns` parameters for each row.
    pub(super) fn new(before: &str, columns: usize, after: &str) -> Self {
        let row = format!("({})", vec!["?"; columns].join(", "));
        Self(SIZES.map(|size| (size, format!("{before} VALUES {} {after}", vec![row.as_str(); size].join(", ")))))
    }

    /// Writes `rows`, whose values `bind` binds in the columns' order.
    pub(super) async fn run<T>(
        &'static self,
        connection: &mut SqliteConnection,
        mut rows: &[T],
        bind: impl Fn(Binding, &T) -> Binding,
    ) -> Result<(), sqlx::Error> {
        for (size, sql) in &self.0 {
            while let Some((now, later)) = rows.split_at_checked(*size) {
                now.iter().fold(sqlx::query(sql.as_str()), &bind).execute(&mut *connection).await?;
                rows = later;
            }
        }
        Ok(())
    }
}
