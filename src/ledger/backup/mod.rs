//! Copies of a whole ledger, taken while it is in use, in a form that either database can take back.
//!
//! `file` is the form: lines of JSON and a digest over them. `sqlite` and `postgres` read their tables out of one
//! snapshot and write them back. Tables and columns are asked of the database, so that a new one is never forgotten:
//! what is not in a backup is named in [`LEFT_OUT`].

mod error;
mod file;
mod postgres;
mod sqlite;

use std::path::Path;

use async_trait::async_trait;

pub use self::{error::BackupError, file::Contents};
use self::{
    file::{Entry, Reader, Writer},
    postgres::PostgresTables,
    sqlite::SqliteTables,
};
use super::{
    audit::{Report, audit},
    open::{Address, open, open_existing},
    sqlite::SqliteStore,
    store::{Store as _, StoreError},
};
use crate::domain::{Tables, Timestamp};

/// The tables that are not in a backup, and why not.
pub const LEFT_OUT: [(&str, &str); 3] = [
    ("_sqlx_migrations", "whoever restores has made the tables; the backup's first line says their version"),
    ("partition", "PostgreSQL's own; restoring makes the partitions that the rows need"),
    ("partitioning", "PostgreSQL's own; how large partitions are is up to the server that has them"),
];

/// Rows that are written back with one statement.
const BATCH: usize = 200;

/// One session with a database, in one transaction, which sees its tables as they were when it began.
#[async_trait]
trait TableSession: Send {
    /// The version of the tables: the number of the newest migration.
    async fn version(&mut self) -> Result<i64, StoreError>;

    /// The names of all tables, in their order.
    async fn tables(&mut self) -> Result<Vec<String>, StoreError>;

    /// Hands every row of `table` to `each`, as one JSON object without a line's end in it.
    async fn read(&mut self, table: &str, each: &mut EachRow<'_>) -> Result<(), BackupError>;

    /// Whether `table` has no rows.
    async fn is_empty(&mut self, table: &str) -> Result<bool, StoreError>;

    /// Writes rows back: `rows` is a JSON array of what `read` handed out.
    async fn write(&mut self, table: &str, rows: &str) -> Result<(), StoreError>;

    /// Makes what was written last.
    async fn commit(&mut self) -> Result<(), StoreError>;
}

/// What is done with one row.
type EachRow<'a> = dyn FnMut(&str) -> Result<(), BackupError> + Send + 'a;

/// Writes the ledger at `url` to a new file at `path`, as it is at one moment, while others go on using it.
///
/// The file appears under its name only once it is complete and on the disk.
pub async fn backup(url: &str, path: &Path, tables: Tables, now: Timestamp) -> Result<Contents, BackupError> {
    let (_, installation) = open_existing(url, tables).await?;
    let mut session = begin_reading(url).await?;
    let mut writer = Writer::create(path, session.version().await?, now, &installation)?;
    for table in backed_up(session.tables().await?) {
        session.read(&table, &mut |row| writer.row(&table, row)).await?;
    }
    writer.finish()
}

/// Writes the backup in the file at `path` into the empty database at `url`, all of it or nothing.
pub async fn restore(path: &Path, url: &str, tables: Tables) -> Result<Contents, BackupError> {
    let reader = Reader::open(path)?;
    let store = open(url, tables)?;
    store.migrate().await?;
    let mut session: Box<dyn TableSession> = match Address::parse(url)? {
        Address::File(file) => Box::new(SqliteTables::begin_writing(file).await?),
        Address::Server => Box::new(PostgresTables::begin_writing(url).await?),
    };
    fill(&mut *session, reader).await
}

/// Reads the backup in the file at `path` completely: its digest and counts, and every invariant of the ledger in it.
///
/// It is restored for that into a database of its own under `scratch`, which needs about as much room as the file, and
/// is removed afterwards.
pub async fn verify(path: &Path, scratch: &Path, tables: Tables) -> Result<(Contents, Report), BackupError> {
    let reader = Reader::open(path)?;
    let store = SqliteStore::new(scratch, tables)?;
    store.migrate().await?;
    let mut session = SqliteTables::begin_scratch(scratch).await?;
    let contents = fill(&mut session, reader).await?;
    Ok((contents, audit(&store, tables).await?))
}

/// Whether another process has the ledger at `url` open: a controller, or a command.
pub async fn is_in_use(url: &str) -> Result<bool, StoreError> {
    match Address::parse(url)? {
        Address::File(file) if !file.exists() => Err(StoreError::Missing { path: file.to_owned() }),
        Address::File(file) => SqliteTables::is_in_use(file).await,
        Address::Server => PostgresTables::is_in_use(url).await,
    }
}

fn backed_up(mut tables: Vec<String>) -> Vec<String> {
    tables.retain(|table| LEFT_OUT.iter().all(|(left_out, _)| table != left_out));
    tables
}

async fn begin_reading(url: &str) -> Result<Box<dyn TableSession>, StoreError> {
    Ok(match Address::parse(url)? {
        Address::File(file) => Box::new(SqliteTables::begin_reading(file).await?),
        Address::Server => Box::new(PostgresTables::begin_reading(url).await?),
    })
}

/// Writes everything that `reader` has into a database whose tables are there and empty.
async fn fill(session: &mut dyn TableSession, mut reader: Reader) -> Result<Contents, BackupError> {
    let (theirs, ours) = (reader.version(), session.version().await?);
    if theirs != ours {
        return Err(BackupError::OtherVersion { theirs, ours });
    }
    let known = backed_up(session.tables().await?);
    for table in &known {
        if !session.is_empty(table).await? {
            return Err(BackupError::NotEmpty { table: table.clone() });
        }
    }
    let mut batch = Batch::default();
    loop {
        match reader.next()? {
            Entry::Row { table, row } => {
                if !known.contains(&table) {
                    return Err(reader.damaged(format!("it has rows of a table {table}, which no ledger has")));
                }
                if batch.table != table || batch.rows == BATCH {
                    batch.flush(session).await?;
                    batch.table = table;
                }
                batch.add(&row);
            }
            Entry::End(contents) => {
                batch.flush(session).await?;
                session.commit().await?;
                return Ok(contents);
            }
        }
    }
}

/// Rows of one table that are written together.
#[derive(Default)]
struct Batch {
    table: String,
    rows: usize,
    json: String,
}

impl Batch {
    fn add(&mut self, row: &str) {
        self.json.push(if self.rows == 0 { '[' } else { ',' });
        self.json.push_str(row);
        self.rows += 1;
    }

    async fn flush(&mut self, session: &mut dyn TableSession) -> Result<(), StoreError> {
        if self.rows > 0 {
            self.json.push(']');
            session.write(&self.table, &self.json).await?;
        }
        self.rows = 0;
        self.json.clear();
        Ok(())
    }
}
