//! Tenant: from nothing to namespaces with quotas and rights, and back to nothing.

mod desired;
#[cfg(test)]
mod unwatched;

use std::{collections::BTreeSet, time::Duration};

use super::{
    Child, Finalizer, Object, ObjectKey, Plan, Transition, Verdict,
    children::{Difference, Owner, compare},
    deadline::{Due, due},
    reasons,
    states::states,
    steps, when,
};
use crate::{
    api::{NamespaceStatus, PodSecurity, TenantSpec, TenantStatus, label},
    domain::{Billable, Deadline, Head, Kind, Timestamp, Uid},
    lifecycle::{ChildKind, Membership},
};

const MINUTE: Duration = Duration::from_mins(1);

states! {
    /// Where a tenant stands.
    TenantState of Kind::Tenant;
    /// Its namespaces are being made.
    Provisioning => [Active Degraded Suspended Terminating Detached], Deadline::After(MINUTE.saturating_mul(2)), "nothing";
    /// Everything is as it should be.
    Active => [Degraded Suspended Terminating Detached], Deadline::Never, "the plan";
    /// Something that was there is missing.
    Degraded => [Active Suspended Terminating Detached], Deadline::After(MINUTE.saturating_mul(2)), "the plan";
    /// Everything is there and stands still.
    Suspended => [Active Degraded Terminating Detached], Deadline::Never, "the plan";
    /// Its namespaces are being deleted.
    Terminating => [Deleted Detached], Deadline::After(MINUTE.saturating_mul(10)), "the plan";
    /// Nothing of it is left.
    Deleted => [], Deadline::Never, "nothing";
    /// Trueup lets it be, and what was made for it stays.
    Detached => [], Deadline::Never, "nothing";
}

/// What was read about a tenant.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Observed {
    /// Namespaces that carry the tenant's name, those that have the names it wants, and what Trueup made in them.
    pub children: Vec<Child>,
    /// Namespaces that the tenant's status showed as ready: one that is missing now was lost, and is not new.
    pub shown: BTreeSet<String>,
    /// Other tenants that are still there and whose marks some of the children carry.
    pub others: BTreeSet<Uid>,
}

/// What a Tenant does next. Pure: the same inputs always give the same plan.
pub fn decide(
    tenant: &Object<'_, TenantSpec>,
    seen: &Observed,
    head: Option<&Head>,
    now: Timestamp,
) -> Plan<TenantStatus> {
    let owner = Owner { label: label::TENANT, name: &tenant.name, uid: &tenant.uid, others: &seen.others };
    let difference = compare(owner, desired::children(tenant, owner, seen), &seen.children);
    let blank = Plan {
        finalizer: if tenant.has_finalizer { Finalizer::Keep } else { Finalizer::Add },
        delete: vec![],
        apply: vec![],
        gone: vec![],
        transition: None,
        status: TenantStatus::default(),
        look_again: None,
    };
    let Some(head) = head else {
        if tenant.deleting_since.is_some() && !tenant.has_finalizer {
            return Plan { finalizer: Finalizer::Keep, ..blank };
        }
        let previous = difference.adopted_from.clone();
        let verdict = Verdict::unknown(reasons::CREATED.word, "Trueup has seen the tenant and begins.");
        return Plan {
            transition: Some(steps::open(TABLE.initial(), tenant.created, now, previous)),
            status: status(tenant, seen, &difference, None, &verdict, now),
            ..blank
        };
    };
    let mut plan = if tenant.deleting_since.is_some() {
        terminate(tenant, seen, &difference, head, now, blank)
    } else if let Some(revival) = steps::revive(&TABLE, head, now) {
        let verdict = Verdict::unknown(reasons::RESURRECTED.word, reasons::RESURRECTED.sentence);
        Plan {
            transition: Some(revival),
            status: status(tenant, seen, &difference, Some(head), &verdict, now),
            ..blank
        }
    } else {
        provision(tenant, seen, difference, head, now, blank)
    };
    if tenant.paused {
        plan.apply.clear();
        plan.delete.clear();
    }
    plan
}

