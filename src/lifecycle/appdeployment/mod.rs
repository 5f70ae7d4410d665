//! AppDeployment: from an image to pods that serve, and what is billed for them meanwhile.

mod desired;
mod pods;
mod rollout;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod unwatched;

pub use pods::PodView;

use std::{collections::BTreeSet, time::Duration};

use super::{
    Child, ChildKind, Finalizer, Membership, Object, Plan, Transition, Verdict,
    children::{Owner, compare},
    deadline::{Due, due},
    reasons,
    states::states,
    steps, when,
};
use crate::{
    api::{AppDeploymentSpec, AppDeploymentStatus, label},
    domain::{Billable, Deadline, Head, Kind, Timestamp, Uid},
};
use rollout::Rollout;

const MINUTE: Duration = Duration::from_mins(1);

/// The Deployment controller judges a rollout by its deadline; this much later Trueup does, should that one not answer.
const JUDGEMENT: Duration = Duration::from_secs(30);

/// How long pods may take to end before somebody is told.
const STOPPING: Duration = Duration::from_mins(10);

states! {
    /// Where an application stands.
    AppState of Kind::AppDeployment;
    /// It was asked for.
    Pending => [Progressing Suspended Terminating Detached], Deadline::After(MINUTE), "nothing";
    /// A rollout is under way. What still runs of the last one serves meanwhile.
    Progressing => [Available Failed Suspended Terminating Detached], Deadline::FromSpec, "available pods";
    /// All pods are available.
    Available => [Progressing Degraded Suspended Terminating Detached], Deadline::Never, "available pods";
    /// Fewer pods are available than were asked for.
    Degraded => [Available Progressing Suspended Terminating Detached], Deadline::After(MINUTE.saturating_mul(10)), "available pods";
    /// The rollout made no progress in its time. What still runs of the last one serves on.
    Failed => [Available Progressing Suspended Terminating Detached], Deadline::Never, "available pods";
    /// It stands still, as was asked.
    Suspended => [Progressing Terminating Detached], Deadline::Never, "nothing";
    /// It is being deleted.
    Terminating => [Deleted Detached], Deadline::After(MINUTE.saturating_mul(10)), "nothing";
    /// Nothing of it is left.
    Deleted => [], Deadline::Never, "nothing";
    /// Trueup lets it be, and what was made for it stays.
    Detached => [], Deadline::Never, "nothing";
}

/// What was read about an application.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Observed {
    /// The tenant that its namespace belongs to, if it does.
    pub member: Option<Membership>,
    /// Whether its namespace is on its way out, whosever it is: nothing can be made in it any more.
    pub ending: bool,
    /// Its Deployment and Service, or what has their names.
    pub children: Vec<Child>,
    /// Other applications that are still there and whose marks some of the children carry.
    pub others: BTreeSet<Uid>,
    /// Its pods.
    pub pods: Vec<PodView>,
}

impl Observed {
    fn child(&self, kind: ChildKind) -> Option<&Child> {
        self.children.iter().find(|child| child.key.kind == kind)
    }
}

/// What an AppDeployment does next. Pure: the same inputs always give the same plan.
pub fn decide(
    app: &Object<'_, AppDeploymentSpec>,
    seen: &Observed,
    head: Option<&Head>,
    now: Timestamp,
) -> Plan<AppDeploymentStatus> {
    let blank = Plan {
        finalizer: if app.has_finalizer { Finalizer::Keep } else { Finalizer::Add },
        delete: vec![],
        apply: vec![],
        gone: vec![],
        transition: None,
        status: AppDeploymentStatus::default(),
        look_again: None,
    };
    let Some(head) = head else { return begin(app, seen, now, blank) };
    let mut plan = if app.deleting_since.is_some() {
        terminate(app, seen, head, now, blank)
    } else if let Some(revival) = steps::revive(&TABLE, head, now) {
        let verdict = Verdict::unknown(reasons::RESURRECTED.word, reasons::RESURRECTED.sentence);
        Plan { transition: Some(revival), status: status(app, seen, Some(head), &verdict, now), ..blank }
    } else {
        run(app, seen, head, now, blank)
    };
    if app.paused {
        plan.apply.clear();
        plan.delete.clear();
    }
    plan
}

