//! Every figure there is.

use super::{Descriptor, Label, Section, ShownBy, Unit};

const fn label(name: &'static str, values: &'static str, bound: &'static str) -> Label {
    Label { name, values, bound }
}

const KIND: Label = label("kind", "a kind of Trueup's own, as in manifests", "5");
const OUTCOME: Label = label("outcome", "`ok`, or a word for what went wrong", "10");
const STATE: Label = label("state", "a state of the kind's table", "12 of a kind");
const FROM: Label = label("from", "the state before; `-` for the first", "12 of a kind");
const TO: Label = label("to", "the state after", "12 of a kind");
const TENANT: Label = label(
    "tenant",
    "the tenant's name; `other` for those past the limit; empty when switched off",
    "1,000 and `other`",
);
const DESTINATION: Label = label("destination", "a BillingSink's `destinationId`", "one for each BillingSink");
const ENDING: Label = label("ending", "what ended the delivery: `accepted`, `retry`, `refused` and so on", "9");
const FOR: Label = label("for", "`lead`, `append`, `read` or `deliver`", "4");
const WHAT: Label = label("what", "`stream_without_object` or `object_without_stream`", "2");
const VERB: Label =
    label("verb", "as in Kubernetes' rights: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`", "8");
const CODE: Label =
    label("code", "the HTTP status, `error` without an answer, `abandoned` if nobody waited for it", "30");
const VERSION: Label = label("version", "the program's", "1");

const WORK: &[f64] = &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
const SETTLING: &[f64] = &[0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0];
const TRAVEL: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0, 3_600.0];
const SIZES: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];

/// Looks, by how they ended.
pub const RECONCILES: Descriptor =
    Descriptor::counter("trueup_reconciles_total", &[KIND, OUTCOME], "Looks at objects, by how they ended.");
/// How long they took.
pub const RECONCILE_SECONDS: Descriptor =
    Descriptor::seconds("trueup_reconcile_seconds", &[KIND], WORK, "How long a look at an object took.");
/// Objects that wait for one.
pub const QUEUED: Descriptor = Descriptor::gauge(
    "trueup_reconcile_queue_objects",
    &[KIND],
    Unit::Count,
    "Objects that changed and wait for a look.",
);
/// How long they waited.
pub const QUEUE_SECONDS: Descriptor = Descriptor::seconds(
    "trueup_reconcile_wait_seconds",
    &[KIND],
    WORK,
    "How long an object that changed waited for a look.",
);
/// From a changed spec to Ready.
pub const READY_SECONDS: Descriptor = Descriptor::seconds(
    "trueup_ready_seconds",
    &[KIND],
    SETTLING,
    "From the first look at a new or changed spec until Ready is shown for it.",
);
/// Recorded transitions.
pub const TRANSITIONS: Descriptor = Descriptor::counter(
    "trueup_transitions_total",
    &[KIND, FROM, TO],
    "Transitions that this process recorded in the ledger.",
);
/// Objects by state.
pub const RESOURCES: Descriptor = Descriptor::gauge(
    "trueup_resources",
    &[KIND, STATE, TENANT],
    Unit::Count,
    "Objects, by the state that they are in.",
);
/// How far behind a tenant's billing is.
pub const TENANT_LAG: Descriptor = Descriptor::gauge(
    "trueup_tenant_lag_seconds",
    &[TENANT],
    Unit::Seconds,
    "Age of the tenant's oldest event that some destination did not yet acknowledge, parked ones included; 0 if none waits.",
);
/// How old a tenant's newest artifacts are.
pub const BACKUP_AGE: Descriptor = Descriptor::gauge(
    "trueup_backup_age_seconds",
    &[TENANT],
    Unit::Seconds,
    "Age of the newest completed backup: of the tenant's sources, the one for which that is oldest.",
);
/// Backups whose restore nobody has proved.
pub const BACKUP_UNVERIFIED: Descriptor = Descriptor::gauge(
    "trueup_backup_unverified_sources",
    &[TENANT],
    Unit::Count,
    "Sources of the tenant that have completed backups, none of which is marked as restored and verified.",
);
/// How long an append takes.
pub const COMMIT_SECONDS: Descriptor = Descriptor::seconds(
    "trueup_ledger_commit_seconds",
    &[],
    WORK,
    "From taking a batch of transitions to its answer by the database, retries included.",
);
/// How many transitions go together.
pub const BATCH: Descriptor = Descriptor::new(
    "trueup_ledger_batch_transitions",
    super::Shape::Histogram(SIZES),
    &[],
    Unit::Count,
    "Transitions that were given to the ledger in one batch.",
);
/// Transactions that were begun.
pub const TRIES: Descriptor = Descriptor::counter(
    "trueup_ledger_tries_total",
    &[],
    "Transactions that were tried for batches; more than batches when the database fails.",
);
/// Commits whose answer was lost.
pub const DOUBTS: Descriptor =
    Descriptor::counter("trueup_ledger_doubts_total", &[], "Tries whose outcome had to be looked up.");
