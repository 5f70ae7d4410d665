//! Which row follows the last one, once a kind knows the state that it is in.

use super::{Membership, Object, Transition, detach, reasons, when};
use crate::{
    api::LedgerRef,
    domain::{Billable, Effective, Head, State, Table, Timestamp, Uid},
    lifecycle::Reason,
};

/// A stream's first row.
pub(super) fn open(initial: State, created: Timestamp, now: Timestamp, previous: Option<Uid>) -> Transition {
    Transition {
        to: initial,
        reason: reasons::CREATED,
        effective: Effective::reported(created, now),
        billable: Billable::ZERO,
        evidence: None,
        previous_uid: previous,
    }
}

/// The row for an object that is alive although its stream says that it ended, or was about to: it had been detached and
/// no longer is, or etcd was restored from a backup. The stream is closed first if it has to be, then opened again.
pub(super) fn revive(table: &Table, head: &Head, now: Timestamp) -> Option<Transition> {
    let effective = Effective::inferred(head.effective_at, now);
    if head.state == detach::DETACHED {
        return Some(change(table.initial(), reasons::ATTACHED, when::decided(now), Billable::ZERO));
    }
    if table.is_final(&head.state) {
        return Some(change(table.initial(), reasons::RESURRECTED, effective, Billable::ZERO));
    }
    let ending = table.row(&head.state).is_some_and(|row| row.next.contains(&"Deleted"));
    ending.then(|| change(State::of("Deleted"), reasons::RESURRECTED, effective, Billable::ZERO))
}

/// A change of state.
pub(super) fn change(to: impl Into<State>, reason: Reason, effective: Effective, billable: Billable) -> Transition {
    Transition { to: to.into(), reason, effective, billable, evidence: None, previous_uid: None }
}

/// The row for what changed while the state stayed: what is billed, since `resized`, or to whom. `None` if neither did.
pub(super) fn restate<S>(
    object: &Object<'_, S>,
    head: &Head,
    member: Option<&Membership>,
    (billable, resized): (Billable, Effective),
    now: Timestamp,
) -> Option<Transition> {
    if billable != head.billable {
        return Some(change(head.state.clone(), reasons::RESIZED, resized, billable));
    }
    let subject = &head.subject;
    member
        .filter(|member| {
            member.tenant != subject.tenant || member.account != subject.account || member.plan != subject.plan
        })
        .map(|_| change(head.state.clone(), reasons::REASSIGNED, when::seen(object, head, now), billable))
}

/// Where the ledger stands, as status shows it.
pub fn ledger_ref(head: &Head) -> LedgerRef {
    LedgerRef {
        uid: head.subject.uid.to_string(),
        era: head.era.get(),
        sequence: head.sequence.get(),
        hash: head.hash.to_string(),
        epoch: head.epoch.get(),
    }
}
