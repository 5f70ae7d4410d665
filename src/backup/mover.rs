//! A backup, from the dump's pipe to a manifest.
//!
//! The order is what makes it safe. restic's input is sealed only after the dump's own word that all went well; before
//! that, whatever happens ends restic without a snapshot (see [`super::feed`]). After that, whatever fails removes the
//! snapshot again. Once it was looked up and found whole, it is an artifact, and only then a manifest is made.

use std::{process::Stdio, time::Duration};

use tracing::{error, info, warn};

use super::{
    dump::{Dump, Meeting},
    feed::Feed,
    repository::{Patience, Snapshot, Tags, forget, open_or_make, size_of, snapshots, uid_tag},
    restic::{Restic, Running, interrupted},
    trouble::{Kind, Trouble},
};
use crate::domain::{Clock, Failure, FailureReason, Manifest};

/// What is to be backed up, and how.
#[derive(Clone, Debug)]
pub struct BackupRequest {
    /// Where the dump comes from.
    pub meeting: Meeting,
    /// What the dump's file is called within the snapshot.
    pub file: String,
    /// The Backup's namespace.
    pub namespace: String,
    /// The Backup's name.
    pub name: String,
    /// What marks the snapshot.
    pub tags: Tags,
    /// The repository's address.
    pub location: String,
    /// How long to go on while somebody else has the repository to himself.
    pub lock_wait: Duration,
}

/// How long it is tried to remove what the new artifact replaces. The artifact is good either way.
const TIDY_WAIT: Duration = Duration::from_mins(1);
/// How long it is tried to remove what must not stay, when the mover itself may be killed any moment.
const DISCARD_WAIT: Duration = Duration::from_secs(10);

/// Why a try to store the dump ended.
enum Ending {
    /// The dump is to blame: trying again is no use.
    Dump(Failure),
    /// restic is.
    Restic(Trouble),
}

impl From<Failure> for Ending {
    fn from(failure: Failure) -> Self {
        Self::Dump(failure)
    }
}

impl From<Trouble> for Ending {
    fn from(trouble: Trouble) -> Self {
        Self::Restic(trouble)
    }
}

/// Makes a backup.
pub async fn backup(request: &BackupRequest, restic: &Restic, clock: &dyn Clock) -> Result<Manifest, Failure> {
    let mut dump = Dump::open(request.meeting.clone())?;
    let outcome = Mover { request, restic, clock }.run(&mut dump).await;
    if outcome.is_err() {
        dump.turn_away();
    }
    outcome
}

struct Mover<'a> {
    request: &'a BackupRequest,
    restic: &'a Restic,
    clock: &'a dyn Clock,
}

