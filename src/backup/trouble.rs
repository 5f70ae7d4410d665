//! What went wrong in restic, told apart by its exit code or, before 0.17 had codes for it, by its words.

use crate::domain::{Failure, FailureReason};

/// What kind of trouble it is. Decides what is done next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// There is no repository at that place. Said only when the place itself answered so.
    Missing,
    /// The key does not open it.
    WrongKey,
    /// Somebody else has it to himself.
    Locked,
    /// It does not answer, or refuses the store's credentials.
    Unreachable,
    /// It answers, but makes no sense.
    Damaged,
    /// The mover was told to stop.
    Interrupted,
    /// restic itself could not be started.
    NotStarted,
    /// Anything else.
    Other,
}

/// Trouble with restic, not yet tied to what was being done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trouble {
    /// The kind.
    pub kind: Kind,
    /// restic's own words, without secrets.
    pub said: String,
}

/// restic has these codes since 0.17 (12 since 0.17.1): <https://restic.readthedocs.io/en/stable/075_scripting.html>.
const CODES: [(i32, Kind); 3] = [(10, Kind::Missing), (11, Kind::Locked), (12, Kind::WrongKey)];

/// How stores say that something is not there, as against "I cannot tell". "Does not exist" alone would also match
/// S3's answer to a wrong access key.
const ABSENT: [&str; 4] =
    ["no such file or directory", "specified key does not exist", "specified bucket does not exist", "<config/> does"];

const UNREACHABLE: [&str; 9] = [
    "unable to open config file",
    "dial tcp",
    "connection refused",
    "connection reset",
    "no such host",
    "i/o timeout",
    "tls: ",
    "access denied",
    "accessdenied",
];

impl Trouble {
    /// Trouble of a kind, in words.
    pub fn new(kind: Kind, said: impl Into<String>) -> Self {
        Self { kind, said: said.into() }
    }

    /// What restic meant when it ended with `code` after saying `said` on its standard error.
    pub fn of(code: Option<i32>, said: &str) -> Self {
        let words = said.to_lowercase();
        let has = |phrase: &str| words.contains(phrase);
        let by_code = CODES.iter().find(|(known, _)| Some(*known) == code).map(|(_, kind)| *kind);
        let kind = by_code.unwrap_or_else(|| {
            if has("wrong password or no key found") {
                Kind::WrongKey
            } else if has("already locked") {
                Kind::Locked
            } else if has("ciphertext verification failed") || (has("config or key") && has("damaged")) {
                Kind::Damaged
            } else if has("unable to open config file") && ABSENT.iter().any(|phrase| has(phrase)) {
                Kind::Missing
            } else if UNREACHABLE.iter().any(|phrase| has(phrase)) {
                Kind::Unreachable
            } else {
                Kind::Other
            }
        });
        let ended = code.map_or_else(|| "was killed".to_owned(), |code| format!("ended with exit code {code}"));
        let said = said.trim();
        let said = if said.is_empty() { "nothing" } else { said };
        Self { kind, said: format!("restic {ended} and said: {said}") }
    }

    /// The failure that this is while doing something; `otherwise` if the trouble has no reason of its own.
    pub fn during(&self, doing: &str, otherwise: FailureReason) -> Failure {
        let (reason, next) = match self.kind {
            Kind::Missing => (FailureReason::RepositoryUnreachable, "check the repository's place"),
            Kind::WrongKey => (
                FailureReason::RepositoryKeyWrong,
                "put the key that the repository was made with into the BackupRepository's Secret",
            ),
            Kind::Locked => (
                FailureReason::RepositoryLocked,
                "another backup, prune or check is using it: wait for that, or run 'restic unlock' if it is dead",
            ),
            Kind::Unreachable => (
                FailureReason::RepositoryUnreachable,
                "check the repository's address and credentials, and that network policies let the pod reach it",
            ),
            Kind::Damaged => {
                (FailureReason::RepositoryDamaged, "run 'restic check' on it, and see restic's troubleshooting guide")
            }
            Kind::Interrupted => (FailureReason::Interrupted, "see the pod's and the Job's events for who stopped it"),
            Kind::NotStarted => (FailureReason::Misconfigured, "use an image that has restic (Debian: package restic)"),
            Kind::Other => (otherwise, "look at the log of the mover container"),
        };
        Failure::new(reason, format!("{doing}: {next}. {}", self.said))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restics_words_are_understood() {
        for (said, kind) in [
            (
                "Fatal: unable to open config file: stat /r/config: no such file or directory\nIs there a repository at \
                 the following location?\n/r",
                Kind::Missing,
            ),
            ("Fatal: unable to open config file: Stat: The specified key does not exist.", Kind::Missing),
            (
                "Fatal: unable to open config file: Stat: Get \"http://s3\": dial tcp: lookup s3: no such host",
                Kind::Unreachable,
            ),
            (
                "Fatal: unable to open config file: Stat: The Access Key Id you provided does not exist in our records.",
                Kind::Unreachable,
            ),
            ("Fatal: unable to open config file: Stat: Access Denied.", Kind::Unreachable),
            ("Fatal: wrong password or no key found", Kind::WrongKey),
            ("unable to create lock in backend: repository is already locked exclusively by PID 1 on h", Kind::Locked),
            ("Fatal: config or key 12ab is damaged: ciphertext verification failed", Kind::Damaged),
            ("Fatal: unable to save snapshot: no space left on device", Kind::Other),
        ] {
            assert_eq!(Trouble::of(Some(1), said).kind, kind, "{said}");
        }
    }

    #[test]
    fn an_exit_code_of_newer_versions_counts_before_the_words() {
        assert_eq!(Trouble::of(Some(10), "gone").kind, Kind::Missing);
        assert_eq!(Trouble::of(Some(11), "busy").kind, Kind::Locked);
        assert_eq!(Trouble::of(Some(12), "no").kind, Kind::WrongKey);
        assert_eq!(Trouble::of(None, "").said, "restic was killed and said: nothing");
    }
}
