//! `trueup ledger backup`, `verify` and `restore`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    cli::{
        Failure, describe,
        reading::{self, Ledger},
        text::{BAD, GOOD, PLAIN, Text},
    },
    domain::{Clock as _, SystemClock, SystemRandom, Timestamp},
    ledger::{self, BackupError, Contents},
    lifecycle::TABLES,
};

/// How many violations of a backup are shown.
const SHOWN: usize = 20;

#[derive(Debug, clap::Args)]
pub struct BackupArgs {
    /// The file to write, which must not be there yet; or a directory, and the file's name is made of the time.
    target: PathBuf,
    #[command(flatten)]
    ledger: Ledger,
}

#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// The backup.
    file: PathBuf,
    /// A directory with room for a database as large as the ledger. It is restored there to be checked.
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    scratch: PathBuf,
}

#[derive(clap::Args)]
pub struct RestoreArgs {
    /// The backup.
    file: PathBuf,
    /// The empty database to restore into: `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/DATABASE`.
    // Never from the environment, which names the ledger that is in use.
    #[arg(long)]
    database_url: String,
}

// The address may hold a password.
impl std::fmt::Debug for RestoreArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RestoreArgs({})", self.file.display())
    }
}

/// Takes a backup.
pub async fn backup(args: BackupArgs) -> Result<(), Failure> {
    let now = SystemClock::default().now();
    let path = if args.target.is_dir() { args.target.join(name_at(now)) } else { args.target };
    let contents = ledger::backup(args.ledger.url(), &path, TABLES, now).await.map_err(|error| failure(&error))?;
    let size = fs::metadata(&path).map_or(0, |file| file.len());
    reading::emit(&[Text::new(GOOD, "backup: ")
        .and(PLAIN, format!("{} of {}, {size} bytes in {}", said(&contents), contents.installation, path.display()))]);
    Ok(())
}

/// Checks a backup. Exit code 1 if anything is wrong with it.
pub async fn verify(args: VerifyArgs) -> Result<(), Failure> {
    let scratch = Scratch::make(&args.scratch)?;
    let verified = ledger::verify(&args.file, &scratch.0.join("verify.db"), TABLES).await;
    let (contents, report) = verified.map_err(|error| failure(&error))?;
    if report.is_clean() {
        let taken = format!("taken at {} from installation {}", contents.taken_at, contents.installation);
        reading::emit(&[Text::new(GOOD, "verify: ")
            .and(PLAIN, format!("{}; all invariants hold; {taken}; sha256 {}", said(&contents), contents.sha256))]);
        return Ok(());
    }
    let found = report.violations.iter().take(SHOWN).map(|violation| Text::new(PLAIN, violation.to_string()));
    let mut lines: Vec<Text> = found.collect();
    lines.push(Text::new(
        BAD,
        format!(
            "verify: the file is whole, and the ledger in it violates its invariants in {} places; it was damaged \
             before the backup was taken",
            describe::grouped(report.violated)
        ),
    ));
    reading::emit(&lines);
    Err(Failure::reported())
}

/// Restores a backup.
pub async fn restore(args: RestoreArgs) -> Result<(), Failure> {
    let contents = ledger::restore(&args.file, &args.database_url, TABLES).await.map_err(|error| failure(&error))?;
    reading::emit(&[
        Text::new(GOOD, "restore: ").and(PLAIN, said(&contents)),
        Text::new(
            PLAIN,
            format!(
                "It ends where the backup was taken, at {}. What was recorded later is missing: the controller says so \
                 (LedgerBehind) and appends nothing there until `trueup ledger recover` has run.",
                contents.taken_at
            ),
        ),
    ]);
    Ok(())
}

pub(super) fn said(contents: &Contents) -> String {
    let count = |table: &str| contents.rows.get(table).copied().unwrap_or(0);
    format!(
        "{} and {}",
        describe::count(count("resource"), "stream"),
        describe::count(count("transition"), "transition")
    )
}

/// A name that sorts by time, and that every file system takes.
fn name_at(now: Timestamp) -> String {
    let time: String = now.to_string().chars().filter(char::is_ascii_alphanumeric).collect();
    format!("trueup-ledger-{time}.jsonl")
}

/// A directory that is gone afterwards.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn make(within: &Path) -> Result<Self, Failure> {
        use crate::domain::Random as _;
        let path = within.join(format!("trueup-verify-{}", SystemRandom.token()));
        fs::create_dir(&path).map_err(|error| {
            Failure::usage(&format!("making the directory {}: {error}; give another --scratch", path.display()))
        })?;
        Ok(Self(path))
    }

    /// A file in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("trueup: removing {}: {error}", self.0.display());
        }
    }
}

pub(super) fn failure(error: &BackupError) -> Failure {
    match error {
        BackupError::Store(error) => reading::failure(error),
        BackupError::Damaged { .. } => Failure::violated(error),
        _ => Failure::usage(error),
    }
}
