//! One resource beside itself: what the cluster shows, what the ledger recorded, what billing applied. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::sources::{BillingSnapshot, ClusterSnapshot, LedgerSnapshot, Reading};
use crate::{
    cluster::Listed,
    domain::{Billable, Kind, Sequence, State, Timestamp, Uid},
    ledger::{Head, LaneState, LaneView},
    receiver::ResourceView,
};

/// How long a deleted resource is still shown.
const REMEMBERED: Duration = Duration::from_mins(1);

/// What is known from everywhere.
#[derive(Clone, Debug, Default)]
pub struct Everything {
    /// `None`: no ledger was given.
    pub ledger: Option<Reading<LedgerSnapshot>>,
    pub cluster: Reading<ClusterSnapshot>,
    /// `None`: no receiver was given.
    pub billing: Option<Reading<BillingSnapshot>>,
    /// Which of the newest rows billing applied, and when, if that was seen.
    pub applied: BTreeMap<(Uid, Sequence), Option<Timestamp>>,
}

impl Everything {
    /// What the receiver said, if it ever said anything.
    pub fn told(&self) -> Option<&BillingSnapshot> {
        self.billing.as_ref().filter(|billing| billing.answered).map(|billing| &billing.value)
    }

    /// Notes which of the newest rows billing has by now.
    pub fn note_applied(&mut self) {
        let (Some(ledger), Some(billing)) = (&self.ledger, self.told()) else { return };
        let told: BTreeMap<&Uid, &ResourceView> = billing.resources.iter().map(|view| (&view.uid, view)).collect();
        let mut applied = BTreeMap::new();
        for row in ledger.value.newest.iter().map(|newest| &newest.row) {
            let Some(view) = told.get(&row.uid).filter(|view| view.sequence >= row.sequence) else { continue };
            let key = (row.uid.clone(), row.sequence);
            // Of an earlier event the receiver does not say when; it may have been seen at the time.
            let at = if view.sequence == row.sequence { Some(view.applied_at) } else { None };
            let at = at.or_else(|| self.applied.get(&key).copied().flatten());
            applied.insert(key, at);
        }
        self.applied = applied;
    }
}

/// One line of the view.
#[derive(Clone, PartialEq, Debug)]
pub struct Line {
    pub uid: Uid,
    pub kind: Kind,
    pub namespace: Option<String>,
    pub name: String,
    /// The tenant, by which lines stand together.
    pub tenant: String,
    pub mark: Mark,
    pub cluster: Option<InCluster>,
    pub ledger: Option<InLedger>,
    pub billing: Option<AtBilling>,
    /// What a person should know about it.
    pub note: Option<String>,
    /// Its stream is closed and its object gone.
    pub gone: bool,
}

/// How a line stands.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Mark {
    /// Something contradicts, or waits for a person.
    Wrong,
    /// So many transitions have not arrived everywhere.
    Behind(i64),
    /// All say the same.
    InStep,
}

/// What the cluster shows.
#[derive(Clone, PartialEq, Debug)]
pub struct InCluster {
    pub state: Option<State>,
    pub readiness: Readiness,
    /// Pods, or namespaces: those that are good, of those that are wanted.
    pub parts: Option<(i64, i64)>,
}

/// What the conditions say in one sign.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Readiness {
    Ready,
    NotYet,
    Stalled,
}

/// What the ledger says.
#[derive(Clone, PartialEq, Debug)]
pub struct InLedger {
    pub sequence: Sequence,
    pub state: State,
    /// When that was recorded, if the ledger itself was read.
    pub recorded_at: Option<Timestamp>,
}

/// What billing has.
#[derive(Clone, PartialEq, Debug)]
pub struct AtBilling {
    pub sequence: Sequence,
    /// `None` where only the acknowledgement is known.
    pub state: Option<State>,
    pub billable: Option<Billable>,
    pub applied_at: Option<Timestamp>,
}

