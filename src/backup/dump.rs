//! The dump as the mover sees it: bytes from a pipe, and afterwards a word on how the dump ended.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest as _, Sha256};
use tokio::{
    io::AsyncReadExt as _,
    net::unix::pipe::{OpenOptions, Receiver},
    time::{sleep, timeout},
};
use tracing::{info, warn};

use crate::domain::{Clock, Failure, FailureReason, Hash};

/// As much as a Linux pipe holds by default; more could not be read at once.
const CHUNK: usize = 64 * 1024;
/// How much of a dump's beginning is kept, to be able to say it again to a restic that found the repository locked.
/// restic takes its lock before it reads, so what has to be repeated is what a socket's buffer holds: some 200 KiB.
const HEAD: usize = 1024 * 1024;
/// How often a file that another container writes is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Where a dump container and the mover meet.
#[derive(Clone, Debug)]
pub struct Meeting {
    /// The FIFO that the dump is written to.
    pub pipe: PathBuf,
    /// The file that gets the dump's exit code, in one piece, after the pipe was closed.
    pub exit_file: PathBuf,
    /// The file that has the dump tool's version.
    pub tool_file: PathBuf,
    /// How long after the pipe's end the exit code may take to appear.
    pub exit_wait: Duration,
}

/// A dump that is being read: counted and hashed on the way, its beginning repeatable.
#[derive(Debug)]
pub(super) struct Dump {
    meeting: Meeting,
    pipe: Receiver,
    buffer: Vec<u8>,
    /// The dump's first bytes, as long as they are all of its bytes.
    head: Option<Vec<u8>>,
    /// Whether the next chunk is the head once more.
    repeat: bool,
    hash: Sha256,
    bytes: u64,
    ended: bool,
}

impl Dump {
    /// Opens the pipe. From now on a dump can start to write; before, it waits.
    pub(super) fn open(meeting: Meeting) -> Result<Self, Failure> {
        // No dump can have ended before its pipe had a reader, unless it failed without ever opening it. A leftover
        // "0" of an earlier container in the same pod would vouch for a dump that it knows nothing of.
        if meeting.exit_file.exists() {
            return Err(Failure::new(
                FailureReason::DumpFailed,
                format!(
                    "the dump had ended before its pipe was read ({} was already there); look at the log of the dump \
                     container, and run the backup in a new pod",
                    meeting.exit_file.display()
                ),
            ));
        }
        // Opened without blocking, so that a dump that never comes cannot keep the mover from being stopped.
        let pipe = OpenOptions::new().open_receiver(&meeting.pipe).map_err(|error| {
            Failure::new(
                FailureReason::Misconfigured,
                format!("cannot open {} as a FIFO: {error}; the pod's init container makes it", meeting.pipe.display()),
            )
        })?;
        Ok(Self {
            meeting,
            pipe,
            buffer: vec![0; CHUNK],
            head: Some(Vec::new()),
            repeat: false,
            hash: Sha256::new(),
            bytes: 0,
            ended: false,
        })
    }

    /// Waits until the dump has written something, or has ended without.
    ///
    /// As long as nobody has opened the pipe this waits, because images may take long to be pulled; the Job's own
    /// deadline bounds it. An exit code without a dump is an end, too.
    pub(super) async fn begin(&mut self) -> Result<(), Failure> {
        let exit_file = self.meeting.exit_file.clone();
        loop {
            let exited = exit_file.exists();
            // The dump may have been written, ended and told its code since the last look: what is in the pipe is
            // there by now, so one more bounded read tells a small dump from one that never opened the pipe.
            let patience = if exited { Duration::from_secs(1) } else { LOOK_AGAIN };
            if let Ok(chunk) = timeout(patience, self.chunk()).await {
                chunk?;
                self.rewind();
                return Ok(());
            }
            if exited {
                self.ended = true;
                return Ok(());
            }
        }
    }

