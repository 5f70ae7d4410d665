//! What the tests stand on: clusters, processes, access to both, and patience.

mod access;
mod cluster;
mod customer;
mod kstatus;
mod manifests;
mod place;
mod process;
mod reckoning;
pub mod rights;
mod servers;
#[path = "../../support/typing.rs"]
#[allow(dead_code, reason = "tests/docs uses the rest")]
mod typing;
mod visit;
mod writes;

#[path = "../../support/postgres.rs"]
#[allow(dead_code, reason = "the ledger's tests use the rest")]
pub mod postgres;

pub use access::Access;
pub use cluster::{Cluster, Mode};
pub use customer::{Customer, TENANTS, play};
pub use kstatus::{Reading, reading};
pub use manifests::*;
pub use place::{ControllerOptions, Database, Place, free_port, install, trueup};
pub use process::Process;
pub use reckoning::{Story, audited, reckon};
pub use servers::{PORTS, Servers};
pub use visit::{Visit, condition, uid};
pub use writes::{end, quiet_for, writes};

use std::{future::Future, time::Duration};

use trueup::domain::{Clock, SystemClock};

/// What `page` tells people to type that begins with `beginning`: the words behind `trueup`, with `from` replaced by `to`.
pub fn documented(page: &str, beginning: &str, from: &str, to: &str) -> Vec<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("reading {page}: {error}"));
    let lines = typing::typed(page, &text);
    let ours = lines.iter().flat_map(|typed| typing::commands(&typed.command));
    let found = ours.filter_map(|words| typing::of_trueup(&words).map(|words| words[1..].to_vec()));
    let mut found = found.filter(|words| words.join(" ").starts_with(beginning));
    let words = found.next().unwrap_or_else(|| panic!("{page} tells nobody to type `trueup {beginning}`"));
    words.into_iter().map(|word| word.replace(from, to)).collect()
}

/// How long a test waits for what should take a second or two on a machine that is busy with something else.
pub const PATIENCE: Duration = Duration::from_secs(45);

/// Waits until `check` succeeds. What it said last stands in the failure's message.
pub async fn eventually<T, F>(deadline: Duration, what: &str, mut check: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    let clock = SystemClock::default();
    loop {
        let answer = tokio::time::timeout(deadline, check()).await;
        match answer.unwrap_or_else(|_| Err("asking for it takes longer than that".to_owned())) {
            Ok(found) => return found,
            Err(seen) => assert!(clock.monotonic() < deadline, "expected within {deadline:?} that {what}, but {seen}"),
        }
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
}

/// Lets a little time pass: part of a script whose seed decides when things happen, never of waiting for something.
pub async fn moment(span: Duration) {
    tokio::time::sleep(span).await;
}

/// Watches that `check` goes on succeeding for as long as `span`.
pub async fn throughout<F>(span: Duration, what: &str, mut check: impl FnMut() -> F)
where
    F: Future<Output = Result<(), String>>,
{
    let clock = SystemClock::default();
    while clock.monotonic() < span {
        if let Err(seen) = check().await {
            panic!("expected for {span:?} that {what}, but {seen}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
