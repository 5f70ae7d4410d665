//! `trueup mover`: runs inside a backup Job's pod. Not for people, but harmless in their hands.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::{
    backup::{self, BackupRequest, Meeting, Restic, Secrets, Tags},
    domain::{Clock, Ended, Failure, FailureReason, Sequence, SystemClock, Uid},
};

/// Put a dump into a restic repository, or take one out.
///
/// The repository is named by restic's own variables: RESTIC_REPOSITORY, RESTIC_PASSWORD, AWS_ACCESS_KEY_ID,
/// AWS_SECRET_ACCESS_KEY and so on.
#[derive(Args, Clone, Debug)]
pub struct MoverArgs {
    #[command(subcommand)]
    task: Task,
    /// Where the result goes, as JSON of at most 4096 bytes
    #[arg(long, global = true, value_name = "PATH", default_value = "/dev/termination-log")]
    termination_log: PathBuf,
    /// How long to wait while somebody else has the repository to himself
    ///
    /// restic takes a lock for dead after 30 minutes, so a longer wait outlasts every dead one.
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 2100)]
    lock_wait_seconds: u64,
    /// The restic program
    #[arg(long, global = true, value_name = "PATH", default_value = "restic", hide = true)]
    restic: PathBuf,
}

#[derive(Subcommand, Clone, Debug)]
enum Task {
    /// Store the dump that comes through a FIFO
    Backup(BackupArgs),
    /// Remove every artifact of a Backup from the repository
    Forget {
        /// The Backup's UID
        #[arg(long, value_name = "UID", value_parser = word)]
        backup_uid: String,
    },
}

#[derive(Args, Clone, Debug)]
struct BackupArgs {
    /// The FIFO that the dump is written to
    #[arg(long, value_name = "PATH")]
    pipe: PathBuf,
    /// The file that gets the dump's exit code after the dump has closed the FIFO
    #[arg(long, value_name = "PATH")]
    exit_file: PathBuf,
    /// The file that has the dump tool's version
    #[arg(long, value_name = "PATH")]
    tool_file: PathBuf,
    /// What the dump's file is called in the repository
    #[arg(long, value_name = "NAME", value_parser = word)]
    file: String,
    /// The Backup's UID
    #[arg(long, value_name = "UID", value_parser = word)]
    backup_uid: String,
    /// The Backup's name
    #[arg(long, value_name = "NAME", value_parser = word)]
    backup: String,
    /// The Backup's namespace
    #[arg(long, value_name = "NAME", value_parser = word)]
    namespace: String,
    /// The sequence of the transition that asked for the dump
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    sequence: i64,
    /// How long after the FIFO's end the exit code may take to appear
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    exit_wait_seconds: u64,
}

/// Letters, digits, dots, dashes and underscores: what is safe in a tag, which a comma would split, and in a path.
fn word(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if !text.is_empty() && text.bytes().all(fits) && !text.starts_with(['.', '-']) {
        Ok(text.to_owned())
    } else {
        Err("letters, digits, dots, dashes and underscores, beginning with none of '.' and '-'".into())
    }
}

/// Runs the task and leaves its result behind. Exit code 0 if it was done, else 1.
pub async fn run(arguments: MoverArgs) -> ExitCode {
    let ended = perform(&arguments, &SystemClock::default()).await.unwrap_or_else(Ended::Failed);
    let mut code = match &ended {
        Ended::Failed(failure) => {
            error!(reason = failure.reason.as_str(), message = failure.message, "the mover failed");
            ExitCode::FAILURE
        }
        Ended::Sealed(manifest) => {
            info!(snapshot = manifest.snapshot_id, bytes = manifest.size_bytes, "done");
            ExitCode::SUCCESS
        }
        Ended::Forgotten(count) => {
            info!(count, "done");
            ExitCode::SUCCESS
        }
    };
    if let Err(error) = leave(&arguments.termination_log, &ended) {
        // Nobody would learn of an artifact without its manifest; a run that fails is run again.
        error!(%error, path = %arguments.termination_log.display(), "cannot leave the result behind");
        code = ExitCode::FAILURE;
    }
    code
}

async fn perform(arguments: &MoverArgs, clock: &dyn Clock) -> Result<Ended, Failure> {
    let stop = stop_on_signal()?;
    let location = needed("RESTIC_REPOSITORY")?;
    needed("RESTIC_PASSWORD")?;
    let restic = Restic::new(arguments.restic.clone(), Secrets::of(|name| env::var(name).ok()), stop);
    let lock_wait = Duration::from_secs(arguments.lock_wait_seconds);
    match &arguments.task {
        Task::Backup(task) => {
            let request = BackupRequest {
                meeting: Meeting {
                    pipe: task.pipe.clone(),
                    exit_file: task.exit_file.clone(),
                    tool_file: task.tool_file.clone(),
                    exit_wait: Duration::from_secs(task.exit_wait_seconds),
                },
                file: task.file.clone(),
                namespace: task.namespace.clone(),
                name: task.backup.clone(),
                tags: Tags {
                    uid: Uid::new(&task.backup_uid),
                    sequence: Sequence::new(task.sequence),
                    run: uuid::Uuid::new_v4().simple().to_string(),
                },
                location,
                lock_wait,
            };
            backup::backup(&request, &restic, clock).await.map(Ended::Sealed)
        }
        Task::Forget { backup_uid } => {
            backup::forget(&Uid::new(backup_uid), &restic, clock, lock_wait).await.map(Ended::Forgotten)
        }
    }
}

/// The variable's value. restic would ask for a missing key on its standard input, which is the dump.
fn needed(variable: &str) -> Result<String, Failure> {
    env::var(variable).ok().filter(|value| !value.is_empty()).ok_or_else(|| {
        let text = format!("starting the mover: the variable {variable} is not set; the Job sets it from Secrets");
        Failure::new(FailureReason::Misconfigured, text)
    })
}

/// A token that is cancelled once the process is told to stop.
fn stop_on_signal() -> Result<CancellationToken, Failure> {
    let refused = |error| {
        Failure::new(FailureReason::Misconfigured, format!("starting the mover: signals cannot be received: {error}"))
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(refused)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(refused)?;
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("told to stop");
        cancelled.cancel();
    });
    Ok(stop)
}

/// Kubernetes mounts the file itself into the container, so it is written in place.
fn leave(path: &Path, ended: &Ended) -> std::io::Result<()> {
    fs::write(path, ended.to_message())
}
