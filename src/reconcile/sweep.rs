//! The audit as a background duty: now and then the leader compares ledger and cluster, and checks a part of the ledger.
//!
//! Streams whose objects are gone are closed as carefully as `lifecycle::sweep` says; objects without a stream are
//! looked at once more, which opens one.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use kube::ResourceExt;
use tracing::{debug, error, info, warn};

use super::{Context, ReconcileError};
use crate::{
    cluster::{self, CustomKind, OwnerKey},
    domain::{Head, Kind, Labels, Uid},
    ledger::{Draft, Outcome, Patrol, Want},
    lifecycle::{
        TABLES, Transition,
        sweep::{Answer, Missing, Swept, Verdict, decide},
    },
};

/// How many heads are read at once.
const PAGE: u32 = 1_000;
/// How many streams, and how many rows in the order of positions, are checked in each sweep.
const CHECKED: u32 = 500;

/// How often, and how much at once.
#[derive(Clone, Copy, Debug)]
pub struct SweepOptions {
    /// How long between two sweeps.
    pub every: Duration,
    /// How many streams one sweep may close; the default is the larger of 10 and 1 %.
    pub limit: Option<u64>,
}

/// Sweeps until it is dropped.
pub(super) async fn run(context: Arc<Context>) {
    let mut sweeper = Sweeper { context, patrol: Patrol::default(), told: None, unopened: HashSet::new() };
    loop {
        tokio::time::sleep(sweeper.context.sweep.every).await;
        if let Err(error) = sweeper.sweep().await {
            sweeper.failed(&error, "a sweep did not come to its end; the next one begins anew");
        }
        if let Err(error) = sweeper.check().await {
            sweeper.failed(&error, "the ledger could not be checked; the next sweep goes on");
        }
    }
}

struct Sweeper {
    context: Arc<Context>,
    patrol: Patrol,
    /// The trouble that was told of, so that it is told once.
    told: Option<String>,
    /// Objects that had no stream in the last sweep.
    unopened: HashSet<Uid>,
}

impl Sweeper {
    /// Tells of a failure, unless it is told of as a wait for the ledger.
    fn failed(&self, error: &ReconcileError, what: &str) {
        if error.is_waited_for(&self.context.waits, &*self.context.clock) {
            debug!(%error, "{what}");
        } else {
            warn!(%error, "{what}");
        }
    }

    async fn sweep(&mut self) -> Result<(), ReconcileError> {
        let context = self.context.clone();
        let client = context.cluster.client();
        let unreadable = |error: &dyn std::fmt::Display| ReconcileError::Configuration(format!("sweeping: {error}"));
        let uid = cluster::cluster_uid(client).await.map_err(|error| unreadable(&error))?;
        let missing_before = cluster::missing_crds(client).await.map_err(|error| unreadable(&error))?;
        let live: HashSet<Uid> = self.live();
        let (open, gone) = self.open_streams(&live).await?;
        let is_missing = |missing: &[String], kind: Kind| missing.contains(&CustomKind::of(kind).crd_name());
        // Of a kind that is not served, every object seems to be gone.
        let gone: Vec<Head> = gone.into_iter().filter(|head| !is_missing(&missing_before, head.subject.kind)).collect();
        let wanted = gone.len();
        let asked = self.ask(open, gone).await;
        let asked_all = asked.len() == wanted;
        let missing_after = cluster::missing_crds(client).await.map_err(|error| unreadable(&error))?;
        let served = |kind: Kind| !is_missing(&missing_after, kind);
        let missing =
            asked.into_iter().map(|(head, answer)| Missing { served: served(head.subject.kind), head, answer });
        let same_cluster = uid == context.installation.cluster_uid;
        let swept = Swept { same_cluster, open, missing: missing.collect(), asked_all };
        match decide(TABLES, &swept, context.sweep.limit, context.clock.now()) {
            Verdict::Close(closing) => {
                self.tell(None).await;
                for (head, rows) in closing {
                    self.close(head, rows).await?;
                }
            }
            Verdict::Held { gone, limit } => {
                let why = format!(
                    "at least {gone} of {open} resources are gone from the cluster and open in the ledger; at most \
                     {limit} are believed at once, so none is closed. If they are gone for good, start the controller \
                     with --sweep-limit {open} once"
                );
                self.tell(Some(why)).await;
            }
            Verdict::OtherCluster => {
                let why = format!(
                    "the ledger belongs to the cluster {}, and this is {uid}; nothing is closed",
                    context.installation.cluster_uid
                );
                self.tell(Some(why)).await;
            }
        }
        self.open_missing(&live).await
    }

    /// The objects in the caches.
    fn live(&self) -> HashSet<Uid> {
        let of = |kind| self.context.caches.store(CustomKind::of(kind)).state();
        Kind::ALL.into_iter().flat_map(of).filter_map(|object| object.uid()).map(Uid::new).collect()
    }

