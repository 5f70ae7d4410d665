//! Streams of which others know more than the ledger: nothing is appended to them until it has caught up.
//!
//! Compared are the status of every object in the caches and whatever receivers can be read. All of it is compared
//! before a term's first look, and again every little while for as long as anything is behind.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use kube::{ResourceExt, core::DynamicObject};
use tracing::{error, info, warn};

use super::Context;
use crate::{
    api::LedgerRef,
    cluster::CustomKind,
    domain::{Hash, Head, Kind, Sequence, Uid},
    ledger::StoreError,
    lifecycle::behind::{Gap, gap, holds_everything, message},
};

/// How long until what is behind is compared again.
pub(super) const AGAIN: Duration = Duration::from_secs(5);
/// How many heads are read at once.
const PAGE: u32 = 1_000;

/// The reason of the condition on a resource that waits.
pub(super) const REASON: &str = "LedgerBehind";

/// A receiver that says what it has applied.
#[async_trait]
pub trait Applied: Send + Sync {
    /// The newest event of each stream that it knows; or why it does not say.
    async fn applied(&self) -> Result<Vec<LedgerRef>, String>;
}

/// What is known to be behind.
#[derive(Default)]
pub struct Behind {
    found: RwLock<Found>,
}

#[derive(Clone, Default, PartialEq)]
struct Found {
    /// Why nothing at all is appended.
    everything: Option<String>,
    /// Why nothing is appended to these.
    streams: BTreeMap<Uid, String>,
}

impl Behind {
    /// Why nothing may be appended to the stream `uid`; `None` if it may.
    pub fn why(&self, uid: &Uid) -> Option<String> {
        let found = self.found.read().unwrap_or_else(PoisonError::into_inner);
        found.streams.get(uid).or(found.everything.as_ref()).cloned()
    }

    /// Whether nothing at all may be appended: rows are missing, and people have to see what is left of them.
    pub fn holds_everything(&self) -> bool {
        self.found.read().unwrap_or_else(PoisonError::into_inner).everything.is_some()
    }

    /// The same for an object that is being looked at, whose stream has the head `head`: what its status says is
    /// compared too.
    pub(super) fn stands_in_the_way(
        &self,
        context: &Context,
        object: &DynamicObject,
        head: Option<&Head>,
    ) -> Option<String> {
        let uid = Uid::new(object.uid().unwrap_or_default());
        if let Some(why) = self.why(&uid) {
            return Some(why);
        }
        let known = shown(object)?;
        let own = head.filter(|head| head.sequence.get() == known.sequence).map(|head| head.hash);
        let gap = gap(context.installation.era, &known, head.map(|head| head.sequence), own)?;
        let why = message(&gap);
        error!(%uid, %gap, "LedgerBehind: nothing is appended to this stream");
        self.found.write().unwrap_or_else(PoisonError::into_inner).streams.insert(uid, why.clone());
        Some(why)
    }

    fn is_clear(&self) -> bool {
        *self.found.read().unwrap_or_else(PoisonError::into_inner) == Found::default()
    }

    /// Replaces what is known: `gaps`, among so many streams. Answers whether that is news.
    pub fn replace(&self, gaps: &BTreeMap<Uid, Gap>, streams: u64) -> bool {
        let count = u64::try_from(gaps.len()).unwrap_or(u64::MAX);
        let everything = holds_everything(count, streams).then(|| {
            format!(
                "the ledger lost rows of {count} resources, so it is not the one that it should be, and nothing is \
                 recorded at all. Point DATABASE_URL at the right one, or run `trueup ledger recover`, which fetches \
                 rows back from a receiver or begins a new era"
            )
        });
        let now = Found { everything, streams: gaps.iter().map(|(uid, gap)| (uid.clone(), message(gap))).collect() };
        let mut found = self.found.write().unwrap_or_else(PoisonError::into_inner);
        let is_news = *found != now;
        *found = now;
        is_news
    }

