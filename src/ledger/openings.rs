//! Opening a destination: which streams it hears of, and where each of its lanes begins.
//!
//! Compiled once in each of the SQL stores, with its `Connection`.

use serde::Serialize;
use sqlx::{query, query_as};

use super::{Connection, listed};
use crate::{
    domain::{DestinationId, Selector, Tables, Timestamp},
    ledger::{fault::failed, records, store::StoreError, types::Opening},
};

fn json(list: &(impl Serialize + ?Sized)) -> String {
    // Lists of texts always can be written as JSON.
    serde_json::to_string(list).unwrap_or_default()
}

/// Where each lane begins follows from `since`, the first row that was recorded at the cutoff or later. The row before
/// it says how the stream stood then, if that had not ended. Without any, the newest row says how it stands.
const MAKE_LANES: &str = concat!(
    "INSERT INTO lane (destination, uid, acked, first, phase, due_at) \
     SELECT $1, uid, first - 1, first, CASE WHEN first > head THEN 0 ELSE 1 END, $2 FROM ( \
       SELECT uid, head, CASE \
         WHEN since IS NULL AND closed_at IS NULL THEN head \
         WHEN since IS NULL THEN head + 1 \
         WHEN EXISTS (SELECT 1 FROM transition t WHERE t.uid = found.uid AND t.sequence = since - 1 \
           AND found.kind || '/' || t.to_state NOT IN ",
    listed!("$4"),
    ") THEN since - 1 \
         ELSE since END AS first \
       FROM (SELECT uid, kind, sequence AS head, closed_at, \
           (SELECT min(t.sequence) FROM transition t WHERE t.uid = resource.uid AND t.recorded_at >= $3) AS since \
         FROM resource WHERE ($5 = '[]' OR kind IN ",
    listed!("$5"),
    ") AND ($6 = 0 OR tenant IN ",
    listed!("$7"),
    ")) AS found) AS begun \
     WHERE true ORDER BY uid ON CONFLICT DO NOTHING"
);

/// Writes down the destination, and makes its lanes if it is new. Answers whether it is.
///
/// The caller keeps all appends out meanwhile.
pub(super) async fn open(
    connection: &mut Connection,
    tables: Tables,
    opening: &Opening,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let Opening { id, start, selector, tenants } = opening;
    let new = query("INSERT INTO destination (id, opened_at, selector) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
        .bind(id.as_str())
        .bind(now.as_micros())
        .bind((!selector.is_all()).then(|| json(selector)))
        .execute(&mut *connection)
        .await?;
    if new.rows_affected() == 0 {
        query("UPDATE destination SET selector = $2 WHERE id = $1 AND (selector IS NOT NULL OR $3 = 0)")
            .bind(id.as_str())
            .bind(json(selector))
            .bind(i64::from(selector.is_all()))
            .execute(connection)
            .await?;
        return Ok(false);
    }
    let finals: Vec<String> = tables
        .0
        .iter()
        .flat_map(|table| table.states.iter().map(move |state| (table.kind, state)))
        .filter(|(_, state)| state.next.is_empty())
        .map(|(kind, state)| format!("{kind}/{}", state.name))
        .collect();
    query(MAKE_LANES)
        .bind(id.as_str())
        .bind(now.as_micros())
        .bind(start.cutoff().as_micros())
        .bind(json(&finals))
        .bind(json(&selector.kinds))
        .bind(i64::from(!selector.tenant_labels.is_empty()))
        .bind(json(tenants))
        .execute(connection)
        .await?;
    Ok(true)
}

/// The selectors of those destinations that hear of some streams only.
pub(super) async fn selectors(connection: &mut Connection) -> Result<Vec<(DestinationId, Selector)>, StoreError> {
    let records: Vec<(String, String)> =
        query_as("SELECT id, selector FROM destination WHERE selector IS NOT NULL ORDER BY id")
            .fetch_all(connection)
            .await
            .map_err(failed("reading which streams destinations hear of"))?;
    records::selectors(records)
}
