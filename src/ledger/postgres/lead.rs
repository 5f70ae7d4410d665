//! Whose ledger it is, and who may write.

use std::{pin::pin, time::Duration};

use sqlx::{PgConnection, PgPool, query, query_as, query_scalar};
use tokio::time::timeout;

use super::{APPLICATION, read::INSTALLATION, transaction::begin_alone, whose};
use crate::{
    domain::{Epoch, Shard},
    ledger::{
        fault::{commit_failed, failed, not_committed},
        records::InstallationRecord,
        store::{AppendError, StoreError},
        types::Installation,
    },
};

pub(super) async fn replace_installation(
    pool: &PgPool,
    shard: Shard,
    mine: Epoch,
    installation: &Installation,
) -> Result<(), AppendError> {
    const DOING: &str = "recording whose ledger this is from now on";
    let failed = not_committed(DOING);
    let mut transaction = begin_alone(pool).await.map_err(failed)?;
    let current = whose::replace(&mut transaction, shard, mine, installation).await.map_err(failed)?;
    if current != mine {
        // Waited for: nobody appends until the lock is gone.
        transaction.rollback().await.map_err(failed)?;
        return Err(AppendError::Fenced { shard, mine, current });
    }
    transaction.commit().await.map_err(commit_failed(DOING))
}

/// Read in the appender's transaction, which holds the shard's lock.
pub(super) async fn installation_of(connection: &mut PgConnection) -> Result<Option<Installation>, sqlx::Error> {
    Ok(query_as::<_, InstallationRecord>(INSTALLATION).fetch_optional(connection).await?.map(Into::into))
}

const TAKE_OVER: &str = "INSERT INTO shard (id, epoch, holder) VALUES ($1, 1, $2) \
     ON CONFLICT (id) DO UPDATE SET epoch = shard.epoch + 1, holder = EXCLUDED.holder RETURNING epoch";

/// Not all at once with the takeover, and not those that are being claimed or settled: nobody may wait for the other.
const END_LEASES: &str = "UPDATE lane SET due_at = 0 FROM ( \
       SELECT lane.destination, lane.uid FROM lane JOIN resource ON resource.uid = lane.uid \
       WHERE lane.phase = 3 AND resource.shard = $1 FOR NO KEY UPDATE OF lane SKIP LOCKED) AS held \
     WHERE lane.destination = held.destination AND lane.uid = held.uid";

/// How long a takeover waits for the shard's lock before it ends whoever holds it. A healthy append takes a tenth.
const PATIENCE: Duration = Duration::from_millis(250);

/// Ends with an error when the session's lock timeout does, if the lock is held by something that is not ours.
pub(super) async fn take_over(pool: &PgPool, shard: Shard, holder: &str) -> Result<Epoch, StoreError> {
    let failed = failed("taking over a shard");
    let mut connection = pool.acquire().await.map_err(failed)?;
    let pid: i32 = query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *connection).await.map_err(failed)?;
    let taking = query_scalar::<_, i64>(TAKE_OVER).bind(shard.get()).bind(holder).fetch_one(&mut *connection);
    let mut taking = pin!(taking);
    loop {
        if let Ok(epoch) = timeout(PATIENCE, &mut taking).await {
            let epoch = epoch.map(Epoch::new).map_err(failed)?;
            // Leases end by themselves in any case.
            if let Err(error) = query(END_LEASES).bind(shard.get()).execute(pool).await {
                tracing::warn!(%shard, %error, "the previous leader's lanes stay held until their leases end");
            }
            return Ok(epoch);
        }
        match end_blockers(pool, pid).await {
            Ok(ended) => tracing::warn!(%shard, ended, "ended sessions of the previous leader that held the shard"),
            Err(error) => tracing::warn!(%shard, %error, "could not end the sessions that hold the shard"),
        }
    }
}

/// Ends those sessions of ours that `pid` waits for: a previous leader's, stopped in the middle of a transaction.
async fn end_blockers(pool: &PgPool, pid: i32) -> Result<i64, sqlx::Error> {
    query_scalar(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE pid = ANY (pg_blocking_pids($1)) AND starts_with(application_name, $2)",
    )
    .bind(pid)
    .bind(APPLICATION)
    .fetch_one(pool)
    .await
}
