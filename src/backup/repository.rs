//! The repository as the mover needs it: there, unlocked sooner or later, and asked for snapshots.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use tokio::time::sleep;
use tracing::{info, warn};

use super::{
    restic::{LONG, Restic, SHORT, interrupted},
    trouble::{Kind, Trouble},
};
use crate::domain::{Clock, Sequence, Timestamp, Uid};

/// The tag that every snapshot of Trueup has.
const OURS: &str = "trueup";
const UID: &str = "uid=";
const SEQUENCE: &str = "sequence=";
const RUN: &str = "run=";

/// How long a store other than a folder is given to show who else made the repository.
const SETTLE: Duration = Duration::from_secs(10);

/// A snapshot, as restic lists it.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub(super) struct Snapshot {
    /// All 64 digits.
    pub id: String,
    time: String,
    #[serde(default)]
    tags: Vec<String>,
}

/// The tags of the snapshot that one run makes.
#[derive(Clone, Debug)]
pub struct Tags {
    /// The Backup.
    pub uid: Uid,
    /// The transition that asked for it.
    pub sequence: Sequence,
    /// A random word that only this run knows: what carries it was made by this run, whatever else went wrong.
    pub run: String,
}

impl Tags {
    /// As arguments for restic.
    pub fn arguments(&self) -> Vec<String> {
        [OURS.into(), format!("{UID}{}", self.uid), format!("{SEQUENCE}{}", self.sequence), self.run_tag()]
            .into_iter()
            .flat_map(|tag| ["--tag".into(), tag])
            .collect()
    }

    /// The tag that only this run's snapshot has.
    pub fn run_tag(&self) -> String {
        format!("{RUN}{}", self.run)
    }
}

/// The tag of all snapshots of a Backup.
pub(super) fn uid_tag(uid: &Uid) -> String {
    format!("{UID}{uid}")
}

impl Snapshot {
    /// Whether it has this tag.
    pub(super) fn has(&self, tag: &str) -> bool {
        self.tags.iter().any(|own| own == tag)
    }

    /// What was asked for later, and begun later, is newer; the id decides between equals, so that of two runs at once
    /// each sees the same one as the newer, and they cannot remove each other's.
    fn age(&self) -> (i64, Option<Timestamp>, &str) {
        let sequence = self.tags.iter().find_map(|tag| tag.strip_prefix(SEQUENCE)?.parse().ok());
        (sequence.unwrap_or_default(), self.time.parse().ok(), &self.id)
    }

    /// Whether `other` has come after it.
    pub(super) fn is_older_than(&self, other: &Self) -> bool {
        self.age() < other.age()
    }
}

/// How long to go on when somebody else has the repository to himself.
///
/// The lock of a living one goes away with its work, and that of a dead one is removed: restic takes it for dead after
/// half an hour, so waiting longer than that outlasts every dead one.
pub(super) struct Patience<'a> {
    clock: &'a dyn Clock,
    until: Duration,
    pause: Duration,
}

impl<'a> Patience<'a> {
    /// Patience for this long, from now.
    pub(super) fn of(clock: &'a dyn Clock, wait: Duration) -> Self {
        Self { clock, until: clock.monotonic() + wait, pause: Duration::from_millis(500) }
    }

    /// Waits a little and removes the locks of the dead; says whether to try again.
    pub(super) async fn again(&mut self, restic: &Restic, trouble: &Trouble) -> bool {
        if trouble.kind != Kind::Locked || self.clock.monotonic() >= self.until {
            return false;
        }
        info!(said = trouble.said, "the repository is locked; waiting for it");
        let left = self.until.saturating_sub(self.clock.monotonic());
        tokio::select! {
            () = restic.stop().cancelled() => return false,
            () = sleep(self.pause.min(left)) => {}
        }
        self.pause = (self.pause * 2).min(Duration::from_secs(15));
        if let Err(trouble) = restic.unlock().await {
            warn!(said = trouble.said, "cannot remove the locks of the dead");
        }
        true
    }
}

/// Runs restic, again and again while the repository is locked.
pub(super) async fn run_patiently(
    restic: &Restic,
    arguments: &[String],
    mut patience: Patience<'_>,
) -> Result<(), Trouble> {
    loop {
        match restic.run(arguments, LONG).await {
            Ok(_) => return Ok(()),
            Err(trouble) => {
                if !patience.again(restic, &trouble).await {
                    return Err(trouble);
                }
            }
        }
    }
}

/// The snapshots with this tag. Takes no lock, so that nobody's prune delays it.
pub(super) async fn snapshots(restic: &Restic, tag: &str) -> Result<Vec<Snapshot>, Trouble> {
    let text = restic.run(&["snapshots", "--no-lock", "--json", "--tag", tag], SHORT).await?;
    serde_json::from_str(&text)
        .map_err(|error| Trouble::new(Kind::Other, format!("restic's list of snapshots cannot be read: {error}")))
}