/// Opens the stream, if the application belongs to anybody.
fn begin(
    app: &Object<'_, AppDeploymentSpec>,
    seen: &Observed,
    now: Timestamp,
    blank: Plan<AppDeploymentStatus>,
) -> Plan<AppDeploymentStatus> {
    if app.deleting_since.is_some() && (seen.member.is_none() || !app.has_finalizer) {
        // Nothing was ever recorded, so nothing has to be closed.
        let finalizer = if app.has_finalizer { Finalizer::Remove } else { Finalizer::Keep };
        return Plan { finalizer, ..blank };
    }
    if seen.member.is_none() {
        let message = format!(
            "namespace {} belongs to no tenant; create the application in a namespace that a Tenant lists",
            app.namespace.as_deref().unwrap_or_default()
        );
        let verdict = Verdict::stalled("NoTenant", message);
        return Plan { finalizer: Finalizer::Keep, status: status(app, seen, None, &verdict, now), ..blank };
    }
    let difference = compare(owner(app, seen), vec![], &seen.children);
    let verdict = Verdict::unknown(reasons::CREATED.word, "Trueup has seen the application and begins.");
    Plan {
        transition: Some(steps::open(TABLE.initial(), app.created, now, difference.adopted_from)),
        status: status(app, seen, None, &verdict, now),
        ..blank
    }
}

/// Keeps it running as asked, and says where it stands.
fn run(
    app: &Object<'_, AppDeploymentSpec>,
    seen: &Observed,
    head: &Head,
    now: Timestamp,
    blank: Plan<AppDeploymentStatus>,
) -> Plan<AppDeploymentStatus> {
    let suspended = app.spec.suspend || seen.member.as_ref().is_some_and(|member| member.suspended);
    let replicas = if suspended { 0 } else { app.spec.replicas };
    let restricted = seen.member.as_ref().is_some_and(|member| member.restricted);
    let wanted = desired::children(app, replicas, restricted, owner(app, seen));
    let difference = compare(owner(app, seen), wanted, &seen.children);
    let applied = difference.apply.is_empty() && difference.terminating.is_empty();
    let deployment = seen.child(ChildKind::Deployment).filter(|child| owner(app, seen).made(child));
    // While Trueup may not touch it, what runs is judged by what somebody else made of it.
    let own = deployment.and_then(|found| i32::try_from(found.body["spec"]["replicas"].as_i64()?).ok());
    let aim = own.filter(|_| app.paused).unwrap_or(replicas);
    let rollout = rollout::of(deployment.filter(|_| applied || app.paused), aim);
    // Nobody knows yet what is available: what was billed goes on, unless nothing is wanted any more.
    let billable = match rollout {
        Rollout::Unknown if replicas > 0 => head.billable,
        _ => billable(app.spec, replicas, rollout.available().min(aim)),
    };
    let patience = Duration::from_secs(u64::try_from(app.spec.progress_deadline_seconds).unwrap_or(0));
    let deadline = due(&TABLE, &moved(head, &rollout), patience + JUDGEMENT, now);

    let more = billable.replicas > head.billable.replicas;
    let resized = (billable, when::reported(pods::last_ready(&seen.pods).filter(|_| more), app, head, now));
    // In a namespace that is going, pods go before the application does: that is no fault of it, and nothing can be made.
    let transition = if difference.foreign.is_empty() && !seen.ending {
        next_state(app, seen, head, now, &rollout, deadline, suspended, billable)
            .or_else(|| steps::restate(app, head, seen.member.as_ref(), resized, now))
    } else {
        steps::restate(app, head, seen.member.as_ref(), resized, now)
    };
    let verdict = if let Some(key) = difference.foreign.first() {
        Verdict::stalled(
            "NameTaken",
            format!(
                "{key} exists and was not made for this application; rename the application, or remove what is there"
            ),
        )
    } else if seen.ending {
        Verdict::in_progress("NamespaceTerminating", "The namespace is being deleted, and the application with it.")
    } else if seen.member.is_none() {
        Verdict::stalled(
            "NoTenant",
            "the namespace belongs to no tenant any more; label it again, or delete the application",
        )
    } else if app.paused && !applied {
        Verdict::not_ready("Paused", "What runs differs from what was asked, and Trueup may not touch it.")
    } else {
        verdict(app, seen, head, &rollout, deadline, suspended, now)
    };
    let look_again = difference.look_again(deadline.look_again().or_else(|| suspended.then_some(STOPPING)));
    Plan {
        status: status(app, seen, Some(head), &verdict, now),
        apply: if difference.foreign.is_empty() && !seen.ending { difference.apply } else { vec![] },
        delete: difference.surplus,
        transition,
        look_again,
        ..blank
    }
}