impl Mover<'_> {
    async fn run(&self, dump: &mut Dump) -> Result<Manifest, Failure> {
        let started_at = self.clock.now();
        let doing = |what: &str| format!("{what} for the backup {}", self.name());

        let repository_tool =
            self.restic.version().await.map_err(|trouble| {
                trouble.during(&doing("asking restic for its version"), FailureReason::Misconfigured)
            })?;
        open_or_make(self.restic, &self.request.location, &self.request.tags.run)
            .await
            .map_err(|trouble| trouble.during(&doing("opening the repository"), FailureReason::StoreFailed))?;

        // restic is started only when there is something to store: nobody holds a lock for an image that is being
        // pulled, and an empty dump never gets near the repository.
        info!("waiting for the dump");
        self.unless_stopped(dump.begin()).await?;
        if dump.is_empty() {
            return match self.unless_stopped(dump.verdict(self.clock)).await {
                Err(failure) => Err(failure),
                Ok(()) => Err(Failure::new(FailureReason::DumpEmpty, "the dump wrote nothing")),
            };
        }

        let stored = match self.store(dump).await {
            Ok(()) => self.look_up(dump).await,
            Err(ending) => Err(ending),
        };
        let (own, others) = match stored {
            Ok(found) => found,
            Err(ending) => {
                let left = self.discard().await;
                let mut failure = match ending {
                    Ending::Dump(failure) => failure,
                    Ending::Restic(trouble) => trouble.during(&doing("storing the dump"), FailureReason::StoreFailed),
                };
                failure.message.push_str(&left);
                return Err(failure);
            }
        };
        let superseded_left = self.tidy(&own, &others).await;
        Ok(Manifest {
            snapshot_id: own.id,
            file: self.request.file.clone(),
            size_bytes: dump.bytes(),
            sha256: dump.sha256(),
            dump_tool: dump.tool(),
            repository_tool,
            started_at,
            completed_at: self.clock.now(),
            superseded_left,
        })
    }

    fn name(&self) -> String {
        format!("{}/{}", self.request.namespace, self.request.name)
    }

    async fn unless_stopped(&self, work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
        tokio::select! {
            biased;
            () = self.restic.stop().cancelled() => {
                Err(interrupted().during("waiting for the dump", FailureReason::Interrupted))
            }
            done = work => done,
        }
    }

    /// Has restic store the dump, again if the repository was locked and nothing of the dump is lost yet.
    async fn store(&self, dump: &mut Dump) -> Result<(), Ending> {
        let mut patience = Patience::of(self.clock, self.request.lock_wait);
        loop {
            let ending = match self.try_to_store(dump).await {
                Ok(()) => return Ok(()),
                Err(ending) => ending,
            };
            let again = match &ending {
                Ending::Dump(_) => false,
                Ending::Restic(trouble) => dump.rewind() && patience.again(self.restic, trouble).await,
            };
            if !again {
                return Err(ending);
            }
        }
    }

    async fn try_to_store(&self, dump: &mut Dump) -> Result<(), Ending> {
        let (feed, stdin) = Feed::new()
            .map_err(|error| Trouble::new(Kind::Other, format!("restic's input cannot be made: {error}")))?;
        let host = self.name();
        let mut arguments: Vec<String> =
            ["backup", "--json", "--stdin", "--stdin-filename", &self.request.file, "--host", &host]
                .map(str::to_owned)
                .into();
        arguments.extend(self.request.tags.arguments());
        let mut running = self.restic.start(&arguments, stdin, Stdio::null())?;
        let outcome = tokio::select! {
            biased;
            () = self.restic.stop().cancelled() => Err(interrupted().into()),
            done = self.pour(dump, feed, &mut running) => done,
        };
        if outcome.is_err() {
            running.kill().await;
        }
        outcome
    }

    /// Hands the dump to restic, and seals it if the dump says that all went well.
    async fn pour(&self, dump: &mut Dump, mut feed: Feed, running: &mut Running) -> Result<(), Ending> {
        loop {
            let chunk = tokio::select! {
                biased;
                ended = running.ended() => {
                    ended?;
                    return Err(early(running).await);
                }
                chunk = dump.chunk() => chunk?,
            };
            let Some(chunk) = chunk else { break };
            if feed.write(chunk).await.is_err() {
                // It takes no more because it has ended; why, it says itself.
                return Err(early(running).await);
            }
        }
        dump.verdict(self.clock).await?;
        info!(bytes = dump.bytes(), "the dump is whole; having restic save it");
        if feed.seal().await.is_err() {
            return Err(early(running).await);
        }
        Ok(running.finish().await?)
    }

    /// Finds this run's snapshot, checks that it has the whole dump, and lists the Backup's others.
    async fn look_up(&self, dump: &Dump) -> Result<(Snapshot, Vec<Snapshot>), Ending> {
        let all = self.list(&uid_tag(&self.request.tags.uid)).await?;
        let run = self.request.tags.run_tag();
        let (mut own, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|snapshot| snapshot.has(&run));
        let (Some(own), true) = (own.pop(), own.is_empty()) else {
            return Err(Trouble::new(Kind::Other, "restic said it saved a snapshot, but lists none, or several").into());
        };
        let stored = size_of(self.restic, &own.id, &self.request.file).await?;
        if stored != dump.bytes() {
            let text = format!("the snapshot's file has {stored} bytes, but the dump had {}", dump.bytes());
            return Err(Trouble::new(Kind::Other, text).into());
        }
        info!(snapshot = own.id, bytes = stored, "the artifact is sealed");
        Ok((own, others))
    }

    /// The snapshots with this tag. Listed without a lock, so a snapshot that goes away meanwhile can spoil it: twice.
    async fn list(&self, tag: &str) -> Result<Vec<Snapshot>, Trouble> {
        match snapshots(self.restic, tag).await {
            Err(trouble) if trouble.kind == Kind::Other => snapshots(self.restic, tag).await,
            other => other,
        }
    }

    /// Forgets the older artifacts of the same Backup, so that a repeated run leaves one. Says how many stayed.
    async fn tidy(&self, own: &Snapshot, others: &[Snapshot]) -> u64 {
        let older: Vec<&str> =
            others.iter().filter(|other| other.is_older_than(own)).map(|other| other.id.as_str()).collect();
        match forget(self.restic, &older, Patience::of(self.clock, TIDY_WAIT)).await {
            Ok(()) => 0,
            Err(trouble) => {
                warn!(said = trouble.said, count = older.len(), "older artifacts of this backup stay for now");
                older.len() as u64
            }
        }
    }

    /// Makes sure that nothing of this run stays that looks like an artifact. Returns what to say if it might.
    async fn discard(&self) -> String {
        let restic = self.restic.undisturbed();
        let work = async {
            // The lock of the restic that was killed: its process is gone, so this takes it for dead at once.
            restic.unlock().await?;
            let own = snapshots(&restic, &self.request.tags.run_tag()).await?;
            let ids: Vec<&str> = own.iter().map(|snapshot| snapshot.id.as_str()).collect();
            forget(&restic, &ids, Patience::of(self.clock, DISCARD_WAIT)).await
        };
        match work.await {
            Ok(()) => String::new(),
            Err(trouble) => {
                let tag = self.request.tags.run_tag();
                error!(said = trouble.said, tag, "cannot make sure that this run left no snapshot");
                format!(" (Afterwards it could not be made sure that no snapshot with the tag {tag} is left.)")
            }
        }
    }
}

/// restic has ended before it was told to: what it says about that.
async fn early(running: &mut Running) -> Ending {
    match running.finish().await {
        Err(trouble) => trouble.into(),
        Ok(()) => Trouble::new(Kind::Other, "restic ended before the dump did").into(),
    }
}