    /// The next bytes; nothing at the dump's end. Dropping the future loses no bytes.
    pub(super) async fn chunk(&mut self) -> Result<Option<&[u8]>, Failure> {
        if std::mem::take(&mut self.repeat) && self.head.is_some() {
            // In one piece, because a head is small; the next call reads on from the pipe.
            return Ok(self.head.as_deref());
        }
        if self.ended {
            return Ok(None);
        }
        let read = self.pipe.read(&mut self.buffer).await.map_err(|error| {
            Failure::new(FailureReason::DumpFailed, format!("cannot read the dump after {} bytes: {error}", self.bytes))
        })?;
        let chunk = &self.buffer[..read];
        if chunk.is_empty() {
            self.ended = true;
            return Ok(None);
        }
        self.bytes += chunk.len() as u64;
        self.hash.update(chunk);
        match &mut self.head {
            Some(head) if head.len() + chunk.len() <= HEAD => head.extend_from_slice(chunk),
            head => *head = None,
        }
        Ok(Some(chunk))
    }

    /// Goes back to the dump's beginning, if that is still known.
    pub(super) fn rewind(&mut self) -> bool {
        self.repeat = self.head.is_some();
        self.repeat
    }

    /// Whether nothing was written, as far as is known yet.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// How many bytes there were.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Their SHA-256.
    pub(super) fn sha256(&self) -> Hash {
        let digest: [u8; 32] = self.hash.clone().finalize().into();
        digest.into()
    }

    /// Waits for the dump's own word, and fails unless it says that all went well and something was written.
    pub(super) async fn verdict(&self, clock: &dyn Clock) -> Result<(), Failure> {
        let failed = |why: String| {
            let text = format!("the dump {why}, after {} bytes; look at the log of the dump container", self.bytes);
            Err(Failure::new(FailureReason::DumpFailed, text))
        };
        let deadline = clock.monotonic() + self.meeting.exit_wait;
        let said = loop {
            match fs::read_to_string(&self.meeting.exit_file) {
                Ok(said) => break said,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return failed(format!("left an exit code that cannot be read ({error})")),
            }
            if clock.monotonic() >= deadline {
                let waited = self.meeting.exit_wait.as_secs();
                return failed(format!("went away without an exit code (none came within {waited} s)"));
            }
            sleep(LOOK_AGAIN).await;
        };
        match said.trim().parse::<i32>() {
            Ok(0) if self.is_empty() => Err(Failure::new(
                FailureReason::DumpEmpty,
                "the dump ended with exit code 0, but wrote nothing: an empty file recovers nobody; check what the \
                 dump's command writes to its standard output",
            )),
            Ok(0) => Ok(()),
            Ok(code) => failed(format!("ended with exit code {code}")),
            Err(_) => failed(format!("left '{}' where its exit code should be", brief(&said))),
        }
    }

    /// What the dump's tool says it is: the first line, at most 120 characters.
    pub(super) fn tool(&self) -> String {
        let said = fs::read(&self.meeting.tool_file).unwrap_or_default();
        let line = brief(&String::from_utf8_lossy(&said));
        if line.is_empty() { "unknown".into() } else { line }
    }

    /// Makes sure that no dump waits for a mover that has given up.
    ///
    /// A dump that writes already gets SIGPIPE when the mover ends. One that opens its pipe only later would wait for
    /// a reader as long as the pod may live, so the pipe becomes a link to nowhere, in one step: opening it fails.
    pub(super) fn turn_away(self) {
        let link = self.meeting.pipe.with_extension("closed");
        let nowhere = Path::new("the-mover-has-failed/see-its-log");
        let replaced = std::os::unix::fs::symlink(nowhere, &link).and_then(|()| fs::rename(&link, &self.meeting.pipe));
        match replaced {
            Ok(()) => info!("closed the pipe to the dump"),
            Err(error) => warn!(%error, "cannot close the pipe to the dump: it may wait until the Job's deadline"),
        }
    }
}

fn brief(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().chars().take(120).collect()
}
