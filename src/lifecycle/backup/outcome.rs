//! How a backup's Job came out, by what its containers said last.

use super::Observed;
use crate::{
    domain::{Ended, Manifest, Timestamp},
    lifecycle::{Child, Reason, reasons},
};

/// How a container ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContainerEnd {
    /// The Job that it belonged to.
    pub job: String,
    /// Its name.
    pub container: String,
    /// Its exit code.
    pub exit_code: i32,
    /// Why it ended, in Kubernetes' words (`Completed`, `Error`, `OOMKilled`).
    pub reason: String,
    /// What it said last.
    pub message: String,
    /// When it ended, in whole seconds.
    pub finished_at: Option<Timestamp>,
}

/// How a Job came out.
pub(super) enum Outcome {
    Sealed { manifest: Box<Manifest>, at: Option<Timestamp> },
    Removed { at: Option<Timestamp> },
    Failed { reason: Reason, tail: String, at: Option<Timestamp> },
}

/// Reads a finished Job by what its containers said. `None` while it is not finished.
pub(super) fn outcome(job: &Child, seen: &Observed) -> Option<Outcome> {
    let conditions = job.body["status"]["conditions"].as_array()?;
    let condition =
        |kind: &str| conditions.iter().find(|condition| condition["type"] == kind && condition["status"] == "True");
    let time = |value: &serde_json::Value| value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let end = |container: &str| seen.ends.iter().find(|end| end.job == job.key.name && end.container == container);
    let mover = end("mover");
    if let Some(complete) = condition("Complete") {
        let at = mover.and_then(|end| end.finished_at).or_else(|| time(&complete["lastTransitionTime"]));
        return Some(match mover.map(|end| Manifest::parse(&end.message)) {
            Some(Ok(Ended::Sealed(manifest))) => Outcome::Sealed { manifest: Box::new(manifest), at },
            Some(Ok(Ended::Forgotten(_))) => Outcome::Removed { at },
            Some(Ok(Ended::Failed(failure))) => {
                Outcome::Failed { reason: reasons::BACKUP_FAILED, tail: failure.to_string(), at }
            }
            Some(Err(error)) => Outcome::Failed { reason: reasons::BACKUP_FAILED, tail: error.to_string(), at },
            None => Outcome::Failed {
                reason: reasons::BACKUP_FAILED,
                tail: format!(
                    "the pod of Job {} was gone before its manifest was read; make another Backup",
                    job.key.name
                ),
                at,
            },
        });
    }
    let failed = condition("Failed")?;
    let late = failed["reason"] == "DeadlineExceeded";
    let reason = if late { reasons::BACKUP_TIMED_OUT } else { reasons::BACKUP_FAILED };
    // The container fails first, then its pod, then the Job. One that was ended for being late did not fail before that.
    let failures = [end("dump"), mover].into_iter().flatten().filter(|end| end.exit_code != 0 && !late);
    let at = failures.filter_map(|end| end.finished_at).min().or_else(|| time(&failed["lastTransitionTime"]));
    let dump = end("dump").filter(|end| end.exit_code != 0);
    let mut tail = String::new();
    if let Some(dump) = dump {
        tail = format!("The dump ended with exit code {} ({}): {}", dump.exit_code, dump.reason, dump.message.trim());
    } else if let Some(mover) = mover {
        tail = match Manifest::parse(&mover.message) {
            Ok(Ended::Failed(failure)) => failure.to_string(),
            _ => format!(
                "The mover ended with exit code {} ({}): {}",
                mover.exit_code,
                mover.reason,
                mover.message.trim()
            ),
        };
    }
    if tail.is_empty() {
        tail.push_str(failed["message"].as_str().unwrap_or("The Job failed and did not say why."));
    }
    Some(Outcome::Failed { reason, tail, at })
}