/// Makes what is missing, and says where the tenant stands.
fn provision(
    tenant: &Object<'_, TenantSpec>,
    seen: &Observed,
    difference: Difference,
    head: &Head,
    now: Timestamp,
    blank: Plan<TenantStatus>,
) -> Plan<TenantStatus> {
    let state = TenantState::named(&head.state);
    let complete = difference.apply.is_empty() && difference.foreign.is_empty() && difference.terminating.is_empty();
    let was_up = matches!(state, Some(TenantState::Active | TenantState::Suspended));
    let lost = difference.terminating.first();
    let seen_now = when::seen(tenant, head, now);
    let step = |to: TenantState, reason, effective| -> Option<Transition> {
        (state != Some(to)).then(|| steps::change(to, reason, effective, Billable::ZERO))
    };
    // Also one that went while nobody watched.
    let missing = |key: &ObjectKey| key.namespace.is_none() && namespaces(seen).all(|child| child.key != *key);
    let vanished = difference.apply.iter().any(|wanted| missing(&wanted.key) && seen.shown.contains(&wanted.key.name));
    let transition = if was_up && (lost.is_some() || vanished) {
        step(TenantState::Degraded, reasons::NAMESPACE_LOST, when::reported(first_deletion(seen), tenant, head, now))
    } else if was_up && !difference.foreign.is_empty() {
        step(TenantState::Degraded, reasons::NAMESPACE_TAKEN, seen_now)
    } else if complete && tenant.spec.suspend {
        step(TenantState::Suspended, reasons::SUSPENDED, seen_now)
    } else if complete {
        let made = when::own(last_creation(seen), tenant, head, now);
        let (reason, effective) = match state {
            Some(TenantState::Suspended) => (reasons::RESUMED, seen_now),
            Some(TenantState::Degraded) => (reasons::RECOVERED, made),
            _ => (reasons::PROVISIONED, made),
        };
        step(TenantState::Active, reason, effective)
    } else {
        None
    };
    let billed_to = membership(tenant);
    let transition =
        transition.or_else(|| steps::restate(tenant, head, Some(&billed_to), (Billable::ZERO, seen_now), now));

    let deadline = due(&TABLE, head, Duration::ZERO, now);
    let verdict = if let Some(key) = difference.foreign.first() {
        Verdict::stalled(
            reasons::NAMESPACE_TAKEN.word,
            format!(
                "{key} exists and was not made for this tenant; rename it in spec.namespaces, or remove what is there"
            ),
        )
    } else if let Some(key) = lost {
        let message = format!("{key} is being deleted by somebody else; it is made again when it is gone");
        match deadline {
            Due::Past { .. } => {
                Verdict::stalled(reasons::NAMESPACE_LOST.word, format!("{message}; {}", blockers(seen)))
            }
            _ => Verdict::in_progress(reasons::NAMESPACE_LOST.word, message),
        }
    } else if !complete {
        let message = format!("{} objects are being made", difference.apply.len());
        match (tenant.paused, deadline) {
            (true, _) => Verdict::not_ready("Paused", "Objects are missing or differ, and Trueup may not touch them."),
            (_, Due::Past { .. }) => Verdict::stalled(
                "Provisioning",
                format!("{message}, for too long; see Trueup's log for the API server's answers"),
            ),
            _ => Verdict::in_progress("Provisioning", message),
        }
    } else if tenant.spec.suspend {
        Verdict::ready(reasons::SUSPENDED.word, "All namespaces are there, and everything in them stands still.")
    } else {
        Verdict::ready(reasons::PROVISIONED.word, reasons::PROVISIONED.sentence)
    };
    let delete = surplus(tenant, &difference);
    let look_again = if complete { None } else { difference.look_again(deadline.look_again()) };
    Plan {
        status: status(tenant, seen, &difference, Some(head), &verdict, now),
        apply: difference.apply,
        delete,
        transition,
        look_again,
        ..blank
    }
}

/// What is not wanted any more. A namespace taken out of the spec goes with all that is in it, unless the tenant is
/// protected; what grants or limits within the others goes in any case.
fn surplus(tenant: &Object<'_, TenantSpec>, difference: &Difference) -> Vec<ObjectKey> {
    let listed = |name: &str| {
        tenant.spec.namespaces.iter().any(|namespace| desired::namespace_name(&tenant.name, &namespace.name) == name)
    };
    let goes = |key: &&ObjectKey| match &key.namespace {
        None => !tenant.spec.deletion.protect,
        Some(namespace) => listed(namespace),
    };
    difference.surplus.iter().filter(goes).cloned().collect()
}

