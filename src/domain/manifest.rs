//! What a mover's pod says of itself when it ends: the manifest of a sealed artifact, or why there is none.
//!
//! It travels as the container's termination message, which Kubernetes cuts at 4,096 bytes, so it is small JSON
//! and [`Ended::to_message`] keeps it below that. Whoever reads it must expect anything: a container that was killed
//! says nothing, and one that never started says what the container runtime thought of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Hash, Timestamp};

/// How long a message may be, in bytes: what Kubernetes keeps of a termination message.
/// Source: <https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/>.
pub const MESSAGE_LIMIT: usize = 4096;

/// The version of the format that this program writes and reads.
const VERSION: u32 = 1;

/// How a mover ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ended {
    /// The dump ended well, and the repository has all of it.
    Sealed(Manifest),
    /// The artifacts of a backup are gone from the repository; this many were there.
    Forgotten(u64),
    /// Neither, and why. The repository holds nothing of this run that looks like an artifact.
    Failed(Failure),
}

/// What is known of a sealed artifact.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The repository's snapshot: all 64 hexadecimal digits.
    pub snapshot_id: String,
    /// The one file within the snapshot, without a folder.
    pub file: String,
    /// The dump's length in bytes, as counted on its way and as the repository has it.
    pub size_bytes: u64,
    /// SHA-256 of the dump's bytes.
    pub sha256: Hash,
    /// What wrote the dump, in its own words; `unknown` if it did not say.
    pub dump_tool: String,
    /// What stored it, such as `restic 0.14.0`.
    pub repository_tool: String,
    /// When the mover began.
    pub started_at: Timestamp,
    /// When the snapshot was complete and had been looked up again.
    pub completed_at: Timestamp,
    /// Older artifacts of the same backup that could not be removed, because the repository was in use.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub superseded_left: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Why a mover did not do what it was asked to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct Failure {
    /// In one word, fit for a condition's reason and for a metric's label.
    pub reason: FailureReason,
    /// In sentences: what was being done, to what, why it failed, what to do next. Without secrets.
    pub message: String,
}

/// Why a mover failed, in one word.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum FailureReason {
    /// The dump ended badly, or without saying how.
    DumpFailed,
    /// The dump ended well, but wrote nothing.
    DumpEmpty,
    /// The repository did not answer, or refused the credentials of its store.
    RepositoryUnreachable,
    /// The repository's key is another one.
    RepositoryKeyWrong,
    /// Somebody else had the repository to themselves for too long.
    RepositoryLocked,
    /// The repository answers, but cannot be read.
    RepositoryDamaged,
    /// The dump was fine, but storing it, or finding it again, failed.
    StoreFailed,
    /// Removing artifacts failed.
    ForgetFailed,
    /// The mover was told to stop before it was done.
    Interrupted,
    /// The mover was started wrongly: a variable, a file or a program is missing.
    Misconfigured,
    /// A word of a newer mover.
    #[serde(other)]
    Unknown,
}

/// Why a text is not what a mover says at its end.
#[derive(Debug, thiserror::Error)]
pub enum ManifestFault {
    /// The container ended without a word: it was killed, or never ran.
    #[error("the mover ended without a message; it was killed or never ran: see the pod's events")]
    Silent,
    /// Not the JSON that was expected.
    #[error("the mover's message is not a manifest ({error}); it reads: {text}")]
    Malformed {
        /// What the parser says.
        error: serde_json::Error,
        /// How the text begins.
        text: String,
    },
    /// Made by a mover of another version of Trueup.
    #[error("the mover's message has version {0}, but this Trueup reads version {VERSION}: give both the same image")]
    Version(u32),
    /// The JSON is right, but what it says cannot be.
    #[error("the mover's manifest cannot be right: {0}")]
    Impossible(&'static str),
}

/// The envelope: exactly one of its parts is present.
#[derive(Serialize)]
struct Message {
    version: u32,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    manifest: Option<Manifest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forgotten: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
}

impl Manifest {
    /// Reads what a mover left as its container's termination message.
    pub fn parse(text: &str) -> Result<Ended, ManifestFault> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        #[derive(Deserialize)]
        struct Error {
            error: Failure,
        }
        #[derive(Deserialize)]
        struct Forgotten {
            forgotten: u64,
        }

