//! Permission to lead, held in a Kubernetes Lease.
//!
//! Compare-and-set on the resource version decides races. Another holder's expiry is judged by this machine's
//! monotonic clock from when its last renewal was seen, never by a wall clock; the holder stops before its own term
//! ends. The Lease only gives permission: the database's epoch is what refuses a holder that did not notice.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use k8s_openapi::{
    api::coordination::v1::{Lease as Object, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use tracing::{debug, warn};

use super::write::said;
use crate::domain::Clock;

/// Why the Lease could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The API server said no, or could not be asked.
    #[error("{doing} Lease {name}: {}", said(.source))]
    Api {
        /// What was being done.
        doing: &'static str,
        /// The Lease.
        name: String,
        /// What it said.
        source: Box<kube::Error>,
    },
    /// No answer in time.
    #[error("{doing} Lease {name}: no answer in time")]
    Timeout {
        /// What was being done.
        doing: &'static str,
        /// The Lease.
        name: String,
    },
}

/// How much of a term is left, readable from everywhere.
pub struct LeaseTerm {
    clock: Arc<dyn Clock>,
    /// When it ends, in milliseconds of the monotonic clock; 0 when there is none.
    ends: AtomicU64,
}

impl LeaseTerm {
    /// No term yet.
    pub fn none(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { clock, ends: AtomicU64::new(0) })
    }

    /// What is left of it; zero once it is over.
    pub fn remaining(&self) -> Duration {
        Duration::from_millis(self.ends.load(Ordering::Acquire)).saturating_sub(self.clock.monotonic())
    }

    fn set(&self, ends: Duration) {
        self.ends.store(u64::try_from(ends.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
    }

    fn end(&self) {
        self.ends.store(0, Ordering::Release);
    }
}

/// One candidate for a Lease.
pub struct Lease {
    api: Api<Object>,
    name: String,
    identity: String,
    duration: Duration,
    clock: Arc<dyn Clock>,
    term: Arc<LeaseTerm>,
    seen: Option<Seen>,
    held: Option<Object>,
}

/// The other holder's last renewal.
struct Seen {
    /// Its resource version.
    version: String,
    /// When it runs out, counted from when it was first seen.
    ends: Duration,
}

impl Lease {
    /// A candidate called `identity`, which must be another for every process.
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        identity: String,
        duration: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let term = LeaseTerm::none(clock.clone());
        let api = Api::namespaced(client, namespace);
        Self { api, name: name.to_owned(), identity, duration, clock, term, seen: None, held: None }
    }

    /// The term, which is empty until the Lease is held.
    pub fn term(&self) -> Arc<LeaseTerm> {
        self.term.clone()
    }

    /// Waits until the Lease is held.
    pub async fn acquire(&mut self) {
        loop {
            match self.try_acquire().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => warn!(%error, "cannot tell who leads; trying again"),
            }
            let left = self.seen.as_ref().map(|seen| seen.ends.saturating_sub(self.clock.monotonic()));
            tokio::time::sleep(until_next_try(self.duration, left)).await;
        }
    }

    /// Renews until the term is lost, and then ends.
    pub async fn keep(&mut self) {
        let mut failed = false;
        loop {
            tokio::time::sleep(until_renewal(self.duration, self.term.remaining(), failed)).await;
            let renewed = self.renew().await;
            failed = renewed.is_err();
            match renewed {
                Ok(true) => {}
                Ok(false) => break warn!("another process holds the Lease now"),
                Err(error) => warn!(%error, "the Lease could not be renewed; trying again"),
            }
            if self.term.remaining().is_zero() {
                break warn!("the Lease ran out before it could be renewed");
            }
        }
        self.term.end();
        self.held = None;
    }

    /// Gives the Lease up, so that another takes over at once.
    pub async fn release(&mut self) {
        self.term.end();
        let Some(lease) = self.held.take() else { return };
        let given_up = match self.give_up(lease).await {
            // A renewal was under way when nobody waited for its answer any more.
            Err(error) if is_conflict(&error) => self.give_up_anew().await,
            given_up => given_up,
        };
        if let Err(error) = given_up {
            debug!(%error, "the Lease was not given up; it will run out");
        }
    }

    async fn give_up(&self, mut lease: Object) -> Result<(), LeaseError> {
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
        }
        self.replace(lease, "giving up").await.map(drop)
    }

    async fn give_up_anew(&self) -> Result<(), LeaseError> {
        match self.ours().await? {
            Some(lease) => self.give_up(lease).await,
            None => Ok(()),
        }
    }

    /// The Lease as the API server has it, if this process holds it.
    async fn ours(&self) -> Result<Option<Object>, LeaseError> {
        let found = self.bounded("reading", self.api.get_opt(&self.name)).await?;
        Ok(found.filter(|lease| {
            lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()) == Some(self.identity.as_str())
        }))
    }

    /// Tries once.
    pub async fn try_acquire(&mut self) -> Result<bool, LeaseError> {
        let begun = self.clock.monotonic();
        let found = self.bounded("reading", self.api.get_opt(&self.name)).await?;
        let Some(found) = found else {
            let lease = Object {
                metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
                spec: Some(self.spec(1)),
            };
            return match self.bounded("creating", self.api.create(&PostParams::default(), &lease)).await {
                Ok(made) => Ok(self.hold(made, begun)),
                Err(error) if is_conflict(&error) => Ok(false),
                Err(error) => Err(error),
            };
        };
        let version = found.metadata.resource_version.clone().unwrap_or_default();
        let spec = found.spec.clone().unwrap_or_default();
        let free = spec.holder_identity.as_deref().is_none_or(str::is_empty);
        if !free && spec.holder_identity.as_deref() != Some(self.identity.as_str()) {
            let theirs = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
            let patience = theirs.map_or(self.duration, Duration::from_secs).max(self.duration);
            let known = self.seen.take().filter(|seen| seen.version == version);
            let seen = self.seen.insert(known.unwrap_or(Seen { version, ends: begun + patience }));
            if begun < seen.ends {
                return Ok(false);
            }
        }
        let lease = Object { spec: Some(self.spec(spec.lease_transitions.unwrap_or(0) + 1)), ..found };
        match self.replace(lease, "taking").await {
            Ok(taken) => Ok(self.hold(taken, begun)),
            Err(error) if is_conflict(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn renew(&mut self) -> Result<bool, LeaseError> {
        let Some(mut lease) = self.held.clone() else { return Ok(false) };
        let begun = self.clock.monotonic();
        if let Some(spec) = &mut lease.spec {
            spec.renew_time = Some(MicroTime(self.clock.now().to_jiff()));
        }
        match self.replace(lease, "renewing").await {
            Ok(renewed) => Ok(self.hold(renewed, begun)),
            Err(error) if is_conflict(&error) => self.renewed_after_all(begun).await,
            Err(error) => Err(error),
        }
    }

    /// A renewal whose answer was lost makes the next one conflict with it: look whose it is before giving up.
    async fn renewed_after_all(&mut self, begun: Duration) -> Result<bool, LeaseError> {
        Ok(self.ours().await?.is_some_and(|lease| self.hold(lease, begun)))
    }

    /// The term counts from before the request, so that it never ends later here than for those who wait.
    fn hold(&mut self, lease: Object, begun: Duration) -> bool {
        self.held = Some(lease);
        self.seen = None;
        self.term.set(begun + self.duration);
        true
    }

    fn spec(&self, transitions: i32) -> LeaseSpec {
        let now = MicroTime(self.clock.now().to_jiff());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.duration.as_secs().max(1)).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }

    async fn replace(&self, lease: Object, doing: &'static str) -> Result<Object, LeaseError> {
        self.bounded(doing, self.api.replace(&self.name, &PostParams::default(), &lease)).await
    }

    async fn bounded<T>(
        &self,
        doing: &'static str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, LeaseError> {
        match tokio::time::timeout(self.duration / 2, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => Err(LeaseError::Api { doing, name: self.name.clone(), source: Box::new(source) }),
            Err(_) => Err(LeaseError::Timeout { doing, name: self.name.clone() }),
        }
    }
}

/// How long whoever waits for a Lease of `duration` lets pass before asking again, if what was seen of the holder lasts for `left`: as
/// long as the holder itself between two renewals, and not past the moment at which the Lease may be taken.
fn until_next_try(duration: Duration, left: Option<Duration>) -> Duration {
    match left {
        Some(left) if !left.is_zero() => left.min(duration / 3),
        _ => duration / 6,
    }
}

/// How long to wait before a Lease of `duration` is renewed of which `remaining` is left: until a third of it is over. Whoever took
/// long to begin its term renews at once, since close to a term's end nothing is written.
fn until_renewal(duration: Duration, remaining: Duration, failed: bool) -> Duration {
    let pause = if failed { duration / 6 } else { Duration::ZERO };
    remaining.saturating_sub(duration * 2 / 3).max(pause).min(remaining)
}

fn is_conflict(error: &LeaseError) -> bool {
    matches!(error, LeaseError::Api { source, .. }
        if matches!(&**source, kube::Error::Api(status) if status.is_conflict() || status.is_already_exists()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_renewed_when_a_third_of_it_is_over_whenever_that_was() {
        let (second, lease) = (Duration::from_secs(1), Duration::from_secs(3));
        assert_eq!(until_renewal(lease, lease, false), second, "just taken");
        assert_eq!(until_renewal(lease, second * 2, false), Duration::ZERO, "the term took a second to begin");
        assert_eq!(until_renewal(lease, second, false), Duration::ZERO);
    }

    #[test]
    fn a_lease_that_another_holds_is_asked_for_as_often_as_it_is_renewed_and_at_once_when_it_ends() {
        let (second, lease) = (Duration::from_secs(1), Duration::from_secs(3));
        assert_eq!(until_next_try(lease, Some(lease)), second);
        assert_eq!(until_next_try(lease, Some(second / 4)), second / 4);
        assert_eq!(until_next_try(lease, Some(Duration::ZERO)), second / 2, "somebody else was faster");
        assert_eq!(until_next_try(lease, None), second / 2, "nobody holds it, or the API server did not say");
    }

    #[test]
    fn a_renewal_that_failed_is_tried_again_after_a_pause_that_ends_with_the_term() {
        let lease = Duration::from_secs(3);
        assert_eq!(until_renewal(lease, Duration::from_secs(2), true), Duration::from_millis(500));
        assert_eq!(until_renewal(lease, Duration::from_millis(200), true), Duration::from_millis(200));
        assert_eq!(until_renewal(lease, Duration::ZERO, true), Duration::ZERO);
    }
}
