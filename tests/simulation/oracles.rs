//! What must hold: at every moment, and in the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::sleep;
use trueup::{
    api::{LedgerRef, annotation, label},
    domain::{Event, Uid},
    ledger::{self, Head, LaneView, Row, RowQuery, Store},
    lifecycle::{FINALIZER, TABLES},
};

use crate::{
    apiserver::{Key, Target},
    ledger::at_once,
    process::World,
    replay::Days,
};

/// How long it may take until nothing is written any more.
const PATIENCE: Duration = Duration::from_mins(45);
/// So long nothing is written before it counts as settled: longer than any pause between two tries.
const QUIET: Duration = Duration::from_secs(75);
/// And so long after that nothing may be: together with the calm before, longer than any watch lasts.
const SILENCE: Duration = Duration::from_secs(75);
const STEP: Duration = Duration::from_secs(5);

/// Why the ledger answers: what goes wrong, goes wrong between it and the replicas.
const SOUND: &str = "nothing happens to it here";

/// How things stand in the end, without what differs from run to run: times, versions, identities.
pub type End = BTreeMap<String, Value>;

/// What the kinds are called that have streams.
const STREAMS: [&str; 3] = ["tenants", "appdeployments", "backups"];
/// What is compared besides, but for what comes and goes with chance.
const CHILDREN: [&str; 7] =
    ["namespaces", "resourcequotas", "limitranges", "networkpolicies", "rolebindings", "deployments", "services"];

/// From now on, what must hold at every moment is checked with each write.
pub fn attend(world: &World) {
    let (ledger, seen, chronicle) = (world.ledger.clone(), world.seen.clone(), world.chronicle.clone());
    world.server.watched_by(move |change| {
        chronicle.note(change);
        let Some(after) = &change.after else { return };
        let Some((uid, sequence)) = said(&change.key, after) else { return };
        let head = at_once(ledger.head(&uid)).ok().flatten();
        let reached = head.as_ref().map_or(0, |head| head.sequence.get());
        if sequence > reached {
            let Key { plural, name, .. } = &change.key;
            seen.note(format!("{plural} {name} led: it speaks of {sequence}, and the ledger had {reached}"));
        }
    });
}

/// The row that an object speaks of: a status of where the ledger stands, a backup's Job of the claim that it was made for.
fn said(key: &Key, object: &Value) -> Option<(Uid, i64)> {
    if key.plural == "jobs" {
        let uid = object["metadata"]["annotations"][annotation::OWNER_UID].as_str()?;
        return Some((Uid::new(uid), key.name.rsplit('-').next()?.parse().ok()?));
    }
    let shown: LedgerRef = serde_json::from_value(object["status"]["ledger"].clone()).ok()?;
    (key.group == "trueup.dev").then(|| (Uid::new(shown.uid), shown.sequence))
}

/// What was seen on the way that must never be.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    all: Arc<Mutex<Vec<String>>>,
}