        let text = text.trim();
        if text.is_empty() {
            return Err(ManifestFault::Silent);
        }
        let malformed = |error| ManifestFault::Malformed { error, text: text.chars().take(200).collect() };
        let value: serde_json::Value = serde_json::from_str(text).map_err(malformed)?;
        // The version first: a newer message may look different in every other part.
        let Versioned { version } = Versioned::deserialize(&value).map_err(malformed)?;
        if version != VERSION {
            return Err(ManifestFault::Version(version));
        }
        if value.get("error").is_some() {
            return Error::deserialize(&value).map(|it| Ended::Failed(it.error)).map_err(malformed);
        }
        if value.get("forgotten").is_some() {
            return Forgotten::deserialize(&value).map(|it| Ended::Forgotten(it.forgotten)).map_err(malformed);
        }
        Self::deserialize(&value).map_err(malformed)?.plausible().map(Ended::Sealed)
    }

    /// The snapshot's first eight digits, as restic shows it.
    pub fn short_id(&self) -> &str {
        self.snapshot_id.get(..8).unwrap_or(&self.snapshot_id)
    }

    fn plausible(self) -> Result<Self, ManifestFault> {
        if self.snapshot_id.len() != 64 || !self.snapshot_id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ManifestFault::Impossible("snapshotId is not 64 hexadecimal digits"));
        }
        if self.size_bytes == 0 {
            return Err(ManifestFault::Impossible("sizeBytes is zero, but an empty dump is no artifact"));
        }
        if self.file.is_empty() {
            return Err(ManifestFault::Impossible("file is empty"));
        }
        Ok(self)
    }
}

impl Ended {
    /// The message to leave behind, at most [`MESSAGE_LIMIT`] bytes long. A long failure loses its beginning, because
    /// programs say what went wrong last.
    pub fn to_message(&self) -> String {
        let mut message = Message { version: VERSION, manifest: None, forgotten: None, error: None };
        match self {
            Self::Sealed(manifest) => message.manifest = Some(manifest.clone()),
            Self::Forgotten(count) => message.forgotten = Some(*count),
            Self::Failed(failure) => message.error = Some(failure.clone()),
        }
        loop {
            // These types have no map keys or floats, so serde_json cannot refuse them.
            let text = serde_json::to_string(&message).unwrap_or_default();
            let excess = text.len().saturating_sub(MESSAGE_LIMIT);
            match &mut message.error {
                Some(failure) if excess > 0 => failure.message = shortened(&failure.message, excess),
                _ => return text,
            }
        }
    }
}

/// `text` with less of its beginning, marked as cut, for JSON that is `excess` bytes too long. Always shorter than before,
/// and never by more than needed: one byte of text is up to six of JSON.
fn shortened(text: &str, excess: usize) -> String {
    const MARK: &str = "... ";
    let (body, mark) = text.strip_prefix(MARK).map_or((text, MARK.len()), |body| (body, 0));
    let from = (mark + 1 + excess / 6).min(body.len());
    let from = (from..=body.len()).find(|at| body.is_char_boundary(*at)).unwrap_or(body.len());
    format!("{MARK}{}", &body[from..])
}

