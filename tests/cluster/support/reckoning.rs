//! Whether spec, cluster, ledger, status and receiver all say the same, and the ledger keeps its rules.

use std::collections::BTreeMap;

use kube::{ResourceExt as _, core::DynamicObject};
use trueup::{
    domain::{Billable, Event, EventData, Head, Kind, Uid},
    ledger::{LaneState, Report, Row, audit},
    lifecycle::TABLES,
    receiver::{EventView, Events, ResourceView, Resources},
};

use super::{PATIENCE, Visit, eventually, trueup};

/// What the ledger has of one stream.
#[derive(Debug)]
pub struct Story {
    /// Its rows.
    pub rows: Vec<Row>,
}

impl Story {
    pub(super) fn new(rows: Vec<Row>) -> Self {
        Self { rows }
    }

    /// The states in their order; rows that changed something else are left out.
    pub fn states(&self) -> Vec<&str> {
        let changes = self.rows.iter().filter(|row| row.from.as_ref() != Some(&row.to));
        changes.map(|row| row.to.as_str()).collect()
    }

    /// Each row as `State:Reason`.
    pub fn steps(&self) -> Vec<String> {
        self.rows.iter().map(|row| format!("{}:{}", row.to, row.reason)).collect()
    }

    /// What was sent of each row.
    pub fn events(&self) -> Vec<EventData> {
        self.rows.iter().map(|row| Event::verify(&row.body).expect("an event that verifies").data).collect()
    }

    /// How many replicas each row bills.
    pub fn replicas(&self) -> Vec<u32> {
        self.events().iter().map(|event| event.billable.replicas).collect()
    }

    /// What is billed now.
    pub fn billable(&self) -> Billable {
        self.events().last().map_or(Billable::ZERO, |event| event.billable)
    }

    /// The newest row.
    pub fn last(&self) -> &Row {
        self.rows.last().expect("a stream with rows")
    }
}

/// Waits until everything says the same about a tenant and all that is its; about everything, if none is named.
pub async fn reckon(visit: &Visit, tenant: Option<&str>) -> Report {
    let whose = tenant.map_or_else(|| "everything".to_owned(), |name| format!("tenant {name}"));
    let what = format!("cluster, ledger and receiver say the same about {whose}");
    eventually(PATIENCE, &what, || compare(visit, tenant)).await
}

/// Asks `trueup audit` about everything, which must find that all invariants hold. Answers its last line.
pub fn audited(visit: &Visit) -> String {
    let mut command = trueup();
    command.arg("audit").args(["--database-url", &visit.place.ledger, "--receiver", &visit.place.receiver_url()]);
    let output = command.arg("--kubeconfig").arg(visit.place.cluster.admin()).output().expect("running trueup audit");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "trueup audit ends with {}: {said}{errors}", output.status);
    let last = said.lines().last().unwrap_or_default().to_owned();
    assert!(last.starts_with("audit: all invariants hold ("), "{said}");
    last
}

async fn compare(visit: &Visit, tenant: Option<&str>) -> Result<Report, String> {
    let fault = |error: &dyn std::fmt::Display| format!("the ledger cannot be read: {error}");
    let report = audit(&*visit.ledger, TABLES).await.map_err(|error| fault(&error))?;
    if !report.is_clean() {
        let violations: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
        return Err(format!("the audit finds {} violations:\n{}", report.violated, violations.join("\n")));
    }
    let mut heads = visit.heads().await;
    if let Some(tenant) = tenant {
        heads.retain(|head| head.subject.tenant.as_str() == tenant);
    }
    if heads.is_empty() {
        return Err("the ledger has nothing of it".to_owned());
    }
    let known: BTreeMap<Uid, ResourceView> =
        resources(visit).await?.into_iter().map(|view| (view.uid.clone(), view)).collect();
    if tenant.is_none() && known.len() != heads.len() {
        return Err(format!("the receiver knows {} resources and the ledger {}", known.len(), heads.len()));
    }
    let lanes = visit.ledger.lanes(None, true, 10_000).await.map_err(|error| fault(&error))?;
    for head in &heads {
        if let Some(lane) = lanes.iter().find(|lane| lane.uid == head.subject.uid) {
            let parked = if lane.state == LaneState::Parked { "parked" } else { "open" };
            return Err(format!("{} has a lane, {parked}, at {} of {}", named(head), lane.acked, lane.head));
        }
        delivered(visit, head, known.get(&head.subject.uid)).await?;
    }
    shown(visit, &heads).await?;
    Ok(report)
}

async fn resources(visit: &Visit) -> Result<Vec<ResourceView>, String> {
    let (mut all, mut after) = (vec![], String::new());
    loop {
        let page: Resources = visit.ask_receiver(&format!("/resources?after={after}")).await?;
        all.extend(page.resources);
        match page.next {
            Some(next) => after = next.to_string(),
            None => return Ok(all),
        }
    }
}