    /// How many streams are open, and those of them whose objects are not in the caches.
    async fn open_streams(&self, live: &HashSet<Uid>) -> Result<(u64, Vec<Head>), ReconcileError> {
        let (mut open, mut gone) = (0_u64, vec![]);
        let mut after: Option<Uid> = None;
        loop {
            let page = self.context.ledger.heads(after.as_ref(), true, PAGE).await?;
            self.context.waits.worked(Want::Read, &*self.context.clock);
            let Some(last) = page.last() else { return Ok((open, gone)) };
            after = Some(last.subject.uid.clone());
            open += u64::try_from(page.len()).unwrap_or(0);
            gone.extend(page.into_iter().filter(|head| !live.contains(&head.subject.uid)));
        }
    }

    /// Asks the API server itself for each, until more are gone than a sweep may close.
    async fn ask(&self, open: u64, heads: Vec<Head>) -> Vec<(Head, Answer)> {
        let limit = self.context.sweep.limit.unwrap_or_else(|| crate::lifecycle::sweep::limit(open));
        let (mut gone, mut asked) = (0_u64, Vec::with_capacity(heads.len()));
        for head in heads {
            if gone > limit {
                break;
            }
            let subject = &head.subject;
            let key = OwnerKey {
                kind: CustomKind::of(subject.kind),
                namespace: subject.namespace.clone(),
                name: subject.name.clone(),
            };
            let answer = match self.context.cluster.get_custom(&key).await {
                Ok(None) => Answer::Nothing,
                Ok(Some(object)) => Answer::Object(Uid::new(object.uid().unwrap_or_default())),
                Err(_) => Answer::Unknown,
            };
            gone += u64::from(!matches!(&answer, Answer::Unknown) && answer != Answer::Object(subject.uid.clone()));
            asked.push((head, answer));
        }
        asked
    }

    /// Writes the rows that close a stream; leaves it, if somebody was faster.
    async fn close(&self, mut head: Head, rows: Vec<Transition>) -> Result<(), ReconcileError> {
        let context = &self.context;
        if context.behind.why(&head.subject.uid).is_some() {
            return Ok(());
        }
        for transition in rows {
            let draft = Draft {
                subject: head.subject.clone(),
                after: Some(head.sequence),
                to: transition.to,
                reason: transition.reason.word.to_owned(),
                message: transition.reason.sentence.to_owned(),
                generation: head.generation,
                effective: transition.effective,
                billable: transition.billable,
                evidence: transition.evidence,
                amends: None,
                labels: Labels::default(),
            };
            match context.appender.append(draft).await? {
                Outcome::Appended(next) => {
                    context.metrics.transition(head.subject.kind, head.state.as_str(), next.state.as_str());
                    head = Arc::unwrap_or_clone(next);
                }
                Outcome::Stale(_) => return Ok(()),
                Outcome::Illegal(why) => return Err(ReconcileError::Illegal(why)),
            }
        }
        let subject = &head.subject;
        info!(kind = %subject.kind, name = %subject.name, uid = %subject.uid, "its object vanished; the stream is closed");
        context.metrics.drifted(subject.kind, "stream_without_object");
        Ok(())
    }

    /// Looks once more at objects that had no stream in two sweeps and should have one.
    async fn open_missing(&mut self, live: &HashSet<Uid>) -> Result<(), ReconcileError> {
        let context = self.context.clone();
        let mut unopened = HashSet::new();
        for kind in Kind::ALL {
            let custom = CustomKind::of(kind);
            for object in context.caches.store(custom).state() {
                let Some(uid) = object.uid().map(Uid::new).filter(|uid| live.contains(uid)) else { continue };
                let belongs = kind == Kind::Tenant || context.member(object.namespace().as_deref()).is_some();
                if !object.data["status"]["ledger"].is_null()
                    || !belongs
                    || object.metadata.deletion_timestamp.is_some()
                    || context.ledger.head(&uid).await?.is_some()
                {
                    continue;
                }
                if self.unopened.contains(&uid) {
                    context.metrics.drifted(kind, "object_without_stream");
                    let key = OwnerKey { kind: custom, namespace: object.namespace(), name: object.name_any() };
                    context.caches.ask(key);
                }
                unopened.insert(uid);
            }
        }
        self.unopened = unopened;
        Ok(())
    }

    /// Says that sweeps close nothing, or that they do again, once.
    async fn tell(&mut self, trouble: Option<String>) {
        let context = &self.context;
        context.metrics.sweeps_held(trouble.is_some());
        let told = std::mem::replace(&mut self.told, trouble.clone());
        match &trouble {
            Some(why) if told.is_none() => {
                error!("AuditHeld: {why}");
                match cluster::installation_reference(context.cluster.client(), &context.namespace).await {
                    Ok(about) => context.events.warn(about, "AuditHeld", "Sweep", why),
                    Err(error) => warn!(%error, "there is nothing to hang the Event AuditHeld on"),
                }
            }
            None if told.is_some() => info!("sweeps close streams again"),
            _ => {}
        }
    }

    /// Checks the next part of the ledger by itself.
    async fn check(&mut self) -> Result<(), ReconcileError> {
        let context = self.context.clone();
        let found = self.patrol.step(context.ledger.as_ref(), TABLES, CHECKED).await?;
        let new: BTreeSet<String> = found.new.iter().map(ToString::to_string).collect();
        for violation in new {
            error!("the ledger violates an invariant: {violation}; run `trueup audit`");
        }
        context.metrics.violations(found.standing);
        Ok(())
    }
}
