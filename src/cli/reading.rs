//! What the commands that ask the ledger share: which ledger, how the answer is written, and where it goes.

use std::{io::Write as _, sync::Arc};

use clap::ValueEnum;
use serde::Serialize;

use super::{Failure, text::Text};
use crate::{
    ledger::{self, Installation, Store, StoreError},
    lifecycle::TABLES,
};

/// Which ledger is read.
#[derive(clap::Args)]
pub struct Ledger {
    /// The ledger: `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/DATABASE`. It must be there.
    #[arg(long, env = "DATABASE_URL", default_value = "sqlite:trueup.db", hide_env_values = true)]
    database_url: String,
}

// The address may hold a password.
impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ledger")
    }
}

impl Ledger {
    /// Opens it, for reading.
    pub async fn open(&self) -> Result<(Arc<dyn Store>, Installation), Failure> {
        self.try_open().await.map_err(|error| failure(&error))
    }

    /// The one at `url`.
    pub fn at(url: &str) -> Self {
        Self { database_url: url.to_owned() }
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.database_url
    }

    /// The same, for whoever must know why it cannot be opened.
    pub async fn try_open(&self) -> Result<(Arc<dyn Store>, Installation), StoreError> {
        ledger::open_existing(&self.database_url, TABLES).await
    }

    /// Opens it for somebody who mends deliveries. What is not there is not made.
    pub async fn open_to_mend(&self) -> Result<Arc<dyn Store>, Failure> {
        self.open().await?;
        ledger::open(&self.database_url, TABLES).map_err(|error| failure(&error))
    }
}

/// What a reader's failure means: 1 for a ledger that is damaged, 2 for a wrong address, 3 for no answer.
pub fn failure(error: &StoreError) -> Failure {
    match error {
        StoreError::Unavailable { .. } => {
            Failure::unreachable(&format!("{error}; is it running, and does DATABASE_URL name it?"))
        }
        StoreError::Corrupt { .. } => Failure::violated(error),
        _ => Failure::usage(error),
    }
}

/// How an answer is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

impl Output {
    /// Writes an answer: `value` for programs, `lines` for people.
    pub fn print(self, value: &impl Serialize, lines: impl FnOnce() -> Vec<Text>) -> Result<(), Failure> {
        match self {
            Self::Table => {
                emit(&lines());
                Ok(())
            }
            Self::Json => emit_json(value),
        }
    }
}

/// Writes `lines` to standard output: in colours on a terminal, unless NO_COLOR asks for none.
pub fn emit(lines: &[Text]) {
    let mut text = String::new();
    for line in lines {
        text.push_str(&line.to_ansi());
        text.push('\n');
    }
    // A reader that has seen enough closes the pipe, and that is no failure.
    let _ = anstream::stdout().lock().write_all(text.as_bytes());
}

/// Writes `value` to standard output as JSON.
pub fn emit_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::usage(&format!("writing the answer as JSON: {error}")))?;
    let _ = writeln!(std::io::stdout().lock(), "{text}");
    Ok(())
}