/// The receiver applied each row of the stream once, in order, byte for byte; and nothing else, but of an era that ended.
async fn delivered(visit: &Visit, head: &Head, known: Option<&ResourceView>) -> Result<(), String> {
    let Some(known) = known else { return Err(format!("the receiver has nothing of {}", named(head))) };
    let same = known.sequence == head.sequence
        && known.hash == head.hash
        && known.state == head.state
        && known.billable == head.billable;
    if !same {
        return Err(format!("the receiver has {known:?} of {}, and the ledger {head:?}", named(head)));
    }
    let page: Events = visit.ask_receiver(&format!("/resources/{}/events?limit=10000", head.subject.uid)).await?;
    let rows = visit.story(&head.subject.uid).await.rows;
    if i64::try_from(page.events.len()).ok() != Some(known.applied) {
        return Err(format!("the receiver counts {} events of {}, and has others", known.applied, named(head)));
    }
    // What was lost for good stays with the receiver, beside what a later era put in its place or before it. In the first
    // era, nothing is.
    let superseded =
        |event: &EventView| rows.iter().any(|row| row.sequence <= event.sequence && era(row) > event.era.get());
    let counting = page.events.iter().filter(|event| !superseded(event));
    let applied = counting.map(|event| (event.sequence, event.body.as_bytes()));
    if !applied.eq(rows.iter().map(|row| (row.sequence, row.body.as_slice()))) {
        return Err(format!("the receiver applied other events of {} than the ledger holds", named(head)));
    }
    Ok(())
}

fn era(row: &Row) -> i64 {
    Event::verify(&row.body).expect("an event that verifies").data.era
}

/// Every open stream is of an object that is there and shows what the ledger says; every closed one's is gone.
async fn shown(visit: &Visit, heads: &[Head]) -> Result<(), String> {
    let mut objects: BTreeMap<Uid, DynamicObject> = BTreeMap::new();
    for kind in Kind::ALL {
        let found = visit.list(kind.as_str(), None).await;
        objects.extend(found.into_iter().map(|object| (Uid::new(object.uid().unwrap_or_default()), object)));
    }
    for head in heads {
        let object = match (objects.get(&head.subject.uid), head.closed_at) {
            (None, None) => {
                let rows = visit.story(&head.subject.uid).await.rows;
                let told = rows.iter().map(|row| {
                    let Row { sequence, epoch, to, reason, effective, recorded_at, .. } = row;
                    format!("#{sequence} {to} {reason} in epoch {epoch} at {}, recorded at {recorded_at}", effective.at)
                });
                let story = told.collect::<Vec<_>>().join("; ");
                return Err(format!("{} is gone, and its stream is open: {story}", named(head)));
            }
            (Some(_), Some(_)) => return Err(format!("{} is there, and its stream is closed", named(head))),
            (None, Some(_)) => continue,
            (Some(object), None) => object,
        };
        let status = &object.data["status"];
        let says = &status["ledger"];
        let same = status["state"] == head.state.as_str()
            && says["sequence"] == head.sequence.get()
            && says["hash"] == head.hash.to_string()
            && says["uid"] == head.subject.uid.as_str()
            && status["observedGeneration"].as_i64() == object.metadata.generation;
        if !same {
            return Err(format!("{} shows {status}, and the ledger has {head:?}", named(head)));
        }
        if head.subject.kind == Kind::AppDeployment {
            runs(visit, head, object).await?;
        }
    }
    Ok(())
}

/// What is billed of an application is what Kubernetes itself says runs of it, up to what was asked for.
async fn runs(visit: &Visit, head: &Head, app: &DynamicObject) -> Result<(), String> {
    let deployment = visit.find("Deployment", head.subject.namespace.as_deref(), &head.subject.name).await;
    let available = deployment
        .filter(|found| found.labels().get("trueup.dev/app").is_some())
        .map_or(0, |found| found.data["status"]["availableReplicas"].as_u64().unwrap_or(0));
    let wanted =
        if head.state.as_str() == "Suspended" { 0 } else { app.data["spec"]["replicas"].as_u64().unwrap_or(0) };
    let billed = u64::from(head.billable.replicas);
    if billed != available.min(wanted) {
        return Err(format!("{} is billed {billed} pods; {available} are available of {wanted}", named(head)));
    }
    if head.state.as_str() == "Available" && available < wanted {
        return Err(format!("{} is said to be available with {available} of {wanted} pods", named(head)));
    }
    Ok(())
}

fn named(head: &Head) -> String {
    let subject = &head.subject;
    format!("{} {}/{} ({})", subject.kind, subject.namespace.as_deref().unwrap_or_default(), subject.name, subject.uid)
}