    /// The same, and says what has changed.
    fn learn(&self, context: &Context, gaps: &BTreeMap<Uid, Gap>, streams: u64) {
        let count = u64::try_from(gaps.len()).unwrap_or(u64::MAX);
        let is_news = self.replace(gaps, streams);
        let everything = self.found.read().unwrap_or_else(PoisonError::into_inner).everything.clone();
        context.metrics.behind(count, everything.is_some());
        if !is_news {
            return;
        }
        match (&everything, gaps.iter().next()) {
            (Some(why), _) => error!(streams = count, "LedgerBehind: {why}"),
            (None, Some((uid, gap))) => error!(
                streams = count, first = %uid, %gap,
                "LedgerBehind: nothing is appended to these streams until `trueup ledger recover` has run"
            ),
            (None, None) => info!("the ledger has caught up with what is known elsewhere; appending again"),
        }
    }
}

/// What an object's status says of its own stream.
fn shown(object: &DynamicObject) -> Option<LedgerRef> {
    let known: LedgerRef = serde_json::from_value(object.data["status"]["ledger"].clone()).ok()?;
    // One that speaks of another stream was copied there.
    (Some(&known.uid) == object.metadata.uid.as_ref()).then_some(known)
}

/// Compares until it has succeeded once: nobody may append before.
pub(super) async fn compare_first(context: &Arc<Context>) {
    while let Err(error) = compare(context).await {
        warn!(%error, "the ledger could not be compared with what is known elsewhere; nothing is appended before it is");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Goes on comparing while anything is behind.
pub(super) async fn compare_again(context: Arc<Context>) {
    loop {
        tokio::time::sleep(AGAIN).await;
        if context.behind.is_clear() {
            continue;
        }
        if let Err(error) = compare(&context).await {
            warn!(%error, "the ledger could not be compared with what is known elsewhere");
        }
    }
}

async fn compare(context: &Arc<Context>) -> Result<(), StoreError> {
    let mut known: Vec<LedgerRef> = vec![];
    let mut objects = 0_u64;
    for kind in Kind::ALL {
        let store = context.caches.store(CustomKind::of(kind)).state();
        objects += u64::try_from(store.len()).unwrap_or(0);
        known.extend(store.iter().filter_map(|object| shown(object)));
    }
    for receiver in &context.receivers {
        match receiver.applied().await {
            Ok(applied) => known.extend(applied),
            Err(why) => warn!(why, "a receiver does not say what it has applied; the ledger is not compared with it"),
        }
    }
    // Receivers remember streams that have ended; objects are of open ones.
    let heads = heads(context, context.receivers.is_empty()).await?;
    let mut gaps = BTreeMap::new();
    for place in known {
        let uid = Uid::new(place.uid.as_str());
        let head = match heads.get(&uid) {
            Some(head) => Some(*head),
            None => context.ledger.head(&uid).await?.map(|head| (head.sequence, head.hash)),
        };
        let at = Sequence::new(place.sequence);
        let own = match head {
            Some((newest, hash)) if newest == at => Some(hash),
            Some((newest, _)) if newest > at => context.ledger.row(&uid, at).await?.map(|row| row.hash),
            _ => None,
        };
        if let Some(gap) = gap(context.installation.era, &place, head.map(|(newest, _)| newest), own) {
            gaps.insert(uid, gap);
        }
    }
    context.behind.learn(context, &gaps, objects.max(u64::try_from(heads.len()).unwrap_or(u64::MAX)));
    Ok(())
}

async fn heads(context: &Context, open_only: bool) -> Result<HashMap<Uid, (Sequence, Hash)>, StoreError> {
    let mut heads = HashMap::new();
    let mut after: Option<Uid> = None;
    loop {
        let page = context.ledger.heads(after.as_ref(), open_only, PAGE).await?;
        let Some(last) = page.last() else { return Ok(heads) };
        after = Some(last.subject.uid.clone());
        heads.extend(page.into_iter().map(|head| (head.subject.uid, (head.sequence, head.hash))));
    }
}
