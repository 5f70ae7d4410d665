//! How the tables' rows read, the same in both databases, and what they mean.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use sqlx::FromRow;

use super::{
    lanes::{HeldLane, Lane, Phase},
    store::StoreError,
    types::{Head, Installation, LaneView, OutboxRow, PrunedRow, Row, ShardRow, Subject, Voided, time_source_from},
};
use crate::domain::{
    Billable, DestinationId, Effective, Epoch, Era, EventId, Hash, InstallationId, Kind, Position, Selector, Sequence,
    Shard, State, TenantName, TimeSource, Timestamp, Token, Uid,
};

/// The columns of `resource` that make a `HeadRecord`.
macro_rules! head_columns {
    () => {
        "uid, shard, kind, namespace, name, tenant, account, plan, previous_uid, state, sequence, hash, epoch, era, \
         generation, replicas, cpu_millicores, memory_bytes, storage_bytes, reason, message, effective_at, \
         recorded_at, entered_at, opened_at, closed_at, entered"
    };
}
pub(super) use head_columns;

/// The columns of `transition t LEFT JOIN evidence e` that make a `RowRecord`.
macro_rules! row_columns {
    () => {
        "t.shard, t.position, t.uid, t.sequence, t.event_id, t.epoch, t.from_state, t.to_state, t.reason, \
         t.generation, t.tenant, t.effective_at, t.not_before, t.not_after, t.time_source, t.recorded_at, t.body, \
         t.prev_hash, t.hash, e.text AS evidence \
         FROM transition t LEFT JOIN evidence e ON e.uid = t.uid AND e.sequence = t.sequence "
    };
}
pub(super) use row_columns;

fn corrupt(what: String) -> StoreError {
    StoreError::Corrupt { doing: "reading the ledger", what }
}

fn hash(bytes: &[u8]) -> Result<Hash, StoreError> {
    let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| corrupt(format!("a hash of {} bytes", bytes.len())))?;
    Ok(Hash::from_bytes(bytes))
}

fn quantity(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| corrupt(format!("a quantity of {number}")))
}

pub(super) fn kind(text: &str) -> Result<Kind, StoreError> {
    text.parse().map_err(|_| corrupt(format!("a resource of the unknown kind '{text}'")))
}

pub(super) fn time_source(text: &str) -> Result<TimeSource, StoreError> {
    time_source_from(text).ok_or_else(|| corrupt(format!("the unknown time source '{text}'")))
}

#[derive(FromRow)]
pub(super) struct HeadRecord {
    uid: String,
    shard: i64,
    kind: String,
    namespace: Option<String>,
    name: String,
    tenant: String,
    account: String,
    plan: String,
    previous_uid: Option<String>,
    state: String,
    sequence: i64,
    hash: Vec<u8>,
    epoch: i64,
    era: i64,
    generation: i64,
    replicas: i64,
    cpu_millicores: i64,
    memory_bytes: i64,
    storage_bytes: i64,
    reason: String,
    message: String,
    effective_at: i64,
    recorded_at: i64,
    entered_at: i64,
    entered: i64,
    opened_at: i64,
    closed_at: Option<i64>,
}

impl TryFrom<HeadRecord> for Head {
    type Error = StoreError;

    fn try_from(record: HeadRecord) -> Result<Self, StoreError> {
        let replicas = u32::try_from(record.replicas).map_err(|_| corrupt(format!("{} replicas", record.replicas)))?;
        Ok(Self {
            subject: Subject {
                uid: Uid::new(record.uid),
                kind: kind(&record.kind)?,
                namespace: record.namespace,
                name: record.name,
                tenant: TenantName::new(record.tenant),
                account: record.account,
                plan: record.plan,
                previous_uid: record.previous_uid.map(Uid::new),
            },
            shard: Shard::new(record.shard),
            state: State::named(record.state),
            sequence: Sequence::new(record.sequence),
            hash: hash(&record.hash)?,
            epoch: Epoch::new(record.epoch),
            era: Era::new(record.era),
            generation: record.generation,
            billable: Billable {
                replicas,
                cpu_millicores: quantity(record.cpu_millicores)?,
                memory_bytes: quantity(record.memory_bytes)?,
                storage_bytes: quantity(record.storage_bytes)?,
            },
            reason: record.reason,
            message: record.message,
            effective_at: Timestamp::from_micros(record.effective_at),
            recorded_at: Timestamp::from_micros(record.recorded_at),
            entered: Sequence::new(record.entered),
            entered_at: Timestamp::from_micros(record.entered_at),
            opened_at: Timestamp::from_micros(record.opened_at),
            closed_at: record.closed_at.map(Timestamp::from_micros),
        })
    }
}