/// All lines: each tenant followed by what is its own.
pub fn lines(known: &Everything, now: Timestamp) -> Vec<Line> {
    let objects: BTreeMap<&Uid, &Listed> =
        known.cluster.value.objects.iter().map(|listed| (&listed.shown.uid, listed)).collect();
    let no_heads = BTreeMap::new();
    let heads = known.ledger.as_ref().map_or(&no_heads, |ledger| &ledger.value.heads);
    let told: BTreeMap<&Uid, &ResourceView> =
        known.told().into_iter().flat_map(|billing| &billing.resources).map(|view| (&view.uid, view)).collect();

    let uids: BTreeSet<&Uid> = objects.keys().copied().chain(heads.keys()).chain(told.keys().copied()).collect();
    let mut lines: Vec<Line> = uids
        .into_iter()
        .filter_map(|uid| {
            let seen = Seen {
                object: objects.get(uid).copied(),
                head: heads.get(uid),
                told: told.get(uid).copied(),
                lane: known.ledger.as_ref().and_then(|ledger| ledger.value.owing.get(uid)),
            };
            seen.line(uid, known, now)
        })
        .collect();
    lines.sort_by(|a, b| {
        let key = |line: &Line| (line.tenant.clone(), line.kind, line.namespace.clone(), line.name.clone());
        key(a).cmp(&key(b)).then_with(|| a.uid.cmp(&b.uid))
    });
    lines
}

/// One resource, by whoever knows it.
struct Seen<'a> {
    object: Option<&'a Listed>,
    head: Option<&'a Head>,
    told: Option<&'a ResourceView>,
    lane: Option<&'a LaneView>,
}

impl Seen<'_> {
    fn line(&self, uid: &Uid, known: &Everything, now: Timestamp) -> Option<Line> {
        let closed_at = match (self.head, self.told) {
            (Some(head), _) => head.closed_at.map(|_| head.recorded_at),
            // Without the ledger, billing's word must do.
            (None, Some(told)) => matches!(told.state.as_str(), "Deleted" | "Detached").then_some(told.applied_at),
            _ => None,
        };
        let gone = self.object.is_none() && closed_at.is_some();
        let told_all =
            self.told.is_none() || self.told.map(|told| told.sequence) >= self.head.map(|head| head.sequence);
        let heard = self.told.map_or(Timestamp::from_micros(0), |told| told.applied_at);
        if gone && told_all && closed_at.is_some_and(|closed| now.since(closed.max(heard)) > REMEMBERED) {
            return None;
        }
        let (kind, namespace, name, tenant) = match (self.head, self.told, self.object) {
            (Some(head), ..) => {
                let subject = &head.subject;
                (subject.kind, subject.namespace.clone(), subject.name.clone(), subject.tenant.to_string())
            }
            (None, Some(told), _) => (told.kind, told.namespace.clone(), told.name.clone(), told.tenant.to_string()),
            (None, None, Some(listed)) => {
                let shown = &listed.shown;
                let tenant = shown.namespace.as_deref().map_or(shown.name.as_str(), |space| tenant_of(space, known));
                let tenant = tenant.to_owned();
                (shown.kind, shown.namespace.clone(), shown.name.clone(), tenant)
            }
            (None, None, None) => return None,
        };
        let (mark, contradiction) = self.judge(known, gone);
        Some(Line {
            uid: uid.clone(),
            kind,
            namespace,
            name,
            tenant,
            mark,
            cluster: self.object.map(in_cluster),
            ledger: self.in_ledger(known),
            billing: self.at_billing(known),
            note: contradiction.or_else(|| self.object.and_then(stalled)),
            gone,
        })
    }

    fn in_ledger(&self, known: &Everything) -> Option<InLedger> {
        if known.ledger.is_some() {
            let head = self.head?;
            let recorded_at = Some(head.recorded_at);
            return Some(InLedger { sequence: head.sequence, state: head.state.clone(), recorded_at });
        }
        let shown = &self.object?.shown;
        let (place, state) = (shown.ledger.as_ref()?, shown.state.clone()?);
        Some(InLedger { sequence: place.sequence, state, recorded_at: None })
    }

    fn at_billing(&self, known: &Everything) -> Option<AtBilling> {
        if known.told().is_some() {
            let told = self.told?;
            return Some(AtBilling {
                sequence: told.sequence,
                state: Some(told.state.clone()),
                billable: Some(told.billable),
                applied_at: Some(told.applied_at),
            });
        }
        // Without a receiver to ask, what it acknowledged is what the ledger knows of it.
        let ledger = known.ledger.as_ref().filter(|ledger| ledger.value.destinations > 0)?;
        let head = self.head.filter(|head| ledger.value.heads.contains_key(&head.subject.uid))?;
        let sequence = self.lane.map_or(head.sequence, |lane| lane.acked);
        let state = (sequence == head.sequence).then(|| head.state.clone());
        let billable = (sequence == head.sequence).then_some(head.billable);
        (sequence >= Sequence::FIRST).then_some(AtBilling { sequence, state, billable, applied_at: None })
    }

    /// How it stands, and what contradicts if anything does.
    fn judge(&self, known: &Everything, gone: bool) -> (Mark, Option<String>) {
        let wrong = |why: String| (Mark::Wrong, Some(why));
        if let Some(lane) = self.lane.filter(|lane| lane.state == LaneState::Parked) {
            let reason = lane.park_reason.as_deref().unwrap_or("no reason");
            let error = lane.last_error.as_deref().unwrap_or_default();
            return wrong(format!("billing: parked before {}, {reason}: {error}", lane.acked.next()));
        }
        let shown = self.object.and_then(|listed| listed.shown.ledger.as_ref().map(|place| (listed, place)));
        let here = match (&known.ledger, self.head) {
            (Some(_), Some(head)) => head.sequence,
            (Some(_), None) => Sequence::new(0),
            (None, _) => {
                shown.map(|(_, place)| place.sequence).max(self.told.map(|told| told.sequence)).unwrap_or_default()
            }
        };
        // A ledger that does not answer may have moved on.
        let fresh = known.ledger.as_ref().is_some_and(|ledger| ledger.trouble.is_none());
        if fresh && let Some((listed, place)) = shown {
            if place.sequence > here {
                return wrong(format!("the status is at {}, ahead of the ledger at {here}", place.sequence));
            }
            if let Some(head) = self.head.filter(|head| head.sequence == place.sequence)
                && (place.hash != head.hash.to_string() || listed.shown.state.as_ref() != Some(&head.state))
            {
                return wrong(format!("the status says something else than the ledger at {here}"));
            }
        }
        if fresh && let Some(told) = self.told {
            if told.sequence > here {
                return wrong(format!("billing is at {}, ahead of the ledger at {here}", told.sequence));
            }
            if self.head.is_some_and(|head| head.sequence == told.sequence && head.hash != told.hash) {
                return wrong(format!("billing was told something else than the ledger says at {here}"));
            }
        }
        let behind = |at: Option<Sequence>| here.get() - at.map_or(0, Sequence::get);
        let cluster = if gone { 0 } else { behind(shown.map(|(_, place)| place.sequence)) };
        let billing = self.at_billing(known).map(|billing| billing.sequence);
        let asked =
            known.billing.is_some() || known.ledger.as_ref().is_some_and(|ledger| ledger.value.destinations > 0);
        let billing = if asked { behind(billing) } else { 0 };
        match cluster.max(billing) {
            // An object that has no stream yet, or a stream whose object is gone and not yet closed.
            0 if self.object.is_some_and(|listed| listed.shown.ledger.is_none()) => (Mark::Behind(1), None),
            ..=0 => (Mark::InStep, None),
            behind => (Mark::Behind(behind), None),
        }
    }
}