/// The state that the observation asks for, if it is another than the ledger's.
#[allow(clippy::too_many_arguments, reason = "each of them decides something, and a struct would only rename them")]
fn next_state(
    app: &Object<'_, AppDeploymentSpec>,
    seen: &Observed,
    head: &Head,
    now: Timestamp,
    rollout: &Rollout,
    deadline: Due,
    suspended: bool,
    billable: Billable,
) -> Option<Transition> {
    use AppState::{Available, Degraded, Failed, Pending, Progressing, Suspended};
    let state = AppState::named(&head.state)?;
    let observed = when::seen(app, head, now);
    let reported = |t| when::reported(t, app, head, now);
    let to = |to: AppState, reason, effective| Some(steps::change(to, reason, effective, billable));
    if suspended {
        return match rollout {
            Rollout::Stopped if state != Suspended => to(Suspended, reasons::SUSPENDED, observed),
            _ => None,
        };
    }
    let changed = head.generation != app.generation && !app.paused;
    match (state, rollout) {
        (_, Rollout::Unknown) if !changed => None,
        (Pending, Rollout::Unknown) => None,
        (Pending, _) => {
            let made = seen.child(ChildKind::Deployment).and_then(|child| child.time("creationTimestamp"));
            to(Progressing, reasons::ROLLOUT_STARTED, when::own(made, app, head, now))
        }
        (Suspended, _) => to(Progressing, reasons::RESUMED, observed),
        (Available | Degraded | Failed, _) if changed => to(Progressing, reasons::SPEC_CHANGED, observed),
        (Progressing | Failed, Rollout::Complete { since }) => {
            let reason = if state == Failed { reasons::RECOVERED } else { reasons::ROLLED_OUT };
            to(Available, reason, reported((*since).max(pods::last_ready(&seen.pods))))
        }
        // Zero pods were asked for, and that is how many there are.
        (Progressing | Failed | Degraded, Rollout::Stopped) => to(Available, reasons::ROLLED_OUT, observed),
        (Degraded, Rollout::Complete { .. }) => {
            to(Available, reasons::RECOVERED, reported(pods::last_ready(&seen.pods)))
        }
        // A verdict on an earlier rollout is none on this one: the Deployment shows it until it has looked again.
        (Progressing, Rollout::Exceeded { since, .. }) if is_about_this_rollout(*since, head) => {
            to(Failed, reasons::PROGRESS_DEADLINE_EXCEEDED, reported(*since))
        }
        // The Deployment controller judges a rollout; when it does not answer, its deadline is ours.
        (Progressing, Rollout::Underway { .. } | Rollout::Short { .. } | Rollout::Exceeded { .. }) => match deadline {
            Due::Past { end } => to(Failed, reasons::PROGRESS_DEADLINE_EXCEEDED, when::passed(end, head, now)),
            _ => None,
        },
        (Available, Rollout::Short { since, .. }) => {
            to(Degraded, reasons::PODS_UNAVAILABLE, reported(first_loss(*since, seen, head)))
        }
        (Available, Rollout::Underway { available, wanted, .. } | Rollout::Exceeded { available, wanted, .. })
            if available < wanted =>
        {
            to(Degraded, reasons::PODS_UNAVAILABLE, reported(first_loss(None, seen, head)))
        }
        _ => None,
    }
}

/// Whether something that the Deployment says happened at `since` happened after the rollout began.
fn is_about_this_rollout(since: Option<Timestamp>, head: &Head) -> bool {
    // Kubernetes drops fractions of seconds.
    since.is_some_and(|since| since.plus(Duration::from_secs(1)) > head.entered_at)
}

/// The head as deadlines count it: a rollout that comes further is given its time anew.
fn moved(head: &Head, rollout: &Rollout) -> Head {
    let entered_at = rollout.moved().map_or(head.entered_at, |moved| moved.max(head.entered_at));
    Head { entered_at, ..head.clone() }
}

/// When the first of the pods that are missing now went. The Deployment says only when more than a few of them had.
fn first_loss(said: Option<Timestamp>, seen: &Observed, head: &Head) -> Option<Timestamp> {
    let pods = seen.pods.iter().filter_map(|pod| pod.unready_since);
    pods.chain(said).filter(|t| when::is_news(*t, head)).min()
}

fn verdict(
    app: &Object<'_, AppDeploymentSpec>,
    seen: &Observed,
    head: &Head,
    rollout: &Rollout,
    deadline: Due,
    suspended: bool,
    now: Timestamp,
) -> Verdict {
    let blocker = pods::blocker(&seen.pods).or_else(|| rollout.blocker());
    let explain = |text: String| match &blocker {
        Some(blocker) => format!("{text}: {blocker}"),
        None => text,
    };
    match AppState::named(&head.state) {
        None => Verdict::stalled(
            "UnknownState",
            format!("the ledger says {}, which this version does not know; upgrade Trueup", head.state),
        ),
        Some(AppState::Suspended) if suspended => Verdict::ready(reasons::SUSPENDED.word, reasons::SUSPENDED.sentence),
        Some(AppState::Available) if matches!(rollout, Rollout::Complete { .. } | Rollout::Stopped) && !suspended => {
            Verdict::ready(reasons::ROLLED_OUT.word, reasons::ROLLED_OUT.sentence)
        }
        Some(AppState::Failed) => Verdict::stalled(
            reasons::PROGRESS_DEADLINE_EXCEEDED.word,
            explain("The rollout made no progress within its deadline".into()),
        ),
        _ if suspended && app.shown_for("Reconciling", "True", now) > STOPPING => {
            let left: Vec<&str> = seen.pods.iter().map(|pod| pod.name.as_str()).collect();
            Verdict::stalled("Stopping", format!("pods do not end: {}; look at their nodes", left.join(", ")))
        }
        _ if suspended => Verdict::in_progress("Stopping", "Waiting for the pods to end."),
        Some(state) => {
            let text = explain(format!("{} of {} pods are available", rollout.available(), rollout.wanted()));
            match deadline {
                Due::Past { .. } => Verdict::stalled(state.as_str(), text),
                _ => Verdict::in_progress(state.as_str(), text),
            }
        }
    }
}

