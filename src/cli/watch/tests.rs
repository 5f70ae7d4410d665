//! What a person sees, in every situation that matters, as a person sees it.

use std::time::Duration;

use super::{
    frame::{Look, draw},
    sources::{BillingSnapshot, LedgerSnapshot, Newest, Reading, Trouble},
    view::{Everything, Mark, lines},
};
use crate::{
    api::Condition,
    cli::text::Text,
    cluster::{Leadership, Listed},
    domain::{
        Billable, DestinationId, Effective, Epoch, Era, EventId, Hash, Kind, Position, Sequence, Shard, State,
        TenantName, Timestamp, Uid,
    },
    ledger::{
        Head, LaneState, LaneView, Row, Subject,
        comparisons::{Shown, ShownPlace},
    },
    lifecycle::mandate::Mandate,
    receiver::ResourceView,
};

/// Seconds after the beginning of the story.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_795_253_400_000_000 + seconds * 1_000_000)
}

const NOW: i64 = 100;

fn hash(sequence: i64) -> Hash {
    Hash::chain(Hash::ZERO, &sequence.to_be_bytes())
}

/// One resource of the story.
#[derive(Clone)]
struct Actor {
    kind: Kind,
    namespace: Option<&'static str>,
    name: &'static str,
    tenant: &'static str,
    state: &'static str,
    sequence: i64,
    replicas: u32,
}

impl Actor {
    fn tenant(name: &'static str) -> Self {
        Self { kind: Kind::Tenant, namespace: None, name, tenant: name, state: "Active", sequence: 2, replicas: 0 }
    }

    fn app(namespace: &'static str, name: &'static str, state: &'static str, sequence: i64, replicas: u32) -> Self {
        let tenant = namespace.split('-').next().unwrap();
        Self { kind: Kind::AppDeployment, namespace: Some(namespace), name, tenant, state, sequence, replicas }
    }

    fn uid(&self) -> Uid {
        Uid::new(format!("{}-{}-{}", self.kind, self.namespace.unwrap_or("-"), self.name))
    }

    fn billable(&self) -> Billable {
        let pods = u64::from(self.replicas);
        Billable { replicas: self.replicas, cpu_millicores: pods * 250, memory_bytes: pods << 29, storage_bytes: 0 }
    }

    fn subject(&self) -> Subject {
        Subject {
            uid: self.uid(),
            kind: self.kind,
            namespace: self.namespace.map(str::to_owned),
            name: self.name.into(),
            tenant: TenantName::new(self.tenant),
            account: "acct".into(),
            plan: "small".into(),
            previous_uid: None,
        }
    }

    fn head(&self) -> Head {
        Head {
            subject: self.subject(),
            shard: Shard::default(),
            state: State::of(self.state),
            sequence: Sequence::new(self.sequence),
            hash: hash(self.sequence),
            epoch: Epoch::new(3),
            era: Era::new(0),
            generation: 1,
            billable: self.billable(),
            reason: "RolledOut".into(),
            message: String::new(),
            effective_at: at(60),
            recorded_at: at(60),
            entered: Sequence::new(self.sequence),
            entered_at: at(60),
            opened_at: at(0),
            closed_at: (self.state == "Deleted").then(|| at(60)),
        }
    }

    fn listed(&self) -> Listed {
        let condition = |type_: &str, status: &str| Condition {
            type_: type_.into(),
            status: status.into(),
            reason: "PodsUnschedulable".into(),
            message: "0/3 nodes have room for 2 of its pods; add a node, or ask for less.".into(),
            last_transition_time: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(0).to_jiff()),
            observed_generation: None,
        };
        let good = ["Active", "Available"].contains(&self.state);
        Listed {
            shown: Shown {
                uid: self.uid(),
                kind: self.kind,
                namespace: self.namespace.map(str::to_owned),
                name: self.name.into(),
                has_finalizer: true,
                state: Some(State::of(self.state)),
                ledger: Some(ShownPlace {
                    uid: self.uid(),
                    era: Era::new(0),
                    sequence: Sequence::new(self.sequence),
                    hash: hash(self.sequence).to_string(),
                }),
                generation: Some(1),
                observed: Some(1),
                waits_for: None,
            },
            deleting: false,
            mandate: Mandate::Act,
            paused: false,
            created: Some(at(0)),
            ready: Some(condition("Ready", if good { "True" } else { "False" })),
            stalled: (self.state == "Degraded").then(|| condition("Stalled", "True")),
            desired: Some(i64::from(self.replicas.max(2))),
            pods: Some(i64::from(self.replicas)),
            available: Some(i64::from(self.replicas)),
            namespaces: None,
        }
    }

    fn told(&self) -> ResourceView {
        ResourceView {
            uid: self.uid(),
            kind: self.kind,
            namespace: self.namespace.map(str::to_owned),
            name: self.name.into(),
            tenant: TenantName::new(self.tenant),
            account: "acct".into(),
            plan: "small".into(),
            era: Era::new(0),
            sequence: Sequence::new(self.sequence),
            state: State::of(self.state),
            hash: hash(self.sequence),
            billable: self.billable(),
            effective_at: at(60),
            applied_at: at(60).plus(Duration::from_millis(31)),
            applied: self.sequence,
            stated: Sequence::new(self.sequence),
            skipped: 0,
            shadow: false,
        }
    }

    fn row(&self, from: &'static str, position: i64) -> Row {
        Row {
            shard: Shard::default(),
            position: Position::new(position),
            uid: self.uid(),
            sequence: Sequence::new(self.sequence),
            event_id: EventId::new("e"),
            epoch: Epoch::new(3),
            from: Some(State::of(from)),
            to: State::of(self.state),
            reason: "RolledOut".into(),
            generation: 1,
            tenant: TenantName::new(self.tenant),
            effective: Effective::reported(at(60), at(60)),
            recorded_at: at(60),
            body: vec![],
            prev_hash: Hash::ZERO,
            hash: hash(self.sequence),
            evidence: None,
        }
    }
}

