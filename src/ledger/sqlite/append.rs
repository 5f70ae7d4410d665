//! Appending a batch: take the write lock, read the heads, decide, write.

use std::{collections::HashMap, sync::Arc};

use sqlx::{SqliteConnection, SqlitePool, query_as};

use super::{
    lead::json,
    turn::Turn,
    write::write,
    write_one::{alone, write_at_once},
};
use crate::{
    domain::{Epoch, Shard, Tables, Timestamp, Uid},
    ledger::{
        ahead::Ahead,
        batch::{self, Batch, Standing},
        fault::{commit_failed, not_committed},
        known::{Known, Memory},
        records::{HeadRecord, StandingRecord, head_columns},
        reinstate::{self, Returned},
        store::{AppendError, StoreError},
        types::{Draft, Head, Outcome},
    },
};

pub(super) const DOING: &str = "appending to the ledger";

/// All else that a decision stands on is read under the lock each time.
const REVISION: i64 = 0;

/// Who appends, and where to.
pub(super) struct Writer<'a> {
    pub(super) pool: &'a SqlitePool,
    pub(super) known: &'a Known,
    pub(super) tables: Tables,
    pub(super) shard: Shard,
    pub(super) epoch: Epoch,
}

impl Writer<'_> {
    /// Answers what became of each draft.
    pub(super) async fn append(
        &self,
        now: Timestamp,
        drafts: &[Draft],
        ahead: Option<Ahead>,
    ) -> Result<Vec<Outcome>, AppendError> {
        let decide = |memory: &Memory| batch::decide(self.tables, memory.standing(drafts), self.epoch, now, drafts);
        // By memory, where it covers everything: the file is not locked for anybody while this thinks, and the next batch is
        // decided behind this one while it is being written.
        let (mut promised, mut rest) = (None, None);
        match self.known.take(self.shard) {
            Some((mut memory, ticket)) if memory.covers(drafts) => {
                let decided = ahead.and_then(|ahead| ahead.behind(ticket)).or_else(|| decide(&memory).ok());
                promised = decided.map(|batch| {
                    let before = memory.standing(&[]);
                    memory.advance(&batch);
                    (before, batch, self.known.promise(memory))
                });
            }
            guess => rest = guess.map(|(memory, _)| memory),
        }
        if let Some((before, batch, ticket)) = promised.take() {
            if self.write_at_once(&before, &batch, now).await? {
                self.known.keep(self.shard, ticket);
                return Ok(batch.outcomes);
            }
            promised = Some((before, batch, ticket));
        }
        let (mut turn, found) = Turn::begin(self.pool, self.shard).await.map_err(not_committed(DOING))?;
        let stands = standing(found)?;
        let (batch, ticket) = match promised {
            Some((before, batch, ticket)) if before.is_but_for_heads(&stands) => (batch, ticket),
            _ => {
                let mut memory = with_heads(turn.session(), stands, batch::uids(drafts), rest).await?;
                let batch = decide(&memory)?;
                memory.advance(&batch);
                (batch, self.known.promise(memory))
            }
        };
        end(turn, &batch, now).await?;
        self.known.keep(self.shard, ticket);
        Ok(batch.outcomes)
    }

    /// Writes `batch` if it is one row and all still stands as it did `before`, and answers whether it did.
    ///
    /// Which destinations hear of what need not be asked: a stream that is open has its lanes.
    async fn write_at_once(&self, before: &Standing, batch: &Batch, now: Timestamp) -> Result<bool, AppendError> {
        let Some((row, head)) = alone(batch) else { return Ok(false) };
        let mut turn = Turn::unbegun(self.pool).await.map_err(not_committed(DOING))?;
        let written =
            write_at_once(turn.session(), before.shard.head, &before.installation, &batch.shard, row, head, now)
                .await
                .map_err(commit_failed(DOING))?;
        turn.conclude();
        Ok(written)
    }
}

/// The same for rows that come back. It is rare, so nothing is decided by memory.
pub(super) async fn reinstate(
    pool: &SqlitePool,
    tables: Tables,
    shard: Shard,
    epoch: Epoch,
    now: Timestamp,
    returned: &[Returned],
) -> Result<Vec<Outcome>, AppendError> {
    let (mut turn, found) = Turn::begin(pool, shard).await.map_err(not_committed(DOING))?;
    let read = with_heads(turn.session(), standing(found)?, reinstate::uids(returned), None).await?;
    let batch = reinstate::decide(tables, read.into_standing(), epoch, returned)?;
    end(turn, &batch, now).await?;
    Ok(batch.outcomes)
}

/// Writes what was decided, if that is anything.
async fn end(mut turn: Turn, batch: &Batch, now: Timestamp) -> Result<(), AppendError> {
    if batch.rows.is_empty() {
        return turn.give_up().await.map_err(not_committed(DOING));
    }
    write(turn.session(), batch, now).await?;
    turn.conclude();
    Ok(())
}

/// How the shard stands, without heads.
fn standing(record: Option<StandingRecord>) -> Result<Standing, AppendError> {
    let record = record.ok_or(AppendError::NotCommitted(StoreError::NoInstallation { doing: DOING }))?;
    let selectors = record.selectors().map_err(AppendError::NotCommitted)?;
    let (shard, installation) = record.into();
    Ok(Standing { shard, installation, heads: HashMap::new(), selectors })
}

/// What was read and the heads of `uids`, as far as they are not `known` already.
async fn with_heads(
    connection: &mut SqliteConnection,
    mut stands: Standing,
    mut uids: Vec<Uid>,
    known: Option<Memory>,
) -> Result<Memory, AppendError> {
    let known = known.filter(|memory| memory.is_at(&stands.shard, REVISION));
    uids.retain(|uid| !known.as_ref().is_some_and(|memory| memory.knows(uid)));
    stands.heads = heads(connection, &uids).await?;
    let read = Memory::new(stands, REVISION);
    Ok(match known {
        Some(known) => known.and(read),
        None => read,
    })
}

async fn heads(connection: &mut SqliteConnection, uids: &[Uid]) -> Result<HashMap<Uid, Arc<Head>>, AppendError> {
    if uids.is_empty() {
        return Ok(HashMap::new());
    }
    let records = query_as::<_, HeadRecord>(concat!(
        "SELECT ",
        head_columns!(),
        " FROM resource WHERE uid IN (SELECT value FROM json_each($1))"
    ))
    .bind(json(uids))
    .fetch_all(connection)
    .await
    .map_err(not_committed(DOING))?;
    let heads = records.into_iter().map(|record| {
        let head = Head::try_from(record).map_err(AppendError::NotCommitted)?;
        Ok((head.subject.uid.clone(), Arc::new(head)))
    });
    heads.collect()
}