/// How long the database is away.
pub const WAITING: Descriptor = Descriptor::gauge(
    "trueup_ledger_waiting_seconds",
    &[FOR],
    Unit::Seconds,
    "How long the ledger's database has been waited for, by what is wanted of it; 0 while it answers.",
);
/// Whether this process leads.
pub const LEADER: Descriptor = Descriptor::gauge("trueup_leader", &[], Unit::Flag, "1 while this process leads.");
/// In which term.
pub const EPOCH: Descriptor =
    Descriptor::gauge("trueup_leader_epoch", &[], Unit::Count, "The epoch in which this process leads or last led.");
/// Comparisons.
pub const SWEEPS: Descriptor =
    Descriptor::counter("trueup_audit_sweeps_total", &[], "Comparisons of ledger and cluster.");
/// What they found.
pub const DRIFT: Descriptor = Descriptor::counter(
    "trueup_audit_drift_total",
    &[KIND, WHAT],
    "Streams without objects that were closed, and objects without streams that were looked at again.",
);
/// Whether they close anything.
pub const SWEEPS_HELD: Descriptor = Descriptor::gauge(
    "trueup_audit_held",
    &[],
    Unit::Flag,
    "1 while sweeps close nothing, because too much seems to be gone.",
);
/// Broken invariants.
pub const VIOLATIONS: Descriptor =
    Descriptor::gauge("trueup_audit_violations", &[], Unit::Count, "Places where the ledger violates its invariants.");