#[derive(FromRow)]
pub(super) struct RowRecord {
    shard: i64,
    position: i64,
    uid: String,
    sequence: i64,
    event_id: String,
    epoch: i64,
    from_state: Option<String>,
    to_state: String,
    reason: String,
    generation: i64,
    tenant: String,
    effective_at: i64,
    not_before: i64,
    not_after: i64,
    time_source: String,
    recorded_at: i64,
    body: Vec<u8>,
    prev_hash: Vec<u8>,
    hash: Vec<u8>,
    evidence: Option<String>,
}

impl TryFrom<RowRecord> for Row {
    type Error = StoreError;

    fn try_from(record: RowRecord) -> Result<Self, StoreError> {
        let source = time_source(&record.time_source)?;
        Ok(Self {
            shard: Shard::new(record.shard),
            position: Position::new(record.position),
            uid: Uid::new(record.uid),
            sequence: Sequence::new(record.sequence),
            event_id: EventId::new(record.event_id),
            epoch: Epoch::new(record.epoch),
            from: record.from_state.map(State::named),
            to: State::named(record.to_state),
            reason: record.reason,
            generation: record.generation,
            tenant: TenantName::new(record.tenant),
            effective: Effective {
                at: Timestamp::from_micros(record.effective_at),
                not_before: Timestamp::from_micros(record.not_before),
                not_after: Timestamp::from_micros(record.not_after),
                source,
            },
            recorded_at: Timestamp::from_micros(record.recorded_at),
            body: record.body,
            prev_hash: hash(&record.prev_hash)?,
            hash: hash(&record.hash)?,
            evidence: record.evidence,
        })
    }
}

/// A shard's row and the installation that it is numbered for, read together.
#[derive(FromRow)]
pub(super) struct StandingRecord {
    shard_id: i64,
    shard_epoch: i64,
    holder: Option<String>,
    head: i64,
    pub(super) revision: i64,
    shard_recorded_at: Option<i64>,
    installation_id: String,
    cluster_uid: String,
    installation_era: i64,
    selectors: Option<String>,
}

impl StandingRecord {
    /// Which streams those destinations hear of that do not hear of all.
    pub(super) fn selectors(&self) -> Result<Vec<(DestinationId, Selector)>, StoreError> {
        let text = self.selectors.as_deref().unwrap_or("[]");
        selectors(serde_json::from_str(text).map_err(|why| corrupt(format!("the selectors: {why}")))?)
    }
}

impl From<StandingRecord> for (ShardRow, Installation) {
    fn from(record: StandingRecord) -> Self {
        let shard = ShardRecord {
            id: record.shard_id,
            epoch: record.shard_epoch,
            holder: record.holder,
            head: record.head,
            recorded_at: record.shard_recorded_at,
        };
        let installation = InstallationRecord {
            id: record.installation_id,
            cluster_uid: record.cluster_uid,
            era: record.installation_era,
        };
        (shard.into(), installation.into())
    }
}

/// A shard's row.
#[derive(FromRow)]
pub(super) struct ShardRecord {
    id: i64,
    epoch: i64,
    holder: Option<String>,
    head: i64,
    recorded_at: Option<i64>,
}