fn answered<T>(value: T) -> Reading<T> {
    Reading { value, answered: true, trouble: None }
}

/// All three say the same about `actors`.
fn in_step(actors: &[Actor]) -> Everything {
    let mut known = Everything::default();
    known.cluster.answered = true;
    known.cluster.value.objects = actors.iter().map(Actor::listed).collect();
    known.cluster.value.leader = Some(Leadership {
        holder: Some("node-1-7d0a4b43-9a35-4f7f-9a0f-3a1100000000".into()),
        renewed: Some(at(NOW)),
        duration: Duration::from_secs(3),
    });
    let mut ledger = LedgerSnapshot { epoch: Epoch::new(3), destinations: 1, ..LedgerSnapshot::default() };
    ledger.counts.resources = 1_204;
    ledger.counts.transitions = 5_311;
    ledger.counts.deliveries = 5_309;
    ledger.heads = actors.iter().map(|actor| (actor.uid(), actor.head())).collect();
    known.ledger = Some(answered(ledger));
    known.billing = Some(answered(BillingSnapshot { resources: actors.iter().map(Actor::told).collect() }));
    known
}

fn ledger(known: &mut Everything) -> &mut LedgerSnapshot {
    &mut known.ledger.as_mut().unwrap().value
}

fn billing(known: &mut Everything) -> &mut Reading<BillingSnapshot> {
    known.billing.as_mut().unwrap()
}

fn look(width: usize) -> Look<'static> {
    Look { width, height: None, title: Some("demo"), caption: None, timeless: false }
}

fn frame(known: &Everything, look: Look<'_>) -> String {
    let lines: Vec<String> = draw(known, look, at(NOW)).iter().map(Text::to_plain).collect();
    for line in &lines {
        assert!(Text::plain(line).width() <= look.width, "{line}");
    }
    lines.join("\n")
}

fn cast() -> Vec<Actor> {
    vec![
        Actor::tenant("acme"),
        Actor::app("acme-prod", "web", "Available", 4, 3),
        Actor::app("acme-prod", "worker", "Degraded", 7, 1),
        Actor::tenant("globex"),
        Actor::app("globex-prod", "api", "Available", 3, 2),
    ]
}

/// Everything that can be seen at once: one waits for billing, one is parked, one is gone, one is not recorded yet.
fn eventful() -> Everything {
    let mut actors = cast();
    actors.push(Actor::app("globex-prod", "old", "Deleted", 5, 0));
    let mut known = in_step(&actors);
    known.cluster.value.objects.retain(|listed| listed.shown.name != "old");
    let mut new = Actor::app("globex-prod", "shop", "Pending", 1, 0).listed();
    (new.shown.state, new.shown.ledger) = (None, None);
    known.cluster.value.objects.push(new);

    let web = Actor::app("acme-prod", "web", "Progressing", 6, 3);
    ledger(&mut known).heads.insert(web.uid(), web.head());
    let api = Actor::app("globex-prod", "api", "Available", 5, 2);
    ledger(&mut known).heads.insert(api.uid(), api.head());
    known.cluster.value.objects[4] = api.listed();
    ledger(&mut known).owing.insert(api.uid(), parked(&api.uid()));
    for (position, row) in [web.row("Available", 9), actors[3].row("Provisioning", 8)].into_iter().enumerate() {
        let billable = (position == 0).then(|| web.billable());
        ledger(&mut known).newest.push_back(Newest { row, billable });
    }
    ledger(&mut known).counts.undelivered = 2;
    ledger(&mut known).counts.parked = 1;
    known.note_applied();
    known
}