/// Streams that others know more of.
pub const BEHIND: Descriptor = Descriptor::gauge(
    "trueup_ledger_behind_streams",
    &[],
    Unit::Count,
    "Streams of which a status or a receiver knows more than the ledger. Nothing is appended to them.",
);
/// Whether that holds everything.
pub const LEDGER_HELD: Descriptor = Descriptor::gauge(
    "trueup_ledger_held",
    &[],
    Unit::Flag,
    "1 while nothing is appended, because the ledger lost rows.",
);
/// How far behind a destination is.
pub const LAG: Descriptor = Descriptor::gauge(
    "trueup_outbox_lag_seconds",
    &[DESTINATION],
    Unit::Seconds,
    "Age of the oldest event that was not yet acknowledged, parked resources apart; 0 if none waits.",
);
/// What it is owed.
pub const UNDELIVERED: Descriptor = Descriptor::gauge(
    "trueup_outbox_undelivered_events",
    &[DESTINATION],
    Unit::Count,
    "Events that were not yet acknowledged, parked resources apart.",
);
/// What waits for a person.
pub const PARKED: Descriptor = Descriptor::gauge(
    "trueup_outbox_parked_lanes",
    &[DESTINATION],
    Unit::Count,
    "Resources whose events wait for a person to decide.",
);
/// Acknowledged events.
pub const ACKNOWLEDGED: Descriptor = Descriptor::counter(
    "trueup_outbox_events_acknowledged_total",
    &[DESTINATION],
    "Events that the receiver acknowledged.",
);
/// Deliveries, by what ended them.
pub const DELIVERIES: Descriptor = Descriptor::counter(
    "trueup_outbox_deliveries_total",
    &[DESTINATION, ENDING],
    "Deliveries of the next events of one resource, by what ended them.",
);
/// From commit to acknowledgement.
pub const DELAY: Descriptor = Descriptor::seconds(
    "trueup_outbox_delay_seconds",
    &[DESTINATION],
    TRAVEL,
    "From the ledger's commit of an event to the receiver's acknowledgement.",
);
/// How long the receiver takes.
pub const DELIVERY_SECONDS: Descriptor = Descriptor::seconds(
    "trueup_outbox_delivery_seconds",
    &[DESTINATION],
    TRAVEL,
    "How long one delivery took, from claiming the resource to the receiver's answer.",
);
/// Being delivered.
pub const IN_FLIGHT: Descriptor = Descriptor::gauge(
    "trueup_outbox_in_flight_lanes",
    &[DESTINATION],
    Unit::Count,
    "Resources whose events are being delivered right now.",
);
/// Their size.
pub const IN_FLIGHT_BYTES: Descriptor = Descriptor::gauge(
    "trueup_outbox_in_flight_bytes",
    &[DESTINATION],
    Unit::Bytes,
    "Bytes of events that are being delivered right now.",
);
/// Whether a receiver is left alone.
pub const HELD: Descriptor = Descriptor::gauge(
    "trueup_outbox_held",
    &[DESTINATION],
    Unit::Flag,
    "1 while the receiver takes nothing, whatever is sent, and is left alone for a while.",
);
/// Whether it wants nothing more.
pub const DISABLED: Descriptor = Descriptor::gauge(
    "trueup_outbox_disabled",
    &[DESTINATION],
    Unit::Flag,
    "1 while the receiver wants nothing more: it answered 410.",
);
/// Requests to the API server.
pub const REQUESTS: Descriptor = Descriptor::counter(
    "trueup_kubernetes_requests_total",
    &[VERB, CODE],
    "Requests to the API server, by what came back.",
);
/// How long it takes to answer.
pub const REQUEST_SECONDS: Descriptor = Descriptor::seconds(
    "trueup_kubernetes_request_seconds",
    &[VERB],
    WORK,
    "How long the API server took to begin its answer.",
);
/// Which program this is.
pub const BUILD: Descriptor =
    Descriptor::gauge("trueup_build_info", &[VERSION], Unit::Flag, "1, with the version as a label.");

/// Every figure, by what it is about.
pub const SECTIONS: &[Section] = &[
    Section {
        title: "What is asked and what is so",
        shown_by: ShownBy::Leader,
        figures: &[RECONCILES, RECONCILE_SECONDS, QUEUED, QUEUE_SECONDS, READY_SECONDS, TRANSITIONS, RESOURCES],
    },
    Section { title: "Tenants", shown_by: ShownBy::Leader, figures: &[TENANT_LAG, BACKUP_AGE, BACKUP_UNVERIFIED] },
    Section {
        title: "The ledger",
        shown_by: ShownBy::Leader,
        figures: &[COMMIT_SECONDS, BATCH, TRIES, DOUBTS, BEHIND, LEDGER_HELD, SWEEPS, DRIFT, SWEEPS_HELD, VIOLATIONS],
    },
    Section {
        title: "Deliveries to billing",
        shown_by: ShownBy::Leader,
        figures: &[
            LAG,
            UNDELIVERED,
            PARKED,
            ACKNOWLEDGED,
            DELIVERIES,
            DELAY,
            DELIVERY_SECONDS,
            IN_FLIGHT,
            IN_FLIGHT_BYTES,
            HELD,
            DISABLED,
        ],
    },
    Section {
        title: "The process",
        shown_by: ShownBy::Everyone,
        figures: &[LEADER, EPOCH, WAITING, REQUESTS, REQUEST_SECONDS, BUILD],
    },
];
