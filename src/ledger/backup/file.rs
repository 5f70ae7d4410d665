//! The form of a backup: lines of JSON.
//!
//! The first line says what it is and whose; then comes one line for each row, `{"TABLE":{"COLUMN":value,...}}`, bytes
//! written as `\x` and hexadecimal digits; the last line counts the rows and carries the SHA-256 of all bytes before it.
//! Without that line a backup is not whole.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::BackupError;
use crate::{
    domain::{Timestamp, Uid},
    ledger::types::Installation,
};

/// The version of the form.
const FORM: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct FirstLine {
    #[serde(rename = "trueup-ledger-backup")]
    about: About,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct About {
    form: u32,
    migration: i64,
    #[serde(rename = "takenAt")]
    taken_at: Timestamp,
    installation: String,
    #[serde(rename = "clusterUid")]
    cluster_uid: Uid,
}

#[derive(Debug, Serialize, Deserialize)]
struct LastLine {
    end: End,
}

#[derive(Debug, Serialize, Deserialize)]
struct End {
    rows: BTreeMap<String, u64>,
    shards: Vec<ShardEnd>,
    sha256: String,
}

/// How far a shard had come.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ShardEnd {
    /// Which.
    pub id: i64,
    /// Its newest position.
    pub head: i64,
    /// The term that was valid.
    pub epoch: i64,
}

/// What a backup holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Contents {
    /// The installation's id.
    pub installation: String,
    /// The cluster it belongs to.
    pub cluster_uid: Uid,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// The rows of each table that has any.
    pub rows: BTreeMap<String, u64>,
    /// How far each shard had come.
    pub shards: Vec<ShardEnd>,
    /// The digest of everything, in hexadecimal digits.
    pub sha256: String,
}

/// What was counted on the way.
#[derive(Default)]
struct Tally {
    digest: Sha256,
    rows: BTreeMap<String, u64>,
    shards: Vec<ShardEnd>,
}

impl Tally {
    fn row(&mut self, table: &str, row: &str) -> Result<(), serde_json::Error> {
        match self.rows.get_mut(table) {
            Some(count) => *count += 1,
            None => drop(self.rows.insert(table.to_owned(), 1)),
        }
        if table == "shard" {
            self.shards.push(serde_json::from_str(row)?);
        }
        Ok(())
    }

    fn end(self) -> End {
        let mut shards = self.shards;
        shards.sort_by_key(|shard| shard.id);
        End { rows: self.rows, shards, sha256: hex::encode(self.digest.finalize()) }
    }
}

fn contents(about: About, end: End) -> Contents {
    Contents {
        installation: about.installation,
        cluster_uid: about.cluster_uid,
        taken_at: about.taken_at,
        rows: end.rows,
        shards: end.shards,
        sha256: end.sha256,
    }
}

/// A backup that is being written, beside the name that it gets at the end.
pub(super) struct Writer {
    path: PathBuf,
    partial: Partial,
    file: BufWriter<File>,
    about: About,
    tally: Tally,
}

/// The unfinished file, which goes unless it is finished.
struct Partial(Option<PathBuf>);

impl Drop for Partial {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // It is incomplete, says so by its name, and is of no use: whether it could be removed changes nothing.
            let _ = fs::remove_file(path);
        }
    }
}

impl Writer {
    pub(super) fn create(
        path: &Path,
        migration: i64,
        taken_at: Timestamp,
        installation: &Installation,
    ) -> Result<Self, BackupError> {
        if path.exists() {
            return Err(BackupError::Exists(path.to_owned()));
        }
        let mut name = path.as_os_str().to_owned();
        name.push(".partial");
        let partial = PathBuf::from(name);
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&partial);
        let file = file.map_err(|source| writing(&partial, source))?;
        let about = About {
            form: FORM,
            migration,
            taken_at,
            installation: installation.id.to_string(),
            cluster_uid: installation.cluster_uid.clone(),
        };
        let mut writer = Self {
            path: path.to_owned(),
            partial: Partial(Some(partial)),
            file: BufWriter::with_capacity(1 << 20, file),
            about,
            tally: Tally::default(),
        };
        let first = serde_json::to_string(&FirstLine { about: writer.about.clone() });
        writer.line(&first.map_err(|error| writing(path, error.into()))?)?;
        Ok(writer)
    }

    pub(super) fn row(&mut self, table: &str, row: &str) -> Result<(), BackupError> {
        self.tally.row(table, row).map_err(|error| writing(&self.path, error.into()))?;
        self.line(&format!("{{\"{table}\":{row}}}"))
    }

    pub(super) fn finish(mut self) -> Result<Contents, BackupError> {
        let path = self.path.clone();
        let failed = |source| writing(&path, source);
        let end = std::mem::take(&mut self.tally).end();
        let last = LastLine { end };
        serde_json::to_writer(&mut self.file, &last).map_err(|error| failed(error.into()))?;
        self.file.write_all(b"\n").map_err(failed)?;
        let file = self.file.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)?;
        if let Some(partial) = &self.partial.0 {
            // Not a rename, which would replace what somebody put there meanwhile.
            fs::hard_link(partial, &path).map_err(failed)?;
        }
        sync_directory(&path).map_err(failed)?;
        Ok(contents(self.about, last.end))
    }

    fn line(&mut self, text: &str) -> Result<(), BackupError> {
        self.tally.digest.update(text.as_bytes());
        self.tally.digest.update(b"\n");
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.write_all(b"\n"));
        written.map_err(|source| writing(&self.path, source))
    }
}