impl Failure {
    /// A failure with its explanation.
    pub fn new(reason: FailureReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

impl FailureReason {
    /// The word as the message, conditions and metrics have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DumpFailed => "DumpFailed",
            Self::DumpEmpty => "DumpEmpty",
            Self::RepositoryUnreachable => "RepositoryUnreachable",
            Self::RepositoryKeyWrong => "RepositoryKeyWrong",
            Self::RepositoryLocked => "RepositoryLocked",
            Self::RepositoryDamaged => "RepositoryDamaged",
            Self::StoreFailed => "StoreFailed",
            Self::ForgetFailed => "ForgetFailed",
            Self::Interrupted => "Interrupted",
            Self::Misconfigured => "Misconfigured",
            Self::Unknown => "Unknown",
        }
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            snapshot_id: "ab".repeat(32),
            file: "shop.dump".into(),
            size_bytes: 9_007_199_254_740_993,
            sha256: Hash::ZERO,
            dump_tool: "pg_dump (PostgreSQL) 17.2".into(),
            repository_tool: "restic 0.14.0".into(),
            started_at: Timestamp::from_micros(1_767_225_600_000_000),
            completed_at: Timestamp::from_micros(1_767_225_605_000_001),
            superseded_left: 0,
        }
    }

    #[test]
    fn what_a_mover_writes_is_read_back_unchanged() {
        let failed = Ended::Failed(Failure::new(FailureReason::DumpEmpty, "nothing came"));
        for ended in [Ended::Sealed(manifest()), Ended::Forgotten(3), failed] {
            assert_eq!(Manifest::parse(&ended.to_message()).unwrap(), ended);
        }
    }

    #[test]
    fn the_message_has_the_names_that_the_format_promises() {
        insta::assert_snapshot!(Ended::Sealed(manifest()).to_message(), @r#"{"version":1,"snapshotId":"abababababababababababababababababababababababababababababababab","file":"shop.dump","sizeBytes":9007199254740993,"sha256":"0000000000000000000000000000000000000000000000000000000000000000","dumpTool":"pg_dump (PostgreSQL) 17.2","repositoryTool":"restic 0.14.0","startedAt":"2026-01-01T00:00:00.000000Z","completedAt":"2026-01-01T00:00:05.000001Z"}"#);
        let failed = Ended::Failed(Failure::new(FailureReason::DumpFailed, "the dump ended with exit code 1"));
        insta::assert_snapshot!(failed.to_message(), @r#"{"version":1,"error":{"reason":"DumpFailed","message":"the dump ended with exit code 1"}}"#);
        insta::assert_snapshot!(Ended::Forgotten(2).to_message(), @r#"{"version":1,"forgotten":2}"#);
    }

    #[test]
    fn a_long_failure_keeps_its_end_and_fits() {
        for filler in ["x", "\u{1}", "ä", "\"", "🦀"] {
            let text = format!("{}the last words", filler.repeat(9_000));
            let message = Ended::Failed(Failure::new(FailureReason::StoreFailed, text)).to_message();
            let length = message.len();
            assert!((MESSAGE_LIMIT - 32..=MESSAGE_LIMIT).contains(&length), "{length} bytes of {filler:?}");
            let Ended::Failed(read) = Manifest::parse(&message).unwrap() else { panic!("not a failure") };
            assert!(read.message.starts_with("... ") && read.message.ends_with("the last words"), "{read}");
        }
    }

    #[test]
    fn a_text_that_is_no_message_is_refused_with_a_reason() {
        assert!(matches!(Manifest::parse("  \n"), Err(ManifestFault::Silent)));
        assert!(matches!(Manifest::parse("OOMKilled"), Err(ManifestFault::Malformed { .. })));
        assert!(matches!(Manifest::parse(r#"{"version":2,"artifact":{}}"#), Err(ManifestFault::Version(2))));
        assert!(matches!(Manifest::parse(r#"{"version":1}"#), Err(ManifestFault::Malformed { .. })));
        for wrong in [
            Manifest { size_bytes: 0, ..manifest() },
            Manifest { snapshot_id: "f9368dd1".into(), ..manifest() },
            Manifest { file: String::new(), ..manifest() },
        ] {
            let message = Ended::Sealed(wrong).to_message();
            assert!(matches!(Manifest::parse(&message), Err(ManifestFault::Impossible(_))), "{message}");
        }
    }

    #[test]
    fn a_reason_that_only_a_newer_mover_knows_is_still_a_failure() {
        let read = Manifest::parse(r#"{"version":1,"error":{"reason":"MoonPhase","message":"m"}}"#).unwrap();
        assert_eq!(read, Ended::Failed(Failure::new(FailureReason::Unknown, "m")));
    }

    #[test]
    fn every_reason_is_written_as_it_is_called() {
        for reason in [FailureReason::DumpFailed, FailureReason::Misconfigured, FailureReason::RepositoryKeyWrong] {
            assert_eq!(serde_json::to_string(&reason).unwrap(), format!("\"{reason}\""));
        }
    }
}