fn parked(uid: &Uid) -> LaneView {
    LaneView {
        destination: DestinationId::new("billing"),
        uid: uid.clone(),
        first: Sequence::FIRST,
        acked: Sequence::new(3),
        head: Sequence::new(5),
        state: LaneState::Parked,
        park_reason: Some("permanent-refusal".into()),
        attempts: 1,
        next_at: at(0),
        last_error: Some("422 Unprocessable Content: the account is closed".into()),
        oldest_undelivered: Some(at(0)),
    }
}

#[test]
fn an_eventful_moment_on_a_wide_terminal() {
    insta::assert_snapshot!(frame(&eventful(), look(140)));
}

#[test]
fn an_eventful_moment_on_a_narrow_terminal() {
    insta::assert_snapshot!(frame(&eventful(), look(100)));
}

#[test]
fn billing_and_leader_are_lost_and_a_caption_says_why() {
    let mut known = in_step(&cast());
    known.cluster.value.expired = true;
    billing(&mut known).trouble = Some(Trouble { since: at(NOW - 75), why: "Connection refused".into() });
    insta::assert_snapshot!(frame(&known, Look { caption: Some("Everything fails at once"), ..look(100) }));
}

#[test]
fn without_a_ledger_and_a_receiver_the_cluster_is_shown_alone() {
    let mut known = in_step(&cast());
    (known.ledger, known.billing) = (None, None);
    insta::assert_snapshot!(frame(&known, look(100)));
}

#[test]
fn what_somebody_should_see_comes_first_where_there_is_no_room() {
    let mut actors = cast();
    actors.extend(
        (0..60)
            .map(|_| Actor::tenant("quiet"))
            .enumerate()
            .map(|(index, actor)| Actor { name: Box::leak(format!("quiet-{index}").into_boxed_str()), ..actor }),
    );
    let mut known = in_step(&actors);
    let api = Actor::app("globex-prod", "api", "Available", 5, 2);
    ledger(&mut known).heads.insert(api.uid(), api.head());
    let frame = frame(&known, Look { height: Some(16), ..look(100) });
    assert_eq!(frame.lines().count(), 16, "{frame}");
    assert!(frame.contains("…2  App globex-prod/api"), "{frame}");
    assert!(frame.contains("more, "), "{frame}");
}

#[test]
fn an_empty_cluster_says_what_to_do() {
    assert!(frame(&in_step(&[]), look(80)).contains("create a Tenant"));
}

#[test]
fn whoever_is_ahead_of_the_ledger_is_wrong_but_only_while_the_ledger_answers() {
    let mut known = in_step(&[Actor::app("acme-prod", "web", "Available", 4, 2)]);
    let mark = |known: &Everything| lines(known, at(NOW))[0].mark.clone();
    assert_eq!(mark(&known), Mark::InStep);

    let ahead = Actor::app("acme-prod", "web", "Available", 5, 2);
    known.cluster.value.objects = vec![ahead.listed()];
    assert_eq!(mark(&known), Mark::Wrong);
    known.ledger.as_mut().unwrap().trouble = Some(Trouble { since: at(0), why: String::new() });
    assert_eq!(mark(&known), Mark::InStep, "it may have moved on");

    let mut other = in_step(&[Actor::app("acme-prod", "web", "Available", 4, 2)]);
    billing(&mut other).value.resources[0].hash = hash(9);
    assert_eq!(mark(&other), Mark::Wrong, "billing was told something else");
    let mut lying = in_step(&[Actor::app("acme-prod", "web", "Available", 4, 2)]);
    lying.cluster.value.objects[0].shown.state = Some(State::of("Failed"));
    assert_eq!(mark(&lying), Mark::Wrong, "the status says another state");
}

#[test]
fn a_deleted_resource_stays_for_a_minute_and_as_long_as_billing_does_not_know() {
    let gone = Actor::app("acme-prod", "web", "Deleted", 5, 0);
    let mut known = in_step(std::slice::from_ref(&gone));
    known.cluster.value.objects.clear();
    assert!(lines(&known, at(NOW))[0].gone);
    assert_eq!(lines(&known, at(60 + 61)).len(), 0);

    billing(&mut known).value.resources[0].sequence = Sequence::new(3);
    let later = lines(&known, at(10_000));
    assert_eq!(later[0].mark, Mark::Behind(2));
}

#[test]
fn a_receiver_that_never_answered_is_replaced_by_what_the_ledger_knows() {
    let mut known = in_step(&cast());
    known.billing = Some(Reading { trouble: Some(Trouble { since: at(0), why: String::new() }), ..Reading::default() });
    assert!(lines(&known, at(NOW)).iter().all(|line| line.mark == Mark::InStep));
    let api = cast()[4].uid();
    ledger(&mut known)
        .owing
        .insert(api.clone(), LaneView { state: LaneState::Open, acked: Sequence::new(1), ..parked(&api) });
    assert_eq!(lines(&known, at(NOW)).iter().find(|line| line.uid == api).unwrap().mark, Mark::Behind(2));
}