impl From<ShardRecord> for ShardRow {
    fn from(record: ShardRecord) -> Self {
        Self {
            id: Shard::new(record.id),
            epoch: Epoch::new(record.epoch),
            holder: record.holder,
            head: Position::new(record.head),
            recorded_at: record.recorded_at.map(Timestamp::from_micros),
        }
    }
}

#[derive(FromRow)]
pub(super) struct InstallationRecord {
    id: String,
    cluster_uid: String,
    era: i64,
}

impl From<InstallationRecord> for Installation {
    fn from(record: InstallationRecord) -> Self {
        Self {
            id: InstallationId::new(record.id),
            cluster_uid: Uid::new(record.cluster_uid),
            era: Era::new(record.era),
        }
    }
}

/// A lane with its name and its stream's head.
#[derive(FromRow)]
pub(super) struct LaneRecord {
    destination: String,
    uid: String,
    acked: i64,
    phase: i16,
    due_at: i64,
    token: Option<String>,
    attempts: i32,
    rewinds: i32,
    furthest: i64,
    park_reason: Option<String>,
    last_error: Option<String>,
    first: i64,
    held_at: Option<i64>,
    doubt_since: Option<i64>,
}

/// The columns of `lane l` that make a `LaneRecord`.
macro_rules! lane_columns {
    () => {
        "l.destination, l.uid, l.acked, l.phase, l.due_at, l.token, l.attempts, l.rewinds, l.furthest, \
         l.park_reason, l.last_error, l.first, l.held_at, l.doubt_since"
    };
}
pub(super) use lane_columns;

