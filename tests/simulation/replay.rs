//! The API server's own history beside what billing was told. What ran is read from what was written there, by code that knows
//! nothing of how Trueup reads it: pods that were ready, and how many of them anybody wanted.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::Value;
use trueup::{
    api::{LedgerRef, label},
    domain::{Event, TimeSource, Timestamp, Uid},
};

use crate::{
    apiserver::{Change, Key},
    receiver::Entry,
};

/// What is replayed.
const KINDS: [&str; 4] = ["tenants", "appdeployments", "backups", "pods"];
/// How long after it happened something may be noticed, and be billed from, when nothing goes wrong: the API server's times have
/// whole seconds, and looks come a moment later.
const PROMPT: Duration = Duration::from_millis(1_500);

/// Everything that was written of these kinds. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Chronicle {
    written: Arc<Mutex<Vec<Change>>>,
}

/// What went on while it was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Days {
    /// Nothing went wrong: what is billed must be what ran, nearly to the second.
    Calm,
    /// Much went wrong, so that much was noticed late; but nothing may be billed that never was.
    Troubled,
    /// Clocks were set besides, so that nobody's times can be compared.
    OutOfTime,
}

impl Chronicle {
    pub fn note(&self, change: &Change) {
        if KINDS.contains(&change.key.plural.as_str()) {
            self.written.lock().unwrap_or_else(PoisonError::into_inner).push(change.clone());
        }
    }

    /// What billing was told and what was shown that is not so.
    pub fn contradictions(&self, applied: &BTreeMap<Uid, Vec<Entry>>, days: Days) -> Vec<String> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = untold(&written, applied);
        for (uid, ran) in replay(&written) {
            let events = applied.get(&uid).into_iter().flatten().filter_map(|entry| Event::verify(&entry.body).ok());
            let told: Vec<Event> = events.collect();
            match days {
                Days::OutOfTime => {}
                Days::Troubled => found.extend(untrue(&ran, &told, Duration::from_mins(5))),
                Days::Calm => {
                    found.extend(untrue(&ran, &told, PROMPT));
                    found.extend(miscounted(&ran, &told));
                }
            }
        }
        found
    }
}

/// What a status said of the ledger at any time, and billing was never told.
fn untold(written: &[Change], applied: &BTreeMap<Uid, Vec<Entry>>) -> Vec<String> {
    let mut said = BTreeSet::new();
    for object in written.iter().filter_map(|change| change.after.as_ref()) {
        if let Ok(shown) = serde_json::from_value::<LedgerRef>(object["status"]["ledger"].clone()) {
            said.insert((Uid::new(shown.uid), shown.sequence, shown.hash));
        }
    }
    let is_told = |(uid, sequence, hash): &(Uid, i64, String)| {
        let mut entries = applied.get(uid).into_iter().flatten();
        entries.any(|entry| entry.sequence.get() == *sequence && entry.hash.to_string() == *hash)
    };
    let untold = said.into_iter().filter(|said| !is_told(said));
    untold
        .map(|(uid, sequence, _)| format!("the status of {uid} showed {sequence}, and billing has no such row"))
        .collect()
}

/// What something was, from which moment on.
#[derive(Clone, Debug, Default)]
struct Course(Vec<(Timestamp, u64)>);

impl Course {
    fn goes_on(&mut self, at: Timestamp, now: u64) {
        if self.0.last().is_none_or(|(_, last)| *last != now) {
            self.0.push((at, now));
        }
    }

    fn at(&self, moment: Timestamp) -> u64 {
        self.0.iter().rev().find(|(at, _)| *at <= moment).map_or(0, |(_, value)| *value)
    }

    fn within(&self, from: Timestamp, to: Timestamp) -> BTreeSet<u64> {
        let changes = self.0.iter().filter(|(at, _)| *at > from && *at <= to).map(|(_, value)| *value);
        changes.chain([self.at(from)]).collect()
    }

    fn moments(&self) -> impl Iterator<Item = Timestamp> {
        self.0.iter().map(|(at, _)| *at)
    }

    /// By how much it changed, all in all.
    fn changed(&self) -> u64 {
        let before = [0].into_iter().chain(self.0.iter().map(|(_, value)| *value));
        self.0.iter().zip(before).map(|((_, value), before)| value.abs_diff(before)).sum()
    }
}

/// What became of an application.
#[derive(Clone, Debug)]
struct Ran {
    key: Key,
    ready: Course,
    /// How many pods it asked for itself.
    asked: Course,
    /// 1 while its tenant rested, or it was going or gone: then none was wanted, whatever it asked for.
    rested: Course,
    /// As many as were ready and wanted.
    served: Course,
}

impl Ran {
    fn of(key: &Key) -> Self {
        let (ready, asked, rested, served) = Default::default();
        Self { key: key.clone(), ready, asked, rested, served }
    }

    /// How many pods may have been thought to be wanted: what it asked for and whether it rested is heard of in any order.
    fn wanted(&self, from: Timestamp, to: Timestamp) -> BTreeSet<u64> {
        let rested = self.rested.within(from, to);
        let asked = self.asked.within(from, to).into_iter().filter(|_| rested.contains(&0));
        asked.chain(rested.contains(&1).then_some(0)).collect()
    }
}

#[derive(Default)]
struct Cluster<'a> {
    /// Which application's each ready pod is.
    ready: BTreeMap<&'a Key, Option<&'a str>>,
    apps: BTreeMap<&'a Key, &'a Value>,
    suspended: BTreeSet<&'a str>,
}

