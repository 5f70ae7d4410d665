//! Objects, heads and a world to decide about, for the tests of this module.

use serde_json::{Value, json};

use super::{Child, ChildKind, Desired, Finalizer, Object, Plan};
use crate::domain::{
    Billable, Epoch, Era, Hash, Head, Kind, Sequence, Shard, State, Subject, Table, TenantName, Timestamp, Uid,
};

/// The moment at which the tests take place.
pub(super) const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

pub(super) fn object<'a, S>(spec: &'a S, name: &str, namespace: Option<&str>) -> Object<'a, S> {
    Object {
        uid: Uid::new("11111111-2222-4333-8444-555555555555"),
        name: name.into(),
        namespace: namespace.map(Into::into),
        generation: 2,
        created: Timestamp::from_micros(NOW.as_micros() - 60_000_000),
        deleting_since: None,
        has_finalizer: true,
        paused: false,
        watched: true,
        spec,
        conditions: &[],
    }
}

pub(super) fn head(kind: Kind, state: &str) -> Head {
    let at = Timestamp::from_micros(NOW.as_micros() - 30_000_000);
    Head {
        subject: Subject {
            uid: Uid::new("11111111-2222-4333-8444-555555555555"),
            kind,
            namespace: Some("acme-prod".into()),
            name: "web".into(),
            tenant: TenantName::new("acme"),
            account: "acct".into(),
            plan: "small".into(),
            previous_uid: None,
        },
        shard: Shard::new(0),
        state: State::named(state),
        sequence: Sequence::new(3),
        hash: Hash::ZERO,
        epoch: Epoch::new(1),
        era: Era::new(0),
        generation: 2,
        billable: Billable::ZERO,
        reason: "Created".into(),
        message: String::new(),
        effective_at: at,
        recorded_at: at,
        entered: Sequence::new(3),
        entered_at: at,
        opened_at: at,
        closed_at: None,
    }
}

/// What the rest of the system would do with a plan, when nothing goes wrong.
pub(super) fn carry_out<S>(
    plan: &Plan<S>,
    table: &Table,
    head: &mut Option<Head>,
    children: &mut Vec<Child>,
    has_finalizer: &mut bool,
    generation: i64,
) {
    match plan.finalizer {
        Finalizer::Keep => {}
        Finalizer::Add => *has_finalizer = true,
        Finalizer::Remove => *has_finalizer = false,
    }
    children.retain(|child| !plan.delete.contains(&child.key));
    for wanted in &plan.apply {
        upsert(children, wanted);
    }
    if let Some(transition) = &plan.transition {
        assert!(
            table.allows(head.as_ref().map(|head| &head.state), &transition.to),
            "{:?} -> {} is not legal",
            head.as_ref().map(|head| &head.state),
            transition.to
        );
        assert!(transition.effective.not_before <= transition.effective.at, "{:?}", transition.effective);
        assert!(transition.effective.at <= transition.effective.not_after, "{:?}", transition.effective);
        let mut next = head.clone().unwrap_or_else(|| self::head(table.kind, transition.to.as_str()));
        if next.state != transition.to || head.is_none() {
            next.entered = next.sequence.next();
            next.entered_at = transition.effective.at;
        }
        next.sequence = next.sequence.next();
        next.state = transition.to.clone();
        next.billable = transition.billable;
        next.generation = generation;
        next.effective_at = next.effective_at.max(transition.effective.at);
        *head = Some(next);
    }
}

fn upsert(children: &mut Vec<Child>, wanted: &Desired) {
    let mut body = wanted.body.clone();
    if let Some(old) = children.iter().find(|child| child.key == wanted.key) {
        body["status"] = old.body["status"].clone();
    }
    if wanted.key.kind == ChildKind::Deployment {
        body["metadata"]["generation"] = json!(1);
    }
    children.retain(|child| child.key != wanted.key);
    children.push(Child { key: wanted.key.clone(), body, answer_to: None });
}

/// A child as the API server would show it.
pub(super) fn child(wanted: &Desired, status: Value) -> Child {
    let mut body = wanted.body.clone();
    body["metadata"]["generation"] = json!(1);
    body["status"] = status;
    Child { key: wanted.key.clone(), body, answer_to: None }
}
