//! Reading: heads, rows, lanes, totals.
//!
//! Compiled once in each of the SQL stores, with its `Pool`: the two databases read the same statements.

use sqlx::{QueryBuilder, query_as, query_scalar};

use super::{Pool, where_it_is_owed, where_it_lies};
use crate::{
    domain::{DestinationId, Position, Sequence, Shard, Timestamp, Uid},
    ledger::{
        fault::failed,
        records::{
            CountsRecord, HeadRecord, InstallationRecord, LaneViewRecord, RowRecord, ShardRecord, all, head_columns,
            lane_columns, row_columns,
        },
        store::{Counts, StoreError},
        types::{Head, Installation, LaneView, Row, RowQuery, ShardRow},
    },
};

pub(super) const INSTALLATION: &str = "SELECT id, cluster_uid, era FROM installation";

pub(super) async fn installation(pool: &Pool) -> Result<Option<Installation>, StoreError> {
    let stored = query_as::<_, InstallationRecord>(INSTALLATION).fetch_optional(pool).await;
    stored.map(|record| record.map(Into::into)).map_err(failed("reading whose ledger this is"))
}

pub(super) async fn shard(pool: &Pool, shard: Shard) -> Result<ShardRow, StoreError> {
    let found = query_as::<_, ShardRecord>("SELECT id, epoch, holder, head, recorded_at FROM shard WHERE id = $1")
        .bind(shard.get())
        .fetch_optional(pool)
        .await
        .map_err(failed("reading a shard"))?;
    Ok(found.map_or_else(|| ShardRow::unclaimed(shard), Into::into))
}

pub(super) async fn destinations(pool: &Pool) -> Result<Vec<DestinationId>, StoreError> {
    let ids: Vec<String> = query_scalar("SELECT id FROM destination ORDER BY id")
        .fetch_all(pool)
        .await
        .map_err(failed("listing destinations"))?;
    Ok(ids.into_iter().map(DestinationId::new).collect())
}

pub(super) async fn head(pool: &Pool, uid: &Uid) -> Result<Option<Head>, StoreError> {
    query_as::<_, HeadRecord>(concat!("SELECT ", head_columns!(), " FROM resource WHERE uid = $1"))
        .bind(uid.as_str())
        .fetch_optional(pool)
        .await
        .map_err(failed("reading a stream's head"))?
        .map(Head::try_from)
        .transpose()
}

pub(super) async fn heads(
    pool: &Pool,
    after: Option<&Uid>,
    open_only: bool,
    limit: u32,
) -> Result<Vec<Head>, StoreError> {
    let sql = if open_only {
        concat!("SELECT ", head_columns!(), " FROM resource WHERE uid > $1 AND closed_at IS NULL ORDER BY uid LIMIT $2")
    } else {
        concat!("SELECT ", head_columns!(), " FROM resource WHERE uid > $1 ORDER BY uid LIMIT $2")
    };
    let records = query_as::<_, HeadRecord>(sql)
        .bind(after.map_or("", Uid::as_str))
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await
        .map_err(failed("reading the streams' heads"))?;
    all(records)
}

pub(super) async fn rows(pool: &Pool, query: &RowQuery) -> Result<Vec<Row>, StoreError> {
    let mut sql = QueryBuilder::new(concat!("SELECT ", row_columns!()));
    if let Some((kind, namespace, name)) = &query.named {
        sql.push(concat!("JOIN resource r ON r.uid = t.uid", where_it_lies!(), " WHERE r.name = ")).push_bind(name);
        sql.push(" AND r.kind = ").push_bind(kind.as_str());
        sql.push(" AND r.namespace IS NOT DISTINCT FROM ").push_bind(namespace.as_deref());
    } else {
        sql.push("WHERE true");
    }
    if let Some(uid) = &query.uid {
        sql.push(" AND t.uid = ").push_bind(uid.as_str());
    }
    if let Some((shard, position)) = query.after {
        sql.push(" AND (t.shard, t.position) > (").push_bind(shard.get());
        sql.push(", ").push_bind(position.get()).push(")");
    }
    if let Some(since) = query.since {
        sql.push(" AND t.effective_at >= ").push_bind(since.as_micros());
    }
    if let Some(until) = query.until {
        sql.push(" AND t.effective_at < ").push_bind(until.as_micros());
    }
    sql.push(" ORDER BY t.shard, t.position LIMIT ").push_bind(i64::from(query.bound()));
    let records = sql.build_query_as::<RowRecord>().fetch_all(pool).await;
    all(records.map_err(failed("reading the ledger's rows"))?)
}

pub(super) async fn stream_rows(
    pool: &Pool,
    after: Option<(&Uid, Sequence)>,
    limit: u32,
) -> Result<Vec<Row>, StoreError> {
    let (uid, sequence) = after.map_or(("", 0), |(uid, sequence)| (uid.as_str(), sequence.get()));
    let records = query_as::<_, RowRecord>(concat!(
        "SELECT ",
        row_columns!(),
        "WHERE (t.uid, t.sequence) > ($1, $2) ORDER BY t.uid, t.sequence LIMIT $3"
    ))
    .bind(uid)
    .bind(sequence)
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await
    .map_err(failed("reading the ledger stream by stream"))?;
    all(records)
}