/// The name, too, must survive a power cut.
fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

fn writing(path: &Path, source: io::Error) -> BackupError {
    BackupError::File { doing: "writing the backup", path: path.to_owned(), source }
}

/// What stands next in a backup.
pub(super) enum Entry {
    /// A row of a table.
    Row {
        /// The table.
        table: String,
        /// The row, as JSON.
        row: String,
    },
    /// The end, and everything before it was as it should be.
    End(Contents),
}

/// A backup that is being read. Nothing that it says may be believed before its end was reached.
pub(super) struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    about: About,
    tally: Tally,
}

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Self, BackupError> {
        let file = File::open(path).map_err(|source| reading(path, source))?;
        let mut file = BufReader::with_capacity(1 << 20, file);
        let mut line = Vec::new();
        file.read_until(b'\n', &mut line).map_err(|source| reading(path, source))?;
        let damaged = |what: String| BackupError::Damaged { path: path.to_owned(), what };
        let first: FirstLine = serde_json::from_slice(&line)
            .map_err(|_| damaged("its first line is not that of a backup of Trueup's ledger".to_owned()))?;
        let about = first.about;
        if about.form != FORM {
            return Err(damaged(format!("its form is version {}, and this Trueup reads {FORM}", about.form)));
        }
        let mut tally = Tally::default();
        tally.digest.update(&line);
        Ok(Self { path: path.to_owned(), file, about, tally })
    }

    /// The version of the tables that it was taken from.
    pub(super) fn version(&self) -> i64 {
        self.about.migration
    }

    pub(super) fn damaged(&self, what: String) -> BackupError {
        BackupError::Damaged { path: self.path.clone(), what }
    }

    pub(super) fn next(&mut self) -> Result<Entry, BackupError> {
        let mut line = Vec::new();
        self.file.read_until(b'\n', &mut line).map_err(|source| reading(&self.path, source))?;
        if line.last() != Some(&b'\n') {
            return Err(self.damaged("it ends in the middle".to_owned()));
        }
        if line.starts_with(b"{\"end\":") {
            return self.end(&line);
        }
        self.tally.digest.update(&line);
        let (table, row) = parse(&line).ok_or_else(|| self.damaged("one of its lines is no row".to_owned()))?;
        self.tally.row(&table, &row).map_err(|error| self.damaged(format!("a shard's row: {error}")))?;
        Ok(Entry::Row { table, row })
    }

    fn end(&mut self, line: &[u8]) -> Result<Entry, BackupError> {
        let said: LastLine =
            serde_json::from_slice(line).map_err(|error| self.damaged(format!("its last line: {error}")))?;
        let mut beyond = Vec::new();
        self.file.read_until(b'\n', &mut beyond).map_err(|source| reading(&self.path, source))?;
        if !beyond.is_empty() {
            return Err(self.damaged("something follows its last line".to_owned()));
        }
        let (said, found) = (said.end, std::mem::take(&mut self.tally).end());
        if said.sha256 != found.sha256 {
            let what = format!("its digest is {}, and its last line says {}", found.sha256, said.sha256);
            return Err(self.damaged(what));
        }
        if said.rows != found.rows || said.shards != found.shards {
            return Err(self.damaged(format!("it has {:?} rows, and says {:?}", found.rows, said.rows)));
        }
        Ok(Entry::End(contents(self.about.clone(), found)))
    }
}

fn reading(path: &Path, source: io::Error) -> BackupError {
    BackupError::File { doing: "reading the backup", path: path.to_owned(), source }
}

/// The table and the row of a line.
fn parse(line: &[u8]) -> Option<(String, String)> {
    let line = std::str::from_utf8(line).ok()?.trim_end_matches('\n');
    let (table, rest) = line.strip_prefix("{\"")?.split_once("\":")?;
    let row = rest.strip_suffix('}')?;
    // Whoever writes rows back pastes them together.
    serde_json::from_str::<serde::de::IgnoredAny>(row).ok()?;
    row.starts_with('{').then(|| (table.to_owned(), row.to_owned()))
}
