//! Appending a batch: read, decide, write, in two round trips and no transaction that stays open between them.
//!
//! The write is one statement, which is its own transaction. It begins by moving the shard's row from exactly where it
//! was read, and writes nothing if that row is elsewhere by then: so whatever was decided still holds, although no lock
//! was kept while it was being decided. A process that is stopped at any moment holds nothing.

use std::collections::HashMap;

use sqlx::{FromRow, PgConnection, PgPool, query};

use super::write::{Place, write};
use crate::{
    domain::{Epoch, Position, Shard, Tables, Timestamp, Uid},
    ledger::{
        batch::{self, Batch, Standing},
        fault::not_committed,
        records::{HeadRecord, StandingRecord, head_columns},
        reinstate::{self, Returned},
        store::{AppendError, StoreError},
        types::{Draft, Head, Outcome, ShardRow},
    },
};

pub(super) const DOING: &str = "appending to the ledger";

/// Answers what became of each draft, and where the shard ends now.
pub(super) async fn append(
    pool: &PgPool,
    tables: Tables,
    shard: Shard,
    epoch: Epoch,
    now: Timestamp,
    drafts: &[Draft],
) -> Result<(Vec<Outcome>, Position), AppendError> {
    let decide = |standing| batch::decide(tables, standing, epoch, now, drafts);
    write_what(pool, shard, &batch::uids(drafts), decide).await
}

/// The same for rows that come back.
pub(super) async fn reinstate(
    pool: &PgPool,
    tables: Tables,
    shard: Shard,
    epoch: Epoch,
    returned: &[Returned],
) -> Result<(Vec<Outcome>, Position), AppendError> {
    let decide = |standing| reinstate::decide(tables, standing, epoch, returned);
    write_what(pool, shard, &reinstate::uids(returned), decide).await
}

/// Writes what `decide` makes of the streams `uids` as they stand, and of nothing else.
async fn write_what(
    pool: &PgPool,
    shard: Shard,
    uids: &[Uid],
    decide: impl Fn(Standing) -> Result<Batch, AppendError> + Send,
) -> Result<(Vec<Outcome>, Position), AppendError> {
    let mut connection = pool.acquire().await.map_err(not_committed(DOING))?;
    loop {
        let (standing, revision) = read(&mut connection, shard, uids).await?;
        let before = Place { head: standing.shard.head, revision };
        let batch = decide(standing)?;
        // A shard that moved meanwhile was moved by a newer leader, which the next round finds out, by an earlier try of
        // this one, whose answer was lost, or because a destination was opened or closed.
        if batch.rows.is_empty() || write(&mut connection, before, &batch).await? {
            return Ok((batch.outcomes, batch.shard.head));
        }
    }
}

/// All that a decision stands on, as one moment's view.
const READ: &str = concat!(
    "SELECT s.*, i.*, ",
    head_columns!(),
    " FROM (SELECT id AS shard_id, epoch AS shard_epoch, holder, head, revision, recorded_at AS shard_recorded_at, \
        (SELECT json_agg(json_build_array(id, selector))::text FROM destination WHERE selector IS NOT NULL) AS selectors \
        FROM shard WHERE id = $1) s \
      CROSS JOIN (SELECT id AS installation_id, cluster_uid, era AS installation_era FROM installation WHERE one = 1) i \
      LEFT JOIN resource ON uid = ANY ($2)"
);

async fn read(connection: &mut PgConnection, shard: Shard, uids: &[Uid]) -> Result<(Standing, i64), AppendError> {
    let failed = not_committed(DOING);
    let found = query(READ)
        .bind(shard.get())
        .bind(uids.iter().map(Uid::as_str).collect::<Vec<_>>())
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
    let Some(first) = found.first() else {
        return Ok((unclaimed(connection, shard).await?, 0));
    };
    let record = StandingRecord::from_row(first).map_err(failed)?;
    let revision = record.revision;
    let selectors = record.selectors().map_err(AppendError::NotCommitted)?;
    let (shard, installation) = record.into();
    let mut heads = HashMap::with_capacity(found.len());
    for row in &found {
        // Of a stream that opens only now there is no head; of the first such there is this row without one.
        if sqlx::Row::try_get::<Option<&str>, _>(row, "uid").map_err(failed)?.is_some() {
            let record = HeadRecord::from_row(row).map_err(failed)?;
            let head = Head::try_from(record).map_err(AppendError::NotCommitted)?;
            heads.insert(head.subject.uid.clone(), head);
        }
    }
    Ok((Standing { shard, installation, heads, selectors }, revision))
}

/// What stands where nobody ever led, or where nobody said yet whose ledger it is.
async fn unclaimed(connection: &mut PgConnection, shard: Shard) -> Result<Standing, AppendError> {
    let installation = super::lead::installation_of(connection)
        .await
        .map_err(not_committed(DOING))?
        .ok_or(AppendError::NotCommitted(StoreError::NoInstallation { doing: DOING }))?;
    Ok(Standing { shard: ShardRow::unclaimed(shard), installation, heads: HashMap::new(), selectors: vec![] })
}
