//! What the receiver tells of what it remembers, as its rows hold it.

use serde::{Deserialize, Serialize};
use sqlx::{Row as _, sqlite::SqliteRow};

use crate::domain::{Billable, Era, EventId, Hash, Kind, Sequence, State, TenantName, Timestamp, Uid};

/// One resource as the receiver knows it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceView {
    /// Its UID.
    pub uid: Uid,
    /// Its kind.
    pub kind: Kind,
    /// Its namespace, where the kind has one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its tenant.
    pub tenant: TenantName,
    /// The account that is charged.
    pub account: String,
    /// The plan it is charged by.
    pub plan: String,
    /// The era of its last event.
    pub era: Era,
    /// The place of its last event.
    pub sequence: Sequence,
    /// Its state.
    pub state: State,
    /// The hash of its last event.
    pub hash: Hash,
    /// What it costs since `effectiveAt`.
    pub billable: Billable,
    /// When its last event happened.
    pub effective_at: Timestamp,
    /// When that was applied here.
    pub applied_at: Timestamp,
    /// How many events were applied.
    pub applied: i64,
    /// The place of the last event that said how things stand; earlier than `sequence` if voids followed it, 0 if
    /// nothing else came.
    pub stated: Sequence,
    /// How many places were passed over, because the stream began, or went on, with a snapshot.
    pub skipped: i64,
    /// Whether the last event came from a sink in mode Shadow: nobody is to be charged for it.
    pub shadow: bool,
}

/// One applied event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    /// Its place.
    pub sequence: Sequence,
    /// Its era.
    pub era: Era,
    /// Its id.
    pub event_id: EventId,
    /// Its hash.
    pub hash: Hash,
    /// When it was applied here.
    pub applied_at: Timestamp,
    /// Whether it came from a sink in mode Shadow.
    pub shadow: bool,
    /// Its exact bytes.
    pub body: String,
}

/// The resource in `row`.
pub(super) fn resource(row: &SqliteRow) -> Result<ResourceView, String> {
    let damaged = |error: &dyn std::fmt::Display| format!("a resource's row is damaged: {error}");
    let text = |column: &str| row.try_get::<String, _>(column).map_err(|error| damaged(&error));
    let number = |column: &str| row.try_get::<i64, _>(column).map_err(|error| damaged(&error));
    Ok(ResourceView {
        uid: Uid::new(text("uid")?),
        kind: text("kind")?.parse().map_err(|error| damaged(&error))?,
        namespace: row.try_get("namespace").map_err(|error| damaged(&error))?,
        name: text("name")?,
        tenant: TenantName::new(text("tenant")?),
        account: text("account")?,
        plan: text("plan")?,
        era: Era::new(number("era")?),
        sequence: Sequence::new(number("sequence")?),
        state: State::named(text("state")?),
        hash: text("hash")?.parse().map_err(|error| damaged(&error))?,
        billable: serde_json::from_str(&text("billable")?).map_err(|error| damaged(&error))?,
        effective_at: Timestamp::from_micros(number("effective_at")?),
        applied_at: Timestamp::from_micros(number("applied_at")?),
        applied: number("applied")?,
        stated: Sequence::new(number("stated")?),
        skipped: number("skipped")?,
        shadow: number("shadow")? != 0,
    })
}

/// The applied event in `row`.
pub(super) fn event(row: &SqliteRow) -> Result<EventView, String> {
    let damaged = |error: &dyn std::fmt::Display| format!("an event's row is damaged: {error}");
    let text = |column: &str| row.try_get::<String, _>(column).map_err(|error| damaged(&error));
    let number = |column: &str| row.try_get::<i64, _>(column).map_err(|error| damaged(&error));
    Ok(EventView {
        sequence: Sequence::new(number("sequence")?),
        era: Era::new(number("era")?),
        event_id: EventId::new(text("event_id")?),
        hash: text("hash")?.parse().map_err(|error| damaged(&error))?,
        applied_at: Timestamp::from_micros(number("applied_at")?),
        shadow: number("shadow")? != 0,
        body: text("body")?,
    })
}