pub(super) async fn row(pool: &Pool, uid: &Uid, sequence: Sequence) -> Result<Option<Row>, StoreError> {
    query_as::<_, RowRecord>(concat!("SELECT ", row_columns!(), "WHERE t.uid = $1 AND t.sequence = $2"))
        .bind(uid.as_str())
        .bind(sequence.get())
        .fetch_optional(pool)
        .await
        .map_err(failed("reading a row of the ledger"))?
        .map(Row::try_from)
        .transpose()
}

pub(super) async fn pruned_until(pool: &Pool, shard: Shard) -> Result<Position, StoreError> {
    let position: Option<i64> = query_scalar("SELECT position FROM pruned_shard WHERE shard = $1")
        .bind(shard.get())
        .fetch_optional(pool)
        .await
        .map_err(failed("reading how far a shard was pruned"))?;
    Ok(position.map_or_else(Position::default, Position::new))
}

/// What a SELECT begins with whose records are `LaneViewRecord`s.
macro_rules! lane_views {
    () => {
        concat!(
            "SELECT ",
            lane_columns!(),
            ", r.sequence AS head, coalesce(t.recorded_at, v.recorded_at) AS oldest \
             FROM lane l JOIN resource r ON r.uid = l.uid \
             LEFT JOIN transition t ON t.uid = l.uid AND t.sequence = l.acked + 1",
            where_it_is_owed!(),
            " LEFT JOIN voided v ON v.destination = l.destination AND v.uid = l.uid AND v.sequence = l.acked + 1 "
        )
    };
}

pub(super) async fn lane(pool: &Pool, destination: &DestinationId, uid: &Uid) -> Result<Option<LaneView>, StoreError> {
    query_as::<_, LaneViewRecord>(concat!(lane_views!(), "WHERE l.destination = $1 AND l.uid = $2"))
        .bind(destination.as_str())
        .bind(uid.as_str())
        .fetch_optional(pool)
        .await
        .map_err(failed("reading a lane"))?
        .map(LaneView::try_from)
        .transpose()
}

pub(super) async fn lanes(
    pool: &Pool,
    after: Option<(&DestinationId, &Uid)>,
    owing_only: bool,
    limit: u32,
) -> Result<Vec<LaneView>, StoreError> {
    let (destination, uid) = after.map_or(("", ""), |(destination, uid)| (destination.as_str(), uid.as_str()));
    let records = query_as::<_, LaneViewRecord>(concat!(
        lane_views!(),
        "WHERE (l.destination, l.uid) > ($1, $2) AND (NOT $3 OR l.acked < r.sequence) \
         ORDER BY l.destination, l.uid LIMIT $4"
    ))
    .bind(destination)
    .bind(uid)
    .bind(owing_only)
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await
    .map_err(failed("reading the lanes"))?;
    all(records)
}

pub(super) async fn counts(pool: &Pool) -> Result<Counts, StoreError> {
    // Positions are dense, so the shards' heads are the number of rows; counting those would read all of them.
    query_as::<_, CountsRecord>(
        "SELECT (SELECT count(*) FROM resource) AS resources, \
         (SELECT CAST(coalesce(sum(head), 0) AS BIGINT) FROM shard) AS transitions, \
         CAST(coalesce(sum(l.acked - l.first + 1), 0) AS BIGINT) AS deliveries, count(*) FILTER (WHERE l.phase = 4) AS parked, \
         CAST(coalesce(sum(r.sequence - l.acked) FILTER (WHERE l.phase <> 4), 0) AS BIGINT) AS undelivered \
         FROM lane l JOIN resource r ON r.uid = l.uid",
    )
    .fetch_one(pool)
    .await
    .map(Into::into)
    .map_err(failed("counting what the ledger holds"))
}

pub(super) async fn oldest_undelivered(
    pool: &Pool,
    destination: &DestinationId,
) -> Result<Option<(Timestamp, Shard, Position)>, StoreError> {
    let oldest: Option<(i64, i64, i64)> = query_as(concat!(
        "SELECT t.recorded_at, t.shard, t.position FROM lane l \
         JOIN transition t ON t.uid = l.uid AND t.sequence = l.acked + 1",
        where_it_is_owed!(),
        " WHERE l.destination = $1 AND l.phase BETWEEN 1 AND 3 ORDER BY 1, 2, 3 LIMIT 1"
    ))
    .bind(destination.as_str())
    .fetch_optional(pool)
    .await
    .map_err(failed("looking for the oldest undelivered row"))?;
    Ok(oldest.map(|(at, shard, position)| (Timestamp::from_micros(at), Shard::new(shard), Position::new(position))))
}