impl Seen {
    fn note(&self, what: String) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.all.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Waits until everything has settled, and says what does not hold.
pub async fn judge(world: &World, days: Days) -> (End, Vec<String>) {
    let mut violations = settle(world).await;
    violations.extend(world.seen.take());
    violations.extend(world.billing.wrong());
    let report = at_once(ledger::audit(world.ledger.as_ref(), TABLES)).expect(SOUND);
    violations.extend(report.violations.iter().map(ToString::to_string));
    let heads = at_once(world.ledger.heads(None, false, 10_000)).expect(SOUND);
    let rows = at_once(world.ledger.stream_rows(None, 100_000)).expect(SOUND);
    delivered(world, &rows, &mut violations);
    closed(world, &heads, &mut violations);
    shown(world, &heads, &mut violations);
    at_rest(world, &mut violations);
    billed(world, &rows, &mut violations);
    violations.extend(world.chronicle.contradictions(&world.billing.applied(), days));
    (end(world, &heads), violations)
}

/// Leases are renewed each second, and Events are only notes.
const ROUTINE: [&str; 2] = ["leases", "events"];

/// All other writes.
fn writes(world: &World) -> usize {
    world.server.writes_but_for(&ROUTINE)
}

fn owed(world: &World) -> Vec<LaneView> {
    at_once(world.ledger.lanes(None, true, 10_000)).expect(SOUND)
}

async fn settle(world: &World) -> Vec<String> {
    let (mut waited, mut quiet, mut last) = (Duration::ZERO, Duration::ZERO, writes(world));
    while quiet < QUIET || !owed(world).is_empty() {
        if waited >= PATIENCE {
            let owed = owed(world);
            return vec![format!("it did not settle within {PATIENCE:?}; lanes that owe: {owed:#?}")];
        }
        sleep(STEP).await;
        waited += STEP;
        let now = writes(world);
        quiet = if now == last { quiet + STEP } else { Duration::ZERO };
        last = now;
    }
    sleep(SILENCE).await;
    if writes(world) == last {
        return vec![];
    }
    vec![format!("a settled cluster was written to, last: {:#?}", world.server.last_but_for(&ROUTINE))]
}

/// Billing has every row once, in order, in the ledger's bytes, and nothing else.
fn delivered(world: &World, rows: &[Row], violations: &mut Vec<String>) {
    let mut expected: BTreeMap<Uid, Vec<&[u8]>> = BTreeMap::new();
    for row in rows {
        expected.entry(row.uid.clone()).or_default().push(&row.body);
    }
    let applied = world.billing.applied();
    for uid in expected.keys().chain(applied.keys()).collect::<BTreeSet<_>>() {
        let told: Vec<&[u8]> = applied.get(uid).into_iter().flatten().map(|entry| entry.body.as_slice()).collect();
        if expected.get(uid).is_none_or(|expected| *expected != told) {
            let count = expected.get(uid).map_or(0, Vec::len);
            violations.push(format!("billing has {} events of {uid}, the ledger {count}, or others", told.len()));
        }
    }
}

/// Objects of the kinds that have streams, by their UIDs.
fn objects(world: &World) -> BTreeMap<String, Arc<Value>> {
    let of = |plural: &str| {
        let target = Target { group: "trueup.dev".into(), plural: plural.into(), ..Target::default() };
        world.server.within(|state, _| state.all(&target).cloned().collect::<Vec<_>>())
    };
    let all = STREAMS.iter().flat_map(|plural| of(plural));
    all.map(|object| (text(&object["metadata"]["uid"]), object)).collect()
}

/// Each object that is there has an open stream, and no other stream is open. By the API server's own history, whoever was held
/// by Trueup's finalizer once has a stream.
fn closed(world: &World, heads: &[Head], violations: &mut Vec<String>) {
    let objects = objects(world);
    for head in heads {
        let uid = head.subject.uid.as_str();
        if head.closed_at.is_some() == objects.contains_key(uid) {
            let is = if head.closed_at.is_some() { "closed" } else { "open" };
            violations.push(format!(
                "the stream of {} {} ({uid}) is {is}",
                head.subject.kind.as_str(),
                head.subject.name
            ));
        }
    }
    for (uid, object) in &objects {
        let finalizers = object["metadata"]["finalizers"].as_array();
        let held = finalizers.is_some_and(|all| all.contains(&json!(FINALIZER)));
        if !held || !heads.iter().any(|head| head.subject.uid.as_str() == uid) {
            violations.push(format!(
                "{} {} was not taken in",
                text(&object["kind"]),
                text(&object["metadata"]["name"])
            ));
        }
    }
}

/// Each status has come as far as the ledger, and speaks of what is asked for now.
fn shown(world: &World, heads: &[Head], violations: &mut Vec<String>) {
    for (uid, object) in objects(world) {
        let name = text(&object["metadata"]["name"]);
        let Some(head) = heads.iter().find(|head| head.subject.uid.as_str() == uid) else { continue };
        let status = &object["status"];
        if status["ledger"]["hash"] != head.hash.to_string() || status["state"] != head.state.as_str() {
            violations.push(format!("the status of {name} is {status}, and the ledger says {head:?}"));
        }
        if status["observedGeneration"] != object["metadata"]["generation"] {
            violations.push(format!("the status of {name} does not speak of what is asked for: {status}"));
        }
    }
}

/// Nobody waits for anything: nothing is broken any more, so tenants and applications are as was asked, and backups have ended.
fn at_rest(world: &World, violations: &mut Vec<String>) {
    for object in objects(world).values() {
        let awaited = if object["kind"] == "Backup" { "Finished" } else { "Ready" };
        let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
        let found = conditions.into_iter().find(|condition| condition["type"] == awaited).unwrap_or(&Value::Null);
        if found["status"] != "True" {
            let (kind, name) = (text(&object["kind"]), text(&object["metadata"]["name"]));
            violations.push(format!("{kind} {name} is still waited for: {found}"));
        }
    }
}

/// What is billed in the end is what the API server says is ready, counted anew; and nothing is billed for what is gone.
fn billed(world: &World, rows: &[Row], violations: &mut Vec<String>) {
    let newest: BTreeMap<&Uid, &Row> = rows.iter().map(|row| (&row.uid, row)).collect();
    let objects = objects(world);
    for (uid, row) in newest {
        let Ok(event) = Event::verify(&row.body) else { continue };
        let billable = event.data.billable;
        let ready = match objects.get(uid.as_str()) {
            None => 0,
            Some(object) if object["kind"] == "AppDeployment" => ready_pods(world, object),
            Some(_) => continue,
        };
        if u64::from(billable.replicas) != ready {
            violations.push(format!("{} {} is billed for {billable:?}, and has {ready} pods", event.data.name, row.to));
        }
    }
}

fn ready_pods(world: &World, app: &Value) -> u64 {
    let pods = Target { plural: "pods".into(), ..Target::default() };
    let of_app = |pod: &&Arc<Value>| {
        pod["metadata"]["namespace"] == app["metadata"]["namespace"]
            && pod["metadata"]["labels"][label::APP] == app["metadata"]["name"]
            && pod["status"]["conditions"][0]["status"] == "True"
    };
    let count = world.server.within(|state, _| state.all(&pods).filter(of_app).count());
    u64::try_from(count).expect("they are few")
}

fn end(world: &World, heads: &[Head]) -> End {
    let mut end = End::new();
    world.server.within(|state, _| {
        for (key, kept) in &state.objects {
            if let Some(words) = words(key, &kept.object) {
                let place = key.namespace.as_ref().map_or(String::new(), |it| format!("{it}/"));
                end.insert(format!("{} {place}{}", key.plural, key.name), words);
            }
        }
    });
    for head in heads.iter().filter(|head| head.closed_at.is_none()) {
        let subject = &head.subject;
        let name = format!("stream of {} {:?} {}", subject.kind.as_str(), subject.namespace, subject.name);
        let words = json!({
            "state": head.state.as_str(), "account": subject.account, "plan": subject.plan,
            "tenant": subject.tenant.as_str(), "billable": format!("{:?}", head.billable),
        });
        end.insert(name, words);
    }
    end
}

/// What is compared of an object.
fn words(key: &Key, object: &Value) -> Option<Value> {
    let own = key.group == "trueup.dev";
    if !own && !CHILDREN.contains(&key.plural.as_str()) {
        return None;
    }
    let mut words = json!({ "labels": object["metadata"]["labels"], "spec": object["spec"] });
    if own && key.plural != "billingsinks" {
        words["state"] = object["status"]["state"].clone();
        let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
        let said =
            conditions.map(|it| format!("{}={} {}", text(&it["type"]), text(&it["status"]), text(&it["reason"])));
        words["conditions"] = json!(said.collect::<Vec<_>>());
    }
    Some(words)
}

/// In what one end differs from another.
pub fn differences(end: &End, other: &End) -> Vec<String> {
    let names: BTreeSet<&String> = end.keys().chain(other.keys()).collect();
    let differing = names.into_iter().filter(|name| end.get(*name) != other.get(*name));
    differing
        .map(|name| {
            let of = |end: &End| end.get(name).map_or("nothing".to_owned(), Value::to_string);
            format!("{name} ended as {}, and undisturbed as {}", of(end), of(other))
        })
        .collect()
}

/// What the ledger says that happened, in order.
pub fn rows(store: &dyn Store) -> Vec<String> {
    let rows = at_once(store.rows(&RowQuery { limit: 100_000, ..RowQuery::default() })).expect(SOUND);
    let events = rows.iter().filter_map(|row| Event::verify(&row.body).ok());
    let words = events.map(|event| format!("{} {}: {}", event.data.kind.as_str(), event.data.name, event.data.to));
    words.collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
