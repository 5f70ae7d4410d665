//! By hand on PostgreSQL.

use sqlx::{Connection, Error, PgConnection, query, query_as};

use super::{HASH, Line};

fn column<'a, T>(lines: &'a [Line<'a>], of: impl Fn(&'a Line<'a>) -> T) -> Vec<T> {
    lines.iter().map(of).collect()
}

/// One transaction of several rows: a statement for each table.
pub async fn batch(connection: &mut PgConnection, lines: &mut [Line<'_>], body: &[u8]) -> Result<(), Error> {
    let head = lines.last().map_or(0, |line| line.position);
    let mut transaction = connection.begin().await?;
    query("UPDATE shard SET head = $1, recorded_at = $2 WHERE id = 0")
        .bind(head)
        .bind(1_767_225_600_000_000_i64 + head)
        .execute(&mut *transaction)
        .await?;
    query(
        "INSERT INTO transition (shard, position, uid, sequence, event_id, epoch, from_state, to_state, reason, \
         generation, tenant, effective_at, not_before, not_after, time_source, recorded_at, body, prev_hash, hash) \
         SELECT 0, position, uid, sequence, event_id, 1, from_state, to_state, reason, generation, tenant, at, at, at, \
         time_source, at, body, prev_hash, hash \
         FROM UNNEST ($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::bytea[], \
         $8::bytea[], $9::bytea[], $10::bigint[], $11::text[], $12::bigint[], $13::text[], $14::text[]) \
         AS new (position, uid, sequence, event_id, from_state, to_state, body, prev_hash, hash, at, reason, generation, \
         tenant, time_source)",
    )
    .bind(column(lines, |line| line.position))
    .bind(column(lines, |line| line.uid))
    .bind(column(lines, |line| line.sequence))
    .bind(column(lines, |line| line.event_id.as_str()))
    .bind(column(lines, |line| line.from))
    .bind(column(lines, |line| line.to))
    .bind(column(lines, |_| body))
    .bind(column(lines, |_| HASH))
    .bind(column(lines, |_| HASH))
    .bind(column(lines, |line| line.at))
    .bind(column(lines, |line| line.said.reason))
    .bind(column(lines, |line| line.said.generation))
    .bind(column(lines, |line| line.said.tenant))
    .bind(column(lines, |line| line.said.time_source))
    .execute(&mut *transaction)
    .await?;
    query(
        "UPDATE resource SET state = new.state, sequence = new.sequence, hash = new.hash, epoch = 1, era = 0, \
         effective_at = new.at, recorded_at = new.at, entered_at = new.at, entered = new.sequence, \
         last_position = new.position, reason = new.reason, message = new.message, generation = new.generation, \
         replicas = new.replicas, cpu_millicores = new.cpu_millicores, memory_bytes = new.memory_bytes, \
         storage_bytes = new.storage_bytes, closed_at = NULL \
         FROM UNNEST ($1::text[], $2::text[], $3::bigint[], $4::bytea[], $5::bigint[], $6::bigint[], $7::text[], \
         $8::text[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[]) \
         AS new (uid, state, sequence, hash, at, position, reason, message, generation, replicas, cpu_millicores, \
         memory_bytes, storage_bytes) \
         WHERE resource.uid = new.uid",
    )
    .bind(column(lines, |line| line.uid))
    .bind(column(lines, |line| line.to))
    .bind(column(lines, |line| line.sequence))
    .bind(column(lines, |_| HASH))
    .bind(column(lines, |line| line.at))
    .bind(column(lines, |line| line.position))
    .bind(column(lines, |line| line.said.reason))
    .bind(column(lines, |line| line.said.message))
    .bind(column(lines, |line| line.said.generation))
    .bind(column(lines, |line| line.said.replicas))
    .bind(column(lines, |line| line.said.cpu_millicores))
    .bind(column(lines, |line| line.said.memory_bytes))
    .bind(column(lines, |line| line.said.storage_bytes))
    .execute(&mut *transaction)
    .await?;
    // Lanes are locked in their order, or two writers could wait for each other.
    lines.sort_unstable_by_key(|line| line.uid);
    query(
        "INSERT INTO lane (destination, uid, acked, phase, due_at) \
         SELECT 'billing', uid, 0, 1, $2 FROM UNNEST ($1::text[]) AS new (uid) \
         ON CONFLICT (destination, uid) DO UPDATE SET phase = 1, due_at = EXCLUDED.due_at WHERE lane.phase = 0",
    )
    .bind(column(lines, |line| line.uid))
    .bind(1_767_225_600_000_000_i64 + head)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await
}

/// What a writer must find in the shard's row.
#[derive(Clone, Copy)]
pub struct Place {
    epoch: i64,
    revision: i64,
}

pub async fn place(connection: &mut PgConnection) -> Result<Place, Error> {
    let (epoch, revision) = query_as("SELECT epoch, revision FROM shard WHERE id = 0").fetch_one(connection).await?;
    Ok(Place { epoch, revision })
}

/// One row alone: one statement, which is its own transaction, with the same parts as Trueup's. Nothing can take fewer round trips.
pub async fn alone(connection: &mut PgConnection, place: Place, line: &Line<'_>, body: &[u8]) -> Result<(), Error> {
    let written = query(
        "WITH mine AS (UPDATE shard SET head = $1, recorded_at = $7 \
           WHERE id = 0 AND epoch = $19 AND head = $1 - 1 AND revision = $20 RETURNING id), \
         moved AS (UPDATE resource SET state = $6, sequence = $3, hash = $9, epoch = $19, era = 0, effective_at = $7, \
           recorded_at = $7, entered_at = $7, entered = $3, last_position = $1, reason = $10, message = $11, \
           generation = $12, replicas = $13, cpu_millicores = $14, memory_bytes = $15, storage_bytes = $16, \
           closed_at = NULL FROM mine WHERE uid = $2), \
         woken AS (UPDATE lane SET phase = CASE lane.phase WHEN 0 THEN 1 ELSE lane.phase END, \
           due_at = CASE lane.phase WHEN 0 THEN $7 ELSE lane.due_at END, \
           from_position = CASE lane.phase WHEN 0 THEN $1 ELSE lane.from_position END \
           WHERE lane.destination = ANY (ARRAY (SELECT d.id FROM mine CROSS JOIN destination d)) AND lane.uid = $2) \
         INSERT INTO transition (shard, position, uid, sequence, event_id, epoch, from_state, to_state, reason, \
           generation, tenant, effective_at, not_before, not_after, time_source, recorded_at, body, prev_hash, hash) \
         SELECT 0, $1, $2, $3, $4, $19, $5, $6, $10, $12, $17, $7, $7, $7, $18, $7, $8, $9, $9 FROM mine",
    )
    .bind(line.position)
    .bind(line.uid)
    .bind(line.sequence)
    .bind(line.event_id.as_str())
    .bind(line.from)
    .bind(line.to)
    .bind(line.at)
    .bind(body)
    .bind(HASH)
    .bind(line.said.reason)
    .bind(line.said.message)
    .bind(line.said.generation)
    .bind(line.said.replicas)
    .bind(line.said.cpu_millicores)
    .bind(line.said.memory_bytes)
    .bind(line.said.storage_bytes)
    .bind(line.said.tenant)
    .bind(line.said.time_source)
    .bind(place.epoch)
    .bind(place.revision)
    .execute(connection)
    .await?;
    assert_eq!(written.rows_affected(), 1, "nobody else writes here");
    Ok(())
}