/// Deletes the namespaces, waits until they are gone, closes the stream, lets go.
fn terminate(
    tenant: &Object<'_, TenantSpec>,
    seen: &Observed,
    difference: &Difference,
    head: &Head,
    now: Timestamp,
    blank: Plan<TenantStatus>,
) -> Plan<TenantStatus> {
    let show = |verdict: &Verdict| status(tenant, seen, difference, Some(head), verdict, now);
    let state = TenantState::named(&head.state);
    if matches!(state, Some(TenantState::Deleted | TenantState::Detached)) {
        let finalizer = if tenant.has_finalizer { Finalizer::Remove } else { Finalizer::Keep };
        return Plan { finalizer, ..blank };
    }
    if state != Some(TenantState::Terminating) && tenant.spec.deletion.protect {
        let verdict = Verdict::stalled(
            "DeletionProtected",
            "The tenant is protected: set spec.deletion.protect to false, and everything in its namespaces is deleted.",
        );
        return Plan { finalizer: Finalizer::Keep, status: show(&verdict), ..blank };
    }
    if state != Some(TenantState::Terminating) {
        let effective = when::reported(tenant.deleting_since, tenant, head, now);
        let verdict = Verdict::in_progress("Terminating", "The tenant's namespaces are being deleted.");
        return Plan {
            finalizer: Finalizer::Keep,
            transition: Some(steps::change(
                TenantState::Terminating,
                reasons::DELETION_REQUESTED,
                effective,
                Billable::ZERO,
            )),
            status: show(&verdict),
            ..blank
        };
    }
    let owner = Owner { label: label::TENANT, name: &tenant.name, uid: &tenant.uid, others: &seen.others };
    let own: Vec<&Child> = namespaces(seen).filter(|child| owner.may_delete(child)).collect();
    if own.is_empty() {
        let verdict = Verdict::in_progress("Terminating", reasons::DELETED.sentence);
        let effective = when::seen(tenant, head, now);
        return Plan {
            finalizer: Finalizer::Keep,
            gone: desired::namespaces(tenant).collect(),
            transition: Some(steps::change(TenantState::Deleted, reasons::DELETED, effective, Billable::ZERO)),
            status: show(&verdict),
            ..blank
        };
    }
    let deadline = due(&TABLE, head, Duration::ZERO, now);
    let waiting = blockers(seen);
    let verdict = match deadline {
        Due::Past { .. } => Verdict::stalled("DeletionBlocked", waiting),
        _ => Verdict::in_progress("Terminating", format!("Waiting for namespaces to go: {}", names(&own))),
    };
    Plan {
        finalizer: Finalizer::Keep,
        delete: own.iter().filter(|child| !child.is_terminating()).map(|child| child.key.clone()).collect(),
        status: show(&verdict),
        look_again: owner.look_again(&own, deadline.look_again()),
        ..blank
    }
}

/// The tenant as its own streams know it.
pub fn membership(tenant: &Object<'_, TenantSpec>) -> Membership {
    Membership {
        tenant: crate::domain::TenantName::new(tenant.name.as_str()),
        account: tenant.spec.billing.account.clone(),
        plan: tenant.spec.plan.clone(),
        suspended: tenant.spec.suspend || tenant.deleting_since.is_some(),
        restricted: tenant.spec.pod_security == PodSecurity::Restricted,
    }
}

fn namespaces(seen: &Observed) -> impl Iterator<Item = &Child> {
    seen.children.iter().filter(|child| child.key.kind == ChildKind::Namespace)
}

/// When the first of the namespaces that are going was asked to.
fn first_deletion(seen: &Observed) -> Option<Timestamp> {
    namespaces(seen).filter_map(|child| child.time("deletionTimestamp")).min()
}

/// When the last of what is there was made.
fn last_creation(seen: &Observed) -> Option<Timestamp> {
    seen.children.iter().filter_map(|child| child.time("creationTimestamp")).max()
}

fn names(namespaces: &[&Child]) -> String {
    namespaces.iter().map(|child| child.key.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// What keeps terminating namespaces from going, in the namespace controller's own words.
fn blockers(seen: &Observed) -> String {
    let said: Vec<String> = namespaces(seen)
        .filter(|child| child.is_terminating())
        .flat_map(|child| {
            let conditions = child.body["status"]["conditions"].as_array().cloned().unwrap_or_default();
            conditions
                .into_iter()
                .filter(|condition| condition["status"] == "True")
                .filter_map(|condition| condition["message"].as_str().map(str::to_owned))
                .map(move |message| format!("{}: {message}", child.key.name))
                .collect::<Vec<_>>()
        })
        .collect();
    if said.is_empty() { "the namespace controller has not said why".into() } else { said.join("; ") }
}

fn status(
    tenant: &Object<'_, TenantSpec>,
    seen: &Observed,
    difference: &Difference,
    head: Option<&Head>,
    verdict: &Verdict,
    now: Timestamp,
) -> TenantStatus {
    let listed = tenant.spec.namespaces.iter().map(|namespace| {
        let name = desired::namespace_name(&tenant.name, &namespace.name);
        let trouble = |keys: &[ObjectKey]| {
            keys.iter()
                .any(|key| key.namespace.as_ref() == Some(&name) || (key.namespace.is_none() && key.name == name))
        };
        let message = if trouble(&difference.foreign) {
            Some("belongs to somebody else".to_owned())
        } else if trouble(&difference.terminating) {
            Some("is being deleted".to_owned())
        } else {
            None
        };
        let exists = namespaces(seen).any(|child| child.key.name == name);
        let settled = !difference.apply.iter().any(|wanted| trouble(std::slice::from_ref(&wanted.key)));
        NamespaceStatus { ready: exists && settled && message.is_none(), name, message }
    });
    let listed: Vec<_> = listed.collect();
    TenantStatus {
        observed_generation: Some(tenant.generation),
        state: head.map(|head| head.state.as_str().to_owned()),
        ledger: head.map(steps::ledger_ref),
        namespace_count: i32::try_from(listed.len()).ok(),
        namespaces: listed,
        conditions: verdict.conditions(tenant, now),
    }
}