/// How long the one file of a snapshot is, in bytes.
pub(super) async fn size_of(restic: &Restic, snapshot: &str, file: &str) -> Result<u64, Trouble> {
    #[derive(Deserialize)]
    struct Node {
        path: String,
        #[serde(default)]
        size: u64,
    }
    let text = restic.run(&["ls", "--no-lock", "--json", snapshot], SHORT).await?;
    let path = format!("/{file}");
    text.lines()
        // The first line tells of the snapshot itself and has no such fields.
        .filter_map(|line| serde_json::from_str::<Node>(line).ok())
        .find(|node| node.path == path)
        .map(|node| node.size)
        .ok_or_else(|| Trouble::new(Kind::Other, format!("snapshot {snapshot} has no file {path}")))
}

/// Forgets these snapshots. Their data stays until the next prune.
pub(super) async fn forget(restic: &Restic, ids: &[&str], patience: Patience<'_>) -> Result<(), Trouble> {
    if ids.is_empty() {
        return Ok(());
    }
    let arguments: Vec<String> = ["forget"].iter().chain(ids).map(|word| (*word).to_owned()).collect();
    run_patiently(restic, &arguments, patience).await
}

/// Opens the repository, which removes the locks of the dead, or makes it if it is not there. `run` is a word that only
/// this run knows.
pub(super) async fn open_or_make(restic: &Restic, location: &str, run: &str) -> Result<(), Trouble> {
    match restic.unlock().await {
        Err(trouble) if trouble.kind == Kind::Missing => {}
        other => return other,
    }
    info!("there is no repository yet: making it");
    let made = match folder_of(location) {
        Some(folder) => make_in_folder(restic, &folder, run).await,
        None => restic.run(&["init"], SHORT).await.map(drop),
    };
    let waited = tokio::select! {
        () = restic.stop().cancelled() => return Err(interrupted()),
        () = settle(location) => restic.unlock().await,
    };
    // Somebody else may have made it in the meantime: then failing to is no failure.
    match (made, waited) {
        (_, Ok(())) => Ok(()),
        (Err(trouble), Err(after)) if after.kind == Kind::Missing => Err(trouble),
        (_, Err(trouble)) => Err(trouble),
    }
}

/// The folder that a repository is in, if it is in one.
fn folder_of(location: &str) -> Option<PathBuf> {
    let path = location.strip_prefix("local:").unwrap_or(location);
    (path.starts_with('/') || path.starts_with("./")).then(|| PathBuf::from(path.trim_end_matches('/')))
}

/// Makes a repository beside its place and moves it there in one step.
///
/// Two `restic init` in one place at once can both succeed and leave two master keys and one configuration, which
/// nobody can open ("config or key is damaged": k8up-io/k8up#1055). A folder that is there cannot be moved over, so
/// here one of the two wins, whole.
async fn make_in_folder(restic: &Restic, folder: &Path, run: &str) -> Result<(), Trouble> {
    let failed = |what: &str, error: &io::Error| {
        let next = "check the volume's permissions; the repository must not be the volume's root";
        Trouble::new(Kind::Other, format!("cannot {what} for {}: {error}; {next}", folder.display()))
    };
    let parent = folder.parent().unwrap_or(folder);
    fs::create_dir_all(parent).map_err(|error| failed("make the folder", &error))?;
    let draft = parent.join(format!(".trueup-{run}"));
    let made = match restic.at(&draft).run(&["init"], SHORT).await {
        Ok(_) => fs::rename(&draft, folder).map_err(|error| failed("move the new repository into place", &error)),
        Err(trouble) => Err(trouble),
    };
    if made.is_err() {
        // Absent if restic failed before it made it.
        let _ = fs::remove_dir_all(&draft);
    }
    made
}

/// In an object store nothing can be done in one step. A pause after making the repository, longer than restic takes to
/// make one, shows a clash before anything was stored in it, instead of after.
async fn settle(location: &str) {
    if folder_of(location).is_none() {
        sleep(SETTLE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(sequence: i64, time: &str, id: &str) -> Snapshot {
        Snapshot { id: id.into(), time: time.into(), tags: vec![format!("sequence={sequence}")] }
    }

    #[test]
    fn of_two_snapshots_exactly_one_is_the_older() {
        let all = [
            snapshot(2, "2026-01-01T00:00:00.5+01:00", "c"),
            snapshot(2, "2026-01-01T00:00:00Z", "b"),
            snapshot(2, "2026-01-01T00:00:00Z", "d"),
            snapshot(10, "2025-01-01T00:00:00Z", "a"),
        ];
        for (at, older) in all.iter().enumerate() {
            assert!(!older.is_older_than(older));
            for newer in &all[at + 1..] {
                assert!(older.is_older_than(newer) && !newer.is_older_than(older), "{older:?} {newer:?}");
            }
        }
    }

    #[test]
    fn a_folder_is_told_from_a_store() {
        assert_eq!(folder_of("/repository/shop/"), Some("/repository/shop".into()));
        assert_eq!(folder_of("local:/repository"), Some("/repository".into()));
        assert_eq!(folder_of("s3:https://s3.example/bucket"), None);
        assert_eq!(folder_of("rest:http://backups.example/"), None);
    }
}