impl<'a> Cluster<'a> {
    fn learn(&mut self, Change { key, after, .. }: &'a Change) {
        match (key.plural.as_str(), after) {
            ("pods", Some(pod)) if pod["status"]["conditions"][0]["status"] == "True" => {
                self.ready.insert(key, pod["metadata"]["labels"][label::APP].as_str());
            }
            ("pods", _) => drop(self.ready.remove(key)),
            ("appdeployments", Some(app)) => drop(self.apps.insert(key, app)),
            ("appdeployments", None) => drop(self.apps.remove(key)),
            ("tenants", Some(tenant)) if tenant["spec"]["suspend"] == true => drop(self.suspended.insert(&key.name)),
            ("tenants", _) => drop(self.suspended.remove(key.name.as_str())),
            _ => {}
        }
    }

    fn ready(&self, app: &Key) -> u64 {
        let name = Some(app.name.as_str());
        let of_app = self.ready.iter().filter(|(pod, of)| pod.namespace == app.namespace && of.as_deref() == name);
        u64::try_from(of_app.count()).expect("they are few")
    }

    fn rests(&self, key: &Key, app: &Value) -> bool {
        let tenant = key.namespace.as_deref().and_then(|namespace| namespace.strip_suffix("-prod"));
        let goes = !app["metadata"]["deletionTimestamp"].is_null();
        goes || tenant.is_some_and(|tenant| self.suspended.contains(tenant))
    }
}

/// How many pods an application itself asks for.
fn asked(app: &Value) -> u64 {
    if app["spec"]["suspend"] == true { 0 } else { app["spec"]["replicas"].as_u64().unwrap_or(0) }
}

/// What became of each application, from the first write to the last.
fn replay(written: &[Change]) -> BTreeMap<Uid, Ran> {
    let mut cluster = Cluster::default();
    let mut all: BTreeMap<Uid, Ran> = BTreeMap::new();
    for change in written {
        if let (None, Some(gone)) = (&change.after, &change.before)
            && let Some(ran) = all.get_mut(&uid(gone))
        {
            ran.rested.goes_on(change.at, 1);
            ran.served.goes_on(change.at, 0);
        }
        cluster.learn(change);
        for (key, app) in &cluster.apps {
            let (asked, rests) = (asked(app), cluster.rests(key, app));
            let ran = all.entry(uid(app)).or_insert_with(|| Ran::of(key));
            ran.asked.goes_on(change.at, asked);
            ran.rested.goes_on(change.at, rests.into());
            ran.served.goes_on(change.at, if rests { 0 } else { asked.min(cluster.ready(key)) });
        }
        // Also what runs on when its application was taken away: whoever has not heard of that yet bills it.
        for ran in all.values_mut() {
            ran.ready.goes_on(change.at, cluster.ready(&ran.key));
        }
    }
    all
}

fn uid(object: &Value) -> Uid {
    Uid::new(object["metadata"]["uid"].as_str().unwrap_or_default())
}

/// Numbers of pods that were billed and were not there at any moment since shortly before the row that came before.
fn untrue(ran: &Ran, told: &[Event], patience: Duration) -> Vec<String> {
    let mut found = vec![];
    let mut before: Option<&Event> = None;
    for event in told {
        let billed = u64::from(event.data.billable.replicas);
        let (from, to) = (before.map_or(event.recordedtime, |it| it.recordedtime).minus(patience), event.recordedtime);
        let ready = ran.ready.within(from, to);
        let wanted = ran.wanted(from, to);
        let was_so = ready.iter().any(|ready| wanted.iter().any(|wanted| *ready.min(wanted) == billed));
        // While nobody knows, what was billed goes on; and who was just taken in has nothing yet.
        let goes_on = before.map_or(0, |it| u64::from(it.data.billable.replicas)) == billed;
        if !was_so && !goes_on {
            let (name, to) = (&ran.key.name, &event.data.to);
            found.push(format!(
                "{name} {to} is billed for {billed} pods, of which were ready {ready:?} and wanted {wanted:?} meanwhile"
            ));
        }
        before = Some(event);
    }
    found
}

/// By how much the pods that were billed, times how long, differ from those that ran, if that is more than promptness explains.
fn miscounted(ran: &Ran, told: &[Event]) -> Option<String> {
    // What nobody saw is billed by what is known of it; the events say so.
    if told.is_empty() || told.iter().any(|event| event.data.time_source == TimeSource::Inferred) {
        return None;
    }
    let mut billed = Course::default();
    for event in told {
        billed.goes_on(event.data.effective_at, event.data.billable.replicas.into());
    }
    let moments: BTreeSet<Timestamp> = billed.moments().chain(ran.served.moments()).collect();
    let spans = moments.iter().zip(moments.iter().skip(1));
    let differs = |(from, to): (&Timestamp, &Timestamp)| {
        to.since(*from) * u32::try_from(billed.at(*from).abs_diff(ran.served.at(*from))).expect("they are few")
    };
    let beside: Duration = spans.map(differs).sum();
    let allowed = PROMPT * u32::try_from(billed.changed() + ran.served.changed()).expect("they are few");
    (beside > allowed).then(|| {
        format!("{} is billed for {beside:?} of pods beside what ran: {billed:?}, and {:?}", ran.key.name, ran.served)
    })
}