/// Deletes what was made, waits until the pods are gone, closes the stream, lets go.
fn terminate(
    app: &Object<'_, AppDeploymentSpec>,
    seen: &Observed,
    head: &Head,
    now: Timestamp,
    blank: Plan<AppDeploymentStatus>,
) -> Plan<AppDeploymentStatus> {
    let show = |verdict: &Verdict| status(app, seen, Some(head), verdict, now);
    let working = Verdict::in_progress("Terminating", "Waiting for the pods to end.");
    let blank = Plan { finalizer: Finalizer::Keep, ..blank };
    match AppState::named(&head.state) {
        Some(AppState::Deleted | AppState::Detached) => {
            let finalizer = if app.has_finalizer { Finalizer::Remove } else { Finalizer::Keep };
            return Plan { finalizer, ..blank };
        }
        Some(AppState::Terminating) => {}
        _ => {
            let effective = when::reported(app.deleting_since, app, head, now);
            let change = steps::change(AppState::Terminating, reasons::DELETION_REQUESTED, effective, Billable::ZERO);
            return Plan { transition: Some(change), status: show(&working), ..blank };
        }
    }
    let own: Vec<&Child> = seen.children.iter().filter(|child| owner(app, seen).made(child)).collect();
    if own.is_empty() && seen.pods.is_empty() {
        let effective = when::seen(app, head, now);
        let change = steps::change(AppState::Deleted, reasons::DELETED, effective, Billable::ZERO);
        return Plan { gone: desired::keys(app), transition: Some(change), status: show(&working), ..blank };
    }
    let deadline = due(&TABLE, head, Duration::ZERO, now);
    let verdict = if matches!(deadline, Due::Past { .. }) {
        let left: Vec<String> = own
            .iter()
            .map(|child| child.key.to_string())
            .chain(seen.pods.iter().map(|pod| format!("Pod {}", pod.name)))
            .collect();
        Verdict::stalled("DeletionBlocked", format!("still there: {}; look for finalizers on them", left.join(", ")))
    } else {
        working
    };
    Plan {
        delete: own.iter().filter(|child| !child.is_terminating()).map(|child| child.key.clone()).collect(),
        status: show(&verdict),
        look_again: owner(app, seen).look_again(&own, deadline.look_again()),
        ..blank
    }
}

/// What runs, and is wanted, times what each pod requests.
fn billable(spec: &AppDeploymentSpec, wanted: i32, available: i32) -> Billable {
    let replicas = u32::try_from(wanted.min(available)).unwrap_or(0);
    // The schema admits only quantities; one that came past it must not be billed by guess.
    let (Ok(cpu), Ok(memory)) = (spec.resources.cpu.millis(), spec.resources.memory.units()) else {
        return Billable { replicas, ..Billable::ZERO };
    };
    Billable {
        replicas,
        cpu_millicores: u64::from(replicas) * cpu,
        memory_bytes: u64::from(replicas) * memory,
        storage_bytes: 0,
    }
}

fn owner<'a>(app: &'a Object<'_, AppDeploymentSpec>, seen: &'a Observed) -> Owner<'a> {
    Owner { label: label::APP, name: &app.name, uid: &app.uid, others: &seen.others }
}

fn status(
    app: &Object<'_, AppDeploymentSpec>,
    seen: &Observed,
    head: Option<&Head>,
    verdict: &Verdict,
    now: Timestamp,
) -> AppDeploymentStatus {
    let count = |field: &str| {
        let shown = seen.child(ChildKind::Deployment).and_then(|child| child.body["status"][field].as_i64());
        Some(i32::try_from(shown.unwrap_or(0)).unwrap_or(i32::MAX))
    };
    AppDeploymentStatus {
        observed_generation: Some(app.generation),
        state: head.map(|head| head.state.as_str().to_owned()),
        ledger: head.map(steps::ledger_ref),
        replicas: count("replicas"),
        available_replicas: count("availableReplicas"),
        selector: Some(format!("{}={}", label::APP, app.name)),
        conditions: verdict.conditions(app, now),
    }
}