fn tries(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

impl LaneRecord {
    pub(super) fn key(&self) -> (DestinationId, Uid) {
        (DestinationId::new(self.destination.as_str()), Uid::new(self.uid.as_str()))
    }

    pub(super) fn lane(self) -> Result<Lane, StoreError> {
        Ok(Lane {
            acked: Sequence::new(self.acked),
            phase: Phase::from_number(self.phase)
                .ok_or_else(|| corrupt(format!("lane {} of {} in phase {}", self.uid, self.destination, self.phase)))?,
            due_at: Timestamp::from_micros(self.due_at),
            token: self.token.map(Token::new),
            attempts: tries(self.attempts),
            rewinds: tries(self.rewinds),
            furthest: Sequence::new(self.furthest),
            park_reason: self.park_reason,
            last_error: self.last_error,
            first: Sequence::new(self.first),
            held_at: self.held_at.map(Timestamp::from_micros),
            doubt_since: self.doubt_since.map(Timestamp::from_micros),
        })
    }
}

/// A lane beside what only other tables know.
#[derive(FromRow)]
pub(super) struct LaneViewRecord {
    #[sqlx(flatten)]
    lane: LaneRecord,
    head: i64,
    oldest: Option<i64>,
}

impl TryFrom<LaneViewRecord> for LaneView {
    type Error = StoreError;

    fn try_from(record: LaneViewRecord) -> Result<Self, StoreError> {
        let (destination, uid) = record.lane.key();
        let lane = record.lane.lane()?;
        Ok(Self {
            destination,
            uid,
            acked: lane.acked,
            first: lane.first,
            head: Sequence::new(record.head),
            state: lane.phase.shown(),
            park_reason: lane.park_reason,
            attempts: lane.attempts,
            next_at: lane.due_at,
            last_error: lane.last_error,
            oldest_undelivered: record.oldest.map(Timestamp::from_micros),
        })
    }
}

/// A lane that was just held.
#[derive(FromRow)]
pub(super) struct HeldRecord {
    uid: String,
    acked: i64,
    attempts: i32,
    rewinds: i32,
    first: i64,
    /// In microseconds.
    doubt: Option<i64>,
}

impl From<HeldRecord> for HeldLane {
    fn from(record: HeldRecord) -> Self {
        Self {
            uid: Uid::new(record.uid),
            acked: Sequence::new(record.acked),
            attempts: tries(record.attempts),
            rewinds: tries(record.rewinds),
            first: Sequence::new(record.first),
            doubt: record.doubt.map(|micros| Duration::from_micros(u64::try_from(micros).unwrap_or(0))),
        }
    }
}

/// The events of claimed lanes by stream, each stream with its head and its events in order.
///
/// What stands in for a row is sent instead of it, also where the row itself is gone.
pub(super) fn by_stream(records: Vec<OutboxRecord>) -> HashMap<Uid, (Sequence, Vec<OutboxRow>)> {
    let mut found: HashMap<Uid, (Sequence, BTreeMap<i64, OutboxRecord>)> = HashMap::new();
    for record in records {
        let stream = found.entry(Uid::new(record.uid.as_str())).or_default();
        stream.0 = Sequence::new(record.head);
        if record.stands_in {
            stream.1.insert(record.sequence, record);
        } else {
            stream.1.entry(record.sequence).or_insert(record);
        }
    }
    found
        .into_iter()
        .map(|(uid, (head, rows))| (uid, (head, rows.into_values().map(OutboxRow::from).collect())))
        .collect()
}

/// One event of a claimed lane.
#[derive(FromRow)]
pub(super) struct OutboxRecord {
    uid: String,
    sequence: i64,
    event_id: String,
    body: Vec<u8>,
    recorded_at: i64,
    head: i64,
    stands_in: bool,
}

impl From<OutboxRecord> for OutboxRow {
    fn from(record: OutboxRecord) -> Self {
        Self {
            sequence: Sequence::new(record.sequence),
            event_id: EventId::new(record.event_id),
            body: record.body,
            recorded_at: Timestamp::from_micros(record.recorded_at),
        }
    }
}

/// What is sent in a row's place.
#[derive(FromRow)]
pub(super) struct VoidedRecord {
    destination: String,
    uid: String,
    sequence: i64,
    event_id: String,
    body: Vec<u8>,
    recorded_at: i64,
}

impl From<VoidedRecord> for Voided {
    fn from(record: VoidedRecord) -> Self {
        Self {
            destination: DestinationId::new(record.destination),
            uid: Uid::new(record.uid),
            sequence: Sequence::new(record.sequence),
            event_id: EventId::new(record.event_id),
            body: record.body,
            recorded_at: Timestamp::from_micros(record.recorded_at),
        }
    }
}

/// The selectors of destinations that have one.
pub(super) fn selectors(records: Vec<(String, String)>) -> Result<Vec<(DestinationId, Selector)>, StoreError> {
    let read = |(id, text): (String, String)| {
        let selector = serde_json::from_str(&text)
            .map_err(|why| corrupt(format!("the selector of destination {id} cannot be read: {why}")))?;
        Ok((DestinationId::new(id), selector))
    };
    records.into_iter().map(read).collect()
}

/// The totals.
#[derive(FromRow)]
pub(super) struct CountsRecord {
    resources: i64,
    transitions: i64,
    deliveries: i64,
    parked: i64,
    undelivered: i64,
}

impl From<CountsRecord> for super::store::Counts {
    fn from(record: CountsRecord) -> Self {
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        Self {
            resources: count(record.resources),
            transitions: count(record.transitions),
            deliveries: count(record.deliveries),
            parked: count(record.parked),
            undelivered: count(record.undelivered),
        }
    }
}

/// Turns every record into what it means, or names the first that means nothing.
pub(super) fn all<R, T: TryFrom<R, Error = StoreError>>(records: Vec<R>) -> Result<Vec<T>, StoreError> {
    records.into_iter().map(T::try_from).collect()
}

#[derive(FromRow)]
pub(super) struct PrunedRecord {
    uid: String,
    sequence: i64,
    hash: Vec<u8>,
}

impl TryFrom<PrunedRecord> for PrunedRow {
    type Error = StoreError;

    fn try_from(record: PrunedRecord) -> Result<Self, StoreError> {
        Ok(Self { uid: Uid::new(record.uid), sequence: Sequence::new(record.sequence), hash: hash(&record.hash)? })
    }
}