/// The tenant that a namespace is named after, until the ledger says whose it is; `~` sorts last.
fn tenant_of<'a>(namespace: &str, known: &'a Everything) -> &'a str {
    let tenants = known.cluster.value.objects.iter().filter(|listed| listed.shown.kind == Kind::Tenant);
    let is_of = |name: &str| namespace.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'));
    let named = tenants.map(|listed| listed.shown.name.as_str()).filter(|name| is_of(name));
    named.max_by_key(|name| name.len()).unwrap_or("~")
}

fn in_cluster(listed: &Listed) -> InCluster {
    let is = |condition: &Option<crate::api::Condition>| {
        condition.as_ref().is_some_and(|condition| condition.status == "True")
    };
    let readiness = match (is(&listed.stalled), is(&listed.ready)) {
        (true, _) => Readiness::Stalled,
        (_, true) => Readiness::Ready,
        _ => Readiness::NotYet,
    };
    let parts = match listed.shown.kind {
        Kind::AppDeployment => Some((listed.available.unwrap_or(0), listed.desired.unwrap_or(1))),
        Kind::Tenant | Kind::Backup => None,
    };
    InCluster { state: listed.shown.state.clone(), readiness, parts }
}

fn stalled(listed: &Listed) -> Option<String> {
    let condition = listed.stalled.as_ref().filter(|condition| condition.status == "True")?;
    Some(format!("{}: {}", condition.reason, condition.message))
}
