//! The restic program: started, watched, stopped and listened to.
//!
//! It takes the repository, its key and the store's credentials from its environment, which it inherits: they never
//! appear in an argument, where every process of the node could read them.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    secrets::Secrets,
    trouble::{Kind, Trouble},
};

/// How much of what restic says is kept, at most: the end of it.
const TAIL: usize = 16 * 1024;
/// How long restic may take for a step that moves no data.
pub(super) const SHORT: Duration = Duration::from_mins(2);
/// How long restic's standard error may stay open after its end.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// As long as pruning or saving may take: the Job's deadline is what bounds it.
pub(super) const LONG: Duration = Duration::from_hours(7 * 24);

/// restic, ready to be started for one repository.
#[derive(Clone, Debug)]
pub struct Restic {
    program: PathBuf,
    /// The repository's address, if it is not the environment's.
    at: Option<PathBuf>,
    secrets: Secrets,
    stop: CancellationToken,
}

/// A restic that is running.
#[derive(Debug)]
pub struct Running {
    child: Child,
    errors: Option<JoinHandle<Vec<u8>>>,
    said: Vec<u8>,
    secrets: Secrets,
}

impl Restic {
    /// restic as `program`, to be killed once `stop` is cancelled.
    pub fn new(program: PathBuf, secrets: Secrets, stop: CancellationToken) -> Self {
        Self { program, at: None, secrets, stop }
    }

    /// The same for a repository in another folder.
    pub fn at(&self, folder: &Path) -> Self {
        Self { at: Some(folder.to_owned()), ..self.clone() }
    }

    /// The same, but it goes on when the mover was told to stop: for cleaning up.
    pub fn undisturbed(&self) -> Self {
        Self { stop: CancellationToken::new(), ..self.clone() }
    }

    /// Told to stop?
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Its name and version, such as `restic 0.14.0`.
    pub async fn version(&self) -> Result<String, Trouble> {
        let said = self.run(&["version"], SHORT).await?;
        Ok(said.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
    }

    /// Removes the locks of the dead: those whose process is gone from this pod, and those that nobody renewed for half
    /// an hour. A living restic renews its lock every five minutes, so its lock stays.
    pub async fn unlock(&self) -> Result<(), Trouble> {
        self.run(&["unlock"], SHORT).await.map(drop)
    }

    /// Runs restic to its end, and returns what it wrote to its standard output.
    pub async fn run<A: AsRef<OsStr>>(&self, arguments: &[A], limit: Duration) -> Result<String, Trouble> {
        let mut running = self.start(arguments, Stdio::null(), Stdio::piped())?;
        let output = running.child.stdout.take();
        let work = async {
            let mut text = Vec::new();
            if let Some(mut output) = output {
                output.read_to_end(&mut text).await.map_err(|error| {
                    Trouble::new(Kind::Other, format!("what restic writes cannot be read: {error}"))
                })?;
            }
            running.finish().await?;
            Ok(String::from_utf8_lossy(&text).into_owned())
        };
        let outcome = tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(interrupted()),
            done = timeout(limit, work) => done.unwrap_or_else(|_| {
                Err(Trouble::new(Kind::Unreachable, format!("restic did not come to an end in {} s", limit.as_secs())))
            }),
        };
        if let Err(trouble) = &outcome {
            // Slow answers have their cause on standard error, where restic tells of its attempts.
            let said = running.kill().await;
            debug!(trouble = trouble.said, said, "restic failed");
        }
        outcome
    }

    /// Starts restic and leaves it running.
    pub fn start<A: AsRef<OsStr>>(&self, arguments: &[A], stdin: Stdio, stdout: Stdio) -> Result<Running, Trouble> {
        let mut command = Command::new(&self.program);
        command.args(arguments).stdin(stdin).stdout(stdout).stderr(Stdio::piped()).kill_on_drop(true);
        if let Some(folder) = &self.at {
            command.env("RESTIC_REPOSITORY", folder);
        }
        debug!(subcommand = ?arguments.first().map(AsRef::as_ref), "starting restic");
        let mut child = command.spawn().map_err(|error| {
            Trouble::new(Kind::NotStarted, format!("'{}' cannot be started: {error}", self.program.display()))
        })?;
        // The command holds restic's end of its input until it is dropped; restic must be the only one to hold it, so
        // that writing to a restic that died fails instead of waiting.
        drop(command);
        let errors = child.stderr.take();
        let errors = tokio::spawn(async move {
            match errors {
                Some(errors) => tail_of(errors).await,
                None => Vec::new(),
            }
        });
        Ok(Running { child, errors: Some(errors), said: Vec::new(), secrets: self.secrets.clone() })
    }
}

impl Running {
    /// Waits for restic's end. Dropping the future changes nothing.
    pub async fn ended(&mut self) -> Result<ExitStatus, Trouble> {
        self.child
            .wait()
            .await
            .map_err(|error| Trouble::new(Kind::Other, format!("restic cannot be waited for: {error}")))
    }

    /// Waits for restic's end, and for it to be a good one.
    pub async fn finish(&mut self) -> Result<(), Trouble> {
        let status = self.ended().await?;
        if status.success() {
            return Ok(());
        }
        Err(Trouble::of(status.code(), &self.said().await))
    }

    /// Kills restic, unless it has ended, and waits until it is gone. Returns what it had said.
    pub async fn kill(&mut self) -> String {
        // Fails only for a process that has been waited for, and then there is nothing to kill.
        let _ = self.child.kill().await;
        self.said().await
    }

    /// What restic said on its standard error, without secrets. To be called after its end.
    async fn said(&mut self) -> String {
        if let Some(errors) = self.errors.take() {
            // Bounded, because a helper that restic started may outlive it and keep its standard error open.
            self.said = timeout(LAST_WORDS, errors).await.unwrap_or(Ok(Vec::new())).unwrap_or_default();
        }
        self.secrets.hide(&String::from_utf8_lossy(&self.said))
    }
}

/// The trouble of having been told to stop.
pub(super) fn interrupted() -> Trouble {
    Trouble::new(Kind::Interrupted, "the mover was told to stop (SIGTERM), and has killed restic")
}

async fn tail_of(mut stream: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut tail = Vec::new();
    let mut buffer = [0; 4096];
    // What cannot be read any more is at its end.
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        tail.extend_from_slice(&buffer[..read]);
        if tail.len() > 2 * TAIL {
            tail.drain(..tail.len() - TAIL);
        }
    }
    tail
}
