//! Appending a batch: read, decide, write, in two round trips and no transaction that stays open between them; in one,
//! where this process wrote the streams' last rows itself.
//!
//! The write is one statement, which is its own transaction. It begins by moving the shard's row from exactly where it
//! was read, and writes nothing if that row is elsewhere by then: so whatever was decided still holds, although no lock
//! was kept while it was being decided. A process that is stopped at any moment holds nothing.

use std::{collections::HashMap, sync::Arc};

use sqlx::{FromRow, PgConnection, query};

use super::{
    seat::Seat,
    write::{Place, write},
};
use crate::{
    domain::{Epoch, Position, Shard, Tables, Timestamp, Uid},
    ledger::{
        ahead::Ahead,
        batch::{self, Standing},
        fault::not_committed,
        known::{Known, Memory},
        records::{HeadRecord, StandingRecord, head_columns},
        reinstate::{self, Returned},
        store::{AppendError, StoreError},
        types::{Draft, Head, Outcome, ShardRow},
    },
};

pub(super) const DOING: &str = "appending to the ledger";

/// Who appends, and where to.
pub(super) struct Writer<'a> {
    pub(super) seat: &'a Seat,
    pub(super) known: &'a Known,
    pub(super) tables: Tables,
    pub(super) shard: Shard,
    pub(super) epoch: Epoch,
}

impl Writer<'_> {
    /// Answers what became of each draft, and where the shard ends now.
    pub(super) async fn append(
        &self,
        now: Timestamp,
        drafts: &[Draft],
        mut ahead: Option<Ahead>,
    ) -> Result<(Vec<Outcome>, Position), AppendError> {
        let mut connection = self.seat.take().await.map_err(not_committed(DOING))?;
        let mut guess = self.known.take(self.shard);
        loop {
            let (mut before, fresh, decided) = match guess.take() {
                Some((memory, ticket)) if memory.covers(drafts) => {
                    (memory, false, ahead.take().and_then(|ahead| ahead.behind(ticket)))
                }
                Some((memory, _)) => {
                    (memory.and(read(&mut connection, self.shard, &batch::uids(drafts)).await?), true, None)
                }
                None => (read(&mut connection, self.shard, &batch::uids(drafts)).await?, true, None),
            };
            let decide = || batch::decide(self.tables, before.standing(drafts), self.epoch, now, drafts);
            let batch = match decided.map_or_else(decide, Ok) {
                Ok(batch) if fresh || !batch.rows.is_empty() => batch,
                Err(fenced) if fresh => return Err(fenced),
                // Nothing is refused by what may be out of date.
                Ok(_) | Err(_) => continue,
            };
            let place = Place { head: before.head(), revision: before.revision() };
            before.advance(&batch);
            let ticket = self.known.promise(before);
            // A shard that moved meanwhile was moved by a newer leader, which the next round finds out, by an earlier try
            // of this one, whose answer was lost, or because a destination was opened or closed, or an era has begun.
            if batch.rows.is_empty() || write(&mut connection, place, &batch).await? {
                self.known.keep(self.shard, ticket);
                self.seat.keep(connection);
                return Ok((batch.outcomes, batch.shard.head));
            }
        }
    }
}

/// The same for rows that come back. It is rare, so nothing is decided by memory.
pub(super) async fn reinstate(
    seat: &Seat,
    tables: Tables,
    shard: Shard,
    epoch: Epoch,
    returned: &[Returned],
) -> Result<(Vec<Outcome>, Position), AppendError> {
    let mut connection = seat.take().await.map_err(not_committed(DOING))?;
    let uids = reinstate::uids(returned);
    loop {
        let read = read(&mut connection, shard, &uids).await?;
        let before = Place { head: read.head(), revision: read.revision() };
        let batch = reinstate::decide(tables, read.into_standing(), epoch, returned)?;
        if batch.rows.is_empty() || write(&mut connection, before, &batch).await? {
            seat.keep(connection);
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

async fn read(connection: &mut PgConnection, shard: Shard, uids: &[Uid]) -> Result<Memory, AppendError> {
    let failed = not_committed(DOING);
    let found = query(READ)
        .bind(shard.get())
        .bind(uids.iter().map(Uid::as_str).collect::<Vec<_>>())
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
    let Some(first) = found.first() else {
        return Ok(Memory::new(unclaimed(connection, shard).await?, 0));
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
            heads.insert(head.subject.uid.clone(), Arc::new(head));
        }
    }
    Ok(Memory::new(Standing { shard, installation, heads, selectors }, revision))
}

/// What stands where nobody ever led, or where nobody said yet whose ledger it is.
async fn unclaimed(connection: &mut PgConnection, shard: Shard) -> Result<Standing, AppendError> {
    let installation = super::lead::installation_of(connection)
        .await
        .map_err(not_committed(DOING))?
        .ok_or(AppendError::NotCommitted(StoreError::NoInstallation { doing: DOING }))?;
    Ok(Standing { shard: ShardRow::unclaimed(shard), installation, heads: HashMap::new(), selectors: vec![] })
}
